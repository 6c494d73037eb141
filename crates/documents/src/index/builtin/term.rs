//! A value in which numbers can be added.

use serde_json::Value;

use super::number::Number;
use crate::json::write_json_string;

/// A JSON value. What is neither a number nor holds any stays as it was.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    Number(Number),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
    Other(Value),
}

impl Term {
    /// The value that `text` is. What is no JSON that can be read is a string.
    pub(super) fn parse(text: &str) -> Self {
        if let Some(number) = Number::parse(text) {
            return Self::Number(number);
        }
        serde_json::from_str(text).map_or_else(|_| Self::Other(Value::from(text)), Self::of)
    }

    pub(super) fn of(value: Value) -> Self {
        match value {
            Value::Number(number) => match Number::parse(number.as_str()) {
                Some(number) => Self::Number(number),
                None => Self::Other(Value::Number(number)),
            },
            Value::Array(elements) => Self::Array(elements.into_iter().map(Self::of).collect()),
            Value::Object(members) => {
                let member = |(key, value)| (key, Self::of(value));
                Self::Object(members.into_iter().map(member).collect())
            }
            Value::Null | Value::Bool(_) | Value::String(_) => Self::Other(value),
        }
    }

    /// Appends the value as JSON.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Number(number) => number.write(out),
            Self::Array(elements) => {
                out.push('[');
                for (n, element) in elements.iter().enumerate() {
                    out.push_str(if n > 0 { "," } else { "" });
                    element.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (n, (key, member)) in members.iter().enumerate() {
                    out.push_str(if n > 0 { "," } else { "" });
                    write_text(key, out);
                    out.push(':');
                    member.write(out);
                }
                out.push('}');
            }
            Self::Other(value) => match value {
                Value::String(text) => write_text(text, out),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => out.push_str(&value.to_string()),
            },
        }
    }

    pub(super) fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

fn write_text(text: &str, out: &mut String) {
    let mut bytes = Vec::new();
    write_json_string(&mut bytes, text);
    out.push_str(&String::from_utf8(bytes).unwrap_or_default());
}

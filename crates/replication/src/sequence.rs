//! A place in a feed, as its source wrote it: opaque JSON, kept as text.

use std::fmt;
use std::sync::Arc;

/// A place in a feed.
#[derive(Clone, PartialEq, Eq)]
pub struct Sequence(Arc<str>);

impl Sequence {
    /// Before everything.
    #[must_use]
    pub fn zero() -> Self {
        Self(Arc::from("0"))
    }

    /// The place that this JSON text names. The caller knows that it is JSON.
    #[must_use]
    pub fn of_json(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The place that a value names; before everything for none.
    #[must_use]
    pub fn of_value(value: Option<&serde_json::Value>) -> Self {
        match value {
            None | Some(serde_json::Value::Null) => Self::zero(),
            Some(value) => Self(Arc::from(value.to_string())),
        }
    }

    /// As JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// As a value.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_str(&self.0).unwrap_or(serde_json::Value::Null)
    }

    /// As the parameter `since` of a query has it, not yet encoded.
    #[must_use]
    pub fn as_parameter(&self) -> String {
        // Texts go bare, as `CouchDB` sends them; numbers and arrays are JSON.
        serde_json::from_str::<String>(&self.0).unwrap_or_else(|_| self.0.as_ref().to_owned())
    }

    /// The number that it begins with, if it does.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        let text = self.0.trim_start_matches(['"', '[', ' ']);
        let end = text.find(|c: char| !c.is_ascii_digit());
        text.get(..end.unwrap_or(text.len()))?.parse().ok()
    }

    /// Whether this is before everything.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        matches!(self.0.as_ref(), "0" | "\"0\"")
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_told_as_it_came() {
        let check = |json: &str, parameter: &str, number: Option<u64>| {
            let sequence = Sequence::of_json(json);
            assert_eq!(
                (sequence.as_parameter().as_str(), sequence.number()),
                (parameter, number)
            );
        };
        check("\"12-g1AAA\"", "12-g1AAA", Some(12));
        check("7", "7", Some(7));
        check("[23423,\"g1AAA\"]", "[23423,\"g1AAA\"]", Some(23423));
        check("\"opaque\"", "opaque", None);
        check("99999999999999999999999", "99999999999999999999999", None);
    }
}

//! JSON as Erlang's `~w` prints it, since `CouchDB` quotes a bad argument that way:
//! `{"a": ["b", 1.5]}` is `{[{<<97>>,[<<98>>,1.5]}]}`.
//!
//! The text is cut after [`MAX_BYTES`], which also bounds the recursion: each level of nesting
//! has written at least one byte.

use std::fmt::Write as _;

use serde_json::{Number, Value};

use crate::collation::is_integer;

/// How much of a long term is quoted.
const MAX_BYTES: usize = 1024;

/// The text of a value as an Erlang term.
#[must_use]
pub fn erlang_term(value: &Value) -> String {
    cut(value, false)
}

/// The text of a value as `~p` prints it: text is shown as text.
#[must_use]
pub fn erlang_term_pretty(value: &Value) -> String {
    cut(value, true)
}

fn cut(value: &Value, pretty: bool) -> String {
    let mut out = String::new();
    write_term(value, pretty, &mut out);
    if out.len() > MAX_BYTES {
        let mut end = MAX_BYTES;
        while !out.is_char_boundary(end) {
            end -= 1;
        }
        out.truncate(end);
        out.push_str("...");
    }
    out
}

fn write_term(value: &Value, pretty: bool, out: &mut String) {
    if out.len() > MAX_BYTES {
        return;
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) if number.as_str() == "-0" => out.push('0'),
        Value::Number(number) if is_integer(number) => out.push_str(number.as_str()),
        Value::Number(number) => out.push_str(&float(number)),
        Value::String(text) => write_binary(text, pretty, out),
        Value::Array(elements) => {
            out.push('[');
            write_separated(elements.iter(), out, |element, out| {
                write_term(element, pretty, out);
            });
            out.push(']');
        }
        Value::Object(members) => {
            out.push_str("{[");
            write_separated(members.iter(), out, |(key, member), out| {
                out.push('{');
                write_binary(key, pretty, out);
                out.push(',');
                write_term(member, pretty, out);
                out.push('}');
            });
            out.push_str("]}");
        }
    }
}

fn write_binary(text: &str, pretty: bool, out: &mut String) {
    out.push_str("<<");
    if pretty && !text.is_empty() && text.chars().all(|c| !c.is_control()) {
        // Writing to a string cannot fail.
        let _infallible = write!(out, "{text:?}");
        if !text.is_ascii() {
            out.push_str("/utf8");
        }
        out.push_str(">>");
        return;
    }
    write_separated(text.bytes(), out, |byte, out| {
        // Writing to a string cannot fail.
        let _infallible = write!(out, "{byte}");
    });
    out.push_str(">>");
}

fn write_separated<T>(
    items: impl Iterator<Item = T>,
    out: &mut String,
    write: impl Fn(T, &mut String),
) {
    for (position, item) in items.enumerate() {
        if out.len() > MAX_BYTES {
            return;
        }
        if position > 0 {
            out.push(',');
        }
        write(item, out);
    }
}

/// The shortest digits that read back as the same double, in whichever of Erlang's two
/// notations is shorter; from 2^53 on always with an exponent.
fn float(number: &Number) -> String {
    let double = number.as_str().parse::<f64>().unwrap_or_default();
    let scientific = format!("{:e}", double.abs());
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let sign = if double.is_sign_negative() { "-" } else { "" };
    let digits = mantissa.replace('.', "");
    let (first, rest) = digits.split_at_checked(1).unwrap_or((&digits, ""));
    let fraction = if rest.is_empty() { "0" } else { rest };
    let with_exponent = format!("{sign}{first}.{fraction}e{exponent}");
    let plain = format!("{sign}{:?}", double.abs());
    if double.abs() >= 9_007_199_254_740_992.0
        || plain.contains('e')
        || with_exponent.len() < plain.len()
    {
        with_exponent
    } else {
        plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &str) {
        assert_eq!(
            erlang_term(&serde_json::from_str(json).unwrap()),
            expected,
            "{json}"
        );
    }

    #[test]
    fn terms_print_as_erlang_does() {
        check("null", "null");
        check("[true,false]", "[true,false]");
        check("-0", "0");
        check(
            "123456789012345678901234567890",
            "123456789012345678901234567890",
        );
        check(r#""abc""#, "<<97,98,99>>");
        check(r#""""#, "<<>>");
        check(r#""é""#, "<<195,169>>");
        check("[]", "[]");
        check("{}", "{[]}");
        check(
            r#"{"a":["b",1.5],"c":{}}"#,
            "{[{<<97>>,[<<98>>,1.5]},{<<99>>,{[]}}]}",
        );
    }

    #[test]
    fn floats_take_the_shorter_notation() {
        check("1.0", "1.0");
        check("-2.50", "-2.5");
        check("100.0", "100.0");
        check("1000.0", "1.0e3");
        check("1234.0", "1234.0");
        check("1234567.5", "1234567.5");
        check("0.1", "0.1");
        check("0.01", "0.01");
        check("0.001", "0.001");
        check("0.0001", "0.0001");
        check("0.00001", "1.0e-5");
        check("1e23", "1.0e23");
        check("9007199254740993.0", "9.007199254740992e15");
        check("-0.0", "-0.0");
        check("1.5e-7", "1.5e-7");
    }

    #[test]
    fn pretty_terms_show_their_text() {
        let json = serde_json::json!([{"foo": 2}, "a\"b", "", "\u{1}", "é"]);
        assert_eq!(
            erlang_term_pretty(&json),
            r#"[{[{<<"foo">>,2}]},<<"a\"b">>,<<>>,<<1>>,<<"é"/utf8>>]"#
        );
    }

    #[test]
    fn long_terms_are_cut() {
        let wide = Value::Array(vec![Value::Null; 1_000_000]);
        assert!(erlang_term(&wide).len() <= MAX_BYTES + 3);
        let deep = (0..2_000).fold(Value::Null, |inside, _| Value::Array(vec![inside]));
        assert!(erlang_term(&deep).ends_with("[..."));
        let long = Value::String("x".repeat(1 << 20));
        assert!(erlang_term(&long).len() <= MAX_BYTES + 3);
    }
}

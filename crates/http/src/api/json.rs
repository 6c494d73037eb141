//! JSON that comes from outside, looked through before anything is made of it.
//!
//! What readers of JSON differ in is refused, so that nobody between the client and us has read
//! another thing than we: a name that stands twice in an object, half of a surrogate pair, a number
//! that no one can hold. So is what only an attack is likely to bring: deep nesting, and the
//! character U+0000, with which keys of the store are divided.
//!
//! Invariant: memory is bounded by the length of the text, and nothing recurses.

use std::collections::HashSet;

use serde::de::IgnoredAny;

/// The most levels of objects and arrays.
pub(super) const DEPTH_MAX: usize = 32;
/// The longest name of a member, in bytes.
const NAME_MAX: usize = 256;
/// The longest number, in characters: more digits say no more.
const NUMBER_MAX: usize = 64;

/// Looks through `text`, which is to be one JSON value.
///
/// # Errors
/// What is wrong with it, in a sentence for who sent it.
pub(super) fn look_through(text: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<IgnoredAny>(text).map_err(|error| told(&error))?;
    Walk {
        text,
        place: 0,
        levels: Vec::new(),
    }
    .run()
}

/// What `serde_json` says, without the line: a body mostly has one.
pub(super) fn told(error: &serde_json::Error) -> String {
    let told = error.to_string();
    let reason = told.split(" at line ").next().unwrap_or(&told);
    reason.to_owned()
}

/// A walk over text that is known to be JSON.
struct Walk<'t> {
    text: &'t [u8],
    place: usize,
    /// The names seen in each object that is open; an array has none.
    levels: Vec<HashSet<String>>,
}

impl Walk<'_> {
    fn run(mut self) -> Result<(), String> {
        while let Some(byte) = self.text.get(self.place) {
            match byte {
                b'{' | b'[' => {
                    if self.levels.len() == DEPTH_MAX {
                        return Err(format!("nested deeper than {DEPTH_MAX} levels"));
                    }
                    self.levels.push(HashSet::new());
                    self.place += 1;
                }
                b'}' | b']' => {
                    self.levels.pop();
                    self.place += 1;
                }
                b'"' => self.string()?,
                b'-' | b'0'..=b'9' => self.number()?,
                _ => self.place += 1,
            }
        }
        Ok(())
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.place..).unwrap_or_default()
    }

    fn string(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let mut end = 1;
        loop {
            match rest.get(end) {
                None | Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
            }
        }
        let raw = rest.get(..=end).unwrap_or_default();
        let text: String = serde_json::from_slice(raw).map_err(|error| told(&error))?;
        if text.contains('\0') {
            return Err("the character U+0000 is not taken".to_owned());
        }
        self.place += raw.len().max(1);
        let after = self.rest().iter().find(|byte| !byte.is_ascii_whitespace());
        if after != Some(&b':') {
            return Ok(());
        }
        if text.len() > NAME_MAX {
            return Err(format!("a name is longer than {NAME_MAX} bytes"));
        }
        // By such a name serde_json knows numbers of its own.
        if text.starts_with("$serde_json") {
            return Err(format!("unknown field `{text}`"));
        }
        let names = self.levels.last_mut();
        match names.is_none_or(|names| names.insert(text.clone())) {
            true => Ok(()),
            false => Err(format!("duplicate field `{text}`")),
        }
    }

    fn number(&mut self) -> Result<(), String> {
        let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = self.rest().iter().take_while(is_part).count();
        let digits = self.rest().get(..length).unwrap_or_default();
        let value = std::str::from_utf8(digits).ok();
        let value = value.and_then(|digits| digits.parse::<f64>().ok());
        if length > NUMBER_MAX || !value.is_some_and(f64::is_finite) {
            return Err("a number is out of range".to_owned());
        }
        self.place += length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = look_through(text.as_bytes());
        match expected {
            "" => assert_eq!(found, Ok(()), "{text}"),
            reason => assert!(
                found.as_ref().is_err_and(|found| found.contains(reason)),
                "{text}: {found:?}"
            ),
        }
    }

    #[test]
    fn what_all_readers_read_alike_passes() {
        for text in [
            "{}",
            r#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":2}]}"#,
            r#" { "a" : "\u00e4\ud83d\ude00 \"b\": \\" , "b" : -1.5e3 } "#,
            "null",
            "\"x\"",
        ] {
            check(text, "");
        }
        check(&format!("{}{}", "[".repeat(32), "]".repeat(32)), "");
    }

    #[test]
    fn what_readers_differ_in_is_refused() {
        check(r#"{"a":1,"a":2}"#, "duplicate field `a`");
        check(r#"{"x":[{"a":1,"b":2,"\u0061":2}]}"#, "duplicate field `a`");
        check(r#"{"a":"\ud800"}"#, "hex escape");
        check(r#"{"a":"\ud800\u0061"}"#, "surrogate");
        check(r#"{"a":"\u0000"}"#, "U+0000");
        check(r#"{"a\u0000":1}"#, "U+0000");
        check(r#"{"a":1e400}"#, "out of range");
        check(
            &format!("{{\"a\":{}}}", "1".repeat(65)),
            "a number is out of range",
        );
        check(&format!("{}{}", "[".repeat(33), "]".repeat(33)), "deeper");
        assert!(look_through("[".repeat(60_000).as_bytes()).is_err());
        check(&format!("{{\"{}\":1}}", "n".repeat(257)), "longer");
        check(
            r#"{"$serde_json::private::Number":"1"}"#,
            "unknown field `$serde_json",
        );
        check("{", "EOF");
        check("{} {}", "trailing");
        check("{'a':1}", "key must be a string");
        check("NaN", "expected");
    }

    proptest::proptest! {
        #[test]
        fn whatever_passes_is_json(text in r#"[\[\]{}:,"a\\u0 1e-]{0,24}"#) {
            if look_through(text.as_bytes()).is_ok() {
                proptest::prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
            }
        }
    }
}

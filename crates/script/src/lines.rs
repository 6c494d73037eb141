//! Lines that a worker answers with, and their JSON.
//!
//! What is stored or sent on is checked here: a line is one whole JSON value of bounded depth, in
//! UTF-8, without halves of surrogate pairs, whatever the function or a broken worker made it.

use serde_json::Value;

use crate::scripts::{Emission, Mapped};

/// Brackets within brackets that a key or a value may have.
const DEPTH_MAX: usize = 500;

/// A line for what a function threw.
pub(crate) fn threw_line(error: &str, reason: &str) -> String {
    format!("!{}", Value::from(vec![error, reason]))
}

/// The error and the reason of such a line, without its `!`.
pub(crate) fn thrown(json: &str) -> (String, String) {
    // Half a surrogate pair, which a function may leave at the end of a text, is no JSON to serde.
    serde_json::from_str(&pair_surrogates(json))
        .unwrap_or_else(|_| ("unnamed_error".to_owned(), String::new()))
}

/// A line of a map function: `[key,value,key,value]`.
pub(crate) fn mapped(line: &str) -> Mapped {
    if let Some(json) = line.strip_prefix('!') {
        return Mapped::Threw(thrown(json).1);
    }
    match emissions(line) {
        Some(emissions) => Mapped::Emitted(emissions),
        None => Mapped::Threw("what was emitted has no JSON that can be stored".to_owned()),
    }
}

fn emissions(line: &str) -> Option<Vec<Emission>> {
    let mut scan = Scan::new(line);
    let mut emissions = Vec::new();
    scan.expect(b'[')?;
    if scan.peek() == Some(b']') {
        scan.expect(b']')?;
        return scan.end().then_some(emissions);
    }
    loop {
        let key = scan.take_value()?;
        scan.expect(b',')?;
        let value = scan.take_value()?;
        emissions.push(Emission { key, value });
        match scan.next()? {
            b',' => {}
            b']' => return scan.end().then_some(emissions),
            _ => return None,
        }
    }
}

/// The line if it is one JSON value.
pub(crate) fn value(line: &str) -> Option<String> {
    let mut scan = Scan::new(line);
    let value = scan.take_value()?;
    scan.end().then_some(value)
}

/// Walks over JSON without building anything.
struct Scan<'t> {
    text: &'t str,
    at: usize,
    /// A surrogate escape was seen since it was asked last.
    surrogates: bool,
}

impl<'t> Scan<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            surrogates: false,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn end(&self) -> bool {
        self.at == self.text.len()
    }

    fn take_value(&mut self) -> Option<String> {
        let from = self.at;
        self.surrogates = false;
        self.value(DEPTH_MAX)?;
        let text = self.text.get(from..self.at)?;
        Some(if self.surrogates {
            pair_surrogates(text)
        } else {
            text.to_owned()
        })
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.next()? {
            b'"' => self.string(),
            b'{' => self.members(depth.checked_sub(1)?, b'}'),
            b'[' => self.members(depth.checked_sub(1)?, b']'),
            b't' => self.literal("rue"),
            b'f' => self.literal("alse"),
            b'n' => self.literal("ull"),
            b'-' => {
                let first = self.next()?;
                self.number(first)
            }
            first => self.number(first),
        }
    }

    fn members(&mut self, depth: usize, end: u8) -> Option<()> {
        if self.peek()? == end {
            self.at += 1;
            return Some(());
        }
        loop {
            if end == b'}' {
                self.expect(b'"')?;
                self.string()?;
                self.expect(b':')?;
            }
            self.value(depth)?;
            match self.next()? {
                b',' => {}
                byte => return (byte == end).then_some(()),
            }
        }
    }

    /// The rest of a string after its first quote.
    fn string(&mut self) -> Option<()> {
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'u' => {
                        let digits = self.text.as_bytes().get(self.at..)?.first_chunk::<4>()?;
                        if !digits.iter().all(u8::is_ascii_hexdigit) {
                            return None;
                        }
                        self.surrogates |= matches!(
                            digits,
                            [b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F', ..]
                        );
                        self.at += 4;
                    }
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    _ => return None,
                },
                0..=0x1f => return None,
                _ => {}
            }
        }
    }

    fn literal(&mut self, rest: &str) -> Option<()> {
        let found = self
            .text
            .as_bytes()
            .get(self.at..)?
            .starts_with(rest.as_bytes());
        self.at += rest.len();
        found.then_some(())
    }

    fn number(&mut self, first: u8) -> Option<()> {
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Some(())
    }

    fn some_digits(&mut self) -> Option<()> {
        let from = self.at;
        self.digits();
        (self.at > from).then_some(())
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }
}

/// JSON whose surrogate escapes all come in pairs: halves become U+FFFD, as they do wherever text
/// that is not Unicode is made so.
fn pair_surrogates(json: &str) -> String {
    let mut whole = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        let length = match (unit(escape), unit(escape.get(6..).unwrap_or_default())) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                whole.push('\u{fffd}');
                rest = escape.get(6..).unwrap_or_default();
                continue;
            }
            (Some(_), _) => 6,
            (None, _) => 2,
        };
        let (taken, after) = escape.split_at_checked(length).unwrap_or((escape, ""));
        whole.push_str(taken);
        rest = after;
    }
    whole.push_str(rest);
    whole
}

/// The code unit of an escape `\uXXXX` at the start.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn rows_come_back(rows in prop::collection::vec((json(), json()), 0..5)) {
            let flat: Vec<Value> = rows.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect();
            let expected = rows.iter().map(|(key, value)| Emission { key: key.to_string(), value: value.to_string() }).collect();
            prop_assert_eq!(mapped(&Value::from(flat).to_string()), Mapped::Emitted(expected));
        }

        #[test]
        fn only_json_is_a_value(text in r#"[\[\]{}",:\\u0d8ftrue1.e+ -]{0,12}"#) {
            // serde_json allows blanks, which a worker does not write, and refuses halves of pairs.
            if let Some(value) = value(&text) {
                prop_assert!(serde_json::from_str::<Value>(&value).is_ok(), "{text} became {value}");
            } else if !text.contains([' ', '-']) {
                prop_assert!(serde_json::from_str::<Value>(&text).is_err(), "{text} was refused");
            }
        }
    }

    #[test]
    fn halves_of_pairs_are_replaced() {
        let halves = r#"["\ud83d\ude00 \ud83d \\ud83d \ude00\u0041",1]"#;
        let whole = "[\"\\ud83d\\ude00 \u{fffd} \\\\ud83d \u{fffd}\\u0041\",1]";
        assert_eq!(value(halves).as_deref(), Some(whole));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(value(&nested(DEPTH_MAX)).is_some());
        assert!(value(&nested(DEPTH_MAX + 1)).is_none());
        assert!(value(&"[".repeat(1_000_000)).is_none());
    }

    #[test]
    fn other_lines_are_not_rows() {
        for line in [
            "", "[1]", "[1,2,3]", "[1,2,]", "[1,2]x", "{}", "null", "[,]", "[1 ,2]",
        ] {
            assert!(matches!(mapped(line), Mapped::Threw(_)), "{line}");
        }
    }
}

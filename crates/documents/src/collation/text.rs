//! Sort keys straight from JSON text, without a tree of values in between: an index makes one for
//! each of its rows.
//!
//! Invariant: the sort key of a text is that of the value it says, if no object in it has a key
//! twice; of a text that is no JSON, it is that of the text as a string.

use std::borrow::Cow;

use super::{Collation, END, Kind, Numeric};

impl Collation {
    /// As [`Collation::sort_key`], of a value's text. What is no JSON is taken for a string.
    pub fn sort_key_of_json(self, text: &str, out: &mut Vec<u8>) {
        let start = out.len();
        let mut reading = Reading {
            collation: self,
            rest: text,
            out,
        };
        if reading.document().is_none() {
            out.truncate(start);
            self.write_string(text, out);
        }
    }
}

/// A text that is being read, and the sort key that comes of it.
struct Reading<'t, 'o> {
    collation: Collation,
    rest: &'t str,
    out: &'o mut Vec<u8>,
}

/// A container that was begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Array,
    Object,
}

impl<'t> Reading<'t, '_> {
    fn document(&mut self) -> Option<()> {
        let mut open = Vec::new();
        loop {
            let begun = self.value()?;
            open.extend(begun);
            let mut first = begun.is_some();
            // Closes what ends here, up to where the next value begins.
            loop {
                let Some(container) = open.last() else {
                    return self.peek().is_none().then_some(());
                };
                let end = match container {
                    Open::Array => b']',
                    Open::Object => b'}',
                };
                let next = self.peek()?;
                if next == end {
                    self.skip(1);
                    self.out.push(END);
                    open.pop();
                    first = false;
                    continue;
                }
                if !first {
                    (next == b',').then(|| self.skip(1))?;
                }
                if *container == Open::Object {
                    self.member()?;
                }
                break;
            }
        }
    }

    /// Reads a scalar, or the beginning of a container.
    fn value(&mut self) -> Option<Option<Open>> {
        let (kind, length, open) = match self.peek()? {
            b'"' => {
                self.string()?;
                return Some(None);
            }
            b'-' | b'0'..=b'9' => {
                self.number()?;
                return Some(None);
            }
            b'[' => (Kind::Array, 1, Some(Open::Array)),
            b'{' => (Kind::Object, 1, Some(Open::Object)),
            _ if self.rest.starts_with("null") => (Kind::Null, 4, None),
            _ if self.rest.starts_with("true") => (Kind::True, 4, None),
            _ if self.rest.starts_with("false") => (Kind::False, 5, None),
            _ => return None,
        };
        self.skip(length);
        self.out.push(self.collation.tag(kind));
        Some(open)
    }

    /// Reads a member's key and what stands before its value.
    fn member(&mut self) -> Option<()> {
        (self.peek()? == b'"').then_some(())?;
        self.string()?;
        (self.peek()? == b':').then(|| self.skip(1))
    }

    fn number(&mut self) -> Option<()> {
        let in_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let bytes = self.rest.as_bytes();
        let length = bytes.iter().take_while(|byte| in_number(byte)).count();
        let (number, rest) = self.rest.split_at_checked(length)?;
        self.collation
            .write_number(&Numeric::parse(number)?, self.out);
        self.rest = rest;
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        let bytes = self.rest.as_bytes();
        let (mut at, mut plain) = (1, true);
        loop {
            at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
            if bytes.get(at) == Some(&b'"') {
                break;
            }
            plain = false;
            at += 2;
        }
        let (quoted, rest) = self.rest.split_at_checked(at + 1)?;
        let text: Cow<'t, str> = if plain {
            Cow::Borrowed(quoted.get(1..at)?)
        } else {
            Cow::Owned(serde_json::from_str(quoted).ok()?)
        };
        self.collation.write_string(&text, self.out);
        self.rest = rest;
        Some(())
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest.bytes().next()
    }

    /// Leaves out bytes that were seen to be ASCII.
    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }
}

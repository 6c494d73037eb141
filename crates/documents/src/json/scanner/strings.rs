//! Strings: the decoded bytes go to the term; the text is kept as it stands but for needless escapes.
//!
//! Almost every string holds no escape at all, and is found to hold none eight bytes at a time.

use std::borrow::Cow;

use super::{JsonError, Scanner, offset, term};
use crate::json::write_escaped;

impl<'a> Scanner<'a> {
    /// Reads a string, from its opening quote on.
    pub(super) fn string(&mut self) -> Result<(), JsonError> {
        let start = self.at + 1;
        let rest = self.input.as_bytes().get(start..).unwrap_or_default();
        let (plain, rest) = rest.split_at_checked(plain_run(rest)).unwrap_or_default();
        if rest.first() == Some(&b'"') {
            self.at = start + plain.len() + 1;
            term::put_binary(&mut self.term, plain)
        } else {
            self.at = start;
            self.string_with_escapes()
        }
    }

    #[inline(never)]
    fn string_with_escapes(&mut self) -> Result<(), JsonError> {
        let head = self.term.len();
        term::put_binary_head(&mut self.term);
        loop {
            let rest = self.input.as_bytes().get(self.at..).unwrap_or_default();
            let (plain, rest) = rest.split_at_checked(plain_run(rest)).unwrap_or_default();
            self.term.extend_from_slice(plain);
            self.at += plain.len();
            match rest {
                [b'"', ..] => {
                    self.at += 1;
                    let length = self.term.len() - head - term::BINARY_HEAD;
                    return term::set_count(&mut self.term, head, length);
                }
                [b'\\', letter, ..] => self.escape(*letter)?,
                _ => return Err(JsonError::Invalid),
            }
        }
    }

    fn escape(&mut self, letter: u8) -> Result<(), JsonError> {
        let start = self.at;
        self.at += 2;
        let byte = match letter {
            b'"' | b'\\' => letter,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'/' => {
                self.flush(start);
                self.kept = start + 1;
                b'/'
            }
            b'u' => {
                let character = self.code_point()?;
                self.flush(start);
                self.kept = self.at;
                let mut buffer = [0; 4];
                let bytes = character.encode_utf8(&mut buffer).as_bytes();
                self.term.extend_from_slice(bytes);
                write_escaped(&mut self.text, bytes);
                return Ok(());
            }
            _ => return Err(JsonError::Invalid),
        };
        self.term.push(byte);
        Ok(())
    }

    /// Reads the digits of a `\u` escape, and of the other half of a pair.
    fn code_point(&mut self) -> Result<char, JsonError> {
        let unit = self.code_unit()?;
        let code = if (0xd800..0xdc00).contains(&unit) {
            self.expect(b'\\')?;
            self.expect(b'u')?;
            let low = self.code_unit()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(JsonError::Invalid);
            }
            0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
        } else {
            unit
        };
        // A low half alone is no character either.
        char::from_u32(code).ok_or(JsonError::Invalid)
    }

    fn code_unit(&mut self) -> Result<u32, JsonError> {
        let digits = self
            .input
            .as_bytes()
            .get(self.at..)
            .and_then(<[u8]>::first_chunk::<4>)
            .ok_or(JsonError::Invalid)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, &digit| {
            let digit = char::from(digit).to_digit(16).ok_or(JsonError::Invalid)?;
            Ok(unit << 4 | digit)
        })
    }

    /// Reads the text of a string.
    pub(super) fn plain_string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        if self.peek() != b'"' {
            return Err(JsonError::Invalid);
        }
        let start = self.at + 1;
        let rest = self.input.get(start..).unwrap_or_default();
        if let Some((plain, rest)) = rest.split_at_checked(plain_run(rest.as_bytes()))
            && rest.starts_with('"')
        {
            self.at = start + plain.len() + 1;
            return Ok(Cow::Borrowed(plain));
        }
        self.at = start;
        let head = self.term.len();
        self.string_with_escapes()?;
        let content = self
            .term
            .get(head + term::BINARY_HEAD..)
            .unwrap_or_default();
        let text = String::from_utf8(content.to_vec()).map_err(|_| JsonError::Invalid)?;
        self.term.truncate(head);
        Ok(Cow::Owned(text))
    }
}

/// How many bytes from the start on a string may hold as they are: none of them is a quote, a
/// backslash or a control character. Eight at a time, since strings are most of what there is.
pub(in crate::json) fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // Subtracting borrows into the high bit of bytes below the bound; a byte above the lowest
        // hit may be marked wrongly, the lowest one never is.
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = word ^ (ONES * 0x22);
        let quote = quote.wrapping_sub(ONES) & !quote;
        let backslash = word ^ (ONES * 0x5c);
        let backslash = backslash.wrapping_sub(ONES) & !backslash;
        let hits = (control | quote | backslash) & HIGHS;
        if hits != 0 {
            return index * 8 + offset(hits.trailing_zeros() / 8);
        }
    }
    let in_tail = tail
        .iter()
        .position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')
        .unwrap_or(tail.len());
    bytes.len() - tail.len() + in_tail
}

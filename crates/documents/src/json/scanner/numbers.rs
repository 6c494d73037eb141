//! Numbers: what is an integer and what a float, and which literals stand as they are.

use super::{JsonError, Scanner, term};
use crate::json::number::{self, INTEGER_DIGITS_MAX, WORD_DIGITS_MAX};

impl Scanner<'_> {
    pub(super) fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        let negative = self.peek() == b'-';
        self.at += usize::from(negative);
        let first_digit = self.at;
        let mut size = 0u64;
        let mut digit = self.peek().wrapping_sub(b'0');
        while digit < 10 {
            size = size.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
            digit = self.peek().wrapping_sub(b'0');
        }
        let digits = self.since(first_digit);
        if digits.is_empty() || (digits.starts_with('0') && digits.len() > 1) {
            return Err(JsonError::Invalid);
        }
        if matches!(self.peek(), b'.' | b'e' | b'E') {
            return self.float(start);
        }
        if digits.len() <= WORD_DIGITS_MAX {
            if negative && size == 0 {
                // There is one zero: the sign is left out.
                self.flush(start);
                self.kept = first_digit;
            }
            term::put_integer(&mut self.term, negative, size);
        } else if digits.len() <= INTEGER_DIGITS_MAX {
            let size = number::big_integer(digits.as_bytes());
            term::put_big(&mut self.term, negative, &size);
        } else {
            return Err(JsonError::Invalid);
        }
        Ok(())
    }

    /// Reads the rest of a number that has a fraction or an exponent.
    #[inline(never)]
    fn float(&mut self, start: usize) -> Result<(), JsonError> {
        let mut has_exponent = false;
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            has_exponent = true;
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        let literal = self.since(start);
        let number: f64 = literal.parse().map_err(|_| JsonError::Invalid)?;
        if !number.is_finite() {
            return Err(JsonError::Invalid);
        }
        term::put_float(&mut self.term, number);
        if has_exponent || !number::is_surely_printed_so(literal, number) {
            self.flush(start);
            self.kept = self.at;
            number::write_float(&mut self.text, number);
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at > start {
            Ok(())
        } else {
            Err(JsonError::Invalid)
        }
    }
}

//! Cuts `{"results":[row,row,…],…}` into its rows while it arrives.
//!
//! Feeds and `_bulk_get` have this form, and may be longer than memory. Held are the row that is not
//! complete yet, and the few members around the array; both are bounded. Rows are only cut here:
//! whether one is JSON is found out by who reads it.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr2;

/// The most bytes around the array.
const AROUND_MAX: usize = 1 << 20;

/// Why a text does not have that form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RowsError {
    #[error("not a JSON object with `results`")]
    Form,
    #[error("a row is longer than {0} bytes")]
    RowTooLong(usize),
    #[error("more than {AROUND_MAX} bytes around the rows")]
    AroundTooLong,
    #[error("the answer ends in the middle")]
    Truncated,
}

/// Where in the text the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before or after the array.
    Around,
    /// In the array, before a row, a comma or the end.
    Between,
    /// In a row.
    Row,
}

/// Cuts one text into rows. Push with [`Self::feed`], then pull with [`Self::next`] until there is none.
#[derive(Debug)]
pub(crate) struct Rows {
    buffer: BytesMut,
    /// Bytes of the buffer that were looked at.
    seen: usize,
    place: Place,
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// The array's name was the last text of the outer object, and a colon came.
    named: bool,
    had_array: bool,
    /// The last text of the outer object.
    text: Vec<u8>,
    around: Vec<u8>,
    row_max: usize,
}

impl Rows {
    /// For a text whose rows have at most `row_max` bytes.
    pub(crate) fn new(row_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            seen: 0,
            place: Place::Around,
            depth: 0,
            in_text: false,
            escaped: false,
            named: false,
            had_array: false,
            text: Vec::new(),
            around: Vec::new(),
            row_max,
        }
    }

    /// Takes the next piece of the text.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next row; `None` if that needs more of the text.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, RowsError> {
        loop {
            match self.place {
                Place::Around => {
                    if !self.read_around()? {
                        return Ok(None);
                    }
                }
                Place::Between => {
                    let Some(byte) = self.buffer.first().copied() else {
                        return Ok(None);
                    };
                    match byte {
                        b' ' | b'\t' | b'\r' | b'\n' | b',' => self.buffer.advance(1),
                        b'{' => self.place = Place::Row,
                        b']' => {
                            self.buffer.advance(1);
                            self.around.push(byte);
                            self.place = Place::Around;
                            self.depth = 1;
                        }
                        _ => return Err(RowsError::Form),
                    }
                }
                Place::Row => return self.read_row(),
            }
        }
    }

    /// What stands around the array, once all of the text was fed and all rows were pulled.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, RowsError> {
        if self.next()?.is_some() {
            return Err(RowsError::Form);
        }
        let whole = self.place == Place::Around && self.depth == 0 && self.had_array;
        whole.then_some(self.around).ok_or(RowsError::Truncated)
    }

    /// Reads what is not in the array; true when the array begins.
    fn read_around(&mut self) -> Result<bool, RowsError> {
        while let Some(byte) = self.buffer.first().copied() {
            self.buffer.advance(1);
            if self.around.len() == AROUND_MAX {
                return Err(RowsError::AroundTooLong);
            }
            self.around.push(byte);
            if self.in_text {
                self.in_outer_text(byte);
                continue;
            }
            match byte {
                b'"' => {
                    self.in_text = true;
                    self.named = false;
                    self.text.clear();
                }
                b'[' if self.named && !self.had_array => {
                    self.had_array = true;
                    self.named = false;
                    self.place = Place::Between;
                    return Ok(true);
                }
                b'{' | b'[' => {
                    self.named = false;
                    self.depth += 1;
                }
                b'}' | b']' => self.depth = self.depth.checked_sub(1).ok_or(RowsError::Form)?,
                b':' => self.named = self.depth == 1 && self.text == b"results",
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => self.named = false,
            }
        }
        Ok(false)
    }

    fn in_outer_text(&mut self, byte: u8) {
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            self.in_text = false;
            return;
        }
        // Only names are compared, and the array's is short.
        if self.text.len() < 16 {
            self.text.push(byte);
        }
    }

    /// Reads on in a row, whose first byte is the buffer's.
    fn read_row(&mut self) -> Result<Option<Bytes>, RowsError> {
        while let Some(rest) = self.buffer.get(self.seen..).filter(|rest| !rest.is_empty()) {
            if self.in_text {
                let (end, escaped) = end_of_text(rest, self.escaped);
                self.escaped = escaped;
                self.in_text = end.is_none();
                let Some(end) = end else {
                    self.seen = self.buffer.len();
                    break;
                };
                self.seen += end;
                continue;
            }
            let Some(at) = rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))
            else {
                self.seen = self.buffer.len();
                break;
            };
            let byte = rest.get(at).copied();
            self.seen += at + 1;
            match byte {
                Some(b'"') => self.in_text = true,
                Some(b'{' | b'[') => self.depth += 1,
                _ => {
                    // The outer object is one level, the row the next.
                    self.depth = self.depth.checked_sub(1).ok_or(RowsError::Form)?;
                    if self.depth == 1 {
                        let row = self.buffer.split_to(self.seen).freeze();
                        self.seen = 0;
                        self.place = Place::Between;
                        return self.bounded(row.len()).map(|()| Some(row));
                    }
                }
            }
        }
        self.bounded(self.buffer.len())?;
        Ok(None)
    }

    fn bounded(&self, length: usize) -> Result<(), RowsError> {
        if length > self.row_max {
            return Err(RowsError::RowTooLong(self.row_max));
        }
        Ok(())
    }
}

/// Where a text that is being read ends, and whether what comes next stands behind a backslash.
fn end_of_text(rest: &[u8], escaped: bool) -> (Option<usize>, bool) {
    let mut from = usize::from(escaped);
    while let Some(more) = rest.get(from..) {
        let Some(at) = memchr2(b'"', b'\\', more) else {
            return (None, false);
        };
        if more.get(at) == Some(&b'"') {
            return (Some(from + at + 1), false);
        }
        if at + 1 == more.len() {
            return (None, true);
        }
        from += at + 2;
    }
    (None, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &[u8], step: usize, row_max: usize) -> Result<(Vec<String>, String), RowsError> {
        let (mut rows, mut found) = (Rows::new(row_max), Vec::new());
        for piece in text.chunks(step) {
            rows.feed(piece);
            while let Some(row) = rows.next()? {
                found.push(String::from_utf8(row.to_vec()).unwrap());
            }
        }
        Ok((found, String::from_utf8(rows.finish()?).unwrap()))
    }

    #[test]
    fn rows_are_cut_wherever_the_pieces_end() {
        let rows = [
            r#"{"seq":"1-a","id":"a","changes":[{"rev":"1-x"}]}"#,
            r#"{"id":"\"]}\\","x":"\\\"","y":[[{}],"}"]}"#,
            "{}",
            r#"{"é":"ü\u0022"}"#,
        ];
        let text = format!(
            "\n\n{{\"a\":{{\"results\":[1]}},\"results\" : [\n{}\n],\n\"last_seq\":\"9-x\",\"pending\":0}}\n",
            rows.join(",\r\n")
        );
        for step in 1..text.len() {
            let (found, around) = cut(text.as_bytes(), step, 1_000).unwrap();
            assert_eq!(found, rows, "in steps of {step}");
            let around: serde_json::Value = serde_json::from_str(&around).unwrap();
            assert_eq!(around["last_seq"], "9-x");
            assert_eq!(around["results"], serde_json::json!([]));
        }
    }

    #[test]
    fn what_is_not_of_that_form_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            "{\"results\":[",
            "{\"results\":[{}",
            "{\"results\":[{}]",
            "{\"results\":[1]}",
            "{\"results\":{}}",
            "}",
            "{\"results\":[}]}",
            "{\"results\":\"[]\"}",
            "{\"results\":[{]}}",
        ] {
            for step in [1, 1_000] {
                assert!(cut(text.as_bytes(), step, 1_000).is_err(), "{text}");
            }
        }
        let long = format!("{{\"results\":[{{\"a\":\"{}\"}}]}}", "x".repeat(100));
        for step in [1, 1_000] {
            assert_eq!(
                cut(long.as_bytes(), step, 50),
                Err(RowsError::RowTooLong(50))
            );
        }
        let around = format!("{{\"x\":\"{}\"", "x".repeat(AROUND_MAX));
        assert_eq!(
            cut(around.as_bytes(), 1_000, 50),
            Err(RowsError::AroundTooLong)
        );
    }
}

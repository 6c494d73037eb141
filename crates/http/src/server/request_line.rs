//! Quotation marks in URLs, as people and many clients write them: `?key="a"`.
//!
//! They are no part of a URL by the letter of the law, and hyper refuses a request that has them. So
//! what comes in is looked at while it is the first line of a request, and what a URL may not hold
//! is escaped there. All other bytes go by untouched.

use memchr::{memchr, memchr3};

/// The first lines of the requests of one connection.
#[derive(Debug, Default)]
pub(super) struct RequestLine {
    within: bool,
    /// What was escaped and has not been read.
    waiting: Vec<u8>,
}

impl RequestLine {
    /// The next byte is the first of a request.
    pub(super) fn begin(&mut self) {
        self.within = true;
    }

    /// The bytes that have just come in, if they must be others: they are all taken, and come out of
    /// [`Self::take`].
    pub(super) fn replaces(&mut self, bytes: &[u8]) -> bool {
        if !self.within {
            return false;
        }
        let end = memchr(b'\n', bytes);
        self.within = end.is_none();
        let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        if memchr3(b'"', b'<', b'>', line).is_none() {
            return false;
        }
        for byte in line {
            match byte {
                b'"' => self.waiting.extend_from_slice(b"%22"),
                b'<' => self.waiting.extend_from_slice(b"%3C"),
                b'>' => self.waiting.extend_from_slice(b"%3E"),
                other => self.waiting.push(*other),
            }
        }
        self.waiting.extend_from_slice(rest);
        true
    }

    /// Gives at most `most` of the bytes that wait.
    pub(super) fn take(&mut self, most: usize) -> Vec<u8> {
        let rest = self.waiting.split_off(most.min(self.waiting.len()));
        std::mem::replace(&mut self.waiting, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `text` in pieces of `size` bytes through it, reading `most` at a time.
    fn through(text: &str, size: usize, most: usize) -> String {
        let mut line = RequestLine::default();
        line.begin();
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            if line.replaces(piece) {
                loop {
                    let taken = line.take(most);
                    if taken.is_empty() {
                        break;
                    }
                    assert!(taken.len() <= most);
                    out.extend(taken);
                }
            } else {
                out.extend_from_slice(piece);
            }
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_the_first_line_is_escaped_however_it_comes() {
        let text = "GET /db?key=\"a\"&x=<y> HTTP/1.1\r\nX: \"kept\"\r\n\r\n{\"a\":1}";
        let expected = "GET /db?key=%22a%22&x=%3Cy%3E HTTP/1.1\r\nX: \"kept\"\r\n\r\n{\"a\":1}";
        for size in 1..text.len() {
            for most in [1, 5, 100] {
                assert_eq!(through(text, size, most), expected);
            }
        }
        let plain = "GET / HTTP/1.1\r\n\r\n\"";
        assert_eq!(through(plain, plain.len(), 8), plain);
    }
}

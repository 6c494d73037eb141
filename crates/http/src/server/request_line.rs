//! Quotation marks in URLs, as people and many clients write them: `?key="a"`.
//!
//! They are no part of a URL by the letter of the law, and hyper refuses a request that has them. So
//! what comes in is looked at while it is the first line of a request, and what a URL may not hold
//! is escaped there. All other bytes go by untouched.
//!
//! Who sends several requests at once has hyper find the next one in what it has read already; what
//! comes then may be the middle of a request. So behind the first request of a connection a line is
//! taken for the first of a request only if it looks like one: a method, a space and a path.

use memchr::{memchr, memchr3};

/// The first lines of the requests of one connection.
#[derive(Debug, Default)]
pub(super) struct RequestLine {
    within: bool,
    /// Whether it is not certain that what comes is the beginning of a request.
    unsure: bool,
    /// Whether there was one before.
    later: bool,
    /// What was escaped and has not been read.
    waiting: Vec<u8>,
}

impl RequestLine {
    /// The next byte is the first of a request.
    pub(super) fn begin(&mut self) {
        self.within = true;
        self.unsure = self.later;
        self.later = true;
    }

    /// The bytes that have just come in, if they must be others: they are all taken, and come out of
    /// [`Self::take`].
    pub(super) fn replaces(&mut self, bytes: &[u8]) -> bool {
        if !self.within {
            return false;
        }
        if std::mem::take(&mut self.unsure) && !begins_request(bytes) {
            self.within = false;
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

/// Whether this looks like the beginning of a request: a method, a space and a path.
fn begins_request(bytes: &[u8]) -> bool {
    let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase());
    let method = method.count();
    let rest = bytes.get(method..).unwrap_or_default();
    // It may also come byte by byte.
    method > 0 && (rest.starts_with(b" /") || rest.starts_with(b" http") || b" ".starts_with(rest))
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
        let mut line = RequestLine::default();
        for (bytes, is_line) in [
            ("GET /?a=\"b\" HTTP/1.1\r\n", true),
            ("\"name\":\"nobody\"}", false),
            ("GET /?a=\"b\" HTTP/1.1\r\n", true),
            ("If-Match: \"1-a\"\r\n", false),
            ("\"x\"\nGET /\"\n", false),
        ] {
            line.begin();
            assert_eq!(line.replaces(bytes.as_bytes()), is_line, "{bytes}");
            line.take(100);
        }
        let plain = "GET / HTTP/1.1\r\n\r\n\"";
        assert_eq!(through(plain, plain.len(), 8), plain);
    }
}

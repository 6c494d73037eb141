//! The little of HTTP/1.1 that a measuring client needs: heads of answers, and bodies by length,
//! in chunks or to the end. It has no socket, so that its tests need none.
//!
//! The client shares two cores with the server it measures: it must cost little, and it must notice
//! everything that is not as it should be.

use bytes::{Buf, Bytes, BytesMut};

/// The largest head of an answer.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The longest line that gives the size of a chunk.
const CHUNK_LINE_BYTES_MAX: usize = 1 << 10;

/// What is wrong with an answer.
pub(super) type WireError = &'static str;

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The status code.
    pub(super) status: u16,
    /// How the body is delimited.
    pub(super) body: Body,
    /// The cookie that it sets, as a name and a value.
    pub(super) cookie: Option<String>,
}

/// Where in a body we are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes to come.
    Length(u64),
    /// Chunks, and where in them.
    Chunked(Chunk),
    /// Everything until the server closes.
    UntilClose,
}

/// Where in a chunked body we are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// Before the line with a size.
    Size,
    /// So many bytes of a chunk to come, and then a line end.
    Data(u64),
    /// Before the line end after a chunk.
    End,
    /// Behind the last chunk.
    Trailers,
    /// Behind everything.
    Done,
}

/// What the next bytes of a body are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// These.
    Data(Bytes),
    /// Not here yet.
    More,
    /// None: the body is complete.
    End,
}

/// Takes the head of an answer out of `input`, once it is complete.
pub(super) fn take_head(input: &mut BytesMut) -> Result<Option<Head>, WireError> {
    let Some(end) = find(input, b"\r\n\r\n") else {
        return if input.len() > HEAD_BYTES_MAX {
            Err("its head does not end")
        } else {
            Ok(None)
        };
    };
    let bytes = input.split_to(end + 4);
    let text = std::str::from_utf8(&bytes).map_err(|_| "its head is not UTF-8")?;
    let mut lines = text.split("\r\n");
    let status = parse_status(lines.next().unwrap_or_default())?;
    let (mut body, mut cookie) = (Body::UntilClose, None);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") && body == Body::UntilClose {
            let length = value.trim().parse();
            body = Body::Length(length.map_err(|_| "its Content-Length is not a number")?);
        } else if name.eq_ignore_ascii_case("transfer-encoding")
            && value.trim().eq_ignore_ascii_case("chunked")
        {
            body = Body::Chunked(Chunk::Size);
        } else if name.eq_ignore_ascii_case("set-cookie") {
            let pair = value.split(';').next().unwrap_or_default();
            cookie = Some(pair.trim().to_owned());
        }
    }
    if status == 204 || status == 304 {
        body = Body::Length(0);
    }
    Ok(Some(Head {
        status,
        body,
        cookie,
    }))
}

fn parse_status(line: &str) -> Result<u16, WireError> {
    let rest = line
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| line.strip_prefix("HTTP/1.0 "))
        .ok_or("it is not HTTP/1")?;
    let code = rest.get(..3).unwrap_or_default();
    let status = code.parse().map_err(|_| "its status is not a number")?;
    if (200..600).contains(&status) {
        Ok(status)
    } else {
        Err("its status is not final")
    }
}

impl Body {
    /// Whether the whole body has been taken.
    pub(super) fn ended(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Done))
    }

    /// Takes the next bytes of the body out of `input`.
    pub(super) fn take(&mut self, input: &mut BytesMut) -> Result<Piece, WireError> {
        match self {
            Self::Length(0) => Ok(Piece::End),
            Self::Length(left) => Ok(take_some(left, input)),
            Self::UntilClose if input.is_empty() => Ok(Piece::More),
            Self::UntilClose => Ok(Piece::Data(input.split().freeze())),
            Self::Chunked(chunk) => chunk.take(input),
        }
    }
}

fn take_some(left: &mut u64, input: &mut BytesMut) -> Piece {
    if input.is_empty() {
        return Piece::More;
    }
    let here = usize::try_from(*left)
        .unwrap_or(usize::MAX)
        .min(input.len());
    *left = left.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX));
    Piece::Data(input.split_to(here).freeze())
}

impl Chunk {
    fn take(&mut self, input: &mut BytesMut) -> Result<Piece, WireError> {
        loop {
            match self {
                Self::Done => return Ok(Piece::End),
                Self::Size => {
                    let Some(size) = take_size(input)? else {
                        return Ok(Piece::More);
                    };
                    *self = if size == 0 {
                        Self::Trailers
                    } else {
                        Self::Data(size)
                    };
                }
                Self::Data(0) => *self = Self::End,
                Self::Data(left) => return Ok(take_some(left, input)),
                Self::End => match input.first_chunk::<2>() {
                    None => return Ok(Piece::More),
                    Some(b"\r\n") => {
                        input.advance(2);
                        *self = Self::Size;
                    }
                    Some(_) => return Err("a chunk is longer than it said"),
                },
                Self::Trailers => {
                    let Some(line) = take_line(input)? else {
                        return Ok(Piece::More);
                    };
                    if line.is_empty() {
                        *self = Self::Done;
                    }
                }
            }
        }
    }
}

fn take_size(input: &mut BytesMut) -> Result<Option<u64>, WireError> {
    let Some(line) = take_line(input)? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&line).map_err(|_| "a chunk has no size")?;
    // Extensions may follow the size.
    let digits = text.split(';').next().unwrap_or_default().trim();
    let size = u64::from_str_radix(digits, 16).map_err(|_| "a chunk has no size")?;
    Ok(Some(size))
}

fn take_line(input: &mut BytesMut) -> Result<Option<BytesMut>, WireError> {
    let Some(end) = find(input, b"\r\n") else {
        return if input.len() > CHUNK_LINE_BYTES_MAX {
            Err("a line between chunks does not end")
        } else {
            Ok(None)
        };
    };
    let line = input.split_to(end);
    input.advance(2);
    Ok(Some(line))
}

/// Where `needle` begins in `bytes`.
pub(super) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}

/// How often `needle` stands in `bytes`.
pub(super) fn count(bytes: &[u8], needle: &[u8]) -> usize {
    bytes
        .windows(needle.len())
        .filter(|window| *window == needle)
        .count()
}

/// Counts the rows of a view, of `_all_docs` or of `_changes` as they stream by: the objects in
/// the array of the outermost object, however the server breaks lines.
#[derive(Debug, Default)]
pub(super) struct RowCounter {
    depth: u32,
    in_string: bool,
    escaped: bool,
    rows: usize,
    bytes: usize,
}

impl RowCounter {
    /// Looks at the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        for byte in bytes {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.rows += usize::from(*byte == b'{' && self.depth == 2);
                    self.depth += 1;
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// The rows and bytes seen, if the JSON ended where it should.
    pub(super) fn finish(&self) -> Option<(usize, usize)> {
        (self.depth == 0 && !self.in_string && self.bytes > 0).then_some((self.rows, self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds an answer byte by byte, and returns its status and body.
    fn answer(text: &str) -> Result<(u16, String, bool), WireError> {
        let mut input = BytesMut::new();
        let mut head = None;
        let mut body = Vec::new();
        let mut ended = false;
        for byte in text.bytes() {
            input.extend_from_slice(&[byte]);
            if head.is_none() {
                head = take_head(&mut input)?;
            }
            while let Some(Head { body: state, .. }) = &mut head {
                match state.take(&mut input)? {
                    Piece::Data(bytes) => body.extend_from_slice(&bytes),
                    Piece::More => break,
                    Piece::End => {
                        ended = true;
                        break;
                    }
                }
            }
        }
        let status = head.map_or(0, |head| head.status);
        Ok((status, String::from_utf8(body).unwrap(), ended))
    }

    fn check(text: &str, status: u16, body: &str, ended: bool) {
        assert_eq!(answer(text), Ok((status, body.to_owned(), ended)), "{text}");
    }

    #[test]
    fn bodies_end_where_the_head_says() {
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            200,
            "hello",
            true,
        );
        check(
            "HTTP/1.1 201 Created\r\ncontent-length:0\r\n\r\n",
            201,
            "",
            true,
        );
        check(
            "HTTP/1.1 200 OK\r\n\r\nto the end",
            200,
            "to the end",
            false,
        );
        check(
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            304,
            "",
            true,
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nA: b\r\n\r\n",
            200,
            "hello world",
            true,
        );
    }

    #[test]
    fn an_answer_that_is_not_as_it_should_be_is_an_error() {
        for text in [
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 xyz\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        ] {
            assert!(answer(text).is_err(), "{text}");
        }
        let endless = "x".repeat(HEAD_BYTES_MAX + 2);
        assert!(take_head(&mut BytesMut::from(endless.as_str())).is_err());
    }

    fn rows(text: &str) -> Option<usize> {
        let mut counter = RowCounter::default();
        for byte in text.bytes() {
            counter.feed(&[byte]);
        }
        counter.finish().map(|(rows, _)| rows)
    }

    #[test]
    fn rows_are_counted_whatever_they_hold() {
        assert_eq!(rows("{\"results\":[\n\n],\n\"last_seq\":\"0\"}\n"), Some(0));
        assert_eq!(
            rows(
                "{\"results\":[\n{\"changes\":[{\"rev\":\"1\"}],\"doc\":{\"a\":{}}},\n{}],\"pending\":0}"
            ),
            Some(2)
        );
        assert_eq!(
            rows("{\"rows\":[{\"a\":\"]}\\\"{\"},{\"b\":\"\\\\\"}]}"),
            Some(2)
        );
        assert_eq!(rows("{\"rows\":[{}"), None);
        assert_eq!(rows(""), None);
    }

    #[test]
    fn needles_are_found_and_counted() {
        assert_eq!(find(b"abcabc", b"ca"), Some(2));
        assert_eq!(find(b"", b"ca"), None);
        assert_eq!(count(b"abcabc", b"bc"), 2);
    }
}

//! Takes `multipart/related` and `multipart/mixed` bodies apart while they arrive.
//!
//! Chunks are pushed in, events come out; nothing is read or written here. A delimiter is CRLF,
//! two dashes and the boundary, so it begins with the only CR it has. Hence at any place at most
//! one attempt to match it is open, what an attempt has matched so far is known without keeping
//! it, and a failed attempt is given out as data without looking back. So the bytes of a part are
//! slices of the chunks they came in, and held are only: the chunk at hand, the header lines of one
//! part (16 KiB at most), and the blanks that may follow a boundary.
//!
//! Lenient where real clients need it: a preamble and an epilogue, header lines that end in a bare
//! LF, parts without headers. A line that begins like a delimiter and goes on otherwise is data.

use std::collections::{HashMap, VecDeque};

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::{memchr, memmem, memrchr};

/// The longest boundary; RFC 2046 allows 70 characters, some clients write more.
const BOUNDARY_LENGTH_MAX: usize = 200;

/// How many bytes the header lines of one part may have together.
const HEADERS_LENGTH_MAX: usize = 16 * 1024;

/// How many blanks may stand between a boundary and the end of its line.
const PADDING_LENGTH_MAX: usize = 64;

/// The text that separates the parts of one body: printable, so it needs no care in a header,
/// and neither empty nor ending in a blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary(String);

/// Why a `Content-Type` names no boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoundaryError {
    /// The type is not `multipart/…`.
    #[error("the content type is not multipart")]
    NotMultipart,
    /// It has no `boundary` parameter.
    #[error("the multipart content type has no boundary")]
    Missing,
    /// The boundary is empty, too long, or has characters that none may have.
    #[error("the multipart boundary is not valid")]
    Invalid,
}

impl Boundary {
    /// Checks a boundary.
    ///
    /// # Errors
    /// [`BoundaryError::Invalid`].
    pub fn new(text: &str) -> Result<Self, BoundaryError> {
        let printable = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        let valid = (1..=BOUNDARY_LENGTH_MAX).contains(&text.len())
            && text.bytes().all(printable)
            && !text.ends_with(' ');
        let boundary = valid.then(|| Self(text.to_owned()));
        boundary.ok_or(BoundaryError::Invalid)
    }

    /// The boundary of a `Content-Type` header, quoted there or bare.
    ///
    /// # Errors
    /// If the type is not multipart, or names no valid boundary.
    pub fn from_content_type(value: &str) -> Result<Self, BoundaryError> {
        let (kind, _) = value.split_once('/').ok_or(BoundaryError::NotMultipart)?;
        if !kind.trim().eq_ignore_ascii_case("multipart") {
            return Err(BoundaryError::NotMultipart);
        }
        let (_, text) = Parameters::of(value)
            .find(|(name, _)| name.eq_ignore_ascii_case("boundary"))
            .ok_or(BoundaryError::Missing)?;
        Self::new(&text)
    }

    /// A boundary that no body contains: 16 random bytes as hexadecimal digits.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    /// The same with two dashes before, as `CouchDB` writes them for `_bulk_get`.
    #[must_use]
    pub fn from_random_with_dashes(bytes: [u8; 16]) -> Self {
        Self(format!("--{:032x}", u128::from_be_bytes(bytes)))
    }

    /// The text as it stands in the header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the header of a part says of it, as far as anybody asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartHeaders {
    /// The file name of `Content-Disposition`, if it has one that is not empty.
    pub filename: Option<String>,
    /// The name of the form's field, from the same header.
    pub field: Option<String>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Length`; nothing here checks it.
    pub content_length: Option<u64>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Content-ID`.
    pub content_id: Option<String>,
}

/// What was found next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A part begins.
    PartStart(PartHeaders),
    /// Some bytes of the part, never none.
    Data(Bytes),
    /// The part is complete.
    PartEnd,
    /// The closing delimiter was found. What follows is ignored.
    End,
}

/// Why a body is not multipart, or not one that we take. All of them are the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// It ended before its closing delimiter.
    #[error("the multipart body ends before its closing boundary")]
    Truncated,
    /// A line between the headers of a part is no header.
    #[error("bad part header")]
    BadHeader,
    /// The headers of a part are too long.
    #[error("the headers of a part are longer than 16 KiB")]
    HeadersTooLong,
    /// It has more parts than the reader was told to expect.
    #[error("the multipart body has too many parts")]
    TooManyParts,
}

/// Takes one body apart. Push with [`Self::feed`], then pull with [`Self::next_event`] until there
/// is nothing; at the end of the input ask [`Self::finish`] whether it was whole.
#[derive(Debug)]
pub struct MultipartReader {
    /// CRLF, dashes, boundary.
    delimiter: Bytes,
    finder: memmem::Finder<'static>,
    /// Never holds an empty chunk.
    input: VecDeque<Bytes>,
    found: VecDeque<Event>,
    phase: Phase,
    parts_left: usize,
    failed: Option<MultipartError>,
}

/// Where in the body the reader is.
#[derive(Debug)]
enum Phase {
    /// Before the first delimiter or in a part.
    Content(Match),
    /// After a whole delimiter, before it is clear that it is one.
    Tail(Match, BytesMut),
    /// In the headers of a part; where their last line begins.
    Headers(BytesMut, usize),
    /// After the closing delimiter.
    Epilogue,
}

type NextPhase = Result<Phase, MultipartError>;

/// The attempt to match a delimiter.
#[derive(Clone, Copy, Debug)]
struct Match {
    /// Whether what turns out to be data belongs to a part, or to the preamble.
    in_part: bool,
    /// How many bytes of the delimiter have matched.
    length: usize,
    /// How many of them are not data even if the attempt fails: the line end before the content.
    before_content: usize,
}

impl Match {
    /// At the beginning of the content: a delimiter may follow at once, since the line end it
    /// needs has just been.
    const fn at_start(in_part: bool) -> Self {
        Self {
            in_part,
            length: 2,
            before_content: 2,
        }
    }

    const fn inside(in_part: bool, length: usize) -> Self {
        Self {
            in_part,
            length,
            before_content: 0,
        }
    }
}

/// What the bytes after a boundary make of it.
enum Verdict {
    Undecided,
    NextPart,
    Closing,
    NotADelimiter,
}

impl MultipartReader {
    /// A reader at the beginning of a body that may have up to `parts_max` parts.
    #[must_use]
    pub fn new(boundary: &Boundary, parts_max: usize) -> Self {
        let delimiter = Bytes::from(format!("\r\n--{}", boundary.as_str()));
        Self {
            finder: memmem::Finder::new(&delimiter).into_owned(),
            delimiter,
            input: VecDeque::new(),
            found: VecDeque::new(),
            phase: Phase::Content(Match::at_start(false)),
            parts_left: parts_max,
            failed: None,
        }
    }

    /// Takes the next chunk of the body. To keep memory bounded, pull all events before.
    pub fn feed(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.input.push_back(chunk);
        }
    }

    /// The next event; nothing if that needs more input.
    ///
    /// # Errors
    /// If the body breaks the rules. The same is said again when asked again.
    pub fn next_event(&mut self) -> Result<Option<Event>, MultipartError> {
        loop {
            if let Some(event) = self.found.pop_front() {
                return Ok(Some(event));
            }
            if let Some(error) = self.failed {
                return Err(error);
            }
            let Some(mut chunk) = self.input.pop_front() else {
                return Ok(None);
            };
            let phase = std::mem::replace(&mut self.phase, Phase::Epilogue);
            match self.step(phase, &mut chunk) {
                Ok(phase) => self.phase = phase,
                Err(error) => self.failed = Some(error),
            }
            if !chunk.is_empty() {
                self.input.push_front(chunk);
            }
        }
    }

    /// Says whether the body was whole, once all input was fed and all events were pulled.
    ///
    /// # Errors
    /// [`MultipartError::Truncated`], or what [`Self::next_event`] said.
    pub fn finish(&self) -> Result<(), MultipartError> {
        match (self.failed, matches!(self.phase, Phase::Epilogue)) {
            (Some(error), _) => Err(error),
            (None, true) => Ok(()),
            (None, false) => Err(MultipartError::Truncated),
        }
    }

    /// Goes on in a chunk that is not empty, and shortens it.
    fn step(&mut self, phase: Phase, chunk: &mut Bytes) -> NextPhase {
        match phase {
            Phase::Content(attempt) if attempt.length > 0 => Ok(self.go_on(attempt, chunk)),
            Phase::Content(attempt) => Ok(self.search(attempt.in_part, chunk)),
            Phase::Tail(attempt, tail) => self.read_tail(attempt, tail, chunk),
            Phase::Headers(block, line) => self.read_headers(block, line, chunk),
            Phase::Epilogue => {
                chunk.clear();
                Ok(Phase::Epilogue)
            }
        }
    }

    /// Goes on with a match that began in an earlier chunk, or before the content.
    fn go_on(&mut self, mut attempt: Match, chunk: &mut Bytes) -> Phase {
        let rest = self.delimiter.slice(attempt.length..);
        let pairs = rest.iter().zip(chunk.iter());
        let equal = pairs
            .take_while(|(expected, byte)| expected == byte)
            .count();
        attempt.length += equal;
        chunk.advance(equal);
        if attempt.length == self.delimiter.len() {
            Phase::Tail(attempt, BytesMut::new())
        } else if chunk.is_empty() {
            Phase::Content(attempt)
        } else {
            let data = self.delimiter.slice(attempt.before_content..attempt.length);
            self.give_out(attempt.in_part, data);
            Phase::Content(Match::inside(attempt.in_part, 0))
        }
    }

    /// Looks for a delimiter that begins in this chunk.
    fn search(&mut self, in_part: bool, chunk: &mut Bytes) -> Phase {
        if let Some(at) = self.finder.find(chunk) {
            let data = chunk.split_to(at);
            self.give_out(in_part, data);
            chunk.advance(self.delimiter.len());
            let attempt = Match::inside(in_part, self.delimiter.len());
            return Phase::Tail(attempt, BytesMut::new());
        }
        // One may begin at the last CR, if everything after it fits.
        let kept = memrchr(b'\r', chunk).map_or(0, |at| chunk.len() - at);
        let begun = self
            .delimiter
            .get(..kept)
            .filter(|begun| chunk.ends_with(begun));
        let length = begun.map_or(0, <[u8]>::len);
        let data = chunk.split_to(chunk.len() - length);
        self.give_out(in_part, data);
        chunk.clear();
        Phase::Content(Match::inside(in_part, length))
    }

    /// Reads what follows a boundary: two dashes, or blanks and a line end, or it was none.
    fn read_tail(&mut self, attempt: Match, mut tail: BytesMut, chunk: &mut Bytes) -> NextPhase {
        while let Some(&byte) = chunk.first() {
            match verdict(&tail, byte) {
                Verdict::Undecided => tail.extend_from_slice(&[byte]),
                Verdict::NextPart => {
                    chunk.advance(1);
                    self.end_part(attempt);
                    let parts_left = self.parts_left.checked_sub(1);
                    self.parts_left = parts_left.ok_or(MultipartError::TooManyParts)?;
                    return Ok(Phase::Headers(BytesMut::new(), 0));
                }
                Verdict::Closing => {
                    chunk.advance(1);
                    self.end_part(attempt);
                    self.found.push_back(Event::End);
                    return Ok(Phase::Epilogue);
                }
                Verdict::NotADelimiter => {
                    let data = self.delimiter.slice(attempt.before_content..);
                    self.give_out(attempt.in_part, data);
                    // A CR at its end may begin the next delimiter.
                    let open = usize::from(tail.last() == Some(&b'\r'));
                    tail.truncate(tail.len() - open);
                    self.give_out(attempt.in_part, tail.freeze());
                    return Ok(Phase::Content(Match::inside(attempt.in_part, open)));
                }
            }
            chunk.advance(1);
        }
        Ok(Phase::Tail(attempt, tail))
    }

    /// Gathers header lines up to the empty one.
    fn read_headers(&mut self, mut block: BytesMut, line: usize, chunk: &mut Bytes) -> NextPhase {
        let line_end = memchr(b'\n', chunk);
        let piece = chunk.split_to(line_end.map_or(chunk.len(), |at| at + 1));
        if block.len() + piece.len() > HEADERS_LENGTH_MAX {
            return Err(MultipartError::HeadersTooLong);
        }
        block.extend_from_slice(&piece);
        if line_end.is_none() {
            return Ok(Phase::Headers(block, line));
        }
        if matches!(block.get(line..), Some(b"\n" | b"\r\n")) {
            block.truncate(line);
            let headers = PartHeaders::parse(&block)?;
            self.found.push_back(Event::PartStart(headers));
            return Ok(Phase::Content(Match::at_start(true)));
        }
        let next_line = block.len();
        Ok(Phase::Headers(block, next_line))
    }

    fn give_out(&mut self, in_part: bool, data: Bytes) {
        if in_part && !data.is_empty() {
            self.found.push_back(Event::Data(data));
        }
    }

    fn end_part(&mut self, attempt: Match) {
        if attempt.in_part {
            self.found.push_back(Event::PartEnd);
        }
    }
}

/// What one more byte makes of the tail of a delimiter.
fn verdict(tail: &[u8], byte: u8) -> Verdict {
    match (tail.last(), byte) {
        (Some(b'-'), b'-') => Verdict::Closing,
        (None, b'-') => Verdict::Undecided,
        (None | Some(b' ' | b'\t' | b'\r'), b'\n') => Verdict::NextPart,
        (None | Some(b' ' | b'\t'), b'\r') => Verdict::Undecided,
        (None | Some(b' ' | b'\t'), b' ' | b'\t') if tail.len() < PADDING_LENGTH_MAX => {
            Verdict::Undecided
        }
        _ => Verdict::NotADelimiter,
    }
}

impl PartHeaders {
    /// Reads header lines, continued ones included, and leaves out what nobody asks for.
    fn parse(block: &[u8]) -> Result<Self, MultipartError> {
        let mut headers = Self::default();
        let lines = block
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut lines = lines.filter(|line| !line.is_empty()).peekable();
        while let Some(line) = lines.next() {
            let mut line = line.to_vec();
            while let Some(more) = lines.next_if(|next| matches!(next.first(), Some(b' ' | b'\t')))
            {
                line.extend_from_slice(more);
            }
            let colon = memchr(b':', &line).ok_or(MultipartError::BadHeader)?;
            let (name, value) = line.split_at(colon);
            headers.set(
                name.trim_ascii(),
                value.get(1..).unwrap_or_default().trim_ascii(),
            )?;
        }
        Ok(headers)
    }

    fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), MultipartError> {
        if name.is_empty() {
            return Err(MultipartError::BadHeader);
        }
        let text = || std::str::from_utf8(value).map_err(|_| MultipartError::BadHeader);
        if name.eq_ignore_ascii_case(b"content-disposition") {
            self.filename = filename(text()?);
            let mut parameters = Parameters::of(text()?);
            let named = parameters.find(|(name, _)| name.eq_ignore_ascii_case("name"));
            self.field = named.map(|(_, value)| value);
        } else if name.eq_ignore_ascii_case(b"content-type") {
            self.content_type = Some(text()?.to_owned());
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.content_length = Some(text()?.parse().map_err(|_| MultipartError::BadHeader)?);
        } else if name.eq_ignore_ascii_case(b"content-encoding") {
            self.content_encoding = Some(text()?.to_owned());
        } else if name.eq_ignore_ascii_case(b"content-id") {
            self.content_id = Some(text()?.to_owned());
        }
        Ok(())
    }
}

/// The file name in a `Content-Disposition`: the one of RFC 8187 if it can be read, else the plain
/// one.
fn filename(disposition: &str) -> Option<String> {
    let mut plain = None;
    for (name, value) in Parameters::of(disposition) {
        if name.eq_ignore_ascii_case("filename*") {
            if let Some(decoded) = decode_extended(&value) {
                return Some(decoded);
            }
        } else if name.eq_ignore_ascii_case("filename") && plain.is_none() {
            plain = Some(value);
        }
    }
    plain.filter(|name| !name.is_empty())
}

/// The text of an extended value, `UTF-8'language'per%20cent`.
fn decode_extended(value: &str) -> Option<String> {
    let mut fields = value.splitn(3, '\'');
    let (charset, _language, encoded) = (fields.next()?, fields.next()?, fields.next()?);
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    (charset.eq_ignore_ascii_case("utf-8") && !text.is_empty()).then_some(text)
}

/// The parameters of a header value, `…; name=value; name="quoted value"`.
struct Parameters<'a> {
    rest: &'a str,
}

impl<'a> Parameters<'a> {
    /// Those after the first semicolon.
    fn of(value: &'a str) -> Self {
        Self {
            rest: value.split_once(';').map_or("", |(_, rest)| rest),
        }
    }

    /// The quoted text at the beginning, whose quote has been read.
    ///
    /// `CouchDB` writes names as they are, without escaping. So a quote ends the text only where
    /// a parameter can end, and a backslash escapes nothing but a quote or a backslash.
    fn quoted(&mut self) -> String {
        let mut text = String::new();
        let mut characters = self.rest.chars();
        while let Some(character) = characters.next() {
            let after = characters.as_str();
            match character {
                '\\' if after.starts_with(['"', '\\']) => text.extend(characters.next()),
                '"' if ends_parameter(after) => {
                    self.rest = after;
                    return text;
                }
                other => text.push(other),
            }
        }
        self.rest = "";
        text
    }
}

/// Whether a parameter can end before this.
fn ends_parameter(rest: &str) -> bool {
    let rest = rest.trim_start_matches([' ', '\t']);
    rest.is_empty() || rest.starts_with(';')
}

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a str, String);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', ';']);
            if self.rest.is_empty() {
                return None;
            }
            let name_end = self.rest.find(['=', ';']).unwrap_or(self.rest.len());
            let (name, rest) = self.rest.split_at(name_end);
            self.rest = rest;
            // A word without a value is passed over.
            let Some(value) = rest.strip_prefix('=') else {
                continue;
            };
            self.rest = value.trim_start_matches([' ', '\t']);
            if let Some(quoted) = self.rest.strip_prefix('"') {
                self.rest = quoted;
                return Some((name.trim(), self.quoted()));
            }
            let value_end = self.rest.find(';').unwrap_or(self.rest.len());
            let (value, rest) = self.rest.split_at(value_end);
            self.rest = rest;
            return Some((name.trim(), value.trim_end().to_owned()));
        }
    }
}

/// Tells which attachment each part is: the one it names, if that is still to come, else the
/// first that is still to come. `CouchDB` goes by the order alone.
#[derive(Debug)]
pub struct PartMatcher<'a> {
    /// The names of what follows, in the order of `_attachments`; nothing where it has come.
    awaited: Vec<Option<&'a str>>,
    by_name: HashMap<&'a str, usize>,
    /// All before this have come.
    first: usize,
}

impl<'a> PartMatcher<'a> {
    /// For the attachments that `_attachments` says follow, in its order.
    pub fn new(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<_> = names.into_iter().collect();
        Self {
            by_name: names.iter().copied().zip(0..).collect(),
            awaited: names.into_iter().map(Some).collect(),
            first: 0,
        }
    }

    /// The index of the attachment that the next part is, or nothing if all have come.
    pub fn place(&mut self, filename: Option<&str>) -> Option<usize> {
        let named = filename.and_then(|name| self.by_name.get(name).copied());
        let named = named.filter(|index| matches!(self.awaited.get(*index), Some(Some(_))));
        while matches!(self.awaited.get(self.first), Some(None)) {
            self.first += 1;
        }
        let index = named.unwrap_or(self.first);
        *self.awaited.get_mut(index)? = None;
        Some(index)
    }

    /// The names of those that have not come.
    pub fn missing(&self) -> impl Iterator<Item = &'a str> {
        self.awaited.iter().copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The events of a body that comes in chunks cut at the given places, with the data of each
    /// part in one piece.
    fn read_in(body: &[u8], boundary: &str, cuts: &[usize]) -> Result<Vec<Event>, MultipartError> {
        let mut reader = MultipartReader::new(&Boundary::new(boundary).unwrap(), 100);
        let mut cuts: Vec<usize> = cuts
            .iter()
            .map(|cut| cut % (body.len() + 1))
            .chain([0, body.len()])
            .collect();
        cuts.sort_unstable();
        let mut events: Vec<Event> = Vec::new();
        for cut in cuts.windows(2) {
            reader.feed(Bytes::copy_from_slice(&body[cut[0]..cut[1]]));
            while let Some(event) = reader.next_event()? {
                match (events.last_mut(), event) {
                    (Some(Event::Data(before)), Event::Data(more)) => {
                        *before = [&before[..], &more].concat().into()
                    }
                    (_, event) => events.push(event),
                }
            }
        }
        reader.finish()?;
        Ok(events)
    }

    /// What a body with the boundary `B` is, whole and byte by byte: for each part its file name
    /// and its data.
    fn read(body: &str) -> Result<Vec<(Option<String>, String)>, MultipartError> {
        let whole = read_in(body.as_bytes(), "B", &[]);
        let bytes: Vec<usize> = (0..body.len()).collect();
        assert_eq!(read_in(body.as_bytes(), "B", &bytes), whole, "{body:?}");
        let mut parts = Vec::new();
        let events = whole?;
        assert_eq!(events.last(), Some(&Event::End));
        for event in events {
            match event {
                Event::PartStart(headers) => parts.push((headers.filename, String::new())),
                Event::Data(data) => parts
                    .last_mut()
                    .unwrap()
                    .1
                    .push_str(std::str::from_utf8(&data).unwrap()),
                Event::PartEnd | Event::End => {}
            }
        }
        Ok(parts)
    }

    fn check(body: &str, data: &[&str]) {
        let parts: Vec<String> = read(body)
            .unwrap()
            .into_iter()
            .map(|(_, data)| data)
            .collect();
        assert_eq!(parts, data, "{body:?}");
    }

    fn check_error(body: &str, error: MultipartError) {
        assert_eq!(read(body), Err(error), "{body:?}");
    }

    fn check_headers(lines: &str, expected: &PartHeaders) {
        let body = format!("--B\r\n{lines}\r\n\r\n\r\n--B--");
        let events = read_in(body.as_bytes(), "B", &[]).unwrap();
        assert_eq!(
            events,
            [
                Event::PartStart(expected.clone()),
                Event::PartEnd,
                Event::End
            ],
            "{lines:?}"
        );
    }

    fn check_filename(disposition: &str, expected: Option<&str>) {
        assert_eq!(
            filename(disposition).as_deref(),
            expected,
            "{disposition:?}"
        );
    }

    #[test]
    fn the_request_of_the_recording_is_read() {
        let json = r#"{"m":1,"_attachments":{"foo.txt":{"follows":true}}}"#;
        let body = format!(
            "--B\r\nContent-Type: application/json\r\n\r\n{json}\r\n--B\r\nContent-Disposition: attachment; filename=\"foo.txt\"\r\n\
             Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello\r\n--B\r\n\r\nxyz\r\n--B--"
        );
        let parts = read(&body).unwrap();
        let expected = [
            (None, json.to_owned()),
            (Some("foo.txt".to_owned()), "hello".to_owned()),
            (None, "xyz".to_owned()),
        ];
        assert_eq!(parts, expected);
    }

    #[test]
    fn preamble_epilogue_and_padding_are_passed_over() {
        check("--B\r\n\r\none\r\n--B--", &["one"]);
        check("\r\n--B\r\n\r\none\r\n--B--\r\n", &["one"]);
        check(
            "This is --B\r\nno part.\r\n--B\r\n\r\none\r\n--B--and\r\n--B\r\n\r\nno part",
            &["one"],
        );
        check(
            "--B \t \r\n\r\none\r\n--B\t\r\n\r\ntwo\r\n--B--",
            &["one", "two"],
        );
        check("--B--", &[]);
    }

    #[test]
    fn parts_may_be_empty_with_or_without_a_line_of_their_own() {
        check("--B\r\n\r\n\r\n--B--", &[""]);
        check("--B\r\n\r\n--B\r\nX: y\r\n\r\n--B--", &["", ""]);
    }

    #[test]
    fn header_lines_may_end_in_a_bare_line_feed() {
        check(
            "--B\nA: b\n\none\r\n--B\n\ntwo\n--B\r\n--B--",
            &["one", "two\n--B"],
        );
    }

    #[test]
    fn what_only_looks_like_a_delimiter_is_data() {
        for data in [
            "\r",
            "\r\n",
            "\r\n-",
            "\r\n--",
            "\r\r\n--",
            "--B",
            "x\r\n--b",
            "\r\n--BB",
            "\r\n--B-",
            "\r\n--B-x",
            "\r\n--B- -",
            "\r\n--B\r",
            "\r\n--B \r",
            "\r\n--B\r\r\n--B \t x",
            "\n--B\r\n",
            "\r\n--B -",
            "\r\n--Bx--\r\n",
            "\r\n\r\n--",
            "a\r\n--B\r\r\n-",
        ] {
            check(
                &format!("--B\r\n\r\nx{data}\r\n--B--"),
                &[&format!("x{data}")],
            );
            check(&format!("x{data}\r\n--B\r\n\r\nx\r\n--B--"), &["x"]);
        }
        let blanks = format!("x\r\n--B{}\r\n", " ".repeat(65));
        check(&format!("--B\r\n\r\n{blanks}\r\n--B--"), &[&blanks]);
        // At the beginning of a part the line end has been already.
        for data in [
            "\r",
            "\r\n",
            "--",
            "--BB",
            "--B-",
            "-",
            "\r\n--BB",
            "--B\r\r\n--",
        ] {
            check(&format!("--B\r\n\r\n{data}\r\n--B--"), &[data]);
        }
    }

    #[test]
    fn half_a_body_is_told() {
        let body = "--B\r\nA: b\r\n\r\none\r\n--B\r\n\r\ntwo\r\n--B--";
        for end in 0..body.len() {
            check_error(&body[..end], MultipartError::Truncated);
        }
        assert!(read(body).is_ok());
    }

    #[test]
    fn a_line_without_a_colon_is_no_header() {
        check_error(
            "--B\r\nrubbish\r\n\r\none\r\n--B--",
            MultipartError::BadHeader,
        );
        check_error("--B\r\n: x\r\n\r\none\r\n--B--", MultipartError::BadHeader);
        check_error(
            "--B\r\nContent-Length: 5x\r\n\r\none\r\n--B--",
            MultipartError::BadHeader,
        );
        check_error(
            "--B\r\nContent-Length: 99999999999999999999\r\n\r\none\r\n--B--",
            MultipartError::BadHeader,
        );
        let not_utf8 = b"--B\r\nContent-Type: \xff\r\n\r\none\r\n--B--";
        assert_eq!(read_in(not_utf8, "B", &[]), Err(MultipartError::BadHeader));
    }

    #[test]
    fn the_headers_of_a_part_are_bounded() {
        let line = format!("X: {}\r\n", "y".repeat(1000));
        check(&format!("--B\r\n{}\r\n\r\n--B--", line.repeat(16)), &[""]);
        check_error(
            &format!("--B\r\n{}\r\n\r\n--B--", line.repeat(17)),
            MultipartError::HeadersTooLong,
        );
        check_error(
            &format!("--B\r\n{}", "y".repeat(17_000)),
            MultipartError::HeadersTooLong,
        );
    }

    #[test]
    fn the_number_of_parts_is_bounded() {
        let part = "--B\r\n\r\nx\r\n";
        check(&format!("{}--B--", part.repeat(100)), &["x"; 100]);
        check_error(
            &format!("{}--B--", part.repeat(101)),
            MultipartError::TooManyParts,
        );
    }

    #[test]
    fn an_error_stays() {
        let mut reader = MultipartReader::new(&Boundary::new("B").unwrap(), 1);
        reader.feed(Bytes::from_static(b"--B\r\nrubbish\r\n\r\nx\r\n--B--"));
        for _ in 0..2 {
            assert_eq!(reader.next_event(), Err(MultipartError::BadHeader));
            assert_eq!(reader.finish(), Err(MultipartError::BadHeader));
        }
    }

    #[test]
    fn data_is_not_copied() {
        let chunk = Bytes::from(format!("--B\r\n\r\n{}\r\n--B--", "x".repeat(1000)));
        let mut reader = MultipartReader::new(&Boundary::new("B").unwrap(), 1);
        reader.feed(chunk.clone());
        assert!(matches!(reader.next_event(), Ok(Some(Event::PartStart(_)))));
        let Ok(Some(Event::Data(data))) = reader.next_event() else {
            panic!("no data")
        };
        assert_eq!((data.as_ptr(), data.len()), (chunk[7..].as_ptr(), 1000));
    }

    #[test]
    fn the_headers_that_matter_are_kept() {
        check_headers(
            "content-disposition: form-data; name=f; filename=\"a b.txt\"\r\nCONTENT-TYPE:text/plain; charset=utf-8\r\nContent-Length: 12\r\n\
             Content-Encoding: gzip\r\nContent-ID: <x@y>\r\nX-Other: \u{e9}",
            &PartHeaders {
                filename: Some("a b.txt".to_owned()),
                field: Some("f".to_owned()),
                content_type: Some("text/plain; charset=utf-8".to_owned()),
                content_length: Some(12),
                content_encoding: Some("gzip".to_owned()),
                content_id: Some("<x@y>".to_owned()),
            },
        );
        let continued = PartHeaders {
            filename: Some("f".to_owned()),
            ..PartHeaders::default()
        };
        check_headers(
            "Content-Disposition: attachment;\r\n\tfilename=\"f\"",
            &continued,
        );
        check_headers("Content-Disposition: attachment;\n filename=f", &continued);
    }

    #[test]
    fn file_names_are_read_quoted_escaped_bare_and_extended() {
        check_filename("attachment; filename=\"foo.txt\"", Some("foo.txt"));
        check_filename("attachment; filename=foo.txt", Some("foo.txt"));
        check_filename(
            "attachment ;FileName = foo bar.txt ; x=y",
            Some("foo bar.txt"),
        );
        check_filename(
            "form-data; name=\"a;b\"; filename=\"a;b.txt\"",
            Some("a;b.txt"),
        );
        check_filename(
            r#"attachment; filename="a\"b\\c.txt""#,
            Some(r#"a"b\c.txt"#),
        );
        check_filename(
            "attachment; filename=\"d/\u{e4}.txt\"",
            Some("d/\u{e4}.txt"),
        );
        check_filename(
            "attachment; filename=\"plain\"; filename*=UTF-8''%C3%A4%20b",
            Some("\u{e4} b"),
        );
        check_filename(
            "attachment; filename*=utf-8'en'x; filename=\"plain\"",
            Some("x"),
        );
        // What cannot be read gives way to what can.
        for extended in [
            "UTF-8''%C3",
            "UTF-8''%zz",
            "UTF-8''%",
            "koi8-r''x",
            "x",
            "UTF-8''",
        ] {
            check_filename(
                &format!("attachment; filename*={extended}; filename=plain"),
                Some("plain"),
            );
        }
        check_filename("attachment; filename=\"\"", None);
        check_filename("attachment; name=x", None);
        check_filename("attachment", None);
        check_filename("attachment; filename", None);
        check_filename("attachment; filename=\"open", Some("open"));
    }

    #[test]
    fn names_that_couchdb_did_not_escape_are_read_too() {
        check_filename(r#"attachment; filename="a"b.txt""#, Some(r#"a"b.txt"#));
        check_filename(r#"attachment; filename="a\b.txt""#, Some(r"a\b.txt"));
    }

    #[test]
    fn the_boundary_of_a_content_type_is_found_quoted_or_bare() {
        let found = |value: &str| {
            Boundary::from_content_type(value).map(|boundary| boundary.as_str().to_owned())
        };
        for (value, boundary) in [
            ("multipart/related;boundary=\"abc123\"", "abc123"),
            ("multipart/mixed; boundary=abc123", "abc123"),
            (
                "Multipart/Related; type=\"a;boundary=x\"; Boundary=abc ; z=y",
                "abc",
            ),
            (
                "multipart/mixed; boundary=\"--65e4a63fee41c9726da755432b5705fe\"",
                "--65e4a63fee41c9726da755432b5705fe",
            ),
            ("multipart/mixed; boundary=\"with blank=?\"", "with blank=?"),
        ] {
            assert_eq!(found(value), Ok(boundary.to_owned()), "{value}");
        }
        for (value, error) in [
            ("application/json", BoundaryError::NotMultipart),
            ("multipart", BoundaryError::NotMultipart),
            ("", BoundaryError::NotMultipart),
            ("multipart/related", BoundaryError::Missing),
            ("multipart/related; boundary", BoundaryError::Missing),
            ("multipart/related; x=y; ; =", BoundaryError::Missing),
            ("multipart/related; boundary=", BoundaryError::Invalid),
            ("multipart/related; boundary=\"\"", BoundaryError::Invalid),
            ("multipart/related; boundary=\"a \"", BoundaryError::Invalid),
            (
                "multipart/related; boundary=\"a\tb\"",
                BoundaryError::Invalid,
            ),
            ("multipart/related; boundary=\u{e4}", BoundaryError::Invalid),
        ] {
            assert_eq!(found(value), Err(error), "{value}");
        }
        assert!(Boundary::new(&"x".repeat(200)).is_ok());
        assert_eq!(Boundary::new(&"x".repeat(201)), Err(BoundaryError::Invalid));
    }

    #[test]
    fn parts_are_matched_by_name_and_else_by_order() {
        let place = |names: &[&'static str], parts: &[Option<&str>]| {
            let mut matcher = PartMatcher::new(names.iter().copied());
            let places: Vec<_> = parts.iter().map(|part| matcher.place(*part)).collect();
            (places, matcher.missing().collect::<Vec<_>>())
        };
        assert_eq!(
            place(&["a", "b"], &[None, None]),
            (vec![Some(0), Some(1)], vec![])
        );
        assert_eq!(
            place(&["a", "b"], &[Some("b"), Some("a")]),
            (vec![Some(1), Some(0)], vec![])
        );
        assert_eq!(
            place(&["a", "b", "c"], &[Some("b"), None]),
            (vec![Some(1), Some(0)], vec!["c"])
        );
        assert_eq!(
            place(&["a", "b"], &[Some("x"), Some("a"), None]),
            (vec![Some(0), Some(1), None], vec![])
        );
        assert_eq!(
            place(&["a", "b", "c"], &[Some("c"), Some("c"), Some("c")]),
            (vec![Some(2), Some(0), Some(1)], vec![])
        );
        assert_eq!(place(&[], &[Some("a")]), (vec![None], vec![]));
    }

    /// Bytes of which many look like the beginning of a delimiter.
    fn tricky_body() -> impl Strategy<Value = Vec<u8>> {
        let token = prop::sample::select(vec![
            &b"\r"[..],
            b"\n",
            b"\r\n",
            b"-",
            b"--",
            b"B",
            b"--B",
            b"\r\n--B",
            b"\r\n--B\r\n",
            b"--B--",
            b"A: b\r\n",
            b" ",
            b"\t",
            b"x",
            b"\xff",
            b"Content-Disposition: a; filename=\"",
            b"\"",
            b";",
            b"Content-Length: 1",
        ]);
        prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #[test]
        fn any_cut_of_any_body_gives_the_same_events(body in tricky_body(), cuts in prop::collection::vec(any::<usize>(), 0..20)) {
            let whole = read_in(&body, "B", &[]);
            prop_assert_eq!(&read_in(&body, "B", &cuts), &whole);
            let bytes: Vec<usize> = (0..body.len()).collect();
            prop_assert_eq!(read_in(&body, "B", &bytes), whole);
        }

        #[test]
        fn any_data_without_a_delimiter_comes_through(
            data in prop::collection::vec(tricky_body(), 1..4),
            cuts in prop::collection::vec(any::<usize>(), 0..20),
        ) {
            // None of the data has the boundary, but most of it has nearly so.
            let (mut body, mut expected) = (Vec::new(), Vec::new());
            for data in data {
                body.extend_from_slice(b"--B!\r\n\r\n");
                body.extend_from_slice(&data);
                body.extend_from_slice(b"\r\n--B!-\r\n--B!\r\r\n");
                expected.push(Event::PartStart(PartHeaders::default()));
                expected.push(Event::Data([&data[..], b"\r\n--B!-\r\n--B!\r"].concat().into()));
                expected.push(Event::PartEnd);
            }
            body.extend_from_slice(b"--B!--");
            expected.push(Event::End);
            prop_assert_eq!(read_in(&body, "B!", &cuts), Ok(expected));
        }

        #[test]
        fn any_bytes_and_any_headers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in any::<String>()) {
            let inside = [b"--B\r\n", &bytes[..]].concat();
            for body in [&bytes, &inside] {
                prop_assert_eq!(read_in(body, "B", &[7, 50]), read_in(body, "B", &[]));
            }
            // Either answer will do.
            drop(Boundary::from_content_type(&text));
            drop(Boundary::from_content_type(&format!("multipart/mixed; boundary=\"{text}")));
            drop(filename(&text));
            drop(filename(&format!("a; filename=\"{text}; filename*=UTF-8''{text}")));
        }
    }
}

//! A client of HTTP/1.1 over a plain socket, which does nothing that its test does not tell it to.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// `admin:secret`
const AUTHORIZATION: &str = "authorization: Basic YWRtaW46c2VjcmV0";
/// Nothing here takes that long: whoever waits longer waits for ever.
const GUARD: Duration = Duration::from_secs(60);

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
    at: usize,
}

/// An answer, or its head.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        self
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(GUARD)).unwrap();
        stream.set_write_timeout(Some(GUARD)).unwrap();
        Self {
            stream,
            unread: Vec::new(),
            at: 0,
        }
    }

    /// Sends a request's head and body.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[&str], body: &[u8]) {
        self.send_in_pieces(method, path, headers, &[body]);
    }

    /// Sends a request, its body in pieces, each in a write of its own.
    pub(crate) fn send_in_pieces(
        &mut self,
        method: &str,
        path: &str,
        headers: &[&str],
        pieces: &[&[u8]],
    ) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n{AUTHORIZATION}\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if length > 0 || matches!(method, "PUT" | "POST") {
            head.push_str(&format!("content-length: {length}\r\n"));
        }
        head.push_str("\r\n");
        self.stream.write_all(head.as_bytes()).unwrap();
        for piece in pieces {
            self.stream.write_all(piece).unwrap();
        }
    }

    /// Sends a request whose body is in chunks already.
    pub(crate) fn send_chunked(&mut self, method: &str, path: &str, headers: &[&str], body: &[u8]) {
        let headers = [headers, &["transfer-encoding: chunked"]].concat();
        self.send_as_told(method, path, &headers, body);
    }

    /// Sends a request with a body that is said to have `length` bytes, of which `part` comes.
    pub(crate) fn send_part(
        &mut self,
        method: &str,
        path: &str,
        headers: &[&str],
        length: usize,
        part: &[u8],
    ) {
        let length = format!("content-length: {length}");
        let headers = [headers, &[length.as_str()]].concat();
        self.send_as_told(method, path, &headers, part);
    }

    fn send_as_told(&mut self, method: &str, path: &str, headers: &[&str], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n{AUTHORIZATION}\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        self.stream.write_all(head.as_bytes()).unwrap();
        self.stream.write_all(body).unwrap();
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Answer {
        self.send(method, path, headers, body);
        self.answer(method)
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    /// Sends JSON.
    pub(crate) fn json(&mut self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.ask(method, path, &["content-type: application/json"], body)
    }

    /// Reads a whole answer.
    pub(crate) fn answer(&mut self, method: &str) -> Answer {
        let mut answer = self.head();
        if method == "HEAD" || matches!(answer.status, 204 | 304) {
            return answer;
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                answer.body.extend_from_slice(&chunk);
            }
            return answer;
        }
        let length = answer
            .header("content-length")
            .map_or(0, |text| text.parse().unwrap());
        answer.body = self.take(length);
        answer
    }

    /// Reads the head of an answer.
    pub(crate) fn head(&mut self) -> Answer {
        let status = self.line();
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Answer {
            status,
            headers,
            body: Vec::new(),
        }
    }

    /// Reads one chunk of a body; `None` after the final one, which must be there.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = usize::from_str_radix(&self.line(), 16).unwrap();
        let chunk = self.take(length);
        assert_eq!(self.line(), "");
        (length > 0).then_some(chunk)
    }

    fn line(&mut self) -> String {
        let end = loop {
            let unread = &self.unread[self.at..];
            if let Some(end) = unread.windows(2).position(|two| two == b"\r\n") {
                break end;
            }
            self.fill();
        };
        let line = self.take(end);
        self.take(2);
        String::from_utf8(line).unwrap()
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() - self.at < length {
            self.fill();
        }
        let taken = self.unread[self.at..self.at + length].to_vec();
        self.at += length;
        taken
    }

    fn fill(&mut self) {
        self.unread.drain(..self.at);
        self.at = 0;
        let mut piece = vec![0; 64 << 10];
        let read = self.stream.read(&mut piece).unwrap();
        assert!(
            read > 0,
            "the server closed within {:?}",
            String::from_utf8_lossy(&self.unread)
        );
        self.unread.extend_from_slice(&piece[..read]);
    }
}

/// Chance that can be repeated: xorshift.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % end
    }

    /// Bytes that do not compress.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| u8::try_from(self.below(256)).unwrap())
            .collect()
    }
}

impl Client {
    /// A new connection to the same server.
    pub(crate) fn again(&self) -> Self {
        Self::connect(self.stream.peer_addr().unwrap())
    }
}

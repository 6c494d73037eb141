//! The least HTTP/1.1 that can talk to the server, over a plain socket, so that a request can be
//! cut at any byte.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::process::{NAME, PASSWORD};

/// No answer takes so long; a server that hangs fails the test.
const PATIENCE: Duration = Duration::from_secs(120);

/// One connection, made anew after it broke.
#[derive(Debug)]
pub(super) struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    pub(super) const fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
        }
    }

    pub(super) fn get(&mut self, path: &str) -> Answer {
        let answer = self.send(&request("GET", path, "application/json", b""));
        answer.unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    pub(super) fn send(&mut self, request: &[u8]) -> io::Result<Answer> {
        let answer = self.try_send(request);
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    /// Sends some bytes and waits for nothing.
    pub(super) fn send_only(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connected()?.get_mut().write_all(bytes)
    }

    fn connected(&mut self) -> io::Result<&mut BufReader<TcpStream>> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            self.stream = Some(BufReader::new(stream));
        }
        Ok(self.stream.as_mut().unwrap())
    }

    fn try_send(&mut self, request: &[u8]) -> io::Result<Answer> {
        let stream = self.connected()?;
        // A server that refuses a large body may answer before it read all of it.
        let sent = stream.get_mut().write_all(request);
        let (answer, closes) = read_answer(stream).map_err(|error| sent.err().unwrap_or(error))?;
        if closes {
            self.stream = None;
        }
        Ok(answer)
    }
}

/// The bytes of a request as the administrator.
pub(super) fn request(method: &str, path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let credentials = STANDARD.encode(format!("{NAME}:{PASSWORD}"));
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nHost: adea\r\nAuthorization: Basic {credentials}\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads an answer, and whether the server closes after it.
fn read_answer(stream: &mut BufReader<TcpStream>) -> io::Result<(Answer, bool)> {
    let first = read_line(stream)?;
    let status = first.split(' ').nth(1).unwrap().parse().unwrap();
    let (mut length, mut chunked, mut closes) = (0, false, false);
    loop {
        let line = read_line(stream)?.to_ascii_lowercase();
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        match (name, value) {
            ("content-length", value) => length = value.parse().unwrap(),
            ("transfer-encoding", "chunked") => chunked = true,
            ("connection", "close") => closes = true,
            _ => {}
        }
    }
    let mut body = Vec::new();
    if !chunked {
        body.resize(length, 0);
        stream.read_exact(&mut body)?;
        return Ok((Answer { status, body }, closes));
    }
    loop {
        let size = usize::from_str_radix(&read_line(stream)?, 16).unwrap();
        let begin = body.len();
        body.resize(begin + size, 0);
        stream.read_exact(&mut body[begin..])?;
        read_line(stream)?;
        if size == 0 {
            return Ok((Answer { status, body }, closes));
        }
    }
}

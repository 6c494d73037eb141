//! Connections to the measured server: one request at a time, kept alive.
//!
//! A request is one `write`, an answer is read into a buffer that is used again. Whatever the
//! server answers is checked by the caller, who says which status he expects.

use super::error::BenchError;
use super::wire::{Body, Piece, take_head};
use crate::address::ServerAddress;
use bytes::{Bytes, BytesMut};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// The largest answer that is kept whole.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// So many connections are made from one address: there are about 28,000 ports for them.
const CONNECTIONS_PER_ADDRESS: usize = 20_000;

/// Whom to ask.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Host and port, for the `Host` header and for eyes.
    pub(super) host: String,
    /// Where that is.
    pub(super) address: SocketAddr,
    /// The header with the credentials, if there are any.
    credential: Option<String>,
}

impl Target {
    /// The same server, asked with another header for credentials, or with none.
    pub(super) fn with_credential(&self, header: Option<String>) -> Arc<Self> {
        Arc::new(Self {
            host: self.host.clone(),
            address: self.address,
            credential: header,
        })
    }

    /// Reads `http://[name:password@]host[:port][/]` and looks the host up.
    pub(super) async fn resolve(url: &str) -> Result<Arc<Self>, BenchError> {
        let ServerAddress {
            host,
            authorization,
        } = ServerAddress::parse(url).map_err(|error| BenchError::Url(error.to_string()))?;
        let address = tokio::net::lookup_host(&host)
            .await
            .map_err(BenchError::io(format!("looking up {host}")))?
            // A name often has an address of each kind, and servers listen on the old one.
            .min_by_key(SocketAddr::is_ipv6)
            .ok_or_else(|| BenchError::Url(format!("{host} has no address")))?;
        Ok(Arc::new(Self {
            host,
            address,
            credential: authorization.map(|text| format!("Authorization: {text}")),
        }))
    }

    /// A server of our own, without credentials.
    pub(super) fn local(port: u16) -> Arc<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Arc::new(Self {
            host: address.to_string(),
            address,
            credential: None,
        })
    }
}

/// What to ask.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// `GET`, `PUT`...
    pub(super) method: &'static str,
    /// Path and query.
    pub(super) path: String,
    /// JSON; empty for none.
    pub(super) body: Vec<u8>,
}

impl Request {
    /// A request without a body.
    pub(super) fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            body: Vec::new(),
        }
    }

    /// For messages.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    target: Arc<Target>,
    stream: TcpStream,
    input: BytesMut,
    output: Vec<u8>,
    body: Body,
    /// The cookie that the last answer brought.
    cookie: Option<String>,
}

impl Connection {
    /// The cookie that the last answer brought, as a name and a value.
    pub(super) fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    /// Connects; `number` counts the connections of a run.
    pub(super) async fn open(target: &Arc<Target>, number: usize) -> Result<Self, BenchError> {
        let failed = || BenchError::io(format!("connecting to {}", target.host));
        let socket = if target.address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }
        .map_err(failed())?;
        if let Some(source) = source_address(target.address.ip(), number) {
            socket.bind(source).map_err(failed())?;
        }
        let stream = socket.connect(target.address).await.map_err(failed())?;
        stream.set_nodelay(true).map_err(failed())?;
        Ok(Self {
            target: Arc::clone(target),
            stream,
            input: BytesMut::new(),
            output: Vec::new(),
            body: Body::Length(0),
            cookie: None,
        })
    }

    /// Sends a request and reads the head of the answer, which must have the status `expected`.
    pub(super) async fn start(
        &mut self,
        request: &Request,
        expected: u16,
    ) -> Result<(), BenchError> {
        self.write(request)
            .await
            .map_err(BenchError::io(request.name()))?;
        let head = loop {
            let head = take_head(&mut self.input).map_err(|what| BenchError::Protocol {
                doing: request.name(),
                what,
            })?;
            match head {
                Some(head) => break head,
                None => self.fill(request).await?,
            }
        };
        self.body = head.body;
        self.cookie = head.cookie;
        if head.status == expected {
            return Ok(());
        }
        let mut answer = Vec::new();
        self.rest(request, &mut answer).await?;
        answer.truncate(500);
        Err(BenchError::Status {
            request: request.name(),
            status: head.status,
            body: String::from_utf8_lossy(&answer).trim().to_owned(),
        })
    }

    /// The next bytes of the answer, or none when it is complete.
    pub(super) async fn piece(&mut self, request: &Request) -> Result<Option<Bytes>, BenchError> {
        loop {
            let piece = self
                .body
                .take(&mut self.input)
                .map_err(|what| BenchError::Protocol {
                    doing: request.name(),
                    what,
                })?;
            match piece {
                Piece::Data(bytes) => return Ok(Some(bytes)),
                Piece::End => return Ok(None),
                Piece::More => self.fill(request).await?,
            }
        }
    }

    /// Sends a request and reads the whole answer into `answer`.
    pub(super) async fn exchange(
        &mut self,
        request: &Request,
        expected: u16,
        answer: &mut Vec<u8>,
    ) -> Result<(), BenchError> {
        answer.clear();
        self.start(request, expected).await?;
        self.rest(request, answer).await
    }

    async fn rest(&mut self, request: &Request, answer: &mut Vec<u8>) -> Result<(), BenchError> {
        while !self.body.ended() {
            let Some(piece) = self.piece(request).await? else {
                break;
            };
            if answer.len().saturating_add(piece.len()) > ANSWER_BYTES_MAX {
                return Err(BenchError::content(
                    request.name(),
                    "the answer is far too long",
                ));
            }
            answer.extend_from_slice(&piece);
        }
        Ok(())
    }

    async fn write(&mut self, request: &Request) -> io::Result<()> {
        self.output.clear();
        let out = &mut self.output;
        write!(out, "{} {} HTTP/1.1\r\n", request.method, request.path)?;
        write!(out, "Host: {}\r\n", self.target.host)?;
        if let Some(credential) = &self.target.credential {
            write!(out, "{credential}\r\n")?;
        }
        out.extend_from_slice(b"Accept: application/json\r\n");
        if request.body.is_empty() && request.method == "GET" {
            out.extend_from_slice(b"\r\n");
        } else {
            let length = request.body.len();
            let json = "Content-Type: application/json";
            write!(out, "{json}\r\nContent-Length: {length}\r\n\r\n")?;
            out.extend_from_slice(&request.body);
        }
        self.stream.write_all(out).await
    }

    async fn fill(&mut self, request: &Request) -> Result<(), BenchError> {
        self.input.reserve(4 << 10);
        let read = self
            .stream
            .read_buf(&mut self.input)
            .await
            .map_err(BenchError::io(request.name()))?;
        if read == 0 {
            let source = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(BenchError::io(format!(
                "{}: the server closed the connection",
                request.name()
            ))(source));
        }
        Ok(())
    }
}

/// Another loopback address for each so many connections; elsewhere the system chooses.
fn source_address(target: IpAddr, number: usize) -> Option<SocketAddr> {
    let group = u8::try_from(number / CONNECTIONS_PER_ADDRESS).ok()?;
    match target {
        IpAddr::V4(address) if address.is_loopback() && group > 0 => {
            Some((Ipv4Addr::new(127, 0, 0, group.saturating_add(1)), 0).into())
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_connections_come_from_several_addresses() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(source_address(loopback, 19_999), None);
        let second = source_address(loopback, 20_000).unwrap();
        assert_eq!(second.to_string(), "127.0.0.2:0");
        let elsewhere = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(source_address(elsewhere, 90_000), None);
    }
}

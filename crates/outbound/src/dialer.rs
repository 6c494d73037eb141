//! Making connections: straight to the host, or through a proxy.
//!
//! A proxy takes plain requests as they are, with the whole address in their first line; for HTTPS it
//! is asked for a tunnel first, and TLS is spoken through it to the host itself.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::address::Address;
use crate::error::OutboundError;

/// The longest head of a proxy's answer.
const TUNNEL_HEAD_MAX: usize = 8_192;

/// Makes connections for a client.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub(crate) proxy: Option<Address>,
    pub(crate) timeout: Duration,
}

/// Why there is no connection, so that it is found again in a chain of causes.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct DialError(pub(crate) OutboundError);

/// A connection.
pub(crate) struct Wire {
    stream: TokioIo<TcpStream>,
    /// Whether a proxy reads the requests.
    proxied: bool,
}

impl tower_service::Service<Uri> for Dialer {
    type Response = Wire;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Wire, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move {
            let dialled = tokio::time::timeout(dialer.timeout, dialer.dial(&uri)).await;
            dialled
                .unwrap_or(Err(OutboundError::Timeout("while connecting")))
                .map_err(DialError)
        })
    }
}

impl Dialer {
    async fn dial(&self, uri: &Uri) -> Result<Wire, OutboundError> {
        let secure = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
        let host = uri.host().unwrap_or("").trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let Some(proxy) = &self.proxy else {
            let stream = connect(host, port).await?;
            return Ok(Wire::new(stream, false));
        };
        let proxy_port = proxy.uri().port_u16().unwrap_or(80);
        let mut stream = connect(proxy.host().trim_matches(['[', ']']), proxy_port).await?;
        if secure {
            tunnel(&mut stream, proxy, uri.host().unwrap_or(""), port).await?;
        }
        Ok(Wire::new(stream, !secure))
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, OutboundError> {
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses = found.map_err(|_| OutboundError::Resolve(host.to_owned()))?;
    let shown = || format!("{host}:{port}");
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Small requests must not wait for one another.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "no TCP_NODELAY");
                }
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        None => OutboundError::Resolve(host.to_owned()),
        Some(error) => OutboundError::Connect(shown(), error.to_string()),
    })
}

/// Asks a proxy to let bytes through to `host`.
async fn tunnel(
    stream: &mut TcpStream,
    proxy: &Address,
    host: &str,
    port: u16,
) -> Result<(), OutboundError> {
    let refused = |why: String| OutboundError::Proxy(proxy.to_string(), why);
    let lost = |error: io::Error| OutboundError::Proxy(proxy.to_string(), error.to_string());
    let mut asking = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(credentials) = proxy.authorization() {
        let credentials = credentials.to_str().unwrap_or("").to_owned();
        asking.push_str(&format!("Proxy-Authorization: {credentials}\r\n"));
    }
    asking.push_str("\r\n");
    stream.write_all(asking.as_bytes()).await.map_err(lost)?;
    let mut head = Vec::with_capacity(256);
    // Byte by byte: what follows the head belongs to the tunnel.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == TUNNEL_HEAD_MAX {
            return Err(refused("its answer has no end".to_owned()));
        }
        head.push(stream.read_u8().await.map_err(lost)?);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or(&[]);
    let line = String::from_utf8_lossy(line).into_owned();
    let mut words = line.split(' ');
    match (words.next(), words.next()) {
        (Some(version), Some("200")) if version.starts_with("HTTP/1.") => Ok(()),
        _ => Err(refused(line)),
    }
}

impl Wire {
    fn new(stream: TcpStream, proxied: bool) -> Self {
        Self {
            stream: TokioIo::new(stream),
            proxied,
        }
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}

//! The server: accepts connections, and lets them end.
//!
//! A connection is a task ([`connection`]) that reads requests, has each answered ([`exchange`]) and
//! gives a socket on which a feed waits to something smaller ([`feed`]). The accept loop holds as
//! many permits as connections may be open and takes one before it accepts: what is over the limit
//! waits in the kernel's queue, and when all permits are back all connections have ended.
//!
//! Invariant: nothing a peer does ends the accept loop or costs more than its own connection.

mod connection;
mod exchange;
mod feed;
mod refusal;
mod request_line;
mod shutdown;
mod socket;

#[cfg(test)]
mod tests;

pub use crate::cors::CorsOptions;
pub use shutdown::ShutdownSignal;

use crate::body::{Request, Response};
use crate::live::LiveOptions;
use crate::metrics::Metrics;
use adea_base::Entropy;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers `request`, which came from `peer`. Dropped in the middle if the client goes away.
    fn handle(
        &self,
        request: Request,
        peer: SocketAddr,
    ) -> impl Future<Output = Response> + Send + 'static;
}

/// How requests are taken.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Time a client has to send the head of a request.
    pub header_timeout: Duration,
    /// Time after which a connection is closed that neither asks nor is being answered, or that
    /// takes nothing of its answer.
    pub idle_timeout: Duration,
    /// Largest head of a request.
    pub header_bytes_max: usize,
    /// Most connections at a time; further ones wait.
    pub connections_max: usize,
    /// Largest body of a request.
    pub request_bytes_max: u64,
    /// Largest document, as JSON without its attachments.
    pub document_bytes_max: u64,
    /// Largest attachment.
    pub attachment_bytes_max: u64,
    /// Longest time a changes feed without a heartbeat waits for a change.
    pub changes_timeout: Duration,
    /// Which pages may call the server.
    pub cors: CorsOptions,
    /// Whether answers are compressed for clients that ask for it.
    pub compress: bool,
    /// Whether each request is logged in one line.
    pub access_log: bool,
    /// Hosts that stand for paths.
    pub vhosts: Vec<crate::Vhost>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(600),
            header_bytes_max: 64 << 10,
            connections_max: 200_000,
            request_bytes_max: 4 << 30,
            document_bytes_max: 8_000_000,
            attachment_bytes_max: 1 << 30,
            changes_timeout: Duration::from_secs(60),
            cors: CorsOptions::default(),
            compress: true,
            access_log: true,
            vhosts: Vec::new(),
        }
    }
}

/// Time that connections have to end by themselves when the server stops.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);

/// Requests that a client may have open at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;

/// Silence after which the kernel asks whether the peer is still there. Listeners wait for days,
/// and a peer that lost its power says no goodbye.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(20));

/// A server, not yet listening.
pub struct Server<H> {
    shared: Arc<Shared<H>>,
    drain_time: Duration,
}

/// What all connections of a server share.
struct Shared<H> {
    handler: H,
    options: HttpOptions,
    /// What of the options may change.
    live: LiveOptions,
    metrics: Metrics,
    /// Raised when the server begins to stop.
    shutdown: ShutdownSignal,
    /// Raised when those that have not ended by themselves are cut.
    cut: ShutdownSignal,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    request_ids: AtomicU64,
}

impl<H: Handler> Server<H> {
    /// A server that has `handler` answer. It raises `shutdown` when it begins to stop.
    pub fn new(
        handler: H,
        options: impl Into<LiveOptions>,
        metrics: Metrics,
        shutdown: ShutdownSignal,
    ) -> Self {
        let live: LiveOptions = options.into();
        let options = HttpOptions::clone(&live.current());
        let mut http1 = http1::Builder::new();
        // Timeouts are ours: hyper's does not tell a slow head from an idle connection.
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_header_size(options.header_bytes_max)
            .max_buf_size(options.header_bytes_max.max(64 << 10));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(options.header_bytes_max).unwrap_or(u32::MAX))
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(256 << 10)
            .initial_connection_window_size(1 << 20)
            .max_send_buf_size(256 << 10)
            .keep_alive_interval(Duration::from_secs(60))
            .keep_alive_timeout(Duration::from_secs(20));
        Self {
            drain_time: DRAIN_TIME_MAX,
            shared: Arc::new(Shared {
                handler,
                options,
                live,
                metrics,
                shutdown,
                cut: ShutdownSignal::new(),
                http1,
                http2,
                request_ids: AtomicU64::new(u64::from_le_bytes(Entropy::System.bytes())),
            }),
        }
    }

    /// Serves the connections of `listener` until `shutdown`; then stops accepting, raises the
    /// shutdown signal, lets requests be answered and feeds end, and after ten seconds cuts what is
    /// left.
    ///
    /// # Errors
    /// None at present; failures to accept are waited out.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let shared = self.shared;
        let limit = u32::try_from(shared.options.connections_max)
            .unwrap_or(u32::MAX)
            .max(1);
        let permits = Arc::new(Semaphore::new(usize::try_from(limit).unwrap_or(usize::MAX)));
        tokio::select! {
            biased;
            () = shutdown => {}
            () = accept_all(&shared, &listener, &permits) => {}
        }
        // Nobody is to wait in a queue that is not served any more.
        drop(listener);
        shared.shutdown.raise();
        let all_ended = permits.acquire_many(limit);
        if tokio::time::timeout(self.drain_time, all_ended)
            .await
            .is_err()
        {
            let left = usize::try_from(limit)
                .unwrap_or(usize::MAX)
                .saturating_sub(permits.available_permits());
            tracing::warn!(
                connections = left,
                "cutting {left} connections that did not end"
            );
            shared.cut.raise();
        }
        Ok(())
    }
}

async fn accept_all<H: Handler>(
    shared: &Arc<Shared<H>>,
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) {
    let mut pause = PAUSE_MIN;
    loop {
        // Never closed, so there is always a permit at some time.
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                pause = PAUSE_MIN;
                admit(shared, stream, peer, permit);
            }
            Err(error) if concerns_one_peer(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: others must end before more can begin, and trying
                // at once would only burn the processor.
                tracing::error!(%error, "cannot accept connections: {error}; trying again");
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(PAUSE_MAX);
            }
        }
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

fn concerns_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    [
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        Interrupted,
    ]
    .contains(&error.kind())
}

fn admit<H: Handler>(
    shared: &Arc<Shared<H>>,
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    // Both only fail on a socket that is already dead, which shows when it is read.
    drop(stream.set_nodelay(true));
    drop(SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE));
    let open = Open::new(permit, &shared.metrics);
    tokio::spawn(connection::drive(Arc::clone(shared), stream, peer, open));
}

/// That a connection is open. Goes with its socket from hand to hand.
struct Open {
    metrics: Metrics,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(permit: OwnedSemaphorePermit, metrics: &Metrics) -> Self {
        metrics.connection_began();
        Self {
            metrics: metrics.clone(),
            _permit: permit,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.connection_ended();
    }
}

impl<H> Shared<H> {
    /// A fresh request id of ten hexadecimal digits. Ids do not repeat for 2^40 requests.
    fn request_id(&self) -> [u8; 10] {
        // An odd factor permutes the numbers, so that neighbours do not look alike.
        let number = self
            .request_ids
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut id = [0; 10];
        for (place, digit) in id.iter_mut().rev().enumerate() {
            let nibble = number >> place.saturating_mul(4) & 15;
            *digit = *b"0123456789abcdef"
                .get(usize::try_from(nibble).unwrap_or(0))
                .unwrap_or(&b'0');
        }
        id
    }
}

/// Microseconds from `start` to now.
fn micros_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

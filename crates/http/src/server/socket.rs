//! A socket that knows what its peer is doing.
//!
//! hyper reads and writes through [`Socket`], which notes in [`Activity`] when a head begins to
//! come in and when the peer stops taking what is sent; the connection's task looks there, when its
//! one timer fires, to tell a slow head from an idle connection and a stuck reader from a long
//! answer. Nothing here sets a timer.
//!
//! Invariant: the bytes that were read to tell HTTP/1 from HTTP/2 are read again first, in order.

use super::exchange::HandOver;
use super::refusal;
use super::request_line::RequestLine;
use crate::metrics::Metrics;
use parking_lot::Mutex;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What begins an HTTP/2 connection.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What happens on a connection, noted by those who see it.
pub(super) struct Activity {
    pub(super) metrics: Metrics,
    pub(super) peer: SocketAddr,
    accepted: Instant,
    /// Whether a part of a head has come in.
    in_head: AtomicBool,
    /// When the head began to come in, or else when the connection became idle.
    since_micros: AtomicU64,
    /// When writing began to be refused; zero if it is not.
    stuck_micros: AtomicU64,
    /// Requests that are being answered.
    answering: AtomicU32,
    read_ended: AtomicBool,
    multiplexed: AtomicBool,
    handing_over: AtomicBool,
    hand_over: Mutex<Option<Box<HandOver>>>,
}

/// What to do with a connection at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has had its time.
    Cut,
    /// Look again then.
    LookAgain(Instant),
}

impl Activity {
    pub(super) fn new(metrics: Metrics, peer: SocketAddr) -> Self {
        Self {
            metrics,
            peer,
            accepted: Instant::now(),
            // Who connects wants something: the time for the first head runs at once.
            in_head: AtomicBool::new(true),
            since_micros: AtomicU64::new(0),
            stuck_micros: AtomicU64::new(0),
            answering: AtomicU32::new(0),
            read_ended: AtomicBool::new(false),
            multiplexed: AtomicBool::new(false),
            handing_over: AtomicBool::new(false),
            hand_over: Mutex::new(None),
        }
    }

    fn now_micros(&self) -> u64 {
        super::micros_since(self.accepted).max(1)
    }

    fn answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed) != 0
    }

    fn in_head(&self) -> bool {
        self.in_head.load(Ordering::Relaxed)
    }

    fn begin(&self, in_head: bool) {
        self.since_micros
            .store(self.now_micros(), Ordering::Relaxed);
        self.in_head.store(in_head, Ordering::Relaxed);
    }

    /// The connection speaks HTTP/2, where bytes come also without a request.
    pub(super) fn multiplex(&self) {
        self.multiplexed.store(true, Ordering::Relaxed);
        self.begin(false);
    }

    pub(super) fn request_began(&self) {
        self.answering.fetch_add(1, Ordering::Relaxed);
        self.in_head.store(false, Ordering::Relaxed);
    }

    pub(super) fn request_ended(&self) {
        if self.answering.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.begin(false);
        }
    }

    /// Notes that bytes came in; whether a head begins with them.
    fn read(&self, bytes: usize) -> bool {
        if bytes == 0 {
            self.read_ended.store(true, Ordering::Relaxed);
            return false;
        }
        self.metrics.received(bytes);
        let head = !self.answering() && !self.multiplexed.load(Ordering::Relaxed);
        let begins = head && !self.in_head();
        if begins {
            self.begin(true);
        }
        begins
    }

    /// Whether it is HTTP/1, where a request begins with a line.
    fn has_lines(&self) -> bool {
        !self.multiplexed.load(Ordering::Relaxed)
    }

    fn wrote(&self, outcome: &Poll<io::Result<usize>>) {
        match outcome {
            Poll::Ready(result) => {
                self.stuck_micros.store(0, Ordering::Relaxed);
                self.metrics.sent(result.as_ref().map_or(0, |&bytes| bytes));
            }
            Poll::Pending if !self.stuck() => {
                self.stuck_micros
                    .store(self.now_micros(), Ordering::Relaxed);
            }
            Poll::Pending => {}
        }
    }

    fn stuck(&self) -> bool {
        self.stuck_micros.load(Ordering::Relaxed) != 0
    }

    /// Whether the peer has closed its side.
    pub(super) fn read_ended(&self) -> bool {
        self.read_ended.load(Ordering::Relaxed)
    }

    /// Until when the head that is coming in must be there, if one is.
    pub(super) fn head_due(&self, time: Duration) -> Option<Instant> {
        if self.in_head() {
            self.at(&self.since_micros).checked_add(time)
        } else {
            None
        }
    }

    fn at(&self, micros: &AtomicU64) -> Instant {
        let since = Duration::from_micros(micros.load(Ordering::Relaxed));
        self.accepted.checked_add(since).unwrap_or(self.accepted)
    }

    /// Whether the connection has had its time at `now`.
    pub(super) fn verdict(&self, now: Instant, head: Duration, idle: Duration) -> Verdict {
        let (since, time) = if self.stuck() {
            (self.at(&self.stuck_micros), idle)
        } else if self.answering() {
            (now, idle)
        } else if self.in_head() {
            (self.at(&self.since_micros), head)
        } else {
            (self.at(&self.since_micros), idle)
        };
        match since.checked_add(time) {
            Some(due) if due <= now => Verdict::Cut,
            Some(due) => Verdict::LookAgain(due),
            None => Verdict::LookAgain(now + Duration::from_secs(86_400)),
        }
    }

    /// Asks the connection's task, which polls the caller, to take the socket for a feed.
    pub(super) fn hand_over(&self, feed: Box<HandOver>) {
        *self.hand_over.lock() = Some(feed);
        self.handing_over.store(true, Ordering::Relaxed);
    }

    /// What [`Self::hand_over`] was given, once all that was written before is with the kernel.
    pub(super) fn handed_over(&self) -> Option<Box<HandOver>> {
        if self.handing_over.load(Ordering::Relaxed) && !self.stuck() {
            self.hand_over.lock().take()
        } else {
            None
        }
    }
}

/// The bytes of a connection.
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    pub(super) activity: Arc<Activity>,
    /// What [`Self::speaks_http2`] read.
    opening: [u8; PREFACE.len()],
    opening_end: u8,
    opening_read: u8,
    line: RequestLine,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            activity,
            opening: [0; PREFACE.len()],
            opening_end: 0,
            opening_read: 0,
            line: RequestLine::default(),
        }
    }

    /// Reads until it is clear what the peer speaks; `None` if it closed before.
    pub(super) async fn speaks_http2(&mut self) -> io::Result<Option<bool>> {
        std::future::poll_fn(|cx| self.poll_opening(cx)).await
    }

    fn poll_opening(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<bool>>> {
        loop {
            let (read, rest) = self
                .opening
                .split_at_mut_checked(usize::from(self.opening_end))
                .unwrap_or_default();
            if !PREFACE.starts_with(read) {
                return Poll::Ready(Ok(Some(false)));
            }
            if rest.is_empty() {
                return Poll::Ready(Ok(Some(true)));
            }
            let mut buffer = ReadBuf::new(rest);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled().len();
            self.activity.read(bytes);
            if bytes == 0 {
                return Poll::Ready(Ok(None));
            }
            let bytes = u8::try_from(bytes).unwrap_or(u8::MAX);
            self.opening_end = self.opening_end.saturating_add(bytes);
        }
    }
}

impl Socket {
    /// Moves what was read before into `buffer`; whether there was anything.
    fn read_opening(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let unread = self
            .opening
            .get(usize::from(self.opening_read)..usize::from(self.opening_end))
            .unwrap_or_default();
        let (now, _) = unread.split_at(unread.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.opening_read = self
            .opening_read
            .saturating_add(u8::try_from(now.len()).unwrap_or(u8::MAX));
        !now.is_empty()
    }
}

/// What was read before and what has come since are read together: hyper doubles its buffer if it
/// does not get a head in one go.
impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let waiting = this.line.take(buffer.remaining());
        if !waiting.is_empty() {
            buffer.put_slice(&waiting);
            return Poll::Ready(Ok(()));
        }
        let first = buffer.filled().len();
        let polled = this.poll_read_as_sent(cx, buffer);
        if matches!(polled, Poll::Ready(Ok(()))) && this.activity.has_lines() {
            let came = buffer.filled().get(first..).unwrap_or_default();
            if this.line.replaces(came) {
                buffer.set_filled(first);
                let escaped = this.line.take(buffer.remaining());
                buffer.put_slice(&escaped);
            }
        }
        polled
    }
}

impl Socket {
    fn poll_read_as_sent(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self;
        if this.opening_read == 0 && this.opening_end > 0 {
            this.line.begin();
        }
        let from_opening = this.read_opening(buffer);
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                let bytes = buffer.filled().len().saturating_sub(before);
                if (bytes > 0 || !from_opening) && this.activity.read(bytes) {
                    this.line.begin();
                }
                Poll::Ready(Ok(()))
            }
            // What there is is enough; the rest shows at the next read.
            Poll::Ready(Err(_)) | Poll::Pending if from_opening => Poll::Ready(Ok(())),
            other @ (Poll::Ready(Err(_)) | Poll::Pending) => other,
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let own = refusal::of_hyper(bytes);
        let outcome = Pin::new(&mut this.stream).poll_write(cx, own.as_deref().unwrap_or(bytes));
        this.activity.wrote(&outcome);
        // A refusal is the first and last that is written in a while: it fits, and counts as what
        // it stands for.
        outcome.map_ok(|written| own.map_or(written, |_| bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = slices {
            return self.poll_write(cx, only);
        }
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.activity.wrote(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket holds nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

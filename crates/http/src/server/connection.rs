//! One connection, from accept to close.
//!
//! The task polls hyper's connection and beside it looks after what hyper does not: the time a head
//! may take, idleness, readers that are stuck, the server's stopping, and feeds that want the
//! socket for themselves. One timer serves all times; it is set when it has fired or when a head
//! has come in only in part, so that a request that comes in one piece sets none.
//!
//! Invariant: the socket of a feed leaves hyper only when hyper has written all it had to write.

use super::exchange::{self, HandOver};
use super::feed::FeedConnection;
use super::shutdown::Waiting;
use super::socket::{Activity, Socket, Verdict};
use super::{Handler, Open, Shared};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// What the requests of a connection share.
pub(super) struct Link<H> {
    pub(super) shared: Arc<Shared<H>>,
    pub(super) activity: Arc<Activity>,
}

/// Lives as long as the connection, or until a feed takes it over.
pub(super) async fn drive<H: Handler>(
    shared: Arc<Shared<H>>,
    stream: TcpStream,
    peer: SocketAddr,
    open: Open,
) {
    let activity = Arc::new(Activity::new(shared.metrics.clone(), peer));
    let mut socket = Socket::new(stream, Arc::clone(&activity));
    let opening = tokio::select! {
        opening = tokio::time::timeout(shared.options.header_timeout, socket.speaks_http2()) => opening,
        () = shared.shutdown.wait() => return,
    };
    let link = Arc::new(Link { shared, activity });
    match opening {
        Ok(Ok(Some(false))) => Box::pin(drive_http1(link, socket, open)).await,
        Ok(Ok(Some(true))) => Box::pin(drive_http2(link, socket, open)).await,
        // Too slow, broken, or gone.
        Err(_) | Ok(Err(_) | Ok(None)) => {}
    }
}

async fn drive_http1<H: Handler>(link: Arc<Link<H>>, socket: Socket, open: Open) {
    let service = service_fn({
        let link = Arc::clone(&link);
        move |request| exchange::answer(Arc::clone(&link), request)
    });
    let mut connection = link
        .shared
        .http1
        .serve_connection(TokioIo::new(socket), service);
    let end = {
        let mut watch = pin!(Watch::new(&link));
        std::future::poll_fn(|cx| {
            watch.as_mut().poll(cx, &mut connection, |connection| {
                Pin::new(connection).graceful_shutdown();
            })
        })
        .await
    };
    let stream = connection.into_parts().io.into_inner().stream;
    match end {
        End::HandedOver(feed) => {
            // A task of its own: this one is as large as all that hyper needed.
            tokio::spawn(FeedConnection::new(&link.shared, *feed, stream, open));
        }
        End::Closed(Err(error)) if error.is_user() => {
            // An answer broke off. Without a length its reader could take a proper close for its
            // end, so the close is made improper.
            tracing::debug!(%error, "an answer broke off");
            drop(stream.set_zero_linger());
        }
        End::Closed(result) => {
            if let Err(error) = result {
                tracing::debug!(%error, "a connection broke");
            }
            if !link.activity.read_ended() && !link.shared.shutdown.is_down() {
                linger(stream).await;
            }
        }
        End::Cut => {}
    }
}

async fn drive_http2<H: Handler>(link: Arc<Link<H>>, socket: Socket, _open: Open) {
    link.activity.multiplex();
    let service = service_fn({
        let link = Arc::clone(&link);
        move |request| exchange::answer(Arc::clone(&link), request)
    });
    let mut connection = pin!(
        link.shared
            .http2
            .serve_connection(TokioIo::new(socket), service)
    );
    let mut watch = pin!(Watch::new(&link));
    let end = std::future::poll_fn(|cx| {
        watch.as_mut().poll(cx, &mut connection, |connection| {
            connection.as_mut().graceful_shutdown();
        })
    })
    .await;
    if let End::Closed(Err(error)) = end {
        tracing::debug!(%error, "a connection broke");
    }
}

/// How hyper's part of a connection ended.
enum End {
    Closed(hyper::Result<()>),
    HandedOver(Box<HandOver>),
    Cut,
}

/// Looks after a connection beside hyper.
struct Watch<'a, H> {
    link: &'a Link<H>,
    stop: Waiting,
    draining: bool,
    timer: Pin<Box<Sleep>>,
}

impl<'a, H: Handler> Watch<'a, H> {
    fn new(link: &'a Link<H>) -> Self {
        let due = link.activity.verdict(
            Instant::now(),
            link.shared.options.header_timeout,
            link.shared.options.idle_timeout,
        );
        let due = match due {
            Verdict::LookAgain(due) => due,
            Verdict::Cut => Instant::now(),
        };
        Self {
            link,
            stop: link.shared.shutdown.waiting(),
            draining: false,
            timer: Box::pin(tokio::time::sleep_until(due)),
        }
    }

    fn poll<C>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        connection: &mut C,
        drain: impl Fn(&mut C),
    ) -> Poll<End>
    where
        C: Future<Output = hyper::Result<()>> + Unpin,
    {
        let this = &mut *self;
        loop {
            if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(End::Closed(result));
            }
            if let Some(feed) = this.link.activity.handed_over() {
                return Poll::Ready(End::HandedOver(feed));
            }
            if this.stop.poll(cx).is_pending() {
                break;
            }
            if this.draining {
                return Poll::Ready(End::Cut);
            }
            this.draining = true;
            this.stop = this.link.shared.cut.waiting();
            drain(connection);
        }
        ready!(this.poll_times(cx));
        Poll::Ready(End::Cut)
    }

    /// Ready when the connection has had its time.
    fn poll_times(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let options = &self.link.shared.options;
        if let Some(due) = self.link.activity.head_due(options.header_timeout)
            && due < self.timer.deadline()
        {
            self.timer.as_mut().reset(due);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            match self.link.activity.verdict(
                Instant::now(),
                options.header_timeout,
                options.idle_timeout,
            ) {
                Verdict::Cut => return Poll::Ready(()),
                Verdict::LookAgain(due) => self.timer.as_mut().reset(due),
            }
        }
        Poll::Pending
    }
}

/// Longest time that a peer is listened to after the last answer.
const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 16 << 20;

/// Closes a socket whose peer may still be sending. Closed at once, the kernel would answer what
/// still comes in with a reset, which makes the peer forget an answer that it has not read yet:
/// the 413 or 431 that tells it what is wrong.
async fn linger(mut stream: TcpStream) {
    if stream.shutdown().await.is_ok() {
        let mut bytes_left = LINGER_BYTES_MAX;
        let until_end = std::future::poll_fn(|cx| poll_discard(&mut stream, cx, &mut bytes_left));
        drop(tokio::time::timeout(LINGER_TIME_MAX, until_end).await);
    }
}

/// Reads and forgets; ready when the peer has closed or has sent more than `bytes_left`, which is
/// counted down.
pub(super) fn poll_discard(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    bytes_left: &mut usize,
) -> Poll<()> {
    let mut scrap = [const { MaybeUninit::uninit() }; 4_096];
    loop {
        let mut buffer = ReadBuf::uninit(&mut scrap);
        let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer));
        let bytes = buffer.filled().len();
        match bytes_left.checked_sub(bytes) {
            Some(left) if bytes > 0 && read.is_ok() => *bytes_left = left,
            Some(_) | None => return Poll::Ready(()),
        }
    }
}

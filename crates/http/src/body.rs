//! The bodies of requests and responses.
//!
//! Most answers are one piece of memory ([`Body::Full`]); long ones are made by a task and go
//! through a bounded channel ([`Body::channel`]), so that a slow reader slows its producer and
//! nobody else; feeds wait ([`Body::Feed`], see [`FeedSource`]); the rest is any stream
//! ([`Body::Stream`]). The enumeration keeps the first kinds free of boxes and virtual calls.
//!
//! Invariant: a body that could not be made to its end is never ended properly. It yields a
//! [`BodyError`], at which the connection is cut: the client sees a broken transfer, never a short
//! answer that looks whole. A producer that panics counts as one that gave up.

mod feed;

pub(crate) use feed::{FeedChunk, FeedSource, frame_chunk};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// A request as it comes from the wire.
pub type Request = http::Request<hyper::body::Incoming>;

/// A response as handlers give it.
pub type Response = http::Response<Body>;

/// Response extension: who asked, for the access log.
#[derive(Clone, Debug)]
pub(crate) struct LoggedUser(pub(crate) Arc<str>);

/// Response extension: this stream may be compressed. Never set on a feed, whose pieces would
/// wait in the compressor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compressible;

/// Why a body ends before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyError(Cow<'static, str>);

impl BodyError {
    /// An error that says `reason` in the log; the client only sees the connection break.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BodyError {}

impl From<std::io::Error> for BodyError {
    fn from(error: std::io::Error) -> Self {
        Self(Cow::Owned(error.to_string()))
    }
}

impl From<hyper::Error> for BodyError {
    fn from(error: hyper::Error) -> Self {
        Self(Cow::Owned(error.to_string()))
    }
}

/// The body of a response.
#[derive(Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// One piece of memory.
    Full(Bytes),
    /// Pieces that a task sends through a [`BodySender`].
    Channel(BodyReceiver),
    /// Pieces that come when something happens, perhaps for days. Over HTTP/1.1 the server takes
    /// the socket away from hyper, so that waiting costs next to no memory.
    Feed(Box<dyn FeedSource>),
    /// Anything else.
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>),
}

impl Body {
    /// A body that is sent piece by piece; at most `capacity` pieces wait between the two ends.
    /// It ends when the sender is dropped.
    #[must_use]
    pub fn channel(capacity: usize) -> (BodySender, Self) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        let failure = Arc::new(OnceLock::new());
        let sender = BodySender {
            pieces: sender,
            failure: Arc::clone(&failure),
        };
        let receiver = BodyReceiver {
            pieces: receiver,
            failure,
        };
        (sender, Self::Channel(receiver))
    }

    /// A body that waits for things to happen.
    pub fn feed(source: impl FeedSource + 'static) -> Self {
        Self::Feed(Box::new(source))
    }

    /// A body from any other body.
    pub fn stream<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        Self::Stream(Box::pin(body))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Self::Channel(_) => f.write_str("Channel"),
            Self::Feed(_) => f.write_str("Feed"),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::Empty
        } else {
            Self::Full(bytes)
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            body @ Self::Full(_) => match std::mem::take(body) {
                Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Self::Empty | Self::Channel(_) | Self::Feed(_) | Self::Stream(_) => {
                    Poll::Ready(None)
                }
            },
            Self::Channel(receiver) => receiver.poll_piece(cx).map_ok(Frame::data),
            Self::Feed(source) => source
                .poll_next(cx)
                .map_ok(|chunk| Frame::data(chunk.into_payload())),
            Self::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) | Self::Channel(_) | Self::Feed(_) => false,
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Self::Channel(_) | Self::Feed(_) => SizeHint::default(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

/// The reading end of [`Body::channel`].
pub struct BodyReceiver {
    pieces: mpsc::Receiver<Bytes>,
    failure: Arc<OnceLock<BodyError>>,
}

impl BodyReceiver {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match ready!(self.pieces.poll_recv(cx)) {
            Some(piece) => Poll::Ready(Some(Ok(piece))),
            // The sender is gone, and said why before it went.
            None => Poll::Ready(self.failure.get().cloned().map(Err)),
        }
    }
}

/// The client is gone or the server is stopping; nobody reads what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads this body any more")]
pub struct Closed;

/// The writing end of [`Body::channel`]. Dropping it ends the body properly, except in a panic.
pub struct BodySender {
    pieces: mpsc::Sender<Bytes>,
    failure: Arc<OnceLock<BodyError>>,
}

impl BodySender {
    /// Sends a piece, waiting until there is room for it.
    ///
    /// # Errors
    /// [`Closed`] if the body is read no more: stop producing it.
    pub async fn send(&self, piece: Bytes) -> Result<(), Closed> {
        self.pieces.send(piece).await.map_err(|_| Closed)
    }

    /// Whether nobody reads the body any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.pieces.is_closed()
    }

    /// Waits until nobody reads the body any more.
    pub async fn closed(&self) {
        self.pieces.closed().await;
    }

    /// Has the response be cut off after what was sent, once all is dropped that could send more;
    /// the client sees that it is not whole.
    pub fn abort(&self, reason: impl Into<Cow<'static, str>>) {
        self.fail(BodyError::new(reason));
    }

    fn fail(&self, error: BodyError) {
        // The first reason stands.
        drop(self.failure.set(error));
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fail(BodyError::new("the producer of the body panicked"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_channel_carries_pieces_to_its_end() {
        let (sender, body) = Body::channel(1);
        let producer = tokio::spawn(async move {
            for piece in ["one ", "two ", "three"] {
                sender.send(piece.into()).await?;
            }
            Ok::<(), Closed>(())
        });
        let whole = body.collect().await.unwrap().to_bytes();
        assert_eq!(whole, "one two three");
        assert_eq!(producer.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn an_aborted_channel_yields_an_error_after_what_was_sent() {
        let (sender, mut body) = Body::channel(4);
        sender.send("half".into()).await.unwrap();
        sender.abort("the disk is gone");
        drop(sender);
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "half");
        let second = body.frame().await.unwrap().unwrap_err();
        assert_eq!(second.to_string(), "the disk is gone");
    }

    #[tokio::test]
    async fn a_producer_that_panics_does_not_end_its_body_properly() {
        let (sender, body) = Body::channel(1);
        let producer = tokio::spawn(async move {
            let _held = sender;
            panic!("no more");
        });
        assert!(body.collect().await.is_err());
        assert!(producer.await.unwrap_err().is_panic());
    }

    #[tokio::test]
    async fn a_sender_learns_that_nobody_reads() {
        let (sender, body) = Body::channel(1);
        drop(body);
        sender.closed().await;
        assert_eq!(sender.send("x".into()).await, Err(Closed));
    }

    #[tokio::test]
    async fn memory_has_an_exact_size_and_comes_in_one_piece() {
        use http_body::Body as _;
        assert_eq!(Body::from("").size_hint().exact(), Some(0));
        assert!(Body::from("").is_end_stream());
        let body = Body::from("twelve bytes");
        assert_eq!(body.size_hint().exact(), Some(12));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "twelve bytes");
    }
}

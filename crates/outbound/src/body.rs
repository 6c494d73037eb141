//! The bodies of requests: nothing, bytes at hand, or bytes that come while they are sent.
//!
//! A body that comes has a sender who may give up: the connection then breaks off, so that nobody
//! takes a part for the whole.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

use crate::error::OutboundError;

/// Pieces that may wait to be sent.
const PIECES_AHEAD: usize = 4;

/// A request's body.
#[derive(Debug)]
pub struct Body {
    content: Content,
    /// Bytes handed on so far: shows whether the peer is still taking them.
    taken: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Content {
    Pieces(VecDeque<Bytes>),
    Coming {
        pieces: mpsc::Receiver<Result<Bytes, OutboundError>>,
        length: Option<u64>,
    },
}

/// Whoever brings the bytes of a body that comes.
#[derive(Debug)]
pub struct BodySender {
    pieces: mpsc::Sender<Result<Bytes, OutboundError>>,
    ended: bool,
}

impl Body {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::of(Content::Pieces(VecDeque::new()))
    }

    /// One that is at hand.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::pieces([bytes.into()])
    }

    /// One that is at hand in pieces.
    #[must_use]
    pub fn pieces(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        Self::of(Content::Pieces(pieces.collect()))
    }

    /// One that comes; of `length` bytes, if that is known.
    #[must_use]
    pub fn coming(length: Option<u64>) -> (BodySender, Self) {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let sender = BodySender {
            pieces: sender,
            ended: false,
        };
        (sender, Self::of(Content::Coming { pieces, length }))
    }

    fn of(content: Content) -> Self {
        Self {
            content,
            taken: Arc::new(AtomicU64::new(0)),
        }
    }

    pub(crate) fn taken(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.taken)
    }
}

impl BodySender {
    /// Hands on the next piece; waits until there is room.
    ///
    /// # Errors
    /// [`OutboundError::Closed`] if the peer takes no more.
    pub async fn send(&mut self, piece: Bytes) -> Result<(), OutboundError> {
        if piece.is_empty() {
            return Ok(());
        }
        let sent = self.pieces.send(Ok(piece)).await;
        sent.map_err(|_| OutboundError::Closed)
    }

    /// Says that this was all.
    pub fn end(mut self) {
        self.ended = true;
    }
}

/// Who goes without a word has given up.
impl Drop for BodySender {
    fn drop(&mut self) {
        if !self.ended {
            let pieces = self.pieces.clone();
            if let Err(mpsc::error::TrySendError::Full(given_up)) =
                pieces.try_send(Err(OutboundError::GivenUp))
            {
                // Those that wait are sent first; without a runtime nobody sends anything.
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(async move { drop(pieces.send(given_up).await) });
                }
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = OutboundError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OutboundError>>> {
        let piece = match &mut self.content {
            Content::Pieces(pieces) => pieces.pop_front().map(Ok),
            Content::Coming { pieces, length } => match pieces.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(piece) => {
                    if let (Some(Ok(piece)), Some(left)) = (&piece, length.as_mut()) {
                        *left = left.saturating_sub(piece.remaining() as u64);
                    }
                    piece
                }
            },
        };
        if let Some(Ok(piece)) = &piece {
            let length = piece.len() as u64;
            self.taken.fetch_add(length, Ordering::Relaxed);
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Pieces(pieces) if pieces.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Pieces(pieces) => {
                SizeHint::with_exact(pieces.iter().map(|piece| piece.len() as u64).sum())
            }
            Content::Coming { length, .. } => {
                length.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

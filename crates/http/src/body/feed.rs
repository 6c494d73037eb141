//! Feeds: bodies that wait.
//!
//! A listener of changes costs memory for as long as it waits and a system call for each change, so
//! both are kept as small as they can be. The source of a feed is polled by the connection itself,
//! without a task or a channel between, and a change that is told to many listeners is framed for
//! the wire once and shared by all of them.
//!
//! Invariant: a framed chunk is exactly one chunk of HTTP/1.1's chunked coding, and never the empty
//! one, which would end the response.

use super::BodyError;
use bytes::{BufMut, Bytes, BytesMut};
use std::io::Write;
use std::task::{Context, Poll};

/// What a feed sends next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedChunk {
    /// Bytes as they are.
    Payload(Bytes),
    /// Bytes as [`frame_chunk`] gave them, perhaps shared with other listeners.
    Framed(Bytes),
}

impl FeedChunk {
    /// The chunk as it goes over HTTP/1.1; empty if there is nothing to send.
    #[must_use]
    pub fn into_framed(self) -> Bytes {
        match self {
            Self::Payload(payload) => frame_chunk(&payload),
            Self::Framed(framed) => framed,
        }
    }

    /// The chunk without its frame.
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        match self {
            Self::Payload(payload) => payload,
            Self::Framed(framed) => unframed(&framed),
        }
    }
}

/// Where a feed comes from.
///
/// It ends when it yields `None`, which it should soon after the server's shutdown signal is
/// raised. An error cuts the connection: the client sees a broken transfer. It is dropped when the
/// client goes away.
///
/// A source that waits costs its own size and no more; it should not hold anything of the request,
/// whose headers keep the buffer alive that they were read into.
pub trait FeedSource: Send + Sync {
    /// The next chunk, or the end, or a promise to wake the task of `cx`.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<FeedChunk, BodyError>>>;
}

/// Frames `payload` as one chunk of HTTP/1.1; empty for an empty payload.
#[must_use]
pub(crate) fn frame_chunk(payload: &[u8]) -> Bytes {
    if payload.is_empty() {
        return Bytes::new();
    }
    // The size has at most sixteen digits; two line ends.
    let mut framed = BytesMut::with_capacity(payload.len().saturating_add(20)).writer();
    // Writing into memory does not fail.
    drop(write!(framed, "{:x}\r\n", payload.len()));
    let mut framed = framed.into_inner();
    framed.put_slice(payload);
    framed.put_slice(b"\r\n");
    framed.freeze()
}

fn unframed(framed: &Bytes) -> Bytes {
    let start = memchr::memchr(b'\n', framed).map_or(0, |at| at.saturating_add(1));
    let end = framed.len().saturating_sub(2);
    if start < end {
        framed.slice(start..end)
    } else {
        Bytes::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_framed_as_http_says() {
        assert_eq!(
            frame_chunk(b"0123456789abcdefg"),
            "11\r\n0123456789abcdefg\r\n"
        );
    }

    #[test]
    fn what_is_framed_comes_out_again() {
        for payload in ["{\"seq\":1}\n", "\n", "\r\n\r\n", "x"] {
            let chunk = FeedChunk::Framed(frame_chunk(payload.as_bytes()));
            assert_eq!(chunk.into_payload(), payload);
        }
    }

    #[test]
    fn nothing_is_not_framed_since_that_would_be_the_end() {
        assert_eq!(FeedChunk::Payload(Bytes::new()).into_framed(), "");
        assert_eq!(FeedChunk::Framed(Bytes::new()).into_payload(), "");
    }
}

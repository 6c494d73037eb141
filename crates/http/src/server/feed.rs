//! A connection on which a feed waits.
//!
//! hyper keeps a read buffer and much state for each connection. A listener that waits for days
//! needs none of it: its connection is this small future, polled when there is a change, when the
//! peer goes away, and when the server stops. A change costs one write.
//!
//! Invariant: the final chunk is written only after the source has said that it is at its end;
//! whatever else happens, the peer sees the transfer break. At most one chunk is held for a peer
//! that reads slowly; its source is not asked for more meanwhile.

use super::connection::poll_discard;
use super::exchange::{HandOver, Record};
use super::shutdown::Waiting;
use super::{Open, Shared};
use crate::body::FeedSource;
use adea_base::Clock;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// Ends the body.
const FINAL_CHUNK: &[u8] = b"0\r\n\r\n";

/// What a peer may send while it listens; it has nothing to say.
const UNASKED_BYTES_MAX: usize = 64 << 10;

/// A feed and its socket. Done when the feed has ended or the peer is gone.
pub(super) struct FeedConnection {
    stream: TcpStream,
    /// `None` when it is at its end.
    source: Option<Box<dyn FeedSource>>,
    /// What is not written yet.
    unwritten: Bytes,
    record: Record,
    cut: Waiting,
    /// Only while the peer takes nothing.
    patience: Option<Pin<Box<Sleep>>>,
    patience_ms: u32,
    unasked_bytes_left: usize,
    open: Open,
}

impl FeedConnection {
    pub(super) fn new<H>(
        shared: &Shared<H>,
        feed: HandOver,
        stream: TcpStream,
        open: Open,
    ) -> Self {
        Self {
            stream,
            source: Some(feed.source),
            unwritten: feed.head,
            record: feed.record,
            cut: shared.cut.waiting(),
            patience: None,
            patience_ms: u32::try_from(shared.options.idle_timeout.as_millis()).unwrap_or(u32::MAX),
            unasked_bytes_left: UNASKED_BYTES_MAX,
            open,
        }
    }

    /// Ready with `true` when all is written, with `false` when it cannot be.
    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while !self.unwritten.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.unwritten);
            match written {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(bytes)) => {
                    self.unwritten.advance(bytes);
                    self.record.sent(bytes);
                    self.open.metrics.sent(bytes);
                    self.patience = None;
                }
                Poll::Pending => {
                    let time = Duration::from_millis(self.patience_ms.into());
                    let patience = self
                        .patience
                        .get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
                    ready!(patience.as_mut().poll(cx));
                    return Poll::Ready(false);
                }
            }
        }
        // The buffer of a chunk may be shared; it is not to live on because of one listener.
        self.unwritten = Bytes::new();
        Poll::Ready(true)
    }

    fn poll_feed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if !ready!(self.poll_write_all(cx)) {
                return Poll::Ready(());
            }
            let Some(source) = &mut self.source else {
                self.record.complete();
                // Whether the peer hears of the close does not matter: it has the final chunk.
                return Pin::new(&mut self.stream).poll_shutdown(cx).map(drop);
            };
            match ready!(source.poll_next(cx)) {
                Some(Ok(chunk)) => self.unwritten = chunk.into_framed(),
                Some(Err(error)) => {
                    tracing::warn!(%error, "a feed broke off: {error}");
                    return Poll::Ready(());
                }
                None => {
                    self.source = None;
                    self.unwritten = Bytes::from_static(FINAL_CHUNK);
                }
            }
        }
    }
}

impl Future for FeedConnection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if poll_discard(&mut this.stream, cx, &mut this.unasked_bytes_left).is_ready()
            || this.cut.poll(cx).is_ready()
        {
            return Poll::Ready(());
        }
        this.poll_feed(cx)
    }
}

/// The head of a feed's response as it goes over HTTP/1.1.
pub(super) fn head(parts: &http::response::Parts) -> Bytes {
    let mut head = BytesMut::with_capacity(1_024);
    head.put_slice(b"HTTP/1.1 ");
    head.put_slice(parts.status.as_str().as_bytes());
    head.put_u8(b' ');
    let reason = parts.status.canonical_reason().unwrap_or_default();
    head.put_slice(reason.as_bytes());
    head.put_slice(b"\r\n");
    let mut put = |name: &str, value: &[u8]| {
        head.put_slice(name.as_bytes());
        head.put_slice(b": ");
        head.put_slice(value);
        head.put_slice(b"\r\n");
    };
    for (name, value) in &parts.headers {
        // Those are about the transfer, which is ours.
        if ![CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
            put(name.as_str(), value.as_bytes());
        }
    }
    if !parts.headers.contains_key(DATE) {
        let now = Duration::from_secs(Clock::System.now_unix_s());
        if let Some(now) = UNIX_EPOCH.checked_add(now) {
            put("date", httpdate::fmt_http_date(now).as_bytes());
        }
    }
    head.put_slice(b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n");
    head.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{Body, Response};
    use http::HeaderValue;

    #[test]
    fn a_waiting_feed_is_small() {
        let size = size_of::<FeedConnection>();
        assert!(size <= 256, "{size}");
    }

    #[test]
    fn the_head_of_a_feed_says_how_it_is_transferred() {
        let mut response = Response::new(Body::Empty);
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("7"));
        headers.insert(
            "content-type",
            HeaderValue::from_static("text/event-stream"),
        );
        headers.insert(DATE, HeaderValue::from_static("today"));
        let head = head(&response.into_parts().0);
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ndate: today\r\n\
             transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
    }
}

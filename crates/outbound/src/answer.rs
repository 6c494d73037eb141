//! An answer: its head, and its body as it comes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::error::OutboundError;

/// What a peer answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    /// The longest silence in the body.
    idle: Duration,
}

impl Answer {
    pub(crate) fn new(response: http::Response<Incoming>, idle: Duration) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body,
            idle,
        }
    }

    /// The text of a header.
    #[must_use]
    pub fn header(&self, name: &http::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// [`OutboundError::Timeout`] after a silence, or why the connection ended.
    pub async fn next(&mut self) -> Result<Option<Bytes>, OutboundError> {
        loop {
            let frame = tokio::time::timeout(self.idle, self.body.frame());
            match frame.await {
                Err(_) => return Err(OutboundError::Timeout("in the body")),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(OutboundError::of_body(&error)),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Ok(Some(data)),
                    // Trailers tell nothing that anybody asks.
                    Err(_) => {}
                },
            }
        }
    }

    /// The whole body, which may have `most` bytes.
    ///
    /// # Errors
    /// [`OutboundError::TooLarge`], and what [`Self::next`] says.
    pub async fn whole(mut self, most: u64) -> Result<Bytes, OutboundError> {
        if self.body.size_hint().lower() > most {
            return Err(OutboundError::TooLarge(most));
        }
        let Some(first) = self.next().await? else {
            return Ok(Bytes::new());
        };
        let mut gathered: Option<BytesMut> = None;
        let mut length = first.len() as u64;
        while length <= most
            && let Some(piece) = self.next().await?
        {
            length = length.saturating_add(piece.len() as u64);
            gathered
                .get_or_insert_with(|| BytesMut::from(first.as_ref()))
                .extend_from_slice(&piece);
        }
        if length > most {
            return Err(OutboundError::TooLarge(most));
        }
        Ok(gathered.map_or(first, BytesMut::freeze))
    }
}

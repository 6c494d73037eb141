//! One line a request.
//!
//! A line is written when the body of the response has ended, so that it tells how many bytes went
//! out and how long it took. What it needs of the request is copied at the start, but only if lines
//! are wanted: without them a request pays for one comparison.
//!
//! Invariant: a line holds nothing secret (no header, no body) and is bounded in length.

use crate::body::LoggedUser;
use http::Method;
use std::net::SocketAddr;
use std::sync::Arc;

/// Longest part of a path that is written.
const PATH_BYTES_MAX: usize = 1_024;

/// What a line needs to know of its request.
pub(crate) struct Line {
    method: Method,
    path: Box<str>,
    peer: SocketAddr,
    id: [u8; 10],
    user: Option<Arc<str>>,
}

/// How a request went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// The status; 499 if the client went away before there was one.
    pub(crate) status: u16,
    /// Bytes of the response's body.
    pub(crate) bytes: u64,
    /// From the end of the request's head to the end of the response's body.
    pub(crate) micros: u64,
    /// Whether the body was sent to its end.
    pub(crate) whole: bool,
}

/// Whether anybody reads access lines.
pub(crate) fn wanted() -> bool {
    tracing::enabled!(target: "access", tracing::Level::INFO)
}

impl Line {
    pub(crate) fn begin<B>(
        request: &http::Request<B>,
        peer: SocketAddr,
        id: [u8; 10],
    ) -> Box<Self> {
        let path = request
            .uri()
            .path_and_query()
            .map_or("*", http::uri::PathAndQuery::as_str);
        let end = path.floor_char_boundary(PATH_BYTES_MAX);
        Box::new(Self {
            method: request.method().clone(),
            path: path.get(..end).unwrap_or_default().into(),
            peer,
            id,
            user: None,
        })
    }

    /// Notes who asked.
    pub(crate) fn identify(&mut self, extensions: &http::Extensions) {
        self.user = extensions
            .get::<LoggedUser>()
            .map(|user| Arc::clone(&user.0));
    }

    pub(crate) fn write(&self, outcome: Outcome) {
        tracing::info!(
            target: "access",
            method = self.method.as_str(),
            path = &*self.path,
            status = outcome.status,
            bytes = outcome.bytes,
            micros = outcome.micros,
            user = self.user.as_deref().unwrap_or("-"),
            peer = %self.peer,
            id = std::str::from_utf8(&self.id).unwrap_or("-"),
            whole = outcome.whole,
        );
    }
}

//! One request and its answer: what surrounds every handler.
//!
//! The handler is shielded (a panic becomes a 500), its answer gets the headers that all answers
//! carry, is compressed if that is worth it, and its body is followed to its end, at which the
//! request is counted and logged. All of it is one future without boxes: a request is often cheaper
//! than three allocations.
//!
//! Invariant: every request that begins also ends, in the metrics and in the log, exactly once:
//! the [`Record`] does it when it is dropped, wherever that is.

use super::Handler;
use super::connection::Link;
use super::feed;
use super::socket::Activity;
use crate::access_log::{self, Line, Outcome};
use crate::body::{Body, BodyError, FeedSource, Request, Response};
use crate::metrics::{Ended, MethodLabel};
use crate::{compress, cors};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, SERVER};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::time::Instant;

const NAME: HeaderValue = HeaderValue::from_static(concat!(
    "CouchDB/3.5.0 (adea/",
    env!("CARGO_PKG_VERSION"),
    ")"
));
const REQUEST_ID: HeaderName = HeaderName::from_static("x-couch-request-id");
const BODY_TIME: HeaderName = HeaderName::from_static("x-couchdb-body-time");
const MUST_REVALIDATE: HeaderValue = HeaderValue::from_static("must-revalidate");
const ZERO: HeaderValue = HeaderValue::from_static("0");

/// Headers that [`dress`] adds at most.
const ADDED_HEADERS: usize = 8;

/// Answers one request.
pub(super) async fn answer<H: Handler>(
    link: Arc<Link<H>>,
    mut request: Request,
) -> Result<http::Response<Answer>, Infallible> {
    let shared = &link.shared;
    let id = shared.request_id();
    let options = shared.live.current();
    let mut record = Record::begin(&link.activity, &request, id, options.access_log);
    let is_head = request.method() == Method::HEAD;
    let http11 = request.version() == Version::HTTP_11;
    let gzip = options.compress && !is_head && compress::accepted(request.headers());
    let origin = cors::judge(&options.cors, &mut request);
    let preflight = origin
        .as_ref()
        .and_then(|_| cors::preflight(&options.cors, &request));
    let credentials = options.cors.credentials;
    // A feed lives long, and would keep them.
    drop(options);
    let mut response = match preflight {
        Some(response) => response,
        None => {
            let handled = async { shared.handler.handle(request, link.activity.peer).await };
            match shielded(handled).await {
                Ok(response) => response,
                Err(Panicked) => {
                    shared.metrics.panicked();
                    broken(&id)
                }
            }
        }
    };
    record.answered(&response);
    if is_head {
        behead(&mut response);
    } else if gzip {
        compress::compress(&mut response);
    }
    dress(&mut response, id, origin, credentials);
    let (parts, body) = response.into_parts();
    let body = match body {
        Body::Feed(source) => {
            record.is_feed();
            if http11 {
                link.activity.hand_over(Box::new(HandOver {
                    head: feed::head(&parts),
                    source,
                    record,
                }));
                // The connection's task takes it, and drops this.
                return std::future::pending().await;
            }
            Body::Feed(source)
        }
        body @ (Body::Empty | Body::Full(_) | Body::Channel(_) | Body::Stream(_)) => body,
    };
    record.whole = body.is_end_stream();
    Ok(http::Response::from_parts(parts, Answer { body, record }))
}

/// The handler panicked; the panic itself has been logged where it happened.
struct Panicked;

async fn shielded<F: Future<Output = Response>>(handled: F) -> Result<Response, Panicked> {
    let mut handled = pin!(handled);
    // What the handler shares with others it shares through locks that a panic does not poison, and
    // stores that take a whole commit or nothing.
    std::future::poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| handled.as_mut().poll(cx))) {
            Ok(Poll::Ready(response)) => Poll::Ready(Ok(response)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(Err(Panicked)),
        },
    )
    .await
}

#[cold]
fn broken(id: &[u8; 10]) -> Response {
    let id = std::str::from_utf8(id).unwrap_or_default();
    tracing::error!(id, "the handling of request {id} met a broken invariant");
    let text = format!(
        "{{\"error\":\"internal_server_error\",\"reason\":\"The server met an error in itself; \
         its log knows more of request {id}.\"}}\n"
    );
    let mut response = Response::new(text.into());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer to HEAD: all that GET would have sent, but the body.
fn behead(response: &mut Response) {
    let length = response.body().size_hint().exact();
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&response.status());
    if let Some(length) = length
        && !bodiless
        && !response.headers().contains_key(CONTENT_LENGTH)
    {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    *response.body_mut() = Body::Empty;
}

/// Adds the headers that all answers carry.
fn dress(response: &mut Response, id: [u8; 10], origin: Option<HeaderValue>, credentials: bool) {
    let headers = response.headers_mut();
    headers.reserve(ADDED_HEADERS);
    headers.insert(SERVER, NAME);
    headers.insert(BODY_TIME, ZERO);
    // Hexadecimal digits are a valid value.
    if let Ok(id) = HeaderValue::from_bytes(&id) {
        headers.insert(REQUEST_ID, id);
    }
    if let http::header::Entry::Vacant(vacant) = headers.entry(CACHE_CONTROL) {
        vacant.insert(MUST_REVALIDATE);
    }
    if let Some(origin) = origin {
        cors::admit(headers, origin, credentials);
    }
}

/// A feed on its way from the request to [`feed::FeedConnection`].
pub(super) struct HandOver {
    /// The head of the response, as it goes over the wire.
    pub(super) head: Bytes,
    pub(super) source: Box<dyn FeedSource>,
    pub(super) record: Record,
}

/// What is told of a request when it has ended.
pub(super) struct Record {
    activity: Arc<Activity>,
    started: Instant,
    line: Option<Box<Line>>,
    bytes: u64,
    method: MethodLabel,
    status: u16,
    feed: bool,
    whole: bool,
}

/// The status of a request whose client went away before it was answered.
const CLIENT_GONE: u16 = 499;

impl Record {
    fn begin(activity: &Arc<Activity>, request: &Request, id: [u8; 10], log: bool) -> Self {
        activity.metrics.request_began();
        activity.request_began();
        Self {
            activity: Arc::clone(activity),
            started: Instant::now(),
            line: (log && access_log::wanted()).then(|| Line::begin(request, activity.peer, id)),
            bytes: 0,
            method: MethodLabel::of(request.method()),
            status: CLIENT_GONE,
            feed: false,
            whole: false,
        }
    }

    fn answered(&mut self, response: &Response) {
        self.status = response.status().as_u16();
        if let Some(line) = &mut self.line {
            line.identify(response.extensions());
        }
    }

    fn is_feed(&mut self) {
        self.feed = true;
        self.activity.metrics.feed_began();
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes = self
            .bytes
            .saturating_add(bytes.try_into().unwrap_or(u64::MAX));
    }

    pub(super) fn complete(&mut self) {
        self.whole = true;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        self.activity.request_ended();
        self.activity.metrics.request_ended(Ended {
            method: self.method,
            status: self.status,
            bytes: self.bytes,
            seconds: elapsed.as_secs_f64(),
            feed: self.feed,
        });
        if let Some(line) = &self.line {
            line.write(Outcome {
                status: self.status,
                bytes: self.bytes,
                micros: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
                whole: self.whole,
            });
        }
    }
}

/// The body of an answer, followed to its end.
pub(super) struct Answer {
    body: Body,
    record: Record,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                this.record.sent(frame.data_ref().map_or(0, Bytes::len));
                this.record.whole = this.body.is_end_stream();
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "an answer broke off: {error}");
                this.record.whole = false;
            }
            None => this.record.complete(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! Answers that are compressed for clients that ask for it.
//!
//! An answer in one piece is compressed in one go, with a compressor that each thread keeps; a
//! larger one, or a stream that says it may be, is compressed as it goes, a bounded step at a time,
//! so that no request holds a thread for long. The lowest level is used: it takes a quarter of the
//! time of the usual one and most of the gain.
//!
//! Invariant: what is compressed decompresses to exactly what the handler gave, and a body that
//! breaks off breaks off compressed as well.

use crate::body::{Body, BodyError, Compressible, Response};
use bytes::{Buf, Bytes};
use flate2::{Compress, Compression, FlushCompress, Status};
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Frame, SizeHint};
use std::cell::RefCell;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// Smaller answers fit into one packet as they are.
const BYTES_MIN: usize = 1_024;
/// Larger ones are compressed step by step; a step takes about a millisecond.
const STEP_BYTES_MAX: usize = 64 * 1_024;
/// A compressor holds about 270 kB; further streams go out as they are.
const STREAMS_MAX: usize = 64;
const WINDOW_BITS: u8 = 15;

static STREAMS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static COMPRESSOR: RefCell<Compress> = RefCell::new(compressor());
}

fn compressor() -> Compress {
    Compress::new_gzip(Compression::fast(), WINDOW_BITS)
}

/// Whether the client takes gzip.
pub(crate) fn accepted(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let gzip = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "x-gzip");
            gzip && !parts.any(refuses)
        })
}

/// Whether a weight is zero, which means "not this one".
fn refuses(weight: &str) -> bool {
    weight
        .strip_prefix("q=")
        .or_else(|| weight.strip_prefix("Q="))
        .is_some_and(|value| value.trim_matches(['0', '.']).is_empty())
}

/// Compresses `response` if that is worth it and allowed.
pub(crate) fn compress(response: &mut Response) {
    let streamed = match response.body() {
        Body::Full(bytes) if bytes.len() < BYTES_MIN => return,
        Body::Full(bytes) => bytes.len() > STEP_BYTES_MAX,
        Body::Channel(_) | Body::Stream(_)
            if response.extensions().get::<Compressible>().is_some() =>
        {
            true
        }
        Body::Empty | Body::Channel(_) | Body::Feed(_) | Body::Stream(_) => return,
    };
    if !eligible(response) {
        return;
    }
    // Also an answer that goes out as it is might have been compressed for another client.
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    let Some(body) = compressed(response.body_mut(), streamed) else {
        return;
    };
    *response.body_mut() = body;
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
}

/// Takes `body` only if it can be compressed.
fn compressed(body: &mut Body, streamed: bool) -> Option<Body> {
    if streamed {
        let slot = Slot::take()?;
        return Some(Body::stream(GzipBody::new(std::mem::take(body), slot)));
    }
    match body {
        Body::Full(bytes) => Some(Body::Full(gzip(bytes)?)),
        Body::Empty | Body::Channel(_) | Body::Feed(_) | Body::Stream(_) => None,
    }
}

/// Text of ours. Attachments are left alone: they are stored in the coding they are sent in, and
/// their ranges count bytes of it.
fn eligible(response: &Response) -> bool {
    let headers = response.headers();
    let text = headers
        .get(CONTENT_TYPE)
        .map_or(b"".as_slice(), HeaderValue::as_bytes);
    let text = [b"application/json".as_slice(), b"text/"]
        .iter()
        .any(|prefix| text.starts_with(prefix));
    text && response.status() != StatusCode::PARTIAL_CONTENT
        && ![CONTENT_ENCODING, CONTENT_RANGE, ACCEPT_RANGES]
            .iter()
            .any(|name| headers.contains_key(name))
}

/// `None` if it cannot be made smaller.
fn gzip(bytes: &[u8]) -> Option<Bytes> {
    COMPRESSOR.with_borrow_mut(|compress| {
        compress.reset();
        // What does not shrink does not fit, and goes out as it is.
        let mut out = Vec::with_capacity(bytes.len());
        match compress.compress_vec(bytes, &mut out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => Some(out.into()),
            Ok(Status::Ok | Status::BufError) | Err(_) => None,
        }
    })
}

/// The right to hold one compressor.
struct Slot;

impl Slot {
    fn take() -> Option<Self> {
        STREAMS
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                (held < STREAMS_MAX).then(|| held.saturating_add(1))
            })
            .ok()
            .map(|_| Self)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        STREAMS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that is compressed as it goes.
struct GzipBody {
    body: Body,
    compress: Compress,
    /// What came from the body and is not compressed yet.
    rest: Bytes,
    /// Whether the compressor holds something that the client could use.
    unflushed: bool,
    stage: Stage,
    _slot: Slot,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Body,
    Trailer,
    Done,
}

impl GzipBody {
    fn new(body: Body, slot: Slot) -> Self {
        Self {
            body,
            compress: compressor(),
            rest: Bytes::new(),
            unflushed: false,
            stage: Stage::Body,
            _slot: slot,
        }
    }

    /// Runs the compressor over at most one step of `rest`.
    fn step(&mut self, flush: FlushCompress) -> Result<Vec<u8>, BodyError> {
        let mut out = Vec::with_capacity(STEP_BYTES_MAX / 2);
        let length = self.rest.len().min(STEP_BYTES_MAX);
        let mut input = self.rest.split_to(length);
        loop {
            let before = self.compress.total_in();
            let status = self
                .compress
                .compress_vec(&input, &mut out, flush)
                .map_err(|error| BodyError::new(error.to_string()))?;
            let taken = self.compress.total_in().saturating_sub(before);
            input.advance(
                usize::try_from(taken)
                    .unwrap_or(usize::MAX)
                    .min(input.len()),
            );
            let full = out.len() == out.capacity();
            if status == Status::StreamEnd || (input.is_empty() && !full) {
                return Ok(out);
            }
            out.reserve(STEP_BYTES_MAX / 4);
        }
    }
}

impl http_body::Body for GzipBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            let out = if !this.rest.is_empty() {
                this.unflushed = true;
                this.step(FlushCompress::None)?
            } else if this.stage == Stage::Body {
                match Pin::new(&mut this.body).poll_frame(cx) {
                    Poll::Ready(Some(frame)) => {
                        // Trailers are not used.
                        this.rest = frame?.into_data().unwrap_or_default();
                        continue;
                    }
                    Poll::Ready(None) => {
                        this.stage = Stage::Trailer;
                        continue;
                    }
                    Poll::Pending if this.unflushed => {
                        this.unflushed = false;
                        this.step(FlushCompress::Sync)?
                    }
                    Poll::Pending => return Poll::Pending,
                }
            } else if this.stage == Stage::Trailer {
                this.stage = Stage::Done;
                this.step(FlushCompress::Finish)?
            } else {
                return Poll::Ready(None);
            };
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stage == Stage::Done
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use http_body_util::BodyExt;
    use std::io::Read;

    fn unzipped(bytes: &[u8]) -> String {
        let mut text = String::new();
        GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
        text
    }

    fn response(content_type: &str, body: impl Into<Body>) -> Response {
        http::Response::builder()
            .header(CONTENT_TYPE, content_type)
            .body(body.into())
            .unwrap()
    }

    async fn collected(response: Response) -> Vec<u8> {
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec()
    }

    /// Numbers, so that it shrinks but not to nothing.
    fn json(bytes_min: usize) -> String {
        let mut text = "[0".to_owned();
        for n in 1_u64.. {
            if text.len() >= bytes_min {
                break;
            }
            text.push_str(&format!(",{}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        }
        text + "]"
    }

    #[track_caller]
    fn check_accepted(header: &str, expected: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, header.parse().unwrap());
        assert_eq!(accepted(&headers), expected, "{header}");
    }

    #[test]
    fn gzip_is_used_only_if_the_client_takes_it() {
        check_accepted("gzip", true);
        check_accepted("deflate, GZIP;q=0.5", true);
        check_accepted("br;q=1.0, gzip; q=1", true);
        check_accepted("gzip;q=0", false);
        check_accepted("gzip; q=0.000, br", false);
        check_accepted("identity", false);
        check_accepted("gzipped", false);
        check_accepted("", false);
        assert!(!accepted(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn answers_of_all_sizes_come_out_as_they_went_in() {
        for size in [BYTES_MIN, STEP_BYTES_MAX, STEP_BYTES_MAX + 100, 1_000_000] {
            let text = json(size);
            let mut response = response("application/json", text.clone());
            compress(&mut response);
            assert_eq!(response.headers()[CONTENT_ENCODING], "gzip", "{size}");
            let bytes = collected(response).await;
            assert!(bytes.len() < text.len(), "{size}");
            assert_eq!(unzipped(&bytes), text, "{size}");
        }
    }

    #[tokio::test]
    async fn what_need_not_or_must_not_be_compressed_is_left_alone() {
        let ranged = {
            let mut ranged = response("application/json", json(4_000));
            let headers = ranged.headers_mut();
            headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            ranged
        };
        let untouched = [
            response("application/json", json(1_000)),
            response("image/png", json(4_000)),
            ranged,
            response("application/json", Body::channel(1).1),
        ];
        for mut response in untouched {
            compress(&mut response);
            assert!(!response.headers().contains_key(CONTENT_ENCODING));
        }
    }

    #[tokio::test]
    async fn a_marked_stream_is_flushed_when_it_waits() {
        let (sender, body) = Body::channel(1);
        let mut response = response("application/json", body);
        response.extensions_mut().insert(Compressible);
        compress(&mut response);
        let mut body = response.into_body();
        sender.send("{\"rows\":[".into()).await.unwrap();
        let mut bytes = Vec::new();
        // The header of the format, then what was flushed: enough to read what was sent.
        for _ in 0..2 {
            let frame = body.frame().await.unwrap().unwrap();
            bytes.extend(frame.into_data().unwrap());
        }
        let mut head = [0; 9];
        GzDecoder::new(&bytes[..]).read_exact(&mut head).unwrap();
        assert_eq!(&head, b"{\"rows\":[");
        sender.send("]}".into()).await.unwrap();
        drop(sender);
        bytes.extend(body.collect().await.unwrap().to_bytes());
        assert_eq!(unzipped(&bytes), "{\"rows\":[]}");
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_breaks_off_compressed() {
        let (sender, body) = Body::channel(1);
        let mut response = response("application/json", body);
        response.extensions_mut().insert(Compressible);
        compress(&mut response);
        sender.abort("no more");
        drop(sender);
        assert!(response.into_body().collect().await.is_err());
    }
}

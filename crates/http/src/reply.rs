//! Building answers: JSON with a newline behind, and the headers that go with documents.

use adea_documents::json::write_json_string;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::body::{Body, Response};

/// A JSON answer; `body` has its newline already.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
    with_type(status, "application/json", Body::Full(body.into()))
}

/// An answer of a type.
pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

/// `{"ok":true}`.
pub(crate) fn ok(status: StatusCode) -> Response {
    json(status, Bytes::from_static(b"{\"ok\":true}\n"))
}

/// `{"error":…,"reason":…}`.
pub(crate) fn error_body(error: &str, reason: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + reason.len());
    out.push(b'{');
    crate::error::write_row_error(&mut out, error, reason);
    out.extend_from_slice(b"}\n");
    out
}

/// `{"ok":true,"id":…,"rev":…}`.
pub(crate) fn written(status: StatusCode, id: &str, revision: &str) -> Response {
    let mut out = Vec::with_capacity(id.len() + revision.len() + 32);
    out.extend_from_slice(b"{\"ok\":true,\"id\":");
    write_json_string(&mut out, id);
    out.extend_from_slice(b",\"rev\":");
    write_json_string(&mut out, revision);
    out.extend_from_slice(b"}\n");
    json(status, out)
}

/// Sets a header whose value is text made here; one that cannot be a header's is left out.
pub(crate) fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Sets the `ETag`, in its quotes.
pub(crate) fn set_etag(response: &mut Response, tag: &str) {
    set(response, header::ETAG, &format!("\"{tag}\""));
}

/// `text` as a segment of a path.
pub(crate) fn path_segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(nibble), 16).unwrap_or('0');
                out.push(digit.to_ascii_uppercase());
            }
        }
    }
    out
}

/// A name for `bytes`, for an `ETag`: not a secret, so a fast hash will do (FNV-1a).
pub(crate) fn fingerprint(seed: u64, bytes: &[u8]) -> String {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64 ^ seed, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{hash:016X}")
}

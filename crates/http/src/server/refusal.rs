//! What hyper refuses by itself, before any handler sees it, in the shape of all other errors.
//!
//! A head that is no HTTP, or too long, is answered by hyper: a status and no body. Clients of
//! this API read `{"error", "reason"}` from every refusal, so the bare answer is replaced on its
//! way out. It is known by what it lacks: every answer of ours has a `server` header.

/// The answer to send in place of `bytes`, if these are a bare refusal of hyper's.
pub(super) fn of_hyper(bytes: &[u8]) -> Option<Vec<u8>> {
    let status = bytes.strip_prefix(b"HTTP/1.1 4")?.first_chunk::<2>()?;
    if memchr::memmem::find(bytes, b"\r\nserver: ").is_some() {
        return None;
    }
    let (line, error, reason) = match status {
        b"14" => (
            "414 URI Too Long",
            "request_uri_too_long",
            "The URL is longer than is taken.",
        ),
        b"31" => (
            "431 Request Header Fields Too Large",
            "request_header_fields_too_large",
            "The headers are longer than is taken.",
        ),
        _ => (
            "400 Bad Request",
            "bad_request",
            "The request is not well-formed HTTP.",
        ),
    };
    let body = crate::reply::error_body(error, reason);
    let head = format!(
        "HTTP/1.1 {line}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Some([head.as_bytes(), &body].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_refusals_are_replaced() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
        let ours = of_hyper(bare).unwrap();
        let text = String::from_utf8(ours).unwrap();
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
        let body = text.split("\r\n\r\n").nth(1).unwrap();
        assert!(text.contains(&format!("content-length: {}\r\n", body.len())));
        assert!(body.contains("\"error\":\"request_header_fields_too_large\""));
        let dressed = b"HTTP/1.1 404 Not Found\r\nserver: CouchDB/3.5.0\r\n\r\n{}";
        assert_eq!(of_hyper(dressed), None);
        assert_eq!(of_hyper(b"HTTP/1.1 200 OK\r\n\r\n"), None);
    }
}

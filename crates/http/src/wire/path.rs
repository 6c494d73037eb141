//! Paths as `CouchDB` reads them: segments divided by `/`, then decoded, `+` being a space.

use crate::error::ApiError;

/// The most segments a path may have.
const SEGMENTS_MAX: usize = 64;

/// Decodes a percent-encoded text; `plus` says whether `+` is a space.
pub(crate) fn decode(text: &str, plus: bool) -> Result<String, ApiError> {
    let escaped = text.contains('%') || (plus && text.contains('+'));
    if !escaped {
        return Ok(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' if plus => out.push(b' '),
            b'%' => {
                let digit = |byte: Option<u8>| {
                    byte.and_then(|byte| char::from(byte).to_digit(16))
                        .and_then(|digit| u8::try_from(digit).ok())
                };
                let mut rest = bytes.clone();
                match (digit(rest.next()), digit(rest.next())) {
                    (Some(high), Some(low)) => {
                        out.push(high << 4 | low);
                        bytes = rest;
                    }
                    // As CouchDB does: what is no escape stands for itself.
                    _ => out.push(b'%'),
                }
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).map_err(|_| ApiError::bad("The path is not UTF-8."))
}

/// A text as it stands in the query of a URL.
pub(crate) fn encode_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The decoded segments of a path; one slash at its end means nothing.
pub(crate) fn segments(path: &str) -> Result<Vec<String>, ApiError> {
    let trimmed = path.strip_prefix('/').unwrap_or(path);
    let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
    if trimmed.is_empty() {
        return Ok(Vec::new());
    }
    let segments: Vec<&str> = trimmed.split('/').collect();
    if segments.len() > SEGMENTS_MAX {
        return Err(ApiError::bad("The path has too many segments."));
    }
    segments
        .into_iter()
        .map(|segment| decode(segment, true))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_couchdb_does() {
        let check = |path: &str, expected: &[&str]| {
            assert_eq!(segments(path).unwrap(), expected, "{path}");
        };
        check("/", &[]);
        check("/db/", &["db"]);
        // A document whose id is empty, which is refused; not the database itself.
        check("/db//", &["db", ""]);
        check("/db/p+q", &["db", "p q"]);
        check("/db/p%2Bq", &["db", "p+q"]);
        check("/a%2Fb/x%2Fy", &["a/b", "x/y"]);
        check("/db/100%", &["db", "100%"]);
        check("/db/%zz", &["db", "%zz"]);
        assert!(segments("/db/%ff").is_err());
    }
}

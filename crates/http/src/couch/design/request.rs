//! The request as a design function sees it: `CouchDB`'s request object, as JSON text.
//!
//! Names of headers have the case that `CouchDB` gives them, since functions ask for
//! `req.headers["Accept"]`.

use adea_documents::json::{normalise, write_json_string};
use adea_pod::{DatabaseEntry, Pod};
use http::{HeaderMap, Method, header};

use crate::couch::database::write_info;
use crate::error::ApiError;
use crate::router::Exchange;
use crate::wire::path::{decode, segments};
use crate::wire::query::Query;

/// Members of a JSON object in the making.
struct Members {
    out: Vec<u8>,
    any: bool,
}

impl Members {
    fn new() -> Self {
        Self {
            out: b"{".to_vec(),
            any: false,
        }
    }

    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if self.any {
            self.out.push(b',');
        }
        self.any = true;
        write_json_string(&mut self.out, name);
        self.out.push(b':');
        &mut self.out
    }

    fn text(&mut self, name: &str, value: &str) {
        write_json_string(self.name(name), value);
    }

    fn json(&mut self, name: &str, value: &[u8]) {
        self.name(name).extend_from_slice(value);
    }

    fn end(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }
}

/// What of the request is told besides the request itself.
pub(crate) struct Asking<'a> {
    /// The document that the function is called for.
    pub(crate) id: Option<&'a str>,
    /// The body that was sent.
    pub(crate) body: &'a [u8],
}

/// The request object.
pub(crate) fn request_object(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    asking: &Asking<'_>,
) -> Result<String, ApiError> {
    let mut object = Members::new();
    let mut info = Vec::new();
    write_info(&mut info, exchange, entry)?;
    object.json("info", &info);
    object.text("uuid", &exchange.app.pod.new_id());
    match asking.id {
        Some(id) => object.text("id", id),
        None => object.json("id", b"null"),
    }
    Ok(told_of_request(exchange, entry, asking.body, object))
}

/// The request object as a rewrite function is given it.
pub(crate) fn rewritten_object(exchange: &Exchange, entry: &DatabaseEntry, body: &[u8]) -> String {
    told_of_request(exchange, entry, body, Members::new())
}

fn told_of_request(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    body: &[u8],
    mut object: Members,
) -> String {
    object.text("method", exchange.method.as_str());
    let sent = exchange.requested.as_deref().unwrap_or(&exchange.uri);
    object.json("requested_path", &path_parts(sent.path()));
    object.json("path", &path_parts(exchange.uri.path()));
    let raw = exchange.uri.path_and_query();
    object.text("raw_path", raw.map_or("/", |raw| raw.as_str()));
    object.json("query", &query_object(&exchange.query));
    object.json("headers", &headers_object(&exchange.headers));
    let text = String::from_utf8_lossy(body);
    // As CouchDB has it.
    let undefined = body.is_empty() && exchange.method == Method::GET;
    object.text("body", if undefined { "undefined" } else { &text });
    object.text("peer", &exchange.peer.ip().to_string());
    object.json("form", &form_object(exchange, &text));
    object.json("cookie", &cookies_object(&exchange.headers));
    let user = Pod::user_context(entry, &exchange.caller);
    object.json("userCtx", &user);
    object.json("secObj", entry.security.as_text().as_bytes());
    String::from_utf8_lossy(&object.end()).into_owned()
}

fn path_parts(path: &str) -> Vec<u8> {
    let mut out = b"[".to_vec();
    for (n, segment) in segments(path).unwrap_or_default().iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_json_string(&mut out, segment);
    }
    out.push(b']');
    out
}

/// Parameters as texts, and those that are JSON as JSON. Of one that comes twice the last counts.
fn query_object(query: &Query) -> Vec<u8> {
    let mut object = Members::new();
    for (name, value) in query.pairs() {
        let by_json = matches!(name, "key" | "startkey" | "endkey" | "descending");
        match by_json.then(|| normalise(value.as_bytes())) {
            Some(Ok(json)) => object.json(name, &json),
            Some(Err(_)) | None => object.text(name, value),
        }
    }
    object.end()
}

fn headers_object(headers: &HeaderMap) -> Vec<u8> {
    let mut object = Members::new();
    for name in headers.keys() {
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        object.text(&titled(name.as_str()), &values.join(", "));
    }
    object.end()
}

/// `x-foo-bar` as `X-Foo-Bar`.
fn titled(name: &str) -> String {
    let mut first = true;
    name.chars()
        .map(|letter| {
            let shown = if first {
                letter.to_ascii_uppercase()
            } else {
                letter
            };
            first = letter == '-';
            shown
        })
        .collect()
}

fn form_object(exchange: &Exchange, body: &str) -> Vec<u8> {
    let kind = exchange.header(&header::CONTENT_TYPE).unwrap_or("");
    let is_form = (exchange.method == Method::POST || exchange.method == Method::PUT)
        && kind.starts_with("application/x-www-form-urlencoded");
    let form = if is_form {
        Query::parse(Some(body)).unwrap_or_default()
    } else {
        Query::default()
    };
    let mut object = Members::new();
    for (name, value) in form.pairs() {
        object.text(name, value);
    }
    object.end()
}

fn cookies_object(headers: &HeaderMap) -> Vec<u8> {
    let mut object = Members::new();
    let cookies = headers.get_all(header::COOKIE).iter();
    let cookies = cookies.filter_map(|cookies| cookies.to_str().ok());
    for pair in cookies.flat_map(|cookies| cookies.split(';')) {
        let Some((name, value)) = pair.trim().split_once('=') else {
            continue;
        };
        let value = value.trim_matches('"');
        let value = decode(value, false).unwrap_or_else(|_| value.to_owned());
        object.text(name.trim(), &value);
    }
    object.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_their_usual_case() {
        assert_eq!(titled("accept"), "Accept");
        assert_eq!(titled("x-couch-full-commit"), "X-Couch-Full-Commit");
        assert_eq!(titled("-a--b"), "-A--B");
    }

    #[test]
    fn keys_of_a_query_are_json_where_they_are() {
        let query = Query::parse(Some(
            "startkey=%5B1%5D&a=1&descending=true&key=x&a=%22&endkey=",
        ));
        let object = query_object(&query.unwrap());
        let read: serde_json::Value = serde_json::from_slice(&object).unwrap();
        let expected = serde_json::json!({
            "startkey": [1], "a": "\"", "descending": true, "key": "x", "endkey": ""
        });
        assert_eq!(read, expected);
    }
}

//! `_list`: a view's rows through a function that writes the answer.
//!
//! The view is asked as anybody would ask it, and its answer taken apart again line by line: each
//! row stands on a line of its own. So a list sees what the view tells, whatever was asked of it, and
//! goes no faster than the function takes its rows.

use std::sync::Arc;

use adea_base::DocumentId;
use adea_documents::json::for_each_member;
use adea_pod::DatabaseEntry;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use crate::body::{Body, Response};
use crate::couch::design::answer::{read_headers, sandbox};
use crate::couch::design::request::{Asking, request_object};
use crate::couch::{intake, listing, view};
use crate::error::{ApiError, write_row_error};
use crate::router::Exchange;

/// Rows that are ready before the function asks for them.
const ROWS_READY: usize = 100;
/// The longest row that a function is given.
const ROW_BYTES_MAX: usize = 64 << 20;

/// Answers for `/{db}/_design/{ddoc}/_list/{list}/[{ddoc}/]{view}`.
pub(super) async fn list(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    ddoc: DocumentId,
    rest: &[String],
) -> Result<Response, ApiError> {
    let (name, views, of) = match rest {
        [name, view] => (name, ddoc.clone(), view),
        [name, other, view] => (name, DocumentId::parse(&format!("_design/{other}"))?, view),
        _ => return Err(ApiError::InvalidPath("list_error")),
    };
    let design = super::functions(&exchange, &entry, &ddoc, "lists", name)?;
    let body = match exchange.method.as_str() {
        "GET" | "HEAD" => Bytes::new(),
        "OPTIONS" => {
            exchange.method = http::Method::GET;
            Bytes::new()
        }
        "POST" => {
            exchange.require_json()?;
            let body = intake::whole(&mut exchange).await?;
            exchange.headers.remove(header::CONTENT_ENCODING);
            exchange.body.replace(body.clone());
            body
        }
        _ => return Err(ApiError::MethodNotAllowed("GET,POST,HEAD")),
    };
    let asking = Asking {
        id: None,
        body: &body,
    };
    let request = request_object(&exchange, &entry, &asking)?;
    let pod = exchange.app.pod.clone();
    let rows = if of == "_all_docs" {
        listing::all_docs(exchange, Arc::clone(&entry)).await?
    } else {
        let of = std::slice::from_ref(of);
        view::route(exchange, Arc::clone(&entry), views, of, None).await?
    };
    if rows.status() != StatusCode::OK {
        return Ok(rows);
    }
    let mut lines = Lines::of(rows.into_body());
    let head = lines.head().await?;
    let (sender, receiver) = mpsc::channel(ROWS_READY);
    tokio::spawn(async move {
        // A row that cannot be read ends them; so does a function that wants no more.
        while let Ok(Some(row)) = lines.next_row().await {
            if sender.send(row).await.is_err() {
                break;
            }
        }
    });
    let listing = pod
        .call_list(&entry, &design, name, head, request, receiver)
        .await?;
    let (code, headers) = start(listing.start.as_bytes())?;
    let mut response = Response::new(sent(listing.chunks));
    *response.status_mut() = code;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Status and headers, as the function chose them.
fn start(start: &[u8]) -> Result<(StatusCode, HeaderMap), ApiError> {
    let (mut code, mut headers) = (StatusCode::OK, HeaderMap::new());
    for_each_member(start, |name, value| {
        match name {
            "code" => {
                let chosen = std::str::from_utf8(value).ok();
                let chosen = chosen.and_then(|text| text.trim().parse::<u16>().ok());
                let chosen = chosen.filter(|code| (200..600).contains(code));
                code = chosen
                    .and_then(|code| StatusCode::from_u16(code).ok())
                    .unwrap_or(code);
            }
            "headers" => read_headers(value, &mut headers)?,
            _ => {}
        }
        Ok::<_, ApiError>(())
    })?;
    if !headers.contains_key(header::CONTENT_TYPE) {
        let kind = http::HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, kind);
    }
    sandbox(&mut headers);
    Ok((code, headers))
}

/// The text that the function sends. What fails when some of it is sent already is told at its end,
/// as `CouchDB` does.
fn sent(mut chunks: mpsc::Receiver<Result<Bytes, adea_script::ScriptError>>) -> Body {
    let (sender, body) = Body::channel(4);
    tokio::spawn(async move {
        while let Some(chunk) = chunks.recv().await {
            let chunk = match chunk {
                Ok(chunk) if chunk.is_empty() => continue,
                Ok(chunk) => chunk,
                Err(error) => {
                    let error = ApiError::from(adea_pod::PodError::from(error));
                    let mut line = b"\n\n{".to_vec();
                    write_row_error(&mut line, &error.word(), &error.to_string());
                    line.extend_from_slice(b"}\n");
                    Bytes::from(line)
                }
            };
            if sender.send(chunk).await.is_err() {
                return;
            }
        }
    });
    body
}

/// The lines of a view's answer.
struct Lines {
    body: Body,
    held: BytesMut,
    /// Up to here `held` has no end of a line.
    searched: usize,
    ended: bool,
}

impl Lines {
    fn of(body: Body) -> Self {
        Self {
            body,
            held: BytesMut::new(),
            searched: 0,
            ended: false,
        }
    }

    /// The next line, without its end.
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let broken = |what: String| ApiError::BadAnswer("list_error", what);
        loop {
            let unsearched = self.held.get(self.searched..).unwrap_or(&[]);
            if let Some(at) = memchr::memchr(b'\n', unsearched) {
                let mut line = self.held.split_to(self.searched + at + 1);
                self.searched = 0;
                line.truncate(line.trim_ascii_end().len());
                return Ok(Some(line.freeze()));
            }
            self.searched = self.held.len();
            if self.held.len() > ROW_BYTES_MAX {
                return Err(broken("A row is too long for a list.".to_owned()));
            }
            if self.ended {
                let last = std::mem::take(&mut self.held).freeze();
                self.searched = 0;
                return Ok((!last.is_empty()).then_some(last));
            }
            match self.body.frame().await {
                None => self.ended = true,
                Some(Err(error)) => return Err(broken(error.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.held.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// What stands in front of the rows, as an object of its own.
    async fn head(&mut self) -> Result<String, ApiError> {
        let line = self.next().await?.unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let members = line.strip_suffix("\"rows\":[").unwrap_or(&line);
        Ok(format!("{}}}", members.trim_end_matches(',')))
    }

    async fn next_row(&mut self) -> Result<Option<Bytes>, ApiError> {
        while let Some(line) = self.next().await? {
            let row = line.strip_suffix(b",").unwrap_or(&line);
            if row.starts_with(b"]") {
                return Ok(None);
            }
            if !row.is_empty() {
                return Ok(Some(Bytes::copy_from_slice(row)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(answer: &[&str], head: &str, rows: &[&str]) {
        let (sender, body) = Body::channel(answer.len().max(1));
        for piece in answer {
            let piece = Bytes::copy_from_slice(piece.as_bytes());
            sender.send(piece).await.unwrap();
        }
        drop(sender);
        let mut lines = Lines::of(body);
        assert_eq!(lines.head().await.unwrap(), head);
        let mut found = Vec::new();
        while let Some(row) = lines.next_row().await.unwrap() {
            found.push(String::from_utf8(row.to_vec()).unwrap());
        }
        assert_eq!(found, rows);
    }

    #[test]
    fn a_list_is_sandboxed_and_sets_no_cookie() {
        let (_, headers) = start(br#"{"headers":{"Set-Cookie":"a=b","X-My":"1"}}"#).unwrap();
        assert_eq!(headers["content-security-policy"], "sandbox");
        assert_eq!(headers["x-my"], "1");
        assert!(!headers.contains_key("set-cookie"));
    }

    #[tokio::test]
    async fn a_views_answer_is_taken_apart() {
        let head = r#"{"total_rows":2,"offset":0}"#;
        let first = r#"{"id":"a","key":"],","value":1}"#;
        let second = r#"{"id":"b","key":2,"value":null}"#;
        let whole = format!(
            "{}\r\n{first},\r\n{second}\r\n]}}\n",
            r#"{"total_rows":2,"offset":0,"rows":["#
        );
        check(&[&whole], head, &[first, second]).await;
        for cut in 1..whole.len() {
            let (one, other) = whole.split_at(cut);
            check(&[one, other], head, &[first, second]).await;
        }
        check(&["{\"rows\":[\r\n\r\n]}\n"], "{}", &[]).await;
        check(
            &["{\"rows\":[\r\n", "{\"key\":null,\"value\":3}", "\r\n]}\n"],
            "{}",
            &[r#"{"key":null,"value":3}"#],
        )
        .await;
    }
}

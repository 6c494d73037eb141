//! A view's answer on its way: rows written as they are read, reduced or not.
//!
//! What is short is read at one moment and sent whole. What is longer is written by a task of its
//! own, at one moment as long as the client takes it quickly; a client that is slow, or an answer
//! that is very long, goes on from the last row at a later moment, so that nobody makes the store
//! keep what is old. All that can be refused is refused before the first byte.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use adea_base::Caller;
use adea_documents::json::write_json_string;
use adea_documents::revision::Revision;
use adea_pod::{
    GroupRow, Overflow, Pod, PodError, Told, ViewAsk, ViewCursor, ViewMoment, ViewRow, Which,
    Written,
};
use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::body::Response;
use crate::couch::sending::{Broken, Out, aside, stream, with_all_data};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// Bytes that are written at a time, and up to which an answer is sent whole.
const CHUNK_BYTES: usize = 64 << 10;
/// How long one moment is read for a client that takes what is sent.
const MOMENT_MS: u64 = 2_000;
/// Answers that may keep a moment at a time; others read each chunk at its own.
static MOMENTS: Semaphore = Semaphore::const_new(64);

/// Rows of one page where documents come with their contents.
const CONTENTS_PAGE: usize = 64;

/// Answers one question.
pub(super) async fn answer(exchange: Exchange, ask: ViewAsk) -> Result<Response, ApiError> {
    let ask = Arc::new(ask);
    if ask.is_reduce() {
        return reduced(exchange, ask).await;
    }
    if ask.query.include_docs && ask.query.attachments {
        return Ok(stream(
            exchange,
            "application/json",
            move |out| async move {
                contents(&out, &ask).await?;
                out.text("\n").await
            },
        ));
    }
    let pod = &exchange.app.pod;
    let mut rows = Rows::new(pod, &ask);
    let mut out = Vec::new();
    let more = aside(|| rows.fill(&pod.view_moment(&ask)?, &mut out))?;
    if !more {
        out.extend_from_slice(b"\r\n]}\n");
        return Ok(reply::json(StatusCode::OK, out));
    }
    // It is long: it begins again at a moment that it may keep.
    let rows = Rows::new(pod, &ask);
    Ok(stream(
        exchange,
        "application/json",
        move |out| async move {
            rows.send(&out).await?;
            out.text("\r\n]}\n").await
        },
    ))
}

/// Answers several questions in one.
pub(super) fn answers(exchange: Exchange, asks: Vec<ViewAsk>) -> Response {
    stream(exchange, "application/json", move |out| async move {
        out.text("{\"results\":[\r\n").await?;
        for (n, ask) in asks.into_iter().enumerate() {
            out.text(if n == 0 { "" } else { ",\r\n" }).await?;
            let ask = Arc::new(ask);
            if ask.is_reduce() {
                let mut groups = Groups::new(&ask);
                while let Some(text) = groups.next(&out.exchange().app.pod).await? {
                    out.bytes(Bytes::from(text)).await?;
                }
                out.text("\r\n]}").await?;
            } else if ask.query.include_docs && ask.query.attachments {
                contents(&out, &ask).await?;
            } else {
                Rows::new(&out.exchange().app.pod, &ask).send(&out).await?;
                out.text("\r\n]}").await?;
            }
        }
        out.text("\r\n]}\n").await
    })
}

async fn reduced(exchange: Exchange, ask: Arc<ViewAsk>) -> Result<Response, ApiError> {
    let mut groups = Groups::new(&ask);
    let mut out = Vec::new();
    while out.len() < CHUNK_BYTES {
        let Some(text) = groups.next(&exchange.app.pod).await? else {
            out.extend_from_slice(b"\r\n]}\n");
            return Ok(reply::json(StatusCode::OK, out));
        };
        out.extend_from_slice(&text);
    }
    Ok(stream(
        exchange,
        "application/json",
        move |sink| async move {
            sink.bytes(Bytes::from(out)).await?;
            while let Some(text) = groups.next(&sink.exchange().app.pod).await? {
                sink.bytes(Bytes::from(text)).await?;
            }
            sink.text("\r\n]}\n").await
        },
    ))
}

impl From<PodError> for Broken {
    fn from(error: PodError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Writes what stands in front of the rows.
fn write_head(out: &mut Vec<u8>, moment: &ViewMoment<'_>, ask: &ViewAsk) -> Result<(), PodError> {
    out.push(b'{');
    if ask.query.sorted && !ask.is_reduce() {
        let text = match moment.head(ask)?.counts {
            Some((total, offset)) => format!("\"total_rows\":{total},\"offset\":{offset},"),
            None => "\"total_rows\":null,\"offset\":null,".to_owned(),
        };
        out.extend_from_slice(text.as_bytes());
    }
    if ask.query.update_seq {
        let place = moment.told_sequence(ask)?;
        out.extend_from_slice(format!("\"update_seq\":\"{place}\",").as_bytes());
    }
    out.extend_from_slice(b"\"rows\":[\r\n");
    Ok(())
}

/// Groups on their way.
struct Groups {
    ask: Arc<ViewAsk>,
    cursor: Option<ViewCursor>,
    begun: bool,
    any: bool,
}

impl Groups {
    fn new(ask: &Arc<ViewAsk>) -> Self {
        Self {
            ask: Arc::clone(ask),
            cursor: Some(ask.cursor()),
            begun: false,
            any: false,
        }
    }

    /// The next text; `None` behind the last group.
    async fn next(&mut self, pod: &Pod) -> Result<Option<Vec<u8>>, PodError> {
        let Some(cursor) = self.cursor.take() else {
            return Ok(None);
        };
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            write_head(&mut out, &pod.view_moment(&self.ask)?, &self.ask)?;
        }
        if cursor.more() {
            let (rows, cursor) = pod.view_groups(&self.ask, cursor).await?;
            for row in rows {
                if std::mem::replace(&mut self.any, true) {
                    out.extend_from_slice(b",\r\n");
                }
                write_group(&mut out, &row);
            }
            self.cursor = cursor.more().then_some(cursor);
        }
        Ok(Some(out))
    }
}

fn write_group(out: &mut Vec<u8>, row: &GroupRow) {
    out.extend_from_slice(b"{\"key\":");
    out.extend_from_slice(row.key.as_bytes());
    match &row.value {
        Ok(value) => {
            out.extend_from_slice(b",\"value\":");
            out.extend_from_slice(value.as_bytes());
        }
        Err(Overflow(reason)) => {
            out.extend_from_slice(b",\"error\":\"reduce_overflow_error\",\"reason\":");
            write_json_string(out, reason);
        }
    }
    out.push(b'}');
}

/// Rows on their way.
struct Rows {
    pod: Pod,
    ask: Arc<ViewAsk>,
    cursor: ViewCursor,
    begun: bool,
    any: bool,
}

impl Rows {
    fn new(pod: &Pod, ask: &Arc<ViewAsk>) -> Self {
        Self {
            pod: pod.clone(),
            ask: Arc::clone(ask),
            cursor: ask.cursor(),
            begun: false,
            any: false,
        }
    }

    /// Writes rows until a chunk is full; whether there may be more.
    fn fill(&mut self, moment: &ViewMoment<'_>, out: &mut Vec<u8>) -> Result<bool, PodError> {
        if !std::mem::replace(&mut self.begun, true) {
            write_head(out, moment, &self.ask)?;
        }
        let (ask, any) = (Arc::clone(&self.ask), &mut self.any);
        moment.rows(&ask, &mut self.cursor, |moment, row| {
            if std::mem::replace(any, true) {
                out.extend_from_slice(b",\r\n");
            }
            if ask.query.include_docs {
                write_row_with_document(out, moment, &ask, &row)?;
            } else {
                write_row(out, &row);
                out.push(b'}');
            }
            Ok(if out.len() < CHUNK_BYTES {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        Ok(self.cursor.more())
    }

    /// Sends all rows and what stands in front of them.
    async fn send(mut self, out: &Arc<Out>) -> Result<(), Broken> {
        loop {
            let (kept, sink, runtime) = (
                MOMENTS.try_acquire().ok(),
                Arc::clone(out),
                Handle::current(),
            );
            let round = tokio::task::spawn_blocking(move || {
                let unsent = self.round(&sink, &runtime, kept.is_some())?;
                Ok::<_, Broken>((self, unsent))
            });
            let interrupted = |_| Broken::Failed("the answer was interrupted".to_owned());
            let unsent;
            (self, unsent) = round.await.map_err(interrupted)??;
            out.bytes(unsent).await?;
            if !self.cursor.more() {
                return Ok(());
            }
        }
    }

    /// Reads and sends at one moment as long as that may be kept; what is written and not sent is
    /// returned.
    fn round(&mut self, sink: &Out, runtime: &Handle, keep: bool) -> Result<Bytes, Broken> {
        let pod = self.pod.clone();
        let moment = pod.view_moment(&self.ask)?;
        let begun = pod.clock().now_unix_ms();
        loop {
            let mut out = Vec::with_capacity(CHUNK_BYTES + 1_024);
            let more = self.fill(&moment, &mut out)?;
            let chunk = Bytes::from(out);
            let passed = pod.clock().now_unix_ms().saturating_sub(begun);
            if !more || !keep || passed >= MOMENT_MS {
                return Ok(chunk);
            }
            let left = Duration::from_millis(MOMENT_MS - passed);
            let sent = runtime.block_on(async { timeout(left, sink.bytes(chunk.clone())).await });
            match sent {
                Ok(sent) => sent?,
                Err(_) => return Ok(chunk),
            }
        }
    }
}

/// Writes a row up to its document.
fn write_row(out: &mut Vec<u8>, row: &ViewRow<'_>) {
    out.extend_from_slice(b"{\"id\":");
    write_json_string(out, row.id);
    out.extend_from_slice(b",\"key\":");
    out.extend_from_slice(row.key.as_bytes());
    out.extend_from_slice(b",\"value\":");
    out.extend_from_slice(row.value.as_bytes());
}

/// Which document goes with a row.
enum Linked {
    /// Its own, or another's, perhaps a certain revision.
    Document(Option<String>, Option<Revision>),
    /// None: the value says so.
    Nothing,
}

/// What a row's value says about the document that goes with it.
fn linked(value: &str) -> Linked {
    let own = Linked::Document(None, None);
    if !value.starts_with('{') || !value.contains("\"_") {
        return own;
    }
    let Ok(Value::Object(members)) = serde_json::from_str(value) else {
        return own;
    };
    let revision = members.get("_rev").and_then(Value::as_str);
    let revision = revision.and_then(|text| Revision::parse(text).ok());
    match members.get("_id") {
        None => Linked::Document(None, revision),
        Some(Value::String(id)) => Linked::Document(Some(id.clone()), revision),
        Some(_) => Linked::Nothing,
    }
}

fn write_row_with_document(
    out: &mut Vec<u8>,
    moment: &ViewMoment<'_>,
    ask: &ViewAsk,
    row: &ViewRow<'_>,
) -> Result<(), PodError> {
    let before = out.len();
    write_row(out, row);
    out.extend_from_slice(b",\"doc\":");
    let written = match linked(row.value) {
        Linked::Nothing => Written::Deleted,
        Linked::Document(id, revision) => {
            let other = id.is_some();
            let id = id.as_deref().unwrap_or(row.id);
            match moment.write_document(ask, id, revision.as_ref(), out)? {
                // A row's own document may be purged; another that never was is an error.
                Written::Missing if !other => Written::Deleted,
                written @ (Written::Whole | Written::Deleted | Written::Missing) => written,
            }
        }
    };
    match written {
        Written::Whole => out.push(b'}'),
        Written::Deleted => out.extend_from_slice(b"null}"),
        Written::Missing => {
            out.truncate(before);
            write_missing(out, row.key);
        }
    }
    Ok(())
}

/// A row whose document never was, in `CouchDB`'s form.
fn write_missing(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b"{\"key\":");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b",\"error\":\"missing\"}");
}

/// Sends rows whose documents have the contents of their attachments inside, up to the end of the
/// object.
async fn contents(out: &Arc<Out>, ask: &Arc<ViewAsk>) -> Result<(), Broken> {
    let pod = &out.exchange().app.pod;
    let (mut cursor, mut begun, mut any) = (ask.cursor(), false, false);
    while cursor.more() || !begun {
        let mut page: Vec<(String, Vec<u8>, String, Linked)> = Vec::new();
        let head = aside(|| {
            let mut head = Vec::new();
            let moment = pod.view_moment(ask)?;
            if !std::mem::replace(&mut begun, true) {
                write_head(&mut head, &moment, ask)?;
            }
            moment.rows(ask, &mut cursor, |_, row| {
                let mut text = Vec::new();
                write_row(&mut text, &row);
                page.push((
                    row.id.to_owned(),
                    text,
                    row.key.to_owned(),
                    linked(row.value),
                ));
                Ok(if page.len() < CONTENTS_PAGE {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                })
            })?;
            Ok::<_, PodError>(head)
        })?;
        out.bytes(Bytes::from(head)).await?;
        for (id, mut text, key, linked) in page {
            if std::mem::replace(&mut any, true) {
                out.text(",\r\n").await?;
            }
            let caller = &out.exchange().caller;
            let found = found(pod, ask, caller, &id, linked)?;
            match found {
                Ok((id, found)) => {
                    text.extend_from_slice(b",\"doc\":");
                    out.bytes(Bytes::from(text)).await?;
                    out.pieces(with_all_data(&id, &found)).await?;
                    out.text("}").await?;
                }
                Err(Written::Missing) => {
                    let mut text = Vec::new();
                    write_missing(&mut text, &key);
                    out.bytes(Bytes::from(text)).await?;
                }
                Err(Written::Deleted | Written::Whole) => {
                    text.extend_from_slice(b",\"doc\":null}");
                    out.bytes(Bytes::from(text)).await?;
                }
            }
        }
    }
    out.text("\r\n]}").await
}

/// The document that goes with a row of document `id`.
fn found(
    pod: &Pod,
    ask: &ViewAsk,
    caller: &Caller,
    id: &str,
    linked: Linked,
) -> Result<Result<(String, adea_pod::Found), Written>, PodError> {
    let Linked::Document(other, revision) = linked else {
        return Ok(Err(Written::Deleted));
    };
    let is_other = other.is_some();
    let id = other.unwrap_or_else(|| id.to_owned());
    let which = revision.map_or(Which::Winner, |revision| Which::Revision {
        revision,
        latest: false,
    });
    let told = Told {
        conflicts: ask.query.conflicts == Some(true),
        ..Told::default()
    };
    match pod.read(ask.entry(), caller, &id, &which, told) {
        Ok(found) => Ok(Ok((id, found))),
        Err(PodError::Missing) if is_other => Ok(Err(Written::Missing)),
        Err(PodError::Missing | PodError::Deleted) => Ok(Err(Written::Deleted)),
        Err(error) => Err(error),
    }
}

//! Mango over HTTP: `_find`, `_explain`, `_index`, and `_aggregate`, which `CouchDB` has not.
//!
//! What may be asked is in `options.rs`, the indexes' door in `indexes.rs`, what a plan looks like
//! in `explain.rs`. An answer is short nearly always, and sent at once then; a long one is sent while
//! it is found, page by page.

mod aggregate;
mod explain;
mod indexes;
mod options;

use std::sync::Arc;

use adea_documents::json::write_json_string;
use adea_pod::{DatabaseEntry, FindPage, FindStatistics, FindWalk};
use bytes::Bytes;
use http::{Method, StatusCode};

use crate::body::Response;
use crate::couch::find::options::FindRequest;
use crate::couch::intake;
use crate::couch::sending::{Broken, stream};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// Answers for `/{db}/_find` and its like, also inside one partition.
pub(crate) async fn route(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    special: &str,
    rest: &[String],
    partition: Option<&str>,
) -> Result<Response, ApiError> {
    match (special, rest) {
        ("_find", []) => find(exchange, entry, partition).await,
        ("_explain", []) => explain::explain(exchange, entry, partition).await,
        ("_aggregate", []) => aggregate::aggregate(exchange, entry, partition).await,
        ("_index", rest) if partition.is_none() => indexes::route(exchange, entry, rest).await,
        _ => Err(ApiError::NotFound("missing")),
    }
}

/// The body of a request that must be a `POST` of JSON.
async fn posted(exchange: &mut Exchange, entry: &DatabaseEntry) -> Result<Bytes, ApiError> {
    if exchange.method != Method::POST {
        return Err(ApiError::MethodNotAllowed("POST"));
    }
    adea_pod::may_search(entry, &exchange.caller)?;
    if entry.name.is_users() {
        adea_pod::may_list_users(entry, &exchange.caller)?;
    }
    exchange.require_json()?;
    intake::whole_up_to(exchange, BODY_MAX).await
}

/// The longest request: a selector has a bounded number of values.
const BODY_MAX: u64 = 8 << 20;

/// Reads a request, on a thread of its own if that may take its time: regular expressions do.
async fn read<T: Send + 'static>(
    body: Bytes,
    read: impl FnOnce(&[u8]) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    // An escape may hide the word.
    let may_search = |body| {
        let has = |part: &[u8]| memchr::memmem::find(body, part).is_some();
        has(b"regex") || has(b"\\u")
    };
    if body.len() <= READ_AT_ONCE_MAX && !may_search(&body) {
        return read(&body);
    }
    tokio::task::spawn_blocking(move || read(&body))
        .await
        .map_err(|_| ApiError::from(adea_pod::PodError::Interrupted))?
}

/// Requests beyond this length are read aside.
const READ_AT_ONCE_MAX: usize = 16 << 10;

/// Reads a query and checks what it says of partitions.
async fn asked(
    exchange: &mut Exchange,
    entry: &DatabaseEntry,
    partition: Option<&str>,
) -> Result<FindRequest, ApiError> {
    let body = posted(exchange, entry).await?;
    let partition = partition.map(str::to_owned);
    let request = read(body, move |body| {
        FindRequest::read(body, partition.as_deref())
    });
    let request = request.await?;
    if request.query.partition.is_some() && !entry.settings.partitioned {
        return Err(ApiError::bad("database is not partitioned"));
    }
    Ok(request)
}

async fn find(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    partition: Option<&str>,
) -> Result<Response, ApiError> {
    let FindRequest {
        query,
        execution_stats,
        ..
    } = asked(&mut exchange, &entry, partition).await?;
    let pod = exchange.app.pod.clone();
    let mut walk = pod.find(&entry, &exchange.caller, Arc::new(query)).await?;
    let mut out = b"{\"docs\":[".to_vec();
    let mut any = false;
    while !walk.is_done() {
        if out.len() > HELD {
            return Ok(streamed(exchange, walk, out, execution_stats));
        }
        if let Some(page) = walk.next().await? {
            write_page(&mut out, &page, &mut any);
        }
    }
    write_end(&mut out, &walk, execution_stats);
    Ok(reply::json(StatusCode::OK, out))
}

/// Bytes of an answer that are held before it is sent.
const HELD: usize = 256 << 10;

/// Sends what is there, and the rest while it is found.
fn streamed(exchange: Exchange, mut walk: FindWalk, out: Vec<u8>, stats: bool) -> Response {
    stream(exchange, "application/json", move |sink| async move {
        sink.bytes(Bytes::from(out)).await?;
        let mut any = true;
        while !walk.is_done() {
            if sink.is_closed() {
                return Err(Broken::Closed);
            }
            let page = walk.next().await;
            let page = page.map_err(|error| Broken::Failed(error.to_string()))?;
            let mut out = Vec::new();
            if let Some(page) = page {
                write_page(&mut out, &page, &mut any);
            }
            sink.bytes(Bytes::from(out)).await?;
        }
        let mut out = Vec::new();
        write_end(&mut out, &walk, stats);
        sink.bytes(Bytes::from(out)).await
    })
}

fn write_page(out: &mut Vec<u8>, page: &FindPage, any: &mut bool) {
    for document in page.documents() {
        out.extend_from_slice(if *any { b",\r\n" } else { b"\r\n" });
        *any = true;
        out.extend_from_slice(document);
    }
}

/// Writes what comes behind the documents.
fn write_end(out: &mut Vec<u8>, walk: &FindWalk, execution_stats: bool) {
    out.extend_from_slice(b"\r\n],\r\n\"bookmark\": ");
    write_json_string(out, walk.bookmark().as_deref().unwrap_or("nil"));
    if execution_stats {
        out.extend_from_slice(b",\r\n\"execution_stats\": ");
        write_statistics(out, &walk.statistics());
    }
    let warnings = walk.warnings();
    if !warnings.is_empty() {
        out.extend_from_slice(b",\r\n\"warning\": ");
        write_json_string(out, &warnings.join("\n"));
    }
    out.extend_from_slice(b"}\r\n\n");
}

fn write_statistics(out: &mut Vec<u8>, statistics: &FindStatistics) {
    let FindStatistics {
        keys_examined,
        documents_examined,
        returned,
        time,
    } = statistics;
    // Never nothing: clients divide by it.
    let time_us = time.as_micros().max(1);
    let (ms, us) = (time_us / 1_000, time_us % 1_000);
    let text = format!(
        "{{\"total_keys_examined\":{keys_examined},\"total_docs_examined\":{documents_examined},\"total_quorum_docs_examined\":0,\"results_returned\":{returned},\"execution_time_ms\":{ms}.{us:03}}}"
    );
    out.extend_from_slice(text.as_bytes());
}

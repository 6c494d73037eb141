//! One partition of a partitioned database: `/{db}/_partition/{partition}/…`.
//!
//! The documents of a partition have ids that begin with its name and a colon, so they lie
//! together, and so do their rows in every index that is parted.

use std::ops::ControlFlow;
use std::sync::Arc;

use adea_base::DocumentId;
use adea_documents::json::write_json_string;
use adea_pod::{DatabaseEntry, PodError};
use http::StatusCode;

use crate::body::Response;
use crate::couch::sending::aside;
use crate::couch::{find, listing, view};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// Answers for `/{db}/_partition/…`.
pub(crate) async fn route(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    rest: &[String],
) -> Result<Response, ApiError> {
    if !entry.settings.partitioned {
        return Err(ApiError::bad("database is not partitioned"));
    }
    let Some((partition, rest)) = rest.split_first() else {
        return Err(ApiError::NotFound("missing"));
    };
    adea_pod::check_partition(partition).map_err(adea_pod::PodError::from)?;
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => info(&exchange, &entry, partition),
        ["_all_docs"] => listing::partition_docs(exchange, entry, partition).await,
        [special @ ("_find" | "_explain" | "_index"), ..] => {
            let more = rest.get(1..).unwrap_or_default();
            find::route(exchange, entry, special, more, Some(partition)).await
        }
        ["_design", design, "_view", ..] => {
            let ddoc = DocumentId::parse(&format!("_design/{design}"))?;
            let more = rest.get(3..).unwrap_or_default();
            view::route(exchange, entry, ddoc, more, Some(partition)).await
        }
        // `_design%2Fx/_view/y`
        [design, "_view", ..] if design.starts_with("_design/") => {
            let ddoc = DocumentId::parse(design)?;
            let more = rest.get(2..).unwrap_or_default();
            view::route(exchange, entry, ddoc, more, Some(partition)).await
        }
        _ => Err(ApiError::NotFound("missing")),
    }
}

/// Answers for `/{db}/_partition/{partition}`.
fn info(exchange: &Exchange, entry: &DatabaseEntry, partition: &str) -> Result<Response, ApiError> {
    if !exchange.reads() {
        return Err(ApiError::MethodNotAllowed("GET"));
    }
    let (mut living, mut deleted, mut bytes) = (0_u64, 0_u64, 0_u64);
    aside(|| {
        let pod = &exchange.app.pod;
        let range = listing::partition_range(partition);
        pod.walk_heads(entry, &exchange.caller, &range, |head| {
            if head.winner.deleted {
                deleted += 1;
            } else {
                living += 1;
                bytes += head.external_bytes;
            }
            ControlFlow::Continue(())
        })?;
        Ok::<_, PodError>(())
    })?;
    let active = bytes + 64 * (living + deleted);
    let mut out =
        format!("{{\"sizes\":{{\"active\":{active},\"external\":{bytes}}},\"partition\":")
            .into_bytes();
    write_json_string(&mut out, partition);
    out.extend_from_slice(
        format!(",\"doc_del_count\":{deleted},\"doc_count\":{living},\"db_name\":").as_bytes(),
    );
    write_json_string(&mut out, &entry.face_name());
    out.extend_from_slice(b"}\n");
    Ok(reply::json(StatusCode::OK, out))
}

//! What a peer lacks: `_revs_diff` and `_missing_revs`.
//!
//! A replicator names the revisions it has, and is told those that are not here. A document may
//! have thousands of leaves to be told, so few are looked up at a time: a short answer is made
//! whole, a long one is sent while it is looked up, and an id is asked about once however often it is
//! named.

use std::collections::HashMap;
use std::sync::Arc;

use adea_documents::json::{for_each_item, for_each_member, read_text, write_json_string};
use adea_documents::render::write_revision;
use adea_documents::revision::Revision;
use adea_pod::{DatabaseEntry, PodError};
use bytes::Bytes;
use http::StatusCode;

use crate::body::Response;
use crate::couch::bulk::require_post;
use crate::couch::{intake, sending};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// The most revisions one `_revs_diff` may ask for: each costs memory while it is answered.
const REVISIONS_MAX: usize = 1_000_000;

/// Ids, and the revisions of each that a peer asks about.
type Asking = Vec<(String, Vec<Revision>)>;

fn read_asking(body: &[u8]) -> Result<Asking, ApiError> {
    // An id that is named again is asked about once: what it costs must not multiply.
    let mut asking: HashMap<String, (usize, Vec<Revision>)> = HashMap::new();
    let mut count = 0;
    let is_object = for_each_member(body, |id, value| {
        let mut revisions = Vec::new();
        let is_array = for_each_item(value, |item| {
            let text = read_text(item)?.ok_or_else(|| ApiError::bad("Invalid rev format"))?;
            count += 1;
            if count > REVISIONS_MAX {
                return Err(ApiError::TooMany(
                    "Too many revisions in one request.".into(),
                ));
            }
            revisions.push(Revision::parse(&text)?);
            Ok::<_, ApiError>(())
        })?;
        if !is_array {
            return Err(ApiError::bad("Revisions must be a JSON array of strings."));
        }
        count += 1;
        if count > REVISIONS_MAX {
            return Err(ApiError::TooMany(
                "Too many documents in one request.".into(),
            ));
        }
        let place = asking.len();
        let asked = asking.entry(id.to_owned()).or_insert((place, Vec::new()));
        asked.1.append(&mut revisions);
        Ok::<_, ApiError>(())
    })?;
    if !is_object {
        return Err(ApiError::bad("Request body must be a JSON object"));
    }
    let mut asking: Vec<_> = asking.into_iter().collect();
    asking.sort_unstable_by_key(|(_, (place, _))| *place);
    let in_order = asking
        .into_iter()
        .map(|(id, (_, revisions))| (id, revisions));
    Ok(in_order.collect())
}

/// How many ids are looked up before others get their turn.
const LOOKUPS_AT_ONCE: usize = 500;
/// How many ids are looked up over one view: each may have thousands of leaves to be told.
const LOOKUPS_IN_VIEW: usize = 16;
/// Bytes of an answer to `_revs_diff` that are made before they are sent.
const LACKING_PART: usize = 64 << 10;

/// Writes what of a document is lacking.
type WriteLacking = fn(&mut Vec<u8>, &str, &adea_documents::reader::Lacking);

/// The rows of an answer that tells what is lacking, on their way.
struct LackingRows {
    app: Arc<crate::App>,
    caller: adea_base::Caller,
    entry: Arc<DatabaseEntry>,
    asking: std::vec::IntoIter<(String, Vec<Revision>)>,
    any: bool,
    write: WriteLacking,
}

impl LackingRows {
    /// Writes the next part of the answer; false if it was the last.
    fn part(&mut self, out: &mut Vec<u8>) -> Result<bool, PodError> {
        let mut looked_up = 0;
        while looked_up < LOOKUPS_AT_ONCE && out.len() < LACKING_PART {
            let few: Vec<_> = self.asking.by_ref().take(LOOKUPS_IN_VIEW).collect();
            if few.is_empty() {
                return Ok(false);
            }
            looked_up += few.len();
            let found = self.app.pod.lacking(&self.entry, &self.caller, &few)?;
            for ((id, _), lacking) in few.iter().zip(found) {
                if !lacking.missing.is_empty() {
                    if self.any {
                        out.push(b',');
                    }
                    self.any = true;
                    (self.write)(out, id, &lacking);
                }
            }
        }
        Ok(self.asking.len() > 0)
    }
}

/// Answers with what is lacking: a short answer whole, a long one while it is looked up.
async fn lacking(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    open: &'static str,
    close: &'static str,
    write: WriteLacking,
) -> Result<Response, ApiError> {
    require_post(&exchange)?;
    let body = intake::whole(&mut exchange).await?;
    let asking = intake::parsed(body, read_asking).await??;
    let mut rows = LackingRows {
        app: Arc::clone(&exchange.app),
        caller: exchange.caller.clone(),
        entry,
        asking: asking.into_iter(),
        any: false,
        write,
    };
    let mut out = open.as_bytes().to_vec();
    while out.len() < LACKING_PART {
        if !rows.part(&mut out)? {
            out.extend_from_slice(close.as_bytes());
            return Ok(reply::json(StatusCode::OK, out));
        }
        tokio::task::yield_now().await;
    }
    let produce = move |sink: Arc<sending::Out>| async move {
        sink.bytes(Bytes::from(out)).await?;
        let mut more = true;
        while more {
            let mut out = Vec::new();
            more = rows
                .part(&mut out)
                .map_err(|error| sending::Broken::Failed(error.to_string()))?;
            sink.bytes(Bytes::from(out)).await?;
            tokio::task::yield_now().await;
        }
        sink.text(close).await
    };
    Ok(sending::stream(exchange, "application/json", produce))
}

/// Answers `_revs_diff`.
pub(crate) async fn revs_diff(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
) -> Result<Response, ApiError> {
    lacking(exchange, entry, "{", "}\n", |out, id, lacking| {
        write_json_string(out, id);
        out.extend_from_slice(b":{\"missing\":");
        write_revisions(out, &lacking.missing);
        if !lacking.possible_ancestors.is_empty() {
            out.extend_from_slice(b",\"possible_ancestors\":");
            write_revisions(out, &lacking.possible_ancestors);
        }
        out.push(b'}');
    })
    .await
}

/// Answers `_missing_revs`.
pub(crate) async fn missing_revs(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
) -> Result<Response, ApiError> {
    let (open, close) = ("{\"missing_revs\":{", "}}\n");
    lacking(exchange, entry, open, close, |out, id, lacking| {
        write_json_string(out, id);
        out.push(b':');
        write_revisions(out, &lacking.missing);
    })
    .await
}

fn write_revisions(out: &mut Vec<u8>, revisions: &[Revision]) {
    out.push(b'[');
    for (n, revision) in revisions.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_revision(out, revision);
    }
    out.push(b']');
}

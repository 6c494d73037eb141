//! Listings: `_all_docs`, `_design_docs`, `_local_docs`, by range or by keys, streamed.
//!
//! Here is what may be asked, in a query or in a body, and the front of the answer. The rows are
//! walked through in `rows.rs`, those of local documents in `local.rs`. A listing is a range of ids
//! or a list of keys, whatever it was asked through; it is read page after page, so that its
//! length is bounded by the client's patience and not by memory. All that can be refused is refused
//! before the first byte is sent.

mod local;
mod rows;

use std::sync::Arc;

use adea_documents::json::{for_each_item, for_each_member, read_text};
use adea_documents::reader::IdRange;
use adea_pod::DatabaseEntry;
use adea_store::Direction;
use bytes::Bytes;
use http::StatusCode;

use crate::body::Response;
use crate::couch::intake;
use crate::couch::listing::rows::{Rows, with_attachments};
use crate::couch::sending::{aside, stream};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;
use crate::wire::query::Query;

pub(crate) use local::local_docs;

/// Documents passed over are counted one by one; of more, the offset is not told.
const OFFSET_COUNTED_MAX: u64 = 10_000;

/// The most keys one request may ask for.
const KEYS_MAX: usize = 1_000_000;

/// What is listed, and how.
#[derive(Clone, Debug, Default)]
struct Listing {
    range: IdRange,
    descending: bool,
    include_docs: bool,
    conflicts: bool,
    attachments: bool,
    update_seq: bool,
    encoding_info: bool,
    /// Without its order a listing tells neither how many there are nor where it begins.
    unsorted: bool,
    /// Whether only design documents are listed.
    designs: bool,
    /// The partition that is listed.
    partition: Option<String>,
    skip: u64,
    limit: Option<u64>,
    keys: Option<Vec<String>>,
    /// A key that no id can be: nothing is listed.
    nothing: bool,
}

impl Listing {
    fn direction(&self) -> Direction {
        if self.descending {
            Direction::Reverse
        } else {
            Direction::Forward
        }
    }

    /// Reads the parameters of a query.
    fn of(query: &Query) -> Result<Self, ApiError> {
        let mut listing = Self {
            descending: query.boolean("descending")?.unwrap_or(false),
            include_docs: query.boolean("include_docs")?.unwrap_or(false),
            conflicts: query.boolean("conflicts")?.unwrap_or(false),
            attachments: query.boolean("attachments")?.unwrap_or(false),
            update_seq: query.boolean("update_seq")?.unwrap_or(false),
            encoding_info: query.boolean("att_encoding_info")?.unwrap_or(false),
            unsorted: !query.boolean("sorted")?.unwrap_or(true),
            partition: query.get("partition").map(str::to_owned),
            skip: query.count("skip")?.unwrap_or(0),
            limit: query.count("limit")?,
            ..Self::default()
        };
        let inclusive = query.boolean("inclusive_end")?.unwrap_or(true);
        let start = listing.key(query.any(&["startkey", "start_key"]))?;
        let end = listing.key(query.any(&["endkey", "end_key"]))?;
        listing.set_range(start, end, inclusive)?;
        if let Some(key) = query.get("key")
            && let Some(id) = listing.key(Some(key))?
        {
            listing.range = IdRange {
                first: Some(id.clone()),
                last: Some((id, true)),
            };
        }
        if let Some(keys) = query.get("keys") {
            listing.keys = Some(read_keys(keys.as_bytes())?);
        }
        Ok(listing)
    }

    /// A key in JSON: an id, or, if it is no text, the end of the range that no id reaches.
    fn key(&mut self, json: Option<&str>) -> Result<Option<String>, ApiError> {
        let Some(json) = json else { return Ok(None) };
        match read_text(json.as_bytes())? {
            Some(text) => Ok(Some(text.into_owned())),
            None => {
                // Ids are texts; in view order numbers, null and booleans stand before all of
                // them, arrays and objects behind.
                let behind = json.trim_start().starts_with(['[', '{']);
                self.nothing |= !behind && !json.trim_start().starts_with(['n', 't', 'f']);
                Ok(None)
            }
        }
    }

    fn set_range(
        &mut self,
        start: Option<String>,
        end: Option<String>,
        inclusive: bool,
    ) -> Result<(), ApiError> {
        if let (Some(start), Some(end)) = (&start, &end) {
            let reversed = if self.descending {
                start < end
            } else {
                start > end
            };
            if reversed {
                return Err(ApiError::query(format!(
                    "No rows can match your key range, reverse your start_key and end_key or set descending={}",
                    !self.descending
                )));
            }
        }
        self.range = if self.descending {
            // The walk begins at the high end, which `startkey` names; the low end may be open.
            let first = match (end, inclusive) {
                (Some(end), true) => Some(end),
                (Some(end), false) => Some(format!("{end}\0")),
                (None, _) => None,
            };
            IdRange {
                first,
                last: start.map(|id| (id, true)),
            }
        } else {
            IdRange {
                first: start,
                last: end.map(|id| (id, inclusive)),
            }
        };
        Ok(())
    }

    /// Reads the members of a request's body over those of its query.
    fn with_body(mut self, body: &[u8]) -> Result<Self, ApiError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(self);
        }
        let mut members: Vec<(String, Vec<u8>)> = Vec::new();
        let is_object = for_each_member(body, |name, value| {
            members.push((name.to_owned(), value.to_vec()));
            Ok::<_, ApiError>(())
        })?;
        if !is_object {
            return Err(ApiError::bad("Request body must be a JSON object"));
        }
        let text = |name: &[&str]| {
            let found = members
                .iter()
                .rev()
                .find(|(known, _)| name.contains(&known.as_str()));
            found.and_then(|(_, value)| std::str::from_utf8(value).ok())
        };
        let flag = |name, before: bool| text(&[name]).map_or(before, |value| value == "true");
        self.descending = flag("descending", self.descending);
        self.include_docs = flag("include_docs", self.include_docs);
        self.conflicts = flag("conflicts", self.conflicts);
        self.attachments = flag("attachments", self.attachments);
        self.update_seq = flag("update_seq", self.update_seq);
        self.encoding_info = flag("att_encoding_info", self.encoding_info);
        self.unsorted = !flag("sorted", !self.unsorted);
        let number = |name| text(&[name]).and_then(|value| value.parse().ok());
        self.skip = number("skip").unwrap_or(self.skip);
        self.limit = number("limit").or(self.limit);
        let start = text(&["startkey", "start_key"]);
        let end = text(&["endkey", "end_key"]);
        if start.is_some() || end.is_some() {
            let inclusive = flag("inclusive_end", true);
            let (start, end) = (self.key(start)?, self.key(end)?);
            self.set_range(start, end, inclusive)?;
        }
        if let Some(key) = text(&["key"])
            && let Some(id) = self.key(Some(key))?
        {
            self.range = IdRange {
                first: Some(id.clone()),
                last: Some((id, true)),
            };
        }
        if let Some(keys) = text(&["keys"]) {
            self.keys = Some(read_keys(keys.as_bytes())?);
        }
        Ok(self)
    }
}

impl Listing {
    /// Lists design documents only.
    fn of_designs(mut self) -> Self {
        self.designs = true;
        self.within(designs_range())
    }

    /// Lists one partition only, if one is named.
    fn of_partition(mut self, entry: &DatabaseEntry) -> Result<Self, ApiError> {
        let Some(partition) = self.partition.take() else {
            return Ok(self);
        };
        if !entry.settings.partitioned {
            return Err(ApiError::query(
                "`partition` parameter is not supported on this database.",
            ));
        }
        adea_pod::check_partition(&partition).map_err(adea_pod::PodError::from)?;
        Ok(self.within(partition_range(&partition)))
    }

    /// Lists ids of `whole` only.
    fn within(mut self, whole: IdRange) -> Self {
        let range = &mut self.range;
        if range.first < whole.first {
            range.first = whole.first;
        }
        let id = |last: &Option<(String, bool)>| last.as_ref().map(|(id, _)| id.clone());
        if range.last.is_none() || id(&range.last) >= id(&whole.last) {
            range.last = whole.last;
        }
        // A range that lies elsewhere holds nothing.
        self.nothing |= self.range.first > id(&self.range.last);
        self
    }
}

/// The ids of all design documents.
fn designs_range() -> IdRange {
    IdRange {
        first: Some("_design/".to_owned()),
        last: Some(("_design0".to_owned(), false)),
    }
}

fn read_keys(json: &[u8]) -> Result<Vec<String>, ApiError> {
    let mut keys = Vec::new();
    let is_array = for_each_item(json, |item| {
        if keys.len() == KEYS_MAX {
            return Err(ApiError::TooMany("Too many keys in one request.".into()));
        }
        keys.push(match read_text(item)? {
            Some(text) => text.into_owned(),
            // No id; found as little as one that is not there.
            None => String::from_utf8_lossy(item).into_owned(),
        });
        Ok::<_, ApiError>(())
    })?;
    if is_array {
        Ok(keys)
    } else {
        Err(ApiError::bad("`keys` body member must be an array."))
    }
}

/// Answers `_all_docs`.
pub(crate) async fn all_docs(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
) -> Result<Response, ApiError> {
    let (exchange, listing) = read_listing(exchange, &entry).await?;
    let listing = listing.of_partition(&entry)?;
    list(exchange, entry, listing).await
}

/// The ids of the documents of a partition.
pub(crate) fn partition_range(partition: &str) -> IdRange {
    IdRange {
        first: Some(format!("{partition}:")),
        // What follows the colon among characters.
        last: Some((format!("{partition};"), false)),
    }
}

/// Answers `_partition/{partition}/_all_docs`: the part of `_all_docs` that is of that partition.
pub(crate) async fn partition_docs(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    partition: &str,
) -> Result<Response, ApiError> {
    let (exchange, listing) = read_listing(exchange, &entry).await?;
    list(exchange, entry, listing.within(partition_range(partition))).await
}

async fn read_listing(
    mut exchange: Exchange,
    entry: &DatabaseEntry,
) -> Result<(Exchange, Listing), ApiError> {
    exchange.app.pod.may_list(entry, &exchange.caller)?;
    let mut listing = Listing::of(&exchange.query)?;
    match exchange.method.as_str() {
        "GET" | "HEAD" => {}
        "POST" => {
            exchange.require_json()?;
            let body = intake::whole(&mut exchange).await?;
            listing = intake::parsed(body, move |body| listing.with_body(body)).await??;
        }
        _ => return Err(ApiError::MethodNotAllowed("GET,HEAD,POST")),
    }
    Ok((exchange, listing))
}

/// Answers `_design_docs`: the part of `_all_docs` that holds design documents.
pub(crate) async fn design_docs(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
) -> Result<Response, ApiError> {
    let (exchange, listing) = read_listing(exchange, &entry).await?;
    list(exchange, entry, listing.of_designs()).await
}

/// Answers `_all_docs/queries` and its like: several listings in one.
pub(crate) async fn queries(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    kind: &str,
) -> Result<Response, ApiError> {
    if exchange.method != http::Method::POST {
        return Err(ApiError::MethodNotAllowed("POST"));
    }
    exchange.app.pod.may_list(&entry, &exchange.caller)?;
    exchange.require_json()?;
    let body = intake::whole(&mut exchange).await?;
    let mut listings = intake::parsed(body, read_queries).await??;
    if kind == "_local_docs" {
        return Ok(local::queries(exchange, &entry, &listings));
    }
    let mut heads = Vec::with_capacity(listings.len());
    for listing in &mut listings {
        let read = std::mem::take(listing);
        *listing = if kind == "_design_docs" {
            read.of_designs()
        } else {
            read.of_partition(&entry)?
        };
        heads.push(aside(|| head(&exchange, &entry, listing))?);
    }
    let (app, caller) = (Arc::clone(&exchange.app), exchange.caller.clone());
    Ok(stream(
        exchange,
        "application/json",
        move |out| async move {
            out.text("{\"results\":[\r\n").await?;
            for (n, (listing, head)) in listings.into_iter().zip(heads).enumerate() {
                let rows = Rows::new(&app, &caller, &entry, listing);
                out.text(if n == 0 { "" } else { ",\r\n" }).await?;
                out.bytes(Bytes::from(head)).await?;
                rows.send(&out, Vec::new()).await?;
                out.text("\r\n]}").await?;
            }
            out.text("\r\n]}\n").await
        },
    ))
}

/// The most queries of one request.
const QUERIES_MAX: usize = 1_000;

fn read_queries(body: &[u8]) -> Result<Vec<Listing>, ApiError> {
    let refused = || ApiError::bad("`queries` must be an array of at most 1000 queries.");
    let mut listings = None;
    for_each_member(body, |name, value| {
        if name == "queries" {
            let mut found = Vec::new();
            let is_array = for_each_item(value, |item| {
                if found.len() == QUERIES_MAX {
                    return Err(refused());
                }
                found.push(Listing::default().with_body(item)?);
                Ok::<_, ApiError>(())
            })?;
            if !is_array {
                return Err(refused());
            }
            listings = Some(found);
        }
        Ok::<_, ApiError>(())
    })?;
    listings.ok_or_else(|| ApiError::bad("POST body must include `queries` parameter."))
}

/// The front of a listing, up to its rows.
fn head(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    listing: &Listing,
) -> Result<Vec<u8>, ApiError> {
    let pod = &exchange.app.pod;
    let statistics = pod.told_counts(entry)?;
    let count = |range: &IdRange| pod.count(entry, &exchange.caller, range, OFFSET_COUNTED_MAX);
    if listing.unsorted {
        return Ok(b"{\"rows\":[\r\n".to_vec());
    }
    let designs = designs_range();
    let total = if listing.designs {
        count(&designs)?
    } else {
        Some(statistics.documents)
    };
    let shown = total.map_or("null".to_owned(), |total| total.to_string());
    let mut out = format!("{{\"total_rows\":{shown},\"offset\":").into_bytes();
    let offset = if listing.keys.is_some() {
        None
    } else if listing.nothing {
        Some(0)
    } else {
        let before = if listing.descending {
            listing.range.last.as_ref().map(|(last, _)| IdRange {
                first: Some(format!("{last}\0")),
                last: None,
            })
        } else {
            listing.range.first.as_ref().map(|first| IdRange {
                first: None,
                last: Some((first.clone(), false)),
            })
        };
        match before {
            None => Some(0),
            Some(mut before) => {
                if listing.designs && before.first.is_none() {
                    before.first = designs.first;
                } else if listing.designs {
                    before.last = designs.last;
                }
                count(&before)?
            }
        }
        .map(|before| (before + listing.skip).min(total.unwrap_or(u64::MAX)))
    };
    match offset {
        Some(offset) => out.extend_from_slice(offset.to_string().as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    if listing.update_seq {
        let place = entry.place(statistics.update_sequence);
        out.extend_from_slice(format!(",\"update_seq\":\"{place}\"").as_bytes());
    }
    out.extend_from_slice(b",\"rows\":[\r\n");
    Ok(out)
}

async fn list(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    listing: Listing,
) -> Result<Response, ApiError> {
    // What stands before the first row may have to be counted.
    let counted =
        listing.range.first.is_some() || listing.range.last.is_some() || !entry.shows_all();
    let mut out = if counted {
        aside(|| head(&exchange, &entry, &listing))?
    } else {
        head(&exchange, &entry, &listing)?
    };
    let contents = listing.attachments && listing.include_docs;
    let mut rows = Rows::new(&exchange.app, &exchange.caller, &entry, listing);
    if contents {
        return Ok(with_attachments(exchange, rows, out));
    }
    let more = rows.next_page(&mut out)?;
    if !more {
        out.extend_from_slice(b"\r\n]}\n");
        return Ok(reply::json(StatusCode::OK, out));
    }
    Ok(stream(
        exchange,
        "application/json",
        move |sink| async move {
            rows.send(&sink, out).await?;
            sink.text("\r\n]}\n").await
        },
    ))
}

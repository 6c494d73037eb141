//! Listings: `_all_docs`, `_design_docs`, `_local_docs`, by range or by keys, streamed.

use std::collections::VecDeque;
use std::sync::Arc;

use adea_documents::json::{for_each_item, for_each_member, read_text, write_json_string};
use adea_documents::local::LocalDocument;
use adea_documents::reader::IdRange;
use adea_documents::record::split_body;
use adea_documents::render::{Meta, Rendering, write_revision};
use adea_pod::{DatabaseEntry, ListedDocument, PodError, Told, Which};
use adea_store::Direction;
use bytes::Bytes;
use http::StatusCode;

use crate::App;
use crate::body::Response;
use crate::couch::intake;
use crate::couch::local::write_document;
use crate::couch::sending::{Broken, Out, stream};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;
use crate::wire::query::Query;

/// Rows read in one view.
const PAGE: u64 = 1_000;
/// Bytes of documents that are held at once, and written before they are sent.
const PAGE_BYTES: u64 = 512 << 10;
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
    list(exchange, entry, listing).await
}

async fn read_listing(
    mut exchange: Exchange,
    entry: &DatabaseEntry,
) -> Result<(Exchange, Listing), ApiError> {
    if entry.name.is_users() {
        adea_pod::may_list_users(entry, &exchange.caller)?;
    }
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
    let (exchange, mut listing) = read_listing(exchange, &entry).await?;
    let range = &mut listing.range;
    if range
        .first
        .as_deref()
        .is_none_or(|first| first < "_design/")
    {
        range.first = Some("_design/".to_owned());
    }
    if range
        .last
        .as_ref()
        .is_none_or(|(last, _)| last.as_str() > "_design0")
    {
        range.last = Some(("_design0".to_owned(), false));
    }
    list(exchange, entry, listing).await
}

/// Answers `_all_docs/queries` and its like: several listings in one.
pub(crate) async fn queries(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    kind: &str,
) -> Result<Response, ApiError> {
    if kind != "_all_docs" {
        return Err(ApiError::NotImplemented("Several queries of this listing"));
    }
    if exchange.method != http::Method::POST {
        return Err(ApiError::MethodNotAllowed("POST"));
    }
    if entry.name.is_users() {
        adea_pod::may_list_users(&entry, &exchange.caller)?;
    }
    exchange.require_json()?;
    let body = intake::whole(&mut exchange).await?;
    let mut listings = None;
    for_each_member(&body, |name, value| {
        if name == "queries" {
            let mut found = Vec::new();
            let is_array = for_each_item(value, |item| {
                found.push(Listing::default().with_body(item)?);
                Ok::<_, ApiError>(())
            })?;
            if !is_array || found.len() > 1_000 {
                return Err(ApiError::bad(
                    "`queries` must be an array of at most 1000 queries.",
                ));
            }
            listings = Some(found);
        }
        Ok::<_, ApiError>(())
    })?;
    let listings = listings.ok_or_else(|| ApiError::bad("Request body must have `queries`."))?;
    let mut heads = Vec::with_capacity(listings.len());
    for listing in &listings {
        heads.push(head(&exchange, &entry, listing)?);
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

/// The front of a listing, up to its rows.
fn head(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    listing: &Listing,
) -> Result<Vec<u8>, ApiError> {
    let pod = &exchange.app.pod;
    let statistics = pod.statistics(entry)?;
    let mut out = format!("{{\"total_rows\":{},\"offset\":", statistics.documents).into_bytes();
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
            Some(before) => pod.count(entry, &exchange.caller, &before, OFFSET_COUNTED_MAX)?,
        }
        .map(|before| (before + listing.skip).min(statistics.documents))
    };
    match offset {
        Some(offset) => out.extend_from_slice(offset.to_string().as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    if listing.update_seq {
        let sequence = statistics.update_sequence;
        out.extend_from_slice(
            format!(",\"update_seq\":\"{sequence}-{}\"", entry.sequence_tag).as_bytes(),
        );
    }
    out.extend_from_slice(b",\"rows\":[\r\n");
    Ok(out)
}

async fn list(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    listing: Listing,
) -> Result<Response, ApiError> {
    let mut out = head(&exchange, &entry, &listing)?;
    let mut rows = Rows::new(&exchange.app, &exchange.caller, &entry, listing);
    if rows.listing.attachments && rows.listing.include_docs {
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

/// A listing on its way: where it is, and what is left of it.
struct Rows {
    app: Arc<App>,
    caller: adea_base::Caller,
    entry: Arc<DatabaseEntry>,
    listing: Listing,
    skip: u64,
    left: u64,
    keys: std::vec::IntoIter<String>,
    /// Rows that were read and not yet written.
    waiting: VecDeque<ListedRow>,
    any: bool,
}

/// A row that was read: the key it was asked by, and the document, if there is one.
type ListedRow = (String, Option<ListedDocument>);

impl Rows {
    fn new(
        app: &Arc<App>,
        caller: &adea_base::Caller,
        entry: &Arc<DatabaseEntry>,
        mut listing: Listing,
    ) -> Self {
        let by_keys = listing.keys.is_some();
        let mut keys = listing.keys.take().unwrap_or_default();
        let skip = usize::try_from(listing.skip).unwrap_or(usize::MAX);
        if listing.descending {
            keys.reverse();
        }
        let mut keys = keys.into_iter();
        if by_keys && skip > 0 {
            keys.nth(skip - 1);
        }
        let left = if listing.nothing {
            0
        } else {
            listing.limit.unwrap_or(u64::MAX)
        };
        Self {
            app: Arc::clone(app),
            caller: caller.clone(),
            entry: Arc::clone(entry),
            skip: listing.skip,
            left,
            keys,
            waiting: VecDeque::new(),
            any: false,
            listing: Listing {
                keys: by_keys.then(Vec::new),
                ..listing
            },
        }
    }

    /// Sends what is left, after what is in `out` already.
    async fn send(mut self, sink: &Out, mut out: Vec<u8>) -> Result<(), Broken> {
        loop {
            let more = self
                .next_page(&mut out)
                .map_err(|error| Broken::Failed(error.to_string()))?;
            sink.bytes(Bytes::from(std::mem::take(&mut out))).await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// The rows of the next page; a row per id asked for, `None` where there is no such document.
    fn next_rows(&mut self) -> Result<Vec<ListedRow>, PodError> {
        let pod = &self.app.pod;
        let count = self.left.min(PAGE);
        if self.listing.keys.is_some() {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            let keys: Vec<String> = self.keys.by_ref().take(count).collect();
            let ids: Vec<&str> = keys.iter().map(String::as_str).collect();
            let rows = pod.list_keys(&self.entry, &self.caller, &ids)?;
            self.left = self.left.saturating_sub(keys.len() as u64);
            return Ok(keys.into_iter().zip(rows).collect());
        }
        let range = &self.listing.range;
        let direction = self.listing.direction();
        let rows = pod.list(
            &self.entry,
            &self.caller,
            range,
            direction,
            self.skip,
            count,
        )?;
        self.skip = 0;
        self.left -= rows.len() as u64;
        match rows.last() {
            Some(last) if rows.len() as u64 == count => {
                let id = last.id.clone();
                if self.listing.descending {
                    self.listing.range.last = Some((id, false));
                } else {
                    self.listing.range.first = Some(format!("{id}\0"));
                }
            }
            Some(_) | None => self.left = 0,
        }
        Ok(rows
            .into_iter()
            .map(|row| (String::new(), Some(row)))
            .collect())
    }

    /// Whether a page may follow.
    fn more(&self) -> bool {
        !self.waiting.is_empty()
            || self.left > 0 && (self.listing.keys.is_none() || self.keys.len() > 0)
    }

    /// The rows of the next page: as many as may be held with their documents.
    fn next_portion(&mut self) -> Result<Vec<ListedRow>, PodError> {
        if self.waiting.is_empty() {
            self.waiting = self.next_rows()?.into();
        }
        let mut bytes = 0;
        let fitting = self.waiting.iter().take_while(|(_, row)| {
            let fits = bytes < PAGE_BYTES;
            if self.listing.include_docs {
                bytes += row.as_ref().map_or(0, |row| row.external_bytes);
            }
            fits
        });
        let count = fitting.count();
        Ok(self.waiting.drain(..count).collect())
    }

    /// Writes the next page to `out`; false if it was the last.
    fn next_page(&mut self, out: &mut Vec<u8>) -> Result<bool, PodError> {
        if !self.more() {
            return Ok(false);
        }
        let rows = self.next_portion()?;
        let bodies = if self.listing.include_docs {
            let wanted: Vec<u64> = rows
                .iter()
                .filter_map(|(_, row)| row.as_ref())
                .filter(|row| !row.deleted)
                .filter_map(|row| row.body)
                .collect();
            self.app.pod.bodies(&self.entry, &self.caller, &wanted)?
        } else {
            Vec::new()
        };
        let mut bodies = bodies.into_iter();
        for (key, row) in rows {
            if self.any {
                out.extend_from_slice(b",\r\n");
            }
            self.any = true;
            let Some(row) = row else {
                out.extend_from_slice(b"{\"key\":");
                write_json_string(out, &key);
                out.extend_from_slice(b",\"error\":\"not_found\"}");
                continue;
            };
            write_row(out, &row);
            if self.listing.include_docs {
                out.extend_from_slice(b",\"doc\":");
                let body = if row.deleted || row.body.is_none() {
                    None
                } else {
                    bodies.next().flatten()
                };
                self.write_doc(out, &row, body.as_deref())?;
            }
            out.push(b'}');
        }
        Ok(self.more())
    }

    fn write_doc(
        &self,
        out: &mut Vec<u8>,
        row: &ListedDocument,
        body: Option<&[u8]>,
    ) -> Result<(), PodError> {
        let Some(body) = body else {
            out.extend_from_slice(b"null");
            return Ok(());
        };
        let (attachments, json) = split_body(body)?;
        let mut meta = Meta::default();
        if self.listing.conflicts && row.conflicts {
            let told = Told {
                conflicts: true,
                ..Told::default()
            };
            let which = Which::Revision {
                revision: row.revision.clone(),
                latest: false,
            };
            let pod = &self.app.pod;
            meta = pod
                .read(&self.entry, &self.caller, &row.id, &which, told)?
                .meta;
        }
        Rendering {
            id: &row.id,
            revision: &row.revision,
            deleted: row.deleted,
            json,
            attachments: &attachments,
            meta: &meta,
            encoding_info: false,
        }
        .write(out);
        Ok(())
    }
}

/// Writes a row up to its document.
fn write_row(out: &mut Vec<u8>, row: &ListedDocument) {
    out.extend_from_slice(b"{\"id\":");
    write_json_string(out, &row.id);
    out.extend_from_slice(b",\"key\":");
    write_json_string(out, &row.id);
    out.extend_from_slice(b",\"value\":{\"rev\":");
    write_revision(out, &row.revision);
    out.extend_from_slice(if row.deleted {
        b",\"deleted\":true}"
    } else {
        b"}"
    });
}

/// Streams a listing with the attachments' contents inside the documents.
fn with_attachments(exchange: Exchange, mut rows: Rows, head: Vec<u8>) -> Response {
    stream(exchange, "application/json", move |out| async move {
        let failed = |error: PodError| Broken::Failed(error.to_string());
        out.bytes(Bytes::from(head)).await?;
        let mut any = false;
        while rows.more() {
            for (key, row) in rows.next_rows().map_err(failed)? {
                let mut text = if any { b",\r\n".to_vec() } else { Vec::new() };
                any = true;
                let Some(row) = row else {
                    text.extend_from_slice(b"{\"key\":");
                    write_json_string(&mut text, &key);
                    text.extend_from_slice(b",\"error\":\"not_found\"}");
                    out.bytes(Bytes::from(text)).await?;
                    continue;
                };
                write_row(&mut text, &row);
                text.extend_from_slice(b",\"doc\":");
                out.bytes(Bytes::from(text)).await?;
                if row.deleted {
                    out.text("null}").await?;
                    continue;
                }
                let which = Which::Revision {
                    revision: row.revision.clone(),
                    latest: false,
                };
                let told = Told {
                    conflicts: rows.listing.conflicts,
                    ..Told::default()
                };
                let pod = &rows.app.pod;
                let found = pod.read(&rows.entry, &rows.caller, &row.id, &which, told);
                let found = found.map_err(failed)?;
                let pieces = crate::couch::sending::with_all_data(&row.id, &found);
                out.pieces(pieces).await?;
                out.text("}").await?;
            }
        }
        out.text("\r\n]}\n").await
    })
}

/// Answers `_local_docs`.
pub(crate) async fn local_docs(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
) -> Result<Response, ApiError> {
    let (exchange, listing) = read_listing(exchange, &entry).await?;
    let mut walk = LocalRows::new(&exchange, entry, listing);
    Ok(stream(
        exchange,
        "application/json",
        move |sink| async move {
            sink.text("{\"total_rows\":null,\"offset\":null,\"rows\":[\r\n")
                .await?;
            loop {
                let page = walk
                    .next_page()
                    .map_err(|error| Broken::Failed(error.to_string()))?;
                match page {
                    Some(page) => sink.bytes(Bytes::from(page)).await?,
                    None => return sink.text("\r\n]}\n").await,
                }
            }
        },
    ))
}

/// A listing of local documents on its way.
struct LocalRows {
    app: Arc<App>,
    caller: adea_base::Caller,
    entry: Arc<DatabaseEntry>,
    direction: Direction,
    include_docs: bool,
    /// The names that are left: from, to; or one by one.
    range: (Option<String>, Option<String>),
    names: Option<std::vec::IntoIter<String>>,
    skip: u64,
    left: u64,
    any: bool,
}

/// Local documents read in one view.
const LOCAL_PAGE: usize = 50;

impl LocalRows {
    fn new(exchange: &Exchange, entry: Arc<DatabaseEntry>, listing: Listing) -> Self {
        let name = |id: &str| id.strip_prefix("_local/").unwrap_or(id).to_owned();
        let last = listing.range.last.as_ref();
        let last = last.map(|(id, inclusive)| {
            let mut name = name(id);
            if *inclusive {
                name.push('\0');
            }
            name
        });
        let keys = listing.keys.as_ref();
        let names = keys.map(|keys| keys.iter().map(|id| name(id)).collect::<Vec<_>>());
        Self {
            app: Arc::clone(&exchange.app),
            caller: exchange.caller.clone(),
            entry,
            direction: listing.direction(),
            include_docs: listing.include_docs,
            range: (listing.range.first.as_deref().map(name), last),
            names: names.map(Vec::into_iter),
            skip: listing.skip,
            left: listing.limit.unwrap_or(u64::MAX),
            any: false,
        }
    }

    /// The next documents, by name or by range; none at the end.
    fn next_documents(&mut self) -> Result<Vec<(String, LocalDocument)>, PodError> {
        let pod = &self.app.pod;
        if let Some(names) = &mut self.names {
            for name in names {
                match pod.read_local(&self.entry, &self.caller, &name) {
                    Ok(document) => return Ok(vec![(name, document)]),
                    Err(PodError::Missing) => {}
                    Err(error) => return Err(error),
                }
            }
            return Ok(Vec::new());
        }
        let (from, to) = (self.range.0.as_deref(), self.range.1.as_deref());
        let rows = pod.list_locals(
            &self.entry,
            &self.caller,
            from,
            to,
            self.direction,
            LOCAL_PAGE,
        )?;
        if let Some((last, _)) = rows.last() {
            match self.direction {
                Direction::Forward => self.range.0 = Some(format!("{last}\0")),
                Direction::Reverse => self.range.1 = Some(last.clone()),
            }
        }
        Ok(rows)
    }

    /// The next rows as text; `None` at the end.
    fn next_page(&mut self) -> Result<Option<Vec<u8>>, PodError> {
        let mut out = Vec::new();
        while self.left > 0 && out.is_empty() {
            let documents = self.next_documents()?;
            if documents.is_empty() {
                self.left = 0;
            }
            for (name, document) in documents {
                if self.skip > 0 {
                    self.skip -= 1;
                } else if self.left > 0 {
                    self.left -= 1;
                    self.write_row(&mut out, &name, &document);
                }
            }
        }
        Ok((!out.is_empty()).then_some(out))
    }

    fn write_row(&mut self, out: &mut Vec<u8>, name: &str, document: &LocalDocument) {
        if self.any {
            out.extend_from_slice(b",\r\n");
        }
        self.any = true;
        let mut id = Vec::new();
        write_json_string(&mut id, &format!("_local/{name}"));
        out.extend_from_slice(b"{\"id\":");
        out.extend_from_slice(&id);
        out.extend_from_slice(b",\"key\":");
        out.extend_from_slice(&id);
        out.extend_from_slice(
            format!(",\"value\":{{\"rev\":\"0-{}\"}}", document.number).as_bytes(),
        );
        if self.include_docs {
            out.extend_from_slice(b",\"doc\":");
            write_document(out, name, document);
        }
        out.push(b'}');
    }
}

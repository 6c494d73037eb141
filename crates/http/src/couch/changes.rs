//! `_changes`: the feed of a database, once or for as long as somebody listens.
//!
//! A feed is a position that moves. It reads page after page, each over a short view, and between
//! them holds nothing but the position; when there is nothing to read it waits to be woken, which
//! costs a few hundred bytes. A page that many listeners are told at once is read and written
//! once, and shared.

use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use adea_base::Caller;
use adea_documents::json::{for_each_item, for_each_member, read_text, write_json_string};
use adea_documents::render::{Meta, Piece, Rendering, Shown, write_revision};
use adea_documents::selector::Selector;
use adea_pod::{ChangeRow, ChangesRange, DatabaseEntry, PodError};
use adea_store::{Direction, Subscription};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use crate::App;
use crate::body::Response;
use crate::couch::document::matches_etag;
use crate::couch::sending::Base64Content;
use crate::couch::{feed, intake};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// Rows looked at in one view.
const PAGE_ROWS: u64 = 2_000;
/// Bytes written before they are sent.
const PAGE_BYTES: usize = 128 << 10;
/// Pieces of documents with contents that are held at once.
const PAGE_PIECES: usize = 64;
/// How far a feed that does not wait follows what is written while it is told.
const LATE_ROWS_MAX: u64 = 100_000;
/// The heartbeat that `heartbeat=true` asks for.
const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(60);
/// The most ids a filter may name.
const IDS_MAX: usize = 100_000;

/// How a feed is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    Normal,
    Longpoll,
    Continuous,
    EventSource,
}

/// Which changes are told.
#[derive(Debug)]
enum Filter {
    All,
    Design,
    Ids(HashSet<String>),
    Selector(Box<Selector>),
}

/// What was asked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) form: Form,
    since: u64,
    limit: u64,
    descending: bool,
    all_leaves: bool,
    include_docs: bool,
    conflicts: bool,
    attachments: bool,
    encoding_info: bool,
    sequence_interval: u64,
    heartbeat: Option<Duration>,
    timeout: Duration,
    filter: Filter,
}

/// Reads a token: a sequence that this database gave out, or a bare number. One that it did not
/// give out, or has not reached, means nothing here: the reader starts anew and misses nothing.
fn read_since(text: &str, entry: &DatabaseEntry, newest: u64) -> Result<u64, ApiError> {
    let malformed = || ApiError::bad("Malformed sequence supplied in 'since' parameter.");
    let text = text.trim().trim_matches('"');
    if text == "now" {
        return Ok(newest);
    }
    let (number, tag) = match text.split_once('-') {
        Some((number, tag)) => (number, Some(tag)),
        None => (text, None),
    };
    let number: u64 = number.parse().map_err(|_| malformed())?;
    let known = tag.is_none_or(|tag| tag == entry.sequence_tag);
    if tag.is_some_and(|tag| {
        !tag.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_=+/".contains(&b))
    }) {
        return Err(malformed());
    }
    Ok(if known && number <= newest { number } else { 0 })
}

fn read_asked(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    body: &[u8],
    newest: u64,
) -> Result<Asked, ApiError> {
    let query = &exchange.query;
    let form = match query.get("feed") {
        None | Some("normal" | "") => Form::Normal,
        Some("longpoll") => Form::Longpoll,
        Some("continuous" | "live") => Form::Continuous,
        Some("eventsource") => Form::EventSource,
        Some(_) => {
            return Err(ApiError::bad(
                "Supported `feed` types: normal, continuous, live, longpoll, eventsource",
            ));
        }
    };
    let all_leaves = match query.get("style") {
        None | Some("main_only" | "") => false,
        Some("all_docs") => true,
        Some(_) => {
            return Err(ApiError::query(
                "Supported `style` values: main_only, all_docs",
            ));
        }
    };
    let last_event = exchange
        .headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok());
    let since = match last_event
        .filter(|id| !id.is_empty())
        .or(query.any(&["since", "last-event-id"]))
    {
        None | Some("" | "0") => 0,
        Some(text) => read_since(text, entry, newest)?,
    };
    let heartbeat = match query.get("heartbeat") {
        None | Some("false") => None,
        Some("true") => Some(HEARTBEAT_DEFAULT),
        Some(text) => match text.parse::<u64>() {
            Ok(milliseconds) if milliseconds > 0 => Some(Duration::from_millis(milliseconds)),
            Ok(_) | Err(_) => {
                return Err(ApiError::bad(
                    "The heartbeat value should be a positive integer (in milliseconds).",
                ));
            }
        },
    };
    let most = exchange.app.options.changes_timeout;
    let timeout = match query.count("timeout")? {
        None => most,
        Some(milliseconds) => Duration::from_millis(milliseconds).min(most),
    };
    Ok(Asked {
        form,
        since,
        limit: query.count("limit")?.unwrap_or(u64::MAX),
        descending: query.boolean("descending")?.unwrap_or(false)
            || query.get("dir") == Some("rev"),
        all_leaves,
        include_docs: query.boolean("include_docs")?.unwrap_or(false),
        conflicts: query.boolean("conflicts")?.unwrap_or(false),
        attachments: query.boolean("attachments")?.unwrap_or(false),
        encoding_info: query.boolean("att_encoding_info")?.unwrap_or(false),
        sequence_interval: query.count("seq_interval")?.unwrap_or(1).max(1),
        heartbeat,
        timeout,
        filter: read_filter(exchange, body)?,
    })
}

fn read_filter(exchange: &Exchange, body: &[u8]) -> Result<Filter, ApiError> {
    let query = &exchange.query;
    match query.get("filter") {
        None | Some("") => Ok(Filter::All),
        Some("_design") => Ok(Filter::Design),
        Some("_doc_ids") => {
            let from_body = member(body, "doc_ids")?;
            let ids = match (&from_body, query.get("doc_ids")) {
                (Some(ids), _) => read_ids(ids)?,
                (None, Some(ids)) => read_ids(ids.as_bytes())?,
                (None, None) => {
                    return Err(ApiError::bad("`doc_ids` filter parameter is not provided."));
                }
            };
            Ok(Filter::Ids(ids))
        }
        Some("_selector") => {
            let selector = member(body, "selector")?.ok_or_else(|| {
                ApiError::bad("Filter selector requires a `selector` in the request body.")
            })?;
            let value: Value = serde_json::from_slice(&selector)
                .map_err(|_| ApiError::from(adea_documents::json::JsonError::Invalid))?;
            if !value.is_object() {
                return Err(ApiError::bad("Selector error: expected a JSON object"));
            }
            let selector =
                Selector::parse(&value).map_err(|error| ApiError::bad(error.reason()))?;
            Ok(Filter::Selector(Box::new(selector)))
        }
        Some("_view") if query.get("view").is_none() => {
            Err(ApiError::bad("`view` filter parameter is not provided."))
        }
        Some("_view") => Err(ApiError::NotImplemented("A filter by a view")),
        Some(name) if !name.contains('/') => Err(ApiError::bad(
            "`filter` must be of the form `designname/filtername`",
        )),
        Some(name) => {
            let (ddoc, function) = name.split_once('/').unwrap_or((name, ""));
            let id = format!("_design/{ddoc}");
            let told = adea_pod::Told::default();
            let database = exchange.app.pod.database(&database_of(exchange)?)?;
            let which = adea_pod::Which::Winner;
            let found = exchange
                .app
                .pod
                .read(&database, &exchange.caller, &id, &which, told)?;
            let filters = member(&found.body.json, "filters")?.unwrap_or_default();
            if member(&filters, function)?.is_none() {
                return Err(ApiError::NoMember(function.to_owned()));
            }
            Err(ApiError::NotImplemented(
                "A filter by a design document's function",
            ))
        }
    }
}

fn database_of(exchange: &Exchange) -> Result<adea_base::DatabaseName, ApiError> {
    Ok(adea_base::DatabaseName::parse(&exchange.database)?)
}

/// The text of a member of a JSON body; an empty body has none.
fn member(body: &[u8], wanted: &str) -> Result<Option<Vec<u8>>, ApiError> {
    let mut found = None;
    if !body.iter().all(u8::is_ascii_whitespace) {
        for_each_member(body, |name, value| {
            if name == wanted {
                found = Some(adea_documents::json::normalise(value)?);
            }
            Ok::<_, ApiError>(())
        })?;
    }
    Ok(found)
}

fn read_ids(json: &[u8]) -> Result<HashSet<String>, ApiError> {
    let mut ids = HashSet::new();
    let is_array = for_each_item(json, |item| {
        if ids.len() == IDS_MAX {
            return Err(ApiError::TooMany(
                "Too many `doc_ids` in one filter.".into(),
            ));
        }
        ids.extend(read_text(item)?.map(std::borrow::Cow::into_owned));
        Ok::<_, ApiError>(())
    })?;
    if is_array {
        Ok(ids)
    } else {
        Err(ApiError::bad(
            "`doc_ids` filter parameter is not a list of doc ids.",
        ))
    }
}

/// Answers `_changes`.
pub(crate) async fn route(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
) -> Result<Response, ApiError> {
    if entry.name.is_users() {
        adea_pod::may_list_users(&entry, &exchange.caller)?;
    }
    let body = match exchange.method.as_str() {
        "GET" | "HEAD" => Bytes::new(),
        "POST" => {
            exchange.require_json()?;
            intake::whole(&mut exchange).await?
        }
        _ => return Err(ApiError::MethodNotAllowed("GET,HEAD,POST")),
    };
    // Listening begins before reading: what changes meanwhile is noticed after it.
    let subscription = exchange.app.pod.watch_database(&entry);
    // A database that was dropped before that would never be told to end.
    if exchange.app.pod.database(&entry.name)?.number != entry.number {
        return Err(PodError::from(adea_documents::DatabaseError::Missing).into());
    }
    let newest = exchange.app.pod.statistics(&entry)?.update_sequence;
    let asked = read_asked(&exchange, &entry, &body, newest)?;
    if asked.form == Form::Normal {
        return normal(&exchange, entry, asked, newest);
    }
    let state = Feed::new(&exchange, entry, asked, newest, Some(subscription));
    Ok(feed::response(state))
}

/// A feed that ends where the database stood when it was asked.
fn normal(
    exchange: &Exchange,
    entry: Arc<DatabaseEntry>,
    asked: Asked,
    newest: u64,
) -> Result<Response, ApiError> {
    let seed = format!("{} {newest} {}", entry.sequence_tag, exchange.raw_query);
    let hash = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let etag = format!("{hash:016X}");
    let cacheable = exchange.reads();
    if cacheable && matches_etag(exchange, &etag) {
        let mut response = reply::empty(StatusCode::NOT_MODIFIED);
        reply::set_etag(&mut response, &etag);
        return Ok(response);
    }
    let heartbeats = asked.heartbeat.is_some();
    let mut state = Feed::new(exchange, entry, asked, newest, None);
    let mut response = if heartbeats {
        feed::response(state)
    } else {
        let mut out = Vec::with_capacity(4 << 10);
        state.open(&mut out);
        if state.asked.attachments {
            return Ok(feed::streamed(state, out));
        }
        let more = state.page(&mut out)?;
        if more {
            feed::streamed(state, out)
        } else {
            state.close(&mut out);
            reply::json(StatusCode::OK, out)
        }
    };
    if cacheable {
        reply::set_etag(&mut response, &etag);
    }
    Ok(response)
}

/// Pages that listeners who wait at the same place are told: read and written once.
#[derive(Debug, Default)]
pub struct FeedCache {
    pages: Mutex<Vec<(PageKey, SharedPage)>>,
}

/// How many pages are kept: a page lives for as long as its listeners take to be told.
const SHARED_PAGES: usize = 64;

/// What a page's bytes depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PageKey {
    database: u64,
    after: u64,
    until: u64,
    form: Form,
    all_leaves: bool,
    include_docs: bool,
    conflicts: bool,
    encoding_info: bool,
    comma: bool,
}

/// A page, ready to be sent.
#[derive(Clone, Debug)]
struct SharedPage {
    text: Bytes,
    framed: Bytes,
    rows: u64,
    position: u64,
}

impl FeedCache {
    fn get(&self, key: &PageKey) -> Option<SharedPage> {
        let pages = self.pages.lock();
        let found = pages.iter().find(|(known, _)| known == key);
        found.map(|(_, page)| page.clone())
    }

    fn insert(&self, key: PageKey, page: SharedPage) {
        let mut pages = self.pages.lock();
        if pages.len() >= SHARED_PAGES {
            pages.remove(0);
        }
        pages.push((key, page));
    }
}

/// A piece of a feed.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// Bytes of its own.
    Own(Bytes),
    /// Bytes shared with others: as they are, and as a whole chunk of HTTP.
    Shared { text: Bytes, framed: Bytes },
}

/// A feed on its way.
pub(crate) struct Feed {
    app: Arc<App>,
    entry: Arc<DatabaseEntry>,
    caller: Caller,
    asked: Box<Asked>,
    subscription: Option<Subscription>,
    /// Everything up to here was told or passed over.
    position: u64,
    /// Where a walk downwards is.
    below: u64,
    /// Up to here there may be something to tell.
    until: u64,
    told: u64,
    /// Rows left that may be told beyond `until`, by a feed that does not wait.
    late: u64,
    /// What is written and not yet sent, where contents are to be sent along.
    pieces: VecDeque<Piece>,
    /// The content that is being sent.
    content: Option<Base64Content>,
    opened: bool,
    ended: bool,
    ends_at: Option<Instant>,
}

impl Feed {
    fn new(
        exchange: &Exchange,
        entry: Arc<DatabaseEntry>,
        asked: Asked,
        newest: u64,
        subscription: Option<Subscription>,
    ) -> Self {
        Self {
            app: Arc::clone(&exchange.app),
            entry,
            caller: exchange.caller.clone(),
            position: asked.since,
            below: newest,
            until: newest,
            asked: Box::new(asked),
            subscription,
            told: 0,
            late: LATE_ROWS_MAX,
            pieces: VecDeque::new(),
            content: None,
            opened: false,
            ended: false,
            ends_at: None,
        }
    }

    /// How the feed is told.
    pub(crate) fn form(&self) -> Form {
        self.asked.form
    }

    /// Writes what stands before the first row.
    pub(crate) fn open(&mut self, out: &mut Vec<u8>) {
        self.opened = true;
        if matches!(self.asked.form, Form::Normal | Form::Longpoll) {
            out.extend_from_slice(b"{\"results\":[\n");
        }
    }

    /// Writes what stands behind the last row.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) {
        self.ended = true;
        let last = if self.asked.descending && self.told > 0 {
            self.below
        } else {
            self.position
        };
        let pending = self.pending().unwrap_or(0);
        let tag = &self.entry.sequence_tag;
        let end = match self.asked.form {
            Form::Normal | Form::Longpoll => {
                format!("\n],\n\"last_seq\":\"{last}-{tag}\",\"pending\":{pending}}}\n\n")
            }
            Form::Continuous => {
                format!("{{\"last_seq\":\"{last}-{tag}\",\"pending\":{pending}}}\n\n")
            }
            Form::EventSource => "\n".to_owned(),
        };
        out.extend_from_slice(end.as_bytes());
    }

    /// How many changes are left behind the last one told.
    fn pending(&self) -> Result<u64, PodError> {
        let pod = &self.app.pod;
        if self.asked.descending {
            let all = pod.statistics(&self.entry)?.changes();
            return Ok(all.saturating_sub(self.told));
        }
        pod.changes_after(&self.entry, &self.caller, self.position)
    }

    /// Whether no more rows may be told.
    fn is_full(&self) -> bool {
        self.told >= self.asked.limit
    }

    /// Reads and writes rows until a page is full; true if there may be more right away.
    pub(crate) fn page(&mut self, out: &mut Vec<u8>) -> Result<bool, PodError> {
        if self.is_full() {
            return Ok(false);
        }
        let (after, until, direction) = if self.asked.descending {
            (
                self.asked.since.min(self.below),
                self.below,
                Direction::Reverse,
            )
        } else if self.asked.form == Form::Normal {
            // To the end of what is read: a document that is changed while it is walked to moves
            // behind `until`, and whoever asks only once would miss it.
            (self.position, u64::MAX, Direction::Forward)
        } else {
            (self.position, self.until, Direction::Forward)
        };
        if after >= until {
            return Ok(false);
        }
        let by_selector = matches!(self.asked.filter, Filter::Selector(_));
        let range = ChangesRange {
            after,
            until,
            direction,
            bodies: self.asked.include_docs || by_selector,
            conflicts: self.asked.conflicts && self.asked.include_docs,
            leaves: self.asked.all_leaves,
        };
        let begin = out.len();
        let mut page = Page {
            asked: &self.asked,
            tag: &self.entry.sequence_tag,
            out,
            pieces: VecDeque::new(),
            told: self.told,
            at: None,
        };
        let (mut looked, mut more) = (0, false);
        let (mut late, end) = (self.late, self.until);
        self.app
            .pod
            .read_changes(&self.entry, &self.caller, range, |row| {
                looked += 1;
                page.at = Some(row.sequence);
                page.row(row);
                if direction == Direction::Forward && row.sequence > end {
                    late = late.saturating_sub(1);
                }
                let full = page.told >= page.asked.limit || late == 0;
                let written = page.out.len().saturating_sub(begin);
                let heavy = written >= PAGE_BYTES || page.pieces.len() >= PAGE_PIECES;
                more = !full && (looked >= PAGE_ROWS || heavy);
                if full || more {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
        let Page {
            told, at, pieces, ..
        } = page;
        self.told = told;
        self.pieces = pieces;
        self.late = late;
        let full = self.is_full() || late == 0;
        match (direction, at) {
            (Direction::Reverse, Some(at)) => self.below = at.saturating_sub(u64::from(more)),
            (Direction::Reverse, None) => self.below = after,
            (Direction::Forward, Some(at)) if full || more => self.position = at,
            // Walked to its end: nothing lies behind the last row up to there.
            (Direction::Forward, at) => self.position = at.unwrap_or(end.max(after)),
        }
        Ok(more)
    }

    /// What the page that is due depends on, if others may be told the same.
    fn shared_key(&self) -> Option<PageKey> {
        let asked = &self.asked;
        // One that asks once is told one state after the other, and none that is older.
        let alike = asked.form != Form::Normal
            && matches!(asked.filter, Filter::All)
            && !asked.descending
            && asked.sequence_interval == 1
            && !asked.attachments
            && asked.limit == u64::MAX;
        (alike && self.position < self.until).then(|| PageKey {
            database: self.entry.number.0,
            after: self.position,
            until: self.until,
            form: asked.form,
            all_leaves: asked.all_leaves,
            include_docs: asked.include_docs,
            conflicts: asked.conflicts,
            encoding_info: asked.encoding_info,
            comma: self.told > 0,
        })
    }

    /// A page, made or shared; and whether there may be more right away.
    fn shared_page(&mut self) -> Result<(Option<Told>, bool), PodError> {
        let key = self.shared_key();
        if let Some(key) = &key
            && let Some(page) = self.app.feeds.get(key)
        {
            self.position = page.position;
            self.told += page.rows;
            let SharedPage { text, framed, .. } = page;
            return Ok((Some(Told::Shared { text, framed }), false));
        }
        let before = self.told;
        let mut out = Vec::new();
        let more = self.page(&mut out)?;
        if !self.pieces.is_empty() {
            self.pieces.push_back(Piece::Text(out));
            return Ok((None, more));
        }
        if out.is_empty() {
            return Ok((None, more));
        }
        let text = Bytes::from(out);
        if let Some(key) = key.filter(|_| !more) {
            let framed = crate::body::frame_chunk(&text);
            let page = SharedPage {
                text: text.clone(),
                framed: framed.clone(),
                rows: self.told - before,
                position: self.position,
            };
            self.app.feeds.insert(key, page);
            return Ok((Some(Told::Shared { text, framed }), more));
        }
        Ok((Some(Told::Own(text)), more))
    }

    /// The next piece to send; `None` when the feed has ended. Waits as long as it takes.
    pub(crate) async fn next(&mut self) -> Result<Option<Told>, PodError> {
        if let Some(piece) = self.next_piece().await? {
            return Ok(Some(Told::Own(piece)));
        }
        if self.ended {
            return Ok(None);
        }
        if !self.opened {
            let mut out = Vec::new();
            self.open(&mut out);
            // A listener is told at once that he is heard.
            if !out.is_empty() {
                return Ok(Some(Told::Own(Bytes::from(out))));
            }
        }
        loop {
            if let Some(subscription) = &mut self.subscription {
                subscription.mark_seen();
                self.until = self.until.max(subscription.position());
            }
            if let Some(piece) = self.advance()? {
                return Ok(Some(piece));
            }
            if let Some(piece) = self.next_piece().await? {
                return Ok(Some(Told::Own(piece)));
            }
            if let Some(piece) = self.wait().await? {
                return Ok(Some(piece));
            }
        }
    }

    /// The next of the pieces that wait to be sent.
    async fn next_piece(&mut self) -> Result<Option<Bytes>, PodError> {
        loop {
            if let Some(content) = &mut self.content {
                match content.next().await? {
                    Some(encoded) => return Ok(Some(encoded)),
                    None => self.content = None,
                }
            }
            match self.pieces.pop_front() {
                None => return Ok(None),
                Some(Piece::Text(text)) if text.is_empty() => {}
                Some(Piece::Text(text)) => return Ok(Some(Bytes::from(text))),
                Some(Piece::Data(attachment)) => {
                    let pod = &self.app.pod;
                    self.content = Some(Base64Content::open(pod, &attachment).await?);
                }
            }
        }
    }

    /// Tells what is there; `None` if there is nothing but to wait.
    fn advance(&mut self) -> Result<Option<Told>, PodError> {
        let (piece, more) = self.shared_page()?;
        let told = piece.is_some() || !self.pieces.is_empty();
        let over = self.is_full()
            || match self.asked.form {
                Form::Normal => !more,
                // It ends with the first rows; one that walks downwards never waits.
                Form::Longpoll => !more && (self.told > 0 || self.asked.descending),
                Form::Continuous | Form::EventSource => !more && self.asked.descending,
            };
        if told {
            self.ends_at = None;
        }
        if over {
            let mut out = match piece {
                Some(Told::Own(text) | Told::Shared { text, .. }) => text.to_vec(),
                None => Vec::new(),
            };
            self.close(&mut out);
            if !self.pieces.is_empty() {
                self.pieces.push_back(Piece::Text(out));
                return Ok(None);
            }
            return Ok(Some(Told::Own(Bytes::from(out))));
        }
        if !told && more {
            // Nothing of a whole page passed the filter: show that we are alive, and go on.
            return Ok(Some(self.heartbeat()));
        }
        Ok(piece)
    }

    fn heartbeat(&self) -> Told {
        Told::Own(match self.asked.form {
            Form::EventSource => Bytes::from_static(b"event: heartbeat\ndata: \n\n"),
            Form::Normal | Form::Longpoll | Form::Continuous => Bytes::from_static(b"\n"),
        })
    }

    /// Waits for a change; gives a heartbeat or the end when they are due first.
    async fn wait(&mut self) -> Result<Option<Told>, PodError> {
        let Some(subscription) = &mut self.subscription else {
            return Ok(None);
        };
        let due = match self.asked.heartbeat {
            Some(heartbeat) => Instant::now() + heartbeat,
            None => *self
                .ends_at
                .get_or_insert_with(|| Instant::now() + self.asked.timeout),
        };
        // The last change that was taken as seen may have been the end itself.
        let closed = subscription.is_closed();
        tokio::select! {
            biased;
            () = std::future::ready(()), if closed => {}
            () = subscription.changed() => {
                if !subscription.is_closed() {
                    return Ok(None);
                }
            }
            () = self.app.shutdown.wait() => {}
            () = tokio::time::sleep_until(due) => {
                if self.asked.heartbeat.is_some() {
                    return Ok(Some(self.heartbeat()));
                }
                let mut out = Vec::new();
                if self.asked.form != Form::EventSource {
                    out.push(b'\n');
                }
                self.close(&mut out);
                return Ok(Some(Told::Own(Bytes::from(out))));
            }
        }
        // The database or the server goes: the feed ends in good order.
        let mut out = Vec::new();
        self.close(&mut out);
        Ok(Some(Told::Own(Bytes::from(out))))
    }
}

/// Rows being written.
struct Page<'p> {
    asked: &'p Asked,
    tag: &'p str,
    out: &'p mut Vec<u8>,
    /// What was written before `out`, where contents stand in between.
    pieces: VecDeque<Piece>,
    told: u64,
    at: Option<u64>,
}

impl Page<'_> {
    fn row(&mut self, row: &ChangeRow<'_>) {
        if !self.passes(row) {
            return;
        }
        let out = &mut *self.out;
        match self.asked.form {
            Form::Normal | Form::Longpoll if self.told > 0 => out.extend_from_slice(b",\r\n"),
            Form::EventSource => out.extend_from_slice(b"data: "),
            Form::Normal | Form::Longpoll | Form::Continuous => {}
        }
        out.extend_from_slice(b"{\"seq\":");
        if self.told.is_multiple_of(self.asked.sequence_interval) {
            write_sequence(out, row.sequence, self.tag);
        } else {
            out.extend_from_slice(b"null");
        }
        out.extend_from_slice(b",\"id\":");
        write_json_string(out, row.id);
        out.extend_from_slice(b",\"changes\":[");
        for (n, leaf) in row.leaves.iter().enumerate() {
            out.extend_from_slice(if n == 0 { b"{\"rev\":" } else { b",{\"rev\":" });
            write_revision(out, &leaf.revision);
            out.push(b'}');
        }
        out.push(b']');
        if row.winner.deleted {
            out.extend_from_slice(b",\"deleted\":true");
        }
        if self.asked.include_docs {
            out.extend_from_slice(b",\"doc\":");
            self.document(row);
        }
        let out = &mut *self.out;
        out.push(b'}');
        match self.asked.form {
            Form::Normal | Form::Longpoll => {}
            Form::Continuous => out.push(b'\n'),
            Form::EventSource => {
                out.extend_from_slice(b"\nid: ");
                write_sequence(out, row.sequence, self.tag);
                out.extend_from_slice(b"\n\n");
            }
        }
        self.told += 1;
    }

    fn document(&mut self, row: &ChangeRow<'_>) {
        let Some(document) = &row.document else {
            self.out.extend_from_slice(b"null");
            return;
        };
        let meta = Meta {
            conflicts: document.conflicts.clone(),
            ..Meta::default()
        };
        let rendering = Rendering {
            id: row.id,
            revision: &row.winner.revision,
            deleted: row.winner.deleted,
            json: document.json,
            attachments: &document.attachments,
            meta: &meta,
            encoding_info: self.asked.encoding_info,
        };
        if !self.asked.attachments || document.attachments.is_empty() {
            return rendering.write(self.out);
        }
        let before = std::mem::take(self.out);
        self.pieces.push_back(Piece::Text(before));
        self.pieces.extend(rendering.pieces(|_| Shown::Data));
    }

    fn passes(&self, row: &ChangeRow<'_>) -> bool {
        match &self.asked.filter {
            Filter::All => true,
            Filter::Design => row.id.starts_with("_design/"),
            Filter::Ids(ids) => ids.contains(row.id),
            Filter::Selector(selector) => {
                let Some(document) = &row.document else {
                    return false;
                };
                let Ok(mut value) = serde_json::from_slice::<Value>(document.json) else {
                    return false;
                };
                if let Some(fields) = value.as_object_mut() {
                    fields.insert("_id".to_owned(), row.id.into());
                    fields.insert("_rev".to_owned(), row.winner.revision.to_string().into());
                    if row.winner.deleted {
                        fields.insert("_deleted".to_owned(), true.into());
                    }
                }
                selector.matches(&value)
            }
        }
    }
}

fn write_sequence(out: &mut Vec<u8>, sequence: u64, tag: &str) {
    out.push(b'"');
    out.extend_from_slice(itoa::Buffer::new().format(sequence).as_bytes());
    out.push(b'-');
    out.extend_from_slice(tag.as_bytes());
    out.push(b'"');
}

/// The headers of a feed that goes on.
pub(crate) fn set_type(response: &mut Response, form: Form) {
    let (kind, cache) = match form {
        Form::EventSource => ("text/event-stream", "no-cache"),
        Form::Normal | Form::Longpoll | Form::Continuous => ("application/json", "must-revalidate"),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
}

//! `_changes`: the feed of a database, once or for as long as somebody listens.
//!
//! A feed is a position that moves (`follow.rs`). It reads page after page, each over a short
//! view (`page.rs`), and between them holds nothing but the position; when there is nothing to
//! read it waits to be woken, which costs a few hundred bytes. A page that many listeners are told
//! at once is read and written once, and shared (`shared.rs`). Here is what was asked, and which of
//! the ways of telling answers it. Whoever listens does so before the first page is read: what is
//! written meanwhile is told after it, and nothing falls between.

mod filter;
mod follow;
mod function;
mod page;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use adea_pod::{Course, DatabaseEntry, PodError};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use crate::body::Response;
use crate::couch::changes::filter::{Filter, read_filter};
use crate::couch::document::matches_etag;
use crate::couch::{feed, intake};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

pub(crate) use follow::{Feed, Told};
pub use shared::FeedCache;

/// The heartbeat that `heartbeat=true` asks for.
pub(crate) const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(60);

/// How a feed is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    Normal,
    Longpoll,
    Continuous,
    EventSource,
}

/// What was asked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) form: Form,
    since: Course,
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

/// Reads a token: a place that this database gave out to this reader, or a bare number where all read
/// the same. One that it did not give out, or has not reached, means nothing here: the reader starts
/// anew and misses nothing.
fn read_since(
    exchange: &Exchange,
    text: &str,
    entry: &DatabaseEntry,
    newest: u64,
) -> Result<Course, ApiError> {
    let malformed = || ApiError::bad("Malformed sequence supplied in 'since' parameter.");
    let text = text.trim().trim_matches('"');
    if text == "now" {
        return Ok(Course::behind(entry, newest));
    }
    // A moment: what was changed after it is told, and rather too much than too little.
    if let Some(unix_s) = crate::wire::time::parse(text) {
        let sequence = exchange.app.pod.sequence_at(entry, unix_s)?;
        let sequence = sequence.map_or(newest, |sequence| sequence.min(newest));
        return Ok(Course::since_moment(entry, sequence));
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
    if entry.tells_each_his_own() {
        let place = Course::from_token(entry, text, newest);
        return Ok(place.unwrap_or_else(|| Course::from_beginning(entry)));
    }
    let known = known && number <= newest;
    Ok(Course::behind(entry, if known { number } else { 0 }))
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
        None | Some("" | "0") => Course::from_beginning(entry),
        Some(text) => read_since(exchange, text, entry, newest)?,
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
    let most = exchange.options.changes_timeout;
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
        filter: read_filter(exchange, entry, body)?,
    })
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
    let subscription = exchange.app.pod.watch_changes(&entry)?;
    // A database that was dropped before that would never be told to end.
    if exchange.app.pod.database(&entry.name)?.number != entry.number {
        return Err(PodError::from(adea_documents::DatabaseError::Missing).into());
    }
    let newest = exchange.app.pod.statistics(&entry)?.update_sequence;
    let asked = read_asked(&exchange, &entry, &body, newest)?;
    if let Filter::Function(called) = &asked.filter {
        called
            .attempt(&exchange.app, &entry, &exchange.caller)
            .await?;
    }
    if asked.form == Form::Normal {
        return normal(&exchange, entry, asked, newest).await;
    }
    let state = Feed::new(&exchange, entry, asked, newest, Some(subscription));
    Ok(feed::response(state))
}

/// A feed that ends where the database stood when it was asked.
async fn normal(
    exchange: &Exchange,
    entry: Arc<DatabaseEntry>,
    asked: Asked,
    newest: u64,
) -> Result<Response, ApiError> {
    let (tag, reading) = (&entry.sequence_tag, entry.reading());
    let seed = format!("{tag} {newest} {reading} {}", exchange.raw_query);
    let etag = reply::fingerprint(0, seed.as_bytes());
    let cacheable = exchange.reads();
    if cacheable && matches_etag(exchange, &etag) {
        let mut response = reply::empty(StatusCode::NOT_MODIFIED);
        reply::set_etag(&mut response, &etag);
        return Ok(response);
    }
    let (heartbeats, contents) = (asked.heartbeat.is_some(), asked.attachments);
    let mut state = Feed::new(exchange, entry, asked, newest, None);
    let mut response = if heartbeats {
        feed::response(state)
    } else {
        let mut out = Vec::with_capacity(4 << 10);
        state.open(&mut out);
        if contents {
            return Ok(feed::streamed(state, out));
        }
        let more = state.first_page(&mut out).await?;
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

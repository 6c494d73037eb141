//! The feed of databases made, changed and dropped: `_db_updates`.
//!
//! A row is the last event of a kind in the life of a database, under its sequence; one that changes
//! often moves to the end of the feed and does not fill it. As every feed it is a position, read
//! from page by page, and a subscription that is there before the first page is read.

use std::sync::Arc;
use std::time::Duration;

use adea_base::Caller;
use adea_documents::json::write_json_string;
use adea_pod::{DatabaseUpdate, PodError, Standing};
use adea_store::Subscription;
use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use crate::App;
use crate::body::Response;
use crate::couch::changes::{Form, Told};
use crate::couch::document::matches_etag;
use crate::couch::feed::{self, Telling};
use crate::couch::sending::aside;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// Rows read and written at once.
const PAGE_ROWS: usize = 500;

/// How long a feed that has told something waits before it looks again: what many writes change
/// meanwhile is told once.
const PAUSE: Duration = Duration::from_millis(25);

/// What was asked.
struct Asked {
    form: Form,
    since: u64,
    limit: u64,
    descending: bool,
    heartbeat: Option<Duration>,
    timeout: Duration,
}

fn read_asked(exchange: &Exchange, tag: &str, horizon: u64) -> Result<Asked, ApiError> {
    let query = &exchange.query;
    let form = match query.get("feed") {
        None | Some("normal" | "") => Form::Normal,
        Some("longpoll") => Form::Longpoll,
        Some("continuous" | "live") => Form::Continuous,
        Some("eventsource") => Form::EventSource,
        Some(_) => {
            return Err(ApiError::bad(
                "Supported `feed` types: normal, continuous, longpoll, eventsource",
            ));
        }
    };
    let number = |name: &str| {
        let Some(text) = query.get(name) else {
            return Ok(None);
        };
        let parsed = text.parse::<u64>();
        parsed
            .map(Some)
            .map_err(|_| ApiError::bad("invalid_integer"))
    };
    let heartbeat = match query.get("heartbeat") {
        None | Some("false") => None,
        Some("true") => Some(crate::couch::changes::HEARTBEAT_DEFAULT),
        Some(_) => match number("heartbeat")? {
            Some(0) | None => {
                return Err(ApiError::bad(
                    "The heartbeat value should be a positive integer (in milliseconds).",
                ));
            }
            Some(milliseconds) => Some(Duration::from_millis(milliseconds)),
        },
    };
    let last_event = exchange.headers.get("last-event-id");
    let last_event = last_event.and_then(|id| id.to_str().ok());
    let since = last_event
        .filter(|id| !id.is_empty())
        .or(query.get("since"));
    let most = exchange.options.changes_timeout;
    Ok(Asked {
        form,
        since: read_since(since.unwrap_or("0"), tag, horizon)?,
        limit: number("limit")?.unwrap_or(u64::MAX),
        descending: query.is_true("descending"),
        heartbeat,
        timeout: number("timeout")?.map_or(most, |ms| Duration::from_millis(ms).min(most)),
    })
}

/// Reads a token of this feed. One that was not given out here begins anew, and misses nothing.
fn read_since(text: &str, tag: &str, horizon: u64) -> Result<u64, ApiError> {
    let malformed = || ApiError::bad("Malformed sequence supplied in 'since' parameter.");
    let text = text.trim().trim_matches('"');
    match text {
        "now" => return Ok(horizon),
        "" => return Ok(0),
        _ => {}
    }
    let (number, given) = match text.split_once('-') {
        Some((number, given)) => (number, Some(given)),
        None => (text, None),
    };
    let number: u64 = number.parse().map_err(|_| malformed())?;
    let known = given.is_none_or(|given| given == tag) && number <= horizon;
    Ok(if known { number } else { 0 })
}

/// Answers for `/_db_updates`.
pub(crate) async fn route(exchange: Exchange) -> Result<Response, ApiError> {
    if !exchange.reads() {
        return Err(ApiError::MethodNotAllowed("GET"));
    }
    exchange.require_server_admin()?;
    let pod = &exchange.app.pod;
    // Listening begins before reading: what changes meanwhile is noticed after it.
    let subscription = pod.watch_all_databases();
    // The first time, all databases are read.
    let horizon = aside(|| pod.database_updates(0, 0, false))?.horizon;
    let tag = pod.server_tag();
    let asked = read_asked(&exchange, &tag, horizon)?;
    let waits = asked.form != Form::Normal;
    let etag = reply::fingerprint(horizon, format!("{tag} {}", exchange.raw_query).as_bytes());
    if !waits && matches_etag(&exchange, &etag) {
        let mut response = reply::empty(StatusCode::NOT_MODIFIED);
        reply::set_etag(&mut response, &etag);
        return Ok(response);
    }
    let feed = Updates {
        app: Arc::clone(&exchange.app),
        tag,
        position: asked.since,
        asked,
        subscription: waits.then_some(subscription),
        standing: waits.then(|| pod.follow_caller(&exchange.caller)).flatten(),
        caller: exchange.caller.clone(),
        told: 0,
        opened: false,
        ended: false,
        ends_at: None,
    };
    let mut response = feed::response(feed);
    if !waits {
        reply::set_etag(&mut response, &etag);
    }
    Ok(response)
}

/// The feed on its way to one listener.
struct Updates {
    app: Arc<App>,
    tag: String,
    asked: Asked,
    subscription: Option<Subscription>,
    caller: Caller,
    /// What may end the feed besides, where it has a listener whose rights may end.
    standing: Option<Box<Standing>>,
    /// Everything up to here was told.
    position: u64,
    told: u64,
    opened: bool,
    ended: bool,
    ends_at: Option<Instant>,
}

impl Telling for Updates {
    fn form(&self) -> Form {
        self.asked.form
    }

    async fn next(&mut self) -> Result<Option<Told>, PodError> {
        if self.ended {
            return Ok(None);
        }
        let mut out = Vec::new();
        if !self.opened {
            self.opened = true;
            if matches!(self.asked.form, Form::Normal | Form::Longpoll) {
                out.extend_from_slice(b"{\"results\":[\n");
            }
            // A listener sees at once that it is listened to.
            if self.asked.form == Form::Longpoll {
                return Ok(Some(Told::Own(Bytes::from(out))));
            }
        }
        loop {
            if !self.is_heard()? {
                self.close(&mut out);
                return Ok(Some(Told::Own(Bytes::from(out))));
            }
            if let Some(subscription) = &mut self.subscription {
                subscription.mark_seen();
            }
            let before = self.told;
            let more = self.page(&mut out)?;
            if self.is_over(more) {
                self.close(&mut out);
                return Ok(Some(Told::Own(Bytes::from(out))));
            }
            if self.told > before || !out.is_empty() {
                self.ends_at = None;
                return Ok(Some(Told::Own(Bytes::from(out))));
            }
            if let Some(told) = self.wait().await {
                return Ok(Some(told));
            }
        }
    }
}

impl Updates {
    /// Whether the listener may still listen.
    fn is_heard(&mut self) -> Result<bool, PodError> {
        let Some(standing) = &mut self.standing else {
            return Ok(true);
        };
        if !standing.is_due() {
            return Ok(true);
        }
        let again = self.app.pod.caller_again(&self.caller, standing)?;
        let Some(caller) = again.filter(Caller::is_admin) else {
            return Ok(false);
        };
        self.caller = caller;
        Ok(true)
    }

    fn is_over(&self, more: bool) -> bool {
        let full = self.told >= self.asked.limit;
        full || !more
            && match self.asked.form {
                Form::Normal => true,
                Form::Longpoll => self.told > 0 || self.asked.descending,
                Form::Continuous | Form::EventSource => self.asked.descending,
            }
    }

    /// Writes the next rows; true if there may be more right away.
    fn page(&mut self, out: &mut Vec<u8>) -> Result<bool, PodError> {
        let left = self.asked.limit.saturating_sub(self.told);
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        // Newest first there is one page, of all that is known.
        let most = if self.asked.descending {
            most
        } else {
            most.min(PAGE_ROWS)
        };
        let (after, descending) = (self.position, self.asked.descending);
        let page = self.app.pod.database_updates(after, most, descending)?;
        for row in &page.rows {
            self.row(out, row);
        }
        let full = page.rows.len() >= most;
        self.position = match page.rows.last() {
            Some(last) if full || descending => last.sequence,
            // All that is known was told.
            Some(_) | None => page.horizon.max(after),
        };
        Ok(full && !descending)
    }

    fn row(&mut self, out: &mut Vec<u8>, row: &DatabaseUpdate) {
        match self.asked.form {
            Form::Normal | Form::Longpoll if self.told > 0 => out.extend_from_slice(b",\r\n"),
            Form::EventSource => out.extend_from_slice(b"data: "),
            Form::Normal | Form::Longpoll | Form::Continuous => {}
        }
        out.extend_from_slice(b"{\"db_name\":");
        write_json_string(out, &row.name);
        let (kind, sequence, tag) = (row.kind.word(), row.sequence, &self.tag);
        let rest = format!(",\"type\":\"{kind}\",\"seq\":\"{sequence}-{tag}\"}}");
        out.extend_from_slice(rest.as_bytes());
        match self.asked.form {
            Form::Normal | Form::Longpoll => {}
            Form::Continuous => out.push(b'\n'),
            Form::EventSource => {
                out.extend_from_slice(format!("\nid: \"{sequence}-{tag}\"\n\n").as_bytes());
            }
        }
        self.told += 1;
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.ended = true;
        let (last, tag) = (self.position, &self.tag);
        let end = match self.asked.form {
            Form::Normal | Form::Longpoll => format!("\n],\n\"last_seq\":\"{last}-{tag}\"}}\n"),
            Form::Continuous => format!("{{\"last_seq\":\"{last}-{tag}\"}}\n"),
            Form::EventSource => "\n".to_owned(),
        };
        out.extend_from_slice(end.as_bytes());
    }

    fn heartbeat(&self) -> Told {
        Told::Own(match self.asked.form {
            Form::EventSource => Bytes::from_static(b"event: heartbeat\ndata: \n\n"),
            Form::Normal | Form::Longpoll | Form::Continuous => Bytes::from_static(b"\n"),
        })
    }

    /// Waits for a change; gives a heartbeat or the end when they are due first.
    async fn wait(&mut self) -> Option<Told> {
        let subscription = self.subscription.as_mut()?;
        let now = Instant::now();
        let due = match self.asked.heartbeat {
            Some(heartbeat) => now + heartbeat,
            None => *self.ends_at.get_or_insert(now + self.asked.timeout),
        };
        tokio::select! {
            biased;
            () = subscription.changed() => {
                tokio::time::sleep(PAUSE).await;
                return None;
            }
            () = self.app.shutdown.wait() => {}
            () = Standing::due_of(&mut self.standing) => return None,
            () = tokio::time::sleep_until(due) => {
                if self.asked.heartbeat.is_some() {
                    return Some(self.heartbeat());
                }
            }
        }
        let mut out = Vec::new();
        self.close(&mut out);
        Some(Told::Own(Bytes::from(out)))
    }
}

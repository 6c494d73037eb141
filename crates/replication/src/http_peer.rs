//! A database of another server, spoken to over HTTP.
//!
//! Each request carries who asks; answers are read within bounds. Verbs about documents: see below.

mod fetching;
mod opening;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use adea_base::Entropy;
use adea_outbound::{Answer, Body, Client, OutboundError};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::description::{Filter, as_parameters};
use crate::endpoint::Remote;
use crate::lacking;
use crate::peer::{
    ChangeRow, ChangesAsked, ChangesPage, Fetched, FetchedRows, Info, Later, LocalDocument, Peer,
    PeerError, Sending, Wanted, WriteFailure,
};
use crate::raw::unreadable;
use crate::rows::Rows;
use crate::sequence::Sequence;
use crate::transfer::Contents;

/// The longest answer that is no document: an error, an info.
const SMALL_ANSWER_MAX: u64 = 1 << 20;
/// The longest answer about many documents, and all rows of a page of a feed together.
const ANSWER_MAX: u64 = 64 << 20;
/// The longest document, as JSON.
const DOCUMENT_MAX: usize = 64 << 20;
/// The longest row of a feed: a document may have thousands of leaves.
const CHANGE_MAX: usize = 8 << 20;
/// The longest list of what the target has in a URL.
const URL_LIST_MAX: usize = 4_000;

/// How to speak to a peer.
#[derive(Clone, Debug)]
pub struct HttpPeerOptions {
    /// How long it may be silent.
    pub timeout: Duration,
    /// Requests under way at once.
    pub connections: usize,
    /// Changes of one batch.
    pub batch: usize,
    /// Makes boundaries.
    pub entropy: Entropy,
}

/// A database of another server.
pub struct HttpPeer {
    client: Client,
    remote: Remote,
    headers: HeaderMap,
    shown: String,
    options: HttpPeerOptions,
    room: Arc<Semaphore>,
}

/// What a request is about, besides its address.
struct Asking<'a> {
    method: Method,
    /// Behind the database's path.
    rest: &'a str,
    accept: &'static str,
    content_type: Option<String>,
    body: Body,
}

impl<'a> Asking<'a> {
    fn get(rest: &'a str) -> Self {
        Self {
            method: Method::GET,
            rest,
            accept: "application/json",
            content_type: None,
            body: Body::empty(),
        }
    }

    fn json(method: Method, rest: &'a str, body: impl Into<bytes::Bytes>) -> Self {
        Self {
            method,
            rest,
            accept: "application/json",
            content_type: Some("application/json".to_owned()),
            body: Body::full(body),
        }
    }
}

impl HttpPeer {
    /// The database `remote`, by requests that `client` sends.
    #[must_use]
    pub fn new(client: Client, remote: Remote, options: HttpPeerOptions) -> Self {
        let mut headers = remote.headers.clone();
        if let Some(authorization) = remote.address.authorization() {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        let agent = concat!("adea/", env!("CARGO_PKG_VERSION"), " (replicator)");
        let agent = HeaderValue::from_static(agent);
        headers.entry(header::USER_AGENT).or_insert(agent);
        Self {
            client,
            shown: remote.address.to_string(),
            headers,
            remote,
            room: Arc::new(Semaphore::new(options.connections)),
            options,
        }
    }

    /// Waits until one more request may be under way.
    async fn room(&self) -> Result<OwnedSemaphorePermit, PeerError> {
        let room = Arc::clone(&self.room).acquire_owned().await;
        room.map_err(|_| PeerError::Transient("ending".to_owned()))
    }

    async fn send(&self, asking: Asking<'_>) -> Result<Answer, PeerError> {
        let malformed =
            || PeerError::Nonsense(format!("no request can be made for {}", asking.rest));
        let uri = self.remote.address.at(asking.rest).ok_or_else(malformed)?;
        let mut request = Request::builder().method(asking.method).uri(uri);
        if let Some(headers) = request.headers_mut() {
            headers.extend(self.headers.clone());
            headers.insert(header::ACCEPT, HeaderValue::from_static(asking.accept));
            if let Some(kind) = asking.content_type {
                let kind = HeaderValue::from_str(&kind);
                headers.insert(
                    header::CONTENT_TYPE,
                    kind.map_err(|e| PeerError::Nonsense(e.to_string()))?,
                );
            }
        }
        let request = request
            .body(asking.body)
            .map_err(|error| PeerError::Nonsense(error.to_string()))?;
        let sent = self.client.send_within(request, self.options.timeout).await;
        sent.map_err(of_outbound)
    }

    /// Sends a request whose answer is short, and reads it if it is one of `good`.
    async fn ask(&self, asking: Asking<'_>, most: u64) -> Result<bytes::Bytes, PeerError> {
        let _room = self.room().await?;
        let answer = self.send(asking).await?;
        if !answer.status.is_success() {
            return Err(refusal(answer).await);
        }
        answer.whole(most).await.map_err(of_outbound)
    }

    async fn read_info(&self) -> Result<Info, PeerError> {
        #[derive(Deserialize)]
        struct Told {
            update_seq: Option<Value>,
            instance_start_time: Option<Value>,
        }
        let told = self.ask(Asking::get(""), SMALL_ANSWER_MAX).await;
        let told = told.map_err(|error| {
            if error == PeerError::Missing {
                PeerError::NoDatabase
            } else {
                error
            }
        })?;
        let told: Told = parsed(&told)?;
        match (told.update_seq, told.instance_start_time) {
            (Some(sequence), Some(instance)) => Ok(Info {
                update_sequence: Sequence::of_value(Some(&sequence)),
                instance: as_text(&instance),
            }),
            _ => Err(PeerError::NoDatabase),
        }
    }

    async fn make(&self, parameters: &[(String, String)]) -> Result<(), PeerError> {
        let rest = query(
            "",
            parameters
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let made = self
            .ask(Asking::json(Method::PUT, &rest, ""), SMALL_ANSWER_MAX)
            .await;
        match made {
            // What else is wrong shows when it is opened.
            Ok(_) | Err(PeerError::Refused { .. } | PeerError::Missing | PeerError::NoDatabase) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn read_changes(
        &self,
        asked: &ChangesAsked,
        since: &Sequence,
        wait: bool,
    ) -> Result<ChangesPage, PeerError> {
        let (parameters, body) = self.changes_request(asked, since, wait);
        let rest = query(
            "_changes",
            parameters
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let asking = match body {
            Some(body) => Asking::json(Method::POST, &rest, body),
            None => Asking::get(&rest),
        };
        // One that waits takes no room from those that work.
        let _room = if wait { None } else { Some(self.room().await?) };
        let mut answer = self.send(asking).await?;
        if !answer.status.is_success() {
            return Err(refusal(answer).await);
        }
        let (mut rows, mut page, mut length) = (Rows::new(CHANGE_MAX), Vec::new(), 0);
        while let Some(piece) = answer.next().await.map_err(of_outbound)? {
            length += piece.len() as u64;
            rows.feed(&piece);
            while let Some(row) = rows.next().map_err(of_rows)? {
                page.push(read_change(&row)?);
            }
            if page.len() > asked.limit {
                return Err(PeerError::Nonsense(
                    "more changes than were asked for".to_owned(),
                ));
            }
            if length > ANSWER_MAX {
                // Fewer rows may do.
                return Err(PeerError::TooLarge);
            }
        }
        let around = rows.finish().map_err(of_rows)?;
        read_page(page, &around)
    }

    fn changes_request(
        &self,
        asked: &ChangesAsked,
        since: &Sequence,
        wait: bool,
    ) -> (Vec<(String, String)>, Option<String>) {
        let heartbeat = (self.options.timeout / 3).as_millis().max(1);
        let mut parameters: Vec<(String, String)> = [
            ("feed", if wait { "longpoll" } else { "normal" }.to_owned()),
            (
                "style",
                if asked.winners_only {
                    "main_only"
                } else {
                    "all_docs"
                }
                .to_owned(),
            ),
            ("since", since.as_parameter()),
            ("limit", asked.limit.to_string()),
            ("heartbeat", heartbeat.to_string()),
            ("seq_interval", self.options.batch.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let mut add =
            |name: &str, value: &str| parameters.push((name.to_owned(), value.to_owned()));
        let body = match asked.filter.as_ref() {
            Filter::All => None,
            Filter::Ids(ids) => {
                add("filter", "_doc_ids");
                Some(serde_json::json!({ "doc_ids": ids }).to_string())
            }
            Filter::Selector(selector) => {
                add("filter", "_selector");
                Some(serde_json::json!({ "selector": selector }).to_string())
            }
            Filter::Function { name, parameters } => {
                add("filter", name);
                for (name, value) in as_parameters(parameters) {
                    add(&name, &value);
                }
                None
            }
        };
        (parameters, body)
    }

    async fn read_filter_code(&self, design: &str, name: &str) -> Result<String, PeerError> {
        let rest = format!("_design/{}", segment(design));
        let design = self.ask(Asking::get(&rest), ANSWER_MAX).await?;
        let design: Map<String, Value> = parsed(&design)?;
        let code = design.get("filters").and_then(|filters| filters.get(name));
        code.and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or(PeerError::Missing)
    }

    async fn get_local(&self, name: &str) -> Result<Option<LocalDocument>, PeerError> {
        let rest = format!("_local/{}", segment(name));
        let read = match self.ask(Asking::get(&rest), ANSWER_MAX).await {
            Ok(read) => read,
            Err(PeerError::Missing) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut json: Map<String, Value> = parsed(&read)?;
        json.remove("_id");
        let revision = json.remove("_rev");
        Ok(Some(LocalDocument {
            revision: revision.as_ref().and_then(Value::as_str).map(str::to_owned),
            json,
        }))
    }

    async fn put_local(&self, name: &str, document: &LocalDocument) -> Result<String, PeerError> {
        #[derive(Deserialize)]
        struct Written {
            rev: String,
        }
        let rest = format!("_local/{}", segment(name));
        let mut json = document.json.clone();
        json.insert("_id".to_owned(), format!("_local/{name}").into());
        if let Some(revision) = &document.revision {
            json.insert("_rev".to_owned(), revision.clone().into());
        }
        let body = Value::Object(json).to_string();
        let put = self
            .ask(Asking::json(Method::PUT, &rest, body), SMALL_ANSWER_MAX)
            .await;
        match put {
            Ok(written) => Ok(parsed::<Written>(&written)?.rev),
            Err(PeerError::Refused { status: 409, .. }) => {
                // An attempt of ours that was not answered may have been done.
                match self.get_local(name).await? {
                    Some(LocalDocument {
                        revision: Some(revision),
                        json,
                    }) if json == document.json => Ok(revision),
                    _ => Err(PeerError::Refused {
                        status: 409,
                        error: "conflict".to_owned(),
                        reason: "Somebody else writes this checkpoint.".to_owned(),
                    }),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn commit_all(&self) -> Result<String, PeerError> {
        #[derive(Deserialize)]
        struct Committed {
            instance_start_time: Value,
        }
        let asking = Asking::json(Method::POST, "_ensure_full_commit", "");
        let committed = self.ask(asking, SMALL_ANSWER_MAX).await?;
        Ok(as_text(
            &parsed::<Committed>(&committed)?.instance_start_time,
        ))
    }

    async fn ask_lacking(&self, rows: &[ChangeRow]) -> Result<Vec<Wanted>, PeerError> {
        let question = lacking::question(rows)?;
        let asking = Asking::json(Method::POST, "_revs_diff", question);
        let answer = self.ask(asking, ANSWER_MAX).await?;
        lacking::read(rows, &answer)
    }
}

impl Peer for HttpPeer {
    fn shown(&self) -> &str {
        &self.shown
    }

    fn is_local(&self) -> bool {
        false
    }

    fn info(&self) -> Later<'_, Info> {
        Box::pin(self.read_info())
    }

    fn create<'a>(&'a self, parameters: &'a [(String, String)]) -> Later<'a, ()> {
        Box::pin(self.make(parameters))
    }

    fn changes<'a>(
        &'a self,
        asked: &'a ChangesAsked,
        since: &'a Sequence,
        wait: bool,
    ) -> Later<'a, ChangesPage> {
        Box::pin(self.read_changes(asked, since, wait))
    }

    fn filter_code<'a>(&'a self, design: &'a str, name: &'a str) -> Later<'a, String> {
        Box::pin(self.read_filter_code(design, name))
    }

    fn lacking<'a>(&'a self, rows: &'a [ChangeRow]) -> Later<'a, Vec<Wanted>> {
        Box::pin(self.ask_lacking(rows))
    }

    fn fetch<'a>(&'a self, wanted: &'a [Wanted]) -> Later<'a, Box<dyn FetchedRows + 'a>> {
        Box::pin(self.fetch_many(wanted))
    }

    fn open<'a>(&'a self, wanted: &'a Wanted, all: bool) -> Later<'a, Box<dyn Sending + 'a>> {
        Box::pin(self.open_one(wanted, all))
    }

    fn write<'a>(&'a self, documents: &'a [bytes::Bytes]) -> Later<'a, Vec<WriteFailure>> {
        Box::pin(self.write_many(documents))
    }

    fn write_with<'a>(
        &'a self,
        id: &'a str,
        json: bytes::Bytes,
        contents: &'a mut Contents<'_>,
    ) -> Later<'a, ()> {
        Box::pin(self.write_one(id, json, contents))
    }

    fn read_local<'a>(&'a self, name: &'a str) -> Later<'a, Option<LocalDocument>> {
        Box::pin(self.get_local(name))
    }

    fn write_local<'a>(&'a self, name: &'a str, document: &'a LocalDocument) -> Later<'a, String> {
        Box::pin(self.put_local(name, document))
    }

    fn commit(&self) -> Later<'_, String> {
        Box::pin(self.commit_all())
    }
}

/// A row of a feed.
fn read_change(row: &[u8]) -> Result<ChangeRow, PeerError> {
    #[derive(Deserialize)]
    struct Told {
        seq: Option<Value>,
        id: Option<String>,
        #[serde(default)]
        changes: Vec<Change>,
    }
    #[derive(Deserialize)]
    struct Change {
        rev: String,
    }
    let told: Told = parsed(row)?;
    let id = told.id.filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| PeerError::Nonsense("a change without an id".to_owned()))?;
    if told.changes.is_empty() {
        return Err(PeerError::Nonsense(format!(
            "a change of {id} without a revision"
        )));
    }
    Ok(ChangeRow {
        id,
        revisions: told.changes.into_iter().map(|change| change.rev).collect(),
        sequence: told.seq.map(|seq| Sequence::of_json(&seq.to_string())),
    })
}

/// A page, from its rows and what stood around them.
fn read_page(rows: Vec<ChangeRow>, around: &[u8]) -> Result<ChangesPage, PeerError> {
    #[derive(Deserialize)]
    struct Told {
        last_seq: Option<Value>,
        pending: Option<u64>,
    }
    let told: Told = parsed(around)?;
    let last = told.last_seq.map(|seq| Sequence::of_json(&seq.to_string()));
    let last = last.or_else(|| rows.last().and_then(|row| row.sequence.clone()));
    Ok(ChangesPage {
        last: last.ok_or_else(|| PeerError::Nonsense("a feed without a sequence".to_owned()))?,
        rows,
        pending: told.pending,
    })
}

fn as_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn parsed<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, PeerError> {
    serde_json::from_slice(text).map_err(|error| unreadable(&error))
}

fn of_rows(error: crate::rows::RowsError) -> PeerError {
    PeerError::Nonsense(error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
fn of_outbound(error: OutboundError) -> PeerError {
    match &error {
        OutboundError::TooLarge(_) | OutboundError::Malformed(_) => {
            PeerError::Nonsense(error.to_string())
        }
        OutboundError::Tls(_) => PeerError::Refused {
            status: 0,
            error: "tls".to_owned(),
            reason: error.to_string(),
        },
        OutboundError::Resolve(_)
        | OutboundError::Connect(..)
        | OutboundError::Proxy(..)
        | OutboundError::Timeout(_)
        | OutboundError::Closed
        | OutboundError::GivenUp => PeerError::Transient(error.to_string()),
    }
}

/// Why a peer did not do what was asked, from its answer.
async fn refusal(answer: Answer) -> PeerError {
    #[derive(Default, Deserialize)]
    struct Told {
        #[serde(default)]
        error: String,
        #[serde(default)]
        reason: Value,
    }
    let status = answer.status;
    let body = match answer.whole(SMALL_ANSWER_MAX).await {
        Ok(body) => body,
        Err(error) if status.is_server_error() => return of_outbound(error),
        Err(_) => bytes::Bytes::new(),
    };
    let Told { error, reason } = serde_json::from_slice(&body).unwrap_or_default();
    let reason = as_text(&reason);
    match status {
        StatusCode::UNAUTHORIZED => PeerError::Unauthorized(reason),
        StatusCode::FORBIDDEN => PeerError::Forbidden(reason),
        StatusCode::NOT_FOUND if reason == "Database does not exist." || reason == "no_db_file" => {
            PeerError::NoDatabase
        }
        StatusCode::NOT_FOUND => PeerError::Missing,
        StatusCode::PAYLOAD_TOO_LARGE => PeerError::TooLarge,
        StatusCode::METHOD_NOT_ALLOWED => PeerError::Unsupported,
        StatusCode::PRECONDITION_FAILED if error == "missing_stub" => {
            PeerError::MissingStub(reason)
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            PeerError::Transient(format!("{status}"))
        }
        StatusCode::NOT_IMPLEMENTED => PeerError::Unsupported,
        status if status.is_server_error() => {
            PeerError::Transient(format!("{status} {error} {reason}"))
        }
        status => PeerError::Refused {
            status: status.as_u16(),
            error,
            reason,
        },
    }
}

/// `text` as a segment of a path or a value of a query.
fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A document's path: the slash of a design document's stays.
fn document_path(id: &str) -> String {
    match id.strip_prefix("_design/") {
        Some(name) => format!("_design/{}", segment(name)),
        None => segment(id),
    }
}

/// A path with a query.
fn query<'a>(path: &str, parameters: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = path.to_owned();
    for (n, (name, value)) in parameters.enumerate() {
        out.push(if n == 0 { '?' } else { '&' });
        out.push_str(&segment(name));
        out.push('=');
        out.push_str(&segment(value));
    }
    out
}

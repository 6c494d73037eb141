//! The audit log: all of it for administrators, and for everybody what is about himself.
//!
//! A page may have fewer entries than were asked for, or none, although there are more: a look takes
//! a bounded number of entries, whether they are what is looked for or not. There is more as long
//! as there is a `next`.

use adea_accounts::audit::{AuditEntry, AuditFilter, AuditPage, Place};
use adea_pod::Pod;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::paging::{AFTER, LIMIT, Page, Paged};
use super::{Answer, Answering, Captures, Form, Parameter, Route, Who, answer};
use crate::body::{Body, BodySender, Response};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

const ACTION: Parameter = Parameter {
    name: "action",
    about: "What the action begins with: `session.` or `session.begin`.",
    kind: "string",
};
const APP: Parameter = Parameter {
    name: "app",
    about: "The app that it happened in.",
    kind: "app",
};
const FROM: Parameter = Parameter {
    name: "from_ms",
    about: "From when on.",
    kind: "time",
};
const TO: Parameter = Parameter {
    name: "to_ms",
    about: "Until before when.",
    kind: "time",
};
const ORDER: Parameter = Parameter {
    name: "order",
    about: "Which come first; the newest unless it is given.",
    kind: "newest|oldest",
};

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/_audit",
        name: "listAuditEntries",
        summary: "The audit log: who did what to whom, when and from where",
        who: Who::Admin,
        query: &[
            LIMIT,
            AFTER,
            Parameter {
                name: "account",
                about: "Who did it: the id of an account, or `admin:name`.",
                kind: "string",
            },
            Parameter {
                name: "target",
                about: "To whom or what it was done: an id or a name.",
                kind: "string",
            },
            ACTION,
            APP,
            FROM,
            TO,
            ORDER,
            Parameter {
                name: "format",
                about: "`ndjson` for all entries without pages, one a line.",
                kind: "json|ndjson",
            },
        ],
        body: None,
        answers: &[Answer {
            status: 200,
            about: "A page of the log; go on as long as there is a `next`.",
            form: Some(Form::of::<Paged<AuditItem>>()),
        }],
        handle: list,
    },
    Route {
        method: "GET",
        path: "/_auth/audit",
        name: "listOwnAuditEntries",
        summary: "What the audit log has about the caller",
        who: Who::SignedIn,
        query: &[LIMIT, AFTER, ACTION, APP, FROM, TO, ORDER],
        body: None,
        answers: &[Answer {
            status: 200,
            about: "A page of the log; go on as long as there is a `next`.",
            form: Some(Form::of::<Paged<AuditItem>>()),
        }],
        handle: list_own,
    },
];

/// An entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
struct AuditItem {
    /// When.
    time_ms: u64,
    /// What, as `area.verb`.
    action: String,
    /// The id of the account that did it, or `admin:name`; null if none did.
    account: Option<String>,
    /// The name that it had then; null if it had none, or is to be forgotten.
    name: Option<String>,
    /// To whom or what it was done; null if to none.
    target: Option<String>,
    /// From which address; null if it was the server itself.
    address: Option<String>,
    /// The app that it happened in; null for none.
    app: Option<String>,
    /// Whatever else there is to say.
    detail: Value,
}

impl From<AuditEntry> for AuditItem {
    fn from(entry: AuditEntry) -> Self {
        let some = |text: String| (!text.is_empty()).then_some(text);
        Self {
            time_ms: entry.time_ms,
            action: entry.action,
            account: some(entry.account),
            name: some(entry.name),
            target: some(entry.target),
            address: some(entry.address),
            app: some(entry.app),
            detail: entry.detail,
        }
    }
}

impl AuditItem {
    /// The entry as somebody sees it who did not do it: not from where others come.
    fn without_others(mut self, account: &str) -> Self {
        if self.account.as_deref() != Some(account) {
            self.address = None;
        }
        self
    }
}

fn filter(exchange: &Exchange) -> Result<AuditFilter, ApiError> {
    let text = |name| exchange.query.get(name).map(str::to_owned);
    Ok(AuditFilter {
        account: text("account"),
        target: text("target"),
        about: None,
        action: text("action"),
        app: text("app"),
        from_ms: exchange.query.count("from_ms")?,
        to_ms: exchange.query.count("to_ms")?,
        oldest_first: exchange.query.get("order") == Some("oldest"),
    })
}

/// By what entries about the caller are found.
fn account_of(exchange: &Exchange) -> Option<String> {
    let account = super::actor(exchange).account();
    (!account.is_empty()).then_some(account)
}

/// The place that a page begins behind.
fn place(page: &Page) -> Result<Option<Place>, ApiError> {
    let places = page.after.as_deref().map(Place::try_from);
    places
        .transpose()
        .map_err(|_| ApiError::Input("`after` is not what was `next`".to_owned()))
}

fn list(exchange: Exchange, _: Captures) -> Answering {
    Box::pin(async move {
        let (filter, page) = (filter(&exchange)?, Page::of(&exchange)?);
        let after = place(&page)?;
        let pod = exchange.app.pod.clone();
        if exchange.query.get("format") == Some("ndjson") {
            return Ok(streamed(pod, filter, after));
        }
        let found = pod.audit(filter, after, page.limit).await?;
        Ok(answer(StatusCode::OK, &paged(found, |item| item)))
    })
}

fn list_own(exchange: Exchange, _: Captures) -> Answering {
    Box::pin(async move {
        let (mut filter, page) = (filter(&exchange)?, Page::of(&exchange)?);
        let Some(account) = account_of(&exchange) else {
            // Whoever has no account is known by nothing that an entry could be about.
            let none = paged(AuditPage::default(), |item| item);
            return Ok(answer(StatusCode::OK, &none));
        };
        filter.about = Some(account.clone());
        let found = exchange
            .app
            .pod
            .audit(filter, place(&page)?, page.limit)
            .await?;
        let page = paged(found, |item| item.without_others(&account));
        Ok(answer(StatusCode::OK, &page))
    })
}

fn paged(found: AuditPage, show: impl Fn(AuditItem) -> AuditItem) -> Paged<AuditItem> {
    let items = found.entries.into_iter().map(AuditItem::from).map(show);
    Paged::new(items.collect(), found.next)
}

/// Entries that are read for one piece of a stream.
const PIECE: usize = 500;
/// Pieces that wait for a slow reader.
const PIECES: usize = 2;

/// All entries, one a line, read as fast as they are taken.
fn streamed(pod: Pod, filter: AuditFilter, after: Option<Place>) -> Response {
    let (sender, body) = Body::channel(PIECES);
    tokio::spawn(async move {
        if let Err(error) = send_all(&pod, filter, after, &sender).await {
            tracing::error!(%error, "the audit log could not be read: {error}");
            sender.abort("the audit log could not be read");
        }
    });
    let mut response = reply::with_type(StatusCode::OK, "application/x-ndjson", body);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn send_all(
    pod: &Pod,
    filter: AuditFilter,
    mut after: Option<Place>,
    sender: &BodySender,
) -> Result<(), ApiError> {
    loop {
        let page = pod.audit(filter.clone(), after, PIECE).await?;
        let mut piece = Vec::new();
        for entry in page.entries {
            let line = serde_json::to_vec(&AuditItem::from(entry)).unwrap_or_default();
            piece.extend_from_slice(&line);
            piece.push(b'\n');
        }
        // Whoever went away wants no more.
        if !piece.is_empty() && sender.send(Bytes::from(piece)).await.is_err() {
            return Ok(());
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

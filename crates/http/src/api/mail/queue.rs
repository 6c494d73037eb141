//! Mails that wait, and those that were given up.

use adea_mail::queue::{Listed, Queued};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{Answer, Captures, Form, Parameter, Route, Who, answer};
use super::{OK, done};
use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;

/// Mails on a page, at most and without being asked.
const LIMIT_MAX: u64 = 1_000;
const LIMIT: u64 = 100;

const MISSING: Answer = Answer {
    status: 404,
    about: "There is no such mail in the queue.",
    form: None,
};

pub(super) const LIST: Route = Route {
    method: "GET",
    path: "/_mail/queue",
    name: "listQueuedMail",
    summary: "Mails that wait, the next one first, or mails that were given up; without their words.",
    who: Who::Admin,
    query: &[
        Parameter {
            name: "state",
            about: "Which ones: waiting or failed; without it, waiting.",
            kind: "waiting|failed",
        },
        Parameter {
            name: "limit",
            about: "At most so many; without it, 100.",
            kind: "limit",
        },
        Parameter {
            name: "after",
            about: "Those behind this place: what was `next` in the answer before.",
            kind: "cursor",
        },
    ],
    body: None,
    answers: &[Answer {
        status: 200,
        about: "The mails.",
        form: Some(Form::of::<QueuedMails>()),
    }],
    handle: |exchange, _| Box::pin(async move { list(&exchange) }),
};

pub(super) const RETRY: Route = Route {
    method: "POST",
    path: "/_mail/queue/{id}/retry",
    name: "retryQueuedMail",
    summary: "Tries to send a mail now, also one that was given up.",
    who: Who::Admin,
    query: &[],
    body: None,
    answers: &[OK, MISSING],
    handle: |exchange, captures| Box::pin(retry(exchange, captures)),
};

pub(super) const DELETE: Route = Route {
    method: "DELETE",
    path: "/_mail/queue/{id}",
    name: "deleteQueuedMail",
    summary: "Takes a mail out of the queue.",
    who: Who::Admin,
    query: &[],
    body: None,
    answers: &[OK, MISSING],
    handle: |exchange, captures| Box::pin(delete(exchange, captures)),
};

/// A page of the queue.
#[derive(Serialize, ToSchema)]
struct QueuedMails {
    items: Vec<QueuedMail>,
    /// The place of the last one, if there are more behind it.
    next: Option<String>,
}

/// A mail of the queue.
#[derive(Serialize, ToSchema)]
struct QueuedMail {
    /// What tells it from all others; the first part of its Message-ID.
    id: String,
    /// `waiting` or `failed`.
    state: &'static str,
    /// What it is about.
    kind: &'static str,
    /// The address that it goes to.
    to: String,
    /// The app that it is about; empty for none.
    app: String,
    /// The language that was asked for; empty for the server's own.
    language: String,
    /// How often it was tried.
    attempts: u32,
    /// Why the last try failed.
    error: Option<String>,
    /// When it was queued.
    queued_ms: u64,
    /// When it is tried next, while it waits.
    due_ms: Option<u64>,
    /// When it was given up, if it was.
    failed_ms: Option<u64>,
}

impl From<Queued> for QueuedMail {
    fn from(queued: Queued) -> Self {
        let failed = queued.failed_ms.is_some();
        Self {
            id: queued.id,
            state: if failed { "failed" } else { "waiting" },
            kind: queued.mail.kind.name(),
            to: queued.mail.to,
            app: queued.mail.app,
            language: queued.mail.language,
            attempts: queued.attempts,
            error: queued.error,
            queued_ms: queued.queued_ms,
            due_ms: (!failed).then_some(queued.due_ms),
            failed_ms: queued.failed_ms,
        }
    }
}

fn list(exchange: &Exchange) -> Result<Response, ApiError> {
    let input = |reason: &str| ApiError::Input(reason.to_owned());
    let listed = match exchange.query.get("state") {
        None | Some("waiting") => Listed::Waiting,
        Some("failed") => Listed::Failed,
        Some(_) => return Err(input("`state` must be waiting or failed")),
    };
    let limit = match exchange.query.get("limit").map(str::parse) {
        None => LIMIT,
        Some(Ok(limit)) if (1..=LIMIT_MAX).contains(&limit) => limit,
        Some(_) => return Err(input("`limit` must be a whole number from 1 to 1000")),
    };
    let after = match exchange.query.get("after").map(place) {
        None => None,
        Some(Some(place)) => Some(place),
        Some(None) => {
            return Err(input(
                "`after` must be what was `next` in the answer before",
            ));
        }
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = exchange.app.pod.mail_queue(listed, after, limit)?;
    let last = page.items.last().filter(|_| page.more);
    let next = last.map(|last| {
        let time = last.failed_ms.unwrap_or(last.due_ms);
        format!("{time}-{}", last.id)
    });
    let items = page.items.into_iter().map(QueuedMail::from).collect();
    Ok(answer(StatusCode::OK, &QueuedMails { items, next }))
}

/// A place in the list: time and mail.
fn place(text: &str) -> Option<(u64, &str)> {
    let (time, id) = text.split_once('-')?;
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((time.parse().ok().filter(|_| is_id)?, id))
}

async fn retry(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    exchange.app.pod.retry_mail(captures.get(0)).await?;
    Ok(done(StatusCode::OK))
}

async fn delete(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    exchange.app.pod.delete_mail(captures.get(0)).await?;
    Ok(done(StatusCode::OK))
}

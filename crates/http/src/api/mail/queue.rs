//! Mails that wait, and those that were given up.

use adea_mail::queue::{Listed, Queued};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::apps::actor;
use super::super::paging::{self, Page, Paged};
use super::super::{Answer, Captures, Form, Parameter, Route, Who, answer};
use super::{OK, done};
use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;

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
        paging::LIMIT,
        paging::AFTER,
    ],
    body: None,
    answers: &[Answer {
        status: 200,
        about: "The mails.",
        form: Some(Form::of::<Paged<QueuedMail>>()),
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
    let page = Page::of(exchange)?;
    let after = match page.after_text()?.map(place) {
        None => None,
        Some(Some(place)) => Some(place),
        Some(None) => return Err(input("`after` is not what was `next`")),
    };
    let found = exchange.app.pod.mail_queue(listed, after, page.limit)?;
    let last = found.items.last().filter(|_| found.more);
    let next = last.map(|last| {
        let time = last.failed_ms.unwrap_or(last.due_ms);
        format!("{time}-{}", last.id)
    });
    let items = found.items.into_iter().map(QueuedMail::from).collect();
    Ok(answer(StatusCode::OK, &Paged::new(items, next)))
}

/// A place in the list: time and mail.
fn place(text: &str) -> Option<(u64, &str)> {
    let (time, id) = text.split_once('-')?;
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((time.parse().ok().filter(|_| is_id)?, id))
}

async fn retry(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = actor(&exchange);
    exchange.app.pod.retry_mail(captures.get(0), &by).await?;
    Ok(done(StatusCode::OK))
}

async fn delete(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = actor(&exchange);
    exchange.app.pod.delete_mail(captures.get(0), &by).await?;
    Ok(done(StatusCode::OK))
}

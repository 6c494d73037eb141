//! Mail: templates, previews, the queue, and what was captured in development. All of it is for
//! server administrators.
//!
//! What a mail of the queue fills in is never shown: links and codes in it are good for signing in.
//! A captured mail is shown whole, since it goes nowhere else.

mod queue;
mod templates;

use adea_mail::captured::Captured;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::apps::actor;
use super::auth::Done;
use super::{Answer, Form, Route, Who, answer, read};
use crate::error::ApiError;
use crate::router::Exchange;

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/_mail/captured",
        name: "listCapturedMail",
        summary: "Mails that were captured because no mail server is set, the newest first.",
        who: Who::Admin,
        query: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            about: "The mails; what was due is among them.",
            form: Some(Form::of::<CapturedMails>()),
        }],
        handle: |exchange, _| Box::pin(list_captured(exchange)),
    },
    Route {
        method: "DELETE",
        path: "/_mail/captured",
        name: "clearCapturedMail",
        summary: "Forgets all captured mails.",
        who: Who::Admin,
        query: &[],
        body: None,
        answers: &[OK],
        handle: |exchange, _| Box::pin(clear_captured(exchange)),
    },
    Route {
        method: "POST",
        path: "/_mail/test",
        name: "sendTestMail",
        summary: "Sends a mail to see whether it arrives.",
        who: Who::Admin,
        query: &[],
        body: Some(Form::of::<TestMail>()),
        answers: &[Answer {
            status: 202,
            about: "It is queued.",
            form: Some(Form::of::<Done>()),
        }],
        handle: |exchange, _| Box::pin(send_test(exchange)),
    },
    templates::LIST,
    templates::GET,
    templates::PUT,
    templates::DELETE,
    templates::PREVIEW,
    queue::LIST,
    queue::RETRY,
    queue::DELETE,
];

const OK: Answer = Answer {
    status: 200,
    about: "It is done.",
    form: Some(Form::of::<Done>()),
};

fn done(status: StatusCode) -> crate::body::Response {
    answer(status, &Done::OK)
}

/// Captured mails.
#[derive(Serialize, ToSchema)]
struct CapturedMails {
    items: Vec<CapturedMail>,
}

/// A captured mail.
#[derive(Serialize, ToSchema)]
struct CapturedMail {
    /// What tells it from all others.
    id: String,
    /// When it was captured.
    time_ms: u64,
    /// The address that it would have gone to.
    to: String,
    /// What it is about.
    kind: &'static str,
    /// The app that it is about; empty for none.
    app: String,
    /// The language that was asked for; empty for the server's own.
    language: String,
    /// What it is about, in its own words.
    subject: String,
    /// The text.
    text: String,
    /// The same in HTML.
    html: String,
    /// The links in the text.
    links: Vec<String>,
}

impl From<Captured> for CapturedMail {
    fn from(captured: Captured) -> Self {
        Self {
            id: captured.id,
            time_ms: captured.time_ms,
            to: captured.to,
            kind: captured.kind.name(),
            app: captured.app,
            language: captured.language,
            subject: captured.words.subject,
            text: captured.words.text,
            html: captured.words.html,
            links: captured.links,
        }
    }
}

async fn list_captured(exchange: Exchange) -> Result<crate::body::Response, ApiError> {
    let captured = exchange.app.pod.captured_mail().await?;
    let items = captured.into_iter().map(CapturedMail::from).collect();
    Ok(answer(StatusCode::OK, &CapturedMails { items }))
}

async fn clear_captured(exchange: Exchange) -> Result<crate::body::Response, ApiError> {
    let by = actor(&exchange);
    exchange.app.pod.clear_captured_mail(&by).await?;
    Ok(done(StatusCode::OK))
}

/// A mail to see whether it arrives.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TestMail {
    /// The address that it goes to.
    #[schema(min_length = 3, max_length = 254)]
    to: String,
}

async fn send_test(mut exchange: Exchange) -> Result<crate::body::Response, ApiError> {
    let asked: TestMail = read(&mut exchange).await?;
    exchange.app.pod.send_test_mail(&asked.to).await?;
    Ok(done(StatusCode::ACCEPTED))
}

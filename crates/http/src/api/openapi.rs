//! The description of all our own routes, and a page to read it.
//!
//! The description (`OpenAPI` 3.1) is made of the table of routes, once, and kept; only the address
//! of the server is put in when it is asked for. What stands in it is what is checked and served.

mod document;
mod others;
mod page;

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::{Answer, Answering, Captures, Route, Who};
use crate::body::Response;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/_openapi.json",
        name: "describe",
        summary: "This description: OpenAPI 3.1 of all routes but those of CouchDB",
        who: Who::Anybody,
        query: &[],
        body: None,
        answers: &[
            Answer {
                status: 200,
                about: "The description.",
                form: Some(document::FORM),
            },
            NOT_MODIFIED,
        ],
        handle: describe,
    },
    Route {
        method: "GET",
        path: "/_docs",
        name: "readDescription",
        summary: "A page to read this description",
        who: Who::Anybody,
        query: &[],
        body: None,
        answers: &[
            Answer {
                status: 200,
                about: "The page, as HTML.",
                form: None,
            },
            NOT_MODIFIED,
        ],
        handle: page::html,
    },
    Route {
        method: "GET",
        path: "/_docs/page.css",
        name: "readDescriptionStyle",
        summary: "How that page looks",
        who: Who::Anybody,
        query: &[],
        body: None,
        answers: &[
            Answer {
                status: 200,
                about: "The style sheet.",
                form: None,
            },
            NOT_MODIFIED,
        ],
        handle: page::css,
    },
    Route {
        method: "GET",
        path: "/_docs/page.js",
        name: "readDescriptionScript",
        summary: "What shows the description on that page",
        who: Who::Anybody,
        query: &[],
        body: None,
        answers: &[
            Answer {
                status: 200,
                about: "The script.",
                form: None,
            },
            NOT_MODIFIED,
        ],
        handle: page::js,
    },
];

const NOT_MODIFIED: Answer = Answer {
    status: 304,
    about: "It is what `If-None-Match` names.",
    form: None,
};

/// The description without the server's address, which is made once.
static DOCUMENT: LazyLock<document::Document> = LazyLock::new(document::Document::new);

fn describe(exchange: Exchange, _: Captures) -> Answering {
    Box::pin(async move {
        let auth = exchange.app.pod.auth();
        let own = exchange.url("");
        let address = auth.accounts.public_url.as_deref().unwrap_or(&own);
        kept(&exchange, "application/json", DOCUMENT.at(address))
    })
}

/// Answers with what changes only with the server; whoever has it already is told so.
pub(super) fn kept(
    exchange: &Exchange,
    content_type: &'static str,
    content: Bytes,
) -> Result<Response, ApiError> {
    let tag = reply::fingerprint(0, &content);
    let quoted = format!("\"{tag}\"");
    let known = exchange.header(&header::IF_NONE_MATCH).unwrap_or("");
    let mut known = known.split(',').map(str::trim);
    let has_it = known.any(|known| known.trim_start_matches("W/") == quoted || known == "*");
    let mut response = match has_it {
        true => reply::empty(StatusCode::NOT_MODIFIED),
        false => reply::with_type(StatusCode::OK, content_type, content.into()),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    reply::set_etag(&mut response, &tag);
    Ok(response)
}

//! The pages that links in mail lead to, where an app has none of its own: one file of HTML, one of
//! style and one of script, which shows what the address says.
//!
//! Invariants: asking for a page does nothing, since programs that look through mail ask for links,
//! too; the secret is in the fragment, which is sent to nobody; a page asks nobody but this server,
//! runs nothing but its own script, and is shown in no other page.

use bytes::Bytes;
use http::HeaderValue;
use http::header::{self, HeaderName};

use super::{Answer, Answering, Captures, Route, Who, openapi};
use crate::router::Exchange;

const HTML: &str = include_str!("pages/page.html");
const CSS: &str = include_str!("pages/page.css");
const JS: &str = include_str!("pages/page.js");

/// What the pages may do.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Headers of each file.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[
    row(
        "/_auth/pages/verify",
        "pageToVerify",
        "A page to prove that an address is yours; the token is in the fragment.",
        |exchange, _| html(exchange),
    ),
    row(
        "/_auth/pages/reset",
        "pageToReset",
        "A page to choose a new password; the token is in the fragment.",
        |exchange, _| html(exchange),
    ),
    row(
        "/_auth/pages/link",
        "pageToSignIn",
        "A page to sign in by a link in mail; the token is in the fragment.",
        |exchange, _| html(exchange),
    ),
    row(
        "/_auth/pages/invitation",
        "pageToAccept",
        "A page to accept or decline an invitation; the token is in the fragment.",
        |exchange, _| html(exchange),
    ),
    row(
        "/_auth/pages/page.css",
        "pageStyle",
        "How these pages look.",
        |exchange, _| file(exchange, "text/css; charset=utf-8", CSS),
    ),
    row(
        "/_auth/pages/page.js",
        "pageScript",
        "What these pages do.",
        |exchange, _| file(exchange, "text/javascript; charset=utf-8", JS),
    ),
];

const fn row(
    path: &'static str,
    name: &'static str,
    summary: &'static str,
    handle: fn(Exchange, Captures) -> Answering,
) -> Route {
    Route {
        method: "GET",
        path,
        name,
        summary,
        who: Who::Anybody,
        query: &[],
        body: None,
        answers: &[
            Answer {
                status: 200,
                about: "The file.",
                form: None,
            },
            Answer {
                status: 304,
                about: "It is what `If-None-Match` names.",
                form: None,
            },
        ],
        handle,
    }
}

fn html(exchange: Exchange) -> Answering {
    file(exchange, "text/html; charset=utf-8", HTML)
}

fn file(exchange: Exchange, content_type: &'static str, content: &'static str) -> Answering {
    Box::pin(async move {
        let content = Bytes::from_static(content.as_bytes());
        let mut response = openapi::kept(&exchange, content_type, content)?;
        for (name, value) in HEADERS {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_have_nothing_that_their_policy_forbids() {
        for inline in ["<style", "style=", "<script>", "onclick", "action="] {
            assert!(!HTML.contains(inline), "{inline}");
        }
        for text in [HTML, CSS, JS] {
            for outside in ["//www", "https:", "http:", "@import", "eval(", "innerHTML"] {
                assert!(!text.contains(outside), "{outside}");
            }
        }
    }
}

//! The page that shows the description: a file of HTML, one of style and one of script, all ours.
//!
//! Invariant: the page asks nobody but this server, and runs nothing but its own script.

use bytes::Bytes;
use http::{HeaderValue, header};

use super::{Answering, Captures, Exchange, kept};

const HTML: &str = include_str!("../docs/page.html");
const CSS: &str = include_str!("../docs/page.css");
const JS: &str = include_str!("../docs/page.js");

/// What the page may do.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn file(exchange: Exchange, content_type: &'static str, content: &'static str) -> Answering {
    Box::pin(async move {
        let content = Bytes::from_static(content.as_bytes());
        let mut response = kept(&exchange, content_type, content)?;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(POLICY),
        );
        headers.insert(
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        );
        Ok(response)
    })
}

pub(super) fn html(exchange: Exchange, _: Captures) -> Answering {
    file(exchange, "text/html; charset=utf-8", HTML)
}

pub(super) fn css(exchange: Exchange, _: Captures) -> Answering {
    file(exchange, "text/css; charset=utf-8", CSS)
}

pub(super) fn js(exchange: Exchange, _: Captures) -> Answering {
    file(exchange, "text/javascript; charset=utf-8", JS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_nothing_that_its_policy_forbids() {
        for inline in ["<style", "style=", " on", "javascript:", "<script>"] {
            let attribute = HTML.contains(inline) && inline != " on";
            assert!(!attribute, "{inline}");
        }
        for text in [HTML, CSS, JS] {
            for outside in ["https://", "http://", "@import", "eval(", "innerHTML"] {
                assert!(!text.contains(outside), "{outside}");
            }
        }
    }
}

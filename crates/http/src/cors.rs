//! Web pages of other origins.
//!
//! A browser asks first (`OPTIONS` with an `Access-Control-Request-Method`, answered before anybody
//! signs in, for the browser sends no credentials with it) and shows an answer to the page only if
//! it carries the page's origin. The origin is echoed and never `*`, which browsers refuse together
//! with credentials.
//!
//! Invariant: an origin that nobody listed never acts with the session cookie that the browser adds
//! by itself. Such a request is marked with [`ForeignOrigin`]; only credentials that the page holds
//! itself count for it.

use crate::body::{Body, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

/// Which pages may call the server.
#[derive(Clone, Debug)]
pub struct CorsOptions {
    /// Whether pages of other origins may at all.
    pub enabled: bool,
    /// Whether any page may, with credentials it holds itself.
    pub any_origin: bool,
    /// Origins whose pages may, also with the session cookie; as browsers send them.
    pub origins: Vec<String>,
    /// Whether pages may bring credentials.
    pub credentials: bool,
    /// Headers that pages may send besides the usual ones.
    pub headers: Vec<String>,
    /// The methods that pages may use, as a browser is told them.
    pub methods: String,
    /// For how many seconds a browser may rely on what it was told.
    pub max_age_s: u32,
}

impl Default for CorsOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            any_origin: true,
            origins: Vec::new(),
            credentials: true,
            headers: Vec::new(),
            methods: METHODS.to_owned(),
            max_age_s: 600,
        }
    }
}

/// Request extension: the request comes from a page whose origin is neither this server's own nor
/// listed. Its session cookie must be ignored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForeignOrigin;

/// The origin to echo in the answer. Marks the request if its origin is foreign.
pub(crate) fn judge<B>(
    options: &CorsOptions,
    request: &mut http::Request<B>,
) -> Option<HeaderValue> {
    let origin = request.headers().get(ORIGIN)?.clone();
    let listed = options.enabled
        && options
            .origins
            .iter()
            .any(|known| known.as_bytes() == origin.as_bytes());
    let trusted = listed && options.credentials;
    if !trusted && !own(&origin, request) {
        request.extensions_mut().insert(ForeignOrigin);
    }
    (listed || options.enabled && options.any_origin).then_some(origin)
}

/// Whether `origin` is the host that the request is sent to. The scheme is not compared: a proxy
/// in front may have taken off the TLS.
fn own<B>(origin: &HeaderValue, request: &http::Request<B>) -> bool {
    let host = match request.uri().authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => match request.headers().get(HOST) {
            Some(host) => host.as_bytes(),
            None => return false,
        },
    };
    let origin_host = memchr::memmem::find(origin.as_bytes(), b"://")
        .and_then(|at| origin.as_bytes().get(at.saturating_add(3)..));
    origin_host.is_some_and(|origin| origin.eq_ignore_ascii_case(host))
}

const METHODS: &str = "GET, PUT, POST, HEAD, DELETE, COPY, OPTIONS";

/// Headers that a page may send: those of `CouchDB`, and those that clients send besides.
const REQUEST_HEADERS: &[&str] = &[
    "accept",
    "accept-language",
    "adea-app",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-range",
    "content-type",
    "destination",
    "expires",
    "if-match",
    "if-none-match",
    "last-event-id",
    "last-modified",
    "origin",
    "pragma",
    "range",
    "referer",
    "x-couch-full-commit",
    "x-couch-id",
    "x-couch-persist",
    "x-couchdb-vhost-path",
    "x-couchdb-www-authenticate",
    "x-csrf-token",
    "x-http-method-override",
    "x-requested-with",
];

const REQUEST_HEADERS_SHORT: &str = "accept, authorization, content-type, origin, referer, x-csrf-token, \
     if-match, if-none-match, destination, range, last-event-id";

const EXPOSED: &str = "content-type, cache-control, accept-ranges, etag, server, x-couch-request-id, \
     x-couch-update-newrev, x-couchdb-body-time, content-length, content-range, location, \
     retry-after";

const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");

/// The answer to a browser that asks before it sends a request of `origin`; `None` if this request
/// is not such a question.
pub(crate) fn preflight<B>(options: &CorsOptions, request: &http::Request<B>) -> Option<Response> {
    let asked = request.headers();
    if request.method() != Method::OPTIONS || !asked.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let methods = HeaderValue::from_str(&options.methods);
    let methods = methods.unwrap_or(HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    let allowed = allowed_headers(options, asked);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(ACCESS_CONTROL_MAX_AGE, options.max_age_s.into());
    if asked
        .get(REQUEST_PRIVATE_NETWORK)
        .is_some_and(|wish| wish == "true")
    {
        headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    Some(response)
}

/// What was asked for if all of it is allowed, else the list: the browser then refuses by itself.
fn allowed_headers(options: &CorsOptions, asked: &HeaderMap) -> HeaderValue {
    let known = |name: &str| {
        REQUEST_HEADERS
            .iter()
            .copied()
            .chain(options.headers.iter().map(String::as_str))
            .any(|allowed| allowed.eq_ignore_ascii_case(name))
    };
    match asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        Some(names)
            if names
                .to_str()
                .is_ok_and(|names| names.split(',').all(|name| known(name.trim()))) =>
        {
            names.clone()
        }
        Some(_) | None => HeaderValue::from_static(REQUEST_HEADERS_SHORT),
    }
}

/// Lets pages of `origin` see the answer.
pub(crate) fn admit(headers: &mut HeaderMap, origin: HeaderValue, credentials: bool) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if credentials {
        headers.insert(
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
    }
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED),
    );
    headers.append(VARY, HeaderValue::from_static("Origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, headers: &[(&str, &str)]) -> http::Request<()> {
        let mut request = http::Request::builder().method(method).uri("/db");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn options(any_origin: bool, origins: &[&str]) -> CorsOptions {
        CorsOptions {
            any_origin,
            origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
            ..CorsOptions::default()
        }
    }

    /// Whether the origin is echoed, and whether it counts as foreign.
    #[track_caller]
    fn check(options: &CorsOptions, origin: &str, echoed: bool, foreign: bool) {
        let mut request = request("GET", &[("origin", origin), ("host", "couch.example:5984")]);
        let echo = judge(options, &mut request);
        assert_eq!(
            echo.is_some_and(|echo| echo == origin),
            echoed,
            "{origin}: echo"
        );
        let marked = request.extensions().get::<ForeignOrigin>().is_some();
        assert_eq!(marked, foreign, "{origin}: foreign");
    }

    #[test]
    fn the_cookie_counts_only_for_listed_origins_and_the_own() {
        let any = options(true, &["https://app.example"]);
        check(&any, "https://app.example", true, false);
        check(&any, "https://evil.example", true, true);
        check(&any, "http://couch.example:5984", true, false);
        check(&any, "https://couch.example:5984", true, false);
        check(&any, "http://couch.example", true, true);
        check(&any, "null", true, true);
    }

    #[test]
    fn without_the_star_only_listed_origins_see_answers() {
        let listed = options(false, &["https://app.example"]);
        check(&listed, "https://app.example", true, false);
        check(&listed, "https://evil.example", false, true);
        check(&listed, "http://couch.example:5984", false, false);
    }

    #[test]
    fn switched_off_no_origin_sees_answers_and_all_others_are_foreign() {
        let off = CorsOptions {
            enabled: false,
            ..options(true, &["https://app.example"])
        };
        check(&off, "https://app.example", false, true);
        check(&off, "http://couch.example:5984", false, false);
    }

    #[test]
    fn a_request_without_origin_is_left_alone() {
        let mut request = request("OPTIONS", &[("host", "couch.example")]);
        assert!(judge(&options(true, &[]), &mut request).is_none());
        assert!(request.extensions().get::<ForeignOrigin>().is_none());
        assert!(preflight(&CorsOptions::default(), &request).is_none());
    }

    #[test]
    fn a_preflight_echoes_headers_that_are_all_allowed() {
        let response = preflight(
            &CorsOptions::default(),
            &request(
                "OPTIONS",
                &[
                    ("access-control-request-method", "PUT"),
                    (
                        "access-control-request-headers",
                        "Content-Type,authorization",
                    ),
                ],
            ),
        )
        .unwrap();
        assert_eq!(response.status(), 204);
        let headers = response.headers();
        assert_eq!(
            headers[ACCESS_CONTROL_ALLOW_HEADERS],
            "Content-Type,authorization"
        );
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], METHODS);
        assert!(!headers.contains_key(ALLOW_PRIVATE_NETWORK));
    }

    #[test]
    fn a_preflight_does_not_echo_unknown_headers() {
        let response = preflight(
            &CorsOptions::default(),
            &request(
                "OPTIONS",
                &[
                    ("access-control-request-method", "PUT"),
                    ("access-control-request-headers", "content-type, x-evil"),
                    ("access-control-request-private-network", "true"),
                ],
            ),
        )
        .unwrap();
        let headers = response.headers();
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_HEADERS], REQUEST_HEADERS_SHORT);
        assert_eq!(headers[ALLOW_PRIVATE_NETWORK], "true");
    }
}

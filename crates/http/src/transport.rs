//! How a request came: whether what it carries could be read on the way, and the cookie that a
//! session has there.
//!
//! The server speaks no TLS itself. A connection of this machine is taken as safe; of another one
//! only if a proxy that is trusted says that it took off the TLS, or the settings allow it.
//!
//! Invariant: what a client writes into `X-Forwarded-Proto` counts for nothing unless a proxy that is
//! trusted, or this machine, is at the other end of the connection.

use std::net::SocketAddr;

use adea_accounts::SameSite;
use adea_pod::{AuthSettings, PodError, SessionError};
use http::{HeaderMap, HeaderValue, header};

use crate::body::Response;
use crate::caller::origin;
use crate::error::ApiError;
use crate::router::Exchange;

/// As long as browsers keep a cookie: 400 days. When a session ends is decided here and not there.
const COOKIE_AGE_S: u64 = 400 * 86_400;

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transport {
    /// Over TLS, which a proxy has taken off.
    pub(crate) https: bool,
    /// In a way in which credentials may come.
    pub(crate) safe: bool,
}

impl Transport {
    /// How a request with these headers came from `peer`.
    pub(crate) fn of(auth: &AuthSettings, headers: &HeaderMap, peer: SocketAddr) -> Self {
        let next = peer.ip().to_canonical();
        let believed = next.is_loopback() || auth.trusts(next);
        let https = believed && says_https(headers);
        let allowed = auth.accounts.sessions.plain_http;
        let near = origin(auth, headers, peer).to_canonical().is_loopback();
        let safe = https || allowed || near;
        Self { https, safe }
    }

    /// Lets pass what came in a way in which credentials may come.
    pub(crate) fn require_safe(self) -> Result<(), ApiError> {
        if self.safe {
            Ok(())
        } else {
            Err(PodError::from(SessionError::PlainHttp).into())
        }
    }
}

/// Refuses what somebody signs in with, if it came unprotected from another machine.
pub(crate) fn require_safe(exchange: &Exchange) -> Result<(), ApiError> {
    let auth = exchange.app.pod.auth();
    Transport::of(&auth, &exchange.headers, exchange.peer).require_safe()
}

/// Whether all servers in front that say something of it say that they took off TLS.
fn says_https(headers: &HeaderMap) -> bool {
    let mut said = false;
    for value in headers.get_all("x-forwarded-proto") {
        for scheme in value.as_bytes().split(|byte| *byte == b',') {
            said = scheme.trim_ascii().eq_ignore_ascii_case(b"https");
            if !said {
                return false;
            }
        }
    }
    said
}

/// The cookie of a session, as it is called and kept where a request came.
pub(crate) struct SessionCookie {
    name: String,
    attributes: String,
}

impl SessionCookie {
    /// That of a request with these headers, from `peer`.
    pub(crate) fn of(auth: &AuthSettings, headers: &HeaderMap, peer: SocketAddr) -> Self {
        let settings = &auth.cookies;
        let secure = settings.secure || Transport::of(auth, headers, peer).https;
        let base = &auth.accounts.sessions.cookie_name;
        // The prefix has browsers refuse such a cookie from any other server of the domain.
        let name = match &settings.domain {
            None if secure => format!("__Host-{base}"),
            None | Some(_) => base.clone(),
        };
        let domain = settings.domain.as_deref();
        let domain = domain.map_or_else(String::new, |domain| format!("; Domain={domain}"));
        let same_site = settings.same_site.unwrap_or(SameSite::Lax).as_str();
        let secure = if secure { "; Secure" } else { "" };
        let attributes = format!("; Path=/{domain}; HttpOnly; SameSite={same_site}{secure}");
        Self { name, attributes }
    }

    /// Its value, if the request has one.
    pub(crate) fn find<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let lines = headers.get_all(header::COOKIE).iter();
        lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| name.trim() == self.name)
            .map(|(_, value)| value.trim().trim_matches('"'))
            .filter(|value| !value.is_empty())
    }

    /// The header that hands it over.
    pub(crate) fn header(&self, value: &str, now_s: u64) -> Option<HeaderValue> {
        let expires = now_s.saturating_add(COOKIE_AGE_S);
        self.written(value, expires, COOKIE_AGE_S)
    }

    /// Hands it over with an answer.
    pub(crate) fn give(&self, value: &str, now_s: u64, response: &mut Response) {
        put(self.header(value, now_s), response);
    }

    /// Takes it away with an answer.
    pub(crate) fn take(&self, response: &mut Response) {
        put(self.written("", 0, 0), response);
    }

    fn written(&self, value: &str, expires_s: u64, age_s: u64) -> Option<HeaderValue> {
        let span = std::time::Duration::from_secs(expires_s);
        let at = std::time::UNIX_EPOCH.checked_add(span);
        let at = httpdate::fmt_http_date(at.unwrap_or(std::time::UNIX_EPOCH));
        let (name, attributes) = (&self.name, &self.attributes);
        let cookie = format!("{name}={value}; Expires={at}; Max-Age={age_s}{attributes}");
        HeaderValue::from_str(&cookie).ok()
    }
}

fn put(cookie: Option<HeaderValue>, response: &mut Response) {
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// Has a browser forget the cookie of a session that `error` says is over or forged.
pub(crate) fn forget_cookie(
    error: &ApiError,
    auth: &AuthSettings,
    headers: &HeaderMap,
    peer: SocketAddr,
    response: &mut Response,
) {
    if let ApiError::Pod(PodError::Session(SessionError::Ended | SessionError::Forged)) = error {
        SessionCookie::of(auth, headers, peer).take(response);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Body;
    use adea_pod::Network;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn came(auth: &AuthSettings, peer: &str, all: &[(&'static str, &str)]) -> (bool, bool) {
        let peer = SocketAddr::new(peer.parse().unwrap(), 1_000);
        let transport = Transport::of(auth, &headers(all), peer);
        (transport.https, transport.safe)
    }

    #[test]
    fn credentials_come_from_this_machine_or_over_tls() {
        let mut auth = AuthSettings::default();
        let https = [("x-forwarded-proto", "https")];
        assert_eq!(came(&auth, "127.0.0.1", &[]), (false, true));
        assert_eq!(came(&auth, "::1", &[]), (false, true));
        assert_eq!(came(&auth, "::ffff:127.0.0.1", &[]), (false, true));
        assert_eq!(came(&auth, "127.0.0.1", &https), (true, true));
        assert_eq!(came(&auth, "192.0.2.1", &[]), (false, false));
        // A client says so itself.
        assert_eq!(came(&auth, "192.0.2.1", &https), (false, false));
        auth.accounts.sessions.plain_http = true;
        assert_eq!(came(&auth, "192.0.2.1", &https), (false, true));
    }

    #[test]
    fn a_proxy_that_is_trusted_says_how_a_request_came() {
        let auth = AuthSettings {
            trusted_proxies: vec![Network::parse("10.0.0.0/8").unwrap()],
            ..AuthSettings::default()
        };
        let client = ("x-forwarded-for", "192.0.2.1");
        let said = |proto: &'static str| [client, ("x-forwarded-proto", proto)];
        assert_eq!(came(&auth, "10.0.0.1", &said("https")), (true, true));
        assert_eq!(came(&auth, "10.0.0.1", &said("HTTPS, https")), (true, true));
        for plain in ["http", "https, http", "http,https", "", "https,"] {
            assert_eq!(
                came(&auth, "10.0.0.1", &said(plain)),
                (false, false),
                "{plain}"
            );
        }
        assert_eq!(came(&auth, "10.0.0.1", &[client]), (false, false));
        let near = [("x-forwarded-for", "127.0.0.1")];
        assert_eq!(came(&auth, "10.0.0.1", &near), (false, true));
        assert_eq!(came(&auth, "192.0.2.9", &near), (false, false));
    }

    fn cookie(auth: &AuthSettings, all: &[(&'static str, &str)]) -> String {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1_000));
        let mut response = Response::new(Body::Empty);
        SessionCookie::of(auth, &headers(all), peer).give("v", 1_795_246_129, &mut response);
        let cookie = response.headers().get(header::SET_COOKIE).unwrap();
        cookie.to_str().unwrap().to_owned()
    }

    #[test]
    fn the_cookie_is_kept_long_and_only_for_this_server() {
        let mut auth = AuthSettings::default();
        assert_eq!(
            cookie(&auth, &[]),
            "adea=v; Expires=Sun, 26 Dec 2027 07:28:49 GMT; Max-Age=34560000; Path=/; HttpOnly; \
             SameSite=Lax"
        );
        let https = [("x-forwarded-proto", "https")];
        assert_eq!(
            cookie(&auth, &https),
            "__Host-adea=v; Expires=Sun, 26 Dec 2027 07:28:49 GMT; Max-Age=34560000; Path=/; \
             HttpOnly; SameSite=Lax; Secure"
        );
        auth.cookies.domain = Some("example.org".to_owned());
        assert!(cookie(&auth, &https).starts_with("adea=v;"));
        assert!(cookie(&auth, &https).contains("; Domain=example.org;"));
    }

    #[test]
    fn over_tls_a_cookie_without_the_prefix_is_none() {
        let auth = AuthSettings::default();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1_000));
        let planted = headers(&[("x-forwarded-proto", "https"), ("cookie", "adea=x")]);
        let found = SessionCookie::of(&auth, &planted, peer);
        assert_eq!(found.find(&planted), None);
        let several = headers(&[("cookie", "a=b"), ("cookie", "adea=\"x\"; adea=y")]);
        let found = SessionCookie::of(&auth, &several, peer);
        assert_eq!(found.find(&several), Some("x"));
    }
}

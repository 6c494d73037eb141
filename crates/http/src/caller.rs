//! Who is asking: the credential that a request brings, handed to who can prove it.

use std::borrow::Cow;
use std::net::SocketAddr;

use adea_accounts::Refusal;
use adea_base::Caller;
use adea_pod::{AuthSettings, PodError, SessionError, SignIn, SignedIn, Strangers};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::request::Parts;
use http::{HeaderMap, Method, header};

use crate::App;
use crate::cors::ForeignOrigin;
use crate::error::ApiError;
use crate::transport::{SessionCookie, Transport};

/// Finds out who sent a request with this head, and whether he may ask at all.
pub(crate) async fn who(
    app: &App,
    auth: &AuthSettings,
    head: &Parts,
    peer: SocketAddr,
) -> Result<SignedIn, ApiError> {
    let signed_in = identify(app, auth, head, peer).await?;
    may_ask(auth, &signed_in.caller, &head.method, head.uri.path())?;
    Ok(signed_in)
}

/// A scheme that nobody knows is no credential. From a foreign origin, which a browser may not
/// speak for, a cookie counts for nothing.
async fn identify(
    app: &App,
    auth: &AuthSettings,
    head: &Parts,
    peer: SocketAddr,
) -> Result<SignedIn, ApiError> {
    let headers = &head.headers;
    let safe = || Transport::of(auth, headers, peer).require_safe();
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if let Some(token) = authorization.and_then(|text| scheme(text, "bearer")) {
        safe()?;
        return Ok(app.pod.authenticate(SignIn::Bearer(token)).await?);
    }
    if let Some(sign_in) = proxied(auth, headers) {
        let signed_in = app.pod.authenticate(sign_in).await?;
        if signed_in.handler.is_some() {
            return Ok(signed_in);
        }
    }
    if let Some((name, password)) = authorization.and_then(basic) {
        safe()?;
        let sign_in = SignIn::Basic {
            name: &name,
            password: &password,
            peer: Some(origin(auth, headers, peer)),
        };
        return Ok(app.pod.authenticate(sign_in).await?);
    }
    if headers.contains_key(header::COOKIE) {
        if let Some(signed_in) = by_session_cookie(app, auth, head, peer).await? {
            return Ok(signed_in);
        }
        let cookies = headers.get_all(header::COOKIE).iter();
        let mut cookies = cookies.filter_map(|value| value.to_str().ok());
        if !is_foreign(head)
            && let Some(cookie) = cookies.find_map(adea_accounts::from_cookie_header)
        {
            safe()?;
            return Ok(app.pod.authenticate(SignIn::Cookie(cookie)).await?);
        }
    }
    Ok(app.pod.authenticate(SignIn::Anonymous).await?)
}

/// Who brings the cookie of a session; `None` if there is none, or it counts for nothing. A browser
/// adds it by itself, so what changes something needs a proof that a page of ours has asked for it.
async fn by_session_cookie(
    app: &App,
    auth: &AuthSettings,
    head: &Parts,
    peer: SocketAddr,
) -> Result<Option<SignedIn>, ApiError> {
    let headers = &head.headers;
    let Some(value) = SessionCookie::of(auth, headers, peer).find(headers) else {
        return Ok(None);
    };
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&head.method);
    if reads && is_foreign(head) {
        return Ok(None);
    }
    Transport::of(auth, headers, peer).require_safe()?;
    let sign_in = SignIn::SessionCookie {
        value,
        peer: origin(auth, headers, peer),
    };
    let resumed = app.pod.authenticate(sign_in).await;
    let judged = resumed.map_err(ApiError::from).and_then(|signed_in| {
        let session = signed_in.caller.session().unwrap_or_default();
        if reads || asked_for(app, head, session) {
            Ok(Some(signed_in))
        } else {
            Err(PodError::from(SessionError::CrossSite).into())
        }
    });
    match judged {
        // Whoever is about to sign in is not kept from it by what he has from before.
        Err(ApiError::Pod(PodError::Session(_))) if is_for_strangers(&head.method, head) => {
            Ok(None)
        }
        judged => judged,
    }
}

/// Whether a page of this server, or one that was listed, has asked for a request with a cookie.
fn asked_for(app: &App, head: &Parts, session: &str) -> bool {
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    // Where an origin is told, it was judged already; a browser tells at least one of both.
    let cross_site = !head.headers.contains_key(header::ORIGIN)
        && text("sec-fetch-site").is_some_and(|site| matches!(site, "cross-site" | "same-site"));
    let token = text("x-csrf-token").unwrap_or_default();
    !is_foreign(head) && !cross_site && app.pod.is_csrf_token(session, token)
}

/// Whether a request comes from a page that is neither this server's own nor listed.
fn is_foreign(head: &Parts) -> bool {
    head.extensions.get::<ForeignOrigin>().is_some()
}

/// Whether a request is for a route that is there for those who have not signed in.
fn is_for_strangers(method: &Method, head: &Parts) -> bool {
    let path = head.uri.path().trim_end_matches('/');
    method == Method::POST && path == "/_session" || crate::api::is_for_strangers(method, path)
}

/// Where a request comes from.
pub(crate) fn origin(
    auth: &AuthSettings,
    headers: &HeaderMap,
    peer: SocketAddr,
) -> std::net::IpAddr {
    if auth.trusted_proxies.is_empty() {
        return peer.ip().to_canonical();
    }
    // Several headers are one list, and its end is what the nearest server wrote.
    let lines = headers.get_all("x-forwarded-for").iter();
    let texts: Vec<&str> = lines.map(|line| line.to_str().unwrap_or("?")).collect();
    auth.origin(peer.ip(), Some(&texts.join(",")))
}

/// Lets pass who has signed in, and others where they may ask this.
fn may_ask(
    auth: &AuthSettings,
    caller: &Caller,
    method: &Method,
    path: &str,
) -> Result<(), ApiError> {
    let path = path.trim_end_matches('/');
    // Whoever is to sign in must be able to.
    let signing_in =
        || method == Method::POST && path == "/_session" || crate::api::is_to_sign_in(method, path);
    let allowed = match auth.strangers {
        Strangers::Ask => true,
        Strangers::SignIn => signing_in(),
        Strangers::SignInOrUp => signing_in() || path == "/_up",
    };
    if allowed || caller.name().is_some() {
        return Ok(());
    }
    let reason = Cow::Borrowed("Authentication required.");
    Err(Refusal::Unauthorized(reason).into())
}

/// What a server in front says, if any is believed. A header that comes twice was not made by one.
fn proxied<'h>(auth: &AuthSettings, headers: &'h HeaderMap) -> Option<SignIn<'h>> {
    let rules = &auth.proxy;
    if !rules.enabled {
        return None;
    }
    let only = |name: &str| {
        let mut all = headers.get_all(name).iter();
        let first = all.next()?;
        let text = std::str::from_utf8(first.as_bytes()).ok()?;
        all.next().is_none().then_some(text)
    };
    Some(SignIn::Proxy {
        name: only(&rules.username_header)?,
        roles: only(&rules.roles_header),
        token: only(&rules.token_header),
    })
}

/// What follows the name of a scheme.
fn scheme<'t>(authorization: &'t str, name: &str) -> Option<&'t str> {
    let (scheme, rest) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case(name).then_some(rest.trim())
}

/// The name and password of `Basic` credentials; anything else is none, and so are `_` and `_`,
/// with which a page makes a browser forget what it knew.
fn basic(authorization: &str) -> Option<(String, String)> {
    let encoded = scheme(authorization, "basic")?;
    let decoded = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    (decoded != "_:_").then(|| (name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_may_sign_in_and_nothing_else_where_everybody_has_to() {
        let mut auth = AuthSettings {
            strangers: Strangers::SignIn,
            ..AuthSettings::default()
        };
        let may = |auth: &AuthSettings, method: &str, path: &str| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            may_ask(auth, &Caller::anonymous(), &method, path).is_ok()
        };
        for row in [
            "POST /_session",
            "POST /_auth/login",
            "POST /_auth/login/",
            "POST /_auth/login/second",
            "POST /_auth/signup",
            "POST /_auth/recover",
            "POST /_auth/reset",
            "POST /_auth/verifyEmail",
            "POST /_auth/refresh",
            "POST /_auth/link/finish",
            "POST /_auth/passkeys/login/start",
            "GET /_auth/providers",
            "GET /_auth/oidc/x/callback",
            "GET /_auth/pages/reset",
            "HEAD /_auth/pages/verify",
            "GET /_auth/pages/page.js",
            "POST /_invitations/look",
            "POST /_invitations/decline",
        ] {
            let (method, path) = row.split_once(' ').unwrap();
            assert!(may(&auth, method, path), "{row}");
        }
        for row in [
            "GET /",
            "GET /_up",
            "GET /_session",
            "GET /_all_dbs",
            "GET /x",
            "PUT /_users/org.couchdb.user:x",
            "GET /_auth/me",
            "GET /_auth/sessions",
            "POST /_auth/changePassword",
            "DELETE /_auth/pages/reset",
            "POST /_auth/pages/reset",
            "GET /_auth/../x",
            "GET /_auth",
            "POST /_invitations",
            "POST /_invitations/accept",
            "GET /_invitations/look",
            "GET /_apps/x",
            "GET /_openapi.json",
            "GET /_docs",
        ] {
            let (method, path) = row.split_once(' ').unwrap();
            assert!(!may(&auth, method, path), "{row}");
        }
        auth.strangers = Strangers::SignInOrUp;
        assert!(may(&auth, "GET", "/_up") && !may(&auth, "GET", "/x"));
    }
}

//! `/_session`: signing in and out with a cookie.

use adea_accounts::{CookieAttributes, SameSite, clear_cookie, set_cookie};
use adea_documents::json::write_json_string;
use http::{StatusCode, header};
use serde_json::Value;

use crate::body::Response;
use crate::couch::intake;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;
use crate::wire::query::Query;

/// The longest body that signs somebody in: anybody may send one.
const SIGN_IN_MAX: u64 = 64 << 10;

/// How a session cookie is kept: behind TLS it stays there, and is sent from the server's own pages
/// only, unless the page that asks is of an origin that was listed.
fn attributes(exchange: &Exchange) -> CookieAttributes {
    let options = &exchange.options;
    let same_site = if options.secure_cookies {
        Some(SameSite::None)
    } else if exchange.forwarded_https() {
        Some(if from_listed_origin(exchange) {
            SameSite::None
        } else {
            SameSite::Lax
        })
    } else {
        None
    };
    CookieAttributes {
        max_age_s: exchange.app.pod.session_timeout_s(),
        secure: same_site.is_some(),
        same_site,
    }
}

/// Whether a page of another origin asks that was listed.
fn from_listed_origin(exchange: &Exchange) -> bool {
    let cors = &exchange.options.cors;
    exchange.header(&header::ORIGIN).is_some_and(|origin| {
        let own = origin
            .split_once("://")
            .is_some_and(|(_, host)| host.eq_ignore_ascii_case(exchange.host()));
        cors.enabled
            && cors.credentials
            && !own
            && cors.origins.iter().any(|listed| listed == origin)
    })
}

/// The header that hands over a session.
pub(crate) fn cookie_header(exchange: &Exchange, value: &str) -> String {
    let now = exchange.app.pod.clock().now_unix_s();
    set_cookie(value, now, &attributes(exchange))
}

/// Answers for `/_session`.
pub(crate) async fn route(mut exchange: Exchange) -> Result<Response, ApiError> {
    match exchange.method.as_str() {
        "GET" | "HEAD" => Ok(get(&exchange)),
        "POST" => post(&mut exchange).await,
        "DELETE" => {
            let mut response = reply::ok(StatusCode::OK);
            let now = exchange.app.pod.clock().now_unix_s();
            let cookie = clear_cookie(now, &attributes(&exchange));
            reply::set(&mut response, header::SET_COOKIE, &cookie);
            Ok(response)
        }
        "OPTIONS" => Ok(crate::router::options("GET, HEAD, POST, DELETE")),
        _ => Err(ApiError::MethodNotAllowed("GET,HEAD,POST,DELETE")),
    }
}

fn get(exchange: &Exchange) -> Response {
    let mut out = b"{\"ok\":true,\"userCtx\":{\"name\":".to_vec();
    match exchange.caller.name() {
        Some(name) => write_json_string(&mut out, name),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"roles\":");
    write_roles(&mut out, exchange.caller.roles());
    out.extend_from_slice(b"},\"info\":{\"authentication_handlers\":[\"cookie\",\"default\"]");
    if let Some(handler) = exchange.handler {
        out.extend_from_slice(format!(",\"authenticated\":\"{handler}\"").as_bytes());
    }
    out.extend_from_slice(b"}}\n");
    reply::json(StatusCode::OK, out)
}

fn write_roles(out: &mut Vec<u8>, roles: &[String]) {
    out.push(b'[');
    for (n, role) in roles.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_json_string(out, role);
    }
    out.push(b']');
}

async fn post(exchange: &mut Exchange) -> Result<Response, ApiError> {
    let body = intake::whole_up_to(exchange, SIGN_IN_MAX).await?;
    let content_type = exchange.header(&header::CONTENT_TYPE).unwrap_or("");
    let (name, password) = if content_type.starts_with("application/x-www-form-urlencoded") {
        let text =
            std::str::from_utf8(&body).map_err(|_| ApiError::bad("The form is not UTF-8."))?;
        let form = Query::parse(Some(text))?;
        let field = |names: &[&str]| form.any(names).unwrap_or("").to_owned();
        (field(&["name", "username"]), field(&["password"]))
    } else {
        let value: Value = serde_json::from_slice(&body)
            .map_err(|_| ApiError::from(adea_documents::json::JsonError::Invalid))?;
        let text = |names: [&str; 2]| {
            names
                .iter()
                .find_map(|name| value.get(name)?.as_str())
                .map(str::to_owned)
        };
        let name = text(["name", "username"])
            .ok_or_else(|| ApiError::bad("request body must contain a username"))?;
        let password = text(["password", "password"])
            .ok_or_else(|| ApiError::bad("request body must contain a password"))?;
        (name, password)
    };
    let pod = &exchange.app.pod;
    let caller = pod.verify_password(&name, &password).await?;
    let session = pod.issue_session(&name)?;
    let mut out = b"{\"ok\":true,\"name\":".to_vec();
    write_json_string(&mut out, &name);
    out.extend_from_slice(b",\"roles\":");
    write_roles(&mut out, caller.roles());
    out.extend_from_slice(b"}\n");
    let mut response = reply::json(StatusCode::OK, out);
    let cookie = cookie_header(exchange, &session);
    reply::set(&mut response, header::SET_COOKIE, &cookie);
    if let Some(next) = exchange.query.get("next").filter(|next| is_own_path(next)) {
        *response.status_mut() = StatusCode::FOUND;
        let location = exchange.url(next);
        reply::set(&mut response, header::LOCATION, &location);
    }
    Ok(response)
}

/// Only a path of this server: anything else would send a signed-in user elsewhere.
fn is_own_path(next: &str) -> bool {
    next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n'])
}

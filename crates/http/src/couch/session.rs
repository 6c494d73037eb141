//! `/_session`: signing in and out with a cookie.

use adea_accounts::{CookieAttributes, SameSite, clear_cookie, set_cookie};
use adea_documents::json::write_json_string;
use http::{StatusCode, header};
use serde_json::Value;

use crate::App;
use crate::body::Response;
use crate::couch::intake;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;
use crate::wire::query::Query;

fn attributes(app: &App) -> CookieAttributes {
    CookieAttributes {
        max_age_s: app.pod.options().session_timeout_s,
        secure: app.options.secure_cookies,
        same_site: app.options.secure_cookies.then_some(SameSite::None),
    }
}

/// The header that hands over a session.
pub(crate) fn cookie_header(app: &App, value: &str) -> String {
    set_cookie(value, app.pod.clock().now_unix_s(), &attributes(app))
}

/// Answers for `/_session`.
pub(crate) async fn route(mut exchange: Exchange) -> Result<Response, ApiError> {
    match exchange.method.as_str() {
        "GET" | "HEAD" => Ok(get(&exchange)),
        "POST" => post(&mut exchange).await,
        "DELETE" => {
            let mut response = reply::ok(StatusCode::OK);
            let now = exchange.app.pod.clock().now_unix_s();
            let cookie = clear_cookie(now, &attributes(&exchange.app));
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
    let body = intake::whole(exchange).await?;
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
    let cookie = cookie_header(&exchange.app, &session);
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

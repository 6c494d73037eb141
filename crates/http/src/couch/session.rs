//! `/_session`: signing in and out with a cookie.

use adea_accounts::{CookieAttributes, Refusal, SameSite, clear_cookie, set_cookie};
use adea_documents::json::write_json_string;
use adea_pod::PodError;
use http::{StatusCode, header};
use serde_json::Value;

use crate::body::Response;
use crate::caller::origin;
use crate::couch::intake;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;
use crate::wire::query::Query;

/// The longest body that signs somebody in: anybody may send one.
const SIGN_IN_MAX: u64 = 64 << 10;

/// How a session cookie is kept: behind TLS it stays there, and is sent from the server's own pages
/// only, unless the page that asks is of an origin that was listed, or the settings say otherwise.
fn attributes(exchange: &Exchange) -> CookieAttributes {
    let (pod, auth) = (&exchange.app.pod, exchange.app.pod.auth());
    let settings = &auth.cookies;
    let by_itself = if settings.secure {
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
        max_age_s: settings.persistent.then_some(pod.session_timeout_s()),
        domain: settings.domain.clone(),
        secure: settings.secure || exchange.forwarded_https(),
        same_site: settings.same_site.or(by_itself),
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
        "GET" | "HEAD" => get(&exchange),
        "POST" => post(&mut exchange).await,
        "DELETE" => {
            let mut response = reply::ok(StatusCode::OK);
            end_session(&exchange, &mut response);
            crate::api::sessions::end_current(&exchange, &mut response).await?;
            redirect(&exchange, "next", &mut response);
            Ok(response)
        }
        "OPTIONS" => Ok(crate::router::options("GET, HEAD, POST, DELETE")),
        _ => Err(ApiError::MethodNotAllowed("GET,HEAD,POST,DELETE")),
    }
}

fn get(exchange: &Exchange) -> Result<Response, ApiError> {
    if exchange.caller.name().is_none() && exchange.query.is_true("basic") {
        return Err(Refusal::Unauthorized("Please login.".into()).into());
    }
    let mut out = b"{\"ok\":true,\"userCtx\":{\"name\":".to_vec();
    match exchange.caller.name() {
        Some(name) => write_json_string(&mut out, name),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"roles\":");
    write_texts(&mut out, exchange.caller.roles().iter().map(String::as_str));
    out.extend_from_slice(b"},\"info\":{\"authentication_handlers\":");
    let handlers = exchange.app.pod.auth().handlers();
    write_texts(&mut out, handlers.into_iter());
    if let Some(handler) = exchange.handler {
        out.extend_from_slice(format!(",\"authenticated\":\"{handler}\"").as_bytes());
    }
    out.extend_from_slice(b"}}\n");
    Ok(reply::json(StatusCode::OK, out))
}

fn write_texts<'t>(out: &mut Vec<u8>, texts: impl Iterator<Item = &'t str>) {
    out.push(b'[');
    for (n, text) in texts.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_json_string(out, text);
    }
    out.push(b']');
}

/// The name and password that somebody signs in with.
struct Form {
    name: String,
    password: String,
    /// The digits that a device shows, for accounts that want them.
    token: Option<String>,
}

impl Form {
    fn read(content_type: &str, body: &[u8]) -> Result<Self, ApiError> {
        let (mut form, mut json) = (Query::default(), Value::Null);
        if content_type.starts_with("application/x-www-form-urlencoded") {
            let text =
                std::str::from_utf8(body).map_err(|_| ApiError::bad("The form is not UTF-8."))?;
            form = Query::parse(Some(text))?;
        } else {
            json = serde_json::from_slice(body)
                .map_err(|_| ApiError::from(adea_documents::json::JsonError::Invalid))?;
        }
        let field = |name: &str| {
            let text = form.get(name).or_else(|| json.get(name)?.as_str());
            text.map(str::to_owned)
        };
        let name = match (field("name"), field("username")) {
            (Some(one), Some(other)) if one != other => {
                let reason = "request body contains different usernames";
                return Err(ApiError::bad(reason));
            }
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => return Err(ApiError::bad("request body must contain a username")),
        };
        let password = field("password")
            .ok_or_else(|| ApiError::bad("request body must contain a password"))?;
        Ok(Self {
            name,
            password,
            token: field("token"),
        })
    }
}

async fn post(exchange: &mut Exchange) -> Result<Response, ApiError> {
    crate::transport::require_safe(exchange)?;
    let body = intake::whole_up_to(exchange, SIGN_IN_MAX).await?;
    let content_type = exchange.header(&header::CONTENT_TYPE).unwrap_or("");
    let form = Form::read(content_type, &body)?;
    let auth = exchange.app.pod.auth();
    let peer = origin(&auth, &exchange.headers, exchange.peer);
    let pod = &exchange.app.pod;
    let signed_in = pod
        .open_session(&form.name, &form.password, form.token.as_deref(), peer)
        .await;
    let (caller, session) = match signed_in {
        Ok(signed_in) => signed_in,
        Err(error @ PodError::Refused(Refusal::Unauthorized(_))) => {
            let mut response = ApiError::from(error).response();
            end_session(exchange, &mut response);
            redirect(exchange, "fail", &mut response);
            return Ok(response);
        }
        Err(error) => return Err(error.into()),
    };
    let mut out = b"{\"ok\":true,\"name\":".to_vec();
    write_json_string(&mut out, &form.name);
    out.extend_from_slice(b",\"roles\":");
    write_texts(&mut out, caller.roles().iter().map(String::as_str));
    out.extend_from_slice(b"}\n");
    let mut response = reply::json(StatusCode::OK, out);
    let cookie = cookie_header(exchange, &session);
    reply::set(&mut response, header::SET_COOKIE, &cookie);
    // It would win over the new one, and the browser go on as somebody else.
    crate::api::sessions::take_cookie(exchange, &mut response);
    redirect(exchange, "next", &mut response);
    Ok(response)
}

/// Takes the session from the browser.
fn end_session(exchange: &Exchange, response: &mut Response) {
    let now_s = exchange.app.pod.clock().now_unix_s();
    let cookie = clear_cookie(now_s, &attributes(exchange));
    reply::set(response, header::SET_COOKIE, &cookie);
}

/// Sends a browser on to where the query says.
fn redirect(exchange: &Exchange, parameter: &str, response: &mut Response) {
    let asked = exchange.query.get(parameter);
    if let Some(path) = asked.filter(|path| is_own_path(path)) {
        *response.status_mut() = StatusCode::FOUND;
        reply::set(response, header::LOCATION, &exchange.url(path));
    }
}

/// Only a path of this server: anything else would send a signed-in user elsewhere.
fn is_own_path(next: &str) -> bool {
    next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n', '\t'])
}

//! Our own routes: accounts, sessions, organisations and what goes with them.
//!
//! Each is a row of a table: how it is called, who may, what goes in and what comes out. From that
//! row a request is dispatched and checked, and the `OpenAPI` document is made, so that what is
//! described is what is served.
//!
//! Invariants: who may call is checked before anything of the body is read; a query parameter, a
//! member of a body or a method that the row does not name is refused; every answer is JSON, and
//! every error has the members `error` and `reason`.

mod accounts;
mod apps;
mod audit;
mod auth;
mod input;
mod invitations;
mod json;
mod kind;
mod limits;
mod links;
mod mail;
mod memberships;
mod openapi;
mod organisations;
mod pages;
pub(crate) mod paging;
mod passkeys;
mod providers;
mod second_factor;
pub(crate) mod sessions;
mod shape;
mod teams;

use std::future::Future;
use std::pin::Pin;

use adea_accounts::Refusal;
use http::{HeaderValue, StatusCode, header};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use crate::body::Response;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

pub(crate) use apps::{actor, app_of};
pub(crate) use input::read;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Everybody, signed in or not.
    Anybody,
    /// Whoever has signed in.
    SignedIn,
    /// Server administrators.
    Admin,
}

/// A row of the table.
pub(crate) struct Route {
    /// The method.
    pub(crate) method: &'static str,
    /// The path; a segment in braces is a parameter.
    pub(crate) path: &'static str,
    /// The name of the operation.
    pub(crate) name: &'static str,
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    /// Who may call it.
    pub(crate) who: Who,
    /// Parameters of the query.
    pub(crate) query: &'static [Parameter],
    /// What goes in, as JSON.
    pub(crate) body: Option<Form>,
    /// What comes out when all is well, and errors that are this route's own: those that follow from
    /// the row (400, 401, 403, 404, 405, 413, 415, 429, 503) need not be named.
    pub(crate) answers: &'static [Answer],
    /// Answers.
    pub(crate) handle: Handle,
}

/// Answers a request.
pub(crate) type Handle = fn(Exchange, Captures) -> Answering;

/// An answer in the making.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Response, ApiError>> + Send>>;

/// A parameter of a query.
pub(crate) struct Parameter {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it says, in one line.
    pub(crate) about: &'static str,
    /// Its kind, by name: `string`, `integer`, `boolean`, `id`, `time`, `app`, `limit`, `cursor`, or
    /// one of some words, as `newest|oldest`. A value of another kind is refused before the handler
    /// is called; see `kind.rs`.
    pub(crate) kind: &'static str,
}

/// A JSON value of a known type.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    /// The type's name.
    pub(crate) name: fn() -> std::borrow::Cow<'static, str>,
    /// The type itself.
    pub(crate) schema: fn() -> RefOr<Schema>,
    /// The types that it refers to.
    pub(crate) referred: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Form {
    /// The form of `T`.
    pub(crate) const fn of<T: ToSchema>() -> Self {
        Self {
            name: T::name,
            schema: T::schema,
            referred: T::schemas,
        }
    }
}

/// An answer that a route gives.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// When it is given, in one line.
    pub(crate) about: &'static str,
    /// What is in it.
    pub(crate) form: Option<Form>,
}

/// What stood in the path where the row has parameters, in their order.
pub(crate) struct Captures(Vec<String>);

impl Captures {
    /// The parameter at `place`, counted from 0; empty if the row has none there.
    pub(crate) fn get(&self, place: usize) -> &str {
        self.0.get(place).map_or("", String::as_str)
    }
}

/// All rows, each area's in its own file.
const AREAS: &[&[Route]] = &[
    auth::ROUTES,
    sessions::ROUTES,
    second_factor::ROUTES,
    passkeys::ROUTES,
    links::ROUTES,
    providers::ROUTES,
    accounts::ROUTES,
    organisations::ROUTES,
    teams::ROUTES,
    memberships::ROUTES,
    invitations::ROUTES,
    apps::ROUTES,
    mail::ROUTES,
    pages::ROUTES,
    audit::ROUTES,
    openapi::ROUTES,
];

/// First segments of paths that are ours.
pub(crate) const FIRSTS: &[&str] = &[
    "_auth",
    "_accounts",
    "_orgs",
    "_teams",
    "_memberships",
    "_invitations",
    "_apps",
    "_mail",
    "_audit",
    "_openapi.json",
    "_docs",
];

/// All rows.
fn routes() -> impl Iterator<Item = &'static Route> {
    AREAS.iter().flat_map(|area| area.iter())
}

impl Route {
    /// The names of the parameters of its path, in their order.
    fn parameters(&self) -> impl Iterator<Item = &'static str> {
        let segments = self.path.split('/');
        segments.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }

    /// What the parameters of its path are, if `segments` fit.
    fn matches(&self, segments: &[String]) -> Option<Captures> {
        let mut pattern = self.path.trim_start_matches('/').split('/');
        let mut captured = Vec::new();
        for segment in segments {
            let expected = pattern.next()?;
            if expected.starts_with('{') {
                captured.push(segment.clone());
            } else if expected != segment {
                return None;
            }
        }
        pattern.next().is_none().then_some(Captures(captured))
    }
}

/// Answers for a path whose first segment is one of [`FIRSTS`].
pub(crate) async fn route(exchange: Exchange, segments: &[String]) -> Result<Response, ApiError> {
    let mut fitting: Vec<(&Route, Captures)> = routes()
        .filter_map(|route| Some((route, route.matches(segments)?)))
        .collect();
    // Where a word stands in one path and a parameter in another, the word is meant.
    let parameters = |(route, _): &(&Route, Captures)| route.path.matches('{').count();
    let Some(fewest) = fitting.iter().map(parameters).min() else {
        return Err(ApiError::NotFound("There is no such route."));
    };
    fitting.retain(|row| parameters(row) == fewest);
    let method = match exchange.method.as_str() {
        "HEAD" => "GET",
        method => method,
    };
    let allowed: Vec<&str> = fitting.iter().map(|(route, _)| route.method).collect();
    let mut with_method = fitting
        .into_iter()
        .filter(|(route, _)| route.method == method);
    let Some((route, captures)) = with_method.next() else {
        return Ok(not_with_this_method(&exchange, &allowed));
    };
    limits::check(&exchange, route)?;
    permit(&exchange, route.who)?;
    // What changes something is worth as much as what somebody signs in with, and may carry it.
    if !matches!(route.method, "GET" | "HEAD" | "OPTIONS") {
        crate::transport::require_safe(&exchange)?;
    }
    input::check_path(route, &captures)?;
    input::check_query(&exchange, route)?;
    (route.handle)(exchange, captures).await
}

/// Whether a request is for a route that everybody may call, most of them to sign in.
pub(crate) fn is_for_strangers(method: &http::Method, path: &str) -> bool {
    let segments = || crate::wire::path::segments(path).ok();
    let ours = || {
        FIRSTS
            .iter()
            .any(|first| path.trim_start_matches('/').starts_with(first))
    };
    ours()
        && segments().is_some_and(|segments| {
            let mut fitting = routes().filter(|route| route.method == method.as_str());
            fitting.any(|route| {
                // Who ends a session must show that he wants to.
                route.who == Who::Anybody
                    && route.name != "logout"
                    && route.matches(&segments).is_some()
            })
        })
}

/// Whether a request is what somebody needs who has no session yet: to sign in, to sign up, to recover
/// an account, to read the pages that links in mail lead to, to look at an invitation and to decline it.
pub(crate) fn is_to_sign_in(method: &http::Method, path: &str) -> bool {
    let Ok(segments) = crate::wire::path::segments(path) else {
        return false;
    };
    let method = match method.as_str() {
        "HEAD" => "GET",
        method => method,
    };
    let within = |route: &Route| {
        let answers = ["/_invitations/look", "/_invitations/decline"];
        route.path.starts_with("/_auth/") || answers.contains(&route.path)
    };
    let fits = |route: &&Route| route.method == method && route.matches(&segments).is_some();
    // Where a word stands in one path and a parameter in another, the word is meant.
    let meant = routes()
        .filter(fits)
        .min_by_key(|route| route.path.matches('{').count());
    meant.is_some_and(|route| route.who == Who::Anybody && within(route))
}

/// Lets pass who may call.
fn permit(exchange: &Exchange, who: Who) -> Result<(), ApiError> {
    match who {
        Who::Anybody => Ok(()),
        Who::SignedIn if exchange.caller.name().is_some() => Ok(()),
        Who::Admin if exchange.caller.is_admin() => Ok(()),
        Who::SignedIn | Who::Admin if exchange.caller.name().is_none() => {
            Err(Refusal::Unauthorized("Sign in to do this.".into()).into())
        }
        Who::SignedIn | Who::Admin => {
            Err(Refusal::Forbidden("Only server administrators may do this.".into()).into())
        }
    }
}

fn not_with_this_method(exchange: &Exchange, allowed: &[&str]) -> Response {
    let mut list = allowed.join(", ");
    if allowed.contains(&"GET") {
        list.push_str(", HEAD");
    }
    let mut response = if exchange.method == http::Method::OPTIONS {
        reply::empty(StatusCode::NO_CONTENT)
    } else {
        let reason =
            format!("{{\"error\":\"method_not_allowed\",\"reason\":\"Only {list} allowed\"}}\n");
        reply::json(StatusCode::METHOD_NOT_ALLOWED, reason)
    };
    if let Ok(list) = HeaderValue::from_str(&list) {
        response.headers_mut().insert(header::ALLOW, list);
    }
    response
}

/// Answers with `value` as JSON. Nobody on the way is to keep it.
pub(crate) fn answer<T: serde::Serialize>(status: StatusCode, value: &T) -> Response {
    let mut json = serde_json::to_vec(value).unwrap_or_default();
    json.push(b'\n');
    let mut response = reply::json(status, json);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

//! From a path and a method to the handler: `CouchDB`'s grammar of URLs.
//!
//! `/{db}/{doc}/{attachment…}`, where names that begin with `_` are the server's or the
//! database's own. Slashes inside a name come as `%2F`, so segments are divided before they are
//! decoded; that is why no ordinary router fits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use adea_base::{DatabaseName, DocumentId};
use http::uri::{Authority, Uri};
use http::{HeaderValue, Method, StatusCode, header};
use hyper::body::Body as _;

use crate::api;
use crate::body::{Request, Response};
use crate::caller;
use crate::challenge::Challenge;
use crate::cors::ForeignOrigin;
use crate::couch::intake::Intake;
use crate::couch::{
    access, attachment, bulk, changes, database, design, document, find, inbox, listing, local,
    partition, server, session, view,
};
use crate::error::ApiError;
use crate::reply;
use crate::server::HttpOptions;
use crate::transport::{self, SessionCookie};
use crate::vhost;
use crate::wire::path::segments;
use crate::wire::query::Query;
use crate::{App, body::LoggedUser};

/// A request on its way to a handler: parsed, and its sender known.
pub(crate) struct Exchange {
    pub(crate) app: Arc<App>,
    /// The options that hold for this request.
    pub(crate) options: Arc<HttpOptions>,
    pub(crate) method: Method,
    pub(crate) headers: http::HeaderMap,
    pub(crate) query: Query,
    pub(crate) raw_query: String,
    pub(crate) body: Intake,
    pub(crate) caller: adea_base::Caller,
    pub(crate) handler: Option<&'static str>,
    /// The other end of the connection.
    pub(crate) peer: SocketAddr,
    /// The room that a large body takes among all that are held.
    pub(crate) room: Option<tokio::sync::OwnedSemaphorePermit>,
    /// Whether it comes from a page that is neither this server's own nor listed.
    pub(crate) foreign: bool,
    /// The host that the request's URI names, if it does.
    authority: Option<Authority>,
    /// Path and query as they are answered, which a rewriting may have changed.
    pub(crate) uri: Uri,
    /// Path and query as they were sent, if they were changed.
    pub(crate) requested: Option<Box<Uri>>,
    /// How often it was rewritten.
    pub(crate) rewrites: u32,
    /// The name of the database that the path begins with.
    pub(crate) database: String,
}

impl Exchange {
    /// A request of which it is not known who sent it.
    fn unsigned(
        app: Arc<App>,
        options: Arc<HttpOptions>,
        parts: http::request::Parts,
        body: Intake,
        peer: SocketAddr,
    ) -> Self {
        Self {
            raw_query: parts.uri.query().unwrap_or("").to_owned(),
            query: Query::default(),
            method: parts.method,
            headers: parts.headers,
            body,
            caller: adea_base::Caller::anonymous(),
            handler: None,
            peer,
            room: None,
            foreign: parts.extensions.get::<ForeignOrigin>().is_some(),
            authority: parts.uri.authority().cloned(),
            uri: parts.uri,
            requested: None,
            rewrites: 0,
            database: String::new(),
            options,
            app,
        }
    }

    /// The text of a header.
    pub(crate) fn header(&self, name: &header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the method reads.
    pub(crate) fn reads(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    /// A URL of this server, as the client called it.
    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.forwarded_https() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}{path}", self.host())
    }

    /// The host that the client called: HTTP/2 tells it in the URI.
    pub(crate) fn host(&self) -> &str {
        let of_uri = || {
            let authority = self.authority.as_ref()?.as_str();
            authority.rsplit('@').next()
        };
        self.header(&header::HOST)
            .or_else(of_uri)
            .unwrap_or("localhost")
    }

    /// Goes to the path that the host stands for, if it stands for one.
    fn apply_vhost(&mut self) {
        let hosts = &self.options.vhosts;
        if hosts.is_empty() {
            return;
        }
        if let Some(answered) = vhost::answered(hosts, self.host(), &self.uri) {
            let asked = std::mem::replace(&mut self.uri, answered);
            self.requested = Some(Box::new(asked));
        }
    }

    /// What is asked for: the segments of its path.
    fn read_target(&mut self) -> Result<Vec<String>, ApiError> {
        self.apply_vhost();
        self.query = Query::parse(self.uri.query())?;
        segments(self.uri.path())
    }

    /// Whether a proxy in front says that it took off the TLS.
    pub(crate) fn forwarded_https(&self) -> bool {
        let forwarded = self.headers.get("x-forwarded-proto");
        forwarded.is_some_and(|scheme| scheme == "https")
    }

    /// Lets server administrators pass.
    pub(crate) fn require_server_admin(&self) -> Result<(), ApiError> {
        if self.caller.is_admin() {
            return Ok(());
        }
        let reason = "You are not a server admin.".into();
        // As CouchDB: another name might do, so it is 401 for everybody.
        Err(adea_accounts::Refusal::Unauthorized(reason).into())
    }

    /// Refuses bodies of another type than JSON.
    pub(crate) fn require_json(&self) -> Result<(), ApiError> {
        let given = self.header(&header::CONTENT_TYPE).unwrap_or("");
        let essence = given.split(';').next().unwrap_or("").trim();
        if essence.eq_ignore_ascii_case("application/json") {
            Ok(())
        } else {
            Err(ApiError::ContentType("application/json"))
        }
    }
}

/// Answers one request.
pub(crate) async fn handle(app: Arc<App>, request: Request, peer: SocketAddr) -> Response {
    let (mut parts, body) = request.into_parts();
    parts.method = method_meant(parts.method, &parts.headers);
    let options = app.live.current();
    let auth = app.pod.auth();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let challenge = Challenge::of(&parts.method, path, &parts.headers);
    // Boxed, so that a connection keeps no room for it while it is idle.
    let signed = match Box::pin(caller::who(&app, &auth, &parts, peer)).await {
        Ok(signed) => signed,
        Err(error) => {
            let mut response = refused(&error, &body);
            transport::forget_cookie(&error, &auth, &parts.headers, peer, &mut response);
            challenge.put(&auth, Some(&error.to_string()), &mut response);
            return response;
        }
    };
    let name = if options.access_log {
        signed.caller.name().map(Arc::from)
    } else {
        None
    };
    let body = Intake::new(body, options.request_bytes_max);
    let unread = body.unread();
    let version = parts.version;
    let (caller, handler) = (signed.caller, signed.handler);
    let mut exchange = Exchange {
        caller,
        handler,
        ..Exchange::unsigned(app, options, parts, body, peer)
    };
    let renewed = renewed(&exchange, signed.renewed_cookie, signed.renewed_session);
    let answered = match exchange.read_target() {
        // Boxed, so that a connection keeps no room for it while it is idle.
        Ok(segments) => Box::pin(answer(exchange, segments)).await,
        Err(error) => Err(error),
    };
    let reason = answered.as_ref().err().map(ToString::to_string);
    let mut response = answered.unwrap_or_else(|error| error.response());
    challenge.put(&auth, reason.as_deref(), &mut response);
    if unread.load(Ordering::Relaxed) && version == http::Version::HTTP_11 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    if let Some(cookie) = renewed
        && !response.headers().contains_key(header::SET_COOKIE)
    {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    if let Some(name) = name {
        response.extensions_mut().insert(LoggedUser(name));
    }
    response
}

/// The cookie that goes with the answer, of the one kind or the other, if it is time for a fresh one.
fn renewed(exchange: &Exchange, couch: Option<String>, own: Option<String>) -> Option<HeaderValue> {
    if let Some(value) = couch {
        return HeaderValue::from_str(&session::cookie_header(exchange, &value)).ok();
    }
    let (value, pod) = (own?, &exchange.app.pod);
    let cookie = SessionCookie::of(&pod.auth(), &exchange.headers, exchange.peer);
    cookie.header(&value, pod.clock().now_unix_s())
}

/// A request that is answered as another one.
pub(crate) struct Rerouted {
    exchange: Exchange,
    segments: Vec<String>,
}

impl std::fmt::Debug for Rerouted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rerouted({})", self.exchange.uri)
    }
}

/// Has the request answered as if `uri` had been asked for: with the same rights, which are checked
/// anew. It goes back to where requests are routed, so that rules that lead to rules cost no stack.
pub(crate) fn reroute(mut exchange: Exchange, uri: &str) -> ApiError {
    let rerouted = uri
        .parse::<Uri>()
        .map_err(|_| ApiError::bad("The rewritten path is none."))
        .and_then(|uri| {
            exchange.query = Query::parse(uri.query())?;
            exchange.raw_query = uri.query().unwrap_or("").to_owned();
            let before = std::mem::replace(&mut exchange.uri, uri);
            exchange.requested.get_or_insert_with(|| Box::new(before));
            exchange.database.clear();
            segments(exchange.uri.path())
        });
    match rerouted {
        Ok(segments) => ApiError::Rerouted(Box::new(Rerouted { exchange, segments })),
        Err(error) => error,
    }
}

/// Routes a request until it is answered and not rewritten.
async fn answer(exchange: Exchange, segments: Vec<String>) -> Result<Response, ApiError> {
    let mut answered = route(exchange, segments).await;
    while let Err(ApiError::Rerouted(rerouted)) = answered {
        let Rerouted { exchange, segments } = *rerouted;
        answered = route(exchange, segments).await;
    }
    answered
}

/// The method that is meant: a client that can send no other than `POST` says so in a header.
fn method_meant(method: Method, headers: &http::HeaderMap) -> Method {
    const MEANT: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "DELETE", "COPY"];
    if method != Method::POST {
        return method;
    }
    let meant = headers
        .get("x-http-method-override")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            MEANT
                .into_iter()
                .find(|meant| meant.eq_ignore_ascii_case(value))
        });
    meant.and_then(|meant| meant.parse().ok()).unwrap_or(method)
}

/// Answers before anything of the body was read.
fn refused(error: &ApiError, body: &hyper::body::Incoming) -> Response {
    let mut response = error.response();
    if !body.is_end_stream() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

async fn route(mut exchange: Exchange, segments: Vec<String>) -> Result<Response, ApiError> {
    let mut segments = segments.into_iter();
    let Some(first) = segments.next() else {
        return server::welcome(&exchange);
    };
    let rest: Vec<String> = segments.collect();
    if api::FIRSTS.contains(&first.as_str()) {
        let all: Vec<String> = std::iter::once(first).chain(rest).collect();
        return api::route(exchange, &all).await;
    }
    if first == "favicon.ico" && rest.is_empty() {
        return Ok(reply::empty(StatusCode::NO_CONTENT));
    }
    if first.starts_with('_')
        && !matches!(first.as_str(), "_users" | "_replicator" | "_global_changes")
    {
        return server::route(exchange, &first, &rest).await;
    }
    let name = DatabaseName::parse(&first);
    if let Ok(name) = &name
        && let [id] = rest.as_slice()
        && inbox::is_for(&exchange, name, id)
    {
        return inbox::route(exchange, name.clone(), id).await;
    }
    exchange.database = first;
    let Some((second, more)) = rest.split_first() else {
        return one_database(exchange, name?).await;
    };
    let name = name.map_err(|_| adea_documents::DatabaseError::Missing)?;
    let entry = exchange.app.pod.enter(&name, &exchange.caller).await?;
    access::allow(&exchange, &entry, second, more)?;
    match (second.as_str(), more) {
        ("_design", [ddoc, function @ ..]) => {
            design_document(exchange, entry, ddoc, function).await
        }
        ("_local", [_, _, ..]) => Err(ApiError::bad("_local documents do not accept attachments.")),
        ("_local", [name]) => local::route(exchange, entry, name).await,
        ("_all_docs", []) => listing::all_docs(exchange, entry).await,
        ("_all_docs" | "_design_docs" | "_local_docs", [queries]) if queries == "queries" => {
            listing::queries(exchange, entry, second).await
        }
        ("_design_docs", []) => listing::design_docs(exchange, entry).await,
        ("_local_docs", []) => listing::local_docs(exchange, entry).await,
        ("_changes", []) => changes::route(exchange, entry).await,
        ("_bulk_docs", []) => bulk::docs(exchange, entry).await,
        ("_bulk_get", []) => bulk::get(exchange, entry).await,
        ("_revs_diff", []) => bulk::revs_diff(exchange, entry).await,
        ("_missing_revs", []) => bulk::missing_revs(exchange, entry).await,
        ("_find" | "_explain" | "_index" | "_aggregate", more) => {
            find::route(exchange, entry, second, more, None).await
        }
        ("_partition", more) => partition::route(exchange, entry, more).await,
        ("_access" | "_why" | "_partitions" | "_signature" | "_sync", more) => {
            access::route(exchange, entry, second, more).await
        }
        (special, _)
            if special.starts_with('_')
                && !special.starts_with("_design/")
                && !special.starts_with("_local/") =>
        {
            database::special(exchange, entry, special, more).await
        }
        (id, attachment) => any_document(exchange, entry, id, attachment).await,
    }
}

/// A database itself.
async fn one_database(exchange: Exchange, name: DatabaseName) -> Result<Response, ApiError> {
    // Before it is known whether there is such a database: that, too, is the app's own matter.
    exchange.app.pod.may_enter(&exchange.caller, &name)?;
    if access::answers(&exchange, &name)? {
        // Boxed, so that a connection keeps no room for it while it is idle.
        Box::pin(access::root(exchange, name)).await
    } else {
        database::route(exchange, name).await
    }
}

/// Documents whose ids are no words of the server, and what is attached to them.
async fn any_document(
    exchange: Exchange,
    entry: Arc<adea_pod::DatabaseEntry>,
    id: &str,
    attachment: &[String],
) -> Result<Response, ApiError> {
    if attachment.is_empty() {
        return match id.strip_prefix("_local/") {
            Some(name) => local::route(exchange, entry, name).await,
            None => document::route(exchange, entry, DocumentId::parse(id)?).await,
        };
    }
    if id.starts_with("_local/") {
        return Err(ApiError::bad("_local documents do not accept attachments."));
    }
    // `_design%2Fx/_view/y`
    if let Some(ddoc) = id.strip_prefix("_design/") {
        let ddoc = ddoc.to_owned();
        return design_document(exchange, entry, &ddoc, attachment).await;
    }
    attachment::route(exchange, entry, DocumentId::parse(id)?, attachment).await
}

/// Design documents: read and written as others, and what they define.
async fn design_document(
    exchange: Exchange,
    entry: Arc<adea_pod::DatabaseEntry>,
    name: &str,
    function: &[String],
) -> Result<Response, ApiError> {
    let id = DocumentId::parse(&format!("_design/{name}"))?;
    let Some((first, rest)) = function.split_first() else {
        return document::route(exchange, entry, id).await;
    };
    match first.as_str() {
        "_view" => view::route(exchange, entry, id, rest, None).await,
        "_info" => view::info(exchange, entry, id).await,
        "_show" | "_list" | "_update" | "_rewrite" => {
            design::route(exchange, entry, id, first, rest).await
        }
        "_search" | "_search_info" | "_nouveau" | "_nouveau_info" => {
            Err(ApiError::NotImplemented("Full-text search"))
        }
        special if special.starts_with('_') => Err(ApiError::NotFound("missing")),
        _ => attachment::route(exchange, entry, id, function).await,
    }
}

/// Answers `OPTIONS` where no browser asked for permission.
pub(crate) fn options(allowed: &'static str) -> Response {
    let mut response = reply::empty(StatusCode::NO_CONTENT);
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_answer<F, A>(_: F) -> usize
    where
        F: Fn(Arc<App>, Request, SocketAddr) -> A,
        A: Future<Output = Response>,
    {
        size_of::<A>()
    }

    /// Every connection keeps room for an answer in the making, also while it is idle.
    #[test]
    fn an_answer_in_the_making_is_small() {
        let size = size_of_answer(handle);
        assert!(size <= 2_048, "{size} bytes");
    }
}

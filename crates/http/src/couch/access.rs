//! Databases with access control: what may be asked of each of their faces.
//!
//! The whole of such a database is read by who administers it. Others write to it, and read what they
//! may through `{db}/mine`; see the crate `adea_access`. Here is what the router asks before it goes
//! on.
//!
//! Invariant: what is not named here is refused. A new resource is not served through a part of a
//! database, or to who may only write, before somebody has thought of it.

mod gate;
mod told;

use std::sync::Arc;

use adea_access::AccessSettings;
use adea_base::DatabaseName;
use adea_pod::{AccessError, AccessState, DatabaseEntry, PodError};
use http::{Method, StatusCode, header};
use serde_json::json;

use crate::body::Response;
use crate::couch::{bulk, database, intake};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

pub(crate) use gate::allow;

/// Whether `/{db}` is answered here.
pub(crate) fn answers(exchange: &Exchange, name: &DatabaseName) -> Result<bool, ApiError> {
    let made = exchange.method == Method::PUT && exchange.query.get("access").is_some();
    Ok(made || exchange.app.pod.has_access_control(name)?)
}

/// Answers for `/{db}` and its faces, where there is access control or shall be.
pub(crate) async fn root(exchange: Exchange, name: DatabaseName) -> Result<Response, ApiError> {
    match exchange.method.as_str() {
        "GET" | "HEAD" => {
            let entry = exchange.app.pod.enter(&name, &exchange.caller).await?;
            gate::allow_root(&exchange, &entry)?;
            let mut out = Vec::with_capacity(512);
            database::write_info(&mut out, &exchange, &entry)?;
            out.push(b'\n');
            Ok(reply::json(StatusCode::OK, out))
        }
        "POST" => {
            let entry = exchange.app.pod.enter(&name, &exchange.caller).await?;
            bulk::post(exchange, entry).await
        }
        "DELETE" => match exchange.app.pod.part_of(&name)? {
            Some(whole) => {
                database::require_maker(&exchange, &name)?;
                Err(PodError::from(AccessError::NotOfPart(whole)).into())
            }
            None => database::route(exchange, name).await,
        },
        "PUT" => match exchange.query.get("access") {
            Some("true") => create(exchange, name).await,
            None | Some("false") => database::route(exchange, name).await,
            Some(_) => Err(ApiError::bad("Invalid `access` parameter")),
        },
        _ => database::route(exchange, name).await,
    }
}

/// Makes a database with access control.
async fn create(exchange: Exchange, name: DatabaseName) -> Result<Response, ApiError> {
    database::require_maker(&exchange, &name)?;
    let partitioned = database::read_creation(&exchange, &name)?;
    let (pod, by) = (&exchange.app.pod, crate::api::actor(&exchange));
    let made = pod.make_database_with_access(&name, partitioned, &by);
    made.await?;
    let mut response = reply::ok(StatusCode::CREATED);
    let location = exchange.url(&format!("/{}", reply::path_segment(name.as_str())));
    reply::set(&mut response, header::LOCATION, &location);
    Ok(response)
}

/// Answers for what is there of access itself: `/{db}/_access` and the like.
pub(crate) async fn route(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    name: &str,
    more: &[String],
) -> Result<Response, ApiError> {
    match (name, more) {
        ("_access", []) => settings(exchange, entry).await,
        ("_why", id) if !id.is_empty() => told::why(&exchange, &entry, &id.join("/")),
        ("_partitions", []) => told::partitions(&exchange, &entry),
        ("_signature", []) => told::signature(exchange, entry).await,
        ("_sync", []) => told::sync(&exchange, &entry),
        _ => Err(ApiError::NotFound("missing")),
    }
}

/// Answers for `/{db}/_access`: what access is ruled by, and how far that is carried out.
async fn settings(mut exchange: Exchange, entry: Arc<DatabaseEntry>) -> Result<Response, ApiError> {
    match exchange.method.as_str() {
        "GET" | "HEAD" => {
            database::require_admin(&exchange, &entry)?;
            let state = exchange.app.pod.access_state(&entry)?;
            Ok(told(StatusCode::OK, &state))
        }
        "PUT" => {
            database::require_admin(&exchange, &entry)?;
            exchange.require_json()?;
            let body = intake::whole(&mut exchange).await?;
            let text = std::str::from_utf8(&body)
                .map_err(|_| ApiError::from(adea_documents::json::JsonError::Invalid))?;
            let settings = AccessSettings::parse(text)
                .map_err(|error| PodError::from(AccessError::Invalid(error.to_string())))?;
            let by = crate::api::actor(&exchange);
            let state = exchange.app.pod.set_access(&entry, settings, &by).await?;
            let status = if state.progress.running {
                StatusCode::ACCEPTED
            } else {
                StatusCode::OK
            };
            Ok(told(status, &state))
        }
        "DELETE" => {
            database::require_admin(&exchange, &entry)?;
            Err(PodError::from(AccessError::StaysOn).into())
        }
        _ => Err(ApiError::MethodNotAllowed("GET,HEAD,PUT")),
    }
}

fn told(status: StatusCode, state: &AccessState) -> Response {
    let progress = &state.progress;
    let mut told = json!({"access": state.settings.is_some()});
    if let (Some(settings), Some(members)) = (&state.settings, told.as_object_mut()) {
        let standing = if progress.running {
            "rebuilding"
        } else {
            "ready"
        };
        members.insert("state".to_owned(), json!(standing));
        members.insert("settings".to_owned(), settings.summary());
        members.insert(
            "rebuild".to_owned(),
            json!({
                "started_on": progress.started_on,
                "done": progress.done,
                "total": progress.total,
                "progress": progress.percent(),
                "failed": progress.failed,
            }),
        );
    }
    reply::json(status, format!("{told}\n"))
}

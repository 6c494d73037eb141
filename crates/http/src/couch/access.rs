//! Databases with access control: what may be asked of each of their faces.
//!
//! The whole of such a database is read by who administers it. Others write to it, and read what they
//! may through `{db}/mine`; see the crate `adea_access`. Here is what the router asks before it goes
//! on.
//!
//! Invariant: what is not named here is refused. A new resource is not served through a part of a
//! database, or to who may only write, before somebody has thought of it.

mod gate;

use std::sync::Arc;

use adea_base::DatabaseName;
use adea_pod::{AccessError, DatabaseEntry, PodError};
use http::{Method, StatusCode};

use crate::body::Response;
use crate::couch::{bulk, database};
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
        _ => database::route(exchange, name).await,
    }
}

/// Answers for what is there of access itself: `/{db}/_access` and the like.
pub(crate) async fn route(
    _exchange: Exchange,
    _entry: Arc<DatabaseEntry>,
    _name: &str,
    _more: &[String],
) -> Result<Response, ApiError> {
    Err(ApiError::NotFound("missing"))
}

//! What `CouchDB` tells of and does to a cluster, on one node: `_membership`, `_cluster_setup`,
//! `_reshard`.
//!
//! A server is set up when it has an administrator and its system databases, which it makes at its
//! first start. Tools that set up a single node therefore find it done, and are not told off for
//! asking again.

use adea_base::DatabaseName;
use adea_documents::DatabaseError;
use adea_pod::PodError;
use http::{Method, StatusCode};
use serde_json::Value;

use crate::body::Response;
use crate::couch::intake;
use crate::couch::node::NODE;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// The longest body of a setup.
const SETUP_MAX: u64 = 64 << 10;
/// Databases that a setup may ask for.
const DATABASES_MAX: usize = 100;
/// The databases that a server has which is set up.
const SYSTEM_DATABASES: [&str; 2] = ["_users", "_replicator"];

/// Answers for `/_membership`, `/_cluster_setup` and `/_reshard`.
pub(crate) async fn route(
    exchange: Exchange,
    first: &str,
    rest: &[String],
) -> Result<Response, ApiError> {
    exchange.require_server_admin()?;
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (first, rest.as_slice()) {
        ("_membership", []) if exchange.reads() => {
            let body = format!("{{\"all_nodes\":[\"{NODE}\"],\"cluster_nodes\":[\"{NODE}\"]}}\n");
            Ok(reply::json(StatusCode::OK, body))
        }
        ("_membership", []) => Err(ApiError::MethodNotAllowed("GET")),
        ("_cluster_setup", []) => match exchange.method.as_str() {
            "GET" | "HEAD" => state(&exchange),
            "POST" => set_up(exchange).await,
            _ => Err(ApiError::MethodNotAllowed("GET,POST")),
        },
        ("_reshard", rest) => reshard(&exchange, rest),
        _ => Err(ApiError::NotFound("missing")),
    }
}

/// Tells whether the server is set up, with the databases that are asked for.
fn state(exchange: &Exchange) -> Result<Response, ApiError> {
    let wanted = match exchange.query.get("ensure_dbs_exist") {
        None => SYSTEM_DATABASES.map(str::to_owned).to_vec(),
        Some(json) => {
            let list: Value = serde_json::from_str(json)
                .map_err(|_| ApiError::bad("ensure_dbs_exist must be a JSON array."))?;
            names(Some(&list))?.unwrap_or_default()
        }
    };
    let pod = &exchange.app.pod;
    let there = |name: &String| {
        let name = DatabaseName::parse(name);
        name.is_ok_and(|name| pod.database(&name).is_ok())
    };
    let state = if pod.has_admin() && wanted.iter().all(there) {
        "single_node_enabled"
    } else {
        "single_node_disabled"
    };
    let body = format!("{{\"state\":\"{state}\"}}\n");
    Ok(reply::json(StatusCode::OK, body))
}

/// A list of databases' names.
fn names(list: Option<&Value>) -> Result<Option<Vec<String>>, ApiError> {
    let wrong = || ApiError::bad("ensure_dbs_exist must be an array of at most 100 names.");
    let Some(list) = list else { return Ok(None) };
    let list = list.as_array().ok_or_else(wrong)?;
    if list.len() > DATABASES_MAX {
        return Err(wrong());
    }
    let names = list.iter().map(|name| name.as_str().map(str::to_owned));
    names.collect::<Option<_>>().ok_or_else(wrong).map(Some)
}

async fn set_up(mut exchange: Exchange) -> Result<Response, ApiError> {
    exchange.require_json()?;
    let body = intake::whole_up_to(&mut exchange, SETUP_MAX).await?;
    let setup: Value =
        serde_json::from_slice(&body).map_err(|_| ApiError::bad("Missing JSON body"))?;
    match setup.get("action").and_then(Value::as_str) {
        Some("enable_single_node") => {
            make_admin(&exchange, &setup).await?;
            make_databases(&exchange, &setup).await?;
        }
        Some("finish_cluster") => make_databases(&exchange, &setup).await?,
        Some("enable_cluster" | "add_node" | "remove_node" | "receive_cookie") => {
            return Err(ApiError::bad(
                "This server is a single node and joins no cluster; use the action \"enable_single_node\".",
            ));
        }
        Some(_) | None => return Err(ApiError::bad("Invalid Action")),
    }
    Ok(reply::ok(StatusCode::CREATED))
}

/// Gives the administrator that is named his password.
async fn make_admin(exchange: &Exchange, setup: &Value) -> Result<(), ApiError> {
    let text = |name: &str| setup.get(name).and_then(Value::as_str);
    let password = text("password_hash").or_else(|| text("password"));
    match (text("username"), password) {
        (Some(name), Some(password)) => {
            let by = crate::api::actor(exchange);
            let pod = &exchange.app.pod;
            pod.set_admin_by(name, password, Some(&by)).await?;
            Ok(())
        }
        (None, None) => Ok(()),
        _ => Err(ApiError::bad(
            "A setup names both `username` and `password`, or neither.",
        )),
    }
}

async fn make_databases(exchange: &Exchange, setup: &Value) -> Result<(), ApiError> {
    let wanted = names(setup.get("ensure_dbs_exist"))?;
    let wanted = wanted.unwrap_or_else(|| SYSTEM_DATABASES.map(str::to_owned).to_vec());
    for name in wanted {
        let name = DatabaseName::parse(&name)?;
        match exchange.app.pod.create_database(&name, false).await {
            Ok(()) | Err(PodError::Database(DatabaseError::Exists)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// There is one shard, and nothing to divide it for.
fn reshard(exchange: &Exchange, rest: &[&str]) -> Result<Response, ApiError> {
    if exchange.method == Method::POST || exchange.method == Method::PUT {
        return Err(ApiError::NotImplemented("Resharding"));
    }
    let body = match rest {
        [] => {
            "{\"state\":\"stopped\",\"state_reason\":null,\"completed\":0,\"failed\":0,\"running\":0,\"stopped\":0,\"total\":0}\n"
        }
        ["state"] => "{\"state\":\"stopped\",\"reason\":null}\n",
        ["jobs"] => "{\"jobs\":[],\"offset\":0,\"total_rows\":0}\n",
        _ => return Err(ApiError::NotFound("missing")),
    };
    Ok(reply::json(StatusCode::OK, body))
}

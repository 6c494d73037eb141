//! One node: `/_node/{name}/…`, its configuration and its statistics.
//!
//! There is one node, which answers to `_local` and to its own name.

mod statistics;

use adea_documents::json::write_json_string;
use http::{Method, StatusCode};

use crate::body::Response;
use crate::couch::{configuration, server};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// The name of the one node, in the form that `CouchDB`'s names have.
pub(crate) const NODE: &str = "adea@127.0.0.1";

/// The range of hashes that the one shard holds.
pub(crate) const RANGE: &str = "00000000-ffffffff";

/// Answers for `/_node/…`.
pub(crate) async fn route(exchange: Exchange, rest: &[String]) -> Result<Response, ApiError> {
    exchange.require_server_admin()?;
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let Some((node, rest)) = rest.split_first() else {
        return Err(ApiError::bad("Incomplete path to _node request"));
    };
    if *node != "_local" && *node != NODE {
        return Err(ApiError::NoNode((*node).to_owned()));
    }
    let reads = exchange.reads();
    match rest {
        [] => {
            let mut out = b"{\"name\":".to_vec();
            write_json_string(&mut out, NODE);
            out.extend_from_slice(b"}\n");
            Ok(reply::json(StatusCode::OK, out))
        }
        ["_config", rest @ ..] => configuration::route(exchange, rest).await,
        ["_restart"] if exchange.method == Method::POST => Err(ApiError::Declined(
            "A server does not restart itself; stop it, and let what started it start it again.",
        )),
        ["_restart"] => Err(ApiError::MethodNotAllowed("POST")),
        ["_stats", path @ ..] if reads => statistics::stats(&exchange, path),
        ["_system"] if reads => Ok(statistics::system(&exchange)),
        ["_versions"] if reads => Ok(reply::json(StatusCode::OK, VERSIONS)),
        ["_prometheus"] => server::metrics(&exchange),
        ["_smoosh", "status"] if reads => Ok(statistics::smoosh(&exchange)),
        ["_stats", ..] | ["_system" | "_versions"] | ["_smoosh", "status"] => {
            Err(ApiError::MethodNotAllowed("GET"))
        }
        _ => Err(ApiError::NotFound("missing")),
    }
}

/// What it is made of. There is no Erlang; tools ask for the hashes that it would have.
const VERSIONS: &str = concat!(
    "{\"erlang\":{\"version\":\"none\",\"supported_hashes\":[\"md5\",\"sha\",\"sha256\",\"argon2id\"]},",
    "\"collation_driver\":{\"name\":\"icu4x\",\"library_version\":\"2\",",
    "\"collation_algorithm_version\":\"16.0\",\"collator_version\":\"root\"},",
    "\"javascript_engine\":{\"name\":\"quickjs\",\"version\":\"ng\"}}\n"
);

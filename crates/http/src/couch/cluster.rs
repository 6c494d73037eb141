//! What `CouchDB` tells of and does to a cluster, on one node: `_membership`, `_cluster_setup`.

use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;

/// Answers for `/_membership` and `/_cluster_setup`.
pub(crate) async fn route(exchange: Exchange, first: &str) -> Result<Response, ApiError> {
    exchange.require_server_admin()?;
    if first == "_membership" {
        let body = "{\"all_nodes\":[\"adea@127.0.0.1\"],\"cluster_nodes\":[\"adea@127.0.0.1\"]}\n";
        return Ok(crate::reply::json(http::StatusCode::OK, body));
    }
    Err(ApiError::NotImplemented("This part of the administration"))
}

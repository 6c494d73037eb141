//! Replication by the server: `_replicate` and `_scheduler`.

use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;

/// Answers for `/_replicate` and `/_scheduler/…`.
pub(crate) async fn route(
    exchange: Exchange,
    _first: &str,
    _rest: &[String],
) -> Result<Response, ApiError> {
    exchange.require_server_admin()?;
    Err(ApiError::NotImplemented("Replication by the server"))
}

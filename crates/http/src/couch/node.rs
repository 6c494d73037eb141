//! One node: `/_node/{name}/…`, its configuration and its statistics.

use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;

/// Answers for `/_node/…`.
pub(crate) async fn route(exchange: Exchange, _rest: &[String]) -> Result<Response, ApiError> {
    exchange.require_server_admin()?;
    Err(ApiError::NotImplemented("This part of the administration"))
}

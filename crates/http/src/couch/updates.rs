//! The feed of databases made, changed and dropped: `_db_updates`.

use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;

/// Answers for `/_db_updates`.
pub(crate) async fn route(exchange: Exchange) -> Result<Response, ApiError> {
    exchange.require_server_admin()?;
    Err(ApiError::NotImplemented("The feed of databases"))
}

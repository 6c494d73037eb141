//! One partition of a partitioned database: `/{db}/_partition/{partition}/…`.

use std::sync::Arc;

use adea_pod::DatabaseEntry;

use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;

/// Answers for `/{db}/_partition/…`.
pub(crate) async fn route(
    _exchange: Exchange,
    _entry: Arc<DatabaseEntry>,
    _rest: &[String],
) -> Result<Response, ApiError> {
    Err(ApiError::NotImplemented("A query of one partition"))
}

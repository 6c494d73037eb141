//! Mango: `_find`, `_explain`, `_index`, `_aggregate`.

use std::sync::Arc;

use adea_pod::DatabaseEntry;

use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;

/// Answers for `/{db}/_find` and its like, also inside one partition.
pub(crate) async fn route(
    _exchange: Exchange,
    _entry: Arc<DatabaseEntry>,
    _special: &str,
    _rest: &[String],
    _partition: Option<&str>,
) -> Result<Response, ApiError> {
    Err(ApiError::NotImplemented("A Mango query"))
}

//! Views: `/{db}/_design/{ddoc}/_view/{view}`, their description, compaction and clean-up.

use std::sync::Arc;

use adea_base::DocumentId;
use adea_pod::DatabaseEntry;

use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;

/// Answers for `/{db}/_design/{ddoc}/_view/…`, also inside one partition.
pub(crate) async fn route(
    _exchange: Exchange,
    _entry: Arc<DatabaseEntry>,
    _ddoc: DocumentId,
    _rest: &[String],
    _partition: Option<&str>,
) -> Result<Response, ApiError> {
    Err(ApiError::NotImplemented("A view"))
}

/// Answers for `/{db}/_design/{ddoc}/_info`.
pub(crate) async fn info(
    _exchange: Exchange,
    _entry: Arc<DatabaseEntry>,
    _ddoc: DocumentId,
) -> Result<Response, ApiError> {
    Err(ApiError::NotImplemented("A view index's description"))
}

/// Answers for `/{db}/_compact/{ddoc}`; the caller is an administrator of the database.
pub(crate) async fn compact(
    _exchange: Exchange,
    _entry: Arc<DatabaseEntry>,
    _ddoc: &str,
) -> Result<Response, ApiError> {
    Err(ApiError::NotImplemented("A view index's compaction"))
}

/// Answers for `/{db}/_view_cleanup`; the caller is an administrator of the database.
pub(crate) async fn cleanup(
    _exchange: Exchange,
    _entry: Arc<DatabaseEntry>,
) -> Result<Response, ApiError> {
    Ok(crate::reply::ok(http::StatusCode::ACCEPTED))
}

//! Functions of design documents: `_show`, `_list`, `_update`, `_rewrite`.

use std::sync::Arc;

use adea_base::DocumentId;
use adea_pod::DatabaseEntry;

use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;

/// Answers for `/{db}/_design/{ddoc}/_{function}/…`; `function` has the underscore.
pub(crate) async fn route(
    _exchange: Exchange,
    _entry: Arc<DatabaseEntry>,
    _ddoc: DocumentId,
    _function: &str,
    _rest: &[String],
) -> Result<Response, ApiError> {
    Err(ApiError::NotImplemented("A design document's function"))
}

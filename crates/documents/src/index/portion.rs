//! A portion of documents, worked out beside the store's thread and written on it.

use adea_store::{Decline, EngineError, Op, Transaction, View};

use super::state::IndexState;
use crate::error::{DatabaseError, corrupt};
use crate::keys::DatabaseNumber;

/// What a document has in an index, as JSON texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// Everything that a document has in an index, in the order of emission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedDocument {
    /// The document.
    pub id: String,
    /// No rows: it has left the index, being deleted, purged, or of no interest.
    pub rows: Vec<Row>,
}

/// What a portion of documents changes.
#[derive(Debug)]
pub struct Portion {
    before: IndexState,
    after: IndexState,
    ops: Vec<Op>,
}

impl Portion {
    /// Bytes that it writes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.ops.iter().map(Op::size).sum()
    }

    /// The index as it will be.
    #[must_use]
    pub fn after(&self) -> &IndexState {
        &self.after
    }
}

/// Works out what changes when `documents` are as given and the index has come to the sequences
/// `through` and `purged_through`. Of a document that comes twice, the last counts.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn prepare(
    view: &dyn View,
    database: DatabaseNumber,
    index: &IndexState,
    documents: &[MappedDocument],
    through: u64,
    purged_through: u64,
) -> Result<Portion, EngineError> {
    let _ = (view, database, index, documents, through, purged_through);
    Err(corrupt("not yet"))
}

/// Writes a portion, if the index is still where [`prepare`] saw it; else answers false, and the
/// portion is to be prepared again.
///
/// # Errors
/// [`DatabaseError::Missing`] if the database was dropped meanwhile.
pub fn apply(
    tx: &mut Transaction<'_>,
    database: DatabaseNumber,
    portion: Portion,
) -> Result<bool, Decline<DatabaseError>> {
    let _ = (tx, database, portion.before);
    Err(Decline::Engine(corrupt("not yet")))
}

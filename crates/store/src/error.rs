//! What a write can end in besides success.

use crate::engine::EngineError;

/// Why a decided change was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A write or a sync failed once; the store refuses all since then. Restart after mending
    /// the disk: what was acknowledged is there, what failed may or may not be.
    #[error("the store refuses writes since a write failed: {0}")]
    Poisoned(String),
    /// The permit is of an older term than the store has seen; ask for a new one.
    #[error("the write permit is of term {permit}, the store is at term {current}")]
    Fenced {
        /// The term of the permit.
        permit: u64,
        /// The term the store is at.
        current: u64,
    },
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

/// Why a transaction did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactError<E> {
    /// The caller's own decision; nothing was changed.
    #[error(transparent)]
    Refused(E),
    /// The store could not read what the decision needs; nothing was changed.
    #[error(transparent)]
    Engine(EngineError),
    /// The store did not take it.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

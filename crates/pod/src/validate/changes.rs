//! When the design documents of each database last changed, for who validated by what he read.
//!
//! It is noted inside the transaction that changes one, and transactions run one after the other:
//! whoever asks in a later one is told, although nothing of it is durable yet. What was read of a
//! database is good for as long as nothing was noted behind the sequence at which it was read.
//! Nothing is kept over a restart, since nothing that was read is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use adea_documents::DatabaseNumber;
use parking_lot::Mutex;

/// The sequences of the last changes of design documents.
#[derive(Debug, Default)]
pub(crate) struct DesignChanges {
    /// Of any database: nearly always the only question.
    newest: AtomicU64,
    of: Mutex<HashMap<u64, u64>>,
}

impl DesignChanges {
    /// Notes, within a transaction, that a design document changed at `sequence`.
    pub(crate) fn note(&self, database: DatabaseNumber, sequence: u64) {
        self.of.lock().insert(database.0, sequence);
        self.newest.fetch_max(sequence, Ordering::Release);
    }

    /// Whether, within a transaction, what was read when the store stood at `read_at` still holds.
    pub(crate) fn holds(&self, database: DatabaseNumber, read_at: u64) -> bool {
        self.newest.load(Ordering::Acquire) <= read_at
            || self
                .of
                .lock()
                .get(&database.0)
                .is_none_or(|changed| *changed <= read_at)
    }

    /// Forgets a database that was dropped: its number never comes again.
    pub(crate) fn forget(&self, database: DatabaseNumber) {
        self.of.lock().remove(&database.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_holds_until_a_design_document_of_that_database_changes() {
        let (changes, one, other) = (
            DesignChanges::default(),
            DatabaseNumber(1),
            DatabaseNumber(2),
        );
        assert!(changes.holds(one, 0));
        changes.note(one, 7);
        assert!(!changes.holds(one, 6));
        assert!(changes.holds(one, 7));
        assert!(changes.holds(other, 0));
        changes.note(other, 9);
        assert!(changes.holds(one, 7));
        assert!(!changes.holds(other, 8));
        changes.forget(other);
        assert!(changes.holds(other, 0));
    }
}

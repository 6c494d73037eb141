//! How far a run is, as lists of tasks show it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A run, as lists of tasks show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexTask {
    /// The database's name.
    pub database: String,
    /// The design document.
    pub design_document: String,
    /// Changes looked at.
    pub changes_done: u64,
    /// Changes to look at, as counted when it began.
    pub total_changes: u64,
    /// The same in percent.
    pub percent: u64,
    /// When it began, in seconds since the Unix epoch.
    pub started_on: u64,
    /// When it came forward last.
    pub updated_on: u64,
}

/// What a run counts while it works.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) started_on: u64,
    pub(super) updated_on: AtomicU64,
    pub(super) done: AtomicU64,
    pub(super) total: AtomicU64,
}

impl Progress {
    pub(super) fn task(&self, database: &str, design_document: &str) -> IndexTask {
        let total_changes = self.total.load(Ordering::Relaxed);
        let changes_done = self.done.load(Ordering::Relaxed).min(total_changes);
        IndexTask {
            database: database.to_owned(),
            design_document: design_document.to_owned(),
            changes_done,
            total_changes,
            percent: (changes_done * 100).checked_div(total_changes).unwrap_or(0),
            started_on: self.started_on,
            updated_on: self.updated_on.load(Ordering::Relaxed),
        }
    }

    pub(super) fn advance(&self, changes: u64, now: u64) {
        self.done.fetch_add(changes, Ordering::Relaxed);
        self.updated_on.store(now, Ordering::Relaxed);
    }
}

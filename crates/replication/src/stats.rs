//! What a replication has done so far, for its checkpoint and for those who watch it.

use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::sequence::Sequence;

/// Counts, by `CouchDB`'s names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Revisions that the target was asked about.
    pub missing_checked: u64,
    /// Revisions that it lacked.
    pub missing_found: u64,
    /// Documents read from the source.
    pub docs_read: u64,
    /// Documents written to the target.
    pub docs_written: u64,
    /// Documents that the target refused.
    pub doc_write_failures: u64,
    /// Documents that were asked for many at once.
    pub bulk_get_docs: u64,
    /// Requests that asked so.
    pub bulk_get_attempts: u64,
}

impl Stats {
    /// Adds what a part has done.
    pub fn add(&mut self, other: &Self) {
        self.missing_checked += other.missing_checked;
        self.missing_found += other.missing_found;
        self.docs_read += other.docs_read;
        self.docs_written += other.docs_written;
        self.doc_write_failures += other.doc_write_failures;
        self.bulk_get_docs += other.bulk_get_docs;
        self.bulk_get_attempts += other.bulk_get_attempts;
    }

    /// The counts of a checkpoint, in its order.
    #[must_use]
    pub fn of_history(&self) -> [(&'static str, u64); 7] {
        [
            ("missing_checked", self.missing_checked),
            ("missing_found", self.missing_found),
            ("docs_read", self.docs_read),
            ("docs_written", self.docs_written),
            ("doc_write_failures", self.doc_write_failures),
            ("bulk_get_docs", self.bulk_get_docs),
            ("bulk_get_attempts", self.bulk_get_attempts),
        ]
    }
}

/// How far a replication is.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What it has done.
    pub stats: Stats,
    /// Changes left at the source, as it told last.
    pub pending: Option<u64>,
    /// The newest place of the source that was read.
    pub source_sequence: Sequence,
    /// Everything up to here is at the target.
    pub through: Sequence,
    /// Everything up to here is written down.
    pub checkpointed: Sequence,
    /// Whether it waits for its turn to work.
    pub waiting: bool,
}

impl Snapshot {
    /// As `CouchDB` shows it in `info` and `_replication_stats`.
    #[must_use]
    pub fn to_value(&self) -> Map<String, Value> {
        let stats = &self.stats;
        let pending = self.pending.map_or(Value::Null, Value::from);
        let fields = [
            ("revisions_checked", stats.missing_checked.into()),
            ("missing_revisions_found", stats.missing_found.into()),
            ("docs_read", stats.docs_read.into()),
            ("docs_written", stats.docs_written.into()),
            ("changes_pending", pending),
            ("doc_write_failures", stats.doc_write_failures.into()),
            ("bulk_get_docs", stats.bulk_get_docs.into()),
            ("bulk_get_attempts", stats.bulk_get_attempts.into()),
            ("checkpointed_source_seq", self.checkpointed.to_value()),
            ("source_seq", self.source_sequence.to_value()),
            ("through_seq", self.through.to_value()),
        ];
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

/// How far a replication is, for those who watch it while it runs.
#[derive(Debug)]
pub struct Progress(Mutex<Snapshot>);

impl Default for Progress {
    fn default() -> Self {
        Self(Mutex::new(Snapshot {
            stats: Stats::default(),
            pending: None,
            source_sequence: Sequence::zero(),
            through: Sequence::zero(),
            checkpointed: Sequence::zero(),
            waiting: true,
        }))
    }
}

impl Progress {
    /// How far it is now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.0.lock().clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.0.lock());
    }
}

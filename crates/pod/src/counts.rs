//! What is told of a database in numbers: of all of it, or of what a reader sees of it.
//!
//! Invariant: in a scope every number follows from the labels and documents that the reader sees, and
//! from nothing else: how much there is besides is nobody's business who may not read it.

use std::ops::ControlFlow;
use std::sync::Arc;

use adea_base::Sight;
use adea_documents::database::{self, Statistics};
use adea_documents::reader::Reader;
use adea_store::{Direction, EngineError, View};

use crate::databases::{DatabaseEntry, DatabaseInfo};
use crate::error::PodError;
use crate::follow_changes::{Course, Marks};
use crate::pod::Pod;

impl DatabaseEntry {
    /// The place in its feed of who has seen all up to `sequence`, by the rights of now.
    #[must_use]
    pub fn place(&self, sequence: u64) -> String {
        let mut token = Vec::new();
        Marks::new(self, &Course::behind(self, sequence)).end(&mut token);
        String::from_utf8(token).unwrap_or_default()
    }

    /// Whether all documents of it are read through this entry.
    #[must_use]
    pub fn shows_all(&self) -> bool {
        self.scope.sight().is_none()
    }
}

impl Pod {
    /// What is counted of a database, as far as it is seen through `entry`.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn told_counts(&self, entry: &DatabaseEntry) -> Result<Statistics, PodError> {
        let view = self.view();
        Ok(match entry.scope.sight() {
            None => database::statistics(view.as_ref(), entry.number)?,
            Some(sight) => counted(view.as_ref(), entry, sight)?,
        })
    }

    /// What is told of a database, as far as it is seen through `entry`.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn told_info(&self, entry: &DatabaseEntry) -> Result<DatabaseInfo, PodError> {
        if entry.shows_all() {
            return self.database_info(entry);
        }
        let statistics = self.told_counts(entry)?;
        let active_bytes = statistics.external_bytes + 64 * statistics.changes();
        Ok(DatabaseInfo {
            statistics,
            file_bytes: active_bytes,
            active_bytes,
            compacting: false,
        })
    }
}

/// The place in the feed of a database that stands for its sequence `through`: for who does not see
/// all, that of the last change before it that he sees.
pub(crate) fn told_sequence(
    view: &dyn View,
    entry: &DatabaseEntry,
    through: u64,
) -> Result<String, PodError> {
    let mut sequence = through;
    if !entry.shows_all() {
        sequence = 0;
        let reader = Reader {
            view,
            database: entry.number,
            scope: entry.scope.clone(),
        };
        reader.walk_changes(0, through, Direction::Reverse, |at, _| {
            sequence = at;
            Ok(ControlFlow::Break(()))
        })?;
    }
    Ok(entry.place(sequence))
}

fn counted(
    view: &dyn View,
    entry: &DatabaseEntry,
    sight: &Arc<dyn Sight>,
) -> Result<Statistics, EngineError> {
    let reader = Reader {
        view,
        database: entry.number,
        scope: entry.scope.clone(),
    };
    let mut sum = Statistics::default();
    for label in reader.labels_seen(sight)? {
        sum.documents += label.documents;
        sum.deleted += label.deleted;
        sum.external_bytes += label.external_bytes;
        sum.update_sequence = sum.update_sequence.max(label.last_sequence);
    }
    Ok(sum)
}

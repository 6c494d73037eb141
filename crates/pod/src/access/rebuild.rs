//! Putting the documents of a database under their labels anew, in the background, when it was set
//! otherwise where access lists come from.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adea_documents::DatabaseNumber;
use parking_lot::Mutex;

use super::AccessError;
use crate::databases::DatabaseEntry;
use crate::pod::Pod;

/// What is rebuilt.
#[derive(Default)]
pub(crate) struct Rebuilds {
    running: Mutex<HashMap<DatabaseNumber, Arc<Rebuild>>>,
}

/// A rebuild that runs.
struct Rebuild {
    total: u64,
    done: AtomicU64,
}

impl Pod {
    /// That documents of a database are being put under their labels, if they are.
    #[must_use]
    pub fn rebuilding(&self, entry: &DatabaseEntry) -> Option<AccessError> {
        let settings = &entry.settings;
        if settings.labels == settings.labelled {
            return None;
        }
        let running = self.inner.access.rebuilds.running.lock();
        let rebuild = running.get(&entry.number);
        let count = |count: fn(&Rebuild) -> u64| rebuild.map_or(0, |rebuild| count(rebuild));
        Some(AccessError::Rebuilding {
            done: count(|rebuild| rebuild.done.load(Ordering::Relaxed)),
            total: count(|rebuild| rebuild.total),
        })
    }
}

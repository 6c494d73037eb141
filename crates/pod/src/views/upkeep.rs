//! What is told of a design document's indexes, and giving back the room of those nobody names.

use std::sync::Arc;

use adea_documents::database;
use adea_documents::index::{self, IndexState, Signature};
use adea_documents::reader::Reader;

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;

/// What is told of a design document's indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesignInfo {
    /// A name for all of them together.
    pub signature: Signature,
    /// What the functions are written in.
    pub language: String,
    /// Bytes on disk.
    pub file_bytes: u64,
    /// Bytes of what is alive.
    pub active_bytes: u64,
    /// Bytes of keys and values.
    pub external_bytes: u64,
    /// How far they are.
    pub update_sequence: u64,
    /// How many purges they have seen.
    pub purge_sequence: u64,
    /// Changes that are not in them yet.
    pub updates_pending: u64,
    /// Whether they are being brought up to date.
    pub running: bool,
    /// Who waits for that.
    pub waiting_clients: u64,
    /// Whether their room is being given back.
    pub compacting: bool,
    /// Which order of texts they have.
    pub collator_version: String,
}

fn collator_version() -> String {
    format!("adea-{}", adea_documents::collation::SORT_KEY_VERSION)
}

/// Bytes that a row takes besides what it says; an estimate where the engine has none.
const ROW_BYTES: u64 = 64;

impl Pod {
    /// What is told of design document `id`'s indexes.
    ///
    /// # Errors
    /// [`PodError::Missing`] or [`PodError::Deleted`].
    pub fn design_info(&self, entry: &DatabaseEntry, id: &str) -> Result<DesignInfo, PodError> {
        if !entry.shows_all() {
            return self.design_info_seen(entry, id);
        }
        let design = self.design(entry, id)?;
        let view = self.view();
        let newest = database::statistics(view.as_ref(), entry.number)?;
        let mut states: Vec<Option<IndexState>> = Vec::new();
        let (mut file_bytes, mut rows) = (0, 0);
        for plan in &design.plans {
            let state = index::find(view.as_ref(), entry.number, &plan.signature)?;
            if let Some(state) = &state {
                let range = index::entries(entry.number, state.number);
                file_bytes += self.inner.store.disk_size(adea_store::Space::Index, &range);
                rows += state.rows;
            }
            states.push(state);
        }
        let least = |of: fn(&IndexState) -> u64| {
            let all = states.iter().map(|state| state.as_ref().map_or(0, of));
            all.min()
        };
        let update_sequence = least(|state| state.sequence).unwrap_or(newest.update_sequence);
        let reader = Reader {
            view: view.as_ref(),
            database: entry.number,
            scope: adea_access::aggregate(),
        };
        let runs = design.plans.iter();
        let waiting: Vec<u64> = runs
            .filter_map(|plan| self.waiting_for(entry, &plan.signature))
            .collect();
        let active_bytes = rows * ROW_BYTES;
        Ok(DesignInfo {
            signature: design.signature(),
            language: design.language.name().to_owned(),
            file_bytes: file_bytes.max(active_bytes),
            active_bytes,
            external_bytes: active_bytes,
            update_sequence,
            purge_sequence: least(|state| state.purge_sequence).unwrap_or(0),
            updates_pending: reader.changes_after(update_sequence)?,
            running: !waiting.is_empty(),
            waiting_clients: waiting.into_iter().max().unwrap_or(0),
            compacting: false,
            collator_version: collator_version(),
        })
    }

    /// What is told to who does not see all documents: nothing that follows from others'.
    fn design_info_seen(&self, entry: &DatabaseEntry, id: &str) -> Result<DesignInfo, PodError> {
        let view = self.view();
        let reader = Reader {
            view: view.as_ref(),
            database: entry.number,
            scope: entry.scope.clone(),
        };
        let head = reader.record_head(id)?.ok_or(PodError::Missing)?;
        if head.winner.deleted {
            return Err(PodError::Deleted);
        }
        let design = self.design(entry, id)?;
        Ok(DesignInfo {
            signature: design.signature(),
            language: design.language.name().to_owned(),
            file_bytes: 0,
            active_bytes: 0,
            external_bytes: 0,
            update_sequence: 0,
            purge_sequence: 0,
            updates_pending: 0,
            running: false,
            waiting_clients: 0,
            compacting: false,
            collator_version: collator_version(),
        })
    }

    /// Begins to give back the room that replaced rows of a design document's indexes take.
    ///
    /// # Errors
    /// [`PodError::Missing`] or [`PodError::Deleted`].
    pub fn start_view_compaction(&self, entry: &DatabaseEntry, id: &str) -> Result<(), PodError> {
        let design = self.design(entry, id)?;
        let view = self.view();
        let mut ranges = Vec::new();
        for plan in &design.plans {
            if let Some(state) = index::find(view.as_ref(), entry.number, &plan.signature)? {
                ranges.push(index::entries(entry.number, state.number));
            }
        }
        let store = self.inner.store.clone();
        tokio::task::spawn_blocking(move || {
            for range in ranges {
                if let Err(error) = store.compact(adea_store::Space::Index, &range) {
                    tracing::warn!(%error, "an index could not be compacted: {error}");
                }
            }
        });
        Ok(())
    }

    /// Drops the indexes and reduces that no design document asks for.
    ///
    /// # Errors
    /// [`PodError`] if the store cannot be read or written.
    pub async fn clean_up_views(&self, entry: &Arc<DatabaseEntry>) -> Result<(), PodError> {
        let number = entry.number;
        let used = self.indexes_in_use(entry)?;
        let all = index::all(self.view().as_ref(), number)?;
        for state in all {
            let signature = state.signature;
            let Some(reduces) = used.get(&signature) else {
                let removed = self.inner.store.transact(Self::permit(), move |tx| {
                    index::remove(tx, number, &signature)
                });
                removed.await?;
                continue;
            };
            for reduce in state.reduces {
                let reduce = reduce.signature;
                if reduces.contains(&reduce) {
                    continue;
                }
                let removed = self.inner.store.transact(Self::permit(), move |tx| {
                    index::remove_reduce(tx, number, &signature, &reduce)
                });
                removed.await?;
            }
        }
        Ok(())
    }
}

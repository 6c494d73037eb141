//! Which partitions there are, what is counted in them, and what a document's would be called.

use std::sync::Arc;

use adea_access::author;
use adea_accounts::Access;
use adea_base::{Caller, DocumentId};
use adea_documents::labels::{self, Label};

use super::AccessError;
use crate::databases::{DatabaseEntry, reader};
use crate::error::PodError;
use crate::pod::Pod;

/// A partition, as who may read it is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its signature.
    pub signature: Arc<str>,
    /// The principals of its list; only administrators are told.
    pub principals: Option<Arc<[Arc<str>]>>,
    /// Documents in it that are not deleted.
    pub documents: u64,
    /// Documents in it that are.
    pub deleted: u64,
    /// The sequence of its last change.
    pub update_sequence: u64,
}

/// Some partitions, and where to go on; `None` at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionPage {
    /// In the order in which they were made.
    pub partitions: Vec<Partition>,
    /// What to ask for the next page with.
    pub next: Option<u64>,
}

impl Pod {
    /// The partitions that `caller` may read, from behind `after` on, `limit` at the most; for
    /// administrators all, with their principals. Those that nothing is in are passed over.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn partitions(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        after: u64,
        limit: usize,
    ) -> Result<PartitionPage, PodError> {
        let view = self.view();
        let admin = entry.access(caller) == Access::Admin;
        let reader = reader(view.as_ref(), entry, caller);
        let mut found = match reader.scope.sight() {
            // One more than asked for tells whether there are more.
            None => labels::all(view.as_ref(), entry.number, after, limit.saturating_add(1))?,
            Some(sight) => {
                let mut seen = reader.labels_seen(sight)?;
                seen.retain(|label| label.number > after);
                seen.sort_unstable_by_key(|label| label.number);
                seen
            }
        };
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().map(|last| last.number).filter(|_| more);
        found.retain(|label| label.documents > 0 || label.deleted > 0);
        let partition = |label: Label| Partition {
            signature: label.name,
            principals: admin.then_some(label.members),
            documents: label.documents,
            deleted: label.deleted,
            update_sequence: label.last_sequence,
        };
        Ok(PartitionPage {
            partitions: found.into_iter().map(partition).collect(),
            next,
        })
    }

    /// The signature that a document with this JSON text would have if `caller` made it.
    ///
    /// # Errors
    /// [`AccessError::Off`] if there is no access control; [`PodError::NotTaken`] if no list can be
    /// told.
    pub async fn signature_of(
        &self,
        entry: &DatabaseEntry,
        id: &DocumentId,
        json: &[u8],
        caller: &Caller,
    ) -> Result<Arc<str>, PodError> {
        if !entry.has_access_control() {
            return Err(AccessError::Off(entry.name.clone()).into());
        }
        let author = author(caller);
        let label = self.label_of_body(entry, id, json, author.as_ref());
        Ok(label.await?.name)
    }
}

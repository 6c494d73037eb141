//! Asking views: what design documents define, answered from indexes that are up to date.

mod ask;
mod check;
mod design;
mod moment;
mod query;
mod reduce;
mod upkeep;

pub use ask::{ViewAsk, ViewCursor};
pub use design::{Design, DesignView, Language};
pub use moment::{ViewHead, ViewMoment, ViewRow, Written};
pub use query::{Grouping, Update, ViewQuery};
pub use reduce::{GroupRow, Overflow};
pub use upkeep::DesignInfo;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use adea_documents::DatabaseNumber;
use adea_documents::index::Signature;
use adea_documents::reader::{IdRange, Reader};
use adea_documents::record::split_body;
use adea_store::Direction;
use parking_lot::Mutex;

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::indexing::IndexPlan;
use crate::pod::Pod;

/// Design documents that were read before, each as of one revision.
#[derive(Default)]
pub(crate) struct DesignCache {
    known: Mutex<HashMap<(DatabaseNumber, String), Arc<Design>>>,
}

/// How many are remembered; forgetting all beyond is crude, and rare.
const REMEMBERED_MAX: usize = 1_000;

impl Pod {
    /// Design document `id`, as far as it asks for indexes.
    ///
    /// # Errors
    /// [`PodError::Missing`] or [`PodError::Deleted`].
    pub fn design(&self, entry: &DatabaseEntry, id: &str) -> Result<Arc<Design>, PodError> {
        let view = self.view();
        let reader = Reader {
            view: view.as_ref(),
            database: entry.number,
            scope: adea_access::aggregate(),
        };
        let head = reader.record_head(id)?.ok_or(PodError::Missing)?;
        if head.winner.deleted {
            return Err(PodError::Deleted);
        }
        let place = (entry.number, id.to_owned());
        let known = self.inner.designs.known.lock().get(&place).cloned();
        if let Some(known) = known.filter(|known| known.revision == head.winner.revision) {
            return Ok(known);
        }
        let body = head.winner.body.ok_or(PodError::Missing)?;
        let stored = reader.body(body)?.ok_or(PodError::Missing)?;
        let (_, json) = split_body(&stored)?;
        let partitioned = entry.settings.partitioned;
        let design = Arc::new(Design::parse(id, head.winner.revision, partitioned, json));
        let mut known = self.inner.designs.known.lock();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(place, Arc::clone(&design));
        Ok(design)
    }

    /// Every design document of a database that is not deleted.
    pub(crate) fn designs(&self, entry: &DatabaseEntry) -> Result<Vec<Arc<Design>>, PodError> {
        let mut ids = Vec::new();
        {
            let view = self.view();
            let reader = Reader {
                view: view.as_ref(),
                database: entry.number,
                scope: adea_access::aggregate(),
            };
            let designs = IdRange {
                first: Some("_design/".to_owned()),
                last: Some(("_design0".to_owned(), false)),
            };
            reader.walk_documents(&designs, Direction::Forward, |id, head| {
                if !head.winner.deleted {
                    ids.push(id.to_owned());
                }
                ControlFlow::Continue(())
            })?;
        }
        let mut designs = Vec::with_capacity(ids.len());
        for id in ids {
            match self.design(entry, &id) {
                Ok(design) => designs.push(design),
                // Deleted since the list was made.
                Err(PodError::Missing | PodError::Deleted) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(designs)
    }

    /// Whether the design document that a plan is of still asks for its index.
    pub(crate) fn is_named(&self, entry: &DatabaseEntry, plan: &IndexPlan) -> bool {
        let design = self.design(entry, &plan.name);
        design.is_ok_and(|design| {
            let mut plans = design.plans.iter();
            plans.any(|known| known.signature == plan.signature)
        })
    }

    /// The indexes that design documents ask for, and the reduces over each.
    pub(crate) fn indexes_in_use(
        &self,
        entry: &DatabaseEntry,
    ) -> Result<HashMap<Signature, HashSet<Signature>>, PodError> {
        let mut used: HashMap<Signature, HashSet<Signature>> = HashMap::new();
        for design in self.designs(entry)? {
            for plan in &design.plans {
                let reduces = used.entry(plan.signature).or_default();
                reduces.extend(plan.reduces.iter().map(|(reduce, _)| *reduce));
            }
        }
        Ok(used)
    }
}

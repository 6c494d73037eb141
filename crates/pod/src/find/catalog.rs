//! Which Mango indexes a database has.
//!
//! The list is made from the design documents and kept as long as none of them changes: that is
//! seen by where their bodies lie, since no place is used twice. So a query reads a few heads of
//! records and no document.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use adea_documents::DatabaseNumber;
use adea_documents::reader::{IdRange, Reader};
use adea_store::Direction;
use parking_lot::Mutex;

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::find::MangoIndex;
use crate::pod::Pod;

/// The indexes of databases that were asked for before.
#[derive(Default)]
pub(crate) struct MangoCache {
    known: Mutex<HashMap<DatabaseNumber, Known>>,
}

struct Known {
    /// Where the bodies of the design documents lie.
    bodies: Vec<u64>,
    indexes: Indexes,
}

/// Indexes in the order of design document and name.
pub(crate) type Indexes = Arc<Vec<Arc<MangoIndex>>>;

/// How many databases are remembered; forgetting all beyond is crude, and rare.
const REMEMBERED_MAX: usize = 1_000;

impl Pod {
    /// The Mango indexes of a database, in the order of design document and name.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn mango_indexes(&self, entry: &DatabaseEntry) -> Result<Indexes, PodError> {
        let bodies = self.design_bodies(entry)?;
        if let Some(known) = self.inner.mango.known.lock().get(&entry.number)
            && known.bodies == bodies
        {
            return Ok(Arc::clone(&known.indexes));
        }
        let mut indexes: Vec<Arc<MangoIndex>> = Vec::new();
        for design in self.designs(entry)? {
            indexes.extend(design.mango.iter().cloned());
        }
        indexes.sort_by(|a, b| (&a.design, &a.name).cmp(&(&b.design, &b.name)));
        let indexes = Arc::new(indexes);
        // What was read may be newer than what was looked at: then it is kept for nobody.
        if bodies == self.design_bodies(entry)? {
            let mut known = self.inner.mango.known.lock();
            if known.len() >= REMEMBERED_MAX {
                known.clear();
            }
            let indexes = Arc::clone(&indexes);
            known.insert(entry.number, Known { bodies, indexes });
        }
        Ok(indexes)
    }

    /// Those of them whose design documents are seen through `entry`: a definition is a part of its
    /// document.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn mango_indexes_seen(&self, entry: &DatabaseEntry) -> Result<Indexes, PodError> {
        let all = self.mango_indexes(entry)?;
        if entry.shows_all() {
            return Ok(all);
        }
        let mut seen = Vec::new();
        for index in all.iter() {
            if self.sees(entry, &index.design)? {
                seen.push(Arc::clone(index));
            }
        }
        Ok(Arc::new(seen))
    }

    /// Whether document `id` is there and seen through `entry`.
    pub(super) fn sees(&self, entry: &DatabaseEntry, id: &str) -> Result<bool, PodError> {
        let view = self.view();
        let reader = Reader {
            view: view.as_ref(),
            database: entry.number,
            scope: entry.scope.clone(),
        };
        Ok(reader.sees(id, u64::MAX)?)
    }

    fn design_bodies(&self, entry: &DatabaseEntry) -> Result<Vec<u64>, PodError> {
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
        let mut bodies = Vec::new();
        reader.walk_documents(&designs, Direction::Forward, |_, head| {
            bodies.extend(head.winner.body.filter(|_| !head.winner.deleted));
            ControlFlow::Continue(())
        })?;
        Ok(bodies)
    }
}

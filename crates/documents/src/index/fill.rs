//! Filling the trees of reduces: which nodes want computing, of what, and storing the results.
//!
//! A node can be computed when all below it are there: those of the first level from their rows,
//! any other from the values of the nodes that it is made of. So work is found by going down from
//! the highest node along what is missing; nothing is remembered between two portions, and a crash
//! loses no more than what was not stored. Each row is reduced once, and each value once more.

use adea_store::{Decline, Direction, EngineError, Space, Transaction, View};

use super::reader::{IndexReader, StoredFeed};
use super::row::OwnedRow;
use super::state::{IndexState, Signature, find_in, mark_built};
use super::tree::{Level, Segment};
use crate::database;
use crate::error::DatabaseError;
use crate::keys::DatabaseNumber;

/// Work holds about so many bytes of rows and values at once, at most, but at least one node's.
const BYTES_AT_ONCE: usize = 4 << 20;

/// Which node of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodePlace {
    pub(super) level: u8,
    pub(super) boundary: Vec<u8>,
}

/// A node whose value is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeWork {
    pub(super) place: NodePlace,
    /// What its value is to be made of.
    pub material: Material,
}

/// What a node's value is made of, in the order of keys; never of nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// The rows to reduce.
    Rows(Vec<OwnedRow>),
    /// The values to reduce again.
    Values(Vec<String>),
}

impl NodeWork {
    /// The work done: the node with its value.
    #[must_use]
    pub fn done(self, value: String) -> NodeValue {
        NodeValue {
            place: self.place,
            value,
        }
    }
}

/// A node's value, to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeValue {
    pub(super) place: NodePlace,
    pub(super) value: String,
}

/// At most `limit` nodes of a reduce's tree that are not there and can be computed from what is.
/// Nodes above them come once these are stored; none are left when the answer is empty.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn stale_nodes(
    view: &dyn View,
    database: DatabaseNumber,
    index: &IndexState,
    reduce: &Signature,
    limit: usize,
) -> Result<Vec<NodeWork>, EngineError> {
    let known = index.reduces.iter().find(|r| r.signature == *reduce);
    let Some(known) = known.filter(|_| index.rows > 0 && index.height > 0) else {
        return Ok(Vec::new());
    };
    let reader = IndexReader::new(view, database, crate::reader::whole(), index);
    let mut search = Search {
        rows: reader.stored_between(&[], None, Direction::Forward)?,
        passed: None,
        reader: reader.clone(),
        tree: known.tree,
        limit,
        bytes: 0,
        found: Vec::new(),
    };
    let top = reader.trees().level(known.tree, index.height);
    if top.get(&[])?.is_none() {
        search.below(
            NodePlace {
                level: index.height,
                boundary: Vec::new(),
            },
            None,
        )?;
    }
    Ok(search.found)
}

struct Search<'v> {
    reader: IndexReader<'v>,
    rows: StoredFeed<'v>,
    /// The row behind those of the last node, which was read to see that they end, and where it is.
    passed: Option<(Vec<u8>, OwnedRow)>,
    tree: u64,
    limit: usize,
    bytes: usize,
    found: Vec<NodeWork>,
}

impl Search<'_> {
    fn is_full(&self) -> bool {
        self.found.len() >= self.limit || self.bytes >= BYTES_AT_ONCE
    }

    /// Finds work on the node at `place`, which is not there and ends at `to`, or below it.
    fn below(&mut self, place: NodePlace, to: Option<&[u8]>) -> Result<(), EngineError> {
        if place.level == 1 {
            let rows = self.rows_between(&place.boundary, to)?;
            self.found.push(NodeWork {
                place,
                material: Material::Rows(rows),
            });
            return Ok(());
        }
        let level = place.level - 1;
        let trees = self.reader.trees();
        let parts = trees.segments(level, &place.boundary, to)?;
        let values = trees.values(self.tree, level, &parts)?;
        let mut there = Vec::with_capacity(parts.len());
        let mut missing = false;
        for (Segment { from, to, count }, value) in parts.into_iter().zip(values) {
            match value {
                Some(value) => there.push(value),
                // Nothing was before the first row: there is nothing to reduce.
                None if count == Some(0) => {}
                None => {
                    missing = true;
                    let boundary = from;
                    self.below(NodePlace { level, boundary }, to.as_deref())?;
                }
            }
            if self.is_full() {
                return Ok(());
            }
        }
        if !missing {
            self.bytes += there.iter().map(String::len).sum::<usize>();
            self.found.push(NodeWork {
                place,
                material: Material::Values(there),
            });
        }
        Ok(())
    }

    fn rows_between(
        &mut self,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<Vec<OwnedRow>, EngineError> {
        let mut rows = Vec::with_capacity(32);
        match self.passed.take() {
            Some((position, row)) if position == from => {
                self.bytes += size_of_row(&row);
                rows.push(row);
            }
            Some(_) | None => self.rows.seek(from)?,
        }
        while let Some(row) = self.rows.next()? {
            let owned = row.to_owned_row();
            if to.is_some_and(|to| row.position >= to) {
                self.passed = Some((row.position.to_vec(), owned));
                break;
            }
            self.bytes += size_of_row(&owned);
            rows.push(owned);
        }
        Ok(rows)
    }
}

/// What a row takes in memory, roughly.
fn size_of_row(row: &OwnedRow) -> usize {
    row.key.len() + row.value.len() + row.id.len() + size_of::<OwnedRow>()
}

/// Stores values of nodes that [`stale_nodes`] told of when the index was as `index` says, if it
/// still is; else answers false.
///
/// # Errors
/// [`DatabaseError::Missing`] if the database was dropped meanwhile.
pub fn store_nodes(
    tx: &mut Transaction<'_>,
    database: DatabaseNumber,
    index: &IndexState,
    reduce: &Signature,
    values: Vec<NodeValue>,
) -> Result<bool, Decline<DatabaseError>> {
    database::settings_in(tx, database)?;
    let Some(now) = find_in(tx, database, &index.signature)? else {
        return Ok(false);
    };
    let tree = |state: &IndexState| {
        let mut known = state.reduces.iter();
        known.find(|r| r.signature == *reduce).map(|r| r.tree)
    };
    let Some(tree) = tree(&now).filter(|found| tree(index) == Some(*found)) else {
        return Ok(false);
    };
    if (now.number, now.generation) != (index.number, index.generation) {
        return Ok(false);
    }
    if values.is_empty() {
        return Ok(true);
    }
    for NodeValue { place, value } in values {
        let key = Level::key_of(database, now.number, tree, place.level, &place.boundary);
        tx.put(Space::Index, key, value.into_bytes());
    }
    mark_built(tx, database, now, reduce);
    Ok(true)
}

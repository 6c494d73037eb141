//! The changes of documents that are named, found by their ids and not by walking the feed.
//!
//! The place of each document in the feed stands in its record, so a feed of few documents costs a
//! lookup for each, however many others the database has. What is looked up is what the database was
//! at one sequence: a document that changed since is passed over here, and is told by whoever goes on
//! from that sequence.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use adea_base::Caller;
use adea_documents::reader::IdRange;
use adea_documents::record::split_body;
use adea_documents::rev_tree::Node;
use adea_store::Direction;

use super::{ChangeRow, ChangesRange, RowDocument, is_removal};
use crate::databases::{DatabaseEntry, reader};
use crate::error::PodError;
use crate::pod::Pod;
use crate::replicate::{is_replicator, visible_description};

/// Documents that are still to be told, by the sequences of their last changes.
#[derive(Debug)]
pub struct Named {
    order: BTreeMap<u64, String>,
    /// Everything up to here was looked up.
    pub through: u64,
    /// Whether one of them has changed since.
    pub moved: bool,
}

impl Pod {
    /// Looks up the documents `ids`: those whose last change lies in `after < sequence <= through`.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn find_named<'i>(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        ids: impl IntoIterator<Item = &'i str>,
        after: u64,
        through: u64,
    ) -> Result<Named, PodError> {
        let view = self.view();
        self.require_standing(view.as_ref(), entry)?;
        let reader = reader(view.as_ref(), entry, caller);
        let mut named = Named::up_to(through);
        for id in ids {
            if let Some(head) = reader.record_head(id)? {
                named.add(head.sequence, id, after);
            }
        }
        Ok(named)
    }

    /// As [`Pod::find_named`], of all design documents.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn find_designs(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        after: u64,
        through: u64,
    ) -> Result<Named, PodError> {
        let view = self.view();
        self.require_standing(view.as_ref(), entry)?;
        let mut named = Named::up_to(through);
        let designs = IdRange {
            first: Some("_design/".to_owned()),
            last: Some(("_design0".to_owned(), false)),
        };
        reader(view.as_ref(), entry, caller).walk_documents(
            &designs,
            Direction::Forward,
            |id, head| {
                named.add(head.sequence, id, after);
                ControlFlow::Continue(())
            },
        )?;
        Ok(named)
    }

    /// Tells the changes that were looked up, in the direction of `range`, until `visit` breaks off
    /// or none is left; true if some are.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn read_named_changes(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        range: ChangesRange,
        named: &mut Named,
        mut visit: impl FnMut(&ChangeRow<'_>) -> ControlFlow<()>,
    ) -> Result<bool, PodError> {
        let view = self.view();
        self.require_standing(view.as_ref(), entry)?;
        let reader = reader(view.as_ref(), entry, caller);
        while let Some((sequence, id)) = named.next(range.direction) {
            let record = reader.record(&id)?.unwrap_or_default();
            if record.sequence != sequence {
                named.moved = true;
                continue;
            }
            let leaves = record.leaves();
            let body = record.tree.winner().and_then(Node::body);
            let removal = is_removal(body);
            let stored = match body.filter(|_| range.bodies) {
                Some(body) => reader.body(body)?,
                None => None,
            };
            let mut seen = None;
            let document = match &stored {
                None => None,
                Some(stored) => {
                    let (attachments, json) = split_body(stored)?;
                    if is_replicator(&entry.name) {
                        seen = visible_description(entry, caller, json);
                    }
                    let json = seen.as_deref().unwrap_or(json);
                    let conflicts = if range.conflicts {
                        record.tree.conflicts().map(Node::revision).collect()
                    } else {
                        Vec::new()
                    };
                    Some(RowDocument {
                        json,
                        attachments,
                        conflicts,
                    })
                }
            };
            let told = if range.leaves { leaves.len() } else { 1 };
            let (Some(winner), Some(leaves)) = (leaves.first(), leaves.get(..told)) else {
                continue;
            };
            let row = ChangeRow {
                sequence,
                id: &id,
                winner,
                leaves,
                document,
                losing: &[],
                removal,
            };
            if visit(&row).is_break() {
                break;
            }
        }
        Ok(!named.order.is_empty())
    }
}

impl Named {
    fn up_to(through: u64) -> Self {
        Self {
            order: BTreeMap::new(),
            through,
            moved: false,
        }
    }

    fn add(&mut self, sequence: u64, id: &str, after: u64) {
        if sequence > self.through {
            self.moved = true;
        } else if sequence > after {
            self.order.insert(sequence, id.to_owned());
        }
    }

    fn next(&mut self, direction: Direction) -> Option<(u64, String)> {
        match direction {
            Direction::Forward => self.order.pop_first(),
            Direction::Reverse => self.order.pop_last(),
        }
    }
}

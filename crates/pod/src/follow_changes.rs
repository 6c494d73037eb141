//! Following a database: pages of its change feed, each over a short view.
//!
//! Who sees a part of a database is told what he gained and lost, too (`course.rs`). Each page is read
//! by the rights that were in force at the moment of its view, or not at all (`standing.rs`).

mod course;
mod marks;
mod named;
mod shown;
mod standing;
mod waking;

use std::ops::ControlFlow;

use adea_base::Caller;
use adea_documents::reader::{BodyWalk, Reader};
use adea_documents::record::{Attachment, Body, Change, Leaf, split_body};
use adea_documents::render::{Meta, Rendering};
use adea_documents::rev_tree::Node;
use adea_documents::revision::Revision;
use adea_documents::seen::NOTHING;
use adea_documents::selector::StoredMatcher;
use adea_store::{Direction, EngineError};

use crate::databases::{DatabaseEntry, reader};
use crate::error::PodError;
use crate::pod::Pod;
use crate::replicate::{is_replicator, visible_description};

pub use course::{Course, Part};
pub use marks::Marks;
pub use named::Named;
pub use shown::{Batch, ShownChange};
pub(crate) use shown::{PATH_TOLD_MAX, shown_document};

/// How many rows of what was lost or gained are counted.
const COUNTED_MAX: u64 = 1_000;

/// Which part of a feed a page covers, and what its rows carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangesRange {
    /// Rows with a greater sequence.
    pub after: u64,
    /// Rows up to this sequence.
    pub until: u64,
    /// In which order; what was lost and gained is told upwards alone.
    pub direction: Direction,
    /// Which rows are walked.
    pub part: Part,
    /// Whether rows carry the winner's body.
    pub bodies: bool,
    /// Whether rows carry the winner's live conflicts.
    pub conflicts: bool,
    /// Whether rows carry all leaves, and not the winner alone.
    pub leaves: bool,
    /// Whether rows that carry all leaves carry the bodies of the losing ones, too.
    pub leaf_bodies: bool,
}

/// The winner's content, as a row carries it.
#[derive(Debug)]
pub struct RowDocument<'r> {
    /// Its JSON object without the fields that begin with `_`.
    pub json: &'r [u8],
    /// Its attachments.
    pub attachments: Vec<Attachment>,
    /// The live losing leaves, if asked for.
    pub conflicts: Vec<Revision>,
}

/// A change as a feed tells it.
#[derive(Debug)]
pub struct ChangeRow<'r> {
    /// The sequence.
    pub sequence: u64,
    /// The document's id.
    pub id: &'r str,
    /// The winner.
    pub winner: &'r Leaf,
    /// All leaves, winner first, if asked for; else the winner alone.
    pub leaves: &'r [Leaf],
    /// The winner's content, if asked for and there.
    pub document: Option<RowDocument<'r>>,
    /// The bodies of the other leaves, in their order, if asked for.
    pub losing: &'r [Option<Body>],
    /// Whether the document is not deleted, but gone from the reader's sight.
    pub removal: bool,
}

impl ChangeRow<'_> {
    /// The leaves that a selector matches; the row must carry the bodies of those that it carries.
    #[must_use]
    pub fn matching(&self, selector: &StoredMatcher) -> Vec<&Leaf> {
        let winner = self.document.as_ref();
        let winner = winner.map(|found| (found.json, found.attachments.as_slice()));
        let losing = self.losing.iter().map(|body| {
            let body = body.as_ref()?;
            Some((body.json.as_slice(), body.attachments.as_slice()))
        });
        let bodies = std::iter::once(winner).chain(losing);
        let leaves = self.leaves.iter().zip(bodies);
        let matching = leaves.filter(|(leaf, body)| {
            body.is_some_and(|(json, attachments)| {
                let document = Rendering {
                    id: self.id,
                    revision: &leaf.revision,
                    deleted: leaf.deleted,
                    json,
                    attachments,
                    meta: &Meta::default(),
                    encoding_info: false,
                };
                // One that takes too long to tell is not told.
                selector.matches(&document).unwrap_or(false)
            })
        });
        matching.map(|(leaf, _)| leaf).collect()
    }
}

impl Pod {
    /// Walks a part of the feed at one moment, until `visit` breaks off.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn read_changes(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        range: ChangesRange,
        mut visit: impl FnMut(&ChangeRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), PodError> {
        let view = self.view();
        self.require_standing(view.as_ref(), entry)?;
        let reader = reader(view.as_ref(), entry, caller);
        let mut teller = Teller {
            walk: match range.bodies {
                true => Some(reader.walk_bodies(range.after)?),
                false => None,
            },
            reader: &reader,
            entry,
            caller,
            range,
        };
        walk_part(&reader, &range, |sequence, change| {
            teller.tell(sequence, &change, &mut visit)
        })?;
        Ok(())
    }

    /// How many rows a feed has left behind its place; of very many, at least so many.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn rows_left(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        mut course: Course,
    ) -> Result<u64, PodError> {
        let view = self.view();
        let reader = reader(view.as_ref(), entry, caller);
        let mut count = 0;
        while course.is_turning() && count < COUNTED_MAX {
            let range = ChangesRange {
                after: course.after(),
                until: course.end(),
                direction: Direction::Forward,
                part: course.part(),
                bodies: false,
                conflicts: false,
                leaves: false,
                leaf_bodies: false,
            };
            walk_part(&reader, &range, |_, _| {
                count += 1;
                Ok(if count < COUNTED_MAX {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                })
            })?;
            course.next_part();
        }
        Ok(count + reader.changes_after(course.position())?)
    }

    /// How many changes have a sequence greater than `after`.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn changes_after(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        after: u64,
    ) -> Result<u64, PodError> {
        let view = self.view();
        Ok(reader(view.as_ref(), entry, caller).changes_after(after)?)
    }
}

/// Makes rows of changes.
struct Teller<'t, 'v> {
    reader: &'t Reader<'v>,
    /// Bodies, if rows carry them.
    walk: Option<BodyWalk<'v>>,
    entry: &'t DatabaseEntry,
    caller: &'t Caller,
    range: ChangesRange,
}

impl Teller<'_, '_> {
    fn tell(
        &mut self,
        sequence: u64,
        change: &Change<'_>,
        visit: &mut impl FnMut(&ChangeRow<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, EngineError> {
        let (reader, range) = (self.reader, self.range);
        let (entry, caller) = (self.entry, self.caller);
        let secrets = is_replicator(&entry.name);
        let all = if range.leaves {
            reader.leaves_of(change)?
        } else {
            Vec::new()
        };
        let mut losing = if range.leaf_bodies && all.len() > 1 {
            losing_bodies(reader, change.id)?
        } else {
            Vec::new()
        };
        for body in losing.iter_mut().flatten().filter(|_| secrets) {
            if let Some(seen) = visible_description(entry, caller, &body.json) {
                body.json = seen;
            }
        }
        let mut row = ChangeRow {
            sequence,
            id: change.id,
            winner: &change.winner,
            leaves: if range.leaves {
                &all
            } else {
                std::slice::from_ref(&change.winner)
            },
            document: None,
            losing: &losing,
            removal: is_removal(change.body),
        };
        let (Some(walk), Some(body)) = (self.walk.as_mut(), change.body) else {
            return Ok(visit(&row));
        };
        let conflicts = if range.conflicts && change.leaves.as_ref().is_none_or(|l| l.len() > 1) {
            let record = reader.record(change.id)?.unwrap_or_default();
            record.tree.conflicts().map(Node::revision).collect()
        } else {
            Vec::new()
        };
        if row.removal {
            row.document = Some(RowDocument {
                json: b"{}",
                attachments: Vec::new(),
                conflicts,
            });
            return Ok(visit(&row));
        }
        let visited = walk.with_body(body, |stored| {
            let (attachments, json) = split_body(stored)?;
            let seen = secrets
                .then(|| visible_description(entry, caller, json))
                .flatten();
            let visited = visit(&ChangeRow {
                document: Some(RowDocument {
                    json: seen.as_deref().unwrap_or(json),
                    attachments,
                    conflicts,
                }),
                ..row
            });
            Ok::<_, EngineError>(visited)
        })?;
        row.document = None;
        Ok(visited.unwrap_or_else(|| visit(&row)))
    }
}

/// Walks the part of the feed that `range` says.
fn walk_part(
    reader: &Reader<'_>,
    range: &ChangesRange,
    visit: impl FnMut(u64, Change<'_>) -> Result<ControlFlow<()>, EngineError>,
) -> Result<(), EngineError> {
    let (after, until) = (range.after, range.until);
    match range.part {
        Part::Kept => reader.walk_changes(after, until, range.direction, visit),
        Part::Lost { seen_at } => reader.walk_lost(seen_at, after, visit),
        Part::Gained { seen_at } => reader.walk_gained(seen_at, until, after, visit),
    }
}

/// Whether the winner with this body stands for a document that is gone from the reader's sight.
fn is_removal(body: Option<u64>) -> bool {
    body == Some(NOTHING)
}

/// The bodies of a document's losing leaves, in rank order.
fn losing_bodies(reader: &Reader<'_>, id: &str) -> Result<Vec<Option<Body>>, EngineError> {
    let record = reader.record(id)?.unwrap_or_default();
    let losing = record.tree.leaves().skip(1);
    losing
        .map(|leaf| match leaf.body() {
            None => Ok(None),
            Some(body) => {
                let stored = reader.body(body)?;
                stored.map(|stored| Body::decode(&stored)).transpose()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;

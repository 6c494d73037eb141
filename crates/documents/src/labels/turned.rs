//! What a change of a reader's rights means to him: what he gained, and what he lost.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use adea_base::{Sight, Span};
use adea_store::{Direction, EngineError, Space};

use super::walk::{CURSORS_MAX, LABELS_READ, SeenLabel, tell};
use super::{Entry, Labelled, all};
use crate::error::corrupt;
use crate::keys;
use crate::reader::Reader;
use crate::record::{Change, Record, decode_change};
use crate::seen::is_unbroken;

impl Reader<'_> {
    /// Walks what the reader sees now and did not all the time since the sequence `seen_at`: documents with
    /// `after < sequence <= until`, in their order, but for tombstones of what he never saw.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read, or whatever `visit` fails with.
    pub fn walk_gained(
        &self,
        seen_at: u64,
        until: u64,
        after: u64,
        mut visit: impl FnMut(u64, Change<'_>) -> Result<ControlFlow<()>, EngineError>,
    ) -> Result<(), EngineError> {
        let Some(sight) = self.scope.sight() else {
            return Ok(());
        };
        self.note_served(sight)?;
        let gained = |seen: &SeenLabel| seen.came_after(seen_at);
        let labels = self.labels_that(sight, gained)?;
        let rule = self.rule()?;
        let rows = (after, until);
        if labels.len() > CURSORS_MAX {
            let numbers: HashSet<u64> = labels.iter().map(|seen| seen.label.number).collect();
            return self.pass_over_records(rows, |sequence, id, record| {
                let under = record.labelled.as_ref().map(|labelled| labelled.label);
                if !under.is_some_and(|label| numbers.contains(&label)) {
                    return Ok(ControlFlow::Continue(()));
                }
                self.overlaid_row(sight, rule, id, sequence, |_| true, &mut visit)
            });
        }
        self.merged(
            &labels,
            rows,
            Direction::Forward,
            |sequence, label, entry| {
                match entry {
                    Entry::Left(_) => return Ok(ControlFlow::Continue(())),
                    // Who never saw it needs not hear that it is no more.
                    Entry::Plain(change)
                        if is_unbroken(&label.spans)
                            && decode_change(change, sequence)?.winner.deleted =>
                    {
                        return Ok(ControlFlow::Continue(()));
                    }
                    Entry::Plain(_) | Entry::Intricate(_) => {}
                }
                self.seen_row(sight, rule, sequence, &label.spans, entry, &mut visit)
            },
        )
    }

    /// Walks what the reader saw at the sequence `seen_at` or later and does not see now: documents
    /// that are gone from his sight, in the order of where their labels have them, from behind
    /// `after`. `seen_at` is how far he has seen both changes and what his rights made of them.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read, or whatever `visit` fails with.
    pub fn walk_lost(
        &self,
        seen_at: u64,
        after: u64,
        mut visit: impl FnMut(u64, Change<'_>) -> Result<ControlFlow<()>, EngineError>,
    ) -> Result<(), EngineError> {
        let Some(sight) = self.scope.sight() else {
            return Ok(());
        };
        self.note_served(sight)?;
        // A label that he lost and has again may have been left meanwhile.
        let lost = |seen: &SeenLabel| {
            let mut ended = seen.spans.iter().filter(|span| !span.is_open());
            ended.next_back().is_some_and(|span| span.to > seen_at)
        };
        let labels = self.labels_that(sight, lost)?;
        let rule = self.rule()?;
        let rows = (after, u64::MAX);
        // Each document is told once: where it stood when he saw it last.
        let mut row = |sequence: u64, label: Option<&SeenLabel>, id: &str, record: Record| {
            let Some(labelled) = &record.labelled else {
                return Ok(ControlFlow::Continue(()));
            };
            let intervals = self.intervals_by(sight, rule, &record)?;
            let last = intervals
                .last()
                .filter(|last| !last.is_open() && last.to > seen_at);
            let told_here = last.is_some_and(|last| {
                label.is_none_or(|seen| {
                    let by_move = seen.is_open() && last.to == sequence;
                    seen.label.number == label_at_end(labelled, last) && !by_move
                })
            });
            if !told_here {
                return Ok(ControlFlow::Continue(()));
            }
            match self.seen_in(sight, id, record, &intervals)? {
                Some(record) => tell(id, sequence, &record, &mut visit),
                None => Ok(ControlFlow::Continue(())),
            }
        };
        if labels.len() > CURSORS_MAX {
            return self
                .pass_over_records(rows, |sequence, id, record| row(sequence, None, id, record));
        }
        self.merged(
            &labels,
            rows,
            Direction::Forward,
            |sequence, label, entry| {
                let id = match entry {
                    // He sees what is under it.
                    Entry::Plain(_) | Entry::Intricate(_) if label.is_open() => {
                        return Ok(ControlFlow::Continue(()));
                    }
                    Entry::Plain(change) | Entry::Intricate(change) => {
                        decode_change(change, sequence)?.id
                    }
                    Entry::Left(id) => id,
                };
                match self.stored_record(id)? {
                    Some(record) => row(sequence, Some(label), id, record),
                    None => Ok(ControlFlow::Continue(())),
                }
            },
        )
    }

    /// The labels in reach that `wanted` says; where everything is in reach, of all there are.
    pub(super) fn labels_that(
        &self,
        sight: &Arc<dyn Sight>,
        wanted: impl Fn(&SeenLabel) -> bool,
    ) -> Result<Vec<SeenLabel>, EngineError> {
        if let Some(labels) = self.labels_in_reach(sight, usize::MAX, &wanted)? {
            return Ok(labels);
        }
        let (mut found, mut after) = (Vec::new(), 0);
        loop {
            let some = all(self.view, self.database, after, LABELS_READ)?;
            let Some(last) = some.last() else {
                return Ok(found);
            };
            after = last.number;
            for label in some {
                let spans: Arc<[Span]> = sight.spans(&label.name, &label.members).into();
                let seen = SeenLabel { label, spans };
                if wanted(&seen) {
                    found.push(seen);
                }
            }
        }
    }

    /// Walks all changes, for what a reader gained or lost under more labels than cursors are held.
    fn pass_over_records(
        &self,
        (after, until): (u64, u64),
        mut row: impl FnMut(u64, &str, Record) -> Result<ControlFlow<()>, EngineError>,
    ) -> Result<(), EngineError> {
        let range = keys::sequences(self.database, after, until);
        let mut cursor = self.view.range(Space::Index, range, Direction::Forward)?;
        while let Some((key, value)) = cursor.next()? {
            let sequence =
                keys::number_of(self.database, key).ok_or_else(|| corrupt("a change's key"))?;
            let id = decode_change(value, sequence)?.id;
            if let Some(record) = self.stored_record(id)?
                && row(sequence, id, record)?.is_break()
            {
                break;
            }
        }
        Ok(())
    }
}

/// Under which label a document stood at the end of `seen`.
fn label_at_end(labelled: &Labelled, seen: &Span) -> u64 {
    let mut earlier = labelled.earlier.iter();
    let era = earlier.find(|era| era.from < seen.to && seen.to <= era.until);
    era.map_or(labelled.label, |era| era.label)
}

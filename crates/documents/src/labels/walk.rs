//! Walking what a reader sees: the labels he sees merged into one order, or, where they are many and
//! hold much of the database, the whole of it with the rest left out.
//!
//! Merging costs a cursor a label, passing over costs a row for each that is not his. Which is less
//! follows from counts that are kept. Either way gives the same rows.

use std::ops::ControlFlow;
use std::sync::Arc;

use adea_base::{Reach, Sight, Span};
use adea_store::{Direction, EngineError, KeyRange, Space};

use super::merge::{Merge, sequence_of};
use super::{Entry, Label, named, of_members, of_numbers};
use crate::error::corrupt;
use crate::keys;
use crate::reader::{IdRange, Reader};
use crate::record::{Change, Record, RecordHead, decode_change};
use crate::rev_tree::{Node, WinnerHead};
use crate::seen::{MOVES, Rule, is_open, is_unbroken};

/// A cursor costs as much as passing over so many rows.
const ROWS_A_CURSOR: u64 = 32;
/// More cursors than this are not held at once while there is another way.
pub(super) const CURSORS_MAX: usize = 2_048;
/// Labels read at once where all are looked at.
pub(super) const LABELS_READ: usize = 1_000;
/// How many rows are counted before it is said that there are at least as many.
const COUNTED_MAX: u64 = 500;

/// A label, and when the reader could see it.
pub(crate) struct SeenLabel {
    pub(crate) label: Label,
    pub(crate) spans: Arc<[Span]>,
}

impl SeenLabel {
    pub(super) fn is_open(&self) -> bool {
        is_open(&self.spans)
    }

    /// Whether the reader sees it now, and did not all the time since `sequence`.
    pub(super) fn came_after(&self, sequence: u64) -> bool {
        let last = self.spans.last();
        last.is_some_and(|span| span.is_open() && span.from > sequence)
    }
}

/// How the rows of a scope are found.
enum Plan {
    Merge(Vec<SeenLabel>),
    PassOver,
}

impl Reader<'_> {
    /// The labels that the reader ever saw and that are `wanted`; `None` if all are to be looked at, or
    /// if they are more than `most`.
    pub(super) fn labels_in_reach(
        &self,
        sight: &Arc<dyn Sight>,
        most: usize,
        wanted: impl Fn(&SeenLabel) -> bool,
    ) -> Result<Option<Vec<SeenLabel>>, EngineError> {
        let numbers: Vec<u64> = match sight.reach() {
            Reach::Everything => return Ok(None),
            Reach::Label(name) => {
                let found = named(self.view, self.database, &name)?;
                found.into_iter().map(|label| label.number).collect()
            }
            Reach::Members(members) => {
                let numbers = of_members(self.view, self.database, &members)?;
                numbers.into_iter().collect()
            }
        };
        let mut found = Vec::new();
        for some in numbers.chunks(LABELS_READ) {
            for label in of_numbers(self.view, self.database, some)? {
                let spans = self.scope.spans_of(label.number, || {
                    Ok::<_, EngineError>(sight.spans(&label.name, &label.members))
                })?;
                let seen = SeenLabel { label, spans };
                if !seen.spans.is_empty() && wanted(&seen) {
                    found.push(seen);
                }
            }
            if found.len() > most {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    /// The labels that the reader sees now, with what they count.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn labels_seen(&self, sight: &Arc<dyn Sight>) -> Result<Vec<Label>, EngineError> {
        let open = self.labels_that(sight, SeenLabel::is_open)?;
        Ok(open.into_iter().map(|seen| seen.label).collect())
    }

    /// Whoever follows the feed is told, now or later, of all that is there for him now: his sight reaches
    /// up to here, though it should end before he asks again.
    pub(super) fn note_served(&self, sight: &Arc<dyn Sight>) -> Result<(), EngineError> {
        let statistics = crate::database::statistics(self.view, self.database)?;
        sight.serve(statistics.update_sequence);
        Ok(())
    }

    /// Whether merging the labels that are `wanted` costs less than walking through all.
    fn plan(
        &self,
        sight: &Arc<dyn Sight>,
        wanted: impl Fn(&SeenLabel) -> bool,
    ) -> Result<Plan, EngineError> {
        let Some(labels) = self.labels_in_reach(sight, CURSORS_MAX, wanted)? else {
            return Ok(Plan::PassOver);
        };
        let rows = labels
            .iter()
            .map(|seen| seen.label.documents + seen.label.deleted);
        let rows: u64 = rows.sum();
        let cost = rows + ROWS_A_CURSOR * labels.len() as u64;
        let all = crate::database::statistics(self.view, self.database)?.changes();
        // Few cursors are always right: markers are found by them alone.
        let merged = labels.len() <= 256 || cost <= all;
        Ok(if merged {
            Plan::Merge(labels)
        } else {
            Plan::PassOver
        })
    }

    /// Walks the changes and removals that a reader who follows what he sees is told of, with
    /// `after < sequence <= until`.
    pub(crate) fn walk_seen_changes(
        &self,
        sight: &Arc<dyn Sight>,
        (after, until): (u64, u64),
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        self.note_served(sight)?;
        let open = |seen: &SeenLabel| seen.is_open() && seen.label.last_sequence > after;
        let labels = match self.plan(sight, open)? {
            Plan::Merge(labels) => labels,
            Plan::PassOver => return self.pass_over(sight, (after, until), direction, visit),
        };
        let rule = self.rule()?;
        self.merged(
            &labels,
            (after, until),
            direction,
            |sequence, label, entry| {
                self.seen_row(sight, rule, sequence, &label.spans, entry, visit)
            },
        )
    }

    /// Merges entries of labels.
    pub(super) fn merged(
        &self,
        labels: &[SeenLabel],
        (after, until): (u64, u64),
        direction: Direction,
        mut row: impl FnMut(u64, &SeenLabel, Entry<'_>) -> Result<ControlFlow<()>, EngineError>,
    ) -> Result<(), EngineError> {
        let ranges = labels
            .iter()
            .map(|seen| keys::label_changes(self.database, seen.label.number, after, until));
        let merge = Merge::new(self.view, self.database, ranges, direction)?;
        merge.walk(|head| match labels.get(head.cursor) {
            Some(label) => row(sequence_of(&head.key)?, label, Entry::decode(&head.value)?),
            None => Ok(ControlFlow::Break(())),
        })
    }

    /// Tells an entry of a label that the reader sees.
    pub(super) fn seen_row(
        &self,
        sight: &Arc<dyn Sight>,
        rule: Rule,
        sequence: u64,
        spans: &[Span],
        entry: Entry<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, EngineError> {
        match entry {
            Entry::Plain(change) if is_unbroken(spans) => {
                let change = decode_change(change, sequence)?;
                // Under an older rule it is nobody's; that is rare, and looked up only then.
                if !rule.done && !self.is_labelled_by(change.id, rule.generation)? {
                    return Ok(ControlFlow::Continue(()));
                }
                sight.serve(sequence);
                visit(sequence, change)
            }
            Entry::Plain(change) | Entry::Intricate(change) => {
                let id = decode_change(change, sequence)?.id;
                self.overlaid_row(sight, rule, id, sequence, |_| true, visit)
            }
            Entry::Left(id) => self.left_row(sight, rule, id, sequence, visit),
        }
    }

    /// Whether a document was labelled by the rule in force.
    fn is_labelled_by(&self, id: &str, generation: u64) -> Result<bool, EngineError> {
        let bytes = self
            .view
            .get(Space::Index, &keys::document(self.database, id))?;
        let Some(bytes) = bytes else { return Ok(false) };
        let labelled = RecordHead::decode(&bytes)?.labelled;
        Ok(labelled.is_some_and(|labelled| labelled.generation == generation))
    }

    /// Tells a document as the reader sees it, at `sequence`, if when he saw it last is as `told` says.
    pub(super) fn overlaid_row(
        &self,
        sight: &Arc<dyn Sight>,
        rule: Rule,
        id: &str,
        sequence: u64,
        told: impl Fn(&Span) -> bool,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, EngineError> {
        let Some(record) = self.stored_record(id)? else {
            return Ok(ControlFlow::Continue(()));
        };
        let intervals = self.intervals_by(sight, rule, &record)?;
        if !intervals.last().is_some_and(told) {
            return Ok(ControlFlow::Continue(()));
        }
        match self.seen_in(sight, id, record, &intervals)? {
            Some(record) => tell(id, sequence, &record, visit),
            None => Ok(ControlFlow::Continue(())),
        }
    }

    /// Tells a document that left a label at `sequence`, if it was out of the reader's sight by that. What
    /// he lost by his rights is told when these change.
    fn left_row(
        &self,
        sight: &Arc<dyn Sight>,
        rule: Rule,
        id: &str,
        sequence: u64,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, EngineError> {
        let by_move = |last: &Span| last.to == sequence;
        self.overlaid_row(sight, rule, id, sequence, by_move, visit)
    }

    /// Walks all changes, and all removals, and leaves out what is not the reader's.
    fn pass_over(
        &self,
        sight: &Arc<dyn Sight>,
        (after, until): (u64, u64),
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        let rule = self.rule()?;
        let moves = keys::label_changes(self.database, MOVES, after, until);
        let mut moves = Merge::new(self.view, self.database, [moves].into_iter(), direction)?;
        let mut next_move = moves.next();
        let range = keys::sequences(self.database, after, until);
        let mut cursor = self.view.range(Space::Index, range, direction)?;
        let mut next = cursor.next()?;
        loop {
            let at = match next {
                Some((key, _)) => Some(
                    keys::number_of(self.database, key).ok_or_else(|| corrupt("a change's key"))?,
                ),
                None => None,
            };
            let moved = match &next_move {
                Some(head) => Some(sequence_of(&head.key)?),
                None => None,
            };
            let move_first = match (at, moved) {
                (None, None) => return Ok(()),
                (Some(at), Some(moved)) if direction == Direction::Forward => moved < at,
                (Some(at), Some(moved)) => moved > at,
                (None, Some(_)) => true,
                (Some(_), None) => false,
            };
            let told = if move_first {
                let (Some(head), Some(sequence)) = (next_move.take(), moved) else {
                    return Ok(());
                };
                let told = match Entry::decode(&head.value)? {
                    Entry::Left(id) => self.left_row(sight, rule, id, sequence, visit)?,
                    Entry::Plain(_) | Entry::Intricate(_) => ControlFlow::Continue(()),
                };
                moves.done(head)?;
                next_move = moves.next();
                told
            } else {
                let (Some((_, value)), Some(sequence)) = (next, at) else {
                    return Ok(());
                };
                let id = decode_change(value, sequence)?.id;
                let told = self.overlaid_row(sight, rule, id, sequence, Span::is_open, visit)?;
                next = cursor.next()?;
                told
            };
            if told.is_break() {
                return Ok(());
            }
        }
    }

    /// Walks the documents that the reader sees, by their ids.
    pub(crate) fn walk_seen_documents(
        &self,
        sight: &Arc<dyn Sight>,
        range: &IdRange,
        direction: Direction,
        mut visit: impl FnMut(&str, RecordHead) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let rule = self.rule()?;
        let open = |seen: &SeenLabel| seen.is_open() && seen.label.documents > 0;
        let labels = match self.plan(sight, open)? {
            Plan::Merge(labels) => labels,
            Plan::PassOver => {
                return self.walk_stored_documents(range, direction, |id, value| {
                    Ok(match self.head_seen(sight, rule, id, value)? {
                        Some(head) if !head.winner.deleted => visit(id, head),
                        _ => ControlFlow::Continue(()),
                    })
                });
            }
        };
        let ranges = labels.iter().map(|seen| {
            let of = |id: &str| keys::label_document(self.database, seen.label.number, id);
            range.keys(KeyRange::prefix(&of("")), of)
        });
        let merge = Merge::new(self.view, self.database, ranges, direction)?;
        merge.walk(|head| {
            let id = std::str::from_utf8(&head.key).map_err(|_| corrupt("a label's key"))?;
            let key = keys::document(self.database, id);
            let seen = match self.view.get(Space::Index, &key)? {
                Some(value) => self.head_seen(sight, rule, id, &value)?,
                None => None,
            };
            Ok(match seen.filter(|head| !head.winner.deleted) {
                Some(found) => visit(id, found),
                None => ControlFlow::Continue(()),
            })
        })
    }

    /// The front of a stored record as the reader sees it.
    pub(crate) fn head_seen(
        &self,
        sight: &Arc<dyn Sight>,
        rule: Rule,
        id: &str,
        value: &[u8],
    ) -> Result<Option<RecordHead>, EngineError> {
        let head = RecordHead::decode(value)?;
        let Some(labelled) = &head.labelled else {
            return Ok(None);
        };
        let spans = self.spans(sight, labelled.label)?;
        let stayed = labelled.earlier.is_empty()
            || head.winner.body.is_some_and(|body| labelled.since <= body);
        let simple = labelled.generation == rule.generation
            && head.winner.leaf_count == 1
            && stayed
            && is_unbroken(&spans);
        if simple {
            sight.serve(head.sequence);
            return Ok(Some(head));
        }
        let record = self.as_seen(sight, rule, id, Record::decode(value)?)?;
        Ok(record.and_then(|record| head_of(&record)))
    }

    /// How many rows a feed of what the reader sees has behind `after`; of very many, at least so
    /// many.
    pub(crate) fn seen_after(
        &self,
        sight: &Arc<dyn Sight>,
        after: u64,
    ) -> Result<u64, EngineError> {
        let mut count = 0;
        self.walk_seen_changes(sight, (after, u64::MAX), Direction::Forward, &mut |_, _| {
            count += 1;
            Ok(if count < COUNTED_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        Ok(count)
    }
}

/// Who is told rows.
pub(crate) type Visit<'f> = dyn FnMut(u64, Change<'_>) -> Result<ControlFlow<()>, EngineError> + 'f;

/// The front of a record in memory.
pub(crate) fn head_of(record: &Record) -> Option<RecordHead> {
    let winner = record.tree.winner()?;
    Some(RecordHead {
        sequence: record.sequence,
        external_bytes: record.external_bytes,
        labelled: record.labelled.clone(),
        winner: WinnerHead {
            revision: winner.revision(),
            deleted: winner.is_deleted(),
            body: winner.body(),
            leaf_count: record.tree.leaf_count(),
            live_conflicts: record.tree.conflicts().next().is_some(),
        },
    })
}

/// Tells a document as its record has it.
pub(super) fn tell(
    id: &str,
    sequence: u64,
    record: &Record,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, EngineError> {
    let leaves = record.leaves();
    let Some(winner) = leaves.first().cloned() else {
        return Ok(ControlFlow::Continue(()));
    };
    let body = record.tree.winner().and_then(Node::body);
    visit(
        sequence,
        Change {
            id,
            body,
            leaves: Some(leaves),
            winner,
        },
    )
}

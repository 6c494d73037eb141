//! A document as a reader sees it who does not see all: virtual tombstones and revivals.
//!
//! When a document leaves a reader's sight, he is sent a *virtual tombstone*, a child of the revision
//! that he could see last; when it comes back with that same revision, a *virtual revival*, a live
//! child of the tombstone. So under a revision N hangs a chain N → c1 → c2 → c3 …, of which the odd are
//! tombstones and the even revivals with the content of N. Whatever of it a replica has, the next one
//! with its path extends it, and exactly the last is its leaf there.
//!
//! Virtual revisions are computed and not stored: c(n) of N is a keyed hash. How far a reader is on
//! the chain follows from when he could see the document's labels. Once N has a real successor, a
//! real tombstone is put on the chain that reaches beyond every reader's (`writer.rs`), so that nobody
//! keeps a revival beside it.

use std::sync::Arc;

use adea_base::{Sight, Span};
use adea_store::EngineError;
use sha2::{Digest as _, Sha256};

use crate::keys::DatabaseNumber;
use crate::labels::{self, Era, Labelled};
use crate::reader::Reader;
use crate::record::Record;
use crate::rev_tree::{Node, RevTree};
use crate::revision::{Revision, RevisionId};

/// Where the body of virtual tombstones is said to lie: it is empty, and read nowhere.
pub const NOTHING: u64 = u64::MAX;

/// How long a chain is looked for when somebody offers a revision: as far as twice this many losses
/// and returns of one revision.
const STEPS_MAX: u64 = 1_024;
const STEPS_TAKEN: usize = 1_024;
/// Revisions in a path that the document does not know, and below which it is looked further.
const UNKNOWN_MAX: u64 = 256;

/// The number of the label of what has none.
pub(crate) const NOBODY: u64 = 0;

/// The number that no label has: under it stand the markers of all documents that left a label, in
/// one order. Sequences begin with the one of the first database.
pub(crate) const MOVES: u64 = 1;

/// The `step`th virtual revision on the chain under `of`, a revision of document `id`.
#[must_use]
pub fn virtual_revision(
    key: &[u8; 32],
    database: DatabaseNumber,
    id: &str,
    of: &Revision,
    step: u64,
) -> Revision {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update(database.0.to_be_bytes());
    hash.update((id.len() as u64).to_be_bytes());
    hash.update(id.as_bytes());
    hash.update(step.to_be_bytes());
    hash.update(of.to_string().as_bytes());
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest.iter()) {
        *to = *from;
    }
    Revision {
        generation: of.generation + step,
        id: RevisionId::Md5(bytes),
    }
}

/// How often a reader got a document back since it was `written`, which he saw in `intervals`.
pub(crate) fn returns_since(intervals: &[Span], written: u64) -> u64 {
    let seen = intervals.iter().filter(|span| span.to > written);
    let times: u64 = seen.map(|span| u64::from(span.times)).sum();
    times.saturating_sub(1)
}

/// How many steps on the chain under `of` lead to `revision`, if it is a virtual revision of it.
pub(crate) fn steps_between(
    key: &[u8; 32],
    database: DatabaseNumber,
    id: &str,
    of: &Revision,
    revision: &Revision,
) -> Option<u64> {
    let steps = revision.generation.checked_sub(of.generation)?;
    let possible = steps > 0 && steps <= STEPS_MAX;
    (possible && virtual_revision(key, database, id, of, steps) == *revision).then_some(steps)
}

/// The live leaf of document `id` of which `revision` is a virtual revival, if it is one: an edit of
/// the one is an edit of the other.
#[must_use]
pub fn revived_leaf(
    key: &[u8; 32],
    database: DatabaseNumber,
    id: &str,
    record: &Record,
    revision: &Revision,
) -> Option<Revision> {
    if record.tree.find(revision).is_some() {
        return None;
    }
    let live = record.tree.leaves().filter(|leaf| !leaf.is_deleted());
    live.map(crate::rev_tree::Node::revision).find(|leaf| {
        let steps = steps_between(key, database, id, leaf, revision);
        steps.is_some_and(|steps| steps % 2 == 0)
    })
}

/// Whether a path, newest first, whose newest revision has generation `start`, begins with a virtual
/// revision that nobody stored: then what it brings is known, and nothing new.
#[must_use]
pub fn begins_virtual(
    key: &[u8; 32],
    database: DatabaseNumber,
    id: &str,
    record: &Record,
    start: u64,
    path: &[RevisionId],
) -> bool {
    let Some(newest) = path.first() else {
        return false;
    };
    let newest = Revision {
        generation: start,
        id: newest.clone(),
    };
    if record.tree.find(&newest).is_some() {
        return false;
    }
    let below = path.iter().zip(0_u64..).skip(1).take(STEPS_TAKEN);
    let mut unknown = 0;
    for (id_below, back) in below {
        let Some(generation) = start.checked_sub(back) else {
            break;
        };
        let of = Revision {
            generation,
            id: id_below.clone(),
        };
        if steps_between(key, database, id, &of, &newest).is_some() {
            return true;
        }
        // Below a revision with content nothing is virtual, but for the end of a chain; nor above many
        // that nobody knows.
        match record.tree.find(&of) {
            Some(node) if node.body().is_some() && !node.is_deleted() => break,
            Some(_) => {}
            None if unknown >= UNKNOWN_MAX => break,
            None => unknown += 1,
        }
    }
    false
}

/// The rule by which documents stand under labels.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rule {
    /// Its generation; 0 if documents have no labels.
    pub(crate) generation: u64,
    /// Whether all documents stand as it says.
    pub(crate) done: bool,
}

impl Reader<'_> {
    /// The spans in which the reader could see the label with this number.
    pub(crate) fn spans(
        &self,
        sight: &Arc<dyn Sight>,
        number: u64,
    ) -> Result<Arc<[Span]>, EngineError> {
        self.scope.spans_of(number, || {
            let label = labels::label(self.view, self.database, number)?;
            Ok(sight.spans(&label.name, &label.members))
        })
    }

    /// The rule by which documents stand under labels at this moment.
    pub(crate) fn rule(&self) -> Result<Rule, EngineError> {
        let settings = crate::database::settings(self.view, self.database)?;
        Ok(settings.map_or_else(Rule::default, |settings| Rule {
            generation: settings.labels,
            done: settings.labelled >= settings.labels,
        }))
    }

    /// When the reader could see a leaf with this body: while its document stood under the
    /// same one. Before the last change of rule that is not known: then whenever he saw the document,
    /// and as often as that changed its label he may have lost the leaf and got it back.
    fn leaf_intervals(
        &self,
        sight: &Arc<dyn Sight>,
        labelled: &Labelled,
        body: u64,
    ) -> Result<Vec<Span>, EngineError> {
        let label = labelled.label_of(body);
        self.intervals_where(sight, labelled, labelled.ruled_at, |era| {
            // It began with this very body: it is its author's.
            let begun = era.from == body;
            era.label == label || begun || era.until <= labelled.ruled_at
        })
    }

    /// Disjoint spans, the oldest first: those of the eras that are `shown`.
    fn intervals_where(
        &self,
        sight: &Arc<dyn Sight>,
        labelled: &Labelled,
        apart_before: u64,
        shown: impl Fn(&Era) -> bool,
    ) -> Result<Vec<Span>, EngineError> {
        let mut intervals: Vec<Span> = Vec::new();
        let now = Era {
            label: labelled.label,
            from: labelled.since,
            until: Span::OPEN,
        };
        for era in labelled.earlier.iter().chain([&now]) {
            if !shown(era) {
                continue;
            }
            for span in self.spans(sight, era.label)?.iter() {
                let (from, to) = (span.from.max(era.from), span.to.min(era.until));
                if from >= to {
                    continue;
                }
                match intervals.last_mut() {
                    // He saw it before and went on seeing it.
                    Some(last) if last.to == from && from >= apart_before => {
                        last.to = to;
                        last.times += span.times - 1;
                    }
                    _ => intervals.push(Span {
                        from,
                        to,
                        times: span.times,
                    }),
                }
            }
        }
        Ok(intervals)
    }

    /// A document as the reader sees it; `None` if he never did.
    pub(crate) fn as_seen(
        &self,
        sight: &Arc<dyn Sight>,
        rule: Rule,
        id: &str,
        record: Record,
    ) -> Result<Option<Record>, EngineError> {
        let intervals = self.intervals_by(sight, rule, &record)?;
        self.seen_in(sight, id, record, &intervals)
    }

    /// When the reader could see the document of `record`, if it was labelled by the rule in force; else
    /// never.
    pub(crate) fn intervals_by(
        &self,
        sight: &Arc<dyn Sight>,
        rule: Rule,
        record: &Record,
    ) -> Result<Vec<Span>, EngineError> {
        match &record.labelled {
            Some(labelled) if labelled.generation == rule.generation => {
                self.intervals_where(sight, labelled, 0, |_| true)
            }
            Some(_) | None => Ok(Vec::new()),
        }
    }

    /// A document as a reader sees it who could see it in `intervals`; `None` if he never did.
    pub(crate) fn seen_in(
        &self,
        sight: &Arc<dyn Sight>,
        id: &str,
        record: Record,
        intervals: &[Span],
    ) -> Result<Option<Record>, EngineError> {
        match intervals.last() {
            None => Ok(None),
            Some(last) if last.is_open() => {
                sight.serve(record.sequence);
                self.visible(sight, id, record, intervals).map(Some)
            }
            Some(last) => {
                // He is told that he saw it to its end, which must not be shortened any more.
                sight.serve(last.to.saturating_sub(1));
                self.gone(sight, id, record, intervals, last.to)
            }
        }
    }

    /// A document that the reader sees: without what is not for him, and with his revivals. A leaf that
    /// lost is shown if it has the label of the winner: so whether it is shown changes with the
    /// document only.
    fn visible(
        &self,
        sight: &Arc<dyn Sight>,
        id: &str,
        mut record: Record,
        intervals: &[Span],
    ) -> Result<Record, EngineError> {
        let labelled = record.labelled.clone().unwrap_or_default();
        if record.tree.leaf_count() == 1 && is_unbroken(intervals) && labelled.others.is_empty() {
            return Ok(record);
        }
        let leaves: Vec<(Revision, bool, Option<u64>)> = record
            .tree
            .leaves()
            .map(|leaf| (leaf.revision(), leaf.is_deleted(), leaf.body()))
            .collect();
        let mut hidden = Vec::new();
        for (body, label) in &labelled.others {
            if !is_open(&self.spans(sight, *label)?) {
                hidden.push(*body);
            }
        }
        let stored = record.tree.clone();
        for (leaf, deleted, body) in leaves {
            let Some(body) = body.filter(|_| !deleted) else {
                continue;
            };
            let label = labelled.label_of(body);
            if label == labelled.label {
                let seen = self.leaf_intervals(sight, &labelled, body)?;
                let steps = 2 * returns_since(&seen, body);
                if steps > 0 {
                    let (start, path) = chain(sight.key(), self.database, id, &leaf, steps);
                    // A tree that has no room for it shows what it has.
                    record.tree.merge(&path, start, false, body).ok();
                }
                continue;
            }
            record.tree.remove_leaves(std::slice::from_ref(&leaf));
            hidden.push(body);
            let seen = self.last_seen(sight, &labelled, &stored, &leaf, (intervals, Span::OPEN))?;
            let Some((seen, steps)) = seen else { continue };
            let goes_on = |of: &Node| {
                let shown = of
                    .body()
                    .is_some_and(|body| labelled.label_of(body) == labelled.label);
                of.is_deleted() || shown
            };
            // What others follow that he sees is no leaf of his.
            if stored.leaves_under(&seen).into_iter().any(goes_on) {
                continue;
            }
            let (start, mut path) = chain(sight.key(), self.database, id, &seen, steps);
            let older = stored.ancestors(&seen).skip(1);
            path.extend(older.map(|node| node.id().clone()));
            record.tree.merge(&path, start, true, NOTHING).ok();
        }
        record.tree.forget_bodies(&hidden, NOTHING);
        Ok(record)
    }

    /// A document that is gone from the reader's sight since `end`: the way to its tombstones, and
    /// nothing else.
    fn gone(
        &self,
        sight: &Arc<dyn Sight>,
        id: &str,
        record: Record,
        intervals: &[Span],
        end: u64,
    ) -> Result<Option<Record>, EngineError> {
        let labelled = record.labelled.clone().unwrap_or_default();
        let mut tree = RevTree::new();
        for leaf in record.tree.leaves() {
            let revision = leaf.revision();
            let shown = (intervals, end);
            let seen = self.last_seen(sight, &labelled, &record.tree, &revision, shown)?;
            let Some((seen, steps)) = seen else { continue };
            let (start, mut ids) = chain(sight.key(), self.database, id, &seen, steps);
            let older = record.tree.ancestors(&seen).skip(1);
            ids.extend(older.map(|node| node.id().clone()));
            tree.merge(&ids, start, true, NOTHING).ok();
        }
        Ok((!tree.is_empty()).then_some(Record {
            sequence: end,
            external_bytes: 0,
            tree,
            ..record
        }))
    }
}

impl Reader<'_> {
    /// The newest revision on the way down from `leaf` that the reader saw before `end`, and how many
    /// steps below it his tombstone is: none if it is one itself.
    fn last_seen(
        &self,
        sight: &Arc<dyn Sight>,
        labelled: &Labelled,
        tree: &RevTree,
        leaf: &Revision,
        (intervals, end): (&[Span], u64),
    ) -> Result<Option<(Revision, u64)>, EngineError> {
        for node in tree.ancestors(leaf) {
            let as_leaf;
            let (shown, body) = match node.body() {
                // What was written since he did not see.
                Some(body) if body >= end => continue,
                Some(body) => {
                    as_leaf = self.leaf_intervals(sight, labelled, body)?;
                    (as_leaf.as_slice(), body)
                }
                // It was compacted: then it is as its document was.
                None => (intervals, 0),
            };
            if shown.iter().any(|span| span.to > body) {
                let steps = if node.is_deleted() {
                    0
                } else {
                    2 * returns_since(shown, body) + 1
                };
                return Ok(Some((node.revision(), steps)));
            }
        }
        Ok(None)
    }
}

/// Whether the reader saw something once and sees it still.
pub(crate) fn is_unbroken(spans: &[Span]) -> bool {
    matches!(spans, [span] if span.is_open() && span.times == 1)
}

/// Whether the reader sees something now.
pub(crate) fn is_open(spans: &[Span]) -> bool {
    spans.last().is_some_and(Span::is_open)
}

/// The path from the `steps`th revision of the chain under `of` down to `of`, and its generation.
pub(crate) fn chain(
    key: &[u8; 32],
    database: DatabaseNumber,
    id: &str,
    of: &Revision,
    steps: u64,
) -> (u64, Vec<RevisionId>) {
    let mut path: Vec<RevisionId> = (1..=steps)
        .rev()
        .map(|step| virtual_revision(key, database, id, of, step).id)
        .collect();
    path.push(of.id.clone());
    (of.generation + steps, path)
}

/// Whether `revision` is a virtual one of a revision that document `id` has.
pub(crate) fn is_virtual(
    key: &[u8; 32],
    database: DatabaseNumber,
    id: &str,
    record: &Record,
    revision: &Revision,
) -> bool {
    let mut nodes = record.tree.nodes();
    nodes.any(|node| {
        let steps = revision.generation.saturating_sub(node.generation());
        steps > 0
            && steps <= STEPS_MAX
            && steps_between(key, database, id, &node.revision(), revision).is_some()
    })
}

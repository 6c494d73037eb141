//! Writing the index of labels: part of each write to a document, in its transaction.
//!
//! What a transaction changes of the counts of labels is collected and written at its end, and so is
//! whom it concerns: everybody who waits for a member of a label that a document is under, or left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use adea_base::DocumentId;
use adea_store::value::{Reader, put_varint};
use adea_store::{EngineError, Space, Transaction};

use super::{DraftLabel, ERAS_MAX, Entry, Era, Label, Labelled, load_key_in, member_topic};
use crate::error::corrupt;
use crate::keys::{self, DatabaseNumber};
use crate::record::Record;
use crate::revision::Revision;
use crate::seen::{MOVES, NOBODY};

/// The bodies of a document with another label than its winner's. `drafted` is the new body, and its
/// label.
fn others_of(
    before: &Before,
    record: &Record,
    labelled: &Labelled,
    of_winner: u64,
    drafted: Option<(u64, u64)>,
) -> Vec<(u64, u64)> {
    let old = before.labelled.as_ref();
    // What was written before documents had labels, or labelled by an older rule, waits for the rule
    // to be applied to it.
    let old = old.filter(|old| old.generation == labelled.generation);
    let of_body = |body: u64| match drafted {
        Some((new, label)) if new == body => label,
        // The end of a chain of revivals, written with this change.
        _ if body > record.sequence => of_winner,
        _ => old.map_or(NOBODY, |old| old.label_of(body)),
    };
    let bodies = record.tree.nodes().filter_map(crate::rev_tree::Node::body);
    let labels = bodies.map(|body| (body, of_body(body)));
    let mut others: Vec<(u64, u64)> = labels.filter(|(_, label)| *label != of_winner).collect();
    others.sort_unstable();
    others
}

/// How a label's counts change.
#[derive(Clone, Copy, Debug, Default)]
struct Difference {
    documents: i64,
    deleted: i64,
    external_bytes: i64,
    last_sequence: u64,
}

/// What a transaction changes of labels.
#[derive(Debug, Default)]
pub(crate) struct LabelChanges {
    differences: BTreeMap<u64, Difference>,
    /// Labels that this transaction found or made, by name.
    known: BTreeMap<Arc<str>, u64>,
    key: Option<[u8; 32]>,
    /// Labels whose members are to be told.
    told: BTreeSet<u64>,
}

/// How a document stood before a change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before {
    pub(crate) sequence: u64,
    pub(crate) labelled: Option<Labelled>,
    pub(crate) deleted: bool,
    pub(crate) external_bytes: u64,
    /// Live leaves and where their bodies are.
    pub(crate) live: Vec<(Revision, u64)>,
}

impl Before {
    /// What is to be known of `record`; the leaves only where documents have labels.
    pub(crate) fn of(record: &Record, labels: bool) -> Self {
        let live = if labels {
            let leaves = record.tree.leaves().filter(|leaf| !leaf.is_deleted());
            leaves
                .filter_map(|leaf| Some((leaf.revision(), leaf.body()?)))
                .collect()
        } else {
            Vec::new()
        };
        Self {
            sequence: record.sequence,
            labelled: record.labelled.clone(),
            deleted: record.tree.is_deleted(),
            external_bytes: record.external_bytes,
            live,
        }
    }
}

/// What is written of a document's content, and under which label.
pub(crate) struct Written<'w> {
    /// The sequence of the new body, if there is one.
    pub(crate) body: Option<u64>,
    /// The label that came with it.
    pub(crate) label: Option<&'w DraftLabel>,
    /// The label under which its author saw it, if that is not the one.
    pub(crate) author: Option<&'w DraftLabel>,
    pub(crate) creator: Option<&'w Arc<str>>,
    /// The generation of the rule that said so.
    pub(crate) generation: u64,
}

impl LabelChanges {
    /// Secret that virtual revisions are made with.
    pub(crate) fn key(&mut self, tx: &Transaction<'_>) -> Result<[u8; 32], EngineError> {
        if let Some(key) = self.key {
            return Ok(key);
        }
        let key = load_key_in(tx)?;
        self.key = Some(key);
        Ok(key)
    }

    /// The number of `label`, which is made if there is none of that name: `sequence` is nobody
    /// else's.
    fn number_of(
        &mut self,
        tx: &mut Transaction<'_>,
        database: DatabaseNumber,
        label: &DraftLabel,
        sequence: u64,
    ) -> Result<u64, EngineError> {
        if let Some(known) = self.known.get(&label.name) {
            return Ok(*known);
        }
        let name_key = keys::label_name(database, &label.name);
        let found = tx.get(Space::Index, &name_key)?;
        let number = match found {
            Some(bytes) => Reader::new(&bytes)
                .varint()
                .ok_or_else(|| corrupt("a label's number"))?,
            None => {
                let made = Label {
                    number: sequence,
                    name: Arc::clone(&label.name),
                    members: Arc::clone(&label.members),
                    documents: 0,
                    deleted: 0,
                    external_bytes: 0,
                    last_sequence: sequence,
                };
                let mut value = Vec::new();
                put_varint(&mut value, sequence);
                tx.put(Space::Index, name_key, value);
                tx.put(Space::Index, keys::label(database, sequence), made.encode());
                for member in label.members.iter() {
                    let key = keys::label_member(database, member, sequence);
                    tx.put(Space::Index, key, Vec::new());
                }
                sequence
            }
        };
        self.known.insert(Arc::clone(&label.name), number);
        Ok(number)
    }

    /// The members of the label that a document will stand under with the tree that `record` has;
    /// `new` is the sequence of the new body, and its label.
    pub(crate) fn stands_under(
        &self,
        tx: &Transaction<'_>,
        database: DatabaseNumber,
        before: &Before,
        record: &Record,
        (body, label): (u64, Option<&DraftLabel>),
    ) -> Result<Arc<[Arc<str>]>, EngineError> {
        let winner = record.tree.winner();
        let new = winner.filter(|winner| winner.body() == Some(body));
        let number = match (new, &before.labelled) {
            (Some(winner), Some(old)) if winner.is_deleted() => old.label,
            (Some(_), _) => {
                let members = label.map(|label| Arc::clone(&label.members));
                return Ok(members.unwrap_or_default());
            }
            (None, Some(old)) => {
                let winner = winner.and_then(crate::rev_tree::Node::body);
                winner.map_or(old.label, |body| old.label_of(body))
            }
            (None, None) => NOBODY,
        };
        if number == NOBODY {
            return Ok(Arc::default());
        }
        Ok(label_in(tx, database, number)?.members)
    }

    /// Moves a document to where its winner's label says, and indexes its change there. `record` is
    /// the document as it is now; false if it is not there any more.
    pub(crate) fn follow(
        &mut self,
        tx: &mut Transaction<'_>,
        database: DatabaseNumber,
        id: &DocumentId,
        before: &Before,
        record: &mut Record,
        written: &Written<'_>,
    ) -> Result<(), EngineError> {
        self.forget(tx, database, before);
        let Some(winner) = record.tree.winner() else {
            if let Some(old) = &before.labelled {
                self.forget_all(tx, database, id, old);
            }
            return Ok(());
        };
        let (winner_deleted, winner_body) = (winner.is_deleted(), winner.body());
        let unlabelled = before.labelled.is_none() && before.sequence != 0;
        if unlabelled && (written.body.is_none() || winner_body != written.body) {
            record.labelled = None;
            return Ok(());
        }
        let drafted = match (written.body, written.label) {
            (Some(body), Some(label)) => {
                Some((body, self.number_of(tx, database, label, record.sequence)?))
            }
            (Some(body), None) => Some((body, NOBODY)),
            (None, _) => None,
        };
        let first = before.labelled.is_none();
        let mut labelled = before.labelled.clone().unwrap_or_else(|| Labelled {
            generation: written.generation,
            label: NOBODY,
            since: record.sequence,
            creator: written.creator.cloned(),
            ..Labelled::default()
        });
        let of_winner = match (drafted, winner_body) {
            (Some((body, label)), Some(of)) if of == body && (first || !winner_deleted) => {
                labelled.generation = written.generation;
                if before.deleted && !winner_deleted {
                    // Who makes it again has made it: nothing is left of what was deleted.
                    labelled.creator = written.creator.cloned();
                }
                label
            }
            (Some((body, _)), Some(of)) if of == body => labelled.label,
            (_, Some(of)) if !first => labelled.label_of(of),
            _ => labelled.label,
        };
        // A tombstone shows nothing that the document did not.
        let drafted = drafted.map(|(body, label)| {
            let ends = winner_deleted && winner_body == Some(body);
            (body, if ends { of_winner } else { label })
        });
        labelled.others = others_of(before, record, &labelled, of_winner, drafted);
        if let (Some(author), Some(body)) = (written.author, written.body) {
            let his = self.number_of(tx, database, author, body)?;
            self.stand_under_author(tx, database, id, &mut labelled, his, (body, first));
        }
        if first && written.author.is_none() {
            labelled.label = of_winner;
        } else if of_winner != labelled.label {
            self.move_to(tx, database, id, &mut labelled, of_winner, record.sequence);
        }
        let old = before.labelled.as_ref();
        // It may have left its label for a moment, and come back.
        if old.is_none_or(|old| old.label != of_winner || old.since != labelled.since) {
            let mut since = Vec::with_capacity(9);
            put_varint(&mut since, labelled.since);
            let key = keys::label_document(database, of_winner, id.as_str());
            tx.put(Space::Index, key, since);
        }
        record.labelled = Some(labelled);
        self.index(tx, database, id, record);
        Ok(())
    }

    /// Has a document stand under the label of its author, from the sequence of what he writes on.
    fn stand_under_author(
        &mut self,
        tx: &mut Transaction<'_>,
        database: DatabaseNumber,
        id: &DocumentId,
        labelled: &mut Labelled,
        his: u64,
        (body, first): (u64, bool),
    ) {
        if first {
            (labelled.label, labelled.since) = (his, body);
        } else if his != labelled.label {
            self.move_to(tx, database, id, labelled, his, body);
        } else {
            // It was his alone before: what he writes now begins an era of its own.
            labelled.earlier.push(Era {
                label: his,
                from: labelled.since,
                until: body,
            });
            labelled.since = body;
            let marker = keys::label_change(database, MOVES, body);
            tx.put(Space::Index, marker, Entry::left(id.as_str()));
        }
    }

    /// The number of the label of this name, if there is one, as the transaction leaves it.
    pub(crate) fn find(
        &self,
        tx: &Transaction<'_>,
        database: DatabaseNumber,
        name: &Arc<str>,
    ) -> Result<Option<u64>, EngineError> {
        if let Some(known) = self.known.get(name) {
            return Ok(Some(*known));
        }
        tx.get(Space::Index, &keys::label_name(database, name))?
            .map(|bytes| {
                Reader::new(&bytes)
                    .varint()
                    .ok_or_else(|| corrupt("a label's number"))
            })
            .transpose()
    }

    /// The number of `label`, which is made under a sequence of its own if there is none of that
    /// name.
    pub(crate) fn find_or_make(
        &mut self,
        tx: &mut Transaction<'_>,
        database: DatabaseNumber,
        label: &DraftLabel,
    ) -> Result<u64, EngineError> {
        match self.find(tx, database, &label.name)? {
            Some(number) => Ok(number),
            None => {
                let sequence = tx.next_sequence();
                self.number_of(tx, database, label, sequence)
            }
        }
    }

    /// Puts a document under the labels that its bodies have by a new rule. `record` has the sequence
    /// at which that happens.
    pub(crate) fn relabel(
        &mut self,
        tx: &mut Transaction<'_>,
        database: DatabaseNumber,
        id: &DocumentId,
        before: &Before,
        record: &mut Record,
        now: Labelled,
    ) {
        self.forget(tx, database, before);
        let label = now.label;
        let mut labelled = now;
        match &before.labelled {
            Some(old) if old.label != label => {
                (labelled.label, labelled.since) = (old.label, old.since);
                self.move_to(tx, database, id, &mut labelled, label, record.sequence);
            }
            Some(_) => {}
            None => labelled.since = record.sequence,
        }
        let mut since = Vec::with_capacity(9);
        put_varint(&mut since, labelled.since);
        let key = keys::label_document(database, label, id.as_str());
        tx.put(Space::Index, key, since);
        record.labelled = Some(labelled);
        self.index(tx, database, id, record);
    }

    /// Takes out the entry of the change before, and its counts.
    fn forget(&mut self, tx: &mut Transaction<'_>, database: DatabaseNumber, before: &Before) {
        let Some(old) = &before.labelled else { return };
        if before.sequence == 0 {
            return;
        }
        let key = keys::label_change(database, old.label, before.sequence);
        tx.delete(Space::Index, key);
        let difference = self.differences.entry(old.label).or_default();
        if before.deleted {
            difference.deleted -= 1;
        } else {
            difference.documents -= 1;
        }
        difference.external_bytes -= i64::try_from(before.external_bytes).unwrap_or(i64::MAX);
        self.told.insert(old.label);
    }

    /// Takes a document out of everything that labels know of it.
    fn forget_all(
        &mut self,
        tx: &mut Transaction<'_>,
        database: DatabaseNumber,
        id: &DocumentId,
        old: &Labelled,
    ) {
        let key = keys::label_document(database, old.label, id.as_str());
        tx.delete(Space::Index, key);
        for era in &old.earlier {
            for label in [era.label, MOVES] {
                let key = keys::label_change(database, label, era.until);
                tx.delete(Space::Index, key);
            }
        }
    }

    /// Has a document leave its label for another one.
    fn move_to(
        &mut self,
        tx: &mut Transaction<'_>,
        database: DatabaseNumber,
        id: &DocumentId,
        labelled: &mut Labelled,
        label: u64,
        sequence: u64,
    ) {
        let left = std::mem::replace(&mut labelled.label, label);
        // A document has one marker under a label at most, and none where it is.
        for era in &labelled.earlier {
            if era.label == left || era.label == label {
                let key = keys::label_change(database, era.label, era.until);
                tx.delete(Space::Index, key);
            }
        }
        labelled.earlier.push(Era {
            label: left,
            from: labelled.since,
            until: sequence,
        });
        labelled.since = sequence;
        while labelled.earlier.len() > ERAS_MAX {
            let oldest = labelled.earlier.remove(0);
            let move_key = keys::label_change(database, MOVES, oldest.until);
            tx.delete(Space::Index, move_key);
            let again = labelled.earlier.iter().any(|era| era.label == oldest.label);
            if !again && oldest.label != label {
                let key = keys::label_change(database, oldest.label, oldest.until);
                tx.delete(Space::Index, key);
            }
        }
        tx.delete(
            Space::Index,
            keys::label_document(database, left, id.as_str()),
        );
        for label in [left, MOVES] {
            let marker = keys::label_change(database, label, sequence);
            tx.put(Space::Index, marker, Entry::left(id.as_str()));
        }
        let difference = self.differences.entry(left).or_default();
        difference.last_sequence = difference.last_sequence.max(sequence);
        self.told.insert(left);
    }

    /// Indexes a document's change under its label, and counts it there.
    fn index(
        &mut self,
        tx: &mut Transaction<'_>,
        database: DatabaseNumber,
        id: &DocumentId,
        record: &Record,
    ) {
        let Some(labelled) = &record.labelled else {
            return;
        };
        let key = keys::label_change(database, labelled.label, record.sequence);
        tx.put(Space::Index, key, Entry::of(id.as_str(), record));
        let difference = self.differences.entry(labelled.label).or_default();
        if record.tree.is_deleted() {
            difference.deleted += 1;
        } else {
            difference.documents += 1;
        }
        difference.external_bytes += i64::try_from(record.external_bytes).unwrap_or(i64::MAX);
        difference.last_sequence = difference.last_sequence.max(record.sequence);
        self.told.insert(labelled.label);
    }

    /// Writes the counts, and notes whom it concerns.
    pub(crate) fn write(
        self,
        tx: &mut Transaction<'_>,
        database: DatabaseNumber,
    ) -> Result<(), EngineError> {
        let mut members: BTreeSet<Arc<str>> = BTreeSet::new();
        for number in self.told {
            let difference = self.differences.get(&number).copied().unwrap_or_default();
            if number == NOBODY {
                continue;
            }
            let mut label = label_in(tx, database, number)?;
            let add = |count: &mut u64, by: i64| {
                *count = count.saturating_add_signed(by);
            };
            add(&mut label.documents, difference.documents);
            add(&mut label.deleted, difference.deleted);
            add(&mut label.external_bytes, difference.external_bytes);
            label.last_sequence = label.last_sequence.max(difference.last_sequence);
            members.extend(label.members.iter().cloned());
            tx.put(Space::Index, keys::label(database, number), label.encode());
        }
        for member in members {
            tx.touch(member_topic(database, &member));
        }
        Ok(())
    }
}

pub(super) fn label_in(
    tx: &Transaction<'_>,
    database: DatabaseNumber,
    number: u64,
) -> Result<Label, EngineError> {
    let bytes = tx.get(Space::Index, &keys::label(database, number))?;
    Label::decode(number, &bytes.ok_or_else(|| corrupt("a label's number"))?)
}

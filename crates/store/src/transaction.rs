//! One decision in the making: reads what is there, collects what shall be.
//!
//! Transactions run one after the other on the store's thread, so what one reads nobody moves
//! before it is done. Each sees what those before it in the same group decided, though none of
//! that is on disk yet; if the group fails to sync, all of them fail.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use crate::commit::Op;
use crate::engine::{Direction, EngineError, KeyRange, Space, View};
use crate::touched::Touched;

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// The decisions of a group, not yet applied, as an index over its operations.
pub(crate) struct Pending {
    /// Every operation of every transaction that was decided, in order.
    pub(crate) ops: Vec<Op>,
    /// For each key touched, the place of its newest operation in `ops`.
    newest: HashTable<usize>,
    /// Places of range deletes in `ops`; there are hardly ever any.
    ranges: Vec<usize>,
    /// Where the running transaction began: what stands from here on is its own.
    floor: usize,
    hasher: RandomState,
}

/// What a group says of a key.
enum Found<'p> {
    Value(&'p [u8]),
    Deleted,
    Unknown,
}

impl Pending {
    pub(crate) fn new() -> Self {
        Self {
            ops: Vec::new(),
            newest: HashTable::new(),
            ranges: Vec::new(),
            floor: 0,
            hasher: RandomState::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.ops.clear();
        self.newest.clear();
        self.ranges.clear();
        self.floor = 0;
    }

    fn push(&mut self, op: Op) {
        let place = self.ops.len();
        match &op {
            Op::Put { space, key, .. } | Op::Delete { space, key } => {
                let hash = self.hasher.hash_one((space, key));
                let (ops, hasher) = (&self.ops, &self.hasher);
                let same = |at: &usize| ops.get(*at).and_then(key_of) == Some((*space, key));
                match self.newest.find_mut(hash, same) {
                    Some(at) => {
                        // A transaction that writes a key again keeps one value of it, not many.
                        let own = *at >= self.floor && self.ranges.iter().all(|r| *r < *at);
                        if own && let Some(slot) = self.ops.get_mut(*at) {
                            *slot = op;
                            return;
                        }
                        *at = place;
                    }
                    None => {
                        self.newest.insert_unique(hash, place, |at| {
                            ops.get(*at)
                                .and_then(key_of)
                                .map_or(hash, |k| hasher.hash_one(k))
                        });
                    }
                }
            }
            Op::DeleteRange { .. } => self.ranges.push(place),
        }
        self.ops.push(op);
    }

    fn find(&self, space: Space, key: &[u8]) -> Found<'_> {
        let at = (!self.newest.is_empty())
            .then(|| {
                let hash = self.hasher.hash_one((&space, key));
                let same = |at: &usize| {
                    self.ops
                        .get(*at)
                        .and_then(key_of)
                        .is_some_and(|(s, k)| s == space && k == key)
                };
                self.newest.find(hash, same).copied()
            })
            .flatten();
        let covered = self.ranges.iter().rev().find(|place| {
            at.is_none_or(|at| at < **place)
                && matches!(self.ops.get(**place), Some(Op::DeleteRange { space: s, range })
                    if *s == space && range.from.as_slice() <= key && key < range.to.as_slice())
        });
        if covered.is_some() {
            return Found::Deleted;
        }
        match at.and_then(|at| self.ops.get(at)) {
            Some(Op::Put { value, .. }) => Found::Value(value),
            Some(Op::Delete { .. }) => Found::Deleted,
            Some(Op::DeleteRange { .. }) | None => Found::Unknown,
        }
    }

    /// Forgets everything from `place` on: the transaction that began there was refused.
    pub(crate) fn truncate(&mut self, place: usize) {
        if self.ops.len() == place {
            return;
        }
        let kept = std::mem::take(&mut self.ops);
        self.clear();
        for op in kept.into_iter().take(place) {
            self.push(op);
        }
    }

    /// The operations that matter, each key once where order does not decide.
    pub(crate) fn folded(&self) -> Vec<&Op> {
        if !self.ranges.is_empty() {
            return self.ops.iter().collect();
        }
        let mut places: Vec<usize> = self.newest.iter().copied().collect();
        places.sort_unstable();
        places
            .into_iter()
            .filter_map(|place| self.ops.get(place))
            .collect()
    }
}

fn key_of(op: &Op) -> Option<(Space, &Vec<u8>)> {
    match op {
        Op::Put { space, key, .. } | Op::Delete { space, key } => Some((*space, key)),
        Op::DeleteRange { .. } => None,
    }
}

/// A transaction: a domain's verb takes one and never commits it.
pub struct Transaction<'t> {
    view: &'t dyn View,
    pending: &'t mut Pending,
    begin: usize,
    sequence: u64,
    touched: Touched,
}

impl<'t> Transaction<'t> {
    pub(crate) fn begin(view: &'t dyn View, pending: &'t mut Pending, sequence: u64) -> Self {
        let begin = pending.ops.len();
        pending.floor = begin;
        Self {
            view,
            pending,
            begin,
            sequence,
            touched: Touched::default(),
        }
    }

    /// The value under `key`, as this transaction and those before it leave it.
    ///
    /// # Errors
    /// [`EngineError`] if the engine cannot read.
    pub fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        match self.pending.find(space, key) {
            Found::Value(value) => Ok(Some(value.to_vec())),
            Found::Deleted => Ok(None),
            Found::Unknown => self.view.get(space, key),
        }
    }

    /// The entries of `range` in the order of their keys, at most `limit`, as this transaction and
    /// those before it leave them. Each call looks through all that the group decided, so it is for
    /// ranges that are small and asked for seldom.
    ///
    /// # Errors
    /// [`EngineError`] if the engine cannot read.
    pub fn range(
        &self,
        space: Space,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<Entry>, EngineError> {
        let inside = |key: &[u8]| range.from.as_slice() <= key && key < range.to.as_slice();
        // What the group says of keys in the range; range deletes are asked about key by key.
        let decided: BTreeMap<&[u8], Option<&[u8]>> = self
            .pending
            .ops
            .iter()
            .filter_map(key_of)
            .filter(|(of, key)| *of == space && inside(key))
            .filter_map(|(_, key)| match self.pending.find(space, key) {
                Found::Value(value) => Some((key.as_slice(), Some(value))),
                Found::Deleted => Some((key.as_slice(), None)),
                Found::Unknown => None,
            })
            .collect();
        let mut decided = decided.into_iter().peekable();
        let mut found = Vec::new();
        let mut cursor = self.view.range(space, range.clone(), Direction::Forward)?;
        let mut stored = cursor.next()?;
        while found.len() < limit {
            let first = match (stored, decided.peek()) {
                (None, None) => break,
                (Some((key, _)), Some((own, _))) => key.cmp(own),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            if first.is_lt() {
                if let Some((key, value)) = stored
                    && !matches!(self.pending.find(space, key), Found::Deleted)
                {
                    found.push((key.to_vec(), value.to_vec()));
                }
            } else if let Some((key, Some(value))) = decided.next() {
                found.push((key.to_vec(), value.to_vec()));
            }
            if first.is_le() {
                stored = cursor.next()?;
            }
        }
        Ok(found)
    }

    /// From now on `key` holds `value`.
    pub fn put(&mut self, space: Space, key: Vec<u8>, value: Vec<u8>) {
        self.push(Op::Put { space, key, value });
    }

    /// From now on `key` holds nothing.
    pub fn delete(&mut self, space: Space, key: Vec<u8>) {
        self.push(Op::Delete { space, key });
    }

    /// Adds an operation that was decided elsewhere.
    pub fn push(&mut self, op: Op) {
        self.pending.push(op);
    }

    /// The committed data, without what this group decided: for walking a range. Whoever walks
    /// must know that nothing pending lies in it.
    #[must_use]
    pub fn committed(&self) -> &dyn View {
        self.view
    }

    /// The next sequence of the store's one order.
    pub fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// The last sequence handed out, to this transaction or any before it.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Raises the sequence to at least `sequence`: for a commit that was decided elsewhere.
    pub fn advance_sequence(&mut self, sequence: u64) {
        self.sequence = self.sequence.max(sequence);
    }

    /// Wakes who waits for `topic` once this is durable, and tells him that it reaches up to the
    /// last sequence handed out so far.
    pub fn touch(&mut self, topic: u64) {
        self.touched.add(topic, self.sequence);
    }

    /// What this transaction decided so far.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        self.pending.ops.get(self.begin..).unwrap_or_default()
    }

    /// Keeps the decision: the sequence it ended at and the topics it touched.
    pub(crate) fn keep(self) -> (u64, Touched) {
        (self.sequence, self.touched)
    }

    /// Takes the decision back.
    pub(crate) fn undo(self) {
        self.pending.truncate(self.begin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine as _, memory::Memory};
    use proptest::prelude::*;

    fn key(n: u8) -> Vec<u8> {
        vec![n]
    }

    proptest! {
        /// Whatever a group decides, undoes and deletes, a transaction reads what a map would
        /// hold, and the folded operations leave the engine with just that.
        #[test]
        fn a_group_reads_and_folds_as_a_map_would(
            steps in proptest::collection::vec((0u8..5, 0u8..6, 0u8..6, any::<bool>()), 1..40)
        ) {
            let engine = Memory::new();
            let mut model: BTreeMap<Vec<u8>, Vec<u8>> =
                [(key(2), key(9)), (key(4), key(8))].into();
            let stored: Vec<Op> = model
                .iter()
                .map(|(k, v)| Op::Put { space: Space::Index, key: k.clone(), value: v.clone() })
                .collect();
            engine.apply(&stored.iter().collect::<Vec<_>>(), true).unwrap();
            let view = engine.latest();
            let mut pending = Pending::new();
            for transaction in steps.chunks(4) {
                let before = model.clone();
                let keep = transaction.iter().all(|step| step.3) || transaction.len() > 2;
                let mut tx = Transaction::begin(view.as_ref(), &mut pending, 0);
                for (kind, a, b, _) in transaction {
                    match kind {
                        0..=2 => {
                            tx.put(Space::Index, key(*a), key(*b));
                            model.insert(key(*a), key(*b));
                        }
                        3 => {
                            tx.delete(Space::Index, key(*a));
                            model.remove(&key(*a));
                        }
                        _ => {
                            tx.push(Op::DeleteRange {
                                space: Space::Index,
                                range: KeyRange { from: key(*a), to: key(*b) },
                            });
                            model.retain(|k, _| *k < key(*a) || *k >= key(*b));
                        }
                    }
                    for n in 0..6 {
                        prop_assert_eq!(tx.get(Space::Index, &key(n)).unwrap(), model.get(&key(n)).cloned());
                    }
                }
                let whole = KeyRange { from: key(0), to: key(6) };
                let all: Vec<Entry> = model.clone().into_iter().collect();
                prop_assert_eq!(tx.range(Space::Index, &whole, 9).unwrap(), all.clone());
                let few: Vec<Entry> = all.into_iter().filter(|(k, _)| k[0] > 0).take(2).collect();
                let above = KeyRange { from: key(1), to: key(6) };
                prop_assert_eq!(tx.range(Space::Index, &above, 2).unwrap(), few);
                if keep { tx.keep(); } else { tx.undo(); model = before; }
            }
            drop(view);
            engine.apply(&pending.folded(), true).unwrap();
            for n in 0..6 {
                prop_assert_eq!(engine.latest().get(Space::Index, &key(n)).unwrap(), model.get(&key(n)).cloned());
            }
        }
    }
}

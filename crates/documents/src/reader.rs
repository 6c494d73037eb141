//! Reading documents: one by its id, many by a range of ids, and what a peer lacks of them.
//!
//! Every verb takes a view and a [`Scope`]; nothing is read without a right to it.

use std::ops::ControlFlow;

use adea_base::Scope;
use adea_store::{Cursor, Direction, EngineError, KeyRange, Space, View};

use crate::error::corrupt;
use crate::keys::{self, DatabaseNumber};
use crate::labels;
use crate::record::{Record, RecordHead, encode_body};
use crate::revision::Revision;
use crate::seen::{self, NOTHING, Rule};

/// A database, and the right to see some of it.
#[derive(Clone)]
pub struct Reader<'v> {
    /// The moment that is read.
    pub view: &'v dyn View,
    /// The database.
    pub database: DatabaseNumber,
    /// Which of its documents may be seen.
    pub scope: Scope,
}

/// The right to see all, for what this crate keeps up itself.
#[expect(
    clippy::disallowed_methods,
    reason = "indexes are of the whole database, and are read by scope"
)]
pub(crate) fn whole() -> Scope {
    Scope::aggregate()
}

/// A range of document ids, both ends as a client may give them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdRange {
    /// The smallest id; `None` for no bound.
    pub first: Option<String>,
    /// The greatest id and whether it belongs to the range; `None` for no bound.
    pub last: Option<(String, bool)>,
}

impl IdRange {
    /// The keys of its ids, which `of` makes, among `all`.
    pub(crate) fn keys(&self, all: KeyRange, of: impl Fn(&str) -> Vec<u8>) -> KeyRange {
        KeyRange {
            from: self.first.as_deref().map_or(all.from, &of),
            to: self.last.as_ref().map_or(all.to, |(id, inclusive)| {
                let mut key = of(id);
                if *inclusive {
                    key.push(0);
                }
                key
            }),
        }
    }
}

/// What a peer lacks of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// The revisions that are not here, in the order they were asked for.
    pub missing: Vec<Revision>,
    /// Leaves that may be their ancestors.
    pub possible_ancestors: Vec<Revision>,
}

impl<'v> Reader<'v> {
    /// The record of document `id`, as far as the reader may see it; see [`crate::seen`].
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn record(&self, id: &str) -> Result<Option<Record>, EngineError> {
        let Some(record) = self.stored_record(id)? else {
            return Ok(None);
        };
        match self.scope.sight() {
            None => Ok(Some(record)),
            Some(sight) => self.as_seen(sight, self.rule()?, id, record),
        }
    }

    /// The record of document `id`, whoever reads.
    pub(crate) fn stored_record(&self, id: &str) -> Result<Option<Record>, EngineError> {
        self.view
            .get(Space::Index, &keys::document(self.database, id))?
            .map(|bytes| Record::decode(&bytes))
            .transpose()
    }

    /// Whether the reader sees document `id` now, and it has not changed since the sequence
    /// `through`: then whatever was worked out from it up to there is his to see.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn sees(&self, id: &str, through: u64) -> Result<bool, EngineError> {
        let head = self.record_head(id)?;
        Ok(head.is_some_and(|head| !head.winner.deleted && head.sequence <= through))
    }

    /// The front of the record of document `id`: all that a listing needs.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn record_head(&self, id: &str) -> Result<Option<RecordHead>, EngineError> {
        let key = keys::document(self.database, id);
        match self.view.get(Space::Index, &key)? {
            Some(bytes) => self.head(self.rule_of_scope()?, id, &bytes),
            None => Ok(None),
        }
    }

    /// The front of a stored record, as far as the reader may see it.
    fn head(&self, rule: Rule, id: &str, value: &[u8]) -> Result<Option<RecordHead>, EngineError> {
        match self.scope.sight() {
            None => RecordHead::decode(value).map(Some),
            Some(sight) => self.head_seen(sight, rule, id, value),
        }
    }

    /// The rule that limits what the reader sees, if anything does.
    fn rule_of_scope(&self) -> Result<Rule, EngineError> {
        match self.scope.sight() {
            None => Ok(Rule::default()),
            Some(_) => self.rule(),
        }
    }

    /// The fronts of the records of documents `ids`, in their order.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn record_heads(&self, ids: &[&str]) -> Result<Vec<Option<RecordHead>>, EngineError> {
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_unstable_by_key(|at| ids.get(*at));
        let sorted: Vec<Vec<u8>> = order
            .iter()
            .filter_map(|at| ids.get(*at))
            .map(|id| keys::document(self.database, id))
            .collect();
        let rule = self.rule_of_scope()?;
        let mut found = vec![None; ids.len()];
        let values = self.view.multi_get(Space::Index, &sorted)?;
        for (at, value) in order.into_iter().zip(values) {
            if let (Some(slot), Some(bytes), Some(id)) = (found.get_mut(at), value, ids.get(at)) {
                *slot = self.head(rule, id, &bytes)?;
            }
        }
        Ok(found)
    }

    /// The stored body written under `sequence`; read it with [`crate::record::split_body`].
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn body(&self, sequence: u64) -> Result<Option<Vec<u8>>, EngineError> {
        if sequence == NOTHING {
            return Ok(Some(encode_body(&[], b"{}")));
        }
        self.view
            .get(Space::Body, &keys::body(self.database, sequence))
    }

    /// The stored bodies written under `sequences`, in their order.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn bodies(&self, sequences: &[u64]) -> Result<Vec<Option<Vec<u8>>>, EngineError> {
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_unstable_by_key(|at| sequences.get(*at));
        let sorted: Vec<Vec<u8>> = order
            .iter()
            .filter_map(|at| sequences.get(*at))
            .map(|sequence| keys::body(self.database, *sequence))
            .collect();
        let mut found = vec![None; sequences.len()];
        let values = self.view.multi_get(Space::Body, &sorted)?;
        for (at, value) in order.into_iter().zip(values) {
            if let Some(slot) = found.get_mut(at) {
                *slot = match sequences.get(at) {
                    Some(&NOTHING) => self.body(NOTHING)?,
                    _ => value,
                };
            }
        }
        Ok(found)
    }

    /// Walks the bodies upwards; see [`BodyWalk`].
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn walk_bodies(&self, from: u64) -> Result<BodyWalk<'v>, EngineError> {
        let all = keys::everything(self.database);
        let range = KeyRange {
            from: keys::body(self.database, from),
            to: all.to,
        };
        Ok(BodyWalk {
            reader: self.clone(),
            cursor: self.view.range(Space::Body, range, Direction::Forward)?,
        })
    }

    /// Walks the records of `range`, until `visit` breaks off.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn walk_documents(
        &self,
        range: &IdRange,
        direction: Direction,
        mut visit: impl FnMut(&str, RecordHead) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        if let Some(sight) = self.scope.sight() {
            return self.walk_seen_documents(sight, range, direction, visit);
        }
        self.walk_stored_documents(range, direction, |id, value| {
            Ok(visit(id, RecordHead::decode(value)?))
        })
    }

    /// Walks the records of `range`, whoever reads.
    pub(crate) fn walk_stored_documents(
        &self,
        range: &IdRange,
        direction: Direction,
        mut visit: impl FnMut(&str, &[u8]) -> Result<ControlFlow<()>, EngineError>,
    ) -> Result<(), EngineError> {
        let of = |id: &str| keys::document(self.database, id);
        let keys = range.keys(keys::documents(self.database), of);
        let mut cursor = self.view.range(Space::Index, keys, direction)?;
        while let Some((key, value)) = cursor.next()? {
            let id = keys::rest_of(self.database, key)
                .and_then(|id| std::str::from_utf8(id).ok())
                .ok_or_else(|| corrupt("a document's key"))?;
            if visit(id, value)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// How many documents that are not deleted lie in `range`; `None` if more than `most` rows
    /// would have to be walked.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn count_documents(&self, range: &IdRange, most: u64) -> Result<Option<u64>, EngineError> {
        let (mut count, mut walked) = (0, 0);
        self.walk_documents(range, Direction::Forward, |_, head| {
            walked += 1;
            count += u64::from(!head.winner.deleted);
            if walked > most {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok((walked <= most).then_some(count))
    }

    /// Which of `revisions` of document `id` are not here.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn lacking(&self, id: &str, revisions: &[Revision]) -> Result<Lacking, EngineError> {
        let Some(record) = self.record(id)? else {
            let mut missing: Vec<&Revision> = revisions.iter().collect();
            self.without_virtual(id, &mut missing)?;
            return Ok(Lacking {
                missing: missing.into_iter().cloned().collect(),
                possible_ancestors: Vec::new(),
            });
        };
        let mut missing = record.tree.missing(revisions);
        if !missing.is_empty() {
            self.without_virtual(id, &mut missing)?;
        }
        let possible_ancestors = record
            .tree
            .possible_ancestors(missing.iter().copied())
            .into_iter()
            .map(crate::rev_tree::Node::revision)
            .collect();
        Ok(Lacking {
            missing: missing.into_iter().cloned().collect(),
            possible_ancestors,
        })
    }
}

impl Reader<'_> {
    /// Takes out the virtual revisions of document `id`: who offers one has it from here.
    fn without_virtual(&self, id: &str, missing: &mut Vec<&Revision>) -> Result<(), EngineError> {
        if self.rule()?.generation == 0 {
            return Ok(());
        }
        let (Some(key), Some(record)) = (labels::key(self.view)?, self.stored_record(id)?) else {
            return Ok(());
        };
        missing.retain(|revision| !seen::is_virtual(&key, self.database, id, &record, revision));
        Ok(())
    }
}

/// Bodies asked for in rising order of their sequence, mostly one after the other: a step of a
/// cursor then, and not a lookup.
pub struct BodyWalk<'v> {
    reader: Reader<'v>,
    cursor: Box<dyn Cursor + 'v>,
}

impl BodyWalk<'_> {
    /// Gives the body written under `sequence` to `visit`; `None` if there is none.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn with_body<T>(
        &mut self,
        sequence: u64,
        visit: impl FnOnce(&[u8]) -> Result<T, EngineError>,
    ) -> Result<Option<T>, EngineError> {
        let database = self.reader.database;
        if sequence == NOTHING {
            let nothing = self.reader.body(sequence)?;
            return nothing.map(|body| visit(&body)).transpose();
        }
        let mut sought = false;
        loop {
            let at = match self.cursor.next()? {
                Some((key, value)) => {
                    let at = keys::body_sequence_of(database, key)
                        .ok_or_else(|| corrupt("a body's key"))?;
                    if at == sequence {
                        return visit(value).map(Some);
                    }
                    at
                }
                None => u64::MAX,
            };
            // Old bodies lie between, or this one lies behind.
            if sought || at > sequence {
                let found = self.reader.body(sequence)?;
                return found.map(|body| visit(&body)).transpose();
            }
            self.cursor.seek(&keys::body(database, sequence))?;
            sought = true;
        }
    }
}

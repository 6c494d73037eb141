//! A portion of documents, worked out beside the store's thread and written on it.
//!
//! The back index tells where a document's old rows are. Old and new are compared, and only what
//! differs is written; a document that was never in the index costs one lookup, and none while
//! the index is empty. What is expensive is done by [`prepare`]; [`apply`] looks whether the index
//! is still as it was and hands over operations that are ready.

use std::borrow::Cow;

use adea_store::value::{Reader, put_varint};
use adea_store::{Decline, EngineError, Op, Space, Transaction, View};

use super::recount::{Change, count_all, recount};
use super::row;
use super::state::{IndexState, find_in};
use super::tree::Trees;
use crate::database;
use crate::error::{DatabaseError, corrupt};
use crate::keys::DatabaseNumber;

/// What a document has in an index, as JSON texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// Everything that a document has in an index, in the order of emission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedDocument {
    /// The document.
    pub id: String,
    /// No rows: it has left the index, being deleted, purged, or of no interest.
    pub rows: Vec<Row>,
}

/// What a portion of documents changes.
#[derive(Debug)]
pub struct Portion {
    before: IndexState,
    after: IndexState,
    ops: Vec<Op>,
}

impl Portion {
    /// Bytes that it writes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.ops.iter().map(Op::size).sum()
    }

    /// The index as it will be.
    #[must_use]
    pub fn after(&self) -> &IndexState {
        &self.after
    }
}

/// Works out what changes when `documents` are as given and the index has come to the sequences
/// `through` and `purged_through`. Of a document that comes twice, the last counts.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn prepare(
    view: &dyn View,
    database: DatabaseNumber,
    index: &IndexState,
    documents: &[MappedDocument],
    through: u64,
    purged_through: u64,
) -> Result<Portion, EngineError> {
    let settle = index.height > 0 || {
        let newest = database::statistics(view, database)?.update_sequence;
        let left = newest.saturating_sub(through);
        left <= FEW_CHANGES + index.rows / FEW_OF_ROWS || index.rows >= UNCOUNTED_MAX
    };
    let sequences = (through, purged_through);
    prepare_with(view, database, index, documents, sequences, settle)
}

/// An index that is being built has as good as caught up if no more sequences than these are left,
const FEW_CHANGES: u64 = 1_000;
/// or than one of so many rows.
const FEW_OF_ROWS: u64 = 16;
/// An index with more rows gets its trees though it has not caught up, so that making them is
/// never more than a commit can hold.
const UNCOUNTED_MAX: u64 = 1 << 20;

/// As [`prepare`]; the index gets its trees only if it is to `settle`, and keeps what it has.
pub(super) fn prepare_with(
    view: &dyn View,
    database: DatabaseNumber,
    index: &IndexState,
    documents: &[MappedDocument],
    (through, purged_through): (u64, u64),
    settle: bool,
) -> Result<Portion, EngineError> {
    let documents = last_of_each(documents);
    let mut comparison = Comparison::new(view, database, index, documents.len());
    comparison.compare_all(&documents)?;
    comparison.sort_out_unchanged()?;
    let Comparison {
        mut rows,
        backs,
        prefix,
        ..
    } = comparison;

    let mut ops = Vec::with_capacity(rows.len() + backs.len() + rows.len() / 16 + 8);
    let mut after = index.clone();
    let changes: Vec<Change<'_>> = rows.iter().map(|row| row.change(prefix.len())).collect();
    let (added, removed) = changes.iter().fold((0, 0), |(added, removed), change| {
        (
            added + u64::from(change.old.is_none()),
            removed + u64::from(change.new.is_none()),
        )
    });
    let trees = Trees {
        view,
        database,
        index,
    };
    let reduces: Vec<u64> = index
        .reduces
        .iter()
        .filter(|reduce| reduce.built)
        .map(|reduce| reduce.tree)
        .collect();
    if index.height > 0 {
        after.height = recount(&trees, changes, &reduces, &mut ops)?;
    } else if settle {
        after.height = count_all(&trees, &changes, &mut ops)?;
    }
    ops.extend(rows.drain(..).map(RowChange::into_op));
    ops.extend(backs);

    after.rows = (index.rows + added)
        .checked_sub(removed)
        .ok_or_else(|| corrupt("the count of an index's rows"))?;
    after.generation += 1;
    after.sequence = after.sequence.max(through);
    after.purge_sequence = after.purge_sequence.max(purged_through);
    Ok(Portion {
        before: index.clone(),
        after,
        ops,
    })
}

/// Writes a portion, if the index is still where [`prepare`] saw it; else answers false, and the
/// portion is to be prepared again.
///
/// # Errors
/// [`DatabaseError::Missing`] if the database was dropped meanwhile.
pub fn apply(
    tx: &mut Transaction<'_>,
    database: DatabaseNumber,
    portion: Portion,
) -> Result<bool, Decline<DatabaseError>> {
    database::settings_in(tx, database)?;
    if find_in(tx, database, &portion.before.signature)?.as_ref() != Some(&portion.before) {
        return Ok(false);
    }
    for op in portion.ops {
        tx.push(op);
    }
    portion.after.put(tx, database);
    Ok(true)
}

/// The documents by id, each once.
fn last_of_each(documents: &[MappedDocument]) -> Vec<&MappedDocument> {
    let mut sorted: Vec<&MappedDocument> = documents.iter().rev().collect();
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    sorted.dedup_by(|later, kept| later.id == kept.id);
    sorted
}

/// A row that is there before or after, or both.
struct RowChange {
    key: Vec<u8>,
    was: bool,
    value: Option<Vec<u8>>,
}

impl RowChange {
    fn change(&self, prefix: usize) -> Change<'_> {
        Change {
            key: Cow::Borrowed(self.key.get(prefix..).unwrap_or_default()),
            old: self.was.then_some(1),
            new: self.value.as_ref().map(|_| 1),
        }
    }

    fn into_op(self) -> Op {
        let (space, key) = (Space::Index, self.key);
        match self.value {
            Some(value) => Op::Put { space, key, value },
            None => Op::Delete { space, key },
        }
    }
}

/// The rows of a document that have one sort key: how many.
struct Run<'b> {
    sort_key: &'b [u8],
    count: u64,
}

/// Reads the runs of a back index's entry, by sort key.
struct Runs<'b>(Reader<'b>);

impl<'b> Runs<'b> {
    fn next(&mut self) -> Result<Option<Run<'b>>, EngineError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut read = || {
            let head = self.0.varint()?;
            let sort_key = self.0.take(usize::try_from(head >> 1).ok()?)?;
            let more = if head & 1 == 1 { self.0.varint()? } else { 0 };
            Some(Run {
                sort_key,
                count: more.checked_add(1)?,
            })
        };
        read()
            .map(Some)
            .ok_or_else(|| corrupt("the entry of a document in an index"))
    }
}

/// Appends a run: the length of the sort key and whether there is more than one row, the sort key,
/// how many more.
fn put_run(out: &mut Vec<u8>, sort_key: &[u8], count: u64) {
    let more = count.saturating_sub(1);
    put_varint(out, (sort_key.len() as u64) << 1 | u64::from(more > 0));
    out.extend_from_slice(sort_key);
    if more > 0 {
        put_varint(out, more);
    }
}

/// The positions that an entry of the back index names, each with its document's id behind.
pub(super) fn positions(
    id: &str,
    entry: &[u8],
    mut visit: impl FnMut(Vec<u8>),
) -> Result<(), EngineError> {
    let mut runs = Runs(Reader::new(entry));
    while let Some(run) = runs.next()? {
        for ordinal in 0..run.count {
            let mut position = run.sort_key.to_vec();
            row::put_origin(&mut position, id, ordinal);
            visit(position);
        }
    }
    Ok(())
}

/// Old rows against new ones.
struct Comparison<'p> {
    view: &'p dyn View,
    database: DatabaseNumber,
    index: &'p IndexState,
    /// The front of all keys of rows.
    prefix: Vec<u8>,
    rows: Vec<RowChange>,
    backs: Vec<Op>,
}

impl<'p> Comparison<'p> {
    fn new(
        view: &'p dyn View,
        database: DatabaseNumber,
        index: &'p IndexState,
        documents: usize,
    ) -> Self {
        Self {
            view,
            database,
            index,
            prefix: row::rows(database, index.number, 0),
            rows: Vec::with_capacity(documents),
            backs: Vec::with_capacity(documents),
        }
    }

    fn compare_all(&mut self, documents: &[&MappedDocument]) -> Result<(), EngineError> {
        let prefix = row::backs(self.database, self.index.number, 0);
        let keys: Vec<Vec<u8>> = documents
            .iter()
            .map(|document| [&prefix, document.id.as_bytes()].concat())
            .collect();
        let entries = if self.index.rows == 0 {
            vec![None; keys.len()]
        } else {
            self.view.multi_get(Space::Index, &keys)?
        };
        for ((document, key), old) in documents.iter().zip(keys).zip(entries) {
            let new = self.compare(document, old.as_deref().unwrap_or_default())?;
            let space = Space::Index;
            match old {
                old if old.as_deref().unwrap_or_default() == new => {}
                Some(_) if new.is_empty() => self.backs.push(Op::Delete { space, key }),
                Some(_) | None => self.backs.push(Op::Put {
                    space,
                    key,
                    value: new,
                }),
            }
        }
        Ok(())
    }

    /// Adds the rows of a document, of which `old` tells, to the changes; answers what the back
    /// index is to tell of it.
    fn compare(&mut self, document: &MappedDocument, old: &[u8]) -> Result<Vec<u8>, EngineError> {
        let mut keyed = self.keyed(&document.rows);
        let mut entry = Vec::new();
        let mut olds = Runs(Reader::new(old));
        let mut run = olds.next()?;
        let mut rest = keyed.as_mut_slice();
        while let Some((first, _)) = rest.first() {
            let sort_key = first.get(self.prefix.len()..).unwrap_or_default();
            while let Some(gone) = run.take_if(|run| run.sort_key < sort_key) {
                self.remove(&document.id, &gone, 0);
                run = olds.next()?;
            }
            let count = rest.partition_point(|(key, _)| key == first);
            put_run(&mut entry, sort_key, count as u64);
            let had = run
                .take_if(|run| run.sort_key == sort_key)
                .inspect(|gone| self.remove(&document.id, gone, count as u64));
            if had.is_some() {
                run = olds.next()?;
            }
            let had = had.map_or(0, |run| run.count);
            let (here, behind) = rest.split_at_mut(count);
            for (ordinal, (key, row)) in (0..).zip(here) {
                let mut key = std::mem::take(key);
                row::put_origin(&mut key, &document.id, ordinal);
                self.rows.push(RowChange {
                    key,
                    was: ordinal < had,
                    value: Some(row::encode(&row.key, &row.value)),
                });
            }
            rest = behind;
        }
        while let Some(gone) = run {
            self.remove(&document.id, &gone, 0);
            run = olds.next()?;
        }
        Ok(entry)
    }

    /// The front of each row's key up to the document's id, sorted; rows of equal keys stay in the
    /// order of emission.
    fn keyed<'d>(&self, rows: &'d [Row]) -> Vec<(Vec<u8>, &'d Row)> {
        let mut keyed: Vec<(Vec<u8>, &Row)> = rows
            .iter()
            .map(|row| {
                let mut key = Vec::with_capacity(self.prefix.len() + 2 * row.key.len() + 32);
                key.extend_from_slice(&self.prefix);
                self.index.collation.sort_key_of_json(&row.key, &mut key);
                (key, row)
            })
            .collect();
        if keyed.len() > 1 {
            keyed.sort_by(|a, b| a.0.cmp(&b.0));
        }
        keyed
    }

    /// The rows of an old run from the ordinal `kept` on are gone.
    fn remove(&mut self, id: &str, run: &Run<'_>, kept: u64) {
        for ordinal in kept..run.count {
            let mut key = [self.prefix.as_slice(), run.sort_key].concat();
            row::put_origin(&mut key, id, ordinal);
            self.rows.push(RowChange {
                key,
                was: true,
                value: None,
            });
        }
    }

    /// Sorts the changes, and forgets rows that stay what they are.
    fn sort_out_unchanged(&mut self) -> Result<(), EngineError> {
        self.rows.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let stays = |row: &&RowChange| row.was && row.value.is_some();
        let keys: Vec<Vec<u8>> = self
            .rows
            .iter()
            .filter(stays)
            .map(|row| row.key.clone())
            .collect();
        if keys.is_empty() {
            return Ok(());
        }
        let mut stored = self.view.multi_get(Space::Index, &keys)?.into_iter();
        self.rows
            .retain(|row| !stays(&row) || stored.next().flatten() != row.value);
        Ok(())
    }
}

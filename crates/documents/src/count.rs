//! How many changes lie behind a sequence, exactly and without walking them all.
//!
//! Sequences are cut into blocks of [`BLOCK`]; the count of each block is kept in the commit that
//! changes it. What comes after a sequence is the rest of its block, walked, and the counts of
//! the blocks behind, added up.

use std::collections::HashMap;

use adea_store::value::{Reader, put_varint};
use adea_store::{Direction, EngineError, Space, Transaction, View};

use crate::error::corrupt;
use crate::keys::{self, DatabaseNumber};

/// Sequences a block.
const BLOCK: u64 = 512;

/// Changes of counts that a transaction collects.
#[derive(Debug, Default)]
pub(crate) struct CountChanges {
    blocks: HashMap<u64, i64>,
}

impl CountChanges {
    /// A change was written under `sequence`.
    pub(crate) fn added(&mut self, sequence: u64) {
        *self.blocks.entry(sequence / BLOCK).or_default() += 1;
    }

    /// The change under `sequence` was deleted.
    pub(crate) fn removed(&mut self, sequence: u64) {
        *self.blocks.entry(sequence / BLOCK).or_default() -= 1;
    }

    /// Writes what was collected.
    pub(crate) fn write(
        self,
        tx: &mut Transaction<'_>,
        database: DatabaseNumber,
    ) -> Result<(), EngineError> {
        let mut blocks: Vec<_> = self.blocks.into_iter().filter(|(_, by)| *by != 0).collect();
        // A commit is the same bytes wherever it is decided.
        blocks.sort_unstable();
        for (block, by) in blocks {
            let key = keys::count(database, block);
            let before = tx
                .get(Space::Index, &key)?
                .map_or(Ok(0), |value| read(&value))?;
            let after = before
                .checked_add_signed(by)
                .ok_or_else(|| corrupt("a count of changes"))?;
            if after == 0 {
                tx.delete(Space::Index, key);
            } else {
                let mut value = Vec::with_capacity(3);
                put_varint(&mut value, after);
                tx.put(Space::Index, key, value);
            }
        }
        Ok(())
    }
}

fn read(value: &[u8]) -> Result<u64, EngineError> {
    Reader::new(value)
        .varint()
        .ok_or_else(|| corrupt("a count of changes"))
}

/// How many changes of `database` have a sequence greater than `after`.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub(crate) fn changes_after(
    view: &dyn View,
    database: DatabaseNumber,
    after: u64,
) -> Result<u64, EngineError> {
    let block = after / BLOCK;
    let mut count = 0;
    let end_of_block = block * BLOCK + (BLOCK - 1);
    let mut cursor = view.range(
        Space::Index,
        keys::sequences(database, after, end_of_block),
        Direction::Forward,
    )?;
    while cursor.next()?.is_some() {
        count += 1;
    }
    let mut cursor = view.range(
        Space::Index,
        keys::counts_from(database, block + 1),
        Direction::Forward,
    )?;
    while let Some((_, value)) = cursor.next()? {
        count += read(value)?;
    }
    Ok(count)
}

/// The counts as stored, for checking: block → count.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub(crate) fn stored_counts(
    view: &dyn View,
    database: DatabaseNumber,
) -> Result<HashMap<u64, u64>, EngineError> {
    let mut counts = HashMap::new();
    let mut cursor = view.range(
        Space::Index,
        keys::counts_from(database, 0),
        Direction::Forward,
    )?;
    while let Some((key, value)) = cursor.next()? {
        let block = keys::number_of(database, key).ok_or_else(|| corrupt("a count's key"))?;
        counts.insert(block, read(value)?);
    }
    Ok(counts)
}

/// The block that `sequence` lies in.
pub(crate) fn block_of(sequence: u64) -> u64 {
    sequence / BLOCK
}

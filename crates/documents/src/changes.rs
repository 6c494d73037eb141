//! The change feed: each document once, at the sequence of its last change.
//!
//! A reader walks from where he was, in short views; what changes behind him while he walks he
//! meets later, under its new sequence. So he misses nothing, and holds nothing.

use std::ops::ControlFlow;

use adea_store::{Direction, EngineError, Space};

use crate::error::corrupt;
use crate::keys;
use crate::reader::Reader;
use crate::record::{Change, Leaf, decode_change};

impl Reader<'_> {
    /// Walks the changes with `after < sequence <= until`, until `visit` breaks off.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read, or whatever `visit` fails with.
    pub fn walk_changes(
        &self,
        after: u64,
        until: u64,
        direction: Direction,
        mut visit: impl FnMut(u64, Change<'_>) -> Result<ControlFlow<()>, EngineError>,
    ) -> Result<(), EngineError> {
        if let Some(sight) = self.scope.sight() {
            let rows = (after, until);
            return self.walk_seen_changes(sight, rows, direction, &mut visit);
        }
        let range = keys::sequences(self.database, after, until);
        let mut cursor = self.view.range(Space::Index, range, direction)?;
        while let Some((key, value)) = cursor.next()? {
            let sequence =
                keys::number_of(self.database, key).ok_or_else(|| corrupt("a change's key"))?;
            if visit(sequence, decode_change(value, sequence)?)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// How many changes have a sequence greater than `after`. For a reader who does not see all, of
    /// very many at least so many.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn changes_after(&self, after: u64) -> Result<u64, EngineError> {
        if let Some(sight) = self.scope.sight() {
            return self.seen_after(sight, after);
        }
        crate::count::changes_after(self.view, self.database, after)
    }

    /// All leaves of a change, also where there are too many to be listed with it.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn leaves_of(&self, change: &Change<'_>) -> Result<Vec<Leaf>, EngineError> {
        if let Some(leaves) = &change.leaves {
            return Ok(leaves.clone());
        }
        let record = self.record(change.id)?;
        Ok(record.map(|record| record.leaves()).unwrap_or_default())
    }
}

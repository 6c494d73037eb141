//! Reading an index: rows in either direction, and counts that need not walk them.

use std::ops::ControlFlow;

use adea_base::Scope;
use adea_store::{Direction, EngineError, View};

use super::position::{RowPosition, RowRange};
use super::row::RowRef;
use super::state::IndexState;
use crate::error::corrupt;
use crate::keys::DatabaseNumber;

/// An index at a moment, and the right to see some of it.
#[derive(Clone, Copy)]
pub struct IndexReader<'v> {
    /// The moment that is read.
    pub view: &'v dyn View,
    /// The database.
    pub database: DatabaseNumber,
    /// Which of its documents may be seen.
    pub scope: Scope,
    /// The index, as this moment shows it.
    pub index: &'v IndexState,
}

impl IndexReader<'_> {
    /// Walks the rows of `range`, until `visit` breaks off. To go on later, walk
    /// [`RowRange::after`] or [`RowRange::before`] the last row's position.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn walk_rows(
        &self,
        range: &RowRange,
        direction: Direction,
        visit: impl FnMut(RowRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let _ = (range, direction, visit);
        Err(corrupt("not yet"))
    }

    /// How many rows lie in `range`, by the count tree.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn count_rows(&self, range: &RowRange) -> Result<u64, EngineError> {
        let _ = range;
        Err(corrupt("not yet"))
    }

    /// What is left of `range` behind its first `count` rows in this direction, by the count
    /// tree: what `skip` asks for.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn skip_rows(
        &self,
        range: &RowRange,
        direction: Direction,
        count: u64,
    ) -> Result<RowRange, EngineError> {
        let _ = (range, direction, count);
        Err(corrupt("not yet"))
    }

    /// What `offset` means: how many rows of the index come before the first of `range` in this
    /// direction.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn offset(&self, range: &RowRange, direction: Direction) -> Result<u64, EngineError> {
        let before = match direction {
            Direction::Forward => RowRange {
                from: RowPosition::default(),
                to: Some(range.from.clone()),
            },
            Direction::Reverse => match &range.to {
                Some(to) => RowRange {
                    from: to.clone(),
                    to: None,
                },
                None => return Ok(0),
            },
        };
        self.count_rows(&before)
    }
}

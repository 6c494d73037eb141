//! A range group by group: few rows as they are, many as pieces.

use std::ops::ControlFlow;

use adea_store::{Direction, EngineError};

use super::cover::Piece;
use super::position::{GroupLevel, RowPosition, RowRange};
use super::reader::IndexReader;
use super::state::Signature;
use crate::error::corrupt;

/// What comes next in a walk over groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupStep<'g> {
    /// A group begins whose first row, in the direction of the walk, has this key. Under
    /// [`GroupLevel::Elements`] the group's key is its first elements.
    Begin(&'g str),
    /// A part of the group, in the order of keys whatever the direction.
    Piece(Piece),
    /// The group is complete. To go on later, walk what is left of the range: from here up
    /// ([`RowRange::from`]), or up to here for a walk down ([`RowRange::to`]).
    End(&'g RowPosition),
}

impl IndexReader<'_> {
    /// The range of the group that the row at `position` belongs to.
    #[must_use]
    pub fn group_range(&self, position: &RowPosition, level: GroupLevel) -> RowRange {
        level.range_of(self.index.collation, position.as_bytes())
    }

    /// Walks the groups of `range`, until `visit` breaks off. A group of which only a part lies in
    /// the range is what lies in it.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn walk_groups(
        &self,
        range: &RowRange,
        direction: Direction,
        level: GroupLevel,
        reduce: &Signature,
        visit: impl FnMut(GroupStep<'_>) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let _ = (range, direction, level, reduce, visit);
        Err(corrupt("not yet"))
    }
}

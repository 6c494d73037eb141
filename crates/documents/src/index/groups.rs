//! A range group by group: few rows as they are, many as pieces.
//!
//! Most groups are small, so a group is first read row by row; only if it does not end soon, the
//! rest of it is covered by nodes and the walk goes on behind it.

use std::ops::ControlFlow;

use adea_store::{Direction, EngineError};

use super::cover::Piece;
use super::position::{GroupLevel, RowPosition, RowRange};
use super::reader::IndexReader;
use super::row::OwnedRow;
use super::state::Signature;

/// So many rows of a group are read one by one.
const ROWS_READ_MAX: usize = 64;

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
        mut visit: impl FnMut(GroupStep<'_>) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let mut rest = range.clone();
        let mut walk = GroupWalk {
            reader: self,
            direction,
            level,
            reduce,
            visit: &mut visit,
        };
        while !rest.is_empty() {
            match walk.small_groups(&rest)? {
                Some(left) => rest = left,
                None => break,
            }
        }
        Ok(())
    }
}

/// A group that is being read.
struct Group {
    /// Its part of the range that is walked.
    range: RowRange,
    rows: Vec<OwnedRow>,
}

struct GroupWalk<'g, 'v> {
    reader: &'g IndexReader<'v>,
    direction: Direction,
    level: GroupLevel,
    reduce: &'g Signature,
    visit: &'g mut dyn FnMut(GroupStep<'_>) -> ControlFlow<()>,
}

impl GroupWalk<'_, '_> {
    /// Walks groups until the first that is large, and that one, too. Answers what is left of
    /// `range`, or `None` if nothing is or `visit` broke off.
    fn small_groups(&mut self, range: &RowRange) -> Result<Option<RowRange>, EngineError> {
        let mut feed = self.reader.feed(range, self.direction)?;
        let mut open: Option<Group> = None;
        while let Some(row) = feed.next()? {
            if let Some(group) = open.take_if(|group| !holds(&group.range, row.position))
                && self.end(group).is_break()
            {
                return Ok(None);
            }
            let group = if let Some(group) = &mut open {
                group
            } else {
                if (self.visit)(GroupStep::Begin(row.key)).is_break() {
                    return Ok(None);
                }
                let all = self
                    .level
                    .range_of(self.reader.index.collation, row.position);
                open.insert(Group {
                    range: all.intersection(range),
                    rows: Vec::new(),
                })
            };
            group.rows.push(row.to_owned_row());
            if group.rows.len() == ROWS_READ_MAX {
                let last = row.to_position();
                let Some(group) = open.take() else { continue };
                return self.large_group(group, last, range);
            }
        }
        if let Some(group) = open {
            // What comes of it changes nothing: this was the last group.
            let _last = self.end(group);
        }
        Ok(None)
    }

    fn end(&mut self, mut group: Group) -> ControlFlow<()> {
        if self.direction == Direction::Reverse {
            group.rows.reverse();
        }
        (self.visit)(GroupStep::Piece(Piece::Rows(group.rows)))?;
        self.close(&group.range)
    }

    fn close(&mut self, group: &RowRange) -> ControlFlow<()> {
        match (self.direction, &group.to) {
            (Direction::Forward, Some(to)) => (self.visit)(GroupStep::End(to)),
            (Direction::Forward, None) | (Direction::Reverse, _) => {
                (self.visit)(GroupStep::End(&group.from))
            }
        }
    }

    /// Covers the rest of a group, of which the rows up to `last` were read.
    fn large_group(
        &mut self,
        group: Group,
        last: RowPosition,
        range: &RowRange,
    ) -> Result<Option<RowRange>, EngineError> {
        let Group {
            range: whole,
            mut rows,
        } = group;
        let visit = &mut *self.visit;
        let mut piece = |piece: Piece| visit(GroupStep::Piece(piece));
        let flow = match self.direction {
            Direction::Forward => {
                let rest = whole.clone().after(last);
                match piece(Piece::Rows(rows)) {
                    ControlFlow::Continue(()) => {
                        self.reader.cover_with(&rest, self.reduce, &mut piece)?
                    }
                    flow @ ControlFlow::Break(()) => flow,
                }
            }
            Direction::Reverse => {
                let rest = whole.clone().before(last);
                rows.reverse();
                match self.reader.cover_with(&rest, self.reduce, &mut piece)? {
                    ControlFlow::Continue(()) => piece(Piece::Rows(rows)),
                    flow @ ControlFlow::Break(()) => flow,
                }
            }
        };
        if flow.is_break() || self.close(&whole).is_break() {
            return Ok(None);
        }
        Ok(Some(match self.direction {
            Direction::Forward => RowRange {
                from: whole.to.unwrap_or_default(),
                to: range.to.clone(),
            },
            Direction::Reverse => RowRange {
                from: range.from.clone(),
                to: Some(whole.from),
            },
        }))
    }
}

/// Whether the row at `position` lies in `range`.
fn holds(range: &RowRange, position: &[u8]) -> bool {
    range.from.as_bytes() <= position && range.to.as_ref().is_none_or(|to| position < to.as_bytes())
}

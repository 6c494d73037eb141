//! A range as few pieces: whole nodes where they fit and are fresh, bare rows elsewhere.
//!
//! From the highest level down, each node that lies in the range as a whole and has a value is
//! taken; what is left between and beside them is looked for one level below, and at the end
//! among the rows. A range of any length is so covered by a few nodes a level.

use std::ops::ControlFlow;

use adea_store::{Direction, EngineError};

use super::position::{RowPosition, RowRange};
use super::reader::IndexReader;
use super::row::OwnedRow;
use super::state::Signature;
use super::tree;

/// So many rows are given at once, at most.
pub(super) const ROWS_AT_ONCE_MAX: usize = 256;

/// A part of a range, in the order of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Rows that no stored node has, at most a few hundred at once.
    Rows(Vec<OwnedRow>),
    /// What the reduce made of a node's rows.
    Value(String),
}

impl IndexReader<'_> {
    /// Gives `range` to `visit` in pieces, in the order of keys, until it breaks off. Reduced one
    /// by one and then together, they are the reduce of the range. Without rows in the range there
    /// are no pieces.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn cover(
        &self,
        range: &RowRange,
        reduce: &Signature,
        mut visit: impl FnMut(Piece) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        self.cover_with(range, reduce, &mut visit).map(drop)
    }

    pub(super) fn cover_with(
        &self,
        range: &RowRange,
        reduce: &Signature,
        visit: &mut dyn FnMut(Piece) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, EngineError> {
        if range.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let tree = self.tree_of(reduce);
        let height = tree.map_or(0, |_| self.height());
        let to = range.to.as_ref().map(RowPosition::as_bytes);
        let mut cover = Cover {
            reader: self,
            tree: tree.unwrap_or(tree::COUNT),
            visit,
        };
        cover.at(height, range.from.as_bytes(), to)
    }

    /// The tree that holds the values of `reduce`, if it may hold any.
    fn tree_of(&self, reduce: &Signature) -> Option<u64> {
        if *reduce == Signature::COUNT {
            return Some(tree::COUNT);
        }
        let mut built = self.index.reduces.iter().filter(|known| known.built);
        built
            .find(|known| known.signature == *reduce)
            .map(|known| known.tree)
    }
}

struct Cover<'c, 'v> {
    reader: &'c IndexReader<'v>,
    tree: u64,
    visit: &'c mut dyn FnMut(Piece) -> ControlFlow<()>,
}

impl Cover<'_, '_> {
    fn at(
        &mut self,
        level: u8,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<ControlFlow<()>, EngineError> {
        if level == 0 {
            return self.rows(from, to);
        }
        let trees = self.reader.trees();
        let parts = trees.segments(level, from, to)?;
        let values = if self.tree == tree::COUNT {
            let count = |part: &tree::Segment| part.count.map(|count| count.to_string());
            parts.iter().map(count).collect()
        } else {
            trees.values(self.tree, level, &parts)?
        };
        for (part, value) in parts.into_iter().zip(values) {
            let flow = match (part.count, value) {
                (Some(0), _) => ControlFlow::Continue(()),
                (Some(_), Some(value)) => (self.visit)(Piece::Value(value)),
                (Some(_), None) | (None, _) => {
                    self.at(level - 1, &part.from, part.to.as_deref())?
                }
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn rows(&mut self, from: &[u8], to: Option<&[u8]>) -> Result<ControlFlow<()>, EngineError> {
        let mut feed = self.reader.feed_between(from, to, Direction::Forward)?;
        let mut rows = Vec::new();
        while let Some(row) = feed.next()? {
            rows.push(row.to_owned_row());
            if rows.len() == ROWS_AT_ONCE_MAX {
                let full = std::mem::take(&mut rows);
                if (self.visit)(Piece::Rows(full)).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(if rows.is_empty() {
            ControlFlow::Continue(())
        } else {
            (self.visit)(Piece::Rows(rows))
        })
    }
}

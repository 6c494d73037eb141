//! A range as few pieces: whole nodes where they fit and are fresh, bare rows elsewhere.

use std::ops::ControlFlow;

use adea_store::EngineError;

use super::position::RowRange;
use super::reader::IndexReader;
use super::row::OwnedRow;
use super::state::Signature;
use crate::error::corrupt;

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
        visit: impl FnMut(Piece) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let _ = (range, reduce, visit);
        Err(corrupt("not yet"))
    }
}

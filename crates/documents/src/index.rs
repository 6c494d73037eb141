//! Stored indexes: what a view or a Mango index found in the documents, in the order of its keys.
//!
//! An index is known by its [`Signature`], which says what it computes, so that two design
//! documents with the same function share one. Under its number lie
//!
//! * its *rows*, by sort key, document id and the order of emission;
//! * the *back index*: where the rows of a document are, so that an update takes the old away;
//! * the *count tree* and a tree for each reduce function: the rows are cut into nodes where the
//!   hash of a row's key says so, the nodes of one level into those of the next, and a node holds
//!   the count, or the reduce, of its rows. The cut depends on the rows alone and not on the
//!   order in which they came, so a change moves only the nodes that it lies in.
//!
//! What a portion of documents changes is worked out by [`prepare`] beside the store's thread and
//! written by [`apply`] on it. Nothing here knows JavaScript: reduces are computed by whoever
//! asks [`stale_nodes`] for work and hands the results to [`store_nodes`].
//!
//! Invariant: rows, back index, count tree, the staleness of reduce nodes and
//! [`IndexState::sequence`] change in one commit. A reduce node that is stored equals the reduce
//! of its range, and every node below it is stored, too; a stale one is simply not there.

pub mod builtin;
mod check;
mod cover;
pub mod fields;
mod fill;
mod groups;
mod portion;
mod position;
mod reader;
mod recount;
mod row;
mod scoped;
mod state;
mod tree;

pub use check::{verify, verify_reduce};
pub use cover::Piece;
pub use fill::{Material, NodeValue, NodeWork, stale_nodes, store_nodes};
pub use groups::GroupStep;
pub use portion::{MappedDocument, Portion, Row, apply, prepare};
pub use position::{GroupLevel, KeyBound, RowPosition, RowRange};
pub use reader::IndexReader;
pub use row::{OwnedRow, RowRef, entries};
pub use state::{
    IndexNumber, IndexState, ReduceState, Signature, add_reduce, all, create, find, remove,
    remove_reduce,
};

#[cfg(test)]
mod tests;

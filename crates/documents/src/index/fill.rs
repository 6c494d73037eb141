//! Filling the trees of reduces: which nodes want computing, of what, and storing the results.

use adea_store::{Decline, EngineError, Transaction, View};

use super::row::OwnedRow;
use super::state::{IndexState, Signature};
use crate::error::{DatabaseError, corrupt};
use crate::keys::DatabaseNumber;

/// Which node of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodePlace {
    pub(super) level: u8,
    pub(super) boundary: Vec<u8>,
}

/// A node whose value is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeWork {
    pub(super) place: NodePlace,
    /// What its value is to be made of.
    pub material: Material,
}

/// What a node's value is made of, in the order of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// The rows to reduce; may be none.
    Rows(Vec<OwnedRow>),
    /// The values to reduce again; at least one.
    Values(Vec<String>),
}

impl NodeWork {
    /// The work done: the node with its value.
    #[must_use]
    pub fn done(self, value: String) -> NodeValue {
        NodeValue {
            place: self.place,
            value,
        }
    }
}

/// A node's value, to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeValue {
    pub(super) place: NodePlace,
    pub(super) value: String,
}

/// At most `limit` nodes of a reduce's tree that are not there and can be computed from what is.
/// Nodes above them come once these are stored; none are left when the answer is empty.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn stale_nodes(
    view: &dyn View,
    database: DatabaseNumber,
    index: &IndexState,
    reduce: &Signature,
    limit: usize,
) -> Result<Vec<NodeWork>, EngineError> {
    let _ = (view, database, index, reduce, limit);
    Err(corrupt("not yet"))
}

/// Stores values of nodes that [`stale_nodes`] told of when the index was as `index` says, if it
/// still is; else answers false.
///
/// # Errors
/// [`DatabaseError::Missing`] if the database was dropped meanwhile.
pub fn store_nodes(
    tx: &mut Transaction<'_>,
    database: DatabaseNumber,
    index: &IndexState,
    reduce: &Signature,
    values: Vec<NodeValue>,
) -> Result<bool, Decline<DatabaseError>> {
    let _ = (tx, database, index, reduce, values);
    Err(Decline::Engine(corrupt("not yet")))
}

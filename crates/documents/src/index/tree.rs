//! Where nodes begin, and under which keys they lie.
//!
//! The hash of a row's position says how many levels of nodes begin at it: one row of
//! [`FAN_OUT`] begins a node of the first level, one of as many of those a node of the second,
//! and so on. The first node of each level begins before all rows.

use adea_store::KeyRange;
use adea_store::key::put_ordered;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::row;
use super::state::{IndexNumber, IndexState};
use crate::keys::DatabaseNumber;

/// The tree whose nodes count their rows.
pub(super) const COUNT: u64 = 0;

/// Bits of a hash that a level takes: a node has 32 below it, in the mean.
const LEVEL_BITS: u32 = 5;

/// How many levels of nodes begin at the row at `position`.
pub(super) fn level_of(index: &IndexState, position: &[u8]) -> u8 {
    let zeros = xxh3_64_with_seed(position, index.salt).trailing_zeros();
    u8::try_from(zeros / LEVEL_BITS).unwrap_or_default()
}

/// All nodes of a tree.
pub(super) fn everything(database: DatabaseNumber, index: IndexNumber, tree: u64) -> KeyRange {
    let mut key = row::nodes(database, index, 9);
    put_ordered(&mut key, tree);
    KeyRange::prefix(&key)
}

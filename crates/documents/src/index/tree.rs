//! The trees over an index's rows: where nodes begin, and how they are listed.
//!
//! The hash of a row's position says how many levels of nodes begin at it: one row of 32 begins a
//! node of the first level, one of as many of those a node of the second, and so on. The first
//! node of each level begins before all rows. A node reaches up to the next of its level.
//!
//! Every tree of an index has the same nodes. The count tree always has all of them, so it is the
//! one that tells where nodes are; the others hold values for those that are fresh.
//!
//! Invariant: where a node of one level begins, there begins one of each level below.

use adea_store::key::put_ordered;
use adea_store::value::{Reader, put_varint};
use adea_store::{Cursor, Direction, EngineError, KeyRange, Space, View};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::row;
use super::state::{IndexNumber, IndexState};
use crate::error::corrupt;
use crate::keys::DatabaseNumber;

/// The tree whose nodes count their rows.
pub(super) const COUNT: u64 = 0;

/// Bits of a hash that a level takes: a node has 32 below it, in the mean.
pub(super) const LEVEL_BITS: u8 = 5;

/// How many levels of nodes begin at the row at `position`.
pub(super) fn level_of(index: &IndexState, position: &[u8]) -> u8 {
    let zeros = xxh3_64_with_seed(position, index.salt).trailing_zeros();
    u8::try_from(zeros / u32::from(index.level_bits.max(1))).unwrap_or_default()
}

/// All nodes of a tree.
pub(super) fn everything(database: DatabaseNumber, index: IndexNumber, tree: u64) -> KeyRange {
    let mut key = row::nodes(database, index, 9);
    put_ordered(&mut key, tree);
    KeyRange::prefix(&key)
}

/// Part of a range: a whole node, or what lies before the first or behind the last whole one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where it begins.
    pub(super) from: Vec<u8>,
    /// Where it ends; `None` for the end of the index.
    pub(super) to: Option<Vec<u8>>,
    /// How many rows it has, if it is a whole node.
    pub(super) count: Option<u64>,
}

/// One level of one tree, as a view shows it.
pub(super) struct Level<'v> {
    view: &'v dyn View,
    prefix: Vec<u8>,
}

impl<'v> Level<'v> {
    pub(super) fn of(
        view: &'v dyn View,
        database: DatabaseNumber,
        index: IndexNumber,
        tree: u64,
        level: u8,
    ) -> Self {
        Self {
            view,
            prefix: Self::key_of(database, index, tree, level, &[]),
        }
    }

    /// The key of the node of a tree that begins at `boundary`.
    pub(super) fn key_of(
        database: DatabaseNumber,
        index: IndexNumber,
        tree: u64,
        level: u8,
        boundary: &[u8],
    ) -> Vec<u8> {
        let mut key = row::nodes(database, index, 10 + boundary.len());
        put_ordered(&mut key, tree);
        key.push(level);
        key.extend_from_slice(boundary);
        key
    }

    /// The key of the node of this level that begins at `boundary`.
    pub(super) fn key(&self, boundary: &[u8]) -> Vec<u8> {
        [self.prefix.as_slice(), boundary].concat()
    }

    /// Where the node of a key begins.
    pub(super) fn boundary_of<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        key.get(self.prefix.len()..).unwrap_or_default()
    }

    /// Walks the nodes that begin at `from` or behind it, up to `through` and with it.
    pub(super) fn walk(
        &self,
        from: &[u8],
        through: Option<&[u8]>,
        direction: Direction,
    ) -> Result<Box<dyn Cursor + 'v>, EngineError> {
        let range = KeyRange {
            from: self.key(from),
            to: match through {
                Some(through) => {
                    let mut key = self.key(through);
                    key.push(0);
                    key
                }
                None => KeyRange::prefix(&self.prefix).to,
            },
        };
        self.view.range(Space::Index, range, direction)
    }

    /// The value of the node that begins at `boundary`.
    pub(super) fn get(&self, boundary: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.view.get(Space::Index, &self.key(boundary))
    }
}

/// The stored form of a count.
pub(super) fn encode_count(count: u64) -> Vec<u8> {
    let mut value = Vec::with_capacity(3);
    put_varint(&mut value, count);
    value
}

pub(super) fn decode_count(value: &[u8]) -> Result<u64, EngineError> {
    Reader::new(value)
        .varint()
        .ok_or_else(|| corrupt("a count of rows"))
}

/// The trees of one index, as a view shows them.
#[derive(Clone, Copy)]
pub(super) struct Trees<'v> {
    pub(super) view: &'v dyn View,
    pub(super) database: DatabaseNumber,
    pub(super) index: &'v IndexState,
}

impl<'v> Trees<'v> {
    pub(super) fn level(&self, tree: u64, level: u8) -> Level<'v> {
        Level::of(self.view, self.database, self.index.number, tree, level)
    }

    /// What `from <= row < to` is made of at `level`, in order. A part that is no whole node is
    /// only ever the first or the last.
    pub(super) fn segments(
        &self,
        level: u8,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<Vec<Segment>, EngineError> {
        let nodes = self.level(COUNT, level);
        // A node that begins at the end of the range shows that the one before it is whole.
        let mut cursor = nodes.walk(from, to, Direction::Forward)?;
        let mut segments = vec![Segment {
            from: from.to_vec(),
            to: to.map(<[u8]>::to_vec),
            count: None,
        }];
        let mut open = None;
        while let Some((key, value)) = cursor.next()? {
            let boundary = nodes.boundary_of(key);
            let count = decode_count(value)?;
            if boundary == from {
                open = Some(count);
                continue;
            }
            if let Some(last) = segments.last_mut() {
                last.to = Some(boundary.to_vec());
                last.count = open;
            }
            open = Some(count);
            if to == Some(boundary) {
                return Ok(segments);
            }
            segments.push(Segment {
                from: boundary.to_vec(),
                to: to.map(<[u8]>::to_vec),
                count: None,
            });
        }
        if to.is_none()
            && let Some(last) = segments.last_mut()
        {
            last.count = open;
        }
        Ok(segments)
    }

    /// Where the node of `level` that begins at `boundary` ends.
    pub(super) fn end_of(
        &self,
        level: u8,
        boundary: &[u8],
    ) -> Result<Option<Vec<u8>>, EngineError> {
        let nodes = self.level(COUNT, level);
        let behind = [boundary, &[0]].concat();
        let mut cursor = nodes.walk(&behind, None, Direction::Forward)?;
        let next = cursor.next()?;
        Ok(next.map(|(key, _)| nodes.boundary_of(key).to_vec()))
    }

    /// What a reduce's tree has for those of `segments` that are whole nodes of `level`.
    pub(super) fn values(
        &self,
        tree: u64,
        level: u8,
        segments: &[Segment],
    ) -> Result<Vec<Option<String>>, EngineError> {
        let mut values = vec![None; segments.len()];
        let mut whole = segments.iter().filter(|segment| segment.count.is_some());
        let Some(first) = whole.next() else {
            return Ok(values);
        };
        let last = whole.next_back().unwrap_or(first);
        let nodes = self.level(tree, level);
        let mut cursor = nodes.walk(&first.from, Some(&last.from), Direction::Forward)?;
        let mut slots = segments.iter().zip(&mut values);
        while let Some((key, value)) = cursor.next()? {
            let boundary = nodes.boundary_of(key);
            if let Some((_, slot)) = slots.find(|(segment, _)| segment.from == boundary) {
                *slot = Some(text_of(value)?);
            }
        }
        Ok(values)
    }
}

/// A reduce's value as it is stored.
pub(super) fn text_of(value: &[u8]) -> Result<String, EngineError> {
    String::from_utf8(value.to_vec()).map_err(|_| corrupt("the value of a reduce"))
}

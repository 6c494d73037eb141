//! Entries of several labels in one order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use adea_store::{Cursor, Direction, EngineError, KeyRange, Space, View};

use crate::error::corrupt;
use crate::keys::{self, DatabaseNumber};

/// What a row is that a merge gives.
pub(super) struct Head {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) cursor: usize,
    label: u64,
    reverse: bool,
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Head {}
impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Head {
    /// The greatest is the next row: the heap gives it first.
    fn cmp(&self, other: &Self) -> Ordering {
        let rising = self.key.cmp(&other.key).then(self.label.cmp(&other.label));
        if self.reverse {
            rising
        } else {
            rising.reverse()
        }
    }
}

/// Entries of several labels in one order, that of what stands behind the label in their keys.
pub(super) struct Merge<'v> {
    database: DatabaseNumber,
    cursors: Vec<Box<dyn Cursor + 'v>>,
    heads: BinaryHeap<Head>,
    reverse: bool,
    /// Room of rows that were given, to be used again.
    spare: Option<Head>,
}

impl<'v> Merge<'v> {
    pub(super) fn new(
        view: &'v dyn View,
        database: DatabaseNumber,
        ranges: impl Iterator<Item = KeyRange>,
        direction: Direction,
    ) -> Result<Self, EngineError> {
        let mut merge = Self {
            database,
            cursors: Vec::new(),
            heads: BinaryHeap::new(),
            reverse: direction == Direction::Reverse,
            spare: None,
        };
        for range in ranges {
            let cursor = view.range(Space::Index, range, direction)?;
            let at = merge.cursors.len();
            merge.cursors.push(cursor);
            merge.advance(at)?;
        }
        Ok(merge)
    }

    fn advance(&mut self, cursor: usize) -> Result<(), EngineError> {
        let Some(source) = self.cursors.get_mut(cursor) else {
            return Ok(());
        };
        let Some((key, value)) = source.next()? else {
            return Ok(());
        };
        let (label, rest) =
            keys::label_and_rest(self.database, key).ok_or_else(|| corrupt("a label's key"))?;
        let mut head = self.spare.take().unwrap_or_else(|| Head {
            key: Vec::new(),
            value: Vec::new(),
            cursor,
            label,
            reverse: self.reverse,
        });
        head.key.clear();
        head.key.extend_from_slice(rest);
        head.value.clear();
        head.value.extend_from_slice(value);
        (head.cursor, head.label) = (cursor, label);
        self.heads.push(head);
        Ok(())
    }

    /// Gives all rows to `visit`, until it breaks off.
    pub(super) fn walk(
        mut self,
        mut visit: impl FnMut(&Head) -> Result<ControlFlow<()>, EngineError>,
    ) -> Result<(), EngineError> {
        while let Some(head) = self.next() {
            if visit(&head)?.is_break() {
                break;
            }
            self.done(head)?;
        }
        Ok(())
    }

    /// The next row. It is given back with [`Merge::done`].
    pub(super) fn next(&mut self) -> Option<Head> {
        self.heads.pop()
    }

    /// Goes on behind `head`.
    pub(super) fn done(&mut self, head: Head) -> Result<(), EngineError> {
        let cursor = head.cursor;
        self.spare = Some(head);
        self.advance(cursor)
    }
}

pub(super) fn sequence_of(key: &[u8]) -> Result<u64, EngineError> {
    let number = adea_store::key::take_ordered(key);
    Ok(number.ok_or_else(|| corrupt("a label's key"))?.0)
}

//! Places among an index's rows, and ranges of them.
//!
//! A position is the bytes of a row's key: sort key, document id, order of emission. Any bytes
//! are a position, whether a row is there or not, so the bound of a range is one, too: every
//! range is half open, from a position up to another.
//!
//! Invariant: no sort key is a proper prefix of another and no byte behind one is 0xff, so what
//! lies between a sort key and the same with 0xff behind it are the rows of that key.

use serde_json::Value;

use super::row::put_id;
use crate::collation::Collation;

/// Greater than every byte that may follow a sort key, or a document id, in a row's key.
const AFTER: u8 = 0xff;

/// A place among the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowPosition(pub(super) Vec<u8>);

impl RowPosition {
    /// The place as bytes, for a bookmark.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The place that [`RowPosition::as_bytes`] gave; other bytes are a place, too, if a useless
    /// one.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The place right behind this one.
    #[must_use]
    pub fn successor(mut self) -> Self {
        self.0.push(0);
        self
    }
}

/// One end of a range, as clients give it.
#[derive(Clone, Copy, Debug)]
pub struct KeyBound<'a> {
    /// The key.
    pub key: &'a Value,
    /// Among the rows of that key, the document; `None` stands for all of them.
    pub id: Option<&'a str>,
    /// Whether what it names belongs to the range.
    pub inclusive: bool,
}

/// A range of rows, `from <= row < to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRange {
    /// Where it begins.
    pub from: RowPosition,
    /// Where it ends; `None` for the end of the index.
    pub to: Option<RowPosition>,
}

impl RowRange {
    /// Every row.
    #[must_use]
    pub fn all() -> Self {
        Self {
            from: RowPosition::default(),
            to: None,
        }
    }

    /// The rows between two bounds. Whoever walks down gives `startkey` as `high` and `endkey` as
    /// `low`.
    #[must_use]
    pub fn between(
        collation: Collation,
        low: Option<KeyBound<'_>>,
        high: Option<KeyBound<'_>>,
    ) -> Self {
        let at = |bound: KeyBound<'_>, after: bool| {
            let mut bytes = Vec::new();
            collation.sort_key(bound.key, &mut bytes);
            if let Some(id) = bound.id {
                put_id(&mut bytes, id);
            }
            if after {
                bytes.push(AFTER);
            }
            RowPosition(bytes)
        };
        Self {
            from: low.map_or_else(RowPosition::default, |low| at(low, !low.inclusive)),
            to: high.map(|high| at(high, high.inclusive)),
        }
    }

    /// The rows whose key collates equal to `key`.
    #[must_use]
    pub fn of_key(collation: Collation, key: &Value) -> Self {
        let bound = KeyBound {
            key,
            id: None,
            inclusive: true,
        };
        Self::between(collation, Some(bound), Some(bound))
    }

    /// What is left of the range behind the row at `position`, for walking up.
    #[must_use]
    pub fn after(mut self, position: RowPosition) -> Self {
        self.from = position.successor().max(self.from);
        self
    }

    /// What is left of the range before the row at `position`, for walking down.
    #[must_use]
    pub fn before(mut self, position: RowPosition) -> Self {
        self.to = Some(match self.to {
            Some(to) => to.min(position),
            None => position,
        });
        self
    }

    /// The rows that lie in both ranges.
    #[must_use]
    pub fn intersection(self, other: &Self) -> Self {
        let to = match (self.to, &other.to) {
            (Some(a), Some(b)) => Some(a.min(b.clone())),
            (Some(to), None) => Some(to),
            (None, to) => to.clone(),
        };
        Self {
            from: self.from.max(other.from.clone()),
            to,
        }
    }

    /// Whether no row can lie in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }
}

/// What makes rows one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupLevel {
    /// Keys that collate equal.
    Exact,
    /// The first elements of keys that are arrays, so many; other keys as [`GroupLevel::Exact`].
    Elements(usize),
    /// For keys `[partition, key]`: the partition, and of the key as [`GroupLevel::Elements`].
    Inner(usize),
}

impl GroupLevel {
    /// The range of the group that the row at `position` belongs to.
    #[must_use]
    pub fn range_of(self, collation: Collation, position: &[u8]) -> RowRange {
        let length = match self {
            Self::Exact => collation.sort_key_length(position),
            Self::Elements(count) => collation.elements_length(position, count),
            Self::Inner(count) => {
                let partition = collation.elements_length(position, 1);
                let inner = position.get(partition..).unwrap_or_default();
                partition + collation.elements_length(inner, count)
            }
        };
        let front = position.get(..length).unwrap_or(position).to_vec();
        let mut end = front.clone();
        end.push(AFTER);
        RowRange {
            from: RowPosition(front),
            to: Some(RowPosition(end)),
        }
    }
}

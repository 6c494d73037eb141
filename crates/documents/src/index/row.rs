//! How a row is stored.
//!
//! Its key ends with its position: sort key, document id, and the place among the document's rows
//! of an equal key. Its value is what the sort key loses, the key's text, and the value's text;
//! `null`, which most values are, takes no room.

use std::borrow::Cow;

use adea_store::key::put_ordered;
use adea_store::value::{Reader, put_bytes};
use adea_store::{EngineError, KeyRange};

use super::position::RowPosition;
use super::state::IndexNumber;
use crate::collation::Collation;
use crate::error::corrupt;
use crate::keys::{self, DatabaseNumber};

const ROW: u8 = 1;
const BACK: u8 = 2;
pub(super) const NODE: u8 = 3;

/// Ends an id in a row's key.
const ID_END: u8 = 0;
/// Stands behind a zero byte that is part of an id. No id is continued by it otherwise.
const ZERO: u8 = 0xff;

/// A row, as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRef<'r> {
    /// The key as JSON.
    pub key: &'r str,
    /// The value as JSON.
    pub value: &'r str,
    /// The document it came from.
    pub id: Cow<'r, str>,
    /// Where it is.
    pub position: &'r [u8],
}

impl RowRef<'_> {
    /// Where it is, to go on from there.
    #[must_use]
    pub fn to_position(&self) -> RowPosition {
        RowPosition(self.position.to_vec())
    }

    /// The row, kept.
    #[must_use]
    pub fn to_owned_row(&self) -> OwnedRow {
        OwnedRow {
            key: self.key.to_owned(),
            id: self.id.clone().into_owned(),
            value: self.value.to_owned(),
        }
    }
}

/// A row that outlives the walk over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRow {
    /// The key as JSON.
    pub key: String,
    /// The document it came from.
    pub id: String,
    /// The value as JSON.
    pub value: String,
}

fn part(database: DatabaseNumber, index: IndexNumber, part: u8, more: usize) -> Vec<u8> {
    let mut key = keys::index_entry(database, index.0, 1 + more);
    key.push(part);
    key
}

/// Everything of an index but its state.
#[must_use]
pub fn entries(database: DatabaseNumber, index: IndexNumber) -> KeyRange {
    KeyRange::prefix(&keys::index_entry(database, index.0, 0))
}

/// The front of all keys of rows.
pub(super) fn rows(database: DatabaseNumber, index: IndexNumber, more: usize) -> Vec<u8> {
    part(database, index, ROW, more)
}

/// The front of all keys of nodes.
pub(super) fn nodes(database: DatabaseNumber, index: IndexNumber, more: usize) -> Vec<u8> {
    part(database, index, NODE, more)
}

/// The front of all keys of the back index.
pub(super) fn backs(database: DatabaseNumber, index: IndexNumber, more: usize) -> Vec<u8> {
    part(database, index, BACK, more)
}

/// Appends an id so that positions sort as ids do, byte by byte, and that its end is known.
pub(super) fn put_id(out: &mut Vec<u8>, id: &str) {
    let mut rest = id.as_bytes();
    while let Some(at) = memchr::memchr(0, rest) {
        let (front, back) = rest.split_at(at);
        out.extend_from_slice(front);
        out.extend_from_slice(&[0, ZERO]);
        rest = back.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.push(ID_END);
}

/// Appends what comes behind the sort key in a position.
pub(super) fn put_origin(out: &mut Vec<u8>, id: &str, ordinal: u64) {
    put_id(out, id);
    put_ordered(out, ordinal);
}

/// The id at the front of what comes behind a sort key.
fn id_of(origin: &[u8]) -> Option<Cow<'_, str>> {
    let end = memchr::memchr(0, origin)?;
    if origin.get(end + 1) != Some(&ZERO) {
        let id = origin.get(..end)?;
        return Some(Cow::Borrowed(std::str::from_utf8(id).ok()?));
    }
    let (mut id, mut rest) = (Vec::new(), origin);
    loop {
        let end = memchr::memchr(0, rest)?;
        let (front, back) = rest.split_at(end);
        id.extend_from_slice(front);
        if back.get(1) != Some(&ZERO) {
            return Some(Cow::Owned(String::from_utf8(id).ok()?));
        }
        id.push(0);
        rest = back.get(2..)?;
    }
}

/// The value stored for a row.
pub(super) fn encode(key: &str, value: &str) -> Vec<u8> {
    let value = if value == "null" { "" } else { value };
    let mut out = Vec::with_capacity(key.len() + value.len() + 2);
    put_bytes(&mut out, key.as_bytes());
    out.extend_from_slice(value.as_bytes());
    out
}

/// The row at `position` with the stored value `stored`.
pub(super) fn decode<'r>(
    collation: Collation,
    position: &'r [u8],
    stored: &'r [u8],
) -> Result<RowRef<'r>, EngineError> {
    let read = || {
        let mut reader = Reader::new(stored);
        let key = reader.text()?;
        let value = std::str::from_utf8(reader.rest()).ok()?;
        let id = id_of(position.get(collation.sort_key_length(position)..)?)?;
        Some(RowRef {
            key,
            value: if value.is_empty() { "null" } else { value },
            id,
            position,
        })
    };
    read().ok_or_else(|| corrupt("a row of an index"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn origins_sort_as_ids_and_give_them_back(
            a in "[\\x00a\\u{10ffff}]{0,4}", b in "[\\x00a\\u{10ffff}]{0,4}", m in 0u64..300, n in 0u64..300
        ) {
            let (mut x, mut y) = (Vec::new(), Vec::new());
            put_origin(&mut x, &a, m);
            put_origin(&mut y, &b, n);
            prop_assert_eq!(x.cmp(&y), (a.as_bytes(), m).cmp(&(b.as_bytes(), n)));
            let id = id_of(&x).unwrap();
            prop_assert_eq!(&*id, a.as_str());
        }
    }
}

//! Tombstones that expire: for how long a database keeps them, and how far they were looked through.
//!
//! A document that does not change keeps its sequence, so what was looked through once never has to
//! be looked through again: behind the mark are live documents, and tombstones that are purged.

use adea_store::value::{Reader, put_varint};
use adea_store::{Decline, Direction, EngineError, Space, Transaction, View};

use crate::database::settings_in;
use crate::error::{DatabaseError, corrupt};
use crate::keys::{self, DatabaseNumber};
use crate::reader::Reader as DocumentReader;
use crate::revision::Revision;

const FORMAT: u8 = 1;

/// How long a database keeps its tombstones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Seconds.
    pub ttl_s: u64,
    /// All tombstones with a sequence up to this one are gone.
    pub through: u64,
}

impl Expiry {
    fn encode(self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        put_varint(&mut out, self.ttl_s);
        put_varint(&mut out, self.through);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        let mut reader = Reader::new(bytes);
        let mut read = || {
            (reader.byte()? == FORMAT).then_some(())?;
            Some(Self {
                ttl_s: reader.varint()?,
                through: reader.varint()?,
            })
        };
        read().ok_or_else(|| corrupt("how long tombstones are kept"))
    }
}

/// How long database `number` keeps its tombstones; `None`: for ever.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn get(view: &dyn View, number: DatabaseNumber) -> Result<Option<Expiry>, EngineError> {
    view.get(Space::Index, &keys::expiry(number))?
        .map(|bytes| Expiry::decode(&bytes))
        .transpose()
}

/// The databases whose tombstones expire.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn all(view: &dyn View) -> Result<Vec<(DatabaseNumber, Expiry)>, EngineError> {
    let mut found = Vec::new();
    let range = keys::all_expiries();
    let mut cursor = view.range(Space::Index, range, Direction::Forward)?;
    while let Some((key, value)) = cursor.next()? {
        let number = keys::dropped_of(key).ok_or_else(|| corrupt("a database's number"))?;
        found.push((number, Expiry::decode(value)?));
    }
    Ok(found)
}

/// Sets for how long database `number` keeps its tombstones; `None`: for ever.
///
/// # Errors
/// [`DatabaseError::Missing`] if it was dropped meanwhile.
pub fn set(
    tx: &mut Transaction<'_>,
    number: DatabaseNumber,
    ttl_s: Option<u64>,
) -> Result<(), Decline<DatabaseError>> {
    settings_in(tx, number)?;
    let key = keys::expiry(number);
    let before = tx.get(Space::Index, &key)?;
    let before = before.map(|bytes| Expiry::decode(&bytes)).transpose()?;
    match ttl_s {
        None => tx.delete(Space::Index, key),
        Some(ttl_s) => {
            let through = before.map_or(0, |before| before.through);
            let value = Expiry { ttl_s, through }.encode();
            tx.put(Space::Index, key, value);
        }
    }
    Ok(())
}

/// Notes that all tombstones of database `number` up to `through` are gone, if they still expire.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn advance(
    tx: &mut Transaction<'_>,
    number: DatabaseNumber,
    through: u64,
) -> Result<(), EngineError> {
    let key = keys::expiry(number);
    if let Some(bytes) = tx.get(Space::Index, &key)? {
        let before = Expiry::decode(&bytes)?;
        let through = through.max(before.through);
        let value = Expiry { through, ..before }.encode();
        tx.put(Space::Index, key, value);
    }
    Ok(())
}

/// Tombstones that lie in a part of a database's changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Documents that are deleted, with all their leaves.
    pub tombstones: Vec<(String, Vec<Revision>)>,
    /// The sequence up to which was looked.
    pub through: u64,
    /// Whether that is all that was asked for.
    pub done: bool,
}

impl DocumentReader<'_> {
    /// Tombstones with `after < sequence <= until`, of which no more than `tombstones_max` are given
    /// and no more than `rows_max` changes looked at.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn tombstones(
        &self,
        after: u64,
        until: u64,
        tombstones_max: usize,
        rows_max: usize,
    ) -> Result<Expired, EngineError> {
        let mut found = Expired {
            through: after,
            done: true,
            ..Expired::default()
        };
        let mut rows = 0;
        self.walk_changes(after, until, Direction::Forward, |sequence, change| {
            if rows == rows_max || found.tombstones.len() == tombstones_max {
                found.done = false;
                return Ok(std::ops::ControlFlow::Break(()));
            }
            rows += 1;
            found.through = sequence;
            if change.winner.deleted {
                let leaves = self.leaves_of(&change)?;
                let leaves = leaves.into_iter().map(|leaf| leaf.revision);
                found
                    .tombstones
                    .push((change.id.to_owned(), leaves.collect()));
            }
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        if found.done {
            found.through = until.max(after);
        }
        Ok(found)
    }
}

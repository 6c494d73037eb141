//! When databases were made and dropped, for those who follow all of them.
//!
//! The number of a database is the sequence at which it was made, and its counts tell the sequence
//! of its last change: both are known without being written again. What would be lost with a
//! database, the moment of its end, is kept here by name, together with the way from a number back
//! to its name.

use adea_base::DatabaseName;
use adea_store::value::{Reader, put_varint};
use adea_store::{Direction, EngineError, Space, Transaction, View};

use crate::error::corrupt;
use crate::keys::{self, DatabaseNumber};

/// The database `name` was made.
pub(crate) fn born(tx: &mut Transaction<'_>, name: &DatabaseName, number: DatabaseNumber) {
    let key = keys::name_by_number(number);
    tx.put(Space::Index, key, name.as_str().as_bytes().to_vec());
}

/// The database `name` is dropped, which takes a sequence.
pub(crate) fn died(tx: &mut Transaction<'_>, name: &DatabaseName, number: DatabaseNumber) {
    let mut value = Vec::new();
    put_varint(&mut value, tx.next_sequence());
    tx.delete(Space::Index, keys::name_by_number(number));
    tx.put(Space::Index, keys::gone(name.as_str()), value);
}

/// The name of database `number`, while it is there.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn name_of(view: &dyn View, number: DatabaseNumber) -> Result<Option<String>, EngineError> {
    view.get(Space::Index, &keys::name_by_number(number))?
        .map(|bytes| String::from_utf8(bytes).map_err(|_| corrupt("a database's name")))
        .transpose()
}

/// All databases, by name.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn living(view: &dyn View) -> Result<Vec<(String, DatabaseNumber)>, EngineError> {
    let found = names_with_numbers(view, keys::database_names())?;
    let found = found.into_iter();
    Ok(found.map(|(name, n)| (name, DatabaseNumber(n))).collect())
}

/// Names of databases that were dropped, each with the sequence at which that happened last.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn gone(view: &dyn View) -> Result<Vec<(String, u64)>, EngineError> {
    names_with_numbers(view, keys::all_gone())
}

/// The sequence at which a database `name` was dropped last.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn gone_at(view: &dyn View, name: &str) -> Result<Option<u64>, EngineError> {
    view.get(Space::Index, &keys::gone(name))?
        .map(|bytes| number_in(&bytes))
        .transpose()
}

/// Forgets that databases of these names were dropped.
pub fn forget_gone(tx: &mut Transaction<'_>, names: &[String]) {
    for name in names {
        tx.delete(Space::Index, keys::gone(name));
    }
}

fn names_with_numbers(
    view: &dyn View,
    range: adea_store::KeyRange,
) -> Result<Vec<(String, u64)>, EngineError> {
    let mut found = Vec::new();
    let mut cursor = view.range(Space::Index, range, Direction::Forward)?;
    while let Some((key, value)) = cursor.next()? {
        let name = keys::name_of(key).ok_or_else(|| corrupt("a database's name"))?;
        found.push((name.to_owned(), number_in(value)?));
    }
    Ok(found)
}

fn number_in(bytes: &[u8]) -> Result<u64, EngineError> {
    Reader::new(bytes)
        .varint()
        .ok_or_else(|| corrupt("a database's number"))
}

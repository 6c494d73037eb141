//! The life of a record: it begins and ends with its document of `_users`, in the same commit.

use adea_base::Entropy;
use adea_store::{EngineError, Space, Transaction};

use super::{AccountRecord, find, find_name, remove, retire_name, rights_change, store};
use crate::names::{NAME_CHARS_MAX, lookalike};
use crate::stored::get_text;
use crate::{apps, keys, organisations, sessions};

/// What a change of accounts needs to know besides the transaction.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The number of the `_users` database.
    pub users: u64,
    /// Chance.
    pub entropy: Entropy,
    /// The time, in milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// What the winner of a document of `_users` says, where it is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The fingerprint of what stands for the password, in hexadecimal digits.
    pub fingerprint: Option<String>,
    /// Whether what stands for the password changed and the password did not.
    pub same_password: bool,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Followed {
    /// There was none and is none.
    Nothing,
    /// It was made, with this id.
    Made(String),
    /// It is as it was, or knows of what stands for the same password in a stronger way.
    Kept(String),
    /// It has another password.
    AnotherPassword(Box<AccountRecord>),
    /// It was removed; this was its id.
    Removed(String),
}

/// The record of the account with this id, unless it is of a `_users` database that was dropped.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn live<S: crate::stored::Source + ?Sized>(
    source: &S,
    users: u64,
    id: &str,
) -> Result<Option<AccountRecord>, EngineError> {
    Ok(find(source, id)?.filter(|record| record.users == users))
}

/// The record of the account whose document has this name; see [`live`].
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn live_name<S: crate::stored::Source + ?Sized>(
    source: &S,
    users: u64,
    name: &str,
) -> Result<Option<AccountRecord>, EngineError> {
    match find_name(source, name)? {
        Some(id) => live(source, users, &id),
        None => Ok(None),
    }
}

/// Makes the record of `name` follow its document, which says `shown`, or is not alive.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn follow(
    tx: &mut Transaction<'_>,
    ground: &Ground,
    name: &str,
    shown: Option<Shown>,
) -> Result<Followed, EngineError> {
    let mut record = match find_name(tx, name)? {
        Some(id) => find(tx, &id)?,
        None => None,
    };
    if let Some(void) = record.take_if(|record| record.users != ground.users) {
        erase(tx, &void)?;
    }
    match (record, shown) {
        (None, None) => Ok(Followed::Nothing),
        (Some(record), None) => {
            retire_name(tx, &record);
            erase(tx, &record)?;
            Ok(Followed::Removed(record.id))
        }
        (None, Some(shown)) => {
            let made = AccountRecord {
                id: keys::new_id(&ground.entropy),
                name: name.to_owned(),
                users: ground.users,
                lookalike: free_lookalike(tx, ground, name)?,
                created_ms: ground.now_ms,
                password_fingerprint: shown.fingerprint,
                ..AccountRecord::default()
            };
            store(tx, None, &made)?;
            Ok(Followed::Made(made.id))
        }
        (Some(before), Some(shown)) => {
            if before.password_fingerprint == shown.fingerprint {
                // His roles may have changed.
                rights_change(tx, &before.id)?;
                return Ok(Followed::Kept(before.id));
            }
            let mut record = before.clone();
            record.password_fingerprint = shown.fingerprint;
            if !shown.same_password {
                record.epoch += 1;
                sessions::end_all(tx, &record.id, None)?;
            }
            store(tx, Some(&before), &record)?;
            match shown.same_password {
                true => Ok(Followed::Kept(record.id)),
                false => Ok(Followed::AnotherPassword(Box::new(record))),
            }
        }
    }
}

/// What `name` looks like, if nobody has a name that looks so. Clients of `CouchDB` may write names
/// that look like others', but nobody who signs up here gets one that looks like theirs.
fn free_lookalike(
    tx: &Transaction<'_>,
    ground: &Ground,
    name: &str,
) -> Result<Option<String>, EngineError> {
    // Their names may be longer than what is compared.
    if name.chars().nth(NAME_CHARS_MAX).is_some() {
        return Ok(None);
    }
    let seen = lookalike(name);
    let holder = match get_text(tx, &keys::lookalike(&seen))? {
        Some(id) => live(tx, ground.users, &id)?,
        None => None,
    };
    Ok(holder.is_none().then_some(seen))
}

/// Removes a record with all that belongs to it.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn erase(tx: &mut Transaction<'_>, record: &AccountRecord) -> Result<(), EngineError> {
    sessions::end_all(tx, &record.id, None)?;
    organisations::forget_account(tx, &record.id)?;
    apps::leave_everywhere(tx, &record.id)?;
    remove(tx, record)
}

/// Whether every account of database `users` has its record: documents that were written before there
/// were records get theirs once.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn complete<S: crate::stored::Source + ?Sized>(
    source: &S,
    users: u64,
) -> Result<bool, EngineError> {
    let stored = source.entry(&keys::complete())?;
    Ok(stored.is_some_and(|stored| stored == users.to_be_bytes()))
}

/// Notes that every account of database `users` has its record.
pub fn set_complete(tx: &mut Transaction<'_>, users: u64) {
    let value = users.to_be_bytes().to_vec();
    tx.put(Space::Index, keys::complete(), value);
}

//! The directory of accounts: one record a person, under an id that never changes.
//!
//! What `CouchDB` knows of an account (name, plain roles, what stands for the password) is in its
//! document of `_users`, and only there; everything else is in the record. Both change in one
//! commit. The name, verified addresses and identities at other providers are aliases: each leads
//! to one account, and may change.
//!
//! Invariants: a record is there exactly as long as the document is; an alias leads to a record that
//! names it; a record of a `_users` database that was dropped is nobody's; a name that was given up is
//! chosen by nobody else.

mod life;
mod record;

pub use life::{Followed, Ground, Shown, complete, erase, follow, live, live_name, set_complete};
pub use record::{AccountRecord, Address, Flags, Identity, StoredPasskey};

use adea_store::{EngineError, KeyRange, Space, Transaction};

use sha2::{Digest as _, Sha256};

use crate::keys;
use crate::names::lookalike;
use crate::stored::{Source, get, get_text, put};

/// The first of the store's topics that are not of databases but of accounts and sessions.
pub const FIRST_TOPIC: u64 = adea_store::UPPER_TOPICS;

/// The store's topic for a change of what `account` may do: feeds that it has open listen to it.
#[must_use]
pub fn topic_of(account: &str) -> u64 {
    // Numbers of databases are small; this half of the numbers is ours, but for the last ones.
    let hash = xxhash_rust::xxh3::xxh3_64(account.as_bytes());
    (hash | FIRST_TOPIC) & !0xff
}

/// How often what makes somebody's rights has changed: what was worked out under one version holds
/// as long as the version stays.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn version<S: Source + ?Sized>(source: &S) -> Result<u64, EngineError> {
    let stored = source.entry(&keys::version())?;
    let bytes = stored.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    Ok(bytes.map_or(0, u64::from_be_bytes))
}

/// Notes that the rights of `account` change with this transaction, and wakes its feeds.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn rights_change(tx: &mut Transaction<'_>, account: &str) -> Result<(), EngineError> {
    let next = version(tx)?.wrapping_add(1);
    tx.put(Space::Index, keys::version(), next.to_be_bytes().to_vec());
    tx.touch(topic_of(account));
    Ok(())
}

/// The record of an account.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn find<S: Source + ?Sized>(
    source: &S,
    id: &str,
) -> Result<Option<AccountRecord>, EngineError> {
    get(source, &keys::account(id), id)
}

/// Ids of accounts by name, of those whose name begins with `prefix`.
#[must_use]
pub fn by_name(prefix: &str) -> KeyRange {
    KeyRange::prefix(&keys::name(prefix))
}

/// Ids of accounts by verified address, of those whose address begins with `prefix`.
#[must_use]
pub fn by_address(prefix: &str) -> KeyRange {
    KeyRange::prefix(&keys::address(prefix))
}

/// The records of all accounts, by id.
#[must_use]
pub fn all() -> KeyRange {
    keys::accounts()
}

/// The id of the account whose `_users` document has this name.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn find_name<S: Source + ?Sized>(
    source: &S,
    name: &str,
) -> Result<Option<String>, EngineError> {
    get_text(source, &keys::name(name))
}

/// The id of the account that has verified this address, given in its normal form.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn find_address<S: Source + ?Sized>(
    source: &S,
    normal: &str,
) -> Result<Option<String>, EngineError> {
    get_text(source, &keys::address(normal))
}

/// The id of the account that is `subject` at `provider`.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn find_identity<S: Source + ?Sized>(
    source: &S,
    provider: &str,
    subject: &str,
) -> Result<Option<String>, EngineError> {
    get_text(source, &keys::identity(provider, subject))
}

/// The id of the account that has this passkey.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn find_passkey<S: Source + ?Sized>(
    source: &S,
    credential: &str,
) -> Result<Option<String>, EngineError> {
    get_text(source, &keys::passkey(credential))
}

/// Stores `record` in place of `before`, with every alias that it names and without those that only
/// `before` named. Whoever calls has made sure that nobody else holds a new alias.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn store(
    tx: &mut Transaction<'_>,
    before: Option<&AccountRecord>,
    record: &AccountRecord,
) -> Result<(), EngineError> {
    if let Some(before) = before {
        forget_aliases(tx, before)?;
    }
    for alias in aliases(record) {
        tx.put(Space::Index, alias, record.id.clone().into_bytes());
    }
    put(tx, keys::account(&record.id), record);
    if before.is_some_and(|before| differs_in_use_only(before, record)) {
        return Ok(());
    }
    rights_change(tx, &record.id)
}

/// Whether nothing changed but when and where it was used: nobody's rights follow from that, and to
/// forget everybody's for each sign-in would be dear.
fn differs_in_use_only(before: &AccountRecord, record: &AccountRecord) -> bool {
    let mut seen = before.clone();
    seen.seen_ms = record.seen_ms;
    seen.devices.clone_from(&record.devices);
    seen.totp_step = record.totp_step;
    seen.wrong_digits = record.wrong_digits;
    seen.wrong_digits_ms = record.wrong_digits_ms;
    for (passkey, used) in seen.passkeys.iter_mut().zip(&record.passkeys) {
        if passkey.credential == used.credential {
            passkey.used_ms = used.used_ms;
            passkey.key.clone_from(&used.key);
        }
    }
    seen == *record
}

/// What an alias is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alias {
    /// The name, or one that looks like it.
    Name,
    /// A verified address.
    Address,
    /// Who somebody is at another provider.
    Identity,
    /// A passkey.
    Passkey,
}

/// The first alias of `record` that leads to another account of the same `_users` database.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn taken(tx: &Transaction<'_>, record: &AccountRecord) -> Result<Option<Alias>, EngineError> {
    let addresses = record.addresses.iter();
    let verified = addresses.filter(|address| address.verified_ms.is_some());
    let identities = record.identities.iter();
    let passkeys = record.passkeys.iter();
    let named = std::iter::once(keys::name(&record.name))
        .chain(record.lookalike.as_deref().map(keys::lookalike))
        .map(|key| (Alias::Name, key));
    let all = named
        .chain(verified.map(|address| (Alias::Address, keys::address(&address.normal))))
        .chain(identities.map(|known| {
            let key = keys::identity(&known.provider, &known.subject);
            (Alias::Identity, key)
        }))
        .chain(passkeys.map(|passkey| (Alias::Passkey, keys::passkey(&passkey.credential))));
    for (alias, key) in all {
        if let Some(other) = get_text(tx, &key)?
            && other != record.id
            && live(tx, record.users, &other)?.is_some()
        {
            return Ok(Some(alias));
        }
    }
    Ok(None)
}

/// Remembers that the name of `record` was its: rights that somewhere stand under it are to be nobody
/// else's. Nothing is kept of the name but a hash. Who never proved to be anybody had no rights.
pub fn retire_name(tx: &mut Transaction<'_>, record: &AccountRecord) {
    if !record.flags.pending {
        let id = record.id.clone().into_bytes();
        tx.put(Space::Index, retired_key(&record.name), id);
    }
}

/// Whether the name of `record` was another account's, which has given it up.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn is_retired<S: Source + ?Sized>(
    source: &S,
    record: &AccountRecord,
) -> Result<bool, EngineError> {
    let before = get_text(source, &retired_key(&record.name))?;
    Ok(before.is_some_and(|id| id != record.id))
}

fn retired_key(name: &str) -> Vec<u8> {
    keys::retired(&Sha256::digest(lookalike(name)).into())
}

/// Removes `record` and its aliases; what else belongs to the account is removed by who calls.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn remove(tx: &mut Transaction<'_>, record: &AccountRecord) -> Result<(), EngineError> {
    forget_aliases(tx, record)?;
    tx.delete(Space::Index, keys::account(&record.id));
    rights_change(tx, &record.id)
}

/// Removes the aliases of `record`. One that somebody else took over, when this was void, stays.
fn forget_aliases(tx: &mut Transaction<'_>, record: &AccountRecord) -> Result<(), EngineError> {
    for alias in aliases(record) {
        if get_text(tx, &alias)?.is_some_and(|id| id == record.id) {
            tx.delete(Space::Index, alias);
        }
    }
    Ok(())
}

/// The keys that lead to `record`.
fn aliases(record: &AccountRecord) -> Vec<Vec<u8>> {
    let addresses = record.addresses.iter();
    let verified = addresses.filter(|address| address.verified_ms.is_some());
    let identities = record.identities.iter();
    let passkeys = record.passkeys.iter();
    std::iter::once(keys::name(&record.name))
        .chain(record.lookalike.as_deref().map(keys::lookalike))
        .chain(verified.map(|address| keys::address(&address.normal)))
        .chain(identities.map(|known| keys::identity(&known.provider, &known.subject)))
        .chain(passkeys.map(|passkey| keys::passkey(&passkey.credential)))
        .collect()
}

//! How many revisions refer to each address, counted in the commit that changes it.
//!
//! Small blobs lie in the store itself and leave with their last reference, in the same commit.
//! Large ones are files: whoever dropped the last reference removes the file after the commit,
//! and what a crash leaves between the two is found by [`unreferenced`].

use adea_store::key::FILES;
use adea_store::value::{Reader, put_varint};
use adea_store::{Direction, EngineError, KeyRange, Space, Transaction, View};

use crate::blob::Digest;

const COUNT: u8 = b'r';
const FORMAT: u8 = 1;

fn count_key(digest: Digest) -> Vec<u8> {
    [&[FILES, COUNT][..], digest.as_bytes()].concat()
}

fn content_key(digest: Digest) -> Vec<u8> {
    [&[FILES][..], digest.as_bytes()].concat()
}

fn read(value: &[u8]) -> Result<u64, EngineError> {
    let mut reader = Reader::new(value);
    (reader.byte() == Some(FORMAT))
        .then(|| reader.varint())
        .flatten()
        .ok_or_else(|| EngineError::Corrupt("a count of references".to_owned()))
}

/// How many revisions refer to `digest`.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn count(view: &dyn View, digest: Digest) -> Result<u64, EngineError> {
    view.get(Space::Index, &count_key(digest))?
        .map_or(Ok(0), |value| read(&value))
}

/// Whether a revision refers to `digest`, as the transaction leaves it.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn is_referenced(tx: &Transaction<'_>, digest: Digest) -> Result<bool, EngineError> {
    Ok(tx.get(Space::Index, &count_key(digest))?.is_some())
}

/// The content of `digest`, if it lies in the store.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn content(view: &dyn View, digest: Digest) -> Result<Option<Vec<u8>>, EngineError> {
    view.get(Space::Body, &content_key(digest))
}

/// One more revision refers to `digest`; `inline` is its content if that goes into the store.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn add(
    tx: &mut Transaction<'_>,
    digest: Digest,
    inline: Option<&[u8]>,
) -> Result<(), EngineError> {
    let key = count_key(digest);
    let before = tx.get(Space::Index, &key)?.map_or(Ok(0), |v| read(&v))?;
    put_count(tx, key, before + 1);
    if let (0, Some(content)) = (before, inline) {
        tx.put(Space::Body, content_key(digest), content.to_vec());
    }
    Ok(())
}

/// One revision fewer refers to `digest`. True if it was the last.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn remove(tx: &mut Transaction<'_>, digest: Digest) -> Result<bool, EngineError> {
    let key = count_key(digest);
    let before = tx.get(Space::Index, &key)?.map_or(Ok(0), |v| read(&v))?;
    if before > 1 {
        put_count(tx, key, before - 1);
        return Ok(false);
    }
    tx.delete(Space::Index, key);
    tx.delete(Space::Body, content_key(digest));
    Ok(true)
}

fn put_count(tx: &mut Transaction<'_>, key: Vec<u8>, count: u64) {
    let mut value = vec![FORMAT];
    put_varint(&mut value, count);
    tx.put(Space::Index, key, value);
}

/// Whether no revision refers to `digest` now.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn unreferenced(view: &dyn View, digest: Digest) -> Result<bool, EngineError> {
    Ok(count(view, digest)? == 0)
}

/// Every address with its count, for checking.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn all(view: &dyn View) -> Result<Vec<(Digest, u64)>, EngineError> {
    let mut found = Vec::new();
    let range = KeyRange::prefix(&[FILES, COUNT]);
    let mut cursor = view.range(Space::Index, range, Direction::Forward)?;
    while let Some((key, value)) = cursor.next()? {
        let digest = key
            .get(2..)
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .ok_or_else(|| EngineError::Corrupt("an address".to_owned()))?;
        found.push((Digest::from_bytes(digest), read(value)?));
    }
    Ok(found)
}

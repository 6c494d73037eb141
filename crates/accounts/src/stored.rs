//! How records are stored: a byte for the format, then JSON.
//!
//! A field that is added later has a default; one that changes its meaning needs a new format byte,
//! and whoever reads then knows both.

use adea_store::{EngineError, Space, Transaction, View};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first byte of a stored record.
const FORMAT: u8 = 1;

/// Where single entries are read from: what is committed, or a transaction in the making.
pub trait Source {
    /// The value under `key`.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn entry(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;
}

impl Source for dyn View + '_ {
    fn entry(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.get(Space::Index, key)
    }
}

impl Source for Transaction<'_> {
    fn entry(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.get(Space::Index, key)
    }
}

/// What is stored for a record.
#[must_use]
pub fn encode<R: Serialize>(record: &R) -> Vec<u8> {
    let mut out = vec![FORMAT];
    // Records are structs of texts, numbers and lists: those always have a JSON form.
    if let Ok(json) = serde_json::to_vec(record) {
        out.extend_from_slice(&json);
    }
    out
}

/// The record that is stored as `bytes`.
///
/// # Errors
/// [`EngineError::Corrupt`] if it is none; `what` names it.
pub fn decode<R: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<R, EngineError> {
    let damaged = || EngineError::Corrupt(format!("the record of {what}"));
    match bytes.split_first() {
        Some((&FORMAT, json)) => serde_json::from_slice(json).map_err(|_| damaged()),
        Some(_) | None => Err(damaged()),
    }
}

/// The record under `key`.
///
/// # Errors
/// [`EngineError`] if it cannot be read; `what` names it.
pub fn get<R: DeserializeOwned, S: Source + ?Sized>(
    source: &S,
    key: &[u8],
    what: &str,
) -> Result<Option<R>, EngineError> {
    source
        .entry(key)?
        .map(|bytes| decode(&bytes, what))
        .transpose()
}

/// From now on `record` stands under `key`.
pub fn put<R: Serialize>(tx: &mut Transaction<'_>, key: Vec<u8>, record: &R) {
    tx.put(Space::Index, key, encode(record));
}

/// The text under `key`, where it is one.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn get_text<S: Source + ?Sized>(source: &S, key: &[u8]) -> Result<Option<String>, EngineError> {
    let Some(bytes) = source.entry(key)? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes);
    text.map(Some)
        .map_err(|_| EngineError::Corrupt("the index of accounts".to_owned()))
}

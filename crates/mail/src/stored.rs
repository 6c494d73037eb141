//! How records are stored: a byte for the format, then JSON.

use adea_store::EngineError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first byte of a stored record.
const FORMAT: u8 = 1;

/// What is stored for a record.
pub(crate) fn encode<R: Serialize>(record: &R) -> Vec<u8> {
    let mut out = vec![FORMAT];
    // Records are structs of texts, numbers and JSON values: those always have a JSON form.
    if let Ok(json) = serde_json::to_vec(record) {
        out.extend_from_slice(&json);
    }
    out
}

/// The record that is stored as `bytes`; `what` names it.
pub(crate) fn decode<R: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<R, EngineError> {
    let damaged = || EngineError::Corrupt(format!("the record of {what}"));
    match bytes.split_first() {
        Some((&FORMAT, json)) => serde_json::from_slice(json).map_err(|_| damaged()),
        Some(_) | None => Err(damaged()),
    }
}

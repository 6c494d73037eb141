//! The audit log: who did what to whom, when and from where.
//!
//! An entry is written in the commit of what it tells, so there is none without the other. Entries
//! are only ever added, and removed when they are older than they are kept.

use adea_store::{EngineError, Space, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::keys;
use crate::stored::encode;

/// An entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditEntry {
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What, as `area.verb`: `session.begin`, `membership.grant`.
    pub action: String,
    /// The id of the account that did it; empty if none did.
    pub account: String,
    /// The name that he had then.
    pub name: String,
    /// The id of the account, organisation, team or app that it was done to; empty if to none.
    pub target: String,
    /// From where: the address of the request; empty if it was the server itself.
    pub address: String,
    /// The app that it happened in; empty for none.
    pub app: String,
    /// Whatever else there is to say; never a secret.
    pub detail: Value,
}

/// Adds `entry` to the log.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn append(tx: &mut Transaction<'_>, entry: &AuditEntry) -> Result<(), EngineError> {
    let mut tail = tx.sequence() << 16;
    let mut key = keys::audit(entry.time_ms, tail);
    while tx.get(Space::Index, &key)?.is_some() {
        tail = tail.wrapping_add(1);
        key = keys::audit(entry.time_ms, tail);
    }
    tx.put(Space::Index, key, encode(entry));
    Ok(())
}

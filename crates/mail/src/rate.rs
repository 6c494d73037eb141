//! How many mails an address may get that somebody else can have sent there.
//!
//! Signing up, recovery and sign-in by mail send to whatever address they are given. So each address
//! gets a bounded number of such mails in each hour of the clock, and what is more is dropped: not
//! refused, since who asked must not learn whether others asked before.

use adea_store::{Op, Space, Transaction};

use crate::keys;
use crate::kind::Kind;

/// Mails of one group that one address gets in one hour.
pub(crate) const PER_HOUR: u32 = 10;

const HOUR_MS: u64 = 3_600_000;

/// Counts a mail of `kind` to `address`; whether it may go.
pub(crate) fn count(tx: &mut Transaction<'_>, kind: Kind, address: &str, now_ms: u64) -> bool {
    let Some(group) = kind.counted_in() else {
        return true;
    };
    // Whether a provider tells apart what stands before the @ is not known: as one who floods
    // would, take all spellings for one.
    let normal: String = address.to_lowercase().chars().take(320).collect();
    let key = keys::rate(now_ms / HOUR_MS, group, &normal);
    // Who cannot read the count sends: the commit fails then anyway.
    let stored = tx.get(Space::Index, &key).ok().flatten();
    let stored = stored.and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let sent = stored.map_or(0, u32::from_be_bytes);
    if sent >= PER_HOUR {
        return false;
    }
    tx.put(Space::Index, key, (sent + 1).to_be_bytes().to_vec());
    true
}

/// Forgets counts of hours that are over.
pub(crate) fn sweep(tx: &mut Transaction<'_>, now_ms: u64) {
    let range = keys::rates_before(now_ms / HOUR_MS);
    tx.push(Op::DeleteRange {
        space: Space::Index,
        range,
    });
}

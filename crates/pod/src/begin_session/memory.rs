//! What is remembered for sessions between requests.
//!
//! A session that was read, and who speaks in it, is kept with the count of turns that the store's
//! watch had before it was read. Whatever ends a session or changes somebody's rights raises that
//! count before it is answered, so what is kept is either what the store would say, or forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use adea_accounts::VerifiedTokens;
use adea_accounts::sessions::{Seals, SessionRecord, SigningKeys};
use adea_base::Caller;
use parking_lot::{Mutex, RwLock};

/// How many sessions are remembered whose use was noted of late; forgetting all beyond costs a few
/// writes.
const NOTED_MAX: usize = 10_000;
/// The least time between two entries of the audit log about forged cookies, in milliseconds.
const FORGED_PAUSE_MS: u64 = 10_000;

/// How many sessions are remembered as they were read; forgetting all beyond costs a few reads.
const RESUMED_MAX: usize = 20_000;

/// A session as it was read, and who speaks in it.
#[derive(Clone)]
pub(crate) struct Resumed {
    /// The watch's turns before it was read.
    pub(crate) turns: u64,
    pub(crate) record: Arc<SessionRecord>,
    pub(crate) caller: Caller,
}

/// What is remembered for sessions.
pub(crate) struct SessionMemory {
    pub(crate) seals: Seals,
    /// The keys that sign access tokens; `None` until they are read.
    pub(crate) keys: RwLock<Option<Arc<SigningKeys>>>,
    /// Access tokens whose signature was found to fit, and their sessions.
    pub(crate) verified: VerifiedTokens,
    resumed: RwLock<HashMap<String, Resumed>>,
    /// When a use of a session was last noted.
    noted: Mutex<HashMap<String, u64>>,
    forged: Mutex<Forged>,
    /// Behind which session the next sweep begins.
    pub(crate) swept: Mutex<Option<Vec<u8>>>,
}

#[derive(Default)]
struct Forged {
    told_ms: Option<u64>,
    since: u64,
}

impl SessionMemory {
    /// Nothing remembered, with seals under the server's secret.
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self {
            seals: Seals::new(secret),
            keys: RwLock::default(),
            verified: VerifiedTokens::default(),
            resumed: RwLock::default(),
            noted: Mutex::default(),
            forged: Mutex::default(),
            swept: Mutex::default(),
        }
    }

    /// The session as it was read, if that still holds.
    pub(crate) fn resumed(&self, session: &str, turns: u64) -> Option<Resumed> {
        let resumed = self.resumed.read();
        let found = resumed.get(session).filter(|found| found.turns == turns)?;
        Some(found.clone())
    }

    /// Remembers a session as it was read.
    pub(crate) fn remember(&self, found: Resumed) {
        let mut resumed = self.resumed.write();
        if resumed.len() >= RESUMED_MAX && !resumed.contains_key(&found.record.id) {
            resumed.clear();
        }
        resumed.insert(found.record.id.clone(), found);
    }

    /// Whether a use of `session` that is due to be noted at `now_ms` is not being noted already.
    pub(crate) fn note(&self, session: &str, used_ms: u64, now_ms: u64) -> bool {
        let mut noted = self.noted.lock();
        if noted.get(session).is_some_and(|at_ms| *at_ms > used_ms) {
            return false;
        }
        if noted.len() >= NOTED_MAX {
            noted.clear();
        }
        noted.insert(session.to_owned(), now_ms);
        true
    }

    /// How many forged cookies there were since this was last told, if it is to be told again.
    pub(crate) fn forged(&self, now_ms: u64) -> Option<u64> {
        let mut forged = self.forged.lock();
        forged.since += 1;
        let rested = |told_ms: u64| told_ms.abs_diff(now_ms) >= FORGED_PAUSE_MS;
        forged.told_ms.is_none_or(rested).then(|| {
            forged.told_ms = Some(now_ms);
            std::mem::take(&mut forged.since)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attack_is_told_of_once_in_a_while_and_counted() {
        let memory = SessionMemory::new(b"secret");
        assert_eq!(memory.forged(1_000), Some(1));
        assert_eq!(memory.forged(1_001), None);
        assert_eq!(memory.forged(10_999), None);
        assert_eq!(memory.forged(11_000), Some(3));
    }

    #[test]
    fn a_use_is_noted_once_until_the_store_shows_it() {
        let memory = SessionMemory::new(b"secret");
        assert!(memory.note("a", 100, 200));
        assert!(!memory.note("a", 100, 201));
        assert!(memory.note("a", 200, 300));
        assert!(memory.note("b", 100, 200));
    }
}

//! A memory of tokens that were verified, so that a token on every request costs microseconds.
//!
//! A token is remembered under its hash, for as long as it is valid and ten minutes at most: a key
//! that is no longer published ends its tokens by then. Whoever changes the keys or the rules
//! clears the memory.
//!
//! Entries live in two generations. What is found in the old one moves to the young one; when the
//! young one is full it becomes the old one, and what nobody asked for since is gone.
//!
//! Invariant: at most twice [`GENERATION_MAX`] entries; none answers after its time.

use std::collections::HashMap;

use adea_base::Caller;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::TokenHolder;

/// The most entries of one generation; each takes some hundred bytes, and its roles.
const GENERATION_MAX: usize = 4_096;
/// How long a token is remembered at most, in seconds.
const TIME_TO_LIVE_S: u64 = 600;

/// Tokens that were valid a short while ago. Shared between threads.
#[derive(Default)]
pub struct VerifiedTokens {
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<[u8; 32], Entry>,
    old: HashMap<[u8; 32], Entry>,
}

#[derive(Clone)]
struct Entry {
    caller: Caller,
    expires_s: u64,
}

impl VerifiedTokens {
    /// Whom this token was found to speak for, if that still holds.
    #[must_use]
    pub fn get(&self, token: &str, now_s: u64) -> Option<Caller> {
        let tag: [u8; 32] = Sha256::digest(token).into();
        let mut generations = self.generations.lock();
        let entry = if let Some(entry) = generations.young.get(&tag) {
            entry.clone()
        } else {
            let entry = generations.old.remove(&tag)?;
            generations.insert(tag, entry.clone());
            entry
        };
        // A clock that was turned back must not make an entry last longer.
        let left_s = entry.expires_s.saturating_sub(now_s);
        (1..=TIME_TO_LIVE_S)
            .contains(&left_s)
            .then_some(entry.caller)
    }

    /// Remembers whom a token speaks for.
    pub fn insert(&self, token: &str, holder: &TokenHolder, now_s: u64) {
        let longest_s = now_s.saturating_add(TIME_TO_LIVE_S);
        let entry = Entry {
            caller: holder.caller.clone(),
            expires_s: holder.expires_s.unwrap_or(u64::MAX).min(longest_s),
        };
        let tag = Sha256::digest(token).into();
        self.generations.lock().insert(tag, entry);
    }

    /// Forgets all: the keys or the rules have changed.
    pub fn clear(&self) {
        *self.generations.lock() = Generations::default();
    }
}

impl Generations {
    fn insert(&mut self, tag: [u8; 32], entry: Entry) {
        if self.young.len() >= GENERATION_MAX && !self.young.contains_key(&tag) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(tag, entry);
    }
}

/// Nothing of what it holds is printed.
impl std::fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedTokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(expires_s: Option<u64>) -> TokenHolder {
        TokenHolder {
            caller: Caller::named("ann", vec!["staff".to_owned()]),
            expires_s,
        }
    }

    #[test]
    fn an_entry_ends_with_its_token_and_after_ten_minutes() {
        let memory = VerifiedTokens::default();
        memory.insert("short", &holder(Some(1_010)), 1_000);
        memory.insert("long", &holder(None), 1_000);
        assert!(memory.get("short", 1_009).is_some());
        assert!(memory.get("short", 1_010).is_none());
        assert!(memory.get("long", 1_599).is_some());
        assert!(memory.get("long", 1_600).is_none());
        assert!(memory.get("long", 999).is_none());
        assert!(memory.get("lon", 1_000).is_none());
        memory.clear();
        assert!(memory.get("long", 1_000).is_none());
    }

    #[test]
    fn what_is_asked_for_stays_and_the_memory_is_bounded() {
        let memory = VerifiedTokens::default();
        memory.insert("kept", &holder(None), 1_000);
        memory.insert("lost", &holder(None), 1_000);
        for n in 0..5 * GENERATION_MAX {
            memory.insert(&n.to_string(), &holder(None), 1_000);
            if n % 1_000 == 0 {
                assert!(memory.get("kept", 1_000).is_some(), "{n}");
            }
        }
        assert!(memory.get("lost", 1_000).is_none());
        let generations = memory.generations.lock();
        assert!(generations.young.len() <= GENERATION_MAX);
        assert!(generations.old.len() <= GENERATION_MAX);
    }
}

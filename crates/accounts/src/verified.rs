//! A memory of passwords that were verified, so that Basic on every request costs microseconds.
//!
//! Verifying a password takes tens of milliseconds on purpose. A client that sends it with every
//! request pays once, and then again every ten minutes. What is remembered is a keyed hash of
//! name, password and stored credential, under a random key that lives as long as the process: it
//! tells nothing about the password, and a changed password or credential misses by itself, so
//! nothing has to be invalidated. Wrong passwords are not remembered.
//!
//! Invariants: at most [`ENTRIES_MAX`] entries, the oldest go first; none answers after its time.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use adea_base::Entropy;
use hmac::{Hmac, Mac as _};
use parking_lot::Mutex;
use sha2::Sha256;

use crate::credential::StoredCredential;
use crate::mac::{TAG_BYTES, keyed};

/// The most entries; each takes about 100 bytes.
const ENTRIES_MAX: usize = 4_096;
/// How long a verified password is remembered, in seconds.
const TIME_TO_LIVE_S: u64 = 600;

/// The keyed hash under which a verified password is remembered.
type Tag = [u8; TAG_BYTES];

/// Passwords that were right a short while ago. Shared between threads.
pub struct VerifiedCredentials {
    hasher: Hmac<Sha256>,
    entries: Mutex<Entries>,
}

/// The entries, and in which order they came. A tag that was remembered twice stands twice in the
/// order and once in the map, with its later time.
#[derive(Default)]
struct Entries {
    expires_s: HashMap<Tag, u64>,
    order: VecDeque<(Tag, u64)>,
}

impl VerifiedCredentials {
    /// An empty memory under a key of its own.
    #[must_use]
    pub fn new(entropy: &Entropy) -> Self {
        Self {
            hasher: keyed(&entropy.bytes::<32>()),
            entries: Mutex::default(),
        }
    }

    /// Whether this password was right for this very credential not long ago.
    #[must_use]
    pub fn contains(
        &self,
        name: &str,
        password: &str,
        credential: &StoredCredential,
        now_s: u64,
    ) -> bool {
        let tag = self.tag(name, password, credential);
        let expires_s = self.entries.lock().expires_s.get(&tag).copied();
        // A clock that was turned back must not make an entry last longer.
        expires_s.is_some_and(|at| (1..=TIME_TO_LIVE_S).contains(&at.saturating_sub(now_s)))
    }

    /// Remembers that `password` was verified against `credential`.
    pub fn insert(&self, name: &str, password: &str, credential: &StoredCredential, now_s: u64) {
        let tag = self.tag(name, password, credential);
        self.entries
            .lock()
            .insert(tag, now_s.saturating_add(TIME_TO_LIVE_S));
    }

    fn tag(&self, name: &str, password: &str, credential: &StoredCredential) -> Tag {
        // The lengths keep ("ab", "c") and ("a", "bc") apart.
        let lengths = [name.len(), password.len()].map(usize::to_le_bytes);
        self.hasher
            .clone()
            .chain_update(lengths.as_flattened())
            .chain_update(name)
            .chain_update(password)
            .chain_update(credential.fingerprint())
            .finalize()
            .into_bytes()
            .into()
    }
}

impl Entries {
    fn insert(&mut self, tag: Tag, expires_s: u64) {
        while self.order.len() >= ENTRIES_MAX
            && let Some((oldest, its_expires_s)) = self.order.pop_front()
        {
            // Unless it was remembered again since.
            if self.expires_s.get(&oldest) == Some(&its_expires_s) {
                self.expires_s.remove(&oldest);
            }
        }
        self.expires_s.insert(tag, expires_s);
        self.order.push_back((tag, expires_s));
    }
}

/// Nothing of what it holds is printed.
impl fmt::Debug for VerifiedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedCredentials")
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn credential(salt: &str) -> StoredCredential {
        let text = format!("-hashed-e579375db0e0c6a6fc79cd9e36a36859f71575c3,{salt}");
        StoredCredential::from_ini(&text).expect("valid")
    }

    fn memory() -> VerifiedCredentials {
        VerifiedCredentials::new(&Entropy::System)
    }

    #[test]
    fn only_the_same_three_are_remembered() {
        let (memory, stored) = (memory(), credential("s"));
        assert!(!memory.contains("ann", "secret", &stored, NOW));
        memory.insert("ann", "secret", &stored, NOW);
        assert!(memory.contains("ann", "secret", &stored, NOW));
        for (name, password, credential) in [
            ("ann", "secre", &stored),
            ("ann", "", &stored),
            ("an", "nsecret", &stored),
            ("anns", "ecret", &stored),
            ("", "annsecret", &stored),
            ("bob", "secret", &stored),
            ("ann", "secret", &credential("t")),
        ] {
            assert!(
                !memory.contains(name, password, credential, NOW),
                "{name} {password}"
            );
        }
    }

    #[test]
    fn an_entry_ends_after_ten_minutes() {
        let (memory, stored) = (memory(), credential("s"));
        memory.insert("ann", "secret", &stored, NOW);
        for (now, known) in [
            (NOW + 599, true),
            (NOW + 600, false),
            (NOW - 1, false),
            (u64::MAX, false),
        ] {
            assert_eq!(
                memory.contains("ann", "secret", &stored, now),
                known,
                "{now}"
            );
        }
        memory.insert("ann", "secret", &stored, NOW + 600);
        assert!(memory.contains("ann", "secret", &stored, NOW + 1_199));
    }

    #[test]
    fn the_oldest_go_first_and_the_memory_stays_bounded() {
        let (memory, stored) = (memory(), credential("s"));
        for n in 0..3 * ENTRIES_MAX {
            memory.insert(&n.to_string(), "x", &stored, NOW);
        }
        let known = |n: usize| memory.contains(&n.to_string(), "x", &stored, NOW);
        assert!(!known(0) && !known(2 * ENTRIES_MAX - 1));
        assert!(known(2 * ENTRIES_MAX) && known(3 * ENTRIES_MAX - 1));
        let entries = memory.entries.lock();
        assert_eq!(
            (entries.expires_s.len(), entries.order.len()),
            (ENTRIES_MAX, ENTRIES_MAX)
        );
    }

    #[test]
    fn what_is_remembered_again_outlives_its_first_place() {
        let (memory, stored) = (memory(), credential("s"));
        memory.insert("ann", "secret", &stored, NOW);
        memory.insert("ann", "secret", &stored, NOW + 1);
        for n in 0..ENTRIES_MAX - 1 {
            memory.insert(&n.to_string(), "x", &stored, NOW);
        }
        assert!(memory.contains("ann", "secret", &stored, NOW + 1));
        for _ in 0..2 * ENTRIES_MAX {
            memory.insert("same", "x", &stored, NOW);
        }
        assert!(!memory.contains("ann", "secret", &stored, NOW + 1));
        assert!(memory.entries.lock().order.len() <= ENTRIES_MAX);
    }

    #[test]
    fn threads_share_it() {
        let (memory, stored) = (memory(), credential("s"));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (memory, stored) = (&memory, &stored);
                scope.spawn(move || {
                    for n in 0..500 {
                        let name = format!("{thread}-{n}");
                        memory.insert(&name, "x", stored, NOW);
                        assert!(memory.contains(&name, "x", stored, NOW));
                    }
                });
            }
        });
        assert_eq!(memory.entries.lock().expires_s.len(), 2_000);
    }

    #[test]
    fn another_process_knows_nothing() {
        let stored = credential("s");
        let (one, two) = (memory(), memory());
        assert_ne!(
            one.tag("ann", "secret", &stored),
            two.tag("ann", "secret", &stored)
        );
    }
}

//! Guessing passwords, made to end: who fails too often from one place must wait.
//!
//! Failures are counted by where they come from, the name, and the stored credential, so that
//! nobody can lock somebody else out from elsewhere, and a new password is a new beginning. The
//! count begins with the first failure and ends a fixed time after it. Under version 6 of the
//! Internet protocol a place is a network of 64 bits: that is what one customer is given.
//!
//! Invariant: at most as many entries as the rules say, 40 bytes each; the oldest go first.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::credential::StoredCredential;

/// The reason of the 403 while somebody is locked out.
pub const LOCKED_OUT: &str =
    "Account is temporarily locked due to multiple authentication failures";

/// What follows too many failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockoutMode {
    /// Nothing is counted.
    Off,
    /// It is logged.
    Warn,
    /// Every attempt fails, also with the right password.
    Enforce,
}

/// When somebody is locked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockoutRules {
    /// What happens then.
    pub mode: LockoutMode,
    /// From how many failures on.
    pub threshold: u32,
    /// For how long after the first of them, in seconds.
    pub window_s: u64,
    /// How many places and names are remembered.
    pub entries_max: usize,
}

impl Default for LockoutRules {
    fn default() -> Self {
        Self {
            mode: LockoutMode::Enforce,
            threshold: 5,
            window_s: 300,
            entries_max: 10_000,
        }
    }
}

/// Who tries to sign in, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt([u8; 32]);

/// Whether an attempt may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Open,
    /// It may, and would not if the rules were enforced.
    Warned,
    /// It may not.
    Locked,
}

/// Failures of late. Shared between threads.
#[derive(Default)]
pub struct Lockout {
    failures: Mutex<Failures>,
}

/// Counts, and in which order they began.
#[derive(Default)]
struct Failures {
    counts: HashMap<Attempt, Count>,
    order: VecDeque<(Attempt, u64)>,
}

struct Count {
    failures: u32,
    first_s: u64,
}

impl Attempt {
    /// Somebody at `peer` who says to be `name`, whose password is stored as `credential`.
    #[must_use]
    pub fn new(peer: IpAddr, name: &str, credential: Option<&StoredCredential>) -> Self {
        let place = match peer.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(v4),
            IpAddr::V6(v6) => {
                let network = u128::from(v6) >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from(network))
            }
        };
        let place = place.to_string();
        let lengths = [place.len(), name.len()].map(usize::to_le_bytes);
        let hash = Sha256::new()
            .chain_update(lengths.as_flattened())
            .chain_update(place)
            .chain_update(name)
            .chain_update(credential.map_or(&[0; 32], StoredCredential::fingerprint));
        Self(hash.finalize().into())
    }
}

impl Lockout {
    /// Whether an attempt may go on.
    #[must_use]
    pub fn verdict(&self, rules: &LockoutRules, attempt: Attempt, now_s: u64) -> Verdict {
        if rules.mode == LockoutMode::Off {
            return Verdict::Open;
        }
        let failures = self.failures.lock();
        let Some(count) = failures.counts.get(&attempt) else {
            return Verdict::Open;
        };
        let over = count.failures >= rules.threshold && !rules.is_past(count.first_s, now_s);
        match rules.mode {
            LockoutMode::Enforce if over => Verdict::Locked,
            LockoutMode::Warn if over => Verdict::Warned,
            LockoutMode::Off | LockoutMode::Warn | LockoutMode::Enforce => Verdict::Open,
        }
    }

    /// Counts a failure; answers how many there were of late.
    pub fn failed(&self, rules: &LockoutRules, attempt: Attempt, now_s: u64) -> u32 {
        if rules.mode == LockoutMode::Off {
            return 0;
        }
        self.failures.lock().add(rules, attempt, now_s)
    }
}

impl LockoutRules {
    /// Also if the clock was turned back, which must lock nobody out for long.
    const fn is_past(&self, first_s: u64, now_s: u64) -> bool {
        first_s.abs_diff(now_s) >= self.window_s
    }
}

impl Failures {
    fn add(&mut self, rules: &LockoutRules, attempt: Attempt, now_s: u64) -> u32 {
        let outdated = |failures: &Self| {
            let oldest = failures.order.front();
            oldest.is_some_and(|(_, first_s)| rules.is_past(*first_s, now_s))
        };
        while outdated(self) {
            self.drop_oldest();
        }
        if let Some(count) = self.counts.get_mut(&attempt)
            && !rules.is_past(count.first_s, now_s)
        {
            count.failures = count.failures.saturating_add(1);
            return count.failures;
        }
        while self.order.len() >= rules.entries_max.max(1) {
            self.drop_oldest();
        }
        let first = Count {
            failures: 1,
            first_s: now_s,
        };
        self.counts.insert(attempt, first);
        self.order.push_back((attempt, now_s));
        1
    }

    fn drop_oldest(&mut self) {
        if let Some((attempt, first_s)) = self.order.pop_front()
            && self
                .counts
                .get(&attempt)
                .is_some_and(|count| count.first_s == first_s)
        {
            self.counts.remove(&attempt);
        }
    }
}

/// Nothing of whom it counts is printed.
impl std::fmt::Debug for Lockout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lockout").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: LockoutRules = LockoutRules {
        mode: LockoutMode::Enforce,
        threshold: 3,
        window_s: 60,
        entries_max: 100,
    };

    fn at(peer: &str, name: &str) -> Attempt {
        Attempt::new(peer.parse().unwrap(), name, None)
    }

    #[test]
    fn the_third_failure_locks_until_a_minute_after_the_first() {
        let (lockout, ann) = (Lockout::default(), at("10.0.0.1", "ann"));
        for (n, now_s) in [1_000, 1_010, 1_020].into_iter().enumerate() {
            assert_eq!(lockout.verdict(&RULES, ann, now_s), Verdict::Open, "{n}");
            lockout.failed(&RULES, ann, now_s);
        }
        assert_eq!(lockout.verdict(&RULES, ann, 1_021), Verdict::Locked);
        assert_eq!(lockout.verdict(&RULES, ann, 1_059), Verdict::Locked);
        for other in [at("10.0.0.2", "ann"), at("10.0.0.1", "bob")] {
            assert_eq!(lockout.verdict(&RULES, other, 1_021), Verdict::Open);
        }
        assert_eq!(lockout.verdict(&RULES, ann, 1_060), Verdict::Open);
        assert_eq!(lockout.failed(&RULES, ann, 1_060), 1);
        assert_eq!(lockout.verdict(&RULES, ann, 900), Verdict::Open, "a clock");
    }

    #[test]
    fn the_mode_says_what_follows() {
        let (lockout, ann) = (Lockout::default(), at("10.0.0.1", "ann"));
        let with = |mode| LockoutRules { mode, ..RULES };
        for _ in 0..9 {
            assert_eq!(lockout.failed(&with(LockoutMode::Off), ann, 1), 0);
        }
        assert_eq!(lockout.verdict(&RULES, ann, 1), Verdict::Open);
        for _ in 0..9 {
            lockout.failed(&with(LockoutMode::Warn), ann, 1);
        }
        let verdict = |mode| lockout.verdict(&with(mode), ann, 1);
        assert_eq!(verdict(LockoutMode::Warn), Verdict::Warned);
        assert_eq!(verdict(LockoutMode::Enforce), Verdict::Locked);
        assert_eq!(verdict(LockoutMode::Off), Verdict::Open);
    }

    #[test]
    fn a_place_is_an_address_or_the_network_of_a_customer() {
        assert_eq!(at("2001:db8::1", "ann"), at("2001:db8::ffff", "ann"));
        assert_ne!(at("2001:db8::1", "ann"), at("2001:db8:0:1::1", "ann"));
        assert_eq!(at("::ffff:10.0.0.1", "ann"), at("10.0.0.1", "ann"));
        assert_ne!(at("10.0.0.1", "1ann"), at("10.0.0.11", "ann"));
        let text = |salt| format!("-hashed-e579375db0e0c6a6fc79cd9e36a36859f71575c3,{salt}");
        let with = |salt| {
            let stored = StoredCredential::from_ini(&text(salt)).unwrap();
            Attempt::new("10.0.0.1".parse().unwrap(), "ann", Some(&stored))
        };
        assert_ne!(with("a"), with("b"));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go_first() {
        let lockout = Lockout::default();
        for n in 0..500 {
            for _ in 0..3 {
                lockout.failed(&RULES, at("10.0.0.1", &n.to_string()), 1_000);
            }
        }
        {
            let failures = lockout.failures.lock();
            assert_eq!((failures.counts.len(), failures.order.len()), (100, 100));
        }
        let verdict = |n: u32| lockout.verdict(&RULES, at("10.0.0.1", &n.to_string()), 1_000);
        assert_eq!(
            (verdict(399), verdict(400)),
            (Verdict::Open, Verdict::Locked)
        );
        lockout.failed(&RULES, at("10.0.0.1", "x"), 1_060);
        assert_eq!(lockout.failures.lock().order.len(), 1);
    }
}

//! Keys that their owner publishes at a URL (JWKS), and when to fetch them again.
//!
//! They are fetched when they are needed first, when they have grown old, and when a token names a
//! key that is not among them, since owners change keys by publishing a new one. Strangers can name
//! as many unknown keys as they like, so two attempts are [`PublishedKeys::PAUSE_S`] apart.
//!
//! Invariant: what was fetched once is kept when a later attempt fails.

use std::sync::Arc;

use super::TokenKeys;

/// The keys of one URL as they were last seen. It fetches nothing itself: it says when to.
#[derive(Clone, Debug, Default)]
pub struct PublishedKeys {
    keys: Arc<TokenKeys>,
    fetched_s: Option<u64>,
    tried_s: Option<u64>,
}

impl PublishedKeys {
    /// The least time between two attempts, in seconds.
    pub const PAUSE_S: u64 = 10;

    /// The keys as they were last seen; none before the first time.
    #[must_use]
    pub fn keys(&self) -> &Arc<TokenKeys> {
        &self.keys
    }

    /// Whether to try to fetch them now. `missing` is whether a key is wanted that is not here.
    #[must_use]
    pub fn due(&self, now_s: u64, refresh_s: u64, missing: bool) -> bool {
        let rested = self
            .tried_s
            .is_none_or(|tried_s| tried_s.abs_diff(now_s) >= Self::PAUSE_S);
        let old = self
            .fetched_s
            .is_none_or(|fetched_s| fetched_s.abs_diff(now_s) >= refresh_s);
        rested && (missing || old)
    }

    /// Takes note that an attempt begins.
    pub fn trying(&mut self, now_s: u64) {
        self.tried_s = Some(now_s);
    }

    /// Takes what an attempt brought.
    pub fn fetched(&mut self, keys: TokenKeys, now_s: u64) {
        self.keys = Arc::new(keys);
        self.fetched_s = Some(now_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_rest_between_and_failures_keep_what_was_there() {
        let mut keys = PublishedKeys::default();
        assert!(keys.due(1_000, 3_600, true));
        keys.trying(1_000);
        assert!(!keys.due(1_009, 3_600, true), "strangers do not hurry it");
        assert!(keys.due(1_010, 3_600, true));
        assert!(keys.due(1_010, 3_600, false), "the first attempt failed");
        keys.trying(1_010);
        let mut fetched = TokenKeys::default();
        fetched.insert("hmac:a", "aGVsbG8=").unwrap();
        keys.fetched(fetched, 1_010);
        assert!(!keys.due(1_100, 3_600, false));
        assert!(keys.due(1_100, 3_600, true), "a key was changed");
        assert!(keys.due(4_610, 3_600, false), "they have grown old");
        keys.trying(4_610);
        assert!(!keys.keys().is_empty());
        assert!(!keys.due(4_611, 3_600, true));
    }
}

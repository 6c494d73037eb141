//! The only door to the time of day, so that tests and simulations can turn it by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of wall-clock time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that stands still until it is set; milliseconds since the Unix epoch.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// Milliseconds since the Unix epoch; 0 if the machine's clock stands before it.
    #[must_use]
    pub fn now_unix_ms(&self) -> u64 {
        match self {
            Self::System => system_unix_ms(),
            Self::Manual(now) => now.load(Ordering::Relaxed),
        }
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub fn now_unix_s(&self) -> u64 {
        self.now_unix_ms() / 1_000
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that may ask the machine for the time of day"
)]
fn system_unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| {
            u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
        })
}

//! Asking again what failed for a reason that may pass, after pauses that grow.

use std::time::Duration;

use adea_base::Entropy;

use crate::error::ReplicationError;
use crate::peer::{Later, PeerError};
use crate::stop::Stop;

/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How often to ask again, and after which pauses.
#[derive(Clone, Debug)]
pub struct Patience {
    /// How often a request is made again.
    pub retries: u32,
    /// Spreads the pauses of many that failed together.
    pub entropy: Entropy,
}

impl Patience {
    /// The pause before attempt `attempt`, from 1: it doubles, and lies between a half and the whole.
    #[must_use]
    pub fn pause(&self, attempt: u32) -> Duration {
        let doubled = 1_u32
            .checked_shl(attempt.saturating_sub(1))
            .unwrap_or(u32::MAX);
        let whole = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
        let [chance] = self.entropy.bytes::<1>();
        whole.mul_f64(0.5 + f64::from(chance) / 512.0)
    }

    /// Does `verb` until it is done, it is told why not for good, or patience ends. A verb that is to
    /// stop is not tried again.
    pub(crate) async fn ask<'v, T: 'v>(
        &self,
        stop: &Stop,
        mut verb: impl FnMut() -> Later<'v, T>,
    ) -> Result<T, PeerError> {
        let mut attempt = 0;
        loop {
            match verb().await {
                Err(error) if error.is_transient() && attempt < self.retries => {
                    attempt += 1;
                    let pause = self.pause(attempt);
                    tracing::debug!(%error, attempt, "trying again in {pause:?}: {error}");
                    let mut stop = stop.clone();
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.wait() => return Err(error),
                    }
                }
                answered => return answered,
            }
        }
    }

    /// The same, with the error as one of the whole replication.
    pub(crate) async fn insist<'v, T: 'v>(
        &self,
        stop: &Stop,
        what: &'static str,
        peer: &str,
        verb: impl FnMut() -> Later<'v, T>,
    ) -> Result<T, ReplicationError> {
        let asked = self.ask(stop, verb).await;
        asked.map_err(|error| ReplicationError::of(what, peer, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let patience = Patience {
            retries: 5,
            entropy: Entropy::System,
        };
        for (attempt, whole) in [
            (1, 250),
            (2, 500),
            (5, 4_000),
            (11, 256_000),
            (12, 300_000),
            (99, 300_000),
        ] {
            let pause = patience.pause(attempt);
            let whole = Duration::from_millis(whole);
            assert!(whole / 2 <= pause && pause <= whole, "{attempt}: {pause:?}");
        }
    }
}

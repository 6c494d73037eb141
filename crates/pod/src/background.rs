//! What a server does by itself, again and again, for as long as it serves: notes the time, and
//! purges what has expired.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::pod::Pod;

/// The time between two turns.
const TURN: Duration = Duration::from_secs(60);

impl Pod {
    /// Takes a turn at once and then each minute, until it is dropped. What fails is logged, and
    /// tried again at the next turn.
    pub async fn run_background(&self) {
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            self.background_turn().await;
        }
    }

    async fn background_turn(&self) {
        if let Err(error) = self.note_time().await {
            tracing::warn!(%error, "the time could not be noted: {error}");
        }
        match self.purge_expired().await {
            Ok(0) => {}
            Ok(purged) => tracing::info!(purged, "purged {purged} tombstones that had expired"),
            Err(error) => tracing::error!(%error, "purging tombstones failed: {error}"),
        }
    }
}

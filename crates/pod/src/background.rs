//! What a server does by itself, again and again, for as long as it serves: notes the time, purges
//! what has expired, makes databases for accounts, and sends mail.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::pod::Pod;

/// The time between two turns.
const TURN: Duration = Duration::from_secs(60);

impl Pod {
    /// Does all of it, until it is dropped.
    pub async fn run_background(&self) {
        tokio::join!(
            self.take_turns(),
            self.keep_user_databases(),
            self.deliver_mail(),
        );
    }

    /// Takes a turn at once and then each minute. What fails is logged, and tried again at the next
    /// turn.
    async fn take_turns(&self) {
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
        if let Err(error) = self.sweep_audit().await {
            tracing::error!(%error, "old entries of the audit log could not be removed: {error}");
        }
        match self.purge_expired().await {
            Ok(0) => {}
            Ok(purged) => tracing::info!(purged, "purged {purged} tombstones that had expired"),
            Err(error) => tracing::error!(%error, "purging tombstones failed: {error}"),
        }
        match self.remove_abandoned().await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed {removed} abandoned accounts"),
            Err(error) => tracing::error!(%error, "removing abandoned accounts failed: {error}"),
        }
        if let Err(error) = self.sweep_secrets().await {
            tracing::error!(%error, "secrets that are over stay: {error}");
        }
        if let Err(error) = self.sweep_sessions().await {
            tracing::error!(%error, "sessions that are over stay: {error}");
        }
        match self.rotate_old_signing_key().await {
            Ok(false) => {}
            Ok(true) => tracing::info!("a new key signs access tokens"),
            Err(error) => tracing::error!(%error, "the old key goes on signing: {error}"),
        }
        if let Err(error) = self.tidy_organisations().await {
            tracing::warn!(%error, "what is left of organisations could not be removed: {error}");
        }
    }
}

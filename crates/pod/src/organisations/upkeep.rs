//! What goes on behind a commit: nothing is left of organisations, teams, accounts and apps that are
//! gone, and
//! invitations that have long been over are forgotten.
//!
//! Each step is a bounded transaction, and what is left to do can be seen in the store: a server that
//! stops in between goes on at its next start.

use adea_accounts::organisations::{Cleared, clear, next_closing, sweep_invitations};
use adea_store::Decline;

use crate::error::PodError;
use crate::pod::Pod;

/// How many invitations are looked at in one turn.
const SWEPT: usize = 500;

impl Pod {
    /// Removes what is left of what was deleted. It is the answer of a deletion that
    /// has been made, so what fails here is logged, and done in the background.
    pub(crate) async fn clear_soon(&self) -> Result<(), PodError> {
        let pod = self.clone();
        Self::to_the_end(async move {
            if let Err(error) = pod.clear_closing().await {
                tracing::warn!(%error, "a deletion is finished later: {error}");
            }
            Ok(())
        })
        .await
    }

    async fn clear_closing(&self) -> Result<(), PodError> {
        loop {
            // The view is gone before the next commit.
            let group = next_closing(self.view().as_ref())?;
            let Some(group) = group else { return Ok(()) };
            while self.clear_some(group.clone()).await? == Cleared::Some {}
        }
    }

    async fn clear_some(&self, group: String) -> Result<Cleared, PodError> {
        let store = &self.inner.store;
        let cleared = store.transact(Self::permit(), move |tx| {
            clear(tx, &group).map_err(Decline::<PodError>::from)
        });
        Ok(cleared.await?)
    }

    /// A turn of what is done in the background.
    pub(crate) async fn tidy_organisations(&self) -> Result<(), PodError> {
        self.clear_closing().await?;
        let after = self.inner.invitations_swept.lock().clone();
        let now_ms = self.inner.clock.now_unix_ms();
        let swept = self.inner.store.transact(Self::permit(), move |tx| {
            let swept = sweep_invitations(tx, after.as_deref(), now_ms, SWEPT);
            swept.map_err(Decline::<PodError>::from)
        });
        *self.inner.invitations_swept.lock() = swept.await?;
        Ok(())
    }
}

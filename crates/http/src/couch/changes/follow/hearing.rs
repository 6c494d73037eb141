//! Who listens to a feed, and to what: asked again whenever that may have changed.
//!
//! Three things say so: the listener's account, what is set for the database, and a page that finds at
//! its own moment that the listener may read something else by then. He is let in anew, and the feed
//! goes on in the open connection: what he lost and what he gained is told first. Who may not listen any
//! more is told the end.

use std::sync::Arc;
use std::time::Duration;

use adea_pod::{AccessError, DatabaseEntry, PodError};

use super::Feed;

/// How often it is read again at once for one who may read something else each time: somebody with
/// the same name holds other rights, and both ask in turn.
const TURNS_MAX: usize = 8;

/// What a feed does whose page could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It reads again at once: the listener may read something else.
    Read,
    /// It waits until it is known again what he may read.
    Wait,
    /// It ends: he may not listen any more.
    Over,
}

impl Feed {
    /// Whether the listener may still listen; it is looked at again if that may have changed, and
    /// what is told from then on is told to him as he is then.
    pub(super) async fn is_heard(&mut self) -> Result<bool, PodError> {
        if self.subscription.is_none()
            && self.standing.is_none()
            && !self.entry.tells_each_his_own()
        {
            return Ok(true);
        }
        let found = match self.app.pod.database(&self.entry.name) {
            Ok(found) => found,
            Err(PodError::Database(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        let same = self
            .known
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &found));
        let due = self
            .standing
            .as_ref()
            .is_some_and(|standing| standing.is_due());
        if same && !due {
            return Ok(true);
        }
        self.known = Some(found);
        // Boxed, so that a feed keeps no room for it while it waits.
        Box::pin(self.hear_again()).await
    }

    async fn hear_again(&mut self) -> Result<bool, PodError> {
        let app = Arc::clone(&self.app);
        if let Some(standing) = &mut self.standing
            && standing.is_due()
        {
            let Some(caller) = app.pod.caller_again(&self.caller, standing)? else {
                return Ok(false);
            };
            self.caller = caller;
        }
        match app.pod.listen_again(&self.entry, &self.caller).await? {
            Some(entry) => self.go_on_with(entry).map(|()| true),
            None => Ok(false),
        }
    }

    /// Goes on with what the listener may read now.
    fn go_on_with(&mut self, entry: Arc<DatabaseEntry>) -> Result<(), PodError> {
        if Arc::ptr_eq(&self.entry, &entry) {
            return Ok(());
        }
        self.entry = entry;
        // What was looked up or is being judged was so by what he could read before.
        self.named = None;
        self.judging = None;
        self.course.turn(self.entry.turned_at());
        if self.asked.descending {
            self.course = self.course.downwards();
        }
        if let Some(subscription) = &mut self.subscription {
            let pod = &self.app.pod;
            pod.watch_changes_again(&self.entry, subscription)?;
            // What he gained was not listened to before.
            let newest = pod.statistics(&self.entry)?.update_sequence;
            self.until = self.until.max(newest);
        }
        Ok(())
    }

    /// What to do after a page could not be read.
    ///
    /// # Errors
    /// `error`, if it does not come of rights that change, or they change too often.
    pub(super) async fn after_failing(
        &mut self,
        error: PodError,
        turns: &mut usize,
    ) -> Result<Again, PodError> {
        let waits = self.subscription.is_some();
        if matches!(error, PodError::Access(AccessError::Rebuilding { .. })) && waits {
            return Ok(Again::Wait);
        }
        if !matches!(error, PodError::Access(AccessError::Turned)) || *turns >= TURNS_MAX {
            return Err(error);
        }
        *turns += 1;
        // Who wrote that down has perhaps not said so yet: it is a commit, and takes its time.
        let pause = Duration::from_millis(1 << (*turns).min(6));
        tokio::time::sleep(pause).await;
        let heard = Box::pin(self.hear_again()).await?;
        Ok(if heard { Again::Read } else { Again::Over })
    }
}

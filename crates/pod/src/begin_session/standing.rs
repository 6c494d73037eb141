//! Whether a feed may go on: who listens is looked at again whenever that may have changed.
//!
//! A feed is opened with one request and may last for days. It listens to its account's topic, which
//! is touched when a session of the account ends, when it is blocked, deleted, or given other
//! rights; then it asks anew who its listener is. A session's own end is a time, and a feed is
//! woken for it. An administrator of the configuration is followed by his name, until he is none any
//! more or has another password. Who listens as nobody, or with a token of others, pays for none of
//! this.

use std::time::Duration;

use adea_accounts::directory::topic_of;
use adea_accounts::sessions;
use adea_base::Caller;
use adea_store::Subscription;
use tokio::time::Instant;

use crate::error::PodError;
use crate::pod::Pod;

/// The longest time until the end of a session is looked at again.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(86_400);

/// What a feed must know of its listener to go on.
pub struct Standing {
    subscription: Subscription,
    /// The epoch of the account and the fingerprint of its password when the feed was opened, where
    /// there is no session that knows whether all has ended since.
    proved: Option<(u64, Option<String>)>,
    /// When the session ends, unless it is used meanwhile.
    ends_at: Option<Instant>,
    /// Whether it was looked at since the subscription began.
    looked: bool,
}

impl Pod {
    /// What a feed of `caller` must follow; `None` if nothing can end it but itself.
    #[must_use]
    pub fn follow_caller(&self, caller: &Caller) -> Option<Box<Standing>> {
        let proved = match (caller.account(), caller.session()) {
            // Others' tokens may say the like; who they name is looked up nowhere.
            (None, None) => Some(self.standing_of_admin(caller)?),
            (Some(_), _) | (None, Some(_)) => None,
        };
        let account = Self::account_of(caller)?;
        Some(Box::new(Standing {
            subscription: self.inner.store.watch().subscribe(topic_of(&account)),
            proved,
            ends_at: None,
            looked: false,
        }))
    }

    /// What must stay as it is for an administrator of the configuration to go on.
    fn standing_of_admin(&self, caller: &Caller) -> Option<(u64, Option<String>)> {
        let name = caller.name().filter(|_| caller.is_admin())?;
        let epoch = self.inner.admins.read().epoch(name)?;
        Some((epoch, None))
    }

    /// Who the caller of a feed is now; `None` if he may not listen any more.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn caller_again(
        &self,
        caller: &Caller,
        standing: &mut Standing,
    ) -> Result<Option<Caller>, PodError> {
        standing.subscription.mark_seen();
        standing.looked = true;
        if let Some(id) = caller.session() {
            let found = sessions::find(self.view().as_ref(), id)?;
            let (now_ms, idle_ms) = (self.inner.clock.now_unix_ms(), self.idle_ms());
            let Some(record) = found.filter(|found| !found.is_over(now_ms, idle_ms)) else {
                return Ok(None);
            };
            let left = Duration::from_millis(record.ends_ms(idle_ms).saturating_sub(now_ms));
            standing.ends_at = Some(Instant::now() + left.min(LOOK_AGAIN_MAX));
            return self.speaker(&record);
        }
        let Some(account) = caller.account() else {
            let same = standing.proved == self.standing_of_admin(caller);
            return Ok(same.then(|| caller.clone()));
        };
        let holder = self.holder(account)?;
        let Some(holder) = holder.filter(|holder| !holder.record.flags.keep_out()) else {
            return Ok(None);
        };
        let record = &holder.record;
        let now = (record.epoch, record.password_fingerprint.clone());
        let same = *standing.proved.get_or_insert_with(|| now.clone()) == now;
        Ok(same.then_some(holder.caller))
    }
}

impl Standing {
    /// Whether the caller is to be looked at again.
    #[must_use]
    pub fn is_due(&self) -> bool {
        !self.looked
            || self.subscription.has_changed()
            || self.ends_at.is_some_and(|at| at <= Instant::now())
    }

    /// Waits until [`Standing::is_due`] of what there is, for ever if there is nothing. It is small, since
    /// everybody who listens has room for it.
    pub async fn due_of(standing: &mut Option<Box<Self>>) {
        match standing {
            Some(standing) => Box::pin(standing.due()).await,
            None => std::future::pending().await,
        }
    }

    /// Waits until [`Standing::is_due`].
    async fn due(&mut self) {
        if self.is_due() {
            return;
        }
        match self.ends_at {
            None => self.subscription.changed().await,
            Some(at) => tokio::select! {
                () = self.subscription.changed() => {}
                () = tokio::time::sleep_until(at) => {}
            },
        }
        self.looked = false;
    }
}

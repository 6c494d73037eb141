//! In whose name a job runs, and what he may do now.
//!
//! Whoever asks for a replication may be blocked, deleted or lose roles while it runs, for days. So a
//! job remembers which account asked, and not what it was given then: his rights are worked out anew
//! before each thing that is done in his name, and a job whose author is gone ends at once.
//!
//! Invariants: a job never has rights of another account that has the name by now; what a request
//! started has no roles that were not held then, since a token may carry a name that is somebody
//! else's here, and it ends when the password of its author is another one.

use adea_accounts::Refusal;
use adea_accounts::directory::topic_of;
use adea_base::Caller;
use adea_store::Subscription;

use crate::directory::Holder;
use crate::error::PodError;
use crate::pod::Pod;

/// In whose name a job runs.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    /// As he was when the job was added.
    pub(super) caller: Caller,
    bond: Bond,
    /// Whether a document describes the job: it was let in only from who held all roles of the
    /// account, and it stays when its author's password changes.
    described: bool,
}

/// What makes him the same one later.
#[derive(Clone, Debug)]
enum Bond {
    /// An account, by its id; and where a request asked, the epoch of its sessions and the
    /// fingerprint of its password then.
    Account(String, Option<(u64, Option<String>)>),
    /// Somebody of this server without a record: an administrator of the configuration.
    Name,
    /// Nobody of this server: he came with a proof of his own, and with these roles.
    Foreign,
}

fn proved(holder: &Holder) -> (u64, Option<String>) {
    let record = &holder.record;
    (record.epoch, record.password_fingerprint.clone())
}

impl Pod {
    /// Who the author of a job is that `caller` asks for, or that a document describes as his.
    pub(super) fn author(&self, caller: Caller, described: bool) -> Result<Author, PodError> {
        // One that is blocked is no stranger: what he described rests for as long as he is.
        let known = caller.name().map(|name| self.principal(name));
        let known = known.transpose()?.flatten();
        let of_name = known.as_ref().and_then(|known| known.caller.account());
        let bond = match (caller.account().or(of_name), &known) {
            (Some(account), _) => {
                let holder = self.holder(account)?.filter(|_| !described);
                Bond::Account(account.to_owned(), holder.as_ref().map(proved))
            }
            (None, Some(_)) => Bond::Name,
            (None, None) => Bond::Foreign,
        };
        Ok(Author {
            caller,
            bond,
            described,
        })
    }

    /// The author of a job with the rights that he has now.
    ///
    /// # Errors
    /// [`PodError::Refused`] if he may do nothing any more; [`PodError::Engine`] if the store cannot
    /// be read.
    pub(super) fn author_now(&self, author: &Author) -> Result<Caller, PodError> {
        let before = &author.caller;
        let now = match &author.bond {
            Bond::Foreign => return Ok(before.clone()),
            Bond::Name => {
                let now = self.caller_named(before.name().unwrap_or_default())?;
                now.filter(|now| now.account().is_none())
            }
            Bond::Account(id, then) => {
                let holder = self.holder(id)?.filter(|now| !now.record.flags.blocked);
                let same = |now: &Holder| then.as_ref().is_none_or(|then| *then == proved(now));
                holder.filter(same).map(|holder| holder.caller)
            }
        };
        let Some(now) = now else {
            let reason = "Whoever started this replication may not go on with it.";
            return Err(Refusal::Unauthorized(reason.into()).into());
        };
        if author.described {
            return Ok(now);
        }
        let own = now.account().map(|id| format!("user:{id}"));
        let held = |role: &&String| now.roles().contains(role) || own.as_ref() == Some(*role);
        let roles = before.roles().iter().filter(held).cloned().collect();
        let narrowed = Caller::named(now.name().unwrap_or_default(), roles);
        Ok(match now.account() {
            Some(account) => narrowed.with_account(account),
            None => narrowed,
        })
    }

    /// Listens for changes of the account of a job's author, if he has one.
    pub(super) fn watch_author(&self, author: &Author) -> Option<Subscription> {
        let Bond::Account(id, _) = &author.bond else {
            return None;
        };
        Some(self.inner.store.watch().subscribe(topic_of(id)))
    }

    /// Waits until the author of a job may do nothing any more.
    pub(super) async fn author_lost(&self, author: &Author) {
        let Some(mut subscription) = self.watch_author(author) else {
            return std::future::pending().await;
        };
        loop {
            subscription.mark_seen();
            if let Err(PodError::Refused(_)) = self.author_now(author) {
                return;
            }
            subscription.changed().await;
        }
    }
}

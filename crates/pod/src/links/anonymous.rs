//! Accounts that somebody has made without telling who he is, and their end: whoever lost the session
//! of one can never come back, so those that nobody used for as long as a session lasts are removed.
//! So are those whose address nobody has proved within a day: they hold names.

use adea_accounts::audit::{self, AuditEntry};
use adea_accounts::directory::{self, AccountRecord, Flags};
use adea_accounts::{one_time, sessions};
use adea_store::{Decline, Direction, Space};

use super::LinkError;
use crate::begin_session::{Begun, Proof, SessionWanted};
use crate::directory::NewAccount;
use crate::directory::create::create_in;
use crate::directory::document::{self, with_users};
use crate::error::PodError;
use crate::pod::Pod;
use crate::providers::has_way_in;

/// How long an account waits for its address to be proved, in milliseconds: an hour longer than the
/// mail that it is proved with is good for, since nothing can prove it after that.
const PENDING_MS: u64 = 25 * 3_600_000;
/// Accounts that are looked at in one turn.
const LOOKED_AT_MAX: usize = 2_000;
/// Accounts that are removed in one transaction.
const REMOVED_MAX: usize = 50;
/// Secrets that are looked at in one transaction.
const SWEPT_AT_ONCE: usize = 500;
/// Such transactions in one turn.
const SWEEPS_MAX: usize = 20;

impl Pod {
    /// Begins a session of a new account that is nobody's yet.
    ///
    /// # Errors
    /// [`LinkError::NoAnonymous`] if there are none here; what [`Pod::begin_session`] says.
    pub async fn begin_anonymous(&self, wanted: SessionWanted) -> Result<Begun, PodError> {
        if !wanted.app.is_empty() {
            self.app(&wanted.app)?;
        }
        if !self.sign_up_rules(&wanted.app).anonymous {
            return Err(LinkError::NoAnonymous.into());
        }
        let new = NewAccount {
            flags: Flags {
                anonymous: true,
                ..Flags::default()
            },
            app: wanted.app.clone(),
            ..NewAccount::default()
        };
        let (ground, store, from) = (
            self.ground()?,
            self.inner.store.clone(),
            wanted.address.to_string(),
        );
        let account = Self::to_the_end(async move {
            let made = store.transact(Self::permit(), move |tx| {
                let made = create_in(tx, &ground, &new)?;
                super::join_app(tx, &made.id, &new.app, ground.now_ms)?;
                let entry = AuditEntry {
                    time_ms: ground.now_ms,
                    action: "account.create".to_owned(),
                    account: made.id.clone(),
                    target: made.id.clone(),
                    address: from,
                    app: new.app.clone(),
                    detail: serde_json::json!({"by": "anonymous"}),
                    ..AuditEntry::default()
                };
                audit::append(tx, &entry)?;
                Ok(made.id)
            });
            made.await.map_err(PodError::from)
        })
        .await?;
        let proof = Proof {
            account,
            method: "anonymous".to_owned(),
            strong: false,
            epoch: None,
        };
        self.begin_session(proof, wanted).await
    }

    /// Looks at the next accounts, and removes those that are nobody's and were not used for as long as a
    /// session lasts, and those whose address was not proved in time. Answers how many.
    ///
    /// # Errors
    /// [`PodError`] if the store cannot be read or written.
    pub(crate) async fn remove_abandoned(&self) -> Result<usize, PodError> {
        let users = self.users_number()?.0;
        let found = self.abandoned(users)?;
        let (now_ms, idle_ms) = (self.inner.clock.now_unix_ms(), self.idle_ms());
        let mut removed = 0;
        for portion in found.chunks(REMOVED_MAX) {
            let (ids, pod) = (portion.to_vec(), self.clone());
            removed += Self::to_the_end(async move {
                let store = pod.inner.store.clone();
                let own = pod.clone();
                let done = store.transact(Self::permit(), move |tx| {
                    let mut files = Vec::new();
                    let mut count = 0;
                    for id in &ids {
                        // It may have been used, or promoted, meanwhile.
                        let Some(record) = directory::live(tx, users, id)? else {
                            continue;
                        };
                        if own.is_abandoned(&record) && !sessions::any(tx, id, now_ms, idle_ms)? {
                            files.extend(own.remove_abandoned_in(tx, &record)?);
                            count += 1;
                        }
                    }
                    Ok((count, files))
                });
                let (count, files) = done.await.map_err(PodError::from)?;
                pod.release_files(files).await;
                Ok(count)
            })
            .await?;
        }
        Ok(removed)
    }

    fn remove_abandoned_in(
        &self,
        tx: &mut adea_store::Transaction<'_>,
        record: &AccountRecord,
    ) -> Result<Vec<adea_files::Digest>, Decline<PodError>> {
        let ((), files) = with_users(tx, record.users, |writer| {
            document::forget_branches(writer, &record.name)?;
            if let Some(before) = document::read(writer, &record.name)? {
                document::write(writer, &record.name, Some(&before), &[], None)?;
            }
            document::forget_bodies(writer, &record.name)
        })?;
        directory::erase(tx, record)?;
        let entry = AuditEntry {
            time_ms: self.inner.clock.now_unix_ms(),
            action: "account.delete".to_owned(),
            target: record.id.clone(),
            detail: serde_json::json!({"by": "abandoned"}),
            ..AuditEntry::default()
        };
        audit::append(tx, &entry)?;
        Ok(files)
    }

    /// Ids of accounts that are abandoned, among those next to be looked at.
    fn abandoned(&self, users: u64) -> Result<Vec<String>, PodError> {
        let after = self.inner.links.abandoned_after.lock().take();
        let mut range = directory::all();
        if let Some(after) = after {
            range.from = after;
        }
        let view = self.view();
        let mut rows = view.range(Space::Index, range, Direction::Forward)?;
        let mut found = Vec::new();
        for n in 1.. {
            let Some((key, value)) = rows.next()? else {
                break;
            };
            let record: AccountRecord = adea_accounts::stored::decode(value, "an account")?;
            if record.users == users && self.is_abandoned(&record) {
                found.push(record.id);
            }
            if n == LOOKED_AT_MAX {
                *self.inner.links.abandoned_after.lock() = Some([key, &[0]].concat());
                break;
            }
        }
        Ok(found)
    }

    /// Whether an account is old enough to have been left, and nobody can come back to it. Whether it has
    /// a session is asked besides; one whose address was never proved has none.
    fn is_abandoned(&self, record: &AccountRecord) -> bool {
        let now_ms = self.inner.clock.now_unix_ms();
        if record.flags.pending {
            return record.created_ms.saturating_add(PENDING_MS) < now_ms;
        }
        let old_ms = record.created_ms.saturating_add(self.idle_ms());
        record.flags.anonymous
            && record.password_fingerprint.is_none()
            && !has_way_in(record)
            && old_ms < now_ms
    }

    /// Removes secrets that are good once and were not used in time, a bounded number of them; the next
    /// call goes on there.
    ///
    /// # Errors
    /// [`PodError`] if the store cannot be read or written.
    pub(crate) async fn sweep_secrets(&self) -> Result<(), PodError> {
        let now_ms = self.inner.clock.now_unix_ms();
        for _ in 0..SWEEPS_MAX {
            let after = self.inner.links.swept.lock().take();
            let swept = self.inner.store.transact(Self::permit(), move |tx| {
                let next = one_time::sweep(tx, after.as_deref(), now_ms, SWEPT_AT_ONCE)?;
                Ok::<_, Decline<PodError>>(next)
            });
            let next = swept.await?;
            let over = next.is_none();
            *self.inner.links.swept.lock() = next;
            if over {
                break;
            }
        }
        Ok(())
    }
}

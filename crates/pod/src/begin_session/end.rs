//! Ending sessions and listing them: one, all of an account, and those that are over.

use std::net::IpAddr;

use adea_accounts::audit::{self, AuditEntry};
use adea_accounts::directory::AccountRecord;
use adea_accounts::sessions::{self, ADMIN_PREFIX, SessionRecord};
use adea_base::Caller;
use adea_store::{Decline, EngineError, Transaction};

use super::{SessionError, entry};
use crate::directory::edit::edit_in;
use crate::error::PodError;
use crate::pod::Pod;

/// Sessions that are looked at in one transaction of a sweep.
const SWEPT_AT_ONCE: usize = 500;
/// The most transactions of one sweep; the next one goes on there.
const SWEPT_MAX: usize = 200;

/// A part of the list of an account's sessions.
#[derive(Clone, Debug, Default)]
pub struct SessionPage {
    /// The sessions, in the order of their ids.
    pub sessions: Vec<SessionRecord>,
    /// Whether there are more.
    pub more: bool,
}

impl Pod {
    /// The account that a caller's sessions are of: his own, or `admin:<name>` for an administrator of
    /// the configuration.
    #[must_use]
    pub fn account_of(caller: &Caller) -> Option<String> {
        if let Some(account) = caller.account() {
            return Some(account.to_owned());
        }
        let name = caller.name().filter(|_| caller.is_admin())?;
        Some(format!("{ADMIN_PREFIX}{name}"))
    }

    /// Ends all sessions of `account` but `except`, in a transaction that does more.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn end_sessions(
        tx: &mut Transaction<'_>,
        account: &str,
        except: Option<&str>,
    ) -> Result<usize, EngineError> {
        sessions::end_all(tx, account, except)
    }

    /// The sessions of an account that are not over, behind the one with the id `after`.
    ///
    /// # Errors
    /// [`PodError::Engine`] if they cannot be read.
    pub fn list_sessions(
        &self,
        account: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<SessionPage, PodError> {
        let (now_ms, idle_ms) = (self.inner.clock.now_unix_ms(), self.idle_ms());
        let view = self.view();
        let mut found = sessions::list(view.as_ref(), account, after, usize::MAX)?;
        found.retain(|session| !session.is_over(now_ms, idle_ms));
        let more = found.len() > limit;
        found.truncate(limit);
        Ok(SessionPage {
            sessions: found,
            more,
        })
    }

    /// Ends the session with this id. It must be of the caller's account, unless he administers the
    /// server.
    ///
    /// # Errors
    /// [`SessionError::Missing`] if there is no such session of his.
    pub async fn end_session(
        &self,
        caller: &Caller,
        id: &str,
        address: IpAddr,
    ) -> Result<(), PodError> {
        let own = Self::account_of(caller);
        let admin = caller.is_admin();
        let id = id.to_owned();
        self.end_one(caller, address, move |tx| {
            let found = sessions::find(tx, &id)?;
            let his = found.filter(|found| admin || own.as_deref() == Some(&found.account));
            let his = his.ok_or_else(|| Decline::Refused(SessionError::Missing.into()))?;
            sessions::end(tx, &his.id)?;
            Ok(his)
        })
        .await
    }

    /// Ends the session that a refresh token is of, whether it is the last one or not.
    ///
    /// # Errors
    /// [`SessionError::Unproved`] if it is of none.
    pub async fn end_session_of_token(&self, token: &str, address: IpAddr) -> Result<(), PodError> {
        let presented = self.inner.session_memory.seals.read_refresh_token(token);
        let presented = presented.ok_or(SessionError::Unproved)?;
        self.end_one(&Caller::anonymous(), address, move |tx| {
            let ended = sessions::end(tx, &presented.session)?;
            ended.ok_or_else(|| Decline::Refused(SessionError::Unproved.into()))
        })
        .await
    }

    async fn end_one(
        &self,
        caller: &Caller,
        address: IpAddr,
        end: impl FnOnce(&mut Transaction<'_>) -> Result<SessionRecord, Decline<PodError>>
        + Send
        + 'static,
    ) -> Result<(), PodError> {
        let now_ms = self.inner.clock.now_unix_ms();
        let name = caller.name().unwrap_or_default().to_owned();
        let actor = Self::account_of(caller);
        let (store, address) = (self.inner.store.clone(), address.to_canonical().to_string());
        Self::to_the_end(async move {
            let ended = store.transact(Self::permit(), move |tx| {
                let session = end(tx)?;
                let mut entry = entry("session.end", &session, &name, now_ms);
                entry.account = actor.unwrap_or(entry.account);
                entry.address = address;
                Ok(audit::append(tx, &entry)?)
            });
            ended.await.map_err(PodError::from)
        })
        .await
    }

    /// Ends all sessions of the caller's account, but the one that he speaks in if `keep_own`; how
    /// many there were.
    ///
    /// # Errors
    /// [`PodError::Commit`] if it cannot be stored.
    pub async fn end_own_sessions(
        &self,
        caller: &Caller,
        keep_own: bool,
        address: IpAddr,
    ) -> Result<usize, PodError> {
        let account = Self::account_of(caller).ok_or(SessionError::Missing)?;
        let except = caller.session().filter(|_| keep_own).map(str::to_owned);
        let name = caller.name().unwrap_or_default().to_owned();
        let now_ms = self.inner.clock.now_unix_ms();
        let (store, address) = (self.inner.store.clone(), address.to_canonical().to_string());
        let users = match caller.account() {
            Some(_) => Some(self.users_number()?.0),
            None => None,
        };
        Self::to_the_end(async move {
            let ended = store.transact(Self::permit(), move |tx| {
                let count = match users {
                    Some(users) => edit_in(tx, users, &account, |tx, record| {
                        raise_epoch(tx, record, except.as_deref())
                    })?,
                    None => sessions::end_all(tx, &account, except.as_deref())?,
                };
                let entry = AuditEntry {
                    time_ms: now_ms,
                    action: "session.end_all".to_owned(),
                    account: account.clone(),
                    name,
                    target: account,
                    address,
                    detail: serde_json::json!({ "count": count }),
                    ..AuditEntry::default()
                };
                audit::append(tx, &entry)?;
                Ok::<usize, Decline<PodError>>(count)
            });
            ended.await.map_err(PodError::from)
        })
        .await
    }

    /// Removes sessions that are over, a bounded number of them; the next call goes on there.
    pub(crate) async fn sweep_sessions(&self) -> Result<(), PodError> {
        let (now_ms, idle_ms) = (self.inner.clock.now_unix_ms(), self.idle_ms());
        for _ in 0..SWEPT_MAX {
            let after = self.inner.session_memory.swept.lock().clone();
            let swept = self.inner.store.transact(Self::permit(), move |tx| {
                let after = after.as_deref();
                let next = sessions::sweep(tx, after, now_ms, idle_ms, SWEPT_AT_ONCE)?;
                Ok::<_, Decline<PodError>>(next)
            });
            let next = swept.await.map_err(PodError::from)?;
            let over = next.is_none();
            *self.inner.session_memory.swept.lock() = next;
            if over {
                break;
            }
        }
        Ok(())
    }
}

/// Ends whatever goes on of an account, but the session `kept`: also what has no record here, as
/// `CouchDB`'s cookie, feeds, and a sign-in that is under way. How many sessions ended.
pub(crate) fn raise_epoch(
    tx: &mut Transaction<'_>,
    record: &mut AccountRecord,
    kept: Option<&str>,
) -> Result<usize, Decline<PodError>> {
    record.epoch += 1;
    Ok(sessions::end_others(tx, &record.id, kept, record.epoch)?)
}

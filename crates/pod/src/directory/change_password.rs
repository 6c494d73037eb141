//! Changing one's password, and proving that it is oneself who does something that cannot be undone.

use std::sync::Arc;

use adea_accounts::{StoredCredential, audit, directory, sessions};
use adea_mail::Kind;
use serde_json::json;

use super::AccountError;
use super::edit::{edit_in, refuse};
use super::letters::notify;
use super::life::hex;
use super::recover::{Expected, set_credential};
use crate::apps::Actor;
use crate::begin_session::raise_epoch;
use crate::error::PodError;
use crate::pod::Pod;

/// How young a session must be to do without the password, in milliseconds.
const FRESH_MS: u64 = 10 * 60_000;

impl Pod {
    /// Sets a new password for the caller and ends all his sessions but the one that he asks with.
    /// Who has no password yet proves himself by a session that is fresh.
    ///
    /// # Errors
    /// [`AccountError::WrongPassword`], [`AccountError::NotFresh`], [`AccountError::NoAccount`];
    /// [`PodError::WeakPassword`] if the new one is not as it must be.
    pub async fn change_password(
        &self,
        old: Option<&str>,
        new: String,
        by: Actor,
    ) -> Result<(), PodError> {
        self.check_new_password(&new)?;
        let account = own_account(&by)?;
        let expected = self.proved_credential(&account, old, &by).await?;
        let credential = self.hash_password_slowly(new).await?;
        let (ground, pod) = (self.ground()?, self.clone());
        Self::to_the_end(async move {
            let changed = pod.inner.store.transact(Self::permit(), move |tx| {
                // It may be called otherwise by now.
                let record = directory::live(tx, ground.users, &account)?;
                let record = record.ok_or_else(|| refuse(AccountError::Missing))?;
                let expected = Expected::Same(expected.as_deref());
                let name = &record.name;
                let released = set_credential(tx, &ground, name, expected, &credential)?;
                edit_in(tx, ground.users, &account, |tx, record| {
                    record.password_fingerprint = Some(hex(credential.fingerprint()));
                    // Who signs in with the old one at this moment is refused.
                    raise_epoch(tx, record, by.caller.session())?;
                    let (entropy, kind) = (&ground.entropy, Kind::PasswordChanged);
                    notify(tx, entropy, ground.now_ms, record, kind, json!({}));
                    Ok(())
                })?;
                let entry = by.entry("account.change_password", &account, "", ground.now_ms);
                audit::append(tx, &entry)?;
                Ok(released)
            });
            let released = changed.await.map_err(PodError::from)?;
            pod.release_files(released).await;
            Ok(())
        })
        .await
    }

    /// What stands for the password that the caller proves himself by: what is replaced later must be
    /// this still, or nothing still where there is no password.
    async fn proved_credential(
        &self,
        account: &str,
        old: Option<&str>,
        by: &Actor,
    ) -> Result<Option<Arc<StoredCredential>>, PodError> {
        if self.credential_of(account)?.is_none() {
            self.prove_own(None, by).await?;
            return Ok(None);
        }
        let old = old.ok_or(AccountError::WrongPassword)?;
        self.prove_own(Some(old), by).await?;
        // What was proved may have been made stronger by that, or have been replaced meanwhile.
        let stored = self.credential_of(account)?;
        let name = by.caller.name().unwrap_or_default();
        match self.verify_slowly(name, old, stored.clone()).await? {
            true => Ok(stored),
            false => Err(AccountError::Changed.into()),
        }
    }

    /// Makes sure that it is the caller himself who asks, by his password or by a session that was
    /// begun a short while ago.
    ///
    /// # Errors
    /// [`AccountError::WrongPassword`] or [`AccountError::NotFresh`]; [`AccountError::LockedOut`]
    /// if wrong ones were too many.
    pub(crate) async fn prove_own(
        &self,
        password: Option<&str>,
        by: &Actor,
    ) -> Result<(), PodError> {
        let Some(password) = password else {
            return match self.is_fresh(by)? {
                true => Ok(()),
                false => Err(AccountError::NotFresh.into()),
            };
        };
        let name = by.caller.name().unwrap_or_default();
        match self.prove(name, password, by.address).await {
            Ok(_) => Ok(()),
            Err(PodError::Refused(adea_accounts::Refusal::Unauthorized(_))) => {
                Err(AccountError::WrongPassword.into())
            }
            Err(error) => Err(error),
        }
    }

    /// As [`Pod::prove_own`], for what would make the account of whoever holds a session his for good. One
    /// that is nobody's has nothing to prove that by. Answers its id.
    ///
    /// # Errors
    /// As [`Pod::prove_own`]; [`AccountError::NoAccount`].
    pub(crate) async fn prove_owner(
        &self,
        password: Option<&str>,
        by: &Actor,
    ) -> Result<String, PodError> {
        let account = own_account(by)?;
        let holder = self.holder(&account)?.ok_or(AccountError::Missing)?;
        if !holder.record.flags.anonymous {
            self.prove_own(password, by).await?;
        }
        Ok(account)
    }

    fn is_fresh(&self, by: &Actor) -> Result<bool, PodError> {
        let Some(id) = by.caller.session() else {
            return Ok(false);
        };
        let now_ms = self.inner.clock.now_unix_ms();
        let found = sessions::find(self.view().as_ref(), id)?;
        Ok(found.is_some_and(|found| now_ms.saturating_sub(found.begun_ms) < FRESH_MS))
    }

    /// What stands for the password of an account.
    fn credential_of(&self, account: &str) -> Result<Option<Arc<StoredCredential>>, PodError> {
        Ok(self
            .principal_of(account)?
            .and_then(|known| known.credential))
    }
}

/// The account of who asks.
pub(crate) fn own_account(by: &Actor) -> Result<String, AccountError> {
    let account = by.caller.account();
    account.map(str::to_owned).ok_or(AccountError::NoAccount)
}

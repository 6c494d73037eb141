//! Changing one's password, and proving that it is oneself who does something that cannot be undone.

use adea_accounts::{audit, sessions};
use adea_mail::Kind;
use serde_json::json;

use super::AccountError;
use super::edit::{edit_in, refuse};
use super::letters::notify;
use super::life::hex;
use super::recover::set_credential;
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
        let holder = self.holder(&account)?.ok_or(AccountError::Missing)?;
        if holder.has_password {
            let old = old.ok_or(AccountError::WrongPassword)?;
            self.prove_own(Some(old), &by).await?;
        } else {
            self.prove_own(None, &by).await?;
        }
        let expected = self.credential_of(&account)?;
        let credential = self.hash_password_slowly(new).await?;
        let (ground, pod) = (self.ground()?, self.clone());
        Self::to_the_end(async move {
            let changed = pod.inner.store.transact(Self::permit(), move |tx| {
                let name = &holder.record.name;
                let expected = expected.as_deref();
                let released = set_credential(tx, &ground, name, expected, &credential)?;
                edit_in(tx, ground.users, &account, |tx, record| {
                    // It was the old password of another epoch that was proved.
                    if record.epoch != holder.record.epoch {
                        return Err(refuse(AccountError::Changed));
                    }
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

    fn is_fresh(&self, by: &Actor) -> Result<bool, PodError> {
        let Some(id) = by.caller.session() else {
            return Ok(false);
        };
        let now_ms = self.inner.clock.now_unix_ms();
        let found = sessions::find(self.view().as_ref(), id)?;
        Ok(found.is_some_and(|found| now_ms.saturating_sub(found.begun_ms) < FRESH_MS))
    }

    /// What stands for the password of an account.
    fn credential_of(
        &self,
        account: &str,
    ) -> Result<Option<std::sync::Arc<adea_accounts::StoredCredential>>, PodError> {
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

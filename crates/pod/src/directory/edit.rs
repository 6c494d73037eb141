//! Changing the record of an account, whole and in one transaction.

use adea_accounts::directory::{self, AccountRecord, Alias};
use adea_store::{Decline, Transaction};

use super::AccountError;
use crate::error::PodError;
use crate::pod::Pod;

impl Pod {
    /// Reads the record of account `id`, lets `change` change it, and stores it with its aliases, in
    /// one transaction. What `change` answers is answered.
    ///
    /// # Errors
    /// [`AccountError::Missing`] if there is no such account; [`AccountError::AddressTaken`] and its
    /// like if a new alias is another's; what `change` refuses.
    pub async fn edit_account<T: Send + 'static>(
        &self,
        id: &str,
        change: impl FnOnce(&mut Transaction<'_>, &mut AccountRecord) -> Result<T, Decline<PodError>>
        + Send
        + 'static,
    ) -> Result<T, PodError> {
        let (users, id, store) = (
            self.users_number()?.0,
            id.to_owned(),
            self.inner.store.clone(),
        );
        Self::to_the_end(async move {
            let edited = store.transact(Self::permit(), move |tx| edit_in(tx, users, &id, change));
            edited.await.map_err(PodError::from)
        })
        .await
    }
}

/// As [`Pod::edit_account`], in a transaction that does more; `users` is the number of `_users`.
pub(crate) fn edit_in<T>(
    tx: &mut Transaction<'_>,
    users: u64,
    id: &str,
    change: impl FnOnce(&mut Transaction<'_>, &mut AccountRecord) -> Result<T, Decline<PodError>>,
) -> Result<T, Decline<PodError>> {
    let before = directory::live(tx, users, id)?.ok_or_else(|| refuse(AccountError::Missing))?;
    let mut record = before.clone();
    let answer = change(tx, &mut record)?;
    // Whoever has a way in is somebody.
    record.flags.anonymous &= !crate::providers::has_way_in(&record);
    // The first address that is proved lets him in.
    record.flags.pending &= record.verified_address().is_none();
    if record != before {
        put_in(tx, Some(&before), &record)?;
    }
    Ok(answer)
}

/// Stores `record` in place of `before`, if no alias of it is another's.
pub(crate) fn put_in(
    tx: &mut Transaction<'_>,
    before: Option<&AccountRecord>,
    record: &AccountRecord,
) -> Result<(), Decline<PodError>> {
    let called_anew = before.is_none_or(|before| before.name != record.name);
    if called_anew && directory::is_retired(tx, record)? {
        return Err(refuse(AccountError::NameTaken));
    }
    match directory::taken(tx, record)? {
        None => Ok(directory::store(tx, before, record)?),
        Some(Alias::Name) => Err(refuse(AccountError::NameTaken)),
        Some(Alias::Address) => Err(refuse(AccountError::AddressTaken)),
        Some(Alias::Identity) => Err(refuse(AccountError::IdentityTaken)),
        Some(Alias::Passkey) => Err(refuse(AccountError::PasskeyTaken)),
    }
}

pub(crate) fn refuse(error: AccountError) -> Decline<PodError> {
    Decline::Refused(error.into())
}

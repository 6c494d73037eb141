//! Making an account: its record and its document in one transaction.

use adea_accounts::StoredCredential;
use adea_accounts::directory::{AccountRecord, Address, Flags, Ground, Identity, StoredPasskey};
use adea_accounts::names::{lookalike, normal_user_name};
use adea_store::{Decline, Transaction};
use serde_json::{Map, Value};

use super::AccountError;
use super::document::{self, UserDocument, with_users};
use super::edit::{put_in, refuse};
use super::life::hex;
use crate::error::PodError;
use crate::pod::Pod;

/// An account that is to be made. The default is one without anything, which is called by its id.
#[derive(Clone, Debug, Default)]
pub struct NewAccount {
    /// The id, if something was made for it before; else a fresh one.
    pub id: Option<String>,
    /// The name, if one was chosen; else the id is.
    pub name: Option<String>,
    /// An address, verified or not.
    pub address: Option<Address>,
    /// What stands for the password, if there is one.
    pub credential: Option<StoredCredential>,
    /// What administrators, or the way that it was made, decide of it.
    pub flags: Flags,
    /// Plain roles, which only administrators give.
    pub roles: Vec<String>,
    /// The language that mail is written in.
    pub language: Option<String>,
    /// What the user tells of himself.
    pub profile: Map<String, Value>,
    /// The app that it is made in; empty for none.
    pub app: String,
    /// Who it is at another provider.
    pub identity: Option<Identity>,
    /// A passkey that was made for `id`.
    pub passkey: Option<StoredPasskey>,
}

impl Pod {
    /// Makes an account, and answers its id.
    ///
    /// # Errors
    /// [`AccountError::NameTaken`] and its like if something of it is another's;
    /// [`AccountError::Name`] if the name is none.
    pub async fn create_account(&self, new: NewAccount) -> Result<String, PodError> {
        let (ground, store) = (self.ground()?, self.inner.store.clone());
        let new = self.checked(new)?;
        Self::to_the_end(async move {
            let made = store.transact(Self::permit(), move |tx| create_in(tx, &ground, &new));
            Ok(made.await.map_err(PodError::from)?.id)
        })
        .await
    }

    /// Normalises the name, and refuses one that is, or looks like, an administrator's of the
    /// configuration. Whoever calls [`create_in`] does this before.
    pub(crate) fn checked(&self, new: NewAccount) -> Result<NewAccount, PodError> {
        let name = match &new.name {
            None => None,
            Some(name) => Some(self.checked_name(name)?),
        };
        Ok(NewAccount { name, ..new })
    }

    /// The form in which a name is kept that somebody chooses.
    pub(crate) fn checked_name(&self, name: &str) -> Result<String, PodError> {
        let name = normal_user_name(name).map_err(AccountError::Name)?;
        let seen = lookalike(&name);
        let of_admin = self.admins().iter().any(|(own, _)| lookalike(own) == seen);
        if of_admin {
            return Err(AccountError::NameTaken.into());
        }
        Ok(name)
    }
}

/// Makes an account in a transaction that may do more, and answers its record. The name has been
/// through [`Pod::checked`].
pub(crate) fn create_in(
    tx: &mut Transaction<'_>,
    ground: &Ground,
    new: &NewAccount,
) -> Result<AccountRecord, Decline<PodError>> {
    let fresh = || adea_accounts::keys::new_id(&ground.entropy);
    let id = new.id.clone().unwrap_or_else(fresh);
    let name = new.name.clone().unwrap_or_else(|| id.clone());
    let fingerprint = new.credential.as_ref().map(|one| hex(one.fingerprint()));
    let record = AccountRecord {
        lookalike: new.name.as_deref().map(lookalike),
        name,
        users: ground.users,
        addresses: new.address.iter().cloned().collect(),
        profile: new.profile.clone(),
        flags: new.flags,
        language: new.language.clone(),
        created_ms: ground.now_ms,
        password_fingerprint: fingerprint,
        identities: new.identity.iter().cloned().collect(),
        passkeys: new.passkey.iter().cloned().collect(),
        id,
        ..AccountRecord::default()
    };
    let mut body = UserDocument::new_body(&record.name, new.credential.as_ref());
    if let Some(roles) = body.get_mut("roles") {
        *roles = new.roles.clone().into();
    }
    with_users(tx, ground.users, |writer| {
        if document::read(writer, &record.name)?.is_some() {
            return Err(refuse(AccountError::NameTaken));
        }
        document::write(writer, &record.name, None, &[], Some(&body))
    })?;
    put_in(tx, None, &record)?;
    crate::apps::join_in(tx, &record.id, &new.app, ground.now_ms)?;
    Ok(record)
}

//! What a user changes of his own account: his profile, his language, his name and his addresses.

use adea_accounts::audit;
use adea_accounts::directory::{self, AccountRecord, Ground};
use adea_accounts::names::{lookalike, normal_address};
use adea_files::Digest;
use adea_mail::Kind;
use adea_store::{Decline, Transaction};
use serde_json::{Map, Value, json};

use super::change_password::own_account;
use super::document::{self, with_users};
use super::edit::{edit_in, put_in, refuse};
use super::letters::{letter, notify};
use super::{ADDRESSES_MAX, AccountError, check_language, check_profile};
use crate::apps::Actor;
use crate::error::PodError;
use crate::limits::LimitKind;
use crate::mail::LinkKind;
use crate::pod::Pod;

/// What is to be changed; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    /// The profile, in place of the one there was.
    pub profile: Option<Map<String, Value>>,
    /// The language of mail; the inner `None` for the server's own.
    pub language: Option<Option<String>>,
    /// Another name.
    pub name: Option<String>,
    /// The verified address that mail goes to.
    pub primary_address: Option<String>,
}

impl Pod {
    /// Changes the account `id`, all of what is asked or nothing.
    ///
    /// # Errors
    /// [`AccountError::NameTaken`], [`AccountError::Name`], [`AccountError::Profile`] and such.
    pub async fn change_profile(
        &self,
        id: &str,
        change: ProfileChange,
        by: Actor,
    ) -> Result<(), PodError> {
        if let Some(profile) = &change.profile {
            check_profile(profile)?;
        }
        check_language(change.language.as_ref().and_then(Option::as_deref))?;
        let primary = change.primary_address.as_deref().map(normal_address);
        let primary = primary.transpose()?;
        let name = match &change.name {
            None => None,
            Some(name) => Some(self.checked_name(name)?),
        };
        let (ground, pod, id) = (self.ground()?, self.clone(), id.to_owned());
        let kept = self.auth().per_user.enabled;
        Self::to_the_end(async move {
            let changed = pod.inner.store.transact(Self::permit(), move |tx| {
                let released = match &name {
                    Some(name) => rename(tx, &ground, &id, name, kept)?,
                    None => Vec::new(),
                };
                edit_in(tx, ground.users, &id, |_, record| {
                    if let Some(profile) = change.profile {
                        record.profile = profile;
                    }
                    if let Some(language) = change.language {
                        record.language = language;
                    }
                    match &primary {
                        Some(primary) => put_first(record, primary),
                        None => Ok(()),
                    }
                })?;
                if name.is_some() {
                    audit::append(tx, &by.entry("account.rename", &id, "", ground.now_ms))?;
                }
                Ok(released)
            });
            let released = changed.await.map_err(PodError::from)?;
            pod.release_files(released).await;
            Ok(())
        })
        .await
    }

    /// Changes the caller's own account. Another name or another first address wants the password, or
    /// a session that is fresh: whoever has found a session must not make the account his.
    ///
    /// # Errors
    /// As [`Pod::change_profile`]; [`AccountError::NotFresh`] and [`AccountError::WrongPassword`].
    pub async fn change_own_profile(
        &self,
        change: ProfileChange,
        password: Option<&str>,
        by: Actor,
    ) -> Result<(), PodError> {
        let account = own_account(&by)?;
        let changes_hands = change.name.is_some() || change.primary_address.is_some();
        if changes_hands || password.is_some() {
            self.prove_owner(password, &by).await?;
        }
        self.change_profile(&account, change, by).await
    }

    /// Adds an address to the caller's account and sends mail to verify it. If somebody else has
    /// verified it, only he is told.
    ///
    /// # Errors
    /// [`AccountError::TooManyAddresses`], [`AccountError::Name`], [`PodError::Limited`];
    /// [`AccountError::NotFresh`] and [`AccountError::WrongPassword`] if he does not prove himself.
    pub async fn add_address(
        &self,
        address: &str,
        password: Option<&str>,
        by: Actor,
    ) -> Result<(), PodError> {
        let address = self.new_address(address)?;
        let account = self.prove_owner(password, &by).await?;
        self.limit(LimitKind::AccountMail, &address.normal)?;
        let (ground, posted) = (self.ground()?, self.posted(LinkKind::Verify, ""));
        let (recover_link, store) = (self.recover_link(""), self.inner.store.clone());
        Self::to_the_end(async move {
            let added = store.transact(Self::permit(), move |tx| {
                let (entropy, now_ms) = (&ground.entropy, ground.now_ms);
                let owner = match directory::find_address(tx, &address.normal)? {
                    Some(id) => directory::live(tx, ground.users, &id)?,
                    None => None,
                };
                let (normal, added) = (address.normal.clone(), address.clone());
                let record = edit_in(tx, ground.users, &account, |_, record| {
                    let known = record.addresses.iter().any(|known| known.normal == normal);
                    if !known && record.addresses.len() >= ADDRESSES_MAX {
                        return Err(refuse(AccountError::TooManyAddresses));
                    }
                    if !known {
                        record.addresses.push(added);
                    }
                    Ok(record.clone())
                })?;
                match owner {
                    // His own, and verified already.
                    Some(owner) if owner.id == account => {}
                    Some(owner) => {
                        let (kind, language) = (Kind::AlreadyRegistered, owner.language.as_deref());
                        let data = json!({"link": recover_link});
                        let mail = letter(kind, &address.address, language, "", data);
                        adea_mail::enqueue(tx, entropy, now_ms, &mail);
                    }
                    None => {
                        posted.send_verification(tx, &ground, &record, &address, "", false);
                    }
                }
                audit::append(tx, &by.entry("account.add_address", &account, "", now_ms))?;
                Ok::<_, Decline<PodError>>(())
            });
            added.await.map_err(PodError::from)
        })
        .await
    }

    /// Takes an address from the caller's account; if it was verified, its owner is told.
    ///
    /// # Errors
    /// [`PodError::Missing`] if it is none of his; [`AccountError::LastAddress`] if nobody could sign
    /// in without it; [`AccountError::NotFresh`] and [`AccountError::WrongPassword`] if he does not prove
    /// himself.
    pub async fn remove_address(
        &self,
        address: &str,
        password: Option<&str>,
        by: Actor,
    ) -> Result<(), PodError> {
        let account = self.prove_owner(password, &by).await?;
        let normal = normal_address(address).map_err(|_| PodError::Missing)?;
        let (ground, store) = (self.ground()?, self.inner.store.clone());
        Self::to_the_end(async move {
            let removed = store.transact(Self::permit(), move |tx| {
                let (entropy, now_ms) = (&ground.entropy, ground.now_ms);
                edit_in(tx, ground.users, &account, |tx, record| {
                    let before = record.clone();
                    record.addresses.retain(|known| known.normal != normal);
                    if record.addresses.len() == before.addresses.len() {
                        return Err(Decline::Refused(PodError::Missing));
                    }
                    // An id is no name that anybody remembers.
                    if record.name == record.id
                        && before.verified_address().is_some()
                        && record.verified_address().is_none()
                    {
                        return Err(refuse(AccountError::LastAddress));
                    }
                    let gone = before.addresses.iter().find(|known| known.normal == normal);
                    if gone.is_some_and(|gone| gone.verified_ms.is_some()) {
                        let now = record.verified_address();
                        let now = now.map_or("", |address| address.address.as_str());
                        let data = json!({ "address": now });
                        notify(tx, entropy, now_ms, &before, Kind::AddressChanged, data);
                    }
                    Ok(())
                })?;
                let entry = by.entry("account.remove_address", &account, "", now_ms);
                audit::append(tx, &entry)?;
                Ok::<_, Decline<PodError>>(())
            });
            removed.await.map_err(PodError::from)
        })
        .await
    }
}

/// Puts the verified address `normal` first.
fn put_first(record: &mut AccountRecord, normal: &str) -> Result<(), Decline<PodError>> {
    let mut addresses = record.addresses.iter();
    let at = addresses
        .position(|known| known.normal == normal && known.verified_ms.is_some())
        .ok_or(Decline::Refused(PodError::Missing))?;
    let address = record.addresses.remove(at);
    record.addresses.insert(0, address);
    Ok(())
}

/// Gives an account another name: its document goes under the new one as it is, and the old one
/// becomes a tombstone, and nobody else's. The id stays, and with it all that belongs to the account.
/// Refused if names are `kept`.
fn rename(
    tx: &mut Transaction<'_>,
    ground: &Ground,
    id: &str,
    name: &str,
    kept: bool,
) -> Result<Vec<Digest>, Decline<PodError>> {
    let before =
        directory::live(tx, ground.users, id)?.ok_or_else(|| refuse(AccountError::Missing))?;
    let mut record = before.clone();
    record.name = name.to_owned();
    record.lookalike = Some(lookalike(name));
    if before.name == name {
        put_in(tx, Some(&before), &record)?;
        return Ok(Vec::new());
    }
    if kept {
        return Err(refuse(AccountError::NameKept));
    }
    directory::retire_name(tx, &before);
    let ((), released) = with_users(tx, ground.users, |writer| {
        let old = document::read(writer, &before.name)?;
        let old = old.ok_or_else(|| refuse(AccountError::Missing))?;
        if document::read(writer, name)?.is_some() {
            return Err(refuse(AccountError::NameTaken));
        }
        let mut body = old.body.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.insert("name".to_owned(), name.into());
        }
        document::write(writer, name, None, old.attachments(), Some(&body))?;
        document::write(writer, &before.name, Some(&old), &[], None)?;
        // A revision that lost would be the account now, under the old name.
        if document::read(writer, &before.name)?.is_some() {
            return Err(refuse(AccountError::Conflicted));
        }
        document::forget_bodies(writer, &before.name)
    })?;
    put_in(tx, Some(&before), &record)?;
    Ok(released)
}

//! Erasing an account: nothing personal is left, and what is others' stays.
//!
//! The document becomes a tombstone, which replicas need, without a body; the bodies of its older
//! revisions and all other branches go for good. Sessions, memberships and joined apps go with the
//! record. Entries of the audit log about him keep ids, and lose his name and the addresses that he
//! came from.

use adea_accounts::audit::{self, AuditEntry};
use adea_accounts::directory::{self, AccountRecord, Ground};
use adea_files::Digest;
use adea_mail::Kind;
use adea_store::{Decline, Transaction};
use serde_json::json;

use super::AccountError;
use super::change_password::own_account;
use super::document::{self, with_users};
use super::edit::refuse;
use super::letters::notify;
use crate::apps::Actor;
use crate::error::PodError;
use crate::pod::Pod;

impl Pod {
    /// Erases the caller's account, who proves himself by his password or by a fresh session.
    ///
    /// # Errors
    /// [`AccountError::WrongPassword`], [`AccountError::NotFresh`], [`AccountError::NoAccount`];
    /// [`AccountError::LastOwner`] if an organisation with other members would be nobody's.
    pub async fn destroy_own(&self, password: Option<&str>, by: Actor) -> Result<(), PodError> {
        let account = own_account(&by)?;
        self.prove_own(password, &by).await?;
        self.erase_account(&account, "account.destroy", by).await
    }

    /// Erases the account `id`, which `by` may do; `action` is what the audit log says of it.
    ///
    /// # Errors
    /// [`AccountError::Missing`]; [`AccountError::LastOwner`].
    pub(crate) async fn erase_account(
        &self,
        id: &str,
        action: &'static str,
        by: Actor,
    ) -> Result<(), PodError> {
        let (ground, pod, id) = (self.ground()?, self.clone(), id.to_owned());
        Self::to_the_end(async move {
            let erased = id.clone();
            let done = pod.inner.store.transact(Self::permit(), move |tx| {
                let (record, released) = erase_in(tx, &ground, &id)?;
                let (entropy, now_ms) = (&ground.entropy, ground.now_ms);
                notify(tx, entropy, now_ms, &record, Kind::Erased, json!({}));
                let mut entry = by.entry(action, &id, "", now_ms);
                if entry.account == id {
                    forget_person(&mut entry);
                }
                audit::append(tx, &entry)?;
                Ok::<_, Decline<PodError>>(released)
            });
            let released = done.await.map_err(PodError::from)?;
            pod.release_files(released).await;
            pod.forget_in_audit(&erased).await
        })
        .await
    }
}

fn forget_person(entry: &mut AuditEntry) {
    entry.name = String::new();
    entry.address = String::new();
}

/// Erases an account in a transaction that may do more. Answers what its record was.
fn erase_in(
    tx: &mut Transaction<'_>,
    ground: &Ground,
    id: &str,
) -> Result<(AccountRecord, Vec<Digest>), Decline<PodError>> {
    let record =
        directory::live(tx, ground.users, id)?.ok_or_else(|| refuse(AccountError::Missing))?;
    if adea_accounts::organisations::is_last_owner(tx, id)? {
        return Err(refuse(AccountError::LastOwner));
    }
    let ((), released) = with_users(tx, ground.users, |writer| {
        document::forget_branches(writer, &record.name)?;
        if let Some(before) = document::read(writer, &record.name)? {
            document::write(writer, &record.name, Some(&before), &[], None)?;
        }
        document::forget_bodies(writer, &record.name)
    })?;
    directory::retire_name(tx, &record);
    directory::erase(tx, &record)?;
    Ok((record, released))
}

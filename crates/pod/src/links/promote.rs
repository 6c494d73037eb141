//! An account that was nobody's becomes somebody's: it keeps its id, its data, its roles and its
//! sessions, and gets a way in.

use adea_accounts::StoredCredential;
use adea_accounts::audit::{self, AuditEntry};
use adea_accounts::directory::{self, AccountRecord, Ground};
use adea_accounts::names::lookalike;
use adea_accounts::put_credential;
use adea_store::{Decline, Transaction};
use serde_json::{Value, json};

use super::LinkError;
use super::mail::{MailStarted, MailWanted};
use crate::directory::AccountError;
use crate::directory::document::{self, with_users};
use crate::directory::edit::{edit_in, refuse};
use crate::directory::life::hex;
use crate::error::PodError;
use crate::pod::Pod;

/// What an account is to get.
#[derive(Clone, Debug, Default)]
pub struct Promoting {
    /// A name.
    pub name: Option<String>,
    /// An address, which is proved by a code in mail.
    pub address: Option<String>,
    /// A password.
    pub password: Option<String>,
    /// The app that it is done in; empty for none.
    pub app: String,
    /// Where the request came from.
    pub from: Option<std::net::IpAddr>,
}

/// What it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promoted {
    /// The name of its document in `_users`.
    pub name: String,
    /// Whether it is somebody's now; if not, it will be when the code was brought.
    pub promoted: bool,
    /// What has to come with the code that was sent to the address.
    pub sent: Option<MailStarted>,
}

impl Pod {
    /// Gives account `id`, which is nobody's, a name and a password, or an address, or all of them.
    ///
    /// # Errors
    /// [`LinkError::NotAnonymous`]; [`LinkError::Incomplete`] if it would be no way in;
    /// [`PodError::WeakPassword`]; [`AccountError::NameTaken`]; [`AccountError::NameKept`]; what the rules for new accounts refuse.
    pub async fn promote(&self, id: &str, wanted: Promoting) -> Result<Promoted, PodError> {
        let holder = self.holder(id)?.ok_or(AccountError::Missing)?;
        if !holder.record.flags.anonymous {
            return Err(LinkError::NotAnonymous.into());
        }
        let complete = match (&wanted.name, &wanted.address, &wanted.password) {
            (None, None, _) | (Some(_), _, None) => false,
            (Some(_), _, Some(_)) | (None, Some(_), _) => true,
        };
        if !complete {
            return Err(LinkError::Incomplete.into());
        }
        if wanted.name.is_some() && self.auth().per_user.enabled {
            return Err(AccountError::NameKept.into());
        }
        let normal = match &wanted.address {
            None => None,
            Some(address) => {
                let normal = adea_accounts::names::normal_address(address);
                Some(normal.map_err(AccountError::Name)?)
            }
        };
        self.admits(normal.as_deref(), &wanted.app)?;
        let mut promoted = Promoted {
            name: holder.record.name.clone(),
            promoted: false,
            sent: None,
        };
        if let Some(password) = &wanted.password {
            self.check_new_password(password)?;
            let credential = self.hash_password_slowly(password.clone()).await?;
            let name = match &wanted.name {
                None => None,
                Some(name) => Some(self.checked_name(name)?),
            };
            (promoted.name, promoted.promoted) = self
                .give_password(id, name, credential, wanted.from)
                .await?;
        }
        if let Some(address) = &wanted.address {
            let sent = self
                .send_proof(address, MailWanted::Code, &wanted.app, id)
                .await?;
            promoted.sent = Some(sent);
        }
        Ok(promoted)
    }

    async fn give_password(
        &self,
        id: &str,
        name: Option<String>,
        credential: StoredCredential,
        from: Option<std::net::IpAddr>,
    ) -> Result<(String, bool), PodError> {
        let (ground, pod, id) = (self.ground()?, self.clone(), id.to_owned());
        Self::to_the_end(async move {
            let store = pod.inner.store.clone();
            let given = store.transact(Self::permit(), move |tx| {
                let mut files = Vec::new();
                let (users, promoted) = (ground.users, name.is_some());
                let called = edit_in(tx, users, &id, |tx, record| {
                    if !record.flags.anonymous {
                        return Err(Decline::Refused(LinkError::NotAnonymous.into()));
                    }
                    record.flags.anonymous = !promoted;
                    files = rewrite(tx, record, name.as_deref(), &credential)?;
                    Ok(record.name.clone())
                })?;
                note(tx, &ground, &id, &called, from)?;
                Ok((called, promoted, files))
            });
            let (called, promoted, files) = given.await.map_err(PodError::from)?;
            pod.release_files(files).await;
            Ok((called, promoted))
        })
        .await
    }
}

/// Gives the document of `record` another name, if there is one, and a password.
fn rewrite(
    tx: &mut Transaction<'_>,
    record: &mut AccountRecord,
    name: Option<&str>,
    credential: &StoredCredential,
) -> Result<Vec<adea_files::Digest>, Decline<PodError>> {
    let old = record.name.clone();
    if name.is_some() {
        directory::retire_name(tx, record);
    }
    let new = name.unwrap_or(&old).to_owned();
    let ((), files) = with_users(tx, record.users, |writer| {
        let missing = || refuse(AccountError::Missing);
        let before = document::read(writer, &old)?.ok_or_else(missing)?;
        let mut body = before.body.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.insert("name".to_owned(), Value::String(new.clone()));
        }
        put_credential(&mut body, credential);
        let kept = before.attachments();
        if new == old {
            document::write(writer, &old, Some(&before), kept, Some(&body))?;
            return Ok(());
        }
        if document::read(writer, &new)?.is_some() {
            return Err(refuse(AccountError::NameTaken));
        }
        document::write(writer, &new, None, kept, Some(&body))?;
        document::write(writer, &old, Some(&before), &[], None)?;
        Ok(())
    })?;
    record.lookalike = name.map(lookalike).or(record.lookalike.take());
    record.name = new;
    record.password_fingerprint = Some(hex(credential.fingerprint()));
    Ok(files)
}

fn note(
    tx: &mut Transaction<'_>,
    ground: &Ground,
    id: &str,
    name: &str,
    from: Option<std::net::IpAddr>,
) -> Result<(), Decline<PodError>> {
    let entry = AuditEntry {
        time_ms: ground.now_ms,
        action: "account.promote".to_owned(),
        account: id.to_owned(),
        name: name.to_owned(),
        target: id.to_owned(),
        address: from.map(|from| from.to_string()).unwrap_or_default(),
        detail: json!({"by": "password"}),
        ..AuditEntry::default()
    };
    Ok(audit::append(tx, &entry)?)
}

//! Recovering an account whose password is lost: a link by mail, and a new password.
//!
//! Asking is answered the same for every address. Mail goes to the owner of a verified address; to
//! another address it goes, saying that there is no account, only where everybody with that address
//! could sign up: there a stranger may cause as much mail to it anyway, and where nobody may sign up
//! the server does not write to whomever a stranger names.

use adea_accounts::directory::{self, Ground};
use adea_accounts::one_time::{self, Purpose};
use adea_accounts::{StoredCredential, audit, put_credential, sessions};
use adea_files::Digest;
use adea_mail::Kind;
use adea_store::{Decline, Transaction};
use serde_json::{Value, json};

use super::AccountError;
use super::document::{self, UserDocument, with_users};
use super::edit::{edit_in, refuse};
use super::letters::{letter, notify};
use super::life::hex;
use super::sign_up::is_listed;
use crate::apps::Actor;
use crate::error::PodError;
use crate::limits::LimitKind;
use crate::mail::LinkKind;
use crate::pod::Pod;
use crate::settings::SignUpMode;

impl Pod {
    /// Sends the owner of `address` a link to set a new password with.
    ///
    /// # Errors
    /// [`AccountError::Name`] if it is no address; [`PodError::Limited`].
    pub async fn recover(&self, address: &str, app: &str, by: Actor) -> Result<(), PodError> {
        let address = self.new_address(address)?;
        if !app.is_empty() {
            self.app(app)?;
        }
        self.limit(LimitKind::AccountMail, &address.normal)?;
        let rules = self.sign_up_rules(app);
        let stranger = match rules.mode {
            SignUpMode::Open => true,
            SignUpMode::Listed => is_listed(&rules, &address.normal),
            SignUpMode::Invited | SignUpMode::Closed => false,
        };
        let words = self.app_in_mail(&address.address, app)?;
        let (ground, posted) = (self.ground()?, self.posted(LinkKind::Recover, &words));
        let (app, store) = (app.to_owned(), self.inner.store.clone());
        Self::to_the_end(async move {
            let asked = store.transact(Self::permit(), move |tx| {
                let owner = match directory::find_address(tx, &address.normal)? {
                    Some(id) => directory::live(tx, ground.users, &id)?,
                    None => None,
                };
                let owner = owner.filter(|owner| !owner.flags.keep_out());
                let (entropy, now_ms) = (&ground.entropy, ground.now_ms);
                let mut target = "";
                if let Some(owner) = &owner {
                    target = &owner.id;
                    posted.send_recovery(tx, entropy, now_ms, owner, &address.address, &words);
                } else if stranger {
                    // Who has no account has joined no app.
                    let mail = letter(Kind::NoAccount, &address.address, None, "", json!({}));
                    adea_mail::enqueue(tx, entropy, now_ms, &mail);
                }
                audit::append(tx, &by.entry("account.recover", target, &app, now_ms))?;
                Ok::<_, Decline<PodError>>(())
            });
            asked.await.map_err(PodError::from)
        })
        .await
    }

    /// Sets a new password with the secret of a link, and ends all sessions. Answers the id of the
    /// account.
    ///
    /// # Errors
    /// [`AccountError::Spent`] if the secret is good for nothing, any more or at all;
    /// [`PodError::WeakPassword`] if the password is not as it must be.
    pub async fn reset_password(
        &self,
        secret: &str,
        password: String,
        by: Actor,
    ) -> Result<String, PodError> {
        self.check_new_password(&password)?;
        if !one_time::is_secret(secret) {
            return Err(AccountError::Spent.into());
        }
        let now_ms = self.inner.clock.now_unix_ms();
        let found = one_time::look(self.view().as_ref(), secret, Purpose::Reset, now_ms)?;
        // Nothing slow is done for what is no secret.
        found.ok_or(AccountError::Spent)?;
        let credential = self.hash_password_slowly(password).await?;
        let (ground, secret) = (self.ground()?, secret.to_owned());
        let pod = self.clone();
        Self::to_the_end(async move {
            let set = pod.inner.store.transact(Self::permit(), move |tx| {
                reset(tx, &ground, &secret, &credential, &by)
            });
            let (account, released) = set.await.map_err(PodError::from)?;
            pod.release_files(released).await;
            Ok(account)
        })
        .await
    }
}

fn reset(
    tx: &mut Transaction<'_>,
    ground: &Ground,
    secret: &str,
    credential: &StoredCredential,
    by: &Actor,
) -> Result<(String, Vec<Digest>), Decline<PodError>> {
    let spent = || refuse(AccountError::Spent);
    let now_ms = ground.now_ms;
    let found = one_time::take(tx, secret, Purpose::Reset, now_ms)?.ok_or_else(spent)?;
    let record = directory::live(tx, ground.users, &found.account)?.ok_or_else(spent)?;
    let was = found.data.get("password").and_then(Value::as_str);
    let epoch = found.data.get("epoch").and_then(Value::as_u64);
    if was != record.password_fingerprint.as_deref() || epoch != Some(record.epoch) {
        return Err(spent());
    }
    let released = set_credential(tx, ground, &record.name, Expected::Any, credential)?;
    edit_in(tx, ground.users, &record.id, |tx, record| {
        record.password_fingerprint = Some(hex(credential.fingerprint()));
        record.epoch += 1;
        sessions::end_all(tx, &record.id, None)?;
        let (entropy, kind) = (&ground.entropy, Kind::PasswordChanged);
        notify(tx, entropy, now_ms, record, kind, json!({}));
        Ok(())
    })?;
    let entry = by.entry("account.reset_password", &record.id, &found.app, now_ms);
    audit::append(tx, &entry)?;
    Ok((record.id, released))
}

/// What must stand for the password still when another one is set.
#[derive(Clone, Copy)]
pub(crate) enum Expected<'a> {
    /// Anything: a secret of its own allows it.
    Any,
    /// This, or nothing, as it was when who asks proved himself.
    Same(Option<&'a StoredCredential>),
}

/// Puts `credential` into the document of `name`, if what stands there is what is `expected`.
pub(crate) fn set_credential(
    tx: &mut Transaction<'_>,
    ground: &Ground,
    name: &str,
    expected: Expected<'_>,
    credential: &StoredCredential,
) -> Result<Vec<Digest>, Decline<PodError>> {
    let ((), released) = with_users(tx, ground.users, |writer| {
        let before: UserDocument =
            document::read(writer, name)?.ok_or_else(|| refuse(AccountError::Missing))?;
        if let Expected::Same(expected) = expected
            && before.credential().as_ref() != expected
        {
            return Err(refuse(AccountError::Changed));
        }
        let mut body = before.body.clone();
        put_credential(&mut body, credential);
        document::write(
            writer,
            name,
            Some(&before),
            before.attachments(),
            Some(&body),
        )?;
        Ok(())
    })?;
    Ok(released)
}

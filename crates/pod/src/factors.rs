//! The second factor and passkeys: made, used and removed.
//!
//! What a factor is and when it fits is decided in `adea_accounts` (`passkeys`, `totp`,
//! `recovery_codes`, `second_step`); here is the order of steps. A passkey signs in by itself, since
//! the device has verified its user. Digits and recovery codes are asked for besides another way in
//! (`second_step.rs`).
//!
//! Invariants: whoever adds a factor has proved just now who he is; every change is in the audit log
//! and told by mail, in the same commit; whatever is answered to a challenge uses it up.

mod passkeys;
mod second_step;
mod sign_up;
mod totp;

use std::net::IpAddr;

use adea_accounts::audit::{self, AuditEntry};
use adea_accounts::directory::{AccountRecord, Ground};
use adea_accounts::passkeys::PasskeyError;
use adea_accounts::{Attempt, sessions};
use adea_base::Caller;
use adea_mail::{Kind, Outgoing, enqueue};
use adea_store::{EngineError, Transaction};
use serde_json::{Value, json};

pub use passkeys::{PasskeyChallenge, ShownPasskey};
pub use second_step::SecondAnswer;
pub use totp::NewTotp;

use crate::begin_session::raise_epoch;
use crate::directory::Holder;
use crate::directory::life::actor;
use crate::error::PodError;
use crate::pod::Pod;

/// For how long after its beginning a session proves that its user is there, in milliseconds.
const FRESH_MS: u64 = 600_000;

/// Why a use case here ended without doing what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactorError {
    /// The session is too old to change how its user signs in.
    #[error("Sign in again to do this, or send the password.")]
    NotFresh,
    /// The session is too old to do by the password alone what the second factor is for.
    #[error("Sign in again with the second factor, or send one of its codes where one is taken.")]
    WantsCode,
    /// Administrators of the configuration, and holders of others' tokens, have no record.
    #[error("Only accounts of this server have passkeys and second factors.")]
    NoAccount,
    /// A continuation was used, has expired, or never was.
    #[error("This was answered before, or too late. Begin again.")]
    Expired,
    /// Digits or a recovery code that are wrong, or were used before.
    #[error("The code is wrong, or was used before.")]
    WrongCode,
    /// What a passkey answered is not accepted, when somebody signs in with it.
    #[error(transparent)]
    Passkey(#[from] PasskeyError),
    /// What a device made is not accepted as a new passkey.
    #[error("{0}")]
    NotMade(PasskeyError),
    /// The account has as many passkeys as it may.
    #[error(
        "An account has at most {} passkeys.",
        adea_accounts::passkeys::PASSKEYS_MAX
    )]
    TooManyPasskeys,
    /// There is no such passkey.
    #[error("There is no such passkey.")]
    NoSuchPasskey,
    /// Without it nobody could sign in any more.
    #[error(
        "This passkey is the only way to sign in. Set a password first, or add another passkey."
    )]
    LastWayIn,
    /// Digits are not asked for.
    #[error("This account has no second factor.")]
    NoTotp,
    /// Digits are asked for already.
    #[error("This account has a second factor already. Remove it first.")]
    HasTotp,
}

/// Who asks for a change of his own factors, and from where.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The account.
    pub account: String,
    /// The session that he asks with, if it is one that this server keeps.
    pub session: Option<String>,
    /// Where the request came from.
    pub address: IpAddr,
}

/// What is written down of a change: in the audit log, and in a mail to whom it concerns.
struct Notice<'n> {
    /// The word for the audit log.
    action: &'n str,
    /// The id of the account that did it.
    by: &'n str,
    /// The name of it.
    name: &'n str,
    /// Where the request came from.
    address: IpAddr,
    /// The app that it happened in; empty for none.
    app: &'n str,
    /// Whatever else there is to say; never a secret.
    detail: Value,
    /// What the user is told; nothing if empty.
    told: &'n str,
}

impl<'n> Notice<'n> {
    /// Of what a user changes of his own.
    fn own(
        action: &'n str,
        record: &'n AccountRecord,
        who: &Asking,
        detail: Value,
        told: &'n str,
    ) -> Self {
        Self {
            action,
            by: &record.id,
            name: &record.name,
            address: who.address,
            app: "",
            detail,
            told,
        }
    }
}

impl Pod {
    /// What `holder` has to bring besides the first factor; nothing if it is empty.
    #[must_use]
    pub fn second_factor(&self, holder: &Holder) -> Vec<&'static str> {
        adea_accounts::second_step::wanted(&holder.record, holder.document_wants_digits)
    }

    /// The account of who asks.
    fn asking(&self, who: &Asking) -> Result<Holder, PodError> {
        let holder = self.holder(&who.account)?;
        holder.ok_or_else(|| FactorError::NoAccount.into())
    }

    /// Makes sure that the user himself is there: his session is young, or he knows the password. Where digits
    /// are asked for, the password does not stand for them: whoever has read it would make himself recovery
    /// codes or a passkey with a session that he has found open.
    async fn require_fresh(
        &self,
        who: &Asking,
        holder: &Holder,
        password: Option<&str>,
    ) -> Result<(), PodError> {
        if let Some(password) = password {
            if holder.record.totp.is_some() && !self.session_is_fresh(who)? {
                return Err(FactorError::WantsCode.into());
            }
            return self.require_password(who, holder, password).await;
        }
        match self.session_is_fresh(who)? {
            true => Ok(()),
            false => Err(FactorError::NotFresh.into()),
        }
    }

    /// Whether the session of who asks has begun just now.
    fn session_is_fresh(&self, who: &Asking) -> Result<bool, PodError> {
        let session = match &who.session {
            Some(id) => sessions::find(self.view().as_ref(), id)?,
            None => None,
        };
        let now_ms = self.inner.clock.now_unix_ms();
        Ok(session.is_some_and(|session| {
            session.account == who.account && now_ms.abs_diff(session.begun_ms) < FRESH_MS
        }))
    }

    async fn require_password(
        &self,
        who: &Asking,
        holder: &Holder,
        password: &str,
    ) -> Result<(), PodError> {
        let name = &holder.record.name;
        let proved = self.prove_password(name, password, who.address).await?;
        match proved.account == who.account {
            true => Ok(()),
            false => Err(FactorError::NotFresh.into()),
        }
    }

    /// Under which guesses at a factor of `record` are counted: the same as guesses at its password
    /// by its name.
    fn guess(&self, record: &AccountRecord, address: IpAddr) -> Result<Attempt, PodError> {
        let known = self.principal_of(&record.id)?;
        let credential = known.and_then(|known| known.credential);
        Ok(Attempt::new(address, &record.name, credential.as_deref()))
    }

    /// Writes down a change of the factors of `record`.
    fn note(
        tx: &mut Transaction<'_>,
        ground: &Ground,
        record: &AccountRecord,
        notice: &Notice<'_>,
    ) -> Result<(), EngineError> {
        let entry = AuditEntry {
            time_ms: ground.now_ms,
            action: notice.action.to_owned(),
            account: notice.by.to_owned(),
            name: notice.name.to_owned(),
            target: record.id.clone(),
            address: notice.address.to_string(),
            app: notice.app.to_owned(),
            detail: notice.detail.clone(),
        };
        audit::append(tx, &entry)?;
        let Some(address) = record
            .verified_address()
            .filter(|_| !notice.told.is_empty())
        else {
            return Ok(());
        };
        let mail = Outgoing {
            kind: Kind::FactorChanged,
            to: address.address.clone(),
            language: record.language.clone().unwrap_or_default(),
            app: notice.app.to_owned(),
            data: json!({"what": notice.told, "change": notice.action}),
        };
        enqueue(tx, &ground.entropy, ground.now_ms, &mail);
        Ok(())
    }

    /// Removes all factors and passkeys of account `id`, for a user who has lost them. What its
    /// document in `_users` asks for stays.
    ///
    /// # Errors
    /// [`PodError::Account`] if there is no such account.
    pub async fn remove_factors(
        &self,
        id: &str,
        by: &Caller,
        address: IpAddr,
    ) -> Result<(), PodError> {
        let ground = self.ground()?;
        let (account, name) = (actor(by), by.name().unwrap_or("").to_owned());
        let session = by.session().map(str::to_owned);
        self.edit_account(id, move |tx, record| {
            let removed = json!({
                "totp": record.totp.is_some(),
                "recovery_codes": record.recovery_codes.len(),
                "passkeys": record.passkeys.len(),
            });
            totp::forget(record);
            record.passkeys.clear();
            raise_epoch(tx, record, session.as_deref())?;
            let notice = Notice {
                action: "factor.reset",
                by: &account,
                name: &name,
                address,
                app: "",
                detail: removed,
                told: "An administrator removed all passkeys and second factors",
            };
            Ok(Self::note(tx, &ground, record, &notice)?)
        })
        .await
    }
}

#[cfg(test)]
mod tests;

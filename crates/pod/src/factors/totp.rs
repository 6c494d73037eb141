//! Digits by time, and the recovery codes that go with them.
//!
//! A key is made, shown once, and kept aside until its user has sent digits of it; only then is it
//! asked for. Wrong digits count as wrong passwords do.

use adea_accounts::directory::AccountRecord;
use adea_accounts::one_time::{self, OneTime, Purpose};
use adea_accounts::second_step::{self, Given};
use adea_accounts::{Attempt, Totp, new_totp_key, otpauth_url, recovery_codes};

use serde_json::{Value, json};

use super::{Asking, FactorError, Notice};
use crate::begin_session::raise_epoch;
use crate::error::PodError;
use crate::pod::Pod;
use crate::sign_in::locked_out;

/// For how long a key may be confirmed, in milliseconds.
const CONFIRM_MS: u64 = 900_000;
/// Where the key stands among what is kept.
const KEY: &str = "key";

/// A key that is shown once.
#[derive(Clone, Debug)]
pub struct NewTotp {
    /// The key, in Base32.
    pub secret: String,
    /// What a device scans.
    pub otpauth_url: String,
}

impl Pod {
    /// Makes a key for digits, to be confirmed.
    ///
    /// # Errors
    /// [`FactorError::NotFresh`] if the session is old and the password was not sent;
    /// [`FactorError::HasTotp`].
    pub async fn start_totp(
        &self,
        who: &Asking,
        password: Option<&str>,
    ) -> Result<NewTotp, PodError> {
        let holder = self.asking(who)?;
        if holder.record.totp.is_some() {
            return Err(FactorError::HasTotp.into());
        }
        self.require_fresh(who, &holder, password).await?;
        let secret = new_totp_key(&self.inner.entropy);
        let kept = OneTime {
            purpose: Purpose::Totp,
            account: who.account.clone(),
            app: String::new(),
            expires_ms: self.inner.clock.now_unix_ms() + CONFIRM_MS,
            data: json!({KEY: secret}),
        };
        let place = kept_under(&who.account);
        self.edit_account(&who.account, move |tx, _| {
            one_time::issue(tx, &place, &kept);
            Ok(())
        })
        .await?;
        let name = &holder.record.name;
        Ok(NewTotp {
            otpauth_url: otpauth_url(&self.issuer(), name, &secret),
            secret,
        })
    }

    /// From now on digits are asked for: the user has shown that his device makes them. The recovery
    /// codes are answered, this once.
    ///
    /// # Errors
    /// [`FactorError::Expired`] if no key waits; [`FactorError::WrongCode`].
    pub async fn confirm_totp(&self, who: &Asking, digits: &str) -> Result<Vec<String>, PodError> {
        self.asking(who)?;
        let (shown, hashes) = recovery_codes::make(&self.inner.entropy);
        let (ground, who, digits) = (self.ground()?, who.clone(), digits.to_owned());
        let place = kept_under(&who.account);
        let own = who.account.clone();
        let confirmed = self.edit_account(&own, move |tx, record| {
            let kept = one_time::take(tx, &place, Purpose::Totp, ground.now_ms)?;
            let Some(mut kept) = kept.filter(|_| record.totp.is_none()) else {
                return Ok(Err(FactorError::Expired));
            };
            let key = kept.data.get(KEY).and_then(Value::as_str).unwrap_or("");
            let step = Totp::from_key(key).step_of(&digits, ground.now_ms / 1000, 0);
            let Some(step) = step else {
                if second_step::may_try_again(&mut kept) {
                    one_time::issue(tx, &place, &kept);
                }
                return Ok(Err(FactorError::WrongCode));
            };
            record.totp = Some(key.to_owned());
            record.totp_step = step;
            record.recovery_codes = hashes;
            // Others who are signed in have not proved it.
            raise_epoch(tx, record, who.session.as_deref())?;
            let told = "A second factor was added";
            let notice = Notice::own("totp.add", record, &who, Value::Null, told);
            Self::note(tx, &ground, record, &notice)?;
            Ok(Ok(()))
        });
        confirmed.await??;
        Ok(shown)
    }

    /// Digits are no more asked for. Who sends no code has signed in just now, which took one, and knows the
    /// password: a session that somebody else has found open, or a password that he has read, is not enough.
    ///
    /// # Errors
    /// [`FactorError::NoTotp`]; [`FactorError::WrongCode`]; [`FactorError::WantsCode`] if no code is sent and
    /// the session is old; or as for a wrong password.
    pub async fn remove_totp(
        &self,
        who: &Asking,
        code: Option<&str>,
        password: Option<&str>,
    ) -> Result<(), PodError> {
        let holder = self.asking(who)?;
        if holder.record.totp.is_none() {
            return Err(FactorError::NoTotp.into());
        }
        let code = match (code, password) {
            (Some(code), _) => Some(code.to_owned()),
            (None, Some(password)) => {
                self.require_fresh(who, &holder, Some(password)).await?;
                None
            }
            (None, None) => return Err(FactorError::WrongCode.into()),
        };
        let guess = self.guess(&holder.record, who.address)?;
        self.require_open(guess)?;
        let (ground, who) = (self.ground()?, who.clone());
        let own = who.account.clone();
        let removed = self.edit_account(&own, move |tx, record| {
            if let Some(code) = &code
                && !takes(record, code, ground.now_ms)
            {
                return Ok(Err(FactorError::WrongCode));
            }
            forget(record);
            raise_epoch(tx, record, who.session.as_deref())?;
            let told = "The second factor was removed";
            let notice = Notice::own("totp.remove", record, &who, Value::Null, told);
            Self::note(tx, &ground, record, &notice)?;
            Ok(Ok(()))
        });
        let removed = removed.await?;
        if removed.is_err() {
            self.count_failure(Some(guess), &holder.record.name);
        }
        Ok(removed?)
    }

    /// New recovery codes, in place of those that were left.
    ///
    /// # Errors
    /// [`FactorError::NotFresh`] if the session is old and the password was not sent;
    /// [`FactorError::NoTotp`].
    pub async fn renew_recovery_codes(
        &self,
        who: &Asking,
        password: Option<&str>,
    ) -> Result<Vec<String>, PodError> {
        let holder = self.asking(who)?;
        self.require_fresh(who, &holder, password).await?;
        let (shown, hashes) = recovery_codes::make(&self.inner.entropy);
        let (ground, who) = (self.ground()?, who.clone());
        let own = who.account.clone();
        let renewed = self.edit_account(&own, move |tx, record| {
            if record.totp.is_none() {
                return Ok(Err(FactorError::NoTotp));
            }
            record.recovery_codes = hashes;
            let told = "New recovery codes were made";
            let notice = Notice::own("recovery_codes.renew", record, &who, Value::Null, told);
            Self::note(tx, &ground, record, &notice)?;
            Ok(Ok(()))
        });
        renewed.await??;
        Ok(shown)
    }

    /// Takes the digits of the record of account `id`, for a door that knows no second step.
    ///
    /// # Errors
    /// [`PodError::Account`] if there is no such account.
    pub(crate) async fn take_digits(&self, id: &str, digits: &str) -> Result<bool, PodError> {
        let (digits, now_ms) = (digits.to_owned(), self.inner.clock.now_unix_ms());
        self.edit_account(id, move |_, record| {
            let given = Given::Digits(&digits);
            Ok(second_step::accepts(record, None, given, now_ms))
        })
        .await
    }

    /// Refuses a guess from where there were too many.
    pub(super) fn require_open(&self, guess: Attempt) -> Result<(), PodError> {
        match self.is_locked_out(Some(guess)) {
            true => Err(locked_out()),
            false => Ok(()),
        }
    }

    /// What a device shows above digits of this server.
    fn issuer(&self) -> String {
        let auth = self.auth();
        let url = auth.accounts.public_url.as_deref().unwrap_or("");
        let host = url.split("://").nth(1).unwrap_or("");
        let host = host.split(['/', '?', '#', ':']).next().unwrap_or("");
        match host {
            "" => "adea".to_owned(),
            host => host.to_owned(),
        }
    }
}

/// Whether `code`, digits or a recovery code, is what the account asks for; it is used up then.
fn takes(record: &mut AccountRecord, code: &str, now_ms: u64) -> bool {
    let is_digits = code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit());
    let given = match is_digits {
        true => Given::Digits(code),
        false => Given::RecoveryCode(code),
    };
    second_step::accepts(record, None, given, now_ms)
}

/// Removes the key and the codes that go with it. The step stays: nothing is taken twice.
pub(super) fn forget(record: &mut AccountRecord) {
    record.totp = None;
    record.recovery_codes.clear();
}

/// Under which name the key that waits is kept. It is no secret: nothing is taken by it but by who
/// has signed in as this account.
fn kept_under(account: &str) -> String {
    format!("totp:{account}")
}

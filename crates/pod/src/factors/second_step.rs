//! The second step of signing in: what was asked for is brought, with the continuation of the first.
//!
//! Whether it fits, that it is used up, and how many guesses are left is decided in one transaction,
//! so that guesses sent at once are counted one by one.

use std::net::IpAddr;

use adea_accounts::Totp;
use adea_accounts::directory::AccountRecord;
use adea_accounts::one_time::{self, OneTime, Purpose};
use adea_accounts::second_step::{self, Given};
use adea_store::{Decline, Transaction};
use serde_json::{Value, json};

use super::passkeys::{self, Answered};
use super::{FactorError, Ground, Notice};
use crate::begin_session::{Face, Proof, SessionWanted};
use crate::error::PodError;
use crate::limits::LimitKind;
use crate::pod::Pod;

/// What is brought for the second step.
#[derive(Clone, Debug)]
pub enum SecondAnswer {
    /// The digits of a device.
    Digits(String),
    /// A recovery code.
    RecoveryCode(String),
    /// A passkey's answer to a challenge of its own.
    Passkey {
        /// The continuation of that challenge.
        continuation: String,
        /// The answer.
        credential: Value,
    },
}

/// The same, ready for the transaction.
enum Brought {
    Digits(String),
    RecoveryCode(String),
    Passkey {
        challenge: String,
        answered: Answered,
    },
    /// It fits nothing, which counts.
    Nothing,
}

impl Pod {
    /// Ends the second step: who has proved with two factors to be whom, and what session he asked for
    /// when he began.
    ///
    /// # Errors
    /// [`FactorError::Expired`] if the continuation was used, is too old, or was guessed at too
    /// often; [`FactorError::WrongCode`]; [`PodError::Refused`] if there were too many failures.
    pub async fn finish_second_step(
        &self,
        continuation: &str,
        answer: SecondAnswer,
        host: &str,
        address: IpAddr,
    ) -> Result<(Proof, SessionWanted), PodError> {
        let kept = self.kept_step(continuation)?;
        let known = self.principal_of(&kept.account)?;
        let Some((record, document)) = known.and_then(|known| Some((known.record?, known.totp)))
        else {
            return Err(FactorError::Expired.into());
        };
        let guess = self.guess(&record, address)?;
        self.require_open(guess)?;
        self.limit(LimitKind::AccountSignIn, &record.name)?;
        let epoch = second_step::epoch(&kept);
        let (brought, kind) = self.brought(&kept.account, answer, host, address).await?;
        let proof = Proof {
            account: kept.account.clone(),
            method: format!("{}+{kind}", second_step::method(&kept)),
            strong: true,
            epoch,
        };
        let (ground, continuation) = (self.ground()?, continuation.to_owned());
        let done = self.edit_account(&kept.account, move |tx, record| {
            let step = Step {
                ground: &ground,
                continuation: &continuation,
                document: document.as_ref(),
                address,
            };
            step.take(tx, record, brought)
        });
        match done.await? {
            Ok(()) => Ok((proof, wanted(kept, address))),
            Err(error) => {
                if error == FactorError::WrongCode {
                    self.count_failure(Some(guess), &record.name);
                }
                Err(error.into())
            }
        }
    }

    fn kept_step(&self, continuation: &str) -> Result<OneTime, PodError> {
        let now_ms = self.inner.clock.now_unix_ms();
        let view = self.view();
        let kept = one_time::look(view.as_ref(), continuation, Purpose::SecondFactor, now_ms)?;
        kept.ok_or_else(|| FactorError::Expired.into())
    }

    /// Judges what needs arithmetic, and names what was brought.
    async fn brought(
        &self,
        account: &str,
        answer: SecondAnswer,
        host: &str,
        address: IpAddr,
    ) -> Result<(Brought, &'static str), PodError> {
        let (challenge, credential) = match answer {
            SecondAnswer::Digits(digits) => return Ok((Brought::Digits(digits), "totp")),
            SecondAnswer::RecoveryCode(code) => {
                return Ok((Brought::RecoveryCode(code), "recovery_code"));
            }
            SecondAnswer::Passkey {
                continuation,
                credential,
            } => (continuation, credential),
        };
        let judged = self
            .judge_passkey(&challenge, &credential, host, address)
            .await;
        let brought = match judged {
            Ok(answered) if answered.account == account => Brought::Passkey {
                challenge,
                answered,
            },
            Ok(_) | Err(PodError::Factor(FactorError::Passkey(_) | FactorError::Expired)) => {
                Brought::Nothing
            }
            Err(error) => return Err(error),
        };
        Ok((brought, "passkey"))
    }
}

/// The session that was asked for in the first step.
fn wanted(kept: OneTime, address: IpAddr) -> SessionWanted {
    let text = |name: &str| kept.data.get(name).and_then(Value::as_str).unwrap_or("");
    SessionWanted {
        face: Face::called(text("face")).unwrap_or_default(),
        device: text("device").to_owned(),
        app: kept.app,
        address,
    }
}

/// The second step of one sign-in.
struct Step<'s> {
    ground: &'s Ground,
    continuation: &'s str,
    /// What the account's document asks for.
    document: Option<&'s Totp>,
    address: IpAddr,
}

impl Step<'_> {
    fn take(
        &self,
        tx: &mut Transaction<'_>,
        record: &mut AccountRecord,
        brought: Brought,
    ) -> Result<Result<(), FactorError>, Decline<PodError>> {
        let (now_ms, purpose) = (self.ground.now_ms, Purpose::SecondFactor);
        let kept = one_time::take(tx, self.continuation, purpose, now_ms)?;
        // What was proved in the first step holds no more if all sessions have ended since.
        let goes_on = |kept: &OneTime| {
            kept.account == record.id && second_step::epoch(kept) == Some(record.epoch)
        };
        let Some(mut kept) = kept.filter(goes_on) else {
            return Ok(Err(FactorError::Expired));
        };
        let accepts = |record: &mut AccountRecord, given: Given<'_>| {
            second_step::accepts(record, self.document, given, now_ms)
        };
        let fits = match brought {
            Brought::Digits(digits) => {
                if let Some(until_ms) = second_step::closed_until(record, now_ms) {
                    let retry_after_s = until_ms.saturating_sub(now_ms).div_ceil(1000);
                    return Err(Decline::Refused(PodError::Limited { retry_after_s }));
                }
                accepts(record, Given::Digits(&digits))
            }
            Brought::RecoveryCode(code) => {
                let fits = accepts(record, Given::RecoveryCode(&code));
                if fits {
                    self.note_recovery(tx, record)?;
                }
                fits
            }
            Brought::Passkey {
                challenge,
                answered,
            } => {
                passkeys::take(tx, &challenge, now_ms)?;
                answered.apply(record, now_ms)?;
                true
            }
            Brought::Nothing => false,
        };
        if fits {
            return Ok(Ok(()));
        }
        if second_step::may_try_again(&mut kept) {
            one_time::issue(tx, self.continuation, &kept);
        }
        Ok(Err(FactorError::WrongCode))
    }

    /// A code is used by who has lost his device, or by who has found the codes.
    fn note_recovery(
        &self,
        tx: &mut Transaction<'_>,
        record: &AccountRecord,
    ) -> Result<(), Decline<PodError>> {
        let notice = Notice {
            action: "recovery_code.use",
            by: &record.id,
            name: &record.name,
            address: self.address,
            app: "",
            detail: json!({"left": record.recovery_codes.len()}),
            told: "A recovery code was used to sign in",
        };
        Ok(Pod::note(tx, self.ground, record, &notice)?)
    }
}

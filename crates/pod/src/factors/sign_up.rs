//! Signing up with a passkey and no password.
//!
//! The account's id is chosen before there is an account, since the device keeps it with the passkey.
//! Whatever signing up with a password refuses or does not tell is refused and not told here as well:
//! the account is made by the same steps, once the device has answered.

use adea_accounts::directory::StoredPasskey;
use adea_accounts::keys;
use adea_accounts::passkeys::{Ceremony, Started};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::passkeys::take;
use super::{FactorError, PasskeyChallenge};
use crate::apps::Actor;
use crate::directory::{SignUp, SignUpNext};
use crate::error::PodError;
use crate::pod::Pod;

/// What is kept of who signs up until his device has answered.
#[derive(Serialize, Deserialize)]
struct Wanted {
    id: String,
    name: Option<String>,
    address: Option<String>,
    language: Option<String>,
    profile: Map<String, Value>,
    app: String,
    invitation: Option<String>,
}

impl Pod {
    /// Makes a challenge for the first passkey of an account that is to be. Its password is not
    /// looked at.
    ///
    /// # Errors
    /// As [`Pod::sign_up`]; [`FactorError::Passkey`] if there are no passkeys here.
    pub async fn start_passkey_sign_up(
        &self,
        wanted: SignUp,
        host: &str,
    ) -> Result<PasskeyChallenge, PodError> {
        self.check_sign_up(&wanted)?;
        let id = keys::new_id(&self.inner.entropy);
        let name = wanted.name.as_deref().or(wanted.address.as_deref());
        let started = self
            .relying_party(host)?
            .start_registration(&id, name.unwrap_or(&id), &[]);
        let Started { options, state } = started.map_err(FactorError::NotMade)?;
        let wanted = Wanted {
            id: id.clone(),
            name: wanted.name,
            address: wanted.address,
            language: wanted.language,
            profile: wanted.profile,
            app: wanted.app,
            invitation: wanted.invitation,
        };
        let wanted = serde_json::to_value(wanted).unwrap_or_default();
        self.challenge(&id, options, &Ceremony::SignUp { state, wanted })
            .await
    }

    /// Signs somebody up with the passkey that his device has made for the challenge.
    ///
    /// # Errors
    /// As [`Pod::sign_up`]; [`FactorError::Expired`] if the challenge was answered;
    /// [`FactorError::NotMade`] if this does not answer it.
    pub async fn finish_passkey_sign_up(
        &self,
        continuation: &str,
        credential: &Value,
        label: &str,
        host: &str,
        by: Actor,
    ) -> Result<SignUpNext, PodError> {
        let party = self.relying_party(host)?;
        let (_, Ceremony::SignUp { state, wanted }) = self.kept_ceremony(continuation)? else {
            return Err(FactorError::Expired.into());
        };
        let wanted: Wanted =
            serde_json::from_value(wanted).map_err(|_| PodError::from(FactorError::Expired))?;
        let made = match party.finish_registration(&state, credential) {
            Ok(made) => made,
            Err(error) => {
                self.use_up(continuation).await?;
                return Err(FactorError::NotMade(error).into());
            }
        };
        let now_ms = self.inner.clock.now_unix_ms();
        let passkey = StoredPasskey {
            label: label.to_owned(),
            created_ms: now_ms,
            ..made
        };
        let sign_up = SignUp {
            name: wanted.name,
            address: wanted.address,
            password: String::new(),
            language: wanted.language,
            profile: wanted.profile,
            app: wanted.app,
            invitation: wanted.invitation,
        };
        let continuation = continuation.to_owned();
        self.sign_up_with_passkey(sign_up, wanted.id, passkey, by, move |tx| {
            take(tx, &continuation, now_ms)
        })
        .await
    }
}

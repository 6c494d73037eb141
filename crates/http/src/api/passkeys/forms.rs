//! What goes in and comes out of the routes of passkeys and second factors.

use adea_accounts::passkeys::LABEL_CHARS_MAX;
use adea_pod::{NewTotp, PasskeyChallenge, SecondAnswer, ShownPasskey, SignUp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::sessions::{FaceAsked, SessionAsked};
use crate::error::ApiError;

/// Nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NothingAsked {}

/// What proves that the user himself is there, if his session is older than ten minutes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FreshAsked {
    /// The password.
    #[schema(max_length = 1024)]
    pub(crate) password: Option<String>,
}

/// A passkey that a device has made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasskeyMade {
    /// What came with the options.
    #[schema(max_length = 64)]
    pub(crate) continuation: String,
    /// What `navigator.credentials.create` gave, as `toJSON` writes it.
    #[schema(value_type = Object)]
    pub(crate) credential: Value,
    /// What the user calls it; `Passkey` unless it is said.
    #[schema(min_length = 1, max_length = 64)]
    label: Option<String>,
}

impl PasskeyMade {
    /// What the user calls it.
    pub(crate) fn label(&self) -> Result<String, ApiError> {
        label(self.label.as_deref().unwrap_or("Passkey"))
    }
}

/// Another label.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabelAsked {
    /// What the user calls it.
    #[schema(min_length = 1, max_length = 64)]
    label: String,
}

impl LabelAsked {
    /// What the user calls it.
    pub(crate) fn label(&self) -> Result<String, ApiError> {
        label(&self.label)
    }
}

fn label(text: &str) -> Result<String, ApiError> {
    let text = text.trim();
    let fits = (1..=LABEL_CHARS_MAX).contains(&text.chars().count());
    match fits && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(ApiError::Input(format!(
            "`label` must be of 1 to {LABEL_CHARS_MAX} characters, none of them a control character"
        ))),
    }
}

/// Somebody who signs up with a passkey, and no password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasskeySignUp {
    /// The name to sign in with, 1 to 64 characters.
    #[schema(min_length = 1, max_length = 256)]
    name: Option<String>,
    /// An e-mail address; it is needed to recover the account, and signs in once it is verified.
    #[schema(min_length = 3, max_length = 254)]
    email: Option<String>,
    /// The language of mail, as a BCP 47 tag.
    #[schema(min_length = 2, max_length = 35)]
    language: Option<String>,
    /// Whatever the app wants to know of its users: at most 16 kB, 8 levels.
    #[serde(default)]
    profile: Map<String, Value>,
    /// The app to sign up for.
    #[schema(max_length = 63)]
    pub(crate) app: Option<String>,
    /// The secret of an invitation.
    #[schema(min_length = 1, max_length = 256)]
    invitation: Option<String>,
}

impl PasskeySignUp {
    /// What he brings, for `app`.
    pub(crate) fn sign_up(self, app: String) -> SignUp {
        SignUp {
            name: self.name,
            address: self.email,
            password: String::new(),
            language: self.language,
            profile: self.profile,
            app,
            invitation: self.invitation,
        }
    }
}

/// A passkey's answer, for a session.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasskeyLoginAsked {
    /// What came with the options.
    #[schema(max_length = 64)]
    pub(crate) continuation: String,
    /// What `navigator.credentials.get` gave, as `toJSON` writes it.
    #[schema(value_type = Object)]
    pub(crate) credential: Value,
    /// How the session is to prove itself; `bearer` unless it is said.
    face: Option<FaceAsked>,
    /// The app that it is for.
    #[schema(max_length = 63)]
    app: Option<String>,
    /// What the device calls itself; the `User-Agent` unless it is said.
    #[schema(max_length = 256)]
    device: Option<String>,
}

impl PasskeyLoginAsked {
    /// What is said of the session.
    pub(crate) fn session(&self) -> SessionAsked {
        SessionAsked {
            face: self.face,
            app: self.app.clone(),
            device: self.device.clone(),
        }
    }
}

/// A challenge for a device.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChallengeAnswer {
    /// What is to be sent with the answer; good once, for five minutes.
    continuation: String,
    /// What goes into `navigator.credentials.create` or `get`; its member `publicKey` is what
    /// `PublicKeyCredential.parseCreationOptionsFromJSON` and `parseRequestOptionsFromJSON` read.
    #[schema(value_type = Object)]
    options: Value,
}

impl From<PasskeyChallenge> for ChallengeAnswer {
    fn from(made: PasskeyChallenge) -> Self {
        Self {
            continuation: made.continuation,
            options: made.options,
        }
    }
}

/// A passkey of the caller.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PasskeyItem {
    /// What stands for it in a path.
    id: String,
    /// What the user calls it.
    label: String,
    /// When it was made.
    created_ms: u64,
    /// When it was last used; null if never.
    used_ms: Option<u64>,
}

impl From<ShownPasskey> for PasskeyItem {
    fn from(shown: ShownPasskey) -> Self {
        Self {
            id: shown.id,
            label: shown.label,
            created_ms: shown.created_ms,
            used_ms: (shown.used_ms > 0).then_some(shown.used_ms),
        }
    }
}

/// It was done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DoneAnswer {
    /// True.
    ok: bool,
}

impl Default for DoneAnswer {
    fn default() -> Self {
        Self { ok: true }
    }
}

/// A key for digits, which is shown once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TotpAnswer {
    /// The key, in Base32: SHA-1, six digits, thirty seconds.
    secret: String,
    /// What a device scans.
    otpauth_url: String,
}

impl From<NewTotp> for TotpAnswer {
    fn from(made: NewTotp) -> Self {
        Self {
            secret: made.secret,
            otpauth_url: made.otpauth_url,
        }
    }
}

/// Digits that show that the device makes them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DigitsAsked {
    /// The digits.
    #[schema(max_length = 16)]
    pub(crate) code: String,
}

/// What proves that the user himself removes his second factor: a code counts if both are given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TotpRemoval {
    /// Digits of the device, or a recovery code.
    #[schema(max_length = 64)]
    pub(crate) code: Option<String>,
    /// The password.
    #[schema(max_length = 1024)]
    pub(crate) password: Option<String>,
}

/// Codes that let in once each, in place of the device's digits; they are shown once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecoveryCodes {
    /// The codes.
    pub(crate) recovery_codes: Vec<String>,
}

/// The second factor, for the session that the first step asked for. Exactly one of `totp`,
/// `recovery_code` and `passkey` is given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecondAsked {
    /// What the first step answered.
    #[schema(max_length = 64)]
    pub(crate) continuation: String,
    /// The digits of a device.
    #[schema(max_length = 16)]
    totp: Option<String>,
    /// A recovery code.
    #[schema(max_length = 64)]
    recovery_code: Option<String>,
    /// A passkey's answer to a challenge of its own.
    passkey: Option<PasskeyAnswer>,
}

/// A passkey's answer to a challenge.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasskeyAnswer {
    /// What came with the options.
    #[schema(max_length = 64)]
    continuation: String,
    /// What `navigator.credentials.get` gave, as `toJSON` writes it.
    #[schema(value_type = Object)]
    credential: Value,
}

impl SecondAsked {
    /// What is brought.
    pub(crate) fn answer(self) -> Result<(String, SecondAnswer), ApiError> {
        let answer = match (self.totp, self.recovery_code, self.passkey) {
            (Some(digits), None, None) => SecondAnswer::Digits(digits),
            (None, Some(code), None) => SecondAnswer::RecoveryCode(code),
            (None, None, Some(passkey)) => SecondAnswer::Passkey {
                continuation: passkey.continuation,
                credential: passkey.credential,
            },
            _ => {
                return Err(ApiError::Input(
                    "exactly one of `totp`, `recovery_code` and `passkey` must be given".to_owned(),
                ));
            }
        };
        Ok((self.continuation, answer))
    }
}

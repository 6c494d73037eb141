//! What `webauthn-rs` decides: the only file that knows it.
//!
//! Challenges come from that library's own generator, which the operating system seeds.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use webauthn_rs::prelude::{
    DiscoverableAuthentication, Passkey, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Url, Uuid, WebauthnError,
};
use webauthn_rs::{Webauthn, WebauthnBuilder};

use super::{CEREMONY_MS, PasskeyError, RelyingParty, Started};

/// A rule book for one party; making it is a few allocations.
fn rules(party: &RelyingParty) -> Result<Webauthn, PasskeyError> {
    let parsed = party.origins.iter().map(|origin| Url::parse(origin));
    let origins: Vec<Url> = parsed
        .collect::<Result<_, _>>()
        .map_err(|_| PasskeyError::NoHost)?;
    let (first, others) = origins.split_first().ok_or(PasskeyError::NoHost)?;
    let builder = WebauthnBuilder::new(&party.id, first).map_err(|_| PasskeyError::NoHost)?;
    let builder = others.iter().fold(builder, |builder, origin| {
        builder.append_allowed_origin(origin)
    });
    builder
        .rp_name(&party.id)
        .timeout(Duration::from_millis(CEREMONY_MS))
        .build()
        .map_err(|_| PasskeyError::NoHost)
}

pub(super) fn start_registration(
    party: &RelyingParty,
    handle: u128,
    name: &str,
    known: Vec<Vec<u8>>,
) -> Result<Started, PasskeyError> {
    let handle = Uuid::from_u128(handle);
    let (options, state) = rules(party)?
        .start_passkey_registration(handle, name, name, Some(known))
        .map_err(|error| refused(&error))?;
    started(&options, &state)
}

pub(super) fn finish_registration(
    party: &RelyingParty,
    state: &Value,
    credential: &Value,
) -> Result<(Vec<u8>, Value), PasskeyError> {
    let credential: RegisterPublicKeyCredential = parse(credential)?;
    let state: PasskeyRegistration = kept(state)?;
    let passkey = rules(party)?
        .finish_passkey_registration(&credential, &state)
        .map_err(|error| refused(&error))?;
    Ok((passkey.cred_id().clone(), stored(&passkey)?))
}

pub(super) fn start_sign_in(party: &RelyingParty) -> Result<Started, PasskeyError> {
    let (options, state) = rules(party)?
        .start_discoverable_authentication()
        .map_err(|error| refused(&error))?;
    started(&options, &state)
}

pub(super) fn finish_sign_in(
    party: &RelyingParty,
    state: &Value,
    credential: &Value,
    key: &Value,
) -> Result<Option<Value>, PasskeyError> {
    let credential: PublicKeyCredential = parse(credential)?;
    let state: DiscoverableAuthentication = kept(state)?;
    let mut passkey: Passkey = kept(key)?;
    let result = rules(party)?
        .finish_discoverable_authentication_v2(&credential, state, &passkey)
        .map_err(|error| refused(&error))?;
    if !result.user_verified() {
        return Err(PasskeyError::Refused);
    }
    match passkey.update_credential(&result) {
        None => Err(PasskeyError::Refused),
        Some(false) => Ok(None),
        Some(true) => stored(&passkey).map(Some),
    }
}

pub(super) fn claimed(credential: &Value) -> Result<(u128, Vec<u8>), PasskeyError> {
    let credential: PublicKeyCredential = parse(credential)?;
    let handle = credential.get_user_unique_id();
    let handle = handle.and_then(|handle| <[u8; 16]>::try_from(handle).ok());
    let handle = handle.ok_or(PasskeyError::Malformed)?;
    let id = credential.get_credential_id().to_vec();
    Ok((u128::from_be_bytes(handle), id))
}

fn started(options: &impl Serialize, state: &impl Serialize) -> Result<Started, PasskeyError> {
    Ok(Started {
        options: stored(options)?,
        state: stored(state)?,
    })
}

fn stored(value: &impl Serialize) -> Result<Value, PasskeyError> {
    serde_json::to_value(value).map_err(|_| PasskeyError::Malformed)
}

/// What came from outside.
fn parse<T: DeserializeOwned>(value: &Value) -> Result<T, PasskeyError> {
    T::deserialize(value).map_err(|_| PasskeyError::Malformed)
}

/// What was stored here. If it cannot be read, nothing is accepted with it.
fn kept<T: DeserializeOwned>(value: &Value) -> Result<T, PasskeyError> {
    T::deserialize(value).map_err(|_| PasskeyError::Refused)
}

/// What is told of an error: neither which check failed nor what it was compared with.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an enum of the library with dozens of cases"
)]
fn refused(error: &WebauthnError) -> PasskeyError {
    match error {
        WebauthnError::CredentialPossibleCompromise => PasskeyError::Cloned,
        WebauthnError::Configuration => PasskeyError::NoHost,
        WebauthnError::ParseBase64Failure(_)
        | WebauthnError::ParseCBORFailure(_)
        | WebauthnError::ParseJSONFailure(_)
        | WebauthnError::ParseNOMFailure => PasskeyError::Malformed,
        _ => PasskeyError::Refused,
    }
}

//! In place of ceremonies, where the server is built without passkeys.

use serde_json::Value;

use super::{PasskeyError, RelyingParty, Started};

pub(super) fn start_registration(
    _party: &RelyingParty,
    _handle: u128,
    _name: &str,
    _known: Vec<Vec<u8>>,
) -> Result<Started, PasskeyError> {
    Err(PasskeyError::NotBuilt)
}

pub(super) fn finish_registration(
    _party: &RelyingParty,
    _state: &Value,
    _credential: &Value,
) -> Result<(Vec<u8>, Value), PasskeyError> {
    Err(PasskeyError::NotBuilt)
}

pub(super) fn start_sign_in(_party: &RelyingParty) -> Result<Started, PasskeyError> {
    Err(PasskeyError::NotBuilt)
}

pub(super) fn finish_sign_in(
    _party: &RelyingParty,
    _state: &Value,
    _credential: &Value,
    _key: &Value,
) -> Result<Option<Value>, PasskeyError> {
    Err(PasskeyError::NotBuilt)
}

pub(super) fn claimed(_credential: &Value) -> Result<(u128, Vec<u8>), PasskeyError> {
    Err(PasskeyError::NotBuilt)
}

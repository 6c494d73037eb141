//! ID tokens: who a provider says that somebody is, and whether it is really told to us, now, and as the
//! answer to what we asked.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;

use super::{Issuer, Person, address_by, is_subject};
use crate::{KeyKind, PresentedToken, TokenError, TokenKeys};

/// By how many seconds a provider's clock may differ from ours.
const LEEWAY_S: u64 = 60;
/// How old a token may be that was made for a request of a moment ago.
const AGE_MAX_S: u64 = 3_600;

/// What a token must say to be the answer to what was asked.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Who must have made it.
    pub issuer: &'a Issuer,
    /// Whom it must be made for: us.
    pub client_id: &'a str,
    /// What was sent along with the question.
    pub nonce: &'a str,
    /// The access token that came with it.
    pub access_token: &'a str,
    /// Now, in seconds since the Unix epoch.
    pub now_s: u64,
}

/// Why an ID token proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdToken {
    /// It is no token.
    #[error("it is no token")]
    Malformed,
    /// Its algorithm is none, a shared secret's, or unknown.
    #[error("its algorithm is not accepted")]
    Algorithm,
    /// The key that it names is not among those published.
    #[error("its key is not published")]
    UnknownKey,
    /// Its signature is of another key.
    #[error("its signature is wrong")]
    Signature,
    /// Somebody else made it.
    #[error("its issuer is another one")]
    Issuer,
    /// It is made for somebody else.
    #[error("it is for another client")]
    Audience,
    /// It is over.
    #[error("it has expired")]
    Expired,
    /// It was made too long ago, or is not yet.
    #[error("it was not made just now")]
    NotNow,
    /// It answers another question.
    #[error("it answers another question")]
    Nonce,
    /// It names nobody.
    #[error("it names nobody")]
    Subject,
    /// It came with another access token.
    #[error("it came with another access token")]
    AccessToken,
}

/// Who `token` names, if `keys` have signed it and it says all that is `expected`.
///
/// # Errors
/// [`InvalidIdToken`]; on [`InvalidIdToken::UnknownKey`] newer keys may help.
pub fn verify_id_token(
    token: &str,
    keys: &TokenKeys,
    expected: &Expected<'_>,
) -> Result<Person, InvalidIdToken> {
    let presented = PresentedToken::parse(token).map_err(|_| match has_parts(token) {
        true => InvalidIdToken::Algorithm,
        false => InvalidIdToken::Malformed,
    })?;
    // What is published is no secret: whoever could have it taken for one could sign as he likes.
    if presented.key().0 == KeyKind::Hmac {
        return Err(InvalidIdToken::Algorithm);
    }
    let claims = presented.genuine(keys).map_err(|error| match error {
        TokenError::UnknownKey => InvalidIdToken::UnknownKey,
        TokenError::Invalid(_) | TokenError::Refused(_) => InvalidIdToken::Signature,
    })?;
    if !expected.issuer.issued(&claims) {
        return Err(InvalidIdToken::Issuer);
    }
    check_audience(&claims, expected.client_id)?;
    check_time(&claims, expected.now_s)?;
    let nonce = claims.get("nonce").and_then(Value::as_str).unwrap_or("");
    if !bool::from(nonce.as_bytes().ct_eq(expected.nonce.as_bytes())) {
        return Err(InvalidIdToken::Nonce);
    }
    check_access_token(&claims, presented.algorithm(), expected.access_token)?;
    person(&claims, expected.issuer)
}

/// Whether it has at least the form of a token.
fn has_parts(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Whom it is for. A token for several is taken only if it was asked for by us.
fn check_audience(claims: &Map<String, Value>, client_id: &str) -> Result<(), InvalidIdToken> {
    let (named, several) = match claims.get("aud") {
        Some(Value::String(one)) => (one == client_id, false),
        Some(Value::Array(all)) => {
            let named = all.iter().any(|one| one.as_str() == Some(client_id));
            (named, all.len() > 1)
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            (false, false)
        }
    };
    let asked_by_us = match claims.get("azp") {
        None => !several,
        Some(party) => party.as_str() == Some(client_id),
    };
    if named && asked_by_us {
        Ok(())
    } else {
        Err(InvalidIdToken::Audience)
    }
}

fn check_time(claims: &Map<String, Value>, now_s: u64) -> Result<(), InvalidIdToken> {
    let time = |name: &str| claims.get(name).and_then(seconds);
    let expires_s = time("exp").ok_or(InvalidIdToken::Expired)?;
    if expires_s.saturating_add(LEEWAY_S) <= now_s {
        return Err(InvalidIdToken::Expired);
    }
    let made_s = time("iat").ok_or(InvalidIdToken::NotNow)?;
    let latest_s = now_s.saturating_add(LEEWAY_S);
    let not_before_s = match claims.get("nbf") {
        None => 0,
        Some(claim) => seconds(claim).ok_or(InvalidIdToken::NotNow)?,
    };
    let old = made_s.saturating_add(AGE_MAX_S) < now_s;
    if made_s > latest_s || old || not_before_s > latest_s {
        return Err(InvalidIdToken::NotNow);
    }
    Ok(())
}

/// A time in whole seconds; a fraction is cut off.
fn seconds(claim: &Value) -> Option<u64> {
    if let Some(whole) = claim.as_u64() {
        return Some(whole);
    }
    let parts = claim.as_number()?.to_string();
    let (whole, fraction) = parts.split_once('.')?;
    let digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| whole.parse().ok()).flatten()
}

/// Compares the first half of the access token's hash, where the ID token has it.
fn check_access_token(
    claims: &Map<String, Value>,
    algorithm: Algorithm,
    access_token: &str,
) -> Result<(), InvalidIdToken> {
    let Some(claim) = claims.get("at_hash") else {
        return Ok(());
    };
    let bytes = access_token.as_bytes();
    let hash: Vec<u8> = match algorithm {
        Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256 => Sha256::digest(bytes).to_vec(),
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => Sha384::digest(bytes).to_vec(),
        Algorithm::RS512 | Algorithm::PS512 | Algorithm::EdDSA => Sha512::digest(bytes).to_vec(),
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 | _ => {
            return Err(InvalidIdToken::Algorithm);
        }
    };
    let half = hash.get(..hash.len() / 2).unwrap_or_default();
    let expected = URL_SAFE_NO_PAD.encode(half);
    let said = claim.as_str().unwrap_or("");
    if bool::from(said.as_bytes().ct_eq(expected.as_bytes())) {
        Ok(())
    } else {
        Err(InvalidIdToken::AccessToken)
    }
}

fn person(claims: &Map<String, Value>, issuer: &Issuer) -> Result<Person, InvalidIdToken> {
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or("");
    // Ids of one tenant say nothing in another.
    let subject = match claims.get("tid").and_then(Value::as_str) {
        Some(tenant) if issuer.has_tenants() && !subject.is_empty() => {
            format!("{tenant}.{subject}")
        }
        Some(_) | None => subject.to_owned(),
    };
    if !is_subject(&subject) {
        return Err(InvalidIdToken::Subject);
    }
    let (address, address_verified) = address_by(claims, issuer);
    Ok(Person {
        subject,
        address,
        address_verified,
    })
}

#[cfg(test)]
mod tests;

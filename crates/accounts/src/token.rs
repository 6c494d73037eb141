//! Bearer tokens (JSON Web Tokens): who somebody else says that the sender is, and the proof.
//!
//! A token is `header.claims.signature` in base64url. The header names an algorithm and a key; the
//! key is one that the server was given for just this kind of algorithm ([`TokenKeys`]), so that
//! nobody can have a public key taken for a shared secret. Only when the signature fits are the
//! claims looked at: `sub` is the name, [`TokenRules`] say which others must be there, and where
//! the roles stand.
//!
//! The faults and their words are those of `CouchDB`: 400 for what is no token of ours, 401 for one
//! whose time is over or has not come.
//!
//! Invariants: `alg: none` and algorithms that are not listed here are refused; what an attacker
//! can write is bounded before it is read; an `exp` or `nbf` that is there counts, required or not.

mod claims;
mod keys;
mod published;
mod verified;

use std::borrow::Cow;

use adea_base::Caller;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

pub use claims::{ClaimPath, InvalidRequiredClaims, RequiredClaims, TokenRules};
pub use keys::{InvalidTokenKey, KeyKind, TokenKeys};
pub use published::PublishedKeys;
pub use verified::VerifiedTokens;

/// The longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 32 << 10;
/// The longest name of a key.
const KID_BYTES_MAX: usize = 1024;

/// Why a token proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token that this server could accept: 400.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// The key that it names is not known, or not for its algorithm: 400.
    #[error("Unknown kid")]
    UnknownKey,
    /// It is genuine, and not now: 401.
    #[error("{0}")]
    Refused(Cow<'static, str>),
}

/// Whom a token speaks for, once it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHolder {
    /// The name and the roles.
    pub caller: Caller,
    /// When it ends, in seconds since the Unix epoch; never, if it does not say.
    pub expires_s: Option<u64>,
}

/// A token that was taken apart and proves nothing yet.
#[derive(Debug)]
pub struct PresentedToken<'t> {
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    /// Header and claims as they were sent: what is signed.
    message: &'t str,
    claims: &'t str,
    signature: &'t str,
}

impl<'t> PresentedToken<'t> {
    /// Takes a token apart and reads its header.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] if it has not the form of one, or an algorithm that is not accepted.
    pub fn parse(token: &'t str) -> Result<Self, TokenError> {
        const MALFORMED: TokenError = invalid("Malformed token");
        if token.len() > TOKEN_BYTES_MAX {
            return Err(MALFORMED);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, claims) = message.split_once('.').ok_or(MALFORMED)?;
        if claims.contains('.') {
            return Err(MALFORMED);
        }
        let header = object(header)?;
        let text = |name: &str| match header.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(invalid("Malformed token")),
        };
        let algorithm = text("alg")?.ok_or(invalid("Missing alg header parameter"))?;
        let algorithm = algorithm_called(algorithm).ok_or(BAD_ALGORITHM)?;
        // What a header calls critical changes what the signature means; none of it is known here.
        if header.contains_key("crit") {
            return Err(invalid("Invalid crit header parameter"));
        }
        let kid = text("kid")?;
        if kid.is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
            return Err(TokenError::UnknownKey);
        }
        Ok(Self {
            algorithm,
            kid: kid.map(str::to_owned),
            typ: text("typ")?.map(str::to_owned),
            message,
            claims,
            signature,
        })
    }

    /// The name of the key that it says it is signed with, and the key's kind.
    #[must_use]
    pub fn key(&self) -> (KeyKind, Option<&str>) {
        (KeyKind::of(self.algorithm), self.kid.as_deref())
    }

    /// The algorithm that it says it is signed by.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The claims, if one of `keys` has signed them. What they say is for the caller to check.
    ///
    /// # Errors
    /// [`TokenError::UnknownKey`] if the key is not there, [`TokenError::Invalid`] if the signature is
    /// of another.
    pub(crate) fn genuine(&self, keys: &TokenKeys) -> Result<Map<String, Value>, TokenError> {
        let (kind, kid) = self.key();
        if !keys.knows(kind, kid) {
            return Err(TokenError::UnknownKey);
        }
        if !keys.verify(self.algorithm, kid, self.message, self.signature) {
            return Err(invalid("Bad signature"));
        }
        object(self.claims)
    }

    /// Verifies the token at `now_s` with the first of `keys` that knows its key.
    ///
    /// # Errors
    /// [`TokenError`], in `CouchDB`'s words.
    pub fn verify(
        &self,
        keys: &[&TokenKeys],
        rules: &TokenRules,
        now_s: u64,
    ) -> Result<TokenHolder, TokenError> {
        let (kind, kid) = self.key();
        rules.check_header(kid, self.typ.as_deref())?;
        let known = keys
            .iter()
            .find(|keys| keys.knows(kind, kid))
            .ok_or(TokenError::UnknownKey)?;
        if !known.verify(self.algorithm, kid, self.message, self.signature) {
            return Err(invalid(match kind {
                KeyKind::Hmac => "Bad HMAC",
                KeyKind::Rsa | KeyKind::Ec | KeyKind::EdDsa => "Bad signature",
            }));
        }
        rules.read(&object(self.claims)?, now_s)
    }
}

const BAD_ALGORITHM: TokenError = invalid("Invalid alg header parameter");

/// A 400 with a fixed reason.
const fn invalid(reason: &'static str) -> TokenError {
    TokenError::Invalid(Cow::Borrowed(reason))
}

/// A base64url part of a token, which must be a JSON object.
fn object(part: &str) -> Result<Map<String, Value>, TokenError> {
    const MALFORMED: TokenError = invalid("Malformed token");
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| MALFORMED)?;
    match serde_json::from_slice(&json).map_err(|_| MALFORMED)? {
        Value::Object(object) => Ok(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(invalid("Not an object"))
        }
    }
}

/// The algorithm of that name; `none` is none.
fn algorithm_called(name: &str) -> Option<Algorithm> {
    Some(match name {
        "HS256" => Algorithm::HS256,
        "HS384" => Algorithm::HS384,
        "HS512" => Algorithm::HS512,
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" | "Ed25519" => Algorithm::EdDSA,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;

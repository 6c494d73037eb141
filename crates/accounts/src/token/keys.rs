//! The keys that tokens are verified with, each for one kind of algorithm.
//!
//! They are named as in `CouchDB`'s `[jwt_keys]`: `hmac:KID` with a secret in Base64, `rsa:KID`,
//! `ec:KID` and `eddsa:KID` with a public key in PEM, whose lines may be joined by `\n` written
//! out; `_default` is the key of tokens that name none. A published set of keys (JWKS) adds public
//! keys under their own names.
//!
//! Invariant: a key is found by kind and name together, so that a token cannot choose to have a key
//! used for another kind of algorithm than it was given for.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde_json::Value;

/// The name under which the key of tokens without a `kid` stands.
const DEFAULT: &str = "_default";
/// The most keys that are read from a published set.
const PUBLISHED_MAX: usize = 1_000;
/// The most keys of one kind under one name.
const SAME_NAME_MAX: usize = 4;
/// The longest configured key.
const KEY_BYTES_MAX: usize = 32 << 10;

/// The kind of algorithm that a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// A shared secret: HS256, HS384, HS512.
    Hmac,
    /// RSA with either padding: RS256 to RS512, PS256 to PS512.
    Rsa,
    /// A curve of NIST: ES256, ES384.
    Ec,
    /// Edwards curves: `EdDSA` with Ed25519.
    EdDsa,
}

/// Keys by kind and name.
#[derive(Clone, Default)]
pub struct TokenKeys {
    keys: HashMap<(KeyKind, String), Vec<Key>>,
}

#[derive(Clone)]
struct Key {
    key: DecodingKey,
    /// The only algorithm that it is for, if its publisher said so.
    only: Option<Algorithm>,
}

/// A configured key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokenKey {
    /// The name is not `kind:kid` with a kind that is known.
    #[error("\"{0}\" does not begin with hmac:, rsa:, ec: or eddsa:")]
    Kind(String),
    /// The secret is not Base64, or empty.
    #[error("{0} is not a secret in Base64")]
    Secret(String),
    /// The key is not the public key in PEM that its name promises.
    #[error("{0} is not a public key of that kind in PEM")]
    Pem(String),
    /// A private key, which has no business here.
    #[error("{0} is a private key; the server needs the public one")]
    Private(String),
}

impl KeyKind {
    /// The kind of key that `algorithm` needs.
    pub(super) fn of(algorithm: Algorithm) -> Self {
        match algorithm.family() {
            jsonwebtoken::AlgorithmFamily::Hmac => Self::Hmac,
            jsonwebtoken::AlgorithmFamily::Rsa => Self::Rsa,
            jsonwebtoken::AlgorithmFamily::Ec => Self::Ec,
            jsonwebtoken::AlgorithmFamily::Ed => Self::EdDsa,
        }
    }

    fn called(name: &str) -> Option<Self> {
        Some(match name {
            "hmac" => Self::Hmac,
            "rsa" => Self::Rsa,
            "ec" => Self::Ec,
            "eddsa" => Self::EdDsa,
            _ => return None,
        })
    }
}

impl TokenKeys {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds the key that the configuration calls `name` (`hmac:KID`, `rsa:KID`, ...).
    ///
    /// # Errors
    /// [`InvalidTokenKey`]; the key itself is in none of them.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<(), InvalidTokenKey> {
        let shown = || name.chars().take(128).collect::<String>();
        let (kind, kid) = name
            .split_once(':')
            .and_then(|(kind, kid)| Some((KeyKind::called(kind.trim())?, kid.trim())))
            .filter(|(_, kid)| !kid.is_empty())
            .ok_or_else(|| InvalidTokenKey::Kind(shown()))?;
        let value = value.trim();
        if value.len() > KEY_BYTES_MAX {
            return Err(InvalidTokenKey::Pem(shown()));
        }
        let key = if kind == KeyKind::Hmac {
            let secret = STANDARD.decode(value).ok();
            let secret = secret.filter(|secret| !secret.is_empty());
            let secret = secret.ok_or_else(|| InvalidTokenKey::Secret(shown()))?;
            DecodingKey::from_secret(&secret)
        } else {
            let pem = value.replace("\\n", "\n");
            if pem.contains("PRIVATE KEY") {
                return Err(InvalidTokenKey::Private(shown()));
            }
            let pem = pem.as_bytes();
            let read = match kind {
                KeyKind::Rsa => DecodingKey::from_rsa_pem(pem),
                KeyKind::Ec => DecodingKey::from_ec_pem(pem),
                KeyKind::EdDsa | KeyKind::Hmac => DecodingKey::from_ed_pem(pem),
            };
            read.map_err(|_| InvalidTokenKey::Pem(shown()))?
        };
        self.add(kind, kid, Key { key, only: None });
        Ok(())
    }

    /// Takes away the keys that the configuration calls `name`.
    pub fn remove(&mut self, name: &str) {
        if let Some((kind, kid)) = name.split_once(':')
            && let Some(kind) = KeyKind::called(kind.trim())
        {
            self.keys.remove(&(kind, kid.trim().to_owned()));
        }
    }

    /// The keys of a published set: `{"keys":[..]}`. Those that are for something else than
    /// verifying tokens, or that cannot be read, are left out, and so are secrets: what is
    /// published is none. `None` if it is no such set.
    #[must_use]
    pub fn from_published(json: &[u8]) -> Option<Self> {
        let set: Value = serde_json::from_slice(json).ok()?;
        let listed = set.get("keys")?.as_array()?;
        let mut keys = Self::default();
        for one in listed.iter().take(PUBLISHED_MAX) {
            if let Some((kind, kid, key)) = published(one) {
                keys.add(kind, &kid, key);
            }
        }
        Some(keys)
    }

    /// Whether there is a key of that kind and name.
    #[must_use]
    pub fn knows(&self, kind: KeyKind, kid: Option<&str>) -> bool {
        !self.find(kind, kid).is_empty()
    }

    /// Whether `signature` is that of `message` under a key of that name.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        message: &str,
        signature: &str,
    ) -> bool {
        self.find(KeyKind::of(algorithm), kid)
            .iter()
            .filter(|key| key.only.is_none_or(|only| only == algorithm))
            .any(|key| {
                crypto::verify(signature, message.as_bytes(), &key.key, algorithm).unwrap_or(false)
            })
    }

    fn find(&self, kind: KeyKind, kid: Option<&str>) -> &[Key] {
        let name = (kind, kid.unwrap_or(DEFAULT).to_owned());
        self.keys.get(&name).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, kind: KeyKind, kid: &str, key: Key) {
        let same = self.keys.entry((kind, kid.to_owned())).or_default();
        if same.len() < SAME_NAME_MAX {
            same.push(key);
        }
    }
}

/// Says how many, and nothing of what.
impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKeys")
            .field("count", &self.keys.len())
            .finish_non_exhaustive()
    }
}

/// One key of a published set.
fn published(json: &Value) -> Option<(KeyKind, String, Key)> {
    let jwk: Jwk = serde_json::from_value(json.clone()).ok()?;
    let use_ = &jwk.common.public_key_use;
    if use_.as_ref().is_some_and(|u| *u != PublicKeyUse::Signature) {
        return None;
    }
    let kind = if let AlgorithmParameters::RSA(_) = &jwk.algorithm {
        KeyKind::Rsa
    } else if let AlgorithmParameters::EllipticCurve(ec) = &jwk.algorithm
        && matches!(ec.curve, EllipticCurve::P256 | EllipticCurve::P384)
    {
        KeyKind::Ec
    } else if let AlgorithmParameters::OctetKeyPair(pair) = &jwk.algorithm
        && pair.curve == EllipticCurve::Ed25519
    {
        KeyKind::EdDsa
    } else {
        return None;
    };
    let only = match json.get("alg").and_then(Value::as_str) {
        None => None,
        Some(name) => Some(super::algorithm_called(name)?),
    };
    if only.is_some_and(|only| KeyKind::of(only) != kind) {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    let kid = jwk.common.key_id.unwrap_or_else(|| DEFAULT.to_owned());
    Some((kind, kid, Key { key, only }))
}

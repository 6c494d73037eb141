//! Access tokens: JSON Web Tokens that this server signs itself (`EdDSA` with Ed25519, RFC 8037).
//!
//! The header of a token is one fixed text for each key. A token is looked at only if it begins with
//! one of them, letter by letter; so no other algorithm, no `none`, no `crit` and no second spelling
//! of a header exists for us, and no public key can be taken for a shared secret. What the claims say
//! counts only to find the session: roles are looked up with each request.
//!
//! Invariant: what a key has signed is believed for as long as the key is kept, and a key is kept
//! longer than any token of it is good.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use adea_base::Entropy;
use adea_store::{EngineError, Space, Transaction, View};

use super::LEEWAY_S;
use crate::keys::{self, is_id, new_id};
use crate::stored::{decode, put};

/// What the id of one of our keys begins with.
const KID_PREFIX: &str = "adea-";
/// The longest access token that is looked at; ours are much shorter.
const TOKEN_BYTES_MAX: usize = 4 << 10;
/// The longest header or claims that are searched for whose token it is.
const FOREIGN_BYTES_MAX: usize = 32 << 10;

/// A key that signs, or once signed, access tokens: as it is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// Its name (`kid`).
    pub id: String,
    /// The private part, in base64url.
    seed: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When another one took its place, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub retired_ms: Option<u64>,
}

/// The claims of an access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedClaims {
    /// Who signed it: this installation.
    pub iss: String,
    /// The id of the account.
    pub sub: String,
    /// The id of the session.
    pub sid: String,
    /// The app that it is for, if for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// When it was signed, in seconds since the Unix epoch.
    pub iat: u64,
    /// When it ends, in seconds since the Unix epoch.
    pub exp: u64,
    /// Tells it from all others.
    pub jti: String,
    /// The name of the account, for those who show it.
    pub name: String,
}

/// Why an access token proves nothing. The words tell no more than who made it knows already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccessToken {
    /// It was not signed by a key of this server.
    #[error("The token was not signed here.")]
    Forged,
    /// Its time is over, or has not come.
    #[error("The token has expired.")]
    Expired,
}

/// A key, ready to be used.
struct Ready {
    id: String,
    created_ms: u64,
    retired: bool,
    /// The first part of each of its tokens, with the dot.
    header: String,
    pair: Ed25519KeyPair,
}

/// All keys of this server, ready to be used.
pub struct SigningKeys {
    issuer: String,
    keys: Vec<Ready>,
}

impl SigningKey {
    /// A fresh key.
    #[must_use]
    pub fn new(entropy: &Entropy, now_ms: u64) -> Self {
        Self {
            id: format!("{KID_PREFIX}{}", new_id(entropy)),
            seed: URL_SAFE_NO_PAD.encode(entropy.bytes::<32>()),
            created_ms: now_ms,
            retired_ms: None,
        }
    }

    fn ready(&self) -> Option<Ready> {
        let seed = URL_SAFE_NO_PAD.decode(&self.seed).ok()?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        let header = format!(
            "{{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"{}\"}}",
            self.id
        );
        Some(Ready {
            id: self.id.clone(),
            created_ms: self.created_ms,
            retired: self.retired_ms.is_some(),
            header: format!("{}.", URL_SAFE_NO_PAD.encode(header)),
            pair,
        })
    }
}

/// The private part stays out of logs.
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The keys that are stored, the oldest first.
///
/// # Errors
/// [`EngineError`] if they cannot be read.
fn stored_within(tx: &Transaction<'_>) -> Result<Vec<SigningKey>, EngineError> {
    const KEYS_MAX: usize = 1_000;
    let rows = tx.range(Space::Index, &keys::signing_keys(), KEYS_MAX)?;
    let read = rows.iter().map(|(_, value)| decode(value, "a signing key"));
    let mut all = read.collect::<Result<Vec<SigningKey>, EngineError>>()?;
    all.sort_by(|one, other| (one.created_ms, &one.id).cmp(&(other.created_ms, &other.id)));
    Ok(all)
}

/// Makes sure that there is a key to sign with; all keys.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn ensure(
    tx: &mut Transaction<'_>,
    entropy: &Entropy,
    now_ms: u64,
) -> Result<Vec<SigningKey>, EngineError> {
    let mut all = stored_within(tx)?;
    if all.iter().all(|key| key.retired_ms.is_some()) {
        let key = SigningKey::new(entropy, now_ms);
        put(tx, keys::signing_key(&key.id), &key);
        all.push(key);
    }
    Ok(all)
}

/// Puts a new key in the place of the one that signs, and removes those that have been retired for
/// longer than `keep_ms`; all keys that are left.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn rotate(
    tx: &mut Transaction<'_>,
    entropy: &Entropy,
    now_ms: u64,
    keep_ms: u64,
) -> Result<Vec<SigningKey>, EngineError> {
    let mut kept = Vec::new();
    for mut key in stored_within(tx)? {
        if key
            .retired_ms
            .is_some_and(|retired_ms| now_ms.saturating_sub(retired_ms) > keep_ms)
        {
            tx.delete(Space::Index, keys::signing_key(&key.id));
            continue;
        }
        if key.retired_ms.is_none() {
            key.retired_ms = Some(now_ms);
            put(tx, keys::signing_key(&key.id), &key);
        }
        kept.push(key);
    }
    let key = SigningKey::new(entropy, now_ms);
    put(tx, keys::signing_key(&key.id), &key);
    kept.push(key);
    Ok(kept)
}

/// All keys that are stored.
///
/// # Errors
/// [`EngineError`] if they cannot be read.
pub fn stored(view: &dyn View) -> Result<Vec<SigningKey>, EngineError> {
    let range = keys::signing_keys();
    let mut rows = view.range(Space::Index, range, adea_store::Direction::Forward)?;
    let mut all: Vec<SigningKey> = Vec::new();
    while let Some((_, value)) = rows.next()? {
        all.push(decode(value, "a signing key")?);
    }
    all.sort_by(|one, other| (one.created_ms, &one.id).cmp(&(other.created_ms, &other.id)));
    Ok(all)
}

impl SigningKeys {
    /// The keys of the installation that is called `issuer`, the oldest first.
    #[must_use]
    pub fn new(issuer: &str, stored: &[SigningKey]) -> Self {
        Self {
            issuer: issuer.to_owned(),
            keys: stored.iter().filter_map(SigningKey::ready).collect(),
        }
    }

    /// The name of the installation, as it stands in tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// When the key was made that signs, in milliseconds since the Unix epoch; `None` if there is
    /// none.
    #[must_use]
    pub fn current_since_ms(&self) -> Option<u64> {
        self.current().map(|key| key.created_ms)
    }

    fn current(&self) -> Option<&Ready> {
        self.keys.iter().rev().find(|key| !key.retired)
    }

    /// Signs `claims`; `None` if there is no key.
    #[must_use]
    pub fn sign(&self, claims: &SignedClaims) -> Option<String> {
        let key = self.current()?;
        let claims = serde_json::to_vec(claims).ok()?;
        let mut token = key.header.clone();
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = key.pair.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Some(token)
    }

    /// Whether a token begins as one of ours does; it is cheap to ask, and proves nothing.
    #[must_use]
    pub fn may_be_ours(&self, token: &str) -> bool {
        let mut keys = self.keys.iter();
        keys.any(|key| token.starts_with(&key.header))
    }

    /// Whether a token says that it is one of ours: by its key's name, or by who made it. It proves
    /// nothing; but what says so and is not genuine is not asked about anywhere else.
    #[must_use]
    pub fn claims_to_be_ours(&self, token: &str) -> bool {
        if token.len() > FOREIGN_BYTES_MAX {
            return false;
        }
        let mut parts = token.split('.');
        let mut said = |name: &str| -> Option<String> {
            let part = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
            let part: Value = serde_json::from_slice(&part).ok()?;
            part.get(name)?.as_str().map(str::to_owned)
        };
        let kid = said("kid");
        let iss = said("iss");
        kid.is_some_and(|kid| {
            kid.strip_prefix(KID_PREFIX).is_some_and(is_id)
                || self.keys.iter().any(|key| key.id == kid)
        }) || iss.is_some_and(|iss| iss == self.issuer)
    }

    /// What a token of ours says, at `now_s`.
    ///
    /// # Errors
    /// [`InvalidAccessToken`] if it was not signed here, or is not good now.
    pub fn verify(&self, token: &str, now_s: u64) -> Result<SignedClaims, InvalidAccessToken> {
        const FORGED: InvalidAccessToken = InvalidAccessToken::Forged;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(FORGED);
        }
        let mut keys = self.keys.iter();
        let key = keys
            .find(|key| token.starts_with(&key.header))
            .ok_or(FORGED)?;
        let (message, signature) = token.rsplit_once('.').ok_or(FORGED)?;
        let claims = message.strip_prefix(&key.header).ok_or(FORGED)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| FORGED)?;
        UnparsedPublicKey::new(&ED25519, key.pair.public_key().as_ref())
            .verify(message.as_bytes(), &signature)
            .map_err(|_| FORGED)?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| FORGED)?;
        let claims: SignedClaims = serde_json::from_slice(&claims).map_err(|_| FORGED)?;
        if claims.iss != self.issuer {
            return Err(FORGED);
        }
        let early = claims.iat > now_s.saturating_add(LEEWAY_S);
        let late = claims.exp.saturating_add(LEEWAY_S) <= now_s;
        if early || late {
            return Err(InvalidAccessToken::Expired);
        }
        Ok(claims)
    }

    /// The public parts, as others verify our tokens with (JWKS, RFC 7517).
    #[must_use]
    pub fn published(&self) -> Value {
        let keys: Vec<Value> = self
            .keys
            .iter()
            .map(|key| {
                json!({
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "use": "sig",
                    "alg": "EdDSA",
                    "kid": key.id,
                    "x": URL_SAFE_NO_PAD.encode(key.pair.public_key().as_ref()),
                })
            })
            .collect();
        json!({ "keys": keys })
    }
}

/// The private parts stay out of logs.
impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeys")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_795_246_129;

    fn keys() -> SigningKeys {
        let stored = SigningKey::new(&Entropy::System, NOW_S * 1_000);
        SigningKeys::new("adea:here", &[stored])
    }

    fn claims() -> SignedClaims {
        SignedClaims {
            iss: "adea:here".to_owned(),
            sub: "b".repeat(26),
            sid: "c".repeat(26),
            aud: None,
            iat: NOW_S,
            exp: NOW_S + 900,
            jti: "d".repeat(26),
            name: "ann".to_owned(),
        }
    }

    fn part(json: &Value) -> String {
        URL_SAFE_NO_PAD.encode(json.to_string())
    }

    #[test]
    fn what_is_signed_here_is_verified_here_and_by_others() {
        let keys = keys();
        let token = keys.sign(&claims()).unwrap();
        assert_eq!(keys.verify(&token, NOW_S), Ok(claims()));
        assert!(keys.claims_to_be_ours(&token));
        // By a library that knows nothing of us, with what is published.
        let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(keys.published()).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        let key = set.find(&header.kid.unwrap()).unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let fits = jsonwebtoken::crypto::verify(
            signature,
            message.as_bytes(),
            &key,
            jsonwebtoken::Algorithm::EdDSA,
        );
        assert!(fits.unwrap());
    }

    #[test]
    fn a_token_is_good_for_its_time_and_a_minute_around_it() {
        let keys = keys();
        let token = keys.sign(&claims()).unwrap();
        let at = |now_s| keys.verify(&token, now_s).map(drop);
        assert_eq!(at(NOW_S - 60), Ok(()));
        assert_eq!(at(NOW_S - 61), Err(InvalidAccessToken::Expired));
        assert_eq!(at(NOW_S + 959), Ok(()));
        assert_eq!(at(NOW_S + 960), Err(InvalidAccessToken::Expired));
    }

    #[test]
    fn a_changed_letter_anywhere_is_noticed() {
        let keys = keys();
        let token = keys.sign(&claims()).unwrap();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(keys.verify(&changed, NOW_S).is_err(), "{at}");
            assert!(keys.verify(&token[..at], NOW_S).is_err(), "{at}");
        }
        assert!(keys.verify(&format!("{token}A"), NOW_S).is_err());
        assert!(keys.verify(&"A".repeat(1 << 20), NOW_S).is_err());
    }

    #[test]
    fn other_algorithms_and_second_spellings_of_a_header_are_nothing() {
        let keys = keys();
        let token = keys.sign(&claims()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let kid = keys.keys[0].id.clone();
        let public = keys.keys[0].pair.public_key().as_ref().to_vec();
        for header in [
            json!({"alg": "none", "typ": "JWT", "kid": kid}),
            json!({"alg": "NONE", "typ": "JWT", "kid": kid}),
            json!({"alg": "HS256", "typ": "JWT", "kid": kid}),
            json!({"alg": "ES256", "typ": "JWT", "kid": kid}),
            json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid}),
            json!({"alg": "EdDSA", "kid": kid}),
            json!({"alg": "EdDSA", "typ": "JWT", "kid": "adea-other"}),
            json!({"alg": "EdDSA", "typ": "JWT", "kid": kid, "crit": ["exp"]}),
            json!({"alg": "EdDSA", "typ": "JWT", "kid": kid, "jwk": {"kty": "OKP"}}),
        ] {
            let message = format!("{}.{}", part(&header), parts[1]);
            let mut hmac = crate::mac::keyed(&public);
            hmac::Mac::update(&mut hmac, message.as_bytes());
            let hmac = hmac::Mac::finalize(hmac).into_bytes();
            // Signed with the very key, with its public part as a secret, and not at all.
            let signed = keys.keys[0].pair.sign(message.as_bytes());
            for seal in [signed.as_ref(), hmac.as_slice(), &[]] {
                let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode(seal));
                let verified = keys.verify(&forged, NOW_S);
                assert_eq!(verified, Err(InvalidAccessToken::Forged), "{header}");
                assert!(keys.claims_to_be_ours(&forged), "{header}");
            }
        }
    }

    #[test]
    fn tokens_of_others_are_told_apart() {
        let keys = keys();
        for (header, claims, ours) in [
            (
                json!({"alg": "RS256", "kid": "x"}),
                json!({"iss": "https://id"}),
                false,
            ),
            (json!({"alg": "RS256"}), json!({}), false),
            (
                json!({"alg": "RS256", "kid": "x"}),
                json!({"iss": "adea:here"}),
                true,
            ),
            (
                json!({"kid": format!("adea-{}", "a".repeat(26))}),
                json!({}),
                true,
            ),
        ] {
            let token = format!("{}.{}.AAAA", part(&header), part(&claims));
            assert_eq!(keys.claims_to_be_ours(&token), ours, "{header} {claims}");
        }
        for nonsense in ["", ".", "..", "a.b.c", "e30.e30"] {
            assert!(!keys.claims_to_be_ours(nonsense));
        }
    }

    #[test]
    fn what_another_installation_signed_with_a_copy_of_the_key_is_not_ours() {
        let stored = SigningKey::new(&Entropy::System, 0);
        let here = SigningKeys::new("adea:here", std::slice::from_ref(&stored));
        let there = SigningKeys::new("adea:there", std::slice::from_ref(&stored));
        let token = there.sign(&SignedClaims {
            iss: "adea:there".to_owned(),
            ..claims()
        });
        let verified = here.verify(&token.unwrap(), NOW_S);
        assert_eq!(verified, Err(InvalidAccessToken::Forged));
    }

    #[test]
    fn the_private_part_is_not_printed_nor_published() {
        let stored = SigningKey::new(&Entropy::System, 0);
        let keys = SigningKeys::new("adea:here", std::slice::from_ref(&stored));
        let told = format!("{stored:?} {keys:?} {}", keys.published());
        assert!(!told.contains(&stored.seed));
    }
}

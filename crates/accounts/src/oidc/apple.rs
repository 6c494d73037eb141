//! Apple's client secret: no text, but a short-lived token that is signed with a key from Apple.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

/// Whom Apple expects such a token to be for.
const AUDIENCE: &str = "https://appleid.apple.com";
/// How long one is good; it is made for one request.
const LIFETIME_S: u64 = 300;

/// A key from Apple, and whose it is.
#[derive(Clone)]
pub struct AppleKey {
    team: String,
    id: String,
    key: EncodingKey,
}

/// A key that is none of Apple's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no private key of the curve P-256 in PEM")]
pub struct InvalidAppleKey;

impl AppleKey {
    /// The key `id` of `team`, in PEM whose lines may be joined by `\n` written out.
    ///
    /// # Errors
    /// [`InvalidAppleKey`].
    pub fn new(team: &str, id: &str, pem: &str) -> Result<Self, InvalidAppleKey> {
        let pem = pem.replace("\\n", "\n");
        let key = EncodingKey::from_ec_pem(pem.as_bytes()).map_err(|_| InvalidAppleKey)?;
        let made = Self {
            team: team.to_owned(),
            id: id.to_owned(),
            key,
        };
        // A key of another curve is found out here, and not when somebody wants to sign in.
        made.client_secret("", 0).ok_or(InvalidAppleKey)?;
        Ok(made)
    }

    /// The secret of `client_id` for the next minutes.
    #[must_use]
    pub fn client_secret(&self, client_id: &str, now_s: u64) -> Option<String> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.clone());
        let claims = json!({
            "iss": self.team,
            "iat": now_s,
            "exp": now_s.saturating_add(LIFETIME_S),
            "aud": AUDIENCE,
            "sub": client_id,
        });
        jsonwebtoken::encode(&header, &claims, &self.key).ok()
    }
}

/// Nothing of the key is printed.
impl std::fmt::Debug for AppleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppleKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{PresentedToken, TokenKeys};

    pub(in crate::oidc) const KEY: &str = include_str!("../token/fixtures/p256.pem");

    #[test]
    fn the_secret_is_a_token_of_the_key() {
        let key = AppleKey::new("TEAM", "KID", &KEY.replace('\n', "\\n")).unwrap();
        let secret = key.client_secret("org.example.app", 1_000).unwrap();
        let mut keys = TokenKeys::default();
        let public = include_str!("../token/fixtures/p256.pub.pem");
        keys.insert("ec:KID", public).unwrap();
        let claims = PresentedToken::parse(&secret).unwrap().genuine(&keys);
        let claims = serde_json::Value::Object(claims.unwrap());
        let expected = json!({
            "iss": "TEAM", "iat": 1_000, "exp": 1_300,
            "aud": "https://appleid.apple.com", "sub": "org.example.app",
        });
        assert_eq!(claims, expected);
        assert!(!format!("{key:?}").contains("TEAM"));
    }

    #[test]
    fn a_key_of_another_kind_is_refused_when_it_is_set() {
        for pem in [
            "",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
            include_str!("../token/fixtures/p256.pub.pem"),
            include_str!("../token/fixtures/p384.pem"),
            include_str!("../token/fixtures/rsa.pem"),
            include_str!("../token/fixtures/ed25519.pem"),
        ] {
            assert!(AppleKey::new("T", "K", pem).is_err(), "{pem}");
        }
    }
}

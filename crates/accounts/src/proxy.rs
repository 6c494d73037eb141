//! Proxy authentication: a server in front has found out who it is, and says so in headers.
//!
//! `X-Auth-CouchDB-UserName` and `-Roles` say who, `-Token` proves that it is that server who says
//! it: the HMAC of the name under a secret that both know, in hexadecimal digits, made with
//! SHA-256, or with SHA-1 as older clients of `CouchDB` do.
//!
//! Invariant: without the secret nobody is believed, unless the rules say that no proof is needed.

use adea_base::Caller;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::Digest as _;
use subtle::ConstantTimeEq as _;

use crate::mac::keyed;

/// Whether and how a server in front is believed.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyRules {
    /// Whether at all.
    pub enabled: bool,
    /// Whether a token is needed. Without, whoever reaches the server can be anybody.
    pub use_secret: bool,
    /// What the token is made with.
    pub secret: Option<Vec<u8>>,
    /// The header with the name, in lower case.
    pub username_header: String,
    /// The header with the roles, in lower case.
    pub roles_header: String,
    /// The header with the token, in lower case.
    pub token_header: String,
}

impl Default for ProxyRules {
    fn default() -> Self {
        Self {
            enabled: false,
            use_secret: true,
            secret: None,
            username_header: "x-auth-couchdb-username".to_owned(),
            roles_header: "x-auth-couchdb-roles".to_owned(),
            token_header: "x-auth-couchdb-token".to_owned(),
        }
    }
}

impl ProxyRules {
    /// Whom these headers speak for; nobody, if they are not to be believed.
    #[must_use]
    pub fn caller(&self, name: &str, roles: Option<&str>, token: Option<&str>) -> Option<Caller> {
        let proven = !self.use_secret || self.is_proven(name, token?);
        if !self.enabled || name.is_empty() || !proven {
            return None;
        }
        let roles = roles.unwrap_or("").split(',').map(str::trim);
        let roles = roles.filter(|role| !role.is_empty()).map(str::to_owned);
        Some(Caller::named(name, roles.collect()))
    }

    fn is_proven(&self, name: &str, token: &str) -> bool {
        let Some(secret) = self.secret.as_deref().filter(|secret| !secret.is_empty()) else {
            return false;
        };
        let new = keyed(secret).chain_update(name).finalize().into_bytes();
        let old = sha1_of(secret, name);
        let fits = |tag: &[u8]| {
            let tag: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
            tag.as_bytes().ct_eq(token.to_ascii_lowercase().as_bytes())
        };
        bool::from(fits(&new) | fits(&old))
    }
}

fn sha1_of(secret: &[u8], name: &str) -> Vec<u8> {
    // A key longer than a block is hashed first; taking this step here leaves no error to handle.
    let short = Sha1::digest(secret);
    let key = if secret.len() > 64 {
        &short[..]
    } else {
        secret
    };
    Hmac::<Sha1>::new_from_slice(key).map_or_else(
        |_| Vec::new(),
        |mac| mac.chain_update(name).finalize().into_bytes().to_vec(),
    )
}

/// The secret stays out of logs.
impl std::fmt::Debug for ProxyRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyRules")
            .field("enabled", &self.enabled)
            .field("use_secret", &self.use_secret)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> ProxyRules {
        ProxyRules {
            enabled: true,
            secret: Some(b"92de07df7e7a3fe14808cef90a7cc0d91".to_vec()),
            ..ProxyRules::default()
        }
    }

    /// `printf foo | openssl dgst -sha1 -hmac 92de07df7e7a3fe14808cef90a7cc0d91`, and with `-sha256`.
    const SHA1: &str = "0a60ae371f04a1f4850c8cc1dffcfa55fddab926";
    const SHA256: &str = "24ba3fe1727c959e9c61cd7d00a57b85e66eca9a03c8fb2f074a0d0c62c62162";

    #[test]
    fn a_token_of_either_hash_proves_the_name() {
        let rules = rules();
        for token in [SHA1, SHA256, &SHA1.to_uppercase()] {
            let caller = rules.caller("foo", Some("users, blogger,,"), Some(token));
            let roles = ["users", "blogger"].map(str::to_owned).to_vec();
            assert_eq!(caller, Some(Caller::named("foo", roles)), "{token}");
        }
        assert_eq!(
            rules.caller("foo", None, Some(SHA1)),
            Some(Caller::named("foo", Vec::new()))
        );
    }

    #[test]
    fn nobody_is_believed_without_proof() {
        let rules = rules();
        let off = ProxyRules {
            enabled: false,
            ..rules.clone()
        };
        let bare = ProxyRules {
            secret: None,
            ..rules.clone()
        };
        let empty = ProxyRules {
            secret: Some(Vec::new()),
            ..rules.clone()
        };
        let refused = [
            rules.caller("foo", None, None),
            rules.caller("foo", None, Some("")),
            rules.caller("foo", None, Some(&SHA1[..39])),
            rules.caller("bar", Some("_admin"), Some(SHA1)),
            rules.caller("", None, Some(SHA1)),
            off.caller("foo", None, Some(SHA1)),
            bare.caller("foo", None, Some(SHA1)),
            empty.caller("foo", None, Some(SHA1)),
        ];
        assert_eq!(refused, [const { None }; 8]);
        let trusting = ProxyRules {
            use_secret: false,
            ..bare
        };
        assert!(trusting.caller("foo", None, None).is_some());
        assert!(!format!("{rules:?}").contains("92de"));
    }
}

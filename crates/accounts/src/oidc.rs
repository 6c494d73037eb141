//! Signing in with another provider (`OpenID Connect`, and `OAuth 2.0` where there is no more): what is
//! sent to it, and what of its answers is believed.
//!
//! The way is the code flow alone: a browser goes to the provider with a `state`, a `nonce` and the hash
//! of a verifier (PKCE, S256), comes back with a code, and the server swaps that for tokens. Who it is
//! stands in the ID token, which is signed, or where there is none, in what the provider tells about the
//! bearer of the access token.
//!
//! Nothing here opens a connection: texts go in and decisions come out. What other providers say is taken
//! for hostile until it was checked: it is bounded, the issuer is the one that was set, letter by letter,
//! and a key is found by kind and name together (see [`TokenKeys`](crate::TokenKeys)).
//!
//! Invariants: no shared secret and no `none` ever verifies an ID token; a `sub` is only ever looked at
//! together with the provider that said it; an address counts as his own only if the provider says so
//! and is set to be believed in that.

mod answer;
mod apple;
mod authorization;
mod discovery;
pub mod form;
mod id_token;
mod issuer;
mod provider;

pub use answer::{InvalidAnswer, TokenAnswer, bearer_person, primary_address, userinfo_person};
pub use apple::{AppleKey, InvalidAppleKey};
pub use authorization::{Asking, authorization_url, new_verifier};
pub use discovery::{Discovery, InvalidDiscovery};
pub use id_token::{Expected, InvalidIdToken, verify_id_token};
pub use issuer::{Issuer, is_safe_url};
pub use provider::{
    ClientSecret, Endpoints, InvalidProvider, Protocol, Provider, SecretText, is_provider_name,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Who somebody is at a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The provider's immutable id for him.
    pub subject: String,
    /// His address there, if it was told.
    pub address: Option<String>,
    /// Whether the provider says that it has proved the address to be his.
    pub address_verified: bool,
}

/// The longest `sub` that is taken: what the standard allows.
const SUBJECT_BYTES_MAX: usize = 255;
/// The longest address that is taken.
const ADDRESS_BYTES_MAX: usize = 254;

/// Whether `text` may be somebody's id at a provider.
fn is_subject(text: &str) -> bool {
    let plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    !text.is_empty() && text.len() <= SUBJECT_BYTES_MAX && plain
}

/// The address among claims, and whether it is said to be proved. Apple writes the truth as a text.
fn address_of(claims: &Map<String, Value>) -> (Option<String>, bool) {
    let address = claims.get("email").and_then(Value::as_str);
    let address = address.filter(|text| is_address(text)).map(str::to_owned);
    let said = match claims.get("email_verified") {
        Some(Value::Bool(said)) => *said,
        Some(Value::String(said)) => said == "true",
        Some(Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_)) | None => false,
    };
    let verified = said && address.is_some();
    (address, verified)
}

/// The issuer of Google's tokens.
const GOOGLE: &str = "https://accounts.google.com";

/// As [`address_of`], of what `issuer` says. Google calls any address proved that an account was once made
/// with, whoever has it now; only of its own, and of those of an organisation that it keeps, does it know.
fn address_by(claims: &Map<String, Value>, issuer: &Issuer) -> (Option<String>, bool) {
    let (address, verified) = address_of(claims);
    if issuer.as_str() != GOOGLE {
        return (address, verified);
    }
    let domain = address.as_deref().and_then(|text| text.rsplit_once('@'));
    let own = domain.is_some_and(|(_, domain)| domain.eq_ignore_ascii_case("gmail.com"));
    let kept = claims.get("hd").and_then(Value::as_str);
    let kept = kept.is_some_and(|domain| !domain.is_empty());
    (address, verified && (own || kept))
}

/// Whether it looks like an address at all; the rules of accounts say more.
fn is_address(text: &str) -> bool {
    text.len() <= ADDRESS_BYTES_MAX && text.contains('@') && !text.contains(char::is_control)
}

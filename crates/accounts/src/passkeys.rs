//! Passkeys (`WebAuthn` credentials): made on a user's device, and answered with by it.
//!
//! A ceremony has two halves. The first makes a challenge, and a state that is kept until the second
//! comes; the second judges what the device answered. Both are pure: state goes out and comes in as
//! a value, and whoever stores it sees to it that it is used once. What the bytes mean is decided by
//! `webauthn-rs`, in one file; without the feature `passkeys` every ceremony is refused.
//!
//! Invariants: a passkey is kept on the device and found there without a name; the device has
//! verified its user, so that a passkey is two factors; the user handle is the account's id; a
//! counter that does not grow is refused, as is an answer for another host or origin.

#[cfg(feature = "passkeys")]
mod ceremony;
#[cfg(not(feature = "passkeys"))]
#[path = "passkeys/absent.rs"]
mod ceremony;

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::directory::StoredPasskey;

/// How many passkeys an account may have.
pub const PASSKEYS_MAX: usize = 20;
/// How long a challenge may be answered, in milliseconds.
pub const CEREMONY_MS: u64 = 300_000;
/// The longest name that a user gives a passkey, in characters.
pub const LABEL_CHARS_MAX: usize = 64;
/// The longest id of a credential that the standard has, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 1023;

/// Why a ceremony did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// This server was built without the feature.
    #[error("This server was built without passkeys.")]
    NotBuilt,
    /// A passkey belongs to a host name, and there is none.
    #[error(
        "Passkeys need a host name: set the server's public URL, or call the server as localhost."
    )]
    NoHost,
    /// What came is not what a browser makes.
    #[error("The credential is not of the form that a browser makes.")]
    Malformed,
    /// It answers another challenge, origin or host, or is not signed with the key that it names.
    #[error("The passkey was not accepted.")]
    Refused,
    /// The counter of the device did not grow: there may be a copy of the key.
    #[error("The passkey was not accepted: its counter shows that there may be a copy of it.")]
    Cloned,
}

/// The host that passkeys belong to, and the origins whose pages may ask for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelyingParty {
    /// The host's name.
    id: String,
    /// The first one is where the server says that it is.
    origins: Vec<String>,
}

/// The first half of a ceremony.
#[derive(Clone, Debug, PartialEq)]
pub struct Started {
    /// What a page gives to `navigator.credentials`, in the standard's JSON form.
    pub options: Value,
    /// What has to be known when the answer comes; it must not leave the server.
    pub state: Value,
}

/// What is kept between the two halves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ceremony {
    /// A user who has signed in makes a passkey.
    Register {
        /// The state of the first half.
        state: Value,
    },
    /// Somebody signs in.
    SignIn {
        /// The state of the first half.
        state: Value,
    },
    /// Somebody signs up: the account is made in the second half.
    SignUp {
        /// The state of the first half.
        state: Value,
        /// What he said of himself; a value of whoever makes accounts.
        wanted: Value,
    },
}

/// Who a credential says that it speaks for, before that is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The account, from the user handle.
    pub account: String,
    /// The credential's id in base64url.
    pub credential: String,
}

impl RelyingParty {
    /// The party of a server that is reached under `public_url`. A server that does not know how it
    /// is reached believes `host`, as the client called it, only if that is this very machine.
    ///
    /// # Errors
    /// [`PasskeyError::NoHost`] if there is no host name that a browser takes.
    pub fn new(public_url: Option<&str>, host: &str) -> Result<Self, PasskeyError> {
        let party = match public_url {
            Some(url) => Self::of_url(url),
            None => Self::of_this_machine(host),
        };
        party.ok_or(PasskeyError::NoHost)
    }

    fn of_url(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let authority = rest.split(['/', '?', '#']).next()?;
        let id = host_name(authority)?;
        // Browsers have passkeys only for pages that nobody on the way can change.
        let safe = scheme == "https" || (scheme == "http" && id == "localhost");
        let origins = vec![format!("{scheme}://{}", authority.to_ascii_lowercase())];
        safe.then_some(Self { id, origins })
    }

    fn of_this_machine(host: &str) -> Option<Self> {
        let id = host_name(host).filter(|id| id == "localhost")?;
        let host = host.to_ascii_lowercase();
        let origins = ["http", "https"].map(|scheme| format!("{scheme}://{host}"));
        Some(Self {
            id,
            origins: origins.to_vec(),
        })
    }

    /// Makes a challenge for a new passkey of `account`, which is shown to its user as `name`.
    /// Devices that hold one of `known` are told not to make another.
    ///
    /// # Errors
    /// [`PasskeyError::Refused`] if `account` is no id; as [`RelyingParty::new`] else.
    pub fn start_registration(
        &self,
        account: &str,
        name: &str,
        known: &[StoredPasskey],
    ) -> Result<Started, PasskeyError> {
        let handle = handle_of(account).ok_or(PasskeyError::Refused)?;
        let known = known.iter().filter_map(|one| decode(&one.credential));
        let mut started = ceremony::start_registration(self, handle, name, known.collect())?;
        // The library leaves it to the device whether a passkey can be found without a name.
        if let Some(Value::Object(selection)) = started
            .options
            .pointer_mut("/publicKey/authenticatorSelection")
        {
            selection.insert("residentKey".to_owned(), "required".into());
            selection.insert("requireResidentKey".to_owned(), true.into());
        }
        Ok(started)
    }

    /// The passkey that was made for a challenge; it has no label and no time yet.
    ///
    /// # Errors
    /// [`PasskeyError`] if it does not answer that challenge.
    pub fn finish_registration(
        &self,
        state: &Value,
        credential: &Value,
    ) -> Result<StoredPasskey, PasskeyError> {
        let (id, key) = ceremony::finish_registration(self, state, credential)?;
        if id.is_empty() || id.len() > CREDENTIAL_BYTES_MAX {
            return Err(PasskeyError::Malformed);
        }
        Ok(StoredPasskey {
            credential: URL_SAFE_NO_PAD.encode(id),
            key,
            ..StoredPasskey::default()
        })
    }

    /// Makes a challenge that any passkey of this host may answer.
    ///
    /// # Errors
    /// As [`RelyingParty::new`].
    pub fn start_sign_in(&self) -> Result<Started, PasskeyError> {
        let mut started = ceremony::start_sign_in(self)?;
        // Whether a page asks at once or as its user types is the page's choice.
        if let Some(options) = started.options.as_object_mut() {
            options.remove("mediation");
        }
        Ok(started)
    }

    /// Whether `credential` answers the challenge with the key of `stored`; how that key is to be
    /// stored from now on, if it changed.
    ///
    /// # Errors
    /// [`PasskeyError`] if it does not.
    pub fn finish_sign_in(
        &self,
        state: &Value,
        credential: &Value,
        stored: &StoredPasskey,
    ) -> Result<Option<Value>, PasskeyError> {
        ceremony::finish_sign_in(self, state, credential, &stored.key)
    }
}

/// Who `credential` says that it speaks for.
///
/// # Errors
/// [`PasskeyError::Malformed`] if it is none that a device found by itself.
pub fn claimed(credential: &Value) -> Result<Claimed, PasskeyError> {
    let (handle, id) = ceremony::claimed(credential)?;
    if id.is_empty() || id.len() > CREDENTIAL_BYTES_MAX {
        return Err(PasskeyError::Malformed);
    }
    Ok(Claimed {
        account: account_of(handle),
        credential: URL_SAFE_NO_PAD.encode(id),
    })
}

/// What stands for a passkey in a path: the id of its credential may be too long for one.
#[must_use]
pub fn short_id(credential: &str) -> String {
    let hash = Sha256::digest(credential.as_bytes());
    let start = hash.first_chunk::<16>().copied().unwrap_or_default();
    account_of(u128::from_be_bytes(start))
}

/// The name of a host, without its port, as browsers compare it; none for an address.
fn host_name(authority: &str) -> Option<String> {
    let (name, port) = match authority.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (authority, None),
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let fits = port_fits
        && name.len() <= 253
        && name.split('.').all(label)
        && name.parse::<Ipv4Addr>().is_err();
    fits.then(|| name.to_ascii_lowercase())
}

fn decode(base64url: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(base64url).ok()
}

/// The letters of an id of an account, in the order of their values (see `keys::new_id`).
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The user handle of an account: the 128 bits of its id.
fn handle_of(account: &str) -> Option<u128> {
    if !crate::keys::is_id(account) {
        return None;
    }
    account.bytes().rev().try_fold(0_u128, |bits, letter| {
        let digit = LETTERS.iter().position(|known| *known == letter)?;
        let room = bits.leading_zeros() >= 5;
        room.then(|| bits << 5 | u128::try_from(digit).unwrap_or(0))
    })
}

/// The id of the account with this user handle.
fn account_of(handle: u128) -> String {
    let digits = (0..crate::keys::ID_LENGTH).map(|place| handle >> (5 * place) & 31);
    digits
        .filter_map(|digit| LETTERS.get(usize::try_from(digit).ok()?))
        .map(|letter| char::from(*letter))
        .collect()
}

#[cfg(test)]
mod tests;

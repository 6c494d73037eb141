//! What is stored for an account besides its document of `_users`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccountRecord {
    /// Never changes, and is never given twice.
    pub id: String,
    /// The name of its document in `_users`.
    pub name: String,
    /// What that name looks like (see `names.rs`); `None` if a client of `CouchDB` wrote it beside
    /// one that looks the same.
    pub lookalike: Option<String>,
    /// The number of the `_users` database that the document is in.
    pub users: u64,
    /// Its addresses; the first verified one is written to.
    pub addresses: Vec<Address>,
    /// What the user tells of himself.
    pub profile: Map<String, Value>,
    /// What administrators decided.
    pub flags: Flags,
    /// The language that mail is written in, as a BCP 47 tag.
    pub language: Option<String>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it last signed in, in milliseconds since the Unix epoch; at most an hour behind.
    pub seen_ms: u64,
    /// Raised to end all sessions: each carries the epoch that it was begun in.
    pub epoch: u64,
    /// The fingerprint of what stands for the password, in hexadecimal digits: a change of it that
    /// came through the document ends sessions too.
    pub password_fingerprint: Option<String>,
    /// The secret of the second factor by time (RFC 6238), in base32, once it is confirmed.
    pub totp: Option<String>,
    /// The last step of time whose digits were taken: each is good once.
    pub totp_step: u64,
    /// How many digits were wrong since `wrong_digits_ms`.
    pub wrong_digits: u64,
    /// When the first of those came, in milliseconds since the Unix epoch.
    pub wrong_digits_ms: u64,
    /// SHA-256 of each recovery code that is left, in hexadecimal digits.
    pub recovery_codes: Vec<String>,
    /// Its passkeys.
    pub passkeys: Vec<StoredPasskey>,
    /// Who it is at other providers.
    pub identities: Vec<Identity>,
    /// Hashes of devices that it has signed in from.
    pub devices: Vec<String>,
}

/// An address of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Address {
    /// As it was given.
    pub address: String,
    /// In the form that is compared (see `names.rs`).
    pub normal: String,
    /// When it was proved to be the user's, in milliseconds since the Unix epoch.
    pub verified_ms: Option<u64>,
}

/// What administrators decided of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Flags {
    /// May do everything on this server.
    pub admin: bool,
    /// May not sign in, and has no session.
    pub blocked: bool,
    /// Was made without a name, an address or a password, and is nobody's until it is promoted.
    pub anonymous: bool,
    /// Somebody has signed up with an address and has not proved it yet: nobody signs in until then.
    pub pending: bool,
}

impl Flags {
    /// Whether nobody may sign in, by any door.
    #[must_use]
    pub const fn keep_out(self) -> bool {
        self.blocked || self.pending
    }
}

/// A passkey (`WebAuthn` credential).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredPasskey {
    /// The credential's id in base64url.
    pub credential: String,
    /// What the user calls it.
    pub label: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it was last used, in milliseconds since the Unix epoch.
    pub used_ms: u64,
    /// The credential itself, as the library that verifies it writes it.
    pub key: Value,
}

/// Who an account is at another provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// The provider's name in the configuration.
    pub provider: String,
    /// The provider's immutable id for him (`sub`).
    pub subject: String,
    /// The address that the provider told, if any.
    pub address: Option<String>,
    /// When it was linked, in milliseconds since the Unix epoch.
    pub linked_ms: u64,
}

impl AccountRecord {
    /// The address that mail goes to: the first that is verified.
    #[must_use]
    pub fn verified_address(&self) -> Option<&Address> {
        let mut addresses = self.addresses.iter();
        addresses.find(|address| address.verified_ms.is_some())
    }
}

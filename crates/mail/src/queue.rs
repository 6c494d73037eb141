//! The queue of mail that is to be sent: an entry is made in the commit that causes it, so that a
//! mail is sent exactly if what it tells has happened.

use adea_base::Entropy;
use adea_store::key::MAIL;
use adea_store::{Space, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a mail is about; each kind has a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Prove that this address is yours. Data: `link`, `code`, `minutes`.
    VerifyAddress,
    /// Somebody signed up with the address of an account that there is. Data: `link` (to recover).
    AlreadyRegistered,
    /// Set a new password. Data: `link`, `minutes`.
    Recover,
    /// Somebody wants to recover an account with an address that has none. No data.
    NoAccount,
    /// The password was changed. No data.
    PasswordChanged,
    /// Sign in with this link or code. Data: `link` or `code`, `minutes`.
    SignIn,
    /// Signed in from a new device. Data: `device`, `address`, `time`.
    NewDevice,
    /// You are invited. Data: `organisation`, `team` (or null), `inviter`, `role`, `link`, `days`.
    Invitation,
    /// The address of the account was changed. Data: `address` (the new one).
    AddressChanged,
    /// A second factor or passkey was added or removed. Data: `what`.
    FactorChanged,
    /// The account was erased. No data.
    Erased,
}

/// A mail that is to be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outgoing {
    /// What it is about.
    pub kind: Kind,
    /// The address that it goes to.
    pub to: String,
    /// The language it is written in, as a BCP 47 tag; the server's own if empty.
    pub language: String,
    /// The app whose words are used; empty for none.
    pub app: String,
    /// What the template fills in, besides `to`, `app` and `server`.
    pub data: Value,
}

/// Queues `mail`, to be sent from `now_ms` on.
pub fn enqueue(tx: &mut Transaction<'_>, entropy: &Entropy, now_ms: u64, mail: &Outgoing) {
    let mut key = vec![MAIL];
    key.extend_from_slice(&now_ms.to_be_bytes());
    key.extend_from_slice(&entropy.bytes::<8>());
    tx.put(
        Space::Index,
        key,
        serde_json::to_vec(mail).unwrap_or_default(),
    );
}

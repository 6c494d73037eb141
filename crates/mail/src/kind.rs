//! What a mail is about, and what its template is given to fill in.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a mail is about; each kind has a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Prove that this address is yours. Data: `link`, `code` (or null), `minutes`, `name_taken`
    /// (whether the name that was asked for is somebody else's).
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
    /// A second factor or passkey was added or removed. Data: `what` (a sentence in English) and
    /// `change` (a word that a template can translate).
    FactorChanged,
    /// The account was erased. No data.
    Erased,
    /// An administrator tries whether mail arrives. No data.
    Test,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::VerifyAddress,
        Self::AlreadyRegistered,
        Self::Recover,
        Self::NoAccount,
        Self::PasswordChanged,
        Self::SignIn,
        Self::NewDevice,
        Self::Invitation,
        Self::AddressChanged,
        Self::FactorChanged,
        Self::Erased,
        Self::Test,
    ];

    /// The name of its template.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VerifyAddress => "verify_address",
            Self::AlreadyRegistered => "already_registered",
            Self::Recover => "recover",
            Self::NoAccount => "no_account",
            Self::PasswordChanged => "password_changed",
            Self::SignIn => "sign_in",
            Self::NewDevice => "new_device",
            Self::Invitation => "invitation",
            Self::AddressChanged => "address_changed",
            Self::FactorChanged => "factor_changed",
            Self::Erased => "erased",
            Self::Test => "test",
        }
    }

    /// The kind with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether such a mail carries a secret, which is good for something to whoever reads it.
    #[must_use]
    pub fn carries_secret(self) -> bool {
        match self {
            Self::VerifyAddress | Self::Recover | Self::SignIn | Self::Invitation => true,
            Self::AlreadyRegistered
            | Self::NoAccount
            | Self::PasswordChanged
            | Self::NewDevice
            | Self::AddressChanged
            | Self::FactorChanged
            | Self::Erased
            | Self::Test => false,
        }
    }

    /// Data as a mail of this kind might have it, with everything that there can be.
    #[must_use]
    pub fn sample(self) -> Value {
        const LINK: &str = "https://app.example.org/_auth/pages/sample#nBH7lLwzgbNnvDOc_Xlqzn2tWm9vWc4rZzNq3WJtQ5M";
        match self {
            Self::VerifyAddress => json!({
                "link": LINK, "code": "492 817", "minutes": 1440, "name_taken": true,
            }),
            Self::SignIn => json!({"link": LINK, "code": "492 817", "minutes": 30}),
            Self::AlreadyRegistered => json!({"link": LINK}),
            Self::Recover => json!({"link": LINK, "minutes": 30}),
            Self::NewDevice => json!({
                "device": "Firefox on Linux", "address": "192.0.2.7", "time": "2026-11-21 17:20 UTC",
            }),
            Self::Invitation => json!({
                "organisation": "Müller & Söhne", "team": "Design", "inviter": "Ann",
                "role": "member", "link": LINK, "days": 7,
            }),
            Self::AddressChanged => json!({"address": "new@example.org"}),
            Self::FactorChanged => {
                json!({"what": "A passkey was added", "change": "passkey.add"})
            }
            Self::NoAccount | Self::PasswordChanged | Self::Erased | Self::Test => json!({}),
        }
    }

    /// Members of the data that need not be there; they are null then.
    pub(crate) fn optional(self) -> &'static [&'static str] {
        match self {
            Self::VerifyAddress => &["code", "name_taken"],
            Self::SignIn => &["link", "code"],
            Self::AlreadyRegistered => &["link"],
            Self::NewDevice => &["device", "address", "time"],
            Self::Invitation => &["team"],
            Self::Recover
            | Self::NoAccount
            | Self::PasswordChanged
            | Self::AddressChanged
            | Self::FactorChanged
            | Self::Erased
            | Self::Test => &[],
        }
    }

    /// The group in which mails to one address are counted, if it is one that somebody else can
    /// have sent there. What tells an owner of a change of his account is never held back: who
    /// steals the account could have flooded him first.
    pub(crate) fn counted_in(self) -> Option<u8> {
        match self {
            Self::VerifyAddress
            | Self::AlreadyRegistered
            | Self::Recover
            | Self::NoAccount
            | Self::SignIn => Some(1),
            Self::Invitation => Some(2),
            Self::PasswordChanged
            | Self::NewDevice
            | Self::AddressChanged
            | Self::FactorChanged
            | Self::Erased
            | Self::Test => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_stored_form() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert_eq!(Kind::parse(kind.name()), Some(kind));
        }
        assert_eq!(Kind::parse("Recover"), None);
    }
}

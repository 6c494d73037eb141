//! Accounts: signing up, aliases, profile, recovery, blocking, deletion, export.
//!
//! An account is a document of `_users` and a record beside it (see `adea_accounts::directory`).
//! Whatever writes such a document makes the record follow in the same transaction (`life.rs`); the
//! use cases here write both at once (`document.rs`).

mod administer;
mod change_password;
pub(crate) mod create;
mod destroy;
pub(crate) mod document;
pub(crate) mod edit;
mod export;
mod holder;
pub(crate) mod letters;
pub(crate) mod life;
mod profile;
mod recover;
pub(crate) mod sign_up;
#[cfg(test)]
mod tests;
mod verify_address;

use adea_accounts::names::InvalidName;
use serde_json::{Map, Value};

pub use administer::{AccountChange, AccountGiven, AccountsAsked, AccountsPage, IMPORT_MAX};
pub use create::NewAccount;
pub use holder::Holder;
pub use profile::ProfileChange;
pub use sign_up::{SignUp, SignUpNext};
pub use verify_address::AddressProof;

/// The most bytes of a profile, as JSON.
pub const PROFILE_BYTES_MAX: usize = 16 << 10;
/// How deep a profile may be.
pub const PROFILE_DEPTH_MAX: usize = 8;
/// The fewest characters of a password that is chosen at our own routes.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// The most characters of a password.
pub const PASSWORD_CHARS_MAX: usize = 256;
/// The most addresses of an account.
pub const ADDRESSES_MAX: usize = 10;

/// Why a use case here ended without doing what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// There is no such account, or it is gone.
    #[error("There is no such account.")]
    Missing,
    /// Somebody has this name, or one that looks like it.
    #[error("This name, or one that looks like it, is taken.")]
    NameTaken,
    /// Databases go by names, and so those stay.
    #[error(
        "The name stays what it is: each account has a database here that is called by it \
         (peruser.enabled)."
    )]
    NameKept,
    /// Somebody has verified this address.
    #[error("This address belongs to another account.")]
    AddressTaken,
    /// Another account is linked with this identity.
    #[error("Another account is linked with this identity.")]
    IdentityTaken,
    /// Another account has this passkey.
    #[error("Another account has this passkey.")]
    PasskeyTaken,
    /// A name or address that is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Nobody may sign up.
    #[error("Nobody can sign up here; an administrator makes accounts.")]
    SignUpClosed,
    /// Only listed addresses may sign up.
    #[error("Only those can sign up whose address is listed.")]
    NotListed,
    /// Only who is invited may sign up.
    #[error("Only those can sign up who bring an invitation.")]
    NotInvited,
    /// Neither a name nor an address.
    #[error("give a name, an address, or both")]
    NothingToCallItBy,
    /// A password that is too short or too long.
    #[error("a password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters")]
    PasswordLength,
    /// A profile that is too large or too deep.
    #[error(
        "a profile has at most {PROFILE_BYTES_MAX} bytes of JSON and {PROFILE_DEPTH_MAX} levels"
    )]
    Profile,
    /// No tag of a language.
    #[error("a language is a tag as in BCP 47, like `de` or `pt-BR`")]
    Language,
    /// A link or code that is good for nothing, any more or at all.
    #[error("This link or code was used, has run out, or is none.")]
    Spent,
    /// Not the caller's password.
    #[error("The password is not right.")]
    WrongPassword,
    /// Neither the password nor a session that was begun a short while ago.
    #[error("Give the password, or sign in again and repeat this within ten minutes.")]
    NotFresh,
    /// A credential that cannot be verified, or at no bearable cost.
    #[error("this stands for no password that can be verified here")]
    Credential,
    /// Roles that nobody gives.
    #[error(
        "a role has 1 to 256 bytes, is none of the server's own or of a membership, and there are at most 100"
    )]
    Roles,
    /// Who asks has no account here.
    #[error("Who has signed in so has no account here that could be changed.")]
    NoAccount,
    /// It changed while it was to be changed.
    #[error("The account was changed meanwhile; try again.")]
    Changed,
    /// The document has conflicts.
    #[error("The document of the account has conflicts; resolve them first.")]
    Conflicted,
    /// Others would be left without an owner.
    #[error(
        "You are the last owner of an organisation that has other members; name another owner first."
    )]
    LastOwner,
    /// More addresses than an account may have.
    #[error("An account has at most {ADDRESSES_MAX} addresses.")]
    TooManyAddresses,
    /// Nobody could sign in to the account any more.
    #[error("Without this address nobody could sign in to the account; choose a name first.")]
    LastAddress,
}

/// Refuses a profile that is too large or too deep.
pub(crate) fn check_profile(profile: &Map<String, Value>) -> Result<(), AccountError> {
    fn depth(value: &Value, left: usize) -> bool {
        let Some(left) = left.checked_sub(1) else {
            return false;
        };
        match value {
            Value::Array(items) => items.iter().all(|item| depth(item, left)),
            Value::Object(fields) => fields.values().all(|field| depth(field, left)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        }
    }
    let shallow = profile
        .values()
        .all(|value| depth(value, PROFILE_DEPTH_MAX));
    let bytes = serde_json::to_vec(profile).map_or(usize::MAX, |json| json.len());
    if shallow && bytes <= PROFILE_BYTES_MAX {
        Ok(())
    } else {
        Err(AccountError::Profile)
    }
}

/// Refuses what is no tag of a language.
pub(crate) fn check_language(language: Option<&str>) -> Result<(), AccountError> {
    let Some(language) = language else {
        return Ok(());
    };
    let part = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let first = language.split('-').next().unwrap_or_default();
    let fits = language.len() <= 35
        && first.bytes().all(|b| b.is_ascii_alphabetic())
        && first.len() >= 2
        && language.split('-').all(part);
    fits.then_some(()).ok_or(AccountError::Language)
}

//! Accounts: signing up, aliases, profile, recovery, blocking, deletion, export.
//!
//! An account is a document of `_users` and a record beside it (see `adea_accounts::directory`).
//! Whatever writes such a document makes the record follow in the same transaction (`life.rs`); the
//! use cases here write both at once (`document.rs`).

pub(crate) mod create;
pub(crate) mod document;
pub(crate) mod edit;
mod holder;
pub(crate) mod life;

use adea_accounts::names::InvalidName;
pub use create::NewAccount;
pub use holder::Holder;

/// Why a use case here ended without doing what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// There is no such account, or it is gone.
    #[error("There is no such account.")]
    Missing,
    /// Somebody has this name, or one that looks like it.
    #[error("This name, or one that looks like it, is taken.")]
    NameTaken,
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
}

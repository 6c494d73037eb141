//! Apps: who may use which databases.
//!
//! What is registered is in memory besides the store, since every request on a database asks for it;
//! it is read anew after each commit that changes it, and before the answer.
//!
//! Invariants: a caller with a name enters a database of a registered app only with the app's role;
//! whoever asks from outside for a database goes through [`Pod::may_enter`] first.

mod actor;
mod enter;
mod join;
mod register;
mod registry;
#[cfg(test)]
mod tests;

use adea_accounts::apps::{InvalidApp, JoinRefused};

pub use actor::Actor;
pub use register::AppChange;

pub(crate) use enter::keep_quota;
pub(crate) use join::{join_in, words_for};
pub(crate) use registry::AppRegistry;

/// Why a use case here ended without doing what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// There is no such app.
    #[error("There is no such app.")]
    Unknown,
    /// There is one of that id.
    #[error("There is an app of this id.")]
    Exists,
    /// It has changed since it was read.
    #[error("The app has changed: its revision is {0}.")]
    Changed(u64),
    /// A domain is another app's.
    #[error("The domain {0} belongs to another app.")]
    DomainTaken(String),
    /// What is to be set makes no sense.
    #[error(transparent)]
    Invalid(#[from] InvalidApp),
    /// What is asked for has to be confirmed.
    #[error("To take away the registration of this app, confirm it: ?confirm={0}")]
    Unconfirmed(String),
    /// The caller has not joined the app.
    #[error("You have not joined the app {0}; POST /_apps/{0}/join does it.")]
    NotJoined(String),
    /// The caller does not administer the app.
    #[error("Only administrators of the app {0} may do this.")]
    NotAdmin(String),
    /// The caller administers the app, but this is for the server's administrators.
    #[error("Only server administrators may change this: {0}.")]
    ServersMatter(&'static str),
    /// The app takes nobody who comes of himself, or not him.
    #[error("The app {0} does not take this account.")]
    Closed(String),
    /// The caller has no account here that could join anything.
    #[error("Who has signed in so has no account here, and can join nothing.")]
    NoAccount,
    /// There is no such account.
    #[error("There is no such account.")]
    UnknownAccount,
    /// As many as there may be.
    #[error("The quota is used up: {0}.")]
    QuotaExceeded(&'static str),
    /// The caller is the last owner of an organisation of the app.
    #[error("You are the last owner of an organisation of this app; name another one first.")]
    LastOwner,
}

impl From<JoinRefused> for AppError {
    fn from(refused: JoinRefused) -> Self {
        match refused {
            JoinRefused::Unknown => Self::Unknown,
            JoinRefused::Full => Self::QuotaExceeded("accounts of the app"),
        }
    }
}

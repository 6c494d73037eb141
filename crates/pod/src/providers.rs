//! Signing in with another provider: a browser is sent there, comes back with a code, and the app that
//! sent it swaps what it then gets for a session.
//!
//! ```text
//! app      POST …/start            → url, continuation     (the app keeps the continuation)
//! browser  GET url                 → the provider asks
//! browser  GET …/callback          → redirect_to#code=…    (the server asks the provider who it is)
//! app      POST …/finish           → session               (with code and continuation)
//! ```
//!
//! What `callback` learns is worth nothing without the continuation, which only the one has who began:
//! a browser that was lured to an address of somebody else's attempt neither signs in as him nor lets him
//! in. No cookie is needed for that, so it also works for apps of other origins, and where the browser is
//! another program than the app.
//!
//! Invariants: each state and each code is good once, for a while, and for one provider; nothing is stored
//! of a provider's tokens; an account is found by the provider's id for him, and by an address only where
//! the provider has verified it and is trusted in that, and the account has verified it too (`person.rs`).

mod ask;
mod identities;
mod journey;
mod person;

use std::sync::Arc;

use adea_accounts::oidc::Provider;

use crate::error::PodError;
use crate::pod::Pod;

pub(crate) use ask::ProviderMemory;
pub use identities::LinkedIdentity;
pub(crate) use identities::has_way_in;
pub use journey::{Finished, Returned, Started};

/// Why a use case here ended without doing what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// No such provider is set.
    #[error("There is no such provider.")]
    Unknown,
    /// Browsers could not come back.
    #[error("Other providers can be used when public_url is set.")]
    NoPublicUrl,
    /// The page to return to is not of this server and not listed.
    #[error("redirect_to must be a path of this server or a page of a listed origin.")]
    Redirect,
    /// The state or code was not given out, is over, or was used.
    #[error("This attempt to sign in is over, or was not begun here. Begin again.")]
    Over,
    /// The provider did not let him in, or he did not want to.
    #[error("The provider did not confirm who you are.")]
    Declined,
    /// The provider cannot be asked now.
    #[error("The provider cannot be reached. Try again later.")]
    Unreachable,
    /// What the provider said proves nothing.
    #[error("The answer of the provider was not accepted.")]
    Untrusted,
    /// Who finishes is not who began.
    #[error("This attempt was begun by somebody else.")]
    Stranger,
    /// The account has an identity of this provider.
    #[error("The account is linked with this provider already.")]
    Linked,
    /// The account has none.
    #[error("The account is not linked with this provider.")]
    NotLinked,
    /// Without it nobody could sign in.
    #[error("This is the only way into the account. Set a password or verify an address first.")]
    LastWayIn,
}

impl Pod {
    /// The provider of that name.
    ///
    /// # Errors
    /// [`ProviderError::Unknown`].
    pub(crate) fn provider(&self, name: &str) -> Result<Arc<Provider>, PodError> {
        let auth = self.auth();
        let mut all = auth.accounts.providers.list.iter();
        let found = all.find(|provider| provider.name == name);
        Ok(found.map(Arc::clone).ok_or(ProviderError::Unknown)?)
    }
}

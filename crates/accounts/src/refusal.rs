//! What a caller is told when he may not do something.
//!
//! The kinds are the ones that `CouchDB` distinguishes by status and `error` word; the reason is
//! its text. The edge turns a kind into a status, nobody else does.

use std::borrow::Cow;

/// A request that is refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody who proved who he is might be allowed: 401 `unauthorized`.
    #[error("{0}")]
    Unauthorized(Cow<'static, str>),
    /// Signing in again would not help: 403 `forbidden`.
    #[error("{0}")]
    Forbidden(Cow<'static, str>),
    /// The caller may not even learn whether it exists: 404 `not_found`.
    #[error("missing")]
    NotFound,
}

impl Refusal {
    /// The text for the `reason` field of the answer.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Unauthorized(reason) | Self::Forbidden(reason) => reason,
            Self::NotFound => "missing",
        }
    }

    /// A 403 with a fixed reason.
    pub(crate) const fn forbidden(reason: &'static str) -> Self {
        Self::Forbidden(Cow::Borrowed(reason))
    }

    /// A 401 with a fixed reason.
    pub(crate) const fn unauthorized(reason: &'static str) -> Self {
        Self::Unauthorized(Cow::Borrowed(reason))
    }
}

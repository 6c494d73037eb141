//! What a caller holds: the set of principals under which documents may be shown to him.
//!
//! A principal is a text. `user:<name>` and `user:<account id>` are one user, `@users` whoever has a
//! name, `@anyone` everybody, `_admin` who administers the database; any other text is a role.
//!
//! Invariant: nobody holds what stands for somebody or something else. A role that begins with `_`
//! or `@` gives nothing, nor does one that begins with `user:` unless it names the caller's own
//! account; a name that has the form of an account id gives nothing either, unless it is his own.

use std::sync::Arc;

use adea_base::Caller;
use sha2::{Digest as _, Sha256};

use crate::list::PRINCIPAL_BYTES_MAX;

/// Held by who administers the database; sees every document.
pub const ADMIN: &str = "_admin";
/// Held by everybody who has a name.
pub const USERS: &str = "@users";
/// Held by everybody.
pub const ANYONE: &str = "@anyone";

/// What stands before the name or the account id of a user.
const USER: &str = "user:";
/// The number of characters of an account id.
const ACCOUNT_LENGTH: usize = 26;

/// A set of principals; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principals(Arc<[Arc<str>]>);

impl Principals {
    /// What `caller` holds in a database, which he administers or not.
    #[must_use]
    pub fn of(caller: &Caller, admin: bool) -> Self {
        let mut held: Vec<Arc<str>> = Vec::with_capacity(caller.roles().len() + 5);
        held.push(Arc::from(ANYONE));
        if admin {
            held.push(Arc::from(ADMIN));
        }
        if caller.name().is_some() {
            held.push(Arc::from(USERS));
        }
        held.extend(named(caller));
        if let Some(account) = caller.account() {
            held.push(user(account));
        }
        let roles = caller.roles().iter().filter(|role| is_plain(role));
        held.extend(roles.map(|role| Arc::from(role.as_str())));
        // What no access list can name needs not be remembered for anybody.
        held.retain(|principal| principal.len() <= PRINCIPAL_BYTES_MAX);
        Self::new(held)
    }

    /// The set of these.
    #[must_use]
    pub fn new(mut principals: Vec<Arc<str>>) -> Self {
        principals.sort_unstable();
        principals.dedup();
        Self(principals.into())
    }

    /// Whether `principal` is in it.
    #[must_use]
    pub fn holds(&self, principal: &str) -> bool {
        self.0
            .binary_search_by(|held| held.as_ref().cmp(principal))
            .is_ok()
    }

    /// Whether one of `principals` is in it, or all are shown by `_admin`.
    #[must_use]
    pub fn holds_any(&self, principals: &[Arc<str>]) -> bool {
        self.is_admin() || principals.iter().any(|principal| self.holds(principal))
    }

    /// Whether it sees all.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.holds(ADMIN)
    }

    /// The principals in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Arc<str>] {
        &self.0
    }

    /// Names the set, the same on every pod and in every version.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        digest(&self.0)
    }
}

/// The hash of a sorted set of texts: each with its length in front, so that no two sets are told
/// alike.
pub(crate) fn digest(sorted: &[Arc<str>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in sorted {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().into()
}

/// The principal that stands for whoever made a document: by it he is known as its creator.
/// `None` for the anonymous.
#[must_use]
pub fn author(caller: &Caller) -> Option<Arc<str>> {
    let fits = |principal: &Arc<str>| principal.len() <= PRINCIPAL_BYTES_MAX;
    named(caller)
        .filter(fits)
        .or_else(|| caller.account().map(user))
}

/// Under which name a database keeps what is `caller`'s alone: his account id, or his name where he
/// has no account. `None` for the anonymous.
#[must_use]
pub fn reader_name(caller: &Caller) -> Option<String> {
    match (caller.account(), caller.name()) {
        (Some(account), _) => Some(account.to_owned()),
        (None, Some(name)) => Some(format!("~{name}")),
        (None, None) => None,
    }
}

/// Whether `text` has the form of an account id.
#[must_use]
pub fn looks_like_account(text: &str) -> bool {
    text.len() == ACCOUNT_LENGTH && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
}

/// The principal of the caller's name, unless it could be taken for another's account id.
fn named(caller: &Caller) -> Option<Arc<str>> {
    let name = caller.name().filter(|name| !name.is_empty())?;
    (!looks_like_account(name) || caller.account() == Some(name)).then(|| user(name))
}

fn user(name: &str) -> Arc<str> {
    [USER, name].concat().into()
}

/// Whether a role is held as it is. The one `user:` that would be is held without it.
fn is_plain(role: &str) -> bool {
    !role.is_empty() && !role.starts_with(['_', '@']) && !role.starts_with(USER)
}

#[cfg(test)]
mod tests;

//! Who is asking, as a value that travels with a request.

use std::sync::Arc;

/// Whoever makes a request: a name, where he proved one, and the roles that go with it.
///
/// `CouchDB` calls this the user context. An anonymous caller has no name and no roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    name: Option<Arc<str>>,
    roles: Arc<[String]>,
    account: Option<Arc<str>>,
    session: Option<Arc<str>>,
}

impl Caller {
    /// Somebody who proved nothing.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Somebody who proved to be `name` and holds `roles`.
    #[must_use]
    pub fn named(name: &str, roles: Vec<String>) -> Self {
        Self {
            name: Some(Arc::from(name)),
            roles: roles.into(),
            account: None,
            session: None,
        }
    }

    /// The same caller, known as the account with this immutable id.
    #[must_use]
    pub fn with_account(self, id: &str) -> Self {
        Self {
            account: Some(Arc::from(id)),
            ..self
        }
    }

    /// The same caller, speaking for as long as the session with this id lasts.
    #[must_use]
    pub fn with_session(self, id: &str) -> Self {
        Self {
            session: Some(Arc::from(id)),
            ..self
        }
    }

    /// The same caller, holding `role` besides.
    #[must_use]
    pub fn with_role(self, role: String) -> Self {
        Self {
            roles: self.roles.iter().cloned().chain([role]).collect(),
            ..self
        }
    }

    /// The immutable id of the caller's account. Administrators of the configuration and holders of
    /// somebody else's tokens have none.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// The id of the session that the caller proved himself with, if it was one that this server
    /// keeps.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// The name, unless anonymous.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The roles held.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// Whether this is a server administrator (role `_admin`).
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.roles.iter().any(|role| role == "_admin")
    }

    /// Whether one of `names` or `roles` is this caller's.
    #[must_use]
    pub fn is_one_of(&self, names: &[String], roles: &[String]) -> bool {
        self.name
            .as_deref()
            .is_some_and(|own| names.iter().any(|name| name == own))
            || self.roles.iter().any(|own| roles.contains(own))
    }
}

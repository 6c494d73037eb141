//! Who is asking, and what he may see, as values that travel with a request.

use std::sync::Arc;

/// Whoever makes a request: a name, where he proved one, and the roles that go with it.
///
/// `CouchDB` calls this the user context. An anonymous caller has no name and no roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    name: Option<Arc<str>>,
    roles: Arc<[String]>,
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
        }
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

/// Which documents of a database a reader may see, and by which index he walks them.
///
/// Rights are values: nothing reads documents without one. For now a reader who may enter a
/// database sees all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every document of the database, in the order of its own sequence index.
    Aggregate,
}

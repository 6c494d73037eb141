//! The only place where rights to read are made.

use adea_base::Scope;

/// The right to see all of a database: for the server's own work, and for who may see all of it.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "rights to read are made in this crate, and nowhere else"
)]
pub fn aggregate() -> Scope {
    Scope::aggregate()
}

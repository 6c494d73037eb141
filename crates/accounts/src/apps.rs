//! Apps: namespaces of databases with sign-up rules of their own.

use adea_store::{EngineError, Space, Transaction, View};

use crate::keys;

/// Adds the roles that `account` holds by the apps that it has joined to `roles`.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn roles_of(
    _view: &dyn View,
    _account: &str,
    _roles: &mut Vec<String>,
) -> Result<(), EngineError> {
    Ok(())
}

/// Forgets which apps `account`, which is going away, has joined.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn forget_account(tx: &mut Transaction<'_>, account: &str) -> Result<(), EngineError> {
    for (key, _) in tx.range(Space::Index, &keys::apps_of(account), usize::MAX)? {
        tx.delete(Space::Index, key);
    }
    Ok(())
}

//! Organisations, teams and memberships.

use adea_store::{EngineError, Space, Transaction, View};

use crate::keys;

/// Adds the roles that `account` holds by its memberships to `roles`.
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

/// Removes all memberships of `account`, which is going away.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn forget_account(tx: &mut Transaction<'_>, account: &str) -> Result<(), EngineError> {
    for (key, _) in tx.range(Space::Index, &keys::memberships_of(account), usize::MAX)? {
        let group = String::from_utf8_lossy(keys::last_part(&key)).into_owned();
        tx.delete(Space::Index, keys::membership(&group, account));
        tx.delete(Space::Index, key);
    }
    Ok(())
}

//! Accounts that are spared by whoever administers the database of accounts and not the server.

use std::borrow::Cow;

use adea_accounts::{Refusal, USER_ID_PREFIX, directory};
use adea_base::Caller;
use adea_store::View;

use crate::databases::DatabaseEntry;
use crate::error::PodError;

/// The reason where an account is of an administrator of the server.
const OF_AN_ADMIN: &str = "Only server admins may write the account of a server admin.";

/// Keeps the accounts of administrators of the server from whoever administers the accounts only: with
/// another password he would be one of them.
pub(super) fn spare_admins(
    view: &dyn View,
    entry: &DatabaseEntry,
    id: &str,
    caller: &Caller,
) -> Result<(), PodError> {
    let Some(name) = id.strip_prefix(USER_ID_PREFIX) else {
        return Ok(());
    };
    if caller.is_admin() || caller.name() == Some(name) {
        return Ok(());
    }
    let record = directory::live_name(view, entry.number.0, name)?;
    match record.is_some_and(|record| record.flags.admin) {
        true => Err(Refusal::Forbidden(Cow::Borrowed(OF_AN_ADMIN)).into()),
        false => Ok(()),
    }
}

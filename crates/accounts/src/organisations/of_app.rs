//! Organisations in an app: who belongs to one has joined the app, and who leaves the app belongs to
//! none of them any more.

use adea_store::{Decline, Transaction};

use super::membership::{places, remove_member};
use super::record::{Organisation, Place};
use super::{Acting, Decided, OrganisationError};
use crate::apps::{self, JoinRefused};
use crate::keys;
use crate::stored::get;

/// Lets make organisations in `app` who has joined it.
pub(super) fn require_joined(
    tx: &Transaction<'_>,
    by: &Acting,
    account: &str,
    app: &str,
) -> Decided<()> {
    if app.is_empty() {
        return Ok(());
    }
    let Some(found) = apps::find(tx, app)? else {
        return Err(OrganisationError::Invalid("There is no such app.").into());
    };
    if by.admin || apps::joined(tx, account, &found)?.is_some() {
        return Ok(());
    }
    let reason = "Join the app first: POST /_apps/{app}/join.";
    Err(OrganisationError::Forbidden(reason).into())
}

/// Has `account`, which becomes a member of `organisation`, join the app that this is in.
pub(super) fn join_app(
    tx: &mut Transaction<'_>,
    by: &Acting,
    organisation: &Organisation,
    account: &str,
) -> Decided<()> {
    match apps::join(tx, account, &organisation.app, by.now_ms) {
        // The organisation of an app whose registration ended is one like any other.
        Ok(_) | Err(Decline::Refused(JoinRefused::Unknown)) => Ok(()),
        Err(Decline::Refused(JoinRefused::Full)) => {
            let count = apps::count(tx, &organisation.app)?;
            let what = "accounts in the app";
            let limit = u32::try_from(count).unwrap_or(u32::MAX);
            Err(OrganisationError::Quota { what, limit }.into())
        }
        Err(Decline::Engine(error)) => Err(error.into()),
    }
}

/// Ends all memberships of whoever acts in organisations of `app`, which he leaves.
///
/// # Errors
/// [`OrganisationError::LastOwner`] if one of them would have no owner.
pub fn leave_app(tx: &mut Transaction<'_>, by: &Acting, app: &str) -> Decided<()> {
    let account = by.account()?;
    for (group, place) in places(tx, account)? {
        let Place::Organisation(_) = place else {
            continue;
        };
        let found: Option<Organisation> = get(tx, &keys::organisation(&group), &group)?;
        if found.is_none_or(|organisation| organisation.app != app) {
            continue;
        }
        match remove_member(tx, by, &group, account, None) {
            // One that is on its way out takes the membership with it.
            Ok(()) | Err(Decline::Refused(OrganisationError::Missing)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

//! Organisations: made, changed, deleted.

use adea_store::{Space, Transaction};
use serde_json::json;

use super::of_app::require_joined;
use super::read::{enter, find_place};
use super::record::{Counts, Customs, Organisation, Place, Quota};
use super::role::OrganisationRole;
use super::{Acting, Decided, OrganisationError, agree, closing, membership, person};
use crate::directory::rights_change;
use crate::keys;
use crate::names::{lookalike, normal_name};
use crate::stored::{get_text, put};

/// What an organisation begins with.
#[derive(Clone, Debug, Default)]
pub struct NewOrganisation {
    /// Its name, as it was typed.
    pub name: String,
    /// The app that it is in; empty for none. Whoever calls has looked whether there is one.
    pub app: String,
    /// The account that owns it; `None` for whoever makes it.
    pub owner: Option<String>,
}

/// What is to be changed of an organisation.
#[derive(Clone, Debug, Default)]
pub struct OrganisationChange {
    /// Another name, as it was typed.
    pub name: Option<String>,
    /// What its owners chose.
    pub members_make_teams: Option<bool>,
    /// What server administrators allow it.
    pub quota: Option<Quota>,
    /// The revision that the change is based on; `None` for whichever is there.
    pub if_revision: Option<u64>,
}

/// Makes an organisation.
///
/// # Errors
/// [`OrganisationError`] if he may not, the name is none or another's, or he owns too many.
pub fn create_organisation(
    tx: &mut Transaction<'_>,
    by: &Acting,
    new: &NewOrganisation,
) -> Decided<Organisation> {
    if !by.limits.open && !by.admin {
        let reason = "Only server administrators may make organisations here.";
        return Err(OrganisationError::Forbidden(reason).into());
    }
    let owner = match new.owner.as_deref() {
        None => by.account()?,
        Some(owner) if by.admin || by.account.as_deref() == Some(owner) => owner,
        Some(_) => {
            let reason = "Only server administrators may make organisations for others.";
            return Err(OrganisationError::Forbidden(reason).into());
        }
    };
    person(tx, by, owner)?;
    require_joined(tx, by, owner, &new.app)?;
    if !by.admin && owned(tx, owner)? >= by.limits.owned {
        let (what, limit) = ("organisations of one account", by.limits.owned);
        return Err(OrganisationError::Quota { what, limit }.into());
    }
    let name = normal_name(&new.name).map_err(OrganisationError::Name)?;
    let mut organisation = Organisation {
        id: keys::new_id(&by.entropy),
        lookalike: lookalike(&name),
        name,
        app: new.app.clone(),
        created_ms: by.now_ms,
        revision: 1,
        quota: Quota::default(),
        domain: None,
        customs: Customs::default(),
        counts: Counts::default(),
    };
    take_name(tx, &organisation)?;
    membership::admit(tx, by, &mut organisation, owner, OrganisationRole::Owner)?;
    let (id, app) = (organisation.id.as_str(), organisation.app.as_str());
    let detail = json!({"name": organisation.name, "owner": owner});
    by.note(tx, "organisation.create", id, app, detail)?;
    Ok(organisation)
}

/// How many organisations `account` owns.
fn owned(tx: &Transaction<'_>, account: &str) -> Decided<u32> {
    let places = membership::places(tx, account)?;
    let owner = Place::Organisation(OrganisationRole::Owner);
    let owned = places.iter().filter(|(_, place)| *place == owner).count();
    Ok(u32::try_from(owned).unwrap_or(u32::MAX))
}

/// Makes the name of `organisation` lead to it.
fn take_name(tx: &mut Transaction<'_>, organisation: &Organisation) -> Decided<()> {
    let alias = keys::organisation_name(&organisation.app, &organisation.lookalike);
    match get_text(tx, &alias)? {
        Some(other) if other != organisation.id => Err(OrganisationError::NameTaken.into()),
        Some(_) => Ok(()),
        None => {
            tx.put(Space::Index, alias, organisation.id.clone().into_bytes());
            Ok(())
        }
    }
}

/// Stores `organisation`.
pub(super) fn store(tx: &mut Transaction<'_>, organisation: &Organisation) {
    put(tx, keys::organisation(&organisation.id), organisation);
}

/// Changes an organisation.
///
/// # Errors
/// [`OrganisationError`] if he may not, the name is none or another's, or somebody was faster.
pub fn change_organisation(
    tx: &mut Transaction<'_>,
    by: &Acting,
    id: &str,
    change: &OrganisationChange,
) -> Decided<Organisation> {
    let (mut organisation, standing) = enter(tx, by, id)?;
    if !standing.changes_organisation() {
        let reason = "Only its owners and administrators may change an organisation.";
        return Err(OrganisationError::Forbidden(reason).into());
    }
    if change.quota.is_some() && !by.admin {
        let reason = "Only server administrators may set quotas.";
        return Err(OrganisationError::Forbidden(reason).into());
    }
    agree(change.if_revision, organisation.revision)?;
    let before = organisation.clone();
    if let Some(name) = &change.name {
        organisation.name = normal_name(name).map_err(OrganisationError::Name)?;
        organisation.lookalike = lookalike(&organisation.name);
        take_name(tx, &organisation)?;
        if organisation.lookalike != before.lookalike {
            let old = keys::organisation_name(&before.app, &before.lookalike);
            tx.delete(Space::Index, old);
        }
    }
    if let Some(members_make_teams) = change.members_make_teams {
        organisation.customs.members_make_teams = members_make_teams;
    }
    if let Some(quota) = change.quota {
        organisation.quota = quota;
    }
    if organisation != before {
        organisation.revision += 1;
        store(tx, &organisation);
        let detail = json!({
            "name": organisation.name, "quota": organisation.quota, "customs": organisation.customs,
        });
        by.note(tx, "organisation.change", id, &before.app, detail)?;
    }
    Ok(organisation)
}

/// Deletes an organisation: from now on nobody finds it, and nobody holds a role by it. What is
/// left is removed by [`clear`](super::clear), a part of it here.
///
/// # Errors
/// [`OrganisationError`] if he may not, or somebody was faster.
pub fn close_organisation(
    tx: &mut Transaction<'_>,
    by: &Acting,
    id: &str,
    if_revision: Option<u64>,
) -> Decided<()> {
    let (organisation, standing) = enter(tx, by, id)?;
    if !standing.owns_organisation() {
        let reason = "Only its owners may delete an organisation.";
        return Err(OrganisationError::Forbidden(reason).into());
    }
    agree(if_revision, organisation.revision)?;
    // Whoever is a member now is told apart from who never was one by the log alone.
    let detail = json!({"name": organisation.name, "members": organisation.counts.members});
    by.note(tx, "organisation.delete", id, &organisation.app, detail)?;
    close(tx, &organisation)?;
    Ok(())
}

/// Makes `organisation` one that is gone.
pub(super) fn close(
    tx: &mut Transaction<'_>,
    organisation: &Organisation,
) -> Result<(), adea_store::EngineError> {
    let alias = keys::organisation_name(&organisation.app, &organisation.lookalike);
    tx.delete(Space::Index, alias);
    if let Some(domain) = &organisation.domain {
        tx.delete(Space::Index, keys::domain(&domain.name, &organisation.app));
    }
    tx.delete(Space::Index, keys::organisation(&organisation.id));
    closing::begin(tx, &organisation.id, &closing::Closing::Organisation);
    // Roles were worked out under a version that ends here; open feeds are woken one by one, as
    // memberships are removed.
    rights_change(tx, &organisation.id)?;
    closing::clear(tx, &organisation.id)?;
    Ok(())
}

/// Whether `account` is a member of `organisation`.
pub(super) fn has_member(
    tx: &Transaction<'_>,
    organisation: &str,
    account: &str,
) -> Result<bool, adea_store::EngineError> {
    Ok(find_place(tx, organisation, account)?.is_some())
}

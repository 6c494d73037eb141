//! Teams: made, changed, deleted.

use adea_store::{Space, Transaction};
use serde_json::json;

use super::organisation::{has_member, store as store_organisation};
use super::read::{enter, enter_team};
use super::record::{Organisation, Team};
use super::role::TeamRole;
use super::{Acting, Decided, OrganisationError, agree, closing, membership};
use crate::directory::rights_change;
use crate::keys;
use crate::names::{lookalike, normal_name};
use crate::stored::{get_text, put};

/// What a team begins with.
#[derive(Clone, Debug, Default)]
pub struct NewTeam {
    /// The organisation that it is a part of.
    pub organisation: String,
    /// Its name, as it was typed.
    pub name: String,
}

/// What is to be changed of a team.
#[derive(Clone, Debug, Default)]
pub struct TeamChange {
    /// Another name, as it was typed.
    pub name: Option<String>,
    /// The revision that the change is based on; `None` for whichever is there.
    pub if_revision: Option<u64>,
}

/// Makes a team. Whoever makes it is its first administrator, if he is a member.
///
/// # Errors
/// [`OrganisationError`] if he may not, the name is none or another's, or there are too many.
pub fn create_team(tx: &mut Transaction<'_>, by: &Acting, new: &NewTeam) -> Decided<Team> {
    let (mut organisation, standing) = enter(tx, by, &new.organisation)?;
    if !standing.makes_teams(organisation.customs.members_make_teams) {
        let reason = "Only owners and administrators of the organisation may make teams.";
        return Err(OrganisationError::Forbidden(reason).into());
    }
    let limit = organisation.limits(&by.limits).teams;
    if organisation.counts.teams >= limit {
        let what = "teams";
        return Err(OrganisationError::Quota { what, limit }.into());
    }
    let name = normal_name(&new.name).map_err(OrganisationError::Name)?;
    let team = Team {
        id: keys::new_id(&by.entropy),
        organisation: organisation.id.clone(),
        lookalike: lookalike(&name),
        name,
        created_ms: by.now_ms,
        revision: 1,
    };
    take_name(tx, &team)?;
    put(tx, keys::team(&team.id), &team);
    organisation.counts.teams += 1;
    store_organisation(tx, &organisation);
    let detail = json!({"organisation": organisation.id, "name": team.name});
    by.note(tx, "team.create", &team.id, &organisation.app, detail)?;
    if let Some(account) = by.account.as_deref()
        && has_member(tx, &organisation.id, account)?
    {
        membership::place(tx, by, &organisation.app, &team, account, TeamRole::Admin)?;
    }
    Ok(team)
}

/// Makes the name of `team` lead to it.
fn take_name(tx: &mut Transaction<'_>, team: &Team) -> Decided<()> {
    let alias = keys::team_of(&team.organisation, &team.lookalike);
    match get_text(tx, &alias)? {
        Some(other) if other != team.id => Err(OrganisationError::NameTaken.into()),
        Some(_) => Ok(()),
        None => {
            tx.put(Space::Index, alias, team.id.clone().into_bytes());
            Ok(())
        }
    }
}

/// Changes a team.
///
/// # Errors
/// [`OrganisationError`] if he may not, the name is none or another's, or somebody was faster.
pub fn change_team(
    tx: &mut Transaction<'_>,
    by: &Acting,
    id: &str,
    change: &TeamChange,
) -> Decided<Team> {
    let (organisation, mut team, standing) = enter_team(tx, by, id)?;
    if !standing.changes_team() {
        let reason = "Only administrators of the team or the organisation may change a team.";
        return Err(OrganisationError::Forbidden(reason).into());
    }
    agree(change.if_revision, team.revision)?;
    let before = team.clone();
    if let Some(name) = &change.name {
        team.name = normal_name(name).map_err(OrganisationError::Name)?;
        team.lookalike = lookalike(&team.name);
        take_name(tx, &team)?;
        if team.lookalike != before.lookalike {
            let old = keys::team_of(&before.organisation, &before.lookalike);
            tx.delete(Space::Index, old);
        }
    }
    if team != before {
        team.revision += 1;
        put(tx, keys::team(id), &team);
        let detail = json!({"organisation": organisation.id, "name": team.name});
        by.note(tx, "team.change", id, &organisation.app, detail)?;
    }
    Ok(team)
}

/// Deletes a team: from now on nobody finds it, and nobody holds a role by it. What is left is
/// removed by [`clear`](super::clear), a part of it here.
///
/// # Errors
/// [`OrganisationError`] if he may not, or somebody was faster.
pub fn close_team(
    tx: &mut Transaction<'_>,
    by: &Acting,
    id: &str,
    if_revision: Option<u64>,
) -> Decided<()> {
    let (mut organisation, team, standing) = enter_team(tx, by, id)?;
    if !standing.deletes_team() {
        let reason = "Only owners and administrators of the organisation may delete a team.";
        return Err(OrganisationError::Forbidden(reason).into());
    }
    agree(if_revision, team.revision)?;
    let detail = json!({"organisation": organisation.id, "name": team.name});
    by.note(tx, "team.delete", id, &organisation.app, detail)?;
    tx.delete(Space::Index, keys::team(id));
    let alias = keys::team_of(&team.organisation, &team.lookalike);
    tx.delete(Space::Index, alias);
    organisation.counts.teams = organisation.counts.teams.saturating_sub(1);
    store_organisation(tx, &organisation);
    closing::begin(tx, id, &closing::Closing::Team);
    rights_change(tx, id)?;
    closing::clear(tx, id)?;
    Ok(())
}

/// The team with this id, if it is one of `organisation`.
pub(super) fn of(
    tx: &Transaction<'_>,
    organisation: &Organisation,
    id: &str,
) -> Result<Option<Team>, adea_store::EngineError> {
    let team: Option<Team> = crate::stored::get(tx, &keys::team(id), id)?;
    Ok(team.filter(|team| team.organisation == organisation.id))
}

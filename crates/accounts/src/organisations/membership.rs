//! Memberships: who belongs to what, as what, and the roles that follow.

use adea_store::{EngineError, Space, Transaction, View};
use serde_json::json;

use super::of_app::join_app;
use super::read::{enter, enter_team, find_place, find_team_place};
use super::record::{Member, Organisation, Place, Team, TeamMember};
use super::role::{OrganisationRole, TeamRole};
use super::{Acting, Decided, OrganisationError, agree, closing, organisation, person};
use crate::directory::{self, rights_change};
use crate::keys;
use crate::stored::{decode, get, put};

/// How many members are looked at for one who follows the last owner.
const HEIRS_MAX: usize = 10_000;

/// Adds the roles that `account` holds by its memberships to `roles`: `org:<id>` and
/// `team:<id>` for each, and with `:` and a word behind it one for what it is there and for each
/// lesser thing.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn roles_of(
    view: &dyn View,
    account: &str,
    roles: &mut Vec<String>,
) -> Result<(), EngineError> {
    // Hardly ever is a group on its way out; only then each is asked about.
    let ask = closing::any(view)?;
    let range = keys::memberships_of(account);
    let mut cursor = view.range(Space::Index, range, adea_store::Direction::Forward)?;
    while let Some((key, value)) = cursor.next()? {
        let group = String::from_utf8_lossy(keys::last_part(key));
        let place: Place = decode(value, "a membership")?;
        let organisation = match &place {
            Place::Organisation(_) => group.as_ref(),
            Place::Team(organisation, _) => organisation,
        };
        if ask && (closing::is(view, &group)? || closing::is(view, organisation)?) {
            continue;
        }
        push_roles(&group, &place, roles);
    }
    Ok(())
}

fn push_roles(group: &str, place: &Place, roles: &mut Vec<String>) {
    match place {
        Place::Organisation(role) => {
            roles.push(format!("org:{group}"));
            let held = OrganisationRole::ALL
                .into_iter()
                .filter(|lesser| lesser <= role);
            roles.extend(held.map(|held| format!("org:{group}:{}", held.word())));
        }
        Place::Team(_, role) => {
            roles.push(format!("team:{group}"));
            let held = TeamRole::ALL.into_iter().filter(|lesser| lesser <= role);
            roles.extend(held.map(|held| format!("team:{group}:{}", held.word())));
        }
    }
}

/// Where `account` belongs, as this transaction leaves it.
pub(super) fn places(
    tx: &Transaction<'_>,
    account: &str,
) -> Result<Vec<(String, Place)>, EngineError> {
    let rows = tx.range(Space::Index, &keys::memberships_of(account), usize::MAX)?;
    let place = |(key, value): (Vec<u8>, Vec<u8>)| {
        let group = String::from_utf8_lossy(keys::last_part(&key)).into_owned();
        Ok((group, decode(&value, "a membership")?))
    };
    rows.into_iter().map(place).collect()
}

/// Refuses one more membership of an account that has as many as it may.
fn room(tx: &Transaction<'_>, by: &Acting, account: &str) -> Decided<()> {
    let limit = by.limits.memberships;
    let limit_rows = usize::try_from(limit).unwrap_or(usize::MAX);
    let range = keys::memberships_of(account);
    if tx.range(Space::Index, &range, limit_rows)?.len() >= limit_rows {
        let what = "memberships of one account";
        return Err(OrganisationError::Quota { what, limit }.into());
    }
    Ok(())
}

/// Makes `account`, which is none, a member of `organisation`.
pub(super) fn admit(
    tx: &mut Transaction<'_>,
    by: &Acting,
    organisation: &mut Organisation,
    account: &str,
    role: OrganisationRole,
) -> Decided<Member> {
    let limit = organisation.limits(&by.limits).members;
    if organisation.counts.members >= limit {
        let what = "members";
        return Err(OrganisationError::Quota { what, limit }.into());
    }
    room(tx, by, account)?;
    join_app(tx, by, organisation, account)?;
    organisation.counts.members += 1;
    organisation.counts.owners += u32::from(role == OrganisationRole::Owner);
    organisation::store(tx, organisation);
    let member = Member {
        organisation: organisation.id.clone(),
        account: account.to_owned(),
        role,
        since_ms: by.now_ms,
        revision: 1,
    };
    write(tx, &member)?;
    let detail = json!({"organisation": organisation.id, "role": role});
    by.note(tx, "membership.grant", account, &organisation.app, detail)?;
    Ok(member)
}

fn write(tx: &mut Transaction<'_>, member: &Member) -> Result<(), EngineError> {
    let (group, account) = (&member.organisation, &member.account);
    put(tx, keys::membership(group, account), member);
    let place = Place::Organisation(member.role);
    put(tx, keys::membership_of(account, group), &place);
    rights_change(tx, account)
}

/// Makes `account`, which is a member of the organisation and not of the team, one of the team.
pub(super) fn place(
    tx: &mut Transaction<'_>,
    by: &Acting,
    app: &str,
    team: &Team,
    account: &str,
    role: TeamRole,
) -> Decided<TeamMember> {
    room(tx, by, account)?;
    let member = TeamMember {
        organisation: team.organisation.clone(),
        team: team.id.clone(),
        account: account.to_owned(),
        role,
        since_ms: by.now_ms,
        revision: 1,
    };
    write_in_team(tx, &member)?;
    let detail = json!({"organisation": team.organisation, "team": team.id, "role": role});
    by.note(tx, "membership.grant", account, app, detail)?;
    Ok(member)
}

pub(super) fn write_in_team(
    tx: &mut Transaction<'_>,
    member: &TeamMember,
) -> Result<(), EngineError> {
    let (group, account) = (&member.team, &member.account);
    put(tx, keys::membership(group, account), member);
    let place = Place::Team(member.organisation.clone(), member.role);
    put(tx, keys::membership_of(account, group), &place);
    rights_change(tx, account)
}

fn erase(tx: &mut Transaction<'_>, group: &str, account: &str) -> Result<(), EngineError> {
    tx.delete(Space::Index, keys::membership(group, account));
    tx.delete(Space::Index, keys::membership_of(account, group));
    rights_change(tx, account)
}

/// Makes `member` another role's, unless the organisation had no owner then.
pub(super) fn regrade(
    tx: &mut Transaction<'_>,
    by: &Acting,
    organisation: &mut Organisation,
    member: &mut Member,
    role: OrganisationRole,
) -> Decided<()> {
    if member.role == role {
        return Ok(());
    }
    keep_an_owner(organisation, member, Some(role))?;
    let (was, is) = (member.role, role);
    organisation.counts.owners -=
        u32::from(was == OrganisationRole::Owner).min(organisation.counts.owners);
    organisation.counts.owners += u32::from(is == OrganisationRole::Owner);
    organisation::store(tx, organisation);
    member.role = role;
    member.revision += 1;
    write(tx, member)?;
    let detail = json!({"organisation": organisation.id, "role": is, "was": was});
    by.note(
        tx,
        "membership.change",
        &member.account,
        &organisation.app,
        detail,
    )?;
    Ok(())
}

fn keep_an_owner(
    organisation: &Organisation,
    member: &Member,
    to: Option<OrganisationRole>,
) -> Result<(), OrganisationError> {
    let owner = OrganisationRole::Owner;
    let last = member.role == owner && organisation.counts.owners <= 1;
    if last && to != Some(owner) {
        return Err(OrganisationError::LastOwner);
    }
    Ok(())
}

/// Makes `account` what `role` says in an organisation: one who is a member already or, by a server
/// administrator where `adds`, anybody.
///
/// # Errors
/// [`OrganisationError`] if he may not, there is no room, no owner would be left, or somebody was
/// faster.
pub fn put_member(
    tx: &mut Transaction<'_>,
    by: &Acting,
    organisation: &str,
    account: &str,
    role: OrganisationRole,
    if_revision: Option<u64>,
    adds: bool,
) -> Decided<Member> {
    let (mut organisation, standing) = enter(tx, by, organisation)?;
    let himself = by.account.as_deref() == Some(account);
    let found = find_place(tx, &organisation.id, account)?;
    let from = found.as_ref().map(|member| member.role);
    if !standing.changes_member(himself, from, Some(role)) {
        let reason = match from {
            None if adds => {
                "Only server administrators may add somebody who was not asked: invite him."
            }
            None => return Err(OrganisationError::Missing.into()),
            Some(_) => "You may not give this role to this member.",
        };
        return Err(OrganisationError::Forbidden(reason).into());
    }
    let Some(mut member) = found else {
        if !adds {
            return Err(OrganisationError::Missing.into());
        }
        person(tx, by, account)?;
        return admit(tx, by, &mut organisation, account, role);
    };
    agree(if_revision, member.revision)?;
    regrade(tx, by, &mut organisation, &mut member, role)?;
    Ok(member)
}

/// Ends a membership of an organisation, and with it those of its teams.
///
/// # Errors
/// [`OrganisationError`] if he may not, no owner would be left, or somebody was faster.
pub fn remove_member(
    tx: &mut Transaction<'_>,
    by: &Acting,
    organisation: &str,
    account: &str,
    if_revision: Option<u64>,
) -> Decided<()> {
    let (mut organisation, standing) = enter(tx, by, organisation)?;
    let found = find_place(tx, &organisation.id, account)?;
    let member = found.ok_or(OrganisationError::Missing)?;
    let himself = by.account.as_deref() == Some(account);
    if !standing.changes_member(himself, Some(member.role), None) {
        let reason = "You may not remove this member.";
        return Err(OrganisationError::Forbidden(reason).into());
    }
    agree(if_revision, member.revision)?;
    keep_an_owner(&organisation, &member, None)?;
    for (group, place) in places(tx, account)? {
        if matches!(&place, Place::Team(of, _) if *of == organisation.id) {
            erase(tx, &group, account)?;
        }
    }
    discount(&mut organisation, member.role);
    organisation::store(tx, &organisation);
    erase(tx, &organisation.id, account)?;
    let detail = json!({"organisation": organisation.id, "was": member.role});
    by.note(tx, "membership.revoke", account, &organisation.app, detail)?;
    Ok(())
}

/// One member less.
fn discount(organisation: &mut Organisation, role: OrganisationRole) {
    let counts = &mut organisation.counts;
    counts.members = counts.members.saturating_sub(1);
    let owner = u32::from(role == OrganisationRole::Owner);
    counts.owners = counts.owners.saturating_sub(owner);
}

/// Makes `account` what `role` says in a team: one who is in it already or, where `adds`, any member
/// of the organisation.
///
/// # Errors
/// [`OrganisationError`] if he may not, the account is no member of the organisation, or somebody
/// was faster.
pub fn put_team_member(
    tx: &mut Transaction<'_>,
    by: &Acting,
    team: &str,
    account: &str,
    role: TeamRole,
    if_revision: Option<u64>,
    adds: bool,
) -> Decided<TeamMember> {
    let (organisation, team, standing) = enter_team(tx, by, team)?;
    let himself = by.account.as_deref() == Some(account);
    let found = find_team_place(tx, &team.id, account)?;
    let from = found.as_ref().map(|member| member.role);
    if !standing.changes_team_member(himself, from, Some(role)) {
        let reason = "Only administrators of the team or the organisation say who is in a team.";
        return Err(OrganisationError::Forbidden(reason).into());
    }
    let Some(mut member) = found else {
        if !adds {
            return Err(OrganisationError::Missing.into());
        }
        if find_place(tx, &organisation.id, account)?.is_none() {
            return Err(OrganisationError::NotMember.into());
        }
        return place(tx, by, &organisation.app, &team, account, role);
    };
    agree(if_revision, member.revision)?;
    if member.role != role {
        let was = std::mem::replace(&mut member.role, role);
        member.revision += 1;
        write_in_team(tx, &member)?;
        let detail =
            json!({"organisation": organisation.id, "team": team.id, "role": role, "was": was});
        by.note(tx, "membership.change", account, &organisation.app, detail)?;
    }
    Ok(member)
}

/// Ends a membership of a team; that of the organisation stays.
///
/// # Errors
/// [`OrganisationError`] if he may not, or somebody was faster.
pub fn remove_team_member(
    tx: &mut Transaction<'_>,
    by: &Acting,
    team: &str,
    account: &str,
    if_revision: Option<u64>,
) -> Decided<()> {
    let (organisation, team, standing) = enter_team(tx, by, team)?;
    let found = find_team_place(tx, &team.id, account)?;
    let member = found.ok_or(OrganisationError::Missing)?;
    let himself = by.account.as_deref() == Some(account);
    if !standing.changes_team_member(himself, Some(member.role), None) {
        let reason = "Only administrators of the team or the organisation say who is in a team.";
        return Err(OrganisationError::Forbidden(reason).into());
    }
    agree(if_revision, member.revision)?;
    erase(tx, &team.id, account)?;
    let detail = json!({"organisation": organisation.id, "team": team.id, "was": member.role});
    by.note(tx, "membership.revoke", account, &organisation.app, detail)?;
    Ok(())
}

/// Whether an organisation with other members would be without an owner if `account` left.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn is_last_owner(tx: &Transaction<'_>, account: &str) -> Result<bool, EngineError> {
    for (group, place) in places(tx, account)? {
        if place != Place::Organisation(OrganisationRole::Owner) {
            continue;
        }
        let found: Option<Organisation> = get(tx, &keys::organisation(&group), &group)?;
        let needs = |counts: &super::Counts| counts.owners <= 1 && counts.members > 1;
        if found.is_some_and(|organisation| needs(&organisation.counts)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes all that says of `account`, which is going away, where it belonged, and what it sent;
/// of a great many invitations a part, and [`clear`](super::clear) the rest.
///
/// An organisation that loses its last owner so is left to its administrator of longest standing,
/// else to server administrators; one that loses its last member is deleted.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn forget_account(tx: &mut Transaction<'_>, account: &str) -> Result<(), EngineError> {
    for (group, place) in places(tx, account)? {
        erase(tx, &group, account)?;
        let Place::Organisation(role) = place else {
            continue;
        };
        let found: Option<Organisation> = get(tx, &keys::organisation(&group), &group)?;
        let Some(mut organisation) = found else {
            continue;
        };
        discount(&mut organisation, role);
        if organisation.counts.members == 0 {
            organisation::close(tx, &organisation)?;
            continue;
        }
        if organisation.counts.owners == 0
            && let Some(mut heir) = heir(tx, &group)?
        {
            heir.role = OrganisationRole::Owner;
            heir.revision += 1;
            write(tx, &heir)?;
            organisation.counts.owners = 1;
        }
        organisation::store(tx, &organisation);
    }
    let record = directory::find(tx, account)?;
    let addresses = record.map_or_else(Vec::new, |record| record.addresses);
    let leaving = closing::Closing::Account {
        addresses: addresses.into_iter().map(|known| known.normal).collect(),
        after: None,
    };
    closing::begin(tx, account, &leaving);
    closing::clear(tx, account)?;
    Ok(())
}

/// The administrator of longest standing.
fn heir(tx: &Transaction<'_>, organisation: &str) -> Result<Option<Member>, EngineError> {
    let rows = tx.range(Space::Index, &keys::memberships(organisation), HEIRS_MAX)?;
    let mut first: Option<Member> = None;
    for (_, value) in rows {
        let member: Member = decode(&value, "a membership")?;
        let older = first
            .as_ref()
            .is_none_or(|first| member.since_ms < first.since_ms);
        if member.role == OrganisationRole::Admin && older {
            first = Some(member);
        }
    }
    Ok(first)
}

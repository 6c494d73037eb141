//! What is there, as far as whoever asks may see it: who is no member of an organisation finds
//! nothing of it, as if it were not there.

use adea_store::{Direction, EngineError, KeyRange, Space, View};

use super::answering::has_verified;
use super::domain::verified_domains;
use super::invitation::Invited;
use super::record::{Invitation, Member, Organisation, Place, Team, TeamMember};
use super::role::{OrganisationRole, Standing};
use super::{Acting, Decided, OrganisationError};
use crate::directory::{self, AccountRecord};
use crate::keys;
use crate::stored::{Source, decode, get};

/// The most invitations to one address that are shown.
const RECEIVED_MAX: usize = 1_000;

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is in it.
    pub items: Vec<T>,
    /// The place behind which the next part begins; `None` if there is no more.
    pub next: Option<Vec<u8>>,
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    limit: usize,
    after: Option<Vec<u8>>,
}

impl Part {
    /// At most `limit` rows behind what an earlier page called `next`; `None` if none calls anything
    /// so.
    #[must_use]
    pub fn new(limit: usize, after: Option<Vec<u8>>) -> Option<Self> {
        let none = after
            .as_ref()
            .is_some_and(|after| after.is_empty() || after.contains(&0));
        (!none).then_some(Self { limit, after })
    }
}

/// What `account` is in an organisation, and in a team of it.
pub(super) fn standing<S: Source + ?Sized>(
    source: &S,
    account: Option<&str>,
    server_admin: bool,
    organisation: &str,
    team: Option<&str>,
) -> Result<Standing, EngineError> {
    let mut standing = Standing {
        server_admin,
        ..Standing::default()
    };
    if let Some(account) = account {
        let member = find_place(source, organisation, account)?;
        standing.organisation = member.map(|member| member.role);
        if let Some(team) = team {
            let member = find_team_place(source, team, account)?;
            standing.team = member.map(|member| member.role);
        }
    }
    Ok(standing)
}

/// The membership of `account` in an organisation.
pub(super) fn find_place<S: Source + ?Sized>(
    source: &S,
    organisation: &str,
    account: &str,
) -> Result<Option<Member>, EngineError> {
    get(
        source,
        &keys::membership(organisation, account),
        "a membership",
    )
}

/// The membership of `account` in a team.
pub(super) fn find_team_place<S: Source + ?Sized>(
    source: &S,
    team: &str,
    account: &str,
) -> Result<Option<TeamMember>, EngineError> {
    get(source, &keys::membership(team, account), "a membership")
}

/// The organisation with this id, and what he is to it who acts.
pub(super) fn enter<S: Source + ?Sized>(
    source: &S,
    by: &Acting,
    id: &str,
) -> Decided<(Organisation, Standing)> {
    let missing = OrganisationError::Missing;
    if !keys::is_id(id) {
        return Err(missing.into());
    }
    let found: Option<Organisation> = get(source, &keys::organisation(id), id)?;
    let organisation = found.ok_or_else(|| missing.clone())?;
    let standing = standing(source, by.account.as_deref(), by.admin, id, None)?;
    if standing.sees() {
        Ok((organisation, standing))
    } else {
        Err(missing.into())
    }
}

/// The team with this id and its organisation, and what he is to them who acts.
pub(super) fn enter_team<S: Source + ?Sized>(
    source: &S,
    by: &Acting,
    id: &str,
) -> Decided<(Organisation, Team, Standing)> {
    let missing = OrganisationError::Missing;
    if !keys::is_id(id) {
        return Err(missing.into());
    }
    let found: Option<Team> = get(source, &keys::team(id), id)?;
    let team = found.ok_or(missing)?;
    let (organisation, _) = enter(source, by, &team.organisation)?;
    let account = by.account.as_deref();
    let standing = standing(source, account, by.admin, &organisation.id, Some(id))?;
    Ok((organisation, team, standing))
}

/// An organisation, and what he is to it who asks.
///
/// # Errors
/// [`OrganisationError::Missing`] if there is none, or it is not his.
pub fn find_organisation(
    view: &dyn View,
    by: &Acting,
    id: &str,
) -> Decided<(Organisation, Standing)> {
    enter(view, by, id)
}

/// A team, and what he is to it who asks.
///
/// # Errors
/// [`OrganisationError::Missing`] if there is none, or its organisation is not his.
pub fn find_team(view: &dyn View, by: &Acting, id: &str) -> Decided<(Team, Standing)> {
    let (_, team, standing) = enter_team(view, by, id)?;
    Ok((team, standing))
}

/// A membership of an organisation, with the name of the account.
///
/// # Errors
/// [`OrganisationError::Missing`] if there is none, or the organisation is not his.
pub fn find_member(
    view: &dyn View,
    by: &Acting,
    organisation: &str,
    account: &str,
) -> Decided<(Member, String)> {
    enter(view, by, organisation)?;
    let found = find_place(view, organisation, account)?;
    let member = found.ok_or(OrganisationError::Missing)?;
    Ok((member, name_of(view, account)?))
}

/// A membership of a team, with the name of the account.
///
/// # Errors
/// [`OrganisationError::Missing`] if there is none, or the organisation is not his.
pub fn find_team_member(
    view: &dyn View,
    by: &Acting,
    team: &str,
    account: &str,
) -> Decided<(TeamMember, String)> {
    enter_team(view, by, team)?;
    let found = find_team_place(view, team, account)?;
    let member = found.ok_or(OrganisationError::Missing)?;
    Ok((member, name_of(view, account)?))
}

/// The name that an account has now.
fn name_of(view: &dyn View, account: &str) -> Result<String, EngineError> {
    Ok(directory::find(view, account)?.map_or_else(String::new, |record| record.name))
}

/// Walks a range, from behind where `part` says, until there are as many items as it wants. Rows
/// that make no item do not count.
fn walk<T, E: From<EngineError>>(
    view: &dyn View,
    mut range: KeyRange,
    part: &Part,
    mut make: impl FnMut(&[u8], &[u8]) -> Result<Option<T>, E>,
) -> Result<Page<T>, E> {
    // A range begins with what its keys have in common; what tells them apart follows.
    let common = range.from.len();
    if let Some(after) = &part.after {
        range.from.extend_from_slice(after);
        range.from.push(0);
    }
    let mut cursor = view.range(Space::Index, range, Direction::Forward)?;
    let mut items = Vec::new();
    let mut last: Option<Vec<u8>> = None;
    while let Some((key, value)) = cursor.next()? {
        let tail = key.get(common..).unwrap_or_default();
        if items.len() == part.limit {
            return Ok(Page { items, next: last });
        }
        if let Some(item) = make(tail, value)? {
            items.push(item);
        }
        last = Some(tail.to_vec());
    }
    Ok(Page { items, next: None })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All organisations, for server administrators.
///
/// # Errors
/// [`OrganisationError::Forbidden`] for others.
pub fn all_organisations(
    view: &dyn View,
    by: &Acting,
    part: &Part,
) -> Decided<Page<(Organisation, Option<OrganisationRole>)>> {
    if !by.admin {
        let reason = "Only server administrators may list all organisations.";
        return Err(OrganisationError::Forbidden(reason).into());
    }
    walk(view, keys::organisations(), part, |_, value| {
        let organisation: Organisation = decode(value, "an organisation")?;
        let standing = standing(view, by.account.as_deref(), true, &organisation.id, None)?;
        Ok(Some((organisation, standing.organisation)))
    })
}

/// The organisations that he is a member of, with his role.
///
/// # Errors
/// [`OrganisationError::NoAccount`] if he has none.
pub fn organisations_of(
    view: &dyn View,
    by: &Acting,
    part: &Part,
) -> Decided<Page<(Organisation, Option<OrganisationRole>)>> {
    let account = by.account()?;
    walk(view, keys::memberships_of(account), part, |group, value| {
        let Place::Organisation(role) = decode(value, "a membership")? else {
            return Ok(None);
        };
        let id = text(group);
        let found: Option<Organisation> = get(view, &keys::organisation(&id), &id)?;
        Ok(found.map(|organisation| (organisation, Some(role))))
    })
}

/// The organisations that he may join by himself, for he has a verified address in their domain.
///
/// # Errors
/// [`OrganisationError::NoAccount`] if he has none.
pub fn organisations_by_domain(
    view: &dyn View,
    by: &Acting,
) -> Decided<Page<(Organisation, Option<OrganisationRole>)>> {
    let account = by.account()?;
    let mut items = Vec::new();
    let record = directory::live(view, by.users, account)?;
    let domains = record.iter().flat_map(verified_domains);
    for domain in domains.collect::<std::collections::BTreeSet<_>>() {
        let mut cursor = view.range(Space::Index, keys::domains(domain), Direction::Forward)?;
        while let Some((_, value)) = cursor.next()? {
            let id = text(value);
            let found: Option<Organisation> = get(view, &keys::organisation(&id), &id)?;
            let open = found.filter(|found| found.domain.as_ref().is_some_and(|own| own.join));
            let Some(organisation) = open else { continue };
            if find_place(view, &id, account)?.is_none() {
                items.push((organisation, None));
            }
        }
    }
    Ok(Page { items, next: None })
}

/// The teams of an organisation, by name.
///
/// # Errors
/// [`OrganisationError::Missing`] if there is none, or it is not his.
pub fn teams_of(
    view: &dyn View,
    by: &Acting,
    organisation: &str,
    part: &Part,
) -> Decided<Page<Team>> {
    enter(view, by, organisation)?;
    walk(view, keys::teams_of(organisation), part, |_, value| {
        let id = text(value);
        Ok(get(view, &keys::team(&id), &id)?)
    })
}

/// The teams that he is in.
///
/// # Errors
/// [`OrganisationError::NoAccount`] if he has no account.
pub fn teams(view: &dyn View, by: &Acting, part: &Part) -> Decided<Page<Team>> {
    let account = by.account()?;
    walk(view, keys::memberships_of(account), part, |group, value| {
        let Place::Team(organisation, _) = decode(value, "a membership")? else {
            return Ok(None);
        };
        let (id, there) = (text(group), keys::organisation(&organisation));
        if view.get(Space::Index, &there)?.is_none() {
            return Ok(None);
        }
        Ok(get(view, &keys::team(&id), &id)?)
    })
}

/// The members of an organisation, with the names of their accounts.
///
/// # Errors
/// [`OrganisationError::Missing`] if there is none, or it is not his.
pub fn members(
    view: &dyn View,
    by: &Acting,
    organisation: &str,
    part: &Part,
) -> Decided<Page<(Member, String)>> {
    enter(view, by, organisation)?;
    walk(
        view,
        keys::memberships(organisation),
        part,
        |account, value| {
            let member: Member = decode(value, "a membership")?;
            Ok(Some((member, name_of(view, &text(account))?)))
        },
    )
}

/// The members of a team, with the names of their accounts.
///
/// # Errors
/// [`OrganisationError::Missing`] if there is none, or its organisation is not his.
pub fn team_members(
    view: &dyn View,
    by: &Acting,
    team: &str,
    part: &Part,
) -> Decided<Page<(TeamMember, String)>> {
    enter_team(view, by, team)?;
    walk(view, keys::memberships(team), part, |account, value| {
        let member: TeamMember = decode(value, "a membership")?;
        Ok(Some((member, name_of(view, &text(account))?)))
    })
}

/// Where he is a member.
///
/// # Errors
/// [`OrganisationError::NoAccount`] if he has no account.
pub fn memberships_of(
    view: &dyn View,
    by: &Acting,
    part: &Part,
) -> Decided<Page<Result<Member, TeamMember>>> {
    let account = by.account()?;
    walk(view, keys::memberships_of(account), part, |group, value| {
        let group = text(group);
        let (organisation, in_team) = match decode(value, "a membership")? {
            Place::Organisation(_) => (group.clone(), false),
            Place::Team(organisation, _) => (organisation, true),
        };
        let there = [
            Some(keys::organisation(&organisation)),
            in_team.then(|| keys::team(&group)),
        ];
        for key in there.iter().flatten() {
            if view.get(Space::Index, key)?.is_none() {
                return Ok(None);
            }
        }
        if in_team {
            return Ok(find_team_place(view, &group, account)?.map(Err));
        }
        Ok(find_place(view, &group, account)?.map(Ok))
    })
}

/// Invitations to an organisation or one of its teams, for who may invite.
///
/// # Errors
/// [`OrganisationError`] if there is none, or he may not.
pub fn invitations_of(
    view: &dyn View,
    by: &Acting,
    organisation: &str,
    part: &Part,
) -> Decided<Page<Invited>> {
    let (_, standing) = enter(view, by, organisation)?;
    if !standing.invites(OrganisationRole::Member) {
        let reason = "Only owners and administrators of the organisation see its invitations.";
        return Err(OrganisationError::Forbidden(reason).into());
    }
    walk(view, keys::invitations_of(organisation), part, |id, _| {
        Ok(invited(view, &text(id))?)
    })
}

/// The invitations that he has sent, to organisations where he still may.
///
/// # Errors
/// [`OrganisationError::NoAccount`] if he has no account.
pub fn invitations_sent(view: &dyn View, by: &Acting, part: &Part) -> Decided<Page<Invited>> {
    let account = by.account()?;
    walk(view, keys::invitations_of(account), part, |id, _| {
        let Some(found) = invited(view, &text(id))? else {
            return Ok(None);
        };
        let of = &found.organisation.id;
        let standing = standing(view, Some(account), by.admin, of, None)?;
        Ok(Some(found).filter(|found| standing.invites(found.invitation.role)))
    })
}

/// The invitations that were sent to addresses that he has verified, to organisations that are
/// there. He has few addresses, so places in the list are in the order of what was sent to each.
///
/// # Errors
/// [`OrganisationError::NoAccount`] if he has no account.
pub fn invitations_to(view: &dyn View, by: &Acting, part: &Part) -> Decided<Page<Invited>> {
    let account = by.account()?;
    let record = directory::live(view, by.users, account)?;
    let addresses = record.iter().flat_map(|record| &record.addresses);
    let verified = addresses.filter(|address| address.verified_ms.is_some());
    let whole = Part {
        limit: RECEIVED_MAX,
        after: None,
    };
    let mut all = Vec::new();
    for address in verified {
        let page = walk(
            view,
            keys::invitations_to(&address.normal),
            &whole,
            |id, _| invited(view, &text(id)),
        )?;
        all.extend(page.items);
    }
    all.sort_by(|a, b| a.invitation.id.cmp(&b.invitation.id));
    let after = part.after.as_deref().unwrap_or_default();
    let mut rest = all
        .into_iter()
        .filter(|found| found.invitation.id.as_bytes() > after);
    let items: Vec<Invited> = rest.by_ref().take(part.limit).collect();
    let last = items
        .last()
        .map(|last| last.invitation.id.clone().into_bytes());
    let next = last.filter(|_| rest.next().is_some());
    Ok(Page { items, next })
}

/// An invitation, for who may revoke it or has verified the address that it was sent to.
///
/// # Errors
/// [`OrganisationError::Missing`] if there is none, or it is neither's.
pub fn find_invitation(view: &dyn View, by: &Acting, id: &str) -> Decided<Invited> {
    let missing = OrganisationError::Missing;
    if !keys::is_id(id) {
        return Err(missing.into());
    }
    let found = invited(view, id)?.ok_or_else(|| missing.clone())?;
    let of = &found.organisation.id;
    let standing = standing(view, by.account.as_deref(), by.admin, of, None)?;
    let record: Option<AccountRecord> = match by.account.as_deref() {
        Some(account) => directory::live(view, by.users, account)?,
        None => None,
    };
    let address = &found.invitation.address;
    let received = record.is_some_and(|record| has_verified(&record, address));
    if received || standing.invites(found.invitation.role) {
        Ok(found)
    } else {
        Err(missing.into())
    }
}

/// An invitation with what it is to, unless that is gone.
fn invited(view: &dyn View, id: &str) -> Result<Option<Invited>, EngineError> {
    let found: Option<Invitation> = get(view, &keys::invitation(id), id)?;
    let Some(invitation) = found else {
        return Ok(None);
    };
    let of = &invitation.organisation;
    let found: Option<Organisation> = get(view, &keys::organisation(of), of)?;
    let Some(organisation) = found else {
        return Ok(None);
    };
    let team = match invitation.team.as_deref() {
        Some(id) => get(view, &keys::team(id), id)?,
        None => None,
    };
    Ok(Some(Invited {
        invitation,
        organisation,
        team,
    }))
}

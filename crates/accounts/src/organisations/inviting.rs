//! Inviting somebody, sending it again, and taking it back.
//!
//! Nothing here tells whether an address has an account: accounts are not asked about it.

use adea_store::{Space, Transaction};

use super::invitation::{
    InvitationState, Invited, InvitedBy, NewInvitation, end, forget_secret, indexes, note, remove,
    waiting_key,
};
use super::read::{enter, enter_team};
use super::record::{Invitation, Organisation, Outcome};
use super::{Acting, Decided, OrganisationError, organisation, person, team};
use crate::keys;
use crate::names::normal_address;
use crate::one_time::{hash, new_secret};
use crate::stored::{get, get_text, put};

/// The least time between two mails of one invitation.
const PAUSE_MS: u64 = 60_000;

/// How often one invitation is sent.
const SENT_MAX: u32 = 10;

/// How many invitations are looked at in one step.
const PAGE: usize = 500;

/// The longest tag of a language.
const LANGUAGE_MAX: usize = 35;

/// Invites somebody. What is answered is to be sent to him in the same commit.
///
/// # Errors
/// [`OrganisationError`] if he may not, has no verified address, the address is none or was invited
/// already, or there are too many.
pub fn invite(tx: &mut Transaction<'_>, by: &Acting, new: &NewInvitation) -> Decided<InvitedBy> {
    let (mut organisation, team, standing) = match new.team.as_deref() {
        Some(team) => {
            let (organisation, team, standing) = enter_team(tx, by, team)?;
            if !new.organisation.is_empty() && new.organisation != organisation.id {
                return Err(OrganisationError::Missing.into());
            }
            (organisation, Some(team), standing)
        }
        None => {
            let (organisation, standing) = enter(tx, by, &new.organisation)?;
            (organisation, None, standing)
        }
    };
    if !standing.invites(new.role) {
        return Err(OrganisationError::Forbidden(MAY_NOT_INVITE).into());
    }
    let inviter = inviter(tx, by)?;
    let address = normal_address(&new.address).map_err(OrganisationError::Name)?;
    if new.language.len() > LANGUAGE_MAX {
        return Err(OrganisationError::Invalid("The language is no BCP 47 tag.").into());
    }
    let group = team.as_ref().map_or(&organisation.id, |team| &team.id);
    if invited_already(tx, by, group, &address)? {
        return Err(OrganisationError::AlreadyInvited.into());
    }
    make_room(tx, by, &mut organisation)?;
    let mut invitation = Invitation {
        id: keys::new_id(&by.entropy),
        organisation: organisation.id.clone(),
        team: team.as_ref().map(|team| team.id.clone()),
        role: new.role,
        team_role: new.team_role,
        address,
        language: new.language.clone(),
        created_ms: by.now_ms,
        ..Invitation::default()
    };
    organisation.counts.invitations += 1;
    organisation::store(tx, &organisation);
    let secret = send(tx, by, &mut invitation);
    note(tx, by, "invitation.create", &organisation, &invitation)?;
    let invited = Invited {
        invitation,
        organisation,
        team,
    };
    Ok(InvitedBy {
        invited,
        inviter,
        secret,
    })
}

const MAY_NOT_INVITE: &str =
    "Only owners and administrators of the organisation invite, and only owners invite owners.";

/// The name under which he invites.
fn inviter(tx: &Transaction<'_>, by: &Acting) -> Decided<String> {
    if by.admin {
        return Ok(by.name.clone());
    }
    let record = person(tx, by, by.account()?)?;
    let address = record
        .verified_address()
        .ok_or(OrganisationError::Unverified)?;
    // An account that was given no name has its id for one, which tells nobody who he is.
    if record.name == record.id {
        return Ok(address.address.clone());
    }
    Ok(record.name)
}

/// Gives `invitation` a fresh secret and a fresh time, and stores it.
fn send(tx: &mut Transaction<'_>, by: &Acting, invitation: &mut Invitation) -> String {
    forget_secret(tx, invitation);
    if let Some(before) = &invitation.inviter {
        tx.delete(Space::Index, keys::invitation_of(before, &invitation.id));
    }
    let secret = new_secret(&by.entropy);
    let digest = hash(&secret);
    invitation.secret = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    invitation.inviter = if by.admin { None } else { by.account.clone() };
    invitation.sent_ms = by.now_ms;
    invitation.sent += 1;
    invitation.expires_ms = by.now_ms.saturating_add(by.limits.invitation_ms);
    let id = invitation.id.clone().into_bytes();
    tx.put(Space::Index, keys::invitation_secret(&digest), id);
    put(tx, keys::invitation(&invitation.id), invitation);
    for index in indexes(invitation) {
        tx.put(Space::Index, index, Vec::new());
    }
    let id = invitation.id.clone().into_bytes();
    tx.put(Space::Index, waiting_key(invitation), id);
    secret
}

/// Whether an invitation to `group` waits at `address`. Nobody learns from it who has an account:
/// it is asked of invitations, not of accounts.
fn invited_already(tx: &Transaction<'_>, by: &Acting, group: &str, address: &str) -> Decided<bool> {
    let Some(id) = get_text(tx, &keys::invited_to(group, address))? else {
        return Ok(false);
    };
    let found: Option<Invitation> = get(tx, &keys::invitation(&id), &id)?;
    Ok(found.is_some_and(|found| found.state(by.now_ms) == InvitationState::Pending))
}

/// Refuses one more invitation where there are as many as may be, once one is gone that has
/// expired. All of them are looked at, since their order is that of chance; those that were answered
/// or revoked are soon gone.
fn make_room(
    tx: &mut Transaction<'_>,
    by: &Acting,
    organisation: &mut Organisation,
) -> Decided<()> {
    let limit = organisation.limits(&by.limits).invitations;
    let mut range = keys::invitations_of(&organisation.id);
    while organisation.counts.invitations >= limit {
        let rows = tx.range(Space::Index, &range, PAGE)?;
        let Some((last, _)) = rows.last() else {
            let what = "open invitations";
            return Err(OrganisationError::Quota { what, limit }.into());
        };
        range.from = [last.as_slice(), &[0]].concat();
        for (key, _) in rows {
            let id = String::from_utf8_lossy(keys::last_part(&key)).into_owned();
            let found: Option<Invitation> = get(tx, &keys::invitation(&id), &id)?;
            if let Some(found) = found
                && found.state(by.now_ms) == InvitationState::Expired
            {
                remove(tx, Some(organisation), &found)?;
            }
        }
    }
    Ok(())
}

/// Sends an invitation again, for as long as it was good at first; whoever does is its inviter from
/// now on. What is answered is to be sent in the same commit.
///
/// # Errors
/// [`OrganisationError`] if he may not, it has ended, or it was sent too often.
pub fn resend(tx: &mut Transaction<'_>, by: &Acting, id: &str) -> Decided<InvitedBy> {
    let (organisation, mut invitation) = held(tx, by, id)?;
    let inviter = inviter(tx, by)?;
    match invitation.state(by.now_ms) {
        InvitationState::Pending | InvitationState::Expired => {}
        ended @ (InvitationState::Accepted
        | InvitationState::Declined
        | InvitationState::Revoked) => return Err(OrganisationError::Closed(ended).into()),
    }
    let ready_ms = invitation.sent_ms.saturating_add(PAUSE_MS);
    if by.now_ms < ready_ms {
        let wait_s = (ready_ms - by.now_ms).div_ceil(1_000);
        return Err(OrganisationError::TooSoon(wait_s).into());
    }
    if invitation.sent >= SENT_MAX {
        let reason = "The invitation was sent ten times. Revoke it, and make a new one.";
        return Err(OrganisationError::Forbidden(reason).into());
    }
    let group = invitation.team.as_deref();
    let group = group.unwrap_or(&invitation.organisation);
    let expired = invitation.state(by.now_ms) == InvitationState::Expired;
    if expired && invited_already(tx, by, group, &invitation.address)? {
        return Err(OrganisationError::AlreadyInvited.into());
    }
    let secret = send(tx, by, &mut invitation);
    note(tx, by, "invitation.resend", &organisation, &invitation)?;
    let team = match invitation.team.as_deref() {
        Some(id) => team::of(tx, &organisation, id)?,
        None => None,
    };
    let invited = Invited {
        invitation,
        organisation,
        team,
    };
    Ok(InvitedBy {
        invited,
        inviter,
        secret,
    })
}

/// The invitation with this id, for whoever may send or revoke it.
fn held(tx: &Transaction<'_>, by: &Acting, id: &str) -> Decided<(Organisation, Invitation)> {
    if !keys::is_id(id) {
        return Err(OrganisationError::Missing.into());
    }
    let found: Option<Invitation> = get(tx, &keys::invitation(id), id)?;
    let invitation = found.ok_or(OrganisationError::Missing)?;
    let (organisation, standing) = enter(tx, by, &invitation.organisation)?;
    if !standing.invites(invitation.role) {
        return Err(OrganisationError::Forbidden(MAY_NOT_INVITE).into());
    }
    Ok((organisation, invitation))
}

/// Takes an invitation back.
///
/// # Errors
/// [`OrganisationError`] if he may not, or it was answered.
pub fn revoke(tx: &mut Transaction<'_>, by: &Acting, id: &str) -> Decided<Invitation> {
    let (mut organisation, invitation) = held(tx, by, id)?;
    end(tx, by, &mut organisation, invitation, Outcome::Revoked)
}

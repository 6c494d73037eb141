//! Answering an invitation: who may, what it proves, and what follows.

use adea_store::Transaction;

use super::invitation::{Claim, InvitationState, Invited, end};
use super::membership::{admit, place, regrade, write_in_team};
use super::read::{find_place, find_team_place, standing};
use super::record::{Invitation, Member, Organisation, Outcome, TeamMember};
use super::{Acting, Decided, OrganisationError, person, team};
use crate::directory::{self, AccountRecord};
use crate::keys;
use crate::one_time::hash;
use crate::stored::{Source, get, get_text};

/// Says no to an invitation. Whoever holds its secret need not sign in.
///
/// # Errors
/// [`OrganisationError`] if there is none, or it was answered or revoked, or has expired.
pub fn decline(tx: &mut Transaction<'_>, by: &Acting, claim: &Claim) -> Decided<Invitation> {
    let record = match by.account.as_deref() {
        Some(account) => directory::live(tx, by.users, account)?,
        None => None,
    };
    let invitation = claimed(tx, record.as_ref(), claim)?;
    let mut organisation = open(tx, &invitation, by.now_ms)?;
    end(tx, by, &mut organisation, invitation, Outcome::Declined)
}

/// The invitation that `claim` shows to be somebody's.
fn claimed<S: Source + ?Sized>(
    source: &S,
    record: Option<&AccountRecord>,
    claim: &Claim,
) -> Decided<Invitation> {
    let missing = OrganisationError::Missing;
    let id = match claim {
        Claim::Secret(secret) => get_text(source, &keys::invitation_secret(&hash(secret)))?,
        Claim::Invitation(id) => Some(id.clone()).filter(|id| keys::is_id(id)),
    };
    let id = id.ok_or_else(|| missing.clone())?;
    let found: Option<Invitation> = get(source, &keys::invitation(&id), &id)?;
    let found = found.ok_or_else(|| missing.clone())?;
    let his = match claim {
        Claim::Secret(_) => true,
        Claim::Invitation(_) => record.is_some_and(|record| has_verified(record, &found.address)),
    };
    if his { Ok(found) } else { Err(missing.into()) }
}

pub(super) fn has_verified(record: &AccountRecord, address: &str) -> bool {
    let mut addresses = record.addresses.iter();
    addresses.any(|known| known.normal == address && known.verified_ms.is_some())
}

/// The organisation of `invitation`, if the invitation is open and its inviter may still invite.
fn open<S: Source + ?Sized>(
    source: &S,
    invitation: &Invitation,
    now_ms: u64,
) -> Decided<Organisation> {
    let state = invitation.state(now_ms);
    if state != InvitationState::Pending {
        return Err(OrganisationError::Closed(state).into());
    }
    let of = &invitation.organisation;
    let found: Option<Organisation> = get(source, &keys::organisation(of), of)?;
    let revoked = OrganisationError::Closed(InvitationState::Revoked);
    let organisation = found.ok_or_else(|| revoked.clone())?;
    if let Some(inviter) = &invitation.inviter {
        // Whoever is blocked may do nothing, and so nothing comes of what he sent.
        let blocked = directory::find(source, inviter)?.is_some_and(|record| record.flags.blocked);
        let inviter = standing(source, Some(inviter), false, of, None)?;
        if blocked || !inviter.invites(invitation.role) {
            return Err(revoked.into());
        }
    }
    Ok(organisation)
}

/// What somebody is invited to who holds `secret`, without answering.
///
/// # Errors
/// [`OrganisationError`] if there is no such invitation, or it is not open.
pub fn look<S: Source + ?Sized>(source: &S, secret: &str, now_ms: u64) -> Decided<Invited> {
    let invitation = claimed(source, None, &Claim::Secret(secret.to_owned()))?;
    let organisation = open(source, &invitation, now_ms)?;
    let team = match invitation.team.as_deref() {
        Some(id) => get(source, &keys::team(id), id)?,
        None => None,
    };
    Ok(Invited {
        invitation,
        organisation,
        team,
    })
}

/// Joins by an invitation.
///
/// # Errors
/// [`OrganisationError`] if there is none, it is not open, there is no room, or the account has
/// proved no address.
pub fn accept(
    tx: &mut Transaction<'_>,
    by: &Acting,
    claim: &Claim,
) -> Decided<(Member, Option<TeamMember>)> {
    let record = person(tx, by, by.account()?)?;
    let invitation = claimed(tx, Some(&record), claim)?;
    let organisation = open(tx, &invitation, by.now_ms)?;
    let by_secret = matches!(claim, Claim::Secret(_));
    let named = verify_named(tx, by, &record, &invitation.address, by_secret)?;
    if !named && record.verified_address().is_none() {
        return Err(OrganisationError::Unverified.into());
    }
    join(tx, by, organisation, invitation)
}

/// Joins by the invitation that somebody brought who is signing up as `by.account`, whose record is
/// stored already and names the address that was invited; the secret verifies it.
///
/// # Errors
/// As [`accept`]; also [`OrganisationError::Unverified`] if it names another address.
pub fn accept_at_sign_up(
    tx: &mut Transaction<'_>,
    by: &Acting,
    secret: &str,
) -> Decided<(Member, Option<TeamMember>)> {
    let record = person(tx, by, by.account()?)?;
    let claim = Claim::Secret(secret.to_owned());
    let invitation = claimed(tx, Some(&record), &claim)?;
    let organisation = open(tx, &invitation, by.now_ms)?;
    if !verify_named(tx, by, &record, &invitation.address, true)? {
        return Err(OrganisationError::Unverified.into());
    }
    join(tx, by, organisation, invitation)
}

/// Whether the account has named `address` and it is verified, which a secret does where it was not
/// and nobody else has it.
fn verify_named(
    tx: &mut Transaction<'_>,
    by: &Acting,
    record: &AccountRecord,
    address: &str,
    by_secret: bool,
) -> Decided<bool> {
    if has_verified(record, address) {
        return Ok(true);
    }
    let mut verified = record.clone();
    let mut addresses = verified.addresses.iter_mut();
    let named = addresses.find(|known| known.normal == address);
    let Some(named) = named.filter(|_| by_secret) else {
        return Ok(false);
    };
    named.verified_ms = Some(by.now_ms);
    if directory::taken(tx, &verified)?.is_some() {
        return Ok(false);
    }
    directory::store(tx, Some(record), &verified)?;
    Ok(true)
}

/// Makes the account what the invitation says, and nothing less than it was.
fn join(
    tx: &mut Transaction<'_>,
    by: &Acting,
    mut organisation: Organisation,
    invitation: Invitation,
) -> Decided<(Member, Option<TeamMember>)> {
    let account = by.account()?;
    let member = match find_place(tx, &organisation.id, account)? {
        None => admit(tx, by, &mut organisation, account, invitation.role)?,
        Some(mut member) => {
            let role = member.role.max(invitation.role);
            regrade(tx, by, &mut organisation, &mut member, role)?;
            member
        }
    };
    let team = match invitation.team.as_deref() {
        Some(id) => team::of(tx, &organisation, id)?,
        None => None,
    };
    let in_team = match team {
        None => None,
        Some(team) => Some(match find_team_place(tx, &team.id, account)? {
            None => place(
                tx,
                by,
                &organisation.app,
                &team,
                account,
                invitation.team_role,
            )?,
            Some(mut member) => {
                if member.role < invitation.team_role {
                    member.role = invitation.team_role;
                    member.revision += 1;
                    write_in_team(tx, &member)?;
                }
                member
            }
        }),
    };
    end(tx, by, &mut organisation, invitation, Outcome::Accepted)?;
    Ok((member, in_team))
}

//! Invitations: sent to an address, answered by whoever reads what was sent there.
//!
//! The secret in the mail proves the address. Whoever holds it may decline without signing in; to
//! accept he signs in with an account that has a verified address, or that has named this very
//! address, which the secret then verifies. An address that the account has not named itself is not
//! given to it: otherwise somebody could have another accept an invitation to his own address, and
//! recover that one's account by it.
//!
//! Invariants: an invitation ends once, as accepted, declined or revoked; only hashes of secrets are
//! stored, and the last one sent is the only one that is good; it is worth what its inviter may
//! still do, so nobody who was removed comes back by an invitation of his own.

use adea_base::Entropy;
use adea_store::{EngineError, Space, Transaction};
use serde_json::json;

use super::membership::{admit, place, regrade, write_in_team};
use super::read::{enter, enter_team, find_place, find_team_place, standing};
use super::record::{Invitation, Member, Organisation, Outcome, Team, TeamMember};
use super::role::{OrganisationRole, TeamRole};
use super::{Acting, Decided, OrganisationError, organisation, person, team};
use crate::directory::{self, AccountRecord};
use crate::keys;
use crate::names::normal_address;
use crate::one_time::{hash, new_secret};
use crate::stored::{Source, decode, get, get_text, put};

/// The least time between two mails of one invitation.
const PAUSE_MS: u64 = 60_000;
/// How often one invitation is sent.
const SENT_MAX: u32 = 10;
/// How long an invitation is kept when it is over.
const KEEP_MS: u64 = 30 * 86_400_000;
/// How many invitations to one address are looked at.
const TO_ADDRESS_MAX: usize = 1_000;
/// The longest tag of a language.
const LANGUAGE_MAX: usize = 35;

/// How an invitation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvitationState {
    /// It waits for an answer.
    Pending,
    /// Somebody has joined by it.
    Accepted,
    /// Whom it was sent to does not want to.
    Declined,
    /// It was taken back.
    Revoked,
    /// Nobody answered in time.
    Expired,
}

impl InvitationState {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }

    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Pending => "The invitation is open.",
            Self::Accepted => "The invitation was accepted already.",
            Self::Declined => "The invitation was declined already.",
            Self::Revoked => "The invitation was revoked. Ask for a new one.",
            Self::Expired => "The invitation has expired. Ask for a new one.",
        }
    }
}

impl Invitation {
    /// How it stands at a time.
    #[must_use]
    pub fn state(&self, now_ms: u64) -> InvitationState {
        match self.outcome {
            Some(Outcome::Accepted) => InvitationState::Accepted,
            Some(Outcome::Declined) => InvitationState::Declined,
            Some(Outcome::Revoked) => InvitationState::Revoked,
            None if self.expires_ms <= now_ms => InvitationState::Expired,
            None => InvitationState::Pending,
        }
    }
}

/// Whom to invite, and to what.
#[derive(Clone, Debug, Default)]
pub struct NewInvitation {
    /// To which organisation; may be empty where there is a team.
    pub organisation: String,
    /// To which team of it.
    pub team: Option<String>,
    /// As what in the organisation.
    pub role: OrganisationRole,
    /// As what in the team.
    pub team_role: TeamRole,
    /// The address, as it was typed.
    pub address: String,
    /// The language to write in, as a BCP 47 tag; empty for the server's own.
    pub language: String,
}

/// An invitation and what it is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invited {
    /// The invitation.
    pub invitation: Invitation,
    /// To which organisation.
    pub organisation: Organisation,
    /// To which team of it.
    pub team: Option<Team>,
}

/// An invitation that is to be sent, with what nobody else will ever know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitedBy {
    /// What is sent.
    pub invited: Invited,
    /// Who invites, as he is shown.
    pub inviter: String,
    /// The secret of its link.
    pub secret: String,
}

/// What shows that an invitation is somebody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The secret of the link.
    Secret(String),
    /// The id of the invitation: whoever signs in has verified the address that it was sent to.
    Invitation(String),
}

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
    let secret = fresh(&by.entropy);
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
    secret
}

fn fresh(entropy: &Entropy) -> String {
    new_secret(entropy)
}

/// What leads to an invitation, but for its secret.
fn indexes(invitation: &Invitation) -> Vec<Vec<u8>> {
    let groups = [
        Some(invitation.organisation.as_str()),
        invitation.team.as_deref(),
        invitation.inviter.as_deref(),
    ];
    let groups = groups.into_iter().flatten();
    groups
        .map(|group| keys::invitation_of(group, &invitation.id))
        .chain([keys::invited(&invitation.address, &invitation.id)])
        .collect()
}

fn forget_secret(tx: &mut Transaction<'_>, invitation: &Invitation) {
    if let Some(digest) = digest(&invitation.secret) {
        tx.delete(Space::Index, keys::invitation_secret(&digest));
    }
}

/// The bytes that 64 hexadecimal digits stand for.
fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    for (n, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    Some(out)
}

/// Removes all that there is of `invitation`. `organisation` is where it counts, if it is there.
pub(super) fn remove(
    tx: &mut Transaction<'_>,
    organisation: Option<&mut Organisation>,
    invitation: &Invitation,
) {
    forget_secret(tx, invitation);
    for index in indexes(invitation) {
        tx.delete(Space::Index, index);
    }
    tx.delete(Space::Index, keys::invitation(&invitation.id));
    if let Some(organisation) = organisation
        && invitation.outcome.is_none()
    {
        let counts = &mut organisation.counts;
        counts.invitations = counts.invitations.saturating_sub(1);
        organisation::store(tx, organisation);
    }
}

/// Whether an invitation to `group` waits at `address`. Nobody learns from it who has an account:
/// it is asked of invitations, not of accounts.
fn invited_already(tx: &Transaction<'_>, by: &Acting, group: &str, address: &str) -> Decided<bool> {
    let range = keys::invitations_to(address);
    for (key, _) in tx.range(Space::Index, &range, TO_ADDRESS_MAX)? {
        let id = String::from_utf8_lossy(keys::last_part(&key)).into_owned();
        let found: Option<Invitation> = get(tx, &keys::invitation(&id), &id)?;
        let Some(found) = found else { continue };
        let to = found.team.as_deref().unwrap_or(&found.organisation);
        if to == group && found.state(by.now_ms) == InvitationState::Pending {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses one more invitation where there are as many as may be, once those are gone that have
/// expired.
fn make_room(
    tx: &mut Transaction<'_>,
    by: &Acting,
    organisation: &mut Organisation,
) -> Decided<()> {
    let limit = organisation.limits(&by.limits).invitations;
    if organisation.counts.invitations < limit {
        return Ok(());
    }
    let range = keys::invitations_of(&organisation.id);
    for (key, _) in tx.range(Space::Index, &range, TO_ADDRESS_MAX)? {
        let id = String::from_utf8_lossy(keys::last_part(&key)).into_owned();
        let found: Option<Invitation> = get(tx, &keys::invitation(&id), &id)?;
        if let Some(found) = found
            && found.state(by.now_ms) == InvitationState::Expired
        {
            remove(tx, Some(organisation), &found);
        }
    }
    if organisation.counts.invitations >= limit {
        let what = "open invitations";
        return Err(OrganisationError::Quota { what, limit }.into());
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

/// Ends an invitation that has not ended.
fn end(
    tx: &mut Transaction<'_>,
    by: &Acting,
    organisation: &mut Organisation,
    mut invitation: Invitation,
    outcome: Outcome,
) -> Decided<Invitation> {
    if invitation.outcome.is_some() {
        return Err(OrganisationError::Closed(invitation.state(by.now_ms)).into());
    }
    invitation.outcome = Some(outcome);
    invitation.ended_ms = by.now_ms;
    put(tx, keys::invitation(&invitation.id), &invitation);
    let counts = &mut organisation.counts;
    counts.invitations = counts.invitations.saturating_sub(1);
    organisation::store(tx, organisation);
    let action = match outcome {
        Outcome::Accepted => "invitation.accept",
        Outcome::Declined => "invitation.decline",
        Outcome::Revoked => "invitation.revoke",
    };
    note(tx, by, action, organisation, &invitation)?;
    Ok(invitation)
}

fn note(
    tx: &mut Transaction<'_>,
    by: &Acting,
    action: &str,
    organisation: &Organisation,
    invitation: &Invitation,
) -> Result<(), EngineError> {
    let detail = json!({
        "invitation": invitation.id, "team": invitation.team, "role": invitation.role,
        "team_role": invitation.team.as_ref().map(|_| invitation.team_role),
    });
    by.note(tx, action, &organisation.id, &organisation.app, detail)
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
        let inviter = standing(source, Some(inviter), false, of, None)?;
        if !inviter.invites(invitation.role) {
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

/// Removes invitations that have been over for a while, at most `limit` of those looked at; what is
/// behind the last one looked at is for the next call.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn sweep_invitations(
    tx: &mut Transaction<'_>,
    after: Option<&[u8]>,
    now_ms: u64,
    limit: usize,
) -> Result<Option<Vec<u8>>, EngineError> {
    let mut range = keys::invitations();
    if let Some(after) = after {
        range.from = [after, &[0]].concat();
    }
    let rows = tx.range(Space::Index, &range, limit)?;
    let last = rows.last().map(|(key, _)| key.clone());
    let full = rows.len() == limit;
    for (_, value) in rows {
        let found: Invitation = decode(&value, "an invitation")?;
        let over_ms = match found.outcome {
            Some(_) => found.ended_ms,
            None => found.expires_ms,
        };
        if over_ms.saturating_add(KEEP_MS) <= now_ms {
            let of = &found.organisation;
            let mut organisation: Option<Organisation> = get(tx, &keys::organisation(of), of)?;
            remove(tx, organisation.as_mut(), &found);
        }
    }
    Ok(last.filter(|_| full))
}

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

use adea_store::{EngineError, Space, Transaction};
use serde_json::json;

use super::organisation;
use super::record::{Invitation, Organisation, Outcome, Team};
use super::role::{OrganisationRole, TeamRole};
use super::{Acting, Decided, OrganisationError};
use crate::keys;
use crate::stored::{decode, get, get_text, put};

/// How long an invitation is kept that was answered or revoked: lists of those that are open stay
/// short.
const KEEP_ENDED_MS: u64 = 86_400_000;
/// How long one is kept that has expired; it can be sent again, and counts until it is gone.
const KEEP_EXPIRED_MS: u64 = 30 * 86_400_000;

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

/// What leads to an invitation, but for its secret.
pub(super) fn indexes(invitation: &Invitation) -> Vec<Vec<u8>> {
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

pub(super) fn forget_secret(tx: &mut Transaction<'_>, invitation: &Invitation) {
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

/// What leads from the address, and what it was invited to, to the one open invitation.
pub(super) fn waiting_key(invitation: &Invitation) -> Vec<u8> {
    let group = invitation.team.as_deref();
    let group = group.unwrap_or(&invitation.organisation);
    keys::invited_to(group, &invitation.address)
}

/// From now on the address may be invited anew, unless it was.
fn wait_no_more(tx: &mut Transaction<'_>, invitation: &Invitation) -> Result<(), EngineError> {
    let key = waiting_key(invitation);
    if get_text(tx, &key)?.is_some_and(|id| id == invitation.id) {
        tx.delete(Space::Index, key);
    }
    Ok(())
}

/// Removes all that there is of `invitation`. `organisation` is where it counts, if it is there.
pub(super) fn remove(
    tx: &mut Transaction<'_>,
    organisation: Option<&mut Organisation>,
    invitation: &Invitation,
) -> Result<(), EngineError> {
    forget_secret(tx, invitation);
    wait_no_more(tx, invitation)?;
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
    Ok(())
}

/// Ends an invitation that has not ended.
pub(super) fn end(
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
    wait_no_more(tx, &invitation)?;
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

pub(super) fn note(
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
        let until_ms = match found.outcome {
            Some(_) => found.ended_ms.saturating_add(KEEP_ENDED_MS),
            None => found.expires_ms.saturating_add(KEEP_EXPIRED_MS),
        };
        if until_ms <= now_ms {
            let of = &found.organisation;
            let mut organisation: Option<Organisation> = get(tx, &keys::organisation(of), of)?;
            remove(tx, organisation.as_mut(), &found)?;
        }
    }
    Ok(last.filter(|_| full))
}

//! Invitations: sent in the commit that makes them, answered by whom they were sent to.

use adea_accounts::organisations::{
    self as verbs, Acting, Claim, Invitation, Invited, InvitedBy, Member, NewInvitation,
    OrganisationError, TeamMember,
};
use adea_mail::{Kind, Outgoing};
use adea_store::Transaction;
use serde_json::json;

use crate::error::PodError;
use crate::limits::LimitKind;
use crate::mail::LinkKind;
use crate::pod::Pod;

const DAY_MS: u64 = 86_400_000;

/// What the mail of an invitation needs besides the invitation.
struct Post {
    pod: Pod,
}

impl Pod {
    /// Invites somebody.
    ///
    /// # Errors
    /// [`PodError::Organisation`]; [`PodError::Limited`] if he was written to too often.
    pub async fn invite(&self, by: Acting, new: NewInvitation) -> Result<Invited, PodError> {
        let post = Post { pod: self.clone() };
        self.organise(move |tx| {
            let made = verbs::invite(tx, &by, &new)?;
            // Counted for who may invite, and apart from mail that the invited asks for himself:
            // nobody is kept from recovering his account by invitations that others sent him.
            let key = format!("invitation {}", made.invited.invitation.address);
            post.pod
                .limit(LimitKind::AccountMail, &key)
                .map_err(|error| too_soon(&error))?;
            post.send(tx, &by, &made);
            Ok(made.invited)
        })
        .await
    }

    /// Sends an invitation again.
    ///
    /// # Errors
    /// [`PodError::Organisation`]; [`PodError::Limited`] if it was sent a moment ago.
    pub async fn resend_invitation(&self, by: Acting, id: String) -> Result<Invited, PodError> {
        let post = Post { pod: self.clone() };
        self.organise(move |tx| {
            let made = verbs::resend(tx, &by, &id)?;
            post.send(tx, &by, &made);
            Ok(made.invited)
        })
        .await
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// [`PodError::Organisation`].
    pub async fn revoke_invitation(&self, by: Acting, id: String) -> Result<Invitation, PodError> {
        self.organise(move |tx| verbs::revoke(tx, &by, &id)).await
    }

    /// Says no to an invitation.
    ///
    /// # Errors
    /// [`PodError::Organisation`].
    pub async fn decline_invitation(
        &self,
        by: Acting,
        claim: Claim,
    ) -> Result<Invitation, PodError> {
        self.organise(move |tx| verbs::decline(tx, &by, &claim))
            .await
    }

    /// Joins by an invitation.
    ///
    /// # Errors
    /// [`PodError::Organisation`].
    pub async fn accept_invitation(
        &self,
        by: Acting,
        claim: Claim,
    ) -> Result<(Member, Option<TeamMember>), PodError> {
        self.organise(move |tx| verbs::accept(tx, &by, &claim))
            .await
    }

    /// What somebody is invited to who holds `secret`.
    ///
    /// # Errors
    /// [`PodError::Organisation`].
    pub fn look_at_invitation(&self, secret: &str) -> Result<Invited, PodError> {
        let now_ms = self.inner.clock.now_unix_ms();
        self.find_there(|view| verbs::look(view, secret, now_ms))
    }
}

fn too_soon(error: &PodError) -> OrganisationError {
    let PodError::Limited { retry_after_s } = error else {
        return OrganisationError::TooSoon(1);
    };
    OrganisationError::TooSoon(*retry_after_s)
}

impl Post {
    /// Queues the mail of an invitation.
    fn send(&self, tx: &mut Transaction<'_>, by: &Acting, made: &InvitedBy) {
        let Invited {
            invitation,
            organisation,
            team,
        } = &made.invited;
        let role = match team {
            Some(_) => invitation.team_role.word(),
            None => invitation.role.word(),
        };
        let lasting_ms = invitation.expires_ms.saturating_sub(invitation.sent_ms);
        let mail = Outgoing {
            kind: Kind::Invitation,
            to: invitation.address.clone(),
            language: invitation.language.clone(),
            app: organisation.app.clone(),
            data: json!({
                "organisation": organisation.name,
                "team": team.as_ref().map(|team| &team.name),
                "inviter": made.inviter,
                "role": role,
                "link": self.pod.link(LinkKind::Invitation, &organisation.app, &made.secret),
                "days": lasting_ms.div_ceil(DAY_MS),
            }),
        };
        adea_mail::enqueue(tx, &by.entropy, by.now_ms, &mail);
    }
}

//! Invitations to organisations and teams.
//!
//! Whether an address has an account is told by no answer: all that is known of an invitation is
//! what its inviter said, and what the invited answered.

use adea_accounts::organisations::{Claim, NewInvitation, OrganisationRole, TeamRole};
use adea_pod::WhichInvitations;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::organisations::forms::{InvitationAnswer, MembershipAnswer, RoleWord};
use super::organisations::{CONFLICT, DONE, MISSING, acting, done, gives, makes, part, ready};
use super::paging::{AFTER, LIMIT, Paged};
use super::{Answer, Captures, Form, Parameter, Route, Who, answer, read};
use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;

const GONE: Answer = Answer {
    status: 410,
    about: "The invitation was answered or revoked, or has expired.",
    form: None,
};

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/_invitations",
        name: "createInvitation",
        summary: "Invite somebody by mail; owners and administrators of the organisation may.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<InvitationCreation>()),
        answers: &[
            makes(
                "The invitation, on its way.",
                Form::of::<InvitationAnswer>(),
            ),
            MISSING,
            CONFLICT,
        ],
        handle: |exchange, _| Box::pin(create(exchange)),
    },
    Route {
        method: "GET",
        path: "/_invitations",
        name: "listInvitations",
        summary: "The invitations that you have sent, that were sent to you, or those to an organisation.",
        who: Who::SignedIn,
        query: &[
            LIMIT,
            AFTER,
            Parameter {
                name: "received",
                about: "Whether those are meant that were sent to your verified addresses.",
                kind: "boolean",
            },
            Parameter {
                name: "organisation",
                about: "The organisation that they are to; for its owners and administrators.",
                kind: "id",
            },
        ],
        body: None,
        answers: &[
            gives("A page of them.", Form::of::<Paged<InvitationAnswer>>()),
            MISSING,
        ],
        handle: |exchange, _| ready(list(&exchange)),
    },
    Route {
        method: "POST",
        path: "/_invitations/look",
        name: "lookAtInvitation",
        summary: "What the secret of an invitation is to, without answering.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<SecretForm>()),
        answers: &[
            gives("What it is to.", Form::of::<InvitationShown>()),
            MISSING,
            GONE,
        ],
        handle: |exchange, _| Box::pin(look(exchange)),
    },
    Route {
        method: "POST",
        path: "/_invitations/accept",
        name: "acceptInvitation",
        summary: "Join by an invitation: with the secret of its link, or one that was sent to a verified address of yours.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<ClaimForm>()),
        answers: &[
            gives("What you are now.", Form::of::<AcceptedAnswer>()),
            MISSING,
            GONE,
        ],
        handle: |exchange, _| Box::pin(accept(exchange)),
    },
    Route {
        method: "POST",
        path: "/_invitations/decline",
        name: "declineInvitation",
        summary: "Say no to an invitation; whoever has the secret of its link need not sign in.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<ClaimForm>()),
        answers: &[DONE, MISSING, GONE],
        handle: |exchange, _| Box::pin(decline(exchange)),
    },
    Route {
        method: "GET",
        path: "/_invitations/{invitation}",
        name: "getInvitation",
        summary: "An invitation, for whom it was sent to and for who may revoke it.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[
            gives("The invitation.", Form::of::<InvitationAnswer>()),
            MISSING,
        ],
        handle: |exchange, captures| ready(show(&exchange, captures.get(0))),
    },
    Route {
        method: "DELETE",
        path: "/_invitations/{invitation}",
        name: "revokeInvitation",
        summary: "Take an invitation back.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[DONE, MISSING, GONE],
        handle: |exchange, captures| Box::pin(revoke(exchange, captures)),
    },
    Route {
        method: "POST",
        path: "/_invitations/{invitation}/resend",
        name: "resendInvitation",
        summary: "Send an invitation again, with a new secret and a new term; the secret before is void.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[
            gives("The invitation.", Form::of::<InvitationAnswer>()),
            MISSING,
            GONE,
        ],
        handle: |exchange, captures| Box::pin(resend(exchange, captures)),
    },
];

/// Whom to invite, and to what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InvitationCreation {
    /// To which organisation; need not be given where there is a team.
    #[schema(min_length = 26, max_length = 26)]
    organisation: Option<String>,
    /// To which team.
    #[schema(min_length = 26, max_length = 26)]
    team: Option<String>,
    /// As what: in the team, if there is one, and else in the organisation. As `reader` or `member`,
    /// if it is not given.
    role: Option<RoleWord>,
    /// The address to send it to.
    #[schema(min_length = 3, max_length = 254)]
    address: String,
    /// The language to write in, as a BCP 47 tag.
    #[schema(max_length = 35)]
    language: Option<String>,
}

/// The secret of a link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SecretForm {
    #[schema(min_length = 1, max_length = 128)]
    token: String,
}

/// Which invitation is answered: one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ClaimForm {
    /// The secret of its link.
    #[schema(min_length = 1, max_length = 128)]
    token: Option<String>,
    /// Its id, if it was sent to a verified address of yours.
    #[schema(min_length = 26, max_length = 26)]
    invitation: Option<String>,
}

impl ClaimForm {
    fn claim(self) -> Result<Claim, ApiError> {
        match (self.token, self.invitation) {
            (Some(token), None) => Ok(Claim::Secret(token)),
            (None, Some(id)) => Ok(Claim::Invitation(id)),
            (None, None) | (Some(_), Some(_)) => {
                let reason = "either `token` or `invitation` must be given";
                Err(ApiError::Input(reason.to_owned()))
            }
        }
    }
}

/// What an invitation is to, for who holds its secret.
#[derive(Debug, Serialize, ToSchema)]
struct InvitationShown {
    organisation_name: String,
    team_name: Option<String>,
    /// As what: in the team, if there is one, and else in the organisation.
    role: RoleWord,
    /// The address that it was sent to.
    address: String,
    expires_ms: u64,
}

/// What somebody is who has accepted.
#[derive(Debug, Serialize, ToSchema)]
struct AcceptedAnswer {
    organisation: MembershipAnswer,
    /// Null if the invitation was to no team.
    team: Option<MembershipAnswer>,
}

async fn create(mut exchange: Exchange) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let now_ms = by.now_ms;
    let asked: InvitationCreation = read(&mut exchange).await?;
    let (role, team_role) = roles(&asked)?;
    let new = NewInvitation {
        organisation: asked.organisation.unwrap_or_default(),
        team: asked.team,
        role,
        team_role,
        address: asked.address,
        language: asked.language.unwrap_or_default(),
    };
    let invited = exchange.app.pod.invite(by, new).await?;
    let shown = InvitationAnswer::new(invited, now_ms);
    Ok(answer(StatusCode::CREATED, &shown))
}

/// As what somebody is invited to the organisation and to the team.
fn roles(asked: &InvitationCreation) -> Result<(OrganisationRole, TeamRole), ApiError> {
    let wrong = |what| ApiError::Input(format!("`role` is none of {what}"));
    let (mut role, mut team_role) = (OrganisationRole::default(), TeamRole::default());
    match (&asked.team, asked.role) {
        (None, _) if asked.organisation.is_none() => {
            let reason = "`organisation` or `team` must be given";
            return Err(ApiError::Input(reason.to_owned()));
        }
        (_, None) => {}
        (Some(_), Some(word)) => team_role = word.of_team().ok_or_else(|| wrong("a team"))?,
        (None, Some(word)) => {
            role = word
                .of_organisation()
                .ok_or_else(|| wrong("an organisation"))?;
        }
    }
    Ok((role, team_role))
}

fn list(exchange: &Exchange) -> Result<Response, ApiError> {
    let (by, part) = (acting(exchange)?, part(exchange)?);
    let received = exchange.query.is_true("received");
    let which = match (received, exchange.query.get("organisation")) {
        (true, Some(_)) => {
            let reason = "`received` and `organisation` do not go together";
            return Err(ApiError::Input(reason.to_owned()));
        }
        (true, None) => WhichInvitations::Received,
        (false, Some(organisation)) => WhichInvitations::To(organisation.to_owned()),
        (false, None) => WhichInvitations::Sent,
    };
    let page = exchange.app.pod.invitations(&by, &which, &part)?;
    let items = page.items.into_iter();
    let items = items.map(|found| InvitationAnswer::new(found, by.now_ms));
    Ok(answer(
        StatusCode::OK,
        &Paged::new(items.collect(), page.next),
    ))
}

async fn look(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: SecretForm = read(&mut exchange).await?;
    let invited = exchange.app.pod.look_at_invitation(&asked.token)?;
    let invitation = invited.invitation;
    let shown = InvitationShown {
        organisation_name: invited.organisation.name,
        role: match invitation.team {
            Some(_) => invitation.team_role.into(),
            None => invitation.role.into(),
        },
        team_name: invited.team.map(|team| team.name),
        address: invitation.address,
        expires_ms: invitation.expires_ms,
    };
    Ok(answer(StatusCode::OK, &shown))
}

async fn accept(mut exchange: Exchange) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let asked: ClaimForm = read(&mut exchange).await?;
    let pod = &exchange.app.pod;
    let (member, in_team) = pod.accept_invitation(by, asked.claim()?).await?;
    let accepted = AcceptedAnswer {
        organisation: member.into(),
        team: in_team.map(Into::into),
    };
    Ok(answer(StatusCode::OK, &accepted))
}

async fn decline(mut exchange: Exchange) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let asked: ClaimForm = read(&mut exchange).await?;
    let pod = &exchange.app.pod;
    pod.decline_invitation(by, asked.claim()?).await?;
    Ok(done())
}

fn show(exchange: &Exchange, id: &str) -> Result<Response, ApiError> {
    let by = acting(exchange)?;
    let found = exchange.app.pod.invitation(&by, id)?;
    Ok(answer(
        StatusCode::OK,
        &InvitationAnswer::new(found, by.now_ms),
    ))
}

async fn revoke(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let id = captures.get(0).to_owned();
    exchange.app.pod.revoke_invitation(by, id).await?;
    Ok(done())
}

async fn resend(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let (now_ms, id) = (by.now_ms, captures.get(0).to_owned());
    let invited = exchange.app.pod.resend_invitation(by, id).await?;
    Ok(answer(
        StatusCode::OK,
        &InvitationAnswer::new(invited, now_ms),
    ))
}

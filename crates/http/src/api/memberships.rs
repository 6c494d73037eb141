//! Memberships of organisations and teams, each under an id of its own.
//!
//! That id is the one of the organisation or team, a hyphen, and the one of the account.

use adea_accounts::keys::is_id;
use adea_accounts::organisations::{Acting, OrganisationError};
use adea_pod::{Placing, Pod, PodError};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::organisations::forms::{MembershipAnswer, RoleWord, TeamRoleWord};
use super::organisations::{
    CONFLICT, DONE, IF_REVISION, MISSING, acting, done, gives, makes, part, ready,
};
use super::paging::{Paged, QUERY};
use super::{Captures, Form, Route, Who, answer, read};
use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/_memberships",
        name: "listMemberships",
        summary: "All that you belong to, organisations and teams.",
        who: Who::SignedIn,
        query: QUERY,
        body: None,
        answers: &[gives(
            "A page of them.",
            Form::of::<Paged<MembershipAnswer>>(),
        )],
        handle: |exchange, _| ready(list(&exchange)),
    },
    Route {
        method: "POST",
        path: "/_memberships",
        name: "createMembership",
        summary: "Add a member of the organisation to a team; administrators of the team or the organisation may.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<MembershipCreation>()),
        answers: &[
            makes("The membership.", Form::of::<MembershipAnswer>()),
            MISSING,
            CONFLICT,
        ],
        handle: |exchange, _| Box::pin(create(exchange)),
    },
    Route {
        method: "GET",
        path: "/_memberships/{membership}",
        name: "getMembership",
        summary: "A membership of an organisation that you belong to.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[
            gives("The membership.", Form::of::<MembershipAnswer>()),
            MISSING,
        ],
        handle: |exchange, captures| ready(show(&exchange, captures.get(0))),
    },
    Route {
        method: "PATCH",
        path: "/_memberships/{membership}",
        name: "changeMembership",
        summary: "Change what somebody is in an organisation or a team.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<MembershipPatch>()),
        answers: &[
            gives("The membership.", Form::of::<MembershipAnswer>()),
            MISSING,
            CONFLICT,
        ],
        handle: |exchange, captures| Box::pin(change(exchange, captures)),
    },
    Route {
        method: "DELETE",
        path: "/_memberships/{membership}",
        name: "deleteMembership",
        summary: "End a membership; your own, to leave.",
        who: Who::SignedIn,
        query: &[IF_REVISION],
        body: None,
        answers: &[DONE, MISSING, CONFLICT],
        handle: |exchange, captures| Box::pin(delete(exchange, captures)),
    },
];

/// A new membership of a team.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MembershipCreation {
    /// The team.
    #[schema(min_length = 26, max_length = 26)]
    team: String,
    /// The account, a member of the organisation.
    #[schema(min_length = 26, max_length = 26)]
    account: String,
    role: TeamRoleWord,
}

/// What a member is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MembershipPatch {
    role: RoleWord,
    /// The revision that this is based on; refused with 409 if there is another by now.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    if_revision: Option<u64>,
}

/// What a membership is of.
struct Of {
    group: String,
    account: String,
    in_team: bool,
}

/// What the membership with this id is of, if he who asks may know.
fn of(pod: &Pod, by: &Acting, id: &str) -> Result<Of, ApiError> {
    let missing = || ApiError::from(PodError::from(OrganisationError::Missing));
    let (group, account) = id.split_once('-').ok_or_else(missing)?;
    if !is_id(group) || !is_id(account) {
        return Err(missing());
    }
    let in_team = match pod.team(by, group) {
        Ok(_) => true,
        Err(PodError::Organisation(OrganisationError::Missing)) => {
            pod.organisation(by, group)?;
            false
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Of {
        group: group.to_owned(),
        account: account.to_owned(),
        in_team,
    })
}

fn list(exchange: &Exchange) -> Result<Response, ApiError> {
    let (by, part) = (acting(exchange)?, part(exchange)?);
    let page = exchange.app.pod.memberships(&by, &part)?;
    let items = page.items.into_iter();
    let items = items.map(|found| found.map_or_else(Into::into, Into::into));
    let items: Vec<MembershipAnswer> = items.collect();
    Ok(answer(StatusCode::OK, &Paged::new(items, page.next)))
}

async fn create(mut exchange: Exchange) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let asked: MembershipCreation = read(&mut exchange).await?;
    let pod = &exchange.app.pod;
    match pod.team_member(&by, &asked.team, &asked.account) {
        Ok(_) => return Err(PodError::from(OrganisationError::AlreadyMember).into()),
        Err(PodError::Organisation(OrganisationError::Missing)) => {}
        Err(error) => return Err(error.into()),
    }
    let put = Placing {
        group: asked.team,
        account: asked.account,
        role: asked.role.into(),
        // There is none yet; should there be by then, it is not changed.
        if_revision: Some(0),
        adds: true,
    };
    let member = pod.put_team_member(by, put).await?;
    Ok(answer(StatusCode::CREATED, &MembershipAnswer::from(member)))
}

fn show(exchange: &Exchange, id: &str) -> Result<Response, ApiError> {
    let (by, pod) = (acting(exchange)?, &exchange.app.pod);
    let of = of(pod, &by, id)?;
    let shown = if of.in_team {
        let (member, name) = pod.team_member(&by, &of.group, &of.account)?;
        MembershipAnswer::from(member).named(name)
    } else {
        let (member, name) = pod.member(&by, &of.group, &of.account)?;
        MembershipAnswer::from(member).named(name)
    };
    Ok(answer(StatusCode::OK, &shown))
}

async fn change(mut exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let asked: MembershipPatch = read(&mut exchange).await?;
    let pod = &exchange.app.pod;
    let of = of(pod, &by, captures.get(0))?;
    let not_here = || ApiError::Input("`role` is none of what this membership is of".to_owned());
    let (group, account, if_revision) = (of.group, of.account, asked.if_revision);
    let shown = if of.in_team {
        let put = Placing {
            group,
            account,
            role: asked.role.of_team().ok_or_else(not_here)?,
            if_revision,
            adds: false,
        };
        MembershipAnswer::from(pod.put_team_member(by, put).await?)
    } else {
        let put = Placing {
            group,
            account,
            role: asked.role.of_organisation().ok_or_else(not_here)?,
            if_revision,
            adds: false,
        };
        MembershipAnswer::from(pod.put_member(by, put).await?)
    };
    Ok(answer(StatusCode::OK, &shown))
}

async fn delete(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let if_revision = exchange.query.count("if_revision")?;
    let pod = &exchange.app.pod;
    let of = of(pod, &by, captures.get(0))?;
    if of.in_team {
        pod.remove_team_member(by, of.group, of.account, if_revision)
            .await?;
    } else {
        pod.remove_member(by, of.group, of.account, if_revision)
            .await?;
    }
    Ok(done())
}

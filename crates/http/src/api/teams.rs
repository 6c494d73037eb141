//! Teams of an organisation: what rights of databases name as `team:<id>:writer`.

use adea_accounts::organisations::{NewTeam, TeamChange};
use adea_pod::Placing;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::organisations::forms::{MembershipAnswer, TeamAnswer, TeamRoleWord};
use super::organisations::{
    CONFLICT, DONE, IF_REVISION, MISSING, acting, done, gives, makes, part, ready,
    teams as teams_of,
};
use super::paging::{AFTER, LIMIT, Paged, QUERY};
use super::{Captures, Form, Parameter, Route, Who, answer, read};
use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/_teams",
        name: "createTeam",
        summary: "Make a team of an organisation, and be its first administrator.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<TeamCreation>()),
        answers: &[
            makes("The team.", Form::of::<TeamAnswer>()),
            MISSING,
            CONFLICT,
        ],
        handle: |exchange, _| Box::pin(create(exchange)),
    },
    Route {
        method: "GET",
        path: "/_teams",
        name: "listTeams",
        summary: "The teams that you are in, or those of an organisation that you belong to.",
        who: Who::SignedIn,
        query: &[
            LIMIT,
            AFTER,
            Parameter {
                name: "organisation",
                about: "The organisation whose teams are meant.",
                kind: "id",
            },
        ],
        body: None,
        answers: &[
            gives("A page of them.", Form::of::<Paged<TeamAnswer>>()),
            MISSING,
        ],
        handle: |exchange, _| ready(list(&exchange)),
    },
    Route {
        method: "GET",
        path: "/_teams/{team}",
        name: "getTeam",
        summary: "A team of an organisation that you belong to.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[gives("The team.", Form::of::<TeamAnswer>()), MISSING],
        handle: |exchange, captures| ready(show(&exchange, captures.get(0))),
    },
    Route {
        method: "PATCH",
        path: "/_teams/{team}",
        name: "changeTeam",
        summary: "Change a team; its administrators and those of the organisation may.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<TeamPatch>()),
        answers: &[
            gives("The team.", Form::of::<TeamAnswer>()),
            MISSING,
            CONFLICT,
        ],
        handle: |exchange, captures| Box::pin(change(exchange, captures)),
    },
    Route {
        method: "DELETE",
        path: "/_teams/{team}",
        name: "deleteTeam",
        summary: "Delete a team with its memberships and invitations; administrators of the organisation may.",
        who: Who::SignedIn,
        query: &[IF_REVISION],
        body: None,
        answers: &[DONE, MISSING, CONFLICT],
        handle: |exchange, captures| Box::pin(delete(exchange, captures)),
    },
    Route {
        method: "GET",
        path: "/_teams/{team}/members",
        name: "listTeamMembers",
        summary: "The members of a team.",
        who: Who::SignedIn,
        query: QUERY,
        body: None,
        answers: &[
            gives("A page of them.", Form::of::<Paged<MembershipAnswer>>()),
            MISSING,
        ],
        handle: |exchange, captures| ready(members(&exchange, captures.get(0))),
    },
    Route {
        method: "GET",
        path: "/_teams/{team}/members/{account}",
        name: "getTeamMember",
        summary: "A member of a team.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[
            gives("The membership.", Form::of::<MembershipAnswer>()),
            MISSING,
        ],
        handle: |exchange, captures| ready(member(&exchange, &captures)),
    },
    Route {
        method: "PUT",
        path: "/_teams/{team}/members/{account}",
        name: "putTeamMember",
        summary: "Add a member of the organisation to a team, or change what he is in it.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<TeamMemberPut>()),
        answers: &[
            gives("The membership.", Form::of::<MembershipAnswer>()),
            MISSING,
            CONFLICT,
        ],
        handle: |exchange, captures| Box::pin(put_member(exchange, captures, true)),
    },
    Route {
        method: "PATCH",
        path: "/_teams/{team}/members/{account}",
        name: "changeTeamMember",
        summary: "Change what a member of a team is.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<TeamMemberPut>()),
        answers: &[
            gives("The membership.", Form::of::<MembershipAnswer>()),
            MISSING,
            CONFLICT,
        ],
        handle: |exchange, captures| Box::pin(put_member(exchange, captures, false)),
    },
    Route {
        method: "DELETE",
        path: "/_teams/{team}/members/{account}",
        name: "removeTeamMember",
        summary: "Remove a member from a team; yourself, to leave it.",
        who: Who::SignedIn,
        query: &[IF_REVISION],
        body: None,
        answers: &[DONE, MISSING, CONFLICT],
        handle: |exchange, captures| Box::pin(remove_member(exchange, captures)),
    },
];

/// A new team.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TeamCreation {
    /// The organisation that it is to be a part of.
    #[schema(min_length = 26, max_length = 26)]
    organisation: String,
    /// Its name, which no other of the organisation has, nor one that looks the same.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
}

/// What is to be changed of a team; what is not given stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TeamPatch {
    /// Another name.
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    /// The revision that this is based on; refused with 409 if there is another by now.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    if_revision: Option<u64>,
}

/// What a member of a team is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TeamMemberPut {
    role: TeamRoleWord,
    /// The revision that this is based on; refused with 409 if there is another by now.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    if_revision: Option<u64>,
}

async fn create(mut exchange: Exchange) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let asked: TeamCreation = read(&mut exchange).await?;
    let new = NewTeam {
        organisation: asked.organisation,
        name: asked.name,
    };
    let team = exchange.app.pod.create_team(by, new).await?;
    Ok(answer(StatusCode::CREATED, &TeamAnswer::from(team)))
}

fn list(exchange: &Exchange) -> Result<Response, ApiError> {
    if let Some(organisation) = exchange.query.get("organisation") {
        return teams_of(exchange, organisation);
    }
    let (by, part) = (acting(exchange)?, part(exchange)?);
    let page = exchange.app.pod.teams(&by, None, &part)?;
    let items: Vec<TeamAnswer> = page.items.into_iter().map(Into::into).collect();
    Ok(answer(StatusCode::OK, &Paged::new(items, page.next)))
}

fn show(exchange: &Exchange, id: &str) -> Result<Response, ApiError> {
    let by = acting(exchange)?;
    let (team, _) = exchange.app.pod.team(&by, id)?;
    Ok(answer(StatusCode::OK, &TeamAnswer::from(team)))
}

async fn change(mut exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let asked: TeamPatch = read(&mut exchange).await?;
    let change = TeamChange {
        name: asked.name,
        if_revision: asked.if_revision,
    };
    let id = captures.get(0).to_owned();
    let team = exchange.app.pod.change_team(by, id, change).await?;
    Ok(answer(StatusCode::OK, &TeamAnswer::from(team)))
}

async fn delete(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let if_revision = exchange.query.count("if_revision")?;
    let id = captures.get(0).to_owned();
    exchange.app.pod.delete_team(by, id, if_revision).await?;
    Ok(done())
}

fn members(exchange: &Exchange, id: &str) -> Result<Response, ApiError> {
    let (by, part) = (acting(exchange)?, part(exchange)?);
    let page = exchange.app.pod.team_members(&by, id, &part)?;
    let items = page.items.into_iter();
    let items = items.map(|(member, name)| MembershipAnswer::from(member).named(name));
    Ok(answer(
        StatusCode::OK,
        &Paged::new(items.collect(), page.next),
    ))
}

fn member(exchange: &Exchange, captures: &Captures) -> Result<Response, ApiError> {
    let by = acting(exchange)?;
    let pod = &exchange.app.pod;
    let (member, name) = pod.team_member(&by, captures.get(0), captures.get(1))?;
    let shown = MembershipAnswer::from(member).named(name);
    Ok(answer(StatusCode::OK, &shown))
}

async fn put_member(
    mut exchange: Exchange,
    captures: Captures,
    adds: bool,
) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let asked: TeamMemberPut = read(&mut exchange).await?;
    let put = Placing {
        group: captures.get(0).to_owned(),
        account: captures.get(1).to_owned(),
        role: asked.role.into(),
        if_revision: asked.if_revision,
        adds,
    };
    let member = exchange.app.pod.put_team_member(by, put).await?;
    Ok(answer(StatusCode::OK, &MembershipAnswer::from(member)))
}

async fn remove_member(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let if_revision = exchange.query.count("if_revision")?;
    let (id, account) = (captures.get(0).to_owned(), captures.get(1).to_owned());
    let pod = &exchange.app.pod;
    pod.remove_team_member(by, id, account, if_revision).await?;
    Ok(done())
}

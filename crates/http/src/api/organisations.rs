//! Organisations: tenants with members, teams, limits and perhaps a domain.
//!
//! Whoever is no member of one finds nothing of it: every route answers 404, as for one that is not
//! there.

pub(super) mod forms;

use adea_accounts::organisations::{
    Acting, NewDomain, NewOrganisation, OrganisationChange, OrganisationRole, Part,
};
use adea_pod::{Placing, WhichOrganisations};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::paging::{AFTER, LIMIT, Page, Paged, QUERY};
use super::{Answer, Answering, Captures, Form, Parameter, Route, Who, answer, kind, read};
use crate::body::Response;
use crate::caller::origin;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;
use forms::{
    DomainForm, JoinableAnswer, MembershipAnswer, OrganisationAnswer, OrganisationCreation,
    OrganisationPatch, OrganisationRoleWord, TeamAnswer,
};

/// The revision that a change without a body is based on.
pub(super) const IF_REVISION: Parameter = Parameter {
    name: "if_revision",
    about: "The revision that this is based on; refused with 409 if there is another by now.",
    kind: "integer",
};

/// What is answered where there is nothing to tell.
pub(super) const DONE: Answer = Answer {
    status: 204,
    about: "Done.",
    form: None,
};

/// Something else stands in the way.
pub(super) const CONFLICT: Answer = Answer {
    status: 409,
    about: "It was changed meanwhile, or something stands in the way; the reason says what.",
    form: None,
};

/// There is none, or it is not for who asks.
pub(super) const MISSING: Answer = Answer {
    status: 404,
    about: "There is none, or you do not belong to it.",
    form: None,
};

/// An answer 200 of a form.
pub(super) const fn gives(about: &'static str, form: Form) -> Answer {
    let form = Some(form);
    Answer {
        status: 200,
        about,
        form,
    }
}

/// An answer 201 of a form.
pub(super) const fn makes(about: &'static str, form: Form) -> Answer {
    let form = Some(form);
    Answer {
        status: 201,
        about,
        form,
    }
}

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/_orgs",
        name: "createOrganisation",
        summary: "Make an organisation, and be its owner.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<OrganisationCreation>()),
        answers: &[
            makes("The organisation.", Form::of::<OrganisationAnswer>()),
            CONFLICT,
        ],
        handle: |exchange, _| Box::pin(create(exchange)),
    },
    Route {
        method: "GET",
        path: "/_orgs",
        name: "listOrganisations",
        summary: "The organisations that you belong to; for server administrators all, if asked for.",
        who: Who::SignedIn,
        query: &[
            LIMIT,
            AFTER,
            Parameter {
                name: "all",
                about: "Whether all are meant; for server administrators.",
                kind: "boolean",
            },
        ],
        body: None,
        answers: &[gives(
            "A page of them.",
            Form::of::<Paged<OrganisationAnswer>>(),
        )],
        handle: |exchange, _| ready(list(&exchange)),
    },
    Route {
        method: "GET",
        path: "/_orgs/joinable",
        name: "listJoinableOrganisations",
        summary: "The organisations that you may join by yourself, for you have a verified address in their domain.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[gives("All of them.", Form::of::<Paged<JoinableAnswer>>())],
        handle: |exchange, _| ready(joinable(&exchange)),
    },
    Route {
        method: "GET",
        path: "/_orgs/{org}",
        name: "getOrganisation",
        summary: "An organisation that you belong to.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[
            gives("The organisation.", Form::of::<OrganisationAnswer>()),
            MISSING,
        ],
        handle: |exchange, captures| ready(show(&exchange, captures.get(0))),
    },
    Route {
        method: "PATCH",
        path: "/_orgs/{org}",
        name: "changeOrganisation",
        summary: "Change an organisation; its owners and administrators may, and server administrators its quota.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<OrganisationPatch>()),
        answers: &[
            gives("The organisation.", Form::of::<OrganisationAnswer>()),
            MISSING,
            CONFLICT,
        ],
        handle: |exchange, captures| Box::pin(change(exchange, captures)),
    },
    Route {
        method: "DELETE",
        path: "/_orgs/{org}",
        name: "deleteOrganisation",
        summary: "Delete an organisation with its teams, memberships and invitations; its owners may.",
        who: Who::SignedIn,
        query: &[IF_REVISION],
        body: None,
        answers: &[DONE, MISSING, CONFLICT],
        handle: |exchange, captures| Box::pin(delete(exchange, captures)),
    },
    Route {
        method: "PUT",
        path: "/_orgs/{org}/domain",
        name: "setOrganisationDomain",
        summary: "Say which domain is the organisation's own, and whether people with an address in it may join.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<DomainForm>()),
        answers: &[
            gives("The organisation.", Form::of::<OrganisationAnswer>()),
            MISSING,
            CONFLICT,
        ],
        handle: |exchange, captures| Box::pin(set_domain(exchange, captures)),
    },
    Route {
        method: "DELETE",
        path: "/_orgs/{org}/domain",
        name: "unsetOrganisationDomain",
        summary: "Give up the organisation's domain; who joined by it stays.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[DONE, MISSING],
        handle: |exchange, captures| Box::pin(unset_domain(exchange, captures)),
    },
    Route {
        method: "POST",
        path: "/_orgs/{org}/join",
        name: "joinOrganisation",
        summary: "Join an organisation by a verified address in its domain.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[
            makes("The membership.", Form::of::<MembershipAnswer>()),
            MISSING,
            CONFLICT,
        ],
        handle: |exchange, captures| Box::pin(join(exchange, captures)),
    },
    Route {
        method: "GET",
        path: "/_orgs/{org}/teams",
        name: "listTeamsOfOrganisation",
        summary: "The teams of an organisation, by name.",
        who: Who::SignedIn,
        query: QUERY,
        body: None,
        answers: &[
            gives("A page of them.", Form::of::<Paged<TeamAnswer>>()),
            MISSING,
        ],
        handle: |exchange, captures| ready(teams(&exchange, captures.get(0))),
    },
    Route {
        method: "GET",
        path: "/_orgs/{org}/members",
        name: "listMembers",
        summary: "The members of an organisation.",
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
        path: "/_orgs/{org}/members/{account}",
        name: "getMember",
        summary: "A member of an organisation.",
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
        path: "/_orgs/{org}/members/{account}",
        name: "putMember",
        summary: "Make an account a member without asking it, which server administrators may, or change its role.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<MemberPut>()),
        answers: &[
            gives("The membership.", Form::of::<MembershipAnswer>()),
            MISSING,
            CONFLICT,
        ],
        handle: |exchange, captures| Box::pin(put_member(exchange, captures, true)),
    },
    Route {
        method: "PATCH",
        path: "/_orgs/{org}/members/{account}",
        name: "changeMember",
        summary: "Change what a member is.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<MemberPut>()),
        answers: &[
            gives("The membership.", Form::of::<MembershipAnswer>()),
            MISSING,
            CONFLICT,
        ],
        handle: |exchange, captures| Box::pin(put_member(exchange, captures, false)),
    },
    Route {
        method: "DELETE",
        path: "/_orgs/{org}/members/{account}",
        name: "removeMember",
        summary: "Remove a member from an organisation and its teams; yourself, to leave it.",
        who: Who::SignedIn,
        query: &[IF_REVISION],
        body: None,
        answers: &[DONE, MISSING, CONFLICT],
        handle: |exchange, captures| Box::pin(remove_member(exchange, captures)),
    },
];

/// What a member is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MemberPut {
    role: OrganisationRoleWord,
    /// The revision that this is based on; refused with 409 if there is another by now.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    if_revision: Option<u64>,
}

/// An answer that needs no waiting.
pub(super) fn ready(answered: Result<Response, ApiError>) -> Answering {
    Box::pin(std::future::ready(answered))
}

/// Who asks, as those see him who decide.
pub(super) fn acting(exchange: &Exchange) -> Result<Acting, ApiError> {
    let pod = &exchange.app.pod;
    let address = origin(&pod.auth(), &exchange.headers, exchange.peer);
    Ok(pod.acting(&exchange.caller, address)?)
}

/// The part of a list that is asked for.
pub(super) fn part(exchange: &Exchange) -> Result<Part, ApiError> {
    let page = Page::of(exchange)?;
    let wrong = || ApiError::Input("`after` is not what was `next`".to_owned());
    Part::new(page.limit, page.after).ok_or_else(wrong)
}

/// What is done, with nothing to tell.
pub(super) fn done() -> Response {
    reply::empty(StatusCode::NO_CONTENT)
}

async fn create(mut exchange: Exchange) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let asked: OrganisationCreation = read(&mut exchange).await?;
    let app = asked.app.unwrap_or_default();
    if !app.is_empty() {
        let wrong = |wanted| ApiError::Input(format!("`app` must be {wanted}"));
        kind::check("app", &app).map_err(wrong)?;
    }
    let own = asked.owner.is_none() || asked.owner.as_deref() == exchange.caller.account();
    let limits = by.limits.clone();
    let new = NewOrganisation {
        name: asked.name,
        app,
        owner: asked.owner,
    };
    let made = exchange.app.pod.create_organisation(by, new).await?;
    let role = own.then_some(OrganisationRole::Owner);
    let shown = OrganisationAnswer::new(made, role, &limits);
    Ok(answer(StatusCode::CREATED, &shown))
}

fn list(exchange: &Exchange) -> Result<Response, ApiError> {
    let (by, part) = (acting(exchange)?, part(exchange)?);
    let which = match exchange.query.is_true("all") {
        true => WhichOrganisations::All,
        false => WhichOrganisations::Own,
    };
    let page = exchange.app.pod.organisations(&by, which, &part)?;
    let items = page.items.into_iter();
    let items = items.map(|(found, role)| OrganisationAnswer::new(found, role, &by.limits));
    Ok(answer(
        StatusCode::OK,
        &Paged::new(items.collect(), page.next),
    ))
}

fn joinable(exchange: &Exchange) -> Result<Response, ApiError> {
    let (by, part) = (acting(exchange)?, part(exchange)?);
    let which = WhichOrganisations::Joinable;
    let page = exchange.app.pod.organisations(&by, which, &part)?;
    let items = page.items.into_iter();
    let items: Vec<JoinableAnswer> = items.map(|(found, _)| found.into()).collect();
    Ok(answer(StatusCode::OK, &Paged::new(items, page.next)))
}

fn show(exchange: &Exchange, id: &str) -> Result<Response, ApiError> {
    let by = acting(exchange)?;
    let (found, standing) = exchange.app.pod.organisation(&by, id)?;
    let shown = OrganisationAnswer::new(found, standing.organisation, &by.limits);
    Ok(answer(StatusCode::OK, &shown))
}

async fn change(mut exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let asked: OrganisationPatch = read(&mut exchange).await?;
    let change = OrganisationChange {
        name: asked.name,
        members_make_teams: asked.members_make_teams,
        quota: asked.quota.map(Into::into),
        if_revision: asked.if_revision,
    };
    let id = captures.get(0);
    let pod = &exchange.app.pod;
    pod.change_organisation(by, id.to_owned(), change).await?;
    show(&exchange, id)
}

async fn delete(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let if_revision = exchange.query.count("if_revision")?;
    let id = captures.get(0).to_owned();
    exchange
        .app
        .pod
        .delete_organisation(by, id, if_revision)
        .await?;
    Ok(done())
}

async fn set_domain(mut exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let asked: DomainForm = read(&mut exchange).await?;
    let domain = NewDomain {
        name: asked.name,
        join: asked.join,
        if_revision: asked.if_revision,
    };
    let id = captures.get(0);
    let pod = &exchange.app.pod;
    pod.set_organisation_domain(by, id.to_owned(), Some(domain))
        .await?;
    show(&exchange, id)
}

async fn unset_domain(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let id = captures.get(0).to_owned();
    exchange
        .app
        .pod
        .set_organisation_domain(by, id, None)
        .await?;
    Ok(done())
}

async fn join(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let id = captures.get(0).to_owned();
    let member = exchange.app.pod.join_organisation(by, id).await?;
    Ok(answer(StatusCode::CREATED, &MembershipAnswer::from(member)))
}

/// The teams of an organisation.
pub(super) fn teams(exchange: &Exchange, id: &str) -> Result<Response, ApiError> {
    let (by, part) = (acting(exchange)?, part(exchange)?);
    let page = exchange.app.pod.teams(&by, Some(id), &part)?;
    let items: Vec<TeamAnswer> = page.items.into_iter().map(Into::into).collect();
    Ok(answer(StatusCode::OK, &Paged::new(items, page.next)))
}

fn members(exchange: &Exchange, id: &str) -> Result<Response, ApiError> {
    let (by, part) = (acting(exchange)?, part(exchange)?);
    let page = exchange.app.pod.members(&by, id, &part)?;
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
    let (member, name) = pod.member(&by, captures.get(0), captures.get(1))?;
    let shown = MembershipAnswer::from(member).named(name);
    Ok(answer(StatusCode::OK, &shown))
}

async fn put_member(
    mut exchange: Exchange,
    captures: Captures,
    adds: bool,
) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let asked: MemberPut = read(&mut exchange).await?;
    let put = Placing {
        group: captures.get(0).to_owned(),
        account: captures.get(1).to_owned(),
        role: asked.role.into(),
        if_revision: asked.if_revision,
        adds,
    };
    let member = exchange.app.pod.put_member(by, put).await?;
    Ok(answer(StatusCode::OK, &MembershipAnswer::from(member)))
}

async fn remove_member(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = acting(&exchange)?;
    let if_revision = exchange.query.count("if_revision")?;
    let (id, account) = (captures.get(0).to_owned(), captures.get(1).to_owned());
    let pod = &exchange.app.pod;
    pod.remove_member(by, id, account, if_revision).await?;
    Ok(done())
}

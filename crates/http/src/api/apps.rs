//! Apps: namespaces of databases with sign-up rules of their own.
//!
//! Which app a request is of is told, in this order, by the member `app` of its body, by the header
//! `Adea-App`, and by its host, where that is an app's domain.

mod forms;

use std::str::FromStr as _;

use adea_accounts::apps::App;
use adea_pod::{Actor, AppError, PodError};
use http::StatusCode;

use super::paging::{self, Page, Paged};
use super::{Answer, Answering, Captures, Form, Parameter, Route, Who, answer};
use crate::body::Response;
use crate::caller::origin;
use crate::error::ApiError;
use crate::router::Exchange;
use forms::{AccountOfApp, AppAnswer, AppCreation, AppPatch, AppRow, JoinedAnswer};

const NO_APP: Answer = Answer {
    status: 404,
    about: "There is no such app.",
    form: None,
};

const CONFLICT: Answer = Answer {
    status: 409,
    about: "It has changed since, or a domain is another app's.",
    form: None,
};

const DONE: Answer = Answer {
    status: 204,
    about: "Done.",
    form: None,
};

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/_apps",
        name: "createApp",
        summary: "Register an app: databases of its name and below are its own from now on.",
        who: Who::Admin,
        query: &[],
        body: Some(Form::of::<AppCreation>()),
        answers: &[
            Answer {
                status: 201,
                about: "The app.",
                form: Some(Form::of::<AppAnswer>()),
            },
            Answer {
                status: 409,
                about: "There is an app of that id, or one with that domain.",
                form: None,
            },
        ],
        handle: |exchange, _| Box::pin(create(exchange)),
    },
    Route {
        method: "GET",
        path: "/_apps",
        name: "listApps",
        summary: "The apps that one has joined; for server administrators all apps.",
        who: Who::SignedIn,
        query: paging::QUERY,
        body: None,
        answers: &[Answer {
            status: 200,
            about: "A page of them.",
            form: Some(Form::of::<Paged<AppRow>>()),
        }],
        handle: |exchange, _| ready(list(&exchange)),
    },
    Route {
        method: "GET",
        path: "/_apps/{app}",
        name: "getApp",
        summary: "What everybody may know of an app; for its administrators all that is set.",
        who: Who::Anybody,
        query: &[],
        body: None,
        answers: &[
            Answer {
                status: 200,
                about: "The app.",
                form: Some(Form::of::<AppAnswer>()),
            },
            NO_APP,
        ],
        handle: |exchange, captures| ready(show(&exchange, captures.get(0))),
    },
    Route {
        method: "PATCH",
        path: "/_apps/{app}",
        name: "changeApp",
        summary: "Change what is set for an app; for its administrators.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<AppPatch>()),
        answers: &[
            Answer {
                status: 200,
                about: "The app as it is now.",
                form: Some(Form::of::<AppAnswer>()),
            },
            NO_APP,
            CONFLICT,
        ],
        handle: |exchange, captures| Box::pin(change(exchange, captures)),
    },
    Route {
        method: "DELETE",
        path: "/_apps/{app}",
        name: "deleteApp",
        summary: "Take an app's registration away; its databases stay, and are the server's.",
        who: Who::Admin,
        query: &[
            Parameter {
                name: "confirm",
                about: "The id of the app, once more.",
                kind: "string",
            },
            Parameter {
                name: "if_revision",
                about: "Only if this is the app's revision.",
                kind: "integer",
            },
        ],
        body: None,
        answers: &[DONE, NO_APP, CONFLICT],
        handle: |exchange, captures| Box::pin(remove(exchange, captures)),
    },
    Route {
        method: "POST",
        path: "/_apps/{app}/join",
        name: "joinApp",
        summary: "Join an app: from now on one may enter its databases.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[
            Answer {
                status: 200,
                about: "Joined, now or before.",
                form: Some(Form::of::<JoinedAnswer>()),
            },
            NO_APP,
        ],
        handle: |exchange, captures| Box::pin(join(exchange, captures)),
    },
    Route {
        method: "POST",
        path: "/_apps/{app}/leave",
        name: "leaveApp",
        summary: "Leave an app; rights there end at once, memberships of its organisations too.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[
            DONE,
            NO_APP,
            Answer {
                status: 409,
                about: "One is the last owner of an organisation of the app.",
                form: None,
            },
        ],
        handle: |exchange, captures| Box::pin(leave(exchange, captures)),
    },
    Route {
        method: "GET",
        path: "/_apps/{app}/accounts",
        name: "listAppAccounts",
        summary: "Who has joined an app; for its administrators.",
        who: Who::SignedIn,
        query: paging::QUERY,
        body: None,
        answers: &[
            Answer {
                status: 200,
                about: "A page of accounts.",
                form: Some(Form::of::<Paged<AccountOfApp>>()),
            },
            NO_APP,
        ],
        handle: |exchange, captures| ready(accounts(&exchange, captures.get(0))),
    },
    Route {
        method: "PUT",
        path: "/_apps/{app}/admins/{account}",
        name: "appointAppAdmin",
        summary: "Make an account an administrator of an app, which it joins.",
        who: Who::Admin,
        query: &[],
        body: None,
        answers: &[
            DONE,
            Answer {
                status: 404,
                about: "There is no such app or account.",
                form: None,
            },
        ],
        handle: |exchange, captures| Box::pin(appoint(exchange, captures, true)),
    },
    Route {
        method: "DELETE",
        path: "/_apps/{app}/admins/{account}",
        name: "dismissAppAdmin",
        summary: "Make an account no longer an administrator of an app.",
        who: Who::Admin,
        query: &[],
        body: None,
        answers: &[
            DONE,
            Answer {
                status: 404,
                about: "There is no such app or account.",
                form: None,
            },
        ],
        handle: |exchange, captures| Box::pin(appoint(exchange, captures, false)),
    },
];

/// The id of the app that a request is of; empty for none. What the body says comes first, then the
/// header `Adea-App`, then the host.
///
/// # Errors
/// 404 if an app is named that is not registered.
pub(crate) fn app_of(exchange: &Exchange, named: Option<&str>) -> Result<String, ApiError> {
    let header = exchange.headers.get("adea-app");
    let header = header.map(|value| value.to_str().unwrap_or("?").trim());
    let pod = &exchange.app.pod;
    match named.or(header) {
        Some("") => Ok(String::new()),
        Some(id) => Ok(pod.app(id)?.id.clone()),
        None => Ok(pod.app_of_host(exchange.host()).unwrap_or_default()),
    }
}

/// Who does what a request asks for.
pub(crate) fn actor(exchange: &Exchange) -> Actor {
    let auth = exchange.app.pod.auth();
    let address = origin(&auth, &exchange.headers, exchange.peer);
    Actor::of(&exchange.caller, Some(address))
}

fn ready(answered: Result<Response, ApiError>) -> Answering {
    Box::pin(std::future::ready(answered))
}

async fn create(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: AppCreation = super::read(&mut exchange).await?;
    let by = actor(&exchange);
    let app = exchange.app.pod.register_app(asked.app(), &by).await?;
    Ok(answer(StatusCode::CREATED, &shown(&exchange, &app)))
}

fn list(exchange: &Exchange) -> Result<Response, ApiError> {
    let page = Page::of(exchange)?;
    let pod = &exchange.app.pod;
    let after = page.after_text()?;
    let mut items: Vec<AppRow> = if exchange.caller.is_admin() {
        let apps = pod.apps(after, page.limit);
        apps.iter().map(|app| AppRow::of(app, None)).collect()
    } else if let Some(account) = exchange.caller.account() {
        let joined = pod.apps_joined(account)?;
        let behind = joined.iter();
        let behind = behind.filter(|row| after.is_none_or(|after| row.app.id.as_str() > after));
        behind
            .map(|row| AppRow::of(&row.app, Some(&row.joined)))
            .collect()
    } else {
        Vec::new()
    };
    items.truncate(page.limit);
    let next = items.last().filter(|_| items.len() == page.limit);
    let next = next.map(|row| row.id.clone());
    Ok(answer(StatusCode::OK, &Paged::new(items, next)))
}

fn show(exchange: &Exchange, id: &str) -> Result<Response, ApiError> {
    let app = exchange.app.pod.app(id)?;
    Ok(answer(StatusCode::OK, &shown(exchange, &app)))
}

/// An app as the caller may see it.
fn shown(exchange: &Exchange, app: &App) -> AppAnswer {
    let rules = exchange.app.pod.sign_up_rules(&app.id);
    let roles = adea_accounts::apps::AppRoles::of(&app.id);
    AppAnswer::of(app, &rules, roles.administers(&exchange.caller))
}

async fn change(mut exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let asked: AppPatch = super::read(&mut exchange).await?;
    let by = actor(&exchange);
    let (id, revision) = (captures.get(0), asked.if_revision);
    let change = Box::new(move |app: &mut App| asked.apply(app));
    let app = exchange.app.pod.change_app(id, revision, change, &by);
    let app = app.await?;
    Ok(answer(StatusCode::OK, &shown(&exchange, &app)))
}

async fn remove(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let id = captures.get(0);
    let pod = &exchange.app.pod;
    pod.app(id)?;
    if exchange.query.get("confirm") != Some(id) {
        return Err(PodError::from(AppError::Unconfirmed(id.to_owned())).into());
    }
    let revision = number(&exchange, "if_revision")?;
    pod.remove_app(id, revision, &actor(&exchange)).await?;
    Ok(done())
}

async fn join(mut exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let _: forms::Nothing = super::read(&mut exchange).await?;
    let id = captures.get(0);
    let by = actor(&exchange);
    let joined_ms = exchange.app.pod.join_app(id, &by).await?;
    let app = id.to_owned();
    Ok(answer(StatusCode::OK, &JoinedAnswer { app, joined_ms }))
}

async fn leave(mut exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let _: forms::Nothing = super::read(&mut exchange).await?;
    let by = actor(&exchange);
    exchange.app.pod.leave_app(captures.get(0), &by).await?;
    Ok(done())
}

fn accounts(exchange: &Exchange, id: &str) -> Result<Response, ApiError> {
    let page = Page::of(exchange)?;
    let (pod, caller) = (&exchange.app.pod, &exchange.caller);
    let found = pod.accounts_of_app(id, caller, page.after_text()?, page.limit)?;
    let items: Vec<AccountOfApp> = found
        .into_iter()
        .map(|account| AccountOfApp {
            id: account.id,
            name: account.name,
        })
        .collect();
    let next = items.last().filter(|_| items.len() == page.limit);
    let next = next.map(|row| row.id.clone());
    Ok(answer(StatusCode::OK, &Paged::new(items, next)))
}

async fn appoint(
    exchange: Exchange,
    captures: Captures,
    admin: bool,
) -> Result<Response, ApiError> {
    let (id, account) = (captures.get(0), captures.get(1));
    let by = actor(&exchange);
    let appointing = exchange.app.pod.appoint_app_admin(id, account, admin, &by);
    appointing.await?;
    Ok(done())
}

fn done() -> Response {
    crate::reply::empty(StatusCode::NO_CONTENT)
}

/// A number in the query.
fn number(exchange: &Exchange, name: &str) -> Result<Option<u64>, ApiError> {
    let Some(text) = exchange.query.get(name) else {
        return Ok(None);
    };
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = u64::from_str(text).ok().filter(|_| digits);
    let wrong = || ApiError::Input(format!("`{name}` must be a number"));
    number.ok_or_else(wrong).map(Some)
}

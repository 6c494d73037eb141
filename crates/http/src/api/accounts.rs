//! Accounts, for administrators.
//!
//! What is taken away here (the admin flag, the right to sign in, roles) is gone at the next request
//! on every door, and in every open feed. The last way in is never taken away: administrators of the
//! configuration have no account, and stay.

mod forms;

use adea_pod::{AccountError, AccountsAsked, PodError};
use http::StatusCode;

use super::apps::actor;
use super::auth::Done;
use super::paging::{Page, Paged};
use super::{Answer, Captures, Form, Parameter, Route, Who, answer, paging, read};
use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;
use forms::{
    AccountItem, AccountPatch, AccountWanted, Ended, ImportAnswer, ImportAsked, ImportResult,
    NewAccountAnswer, given,
};

const DONE: Answer = Answer {
    status: 200,
    about: "Done.",
    form: Some(Form::of::<Done>()),
};

const ACCOUNT: Answer = Answer {
    status: 200,
    about: "The account.",
    form: Some(Form::of::<AccountItem>()),
};

const CONFLICT: Answer = Answer {
    status: 409,
    about: "Something of it is another account's, or others would be left without an owner.",
    form: None,
};

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/_accounts",
        name: "listAccounts",
        summary: "Lists accounts in the order of their names, or of their addresses.",
        who: Who::Admin,
        query: &[
            paging::LIMIT,
            paging::AFTER,
            Parameter {
                name: "name",
                about: "What the name begins with.",
                kind: "string",
            },
            Parameter {
                name: "email",
                about: "What a verified address begins with; not together with `name`.",
                kind: "string",
            },
        ],
        body: None,
        answers: &[Answer {
            status: 200,
            about: "A page of accounts.",
            form: Some(Form::of::<Paged<AccountItem>>()),
        }],
        handle: |exchange, _| Box::pin(std::future::ready(list(&exchange))),
    },
    Route {
        method: "POST",
        path: "/_accounts",
        name: "createAccount",
        summary: "Makes an account, with a password or with what stands for one.",
        who: Who::Admin,
        query: &[],
        body: Some(Form::of::<AccountWanted>()),
        answers: &[
            Answer {
                status: 201,
                about: "It is made.",
                form: Some(Form::of::<NewAccountAnswer>()),
            },
            CONFLICT,
        ],
        handle: |exchange, _| Box::pin(create(exchange)),
    },
    Route {
        method: "POST",
        path: "/_accounts/import",
        name: "importAccounts",
        summary: "Makes up to 1000 accounts whose passwords were hashed elsewhere; each by itself.",
        who: Who::Admin,
        query: &[],
        body: Some(Form::of::<ImportAsked>()),
        answers: &[Answer {
            status: 200,
            about: "What became of each, in their order.",
            form: Some(Form::of::<ImportAnswer>()),
        }],
        handle: |exchange, _| Box::pin(import(exchange)),
    },
    Route {
        method: "GET",
        path: "/_accounts/{account}",
        name: "getAccount",
        summary: "An account.",
        who: Who::Admin,
        query: &[],
        body: None,
        answers: &[ACCOUNT],
        handle: |exchange, captures| Box::pin(std::future::ready(show(&exchange, captures.get(0)))),
    },
    Route {
        method: "PATCH",
        path: "/_accounts/{account}",
        name: "changeAccount",
        summary: "Changes what administrators decide: flags and plain roles.",
        who: Who::Admin,
        query: &[],
        body: Some(Form::of::<AccountPatch>()),
        answers: &[ACCOUNT, CONFLICT],
        handle: |exchange, captures| Box::pin(change(exchange, captures)),
    },
    Route {
        method: "DELETE",
        path: "/_accounts/{account}",
        name: "deleteAccount",
        summary: "Erases an account, as its user could himself.",
        who: Who::Admin,
        query: &[],
        body: None,
        answers: &[DONE, CONFLICT],
        handle: |exchange, captures| Box::pin(delete(exchange, captures)),
    },
    Route {
        method: "DELETE",
        path: "/_accounts/{account}/sessions",
        name: "endSessionsOfAccount",
        summary: "Ends all sessions of an account.",
        who: Who::Admin,
        query: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            about: "They are ended.",
            form: Some(Form::of::<Ended>()),
        }],
        handle: |exchange, captures| Box::pin(end_sessions(exchange, captures)),
    },
];

fn list(exchange: &Exchange) -> Result<Response, ApiError> {
    let page = Page::of(exchange)?;
    let text = |name: &str| exchange.query.get(name).map(str::to_owned);
    let (name_prefix, address_prefix) = (text("name"), text("email"));
    if name_prefix.is_some() && address_prefix.is_some() {
        let reason = "give `name` or `email`, not both";
        return Err(ApiError::Input(reason.to_owned()));
    }
    let pod = &exchange.app.pod;
    let found = pod.accounts(&AccountsAsked {
        name_prefix,
        address_prefix,
        after: page.after,
        limit: page.limit,
    })?;
    let mut items = Vec::with_capacity(found.accounts.len());
    for record in &found.accounts {
        items.push(AccountItem::of(record, pod.plain_roles(&record.name)?));
    }
    Ok(answer(StatusCode::OK, &Paged::new(items, found.next)))
}

fn show(exchange: &Exchange, id: &str) -> Result<Response, ApiError> {
    let pod = &exchange.app.pod;
    let record = pod.account_record(id)?;
    let record = record.ok_or(PodError::from(AccountError::Missing))?;
    let roles = pod.plain_roles(&record.name)?;
    Ok(answer(StatusCode::OK, &AccountItem::of(&record, roles)))
}

async fn create(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: AccountWanted = read(&mut exchange).await?;
    let by = actor(&exchange);
    let id = exchange.app.pod.give_account(given(asked)?, by).await?;
    Ok(answer(StatusCode::CREATED, &NewAccountAnswer::of(id)))
}

async fn import(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: ImportAsked = super::input::read_up_to(&mut exchange, IMPORT_BYTES_MAX).await?;
    let by = actor(&exchange);
    // What is wrong with one stops no other.
    let rows = asked.accounts.into_iter().map(|one| match one.password {
        Some(_) => Err(ApiError::Input(
            "`password` is for one account at a time; give a hash".to_owned(),
        )),
        None => given(one),
    });
    let (mut wrong, mut all) = (Vec::new(), Vec::new());
    for row in rows {
        match row {
            Ok(row) => {
                all.push(row);
                wrong.push(None);
            }
            Err(error) => wrong.push(Some(ImportResult::refused(&error))),
        }
    }
    let mut made = exchange
        .app
        .pod
        .import_accounts(all, &by)
        .await?
        .into_iter();
    let results = wrong.into_iter().map(|wrong| match (wrong, ()) {
        (Some(wrong), ()) => wrong,
        (None, ()) => match made.next() {
            Some(Ok(id)) => ImportResult::made(id),
            Some(Err(error)) => ImportResult::refused(&error.into()),
            None => ImportResult::refused(&PodError::Interrupted.into()),
        },
    });
    let results = results.collect();
    Ok(answer(StatusCode::OK, &ImportAnswer { results }))
}

/// The longest body of an import.
const IMPORT_BYTES_MAX: u64 = 4 << 20;

async fn change(mut exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let asked: AccountPatch = read(&mut exchange).await?;
    let by = actor(&exchange);
    let id = captures.get(0);
    let pod = &exchange.app.pod;
    pod.change_account(id, asked.change(), by).await?;
    show(&exchange, id)
}

async fn delete(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = actor(&exchange);
    exchange.app.pod.delete_account(captures.get(0), by).await?;
    Ok(answer(StatusCode::OK, &Done::OK))
}

async fn end_sessions(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let by = actor(&exchange);
    let pod = &exchange.app.pod;
    let ended = pod.end_sessions_of(captures.get(0), by).await?;
    Ok(answer(StatusCode::OK, &Ended { ended }))
}

//! The second factor: digits by time, recovery codes, and the second step of signing in.

use http::StatusCode;

use super::passkeys::forms::{
    DigitsAsked, DoneAnswer, FreshAsked, RecoveryCodes, SecondAsked, TotpAnswer, TotpRemoval,
};
use super::passkeys::{DONE, GONE, NOT_FRESH, address, asking};
use super::sessions::{SESSION, UNPROVED, begun, refuse_cross_site};
use super::{Answer, Answering, Captures, Form, Route, Who, answer, read};
use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/_auth/login/second",
        name: "loginSecond",
        summary: "Ends a sign-in that was answered with `second_factor`. A continuation stands five \
                  wrong answers.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<SecondAsked>()),
        answers: &[SESSION, UNPROVED, GONE],
        handle: |exchange, _| Box::pin(second(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/totp/start",
        name: "startTotp",
        summary: "Makes a key for digits by time (RFC 6238), which is asked for once it is confirmed.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<FreshAsked>()),
        answers: &[
            Answer {
                status: 200,
                about: "The key; it is never shown again.",
                form: Some(Form::of::<TotpAnswer>()),
            },
            NOT_FRESH,
            Answer {
                status: 409,
                about: "The account has a second factor already.",
                form: None,
            },
        ],
        handle: |exchange, _| Box::pin(start_totp(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/totp/confirm",
        name: "confirmTotp",
        summary: "From now on digits are asked for besides the first factor.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<DigitsAsked>()),
        answers: &[CODES, WRONG_CODE, GONE],
        handle: |exchange, _| Box::pin(confirm_totp(exchange)),
    },
    Route {
        method: "DELETE",
        path: "/_auth/totp",
        name: "removeTotp",
        summary: "Removes the second factor and its recovery codes.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<TotpRemoval>()),
        answers: &[DONE, WRONG_CODE, NONE],
        handle: |exchange, _| Box::pin(remove_totp(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/recoveryCodes",
        name: "renewRecoveryCodes",
        summary: "Makes new recovery codes in place of those that are left.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<FreshAsked>()),
        answers: &[CODES, NOT_FRESH, NONE],
        handle: |exchange, _| Box::pin(renew_codes(exchange)),
    },
    Route {
        method: "DELETE",
        path: "/_accounts/{account}/factors",
        name: "removeFactors",
        summary: "Removes all passkeys and second factors of an account whose user has lost them.",
        who: Who::Admin,
        query: &[],
        body: None,
        answers: &[
            DONE,
            Answer {
                status: 404,
                about: "There is no such account.",
                form: None,
            },
        ],
        handle: |exchange, captures| remove_factors(exchange, captures),
    },
];

const CODES: Answer = Answer {
    status: 200,
    about: "Ten recovery codes, which are never shown again.",
    form: Some(Form::of::<RecoveryCodes>()),
};

const WRONG_CODE: Answer = Answer {
    status: 401,
    about: "The code is wrong, or was used before.",
    form: None,
};

const NONE: Answer = Answer {
    status: 409,
    about: "The account has no second factor.",
    form: None,
};

async fn second(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: SecondAsked = read(&mut exchange).await?;
    let (continuation, brought) = asked.answer()?;
    let pod = &exchange.app.pod;
    let (proof, wanted) = pod
        .finish_second_step(&continuation, brought, exchange.host(), address(&exchange))
        .await?;
    refuse_cross_site(&exchange, wanted.face)?;
    let came = pod.begin_session(proof, wanted).await?;
    Ok(begun(&exchange, came))
}

async fn start_totp(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: FreshAsked = read(&mut exchange).await?;
    let who = asking(&exchange)?;
    let pod = &exchange.app.pod;
    let made = pod.start_totp(&who, asked.password.as_deref()).await?;
    Ok(answer(StatusCode::OK, &TotpAnswer::from(made)))
}

async fn confirm_totp(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: DigitsAsked = read(&mut exchange).await?;
    let who = asking(&exchange)?;
    let recovery_codes = exchange.app.pod.confirm_totp(&who, &asked.code).await?;
    Ok(answer(StatusCode::OK, &RecoveryCodes { recovery_codes }))
}

async fn remove_totp(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: TotpRemoval = read(&mut exchange).await?;
    let who = asking(&exchange)?;
    let (code, password) = (asked.code.as_deref(), asked.password.as_deref());
    exchange.app.pod.remove_totp(&who, code, password).await?;
    Ok(answer(StatusCode::OK, &DoneAnswer::default()))
}

async fn renew_codes(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: FreshAsked = read(&mut exchange).await?;
    let who = asking(&exchange)?;
    let pod = &exchange.app.pod;
    let recovery_codes = pod
        .renew_recovery_codes(&who, asked.password.as_deref())
        .await?;
    Ok(answer(StatusCode::OK, &RecoveryCodes { recovery_codes }))
}

fn remove_factors(exchange: Exchange, captures: Captures) -> Answering {
    Box::pin(async move {
        let (account, address) = (captures.get(0), address(&exchange));
        let pod = &exchange.app.pod;
        pod.remove_factors(account, &exchange.caller, address)
            .await?;
        Ok(answer(StatusCode::OK, &DoneAnswer::default()))
    })
}

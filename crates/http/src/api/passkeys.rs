//! Passkeys (`WebAuthn`): made by who has signed in, and a way to sign in without a name.

pub(super) mod forms;

use adea_pod::{Asking, FactorError, PodError};
use http::StatusCode;

use super::apps::{actor, app_of};
use super::auth::SignedUp;
use super::paging::{self, Paged};
use super::sessions::{SESSION, UNPROVED, begun, wanted};
use super::{Answer, Answering, Captures, Form, Route, Who, answer, read};
use crate::body::Response;
use crate::caller::origin;
use crate::error::ApiError;
use crate::router::Exchange;
use forms::{
    ChallengeAnswer, DoneAnswer, FreshAsked, LabelAsked, NothingAsked, PasskeyItem,
    PasskeyLoginAsked, PasskeyMade, PasskeySignUp,
};

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/_auth/passkeys/register/start",
        name: "startPasskey",
        summary: "Makes a challenge for a new passkey. The session is younger than ten minutes, or the \
                  password is sent.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<FreshAsked>()),
        answers: &[CHALLENGE, NOT_FRESH, TOO_MANY, NOT_HERE, NO_HOST],
        handle: |exchange, _| Box::pin(start(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/passkeys/register/finish",
        name: "finishPasskey",
        summary: "Keeps the passkey that a device has made for the challenge.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<PasskeyMade>()),
        answers: &[
            Answer {
                status: 201,
                about: "The passkey.",
                form: Some(Form::of::<PasskeyItem>()),
            },
            TOO_MANY,
            GONE,
            NOT_HERE,
            NO_HOST,
        ],
        handle: |exchange, _| Box::pin(finish(exchange)),
    },
    Route {
        method: "GET",
        path: "/_auth/passkeys",
        name: "listPasskeys",
        summary: "Lists the caller's passkeys, the oldest first: all of them in one page.",
        who: Who::SignedIn,
        query: paging::QUERY,
        body: None,
        answers: &[Answer {
            status: 200,
            about: "The passkeys.",
            form: Some(Form::of::<Paged<PasskeyItem>>()),
        }],
        handle: |exchange, _| Box::pin(list(exchange)),
    },
    Route {
        method: "PATCH",
        path: "/_auth/passkeys/{passkey}",
        name: "labelPasskey",
        summary: "Gives a passkey of the caller another label.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<LabelAsked>()),
        answers: &[
            Answer {
                status: 200,
                about: "The passkey.",
                form: Some(Form::of::<PasskeyItem>()),
            },
            MISSING,
        ],
        handle: |exchange, captures| label(exchange, captures),
    },
    Route {
        method: "DELETE",
        path: "/_auth/passkeys/{passkey}",
        name: "removePasskey",
        summary: "Removes a passkey of the caller.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[
            DONE,
            MISSING,
            Answer {
                status: 409,
                about: "It is the only way to sign in that the account has.",
                form: None,
            },
        ],
        handle: |exchange, captures| remove(exchange, captures),
    },
    Route {
        method: "POST",
        path: "/_auth/passkeys/signup/start",
        name: "startPasskeySignup",
        summary: "Makes a challenge for the first passkey of who signs up without a password.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<PasskeySignUp>()),
        answers: &[CHALLENGE, NOT_TAKEN, GONE, NOT_HERE, NO_HOST],
        handle: |exchange, _| Box::pin(start_sign_up(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/passkeys/signup/finish",
        name: "finishPasskeySignup",
        summary: "Signs up with the passkey that a device has made. As with a password, the answer does \
                  not tell whether the name or address has an account.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<PasskeyMade>()),
        answers: &[
            Answer {
                status: 202,
                about: "Taken in.",
                form: Some(Form::of::<SignedUp>()),
            },
            NOT_TAKEN,
            TOO_MANY,
            GONE,
            NOT_HERE,
            NO_HOST,
        ],
        handle: |exchange, _| Box::pin(finish_sign_up(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/passkeys/login/start",
        name: "startPasskeyLogin",
        summary: "Makes a challenge that any passkey may answer; it is the same for everybody.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<NothingAsked>()),
        answers: &[CHALLENGE, NOT_HERE, NO_HOST],
        handle: |exchange, _| Box::pin(start_login(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/passkeys/login/finish",
        name: "finishPasskeyLogin",
        summary: "Signs in with a passkey's answer to the challenge. No second factor is asked for: \
                  the device has verified its user.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<PasskeyLoginAsked>()),
        answers: &[SESSION, UNPROVED, GONE, NOT_HERE, NO_HOST],
        handle: |exchange, _| Box::pin(finish_login(exchange)),
    },
];

const NOT_TAKEN: Answer = Answer {
    status: 403,
    about: "Not everybody may sign up here.",
    form: None,
};

const CHALLENGE: Answer = Answer {
    status: 200,
    about: "The challenge.",
    form: Some(Form::of::<ChallengeAnswer>()),
};

pub(super) const DONE: Answer = Answer {
    status: 200,
    about: "It was done.",
    form: Some(Form::of::<DoneAnswer>()),
};

const MISSING: Answer = Answer {
    status: 404,
    about: "The caller has no such passkey.",
    form: None,
};

pub(super) const NOT_FRESH: Answer = Answer {
    status: 403,
    about: "The session is too old and the password was not sent, or the caller has no account here.",
    form: None,
};

const TOO_MANY: Answer = Answer {
    status: 409,
    about: "The account has as many passkeys as it may, or another one has this passkey.",
    form: None,
};

pub(super) const GONE: Answer = Answer {
    status: 410,
    about: "This was answered before, or too late: begin again.",
    form: None,
};

const NOT_HERE: Answer = Answer {
    status: 501,
    about: "The server has no passkeys.",
    form: None,
};

const NO_HOST: Answer = Answer {
    status: 421,
    about: "Passkeys belong to a host name, and the server knows none: it was not called as localhost.",
    form: None,
};

/// Whose factors a request is about.
pub(super) fn asking(exchange: &Exchange) -> Result<Asking, ApiError> {
    let account = exchange.caller.account();
    let account = account.ok_or_else(|| PodError::from(FactorError::NoAccount))?;
    Ok(Asking {
        account: account.to_owned(),
        session: exchange.caller.session().map(str::to_owned),
        address: address(exchange),
    })
}

/// Where a request comes from.
pub(super) fn address(exchange: &Exchange) -> std::net::IpAddr {
    let auth = exchange.app.pod.auth();
    origin(&auth, &exchange.headers, exchange.peer)
}

async fn start(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: FreshAsked = read(&mut exchange).await?;
    let who = asking(&exchange)?;
    let pod = &exchange.app.pod;
    let made = pod
        .start_passkey(&who, asked.password.as_deref(), exchange.host())
        .await?;
    Ok(answer(StatusCode::OK, &ChallengeAnswer::from(made)))
}

async fn finish(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: PasskeyMade = read(&mut exchange).await?;
    let (who, label) = (asking(&exchange)?, asked.label()?);
    let (continuation, credential) = (&asked.continuation, &asked.credential);
    let pod = &exchange.app.pod;
    let made = pod
        .finish_passkey(&who, continuation, credential, &label, exchange.host())
        .await?;
    Ok(answer(StatusCode::CREATED, &PasskeyItem::from(made)))
}

async fn list(exchange: Exchange) -> Result<Response, ApiError> {
    let found = exchange.app.pod.passkeys(&asking(&exchange)?)?;
    let items: Vec<PasskeyItem> = found.into_iter().map(PasskeyItem::from).collect();
    Ok(answer(StatusCode::OK, &Paged::new(items, None::<&str>)))
}

fn label(mut exchange: Exchange, captures: Captures) -> Answering {
    Box::pin(async move {
        let asked: LabelAsked = read(&mut exchange).await?;
        let (who, label) = (asking(&exchange)?, asked.label()?);
        let pod = &exchange.app.pod;
        let shown = pod.label_passkey(&who, captures.get(0), &label).await?;
        Ok(answer(StatusCode::OK, &PasskeyItem::from(shown)))
    })
}

fn remove(exchange: Exchange, captures: Captures) -> Answering {
    Box::pin(async move {
        let who = asking(&exchange)?;
        let pod = &exchange.app.pod;
        pod.remove_passkey(&who, captures.get(0)).await?;
        Ok(answer(StatusCode::OK, &DoneAnswer::default()))
    })
}

async fn start_sign_up(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: PasskeySignUp = read(&mut exchange).await?;
    let app = app_of(&exchange, asked.app.as_deref())?;
    let pod = &exchange.app.pod;
    let made = pod
        .start_passkey_sign_up(asked.sign_up(app), exchange.host())
        .await?;
    Ok(answer(StatusCode::OK, &ChallengeAnswer::from(made)))
}

async fn finish_sign_up(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: PasskeyMade = read(&mut exchange).await?;
    let (by, label) = (actor(&exchange), asked.label()?);
    let (continuation, credential) = (&asked.continuation, &asked.credential);
    let pod = &exchange.app.pod;
    let next = pod
        .finish_passkey_sign_up(continuation, credential, &label, exchange.host(), by)
        .await?;
    Ok(answer(StatusCode::ACCEPTED, &SignedUp::of(next)))
}

async fn start_login(mut exchange: Exchange) -> Result<Response, ApiError> {
    let NothingAsked {} = read(&mut exchange).await?;
    let pod = &exchange.app.pod;
    let made = pod.start_passkey_sign_in(exchange.host()).await?;
    Ok(answer(StatusCode::OK, &ChallengeAnswer::from(made)))
}

async fn finish_login(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: PasskeyLoginAsked = read(&mut exchange).await?;
    let wanted = wanted(&exchange, &asked.session())?;
    let (continuation, credential) = (&asked.continuation, &asked.credential);
    let pod = &exchange.app.pod;
    let proof = pod
        .finish_passkey_sign_in(continuation, credential, exchange.host(), wanted.address)
        .await?;
    let came = pod.begin_session(proof, wanted).await?;
    Ok(begun(&exchange, came))
}

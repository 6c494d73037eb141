//! Signing in by a link or a code in mail, and without an account of one's own.

mod forms;

use adea_pod::{AccountError, MailProof, MailWanted, PodError, Promoting};
use http::StatusCode;

use super::sessions::{BEGUN, SessionAsked, begun, wanted};
use super::{Answer, Form, Route, Who, answer, app_of, read};
use crate::body::Response;
use crate::caller::origin;
use crate::error::ApiError;
use crate::router::Exchange;
use forms::{
    AnonymousAsked, MailFinishAsked, MailKind, MailStartAsked, MailStartedAnswer, PromoteAsked,
    PromotedAnswer,
};

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/_auth/link/start",
        name: "startMail",
        summary: "Sends a code or a link to sign in with; the answer is the same for every address.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<MailStartAsked>()),
        answers: &[
            Answer {
                status: 202,
                about: "If mail can be sent there, it is on its way. A code needs the continuation.",
                form: Some(Form::of::<MailStartedAnswer>()),
            },
            NO_APP,
        ],
        handle: |exchange, _| Box::pin(start(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/link/finish",
        name: "finishMail",
        summary: "Begins a session with the code or the link of a mail.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<MailFinishAsked>()),
        answers: FINISHED,
        handle: |exchange, _| Box::pin(finish(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/anonymous",
        name: "anonymous",
        summary: "Begins a session of a new account of somebody who does not tell who he is.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<AnonymousAsked>()),
        answers: BEGUN_IN_APP,
        handle: |exchange, _| Box::pin(anonymous(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/promote",
        name: "promote",
        summary: "Gives the caller's anonymous account a name and a password, or an address.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<PromoteAsked>()),
        answers: &[
            Answer {
                status: 200,
                about: "What the account is called now, and what belongs to the code that was sent.",
                form: Some(Form::of::<PromotedAnswer>()),
            },
            NO_APP,
            Answer {
                status: 409,
                about: "The account is not anonymous, or the name is taken.",
                form: None,
            },
        ],
        handle: |exchange, _| Box::pin(promote(exchange)),
    },
];

const NO_APP: Answer = Answer {
    status: 404,
    about: "There is no such app.",
    form: None,
};

#[expect(clippy::indexing_slicing, reason = "it would not compile")]
const FINISHED: &[Answer] = &[
    BEGUN[0],
    BEGUN[1],
    BEGUN[2],
    NO_APP,
    Answer {
        status: 409,
        about: "The address is of another account.",
        form: None,
    },
    Answer {
        status: 410,
        about: "The code or link is over, was used, or never was.",
        form: None,
    },
];

#[expect(clippy::indexing_slicing, reason = "it would not compile")]
const BEGUN_IN_APP: &[Answer] = &[BEGUN[0], BEGUN[1], BEGUN[2], NO_APP];

async fn start(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: MailStartAsked = read(&mut exchange).await?;
    let kind = match asked.kind {
        MailKind::Code => MailWanted::Code,
        MailKind::Link => MailWanted::Link,
    };
    let app = app_of(&exchange, asked.app.as_deref())?;
    let started = exchange
        .app
        .pod
        .start_mail(&asked.email, kind, &app)
        .await?;
    let told = MailStartedAnswer::from(started);
    Ok(answer(StatusCode::ACCEPTED, &told))
}

async fn finish(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: MailFinishAsked = read(&mut exchange).await?;
    let session = SessionAsked {
        face: asked.face,
        app: None,
        device: asked.device,
    };
    let wanted = wanted(&exchange, &session)?;
    let proof = match (asked.continuation, asked.code, asked.token) {
        (Some(continuation), Some(code), None) => MailProof::Code { continuation, code },
        (None, None, Some(token)) => MailProof::Link(token),
        (_, _, _) => {
            return Err(ApiError::Input(
                "give `continuation` and `code`, or `token`".to_owned(),
            ));
        }
    };
    let came = exchange.app.pod.finish_mail(proof, wanted).await?;
    Ok(begun(&exchange, came))
}

async fn anonymous(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: AnonymousAsked = read(&mut exchange).await?;
    let session = SessionAsked {
        face: asked.face,
        app: asked.app,
        device: asked.device,
    };
    let wanted = wanted(&exchange, &session)?;
    let came = exchange.app.pod.begin_anonymous(wanted).await?;
    Ok(begun(&exchange, came))
}

async fn promote(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: PromoteAsked = read(&mut exchange).await?;
    let account = exchange.caller.account();
    let account = account.ok_or(PodError::from(AccountError::Missing))?;
    let app = app_of(&exchange, asked.app.as_deref())?;
    let pod = &exchange.app.pod;
    let promoting = Promoting {
        name: asked.name,
        address: asked.email,
        password: asked.password,
        app,
        from: Some(origin(&pod.auth(), &exchange.headers, exchange.peer)),
    };
    let promoted = pod.promote(account, promoting).await?;
    let told = PromotedAnswer {
        name: promoted.name,
        promoted: promoted.promoted,
        verification: promoted.sent.map(MailStartedAnswer::from),
    };
    Ok(answer(StatusCode::OK, &told))
}

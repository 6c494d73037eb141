//! Signing up, recovery, and what a user does with his own account.
//!
//! What may tell whether somebody has an account (`signup`, `recover`) is answered alike in every
//! case, with 202 before anything of it can be seen.

mod forms;

use adea_pod::{AccountError, AddressProof, PodError, ProfileChange, SignUp};
use http::{HeaderValue, StatusCode, header};

use super::apps::{actor, app_of};
use super::{Answer, Captures, Form, Route, Who, answer, read};
use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;
pub(crate) use forms::{Done, EmailOfAccount, IdentityOfAccount, SignedUp};
use forms::{
    EmailAsked, Export, Me, MePatch, PasswordAsked, PasswordChangeAsked, RecoverAsked, ResetAsked,
    SignUpAsked, VerifyAsked,
};

const DONE: Answer = Answer {
    status: 200,
    about: "Done.",
    form: Some(Form::of::<Done>()),
};

const TAKEN_IN: Answer = Answer {
    status: 202,
    about: "Taken in; the same for every address.",
    form: Some(Form::of::<Done>()),
};

const SPENT: Answer = Answer {
    status: 410,
    about: "The token or code was used, has run out, or is none.",
    form: None,
};

const CONFLICT: Answer = Answer {
    status: 409,
    about: "It is somebody else's, or others would be left without an owner.",
    form: None,
};

const REFUSED: Answer = Answer {
    status: 403,
    about: "The password is wrong, or the session is not fresh, or there is no account.",
    form: None,
};

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/_auth/signup",
        name: "signup",
        summary: "Signs up. The answer does not tell whether the name or address has an account: mail does.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<SignUpAsked>()),
        answers: &[
            Answer {
                status: 202,
                about: "Taken in.",
                form: Some(Form::of::<SignedUp>()),
            },
            Answer {
                status: 403,
                about: "Not everybody may sign up here.",
                form: None,
            },
            SPENT,
        ],
        handle: |exchange, _| Box::pin(sign_up(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/verifyEmail",
        name: "verifyEmail",
        summary: "Proves an address by the token of a link or by a code, once, within a day.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<VerifyAsked>()),
        answers: &[DONE, SPENT, CONFLICT],
        handle: |exchange, _| Box::pin(verify(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/recover",
        name: "recover",
        summary: "Sends a link to set a new password with to a verified address.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<RecoverAsked>()),
        answers: &[TAKEN_IN],
        handle: |exchange, _| Box::pin(recover(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/reset",
        name: "reset",
        summary: "Sets a new password with the token of a link, once, within an hour; all sessions end.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<ResetAsked>()),
        answers: &[DONE, SPENT],
        handle: |exchange, _| Box::pin(reset(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/changePassword",
        name: "changePassword",
        summary: "Changes one's password; all other sessions end, and mail tells of it.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<PasswordChangeAsked>()),
        answers: &[DONE, REFUSED, CONFLICT],
        handle: |exchange, _| Box::pin(change_password(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/destroy",
        name: "destroy",
        summary: "Erases one's account with all that is personal; what is others' stays.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<PasswordAsked>()),
        answers: &[DONE, REFUSED, CONFLICT],
        handle: |exchange, _| Box::pin(destroy(exchange)),
    },
    Route {
        method: "GET",
        path: "/_auth/me",
        name: "getMe",
        summary: "One's own account.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            about: "The account.",
            form: Some(Form::of::<Me>()),
        }],
        handle: |exchange, _| Box::pin(std::future::ready(me(&exchange))),
    },
    Route {
        method: "PATCH",
        path: "/_auth/me",
        name: "changeMe",
        summary: "Changes profile, language, name or primary address; the id and all rights stay.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<MePatch>()),
        answers: &[
            Answer {
                status: 200,
                about: "The account as it is now.",
                form: Some(Form::of::<Me>()),
            },
            REFUSED,
            CONFLICT,
        ],
        handle: |exchange, _| Box::pin(change_me(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/me/emails",
        name: "addEmail",
        summary: "Adds an address and sends mail to verify it.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<EmailAsked>()),
        answers: &[TAKEN_IN, REFUSED, CONFLICT],
        handle: |exchange, _| Box::pin(add_email(exchange)),
    },
    Route {
        method: "DELETE",
        path: "/_auth/me/emails/{email}",
        name: "removeEmail",
        summary: "Takes an address from one's account.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<PasswordAsked>()),
        answers: &[DONE, REFUSED, CONFLICT],
        handle: |exchange, captures| Box::pin(remove_email(exchange, captures)),
    },
    Route {
        method: "GET",
        path: "/_auth/export",
        name: "exportMe",
        summary: "All that the server keeps of one's account, as one JSON file.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            about: "The file.",
            form: Some(Form::of::<Export>()),
        }],
        handle: |exchange, _| Box::pin(export(exchange)),
    },
];

async fn sign_up(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: SignUpAsked = read(&mut exchange).await?;
    let app = app_of(&exchange, asked.app.as_deref())?;
    let wanted = SignUp {
        name: asked.name,
        address: asked.email,
        password: asked.password,
        language: asked.language,
        profile: asked.profile,
        app,
        invitation: asked.invitation,
    };
    let next = exchange.app.pod.sign_up(wanted, actor(&exchange)).await?;
    Ok(answer(StatusCode::ACCEPTED, &SignedUp::of(next)))
}

async fn verify(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: VerifyAsked = read(&mut exchange).await?;
    let proof = match (asked.token, asked.email, asked.code) {
        (Some(token), None, None) => AddressProof::Secret(token),
        (None, Some(address), Some(code)) => AddressProof::Code { address, code },
        _ => {
            let reason = "give either `token`, or `email` and `code`";
            return Err(ApiError::Input(reason.to_owned()));
        }
    };
    let by = actor(&exchange);
    exchange.app.pod.verify_address(proof, by).await?;
    Ok(answer(StatusCode::OK, &Done::OK))
}

async fn recover(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: RecoverAsked = read(&mut exchange).await?;
    let app = app_of(&exchange, asked.app.as_deref())?;
    let by = actor(&exchange);
    exchange.app.pod.recover(&asked.email, &app, by).await?;
    Ok(answer(StatusCode::ACCEPTED, &Done::OK))
}

async fn reset(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: ResetAsked = read(&mut exchange).await?;
    let by = actor(&exchange);
    let pod = &exchange.app.pod;
    pod.reset_password(&asked.token, asked.password, by).await?;
    Ok(answer(StatusCode::OK, &Done::OK))
}

async fn change_password(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: PasswordChangeAsked = read(&mut exchange).await?;
    let by = actor(&exchange);
    let (old, pod) = (asked.old_password.as_deref(), &exchange.app.pod);
    pod.change_password(old, asked.new_password, by).await?;
    Ok(answer(StatusCode::OK, &Done::OK))
}

async fn destroy(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: PasswordAsked = read(&mut exchange).await?;
    let by = actor(&exchange);
    let pod = &exchange.app.pod;
    pod.destroy_own(asked.password.as_deref(), by).await?;
    Ok(answer(StatusCode::OK, &Done::OK))
}

fn me(exchange: &Exchange) -> Result<Response, ApiError> {
    let caller = &exchange.caller;
    let roles = caller.roles();
    let me = match caller.account() {
        None => Me::without_account(caller.name().unwrap_or_default(), roles, caller.is_admin()),
        Some(id) => {
            let holder = exchange.app.pod.holder(id)?;
            Me::of_account(&holder.ok_or(PodError::from(AccountError::Missing))?, roles)
        }
    };
    Ok(answer(StatusCode::OK, &me))
}

async fn change_me(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: MePatch = read(&mut exchange).await?;
    let by = actor(&exchange);
    let change = ProfileChange {
        profile: asked.profile,
        language: asked.language,
        name: asked.name,
        primary_address: asked.primary_email,
    };
    exchange
        .app
        .pod
        .change_own_profile(change, asked.password.as_deref(), by)
        .await?;
    me(&exchange)
}

async fn add_email(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: EmailAsked = read(&mut exchange).await?;
    let by = actor(&exchange);
    let (password, pod) = (asked.password.as_deref(), &exchange.app.pod);
    pod.add_address(&asked.email, password, by).await?;
    Ok(answer(StatusCode::ACCEPTED, &Done::OK))
}

async fn remove_email(mut exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let asked: PasswordAsked = read(&mut exchange).await?;
    let by = actor(&exchange);
    let (password, pod) = (asked.password.as_deref(), &exchange.app.pod);
    pod.remove_address(captures.get(0), password, by).await?;
    Ok(answer(StatusCode::OK, &Done::OK))
}

async fn export(exchange: Exchange) -> Result<Response, ApiError> {
    let file = exchange.app.pod.export_account(&actor(&exchange)).await?;
    let mut response = answer(StatusCode::OK, &Export(file));
    let name = HeaderValue::from_static("attachment; filename=\"account.json\"");
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

//! Signing in and out, and the sessions of a user.
//!
//! Every route that signs somebody in takes the same three members (`face`, `app`, `device`, see
//! [`SessionAsked`]) and answers in the same way ([`begun`]), whatever was proved.

mod forms;

use adea_pod::{Begun, Face, Pod, PodError, SessionError, SessionWanted};
use http::{StatusCode, header};

use super::paging::{self, Page, Paged};
use super::{Answer, Answering, Captures, Form, Parameter, Route, Who, answer, read};
use crate::body::Response;
use crate::caller::origin;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;
use crate::transport::SessionCookie;
use forms::{
    CsrfAnswer, EndedAnswer, KeySet, LoginAsked, LogoutAsked, RefreshAsked, SecondFactorAnswer,
    SessionItem,
};

pub(crate) use forms::{FaceAsked, SessionAnswer, SessionAsked};

/// A session was begun.
pub(crate) const SESSION: Answer = Answer {
    status: 200,
    about: "A session. In the face `cookie` it comes with a cookie.",
    form: Some(Form::of::<SessionAnswer>()),
};

/// None was.
pub(crate) const UNPROVED: Answer = Answer {
    status: 401,
    about: "It proves nothing, or the account may not sign in: the words are always the same.",
    form: None,
};

/// What a route answers that signs somebody in.
pub(crate) const BEGUN: &[Answer] = &[
    SESSION,
    Answer {
        status: 202,
        about: "A second factor is wanted first: bring the continuation with it.",
        form: Some(Form::of::<SecondFactorAnswer>()),
    },
    UNPROVED,
];

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/_auth/login",
        name: "login",
        summary: "Signs in with a name or an address and a password, for a session.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<LoginAsked>()),
        answers: BEGUN,
        handle: |exchange, _| Box::pin(login(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/logout",
        name: "logout",
        summary: "Ends the session that the request is made in, or that a refresh token is of.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<LogoutAsked>()),
        answers: &[ENDED],
        handle: |exchange, _| Box::pin(logout(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/refresh",
        name: "refresh",
        summary: "Gives a new access token and the next refresh token. A refresh token is good once; \
                  one that is used again, later than ten seconds after, ends its session.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<RefreshAsked>()),
        answers: &[Answer {
            status: 200,
            about: "The session goes on with these.",
            form: Some(Form::of::<SessionAnswer>()),
        }],
        handle: |exchange, _| Box::pin(refresh(exchange)),
    },
    Route {
        method: "GET",
        path: "/_auth/csrf",
        name: "csrf",
        summary: "Tells the token that changing requests with the session cookie need in the header \
                  X-CSRF-Token, and whether the caller has signed in.",
        who: Who::Anybody,
        query: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            about: "The token, if the caller has a cookie of a session.",
            form: Some(Form::of::<CsrfAnswer>()),
        }],
        handle: |exchange, _| Box::pin(csrf(exchange)),
    },
    Route {
        method: "GET",
        path: "/_auth/sessions",
        name: "listSessions",
        summary: "Lists the caller's sessions: his devices.",
        who: Who::SignedIn,
        query: paging::QUERY,
        body: None,
        answers: &[Answer {
            status: 200,
            about: "A page of sessions.",
            form: Some(Form::of::<Paged<SessionItem>>()),
        }],
        handle: |exchange, _| Box::pin(list(exchange)),
    },
    Route {
        method: "DELETE",
        path: "/_auth/sessions",
        name: "endSessions",
        summary: "Ends all sessions of the caller.",
        who: Who::SignedIn,
        query: &[Parameter {
            name: "except",
            about: "`current` keeps the session that the request is made in; `none` ends it too.",
            kind: "current|none",
        }],
        body: None,
        answers: &[ENDED],
        handle: |exchange, _| Box::pin(end_all(exchange)),
    },
    Route {
        method: "DELETE",
        path: "/_auth/sessions/{session}",
        name: "endSession",
        summary: "Ends one session of the caller; a server administrator may end anybody's.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[
            ENDED,
            Answer {
                status: 404,
                about: "The caller has no such session.",
                form: None,
            },
        ],
        handle: |exchange, captures| end_one(exchange, captures),
    },
    Route {
        method: "GET",
        path: "/_auth/jwks",
        name: "jwks",
        summary: "The keys that access tokens are verified with (RFC 7517).",
        who: Who::Anybody,
        query: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            about: "A set of public keys.",
            form: Some(Form::of::<KeySet>()),
        }],
        handle: |exchange, _| Box::pin(jwks(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/jwks/rotate",
        name: "rotateKeys",
        summary: "Has a new key sign access tokens; those that were signed before stay good.",
        who: Who::Admin,
        query: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            about: "The keys, the new one among them.",
            form: Some(Form::of::<KeySet>()),
        }],
        handle: |exchange, _| Box::pin(rotate(exchange)),
    },
];

const ENDED: Answer = Answer {
    status: 200,
    about: "Ended.",
    form: Some(Form::of::<EndedAnswer>()),
};

/// What session a request asks for that signs somebody in. A page of another site gets no cookie:
/// it could sign its reader in as somebody else.
pub(crate) fn wanted(exchange: &Exchange, asked: &SessionAsked) -> Result<SessionWanted, ApiError> {
    let face = asked.face.map_or(Face::Bearer, Face::from);
    refuse_cross_site(exchange, face)?;
    let auth = exchange.app.pod.auth();
    let agent = || exchange.header(&header::USER_AGENT).unwrap_or_default();
    Ok(SessionWanted {
        face,
        app: super::app_of(exchange, asked.app.as_deref())?,
        device: asked.device.clone().unwrap_or_else(|| agent().to_owned()),
        address: origin(&auth, &exchange.headers, exchange.peer),
    })
}

/// Refuses a cookie to a page of another site.
pub(super) fn refuse_cross_site(exchange: &Exchange, face: Face) -> Result<(), ApiError> {
    match face == Face::Cookie && exchange.foreign {
        true => Err(PodError::from(SessionError::CrossSite).into()),
        false => Ok(()),
    }
}

/// Answers with what came of a proof.
pub(crate) fn begun(exchange: &Exchange, begun: Begun) -> Response {
    match begun {
        Begun::Session(mut credentials) => {
            let cookie =
                (credentials.face == Face::Cookie).then(|| std::mem::take(&mut credentials.secret));
            let mut response = answer(StatusCode::OK, &SessionAnswer::from(*credentials));
            if let Some(value) = cookie {
                let now_s = exchange.app.pod.clock().now_unix_s();
                cookie_of(exchange).give(&value, now_s, &mut response);
            }
            response
        }
        Begun::SecondFactor {
            continuation,
            kinds,
        } => {
            let wanted = SecondFactorAnswer {
                second_factor: kinds,
                continuation,
            };
            answer(StatusCode::ACCEPTED, &wanted)
        }
    }
}

/// Ends the session that a request is made in, if it is made in one, and takes its cookie away.
pub(crate) async fn end_current(
    exchange: &Exchange,
    response: &mut Response,
) -> Result<bool, ApiError> {
    let Some(session) = exchange.caller.session() else {
        return Ok(false);
    };
    let pod = &exchange.app.pod;
    pod.end_session(&exchange.caller, session, address(exchange))
        .await?;
    take_cookie(exchange, response);
    Ok(true)
}

/// Takes the cookie of a session away, if the request came with one.
pub(crate) fn take_cookie(exchange: &Exchange, response: &mut Response) {
    let cookie = cookie_of(exchange);
    if cookie.find(&exchange.headers).is_some() {
        cookie.take(response);
    }
}

fn cookie_of(exchange: &Exchange) -> SessionCookie {
    let auth = exchange.app.pod.auth();
    SessionCookie::of(&auth, &exchange.headers, exchange.peer)
}

fn address(exchange: &Exchange) -> std::net::IpAddr {
    let auth = exchange.app.pod.auth();
    origin(&auth, &exchange.headers, exchange.peer)
}

async fn login(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: LoginAsked = read(&mut exchange).await?;
    let identifier = asked.identifier()?.to_owned();
    let wanted = wanted(&exchange, &asked.session())?;
    let pod = &exchange.app.pod;
    let proof = pod
        .prove_password(&identifier, &asked.password, wanted.address)
        .await?;
    let came = pod.begin_session(proof, wanted).await?;
    Ok(begun(&exchange, came))
}

async fn logout(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: LogoutAsked = read(&mut exchange).await?;
    let mut response = answer(StatusCode::OK, &EndedAnswer::default());
    if let Some(token) = &asked.refresh_token {
        let pod = &exchange.app.pod;
        pod.end_session_of_token(token, address(&exchange)).await?;
    } else if !end_current(&exchange, &mut response).await? {
        return Err(PodError::from(SessionError::Unproved).into());
    }
    Ok(response)
}

async fn refresh(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: RefreshAsked = read(&mut exchange).await?;
    let pod = &exchange.app.pod;
    let credentials = pod
        .refresh_session(&asked.refresh_token, address(&exchange))
        .await?;
    Ok(answer(StatusCode::OK, &SessionAnswer::from(credentials)))
}

async fn csrf(exchange: Exchange) -> Result<Response, ApiError> {
    let by_cookie = cookie_of(&exchange).find(&exchange.headers).is_some();
    let session = exchange.caller.session().filter(|_| by_cookie);
    let told = CsrfAnswer {
        csrf: session.map(|session| exchange.app.pod.csrf_token(session)),
        signed_in: exchange.caller.name().is_some(),
    };
    Ok(answer(StatusCode::OK, &told))
}

/// The account that the caller's sessions are of.
fn account(exchange: &Exchange) -> Result<String, ApiError> {
    let account = Pod::account_of(&exchange.caller);
    account.ok_or_else(|| PodError::from(SessionError::Missing).into())
}

async fn list(exchange: Exchange) -> Result<Response, ApiError> {
    let (account, page) = (account(&exchange)?, Page::of(&exchange)?);
    let pod = &exchange.app.pod;
    let found = pod.list_sessions(&account, page.after_text()?, page.limit)?;
    let last = found.sessions.last().map(|session| session.id.clone());
    let current = exchange.caller.session();
    let items = found.sessions.into_iter();
    let items: Vec<SessionItem> = items.map(|item| SessionItem::new(item, current)).collect();
    let paged = Paged::new(items, last.filter(|_| found.more));
    Ok(answer(StatusCode::OK, &paged))
}

async fn end_all(exchange: Exchange) -> Result<Response, ApiError> {
    let keep = exchange.query.get("except") == Some("current");
    let pod = &exchange.app.pod;
    let ended = pod
        .end_own_sessions(&exchange.caller, keep, address(&exchange))
        .await?;
    let mut response = answer(
        StatusCode::OK,
        &EndedAnswer {
            ok: true,
            ended: u64::try_from(ended).unwrap_or(u64::MAX),
        },
    );
    let cookie = cookie_of(&exchange);
    if !keep && exchange.caller.session().is_some() && cookie.find(&exchange.headers).is_some() {
        cookie.take(&mut response);
    }
    Ok(response)
}

fn end_one(exchange: Exchange, captures: Captures) -> Answering {
    Box::pin(async move {
        let id = captures.get(0);
        let pod = &exchange.app.pod;
        pod.end_session(&exchange.caller, id, address(&exchange))
            .await?;
        let mut response = answer(StatusCode::OK, &EndedAnswer::default());
        let cookie = cookie_of(&exchange);
        if exchange.caller.session() == Some(id) && cookie.find(&exchange.headers).is_some() {
            cookie.take(&mut response);
        }
        Ok(response)
    })
}

async fn jwks(exchange: Exchange) -> Result<Response, ApiError> {
    let mut response = answer(StatusCode::OK, &published(&exchange)?);
    reply::set(&mut response, header::CACHE_CONTROL, "public, max-age=300");
    Ok(response)
}

fn published(exchange: &Exchange) -> Result<KeySet, ApiError> {
    let keys = exchange.app.pod.published_keys()?;
    let read = serde_json::from_value(keys);
    read.map_err(|_| PodError::Interrupted.into())
}

async fn rotate(exchange: Exchange) -> Result<Response, ApiError> {
    let pod = &exchange.app.pod;
    pod.rotate_signing_key(&exchange.caller).await?;
    Ok(answer(StatusCode::OK, &published(&exchange)?))
}

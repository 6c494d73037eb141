//! Signing up by writing a document into the inbox, for clients that know no other door.
//!
//! `PUT /{inbox}/{id}` with `{"type":"signup","email":…,"password":…}` does what `/_auth/signup` does;
//! `GET /{inbox}/{id}` tells what came of it to whoever knows the id. The id must therefore be long, and
//! made by chance. Nothing of what was written is stored.
//!
//! Invariant: through this door nothing of the inbox is seen but answers, one by one; every other
//! request is judged by what is set for the database.

use adea_base::DatabaseName;
use adea_pod::{LimitKind, PodError, SIGN_UP_TYPE, SignUp, SignUpNext};
use http::{HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api;
use crate::body::Response;
use crate::caller::origin;
use crate::couch::intake;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// The shortest id: 26 characters of base32 hold 128 random bits.
const ID_MIN: usize = 26;
/// The longest id.
const ID_MAX: usize = 64;
/// The longest document.
const BODY_MAX: u64 = 64 << 10;

/// What is written into the inbox.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inboxed {
    #[serde(rename = "_id")]
    id: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    email: Option<String>,
    password: String,
    language: Option<String>,
    #[serde(default)]
    profile: Map<String, Value>,
    app: Option<String>,
    invitation: Option<String>,
}

/// Whether a request is for the inbox: a document of it is written or fetched by who is no server
/// administrator.
pub(crate) fn is_for(exchange: &Exchange, name: &DatabaseName, id: &str) -> bool {
    matches!(exchange.method, Method::GET | Method::PUT)
        && !id.starts_with('_')
        && !exchange.caller.is_admin()
        && exchange.app.pod.is_sign_up_inbox(name)
}

/// Answers for a document of the inbox.
pub(crate) async fn route(
    exchange: Exchange,
    name: DatabaseName,
    id: &str,
) -> Result<Response, ApiError> {
    let of_id = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !(ID_MIN..=ID_MAX).contains(&id.len()) || !id.bytes().all(of_id) {
        let reason = "The id must be 26 to 64 letters and digits, made by chance: whoever knows it sees the answer.";
        return Err(ApiError::Input(reason.to_owned()));
    }
    if exchange.method == Method::PUT {
        put(exchange, name, id.to_owned()).await
    } else {
        get(&exchange, &name, id)
    }
}

fn get(exchange: &Exchange, name: &DatabaseName, id: &str) -> Result<Response, ApiError> {
    let (revision, answer) = exchange.app.pod.sign_up_answer(name, id)?;
    let mut shown = Map::new();
    shown.insert("_id".to_owned(), json!(id));
    shown.insert("_rev".to_owned(), json!(revision.to_string()));
    shown.extend(answer);
    let mut response = reply::json(StatusCode::OK, format!("{}\n", Value::Object(shown)));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn put(mut exchange: Exchange, name: DatabaseName, id: String) -> Result<Response, ApiError> {
    let (pod, by) = (exchange.app.pod.clone(), api::actor(&exchange));
    let address = origin(&pod.auth(), &exchange.headers, exchange.peer);
    pod.limit_address(LimitKind::SignUp, address)?;
    crate::transport::require_safe(&exchange)?;
    exchange.require_json()?;
    let body = intake::whole_up_to(&mut exchange, BODY_MAX).await?;
    let wanted = read(&exchange, &body, &id)?;
    // To the end, also if who asked goes away: the answer is what he comes back for.
    let working = tokio::spawn(async move {
        let taken = told("taken", None);
        let taken = pod.put_sign_up_answer(&name, &id, None, taken).await?;
        let outcome = match pod.sign_up(wanted, by).await {
            Ok(next) => told("done", Some(next)),
            Err(error) => refusal(&error.into()),
        };
        let answered = pod.put_sign_up_answer(&name, &id, Some(taken), outcome);
        let revision = answered.await?;
        Ok::<_, PodError>((id, revision))
    });
    let (id, revision) = working.await.map_err(|_| PodError::Interrupted)??;
    let body = json!({"ok": true, "id": id, "rev": revision.to_string()});
    Ok(reply::json(StatusCode::CREATED, format!("{body}\n")))
}

fn read(exchange: &Exchange, body: &[u8], id: &str) -> Result<SignUp, ApiError> {
    let document: Inboxed = serde_json::from_slice(body).map_err(|error| {
        let told = error.to_string();
        let reason = told.split(" at line ").next().unwrap_or(&told);
        ApiError::Input(reason.to_owned())
    })?;
    if document.kind != SIGN_UP_TYPE || document.id.is_some_and(|own| own != id) {
        let reason = "The inbox takes documents of the type `signup`, under their own id.";
        return Err(ApiError::Input(reason.to_owned()));
    }
    Ok(SignUp {
        name: document.name,
        address: document.email,
        password: document.password,
        language: document.language,
        profile: document.profile,
        app: api::app_of(exchange, document.app.as_deref())?,
        invitation: document.invitation,
    })
}

/// An answer that says how far it came, and what is to be done next.
fn told(state: &str, next: Option<SignUpNext>) -> Map<String, Value> {
    let mut answer = Map::new();
    answer.insert("state".to_owned(), json!(state));
    let next = next.map(|next| match next {
        SignUpNext::Verify => "verify",
        SignUpNext::Login => "login",
    });
    if let Some(next) = next {
        answer.insert("next".to_owned(), json!(next));
    }
    answer
}

/// An answer that says why nobody was signed up.
fn refusal(error: &ApiError) -> Map<String, Value> {
    let mut answer = told("refused", None);
    answer.insert("error".to_owned(), json!(error.word()));
    answer.insert("reason".to_owned(), json!(error.to_string()));
    answer
}

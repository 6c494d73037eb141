//! What is told of access: why somebody sees a document, which partitions there are, what a document's
//! would be called, and which databases to read.

use std::sync::Arc;

use adea_base::{Caller, DocumentId};
use adea_pod::{
    AccessError, DatabaseEntry, DatabaseFace, Partition, PodError, Stood, Stretch, Why, WhySource,
};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::body::Response;
use crate::couch::sending::aside;
use crate::couch::{database, intake};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// Partitions of an answer where none are asked for, and the most.
const PARTITIONS_DEFAULT: u64 = 100;
const PARTITIONS_MAX: u64 = 1_000;
/// How long what `_sync` answers may be relied on, in seconds.
const SYNC_GOOD_S: u64 = 3_600;

fn sent(value: &Value) -> Response {
    reply::json(StatusCode::OK, format!("{value}\n"))
}

fn require_on(entry: &DatabaseEntry) -> Result<(), ApiError> {
    if entry.has_access_control() {
        return Ok(());
    }
    Err(PodError::from(AccessError::Off(entry.name.clone())).into())
}

/// Answers for `/{db}/_why/{docid}`: why a user sees a document, or does not.
pub(super) fn why(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    id: &str,
) -> Result<Response, ApiError> {
    if !exchange.reads() {
        return Err(ApiError::MethodNotAllowed("GET,HEAD"));
    }
    database::require_admin(exchange, entry)?;
    let user = exchange.query.get("user");
    let user = user.ok_or_else(|| ApiError::query("`user` must be given; it may be empty."))?;
    let id = DocumentId::parse(id)?;
    aside(|| {
        let caller = exchange.app.pod.caller_for_why(user)?;
        let why = exchange.app.pod.why(entry, &id, &caller)?;
        Ok(sent(&shown(entry, &id, &caller, &why)))
    })
}

fn shown(entry: &DatabaseEntry, id: &DocumentId, user: &Caller, why: &Why) -> Value {
    let source = match why.source {
        WhySource::Property => "property",
        WhySource::Expression => "expression",
        WhySource::Function => "function",
        WhySource::Mailbox => "mailbox",
        WhySource::Default => "default",
        WhySource::Deletion => "deletion",
        WhySource::Pending => "pending",
    };
    let rule = entry.access.as_ref().map(|access| access.rule.summary());
    let now = why.stood.first();
    json!({
        "id": id.as_str(),
        "user": user.name(),
        "account": user.account(),
        "visible": why.visible,
        "admin": why.admin,
        "let_in": why.let_in,
        "by": texts(&why.by),
        "since": why.since.as_ref().map(|since| json!({
            "seq": since.from,
            "not_before": since.from_unix_s,
        })),
        "source": source,
        "rule": rule,
        "deleted": why.deleted,
        "access": now.map(|now| texts(&now.principals)),
        "signature": now.map(|now| now.signature.as_ref()),
        "history": why.stood.iter().map(stood).collect::<Vec<_>>(),
        "holds": texts(&why.holds),
        "issued": texts(&why.issued),
        "issued_at": why.issued_at.as_ref().map(|at| json!({
            "seq": at.from,
            "not_before": at.from_unix_s,
        })),
    })
}

fn texts(principals: &[Arc<str>]) -> Vec<&str> {
    principals.iter().map(AsRef::as_ref).collect()
}

fn stood(stood: &Stood) -> Value {
    let mut told = stretch(&stood.stretch);
    told.insert("signature".to_owned(), json!(stood.signature.as_ref()));
    told.insert("access".to_owned(), json!(texts(&stood.principals)));
    let held: Vec<_> = stood.held.iter().map(stretch).collect();
    told.insert("user_held".to_owned(), json!(held));
    Value::Object(told)
}

fn stretch(stretch: &Stretch) -> Map<String, Value> {
    let mut told = Map::new();
    told.insert("from".to_owned(), json!(stretch.from));
    told.insert("from_not_before".to_owned(), json!(stretch.from_unix_s));
    told.insert("to".to_owned(), json!(stretch.to));
    told.insert("to_not_before".to_owned(), json!(stretch.to_unix_s));
    told
}

/// Answers for `/{db}/_partitions`: those that the caller may read.
pub(super) fn partitions(exchange: &Exchange, entry: &DatabaseEntry) -> Result<Response, ApiError> {
    if !exchange.reads() {
        return Err(ApiError::MethodNotAllowed("GET,HEAD"));
    }
    require_on(entry)?;
    if let Some(rebuilding) = exchange.app.pod.rebuilding(entry) {
        return Err(PodError::from(rebuilding).into());
    }
    let limit = exchange.query.count("limit")?.unwrap_or(PARTITIONS_DEFAULT);
    let limit = usize::try_from(limit.clamp(1, PARTITIONS_MAX)).unwrap_or(1);
    let after = exchange.query.count("after")?.unwrap_or(0);
    aside(|| {
        let (pod, caller) = (&exchange.app.pod, &exchange.caller);
        let page = pod.partitions(entry, caller, after, limit)?;
        let rows: Vec<_> = page
            .partitions
            .iter()
            .map(|row| partition(entry, row))
            .collect();
        let mut told = json!({"partitions": rows});
        if let (Some(next), Some(members)) = (page.next, told.as_object_mut()) {
            members.insert("next".to_owned(), json!(next));
        }
        Ok(sent(&told))
    })
}

fn partition(entry: &DatabaseEntry, partition: &Partition) -> Value {
    let mut told = json!({
        "name": format!("{}/p-{}", entry.name, partition.signature),
        "signature": partition.signature.as_ref(),
        "doc_count": partition.documents,
        "doc_del_count": partition.deleted,
        "update_seq": format!("{}-{}", partition.update_sequence, entry.sequence_tag),
    });
    if let (Some(principals), Some(members)) = (&partition.principals, told.as_object_mut()) {
        members.insert("access".to_owned(), json!(texts(principals)));
    }
    told
}

/// Answers for `POST /{db}/_signature`: the signatures that documents would have.
pub(super) async fn signature(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
) -> Result<Response, ApiError> {
    if exchange.method != Method::POST {
        return Err(ApiError::MethodNotAllowed("POST"));
    }
    exchange.require_json()?;
    require_on(&entry)?;
    let body = intake::whole(&mut exchange).await?;
    let document: Map<String, Value> =
        serde_json::from_slice(&body).map_err(|_| ApiError::bad("The body must be a document."))?;
    let pair = match (document.get("old"), document.get("new")) {
        (Some(Value::Object(old)), Some(Value::Object(new))) if document.len() == 2 => {
            Some((old.clone(), new.clone()))
        }
        _ => None,
    };
    let told = match pair {
        Some((old, new)) => json!({
            "old": one_signature(&exchange, &entry, old).await?.as_ref(),
            "new": one_signature(&exchange, &entry, new).await?.as_ref(),
        }),
        None => json!({
            "signature": one_signature(&exchange, &entry, document).await?.as_ref(),
        }),
    };
    Ok(sent(&told))
}

async fn one_signature(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    mut document: Map<String, Value>,
) -> Result<Arc<str>, ApiError> {
    let id = match document.get("_id").and_then(Value::as_str) {
        Some(id) => DocumentId::parse(id)?,
        None => DocumentId::parse("new")?,
    };
    document.retain(|name, _| !name.starts_with('_'));
    let json = Value::Object(document).to_string();
    let pod = &exchange.app.pod;
    let signature = pod.signature_of(entry, &id, json.as_bytes(), &exchange.caller);
    Ok(signature.await?)
}

/// Answers for `/{db}/_sync`: which databases to read, and where to write, for now.
pub(super) fn sync(exchange: &Exchange, entry: &DatabaseEntry) -> Result<Response, ApiError> {
    if !exchange.reads() {
        return Err(ApiError::MethodNotAllowed("GET,HEAD"));
    }
    let name = match entry.face {
        // One without access control is read as it is.
        DatabaseFace::Whole if !entry.has_access_control() => entry.name.as_str().to_owned(),
        DatabaseFace::Whole | DatabaseFace::Mine | DatabaseFace::Partition(_) => {
            format!("{}/mine", entry.name)
        }
    };
    let url = exchange.url(&format!("/{}", reply::path_segment(&name)));
    Ok(sent(&json!({
        "read": [{"name": name, "url": url}],
        "write": {"name": name, "url": url},
        "ask_again_s": SYNC_GOOD_S,
    })))
}

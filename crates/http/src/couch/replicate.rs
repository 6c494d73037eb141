//! Replication by the server: `_replicate` and `_scheduler`.

use adea_base::DatabaseName;
use adea_documents::DatabaseError;
use adea_pod::{JobEvent, JobState, Replicated, ReplicationDocument, ReplicationJob};
use adea_replication::time::iso8601;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::body::Response;
use crate::couch::intake;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// The name under which this server shows itself.
const NODE: &str = "adea@127.0.0.1";
/// Rows of an answer where none are asked for.
const ROWS_DEFAULT: u64 = 100;
/// The most rows of an answer.
const ROWS_MAX: u64 = 10_000;
/// Descriptions that are read at once.
const PAGE: u64 = 500;

/// Answers for `/_replicate` and `/_scheduler/…`.
pub(crate) async fn route(
    exchange: Exchange,
    first: &str,
    rest: &[String],
) -> Result<Response, ApiError> {
    let parts: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (first, parts.as_slice()) {
        ("_replicate", []) => replicate(exchange).await,
        ("_scheduler", _) if !exchange.reads() => Err(ApiError::MethodNotAllowed("GET,HEAD")),
        ("_scheduler", ["jobs"]) => jobs(&exchange),
        ("_scheduler", ["jobs", id]) => job(&exchange, id),
        ("_scheduler", ["docs", place @ ..]) => documents(&exchange, place).await,
        _ => Err(ApiError::NotFound("missing")),
    }
}

async fn replicate(mut exchange: Exchange) -> Result<Response, ApiError> {
    if exchange.method != Method::POST {
        return Err(ApiError::MethodNotAllowed("POST"));
    }
    exchange.require_json()?;
    let body = intake::whole(&mut exchange).await?;
    let fields = match serde_json::from_slice(&body) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(ApiError::bad("Request body must be a JSON object")),
        Err(_) => return Err(adea_documents::json::JsonError::Invalid.into()),
    };
    let (pod, caller) = (&exchange.app.pod, &exchange.caller);
    let (status, told) = match pod.replicate(&fields, caller).await? {
        Replicated::Completed(summary) => (StatusCode::OK, summary),
        Replicated::Continues(id) => (StatusCode::ACCEPTED, named(&id)),
        Replicated::Cancelled(id) => (StatusCode::OK, named(&id)),
    };
    let mut answer = Map::new();
    answer.insert("ok".to_owned(), json!(true));
    answer.extend(told);
    Ok(told_as(status, &Value::Object(answer)))
}

fn named(id: &str) -> Map<String, Value> {
    let mut told = Map::new();
    told.insert("_local_id".to_owned(), json!(id));
    told
}

fn told_as(status: StatusCode, value: &Value) -> Response {
    reply::json(status, format!("{value}\n"))
}

/// How many rows are asked for, and how many are passed over.
fn window(exchange: &Exchange) -> Result<(usize, usize), ApiError> {
    let limit = exchange.query.count("limit")?.unwrap_or(ROWS_DEFAULT);
    let skip = exchange.query.count("skip")?.unwrap_or(0);
    let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    Ok((size(limit.min(ROWS_MAX)), size(skip)))
}

fn jobs(exchange: &Exchange) -> Result<Response, ApiError> {
    exchange.require_server_admin()?;
    let (limit, skip) = window(exchange)?;
    let jobs = exchange.app.pod.replication_jobs();
    let total = jobs.len();
    let rows = jobs.iter().skip(skip).take(limit).map(shown_job);
    let rows: Vec<Value> = rows.collect();
    let told = json!({"total_rows": total, "offset": skip.min(total), "jobs": rows});
    Ok(told_as(StatusCode::OK, &told))
}

fn job(exchange: &Exchange, id: &str) -> Result<Response, ApiError> {
    exchange.require_server_admin()?;
    let id = id.replace(' ', "+");
    let job = exchange.app.pod.replication_job(&id);
    let job = job.ok_or(ApiError::NotFound("missing"))?;
    Ok(told_as(StatusCode::OK, &shown_job(&job)))
}

fn shown_job(job: &ReplicationJob) -> Value {
    let (database, document) = match &job.document {
        Some((database, document)) => (json!(database), json!(document)),
        None => (Value::Null, Value::Null),
    };
    let event = |event: &JobEvent| {
        let (when, kind) = (iso8601(event.unix_s), event.kind);
        match &event.reason {
            Some(reason) => json!({"timestamp": when, "type": kind, "reason": reason}),
            None => json!({"timestamp": when, "type": kind}),
        }
    };
    let pid = if matches!(job.state, JobState::Running) {
        json!("<0.0.0>")
    } else {
        Value::Null
    };
    json!({
        "database": database,
        "id": job.id,
        "pid": pid,
        "source": job.source,
        "target": job.target,
        "user": job.user,
        "doc_id": document,
        "info": info_of(job),
        "history": job.history.iter().map(event).collect::<Vec<_>>(),
        "node": NODE,
        "start_time": iso8601(job.started_unix_s),
    })
}

fn info_of(job: &ReplicationJob) -> Value {
    match &job.error {
        Some(error) => json!({ "error": error }),
        None => Value::Object(job.progress.to_value()),
    }
}

fn shown_document(document: &ReplicationDocument) -> Value {
    let job = document.job.as_ref();
    let started = job
        .map(|job| iso8601(job.started_unix_s))
        .or_else(|| document.started.clone());
    let changed = match job {
        Some(job) => job.history.first().map(|event| iso8601(event.unix_s)),
        None => document.changed.clone(),
    };
    let info = match job {
        Some(job) => info_of(job),
        None if document.info.is_empty() => Value::Null,
        None => Value::Object(document.info.clone()),
    };
    json!({
        "database": document.database,
        "doc_id": document.id,
        "id": job.map(|job| &job.id),
        "node": NODE,
        "source": document.source,
        "target": document.target,
        "state": document.state.word(),
        "info": info,
        "error_count": job.map_or(u32::from(document.state == JobState::Failed), |job| job.error_count),
        "last_updated": changed.or_else(|| started.clone()),
        "start_time": started,
        "source_proxy": job.and_then(|job| job.proxies.0.clone()),
        "target_proxy": job.and_then(|job| job.proxies.1.clone()),
    })
}

/// The database that a path names, whose slashes may stand as they are, and the document.
fn place_of(place: &[&str]) -> Result<(DatabaseName, Option<String>), ApiError> {
    if place.is_empty() {
        return Ok((DatabaseName::parse("_replicator")?, None));
    }
    let end = place
        .iter()
        .position(|part| *part == "_replicator" || part.ends_with("/_replicator"));
    let end = end.ok_or_else(|| ApiError::bad("The path names no _replicator database"))?;
    let (database, rest) = place.split_at(end + 1);
    let name = DatabaseName::parse(&database.join("/"));
    let name = name.map_err(|_| ApiError::from(DatabaseError::Missing))?;
    match rest {
        [] => Ok((name, None)),
        [id] => Ok((name, Some((*id).to_owned()))),
        _ => Err(ApiError::bad("The path names no document")),
    }
}

async fn documents(exchange: &Exchange, place: &[&str]) -> Result<Response, ApiError> {
    let (database, id) = place_of(place)?;
    let (pod, caller) = (&exchange.app.pod, &exchange.caller);
    if let Some(id) = id {
        let document = pod.replication_document(&database, &id, caller)?;
        return Ok(told_as(StatusCode::OK, &shown_document(&document)));
    }
    let states: Vec<&str> = match exchange.query.get("states") {
        None | Some("") => Vec::new(),
        Some(states) => states.split(',').map(str::trim).collect(),
    };
    let (limit, skip) = window(exchange)?;
    let (mut rows, mut total, mut after) = (Vec::new(), 0, None);
    loop {
        let page = pod.replication_documents(&database, caller, after.as_deref(), PAGE)?;
        for document in &page {
            if states.is_empty() || states.contains(&document.state.word()) {
                if total >= skip && rows.len() < limit {
                    rows.push(shown_document(document));
                }
                total += 1;
            }
        }
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        tokio::task::yield_now().await;
    }
    let told = json!({"total_rows": total, "offset": skip.min(total), "docs": rows});
    Ok(told_as(StatusCode::OK, &told))
}

/// Replications as tasks that run.
pub(crate) fn tasks(exchange: &Exchange) -> Vec<Value> {
    let jobs = exchange.app.pod.replication_jobs();
    let running = jobs
        .iter()
        .filter(|job| matches!(job.state, JobState::Running));
    running.map(task).collect()
}

fn task(job: &ReplicationJob) -> Value {
    let (database, document) = match &job.document {
        Some((database, document)) => (json!(database), json!(document)),
        None => (Value::Null, Value::Null),
    };
    let mut told = json!({
        "node": NODE,
        "pid": "<0.0.0>",
        "type": "replication",
        "replication_id": job.id,
        "database": database,
        "doc_id": document,
        "user": job.user,
        "source": job.source,
        "target": job.target,
        "continuous": job.continuous,
        "checkpoint_interval": job.checkpoint_interval_ms,
        "started_on": job.started_unix_s,
        "updated_on": job.history.first().map_or(job.started_unix_s, |event| event.unix_s),
    });
    if let Some(fields) = told.as_object_mut() {
        fields.extend(job.progress.to_value());
    }
    told
}

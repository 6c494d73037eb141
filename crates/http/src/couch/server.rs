//! The server itself: `/` and everything whose first segment begins with `_`.

use adea_base::DatabaseName;
use adea_documents::json::{for_each_item, for_each_member, read_text, write_json_string};
use adea_pod::IndexTask;
use adea_store::{Direction, Health};
use http::{HeaderValue, Method, StatusCode, header};

use crate::body::{Body, Response};
use crate::couch::sending::aside;
use crate::couch::{cluster, database, intake, node, replicate, session, updates};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// The most identifiers or databases one request may ask for.
pub(crate) const UUIDS_MAX: u64 = 1_000;
pub(crate) const INFOS_MAX: usize = 100;

/// Answers `/`.
pub(crate) fn welcome(exchange: &Exchange) -> Result<Response, ApiError> {
    if exchange.method == Method::OPTIONS {
        return Ok(crate::router::options("GET, HEAD"));
    }
    if !exchange.reads() {
        return Err(ApiError::MethodNotAllowed("GET,HEAD"));
    }
    let uuid = &exchange.app.pod.identity().uuid;
    let version = env!("CARGO_PKG_VERSION");
    let body = format!(
        "{{\"couchdb\":\"Welcome\",\"version\":\"3.5.0\",\"git_sha\":\"adea-{version}\",\"uuid\":\"{uuid}\",\"features\":[\"access-ready\",\"partitioned\",\"pluggable-storage-engines\"],\"vendor\":{{\"name\":\"Adea\",\"version\":\"{version}\"}}}}\n"
    );
    Ok(reply::json(StatusCode::OK, body))
}

/// Answers for paths that begin with `/_`.
pub(crate) async fn route(
    exchange: Exchange,
    first: &str,
    rest: &[String],
) -> Result<Response, ApiError> {
    let parts: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (first, parts.as_slice()) {
        ("_session", []) => session::route(exchange).await,
        ("_up", []) => up(&exchange),
        ("_uuids", []) => uuids(&exchange),
        ("_all_dbs", []) => all_dbs(&exchange),
        ("_dbs_info", []) => dbs_info(exchange).await,
        ("_active_tasks", []) => active_tasks(&exchange),
        ("_metrics", []) => metrics(&exchange),
        ("_adea", ["backup"]) => backup(exchange).await,
        ("_replicate" | "_scheduler", _) => replicate::route(exchange, first, rest).await,
        ("_db_updates", []) => updates::route(exchange).await,
        ("_membership" | "_cluster_setup" | "_reshard", _) => {
            cluster::route(exchange, first, rest).await
        }
        ("_node", _) => node::route(exchange, rest).await,
        ("_search_analyze" | "_nouveau_analyze", []) => {
            Err(ApiError::NotImplemented("Full-text search"))
        }
        ("_utils", _) => Err(ApiError::NotFound("There is no console in this version.")),
        ("_reload_query_servers", []) => reload_query_servers(&exchange),
        ("_config" | "_stats", _) => Err(ApiError::Gone(
            "This was part of CouchDB 1.x; ask for it under /_node/_local/.",
        )),
        ("_restart" | "_log" | "_oauth" | "_external" | "_proxy", _) => {
            Err(ApiError::Gone("This was part of CouchDB 1.x."))
        }
        _ => Err(adea_documents::DatabaseError::Missing.into()),
    }
}

/// Functions are compiled when they are used; there is nothing that would have to be forgotten.
fn reload_query_servers(exchange: &Exchange) -> Result<Response, ApiError> {
    if exchange.method != Method::POST {
        return Err(ApiError::MethodNotAllowed("POST"));
    }
    exchange.require_server_admin()?;
    exchange.require_json()?;
    Ok(reply::ok(StatusCode::OK))
}

fn up(exchange: &Exchange) -> Result<Response, ApiError> {
    if !exchange.reads() {
        return Err(ApiError::MethodNotAllowed("GET,HEAD"));
    }
    let maintenance = exchange.app.pod.setting("couchdb", "maintenance_mode");
    match maintenance.as_deref() {
        Some("true") => {
            let body = "{\"status\":\"maintenance_mode\"}\n";
            return Ok(reply::json(StatusCode::NOT_FOUND, body));
        }
        Some("nolb") => {
            return Ok(reply::json(
                StatusCode::NOT_FOUND,
                "{\"status\":\"nolb\"}\n",
            ));
        }
        Some(_) | None => {}
    }
    Ok(match exchange.app.pod.health() {
        _ if exchange.app.shutdown.is_down() => {
            reply::json(StatusCode::NOT_FOUND, "{\"status\":\"stopping\"}\n")
        }
        Health::Healthy => reply::json(StatusCode::OK, "{\"status\":\"ok\",\"seeds\":{}}\n"),
        Health::Poisoned(reason) => {
            let mut out = b"{\"status\":\"read_only\",\"reason\":".to_vec();
            write_json_string(&mut out, &reason);
            out.extend_from_slice(b"}\n");
            reply::json(StatusCode::NOT_FOUND, out)
        }
    })
}

fn uuids(exchange: &Exchange) -> Result<Response, ApiError> {
    if !exchange.reads() {
        return Err(ApiError::MethodNotAllowed("GET,HEAD"));
    }
    let count = exchange.query.count("count")?.unwrap_or(1);
    let most = exchange.app.pod.number("uuids", "max_count");
    // A list is made in memory, whatever the setting says.
    if count > most.unwrap_or(UUIDS_MAX).min(UUIDS_MAX * 100) {
        return Err(ApiError::bad("count parameter too large"));
    }
    let mut out = b"{\"uuids\":[".to_vec();
    for n in 0..count {
        if n > 0 {
            out.push(b',');
        }
        write_json_string(&mut out, &exchange.app.pod.new_id());
    }
    out.extend_from_slice(b"]}\n");
    let mut response = reply::json(StatusCode::OK, out);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    let tag = exchange.app.pod.entropy().hex_id();
    reply::set_etag(&mut response, &tag);
    Ok(response)
}

/// A name in JSON, as the ranges of `_all_dbs` have it.
fn name(exchange: &Exchange, names: &[&str]) -> Result<Option<String>, ApiError> {
    let Some(json) = exchange.query.any(names) else {
        return Ok(None);
    };
    Ok(read_text(json.as_bytes())?.map(std::borrow::Cow::into_owned))
}

/// The names that the query asks for.
fn names(exchange: &Exchange) -> Result<Vec<String>, ApiError> {
    let query = &exchange.query;
    let descending = query.boolean("descending")?.unwrap_or(false);
    let inclusive = query.boolean("inclusive_end")?.unwrap_or(true);
    let start = name(exchange, &["startkey", "start_key"])?;
    let end = name(exchange, &["endkey", "end_key"])?;
    let (from, to, direction) = if descending {
        let from = end.map(|end| if inclusive { end } else { format!("{end}\0") });
        (
            from,
            start.map(|start| format!("{start}\0")),
            Direction::Reverse,
        )
    } else {
        let to = end.map(|end| if inclusive { format!("{end}\0") } else { end });
        (start, to, Direction::Forward)
    };
    let limit = query.count("limit")?.unwrap_or(u64::MAX);
    let skip = query.count("skip")?.unwrap_or(0);
    let take = usize::try_from(limit.saturating_add(skip)).unwrap_or(usize::MAX);
    let pod = &exchange.app.pod;
    let mut found = pod.database_names(from.as_deref(), to.as_deref(), direction, take)?;
    let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(found.len());
    found.drain(..skip);
    Ok(found)
}

fn all_dbs(exchange: &Exchange) -> Result<Response, ApiError> {
    if !exchange.reads() {
        return Err(ApiError::MethodNotAllowed("GET,HEAD"));
    }
    exchange.require_server_admin()?;
    let mut out = b"[".to_vec();
    for (n, name) in names(exchange)?.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_json_string(&mut out, name);
    }
    out.extend_from_slice(b"]\n");
    Ok(reply::json(StatusCode::OK, out))
}

async fn dbs_info(mut exchange: Exchange) -> Result<Response, ApiError> {
    exchange.require_server_admin()?;
    let wanted = match exchange.method.as_str() {
        "GET" | "HEAD" => aside(|| names(&exchange))?,
        "POST" => named(&mut exchange).await?,
        _ => return Err(ApiError::MethodNotAllowed("GET,HEAD,POST")),
    };
    // One that asks for all of thousands keeps nobody else waiting.
    aside(|| infos(&exchange, &wanted))
}

/// The names that a body asks for.
async fn named(exchange: &mut Exchange) -> Result<Vec<String>, ApiError> {
    exchange.require_json()?;
    let body = intake::whole(exchange).await?;
    let most = exchange
        .app
        .pod
        .number("chttpd", "max_db_number_for_dbs_info_req");
    let most = most.and_then(|most| usize::try_from(most).ok());
    let most = most.unwrap_or(INFOS_MAX);
    let mut keys = None;
    for_each_member(&body, |member, value| {
        if member == "keys" {
            let mut found = Vec::new();
            let is_array = for_each_item(value, |item| {
                if found.len() == most {
                    return Err(ApiError::bad("too_many_keys"));
                }
                // What is no text is no name, and found as little as one that is not there.
                found.push(match read_text(item)? {
                    Some(text) => text.into_owned(),
                    None => String::from_utf8_lossy(item).into_owned(),
                });
                Ok::<_, ApiError>(())
            })?;
            if !is_array {
                return Err(ApiError::bad("`keys` member must be an array."));
            }
            keys = Some(found);
        }
        Ok::<_, ApiError>(())
    })?;
    keys.ok_or_else(|| ApiError::bad("`keys` member must exist."))
}

fn infos(exchange: &Exchange, wanted: &[String]) -> Result<Response, ApiError> {
    let asked = exchange.method == Method::POST;
    let mut out = b"[".to_vec();
    for wanted in wanted {
        let entry = DatabaseName::parse(wanted)
            .ok()
            .and_then(|name| exchange.app.pod.database(&name).ok());
        if entry.is_none() && !asked {
            // It was dropped since the names were read.
            continue;
        }
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"key\":");
        write_json_string(&mut out, wanted);
        match entry {
            Some(entry) => {
                out.extend_from_slice(b",\"info\":");
                database::write_info(&mut out, exchange, &entry)?;
            }
            None => out.extend_from_slice(b",\"error\":\"not_found\""),
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]\n");
    Ok(reply::json(StatusCode::OK, out))
}

fn active_tasks(exchange: &Exchange) -> Result<Response, ApiError> {
    if !exchange.reads() {
        return Err(ApiError::MethodNotAllowed("GET,HEAD"));
    }
    exchange.require_server_admin()?;
    let mut out = b"[".to_vec();
    for (n, task) in exchange.app.pod.compactions().iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.extend_from_slice(
            b"{\"node\":\"adea@127.0.0.1\",\"type\":\"database_compaction\",\"database\":",
        );
        write_json_string(&mut out, task.database.as_str());
        let percent = task.percent;
        out.extend_from_slice(
            format!(
                ",\"started_on\":{},\"changes_done\":{},\"total_changes\":{},\"progress\":{percent}}}",
                task.started_on, task.changes_done, task.total_changes
            )
            .as_bytes(),
        );
    }
    for task in exchange.app.pod.rebuilds() {
        if out.len() > 1 {
            out.push(b',');
        }
        let told = serde_json::json!({
            "node": "adea@127.0.0.1",
            "type": "access_rebuild",
            "database": task.database,
            "started_on": task.started_on,
            "changes_done": task.done,
            "total_changes": task.total,
            "failed": task.failed,
            "progress": task.percent(),
        });
        out.extend_from_slice(told.to_string().as_bytes());
    }
    for task in exchange.app.pod.index_tasks() {
        if out.len() > 1 {
            out.push(b',');
        }
        write_index_task(&mut out, &task);
    }
    for task in replicate::tasks(exchange) {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(task.to_string().as_bytes());
    }
    out.extend_from_slice(b"]\n");
    Ok(reply::json(StatusCode::OK, out))
}

fn write_index_task(out: &mut Vec<u8>, task: &IndexTask) {
    out.extend_from_slice(
        b"{\"node\":\"adea@127.0.0.1\",\"pid\":\"<0.1.0>\",\"type\":\"indexer\",\"database\":",
    );
    write_json_string(out, &task.database);
    out.extend_from_slice(b",\"design_document\":");
    write_json_string(out, &task.design_document);
    out.extend_from_slice(
        format!(
            ",\"changes_done\":{},\"total_changes\":{},\"progress\":{},\"started_on\":{},\"updated_on\":{},\"process_status\":\"running\"}}",
            task.changes_done, task.total_changes, task.percent, task.started_on, task.updated_on
        )
        .as_bytes(),
    );
}

pub(crate) fn metrics(exchange: &Exchange) -> Result<Response, ApiError> {
    if !exchange.reads() {
        return Err(ApiError::MethodNotAllowed("GET,HEAD"));
    }
    exchange.require_server_admin()?;
    let mut text = exchange.app.metrics.render();
    let (commits, syncs, topics) = exchange.app.pod.counts();
    for (name, kind, help, value) in [
        (
            "adea_store_commits_total",
            "counter",
            "Transactions committed.",
            commits,
        ),
        (
            "adea_store_syncs_total",
            "counter",
            "Batches brought to stable storage.",
            syncs,
        ),
        (
            "adea_feed_topics",
            "gauge",
            "Databases that somebody listens to.",
            topics as u64,
        ),
    ] {
        let lines = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        match text.rfind("# EOF") {
            Some(end) => text.insert_str(end, &lines),
            None => text.push_str(&lines),
        }
    }
    Ok(reply::with_type(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        Body::from(text),
    ))
}

/// Makes a backup while serving; the directory is one of the server's own machine.
async fn backup(mut exchange: Exchange) -> Result<Response, ApiError> {
    if exchange.method != Method::POST {
        return Err(ApiError::MethodNotAllowed("POST"));
    }
    exchange.require_server_admin()?;
    exchange.require_json()?;
    let body = intake::whole(&mut exchange).await?;
    let mut to = None;
    for_each_member(&body, |member, value| {
        if member == "to" {
            to = read_text(value)?.map(std::borrow::Cow::into_owned);
        }
        Ok::<_, ApiError>(())
    })?;
    let to = to.ok_or_else(|| ApiError::bad("`to` must name a directory."))?;
    let path = std::path::Path::new(&to);
    if !path.is_absolute() {
        return Err(ApiError::bad(
            "`to` must be an absolute path on the server.",
        ));
    }
    match exchange.app.pod.backup(path).await {
        Ok(report) => {
            let mut out = b"{\"ok\":true,\"to\":".to_vec();
            write_json_string(&mut out, &to);
            out.extend_from_slice(
                format!(
                    ",\"documents\":{},\"files\":{},\"bytes\":{},\"faults\":[",
                    report.documents, report.files, report.bytes
                )
                .as_bytes(),
            );
            for (n, fault) in report.faults.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write_json_string(&mut out, fault);
            }
            out.extend_from_slice(b"]}\n");
            Ok(reply::json(StatusCode::CREATED, out))
        }
        Err(adea_pod::BackupError::Pod(error)) => Err((*error).into()),
        Err(error) => Err(ApiError::bad(error.to_string())),
    }
}

//! One database: `/{db}`, and the parts of it that begin with `_`.

mod expiry;

use std::sync::Arc;

use adea_accounts::{Access, Refusal, Security};
use adea_base::{DatabaseName, DocumentId};
use adea_documents::json::{for_each_item, for_each_member, read_text, write_json_string};
use adea_documents::revision::Revision;
use adea_pod::{DatabaseEntry, PodError};
use http::{Method, StatusCode, header};

use crate::body::Response;
use crate::couch::node::{NODE, RANGE};
use crate::couch::{bulk, intake, view};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// The most revisions one purge may name.
pub(crate) const PURGES_MAX: usize = 100_000;

/// Answers for `/{db}`.
pub(crate) async fn route(exchange: Exchange, name: DatabaseName) -> Result<Response, ApiError> {
    match exchange.method.as_str() {
        "GET" | "HEAD" => {
            let entry = exchange.app.pod.database(&name)?;
            entry.access(&exchange.caller).require_member()?;
            let mut out = Vec::with_capacity(512);
            write_info(&mut out, &exchange, &entry)?;
            out.push(b'\n');
            Ok(reply::json(StatusCode::OK, out))
        }
        "PUT" => create(exchange, name).await,
        "POST" => {
            let entry = exchange.app.pod.database(&name)?;
            entry.access(&exchange.caller).require_member()?;
            bulk::post(exchange, entry).await
        }
        "DELETE" => {
            require_maker(&exchange, &name)?;
            if exchange.query.get("rev").is_some() {
                return Err(ApiError::bad(
                    "You tried to DELETE a database with a ?=rev parameter. Did you mean to DELETE a document instead?",
                ));
            }
            let by = crate::api::actor(&exchange);
            exchange.app.pod.unmake_database(&name, &by).await?;
            Ok(reply::ok(StatusCode::OK))
        }
        "OPTIONS" => Ok(crate::router::options("DELETE, GET, HEAD, POST, PUT")),
        _ => Err(ApiError::MethodNotAllowed("DELETE,GET,HEAD,POST,PUT")),
    }
}

/// Lets make and drop a database of this name server administrators, and those of the app that it
/// belongs to.
pub(crate) fn require_maker(exchange: &Exchange, name: &DatabaseName) -> Result<(), ApiError> {
    if exchange.app.pod.may_make(&exchange.caller, name) {
        return Ok(());
    }
    exchange.require_server_admin()
}

async fn create(exchange: Exchange, name: DatabaseName) -> Result<Response, ApiError> {
    require_maker(&exchange, &name)?;
    let partitioned = read_creation(&exchange, &name)?;
    let (pod, by) = (&exchange.app.pod, crate::api::actor(&exchange));
    pod.make_database(&name, partitioned, &by).await?;
    let mut response = reply::ok(StatusCode::CREATED);
    let location = exchange.url(&format!("/{}", reply::path_segment(name.as_str())));
    reply::set(&mut response, header::LOCATION, &location);
    Ok(response)
}

/// Whether the database is to be partitioned. What concerns shards is read and means nothing.
pub(crate) fn read_creation(exchange: &Exchange, name: &DatabaseName) -> Result<bool, ApiError> {
    let query = &exchange.query;
    for parameter in ["q", "n"] {
        if let Some(text) = query.get(parameter)
            && !text.parse::<u64>().is_ok_and(|count| count > 0)
        {
            return Err(ApiError::bad(format!(
                "The `{parameter}` value should be a positive integer."
            )));
        }
    }
    if let Some(text) = query.get("placement") {
        let zones = text.split(',');
        let in_form = |zone: &str| {
            let count = zone.split_once(':').map(|(_, count)| count.parse::<u64>());
            matches!(count, Some(Ok(count)) if count > 0)
        };
        if !zones.into_iter().all(in_form) {
            return Err(ApiError::bad(
                "The `placement` value should be in a format `zone:n`.",
            ));
        }
    }
    if query.get("engine").is_some_and(|engine| engine != "couch") {
        return Err(ApiError::bad("invalid_engine_extension"));
    }
    let partitioned = match query.get("partitioned") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(ApiError::bad("Invalid `partitioned` parameter")),
    };
    let system = |suffix: &str| name.as_str().rsplit('/').next() == Some(suffix);
    if partitioned
        && ["_users", "_replicator", "_global_changes"]
            .into_iter()
            .any(system)
    {
        return Err(ApiError::bad("Cannot partition a system database"));
    }
    Ok(partitioned)
}

/// Writes what is told of a database.
pub(crate) fn write_info(
    out: &mut Vec<u8>,
    exchange: &Exchange,
    entry: &DatabaseEntry,
) -> Result<(), ApiError> {
    let pod = &exchange.app.pod;
    let info = pod.told_info(entry)?;
    let statistics = info.statistics;
    let tag = &entry.sequence_tag;
    let start = entry.instance_start_time(pod.identity().restored_unix_s);
    out.extend_from_slice(format!("{{\"instance_start_time\":\"{start}\",\"db_name\":").as_bytes());
    write_json_string(out, &entry.face_name());
    out.extend_from_slice(
        format!(
            ",\"purge_seq\":\"{}-{tag}\",\"update_seq\":\"{}\",\"sizes\":{{\"file\":{},\"external\":{},\"active\":{}}},\"props\":{{{}}},\"doc_del_count\":{},\"doc_count\":{},\"disk_format_version\":8,\"compact_running\":{},\"cluster\":{{\"q\":1,\"n\":1,\"w\":1,\"r\":1}}}}",
            statistics.purge_sequence,
            entry.place(statistics.update_sequence),
            info.file_bytes,
            statistics.external_bytes,
            info.active_bytes,
            if entry.settings.partitioned { "\"partitioned\":true" } else { "" },
            statistics.deleted,
            statistics.documents,
            info.compacting,
        )
        .as_bytes(),
    );
    Ok(())
}

pub(super) fn require_admin(
    exchange: &Exchange,
    entry: &DatabaseEntry,
) -> Result<Access, ApiError> {
    let access = entry.access(&exchange.caller);
    access.require_admin()?;
    Ok(access)
}

/// Answers for `/{db}/_…`, where the router knows no better place.
pub(crate) async fn special(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    name: &str,
    rest: &[String],
) -> Result<Response, ApiError> {
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (name, rest.as_slice()) {
        ("_security", []) => security(exchange, entry).await,
        ("_revs_limit", []) => limit(exchange, entry, Limit::Revisions).await,
        ("_purged_infos_limit", []) => limit(exchange, entry, Limit::Purges).await,
        ("_purge", []) => purge(exchange, entry).await,
        ("_purged_infos", []) => purged_infos(&exchange, &entry),
        ("_compact", []) => {
            require_post(&exchange)?;
            require_admin(&exchange, &entry)?;
            exchange.app.pod.start_compaction(&entry);
            Ok(reply::ok(StatusCode::ACCEPTED))
        }
        ("_compact", [ddoc]) => {
            require_post(&exchange)?;
            require_admin(&exchange, &entry)?;
            view::compact(exchange, entry, ddoc).await
        }
        ("_view_cleanup" | "_search_cleanup" | "_nouveau_cleanup", []) => {
            if exchange.method != Method::POST {
                return Err(ApiError::MethodNotAllowed("POST"));
            }
            require_admin(&exchange, &entry)?;
            view::cleanup(exchange, entry).await
        }
        ("_ensure_full_commit", []) => ensure_full_commit(exchange, &entry).await,
        ("_shards", rest) => shards(&exchange, &entry, rest),
        ("_auto_purge", []) => expiry::auto_purge(exchange, &entry).await,
        ("_time_seq", []) => expiry::time_seq(exchange, &entry).await,
        ("_temp_view", []) => Err(ApiError::Gone(
            "Temporary views are not supported in CouchDB",
        )),
        ("_sync_shards", []) => {
            require_post(&exchange)?;
            Ok(reply::ok(StatusCode::ACCEPTED))
        }
        (special, []) if exchange.reads() => {
            DocumentId::parse(special)
                .map(|_| ())
                .or(Err(ApiError::NotFound("missing")))?;
            Err(ApiError::NotFound("missing"))
        }
        (special, []) => {
            DocumentId::parse(special)?;
            Err(ApiError::NotFound("missing"))
        }
        _ => Err(ApiError::NotFound("missing")),
    }
}

/// There is one shard, and it is here.
fn shards(exchange: &Exchange, entry: &DatabaseEntry, rest: &[&str]) -> Result<Response, ApiError> {
    if !exchange.reads() {
        return Err(ApiError::MethodNotAllowed("GET"));
    }
    let body = match rest {
        [] => format!("{{\"shards\":{{\"{RANGE}\":[\"{NODE}\"]}}}}\n"),
        _ => {
            let id = DocumentId::parse(&rest.join("/"))?;
            entry.check_id(&id).map_err(PodError::from)?;
            format!("{{\"range\":\"{RANGE}\",\"nodes\":[\"{NODE}\"]}}\n")
        }
    };
    Ok(reply::json(StatusCode::OK, body))
}

fn require_post(exchange: &Exchange) -> Result<(), ApiError> {
    if exchange.method == Method::POST {
        exchange.require_json()
    } else {
        Err(ApiError::MethodNotAllowed("POST"))
    }
}

async fn ensure_full_commit(
    exchange: Exchange,
    entry: &DatabaseEntry,
) -> Result<Response, ApiError> {
    require_post(&exchange)?;
    let pod = &exchange.app.pod;
    pod.sync().await?;
    let start = entry.instance_start_time(pod.identity().restored_unix_s);
    let body = format!("{{\"ok\":true,\"instance_start_time\":\"{start}\"}}\n");
    Ok(reply::json(StatusCode::CREATED, body))
}

async fn security(mut exchange: Exchange, entry: Arc<DatabaseEntry>) -> Result<Response, ApiError> {
    match exchange.method.as_str() {
        "GET" | "HEAD" => {
            let text = format!("{}\n", entry.security.as_text());
            Ok(reply::json(StatusCode::OK, text))
        }
        "PUT" => {
            require_admin(&exchange, &entry)?;
            if entry.name.is_users() && !exchange.app.pod.auth().users.security_editable {
                let fixed = adea_accounts::USERS_SECURITY_IS_FIXED;
                return Err(Refusal::Forbidden(fixed.into()).into());
            }
            let body = intake::whole(&mut exchange).await?;
            let normal = adea_documents::json::normalise(&body)?;
            let text = String::from_utf8(normal)
                .map_err(|_| ApiError::from(adea_documents::json::JsonError::Invalid))?;
            let security =
                Security::parse(&text).map_err(|error| ApiError::bad(error.to_string()))?;
            let text = security.as_text().to_owned();
            let by = crate::api::actor(&exchange);
            let pod = &exchange.app.pod;
            pod.change_security(&entry, text, &by).await?;
            Ok(reply::ok(StatusCode::OK))
        }
        _ => Err(ApiError::MethodNotAllowed("PUT,GET,HEAD")),
    }
}

/// A number that is set for a database.
#[derive(Clone, Copy)]
enum Limit {
    Revisions,
    Purges,
}

async fn limit(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    which: Limit,
) -> Result<Response, ApiError> {
    match exchange.method.as_str() {
        "GET" | "HEAD" => {
            let value = match which {
                Limit::Revisions => entry.settings.revisions_limit,
                Limit::Purges => entry.settings.purges_limit,
            };
            Ok(reply::json(StatusCode::OK, format!("{value}\n")))
        }
        "PUT" => {
            require_admin(&exchange, &entry)?;
            let body = intake::whole(&mut exchange).await?;
            let value: u64 = std::str::from_utf8(&body)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .filter(|value| *value > 0)
                .ok_or_else(|| {
                    ApiError::bad(match which {
                        Limit::Revisions => "`revs_limit` must be positive integer",
                        Limit::Purges => "`purge_infos_limit` must be positive integer",
                    })
                })?;
            let changed = exchange
                .app
                .pod
                .change_settings(&entry, move |settings| match which {
                    Limit::Revisions => settings.revisions_limit = value,
                    Limit::Purges => settings.purges_limit = value,
                });
            changed.await?;
            Ok(reply::ok(StatusCode::OK))
        }
        _ => Err(ApiError::MethodNotAllowed("PUT,GET,HEAD")),
    }
}

/// Which revisions of which documents are to go.
type Purges = Vec<(DocumentId, Vec<Revision>)>;

/// The most documents and revisions that one purge may name: as set, and never more than can be
/// held.
fn purge_limits(exchange: &Exchange) -> (usize, usize) {
    let most = |key: &str| {
        let set = exchange.app.pod.number("purge", key);
        let set = set.and_then(|most| usize::try_from(most).ok());
        set.unwrap_or(PURGES_MAX).min(PURGES_MAX)
    };
    (most("max_document_id_number"), most("max_revisions_number"))
}

fn read_purges(body: &[u8], (ids_max, revisions_max): (usize, usize)) -> Result<Purges, ApiError> {
    let mut purges = Purges::new();
    let mut count = 0;
    let mut more = || {
        count += 1;
        if count > revisions_max {
            return Err(ApiError::bad("Exceeded maximum number of revisions."));
        }
        Ok(())
    };
    let is_object = for_each_member(body, |id, value| {
        if purges.len() == ids_max {
            return Err(ApiError::bad("Exceeded maximum number of documents."));
        }
        let mut revisions = Vec::new();
        for_each_item(value, |item| {
            more()?;
            let text = read_text(item)?.ok_or_else(|| ApiError::bad("Invalid rev format"))?;
            revisions.push(Revision::parse(&text)?);
            Ok::<_, ApiError>(())
        })?;
        purges.push((DocumentId::parse(id)?, revisions));
        Ok::<_, ApiError>(())
    })?;
    if is_object {
        Ok(purges)
    } else {
        Err(ApiError::bad("Request body must be a JSON object"))
    }
}

async fn purge(mut exchange: Exchange, entry: Arc<DatabaseEntry>) -> Result<Response, ApiError> {
    require_post(&exchange)?;
    require_admin(&exchange, &entry)?;
    let body = intake::whole(&mut exchange).await?;
    let limits = purge_limits(&exchange);
    let purges = intake::parsed(body, move |body| read_purges(body, limits)).await??;
    let purged = exchange.app.pod.purge(&entry, purges).await?;
    let mut out = b"{\"purge_seq\":null,\"purged\":{".to_vec();
    for (n, (id, revisions)) in purged.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_json_string(&mut out, id);
        out.extend_from_slice(b":[");
        for (n, revision) in revisions.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            adea_documents::render::write_revision(&mut out, revision);
        }
        out.push(b']');
    }
    out.extend_from_slice(b"}}\n");
    Ok(reply::json(StatusCode::CREATED, out))
}

fn purged_infos(exchange: &Exchange, entry: &DatabaseEntry) -> Result<Response, ApiError> {
    if !exchange.reads() {
        return Err(ApiError::MethodNotAllowed("GET,HEAD"));
    }
    let mut out = b"{\"purged_infos\":[".to_vec();
    for (n, purge) in exchange
        .app
        .pod
        .purges(entry, &exchange.caller)?
        .iter()
        .enumerate()
    {
        out.extend_from_slice(if n == 0 { b"{\"id\":" } else { b",{\"id\":" });
        write_json_string(&mut out, &purge.id);
        out.extend_from_slice(b",\"revs\":[");
        for (n, revision) in purge.revisions.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            write_json_string(&mut out, revision);
        }
        out.extend_from_slice(b"]}");
    }
    out.extend_from_slice(b"]}\n");
    Ok(reply::json(StatusCode::OK, out))
}

//! Views: `/{db}/_design/{ddoc}/_view/{view}`, their description, compaction and clean-up.
//!
//! Here is which view is asked, and that the index is far enough before anything is told. What may
//! be asked is read in `asked.rs`; the answer is written in `answer.rs`.

mod answer;
mod asked;

use std::sync::Arc;

use adea_base::DocumentId;
use adea_documents::json::write_json_string;
use adea_pod::{DatabaseEntry, ViewAsk};
use http::{Method, StatusCode};

use crate::body::Response;
use crate::couch::intake;
use crate::couch::view::asked::Asked;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// Answers for `/{db}/_design/{ddoc}/_view/…`, also inside one partition.
pub(crate) async fn route(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    ddoc: DocumentId,
    rest: &[String],
    partition: Option<&str>,
) -> Result<Response, ApiError> {
    adea_pod::may_search(&entry, &exchange.caller)?;
    if entry.name.is_users() {
        adea_pod::may_list_users(&entry, &exchange.caller)?;
    }
    match rest {
        [view] => one(exchange, entry, &ddoc, view, partition).await,
        [view, queries] if queries == "queries" && partition.is_none() => {
            several(exchange, entry, &ddoc, view).await
        }
        _ => Err(ApiError::NotFound("missing")),
    }
}

async fn one(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    ddoc: &DocumentId,
    view: &str,
    partition: Option<&str>,
) -> Result<Response, ApiError> {
    let asked = match exchange.method.as_str() {
        "GET" | "HEAD" => {
            exchange.app.pod.design(&entry, ddoc.as_str())?;
            Asked::of_query(&exchange.query)?
        }
        "POST" => {
            exchange.require_json()?;
            exchange.app.pod.design(&entry, ddoc.as_str())?;
            let (query, body) = (exchange.query.clone(), intake::whole(&mut exchange).await?);
            intake::parsed(body, move |body| Asked::of_body(&query, body)).await??
        }
        _ => return Err(ApiError::MethodNotAllowed("GET,POST,HEAD")),
    };
    let ask = ask(&exchange, &entry, ddoc, view, partition, asked)?;
    exchange.app.pod.make_ready(&ask).await?;
    answer::answer(exchange, ask).await
}

async fn several(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    ddoc: &DocumentId,
    view: &str,
) -> Result<Response, ApiError> {
    if exchange.method != Method::POST {
        return Err(ApiError::MethodNotAllowed("POST"));
    }
    exchange.require_json()?;
    exchange.app.pod.design(&entry, ddoc.as_str())?;
    let (query, body) = (exchange.query.clone(), intake::whole(&mut exchange).await?);
    let asked = intake::parsed(body, move |body| Asked::of_queries(&query, body)).await??;
    let asks = asked.into_iter();
    let asks = asks.map(|asked| ask(&exchange, &entry, ddoc, view, None, asked));
    let asks = asks.collect::<Result<Vec<_>, _>>()?;
    for ask in &asks {
        exchange.app.pod.make_ready(ask).await?;
    }
    Ok(answer::answers(exchange, asks))
}

fn ask(
    exchange: &Exchange,
    entry: &Arc<DatabaseEntry>,
    ddoc: &DocumentId,
    view: &str,
    partition: Option<&str>,
    asked: Asked,
) -> Result<ViewAsk, ApiError> {
    if let (Some(of_path), Some(of_query)) = (partition, &asked.partition)
        && of_path != of_query
    {
        let reason = "Conflicting value for `partition` in path and query string";
        return Err(ApiError::bad(reason));
    }
    let partition = partition.map(str::to_owned).or(asked.partition);
    let pod = &exchange.app.pod;
    Ok(pod.ask_view(
        entry,
        ddoc.as_str(),
        view,
        partition.as_deref(),
        asked.query,
    )?)
}

/// Answers for `/{db}/_design/{ddoc}/_info`.
pub(crate) async fn info(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    ddoc: DocumentId,
) -> Result<Response, ApiError> {
    if !exchange.reads() {
        return Err(ApiError::MethodNotAllowed("GET"));
    }
    let info = exchange.app.pod.design_info(&entry, ddoc.as_str())?;
    let name = ddoc.as_str().strip_prefix("_design/").unwrap_or("");
    let mut out = b"{\"name\":".to_vec();
    write_json_string(&mut out, name);
    out.extend_from_slice(
        format!(
            ",\"view_index\":{{\"updates_pending\":{{\"minimum\":{pending},\"preferred\":{pending},\"total\":{pending}}},\
             \"waiting_commit\":false,\"waiting_clients\":{waiting},\"updater_running\":{running},\
             \"update_seq\":{sequence},\"sizes\":{{\"file\":{file},\"external\":{external},\"active\":{active}}},\
             \"signature\":\"{signature}\",\"purge_seq\":{purges},\"language\":",
            pending = info.updates_pending,
            waiting = info.waiting_clients,
            running = info.running,
            sequence = info.update_sequence,
            file = info.file_bytes,
            external = info.external_bytes,
            active = info.active_bytes,
            signature = info.signature,
            purges = info.purge_sequence,
        )
        .as_bytes(),
    );
    write_json_string(&mut out, &info.language);
    out.extend_from_slice(
        format!(
            ",\"compact_running\":{},\"collator_versions\":[\"{}\"]}}}}\n",
            info.compacting, info.collator_version
        )
        .as_bytes(),
    );
    Ok(reply::json(StatusCode::OK, out))
}

/// Answers for `/{db}/_compact/{ddoc}`; the caller is an administrator of the database.
pub(crate) async fn compact(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    ddoc: &str,
) -> Result<Response, ApiError> {
    let id = format!("_design/{ddoc}");
    exchange.app.pod.start_view_compaction(&entry, &id)?;
    Ok(reply::ok(StatusCode::ACCEPTED))
}

/// Answers for `/{db}/_view_cleanup`; the caller is an administrator of the database.
pub(crate) async fn cleanup(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
) -> Result<Response, ApiError> {
    exchange.app.pod.clean_up_views(&entry).await?;
    Ok(reply::ok(StatusCode::ACCEPTED))
}

//! Local documents: `/{db}/_local/{name}`. Replicators keep their checkpoints here.

use std::sync::Arc;

use adea_base::DocumentId;
use adea_documents::json::{Draft, parse_document, write_json_string};
use adea_documents::local::LocalDocument;
use adea_pod::DatabaseEntry;
use http::{StatusCode, header};

use crate::body::Response;
use crate::couch::{document, intake};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// The longest name of a local document, in bytes.
const NAME_MAX: usize = 8_192;

/// What must hold of the name of every local document.
pub(crate) fn check_name(name: &str) -> Result<(), ApiError> {
    if name.is_empty() {
        return Err(ApiError::bad("Invalid _local document id."));
    }
    if name.len() > NAME_MAX {
        return Err(adea_base::InvalidDocumentId::TooLong.into());
    }
    Ok(())
}

/// Answers for `/{db}/_local/{name}`.
pub(crate) async fn route(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    name: &str,
) -> Result<Response, ApiError> {
    check_name(name)?;
    match exchange.method.as_str() {
        "GET" | "HEAD" => {
            let document = exchange
                .app
                .pod
                .read_local(&entry, &exchange.caller, name)?;
            let mut out = Vec::with_capacity(document.json.len() + 64);
            write_document(&mut out, name, &document);
            out.push(b'\n');
            let mut response = reply::json(StatusCode::OK, out);
            reply::set_etag(&mut response, &tag(&document));
            Ok(response)
        }
        "PUT" | "POST" => {
            let body = intake::whole(&mut exchange).await?;
            let draft = intake::parsed(body, parse_document).await??;
            if draft.deleted {
                let number = number_of(&draft)?;
                return delete(exchange, entry, name, number).await;
            }
            put(exchange, entry, name, draft).await
        }
        "DELETE" => {
            if let Some(revision) = exchange.query.get("rev") {
                parse_number(revision)?;
            }
            delete(exchange, entry, name, None).await
        }
        "OPTIONS" => Ok(crate::router::options("DELETE, GET, HEAD, PUT, COPY")),
        "COPY" => copy(exchange, entry, name).await,
        _ => Err(ApiError::MethodNotAllowed("DELETE,GET,HEAD,PUT,COPY")),
    }
}

/// The number in a local revision, `0-number`.
fn parse_number(revision: &str) -> Result<u64, ApiError> {
    revision
        .strip_prefix("0-")
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| ApiError::bad("Invalid rev format"))
}

pub(crate) fn number_of(draft: &Draft) -> Result<Option<u64>, ApiError> {
    match &draft.revision {
        None => Ok(None),
        Some(adea_documents::json::Field::Text(text)) => parse_number(text).map(Some),
        Some(adea_documents::json::Field::Other) => Err(ApiError::bad("Invalid rev format")),
    }
}

/// What a draft makes of a local document: its number is one above the one it names.
pub(crate) fn from_draft(exchange: &Exchange, draft: Draft) -> Result<LocalDocument, ApiError> {
    if !draft.attachments.is_empty() {
        return Err(ApiError::bad("_local documents do not accept attachments."));
    }
    if draft.body.len() as u64 > exchange.options.document_bytes_max {
        return Err(ApiError::DocumentTooLarge("_local".to_owned()));
    }
    Ok(LocalDocument {
        number: number_of(&draft)?.unwrap_or(0).saturating_add(1),
        json: draft.body,
    })
}

async fn put(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    name: &str,
    draft: Draft,
) -> Result<Response, ApiError> {
    let document = from_draft(&exchange, draft)?;
    let revision = format!("0-{}", document.number);
    let etag = tag(&document);
    exchange.app.pod.write_local(&entry, name, document).await?;
    let id = format!("_local/{name}");
    let mut response = reply::written(StatusCode::CREATED, &id, &revision);
    let database = reply::path_segment(&entry.face_name());
    let location = exchange.url(&format!("/{database}/{}", reply::path_segment(&id)));
    reply::set(&mut response, header::LOCATION, &location);
    reply::set_etag(&mut response, &etag);
    Ok(response)
}

async fn delete(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    name: &str,
    _named: Option<u64>,
) -> Result<Response, ApiError> {
    exchange.app.pod.delete_local(&entry, name).await?;
    Ok(reply::written(
        StatusCode::OK,
        &format!("_local/{name}"),
        "0-0",
    ))
}

async fn copy(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    name: &str,
) -> Result<Response, ApiError> {
    let destination = exchange
        .headers
        .get("destination")
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| ApiError::bad("Destination header is mandatory for COPY."))?;
    let (target, revision) = read_destination(destination)?;
    let source = exchange
        .app
        .pod
        .read_local(&entry, &exchange.caller, name)?;
    let Some(target) = target.strip_prefix("_local/").map(str::to_owned) else {
        let id = DocumentId::parse(&target)?;
        let draft = parse_document(&source.json)?;
        return document::put_copy(exchange, entry, id, draft, revision.as_deref()).await;
    };
    put_copy(&exchange, &entry, &target, source.json, revision.as_deref()).await
}

/// Where a document is to be copied to, and which revision of that is replaced.
pub(crate) fn read_destination(destination: &str) -> Result<(String, Option<String>), ApiError> {
    let (target, query) = match destination.split_once('?') {
        Some((target, query)) => (target, Some(query)),
        None => (destination, None),
    };
    let query = crate::wire::query::Query::parse(query)?;
    let target = crate::wire::path::decode(target.trim_start_matches('/'), true)?;
    Ok((target, query.get("rev").map(str::to_owned)))
}

/// Makes a local document of what another one holds.
pub(crate) async fn put_copy(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    name: &str,
    json: Vec<u8>,
    revision: Option<&str>,
) -> Result<Response, ApiError> {
    check_name(name)?;
    let number = revision.map_or(Ok(0), parse_number)?.saturating_add(1);
    let copied = LocalDocument { number, json };
    let pod = &exchange.app.pod;
    pod.write_local(entry, name, copied).await?;
    let (id, revision) = (format!("_local/{name}"), format!("0-{number}"));
    Ok(reply::written(StatusCode::CREATED, &id, &revision))
}

/// Writes a local document as clients read it.
pub(crate) fn write_document(out: &mut Vec<u8>, name: &str, document: &LocalDocument) {
    out.extend_from_slice(b"{\"_id\":");
    write_json_string(out, &format!("_local/{name}"));
    out.extend_from_slice(format!(",\"_rev\":\"0-{}\"", document.number).as_bytes());
    let members = document.json.get(1..document.json.len().saturating_sub(1));
    if let Some(members) = members.filter(|members| !members.is_empty()) {
        out.push(b',');
        out.extend_from_slice(members);
    }
    out.push(b'}');
}

/// A name for the content.
fn tag(document: &LocalDocument) -> String {
    reply::fingerprint(document.number, &document.json)
}

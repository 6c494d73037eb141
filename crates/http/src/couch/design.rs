//! Functions of design documents: `_show`, `_list`, `_update`, `_rewrite`.
//!
//! A function sees a document and the request (`design/request.rs`) and makes the answer
//! (`design/answer.rs`); it changes nothing by itself. Lists (`design/list.rs`) are given the rows of a
//! view, rewriting (`design/rewrite.rs`) leads to another path. What an update function returns is written
//! like any other edit, with the rights of who asked.

pub(crate) mod answer;
mod list;
pub(crate) mod request;
mod rewrite;

use std::sync::Arc;

use adea_base::DocumentId;
use adea_documents::json::{Draft, for_each_item, normalise, parse_document};
use adea_documents::render::Rendering;
use adea_pod::{DatabaseEntry, DesignFunctions, Found, PodError, Told, Which};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use crate::body::Response;
use crate::couch::design::answer::Answer;
use crate::couch::design::request::{Asking, request_object};
use crate::couch::document::{drafted_edit, matches_etag};
use crate::couch::{intake, sending};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// Answers for `/{db}/_design/{ddoc}/_{function}/…`; `function` has the underscore.
pub(crate) async fn route(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    ddoc: DocumentId,
    function: &str,
    rest: &[String],
) -> Result<Response, ApiError> {
    match function {
        "_show" => show(exchange, entry, ddoc, rest).await,
        "_update" => update(exchange, entry, ddoc, rest).await,
        "_list" => list::list(exchange, entry, ddoc, rest).await,
        _ => rewrite::rewrite(exchange, &entry, &ddoc, rest).await,
    }
}

/// The design document, and its function `name` among those of a kind.
fn functions(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    ddoc: &DocumentId,
    kind: &str,
    name: &str,
) -> Result<Arc<DesignFunctions>, ApiError> {
    let pod = &exchange.app.pod;
    let design = pod.design_functions(entry, &exchange.caller, ddoc.as_str())?;
    match design.find(kind, name) {
        Ok(()) => Ok(design),
        Err(missing) => Err(ApiError::NoMember(missing.to_owned())),
    }
}

/// The function's name, and the id of the document that it is called for.
fn name_and_id<'r>(
    rest: &'r [String],
    word: &'static str,
) -> Result<(&'r str, Option<String>), ApiError> {
    match rest.split_first() {
        Some((name, id)) if !name.is_empty() => {
            let id = (!id.is_empty()).then(|| id.join("/"));
            Ok((name, id))
        }
        Some(_) | None => Err(ApiError::InvalidPath(word)),
    }
}

/// The document that a function is called for, unless there is none.
fn found(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    id: Option<&str>,
) -> Result<Option<Found>, ApiError> {
    let Some(id) = id else { return Ok(None) };
    let told = Told {
        revisions: true,
        conflicts: true,
        ..Told::default()
    };
    let pod = &exchange.app.pod;
    match pod.read(entry, &exchange.caller, id, &Which::Winner, told) {
        Ok(found) => Ok(Some(sending::visible(exchange, entry, id, found)?)),
        Err(PodError::Missing | PodError::Deleted) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn as_json(id: Option<&str>, found: Option<&Found>) -> String {
    let (Some(id), Some(found)) = (id, found) else {
        return "null".to_owned();
    };
    let mut out = Vec::with_capacity(found.body.json.len() + 200);
    Rendering {
        id,
        revision: &found.revision,
        deleted: found.deleted,
        json: &found.body.json,
        attachments: &found.body.attachments,
        meta: &found.meta,
        encoding_info: false,
    }
    .write(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// The body of a request that a function is given; those that only read have none.
async fn body_of(exchange: &mut Exchange) -> Result<Bytes, ApiError> {
    if exchange.reads() {
        Ok(Bytes::new())
    } else {
        intake::whole(exchange).await
    }
}

async fn show(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    ddoc: DocumentId,
    rest: &[String],
) -> Result<Response, ApiError> {
    let (name, id) = name_and_id(rest, "show_error")?;
    let design = functions(&exchange, &entry, &ddoc, "shows", name)?;
    let found = found(&exchange, &entry, id.as_deref())?;
    let etag = show_etag(&exchange, &design, found.as_ref());
    if exchange.reads() && matches_etag(&exchange, &etag) {
        let mut response = reply::empty(StatusCode::NOT_MODIFIED);
        reply::set_etag(&mut response, &etag);
        return Ok(response);
    }
    let body = body_of(&mut exchange).await?;
    let asking = Asking {
        id: id.as_deref(),
        body: &body,
    };
    let request = request_object(&exchange, &entry, &asking)?;
    let arguments = [as_json(id.as_deref(), found.as_ref()), request];
    let pod = &exchange.app.pod;
    let returned = pod
        .call_function(&entry, &design, &["shows", name], &arguments)
        .await?;
    let mut response = Answer::read(returned.as_bytes())?.response(StatusCode::OK);
    // It was compared before the function ran, so it is not the function's to choose.
    reply::set_etag(&mut response, &etag);
    let accept = HeaderValue::from_static("Accept");
    response.headers_mut().insert(header::VARY, accept);
    Ok(response)
}

/// What the answer of a show depends on, besides its URL.
fn show_etag(exchange: &Exchange, design: &DesignFunctions, found: Option<&Found>) -> String {
    let document = found.map_or_else(String::new, |found| found.revision.to_string());
    let accept = exchange.header(&header::ACCEPT).unwrap_or("");
    let caller = &exchange.caller;
    let seed = format!(
        "{} {document} {accept} {:?} {:?}",
        design.revision,
        caller.name(),
        caller.roles()
    );
    reply::fingerprint(0, seed.as_bytes())
}

async fn update(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    ddoc: DocumentId,
    rest: &[String],
) -> Result<Response, ApiError> {
    if exchange.reads() {
        return Err(ApiError::MethodNotAllowed("POST,PUT,DELETE,ETC"));
    }
    let (name, id) = name_and_id(rest, "update_error")?;
    let design = functions(&exchange, &entry, &ddoc, "updates", name)?;
    let body = body_of(&mut exchange).await?;
    let found = found(&exchange, &entry, id.as_deref())?;
    let asking = Asking {
        id: id.as_deref(),
        body: &body,
    };
    let request = request_object(&exchange, &entry, &asking)?;
    let arguments = [as_json(id.as_deref(), found.as_ref()), request];
    let pod = &exchange.app.pod;
    let returned = pod
        .call_function(&entry, &design, &["updates", name], &arguments)
        .await?;
    let (document, answer) = document_and_answer(returned.as_bytes())?;
    let answer = Answer::read(&answer)?;
    let Some(draft) = document else {
        return Ok(answer.response(StatusCode::OK));
    };
    let (id, revision) = write(&exchange, &entry, draft).await?;
    let mut response = answer.response(StatusCode::CREATED);
    let set = |response: &mut Response, name: &'static str, value: &str| {
        reply::set(response, http::HeaderName::from_static(name), value);
    };
    set(&mut response, "x-couch-update-newrev", &revision);
    set(&mut response, "x-couch-id", &reply::path_segment(&id));
    Ok(response)
}

/// What an update function returned: the document to be written, if any, and the answer.
fn document_and_answer(returned: &[u8]) -> Result<(Option<Draft>, Vec<u8>), ApiError> {
    let bad = || {
        let reason = "The update function must return an array of a document and an answer.";
        ApiError::BadAnswer("update_error", reason.to_owned())
    };
    let mut items = Vec::with_capacity(2);
    for_each_item(returned, |item| {
        if items.len() < 3 {
            items.push(normalise(item)?);
        }
        Ok::<_, ApiError>(())
    })?;
    let [document, answer] = <[Vec<u8>; 2]>::try_from(items).map_err(|_| bad())?;
    let draft = if document.starts_with(b"{") {
        Some(parse_document(&document)?)
    } else {
        None
    };
    Ok((draft, answer))
}

/// Writes what an update function returned, like any other edit of who asked.
async fn write(
    exchange: &Exchange,
    entry: &Arc<DatabaseEntry>,
    mut draft: Draft,
) -> Result<(String, String), ApiError> {
    let id = intake::id_of(draft.id.as_ref())?.unwrap_or("").to_owned();
    let id = DocumentId::parse(&id)?;
    intake::check_draft(exchange, &id, &draft)?;
    let edit = drafted_edit(&mut draft, None, true)?;
    let pod = &exchange.app.pod;
    let prepared = pod
        .prepare(entry, &exchange.caller, id, draft, edit, Vec::new())
        .await?;
    let id = prepared.id().as_str().to_owned();
    let revision = pod.write(entry, prepared).await?;
    Ok((id, revision.to_string()))
}

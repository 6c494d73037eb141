//! One document: `GET`, `PUT`, `DELETE` and `COPY` of `/{db}/{doc}`.

mod form;

use std::sync::Arc;

use adea_base::DocumentId;
use adea_documents::json::{AttachmentContent, AttachmentField, Draft, parse_document};
use adea_documents::revision::{Revision, RevisionId};
use adea_pod::{DatabaseEntry, DraftedEdit, PodError, Prepared, StoredFile, Told, Which};
use http::{Method, StatusCode, header};

use crate::App;
use crate::body::Response;
use crate::couch::intake::{self, check_draft, revision_of};
use crate::couch::local;
use crate::couch::sending::{self, Asked};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;
use crate::wire::multipart_reader::{Boundary, BoundaryError, Event, MultipartReader, PartMatcher};

/// Answers for `/{db}/{doc}`.
pub(crate) async fn route(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    id: DocumentId,
) -> Result<Response, ApiError> {
    match exchange.method.as_str() {
        "GET" | "HEAD" => get(exchange, &entry, &id).await,
        "PUT" => put(exchange, entry, id).await,
        "DELETE" => delete(exchange, entry, id).await,
        "COPY" => copy(exchange, entry, id).await,
        "POST" => form::post(exchange, entry, id).await,
        "OPTIONS" => Ok(crate::router::options("DELETE, GET, HEAD, POST, PUT, COPY")),
        _ => Err(ApiError::MethodNotAllowed("DELETE,GET,HEAD,POST,PUT,COPY")),
    }
}

async fn get(
    exchange: Exchange,
    entry: &Arc<DatabaseEntry>,
    id: &DocumentId,
) -> Result<Response, ApiError> {
    let asked = Asked::of(&exchange.query)?;
    let query = &exchange.query;
    if let Some(open) = query.get("open_revs") {
        let revisions = if open == "all" {
            None
        } else {
            Some(crate::wire::query::revisions(open)?)
        };
        return sending::open_revisions(exchange, entry, id, revisions, &asked).await;
    }
    let which = match query.revision("rev")? {
        None => Which::Winner,
        Some(revision) => Which::Revision {
            revision,
            latest: query.is_true("latest"),
        },
    };
    let pod = &exchange.app.pod;
    let found = pod.read(entry, &exchange.caller, id.as_str(), &which, asked.told)?;
    let found = sending::visible(&exchange, entry, id.as_str(), found)?;
    let etag = asked.is_plain().then(|| found.revision.to_string());
    if let Some(etag) = &etag
        && matches_etag(&exchange, etag)
    {
        let mut response = reply::empty(StatusCode::NOT_MODIFIED);
        reply::set_etag(&mut response, etag);
        return Ok(response);
    }
    let mut response = sending::document(exchange, id.as_str(), found, &asked).await?;
    if let Some(etag) = etag {
        reply::set_etag(&mut response, &etag);
    }
    Ok(response)
}

/// Whether the client has what it asks for.
pub(crate) fn matches_etag(exchange: &Exchange, etag: &str) -> bool {
    exchange
        .header(&header::IF_NONE_MATCH)
        .is_some_and(|known| {
            known
                .split(',')
                .map(|tag| tag.trim().trim_start_matches("W/"))
                .any(|tag| tag == "*" || tag.trim_matches('"') == etag)
        })
}

/// The revision named by the query or the `If-Match` header.
pub(crate) fn named_revision(exchange: &Exchange) -> Result<Option<Revision>, ApiError> {
    if let Some(revision) = exchange.query.revision("rev")? {
        return Ok(Some(revision));
    }
    match exchange.header(&header::IF_MATCH) {
        None => Ok(None),
        Some(tag) => Ok(Some(Revision::parse(tag.trim().trim_matches('"'))?)),
    }
}

/// How a draft is to be written, from what it and the request say.
pub(crate) fn drafted_edit(
    draft: &mut Draft,
    named: Option<Revision>,
    new_edits: bool,
) -> Result<DraftedEdit, ApiError> {
    let own = revision_of(draft.revision.as_ref())?;
    if let (Some(own), Some(named)) = (&own, &named)
        && own != named
    {
        return Err(ApiError::bad(
            "Document rev from request body and query string have different values",
        ));
    }
    let revision = named.or(own);
    if new_edits {
        let based_on = revision.or_else(|| {
            // Without `_rev`, the newest of `_revisions` says the same.
            let known = draft.revisions.as_ref()?;
            Some(Revision {
                generation: known.start,
                id: known.ids.first()?.clone(),
            })
        });
        return Ok(DraftedEdit::Edit(based_on));
    }
    let path: Option<(u64, Vec<RevisionId>)> = match draft.revisions.take() {
        Some(known) if !known.ids.is_empty() => Some((known.start, known.ids)),
        Some(_) | None => revision.map(|revision| (revision.generation, vec![revision.id])),
    };
    let (start, ids) = path.ok_or_else(|| {
        ApiError::bad(
            "When `new_edits: false`, the document needs `_rev` or `_revisions` specified",
        )
    })?;
    Ok(DraftedEdit::Replicated(start, ids))
}

async fn put(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    id: DocumentId,
) -> Result<Response, ApiError> {
    let new_edits = exchange.query.get("new_edits") != Some("false");
    let content_type = exchange.header(&header::CONTENT_TYPE).unwrap_or("");
    let prepared = match Boundary::from_content_type(content_type) {
        Ok(boundary) => related(&mut exchange, &entry, id, &boundary, new_edits).await?,
        Err(BoundaryError::NotMultipart) => {
            let body = intake::whole(&mut exchange).await?;
            let draft = intake::parsed(body, parse_document).await??;
            prepare(&exchange, &entry, id, draft, new_edits, Vec::new()).await?
        }
        Err(error) => return Err(ApiError::bad(error.to_string())),
    };
    write(exchange, entry, prepared).await
}

/// Checks a draft and prepares it.
async fn prepare(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    id: DocumentId,
    mut draft: Draft,
    new_edits: bool,
    following: Vec<StoredFile>,
) -> Result<Prepared, ApiError> {
    check_draft(exchange, &id, &draft)?;
    let named = named_revision(exchange)?;
    let edit = drafted_edit(&mut draft, named, new_edits)?;
    let pod = &exchange.app.pod;
    Ok(pod
        .prepare(entry, &exchange.caller, id, draft, edit, following)
        .await?)
}

/// Writes a prepared draft and answers.
async fn write(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    prepared: Prepared,
) -> Result<Response, ApiError> {
    // What the client takes for the document's access signature, as a proof that it knows it.
    let signature = exchange.query.get("signature").map(str::to_owned);
    let prepared = prepared.of_signature(signature);
    let id = prepared.id().clone();
    let deleted_by_request = exchange.method == Method::DELETE;
    if exchange.query.get("batch") == Some("ok") {
        return Ok(write_later(&exchange.app, entry, prepared));
    }
    let revision = exchange.app.pod.write(&entry, prepared).await?.to_string();
    let status = if deleted_by_request {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let mut response = reply::written(status, id.as_str(), &revision);
    reply::set_etag(&mut response, &revision);
    if !deleted_by_request {
        let location = exchange.url(&document_path(&entry, id.as_str()));
        reply::set(&mut response, header::LOCATION, &location);
    }
    Ok(response)
}

/// The path of a document, as `Location` has it.
pub(crate) fn document_path(entry: &DatabaseEntry, id: &str) -> String {
    let database = reply::path_segment(&entry.face_name());
    match id.strip_prefix("_design/") {
        Some(name) => format!("/{database}/_design/{}", reply::path_segment(name)),
        None => format!("/{database}/{}", reply::path_segment(id)),
    }
}

/// `batch=ok`: accepted, not yet written, and nobody is told if it fails; as `CouchDB` has it.
pub(crate) fn write_later(
    app: &Arc<App>,
    entry: Arc<DatabaseEntry>,
    prepared: Prepared,
) -> Response {
    let mut out = b"{\"ok\":true,\"id\":".to_vec();
    adea_documents::json::write_json_string(&mut out, prepared.id().as_str());
    out.extend_from_slice(b"}\n");
    let app = Arc::clone(app);
    tokio::spawn(async move {
        if let Err(error) = app.pod.write(&entry, prepared).await {
            tracing::info!(%error, "a write with batch=ok was refused");
        }
    });
    reply::json(StatusCode::ACCEPTED, out)
}

async fn delete(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    id: DocumentId,
) -> Result<Response, ApiError> {
    let named = named_revision(&exchange)?;
    // A document that never was is missing; one without a revision named is a conflict.
    let pod = &exchange.app.pod;
    pod.open_revisions(&entry, &exchange.caller, id.as_str(), None, false)?;
    let draft = Draft {
        deleted: true,
        body: b"{}".to_vec(),
        ..parse_document(b"{}")?
    };
    let edit = DraftedEdit::Edit(named);
    let prepared = pod
        .prepare(&entry, &exchange.caller, id, draft, edit, Vec::new())
        .await?;
    write(exchange, entry, prepared).await
}

async fn copy(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    id: DocumentId,
) -> Result<Response, ApiError> {
    let destination = exchange
        .headers
        .get("destination")
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| ApiError::bad("Destination header is mandatory for COPY."))?;
    let (target, revision) = local::read_destination(destination)?;
    let to_local = target.strip_prefix("_local/").map(str::to_owned);
    let which = match exchange.query.revision("rev")? {
        None => Which::Winner,
        Some(revision) => Which::Revision {
            revision,
            latest: false,
        },
    };
    let pod = &exchange.app.pod;
    let told = Told::default();
    let found = pod.read(&entry, &exchange.caller, id.as_str(), &which, told)?;
    let found = sending::visible(&exchange, &entry, id.as_str(), found)?;
    if let Some(name) = to_local {
        let (json, revision) = (found.body.json, revision.as_deref());
        return local::put_copy(&exchange, &entry, &name, json, revision).await;
    }
    let target = DocumentId::parse(&target)?;
    let revision = revision.as_deref().map(Revision::parse).transpose()?;
    let edit = DraftedEdit::Edit(revision);
    // Where documents have rules, a copy obeys them, too.
    let prepared = if entry.name.is_users() || entry.holds_descriptions() {
        let draft = parse_document(&found.body.json)?;
        pod.prepare(&entry, &exchange.caller, target, draft, edit, Vec::new())
            .await?
    } else {
        pod.copied(&entry, &exchange.caller, target, &found.body, edit)?
    };
    write(exchange, entry, prepared).await
}

/// Makes a document of what a local one holds.
pub(crate) async fn put_copy(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    id: DocumentId,
    draft: Draft,
    revision: Option<&str>,
) -> Result<Response, ApiError> {
    check_draft(&exchange, &id, &draft)?;
    let edit = DraftedEdit::Edit(revision.map(Revision::parse).transpose()?);
    let pod = &exchange.app.pod;
    let prepared = pod
        .prepare(&entry, &exchange.caller, id, draft, edit, Vec::new())
        .await?;
    write(exchange, entry, prepared).await
}

/// The most parts of a multipart request.
const PARTS_MAX: usize = 10_000;
/// What the contents of one request may hold in memory until they are written; those behind that
/// become files, however short.
const HELD_MAX: usize = 1 << 20;
/// The most bytes behind the last boundary.
const EPILOGUE_MAX: usize = 64 << 10;

/// Reads a document with its attachments in parts behind it.
async fn related(
    exchange: &mut Exchange,
    entry: &DatabaseEntry,
    id: DocumentId,
    boundary: &Boundary,
    new_edits: bool,
) -> Result<Prepared, ApiError> {
    let mut reader = MultipartReader::new(boundary, PARTS_MAX);
    let json = document_part(exchange, &mut reader).await?;
    let draft = intake::parsed(json, parse_document).await??;
    check_draft(exchange, &id, &draft)?;
    let stored = attachment_parts(exchange, &mut reader, &draft).await?;
    read_epilogue(exchange).await?;
    prepare(exchange, entry, id, draft, new_edits, stored).await
}

/// What comes after the last boundary means nothing, and is bounded.
async fn read_epilogue(exchange: &mut Exchange) -> Result<(), ApiError> {
    let mut epilogue = 0;
    while let Some(piece) = intake::next_piece(&mut exchange.body).await? {
        epilogue += piece.len();
        if epilogue > EPILOGUE_MAX {
            return Err(ApiError::TooLarge);
        }
    }
    Ok(())
}

/// Reads the first part, which is the document's JSON.
async fn document_part(
    exchange: &mut Exchange,
    reader: &mut MultipartReader,
) -> Result<bytes::Bytes, ApiError> {
    loop {
        match next_event(exchange, reader).await? {
            Some(Event::PartStart(_)) => return held_part(exchange, reader).await,
            Some(Event::Data(_) | Event::PartEnd) => {}
            Some(Event::End) | None => {
                return Err(ApiError::bad("The request has no document"));
            }
        }
    }
}

/// The whole of the part that has just begun, which is held as other bodies are.
async fn held_part(
    exchange: &mut Exchange,
    reader: &mut MultipartReader,
) -> Result<bytes::Bytes, ApiError> {
    let mut held = Vec::new();
    loop {
        match next_event(exchange, reader).await? {
            Some(Event::Data(data)) => {
                let length = (held.len() + data.len()) as u64;
                if length > intake::JSON_BODY_MAX {
                    return Err(ApiError::TooLarge);
                }
                intake::make_room(exchange, length, intake::JSON_BODY_MAX).await?;
                held.extend_from_slice(&data);
            }
            Some(Event::PartEnd) => return Ok(bytes::Bytes::from(held)),
            Some(Event::PartStart(_) | Event::End) | None => {
                return Err(ApiError::bad("A part has no end"));
            }
        }
    }
}

/// Stores the contents that follow, and gives them in the order of the draft.
async fn attachment_parts(
    exchange: &mut Exchange,
    reader: &mut MultipartReader,
    draft: &Draft,
) -> Result<Vec<StoredFile>, ApiError> {
    let following: Vec<&AttachmentField> = draft
        .attachments
        .iter()
        .filter(|field| field.content == AttachmentContent::Follows)
        .collect();
    let mut matcher = PartMatcher::new(following.iter().map(|field| field.name.as_str()));
    let mut stored: Vec<(usize, StoredFile)> = Vec::new();
    let mut held = 0;
    loop {
        match next_event(exchange, reader).await? {
            Some(Event::PartStart(head)) => {
                let place = matcher.place(head.filename.as_deref());
                let field = place.and_then(|place| following.get(place));
                let (Some(place), Some(field)) = (place, field) else {
                    return Err(ApiError::bad("A part belongs to no attachment"));
                };
                let to_file = held >= HELD_MAX;
                let part = attachment_part(exchange, reader, field, to_file).await?;
                held += part.held_bytes();
                stored.push((place, part));
            }
            Some(Event::Data(_) | Event::PartEnd) => {}
            Some(Event::End) | None => break,
        }
    }
    if let Some(name) = matcher.missing().next() {
        return Err(ApiError::bad(format!(
            "Attachment {name} was announced and did not come"
        )));
    }
    stored.sort_by_key(|(place, _)| *place);
    Ok(stored.into_iter().map(|(_, stored)| stored).collect())
}

/// Stores the content of the part that has just begun.
async fn attachment_part(
    exchange: &mut Exchange,
    reader: &mut MultipartReader,
    field: &AttachmentField,
    to_file: bool,
) -> Result<StoredFile, ApiError> {
    let encoding = adea_pod::encoding_of(field.encoding.as_deref());
    let content_type = adea_pod::content_type_of(field.content_type.as_deref());
    let pod = &exchange.app.pod;
    let mut upload = if to_file {
        pod.begin_upload_to_file(content_type, encoding)
    } else {
        pod.begin_upload(content_type, encoding)
    };
    let mut received = 0;
    loop {
        match next_event(exchange, reader).await? {
            Some(Event::Data(data)) => {
                received += data.len() as u64;
                upload.write(data).await.map_err(PodError::from)?;
            }
            Some(Event::PartEnd) => break,
            Some(Event::PartStart(_) | Event::End) | None => {
                return Err(ApiError::bad("A part has no end"));
            }
        }
    }
    let encoded = field
        .encoding
        .as_deref()
        .is_some_and(|encoding| encoding != "identity");
    let announced = if encoded {
        field.encoded_length
    } else {
        field.length
    };
    if announced.is_some_and(|announced| announced != received) {
        return Err(ApiError::bad(format!(
            "Attachment {} has {received} bytes, and was announced with another length",
            field.name
        )));
    }
    let pod = &exchange.app.pod;
    let mut stored = pod.finish_upload(upload, &field.name, content_type).await?;
    stored.set_revision_position(field.revpos.unwrap_or(0));
    if encoded
        && let Some(length) = field.length
        && !stored.confirm_length(length)
    {
        return Err(ApiError::bad(format!(
            "Attachment {} is not {length} bytes long without its encoding",
            field.name
        )));
    }
    Ok(stored)
}

/// The next event of a multipart body.
async fn next_event(
    exchange: &mut Exchange,
    reader: &mut MultipartReader,
) -> Result<Option<Event>, ApiError> {
    loop {
        let event = reader
            .next_event()
            .map_err(|error| ApiError::bad(error.to_string()))?;
        if event.is_some() {
            return Ok(event);
        }
        match intake::next_piece(&mut exchange.body).await? {
            Some(piece) => reader.feed(piece),
            None => {
                reader
                    .finish()
                    .map_err(|error| ApiError::bad(error.to_string()))?;
                return Ok(None);
            }
        }
    }
}

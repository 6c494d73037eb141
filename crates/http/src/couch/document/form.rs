//! A document sent by a form: `POST /{db}/{doc}` as `multipart/form-data`.
//!
//! The field `_doc` holds the document, or `_rev` names the revision that is to be kept; each file in
//! `_attachments` becomes an attachment, in place of one of its name. A browser sends such a form for
//! any page, with the cookie of whoever looks at it; so the page must be one of this server.

use std::sync::Arc;

use adea_base::DocumentId;
use adea_documents::json::{AttachmentContent, AttachmentField, Draft, Field, parse_document};
use adea_documents::revision::Revision;
use adea_pod::{DatabaseEntry, PodError, Prepared, StoredFile, Told, Which};
use bytes::Bytes;
use http::header;

use crate::body::Response;
use crate::couch::document::{
    HELD_MAX, PARTS_MAX, held_part, next_event, prepare, read_epilogue, write,
};
use crate::couch::intake::{self, check_attachment_name};
use crate::couch::sending;
use crate::error::ApiError;
use crate::router::Exchange;
use crate::wire::multipart_reader::{Boundary, BoundaryError, Event, MultipartReader, PartHeaders};

/// What a form brought.
#[derive(Default)]
struct Form {
    document: Option<Bytes>,
    revision: Option<Bytes>,
    files: Vec<(AttachmentField, StoredFile)>,
}

/// Takes a form.
pub(super) async fn post(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    id: DocumentId,
) -> Result<Response, ApiError> {
    require_own_page(&exchange)?;
    let content_type = exchange.header(&header::CONTENT_TYPE).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    if !essence.eq_ignore_ascii_case("multipart/form-data") {
        return Err(ApiError::ContentType("multipart/form-data"));
    }
    let boundary = Boundary::from_content_type(content_type)
        .map_err(|error: BoundaryError| ApiError::bad(error.to_string()))?;
    entry.check_id(&id).map_err(PodError::from)?;
    let form = read(&mut exchange, &boundary).await?;
    let prepared = draft(&exchange, &entry, id, form).await?;
    write(exchange, entry, prepared).await
}

fn require_own_page(exchange: &Exchange) -> Result<(), ApiError> {
    let page = exchange
        .header(&header::REFERER)
        .ok_or_else(|| ApiError::bad("Referer header required."))?;
    let host = page
        .split_once("://")
        .map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(""));
    if host.is_some_and(|host| host.eq_ignore_ascii_case(exchange.host())) {
        Ok(())
    } else {
        Err(ApiError::bad("Referer header must match host."))
    }
}

async fn read(exchange: &mut Exchange, boundary: &Boundary) -> Result<Form, ApiError> {
    let mut reader = MultipartReader::new(boundary, PARTS_MAX);
    let mut form = Form::default();
    let mut held = 0;
    loop {
        match next_event(exchange, &mut reader).await? {
            Some(Event::PartStart(head)) => match head.field.as_deref() {
                Some("_doc") => form.document = Some(held_part(exchange, &mut reader).await?),
                Some("_rev") => form.revision = Some(held_part(exchange, &mut reader).await?),
                Some("_attachments") => {
                    if let Some(stored) = file(exchange, &mut reader, &head, held).await? {
                        held += stored.1.held_bytes();
                        form.files.retain(|(known, _)| known.name != stored.0.name);
                        form.files.push(stored);
                    }
                }
                // Buttons and the like.
                Some(_) | None => {}
            },
            Some(Event::Data(_) | Event::PartEnd) => {}
            Some(Event::End) | None => break,
        }
    }
    read_epilogue(exchange).await?;
    Ok(form)
}

/// Stores a file of the form; `None` if none was chosen.
async fn file(
    exchange: &mut Exchange,
    reader: &mut MultipartReader,
    head: &PartHeaders,
    held: usize,
) -> Result<Option<(AttachmentField, StoredFile)>, ApiError> {
    // What follows of it is passed over by who reads the form.
    let Some(name) = head.filename.clone() else {
        return Ok(None);
    };
    check_attachment_name(&name)?;
    let field = AttachmentField {
        name,
        content_type: head.content_type.clone(),
        content: AttachmentContent::Follows,
        digest: None,
        length: None,
        encoding: None,
        encoded_length: None,
        revpos: None,
    };
    let stored = super::attachment_part(exchange, reader, &field, held >= HELD_MAX).await?;
    Ok(Some((field, stored)))
}

/// What the form makes of the document.
async fn draft(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    id: DocumentId,
    form: Form,
) -> Result<Prepared, ApiError> {
    let (fields, files): (Vec<_>, Vec<_>) = form.files.into_iter().unzip();
    let mut draft = match (form.document, form.revision) {
        (Some(document), _) => intake::parsed(document, parse_document).await??,
        (None, Some(revision)) => kept(exchange, entry, &id, &revision)?,
        (None, None) => {
            return Err(ApiError::bad("The form needs a field `_doc` or `_rev`."));
        }
    };
    // As with single attachments, the newest come first.
    let mut attachments = fields;
    for known in draft.attachments {
        if attachments.iter().all(|field| field.name != known.name) {
            attachments.push(known);
        }
    }
    draft.attachments = attachments;
    prepare(exchange, entry, id, draft, true, files).await
}

/// The revision that is named, to be kept as it is.
fn kept(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    id: &DocumentId,
    revision: &[u8],
) -> Result<Draft, ApiError> {
    let text = std::str::from_utf8(revision).unwrap_or("").trim();
    let which = Which::Revision {
        revision: Revision::parse(text)?,
        latest: false,
    };
    let pod = &exchange.app.pod;
    let told = Told::default();
    let found = pod.read(entry, &exchange.caller, id.as_str(), &which, told)?;
    let found = sending::visible(exchange, entry, id.as_str(), found)?;
    let stubs = found.body.attachments.iter().map(|known| AttachmentField {
        name: known.name.clone(),
        content_type: None,
        content: AttachmentContent::Stub,
        digest: None,
        length: None,
        encoding: None,
        encoded_length: None,
        revpos: None,
    });
    Ok(Draft {
        revision: Some(Field::Text(text.to_owned())),
        attachments: stubs.collect(),
        ..parse_document(&found.body.json)?
    })
}

//! One attachment: `/{db}/{doc}/{name…}`. Its bytes are streamed both ways.

use std::sync::Arc;

use adea_base::DocumentId;
use adea_documents::record::{Attachment, Encoding};
use adea_files::Chunks;
use adea_pod::{DatabaseEntry, DraftedEdit, Found, Pod, PodError, Told, Which};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use crate::body::{Body, BodyError, Response};
use crate::couch::document::{document_path, matches_etag, named_revision};
use crate::couch::{intake, sending};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// Answers for `/{db}/{doc}/{name…}`.
pub(crate) async fn route(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    id: DocumentId,
    segments: &[String],
) -> Result<Response, ApiError> {
    let name = segments.join("/");
    if entry.name.is_users() && !exchange.reads() {
        // The rules for accounts know nothing of attachments.
        exchange.require_server_admin()?;
    }
    if entry.holds_descriptions() && !exchange.reads() {
        // Nor do those for descriptions, and whoever sees one without its secrets would write it so.
        entry.access(&exchange.caller).require_admin()?;
    }
    match exchange.method.as_str() {
        "GET" | "HEAD" => get(exchange, &entry, &id, &name).await,
        "PUT" => put(exchange, entry, id, name).await,
        "DELETE" => delete(exchange, entry, id, name).await,
        "OPTIONS" => Ok(crate::router::options("DELETE, GET, HEAD, PUT")),
        _ => Err(ApiError::MethodNotAllowed("GET,HEAD,PUT,DELETE")),
    }
}

fn find(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    id: &DocumentId,
    revision: Option<adea_documents::revision::Revision>,
) -> Result<Found, ApiError> {
    let which = match revision {
        None => Which::Winner,
        Some(revision) => Which::Revision {
            revision,
            latest: false,
        },
    };
    let pod = &exchange.app.pod;
    let found = pod.read(
        entry,
        &exchange.caller,
        id.as_str(),
        &which,
        Told::default(),
    )?;
    sending::visible(exchange, entry, id.as_str(), found)
}

async fn get(
    exchange: Exchange,
    entry: &DatabaseEntry,
    id: &DocumentId,
    name: &str,
) -> Result<Response, ApiError> {
    let found = find(&exchange, entry, id, exchange.query.revision("rev")?)?;
    let attachment = found
        .body
        .attachments
        .into_iter()
        .find(|attachment| attachment.name == name)
        .ok_or(ApiError::NotFound("Document is missing attachment"))?;
    let etag = BASE64.encode(attachment.md5);
    if matches_etag(&exchange, &etag) {
        let mut response = reply::empty(StatusCode::NOT_MODIFIED);
        reply::set_etag(&mut response, &etag);
        return Ok(response);
    }
    let accepts_gzip = exchange
        .header(&header::ACCEPT_ENCODING)
        .is_some_and(|accepted| {
            accepted
                .split(',')
                .any(|coding| matches!(coding.trim().split(';').next(), Some("gzip")))
        });
    let reader = exchange.app.pod.open_attachment(&attachment).await?;
    let mut response = match attachment.encoding {
        Encoding::Gzip if accepts_gzip => {
            let mut response = content(reader.read_all(), Some(attachment.stored_length));
            let gzip = HeaderValue::from_static("gzip");
            response
                .headers_mut()
                .insert(header::CONTENT_ENCODING, gzip);
            response
        }
        Encoding::Gzip => {
            // Kept as it was uploaded, nobody knows how long it is without.
            let known = attachment.length != attachment.stored_length;
            content(reader.decompress(), known.then_some(attachment.length))
        }
        Encoding::Identity => ranged(&exchange, &attachment, &reader)?,
    };
    let headers = response.headers_mut();
    let ranges = match attachment.encoding {
        Encoding::Gzip => "none",
        Encoding::Identity => "bytes",
    };
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static(ranges));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox"),
    );
    let content_type = without_controls(&attachment.content_type);
    reply::set(&mut response, header::CONTENT_TYPE, &content_type);
    reply::set_etag(&mut response, &etag);
    Ok(response)
}

fn without_controls(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// The part of an attachment that was asked for, or all of it.
fn ranged(
    exchange: &Exchange,
    attachment: &Attachment,
    reader: &adea_files::BlobReader,
) -> Result<Response, ApiError> {
    let whole = attachment.stored_length;
    let asked = exchange.header(&header::RANGE).and_then(parse_range);
    let Some((first, last)) = asked else {
        return Ok(content(reader.read_all(), Some(whole)));
    };
    let (first, last) = match (first, last) {
        (Some(first), last) => (first, last.unwrap_or(u64::MAX).min(whole.saturating_sub(1))),
        (None, Some(suffix)) => (whole.saturating_sub(suffix), whole.saturating_sub(1)),
        (None, None) => return Err(ApiError::Range),
    };
    if first > last || first >= whole {
        return Err(ApiError::Range);
    }
    let length = last - first + 1;
    let chunks = reader.read_range(first, length).map_err(PodError::from)?;
    let mut response = content(chunks, Some(length));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let range = format!("bytes {first}-{last}/{whole}");
    reply::set(&mut response, header::CONTENT_RANGE, &range);
    Ok(response)
}

/// One range of bytes: first and last, or how many at the end. Several are answered whole.
fn parse_range(header: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (first, last) = header.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| match text.trim() {
        "" => Some(None),
        text => text.parse().ok().map(Some),
    };
    Some((number(first)?, number(last)?))
}

fn content(chunks: Chunks, length: Option<u64>) -> Response {
    let mut response = Response::new(Body::stream(ChunksBody { chunks, length }));
    if let Some(length) = length {
        let value = HeaderValue::from(length);
        response.headers_mut().insert(header::CONTENT_LENGTH, value);
    }
    response
}

/// A stream of chunks as a body.
struct ChunksBody {
    chunks: Chunks,
    length: Option<u64>,
}

impl http_body::Body for ChunksBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        self.chunks.poll_next(cx).map(|next| {
            next.map(|chunk| {
                chunk
                    .map(http_body::Frame::data)
                    .map_err(|error| BodyError::new(error.to_string()))
            })
        })
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.length.map_or_else(
            http_body::SizeHint::default,
            http_body::SizeHint::with_exact,
        )
    }
}

async fn put(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    id: DocumentId,
    name: String,
) -> Result<Response, ApiError> {
    intake::check_attachment_name(&name)?;
    let named = named_revision(&exchange)?;
    let before = match find(&exchange, &entry, &id, named.clone()) {
        Ok(found) => Some(found),
        Err(ApiError::Pod(PodError::Missing | PodError::Deleted)) if named.is_none() => None,
        Err(ApiError::Pod(PodError::Missing)) => {
            return Err(PodError::Write(adea_documents::WriteError::Conflict).into());
        }
        Err(error) => return Err(error),
    };
    let content_type = exchange
        .header(&header::CONTENT_TYPE)
        .map_or("application/octet-stream", str::trim)
        .to_owned();
    let encoding = match exchange.header(&header::CONTENT_ENCODING) {
        None | Some("identity") => Encoding::Identity,
        Some(coding) if coding.eq_ignore_ascii_case("gzip") => Encoding::Gzip,
        Some(_) => return Err(ApiError::ContentType("of encoding gzip or identity")),
    };
    let declared = exchange
        .header(&header::CONTENT_LENGTH)
        .and_then(|text| text.parse::<u64>().ok());
    if declared.is_some_and(|length| length > exchange.options.attachment_bytes_max) {
        return Err(ApiError::TooLarge);
    }
    let mut upload = exchange.app.pod.begin_upload(&content_type, encoding);
    while let Some(piece) = intake::next_piece(&mut exchange.body).await? {
        upload.write(piece).await.map_err(PodError::from)?;
    }
    let pod = &exchange.app.pod;
    let stored = pod.finish_upload(upload, &name, &content_type).await?;
    let edit = DraftedEdit::Edit(named.clone());
    let prepared = match &before {
        Some(found) => Pod::with_attachments(
            &entry,
            &exchange.caller,
            id.clone(),
            &found.body,
            edit,
            None,
            Some(stored),
        )?,
        None => {
            let empty = adea_documents::record::Body {
                attachments: Vec::new(),
                json: b"{}".to_vec(),
            };
            Pod::with_attachments(
                &entry,
                &exchange.caller,
                id.clone(),
                &empty,
                edit,
                None,
                Some(stored),
            )?
        }
    };
    let revision = pod.write(&entry, prepared).await?.to_string();
    let mut response = reply::written(StatusCode::CREATED, id.as_str(), &revision);
    let path = document_path(&entry, id.as_str());
    let location = exchange.url(&format!("{path}/{}", reply::path_segment(&name)));
    reply::set(&mut response, header::LOCATION, &location);
    Ok(response)
}

async fn delete(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    id: DocumentId,
    name: String,
) -> Result<Response, ApiError> {
    let named = named_revision(&exchange)?;
    let found = find(&exchange, &entry, &id, named.clone())?;
    if named.is_none() {
        return Err(PodError::Write(adea_documents::WriteError::Conflict).into());
    }
    let edit = DraftedEdit::Edit(named);
    let prepared = Pod::with_attachments(
        &entry,
        &exchange.caller,
        id.clone(),
        &found.body,
        edit,
        Some(&name),
        None,
    )?;
    let revision = exchange.app.pod.write(&entry, prepared).await?.to_string();
    let mut response = reply::written(StatusCode::OK, id.as_str(), &revision);
    reply::set_etag(&mut response, &revision);
    Ok(response)
}

//! Taking a request's body in, within bounds: whole for JSON, piece by piece for attachments.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adea_base::DocumentId;
use adea_documents::json::{Draft, Field};
use adea_documents::revision::Revision;
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http::header;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use crate::error::ApiError;
use crate::router::Exchange;

/// The longest JSON body that is held in memory.
pub(crate) const JSON_BODY_MAX: u64 = 128 << 20;
/// The longest silence of a peer in the middle of a body.
const STALL: std::time::Duration = std::time::Duration::from_secs(60);

/// A request's body, and whether it was read to its end.
pub(crate) struct Intake {
    body: Incoming,
    /// Shared with who answers: a connection whose request was not read ends with the answer.
    unread: Arc<AtomicBool>,
}

impl Intake {
    /// Takes in `body`.
    pub(crate) fn new(body: Incoming) -> Self {
        let unread = !body.is_end_stream();
        Self {
            body,
            unread: Arc::new(AtomicBool::new(unread)),
        }
    }

    /// Tells whether something was left unread.
    pub(crate) fn unread(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.unread)
    }
}

/// The next piece of a body; `None` at its end.
pub(crate) async fn next_piece(intake: &mut Intake) -> Result<Option<Bytes>, ApiError> {
    let body = &mut intake.body;
    loop {
        let frame = tokio::time::timeout(STALL, body.frame())
            .await
            .map_err(|_| ApiError::Incomplete("the peer was silent for too long".to_owned()))?;
        match frame {
            None => {
                intake.unread.store(false, Ordering::Relaxed);
                return Ok(None);
            }
            Some(Err(error)) => return Err(ApiError::Incomplete(error.to_string())),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// A body up to this length is simply held.
const UNCOUNTED: u64 = 1 << 20;
/// What all larger bodies together may hold, in steps of [`UNCOUNTED`].
pub(crate) const LARGE_BODIES: usize = 512;
/// The longest wait for room.
const ROOM_WAIT: std::time::Duration = std::time::Duration::from_secs(30);

/// Waits until there is room for a body of `length` bytes; it is given back with the exchange.
async fn make_room(exchange: &mut Exchange, length: u64) -> Result<(), ApiError> {
    let steps = u32::try_from(length.div_ceil(UNCOUNTED)).unwrap_or(u32::MAX);
    let room = Arc::clone(&exchange.app.large_bodies).acquire_many_owned(steps);
    let room = tokio::time::timeout(ROOM_WAIT, room).await;
    exchange.room = Some(room.ok().and_then(Result::ok).ok_or(ApiError::Busy)?);
    Ok(())
}

/// The whole body, decompressed if it was sent so.
pub(crate) async fn whole(exchange: &mut Exchange) -> Result<Bytes, ApiError> {
    let limit = JSON_BODY_MAX.min(exchange.app.options.request_bytes_max);
    let declared = exchange
        .header(&header::CONTENT_LENGTH)
        .and_then(|text| text.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(ApiError::TooLarge);
    }
    if let Some(length) = declared.filter(|length| *length > UNCOUNTED) {
        make_room(exchange, length).await?;
    }
    let first = next_piece(&mut exchange.body).await?;
    let Some(first) = first else {
        return Ok(Bytes::new());
    };
    let mut body = first;
    if let Some(second) = next_piece(&mut exchange.body).await? {
        let expected = declared.and_then(|length| usize::try_from(length).ok());
        let mut gathered = BytesMut::with_capacity(
            expected
                .unwrap_or(0)
                .clamp(body.len() + second.len(), 1 << 20),
        );
        gathered.extend_from_slice(&body);
        gathered.extend_from_slice(&second);
        while let Some(piece) = next_piece(&mut exchange.body).await? {
            if (gathered.len() + piece.len()) as u64 > limit {
                return Err(ApiError::TooLarge);
            }
            gathered.extend_from_slice(&piece);
            if exchange.room.is_none() && gathered.len() as u64 > UNCOUNTED {
                make_room(exchange, limit).await?;
            }
        }
        body = gathered.freeze();
    }
    match exchange.header(&header::CONTENT_ENCODING) {
        None | Some("identity" | "") => Ok(body),
        Some("gzip" | "x-gzip") => match decompress(&body, UNCOUNTED) {
            Err(ApiError::TooLarge) => {
                // It grows: as long as is allowed, as far as anybody knows.
                exchange.room = None;
                make_room(exchange, limit).await?;
                decompress(&body, limit)
            }
            small => small,
        },
        Some(_) => Err(ApiError::ContentType("of encoding gzip or identity")),
    }
}

fn decompress(body: &[u8], limit: u64) -> Result<Bytes, ApiError> {
    let mut out = Vec::new();
    MultiGzDecoder::new(body)
        .take(limit + 1)
        .read_to_end(&mut out)
        .map_err(|_| ApiError::bad("Invalid gzip request body"))?;
    if out.len() as u64 > limit {
        return Err(ApiError::TooLarge);
    }
    Ok(Bytes::from(out))
}

/// Bodies beyond this length are read off the threads that serve requests.
const LARGE: usize = 256 << 10;

/// Runs `parse` over a body, where it keeps nobody waiting.
pub(crate) async fn parsed<T: Send + 'static>(
    body: Bytes,
    parse: impl FnOnce(&[u8]) -> T + Send + 'static,
) -> Result<T, ApiError> {
    if body.len() < LARGE {
        return Ok(parse(&body));
    }
    tokio::task::spawn_blocking(move || parse(&body))
        .await
        .map_err(|_| ApiError::Incomplete("the request was interrupted".to_owned()))
}

/// The revision that a draft names, as a revision.
pub(crate) fn revision_of(field: Option<&Field>) -> Result<Option<Revision>, ApiError> {
    match field {
        None => Ok(None),
        Some(Field::Text(text)) if text.is_empty() => Ok(None),
        Some(Field::Text(text)) => Ok(Some(Revision::parse(text)?)),
        Some(Field::Other) => Err(ApiError::bad("Invalid rev format")),
    }
}

/// The id that a draft names.
pub(crate) fn id_of(field: Option<&Field>) -> Result<Option<&str>, ApiError> {
    match field {
        None => Ok(None),
        Some(Field::Text(text)) => Ok(Some(text)),
        Some(Field::Other) => Err(adea_base::InvalidDocumentId::NotText.into()),
    }
}

/// What must hold of every draft before it is prepared.
pub(crate) fn check_draft(
    exchange: &Exchange,
    id: &DocumentId,
    draft: &Draft,
) -> Result<(), ApiError> {
    if draft.body.len() as u64 > exchange.app.options.document_bytes_max {
        return Err(ApiError::DocumentTooLarge(id.as_str().to_owned()));
    }
    draft
        .attachments
        .iter()
        .try_for_each(|attachment| check_attachment_name(&attachment.name))
}

/// Names that begin with an underscore are the server's own.
pub(crate) fn check_attachment_name(name: &str) -> Result<(), ApiError> {
    if name.is_empty() {
        return Err(ApiError::bad("Attachment name is empty"));
    }
    if name.starts_with('_') {
        return Err(ApiError::bad(format!(
            "Attachment name '{name}' starts with prohibited character '_'"
        )));
    }
    Ok(())
}

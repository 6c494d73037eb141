//! Taking a request's body in, within bounds: whole for JSON, piece by piece for attachments.
//!
//! A length is only a promise: room for a large body is taken as its bytes arrive, and a body that is
//! held must keep arriving. What is counted is the time spent waiting for the peer, not the time that
//! the peer waits for the server.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adea_base::DocumentId;
use adea_documents::json::{Draft, Field, JsonError, for_each_member};
use adea_documents::revision::Revision;
use bytes::{Buf as _, Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;
use http::header;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::Instant;

use crate::error::ApiError;
use crate::router::Exchange;

/// The longest JSON body that is held in memory.
pub(crate) const JSON_BODY_MAX: u64 = 128 << 20;
/// The longest silence of a peer in the middle of a body.
const STALL: Duration = Duration::from_secs(60);
/// How long a body that is held may take to arrive, however short it is.
const GRACE: Duration = Duration::from_secs(30);
/// How many bytes each further second must bring, on average.
const PACE: u64 = 16 << 10;

/// Where a request's body comes from.
enum Source {
    /// The peer that sent it.
    Wire(Incoming),
    /// It was read before, or made here.
    Held(Bytes),
}

/// A request's body, and whether it was read to its end.
pub(crate) struct Intake {
    body: Source,
    /// The longest body that is taken.
    limit: u64,
    received: u64,
    /// How long the peer was waited for.
    waited: Duration,
    /// Shared with who answers: a connection whose request was not read ends with the answer.
    unread: Arc<AtomicBool>,
}

impl Intake {
    /// Takes in `body`, of which no more than `limit` bytes are read.
    pub(crate) fn new(body: Incoming, limit: u64) -> Self {
        let unread = !body.is_end_stream();
        Self {
            body: Source::Wire(body),
            limit,
            received: 0,
            waited: Duration::ZERO,
            unread: Arc::new(AtomicBool::new(unread)),
        }
    }

    /// Takes `body` in place of what the peer sends, or sent.
    pub(crate) fn replace(&mut self, body: Bytes) {
        self.body = Source::Held(body);
        self.received = 0;
    }

    /// How much is still to come at least, and whether that is all.
    fn expected(&self) -> (u64, Option<u64>) {
        match &self.body {
            Source::Wire(body) => (body.size_hint().lower(), body.size_hint().exact()),
            Source::Held(bytes) => (bytes.len() as u64, Some(bytes.len() as u64)),
        }
    }

    /// Tells whether something was left unread.
    pub(crate) fn unread(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.unread)
    }

    /// How long the peer may be silent now in a body that must keep its pace.
    fn patience(&self) -> Duration {
        let allowed = GRACE.saturating_add(Duration::from_secs(self.received / PACE));
        allowed.saturating_sub(self.waited).min(STALL)
    }

    async fn next_within(&mut self, patience: Duration) -> Result<Option<Bytes>, ApiError> {
        // What is left of a declared length: too much is refused before it is asked for.
        if self.received.saturating_add(self.expected().0) > self.limit {
            return Err(ApiError::TooLarge);
        }
        let begun = Instant::now();
        let piece = tokio::time::timeout(patience, self.next_data()).await;
        self.waited = self.waited.saturating_add(begun.elapsed());
        let piece = piece.map_err(|_| {
            ApiError::Incomplete("the peer was silent or slow for too long".to_owned())
        })??;
        match &piece {
            None if matches!(self.body, Source::Held(_)) => {}
            None => self.unread.store(false, Ordering::Relaxed),
            Some(data) => {
                self.received = self.received.saturating_add(data.len() as u64);
                if self.received > self.limit {
                    return Err(ApiError::TooLarge);
                }
            }
        }
        Ok(piece)
    }

    async fn next_data(&mut self) -> Result<Option<Bytes>, ApiError> {
        let body = match &mut self.body {
            Source::Wire(body) => body,
            Source::Held(bytes) => {
                let held = std::mem::take(bytes);
                return Ok((!held.is_empty()).then_some(held));
            }
        };
        loop {
            match body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(ApiError::Incomplete(error.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// The next piece of a body; `None` at its end.
pub(crate) async fn next_piece(intake: &mut Intake) -> Result<Option<Bytes>, ApiError> {
    intake.next_within(STALL).await
}

/// The next piece of a body that is held until it is whole, and so must keep its pace.
async fn next_timely(intake: &mut Intake) -> Result<Option<Bytes>, ApiError> {
    intake.next_within(intake.patience()).await
}

/// A body up to this length is simply held.
const UNCOUNTED: u64 = 1 << 20;
/// What all larger bodies together may hold, in steps of [`UNCOUNTED`].
pub(crate) const LARGE_BODIES: usize = 512;
/// How many steps are taken at once by a body that may grow.
const STRIDE: u32 = 8;
/// The longest wait for room.
const ROOM_WAIT: Duration = Duration::from_secs(30);

fn steps(length: u64) -> u32 {
    u32::try_from(length.div_ceil(UNCOUNTED)).unwrap_or(u32::MAX)
}

/// Waits until there is room for `length` bytes of a body that may grow to `final_length`; it is
/// given back with the exchange. Two that grow may wait for each other: both give up in the end.
pub(crate) async fn make_room(
    exchange: &mut Exchange,
    length: u64,
    final_length: u64,
) -> Result<(), ApiError> {
    let held = exchange.room.as_ref().map_or(0, |room| room.num_permits());
    let held = u32::try_from(held).unwrap_or(u32::MAX);
    let needed = steps(length);
    if length <= UNCOUNTED || needed <= held {
        return Ok(());
    }
    let ahead = held.saturating_add(STRIDE).min(steps(final_length));
    let more = needed.max(ahead) - held;
    let more = Arc::clone(&exchange.app.large_bodies).acquire_many_owned(more);
    let more = tokio::time::timeout(ROOM_WAIT, more).await;
    let more = more.ok().and_then(Result::ok).ok_or(ApiError::Busy)?;
    match &mut exchange.room {
        Some(room) => room.merge(more),
        None => exchange.room = Some(more),
    }
    Ok(())
}

/// The whole body, decompressed if it was sent so.
pub(crate) async fn whole(exchange: &mut Exchange) -> Result<Bytes, ApiError> {
    whole_up_to(exchange, JSON_BODY_MAX).await
}

/// The whole body, which is refused beyond `longest` bytes as sent and as decompressed.
pub(crate) async fn whole_up_to(exchange: &mut Exchange, longest: u64) -> Result<Bytes, ApiError> {
    let limit = longest.min(exchange.options.request_bytes_max);
    let declared = exchange.body.expected().1;
    if declared.is_some_and(|length| length > limit) {
        return Err(ApiError::TooLarge);
    }
    let body = gathered(exchange, limit, declared).await?;
    match exchange.header(&header::CONTENT_ENCODING) {
        None | Some("identity" | "") => Ok(body),
        Some("gzip" | "x-gzip") => decompressed(exchange, body, limit).await,
        Some(_) => Err(ApiError::ContentType("of encoding gzip or identity")),
    }
}

/// The pieces of a body as one.
async fn gathered(
    exchange: &mut Exchange,
    limit: u64,
    declared: Option<u64>,
) -> Result<Bytes, ApiError> {
    let Some(first) = next_timely(&mut exchange.body).await? else {
        return Ok(Bytes::new());
    };
    if first.len() as u64 > limit {
        return Err(ApiError::TooLarge);
    }
    let mut next = next_timely(&mut exchange.body).await?;
    if next.is_none() {
        return Ok(first);
    }
    let expected = declared.unwrap_or(0).min(UNCOUNTED);
    let expected = usize::try_from(expected).unwrap_or(0);
    let mut gathered = BytesMut::with_capacity(expected.max(first.len()));
    gathered.extend_from_slice(&first);
    while let Some(piece) = next {
        let length = (gathered.len() + piece.len()) as u64;
        if length > limit {
            return Err(ApiError::TooLarge);
        }
        make_room(exchange, length, declared.unwrap_or(limit)).await?;
        gathered.extend_from_slice(&piece);
        next = next_timely(&mut exchange.body).await?;
    }
    Ok(gathered.freeze())
}

/// A gzip body that is being decompressed.
struct Inflating {
    from: MultiGzDecoder<bytes::buf::Reader<Bytes>>,
    out: Vec<u8>,
}

impl Inflating {
    /// Decompresses up to `most` bytes more, and tells whether that was the end.
    fn step(&mut self, most: u64) -> Result<bool, ApiError> {
        let read = (&mut self.from).take(most).read_to_end(&mut self.out);
        let read = read.map_err(|_| ApiError::bad("Invalid gzip request body"))?;
        Ok((read as u64) < most)
    }
}

/// What `body` decompresses to. Nobody knows how long that is: room is taken step by step, and
/// only what is short is decompressed on the threads that serve requests.
async fn decompressed(exchange: &mut Exchange, body: Bytes, limit: u64) -> Result<Bytes, ApiError> {
    let sent = body.len() as u64;
    let mut inflating = Inflating {
        from: MultiGzDecoder::new(body.reader()),
        out: Vec::new(),
    };
    let mut ended = false;
    if sent < LARGE as u64 {
        ended = inflating.step((LARGE as u64).min(limit.saturating_add(1)))?;
    }
    while !ended {
        let done = inflating.out.len() as u64;
        if done > limit {
            break;
        }
        let most = (limit - done)
            .saturating_add(1)
            .min(UNCOUNTED * u64::from(STRIDE));
        let length = sent.saturating_add(done).saturating_add(most);
        make_room(exchange, length, length).await?;
        let stepped = tokio::task::spawn_blocking(move || {
            let ended = inflating.step(most)?;
            Ok::<_, ApiError>((inflating, ended))
        });
        (inflating, ended) = stepped.await.map_err(|_| interrupted())??;
    }
    if inflating.out.len() as u64 > limit {
        return Err(ApiError::TooLarge);
    }
    Ok(Bytes::from(inflating.out))
}

fn interrupted() -> ApiError {
    ApiError::Incomplete("the request was interrupted".to_owned())
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
        .map_err(|_| interrupted())
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

/// Whether a draft brings a password.
fn has_password(draft: &Draft) -> Result<bool, ApiError> {
    let mut found = false;
    for_each_member(&draft.body, |name, _| {
        found |= name == "password";
        Ok::<_, JsonError>(())
    })?;
    Ok(found)
}

/// What must hold of every draft before it is prepared.
pub(crate) fn check_draft(
    exchange: &Exchange,
    id: &DocumentId,
    draft: &Draft,
) -> Result<(), ApiError> {
    if draft.body.len() as u64 > exchange.options.document_bytes_max {
        return Err(ApiError::DocumentTooLarge(id.as_str().to_owned()));
    }
    // Whoever signs up so shows what he will sign in with; who has signed in was asked then.
    let stranger = exchange.database == "_users" && exchange.caller.name().is_none();
    if stranger && has_password(draft)? {
        crate::transport::require_safe(exchange)?;
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

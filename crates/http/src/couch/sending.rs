//! Sending documents: as JSON, or with their attachments in parts of their own, streamed.

use std::sync::Arc;

use adea_base::DocumentId;
use adea_documents::json::write_json_string;
use adea_documents::record::{Attachment, Encoding};
use adea_documents::render::{Piece, Rendering, Shown, write_revision};
use adea_documents::revision::Revision;
use adea_files::Chunks;
use adea_pod::{DatabaseEntry, Found, Pod, PodError, Told, Which};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use http::{StatusCode, header};

use crate::body::{Body, BodySender, Compressible, Response};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;
use crate::wire::multipart_reader::Boundary;
use crate::wire::multipart_writer::{AttachmentPart, MixedPart, MixedWriter, RelatedWriter};
use crate::wire::query::{Query, revisions};

/// How a document was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) told: Told,
    pub(crate) attachments: bool,
    pub(crate) encoding_info: bool,
    pub(crate) attachments_since: Vec<Revision>,
    pub(crate) latest: bool,
}

impl Asked {
    /// Reads the options of a query.
    pub(crate) fn of(query: &Query) -> Result<Self, ApiError> {
        let meta = query.is_true("meta");
        let since = match query.get("atts_since") {
            None => Vec::new(),
            Some(json) => revisions(json)?,
        };
        Ok(Self {
            told: Told {
                revisions: query.is_true("revs"),
                revisions_info: meta || query.is_true("revs_info"),
                conflicts: meta || query.is_true("conflicts"),
                deleted_conflicts: meta || query.is_true("deleted_conflicts"),
                local_sequence: query.is_true("local_seq"),
            },
            attachments: query.is_true("attachments") || !since.is_empty(),
            encoding_info: query.is_true("att_encoding_info"),
            attachments_since: since,
            latest: query.is_true("latest"),
        })
    }

    /// Whether nothing was asked for but the document: then its revision names the answer.
    pub(crate) fn is_plain(&self) -> bool {
        self.told == Told::default() && !self.attachments && !self.encoding_info && !self.latest
    }

    /// Whether the content of `attachment` is to be sent, and not its stub.
    fn sends(&self, found: &Found, attachment: &Attachment) -> bool {
        if !self.attachments {
            return false;
        }
        // The peer has all attachments of the newest revision it knows.
        let known = self
            .attachments_since
            .iter()
            .filter(|since| found.ancestors.contains(since))
            .map(|since| since.generation)
            .max();
        known.is_none_or(|known| attachment.revision_position > known)
    }

    /// Whether any attachment's content is to be sent.
    fn sends_any(&self, found: &Found) -> bool {
        let mut attachments = found.body.attachments.iter();
        attachments.any(|attachment| self.sends(found, attachment))
    }
}

/// What the client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepts {
    /// Nothing was said, or anything goes.
    Anything,
    /// One of these types is named, and no wildcard.
    Only { json: bool, multipart: bool },
}

fn accepts(exchange: &Exchange, multipart: &str) -> Accepts {
    let Some(accept) = exchange.header(&header::ACCEPT) else {
        return Accepts::Anything;
    };
    let mut named = (false, false);
    for kind in accept.split(',') {
        match kind.split(';').next().unwrap_or("").trim() {
            "*/*" => return Accepts::Anything,
            "application/json" | "application/*" => named.0 = true,
            kind if kind.eq_ignore_ascii_case(multipart) || kind == "multipart/*" => named.1 = true,
            _ => {}
        }
    }
    Accepts::Only {
        json: named.0,
        multipart: named.1,
    }
}

fn wants_multipart(exchange: &Exchange, multipart: &str) -> bool {
    match accepts(exchange, multipart) {
        Accepts::Anything => true,
        Accepts::Only { multipart, .. } => multipart,
    }
}

fn rendering<'d>(id: &'d str, found: &'d Found, asked: &Asked) -> Rendering<'d> {
    Rendering {
        id,
        revision: &found.revision,
        deleted: found.deleted,
        json: &found.body.json,
        attachments: &found.body.attachments,
        meta: &found.meta,
        encoding_info: asked.encoding_info,
    }
}

/// What of a user's document this caller may see; other documents as they are.
pub(crate) fn visible(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    id: &str,
    mut found: Found,
) -> Result<Found, ApiError> {
    if entry.name.is_users() && !exchange.caller.is_admin() {
        let mut value: serde_json::Value = serde_json::from_slice(&found.body.json)
            .map_err(|_| ApiError::from(adea_documents::json::JsonError::Invalid))?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("_id".to_owned(), id.into());
        }
        let seen = exchange
            .app
            .pod
            .visible_user(entry, &exchange.caller, &value)?;
        let text = serde_json::to_vec(&seen)
            .map_err(|_| ApiError::from(adea_documents::json::JsonError::Invalid))?;
        found.body.json = adea_documents::json::parse_document(&text)?.body;
    }
    Ok(found)
}

/// Answers with one revision.
pub(crate) async fn document(
    exchange: Exchange,
    id: &str,
    found: Found,
    asked: &Asked,
) -> Result<Response, ApiError> {
    if !asked.sends_any(&found) {
        let mut out = Vec::with_capacity(found.body.json.len() + 128);
        rendering(id, &found, asked).write(&mut out);
        out.push(b'\n');
        return Ok(reply::json(StatusCode::OK, out));
    }
    if wants_multipart(&exchange, "multipart/related") {
        return Ok(related(exchange, id, &found, asked));
    }
    let pieces = with_data(id, &found, asked);
    Ok(stream(
        exchange,
        "application/json",
        move |out| async move {
            out.pieces(pieces).await?;
            out.text("\n").await
        },
    ))
}

/// A document in pieces, with the contents that are to be sent inside it.
fn with_data(id: &str, found: &Found, asked: &Asked) -> Vec<Piece> {
    rendering(id, found, asked).pieces(|attachment| {
        if asked.sends(found, attachment) {
            Shown::Data
        } else {
            Shown::Stub
        }
    })
}

/// A document's JSON with the contents announced, and those contents.
fn with_following(id: &str, found: &Found, asked: &Asked) -> (Bytes, Vec<Attachment>) {
    let shown = rendering(id, found, asked).pieces(|attachment| {
        if asked.sends(found, attachment) {
            Shown::Follows
        } else {
            Shown::Stub
        }
    });
    let mut json = Vec::new();
    for piece in shown {
        if let Piece::Text(text) = piece {
            json.extend_from_slice(&text);
        }
    }
    let following = found.body.attachments.iter();
    let following = following.filter(|attachment| asked.sends(found, attachment));
    (Bytes::from(json), following.cloned().collect())
}

fn part(attachment: &Attachment) -> AttachmentPart<'_> {
    AttachmentPart {
        name: &attachment.name,
        content_type: &attachment.content_type,
        length: attachment.stored_length,
        gzip: attachment.encoding == Encoding::Gzip,
    }
}

fn related(exchange: Exchange, id: &str, found: &Found, asked: &Asked) -> Response {
    let writer = RelatedWriter::new(Boundary::from_random(exchange.app.pod.entropy().bytes()));
    let (json, following) = with_following(id, found, asked);
    let length = writer.content_length(json.len() as u64, following.iter().map(part));
    let content_type = writer.content_type();
    let mut response = stream(exchange, "", move |out| async move {
        out.related(&writer, json, &following).await
    });
    reply::set(&mut response, header::CONTENT_TYPE, &content_type);
    reply::set(&mut response, header::CONTENT_LENGTH, &length.to_string());
    response
}

/// One revision, as far as this caller may see it; `None` if it is not here (any more).
fn read_one(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    id: &str,
    revision: &Revision,
    told: Told,
) -> Result<Option<Found>, ApiError> {
    let which = Which::Revision {
        revision: revision.clone(),
        latest: false,
    };
    let pod = &exchange.app.pod;
    match pod.read(entry, &exchange.caller, id, &which, told) {
        Ok(found) => visible(exchange, entry, id, found).map(Some),
        Err(PodError::Missing) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Answers `?open_revs=`. The revisions are read one by one, while the answer is sent.
pub(crate) async fn open_revisions(
    exchange: Exchange,
    entry: &Arc<DatabaseEntry>,
    id: &DocumentId,
    wanted: Option<Vec<Revision>>,
    asked: &Asked,
) -> Result<Response, ApiError> {
    let id = id.as_str().to_owned();
    let pod = &exchange.app.pod;
    let wanted = wanted.as_deref();
    let rows = pod.open_revisions(entry, &exchange.caller, &id, wanted, asked.latest)?;
    if let Some(Ok(first)) = rows.first() {
        // What may not be seen is refused as a whole, and not in the middle of an answer.
        read_one(&exchange, entry, &id, first, asked.told)?;
    }
    let (entry, mut asked) = (Arc::clone(entry), asked.clone());
    if wants_multipart(&exchange, "multipart/mixed") {
        // Replicators ask so: contents come along.
        asked.attachments = true;
        return Ok(mixed(exchange, entry, id, rows, asked));
    }
    Ok(stream(
        exchange,
        "application/json",
        move |out| async move {
            out.text("[").await?;
            for (n, row) in rows.into_iter().enumerate() {
                out.text(if n == 0 { "" } else { "," }).await?;
                match out.read(&entry, &id, row, asked.told)? {
                    Ok(found) => {
                        out.text("{\"ok\":").await?;
                        out.pieces(with_data(&id, &found, &asked)).await?;
                        out.text("}").await?;
                    }
                    Err(revision) => out.bytes(missing_row(&revision)).await?,
                }
            }
            out.text("]\n").await
        },
    ))
}

fn missing_row(revision: &Revision) -> Bytes {
    let mut json = b"{\"missing\":".to_vec();
    write_revision(&mut json, revision);
    json.push(b'}');
    Bytes::from(json)
}

fn mixed(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    id: String,
    rows: Vec<Result<Revision, Revision>>,
    asked: Asked,
) -> Response {
    let entropy = exchange.app.pod.entropy().clone();
    let mut writer = MixedWriter::open_revs(Boundary::from_random(entropy.bytes()));
    let content_type = writer.content_type();
    let mut response = stream(exchange, "", move |out| async move {
        for row in rows {
            match out.read(&entry, &id, row, asked.told)? {
                Ok(found) => {
                    let inner = Boundary::from_random(entropy.bytes());
                    out.mixed_document(&mut writer, inner, &id, &found, &asked)
                        .await?;
                }
                Err(revision) => {
                    out.bytes(writer.part_head(&MixedPart::Error)).await?;
                    out.bytes(missing_row(&revision)).await?;
                }
            }
        }
        out.bytes(writer.end()).await
    });
    reply::set(&mut response, header::CONTENT_TYPE, &content_type);
    response
}

/// What a row of `_bulk_get` asks for.
pub(crate) struct Wanted {
    pub(crate) id: Option<String>,
    pub(crate) revision: Option<String>,
    /// Revisions whose attachments the peer has.
    pub(crate) attachments_since: Vec<Revision>,
}

/// Why a row of `_bulk_get` has no document.
struct RowFault {
    revision: Option<String>,
    error: &'static str,
    reason: String,
}

/// What is found for a row: the first document or why there is none, and more to be read.
type FirstOfRow = (Result<Found, RowFault>, Vec<Revision>);

impl Wanted {
    /// The id as the answer tells it.
    fn shown_id(&self) -> &str {
        self.id.as_deref().unwrap_or("undefined")
    }

    /// How this row was asked for.
    fn asked(&self, all: &Asked) -> Asked {
        let mut asked = all.clone();
        let since = self.attachments_since.iter().cloned();
        asked.attachments_since.extend(since);
        asked
    }

    fn fault(&self, error: &'static str, reason: &str) -> RowFault {
        RowFault {
            revision: self.revision.clone(),
            error,
            reason: reason.to_owned(),
        }
    }

    /// Reads the first document of the row.
    fn first(
        &self,
        exchange: &Exchange,
        entry: &DatabaseEntry,
        asked: &Asked,
    ) -> Result<FirstOfRow, ApiError> {
        let refused = |fault| Ok((Err(fault), Vec::new()));
        let Some(id) = self.id.as_deref() else {
            return refused(self.fault("bad_request", "document id missed"));
        };
        if let Err(error) = DocumentId::parse(id) {
            return refused(self.fault("illegal_docid", &error.to_string()));
        }
        let pod = &exchange.app.pod;
        let (caller, told) = (&exchange.caller, asked.told);
        let read = match self.revision.as_deref().map(Revision::parse) {
            Some(Err(error)) => return refused(self.fault("bad_request", &error.to_string())),
            Some(Ok(revision)) => pod.read_named(entry, caller, id, &revision, asked.latest, told),
            None => match pod.read(entry, caller, id, &Which::Winner, told) {
                Ok(found) => Ok((found, Vec::new())),
                // The tombstone stands for the document that is deleted.
                Err(PodError::Deleted) => pod.read_tombstone(entry, caller, id, told),
                Err(error) => Err(error),
            },
        };
        match read {
            Ok((found, rest)) => match visible(exchange, entry, id, found) {
                Ok(found) => Ok((Ok(found), rest)),
                Err(_) => refused(self.fault("not_found", "missing")),
            },
            Err(PodError::Missing) => refused(self.fault("not_found", "missing")),
            Err(error) => Err(error.into()),
        }
    }
}

/// Bytes of an answer to `_bulk_get` that are made before it is sent.
const BULK_GET_WHOLE: usize = 256 << 10;

/// Answers `_bulk_get`: a short answer whole, a long one while its rows are read.
pub(crate) fn bulk_get(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    wanted: Vec<Wanted>,
    asked: Asked,
) -> Result<Response, ApiError> {
    let as_json = match accepts(&exchange, "multipart/mixed") {
        Accepts::Anything | Accepts::Only { json: true, .. } => true,
        Accepts::Only { multipart, .. } => {
            let related = accepts(&exchange, "multipart/related");
            let related = matches!(
                related,
                Accepts::Only {
                    multipart: true,
                    ..
                }
            );
            !multipart && !related
        }
    };
    if !as_json {
        return Ok(bulk_get_mixed(exchange, entry, wanted, asked));
    }
    let mut out = b"{\"results\":[".to_vec();
    let mut rows = wanted.into_iter();
    let mut any = false;
    while out.len() < BULK_GET_WHOLE && !asked.attachments && rows.len() > 0 {
        let Some(row) = rows.next() else { break };
        let (first, rest) = row.first(&exchange, &entry, &asked)?;
        row_head(&mut out, &row, any);
        any = true;
        write_got(&mut out, &row, &first, &asked);
        for revision in rest {
            out.push(b',');
            let told = asked.told;
            let read = read_one(&exchange, &entry, row.shown_id(), &revision, told)?;
            let got = read.ok_or_else(|| row.fault("not_found", "missing"));
            write_got(&mut out, &row, &got, &asked);
        }
        out.extend_from_slice(b"]}");
    }
    if rows.len() == 0 {
        out.extend_from_slice(b"]}\n");
        return Ok(reply::json(StatusCode::OK, out));
    }
    Ok(stream(
        exchange,
        "application/json",
        move |sink| async move {
            sink.bytes(Bytes::from(out)).await?;
            for row in rows {
                let asked = row.asked(&asked);
                let mut head = Vec::new();
                row_head(&mut head, &row, any);
                any = true;
                sink.bytes(Bytes::from(head)).await?;
                let (first, rest) = sink.first(&entry, &row, &asked)?;
                sink.got(&row, first, &asked).await?;
                for revision in rest {
                    sink.text(",").await?;
                    let read = sink.read(&entry, row.shown_id(), Ok(revision), asked.told)?;
                    let got = read.map_err(|_| row.fault("not_found", "missing"));
                    sink.got(&row, got, &asked).await?;
                }
                sink.text("]}").await?;
            }
            sink.text("]}\n").await
        },
    ))
}

fn row_head(out: &mut Vec<u8>, row: &Wanted, any: bool) {
    out.extend_from_slice(if any { b",{\"id\":" } else { b"{\"id\":" });
    write_json_string(out, row.shown_id());
    out.extend_from_slice(b",\"docs\":[");
}

/// Writes a document of a row, with attachments as stubs, or why there is none.
fn write_got(out: &mut Vec<u8>, row: &Wanted, got: &Result<Found, RowFault>, asked: &Asked) {
    match got {
        Ok(found) => {
            out.extend_from_slice(b"{\"ok\":");
            rendering(row.shown_id(), found, asked).write(out);
            out.push(b'}');
        }
        Err(fault) => fault.write(out, row.shown_id()),
    }
}

impl RowFault {
    fn write(&self, out: &mut Vec<u8>, id: &str) {
        out.extend_from_slice(b"{\"error\":{\"rev\":");
        write_json_string(out, self.revision.as_deref().unwrap_or("undefined"));
        out.extend_from_slice(b",\"reason\":");
        write_json_string(out, &self.reason);
        out.extend_from_slice(b",\"id\":");
        write_json_string(out, id);
        out.extend_from_slice(b",\"error\":");
        write_json_string(out, self.error);
        out.extend_from_slice(b"}}");
    }
}

fn bulk_get_mixed(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    wanted: Vec<Wanted>,
    mut asked: Asked,
) -> Response {
    asked.attachments = true;
    let entropy = exchange.app.pod.entropy().clone();
    let mut writer = MixedWriter::bulk_get(Boundary::from_random_with_dashes(entropy.bytes()));
    let content_type = writer.content_type();
    let mut response = stream(exchange, "", move |out| async move {
        for row in wanted {
            let asked = row.asked(&asked);
            let (first, rest) = out.first(&entry, &row, &asked)?;
            let mut next = Some(first);
            let mut rest = rest.into_iter();
            while let Some(got) = next {
                match got {
                    Ok(found) => {
                        let inner = Boundary::from_random(entropy.bytes());
                        out.mixed_document(&mut writer, inner, row.shown_id(), &found, &asked)
                            .await?;
                    }
                    Err(fault) => {
                        let revision = fault.revision.as_deref().unwrap_or("undefined");
                        let mut json = b"{\"rev\":".to_vec();
                        write_json_string(&mut json, revision);
                        json.push(b',');
                        crate::error::write_row_error(&mut json, fault.error, &fault.reason);
                        json.push(b'}');
                        out.bytes(writer.part_head(&MixedPart::Error)).await?;
                        out.bytes(Bytes::from(json)).await?;
                    }
                }
                next = match rest.next() {
                    None => None,
                    Some(revision) => {
                        let read = out.read(&entry, row.shown_id(), Ok(revision), asked.told)?;
                        Some(read.map_err(|_| row.fault("not_found", "missing")))
                    }
                };
            }
        }
        out.bytes(writer.end()).await
    });
    reply::set(&mut response, header::CONTENT_TYPE, &content_type);
    response
}

/// Why a stream ended early: nobody reads, or a content could not be read.
pub(crate) enum Broken {
    Closed,
    Failed(String),
}

/// The writing end of a streamed answer.
pub(crate) struct Out {
    sender: BodySender,
    exchange: Exchange,
}

/// An attachment's content as base64 of its identity bytes, piece by piece.
pub(crate) struct Base64Content {
    chunks: Chunks,
    /// Bytes that do not fill a group of three yet.
    rest: BytesMut,
    ended: bool,
}

impl Base64Content {
    /// Opens the content of `attachment`.
    pub(crate) async fn open(pod: &Pod, attachment: &Attachment) -> Result<Self, PodError> {
        let reader = pod.open_attachment(attachment).await?;
        Ok(Self {
            chunks: match attachment.encoding {
                Encoding::Identity => reader.read_all(),
                Encoding::Gzip => reader.decompress(),
            },
            rest: BytesMut::new(),
            ended: false,
        })
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, PodError> {
        while !self.ended {
            match self.chunks.next().await {
                Some(chunk) => {
                    self.rest.extend_from_slice(&chunk?);
                    let whole = self.rest.len() - self.rest.len() % 3;
                    if whole > 0 {
                        let encoded = BASE64.encode(self.rest.split_to(whole));
                        return Ok(Some(Bytes::from(encoded)));
                    }
                }
                None => {
                    self.ended = true;
                    if !self.rest.is_empty() {
                        return Ok(Some(Bytes::from(BASE64.encode(self.rest.split()))));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// Makes an answer that `produce` writes in a task of its own.
pub(crate) fn stream<F, Fut>(exchange: Exchange, content_type: &'static str, produce: F) -> Response
where
    F: FnOnce(Arc<Out>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), Broken>> + Send + 'static,
{
    let (sender, body) = Body::channel(4);
    let out = Arc::new(Out { sender, exchange });
    tokio::spawn(async move {
        match produce(Arc::clone(&out)).await {
            Ok(()) | Err(Broken::Closed) => {}
            Err(Broken::Failed(reason)) => {
                tracing::error!(%reason, "an answer was cut off");
                out.sender.abort(reason);
            }
        }
    });
    let mut response = reply::with_type(StatusCode::OK, content_type, body);
    if content_type == "application/json" {
        response.extensions_mut().insert(Compressible);
    }
    response
}

impl Out {
    /// Sends text.
    pub(crate) async fn text(&self, text: &'static str) -> Result<(), Broken> {
        self.bytes(Bytes::from_static(text.as_bytes())).await
    }

    /// Sends bytes.
    pub(crate) async fn bytes(&self, bytes: Bytes) -> Result<(), Broken> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.sender.send(bytes).await.map_err(|_| Broken::Closed)
    }

    /// Reads a revision that is said to be here; one that is gone by now is missing.
    fn read(
        &self,
        entry: &DatabaseEntry,
        id: &str,
        row: Result<Revision, Revision>,
        told: Told,
    ) -> Result<Result<Found, Revision>, Broken> {
        match row {
            Err(revision) => Ok(Err(revision)),
            Ok(revision) => match read_one(&self.exchange, entry, id, &revision, told) {
                Ok(Some(found)) => Ok(Ok(found)),
                Ok(None) => Ok(Err(revision)),
                Err(error) => Err(Broken::Failed(error.to_string())),
            },
        }
    }

    /// Reads the first document of a row of `_bulk_get`.
    fn first(
        &self,
        entry: &DatabaseEntry,
        row: &Wanted,
        asked: &Asked,
    ) -> Result<FirstOfRow, Broken> {
        row.first(&self.exchange, entry, asked)
            .map_err(|error| Broken::Failed(error.to_string()))
    }

    /// Sends a document of a row of `_bulk_get`, or why there is none.
    async fn got(
        &self,
        row: &Wanted,
        got: Result<Found, RowFault>,
        asked: &Asked,
    ) -> Result<(), Broken> {
        match got {
            Ok(found) => {
                self.text("{\"ok\":").await?;
                self.pieces(with_data(row.shown_id(), &found, asked))
                    .await?;
                self.text("}").await
            }
            Err(fault) => {
                let mut json = Vec::new();
                fault.write(&mut json, row.shown_id());
                self.bytes(Bytes::from(json)).await
            }
        }
    }

    /// Sends a document in pieces.
    pub(crate) async fn pieces(&self, pieces: Vec<Piece>) -> Result<(), Broken> {
        for piece in pieces {
            match piece {
                Piece::Text(text) => self.bytes(Bytes::from(text)).await?,
                Piece::Data(attachment) => self.base64(&attachment).await?,
            }
        }
        Ok(())
    }

    /// Sends an attachment's content as base64 of its identity bytes.
    async fn base64(&self, attachment: &Attachment) -> Result<(), Broken> {
        let failed = |error: PodError| Broken::Failed(error.to_string());
        let opened = Base64Content::open(&self.exchange.app.pod, attachment).await;
        let mut content = opened.map_err(failed)?;
        while let Some(encoded) = content.next().await.map_err(failed)? {
            self.bytes(encoded).await?;
        }
        Ok(())
    }

    /// Sends a document and its contents as parts.
    async fn related(
        &self,
        writer: &RelatedWriter,
        json: Bytes,
        following: &[Attachment],
    ) -> Result<(), Broken> {
        self.bytes(writer.document_head()).await?;
        self.bytes(json).await?;
        for attachment in following {
            self.bytes(writer.attachment_head(&part(attachment)))
                .await?;
            self.stored(attachment).await?;
        }
        self.bytes(writer.end()).await
    }

    /// Sends an attachment's stored bytes.
    async fn stored(&self, attachment: &Attachment) -> Result<(), Broken> {
        let failed = |error: &dyn std::fmt::Display| Broken::Failed(error.to_string());
        let opened = self.exchange.app.pod.open_attachment(attachment).await;
        let mut chunks = opened.map_err(|error| failed(&error))?.read_all();
        while let Some(chunk) = chunks.next().await {
            self.bytes(chunk.map_err(|error| failed(&error))?).await?;
        }
        Ok(())
    }

    /// Sends a document as a part of a mixed body.
    async fn mixed_document(
        &self,
        writer: &mut MixedWriter,
        inner: Boundary,
        id: &str,
        found: &Found,
        asked: &Asked,
    ) -> Result<(), Broken> {
        let (json, following) = with_following(id, found, asked);
        if following.is_empty() {
            self.bytes(writer.part_head(&MixedPart::Document)).await?;
            return self.bytes(json).await;
        }
        let related = RelatedWriter::new(inner);
        let rev = found.revision.to_string();
        let head = writer.part_head(&MixedPart::Related {
            writer: &related,
            id,
            rev: &rev,
        });
        self.bytes(head).await?;
        self.related(&related, json, &following).await
    }
}

/// A document in pieces, with all its contents inside it.
pub(crate) fn with_all_data(id: &str, found: &Found) -> Vec<Piece> {
    let asked = Asked {
        attachments: true,
        ..Asked::default()
    };
    with_data(id, found, &asked)
}

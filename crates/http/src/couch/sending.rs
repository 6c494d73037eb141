//! Sending documents: as JSON, or with their attachments in parts of their own, streamed.

use std::sync::Arc;

use adea_base::DocumentId;
use adea_documents::json::write_json_string;
use adea_documents::record::{Attachment, Encoding};
use adea_documents::render::{Piece, Rendering, Shown, write_revision};
use adea_documents::revision::Revision;
use adea_pod::{DatabaseEntry, Found, Pod, Told};
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

/// Answers `?open_revs=`.
pub(crate) async fn open_revisions(
    exchange: Exchange,
    entry: &Arc<DatabaseEntry>,
    id: &DocumentId,
    wanted: Option<Vec<Revision>>,
    asked: &Asked,
) -> Result<Response, ApiError> {
    let pod = &exchange.app.pod;
    let rows = pod.read_open(
        entry,
        &exchange.caller,
        id.as_str(),
        wanted.as_deref(),
        asked.latest,
        asked.told,
    )?;
    let mut seen = Vec::with_capacity(rows.len());
    for row in rows {
        seen.push(match row {
            Ok(found) => Ok(visible(&exchange, entry, id.as_str(), found)?),
            Err(revision) => Err(revision),
        });
    }
    let (id, mut asked) = (id.as_str().to_owned(), asked.clone());
    if wants_multipart(&exchange, "multipart/mixed") {
        // Replicators ask so: contents come along.
        asked.attachments = true;
        return Ok(mixed(exchange, id, seen, asked));
    }
    Ok(stream(
        exchange,
        "application/json",
        move |out| async move {
            out.text("[").await?;
            for (n, row) in seen.iter().enumerate() {
                out.text(if n == 0 { "" } else { "," }).await?;
                match row {
                    Ok(found) => {
                        out.text("{\"ok\":").await?;
                        out.pieces(with_data(&id, found, &asked)).await?;
                    }
                    Err(revision) => {
                        let mut json = b"{\"missing\":".to_vec();
                        write_revision(&mut json, revision);
                        out.bytes(Bytes::from(json)).await?;
                    }
                }
                out.text("}").await?;
            }
            out.text("]\n").await
        },
    ))
}

fn mixed(
    exchange: Exchange,
    id: String,
    rows: Vec<Result<Found, Revision>>,
    asked: Asked,
) -> Response {
    let entropy = exchange.app.pod.entropy().clone();
    let mut writer = MixedWriter::open_revs(Boundary::from_random(entropy.bytes()));
    let content_type = writer.content_type();
    let mut response = stream(exchange, "", move |out| async move {
        for row in &rows {
            match row {
                Ok(found) => {
                    let inner = Boundary::from_random(entropy.bytes());
                    out.mixed_document(&mut writer, inner, &id, found, &asked)
                        .await?;
                }
                Err(revision) => {
                    let mut json = b"{\"missing\":".to_vec();
                    write_revision(&mut json, revision);
                    json.push(b'}');
                    out.bytes(writer.part_head(&MixedPart::Error)).await?;
                    out.bytes(Bytes::from(json)).await?;
                }
            }
        }
        out.bytes(writer.end()).await
    });
    reply::set(&mut response, header::CONTENT_TYPE, &content_type);
    response
}

/// A row of `_bulk_get`: the document it is about, the revision asked for, and what was found.
pub(crate) struct Got {
    pub(crate) id: String,
    pub(crate) documents: Vec<Result<Found, RowFault>>,
    /// Revisions whose attachments the peer has.
    pub(crate) attachments_since: Vec<Revision>,
}

impl Got {
    /// How this row was asked for.
    fn asked(&self, all: &Asked) -> Asked {
        let mut asked = all.clone();
        asked
            .attachments_since
            .extend(self.attachments_since.iter().cloned());
        asked
    }
}

/// Why a row of `_bulk_get` has no document.
pub(crate) struct RowFault {
    pub(crate) revision: Option<String>,
    pub(crate) error: &'static str,
    pub(crate) reason: String,
}

/// Answers `_bulk_get`.
pub(crate) fn bulk_get(exchange: Exchange, rows: Vec<Got>, asked: Asked) -> Response {
    let as_json = match accepts(&exchange, "multipart/mixed") {
        Accepts::Anything | Accepts::Only { json: true, .. } => true,
        Accepts::Only { multipart, .. } => {
            let related = accepts(&exchange, "multipart/related");
            !multipart
                && !matches!(
                    related,
                    Accepts::Only {
                        multipart: true,
                        ..
                    }
                )
        }
    };
    if !as_json {
        return bulk_get_mixed(exchange, rows, asked);
    }
    let sends = |row: &Got| {
        let asked = row.asked(&asked);
        row.documents
            .iter()
            .flatten()
            .any(|found| asked.sends_any(found))
    };
    if !rows.iter().any(sends) {
        return bulk_get_whole(&rows, &asked);
    }
    stream(exchange, "application/json", move |out| async move {
        out.text("{\"results\":[").await?;
        for (n, row) in rows.iter().enumerate() {
            let mut head = if n == 0 { Vec::new() } else { b",".to_vec() };
            head.extend_from_slice(b"{\"id\":");
            write_json_string(&mut head, &row.id);
            head.extend_from_slice(b",\"docs\":[");
            out.bytes(Bytes::from(head)).await?;
            for (n, document) in row.documents.iter().enumerate() {
                out.text(if n == 0 { "" } else { "," }).await?;
                match document {
                    Ok(found) => {
                        out.text("{\"ok\":").await?;
                        out.pieces(with_data(&row.id, found, &row.asked(&asked)))
                            .await?;
                        out.text("}").await?;
                    }
                    Err(fault) => {
                        let mut json = Vec::new();
                        fault.write(&mut json, &row.id);
                        out.bytes(Bytes::from(json)).await?;
                    }
                }
            }
            out.text("]}").await?;
        }
        out.text("]}\n").await
    })
}

fn bulk_get_whole(rows: &[Got], asked: &Asked) -> Response {
    let mut out = b"{\"results\":[".to_vec();
    for (n, row) in rows.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"id\":");
        write_json_string(&mut out, &row.id);
        out.extend_from_slice(b",\"docs\":[");
        for (n, document) in row.documents.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            match document {
                Ok(found) => {
                    out.extend_from_slice(b"{\"ok\":");
                    rendering(&row.id, found, asked).write(&mut out);
                    out.push(b'}');
                }
                Err(fault) => fault.write(&mut out, &row.id),
            }
        }
        out.extend_from_slice(b"]}");
    }
    out.extend_from_slice(b"]}\n");
    reply::json(StatusCode::OK, out)
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

fn bulk_get_mixed(exchange: Exchange, rows: Vec<Got>, mut asked: Asked) -> Response {
    asked.attachments = true;
    let entropy = exchange.app.pod.entropy().clone();
    let mut writer = MixedWriter::bulk_get(Boundary::from_random_with_dashes(entropy.bytes()));
    let content_type = writer.content_type();
    let mut response = stream(exchange, "", move |out| async move {
        for row in &rows {
            for document in &row.documents {
                match document {
                    Ok(found) => {
                        let inner = Boundary::from_random(entropy.bytes());
                        out.mixed_document(&mut writer, inner, &row.id, found, &row.asked(&asked))
                            .await?;
                    }
                    Err(fault) => {
                        let mut json = b"{\"rev\":".to_vec();
                        write_json_string(
                            &mut json,
                            fault.revision.as_deref().unwrap_or("undefined"),
                        );
                        json.push(b',');
                        crate::error::write_row_error(&mut json, fault.error, &fault.reason);
                        json.push(b'}');
                        out.bytes(writer.part_head(&MixedPart::Error)).await?;
                        out.bytes(Bytes::from(json)).await?;
                    }
                }
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
    pod: Pod,
}

/// Makes an answer that `produce` writes in a task of its own.
pub(crate) fn stream<F, Fut>(exchange: Exchange, content_type: &'static str, produce: F) -> Response
where
    F: FnOnce(Arc<Out>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), Broken>> + Send + 'static,
{
    let (sender, body) = Body::channel(4);
    let out = Arc::new(Out {
        sender,
        pod: exchange.app.pod.clone(),
    });
    tokio::spawn(async move {
        let _alive = exchange;
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
        let failed = |error: &dyn std::fmt::Display| Broken::Failed(error.to_string());
        let opened = self.pod.open_attachment(attachment).await;
        let reader = opened.map_err(|error| failed(&error))?;
        let mut chunks = match attachment.encoding {
            Encoding::Identity => reader.read_all(),
            Encoding::Gzip => reader.decompress(),
        };
        let mut rest = BytesMut::new();
        while let Some(chunk) = chunks.next().await {
            rest.extend_from_slice(&chunk.map_err(|error| failed(&error))?);
            let whole = rest.len() - rest.len() % 3;
            let encoded = BASE64.encode(rest.split_to(whole));
            self.bytes(Bytes::from(encoded)).await?;
        }
        self.bytes(Bytes::from(BASE64.encode(rest))).await
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
        let opened = self.pod.open_attachment(attachment).await;
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

//! Sending documents: as JSON, or with their attachments in parts of their own, streamed.
//!
//! A client says what it wants to be told (`Asked`) and what it takes (`Accepts`); from both follows
//! the shape of the answer. Contents are never held: a document is rendered in pieces, and each
//! content is read while it is sent (`out.rs`). What a caller may not see is refused before the
//! first byte, since an answer that has begun can only be cut off. `_bulk_get` has rows of its own
//! (`bulk_get.rs`).

mod bulk_get;
mod out;

use std::sync::Arc;

use adea_base::DocumentId;
use adea_documents::record::{Attachment, Encoding};
use adea_documents::render::{Piece, Rendering, Shown, write_revision};
use adea_documents::revision::Revision;
use adea_pod::{DatabaseEntry, Found, PodError, Told, Which};
use bytes::Bytes;
use http::{StatusCode, header};

use crate::body::Response;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;
use crate::wire::multipart_reader::Boundary;
use crate::wire::multipart_writer::{AttachmentPart, MixedPart, MixedWriter, RelatedWriter};
use crate::wire::query::{Query, revisions};

pub(crate) use bulk_get::{Wanted, bulk_get};
pub(crate) use out::{Base64Content, Broken, Out, aside, stream};

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
    let pod = &exchange.app.pod;
    pod.show_user(entry, &exchange.caller, id, &mut found.body)?;
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

/// A document in pieces, with all its contents inside it.
pub(crate) fn with_all_data(id: &str, found: &Found) -> Vec<Piece> {
    let asked = Asked {
        attachments: true,
        ..Asked::default()
    };
    with_data(id, found, &asked)
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

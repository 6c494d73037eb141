//! The writing end of a streamed answer, and attachments' contents on their way through it.
//!
//! An answer that is too long to be held is written by a task of its own into a short channel: it
//! goes no faster than the client takes it, and ends when nobody does. Contents are read chunk by
//! chunk, as they are sent. Once an answer has begun its status is told; what fails after that
//! breaks it off, so that what the client has is seen to be cut and not taken for whole.

use std::sync::Arc;

use adea_documents::record::{Attachment, Encoding};
use adea_documents::render::Piece;
use adea_documents::revision::Revision;
use adea_files::Chunks;
use adea_pod::{DatabaseEntry, Found, Pod, PodError, Told};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::body::{Body, BodySender, Compressible, Response};
use crate::couch::sending::{Asked, part, read_one, with_following};
use crate::reply;
use crate::router::Exchange;
use crate::wire::multipart_reader::Boundary;
use crate::wire::multipart_writer::{MixedPart, MixedWriter, RelatedWriter};

/// Why a stream ended early: nobody reads, or a content could not be read.
pub(crate) enum Broken {
    Closed,
    Failed(String),
}

/// The writing end of a streamed answer.
pub(crate) struct Out {
    sender: BodySender,
    pub(super) exchange: Exchange,
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

/// Runs `work`, which may take long, while the other tasks of this thread go on elsewhere.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    let runtime = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    if matches!(runtime, Ok(RuntimeFlavor::MultiThread)) {
        tokio::task::block_in_place(work)
    } else {
        // There is no other thread that they could go on.
        work()
    }
}

impl Out {
    /// The request that is answered.
    pub(crate) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

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
    pub(super) fn read(
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
    pub(super) async fn related(
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
    pub(super) async fn mixed_document(
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

//! One document of this server with its attachments, streamed from where they lie.

use adea_documents::record::{Attachment, Encoding};
use adea_documents::render::{Piece, Rendering, Shown};
use adea_documents::revision::Revision;
use adea_files::Chunks;
use adea_replication::peer::{Later, Sending, Sent, Wanted};
use adea_replication::{Following, PeerError};
use bytes::Bytes;

use crate::error::PodError;
use crate::pod::Pod;
use crate::read_document::Found;
use crate::replicate::peer::{LocalPeer, of_pod};

/// The documents of a revision on their way.
pub(super) struct LocalSending {
    pod: Pod,
    id: String,
    found: std::vec::IntoIter<Found>,
    /// What the target has already.
    known: Vec<Revision>,
    /// The attachments of the document at hand that are still to come.
    following: std::vec::IntoIter<Attachment>,
    chunks: Option<Chunks>,
}

impl LocalSending {
    pub(super) async fn open(
        peer: &LocalPeer,
        wanted: &Wanted,
        all: bool,
    ) -> Result<Self, PeerError> {
        let entry = peer.readable().await?;
        let found = peer
            .read_leaves(&entry, wanted)?
            .ok_or(PeerError::Missing)?;
        let ancestors = wanted.ancestors.iter().filter(|_| !all);
        Ok(Self {
            pod: peer.pod.clone(),
            id: wanted.id.clone(),
            found: found.into_iter(),
            known: ancestors
                .filter_map(|text| Revision::parse(text).ok())
                .collect(),
            following: Vec::new().into_iter(),
            chunks: None,
        })
    }

    fn document(&mut self) -> Option<Sent> {
        let found = self.found.next()?;
        self.chunks = None;
        // The target has all attachments of the newest revision that it knows.
        let known = self
            .known
            .iter()
            .filter(|known| found.ancestors.contains(known));
        let known = known.map(|known| known.generation).max();
        let sends = |attachment: &Attachment| {
            known.is_none_or(|known| attachment.revision_position > known)
        };
        let rendering = Rendering {
            id: &self.id,
            revision: &found.revision,
            deleted: found.deleted,
            json: &found.body.json,
            attachments: &found.body.attachments,
            meta: &found.meta,
            encoding_info: true,
        };
        let pieces = rendering.pieces(|attachment| {
            if sends(attachment) {
                Shown::Follows
            } else {
                Shown::Stub
            }
        });
        let mut json = Vec::new();
        for piece in pieces {
            if let Piece::Text(text) = piece {
                json.extend_from_slice(&text);
            }
        }
        let sent = found
            .body
            .attachments
            .iter()
            .filter(|attachment| sends(attachment));
        let sent: Vec<Attachment> = sent.cloned().collect();
        let following = sent.iter().map(following).collect();
        self.following = sent.into_iter();
        Some(Sent::Document {
            json: Bytes::from(json),
            following,
        })
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, PeerError> {
        if self.chunks.is_none() {
            let Some(attachment) = self.following.next() else {
                return Err(PeerError::Nonsense("no attachment follows".to_owned()));
            };
            let opened = self
                .pod
                .open_attachment(&attachment)
                .await
                .map_err(of_pod)?;
            self.chunks = Some(opened.read_all());
        }
        let Some(chunks) = &mut self.chunks else {
            return Ok(None);
        };
        match chunks.next().await {
            Some(chunk) => Ok(Some(chunk.map_err(|error| of_pod(PodError::Read(error)))?)),
            None => {
                self.chunks = None;
                Ok(None)
            }
        }
    }
}

impl Sending for LocalSending {
    fn next_document(&mut self) -> Later<'_, Option<Sent>> {
        Box::pin(std::future::ready(Ok(self.document())))
    }

    fn next_piece(&mut self) -> Later<'_, Option<Bytes>> {
        Box::pin(self.piece())
    }
}

fn following(attachment: &Attachment) -> Following {
    Following {
        name: attachment.name.clone(),
        content_type: attachment.content_type.clone(),
        length: attachment.stored_length,
        identity_length: attachment.length,
        gzip: attachment.encoding == Encoding::Gzip,
        revision_position: attachment.revision_position,
        md5: Some(attachment.md5),
    }
}

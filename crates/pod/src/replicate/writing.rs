//! Writing what a replication brings into a database of this server.
//!
//! Documents go the way of all others: prepared, judged, and written many in one call. One that is
//! refused is told by its id, and does not touch the others.

use std::sync::Arc;

use adea_base::DocumentId;
use adea_documents::json::{AttachmentContent, Draft, Field, parse_document};
use adea_documents::record::Encoding;
use adea_documents::revision::{Revision, RevisionId};
use adea_replication::peer::WriteFailure;
use adea_replication::{Contents, Following, PeerError, Piece};
use bytes::Bytes;

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::replicate::peer::{LocalPeer, blocking, of_pod};
use crate::store_file::StoredFile;
use crate::write_document::{DraftedEdit, Prepared};

/// What the contents of one document may hold in memory; those behind that become files at once.
const HELD_MAX: usize = 1 << 20;

/// A document that was read, or why it is none.
type Drafted = Result<(DocumentId, Draft, DraftedEdit), (String, PeerError)>;

impl LocalPeer {
    pub(super) async fn write_many(
        &self,
        documents: &[Bytes],
    ) -> Result<Vec<WriteFailure>, PeerError> {
        let entry = self.entry().await?;
        let (texts, longest) = (documents.to_vec(), self.document_max);
        let drafted: Vec<Drafted> =
            blocking(move || Ok(texts.iter().map(|text| drafted(text, longest)).collect())).await?;
        let (mut failures, mut prepared) = (Vec::new(), Vec::with_capacity(documents.len()));
        for drafted in drafted {
            let (id, refused) = match drafted {
                Ok((id, draft, edit)) => {
                    let name = id.as_str().to_owned();
                    match self.prepare(&entry, id, draft, edit, Vec::new()).await {
                        Ok(draft) => {
                            prepared.push(draft);
                            continue;
                        }
                        Err(error) => (name, error),
                    }
                }
                Err(refused) => refused,
            };
            failures.push(failure(id, refused)?);
        }
        let ids: Vec<DocumentId> = prepared.iter().map(|draft| draft.id().clone()).collect();
        let outcomes = self
            .pod
            .write_many(&entry, prepared)
            .await
            .map_err(of_pod)?;
        for (id, outcome) in ids.iter().zip(outcomes) {
            if let Err(error) = outcome {
                let error = of_pod(error);
                failures.push(failure(id.as_str().to_owned(), error)?);
            }
        }
        Ok(failures)
    }

    async fn prepare(
        &self,
        entry: &Arc<DatabaseEntry>,
        id: DocumentId,
        draft: Draft,
        edit: DraftedEdit,
        following: Vec<StoredFile>,
    ) -> Result<Prepared, PeerError> {
        let prepared = self
            .pod
            .prepare(entry, &self.caller, id, draft, edit, following);
        prepared.await.map_err(of_pod)
    }

    pub(super) async fn write_one(
        &self,
        id: &str,
        json: Bytes,
        contents: &mut Contents<'_>,
    ) -> Result<(), PeerError> {
        let entry = self.entry().await?;
        let longest = self.document_max;
        let drafted = blocking(move || Ok(drafted(&json, longest))).await?;
        let (named, draft, edit) = drafted.map_err(|(_, error)| error)?;
        if named.as_str() != id {
            return Err(PeerError::Nonsense(format!(
                "{named:?} came where {id} was asked for"
            )));
        }
        let announced = draft.attachments.iter();
        let announced = announced.filter(|field| field.content == AttachmentContent::Follows);
        let names: Vec<&str> = announced.map(|field| field.name.as_str()).collect();
        let following = contents.following();
        if !names
            .iter()
            .copied()
            .eq(following.iter().map(|one| one.name.as_str()))
        {
            return Err(PeerError::Nonsense(format!(
                "attachments of {id} are not as announced"
            )));
        }
        let (mut stored, mut held) = (Vec::with_capacity(following.len()), 0);
        for one in following {
            let file = self.store(one, held >= HELD_MAX, contents).await?;
            held += file.held_bytes();
            stored.push(file);
        }
        // Attachments may have taken long.
        let prepared = self.now()?;
        let prepared = prepared.prepare(&entry, named, draft, edit, stored).await?;
        self.pod.write(&entry, prepared).await.map_err(of_pod)?;
        Ok(())
    }

    /// Takes in one attachment.
    async fn store(
        &self,
        following: &Following,
        to_file: bool,
        contents: &mut Contents<'_>,
    ) -> Result<StoredFile, PeerError> {
        let encoding = if following.gzip {
            Encoding::Gzip
        } else {
            Encoding::Identity
        };
        let kind = &following.content_type;
        let mut upload = if to_file {
            self.pod.begin_upload_to_file(kind, encoding)
        } else {
            self.pod.begin_upload(kind, encoding)
        };
        let of_upload = |error| of_pod(PodError::Upload(error));
        while let Some(Piece::Data(data)) = contents.next().await? {
            upload.write(data).await.map_err(of_upload)?;
        }
        let stored = self.pod.finish_upload(upload, &following.name, kind).await;
        let mut stored = stored.map_err(of_pod)?;
        stored.set_revision_position(following.revision_position);
        if following.gzip && !stored.confirm_length(following.identity_length) {
            let reason = format!("attachment {} is not as long as was said", following.name);
            return Err(PeerError::Nonsense(reason));
        }
        Ok(stored)
    }
}

/// What is said of a document that was refused; a fault that is not its own fails the whole.
fn failure(id: String, error: PeerError) -> Result<WriteFailure, PeerError> {
    let (word, reason) = match error {
        PeerError::Unauthorized(reason) => ("unauthorized".to_owned(), reason),
        PeerError::Forbidden(reason) => ("forbidden".to_owned(), reason),
        PeerError::Refused { error, reason, .. } => (error, reason),
        PeerError::MissingStub(reason) => ("missing_stub".to_owned(), reason),
        PeerError::TooLarge => ("document_too_large".to_owned(), String::new()),
        PeerError::Nonsense(reason) => ("bad_request".to_owned(), reason),
        PeerError::Transient(_)
        | PeerError::NoDatabase
        | PeerError::Missing
        | PeerError::Unsupported => return Err(error),
    };
    Ok(WriteFailure {
        id,
        error: word,
        reason,
    })
}

/// Reads a document as its source wrote it.
fn drafted(text: &[u8], longest: u64) -> Drafted {
    let mut draft = parse_document(text).map_err(|error| (String::new(), of_pod(error.into())))?;
    let name = match &draft.id {
        Some(Field::Text(id)) => id.clone(),
        Some(Field::Other) | None => String::new(),
    };
    let refused = |error: &str, reason: String| {
        let error = PeerError::Refused {
            status: 400,
            error: error.to_owned(),
            reason,
        };
        (name.clone(), error)
    };
    let id =
        DocumentId::parse(&name).map_err(|error| refused("illegal_docid", error.to_string()))?;
    if draft.body.len() as u64 > longest {
        return Err(refused("document_too_large", name.clone()));
    }
    let bad_name = |name: &str| name.is_empty() || name.starts_with('_');
    if let Some(bad) = draft.attachments.iter().find(|field| bad_name(&field.name)) {
        let reason = format!(
            "Attachment name '{}' starts with prohibited character '_'",
            bad.name
        );
        return Err(refused("bad_request", reason));
    }
    match path(&mut draft) {
        Some((start, ids)) => Ok((id, draft, DraftedEdit::Replicated(start, ids))),
        None => Err(refused(
            "bad_request",
            "The document has no revision".to_owned(),
        )),
    }
}

/// The revision of a document and its ancestors.
fn path(draft: &mut Draft) -> Option<(u64, Vec<RevisionId>)> {
    if let Some(known) = draft.revisions.take().filter(|known| !known.ids.is_empty()) {
        return Some((known.start, known.ids));
    }
    let Some(Field::Text(text)) = &draft.revision else {
        return None;
    };
    let revision = Revision::parse(text).ok()?;
    Some((revision.generation, vec![revision.id]))
}

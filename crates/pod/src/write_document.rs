//! Writing documents: what was drafted is prepared outside, judged outside (`validate.rs`), decided
//! inside one transaction (`portions.rs`), and answered when that is durable.

mod merging;
#[cfg(test)]
mod merging_tests;
mod portions;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use adea_base::{Caller, DocumentId};
use adea_documents::WriteError;
use adea_documents::json::{
    AttachmentContent, AttachmentField, Draft as JsonDraft, DraftError, Field,
};
use adea_documents::local::{self, LocalDocument};
use adea_documents::record::{Attachment, Body, Encoding};
use adea_documents::revision::{Revision, RevisionId};
use adea_documents::writer::{Draft, DraftAttachment};
use adea_files::{Digest, Pin};
use bytes::Bytes;

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::local_names;
use crate::pod::Pod;
use crate::store_file::StoredFile;
use merging::Merging;

/// How a draft is to be written.
#[derive(Clone, Debug)]
pub enum DraftedEdit {
    /// An edit of what the client has seen, if it has seen anything.
    Edit(Option<Revision>),
    /// A revision made elsewhere: its generation, and its id with those of its ancestors, newest
    /// first.
    Replicated(u64, Vec<RevisionId>),
}

/// A draft whose attachments are stored.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) draft: Draft,
    pub(crate) edit: DraftedEdit,
    /// Who writes it.
    pub(crate) caller: Caller,
    /// The body as it was sent, where the rules of accounts ask about it.
    pub(crate) account: Option<Vec<u8>>,
    /// What the client takes for the document's access signature, if it says so.
    pub(crate) signature: Option<String>,
    /// How the fork that it leaves is ended, if the database merges.
    pub(crate) merging: Option<Merging>,
    /// The sequence of the record that it was judged against; see `validate`.
    pub(crate) judged: Option<u64>,
    /// Whether what stands for the password is made anew from the same password.
    pub(crate) same_password: bool,
    inline: HashMap<[u8; 32], Bytes>,
    /// Contents taken over from another document: their addresses and names. Its own reference to
    /// them may be gone by the time this is written.
    carried: Vec<([u8; 32], String)>,
    /// Held until the commit that names the files is done.
    _pins: Vec<Pin>,
}

impl Prepared {
    /// Which document it is.
    #[must_use]
    pub fn id(&self) -> &DocumentId {
        &self.draft.id
    }

    /// The same, to be refused unless the document's access signature is this one.
    #[must_use]
    pub fn of_signature(self, signature: Option<String>) -> Self {
        Self {
            signature: signature.or(self.signature),
            ..self
        }
    }

    /// Whether it deletes the document.
    #[must_use]
    pub fn deleted(&self) -> bool {
        self.draft.deleted
    }
}

/// What became of one document of a request.
pub type Outcome = Result<Revision, PodError>;

impl Pod {
    /// Prepares a draft: stores its inline attachments, and takes `following`, in the order in
    /// which the draft names them, for those that came in parts of their own.
    ///
    /// # Errors
    /// [`PodError::Upload`] if the disk is full or at fault; [`PodError::Refused`] where accounts
    /// or design documents are written and this caller may not.
    pub async fn prepare(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        id: DocumentId,
        draft: JsonDraft,
        edit: DraftedEdit,
        following: Vec<StoredFile>,
    ) -> Result<Prepared, PodError> {
        may_write(entry, caller, &id)?;
        let signature = signature_of(entry, draft.signature.as_ref())?;
        self.refuse_outdated_account(entry, caller, id.as_str(), draft.deleted, &edit)?;
        if id.is_design() && !draft.deleted && matches!(edit, DraftedEdit::Edit(_)) {
            self.check_design_document(entry, &draft.body).await?;
            crate::validate::check_rule(&draft.body)?;
        }
        let (draft, account) = if entry.name.is_users() {
            let sent = draft.body.clone();
            let draft = self.prepare_user(entry, draft, id.as_str(), caller).await?;
            (draft, Some(sent))
        } else if crate::replicate::is_replicator(&entry.name) && !id.is_design() {
            let draft = self.prepare_description(entry, draft, id.as_str(), caller)?;
            (draft, None)
        } else {
            (draft, None)
        };
        let mut following = following.into_iter();
        let mut prepared = Prepared {
            draft: Draft {
                id,
                deleted: draft.deleted,
                attachments: Vec::with_capacity(draft.attachments.len()),
                json: draft.body,
                term: draft.term,
                label: None,
                author: None,
                creator: None,
            },
            edit,
            caller: caller.clone(),
            account,
            signature,
            merging: None,
            judged: None,
            same_password: false,
            inline: HashMap::new(),
            carried: Vec::new(),
            _pins: Vec::new(),
        };
        for field in draft.attachments {
            let name = field.name.clone();
            let stored = match field.content {
                AttachmentContent::Stub => {
                    let md5 = field.digest.as_deref().and_then(parse_digest);
                    let stub = DraftAttachment::Stub { name, md5 };
                    prepared.draft.attachments.push(stub);
                    continue;
                }
                AttachmentContent::Inline(_) => self.store_inline(field).await?,
                AttachmentContent::Follows => match following.next() {
                    Some(stored) => stored,
                    None => {
                        let id = prepared.draft.id.as_str().to_owned();
                        return Err(WriteError::MissingStub { id, name }.into());
                    }
                },
            };
            prepared.attach(stored);
        }
        Ok(prepared)
    }

    async fn store_inline(&self, field: AttachmentField) -> Result<StoredFile, PodError> {
        let AttachmentContent::Inline(bytes) = field.content else {
            return Err(PodError::Interrupted);
        };
        let content_type = content_type_of(field.content_type.as_deref());
        let encoding = encoding_of(field.encoding.as_deref());
        let mut stored = self
            .store_bytes(&field.name, content_type, encoding, Bytes::from(bytes))
            .await?;
        stored.set_revision_position(field.revpos.unwrap_or(0));
        Ok(stored)
    }

    /// Writes one prepared draft.
    ///
    /// # Errors
    /// [`PodError::Write`] with what the document refused, or what the store did.
    pub async fn write(
        &self,
        entry: &Arc<DatabaseEntry>,
        prepared: Prepared,
    ) -> Result<Revision, PodError> {
        let mut outcomes = self.write_many(entry, vec![prepared]).await?;
        match outcomes.pop() {
            Some(outcome) => Ok(outcome?),
            None => Err(PodError::Interrupted),
        }
    }

    /// Writes many prepared drafts, each on its own: what one refuses does not touch the others.
    /// They are written in their order, to the end also if who asked goes away.
    ///
    /// # Errors
    /// [`PodError`] if the store did not take them all.
    pub async fn write_many(
        &self,
        entry: &Arc<DatabaseEntry>,
        drafts: Vec<Prepared>,
    ) -> Result<Vec<Outcome>, PodError> {
        let (pod, entry) = (self.clone(), Arc::clone(entry));
        Self::to_the_end(async move {
            let designs = drafts.iter().any(|draft| draft.id().is_design());
            let written = pod.write_in_portions(&entry, drafts).await;
            pod.note_written(&entry);
            if designs {
                pod.forget_database(&entry);
                pod.rebuild_if_due(&entry.name, entry.number);
            }
            written
        })
        .await
    }

    /// What somebody writes he has, like anything that he was shown.
    fn note_written(&self, entry: &DatabaseEntry) {
        if let Some(sight) = entry.scope.sight() {
            sight.serve(self.inner.store.sequence());
        }
    }

    /// Writes all of the prepared drafts or none, in one transaction.
    ///
    /// # Errors
    /// [`PodError`] if the store did not take them. Else, of each draft, what became of it: if one
    /// is refused, none was written, and those that were not to blame have no error.
    pub async fn write_all(
        &self,
        entry: &Arc<DatabaseEntry>,
        drafts: Vec<Prepared>,
    ) -> Result<Result<Vec<Revision>, Vec<Option<PodError>>>, PodError> {
        let (pod, entry) = (self.clone(), Arc::clone(entry));
        Self::to_the_end(async move {
            let designs = drafts.iter().any(|draft| draft.id().is_design());
            let written = pod.write_at_once(&entry, drafts).await;
            pod.note_written(&entry);
            if designs {
                pod.forget_database(&entry);
                pod.rebuild_if_due(&entry.name, entry.number);
            }
            written
        })
        .await
    }

    /// A draft that keeps the body of a revision and changes its attachments.
    ///
    /// # Errors
    /// [`PodError::Draft`] if the stored body is damaged.
    pub fn with_attachments(
        entry: &DatabaseEntry,
        caller: &Caller,
        id: DocumentId,
        body: &Body,
        edit: DraftedEdit,
        removed: Option<&str>,
        added: Option<StoredFile>,
    ) -> Result<Prepared, PodError> {
        may_write(entry, caller, &id)?;
        let parsed = adea_documents::json::parse_document(&body.json)?;
        let mut prepared = Prepared {
            draft: Draft {
                id,
                deleted: false,
                attachments: Vec::new(),
                json: parsed.body,
                term: parsed.term,
                label: None,
                author: None,
                creator: None,
            },
            edit,
            caller: caller.clone(),
            account: None,
            signature: None,
            merging: None,
            judged: None,
            same_password: false,
            inline: HashMap::new(),
            carried: Vec::new(),
            _pins: Vec::new(),
        };
        let replaced = added.as_ref().map(|file| file.attachment.name.clone());
        // As CouchDB does: the newest comes first.
        if let Some(added) = added {
            prepared.attach(added);
        }
        for kept in &body.attachments {
            if Some(kept.name.as_str()) != removed && Some(&kept.name) != replaced.as_ref() {
                prepared.draft.attachments.push(DraftAttachment::Stub {
                    name: kept.name.clone(),
                    md5: Some(kept.md5),
                });
            }
        }
        Ok(prepared)
    }

    /// A draft that carries the body and attachments of another document.
    ///
    /// # Errors
    /// [`PodError::Draft`] if the stored body is damaged.
    pub fn copied(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        id: DocumentId,
        body: &Body,
        edit: DraftedEdit,
    ) -> Result<Prepared, PodError> {
        may_write(entry, caller, &id)?;
        let parsed = adea_documents::json::parse_document(&body.json)?;
        let pins = body.attachments.iter().map(|attachment| {
            let digest = Digest::from_bytes(attachment.address);
            self.inner.files.pin(digest)
        });
        let attachments = body.attachments.iter().map(|attachment| {
            DraftAttachment::Stored(Attachment {
                revision_position: 0,
                ..attachment.clone()
            })
        });
        Ok(Prepared {
            _pins: pins.collect(),
            draft: Draft {
                id,
                deleted: false,
                attachments: attachments.collect(),
                json: parsed.body,
                term: parsed.term,
                label: None,
                author: None,
                creator: None,
            },
            edit,
            caller: caller.clone(),
            account: None,
            signature: None,
            merging: None,
            judged: None,
            same_password: false,
            inline: HashMap::new(),
            carried: body
                .attachments
                .iter()
                .map(|attachment| (attachment.address, attachment.name.clone()))
                .collect(),
        })
    }

    /// Writes local document `name` (without `_local/`) and answers with its number.
    ///
    /// # Errors
    /// [`PodError::Database`] if the database was dropped.
    pub async fn write_local(
        &self,
        entry: &DatabaseEntry,
        name: &str,
        document: LocalDocument,
    ) -> Result<(), PodError> {
        let (number, name) = (entry.number, local_names::writable(entry, name)?);
        let written = self.inner.store.transact(Self::permit(), move |tx| {
            local::put(tx, number, &name, &document)
        });
        Ok(written.await?)
    }

    /// Deletes local document `name`.
    ///
    /// # Errors
    /// [`PodError::Missing`] if there is none.
    pub async fn delete_local(&self, entry: &DatabaseEntry, name: &str) -> Result<(), PodError> {
        let (number, name) = (entry.number, local_names::writable(entry, name)?);
        let existed = self
            .inner
            .store
            .transact(Self::permit(), move |tx| local::delete(tx, number, &name))
            .await?;
        if existed {
            Ok(())
        } else {
            Err(PodError::Missing)
        }
    }
}

impl Prepared {
    fn attach(&mut self, stored: StoredFile) {
        let StoredFile {
            attachment,
            inline,
            pin,
            ..
        } = stored;
        self.inline
            .extend(inline.map(|bytes| (attachment.address, bytes)));
        self._pins.push(pin);
        self.draft
            .attachments
            .push(DraftAttachment::Stored(attachment));
    }
}

/// The access signature that a draft names, where documents have any.
fn signature_of(entry: &DatabaseEntry, named: Option<&Field>) -> Result<Option<String>, PodError> {
    match named {
        None => Ok(None),
        Some(Field::Text(named)) if entry.settings.labels != 0 => Ok(Some(named.clone())),
        Some(_) => Err(DraftError::no_such_field("_signature").into()),
    }
}

/// Design documents are the administrators': their functions run for everybody. And a partitioned
/// database has no place for a document without a partition.
fn may_write(entry: &DatabaseEntry, caller: &Caller, id: &DocumentId) -> Result<(), PodError> {
    entry.check_id(id)?;
    if id.is_design() {
        entry.access(caller).require_admin()?;
    }
    Ok(())
}

/// The type an attachment has when none is given.
#[must_use]
pub fn content_type_of(given: Option<&str>) -> &str {
    given.unwrap_or("application/octet-stream")
}

/// The encoding that a sender names.
#[must_use]
pub fn encoding_of(given: Option<&str>) -> Encoding {
    if given.is_some_and(|given| given.eq_ignore_ascii_case("gzip")) {
        Encoding::Gzip
    } else {
        Encoding::Identity
    }
}

/// The MD5 in a digest as clients send it; one that is none matches nothing.
fn parse_digest(digest: &str) -> Option<[u8; 16]> {
    adea_documents::record::parse_digest(digest).or(Some([0; 16]))
}

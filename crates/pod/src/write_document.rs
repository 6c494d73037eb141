//! Writing documents: what was drafted is prepared outside, decided inside one transaction, and
//! answered when that is durable.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use adea_base::{Caller, DocumentId};
use adea_documents::json::{AttachmentContent, AttachmentField, Draft as JsonDraft};
use adea_documents::local::{self, LocalDocument};
use adea_documents::record::{Attachment, Body, Encoding};
use adea_documents::revision::{Revision, RevisionId};
use adea_documents::writer::{Draft, DraftAttachment, Writer};
use adea_documents::{DatabaseNumber, WriteError};
use adea_files::{Digest, Pin, references};
use adea_store::{Decline, EngineError, Transaction};
use bytes::Bytes;

use crate::databases::{DatabaseEntry, no_database};
use crate::error::PodError;
use crate::maintain::settle_references;
use crate::pod::Pod;
use crate::store_file::StoredFile;

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
    draft: Draft,
    edit: DraftedEdit,
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

    /// Whether it deletes the document.
    #[must_use]
    pub fn deleted(&self) -> bool {
        self.draft.deleted
    }
}

/// What became of one document of a request.
pub type Outcome = Result<Revision, WriteError>;

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
        self.refuse_outdated_account(entry, caller, id.as_str(), draft.deleted, &edit)?;
        if id.is_design() && !draft.deleted && matches!(edit, DraftedEdit::Edit(_)) {
            self.check_design_document(entry, &draft.body).await?;
        }
        let draft = if entry.name.is_users() {
            self.prepare_user(entry, draft, id.as_str(), caller).await?
        } else if crate::replicate::is_replicator(&entry.name) && !id.is_design() {
            self.prepare_description(entry, draft, id.as_str(), caller)?
        } else {
            draft
        };
        let mut following = following.into_iter();
        let mut prepared = Prepared {
            draft: Draft {
                id,
                deleted: draft.deleted,
                attachments: Vec::with_capacity(draft.attachments.len()),
                json: draft.body,
                term: draft.term,
            },
            edit,
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
        let designs = drafts.iter().filter(|draft| draft.id().is_design()).count();
        if entry.validated && designs < drafts.len() {
            return Err(PodError::Unsupported(
                "A validate_doc_update function, which this database has,",
            ));
        }
        let (pod, entry) = (self.clone(), Arc::clone(entry));
        Self::to_the_end(async move {
            let written = pod.write_in_portions(&entry, drafts).await;
            if designs > 0 {
                pod.forget_database(&entry);
            }
            written
        })
        .await
    }

    /// Writes in transactions of bounded work, so that others get their turn in between. All take
    /// their place at once, and share a sync where they can.
    async fn write_in_portions(
        &self,
        entry: &DatabaseEntry,
        mut drafts: Vec<Prepared>,
    ) -> Result<Vec<Outcome>, PodError> {
        let number = entry.number;
        let mut portions = Vec::with_capacity(drafts.len().div_ceil(PORTION));
        while !drafts.is_empty() {
            let rest = drafts.split_off(drafts.len().min(PORTION));
            let portion = std::mem::replace(&mut drafts, rest);
            // The drafts come back with the answer: their pins have served only when the commit
            // that names the files is durable.
            portions.push(self.inner.store.submit(Self::permit(), move |tx| {
                let (outcomes, released) = decide(tx, number, &portion)?;
                Ok::<_, Decline<PodError>>((outcomes, released, portion))
            }));
        }
        let (mut all, mut failed) = (Vec::new(), None);
        for portion in portions {
            match portion.await {
                Ok((outcomes, released, portion)) => {
                    drop(portion);
                    let written = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
                    let counts = &self.inner.documents;
                    counts.written.fetch_add(written as u64, Ordering::Relaxed);
                    all.extend(outcomes);
                    if !released.is_empty() {
                        self.release_files(released).await;
                    }
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            None => Ok(all),
            Some(error) => Err(error.into()),
        }
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
            },
            edit,
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
            },
            edit,
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
        let (number, name) = (entry.number, name.to_owned());
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
        let (number, name) = (entry.number, name.to_owned());
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

/// Drafts that are decided in one transaction.
const PORTION: usize = 250;

/// What becomes of each draft, and the files that nobody refers to any more.
fn decide(
    tx: &mut Transaction<'_>,
    number: DatabaseNumber,
    drafts: &[Prepared],
) -> Result<(Vec<Outcome>, Vec<Digest>), Decline<PodError>> {
    let mut gone = Vec::with_capacity(drafts.len());
    for prepared in drafts {
        gone.push(carried_and_gone(tx, prepared)?);
    }
    let mut writer = Writer::open(tx, number).map_err(no_database)?;
    let mut outcomes = Vec::with_capacity(drafts.len());
    for (prepared, gone) in drafts.iter().zip(gone) {
        outcomes.push(match gone {
            Some(error) => Err(error),
            None => write_one(&mut writer, prepared)?,
        });
    }
    let references = writer.finish()?;
    let released = settle_references(tx, &references, |address| {
        drafts
            .iter()
            .find_map(|prepared| prepared.inline.get(address).cloned())
    })?;
    Ok((outcomes, released))
}

/// Design documents are the administrators': their functions run for everybody. And a partitioned
/// database has no place for a document without a partition.
fn may_write(entry: &DatabaseEntry, caller: &Caller, id: &DocumentId) -> Result<(), PodError> {
    entry.check_id(id)?;
    if id.is_design() {
        entry.security.access(caller).require_admin()?;
    }
    Ok(())
}

/// The first content that a draft takes over and that nobody refers to any more.
fn carried_and_gone(
    tx: &Transaction<'_>,
    prepared: &Prepared,
) -> Result<Option<WriteError>, EngineError> {
    for (address, name) in &prepared.carried {
        if !references::is_referenced(tx, Digest::from_bytes(*address))? {
            return Ok(Some(WriteError::MissingStub {
                id: prepared.draft.id.as_str().to_owned(),
                name: name.clone(),
            }));
        }
    }
    Ok(None)
}

fn write_one(
    writer: &mut Writer<'_, '_>,
    prepared: &Prepared,
) -> Result<Outcome, Decline<PodError>> {
    let written = match &prepared.edit {
        DraftedEdit::Edit(based_on) => writer.edit(&prepared.draft, based_on.as_ref()),
        DraftedEdit::Replicated(start, path) => {
            let newest = path.first().cloned();
            writer
                .replicate(&prepared.draft, *start, path)
                .map(|()| Revision {
                    generation: *start,
                    id: newest.unwrap_or(RevisionId::Md5([0; 16])),
                })
        }
    };
    match written {
        Ok(revision) => Ok(Ok(revision)),
        Err(Decline::Refused(error)) => Ok(Err(error)),
        Err(Decline::Engine(error)) => Err(Decline::Engine(error)),
    }
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

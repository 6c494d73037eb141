//! Writing documents: edits, replicated revisions, purges and the dropping of old bodies.
//!
//! A writer belongs to one transaction and one database. It reads a document's record, lets the
//! tree decide, and writes record, change and body; counts are written once, at the end. Nothing
//! here takes time, chance or input: two stores that run the same writes hold the same bytes.

mod labelling;
mod revivals;

use std::sync::Arc;

use adea_base::DocumentId;
use adea_store::{Decline, EngineError, Space, Transaction};

use crate::count::CountChanges;
use crate::database::{self, Settings, Statistics};
use crate::error::{DatabaseError, WriteError, corrupt};
use crate::keys::{self, DatabaseNumber};
use crate::labels::{Author, Before, DraftLabel, LabelChanges, Written};
use crate::record::{Attachment, Body, Record, encode_body, encode_change, external_bytes};
use crate::rev_tree::{Inserted, MergeError, RevTree};
use crate::revision::{AttachmentDigest, Revision, RevisionId, next_revision};

/// An attachment as a draft brings it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DraftAttachment {
    /// New content, stored by its address already.
    Stored(Attachment),
    /// The content that the parent revision has under this name.
    Stub {
        /// The attachment's name.
        name: String,
        /// The MD5 the client believes it to have.
        md5: Option<[u8; 16]>,
    },
}

/// What a client wants a document to be.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Which document.
    pub id: DocumentId,
    /// Whether this deletes it.
    pub deleted: bool,
    /// Its attachments, in order.
    pub attachments: Vec<DraftAttachment>,
    /// Its JSON object without the fields that begin with `_`.
    pub json: Vec<u8>,
    /// The same object as an Erlang term, for naming the revision.
    pub term: Vec<u8>,
    /// The label that the document stands under with this content, where documents have labels;
    /// a deletion leaves it where it stood.
    pub label: Option<DraftLabel>,
    /// Who writes it, unless he sees all. Where he does not see what he wrote, the document stands under a
    /// label of his for the moment in which he writes it, so that what he has of it is taken from him like
    /// anything that he saw.
    pub author: Option<Author>,
    /// Who makes the document, if this is its first revision here.
    pub creator: Option<Arc<str>>,
}

/// Content addresses that a transaction began or ceased to refer to, once for each reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Begun.
    pub added: Vec<[u8; 32]>,
    /// Ceased.
    pub dropped: Vec<[u8; 32]>,
}

/// Writes to one database within one transaction.
pub struct Writer<'w, 't> {
    tx: &'w mut Transaction<'t>,
    database: DatabaseNumber,
    settings: Settings,
    statistics: Statistics,
    counts: CountChanges,
    labels: LabelChanges,
    references: References,
    changed: bool,
}

impl<'w, 't> Writer<'w, 't> {
    /// Begins to write to `database`.
    ///
    /// # Errors
    /// [`DatabaseError::Missing`] if it was dropped.
    pub fn open(
        tx: &'w mut Transaction<'t>,
        database: DatabaseNumber,
    ) -> Result<Self, Decline<DatabaseError>> {
        let settings = database::settings_in(tx, database)?;
        let statistics = tx
            .get(Space::Index, &keys::statistics(database))?
            .map_or(Ok(Statistics::default()), |bytes| {
                Statistics::decode(&bytes).ok_or_else(|| corrupt("a database's counts"))
            })?;
        Ok(Self {
            tx,
            database,
            settings,
            statistics,
            counts: CountChanges::default(),
            labels: LabelChanges::default(),
            references: References::default(),
            changed: false,
        })
    }

    /// What is set for the database.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The record of document `id` as this transaction leaves it.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn record(&self, id: &DocumentId) -> Result<Record, EngineError> {
        self.tx
            .get(Space::Index, &keys::document(self.database, id.as_str()))?
            .map_or(Ok(Record::default()), |bytes| Record::decode(&bytes))
    }

    /// The stored body written under `sequence`, as this transaction leaves it; read it with
    /// [`crate::record::split_body`].
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn body(&self, sequence: u64) -> Result<Option<Vec<u8>>, EngineError> {
        let key = keys::body(self.database, sequence);
        self.tx.get(Space::Body, &key)
    }

    /// An ordinary edit: `based_on` is the revision that the client has seen, if any. Returns the
    /// new revision.
    ///
    /// # Errors
    /// [`WriteError`]; nothing of this document was changed then.
    pub fn edit(
        &mut self,
        draft: &Draft,
        based_on: Option<&Revision>,
    ) -> Result<Revision, Decline<WriteError>> {
        let mut record = self.record(&draft.id)?;
        let before = Before::of(&record, self.has_labels());
        if let Some(based_on) = based_on
            && let Some((path, base)) = self.revived(&draft.id, &record, based_on)?
        {
            return self.edit_revival(draft, record, &before, based_on, path, &base);
        }
        let conflict = |_| Decline::Refused(WriteError::Conflict);
        let parent = record
            .tree
            .edit_parent(based_on, draft.deleted)
            .map_err(conflict)?;
        let generation = parent.as_ref().map_or(0, |parent| parent.generation) + 1;
        let attachments = self.resolve(draft, &record, parent.as_ref(), generation)?;
        let id = revision_id(draft, parent.as_ref(), &attachments);
        let revision = Revision { generation, id };
        // Drawn when it is used: one that refuses leaves the order as it was.
        let sequence = self.tx.sequence() + 1;
        let inserted = record
            .tree
            .insert_edit(based_on, revision.clone(), draft.deleted, sequence)
            .map_err(conflict)?;
        self.tx.advance_sequence(sequence);
        let body = match inserted {
            Inserted::New => Some(Content::of(draft, &attachments)),
            Inserted::AlreadyPresent => None,
        };
        self.finish_document(&draft.id, record, &before, sequence, body.as_ref())?;
        Ok(revision)
    }

    fn has_labels(&self) -> bool {
        self.settings.labels != 0
    }

    /// A revision that was made elsewhere (`new_edits=false`): `path` is its id and those of its
    /// ancestors, newest first, `start` its generation. Storing it again changes nothing.
    ///
    /// # Errors
    /// [`WriteError`]; nothing of this document was changed then.
    pub fn replicate(
        &mut self,
        draft: &Draft,
        start: u64,
        path: &[RevisionId],
    ) -> Result<(), Decline<WriteError>> {
        let mut record = self.record(&draft.id)?;
        if self.is_virtual(&draft.id, &record, start, path)? {
            return Ok(());
        }
        let before = Before::of(&record, self.has_labels());
        let newest = path.first().map(|id| Revision {
            generation: start,
            id: id.clone(),
        });
        let node = newest.as_ref().and_then(|newest| record.tree.find(newest));
        let known = node.is_some_and(|node| node.body().is_some());
        let before_merge = node.is_some().then(|| record.tree.clone());
        // What is known already needs no attachments, and may name stubs that are gone here.
        let attachments = if known {
            Vec::new()
        } else {
            // Where a replicated revision's stubs point.
            let parent = record.tree.nearest_with_body(start, path);
            let parent = parent.map(crate::rev_tree::Node::revision);
            self.resolve(draft, &record, parent.as_ref(), start)?
        };
        let sequence = self.tx.sequence() + 1;
        let merged = record
            .tree
            .merge(path, start, draft.deleted, sequence)
            .map_err(|error| {
                Decline::Refused(match error {
                    MergeError::InvalidPath => WriteError::Conflict,
                    MergeError::TooManyBranches | MergeError::TooManyRevisions => {
                        WriteError::TooManyBranches
                    }
                })
            })?;
        // Ancestors that are cut off again at once are nothing new either.
        if !merged.changed || before_merge.is_some_and(|b| b == self.stemmed(&record.tree)) {
            return Ok(());
        }
        self.tx.advance_sequence(sequence);
        let body = merged
            .stores_body()
            .then(|| Content::of(draft, &attachments));
        Ok(self.finish_document(&draft.id, record, &before, sequence, body.as_ref())?)
    }

    /// Forgets `revisions` of document `id` where they are leaves, as if they had never been.
    /// Returns those that were.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn purge(
        &mut self,
        id: &DocumentId,
        revisions: &[Revision],
    ) -> Result<Vec<Revision>, EngineError> {
        let mut record = self.record(id)?;
        let before = Before::of(&record, self.has_labels());
        let removed = record.tree.remove_leaves(revisions);
        self.statistics.purge_sequence += 1;
        self.changed = true;
        let purge = keys::purge(self.database, self.statistics.purge_sequence);
        let value = crate::purge::encode(id, revisions);
        self.tx.put(Space::Index, purge, value);
        if removed.revisions.is_empty() {
            return Ok(Vec::new());
        }
        for body in removed.bodies {
            self.drop_body(body)?;
        }
        let sequence = self.tx.next_sequence();
        self.finish_document(id, record, &before, sequence, None)?;
        Ok(removed.revisions)
    }

    /// Drops the bodies of revisions of document `id` that others are based on, and revisions
    /// beyond the limit. It is no change that a feed would show.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn compact(&mut self, id: &DocumentId) -> Result<(), EngineError> {
        let mut record = self.record(id)?;
        let limit = usize::try_from(self.settings.revisions_limit).unwrap_or(usize::MAX);
        let before = record.tree.len();
        let mut dropped = record.tree.compact();
        dropped.extend(record.tree.stem(limit));
        if dropped.is_empty() && record.tree.len() == before {
            return Ok(());
        }
        if let Some(labelled) = &mut record.labelled {
            labelled.others.retain(|(body, _)| !dropped.contains(body));
        }
        for body in dropped {
            self.drop_body(body)?;
        }
        let key = keys::document(self.database, id.as_str());
        self.tx.put(Space::Index, key, record.encode());
        Ok(())
    }

    /// Writes the counts, and says which attachments' addresses were begun or ceased to be
    /// referred to. Whoever forgets this leaves the counts wrong.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn finish(self) -> Result<References, EngineError> {
        if self.changed {
            let key = keys::statistics(self.database);
            self.tx.put(Space::Index, key, self.statistics.encode());
            self.counts.write(self.tx, self.database)?;
            self.labels.write(self.tx, self.database)?;
            self.tx.touch(self.database.0);
        }
        Ok(self.references)
    }

    fn stemmed(&self, tree: &RevTree) -> RevTree {
        let mut tree = tree.clone();
        tree.stem(usize::try_from(self.settings.revisions_limit).unwrap_or(usize::MAX));
        tree
    }

    /// Turns what a draft says of attachments into what is stored: stubs are looked up in the
    /// parent revision.
    fn resolve(
        &self,
        draft: &Draft,
        record: &Record,
        parent: Option<&Revision>,
        generation: u64,
    ) -> Result<Vec<Attachment>, Decline<WriteError>> {
        let stubs = draft
            .attachments
            .iter()
            .any(|attachment| matches!(attachment, DraftAttachment::Stub { .. }));
        let inherited = match parent {
            Some(parent) if stubs => self.attachments_of(record, parent)?,
            Some(_) | None => Vec::new(),
        };
        let mut resolved = Vec::with_capacity(draft.attachments.len());
        for attachment in &draft.attachments {
            match attachment {
                DraftAttachment::Stored(stored) => {
                    let mut stored = stored.clone();
                    if stored.revision_position == 0 {
                        stored.revision_position = generation;
                    }
                    resolved.push(stored);
                }
                DraftAttachment::Stub { name, md5 } => {
                    let found = inherited.iter().find(|known| {
                        known.name == *name && md5.is_none_or(|md5| md5 == known.md5)
                    });
                    resolved.push(found.cloned().ok_or_else(|| {
                        Decline::Refused(WriteError::MissingStub {
                            id: draft.id.as_str().to_owned(),
                            name: name.clone(),
                        })
                    })?);
                }
            }
        }
        Ok(resolved)
    }

    fn attachments_of(
        &self,
        record: &Record,
        revision: &Revision,
    ) -> Result<Vec<Attachment>, EngineError> {
        let Some(body) = record
            .tree
            .find(revision)
            .and_then(crate::rev_tree::Node::body)
        else {
            return Ok(Vec::new());
        };
        let stored = self.tx.get(Space::Body, &keys::body(self.database, body))?;
        stored.map_or(
            Ok(Vec::new()),
            |bytes| Ok(Body::decode(&bytes)?.attachments),
        )
    }

    /// Writes what an accepted change leaves: body, change, record, and their counts.
    fn finish_document(
        &mut self,
        id: &DocumentId,
        mut record: Record,
        before: &Before,
        sequence: u64,
        content: Option<&Content<'_>>,
    ) -> Result<(), EngineError> {
        self.end_revivals(id, &mut record, before)?;
        let limit = usize::try_from(self.settings.revisions_limit).unwrap_or(usize::MAX);
        let stemmed = record.tree.stem(limit);
        let written = content.map(Content::external_bytes);
        if let Some(content) = content {
            self.put_body(sequence, content.attachments, content.json);
        }
        for old in stemmed {
            self.drop_body(old)?;
        }
        self.forget_counts_of(before);
        // Its author may see it at this sequence only; where it stands from then on is the next.
        let given_away = match content {
            Some(content) if self.has_labels() => {
                self.given_away(before, &record, sequence, content)?
            }
            Some(_) | None => None,
        };
        let at = match given_away {
            Some(_) => self.tx.next_sequence(),
            None => sequence,
        };
        record.sequence = at;
        if before.sequence != 0 {
            let key = keys::sequence(self.database, before.sequence);
            self.tx.delete(Space::Index, key);
            self.counts.removed(before.sequence);
        }
        self.changed = true;
        self.statistics.update_sequence = at;
        let winner = record.tree.winner().map(|w| (w.is_deleted(), w.body()));
        record.external_bytes = match (winner.and_then(|(_, body)| body), written) {
            (Some(body), Some(bytes)) if body == sequence => bytes,
            (Some(body), _) => self.external_bytes_of(body)?,
            (None, _) => 0,
        };
        if self.has_labels() {
            let written = Written {
                body: content.map(|_| sequence),
                label: content.and_then(|content| content.label),
                author: given_away,
                creator: content.and_then(|content| content.creator),
                generation: self.settings.labels,
            };
            self.labels
                .follow(self.tx, self.database, id, before, &mut record, &written)?;
        }
        let key = keys::document(self.database, id.as_str());
        let Some((deleted, _)) = winner else {
            self.tx.delete(Space::Index, key);
            return Ok(());
        };
        if deleted {
            self.statistics.deleted += 1;
        } else {
            self.statistics.documents += 1;
        }
        self.statistics.external_bytes += record.external_bytes;
        let change = encode_change(id.as_str(), at, &record.tree);
        let change_key = keys::sequence(self.database, at);
        self.tx.put(Space::Index, change_key, change);
        self.counts.added(at);
        self.tx.put(Space::Index, key, record.encode());
        Ok(())
    }

    /// Takes a document out of the counts as it stood before this change.
    fn forget_counts_of(&mut self, before: &Before) {
        if before.sequence == 0 {
            return;
        }
        let counted = if before.deleted {
            &mut self.statistics.deleted
        } else {
            &mut self.statistics.documents
        };
        *counted = counted.saturating_sub(1);
        let bytes = &mut self.statistics.external_bytes;
        *bytes = bytes.saturating_sub(before.external_bytes);
    }

    fn external_bytes_of(&self, body: u64) -> Result<u64, EngineError> {
        let stored = self.tx.get(Space::Body, &keys::body(self.database, body))?;
        stored.map_or(Ok(0), |bytes| Ok(Body::decode(&bytes)?.external_bytes()))
    }

    fn put_body(&mut self, sequence: u64, attachments: &[Attachment], json: &[u8]) {
        if !attachments.is_empty() {
            let addresses: Vec<[u8; 32]> = attachments.iter().map(|a| a.address).collect();
            let key = keys::attached(self.database, sequence);
            self.tx.put(Space::Index, key, addresses.concat());
            self.references.added.extend(addresses);
        }
        let key = keys::body(self.database, sequence);
        self.tx
            .put(Space::Body, key, encode_body(attachments, json));
    }

    fn drop_body(&mut self, sequence: u64) -> Result<(), EngineError> {
        let attached = keys::attached(self.database, sequence);
        if let Some(value) = self.tx.get(Space::Index, &attached)? {
            self.references.dropped.extend(database::addresses(&value));
            self.tx.delete(Space::Index, attached);
        }
        self.tx
            .delete(Space::Body, keys::body(self.database, sequence));
        Ok(())
    }
}

/// What a new revision holds, and where that puts its document.
struct Content<'d> {
    attachments: &'d [Attachment],
    json: &'d [u8],
    label: Option<&'d DraftLabel>,
    author: Option<&'d Author>,
    creator: Option<&'d Arc<str>>,
}

impl<'d> Content<'d> {
    fn of(draft: &'d Draft, attachments: &'d [Attachment]) -> Self {
        Self {
            attachments,
            json: &draft.json,
            label: draft.label.as_ref(),
            author: draft.author.as_ref(),
            creator: draft.creator.as_ref(),
        }
    }

    fn external_bytes(&self) -> u64 {
        external_bytes(self.attachments, self.json)
    }
}

/// The name of the revision that `draft` makes on top of `parent`.
fn revision_id(draft: &Draft, parent: Option<&Revision>, attachments: &[Attachment]) -> RevisionId {
    let digests: Vec<AttachmentDigest<'_>> = attachments
        .iter()
        .map(|attachment| AttachmentDigest {
            name: &attachment.name,
            content_type: &attachment.content_type,
            md5: attachment.md5,
        })
        .collect();
    next_revision(draft.deleted, parent, &draft.term, &digests)
}

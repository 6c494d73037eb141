//! The naive model: of each document, who is whose parent and which contents are here; of each
//! database, in which order its documents were last changed.

use std::collections::{BTreeMap, BTreeSet};

use adea_documents::record::Attachment;
use adea_documents::revision::{AttachmentDigest, Revision, RevisionId, next_revision};
use adea_documents::writer::{Draft, DraftAttachment};
use adea_documents::{DatabaseNumber, WriteError};

use crate::command::{Outcome, Write};

/// A revision's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) deleted: bool,
    pub(crate) json: Vec<u8>,
    pub(crate) attachments: Vec<Attachment>,
}

/// A document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) parents: BTreeMap<Revision, Option<Revision>>,
    pub(crate) contents: BTreeMap<Revision, Content>,
}

/// A database.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) number: DatabaseNumber,
    pub(crate) limit: usize,
    pub(crate) documents: BTreeMap<String, Document>,
    /// Documents by their last change, oldest first.
    pub(crate) feed: Vec<String>,
    pub(crate) purges: Vec<(String, Vec<String>)>,
    pub(crate) locals: BTreeMap<String, (u64, Vec<u8>)>,
}

impl Document {
    pub(crate) fn is_deleted(&self, revision: &Revision) -> bool {
        self.contents
            .get(revision)
            .is_some_and(|content| content.deleted)
    }

    /// The leaves, winner first.
    pub(crate) fn leaves(&self) -> Vec<Revision> {
        let inner: BTreeSet<&Revision> = self.parents.values().flatten().collect();
        let mut leaves: Vec<Revision> = self
            .parents
            .keys()
            .filter(|revision| !inner.contains(revision))
            .cloned()
            .collect();
        leaves.sort_by_key(|leaf| (!self.is_deleted(leaf), leaf.clone()));
        leaves.reverse();
        leaves
    }

    /// A revision and its ancestors, newest first.
    pub(crate) fn path(&self, revision: &Revision) -> Vec<Revision> {
        let mut path = vec![revision.clone()];
        while let Some(Some(parent)) = path.last().and_then(|last| self.parents.get(last)) {
            path.push(parent.clone());
        }
        path
    }

    fn add(&mut self, path: &[Revision], content: Content) {
        for (at, revision) in path.iter().enumerate() {
            let parent = self.parents.entry(revision.clone()).or_default();
            if parent.is_none() {
                *parent = path.get(at + 1).cloned();
            }
        }
        self.contents.entry(path[0].clone()).or_insert(content);
    }

    fn keep(&mut self, keep: &BTreeSet<Revision>) {
        self.parents.retain(|revision, _| keep.contains(revision));
        for parent in self.parents.values_mut() {
            parent.take_if(|parent| !keep.contains(parent));
        }
        self.contents.retain(|revision, _| keep.contains(revision));
    }

    fn stem(&mut self, limit: usize) {
        let leaves = self.leaves();
        let paths = leaves
            .iter()
            .flat_map(|leaf| self.path(leaf).into_iter().take(limit));
        let kept = paths.collect();
        self.keep(&kept);
    }

    fn base(
        &self,
        named: Option<&Revision>,
        deletes: bool,
    ) -> Result<Option<Revision>, WriteError> {
        let leaves = self.leaves();
        let Some(winner) = leaves.first() else {
            return Ok(named.cloned());
        };
        match (self.is_deleted(winner), named) {
            (true, None) if !deletes => Ok(Some(winner.clone())),
            (false, Some(named)) if leaves.contains(named) => Ok(Some(named.clone())),
            _ => Err(WriteError::Conflict),
        }
    }

    /// The attachments of a draft, its stubs looked up in the content of `parent`.
    fn resolve(
        &self,
        draft: &Draft,
        parent: Option<&Revision>,
        generation: u64,
    ) -> Result<Vec<Attachment>, WriteError> {
        let inherited = parent.and_then(|parent| self.contents.get(parent));
        let one = |attachment: &DraftAttachment| match attachment {
            DraftAttachment::Stored(stored) => {
                let mut stored = stored.clone();
                if stored.revision_position == 0 {
                    stored.revision_position = generation;
                }
                Ok(stored)
            }
            DraftAttachment::Stub { name, md5 } => inherited
                .into_iter()
                .flat_map(|content| &content.attachments)
                .find(|known| known.name == *name && md5.is_none_or(|md5| md5 == known.md5))
                .cloned()
                .ok_or_else(|| WriteError::MissingStub {
                    id: draft.id.as_str().to_owned(),
                    name: name.clone(),
                }),
        };
        draft.attachments.iter().map(one).collect()
    }

    fn edit(&mut self, draft: &Draft, named: Option<&Revision>) -> Result<Revision, WriteError> {
        let parent = self.base(named, draft.deleted)?;
        let generation = parent.as_ref().map_or(0, |parent| parent.generation) + 1;
        let attachments = self.resolve(draft, parent.as_ref(), generation)?;
        let digests: Vec<AttachmentDigest<'_>> = attachments
            .iter()
            .map(|attachment| AttachmentDigest {
                name: &attachment.name,
                content_type: &attachment.content_type,
                md5: attachment.md5,
            })
            .collect();
        let id = next_revision(draft.deleted, parent.as_ref(), &draft.term, &digests);
        let revision = Revision { generation, id };
        let path: Vec<Revision> = std::iter::once(revision.clone()).chain(parent).collect();
        let content = Content {
            deleted: draft.deleted,
            json: draft.json.clone(),
            attachments,
        };
        self.add(&path, content);
        Ok(revision)
    }

    fn replicate(&mut self, draft: &Draft, path: &[Revision]) -> Result<(), WriteError> {
        let attachments = if self.contents.contains_key(&path[0]) {
            Vec::new()
        } else {
            let nearest = path
                .iter()
                .find(|revision| self.contents.contains_key(revision));
            self.resolve(draft, nearest, path[0].generation)?
        };
        let content = Content {
            deleted: draft.deleted,
            json: draft.json.clone(),
            attachments,
        };
        self.add(path, content);
        Ok(())
    }

    fn purge(&mut self, revisions: &[Revision]) -> Vec<Revision> {
        let leaves = self.leaves();
        let mut purged: Vec<Revision> = Vec::new();
        for revision in revisions {
            if leaves.contains(revision) && !purged.contains(revision) {
                purged.push(revision.clone());
            }
        }
        let stay = leaves.iter().filter(|leaf| !purged.contains(leaf));
        let kept = stay.flat_map(|leaf| self.path(leaf)).collect();
        self.keep(&kept);
        purged
    }

    fn compact(&mut self, limit: usize) {
        let leaves = self.leaves();
        self.contents
            .retain(|revision, _| leaves.contains(revision));
        self.stem(limit);
    }
}

/// The revisions of a path as it is replicated.
pub(crate) fn revisions(start: u64, path: &[RevisionId]) -> Vec<Revision> {
    path.iter()
        .zip((1..=start).rev())
        .map(|(id, generation)| Revision {
            generation,
            id: id.clone(),
        })
        .collect()
}

impl Database {
    pub(crate) fn new(number: DatabaseNumber, limit: u64) -> Self {
        Self {
            number,
            limit: usize::try_from(limit).unwrap(),
            documents: BTreeMap::new(),
            feed: Vec::new(),
            purges: Vec::new(),
            locals: BTreeMap::new(),
        }
    }

    /// Writes, and says what is answered and whether it is a change that the feed shows.
    pub(crate) fn write(&mut self, write: &Write) -> (Outcome, bool) {
        let id = write.id().as_str().to_owned();
        let before = self.documents.get(&id).cloned().unwrap_or_default();
        let mut after = before.clone();
        let (outcome, shown) = match write {
            Write::Edit(draft, named) => {
                let done = after.edit(draft, named.as_ref());
                let shown = done.is_ok();
                (Outcome::Edited(done), shown)
            }
            Write::Replicate(draft, start, path) => {
                let done = after.replicate(draft, &revisions(*start, path));
                (Outcome::Replicated(done), after != before)
            }
            Write::Purge(_, revisions) => {
                let names = revisions.iter().map(ToString::to_string).collect();
                self.purges.push((id.clone(), names));
                let purged = after.purge(revisions);
                let shown = !purged.is_empty();
                (Outcome::Purged(purged), shown)
            }
            Write::Compact(_) => {
                after.compact(self.limit);
                (Outcome::Compacted, false)
            }
        };
        if shown {
            after.stem(self.limit);
        }
        // Of a replicated revision that leaves all as it was, nobody hears.
        let shown = shown && after != before;
        if shown {
            self.feed.retain(|known| *known != id);
        }
        if after.parents.is_empty() {
            self.documents.remove(&id);
            return (outcome, shown);
        }
        if shown {
            self.feed.push(id.clone());
        }
        self.documents.insert(id, after);
        (outcome, shown)
    }

    /// How often each content address is referred to.
    pub(crate) fn references(&self, into: &mut BTreeMap<[u8; 32], i64>) {
        let contents = self
            .documents
            .values()
            .flat_map(|document| document.contents.values());
        for attachment in contents.flat_map(|content| &content.attachments) {
            *into.entry(attachment.address).or_default() += 1;
        }
    }
}

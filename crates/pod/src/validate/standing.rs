//! How a draft stands to what is there: what the built-in rules are asked, and what its label will be.
//!
//! The rules are asked against the document as it is, whoever may see it: its winner, and a live leaf
//! beside it that the draft extends. A caller who may not write a document is refused before anything
//! else is said, so that he learns nothing of its revisions.

use std::sync::Arc;

use adea_access::rules::{self, Rights, RuleBroken};
use adea_access::{AccessList, Principals, author};
use adea_accounts::Access;
use adea_documents::labels::{self, Author, Labelled};
use adea_documents::reader::Reader;
use adea_documents::record::{Body, Record};
use adea_documents::rev_tree::Node;
use adea_documents::revision::Revision;
use adea_documents::seen;
use adea_store::EngineError;

use crate::access::label::{Labelling, Told, label_of};
use crate::access::{AccessError, WriteRefused};
use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::write_document::{DraftedEdit, Prepared};

/// Bodies that were read, each once.
pub(super) struct Bodies<'r, 'v> {
    reader: &'r Reader<'v>,
    read: Vec<(u64, Arc<Body>)>,
}

impl<'r, 'v> Bodies<'r, 'v> {
    pub(super) fn of(reader: &'r Reader<'v>) -> Self {
        let read = Vec::new();
        Self { reader, read }
    }

    /// The body of a revision, if it is here.
    pub(super) fn get(&mut self, node: &Node) -> Result<Option<Arc<Body>>, EngineError> {
        let Some(sequence) = node.body() else {
            return Ok(None);
        };
        if let Some((_, known)) = self.read.iter().find(|(at, _)| *at == sequence) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(stored) = self.reader.body(sequence)? else {
            return Ok(None);
        };
        let body = Arc::new(Body::decode(&stored)?);
        self.read.push((sequence, Arc::clone(&body)));
        Ok(Some(body))
    }
}

/// What the rules of access are asked of a draft.
pub(super) struct Question {
    /// What the draft says; `None` of a deletion.
    told: Option<Told>,
    /// What is said by the live leaves that it stands to, the winner first.
    old: Vec<Rights>,
    creator: Option<Arc<str>>,
    /// Who counts as the one who made it, where that decides who reads it.
    author: Option<Arc<str>>,
    held: Principals,
    has_rules: bool,
    is_write_only: bool,
    signature: Option<String>,
}

/// The revision that a draft brings, if it is a virtual one: known, and nothing to be stored.
pub(super) fn virtual_revision(
    entry: &DatabaseEntry,
    key: &[u8; 32],
    record: &Record,
    draft: &Prepared,
) -> Option<Revision> {
    let DraftedEdit::Replicated(start, path) = &draft.edit else {
        return None;
    };
    let (number, id) = (entry.number, draft.id().as_str());
    let is = seen::begins_virtual(key, number, id, record, *start, path);
    let newest = path.first().filter(|_| is)?;
    Some(Revision {
        generation: *start,
        id: newest.clone(),
    })
}

/// The live leaf that an edit of a virtual revival edits.
pub(super) fn revived(
    entry: &DatabaseEntry,
    key: &[u8; 32],
    record: &Record,
    draft: &Prepared,
) -> Option<Revision> {
    match &draft.edit {
        DraftedEdit::Edit(Some(named)) => {
            seen::revived_leaf(key, entry.number, draft.id().as_str(), record, named)
        }
        DraftedEdit::Edit(None) | DraftedEdit::Replicated(..) => None,
    }
}

impl Question {
    /// What is to be asked of `draft`; refused if the caller may not write the document at all.
    pub(super) fn of(
        entry: &DatabaseEntry,
        labelling: &Labelling,
        record: &Record,
        bodies: &mut Bodies<'_, '_>,
        draft: &Prepared,
        edited: Option<&Revision>,
    ) -> Result<Result<Self, WriteRefused>, PodError> {
        let labelled = record.labelled.as_ref();
        let creator = labelled.and_then(|labelled| labelled.creator.clone());
        let admin = entry.access(&draft.caller) == Access::Admin;
        let held = Principals::of(&draft.caller, admin);
        let mut question = Self {
            told: None,
            old: Vec::new(),
            author: creator.clone(),
            creator,
            held,
            has_rules: labelling.has_rules(),
            is_write_only: labelling.is_write_only(),
            signature: draft.signature.clone(),
        };
        for leaf in leaves_asked(record, draft, edited) {
            let id = draft.id().as_str();
            let rights = rights_of(entry, labelling, id, labelled, leaf, bodies)?;
            let Some(rights) = rights.or_else(|| admin.then(for_admins)) else {
                let (done, total) = (0, 0);
                return Err(AccessError::Rebuilding { done, total }.into());
            };
            question.old.push(rights);
        }
        if question.old.is_empty() {
            question.author = author_of(draft, admin);
        }
        Ok(question.may_write().map(|()| question))
    }

    fn may_write(&self) -> Result<(), WriteRefused> {
        if self.has_rules {
            for rights in &self.old {
                rules::may_write(&self.held, rights)?;
            }
        }
        Ok(())
    }

    /// Whether the caller sees the document as it is.
    pub(super) fn is_seen(&self) -> bool {
        let list = self.old.first().map(|rights| rights.access.principals());
        list.is_none_or(|list| self.held.holds_any(list))
    }

    /// Whether the caller may take over attachments of `node`, a revision that his draft follows: he
    /// reads it, or he may write it by the rules as it stands. What older revisions held may have been
    /// for fewer.
    pub(super) fn may_keep(
        &self,
        entry: &DatabaseEntry,
        labelling: &Labelling,
        record: &Record,
        bodies: &mut Bodies<'_, '_>,
        draft: &Prepared,
        (node, edited): (&Node, Option<&Revision>),
    ) -> Result<bool, PodError> {
        if self.held.is_admin() {
            return Ok(true);
        }
        let asked =
            leaves_asked(record, draft, edited).any(|leaf| leaf.revision() == node.revision());
        if asked && self.has_rules {
            return Ok(true);
        }
        let labelled = record.labelled.as_ref();
        if node.is_deleted() {
            // A tombstone stays where the document stood, whatever it says.
            let list = list_in_force(entry, labelled, node, bodies)?;
            return Ok(list.is_some_and(|list| self.held.holds_any(list.principals())));
        }
        let id = draft.id().as_str();
        let rights = rights_of(entry, labelling, id, labelled, node, bodies)?;
        Ok(rights.is_some_and(|rights| self.held.holds_any(rights.access.principals())))
    }

    /// What is answered to a conflict: nothing that tells of a document that the caller does not see.
    pub(super) fn conflict(&self, error: PodError) -> PodError {
        if self.is_seen() {
            error
        } else {
            PodError::NotTaken(RuleBroken::NotAWriter.into())
        }
    }

    /// Reads what the draft says. True if a function must be asked who may read it.
    pub(super) fn read(
        &mut self,
        labelling: &Labelling,
        draft: &Prepared,
    ) -> Result<bool, WriteRefused> {
        let (id, json) = (draft.id().as_str(), &draft.draft.json);
        let told = labelling.told(id, json, self.author.as_ref());
        if draft.draft.deleted {
            // What a tombstone says is asked of nobody; it stays where the document stood.
            self.told = told.ok().filter(|told| !told.asks());
            return Ok(false);
        }
        let told = told?;
        let asks = told.asks();
        self.told = Some(told);
        Ok(asks)
    }

    /// The principal that counts as who made the document.
    pub(super) fn author(&self) -> Option<&Arc<str>> {
        self.author.as_ref()
    }

    /// Judges, with what the function answered if it was asked, and gives the draft its label.
    pub(super) fn settle(
        mut self,
        answered: Option<AccessList>,
        draft: &mut Prepared,
    ) -> Result<(), WriteRefused> {
        let rights = self.told.take().map(|told| {
            // Asked or not, nothing without a list is shown to anybody.
            told.with(|| answered.unwrap_or_else(AccessList::admin))
        });
        if let Some(given) = &self.signature {
            let known = self.old.first().map(|rights| rights.access.signature());
            if known.is_none_or(|known| **known != **given) {
                return Err(WriteRefused::Signature);
            }
        }
        if let (Some(new), true, false) = (&rights, self.has_rules, draft.draft.deleted) {
            let creator = self.creator.as_deref();
            if self.old.is_empty() {
                rules::may_change(&self.held, None, creator, new)?;
            }
            for old in &self.old {
                rules::may_change(&self.held, Some(old), creator, new)?;
            }
        }
        let list = rights.map_or_else(AccessList::admin, |rights| rights.access);
        draft.draft.label = Some(label_of(&list));
        // A database that is only written to tells its writers nothing, not even that.
        let tells = !self.is_write_only;
        let author = tells.then(|| author_without(&self.held, draft));
        draft.draft.author = author.flatten();
        draft.draft.creator = author_of(draft, self.held.is_admin());
        Ok(())
    }
}

/// Who writes a draft, if that is somebody with a name who does not see all.
fn author_without(held: &Principals, draft: &Prepared) -> Option<Author> {
    let author = author(&draft.caller).filter(|_| !held.is_admin())?;
    Some(Author {
        label: label_of(&AccessList::only(&author)),
        holds: held.as_slice().into(),
    })
}

/// Who makes the document. What an administrator replicates was made by somebody else.
pub(super) fn author_of(draft: &Prepared, admin: bool) -> Option<Arc<str>> {
    match draft.edit {
        DraftedEdit::Replicated(..) if admin => None,
        DraftedEdit::Replicated(..) | DraftedEdit::Edit(_) => author(&draft.caller),
    }
}

/// The live leaves by which a draft is judged: the winner, and another that it extends.
pub(super) fn leaves_asked<'r>(
    record: &'r Record,
    draft: &Prepared,
    edited: Option<&Revision>,
) -> impl Iterator<Item = &'r Node> {
    let winner = record.tree.winner().filter(|node| !node.is_deleted());
    let extended = match &draft.edit {
        DraftedEdit::Edit(named) => edited
            .or(named.as_ref())
            .and_then(|named| record.tree.find(named)),
        DraftedEdit::Replicated(start, path) => record.tree.nearest_with_body(*start, path),
    };
    let extended = extended.filter(|node| {
        !node.is_deleted()
            && record.tree.is_leaf(&node.revision())
            && winner.is_some_and(|winner| winner.revision() != node.revision())
    });
    winner.into_iter().chain(extended)
}

/// What a live leaf says. Where a function says who may read it, that is the label it has; one that
/// was not labelled since the rule was changed says nothing yet: `None`. Who may write it must not be
/// refused by that, as a replicator would never push his edit again.
fn rights_of(
    entry: &DatabaseEntry,
    labelling: &Labelling,
    id: &str,
    labelled: Option<&Labelled>,
    leaf: &Node,
    bodies: &mut Bodies<'_, '_>,
) -> Result<Option<Rights>, PodError> {
    let body = bodies.get(leaf)?;
    let json = body.as_ref().map_or(&b"{}"[..], |body| &body.json);
    let creator = labelled.and_then(|labelled| labelled.creator.as_ref());
    // Stored before there were rules, perhaps: then nobody but admins is named in it.
    let Ok(told) = labelling.told(id, json, creator) else {
        return Ok(Some(for_admins()));
    };
    if !told.asks() {
        return Ok(Some(told.with(AccessList::admin)));
    }
    let settings = &entry.settings;
    let current = labelled.is_some_and(|labelled| labelled.generation == settings.labels);
    let newer = labelled.is_some_and(|labelled| labelled.generation > settings.labels);
    if !current && (newer || settings.labels != settings.labelled) {
        return Ok(None);
    }
    let list = list_in_force(entry, labelled, leaf, bodies)?;
    Ok(Some(told.with(|| list.unwrap_or_else(AccessList::admin))))
}

/// The list of the label that a revision has by the rule in force, if it has one.
fn list_in_force(
    entry: &DatabaseEntry,
    labelled: Option<&Labelled>,
    node: &Node,
    bodies: &Bodies<'_, '_>,
) -> Result<Option<AccessList>, EngineError> {
    let current = labelled.filter(|labelled| labelled.generation == entry.settings.labels);
    let (Some(labelled), Some(body)) = (current, node.body()) else {
        return Ok(None);
    };
    let number = labelled.label_of(body);
    let label = labels::label(bodies.reader.view, entry.number, number)?;
    Ok(AccessList::new("access", label.members.iter().cloned()).ok())
}

fn for_admins() -> Rights {
    Rights {
        access: AccessList::admin(),
        stated: false,
        by_document: true,
        writers: None,
        owners: None,
    }
}

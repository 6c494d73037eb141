//! What a validation function is shown of a draft: the new document, and the one that it follows.
//!
//! As `CouchDB` shows them: an edit still has the revision that it is based on, since its own is not
//! made yet; a replicated revision has its own and its path. The old document is the leaf that is
//! edited, or the nearest ancestor of a replicated revision whose body is here; `null` for a new
//! document, and for one that is made again over a tombstone.

use adea_access::AccessList;
use adea_base::Caller;
use adea_documents::WriteError;
use adea_documents::json::write_json_string;
use adea_documents::reader::Reader;
use adea_documents::record::{Attachment, Body, Record};
use adea_documents::render::{Meta, Rendering};
use adea_documents::rev_tree::Node;
use adea_documents::revision::{Revision, RevisionId};
use adea_documents::writer::DraftAttachment;
use adea_store::View;
use bytes::Bytes;

use super::schema;
use super::standing::{self, Bodies, Question, virtual_revision};
use crate::access::WriteRefused;
use crate::access::label::label_of;
use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::follow_changes::{PATH_TOLD_MAX, shown_document};
use crate::write_document::{DraftedEdit, Prepared};
use crate::write_user::judge_user;

/// What is to be asked of a draft.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every draft is of the large one, and one is held at a time"
)]
pub(super) enum Plan {
    /// Nothing: it will not be written.
    Refused(PodError),
    /// Nothing: it is known, and brings nothing new.
    Known(Revision),
    /// What it needs to be asked.
    Asked {
        /// What the rules of access are asked, if a function must be asked first who may read it.
        question: Option<Question>,
        /// What the validation functions are shown, if there are any.
        shown: Option<Shown>,
    },
}

/// What a validation function is shown, as JSON texts.
pub(crate) struct Shown {
    pub(super) new: Bytes,
    pub(super) old: Bytes,
    pub(super) user: Bytes,
}

impl Shown {
    /// What is shown of a document that ends a fork: `new` as an edit of `old`, whose ids of ancestors
    /// are `path`, by who brought the fork about.
    pub(crate) fn merged(
        entry: &DatabaseEntry,
        draft: &Prepared,
        (revision, path): (&Revision, &[RevisionId]),
        old: &Body,
        new: &Body,
    ) -> Self {
        let id = draft.id().as_str();
        let rendered = |body: &Body, path: &[RevisionId]| {
            let mut out = Vec::with_capacity(body.json.len() + 200);
            Rendering {
                id,
                revision,
                deleted: false,
                json: &body.json,
                attachments: &body.attachments,
                meta: &Meta {
                    revisions: Some((revision.generation, path.to_vec())),
                    ..Meta::default()
                },
                encoding_info: false,
            }
            .write(&mut out);
            Bytes::from(out)
        };
        Self {
            new: rendered(new, std::slice::from_ref(&revision.id)),
            old: rendered(old, path.get(..PATH_TOLD_MAX).unwrap_or(path)),
            user: user_context(entry, &draft.caller),
        }
    }
}

const FREE: Plan = Plan::Asked {
    question: None,
    shown: None,
};

/// What is to be asked of `draft`, which gets its label if that is known already, and the sequence of
/// the record that says so; `None` where the record does not matter. `key` makes virtual revisions.
pub(super) fn plan(
    view: &dyn View,
    entry: &DatabaseEntry,
    key: Option<&[u8; 32]>,
    draft: &mut Prepared,
) -> Result<(Option<u64>, Plan), PodError> {
    if draft.id().is_design() {
        label_design(entry, draft);
        return Ok((None, FREE));
    }
    // What is judged is what is there, whoever may see it.
    let reader = Reader {
        view,
        database: entry.number,
        scope: adea_access::aggregate(),
    };
    let record = reader.record(draft.id().as_str())?.unwrap_or_default();
    let planned = plan_by(&reader, entry, key, &record, draft)?;
    Ok((Some(record.sequence), planned.unwrap_or_else(Plan::Refused)))
}

/// The plan by what is there; an error within is of the draft alone.
fn plan_by(
    reader: &Reader<'_>,
    entry: &DatabaseEntry,
    key: Option<&[u8; 32]>,
    record: &Record,
    draft: &mut Prepared,
) -> Result<Result<Plan, PodError>, PodError> {
    if let Some(account) = &draft.account {
        match judge_user(reader.view, entry, draft, account) {
            Ok(()) => {}
            Err(PodError::Refused(refusal)) => return Ok(Err(refusal.into())),
            Err(error) => return Err(error),
        }
    }
    let mut bodies = Bodies::of(reader);
    let mut revived = None;
    if let Some(key) = key {
        if let Some(known) = virtual_revision(entry, key, record, draft) {
            return Ok(Ok(Plan::Known(known)));
        }
        revived = standing::revived(entry, key, record, draft);
    }
    let mut question = None;
    if let Some(labelling) = &entry.writing.labelling {
        let edited = revived.as_ref();
        let asked = Question::of(entry, labelling, record, &mut bodies, draft, edited)?;
        question = match asked {
            Ok(question) => Some(question),
            Err(refused) => return Ok(Err(refused.of(&draft.edit).into())),
        };
    }
    if entry.validators.is_empty() && question.is_none() && entry.writing.schemas.is_none() {
        return Ok(Ok(FREE));
    }
    let follows = match Follows::of(record, draft, revived.as_ref()) {
        Ok(Some(follows)) => follows,
        // It is here already. A label it has, too; this one is for a body that is here by name only.
        Ok(None) => {
            draft.draft.label = question.map(|_| label_of(&AccessList::admin()));
            return Ok(Ok(FREE));
        }
        Err(error) => {
            let error = error.into();
            return Ok(Err(match &question {
                Some(question) => question.conflict(error),
                None => error,
            }));
        }
    };
    let (asks, edited) = (question.as_ref(), revived.as_ref());
    if let Some(missing) = unread(entry, record, asks, &follows, &mut bodies, draft, edited)? {
        return Ok(Err(missing.into()));
    }
    if let Some(schemas) = &entry.writing.schemas {
        let satisfied = schema::judge(entry, schemas, record, &mut bodies, draft, edited)?;
        if let Err(refused) = satisfied {
            return Ok(Err(refused.of(&draft.edit).into()));
        }
    }
    let question = match settled(entry, question, draft) {
        Ok(question) => question,
        Err(refused) => return Ok(Err(refused.of(&draft.edit).into())),
    };
    if entry.validators.is_empty() {
        let shown = None;
        return Ok(Ok(Plan::Asked { question, shown }));
    }
    let shown = shown(entry, record, &follows, &mut bodies, draft)?;
    Ok(shown.map(|shown| Plan::Asked {
        question,
        shown: Some(shown),
    }))
}

/// A design document is for admins to write; who reads it, it may say itself.
fn label_design(entry: &DatabaseEntry, draft: &mut Prepared) {
    if let Some(labelling) = &entry.writing.labelling {
        let list = labelling.of_design(&draft.draft.json);
        draft.draft.label = Some(label_of(&list));
        draft.draft.creator = standing::author_of(draft, true);
    }
}

/// Settles what can be told at once; gives the question back if a function must be asked.
fn settled(
    entry: &DatabaseEntry,
    question: Option<Question>,
    draft: &mut Prepared,
) -> Result<Option<Question>, WriteRefused> {
    let (Some(mut question), Some(labelling)) = (question, &entry.writing.labelling) else {
        return Ok(None);
    };
    if question.read(labelling, draft)? {
        return Ok(Some(question));
    }
    question.settle(None, draft)?;
    Ok(None)
}

/// What the validation functions are shown; an error within is of the draft alone.
fn shown(
    entry: &DatabaseEntry,
    record: &Record,
    follows: &Follows<'_>,
    bodies: &mut Bodies<'_, '_>,
    draft: &Prepared,
) -> Result<Result<Shown, PodError>, PodError> {
    let body = match follows.stored {
        None => None,
        Some(node) => bodies.get(node)?,
    };
    let inherited = body.as_ref().map_or(&[][..], |body| &body.attachments);
    let attachments = match attachments(draft, follows, inherited) {
        Ok(attachments) => attachments,
        Err(error) => return Ok(Err(error.into())),
    };
    let old = match (follows.old(), &body) {
        (Some(node), Some(body)) => shown_document(draft.id().as_str(), record, node, body),
        _ => Bytes::from_static(b"null"),
    };
    Ok(Ok(Shown {
        new: new_document(draft, follows, &attachments),
        old,
        user: user_context(entry, &draft.caller),
    }))
}

/// What a draft follows.
struct Follows<'r> {
    /// The revision told of the new document, and the ids of it and its ancestors.
    named: Option<(Revision, Vec<RevisionId>)>,
    /// The generation of the new document.
    generation: u64,
    /// The revision from which attachments are inherited.
    stored: Option<&'r Node>,
    /// Whether the functions are shown `stored`.
    shown: bool,
}

impl<'r> Follows<'r> {
    /// `None` if the revision is here already.
    fn of(
        record: &'r Record,
        draft: &Prepared,
        revived: Option<&Revision>,
    ) -> Result<Option<Self>, WriteError> {
        match &draft.edit {
            DraftedEdit::Edit(Some(named)) if revived.is_some() => Ok(Some(Self {
                named: Some((named.clone(), vec![named.id.clone()])),
                generation: named.generation + 1,
                stored: revived.and_then(|leaf| record.tree.find(leaf)),
                shown: true,
            })),
            DraftedEdit::Edit(based_on) => {
                let parent = record
                    .tree
                    .edit_parent(based_on.as_ref(), draft.draft.deleted)
                    .map_err(|_| WriteError::Conflict)?;
                let generation = parent.as_ref().map_or(0, |parent| parent.generation) + 1;
                Ok(Some(Self {
                    named: based_on
                        .as_ref()
                        .map(|named| (named.clone(), vec![named.id.clone()])),
                    generation,
                    stored: parent.and_then(|parent| record.tree.find(&parent)),
                    shown: based_on.is_some(),
                }))
            }
            DraftedEdit::Replicated(start, path) => {
                let newest = path.first().map(|id| Revision {
                    generation: *start,
                    id: id.clone(),
                });
                let stored = record.tree.nearest_with_body(*start, path);
                if stored.map(Node::revision) == newest {
                    return Ok(None);
                }
                let told = path.get(..PATH_TOLD_MAX).unwrap_or(path);
                Ok(Some(Self {
                    named: newest.map(|newest| (newest, told.to_vec())),
                    generation: *start,
                    stored,
                    shown: true,
                }))
            }
        }
    }

    fn old(&self) -> Option<&'r Node> {
        self.stored.filter(|_| self.shown)
    }
}

/// What is said of a draft that keeps attachments which its sender may not take over: what he would be
/// told if they were not there.
fn unread(
    entry: &DatabaseEntry,
    record: &Record,
    question: Option<&Question>,
    follows: &Follows<'_>,
    bodies: &mut Bodies<'_, '_>,
    draft: &Prepared,
    edited: Option<&Revision>,
) -> Result<Option<WriteError>, PodError> {
    let (Some(question), Some(labelling)) = (question, &entry.writing.labelling) else {
        return Ok(None);
    };
    let Some((node, missing)) = kept(draft, follows) else {
        return Ok(None);
    };
    let may = question.may_keep(entry, labelling, record, bodies, draft, (node, edited))?;
    Ok((!may).then_some(missing))
}

/// The revision of which a draft keeps attachments, and what is said if that has none of them.
fn kept<'r>(draft: &Prepared, follows: &Follows<'r>) -> Option<(&'r Node, WriteError)> {
    let node = follows.stored?;
    draft.draft.attachments.iter().find_map(|one| match one {
        DraftAttachment::Stub { name, .. } => {
            let id = draft.id().as_str().to_owned();
            let name = name.clone();
            Some((node, WriteError::MissingStub { id, name }))
        }
        DraftAttachment::Stored(_) => None,
    })
}

/// The attachments of the new document, those it keeps looked up.
fn attachments(
    draft: &Prepared,
    follows: &Follows<'_>,
    inherited: &[Attachment],
) -> Result<Vec<Attachment>, WriteError> {
    let resolved = draft.draft.attachments.iter().map(|one| match one {
        DraftAttachment::Stored(stored) => {
            let mut stored = stored.clone();
            if stored.revision_position == 0 {
                stored.revision_position = follows.generation;
            }
            Ok(stored)
        }
        DraftAttachment::Stub { name, md5 } => inherited
            .iter()
            .find(|known| known.name == *name && md5.is_none_or(|md5| md5 == known.md5))
            .cloned()
            .ok_or_else(|| WriteError::MissingStub {
                id: draft.id().as_str().to_owned(),
                name: name.clone(),
            }),
    });
    resolved.collect()
}

fn new_document(draft: &Prepared, follows: &Follows<'_>, attachments: &[Attachment]) -> Bytes {
    let none = Revision {
        generation: 0,
        id: RevisionId::Md5([0; 16]),
    };
    let named = follows.named.as_ref();
    let meta = Meta {
        revisions: named.map(|(revision, path)| (revision.generation, path.clone())),
        ..Meta::default()
    };
    let rendering = Rendering {
        id: draft.id().as_str(),
        revision: named.map_or(&none, |(revision, _)| revision),
        deleted: draft.draft.deleted,
        json: &draft.draft.json,
        attachments,
        meta: &meta,
        encoding_info: false,
    };
    let mut out = Vec::with_capacity(draft.draft.json.len() + 200);
    if named.is_some() {
        rendering.write(&mut out);
    } else {
        rendering.write_unrevised(&mut out);
    }
    Bytes::from(out)
}

/// `{"db","name","roles"}`: who asks, as design functions are told.
pub(crate) fn user_context(entry: &DatabaseEntry, caller: &Caller) -> Bytes {
    let mut out = b"{\"db\":".to_vec();
    write_json_string(&mut out, entry.name.as_str());
    out.extend_from_slice(b",\"name\":");
    match caller.name() {
        Some(name) => write_json_string(&mut out, name),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"roles\":[");
    for (n, role) in caller.roles().iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_json_string(&mut out, role);
    }
    out.extend_from_slice(b"]}");
    Bytes::from(out)
}

//! What a validation function is shown of a draft: the new document, and the one that it follows.
//!
//! As `CouchDB` shows them: an edit still has the revision that it is based on, since its own is not
//! made yet; a replicated revision has its own and its path. The old document is the leaf that is
//! edited, or the nearest ancestor of a replicated revision whose body is here; `null` for a new
//! document, and for one that is made again over a tombstone.

use adea_base::Caller;
use adea_documents::WriteError;
use adea_documents::json::write_json_string;
use adea_documents::record::{Attachment, Body, Record};
use adea_documents::render::{Meta, Rendering};
use adea_documents::rev_tree::Node;
use adea_documents::revision::{Revision, RevisionId};
use adea_documents::writer::DraftAttachment;
use adea_store::View;
use bytes::Bytes;

use crate::databases::{DatabaseEntry, reader};
use crate::error::PodError;
use crate::follow_changes::{PATH_TOLD_MAX, shown_document};
use crate::write_document::{DraftedEdit, Prepared};
use crate::write_user::judge_user;

/// What is to be asked of a draft.
pub(super) enum Plan {
    /// Nothing: it will not be written.
    Refused(PodError),
    /// Nothing: it may be written.
    Free,
    /// The validation functions.
    Shown(Shown),
}

/// What a validation function is shown, as JSON texts.
pub(super) struct Shown {
    pub(super) new: Bytes,
    pub(super) old: Bytes,
    pub(super) user: Bytes,
}

/// What is to be asked of `draft`, and the sequence of the record that says so; `None` where the
/// record does not matter.
pub(super) fn plan(
    view: &dyn View,
    entry: &DatabaseEntry,
    draft: &Prepared,
) -> Result<(Option<u64>, Plan), PodError> {
    if draft.id().is_design() {
        return Ok((None, Plan::Free));
    }
    let record = reader(view, entry, &draft.caller).record(draft.id().as_str())?;
    let record = record.unwrap_or_default();
    let sequence = Some(record.sequence);
    if let Some(account) = &draft.account {
        match judge_user(view, entry, draft, account) {
            Ok(()) => {}
            Err(PodError::Refused(refusal)) => {
                return Ok((sequence, Plan::Refused(refusal.into())));
            }
            Err(error) => return Err(error),
        }
    }
    if entry.validators.is_empty() {
        return Ok((sequence, Plan::Free));
    }
    let follows = match Follows::of(&record, draft) {
        Ok(Some(follows)) => follows,
        Ok(None) => return Ok((sequence, Plan::Free)),
        Err(error) => return Ok((sequence, Plan::Refused(error.into()))),
    };
    let body = match follows.stored.and_then(Node::body) {
        None => None,
        Some(body) => reader(view, entry, &draft.caller).body(body)?,
    };
    let body = body.map(|stored| Body::decode(&stored)).transpose()?;
    let inherited = body.as_ref().map_or(&[][..], |body| &body.attachments);
    let attachments = match attachments(draft, &follows, inherited) {
        Ok(attachments) => attachments,
        Err(error) => return Ok((sequence, Plan::Refused(error.into()))),
    };
    let old = match (follows.old(), &body) {
        (Some(node), Some(body)) => shown_document(draft.id().as_str(), &record, node, body),
        _ => Bytes::from_static(b"null"),
    };
    let shown = Shown {
        new: new_document(draft, &follows, &attachments),
        old,
        user: user_context(entry, &draft.caller),
    };
    Ok((sequence, Plan::Shown(shown)))
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
    fn of(record: &'r Record, draft: &Prepared) -> Result<Option<Self>, WriteError> {
        match &draft.edit {
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

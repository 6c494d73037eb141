//! Ending forks: what a database that merges writes besides a replicated revision which leaves more
//! than one live leaf.
//!
//! The merged document is an ordinary child of the winner, and a tombstone ends each other live leaf.
//! Their revisions follow from their content and place, as those of any edit, and the content follows
//! from the leaves and their common ancestor. So two servers that see the same leaves write the same.
//!
//! It is worked out where drafts are judged, and written in the transaction of the draft, which makes
//! sure that the document is still the one that was looked at. A function that gives no document leaves
//! the fork as it is: nothing is lost, and the next revision that comes is an occasion to try again. So
//! does a merged document that a schema or a validation function refuses, and one that would show to
//! some what a leaf was written for others.

use std::sync::Arc;

use adea_access::conflict::{Members, Resolver, by_fields, newest};
use adea_documents::WriteError;
use adea_documents::json::{parse_document, skim};
use adea_documents::labels::DraftLabel;
use adea_documents::reader::Reader;
use adea_documents::record::{Attachment, Body, Record};
use adea_documents::rev_tree::{Node, RevTree};
use adea_documents::revision::{Revision, RevisionId};
use adea_documents::writer::{Draft, DraftAttachment, Writer};
use adea_script::{Owner, Purpose};
use adea_store::{Decline, EngineError};
use bytes::Bytes;
use serde_json::Value;

use super::{DraftedEdit, Prepared};
use crate::access::writing::{Forks, Function};
use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;
use crate::validate::Shown;

/// Where the body of the draft itself is said to lie until it has a place.
const DRAFTED: u64 = u64::MAX - 1;
/// Forks of more leaves are left as they are.
const LEAVES_MAX: usize = 64;

/// How a fork is ended.
#[derive(Debug)]
pub(crate) struct Merging {
    winner: Revision,
    /// The merged document; `None` if it is the winner as it is.
    child: Option<Draft>,
    losers: Vec<Revision>,
    tombstone: Draft,
}

/// A live leaf and what it says.
#[derive(Clone)]
struct Leaf {
    revision: Revision,
    members: Members,
    attachments: Vec<Attachment>,
}

/// What a fork's merge says.
struct Merged {
    members: Members,
    attachments: Vec<Attachment>,
    /// Whether it is one of the leaves as it is.
    is_leaf: bool,
}

/// The live leaves, the winner first, and their nearest common ancestor whose body is here.
struct Fork {
    leaves: Vec<Leaf>,
    ancestor: Option<Leaf>,
    /// The ids of the winner and its ancestors.
    path: Vec<RevisionId>,
    /// Who made the document, if that is known.
    creator: Option<Arc<str>>,
}

impl Pod {
    /// Works out for each draft how the fork that it leaves is ended.
    pub(crate) async fn plan_merges(
        &self,
        entry: &DatabaseEntry,
        drafts: &mut [(usize, Prepared)],
    ) -> Result<(), PodError> {
        let Forks::Merged(resolver, function) = &entry.writing.forks else {
            return Ok(());
        };
        for (_, draft) in drafts {
            draft.merging = None;
            let fork = fork_of(
                &Reader {
                    view: self.view().as_ref(),
                    database: entry.number,
                    scope: adea_access::aggregate(),
                },
                draft,
            )?;
            if let Some(fork) = fork {
                let merged = self
                    .resolve(entry, resolver, function.as_ref(), &fork, draft)
                    .await;
                draft.merging = match merged {
                    Some(merged) => self.merging(entry, fork, merged, draft).await,
                    None => None,
                };
            }
        }
        Ok(())
    }

    /// What the fork's merge says; `None` if nothing can be told.
    async fn resolve(
        &self,
        entry: &DatabaseEntry,
        resolver: &Resolver,
        function: Option<&Function>,
        fork: &Fork,
        draft: &Prepared,
    ) -> Option<Merged> {
        let winner = fork.leaves.first()?;
        let members = match resolver {
            Resolver::Fields => {
                let others = fork.leaves.iter().skip(1).map(|leaf| &leaf.members);
                let ancestor = fork.ancestor.as_ref().map(|leaf| &leaf.members);
                by_fields(&winner.members, others, ancestor)
            }
            Resolver::Newest(name) => {
                let leaf = fork
                    .leaves
                    .get(newest(name, fork.leaves.iter().map(|l| &l.members)));
                let leaf = leaf?;
                return Some(Merged {
                    members: leaf.members.clone(),
                    attachments: leaf.attachments.clone(),
                    is_leaf: true,
                });
            }
            Resolver::Function { name, .. } => {
                let program = function?.as_ref().ok()?;
                let owner = Owner {
                    database: entry.number.0,
                    purpose: Purpose::Access,
                };
                let id = draft.id().as_str();
                let arguments = vec![
                    shown(id, winner),
                    array(fork.leaves.iter().skip(1).map(|leaf| shown(id, leaf))),
                    fork.ancestor
                        .as_ref()
                        .map_or_else(|| "null".into(), |leaf| shown(id, leaf)),
                ];
                let (path, calls) = ([name.as_str()], [arguments]);
                let answers = self.inner.scripts.answers(&owner, program, &path, &calls);
                members_of(&answers.await.ok()?.into_iter().next()?.ok()?)?
            }
        };
        Some(Merged {
            members,
            attachments: merged_attachments(fork),
            is_leaf: false,
        })
    }

    /// What is written to end the fork with this document; `None` if it is not to be ended so.
    async fn merging(
        &self,
        entry: &DatabaseEntry,
        fork: Fork,
        merged: Merged,
        draft: &Prepared,
    ) -> Option<Merging> {
        let winner = fork.leaves.first()?;
        let same = merged.members == winner.members
            && same_contents(&merged.attachments, &winner.attachments);
        let text = Value::Object(merged.members).to_string();
        let parsed = parse_document(text.as_bytes()).ok()?;
        let body = Body {
            json: parsed.body,
            attachments: merged.attachments,
        };
        let label = self.label_in(entry, &fork, &body.json, draft).await.ok()?;
        if !merged.is_leaf {
            for leaf in &fork.leaves {
                let of = self.label_in(entry, &fork, &leaf.json(), draft).await;
                if of.ok()? != label {
                    return None;
                }
            }
        }
        if !same && !self.is_allowed(entry, &fork, &body, draft).await {
            return None;
        }
        let Body { json, attachments } = body;
        let child = (!same).then(|| Draft {
            attachments: attachments
                .into_iter()
                .map(DraftAttachment::Stored)
                .collect(),
            ..drafted(draft, false, json, parsed.term, label.clone())
        });
        let nothing = parse_document(b"{}").ok()?;
        let mut revisions = fork.leaves.into_iter().map(|leaf| leaf.revision);
        Some(Merging {
            winner: revisions.next()?,
            child,
            losers: revisions.collect(),
            tombstone: drafted(draft, true, nothing.body, nothing.term, label),
        })
    }

    /// The label that a body has in the fork's document, where documents have labels.
    async fn label_in(
        &self,
        entry: &DatabaseEntry,
        fork: &Fork,
        json: &[u8],
        draft: &Prepared,
    ) -> Result<Option<DraftLabel>, PodError> {
        if entry.writing.labelling.is_none() {
            return Ok(None);
        }
        let creator = fork.creator.as_ref();
        let label = self.label_of_body(entry, draft.id(), json, creator).await?;
        Ok(Some(label))
    }

    /// Whether the merged document is one that an edit might have made.
    async fn is_allowed(
        &self,
        entry: &DatabaseEntry,
        fork: &Fork,
        body: &Body,
        draft: &Prepared,
    ) -> bool {
        if let Some(schemas) = &entry.writing.schemas {
            let Some(Value::Object(mut members)) = skim::read_value(&body.json) else {
                return false;
            };
            if !matches!(schemas.judge(&mut members, &[], false), Ok(false)) {
                return false;
            }
        }
        let Some(winner) = fork.leaves.first() else {
            return false;
        };
        if entry.validators.is_empty() {
            return true;
        }
        let old = Body {
            json: winner.json(),
            attachments: winner.attachments.clone(),
        };
        let path = (&winner.revision, fork.path.as_slice());
        let shown = Shown::merged(entry, draft, path, &old, body);
        self.is_accepted(entry, &shown).await
    }
}

impl Leaf {
    /// Its text.
    fn json(&self) -> Vec<u8> {
        Value::Object(self.members.clone()).to_string().into_bytes()
    }
}

impl Merging {
    /// Ends the fork, behind the draft that made it.
    pub(super) fn write(&self, writer: &mut Writer<'_, '_>) -> Result<(), EngineError> {
        let mut edit = |draft: &Draft, on: &Revision| match writer.edit(draft, Some(on)) {
            // Refused, it stays a fork.
            Ok(_) | Err(Decline::Refused(_)) => Ok(()),
            Err(Decline::Engine(error)) => Err(error),
        };
        if let Some(child) = &self.child {
            edit(child, &self.winner)?;
        }
        for loser in &self.losers {
            edit(&self.tombstone, loser)?;
        }
        Ok(())
    }
}

/// Whether writing a draft would leave more live leaves than there are, and more than one.
pub(super) fn would_fork(
    writer: &Writer<'_, '_>,
    prepared: &Prepared,
) -> Result<bool, EngineError> {
    if prepared.deleted() {
        return Ok(false);
    }
    let tree = writer.record(prepared.id())?.tree;
    let live = live_leaves(&tree);
    if live == 0 {
        return Ok(false);
    }
    Ok(match &prepared.edit {
        // Of a live document an edit extends a live leaf, unless it names a tombstone beside it.
        DraftedEdit::Edit(named) => named
            .as_ref()
            .and_then(|named| tree.find(named))
            .is_some_and(Node::is_deleted),
        DraftedEdit::Replicated(start, path) if continues(&tree, *start, path) => false,
        DraftedEdit::Replicated(..) => {
            merged(tree, prepared).is_ok_and(|tree| live_leaves(&tree) > live)
        }
    })
}

/// Whether a path continues what is a live leaf, as nearly all do.
fn continues(tree: &RevTree, start: u64, path: &[RevisionId]) -> bool {
    let (Some(parent), Some(generation)) = (path.get(1), start.checked_sub(1)) else {
        return false;
    };
    let id = parent.clone();
    let parent = Revision { generation, id };
    let mut live = tree.leaves().take_while(|leaf| !leaf.is_deleted());
    live.any(|leaf| leaf.revision() == parent)
}

fn live_leaves(tree: &RevTree) -> usize {
    tree.leaves().take_while(|leaf| !leaf.is_deleted()).count()
}

/// The tree with a replicated draft in it.
fn merged(mut tree: RevTree, prepared: &Prepared) -> Result<RevTree, WriteError> {
    if let DraftedEdit::Replicated(start, path) = &prepared.edit {
        let merged = tree.merge(path, *start, prepared.deleted(), DRAFTED);
        merged.map_err(|_| WriteError::Conflict)?;
    }
    Ok(tree)
}

/// The fork that a replicated draft leaves, if it leaves one.
fn fork_of(reader: &Reader<'_>, draft: &Prepared) -> Result<Option<Fork>, PodError> {
    if matches!(draft.edit, DraftedEdit::Edit(_)) || draft.judged.is_none() {
        return Ok(None);
    }
    let record = reader.record(draft.id().as_str())?.unwrap_or_default();
    // Else the draft is stale, and comes back.
    if Some(record.sequence) != draft.judged {
        return Ok(None);
    }
    let Ok(tree) = merged(record.tree.clone(), draft) else {
        return Ok(None);
    };
    let live: Vec<&Node> = tree
        .leaves()
        .take_while(|leaf| !leaf.is_deleted())
        .collect();
    if !(2..=LEAVES_MAX).contains(&live.len()) {
        return Ok(None);
    }
    let mut leaves = Vec::with_capacity(live.len());
    for node in &live {
        match leaf(reader, &record, node, draft)? {
            Some(leaf) => leaves.push(leaf),
            None => return Ok(None),
        }
    }
    let ancestor = match common_ancestor(&tree, &live) {
        Some(node) => leaf(reader, &record, node, draft)?,
        None => None,
    };
    let line = live.first().map(|winner| winner.revision());
    let line = line.iter().flat_map(|winner| tree.ancestors(winner));
    let path = line.map(|node| node.id().clone()).collect();
    let creator = record.labelled.and_then(|labelled| labelled.creator);
    Ok(Some(Fork {
        leaves,
        ancestor,
        path,
        creator,
    }))
}

/// The nearest ancestor of all whose body is here.
fn common_ancestor<'t>(tree: &'t RevTree, live: &[&Node]) -> Option<&'t Node> {
    let (winner, others) = live.split_first()?;
    let lines: Vec<Vec<Revision>> = others
        .iter()
        .map(|leaf| {
            tree.ancestors(&leaf.revision())
                .map(Node::revision)
                .collect()
        })
        .collect();
    let mut own = tree.ancestors(&winner.revision()).skip(1);
    own.find(|node| {
        let revision = node.revision();
        node.body().is_some() && lines.iter().all(|line| line.contains(&revision))
    })
}

/// What a revision says; `None` if its body is not here, or cannot be read.
fn leaf(
    reader: &Reader<'_>,
    record: &Record,
    node: &Node,
    draft: &Prepared,
) -> Result<Option<Leaf>, PodError> {
    let Some(sequence) = node.body() else {
        return Ok(None);
    };
    let body = if sequence == DRAFTED {
        drafted_body(reader, record, draft)?
    } else {
        reader
            .body(sequence)?
            .map(|stored| Body::decode(&stored))
            .transpose()?
    };
    let Some(body) = body else {
        return Ok(None);
    };
    let Some(Value::Object(members)) = skim::read_value(&body.json) else {
        return Ok(None);
    };
    Ok(Some(Leaf {
        revision: node.revision(),
        members,
        attachments: body.attachments,
    }))
}

/// The body that the draft will have: its stubs are looked up where the writer will look.
fn drafted_body(
    reader: &Reader<'_>,
    record: &Record,
    draft: &Prepared,
) -> Result<Option<Body>, PodError> {
    let DraftedEdit::Replicated(start, path) = &draft.edit else {
        return Ok(None);
    };
    let parent = record
        .tree
        .nearest_with_body(*start, path)
        .and_then(Node::body);
    let stored = parent.map(|body| reader.body(body)).transpose()?.flatten();
    let inherited = stored.map(|stored| Body::decode(&stored)).transpose()?;
    let inherited = inherited.map(|body| body.attachments).unwrap_or_default();
    let attachments = draft.draft.attachments.iter().map(|one| match one {
        DraftAttachment::Stored(stored) => Some(stored.clone()),
        DraftAttachment::Stub { name, .. } => {
            inherited.iter().find(|known| known.name == *name).cloned()
        }
    });
    let json = draft.draft.json.clone();
    let attachments: Option<Vec<Attachment>> = attachments.collect();
    Ok(attachments.map(|attachments| Body { json, attachments }))
}

/// Attachments by name, as members are merged: the content of who changed it since the ancestor.
fn merged_attachments(fork: &Fork) -> Vec<Attachment> {
    let named = |list: &[Attachment], name: &str| list.iter().find(|a| a.name == name).cloned();
    let same = |a: &Option<Attachment>, b: &Option<Attachment>| match (a, b) {
        (Some(a), Some(b)) => same_content(a, b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let base = fork
        .ancestor
        .as_ref()
        .map_or(&[][..], |leaf| &leaf.attachments);
    let mut leaves = fork.leaves.iter().map(|leaf| &leaf.attachments);
    let mut merged = leaves.next().cloned().unwrap_or_default();
    for theirs in leaves {
        let mut names: Vec<String> = merged.iter().map(|a| a.name.clone()).collect();
        let more = theirs.iter().filter(|a| !names.contains(&a.name));
        let more: Vec<String> = more.map(|a| a.name.clone()).collect();
        names.extend(more);
        let kept = names.iter().filter_map(|name| {
            let (ours, other) = (named(&merged, name), named(theirs, name));
            let before = named(base, name);
            if same(&ours, &other) || same(&other, &before) {
                ours
            } else if same(&ours, &before) {
                other
            } else {
                ours.or(other)
            }
        });
        merged = kept.collect();
    }
    merged
}

fn same_content(a: &Attachment, b: &Attachment) -> bool {
    (&a.name, &a.content_type, a.md5) == (&b.name, &b.content_type, b.md5)
}

fn same_contents(a: &[Attachment], b: &[Attachment]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_content(a, b))
}

fn drafted(
    of: &Prepared,
    deleted: bool,
    json: Vec<u8>,
    term: Vec<u8>,
    label: Option<DraftLabel>,
) -> Draft {
    Draft {
        id: of.id().clone(),
        deleted,
        attachments: Vec::new(),
        json,
        term,
        label,
        author: None,
        creator: of.draft.creator.as_ref().map(Arc::clone),
    }
}

/// A revision as the function sees it.
fn shown(id: &str, leaf: &Leaf) -> Bytes {
    let mut document = Members::new();
    document.insert("_id".to_owned(), id.into());
    document.insert("_rev".to_owned(), leaf.revision.to_string().into());
    document.extend(leaf.members.clone());
    Bytes::from(Value::Object(document).to_string())
}

fn array(texts: impl Iterator<Item = Bytes>) -> Bytes {
    let texts: Vec<Bytes> = texts.collect();
    let mut out = b"[".to_vec();
    out.extend_from_slice(&texts.join(&b","[..]));
    out.push(b']');
    Bytes::from(out)
}

/// The document that the function made, without what a server adds; `None` if it is none.
fn members_of(answer: &str) -> Option<Members> {
    let Some(Value::Object(mut members)) = skim::read_value(answer.as_bytes()) else {
        return None;
    };
    if members.get("_deleted") == Some(&Value::Bool(true)) {
        return None;
    }
    members.retain(|name, _| !name.starts_with('_'));
    Some(members)
}

//! Changes with their documents as filter functions see them, read in one view and judged after it.

use std::ops::ControlFlow;

use adea_base::Caller;
use adea_documents::reader::Reader;
use adea_documents::record::{Body, Change, Leaf, Record};
use adea_documents::render::{Meta, Rendering};
use adea_documents::rev_tree::Node;
use adea_documents::revision::Revision;
use adea_store::EngineError;
use bytes::Bytes;

use super::{ChangesRange, is_removal, walk_part};
use crate::databases::{DatabaseEntry, reader};
use crate::error::PodError;
use crate::pod::Pod;
use crate::replicate::{is_replicator, visible_description};

/// How many ids of a revision's path are told: as many as a database keeps unless told otherwise.
pub(crate) const PATH_TOLD_MAX: usize = 1_000;

/// A change, and its documents as JSON texts.
#[derive(Debug)]
pub struct ShownChange {
    /// The sequence.
    pub sequence: u64,
    /// The document's id.
    pub id: String,
    /// All leaves, winner first, if asked for; else the winner alone.
    pub leaves: Vec<Leaf>,
    /// The document of each leaf; `None` where its body is not here.
    pub documents: Vec<Option<Bytes>>,
    /// The winner's body, if asked for and there.
    pub body: Option<Body>,
    /// The winner's live conflicts, if asked for.
    pub conflicts: Vec<Revision>,
    /// Whether the document is not deleted, but gone from the reader's sight: no function is asked
    /// whether that is told.
    pub removal: bool,
}

/// Changes that were read together.
#[derive(Debug, Default)]
pub struct Batch {
    /// The changes, in order.
    pub changes: Vec<ShownChange>,
    /// Whether there may be more.
    pub more: bool,
}

impl Pod {
    /// Reads changes of a part of the feed at one moment: up to `changes_max`, and no more beyond
    /// `bytes_max` bytes of documents.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn read_shown_changes(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        range: ChangesRange,
        changes_max: usize,
        bytes_max: usize,
    ) -> Result<Batch, PodError> {
        let view = self.view();
        self.require_standing(view.as_ref(), entry)?;
        let reader = reader(view.as_ref(), entry, caller);
        let (mut batch, mut bytes) = (Batch::default(), 0);
        walk_part(&reader, &range, |sequence, change| {
            if batch.changes.len() >= changes_max || bytes >= bytes_max {
                batch.more = true;
                return Ok(ControlFlow::Break(()));
            }
            let shown = show(&reader, entry, caller, range, sequence, &change)?;
            bytes += shown
                .documents
                .iter()
                .flatten()
                .map(Bytes::len)
                .sum::<usize>();
            if !shown.leaves.is_empty() {
                batch.changes.push(shown);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(batch)
    }
}

/// A change with its documents.
fn show(
    reader: &Reader<'_>,
    entry: &DatabaseEntry,
    caller: &Caller,
    range: ChangesRange,
    sequence: u64,
    change: &Change<'_>,
) -> Result<ShownChange, EngineError> {
    let secrets = is_replicator(&entry.name);
    let record = reader.record(change.id)?.unwrap_or_default();
    let told = if range.leaves { usize::MAX } else { 1 };
    let mut shown = ShownChange {
        sequence,
        id: change.id.to_owned(),
        leaves: Vec::new(),
        documents: Vec::new(),
        body: None,
        conflicts: Vec::new(),
        removal: is_removal(change.body),
    };
    if range.conflicts {
        shown.conflicts = record.tree.conflicts().map(Node::revision).collect();
    }
    for (n, node) in record.tree.leaves().take(told).enumerate() {
        let stored = match node.body() {
            Some(body) => reader.body(body)?,
            None => None,
        };
        let mut body = stored.map(|stored| Body::decode(&stored)).transpose()?;
        if let Some(body) = body.as_mut().filter(|_| secrets) {
            let seen = visible_description(entry, caller, &body.json);
            body.json = seen.unwrap_or(std::mem::take(&mut body.json));
        }
        shown.leaves.push(Leaf::from(node));
        let judged = body.as_ref().filter(|_| !shown.removal);
        let document = judged.map(|body| shown_document(change.id, &record, node, body));
        shown.documents.push(document);
        if n == 0 && range.bodies {
            shown.body = body;
        }
    }
    Ok(shown)
}

/// The document of a revision, with its `_revisions` as `CouchDB` shows it to functions.
pub(crate) fn shown_document(id: &str, record: &Record, node: &Node, body: &Body) -> Bytes {
    let revision = node.revision();
    let path = record.tree.ancestors(&revision).take(PATH_TOLD_MAX);
    let meta = Meta {
        revisions: Some((
            revision.generation,
            path.map(|node| node.id().clone()).collect(),
        )),
        ..Meta::default()
    };
    let mut out = Vec::with_capacity(body.json.len() + 200);
    Rendering {
        id,
        revision: &revision,
        deleted: node.is_deleted(),
        json: &body.json,
        attachments: &body.attachments,
        meta: &meta,
        encoding_info: false,
    }
    .write(&mut out);
    Bytes::from(out)
}

//! What changed, page by page, as map functions are to see it.
//!
//! A page is read over one short view and holds whole documents: at most so many, and at most so
//! many bytes of them. What is deleted is in it without a body, so that its rows go away.

use std::ops::ControlFlow;

use adea_documents::index::IndexState;
use adea_documents::reader::Reader;
use adea_documents::record::{Change, Leaf, split_body};
use adea_documents::render::{Meta, Rendering};
use adea_store::{Direction, EngineError};
use bytes::Bytes;

use crate::databases::DatabaseEntry;
use crate::indexing::IndexFailure;
use crate::pod::Pod;

/// Documents of one page.
const DOCUMENTS_MAX: usize = 2_000;
/// Bytes of one page's documents; one that is larger is a page of its own.
const BYTES_MAX: usize = 1 << 20;

/// A document that changed.
#[derive(Clone, Debug)]
pub(super) struct PageDocument {
    pub(super) id: String,
    /// Its change.
    pub(super) sequence: u64,
    /// As clients read it; `None` if it is deleted.
    pub(super) json: Option<Bytes>,
}

/// A part of a database's changes.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) documents: Vec<PageDocument>,
    /// All changes up to this sequence are in this page or those before it.
    pub(super) through: u64,
}

/// What is read of documents.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Whether design documents are wanted, too.
    pub(super) designs: bool,
    /// Whether documents have their `_local_seq`.
    pub(super) local_seq: bool,
}

impl Page {
    /// Bytes of its documents.
    pub(super) fn bytes(&self) -> usize {
        let documents = self.documents.iter();
        documents
            .map(|document| 64 + document.json.as_ref().map_or(0, Bytes::len))
            .sum()
    }
}

impl Pod {
    /// The first page of the changes with `after < sequence <= until`.
    pub(super) fn index_page(
        &self,
        entry: &DatabaseEntry,
        after: u64,
        until: u64,
        wanted: Wanted,
    ) -> Result<Page, IndexFailure> {
        let view = self.view();
        let reader = Reader {
            view: view.as_ref(),
            database: entry.number,
            scope: adea_access::aggregate(),
        };
        let mut page = Page {
            documents: Vec::new(),
            through: until,
        };
        let (mut bytes, mut bodies) = (0, reader.walk_bodies(after)?);
        reader.walk_changes(after, until, Direction::Forward, |sequence, change| {
            if !wanted.designs && change.id.starts_with("_design/") {
                return Ok(ControlFlow::Continue(()));
            }
            let mut json = None;
            if let (false, Some(body)) = (change.winner.deleted, change.body) {
                let meta = meta(&losing(&reader, &change)?, wanted, sequence);
                json = bodies.with_body(body, |stored| {
                    render(change.id, &change.winner, stored, &meta)
                })?;
            }
            bytes += json.as_ref().map_or(0, Bytes::len) + 64;
            page.documents.push(PageDocument {
                id: change.id.to_owned(),
                sequence,
                json,
            });
            if page.documents.len() < DOCUMENTS_MAX && bytes < BYTES_MAX {
                return Ok(ControlFlow::Continue(()));
            }
            page.through = sequence;
            Ok(ControlFlow::Break(()))
        })?;
        Ok(page)
    }

    /// How many changes come after `after`.
    pub(super) fn changes_left(
        &self,
        entry: &DatabaseEntry,
        after: u64,
    ) -> Result<u64, IndexFailure> {
        let view = self.view();
        let reader = Reader {
            view: view.as_ref(),
            database: entry.number,
            scope: adea_access::aggregate(),
        };
        Ok(reader.changes_after(after)?)
    }

    /// What was purged since the index saw purges last: each document as it is now, which may be
    /// that there is none. `None` if more was purged than is remembered.
    pub(super) fn purged_page(
        &self,
        entry: &DatabaseEntry,
        index: &IndexState,
        wanted: Wanted,
    ) -> Result<Option<(Page, u64)>, IndexFailure> {
        let view = self.view();
        let reader = Reader {
            view: view.as_ref(),
            database: entry.number,
            scope: adea_access::aggregate(),
        };
        let newest = adea_documents::database::statistics(view.as_ref(), entry.number)?;
        let mut page = Page {
            documents: Vec::new(),
            through: index.sequence,
        };
        if index.purge_sequence >= newest.purge_sequence {
            return Ok(Some((page, index.purge_sequence)));
        }
        let purges = reader.purges()?;
        let first = purges.first().map(|purge| purge.sequence);
        // An index without documents has none to lose.
        if index.sequence > 0 && first.is_none_or(|first| first > index.purge_sequence + 1) {
            return Ok(None);
        }
        let since = |sequence| sequence > index.purge_sequence && index.sequence > 0;
        for purge in purges.into_iter().filter(|purge| since(purge.sequence)) {
            let record = reader.record(&purge.id)?.unwrap_or_default();
            let mut json = None;
            if let Some(node) = record.tree.winner()
                && !node.is_deleted()
                && (wanted.designs || !purge.id.starts_with("_design/"))
                && let Some(body) = node.body()
                && let Some(stored) = reader.body(body)?
            {
                let leaves = record.leaves();
                let meta = meta(leaves.get(1..).unwrap_or_default(), wanted, record.sequence);
                json = Some(render(&purge.id, &Leaf::from(node), &stored, &meta)?);
            }
            page.documents.push(PageDocument {
                id: purge.id,
                sequence: index.sequence,
                json,
            });
        }
        Ok(Some((page, newest.purge_sequence)))
    }
}

/// The leaves of a changed document that lost to its winner.
fn losing(reader: &Reader<'_>, change: &Change<'_>) -> Result<Vec<Leaf>, EngineError> {
    if change
        .leaves
        .as_ref()
        .is_some_and(|leaves| leaves.len() < 2)
    {
        return Ok(Vec::new());
    }
    let mut leaves = reader.leaves_of(change)?;
    leaves.retain(|leaf| leaf.revision != change.winner.revision);
    Ok(leaves)
}

/// What a map function is told beside the document's content: as in CouchDB, its conflicts.
fn meta(losing: &[Leaf], wanted: Wanted, sequence: u64) -> Meta {
    let named = |deleted| {
        let those = losing.iter().filter(move |leaf| leaf.deleted == deleted);
        those.map(|leaf| leaf.revision.clone()).collect()
    };
    Meta {
        local_sequence: wanted.local_seq.then_some(sequence),
        conflicts: named(false),
        deleted_conflicts: named(true),
        ..Meta::default()
    }
}

/// The document as clients read it.
fn render(id: &str, winner: &Leaf, stored: &[u8], meta: &Meta) -> Result<Bytes, EngineError> {
    let (attachments, json) = split_body(stored)?;
    let mut out = Vec::with_capacity(json.len() + id.len() + 96 * (1 + attachments.len()));
    Rendering {
        id,
        revision: &winner.revision,
        deleted: false,
        json,
        attachments: &attachments,
        meta,
        encoding_info: false,
    }
    .write(&mut out);
    Ok(Bytes::from(out))
}

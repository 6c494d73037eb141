//! Reading documents: the revision asked for, with what was asked to be told of it.
//!
//! An answer may be long, and read over many views. Each asks whether the caller was let in by the rights
//! that are in force at its moment, and refuses with [`AccessError::Turned`] otherwise.
//!
//! [`AccessError::Turned`]: crate::AccessError::Turned

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use adea_base::Caller;
use adea_documents::local::LocalDocument;
use adea_documents::purge::Purge;
use adea_documents::reader::{IdRange, Lacking, Reader};
use adea_documents::record::{Body, Record, RecordHead, encode_body, split_body};
use adea_documents::render::{Meta, Status};
use adea_documents::rev_tree::Node;
use adea_documents::revision::Revision;
use adea_store::Direction;

use crate::databases::{DatabaseEntry, reader};
use crate::error::PodError;
use crate::local_names;
use crate::pod::Pod;
use crate::replicate::{is_replicator, visible_description};

/// How much of a listing is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListPortion {
    /// Rows that are left out.
    pub skip: u64,
    /// The most rows.
    pub limit: u64,
    /// The most documents that are looked at, deleted ones and those left out among them.
    pub walked_max: u64,
}

/// Which revision is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The winner, unless it is deleted.
    Winner,
    /// This one, also deleted; with `latest`, the leaf that descends from it.
    Revision {
        /// The revision.
        revision: Revision,
        /// Whether its newest descendant is meant.
        latest: bool,
    },
}

/// What else is to be told of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// `_revisions`.
    pub revisions: bool,
    /// `_revs_info`.
    pub revisions_info: bool,
    /// `_conflicts`.
    pub conflicts: bool,
    /// `_deleted_conflicts`.
    pub deleted_conflicts: bool,
    /// `_local_seq`.
    pub local_sequence: bool,
}

/// A revision of a document.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which.
    pub revision: Revision,
    /// Whether it is a tombstone.
    pub deleted: bool,
    /// Its content.
    pub body: Body,
    /// What else is told.
    pub meta: Meta,
    /// The ids of its ancestors, for telling which attachments a peer has already.
    pub ancestors: Vec<Revision>,
}

/// A row of a listing.
#[derive(Clone, Debug)]
pub struct ListedDocument {
    /// The document's id.
    pub id: String,
    /// Its winner.
    pub revision: Revision,
    /// Whether that is a tombstone.
    pub deleted: bool,
    /// Where its body lies.
    pub body: Option<u64>,
    /// Bytes of its body and attachments.
    pub external_bytes: u64,
    /// Whether it has conflicts.
    pub conflicts: bool,
}

impl Pod {
    /// One revision of document `id`.
    ///
    /// # Errors
    /// [`PodError::Missing`] or [`PodError::Deleted`].
    pub fn read(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        id: &str,
        which: &Which,
        told: Told,
    ) -> Result<Found, PodError> {
        let reads = &self.inner.documents.read;
        reads.fetch_add(1, Ordering::Relaxed);
        let view = self.view();
        self.require_unturned(view.as_ref(), entry)?;
        let reader = reader(view.as_ref(), entry, caller);
        let record = reader.record(id)?.ok_or(PodError::Missing)?;
        let node = match which {
            Which::Winner => {
                let winner = record.tree.winner().ok_or(PodError::Missing)?;
                if winner.is_deleted() {
                    return Err(PodError::Deleted);
                }
                winner
            }
            Which::Revision { revision, latest } => {
                let named = record.tree.find(revision).ok_or(PodError::Missing)?;
                let newest = latest.then(|| record.tree.leaves_under(revision));
                newest
                    .and_then(|leaves| leaves.first().copied())
                    .unwrap_or(named)
            }
        };
        let body = node.body().ok_or(PodError::Missing)?;
        let stored = reader.body(body)?.ok_or(PodError::Missing)?;
        let found = found(&record, node, &stored, told)?;
        Ok(as_seen(entry, caller, id, found))
    }

    /// The first leaf of document `id`, deleted or not, and the names of the others, in the order of
    /// [`Pod::open_revisions`].
    ///
    /// # Errors
    /// [`PodError::Missing`] if there never was such a document.
    pub fn read_leaves(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        id: &str,
        told: Told,
    ) -> Result<(Found, Vec<Revision>), PodError> {
        let view = self.view();
        self.require_unturned(view.as_ref(), entry)?;
        let reader = reader(view.as_ref(), entry, caller);
        let record = reader.record(id)?.ok_or(PodError::Missing)?;
        let leaves = record.tree.leaves().collect();
        let (found, rest) = first_of(&reader, &record, leaves, told)?;
        Ok((as_seen(entry, caller, id, found), rest))
    }

    /// Which revisions of document `id` are meant by those named, or by none for all leaves: each
    /// that is here, and then those that are not. With `latest`, the leaves that descend from
    /// those named.
    ///
    /// # Errors
    /// [`PodError::Missing`] if all leaves are asked of a document that never was.
    pub fn open_revisions(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        id: &str,
        revisions: Option<&[Revision]>,
        latest: bool,
    ) -> Result<Vec<Result<Revision, Revision>>, PodError> {
        let view = self.view();
        self.require_unturned(view.as_ref(), entry)?;
        let record = reader(view.as_ref(), entry, caller).record(id)?;
        let rising = |mut nodes: Vec<&Node>| {
            // As CouchDB gives them: by generation and id.
            nodes.sort_by(|a, b| (a.generation(), a.id()).cmp(&(b.generation(), b.id())));
            nodes
                .into_iter()
                .map(|node| Ok(node.revision()))
                .collect::<Vec<_>>()
        };
        let Some(revisions) = revisions else {
            let record = record.ok_or(PodError::Missing)?;
            return Ok(rising(record.tree.leaves().collect()));
        };
        let (mut rows, mut missing) = (Vec::new(), Vec::new());
        for revision in revisions {
            let tree = record.as_ref().map(|record| &record.tree);
            match tree.and_then(|tree| Some((tree, tree.find(revision)?))) {
                None => missing.push(Err(revision.clone())),
                Some((tree, _)) if latest => rows.extend(rising(tree.leaves_under(revision))),
                Some((_, node)) if node.body().is_some() => rows.push(Ok(revision.clone())),
                Some(_) => missing.push(Err(revision.clone())),
            }
        }
        rows.append(&mut missing);
        Ok(rows)
    }

    /// Revision `revision` of document `id`, or with `latest` the first of the leaves that descend
    /// from it, and the names of the others, which are read one by one by who wants them.
    ///
    /// # Errors
    /// [`PodError::Missing`] if it is not here.
    pub fn read_named(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        id: &str,
        revision: &Revision,
        latest: bool,
        told: Told,
    ) -> Result<(Found, Vec<Revision>), PodError> {
        let view = self.view();
        self.require_unturned(view.as_ref(), entry)?;
        let reader = reader(view.as_ref(), entry, caller);
        let record = reader.record(id)?.ok_or(PodError::Missing)?;
        let named = record.tree.find(revision).ok_or(PodError::Missing)?;
        let nodes = if latest {
            record.tree.leaves_under(revision)
        } else {
            vec![named]
        };
        let (found, rest) = first_of(&reader, &record, nodes, told)?;
        Ok((as_seen(entry, caller, id, found), rest))
    }

    /// What a peer lacks of document `id`.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn lacking(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        wanted: &[(String, Vec<Revision>)],
    ) -> Result<Vec<Lacking>, PodError> {
        let view = self.view();
        self.require_unturned(view.as_ref(), entry)?;
        let reader = reader(view.as_ref(), entry, caller);
        wanted
            .iter()
            .map(|(id, revisions)| Ok(reader.lacking(id, revisions)?))
            .collect()
    }

    /// Rows of `range` that are not deleted, `skip` left out, at most `limit`; at one moment.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn list(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        range: &IdRange,
        direction: Direction,
        skip: u64,
        limit: u64,
    ) -> Result<Vec<ListedDocument>, PodError> {
        let portion = ListPortion {
            skip,
            limit,
            walked_max: u64::MAX,
        };
        let rows = self.list_portion(entry, caller, range, direction, portion)?;
        Ok(rows.unwrap_or_default())
    }

    /// As [`Pod::list`]; `None` if more rows would have to be walked over than is quickly done.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn list_portion(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        range: &IdRange,
        direction: Direction,
        portion: ListPortion,
    ) -> Result<Option<Vec<ListedDocument>>, PodError> {
        let view = self.view();
        self.require_page(view.as_ref(), entry)?;
        let mut rows = Vec::new();
        let ListPortion {
            mut skip,
            limit,
            walked_max,
        } = portion;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if limit == 0 {
            return Ok(Some(rows));
        }
        let mut walked = 0;
        reader(view.as_ref(), entry, caller).walk_documents(range, direction, |id, head| {
            walked += 1;
            if walked > walked_max {
                return ControlFlow::Break(());
            }
            if head.winner.deleted {
                return ControlFlow::Continue(());
            }
            if skip > 0 {
                skip -= 1;
                return ControlFlow::Continue(());
            }
            rows.push(listed(id, head));
            if rows.len() < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        Ok((walked <= walked_max).then_some(rows))
    }

    /// Walks the fronts of the records of `range`, until `visit` breaks off.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn walk_heads(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        range: &IdRange,
        mut visit: impl FnMut(&RecordHead) -> ControlFlow<()>,
    ) -> Result<(), PodError> {
        let view = self.view();
        self.require_page(view.as_ref(), entry)?;
        let reader = reader(view.as_ref(), entry, caller);
        Ok(reader.walk_documents(range, Direction::Forward, |_, head| visit(&head))?)
    }

    /// The documents named, in their order; `None` for one that never was.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn list_keys(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        ids: &[&str],
    ) -> Result<Vec<Option<ListedDocument>>, PodError> {
        let view = self.view();
        self.require_page(view.as_ref(), entry)?;
        let reader = reader(view.as_ref(), entry, caller);
        ids.iter()
            .map(|id| {
                let head = reader.record_head(id)?;
                Ok(head.map(|head| listed(id, head)))
            })
            .collect()
    }

    /// The stored bodies of listed rows, in their order.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn bodies(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        sequences: &[u64],
    ) -> Result<Vec<Option<Vec<u8>>>, PodError> {
        let view = self.view();
        self.require_unturned(view.as_ref(), entry)?;
        let mut bodies = reader(view.as_ref(), entry, caller).bodies(sequences)?;
        if is_replicator(&entry.name) {
            for body in bodies.iter_mut().flatten() {
                let (attachments, json) = split_body(body)?;
                if let Some(seen) = visible_description(entry, caller, json) {
                    *body = encode_body(&attachments, &seen);
                }
            }
        }
        Ok(bodies)
    }

    /// How many documents of `range` are not deleted, if that is quick to say.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn count(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        range: &IdRange,
        most: u64,
    ) -> Result<Option<u64>, PodError> {
        let view = self.view();
        self.require_page(view.as_ref(), entry)?;
        Ok(reader(view.as_ref(), entry, caller).count_documents(range, most)?)
    }

    /// Local document `name` (without `_local/`).
    ///
    /// # Errors
    /// [`PodError::Missing`] if there is none.
    pub fn read_local(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        name: &str,
    ) -> Result<LocalDocument, PodError> {
        let name = local_names::stored(entry, name).ok_or(PodError::Missing)?;
        let view = self.view();
        let found = reader(view.as_ref(), entry, caller).local(&name)?;
        found.ok_or(PodError::Missing)
    }

    /// Local documents with names in `from <= name < to`.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn list_locals(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        from: Option<&str>,
        to: Option<&str>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(String, LocalDocument)>, PodError> {
        if !entry.shows_all() && caller.name().is_none() {
            // All who have no name would see those of the others.
            return Ok(Vec::new());
        }
        let (from, to) = local_names::range(entry, from, to);
        let view = self.view();
        let reader = reader(view.as_ref(), entry, caller);
        let mut found = reader.locals(Some(&from), to.as_deref(), direction, limit)?;
        for (name, _) in &mut found {
            *name = local_names::shown(entry, name);
        }
        Ok(found)
    }

    /// The purges remembered; none of them is told to who does not see all documents.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn purges(&self, entry: &DatabaseEntry, caller: &Caller) -> Result<Vec<Purge>, PodError> {
        // What is gone has no readers any more.
        if !entry.shows_all() {
            return Ok(Vec::new());
        }
        let view = self.view();
        Ok(reader(view.as_ref(), entry, caller).purges()?)
    }
}

fn listed(id: &str, head: RecordHead) -> ListedDocument {
    ListedDocument {
        id: id.to_owned(),
        revision: head.winner.revision,
        deleted: head.winner.deleted,
        body: head.winner.body,
        external_bytes: head.external_bytes,
        conflicts: head.winner.live_conflicts,
    }
}

/// Reads the first of `nodes`, by generation and id, and names the others.
fn first_of(
    reader: &Reader<'_>,
    record: &Record,
    mut nodes: Vec<&Node>,
    told: Told,
) -> Result<(Found, Vec<Revision>), PodError> {
    nodes.sort_by(|a, b| (a.generation(), a.id()).cmp(&(b.generation(), b.id())));
    let mut nodes = nodes.into_iter();
    let first = nodes.next().ok_or(PodError::Missing)?;
    let body = first.body().ok_or(PodError::Missing)?;
    let stored = reader.body(body)?.ok_or(PodError::Missing)?;
    let found = found(record, first, &stored, told)?;
    Ok((found, nodes.map(Node::revision).collect()))
}

fn found(record: &Record, node: &Node, stored: &[u8], told: Told) -> Result<Found, PodError> {
    let revision = node.revision();
    let tree = &record.tree;
    let meta = Meta {
        revisions: told.revisions.then(|| {
            let ids = tree.ancestors(&revision).map(|node| node.id().clone());
            (revision.generation, ids.collect())
        }),
        revisions_info: told.revisions_info.then(|| {
            let known = tree.ancestors(&revision);
            known.map(|node| (node.revision(), status(node))).collect()
        }),
        local_sequence: told.local_sequence.then_some(record.sequence),
        conflicts: if told.conflicts {
            tree.conflicts().map(Node::revision).collect()
        } else {
            Vec::new()
        },
        deleted_conflicts: if told.deleted_conflicts {
            tree.deleted_conflicts().map(Node::revision).collect()
        } else {
            Vec::new()
        },
    };
    let body = Body::decode(stored)?;
    let ancestors = if body.attachments.is_empty() {
        Vec::new()
    } else {
        tree.ancestors(&revision).map(Node::revision).collect()
    };
    Ok(Found {
        deleted: node.is_deleted(),
        body,
        meta,
        ancestors,
        revision,
    })
}

/// What of a document this caller may see.
fn as_seen(entry: &DatabaseEntry, caller: &Caller, id: &str, mut found: Found) -> Found {
    if is_replicator(&entry.name)
        && !id.starts_with("_design/")
        && let Some(seen) = visible_description(entry, caller, &found.body.json)
    {
        found.body.json = seen;
    }
    found
}

fn status(node: &Node) -> Status {
    match (node.is_deleted(), node.body()) {
        (true, _) => Status::Deleted,
        (false, Some(_)) => Status::Available,
        (false, None) => Status::Missing,
    }
}

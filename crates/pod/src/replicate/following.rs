//! The feed of a database of this server, for a replication that reads from it.
//!
//! Who waits for a change holds a subscription and nothing else: no view, no timer, no thread. Documents
//! that are named are found by their ids where that is less work than to walk the feed.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use adea_documents::record::Leaf;
use adea_documents::selector::{Selector, StoredMatcher};
use adea_replication::peer::{ChangeRow, ChangesAsked, ChangesPage};
use adea_replication::{Filter, PeerError, Sequence};
use adea_store::Direction;
use serde_json::Value;

use crate::databases::DatabaseEntry;
use crate::follow_changes::{ChangeRow as Row, ChangesRange, Part};
use crate::replicate::calling::Called;
use crate::replicate::peer::{LocalPeer, blocking, of_pod, sequence};

/// Changes that are looked at over one view.
const LOOKED_MAX: usize = 20_000;
/// How many changes it takes to walk what one lookup finds.
const WALKED_PER_LOOKUP: u64 = 4;

/// Which changes pass, ready to be asked about each.
pub(super) enum Passing {
    All,
    Design,
    Ids(HashSet<String>),
    Selector(Box<StoredMatcher>),
    Function(Called),
}

/// A page in the making.
pub(super) struct Page {
    pub(super) rows: Vec<ChangeRow>,
    /// Everything up to here was looked at.
    pub(super) at: u64,
    /// Whether there may be more right away.
    pub(super) more: bool,
    /// Rows that it may have.
    pub(super) limit: usize,
    pub(super) winners_only: bool,
}

impl Passing {
    fn of(filter: &Filter) -> Result<Self, PeerError> {
        Ok(match filter {
            Filter::All => Self::All,
            Filter::Ids(ids) => Self::Ids(ids.iter().cloned().collect()),
            Filter::Selector(selector) => {
                let parsed = Selector::parse(&Value::Object(selector.clone()));
                let parsed = parsed.map_err(|error| PeerError::Refused {
                    status: 400,
                    error: "bad_request".to_owned(),
                    reason: error.reason(),
                })?;
                Self::Selector(Box::new(StoredMatcher::new(parsed)))
            }
            Filter::Function { name, .. } if name == "_design" => Self::Design,
            Filter::Function { name, parameters } => Self::Function(Called::of(name, parameters)?),
        })
    }

    /// The leaves of a change that pass.
    fn passing<'r>(&self, row: &'r Row<'_>) -> Vec<&'r Leaf> {
        let all = match self {
            // What a function lets pass is found out elsewhere.
            Self::All | Self::Function(_) => true,
            Self::Design => row.id.starts_with("_design/"),
            Self::Ids(ids) => ids.contains(row.id),
            Self::Selector(selector) => return row.matching(selector),
        };
        row.leaves.iter().filter(|_| all).collect()
    }
}

impl Page {
    /// Takes a change in, if any of its leaves passed.
    pub(super) fn take<'l>(
        &mut self,
        entry: &DatabaseEntry,
        id: &str,
        at: u64,
        leaves: impl IntoIterator<Item = &'l Leaf>,
    ) {
        let leaves = leaves.into_iter();
        let revisions: Vec<String> = leaves.map(|leaf| leaf.revision.to_string()).collect();
        if !revisions.is_empty() {
            self.rows.push(ChangeRow {
                id: id.to_owned(),
                revisions,
                sequence: Some(sequence(at, entry)),
            });
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= self.limit
    }
}

impl LocalPeer {
    pub(super) async fn read_changes(
        mut self,
        asked: &ChangesAsked,
        since: &Sequence,
        wait: bool,
    ) -> Result<ChangesPage, PeerError> {
        let passing = Arc::new(Passing::of(&asked.filter)?);
        let entry = self.readable()?;
        // Listening begins before reading: what changes meanwhile is noticed after it.
        let mut changes = wait.then(|| self.pod.watch_database(&entry));
        let mut page = Page {
            rows: Vec::new(),
            at: self.after(since, &entry)?,
            more: true,
            limit: asked.limit,
            winners_only: asked.winners_only,
        };
        loop {
            if let Some(changes) = &mut changes {
                changes.mark_seen();
            }
            while page.more && !page.is_full() {
                page = self.look(&entry, &passing, page).await?;
            }
            let Some(changes) = changes.as_mut().filter(|_| page.rows.is_empty()) else {
                break;
            };
            changes.changed().await;
            if changes.is_closed() {
                return Err(PeerError::NoDatabase);
            }
            page.more = true;
            // Rights may have changed while it waited.
            self = self.now()?;
            self.readable()?;
        }
        let pending = self.pod.changes_after(&entry, &self.caller, page.at);
        Ok(ChangesPage {
            rows: page.rows,
            last: sequence(page.at, &entry),
            pending: Some(pending.map_err(of_pod)?),
        })
    }

    /// The number in a place that this database gave out; what it did not give out means nothing here,
    /// and the reader begins anew.
    fn after(&self, since: &Sequence, entry: &DatabaseEntry) -> Result<u64, PeerError> {
        let text = since.as_parameter();
        let newest = self.newest(entry)?;
        if text == "now" {
            return Ok(newest);
        }
        let (number, tag) = text.split_once('-').unwrap_or((&text, &entry.sequence_tag));
        let number: u64 = number.parse().unwrap_or(0);
        let known = tag == entry.sequence_tag && number <= newest;
        Ok(if known { number } else { 0 })
    }

    pub(super) fn newest(&self, entry: &DatabaseEntry) -> Result<u64, PeerError> {
        let statistics = self.pod.statistics(entry).map_err(of_pod)?;
        Ok(statistics.update_sequence)
    }

    /// Looks at the next changes.
    async fn look(
        &self,
        entry: &Arc<DatabaseEntry>,
        passing: &Arc<Passing>,
        mut page: Page,
    ) -> Result<Page, PeerError> {
        let newest = self.newest(entry)?;
        if let Passing::Function(called) = passing.as_ref() {
            return self.look_by(called, entry, newest, page).await;
        }
        let (peer, entry, passing) = (self.clone(), Arc::clone(entry), Arc::clone(passing));
        blocking(move || {
            let few = match passing.as_ref() {
                Passing::Ids(ids) => {
                    let walked = newest.saturating_sub(page.at) / WALKED_PER_LOOKUP;
                    walked > ids.len() as u64
                }
                Passing::All | Passing::Design | Passing::Selector(_) | Passing::Function(_) => {
                    false
                }
            };
            if few {
                peer.look_up(&entry, &passing, newest, &mut page)?;
            } else {
                peer.walk(&entry, &passing, newest, &mut page)?;
            }
            Ok(page)
        })
        .await
    }

    fn range(page: &Page, newest: u64, bodies: bool) -> ChangesRange {
        ChangesRange {
            after: page.at,
            until: newest,
            direction: Direction::Forward,
            part: Part::Kept,
            bodies,
            conflicts: false,
            leaves: !page.winners_only,
            leaf_bodies: bodies,
        }
    }

    /// Walks the feed over one view.
    fn walk(
        &self,
        entry: &DatabaseEntry,
        passing: &Passing,
        newest: u64,
        page: &mut Page,
    ) -> Result<(), PeerError> {
        let range = Self::range(page, newest, matches!(passing, Passing::Selector(_)));
        let (mut looked, mut at) = (0, page.at);
        page.more = false;
        let walked = self.pod.read_changes(entry, &self.caller, range, |row| {
            looked += 1;
            at = row.sequence;
            page.take(entry, row.id, row.sequence, passing.passing(row));
            if !page.is_full() && looked < LOOKED_MAX {
                ControlFlow::Continue(())
            } else {
                page.more = true;
                ControlFlow::Break(())
            }
        });
        walked.map_err(of_pod)?;
        page.at = if page.more { at } else { newest.max(at) };
        Ok(())
    }

    /// Looks up documents that are named. One that changes meanwhile is found by who goes on.
    fn look_up(
        &self,
        entry: &DatabaseEntry,
        passing: &Passing,
        newest: u64,
        page: &mut Page,
    ) -> Result<(), PeerError> {
        let Passing::Ids(ids) = passing else {
            return Ok(());
        };
        let ids = ids.iter().map(String::as_str);
        let found = self
            .pod
            .find_named(entry, &self.caller, ids, page.at, newest);
        let mut named = found.map_err(of_pod)?;
        let range = Self::range(page, newest, false);
        let mut at = page.at;
        let told = self
            .pod
            .read_named_changes(entry, &self.caller, range, &mut named, |row| {
                at = row.sequence;
                page.take(entry, row.id, row.sequence, row.leaves);
                if page.is_full() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
        page.more = told.map_err(of_pod)?;
        page.at = if page.more { at } else { newest };
        Ok(())
    }
}

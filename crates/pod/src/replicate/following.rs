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
use adea_store::{Direction, Subscription};
use serde_json::Value;

use crate::databases::DatabaseEntry;
use crate::follow_changes::{ChangeRow as Row, ChangesRange, Course, Marks, Part};
use crate::pod::Pod;
use crate::replicate::calling::Called;
use crate::replicate::peer::{LocalPeer, blocking, of_pod};

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
    /// How far the feed was looked at.
    pub(super) course: Course,
    /// Whether there may be more right away.
    pub(super) more: bool,
    /// Rows that it may have.
    pub(super) limit: usize,
    pub(super) winners_only: bool,
}

/// What wakes who waits for changes.
struct Waking {
    changes: Subscription,
    /// His account, where what he may read depends on it.
    author: Option<Subscription>,
}

impl Waking {
    fn mark_seen(&mut self) {
        self.changes.mark_seen();
        if let Some(author) = &mut self.author {
            author.mark_seen();
        }
    }

    async fn changed(&mut self) {
        let Some(author) = &mut self.author else {
            return self.changes.changed().await;
        };
        tokio::select! {
            () = self.changes.changed() => {}
            () = author.changed() => {}
        }
    }

    fn is_closed(&self) -> bool {
        self.changes.is_closed()
    }

    /// Listens to what there is to hear now.
    fn listen_again(&mut self, pod: &Pod, entry: &DatabaseEntry) -> Result<(), PeerError> {
        pod.watch_changes_again(entry, &mut self.changes)
            .map_err(of_pod)
    }
}

/// A place in a feed, from the text of its token.
fn place(token: Vec<u8>) -> Sequence {
    let text = String::from_utf8(token).unwrap_or_default();
    Sequence::of_json(&Value::from(text).to_string())
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

    /// The leaves of a change that pass. What is gone from the reader's sight has nothing that it could
    /// be judged by.
    fn passing<'r>(&self, row: &'r Row<'_>) -> Vec<&'r Leaf> {
        let all = match self {
            Self::Selector(_) if row.removal => true,
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
            let mut token = Vec::new();
            Marks::new(entry, &self.course).row(&mut token, at);
            self.rows.push(ChangeRow {
                id: id.to_owned(),
                revisions,
                sequence: Some(place(token)),
            });
        }
    }

    /// The rows that are next, in a database that has got as far as `newest`.
    pub(super) fn range(&self, newest: u64, bodies: bool, leaf_bodies: bool) -> ChangesRange {
        let part = self.course.part();
        ChangesRange {
            after: self.course.after(),
            until: match part {
                Part::Kept => newest,
                Part::Lost { .. } | Part::Gained { .. } => self.course.end(),
            },
            direction: Direction::Forward,
            part,
            bodies,
            conflicts: false,
            leaves: !self.winners_only,
            leaf_bodies,
        }
    }

    /// Rows were looked at up to `broken_off`; without, all that there are up to `newest`.
    pub(super) fn looked(&mut self, broken_off: Option<u64>, newest: u64) {
        let turning = self.course.is_turning();
        self.more = broken_off.is_some() || turning;
        match broken_off {
            Some(at) => self.course.reach(at),
            None if turning => self.course.next_part(),
            None => self.course.reach(newest.max(self.course.position())),
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
        let mut entry = self.readable().await?;
        // Listening begins before reading: what changes meanwhile is noticed after it.
        let mut changes = wait.then(|| self.watch(&entry)).transpose()?;
        let mut page = Page {
            rows: Vec::new(),
            course: self.course(since, &entry)?,
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
            entry = self.readable().await?;
            page.course.turn(entry.turned_at());
            changes.listen_again(&self.pod, &entry)?;
        }
        let pending = self.pod.rows_left(&entry, &self.caller, page.course);
        let mut token = Vec::new();
        Marks::new(&entry, &page.course).end(&mut token);
        Ok(ChangesPage {
            rows: page.rows,
            last: place(token),
            pending: Some(pending.map_err(of_pod)?),
        })
    }

    fn watch(&self, entry: &DatabaseEntry) -> Result<Waking, PeerError> {
        let rights = entry.tells_each_his_own();
        Ok(Waking {
            changes: self.pod.watch_changes(entry).map_err(of_pod)?,
            author: rights
                .then(|| self.pod.watch_author(&self.author))
                .flatten(),
        })
    }

    /// Where a place that this database gave out is; what it did not give out means nothing here, and
    /// the reader begins anew.
    fn course(&self, since: &Sequence, entry: &DatabaseEntry) -> Result<Course, PeerError> {
        let text = since.as_parameter();
        let newest = self.newest(entry)?;
        if text == "now" {
            return Ok(Course::behind(entry, newest));
        }
        if entry.tells_each_his_own() {
            let place = Course::from_token(entry, &text, newest);
            return Ok(place.unwrap_or_else(|| Course::from_beginning(entry)));
        }
        let (number, tag) = text.split_once('-').unwrap_or((&text, &entry.sequence_tag));
        let number: u64 = number.parse().unwrap_or(0);
        let known = tag == entry.sequence_tag && number <= newest;
        Ok(Course::behind(entry, if known { number } else { 0 }))
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
                    let walked = newest.saturating_sub(page.course.position());
                    let seldom = walked / WALKED_PER_LOOKUP > ids.len() as u64;
                    seldom && !page.course.is_turning()
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

    /// Walks the feed over one view.
    fn walk(
        &self,
        entry: &DatabaseEntry,
        passing: &Passing,
        newest: u64,
        page: &mut Page,
    ) -> Result<(), PeerError> {
        let bodies = matches!(passing, Passing::Selector(_));
        let range = page.range(newest, bodies, bodies);
        let (mut looked, mut broken_off) = (0, None);
        let walked = self.pod.read_changes(entry, &self.caller, range, |row| {
            looked += 1;
            page.take(entry, row.id, row.sequence, passing.passing(row));
            if !page.is_full() && looked < LOOKED_MAX {
                ControlFlow::Continue(())
            } else {
                broken_off = Some(row.sequence);
                ControlFlow::Break(())
            }
        });
        walked.map_err(of_pod)?;
        page.looked(broken_off, newest);
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
            .find_named(entry, &self.caller, ids, page.course.position(), newest);
        let mut named = found.map_err(of_pod)?;
        let range = page.range(newest, false, false);
        let mut at = page.course.position();
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
        let more = told.map_err(of_pod)?;
        page.looked(more.then_some(at), newest);
        Ok(())
    }
}

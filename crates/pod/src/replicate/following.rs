//! The feed of a database of this server, for a replication that reads from it.
//!
//! Who waits for a change holds a subscription and nothing else: no view, no timer, no thread.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use adea_documents::selector::Selector;
use adea_replication::peer::{ChangeRow, ChangesAsked, ChangesPage};
use adea_replication::{Filter, PeerError, Sequence};
use adea_store::Direction;
use serde_json::Value;

use crate::databases::DatabaseEntry;
use crate::follow_changes::{ChangeRow as Row, ChangesRange};
use crate::replicate::peer::{LocalPeer, blocking, of_pod, sequence};

/// Changes that are looked at over one view.
const LOOKED_MAX: usize = 20_000;

/// Which changes pass, ready to be asked about each.
enum Passing {
    All,
    Design,
    Ids(HashSet<String>),
    Selector(Box<Selector>),
}

impl Passing {
    fn of(filter: &Filter) -> Result<Self, PeerError> {
        let refused = |error: &str, reason: String| PeerError::Refused {
            status: 400,
            error: error.to_owned(),
            reason,
        };
        Ok(match filter {
            Filter::All => Self::All,
            Filter::Ids(ids) => Self::Ids(ids.iter().cloned().collect()),
            Filter::Selector(selector) => {
                let parsed = Selector::parse(&Value::Object(selector.clone()));
                let parsed = parsed.map_err(|error| refused("bad_request", error.reason()))?;
                Self::Selector(Box::new(parsed))
            }
            Filter::Function { name, .. } if name == "_design" => Self::Design,
            Filter::Function { name, .. } => {
                let reason = format!("The filter {name} is not implemented in this version.");
                return Err(refused("not_implemented", reason));
            }
        })
    }

    fn passes(&self, row: &Row<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Design => row.id.starts_with("_design/"),
            Self::Ids(ids) => ids.contains(row.id),
            Self::Selector(selector) => {
                let Some(document) = &row.document else {
                    return false;
                };
                let Ok(mut value) = serde_json::from_slice::<Value>(document.json) else {
                    return false;
                };
                if let Some(fields) = value.as_object_mut() {
                    fields.insert("_id".to_owned(), row.id.into());
                    fields.insert("_rev".to_owned(), row.winner.revision.to_string().into());
                    if row.winner.deleted {
                        fields.insert("_deleted".to_owned(), true.into());
                    }
                }
                selector.matches(&value)
            }
        }
    }
}

/// A page in the making.
struct Page {
    rows: Vec<ChangeRow>,
    /// Everything up to here was looked at.
    at: u64,
    /// Whether there may be more right away.
    more: bool,
}

impl LocalPeer {
    pub(super) async fn read_changes(
        &self,
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
        };
        loop {
            if let Some(changes) = &mut changes {
                changes.mark_seen();
            }
            while page.more && page.rows.len() < asked.limit {
                let (peer, entry, passing) =
                    (self.clone(), Arc::clone(&entry), Arc::clone(&passing));
                let (winners, limit) = (asked.winners_only, asked.limit);
                page = blocking(move || {
                    peer.look(&entry, &passing, winners, limit, &mut page)?;
                    Ok(page)
                })
                .await?;
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
            self.readable()?;
        }
        let pending = self
            .pod
            .changes_after(&entry, &self.caller, page.at)
            .map_err(of_pod)?;
        Ok(ChangesPage {
            rows: page.rows,
            last: sequence(page.at, &entry),
            pending: Some(pending),
        })
    }

    /// The number in a place that this database gave out; what it did not give out means nothing here,
    /// and the reader begins anew.
    fn after(&self, since: &Sequence, entry: &DatabaseEntry) -> Result<u64, PeerError> {
        let text = since.as_parameter();
        let newest = self.pod.statistics(entry).map_err(of_pod)?.update_sequence;
        if text == "now" {
            return Ok(newest);
        }
        let (number, tag) = text.split_once('-').unwrap_or((&text, &entry.sequence_tag));
        let number: u64 = number.parse().unwrap_or(0);
        Ok(if tag == entry.sequence_tag && number <= newest {
            number
        } else {
            0
        })
    }

    /// Looks at the next changes over one view.
    fn look(
        &self,
        entry: &DatabaseEntry,
        passing: &Passing,
        winners_only: bool,
        limit: usize,
        page: &mut Page,
    ) -> Result<(), PeerError> {
        let newest = self.pod.statistics(entry).map_err(of_pod)?.update_sequence;
        page.more = false;
        let range = ChangesRange {
            after: page.at,
            until: newest,
            direction: Direction::Forward,
            bodies: matches!(passing, Passing::Selector(_)),
            conflicts: false,
            leaves: !winners_only,
        };
        let (mut looked, mut at) = (0, page.at);
        let rows = &mut page.rows;
        let walked = self.pod.read_changes(entry, &self.caller, range, |row| {
            looked += 1;
            at = row.sequence;
            if passing.passes(row) {
                rows.push(ChangeRow {
                    id: row.id.to_owned(),
                    revisions: row
                        .leaves
                        .iter()
                        .map(|leaf| leaf.revision.to_string())
                        .collect(),
                    sequence: Some(sequence(row.sequence, entry)),
                });
            }
            if rows.len() < limit && looked < LOOKED_MAX {
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
}

//! The rebuild: putting the documents of a database under their labels anew, in the background, when
//! it was set otherwise where access lists come from.
//!
//! It walks through all documents by their ids, a portion at a time: it works out the labels of a
//! portion, and puts them in force in one transaction, which also notes how far it is. So it goes on
//! after a crash where it was. A document that changed meanwhile is looked at again.
//!
//! Invariants: a document whose access list cannot be worked out is shown to administrators alone;
//! `labelled` is set to the generation only when every document stands as that generation says.

mod portion;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adea_access::AccessList;
use adea_base::{DatabaseName, DocumentId};
use adea_documents::labels::DraftLabel;
use adea_documents::writer::Writer;
use adea_documents::{DatabaseError, DatabaseNumber, database, kept_for_reader};
use adea_store::{Decline, Direction, EngineError, Space, Transaction};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use portion::Unlabelled;

use super::AccessError;
use super::label::label_of;
use super::settings::rule_topic;
use crate::databases::{DatabaseEntry, no_database};
use crate::error::PodError;
use crate::maintain::settle_references;
use crate::pod::Pod;

/// How long who sets a rule waits for it to be carried out.
const SOON: Duration = Duration::from_secs(2);
/// Under this name, which no reader has, a database keeps how far its rebuild is.
const KEPT: &str = " rebuild";

/// The rebuilds that run.
#[derive(Default)]
pub(crate) struct Rebuilds {
    running: Mutex<HashMap<DatabaseNumber, Arc<Rebuild>>>,
}

/// A rebuild that runs.
struct Rebuild {
    database: String,
    started_unix_s: u64,
    total: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    ended: Notify,
}

/// How far documents are put under their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The database's name.
    pub database: String,
    /// Whether that is still done.
    pub running: bool,
    /// When it began, in seconds since the Unix epoch.
    pub started_on: u64,
    /// Documents looked at.
    pub done: u64,
    /// Documents to look at, as counted when it began.
    pub total: u64,
    /// Documents whose access list could not be worked out, which administrators alone see.
    pub failed: u64,
}

impl Progress {
    /// How much is done, in percent.
    #[must_use]
    pub fn percent(&self) -> u64 {
        (self.done * 100).checked_div(self.total).unwrap_or(100)
    }
}

/// How far a rebuild is, as it is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// The generation that it leads to.
    generation: u64,
    /// The id from which on documents are still to be looked at; `None` at the end.
    next: Option<String>,
    started_unix_s: u64,
    total: u64,
    done: u64,
    failed: u64,
}

/// A document with its labels worked out.
struct Labels {
    id: DocumentId,
    sequence: u64,
    labels: Vec<(u64, DraftLabel)>,
}

/// Unmarks a rebuild, however it ends.
struct Running {
    pod: Pod,
    number: DatabaseNumber,
    rebuild: Arc<Rebuild>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.pod.inner.access.rebuilds.running.lock();
        running.remove(&self.number);
        drop(running);
        self.rebuild.ended.notify_waiters();
    }
}

impl Rebuild {
    fn progress(&self) -> Progress {
        let total = self.total.load(Ordering::Relaxed);
        Progress {
            database: self.database.clone(),
            running: true,
            started_on: self.started_unix_s,
            done: self.done.load(Ordering::Relaxed).min(total),
            total,
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    fn follow(&self, kept: &Kept) {
        self.total.store(kept.total, Ordering::Relaxed);
        self.done.store(kept.done, Ordering::Relaxed);
        self.failed.store(kept.failed, Ordering::Relaxed);
    }
}

impl Pod {
    /// That documents of a database are being put under their labels, if they are.
    #[must_use]
    pub fn rebuilding(&self, entry: &DatabaseEntry) -> Option<AccessError> {
        let settings = &entry.settings;
        if settings.labels == settings.labelled {
            return None;
        }
        let progress = self.rebuild_progress(entry).unwrap_or_default();
        Some(AccessError::Rebuilding {
            done: progress.done,
            total: progress.total,
        })
    }

    /// How far the rebuild of a database is, or how the last one went.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub(crate) fn rebuild_progress(&self, entry: &DatabaseEntry) -> Result<Progress, PodError> {
        let running = self.inner.access.rebuilds.running.lock();
        if let Some(rebuild) = running.get(&entry.number) {
            return Ok(rebuild.progress());
        }
        drop(running);
        let kept = self.kept_rebuild(entry.number)?;
        Ok(Progress {
            database: entry.name.as_str().to_owned(),
            running: entry.settings.labels != entry.settings.labelled,
            started_on: kept.started_unix_s,
            done: kept.done,
            total: kept.total,
            failed: kept.failed,
        })
    }

    /// The rebuilds that run.
    #[must_use]
    pub fn rebuilds(&self) -> Vec<Progress> {
        let running = self.inner.access.rebuilds.running.lock();
        let mut all: Vec<_> = running.values().map(|one| one.progress()).collect();
        drop(running);
        all.sort_by(|a, b| a.database.cmp(&b.database));
        all
    }

    /// Begins the rebuild of a database in the background, unless it runs already.
    pub(crate) fn start_rebuild(&self, name: &DatabaseName, number: DatabaseNumber) {
        let rebuild = Arc::new(Rebuild {
            database: name.as_str().to_owned(),
            started_unix_s: self.inner.clock.now_unix_s(),
            total: AtomicU64::new(0),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            ended: Notify::new(),
        });
        {
            let mut running = self.inner.access.rebuilds.running.lock();
            if running.contains_key(&number) {
                // It looks at the generation after each portion, and begins anew by itself.
                return;
            }
            running.insert(number, Arc::clone(&rebuild));
        }
        let running = Running {
            pod: self.clone(),
            number,
            rebuild,
        };
        let name = name.clone();
        tokio::spawn(async move {
            let pod = running.pod.clone();
            let rebuilt = pod.rebuild(&name, number, &running.rebuild).await;
            // A rule that was set while this ended found it running.
            drop(running);
            match rebuilt {
                Ok(()) => pod.rebuild_if_due(&name, number),
                Err(error) => tracing::error!(
                    database = name.as_str(),
                    %error,
                    "working out who may read {name} failed, the next start tries again: {error}"
                ),
            }
        });
    }

    pub(crate) fn rebuild_if_due(&self, name: &DatabaseName, number: DatabaseNumber) {
        let due = |entry: &DatabaseEntry| {
            entry.number == number && entry.settings.labels != entry.settings.labelled
        };
        if self.database(name).is_ok_and(|entry| due(&entry)) {
            self.start_rebuild(name, number);
        }
    }

    /// Begins all rebuilds that a stop or a crash left undone.
    pub(crate) async fn resume_rebuilds(&self) {
        let pod = self.clone();
        let found = spawn_blocking(move || pod.unfinished_rebuilds()).await;
        match found {
            Ok(Ok(unfinished)) => {
                for (name, number) in unfinished {
                    self.start_rebuild(&name, number);
                }
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "databases cannot be looked through: {error}");
            }
            Err(_) => {}
        }
    }

    fn unfinished_rebuilds(&self) -> Result<Vec<(DatabaseName, DatabaseNumber)>, EngineError> {
        let view = self.view();
        let mut unfinished = Vec::new();
        let names = database::names(view.as_ref(), None, None, Direction::Forward, usize::MAX)?;
        for name in names {
            let Ok(name) = DatabaseName::parse(&name) else {
                continue;
            };
            if let Some(found) = database::find(view.as_ref(), &name)?
                && found.settings.labels != found.settings.labelled
            {
                unfinished.push((name, found.number));
            }
        }
        Ok(unfinished)
    }

    /// Waits until the rebuild of a database has ended, but not for long.
    pub(crate) async fn rebuilt_soon(&self, number: DatabaseNumber) {
        let rebuild = self
            .inner
            .access
            .rebuilds
            .running
            .lock()
            .get(&number)
            .cloned();
        let Some(rebuild) = rebuild else { return };
        let ended = rebuild.ended.notified();
        tokio::pin!(ended);
        ended.as_mut().enable();
        // It may have ended before anybody listened.
        let running = self
            .inner
            .access
            .rebuilds
            .running
            .lock()
            .contains_key(&number);
        if running {
            let _in_time = tokio::time::timeout(SOON, ended).await.is_ok();
        }
    }

    /// Goes on from portion to portion, until all documents stand as the rule says.
    async fn rebuild(
        &self,
        name: &DatabaseName,
        number: DatabaseNumber,
        rebuild: &Rebuild,
    ) -> Result<(), PodError> {
        loop {
            // Found anew each time: the rule may have changed again.
            let entry = match self.database(name) {
                Ok(entry) if entry.number == number => entry,
                Ok(_) | Err(PodError::Database(_)) => return Ok(()),
                Err(error) => return Err(error),
            };
            if entry.settings.labels == entry.settings.labelled {
                return Ok(());
            }
            let mut kept = self.kept_rebuild(number)?;
            if kept.generation != entry.settings.labels {
                kept = self.new_rebuild(&entry)?;
            }
            rebuild.follow(&kept);
            match kept.next.clone() {
                Some(first) => self.one_portion(&entry, first, kept, rebuild).await?,
                None => self.finish(&entry).await?,
            }
        }
    }

    fn new_rebuild(&self, entry: &DatabaseEntry) -> Result<Kept, PodError> {
        Ok(Kept {
            generation: entry.settings.labels,
            next: Some(String::new()),
            started_unix_s: self.inner.clock.now_unix_s(),
            total: self.statistics(entry)?.changes(),
            done: 0,
            failed: 0,
        })
    }

    /// Puts one portion of documents under their labels.
    async fn one_portion(
        &self,
        entry: &Arc<DatabaseEntry>,
        first: String,
        mut kept: Kept,
        rebuild: &Rebuild,
    ) -> Result<(), PodError> {
        let (pod, number, generation) = (self.clone(), entry.number, kept.generation);
        let portion = spawn_blocking(move || pod.portion(number, generation, first)).await;
        let mut portion = portion.map_err(|_| PodError::Interrupted)??;
        kept.done += portion.walked;
        kept.next = portion.next.take();
        let ids: Vec<DocumentId> = portion.documents.iter().map(|one| one.id.clone()).collect();
        let mut looked_at = portion.documents;
        loop {
            let mut labels = Vec::with_capacity(looked_at.len());
            for document in looked_at {
                let (document, failed) = self.labels_of(entry, document).await;
                kept.failed += u64::from(failed);
                labels.push(document);
            }
            let Some(changed) = self.put_labels(number, labels, kept.clone()).await? else {
                // Another rule is in force.
                return Ok(());
            };
            if changed.is_empty() {
                rebuild.follow(&kept);
                return Ok(());
            }
            let again: Vec<DocumentId> = ids
                .iter()
                .filter(|id| changed.contains(id))
                .cloned()
                .collect();
            let pod = self.clone();
            let read = spawn_blocking(move || pod.unlabelled(number, generation, &again)).await;
            looked_at = read.map_err(|_| PodError::Interrupted)??;
        }
    }

    /// Works out the labels of a document's bodies, and says whether that failed for one.
    async fn labels_of(&self, entry: &DatabaseEntry, document: Unlabelled) -> (Labels, bool) {
        let mut labels: Vec<(u64, DraftLabel)> = Vec::with_capacity(document.bodies.len() + 1);
        let mut failed = false;
        let creator = document.creator.as_ref();
        for body in &document.bodies {
            let label = self.label_of_body(entry, &document.id, &body.json, creator);
            let label = label.await.unwrap_or_else(|_| {
                failed = true;
                label_of(&AccessList::admin())
            });
            labels.push((body.sequence, label));
        }
        // A deletion stays where the document was.
        if let Some(tombstone) = document.tombstone {
            let last = document.last_live;
            let found = labels.iter().find(|(body, _)| Some(*body) == last);
            let label = found.map(|(_, label)| label.clone()).or(document.stands);
            if let Some(label) = label {
                labels.retain(|(body, _)| *body != tombstone);
                labels.push((tombstone, label));
            }
        }
        let labelled = Labels {
            id: document.id,
            sequence: document.sequence,
            labels,
        };
        (labelled, failed)
    }

    /// Puts labels in force and notes how far this is; returns the documents that have changed since
    /// they were looked at, or `None` if another rule is in force by now.
    async fn put_labels(
        &self,
        number: DatabaseNumber,
        labels: Vec<Labels>,
        kept: Kept,
    ) -> Result<Option<Vec<DocumentId>>, PodError> {
        let put = self.inner.store.transact(Self::permit(), move |tx| {
            let mut writer = Writer::open(tx, number).map_err(no_database)?;
            if writer.settings().labels != kept.generation {
                return Ok(None);
            }
            let mut changed = Vec::new();
            for document in labels {
                if writer.record(&document.id)?.sequence == document.sequence {
                    writer.relabel(&document.id, &document.labels)?;
                } else {
                    changed.push(document.id);
                }
            }
            let references = writer.finish()?;
            settle_references(tx, &references, |_| None)?;
            // What changed meanwhile is looked at before this goes on.
            if changed.is_empty() {
                keep(tx, number, &kept)?;
            }
            Ok::<_, Decline<PodError>>(Some(changed))
        });
        Ok(put.await?)
    }

    /// Notes that all documents stand as the rule says.
    async fn finish(&self, entry: &DatabaseEntry) -> Result<(), PodError> {
        let (number, generation) = (entry.number, entry.settings.labels);
        let finished = self.inner.store.transact(Self::permit(), move |tx| {
            let changed = database::change_settings(tx, number, |settings| {
                if settings.labels == generation {
                    settings.labelled = generation;
                }
            });
            changed.map_err(no_database)?;
            tx.touch(number.0);
            tx.touch(rule_topic(number));
            Ok::<_, Decline<PodError>>(())
        });
        let finished = finished.await.map_err(PodError::from);
        self.forget_database(entry);
        self.rouse_listeners(number);
        match finished {
            Ok(()) | Err(PodError::Database(DatabaseError::Missing)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn kept_rebuild(&self, number: DatabaseNumber) -> Result<Kept, PodError> {
        let key = kept_for_reader(number, KEPT);
        let Some(bytes) = self.view().get(Space::Index, &key)? else {
            return Ok(Kept::default());
        };
        let kept = serde_json::from_slice(&bytes);
        Ok(kept.map_err(|_| EngineError::Corrupt("how far a rebuild is".to_owned()))?)
    }
}

fn keep(tx: &mut Transaction<'_>, number: DatabaseNumber, kept: &Kept) -> Result<(), EngineError> {
    let value = serde_json::to_vec(kept);
    let value = value.map_err(|error| EngineError::Corrupt(error.to_string()))?;
    tx.put(Space::Index, kept_for_reader(number, KEPT), value);
    Ok(())
}

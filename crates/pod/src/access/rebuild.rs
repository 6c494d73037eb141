//! The rebuild: putting the documents of a database under their labels anew, in the background, when
//! it was set otherwise where access lists come from.
//!
//! It walks through all documents by their ids, a portion at a time: it works out the labels of a
//! portion, and puts them in force in one transaction, which also notes how far it is. So it goes on
//! after a crash where it was. A document that changed meanwhile is looked at again, a bounded number of
//! times: then what it brought meanwhile keeps the label that it was written with.
//!
//! Invariants: a document whose access list cannot be worked out is shown to administrators alone, but
//! not because a function could not be asked: that is tried again, with pauses. `labelled` is set to the
//! generation only when every document stands as that generation says.

mod portion;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use adea_access::AccessList;
use adea_base::{DatabaseName, DocumentId};
use adea_documents::labels::DraftLabel;
use adea_documents::writer::Writer;
use adea_documents::{DatabaseError, DatabaseNumber, database, kept_for_reader};
use adea_script::ScriptError;
use adea_store::{Decline, Direction, EngineError, Space, Transaction};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use portion::{Unlabelled, deletion};

use super::AccessError;
use super::label::label_of;
use super::settings::rule_topic;
use crate::databases::{DatabaseEntry, no_database};
use crate::error::PodError;
use crate::maintain::settle_references;
use crate::pod::{Inner, Pod};

/// How long who sets a rule waits for it to be carried out.
const SOON: Duration = Duration::from_secs(2);
/// How often documents are looked at that change all the time.
const ATTEMPTS: usize = 3;
/// The longest pause before a rebuild that failed is tried again, as a power of two of seconds.
const PAUSE_MAX: u32 = 6;
/// How often in a row the process of the function may crash until that is a document's own fault.
const CRASHES_MAX: u32 = 10;
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
    /// How often in a row it failed, and how often of these the function's process crashed.
    failures: AtomicU32,
    crashes: AtomicU32,
    /// Somebody else wants it to run: another rule may be in force.
    wanted: Notify,
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
    /// A rebuild that pauses keeps no pod open.
    pod: Weak<Inner>,
    number: DatabaseNumber,
    rebuild: Arc<Rebuild>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(inner) = self.pod.upgrade() {
            inner.access.rebuilds.running.lock().remove(&self.number);
        }
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

    /// It got on, so what failed before is over.
    fn got_on(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.crashes.store(0, Ordering::Relaxed);
    }

    /// Waits before it is tried again; longer each time.
    async fn pause(&self) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let pause = Duration::from_secs(1 << failures.min(PAUSE_MAX));
        let _wanted = tokio::time::timeout(pause, self.wanted.notified()).await;
    }

    /// Whether what was answered of a document is its own fault. Else it is asked again.
    fn is_fault(&self, error: &PodError) -> bool {
        let crashed = matches!(error, PodError::Script(ScriptError::Crashed(_)));
        matches!(error, PodError::NotTaken(_))
            || crashed && self.crashes.fetch_add(1, Ordering::Relaxed) + 1 >= CRASHES_MAX
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
            failures: AtomicU32::new(0),
            crashes: AtomicU32::new(0),
            wanted: Notify::new(),
        });
        {
            let mut running = self.inner.access.rebuilds.running.lock();
            if let Some(running) = running.get(&number) {
                // It looks at the generation after each portion, and begins anew by itself.
                running.wanted.notify_one();
                return;
            }
            running.insert(number, Arc::clone(&rebuild));
        }
        let running = Running {
            pod: Arc::downgrade(&self.inner),
            number,
            rebuild,
        };
        let name = name.clone();
        tokio::spawn(async move {
            while let Some(inner) = running.pod.upgrade() {
                let pod = Self { inner };
                let rebuilt = pod.rebuild(&name, number, &running.rebuild).await;
                let Err(error) = rebuilt else {
                    // A rule that was set while this ended found it running.
                    drop(running);
                    pod.rebuild_if_due(&name, number);
                    return;
                };
                tracing::error!(
                    database = name.as_str(),
                    %error,
                    "working out who may read {name} failed, and is tried again: {error}"
                );
                drop(pod);
                running.rebuild.pause().await;
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
                rebuild.got_on();
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
        let mut attempt = 1;
        loop {
            let mut labels = Vec::with_capacity(looked_at.len());
            for document in looked_at {
                let (document, failed) = self.labels_of(entry, document, rebuild).await?;
                kept.failed += u64::from(failed);
                labels.push(document);
            }
            let last = attempt == ATTEMPTS;
            let put = self.put_labels(number, labels, kept.clone(), last).await?;
            let Some(changed) = put else {
                // Another rule is in force.
                return Ok(());
            };
            if changed.is_empty() {
                rebuild.follow(&kept);
                rebuild.got_on();
                return Ok(());
            }
            attempt += 1;
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
    async fn labels_of(
        &self,
        entry: &DatabaseEntry,
        document: Unlabelled,
        rebuild: &Rebuild,
    ) -> Result<(Labels, bool), PodError> {
        let mut labels: Vec<(u64, DraftLabel)> = Vec::with_capacity(document.bodies.len() + 1);
        let mut failed = false;
        let creator = document.creator.as_ref();
        for body in document.bodies {
            let json = match body.json {
                Some(json) => Some(json),
                None => self.body_text(entry.number, body.sequence).await?,
            };
            // It may have been given back meanwhile.
            let Some(json) = json else { continue };
            let label = self.label_of_body(entry, &document.id, &json, creator);
            let label = match label.await {
                Ok(label) => label,
                Err(error) if rebuild.is_fault(&error) => {
                    failed = true;
                    label_of(&AccessList::admin())
                }
                Err(error) => return Err(error),
            };
            labels.push((body.sequence, label));
        }
        let deletion = (document.tombstone, document.last_live);
        leave_deletion(&mut labels, deletion, document.stands);
        let labelled = Labels {
            id: document.id,
            sequence: document.sequence,
            labels,
        };
        Ok((labelled, failed))
    }

    /// Puts labels in force and notes how far this is; returns the documents that have changed since
    /// they were looked at, or `None` if another rule is in force by now. At the `last` attempt these are
    /// put under their labels too: what is new of them has its own, since it was written by this rule.
    async fn put_labels(
        &self,
        number: DatabaseNumber,
        labels: Vec<Labels>,
        kept: Kept,
        last: bool,
    ) -> Result<Option<Vec<DocumentId>>, PodError> {
        let put = self.inner.store.transact(Self::permit(), move |tx| {
            let mut writer = Writer::open(tx, number).map_err(no_database)?;
            if writer.settings().labels != kept.generation {
                return Ok(None);
            }
            let mut changed = Vec::new();
            for mut document in labels {
                let record = writer.record(&document.id)?;
                if record.sequence != document.sequence {
                    if !last {
                        changed.push(document.id);
                        continue;
                    }
                    leave_deletion(&mut document.labels, deletion(&record), None);
                }
                writer.relabel(&document.id, &document.labels)?;
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

/// A deletion stays where the document was: at the label of the body that was `last` there, or where it
/// stood.
fn leave_deletion(
    labels: &mut Vec<(u64, DraftLabel)>,
    (tombstone, last): (Option<u64>, Option<u64>),
    stood: Option<DraftLabel>,
) {
    let Some(tombstone) = tombstone else { return };
    let found = labels.iter().find(|(body, _)| Some(*body) == last);
    if let Some(label) = found.map(|(_, label)| label.clone()).or(stood) {
        labels.retain(|(body, _)| *body != tombstone);
        labels.push((tombstone, label));
    }
}

fn keep(tx: &mut Transaction<'_>, number: DatabaseNumber, kept: &Kept) -> Result<(), EngineError> {
    let value = serde_json::to_vec(kept);
    let value = value.map_err(|error| EngineError::Corrupt(error.to_string()))?;
    tx.put(Space::Index, kept_for_reader(number, KEPT), value);
    Ok(())
}

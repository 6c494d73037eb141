//! What is done behind the requests: giving back the room of dropped databases, of old revisions
//! and of attachments that nobody refers to.
//!
//! Counts of references change in the commit that changes the documents; files go away after it.
//! So a crash between the two leaves a file too many and never one too few, and the next start
//! collects it. While a backup links files, none is removed: whoever comes by then leaves his to
//! the collection that follows the backup.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adea_access::Rule;
use adea_base::{Caller, DatabaseName, DocumentId};
use adea_documents::database::{self, Settings};
use adea_documents::reader::{IdRange, Reader};
use adea_documents::record::{Record, RecordHead};
use adea_documents::revision::Revision;
use adea_documents::writer::{References, Writer};
use adea_documents::{DatabaseError, DatabaseNumber, everything, labels, purge};
use adea_files::{Digest, ReadError, references};
use adea_store::{Decline, Direction, EngineError, Space, Transaction};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::task::spawn_blocking;

use crate::access::read_settings;
use crate::databases::{DatabaseEntry, no_database};
use crate::directory::life::Touched;
use crate::error::PodError;
use crate::pod::Pod;

/// Bodies with attachments that one transaction of a sweep lets go of.
const SWEPT_BODIES_MAX: usize = 1_000;
/// Documents that one transaction compacts.
const COMPACTED_DOCUMENTS_MAX: usize = 32;
/// Documents that are looked at in one view.
const WALKED_DOCUMENTS_MAX: u64 = 4_096;

/// What runs behind the requests.
#[derive(Default)]
pub(crate) struct Maintenance {
    compactions: Mutex<HashMap<DatabaseNumber, Arc<Compaction>>>,
    sweeping: Mutex<HashSet<DatabaseNumber>>,
    /// Held to remove files (shared) or to keep them all where they are (exclusive).
    removals: Arc<RwLock<()>>,
}

/// A compaction that runs.
struct Compaction {
    database: String,
    started_unix_s: u64,
    total: u64,
    done: AtomicU64,
}

/// How far a compaction is, as lists of tasks show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionProgress {
    /// The database's name.
    pub database: String,
    /// When it began, in seconds since the Unix epoch.
    pub started_on: u64,
    /// Documents looked at.
    pub changes_done: u64,
    /// Documents to look at, as counted when it began.
    pub total_changes: u64,
    /// The same in percent.
    pub percent: u64,
}

impl Compaction {
    fn progress(&self) -> CompactionProgress {
        let changes_done = self.done.load(Ordering::Relaxed).min(self.total);
        CompactionProgress {
            database: self.database.clone(),
            started_on: self.started_unix_s,
            changes_done,
            total_changes: self.total,
            percent: (changes_done * 100).checked_div(self.total).unwrap_or(0),
        }
    }
}

impl Maintenance {
    /// Whether a compaction of database `number` runs.
    pub(crate) fn compacts(&self, number: DatabaseNumber) -> bool {
        self.compactions.lock().contains_key(&number)
    }

    /// Keeps all files where they are until the guard is gone.
    pub(crate) async fn keep_files(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.removals).write_owned().await
    }
}

/// Unmarks a compaction, however it ends.
struct Marked {
    pod: Pod,
    number: DatabaseNumber,
    compaction: Arc<Compaction>,
}

impl Drop for Marked {
    fn drop(&mut self) {
        let mut running = self.pod.inner.maintenance.compactions.lock();
        running.remove(&self.number);
    }
}

/// Unmarks a sweep, however it ends.
struct Sweep<'p> {
    pod: &'p Pod,
    number: DatabaseNumber,
}

impl Drop for Sweep<'_> {
    fn drop(&mut self) {
        self.pod
            .inner
            .maintenance
            .sweeping
            .lock()
            .remove(&self.number);
    }
}

/// What one look at a part of a database found.
struct Page {
    /// Documents that have something to give back.
    superfluous: Vec<DocumentId>,
    walked: u64,
    /// Where to go on; `None` at the end.
    next: Option<String>,
}

/// Counts what a writer's references changed, in the same transaction. `inline` gives the
/// contents that go into the store. Returns the addresses that lost their last reference: hand
/// them to [`Pod::release_files`] after the commit.
pub(crate) fn settle_references(
    tx: &mut Transaction<'_>,
    references: &References,
    inline: impl Fn(&[u8; 32]) -> Option<Bytes>,
) -> Result<Vec<Digest>, EngineError> {
    // Additions first, so that content which moves from one revision to another is never at zero.
    for address in &references.added {
        let content = inline(address);
        references::add(tx, Digest::from_bytes(*address), content.as_deref())?;
    }
    let mut last = Vec::new();
    for address in &references.dropped {
        let digest = Digest::from_bytes(*address);
        if references::remove(tx, digest)? {
            last.push(digest);
        }
    }
    Ok(last)
}

impl Pod {
    /// Finishes what a crash or a stop left undone: sweeps dropped databases and collects files
    /// that nobody refers to. What fails is logged and tried again at the next start.
    pub async fn resume_maintenance(&self) {
        let dropped = database::dropped(self.view().as_ref());
        match dropped {
            Ok(numbers) => {
                for number in numbers {
                    self.sweep_logged(number).await;
                }
            }
            Err(error) => tracing::error!(%error, "dropped databases cannot be listed: {error}"),
        }
        self.resume_rebuilds().await;
        self.erase_void_accounts_logged().await;
        if let Err(error) = self.forget_long_gone().await {
            tracing::warn!(%error, "databases that are long gone stay remembered: {error}");
        }
        self.collect_garbage_logged().await;
    }

    /// Gives back what dropped database `number` took.
    pub(crate) async fn sweep_logged(&self, number: DatabaseNumber) {
        // Two sweeps of one database in one group of commits would both release what both read.
        if !self.inner.maintenance.sweeping.lock().insert(number) {
            return;
        }
        let _sweep = Sweep { pod: self, number };
        if let Err(error) = self.sweep(number).await {
            let number = number.0;
            tracing::error!(
                number,
                %error,
                "sweeping dropped database {number} failed, the next start tries again: {error}"
            );
        }
    }

    async fn sweep(&self, number: DatabaseNumber) -> Result<(), PodError> {
        loop {
            let step = move |tx: &mut Transaction<'_>| {
                let (dropped, done) = database::sweep(tx, number, SWEPT_BODIES_MAX)?;
                let references = References {
                    added: Vec::new(),
                    dropped,
                };
                let last = settle_references(tx, &references, |_| None)?;
                Ok((last, done))
            };
            let swept: Result<_, adea_store::TransactError<PodError>> =
                self.inner.store.transact(Self::permit(), step).await;
            let (last, done) = swept?;
            self.release_files(last).await;
            if done {
                break;
            }
        }
        self.compact_range(number).await
    }

    /// Removes the files among `digests` that still nobody refers to or pins. Call it after the
    /// commit that dropped the references.
    pub(crate) async fn release_files(&self, digests: Vec<Digest>) {
        if digests.is_empty() {
            return;
        }
        let removals = Arc::clone(&self.inner.maintenance.removals);
        let Ok(permission) = removals.try_read_owned() else {
            // A backup runs; it collects garbage when it is done.
            return;
        };
        let pod = self.clone();
        let removed = spawn_blocking(move || {
            let _permission = permission;
            for digest in digests {
                if let Err(error) = pod.remove_unreferenced(digest) {
                    tracing::warn!(%digest, %error, "blob {digest} could not be removed: {error}");
                }
            }
        });
        if removed.await.is_err() {
            tracing::warn!("removing blobs was interrupted; the next start goes on");
        }
    }

    fn remove_unreferenced(&self, digest: Digest) -> std::io::Result<bool> {
        self.inner.files.remove_if_unpinned(digest, || {
            // Who cannot tell removes nothing.
            references::unreferenced(self.view().as_ref(), digest).unwrap_or(false)
        })
    }

    /// Removes all files that nobody refers to or pins, and says how many those were.
    ///
    /// # Errors
    /// [`PodError::Read`] if the files cannot be listed or removed, [`PodError::Engine`] if the
    /// store cannot be read.
    pub async fn collect_garbage(&self) -> Result<u64, PodError> {
        let removals = Arc::clone(&self.inner.maintenance.removals);
        let permission = removals.read_owned().await;
        let pod = self.clone();
        spawn_blocking(move || pod.collect_garbage_blocking(&permission))
            .await
            .map_err(|_| PodError::Interrupted)?
    }

    fn collect_garbage_blocking(
        &self,
        _permission: &OwnedRwLockReadGuard<()>,
    ) -> Result<u64, PodError> {
        let mut removed = 0;
        for digest in self.inner.files.list() {
            let digest = digest.map_err(ReadError::Io)?;
            if references::unreferenced(self.view().as_ref(), digest)?
                && self.remove_unreferenced(digest).map_err(ReadError::Io)?
            {
                removed += 1;
            }
        }
        Ok(removed)
    }

    pub(crate) async fn collect_garbage_logged(&self) {
        match self.collect_garbage().await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed {removed} blobs nobody refers to"),
            Err(error) => tracing::error!(%error, "collecting blobs failed: {error}"),
        }
    }

    /// Begins to compact a database in the background, unless that runs already.
    pub fn start_compaction(&self, entry: &Arc<DatabaseEntry>) {
        let (pod, entry) = (self.clone(), Arc::clone(entry));
        // Marked before this returns: whoever asks next sees that it runs.
        let Some(marked) = pod.mark_compaction(&entry) else {
            return;
        };
        tokio::spawn(async move {
            if let Err(error) = pod.compact_marked(&marked).await {
                let database = &marked.compaction.database;
                tracing::error!(database, %error, "compaction of {database} failed: {error}");
            }
        });
    }

    /// Compacts a database and returns when that is done; false if it ran already.
    ///
    /// # Errors
    /// [`PodError`] if the store cannot be read or written; what was done stays done.
    pub async fn compact(&self, entry: &DatabaseEntry) -> Result<bool, PodError> {
        match self.mark_compaction(entry) {
            None => Ok(false),
            Some(marked) => self.compact_marked(&marked).await.map(|()| true),
        }
    }

    /// The compactions that run.
    #[must_use]
    pub fn compactions(&self) -> Vec<CompactionProgress> {
        let running = self.inner.maintenance.compactions.lock();
        let mut all: Vec<_> = running.values().map(|one| one.progress()).collect();
        drop(running);
        all.sort_by(|a, b| a.database.cmp(&b.database));
        all
    }

    fn mark_compaction(&self, entry: &DatabaseEntry) -> Option<Marked> {
        let compaction = Arc::new(Compaction {
            database: entry.name.as_str().to_owned(),
            started_unix_s: self.inner.clock.now_unix_s(),
            total: self.statistics(entry).map_or(0, |counts| counts.changes()),
            done: AtomicU64::new(0),
        });
        let mut running = self.inner.maintenance.compactions.lock();
        if running.contains_key(&entry.number) {
            return None;
        }
        running.insert(entry.number, Arc::clone(&compaction));
        drop(running);
        Some(Marked {
            pod: self.clone(),
            number: entry.number,
            compaction,
        })
    }

    async fn compact_marked(&self, marked: &Marked) -> Result<(), PodError> {
        let number = marked.number;
        let mut from = Some(String::new());
        while let Some(first) = from {
            let pod = self.clone();
            let page = spawn_blocking(move || pod.compaction_page(number, first));
            // A database that was dropped meanwhile is left to its sweep.
            let Some(page) = page.await.map_err(|_| PodError::Interrupted)?? else {
                return Ok(());
            };
            if !page.superfluous.is_empty()
                && !self.compact_documents(number, page.superfluous).await?
            {
                return Ok(());
            }
            marked
                .compaction
                .done
                .fetch_add(page.walked, Ordering::Relaxed);
            from = page.next;
        }
        self.trim_purges(number).await?;
        self.compact_range(number).await
    }

    /// Looks at the documents from `first` on, until there is enough to do or enough was seen.
    fn compaction_page(
        &self,
        number: DatabaseNumber,
        first: String,
    ) -> Result<Option<Page>, PodError> {
        let view = self.view();
        let Some(settings) = database::settings(view.as_ref(), number)? else {
            return Ok(None);
        };
        let reader = Reader {
            view: view.as_ref(),
            database: number,
            scope: adea_access::aggregate(),
        };
        let mut page = Page {
            superfluous: Vec::new(),
            walked: 0,
            next: None,
        };
        let mut fault = None;
        let range = IdRange {
            first: Some(first),
            last: None,
        };
        reader.walk_documents(&range, Direction::Forward, |id, head| {
            page.walked += 1;
            match superfluous(&reader, &settings, id, &head) {
                Ok(found) => page.superfluous.extend(found),
                Err(error) => fault = Some(error),
            }
            let enough = page.walked >= WALKED_DOCUMENTS_MAX
                || page.superfluous.len() >= COMPACTED_DOCUMENTS_MAX;
            if enough {
                // The smallest id greater than this one.
                page.next = Some(format!("{id}\0"));
            }
            if enough || fault.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        fault.map_or(Ok(Some(page)), |error| Err(error.into()))
    }

    /// Compacts `ids` in one transaction; false if the database is gone.
    async fn compact_documents(
        &self,
        number: DatabaseNumber,
        ids: Vec<DocumentId>,
    ) -> Result<bool, PodError> {
        let compacted = self.inner.store.transact(Self::permit(), move |tx| {
            let mut writer = Writer::open(tx, number).map_err(no_database)?;
            for id in &ids {
                writer.compact(id)?;
            }
            let references = writer.finish()?;
            Ok(settle_references(tx, &references, |_| None)?)
        });
        match compacted.await.map_err(PodError::from) {
            Ok(last) => {
                self.release_files(last).await;
                Ok(true)
            }
            Err(PodError::Database(DatabaseError::Missing)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn trim_purges(&self, number: DatabaseNumber) -> Result<(), PodError> {
        let Some(settings) = database::settings(self.view().as_ref(), number)? else {
            return Ok(());
        };
        let trimmed: Result<(), adea_store::TransactError<PodError>> = self
            .inner
            .store
            .transact(Self::permit(), move |tx| {
                Ok(purge::trim(tx, number, settings.purges_limit)?)
            })
            .await;
        Ok(trimmed?)
    }

    /// Lets the engine give back the room of what was deleted in a database.
    async fn compact_range(&self, number: DatabaseNumber) -> Result<(), PodError> {
        let store = self.inner.store.clone();
        let compacted = spawn_blocking(move || {
            let range = everything(number);
            store.compact(Space::Index, &range)?;
            store.compact(Space::Body, &range)
        });
        Ok(compacted.await.map_err(|_| PodError::Interrupted)??)
    }

    /// Forgets revisions for good, where they are leaves. Returns those that were, document by
    /// document.
    ///
    /// # Errors
    /// [`DatabaseError::Missing`] if the database was dropped; nothing was changed then.
    pub async fn purge(
        &self,
        entry: &DatabaseEntry,
        revisions: Vec<(DocumentId, Vec<Revision>)>,
    ) -> Result<Vec<(String, Vec<Revision>)>, PodError> {
        let (pod, entry) = (self.clone(), entry.clone());
        Self::to_the_end(async move { pod.purge_to_the_end(&entry, revisions).await }).await
    }

    async fn purge_to_the_end(
        &self,
        entry: &DatabaseEntry,
        revisions: Vec<(DocumentId, Vec<Revision>)>,
    ) -> Result<Vec<(String, Vec<Revision>)>, PodError> {
        let number = entry.number;
        let designs = revisions.iter().any(|(id, _)| id.is_design());
        let design_changes = Arc::clone(&self.inner.design_changes);
        let accounts = self.ground_if_users(number);
        let name = entry.name.clone();
        let purged = self.inner.store.transact(Self::permit(), move |tx| {
            let mut writer = Writer::open(tx, number).map_err(no_database)?;
            let mut purged = Vec::with_capacity(revisions.len());
            let mut touched = Touched::default();
            for (id, revisions) in &revisions {
                let removed = writer.purge(id, revisions)?;
                purged.push((id.as_str().to_owned(), removed));
                if accounts.is_some() {
                    touched.note(id, &Caller::anonymous(), false);
                }
            }
            let rule = designs && rule_purged(&name, writer.settings(), &purged)?;
            touched.read(&writer)?;
            let references = writer.finish()?;
            if let Some(ground) = &accounts {
                touched.follow(tx, ground)?;
            }
            if rule {
                // What said who may read is gone: nobody is shown anything by it.
                let generation = tx.next_sequence();
                let again = |settings: &mut Settings| settings.labels = generation;
                database::change_settings(tx, number, again).map_err(no_database)?;
                tx.touch(labels::member_topic(number, ""));
            }
            if designs {
                // A revision that lost may be the winner now.
                design_changes.note(number, tx.sequence());
            }
            Ok((purged, settle_references(tx, &references, |_| None)?))
        });
        let (purged, last) = purged.await.map_err(PodError::from)?;
        if designs {
            self.forget_database(entry);
            self.rebuild_if_due(&entry.name, number);
        }
        self.release_files(last).await;
        Ok(purged)
    }
}

/// Whether something was purged of the design document whose function says who may read.
fn rule_purged(
    name: &DatabaseName,
    settings: &Settings,
    purged: &[(String, Vec<Revision>)],
) -> Result<bool, Decline<PodError>> {
    if settings.labels == 0 {
        return Ok(false);
    }
    let access = read_settings(name, &settings.access).map_err(Decline::Refused)?;
    let Some(Rule::Function { design, .. }) = access.as_ref().map(|access| &access.rule) else {
        return Ok(false);
    };
    let mut purged = purged.iter().filter(|(_, removed)| !removed.is_empty());
    Ok(purged.any(|(id, _)| id == design))
}

/// The id of a document that has bodies or revisions to give back.
fn superfluous(
    reader: &Reader<'_>,
    settings: &Settings,
    id: &str,
    head: &RecordHead,
) -> Result<Option<DocumentId>, EngineError> {
    // Nearly all documents of most databases: one revision, and so nothing older.
    if head.winner.leaf_count == 1 && head.winner.revision.generation == 1 {
        return Ok(None);
    }
    let Some(Record { mut tree, .. }) = reader.record(id)? else {
        return Ok(None);
    };
    let (limit, before) = (settings.revisions_limit, tree.len());
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let gives = !tree.compact().is_empty() || !tree.stem(limit).is_empty() || tree.len() != before;
    if !gives {
        return Ok(None);
    }
    let id = DocumentId::parse(id)
        .map_err(|error| EngineError::Corrupt(format!("document id {id:?}: {error}")))?;
    Ok(Some(id))
}

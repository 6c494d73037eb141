//! One run: the indexes of a design document on their way to where somebody wants them.
//!
//! Three things go on at a time: a page is read, the one before it is mapped, and the one before
//! that is worked in. Indexes that are not equally far are brought level first, so that no
//! document is mapped for an index that has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adea_documents::index::{self, IndexState, MappedDocument};
use adea_documents::{DatabaseNumber, database};
use adea_store::Decline;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::databases::DatabaseEntry;
use crate::indexing::map::{Emitted, Programs, mapped};
use crate::indexing::page::{Page, Wanted};
use crate::indexing::progress::{IndexTask, Progress};
use crate::indexing::{IndexFailure, IndexPlan};
use crate::pod::Pod;

/// Bytes of rows that are worked in with one commit.
const PORTION_BYTES_MAX: usize = 4 << 20;
/// Changes beyond which the trees of reduces are filled before anybody is told; of fewer, whoever
/// asks reduces the rest himself faster than a commit takes.
const FILLED_LATER_MAX: u64 = 200;
/// So few changes are read and worked in without another thread, which would cost more.
const CHANGES_INLINE: u64 = 16;
/// Bytes of documents, and of rows, that are worked in without another thread.
const BYTES_INLINE: usize = 32 << 10;
/// How often a portion is prepared anew because the index had changed meanwhile.
const PREPARED_MAX: usize = 8;

/// How far a run is.
#[derive(Clone, Debug)]
pub(super) enum Reached {
    /// All its indexes are this far.
    Through(u64),
    /// It is over.
    Ended(Result<(), IndexFailure>),
}

/// A run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) entry: Arc<DatabaseEntry>,
    pub(super) plans: Vec<Arc<IndexPlan>>,
    /// How far somebody wants the indexes to be.
    pub(super) target: AtomicU64,
    pub(super) reached: watch::Sender<Reached>,
    progress: Progress,
}

/// Ends a run, also if the work on it breaks.
struct Ending<'r> {
    pod: &'r Pod,
    run: &'r Run,
    outcome: Result<(), IndexFailure>,
}

impl Ending<'_> {
    fn with(mut self, outcome: Result<(), IndexFailure>) {
        self.outcome = outcome;
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Ok(()));
        if let Err(failure) = &outcome {
            let database = self.run.entry.name.as_str();
            tracing::warn!(database, %failure, "indexing of {database} ended: {failure}");
            self.pod.retire(self.run, u64::MAX);
        }
        self.run.reached.send_replace(Reached::Ended(outcome));
    }
}

/// How a walk ended.
enum Walked {
    Level,
    /// Nobody waits, and no design document names the indexes any more.
    Unwanted,
}

impl Run {
    pub(super) fn new(pod: &Pod, entry: Arc<DatabaseEntry>, plans: Vec<Arc<IndexPlan>>) -> Self {
        let now = pod.inner.clock.now_unix_s();
        Self {
            entry,
            plans,
            target: AtomicU64::new(0),
            reached: watch::Sender::new(Reached::Through(0)),
            progress: Progress {
                started_on: now,
                updated_on: AtomicU64::new(now),
                ..Progress::default()
            },
        }
    }

    pub(super) fn task(&self) -> IndexTask {
        let name = self.plans.first().map_or("", |plan| plan.name.as_str());
        self.progress.task(self.entry.name.as_str(), name)
    }

    /// What is read of documents for `plans`.
    fn wanted(plans: &[Arc<IndexPlan>]) -> Wanted {
        Wanted {
            designs: plans.iter().any(|plan| plan.include_design),
            local_seq: plans.iter().any(|plan| plan.local_seq),
        }
    }
}

impl Pod {
    /// Works until everybody who waits has what he wants, and tells him.
    pub(super) async fn run_to_the_end(self, run: Arc<Run>) {
        let ending = Ending {
            pod: &self,
            run: &run,
            outcome: Err(IndexFailure::Interrupted),
        };
        let outcome = self.work(&run).await;
        ending.with(outcome);
    }

    async fn work(&self, run: &Run) -> Result<(), IndexFailure> {
        let mut unfilled = 0_u64;
        loop {
            let target = run.target.load(Ordering::Acquire);
            let mut states = self.make_indexes(run, target).await?;
            if let Walked::Unwanted = self.bring_level(run, &mut states, target).await? {
                self.retire(run, u64::MAX);
                return Ok(());
            }
            unfilled = unfilled.saturating_add(run.progress.done.load(Ordering::Relaxed));
            let filled = states.iter().filter(|state| state.rows > 0);
            let mut reduces = filled.flat_map(|state| &state.reduces);
            if unfilled > FILLED_LATER_MAX || reduces.any(|reduce| !reduce.built) {
                self.fill_reduces(run, u64::MAX).await?;
                unfilled = 0;
            }
            run.reached.send_replace(Reached::Through(target));
            if unfilled > 0 && self.fill_reduces(run, target).await? {
                unfilled = 0;
            }
            if self.retire(run, target) {
                return Ok(());
            }
        }
    }

    /// The indexes, made where they are missing and begun anew where they cannot go on.
    async fn make_indexes(&self, run: &Run, target: u64) -> Result<Vec<IndexState>, IndexFailure> {
        let number = run.entry.number;
        let mut states = Vec::with_capacity(run.plans.len());
        for plan in &run.plans {
            let newest = database::statistics(self.view().as_ref(), number)?.update_sequence;
            let found = index::find(self.view().as_ref(), number, &plan.signature)?;
            let usable = found.filter(|state| {
                let mut reduces = plan.reduces.iter();
                state.sequence <= newest && reduces.all(|(reduce, _)| state.has_reduce(reduce))
            });
            states.push(match usable {
                Some(state) => state,
                None => self.make_index(number, plan, newest).await?,
            });
        }
        let least = states.iter().map(|state| state.sequence).min();
        let left = self.changes_left(&run.entry, least.unwrap_or(target).min(target))?;
        run.progress.total.store(left, Ordering::Relaxed);
        run.progress.done.store(0, Ordering::Relaxed);
        self.forget_purged(run, states).await
    }

    /// Makes an index and its reduces where they are missing; one that is ahead of the database,
    /// which is `newest`, is of another life of it and goes.
    async fn make_index(
        &self,
        number: DatabaseNumber,
        plan: &Arc<IndexPlan>,
        newest: u64,
    ) -> Result<IndexState, IndexFailure> {
        let plan = Arc::clone(plan);
        let salt = u64::from_le_bytes(self.inner.entropy.bytes());
        let made = self.inner.store.transact(Self::permit(), move |tx| {
            let mut state = index::create(tx, number, &plan.signature, plan.collation, salt)?;
            if state.sequence > newest {
                index::remove(tx, number, &plan.signature)?;
                state = index::create(tx, number, &plan.signature, plan.collation, salt)?;
            }
            for (reduce, _) in &plan.reduces {
                if let Some(with) = index::add_reduce(tx, number, &plan.signature, reduce)? {
                    state = with;
                }
            }
            Ok(state)
        });
        Ok(made.await?)
    }

    /// Takes out what was purged.
    async fn forget_purged(
        &self,
        run: &Run,
        states: Vec<IndexState>,
    ) -> Result<Vec<IndexState>, IndexFailure> {
        let mut through = Vec::with_capacity(states.len());
        for (plan, state) in run.plans.iter().zip(states) {
            let plans = std::slice::from_ref(plan);
            let (pod, entry, before) = (self.clone(), Arc::clone(&run.entry), state.clone());
            let wanted = Run::wanted(plans);
            let read = move || pod.purged_page(&entry, &before, wanted);
            let Some((page, purges)) = blocking(read).await? else {
                through.push(self.begin_anew(run.entry.number, plan).await?);
                continue;
            };
            if purges == state.purge_sequence {
                through.push(state);
                continue;
            }
            let programs = Programs::of(plans, run.entry.number.0);
            let mut emitted = programs.map(self, &page.documents).await?;
            let documents = mapped(plan, &page.documents, emitted.remove(&0));
            let sequence = state.sequence;
            let portion = (documents, sequence, purges);
            through.push(self.work_in(run.entry.number, state, portion).await?);
        }
        Ok(through)
    }

    /// Empties an index that has missed what nobody remembers any more.
    async fn begin_anew(
        &self,
        number: DatabaseNumber,
        plan: &Arc<IndexPlan>,
    ) -> Result<IndexState, IndexFailure> {
        let signature = plan.signature;
        let purges = database::statistics(self.view().as_ref(), number)?.purge_sequence;
        let removed = self.inner.store.transact(Self::permit(), move |tx| {
            index::remove(tx, number, &signature)
        });
        removed.await?;
        let state = self.make_index(number, plan, u64::MAX).await?;
        self.work_in(number, state, (Vec::new(), 0, purges)).await
    }

    /// Walks until all indexes are at `target`, those that are behind first.
    async fn bring_level(
        &self,
        run: &Run,
        states: &mut [IndexState],
        target: u64,
    ) -> Result<Walked, IndexFailure> {
        loop {
            let behind = states.iter().map(|state| state.sequence);
            let Some(low) = behind.filter(|sequence| *sequence < target).min() else {
                return Ok(Walked::Level);
            };
            let next = states.iter().map(|state| state.sequence);
            let until = next.filter(|sequence| *sequence > low).min();
            let until = until.map_or(target, |next| next.min(target));
            let places: Vec<usize> = (0..states.len())
                .filter(|place| states.get(*place).is_some_and(|s| s.sequence == low))
                .collect();
            let mut walk = Walk::new(run, &places, states);
            let walked = walk.go(self, low, until).await;
            for (place, state) in places.iter().zip(walk.states) {
                if let Some(slot) = states.get_mut(*place) {
                    *slot = state;
                }
            }
            if let Walked::Unwanted = walked? {
                return Ok(Walked::Unwanted);
            }
        }
    }

    /// Works a portion in: prepared beside the store's thread, written on it.
    async fn work_in(
        &self,
        number: DatabaseNumber,
        mut state: IndexState,
        (documents, through, purges): (Vec<MappedDocument>, u64, u64),
    ) -> Result<IndexState, IndexFailure> {
        let documents = Arc::new(documents);
        for _ in 0..PREPARED_MAX {
            let (pod, documents) = (self.clone(), Arc::clone(&documents));
            let before = state.clone();
            let small = is_small(&documents);
            let prepared = blocking_unless(small, move || {
                let view = pod.view();
                Ok(index::prepare(
                    view.as_ref(),
                    number,
                    &before,
                    &documents,
                    through,
                    purges,
                )?)
            });
            let portion = prepared.await?;
            let after = portion.after().clone();
            let applied = self.inner.store.transact(Self::permit(), move |tx| {
                index::apply(tx, number, portion).map_err(|error: Decline<_>| error)
            });
            if applied.await? {
                return Ok(after);
            }
            let found = index::find(self.view().as_ref(), number, &state.signature)?;
            state = found.ok_or(IndexFailure::Interrupted)?;
        }
        Err(IndexFailure::Interrupted)
    }

    /// Whether anybody waits for the run, or will ask for its indexes.
    fn is_wanted(&self, run: &Run) -> bool {
        run.reached.receiver_count() > 0
            || run.plans.iter().any(|plan| self.is_named(&run.entry, plan))
    }
}

/// A walk of indexes that are equally far.
struct Walk<'r> {
    run: &'r Run,
    plans: Vec<Arc<IndexPlan>>,
    states: Vec<IndexState>,
}

impl<'r> Walk<'r> {
    fn new(run: &'r Run, places: &[usize], states: &[IndexState]) -> Self {
        let plans = places.iter().filter_map(|place| run.plans.get(*place));
        let states = places.iter().filter_map(|place| states.get(*place));
        Self {
            run,
            plans: plans.cloned().collect(),
            states: states.cloned().collect(),
        }
    }

    async fn go(&mut self, pod: &Pod, from: u64, until: u64) -> Result<Walked, IndexFailure> {
        let programs = Programs::of(&self.plans, self.run.entry.number.0);
        let wanted = Run::wanted(&self.plans);
        let read = |after: u64| {
            let (pod, entry) = (pod.clone(), Arc::clone(&self.run.entry));
            move || pod.index_page(&entry, after, until, wanted)
        };
        let few = self.run.progress.total.load(Ordering::Relaxed) <= CHANGES_INLINE;
        let mut page = blocking_unless(few, read(from)).await?;
        let mut mapped: Option<(Page, Emitted)> = None;
        loop {
            let next = page.through;
            let reading = (next < until).then(|| spawn_blocking(read(next)));
            let map = programs.map(pod, &page.documents);
            let emitted = match mapped.take() {
                Some((before, emitted)) => {
                    let work =
                        Self::finish(pod, self.run, &self.plans, &self.states, before, emitted);
                    let (map, done) = tokio::join!(map, work);
                    self.states = done?;
                    map?
                }
                None => map.await?,
            };
            let Some(reading) = reading else {
                let work = Self::finish(pod, self.run, &self.plans, &self.states, page, emitted);
                self.states = work.await?;
                return Ok(Walked::Level);
            };
            let read = joined(reading.await)?;
            mapped = Some((std::mem::replace(&mut page, read), emitted));
            if !pod.is_wanted(self.run) {
                return Ok(Walked::Unwanted);
            }
        }
    }

    /// Works a mapped page into the indexes, all at a time.
    async fn finish(
        pod: &Pod,
        run: &Run,
        plans: &[Arc<IndexPlan>],
        states: &[IndexState],
        page: Page,
        mut emitted: Emitted,
    ) -> Result<Vec<IndexState>, IndexFailure> {
        let (page, number) = (Arc::new(page), run.entry.number);
        let mut working = Vec::with_capacity(states.len());
        for (place, (plan, state)) in plans.iter().zip(states).enumerate() {
            let (plan, page, rows) = (Arc::clone(plan), Arc::clone(&page), emitted.remove(&place));
            let (pod, mut state) = (pod.clone(), state.clone());
            let work = async move {
                let small = page.bytes() <= BYTES_INLINE;
                let portions = move || Ok(portions(&plan, &page, rows));
                let portions = blocking_unless(small, portions).await?;
                let purges = state.purge_sequence;
                for (documents, through) in portions {
                    let portion = (documents, through, purges);
                    state = pod.work_in(number, state, portion).await?;
                }
                Ok(state)
            };
            if states.len() == 1 {
                working.push(Working::Done(work.await?));
            } else {
                working.push(Working::Running(tokio::spawn(work)));
            }
        }
        let mut after = Vec::with_capacity(working.len());
        for one in working {
            after.push(match one {
                Working::Done(state) => state,
                Working::Running(work) => joined(work.await)?,
            });
        }
        let changes = page.documents.len() as u64;
        run.progress.advance(changes, pod.inner.clock.now_unix_s());
        Ok(after)
    }
}

/// The work on one index of several.
enum Working {
    Done(IndexState),
    Running(tokio::task::JoinHandle<Result<IndexState, IndexFailure>>),
}

/// A page's rows in one index, in portions that a commit can take, each with how far it brings
/// the index.
fn portions(
    plan: &IndexPlan,
    page: &Page,
    emitted: Option<Vec<Vec<index::Row>>>,
) -> Vec<(Vec<MappedDocument>, u64)> {
    let mut portions = Vec::new();
    let (mut documents, mut bytes) = (Vec::new(), 0);
    let all = mapped(plan, &page.documents, emitted);
    let count = all.len();
    for (n, (document, change)) in all.into_iter().zip(&page.documents).enumerate() {
        let rows = document.rows.iter();
        bytes += rows
            .map(|row| row.key.len() + row.value.len() + 32)
            .sum::<usize>();
        documents.push(document);
        if bytes >= PORTION_BYTES_MAX && n + 1 < count {
            portions.push((std::mem::take(&mut documents), change.sequence));
            bytes = 0;
        }
    }
    portions.push((documents, page.through));
    portions
}

/// Runs `work` on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, IndexFailure> + Send + 'static,
) -> Result<T, IndexFailure> {
    joined(spawn_blocking(work).await)
}

/// Runs `work` here if it is `small`, else on a thread that may wait.
async fn blocking_unless<T: Send + 'static>(
    small: bool,
    work: impl FnOnce() -> Result<T, IndexFailure> + Send + 'static,
) -> Result<T, IndexFailure> {
    if small { work() } else { blocking(work).await }
}

fn is_small(documents: &[MappedDocument]) -> bool {
    let rows = documents.iter().flat_map(|document| &document.rows);
    let bytes = rows
        .map(|row| row.key.len() + row.value.len() + 64)
        .sum::<usize>();
    bytes + 64 * documents.len() <= BYTES_INLINE
}

fn joined<T>(
    outcome: Result<Result<T, IndexFailure>, tokio::task::JoinError>,
) -> Result<T, IndexFailure> {
    outcome.unwrap_or(Err(IndexFailure::Interrupted))
}

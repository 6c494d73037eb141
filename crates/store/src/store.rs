//! The one door for durable change.
//!
//! Writers hand their transaction to the store's thread and wait. The thread runs all that wait,
//! one after the other, applies what they decided as one batch, syncs it once, and only then
//! answers them and wakes who listens: under load, many share an fsync; alone, one pays for one.
//!
//! Invariants: nobody is answered before his change is durable (unless the user chose
//! [`Durability::Relaxed`]); no view shows what is not; sequences only grow, also over a crash;
//! after a failed write nothing is written any more.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use crate::commit::{Commit, Op};
use crate::counter::{SEQUENCE, TERM, counter_value, first_sequence, read_counter, unmark_relaxed};
use crate::engine::{Engine, EngineError, KeyRange, Space, View};
use crate::error::{CommitError, TransactError};
use crate::permit::WritePermit;
use crate::touched::Touched;
use crate::transaction::{Pending, Transaction};
use crate::watch::Watch;

/// The most transactions that share one sync.
const GROUP_TRANSACTIONS_MAX: usize = 1_000;
/// The most bytes that share one sync: what a group may hold in memory.
const GROUP_BYTES_MAX: usize = 16 << 20;

/// When a writer is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After his change is on stable storage.
    Strict,
    /// Before: a crash of the machine loses at most what was written in the last interval. A
    /// crash of the process alone loses nothing.
    Relaxed {
        /// The longest time between two syncs.
        interval: Duration,
    },
}

/// How to run a store.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// When a writer is answered.
    pub durability: Durability,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Strict,
        }
    }
}

/// Whether the store takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Healthy,
    /// It does not, since the write failed of which the text tells; it still reads.
    Poisoned(String),
}

/// A transaction on its way to the store's thread.
type Job = Box<dyn for<'a> FnOnce(Attempt<'a>) -> Option<Waiting> + Send>;
/// Who is answered once the group is durable, or has failed.
type Waiting = Box<dyn FnOnce(Result<(), CommitError>) + Send>;

enum Message {
    Run(Job),
    Sync(oneshot::Sender<Result<(), CommitError>>),
    Close,
}

/// What a job is run with.
struct Attempt<'a> {
    view: &'a dyn View,
    group: &'a mut Group,
    term: u64,
    poisoned: Option<String>,
}

/// The decisions of those who wait together.
struct Group {
    pending: Pending,
    sequence: u64,
    bytes: usize,
    topics: Touched,
}

struct Shared {
    engine: Arc<dyn Engine>,
    watch: Watch,
    poison: RwLock<Option<String>>,
    term: AtomicU64,
    sequence: AtomicU64,
    commits: AtomicU64,
    syncs: AtomicU64,
}

/// An open store. Clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    sender: Sender<Message>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Store {
    /// Opens the store that `engine` holds.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    pub fn open(engine: Arc<dyn Engine>, options: StoreOptions) -> Result<Self, EngineError> {
        let sequence = first_sequence(engine.as_ref(), options.durability)?;
        let term = read_counter(engine.as_ref(), TERM)?;
        let shared = Arc::new(Shared {
            engine,
            watch: Watch::default(),
            poison: RwLock::new(None),
            term: AtomicU64::new(term),
            sequence: AtomicU64::new(sequence),
            commits: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
        });
        let (sender, receiver) = channel();
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("adea-commit".to_owned())
            .spawn(move || Committer::new(for_thread, options.durability).run(&receiver))
            .map_err(|error| EngineError::Failed(error.to_string()))?;
        Ok(Self {
            shared,
            sender,
            thread: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// Decides and commits: runs `decide` when its turn comes, and answers when what it decided
    /// is durable. Whoever gives up waiting does not undo it.
    ///
    /// # Errors
    /// [`TransactError`]: what `decide` refused with, or why the store did not take it.
    pub async fn transact<T, E, F>(
        &self,
        permit: WritePermit,
        decide: F,
    ) -> Result<T, TransactError<E>>
    where
        F: FnOnce(&mut Transaction<'_>) -> Result<T, Decline<E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.submit(permit, decide).await
    }

    /// As [`Store::transact`], but takes its place among the waiting at once, and not when it is
    /// first waited for: transactions submitted one after the other run in that order, and may
    /// share a sync.
    pub fn submit<T, E, F>(
        &self,
        permit: WritePermit,
        decide: F,
    ) -> impl Future<Output = Result<T, TransactError<E>>> + Send + use<T, E, F>
    where
        F: FnOnce(&mut Transaction<'_>) -> Result<T, Decline<E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |attempt| attempt.run(permit, decide, answer));
        let sent = self.sender.send(Message::Run(job));
        async move {
            sent.map_err(|_| CommitError::Closed)?;
            answered.await.map_err(|_| CommitError::Closed)?
        }
    }

    /// Applies a commit that was decided elsewhere, through the same door.
    ///
    /// # Errors
    /// [`CommitError`] if the store does not take it.
    pub async fn apply(&self, permit: WritePermit, commit: Commit) -> Result<(), CommitError> {
        let applied: Result<(), TransactError<std::convert::Infallible>> = self
            .transact(permit, move |tx| {
                tx.advance_sequence(commit.sequence);
                commit.ops.into_iter().for_each(|op| tx.push(op));
                Ok(())
            })
            .await;
        match applied {
            Ok(()) => Ok(()),
            Err(TransactError::Commit(error)) => Err(error),
            Err(TransactError::Engine(error)) => Err(CommitError::Poisoned(error.to_string())),
            Err(TransactError::Refused(never)) => match never {},
        }
    }

    /// Refuses permits older than `term` from now on, also after a restart.
    ///
    /// # Errors
    /// [`CommitError`] if the term cannot be made durable, or is behind already.
    pub async fn raise_term(&self, term: u64) -> Result<(), CommitError> {
        let commit = Commit {
            term,
            sequence: 0,
            ops: vec![Op::Put {
                space: Space::Index,
                key: TERM.to_vec(),
                value: counter_value(term),
            }],
        };
        self.apply(WritePermit::of_term(term), commit).await?;
        self.shared.term.fetch_max(term, Ordering::AcqRel);
        Ok(())
    }

    /// The data as it is now: everything acknowledged, nothing undecided.
    #[must_use]
    pub fn view(&self) -> Box<dyn View + '_> {
        self.shared.engine.view()
    }

    /// Where to listen for changes.
    #[must_use]
    pub fn watch(&self) -> &Watch {
        &self.shared.watch
    }

    /// Whether writes are taken.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.shared.poison.read().clone() {
            None => Health::Healthy,
            Some(reason) => Health::Poisoned(reason),
        }
    }

    /// The last sequence that is durable.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.shared.sequence.load(Ordering::Acquire)
    }

    /// Transactions committed and batches synced since the store was opened.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (
            self.shared.commits.load(Ordering::Relaxed),
            self.shared.syncs.load(Ordering::Relaxed),
        )
    }

    /// Waits until everything acknowledged so far is durable, whatever the durability chosen.
    ///
    /// # Errors
    /// [`CommitError`] if it cannot be.
    pub async fn sync(&self) -> Result<(), CommitError> {
        let (answer, answered) = oneshot::channel();
        self.sender
            .send(Message::Sync(answer))
            .map_err(|_| CommitError::Closed)?;
        answered.await.map_err(|_| CommitError::Closed)?
    }

    /// Makes a consistent copy of the engine's data in the new directory `to`.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be written.
    pub fn checkpoint(&self, to: &Path) -> Result<(), EngineError> {
        self.shared.engine.checkpoint(to)
    }

    /// Rewrites `range` so that deleted entries give their room back.
    ///
    /// # Errors
    /// [`EngineError`] if the engine cannot.
    pub fn compact(&self, space: Space, range: &KeyRange) -> Result<(), EngineError> {
        self.shared.engine.compact(space, range)
    }

    /// Bytes that `range` takes on disk, roughly.
    #[must_use]
    pub fn disk_size(&self, space: Space, range: &KeyRange) -> u64 {
        self.shared.engine.disk_size(space, range)
    }

    /// Finishes what waits, syncs, and stops; further writes are refused.
    pub fn close(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // Both fail only if the thread is gone already, which is what is wanted.
            drop(self.sender.send(Message::Close));
            drop(thread.join());
        }
    }
}

/// Why a decision was not made: the caller's own reason, or the engine's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decline<E> {
    /// The caller's own.
    Refused(E),
    /// The engine could not read.
    Engine(EngineError),
}

impl<E> From<EngineError> for Decline<E> {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl Attempt<'_> {
    fn run<T, E, F>(
        self,
        permit: WritePermit,
        decide: F,
        answer: oneshot::Sender<Result<T, TransactError<E>>>,
    ) -> Option<Waiting>
    where
        F: FnOnce(&mut Transaction<'_>) -> Result<T, Decline<E>>,
        T: Send + 'static,
        E: Send + 'static,
    {
        // A receiver that is gone gave up waiting; there is nobody to tell.
        let refuse = |answer: oneshot::Sender<_>, error| {
            drop(answer.send(Err(error)));
            None
        };
        if let Some(reason) = self.poisoned {
            return refuse(answer, CommitError::Poisoned(reason).into());
        }
        if permit.term() < self.term {
            let fenced = CommitError::Fenced {
                permit: permit.term(),
                current: self.term,
            };
            return refuse(answer, fenced.into());
        }
        let group = self.group;
        let mut tx = Transaction::begin(self.view, &mut group.pending, group.sequence);
        match decide(&mut tx) {
            Ok(value) => {
                group.bytes += tx.ops().iter().map(Op::size).sum::<usize>();
                let (sequence, touched) = tx.keep();
                group.sequence = sequence;
                for (topic, reached) in touched.topics() {
                    group.topics.add(*topic, *reached);
                }
                Some(Box::new(move |done| {
                    drop(answer.send(done.map(|()| value).map_err(TransactError::Commit)));
                }))
            }
            Err(Decline::Refused(error)) => {
                tx.undo();
                refuse(answer, TransactError::Refused(error))
            }
            Err(Decline::Engine(error)) => {
                tx.undo();
                refuse(answer, TransactError::Engine(error))
            }
        }
    }
}

/// The store's thread.
struct Committer {
    shared: Arc<Shared>,
    durability: Durability,
    group: Group,
    unsynced: bool,
}

impl Committer {
    fn new(shared: Arc<Shared>, durability: Durability) -> Self {
        let sequence = shared.sequence.load(Ordering::Acquire);
        Self {
            shared,
            durability,
            group: Group {
                pending: Pending::new(),
                sequence,
                bytes: 0,
                topics: Touched::default(),
            },
            unsynced: false,
        }
    }

    fn run(mut self, receiver: &Receiver<Message>) {
        let engine = Arc::clone(&self.shared.engine);
        loop {
            let message = match self.durability {
                Durability::Relaxed { interval } if self.unsynced => {
                    match receiver.recv_timeout(interval) {
                        Ok(message) => message,
                        Err(RecvTimeoutError::Timeout) => {
                            // A failure poisons the store, which the next writer is told.
                            drop(self.sync_now());
                            continue;
                        }
                        Err(RecvTimeoutError::Disconnected) => break,
                    }
                }
                Durability::Relaxed { .. } | Durability::Strict => match receiver.recv() {
                    Ok(message) => message,
                    Err(_) => break,
                },
            };
            if !self.run_group(engine.as_ref(), message, receiver) {
                break;
            }
        }
        if self.sync_now().is_ok() && self.durability != Durability::Strict {
            // It ended well: nothing was lost. If this fails, sequences skip some, no more.
            drop(engine.apply(&[&unmark_relaxed()], true));
        }
    }

    /// Runs `first` and all that wait behind it as one group; false when told to close.
    fn run_group(
        &mut self,
        engine: &dyn Engine,
        first: Message,
        receiver: &Receiver<Message>,
    ) -> bool {
        let view = engine.latest();
        let mut waiting = Vec::new();
        let mut syncing = Vec::new();
        let mut open = true;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Run(job) => {
                    let attempt = Attempt {
                        view: view.as_ref(),
                        group: &mut self.group,
                        term: self.shared.term.load(Ordering::Acquire),
                        poisoned: self.shared.poison.read().clone(),
                    };
                    waiting.extend(run_guarded(job, attempt));
                }
                Message::Sync(answer) => syncing.push(answer),
                Message::Close => {
                    open = false;
                    break;
                }
            }
            let full =
                waiting.len() >= GROUP_TRANSACTIONS_MAX || self.group.bytes >= GROUP_BYTES_MAX;
            next = (!full).then(|| receiver.try_recv().ok()).flatten();
        }
        drop(view);
        let committed = waiting.len() as u64;
        let done = self.commit();
        if done.is_ok() {
            self.shared.commits.fetch_add(committed, Ordering::Relaxed);
        }
        for answer in waiting {
            answer(done.clone());
        }
        if !syncing.is_empty() {
            let synced = self.sync_now();
            for answer in syncing {
                drop(answer.send(synced.clone()));
            }
        }
        open
    }

    /// Makes the group durable and visible, and wakes who listens.
    fn commit(&mut self) -> Result<(), CommitError> {
        if self.group.pending.ops.is_empty() {
            return Ok(());
        }
        let before = self.shared.sequence.load(Ordering::Acquire);
        let counter = Op::Put {
            space: Space::Index,
            key: SEQUENCE.to_vec(),
            value: counter_value(self.group.sequence),
        };
        let mut ops = self.group.pending.folded();
        if self.group.sequence != before {
            ops.push(&counter);
        }
        let strict = self.durability == Durability::Strict;
        let applied = self.shared.engine.apply(&ops, strict);
        self.group.pending.clear();
        self.group.bytes = 0;
        let topics = std::mem::take(&mut self.group.topics);
        match applied {
            Ok(()) => {
                self.shared
                    .syncs
                    .fetch_add(u64::from(strict), Ordering::Relaxed);
                self.unsynced |= !strict;
                self.shared
                    .sequence
                    .store(self.group.sequence, Ordering::Release);
                self.shared.watch.publish(topics.topics());
                Ok(())
            }
            Err(error) => {
                self.group.sequence = before;
                Err(self.poison(&error))
            }
        }
    }

    fn sync_now(&mut self) -> Result<(), CommitError> {
        if let Some(reason) = self.shared.poison.read().clone() {
            return Err(CommitError::Poisoned(reason));
        }
        if self.unsynced {
            let synced = self.shared.engine.sync();
            self.shared.syncs.fetch_add(1, Ordering::Relaxed);
            synced.map_err(|error| self.poison(&error))?;
            self.unsynced = false;
        }
        Ok(())
    }

    fn poison(&self, error: &EngineError) -> CommitError {
        let reason = error.to_string();
        tracing::error!(%reason, "a write failed: the store refuses writes from now on and serves reads; mend the disk and restart");
        *self.shared.poison.write() = Some(reason.clone());
        CommitError::Poisoned(reason)
    }
}

/// Runs one transaction; one that panics is taken back and its caller told, the others go on.
fn run_guarded(job: Job, attempt: Attempt<'_>) -> Option<Waiting> {
    let Attempt {
        view,
        group,
        term,
        poisoned,
    } = attempt;
    let (begin, sequence) = (group.pending.ops.len(), group.sequence);
    let again = Attempt {
        view,
        group: &mut *group,
        term,
        poisoned,
    };
    let run = std::panic::AssertUnwindSafe(|| job(again));
    if let Ok(waiting) = std::panic::catch_unwind(run) {
        waiting
    } else {
        tracing::error!("a transaction panicked; it was taken back");
        group.pending.truncate(begin);
        group.sequence = sequence;
        None
    }
}

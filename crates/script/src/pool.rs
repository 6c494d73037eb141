//! Which processes there are: one for each owner at most, so many in all, none for ever.
//!
//! Callers of one owner stand in line for its process. A process that nobody uses is parked; it
//! ends when it is idle for long, or when another owner needs the room. A busy one gives up its
//! room after its turn if others wait for room, even if its own line goes on.
//!
//! Invariant: a process is parked, or held by the one caller whose turn it is, or being killed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Mutex as Line, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::error::ScriptError;
use crate::process::Process;
use crate::program::Fingerprint;
use crate::scripts::{Owner, ScriptOptions};

/// Nobody stands in a line for longer.
const LINE_WAIT: Duration = Duration::from_secs(60);

/// A program that hung on one input after another is not run for so long.
const PAUSE: Duration = Duration::from_secs(30);

/// When others wait for room, a process has it for so long at least.
const TURN: Duration = Duration::from_millis(250);

/// All processes.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) options: ScriptOptions,
    owners: Mutex<HashMap<Owner, Arc<Slot>>>,
    room: Arc<Semaphore>,
    /// Callers that wait for room.
    waiting: AtomicUsize,
    /// Somebody looks after idle processes.
    watched: AtomicBool,
    /// Becomes true when the pool closes.
    closed: watch::Sender<bool>,
}

/// An owner's line and its parked process.
#[derive(Debug, Default)]
struct Slot {
    line: Arc<Line<()>>,
    /// Callers in the line.
    standing: AtomicUsize,
    parked: Mutex<Option<Parked>>,
    /// The id of its process, parked or held.
    id: Mutex<Option<u32>>,
    /// A program that hung on one input after another, why it failed, and when.
    barred: Mutex<Option<(Fingerprint, ScriptError, Instant)>>,
}

#[derive(Debug)]
struct Parked {
    process: Process,
    since: Instant,
}

/// A turn with an owner's process. Dropped in the middle of a request, it kills the process;
/// [`Lease::finish`] parks it.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool>,
    slot: Arc<Slot>,
    process: Option<Process>,
    _turn: OwnedMutexGuard<()>,
}

impl Pool {
    /// No process yet.
    pub(crate) fn new(options: ScriptOptions) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(options.processes_max.clamp(1, 4096)));
        Arc::new(Self {
            options,
            owners: Mutex::default(),
            room,
            waiting: AtomicUsize::new(0),
            watched: AtomicBool::new(false),
            closed: watch::Sender::new(false),
        })
    }

    /// Waits for the owner's turn. The process is started when it is asked for.
    pub(crate) async fn lease(self: &Arc<Self>, owner: &Owner) -> Result<Lease, ScriptError> {
        let slot = Arc::clone(self.owners.lock().entry(owner.clone()).or_default());
        let turn = {
            let _standing = Counted::new(&slot.standing);
            let line = Arc::clone(&slot.line).lock_owned();
            timeout(LINE_WAIT, line)
                .await
                .map_err(|_| ScriptError::TooBusy)?
        };
        let process = slot.parked.lock().take().map(|parked| parked.process);
        Ok(Lease {
            pool: Arc::clone(self),
            slot,
            process,
            _turn: turn,
        })
    }

    /// Ends all processes and refuses further ones.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
        self.room.close();
        let slots: Vec<_> = self.owners.lock().drain().collect();
        for (_, slot) in slots {
            drop(slot.parked.lock().take());
        }
    }

    /// Returns when the pool is closed.
    pub(crate) async fn closed(&self) {
        let mut closed = self.closed.subscribe();
        // The sender lives as long as the pool does.
        let _gone = closed.wait_for(|closed| *closed).await.is_err();
    }

    /// The processes there are, by owner.
    pub(crate) fn processes(&self) -> Vec<(Owner, u32)> {
        let owners = self.owners.lock();
        let with_id =
            |(owner, slot): (&Owner, &Arc<Slot>)| Some((owner.clone(), (*slot.id.lock())?));
        owners.iter().filter_map(with_id).collect()
    }

    /// Room for one more process: free, or taken from the process that was idle for longest.
    async fn take_room(&self) -> Result<OwnedSemaphorePermit, ScriptError> {
        if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
            return Ok(room);
        }
        // Counted before looking: whoever parks a process after this sees that somebody waits.
        let _waiting = Counted::new(&self.waiting);
        self.evict();
        let patience = self.options.timeout.saturating_mul(2);
        match timeout(patience, Arc::clone(&self.room).acquire_owned()).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_closed)) => Err(ScriptError::Disabled),
            Err(_) => Err(ScriptError::TooBusy),
        }
    }

    /// Ends the process that was idle for longest.
    fn evict(&self) {
        let owners = self.owners.lock();
        let since = |slot: &&Arc<Slot>| slot.parked.lock().as_ref().map(|parked| parked.since);
        let idle = owners.values().filter(|slot| since(slot).is_some());
        if let Some(slot) = idle.min_by_key(since) {
            slot.clear();
        }
    }

    /// Sees to it that idle processes end, from now until there are none.
    fn watch_idle(self: &Arc<Self>) {
        if self.watched.swap(true, Ordering::SeqCst) {
            return;
        }
        let pool = Arc::downgrade(self);
        let shortest = Duration::from_millis(10);
        let pause = (self.options.idle / 2).clamp(shortest, Duration::from_secs(30));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let Some(pool) = pool.upgrade() else { return };
                if pool.reap() {
                    continue;
                }
                pool.watched.store(false, Ordering::SeqCst);
                // Something may have been parked between the two.
                let forgotten = !pool.owners.lock().is_empty();
                if !forgotten || pool.watched.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
        });
    }

    /// Ends processes that were idle for too long; false when there is nothing left to watch.
    fn reap(&self) -> bool {
        let idle = self.options.idle;
        self.owners.lock().retain(|_, slot| {
            let late = |parked: &Parked| parked.since.elapsed() >= idle;
            if slot.parked.lock().as_ref().is_some_and(late) {
                slot.clear();
            }
            // Somebody holds it, or it has a process, or something to remember.
            Arc::strong_count(slot) > 1 || slot.parked.lock().is_some() || slot.is_barred()
        });
        !self.owners.lock().is_empty()
    }
}

impl Slot {
    fn is_barred(&self) -> bool {
        let barred = self.barred.lock();
        barred
            .as_ref()
            .is_some_and(|(_, _, when)| when.elapsed() < PAUSE)
    }

    /// Ends the parked process.
    fn clear(&self) {
        drop(self.parked.lock().take());
        *self.id.lock() = None;
    }
}

impl Lease {
    /// The process, started if there is none, or replaced if it cannot take the program.
    pub(crate) async fn process(
        &mut self,
        program: Option<&Fingerprint>,
    ) -> Result<&mut Process, ScriptError> {
        let fits = |mut process: Process| {
            let room = program.is_none_or(|program| process.has_room_for(program));
            (room && process.is_alive()).then_some(process)
        };
        let process = match self.process.take().and_then(fits) {
            Some(process) => process,
            None => {
                let room = self.pool.take_room().await?;
                let process = Process::start(&self.pool.options, room).await?;
                *self.slot.id.lock() = process.id();
                process
            }
        };
        Ok(self.process.insert(process))
    }

    /// Refuses a program that has just hung on one input after another: whoever asks again and
    /// again should not have a processor to himself.
    pub(crate) fn refuse_barred(&self, program: &Fingerprint) -> Result<(), ScriptError> {
        match &*self.slot.barred.lock() {
            Some((barred, error, when)) if barred == program && when.elapsed() < PAUSE => {
                Err(error.clone())
            }
            _ => Ok(()),
        }
    }

    /// Refuses the program for a while.
    pub(crate) fn bar(&self, program: &Fingerprint, error: &ScriptError) {
        *self.slot.barred.lock() = Some((*program, error.clone(), Instant::now()));
    }

    /// Is there a process that has served before?
    pub(crate) fn is_warm(&self) -> bool {
        self.process.is_some()
    }

    /// Kills the process; the next one asked for is new.
    pub(crate) fn discard(&mut self) {
        self.process = None;
        *self.slot.id.lock() = None;
    }

    /// The turn is over and the process is sound.
    pub(crate) fn finish(mut self) {
        let Some(process) = self.process.take() else {
            return;
        };
        let gives_up = || {
            let waited_for = self.pool.waiting.load(Ordering::SeqCst) > 0;
            waited_for && (self.slot.standing.load(Ordering::SeqCst) == 0 || process.age() >= TURN)
        };
        if gives_up() || *self.pool.closed.borrow() {
            drop(process);
            *self.slot.id.lock() = None;
            return;
        }
        *self.slot.parked.lock() = Some(Parked {
            process,
            since: Instant::now(),
        });
        self.pool.watch_idle();
        // Somebody may have looked for room just before it was parked.
        let waited_for = self.pool.waiting.load(Ordering::SeqCst) > 0;
        if waited_for && self.slot.standing.load(Ordering::SeqCst) == 0 {
            self.pool.evict();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.process.take().is_some() {
            *self.slot.id.lock() = None;
        }
    }
}

/// Counts a caller for as long as it lives.
struct Counted<'c>(&'c AtomicUsize);

impl<'c> Counted<'c> {
    fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

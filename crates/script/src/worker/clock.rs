//! Time inside the worker: when a function has had enough, and when the server should hear.
//!
//! A unit is one input's work: a document through one map function, a reduce, a request. The
//! engine asks the clock between bytecode steps. That is too seldom to rely on (one `sort` is one
//! step), which is why the server kills; but it names the unit and keeps the process.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Shared by the engine's interrupt and the loop that runs units.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Cell<Instant>,
    flushed: Cell<Instant>,
    interrupted: Cell<bool>,
    limit: Duration,
    interval: Duration,
}

impl Clock {
    /// The server kills after `timeout` without a word. So a unit is stopped a fifth earlier, and
    /// words are sent often enough that its start is known within a twentieth.
    pub(crate) fn new(timeout: Duration) -> Self {
        let now = Instant::now();
        Self {
            started: Cell::new(now),
            flushed: Cell::new(now),
            interrupted: Cell::new(false),
            limit: timeout.saturating_sub(timeout / 5),
            interval: (timeout / 20).min(Duration::from_millis(50)),
        }
    }

    /// A unit begins.
    pub(crate) fn begin(&self) {
        self.interrupted.set(false);
        self.started.set(Instant::now());
    }

    /// The worker waited so long for a slow client, which is not the unit's fault.
    pub(crate) fn excuse(&self, waited: Duration) {
        let started = self.started.get();
        self.started
            .set(started.checked_add(waited).unwrap_or(started));
    }

    /// The server has just heard something.
    pub(crate) fn heard(&self) {
        self.flushed.set(Instant::now());
    }

    /// Is it time to send what there is?
    pub(crate) fn is_due(&self) -> bool {
        self.flushed.get().elapsed() >= self.interval
    }

    /// Must the engine stop? Once it has been told so, [`Clock::was_interrupted`] says it.
    pub(crate) fn interrupt(&self) -> bool {
        let late = self.started.get().elapsed() >= self.limit;
        if late {
            self.interrupted.set(true);
        }
        late
    }

    /// Was the unit stopped for time? Asked once for each stop.
    pub(crate) fn was_interrupted(&self) -> bool {
        self.interrupted.replace(false)
    }
}

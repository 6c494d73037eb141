//! Places for replications that work: so many at once, in the order in which they came.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for replications that work.
#[derive(Debug)]
pub struct Places {
    room: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A place that is taken.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

/// Counts somebody who waits, however that ends.
struct Waiting<'p>(&'p AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    /// So many places.
    #[must_use]
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            room: Arc::new(Semaphore::new(count)),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Waits for a place.
    pub(crate) async fn take(&self) -> Place {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        Place {
            // Closed only when nobody works any more.
            _permit: Arc::clone(&self.room).acquire_owned().await.ok(),
        }
    }

    /// Whether somebody waits for one.
    pub(crate) fn are_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

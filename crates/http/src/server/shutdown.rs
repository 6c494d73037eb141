//! A signal that is raised once and seen by everyone who holds a copy.
//!
//! A hundred thousand connections wait on it while nothing happens, so waiting registers once and
//! asking is one load.
//!
//! Invariant: a signal that is raised stays raised, and no waiter misses it, however it races.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Tells that the server stops. Cheap to clone; all copies are one signal.
#[derive(Clone, Default)]
pub struct ShutdownSignal {
    down: Arc<AtomicBool>,
    raised: Arc<Notify>,
}

impl ShutdownSignal {
    /// A signal that is not raised.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the signal, for good.
    pub fn raise(&self) {
        self.down.store(true, Ordering::SeqCst);
        self.raised.notify_waiters();
    }

    /// Whether it is raised.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::SeqCst)
    }

    /// Waits until it is raised.
    pub async fn wait(&self) {
        // A notification counts from here on, also before the first poll: asking afterwards closes
        // the gap.
        let raised = self.raised.notified();
        if !self.is_down() {
            raised.await;
        }
    }

    /// A wait that is polled by hand, by one task.
    pub(crate) fn waiting(&self) -> Waiting {
        Waiting {
            raised: Box::pin(Arc::clone(&self.raised).notified_owned()),
            down: Arc::clone(&self.down),
            registered: false,
        }
    }
}

impl fmt::Debug for ShutdownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ShutdownSignal")
            .field(&self.is_down())
            .finish()
    }
}

/// See [`ShutdownSignal::waiting`]. Polled many times by the same task, it asks only once to be
/// woken.
pub(crate) struct Waiting {
    raised: Pin<Box<OwnedNotified>>,
    down: Arc<AtomicBool>,
    registered: bool,
}

impl Waiting {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.registered {
            self.registered = true;
            if self.raised.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
        }
        if self.down.load(Ordering::SeqCst) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_before_or_after_sees_it() {
        let signal = ShutdownSignal::new();
        let mut by_hand = signal.waiting();
        let before = tokio::spawn({
            let signal = signal.clone();
            async move { signal.wait().await }
        });
        tokio::task::yield_now().await;
        assert!(!signal.is_down());
        signal.raise();
        before.await.unwrap();
        signal.wait().await;
        std::future::poll_fn(|cx| by_hand.poll(cx)).await;
        std::future::poll_fn(|cx| signal.waiting().poll(cx)).await;
        assert!(signal.is_down());
    }

    #[tokio::test]
    async fn a_registered_wait_is_woken() {
        let signal = ShutdownSignal::new();
        let mut waiting = signal.waiting();
        let (registered, told) = tokio::sync::oneshot::channel();
        let mut registered = Some(registered);
        let task = tokio::spawn(std::future::poll_fn(move |cx| {
            let polled = waiting.poll(cx);
            registered.take().map(|told| told.send(()));
            polled
        }));
        told.await.unwrap();
        signal.raise();
        task.await.unwrap();
    }
}

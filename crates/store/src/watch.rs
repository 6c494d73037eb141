//! Waking those who wait for a change, and nobody else.
//!
//! A topic is a number (a database's); once a commit that touched it is durable, its position is
//! raised to that commit's sequence. Whoever waits learns by that, without reading anything, how far
//! there is something to read. Waiting costs a few words of memory and no thread; a topic that
//! nobody waits for costs nothing at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Topic {
    /// The sequence of the commit that touched it last; 0 if none did since somebody listens.
    position: AtomicU64,
    /// How often it was touched, since two touches may leave the sequence where it was.
    touches: AtomicU64,
    closed: AtomicBool,
    changed: Notify,
}

/// All topics that somebody waits for.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    topics: Arc<Mutex<HashMap<u64, Arc<Topic>>>>,
}

/// One who waits for a topic.
#[derive(Debug)]
pub struct Subscription {
    watch: Watch,
    number: u64,
    topic: Arc<Topic>,
    seen: u64,
}

impl Watch {
    /// Begins to listen to `topic`: every change made durable from now on is noticed.
    #[must_use]
    pub fn subscribe(&self, topic: u64) -> Subscription {
        let entry = Arc::clone(self.topics.lock().entry(topic).or_default());
        let seen = entry.touches.load(Ordering::Acquire);
        Subscription {
            watch: self.clone(),
            number: topic,
            topic: entry,
            seen,
        }
    }

    /// Tells everybody who waits for one of `topics` up to which sequence it reaches.
    pub(crate) fn publish(&self, topics: &[(u64, u64)]) {
        let awaited: Vec<(Arc<Topic>, u64)> = {
            let known = self.topics.lock();
            if known.is_empty() {
                return;
            }
            topics
                .iter()
                .filter_map(|(topic, reached)| Some((known.get(topic).cloned()?, *reached)))
                .collect()
        };
        for (topic, reached) in awaited {
            topic.position.fetch_max(reached, Ordering::AcqRel);
            topic.touches.fetch_add(1, Ordering::AcqRel);
            topic.changed.notify_waiters();
        }
    }

    /// Tells everybody who waits for `topic` that nothing more will come.
    pub fn close(&self, topic: u64) {
        let known = self.topics.lock().get(&topic).cloned();
        if let Some(topic) = known {
            topic.closed.store(true, Ordering::Release);
            topic.touches.fetch_add(1, Ordering::AcqRel);
            topic.changed.notify_waiters();
        }
    }

    /// How many topics are listened to.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.topics.lock().len()
    }
}

impl Subscription {
    /// Waits for a change since this was last called, or since the subscription; returns at once
    /// if there was one, and always once the topic is closed. Cancelling it loses nothing.
    pub async fn changed(&mut self) {
        loop {
            let notified = self.topic.changed.notified();
            let touches = self.topic.touches.load(Ordering::Acquire);
            if touches != self.seen || self.is_closed() {
                self.seen = touches;
                return;
            }
            notified.await;
        }
    }

    /// Takes everything up to now as seen: call it before reading, so that a change during the
    /// reading is noticed after it.
    pub fn mark_seen(&mut self) {
        self.seen = self.topic.touches.load(Ordering::Acquire);
    }

    /// The sequence of the commit that touched the topic last; 0 if that was before anybody
    /// listened.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.topic.position.load(Ordering::Acquire)
    }

    /// Whether nothing more will come.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.topic.closed.load(Ordering::Acquire)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut topics = self.watch.topics.lock();
        // The map's own reference and ours: nobody else listens any more.
        if Arc::strong_count(&self.topic) == 2 {
            topics.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_before_waiting_is_not_missed() {
        let watch = Watch::default();
        let mut subscription = watch.subscribe(7);
        watch.publish(&[(7, 1)]);
        subscription.changed().await;
        watch.publish(&[(8, 2)]);
        tokio::select! {
            biased;
            () = subscription.changed() => panic!("woken by another topic"),
            () = tokio::task::yield_now() => {}
        }
    }

    #[tokio::test]
    async fn a_closed_topic_keeps_nobody_waiting() {
        let watch = Watch::default();
        let mut subscription = watch.subscribe(7);
        watch.close(7);
        subscription.mark_seen();
        subscription.changed().await;
        assert!(subscription.is_closed());
    }

    #[tokio::test]
    async fn a_thousand_are_woken_and_forgotten() {
        let watch = Watch::default();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..1_000 {
            let mut subscription = watch.subscribe(1);
            waiting.spawn(async move { subscription.changed().await });
        }
        watch.publish(&[(1, 3)]);
        while let Some(woken) = waiting.join_next().await {
            woken.unwrap();
        }
        assert_eq!(watch.topics(), 0);
    }
}

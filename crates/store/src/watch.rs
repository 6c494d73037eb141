//! Waking those who wait for a change, and nobody else.
//!
//! A topic is a number (a database's); once a commit that touched it is durable, its position is
//! raised to that commit's sequence. Whoever waits learns by that, without reading anything, how far
//! there is something to read. Waiting costs a few words of memory and no thread; a topic that
//! nobody waits for costs nothing at all.
//!
//! One reader may follow all topics ([`Watch::follow_all`]): what was touched is then noted, once
//! for each topic, until he takes the notes. So he reads what changed, and not all there is.

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

/// The topic that every commit touches which touches any: to be subscribed to, and no more.
pub const EVERY_TOPIC: u64 = u64::MAX;

/// The first of the upper half of all topics. Together with topic 0 these are counted
/// ([`Watch::turns`]): who keeps what follows from them asks with each use whether it still holds,
/// which must cost next to nothing.
pub const UPPER_TOPICS: u64 = 1 << 63;

/// All topics that somebody waits for.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    known: Arc<Mutex<Known>>,
    turns: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Known {
    topics: HashMap<u64, Arc<Topic>>,
    /// What was touched and not yet taken, if somebody follows all topics.
    touched: Option<HashMap<u64, u64>>,
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
        let entry = Arc::clone(self.known.lock().topics.entry(topic).or_default());
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
        let counted = |(topic, _): &(u64, u64)| *topic == 0 || *topic >= UPPER_TOPICS;
        if topics.iter().any(counted) {
            self.turns.fetch_add(1, Ordering::AcqRel);
        }
        let awaited: Vec<(Arc<Topic>, u64)> = {
            let mut known = self.known.lock();
            if let Some(touched) = &mut known.touched {
                for (topic, reached) in topics {
                    let noted = touched.entry(*topic).or_default();
                    *noted = (*noted).max(*reached);
                }
            }
            if known.topics.is_empty() {
                return;
            }
            let last = topics.iter().map(|(_, reached)| *reached).max();
            let every = last.map(|last| (EVERY_TOPIC, last));
            topics
                .iter()
                .copied()
                .chain(every)
                .filter_map(|(topic, reached)| Some((known.topics.get(&topic).cloned()?, reached)))
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
        let known = self.known.lock().topics.get(&topic).cloned();
        if let Some(topic) = known {
            topic.closed.store(true, Ordering::Release);
            topic.touches.fetch_add(1, Ordering::AcqRel);
            topic.changed.notify_waiters();
        }
    }

    /// How often a commit group touched topic 0 or one of [`UPPER_TOPICS`]. It has risen before the
    /// commit is answered: what was read after this was asked holds as long as it stays.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Acquire)
    }

    /// How many topics are listened to.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.known.lock().topics.len()
    }

    /// Begins to note which topics are touched, if that was not done before: call it before reading
    /// what there is.
    pub fn follow_all(&self) {
        self.known.lock().touched.get_or_insert_default();
    }

    /// Takes the notes: topics touched since they were last taken, and up to which sequence each
    /// reaches. What one commit group touched is taken together.
    #[must_use]
    pub fn take_touched(&self) -> HashMap<u64, u64> {
        let mut known = self.known.lock();
        known
            .touched
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
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

    /// Whether there was a change since this was last waited for or taken as seen.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.topic.touches.load(Ordering::Acquire) != self.seen
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
        let mut known = self.watch.known.lock();
        // The map's own reference and ours: nobody else listens any more.
        if Arc::strong_count(&self.topic) == 2 {
            known.topics.remove(&self.number);
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
    async fn who_follows_all_is_told_what_was_touched_once_each() {
        let watch = Watch::default();
        watch.publish(&[(1, 1)]);
        watch.follow_all();
        let mut subscription = watch.subscribe(EVERY_TOPIC);
        watch.publish(&[(7, 3), (8, 2)]);
        watch.publish(&[(7, 5)]);
        subscription.changed().await;
        assert_eq!(subscription.position(), 5);
        assert_eq!(watch.take_touched(), HashMap::from([(7, 5), (8, 2)]));
        assert!(watch.take_touched().is_empty());
    }

    #[test]
    fn what_touches_the_upper_half_is_counted_and_nothing_else() {
        let watch = Watch::default();
        watch.publish(&[(7, 1), (8, 2)]);
        assert_eq!(watch.turns(), 0);
        watch.publish(&[(UPPER_TOPICS, 3), (0, 3)]);
        watch.publish(&[(0, 4)]);
        assert_eq!(watch.turns(), 2);
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

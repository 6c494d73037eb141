//! Waking those who wait for a change, and nobody else.
//!
//! A topic is a number (a database's); once a commit that touched it is durable, its position is
//! raised to that commit's sequence. Whoever waits learns by that, without reading anything, how far
//! there is something to read. Waiting costs a few words of memory and no thread; a topic that
//! nobody waits for costs nothing at all.
//!
//! Who waits for several topics at once has a bell of his own that hangs on each of them, so that what
//! a commit costs follows who listens to what it touched, and leaving costs as little as coming,
//! however many others listen to the same ([`Watch::subscribe_all`]).
//!
//! One reader may follow all topics ([`Watch::follow_all`]): what was touched is then noted, once
//! for each topic, until he takes the notes. So he reads what changed, and not all there is.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What is told of topics, to all who listen to one of them, or to one who listens to several.
#[derive(Debug, Default)]
struct Signal {
    /// The sequence of the commit that touched it last; 0 if none did since somebody listens.
    position: AtomicU64,
    /// How often it was touched, since two touches may leave the sequence where it was.
    touches: AtomicU64,
    closed: AtomicBool,
    changed: Notify,
}

impl Signal {
    fn raise(&self, reached: u64) {
        self.position.fetch_max(reached, Ordering::AcqRel);
        self.rouse();
    }

    fn rouse(&self) {
        self.touches.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.rouse();
    }
}

/// Who listens to a topic; there is always somebody.
#[derive(Debug, Default)]
struct Topic {
    /// Shared by those who listen to nothing else.
    shared: Option<Arc<Signal>>,
    /// The bells of those who listen to others, too, by where they lie.
    bells: HashMap<usize, Arc<Signal>>,
}

impl Topic {
    fn signals(&self) -> impl Iterator<Item = &Arc<Signal>> {
        self.shared.iter().chain(self.bells.values())
    }
}

/// The topic that every commit touches which touches any: to be subscribed to, and no more.
pub const EVERY_TOPIC: u64 = u64::MAX;

/// The first of the upper half of all topics. Together with topic 0 these are counted
/// ([`Watch::turns`]): who keeps what follows from them asks with each use whether it still holds,
/// which must cost next to nothing.
pub const UPPER_TOPICS: u64 = 1 << 63;

/// The first of the topics below [`UPPER_TOPICS`] that are not noted for who follows all: there may be
/// as many of them as there are readers.
pub const QUIET_TOPICS: u64 = 1 << 62;

/// All topics that somebody waits for.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    known: Arc<Mutex<Known>>,
    turns: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Known {
    topics: HashMap<u64, Topic>,
    /// What was touched and not yet taken, if somebody follows all topics.
    touched: Option<HashMap<u64, u64>>,
}

impl Known {
    fn hang(&mut self, topics: &[u64], bell: &Arc<Signal>) {
        for topic in topics {
            let bells = &mut self.topics.entry(*topic).or_default().bells;
            bells.insert(Arc::as_ptr(bell).addr(), Arc::clone(bell));
        }
    }

    fn take_off(&mut self, topics: &[u64], bell: &Arc<Signal>) {
        for number in topics {
            if let Some(topic) = self.topics.get_mut(number) {
                topic.bells.remove(&Arc::as_ptr(bell).addr());
                if topic.bells.is_empty() && topic.shared.is_none() {
                    self.topics.remove(number);
                }
            }
        }
    }
}

/// One who waits for a topic, or for several.
#[derive(Debug)]
pub struct Subscription {
    watch: Watch,
    topics: Topics,
    signal: Arc<Signal>,
    seen: u64,
}

/// What is listened to.
#[derive(Debug)]
enum Topics {
    One(u64),
    /// In order, each once.
    Several(Box<[u64]>),
}

impl Watch {
    /// Begins to listen to `topic`: every change made durable from now on is noticed.
    #[must_use]
    pub fn subscribe(&self, topic: u64) -> Subscription {
        let signal = {
            let mut known = self.known.lock();
            let shared = &mut known.topics.entry(topic).or_default().shared;
            Arc::clone(shared.get_or_insert_default())
        };
        let seen = signal.touches.load(Ordering::Acquire);
        Subscription {
            watch: self.clone(),
            topics: Topics::One(topic),
            signal,
            seen,
        }
    }

    /// Begins to listen to all of `topics`: every change of any of them that is made durable from
    /// now on is noticed, and the position is that of the last.
    #[must_use]
    pub fn subscribe_all(&self, topics: impl IntoIterator<Item = u64>) -> Subscription {
        let topics = in_order(topics);
        let signal = Arc::default();
        self.known.lock().hang(&topics, &signal);
        Subscription {
            watch: self.clone(),
            topics: Topics::Several(topics),
            signal,
            seen: 0,
        }
    }

    /// Tells everybody who waits for one of `topics` up to which sequence it reaches.
    pub(crate) fn publish(&self, topics: &[(u64, u64)]) {
        let counted = |(topic, _): &(u64, u64)| *topic == 0 || *topic >= UPPER_TOPICS;
        if topics.iter().any(counted) {
            self.turns.fetch_add(1, Ordering::AcqRel);
        }
        let awaited: Vec<(Arc<Signal>, u64)> = {
            let mut known = self.known.lock();
            if let Some(touched) = &mut known.touched {
                let noted = |topic: u64| !(QUIET_TOPICS..UPPER_TOPICS).contains(&topic);
                for (topic, reached) in topics.iter().filter(|(topic, _)| noted(*topic)) {
                    let noted = touched.entry(*topic).or_default();
                    *noted = (*noted).max(*reached);
                }
            }
            if known.topics.is_empty() {
                return;
            }
            let last = topics.iter().map(|(_, reached)| *reached).max();
            let every = last.map(|last| (EVERY_TOPIC, last));
            let mut awaited = Vec::new();
            for (topic, reached) in topics.iter().copied().chain(every) {
                if let Some(topic) = known.topics.get(&topic) {
                    awaited.extend(topic.signals().map(|signal| (Arc::clone(signal), reached)));
                }
            }
            awaited
        };
        // Not under the lock: who is woken may end, and takes it to leave.
        for (signal, reached) in awaited {
            signal.raise(reached);
        }
    }

    fn listening_to(&self, topic: u64) -> Vec<Arc<Signal>> {
        let known = self.known.lock();
        let topic = known.topics.get(&topic);
        topic.map_or_else(Vec::new, |topic| topic.signals().cloned().collect())
    }

    /// Wakes everybody who waits for `topic`, though it reaches no further: what he needs besides to
    /// go on may have changed.
    pub fn rouse(&self, topic: u64) {
        for signal in self.listening_to(topic) {
            signal.rouse();
        }
    }

    /// Tells everybody who waits for `topic` that nothing more will come.
    pub fn close(&self, topic: u64) {
        for signal in self.listening_to(topic) {
            signal.close();
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
    /// what there is. [`QUIET_TOPICS`] are not noted.
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

fn in_order(topics: impl IntoIterator<Item = u64>) -> Box<[u64]> {
    let mut topics: Vec<u64> = topics.into_iter().collect();
    topics.sort_unstable();
    topics.dedup();
    topics.into()
}

impl Subscription {
    /// Waits for a change since this was last called, or since the subscription; returns at once
    /// if there was one, and always once the topic is closed. Cancelling it loses nothing.
    pub async fn changed(&mut self) {
        loop {
            let notified = self.signal.changed.notified();
            let touches = self.signal.touches.load(Ordering::Acquire);
            if touches != self.seen || self.is_closed() {
                self.seen = touches;
                return;
            }
            notified.await;
        }
    }

    /// Listens to `topics` from now on, and no more to what it listened to before; to those that are
    /// among both it listens all the while.
    pub fn listen_to(&mut self, topics: impl IntoIterator<Item = u64>) {
        let topics = in_order(topics);
        let before = match &self.topics {
            Topics::Several(before) if *before == topics => return,
            Topics::Several(before) => before,
            // What all share is nobody's own.
            Topics::One(_) => {
                *self = self.watch.subscribe_all(topics);
                return;
            }
        };
        let only_in = |these: &[u64], those: &[u64]| -> Vec<u64> {
            let missing = |topic: &u64| those.binary_search(topic).is_err();
            these.iter().copied().filter(missing).collect()
        };
        {
            let mut known = self.watch.known.lock();
            known.hang(&only_in(&topics, before), &self.signal);
            known.take_off(&only_in(before, &topics), &self.signal);
        }
        self.topics = Topics::Several(topics);
    }

    /// Takes everything up to now as seen: call it before reading, so that a change during the
    /// reading is noticed after it.
    pub fn mark_seen(&mut self) {
        self.seen = self.signal.touches.load(Ordering::Acquire);
    }

    /// Whether there was a change since this was last waited for or taken as seen.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.signal.touches.load(Ordering::Acquire) != self.seen
    }

    /// The sequence of the last commit that touched what is listened to; 0 if that was before
    /// anybody listened.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.signal.position.load(Ordering::Acquire)
    }

    /// Whether nothing more will come.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.signal.closed.load(Ordering::Acquire)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut known = self.watch.known.lock();
        match &self.topics {
            Topics::Several(topics) => known.take_off(topics, &self.signal),
            // The topic's own reference and ours: nobody else listens to it alone any more.
            Topics::One(number) if Arc::strong_count(&self.signal) == 2 => {
                if let Some(topic) = known.topics.get_mut(number) {
                    topic.shared = None;
                    if topic.bells.is_empty() {
                        known.topics.remove(number);
                    }
                }
            }
            Topics::One(_) => {}
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

    #[tokio::test]
    async fn one_bell_hangs_on_several_topics() {
        let watch = Watch::default();
        let mut several = watch.subscribe_all([7, 9, 7]);
        let mut alone = watch.subscribe(7);
        watch.publish(&[(8, 1)]);
        assert!(!several.has_changed() && !alone.has_changed());
        watch.publish(&[(7, 2), (9, 3)]);
        several.changed().await;
        alone.changed().await;
        assert_eq!((several.position(), alone.position()), (3, 2));
        drop(alone);
        watch.publish(&[(7, 4)]);
        several.changed().await;
        assert_eq!(several.position(), 4);
        drop(several);
        assert_eq!(watch.topics(), 0);
    }

    #[tokio::test]
    async fn who_listens_to_others_keeps_what_he_was_told() {
        let watch = Watch::default();
        let mut subscription = watch.subscribe_all([1, 2]);
        watch.publish(&[(1, 5)]);
        subscription.listen_to([2, 3]);
        assert!(subscription.has_changed());
        subscription.mark_seen();
        watch.publish(&[(1, 6)]);
        assert!(!subscription.has_changed());
        watch.publish(&[(3, 7)]);
        assert!(subscription.has_changed());
        assert_eq!(subscription.position(), 7);
        watch.rouse(2);
        watch.close(2);
        subscription.mark_seen();
        subscription.changed().await;
        assert!(subscription.is_closed());
        subscription.listen_to([]);
        assert_eq!(watch.topics(), 0);
    }

    #[test]
    fn who_is_roused_is_told_of_no_further_sequence() {
        let watch = Watch::default();
        let subscription = watch.subscribe(7);
        watch.publish(&[(7, 2)]);
        watch.rouse(7);
        assert!(subscription.has_changed());
        assert_eq!(subscription.position(), 2);
    }

    #[test]
    fn a_hundred_thousand_come_and_go_and_only_the_entitled_are_told() {
        let watch = Watch::default();
        let own = |n: u64| QUIET_TOPICS + 1 + n;
        let listen = |n: u64| watch.subscribe_all([QUIET_TOPICS, own(n), own(n / 100)]);
        let mut all: Vec<Subscription> = (0..100_000).map(listen).collect();
        watch.publish(&[(own(7), 1)]);
        let told = all.iter().filter(|one| one.has_changed()).count();
        assert_eq!(told, 101);
        // Were leaving a search among all, this would not end.
        all.reverse();
        drop(all);
        assert_eq!(watch.topics(), 0);
    }

    #[test]
    fn quiet_topics_are_not_noted() {
        let watch = Watch::default();
        watch.follow_all();
        watch.publish(&[
            (QUIET_TOPICS, 1),
            (7, 1),
            (UPPER_TOPICS - 1, 1),
            (UPPER_TOPICS, 1),
        ]);
        let touched = watch.take_touched();
        assert_eq!(touched, HashMap::from([(7, 1), (UPPER_TOPICS, 1)]));
    }
}

//! The change feed as its readers build it: pages over short views, and a watch to wait on.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use adea_base::{Caller, DatabaseName};
use adea_documents::revision::Revision;
use adea_pod::{ChangesRange, DatabaseEntry, Part, Pod};
use adea_store::{Direction, Subscription};

use crate::scratch::{Scratch, database, options, put};

/// The document that is written when all else is.
const END: &str = "end";
/// Nothing here takes that long: whoever waits longer waits for ever.
const GUARD: Duration = Duration::from_secs(60);

type Revisions = HashMap<String, Revision>;

/// Edits documents of its own; their last revisions.
async fn write(pod: Pod, entry: Arc<DatabaseEntry>, writer: usize) -> Revisions {
    let mut own = Revisions::new();
    for round in 0..120 {
        let name = format!("doc-{writer}-{}", round * 7 % 10);
        let json = format!("{{\"round\":{round}}}");
        let revision = put(&pod, &entry, &name, &json, own.get(&name)).await;
        // Acknowledged, so whoever looks now finds it.
        let caller = Caller::anonymous();
        let after = pod.changes_after(&entry, &caller, 0).unwrap();
        assert!(after > own.len() as u64 - u64::from(own.contains_key(&name)));
        own.insert(name, revision);
    }
    own
}

struct Follower {
    pod: Pod,
    entry: Arc<DatabaseEntry>,
    position: u64,
    seen: Revisions,
}

impl Follower {
    /// Reads at most `limit` rows up to `until`; how many there were.
    fn page(&mut self, until: u64, limit: usize, bodies: bool) -> usize {
        let range = ChangesRange {
            after: self.position,
            until,
            direction: Direction::Forward,
            part: Part::Kept,
            bodies,
            conflicts: false,
            leaves: bodies,
            leaf_bodies: false,
        };
        let mut rows = Vec::new();
        let caller = Caller::anonymous();
        self.pod
            .read_changes(&self.entry, &caller, range, |row| {
                assert_eq!(row.document.is_some(), bodies);
                assert_eq!(row.leaves, std::slice::from_ref(row.winner));
                rows.push((row.sequence, row.id.to_owned(), row.winner.revision.clone()));
                if rows.len() < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })
            .unwrap();
        let count = rows.len();
        for (sequence, id, revision) in rows {
            assert!(sequence > self.position && sequence <= until);
            self.position = sequence;
            let before = self.seen.insert(id, revision.clone());
            assert!(before.is_none_or(|before| before.generation < revision.generation));
        }
        count
    }

    /// Follows until the end was seen, in pages of changing lengths.
    async fn follow(mut self, mut subscription: Subscription, seed: usize) -> Revisions {
        let mut turn = seed;
        loop {
            subscription.mark_seen();
            let until = subscription.position();
            while self.position < until {
                turn += 1;
                let limit = 1 + turn % 7;
                if self.page(until, limit, turn.is_multiple_of(2)) < limit {
                    // Walked to its end: what lay there has moved on.
                    self.position = until;
                }
            }
            if self.seen.contains_key(END) {
                return self.seen;
            }
            let changed = tokio::time::timeout(GUARD, subscription.changed());
            changed.await.expect("nobody was woken");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_follower_sees_the_last_revision_of_every_document() {
    let scratch = Scratch::new();
    let pod = Pod::open(options(&scratch.path("data"))).await.unwrap();
    let entry = database(&pod, "db").await;
    let followers: Vec<_> = (0..4)
        .map(|seed| {
            let follower = Follower {
                pod: pod.clone(),
                entry: Arc::clone(&entry),
                position: 0,
                seen: Revisions::new(),
            };
            let subscription = pod.watch_database(&entry);
            tokio::spawn(follower.follow(subscription, seed))
        })
        .collect();
    let writers: Vec<_> = (0..4)
        .map(|n| tokio::spawn(write(pod.clone(), Arc::clone(&entry), n)))
        .collect();
    let mut written = Revisions::new();
    for writer in writers {
        written.extend(writer.await.unwrap());
    }
    let end = put(&pod, &entry, END, "{}", None).await;
    written.insert(END.to_owned(), end);
    for follower in followers {
        assert_eq!(follower.await.unwrap(), written);
    }
    let caller = Caller::anonymous();
    let mut rows = Vec::new();
    let range = ChangesRange {
        after: 0,
        until: u64::MAX,
        direction: Direction::Reverse,
        part: Part::Kept,
        bodies: false,
        conflicts: false,
        leaves: false,
        leaf_bodies: false,
    };
    pod.read_changes(&entry, &caller, range, |row| {
        rows.push(row.sequence);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(rows.len(), written.len());
    // Exactly what lies behind, for every place and the gaps between.
    for (behind, sequence) in rows.iter().enumerate() {
        let after = |at| pod.changes_after(&entry, &caller, at).unwrap();
        assert_eq!(after(*sequence), behind as u64);
        assert_eq!(after(*sequence - 1), behind as u64 + 1);
    }
}

#[tokio::test]
async fn who_waits_hears_that_the_database_is_dropped() {
    let scratch = Scratch::new();
    let pod = Pod::open(options(&scratch.path("data"))).await.unwrap();
    let entry = database(&pod, "db").await;
    let mut subscription = pod.watch_database(&entry);
    subscription.mark_seen();
    pod.drop_database(&DatabaseName::parse("db").unwrap())
        .await
        .unwrap();
    let heard = async {
        while !subscription.is_closed() {
            subscription.changed().await;
        }
    };
    tokio::time::timeout(GUARD, heard).await.unwrap();
}

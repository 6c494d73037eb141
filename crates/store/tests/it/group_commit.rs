//! The one door for writes: transactions that share a sync, are refused, fail or lose their power.
//!
//! Writers that come together are committed in groups, and none of them can tell: each has its own
//! sequence and its own answer. The invariant, under any faults and power cuts: what was
//! acknowledged is there, or what was written over it and never answered; sequences only rise; and
//! what was refused has left nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use adea_store::{
    Commit, CommitError, Decline, Engine, Fault, Faulty, Health, Memory, Op, Space, Store,
    StoreOptions, TransactError, WritePermit, conformance::Script,
};

const PERMIT: WritePermit = WritePermit::of_term(1);

#[expect(
    clippy::unwrap_used,
    reason = "a test that cannot open its store has failed"
)]
fn open(engine: &Arc<Faulty>) -> Store {
    Store::open(
        Arc::clone(engine) as Arc<dyn Engine>,
        StoreOptions::default(),
    )
    .unwrap()
}

async fn put(store: &Store, key: Vec<u8>, value: Vec<u8>) -> Result<u64, TransactError<()>> {
    store
        .transact(PERMIT, move |tx| {
            tx.put(Space::Index, key, value);
            Ok(tx.next_sequence())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_share_a_sync_and_each_gets_his_own_sequence() {
    let engine = Arc::new(Faulty::new());
    let store = open(&engine);
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..200u8 {
        let store = store.clone();
        writers.spawn(async move { put(&store, vec![9, n], vec![n]).await.unwrap() });
    }
    let mut sequences = Vec::new();
    while let Some(done) = writers.join_next().await {
        sequences.push(done.unwrap());
    }
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=200).collect::<Vec<u64>>());
    let (commits, syncs) = store.counts();
    assert_eq!(commits, 200);
    assert!(syncs <= 200);
    assert_eq!(store.sequence(), 200);
}

#[tokio::test]
async fn a_refused_transaction_leaves_nothing_behind() {
    let engine = Arc::new(Faulty::new());
    let store = open(&engine);
    let refused: Result<(), _> = store
        .transact(PERMIT, |tx| {
            tx.put(Space::Index, vec![9], vec![1]);
            tx.next_sequence();
            Err(Decline::Refused("no"))
        })
        .await;
    assert_eq!(refused, Err(TransactError::Refused("no")));
    assert_eq!(store.view().get(Space::Index, &[9]).unwrap(), None);
    assert_eq!(put(&store, vec![8], vec![]).await, Ok(1));
}

#[tokio::test]
async fn an_older_term_is_fenced() {
    let store = open(&Arc::new(Faulty::new()));
    store.raise_term(5).await.unwrap();
    let fenced = put(&store, vec![9], vec![]).await;
    assert!(matches!(
        fenced,
        Err(TransactError::Commit(CommitError::Fenced {
            permit: 1,
            current: 5
        }))
    ));
}

#[tokio::test]
async fn a_commit_shipped_elsewhere_makes_the_same_bytes() {
    let here = Arc::new(Memory::new());
    let there = Arc::new(Memory::new());
    let first = Store::open(
        Arc::clone(&here) as Arc<dyn Engine>,
        StoreOptions::default(),
    )
    .unwrap();
    let second = Store::open(
        Arc::clone(&there) as Arc<dyn Engine>,
        StoreOptions::default(),
    )
    .unwrap();
    for n in 0..20u8 {
        let commit: Result<Commit, TransactError<()>> = first
            .transact(PERMIT, move |tx| {
                tx.put(Space::Body, vec![9, n % 7], vec![n]);
                tx.delete(Space::Body, vec![9, n % 3]);
                tx.next_sequence();
                Ok(Commit {
                    term: 1,
                    sequence: tx.sequence(),
                    ops: tx.ops().to_vec(),
                })
            })
            .await;
        let shipped = Commit::decode(&commit.unwrap().encode()).unwrap();
        second.apply(PERMIT, shipped).await.unwrap();
    }
    assert_eq!(here.contents(), there.contents());
    assert_eq!(first.sequence(), second.sequence());
}

/// Whatever fails and whenever the power goes: what was acknowledged is there, in order, what was
/// refused by the caller is not, sequences never rewind, and a poisoned store takes nothing.
#[tokio::test]
async fn nothing_acknowledged_is_lost_to_faults_and_power_cuts() {
    for seed in 0..200 {
        let mut script = Script::of_seed(seed);
        let mut engine = Arc::new(Faulty::new());
        let mut acknowledged: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut unknown: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut highest = 0;
        for _life in 0..3 {
            let after = script.below(12);
            engine.inject(match script.below(3) {
                0 => Fault::DiskFull { after },
                1 => Fault::SyncFails {
                    after,
                    survives: true,
                },
                _ => Fault::SyncFails {
                    after,
                    survives: false,
                },
            });
            let store = open(&engine);
            for _ in 0..10 {
                let key = vec![9, u8::try_from(script.below(5)).unwrap()];
                let value = vec![u8::try_from(script.below(256)).unwrap()];
                match put(&store, key.clone(), value.clone()).await {
                    Ok(sequence) => {
                        assert!(sequence > highest, "seed {seed}: sequence rewound");
                        highest = sequence;
                        assert_eq!(store.health(), Health::Healthy);
                        unknown.retain(|(in_doubt, _)| *in_doubt != key);
                        acknowledged.insert(key, value);
                    }
                    Err(TransactError::Commit(CommitError::Poisoned(_))) => {
                        unknown.push((key, value));
                        assert!(matches!(store.health(), Health::Poisoned(_)));
                    }
                    Err(other) => panic!("seed {seed}: {other:?}"),
                }
            }
            for (key, value) in &acknowledged {
                let read = store.view().get(Space::Index, key).unwrap().unwrap();
                let in_doubt = unknown.iter().any(|(k, v)| k == key && *v == read);
                assert!(
                    read == *value || in_doubt,
                    "seed {seed}: a poisoned store reads"
                );
            }
            store.close();
            engine = Arc::new(engine.power_cut());
        }
        let after = open(&engine);
        for (key, value) in &acknowledged {
            let read = after.view().get(Space::Index, key).unwrap().unwrap();
            let in_doubt = unknown.iter().any(|(k, v)| k == key && *v == read);
            assert!(read == *value || in_doubt, "seed {seed}: {key:?}");
        }
    }
}

#[test]
fn operations_know_their_size() {
    let put = Op::Put {
        space: Space::Index,
        key: vec![1, 2],
        value: vec![3],
    };
    assert_eq!(put.size(), 3);
}

/// A store that answers before it syncs may lose what it answered; what it never does is to give
/// a sequence out twice, which would hide changes from who was told the lost one.
#[tokio::test]
async fn a_relaxed_store_never_gives_a_sequence_out_twice() {
    let relaxed = StoreOptions {
        durability: adea_store::Durability::Relaxed {
            interval: std::time::Duration::from_secs(3_600),
        },
    };
    let engine = Arc::new(Faulty::new());
    let store = Store::open(Arc::clone(&engine) as Arc<dyn Engine>, relaxed).unwrap();
    let told = put(&store, vec![9], vec![1]).await.unwrap();
    let after = Arc::new(engine.power_cut());
    assert_eq!(
        after.view().get(Space::Index, &[9]).unwrap(),
        None,
        "it was lost"
    );
    let strict = open(&after);
    assert!(put(&strict, vec![9], vec![2]).await.unwrap() > told);
    strict.close();
    let again = open(&after);
    let next = put(&again, vec![9], vec![3]).await.unwrap();
    assert!(
        next < told + (1 << 31),
        "a strict store that ended well skips nothing"
    );
}

#[tokio::test]
async fn a_transaction_keeps_one_value_of_a_key_that_it_writes_often() {
    let store = open(&Arc::new(Faulty::new()));
    let kept: Result<usize, TransactError<()>> = store
        .transact(PERMIT, |tx| {
            for n in 0..1_000u32 {
                tx.put(Space::Index, vec![9], n.to_be_bytes().to_vec());
            }
            Ok(tx.ops().len())
        })
        .await;
    assert_eq!(kept, Ok(1));
    let read = store.view().get(Space::Index, &[9]).unwrap();
    assert_eq!(read, Some(999u32.to_be_bytes().to_vec()));
}

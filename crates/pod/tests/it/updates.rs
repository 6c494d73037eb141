//! Following all databases, and the time of sequences: tombstones expire by it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adea_base::{Caller, Clock, DatabaseName};
use adea_documents::json::parse_document;
use adea_documents::revision::Revision;
use adea_files::Directory;
use adea_pod::{DatabaseEntry, DraftedEdit, Pod, UpdateKind};
use adea_store::{Engine, Memory};

use crate::scratch::{Scratch, database, id, options, put};

/// A pod whose time is turned by hand.
struct Timed {
    pod: Pod,
    now: Arc<AtomicU64>,
}

impl Timed {
    async fn over(engine: Arc<dyn Engine>, scratch: &Scratch, now: &Arc<AtomicU64>) -> Self {
        let files =
            Directory::open_backend(Arc::new(adea_files::backend::Memory::default())).unwrap();
        let clock = Clock::Manual(Arc::clone(now));
        let options = options(&scratch.path("data"));
        let pod = Pod::over_at(engine, files, options, clock).await.unwrap();
        let now = Arc::clone(now);
        Self { pod, now }
    }

    /// Lets time pass, and notes it as a server does.
    async fn pass(&self, seconds: u64) {
        self.now.fetch_add(seconds * 1_000, Ordering::Relaxed);
        self.pod.note_time().await.unwrap();
    }
}

fn begin() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(1_800_000_000_000))
}

async fn delete(pod: &Pod, entry: &Arc<DatabaseEntry>, name: &str, based_on: &Revision) {
    let draft = parse_document(br#"{"_deleted":true}"#).unwrap();
    let edit = DraftedEdit::Edit(Some(based_on.clone()));
    let caller = Caller::anonymous();
    let prepared = pod
        .prepare(entry, &caller, id(name), draft, edit, Vec::new())
        .await
        .unwrap();
    pod.write(entry, prepared).await.unwrap();
}

#[tokio::test]
async fn tombstones_expire_and_nothing_else_does() {
    let scratch = Scratch::new();
    let (engine, now) = (Arc::new(Memory::new()), begin());
    let timed = Timed::over(Arc::clone(&engine) as _, &scratch, &now).await;
    let pod = &timed.pod;
    let (entry, other) = (database(pod, "db").await, database(pod, "other").await);
    for entry in [&entry, &other] {
        for n in 0..250 {
            let name = format!("old{n:03}");
            let first = put(pod, entry, &name, "{}", None).await;
            if n % 5 != 0 {
                delete(pod, entry, &name, &first).await;
            }
        }
    }
    timed.pass(100).await;
    let young = put(pod, &entry, "young", "{}", None).await;
    delete(pod, &entry, "young", &young).await;
    assert_eq!(pod.purge_expired().await.unwrap(), 0);
    pod.set_deleted_document_ttl(&entry, Some(3_600))
        .await
        .unwrap();
    assert_eq!(pod.deleted_document_ttl(&entry).unwrap(), Some(3_600));
    timed.pass(3_000).await;
    assert_eq!(pod.purge_expired().await.unwrap(), 0);
    timed.pass(800).await;
    assert_eq!(pod.purge_expired().await.unwrap(), 200);
    let counts = pod.statistics(&entry).unwrap();
    assert_eq!((counts.documents, counts.deleted), (50, 1));
    assert_eq!(counts.purge_sequence, 200);
    let counts = pod.statistics(&other).unwrap();
    assert_eq!((counts.documents, counts.deleted), (50, 200));
    // What was looked through is not looked through again, also after a restart.
    pod.close();
    let timed = Timed::over(engine, &scratch, &now).await;
    let pod = &timed.pod;
    assert_eq!(pod.purge_expired().await.unwrap(), 0);
    timed.pass(4_000).await;
    assert_eq!(pod.purge_expired().await.unwrap(), 1);
    assert_eq!(pod.check().await.unwrap().faults, Vec::<String>::new());
    let name = DatabaseName::parse("db").unwrap();
    pod.drop_database(&name).await.unwrap();
    assert_eq!(pod.purge_expired().await.unwrap(), 0);
}

#[tokio::test]
async fn a_moment_gives_a_sequence_that_misses_nothing_after_it() {
    let scratch = Scratch::new();
    let timed = Timed::over(Arc::new(Memory::new()), &scratch, &begin()).await;
    let pod = &timed.pod;
    let entry = database(pod, "db").await;
    let mut written = Vec::new();
    for n in 0..40 {
        put(pod, &entry, &format!("doc{n}"), "{}", None).await;
        let at = pod.statistics(&entry).unwrap().update_sequence;
        written.push((pod.clock().now_unix_s(), at));
        timed.pass(50 * (n % 4)).await;
    }
    for (unix_s, _) in &written {
        let since = pod.sequence_at(&entry, *unix_s).unwrap().unwrap();
        let behind = written.iter().filter(|(_, at)| *at > since).count();
        let after = written.iter().filter(|(at, _)| at >= unix_s).count();
        assert!(behind >= after, "{behind} {after}");
    }
    let future = pod.clock().now_unix_s() + 10;
    assert_eq!(pod.sequence_at(&entry, future).unwrap(), None);
    assert_eq!(pod.sequence_at(&entry, 0).unwrap(), Some(0));
    let spans = pod.changes_by_time(&entry).unwrap();
    assert_eq!(spans.iter().map(|(_, count)| count).sum::<u64>(), 40);
    assert!(spans.len() > 10, "{spans:?}");
    pod.reset_times(&entry).await.unwrap();
    assert_eq!(pod.changes_by_time(&entry).unwrap(), Vec::new());
    let last = written[39].0;
    assert_eq!(pod.sequence_at(&entry, last).unwrap(), Some(0));
}

/// What a follower knows: name → kind → sequence.
type Told = BTreeMap<(String, &'static str), u64>;

/// Reads on from `after` in small pages and keeps what it is told.
fn follow(pod: &Pod, told: &mut Told, after: u64) -> u64 {
    let mut position = after;
    loop {
        let page = pod.database_updates(position, 3, false).unwrap();
        let rows = page.rows;
        for row in &rows {
            assert!(row.sequence > position && row.sequence <= page.horizon);
            position = row.sequence;
            let key = (row.name.to_string(), row.kind.word());
            told.insert(key, row.sequence);
        }
        if rows.len() < 3 {
            return page.horizon;
        }
    }
}

#[tokio::test]
async fn a_follower_hears_of_every_database_also_after_a_restart() {
    let scratch = Scratch::new();
    let engine: Arc<dyn Engine> = Arc::new(Memory::new());
    let timed = Timed::over(Arc::clone(&engine), &scratch, &begin()).await;
    let pod = &timed.pod;
    let early = database(pod, "early").await;
    put(pod, &early, "a", "{}", None).await;
    let mut told = Told::new();
    let mut position = follow(pod, &mut told, 0);
    assert!(told.contains_key(&("early".to_owned(), "updated")));
    let mut listening = pod.watch_all_databases();
    for round in 0..30 {
        let name = format!("db{}", round % 7);
        let wanted = DatabaseName::parse(&name).unwrap();
        match pod.database(&wanted) {
            Err(_) => drop(database(pod, &name).await),
            Ok(_) if round % 3 == 0 => pod.drop_database(&wanted).await.unwrap(),
            Ok(entry) => drop(put(pod, &entry, &format!("d{round}"), "{}", None).await),
        }
        listening.changed().await;
        let before = position;
        position = follow(pod, &mut told, position);
        assert!(position > before);
    }
    let mut whole = Told::new();
    assert_eq!(follow(pod, &mut whole, 0), position);
    // The follower also remembers what became of databases that are gone.
    for (key, sequence) in &whole {
        assert_eq!(told.get(key), Some(sequence), "{key:?}");
    }
    let newest = pod.database_updates(0, 1, true).unwrap().rows;
    assert_eq!(newest[0].sequence, *whole.values().max().unwrap());
    assert!(
        whole
            .keys()
            .any(|(_, word)| *word == UpdateKind::Deleted.word())
    );
    pod.close();
    let timed = Timed::over(engine, &scratch, &begin()).await;
    let mut again = Told::new();
    follow(&timed.pod, &mut again, 0);
    assert_eq!(again, whole);
}

#[tokio::test]
async fn the_feed_misses_nothing_while_many_write() {
    let scratch = Scratch::new();
    let timed = Timed::over(Arc::new(Memory::new()), &scratch, &begin()).await;
    let pod = &timed.pod;
    let mut entries = Vec::new();
    for n in 0..5 {
        entries.push(database(pod, &format!("db{n}")).await);
    }
    let mut told = Told::new();
    let mut position = follow(pod, &mut told, 0);
    let mut writing = tokio::task::JoinSet::new();
    for (n, entry) in entries.iter().enumerate() {
        let (pod, entry) = (pod.clone(), Arc::clone(entry));
        writing.spawn(async move {
            for m in 0..40 {
                put(&pod, &entry, &format!("{n}-{m}"), "{}", None).await;
            }
        });
    }
    while !writing.is_empty() {
        tokio::select! {
            _ = writing.join_next() => {}
            () = tokio::task::yield_now() => {}
        }
        position = follow(pod, &mut told, position);
    }
    for entry in &entries {
        let last = pod.statistics(entry).unwrap().update_sequence;
        let key = (entry.name.as_str().to_owned(), "updated");
        assert_eq!(told.get(&key), Some(&last));
    }
}

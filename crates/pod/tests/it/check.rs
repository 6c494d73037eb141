//! A check finds what was damaged, and says where.

use std::path::Path;
use std::sync::Arc;

use adea_documents::everything;
use adea_pod::{Pod, Report};
use adea_store::{
    Direction, Disk, DiskOptions, Durability, Space, Store, StoreOptions, TransactError,
    WritePermit,
};

use crate::scratch::{Scratch, attach, blobs, database, large, options, put};

/// A data directory with two documents, an inline attachment and a file.
async fn make(data: &Path) -> adea_documents::DatabaseNumber {
    let pod = Pod::open(options(data)).await.unwrap();
    let entry = database(&pod, "db").await;
    put(&pod, &entry, "plain", r#"{"v":1}"#, None).await;
    attach(&pod, &entry, "file", large(1), None).await;
    attach(&pod, &entry, "small", vec![7; 100], None).await;
    pod.close();
    entry.number
}

async fn check(data: &Path) -> Report {
    let pod = Pod::open_existing(options(data)).await.unwrap();
    let report = pod.check().await.unwrap();
    pod.close();
    report
}

/// Changes the value under a key, or deletes it, behind everybody's back.
async fn damage(data: &Path, space: Space, key: Vec<u8>, value: Option<Vec<u8>>) {
    let disk = Disk::open(&data.join("store"), DiskOptions::default()).unwrap();
    let options = StoreOptions {
        durability: Durability::Strict,
    };
    let store = Store::open(Arc::new(disk), options).unwrap();
    let damaged: Result<(), TransactError<String>> = store
        .transact(WritePermit::of_term(1), move |tx| {
            match value {
                Some(value) => tx.put(space, key, value),
                None => tx.delete(space, key),
            }
            Ok(())
        })
        .await;
    damaged.unwrap();
    store.close();
}

/// The keys in `space` that begin with `prefix`.
fn keys(data: &Path, space: Space, prefix: &[u8]) -> Vec<Vec<u8>> {
    let disk = Disk::open(&data.join("store"), DiskOptions::default()).unwrap();
    let view = adea_store::Engine::view(&disk);
    let range = adea_store::KeyRange::prefix(prefix);
    let mut cursor = view.range(space, range, Direction::Forward).unwrap();
    let mut found = Vec::new();
    while let Some((key, _)) = cursor.next().unwrap() {
        found.push(key.to_vec());
    }
    found
}

#[tokio::test]
async fn what_is_whole_has_no_faults_and_is_counted() {
    let scratch = Scratch::new();
    let data = scratch.path("data");
    make(&data).await;
    let report = check(&data).await;
    let expected = Report {
        databases: 3,
        documents: 3,
        bodies: 3,
        attachments: 2,
        ..Report::default()
    };
    assert_eq!(report, expected);
}

#[tokio::test]
async fn every_lost_key_of_a_database_is_found() {
    let scratch = Scratch::new();
    let data = scratch.path("data");
    let number = make(&data).await;
    let prefix = everything(number).from;
    for space in [Space::Index, Space::Body] {
        let keys = keys(&data, space, &prefix);
        assert!(keys.len() >= 3);
        for key in keys {
            let copy = scratch.path("copy");
            copy_tree(&data, &copy);
            damage(&copy, space, key.clone(), None).await;
            let report = check(&copy).await;
            assert!(!report.faults.is_empty(), "{space:?} {key:?}");
            std::fs::remove_dir_all(&copy).unwrap();
        }
    }
}

#[tokio::test]
async fn damaged_attachments_are_found() {
    let scratch = Scratch::new();
    let data = scratch.path("data");
    make(&data).await;
    let file = blobs(&data).pop().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let faults = check(&data).await.faults;
    assert!(
        faults.len() == 1 && faults[0].contains("holds the bytes of"),
        "{faults:?}"
    );
    std::fs::remove_file(&file).unwrap();
    let faults = check(&data).await.faults;
    assert!(
        faults.len() == 1 && faults[0].contains("missing"),
        "{faults:?}"
    );
    let inline = keys(&data, Space::Body, &[adea_store::key::FILES])
        .pop()
        .unwrap();
    damage(&data, Space::Body, inline.clone(), Some(vec![8; 100])).await;
    assert_eq!(check(&data).await.faults.len(), 2);
    damage(&data, Space::Body, inline, None).await;
    assert_eq!(check(&data).await.faults.len(), 2);
}

#[tokio::test]
async fn wrong_counts_of_references_and_keys_of_nobody_are_found() {
    let scratch = Scratch::new();
    let data = scratch.path("data");
    make(&data).await;
    let counts = keys(&data, Space::Index, &[adea_store::key::FILES]);
    assert_eq!(counts.len(), 2);
    damage(&data, Space::Index, counts[0].clone(), Some(vec![1, 5])).await;
    let faults = check(&data).await.faults;
    assert!(
        faults.len() == 1 && faults[0].contains("5 references are counted"),
        "{faults:?}"
    );
    damage(&data, Space::Index, counts[0].clone(), Some(vec![1, 1])).await;
    damage(&data, Space::Index, vec![0x77, 1], Some(vec![])).await;
    damage(
        &data,
        Space::Body,
        vec![adea_store::key::DATABASE, 2, 0xaa, 0xbb, 1, 1],
        Some(vec![]),
    )
    .await;
    let report = check(&data).await;
    assert_eq!(
        (report.faults.len(), report.notes.len()),
        (0, 2),
        "{report:?}"
    );
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

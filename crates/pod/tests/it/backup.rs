//! A backup is one moment, whatever goes on; what is restored is somebody new.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adea_pod::{BackupError, OpenError, Pod, restore};

use crate::scratch::{Scratch, attach, blobs, database, large, options, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_while_writing_restores_whole_and_as_a_new_instance() {
    let scratch = Scratch::new();
    let (data, to, new) = (
        scratch.path("data"),
        scratch.path("backup"),
        scratch.path("new"),
    );
    let pod = Pod::open(options(&data)).await.unwrap();
    let entry = database(&pod, "db").await;
    let acknowledged = attach(&pod, &entry, "before", large(1), None).await;
    let ended = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (pod, entry, ended) = (pod.clone(), Arc::clone(&entry), Arc::clone(&ended));
        async move {
            let mut last = acknowledged;
            for n in 0u8.. {
                if ended.load(Ordering::Acquire) {
                    break;
                }
                put(&pod, &entry, &format!("doc{n}"), "{}", None).await;
                last = attach(&pod, &entry, "before", large(n), Some(&last)).await;
                pod.compact(&entry).await.unwrap();
            }
        }
    });
    let made = pod.backup(&to).await.unwrap();
    ended.store(true, Ordering::Release);
    writer.await.unwrap();
    assert_eq!(made.faults, Vec::<String>::new());
    assert!(
        made.documents >= 1 && made.files >= 1 && made.bytes > 200_000,
        "{made:?}"
    );
    assert!(to.join("FORMAT").exists() && !to.join("LOCK").exists());

    let before = contents(&to);
    let report = restore(&to, &new).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    assert_eq!(report.documents, made.documents);
    assert!(before == contents(&to), "a backup stays as it is");
    let restored = Pod::open_existing(options(&new)).await.unwrap();
    assert_ne!(restored.identity().instance, pod.identity().instance);
    assert_ne!(restored.identity().uuid, pod.identity().uuid);
    assert!(restored.identity().restored_unix_s > 0);
    assert_eq!(restored.check().await.unwrap().faults, Vec::<String>::new());
    assert_eq!(blobs(&new).len() as u64, made.files);
}

#[tokio::test]
async fn a_backup_goes_nowhere_where_something_is() {
    let scratch = Scratch::new();
    let data = scratch.path("data");
    let pod = Pod::open(options(&data)).await.unwrap();
    let taken = scratch.path("taken");
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(taken.join("thesis.txt"), "x").unwrap();
    let refused = pod.backup(&taken).await.unwrap_err();
    assert!(matches!(refused, BackupError::NotEmpty(_)), "{refused}");
    assert_eq!(contents(&taken).len(), 1);
    let refused = pod.backup(&data.join("blobs/here")).await.unwrap_err();
    assert!(matches!(refused, BackupError::Inside(_)), "{refused}");
    let refused = restore(&taken, &scratch.path("new")).await.unwrap_err();
    assert!(matches!(refused, BackupError::NoBackup(_)), "{refused}");
    let refused = restore(&data, &scratch.path("new")).await.unwrap_err();
    assert!(matches!(refused, BackupError::InUse(_)), "{refused}");
}

#[tokio::test]
async fn a_restore_that_breaks_off_leaves_no_data_directory() {
    let scratch = Scratch::new();
    let (to, new) = (scratch.path("backup"), scratch.path("new"));
    let pod = Pod::open(options(&scratch.path("data"))).await.unwrap();
    pod.backup(&to).await.unwrap();
    std::fs::remove_file(to.join("store/CURRENT")).unwrap();
    std::fs::write(to.join("store/CURRENT"), "MANIFEST-999999\n").unwrap();
    let refused = restore(&to, &new).await.unwrap_err();
    assert!(matches!(refused, BackupError::Engine(_)), "{refused}");
    assert!(contents(&new).is_empty());
    let refused = Pod::open_existing(options(&new)).await.err().unwrap();
    assert!(matches!(refused, OpenError::Directory(_)), "{refused}");
}

/// Every file below `path` with its bytes.
fn contents(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

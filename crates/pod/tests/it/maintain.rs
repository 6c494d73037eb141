//! Room is given back, and nothing else goes with it.

use std::time::Duration;

use adea_base::DatabaseName;
use adea_pod::{Pod, Report};

use crate::scratch::{Scratch, attach, blobs, database, id, large, options, put};

/// A check that found nothing wrong.
async fn whole(pod: &Pod) -> Report {
    let report = pod.check().await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    report
}

#[tokio::test]
async fn a_dropped_database_gives_its_files_back_and_no_one_elses() {
    let scratch = Scratch::new();
    let data = scratch.path("data");
    let pod = Pod::open(options(&data)).await.unwrap();
    let (gone, kept) = (database(&pod, "gone").await, database(&pod, "kept").await);
    attach(&pod, &gone, "own", large(1), None).await;
    attach(&pod, &gone, "shared", large(2), None).await;
    attach(&pod, &gone, "small", vec![3; 10], None).await;
    attach(&pod, &kept, "shared", large(2), None).await;
    assert_eq!(blobs(&data).len(), 2);
    pod.drop_database(&DatabaseName::parse("gone").unwrap())
        .await
        .unwrap();
    let swept = async {
        while blobs(&data).len() > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), swept)
        .await
        .unwrap();
    let report = whole(&pod).await;
    assert_eq!((report.attachments, report.documents), (1, 1));
}

#[tokio::test]
async fn compaction_drops_old_bodies_and_keeps_leaves() {
    let scratch = Scratch::new();
    let data = scratch.path("data");
    let pod = Pod::open(options(&data)).await.unwrap();
    let entry = database(&pod, "db").await;
    for n in 0..300 {
        let name = format!("doc{n:03}");
        let first = put(&pod, &entry, &name, r#"{"v":1}"#, None).await;
        put(&pod, &entry, &name, r#"{"v":2}"#, Some(&first)).await;
    }
    put(&pod, &entry, "once", "{}", None).await;
    let old = attach(&pod, &entry, "file", large(1), None).await;
    attach(&pod, &entry, "file", large(2), Some(&old)).await;
    assert_eq!((whole(&pod).await.bodies, blobs(&data).len()), (603, 2));
    assert!(pod.compact(&entry).await.unwrap());
    let report = whole(&pod).await;
    assert_eq!(
        (report.documents, report.bodies, report.attachments),
        (302, 302, 1)
    );
    assert_eq!(blobs(&data).len(), 1);
    assert!(pod.compactions().is_empty());
    assert!(!pod.database_info(&entry).unwrap().compacting);
}

#[tokio::test]
async fn a_compaction_shows_and_a_second_one_does_nothing() {
    let scratch = Scratch::new();
    let pod = Pod::open(options(&scratch.path("data"))).await.unwrap();
    let entry = database(&pod, "db").await;
    put(&pod, &entry, "doc", "{}", None).await;
    // On this runtime of one thread the task begins only when this one waits.
    pod.start_compaction(&entry);
    assert!(pod.database_info(&entry).unwrap().compacting);
    let running = pod.compactions();
    assert_eq!((running.len(), running[0].database.as_str()), (1, "db"));
    assert_eq!((running[0].changes_done, running[0].total_changes), (0, 1));
    assert!(!pod.compact(&entry).await.unwrap());
    let ended = async {
        while !pod.compactions().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended)
        .await
        .unwrap();
    whole(&pod).await;
}

#[tokio::test]
async fn a_purged_revision_takes_its_attachment_along() {
    let scratch = Scratch::new();
    let data = scratch.path("data");
    let pod = Pod::open(options(&data)).await.unwrap();
    let entry = database(&pod, "db").await;
    let revision = attach(&pod, &entry, "doc", large(1), None).await;
    let wanted = vec![
        (id("doc"), vec![revision.clone()]),
        (id("none"), vec![revision.clone()]),
    ];
    let purged = pod.purge(&entry, wanted).await.unwrap();
    let expected = [
        ("doc".to_owned(), vec![revision]),
        ("none".to_owned(), Vec::new()),
    ];
    assert_eq!(purged, expected);
    assert!(blobs(&data).is_empty());
    assert_eq!(whole(&pod).await.documents, 0);
}

#[tokio::test]
async fn a_file_that_nobody_refers_to_is_collected_at_the_start() {
    let scratch = Scratch::new();
    let data = scratch.path("data");
    let pod = Pod::open(options(&data)).await.unwrap();
    let entry = database(&pod, "db").await;
    attach(&pod, &entry, "doc", large(1), None).await;
    let kept = blobs(&data);
    let orphan = data.join("blobs/ab").join("ab".repeat(32));
    std::fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    std::fs::write(&orphan, "left by a crash").unwrap();
    assert_eq!(whole(&pod).await.notes.len(), 1);
    pod.resume_maintenance().await;
    assert_eq!(blobs(&data), kept);
    assert!(whole(&pod).await.notes.is_empty());
}

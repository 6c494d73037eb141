//! What holds on every backend: the suite runs on the disk and in memory, and the tests of
//! faults and power cuts, which only the memory can play, stand below it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::backend::{Backend, Disk, Faulty, Memory, Operation};
use crate::{
    BlobReader, Chunks, Content, Digest, Directory, Encoding, Pin, ReadError, StoredBlob,
    Treatment, Upload, UploadError, UploadOptions, VerifyError,
};

/// Bytes that do not repeat soon.
fn pattern(length: usize, seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    bytes.take(length).collect()
}

const fn options(treatment: Treatment) -> UploadOptions {
    UploadOptions {
        treatment,
        memory_threshold: 65_536,
        max_length: u64::MAX,
    }
}

async fn upload_as(
    directory: &Directory,
    bytes: &[u8],
    piece: usize,
    options: UploadOptions,
) -> Result<(StoredBlob, Pin), UploadError> {
    let mut upload = Upload::new(directory, options);
    for chunk in bytes.chunks(piece) {
        upload.write(Bytes::copy_from_slice(chunk)).await?;
    }
    upload.finish().await
}

async fn upload(directory: &Directory, bytes: &[u8]) -> Result<(StoredBlob, Pin), UploadError> {
    upload_as(directory, bytes, 50_000, options(Treatment::Keep)).await
}

async fn collect(mut chunks: Chunks) -> Result<Vec<u8>, ReadError> {
    let mut all = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        assert!(!chunk.is_empty());
        all.extend_from_slice(&chunk);
    }
    assert!(chunks.next().await.is_none());
    Ok(all)
}

async fn reader(directory: &Directory, blob: &StoredBlob) -> BlobReader {
    match &blob.content {
        Content::Inline(bytes) => BlobReader::inline(bytes.clone()),
        Content::File => directory
            .open(blob.digest, blob.stored_length)
            .await
            .unwrap(),
    }
}

fn listed(directory: &Directory) -> Vec<Digest> {
    let mut digests: Vec<Digest> = directory.list().map(Result::unwrap).collect();
    digests.sort_unstable();
    digests
}

fn incoming(backend: &dyn Backend) -> usize {
    backend.list("incoming").unwrap().len()
}

async fn small_bodies_stay_inline(backend: Arc<dyn Backend>) {
    let directory = Directory::open_backend(backend).unwrap();
    for length in [0, 1, 16_384, 16_385, 65_535, 65_536] {
        for piece in [1000, 100_000] {
            let bytes = pattern(length, 1);
            let (blob, _pin) = upload_as(&directory, &bytes, piece, options(Treatment::Keep))
                .await
                .unwrap();
            assert_eq!(
                blob.content,
                Content::Inline(Bytes::from(bytes)),
                "{length}"
            );
            assert_eq!(
                (blob.length, blob.stored_length),
                (length as u64, length as u64)
            );
        }
    }
    assert_eq!(listed(&directory), []);
}

async fn large_bodies_become_files(backend: Arc<dyn Backend>) {
    let directory = Directory::open_backend(Arc::clone(&backend)).unwrap();
    let mut digests = Vec::new();
    for (length, piece) in [
        (65_537, 10),
        (65_537, 1 << 20),
        (300_000, 7000),
        (1_000_000, 1 << 20),
    ] {
        let bytes = pattern(length, 2);
        let (blob, _pin) = upload_as(&directory, &bytes, piece, options(Treatment::Keep))
            .await
            .unwrap();
        assert_eq!(blob.content, Content::File);
        assert_eq!(
            (blob.length, blob.stored_length),
            (length as u64, length as u64)
        );
        assert_eq!(directory.verify(blob.digest).unwrap(), blob.stored_length);
        assert_eq!(
            collect(reader(&directory, &blob).await.read_all())
                .await
                .unwrap(),
            bytes
        );
        digests.push(blob.digest);
    }
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 3);
    assert_eq!(listed(&directory), digests);
    assert_eq!(incoming(&*backend), 0);
}

async fn ranges_are_read(backend: Arc<dyn Backend>) {
    let directory = Directory::open_backend(backend).unwrap();
    for length in [1000usize, 200_000] {
        let bytes = pattern(length, 3);
        let (blob, _pin) = upload(&directory, &bytes).await.unwrap();
        let reader = reader(&directory, &blob).await;
        assert_eq!(reader.stored_length(), length as u64);
        for (offset, count) in [
            (0, 0),
            (0, 1),
            (10, 500),
            (length, 0),
            (length - 1, 1),
            (length / 2, length / 3),
            (0, length),
        ] {
            let chunks = reader.read_range(offset as u64, count as u64).unwrap();
            assert_eq!(
                collect(chunks).await.unwrap(),
                bytes[offset..offset + count]
            );
        }
        for (offset, count) in [
            (length as u64, 1),
            (0, length as u64 + 1),
            (u64::MAX, 1),
            (1, u64::MAX),
        ] {
            assert!(matches!(
                reader.read_range(offset, count),
                Err(ReadError::OutOfRange { .. })
            ));
        }
    }
}

async fn compressed_bodies_come_back(backend: Arc<dyn Backend>) {
    let directory = Directory::open_backend(backend).unwrap();
    for (length, is_file) in [
        (0usize, false),
        (100, false),
        (30_000, false),
        (3_000_000, false),
        (30_000_000, true),
    ] {
        // A run of zeros with some noise: compresses to about a three-hundredth.
        let mut bytes = vec![0; length];
        for at in (0..length).step_by(1000) {
            bytes[at] = u8::try_from(at / 1000 % 251).unwrap();
        }
        let (blob, _pin) = upload_as(&directory, &bytes, 30_000, options(Treatment::Compress))
            .await
            .unwrap();
        assert_eq!(
            (blob.encoding, blob.length),
            (Encoding::Gzip, length as u64)
        );
        assert_eq!(
            blob.content == Content::File,
            is_file,
            "{length} {}",
            blob.stored_length
        );
        let reader = reader(&directory, &blob).await;
        let mut chunks = reader.decompress();
        let mut at = 0;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.unwrap();
            assert!(chunk.len() <= 65_536 && chunk == bytes[at..at + chunk.len()]);
            at += chunk.len();
        }
        assert_eq!(at, length);
        assert_eq!(
            collect(reader.read_all()).await.unwrap().len() as u64,
            blob.stored_length
        );
    }
}

async fn equal_bodies_are_one_file(backend: Arc<dyn Backend>) {
    let faulty = Arc::new(Faulty::new(backend));
    let directory = Directory::open_backend(Arc::clone(&faulty) as Arc<dyn Backend>).unwrap();
    let bytes = pattern(100_000, 4);
    let (first, _first) = upload(&directory, &bytes).await.unwrap();
    let (files, directories) = (
        faulty.count(Operation::SyncFile),
        faulty.count(Operation::SyncDirectory),
    );
    let (second, _second) = upload(&directory, &bytes).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(listed(&directory), [first.digest]);
    assert_eq!(incoming(&*faulty), 0);
    // Its bytes are durable already; of its name that is not known.
    assert_eq!(faulty.count(Operation::SyncFile), files);
    assert!(faulty.count(Operation::SyncDirectory) > directories);
}

async fn what_is_unfinished_goes_away(backend: Arc<dyn Backend>) {
    let directory = Directory::open_backend(Arc::clone(&backend)).unwrap();
    let mut dropped = Upload::new(&directory, options(Treatment::Keep));
    dropped
        .write(Bytes::from(pattern(200_000, 5)))
        .await
        .unwrap();
    assert_eq!(incoming(&*backend), 1);
    // Outside of a runtime the removal is done at once.
    std::thread::scope(|scope| scope.spawn(|| drop(dropped)).join().unwrap());
    assert_eq!(incoming(&*backend), 0);
    backend
        .create("incoming/left-by-a-crash")
        .unwrap()
        .append(b"half")
        .unwrap();
    let directory = Directory::open_backend(Arc::clone(&backend)).unwrap();
    assert_eq!((incoming(&*backend), listed(&directory)), (0, Vec::new()));
}

async fn too_long_bodies_are_refused(backend: Arc<dyn Backend>) {
    let directory = Directory::open_backend(Arc::clone(&backend)).unwrap();
    let limited = UploadOptions {
        max_length: 100_000,
        ..options(Treatment::Keep)
    };
    assert!(
        upload_as(&directory, &pattern(100_000, 6), 999, limited)
            .await
            .is_ok()
    );
    let mut upload = Upload::new(&directory, limited);
    upload
        .write(Bytes::from(pattern(100_000, 6)))
        .await
        .unwrap();
    let refused = upload.write(Bytes::from_static(b"x")).await;
    assert!(matches!(
        refused,
        Err(UploadError::TooLarge { limit: 100_000 })
    ));
    assert_eq!(incoming(&*backend), 0);
    assert!(matches!(
        upload.finish().await,
        Err(UploadError::Interrupted)
    ));
}

async fn only_unpinned_and_unreferenced_files_are_collected(backend: Arc<dyn Backend>) {
    let directory = Directory::open_backend(backend).unwrap();
    let bytes = pattern(70_000, 7);
    let (blob, pin) = upload(&directory, &bytes).await.unwrap();
    assert!(
        !directory
            .remove_if_unpinned(blob.digest, || panic!("pinned"))
            .unwrap()
    );
    drop(pin);
    let again = directory.pin(blob.digest);
    assert!(
        !directory
            .remove_if_unpinned(blob.digest, || panic!("pinned again"))
            .unwrap()
    );
    drop(again);
    assert!(!directory.remove_if_unpinned(blob.digest, || false).unwrap());
    let open = reader(&directory, &blob).await;
    assert!(directory.remove_if_unpinned(blob.digest, || true).unwrap());
    assert!(!directory.remove_if_unpinned(blob.digest, || true).unwrap());
    assert_eq!(listed(&directory), []);
    assert_eq!(collect(open.read_all()).await.unwrap(), bytes);
    let gone = directory.open(blob.digest, blob.stored_length).await;
    assert!(matches!(gone, Err(ReadError::Missing(digest)) if digest == blob.digest));
    assert!(matches!(
        directory.verify(blob.digest),
        Err(VerifyError::Missing(_))
    ));
    let (back, _pin) = upload(&directory, &bytes).await.unwrap();
    assert_eq!(directory.verify(back.digest).unwrap(), 70_000);
}

async fn damage_is_told_and_repaired(backend: Arc<dyn Backend>) {
    let directory = Directory::open_backend(Arc::clone(&backend)).unwrap();
    let bytes = pattern(70_000, 8);
    let (blob, _pin) = upload(&directory, &bytes).await.unwrap();
    let path = Directory::relative_path(blob.digest);
    backend.remove(&path).unwrap();
    backend
        .create(&path)
        .unwrap()
        .append(&bytes[..60_000])
        .unwrap();
    assert!(matches!(
        directory.verify(blob.digest),
        Err(VerifyError::Mismatch { .. })
    ));
    let short = directory.open(blob.digest, blob.stored_length).await;
    assert!(matches!(
        short,
        Err(ReadError::WrongLength {
            expected: 70_000,
            found: 60_000,
            ..
        })
    ));
    let (_, _pin) = upload(&directory, &bytes).await.unwrap();
    assert_eq!(directory.verify(blob.digest).unwrap(), 70_000);
}

async fn strangers_are_not_listed(backend: Arc<dyn Backend>) {
    let directory = Directory::open_backend(Arc::clone(&backend)).unwrap();
    backend.create_directory("ab").unwrap();
    for name in [
        "notes.txt",
        &"ab".repeat(31),
        &"AB".repeat(32),
        &"cd".repeat(32),
    ] {
        backend.create(&format!("ab/{name}")).unwrap();
    }
    assert_eq!(listed(&directory), []);
    backend.create(&format!("ab/{}", "ab".repeat(32))).unwrap();
    assert_eq!(listed(&directory), [Digest::from_bytes([0xab; 32])]);
}

/// One test a promise and backend.
macro_rules! on_every_backend {
    ($($promise:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(std::sync::Arc::new(super::Memory::default())).await;
            })*
        }
        mod disk {
            $(#[tokio::test]
            async fn $promise() {
                let data = tempfile::tempdir().unwrap();
                super::$promise(std::sync::Arc::new(super::Disk::open(data.path()).unwrap())).await;
            })*
        }
    };
}

on_every_backend! {
    small_bodies_stay_inline,
    large_bodies_become_files,
    ranges_are_read,
    compressed_bodies_come_back,
    equal_bodies_are_one_file,
    what_is_unfinished_goes_away,
    too_long_bodies_are_refused,
    only_unpinned_and_unreferenced_files_are_collected,
    damage_is_told_and_repaired,
    strangers_are_not_listed,
}

/// A directory whose faults are in the test's hand.
fn faulty() -> (Arc<Memory>, Arc<Faulty>, Directory) {
    let memory = Arc::new(Memory::default());
    let faulty = Arc::new(Faulty::new(Arc::clone(&memory) as Arc<dyn Backend>));
    let directory = Directory::open_backend(Arc::clone(&faulty) as Arc<dyn Backend>).unwrap();
    (memory, faulty, directory)
}

#[tokio::test]
async fn the_recorded_digests_of_couchdb_come_out() {
    let (_, _, directory) = faulty();
    for (text, digest, stored) in [
        ("hello world", "md5-7mkg+nM0HN26sZkLN8KVSA==", 31),
        ("hello", "md5-iMaiC8wqiFlD2NjLTemvCQ==", 25),
    ] {
        let (blob, _pin) = upload_as(&directory, text.as_bytes(), 3, options(Treatment::Compress))
            .await
            .unwrap();
        assert_eq!(
            (blob.couch_digest().as_str(), blob.stored_length),
            (digest, stored)
        );
        assert_eq!(
            (blob.length, blob.encoding),
            (text.len() as u64, Encoding::Gzip)
        );
    }
    let (blob, _pin) = upload(&directory, b"xyz").await.unwrap();
    assert_eq!(blob.couch_digest(), "md5-0W+zbwkR+HiZjBNhka9wXg==");
    let (blob, _pin) = upload(&directory, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
        .await
        .unwrap();
    assert_eq!(blob.couch_digest(), "md5-xWvVSA9uVBPLYqCtlmZhOg==");
}

#[tokio::test]
async fn gzip_that_was_uploaded_is_kept_and_counts_as_it_is() {
    let (_, _, directory) = faulty();
    // What zlib of Node makes of "hello hello hello hello", as the recording sent it.
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcbH\xcd\xc9\xc9W\xc8@'\x01\xe3Q=\x8d\x17\0\0\0";
    let (blob, _pin) = upload_as(&directory, gzip, 5, options(Treatment::KeepGzip))
        .await
        .unwrap();
    assert_eq!(
        (blob.length, blob.stored_length, blob.encoding),
        (28, 28, Encoding::Gzip)
    );
    assert_eq!(blob.identity_length, 23);
    assert_eq!(
        blob.couch_digest(),
        "md5-iZnIgHaZ3ETVHDtRSQc4IA==",
        "kept bit for bit"
    );
    let text = collect(reader(&directory, &blob).await.decompress())
        .await
        .unwrap();
    assert_eq!(text, b"hello hello hello hello");
}

#[tokio::test]
async fn what_is_said_to_be_gzip_must_be() {
    let (_, _, directory) = faulty();
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcbH\xcd\xc9\xc9W\xc8@'\x01\xe3Q=\x8d\x17\0\0\0";
    for lie in [
        &b"no gzip"[..],
        b"",
        &gzip[..27],
        &gzip[..10],
        &[7; 100_000],
    ] {
        let refused = upload_as(&directory, lie, 5, options(Treatment::KeepGzip)).await;
        assert!(matches!(refused, Err(UploadError::NotGzip)), "{refused:?}");
    }
    let behind = [&gzip[..], &[0; 100_000]].concat();
    let (blob, _pin) = upload_as(&directory, &behind, 60_000, options(Treatment::KeepGzip))
        .await
        .unwrap();
    assert_eq!((blob.length, blob.identity_length), (100_028, 23));
}

#[tokio::test]
async fn a_gzip_bomb_is_as_long_as_it_becomes() {
    let (_, _, directory) = faulty();
    let mut bomb = crate::gzip::Compressor::new();
    let mut packed = Vec::new();
    let zeros = vec![0; 1_000_000];
    bomb.write(&zeros, |ready| {
        packed.extend_from_slice(ready);
        Ok(())
    })
    .unwrap();
    packed.extend(bomb.finish().unwrap());
    for (max_length, fits) in [(999_999, false), (1_000_000, true)] {
        let bounded = UploadOptions {
            max_length,
            ..options(Treatment::KeepGzip)
        };
        match upload_as(&directory, &packed, 100, bounded).await {
            Ok((blob, _pin)) => assert!(fits && blob.identity_length == 1_000_000),
            Err(UploadError::TooLarge { limit }) => assert!(!fits && limit == max_length),
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_fault_leaves_nothing_behind_and_the_next_upload_goes_well() {
    let bytes = pattern(200_000, 9);
    for (operation, after, kind) in [
        (Operation::Create, 0, io::ErrorKind::StorageFull),
        (Operation::Append, 0, io::ErrorKind::StorageFull),
        (Operation::Append, 1, io::ErrorKind::QuotaExceeded),
        (Operation::Append, 2, io::ErrorKind::Other),
        (Operation::SyncFile, 0, io::ErrorKind::Other),
        (Operation::Rename, 0, io::ErrorKind::StorageFull),
        (Operation::CreateDirectory, 0, io::ErrorKind::StorageFull),
        (Operation::Open, 0, io::ErrorKind::PermissionDenied),
    ] {
        let (memory, faulty, directory) = faulty();
        faulty.fail(operation, after, kind);
        let error = upload(&directory, &bytes).await.unwrap_err();
        match (operation, kind) {
            (Operation::SyncFile, _) => {
                assert!(matches!(error, UploadError::SyncFailed(_)), "{error:?}")
            }
            (_, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                assert!(
                    matches!(error, UploadError::DiskFull(_)),
                    "{operation:?} {error:?}"
                );
            }
            _ => assert!(
                matches!(error, UploadError::Io(_)),
                "{operation:?} {error:?}"
            ),
        }
        assert_eq!(
            (incoming(&*memory), listed(&directory)),
            (0, Vec::new()),
            "{operation:?}"
        );
        assert!(!directory.is_poisoned());
        let (blob, _pin) = upload(&directory, &bytes).await.unwrap();
        assert_eq!(directory.verify(blob.digest).unwrap(), 200_000);
    }
}

#[tokio::test]
async fn after_a_fault_the_same_upload_is_over() {
    let (_, faulty, directory) = faulty();
    faulty.fail(Operation::Append, 0, io::ErrorKind::StorageFull);
    let mut upload = Upload::new(&directory, options(Treatment::Keep));
    let failed = upload.write(Bytes::from(pattern(100_000, 1))).await;
    assert!(matches!(failed, Err(UploadError::DiskFull(_))));
    assert!(matches!(
        upload.write(Bytes::from_static(b"x")).await,
        Err(UploadError::Interrupted)
    ));
    assert!(matches!(
        upload.finish().await,
        Err(UploadError::Interrupted)
    ));
}

#[tokio::test]
async fn a_directory_that_cannot_be_synced_takes_no_more_files_and_still_reads() {
    for after in 0..3 {
        let (_, faulty, directory) = faulty();
        let (kept, _pin) = upload(&directory, &pattern(100_000, 1)).await.unwrap();
        faulty.fail(Operation::SyncDirectory, after, io::ErrorKind::Other);
        let error = upload(&directory, &pattern(100_000, 2)).await.unwrap_err();
        assert!(matches!(error, UploadError::SyncFailed(_)), "{error:?}");
        assert!(directory.is_poisoned());
        let error = upload(&directory, &pattern(100_000, 2)).await.unwrap_err();
        assert!(matches!(error, UploadError::Poisoned), "{error:?}");
        assert!(
            upload(&directory, b"small enough for the store")
                .await
                .is_ok()
        );
        assert_eq!(
            collect(reader(&directory, &kept).await.read_all())
                .await
                .unwrap(),
            pattern(100_000, 1)
        );
    }
}

#[tokio::test]
async fn a_file_that_ends_early_while_it_is_read_is_told() {
    let (memory, _, directory) = faulty();
    let (blob, _pin) = upload(&directory, &pattern(100_000, 1)).await.unwrap();
    let reader = reader(&directory, &blob).await;
    let mut chunks = reader.read_all();
    assert_eq!(chunks.next().await.unwrap().unwrap().len(), 65_536);
    memory
        .damage(&Directory::relative_path(blob.digest), 70_000)
        .unwrap();
    assert_eq!(chunks.next().await.unwrap().unwrap().len(), 4464);
    let cut = chunks.next().await.unwrap();
    assert!(
        matches!(
            cut,
            Err(ReadError::WrongLength {
                expected: 100_000,
                found: 70_000,
                ..
            })
        ),
        "{cut:?}"
    );
    assert!(chunks.next().await.is_none());
}

#[tokio::test]
async fn a_fault_while_reading_ends_the_stream() {
    let (_, faulty, directory) = faulty();
    let (blob, _pin) = upload(&directory, &pattern(100_000, 1)).await.unwrap();
    faulty.fail(Operation::Open, 0, io::ErrorKind::PermissionDenied);
    assert!(matches!(
        directory.open(blob.digest, 100_000).await,
        Err(ReadError::Io(_))
    ));
    let mut chunks = reader(&directory, &blob).await.read_all();
    faulty.fail(Operation::Read, 0, io::ErrorKind::Other);
    assert!(matches!(chunks.next().await, Some(Err(ReadError::Io(_)))));
    assert!(chunks.next().await.is_none());
    faulty.fail(Operation::Read, 1, io::ErrorKind::Other);
    assert!(matches!(
        directory.verify(blob.digest),
        Err(VerifyError::Io(_))
    ));
    faulty.fail(Operation::List, 3, io::ErrorKind::Other);
    assert_eq!(directory.list().filter(Result::is_err).count(), 1);
    faulty.fail(Operation::Remove, 0, io::ErrorKind::PermissionDenied);
    drop(_pin);
    assert!(directory.remove_if_unpinned(blob.digest, || true).is_err());
    assert!(directory.remove_if_unpinned(blob.digest, || true).unwrap());
}

#[test]
fn a_cancelled_write_ends_the_upload_and_its_file() {
    // One thread for blocking work, which the test can keep busy.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (memory, _, directory) = faulty();
    let mut upload = Upload::new(&directory, options(Treatment::Keep));
    runtime.block_on(async {
        upload
            .write(Bytes::from(pattern(100_000, 1)))
            .await
            .unwrap();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || released.recv());
        {
            let mut write = Box::pin(upload.write(Bytes::from(pattern(100_000, 2))));
            let polled = std::future::poll_fn(|context| {
                std::task::Poll::Ready(write.as_mut().poll(context))
            })
            .await;
            assert!(polled.is_pending());
        }
        assert_eq!(incoming(&*memory), 1);
        release.send(()).unwrap();
        busy.await.unwrap().unwrap();
        // What was queued behind is over when this is.
        tokio::task::spawn_blocking(|| {}).await.unwrap();
        assert_eq!(incoming(&*memory), 0);
        assert!(matches!(
            upload.write(Bytes::from_static(b"x")).await,
            Err(UploadError::Interrupted)
        ));
        assert!(matches!(
            upload.finish().await,
            Err(UploadError::Interrupted)
        ));
    });
}

/// A power cut after any number of operations: what was acknowledged is there and whole, and
/// nothing that lies at an address is anything else than what belongs there.
#[tokio::test]
async fn a_power_cut_takes_nothing_that_was_acknowledged() {
    let operations = [
        Operation::Create,
        Operation::Append,
        Operation::SyncFile,
        Operation::Rename,
        Operation::SyncDirectory,
    ];
    for (round, operation) in operations.into_iter().cycle().take(100).enumerate() {
        let (memory, faulty, directory) = faulty();
        faulty.fail(
            operation,
            round / operations.len() % 10,
            io::ErrorKind::Other,
        );
        let mut acknowledged = Vec::new();
        for seed in 0..6 {
            // Some bodies come twice.
            let bytes = pattern(80_000 + round, seed / 2 * 2 + u8::from(seed == 5));
            if let Ok((blob, _pin)) = upload(&directory, &bytes).await {
                acknowledged.push(blob.digest);
            }
        }
        let mut luck = u32::try_from(round).unwrap();
        memory.cut_power(|_| {
            luck = luck.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            luck >> 31 == 1
        });
        let directory = Directory::open_backend(memory).unwrap();
        let found = listed(&directory);
        for digest in &found {
            assert!(directory.verify(*digest).is_ok(), "{operation:?} {round}");
        }
        for digest in acknowledged {
            assert!(found.contains(&digest), "{operation:?} {round}");
        }
    }
}

/// Uploads of one body against a collector that finds it unreferenced all the time: what was
/// finished is there as long as it is pinned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_upload_is_safe_from_the_collector() {
    /// Ends the collector also when the test fails.
    struct Over(Arc<AtomicBool>);
    impl Drop for Over {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (_, _, directory) = faulty();
    let bytes = pattern(70_000, 1);
    let digest = upload(&directory, &bytes).await.unwrap().0.digest;
    let over = Over(Arc::default());
    let collector = tokio::task::spawn_blocking({
        let (directory, over) = (directory.clone(), Arc::clone(&over.0));
        move || {
            let mut removed = 0;
            while !over.load(Ordering::Relaxed) {
                removed += usize::from(directory.remove_if_unpinned(digest, || true).unwrap());
            }
            removed
        }
    });
    for _ in 0..200 {
        let (blob, pin) = upload(&directory, &bytes).await.unwrap();
        assert_eq!(directory.verify(blob.digest).unwrap(), 70_000);
        drop(pin);
    }
    drop(over);
    assert!(collector.await.unwrap() > 0);
}

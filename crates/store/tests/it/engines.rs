//! Every engine against the one suite that says what an engine is.
//!
//! Whatever stands above the store cannot tell engines apart: memory, the one that fails on demand
//! and the disk give the same answers to the same script, from any seed. Only the disk outlives its
//! process: what was synced is there after a restart and in a checkpoint.

use adea_store::{Disk, DiskOptions, Engine, Faulty, Memory, Op, Space, conformance};

#[test]
fn memory_conforms() {
    for seed in 0..20 {
        conformance::check(&Memory::new(), seed);
    }
}

#[test]
fn faulty_conforms_while_it_works() {
    for seed in 0..20 {
        conformance::check(&Faulty::new(), seed);
    }
}

#[test]
fn disk_conforms() {
    for seed in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), DiskOptions::default()).unwrap();
        conformance::check(&disk, seed);
    }
}

#[test]
fn disk_keeps_what_was_synced_over_a_restart_and_in_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("a"), dir.path().join("b"));
    let put = Op::Put {
        space: Space::Body,
        key: b"k".to_vec(),
        value: b"v".to_vec(),
    };
    {
        let disk = Disk::open(&path, DiskOptions::default()).unwrap();
        disk.apply(&[&put], true).unwrap();
        disk.checkpoint(&copy).unwrap();
    }
    for place in [path, copy] {
        let disk = Disk::open(&place, DiskOptions::default()).unwrap();
        assert_eq!(
            disk.view().get(Space::Body, b"k").unwrap(),
            Some(b"v".to_vec())
        );
    }
}

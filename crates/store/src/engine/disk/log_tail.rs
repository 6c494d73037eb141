//! The torn end of a write-ahead log, looked at before RocksDB reads it.
//!
//! A power cut may leave garbage behind the last whole record. RocksDB takes nearly all garbage for
//! the end of the log. But records of recycled logs have a longer head, and its reader never ends if
//! the file ends within such a head (seen with RocksDB 11.8). We do not recycle logs, so a record of
//! that kind was never written by us: the log is cut off before it. What lay behind it would not
//! have been read anyway (recovery is to a point in time), and none of it was acknowledged, for an
//! acknowledged record was synced whole.
//!
//! The form of the file: blocks of 32 KiB; in them records with a head of checksum (4 bytes), length
//! (2, little-endian) and kind (1); a rest of a block that is too short for a head is filled up.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

const BLOCK: u64 = 32 << 10;
const HEAD: u64 = 7;
/// Kinds of records in recycled logs.
const RECYCLED: std::ops::RangeInclusive<u8> = 5..=8;

/// Cuts off what would keep RocksDB reading for ever, in all logs of the directory `store`.
pub(super) fn mend(store: &Path) -> io::Result<()> {
    let files = match fs::read_dir(store) {
        Ok(files) => files,
        // A new store.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for file in files {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "log")
            && let Some(end) = torn_at(&path)?
        {
            tracing::warn!(log = %path.display(), end, "a torn end of the log is cut off");
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(end)?;
            file.sync_all()?;
        }
    }
    Ok(())
}

/// Where the first record lies that we cannot have written, if there is one.
fn torn_at(path: &Path) -> io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut at = 0;
    loop {
        let left = BLOCK - at % BLOCK;
        if left < HEAD {
            at += left;
        }
        if at + HEAD > length {
            return Ok(None);
        }
        let mut head = [0; 7];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head)?;
        let [_, _, _, _, low, high, kind] = head;
        if RECYCLED.contains(&kind) {
            return Ok(Some(at));
        }
        // Room set aside and never written: nothing comes behind it.
        if kind == 0 {
            return Ok(None);
        }
        at += HEAD + u64::from(u16::from_le_bytes([low, high]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::Op;
    use crate::engine::disk::{Disk, DiskOptions};
    use crate::engine::{Engine, Space};

    /// A store that was killed before it flushed: its one record is in the log alone.
    fn killed(directory: &Path) -> std::path::PathBuf {
        let disk = Disk::open(&directory.join("live"), DiskOptions::default()).unwrap();
        let put = Op::Put {
            space: Space::Index,
            key: b"key".to_vec(),
            value: b"value".to_vec(),
        };
        disk.apply(&[&put], true).unwrap();
        let copy = directory.join("copy");
        fs::create_dir(&copy).unwrap();
        for file in fs::read_dir(directory.join("live")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
        copy
    }

    #[test]
    fn a_head_of_a_recycled_record_at_the_end_does_not_hold_up_opening() {
        let directory = tempfile::tempdir().unwrap();
        for garbage in [
            &[0x1b, 0x0f, 0xa3, 0x4b, 0x3f, 0x9f, 0x06, 0x2e, 0xa1][..],
            &[1, 2, 3, 4, 0, 0, 5],
            &[1, 2, 3, 4, 0, 0],
            &[0; 40],
        ] {
            let inside = tempfile::tempdir_in(directory.path()).unwrap();
            let copy = killed(inside.path());
            let log = fs::read_dir(&copy)
                .unwrap()
                .map(|file| file.unwrap().path())
                .filter(|path| path.extension().is_some_and(|end| end == "log"))
                .max_by_key(|path| fs::metadata(path).unwrap().len())
                .unwrap();
            let mut bytes = fs::read(&log).unwrap();
            bytes.extend_from_slice(garbage);
            fs::write(&log, bytes).unwrap();
            let disk = Disk::open(&copy, DiskOptions::default()).unwrap();
            let found = disk.view().get(Space::Index, b"key").unwrap();
            assert_eq!(found.as_deref(), Some(&b"value"[..]), "{garbage:?}");
        }
    }
}

//! The disk that fails, and what is left of a directory when the power goes.
//!
//! `tests/crash/shim.c`, compiled when a test needs it, is preloaded into the server. It injects
//! faults and writes a journal of what was made durable; [`Shim::cut_power`] reads that and takes
//! away everything else: bytes that no sync covered, and names that no sync of their directory covered.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::random::Random;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/crash/shim.c");
/// Garbage at the end of a torn write has at most so many bytes.
const GARBAGE_MAX: usize = 512;

/// A compiled shim, and the files through which it is told and tells.
#[derive(Debug)]
pub(super) struct Shim {
    library: PathBuf,
    data: PathBuf,
    journal: PathBuf,
    /// Faults begin when this file is there.
    pub(super) arm: PathBuf,
    /// What was durable before the server started: the lengths by inode.
    before: BTreeMap<u64, u64>,
}

/// What is left of bytes that were written and not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unsynced {
    /// Nothing, and of names that were not synced neither.
    Lost,
    /// A part, perhaps with garbage at its end; the names stay.
    Torn,
}

impl Shim {
    /// Compiles the shim into `directory`, beside the data directory `data`.
    pub(super) fn compile(directory: &Path, data: &Path) -> Self {
        let library = directory.join("shim.so");
        let output = Command::new("gcc")
            .args([
                "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o",
            ])
            .arg(&library)
            .arg(SOURCE)
            .output();
        let output = output.unwrap_or_else(|error| {
            panic!("gcc does not start ({error}); the faults below the engine are in C: run scripts/setup build")
        });
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gcc {SOURCE}: {told}");
        Self {
            library,
            data: data.to_owned(),
            journal: directory.join("journal"),
            arm: directory.join("armed"),
            before: BTreeMap::new(),
        }
    }

    /// Begins a new life: an empty journal, no faults yet. Returns the server's environment.
    pub(super) fn prepare(&mut self, fault: &str, after: usize) -> Vec<(String, String)> {
        for file in [&self.journal, &self.arm] {
            drop(fs::remove_file(file));
        }
        self.before.clear();
        let mut files = Vec::new();
        walk(&self.data, &mut files);
        for file in files {
            let about = fs::metadata(file).unwrap();
            self.before.insert(about.ino(), about.len());
        }
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        [
            ("LD_PRELOAD", text(&self.library)),
            ("SHIM_DIR", text(&self.data)),
            ("SHIM_JOURNAL", text(&self.journal)),
            ("SHIM_ARM", text(&self.arm)),
            ("SHIM_FAULT", fault.to_owned()),
            ("SHIM_AFTER", after.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Takes away what was not durable when the server died. Returns how many bytes and names.
    pub(super) fn cut_power(&self, unsynced: Unsynced, random: &mut Random) -> (u64, usize) {
        let journal = fs::read_to_string(&self.journal).unwrap();
        let durable = Durable::read(&journal, self.before.clone());
        let mut names = 0;
        if matches!(unsynced, Unsynced::Lost) {
            for path in durable.names.keys().filter(|path| **path != self.data) {
                // A name may be gone since, with its directory or by itself.
                let gone = match path.is_dir() {
                    true => fs::remove_dir_all(path),
                    false => fs::remove_file(path),
                };
                names += usize::from(gone.is_ok());
            }
        }
        let mut files = Vec::new();
        walk(&self.data, &mut files);
        let mut lost = 0;
        for path in files {
            let about = fs::metadata(&path).unwrap();
            let synced = durable.lengths.get(&about.ino()).copied().unwrap_or(0);
            if synced < about.len() {
                lost += cut(&path, synced, about.len(), unsynced, random);
            }
        }
        (lost, names)
    }
}

/// Shortens one file. Returns how many bytes are gone or damaged.
fn cut(path: &Path, synced: u64, length: u64, unsynced: Unsynced, random: &mut Random) -> u64 {
    let kept = match unsynced {
        Unsynced::Lost => synced,
        Unsynced::Torn => synced + random.next() % (length - synced + 1),
    };
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(kept).unwrap();
    let torn = usize::try_from(kept - synced).unwrap().min(GARBAGE_MAX);
    if torn == 0 || is_order_kept(path) || random.chance(50) {
        return length - kept;
    }
    let garbage = 1 + random.below(torn);
    let bytes = random.bytes(garbage);
    let begin = kept - u64::try_from(garbage).unwrap();
    file.seek(SeekFrom::Start(begin)).unwrap();
    file.write_all(&bytes).unwrap();
    length - begin
}

/// Whether a file may be found short after a power cut, but not with other bytes than were written.
/// So it is for all appended files where lengths become durable after their bytes (ext4, XFS, btrfs).
/// RocksDB counts on that for its list of tables: it does not open when that ends in garbage. The
/// write-ahead log and blobs have to stand worse.
fn is_order_kept(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("MANIFEST"))
}

/// What the journal says is durable.
#[derive(Debug)]
struct Durable {
    /// Synced lengths by inode.
    lengths: BTreeMap<u64, u64>,
    /// Names that are not durable, with their numbers.
    names: BTreeMap<PathBuf, u64>,
}

impl Durable {
    fn read(journal: &str, before: BTreeMap<u64, u64>) -> Self {
        let mut durable = Self {
            lengths: before,
            names: BTreeMap::new(),
        };
        // Whatever follows the last line break was being written when the process died: nobody
        // was told yet.
        let whole = journal.rfind('\n').map_or("", |end| &journal[..end]);
        for line in whole.lines() {
            durable.apply(line);
        }
        durable
    }

    fn apply(&mut self, line: &str) {
        let (event, rest) = line.split_once(' ').unwrap();
        let (number, rest) = rest.split_once(' ').unwrap();
        let number: u64 = number.parse().unwrap();
        match event {
            "create" => {
                let (inode, path) = rest.split_once(' ').unwrap();
                self.lengths.remove(&inode.parse().unwrap());
                self.names.insert(PathBuf::from(path), number);
            }
            "rename" => {
                let (from, to) = rest.split_once('\t').unwrap();
                if self.names.remove(Path::new(from)).is_some() {
                    self.names.insert(PathBuf::from(to), number);
                }
            }
            "sync" => {
                self.lengths.insert(number, rest.parse().unwrap());
            }
            "names" => {
                let directory = Path::new(rest);
                self.names
                    .retain(|path, named| path.parent() != Some(directory) || *named > number);
            }
            other => panic!("the journal says {other}"),
        }
    }
}

/// All files below a directory; none if it is not there.
fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else {
            files.push(path);
        }
    }
}

#[test]
fn the_journal_tells_what_is_durable() {
    let journal = "create 1 70 /d/a\nsync 70 5\ncreate 2 71 /d/b\nrename 3 /d/b\t/d/c\nnames 2 /d\nsync 71 9\ncreate 4 70 /d/e\nsync 71 12";
    let durable = Durable::read(journal, BTreeMap::from([(60, 8)]));
    assert_eq!(durable.lengths, BTreeMap::from([(60, 8), (71, 9)]));
    let names: Vec<_> = durable.names.into_iter().collect();
    assert_eq!(names, [("/d/c".into(), 3), ("/d/e".into(), 4)]);
}

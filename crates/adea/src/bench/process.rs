//! What a process and all that it started have used: CPU time and memory, read from `/proc`.
//!
//! The CPU time of each living thread is in its `schedstat`, in nanoseconds. Threads that ended in
//! between are missing there but are in the process's `stat`, in clock ticks (10 ms); children that
//! ended are in their parent's. Each source says too little, never too much, so the larger of the
//! two is taken.

use super::error::BenchError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A process with its descendants.
#[derive(Clone, Debug)]
pub(super) struct ProcessTree {
    root: u32,
    proc: PathBuf,
    tick: Duration,
}

/// What had been used at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    processes: BTreeMap<ProcessKey, Times>,
}

/// Ids are used again; with the start time they are unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ProcessKey {
    pid: u32,
    started: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Times {
    /// Of all its threads, living and ended, by the clock tick.
    own: Duration,
    /// Of its children that ended, by the clock tick.
    ended_children: Duration,
    /// Of its living threads, exactly.
    threads: BTreeMap<u32, Duration>,
}

/// The fields of `/proc/PID/stat` that matter here; times in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    own: u64,
    ended_children: u64,
    started: u64,
}

impl ProcessTree {
    /// The process `pid` of this machine.
    pub(super) fn of(pid: u32) -> Result<Self, BenchError> {
        let tree = Self {
            root: pid,
            proc: PathBuf::from("/proc"),
            tick: tick(),
        };
        tree.snapshot()?;
        Ok(tree)
    }

    /// This process.
    pub(super) fn own() -> Result<Self, BenchError> {
        Self::of(std::process::id())
    }

    /// The CPU times by now.
    pub(super) fn snapshot(&self) -> Result<Snapshot, BenchError> {
        let processes = self
            .members()?
            .into_iter()
            .map(|(pid, stat)| {
                let key = ProcessKey {
                    pid,
                    started: stat.started,
                };
                let times = Times {
                    own: self.ticks(stat.own),
                    ended_children: self.ticks(stat.ended_children),
                    threads: self.threads(pid),
                };
                (key, times)
            })
            .collect();
        Ok(Snapshot { processes })
    }

    /// Resident memory in bytes, summed over the tree.
    pub(super) fn resident_bytes(&self) -> Result<u64, BenchError> {
        let members = self.members()?;
        Ok(members.keys().map(|pid| self.resident_of(*pid)).sum())
    }

    /// Bytes that the tree has asked the system for, from files or connections, wherever they came
    /// from.
    pub(super) fn bytes_read(&self) -> Result<u64, BenchError> {
        let members = self.members()?;
        let of = |pid: &u32| {
            let text = std::fs::read_to_string(self.directory(*pid).join("io")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("rchar:"))?;
            line.trim().parse::<u64>().ok()
        };
        Ok(members.keys().filter_map(of).sum())
    }

    fn resident_of(&self, pid: u32) -> u64 {
        let read = |name: &str, field: &str| {
            let text = std::fs::read_to_string(self.directory(pid).join(name)).ok()?;
            parse_kilobytes(&text, field)
        };
        // The first is counted when it is read; the second may lag by some pages.
        read("smaps_rollup", "Rss:")
            .or_else(|| read("status", "VmRSS:"))
            .unwrap_or(0)
    }

    /// The root and everything that descends from it.
    fn members(&self) -> Result<BTreeMap<u32, Stat>, BenchError> {
        let all = self.all_stats()?;
        let mut members = BTreeMap::new();
        let mut found = vec![self.root];
        while let Some(pid) = found.pop() {
            if let Some(stat) = all.get(&pid)
                && members.insert(pid, *stat).is_none()
            {
                let children = all.iter().filter(|(_, stat)| stat.parent == pid);
                found.extend(children.map(|(child, _)| *child));
            }
        }
        if members.is_empty() {
            return Err(BenchError::Process {
                pid: self.root,
                what: "there is no such process".to_owned(),
            });
        }
        Ok(members)
    }

    fn all_stats(&self) -> Result<BTreeMap<u32, Stat>, BenchError> {
        let entries = std::fs::read_dir(&self.proc)
            .map_err(BenchError::io(format!("reading {}", self.proc.display())))?;
        Ok(entries
            .filter_map(|entry| {
                let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
                // A process that ends while we look is simply not there.
                let text = std::fs::read_to_string(self.directory(pid).join("stat")).ok()?;
                Some((pid, parse_stat(&text)?))
            })
            .collect())
    }

    fn threads(&self, pid: u32) -> BTreeMap<u32, Duration> {
        let Ok(entries) = std::fs::read_dir(self.directory(pid).join("task")) else {
            return BTreeMap::new();
        };
        entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let thread = entry.file_name().to_str()?.parse().ok()?;
                let text = std::fs::read_to_string(entry.path().join("schedstat")).ok()?;
                Some((thread, parse_schedstat(&text)?))
            })
            .collect()
    }

    fn directory(&self, pid: u32) -> PathBuf {
        self.proc.join(pid.to_string())
    }

    fn ticks(&self, count: u64) -> Duration {
        self.tick
            .saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

impl Snapshot {
    /// The CPU time used between `before` and this.
    pub(super) fn cpu_since(&self, before: &Self) -> Duration {
        let mut used = Duration::ZERO;
        let mut reaped = Duration::ZERO;
        for (key, now) in &self.processes {
            let earlier = before.processes.get(key);
            used += now.since(earlier);
            let known = earlier.map_or(Duration::ZERO, |earlier| earlier.ended_children);
            reaped += now.ended_children.saturating_sub(known);
        }
        // A child that ended hands its parent its whole life, of which a part was before.
        let gone: Duration = before
            .processes
            .iter()
            .filter(|(key, _)| !self.processes.contains_key(key))
            .map(|(_, times)| times.own + times.ended_children)
            .sum();
        used + reaped.saturating_sub(gone)
    }
}

impl Times {
    fn since(&self, before: Option<&Self>) -> Duration {
        let exact = self
            .threads
            .iter()
            .map(|(thread, now)| {
                let earlier = before.and_then(|before| before.threads.get(thread));
                now.saturating_sub(earlier.copied().unwrap_or_default())
            })
            .sum();
        // User and system time are each rounded down, so the difference may be two ticks too much.
        let by_ticks = before.map_or(self.own, |before| {
            self.own.saturating_sub(before.own + ROUNDING)
        });
        by_ticks.max(exact)
    }
}

const ROUNDING: Duration = Duration::from_millis(20);

/// The length of the clock tick in which `/proc` counts: 10 ms on nearly every Linux.
fn tick() -> Duration {
    let asked = std::process::Command::new("getconf")
        .arg("CLK_TCK")
        .output();
    let per_second = asked
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .and_then(|text| text.trim().parse::<u32>().ok())
        .filter(|ticks| *ticks > 0)
        .unwrap_or(100);
    Duration::from_secs(1) / per_second
}

/// Reads a line of `/proc/PID/stat`. The name in parentheses may hold anything, parentheses too.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        own: number(11)?.saturating_add(number(12)?),
        ended_children: number(13)?.saturating_add(number(14)?),
        started: number(19)?,
    })
}

/// The first number of `schedstat`: nanoseconds on a processor.
fn parse_schedstat(text: &str) -> Option<Duration> {
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// A field such as `VmRSS:     2204 kB`, in bytes.
fn parse_kilobytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Bytes on disk of everything under `directory`. What a file has set aside beyond its end, as
/// RocksDB does for its log, is not what documents take.
pub(super) fn disk_bytes(directory: &Path) -> Result<u64, BenchError> {
    let mut total = 0_u64;
    let mut found = vec![directory.to_owned()];
    while let Some(path) = found.pop() {
        let doing = format!("reading {}", path.display());
        for entry in std::fs::read_dir(&path).map_err(BenchError::io(&doing))? {
            let entry = entry.map_err(BenchError::io(&doing))?;
            // A file that a compaction just removed counts nothing.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                found.push(entry.path());
            } else {
                total = total.saturating_add(allocated(&metadata).min(metadata.len()));
            }
        }
    }
    Ok(total)
}

#[cfg(unix)]
fn allocated(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata).saturating_mul(512)
}

#[cfg(not(unix))]
fn allocated(metadata: &std::fs::Metadata) -> u64 {
    metadata.len()
}

/// How many files this process may open, if the system says so.
pub(super) fn open_files_max() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/limits").ok()?;
    parse_open_files(&text)
}

fn parse_open_files(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_even_if_the_name_is_hostile() {
        let line = "42 (a ) (b) R 7 42 42 0 -1 4194304 102 0 0 0 11 22 33 44 20 0 1 0 142531 9 9\n";
        let stat = Stat {
            parent: 7,
            own: 33,
            ended_children: 77,
            started: 142_531,
        };
        assert_eq!(parse_stat(line), Some(stat));
        assert_eq!(parse_stat("42 (x) R 7"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn the_other_files_are_read() {
        assert_eq!(
            parse_schedstat("1500 20 3\n"),
            Some(Duration::from_nanos(1500))
        );
        assert_eq!(parse_schedstat(""), None);
        let status = "Name:\tx\nVmRSS:\t    2204 kB\n";
        assert_eq!(parse_kilobytes(status, "VmRSS:"), Some(2204 * 1024));
        assert_eq!(parse_kilobytes(status, "Rss:"), None);
        let limits = "Limit  Soft\nMax open files            20000                30000    files\n";
        assert_eq!(parse_open_files(limits), Some(20_000));
        assert_eq!(parse_open_files("Max open files unlimited"), None);
    }

    /// Writes a process into a made-up `/proc`.
    fn write(
        proc: &Path,
        pid: u32,
        parent: u32,
        ticks: u64,
        children: u64,
        threads: &[(u32, u64)],
    ) {
        let directory = proc.join(pid.to_string());
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir_all(directory.join("task")).unwrap();
        let stat = format!(
            "{pid} (x) S {parent} 0 0 0 0 0 0 0 0 0 {ticks} 0 {children} 0 0 0 0 0 {} 0",
            pid + 1000
        );
        std::fs::write(directory.join("stat"), stat).unwrap();
        std::fs::write(directory.join("status"), "VmRSS: 10 kB\n").unwrap();
        for (thread, nanoseconds) in threads {
            let task = directory.join("task").join(thread.to_string());
            std::fs::create_dir_all(&task).unwrap();
            std::fs::write(task.join("schedstat"), format!("{nanoseconds} 0 0")).unwrap();
        }
    }

    fn tree(proc: &Path) -> ProcessTree {
        ProcessTree {
            root: 1,
            proc: proc.to_owned(),
            tick: Duration::from_millis(10),
        }
    }

    #[test]
    fn the_whole_tree_is_counted_and_nobody_else() {
        let proc = tempfile::tempdir().unwrap();
        let proc = proc.path();
        write(proc, 1, 0, 5, 0, &[(1, 1_000), (11, 2_000)]);
        write(proc, 2, 1, 5, 0, &[(2, 3_000)]);
        write(proc, 3, 2, 5, 0, &[(3, 4_000)]);
        write(proc, 9, 0, 5, 0, &[(9, 9_000)]);
        let tree = tree(proc);
        assert_eq!(tree.resident_bytes().unwrap(), 3 * 10 * 1024);
        let before = tree.snapshot().unwrap();
        assert_eq!(before.cpu_since(&before), Duration::ZERO);

        write(proc, 1, 0, 5, 0, &[(1, 1_500), (11, 2_000), (12, 70)]);
        write(proc, 3, 2, 5, 0, &[(3, 4_400)]);
        write(proc, 9, 0, 500, 0, &[(9, 99_000)]);
        let after = tree.snapshot().unwrap();
        assert_eq!(after.cpu_since(&before), Duration::from_nanos(970));
    }

    #[test]
    fn a_thread_that_ended_is_counted_by_ticks() {
        let proc = tempfile::tempdir().unwrap();
        let proc = proc.path();
        write(proc, 1, 0, 100, 0, &[(1, 1_000), (11, 2_000)]);
        let before = tree(proc).snapshot().unwrap();
        write(proc, 1, 0, 150, 0, &[(1, 1_500)]);
        let after = tree(proc).snapshot().unwrap();
        assert_eq!(after.cpu_since(&before), Duration::from_millis(480));
    }

    #[test]
    fn a_child_that_ended_is_counted_once() {
        let proc = tempfile::tempdir().unwrap();
        let proc = proc.path();
        write(proc, 1, 0, 0, 0, &[(1, 0)]);
        write(proc, 2, 1, 30, 0, &[(2, 300_000_000)]);
        let before = tree(proc).snapshot().unwrap();
        std::fs::remove_dir_all(proc.join("2")).unwrap();
        write(proc, 1, 0, 0, 50, &[(1, 0)]);
        let after = tree(proc).snapshot().unwrap();
        assert_eq!(after.cpu_since(&before), Duration::from_millis(200));
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        let proc = tempfile::tempdir().unwrap();
        assert!(tree(proc.path()).snapshot().is_err());
    }

    #[test]
    fn this_process_uses_memory_and_time() {
        let own = ProcessTree::own().unwrap();
        assert!(own.resident_bytes().unwrap() > 100_000);
        let before = own.snapshot().unwrap();
        let mut corpus_bytes = Vec::new();
        while own.snapshot().unwrap().cpu_since(&before) < Duration::from_millis(10) {
            corpus_bytes.clear();
            super::super::corpus::Corpus::new(1, 500).bulk(0..100, &mut corpus_bytes);
        }
        assert!(!corpus_bytes.is_empty());
    }

    #[test]
    fn disk_bytes_are_counted_through_directories() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("a")).unwrap();
        std::fs::write(directory.path().join("a/b"), vec![1; 100_000]).unwrap();
        let bytes = disk_bytes(directory.path()).unwrap();
        assert!((98_304..=131_072).contains(&bytes), "{bytes}");
        assert!(disk_bytes(&directory.path().join("none")).is_err());
    }
}

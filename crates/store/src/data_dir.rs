//! The data directory: one process at a time, one format, both checked before anything is read.
//!
//! `FORMAT` names the layout that the directory was written in; `LOCK` is held by the process
//! that serves it. A newer format is refused: reading it as an older one would destroy it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The format of data directories that this program writes.
pub const DATA_FORMAT: u32 = 1;

const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "LOCK";
/// `FORMAT` while it is written; left behind if the process died in its first start.
const PARTIAL_FILE: &str = "FORMAT.partial";

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process serves it.
    #[error(
        "{0} is in use by another adea process; stop that one first, or choose another directory with --data"
    )]
    Locked(PathBuf),
    /// Written by a newer program.
    #[error(
        "{path} has data format {found}, this adea knows formats up to {DATA_FORMAT}: use the newer adea that wrote it"
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Files are there, but not ours.
    #[error("{0} is not empty and not an adea data directory; choose another with --data")]
    Foreign(PathBuf),
    /// The directory does not exist, and should.
    #[error("{0} is no data directory: it has no FORMAT file")]
    Missing(PathBuf),
    /// The operating system refused.
    #[error("{path}: {error}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// A data directory that this process holds.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Opens `path`, making it if it does not exist.
    ///
    /// # Errors
    /// [`DataDirError`], each with what to do.
    pub fn open_or_create(path: &Path) -> Result<Self, DataDirError> {
        fs::create_dir_all(path).map_err(|error| io_error(path, error))?;
        let format_file = path.join(FORMAT_FILE);
        if !format_file.exists() {
            let foreign = fs::read_dir(path)
                .map_err(|error| io_error(path, error))?
                .filter_map(Result::ok)
                .map(|entry| entry.file_name())
                .any(|name| name != LOCK_FILE && name != PARTIAL_FILE && name != "lost+found");
            if foreign {
                return Err(DataDirError::Foreign(path.to_owned()));
            }
        }
        let held = Self::lock(path)?;
        if !format_file.exists() {
            write_durably(&format_file, format!("adea {DATA_FORMAT}\n").as_bytes())
                .map_err(|error| io_error(&format_file, error))?;
            // The directory's own name must survive a power cut as well.
            let absolute = path.canonicalize().map_err(|error| io_error(path, error))?;
            if let Some(parent) = absolute.parent() {
                let synced = File::open(parent).and_then(|parent| parent.sync_all());
                synced.map_err(|error| io_error(parent, error))?;
            }
        }
        held.check_format()?;
        Ok(held)
    }

    /// Opens `path`, which must be a data directory already.
    ///
    /// # Errors
    /// [`DataDirError`], each with what to do.
    pub fn open_existing(path: &Path) -> Result<Self, DataDirError> {
        if !path.join(FORMAT_FILE).exists() {
            return Err(DataDirError::Missing(path.to_owned()));
        }
        let held = Self::lock(path)?;
        held.check_format()?;
        Ok(held)
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the engine keeps its files.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.path.join("store")
    }

    fn lock(path: &Path) -> Result<Self, DataDirError> {
        let lock_file = path.join(LOCK_FILE);
        let lock = File::create(&lock_file).map_err(|error| io_error(&lock_file, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(io_error(&lock_file, error)),
        }
    }

    fn check_format(&self) -> Result<(), DataDirError> {
        let file = self.path.join(FORMAT_FILE);
        let text = fs::read_to_string(&file).map_err(|error| io_error(&file, error))?;
        let found = text
            .strip_prefix("adea ")
            .and_then(|number| number.trim().parse::<u32>().ok())
            .ok_or_else(|| DataDirError::Foreign(self.path.clone()))?;
        if found > DATA_FORMAT {
            return Err(DataDirError::Newer {
                path: self.path.clone(),
                found,
            });
        }
        Ok(())
    }
}

fn io_error(path: &Path, error: io::Error) -> DataDirError {
    DataDirError::Io {
        path: path.to_owned(),
        error,
    }
}

/// Writes a whole small file so that after a crash it is there whole or not at all.
fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    if let Some(parent) = path.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_and_a_newer_format_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = DataDir::open_or_create(&path).unwrap();
        assert!(matches!(
            DataDir::open_or_create(&path),
            Err(DataDirError::Locked(_))
        ));
        drop(first);
        fs::write(path.join(FORMAT_FILE), "adea 999\n").unwrap();
        let refused = DataDir::open_or_create(&path).unwrap_err();
        assert!(refused.to_string().contains("data format 999"), "{refused}");
    }

    #[test]
    fn a_directory_of_somebody_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "x").unwrap();
        assert!(matches!(
            DataDir::open_or_create(dir.path()),
            Err(DataDirError::Foreign(_))
        ));
        assert!(!dir.path().join(FORMAT_FILE).exists());
    }

    #[test]
    fn a_first_start_that_was_cut_short_is_done_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(LOCK_FILE), "").unwrap();
        fs::write(dir.path().join(PARTIAL_FILE), "ad").unwrap();
        DataDir::open_or_create(dir.path()).unwrap();
        assert!(!dir.path().join(PARTIAL_FILE).exists());
    }
}

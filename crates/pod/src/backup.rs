//! Copies of a whole data directory: made while it serves, and brought back to life.
//!
//! A backup is one moment of the store. Every file that this moment refers to was durable before
//! the commit that names it, and none is removed while the backup runs; so whatever the store's
//! copy names can be linked after it. `FORMAT` is written last, and only a directory with `FORMAT`
//! is a data directory: what breaks off half-way is none.
//!
//! A restored directory is a new installation: it gets an identity of its own, so that nobody
//! trusts a sequence which its former life gave out after the backup.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adea_base::{Clock, DatabaseName, Entropy};
use adea_documents::database;
use adea_files::{Digest, Directory, references};
use adea_store::{
    CommitError, DATA_FORMAT, Direction, Disk, DiskOptions, EngineError, Store, StoreOptions,
};
use tokio::sync::OwnedRwLockWriteGuard;
use tokio::task::spawn_blocking;

use crate::error::PodError;
use crate::pod::{Identity, Pod, put_identity};
use crate::verify::{Report, check_store};

const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "LOCK";
const STORE: &str = "store";
const BLOBS: &str = "blobs";
/// Of unfinished uploads, which no backup needs.
const INCOMING: &str = "incoming";
/// What an engine may take that only reads a copy through once.
const COPY_MEMORY: usize = 16 << 20;

/// What a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// Documents that are not deleted.
    pub documents: u64,
    /// Attachments that are files of their own.
    pub files: u64,
    /// Bytes of all files together.
    pub bytes: u64,
    /// What was already missing in the data directory, a sentence each.
    pub faults: Vec<String>,
}

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The target has something in it.
    #[error("{0} is not empty; choose a directory that does not exist yet")]
    NotEmpty(PathBuf),
    /// The target lies in what is copied.
    #[error("{0} lies within the data directory; choose one outside of it")]
    Inside(PathBuf),
    /// The source is none.
    #[error("{0} is no backup: it has no FORMAT file that this adea understands")]
    NoBackup(PathBuf),
    /// A server runs on the source or the target.
    #[error("{0} is in use by another adea process; stop that one first")]
    InUse(PathBuf),
    /// The operating system refused.
    #[error("{path}: {error}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The store could not be read or copied.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store could not be brought to stable storage.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The restored store could not be changed or checked.
    #[error(transparent)]
    Pod(#[from] Box<PodError>),
    /// The server is shutting down.
    #[error("the backup was interrupted")]
    Interrupted,
}

impl Pod {
    /// Makes a consistent copy of everything in the directory `to`, which must not exist or be
    /// empty, while this pod goes on serving.
    ///
    /// # Errors
    /// [`BackupError`]; then `to` is no data directory.
    pub async fn backup(&self, to: &Path) -> Result<BackupReport, BackupError> {
        // A task of its own: whoever asked may go away, and the files are kept until the end.
        let (pod, to) = (self.clone(), to.to_owned());
        let made = tokio::spawn(async move {
            let kept = pod.inner.maintenance.keep_files().await;
            pod.inner.store.sync().await?;
            let copying = pod.clone();
            let made = spawn_blocking(move || copying.backup_blocking(&to, &kept)).await;
            // Who wanted to remove a file meanwhile left it.
            tokio::spawn(async move { pod.collect_garbage_logged().await });
            made.map_err(|_| BackupError::Interrupted)?
        });
        made.await.map_err(|_| BackupError::Interrupted)?
    }

    fn backup_blocking(
        &self,
        to: &Path,
        _kept: &OwnedRwLockWriteGuard<()>,
    ) -> Result<BackupReport, BackupError> {
        if inside(to, self.data())? {
            return Err(BackupError::Inside(to.to_owned()));
        }
        let target = Target::take(to)?;
        let store = to.join(STORE);
        self.inner.store.checkpoint(&store)?;
        let (mut report, wanted) = read_copy(&store, &self.inner.files)?;
        let from = self.data().join(BLOBS);
        report.files = link_files(&from, &to.join(BLOBS), &wanted)?;
        target.finish()?;
        report.bytes = length_of(to)?;
        Ok(report)
    }
}

/// Makes the data directory `data`, which must not exist or be empty, from the backup `from`,
/// which stays as it is. Says what a check of it found.
///
/// # Errors
/// [`BackupError`]; then `data` is no data directory.
pub async fn restore(from: &Path, data: &Path) -> Result<Report, BackupError> {
    let (source, path) = (from.to_owned(), data.to_owned());
    let copied = spawn_blocking(move || {
        let unused = check_source(&source)?;
        if inside(&path, &source)? {
            return Err(BackupError::Inside(path));
        }
        let target = Target::take(&path)?;
        for part in [STORE, BLOBS] {
            copy_tree(&source.join(part), &path.join(part))?;
        }
        drop(unused);
        Ok(target)
    });
    let target = copied.await.map_err(|_| BackupError::Interrupted)??;
    let report = begin_new_life(data).await?;
    spawn_blocking(move || target.finish())
        .await
        .map_err(|_| BackupError::Interrupted)??;
    Ok(report)
}

/// Gives a copied store an identity of its own, and checks everything.
async fn begin_new_life(data: &Path) -> Result<Report, BackupError> {
    let path = data.to_owned();
    let opened = spawn_blocking(move || {
        let files = Directory::on_disk(&path).map_err(at(&path.join(BLOBS)))?;
        let disk = Disk::open(
            &path.join(STORE),
            DiskOptions {
                memory: COPY_MEMORY,
            },
        )?;
        let store = Store::open(Arc::new(disk), StoreOptions::default())?;
        Ok::<_, BackupError>((store, files))
    });
    let (store, files) = opened.await.map_err(|_| BackupError::Interrupted)??;
    let entropy = Entropy::System;
    let identity = Identity {
        uuid: entropy.hex_id(),
        instance: entropy.hex_id(),
        restored_unix_s: Clock::System.now_unix_s(),
    };
    put_identity(&store, &identity).await.map_err(Box::new)?;
    let report = check_store(store.clone(), files).await.map_err(Box::new)?;
    spawn_blocking(move || store.close())
        .await
        .map_err(|_| BackupError::Interrupted)?;
    Ok(report)
}

/// A directory that is being made. Dropped before it is finished, it is empty again.
struct Target {
    root: PathBuf,
    finished: bool,
    /// Keeps a server from starting in it.
    lock: Option<File>,
}

impl Target {
    fn take(root: &Path) -> Result<Self, BackupError> {
        fs::create_dir_all(root).map_err(at(root))?;
        for entry in fs::read_dir(root).map_err(at(root))? {
            let name = entry.map_err(at(root))?.file_name();
            if name != LOCK_FILE && name != "lost+found" {
                return Err(BackupError::NotEmpty(root.to_owned()));
            }
        }
        let lock_file = root.join(LOCK_FILE);
        let lock = File::create(&lock_file).map_err(at(&lock_file))?;
        take_lock(&lock, root)?;
        Ok(Self {
            root: root.to_owned(),
            finished: false,
            lock: Some(lock),
        })
    }

    /// Brings everything to stable storage, and makes it a data directory with the last step.
    fn finish(mut self) -> Result<(), BackupError> {
        let root = self.root.clone();
        for part in [STORE, BLOBS] {
            sync_tree(&root.join(part))?;
        }
        let lock_file = root.join(LOCK_FILE);
        drop(self.lock.take());
        fs::remove_file(&lock_file).map_err(at(&lock_file))?;
        sync(&root)?;
        let (partial, format) = (root.join("FORMAT.partial"), root.join(FORMAT_FILE));
        let mut file = File::create(&partial).map_err(at(&partial))?;
        let text = format!("adea {DATA_FORMAT}\n");
        file.write_all(text.as_bytes()).map_err(at(&partial))?;
        file.sync_all().map_err(at(&partial))?;
        fs::rename(&partial, &format).map_err(at(&format))?;
        self.finished = true;
        sync(&root)?;
        match root.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync(parent),
            Some(_) | None => sync(Path::new(".")),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // What cannot be removed is no data directory either, and the next try says so.
        for part in [STORE, BLOBS] {
            drop(fs::remove_dir_all(self.root.join(part)));
        }
        for name in ["FORMAT.partial", LOCK_FILE] {
            drop(fs::remove_file(self.root.join(name)));
        }
    }
}

/// Opens the copied store: that it opens is the best proof of a copy. Says what it holds, and
/// which files it refers to.
fn read_copy(store: &Path, files: &Directory) -> Result<(BackupReport, Vec<Digest>), BackupError> {
    let copy = Disk::open(
        store,
        DiskOptions {
            memory: COPY_MEMORY,
        },
    )?;
    let view = adea_store::Engine::view(&copy);
    let view = view.as_ref();
    let mut report = BackupReport::default();
    for name in database::names(view, None, None, Direction::Forward, usize::MAX)? {
        let Ok(name) = DatabaseName::parse(&name) else {
            continue;
        };
        if let Some(found) = database::find(view, &name)? {
            report.documents += database::statistics(view, found.number)?.documents;
        }
    }
    let mut present = HashSet::new();
    for digest in files.list() {
        present.insert(digest.map_err(at(Path::new(BLOBS)))?);
    }
    let mut wanted = Vec::new();
    for (digest, _) in references::all(view)? {
        if present.contains(&digest) {
            wanted.push(digest);
        } else if references::content(view, digest)?.is_none() {
            report
                .faults
                .push(format!("attachment {digest} is missing"));
        }
    }
    Ok((report, wanted))
}

/// Links files, or copies them where the target is another file system. Files never change
/// after they were named, so a link is as good as a copy.
fn link_files(from: &Path, to: &Path, wanted: &[Digest]) -> Result<u64, BackupError> {
    fs::create_dir_all(to).map_err(at(to))?;
    let mut files = 0;
    for digest in wanted {
        let path = Directory::relative_path(*digest);
        let (source, target) = (from.join(&path), to.join(&path));
        if let Some(shard) = target.parent() {
            fs::create_dir_all(shard).map_err(at(shard))?;
        }
        if fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target).map_err(at(&source))?;
        }
        files += 1;
    }
    Ok(files)
}

/// Whether `source` can be restored from. What it returns keeps a server from starting there.
fn check_source(source: &Path) -> Result<Option<File>, BackupError> {
    let no_backup = || BackupError::NoBackup(source.to_owned());
    let text = fs::read_to_string(source.join(FORMAT_FILE)).map_err(|_| no_backup())?;
    let format = text
        .strip_prefix("adea ")
        .and_then(|number| number.trim().parse::<u32>().ok());
    if format.is_none_or(|format| format > DATA_FORMAT) {
        return Err(no_backup());
    }
    // A backup has no lock, a directory that is or was served has one.
    let Ok(lock) = File::open(source.join(LOCK_FILE)) else {
        return Ok(None);
    };
    take_lock(&lock, source)?;
    Ok(Some(lock))
}

fn take_lock(lock: &File, directory: &Path) -> Result<(), BackupError> {
    match lock.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(BackupError::InUse(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(at(directory)(error)),
    }
}

/// Whether `path`, which may not exist yet, lies within `directory`.
fn inside(path: &Path, directory: &Path) -> Result<bool, BackupError> {
    let absolute = std::path::absolute(path).map_err(at(path))?;
    // The nearest part that exists is what symbolic links can lead astray.
    let existing = absolute
        .ancestors()
        .find_map(|part| fs::canonicalize(part).ok());
    let Ok(directory) = fs::canonicalize(directory) else {
        return Ok(false);
    };
    Ok(existing.is_some_and(|existing| existing.starts_with(&directory)))
}

/// Copies files and directories; unfinished uploads and the engine's own lock stay behind.
fn copy_tree(from: &Path, to: &Path) -> Result<(), BackupError> {
    fs::create_dir_all(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (name, path) = (entry.file_name(), entry.path());
        let kind = entry.file_type().map_err(at(&path))?;
        if kind.is_dir() && name != INCOMING {
            copy_tree(&path, &to.join(name))?;
        } else if kind.is_file() && name != LOCK_FILE {
            fs::copy(&path, to.join(name)).map_err(at(&path))?;
        }
    }
    Ok(())
}

/// Brings a directory and all in it to stable storage.
fn sync_tree(directory: &Path) -> Result<(), BackupError> {
    for entry in fs::read_dir(directory).map_err(at(directory))? {
        let entry = entry.map_err(at(directory))?;
        let path = entry.path();
        if entry.file_type().map_err(at(&path))?.is_dir() {
            sync_tree(&path)?;
        } else {
            sync(&path)?;
        }
    }
    sync(directory)
}

fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(at(path))
}

/// Bytes of all files in `directory`.
fn length_of(directory: &Path) -> Result<u64, BackupError> {
    let mut length = 0;
    for entry in fs::read_dir(directory).map_err(at(directory))? {
        let entry = entry.map_err(at(directory))?;
        let path = entry.path();
        let metadata = entry.metadata().map_err(at(&path))?;
        length += if metadata.is_dir() {
            length_of(&path)?
        } else {
            metadata.len()
        };
    }
    Ok(length)
}

fn at(path: &Path) -> impl Fn(io::Error) -> BackupError + '_ {
    |error| BackupError::Io {
        path: path.to_owned(),
        error,
    }
}

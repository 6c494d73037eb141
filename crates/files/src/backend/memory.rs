//! A file system in memory that knows what a power cut would leave, for tests and simulations.
//!
//! Each directory and each file has two states: what processes see, and what is durable. A sync
//! copies the first to the second, and [`Memory::cut_power`] the other way round. Since a real
//! file system may write names out early but need not, the test chooses for each directory.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Backend, BackendFile};

/// Blobs in memory.
#[derive(Debug, Default)]
pub struct Memory {
    directories: Mutex<BTreeMap<String, Names>>,
}

type Entries = BTreeMap<String, Arc<Mutex<Content>>>;

/// A directory.
#[derive(Debug, Default)]
struct Names {
    seen: Entries,
    durable: Entries,
    /// Whether the directory's own name is durable in its parent.
    named: bool,
}

#[derive(Debug, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
}

impl Memory {
    /// Forgets all that was not synced, except for the names in those directories of which
    /// `written_early` says that the system had written them out by itself. The bytes of a file
    /// are never so lucky.
    pub fn cut_power(&self, mut written_early: impl FnMut(&str) -> bool) {
        let mut directories = self.directories.lock();
        let root_kept = written_early("");
        directories.retain(|_, names| names.named || root_kept);
        for (path, names) in directories.iter_mut() {
            if !written_early(path) {
                names.seen = names.durable.clone();
            }
            names.durable = names.seen.clone();
            names.named = true;
            for content in names.seen.values() {
                let mut content = content.lock();
                content.seen = content.durable.clone();
            }
        }
    }

    /// Cuts or prolongs a file, as a damaged disk might.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn damage(&self, path: &str, length: usize) -> io::Result<()> {
        let content = self.entry(path)?;
        content.lock().seen.resize(length, 0);
        Ok(())
    }

    fn entry(&self, path: &str) -> io::Result<Arc<Mutex<Content>>> {
        let (parent, name) = split(path)?;
        let directories = self.directories.lock();
        let names = directories.get(parent).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::clone(
            names.seen.get(name).ok_or(io::ErrorKind::NotFound)?,
        ))
    }
}

/// A file's directory and its name in it.
fn split(path: &str) -> io::Result<(&str, &str)> {
    path.split_once('/')
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

impl Backend for Memory {
    fn create_directory(&self, path: &str) -> io::Result<()> {
        self.directories.lock().entry(path.to_owned()).or_default();
        Ok(())
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn BackendFile>> {
        let (parent, name) = split(path)?;
        let mut directories = self.directories.lock();
        let names = directories.get_mut(parent).ok_or(io::ErrorKind::NotFound)?;
        if names.seen.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Arc::new(Mutex::new(Content::default()));
        names.seen.insert(name.to_owned(), Arc::clone(&content));
        Ok(Box::new(MemoryFile(content)))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn BackendFile>> {
        Ok(Box::new(MemoryFile(self.entry(path)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let ((from, old), (to, new)) = (split(from)?, split(to)?);
        let mut directories = self.directories.lock();
        if !directories.contains_key(to) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let source = directories.get_mut(from).ok_or(io::ErrorKind::NotFound)?;
        let content = source.seen.remove(old).ok_or(io::ErrorKind::NotFound)?;
        let target = directories.get_mut(to).ok_or(io::ErrorKind::NotFound)?;
        target.seen.insert(new.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let (parent, name) = split(path)?;
        let mut directories = self.directories.lock();
        let names = directories.get_mut(parent).ok_or(io::ErrorKind::NotFound)?;
        names.seen.remove(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let directories = self.directories.lock();
        if directory.is_empty() {
            return Ok(directories.keys().cloned().collect());
        }
        let names = directories.get(directory).ok_or(io::ErrorKind::NotFound)?;
        Ok(names.seen.keys().cloned().collect())
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        let mut directories = self.directories.lock();
        if directory.is_empty() {
            for names in directories.values_mut() {
                names.named = true;
            }
            return Ok(());
        }
        let names = directories
            .get_mut(directory)
            .ok_or(io::ErrorKind::NotFound)?;
        names.durable = names.seen.clone();
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryFile(Arc<Mutex<Content>>);

impl BackendFile for MemoryFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().seen.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut content = self.0.lock();
        content.durable = content.seen.clone();
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        u64::try_from(self.0.lock().seen.len()).map_err(io::Error::other)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.0.lock();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let rest = content.seen.get(start..).unwrap_or_default();
        let mut read = 0;
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
            read += 1;
        }
        Ok(read)
    }
}

//! The real thing: `<data>/blobs` on a file system that keeps POSIX' word about `fsync`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{Backend, BackendFile};

/// Blobs under a directory of the operating system.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// Opens `<data>/blobs`, made and synced if it is not there. `<data>` must be, and must be
    /// locked by the caller against a second process.
    ///
    /// # Errors
    /// If the directory cannot be made or synced.
    pub fn open(data: &Path) -> io::Result<Self> {
        let root = data.join("blobs");
        create_directory(&root)?;
        sync_directory(data)?;
        Ok(Self { root })
    }
}

fn create_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result,
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

impl Backend for Disk {
    fn create_directory(&self, path: &str) -> io::Result<()> {
        create_directory(&self.root.join(path))
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn BackendFile>> {
        let mut options = OpenOptions::new();
        options.append(true).create_new(true).mode(0o600);
        Ok(Box::new(DiskFile(options.open(self.root.join(path))?)))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn BackendFile>> {
        Ok(Box::new(DiskFile(File::open(self.root.join(path))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        std::fs::remove_file(self.root.join(path))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.root.join(directory))? {
            // A name that is not UTF-8 was not given by us; it is left alone.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        sync_directory(&self.root.join(directory))
    }
}

#[derive(Debug)]
struct DiskFile(File);

impl BackendFile for DiskFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

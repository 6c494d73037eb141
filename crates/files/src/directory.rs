//! The blob directory: where files lie, how they get there durably, how they are found and
//! taken away.
//!
//! `<data>/blobs/ab/<64 digits>` holds the bytes whose SHA-256 the digits are, and
//! `<data>/blobs/incoming/` what is still being uploaded; that one is emptied at open.
//!
//! A name at an address is a promise: its bytes were synced before it was given. That the name
//! itself survives a power cut holds only once its directories are synced too, so publishing ends
//! with that, also when the file was there already: whoever put it there may not have come so far.
//! A sync that fails leaves pages that a later sync may report as clean. For a file this is no
//! matter, since it is thrown away without ever having been named; for a directory it would be,
//! so then the directory is poisoned: it refuses all further uploads and goes on reading.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use crate::backend::{Backend, BackendFile, Disk};
use crate::blob::Digest;
use crate::error::{ReadError, UploadError, VerifyError};
use crate::pins::{Claims, Pin};
use crate::reader::{BlobReader, CHUNK};

/// Where unfinished uploads lie.
const INCOMING: &str = "incoming";

/// The blobs of one data directory. Clones are the same directory.
///
/// What is not `async` here blocks: call it on the blocking pool.
#[derive(Clone, Debug)]
pub struct Directory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    backend: Arc<dyn Backend>,
    claims: Arc<Claims>,
    /// Which of the 256 subdirectories are known to survive a power cut.
    durable_shards: [AtomicBool; 256],
    poisoned: AtomicBool,
    next_upload: AtomicU64,
}

impl Directory {
    /// Opens `<data>/blobs`, making it if needed, and empties `incoming/`. The caller holds the
    /// lock of the data directory, so nobody else uploads into it.
    ///
    /// # Errors
    /// If the directories cannot be made, synced or emptied.
    pub fn on_disk(data: &Path) -> io::Result<Self> {
        Self::open_backend(Arc::new(Disk::open(data)?))
    }

    /// Opens any backend, as [`Self::on_disk`] does the disk.
    ///
    /// # Errors
    /// If the directories cannot be made, synced or emptied.
    pub fn open_backend(backend: Arc<dyn Backend>) -> io::Result<Self> {
        backend.create_directory(INCOMING)?;
        backend.sync_directory("")?;
        for name in backend.list(INCOMING)? {
            backend.remove(&format!("{INCOMING}/{name}"))?;
        }
        let shared = Shared {
            backend,
            claims: Arc::default(),
            durable_shards: std::array::from_fn(|_| AtomicBool::new(false)),
            poisoned: AtomicBool::new(false),
            next_upload: AtomicU64::new(0),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Whether a directory sync has failed, so that uploads are refused until a restart.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.shared.poisoned.load(Ordering::Acquire)
    }

    /// Where a file lies below `<data>/blobs`, for a backup that copies or links it.
    #[must_use]
    pub fn relative_path(digest: Digest) -> String {
        format!("{}/{digest}", shard(digest))
    }

    /// Opens a file that should have `stored_length` bytes.
    ///
    /// A reader that was opened goes on when the file is collected. Between reading a document
    /// and opening its blob the file can go away, if the document loses the revision meanwhile:
    /// then the answer is [`ReadError::Missing`].
    ///
    /// # Errors
    /// If the file is missing, has another length, or cannot be opened.
    pub async fn open(&self, digest: Digest, stored_length: u64) -> Result<BlobReader, ReadError> {
        let directory = self.clone();
        let opened = spawn_blocking(move || directory.open_blocking(digest, stored_length));
        opened.await.map_err(|_| ReadError::Interrupted)?
    }

    fn open_blocking(&self, digest: Digest, expected: u64) -> Result<BlobReader, ReadError> {
        let opened = self.open_file(digest).map_err(ReadError::Io)?;
        let file = opened.ok_or(ReadError::Missing(digest))?;
        let found = file.length().map_err(ReadError::Io)?;
        if found != expected {
            return Err(ReadError::WrongLength {
                digest,
                expected,
                found,
            });
        }
        Ok(BlobReader::of_file(Arc::from(file), digest, expected))
    }

    /// Keeps a file from being collected, whether it is there or not. A write that carries an
    /// attachment over from an older revision pins it first and then looks whether that revision
    /// still has it. Waits while the same digest is being removed.
    pub fn pin(&self, digest: Digest) -> Pin {
        self.shared.claims.pin(digest)
    }

    /// Removes a file, if nobody pins it and `still_unreferenced` says that no document names
    /// it. Nobody can pin it between the question and the removal. Says whether it was removed.
    ///
    /// The removal is not synced: a file that comes back after a power cut is collected again.
    ///
    /// # Errors
    /// If the file is there and cannot be removed.
    pub fn remove_if_unpinned(
        &self,
        digest: Digest,
        still_unreferenced: impl FnOnce() -> bool,
    ) -> io::Result<bool> {
        let Some(_removal) = self.shared.claims.begin_removal(digest) else {
            return Ok(false);
        };
        if !still_unreferenced() {
            return Ok(false);
        }
        match self.shared.backend.remove(&Self::relative_path(digest)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The digests of all files, read one subdirectory at a time. Files that come or go
    /// meanwhile may be listed or not; names that are no address are passed over.
    #[must_use]
    pub fn list(&self) -> Digests {
        Digests {
            backend: Arc::clone(&self.shared.backend),
            next_shard: 0,
            listed: Vec::new(),
        }
    }

    /// Reads a whole file and says how long it is, if its bytes are those of its address.
    ///
    /// # Errors
    /// If it is missing, cannot be read, or holds other bytes.
    pub fn verify(&self, digest: Digest) -> Result<u64, VerifyError> {
        let opened = self.open_file(digest).map_err(VerifyError::Io)?;
        let file = opened.ok_or(VerifyError::Missing(digest))?;
        let (mut hash, mut length) = (Sha256::new(), 0);
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = file.read_at(&mut buffer, length).map_err(VerifyError::Io)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            hash.update(bytes);
            length +=
                u64::try_from(read).map_err(|error| VerifyError::Io(io::Error::other(error)))?;
        }
        let found = Digest::from_bytes(hash.finalize().into());
        if found == digest {
            Ok(length)
        } else {
            Err(VerifyError::Mismatch { digest, found })
        }
    }

    /// An empty temporary file.
    pub(crate) fn begin(&self) -> Result<Incoming, UploadError> {
        self.refuse_if_poisoned()?;
        let number = self.shared.next_upload.fetch_add(1, Ordering::Relaxed);
        let path = format!("{INCOMING}/{number}");
        let backend = Arc::clone(&self.shared.backend);
        let file = backend.create(&path).map_err(UploadError::of_write)?;
        Ok(Incoming {
            backend,
            file,
            path: Some(path),
        })
    }

    /// Gives a whole temporary file its address, durably, and pins it.
    pub(crate) fn publish(
        &self,
        mut incoming: Incoming,
        digest: Digest,
        length: u64,
    ) -> Result<Pin, UploadError> {
        self.refuse_if_poisoned()?;
        let pin = self.pin(digest);
        let (shard, address) = (shard(digest), Self::relative_path(digest));
        self.make_shard(digest, &shard)?;
        // One with a length that is not its own is damaged, and the good copy at hand replaces it.
        if self.stored_length(digest).map_err(UploadError::Io)? != Some(length) {
            incoming.file.sync().map_err(UploadError::SyncFailed)?;
            incoming.rename(&address).map_err(UploadError::of_write)?;
        }
        self.sync_directory(&shard)?;
        self.sync_directory(INCOMING)?;
        Ok(pin)
    }

    /// How long a file is, if there is one.
    fn stored_length(&self, digest: Digest) -> io::Result<Option<u64>> {
        self.open_file(digest)?
            .map(|file| file.length())
            .transpose()
    }

    fn open_file(&self, digest: Digest) -> io::Result<Option<Box<dyn BackendFile>>> {
        match self.shared.backend.open(&Self::relative_path(digest)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes sure that a subdirectory exists and stays.
    fn make_shard(&self, digest: Digest, shard: &str) -> Result<(), UploadError> {
        let [first, ..] = *digest.as_bytes();
        let Some(durable) = self.shared.durable_shards.get(usize::from(first)) else {
            return Ok(());
        };
        if !durable.load(Ordering::Acquire) {
            self.shared
                .backend
                .create_directory(shard)
                .map_err(UploadError::of_write)?;
            self.sync_directory("")?;
            durable.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn sync_directory(&self, directory: &str) -> Result<(), UploadError> {
        self.shared.backend.sync_directory(directory).map_err(|error| {
            if !self.shared.poisoned.swap(true, Ordering::AcqRel) {
                tracing::error!(directory, %error, "syncing blob directory {directory:?} failed; uploads are refused until a restart");
            }
            UploadError::SyncFailed(error)
        })
    }

    fn refuse_if_poisoned(&self) -> Result<(), UploadError> {
        if self.is_poisoned() {
            Err(UploadError::Poisoned)
        } else {
            Ok(())
        }
    }
}

/// The subdirectory of an address: its first byte.
fn shard(digest: Digest) -> String {
    let [first, ..] = *digest.as_bytes();
    format!("{first:02x}")
}

/// A file without an address yet. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Incoming {
    backend: Arc<dyn Backend>,
    file: Box<dyn BackendFile>,
    /// Nothing once it was renamed.
    path: Option<String>,
}

impl Incoming {
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        self.file.append(bytes).map_err(UploadError::of_write)
    }

    fn rename(&mut self, address: &str) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.backend.rename(path, address)?;
            self.path = None;
        }
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let Some(path) = &self.path else { return };
        if let Err(error) = self.backend.remove(path) {
            // The next start empties the directory.
            tracing::warn!(path, %error, "unfinished upload {path} could not be removed");
        }
    }
}

/// The digests of a directory's files.
#[derive(Debug)]
pub struct Digests {
    backend: Arc<dyn Backend>,
    /// 256 after the last.
    next_shard: u16,
    listed: Vec<Digest>,
}

impl Iterator for Digests {
    type Item = io::Result<Digest>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(digest) = self.listed.pop() {
                return Some(Ok(digest));
            }
            let first = u8::try_from(self.next_shard).ok()?;
            self.next_shard += 1;
            match self.backend.list(&format!("{first:02x}")) {
                Ok(names) => {
                    let digests = names.iter().filter_map(|name| Digest::parse(name));
                    self.listed
                        .extend(digests.filter(|digest| digest.as_bytes().first() == Some(&first)));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

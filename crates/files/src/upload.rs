//! A body on its way in: hashed, perhaps compressed, and spilled to a file when it grows.
//!
//! Chunks are gathered until a batch is worth a hop to the blocking pool, where hashing,
//! compressing and writing happen; an async thread never does more than copy, except for bodies so
//! small that the hop would cost more than the work. In memory are at most the batch, the chunk
//! at hand, a buffer of what comes out of a body that is said to be gzip, and as many stored bytes
//! as the threshold allows.

use bytes::{Bytes, BytesMut};
use md5::Md5;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::blob::{Content, Digest, Encoding, StoredBlob};
use crate::directory::{Directory, Incoming};
use crate::error::UploadError;
use crate::gzip::{Compressor, Decompressor, Progress};
use crate::pins::Pin;

/// How much is gathered before a hop to the blocking pool.
const BATCH: usize = 64 * 1024;

/// Up to this length a body is hashed where it is (some 30 µs).
const SMALL: usize = 16 * 1024;

/// Up to this length a body is compressed where it is (some 100 µs).
const SMALL_TO_COMPRESS: usize = 4 * 1024;

/// Up to this length a body said to be gzip is looked into where it is: it may become a thousand
/// times as long.
const SMALL_TO_DECOMPRESS: usize = 1024;

/// How much of what comes out of gzip is held at once.
const LOOKED_AT: usize = 32 * 1024;

/// More than gzip adds to a small body that does not compress.
const GZIP_OVERHEAD: usize = 64;

/// What to do with the bytes that come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Keep them as they are.
    Keep,
    /// Compress them, for types of which that is worth it.
    Compress,
    /// Keep them as they are if they are gzip, as they are said to be (`Content-Encoding: gzip`).
    KeepGzip,
}

/// How to take a body in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadOptions {
    /// What to do with the bytes.
    pub treatment: Treatment,
    /// Up to how many stored bytes the blob is inline; beyond it is a file.
    pub memory_threshold: usize,
    /// How many bytes may come in, and how many they may be once decompressed.
    pub max_length: u64,
}

impl Default for UploadOptions {
    /// Bytes kept as they are, inline up to 64 KiB, of any length.
    fn default() -> Self {
        Self {
            treatment: Treatment::Keep,
            memory_threshold: 65_536,
            max_length: u64::MAX,
        }
    }
}

/// A running upload. Dropped before its end it leaves nothing behind.
#[derive(Debug)]
pub struct Upload {
    max_length: u64,
    received: u64,
    gathered: BytesMut,
    /// Nothing after a failure, or when a call was cancelled while the pool had it.
    intake: Option<Box<Intake>>,
}

impl Upload {
    /// Begins an upload. Touches no disk yet.
    #[must_use]
    pub fn new(directory: &Directory, options: UploadOptions) -> Self {
        Self {
            max_length: options.max_length,
            received: 0,
            gathered: BytesMut::new(),
            intake: Some(Box::new(Intake::new(directory.clone(), options))),
        }
    }

    /// Takes a chunk in. Not to be called again after an error or a cancelled call: that upload
    /// is over and says [`UploadError::Interrupted`].
    ///
    /// # Errors
    /// If the body is too long, or the disk full or at fault.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), UploadError> {
        let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        self.received = self.received.saturating_add(length);
        if self.received > self.max_length {
            self.intake = None;
            return Err(UploadError::TooLarge {
                limit: self.max_length,
            });
        }
        if self.intake.is_none() {
            return Err(UploadError::Interrupted);
        }
        if self.gathered.len() + chunk.len() < BATCH {
            self.gathered.extend_from_slice(&chunk);
            return Ok(());
        }
        let gathered = self.gathered.split().freeze();
        let intake = self.on_pool(move |intake| {
            intake.take(&gathered)?;
            intake.take(&chunk)
        });
        self.intake = Some(intake.await?);
        Ok(())
    }

    /// Ends the upload. When this returns, the bytes are in the blob or durable at their
    /// address; hold the pin until the commit that names the blob is done.
    ///
    /// # Errors
    /// If the disk is full or at fault, or a sync failed.
    pub async fn finish(mut self) -> Result<(StoredBlob, Pin), UploadError> {
        let gathered = self.gathered.split().freeze();
        if self
            .intake
            .as_ref()
            .is_some_and(|intake| intake.is_cheap(gathered.len()))
        {
            let mut intake = self.intake.take().ok_or(UploadError::Interrupted)?;
            intake.take(&gathered)?;
            return intake.finish();
        }
        let intake = self.intake.take().ok_or(UploadError::Interrupted)?;
        let ended = spawn_blocking(move || {
            let mut intake = intake;
            intake.take(&gathered)?;
            intake.finish()
        });
        ended.await.map_err(|_| UploadError::Interrupted)?
    }

    /// Lets the blocking pool work on the intake. What fails there, or is cancelled here, is
    /// dropped there, temporary file and all.
    async fn on_pool(
        &mut self,
        work: impl FnOnce(&mut Intake) -> Result<(), UploadError> + Send + 'static,
    ) -> Result<Box<Intake>, UploadError> {
        let mut intake = self.intake.take().ok_or(UploadError::Interrupted)?;
        let worked = spawn_blocking(move || work(&mut intake).map(|()| intake));
        worked.await.map_err(|_| UploadError::Interrupted)?
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(intake) = self
            .intake
            .take()
            .filter(|intake| intake.stored.incoming.is_some())
        else {
            return;
        };
        // Removing a large file takes a while, and this may be an async thread.
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(intake)));
        }
    }
}

/// What an upload has come to so far. Blocks.
#[derive(Debug)]
struct Intake {
    encoding: Encoding,
    compressor: Option<Compressor>,
    inspector: Option<Inspector>,
    /// Bytes that came in.
    length: u64,
    stored: Stored,
}

impl Intake {
    fn new(directory: Directory, options: UploadOptions) -> Self {
        let (encoding, compressor) = match options.treatment {
            Treatment::Keep => (Encoding::Identity, None),
            Treatment::Compress => (Encoding::Gzip, Some(Compressor::new())),
            Treatment::KeepGzip => (Encoding::Gzip, None),
        };
        let inspector =
            (options.treatment == Treatment::KeepGzip).then(|| Inspector::new(options.max_length));
        Self {
            encoding,
            compressor,
            inspector,
            length: 0,
            stored: Stored::new(directory, options.memory_threshold),
        }
    }

    /// Whether the whole body is so small that it can be taken in without leaving the thread,
    /// and will certainly not become a file.
    fn is_cheap(&self, gathered: usize) -> bool {
        let small = if self.compressor.is_some() {
            SMALL_TO_COMPRESS
        } else if self.inspector.is_some() {
            SMALL_TO_DECOMPRESS
        } else {
            SMALL
        };
        self.length == 0 && gathered <= small && gathered + GZIP_OVERHEAD <= self.stored.threshold
    }

    fn take(&mut self, bytes: &Bytes) -> Result<(), UploadError> {
        self.length += length_of(bytes);
        if let Some(inspector) = &mut self.inspector {
            inspector.take(bytes.clone(), false)?;
        }
        match &mut self.compressor {
            Some(compressor) => compressor.write(bytes, |ready| self.stored.take(ready)),
            None => self.stored.take(bytes),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<(StoredBlob, Pin), UploadError> {
        if let Some(compressor) = self.compressor.take() {
            let last = compressor.finish().map_err(UploadError::Io)?;
            self.stored.take(&last)?;
        }
        let (length, encoding) = (self.length, self.encoding);
        let identity_length = match self.inspector.take() {
            Some(inspector) => inspector.finish()?,
            None => length,
        };
        let stored = self.stored;
        let digest = Digest::from_bytes(stored.sha256.finalize().into());
        let (content, pin) = match stored.incoming {
            Some(incoming) => (
                Content::File,
                stored.directory.publish(incoming, digest, stored.length)?,
            ),
            None => (
                Content::Inline(Bytes::from(stored.memory)),
                Pin::of_nothing(),
            ),
        };
        let md5 = stored.md5.finalize().into();
        Ok((
            StoredBlob {
                digest,
                md5,
                length,
                identity_length,
                stored_length: stored.length,
                encoding,
                content,
            },
            pin,
        ))
    }
}

/// Looks along whether a body is the gzip it is said to be, and how long it is without. Holds no
/// more than a buffer of what comes out.
#[derive(Debug)]
struct Inspector {
    decompressor: Decompressor,
    output: Vec<u8>,
    length: u64,
    max_length: u64,
    ended: bool,
}

impl Inspector {
    fn new(max_length: u64) -> Self {
        Self {
            decompressor: Decompressor::new(),
            output: Vec::with_capacity(LOOKED_AT),
            length: 0,
            max_length,
            ended: false,
        }
    }

    fn take(&mut self, mut input: Bytes, at_end: bool) -> Result<(), UploadError> {
        // As for the reader, what follows the last member means nothing.
        while !self.ended {
            self.output.clear();
            let step = self
                .decompressor
                .step(&mut input, &mut self.output, at_end)
                .map_err(|_| UploadError::NotGzip)?;
            self.length += length_of(&self.output);
            if self.length > self.max_length {
                return Err(UploadError::TooLarge {
                    limit: self.max_length,
                });
            }
            self.ended = step == Progress::Ended;
            if self.output.len() < self.output.capacity() {
                break;
            }
        }
        Ok(())
    }

    /// The length without gzip, if that was all of it.
    fn finish(mut self) -> Result<u64, UploadError> {
        self.take(Bytes::new(), true)?;
        Ok(self.length)
    }
}

/// The stored bytes so far, in memory or in a temporary file.
#[derive(Debug)]
struct Stored {
    directory: Directory,
    threshold: usize,
    md5: Md5,
    sha256: Sha256,
    length: u64,
    memory: Vec<u8>,
    incoming: Option<Incoming>,
}

impl Stored {
    fn new(directory: Directory, threshold: usize) -> Self {
        let (md5, sha256) = (Md5::new(), Sha256::new());
        Self {
            directory,
            threshold,
            md5,
            sha256,
            length: 0,
            memory: Vec::new(),
            incoming: None,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        self.md5.update(bytes);
        self.sha256.update(bytes);
        self.length += length_of(bytes);
        if let Some(incoming) = &mut self.incoming {
            return incoming.append(bytes);
        }
        if self.memory.len() + bytes.len() <= self.threshold {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        let mut incoming = self.directory.begin()?;
        incoming.append(&std::mem::take(&mut self.memory))?;
        incoming.append(bytes)?;
        self.incoming = Some(incoming);
        Ok(())
    }
}

/// A length in memory is one on disk.
fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

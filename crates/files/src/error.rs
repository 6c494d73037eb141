//! What can go wrong, one enum an operation, so that the caller knows whether to retry, to
//! correct or to give up.

use std::io;

use crate::blob::Digest;

/// Why an upload did not become a blob. Whatever it is, nothing of it stays behind.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The body is longer than allowed: send less.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// How long it might have been.
        limit: u64,
    },
    /// The body was said to be gzip, and is not, or not a whole one.
    #[error("The attachment is not gzip as it says.")]
    NotGzip,
    /// The disk or the quota is full: free space, then retry.
    #[error("no space is left for the body: {0}")]
    DiskFull(#[source] io::Error),
    /// A file or a directory could not be synced, so the body is not known to be on disk.
    #[error("the body could not be synced to disk: {0}")]
    SyncFailed(#[source] io::Error),
    /// A directory could not be synced earlier, so no later sync of it can be believed: the
    /// process must be started anew.
    #[error("the blob directory refuses writes since a sync failed; restart the server")]
    Poisoned,
    /// Any other fault of the disk.
    #[error("the body could not be written: {0}")]
    Io(#[source] io::Error),
    /// An earlier write failed or was cancelled, or the runtime is shutting down: start over.
    #[error("the upload was interrupted")]
    Interrupted,
}

impl UploadError {
    /// The error of a write, of which a full disk is the one a caller can do something about.
    pub(crate) fn of_write(error: io::Error) -> Self {
        if matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ) {
            Self::DiskFull(error)
        } else {
            Self::Io(error)
        }
    }
}

/// Why bytes that a document names cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such file, although something names it, or it was collected meanwhile.
    #[error("blob {0} is missing")]
    Missing(Digest),
    /// The file is shorter or longer than the document says: it is damaged.
    #[error("blob {digest} has {found} bytes instead of {expected}")]
    WrongLength {
        /// Which file.
        digest: Digest,
        /// What the document says.
        expected: u64,
        /// What the file has.
        found: u64,
    },
    /// The asked range does not lie within the stored bytes.
    #[error("the range lies outside of the {length} stored bytes")]
    OutOfRange {
        /// How many there are.
        length: u64,
    },
    /// The bytes are not the gzip stream they are said to be: they are damaged.
    #[error("the stored bytes are not a whole gzip stream")]
    CorruptGzip,
    /// Any other fault of the disk.
    #[error("the blob could not be read: {0}")]
    Io(#[source] io::Error),
    /// The runtime is shutting down.
    #[error("the read was interrupted")]
    Interrupted,
}

/// What is wrong with a file at its address.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is none.
    #[error("blob {0} is missing")]
    Missing(Digest),
    /// Its bytes are others.
    #[error("blob {digest} holds the bytes of {found}")]
    Mismatch {
        /// Where it lies.
        digest: Digest,
        /// Where it belongs.
        found: Digest,
    },
    /// It cannot be read.
    #[error("the blob could not be read: {0}")]
    Io(#[source] io::Error),
}

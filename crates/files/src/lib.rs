//! Bytes by content: what is too large for the store lives as files beside it, named by the
//! SHA-256 of what is stored.
//!
//! An [`Upload`] takes a body chunk by chunk, hashes and perhaps compresses it on the way, and
//! keeps it in memory while it is small. Past a threshold it goes to a temporary file, which is
//! synced and renamed to its address before [`Upload::finish`] returns; so a commit may then name
//! it. A [`Pin`] keeps the collector away until that commit is done. A [`BlobReader`] gives the
//! bytes back, whole, in part or decompressed, in bounded memory.
//!
//! Who may read a blob and which documents name it is not known here.

pub mod backend;
mod blob;
#[cfg(test)]
mod conformance;
mod directory;
mod error;
mod gzip;
mod pins;
mod reader;
pub mod references;
mod upload;

pub use blob::{Content, Digest, Encoding, StoredBlob};
pub use directory::{Digests, Directory};
pub use error::{ReadError, UploadError, VerifyError};
pub use pins::Pin;
pub use reader::{BlobReader, Chunks};
pub use upload::{Treatment, Upload, UploadOptions};

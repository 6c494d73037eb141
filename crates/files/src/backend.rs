//! The few things that blobs ask of a file system, so that tests can fail each of them and cut
//! the power between any two.
//!
//! Paths are relative to the blob directory: `""` is that directory itself, `"incoming"` or
//! `"ab"` lie in it, and files lie one deeper. All calls block; callers stand on the blocking pool.

mod disk;
mod faulty;
mod memory;

use std::fmt::Debug;
use std::io;

pub use disk::Disk;
pub use faulty::{Faulty, Operation};
pub use memory::Memory;

/// A file system of one directory with one level of subdirectories.
pub trait Backend: Debug + Send + Sync + 'static {
    /// Makes a subdirectory; one that is there already is fine. Durable after a
    /// [`Self::sync_directory`] of its parent.
    fn create_directory(&self, path: &str) -> io::Result<()>;

    /// Makes a file that must not be there yet, to append to.
    fn create(&self, path: &str) -> io::Result<Box<dyn BackendFile>>;

    /// Opens a file to read. What was opened stays readable when the name goes away.
    fn open(&self, path: &str) -> io::Result<Box<dyn BackendFile>>;

    /// Gives a file another name, replacing what had it. Durable after a
    /// [`Self::sync_directory`] of both parents.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Takes a file's name away.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// The names in a directory, in no order.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;

    /// Makes the names in a directory durable.
    fn sync_directory(&self, directory: &str) -> io::Result<()>;
}

/// One open file.
pub trait BackendFile: Debug + Send + Sync + 'static {
    /// Adds bytes at the end. After an error an unknown part of them was added.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes the content durable.
    fn sync(&mut self) -> io::Result<()>;

    /// How many bytes there are.
    fn length(&self) -> io::Result<u64>;

    /// Reads some bytes from an offset on; 0 only at the end or into an empty buffer.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

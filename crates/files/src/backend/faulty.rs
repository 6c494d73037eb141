//! A backend whose operations fail when a test says so.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Backend, BackendFile};

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Making a subdirectory.
    CreateDirectory,
    /// Making a file.
    Create,
    /// Opening a file.
    Open,
    /// Appending; half of the bytes are written before it fails.
    Append,
    /// Syncing a file.
    SyncFile,
    /// Renaming.
    Rename,
    /// Removing.
    Remove,
    /// Listing.
    List,
    /// Syncing a directory.
    SyncDirectory,
    /// Reading.
    Read,
}

/// Another backend, and the faults to come.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Backend>,
    script: Arc<Script>,
}

/// The faults to come and the operations so far.
#[derive(Debug, Default)]
struct Script {
    faults: Mutex<Vec<Fault>>,
    done: Mutex<Vec<Operation>>,
}

#[derive(Debug)]
struct Fault {
    operation: Operation,
    /// How many of them go well before.
    after: usize,
    kind: io::ErrorKind,
}

impl Faulty {
    /// Wraps a backend; nothing fails yet.
    #[must_use]
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        Self {
            inner,
            script: Arc::default(),
        }
    }

    /// Lets one operation fail, once, after `after` of its kind went well.
    pub fn fail(&self, operation: Operation, after: usize, kind: io::ErrorKind) {
        self.script.faults.lock().push(Fault {
            operation,
            after,
            kind,
        });
    }

    /// How many operations of a kind were asked for, failed ones included.
    #[must_use]
    pub fn count(&self, operation: Operation) -> usize {
        self.script
            .done
            .lock()
            .iter()
            .filter(|done| **done == operation)
            .count()
    }
}

impl Script {
    fn step(&self, operation: Operation) -> io::Result<()> {
        self.done.lock().push(operation);
        let mut faults = self.faults.lock();
        for fault in faults
            .iter_mut()
            .filter(|fault| fault.operation == operation)
        {
            match fault.after.checked_sub(1) {
                Some(after) => fault.after = after,
                None => {
                    let kind = fault.kind;
                    // Spent: an operation has one fault at a time in every test.
                    faults.retain(|fault| fault.operation != operation);
                    return Err(kind.into());
                }
            }
        }
        Ok(())
    }
}

impl Faulty {
    fn file(&self, inner: Box<dyn BackendFile>) -> Box<dyn BackendFile> {
        Box::new(FaultyFile {
            inner,
            script: Arc::clone(&self.script),
        })
    }
}

impl Backend for Faulty {
    fn create_directory(&self, path: &str) -> io::Result<()> {
        self.script.step(Operation::CreateDirectory)?;
        self.inner.create_directory(path)
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn BackendFile>> {
        self.script.step(Operation::Create)?;
        Ok(self.file(self.inner.create(path)?))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn BackendFile>> {
        self.script.step(Operation::Open)?;
        Ok(self.file(self.inner.open(path)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.script.step(Operation::Rename)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.script.step(Operation::Remove)?;
        self.inner.remove(path)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.script.step(Operation::List)?;
        self.inner.list(directory)
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        self.script.step(Operation::SyncDirectory)?;
        self.inner.sync_directory(directory)
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn BackendFile>,
    script: Arc<Script>,
}

impl BackendFile for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.script.step(Operation::Append) {
            let (half, _) = bytes.split_at(bytes.len() / 2);
            self.inner.append(half)?;
            return Err(error);
        }
        self.inner.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.script.step(Operation::SyncFile)?;
        self.inner.sync()
    }

    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.script.step(Operation::Read)?;
        self.inner.read_at(buffer, offset)
    }
}

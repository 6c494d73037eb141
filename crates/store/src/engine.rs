//! What an ordered key-value store must do to carry Adea, and nothing more.
//!
//! Two spaces of keys, told apart because they are tuned apart: small entries that are looked up
//! and walked, and bodies that are written in the order of their sequence and rarely moved. A
//! batch over both is atomic.
//!
//! Views are short: a page of a feed, one request. A reader who is slow holds no view, so he
//! pins neither memory nor old data.

pub(crate) mod disk;
pub(crate) mod faulty;
pub(crate) mod memory;

use std::path::Path;

use crate::commit::Op;

/// One of the two ordered sets of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// Small entries: trees, sequences, counts, settings.
    Index,
    /// Bodies of documents and small attachments.
    Body,
}

/// A fault of the engine; none of them is the caller's doing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The disk or the engine failed; the text is the engine's own.
    #[error("storage engine: {0}")]
    Failed(String),
    /// A stored value is not what was written.
    #[error("stored data is corrupt: {0}")]
    Corrupt(String),
}

/// A half-open range of keys, `from <= key < to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key that is in the range.
    pub from: Vec<u8>,
    /// The first key after it that is not.
    pub to: Vec<u8>,
}

impl KeyRange {
    /// All keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        Self {
            from: prefix.to_vec(),
            to: after_prefix(prefix),
        }
    }
}

/// The smallest key greater than every key that begins with `prefix`.
#[must_use]
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    // Nothing but 0xff: no key of ours begins like that, and this is above all that do not.
    vec![0xff; prefix.len() + 1]
}

/// The order in which a range is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key up.
    Forward,
    /// From the greatest key down.
    Reverse,
}

/// A row of a range: key and value.
pub type Row<'c> = (&'c [u8], &'c [u8]);

/// Walks a range; a row is borrowed until the next step.
pub trait Cursor {
    /// The next key and value, or `None` after the last.
    ///
    /// # Errors
    /// [`EngineError`] if the engine cannot read.
    fn next(&mut self) -> Result<Option<Row<'_>>, EngineError>;

    /// Jumps, so that [`Cursor::next`] gives the first row from `key` on in the cursor's
    /// direction; a key outside the range is taken as its border.
    ///
    /// # Errors
    /// [`EngineError`] if the engine cannot read.
    fn seek(&mut self, key: &[u8]) -> Result<(), EngineError>;
}

/// The data at one moment.
pub trait View {
    /// The value under `key`.
    ///
    /// # Errors
    /// [`EngineError`] if the engine cannot read.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// The values under `keys`, in their order. Cheaper than as many gets, most of all when the
    /// keys are sorted.
    ///
    /// # Errors
    /// [`EngineError`] if the engine cannot read.
    fn multi_get(
        &self,
        space: Space,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, EngineError>;

    /// Walks `range`.
    ///
    /// # Errors
    /// [`EngineError`] if the engine cannot read.
    fn range(
        &self,
        space: Space,
        range: KeyRange,
        direction: Direction,
    ) -> Result<Box<dyn Cursor + '_>, EngineError>;
}

/// An ordered key-value store.
pub trait Engine: Send + Sync + 'static {
    /// The data as it is now, unmoved by later writes.
    fn view(&self) -> Box<dyn View + '_>;

    /// The newest data, for the one thread that writes: cheaper than a view, since nobody else
    /// can move what it reads.
    fn latest(&self) -> Box<dyn View + '_>;

    /// Applies `ops` in their order, all or none; with `sync`, they are on stable storage when
    /// this returns, and no view shows them before.
    ///
    /// # Errors
    /// [`EngineError`]; whether the batch will be there after a restart is then unknown.
    fn apply(&self, ops: &[&Op], sync: bool) -> Result<(), EngineError>;

    /// Brings everything that was applied so far to stable storage.
    ///
    /// # Errors
    /// [`EngineError`]; what was applied without `sync` may be lost.
    fn sync(&self) -> Result<(), EngineError>;

    /// Makes a consistent copy of the data in the new directory `to`.
    ///
    /// # Errors
    /// [`EngineError`] if the engine has no such thing or cannot write there.
    fn checkpoint(&self, to: &Path) -> Result<(), EngineError>;

    /// Rewrites `range` so that deleted entries give their room back.
    ///
    /// # Errors
    /// [`EngineError`] if the engine cannot.
    fn compact(&self, space: Space, range: &KeyRange) -> Result<(), EngineError>;

    /// Bytes that `range` takes on disk, roughly.
    fn disk_size(&self, space: Space, range: &KeyRange) -> u64;
}

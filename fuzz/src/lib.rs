//! The parts of `adea-documents` that take bytes from anybody, without the store below them.
//!
//! Depending on the crate itself would build RocksDB once more, with the fuzzer's instrumentation:
//! a quarter of an hour before the first run. These modules need no store, so they are compiled
//! here from the very same files, to which the entries of this directory are links.

pub mod json;
pub mod rev_tree;
pub mod revision;

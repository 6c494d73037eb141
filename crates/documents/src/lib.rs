//! Documents: revision trees, winners, changes, attachments' stubs, as `CouchDB` has them.
//!
//! A domain verb here takes a transaction and never commits it, or takes a view and a scope and
//! reads. Nothing knows of HTTP, of accounts, or of where an attachment's bytes lie.

mod changes;
pub mod collation;
mod count;
pub mod database;
mod error;
pub mod expiry;
pub mod index;
pub mod json;
mod keys;
pub mod labels;
pub mod lifetimes;
pub mod local;
pub mod purge;
pub mod reader;
pub mod record;
pub mod render;
pub mod rev_tree;
pub mod revision;
pub mod seen;
pub mod selector;
pub mod verify;
pub mod writer;

pub use error::{DatabaseError, WriteError};
pub use keys::{DATABASES_TOPIC, DatabaseNumber, everything, kept_for_reader};

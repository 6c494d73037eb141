//! Databases with access control: documents say who may read them, and every door obeys.
//!
//! What is asked of such a database is asked through a *face*: the whole of it (`app`, read by its
//! administrators and written by whoever is let in), `app/mine` (what the caller may read, and where he
//! writes), or a partition `app/p-<signature>` (the documents with one access list). A face is a name
//! and a right; there is one database behind all.
//!
//! Invariants: no documents are read but through an entry that [`Pod::enter`] has prepared, or for the
//! server's own work; what a reader was issued is committed before he is shown anything by it.
//!
//! [`Pod::enter`]: crate::Pod::enter

mod enter;
mod face;
pub(crate) mod label;
mod partitions;
mod rebuild;
mod refused;
mod settings;
mod why;
pub(crate) mod writing;

use adea_base::DatabaseName;

pub(crate) use enter::{AccessMemory, read_settings, unprepared};
pub(crate) use face::refuse_face_names;
pub use partitions::{Partition, PartitionPage};
pub use rebuild::Progress as RebuildProgress;
pub use refused::WriteRefused;
pub use settings::AccessState;
pub use why::{Source as WhySource, Stood, Stretch, Why};

/// Why a use case here ended without doing what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The whole of a database with access control is read by who administers it.
    #[error("Only its administrators read the whole of {0}; what you may read is in {0}/mine.")]
    WholeIsClosed(DatabaseName),
    /// What is asked for is of the database itself, and no matter of a part of it.
    #[error("This is asked of {0} itself, by its administrators; a part of it has no such thing.")]
    NotOfPart(DatabaseName),
    /// The database has no access control.
    #[error("The database has no access control; PUT /{0}/_access switches it on.")]
    Off(DatabaseName),
    /// The name is that of a part of a database with access control.
    #[error("Names like this stand for parts of {0}, which has access control.")]
    PartName(DatabaseName),
    /// A database stands where a part would be found.
    #[error("The database {0} has the name of a part; drop it, or give it another name, first.")]
    PartTaken(String),
    /// Access control is never switched off.
    #[error(
        "Access control cannot be switched off: documents would be shown to whom they never were. Replicate them into another database."
    )]
    StaysOn,
    /// The database is the server's own.
    #[error("Databases of the server itself cannot have access control.")]
    SystemDatabase,
    /// What is to be set makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The caller may read something else by now than when he was let in.
    #[error("What you may read has changed meanwhile; ask again.")]
    Turned,
    /// Documents are being put under their labels; those of which it is not known are not listed.
    #[error("Who may read what is being worked out anew{}", how_far(*.done, *.total))]
    Rebuilding {
        /// Documents that are done.
        done: u64,
        /// Documents to be done.
        total: u64,
    },
}

fn how_far(done: u64, total: u64) -> String {
    if total == 0 {
        return "; try again.".to_owned();
    }
    format!(": {done} of {total} documents are done.")
}

#[cfg(test)]
mod tests;

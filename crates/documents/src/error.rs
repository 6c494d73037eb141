//! What the verbs of this crate refuse, an enum an operation.

use adea_store::EngineError;

/// A stored value that is not what was written.
pub(crate) fn corrupt(what: &str) -> EngineError {
    EngineError::Corrupt(what.to_owned())
}

/// Why something is not done to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// There is one of that name.
    #[error("The database could not be created, the file already exists.")]
    Exists,
    /// There is none of that name, or it was dropped meanwhile.
    #[error("Database does not exist.")]
    Missing,
}

/// Why one document was not written; the others of the same request may have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The revision given is not a leaf, or none was given and the document exists.
    #[error("Document update conflict.")]
    Conflict,
    /// A stub names an attachment that the parent revision does not have.
    #[error("Invalid attachment stub in {id} for {name}")]
    MissingStub {
        /// The document.
        id: String,
        /// The attachment.
        name: String,
    },
    /// More branches than a document may have.
    #[error("Document has too many conflicting revisions.")]
    TooManyBranches,
}

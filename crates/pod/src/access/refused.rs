//! Why a document is not taken in by what a database says of writing.

use adea_access::InvalidAccessList;
use adea_access::rules::RuleBroken;

/// Why a document is not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteRefused {
    /// What the document says of who may do what with it is no list of principals.
    #[error(transparent)]
    List(#[from] InvalidAccessList),
    /// A built-in rule.
    #[error(transparent)]
    Rule(#[from] RuleBroken),
    /// The access function of the database gave no list: it is not known who may read the document.
    #[error("The access function gave no access list: {0}")]
    Function(String),
    /// What the client takes for the document's access signature is not it.
    #[error("The document has another access signature by now.")]
    Signature,
    /// The document does not satisfy the schema of its type.
    #[error("{path}: {reason}")]
    Schema {
        /// Where in the document, as a JSON pointer.
        path: String,
        /// What is wrong there.
        reason: String,
    },
    /// Clients do not set this member.
    #[error("{path} is not set by clients.")]
    NotForClients {
        /// Where in the document, as a JSON pointer.
        path: String,
    },
}

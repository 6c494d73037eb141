//! Why a document is not taken in by what a database says of writing.

use adea_access::InvalidAccessList;
use adea_access::rules::RuleBroken;

use crate::write_document::DraftedEdit;

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
    /// It would stand beside what others wrote, which the database does not take.
    #[error("Document update conflict: somebody else has changed this document.")]
    Fork,
    /// The same of a replicated revision, of which a replicator is told so that it goes on.
    #[error("{0}")]
    Pushed(String),
    /// Clients do not set this member.
    #[error("{}", not_for_clients(.path))]
    NotForClients {
        /// Where in the document, as a JSON pointer.
        path: String,
    },
}

impl WriteRefused {
    /// What is told of a draft: replicators go on with other documents only if one is forbidden.
    pub(crate) fn of(self, edit: &DraftedEdit) -> Self {
        match (self, edit) {
            (refused @ (Self::List(_) | Self::Schema { .. }), DraftedEdit::Replicated(..)) => {
                Self::Pushed(refused.to_string())
            }
            (refused, _) => refused,
        }
    }
}

fn not_for_clients(path: &str) -> String {
    if path.is_empty() {
        "The document has members that are not set by clients.".to_owned()
    } else {
        format!("{path} is not set by clients.")
    }
}

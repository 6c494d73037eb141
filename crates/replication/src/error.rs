//! Why a replication ended before its end, in `CouchDB`'s words.

use crate::peer::PeerError;

/// Why a replication ended before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplicationError {
    /// One of the two databases is not there.
    #[error("could not open {0}")]
    NoDatabase(String),
    /// One of the two lets the user not in, or not do what is needed.
    #[error("unauthorized to access or create database {0}")]
    Unauthorized(String),
    /// The filter's code cannot be read.
    #[error("Couldn't open the filter `{0}` of the source: {1}")]
    Filter(String, String),
    /// A peer does not answer, or not what is needed, also when asked again.
    #[error("{what} at {peer}: {reason}")]
    Failed {
        /// What was asked.
        what: &'static str,
        /// Whom.
        peer: String,
        /// Why it failed.
        reason: String,
    },
    /// What a peer says cannot be.
    #[error("{what} at {peer} answered nonsense: {reason}")]
    Nonsense {
        /// What was asked.
        what: &'static str,
        /// Whom.
        peer: String,
        /// What cannot be.
        reason: String,
    },
    /// A checkpoint cannot be written.
    #[error("{0}")]
    Checkpoint(String),
}

impl ReplicationError {
    /// What `what` at `peer` failing with `error` means for the whole.
    pub(crate) fn of(what: &'static str, peer: &str, error: PeerError) -> Self {
        let peer = peer.to_owned();
        match error {
            PeerError::NoDatabase => Self::NoDatabase(peer),
            PeerError::Unauthorized(_) | PeerError::Forbidden(_) => Self::Unauthorized(peer),
            PeerError::Nonsense(reason) => Self::Nonsense { what, peer, reason },
            PeerError::Transient(reason) => Self::Failed { what, peer, reason },
            PeerError::TooLarge
            | PeerError::Refused { .. }
            | PeerError::MissingStub(_)
            | PeerError::Unsupported
            | PeerError::Missing => Self::Failed {
                what,
                peer,
                reason: error.to_string(),
            },
        }
    }
}

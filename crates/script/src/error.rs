//! Why a design function gave no answer.

use thiserror::Error;

/// Why a call gave no answer. Texts that come from JavaScript are cut to a few kilobytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScriptError {
    /// A function's source is not a function.
    #[error("{reason}")]
    Compilation {
        /// The name it was given.
        name: String,
        /// `CouchDB`'s sentence about it.
        reason: String,
    },
    /// The design document has no such function: `missing function filters.x`.
    #[error("{0}")]
    Missing(String),
    /// The function threw what `CouchDB` answers as an error.
    #[error("{error}: {reason}")]
    Threw {
        /// `CouchDB`'s error word, as `not_acceptable`.
        error: String,
        /// And its sentence.
        reason: String,
    },
    /// The function was still at work when its time was up; its process was killed.
    #[error("The function took too long and was stopped.")]
    TimedOut,
    /// The function asked for more memory than a function may have.
    #[error("The function used too much memory and was stopped.")]
    TooMuchMemory,
    /// The process ended, or answered what no worker answers.
    #[error("The process that runs functions failed: {0}")]
    Crashed(String),
    /// All processes were busy for longer than a caller waits.
    #[error("Too many functions are at work; try again.")]
    TooBusy,
    /// This server runs no JavaScript.
    #[error("JavaScript is turned off on this server.")]
    Disabled,
}

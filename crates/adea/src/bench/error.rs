//! Why a measurement ended without a result. A figure that cannot be trusted is not printed.

use std::io;

/// What went wrong, and while doing what.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The address is not one this client can speak to.
    #[error("{0}")]
    Url(String),
    /// The arguments cannot be met on this machine.
    #[error("{0}")]
    Arguments(String),
    /// Reading, writing or connecting failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The answer is not HTTP/1.1 as this client knows it.
    #[error("{doing}: the answer is not understood: {what}")]
    Protocol {
        /// The request.
        doing: String,
        /// What was wrong.
        what: &'static str,
    },
    /// The server answered something other than success.
    #[error("{request} was answered with {status}: {body}")]
    Status {
        /// Method and path.
        request: String,
        /// The status code.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// The server answered with success and wrong content.
    #[error("{request}: {complaint}")]
    Content {
        /// Method and path, or the phase.
        request: String,
        /// What was expected and what came.
        complaint: String,
    },
    /// The watched process cannot be read.
    #[error("process {pid}: {what}")]
    Process {
        /// Its id.
        pid: u32,
        /// What is wrong.
        what: String,
    },
    /// A phase took longer than any sane server needs.
    #[error("{0} did not end within {1} seconds")]
    Timeout(&'static str, u64),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl BenchError {
    /// For `map_err`: a failed system call, and what it was for.
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// A wrong answer.
    pub(super) fn content(request: impl Into<String>, complaint: impl Into<String>) -> Self {
        Self::Content {
            request: request.into(),
            complaint: complaint.into(),
        }
    }
}

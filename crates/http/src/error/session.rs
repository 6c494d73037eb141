//! What can go wrong with begin session.

use adea_pod::SessionError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &SessionError) -> (StatusCode, &'static str) {
    match *error {}
}

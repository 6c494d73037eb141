//! What can go wrong with links.

use adea_pod::LinkError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &LinkError) -> (StatusCode, &'static str) {
    match *error {}
}

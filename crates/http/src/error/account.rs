//! What can go wrong with directory.

use adea_pod::AccountError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &AccountError) -> (StatusCode, &'static str) {
    match *error {}
}

//! What can go wrong with apps.

use adea_pod::AppError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &AppError) -> (StatusCode, &'static str) {
    match *error {}
}

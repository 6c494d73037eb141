//! What can go wrong with factors.

use adea_pod::FactorError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(_error: &FactorError) -> (StatusCode, &'static str) {
    (StatusCode::FORBIDDEN, "forbidden")
}

//! What can go wrong with providers.

use adea_pod::ProviderError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &ProviderError) -> (StatusCode, &'static str) {
    match *error {}
}

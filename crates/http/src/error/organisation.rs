//! What can go wrong with organisations.

use adea_pod::OrganisationError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &OrganisationError) -> (StatusCode, &'static str) {
    match *error {}
}

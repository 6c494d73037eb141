//! What can go wrong with mail.

use adea_pod::MailError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &MailError) -> (StatusCode, &'static str) {
    match *error {}
}

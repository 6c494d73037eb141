//! What can go wrong with mail.

use adea_pod::MailError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &MailError) -> (StatusCode, &'static str) {
    match error {
        MailError::Template(_) => (StatusCode::BAD_REQUEST, "invalid_template"),
        MailError::NoTemplate | MailError::NoMail => (StatusCode::NOT_FOUND, "not_found"),
        MailError::TooManyTemplates => (StatusCode::CONFLICT, "too_many"),
        MailError::Address => (StatusCode::BAD_REQUEST, "invalid_input"),
    }
}

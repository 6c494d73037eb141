//! What can go wrong with directory.

use adea_pod::AccountError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &AccountError) -> (StatusCode, &'static str) {
    match error {
        AccountError::Missing => (StatusCode::NOT_FOUND, "not_found"),
        AccountError::NameTaken
        | AccountError::AddressTaken
        | AccountError::IdentityTaken
        | AccountError::PasskeyTaken => (StatusCode::CONFLICT, "conflict"),
        AccountError::Name(_) => (StatusCode::BAD_REQUEST, "invalid_input"),
    }
}

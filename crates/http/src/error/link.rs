//! What can go wrong with links and codes in mail, and with anonymous accounts.

use adea_pod::LinkError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &LinkError) -> (StatusCode, &'static str) {
    match error {
        LinkError::Over => (StatusCode::GONE, "link_over"),
        LinkError::WrongCode => (StatusCode::FORBIDDEN, "wrong_code"),
        LinkError::NoAnonymous => (StatusCode::FORBIDDEN, "no_anonymous_accounts"),
        LinkError::NotAnonymous => (StatusCode::CONFLICT, "not_anonymous"),
        LinkError::Incomplete => (StatusCode::BAD_REQUEST, "invalid_input"),
    }
}

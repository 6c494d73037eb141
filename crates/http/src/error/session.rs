//! What can go wrong with sessions.

use adea_pod::SessionError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &SessionError) -> (StatusCode, &'static str) {
    match error {
        SessionError::Ended => (StatusCode::FORBIDDEN, "session_expired"),
        SessionError::Forged => (StatusCode::FORBIDDEN, "session_forged"),
        SessionError::Unproved => (StatusCode::UNAUTHORIZED, "unauthorized"),
        SessionError::CrossSite => (StatusCode::FORBIDDEN, "csrf"),
        SessionError::PlainHttp => (StatusCode::FORBIDDEN, "insecure_transport"),
        SessionError::Required => (StatusCode::FORBIDDEN, "session_required"),
        SessionError::Missing => (StatusCode::NOT_FOUND, "not_found"),
    }
}

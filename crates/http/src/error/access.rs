//! What can go wrong with databases that have access control.

use adea_pod::AccessError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &AccessError) -> (StatusCode, &'static str) {
    match error {
        AccessError::WholeIsClosed(_)
        | AccessError::NotOfPart(_)
        | AccessError::StaysOn
        | AccessError::SystemDatabase => (StatusCode::FORBIDDEN, "forbidden"),
        AccessError::Off(_) => (StatusCode::NOT_FOUND, "access_control_off"),
        AccessError::PartName(_) => (StatusCode::PRECONDITION_FAILED, "file_exists"),
        AccessError::PartTaken(_) => (StatusCode::CONFLICT, "part_taken"),
        AccessError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_input"),
        AccessError::Turned => (StatusCode::SERVICE_UNAVAILABLE, "rights_changed"),
        AccessError::Rebuilding { .. } => (StatusCode::SERVICE_UNAVAILABLE, "rebuilding"),
    }
}

//! What can go wrong with apps.

use adea_pod::AppError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &AppError) -> (StatusCode, &'static str) {
    match error {
        AppError::Unknown => (StatusCode::NOT_FOUND, "unknown_app"),
        AppError::UnknownAccount => (StatusCode::NOT_FOUND, "not_found"),
        AppError::Exists => (StatusCode::CONFLICT, "app_exists"),
        AppError::Changed(_) => (StatusCode::CONFLICT, "conflict"),
        AppError::DomainTaken(_) => (StatusCode::CONFLICT, "domain_taken"),
        AppError::LastOwner => (StatusCode::CONFLICT, "last_owner"),
        AppError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_input"),
        AppError::Unconfirmed(_) => (StatusCode::BAD_REQUEST, "not_confirmed"),
        AppError::NotJoined(_) => (StatusCode::FORBIDDEN, "not_joined"),
        AppError::NotAdmin(_) | AppError::ServersMatter(_) => (StatusCode::FORBIDDEN, "forbidden"),
        AppError::Closed(_) => (StatusCode::FORBIDDEN, "sign_up_closed"),
        AppError::NoAccount => (StatusCode::FORBIDDEN, "no_account"),
        AppError::QuotaExceeded(_) => (StatusCode::FORBIDDEN, "quota_exceeded"),
    }
}

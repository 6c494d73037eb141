//! What can go wrong with other providers.

use adea_pod::ProviderError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &ProviderError) -> (StatusCode, &'static str) {
    match error {
        ProviderError::Unknown | ProviderError::NotLinked => (StatusCode::NOT_FOUND, "not_found"),
        ProviderError::NoPublicUrl => (StatusCode::FORBIDDEN, "no_public_url"),
        ProviderError::Redirect => (StatusCode::BAD_REQUEST, "invalid_redirect"),
        ProviderError::Over => (StatusCode::GONE, "attempt_over"),
        ProviderError::Declined => (StatusCode::FORBIDDEN, "provider_declined"),
        ProviderError::Unreachable => (StatusCode::BAD_GATEWAY, "provider_unreachable"),
        ProviderError::Untrusted => (StatusCode::BAD_GATEWAY, "provider_untrusted"),
        ProviderError::Stranger => (StatusCode::FORBIDDEN, "forbidden"),
        ProviderError::Linked => (StatusCode::CONFLICT, "already_linked"),
        ProviderError::LastWayIn => (StatusCode::CONFLICT, "last_way_in"),
    }
}

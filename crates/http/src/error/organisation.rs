//! What can go wrong with organisations.

use adea_pod::OrganisationError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &OrganisationError) -> (StatusCode, &'static str) {
    match error {
        OrganisationError::Missing => (StatusCode::NOT_FOUND, "not_found"),
        OrganisationError::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
        OrganisationError::NoAccount => (StatusCode::FORBIDDEN, "no_account"),
        OrganisationError::Unverified => (StatusCode::FORBIDDEN, "unverified"),
        OrganisationError::DomainUnproved => (StatusCode::FORBIDDEN, "domain_unproved"),
        OrganisationError::Quota { .. } => (StatusCode::FORBIDDEN, "quota_exceeded"),
        OrganisationError::Name(_) | OrganisationError::Invalid(_) => {
            (StatusCode::BAD_REQUEST, "invalid_input")
        }
        OrganisationError::NameTaken => (StatusCode::CONFLICT, "name_taken"),
        OrganisationError::Changed(_) => (StatusCode::CONFLICT, "conflict"),
        OrganisationError::LastOwner => (StatusCode::CONFLICT, "last_owner"),
        OrganisationError::NotMember => (StatusCode::CONFLICT, "not_a_member"),
        OrganisationError::AlreadyMember => (StatusCode::CONFLICT, "already_member"),
        OrganisationError::AlreadyInvited => (StatusCode::CONFLICT, "already_invited"),
        OrganisationError::DomainTaken => (StatusCode::CONFLICT, "domain_taken"),
        OrganisationError::TooSoon(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests"),
        OrganisationError::Closed(_) => (StatusCode::GONE, "gone"),
    }
}

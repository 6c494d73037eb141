//! What can go wrong with accounts.

use adea_pod::AccountError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &AccountError) -> (StatusCode, &'static str) {
    match error {
        AccountError::Missing => (StatusCode::NOT_FOUND, "not_found"),
        AccountError::NameTaken
        | AccountError::AddressTaken
        | AccountError::IdentityTaken
        | AccountError::PasskeyTaken
        | AccountError::Changed
        | AccountError::Conflicted
        | AccountError::TooManyAddresses
        | AccountError::LastAddress => (StatusCode::CONFLICT, "conflict"),
        AccountError::NameKept => (StatusCode::CONFLICT, "name_kept"),
        AccountError::LastOwner => (StatusCode::CONFLICT, "last_owner"),
        AccountError::Name(_)
        | AccountError::NothingToCallItBy
        | AccountError::PasswordLength
        | AccountError::Profile
        | AccountError::Credential
        | AccountError::Roles
        | AccountError::Language => (StatusCode::BAD_REQUEST, "invalid_input"),
        AccountError::SignUpClosed
        | AccountError::NotListed
        | AccountError::NotInvited
        | AccountError::NoAccount => (StatusCode::FORBIDDEN, "forbidden"),
        AccountError::WrongPassword => (StatusCode::FORBIDDEN, "wrong_password"),
        AccountError::NotFresh => (StatusCode::FORBIDDEN, "not_fresh"),
        AccountError::Spent => (StatusCode::GONE, "gone"),
    }
}

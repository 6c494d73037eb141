//! What can go wrong with factors.

use adea_accounts::passkeys::PasskeyError;
use adea_pod::FactorError;
use http::StatusCode;

/// The status and the word.
pub(super) fn status(error: &FactorError) -> (StatusCode, &'static str) {
    match error {
        FactorError::NotFresh | FactorError::WantsCode => (StatusCode::FORBIDDEN, "not_fresh"),
        FactorError::NoAccount => (StatusCode::FORBIDDEN, "no_account"),
        FactorError::Expired => (StatusCode::GONE, "gone"),
        FactorError::WrongCode => (StatusCode::UNAUTHORIZED, "unauthorized"),
        FactorError::Passkey(error) => of_passkey(*error, StatusCode::UNAUTHORIZED, "unauthorized"),
        FactorError::NotMade(error) => {
            of_passkey(*error, StatusCode::BAD_REQUEST, "passkey_refused")
        }
        FactorError::TooManyPasskeys => (StatusCode::CONFLICT, "too_many_passkeys"),
        FactorError::NoSuchPasskey => (StatusCode::NOT_FOUND, "not_found"),
        FactorError::LastWayIn => (StatusCode::CONFLICT, "last_way_in"),
        FactorError::NoTotp => (StatusCode::CONFLICT, "no_second_factor"),
        FactorError::HasTotp => (StatusCode::CONFLICT, "has_second_factor"),
    }
}

/// As [`status`], where an answer that is not accepted has the status and word `refused`.
fn of_passkey(
    error: PasskeyError,
    refused: StatusCode,
    word: &'static str,
) -> (StatusCode, &'static str) {
    match error {
        PasskeyError::NotBuilt => (StatusCode::NOT_IMPLEMENTED, "no_passkeys"),
        PasskeyError::NoHost => (StatusCode::MISDIRECTED_REQUEST, "no_host_name"),
        PasskeyError::Malformed => (StatusCode::BAD_REQUEST, "invalid_input"),
        PasskeyError::Refused | PasskeyError::Cloned => (refused, word),
    }
}

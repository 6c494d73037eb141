//! Why a document is not taken in by what its database says of writing.

use adea_pod::WriteRefused;
use http::StatusCode;

/// The status and the word. `forbidden` is the one word by which a replicator goes on with the others.
pub(super) fn status(refused: &WriteRefused) -> (StatusCode, &'static str) {
    match refused {
        WriteRefused::List(_) | WriteRefused::Schema { .. } => {
            (StatusCode::BAD_REQUEST, "bad_request")
        }
        WriteRefused::Signature => (StatusCode::PRECONDITION_FAILED, "precondition_failed"),
        WriteRefused::Rule(_)
        | WriteRefused::Function(_)
        | WriteRefused::NotForClients { .. }
        | WriteRefused::Fork
        | WriteRefused::Pushed(_) => (StatusCode::FORBIDDEN, "forbidden"),
    }
}

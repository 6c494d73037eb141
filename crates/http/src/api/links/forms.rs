//! What goes in and comes out of the routes of links and codes in mail, and of anonymous accounts.

use adea_pod::MailStarted;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::sessions::FaceAsked;

/// What is to be in the mail.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MailKind {
    /// Six digits.
    Code,
    /// A link.
    Link,
}

/// Whom to send what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MailStartAsked {
    /// The address.
    #[schema(max_length = 254)]
    pub(crate) email: String,
    /// What is to be in the mail.
    pub(crate) kind: MailKind,
    /// The app that it is for.
    #[schema(max_length = 63)]
    pub(crate) app: Option<String>,
}

/// A request that was taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MailStartedAnswer {
    /// What has to come with the code; null for a link.
    pub(crate) continuation: Option<String>,
    /// For how many seconds the code or the link is good.
    pub(crate) expires_in_s: u64,
}

impl From<MailStarted> for MailStartedAnswer {
    fn from(started: MailStarted) -> Self {
        Self {
            continuation: started.continuation,
            expires_in_s: started.expires_in_s,
        }
    }
}

/// What was in the mail: a code with its continuation, or the token of a link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MailFinishAsked {
    /// What the request for the code was answered with.
    #[schema(max_length = 256)]
    pub(crate) continuation: Option<String>,
    /// The code.
    #[schema(max_length = 32)]
    pub(crate) code: Option<String>,
    /// What the link holds.
    #[schema(max_length = 256)]
    pub(crate) token: Option<String>,
    /// How the session is to prove itself; `bearer` unless it is said.
    pub(crate) face: Option<FaceAsked>,
    /// What the device calls itself; the `User-Agent` unless it is said.
    #[schema(max_length = 256)]
    pub(crate) device: Option<String>,
}

/// The session of an account that is made for it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnonymousAsked {
    /// How the session is to prove itself; `bearer` unless it is said.
    pub(crate) face: Option<FaceAsked>,
    /// The app that it is for.
    #[schema(max_length = 63)]
    pub(crate) app: Option<String>,
    /// What the device calls itself; the `User-Agent` unless it is said.
    #[schema(max_length = 256)]
    pub(crate) device: Option<String>,
}

/// What an anonymous account is to get: a name with a password, an address, or all of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PromoteAsked {
    /// The name.
    #[schema(max_length = 256)]
    pub(crate) name: Option<String>,
    /// The address; a code is sent there, for `/_auth/link/finish`.
    #[schema(max_length = 254)]
    pub(crate) email: Option<String>,
    /// The password.
    #[schema(max_length = 1024)]
    pub(crate) password: Option<String>,
    /// The app that it is done in.
    #[schema(max_length = 63)]
    pub(crate) app: Option<String>,
}

/// What an account got.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PromotedAnswer {
    /// What it is called now.
    pub(crate) name: String,
    /// Whether it is anonymous no more; else it will be when the code was brought.
    pub(crate) promoted: bool,
    /// What belongs to the code that was sent to the address.
    pub(crate) verification: Option<MailStartedAnswer>,
}

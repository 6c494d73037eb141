//! What goes in and comes out of the routes of other providers.

use adea_pod::Started;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::sessions::FaceAsked;

/// A provider that one can sign in with.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProviderItem {
    /// Its name in paths.
    pub(crate) name: String,
    /// What may stand on its button.
    pub(crate) label: String,
}

/// The providers that one can sign in with.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProvidersAnswer {
    /// In the order of the configuration.
    pub(crate) items: Vec<ProviderItem>,
}

/// How an attempt begins.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartAsked {
    /// The page that the browser returns to: one of this server's own pages, or a page of a listed
    /// origin or of the app. Without one it is shown the code.
    #[schema(max_length = 2048)]
    pub(crate) redirect_to: Option<String>,
    /// The app that it is for.
    #[schema(max_length = 63)]
    pub(crate) app: Option<String>,
}

/// How an attempt to link begins.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkStartAsked {
    /// The page that the browser returns to: one of this server's own pages, or a page of a listed
    /// origin or of the app. Without one it is shown the code.
    #[schema(max_length = 2048)]
    pub(crate) redirect_to: Option<String>,
    /// The app whose pages may be returned to.
    #[schema(max_length = 63)]
    pub(crate) app: Option<String>,
    /// The password of the account, if the session was begun more than ten minutes ago.
    #[schema(max_length = 1024)]
    pub(crate) password: Option<String>,
}

/// An attempt that was begun.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StartedAnswer {
    /// Where to send the browser.
    pub(crate) url: String,
    /// What has to come with the code; never to be given to anybody else.
    pub(crate) continuation: String,
    /// For how many seconds it is good.
    pub(crate) expires_in_s: u64,
}

impl From<Started> for StartedAnswer {
    fn from(started: Started) -> Self {
        Self {
            url: started.url,
            continuation: started.continuation,
            expires_in_s: started.expires_in_s,
        }
    }
}

/// What a browser came back with.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReturnedAnswer {
    /// The code for who began.
    pub(crate) code: String,
}

/// How an attempt ends.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FinishAsked {
    /// The code that the browser came back with.
    #[schema(max_length = 256)]
    pub(crate) code: String,
    /// What the attempt was begun with.
    #[schema(max_length = 256)]
    pub(crate) continuation: String,
    /// How the session is to prove itself; `bearer` unless it is said.
    pub(crate) face: Option<FaceAsked>,
    /// What the device calls itself; the `User-Agent` unless it is said.
    #[schema(max_length = 256)]
    pub(crate) device: Option<String>,
}

/// Who the caller is at a provider.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IdentityItem {
    /// The provider's name.
    pub(crate) provider: String,
    /// The address that it told, if any.
    pub(crate) email: Option<String>,
    /// When it was linked, in milliseconds since the Unix epoch.
    pub(crate) linked_ms: u64,
}

/// Who the caller is at other providers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IdentitiesAnswer {
    /// One for each provider.
    pub(crate) items: Vec<IdentityItem>,
}

/// The provider that an account was linked with, or is no more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinkedAnswer {
    /// Its name.
    pub(crate) provider: String,
}

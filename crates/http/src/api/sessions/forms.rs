//! What goes in and comes out of the routes of sessions.

use adea_accounts::sessions::SessionRecord;
use adea_pod::{Credentials, Face};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::ApiError;

/// How a session proves itself with each request.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaceAsked {
    /// An access token in a header, and a refresh token for the next one.
    Bearer,
    /// A cookie, and a token against requests of other sites.
    Cookie,
    /// A temporary name and password for HTTP Basic.
    Basic,
}

impl From<FaceAsked> for Face {
    fn from(asked: FaceAsked) -> Self {
        match asked {
            FaceAsked::Bearer => Self::Bearer,
            FaceAsked::Cookie => Self::Cookie,
            FaceAsked::Basic => Self::Basic,
        }
    }
}

impl From<Face> for FaceAsked {
    fn from(face: Face) -> Self {
        match face {
            Face::Bearer => Self::Bearer,
            Face::Cookie => Self::Cookie,
            Face::Basic => Self::Basic,
        }
    }
}

/// What every request says that signs somebody in: the members of its body that are about the
/// session.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionAsked {
    /// How it is to prove itself; `bearer` unless it is said.
    pub(crate) face: Option<FaceAsked>,
    /// The app that it is for.
    pub(crate) app: Option<String>,
    /// What the device calls itself; the `User-Agent` unless it is said.
    pub(crate) device: Option<String>,
}

/// A name or an address, and a password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginAsked {
    /// The name. Exactly one of `name`, `email` and `identifier` is given.
    #[schema(max_length = 256)]
    name: Option<String>,
    /// A verified address.
    #[schema(max_length = 320)]
    email: Option<String>,
    /// Either of both.
    #[schema(max_length = 320)]
    identifier: Option<String>,
    /// The password.
    #[schema(max_length = 1024)]
    pub(crate) password: String,
    /// How the session is to prove itself; `bearer` unless it is said.
    face: Option<FaceAsked>,
    /// The app that it is for.
    #[schema(max_length = 63)]
    app: Option<String>,
    /// What the device calls itself; the `User-Agent` unless it is said.
    #[schema(max_length = 256)]
    device: Option<String>,
}

impl LoginAsked {
    /// Who signs in.
    pub(crate) fn identifier(&self) -> Result<&str, ApiError> {
        let given = [&self.name, &self.email, &self.identifier];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(one), None) => Ok(one),
            (None | Some(_), _) => Err(ApiError::Input(
                "exactly one of `name`, `email` and `identifier` must be given".to_owned(),
            )),
        }
    }

    /// What is said of the session.
    pub(crate) fn session(&self) -> SessionAsked {
        SessionAsked {
            face: self.face,
            app: self.app.clone(),
            device: self.device.clone(),
        }
    }
}

/// The session to end.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogoutAsked {
    /// A refresh token of it; without one, the session that the request is made in.
    #[schema(max_length = 1024)]
    pub(crate) refresh_token: Option<String>,
}

/// What a session goes on with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefreshAsked {
    /// The refresh token that was given last.
    #[schema(max_length = 1024)]
    pub(crate) refresh_token: String,
}

/// A session, and what it is proved with.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionAnswer {
    /// The id of the session.
    session: String,
    /// The id of the account; `admin:` and the name for an administrator of the configuration.
    account: String,
    /// The name of the account.
    name: String,
    /// How it proves itself.
    face: FaceAsked,
    /// In the face `bearer`: what goes into `Authorization: Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    /// In the face `bearer`: `Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// In the face `bearer`: what the next access token is asked for with, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// In the face `cookie`: what goes into `X-CSRF-Token` with what changes something.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf: Option<String>,
    /// In the face `basic`: the temporary name.
    #[serde(skip_serializing_if = "Option::is_none")]
    basic_name: Option<String>,
    /// In the face `basic`: the temporary password.
    #[serde(skip_serializing_if = "Option::is_none")]
    basic_password: Option<String>,
    /// For how many seconds that is good; a cookie is renewed by being used.
    expires_in_s: u64,
}

impl From<Credentials> for SessionAnswer {
    fn from(given: Credentials) -> Self {
        let bearer = given.face == Face::Bearer;
        let basic = given.face == Face::Basic;
        let secret = (!given.secret.is_empty()).then_some(given.secret);
        Self {
            session: given.session,
            account: given.account,
            name: given.name,
            face: given.face.into(),
            access_token: secret.clone().filter(|_| bearer),
            token_type: bearer.then_some("Bearer"),
            refresh_token: given.refresh,
            csrf: given.csrf,
            basic_name: given.basic_name,
            basic_password: secret.filter(|_| basic),
            expires_in_s: given.expires_in_s,
        }
    }
}

/// A second factor is wanted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecondFactorAnswer {
    /// What would do.
    #[schema(value_type = Vec<String>)]
    pub(crate) second_factor: Vec<&'static str>,
    /// What is to be brought with it; good once, for five minutes.
    pub(crate) continuation: String,
}

/// Something was ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndedAnswer {
    /// True.
    pub(crate) ok: bool,
    /// How many sessions.
    pub(crate) ended: u64,
}

impl Default for EndedAnswer {
    fn default() -> Self {
        Self { ok: true, ended: 1 }
    }
}

/// The token against requests of other sites.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CsrfAnswer {
    /// What goes into `X-CSRF-Token`; null if the caller has no cookie of a session.
    pub(crate) csrf: Option<String>,
    /// Whether the caller has signed in, in whichever way.
    pub(crate) signed_in: bool,
}

/// A session of the caller.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionItem {
    /// Its id.
    id: String,
    /// How it proves itself.
    face: FaceAsked,
    /// How its user proved to be who he is: `password`, `passkey`, `oidc:google` and so on.
    method: String,
    /// The app that it is for; null for none.
    app: Option<String>,
    /// What the device calls itself.
    device: String,
    /// Where it was begun from.
    address: String,
    /// When it was begun.
    begun_ms: u64,
    /// When it was last used, at most an hour behind.
    used_ms: u64,
    /// When it ends in any case.
    expires_ms: u64,
    /// Whether the request was made in it.
    current: bool,
}

impl SessionItem {
    /// A session as its user sees it, who speaks in `current`.
    pub(crate) fn new(record: SessionRecord, current: Option<&str>) -> Self {
        Self {
            current: current == Some(record.id.as_str()),
            id: record.id,
            face: record.face.into(),
            method: record.method,
            app: (!record.app.is_empty()).then_some(record.app),
            device: record.device,
            address: record.address,
            begun_ms: record.begun_ms,
            used_ms: record.used_ms,
            expires_ms: record.expires_ms,
        }
    }
}

/// Public keys (RFC 7517).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct KeySet {
    /// The keys.
    keys: Vec<PublicKey>,
}

/// A public key on the curve Ed25519 (RFC 8037).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PublicKey {
    /// `OKP`.
    kty: String,
    /// `Ed25519`.
    crv: String,
    /// `sig`.
    #[serde(rename = "use")]
    purpose: String,
    /// `EdDSA`.
    alg: String,
    /// Its name.
    kid: String,
    /// The key, in base64url.
    x: String,
}

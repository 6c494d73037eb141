//! Sessions: begun in one of three faces, resumed with every request, ended at once.

use std::net::IpAddr;

use crate::error::PodError;
use crate::pod::Pod;

/// Why a use case here ended without doing what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {}

/// How a session proves itself with each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Face {
    /// An access token in a header, and a refresh token for the next one.
    #[default]
    Bearer,
    /// A cookie, and a token against requests of other sites.
    Cookie,
    /// A temporary name and password.
    Basic,
}

/// Who has proved to be whom, and wants a session for it. Whoever makes one has checked the first
/// factor; whether a second one is wanted is asked by [`Pod::begin_session`].
#[derive(Clone, Debug)]
pub struct Proof {
    /// The account.
    pub account: String,
    /// How it was proved: `password`, `passkey`, `oidc:google`, `mail_code`, `mail_link`, `anonymous`.
    pub method: String,
    /// Whether that is two factors already, as a passkey with user verification is.
    pub strong: bool,
}

/// What session is wanted, and from where.
#[derive(Clone, Debug)]
pub struct SessionWanted {
    /// How it is to prove itself.
    pub face: Face,
    /// The app that it is for; empty for none.
    pub app: String,
    /// What the device calls itself: its `User-Agent`, or what the client said.
    pub device: String,
    /// Where the request came from.
    pub address: IpAddr,
}

/// What came of a proof.
#[derive(Clone, Debug)]
pub enum Begun {
    /// A session.
    Session(Box<Credentials>),
    /// A second factor is wanted first: bring this with it.
    SecondFactor {
        /// A secret that is good once, for a few minutes.
        continuation: String,
        /// What would do: `totp`, `recovery_code`, `passkey`.
        kinds: Vec<&'static str>,
    },
}

/// What a client is given to prove a session with.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The session's id.
    pub session: String,
    /// The account's id.
    pub account: String,
    /// The name of its `_users` document.
    pub name: String,
    /// The access token, or the temporary password, or the cookie's value.
    pub secret: String,
    /// The temporary name, in the face `Basic`.
    pub basic_name: Option<String>,
    /// The refresh token, in the face `Bearer`.
    pub refresh: Option<String>,
    /// The token against requests of other sites, in the face `Cookie`.
    pub csrf: Option<String>,
    /// For how many seconds `secret` is good.
    pub expires_in_s: u64,
}

impl Pod {
    /// Begins a session for who proved to be an account, or says what else is wanted.
    ///
    /// # Errors
    /// [`PodError::Refused`] if the account is blocked, gone, or not of this app.
    pub async fn begin_session(
        &self,
        _proof: Proof,
        _wanted: SessionWanted,
    ) -> Result<Begun, PodError> {
        Err(PodError::Interrupted)
    }
}

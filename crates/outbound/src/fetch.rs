//! Fetching a small document by its address, as keys are, and asking for one with credentials.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::request::Builder;
use http::{HeaderValue, Request, StatusCode, header};

use crate::address::Address;
use crate::body::Body;
use crate::client::Client;
use crate::error::OutboundError;

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 3;

/// What we call ourselves; some servers answer nobody who has no name.
const USER_AGENT: &str = concat!("adea/", env!("CARGO_PKG_VERSION"));

/// What proves who asks. It is shown to nobody but the peer.
#[derive(Clone)]
pub enum Credentials {
    /// Nothing.
    None,
    /// A name and a password, as they are.
    Basic(String, String),
    /// A token.
    Bearer(String),
}

impl Credentials {
    /// The header; `None` if they cannot stand in one.
    fn header(&self) -> Option<Option<HeaderValue>> {
        let text = match self {
            Self::None => return Some(None),
            Self::Basic(name, password) => {
                format!("Basic {}", BASE64.encode(format!("{name}:{password}")))
            }
            Self::Bearer(token) => format!("Bearer {token}"),
        };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(Some(value))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Client {
    /// Asks for JSON of at most `most` bytes, whatever the status. No redirect is followed: who asks
    /// proves who he is.
    ///
    /// # Errors
    /// [`OutboundError`].
    pub async fn get_as(
        &self,
        url: &str,
        credentials: &Credentials,
        most: u64,
    ) -> Result<(StatusCode, Bytes), OutboundError> {
        let request = Request::get(of_url(url)?);
        self.ask(request, credentials, Body::empty(), most).await
    }

    /// Sends a form and answers with JSON of at most `most` bytes, whatever the status. No redirect is
    /// followed.
    ///
    /// # Errors
    /// [`OutboundError`].
    pub async fn post_form(
        &self,
        url: &str,
        form: String,
        credentials: &Credentials,
        most: u64,
    ) -> Result<(StatusCode, Bytes), OutboundError> {
        let request = Request::post(of_url(url)?)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.ask(request, credentials, Body::full(form), most).await
    }

    async fn ask(
        &self,
        request: Builder,
        credentials: &Credentials,
        body: Body,
        most: u64,
    ) -> Result<(StatusCode, Bytes), OutboundError> {
        let malformed = || OutboundError::Malformed("no such header can be sent".to_owned());
        let mut request = request
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, USER_AGENT);
        if let Some(value) = credentials.header().ok_or_else(malformed)? {
            request = request.header(header::AUTHORIZATION, value);
        }
        let answer = self
            .send(request.body(body).map_err(|_| malformed())?)
            .await?;
        Ok((answer.status, answer.whole(most).await?))
    }

    /// Fetches JSON of at most `most` bytes. Redirects are followed, since nobody's credentials are
    /// sent along, but none from HTTPS to HTTP.
    ///
    /// # Errors
    /// [`OutboundError`]; [`OutboundError::Malformed`] also for an answer other than 200.
    pub async fn fetch_json(&self, url: &str, most: u64) -> Result<Bytes, OutboundError> {
        let malformed = |why: String| OutboundError::Malformed(why);
        let mut uri = Address::parse(url)
            .map_err(|error| malformed(error.to_string()))?
            .uri();
        for _ in 0..=REDIRECTS_MAX {
            let request = Request::get(uri.clone())
                .header(header::ACCEPT, "application/json")
                .body(Body::empty())
                .map_err(|error| malformed(error.to_string()))?;
            let answer = self.send(request).await?;
            if answer.status == StatusCode::OK {
                return answer.whole(most).await;
            }
            let target = answer.header(&header::LOCATION).map(str::to_owned);
            let Some(target) = target.filter(|_| answer.status.is_redirection()) else {
                return Err(malformed(format!("the answer is {}", answer.status)));
            };
            let next = Address::parse(&target)
                .map_err(|_| malformed("a redirect to no address".to_owned()))?
                .uri();
            if uri.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
                return Err(malformed("a redirect from HTTPS to HTTP".to_owned()));
            }
            uri = next;
        }
        Err(malformed("too many redirects".to_owned()))
    }
}

/// A URL as a request's.
fn of_url(url: &str) -> Result<http::Uri, OutboundError> {
    let address = Address::parse(url);
    let address = address.map_err(|error| OutboundError::Malformed(error.to_string()))?;
    Ok(address.uri())
}

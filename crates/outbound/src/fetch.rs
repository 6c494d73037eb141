//! Fetching a small document by its address, as keys are.

use bytes::Bytes;
use http::{Request, StatusCode, header};

use crate::address::Address;
use crate::body::Body;
use crate::client::Client;
use crate::error::OutboundError;

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 3;

impl Client {
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

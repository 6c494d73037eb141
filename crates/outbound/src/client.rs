//! Sending requests over connections that are kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::address::Address;
use crate::answer::Answer;
use crate::body::Body;
use crate::dialer::Dialer;
use crate::error::{OutboundError, Unusable};
use crate::trust;

/// How requests are sent.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long connecting may take, with TLS.
    pub connect_timeout: Duration,
    /// How long the head of an answer may take, from when the peer took the last of the request.
    pub response_timeout: Duration,
    /// The longest silence in the body of an answer.
    pub idle_timeout: Duration,
    /// A proxy, `http://[name:password@]host:port`.
    pub proxy: Option<String>,
    /// A file of certificates to believe instead of Mozilla's list.
    pub authorities: Option<PathBuf>,
    /// Whether certificates are checked.
    pub verify: bool,
    /// How many connections to one host are kept while nothing is sent.
    pub kept_per_host: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            proxy: None,
            authorities: None,
            verify: true,
            kept_per_host: 20,
        }
    }
}

/// How long a connection is kept while nothing is sent. Servers close theirs after a minute or so.
const KEPT_FOR: Duration = Duration::from_secs(20);

/// How often it is looked during a timeout whether the peer still takes bytes.
const LOOKS: u32 = 4;

/// Sends requests. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    pooled: Pooled<HttpsConnector<Dialer>, Body>,
    options: Options,
    /// What a proxy wants to know with each request that it reads.
    proxy_authorization: Option<HeaderValue>,
}

impl Client {
    /// A client without connections yet.
    ///
    /// # Errors
    /// [`Unusable`] if the proxy has no address, or the certificates cannot be read.
    pub fn new(options: Options) -> Result<Self, Unusable> {
        let proxy = match &options.proxy {
            None => None,
            Some(text) if text.starts_with("http://") => {
                let parsed = Address::parse(text);
                Some(parsed.map_err(|error| Unusable::Proxy(error.to_string()))?)
            }
            Some(_) => return Err(Unusable::Proxy("it must begin with http://".to_owned())),
        };
        let proxy_authorization = proxy.as_ref().and_then(Address::authorization);
        let tls = trust::config(options.authorities.as_deref(), options.verify)?;
        let dialer = Dialer {
            proxy,
            timeout: options.connect_timeout,
        };
        let pooled = Pooled::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT_FOR)
            .pool_max_idle_per_host(options.kept_per_host)
            .http1_max_headers(256)
            .build(HttpsConnector::from((dialer, tls)));
        Ok(Self {
            shared: Arc::new(Shared {
                pooled,
                options,
                proxy_authorization,
            }),
        })
    }

    /// Sends a request and answers with the head of what comes back. No redirect is followed.
    ///
    /// # Errors
    /// [`OutboundError`]; whether the peer did what was asked is then unknown.
    pub async fn send(&self, request: Request<Body>) -> Result<Answer, OutboundError> {
        self.send_within(request, self.shared.options.response_timeout)
            .await
    }

    /// The same, with another time for the head of the answer and the silences in its body.
    ///
    /// # Errors
    /// [`OutboundError`], as [`Self::send`].
    pub async fn send_within(
        &self,
        mut request: Request<Body>,
        timeout: Duration,
    ) -> Result<Answer, OutboundError> {
        let plain = request.uri().scheme() == Some(&http::uri::Scheme::HTTP);
        if let Some(credentials) = self.shared.proxy_authorization.clone().filter(|_| plain) {
            request
                .headers_mut()
                .insert(header::PROXY_AUTHORIZATION, credentials);
        }
        let idle = self.shared.options.idle_timeout.max(timeout);
        let response = self.head(request, timeout).await?;
        Ok(Answer::new(response, idle))
    }

    /// Waits for the head as long as the peer takes bytes of the request.
    async fn head(
        &self,
        request: Request<Body>,
        timeout: Duration,
    ) -> Result<Response<Incoming>, OutboundError> {
        let taken = request.body().taken();
        let mut sending = std::pin::pin!(self.shared.pooled.request(request));
        let (mut before, mut still) = (0, 0);
        while still < LOOKS {
            let sent = tokio::time::timeout(timeout / LOOKS, &mut sending).await;
            if let Ok(sent) = sent {
                return sent.map_err(|error| OutboundError::of_send(&error));
            }
            let now = taken.load(Ordering::Relaxed);
            still = if now == before { still + 1 } else { 0 };
            before = now;
        }
        Err(OutboundError::Timeout("before it answered"))
    }
}

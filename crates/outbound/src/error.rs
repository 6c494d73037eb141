//! Why a request was not answered, by what can be done about it.

use std::error::Error;

use crate::dialer::DialError;

/// Why a request was not answered, or its answer not read to the end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The host's name has no address.
    #[error("the name of {0} cannot be resolved")]
    Resolve(String),
    /// Nobody takes connections there.
    #[error("no connection to {0}: {1}")]
    Connect(String, String),
    /// A proxy on the way refused.
    #[error("the proxy {0} refused: {1}")]
    Proxy(String, String),
    /// The peer is not who it should be, or speaks no TLS.
    #[error("no TLS: {0}")]
    Tls(String),
    /// The peer took too long.
    #[error("the peer was silent for too long ({0})")]
    Timeout(&'static str),
    /// The answer is longer than was asked for.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(u64),
    /// The connection ended in the middle.
    #[error("the connection ended before the answer did")]
    Closed,
    /// What came is no HTTP, or no such request can be made.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The body of the request was given up by its sender.
    #[error("the request was given up")]
    GivenUp,
}

impl OutboundError {
    /// Whether the same request may well be answered later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Resolve(_)
            | Self::Connect(..)
            | Self::Proxy(..)
            | Self::Timeout(_)
            | Self::Closed
            | Self::Malformed(_) => true,
            Self::Tls(_) | Self::TooLarge(_) | Self::GivenUp => false,
        }
    }

    /// What went wrong in sending, found in the chain of causes.
    pub(crate) fn of_send(error: &hyper_util::client::legacy::Error) -> Self {
        Self::of_chain(error)
    }

    pub(crate) fn of_body(error: &hyper::Error) -> Self {
        Self::of_chain(error)
    }

    fn of_chain(error: &(dyn Error + 'static)) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(at) = cause {
            if let Some(found) = Self::of_cause(at) {
                return found;
            }
            cause = at.source();
        }
        Self::Closed
    }

    fn of_cause(cause: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(dialled) = cause.downcast_ref::<DialError>() {
            return Some(dialled.0.clone());
        }
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return Some(Self::Tls(tls.to_string()));
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            // An error inside of one is not among its sources.
            return io
                .get_ref()
                .and_then(|inner| Self::of_cause(inner))
                .or(Some(Self::Closed));
        }
        let hyper = cause.downcast_ref::<hyper::Error>()?;
        if hyper.is_parse() || hyper.is_parse_status() {
            return Some(Self::Malformed("the answer is no HTTP".to_owned()));
        }
        if hyper.is_user() {
            return Some(Self::GivenUp);
        }
        None
    }
}

/// Options that no client can be made of.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The proxy's address.
    #[error("the proxy has an invalid url: {0}")]
    Proxy(String),
    /// The file of further authorities.
    #[error("certificates in {0}: {1}")]
    Certificates(String, String),
}

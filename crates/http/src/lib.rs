//! The only public door: HTTP as `CouchDB` speaks it.
//!
//! A handler parses, calls one use case of `adea-pod`, and converts what comes back. Nothing is
//! decided here. One file knows statuses (`error.rs`); one knows paths (`router.rs`).

mod access_log;
mod body;
mod caller;
mod challenge;
mod compress;
mod cors;
mod couch;
mod error;
mod metrics;
mod reply;
mod router;
mod server;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use adea_pod::Pod;

pub use body::{Body, Request, Response};
pub use couch::changes::FeedCache;
pub use metrics::Metrics;
pub use server::{CorsOptions, Handler, HttpOptions, Server, ShutdownSignal};

/// All that a handler needs.
pub struct App {
    /// What does the work.
    pub pod: Pod,
    /// How requests are taken.
    pub options: HttpOptions,
    /// What is counted.
    pub metrics: Metrics,
    /// Tells when to end.
    pub shutdown: ShutdownSignal,
    /// Room for large bodies, in steps of 1 MiB.
    pub large_bodies: Arc<tokio::sync::Semaphore>,
    /// Pages of feeds that many listeners share.
    pub feeds: FeedCache,
}

impl App {
    /// Serves `pod`.
    #[must_use]
    pub fn new(pod: Pod, options: HttpOptions, shutdown: ShutdownSignal) -> Arc<Self> {
        Arc::new(Self {
            pod,
            options,
            metrics: Metrics::new(),
            shutdown,
            large_bodies: Arc::new(tokio::sync::Semaphore::new(couch::intake::LARGE_BODIES)),
            feeds: FeedCache::default(),
        })
    }
}

/// The handler of every request.
#[derive(Clone)]
pub struct Door(pub Arc<App>);

impl Handler for Door {
    fn handle(
        &self,
        request: Request,
        peer: SocketAddr,
    ) -> impl Future<Output = Response> + Send + 'static {
        router::handle(Arc::clone(&self.0), request, peer)
    }
}

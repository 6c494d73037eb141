//! The only public door: HTTP as `CouchDB` speaks it.
//!
//! A handler parses, calls one use case of `adea-pod`, and converts what comes back. Nothing is
//! decided here. One file knows statuses (`error.rs`); one knows paths (`router.rs`).

mod access_log;
mod api;
mod body;
mod caller;
mod challenge;
mod compress;
mod cors;
mod couch;
mod error;
mod live;
mod metrics;
mod reply;
mod router;
mod server;
mod transport;
mod vhost;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use adea_pod::Pod;

pub use body::{Body, Request, Response};
pub use couch::changes::FeedCache;
pub use couch::configuration::{Outside, SettingHook};
pub use live::LiveOptions;
pub use metrics::Metrics;
pub use server::{CorsOptions, Handler, HttpOptions, Server, ShutdownSignal};
pub use vhost::Vhost;

/// All that a handler needs.
pub struct App {
    /// What does the work.
    pub pod: Pod,
    /// How requests were taken when the server started; what may change since then is read from
    /// [`App::live`], once a request.
    pub options: HttpOptions,
    /// How requests are taken now.
    pub live: LiveOptions,
    /// Settings that are not of this crate.
    pub outside: Outside,
    /// What is counted.
    pub metrics: Metrics,
    /// Tells when to end.
    pub shutdown: ShutdownSignal,
    /// Room for large bodies, in steps of 1 MiB.
    pub large_bodies: Arc<tokio::sync::Semaphore>,
    /// Pages of feeds that many listeners share.
    pub feeds: FeedCache,
    /// When it began to serve.
    pub started: tokio::time::Instant,
}

impl App {
    /// Serves `pod`. What was set while an earlier server ran lies over `options` from now on.
    #[must_use]
    pub fn new(pod: Pod, options: HttpOptions, shutdown: ShutdownSignal) -> Arc<Self> {
        Self::within(pod, options, shutdown, Outside::default())
    }

    /// As [`App::new`], with settings that are those of the program around it.
    #[must_use]
    pub fn within(
        pod: Pod,
        options: HttpOptions,
        shutdown: ShutdownSignal,
        outside: Outside,
    ) -> Arc<Self> {
        let live = LiveOptions::from(couch::configuration::put_in_force(&options, &pod));
        Arc::new(Self {
            pod,
            options,
            live,
            outside,
            metrics: Metrics::new(),
            shutdown,
            large_bodies: Arc::new(tokio::sync::Semaphore::new(couch::intake::LARGE_BODIES)),
            feeds: FeedCache::default(),
            started: tokio::time::Instant::now(),
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

//! A server in this process, over a store in memory or on disk, that ends with its test.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adea_files::Directory;
use adea_http::{App, Door, HttpOptions, Server, ShutdownSignal};
use adea_pod::{Pod, PodOptions};
use adea_store::{Durability, Memory};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;

/// A running server.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    runtime: Runtime,
    pod: Pod,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<std::io::Result<()>>>,
    _data: tempfile::TempDir,
}

fn options(data: &Path) -> PodOptions {
    PodOptions {
        data: data.to_owned(),
        durability: Durability::Strict,
        memory: 16 << 20,
        session_timeout_s: 600,
        session_secret: None,
        attachment_max: 1 << 30,
        auth: adea_pod::AuthSettings::default(),
        script: adea_pod::ScriptSettings::default(),
        replication: Default::default(),
    }
}

impl Serving {
    /// Over a store in memory.
    pub(crate) fn in_memory() -> Self {
        Self::with(|_| {})
    }

    /// Over a store in memory, with options changed.
    pub(crate) fn with(change: impl FnOnce(&mut HttpOptions)) -> Self {
        let open = |data: std::path::PathBuf| async move {
            let files = Directory::on_disk(&data).unwrap();
            Pod::over(Arc::new(Memory::new()), files, options(&data))
                .await
                .unwrap()
        };
        Self::start(open, change)
    }

    /// Over the store that serves.
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) fn on_disk() -> Self {
        Self::start(
            |data| async move { Pod::open(options(&data)).await.unwrap() },
            |_| {},
        )
    }

    fn start<F: Future<Output = Pod>>(
        open: impl FnOnce(std::path::PathBuf) -> F,
        change: impl FnOnce(&mut HttpOptions),
    ) -> Self {
        let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let runtime = Runtime::new().unwrap();
        let pod = runtime.block_on(open(data.path().to_owned()));
        runtime
            .block_on(pod.ensure_admin("admin", Some("secret")))
            .unwrap();
        let mut http = HttpOptions {
            access_log: false,
            // Longer than a client waits: no feed of a test ends by its time.
            changes_timeout: Duration::from_secs(600),
            ..HttpOptions::default()
        };
        change(&mut http);
        let shutdown = ShutdownSignal::new();
        let app = App::new(pod.clone(), http.clone(), shutdown.clone());
        let metrics = app.metrics.clone();
        let server = Server::new(Door(app), http, metrics, shutdown);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = runtime.spawn(server.serve(listener, async move { drop(stopped.await) }));
        Self {
            address,
            runtime,
            pod,
            stop: Some(stop),
            served: Some(served),
            _data: data,
        }
    }

    /// A new connection.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Tells the server to stop.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until it has stopped.
    pub(crate) fn stopped(&mut self) {
        let served = self.served.take().unwrap();
        self.runtime.block_on(served).unwrap().unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.pod.close();
    }
}

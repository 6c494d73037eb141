//! The limits to hold a server against, measured on the same machine in the same run: a bare hyper
//! server that answers a constant, and the engine's own batch write of the same documents.
//!
//! The bare server is another process, this binary with a hidden command, so that its CPU time is
//! counted as the measured server's is.

use super::EngineFloor;
use super::connection::{Request, Target};
use super::corpus::Corpus;
use super::driver::{connect, drive};
use super::error::BenchError;
use super::process::ProcessTree;
use super::questions::Constant;
use super::report::{Limit, Operation};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;

/// The largest answer the bare server gives.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The size of an answer to a PUT: `{"ok":true,"id":"<32>","rev":"1-<32>"}` and a line end.
const PUT_ANSWER_BYTES: usize = 95;
/// What an answer to a GET has besides the body: `"_id":"<32>","_rev":"1-<32>",` and a line end.
const GET_ANSWER_EXTRA_BYTES: usize = 86;

/// Answers `GET /N` and `PUT /N` with `N` bytes, until standard input ends. Prints its port first.
///
/// # Errors
/// If it cannot listen or standard output is closed.
pub(crate) fn serve_constant() -> Result<(), BenchError> {
    let failed = || BenchError::io("the bare server");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(failed())?;
    let listener = runtime
        .block_on(TcpListener::bind(("127.0.0.1", 0)))
        .map_err(failed())?;
    let port = listener.local_addr().map_err(failed())?.port();
    writeln!(std::io::stdout(), "{port}").map_err(failed())?;
    runtime.spawn(accept(listener));
    // Whoever started it holds the other end; when that is gone, so is the need for this.
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .map_err(failed())?;
    runtime.shutdown_background();
    Ok(())
}

async fn accept(listener: TcpListener) {
    let constant = Bytes::from(vec![b'x'; ANSWER_BYTES_MAX]);
    while let Ok((stream, _)) = listener.accept().await {
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let constant = constant.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, constant.clone()));
            // A connection that breaks is the client's affair.
            drop(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    constant: Bytes,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().trim_start_matches('/');
    let wanted: Option<usize> = path.parse().ok();
    let wanted = wanted.filter(|bytes| *bytes <= ANSWER_BYTES_MAX);
    let read = request.into_body().collect().await.is_ok();
    let (status, body) = match wanted {
        Some(bytes) if read => (StatusCode::OK, constant.slice(..bytes)),
        Some(_) | None => (StatusCode::BAD_REQUEST, Bytes::new()),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, json);
    Ok(response)
}

/// A bare server in another process; it ends with this value.
struct BareServer {
    child: Child,
    port: u16,
}

impl BareServer {
    fn start() -> Result<Self, BenchError> {
        let failed = || BenchError::io("starting the bare server");
        let binary = std::env::current_exe().map_err(failed())?;
        let mut child = Command::new(binary)
            .arg("bench-server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed())?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout)
                .read_line(&mut line)
                .map_err(failed())?;
        }
        let port = line.trim().parse().map_err(|_| {
            BenchError::content("bench-server", format!("\"{}\" is no port", line.trim()))
        });
        let mut server = Self { child, port: 0 };
        server.port = port?;
        Ok(server)
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        // Closing its standard input ends it; killing is for the case that this fails.
        drop(self.child.stdin.take());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The bare server, asked for as much as a GET and a PUT of a document ask for.
pub(super) async fn bare_server(
    corpus: &Corpus,
    connections: usize,
    count: usize,
) -> Result<Vec<Limit>, BenchError> {
    let server = BareServer::start()?;
    let tree = ProcessTree::of(server.child.id())?;
    let target = Target::local(server.port);
    let mut body = Vec::new();
    corpus.body(0, &mut body);
    let get = Constant {
        body: None,
        answer_bytes: corpus.body_bytes() + GET_ANSWER_EXTRA_BYTES,
    };
    let put = Constant {
        body: Some(body),
        answer_bytes: PUT_ANSWER_BYTES,
    };
    let cases: [(&str, &'static [Operation], Constant); 2] = [
        ("bare hyper, GET", &[Operation::Get], get),
        ("bare hyper, PUT", &[Operation::Put], put),
    ];
    let mut limits = Vec::new();
    for (name, operations, question) in cases {
        let open = connect(&target, connections, &Request::new("GET", "/2")).await?;
        let before = tree.snapshot()?;
        let start = Instant::now();
        drive(open, count, Arc::new(question)).await?;
        limits.push(Limit {
            name: format!("{name}, {connections} connections"),
            operations,
            count,
            elapsed: start.elapsed(),
            cpu: tree.snapshot()?.cpu_since(&before),
        });
    }
    Ok(limits)
}

/// The engine's own batch write, in batches as `_bulk_docs` and concurrent PUTs make them.
pub(super) fn engine(
    floor: EngineFloor,
    directory: &Path,
    corpus: &Corpus,
    connections: usize,
    count: usize,
) -> Result<Vec<Limit>, BenchError> {
    let documents: Vec<(String, Vec<u8>)> = (0..count)
        .map(|number| {
            let mut body = Vec::with_capacity(corpus.body_bytes());
            corpus.body(number, &mut body);
            (corpus.id(number), body)
        })
        .collect();
    let cases: [(usize, &'static [Operation]); 3] = [
        (connections, &[Operation::Put]),
        (100, &[Operation::BulkSmall]),
        (1_000, &[Operation::Bulk]),
    ];
    let own = ProcessTree::own()?;
    let mut limits = Vec::new();
    for (batch, operations) in cases {
        let fresh = directory.join(format!("batch-{batch}"));
        std::fs::create_dir_all(&fresh).map_err(BenchError::io(fresh.display().to_string()))?;
        let before = own.snapshot()?;
        let start = Instant::now();
        floor(&fresh, &documents, batch)
            .map_err(|complaint| BenchError::content("engine's batch write", complaint))?;
        limits.push(Limit {
            name: format!("engine, batches of {batch}"),
            operations,
            count,
            elapsed: start.elapsed(),
            cpu: own.snapshot()?.cpu_since(&before),
        });
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_the_sizes_of_real_answers() {
        let hex = "0".repeat(32);
        let put = format!("{{\"ok\":true,\"id\":\"{hex}\",\"rev\":\"1-{hex}\"}}\n");
        assert_eq!(put.len(), PUT_ANSWER_BYTES);
        let get = format!("\"_id\":\"{hex}\",\"_rev\":\"1-{hex}\",\n");
        assert_eq!(get.len(), GET_ANSWER_EXTRA_BYTES);
    }

    #[tokio::test]
    async fn the_bare_server_gives_what_was_asked_for() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let target = Target::local(listener.local_addr().unwrap().port());
        let server = tokio::spawn(accept(listener));
        let first = Request::new("GET", "/2");
        for body in [None, Some(b"{\"a\":1}".to_vec())] {
            let open = connect(&target, 3, &first).await.unwrap();
            let question = Constant {
                body,
                answer_bytes: 700,
            };
            let latencies = drive(open, 50, Arc::new(question)).await.unwrap();
            assert!(latencies.summary().is_some());
        }
        let too_much = Request::new("GET", format!("/{}", ANSWER_BYTES_MAX + 1));
        let refused = connect(&target, 1, &too_much).await.unwrap_err();
        assert!(matches!(refused, BenchError::Status { status: 400, .. }));
        server.abort();
    }

    #[test]
    fn the_engine_is_given_every_document_in_each_batch_size() {
        fn floor(
            directory: &Path,
            documents: &[(String, Vec<u8>)],
            batch: usize,
        ) -> Result<(), String> {
            assert!(directory.is_dir());
            let whole = documents.len() == 30 && documents.iter().all(|(_, b)| b.len() == 510);
            if whole && [7, 100, 1_000].contains(&batch) {
                Ok(())
            } else {
                Err("incomplete".to_owned())
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let corpus = Corpus::new(1, 510);
        let limits = engine(floor, directory.path(), &corpus, 7, 30).unwrap();
        assert_eq!(limits.len(), 3);
    }
}

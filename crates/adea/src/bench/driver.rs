//! Asks the same kind of question many times over several connections, and times each.

use super::connection::{Connection, Request, Target};
use super::error::BenchError;
use super::latency::Latencies;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::task::JoinSet;

/// A kind of question: what to send as number `n`, and what a right answer to it is.
pub(super) trait Question: Send + Sync + 'static {
    /// The status of a right answer.
    fn status(&self) -> u16;
    /// Fills in method, path and body; the buffers hold the question before.
    fn ask(&self, n: usize, request: &mut Request);
    /// Complains about a wrong answer.
    fn check(&self, n: usize, answer: &[u8]) -> Result<(), String>;
}

/// Opens `count` connections and asks `first` on each, so that sign-in and connecting are not
/// part of what is measured.
pub(super) async fn connect(
    target: &Arc<Target>,
    count: usize,
    first: &Request,
) -> Result<Vec<Connection>, BenchError> {
    let mut connections = Vec::with_capacity(count);
    let mut answer = Vec::new();
    for number in 0..count {
        let mut connection = Connection::open(target, number).await?;
        connection.exchange(first, 200, &mut answer).await?;
        connections.push(connection);
    }
    Ok(connections)
}

/// Asks questions 0 to `count`, each connection taking the next one when it has its answer.
/// The first wrong answer ends it all.
pub(super) async fn drive(
    connections: Vec<Connection>,
    count: usize,
    question: Arc<dyn Question>,
) -> Result<Latencies, BenchError> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for connection in connections {
        let (next, question) = (Arc::clone(&next), Arc::clone(&question));
        workers.spawn(async move { work(connection, &next, count, &*question).await });
    }
    let mut all = Latencies::default();
    while let Some(ended) = workers.join_next().await {
        let latencies = ended.map_err(|error| {
            BenchError::io("waiting for a connection")(std::io::Error::other(error))
        })?;
        all.extend(latencies?);
    }
    Ok(all)
}

async fn work(
    mut connection: Connection,
    next: &AtomicUsize,
    count: usize,
    question: &dyn Question,
) -> Result<Latencies, BenchError> {
    let mut latencies = Latencies::default();
    let mut request = Request::default();
    let mut answer = Vec::new();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= count {
            return Ok(latencies);
        }
        question.ask(n, &mut request);
        let start = Instant::now();
        connection
            .exchange(&request, question.status(), &mut answer)
            .await?;
        latencies.record(start.elapsed());
        question
            .check(n, &answer)
            .map_err(|complaint| BenchError::content(request.name(), complaint))?;
    }
}

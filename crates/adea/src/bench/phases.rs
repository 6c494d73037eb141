//! The phases of a run, and how each is measured.
//!
//! What a server puts off, it does all the same: after each phase its process is watched until it
//! is quiet, and the CPU time until then counts for the phase that caused it.

use super::comparison::Comparison;
use super::connection::{Connection, Request, Target};
use super::corpus::Corpus;
use super::driver::{Question, connect, drive};
use super::error::BenchError;
use super::latency::Latencies;
use super::listeners::Listeners;
use super::process::{ProcessTree, Snapshot, disk_bytes};
use super::questions::{BulkDocuments, GetDocuments, PutDocuments};
use super::report::{Operation, Quantity, Timed};
use super::rights::Made;
use super::wire::RowCounter;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A phase may take so long, on any server.
const PHASE_SECONDS_MAX: u64 = 1_800;
/// Bulk requests come over so many connections.
pub(super) const BULK_CONNECTIONS: usize = 4;
/// Each whole listing is read so often.
pub(super) const LISTINGS: usize = 3;
/// A server is quiet when it uses less than a twentieth of a processor for so long.
const QUIET_WINDOW: Duration = Duration::from_millis(250);
/// It is waited for so many windows.
const QUIET_WINDOWS_MAX: usize = 40;
/// How often a compaction is asked whether it has ended.
pub(super) const COMPACTION_POLL: Duration = Duration::from_millis(500);

/// A run in progress: the database, what is in it, and what was measured.
pub(super) struct Run {
    /// The server.
    pub(super) target: Arc<Target>,
    /// The database made for this run.
    pub(super) database: String,
    /// The documents.
    pub(super) corpus: Corpus,
    /// How many of them are in the database.
    pub(super) loaded: usize,
    /// Connections for PUT and GET.
    pub(super) connections: usize,
    /// The server's processes, if known.
    pub(super) server: Option<ProcessTree>,
    /// This process.
    pub(super) own: ProcessTree,
    /// Results.
    pub(super) timed: Vec<Timed>,
    /// Results.
    pub(super) quantities: Vec<Quantity>,
    /// Results.
    pub(super) comparisons: Vec<Comparison>,
    /// What is to be removed besides the database.
    pub(super) made: Made,
}

impl Run {
    /// Creates the database.
    pub(super) async fn create(&self) -> Result<(), BenchError> {
        let request = Request::new("PUT", format!("/{}", self.database));
        self.ask_once(&request, 201).await.map(drop)
    }

    /// Deletes the database, and what a phase that failed has left.
    pub(super) async fn delete(&mut self) -> Result<(), BenchError> {
        self.remove_made().await?;
        let request = Request::new("DELETE", format!("/{}", self.database));
        self.ask_once(&request, 200).await.map(drop)
    }

    /// Asks one question on a connection of its own.
    pub(super) async fn ask_once(
        &self,
        request: &Request,
        status: u16,
    ) -> Result<Vec<u8>, BenchError> {
        let mut answer = Vec::new();
        let mut connection = Connection::open(&self.target, 0).await?;
        connection.exchange(request, status, &mut answer).await?;
        Ok(answer)
    }

    /// As [`Run::ask_once`], with the cookie that comes with the answer.
    pub(super) async fn ask_for_cookie(
        &self,
        request: &Request,
    ) -> Result<(Vec<u8>, Option<String>), BenchError> {
        let mut answer = Vec::new();
        let mut connection = Connection::open(&self.target, 0).await?;
        connection.exchange(request, 200, &mut answer).await?;
        Ok((answer, connection.cookie().map(str::to_owned)))
    }

    /// Documents one by one.
    pub(super) async fn put(&mut self, count: usize) -> Result<(), BenchError> {
        let question = Arc::new(PutDocuments {
            database: self.database.clone(),
            corpus: self.corpus.clone(),
            first: self.loaded,
        });
        let open = self.open(self.connections).await?;
        self.measure(Operation::Put, count, drive(open, count, question))
            .await?;
        self.loaded += count;
        Ok(())
    }

    /// Documents in batches.
    pub(super) async fn bulk(
        &mut self,
        operation: Operation,
        batch: usize,
        count: usize,
    ) -> Result<(), BenchError> {
        let question = self.bulk_question(batch, count);
        let open = self.open(BULK_CONNECTIONS).await?;
        let requests = question.requests();
        self.measure(operation, count, drive(open, requests, question))
            .await?;
        self.loaded += count;
        Ok(())
    }

    /// Fills the database without measuring, for phases that only read.
    pub(super) async fn fill(&mut self, count: usize) -> Result<(), BenchError> {
        let question = self.bulk_question(1_000, count);
        let open = self.open(BULK_CONNECTIONS).await?;
        drive(open, question.requests(), question).await?;
        self.loaded += count;
        self.settle().await
    }

    fn bulk_question(&self, batch: usize, count: usize) -> Arc<BulkDocuments> {
        Arc::new(BulkDocuments {
            database: self.database.clone(),
            corpus: self.corpus.clone(),
            documents: self.loaded..self.loaded + count,
            batch,
        })
    }

    /// Documents read at random.
    pub(super) async fn get(&mut self, count: usize) -> Result<(), BenchError> {
        let question: Arc<dyn Question> = Arc::new(GetDocuments {
            database: self.database.clone(),
            corpus: self.corpus.clone(),
            loaded: self.loaded,
        });
        let open = self.open(self.connections).await?;
        self.measure(Operation::Get, count, drive(open, count, question))
            .await
    }

    /// A listing of the whole database, which must have a row for each document.
    pub(super) async fn listing(
        &mut self,
        operation: Operation,
        path: &str,
        with_documents: bool,
    ) -> Result<(), BenchError> {
        let request = Request::new("GET", format!("/{}{path}", self.database));
        let bytes_min = if with_documents {
            self.loaded * self.corpus.body_bytes()
        } else {
            0
        };
        let mut connection = self.open_one().await?;
        let loaded = self.loaded;
        self.measure(operation, loaded * LISTINGS, async move {
            let mut latencies = Latencies::default();
            for _ in 0..LISTINGS {
                let start = Instant::now();
                list(&mut connection, &request, loaded, bytes_min).await?;
                latencies.record(start.elapsed());
            }
            Ok(latencies)
        })
        .await
    }

    /// Memory of waiting feeds, and changes told to all of them.
    pub(super) async fn listeners(&mut self, count: usize, tells: usize) -> Result<(), BenchError> {
        let mut writer = self.open_one().await?;
        self.settle().await?;
        let before = self.resident_bytes()?;
        let mut listeners =
            Listeners::open(std::slice::from_ref(&self.target), &self.database, count).await?;
        self.settle().await?;
        let after = self.resident_bytes()?;
        if let Some((before, after)) = before.zip(after) {
            self.quantities.push(Quantity {
                name: "memory per waiting listener",
                bytes: after.saturating_sub(before) as f64 / count.max(1) as f64,
                couchdb: Some(71e3),
                goal: Some(8e3),
            });
        }
        let question = PutDocuments {
            database: self.database.clone(),
            corpus: self.corpus.clone(),
            first: self.loaded,
        };
        self.measure(Operation::Tell, tells * count, async move {
            let mut latencies = Latencies::default();
            let mut request = Request::default();
            let mut answer = Vec::new();
            for n in 0..tells {
                question.ask(n, &mut request);
                let start = Instant::now();
                writer.exchange(&request, 201, &mut answer).await?;
                let id = question.corpus.id(question.first + n);
                let last = listeners.all_hear(&id).await?;
                latencies.record(last.saturating_duration_since(start));
            }
            Ok(latencies)
        })
        .await?;
        self.loaded += tells;
        Ok(())
    }

    /// Compacts, then says what a document takes on disk. `data` is the server's directory with
    /// the bytes it had before the run.
    pub(super) async fn compact(&mut self, data: Option<(&Path, u64)>) -> Result<(), BenchError> {
        let start = Request::new("POST", format!("/{}/_compact", self.database));
        let ask = Request::new("GET", format!("/{}", self.database));
        let mut connection = self.open_one().await?;
        let loaded = self.loaded;
        self.measure(Operation::Compact, loaded, async move {
            let mut answer = Vec::new();
            connection.exchange(&start, 202, &mut answer).await?;
            let mut running = true;
            while running {
                tokio::time::sleep(COMPACTION_POLL).await;
                connection.exchange(&ask, 200, &mut answer).await?;
                running = info(&answer, "/compact_running")? == serde_json::Value::Bool(true);
            }
            Ok(Latencies::default())
        })
        .await?;
        let ask = Request::new("GET", format!("/{}", self.database));
        let answer = self.ask_once(&ask, 200).await?;
        let number = |pointer| info(&answer, pointer).map(|value| value.as_f64().unwrap_or(-1.0));
        let documents = number("/doc_count")?;
        if documents != self.loaded as f64 {
            let complaint = format!("it counts {documents} documents, and {loaded} were written");
            return Err(BenchError::content(ask.name(), complaint));
        }
        self.quantities.push(Quantity {
            name: "disk per document, as the server says",
            bytes: number("/sizes/file")? / documents.max(1.0),
            couchdb: Some(667.0),
            goal: Some(400.0),
        });
        if let Some((directory, before)) = data {
            let grown = disk_bytes(directory)?.saturating_sub(before);
            self.quantities.push(Quantity {
                name: "disk per document, as the disk says",
                bytes: grown as f64 / documents.max(1.0),
                couchdb: Some(667.0),
                goal: Some(400.0),
            });
        }
        Ok(())
    }

    /// The server's resident memory, if its process is known.
    pub(super) fn resident_bytes(&self) -> Result<Option<u64>, BenchError> {
        self.server
            .as_ref()
            .map(ProcessTree::resident_bytes)
            .transpose()
    }

    /// Asks one question whose answer does work for `count` documents.
    pub(super) async fn measure_once(
        &mut self,
        operation: Operation,
        count: usize,
        request: &Request,
    ) -> Result<Vec<u8>, BenchError> {
        let mut connection = self.open_one().await?;
        let mut answer = Vec::new();
        let kept = &mut answer;
        self.measure(operation, count, async move {
            connection.exchange(request, 200, kept).await?;
            Ok(Latencies::default())
        })
        .await?;
        Ok(answer)
    }

    pub(super) async fn open_one(&self) -> Result<Connection, BenchError> {
        let first = Request::new("GET", format!("/{}", self.database));
        let mut connection = Connection::open(&self.target, 0).await?;
        connection.exchange(&first, 200, &mut Vec::new()).await?;
        Ok(connection)
    }

    pub(super) async fn open(&self, count: usize) -> Result<Vec<Connection>, BenchError> {
        let first = Request::new("GET", format!("/{}", self.database));
        connect(&self.target, count, &first).await
    }

    /// Runs `work` and notes its time and the CPU time of both sides.
    pub(super) async fn measure(
        &mut self,
        operation: Operation,
        count: usize,
        work: impl Future<Output = Result<Latencies, BenchError>>,
    ) -> Result<(), BenchError> {
        let server_before = self.server_snapshot()?;
        let own_before = self.own.snapshot()?;
        let start = Instant::now();
        let latencies = tokio::time::timeout(Duration::from_secs(PHASE_SECONDS_MAX), work)
            .await
            .map_err(|_| BenchError::Timeout(operation.name(), PHASE_SECONDS_MAX))??;
        let elapsed = start.elapsed();
        let client_cpu = self.own.snapshot()?.cpu_since(&own_before);
        self.settle().await?;
        let cpu = server_before
            .zip(self.server_snapshot()?)
            .map(|(before, after)| after.cpu_since(&before));
        self.timed.push(Timed {
            operation,
            count,
            elapsed,
            latency: latencies.summary(),
            cpu,
            client_cpu,
        });
        Ok(())
    }

    /// The CPU times of the server by now, if its process is known.
    pub(super) fn server_snapshot(&self) -> Result<Option<Snapshot>, BenchError> {
        self.server.as_ref().map(ProcessTree::snapshot).transpose()
    }

    /// Waits until the server is quiet, but not for ever.
    pub(super) async fn settle(&self) -> Result<(), BenchError> {
        let Some(server) = &self.server else {
            return Ok(());
        };
        for _ in 0..QUIET_WINDOWS_MAX {
            let before = server.snapshot()?;
            tokio::time::sleep(QUIET_WINDOW).await;
            if server.snapshot()?.cpu_since(&before) < QUIET_WINDOW / 20 {
                break;
            }
        }
        Ok(())
    }
}

/// Reads a listing to its end and counts its rows.
pub(super) async fn list(
    connection: &mut Connection,
    request: &Request,
    rows: usize,
    bytes_min: usize,
) -> Result<(), BenchError> {
    connection.start(request, 200).await?;
    let mut counter = RowCounter::default();
    while let Some(piece) = connection.piece(request).await? {
        counter.feed(&piece);
    }
    match counter.finish() {
        Some((found, bytes)) if found == rows && bytes >= bytes_min => Ok(()),
        Some((found, bytes)) => Err(BenchError::content(
            request.name(),
            format!(
                "{found} rows in {bytes} bytes came, and {rows} in at least {bytes_min} should"
            ),
        )),
        None => Err(BenchError::content(
            request.name(),
            "the answer is not a whole JSON object",
        )),
    }
}

/// A value of a database's information.
fn info(answer: &[u8], pointer: &str) -> Result<serde_json::Value, BenchError> {
    serde_json::from_slice::<serde_json::Value>(answer)
        .ok()
        .and_then(|info| info.pointer(pointer).cloned())
        .ok_or_else(|| {
            let text = String::from_utf8_lossy(answer).trim().to_owned();
            BenchError::content("GET database", format!("no {pointer} in {text}"))
        })
}

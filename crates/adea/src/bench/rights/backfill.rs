//! A role granted to a reader, under which there is much: what is sent to him must not be held in
//! memory, and whoever writes meanwhile must not wait for it.

use super::super::comparison::Comparison;
use super::super::connection::{Connection, Request, Target};
use super::super::error::BenchError;
use super::super::latency::{Latencies, Summary};
use super::super::phases::{Run, list};
use super::Lists;
use serde_json::Value;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often memory is looked at while much is sent.
const MEMORY_POLL: Duration = Duration::from_millis(20);
/// So many writes are timed before, for comparison.
const WRITES: usize = 500;

/// What was seen of a backfill.
#[derive(Default)]
struct Seen {
    each: f64,
    took: Duration,
    /// Memory before, at most, and after.
    memory: [u64; 3],
    /// Writes while nothing was sent.
    quiet: Option<Summary>,
    /// Writes meanwhile.
    busy: Option<Summary>,
}

impl Run {
    /// Grants a reader a role under which there are `count` documents, while writes go on.
    pub(in super::super) async fn access_backfill(
        &mut self,
        count: usize,
    ) -> Result<(), BenchError> {
        if !self.has_rights().await? {
            return Ok(());
        }
        let database = self.make_database("backfill", true).await?;
        self.write(&database, 0..count, 1_000, Lists::Same("late"))
            .await?;
        let (reader, account) = self.make_reader(&["early".to_owned()]).await?;
        let since = self.last_sequence(&reader, &database).await?;
        let quiet = self
            .time_writes(&database, "quiet", |done| done < WRITES)
            .await?;
        self.grant(&account, "late").await?;
        self.settle().await?;
        let path = format!("/{database}%2Fmine/_changes?include_docs=true&since={since}");
        let request = Request::new("GET", path);
        let mut seen = self.watch(&reader, &request, &database, count).await?;
        seen.quiet = quiet;
        self.tell_backfill(count, &seen);
        self.remove_made().await
    }

    /// Reads the feed, and looks at memory and at writes meanwhile.
    async fn watch(
        &self,
        reader: &Arc<Target>,
        request: &Request,
        database: &str,
        count: usize,
    ) -> Result<Seen, BenchError> {
        let memory = || Ok::<_, BenchError>(self.resident_bytes()?.unwrap_or(0));
        let before = memory()?;
        let (ended, took, peak) = (Cell::new(false), Cell::default(), Cell::new(before));
        let sent = async {
            let mut connection = Connection::open(reader, 0).await?;
            let start = Instant::now();
            let sent = list(&mut connection, request, count, 0).await;
            took.set(start.elapsed());
            ended.set(true);
            sent
        };
        let watched = async {
            while !ended.get() {
                peak.set(peak.get().max(memory()?));
                tokio::time::sleep(MEMORY_POLL).await;
            }
            Ok(())
        };
        let busy = Cell::new(None);
        let cost = self
            .cost(async {
                let written = async {
                    busy.set(self.time_writes(database, "busy", |_| !ended.get()).await?);
                    Ok(())
                };
                tokio::try_join!(sent, watched, written)?;
                Ok(Latencies::default())
            })
            .await?;
        Ok(Seen {
            each: cost.each(count),
            took: took.get(),
            memory: [before, peak.get(), memory()?],
            quiet: None,
            busy: busy.get(),
        })
    }

    fn tell_backfill(&mut self, count: usize, seen: &Seen) {
        let [before, peak, after] = seen.memory.map(|bytes| bytes as f64);
        let mut told = vec![
            Comparison::alone(
                format!("backfill of {count} with documents, writes included, a row"),
                "CPU µs",
                seen.each,
            ),
            Comparison::alone(
                format!("backfill of {count}, all of it"),
                "ms",
                seen.took.as_secs_f64() * 1e3,
            ),
            Comparison::alone("memory meanwhile, at most", "bytes", peak).against("before", before),
            Comparison::alone("memory afterwards", "bytes", after).against("before", before),
        ];
        if let Some((busy, quiet)) = seen.busy.zip(seen.quiet) {
            for (name, busy, quiet) in [
                ("PUT meanwhile, p50", busy.p50_us, quiet.p50_us),
                ("PUT meanwhile, p99", busy.p99_us, quiet.p99_us),
            ] {
                told.push(
                    Comparison::alone(name, "ms", f64::from(busy) / 1e3)
                        .against("PUT while nothing is sent", f64::from(quiet) / 1e3),
                );
            }
        }
        self.comparisons.extend(told);
    }

    /// Writes documents one after the other while `more` says so; how long each took.
    async fn time_writes(
        &self,
        database: &str,
        prefix: &str,
        more: impl Fn(usize) -> bool,
    ) -> Result<Option<Summary>, BenchError> {
        let mut connection = Connection::open(&self.target, 0).await?;
        let first = Request::new("GET", format!("/{database}"));
        connection.exchange(&first, 200, &mut Vec::new()).await?;
        let mut latencies = Latencies::default();
        let (mut answer, mut done) = (Vec::new(), 0);
        while more(done) {
            let mut request = Request::new("PUT", format!("/{database}/{prefix}-{done}"));
            request.body = b"{\"access\":[\"others\"]}".to_vec();
            let start = Instant::now();
            connection.exchange(&request, 201, &mut answer).await?;
            latencies.record(start.elapsed());
            done += 1;
        }
        Ok(latencies.summary())
    }

    /// Where the feed of `reader` ends.
    async fn last_sequence(
        &self,
        reader: &Arc<Target>,
        database: &str,
    ) -> Result<String, BenchError> {
        let request = Request::new("GET", format!("/{database}%2Fmine/_changes"));
        let mut connection = Connection::open(reader, 0).await?;
        let mut answer = Vec::new();
        connection.exchange(&request, 200, &mut answer).await?;
        let told: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let last = told.get("last_seq").and_then(Value::as_str);
        let missing = || BenchError::content(request.name(), "no last_seq");
        last.map(str::to_owned).ok_or_else(missing)
    }

    /// Gives an account one more role.
    async fn grant(&self, account: &str, role: &str) -> Result<(), BenchError> {
        let mut document = self.document(account).await?;
        if let Some(roles) = document.get_mut("roles").and_then(Value::as_array_mut) {
            roles.push(Value::from(role));
        }
        let mut request = Request::new("PUT", account);
        request.body = document.to_string().into_bytes();
        self.ask_once(&request, 201).await.map(drop)
    }
}

//! Per-document rights beside the same without them: what an access list costs who writes, reads and
//! listens.
//!
//! Databases and accounts are made for it and removed when the phase has ended. A server that knows no
//! access lists is passed over, and so is one whose process is not known: only CPU time is compared.

mod backfill;
mod feeds;
mod scale;

use super::comparison::Comparison;
use super::connection::{Connection, Request, Target};
use super::corpus::Corpus;
use super::driver::{Question, connect, drive};
use super::error::BenchError;
use super::latency::{Latencies, Summary};
use super::phases::{BULK_CONNECTIONS, Run, list};
use super::wire::{count, find};
use adea_base::Entropy;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often both sides are measured in turn; the least of each counts.
const ROUNDS: usize = 3;
/// So many access lists are used where it is not said how many.
const LISTS: usize = 100;

/// What some work cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// The server's CPU time.
    pub(super) cpu: Duration,
    /// How long its requests took.
    pub(super) latency: Option<Summary>,
}

impl Cost {
    /// CPU microseconds a piece.
    fn each(&self, count: usize) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / count.max(1) as f64
    }
}

/// What is made for a phase, and removed after it.
#[derive(Debug, Default)]
pub(super) struct Made {
    databases: Vec<String>,
    /// Paths of account documents.
    accounts: Vec<String>,
}

/// Which access list each document has.
#[derive(Clone, Copy, Debug)]
enum Lists {
    /// Three principals; so many different lists.
    Three(usize),
    /// One principal of so many.
    One(usize),
    /// One principal of so many, and `all`.
    OneAndAll(usize),
    /// As before, but each so many documents one that has only `few`.
    Few { lists: usize, each: usize },
    /// All the same.
    Same(&'static str),
}

impl Lists {
    /// The array of principals of document `number`.
    fn of(self, number: usize) -> String {
        match self {
            Self::Three(lists) => {
                let list = number % lists.max(1);
                format!("[\"team-{list}\",\"leads-{list}\",\"user:ann-{list}\"]")
            }
            Self::One(lists) => format!("[\"team-{}\"]", number % lists.max(1)),
            Self::OneAndAll(lists) => format!("[\"team-{}\",\"all\"]", number % lists.max(1)),
            Self::Few { each, .. } if number.is_multiple_of(each.max(1)) => "[\"few\"]".to_owned(),
            Self::Few { lists, .. } => Self::OneAndAll(lists).of(number),
            Self::Same(role) => format!("[\"{role}\"]"),
        }
    }
}

/// Creates documents with access lists, `batch` a request; one by PUT.
struct ListedDocuments {
    database: String,
    corpus: Corpus,
    documents: Range<usize>,
    batch: usize,
    lists: Lists,
}

impl ListedDocuments {
    fn requests(&self) -> usize {
        self.documents.len().div_ceil(self.batch.max(1))
    }

    fn part(&self, n: usize) -> Range<usize> {
        let start = self.documents.start + n * self.batch;
        start..(start + self.batch).min(self.documents.end)
    }

    /// The body of a document, behind its opening brace.
    fn fields(&self, number: usize, room: &mut Vec<u8>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"access\":");
        out.extend_from_slice(self.lists.of(number).as_bytes());
        out.push(b',');
        room.clear();
        self.corpus.body(number, room);
        out.extend_from_slice(room.get(1..).unwrap_or_default());
    }
}

impl Question for ListedDocuments {
    fn status(&self) -> u16 {
        201
    }

    fn ask(&self, n: usize, request: &mut Request) {
        let mut room = Vec::with_capacity(self.corpus.body_bytes());
        request.body.clear();
        if self.batch == 1 {
            let number = self.documents.start + n;
            request.method = "PUT";
            request.path = format!("/{}/{}", self.database, self.corpus.id(number));
            request.body.push(b'{');
            self.fields(number, &mut room, &mut request.body);
            return;
        }
        request.method = "POST";
        request.path = format!("/{}/_bulk_docs", self.database);
        request.body.extend_from_slice(b"{\"docs\":");
        let mut front = b"[{".as_slice();
        for number in self.part(n) {
            request.body.extend_from_slice(front);
            let id = format!("\"_id\":\"{}\",", self.corpus.id(number));
            request.body.extend_from_slice(id.as_bytes());
            self.fields(number, &mut room, &mut request.body);
            front = b",{";
        }
        request.body.extend_from_slice(b"]}");
    }

    fn check(&self, n: usize, answer: &[u8]) -> Result<(), String> {
        let expected = self.part(n).len();
        let created = count(answer, b"\"rev\":");
        if created == expected && find(answer, b"\"error\"").is_none() {
            return Ok(());
        }
        Err(format!("{created} of {expected} documents were created"))
    }
}

impl Run {
    /// What documents cost to write with an access list of three principals.
    pub(super) async fn access_write(&mut self, count: usize) -> Result<(), BenchError> {
        if !self.has_rights().await? {
            return Ok(());
        }
        for (name, batch, lists, goal) in [
            ("PUT, access list of 3, 100 lists", 1, LISTS, Some(1.3)),
            (
                "_bulk_docs of 1,000, access list of 3, 100 lists",
                1_000,
                LISTS,
                Some(1.3),
            ),
            (
                "_bulk_docs of 1,000, each document a list of its own",
                1_000,
                usize::MAX,
                None,
            ),
        ] {
            let plain = self.make_database("plain", false).await?;
            let listed = self.make_database("listed", true).await?;
            let (mut without, mut with) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                let range = round * count..(round + 1) * count;
                let lists = Lists::Three(lists);
                without.push(self.write(&plain, range.clone(), batch, lists).await?);
                with.push(self.write(&listed, range, batch, lists).await?);
            }
            let (with, without) = (least(&with), least(&without));
            let figure = Comparison::alone(name, "CPU µs", with.each(count)).against(
                "the same documents without access control",
                without.each(count),
            );
            self.comparisons.push(match goal {
                Some(goal) => figure.at_most(goal),
                None => figure,
            });
            self.remove_made().await?;
        }
        Ok(())
    }

    /// Whether the server knows access lists and its CPU time can be read.
    async fn has_rights(&mut self) -> Result<bool, BenchError> {
        if self.server.is_none() {
            super::progress("passed over: access control is compared by CPU time, see --pid");
            return Ok(false);
        }
        let request = Request::new("GET", format!("/{}/_access", self.database));
        match self.ask_once(&request, 200).await {
            Ok(_) => Ok(true),
            Err(BenchError::Status { status: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a database; `rights` says whether documents say there who may read them.
    async fn make_database(&mut self, what: &str, rights: bool) -> Result<String, BenchError> {
        let name = format!("{}_{what}_{}", self.database, self.made.databases.len());
        let query = if rights { "?access=true" } else { "" };
        let request = Request::new("PUT", format!("/{name}{query}"));
        self.ask_once(&request, 201).await?;
        self.made.databases.push(name.clone());
        Ok(name)
    }

    /// Makes an account that holds `roles`, and signs it in.
    async fn make_reader(&mut self, roles: &[String]) -> Result<(Arc<Target>, String), BenchError> {
        let name = format!("bench-{}", Entropy::System.hex_id());
        let password = Entropy::System.hex_id();
        self.make_account(&name, &password, roles).await?;
        let path = format!("/_users/org.couchdb.user:{name}");
        self.made.accounts.push(path.clone());
        let bearer = self.sign_in_with_token(&name, &password).await?;
        Ok((self.target.with_credential(Some(bearer)), path))
    }

    /// Removes what was made.
    pub(super) async fn remove_made(&mut self) -> Result<(), BenchError> {
        let made = std::mem::take(&mut self.made);
        for name in made.databases {
            let request = Request::new("DELETE", format!("/{name}"));
            self.ask_once(&request, 200).await?;
        }
        for path in made.accounts {
            let revision = self.revision_of(&path).await?;
            let request = Request::new("DELETE", format!("{path}?rev={revision}"));
            self.ask_once(&request, 200).await?;
        }
        self.settle().await
    }

    async fn document(&self, path: &str) -> Result<serde_json::Value, BenchError> {
        let request = Request::new("GET", path);
        let answer = self.ask_once(&request, 200).await?;
        serde_json::from_slice(&answer)
            .map_err(|_| BenchError::content(request.name(), "the answer is not JSON"))
    }

    async fn revision_of(&self, path: &str) -> Result<String, BenchError> {
        let document = self.document(path).await?;
        let revision = document.get("_rev").and_then(serde_json::Value::as_str);
        let missing = || BenchError::content(format!("GET {path}"), "no revision");
        revision.map(str::to_owned).ok_or_else(missing)
    }

    /// Writes documents into `database`.
    async fn write(
        &self,
        database: &str,
        documents: Range<usize>,
        batch: usize,
        lists: Lists,
    ) -> Result<Cost, BenchError> {
        let question = Arc::new(ListedDocuments {
            database: database.to_owned(),
            corpus: self.corpus.clone(),
            documents,
            batch,
            lists,
        });
        let connections = if batch == 1 {
            self.connections
        } else {
            BULK_CONNECTIONS
        };
        let first = Request::new("GET", format!("/{database}"));
        let open = connect(&self.target, connections, &first).await?;
        let requests = question.requests();
        self.cost(drive(open, requests, question)).await
    }

    /// Reads a listing `times` times, which must have `rows` rows.
    async fn read(
        &self,
        target: &Arc<Target>,
        path: String,
        rows: usize,
        times: usize,
    ) -> Result<Cost, BenchError> {
        let request = Request::new("GET", path);
        let mut connection = Connection::open(target, 0).await?;
        // Who signs in and what he was issued is settled by the first.
        list(&mut connection, &request, rows, 0).await?;
        self.settle().await?;
        self.cost(async {
            let mut latencies = Latencies::default();
            for _ in 0..times {
                let start = Instant::now();
                list(&mut connection, &request, rows, 0).await?;
                latencies.record(start.elapsed());
            }
            Ok(latencies)
        })
        .await
    }

    /// Does `work`; what it cost.
    pub(super) async fn cost(
        &self,
        work: impl Future<Output = Result<Latencies, BenchError>>,
    ) -> Result<Cost, BenchError> {
        let before = self.server_snapshot()?;
        let latencies = work.await?;
        self.settle().await?;
        let after = self.server_snapshot()?;
        let cpu = before.zip(after);
        Ok(Cost {
            cpu: cpu.map_or(Duration::ZERO, |(before, after)| after.cpu_since(&before)),
            latency: latencies.summary(),
        })
    }
}

fn least(rounds: &[Cost]) -> Cost {
    let least = rounds.iter().min_by_key(|cost| cost.cpu);
    least.copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_bring_their_lists() {
        let mut question = ListedDocuments {
            database: "d".to_owned(),
            corpus: Corpus::new(1, 510),
            documents: 5..8,
            batch: 2,
            lists: Lists::Three(2),
        };
        let mut request = Request::default();
        question.ask(0, &mut request);
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["docs"][0]["access"][0], "team-1");
        assert_eq!(body["docs"][1]["access"][2], "user:ann-0");
        assert_eq!((question.requests(), question.part(1)), (2, 7..8));
        question.batch = 1;
        question.lists = Lists::Few { lists: 3, each: 5 };
        question.ask(0, &mut request);
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["access"], serde_json::json!(["few"]));
        assert!(question.check(0, b"{\"ok\":true,\"rev\":\"1-a\"}").is_ok());
        assert!(question.check(0, b"{\"error\":\"conflict\"}").is_err());
    }
}

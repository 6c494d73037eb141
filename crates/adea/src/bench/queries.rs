//! The phases that query: views, Mango, and replication by the server.
//!
//! An index is built by the first question that needs it, so its phase is that question; the
//! questions after it find it built. What each answers is checked against what the documents say.

use super::connection::Request;
use super::driver::{Question, drive};
use super::error::BenchError;
use super::phases::Run;
use super::report::Operation;
use super::wire::{count, find};
use serde_json::{Value, json};
use std::sync::Arc;

/// `_find` is asked so often.
const FINDS: usize = 400;
/// Documents that each of them finds.
const FOUND: usize = 25;
/// Each full scan is done so often.
const SCANS: usize = 3;

/// The views that are built.
#[derive(Clone, Copy, Debug)]
pub(super) enum View {
    /// A map function alone.
    Map,
    /// With `_stats`.
    Stats,
    /// With a reduce function in JavaScript.
    Script,
}

impl View {
    fn definition(self) -> (Operation, &'static str, Value) {
        match self {
            Self::Map => (
                Operation::ViewMap,
                "map",
                json!({ "map": "function (doc) { emit(doc.title, null); }" }),
            ),
            Self::Stats => (
                Operation::ViewStats,
                "stats",
                json!({
                    "map": "function (doc) { emit(doc.created, doc.amount); }",
                    "reduce": "_stats",
                }),
            ),
            Self::Script => (
                Operation::ViewScript,
                "script",
                json!({
                    "map": "function (doc) { emit(doc.owner, doc.amount); }",
                    "reduce": "function (keys, values, rereduce) { return sum(values); }",
                }),
            ),
        }
    }
}

impl Run {
    /// Makes a view and asks it once: the cost of indexing each document.
    pub(super) async fn build_view(&mut self, kind: View) -> Result<(), BenchError> {
        let (operation, name, view) = kind.definition();
        self.put_design(name, &view).await?;
        let reduced = view.get("reduce").is_some();
        let limit = if reduced { "" } else { "?limit=1" };
        let path = format!("/{}/_design/{name}/_view/{name}{limit}", self.database);
        let loaded = self.loaded;
        let request = Request::new("GET", path);
        let answer = self.measure_once(operation, loaded, &request).await?;
        let text = String::from_utf8_lossy(&answer);
        let right = if reduced {
            text.contains("\"value\":")
        } else {
            text.contains(&format!("\"total_rows\":{loaded}"))
        };
        complain(right, &request, &answer)
    }

    /// Reads all rows of the view that [`Run::build_view`] made for [`View::Map`].
    pub(super) async fn view_rows(&mut self) -> Result<(), BenchError> {
        let (_, name, view) = View::Map.definition();
        self.put_design(name, &view).await?;
        let built = Request::new(
            "GET",
            format!("/{}/_design/map/_view/map?limit=1", self.database),
        );
        self.ask_once(&built, 200).await?;
        self.settle().await?;
        let path = "/_design/map/_view/map";
        self.listing(Operation::ViewRows, path, false).await
    }

    /// Makes a Mango index and asks it once.
    pub(super) async fn build_index(&mut self) -> Result<(), BenchError> {
        self.put_index().await?;
        let loaded = self.loaded;
        let request = self.find_request(&json!({ "created": { "$gt": null } }), 1);
        let answer = self
            .measure_once(Operation::MangoIndex, loaded, &request)
            .await?;
        complain(count(&answer, b"\"_id\":") == 1, &request, &answer)
    }

    /// Finds 25 documents by an index, again and again.
    pub(super) async fn find_indexed(&mut self) -> Result<(), BenchError> {
        self.put_index().await?;
        let question: Arc<dyn Question> = Arc::new(FindDocuments {
            database: self.database.clone(),
        });
        let mut built = Request::default();
        question.ask(0, &mut built);
        self.ask_once(&built, 200).await?;
        self.settle().await?;
        let open = self.open(self.connections.min(8)).await?;
        self.measure(Operation::Find, FINDS, drive(open, FINDS, question))
            .await
    }

    /// Looks for a document that is not there, without an index.
    pub(super) async fn find_scan(&mut self) -> Result<(), BenchError> {
        let request = self.find_request(&json!({ "owner": "nobody" }), FOUND);
        let loaded = self.loaded;
        let mut connection = self.open_one().await?;
        let asked = request.name();
        self.measure(Operation::FindScan, loaded * SCANS, async move {
            let mut answer = Vec::new();
            for _ in 0..SCANS {
                connection.exchange(&request, 200, &mut answer).await?;
                if find(&answer, b"\"docs\":[").is_none() || find(&answer, b"\"_id\"").is_some() {
                    let complaint = "documents were found, and none has that owner";
                    return Err(BenchError::content(asked, complaint));
                }
            }
            Ok(super::latency::Latencies::default())
        })
        .await
    }

    /// Replicates the database over HTTP into a new one of the same server, which then bears the
    /// cost of the source, of the target and of what drives them.
    pub(super) async fn replicate(&mut self, url: &str) -> Result<(), BenchError> {
        let url = url.strip_suffix('/').unwrap_or(url);
        let copy = format!("{}_copy", self.database);
        let mut request = Request::new("POST", "/_replicate");
        request.body = json!({
            "source": format!("{url}/{}", self.database),
            "target": format!("{url}/{copy}"),
            "create_target": true,
        })
        .to_string()
        .into_bytes();
        let loaded = self.loaded;
        let replicated = self
            .measure_once(Operation::Replicate, loaded, &request)
            .await;
        let info = Request::new("GET", format!("/{copy}"));
        let counted = self.ask_once(&info, 200).await;
        let dropped = self
            .ask_once(&Request::new("DELETE", format!("/{copy}")), 200)
            .await;
        replicated?;
        let counted = counted?;
        dropped?;
        let documents: Value = serde_json::from_slice(&counted).unwrap_or_default();
        let right =
            documents.get("doc_count").and_then(Value::as_u64) >= u64::try_from(loaded).ok();
        complain(right, &info, &counted)
    }

    async fn put_design(&self, name: &str, view: &Value) -> Result<(), BenchError> {
        let path = format!("/{}/_design/{name}", self.database);
        let known = Request::new("GET", path.clone());
        if self.ask_once(&known, 200).await.is_ok() {
            return Ok(());
        }
        let mut request = Request::new("PUT", path);
        request.body = json!({ "language": "javascript", "views": { name: view } })
            .to_string()
            .into_bytes();
        self.ask_once(&request, 201).await.map(drop)
    }

    async fn put_index(&self) -> Result<(), BenchError> {
        let mut request = Request::new("POST", format!("/{}/_index", self.database));
        request.body = json!({
            "index": { "fields": ["created"] }, "ddoc": "by_created", "name": "by_created",
        })
        .to_string()
        .into_bytes();
        self.ask_once(&request, 200).await.map(drop)
    }

    fn find_request(&self, selector: &Value, limit: usize) -> Request {
        let mut request = Request::new("POST", format!("/{}/_find", self.database));
        request.body = json!({ "selector": selector, "limit": limit })
            .to_string()
            .into_bytes();
        request
    }
}

/// Finds 25 documents from some day on, by the index.
struct FindDocuments {
    database: String,
}

impl Question for FindDocuments {
    fn status(&self) -> u16 {
        200
    }

    fn ask(&self, n: usize, request: &mut Request) {
        let (month, day) = (n % 11 + 1, n % 27 + 1);
        request.method = "POST";
        request.path = format!("/{}/_find", self.database);
        request.body = json!({
            "selector": { "created": { "$gt": format!("2026-{month:02}-{day:02}") } },
            "limit": FOUND,
        })
        .to_string()
        .into_bytes();
    }

    fn check(&self, _n: usize, answer: &[u8]) -> Result<(), String> {
        let found = count(answer, b"\"_id\":");
        // A small database may have fewer documents after that day.
        if found > 0 && found <= FOUND && find(answer, b"\"warning\"").is_none() {
            return Ok(());
        }
        Err(format!("{found} documents were found, or not by the index"))
    }
}

fn complain(right: bool, request: &Request, answer: &[u8]) -> Result<(), BenchError> {
    if right {
        return Ok(());
    }
    let text = String::from_utf8_lossy(answer);
    let beginning: String = text.chars().take(200).collect();
    Err(BenchError::content(
        request.name(),
        format!("the answer is not right: {beginning}"),
    ))
}

//! A whole run against a small server in memory, which may be told to answer wrongly: then the run
//! must end without a result.

use super::*;
use bytes::Bytes;
use clap::Parser;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: BenchArguments,
}

fn parse(url: &str, line: &str) -> BenchArguments {
    let words = format!("bench {url} {line}");
    let words = words.split_whitespace();
    Line::try_parse_from(words).unwrap().arguments
}

#[test]
fn all_phases_run_unless_some_are_named() {
    assert_eq!(
        parse("http://h", "").phases().count(),
        PHASES.len() - LARGE.len()
    );
    let arguments = parse("http://h", "--only get,put,changes-docs");
    let only: Vec<_> = arguments.phases().collect();
    assert_eq!(only, [Phase::Put, Phase::Get, Phase::ChangesDocs]);
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_is_done() {
    assert!(parse("http://h", "--listeners 5").check().is_ok());
    for line in ["--docs 0", "--doc-size 10", "--listeners 100000000"] {
        assert!(parse("http://h", line).check().is_err(), "{line}");
    }
    let line = "--listeners 100000000 --only put";
    assert!(parse("http://h", line).check().is_ok());
}

/// What the server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    LosesARow,
    BreaksAListing,
    RefusesADocument,
    ForgetsBodies,
    TellsTwice,
    EndsFeeds,
    CountsWrongly,
    WantsAPassword,
}

/// The documents as they came, in order, and the feeds that wait.
#[derive(Default)]
struct State {
    documents: Vec<(String, Value)>,
    feeds: Vec<mpsc::UnboundedSender<Bytes>>,
}

struct Server {
    wrong: Wrong,
    state: Mutex<State>,
}

/// A body that ends when the sender is gone.
struct Feed(mpsc::UnboundedReceiver<Bytes>);

impl Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let received = self.0.poll_recv(context);
        received.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

type Answer = (u16, BoxBody<Bytes, Infallible>);

fn whole(status: u16, text: impl Into<Bytes>) -> Answer {
    (status, Full::new(text.into()).boxed())
}

impl Server {
    fn answer(&self, method: &Method, path: &str, query: &str, body: &[u8]) -> Answer {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        if self.wrong == Wrong::WantsAPassword {
            return whole(401, "{\"error\":\"unauthorized\"}");
        }
        match (method.as_str(), segments.as_slice()) {
            ("GET", [""]) => whole(200, "{\"version\":\"1\",\"vendor\":{\"name\":\"fake\"}}"),
            ("PUT", [_]) => whole(201, "{\"ok\":true}"),
            ("DELETE", [_]) => whole(200, "{\"ok\":true}"),
            ("GET", [_]) => whole(200, self.info().to_string()),
            ("POST", [_, "_compact"]) => whole(202, "{\"ok\":true}"),
            ("POST", [_, "_bulk_docs"]) => whole(201, self.bulk(&body)),
            ("GET", [_, "_changes"]) if query.contains("continuous") => self.feed(),
            ("GET", [_, "_changes" | "_all_docs"]) => whole(200, self.listing(query)),
            ("GET", [_, id]) => whole(200, self.get(id)),
            ("PUT", [_, id]) => whole(201, self.put(id, body)),
            other => panic!("nobody asks {other:?}"),
        }
    }

    fn info(&self) -> Value {
        let count = self.state.lock().unwrap().documents.len();
        let count = count + usize::from(self.wrong == Wrong::CountsWrongly);
        json!({"doc_count": count, "compact_running": false, "sizes": {"file": 300 * count}})
    }

    fn put(&self, id: &str, body: Value) -> String {
        let mut state = self.state.lock().unwrap();
        state.documents.push((id.to_owned(), body));
        let row = format!("{{\"seq\":\"1\",\"id\":\"{id}\",\"changes\":[]}}\n");
        let times = if self.wrong == Wrong::TellsTwice {
            2
        } else {
            1
        };
        let told = Bytes::from(format!("\n{}", row.repeat(times)));
        state.feeds.retain(|feed| feed.send(told.clone()).is_ok());
        if self.wrong == Wrong::EndsFeeds {
            state.feeds.clear();
        }
        format!("{{\"ok\":true,\"id\":\"{id}\",\"rev\":\"1-a\"}}\n")
    }

    fn bulk(&self, body: &Value) -> String {
        let mut state = self.state.lock().unwrap();
        let mut rows = Vec::new();
        for doc in body["docs"].as_array().unwrap() {
            let id = doc["_id"].as_str().unwrap().to_owned();
            if self.wrong == Wrong::RefusesADocument && rows.len() == 3 {
                rows.push(json!({"id": id, "error": "conflict"}));
                continue;
            }
            rows.push(json!({"ok": true, "id": id, "rev": "1-a"}));
            state.documents.push((id, doc.clone()));
        }
        Value::from(rows).to_string()
    }

    fn get(&self, id: &str) -> String {
        let state = self.state.lock().unwrap();
        let (_, doc) = state.documents.iter().find(|(own, _)| own == id).unwrap();
        let fields = doc.to_string().replace(&format!("\"_id\":\"{id}\","), "");
        let kept = if self.wrong == Wrong::ForgetsBodies {
            "}"
        } else {
            &fields[1..]
        };
        format!("{{\"_id\":\"{id}\",\"_rev\":\"1-a\",{kept}\n")
    }

    fn listing(&self, query: &str) -> String {
        let state = self.state.lock().unwrap();
        let lost = usize::from(self.wrong == Wrong::LosesARow);
        let rows = state.documents.iter().skip(lost).map(|(id, doc)| {
            let row = json!({"id": id, "changes": [{"rev": "1-a"}]});
            let with = json!({"id": id, "value": {"rev": "1-a"}, "doc": doc});
            if query.contains("include_docs") {
                with
            } else {
                row
            }
        });
        let text = json!({"results": rows.collect::<Vec<_>>(), "pending": 0}).to_string();
        let kept = text.len() - usize::from(self.wrong == Wrong::BreaksAListing);
        text[..kept].to_owned()
    }

    fn feed(&self) -> Answer {
        let (sender, receiver) = mpsc::unbounded_channel();
        sender.send(Bytes::from_static(b"\n")).unwrap();
        self.state.lock().unwrap().feeds.push(sender);
        (200, Feed(receiver).boxed())
    }
}

/// Serves on a port of its own until the test's runtime ends.
async fn serve(wrong: Wrong) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://a:b@{}", listener.local_addr().unwrap());
    let server = Arc::new(Server {
        wrong,
        state: Mutex::default(),
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = Arc::clone(&server);
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let server = Arc::clone(&server);
                async move {
                    assert!(request.headers().contains_key("authorization"));
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let query = head.uri.query().unwrap_or_default();
                    let (status, body) = server.answer(&head.method, head.uri.path(), query, &body);
                    Response::builder().status(status).body(body)
                }
            });
            tokio::spawn(async move {
                let http = hyper::server::conn::http1::Builder::new();
                drop(http.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    url
}

async fn bench(wrong: Wrong, line: &str) -> Result<Report, BenchError> {
    let url = serve(wrong).await;
    let line = format!("{line} --docs 40 --connections 5 --listeners 7 --tells 3");
    measure(&parse(&url, &line), None).await
}

#[tokio::test]
async fn a_whole_run_measures_everything() {
    let pid = std::process::id();
    let only = "listeners,put,bulk,bulk100,get,changes,changes-docs,all-docs,disk";
    let report = bench(Wrong::Nothing, &format!("--pid {pid} --only {only}"))
        .await
        .unwrap();
    let counts: Vec<_> = report
        .timed
        .iter()
        .map(|t| (t.operation, t.count))
        .collect();
    let documents = 40 * 3 + 3;
    assert_eq!(
        counts,
        [
            (Operation::Put, 40),
            (Operation::Bulk, 40),
            (Operation::BulkSmall, 40),
            (Operation::Get, 40),
            (Operation::Changes, documents * 3),
            (Operation::ChangesDocs, documents * 3),
            (Operation::AllDocs, documents * 3),
            (Operation::Tell, 21),
            (Operation::Compact, documents),
        ]
    );
    assert!(report.timed.iter().all(|timed| timed.cpu.is_some()));
    let disk = report
        .quantities
        .iter()
        .find(|q| q.name.starts_with("disk"));
    assert_eq!(disk.unwrap().bytes, 300.0);
    let text = report.text();
    assert!(text.contains("(fake 1)") && text.contains("memory per waiting listener"));
}

#[tokio::test]
async fn phases_that_only_read_get_something_to_read() {
    let report = bench(Wrong::Nothing, "--only get,all-docs").await.unwrap();
    let counts: Vec<_> = report
        .timed
        .iter()
        .map(|t| (t.operation, t.count))
        .collect();
    assert_eq!(counts, [(Operation::Get, 40), (Operation::AllDocs, 120)]);
}

/// Runs against a server that does `wrong`, and expects a complaint with `part` in it.
async fn check(wrong: Wrong, only: &str, part: &str) {
    let said = bench(wrong, &format!("--only {only}"))
        .await
        .unwrap_err()
        .to_string();
    assert!(said.contains(part), "{wrong:?}: {said}");
}

#[tokio::test]
async fn a_server_that_answers_wrongly_has_no_result() {
    check(Wrong::LosesARow, "changes", "39 rows").await;
    check(Wrong::LosesARow, "all-docs", "39 rows").await;
    check(
        Wrong::BreaksAListing,
        "changes-docs",
        "not a whole JSON object",
    )
    .await;
    check(Wrong::RefusesADocument, "bulk", "39 of 40 documents").await;
    check(Wrong::RefusesADocument, "get", "39 of 40 documents").await;
    check(Wrong::ForgetsBodies, "get", "expected the document").await;
    check(Wrong::TellsTwice, "listeners", "once").await;
    check(Wrong::EndsFeeds, "listeners", "feed ended").await;
    check(Wrong::CountsWrongly, "disk", "it counts 41 documents").await;
    check(Wrong::WantsAPassword, "put", "401").await;
}

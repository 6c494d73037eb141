//! Statistics as `CouchDB` tells them: nested by name, each with its kind and what it means.
//!
//! What is told was counted here; what `CouchDB` counts and nobody here does is not told at all, so
//! that no zero looks like a measurement.

use std::collections::BTreeMap;

use adea_documents::json::write_json_string;
use http::StatusCode;

use crate::body::Response;
use crate::couch::node::NODE;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// A part of the statistics.
enum Entry {
    Section(BTreeMap<String, Self>),
    /// JSON.
    Metric(String),
}

/// The statistics on their way.
struct Tree(BTreeMap<String, Entry>);

impl Tree {
    fn put(&mut self, path: &[&str], kind: &str, value: &str, about: &str) {
        let mut json = format!("{{\"value\":{value},\"type\":\"{kind}\",\"desc\":").into_bytes();
        write_json_string(&mut json, about);
        json.push(b'}');
        let Some((last, sections)) = path.split_last() else {
            return;
        };
        let mut at = &mut self.0;
        for section in sections {
            let entry = at
                .entry((*section).to_owned())
                .or_insert_with(|| Entry::Section(BTreeMap::new()));
            let Entry::Section(inner) = entry else {
                return;
            };
            at = inner;
        }
        let json = String::from_utf8_lossy(&json).into_owned();
        at.insert((*last).to_owned(), Entry::Metric(json));
    }

    fn count(&mut self, path: &[&str], value: u64, about: &str) {
        self.put(path, "counter", &value.to_string(), about);
    }

    fn gauge(&mut self, path: &[&str], value: u64, about: &str) {
        self.put(path, "gauge", &value.to_string(), about);
    }
}

fn write(out: &mut Vec<u8>, section: &BTreeMap<String, Entry>) {
    out.push(b'{');
    for (n, (name, entry)) in section.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_json_string(out, name);
        out.push(b':');
        match entry {
            Entry::Section(inner) => write(out, inner),
            Entry::Metric(json) => out.extend_from_slice(json.as_bytes()),
        }
    }
    out.push(b'}');
}

/// Answers `_stats`, all of it or the part under `path`.
pub(super) fn stats(exchange: &Exchange, path: &[&str]) -> Result<Response, ApiError> {
    let mut tree = Tree(BTreeMap::new());
    of_requests(exchange, &mut tree);
    of_store(exchange, &mut tree);
    let mut out = Vec::with_capacity(8 << 10);
    let mut at = &tree.0;
    let mut found = None;
    for (n, name) in path.iter().enumerate() {
        match at.get(*name) {
            Some(Entry::Section(inner)) => at = inner,
            Some(Entry::Metric(json)) if n + 1 == path.len() => found = Some(json),
            Some(Entry::Metric(_)) | None => return Ok(reply::json(StatusCode::OK, "{}\n")),
        }
    }
    match found {
        Some(json) => out.extend_from_slice(json.as_bytes()),
        None => write(&mut out, at),
    }
    out.push(b'\n');
    Ok(reply::json(StatusCode::OK, out))
}

fn of_requests(exchange: &Exchange, tree: &mut Tree) {
    let metrics = &exchange.app.metrics;
    let mut requests = 0;
    for (method, count) in metrics.by_method() {
        requests += count;
        let about = format!("number of HTTP {method} requests");
        tree.count(&["couchdb", "httpd_request_methods", method], count, &about);
    }
    for (status, count) in metrics.since_start().by_status() {
        let name = status.to_string();
        let about = format!("number of HTTP {status} responses");
        tree.count(&["couchdb", "httpd_status_codes", &name], count, &about);
    }
    tree.count(
        &["couchdb", "httpd", "requests"],
        requests,
        "number of HTTP requests",
    );
    tree.gauge(
        &["couchdb", "httpd", "clients_requesting_changes"],
        u64::try_from(metrics.open_feeds()).unwrap_or(0),
        "number of clients for continuous _changes",
    );
    tree.gauge(
        &["couchdb", "httpd", "open_connections"],
        u64::try_from(metrics.open_connections()).unwrap_or(0),
        "number of connections that are open",
    );
    let (received, sent) = metrics.bytes();
    tree.count(
        &["couchdb", "httpd", "received_bytes"],
        received,
        "bytes read from connections",
    );
    tree.count(
        &["couchdb", "httpd", "sent_bytes"],
        sent,
        "bytes written to connections",
    );
    tree.put(
        &["couchdb", "request_time"],
        "histogram",
        &metrics.since_start().durations(),
        "length of a request inside CouchDB without MochiWeb",
    );
}

fn of_store(exchange: &Exchange, tree: &mut Tree) {
    let pod = &exchange.app.pod;
    let (read, written) = pod.document_counts();
    let (commits, syncs, topics) = pod.counts();
    tree.count(
        &["couchdb", "database_reads"],
        read,
        "number of times a document was read from a database",
    );
    tree.count(
        &["couchdb", "database_writes"],
        written,
        "number of times a database was changed",
    );
    tree.count(
        &["couchdb", "document_writes"],
        written,
        "number of document write operations",
    );
    tree.count(
        &["couchdb", "commits"],
        commits,
        "number of commits of the store",
    );
    tree.count(&["fsync", "count"], syncs, "number of fsync calls");
    tree.count(
        &["adea", "limited_requests"],
        pod.limited(),
        "number of requests refused because they came too often",
    );
    tree.gauge(
        &["couchdb", "followed_databases"],
        topics as u64,
        "number of databases that somebody listens to",
    );
    tree.gauge(
        &["couchdb", "open_databases"],
        pod.remembered_databases() as u64,
        "number of open databases",
    );
    if let Some(files) = open_files() {
        tree.gauge(
            &["couchdb", "open_os_files"],
            files,
            "number of file descriptors CouchDB has open",
        );
    }
}

/// Descriptors that this process has open, where the system tells.
fn open_files() -> Option<u64> {
    let listed = std::fs::read_dir("/proc/self/fd").ok()?;
    Some(listed.count() as u64)
}

/// A number from `/proc/self/status`.
fn of_process(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
    number.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Answers `_system`, in the members that `CouchDB`'s answer has; those of its virtual machine that
/// have nothing like them here are 0.
pub(super) fn system(exchange: &Exchange) -> Response {
    let (received, sent) = exchange.app.metrics.bytes();
    let uptime = exchange.app.started.elapsed().as_secs();
    let resident = of_process("VmRSS") * 1_024;
    let data = of_process("VmData") * 1_024;
    let threads = of_process("Threads");
    let switches = of_process("voluntary_ctxt_switches") + of_process("nonvoluntary_ctxt_switches");
    let body = format!(
        "{{\"uptime\":{uptime},\"memory\":{{\"other\":{data},\"atom\":0,\"atom_used\":0,\"processes\":{resident},\"processes_used\":{resident},\"binary\":0,\"code\":0,\"ets\":0}},\"run_queue\":0,\"run_queue_dirty_cpu\":0,\"ets_table_count\":0,\"context_switches\":{switches},\"reductions\":0,\"garbage_collection_count\":0,\"words_reclaimed\":0,\"io_input\":{received},\"io_output\":{sent},\"os_proc_count\":0,\"stale_proc_count\":0,\"process_count\":{threads},\"process_limit\":0,\"message_queues\":{{}},\"internal_replication_jobs\":0,\"distribution\":{{}}}}\n"
    );
    reply::json(StatusCode::OK, body)
}

/// Answers `_smoosh/status`: compactions run when they are asked for, and none waits.
pub(super) fn smoosh(exchange: &Exchange) -> Response {
    let active = exchange.app.pod.compactions().len();
    let body = format!(
        "{{\"channels\":{{\"ratio_dbs\":{{\"active\":{active},\"starting\":0,\"waiting\":{{\"size\":0,\"min\":0,\"max\":0}}}}}},\"node\":\"{NODE}\"}}\n"
    );
    reply::json(StatusCode::OK, body)
}

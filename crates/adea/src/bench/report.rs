//! What was measured, beside what `CouchDB` 3.5 needs for the same and beside the goals.
//!
//! The yardstick is CPU time, not operations a second: the client runs on the same machine and
//! takes its share of the processors, but not of the server's CPU time.

use super::comparison::{Comparison, table};
use super::latency::Summary;
use serde_json::{Value, json};
use std::time::Duration;

/// What is done many times in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// A document by PUT.
    Put,
    /// A document in a batch of 1,000.
    Bulk,
    /// A document in a batch of 100.
    BulkSmall,
    /// A document read by id.
    Get,
    /// A row of the changes without the document.
    Changes,
    /// A row of the changes with the document.
    ChangesDocs,
    /// A row of all documents with the document.
    AllDocs,
    /// A change told to one listener.
    Tell,
    /// A document compacted.
    Compact,
    /// A document indexed by a map function.
    ViewMap,
    /// A document indexed by a map function and `_stats`.
    ViewStats,
    /// A document indexed by a map and a reduce function.
    ViewScript,
    /// A row of a view.
    ViewRows,
    /// A document indexed by Mango.
    MangoIndex,
    /// 25 documents found by an index.
    Find,
    /// A document looked at by a selector.
    FindScan,
    /// A document replicated, both sides.
    Replicate,
    /// A document read by id by nobody in particular.
    GetAnonymous,
    /// What an access token costs besides.
    AuthBearer,
    /// What the cookie of a session costs besides.
    AuthCookie,
    /// What a temporary name and password cost besides.
    AuthBasic,
}

impl Operation {
    /// How the row is headed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Put => "PUT document",
            Self::Bulk => "_bulk_docs of 1,000, per document",
            Self::BulkSmall => "_bulk_docs of 100, per document",
            Self::Get => "GET document",
            Self::Changes => "_changes, per row",
            Self::ChangesDocs => "_changes with include_docs, per row",
            Self::AllDocs => "_all_docs with include_docs, per row",
            Self::Tell => "change told, per listener",
            Self::Compact => "compaction, per document",
            Self::ViewMap => "view with map, per document",
            Self::ViewStats => "view with _stats, per document",
            Self::ViewScript => "view with JS reduce, per document",
            Self::ViewRows => "view read, per row",
            Self::MangoIndex => "Mango index, per document",
            Self::Find => "_find of 25 documents by index",
            Self::FindScan => "_find without index, per document",
            Self::Replicate => "replication, per document, both sides",
            Self::GetAnonymous => "GET document, anonymously",
            Self::AuthBearer => "besides, with an access token",
            Self::AuthCookie => "besides, with a session cookie",
            Self::AuthBasic => "besides, with temporary Basic",
        }
    }

    /// What `CouchDB` 3.5 spends on it on a machine with two cores, in CPU microseconds.
    pub(super) fn couchdb_us(self) -> Option<f64> {
        match self {
            Self::Put => Some(1050.0),
            Self::Bulk => Some(120.0),
            Self::Get => Some(640.0),
            Self::Changes => Some(23.0),
            Self::ChangesDocs => Some(100.0),
            Self::AllDocs => Some(66.0),
            Self::Tell => Some(400.0),
            Self::ViewMap => Some(310.0),
            Self::ViewStats => Some(275.0),
            Self::ViewScript => Some(420.0),
            Self::ViewRows => Some(19.0),
            Self::MangoIndex => Some(160.0),
            Self::Find => Some(18_000.0),
            Self::FindScan => Some(47.0),
            Self::BulkSmall
            | Self::Compact
            | Self::Replicate
            | Self::GetAnonymous
            | Self::AuthBearer
            | Self::AuthCookie
            | Self::AuthBasic => None,
        }
    }

    /// The most that it is to cost, in CPU microseconds, where that is not told by `CouchDB`'s.
    pub(super) fn goal_us(self) -> Option<f64> {
        if self == Self::Replicate {
            // 30,000 documents a second on each side.
            return Some(2e6 / 30_000.0);
        }
        [Self::AuthBearer, Self::AuthCookie]
            .contains(&self)
            .then_some(10.0)
    }

    /// How many times cheaper than that it is to be.
    pub(super) fn goal(self) -> Option<f64> {
        match self {
            Self::Put | Self::Get | Self::AllDocs => Some(15.0),
            Self::Changes | Self::ChangesDocs => Some(20.0),
            Self::Bulk => Some(8.0),
            Self::Tell => Some(40.0),
            Self::ViewMap | Self::ViewStats | Self::ViewScript | Self::ViewRows => Some(10.0),
            Self::MangoIndex => Some(25.0),
            Self::Find => Some(150.0),
            Self::FindScan => Some(20.0),
            Self::BulkSmall
            | Self::Compact
            | Self::Replicate
            | Self::GetAnonymous
            | Self::AuthBearer
            | Self::AuthCookie
            | Self::AuthBasic => None,
        }
    }
}

/// The result of a phase.
#[derive(Debug)]
pub(super) struct Timed {
    /// What was done.
    pub(super) operation: Operation,
    /// How often.
    pub(super) count: usize,
    /// In how much time.
    pub(super) elapsed: Duration,
    /// How long the requests took.
    pub(super) latency: Option<Summary>,
    /// The server's CPU time, if its process is known.
    pub(super) cpu: Option<Duration>,
    /// The client's CPU time.
    pub(super) client_cpu: Duration,
}

impl Timed {
    fn cpu_us(&self) -> Option<f64> {
        self.cpu.map(|cpu| per(cpu, self.count))
    }

    /// Whether the goal is met, if there is one and the CPU time is known.
    fn met(&self) -> Option<bool> {
        if let Some(most) = self.operation.goal_us() {
            return self.cpu_us().map(|us| us <= most);
        }
        cheaper(self)
            .zip(self.operation.goal())
            .map(|(is, goal)| is >= goal)
    }
}

/// A result that is not a time.
#[derive(Debug)]
pub(super) struct Quantity {
    /// What.
    pub(super) name: &'static str,
    /// In bytes.
    pub(super) bytes: f64,
    /// The figure of `CouchDB` 3.5, where there is one.
    pub(super) couchdb: Option<f64>,
    /// The most it is to be.
    pub(super) goal: Option<f64>,
}

/// What is possible on this machine: the least that an operation can cost.
#[derive(Debug)]
pub(super) struct Limit {
    /// What was measured.
    pub(super) name: String,
    /// Which operations cannot be cheaper; limits of the same operation add up.
    pub(super) operations: &'static [Operation],
    /// How often it was done.
    pub(super) count: usize,
    /// In how much time.
    pub(super) elapsed: Duration,
    /// With how much CPU time.
    pub(super) cpu: Duration,
}

/// All that was measured.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What was measured, on what, and with which arguments.
    pub(super) head: Vec<(&'static str, String)>,
    /// The phases.
    pub(super) timed: Vec<Timed>,
    /// Memory and disk.
    pub(super) quantities: Vec<Quantity>,
    /// Work done in two ways.
    pub(super) comparisons: Vec<Comparison>,
    /// The limits, if asked for.
    pub(super) limits: Vec<Limit>,
}

impl Report {
    /// As tables.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for (name, value) in &self.head {
            line(&mut out, format_args!("{name:12} {value}"));
        }
        self.text_timed(&mut out);
        self.text_quantities(&mut out);
        table(&self.comparisons, &mut out);
        self.text_limits(&mut out);
        out
    }

    fn text_timed(&self, out: &mut String) {
        if self.timed.is_empty() {
            return;
        }
        line(
            out,
            format_args!(
                "\n{:37} {:>9} {:>8} {:>8} {:>8} {:>9} {:>8} {:>8} {:>7} {:>5}",
                "operation",
                "per sec",
                "p50 ms",
                "p99 ms",
                "max ms",
                "CPU µs",
                "client",
                "CouchDB",
                "cheaper",
                "goal"
            ),
        );
        for timed in &self.timed {
            let times = timed.latency.as_ref();
            let ms = |us: Option<u32>| optional(us.map(|us| f64::from(us) / 1e3), 2);
            let cheaper = cheaper(timed);
            line(
                out,
                format_args!(
                    "{:37} {:>9} {:>8} {:>8} {:>8} {:>9} {:>8.1} {:>8} {:>7} {:>5} {}",
                    timed.operation.name(),
                    grouped(rate(timed.count, timed.elapsed)),
                    ms(times.map(|times| times.p50_us)),
                    ms(times.map(|times| times.p99_us)),
                    ms(times.map(|times| times.max_us)),
                    optional(timed.cpu_us(), 1),
                    per(timed.client_cpu, timed.count),
                    optional(timed.operation.couchdb_us(), 0),
                    optional(cheaper, 1),
                    optional(timed.operation.goal(), 0),
                    verdict(timed.met()),
                ),
            );
        }
    }

    fn text_quantities(&self, out: &mut String) {
        if self.quantities.is_empty() {
            return;
        }
        line(
            out,
            format_args!(
                "\n{:37} {:>13} {:>13} {:>13}",
                "quantity, in bytes", "here", "CouchDB", "goal, most"
            ),
        );
        for quantity in &self.quantities {
            line(
                out,
                format_args!(
                    "{:37} {:>13} {:>13} {:>13} {}",
                    quantity.name,
                    grouped(quantity.bytes),
                    quantity.couchdb.map_or_else(|| "-".to_owned(), grouped),
                    quantity.goal.map_or_else(|| "-".to_owned(), grouped),
                    verdict(quantity.goal.map(|goal| quantity.bytes <= goal)),
                ),
            );
        }
    }

    fn text_limits(&self, out: &mut String) {
        if self.limits.is_empty() {
            return;
        }
        line(
            out,
            format_args!(
                "\n{:37} {:>9} {:>9}",
                "limit on this machine", "per sec", "CPU µs"
            ),
        );
        for limit in &self.limits {
            line(
                out,
                format_args!(
                    "{:37} {:>9} {:>9.1}",
                    limit.name,
                    grouped(rate(limit.count, limit.elapsed)),
                    per(limit.cpu, limit.count)
                ),
            );
        }
        line(
            out,
            format_args!(
                "\n{:37} {:>9} {:>9} {:>9}",
                "against the limit", "CPU µs", "limit", "times"
            ),
        );
        for (timed, cpu, limit) in self.against_limits() {
            line(
                out,
                format_args!(
                    "{:37} {cpu:>9.1} {limit:>9.1} {:>9.1} {}",
                    timed.operation.name(),
                    cpu / limit,
                    verdict(Some(cpu <= 2.0 * limit)),
                ),
            );
        }
    }

    /// Each operation that has a limit: its CPU time and the sum of its limits, in microseconds.
    fn against_limits(&self) -> impl Iterator<Item = (&Timed, f64, f64)> {
        self.timed.iter().filter_map(|timed| {
            let limit: f64 = self
                .limits
                .iter()
                .filter(|limit| limit.operations.contains(&timed.operation))
                .map(|limit| per(limit.cpu, limit.count))
                .sum();
            (limit > 0.0).then_some((timed, timed.cpu_us()?, limit))
        })
    }

    /// As one JSON object.
    pub(super) fn json(&self) -> Value {
        let head: serde_json::Map<String, Value> = self
            .head
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let timed: Vec<Value> = self.timed.iter().map(json_timed).collect();
        let quantities: Vec<Value> = self
            .quantities
            .iter()
            .map(|quantity| {
                json!({
                    "name": quantity.name,
                    "bytes": quantity.bytes,
                    "couchdb": quantity.couchdb,
                    "goal": quantity.goal,
                })
            })
            .collect();
        let limits: Vec<Value> = self
            .limits
            .iter()
            .map(|limit| {
                json!({
                    "name": limit.name,
                    "operations": limit.count,
                    "per_second": rate(limit.count, limit.elapsed),
                    "cpu_us": per(limit.cpu, limit.count),
                })
            })
            .collect();
        let against: Vec<Value> = self
            .against_limits()
            .map(|(timed, cpu, limit)| {
                json!({
                    "operation": timed.operation.name(),
                    "cpu_us": cpu,
                    "limit_us": limit,
                    "times": cpu / limit,
                })
            })
            .collect();
        json!({
            "run": head,
            "operations": timed,
            "quantities": quantities,
            "side_by_side": self.comparisons.iter().map(Comparison::json).collect::<Vec<_>>(),
            "limits": limits,
            "against_limits": against,
        })
    }
}

fn json_timed(timed: &Timed) -> Value {
    json!({
        "operation": timed.operation.name(),
        "operations": timed.count,
        "seconds": timed.elapsed.as_secs_f64(),
        "per_second": rate(timed.count, timed.elapsed),
        "latency_us": timed.latency.map(|times| json!({
            "p50": times.p50_us,
            "p99": times.p99_us,
            "max": times.max_us,
        })),
        "cpu_us": timed.cpu_us(),
        "client_cpu_us": per(timed.client_cpu, timed.count),
        "couchdb_cpu_us": timed.operation.couchdb_us(),
        "times_cheaper": cheaper(timed),
        "goal": timed.operation.goal(),
    })
}

fn cheaper(timed: &Timed) -> Option<f64> {
    Some(timed.operation.couchdb_us()? / timed.cpu_us().filter(|us| *us > 0.0)?)
}

/// Microseconds a piece.
fn per(total: Duration, count: usize) -> f64 {
    total.as_secs_f64() * 1e6 / count.max(1) as f64
}

fn rate(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(1e-9)
}

fn optional(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

fn verdict(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "",
    }
}

/// A whole number with commas between thousands.
pub(super) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Appends a line, without spaces at its end.
pub(super) fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.push_str(&std::fmt::format(text));
    let end = out.trim_end().len();
    out.truncate(end);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let timed = |operation, cpu_us: u64| Timed {
            operation,
            count: 1_000,
            elapsed: Duration::from_millis(100),
            latency: Some(Summary {
                p50_us: 1_500,
                p99_us: 2_000,
                max_us: 123_456,
            }),
            cpu: Some(Duration::from_micros(cpu_us * 1_000)),
            client_cpu: Duration::from_millis(5),
        };
        let limit = |operations, cpu_us: u64| Limit {
            name: "a limit".to_owned(),
            operations,
            count: 1_000,
            elapsed: Duration::from_millis(50),
            cpu: Duration::from_micros(cpu_us * 1_000),
        };
        Report {
            head: vec![("server", "test".to_owned())],
            timed: vec![timed(Operation::Put, 60), timed(Operation::Get, 64)],
            quantities: vec![Quantity {
                name: "memory, idle",
                bytes: 12_345_678.4,
                couchdb: Some(78e6),
                goal: Some(25e6),
            }],
            comparisons: Vec::new(),
            limits: vec![
                limit(&[Operation::Put], 20),
                limit(&[Operation::Put], 15),
                limit(&[Operation::Get], 16),
            ],
        }
    }

    #[test]
    fn the_table_says_what_was_met_and_what_was_missed() {
        let text = report().text();
        let find = |name: &str, nth: usize| -> Vec<String> {
            let mut lines = text.lines().filter(|line| line.starts_with(name));
            let words = lines.nth(nth).unwrap().split_whitespace();
            words.map(str::to_owned).collect()
        };
        let put = "PUT document 10,000 1.50 2.00 123.46 60.0 5.0 1050 17.5 15 met";
        assert_eq!(find("PUT document", 0).join(" "), put);
        assert_eq!(find("GET document", 0).last().unwrap(), "MISSED");
        assert_eq!(
            find("memory", 0).join(" "),
            "memory, idle 12,345,678 78,000,000 25,000,000 met"
        );
        assert_eq!(
            find("PUT document", 1).join(" "),
            "PUT document 60.0 35.0 1.7 met"
        );
        assert_eq!(
            find("GET document", 1).join(" "),
            "GET document 64.0 16.0 4.0 MISSED"
        );
    }

    #[test]
    fn json_has_the_same() {
        let json = report().json();
        assert_eq!(json["operations"][0]["times_cheaper"], 17.5);
        assert_eq!(json["operations"][0]["latency_us"]["p99"], 2_000);
        assert_eq!(json["against_limits"][0]["limit_us"], 35.0);
        assert_eq!(json["run"]["server"], "test");
    }

    #[test]
    fn without_a_process_there_is_no_ratio() {
        let mut report = report();
        for timed in &mut report.timed {
            timed.cpu = None;
        }
        report.quantities.clear();
        assert!(!report.text().contains("met"));
        assert!(report.json()["operations"][0]["times_cheaper"].is_null());
    }

    #[test]
    fn thousands_are_grouped() {
        for (value, text) in [(0.0, "0"), (999.6, "1,000"), (1_234_567.0, "1,234,567")] {
            assert_eq!(grouped(value), text);
        }
    }
}

//! What is counted, in the text form that Prometheus reads.
//!
//! Counters are made once and held as handles, so that counting is one addition to a known word.
//! Values that somebody else keeps (memory of the process, sizes of caches) are asked for when the
//! text is made, through closures.
//!
//! Invariant: labels come from closed sets. Nothing a client sends becomes a label, so that no
//! client can make the text grow.

mod process;
mod since_start;

use http::Method;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
pub(crate) use since_start::SinceStart;
use std::fmt;
use std::sync::Arc;

/// Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Handles>);

struct Handles {
    registry: Mutex<Registry>,
    /// By method, then by class of status.
    requests: [[Counter; CLASSES.len()]; METHODS.len()],
    in_flight: Gauge,
    durations: Histogram,
    body_bytes: Counter,
    received: Counter,
    sent: Counter,
    connections: Gauge,
    feeds: Gauge,
    panics: Counter,
    /// What `CouchDB` counts otherwise than Prometheus is told.
    since_start: SinceStart,
}

const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "COPY", "OPTIONS", "other",
];
const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "none"];

/// From a tenth of a millisecond to a minute.
const DURATIONS: [f64; 13] = [
    0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0,
];

/// A method, as far as it is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MethodLabel(u8);

impl MethodLabel {
    pub(crate) fn of(method: &Method) -> Self {
        Self(match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            Method::POST => 2,
            Method::PUT => 3,
            Method::DELETE => 4,
            Method::OPTIONS => 6,
            _ if method.as_str() == "COPY" => 5,
            _ => 7,
        })
    }
}

/// The class of `status`; the last one if the client went away before there was an answer.
fn class(status: u16) -> usize {
    match status {
        499 => 4,
        200..300 => 0,
        300..400 => 1,
        400..500 => 2,
        500..600 => 3,
        _ => 4,
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counters that all stand at zero, and the gauges of this process.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("adea");
        let requests = Family::<[(&'static str, &'static str); 2], Counter>::default();
        let handles = METHODS.map(|method| {
            CLASSES.map(|class| {
                requests
                    .get_or_create(&[("method", method), ("class", class)])
                    .clone()
            })
        });
        registry.register(
            "http_requests",
            "Requests answered, by method and class of status; none if the client went away before",
            requests,
        );
        let in_flight = gauge(
            &mut registry,
            "http_requests_in_flight",
            "Requests being answered, feeds among them",
        );
        let durations = Histogram::new(DURATIONS);
        registry.register(
            "http_request_duration_seconds",
            "Time from the head of a request to the end of its answer, without feeds",
            durations.clone(),
        );
        let handles = Handles {
            requests: handles,
            in_flight,
            durations,
            body_bytes: counter(
                &mut registry,
                "http_response_body_bytes",
                "Bytes of bodies of answers",
            ),
            received: counter(
                &mut registry,
                "http_received_bytes",
                "Bytes read from sockets",
            ),
            sent: counter(&mut registry, "http_sent_bytes", "Bytes written to sockets"),
            connections: gauge(&mut registry, "http_connections", "Connections open"),
            feeds: gauge(&mut registry, "http_feeds", "Feeds open"),
            panics: counter(
                &mut registry,
                "http_panics",
                "Requests whose handling met a broken invariant",
            ),
            registry: Mutex::new(registry),
            since_start: SinceStart::new(),
        };
        let metrics = Self(Arc::new(handles));
        process::register(&metrics);
        metrics
    }

    /// Adds a gauge whose value is asked for when the text is made. `name` without the prefix.
    pub fn register_gauge(
        &self,
        name: &'static str,
        help: &'static str,
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.register_asked(name, help, MetricType::Gauge, value);
    }

    /// Adds a counter whose value is asked for when the text is made. `name` without the prefix and
    /// without the ending `_total`.
    pub fn register_counter(
        &self,
        name: &'static str,
        help: &'static str,
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.register_asked(name, help, MetricType::Counter, value);
    }

    fn register_asked(
        &self,
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let asked = Asked {
            name,
            help,
            kind,
            value,
        };
        self.0.registry.lock().register_collector(Box::new(asked));
    }

    /// The text that Prometheus reads.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(8_192);
        match prometheus_client::encoding::text::encode(&mut text, &self.0.registry.lock()) {
            Ok(()) => text,
            // Writing into memory does not fail; a collector might.
            Err(fmt::Error) => {
                tracing::error!("a metric could not be written");
                String::new()
            }
        }
    }

    /// Feeds open.
    #[must_use]
    pub fn open_feeds(&self) -> i64 {
        self.0.feeds.get()
    }

    pub(crate) fn request_began(&self) {
        self.0.in_flight.inc();
    }

    pub(crate) fn request_ended(&self, ended: Ended) {
        let counters = &*self.0;
        counters.in_flight.dec();
        counters.body_bytes.inc_by(ended.bytes);
        let counter = counters
            .requests
            .get(usize::from(ended.method.0))
            .and_then(|classes| classes.get(class(ended.status)));
        if let Some(counter) = counter {
            counter.inc();
        }
        if ended.feed {
            counters.feeds.dec();
        } else {
            counters.durations.observe(ended.seconds);
            counters.since_start.took(ended.seconds);
        }
        counters.since_start.answered(ended.status);
    }

    /// What is counted by status and by duration.
    pub(crate) fn since_start(&self) -> &SinceStart {
        &self.0.since_start
    }

    /// Requests by method, each with its name.
    pub(crate) fn by_method(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let totals = self.0.requests.iter();
        let totals = totals.map(|classes| classes.iter().map(Counter::get).sum());
        METHODS.into_iter().zip(totals)
    }

    /// Bytes read from sockets and written to them.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.0.received.get(), self.0.sent.get())
    }

    /// Connections open.
    pub(crate) fn open_connections(&self) -> i64 {
        self.0.connections.get()
    }

    pub(crate) fn feed_began(&self) {
        self.0.feeds.inc();
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.0.received.inc_by(bytes.try_into().unwrap_or(u64::MAX));
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.0.sent.inc_by(bytes.try_into().unwrap_or(u64::MAX));
    }

    pub(crate) fn connection_began(&self) {
        self.0.connections.inc();
    }

    pub(crate) fn connection_ended(&self) {
        self.0.connections.dec();
    }

    pub(crate) fn panicked(&self) {
        self.0.panics.inc();
    }
}

/// A request that has been answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) method: MethodLabel,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) feed: bool,
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

/// A value that is asked for.
struct Asked<F> {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    value: F,
}

impl<F> fmt::Debug for Asked<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<F: Fn() -> f64 + Send + Sync + 'static> Collector for Asked<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let metric = encoder.encode_descriptor(self.name, self.help, None, self.kind)?;
        let value = (self.value)();
        if matches!(self.kind, MetricType::Counter) {
            ConstCounter::new(value).encode(metric)
        } else {
            ConstGauge::new(value).encode(metric)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, name: &str) -> f64 {
        let line = text
            .lines()
            .find(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(' '))
            })
            .unwrap_or_else(|| panic!("no {name} in\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn a_request_is_counted_once_by_method_and_class() {
        let metrics = Metrics::new();
        for status in [200, 201, 304, 404, 500, 503, 499] {
            metrics.request_began();
            metrics.request_ended(Ended {
                method: MethodLabel::of(&Method::PUT),
                status,
                bytes: 10,
                seconds: 0.002,
                feed: false,
            });
        }
        let text = metrics.render();
        let of = |class| {
            value(
                &text,
                &format!("adea_http_requests_total{{method=\"PUT\",class=\"{class}\"}}"),
            )
        };
        assert_eq!(
            [of("2xx"), of("3xx"), of("4xx"), of("5xx"), of("none")],
            [2., 1., 1., 2., 1.]
        );
        assert_eq!(value(&text, "adea_http_requests_in_flight"), 0.0);
        assert_eq!(value(&text, "adea_http_response_body_bytes_total"), 70.0);
        assert_eq!(
            value(&text, "adea_http_request_duration_seconds_count"),
            7.0
        );
    }

    #[test]
    fn every_status_has_a_class_and_an_unknown_method_a_label() {
        for (status, expected) in [
            (200, 0),
            (399, 1),
            (400, 2),
            (498, 2),
            (499, 4),
            (500, 3),
            (599, 3),
            (0, 4),
        ] {
            assert_eq!(class(status), expected, "{status}");
        }
        assert_eq!(MethodLabel::of(&Method::from_bytes(b"COPY").unwrap()).0, 5);
        assert_eq!(MethodLabel::of(&Method::from_bytes(b"EVIL").unwrap()).0, 7);
    }

    #[test]
    fn closures_are_asked_when_the_text_is_made() {
        let metrics = Metrics::new();
        metrics.register_gauge("cache_bytes", "Bytes in the cache", || 42.0);
        metrics.register_counter("commits", "Commits", || 7.0);
        let text = metrics.render();
        assert_eq!(value(&text, "adea_cache_bytes"), 42.0);
        assert_eq!(value(&text, "adea_commits_total"), 7.0);
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_tells_its_memory_and_time() {
        let text = Metrics::new().render();
        assert!(value(&text, "adea_process_resident_memory_bytes") > 100_000.0);
        assert!(value(&text, "adea_process_cpu_seconds_total") >= 0.0);
        assert!(value(&text, "adea_process_open_fds") > 2.0);
    }
}

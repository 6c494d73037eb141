//! The log: lines on standard error, as text or JSON, filtered by level and target.
//!
//! A request must never wait for whoever reads the log. Lines go into a bounded queue
//! ([`queue`]); one thread writes them. [`Telemetry`] is that thread's handle: dropping it writes
//! what is left, so it must be dropped before the process ends by `std::process::exit`.

mod queue;

use crate::config::{Kind as _, LogFormat, LogLevel, Raw};
use queue::{LogQueue, LogWriter};
use std::io::IsTerminal;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, fmt, reload};

/// The running log.
pub(crate) struct Telemetry {
    _writer: LogWriter,
    filter: LogFilter,
}

impl Telemetry {
    /// What decides which lines are written.
    pub(crate) fn filter(&self) -> LogFilter {
        self.filter.clone()
    }
}

/// What decides which lines are written; it can be changed while they are.
#[derive(Clone)]
pub(crate) struct LogFilter(reload::Handle<Targets, Registry>);

impl LogFilter {
    /// From now on writes what `level` lets through: a level, and after commas levels for single
    /// parts. `CouchDB`'s words for levels are understood.
    pub(crate) fn set(&self, level: &str) -> Result<(), String> {
        let level = match level {
            "none" => "off",
            "notice" => "info",
            "warning" => "warn",
            "critical" | "crit" | "alert" | "emergency" | "emerg" | "err" => "error",
            other => other,
        };
        let read = LogLevel.read(&Raw::Text(level.to_owned()));
        let targets = read.map_err(|error| format!("log/level: {error}."))?;
        let changed = self.0.reload(targets);
        changed.map_err(|error| format!("log/level: {error}"))
    }
}

/// The log cannot be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryError {
    /// It was started before in this process.
    #[error("the log is already set up: {0}")]
    Twice(#[from] TryInitError),
    /// The machine gives no thread.
    #[error("the log's thread does not start: {0}")]
    Thread(#[from] std::io::Error),
}

/// Sends everything that `tracing` records and `level` lets through to standard error.
pub(crate) fn start(format: LogFormat, level: Targets) -> Result<Telemetry, TelemetryError> {
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (queue, writer) = LogQueue::start(Box::new(std::io::stderr()), format)?;
    let (level, handle) = reload::Layer::new(level);
    match format {
        LogFormat::Text => tracing_subscriber::registry()
            .with(level)
            .with(fmt::layer().with_ansi(colours).with_writer(queue))
            .try_init()?,
        LogFormat::Json => tracing_subscriber::registry()
            .with(level)
            .with(fmt::layer().json().flatten_event(true).with_writer(queue))
            .try_init()?,
    }
    Ok(Telemetry {
        _writer: writer,
        filter: LogFilter(handle),
    })
}

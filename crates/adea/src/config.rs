//! Settings: one table, four layers, and an origin for every value.
//!
//! A setting is declared once, below; see [`setting`] for what follows from it. A value is taken
//! from its flag, else from the environment, else from the TOML file, else from its default. It is
//! read and checked here, before anything starts; the rest of the program sees only [`Config`].

pub(crate) mod explain;
mod file;
mod kind;
mod layers;
mod quantity;
mod setting;
mod suggestion;

pub(crate) use kind::{Kind, LogLevel, Raw, Secret, WebOrigin};
pub(crate) use layers::{Fault, Faults, Origin, Values};
pub(crate) use setting::Setting;

use adea_http::Vhost;
use kind::{
    Address, Choice, Count, OptionalPath, OptionalSecret, Path, Size, Span, Switch, UserName,
    Vhosts, WebOrigins,
};
use setting::settings;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// After it is on disk.
    Strict,
    /// Before; a crash loses at most `durability_interval` of acknowledged writes.
    Relaxed,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For eyes.
    Text,
    /// One JSON object a line.
    Json,
}

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(366 * 86_400);

settings! {
    "Server" {
        /// Address and port to listen on.
        /// 127.0.0.1 is reached from this machine only, 0.0.0.0 from every network it is in.
        listen: SocketAddr = "listen", Address, Some("127.0.0.1:5984");
        /// Directory that holds all databases.
        data: PathBuf = "data", Path, Some("./adea-data");
        /// When a write is acknowledged: after it is on disk (strict), or before (relaxed).
        /// With relaxed, a crash or power cut loses what was acknowledged in the last
        /// `durability_interval`.
        durability: Durability = "durability",
            Choice(&[("strict", Durability::Strict), ("relaxed", Durability::Relaxed)]),
            Some("strict");
        /// With durability relaxed, the most time between an acknowledgement and the disk.
        durability_interval: Duration = "durability_interval",
            Span { min: MS, max: Duration::from_secs(60) }, Some("100ms");
        /// Memory for the storage engine's caches and write buffers.
        memory: u64 = "memory",
            Size { min: 8_000_000, max: 1 << 40, unlimited: false }, Some("64MB");
        /// Whether answers are compressed for clients that ask for it.
        compression: bool = "compression", Switch, Some("true");
    }
    "Administrator" {
        /// Name of the administrator made at the first start.
        admin_name: String = "admin.name", UserName, Some("admin");
        /// Password of the administrator made at the first start.
        /// Without one, the server makes one and shows it once. Prefer the environment or the file
        /// to the flag: other users of the machine can see flags.
        admin_password: Option<Secret> = "admin.password", OptionalSecret { shortest: 1 }, None;
    }
    "Limits" {
        /// Largest document, as JSON without its attachments.
        max_document_size: u64 = "max_document_size",
            Size { min: 1_000, max: 1 << 30, unlimited: false }, Some("8_000_000");
        /// Largest attachment.
        max_attachment_size: u64 = "max_attachment_size",
            Size { min: 1, max: 1 << 50, unlimited: true }, Some("1_073_741_824");
        /// Largest body of a request.
        max_request_size: u64 = "max_request_size",
            Size { min: 1_000, max: 1 << 50, unlimited: true }, Some("4_294_967_296");
        /// Largest head of a request: its first line and its headers together.
        max_header_size: u64 = "max_header_size",
            Size { min: 8_192, max: 1 << 24, unlimited: false }, Some("64KiB");
        /// Time a client has to send the head of a request.
        header_timeout: Duration = "header_timeout", Span { min: MS, max: HOUR }, Some("10s");
        /// Time after which a connection that neither asks nor is being answered is closed.
        idle_timeout: Duration = "idle_timeout", Span { min: SECOND, max: DAY }, Some("600s");
        /// Most connections at a time; further ones wait.
        max_connections: usize = "max_connections",
            Count { min: 1, max: 10_000_000 }, Some("200_000");
        /// Longest time a changes feed without a heartbeat waits for a change.
        changes_timeout: Duration = "changes_timeout", Span { min: SECOND, max: DAY }, Some("60s");
    }
    "Design functions" {
        /// Longest time a function of a design document may take for one document or request.
        script_timeout: Duration = "script.timeout",
            Span { min: Duration::from_millis(10), max: HOUR }, Some("5s");
        /// Memory for the JavaScript of one process that runs such functions.
        script_memory: u64 = "script.memory",
            Size { min: 8_000_000, max: 1 << 36, unlimited: false }, Some("64MiB");
        /// Most processes that run such functions at a time; further calls wait.
        script_processes: usize = "script.processes", Count { min: 1, max: 10_000 }, Some("16");
    }
    "CORS" {
        /// Whether web pages of other origins may call the server.
        cors_enabled: bool = "cors.enabled", Switch, Some("true");
        /// Origins whose pages may call the server.
        /// With "*" any page may, but only with credentials it holds itself (an Authorization
        /// header); the session cookie counts only for origins that are listed.
        cors_origins: Vec<WebOrigin> = "cors.origins", WebOrigins, Some("*");
    }
    "Virtual hosts" {
        /// Hosts that stand for paths of the server.
        /// A label may be a name that stands in the path, too (:db.example.org=/:db), and the
        /// first one a * for anything.
        vhosts: Vec<Vhost> = "vhosts", Vhosts, Some("");
    }
    "Sessions" {
        /// Time until an unused session ends.
        session_timeout: Duration = "session.timeout", Span { min: SECOND, max: YEAR }, Some("600s");
        /// Secret that signs session cookies.
        /// Without one, the server makes one at the first start and keeps it in the data directory.
        session_secret: Option<Secret> = "session.secret", OptionalSecret { shortest: 16 }, None;
    }
    "Replication" {
        /// Most replications that work at a time; those that wait for a change of a database of this
        /// server do not count.
        replication_max_jobs: usize = "replication.max_jobs",
            Count { min: 1, max: 100_000 }, Some("500");
        /// Time after which a replication that goes on lets others that wait have its place.
        replication_interval: Duration = "replication.interval",
            Span { min: MS, max: DAY }, Some("60s");
        /// First pause after a replication of the _replicator database failed; it doubles each time,
        /// up to a thousand times.
        replication_retry: Duration = "replication.retry", Span { min: MS, max: HOUR }, Some("30s");
        /// Time that connecting to another server may take.
        replication_connect_timeout: Duration = "replication.connect_timeout",
            Span { min: MS, max: HOUR }, Some("30s");
        /// Whether certificates of other servers are checked.
        replication_verify: bool = "replication.verify_certificates", Switch, Some("true");
        /// File of certificates (PEM) to believe instead of the list of Mozilla.
        replication_authorities: Option<PathBuf> = "replication.authorities", OptionalPath, None;
    }
    "Log" {
        /// Form of the log lines on standard error.
        log_format: LogFormat = "log.format",
            Choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]), Some("text");
        /// What is logged: a level, and after commas other levels for single parts.
        log_level: tracing_subscriber::filter::Targets = "log.level", LogLevel, Some("info");
        /// Whether each request is logged in one line.
        log_access: bool = "log.access", Switch, Some("true");
    }
}

/// The file that is read without being named, if it is there.
const DEFAULT_FILE: &str = "adea.toml";

/// What the layers are read from.
#[derive(Default)]
pub(crate) struct Sources {
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// The environment, as `std::env::vars_os` gives it.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// The flags given, each with its values.
    pub(crate) flags: Vec<(&'static Setting, Vec<String>)>,
}

/// A configuration that is right.
pub(crate) struct Loaded {
    /// What the program works with.
    pub(crate) config: Config,
    /// Where it came from.
    pub(crate) values: Values,
    /// The file that was read, if any.
    pub(crate) file: Option<PathBuf>,
    /// What is odd and does no harm; to be logged.
    pub(crate) warnings: Vec<String>,
}

/// Reads and checks all layers. The error holds every fault found, not only the first.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, Faults> {
    let environment = layers::from_environment(sources.environment.iter().cloned());
    let file = match sources.config.clone().or(environment.config) {
        Some(named) => Some(named),
        None => Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()),
    };
    let (from_file, mut faults) = file
        .as_deref()
        .map_or_else(Default::default, file::from_file);
    let flags = layers::from_flags(&sources.flags);
    let values = Values::layered(vec![from_file, environment.offers, flags]);
    faults.extend(values.faults());
    if !faults.is_empty() {
        return Err(Faults(faults));
    }
    let config = Config::read(&values)?;
    if let Some(fault) = contradiction(&config, &values) {
        return Err(Faults(vec![fault]));
    }
    let mut warnings = environment.warnings;
    warnings.extend(oddities(&config, &values));
    Ok(Loaded {
        config,
        values,
        file,
        warnings,
    })
}

/// Two settings that are right alone and wrong together.
fn contradiction(config: &Config, values: &Values) -> Option<Fault> {
    (config.max_document_size > config.max_request_size).then(|| {
        let said = |key| values.entry(key).map_or_else(String::new, said);
        Fault::Contradiction(format!(
            "{} is more than {}: no such document could be sent",
            said("max_document_size"),
            said("max_request_size")
        ))
    })
}

fn said(entry: &layers::Entry) -> String {
    let (key, value, origin) = (entry.setting.key, entry.shown(), &entry.origin);
    format!("{key} = {value} ({origin})")
}

/// Settings that have no effect, or more of it than was meant.
fn oddities(config: &Config, values: &Values) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(entry) = values.entry("durability_interval")
        && entry.origin != Origin::Default
        && config.durability == Durability::Strict
    {
        found.push(format!(
            "{}: durability_interval has no effect while durability is strict",
            entry.origin
        ));
    }
    for entry in &values.entries {
        if let Origin::File(path, _) = &entry.origin
            && entry.setting.kind.secret()
            && others_may_read(path)
        {
            found.push(format!(
                "{}: {} can be read by every user of this machine; chmod 600 {}",
                entry.origin,
                entry.setting.key,
                path.display()
            ));
        }
    }
    found
}

#[cfg(unix)]
fn others_may_read(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn others_may_read(_: &std::path::Path) -> bool {
    false
}

#[cfg(test)]
mod tests;

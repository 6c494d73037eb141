//! What the program can do, one file a command, and what the commands share: reading the
//! configuration, starting a runtime, and saying how it went.
//!
//! Results go to standard output, complaints to standard error, and the exit code is 0 only if
//! what was asked for is done.

mod account_settings;
mod auth_settings;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod configuration;
mod door;
pub(crate) mod engine_floor;
pub(crate) mod restore;
pub(crate) mod serve;
mod signals;

use std::io::{self, Write as _};
use std::net::SocketAddr;

use adea_pod::{
    BackupError, OpenError, PodError, PodOptions, ReplicationOptions, Report, ScriptSettings,
};
use adea_store::Durability;

use crate::arguments::SettingFlags;
use crate::bench::BenchError;
use crate::config::{self, Config, Faults, Loaded};
use crate::telemetry::TelemetryError;
pub(crate) use account_settings::SIGN_UP_MODES;
pub(crate) use auth_settings::LOCKOUT_MODES;
use auth_settings::auth_settings;
use door::DoorError;

/// How a command ended that could do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Nothing is wrong.
    Well,
    /// It was asked whether something is wrong, and something is.
    FaultsFound,
}

/// Why a command could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The configuration is wrong.
    #[error("{0}")]
    Configuration(#[from] Faults),
    /// There is no setting of that name.
    #[error("{0}")]
    Setting(String),
    /// The log cannot be started.
    #[error("{0}")]
    Telemetry(#[from] TelemetryError),
    /// The machine gives no threads.
    #[error("the program does not start: {0}")]
    Runtime(#[source] io::Error),
    /// The data directory cannot be opened.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// Nobody can be listened to.
    #[error("cannot listen on {address}: {error}{}", hint(error))]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The certificates of the mail server cannot be read.
    #[error("mail.authorities: {}: {error}", path.display())]
    Certificates {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Serving ended with a fault.
    #[error("serving: {0}")]
    Serve(#[source] io::Error),
    /// The data cannot be read or written.
    #[error("{0}")]
    Pod(#[from] PodError),
    /// There is no backup, or nothing was restored.
    #[error("{0}")]
    Backup(#[from] BackupError),
    /// The running server could not be asked.
    #[error("{0}")]
    Door(#[from] DoorError),
    /// Nothing could be measured.
    #[error("{0}")]
    Bench(#[from] BenchError),
    /// Nobody reads what is printed.
    #[error("printing: {0}")]
    Print(#[source] io::Error),
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "; another server runs there, stop it or choose another port with --listen"
    } else {
        ""
    }
}

/// Prints a result.
pub(crate) fn say(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(CommandError::Print)
}

/// Prints a complaint.
pub(crate) fn complain(text: &str) {
    // Where nobody can hear a complaint, nobody can hear of that either.
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

/// Reads the configuration from flags, environment and file.
fn load(settings: SettingFlags) -> Result<Loaded, CommandError> {
    Ok(config::load(&settings.into_sources(std::env::vars_os()))?)
}

/// Runs `work` on as many threads as the machine has cores.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, CommandError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores)
        .thread_name("adea")
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)?;
    Ok(runtime.block_on(work))
}

/// What the configuration says of the pod.
fn pod_options(config: &Config) -> PodOptions {
    PodOptions {
        data: config.data.clone(),
        durability: match config.durability {
            config::Durability::Strict => Durability::Strict,
            config::Durability::Relaxed => Durability::Relaxed {
                interval: config.durability_interval,
            },
        },
        memory: usize::try_from(config.memory).unwrap_or(usize::MAX),
        session_timeout_s: config.session_timeout.as_secs(),
        session_secret: config
            .session_secret
            .as_ref()
            .map(|secret| secret.reveal().as_bytes().to_vec()),
        attachment_max: config.max_attachment_size,
        auth: auth_settings(config),
        script: script_settings(config),
        replication: ReplicationOptions {
            jobs_max: config.replication_max_jobs,
            turn: config.replication_interval,
            retry: config.replication_retry,
            authorities: config.replication_authorities.clone(),
            verify: config.replication_verify,
            connect_timeout: config.replication_connect_timeout,
            document_max: config.max_document_size,
        },
    }
}

/// Functions of design documents run in child processes of this very binary.
fn script_settings(config: &Config) -> ScriptSettings {
    let command = match std::env::current_exe() {
        Ok(binary) => vec![binary.into_os_string(), "js-worker".into()],
        Err(error) => {
            tracing::warn!(%error, "this binary cannot find itself, so no function is run: {error}");
            Vec::new()
        }
    };
    ScriptSettings {
        command,
        memory_bytes: usize::try_from(config.script_memory).unwrap_or(usize::MAX),
        timeout: config.script_timeout,
        processes_max: config.script_processes,
    }
}

/// What a check found, for people.
fn told(report: &Report) -> String {
    let mut text = format!(
        "{} databases, {} documents, {} bodies, {} attachments\n",
        report.databases, report.documents, report.bodies, report.attachments
    );
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    for fault in &report.faults {
        text.push_str(&format!("FAULT: {fault}\n"));
    }
    text.push_str(&match report.faults.len() {
        0 => "Everything is whole.\n".to_owned(),
        1 => "1 fault was found.\n".to_owned(),
        faults => format!("{faults} faults were found.\n"),
    });
    text
}

impl Done {
    fn of(report: &Report) -> Self {
        if report.faults.is_empty() {
            Self::Well
        } else {
            Self::FaultsFound
        }
    }
}

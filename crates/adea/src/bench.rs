//! `adea bench`: measures any server that speaks `CouchDB`'s API, and says what it costs.
//!
//! It makes a database of its own, writes and reads the same documents on every server, checks
//! every answer, and deletes the database again. A wrong answer ends the run without a result: a
//! fast server that answers wrongly is not fast.

mod authentication;
mod comparison;
mod connection;
mod corpus;
mod driver;
mod error;
mod latency;
mod limits;
mod listeners;
mod phases;
mod process;
mod queries;
mod questions;
mod report;
mod rights;
mod wire;

pub(crate) use error::BenchError;
pub(crate) use limits::serve_constant;

use adea_base::Entropy;
use authentication::Credential;
use clap::{Args, ValueEnum};
use connection::{Request, Target};
use corpus::{BODY_BYTES_MIN, Corpus};
use phases::Run;
use process::{ProcessTree, disk_bytes, open_files_max};
use queries::View;
use report::{Limit, Operation, Quantity, Report};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// The engine's own batch write: makes a store in the empty directory, writes all documents (id
/// and JSON body) in synced batches of the given size, and closes it.
pub(crate) type EngineFloor =
    fn(directory: &Path, documents: &[(String, Vec<u8>)], batch: usize) -> Result<(), String>;

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  adea bench http://admin:secret@127.0.0.1:5984 --pid $(pidof adea)
      Everything, with the server's CPU time (its whole process tree).
  adea bench http://admin:secret@127.0.0.1:5984 --only put,get --docs 5000 --json
      Two phases, fewer documents, as JSON.
  adea bench http://admin:secret@127.0.0.1:5984 --pid 42 --limits --data ./adea-data
      Beside the limits of this machine, and with the disk that the directory takes.

CPU time is the yardstick: server and client share the machine, so operations per second say
more about both together. Start the server freshly for the figure of idle memory.")]
pub(crate) struct BenchArguments {
    /// The server, with an administrator's name and password: http://name:password@host:port.
    url: String,
    /// Process id of the server, to count CPU time and memory of it and all its children.
    #[arg(long)]
    pid: Option<u32>,
    /// Only these phases; what they read is written first, unmeasured.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Phase>,
    /// Documents that each writing phase writes, and that GET reads.
    #[arg(long, default_value_t = 20_000)]
    docs: usize,
    /// Keep-alive connections for PUT and GET.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Bytes of JSON in each document.
    #[arg(long, default_value_t = 510)]
    doc_size: usize,
    /// Continuous changes feeds that wait.
    #[arg(long, default_value_t = 1_000)]
    listeners: usize,
    /// Changes told to all of them.
    #[arg(long, default_value_t = 50)]
    tells: usize,
    /// Listeners who wait beside them and are told nothing, for `access-tell`.
    #[arg(long, default_value_t = 3_000)]
    waiting: usize,
    /// Accounts that the listeners belong to, on each side, for `access-tell`.
    #[arg(long, default_value_t = 100)]
    readers: usize,
    /// Documents of `access-scale`; a tenth of them for `access-disk` and `access-backfill`.
    #[arg(long, default_value_t = 1_000_000)]
    scale: usize,
    /// Access lists of `access-disk`.
    #[arg(long, default_value_t = 10_000)]
    lists: usize,
    /// The server's data directory, to count what the documents take on disk.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Also measure what this machine allows: a bare HTTP server, and the engine's batch write.
    #[arg(long)]
    limits: bool,
    /// Where the engine's batch write puts its files, for the time of the run.
    #[arg(long, value_name = "DIR", default_value = ".")]
    limits_dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Keep the database.
    #[arg(long)]
    keep: bool,
    /// Makes other documents.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Phase {
    /// Memory of waiting feeds, and changes told to them.
    Listeners,
    /// Documents one by one.
    Put,
    /// Documents in batches of 1,000.
    Bulk,
    /// Documents in batches of 100.
    Bulk100,
    /// Documents read at random.
    Get,
    /// The whole changes feed.
    Changes,
    /// The whole changes feed with documents.
    ChangesDocs,
    /// All documents, listed with their bodies.
    AllDocs,
    /// A view with a map function, built.
    ViewMap,
    /// A view with `_stats`, built.
    ViewStats,
    /// A view with a reduce function in JavaScript, built.
    ViewScript,
    /// All rows of a view, read.
    ViewRows,
    /// A Mango index, built.
    MangoIndex,
    /// 25 documents found by an index.
    Find,
    /// A selector over all documents, without an index.
    FindScan,
    /// The database replicated over HTTP into another one of the same server.
    Replicate,
    /// What an access token costs with each request.
    AuthBearer,
    /// What the cookie of a session costs with each request.
    AuthCookie,
    /// What a temporary name and password cost with each request.
    AuthBasic,
    /// Compaction, and the disk that documents take.
    Disk,
    /// Documents written with access lists, and without.
    AccessWrite,
    /// The feed of what is one's own, and the aggregate's.
    AccessFeed,
    /// A change told to who may read it, while others wait. Only if it is named.
    AccessTell,
    /// A reader of ten documents among very many. Only if it is named.
    AccessScale,
    /// What many access lists take on disk. Only if it is named.
    AccessDisk,
    /// A role granted under which there is much. Only if it is named.
    AccessBackfill,
    /// A filtered replication for each signature, and partitions. Only if it is named.
    AccessCopies,
}

/// Listeners come first: memory that a server has freed and kept would hide what they take.
const PHASES: [Phase; 27] = [
    Phase::Listeners,
    Phase::Put,
    Phase::Bulk,
    Phase::Bulk100,
    Phase::Get,
    Phase::AuthBearer,
    Phase::AuthCookie,
    Phase::AuthBasic,
    Phase::Changes,
    Phase::ChangesDocs,
    Phase::AllDocs,
    Phase::Disk,
    Phase::ViewMap,
    Phase::ViewStats,
    Phase::ViewScript,
    Phase::ViewRows,
    Phase::MangoIndex,
    Phase::Find,
    Phase::FindScan,
    Phase::Replicate,
    Phase::AccessWrite,
    Phase::AccessFeed,
    Phase::AccessTell,
    Phase::AccessScale,
    Phase::AccessDisk,
    Phase::AccessBackfill,
    Phase::AccessCopies,
];

/// These take long, or many connections.
const LARGE: [Phase; 5] = [
    Phase::AccessTell,
    Phase::AccessScale,
    Phase::AccessDisk,
    Phase::AccessBackfill,
    Phase::AccessCopies,
];

impl BenchArguments {
    fn phases(&self) -> impl Iterator<Item = Phase> {
        let wanted = |phase: &Phase| {
            let unnamed = self.only.is_empty() && !LARGE.contains(phase);
            unnamed || self.only.contains(phase)
        };
        PHASES.into_iter().filter(wanted)
    }

    /// Refuses what cannot be measured, before anything is done.
    fn check(&self) -> Result<(), BenchError> {
        let wrong = |what: String| Err(BenchError::Arguments(what));
        if self.docs == 0 || self.connections == 0 || self.listeners == 0 || self.tells == 0 {
            return wrong("nothing can be measured with none of something".to_owned());
        }
        if self.doc_size < BODY_BYTES_MIN {
            return wrong(format!("--doc-size is at least {BODY_BYTES_MIN}"));
        }
        let listeners = self.phases().map(|phase| {
            if phase == Phase::AccessTell {
                self.listeners.saturating_add(self.waiting)
            } else if phase == Phase::Listeners {
                self.listeners
            } else {
                0
            }
        });
        let listeners = listeners.max().unwrap_or(0);
        let needed = self.connections.max(listeners) + 64;
        match open_files_max() {
            Some(allowed) if needed > allowed => wrong(format!(
                "{needed} connections are needed and this shell allows {allowed} open files; \
                 try `ulimit -n {needed}`"
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// Measures, and prints what was found on standard output. `floor` is the engine's own batch
/// write, for `--limits`.
///
/// # Errors
/// On the first answer that is not right, and on everything that keeps it from measuring.
pub(crate) fn run(
    arguments: &BenchArguments,
    floor: Option<EngineFloor>,
) -> Result<(), BenchError> {
    arguments.check()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::io("starting"))?;
    let report = runtime.block_on(measure(arguments, floor))?;
    let text = if arguments.json {
        format!("{:#}\n", report.json())
    } else {
        report.text()
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(BenchError::io("printing"))
}

async fn measure(
    arguments: &BenchArguments,
    floor: Option<EngineFloor>,
) -> Result<Report, BenchError> {
    let mut run = Run {
        target: Target::resolve(&arguments.url).await?,
        database: format!("bench_{}", Entropy::System.hex_id()),
        corpus: Corpus::new(arguments.seed, arguments.doc_size),
        loaded: 0,
        connections: arguments.connections,
        server: arguments.pid.map(ProcessTree::of).transpose()?,
        own: ProcessTree::own()?,
        timed: Vec::new(),
        quantities: Vec::new(),
        comparisons: Vec::new(),
        made: rights::Made::default(),
    };
    let head = head(arguments, &run).await?;
    let data = data_before(arguments)?;
    if let Some(bytes) = run.resident_bytes()? {
        run.quantities
            .push(memory("memory before the run", bytes, true));
    }
    run.create().await?;
    let measured = tokio::select! {
        measured = phases(arguments, &mut run, data) => measured,
        _ = tokio::signal::ctrl_c() => Err(BenchError::Interrupted),
    };
    if let (Ok(()), Some(bytes)) = (&measured, run.resident_bytes()?) {
        run.quantities
            .push(memory("memory after the run", bytes, false));
    }
    let deleted = if arguments.keep {
        Ok(())
    } else {
        run.delete().await
    };
    measured.and(deleted)?;
    run.timed.sort_by_key(|timed| timed.operation);
    let limits = if arguments.limits {
        measure_limits(arguments, floor, &run.corpus).await?
    } else {
        Vec::new()
    };
    Ok(Report {
        head,
        timed: run.timed,
        quantities: run.quantities,
        comparisons: run.comparisons,
        limits,
    })
}

async fn phases(
    arguments: &BenchArguments,
    run: &mut Run,
    data: Option<(&Path, u64)>,
) -> Result<(), BenchError> {
    let count = arguments.docs;
    for phase in arguments.phases() {
        progress(&format!("{phase:?}"));
        let reads = !matches!(
            phase,
            Phase::Listeners | Phase::Put | Phase::Bulk | Phase::Bulk100
        ) && !is_of_rights(phase);
        if reads && run.loaded < count {
            run.fill(count).await?;
        }
        match phase {
            Phase::Listeners => run.listeners(arguments.listeners, arguments.tells).await?,
            Phase::Put => run.put(count).await?,
            Phase::Bulk => run.bulk(Operation::Bulk, 1_000, count).await?,
            Phase::Bulk100 => run.bulk(Operation::BulkSmall, 100, count).await?,
            Phase::Get => run.get(count).await?,
            Phase::AuthBearer => run.authentication(Credential::Bearer, count).await?,
            Phase::AuthCookie => run.authentication(Credential::Cookie, count).await?,
            Phase::AuthBasic => run.authentication(Credential::Basic, count).await?,
            Phase::Changes => run.listing(Operation::Changes, "/_changes", false).await?,
            Phase::ChangesDocs => {
                let path = "/_changes?include_docs=true";
                run.listing(Operation::ChangesDocs, path, true).await?;
            }
            Phase::AllDocs => {
                let path = "/_all_docs?include_docs=true";
                run.listing(Operation::AllDocs, path, true).await?;
            }
            Phase::Disk => run.compact(data).await?,
            Phase::ViewMap => run.build_view(View::Map).await?,
            Phase::ViewStats => run.build_view(View::Stats).await?,
            Phase::ViewScript => run.build_view(View::Script).await?,
            Phase::ViewRows => run.view_rows().await?,
            Phase::MangoIndex => run.build_index().await?,
            Phase::Find => run.find_indexed().await?,
            Phase::FindScan => run.find_scan().await?,
            Phase::Replicate => run.replicate(&arguments.url).await?,
            Phase::AccessWrite
            | Phase::AccessFeed
            | Phase::AccessTell
            | Phase::AccessScale
            | Phase::AccessDisk
            | Phase::AccessBackfill
            | Phase::AccessCopies => compare_rights(arguments, run, phase).await?,
        }
    }
    Ok(())
}

/// Whether the phase makes databases and accounts of its own.
fn is_of_rights(phase: Phase) -> bool {
    matches!(phase, Phase::AccessWrite | Phase::AccessFeed) || LARGE.contains(&phase)
}

async fn compare_rights(
    arguments: &BenchArguments,
    run: &mut Run,
    phase: Phase,
) -> Result<(), BenchError> {
    let data = arguments.data.as_deref();
    let tenth = (arguments.scale / 10).max(1);
    if phase == Phase::AccessWrite {
        run.access_write(arguments.docs).await
    } else if phase == Phase::AccessFeed {
        run.access_feed(arguments.docs).await
    } else if phase == Phase::AccessTell {
        let listeners = (arguments.listeners, arguments.waiting);
        let (readers, tells) = (arguments.readers, arguments.tells);
        run.access_tell(listeners, readers, tells).await
    } else if phase == Phase::AccessScale {
        run.access_scale(arguments.scale.max(10)).await
    } else if phase == Phase::AccessDisk {
        run.access_disk(tenth, arguments.lists, data).await
    } else if phase == Phase::AccessBackfill {
        run.access_backfill(tenth).await
    } else {
        run.access_copies(&arguments.url, data).await
    }
}

async fn measure_limits(
    arguments: &BenchArguments,
    floor: Option<EngineFloor>,
    corpus: &Corpus,
) -> Result<Vec<Limit>, BenchError> {
    progress("Limits");
    let (connections, count) = (arguments.connections, arguments.docs);
    let mut found = limits::bare_server(corpus, connections, count).await?;
    if let Some(floor) = floor {
        let name = format!(".adea-bench-{}", Entropy::System.hex_id());
        let directory = arguments.limits_dir.join(name);
        let engine = limits::engine(floor, &directory, corpus, connections, count);
        let removed = std::fs::remove_dir_all(&directory)
            .map_err(BenchError::io(format!("removing {}", directory.display())));
        found.extend(engine?);
        removed?;
    }
    Ok(found)
}

/// The directory to watch, with the bytes in it now.
fn data_before(arguments: &BenchArguments) -> Result<Option<(&Path, u64)>, BenchError> {
    let Some(directory) = arguments.data.as_deref() else {
        return Ok(None);
    };
    Ok(Some((directory, disk_bytes(directory)?)))
}

fn memory(name: &'static str, bytes: u64, idle: bool) -> Quantity {
    Quantity {
        name,
        bytes: bytes as f64,
        couchdb: idle.then_some(78e6),
        goal: idle.then_some(25e6),
    }
}

/// What this run is about, for the head of the report.
async fn head(
    arguments: &BenchArguments,
    run: &Run,
) -> Result<Vec<(&'static str, String)>, BenchError> {
    let welcome = run.ask_once(&Request::new("GET", "/"), 200).await?;
    let welcome: serde_json::Value = serde_json::from_slice(&welcome)
        .map_err(|_| BenchError::content("GET /", "the answer is not JSON"))?;
    let text = |pointer| {
        let value = welcome.pointer(pointer).and_then(serde_json::Value::as_str);
        value.unwrap_or("?").to_owned()
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok(vec![
        (
            "server",
            format!(
                "http://{}/ ({} {})",
                run.target.host,
                text("/vendor/name"),
                text("/version")
            ),
        ),
        (
            "process",
            arguments.pid.map_or_else(
                || "unknown: no CPU time and memory without --pid".to_owned(),
                |pid| format!("{pid} and its children"),
            ),
        ),
        (
            "machine",
            format!("{processors} processors, Linux {}", kernel.trim()),
        ),
        (
            "documents",
            format!(
                "{} a phase, {} bytes each, seed {}",
                arguments.docs, arguments.doc_size, arguments.seed
            ),
        ),
        (
            "connections",
            format!(
                "{} for PUT and GET, {} listeners, {} changes told",
                arguments.connections, arguments.listeners, arguments.tells
            ),
        ),
    ])
}

/// Says to whoever watches what is being done.
fn progress(what: &str) {
    let mut watched = std::io::stderr();
    if watched.is_terminal() {
        drop(writeln!(watched, "{what} ..."));
    }
}

#[cfg(test)]
mod tests;

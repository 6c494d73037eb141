//! Replications that this server drives: those that a request asks for, and those that documents of a
//! `_replicator` database describe.
//!
//! Each is a job with a task of its own. Those that work at a time are bounded; one that waits for a
//! change of a database of this server does not count among them and costs nothing. A job of a request
//! ends with its first failure, one of a document is tried again after pauses that double. What a job did
//! is remembered as long as it is there, for those who watch.

mod author;
mod calling;
mod documents;
mod fetching;
mod following;
mod job;
mod opening;
mod peer;
mod rules;
mod shown;
mod writing;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adea_accounts::Refusal;
use adea_base::{Caller, DatabaseName};
use adea_outbound::{Client, Options};
use adea_replication::{
    Description, Endpoint, HttpPeer, HttpPeerOptions, Peer, Places, ReplicationError,
    ReplicationId, Tuning,
};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::Notify;

pub(crate) use documents::is_replicator;
pub use shown::{JobEvent, JobState, ReplicationDocument, ReplicationJob};

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;
use crate::replicate::author::Author;
use crate::replicate::job::{Job, Outcome};
use crate::replicate::peer::LocalPeer;

/// How replications are run.
#[derive(Clone, Debug)]
pub struct ReplicationOptions {
    /// Jobs that work at once.
    pub jobs_max: usize,
    /// After how long a job that goes on lets others that wait have its place.
    pub turn: Duration,
    /// The first pause after a job of a document failed; it doubles.
    pub retry: Duration,
    /// A file of certificates to believe instead of Mozilla's list.
    pub authorities: Option<PathBuf>,
    /// Whether certificates are checked.
    pub verify: bool,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// The longest document that is taken.
    pub document_max: u64,
}

impl Default for ReplicationOptions {
    fn default() -> Self {
        Self {
            jobs_max: 500,
            turn: Duration::from_secs(60),
            retry: Duration::from_secs(30),
            authorities: None,
            verify: true,
            connect_timeout: Duration::from_secs(30),
            document_max: 8_000_000,
        }
    }
}

/// How long jobs may take to end when the server does.
const ENDING: Duration = Duration::from_secs(10);

/// A document that describes a replication.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) database: DatabaseName,
    pub(crate) id: String,
}

/// The jobs there are.
#[derive(Default)]
struct Jobs {
    by_id: BTreeMap<String, Arc<Job>>,
    by_document: HashMap<Origin, String>,
}

/// All that runs replications.
pub(crate) struct Replicator {
    options: ReplicationOptions,
    places: Arc<Places>,
    jobs: Mutex<Jobs>,
    /// By the proxy that they go through.
    clients: Mutex<HashMap<Option<String>, Client>>,
    ending: AtomicBool,
    /// Held while jobs are told to end: who ends them, too, waits for it.
    end: tokio::sync::Mutex<()>,
    /// Told when a database of descriptions is made.
    databases: Notify,
}

/// What became of a request to replicate.
#[derive(Debug)]
pub enum Replicated {
    /// It ended; what its checkpoint says.
    Completed(Map<String, Value>),
    /// It goes on, under this name.
    Continues(String),
    /// It was told to end.
    Cancelled(String),
}

impl Replicator {
    pub(crate) fn new(options: ReplicationOptions) -> Self {
        Self {
            places: Places::new(options.jobs_max),
            jobs: Mutex::default(),
            clients: Mutex::default(),
            ending: AtomicBool::new(false),
            end: tokio::sync::Mutex::default(),
            databases: Notify::new(),
            options,
        }
    }

    /// What speaks to other servers, by way of `proxy`.
    fn client(&self, proxy: Option<&str>) -> Result<Client, ReplicationError> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&proxy.map(str::to_owned)) {
            return Ok(client.clone());
        }
        let made = Client::new(Options {
            connect_timeout: self.options.connect_timeout,
            proxy: proxy.map(str::to_owned),
            authorities: self.options.authorities.clone(),
            verify: self.options.verify,
            // Each request has a time of its own.
            response_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            kept_per_host: 100,
        });
        let client = made.map_err(|error| ReplicationError::Failed {
            what: "connecting",
            peer: "another server".to_owned(),
            reason: error.to_string(),
        })?;
        // Users name proxies: what they name must not pile up.
        if clients.len() >= 100 {
            clients.clear();
        }
        clients.insert(proxy.map(str::to_owned), client.clone());
        Ok(client)
    }
}

impl Pod {
    /// Does what a body of `_replicate` asks for. A job that ends by itself is waited for; it goes on
    /// also if who asked goes away.
    ///
    /// # Errors
    /// [`PodError::Description`] if the body makes no sense, [`PodError::Replication`] if the
    /// replication failed, [`PodError::Refused`] if this caller may not, [`PodError::Missing`] if there
    /// is nothing to cancel.
    pub async fn replicate(
        &self,
        fields: &Map<String, Value>,
        caller: &Caller,
    ) -> Result<Replicated, PodError> {
        if caller.name().is_none() {
            let reason = "You must be signed in to replicate.".into();
            return Err(Refusal::Unauthorized(reason).into());
        }
        match fields.get("cancel") {
            None | Some(Value::Bool(false)) => {}
            Some(Value::Bool(true)) => return self.cancel(fields, caller).await,
            Some(_) => {
                let reason = "parameter `cancel` must be a boolean".into();
                return Err(adea_replication::InvalidDescription(reason).into());
            }
        }
        let description = Description::read(fields)?;
        require_reach(&description, caller)?;
        let continuous = description.continuous;
        let id = self.replication_id(&description, caller);
        let job = self.start_job(id, description, caller.clone(), None)?;
        if continuous {
            return Ok(Replicated::Continues(job.id.to_string()));
        }
        let mut outcome = job.outcome.subscribe();
        let ended = outcome.wait_for(Option::is_some).await;
        let ended = ended.map_err(|_| PodError::Interrupted)?.clone();
        match ended {
            Some(Outcome::Completed(summary)) => Ok(Replicated::Completed(summary)),
            Some(Outcome::Failed(error)) => Err(error.into()),
            Some(Outcome::Stopped) => Ok(Replicated::Cancelled(job.id.to_string())),
            None => Err(PodError::Interrupted),
        }
    }

    fn replication_id(&self, description: &Description, caller: &Caller) -> ReplicationId {
        ReplicationId::of(description, &self.inner.identity.uuid, caller.name())
    }

    async fn cancel(
        &self,
        fields: &Map<String, Value>,
        caller: &Caller,
    ) -> Result<Replicated, PodError> {
        let named = ["replication_id", "_local_id", "id"].into_iter();
        let named = named
            .filter_map(|name| fields.get(name))
            .find_map(Value::as_str);
        let id = match named {
            Some(text) => ReplicationId::parse(text),
            None => self.replication_id(&Description::read(fields)?, caller),
        };
        let id = id.to_string();
        let job = self.inner.replicator.jobs.lock().by_id.get(&id).cloned();
        let job = job.ok_or(PodError::Missing)?;
        if !caller.is_admin() && job.author.caller.name() != caller.name() {
            let reason = "Can't cancel a replication triggered by another user";
            return Err(Refusal::Unauthorized(reason.into()).into());
        }
        self.stop_job(&job).await;
        Ok(Replicated::Cancelled(id))
    }

    /// Starts a job, or joins the one of the same name.
    fn start_job(
        &self,
        id: ReplicationId,
        description: Description,
        caller: Caller,
        origin: Option<Origin>,
    ) -> Result<Arc<Job>, PodError> {
        let replicator = &self.inner.replicator;
        let author = self.author(caller, origin.is_some())?;
        let mut jobs = replicator.jobs.lock();
        if replicator.ending.load(Ordering::Acquire) {
            return Err(PodError::Interrupted);
        }
        let name = id.to_string();
        if let Some(job) = jobs.by_id.get(&name) {
            return Ok(Arc::clone(job));
        }
        let now = self.inner.clock.now_unix_s();
        let (job, stop) = Job::new(id, description, author, origin.clone(), now);
        let job = Arc::new(job);
        jobs.by_id.insert(name.clone(), Arc::clone(&job));
        if let Some(origin) = origin {
            jobs.by_document.insert(origin, name);
        }
        let (pod, driven) = (self.clone(), Arc::clone(&job));
        let task = tokio::spawn(async move { pod.drive(&driven, stop).await });
        *job.task.lock() = Some(task);
        Ok(job)
    }

    /// Tells a job to end, and waits until it has.
    async fn stop_job(&self, job: &Arc<Job>) {
        job.stopper.stop();
        let task = job.task.lock().take();
        if let Some(task) = task {
            drop(task.await);
        }
        self.forget_job(job);
    }

    /// Takes a job off the list.
    fn forget_job(&self, job: &Arc<Job>) {
        let mut jobs = self.inner.replicator.jobs.lock();
        let name = job.id.to_string();
        if jobs
            .by_id
            .get(&name)
            .is_some_and(|known| Arc::ptr_eq(known, job))
        {
            jobs.by_id.remove(&name);
        }
        if let Some(origin) = &job.origin
            && jobs.by_document.get(origin) == Some(&name)
        {
            jobs.by_document.remove(origin);
        }
    }

    /// Ends all replications, each with its checkpoint.
    pub async fn stop_replications(&self) {
        let replicator = &self.inner.replicator;
        replicator.ending.store(true, Ordering::Release);
        let _end = replicator.end.lock().await;
        replicator.databases.notify_waiters();
        let jobs: Vec<_> = {
            let mut jobs = replicator.jobs.lock();
            jobs.by_document.clear();
            std::mem::take(&mut jobs.by_id).into_values().collect()
        };
        for job in &jobs {
            job.stopper.stop();
        }
        let ended = async {
            for job in &jobs {
                let task = job.task.lock().take();
                if let Some(task) = task {
                    drop(task.await);
                }
            }
        };
        if tokio::time::timeout(ENDING, ended).await.is_err() {
            tracing::warn!("some replications did not end in time; they go on where they were");
        }
    }

    /// An end of a replication, in the name of `author`, who is `caller` now.
    fn peer_of(
        &self,
        endpoint: &Endpoint,
        tuning: &Tuning,
        (author, caller): (&Arc<Author>, &Caller),
    ) -> Result<Arc<dyn Peer>, ReplicationError> {
        let replicator = &self.inner.replicator;
        match endpoint {
            Endpoint::Local(text) => {
                let name = DatabaseName::parse(text)
                    .map_err(|_| ReplicationError::NoDatabase(text.clone()))?;
                Ok(Arc::new(LocalPeer {
                    pod: self.clone(),
                    name,
                    author: Arc::clone(author),
                    caller: caller.clone(),
                    document_max: replicator.options.document_max,
                }))
            }
            Endpoint::Remote(remote) => {
                let client = replicator.client(remote.proxy.as_deref())?;
                let options = HttpPeerOptions {
                    timeout: tuning.timeout,
                    connections: tuning.connections,
                    batch: tuning.batch,
                    entropy: self.inner.entropy.clone(),
                };
                Ok(Arc::new(HttpPeer::new(
                    client,
                    remote.as_ref().clone(),
                    options,
                )))
            }
        }
    }
}

/// What of a description this caller may see, where that is not all of it.
pub(crate) fn visible_description(
    entry: &DatabaseEntry,
    caller: &Caller,
    json: &[u8],
) -> Option<Vec<u8>> {
    rules::stripped(json, caller, entry.security.access(caller))
}

/// Lets everybody ask views and indexes of a database, unless it holds descriptions of replications:
/// what is kept in an index has no owner, and secrets of all.
///
/// # Errors
/// [`Refusal`] to who is no admin of such a database.
pub fn may_search(entry: &DatabaseEntry, caller: &Caller) -> Result<(), Refusal> {
    if is_replicator(&entry.name) {
        entry.security.access(caller).require_admin()?;
    }
    Ok(())
}

/// Whoever is no administrator does not make this server send requests to others: it may reach what
/// he cannot.
fn require_reach(description: &Description, caller: &Caller) -> Result<(), Refusal> {
    let ends = [&description.source, &description.target];
    let remote = ends.iter().any(|end| matches!(end, Endpoint::Remote(_)));
    if remote && !caller.is_admin() {
        let reason = "Only server admins replicate with other servers.";
        return Err(Refusal::Forbidden(reason.into()));
    }
    Ok(())
}

//! Replications as they are shown to those who watch them.

use std::sync::Arc;

use adea_base::{Caller, DatabaseName};
use adea_documents::reader::IdRange;
use adea_outbound::Address;
use adea_replication::{Endpoint, Snapshot};
use adea_store::Direction;
use serde_json::{Map, Value};

use crate::error::PodError;
use crate::pod::Pod;
use crate::replicate::Origin;
use crate::replicate::documents::internal;
use crate::replicate::job::Job;
use crate::replicate::rules::stripped_endpoint;

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobEvent {
    /// `CouchDB`'s word for it.
    pub kind: &'static str,
    /// When, in seconds since the Unix epoch.
    pub unix_s: u64,
    /// Why, if it failed.
    pub reason: Option<String>,
}

/// What a replication is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Its document was not looked at yet.
    Initializing,
    /// It works, or waits for a change.
    Running,
    /// It waits for its turn.
    Pending,
    /// Everything was carried over.
    Completed,
    /// It failed and is tried again.
    Crashing,
    /// Its document makes no sense.
    Failed,
}

impl JobState {
    /// `CouchDB`'s word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Running => "running",
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Crashing => "crashing",
            Self::Failed => "failed",
        }
    }
}

/// A job.
#[derive(Clone, Debug)]
pub struct ReplicationJob {
    /// Its name.
    pub id: String,
    /// The document that describes it: its database and id.
    pub document: Option<(String, String)>,
    /// From where, without passwords.
    pub source: String,
    /// To where, without passwords.
    pub target: String,
    /// The proxies on the way, without passwords.
    pub proxies: (Option<String>, Option<String>),
    /// In whose name.
    pub user: Option<String>,
    /// When it was added.
    pub started_unix_s: u64,
    /// What it is at.
    pub state: JobState,
    /// Why it failed last, if it rests after that.
    pub error: Option<String>,
    /// Failures in a row.
    pub error_count: u32,
    /// What happened, the newest first.
    pub history: Vec<JobEvent>,
    /// How far it is.
    pub progress: Snapshot,
    /// Whether it goes on when everything is there.
    pub continuous: bool,
    /// How often it writes down how far it is.
    pub checkpoint_interval_ms: u64,
}

/// A document that describes a replication.
#[derive(Clone, Debug)]
pub struct ReplicationDocument {
    /// Its database.
    pub database: String,
    /// Its id.
    pub id: String,
    /// From where, without passwords.
    pub source: String,
    /// To where, without passwords.
    pub target: String,
    /// What it is at.
    pub state: JobState,
    /// The job, while there is one.
    pub job: Option<ReplicationJob>,
    /// What is written in it once it has ended: figures, or why not.
    pub info: Map<String, Value>,
    /// When it came to its state, as written in it.
    pub changed: Option<String>,
    /// When it began, as written in it.
    pub started: Option<String>,
}

fn proxy_of(endpoint: &Endpoint) -> Option<String> {
    match endpoint {
        Endpoint::Local(_) => None,
        Endpoint::Remote(remote) => {
            let proxy = remote.proxy.as_ref()?;
            let address = Address::parse(proxy).ok();
            Some(address.map_or_else(|| "invalid".to_owned(), |address| address.to_string()))
        }
    }
}

fn shown(job: &Job) -> ReplicationJob {
    let (record, progress) = (job.record.lock().clone(), job.progress.snapshot());
    let description = &job.description;
    let state = match (&record.crashed, progress.waiting) {
        (Some(_), _) => JobState::Crashing,
        (None, true) => JobState::Pending,
        (None, false) => JobState::Running,
    };
    let interval = description.tuning.checkpoint_interval.as_millis();
    ReplicationJob {
        id: job.id.to_string(),
        document: job
            .origin
            .as_ref()
            .map(|origin| (origin.database.as_str().to_owned(), origin.id.clone())),
        source: description.source.to_string(),
        target: description.target.to_string(),
        proxies: (proxy_of(&description.source), proxy_of(&description.target)),
        user: job.author.caller.name().map(str::to_owned),
        started_unix_s: job.started_unix_s,
        state,
        error: record.crashed,
        error_count: record.errors,
        history: record.history.into(),
        progress,
        continuous: description.continuous,
        checkpoint_interval_ms: u64::try_from(interval).unwrap_or(u64::MAX),
    }
}

impl Pod {
    /// The jobs there are, in the order of their names.
    #[must_use]
    pub fn replication_jobs(&self) -> Vec<ReplicationJob> {
        let jobs: Vec<Arc<Job>> = self
            .inner
            .replicator
            .jobs
            .lock()
            .by_id
            .values()
            .cloned()
            .collect();
        jobs.iter().map(|job| shown(job)).collect()
    }

    /// The job of this name.
    #[must_use]
    pub fn replication_job(&self, id: &str) -> Option<ReplicationJob> {
        let job = self.inner.replicator.jobs.lock().by_id.get(id).cloned();
        job.map(|job| shown(&job))
    }

    /// What became of the description `id` in a database.
    ///
    /// # Errors
    /// [`PodError::Missing`] if there is none.
    pub fn replication_document(
        &self,
        database: &DatabaseName,
        id: &str,
        caller: &Caller,
    ) -> Result<ReplicationDocument, PodError> {
        let entry = self.database(database)?;
        entry.security.access(caller).require_member()?;
        self.shown_document(database, id)
    }

    fn shown_document(
        &self,
        database: &DatabaseName,
        id: &str,
    ) -> Result<ReplicationDocument, PodError> {
        let (_, fields) = self
            .read_description(database, id)?
            .ok_or(PodError::Missing)?;
        let origin = Origin {
            database: database.clone(),
            id: id.to_owned(),
        };
        let job = {
            let jobs = self.inner.replicator.jobs.lock();
            let id = jobs.by_document.get(&origin);
            id.and_then(|id| jobs.by_id.get(id)).cloned()
        };
        let job = job.map(|job| shown(&job));
        let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        let written = text("_replication_state");
        let state = match (written.as_deref(), &job) {
            (Some("completed"), None) => JobState::Completed,
            (Some("failed"), None) => JobState::Failed,
            (_, Some(job)) => job.state,
            (_, None) => JobState::Initializing,
        };
        let mut info = match fields.get("_replication_stats") {
            Some(Value::Object(stats)) => stats.clone(),
            Some(_) | None => Map::new(),
        };
        let started = info
            .shift_remove("start_time")
            .and_then(|time| time.as_str().map(str::to_owned));
        if let Some(reason) = fields.get("_replication_state_reason") {
            info.insert("error".to_owned(), reason.clone());
        }
        Ok(ReplicationDocument {
            database: database.as_str().to_owned(),
            id: id.to_owned(),
            source: stripped_endpoint(fields.get("source")),
            target: stripped_endpoint(fields.get("target")),
            state,
            job,
            info,
            changed: text("_replication_state_time"),
            started,
        })
    }

    /// Descriptions of a database behind `after`, in the order of their ids: at most `limit`.
    ///
    /// # Errors
    /// [`PodError::Refused`] if this caller may not enter the database.
    pub fn replication_documents(
        &self,
        database: &DatabaseName,
        caller: &Caller,
        after: Option<&str>,
        limit: u64,
    ) -> Result<Vec<ReplicationDocument>, PodError> {
        let entry = self.database(database)?;
        entry.security.access(caller).require_member()?;
        let range = IdRange {
            first: after.map(|id| format!("{id}\0")),
            last: None,
        };
        let listed = self.list(&entry, &internal(), &range, Direction::Forward, 0, limit)?;
        let mut found = Vec::with_capacity(listed.len());
        for row in listed {
            if row.id.starts_with("_design/") {
                continue;
            }
            match self.shown_document(database, &row.id) {
                Ok(document) => found.push(document),
                // Deleted meanwhile.
                Err(PodError::Missing) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

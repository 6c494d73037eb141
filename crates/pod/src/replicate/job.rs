//! A job: one replication, run until it is done, told to end, or given up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use adea_replication::{
    Description, Ended, Endpoint, Patience, Progress, ReplicationError, ReplicationId, Stop,
    Stopper,
};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::PodError;
use crate::pod::Pod;
use crate::replicate::Origin;
use crate::replicate::author::Author;
use crate::replicate::shown::JobEvent;

/// Events that are remembered.
const HISTORY_MAX: usize = 20;
/// The most doublings of the pause after a failure.
const DOUBLINGS_MAX: u32 = 10;
/// A job that ran so long is well again: its failures are counted anew.
const HEALTHY_S: u64 = 120;

/// How a job ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Completed(Map<String, Value>),
    Failed(ReplicationError),
    Stopped,
}

/// A replication and what became of it so far.
pub(super) struct Job {
    pub(super) id: ReplicationId,
    pub(super) description: Arc<Description>,
    /// In whose name it runs.
    pub(super) author: Arc<Author>,
    /// The document that describes it.
    pub(super) origin: Option<Origin>,
    pub(super) started_unix_s: u64,
    pub(super) progress: Arc<Progress>,
    pub(super) record: Mutex<Record>,
    pub(super) stopper: Stopper,
    pub(super) outcome: watch::Sender<Option<Outcome>>,
    pub(super) task: Mutex<Option<JoinHandle<()>>>,
}

/// What happened to a job.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// The newest first.
    pub(super) history: VecDeque<JobEvent>,
    /// Failures since it was well.
    pub(super) errors: u32,
    /// Whether it rests after a failure, and which.
    pub(super) crashed: Option<String>,
}

impl Record {
    fn note(&mut self, kind: &'static str, reason: Option<String>, unix_s: u64) {
        self.history.push_front(JobEvent {
            kind,
            unix_s,
            reason,
        });
        self.history.truncate(HISTORY_MAX);
    }
}

impl Job {
    pub(super) fn new(
        id: ReplicationId,
        description: Description,
        author: Author,
        origin: Option<Origin>,
        unix_s: u64,
    ) -> (Self, Stop) {
        let (stopper, stop) = Stopper::new();
        let mut record = Record {
            history: VecDeque::new(),
            errors: 0,
            crashed: None,
        };
        record.note("added", None, unix_s);
        let job = Self {
            id,
            description: Arc::new(description),
            author: Arc::new(author),
            origin,
            started_unix_s: unix_s,
            progress: Arc::default(),
            record: Mutex::new(record),
            stopper,
            outcome: watch::Sender::new(None),
            task: Mutex::new(None),
        };
        (job, stop)
    }
}

impl Pod {
    /// Runs a job until it is over.
    pub(super) async fn drive(&self, job: &Arc<Job>, mut stop: Stop) {
        let outcome = loop {
            let began = self.inner.clock.now_unix_s();
            job.record.lock().note("started", None, began);
            let attempted = tokio::select! {
                ended = self.attempt(job, stop.clone()) => ended,
                // What was carried over is there; the rest may not be any more.
                () = self.author_lost(&job.author) => Err(unauthorized(job)),
            };
            let error = match attempted {
                Ok(Ended::Completed(summary)) => break Outcome::Completed(summary),
                Ok(Ended::Stopped) => break Outcome::Stopped,
                Ok(Ended::Yielded) => {
                    let now = self.inner.clock.now_unix_s();
                    job.record.lock().note("stopped", None, now);
                    continue;
                }
                Err(error) => error,
            };
            let (id, source, target) = (&job.id, &job.description.source, &job.description.target);
            tracing::warn!(%id, %error, "replication of {source} to {target} failed: {error}");
            if job.origin.is_none() {
                break Outcome::Failed(error);
            }
            let pause = self.crashed(job, &error, began);
            tokio::select! {
                () = tokio::time::sleep(pause) => job.record.lock().crashed = None,
                () = stop.wait() => break Outcome::Stopped,
            }
        };
        if let (Outcome::Completed(_), Some(origin)) = (&outcome, &job.origin) {
            self.write_completed(origin, job).await;
        }
        // Off the list first: who is told that it ended does not find it there any more.
        self.forget_job(job);
        job.outcome.send_replace(Some(outcome));
    }

    async fn attempt(&self, job: &Arc<Job>, stop: Stop) -> Result<Ended, ReplicationError> {
        let replicator = &self.inner.replicator;
        let description = &job.description;
        let caller = self.author_now(&job.author);
        let caller = caller.map_err(|error| {
            if matches!(error, PodError::Refused(_)) {
                return unauthorized(job);
            }
            ReplicationError::Failed {
                what: "reading accounts",
                peer: "this server".to_owned(),
                reason: error.to_string(),
            }
        })?;
        let author = (&job.author, &caller);
        let tuning = &description.tuning;
        let running = adea_replication::Job {
            source: self.peer_of(&description.source, tuning, author)?,
            target: self.peer_of(&description.target, tuning, author)?,
            description: Arc::clone(description),
            id: job.id.clone(),
            session: self.inner.entropy.hex_id(),
            clock: self.inner.clock.clone(),
            patience: Patience {
                retries: tuning.retries,
                entropy: self.inner.entropy.clone(),
            },
            places: Arc::clone(&replicator.places),
            turn: replicator.options.turn,
            progress: Arc::clone(&job.progress),
        };
        adea_replication::run(&running, stop).await
    }

    /// Notes a failure, and says how long to rest.
    fn crashed(&self, job: &Job, error: &ReplicationError, began: u64) -> Duration {
        let now = self.inner.clock.now_unix_s();
        let reason = error.to_string();
        let mut record = job.record.lock();
        if now.saturating_sub(began) >= HEALTHY_S {
            record.errors = 0;
        }
        record.errors += 1;
        record.note("crashed", Some(reason.clone()), now);
        record.crashed = Some(reason);
        let doublings = (record.errors - 1).min(DOUBLINGS_MAX);
        let options = &self.inner.replicator.options;
        options.retry.saturating_mul(1 << doublings)
    }
}

/// The author of a job may do nothing any more: the end that is this server's own is closed to him.
fn unauthorized(job: &Job) -> ReplicationError {
    let (source, target) = (&job.description.source, &job.description.target);
    let own = match target {
        Endpoint::Local(_) => target,
        Endpoint::Remote(_) => source,
    };
    ReplicationError::Unauthorized(own.to_string())
}

impl From<ReplicationError> for PodError {
    fn from(error: ReplicationError) -> Self {
        Self::Replication(Box::new(error))
    }
}

//! A job: one replication, run until it is done, told to end, or given up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use adea_base::Caller;
use adea_replication::{
    Description, Ended, Patience, Progress, ReplicationError, ReplicationId, Stop, Stopper,
};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::PodError;
use crate::pod::Pod;
use crate::replicate::Origin;
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
    pub(super) caller: Caller,
    /// Whether that name was an account's of this server when the job was added.
    local: bool,
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
        (caller, local): (Caller, bool),
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
            caller,
            local,
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
            let error = match self.attempt(job, stop.clone()).await {
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
        let caller = self.caller_of(job);
        let tuning = &description.tuning;
        let running = adea_replication::Job {
            source: self.peer_of(&description.source, tuning, &caller)?,
            target: self.peer_of(&description.target, tuning, &caller)?,
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

    /// Who a job acts as, with the rights that he has now, and never more than he had when he
    /// started it: a token may carry a name that is somebody else's here.
    fn caller_of(&self, job: &Job) -> Caller {
        let Some(name) = job.caller.name() else {
            return job.caller.clone();
        };
        match self.caller_named(name) {
            // What describes a job was let in only from who held these roles.
            Ok(Some(caller)) if job.origin.is_some() => caller,
            Ok(Some(caller)) => {
                let mut roles = caller.roles().to_vec();
                roles.retain(|role| job.caller.roles().contains(role));
                let narrowed = Caller::named(name, roles);
                // By his account it is noticed while the job runs that he leaves an app.
                match caller.account() {
                    Some(account) => narrowed.with_account(account),
                    None => narrowed,
                }
            }
            // The account is gone, and its rights with it.
            Ok(None) if job.local => Caller::anonymous(),
            // He has no account here: he came with a proof of his own, and with these roles.
            Ok(None) => job.caller.clone(),
            Err(error) => {
                tracing::warn!(%error, "an account cannot be read: {error}");
                Caller::anonymous()
            }
        }
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

impl From<ReplicationError> for PodError {
    fn from(error: ReplicationError) -> Self {
        Self::Replication(Box::new(error))
    }
}

//! Bringing indexes up to date, one run at a time for each of them.
//!
//! Whoever wants an index to be as far as some sequence joins the run that works on it, or begins
//! one. A run takes the indexes of one design document together, so that each document is read
//! once; it goes page by page (`run.rs`), and commits what a page changed together with how far it
//! came, so that a crash costs at most that page. Who waits is told when everything up to his
//! sequence is in, or why it is not. A run goes on although nobody waits any more, as long as a
//! design document names its indexes.
//!
//! Invariant: an index is in one run at most, and nobody else writes to it.

mod map;
mod page;
mod progress;
mod reduces;
mod run;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use adea_documents::collation::Collation;
use adea_documents::index::builtin::Builtin;
use adea_documents::index::{self, IndexState, Row, Signature};
use adea_documents::{DatabaseError, DatabaseNumber, database};
use adea_script::ScriptError;
use adea_store::{CommitError, EngineError, TransactError};
use parking_lot::Mutex;

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::indexing::run::{Reached, Run};
use crate::pod::Pod;

pub use progress::IndexTask;
pub(crate) use reduces::call_of;

/// What an index takes out of a document without any JavaScript.
pub(crate) trait Extract: fmt::Debug + Send + Sync {
    /// The rows of document `id`; `json` is the document as clients read it, with `_id`, `_rev`
    /// and the stubs of its attachments.
    fn rows(&self, id: &str, json: &[u8]) -> Vec<Row>;
}

/// How an index gets its rows.
#[derive(Clone, Debug)]
pub(crate) enum Mapper {
    /// From a map function.
    Script {
        /// The JSON text of `views.lib`.
        lib: Option<Arc<str>>,
        /// The function.
        source: Arc<str>,
    },
    /// From fields, natively.
    Fields(Arc<dyn Extract>),
}

/// How rows are reduced.
#[derive(Clone, Debug)]
pub(crate) enum Reducer {
    /// By what is built in.
    Builtin(Builtin),
    /// By a function.
    Script {
        /// The function.
        source: Arc<str>,
    },
}

/// An index as somebody wants it.
#[derive(Clone, Debug)]
pub(crate) struct IndexPlan {
    /// Names what it computes.
    pub(crate) signature: Signature,
    /// How it gets its rows.
    pub(crate) mapper: Mapper,
    /// The reduces kept over it.
    pub(crate) reduces: Vec<(Signature, Reducer)>,
    /// The order of its keys.
    pub(crate) collation: Collation,
    /// Whether design documents are in it.
    pub(crate) include_design: bool,
    /// Whether documents have their `_local_seq` when they are mapped.
    pub(crate) local_seq: bool,
    /// Whether rows lie partition by partition: their keys are `[partition, key]` then.
    pub(crate) partitioned: bool,
    /// The design document that asks for it, for lists of tasks.
    pub(crate) name: String,
}

/// Why an index is not as far as somebody wants it; told to all who wait.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum IndexFailure {
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("the work on the index was interrupted")]
    Interrupted,
}

impl From<IndexFailure> for PodError {
    fn from(failure: IndexFailure) -> Self {
        match failure {
            IndexFailure::Script(error) => Self::Script(error),
            IndexFailure::Database(error) => Self::Database(error),
            IndexFailure::Engine(error) => Self::Engine(error),
            IndexFailure::Commit(error) => Self::Commit(error),
            IndexFailure::Interrupted => Self::Interrupted,
        }
    }
}

impl From<TransactError<DatabaseError>> for IndexFailure {
    fn from(error: TransactError<DatabaseError>) -> Self {
        match error {
            TransactError::Refused(error) => Self::Database(error),
            TransactError::Engine(error) => Self::Engine(error),
            TransactError::Commit(error) => Self::Commit(error),
        }
    }
}

/// The runs that there are, by database and index.
#[derive(Default)]
pub(crate) struct Indexing {
    runs: Mutex<HashMap<(DatabaseNumber, Signature), Arc<Run>>>,
    troubles: Mutex<HashMap<(DatabaseNumber, Signature), Trouble>>,
}

/// A function that gave no answer, which is not tried again for a while: each try costs as long as
/// a function may take, and it would not answer then either.
#[derive(Clone, Debug)]
struct Trouble {
    error: ScriptError,
    until_unix_ms: u64,
}

/// How long what failed is not tried again.
const TROUBLE_MS: u64 = 10_000;
/// How many troubles are remembered; forgetting all beyond is crude, and rare.
const TROUBLES_MAX: usize = 10_000;

/// How often somebody waits anew for an index that others take away from under him.
const ATTEMPTS_MAX: usize = 8;

impl Pod {
    /// Brings the indexes up to `sequence`; several of one design document read each document
    /// once. Callers who come meanwhile wait for the same run.
    pub(crate) async fn index_through(
        &self,
        entry: &Arc<DatabaseEntry>,
        plans: &[Arc<IndexPlan>],
        sequence: u64,
    ) -> Result<Vec<IndexState>, PodError> {
        let purges = self.statistics(entry)?.purge_sequence;
        for _ in 0..ATTEMPTS_MAX {
            let (states, behind) = self.seen_indexes(entry, plans, sequence, purges)?;
            if behind.is_empty() {
                return Ok(states);
            }
            for mut waiting in self.runs_for(entry, behind, sequence) {
                let outcome = waiting
                    .wait_for(|reached| match reached {
                        Reached::Through(through) => *through >= sequence,
                        Reached::Ended(_) => true,
                    })
                    .await
                    .map(|reached| reached.clone());
                match outcome {
                    Ok(Reached::Ended(Err(failure))) => return Err(failure.into()),
                    Ok(Reached::Through(_) | Reached::Ended(Ok(()))) => {}
                    Err(_) => return Err(PodError::Interrupted),
                }
            }
        }
        Err(PodError::Interrupted)
    }

    /// What a function answered a moment ago, if that was none; `named` is whose it is.
    pub(crate) fn trouble(&self, entry: &DatabaseEntry, named: &Signature) -> Option<ScriptError> {
        let troubles = self.inner.indexing.troubles.lock();
        let trouble = troubles.get(&(entry.number, *named))?;
        let now = self.inner.clock.now_unix_ms();
        (now < trouble.until_unix_ms).then(|| trouble.error.clone())
    }

    /// Remembers that a function gave no answer, if that was its own doing.
    pub(crate) fn note_trouble(
        &self,
        entry: &DatabaseEntry,
        named: Signature,
        error: &ScriptError,
    ) {
        match error {
            ScriptError::TimedOut | ScriptError::TooMuchMemory | ScriptError::Crashed(_) => {}
            ScriptError::Compilation { .. }
            | ScriptError::Missing(_)
            | ScriptError::Threw { .. }
            | ScriptError::TooBusy
            | ScriptError::Disabled => return,
        }
        let until_unix_ms = self.inner.clock.now_unix_ms() + TROUBLE_MS;
        let mut troubles = self.inner.indexing.troubles.lock();
        if troubles.len() >= TROUBLES_MAX {
            troubles.clear();
        }
        let error = error.clone();
        let trouble = Trouble {
            error,
            until_unix_ms,
        };
        troubles.insert((entry.number, named), trouble);
    }

    /// Brings the indexes up to where the database is now, behind whoever asks for it.
    pub(crate) fn index_in_background(
        &self,
        entry: &Arc<DatabaseEntry>,
        plans: Vec<Arc<IndexPlan>>,
    ) {
        let (pod, entry) = (self.clone(), Arc::clone(entry));
        tokio::spawn(async move {
            let done = async {
                let sequence = pod.statistics(&entry)?.update_sequence;
                pod.index_through(&entry, &plans, sequence).await
            };
            if let Err(error) = done.await {
                let database = entry.name.as_str();
                tracing::info!(database, %error, "an index of {database} stays behind: {error}");
            }
        });
    }

    /// The indexes as they are; and those of `plans` that are not as far as is wanted.
    fn seen_indexes(
        &self,
        entry: &DatabaseEntry,
        plans: &[Arc<IndexPlan>],
        sequence: u64,
        purges: u64,
    ) -> Result<(Vec<IndexState>, Vec<Arc<IndexPlan>>), PodError> {
        let view = self.view();
        let newest = database::statistics(view.as_ref(), entry.number)?;
        let (mut states, mut behind) = (Vec::new(), Vec::new());
        for plan in plans {
            let found = index::find(view.as_ref(), entry.number, &plan.signature)?;
            let whole = found.filter(|state| {
                let reduces = plan.reduces.iter();
                state.sequence >= sequence
                    && state.purge_sequence >= purges
                    // A restored database may be behind an index that was not.
                    && state.sequence <= newest.update_sequence
                    && reduces.map(|(reduce, _)| reduce).all(|one| state.has_reduce(one))
            });
            match whole {
                Some(state) => states.push(state),
                None => behind.push(Arc::clone(plan)),
            }
        }
        Ok((states, behind))
    }

    /// The runs that work on `plans`, or begin to.
    fn runs_for(
        &self,
        entry: &Arc<DatabaseEntry>,
        plans: Vec<Arc<IndexPlan>>,
        sequence: u64,
    ) -> Vec<tokio::sync::watch::Receiver<Reached>> {
        let mut runs = self.inner.indexing.runs.lock();
        let (mut joined, mut new): (Vec<Arc<Run>>, Vec<Arc<IndexPlan>>) = (Vec::new(), Vec::new());
        for plan in plans {
            match runs.get(&(entry.number, plan.signature)) {
                Some(run) if joined.iter().any(|known| Arc::ptr_eq(known, run)) => {}
                Some(run) => joined.push(Arc::clone(run)),
                None if new.iter().any(|known| known.signature == plan.signature) => {}
                None => new.push(plan),
            }
        }
        if !new.is_empty() {
            let run = Arc::new(Run::new(self, Arc::clone(entry), new));
            for plan in &run.plans {
                runs.insert((entry.number, plan.signature), Arc::clone(&run));
            }
            let (pod, started) = (self.clone(), Arc::clone(&run));
            // Before it is started: it looks for its target when it begins.
            run.target.fetch_max(sequence, Ordering::AcqRel);
            tokio::spawn(pod.run_to_the_end(started));
            joined.push(run);
        }
        for run in &joined {
            run.target.fetch_max(sequence, Ordering::AcqRel);
        }
        joined.iter().map(|run| run.reached.subscribe()).collect()
    }

    /// Takes `run` off the list, unless somebody wants more of it.
    fn retire(&self, run: &Run, through: u64) -> bool {
        let mut runs = self.inner.indexing.runs.lock();
        if run.target.load(Ordering::Acquire) > through {
            return false;
        }
        for plan in &run.plans {
            runs.remove(&(run.entry.number, plan.signature));
        }
        true
    }

    /// The runs there are, for `_active_tasks`.
    #[must_use]
    pub fn index_tasks(&self) -> Vec<IndexTask> {
        let runs = self.inner.indexing.runs.lock();
        let mut tasks: Vec<IndexTask> = Vec::new();
        for ((_, signature), run) in runs.iter() {
            // A run is found under each of its indexes. One that has counted nothing yet has
            // nothing to show, and may have nothing to do.
            let first = run.plans.first();
            if first.is_some_and(|plan| plan.signature == *signature) {
                tasks.extend(Some(run.task()).filter(|task| task.total_changes > 0));
            }
        }
        drop(runs);
        tasks.sort_by(|a, b| {
            (&a.database, &a.design_document).cmp(&(&b.database, &b.design_document))
        });
        tasks
    }

    /// How many wait for the run that works on the index, if one does.
    pub(crate) fn waiting_for(&self, entry: &DatabaseEntry, signature: &Signature) -> Option<u64> {
        let runs = self.inner.indexing.runs.lock();
        let run = runs.get(&(entry.number, *signature))?;
        Some(run.reached.receiver_count() as u64)
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! Databases of descriptions: `_replicator`, and all whose name ends so.
//!
//! Each is followed from its beginning: what stands in it when the server starts is started, what is
//! written later is started, changed or ended when it is written. How a replication ended is written
//! into its document, which then rests until somebody takes that out again.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use adea_accounts::Refusal;
use adea_base::{Caller, DatabaseName, DocumentId};
use adea_documents::json::{Draft, parse_document};
use adea_documents::revision::Revision;
use adea_replication::{Description, time::iso8601};
use adea_store::Direction;
use serde_json::{Map, Value, json};

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::follow_changes::{ChangesRange, Part};
use crate::pod::Pod;
use crate::read_document::{Told, Which};
use crate::replicate::Origin;
use crate::replicate::job::Job;
use crate::replicate::rules::{self, REPLICATOR_ROLE};
use crate::write_document::DraftedEdit;

/// Changes that are read at once.
const READ_MAX: usize = 1_000;
/// How often a document that somebody else changes meanwhile is written.
const ATTEMPTS_MAX: usize = 20;
/// The pause before a database that could not be read is read again.
const PAUSE: Duration = Duration::from_secs(5);

/// A description as it stands: its revision and its fields.
type Described = (Revision, Map<String, Value>);

/// Whether a database holds descriptions of replications.
pub(crate) fn is_replicator(name: &DatabaseName) -> bool {
    let name = name.as_str();
    name == "_replicator" || name.ends_with("/_replicator")
}

/// The server itself.
pub(super) fn internal() -> Caller {
    Caller::named(
        "_replicator",
        vec!["_admin".to_owned(), REPLICATOR_ROLE.to_owned()],
    )
}

impl Pod {
    /// Starts what databases of descriptions describe, and follows them.
    pub fn start_replicator(&self) {
        let pod = self.clone();
        tokio::spawn(async move { pod.follow_replicators().await });
    }

    /// Says that a database was made, in case it holds descriptions.
    pub(crate) fn database_made(&self, name: &DatabaseName) {
        if is_replicator(name) {
            self.inner.replicator.databases.notify_waiters();
        }
    }

    async fn follow_replicators(&self) {
        let replicator = &self.inner.replicator;
        let mut followed: Vec<(u64, tokio::task::JoinHandle<()>)> = Vec::new();
        while !replicator.ending.load(Ordering::Acquire) {
            // Listening begins before looking: what is made meanwhile is found after it.
            let mut made = std::pin::pin!(replicator.databases.notified());
            made.as_mut().enable();
            followed.retain(|(_, task)| !task.is_finished());
            for entry in self.replicator_databases() {
                let number = entry.number.0;
                if !followed.iter().any(|(known, _)| *known == number) {
                    let pod = self.clone();
                    let task = tokio::spawn(async move { pod.follow_replicator(&entry).await });
                    followed.push((number, task));
                }
            }
            made.await;
        }
        for (_, task) in followed {
            task.abort();
        }
    }

    fn replicator_databases(&self) -> Vec<Arc<DatabaseEntry>> {
        let names = match self.database_names(None, None, Direction::Forward, usize::MAX) {
            Ok(names) => names,
            Err(error) => {
                tracing::error!(%error, "databases of replications cannot be found: {error}");
                return Vec::new();
            }
        };
        let names = names
            .iter()
            .filter_map(|name| DatabaseName::parse(name).ok());
        names
            .filter(is_replicator)
            .filter_map(|name| self.database(&name).ok())
            .collect()
    }

    /// Follows one database of descriptions until it is dropped.
    async fn follow_replicator(&self, entry: &Arc<DatabaseEntry>) {
        let mut changes = self.watch_database(entry);
        let mut seen = 0;
        loop {
            changes.mark_seen();
            match self.changed_descriptions(entry, seen) {
                Ok((ids, at)) if !ids.is_empty() => {
                    for id in ids {
                        self.look_at(&entry.name, &id).await;
                    }
                    seen = at;
                    continue;
                }
                Ok((_, at)) => seen = at,
                Err(error) => {
                    let name = entry.name.as_str();
                    tracing::error!(name, %error, "{name} cannot be read: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            changes.changed().await;
            if changes.is_closed() {
                self.end_all_of(&entry.name).await;
                return;
            }
        }
    }

    /// The descriptions that changed behind `after`, and how far was looked.
    fn changed_descriptions(
        &self,
        entry: &DatabaseEntry,
        after: u64,
    ) -> Result<(Vec<String>, u64), PodError> {
        let until = self.statistics(entry)?.update_sequence;
        let range = ChangesRange {
            after,
            until,
            direction: Direction::Forward,
            part: Part::Kept,
            bodies: false,
            conflicts: false,
            leaves: false,
            leaf_bodies: false,
        };
        let (mut ids, mut at) = (Vec::new(), after);
        self.read_changes(entry, &internal(), range, |row| {
            at = row.sequence;
            if !row.id.starts_with("_design/") {
                ids.push(row.id.to_owned());
            }
            if ids.len() < READ_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        let at = if ids.len() < READ_MAX {
            until.max(at)
        } else {
            at
        };
        Ok((ids, at))
    }

    async fn end_all_of(&self, database: &DatabaseName) {
        let jobs: Vec<Arc<Job>> = {
            let jobs = self.inner.replicator.jobs.lock();
            let of = |job: &&Arc<Job>| {
                job.origin
                    .as_ref()
                    .is_some_and(|origin| origin.database == *database)
            };
            jobs.by_id.values().filter(of).cloned().collect()
        };
        for job in jobs {
            self.stop_job(&job).await;
        }
    }

    /// A description as it stands, if it does.
    pub(super) fn read_description(
        &self,
        database: &DatabaseName,
        id: &str,
    ) -> Result<Option<Described>, PodError> {
        let entry = self.database(database)?;
        let read = self.read(&entry, &internal(), id, &Which::Winner, Told::default());
        let found = match read {
            Ok(found) => found,
            Err(PodError::Missing | PodError::Deleted) => return Ok(None),
            Err(error) => return Err(error),
        };
        let fields = match serde_json::from_slice(&found.body.json) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) | Err(_) => Map::new(),
        };
        Ok(Some((found.revision, fields)))
    }

    /// Starts, changes or ends what a description that changed describes.
    async fn look_at(&self, database: &DatabaseName, id: &str) {
        let origin = Origin {
            database: database.clone(),
            id: id.to_owned(),
        };
        let running = {
            let jobs = self.inner.replicator.jobs.lock();
            let name = jobs.by_document.get(&origin);
            name.and_then(|name| jobs.by_id.get(name)).cloned()
        };
        let read = self.read_description(database, id);
        let fields = match read {
            Ok(found) => found.map(|(_, fields)| fields),
            Err(error) => {
                tracing::error!(id, %error, "replication {id} cannot be read: {error}");
                return;
            }
        };
        let rests = |fields: &Map<String, Value>| {
            let state = fields.get("_replication_state").and_then(Value::as_str);
            matches!(state, Some("completed" | "failed"))
        };
        let Some(fields) = fields.filter(|fields| !rests(fields)) else {
            if let Some(job) = running {
                self.stop_job(&job).await;
            }
            return;
        };
        if let Err(reason) = self.start_described(&origin, &fields, running).await {
            self.write_state(&origin, "failed", Some(&reason), None)
                .await;
        }
    }

    async fn start_described(
        &self,
        origin: &Origin,
        fields: &Map<String, Value>,
        running: Option<Arc<Job>>,
    ) -> Result<(), String> {
        let description = Description::read(fields);
        let caller = described_caller(fields);
        let described = match description {
            Ok(described) => described,
            Err(error) => {
                if let Some(job) = running {
                    self.stop_job(&job).await;
                }
                return Err(error.to_string());
            }
        };
        let id = self.replication_id(&described, &caller);
        if let Some(job) = running {
            if job.id == id && *job.description == described && job.author.caller == caller {
                return Ok(());
            }
            self.stop_job(&job).await;
        }
        let started = self.start_job(id, described, caller, Some(origin.clone()));
        let job = started.map_err(|error| error.to_string())?;
        match &job.origin {
            Some(other) if other == origin => Ok(()),
            Some(other) => Err(format!(
                "Replication `{}` specified by document `{}` in database `{}` already started, triggered by document `{}` from database `{}`",
                job.id, origin.id, origin.database, other.id, other.database
            )),
            None => Err(format!(
                "Replication `{}` specified by document `{}` in database `{}` already started by the _replicate API endpoint",
                job.id, origin.id, origin.database
            )),
        }
    }

    /// Writes into its document that a replication is done.
    pub(super) async fn write_completed(&self, origin: &Origin, job: &Job) {
        let mut stats = job.progress.snapshot().to_value();
        stats.insert("start_time".to_owned(), json!(iso8601(job.started_unix_s)));
        let ended = (job.id.to_string(), stats);
        self.write_state(origin, "completed", None, Some(&ended))
            .await;
    }

    /// Writes into a document how its replication ended.
    async fn write_state(
        &self,
        origin: &Origin,
        state: &str,
        reason: Option<&str>,
        ended: Option<&(String, Map<String, Value>)>,
    ) {
        for _ in 0..ATTEMPTS_MAX {
            let written = self.try_write_state(origin, state, reason, ended).await;
            match written {
                Ok(()) => return,
                Err(PodError::Write(adea_documents::WriteError::Conflict)) => {}
                Err(error) => {
                    let id = &origin.id;
                    tracing::error!(id, %error, "the state of replication {id} is not written: {error}");
                    return;
                }
            }
        }
    }

    async fn try_write_state(
        &self,
        origin: &Origin,
        state: &str,
        reason: Option<&str>,
        ended: Option<&(String, Map<String, Value>)>,
    ) -> Result<(), PodError> {
        let Some((revision, mut fields)) = self.read_description(&origin.database, &origin.id)?
        else {
            return Ok(());
        };
        let now = iso8601(self.inner.clock.now_unix_s());
        let mut set = |name: &str, value: Option<Value>| {
            fields.shift_remove(name);
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        };
        set("_replication_state", Some(json!(state)));
        set("_replication_state_time", Some(json!(now)));
        set("_replication_state_reason", reason.map(Value::from));
        set("_replication_id", ended.map(|(id, _)| json!(id)));
        set(
            "_replication_stats",
            ended.map(|(_, stats)| Value::Object(stats.clone())),
        );
        let draft = parse_document(Value::Object(fields).to_string().as_bytes())?;
        let entry = self.database(&origin.database)?;
        let id = DocumentId::parse(&origin.id).map_err(|_| PodError::Missing)?;
        let edit = DraftedEdit::Edit(Some(revision));
        let caller = internal();
        let prepared = self
            .prepare(&entry, &caller, id, draft, edit, Vec::new())
            .await?;
        self.write(&entry, prepared).await.map(drop)
    }

    /// Refuses who has, by a token, the name of an account of this server without its roles: what he
    /// describes would be run with them.
    fn is_himself(&self, caller: &Caller) -> Result<(), PodError> {
        let account = caller.name().map(|name| self.caller_named(name));
        let Some(account) = account.transpose()?.flatten() else {
            return Ok(());
        };
        if account
            .roles()
            .iter()
            .all(|role| caller.roles().contains(role))
        {
            return Ok(());
        }
        let reason = "This name is that of an account here with other roles.";
        Err(Refusal::Forbidden(reason.into()).into())
    }

    /// Checks a description that is written.
    ///
    /// # Errors
    /// [`PodError::Refused`] if this caller may not write this.
    pub(crate) fn prepare_description(
        &self,
        entry: &DatabaseEntry,
        draft: Draft,
        id: &str,
        caller: &Caller,
    ) -> Result<Draft, PodError> {
        let old = self.read_description(&entry.name, id)?;
        let access = entry.security.access(caller);
        self.is_himself(caller)?;
        rules::prepared(
            draft,
            old.as_ref().map(|(_, fields)| fields),
            caller,
            access,
        )
    }
}

/// In whose name a description is run.
fn described_caller(fields: &Map<String, Value>) -> Caller {
    let context = fields.get("user_ctx").and_then(Value::as_object);
    let name = context
        .and_then(|context| context.get("name"))
        .and_then(Value::as_str)
        .or_else(|| rules::owner(fields));
    let roles = context
        .and_then(|context| context.get("roles"))
        .and_then(Value::as_array);
    let roles = roles.map_or(&[][..], Vec::as_slice).iter();
    // What is written down makes nobody an administrator.
    let roles = roles.filter_map(Value::as_str);
    let roles = roles.filter(|role| !role.starts_with('_'));
    let roles: Vec<String> = roles.map(str::to_owned).collect();
    match name {
        Some(name) => Caller::named(name, roles),
        None => Caller::anonymous(),
    }
}

//! One batch: what of it the target lacks is fetched from the source and written.
//!
//! Documents without attachments come many in one answer and go many in one request; they are written as
//! soon as enough came, so that a batch holds little however large its documents are. Those with
//! attachments, and those that could not be had so, are carried one by one, a few at once. A document
//! that the target refuses is counted; anything else that fails ends the batch, and nothing of it counts
//! as done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::description::Tuning;
use crate::error::ReplicationError;
use crate::patience::Patience;
use crate::peer::{ChangeRow, Fetched, Later, Peer, PeerError, Sent, Wanted, WriteFailure};
use crate::stats::Stats;
use crate::stop::Stop;
use crate::transfer::{Contents, Head};

/// Bytes of documents that are written together.
const FLUSH_BYTES: usize = 1 << 20;
/// Documents that are written together.
const FLUSH_COUNT: usize = 1_000;
/// Words of a target for faults of its own: the document is not at fault, and is not given up.
const PASSING: [&str; 4] = [
    "internal_server_error",
    "service_unavailable",
    "timeout",
    "too_many_requests",
];

/// From where to where, and how.
pub(crate) struct Route {
    pub(crate) source: Arc<dyn Peer>,
    pub(crate) target: Arc<dyn Peer>,
    pub(crate) patience: Patience,
    pub(crate) tuning: Tuning,
    pub(crate) stop: Stop,
    /// Whether the source answers for many documents at once.
    pub(crate) bulk_get: AtomicBool,
}

/// Documents that wait to be written, and what was done so far.
#[derive(Default)]
struct Outbox {
    documents: Vec<Bytes>,
    bytes: usize,
    stats: Stats,
}

/// Whose fault it was.
enum Side {
    Source(PeerError),
    Target(PeerError),
}

impl Route {
    pub(crate) fn source_error(&self, what: &'static str, error: PeerError) -> ReplicationError {
        ReplicationError::of(what, self.source.shown(), error)
    }

    fn target_error(&self, what: &'static str, error: PeerError) -> ReplicationError {
        ReplicationError::of(what, self.target.shown(), error)
    }

    /// Carries over what the target lacks of `rows`.
    pub(crate) async fn carry(
        self: Arc<Self>,
        rows: Vec<ChangeRow>,
    ) -> Result<Stats, ReplicationError> {
        let mut outbox = Outbox::default();
        let asking = || self.target.lacking(&rows);
        let wanted = self.patience.ask(&self.stop, asking).await;
        let wanted = wanted.map_err(|error| self.target_error("_revs_diff", error))?;
        let checked: usize = rows.iter().map(|row| row.revisions.len()).sum();
        outbox.stats.missing_checked = checked as u64;
        outbox.stats.missing_found = wanted.len() as u64;
        drop(rows);
        let alone = self.fetch(wanted, &mut outbox).await?;
        self.carry_each(alone, &mut outbox).await?;
        self.flush(&mut outbox).await?;
        Ok(outbox.stats)
    }

    /// Fetches documents many at once, and answers with those that have to be carried alone.
    async fn fetch(
        &self,
        wanted: Vec<Wanted>,
        outbox: &mut Outbox,
    ) -> Result<Vec<Wanted>, ReplicationError> {
        let mut alone = Vec::new();
        let mut left = wanted.as_slice();
        let mut attempt = 0;
        while !left.is_empty() && self.bulk_get.load(Ordering::Relaxed) {
            let before = left.len();
            let fetched = self.fetch_some(&mut left, outbox, &mut alone).await;
            if left.len() < before {
                attempt = 0;
            }
            match fetched {
                Ok(()) => {}
                Err(Side::Source(PeerError::Unsupported)) => {
                    self.bulk_get.store(false, Ordering::Relaxed);
                }
                Err(Side::Source(error))
                    if error.is_transient() && attempt < self.patience.retries =>
                {
                    attempt += 1;
                    self.rest(attempt, &error).await?;
                }
                Err(Side::Source(error)) => return Err(self.source_error("_bulk_get", error)),
                Err(Side::Target(error)) => return Err(self.target_error("_bulk_docs", error)),
            }
        }
        alone.extend_from_slice(left);
        Ok(alone)
    }

    /// Pauses before the next attempt.
    async fn rest(&self, attempt: u32, error: &PeerError) -> Result<(), ReplicationError> {
        let pause = self.patience.pause(attempt);
        tracing::debug!(%error, attempt, "trying again in {pause:?}: {error}");
        let mut stop = self.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = stop.wait() => Err(self.source_error("ending", error.clone())),
        }
    }

    async fn fetch_some(
        &self,
        left: &mut &[Wanted],
        outbox: &mut Outbox,
        alone: &mut Vec<Wanted>,
    ) -> Result<(), Side> {
        outbox.stats.bulk_get_attempts += 1;
        let mut rows = self.source.fetch(left).await.map_err(Side::Source)?;
        while let Some(row) = rows.next().await.map_err(Side::Source)? {
            let Some((wanted, rest)) = left.split_first() else {
                break;
            };
            if row.is_empty() || row.iter().any(|fetched| fetched.has_attachments) {
                alone.push(wanted.clone());
            } else {
                for Fetched { json, .. } in row {
                    outbox.stats.docs_read += 1;
                    outbox.stats.bulk_get_docs += 1;
                    outbox.push(json);
                }
                if outbox.is_full() {
                    self.flush_or(outbox).await.map_err(Side::Target)?;
                }
            }
            *left = rest;
        }
        Ok(())
    }

    /// Carries documents one by one, a few at once.
    async fn carry_each(
        self: &Arc<Self>,
        wanted: Vec<Wanted>,
        outbox: &mut Outbox,
    ) -> Result<(), ReplicationError> {
        let at_once = (self.tuning.connections / self.tuning.workers).max(1);
        let mut tasks = JoinSet::new();
        let mut wanted = wanted.into_iter();
        loop {
            while tasks.len() < at_once
                && let Some(one) = wanted.next()
            {
                let route = Arc::clone(self);
                tasks.spawn(async move { route.carry_one(&one).await });
            }
            let Some(done) = tasks.join_next().await else {
                return Ok(());
            };
            let broke =
                |_| self.source_error("carrying", PeerError::Transient("a task broke".to_owned()));
            let (stats, plain) = done.map_err(broke)??;
            outbox.stats.add(&stats);
            for json in plain {
                outbox.push(json);
            }
            if outbox.is_full() {
                self.flush(outbox).await?;
            }
        }
    }

    /// Carries one document; those of its revisions that have no attachments are left to the caller.
    async fn carry_one(&self, wanted: &Wanted) -> Result<(Stats, Vec<Bytes>), ReplicationError> {
        let (mut all, mut attempt, mut looked_again) = (false, 0, false);
        loop {
            let error = match self.carry_once(wanted, all).await {
                Ok(done) => return Ok(done),
                Err(Side::Target(PeerError::MissingStub(_))) if !all => {
                    // The target lost what it had: all contents are sent then.
                    all = true;
                    continue;
                }
                Err(Side::Source(PeerError::Missing)) if !looked_again => {
                    looked_again = true;
                    PeerError::Missing
                }
                Err(Side::Source(PeerError::Missing)) => {
                    // It was purged or compacted away, and a change that follows tells what is left.
                    tracing::info!(
                        id = wanted.id,
                        "{} {} is not at the source any more",
                        wanted.id,
                        wanted.revision
                    );
                    return Ok((Stats::default(), Vec::new()));
                }
                Err(Side::Source(error) | Side::Target(error))
                    if error.is_transient() && attempt < self.patience.retries =>
                {
                    error
                }
                Err(Side::Source(error)) => {
                    return Err(self.source_error("fetching a document", error));
                }
                Err(Side::Target(error)) => {
                    return Err(self.target_error("writing a document", error));
                }
            };
            attempt += 1;
            self.rest(attempt, &error).await?;
        }
    }

    async fn carry_once(&self, wanted: &Wanted, all: bool) -> Result<(Stats, Vec<Bytes>), Side> {
        let (mut stats, mut plain) = (Stats::default(), Vec::new());
        let mut sending = self.source.open(wanted, all).await.map_err(Side::Source)?;
        let mut any = false;
        while let Some(sent) = sending.next_document().await.map_err(Side::Source)? {
            let Sent::Document { json, following } = sent else {
                continue;
            };
            any = true;
            stats.docs_read += 1;
            let has_attachments = Head::read(&json).map_err(Side::Source)?.has_attachments();
            if !has_attachments {
                plain.push(json);
                continue;
            }
            let mut contents = Contents::new(sending.as_mut(), &following);
            let written = self
                .target
                .write_with(&wanted.id, json, &mut contents)
                .await;
            if let Some(fault) = contents.fault() {
                return Err(Side::Source(fault.clone()));
            }
            match written {
                Ok(()) => stats.docs_written += 1,
                Err(error) if is_of_document(&error) => {
                    stats.doc_write_failures += 1;
                    self.refused(&wanted.id, &error);
                }
                Err(error) => return Err(Side::Target(error)),
            }
        }
        if any {
            Ok((stats, plain))
        } else {
            Err(Side::Source(PeerError::Missing))
        }
    }

    fn refused(&self, id: &str, why: &dyn std::fmt::Display) {
        let target = self.target.shown();
        tracing::info!(id, target, "{target} refused document {id}: {why}");
    }

    async fn flush(&self, outbox: &mut Outbox) -> Result<(), ReplicationError> {
        let flushed = self.flush_or(outbox).await;
        flushed.map_err(|error| self.target_error("_bulk_docs", error))
    }

    /// Writes what waits; what is too long or refused as a whole is divided, down to one document.
    async fn flush_or(&self, outbox: &mut Outbox) -> Result<(), PeerError> {
        let documents = std::mem::take(&mut outbox.documents);
        outbox.bytes = 0;
        let mut parts = vec![documents.as_slice()];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let writing = || -> Later<'_, _> { Box::pin(self.write(part)) };
            match self.patience.ask(&self.stop, writing).await {
                Ok(failures) => {
                    let failed = failures.len() as u64;
                    outbox.stats.doc_write_failures += failed;
                    outbox.stats.docs_written += (part.len() as u64).saturating_sub(failed);
                    for failure in failures {
                        let why = format!("{}: {}", failure.error, failure.reason);
                        self.refused(&failure.id, &why);
                    }
                }
                Err(error) if is_of_content(&error) => {
                    if let [document] = part {
                        outbox.stats.doc_write_failures += 1;
                        let id = Head::read(document).map(|head| head.id).unwrap_or_default();
                        self.refused(&id, &error);
                    } else {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn write(&self, documents: &[Bytes]) -> Result<Vec<WriteFailure>, PeerError> {
        let failures = self.target.write(documents).await?;
        let passing = failures
            .iter()
            .find(|row| PASSING.contains(&row.error.as_str()));
        match passing {
            // Those that went in go in again without harm.
            Some(row) => Err(PeerError::Transient(format!(
                "{}: {}",
                row.error, row.reason
            ))),
            None => Ok(failures),
        }
    }
}

/// Whether a target refused one document for what it is, or for who writes it.
fn is_of_document(error: &PeerError) -> bool {
    is_of_content(error) || matches!(error, PeerError::Unauthorized(_) | PeerError::Forbidden(_))
}

/// Whether a target refused a request for what is in it.
fn is_of_content(error: &PeerError) -> bool {
    match error {
        PeerError::TooLarge | PeerError::Refused { .. } => true,
        PeerError::Transient(_)
        | PeerError::Unauthorized(_)
        | PeerError::Forbidden(_)
        | PeerError::NoDatabase
        | PeerError::Missing
        | PeerError::MissingStub(_)
        | PeerError::Unsupported
        | PeerError::Nonsense(_) => false,
    }
}

impl Outbox {
    fn push(&mut self, json: Bytes) {
        self.bytes += json.len();
        self.documents.push(json);
    }

    fn is_full(&self) -> bool {
        self.bytes >= FLUSH_BYTES || self.documents.len() >= FLUSH_COUNT
    }
}

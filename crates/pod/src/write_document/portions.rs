//! Deciding drafts: in transactions of bounded work, or all at once.
//!
//! A transaction writes what it can of its drafts and says of each what became of it. Where
//! something judges them, it first makes sure that what was judged is what is there: else the draft
//! comes back and is judged again, a bounded number of times.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use adea_access::AccessList;
use adea_accounts::directory::Ground;
use adea_documents::database::{self, Settings};
use adea_documents::labels;
use adea_documents::revision::{Revision, RevisionId};
use adea_documents::writer::{Draft, Writer};
use adea_documents::{DatabaseNumber, WriteError};
use adea_files::{Digest, references};
use adea_store::{Decline, EngineError, TransactError, Transaction};

use super::merging::would_fork;
use super::{DraftedEdit, Outcome, Prepared};
use crate::access::WriteRefused;
use crate::access::label::label_of;
use crate::access::writing::{Forks, Writing};
use crate::databases::{DatabaseEntry, no_database};
use crate::directory::life::Touched;
use crate::error::PodError;
use crate::maintain::settle_references;
use crate::pod::Pod;
use crate::sign_in::USERS;
use crate::validate::DesignChanges;

/// Drafts that are decided in one transaction.
const PORTION: usize = 250;
/// How often a draft is judged that always finds something new. Each time somebody else's write
/// got through.
const ATTEMPTS: usize = 16;

/// What became of a draft in a transaction.
enum Fate {
    Done(Outcome),
    /// Its record is not the one that it was judged against.
    Stale,
}

/// What became of a transaction.
enum Decided {
    /// Nothing: other functions judge by now, or some do.
    Outdated,
    Written {
        fates: Vec<Fate>,
        released: Vec<Digest>,
    },
}

/// What a request that is written as a whole has come to: revisions, files that nobody refers to any
/// more, and the drafts.
type Done = (Vec<Revision>, Vec<Digest>, Vec<Prepared>);

/// Why nothing was written of a request that is written as a whole.
enum Undone {
    Outdated(Vec<Prepared>),
    Failed(Vec<Fate>, Vec<Prepared>),
    Pod(PodError),
}

/// What a transaction is told of the database, as it was read before.
#[derive(Clone)]
struct Premise {
    number: DatabaseNumber,
    read_at: u64,
    changes: Arc<DesignChanges>,
    /// What the database says of writing.
    writing: Arc<Writing>,
    /// Whether each draft must have been judged.
    judged: bool,
    /// There if the documents are accounts, whose records follow.
    accounts: Option<Ground>,
}

impl Fate {
    fn outcome(self) -> Outcome {
        match self {
            Self::Done(outcome) => outcome,
            Self::Stale => Err(PodError::Unsettled),
        }
    }
}

impl DatabaseEntry {
    /// Whether documents are judged before they are written.
    fn judges(&self) -> bool {
        !self.validators.is_empty() || self.name.is_users() || self.writing.judges()
    }
}

impl Premise {
    fn holds(&self) -> bool {
        self.changes.holds(self.number, self.read_at)
    }
}

impl Pod {
    /// Counts what was written.
    fn count_written(&self, written: usize) {
        let counts = &self.inner.documents;
        counts.written.fetch_add(written as u64, Ordering::Relaxed);
    }

    fn premise(&self, entry: &DatabaseEntry) -> Premise {
        Premise {
            number: entry.number,
            read_at: entry.read_at,
            changes: Arc::clone(&self.inner.design_changes),
            writing: Arc::clone(&entry.writing),
            judged: entry.judges(),
            accounts: (entry.name.as_str() == USERS).then(|| self.ground_of(entry.number)),
        }
    }

    /// Writes in transactions of bounded work, so that others get their turn in between. All take
    /// their place at once, and share a sync where they can, unless they are judged.
    pub(super) async fn write_in_portions(
        &self,
        entry: &Arc<DatabaseEntry>,
        mut drafts: Vec<Prepared>,
    ) -> Result<Vec<Outcome>, PodError> {
        let (mut all, mut failed) = (Vec::with_capacity(drafts.len()), None);
        let mut portions = Vec::with_capacity(drafts.len().div_ceil(PORTION));
        let judged = entry.judges();
        while !drafts.is_empty() {
            let rest = drafts.split_off(drafts.len().min(PORTION));
            let portion = std::mem::replace(&mut drafts, rest);
            if judged {
                all.extend(self.write_judged(Arc::clone(entry), portion).await?);
            } else {
                portions.push(self.submit(entry, portion));
            }
        }
        for portion in portions {
            let outcomes = match portion.await {
                Ok((Decided::Written { fates, released }, portion)) => {
                    drop(portion);
                    self.release_files(released).await;
                    let outcomes: Vec<_> = fates.into_iter().map(Fate::outcome).collect();
                    self.count_written(outcomes.iter().filter(|one| one.is_ok()).count());
                    Ok(outcomes)
                }
                Ok((Decided::Outdated, portion)) => self.write_anew(entry, portion).await,
                Err(error) => Err(error.into()),
            };
            match outcomes {
                Ok(outcomes) => all.extend::<Vec<_>>(outcomes),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            None => Ok(all),
            Some(error) => Err(error),
        }
    }

    /// Writes a portion for which the database was not read anew in time.
    async fn write_anew(
        &self,
        entry: &DatabaseEntry,
        portion: Vec<Prepared>,
    ) -> Result<Vec<Outcome>, PodError> {
        let entry = self.reread_database(entry)?;
        self.write_judged(entry, portion).await
    }

    /// Decides a portion. The drafts come back with the answer: their pins have served only when
    /// the commit that names the files is durable.
    fn submit(
        &self,
        entry: &DatabaseEntry,
        portion: Vec<Prepared>,
    ) -> impl Future<Output = Result<(Decided, Vec<Prepared>), TransactError<PodError>>> + Send + use<>
    {
        let premise = self.premise(entry);
        self.inner.store.submit(Self::permit(), move |tx| {
            if !premise.holds() {
                return Ok((Decided::Outdated, portion));
            }
            let decided = decide(tx, &premise, &portion)?;
            Ok((decided, portion))
        })
    }

    /// Judges a portion and writes what may be written, until nothing has changed in between.
    async fn write_judged(
        &self,
        mut entry: Arc<DatabaseEntry>,
        portion: Vec<Prepared>,
    ) -> Result<Vec<Outcome>, PodError> {
        let mut outcomes: Vec<Option<Outcome>> = portion.iter().map(|_| None).collect();
        let mut open: Vec<(usize, Prepared)> = portion.into_iter().enumerate().collect();
        let mut settle = |at: usize, outcome: Outcome| {
            if let Some(slot) = outcomes.get_mut(at) {
                *slot = Some(outcome);
            }
        };
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                entry = self.reread_database(&entry)?;
            }
            let judged = self.judge(&entry, open).await?;
            for (at, error) in judged.refused {
                settle(at, Err(error));
            }
            for (at, revision) in judged.known {
                settle(at, Ok(revision));
            }
            let accepted = judged.accepted.into_iter();
            let (places, drafts): (Vec<usize>, Vec<Prepared>) = accepted.unzip();
            if drafts.is_empty() {
                open = Vec::new();
                break;
            }
            let (decided, drafts) = self.submit(&entry, drafts).await?;
            let drafts = places.into_iter().zip(drafts);
            match decided {
                Decided::Outdated => open = drafts.collect(),
                Decided::Written { fates, released } => {
                    open = Vec::new();
                    for ((at, draft), fate) in drafts.zip(fates) {
                        match fate {
                            Fate::Done(outcome) => settle(at, outcome),
                            Fate::Stale => open.push((at, draft)),
                        }
                    }
                    self.release_files(released).await;
                }
            }
            if open.is_empty() {
                break;
            }
        }
        drop(open);
        let written = outcomes.iter().flatten().filter(|one| one.is_ok());
        self.count_written(written.count());
        let outcomes = outcomes.into_iter();
        Ok(outcomes
            .map(|outcome| outcome.unwrap_or(Err(PodError::Unsettled)))
            .collect())
    }

    /// Writes all drafts in one transaction, or none of them.
    pub(super) async fn write_at_once(
        &self,
        entry: &Arc<DatabaseEntry>,
        mut drafts: Vec<Prepared>,
    ) -> Result<Result<Vec<Revision>, Vec<Option<PodError>>>, PodError> {
        let (mut entry, count) = (Arc::clone(entry), drafts.len());
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                entry = self.reread_database(&entry)?;
            }
            if entry.judges() {
                let placed = drafts.into_iter().enumerate().collect();
                let judged = self.judge(&entry, placed).await?;
                if !judged.refused.is_empty() {
                    return Ok(Err(named(count, judged.refused)));
                }
                // None is known: these are edits.
                drafts = judged
                    .accepted
                    .into_iter()
                    .map(|(_, draft)| draft)
                    .collect();
            }
            let premise = self.premise(&entry);
            let decided = self
                .inner
                .store
                .transact(Self::permit(), move |tx| decide_all(tx, &premise, drafts));
            match decided.await {
                Ok((revisions, released, portion)) => {
                    drop(portion);
                    self.count_written(revisions.len());
                    self.release_files(released).await;
                    return Ok(Ok(revisions));
                }
                Err(TransactError::Refused(Undone::Outdated(again))) => drafts = again,
                Err(TransactError::Refused(Undone::Failed(fates, again))) => {
                    let failed = fates.into_iter().enumerate();
                    let failed = failed.filter_map(|(at, fate)| match fate {
                        Fate::Done(outcome) => Some((at, outcome.err()?)),
                        Fate::Stale => None,
                    });
                    let failed: Vec<_> = failed.collect();
                    if !failed.is_empty() {
                        return Ok(Err(named(count, failed)));
                    }
                    drafts = again;
                }
                Err(TransactError::Refused(Undone::Pod(error))) => return Err(error),
                Err(TransactError::Engine(error)) => return Err(error.into()),
                Err(TransactError::Commit(error)) => return Err(error.into()),
            }
        }
        Err(PodError::Unsettled)
    }
}

/// Errors by the places of their drafts.
fn named(count: usize, failed: Vec<(usize, PodError)>) -> Vec<Option<PodError>> {
    let mut errors: Vec<Option<PodError>> = (0..count).map(|_| None).collect();
    for (at, error) in failed {
        if let Some(slot) = errors.get_mut(at) {
            *slot = Some(error);
        }
    }
    errors
}

/// The revisions of all drafts; else nothing is kept of what was decided.
fn decide_all(
    tx: &mut Transaction<'_>,
    premise: &Premise,
    drafts: Vec<Prepared>,
) -> Result<Done, Decline<Undone>> {
    if !premise.holds() {
        return Err(Decline::Refused(Undone::Outdated(drafts)));
    }
    let decided = decide(tx, premise, &drafts).map_err(|decline| match decline {
        Decline::Refused(error) => Decline::Refused(Undone::Pod(error)),
        Decline::Engine(error) => Decline::Engine(error),
    });
    let Decided::Written { fates, released } = decided? else {
        return Err(Decline::Refused(Undone::Outdated(drafts)));
    };
    let revisions: Option<Vec<Revision>> = fates
        .iter()
        .map(|fate| match fate {
            Fate::Done(outcome) => outcome.as_ref().ok().cloned(),
            Fate::Stale => None,
        })
        .collect();
    match revisions {
        Some(revisions) => Ok((revisions, released, drafts)),
        None => Err(Decline::Refused(Undone::Failed(fates, drafts))),
    }
}

/// What becomes of each draft, and the files that nobody refers to any more; nothing if it was set
/// otherwise meanwhile how documents are written.
fn decide(
    tx: &mut Transaction<'_>,
    premise: &Premise,
    drafts: &[Prepared],
) -> Result<Decided, Decline<PodError>> {
    let mut gone = Vec::with_capacity(drafts.len());
    for prepared in drafts {
        gone.push(carried_and_gone(tx, prepared)?);
    }
    let begun_at = tx.sequence();
    let mut writer = Writer::open(tx, premise.number).map_err(no_database)?;
    if !premise.writing.is_of(writer.settings()) {
        return Ok(Decided::Outdated);
    }
    let (mut fates, mut designs, mut rule) = (Vec::with_capacity(drafts.len()), false, false);
    let mut touched = Touched::default();
    for (prepared, gone) in drafts.iter().zip(gone) {
        let stale = if premise.judged {
            prepared.stale(&writer, begun_at)?
        } else {
            None
        };
        let rules = premise.writing.is_labelled_by(prepared.id().as_str());
        let before = match rules {
            true => Some(writer.record(prepared.id())?.sequence),
            false => None,
        };
        fates.push(match (stale, gone) {
            (Some(stale), _) => stale,
            (None, Some(error)) => Fate::Done(Err(error.into())),
            (None, None) => Fate::Done(write_one(&mut writer, premise, prepared)?),
        });
        designs |= prepared.id().is_design();
        if let Some(before) = before {
            // A design document that was refused, or is here already, says nothing new.
            rule |= writer.record(prepared.id())?.sequence != before;
        }
        if premise.accounts.is_some() && matches!(fates.last(), Some(Fate::Done(Ok(_)))) {
            touched.note(prepared.id(), &prepared.caller, prepared.same_password);
        }
    }
    touched.read(&writer)?;
    let references = writer.finish()?;
    if let Some(ground) = &premise.accounts {
        touched.follow(tx, ground)?;
    }
    if rule {
        // What said who may read says it otherwise: nobody is shown anything by the old.
        let generation = tx.next_sequence();
        let again = |settings: &mut Settings| settings.labels = generation;
        database::change_settings(tx, premise.number, again).map_err(no_database)?;
        tx.touch(labels::member_topic(premise.number, ""));
    }
    if designs {
        premise.changes.note(premise.number, tx.sequence());
    }
    let released = settle_references(tx, &references, |address| {
        drafts
            .iter()
            .find_map(|prepared| prepared.inline.get(address).cloned())
    })?;
    Ok(Decided::Written { fates, released })
}

impl Prepared {
    /// What is to be said if the record is not the one any more that this was judged against.
    /// Behind `begun_at` it was this very transaction that changed it.
    fn stale(&self, writer: &Writer<'_, '_>, begun_at: u64) -> Result<Option<Fate>, EngineError> {
        if self.id().is_design() {
            return Ok(None);
        }
        let at = writer.record(self.id())?.sequence;
        if self.judged == Some(at) {
            return Ok(None);
        }
        let edited_twice = at > begun_at && matches!(self.edit, DraftedEdit::Edit(_));
        Ok(Some(if edited_twice {
            Fate::Done(Err(WriteError::Conflict.into()))
        } else {
            Fate::Stale
        }))
    }
}

/// The first content that a draft takes over and that nobody refers to any more.
fn carried_and_gone(
    tx: &Transaction<'_>,
    prepared: &Prepared,
) -> Result<Option<WriteError>, EngineError> {
    for (address, name) in &prepared.carried {
        if !references::is_referenced(tx, Digest::from_bytes(*address))? {
            return Ok(Some(WriteError::MissingStub {
                id: prepared.draft.id.as_str().to_owned(),
                name: name.clone(),
            }));
        }
    }
    Ok(None)
}

fn write_one(
    writer: &mut Writer<'_, '_>,
    premise: &Premise,
    prepared: &Prepared,
) -> Result<Outcome, Decline<PodError>> {
    if matches!(premise.writing.forks, Forks::Refused) && would_fork(writer, prepared)? {
        return Ok(Err(WriteRefused::Fork.into()));
    }
    let mut closed = None;
    if prepared.draft.label.is_none() && writer.settings().labels != 0 {
        // It came past the judges: it is for admins alone.
        let label = Some(label_of(&AccessList::admin()));
        closed = Some(Draft {
            label,
            ..prepared.draft.clone()
        });
    }
    let draft = closed.as_ref().unwrap_or(&prepared.draft);
    let written = match &prepared.edit {
        DraftedEdit::Edit(based_on) => writer.edit(draft, based_on.as_ref()),
        DraftedEdit::Replicated(start, path) => {
            let newest = path.first().cloned();
            writer.replicate(draft, *start, path).map(|()| Revision {
                generation: *start,
                id: newest.unwrap_or(RevisionId::Md5([0; 16])),
            })
        }
    };
    match written {
        Ok(revision) => {
            if let Some(merging) = &prepared.merging {
                merging.write(writer)?;
            }
            Ok(Ok(revision))
        }
        Err(Decline::Refused(error)) => Ok(Err(error.into())),
        Err(Decline::Engine(error)) => Err(Decline::Engine(error)),
    }
}

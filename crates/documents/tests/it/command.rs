//! What a test has the real code do: commands that are values, so that a history can be applied to
//! several stores.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use adea_base::{DatabaseName, DocumentId};
use adea_documents::database::{self, Settings};
use adea_documents::local::{self, LocalDocument};
use adea_documents::revision::{Revision, RevisionId};
use adea_documents::writer::{Draft, References, Writer};
use adea_documents::{DatabaseError, DatabaseNumber, WriteError};
use adea_store::{
    Commit, Decline, Durability, EngineError, Memory, Store, StoreOptions, TransactError,
    Transaction, WritePermit,
};

/// One write to a document.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Edit(Draft, Option<Revision>),
    Replicate(Draft, u64, Vec<RevisionId>),
    Purge(DocumentId, Vec<Revision>),
    Compact(DocumentId),
}

impl Write {
    pub(crate) fn id(&self) -> &DocumentId {
        match self {
            Self::Edit(draft, _) | Self::Replicate(draft, ..) => &draft.id,
            Self::Purge(id, _) | Self::Compact(id) => id,
        }
    }
}

/// What a write answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Edited(Result<Revision, WriteError>),
    Replicated(Result<(), WriteError>),
    Purged(Vec<Revision>),
    Compacted,
}

/// One transaction.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Create(DatabaseName, u64),
    Drop(DatabaseName),
    Sweep(DatabaseNumber, usize),
    Limit(DatabaseNumber, u64),
    /// The writes, and whether all of it is taken back in the end.
    Write(DatabaseNumber, Vec<Write>, bool),
    /// A local document, or its absence.
    Local(DatabaseNumber, String, Option<LocalDocument>),
}

/// What a transaction did.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) number: DatabaseNumber,
    /// Each write's answer, and the sequence of its document after it.
    pub(crate) outcomes: Vec<(Outcome, u64)>,
    pub(crate) references: References,
    /// Of a sweep: whether all is done.
    pub(crate) finished: bool,
    pub(crate) commit: Commit,
}

/// A store in memory.
pub(crate) struct Bench {
    pub(crate) memory: Arc<Memory>,
    pub(crate) store: Store,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let memory = Arc::new(Memory::new());
        let options = StoreOptions {
            durability: Durability::Strict,
        };
        let store = Store::open(Arc::clone(&memory) as _, options).unwrap();
        Self { memory, store }
    }

    /// Runs one transaction; `None` if it was taken back.
    pub(crate) fn run(&self, command: &Command) -> Option<Done> {
        block_on(self.begin(command))
    }

    /// Runs transactions that wait for the store together.
    pub(crate) fn run_together(&self, commands: &[Command]) {
        let waker = Waker::noop();
        let mut waiting: Vec<_> = commands
            .iter()
            .map(|command| Box::pin(self.begin(command)))
            .collect();
        // Polled once in their order, they stand in the queue in their order.
        let ready: Vec<bool> = waiting
            .iter_mut()
            .map(|one| {
                one.as_mut()
                    .poll(&mut Context::from_waker(waker))
                    .is_ready()
            })
            .collect();
        for (one, ready) in waiting.into_iter().zip(ready) {
            if !ready {
                block_on(one);
            }
        }
    }

    async fn begin(&self, command: &Command) -> Option<Done> {
        let command = command.clone();
        let done = self
            .store
            .transact(WritePermit::of_term(1), move |tx| perform(tx, &command));
        match done.await {
            Ok(done) => Some(done),
            Err(TransactError::Refused(())) => None,
            Err(error) => panic!("{error:?}"),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.store.close();
    }
}

fn unrefused<T>(done: Result<T, Decline<DatabaseError>>) -> T {
    done.unwrap_or_else(|error| panic!("{error:?}"))
}

fn unfailed<T>(done: Result<T, EngineError>) -> T {
    done.unwrap_or_else(|error| panic!("{error:?}"))
}

fn perform(tx: &mut Transaction<'_>, command: &Command) -> Result<Done, Decline<()>> {
    let mut outcomes = Vec::new();
    let mut references = References::default();
    let mut finished = true;
    let number = match command {
        Command::Create(name, revisions_limit) => {
            let settings = Settings {
                created_unix_s: 1,
                revisions_limit: *revisions_limit,
                purges_limit: 1_000,
                security: String::new(),
                partitioned: false,
                labels: 0,
                labelled: 0,
                access: String::new(),
            };
            unrefused(database::create(tx, name, &settings))
        }
        Command::Drop(name) => unrefused(database::drop_database(tx, name)),
        Command::Sweep(number, limit) => {
            (references.dropped, finished) = unfailed(database::sweep(tx, *number, *limit));
            *number
        }
        Command::Limit(number, limit) => {
            unrefused(database::change_settings(tx, *number, |settings| {
                settings.revisions_limit = *limit;
            }));
            *number
        }
        Command::Local(number, name, document) => {
            match document {
                Some(document) => unrefused(local::put(tx, *number, name, document)),
                None => drop(unrefused(local::delete(tx, *number, name))),
            }
            *number
        }
        Command::Write(number, writes, refuse) => {
            let mut writer = unrefused(Writer::open(tx, *number));
            for write in writes {
                let outcome = perform_write(&mut writer, write);
                let sequence = unfailed(writer.record(write.id())).sequence;
                outcomes.push((outcome, sequence));
            }
            references = unfailed(writer.finish());
            if *refuse {
                return Err(Decline::Refused(()));
            }
            *number
        }
    };
    Ok(Done {
        number,
        outcomes,
        references,
        finished,
        commit: Commit {
            term: 1,
            sequence: tx.sequence(),
            ops: tx.ops().to_vec(),
        },
    })
}

fn perform_write(writer: &mut Writer<'_, '_>, write: &Write) -> Outcome {
    fn answer<T>(done: Result<T, Decline<WriteError>>) -> Result<T, WriteError> {
        match done {
            Ok(done) => Ok(done),
            Err(Decline::Refused(error)) => Err(error),
            Err(Decline::Engine(error)) => panic!("{error}"),
        }
    }
    match write {
        Write::Edit(draft, base) => Outcome::Edited(answer(writer.edit(draft, base.as_ref()))),
        Write::Replicate(draft, start, path) => {
            Outcome::Replicated(answer(writer.replicate(draft, *start, path)))
        }
        Write::Purge(id, revisions) => Outcome::Purged(unfailed(writer.purge(id, revisions))),
        Write::Compact(id) => {
            unfailed(writer.compact(id));
            Outcome::Compacted
        }
    }
}

/// Runs a future on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Parked(std::thread::Thread);
    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
        std::thread::park();
    }
}

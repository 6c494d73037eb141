//! Following all databases: which were made, changed and dropped, and when.
//!
//! No write writes anything for it. The sequence of a database's making is its number, that of its
//! last change stands in its counts, that of its end is kept by name; all are of the store's one
//! order. Here they stand side by side in memory, from the first time that somebody asks: from then
//! on the watch notes which databases are touched, and only those are looked at again. A follower
//! costs what has changed, however many databases there are.
//!
//! Invariant: all rows up to the horizon are here, so whoever was told of it misses nothing behind
//! it. The horizon rises only by what the watch published, never by what a view happens to show.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use adea_accounts::directory;
use adea_documents::{DATABASES_TOPIC, DatabaseNumber, database, lifetimes};
use adea_store::{EVERY_TOPIC, EngineError, Subscription, TransactError, View};

use crate::error::PodError;
use crate::pod::Pod;

/// How many dropped databases are remembered.
const GONE_MAX: usize = 10_000;

/// What became of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateKind {
    /// It was made.
    Created,
    /// Something in it changed.
    Updated,
    /// It was dropped.
    Deleted,
}

impl UpdateKind {
    /// The word that `CouchDB` has for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }
}

/// The last event of a kind in the life of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseUpdate {
    /// The database's name.
    pub name: Arc<str>,
    /// What happened.
    pub kind: UpdateKind,
    /// When, in the store's order.
    pub sequence: u64,
}

/// A part of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseUpdates {
    /// The rows, in the order asked for.
    pub rows: Vec<DatabaseUpdate>,
    /// Everything up to here is known.
    pub horizon: u64,
}

/// A database that is there.
struct Life {
    name: Arc<str>,
    /// The sequence of its last change; 0 if there was none.
    updated: u64,
}

/// The events of all databases, each kind's last.
#[derive(Default)]
pub(crate) struct Lives {
    loaded: bool,
    horizon: u64,
    living: HashMap<u64, Life>,
    gone: HashMap<Arc<str>, u64>,
    /// A database was dropped of which nothing was known.
    unknown_gone: bool,
    rows: BTreeMap<u64, (Arc<str>, UpdateKind)>,
}

impl Lives {
    fn load(&mut self, view: &dyn View) -> Result<(), EngineError> {
        *self = Self::default();
        for (name, sequence) in lifetimes::gone(view)? {
            self.bury(&Arc::from(name), sequence);
        }
        for (name, number) in lifetimes::living(view)? {
            let updated = database::statistics(view, number)?.update_sequence;
            self.welcome(number.0, &Arc::from(name));
            self.note_update(number.0, updated);
        }
        self.horizon = self.rows.keys().next_back().copied().unwrap_or(0);
        self.loaded = true;
        Ok(())
    }

    fn welcome(&mut self, number: u64, name: &Arc<str>) {
        let life = Life {
            name: Arc::clone(name),
            updated: 0,
        };
        self.living.insert(number, life);
        let row = (Arc::clone(name), UpdateKind::Created);
        self.rows.insert(number, row);
    }

    fn note_update(&mut self, number: u64, sequence: u64) {
        let Some(life) = self.living.get_mut(&number) else {
            return;
        };
        let before = std::mem::replace(&mut life.updated, sequence);
        let name = Arc::clone(&life.name);
        if before != 0 {
            self.rows.remove(&before);
        }
        if sequence != 0 {
            self.rows.insert(sequence, (name, UpdateKind::Updated));
        }
    }

    fn bury(&mut self, name: &Arc<str>, sequence: u64) {
        if let Some(before) = self.gone.insert(Arc::clone(name), sequence) {
            self.rows.remove(&before);
        }
        let row = (Arc::clone(name), UpdateKind::Deleted);
        self.rows.insert(sequence, row);
    }

    /// Looks again at a database that was touched by commits up to `reached`.
    fn look_again(
        &mut self,
        view: &dyn View,
        number: u64,
        reached: u64,
    ) -> Result<(), EngineError> {
        let of_number = DatabaseNumber(number);
        if let Some(name) = lifetimes::name_of(view, of_number)? {
            if !self.living.contains_key(&number) {
                self.welcome(number, &Arc::from(name));
            }
            let updated = database::statistics(view, of_number)?.update_sequence;
            // What the view shows beyond the horizon will be noted, too.
            self.note_update(number, updated.min(reached));
            return Ok(());
        }
        if database::settings(view, of_number)?.is_some() {
            // Made before names were kept by number: known by now, or of no name.
            let updated = database::statistics(view, of_number)?.update_sequence;
            self.note_update(number, updated.min(reached));
            return Ok(());
        }
        let Some(life) = self.living.get(&number) else {
            // It was made and dropped since the last look: its name is among those that are gone.
            self.unknown_gone = true;
            return Ok(());
        };
        let name = Arc::clone(&life.name);
        let Some(sequence) = lifetimes::gone_at(view, &name)? else {
            return Ok(());
        };
        if sequence > self.horizon {
            // Its end is not published yet, or it is that of a later database of this name.
            return Ok(());
        }
        self.note_update(number, 0);
        self.rows.remove(&number);
        self.living.remove(&number);
        self.bury(&name, sequence);
        Ok(())
    }

    fn refresh(&mut self, pod: &Pod) -> Result<(), EngineError> {
        let watch = pod.inner.store.watch();
        if !self.loaded {
            watch.follow_all();
            return self.load(pod.view().as_ref());
        }
        let touched = watch.take_touched();
        if touched.is_empty() {
            return Ok(());
        }
        let last = touched.values().copied().max().unwrap_or(0);
        self.horizon = self.horizon.max(last);
        let looked = self.look_at(pod.view().as_ref(), touched);
        // The notes are taken: what was not looked at has to be read anew.
        self.loaded = looked.is_ok();
        looked
    }

    fn look_at(&mut self, view: &dyn View, touched: HashMap<u64, u64>) -> Result<(), EngineError> {
        for (number, reached) in touched {
            if number != DATABASES_TOPIC && number < directory::FIRST_TOPIC {
                self.look_again(view, number, reached)?;
            }
        }
        if std::mem::take(&mut self.unknown_gone) {
            for (name, sequence) in lifetimes::gone(view)? {
                let known = self.gone.get(name.as_str()).copied();
                if known.is_none_or(|known| known < sequence) && sequence <= self.horizon {
                    self.bury(&Arc::from(name), sequence);
                }
            }
        }
        Ok(())
    }

    fn page(&self, after: u64, limit: usize, descending: bool) -> DatabaseUpdates {
        let range = (Bound::Excluded(after), Bound::Unbounded);
        let row = |(sequence, (name, kind)): (&u64, &(Arc<str>, UpdateKind))| DatabaseUpdate {
            name: Arc::clone(name),
            kind: *kind,
            sequence: *sequence,
        };
        let rows = if descending {
            self.rows.iter().rev().take(limit).map(row).collect()
        } else {
            self.rows.range(range).take(limit).map(row).collect()
        };
        DatabaseUpdates {
            rows,
            horizon: self.horizon,
        }
    }
}

impl Pod {
    /// Listens for anything that changes in any database.
    #[must_use]
    pub fn watch_all_databases(&self) -> Subscription {
        self.inner.store.watch().subscribe(EVERY_TOPIC)
    }

    /// The events after `after`, at most `limit` of them; or the last ones, newest first. The first
    /// time this reads the counts of all databases.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn database_updates(
        &self,
        after: u64,
        limit: usize,
        descending: bool,
    ) -> Result<DatabaseUpdates, PodError> {
        let mut lives = self.inner.lives.lock();
        lives.refresh(self)?;
        Ok(lives.page(after, limit, descending))
    }

    /// Forgets the oldest of the databases that were dropped, if there are too many.
    pub(crate) async fn forget_long_gone(&self) -> Result<(), PodError> {
        let mut gone = lifetimes::gone(self.view().as_ref())?;
        if gone.len() <= GONE_MAX {
            return Ok(());
        }
        gone.sort_unstable_by_key(|(_, sequence)| *sequence);
        gone.truncate(gone.len() - GONE_MAX);
        let names: Vec<String> = gone.into_iter().map(|(name, _)| name).collect();
        let forgotten: Result<(), TransactError<PodError>> = self
            .inner
            .store
            .transact(Self::permit(), move |tx| {
                lifetimes::forget_gone(tx, &names);
                Ok(())
            })
            .await;
        Ok(forgotten?)
    }
}

//! Entering a database: from a name and a caller to what he may read of it.
//!
//! Most databases have no access control, and are found as ever. Where there is, it is looked up what
//! the caller holds. If that is another set of principals than he was issued last, the new one is put
//! into his history first, in a commit of its own: all that he is shown afterwards follows from it.
//!
//! What a caller was issued is remembered, so that one who holds the same as before costs no access to
//! the store. Invariants: what is remembered was committed; of two commits the later one stays.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use adea_access::{
    AccessSettings, History, Principals, aggregate, anonymous_scope, nothing_scope,
    partition_scope, reader_name, reader_scope,
};
use adea_accounts::Access;
use adea_base::{Caller, DatabaseName, Scope};
use adea_documents::database::Settings;
use adea_documents::writer::Writer;
use adea_documents::{DatabaseError, DatabaseNumber, kept_for_reader, labels};
use adea_store::{Decline, EngineError};
use parking_lot::{Mutex, RwLock};

use super::face::face_of;
use crate::databases::{DatabaseEntry, DatabaseFace, no_database};
use crate::error::PodError;
use crate::pod::Pod;

/// How many readers are remembered; forgetting all beyond is crude, and rare.
const READERS_MAX: usize = 50_000;

/// What the readers of a database were issued, by their names.
type Readers = HashMap<Arc<str>, Arc<Issued>>;

/// Of each reader of a database, the last sequence of which he was shown something.
type Served = HashMap<(DatabaseNumber, Arc<str>), Arc<AtomicU64>>;

/// What readers were issued.
#[derive(Default)]
pub(crate) struct AccessMemory {
    readers: RwLock<HashMap<DatabaseNumber, Readers>>,
    /// The secret of virtual revisions; it is never changed.
    key: std::sync::OnceLock<[u8; 32]>,
    /// The last sequence of which a reader was shown something: one cell for all that read as he.
    served: Mutex<Served>,
    /// Of readers that are not remembered it is not known what they were shown: at most what was
    /// there by this sequence.
    unremembered: AtomicU64,
    /// Databases that were given a rule since the start: who entered one before may have entered it as
    /// one without.
    switched: RwLock<HashSet<DatabaseNumber>>,
    /// How many those are, for who asks of any other.
    switches: AtomicUsize,
    pub(super) rebuilds: super::rebuild::Rebuilds,
}

/// What a reader was issued last, and what he enters with it.
struct Issued {
    /// The database as it was when this was prepared.
    found: Arc<DatabaseEntry>,
    principals: Principals,
    history: Arc<History>,
    whole: Arc<DatabaseEntry>,
    mine: Arc<DatabaseEntry>,
}

impl AccessMemory {
    /// One that remembers nobody who was shown something up to `sequence`.
    pub(crate) fn since(sequence: u64) -> Self {
        Self {
            unremembered: AtomicU64::new(sequence),
            ..Self::default()
        }
    }

    fn get(&self, number: DatabaseNumber, reader: &str) -> Option<Arc<Issued>> {
        self.readers.read().get(&number)?.get(reader).cloned()
    }

    /// Where it is kept what `reader` was shown.
    fn served(&self, number: DatabaseNumber, reader: &str) -> Arc<AtomicU64> {
        let mut served = self.served.lock();
        let cell = served
            .entry((number, Arc::from(reader)))
            .or_insert_with(|| Arc::new(AtomicU64::new(self.unremembered.load(Ordering::Acquire))));
        Arc::clone(cell)
    }

    /// Remembers what was issued, unless something later is remembered.
    fn insert(
        &self,
        number: DatabaseNumber,
        reader: &Arc<str>,
        issued: &Arc<Issued>,
        sequence: u64,
    ) {
        let mut readers = self.readers.write();
        if readers.values().map(HashMap::len).sum::<usize>() >= READERS_MAX {
            self.unremembered.fetch_max(sequence, Ordering::AcqRel);
            readers.clear();
            // Feeds that are open go on with theirs.
            let held = |cell: &Arc<AtomicU64>| Arc::strong_count(cell) > 1;
            self.served.lock().retain(|_, cell| held(cell));
        }
        let known = readers.entry(number).or_default();
        // Of the same event, the one that knows of more that was shown.
        let age = |of: &Issued| (of.history.turned_at(), of.history.shown_until());
        let later = |known: &Arc<Issued>| age(known) > age(issued);
        if !known.get(reader).is_some_and(later) {
            known.insert(Arc::clone(reader), Arc::clone(issued));
        }
    }

    /// Notes that a database is given a rule; before the commit, so that no view shows what is not noted.
    pub(super) fn note_switch(&self, number: DatabaseNumber) {
        let mut switched = self.switched.write();
        switched.insert(number);
        self.switches.store(switched.len(), Ordering::Release);
    }

    /// Whether a database was given a rule since the start, or is about to be given one.
    pub(crate) fn is_switched(&self, number: DatabaseNumber) -> bool {
        self.switches.load(Ordering::Acquire) > 0 && self.switched.read().contains(&number)
    }

    /// Forgets the readers of a database that is gone. That it was switched stays noted: answers that
    /// began before go on, and numbers are not given twice.
    pub(crate) fn forget(&self, number: DatabaseNumber) {
        self.readers.write().remove(&number);
        self.served.lock().retain(|(of, _), _| *of != number);
    }
}

/// The right of an entry with these settings that nobody was let in through: all where there is no
/// access control, none where there is.
pub(crate) fn unprepared(settings: &Settings) -> Scope {
    if settings.labels == 0 {
        aggregate()
    } else {
        nothing_scope("", [0; 32])
    }
}

/// What is set for access to the database `name`, from its text.
pub(crate) fn read_settings(
    name: &DatabaseName,
    text: &str,
) -> Result<Option<Arc<AccessSettings>>, PodError> {
    if text.is_empty() {
        return Ok(None);
    }
    let settings = AccessSettings::parse(text)
        .map_err(|error| EngineError::Corrupt(format!("access of {name}: {error}")))?;
    Ok(Some(Arc::new(settings)))
}

impl Pod {
    /// Finds the database, or the face of one, that `name` stands for, and lets `caller` in, with the
    /// right to what he may read of it.
    ///
    /// # Errors
    /// [`PodError::App`] or [`PodError::Refused`] if he is not let in; [`DatabaseError::Missing`] if
    /// there is none of that name, or if it is a partition that he may not read.
    pub async fn enter(
        &self,
        name: &DatabaseName,
        caller: &Caller,
    ) -> Result<Arc<DatabaseEntry>, PodError> {
        self.may_enter(caller, name)?;
        let (entry, face) = self.find_face(name)?;
        if !entry.has_access_control() {
            entry.access(caller).require_member()?;
            return Ok(entry);
        }
        // Boxed, so that others keep no room for it.
        Box::pin(self.enter_face(entry, face, caller)).await
    }

    /// Lets `caller` in again where he was let in before, by what he holds now.
    ///
    /// # Errors
    /// As [`Pod::enter`]; also if it is another database of the same name by now.
    pub async fn enter_again(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
    ) -> Result<Arc<DatabaseEntry>, PodError> {
        let name = match &entry.face {
            DatabaseFace::Whole => entry.name.clone(),
            DatabaseFace::Mine | DatabaseFace::Partition(_) => {
                DatabaseName::parse(&entry.face_name()).map_err(|_| DatabaseError::Missing)?
            }
        };
        let again = self.enter(&name, caller).await?;
        if again.number == entry.number {
            Ok(again)
        } else {
            Err(DatabaseError::Missing.into())
        }
    }

    /// Whether documents say who may read them in the database that `name`, or a face of this name,
    /// stands for.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn has_access_control(&self, name: &DatabaseName) -> Result<bool, PodError> {
        match self.find_face(name) {
            Ok((entry, _)) => Ok(entry.has_access_control()),
            Err(PodError::Database(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The database that `name` stands for a part of, if it does.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn part_of(&self, name: &DatabaseName) -> Result<Option<DatabaseName>, PodError> {
        match self.find_face(name) {
            Ok((_, DatabaseFace::Whole)) | Err(PodError::Database(_)) => Ok(None),
            Ok((entry, DatabaseFace::Mine | DatabaseFace::Partition(_))) => {
                Ok(Some(entry.name.clone()))
            }
            Err(error) => Err(error),
        }
    }

    /// The database that is behind `name`, and which face of it that is.
    pub(crate) fn find_face(
        &self,
        name: &DatabaseName,
    ) -> Result<(Arc<DatabaseEntry>, DatabaseFace), PodError> {
        if let Some((base, face)) = face_of(name) {
            match self.database(&base) {
                Ok(entry) if entry.has_access_control() => return Ok((entry, face)),
                Ok(_) | Err(PodError::Database(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((self.database(name)?, DatabaseFace::Whole))
    }

    async fn enter_face(
        &self,
        found: Arc<DatabaseEntry>,
        face: DatabaseFace,
        caller: &Caller,
    ) -> Result<Arc<DatabaseEntry>, PodError> {
        let access = found.access(caller);
        let admin = access == Access::Admin;
        if let DatabaseFace::Partition(signature) = face {
            // Who may not is told the same as if there were none.
            access
                .require_member()
                .map_err(|_| DatabaseError::Missing)?;
            return self.enter_partition(&found, signature, caller, admin);
        }
        access.require_member()?;
        if face == DatabaseFace::Whole && admin {
            return Ok(prepared(&found, face, aggregate()));
        }
        let principals = Principals::of(caller, admin);
        let Some(reader) = reader_name(caller) else {
            let scope = anonymous_scope(&principals, self.virtual_key()?);
            return Ok(prepared(&found, face, scope));
        };
        let issued = self.issue(&found, &reader, principals).await?;
        Ok(match face {
            DatabaseFace::Whole => Arc::clone(&issued.whole),
            DatabaseFace::Mine | DatabaseFace::Partition(_) => Arc::clone(&issued.mine),
        })
    }

    fn enter_partition(
        &self,
        found: &Arc<DatabaseEntry>,
        signature: Arc<str>,
        caller: &Caller,
        admin: bool,
    ) -> Result<Arc<DatabaseEntry>, PodError> {
        let label = labels::named(self.view().as_ref(), found.number, &signature)?;
        let label = label.ok_or(DatabaseError::Missing)?;
        if !Principals::of(caller, admin).holds_any(&label.members) {
            return Err(DatabaseError::Missing.into());
        }
        let reader = reader_name(caller).unwrap_or_default();
        let scope = partition_scope(&signature, &reader, self.virtual_key()?);
        let face = DatabaseFace::Partition(signature);
        Ok(prepared(found, face, scope))
    }

    /// Sees to it that the last that `reader` was issued is `principals`.
    async fn issue(
        &self,
        found: &Arc<DatabaseEntry>,
        reader: &str,
        principals: Principals,
    ) -> Result<Arc<Issued>, PodError> {
        let memory = &self.inner.access;
        let known = memory.get(found.number, reader);
        let known = known.filter(|known| known.principals == principals);
        if let Some(known) = &known
            && Arc::ptr_eq(&known.found, found)
        {
            return Ok(Arc::clone(known));
        }
        let served = memory.served(found.number, reader);
        let history = match known {
            // Only what is set for the database has changed.
            Some(known) => Arc::clone(&known.history),
            None => {
                let history = self.read_history(found.number, reader)?;
                if history.holds_now() == principals {
                    Arc::new(history)
                } else {
                    self.record(found.number, reader, &principals, &served)
                        .await?
                }
            }
        };
        let key = self.virtual_key()?;
        let scope = reader_scope(Arc::clone(&history), reader, key, Arc::clone(&served));
        let issued = Arc::new(Issued {
            found: Arc::clone(found),
            principals,
            history,
            whole: prepared(found, DatabaseFace::Whole, scope.clone()),
            mine: prepared(found, DatabaseFace::Mine, scope),
        });
        let sequence = self.inner.store.sequence();
        memory.insert(found.number, &Arc::from(reader), &issued, sequence);
        Ok(issued)
    }

    /// What `reader` was issued so far.
    pub(crate) fn read_history(
        &self,
        number: DatabaseNumber,
        reader: &str,
    ) -> Result<History, PodError> {
        let key = kept_for_reader(number, reader);
        Ok(adea_access::load(self.view().as_ref(), &key)?)
    }

    /// Puts `principals` into the history of `reader`, unless that is what he was issued last.
    async fn record(
        &self,
        number: DatabaseNumber,
        reader: &str,
        principals: &Principals,
        served: &Arc<AtomicU64>,
    ) -> Result<Arc<History>, PodError> {
        let (key, principals) = (kept_for_reader(number, reader), principals.clone());
        let served = Arc::clone(served);
        let pod = self.clone();
        Self::to_the_end(async move {
            let (at_first, amended_key) = (Arc::clone(&served), key.clone());
            let recorded = pod.inner.store.transact(Self::permit(), move |tx| {
                // One that was dropped keeps nothing for readers any more.
                Writer::open(tx, number).map_err(no_database)?;
                let shown = at_first.load(Ordering::Acquire);
                let recorded = adea_access::record(tx, &key, &principals, shown)?;
                if !recorded.returned.is_empty() {
                    let returns = u64::from(recorded.returns);
                    labels::note_returned(tx, number, &recorded.returned, returns)?;
                }
                Ok::<_, Decline<PodError>>((recorded.history, shown))
            });
            let (history, shown) = recorded.await?;
            // What was shown by the old rights until the new ones were there to be seen.
            let last = served.load(Ordering::Acquire);
            if last <= shown {
                return Ok(history);
            }
            let event = history.turned_at();
            let amended = pod.inner.store.transact(Self::permit(), move |tx| {
                Ok::<_, Decline<PodError>>(adea_access::amend(tx, &amended_key, event, last)?)
            });
            Ok(amended.await?)
        })
        .await
    }

    /// The secret that virtual revisions are made with.
    pub(crate) fn virtual_key(&self) -> Result<[u8; 32], PodError> {
        let known = &self.inner.access.key;
        if let Some(key) = known.get() {
            return Ok(*key);
        }
        // It was made when access control was first switched on anywhere.
        let key = labels::key(self.view().as_ref())?
            .ok_or_else(|| EngineError::Corrupt("the secret of virtual revisions".to_owned()))?;
        Ok(*known.get_or_init(|| key))
    }
}

/// The same database, seen through `face` with the right to what `scope` says.
fn prepared(found: &DatabaseEntry, face: DatabaseFace, scope: Scope) -> Arc<DatabaseEntry> {
    Arc::new(DatabaseEntry {
        face,
        scope,
        ..found.clone()
    })
}

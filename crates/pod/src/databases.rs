//! Making, finding, describing and dropping databases, and what is set for them.

use std::collections::HashMap;
use std::sync::Arc;

use adea_access::AccessSettings;
use adea_accounts::apps::AppRoles;
use adea_accounts::audit::{self, AuditEntry};
use adea_accounts::{Access, Security};
use adea_base::{Caller, DatabaseName, Scope};
use adea_documents::database::{
    self, Database, PURGES_LIMIT, REVISIONS_LIMIT, Settings, Statistics,
};
use adea_documents::reader::Reader;
use adea_documents::{DATABASES_TOPIC, DatabaseError, DatabaseNumber, everything};
use adea_store::{Decline, Direction, EngineError, Space, Subscription, Transaction, View};
use parking_lot::RwLock;

use crate::access::writing::Writing;
use crate::error::PodError;
use crate::pod::Pod;
use crate::sign_in::USERS;
use crate::time_sequence;
use crate::validate::Validators;

/// A database as requests find it.
#[derive(Clone, Debug)]
pub struct DatabaseEntry {
    /// Its name.
    pub name: DatabaseName,
    /// Its number.
    pub number: DatabaseNumber,
    /// What is set for it.
    pub settings: Settings,
    /// Who may enter.
    pub security: Security,
    /// The roles of the app that it belongs to, if it belongs to one.
    pub app: Option<AppRoles>,
    /// What stands behind the number in its sequences: nobody else's sequences have it.
    pub sequence_tag: String,
    /// What is asked of it: all, what the caller may read, or a partition.
    pub face: DatabaseFace,
    /// Which of its documents are read in the name of who asks; none, where documents say who may read
    /// them and nobody was let in yet.
    pub(crate) scope: Scope,
    /// What is set for access, read; its text in `settings` is empty.
    pub access: Option<Arc<AccessSettings>>,
    /// What the database says of writing.
    pub(crate) writing: Arc<Writing>,
    /// What judges each document that is written.
    pub(crate) validators: Arc<Validators>,
    /// Where the store stood before all this was read.
    pub(crate) read_at: u64,
}

impl DatabaseEntry {
    /// Whether its documents describe replications, whose secrets not everybody sees who may enter.
    #[must_use]
    pub fn holds_descriptions(&self) -> bool {
        crate::replicate::is_replicator(&self.name)
    }

    /// What `caller` is to the database: as its `_security` says, and an administrator of its app is
    /// one of it. Whether he may enter databases of that app at all is another question; see
    /// [`Pod::may_enter`].
    #[must_use]
    pub fn access(&self, caller: &Caller) -> Access {
        let access = match &self.app {
            Some(app) if app.administers(caller) => Access::Admin,
            Some(_) | None => self.security.access(caller),
        };
        // Where documents say who may read them, whoever has a name is let in, unless it was set who is.
        let unset = self.has_access_control() && self.settings.security.is_empty();
        if access == Access::Denied403 && unset {
            Access::Member
        } else {
            access
        }
    }

    /// Changes whenever sequences given out before mean nothing any more.
    #[must_use]
    pub fn instance_start_time(&self, restored_unix_s: u64) -> u64 {
        self.settings.created_unix_s.max(restored_unix_s)
    }
}

/// What is asked of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseFace {
    /// The database itself. Where there is access control, who reads it so administers it.
    Whole,
    /// `app/mine`: what the caller may read, and where he writes.
    Mine,
    /// `app/p-<signature>`: the documents with one access list.
    Partition(Arc<str>),
}

/// What is told of a database.
#[derive(Clone, Copy, Debug)]
pub struct DatabaseInfo {
    /// Counts.
    pub statistics: Statistics,
    /// Bytes on disk.
    pub file_bytes: u64,
    /// Bytes of what is alive.
    pub active_bytes: u64,
    /// Whether a compaction runs.
    pub compacting: bool,
}

/// Databases found before, so that a request does not look them up again. One that changes is
/// forgotten after its commit and before the answer.
#[derive(Default)]
pub(crate) struct DatabaseCache {
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    entries: HashMap<String, Arc<DatabaseEntry>>,
    changes: u64,
}

/// How many databases are remembered; forgetting all beyond is crude, and rare.
const REMEMBERED_MAX: usize = 10_000;

impl DatabaseCache {
    fn get(&self, name: &str) -> (Option<Arc<DatabaseEntry>>, u64) {
        let known = self.known.read();
        (known.entries.get(name).cloned(), known.changes)
    }

    /// Remembers what was read at `changes`, unless something changed meanwhile.
    fn insert(&self, entry: &Arc<DatabaseEntry>, changes: u64) {
        let mut known = self.known.write();
        if known.changes == changes {
            if known.entries.len() >= REMEMBERED_MAX {
                known.entries.clear();
            }
            let name = entry.name.as_str().to_owned();
            known.entries.insert(name, Arc::clone(entry));
        }
    }

    /// Forgets all: what is read of them depends on settings that changed.
    pub(crate) fn forget_all(&self) {
        let mut known = self.known.write();
        known.entries.clear();
        known.changes += 1;
    }

    pub(crate) fn forget(&self, name: &str) {
        let mut known = self.known.write();
        known.entries.remove(name);
        known.changes += 1;
    }
}

impl Pod {
    /// Finds a database, for the server's own work: where documents say who may read them, none is read
    /// through what this finds. Who asks in somebody's name calls [`Pod::enter`].
    ///
    /// # Errors
    /// [`DatabaseError::Missing`] if there is none of that name.
    pub fn database(&self, name: &DatabaseName) -> Result<Arc<DatabaseEntry>, PodError> {
        let (known, changes) = self.inner.databases.get(name.as_str());
        if let Some(entry) = known {
            return Ok(entry);
        }
        // Before the view is opened: it shows at least this much.
        let read_at = self.inner.store.sequence();
        let found = database::find(self.view().as_ref(), name)?.ok_or(DatabaseError::Missing)?;
        let entry = Arc::new(self.entry(name, found, read_at)?);
        self.inner.databases.insert(&entry, changes);
        Ok(entry)
    }

    /// The database as it stands, and not as it is remembered.
    pub(crate) fn reread_database(
        &self,
        entry: &DatabaseEntry,
    ) -> Result<Arc<DatabaseEntry>, PodError> {
        self.forget_database(entry);
        let again = self.database(&entry.name)?;
        if again.number == entry.number {
            Ok(again)
        } else {
            Err(DatabaseError::Missing.into())
        }
    }

    fn entry(
        &self,
        name: &DatabaseName,
        found: Database,
        read_at: u64,
    ) -> Result<DatabaseEntry, PodError> {
        let text = &found.settings.security;
        let security = if text.is_empty() && name.as_str() == USERS && self.auth().users.sign_up {
            Security::open()
        } else if text.is_empty() {
            Security::default()
        } else {
            Security::parse(text)
                .map_err(|error| EngineError::Corrupt(format!("security of {name}: {error}")))?
        };
        let seed = format!("{} {}", self.inner.identity.instance, found.number.0);
        let writing = Arc::new(self.writing(found.number, &found.settings)?);
        let mut settings = found.settings;
        // It may be long, and is read once.
        let access = std::mem::take(&mut settings.access);
        Ok(DatabaseEntry {
            name: name.clone(),
            number: found.number,
            security,
            app: self.roles_of_app(name),
            sequence_tag: sequence_tag(&seed),
            face: DatabaseFace::Whole,
            scope: crate::access::unprepared(&settings),
            access: crate::access::read_settings(name, &access)?,
            settings,
            writing,
            validators: Arc::new(self.validators(found.number)?),
            read_at,
        })
    }

    fn writing(&self, number: DatabaseNumber, settings: &Settings) -> Result<Writing, PodError> {
        let view = self.view();
        let reader = Reader {
            view: view.as_ref(),
            database: number,
            scope: adea_access::aggregate(),
        };
        Writing::load(&reader, settings)
    }

    fn validators(&self, number: DatabaseNumber) -> Result<Validators, PodError> {
        let view = self.view();
        Validators::load(&Reader {
            view: view.as_ref(),
            database: number,
            scope: adea_access::aggregate(),
        })
    }

    /// Forgets what is remembered of a database, after a commit that may have changed it.
    pub(crate) fn forget_database(&self, entry: &DatabaseEntry) {
        self.inner.databases.forget(entry.name.as_str());
    }

    /// Names of databases between `from` and `to`, both inclusive unless told otherwise by who
    /// calls; see [`database::names`].
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn database_names(
        &self,
        from: Option<&str>,
        to: Option<&str>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<String>, PodError> {
        let view = self.view();
        Ok(database::names(view.as_ref(), from, to, direction, limit)?)
    }

    /// How many databases requests find without looking them up.
    #[must_use]
    pub fn remembered_databases(&self) -> usize {
        self.inner.databases.known.read().entries.len()
    }

    /// Makes a database.
    ///
    /// # Errors
    /// [`DatabaseError::Exists`] if there is one of that name.
    pub async fn create_database(
        &self,
        name: &DatabaseName,
        partitioned: bool,
    ) -> Result<(), PodError> {
        self.create_audited(name, partitioned, None).await
    }

    /// Makes a database, and writes down what is to be told of it.
    pub(crate) async fn create_audited(
        &self,
        name: &DatabaseName,
        partitioned: bool,
        told: Option<AuditEntry>,
    ) -> Result<(), PodError> {
        let with = |_: &mut Transaction<'_>, _: &DatabaseName, _| Ok(());
        self.create_with(name, partitioned, told, with).await
    }

    /// Makes a database and, in the same commit, does what `with` does.
    pub(crate) async fn create_with(
        &self,
        name: &DatabaseName,
        partitioned: bool,
        told: Option<AuditEntry>,
        with: impl FnOnce(
            &mut Transaction<'_>,
            &DatabaseName,
            DatabaseNumber,
        ) -> Result<(), Decline<PodError>>
        + Send
        + 'static,
    ) -> Result<(), PodError> {
        let settings = Settings {
            created_unix_s: self.inner.clock.now_unix_s(),
            revisions_limit: REVISIONS_LIMIT,
            purges_limit: PURGES_LIMIT,
            security: String::new(),
            partitioned,
            labels: 0,
            labelled: 0,
            access: String::new(),
        };
        let (pod, name) = (self.clone(), name.clone());
        Self::to_the_end(async move {
            let wanted = name.clone();
            let created = pod.inner.store.transact(Self::permit(), move |tx| {
                crate::access::refuse_face_names(tx, &wanted)?;
                let number = database::create(tx, &wanted, &settings).map_err(no_database)?;
                crate::apps::keep_quota(tx, &wanted)?;
                with(tx, &wanted, number)?;
                if let Some(entry) = &told {
                    audit::append(tx, entry)?;
                }
                Ok::<_, Decline<PodError>>(number)
            });
            created.await?;
            pod.inner.databases.forget(name.as_str());
            pod.database_made(&name);
            Ok(())
        })
        .await
    }

    /// Drops a database; its room is given back in the background.
    ///
    /// # Errors
    /// [`DatabaseError::Missing`] if there is none of that name.
    pub async fn drop_database(&self, name: &DatabaseName) -> Result<(), PodError> {
        self.drop_audited(name, None).await
    }

    /// Drops a database, and writes down what is to be told of it.
    pub(crate) async fn drop_audited(
        &self,
        name: &DatabaseName,
        told: Option<AuditEntry>,
    ) -> Result<(), PodError> {
        let (pod, name) = (self.clone(), name.clone());
        Self::to_the_end(async move {
            let unwanted = name.clone();
            let dropped = pod.inner.store.transact(Self::permit(), move |tx| {
                let number = database::drop_database(tx, &unwanted).map_err(no_database)?;
                tx.delete(Space::Index, time_sequence::reset_key(number));
                if let Some(entry) = &told {
                    audit::append(tx, entry)?;
                }
                Ok::<_, Decline<PodError>>(number)
            });
            let number = dropped.await?;
            pod.inner.databases.forget(name.as_str());
            pod.dismiss_listeners(number);
            pod.inner.design_changes.forget(number);
            pod.inner.access.forget(number);
            let accounts = name.as_str() == USERS;
            tokio::spawn(async move {
                if accounts {
                    pod.erase_void_accounts_logged().await;
                }
                pod.sweep_logged(number).await;
            });
            Ok(())
        })
        .await
    }

    /// Changes what is set for a database.
    ///
    /// # Errors
    /// [`DatabaseError::Missing`] if it was dropped meanwhile.
    pub async fn change_settings(
        &self,
        entry: &DatabaseEntry,
        change: impl FnOnce(&mut Settings) + Send + 'static,
    ) -> Result<(), PodError> {
        self.change_audited(entry, change, None).await
    }

    /// Changes who may do what in a database, in the name of somebody, which is written down.
    ///
    /// # Errors
    /// As [`Pod::change_settings`].
    pub async fn change_security(
        &self,
        entry: &DatabaseEntry,
        security: String,
        by: &crate::apps::Actor,
    ) -> Result<(), PodError> {
        let told = self.told_of_database("database.security", &entry.name, by);
        let change = move |settings: &mut Settings| settings.security = security;
        self.change_audited(entry, change, told).await
    }

    async fn change_audited(
        &self,
        entry: &DatabaseEntry,
        change: impl FnOnce(&mut Settings) + Send + 'static,
        told: Option<AuditEntry>,
    ) -> Result<(), PodError> {
        let (pod, number, name) = (self.clone(), entry.number, entry.name.clone());
        Self::to_the_end(async move {
            let changed = pod.inner.store.transact(Self::permit(), move |tx| {
                database::change_settings(tx, number, change).map_err(no_database)?;
                if let Some(entry) = &told {
                    audit::append(tx, entry)?;
                }
                Ok::<_, Decline<PodError>>(())
            });
            changed.await?;
            pod.inner.databases.forget(name.as_str());
            pod.rouse_listeners(number);
            Ok(())
        })
        .await
    }

    /// What is told of a database.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn database_info(&self, entry: &DatabaseEntry) -> Result<DatabaseInfo, PodError> {
        let statistics = self.statistics(entry)?;
        let range = everything(entry.number);
        let on_disk: u64 = [Space::Index, Space::Body]
            .into_iter()
            .map(|space| self.inner.store.disk_size(space, &range))
            .sum();
        let active_bytes = statistics.external_bytes + 64 * statistics.changes();
        Ok(DatabaseInfo {
            statistics,
            file_bytes: if on_disk == 0 { active_bytes } else { on_disk },
            active_bytes,
            compacting: self.inner.maintenance.compacts(entry.number),
        })
    }

    /// A database's counts.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn statistics(&self, entry: &DatabaseEntry) -> Result<Statistics, PodError> {
        Ok(database::statistics(self.view().as_ref(), entry.number)?)
    }

    /// What stands behind the number in sequences that are of no one database.
    #[must_use]
    pub fn server_tag(&self) -> String {
        sequence_tag(&self.inner.identity.instance)
    }

    /// Listens for changes of a database.
    #[must_use]
    pub fn watch_database(&self, entry: &DatabaseEntry) -> Subscription {
        self.inner.store.watch().subscribe(entry.number.0)
    }

    /// Listens for databases made and dropped.
    #[must_use]
    pub fn watch_databases(&self) -> Subscription {
        self.inner.store.watch().subscribe(DATABASES_TOPIC)
    }

    pub(crate) async fn make_system_databases(&self) -> Result<(), PodError> {
        for name in ["_users", "_replicator"] {
            let Ok(name) = DatabaseName::parse(name) else {
                continue;
            };
            let made = self.create_database(&name, false).await;
            if !matches!(
                made,
                Ok(()) | Err(PodError::Database(DatabaseError::Exists))
            ) {
                return made;
            }
        }
        Ok(())
    }
}

/// A reader of `entry` over `view`, for a caller who was let in.
#[must_use]
pub(crate) fn reader<'v>(
    view: &'v dyn View,
    entry: &DatabaseEntry,
    _caller: &Caller,
) -> Reader<'v> {
    Reader {
        view,
        database: entry.number,
        scope: entry.scope.clone(),
    }
}

/// Turns a refusal of a database's verb into one of a writer's.
pub(crate) fn no_database(decline: Decline<DatabaseError>) -> Decline<PodError> {
    match decline {
        Decline::Refused(error) => Decline::Refused(error.into()),
        Decline::Engine(error) => Decline::Engine(error),
    }
}

/// Eleven characters that name `seed`, with the beginning that `CouchDB`'s opaque parts have, so
/// that tools which look for it find it.
fn sequence_tag(seed: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // FNV-1a: this is a name and no secret.
    let mut hash = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut tag = "g1A".to_owned();
    for _ in 0..9 {
        let at = usize::try_from(hash & 63).unwrap_or(0);
        tag.push(char::from(ALPHABET.get(at).copied().unwrap_or(b'A')));
        hash >>= 6;
    }
    tag
}

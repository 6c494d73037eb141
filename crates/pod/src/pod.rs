//! One running adea: its store, its files, who it is, and what it remembers between requests.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use adea_accounts::{Sessions, VerifiedCredentials};
use adea_base::{Clock, Entropy};
use adea_files::Directory;
use adea_script::{ScriptOptions, Scripts};
use adea_store::key::POD;
use adea_store::{
    DataDir, DataDirError, Disk, DiskOptions, Durability, Engine, EngineError, Health, Space,
    Store, StoreOptions, TransactError, View, WritePermit,
};
use parking_lot::{Mutex, RwLock};

use crate::access::AccessMemory;
use crate::admins::Admins;
use crate::apps::AppRegistry;
use crate::auth_settings::AuthSettings;
use crate::begin_session::SessionMemory;
use crate::configuration::{AUTH_SECTIONS, Configuration};
use crate::database_updates::Lives;
use crate::databases::DatabaseCache;
use crate::design_function::FunctionCache;
use crate::error::PodError;
use crate::find::MangoCache;
use crate::indexing::Indexing;
use crate::maintain::Maintenance;
use crate::sign_in::AccountCache;
use crate::time_sequence::Moments;
use crate::token_sign_in::TokenMemory;
use crate::validate::DesignChanges;
use crate::views::DesignCache;

/// How to run a pod.
#[derive(Clone, Debug)]
pub struct PodOptions {
    /// The data directory.
    pub data: PathBuf,
    /// When a writer is answered.
    pub durability: Durability,
    /// Bytes for the engine's caches and for what is not flushed yet.
    pub memory: usize,
    /// Seconds that a session lasts unused.
    pub session_timeout_s: u64,
    /// A secret for sessions that several servers share; `None` for one made here and kept.
    pub session_secret: Option<Vec<u8>>,
    /// The longest attachment, in bytes.
    pub attachment_max: u64,
    /// What is set for signing in and for accounts at the start.
    pub auth: AuthSettings,
    /// How functions of design documents are run.
    pub script: ScriptSettings,
    /// How replications are run.
    pub replication: crate::replicate::ReplicationOptions,
}

/// How functions of design documents are run.
#[derive(Clone, Debug, Default)]
pub struct ScriptSettings {
    /// What starts a worker process; empty: no function is run.
    pub command: Vec<OsString>,
    /// Memory of one process's JavaScript, in bytes.
    pub memory_bytes: usize,
    /// How long one document, reduce or request may take.
    pub timeout: Duration,
    /// Processes at a time.
    pub processes_max: usize,
}

impl ScriptSettings {
    fn scripts(&self) -> Scripts {
        if self.command.is_empty() {
            return Scripts::disabled();
        }
        Scripts::new(ScriptOptions {
            command: self.command.clone(),
            memory_bytes: self.memory_bytes,
            timeout: self.timeout,
            processes_max: self.processes_max,
            idle: SCRIPT_IDLE,
        })
    }
}

/// A worker process unused for so long is ended.
const SCRIPT_IDLE: Duration = Duration::from_secs(300);

/// Who this installation is, for as long as its data lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Told at `GET /`; replicators build their checkpoints' names from it.
    pub uuid: String,
    /// Changes when the data is restored from a backup, so that nobody trusts a sequence that
    /// was given out by the data's former life.
    pub instance: String,
    /// When that happened, in seconds since the Unix epoch; 0 if never.
    pub restored_unix_s: u64,
}

/// Documents read and written since the start.
#[derive(Default)]
pub(crate) struct DocumentCounts {
    pub(crate) read: AtomicU64,
    pub(crate) written: AtomicU64,
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) files: Directory,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) options: PodOptions,
    pub(crate) identity: Identity,
    pub(crate) sessions: Sessions,
    pub(crate) session_memory: SessionMemory,
    pub(crate) verified: VerifiedCredentials,
    pub(crate) admins: RwLock<Admins>,
    pub(crate) accounts: AccountCache,
    /// How often something is asked.
    pub(crate) limits: crate::limits::Limits,
    pub(crate) apps: AppRegistry,
    pub(crate) auth: RwLock<Arc<AuthSettings>>,
    /// Told when that changes.
    pub(crate) auth_changed: tokio::sync::Notify,
    pub(crate) tokens: TokenMemory,
    pub(crate) providers: crate::providers::ProviderMemory,
    pub(crate) links: crate::links::LinkMemory,
    pub(crate) databases: DatabaseCache,
    pub(crate) access: AccessMemory,
    pub(crate) maintenance: Maintenance,
    pub(crate) scripts: Scripts,
    pub(crate) design_changes: Arc<DesignChanges>,
    pub(crate) functions: FunctionCache,
    pub(crate) indexing: Indexing,
    pub(crate) designs: DesignCache,
    pub(crate) configuration: Configuration,
    pub(crate) lives: Mutex<Lives>,
    pub(crate) moments: RwLock<Moments>,
    pub(crate) documents: DocumentCounts,
    pub(crate) mango: MangoCache,
    pub(crate) replicator: crate::replicate::Replicator,
    pub(crate) uuid_counter: AtomicU64,
    /// Up to where invitations were looked through for those that are over.
    pub(crate) invitations_swept: Mutex<Option<Vec<u8>>>,
    _directory: Option<DataDir>,
}

/// One running adea. Clones are the same one.
#[derive(Clone)]
pub struct Pod {
    pub(crate) inner: Arc<Inner>,
}

/// Why a pod does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory cannot be had.
    #[error(transparent)]
    Directory(#[from] DataDirError),
    /// The store cannot be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The files cannot be had.
    #[error("blobs: {0}")]
    Files(#[from] std::io::Error),
    /// The first commit failed.
    #[error(transparent)]
    Pod(#[from] Box<PodError>),
}

const IDENTITY: &[u8] = &[POD, b'i'];
const SECRET: &[u8] = &[POD, b's'];

impl Pod {
    /// Opens the data directory, making what is missing.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed if the directory is somebody else's or newer.
    pub async fn open(options: PodOptions) -> Result<Self, OpenError> {
        let directory = DataDir::open_or_create(&options.data)?;
        Self::open_held(directory, options).await
    }

    /// Opens a data directory that must be there already.
    ///
    /// # Errors
    /// [`OpenError`], as [`Pod::open`].
    pub async fn open_existing(options: PodOptions) -> Result<Self, OpenError> {
        let directory = DataDir::open_existing(&options.data)?;
        Self::open_held(directory, options).await
    }

    async fn open_held(directory: DataDir, options: PodOptions) -> Result<Self, OpenError> {
        let memory = options.memory;
        let disk = Disk::open(&directory.store_path(), DiskOptions { memory })?;
        let files = Directory::on_disk(directory.path())?;
        let (engine, clock) = (Arc::new(disk), Clock::System);
        Self::assemble(engine, files, Some(directory), options, clock).await
    }

    /// Runs over any engine and any directory of files, for tests.
    ///
    /// # Errors
    /// [`OpenError`] if the engine cannot be read or written.
    pub async fn over(
        engine: Arc<dyn Engine>,
        files: Directory,
        options: PodOptions,
    ) -> Result<Self, OpenError> {
        Self::assemble(engine, files, None, options, Clock::System).await
    }

    /// As [`Pod::over`], with a time of day that is given.
    ///
    /// # Errors
    /// [`OpenError`] if the engine cannot be read or written.
    pub async fn over_at(
        engine: Arc<dyn Engine>,
        files: Directory,
        options: PodOptions,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        Self::assemble(engine, files, None, options, clock).await
    }

    async fn assemble(
        engine: Arc<dyn Engine>,
        files: Directory,
        directory: Option<DataDir>,
        options: PodOptions,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let store = Store::open(
            engine,
            StoreOptions {
                durability: options.durability,
            },
        )?;
        let entropy = Entropy::System;
        let identity = load_identity(&store, &entropy).await.map_err(Box::new)?;
        let configuration = Configuration::load(store.view().as_ref())?;
        let secret = match configuration.first_of(AUTH_SECTIONS, "secret") {
            Some(secret) => secret.as_bytes().to_vec(),
            None => match &options.session_secret {
                Some(secret) => secret.clone(),
                None => load_secret(&store, &entropy).await.map_err(Box::new)?,
            },
        };
        let admins = Admins::load(store.view().as_ref())?;
        let apps = AppRegistry::load(store.view().as_ref())?;
        let moments = Moments::load(store.view().as_ref())?;
        let pod = Self {
            inner: Arc::new(Inner {
                sessions: Sessions::new(&secret, options.session_timeout_s),
                session_memory: SessionMemory::new(&secret),
                verified: VerifiedCredentials::new(&entropy),
                admins: RwLock::new(admins),
                accounts: AccountCache::default(),
                limits: crate::limits::Limits::new(&entropy),
                apps,
                auth: RwLock::new(Arc::new(options.auth.clone())),
                auth_changed: tokio::sync::Notify::new(),
                tokens: TokenMemory::default(),
                providers: crate::providers::ProviderMemory::default(),
                links: crate::links::LinkMemory::default(),
                databases: DatabaseCache::default(),
                access: AccessMemory::since(store.sequence()),
                maintenance: Maintenance::default(),
                scripts: options.script.scripts(),
                design_changes: Arc::default(),
                functions: FunctionCache::default(),
                indexing: Indexing::default(),
                designs: DesignCache::default(),
                configuration,
                lives: Mutex::default(),
                moments: RwLock::new(moments),
                documents: DocumentCounts::default(),
                mango: MangoCache::default(),
                replicator: crate::replicate::Replicator::new(options.replication.clone()),
                invitations_swept: Mutex::default(),
                uuid_counter: AtomicU64::new(u64::from_le_bytes(entropy.bytes()) >> 17),
                store,
                files,
                clock,
                entropy,
                options,
                identity,
                _directory: directory,
            }),
        };
        pod.apply_settings();
        pod.make_system_databases().await.map_err(Box::new)?;
        pod.make_missing_records().await.map_err(Box::new)?;
        Ok(pod)
    }

    /// Who this installation is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// The time of day.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Chance.
    #[must_use]
    pub fn entropy(&self) -> &Entropy {
        &self.inner.entropy
    }

    /// How it runs.
    #[must_use]
    pub fn options(&self) -> &PodOptions {
        &self.inner.options
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.inner.options.data
    }

    /// Whether it takes writes.
    #[must_use]
    pub fn health(&self) -> Health {
        self.inner.store.health()
    }

    /// Transactions committed and syncs made since the start, and topics listened to.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, usize) {
        let (commits, syncs) = self.inner.store.counts();
        (commits, syncs, self.inner.store.watch().topics())
    }

    /// Documents read and documents written since the start.
    #[must_use]
    pub fn document_counts(&self) -> (u64, u64) {
        use std::sync::atomic::Ordering::Relaxed;
        let counts = &self.inner.documents;
        (counts.read.load(Relaxed), counts.written.load(Relaxed))
    }

    /// Finishes what waits and stops writing.
    pub fn close(&self) {
        self.inner.scripts.close();
        self.inner.store.close();
    }

    /// Waits until everything acknowledged is on stable storage.
    ///
    /// # Errors
    /// [`PodError::Commit`] if it cannot be.
    pub async fn sync(&self) -> Result<(), PodError> {
        Ok(self.inner.store.sync().await?)
    }

    /// Identifiers that nobody else makes: `CouchDB`'s sequential ones, a random prefix with a
    /// rising end, which keeps documents made together close together in the index.
    #[must_use]
    pub fn new_id(&self) -> String {
        use std::sync::atomic::Ordering;
        let step = 1 + u64::from(self.inner.entropy.bytes::<1>()[0]);
        let count = self.inner.uuid_counter.fetch_add(step, Ordering::Relaxed);
        let prefix = self
            .inner
            .identity
            .instance
            .get(..10)
            .unwrap_or("0000000000");
        let minute = self.inner.clock.now_unix_s() / 64;
        format!("{prefix}{minute:010x}{:012x}", count & 0xffff_ffff_ffff)
    }

    /// Runs `work` to its end, also if who waits for it goes away: what follows a commit must
    /// follow it.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        work: impl Future<Output = Result<T, PodError>> + Send + 'static,
    ) -> Result<T, PodError> {
        tokio::spawn(work)
            .await
            .map_err(|_| PodError::Interrupted)?
    }

    /// The right to write. With one pod there is one term.
    pub(crate) fn permit() -> WritePermit {
        WritePermit::of_term(1)
    }

    /// The data as it is now.
    pub(crate) fn view(&self) -> Box<dyn View + '_> {
        self.inner.store.view()
    }
}

async fn load_identity(store: &Store, entropy: &Entropy) -> Result<Identity, PodError> {
    if let Some(bytes) = store.view().get(Space::Index, IDENTITY)? {
        return decode_identity(&bytes)
            .ok_or_else(|| EngineError::Corrupt("the installation's identity".to_owned()).into());
    }
    let identity = Identity {
        uuid: entropy.hex_id(),
        instance: entropy.hex_id(),
        restored_unix_s: 0,
    };
    put_identity(store, &identity).await?;
    Ok(identity)
}

/// Makes `identity` this installation's.
pub(crate) async fn put_identity(store: &Store, identity: &Identity) -> Result<(), PodError> {
    let value = format!(
        "1 {} {} {}",
        identity.uuid, identity.instance, identity.restored_unix_s
    );
    put(store, IDENTITY, value.into_bytes()).await
}

fn decode_identity(bytes: &[u8]) -> Option<Identity> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut words = text.split(' ');
    (words.next()? == "1").then_some(())?;
    Some(Identity {
        uuid: words.next()?.to_owned(),
        instance: words.next()?.to_owned(),
        restored_unix_s: words.next()?.parse().ok()?,
    })
}

async fn load_secret(store: &Store, entropy: &Entropy) -> Result<Vec<u8>, PodError> {
    if let Some(secret) = store.view().get(Space::Index, SECRET)? {
        return Ok(secret);
    }
    let secret = entropy.bytes::<32>().to_vec();
    put(store, SECRET, secret.clone()).await?;
    Ok(secret)
}

pub(crate) async fn put(store: &Store, key: &[u8], value: Vec<u8>) -> Result<(), PodError> {
    let key = key.to_vec();
    let done: Result<(), TransactError<PodError>> = store
        .transact(Pod::permit(), move |tx| {
            tx.put(Space::Index, key, value);
            Ok(())
        })
        .await;
    Ok(done?)
}

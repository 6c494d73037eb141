//! Tombstones with a time to live: what has been deleted for long enough is forgotten for good.
//!
//! A turn takes each database whose tombstones expire, looks through the changes that are old enough
//! and were not looked through before, and purges the tombstones among them, a few in one
//! transaction, so that others get theirs in between. They are ordinary purges: indexes hear of them.
//! The mark up to which a database was looked through is moved after the purges: a crash between
//! them looks through a part again and finds nothing.

use adea_base::{Caller, DocumentId};
use adea_documents::expiry::{self, Expired, Expiry};
use adea_documents::revision::Revision;
use adea_documents::{DatabaseError, DatabaseNumber};
use adea_store::TransactError;
use tokio::task::spawn_blocking;

use crate::databases::{DatabaseEntry, no_database};
use crate::directory::life::Touched;
use crate::error::PodError;
use crate::pod::Pod;

/// Tombstones that one transaction purges.
const PURGED_MAX: usize = 100;
/// Changes that are looked at in one view.
const WALKED_MAX: usize = 4_096;
/// Portions of one database that one turn takes: what is left waits for the next.
const PORTIONS_MAX: usize = 1_000;

impl Pod {
    /// For how many seconds a database keeps its tombstones; `None`: for ever.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn deleted_document_ttl(&self, entry: &DatabaseEntry) -> Result<Option<u64>, PodError> {
        let found = expiry::get(self.view().as_ref(), entry.number)?;
        Ok(found.map(|expiry| expiry.ttl_s))
    }

    /// Sets for how many seconds a database keeps its tombstones.
    ///
    /// # Errors
    /// [`DatabaseError::Missing`] if it was dropped meanwhile.
    pub async fn set_deleted_document_ttl(
        &self,
        entry: &DatabaseEntry,
        ttl_s: Option<u64>,
    ) -> Result<(), PodError> {
        let number = entry.number;
        let set = self
            .inner
            .store
            .transact(Self::permit(), move |tx| expiry::set(tx, number, ttl_s));
        Ok(set.await?)
    }

    /// Purges what has expired, in all databases, and says how many documents those were.
    ///
    /// # Errors
    /// [`PodError`] if the store cannot be read or written; what was purged stays so.
    pub async fn purge_expired(&self) -> Result<u64, PodError> {
        let now_s = self.inner.clock.now_unix_s();
        let mut purged = 0;
        let expiries = expiry::all(self.view().as_ref())?;
        for (number, expiry) in expiries {
            match self.purge_expired_of(number, expiry, now_s).await {
                Ok(count) => purged += count,
                // It was dropped meanwhile.
                Err(PodError::Database(DatabaseError::Missing)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(purged)
    }

    async fn purge_expired_of(
        &self,
        number: DatabaseNumber,
        expiry: Expiry,
        now_s: u64,
    ) -> Result<u64, PodError> {
        let until = self.sequence_by(now_s.saturating_sub(expiry.ttl_s));
        let (mut through, mut purged) = (expiry.through, 0);
        for _ in 0..PORTIONS_MAX {
            if through >= until {
                break;
            }
            let pod = self.clone();
            let looked = spawn_blocking(move || pod.expired(number, through, until));
            let found = looked.await.map_err(|_| PodError::Interrupted)??;
            through = found.through;
            if !found.tombstones.is_empty() {
                purged += found.tombstones.len() as u64;
                self.purge_tombstones(number, found.tombstones).await?;
            }
            if found.done {
                break;
            }
        }
        if through > expiry.through {
            let advanced: Result<(), TransactError<PodError>> = self
                .inner
                .store
                .transact(Self::permit(), move |tx| {
                    Ok(expiry::advance(tx, number, through)?)
                })
                .await;
            advanced?;
        }
        Ok(purged)
    }

    fn expired(&self, number: DatabaseNumber, after: u64, until: u64) -> Result<Expired, PodError> {
        let view = self.view();
        let reader = adea_documents::reader::Reader {
            view: view.as_ref(),
            database: number,
            scope: adea_access::aggregate(),
        };
        Ok(reader.tombstones(after, until, PURGED_MAX, WALKED_MAX)?)
    }

    async fn purge_tombstones(
        &self,
        number: DatabaseNumber,
        tombstones: Vec<(String, Vec<Revision>)>,
    ) -> Result<(), PodError> {
        let mut revisions = Vec::with_capacity(tombstones.len());
        for (id, leaves) in tombstones {
            let id = DocumentId::parse(&id).map_err(|error| {
                adea_store::EngineError::Corrupt(format!("document id {id:?}: {error}"))
            })?;
            revisions.push((id, leaves));
        }
        let accounts = self.ground_if_users(number);
        let purged = self.inner.store.transact(Self::permit(), move |tx| {
            let mut touched = Touched::default();
            let mut writer =
                adea_documents::writer::Writer::open(tx, number).map_err(no_database)?;
            for (id, leaves) in &revisions {
                // A document that was changed meanwhile keeps what came after.
                writer.purge(id, leaves)?;
                if accounts.is_some() {
                    touched.note(id, &Caller::anonymous(), false);
                }
            }
            touched.read(&writer)?;
            let references = writer.finish()?;
            if let Some(ground) = &accounts {
                touched.follow(tx, ground)?;
            }
            Ok(crate::maintain::settle_references(tx, &references, |_| {
                None
            })?)
        });
        let last = purged.await.map_err(PodError::from)?;
        self.release_files(last).await;
        Ok(())
    }
}

//! Entering databases of an app, and making and dropping them.

use adea_accounts::apps::{self, AppRoles, namespace};
use adea_base::{Caller, DatabaseName};
use adea_documents::database::names_below;
use adea_store::{Decline, EngineError, Transaction};

use super::{Actor, AppError};
use crate::apps::registry::Known;
use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;
use std::sync::Arc;

/// The most names that are looked at to count an app's databases: those of the system count for
/// nothing, and stand among them.
const COUNTED_MAX: usize = 20_000;

impl Pod {
    /// Lets enter databases of this name, whether there is one or not, who has joined the app that it
    /// belongs to. What is set for the database is asked besides.
    ///
    /// # Errors
    /// [`AppError::NotJoined`] for everybody else who has a name.
    pub fn may_enter(&self, caller: &Caller, database: &DatabaseName) -> Result<(), PodError> {
        match self.app_owning(database) {
            Some(known) if !known.roles.admit(caller) => {
                Err(AppError::NotJoined(known.app.id.clone()).into())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Lets enter this database who may, by its app and by what is set for it.
    ///
    /// # Errors
    /// As [`Pod::may_enter`], or [`PodError::Refused`].
    pub fn admit(&self, caller: &Caller, entry: &DatabaseEntry) -> Result<(), PodError> {
        self.may_enter(caller, &entry.name)?;
        Ok(entry.access(caller).require_member()?)
    }

    /// The same for a caller who was let in a while ago: whether he has left the app since is looked up
    /// in the store.
    ///
    /// # Errors
    /// As [`Pod::may_enter`].
    pub(crate) fn may_still_enter(
        &self,
        caller: &Caller,
        database: &DatabaseName,
    ) -> Result<(), PodError> {
        self.may_enter(caller, database)?;
        let Some(known) = self.app_owning(database) else {
            return Ok(());
        };
        match caller.account().filter(|_| !caller.is_admin()) {
            Some(account) => self.may_use_app(account, &known.app.id),
            None => Ok(()),
        }
    }

    /// Whether `caller` may make and drop databases of this name.
    #[must_use]
    pub fn may_make(&self, caller: &Caller, database: &DatabaseName) -> bool {
        let owner = || self.app_owning(database);
        caller.is_admin() || owner().is_some_and(|known| known.roles.administers(caller))
    }

    /// Makes a database in the name of somebody who may.
    ///
    /// # Errors
    /// As [`Pod::create_database`]; also [`AppError::QuotaExceeded`].
    pub async fn make_database(
        &self,
        name: &DatabaseName,
        partitioned: bool,
        by: &Actor,
    ) -> Result<(), PodError> {
        let told = self.told_of_database("database.create", name, by);
        self.create_audited(name, partitioned, told).await
    }

    /// Drops a database in the name of somebody who may.
    ///
    /// # Errors
    /// As [`Pod::drop_database`].
    pub async fn unmake_database(&self, name: &DatabaseName, by: &Actor) -> Result<(), PodError> {
        let told = self.told_of_database("database.drop", name, by);
        self.drop_audited(name, told).await
    }

    /// What is written down of who makes or drops a database.
    pub(crate) fn told_of_database(
        &self,
        action: &str,
        name: &DatabaseName,
        by: &Actor,
    ) -> Option<adea_accounts::audit::AuditEntry> {
        let owner = self.app_owning(name);
        let app = owner.as_ref().map_or("", |owner| owner.app.id.as_str());
        let now_ms = self.inner.clock.now_unix_ms();
        Some(by.entry(action, name.as_str(), app, now_ms))
    }

    /// The app that owns databases of this name.
    fn app_owning(&self, database: &DatabaseName) -> Option<Arc<Known>> {
        self.inner.apps.find(namespace(database)?)
    }

    /// The roles of that app.
    pub(crate) fn roles_of_app(&self, database: &DatabaseName) -> Option<AppRoles> {
        self.app_owning(database).map(|known| known.roles.clone())
    }
}

/// Refuses what this transaction has made if its app has more databases now than it may have.
///
/// # Errors
/// [`AppError::QuotaExceeded`], or that the store cannot be read.
pub(crate) fn keep_quota(
    tx: &Transaction<'_>,
    made: &DatabaseName,
) -> Result<(), Decline<PodError>> {
    let Some(app) = namespace(made) else {
        return Ok(());
    };
    let most = apps::find(tx, app)?.and_then(|app| app.quota.databases);
    let Some(most) = most.and_then(|most| usize::try_from(most).ok()) else {
        return Ok(());
    };
    if owned(tx, app)? > most {
        let exceeded = AppError::QuotaExceeded("databases of the app");
        return Err(Decline::Refused(exceeded.into()));
    }
    Ok(())
}

/// How many databases are of the app `id`.
fn owned(tx: &Transaction<'_>, id: &str) -> Result<usize, EngineError> {
    let below = names_below(tx, &format!("{id}/"), COUNTED_MAX)?;
    // The one of the app's own name stands alone under it.
    let own = names_below(tx, id, 1)?;
    let own = own.first().is_some_and(|first| first == id);
    let owned = below.iter().filter(|name| {
        let name = DatabaseName::parse(name);
        name.is_ok_and(|name| namespace(&name) == Some(id))
    });
    Ok(owned.count() + usize::from(own))
}

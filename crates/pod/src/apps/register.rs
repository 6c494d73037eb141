//! Registering apps, and changing what is set for them.

use std::sync::Arc;

use adea_accounts::apps::{self, App};
use adea_accounts::audit::{self, AuditEntry};
use adea_accounts::keys;
use adea_base::Caller;
use adea_store::Decline;

use super::{Actor, AppError};
use crate::error::PodError;
use crate::pod::Pod;

/// What is to be set for an app.
pub type AppChange = Box<dyn FnOnce(&mut App) + Send>;

impl Pod {
    /// All apps, in the order of their ids, from behind `after` on.
    #[must_use]
    pub fn apps(&self, after: Option<&str>, limit: usize) -> Vec<Arc<App>> {
        self.inner.apps.list(after, limit)
    }

    /// Registers an app: from now on databases of its name, and those below it, are the app's.
    ///
    /// # Errors
    /// [`AppError::Exists`], [`AppError::DomainTaken`], [`AppError::Invalid`] or
    /// [`AppError::QuotaExceeded`].
    pub async fn register_app(&self, app: App, by: &Actor) -> Result<Arc<App>, PodError> {
        let now_ms = self.inner.clock.now_unix_ms();
        let app = App {
            created_ms: now_ms,
            revision: 1,
            registration: keys::new_id(&self.inner.entropy),
            ..app.normal().map_err(AppError::from)?
        };
        let told = by.entry("app.create", &app.id, &app.id, now_ms);
        let (pod, id) = (self.clone(), app.id.clone());
        Self::to_the_end(async move {
            let registered = pod.inner.store.transact(Self::permit(), move |tx| {
                if apps::find(tx, &app.id)?.is_some() {
                    return Err(Decline::Refused(AppError::Exists));
                }
                put(tx, None, &app, &told)
            });
            registered.await?;
            pod.reread_apps()
        })
        .await?;
        self.app(&id)
    }

    /// Changes what is set for the app `id`. Its administrators may change its title, its rules of
    /// signing up, its links and its language; the rest is for the server's.
    ///
    /// # Errors
    /// [`AppError::Unknown`], [`AppError::NotAdmin`], [`AppError::ServersMatter`],
    /// [`AppError::Changed`] if `revision` is another than it has, [`AppError::DomainTaken`] or
    /// [`AppError::Invalid`].
    pub async fn change_app(
        &self,
        id: &str,
        revision: Option<u64>,
        change: AppChange,
        by: &Actor,
    ) -> Result<Arc<App>, PodError> {
        self.administered(id, &by.caller)?;
        let now_ms = self.inner.clock.now_unix_ms();
        let told = by.entry("app.change", id, id, now_ms);
        let (pod, changed_id, caller) = (self.clone(), id.to_owned(), by.caller.clone());
        Self::to_the_end(async move {
            let changed = pod.inner.store.transact(Self::permit(), move |tx| {
                let before = apps::find(tx, &changed_id)?;
                let before = before.ok_or(Decline::Refused(AppError::Unknown))?;
                let after = changed(&before, revision, change, &caller);
                let after = after.map_err(Decline::Refused)?;
                put(tx, Some(&before), &after, &told)
            });
            changed.await?;
            pod.reread_apps()
        })
        .await?;
        self.app(id)
    }

    /// Takes the registration of the app `id` away. Its databases stay, and are the server's; nobody
    /// has joined it any more.
    ///
    /// # Errors
    /// [`AppError::Unknown`], or [`AppError::Changed`] if `revision` is another than it has.
    pub async fn remove_app(
        &self,
        id: &str,
        revision: Option<u64>,
        by: &Actor,
    ) -> Result<(), PodError> {
        let now_ms = self.inner.clock.now_unix_ms();
        let told = by.entry("app.delete", id, id, now_ms);
        let (pod, id) = (self.clone(), id.to_owned());
        Self::to_the_end(async move {
            let removed = id.clone();
            let removing = pod.inner.store.transact(Self::permit(), move |tx| {
                let app = apps::find(tx, &removed)?;
                let app = app.ok_or(Decline::Refused(AppError::Unknown))?;
                is_current(&app, revision).map_err(Decline::Refused)?;
                apps::remove(tx, &app)?;
                audit::append(tx, &told)?;
                Ok(())
            });
            removing.await?;
            pod.reread_apps()?;
            pod.clear_soon().await
        })
        .await
    }
}

/// Stores `after` in place of `before`, if its domains are nobody else's.
fn put(
    tx: &mut adea_store::Transaction<'_>,
    before: Option<&App>,
    after: &App,
    told: &AuditEntry,
) -> Result<(), Decline<AppError>> {
    if let Some(domain) = apps::domain_taken(tx, after)? {
        return Err(Decline::Refused(AppError::DomainTaken(domain)));
    }
    if !apps::store(tx, before, after)? {
        let exceeded = AppError::QuotaExceeded("apps of the server");
        return Err(Decline::Refused(exceeded));
    }
    Ok(audit::append(tx, told)?)
}

/// What `change` makes of an app, if `caller` may.
fn changed(
    before: &App,
    revision: Option<u64>,
    change: AppChange,
    caller: &Caller,
) -> Result<App, AppError> {
    is_current(before, revision)?;
    let mut after = before.clone();
    change(&mut after);
    let after = App {
        id: before.id.clone(),
        created_ms: before.created_ms,
        registration: before.registration.clone(),
        revision: before.revision + 1,
        ..after
    };
    let after = after.normal()?;
    if !caller.is_admin() {
        // Where browsers may be sent decides who gets hold of secrets that belong to accounts of the
        // whole server, so it is not the app's own matter.
        for (member, same) in [
            ("domains", before.domains == after.domains),
            ("origins", before.origins == after.origins),
            ("quota", before.quota == after.quota),
            ("sessions", before.sessions == after.sessions),
        ] {
            if !same {
                return Err(AppError::ServersMatter(member));
            }
        }
    }
    Ok(after)
}

fn is_current(app: &App, revision: Option<u64>) -> Result<(), AppError> {
    match revision {
        Some(revision) if revision != app.revision => Err(AppError::Changed(app.revision)),
        Some(_) | None => Ok(()),
    }
}

//! A database for each account, as `couch_peruser` makes them: `userdb-` and the account's name in
//! hexadecimal digits, which its owner administers and nobody else enters.
//!
//! It follows the changes of `_users`, whoever makes them, and writes down how far it came, so that
//! a start does not begin anew. What it does for an account may be done twice.
//!
//! Invariant: the place that is written down is behind everything that is done.

use std::ops::ControlFlow;
use std::time::Duration;

use adea_base::{Caller, DatabaseName};
use adea_documents::DatabaseError;
use adea_store::key::POD;
use adea_store::{Direction, Space};

use adea_accounts::{Security, USER_ID_PREFIX};

use crate::admins::ADMIN_ROLE;
use crate::auth_settings::PerUserSettings;
use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::follow_changes::{ChangesRange, Part};
use crate::pod::{Pod, put};
use crate::sign_in::USERS;

/// Where it is written down how far this came.
const PLACE: &[u8] = &[POD, b'u'];
/// Accounts between two places that are written down.
const PAGE: usize = 100;
/// How long to wait after something went wrong.
const PAUSE: Duration = Duration::from_secs(5);

/// An account that was made or changed, or is gone.
struct Changed {
    sequence: u64,
    name: Option<String>,
    deleted: bool,
}

impl Pod {
    /// Makes a database for each account, where that is set, for as long as this is polled.
    pub(crate) async fn keep_user_databases(&self) {
        loop {
            let changed = self.inner.auth_changed.notified();
            let settings = self.auth().per_user.clone();
            if settings.enabled {
                tokio::select! {
                    () = changed => {}
                    () = self.follow_accounts(&settings) => {}
                }
            } else {
                changed.await;
            }
        }
    }

    /// Follows `_users` until it is dropped or something goes wrong.
    async fn follow_accounts(&self, settings: &PerUserSettings) {
        let Ok(users) = DatabaseName::parse(USERS) else {
            return std::future::pending().await;
        };
        let mut databases = self.watch_databases();
        let Ok(entry) = self.database(&users) else {
            return databases.changed().await;
        };
        let mut changes = self.watch_database(&entry);
        loop {
            changes.mark_seen();
            if let Err(error) = self.make_user_databases(&entry, settings).await {
                tracing::error!(%error, "the databases of accounts wait: {error}");
                return tokio::time::sleep(PAUSE).await;
            }
            changes.changed().await;
            if changes.is_closed() {
                return;
            }
        }
    }

    /// Does what is to be done for every account that changed since the last place.
    pub(crate) async fn make_user_databases(
        &self,
        entry: &DatabaseEntry,
        settings: &PerUserSettings,
    ) -> Result<(), PodError> {
        let mut after = self.place_among(entry, settings)?;
        loop {
            let page = self.accounts_changed(entry, after)?;
            let Some(last) = page.last().map(|changed| changed.sequence) else {
                return Ok(());
            };
            for changed in page {
                if let Some(name) = changed.name {
                    self.keep_database_of(&name, changed.deleted, settings)
                        .await?;
                }
            }
            after = last;
            let place = place(entry, settings, after);
            put(&self.inner.store, PLACE, place.into_bytes()).await?;
        }
    }

    /// How far this came; 0 if it was among other accounts, or with another prefix.
    fn place_among(
        &self,
        entry: &DatabaseEntry,
        settings: &PerUserSettings,
    ) -> Result<u64, PodError> {
        let Some(stored) = self.view().get(Space::Index, PLACE)? else {
            return Ok(0);
        };
        let text = String::from_utf8(stored).unwrap_or_default();
        let sequence = text.split(' ').nth(2).and_then(|text| text.parse().ok());
        let sequence = sequence.filter(|sequence| place(entry, settings, *sequence) == text);
        Ok(sequence.unwrap_or(0))
    }

    fn accounts_changed(
        &self,
        entry: &DatabaseEntry,
        after: u64,
    ) -> Result<Vec<Changed>, PodError> {
        let server = Caller::named("", vec![ADMIN_ROLE.to_owned()]);
        let range = ChangesRange {
            after,
            until: u64::MAX,
            direction: Direction::Forward,
            part: Part::Kept,
            bodies: false,
            leaf_bodies: false,
            conflicts: false,
            leaves: false,
        };
        let mut page = Vec::new();
        self.read_changes(entry, &server, range, |row| {
            page.push(Changed {
                sequence: row.sequence,
                name: row.id.strip_prefix(USER_ID_PREFIX).map(str::to_owned),
                deleted: row.winner.deleted,
            });
            if page.len() < PAGE {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        Ok(page)
    }

    async fn keep_database_of(
        &self,
        name: &str,
        deleted: bool,
        settings: &PerUserSettings,
    ) -> Result<(), PodError> {
        let hexadecimal: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        let Ok(database) = DatabaseName::parse(&format!("{}{hexadecimal}", settings.prefix)) else {
            tracing::warn!("the name of an account is too long for a database of its own");
            return Ok(());
        };
        if deleted && settings.delete {
            return match self.drop_database(&database).await {
                Ok(()) | Err(PodError::Database(DatabaseError::Missing)) => Ok(()),
                Err(error) => Err(error),
            };
        }
        if !deleted {
            match self.create_database(&database, false).await {
                Ok(()) | Err(PodError::Database(DatabaseError::Exists)) => {}
                Err(error) => return Err(error),
            }
        }
        let entry = match self.database(&database) {
            Err(PodError::Database(DatabaseError::Missing)) => return Ok(()),
            found => found?,
        };
        if entry.security.with_name(name, !deleted).is_none() {
            return Ok(());
        }
        let name = name.to_owned();
        self.change_settings(&entry, move |settings| {
            let security = if settings.security.is_empty() {
                Some(Security::default())
            } else {
                Security::parse(&settings.security).ok()
            };
            if let Some(changed) = security.and_then(|old| old.with_name(&name, !deleted)) {
                settings.security = changed.as_text().to_owned();
            }
        })
        .await
    }
}

/// A place as it is written down: among which accounts, how far, and for databases of which names.
fn place(entry: &DatabaseEntry, settings: &PerUserSettings, sequence: u64) -> String {
    format!("1 {} {sequence} {}", entry.number.0, settings.prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_user::tests::{caller, edit, pod, users, write};
    use serde_json::json;

    const ANN: &str = "userdb-616e6e";

    fn settings() -> PerUserSettings {
        PerUserSettings {
            enabled: true,
            ..PerUserSettings::default()
        }
    }

    fn security(pod: &Pod) -> Option<String> {
        let name = DatabaseName::parse(ANN).unwrap();
        let entry = pod.database(&name).ok()?;
        Some(entry.security.as_text().to_owned())
    }

    #[tokio::test]
    async fn an_account_has_a_database_that_is_its_own() {
        let pod = pod().await;
        let (root, entry) = (caller("root", &["_admin"]), users(&pod));
        let keep = async || pod.make_user_databases(&entry, &settings()).await.unwrap();
        let ann = json!({"type":"user","name":"ann","roles":[]});
        let id = "org.couchdb.user:ann";
        let first = write(&pod, &root, id, ann.clone(), edit(None))
            .await
            .unwrap();
        let long = "x".repeat(200);
        let other = json!({"type":"user","name":long,"roles":[]});
        let long_id = format!("org.couchdb.user:{long}");
        write(&pod, &root, &long_id, other, edit(None))
            .await
            .unwrap();
        let design = json!({"language":"javascript"});
        write(&pod, &root, "_design/x", design, edit(None))
            .await
            .unwrap();
        assert_eq!(security(&pod), None);
        for _ in 0..2 {
            keep().await;
            let own = r#"{"members":{"roles":["_admin"],"names":["ann"]},"admins":{"roles":["_admin"],"names":["ann"]}}"#;
            assert_eq!(security(&pod).as_deref(), Some(own));
        }
        assert!(pod.place_among(&entry, &settings()).unwrap() > 0);
        let renamed = PerUserSettings {
            prefix: "my-".to_owned(),
            ..settings()
        };
        assert_eq!(pod.place_among(&entry, &renamed).unwrap(), 0);

        let gone = json!({"_deleted":true});
        write(&pod, &root, id, gone.clone(), edit(Some(first)))
            .await
            .unwrap();
        keep().await;
        let nobodys = r#"{"members":{"roles":["_admin"],"names":[]},"admins":{"roles":["_admin"],"names":[]}}"#;
        assert_eq!(security(&pod).as_deref(), Some(nobodys));

        let third = write(&pod, &root, id, ann, edit(None)).await.unwrap();
        write(&pod, &root, id, gone, edit(Some(third)))
            .await
            .unwrap();
        let deleting = PerUserSettings {
            delete: true,
            ..settings()
        };
        pod.make_user_databases(&entry, &deleting).await.unwrap();
        assert_eq!(security(&pod), None);
    }

    #[tokio::test]
    async fn it_follows_the_accounts_while_it_is_switched_on() {
        let pod = pod().await;
        let following = tokio::spawn({
            let pod = pod.clone();
            async move { pod.keep_user_databases().await }
        });
        let root = caller("root", &["_admin"]);
        let ann = json!({"type":"user","name":"ann","roles":[]});
        let mut databases = pod.watch_databases();
        write(&pod, &root, "org.couchdb.user:ann", ann, edit(None))
            .await
            .unwrap();
        pod.change_auth(|auth| auth.per_user = settings());
        while security(&pod).is_none() {
            databases.changed().await;
        }
        following.abort();
    }
}

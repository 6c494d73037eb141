//! Switching access control on, and changing what is set for it.
//!
//! Where access lists come from is the *rule*. Another rule has a new generation, the sequence of the
//! commit that set it: documents that were put under their labels by an older one are seen by nobody
//! from then on, until the rebuild (`rebuild.rs`) has come to them.
//!
//! Invariant: what is forgotten here is forgotten after the commit and before the answer, so that who
//! was told that the rule is in force meets nobody who does not know of it.

use std::sync::Arc;

use adea_access::AccessSettings;
use adea_accounts::audit::{self, AuditEntry};
use adea_base::DatabaseName;
use adea_documents::database::{self, Database};
use adea_documents::{DatabaseError, DatabaseNumber, labels};
use adea_store::{Decline, Transaction};

use super::AccessError;
use super::face::refuse_taken_faces;
use super::rebuild::Progress;
use crate::apps::Actor;
use crate::databases::{DatabaseEntry, no_database};
use crate::error::PodError;
use crate::pod::Pod;

/// The longest text of settings that is kept.
const SETTINGS_BYTES_MAX: usize = 1 << 20;

/// What is set for access to a database, and how far it is carried out.
#[derive(Clone, Debug)]
pub struct AccessState {
    /// What is set; `None` if there is no access control.
    pub settings: Option<Arc<AccessSettings>>,
    /// How far documents are put under their labels, or how that went.
    pub progress: Progress,
}

/// What is put in force in one commit.
struct Switch {
    settings: AccessSettings,
    text: String,
    key: [u8; 32],
    told: Option<AuditEntry>,
}

impl Pod {
    /// Makes a database with access control, in the name of somebody who may.
    ///
    /// # Errors
    /// As [`Pod::make_database`]; also [`AccessError`].
    pub async fn make_database_with_access(
        &self,
        name: &DatabaseName,
        partitioned: bool,
        by: &Actor,
    ) -> Result<(), PodError> {
        refuse_system(name)?;
        let told = self.told_of_database("database.create", name, by);
        let switch = self.access_switch(AccessSettings::default(), None)?;
        let with = move |tx: &mut Transaction<'_>, name: &DatabaseName, number| {
            refuse_taken_faces(tx, name)?;
            labels::put_key(tx, &switch.key)?;
            put(tx, number, number.0, number.0, switch.text)
        };
        self.create_with(name, partitioned, told, with).await
    }

    /// Sets what access to a database is ruled by, and switches access control on if it is off. Waits a
    /// moment for documents to be put under their labels, and leaves the rest to the background.
    ///
    /// # Errors
    /// [`AccessError`]; [`DatabaseError::Missing`] if it was dropped meanwhile.
    pub async fn set_access(
        &self,
        entry: &DatabaseEntry,
        settings: AccessSettings,
        by: &Actor,
    ) -> Result<AccessState, PodError> {
        refuse_system(&entry.name)?;
        let told = self.told_of_database("database.access", &entry.name, by);
        let switch = self.access_switch(settings, told)?;
        let (pod, name, number) = (self.clone(), entry.name.clone(), entry.number);
        Self::to_the_end(async move {
            pod.put_switch(&name, number, switch).await?;
            pod.start_rebuild(&name, number);
            Ok(())
        })
        .await?;
        self.rebuilt_soon(entry.number).await;
        self.access_state(&*self.database(&entry.name)?)
    }

    async fn put_switch(
        &self,
        name: &DatabaseName,
        number: DatabaseNumber,
        switch: Switch,
    ) -> Result<(), PodError> {
        let wanted = name.clone();
        self.inner.access.note_switch(number);
        let switched = self.inner.store.transact(Self::permit(), move |tx| {
            switch_in(tx, &wanted, number, switch)
        });
        switched.await?;
        self.inner.databases.forget(name.as_str());
        self.rouse_listeners(number);
        Ok(())
    }

    /// Sets it, and leaves documents where they stand.
    #[cfg(test)]
    pub(super) async fn switch_only(
        &self,
        entry: &DatabaseEntry,
        settings: AccessSettings,
    ) -> Result<(), PodError> {
        let switch = self.access_switch(settings, None)?;
        self.put_switch(&entry.name, entry.number, switch).await
    }

    /// What is set for access to a database, and how far it is carried out.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn access_state(&self, entry: &DatabaseEntry) -> Result<AccessState, PodError> {
        Ok(AccessState {
            settings: entry.access.clone().filter(|_| entry.has_access_control()),
            progress: self.rebuild_progress(entry)?,
        })
    }

    fn access_switch(
        &self,
        settings: AccessSettings,
        told: Option<AuditEntry>,
    ) -> Result<Switch, AccessError> {
        super::writing::check(&settings)?;
        let text = settings.to_text();
        if text.len() > SETTINGS_BYTES_MAX {
            let reason = format!("What is set is longer than {SETTINGS_BYTES_MAX} bytes.");
            return Err(AccessError::Invalid(reason));
        }
        Ok(Switch {
            settings,
            text,
            key: self.inner.entropy.bytes(),
            told,
        })
    }
}

/// Databases of the server itself have rules of their own.
fn refuse_system(name: &DatabaseName) -> Result<(), AccessError> {
    if name.is_system() {
        return Err(AccessError::SystemDatabase);
    }
    Ok(())
}

/// The topic that is touched when it changes what is shown of a database by what is set for it: no
/// principal is the empty text.
#[must_use]
pub(crate) fn rule_topic(number: DatabaseNumber) -> u64 {
    labels::member_topic(number, "")
}

fn switch_in(
    tx: &mut Transaction<'_>,
    name: &DatabaseName,
    number: DatabaseNumber,
    switch: Switch,
) -> Result<(), Decline<PodError>> {
    let found = database::find_in(tx, name)?.filter(|found| found.number == number);
    let missing = || Decline::Refused(DatabaseError::Missing.into());
    let Database { settings: old, .. } = found.ok_or_else(missing)?;
    let before = super::read_settings(name, &old.access).map_err(Decline::Refused)?;
    let (mut generation, mut labelled) = (old.labels, old.labelled);
    if generation == 0 {
        refuse_taken_faces(tx, name)?;
        labels::put_key(tx, &switch.key)?;
    }
    let differ = before.is_none_or(|before| before.labels_differ(&switch.settings));
    if generation == 0 || differ {
        generation = tx.next_sequence();
        labelled = labelled.min(generation - 1);
    }
    put(tx, number, generation, labelled, switch.text)?;
    if let Some(told) = &switch.told {
        audit::append(tx, told)?;
    }
    Ok(())
}

/// Writes what is set, and wakes who goes by it.
fn put(
    tx: &mut Transaction<'_>,
    number: DatabaseNumber,
    generation: u64,
    labelled: u64,
    text: String,
) -> Result<(), Decline<PodError>> {
    let changed = database::change_settings(tx, number, |settings| {
        settings.labels = generation;
        settings.labelled = labelled;
        settings.access = text;
    });
    changed.map_err(no_database)?;
    tx.touch(number.0);
    tx.touch(rule_topic(number));
    Ok(())
}

//! By which rights a page is read: those in force at the moment of its view.
//!
//! Rights change while a feed goes on. Who follows it learns of that a moment later than the store
//! does; a page that was read between by the old rights would tell what he has already lost, with
//! nothing left that takes it back. So each page asks its own view. What it finds to be otherwise it
//! does not tell, and who reads enters anew.
//!
//! So do the pages of whatever else is read over several views: listings, queries, rows of views, and
//! documents one by one. Invariant: nothing is read in somebody's name over a view that shows another
//! rule, or other rights of his, than he was let in by.

use std::sync::Arc;

use adea_base::Caller;
use adea_documents::database::Settings;
use adea_documents::{DatabaseError, database, kept_for_reader};
use adea_store::View;

use crate::access::AccessError;
use crate::databases::{DatabaseEntry, DatabaseFace};
use crate::error::PodError;
use crate::pod::Pod;
use crate::write_user::may_list_users;

/// What is read by the rights that are asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// What is found by walking: while it is worked out what can be seen, it is not known.
    Walk,
    /// Documents by their ids: each has its label, or is seen by nobody yet.
    Named,
}

impl Pod {
    /// Whether what `view` shows may be told by the rights of `entry`.
    ///
    /// # Errors
    /// [`AccessError::Turned`] if they are not those of that moment; [`AccessError::Rebuilding`] while
    /// it is worked out what can be seen.
    pub(super) fn require_standing(
        &self,
        view: &dyn View,
        entry: &DatabaseEntry,
    ) -> Result<(), PodError> {
        match database::settings(view, entry.number)? {
            Some(settings) => self.compare_rights(view, entry, &settings, Reading::Walk),
            None => Ok(()),
        }
    }

    /// As [`Pod::require_standing`], for a page of what is no feed. Who sees all, by whatever rule, goes
    /// on; and where there is no access control, this costs next to nothing.
    ///
    /// # Errors
    /// As [`Pod::require_standing`]; [`DatabaseError::Missing`] if the database was dropped.
    pub(crate) fn require_page(
        &self,
        view: &dyn View,
        entry: &DatabaseEntry,
    ) -> Result<(), PodError> {
        self.require_reading(view, entry, Reading::Walk)
    }

    /// As [`Pod::require_page`], for documents that are read by their ids, which goes on while labels are
    /// worked out.
    ///
    /// # Errors
    /// [`AccessError::Turned`]; [`DatabaseError::Missing`] if the database was dropped.
    pub(crate) fn require_unturned(
        &self,
        view: &dyn View,
        entry: &DatabaseEntry,
    ) -> Result<(), PodError> {
        self.require_reading(view, entry, Reading::Named)
    }

    fn require_reading(
        &self,
        view: &dyn View,
        entry: &DatabaseEntry,
        reading: Reading,
    ) -> Result<(), PodError> {
        let as_ever = if entry.has_access_control() {
            entry.scope.sight().is_none()
        } else {
            // The view was opened before: what it shows to be switched on is known to be.
            !self.inner.access.is_switched(entry.number)
        };
        if as_ever {
            return Ok(());
        }
        let settings = database::settings(view, entry.number)?.ok_or(DatabaseError::Missing)?;
        self.compare_rights(view, entry, &settings, reading)
    }

    /// Compares what `entry` was let in by with what `view` shows.
    fn compare_rights(
        &self,
        view: &dyn View,
        entry: &DatabaseEntry,
        settings: &Settings,
        reading: Reading,
    ) -> Result<(), PodError> {
        if settings.labels != entry.settings.labels {
            // Who changed it has perhaps not said so yet: what is remembered is as old as this entry.
            self.forget_database(entry);
            return Err(AccessError::Turned.into());
        }
        let Some(sight) = entry.scope.sight() else {
            return Ok(());
        };
        if reading == Reading::Walk && settings.labelled != settings.labels {
            let told = self.rebuilding(entry);
            return Err(told.unwrap_or(AccessError::Turned).into());
        }
        // Without a history nothing turns: whoever has no name, and who may see nothing.
        let Some(sight) = entry.own_sight().filter(|_| sight.turned_at() != 0) else {
            return Ok(());
        };
        let key = kept_for_reader(entry.number, sight.reader());
        if adea_access::last_event(view, &key)? == sight.turned_at() {
            Ok(())
        } else {
            Err(AccessError::Turned.into())
        }
    }

    /// Lets the caller of a feed of `entry` in again; `None` if he may not read it any more.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read, or what he may read cannot be written down.
    pub async fn listen_again(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
    ) -> Result<Option<Arc<DatabaseEntry>>, PodError> {
        let again = match self.enter_again(entry, caller).await {
            Ok(again) => again,
            Err(PodError::Database(_) | PodError::Refused(_) | PodError::App(_)) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let users = !again.name.is_users() || may_list_users(&again, caller).is_ok();
        // The whole of a database where documents say who may read them is read by who sees all.
        let whole = again.face == DatabaseFace::Whole && again.scope.sight().is_some();
        Ok((users && !whole).then_some(again))
    }
}

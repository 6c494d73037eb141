//! By which rights a page is read: those in force at the moment of its view.
//!
//! Rights change while a feed goes on. Who follows it learns of that a moment later than the store
//! does; a page that was read between by the old rights would tell what he has already lost, with
//! nothing left that takes it back. So each page asks its own view. What it finds to be otherwise it
//! does not tell, and who reads enters anew.

use adea_documents::{database, kept_for_reader};
use adea_store::View;

use crate::access::AccessError;
use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;

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
        let Some(settings) = database::settings(view, entry.number)? else {
            return Ok(());
        };
        if settings.labels != entry.settings.labels {
            return Err(AccessError::Turned.into());
        }
        let Some(sight) = entry.scope.sight() else {
            return Ok(());
        };
        if settings.labelled != settings.labels {
            return Err(AccessError::Rebuilding { done: 0, total: 0 }.into());
        }
        // Without a history nothing turns: whoever has no name, and who may see nothing.
        let Some(sight) = entry.own_sight().filter(|_| sight.turned_at() != 0) else {
            return Ok(());
        };
        let history = adea_access::load(view, &kept_for_reader(entry.number, sight.reader()))?;
        if history.turned_at() == sight.turned_at() {
            Ok(())
        } else {
            Err(AccessError::Turned.into())
        }
    }
}

//! Whom a change wakes: who follows a database in whole, each change of it; who follows what he may
//! read, a change of a document that he may, and of what is set for the database.

use adea_base::{Reach, Scope, Span};
use adea_documents::labels::{self, member_topic};
use adea_store::{EngineError, Subscription};

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;

impl Pod {
    /// Listens for changes that a feed of `entry` tells.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn watch_changes(&self, entry: &DatabaseEntry) -> Result<Subscription, PodError> {
        let watch = self.inner.store.watch();
        Ok(match self.topics_of(entry)? {
            None => watch.subscribe(entry.number.0),
            Some(topics) => watch.subscribe_all(topics),
        })
    }

    /// Listens with `subscription` for what a feed of `entry` tells, in place of what it told before.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn watch_changes_again(
        &self,
        entry: &DatabaseEntry,
        subscription: &mut Subscription,
    ) -> Result<(), PodError> {
        if let Some(topics) = self.topics_of(entry)? {
            subscription.listen_to(topics);
        }
        Ok(())
    }

    /// The topics of what can be seen of `entry`; `None` if that is all of it.
    fn topics_of(&self, entry: &DatabaseEntry) -> Result<Option<Vec<u64>>, EngineError> {
        let Some(reach) = reach_of(&entry.scope) else {
            return Ok(None);
        };
        let number = entry.number;
        let mut topics = vec![member_topic(number, "")];
        match reach {
            Reach::Everything => topics.push(number.0),
            Reach::Members(members) => {
                let members = members.iter();
                topics.extend(members.map(|member| member_topic(number, member)));
            }
            Reach::Label(name) => {
                let label = labels::named(self.view().as_ref(), number, &name)?;
                let member = label.as_ref().and_then(|label| label.members.first());
                // What changes under a label touches all of its members.
                topics.push(member.map_or(number.0, |member| member_topic(number, member)));
            }
        }
        Ok(Some(topics))
    }

    /// Wakes all who follow a database: what is set for it has changed, and is found so from now on.
    pub(crate) fn rouse_listeners(&self, number: adea_documents::DatabaseNumber) {
        let watch = self.inner.store.watch();
        watch.rouse(number.0);
        watch.rouse(member_topic(number, ""));
    }

    /// Tells all who follow a database that it is gone.
    pub(crate) fn dismiss_listeners(&self, number: adea_documents::DatabaseNumber) {
        let watch = self.inner.store.watch();
        watch.close(number.0);
        watch.close(member_topic(number, ""));
    }
}

/// What can be seen now; `None` if that is all.
fn reach_of(scope: &Scope) -> Option<Reach> {
    let sight = scope.sight()?;
    let sees = |member| {
        let spans = sight.spans("", std::slice::from_ref(member));
        spans.last().is_some_and(Span::is_open)
    };
    Some(match sight.reach() {
        // Who ever saw all sees it now, or what his other principals show him.
        Reach::Members(members) => {
            Reach::Members(members.iter().filter(|m| sees(m)).cloned().collect())
        }
        all @ (Reach::Everything | Reach::Label(_)) => all,
    })
}

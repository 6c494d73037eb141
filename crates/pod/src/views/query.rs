//! What is asked of a view, and whether it makes sense.
//!
//! Everything here is as a client may say it; nothing is decided yet about which rows that is. The
//! refusals are `CouchDB`'s, in its words and in its order.

use serde_json::Value;

use crate::error::PodError;

/// How far the index must be before it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Update {
    /// As far as the database was when the question came.
    #[default]
    Before,
    /// As it is; it is brought up to date behind the answer.
    After,
    /// As it is.
    Never,
}

/// How rows are put into groups to be reduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    /// All are one group.
    #[default]
    Whole,
    /// Arrays by their first so many elements, anything else by itself.
    Level(u64),
    /// By the whole key.
    Exact,
}

/// What is asked of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewQuery {
    /// The first key in the order of reading.
    pub start_key: Option<Value>,
    /// Among rows of the first key, the first document.
    pub start_id: Option<String>,
    /// The last key.
    pub end_key: Option<Value>,
    /// Among rows of the last key, the last document.
    pub end_id: Option<String>,
    /// Only rows with these keys, in this order.
    pub keys: Option<Vec<Value>>,
    /// Whether the end belongs to the range.
    pub inclusive_end: bool,
    /// From the greatest key down.
    pub descending: bool,
    /// So many rows are passed over.
    pub skip: u64,
    /// At most so many are told.
    pub limit: u64,
    /// Whether rows are reduced; `None`: if the view has a reduce.
    pub reduce: Option<bool>,
    /// `group`.
    pub group: Option<bool>,
    /// `group_level`.
    pub group_level: Option<u64>,
    /// Whether rows carry documents.
    pub include_docs: bool,
    /// Whether those carry their conflicts.
    pub conflicts: Option<bool>,
    /// Whether those carry the contents of their attachments.
    pub attachments: bool,
    /// Whether `encoding` is told of those.
    pub encoding_info: bool,
    /// Whether the sequence of the index is told.
    pub update_seq: bool,
    /// Whether rows come in order, with what is counted in front.
    pub sorted: bool,
    /// Before or after bringing the index up to date.
    pub update: Update,
    /// Whether always the same copy answers; here there is one.
    pub stable: bool,
}

impl Default for ViewQuery {
    fn default() -> Self {
        Self {
            start_key: None,
            start_id: None,
            end_key: None,
            end_id: None,
            keys: None,
            inclusive_end: true,
            descending: false,
            skip: 0,
            limit: u64::MAX,
            reduce: None,
            group: None,
            group_level: None,
            include_docs: false,
            conflicts: None,
            attachments: false,
            encoding_info: false,
            update_seq: false,
            sorted: true,
            update: Update::Before,
            stable: false,
        }
    }
}

fn refused<T>(reason: &'static str) -> Result<T, PodError> {
    Err(PodError::Query(reason.into()))
}

impl ViewQuery {
    /// Whether rows are to be reduced, if the view has a reduce.
    #[must_use]
    pub fn reduces(&self, has_reduce: bool) -> bool {
        has_reduce && self.reduce != Some(false)
    }

    /// How rows are grouped.
    ///
    /// # Errors
    /// [`PodError::Query`] if two parameters contradict each other.
    pub fn grouping(&self) -> Result<Grouping, PodError> {
        Ok(match (self.group, self.group_level) {
            (Some(false), Some(level)) if level > 0 => {
                return refused("Can't specify group=false and group_level>0 at the same time");
            }
            (Some(true), None) => Grouping::Exact,
            (_, Some(0)) | (None | Some(false), None) => Grouping::Whole,
            (_, Some(level)) => Grouping::Level(level),
        })
    }

    /// Refuses what makes no sense for a view that has a reduce, or has none.
    ///
    /// # Errors
    /// [`PodError::Query`] with the reason.
    pub fn validate(&self, has_reduce: bool) -> Result<(), PodError> {
        let grouping = self.grouping()?;
        let reduces = self.reduces(has_reduce);
        if self.reduce == Some(true) && !has_reduce {
            return refused("Reduce is invalid for map-only views.");
        }
        if reduces && grouping != Grouping::Exact && self.keys.is_some() {
            return refused("Multi-key fetches for reduce views must use `group=true`");
        }
        let ranged = self.start_key.is_some() || self.end_key.is_some();
        if ranged && self.keys.as_ref().is_some_and(|keys| keys.len() > 1) {
            return refused("`keys` is incompatible with `key`, `start_key` and `end_key`");
        }
        if !reduces && grouping != Grouping::Whole {
            return refused("Invalid use of grouping on a map view.");
        }
        if reduces && self.include_docs {
            return refused("`include_docs` is invalid for reduce");
        }
        if reduces && self.conflicts.is_some() {
            return refused("`conflicts` is invalid for reduce views.");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut ViewQuery), has_reduce: bool, reason: Option<&str>) {
        let mut query = ViewQuery::default();
        change(&mut query);
        let refusal = query.validate(has_reduce).err();
        assert_eq!(refusal.map(|error| error.to_string()).as_deref(), reason);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        check(|_| {}, true, None);
        check(
            |q| q.reduce = Some(true),
            false,
            Some("Reduce is invalid for map-only views."),
        );
        check(
            |q| q.group = Some(true),
            false,
            Some("Invalid use of grouping on a map view."),
        );
        check(
            |q| q.include_docs = true,
            true,
            Some("`include_docs` is invalid for reduce"),
        );
        check(
            |q| (q.include_docs, q.reduce) = (true, Some(false)),
            true,
            None,
        );
        check(|q| q.group_level = Some(0), false, None);
        check(
            |q| q.keys = Some(Vec::new()),
            true,
            Some("Multi-key fetches for reduce views must use `group=true`"),
        );
        check(
            |q| (q.keys, q.group) = (Some(Vec::new()), Some(true)),
            true,
            None,
        );
        check(
            |q| (q.group, q.group_level) = (Some(false), Some(1)),
            true,
            Some("Can't specify group=false and group_level>0 at the same time"),
        );
    }
}

//! A question to a view on its way to an answer: which index, which ranges, how far it is read.
//!
//! What is asked is turned into ranges of positions once, when it comes. Reading moves a cursor
//! along them; between two readings nothing else is held, so a long answer can be read at several
//! moments.

use std::collections::VecDeque;
use std::sync::Arc;

use adea_documents::collation::Collation;
use adea_documents::index::{GroupLevel, KeyBound, RowPosition, RowRange, Signature};
use adea_script::ScriptError;
use adea_store::Direction;
use serde_json::Value;

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::indexing::{IndexPlan, Reducer};
use crate::pod::Pod;
use crate::views::design::{Design, Language};
use crate::views::query::{Grouping, Update, ViewQuery};

/// A question to a view that makes sense.
#[derive(Clone, Debug)]
pub struct ViewAsk {
    pub(super) entry: Arc<DatabaseEntry>,
    design: Arc<Design>,
    pub(super) plan: Arc<IndexPlan>,
    /// The reduce, if rows are to be reduced.
    pub(super) reduce: Option<(Signature, Reducer)>,
    /// What is asked.
    pub query: ViewQuery,
    pub(super) parts: Parts,
}

/// How the partition that is asked about stands in keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    partition: Option<String>,
}

impl Pod {
    /// A question to view `name` of design document `design`.
    ///
    /// # Errors
    /// [`PodError::Missing`] or [`PodError::Deleted`] for the design document,
    /// [`PodError::MissingView`], and [`PodError::Query`] if what is asked makes no sense.
    pub fn ask_view(
        &self,
        entry: &Arc<DatabaseEntry>,
        design: &str,
        name: &str,
        partition: Option<&str>,
        query: ViewQuery,
    ) -> Result<ViewAsk, PodError> {
        let design = self.design(entry, design)?;
        Self::ask_design(entry, &design, name, partition, query)
    }

    /// As [`Pod::ask_view`], of a design document that is at hand.
    pub(crate) fn ask_design(
        entry: &Arc<DatabaseEntry>,
        design: &Arc<Design>,
        name: &str,
        partition: Option<&str>,
        query: ViewQuery,
    ) -> Result<ViewAsk, PodError> {
        if let Language::Other(language) = &design.language {
            return Err(PodError::UnknownLanguage(language.clone()));
        }
        let (view, plan) = design.view(name).ok_or(PodError::MissingView)?;
        let reduce = view.reduce.and_then(|place| plan.reduces.get(place));
        query.validate(reduce.is_some())?;
        check_partition(entry, plan, partition)?;
        let ask = ViewAsk {
            entry: Arc::clone(entry),
            plan: Arc::clone(plan),
            reduce: reduce.filter(|_| query.reduces(true)).cloned(),
            design: Arc::clone(design),
            query,
            parts: Parts {
                partition: partition.map(str::to_owned),
            },
        };
        ask.check_range()?;
        Ok(ask)
    }

    /// Waits until the index is as far as the question wants it. All indexes of the design
    /// document are brought along.
    ///
    /// # Errors
    /// [`PodError::Script`] if a function gives no answer, or why the index cannot be written.
    pub async fn make_ready(&self, ask: &ViewAsk) -> Result<(), PodError> {
        match ask.query.update {
            Update::Never => Ok(()),
            Update::After => {
                self.index_in_background(&ask.entry, ask.design.plans.clone());
                Ok(())
            }
            Update::Before => {
                let sequence = self.statistics(&ask.entry)?.update_sequence;
                let brought = self.bring_along(ask, sequence).await;
                if ask.entry.shows_all() {
                    return brought;
                }
                brought.map_err(without_words)
            }
        }
    }

    /// Brings the index up to `sequence`, and with it all of the design document, unless another
    /// function of it is in trouble.
    async fn bring_along(&self, ask: &ViewAsk, sequence: u64) -> Result<(), PodError> {
        let (entry, plans) = (&ask.entry, &ask.design.plans);
        let together = ask.design.signature();
        if plans.len() > 1 && self.trouble(entry, &together).is_none() {
            match self.index_through(entry, plans, sequence).await {
                Ok(_) => return Ok(()),
                Err(PodError::Script(error)) => self.note_trouble(entry, together, &error),
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = self.trouble(entry, &ask.plan.signature) {
            return Err(error.into());
        }
        let alone = std::slice::from_ref(&ask.plan);
        match self.index_through(entry, alone, sequence).await {
            Ok(_) => Ok(()),
            Err(error) => {
                if let PodError::Script(error) = &error {
                    self.note_trouble(entry, ask.plan.signature, error);
                }
                Err(error)
            }
        }
    }
}

/// What a function said on its way through all documents is not for who does not see them all.
fn without_words(error: PodError) -> PodError {
    let speaks = matches!(
        &error,
        PodError::Script(
            ScriptError::Compilation { .. }
                | ScriptError::Missing(_)
                | ScriptError::Threw { .. }
                | ScriptError::Crashed(_)
        )
    );
    if speaks {
        ScriptError::Crashed("the view cannot be built".to_owned()).into()
    } else {
        error
    }
}

fn check_partition(
    entry: &DatabaseEntry,
    plan: &IndexPlan,
    partition: Option<&str>,
) -> Result<(), PodError> {
    let refused = |reason: &'static str| Err(PodError::Query(reason.into()));
    match (plan.partitioned, partition) {
        (true, None) => refused("`partition` parameter is mandatory for queries to this view."),
        (false, Some(_)) if entry.settings.partitioned => {
            refused("`partition` parameter is not supported in this design doc")
        }
        (false, Some(_)) => refused("`partition` parameter is not supported on this db"),
        (true, Some(_)) | (false, None) => Ok(()),
    }
}

impl Parts {
    /// The key as the index has it.
    fn key(&self, key: &Value) -> Value {
        match &self.partition {
            None => key.clone(),
            Some(partition) => Value::Array(vec![partition.as_str().into(), key.clone()]),
        }
    }

    /// The key as clients know it, from the text that the index has.
    pub(super) fn shown<'k>(&self, key: &'k str) -> &'k str {
        let Some(partition) = &self.partition else {
            return key;
        };
        let mut front = Vec::new();
        adea_documents::json::write_json_string(&mut front, partition);
        // `["partition",` before it, `]` behind it.
        key.get(front.len() + 2..key.len().saturating_sub(1))
            .unwrap_or(key)
    }

    /// All rows of the partition.
    fn whole(&self, collation: Collation) -> RowRange {
        let Some(partition) = &self.partition else {
            return RowRange::all();
        };
        let front = Value::Array(vec![partition.as_str().into()]);
        let at = RowRange::of_key(collation, &front).from;
        GroupLevel::Elements(1).range_of(collation, at.as_bytes())
    }
}

impl ViewAsk {
    /// Whether rows are reduced.
    #[must_use]
    pub fn is_reduce(&self) -> bool {
        self.reduce.is_some()
    }

    /// The database.
    #[must_use]
    pub fn entry(&self) -> &Arc<DatabaseEntry> {
        &self.entry
    }

    pub(super) fn direction(&self) -> Direction {
        if self.query.descending {
            Direction::Reverse
        } else {
            Direction::Forward
        }
    }

    /// How groups are told apart; `None` if all rows are one.
    pub(super) fn group_level(&self) -> Option<GroupLevel> {
        match self.query.grouping().unwrap_or_default() {
            Grouping::Whole => None,
            Grouping::Exact => Some(GroupLevel::Exact),
            Grouping::Level(level) => {
                let level = usize::try_from(level).unwrap_or(usize::MAX);
                Some(match self.parts.partition {
                    None => GroupLevel::Elements(level),
                    Some(_) => GroupLevel::Inner(level),
                })
            }
        }
    }

    fn check_range(&self) -> Result<(), PodError> {
        let query = &self.query;
        let (Some(start), Some(end)) = (&query.start_key, &query.end_key) else {
            return Ok(());
        };
        let order = self.plan.collation.compare(start, end);
        let reversed = if query.descending {
            order.is_lt()
        } else {
            order.is_gt()
        };
        if !reversed {
            return Ok(());
        }
        let other = !query.descending;
        Err(PodError::Query(
            format!(
                "No rows can match your key range, reverse your start_key and end_key or set descending={other}"
            )
            .into(),
        ))
    }

    fn between(&self, start: Option<&Value>, end: Option<&Value>, inclusive: bool) -> RowRange {
        let query = &self.query;
        let (start, end) = (
            start.map(|k| self.parts.key(k)),
            end.map(|k| self.parts.key(k)),
        );
        let start = start.as_ref().map(|key| KeyBound {
            key,
            id: query.start_id.as_deref(),
            inclusive: true,
        });
        let end = end.as_ref().map(|key| KeyBound {
            key,
            id: query.end_id.as_deref(),
            inclusive,
        });
        let (low, high) = if query.descending {
            (end, start)
        } else {
            (start, end)
        };
        let collation = self.plan.collation;
        RowRange::between(collation, low, high).intersection(&self.parts.whole(collation))
    }

    /// The ranges to be read, in order.
    pub(super) fn ranges(&self) -> VecDeque<RowRange> {
        let query = &self.query;
        let ranged = query.start_key.is_some() || query.end_key.is_some();
        match &query.keys {
            Some(keys) if !ranged || keys.is_empty() => keys
                .iter()
                .map(|key| self.between(Some(key), Some(key), true))
                .collect(),
            _ => {
                let (start, end) = (query.start_key.as_ref(), query.end_key.as_ref());
                [self.between(start, end, query.inclusive_end)].into()
            }
        }
    }

    /// All that the question could see.
    pub(super) fn everything(&self) -> RowRange {
        self.parts.whole(self.plan.collation)
    }

    /// Where reading begins.
    #[must_use]
    pub fn cursor(&self) -> ViewCursor {
        ViewCursor {
            ranges: self.ranges(),
            skip: self.query.skip,
            left: self.query.limit,
        }
    }
}

/// How far a question is answered.
#[derive(Clone, Debug)]
pub struct ViewCursor {
    pub(super) ranges: VecDeque<RowRange>,
    pub(super) skip: u64,
    pub(super) left: u64,
}

impl ViewCursor {
    /// Whether there may be more to read.
    #[must_use]
    pub fn more(&self) -> bool {
        self.left > 0 && !self.ranges.is_empty()
    }

    /// Goes on behind the row or group that ends at `position`.
    pub(super) fn move_behind(&mut self, position: RowPosition, direction: Direction) {
        if let Some(range) = self.ranges.pop_front() {
            self.ranges.push_front(match direction {
                Direction::Forward => range.after(position),
                Direction::Reverse => range.before(position),
            });
        }
    }
}

//! Choosing an index for a query.
//!
//! An index can be used if it holds every document that the selector may mean, and gives the order
//! that is asked for. Among those, `CouchDB` takes the one whose columns the selector names most of;
//! here the one in which fewest rows have to be tried comes first, as the count tree tells it, and
//! `CouchDB`'s rules decide between indexes that are about as good. Without any, the primary index is
//! walked; it is preferred only where the selector asks for fewer ids than any other has rows.

use std::sync::Arc;

use adea_documents::index::{self, IndexReader};
use adea_documents::reader::{IdRange, Reader};
use adea_documents::selector::FieldPath;
use adea_store::View;

use super::access::{self, IndexPart, id_ranges, index_part};
use super::bookmark::{Bookmark, invalid};
use super::candidates::{Candidate, Loser, Reason, ranked};
use super::{FindError, FindQuery, MangoIndex, Reach};
use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;

/// What is walked.
#[derive(Clone, Debug)]
pub(crate) enum Access {
    Primary(Vec<IdRange>),
    Index(Arc<MangoIndex>, IndexPart),
}

/// How a query is answered.
#[derive(Clone, Debug)]
pub struct FindPlan {
    pub(crate) access: Access,
    /// Whether the index alone tells all that is asked.
    pub covering: bool,
    /// How many rows are there to be tried, if it was counted.
    pub rows: Option<u64>,
    /// Where the walk goes on.
    pub(super) bookmark: Option<Bookmark>,
}

impl FindPlan {
    /// The index that is walked; `None` for the primary one.
    #[must_use]
    pub fn index(&self) -> Option<&Arc<MangoIndex>> {
        match &self.access {
            Access::Primary(_) => None,
            Access::Index(index, _) => Some(index),
        }
    }

    /// What to tell of an index that was asked for and is not used, and of there being none.
    #[must_use]
    pub fn warnings(&self, query: &FindQuery) -> Vec<String> {
        let mut warnings = Vec::new();
        let used = self.index().is_some_and(|index| is_named(index, query));
        let name = |design: &String| design.strip_prefix("_design/").unwrap_or(design).to_owned();
        match &*query.use_index {
            [design] if !used => warnings.push(format!(
                "_design/{} was not used because it does not contain a valid index for this query.",
                name(design)
            )),
            [design, index, ..] if !used => warnings.push(format!(
                "_design/{}, {index} was not used because it is not a valid index for this query.",
                name(design)
            )),
            _ => {}
        }
        if self.index().is_none() {
            warnings.push(
                "No matching index found, create an index to optimize query time.".to_owned(),
            );
        }
        warnings
    }
}

/// What planning found, also where it found nothing that will do.
pub struct Explained {
    /// The plan; `None` if no index will do.
    pub plan: Option<FindPlan>,
    /// All other indexes.
    pub candidates: Vec<Candidate>,
    /// Whether the index is defined where whoever asks may not read: then nothing is told of it.
    pub hidden: bool,
}

/// A usable index on its way to being chosen.
struct Runner {
    index: Arc<MangoIndex>,
    part: IndexPart,
    rows: Option<u64>,
    /// Fields of the selector that the index's front does not have.
    distance: usize,
}

/// The indexes of a database, sorted by what can be done with them.
struct Field {
    usable: Vec<Arc<MangoIndex>>,
    refused: Vec<(Arc<MangoIndex>, Reason)>,
    /// Why the primary index cannot be used.
    primary: Option<Reason>,
}

impl Pod {
    /// How a query would be answered, and why not otherwise.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn explain(&self, entry: &DatabaseEntry, query: &FindQuery) -> Result<Explained, PodError> {
        let view = self.view();
        let planner = Planner {
            pod: self,
            view: view.as_ref(),
            entry,
            query,
            counts: true,
        };
        let mut explained = planner.explain()?;
        if entry.shows_all() {
            return Ok(explained);
        }
        let index = explained.plan.as_ref().and_then(FindPlan::index);
        explained.hidden = match index {
            Some(index) => !self.sees(entry, &index.design)?,
            None => false,
        };
        let mut seen = Vec::new();
        for candidate in explained.candidates {
            if match &candidate.index {
                Some(index) => self.sees(entry, &index.design)?,
                None => true,
            } {
                seen.push(candidate);
            }
        }
        explained.candidates = seen;
        Ok(explained)
    }

    /// Chooses how a query is answered.
    ///
    /// # Errors
    /// [`FindError`] if no index will do.
    pub(crate) fn plan_find(
        &self,
        entry: &DatabaseEntry,
        query: &FindQuery,
    ) -> Result<FindPlan, PodError> {
        let view = self.view();
        let planner = Planner {
            pod: self,
            view: view.as_ref(),
            entry,
            query,
            counts: false,
        };
        planner.choose()
    }
}

struct Planner<'p> {
    pod: &'p Pod,
    view: &'p dyn View,
    entry: &'p DatabaseEntry,
    query: &'p FindQuery,
    /// Whether rows are counted although nothing depends on it.
    counts: bool,
}

impl Planner<'_> {
    fn choose(&self) -> Result<FindPlan, PodError> {
        let field = self.field()?;
        let bookmark = self.query.bookmark.as_deref().map(Bookmark::decode);
        let bookmark = bookmark.transpose()?;
        let mut plan = match &bookmark {
            Some(bookmark) => self.pinned(&field, bookmark)?,
            None => self.best(&field)?.0,
        };
        let named = !self.query.use_index.is_empty();
        let fell_back = match plan.index() {
            None => true,
            Some(index) => named && !is_named(index, self.query),
        };
        if fell_back && !self.query.allow_fallback {
            return Err(FindError::UnsuitableIndex(self.query.use_index.clone()).into());
        }
        plan.bookmark = bookmark;
        Ok(plan)
    }

    fn explain(&self) -> Result<Explained, PodError> {
        let field = self.field()?;
        if field.usable.is_empty() && field.primary.is_some() {
            let candidates = self.candidates(&field, &[], None);
            return Ok(Explained {
                plan: None,
                candidates,
                hidden: false,
            });
        }
        let (plan, runners) = self.best(&field)?;
        let candidates = self.candidates(&field, &runners, Some(&plan));
        Ok(Explained {
            plan: Some(plan),
            candidates,
            hidden: false,
        })
    }

    /// Which indexes can be used at all.
    fn field(&self) -> Result<Field, PodError> {
        let query = self.query;
        let mut field = Field {
            usable: Vec::new(),
            refused: Vec::new(),
            primary: self.primary_reason(),
        };
        for index in self.pod.mango_indexes(self.entry)?.iter() {
            match unusable(index, query) {
                None => field.usable.push(Arc::clone(index)),
                Some(reason) => field.refused.push((Arc::clone(index), reason)),
            }
        }
        Ok(field)
    }

    fn primary_reason(&self) -> Option<Reason> {
        match &*self.query.sort {
            [] => None,
            [id] if id == "_id" => None,
            _ => {
                let fields = self.query.selector.indexable_fields();
                Some(if fields.iter().any(|field| field.name() == "_id") {
                    Reason::SortOrderMismatch
                } else {
                    Reason::FieldMismatch
                })
            }
        }
    }

    /// The plan that a bookmark was made by, as long as it can be used.
    fn pinned(&self, field: &Field, bookmark: &Bookmark) -> Result<FindPlan, PodError> {
        let text = self.query.bookmark.as_deref().unwrap_or_default();
        match bookmark.index {
            None if field.primary.is_none() => Ok(self.primary()),
            None => Err(invalid(text).into()),
            Some(signature) => {
                let mut usable = field.usable.iter();
                let known = usable.find(|index| index.plan.signature == signature);
                let index = known.ok_or_else(|| invalid(text))?;
                Ok(self.by_index(self.runner(index), None))
            }
        }
    }

    /// The best plan, and the indexes that could have been used, best first.
    fn best(&self, field: &Field) -> Result<(FindPlan, Vec<Runner>), PodError> {
        let named = field.usable.iter();
        let named: Vec<_> = named.filter(|index| is_named(index, self.query)).collect();
        let in_question: Vec<_> = if named.is_empty() {
            field.usable.iter().collect()
        } else {
            named
        };
        let mut runners: Vec<Runner> = in_question
            .into_iter()
            .map(|one| self.runner(one))
            .collect();
        let ids = id_ranges(&self.query.selector, self.query.partition.as_deref());
        let by_id = field.primary.is_none()
            && self.query.use_index.is_empty()
            && !access::is_everything(&id_ranges(&self.query.selector, None));
        // In a scope they are not counted: which plan is chosen shows in answers, and must not tell of
        // documents that the reader does not see.
        let counted = self.counts || runners.len() > 1 || by_id && !runners.is_empty();
        if counted && self.entry.shows_all() {
            // Counting takes its time, too: the likely ones only.
            runners.sort_by(|a, b| a.rank().cmp(&b.rank()));
            for (place, runner) in runners.iter_mut().enumerate() {
                runner.rows = Some(if place < RUNNERS_COUNTED_MAX {
                    self.count(&runner.index, &runner.part)?
                } else {
                    u64::MAX
                });
            }
        }
        runners.sort_by(|a, b| a.rank().cmp(&b.rank()));
        let Some(first) = runners.first() else {
            if field.primary.is_some() {
                return Err(FindError::NoSortIndex(self.reach()).into());
            }
            let mut plan = self.primary();
            if self.counts {
                plan.rows = Some(self.count_ids(&ids, u64::MAX)?);
            }
            return Ok((plan, runners));
        };
        if by_id {
            let most = first.rows.unwrap_or(u64::MAX);
            let rows = self.count_ids(&ids, most.min(COUNTED_IDS_MAX))?;
            if rows < most && bucket(rows) < bucket(most) {
                let mut plan = self.primary();
                plan.rows = Some(rows);
                return Ok((plan, runners));
            }
        }
        let plan = self.by_index(self.runner(&first.index), first.rows);
        Ok((plan, runners))
    }

    fn reach(&self) -> Reach {
        match (self.entry.settings.partitioned, &self.query.partition) {
            (false, _) => Reach::Database,
            (true, None) => Reach::Global,
            (true, Some(_)) => Reach::Partition,
        }
    }

    fn runner(&self, index: &Arc<MangoIndex>) -> Runner {
        let selector = &self.query.selector;
        let comparable = selector.indexable_fields();
        let prefix = index
            .column_names()
            .take_while(|column| comparable.iter().any(|field| field.name() == *column))
            .count();
        Runner {
            part: index_part(index, selector, self.query.partition.as_deref()),
            index: Arc::clone(index),
            rows: None,
            distance: comparable.len().saturating_sub(prefix),
        }
    }

    fn primary(&self) -> FindPlan {
        let ranges = id_ranges(&self.query.selector, self.query.partition.as_deref());
        FindPlan {
            access: Access::Primary(ranges),
            covering: false,
            rows: None,
            bookmark: None,
        }
    }

    fn by_index(&self, runner: Runner, rows: Option<u64>) -> FindPlan {
        let selected = self.query.selector.fields();
        let covering = !self.query.conflicts
            && self.query.fields.as_ref().is_some_and(|fields| {
                let all = fields.iter().chain(selected);
                runner.index.covers(all.map(FieldPath::name))
            });
        FindPlan {
            access: Access::Index(runner.index, runner.part),
            covering,
            rows,
            bookmark: None,
        }
    }

    /// How many rows of an index there are to be tried, with those that it does not have yet.
    fn count(&self, index: &MangoIndex, part: &IndexPart) -> Result<u64, PodError> {
        let number = self.entry.number;
        let newest = adea_documents::database::statistics(self.view, number)?;
        let found = index::find(self.view, number, &index.plan.signature)?;
        let Some(state) = found else {
            return Ok(newest.documents);
        };
        let scope = self.entry.scope.clone();
        let reader = IndexReader::new(self.view, number, scope, &state);
        let counted = part.ranges.iter().take(RANGES_COUNTED_MAX);
        let mut rows = 0;
        for range in counted {
            rows += reader.count_rows(range)?;
        }
        // Of many ranges, the first tell of the others.
        let all = part.ranges.len() as u64;
        let rows = rows * all / all.clamp(1, RANGES_COUNTED_MAX as u64);
        let lag = if state.sequence < newest.update_sequence {
            self.reader().changes_after(state.sequence)?
        } else {
            0
        };
        Ok(rows.saturating_add(lag))
    }

    fn count_ids(&self, ranges: &[IdRange], most: u64) -> Result<u64, PodError> {
        let reader = self.reader();
        if access::is_everything(ranges) {
            return Ok(self.pod.told_counts(self.entry)?.documents);
        }
        let (mut rows, most) = (0_u64, most.min(COUNTED_IDS_MAX));
        for range in ranges {
            match reader.count_documents(range, most.saturating_sub(rows))? {
                Some(more) => rows += more,
                None => return Ok(most.saturating_add(1)),
            }
        }
        Ok(rows)
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            view: self.view,
            database: self.entry.number,
            scope: self.entry.scope.clone(),
        }
    }

    /// Every index but the one of `plan`, with the reason, as `CouchDB` ranks them.
    fn candidates(
        &self,
        field: &Field,
        runners: &[Runner],
        plan: Option<&FindPlan>,
    ) -> Vec<Candidate> {
        let winner = plan.and_then(FindPlan::index);
        let by_primary = plan.is_some() && winner.is_none();
        let mut found: Vec<Loser> = Vec::new();
        let best = runners.first();
        for (place, runner) in runners.iter().enumerate() {
            let reason = best.map_or(Reason::LessOverlap, |best| {
                runner.reason_against(best, by_primary)
            });
            found.push((Some(Arc::clone(&runner.index)), reason, place));
        }
        let excluded = field.usable.iter().filter(|index| {
            !runners
                .iter()
                .any(|runner| Arc::ptr_eq(&runner.index, index))
        });
        found.extend(excluded.map(|index| (Some(Arc::clone(index)), Reason::ExcludedByUser, 0)));
        let refused = field.refused.iter();
        found.extend(refused.map(|(index, reason)| (Some(Arc::clone(index)), *reason, 0)));
        let named = runners
            .iter()
            .any(|runner| is_named(&runner.index, self.query));
        let primary = field.primary.unwrap_or(if named {
            Reason::ExcludedByUser
        } else {
            Reason::UnfavoredType
        });
        found.push((None, primary, 0));
        let is_winner = |index: &Option<Arc<MangoIndex>>| match (index, winner) {
            (Some(index), Some(winner)) => Arc::ptr_eq(index, winner),
            (None, _) => by_primary,
            (Some(_), None) => false,
        };
        found.retain(|(index, _, _)| !is_winner(index));
        ranked(&found, runners.len())
    }
}

/// Ids that are walked to find out how many they are.
const COUNTED_IDS_MAX: u64 = 1_000;
/// Indexes of one query whose rows are counted.
const RUNNERS_COUNTED_MAX: usize = 32;
/// Ranges of one query whose rows are counted.
const RANGES_COUNTED_MAX: usize = 16;

/// Numbers of rows that are about as good as each other: reading the first few dozen costs the same
/// as finding them.
fn bucket(rows: u64) -> u32 {
    (rows / 64 + 1).ilog2()
}

impl Runner {
    /// The least comes first.
    fn rank(&self) -> (u32, usize, usize, &str, &str) {
        (
            bucket(self.rows.unwrap_or(0)),
            self.distance,
            self.index.columns.len(),
            &self.index.design,
            &self.index.name,
        )
    }

    fn reason_against(&self, best: &Self, by_primary: bool) -> Reason {
        let rows = |runner: &Self| bucket(runner.rows.unwrap_or(0));
        if by_primary || rows(self) > rows(best) {
            Reason::LessSelective
        } else if self.distance > best.distance {
            Reason::LessOverlap
        } else if self.index.columns.len() > best.index.columns.len() {
            Reason::TooManyFields
        } else {
            Reason::AlphabeticallyComesAfter
        }
    }
}

/// Why an index cannot be used for a query; `None` if it can.
fn unusable(index: &MangoIndex, query: &FindQuery) -> Option<Reason> {
    if index.filter.is_some() && !is_named(index, query) {
        return Some(Reason::IsPartial);
    }
    if index.partitioned != query.partition.is_some() {
        return Some(Reason::ScopeMismatch);
    }
    // What is sorted by must be there, whatever the selector says; so `CouchDB` has it.
    let given = |column: &str| {
        matches!(column, "_id" | "_rev") || query.sort.iter().any(|field| field == column)
    };
    let required = |column: &str| given(column) || query.selector.requires(column) || query.nothing;
    if !index.column_names().all(required) {
        return Some(Reason::FieldMismatch);
    }
    (!gives_order(index, query)).then_some(Reason::SortOrderMismatch)
}

/// Whether the rows of an index come in the order that is asked for: the fields are columns in
/// their order, behind none but columns that are fixed to one value.
fn gives_order(index: &MangoIndex, query: &FindQuery) -> bool {
    let Some(first) = query.sort.first() else {
        return true;
    };
    let columns = index
        .column_names()
        .skip_while(|column| column != first && query.selector.fixes(column));
    let columns: Vec<&str> = columns.take(query.sort.len()).collect();
    columns == query.sort
}

/// Whether the query asks for this index by name.
fn is_named(index: &MangoIndex, query: &FindQuery) -> bool {
    let design = |named: &String| {
        let name = named.strip_prefix("_design/").unwrap_or(named);
        index.design.strip_prefix("_design/") == Some(name)
    };
    match &*query.use_index {
        [] => false,
        [named] => design(named),
        [named, name, ..] => design(named) && index.name == *name,
    }
}

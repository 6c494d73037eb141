//! Counting and summing up documents by groups.
//!
//! The documents are those of a query, found by the same planner. Only the fields that are grouped by
//! or summed up are read, so an index that has them all answers alone. Where nothing but counts is
//! asked, the selector is exactly a range of an index, and the groups are its next columns, the count
//! tree answers and no row is read that does not begin a group.
//!
//! Invariant: groups are told apart by collation (`1` and `1.0` are one), a field that is missing is a
//! group of its own, and integers are added exactly. However many documents there are, no more than
//! [`GROUPS_MAX`] groups and [`GROUPS_BYTES_MAX`] bytes of them are held.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use adea_base::Caller;
use adea_documents::collation::{Collation, compare};
use adea_documents::index::{self, GroupLevel, IndexReader, RowRange};
use adea_documents::json::skim::{TextPath, items, read_value};
use adea_documents::selector::FieldPath;
use adea_store::Direction;
use serde_json::Value;

use super::sum::Sum;
use super::{Access, FindError, FindQuery, FindStatistics, MangoIndex};
use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;

/// The most groups an answer is made of.
pub const GROUPS_MAX: usize = 10_000;
/// Bytes of groups that are held, about.
const GROUPS_BYTES_MAX: usize = 16 << 20;

/// What is made of the documents of a group.
#[derive(Clone, Debug)]
pub enum Aggregate {
    /// How many there are; with a field, how many have it.
    Count(Option<FieldPath>),
    /// The sum of a field's numbers.
    Sum(FieldPath),
    /// The least of a field's values.
    Min(FieldPath),
    /// The greatest of a field's values.
    Max(FieldPath),
    /// The mean of a field's numbers.
    Avg(FieldPath),
}

/// Documents to be summed up.
#[derive(Clone, Debug)]
pub struct AggregateQuery {
    /// Which documents.
    pub find: FindQuery,
    /// By which fields they are grouped; without any they are one group.
    pub group: Vec<FieldPath>,
    /// What is made of each group, by name.
    pub aggregates: Vec<(String, Aggregate)>,
}

/// A group.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The values of the fields that it was grouped by; `None` where the field is missing.
    pub key: Vec<Option<Value>>,
    /// What was made of it, in the order that was asked.
    pub values: Vec<Value>,
}

/// Documents summed up.
#[derive(Clone, Debug)]
pub struct Aggregated {
    /// The groups, in the order of their keys.
    pub groups: Vec<Group>,
    /// What it took.
    pub statistics: FindStatistics,
    /// What to tell of how it was answered.
    pub warnings: Vec<String>,
}

impl Pod {
    /// Sums documents up.
    ///
    /// # Errors
    /// [`FindError`] if no index will do, or there are too many groups.
    pub async fn aggregate(
        &self,
        entry: &Arc<DatabaseEntry>,
        caller: &Caller,
        mut query: AggregateQuery,
    ) -> Result<Aggregated, PodError> {
        let mut fields = query.group.clone();
        fields.extend(
            query
                .aggregates
                .iter()
                .filter_map(|(_, one)| one.field().cloned()),
        );
        if fields.is_empty() {
            // Any field will do that every index has.
            fields.extend(FieldPath::parse("_id"));
        }
        query.find.fields = Some(fields);
        let find = Arc::new(query.find.clone());
        let mut walk = self.find(entry, caller, Arc::clone(&find)).await?;
        if !find.nothing
            && let Some(tally) = Tally::of(self, entry, &query, &find).await?
        {
            let counted = tokio::task::spawn_blocking(move || tally.count());
            let groups = counted.await.map_err(|_| PodError::Interrupted)??;
            let statistics = walk.statistics();
            let warnings = Vec::new();
            return Ok(Aggregated {
                groups,
                statistics,
                warnings,
            });
        }
        let mut groups = Groups::new(&query);
        while let Some(page) = walk.next().await? {
            let added = tokio::task::spawn_blocking(move || {
                let added = page.documents().try_for_each(|one| groups.add(one));
                added.map(|()| groups)
            });
            groups = added.await.map_err(|_| PodError::Interrupted)??;
        }
        Ok(Aggregated {
            groups: groups.finish(),
            statistics: walk.statistics(),
            warnings: walk.plan_warnings(),
        })
    }
}

impl Aggregate {
    fn field(&self) -> Option<&FieldPath> {
        match self {
            Self::Count(field) => field.as_ref(),
            Self::Sum(field) | Self::Min(field) | Self::Max(field) | Self::Avg(field) => {
                Some(field)
            }
        }
    }
}

/// Groups that are being made.
struct Groups {
    group: Vec<TextPath>,
    aggregates: Vec<(Aggregate, Option<TextPath>)>,
    made: BTreeMap<Vec<u8>, Making>,
    bytes: usize,
    alone: bool,
}

struct Making {
    key: Vec<Option<Value>>,
    values: Vec<Accumulator>,
}

/// What was seen of a group so far.
enum Accumulator {
    Count(u64),
    Sum(Sum),
    Avg(Sum),
    Extreme(Option<Value>, Ordering),
}

/// Stands for a missing field in a group's sort key: before every value.
const MISSING: u8 = 1;

impl Groups {
    fn new(query: &AggregateQuery) -> Self {
        let aggregates = query.aggregates.iter();
        Self {
            group: query.group.iter().map(TextPath::of).collect(),
            aggregates: aggregates
                .map(|(_, one)| (one.clone(), one.field().map(TextPath::of)))
                .collect(),
            made: BTreeMap::new(),
            bytes: 0,
            alone: query.group.is_empty(),
        }
    }

    /// Adds a document.
    fn add(&mut self, document: &[u8]) -> Result<(), FindError> {
        let key: Vec<Option<Value>> = self
            .group
            .iter()
            .map(|path| path.find(document).and_then(read_value))
            .collect();
        let mut sort_key = Vec::new();
        for value in &key {
            match value {
                None => sort_key.push(MISSING),
                Some(value) => Collation::Unicode.sort_key(value, &mut sort_key),
            }
        }
        if !self.made.contains_key(&sort_key) {
            self.begin(sort_key.clone(), key)?;
        }
        if let Some(making) = self.made.get_mut(&sort_key) {
            for (accumulator, (_, path)) in making.values.iter_mut().zip(&self.aggregates) {
                let value = path.as_ref().map(|path| path.find(document));
                self.bytes += accumulator.add(value);
            }
        }
        if self.bytes > GROUPS_BYTES_MAX {
            return Err(FindError::GroupsTooLarge);
        }
        Ok(())
    }

    fn begin(&mut self, sort_key: Vec<u8>, key: Vec<Option<Value>>) -> Result<(), FindError> {
        if self.made.len() >= GROUPS_MAX {
            return Err(FindError::TooManyGroups(GROUPS_MAX));
        }
        // The values take about as much as what they sort by.
        self.bytes += 3 * sort_key.len() + 64 * (1 + key.len() + self.aggregates.len());
        let values = self.aggregates.iter().map(|(one, _)| Accumulator::of(one));
        let making = Making {
            key,
            values: values.collect(),
        };
        self.made.insert(sort_key, making);
        Ok(())
    }

    fn finish(mut self) -> Vec<Group> {
        if self.alone && self.made.is_empty() {
            // Of nothing, too, there is a sum.
            drop(self.begin(Vec::new(), Vec::new()));
        }
        let group = |making: Making| Group {
            key: making.key,
            values: making.values.into_iter().map(Accumulator::value).collect(),
        };
        self.made.into_values().map(group).collect()
    }
}

impl Accumulator {
    fn of(aggregate: &Aggregate) -> Self {
        match aggregate {
            Aggregate::Count(_) => Self::Count(0),
            Aggregate::Sum(_) => Self::Sum(Sum::default()),
            Aggregate::Avg(_) => Self::Avg(Sum::default()),
            Aggregate::Min(_) => Self::Extreme(None, Ordering::Less),
            Aggregate::Max(_) => Self::Extreme(None, Ordering::Greater),
        }
    }

    /// Adds the field of a document, if there is a field at all. Answers how many bytes more are
    /// held.
    fn add(&mut self, field: Option<Option<&[u8]>>) -> usize {
        let text = field.flatten();
        match self {
            Self::Count(count) => *count += u64::from(field.is_none() || text.is_some()),
            Self::Sum(sum) | Self::Avg(sum) => {
                if let Some(Value::Number(number)) = text.and_then(read_value) {
                    sum.add(&number);
                }
            }
            Self::Extreme(known, wanted) => {
                let value = text.and_then(read_value);
                let better = |value: &Value| {
                    let than = known.as_ref();
                    than.is_none_or(|known| compare(value, known) == *wanted)
                };
                if value.as_ref().is_some_and(better) {
                    *known = value;
                    return text.map_or(0, <[u8]>::len);
                }
            }
        }
        0
    }

    fn value(self) -> Value {
        match self {
            Self::Count(count) => count.into(),
            Self::Sum(sum) => sum.total(),
            Self::Avg(sum) => sum.mean(),
            Self::Extreme(value, _) => value.unwrap_or(Value::Null),
        }
    }
}

/// Counts that the count tree of an index tells.
struct Tally {
    pod: Pod,
    entry: Arc<DatabaseEntry>,
    index: Arc<MangoIndex>,
    ranges: Vec<RowRange>,
    /// Columns in front of those that are grouped by; each has one value.
    fixed: usize,
    grouped: usize,
    counts: usize,
}

impl Tally {
    /// Whether the tree can tell, and of what.
    async fn of(
        pod: &Pod,
        entry: &Arc<DatabaseEntry>,
        query: &AggregateQuery,
        find: &Arc<FindQuery>,
    ) -> Result<Option<Self>, PodError> {
        let mut counts = query.aggregates.iter();
        let only_counts = counts.all(|(_, one)| matches!(one, Aggregate::Count(None)));
        // The tree knows no readers.
        if !only_counts || !entry.shows_all() {
            return Ok(None);
        }
        let plan = pod.plan_aside(entry, find).await?;
        let Access::Index(index, part) = plan.access else {
            return Ok(None);
        };
        let selector = &query.find.selector;
        let first = query.group.first().map(FieldPath::name);
        let columns: Vec<&str> = index.column_names().collect();
        let fixed = columns
            .iter()
            .take_while(|column| Some(**column) != first && selector.fixes(column))
            .count();
        let grouped = query.group.iter().map(FieldPath::name);
        let fixed = if query.group.is_empty() { 0 } else { fixed };
        let next = columns.iter().skip(fixed).take(query.group.len()).copied();
        if !part.exact || index.partitioned || !next.eq(grouped) {
            return Ok(None);
        }
        Ok(Some(Self {
            pod: pod.clone(),
            entry: Arc::clone(entry),
            ranges: part.ranges,
            fixed,
            grouped: query.group.len(),
            counts: query.aggregates.len(),
            index,
        }))
    }

    fn count(&self) -> Result<Vec<Group>, PodError> {
        let view = self.pod.view();
        self.pod.require_page(view.as_ref(), &self.entry)?;
        let number = self.entry.number;
        let found = index::find(view.as_ref(), number, &self.index.plan.signature)?;
        let mut groups: Vec<Group> = Vec::new();
        let Some(state) = found else {
            return Ok(self.or_none(groups));
        };
        let scope = self.entry.scope.clone();
        let reader = IndexReader::new(view.as_ref(), number, scope, &state);
        let (mut total, mut last) = (0, None);
        for range in &self.ranges {
            if self.grouped == 0 {
                total += reader.count_rows(range)?;
            } else {
                self.count_groups(&reader, range.clone(), &mut groups, &mut last)?;
            }
        }
        if self.grouped == 0 {
            groups.push(self.group(Vec::new(), total));
        }
        Ok(groups)
    }

    /// Goes from the first row of a group to that of the next.
    fn count_groups(
        &self,
        reader: &IndexReader<'_>,
        mut range: RowRange,
        groups: &mut Vec<Group>,
        last: &mut Option<RowRange>,
    ) -> Result<(), PodError> {
        let level = GroupLevel::Elements(self.fixed + self.grouped);
        loop {
            let mut first = None;
            reader.walk_rows(&range, Direction::Forward, |row| {
                first = Some((row.key.to_owned(), row.to_position()));
                std::ops::ControlFlow::Break(())
            })?;
            let Some((key, position)) = first else {
                return Ok(());
            };
            let group = reader.group_range(&position, level);
            let end = group.to.clone();
            let count = reader.count_rows(&group.clone().intersection(&range))?;
            let values = items(key.as_bytes()).skip(self.fixed).take(self.grouped);
            let key: Vec<Option<Value>> = values.map(read_value).collect();
            // A group may lie in several ranges, one behind the other.
            let same = last.as_ref() == Some(&group);
            match groups.last_mut() {
                Some(known) if same => known.add(count),
                Some(_) | None => groups.push(self.group(key, count)),
            }
            if groups.len() > GROUPS_MAX {
                return Err(FindError::TooManyGroups(GROUPS_MAX).into());
            }
            *last = Some(group);
            let Some(end) = end else {
                return Ok(());
            };
            range.from = end;
            if range.is_empty() {
                return Ok(());
            }
        }
    }

    fn group(&self, key: Vec<Option<Value>>, count: u64) -> Group {
        Group {
            key,
            values: vec![count.into(); self.counts],
        }
    }

    fn or_none(&self, mut groups: Vec<Group>) -> Vec<Group> {
        if self.grouped == 0 {
            groups.push(self.group(Vec::new(), 0));
        }
        groups
    }
}

impl Group {
    fn add(&mut self, count: u64) {
        for value in &mut self.values {
            *value = (value.as_u64().unwrap_or(0) + count).into();
        }
    }
}

//! Walking through what a plan says, and answering with the documents that match.
//!
//! A walk goes portion by portion, each over a view of its own, and keeps between them where it is
//! and nothing else. Within a portion the rows are found first, then the documents are read and
//! tried in the order in which their bodies lie, and at last answered in the order of the rows. So
//! bodies that lie together are read together, and one that does not match is never copied.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use adea_base::{Caller, Scope};
use adea_documents::index::{self, IndexReader, RowPosition, RowRange};
use adea_documents::json::write_json_string;
use adea_documents::reader::{IdRange, Reader};
use adea_documents::record::{RecordHead, split_body};
use adea_documents::render::{Meta, Rendering, write_revision};
use adea_documents::rev_tree::Node;
use adea_documents::selector::{FieldPath, StoredMatcher};
use adea_store::{Direction, EngineError, View};
use tokio::time::Instant;

use super::access::intersection;
use super::bookmark::Bookmark;
use super::covered::Covered;
use super::project::Projection;
use super::{Access, FindError, FindPlan, FindQuery, MangoIndex};
use crate::databases::{DatabaseEntry, reader};
use crate::error::PodError;
use crate::pod::Pod;

/// Rows of the first portion, at least and at most.
const FIRST_PORTION: (u64, u64) = (32, 256);
/// Rows of any portion, at most.
const PORTION_MAX: usize = 1_024;
/// For each row of a portion, so many deleted documents may be passed over.
const PASSED_OVER: usize = 8;
/// Bytes of documents that are read for one portion, about.
const PORTION_BYTES_MAX: u64 = 4 << 20;
/// Bytes of answers that are given out at once, about.
const PAGE_BYTES: usize = 64 << 10;
/// Rows that are tried before whoever asked is asked whether he is still there.
const PAGE_ROWS: u64 = 16_384;

/// What a walk has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FindStatistics {
    /// Rows of an index looked at.
    pub keys_examined: u64,
    /// Documents read and tried.
    pub documents_examined: u64,
    /// Documents answered.
    pub returned: u64,
    /// How long it took.
    pub time: Duration,
}

/// Some answers: JSON texts one after the other.
#[derive(Debug, Default)]
pub struct FindPage {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl FindPage {
    /// The documents, in their order.
    pub fn documents(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .filter_map(|(start, end)| self.text.get(start..*end))
    }

    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.text);
        self.ends.push(self.text.len());
    }
}

/// A query that is being answered.
pub struct FindWalk {
    work: Option<Box<Work>>,
    begun: Instant,
}

/// What is left to be walked, in the walk's direction.
enum Left {
    Ids(VecDeque<IdRange>),
    Rows(Arc<MangoIndex>, VecDeque<RowRange>),
}

struct Work {
    pod: Pod,
    entry: Arc<DatabaseEntry>,
    caller: Caller,
    query: Arc<FindQuery>,
    plan: FindPlan,
    matcher: StoredMatcher,
    projection: Option<Projection>,
    covered: Option<Covered>,
    left: Left,
    direction: Direction,
    skip: u64,
    limit: u64,
    portion: usize,
    bookmark: Option<Bookmark>,
    statistics: FindStatistics,
    done: bool,
}

/// A row on its way to an answer.
struct Row {
    id: String,
    /// Its place in an index; none in the primary one, where the id is the place.
    position: Option<RowPosition>,
    head: Option<RecordHead>,
    /// Its key, if the index alone answers.
    key: Option<String>,
}

/// A place in an index.
enum Place {
    Id(String),
    Row(RowPosition),
}

/// Rows that were found, and where the walk broke off, if it did.
#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    walked_to: Option<Place>,
}

/// What became of a row.
enum Tried {
    /// There is no such document now.
    Gone,
    Fails,
    Matches(Vec<u8>),
    TooExpensive,
}

impl Pod {
    /// Plans a query and brings its index up to date, if it is to be; the answers come by
    /// [`FindWalk::next`].
    ///
    /// # Errors
    /// [`FindError`] if no index will do, or what building the index failed with.
    pub async fn find(
        &self,
        entry: &Arc<DatabaseEntry>,
        caller: &Caller,
        query: Arc<FindQuery>,
    ) -> Result<FindWalk, PodError> {
        let begun = Instant::now();
        let plan = self.plan_find(entry, &query)?;
        if let Access::Index(index, _) = &plan.access
            && query.update
        {
            let sequence = self.statistics(entry)?.update_sequence;
            let plans = [Arc::clone(&index.plan)];
            self.index_through(entry, &plans, sequence).await?;
        }
        let work = Work::new(self, entry, caller, query, plan);
        Ok(FindWalk {
            work: Some(Box::new(work)),
            begun,
        })
    }
}

impl FindWalk {
    /// The next answers; `None` after the last.
    ///
    /// # Errors
    /// [`FindError::TooExpensive`], or what the store failed with.
    pub async fn next(&mut self) -> Result<Option<FindPage>, PodError> {
        let Some(mut work) = self.work.take() else {
            return Err(PodError::Interrupted);
        };
        if work.done {
            self.work = Some(work);
            return Ok(None);
        }
        let worked = tokio::task::spawn_blocking(move || {
            let page = work.page();
            (work, page)
        });
        let (mut work, page) = worked.await.map_err(|_| PodError::Interrupted)?;
        work.statistics.time = self.begun.elapsed();
        self.work = Some(work);
        page.map(Some)
    }

    /// Whether all was answered.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.work.as_ref().is_none_or(|work| work.done)
    }

    /// What was done so far.
    #[must_use]
    pub fn statistics(&self) -> FindStatistics {
        let work = self.work.as_ref();
        work.map_or_else(FindStatistics::default, |work| work.statistics)
    }

    /// Where the next query goes on; `None` if nothing was answered.
    #[must_use]
    pub fn bookmark(&self) -> Option<String> {
        let work = self.work.as_ref()?;
        work.bookmark.as_ref().map(Bookmark::encode)
    }

    /// What to tell of how the query was answered.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let Some(work) = &self.work else {
            return Vec::new();
        };
        let mut warnings = work.plan.warnings(&work.query);
        let FindStatistics {
            documents_examined,
            returned,
            ..
        } = work.statistics;
        if documents_examined > returned.max(1).saturating_mul(SCANNED_PER_RESULT_MAX) {
            warnings.push(
                "The number of documents examined is high in proportion to the number of results returned. Consider adding a more specific index to improve this."
                    .to_owned(),
            );
        }
        warnings
    }
}

/// More documents than this for each answer are told of.
const SCANNED_PER_RESULT_MAX: u64 = 10;

impl Work {
    fn new(
        pod: &Pod,
        entry: &Arc<DatabaseEntry>,
        caller: &Caller,
        query: Arc<FindQuery>,
        plan: FindPlan,
    ) -> Self {
        let direction = if query.descending {
            Direction::Reverse
        } else {
            Direction::Forward
        };
        let mut left = match &plan.access {
            _ if query.nothing => Left::Ids(VecDeque::new()),
            Access::Primary(ranges) => Left::Ids(ranges.iter().cloned().collect()),
            Access::Index(index, part) => {
                Left::Rows(Arc::clone(index), part.ranges.iter().cloned().collect())
            }
        };
        if direction == Direction::Reverse {
            left = left.reversed();
        }
        if let Some(bookmark) = &plan.bookmark {
            left.go_behind(&Place::of(bookmark), direction);
        }
        let covered = plan.index().filter(|_| plan.covering);
        let (low, high) = FIRST_PORTION;
        let first = query.limit.saturating_add(query.skip).clamp(low, high);
        Self {
            covered: covered.map(|index| Covered::of(index)),
            projection: query.fields.as_deref().map(Projection::new),
            matcher: StoredMatcher::new(query.selector.clone()),
            skip: query.skip,
            limit: query.limit,
            done: query.limit == 0,
            portion: usize::try_from(first).unwrap_or(PORTION_MAX),
            pod: pod.clone(),
            entry: Arc::clone(entry),
            caller: caller.clone(),
            bookmark: None,
            statistics: FindStatistics::default(),
            query,
            plan,
            left,
            direction,
        }
    }

    /// The next answers, as many as are given out at once.
    fn page(&mut self) -> Result<FindPage, PodError> {
        let mut page = FindPage::default();
        let before = self.statistics.keys_examined;
        while !self.done
            && page.text.len() < PAGE_BYTES
            && self.statistics.keys_examined - before < PAGE_ROWS
        {
            self.step(&mut page)?;
        }
        Ok(page)
    }

    /// Works off one portion.
    fn step(&mut self, page: &mut FindPage) -> Result<(), PodError> {
        let pod = self.pod.clone();
        let view = pod.view();
        let rows = self.rows(view.as_ref())?;
        if rows.is_empty() && self.left.is_empty() {
            self.done = true;
            return Ok(());
        }
        let entry = Arc::clone(&self.entry);
        let caller = self.caller.clone();
        let reader = reader(view.as_ref(), &entry, &caller);
        let tried = if self.covered.is_some() {
            rows.iter().map(|row| self.try_key(row)).collect()
        } else {
            self.try_documents(&reader, &rows)?
        };
        for (row, tried) in rows.into_iter().zip(tried) {
            self.statistics.keys_examined += 1;
            self.statistics.documents_examined +=
                u64::from(self.covered.is_none() && !matches!(tried, Tried::Gone));
            match tried {
                Tried::Gone | Tried::Fails => {}
                Tried::TooExpensive => return Err(FindError::TooExpensive.into()),
                Tried::Matches(text) => self.answer(row, &text, page),
            }
            if self.done {
                break;
            }
        }
        Ok(())
    }

    fn answer(&mut self, row: Row, text: &[u8], page: &mut FindPage) {
        self.bookmark = Some(Bookmark {
            index: self.plan.index().map(|index| index.plan.signature),
            position: match row.position {
                Some(position) => position.as_bytes().to_vec(),
                None => row.id.into_bytes(),
            },
        });
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        page.push(|out| out.extend_from_slice(text));
        self.statistics.returned += 1;
        self.limit -= 1;
        self.done = self.limit == 0;
    }

    /// The rows of the next portion; what is left begins behind them.
    fn rows(&mut self, view: &dyn View) -> Result<Vec<Row>, PodError> {
        let reader = reader(view, &self.entry, &self.caller);
        let mut found = match &self.left {
            Left::Ids(ranges) => ids(&reader, ranges, self.direction, self.portion)?,
            Left::Rows(index, ranges) => {
                let state = index::find(view, self.entry.number, &index.plan.signature)?;
                let Some(state) = state else {
                    // It was never built, and is not to be.
                    self.left = Left::Ids(VecDeque::new());
                    return Ok(Vec::new());
                };
                let index_reader = IndexReader {
                    view,
                    database: self.entry.number,
                    scope: Scope::Aggregate,
                    index: &state,
                };
                let with_keys = self.covered.is_some();
                let (direction, portion) = (self.direction, self.portion);
                let mut found = index_rows(&index_reader, ranges, direction, portion, with_keys)?;
                if !with_keys {
                    let ids: Vec<&str> = found.rows.iter().map(|row| &*row.id).collect();
                    let heads = reader.record_heads(&ids)?;
                    for (row, head) in found.rows.iter_mut().zip(heads) {
                        row.head = head;
                    }
                }
                found
            }
        };
        let cut = fitting(&mut found.rows);
        self.portion = cut.unwrap_or_else(|| (self.portion * 2).min(PORTION_MAX));
        let last = cut.and(found.rows.last()).map(Row::place);
        match last.or(found.walked_to) {
            Some(place) => self.left.go_behind(&place, self.direction),
            None => self.left = Left::Ids(VecDeque::new()),
        }
        Ok(found.rows)
    }

    /// Reads documents and tries them, in the order in which their bodies lie.
    fn try_documents(&self, reader: &Reader<'_>, rows: &[Row]) -> Result<Vec<Tried>, PodError> {
        let mut order: Vec<(u64, usize)> = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            let winner = row.head.as_ref().map(|head| &head.winner);
            if let Some(winner) = winner.filter(|winner| !winner.deleted)
                && let Some(body) = winner.body
            {
                order.push((body, at));
            }
        }
        order.sort_unstable();
        let mut tried: Vec<Tried> = rows.iter().map(|_| Tried::Gone).collect();
        let mut put = |at: usize, stored: &[u8]| -> Result<(), EngineError> {
            if let (Some(row), Some(slot)) = (rows.get(at), tried.get_mut(at)) {
                *slot = self.try_document(reader, row, stored)?;
            }
            Ok(())
        };
        let (first, last) = (order.first(), order.last());
        let span = first.zip(last).map_or(0, |(first, last)| last.0 - first.0);
        if span <= order.len() as u64 * DENSE {
            let from = first.map_or(0, |first| first.0);
            let mut walk = reader.walk_bodies(from)?;
            for (body, at) in order {
                walk.with_body(body, |stored| put(at, stored))?;
            }
        } else {
            let bodies: Vec<u64> = order.iter().map(|(body, _)| *body).collect();
            for ((_, at), stored) in order.iter().zip(reader.bodies(&bodies)?) {
                if let Some(stored) = stored {
                    put(*at, &stored)?;
                }
            }
        }
        Ok(tried)
    }

    fn try_document(
        &self,
        reader: &Reader<'_>,
        row: &Row,
        stored: &[u8],
    ) -> Result<Tried, EngineError> {
        let Some(head) = &row.head else {
            return Ok(Tried::Gone);
        };
        let (attachments, json) = split_body(stored)?;
        let mut meta = Meta::default();
        if head.winner.live_conflicts && (self.query.conflicts || self.matcher.needs_conflicts()) {
            let record = reader.record(&row.id)?.unwrap_or_default();
            meta.conflicts = record.tree.conflicts().map(Node::revision).collect();
        }
        let document = Rendering {
            id: &row.id,
            revision: &head.winner.revision,
            deleted: false,
            json,
            attachments: &attachments,
            meta: &meta,
            encoding_info: false,
        };
        match self.matcher.matches(&document) {
            Err(_) => return Ok(Tried::TooExpensive),
            Ok(false) => return Ok(Tried::Fails),
            Ok(true) => {}
        }
        let mut out = Vec::with_capacity(json.len() + 128);
        match &self.projection {
            None => document.write(&mut out),
            Some(projection) => write_fields(&mut out, &document, projection),
        }
        Ok(Tried::Matches(out))
    }

    /// Tries what an index alone tells of a document.
    fn try_key(&self, row: &Row) -> Tried {
        let (Some(covered), Some(projection)) = (&self.covered, &self.projection) else {
            return Tried::Gone;
        };
        let Some(columns) = row.key.as_deref().and_then(|key| covered.columns(key)) else {
            return Tried::Gone;
        };
        let exact = matches!(&self.plan.access, Access::Index(_, part) if part.exact);
        if !exact {
            let document = covered.document(&row.id, &columns);
            match self.matcher.selector().try_matches(&document) {
                Err(_) => return Tried::TooExpensive,
                Ok(false) => return Tried::Fails,
                Ok(true) => {}
            }
        }
        let mut id = Vec::with_capacity(row.id.len() + 2);
        write_json_string(&mut id, &row.id);
        let given = |path: &FieldPath| {
            if path.name() == "_id" {
                Some(&*id)
            } else {
                covered.value(&columns, path)
            }
        };
        let mut out = Vec::new();
        projection.write(&mut out, b"", given);
        Tried::Matches(out)
    }
}

/// Bodies that lie no further apart than this, on average, are read one after the other.
const DENSE: u64 = 4;

fn write_fields(out: &mut Vec<u8>, document: &Rendering<'_>, projection: &Projection) {
    if projection.needs_all_of_the_servers() {
        let mut whole = Vec::with_capacity(document.json.len() + 256);
        document.write(&mut whole);
        projection.write(out, &whole, |_| None);
        return;
    }
    let (mut id, mut revision) = (Vec::new(), Vec::new());
    write_json_string(&mut id, document.id);
    write_revision(&mut revision, document.revision);
    projection.write(out, document.json, |path| match path.name() {
        "_id" => Some(&*id),
        "_rev" => Some(&*revision),
        _ => None,
    });
}

impl Left {
    fn is_empty(&self) -> bool {
        match self {
            Self::Ids(ranges) => ranges.is_empty(),
            Self::Rows(_, ranges) => ranges.is_empty(),
        }
    }

    /// Leaves out what lies before a place, and the place itself.
    fn go_behind(&mut self, place: &Place, direction: Direction) {
        match (self, place) {
            (Self::Ids(ranges), Place::Id(id)) => {
                let rest = ids_behind(id, direction);
                while let Some(range) = ranges.pop_front() {
                    if let Some(range) = intersection(range, rest.clone()) {
                        ranges.push_front(range);
                        return;
                    }
                }
            }
            (Self::Rows(_, ranges), Place::Row(position)) => {
                while let Some(range) = ranges.pop_front() {
                    let range = match direction {
                        Direction::Forward => range.after(position.clone()),
                        Direction::Reverse => range.before(position.clone()),
                    };
                    if !range.is_empty() {
                        ranges.push_front(range);
                        return;
                    }
                }
            }
            // A walk keeps to its index.
            (Self::Ids(_), Place::Row(_)) | (Self::Rows(..), Place::Id(_)) => {}
        }
    }

    fn reversed(self) -> Self {
        match self {
            Self::Ids(ranges) => Self::Ids(ranges.into_iter().rev().collect()),
            Self::Rows(index, ranges) => Self::Rows(index, ranges.into_iter().rev().collect()),
        }
    }
}

impl Row {
    fn place(&self) -> Place {
        match &self.position {
            Some(position) => Place::Row(position.clone()),
            None => Place::Id(self.id.clone()),
        }
    }
}

impl Place {
    fn of(bookmark: &Bookmark) -> Self {
        let position = bookmark.position.clone();
        match bookmark.index {
            Some(_) => Self::Row(RowPosition::from_bytes(position)),
            None => Self::Id(String::from_utf8_lossy(&position).into_owned()),
        }
    }
}

/// Keeps the first rows, whose documents may be read at once; how many, if others were there.
fn fitting(rows: &mut Vec<Row>) -> Option<usize> {
    let mut bytes = 0;
    let count = rows
        .iter()
        .take_while(|row| {
            let fits = bytes < PORTION_BYTES_MAX;
            bytes += row.head.as_ref().map_or(0, |head| head.external_bytes);
            fits
        })
        .count();
    let cut = count < rows.len();
    rows.truncate(count);
    cut.then_some(count)
}

/// The next documents of the primary index that are there, and no design documents.
fn ids(
    reader: &Reader<'_>,
    ranges: &VecDeque<IdRange>,
    direction: Direction,
    portion: usize,
) -> Result<Found, EngineError> {
    let mut found = Found::default();
    let mut walked = 0;
    for range in ranges {
        let mut last = None;
        reader.walk_documents(range, direction, |id, head| {
            walked += 1;
            if !head.winner.deleted && !id.starts_with("_design/") {
                found.rows.push(Row {
                    id: id.to_owned(),
                    position: None,
                    head: Some(head),
                    key: None,
                });
            }
            if found.rows.len() < portion && walked < portion * PASSED_OVER {
                return ControlFlow::Continue(());
            }
            last = Some(Place::Id(id.to_owned()));
            ControlFlow::Break(())
        })?;
        if last.is_some() {
            found.walked_to = last;
            break;
        }
    }
    Ok(found)
}

/// The next rows of an index.
fn index_rows(
    reader: &IndexReader<'_>,
    ranges: &VecDeque<RowRange>,
    direction: Direction,
    portion: usize,
    with_keys: bool,
) -> Result<Found, EngineError> {
    let mut found = Found::default();
    for range in ranges {
        reader.walk_rows(range, direction, |row| {
            found.rows.push(Row {
                key: with_keys.then(|| row.key.to_owned()),
                position: Some(row.to_position()),
                id: row.id.into_owned(),
                head: None,
            });
            if found.rows.len() < portion {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        if found.rows.len() >= portion {
            found.walked_to = found.rows.last().map(Row::place);
            break;
        }
    }
    Ok(found)
}

fn ids_behind(id: &str, direction: Direction) -> IdRange {
    match direction {
        Direction::Forward => IdRange {
            first: Some(format!("{id}\0")),
            last: None,
        },
        Direction::Reverse => IdRange {
            first: None,
            last: Some((id.to_owned(), false)),
        },
    }
}

//! Walking through what a plan says, and answering with the documents that match.
//!
//! A walk goes portion by portion, each over a view of its own, and keeps between them where it is
//! and nothing else. Within a portion the rows are found first, then the documents are read and
//! tried in the order in which their bodies lie, and at last answered in the order of the rows. So
//! bodies that lie together are read together, and one that does not match is never copied.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use adea_base::Caller;
use adea_documents::index::{self, IndexReader};
use adea_documents::json::write_json_string;
use adea_documents::reader::Reader;
use adea_documents::record::split_body;
use adea_documents::render::{Meta, Rendering, write_revision};
use adea_documents::rev_tree::Node;
use adea_documents::selector::{FieldPath, StoredMatcher};
use adea_store::{Direction, EngineError, View};
use tokio::time::Instant;

use super::bookmark::Bookmark;
use super::covered::Covered;
use super::project::Projection;
use super::rows::{Left, Place, Row, fitting, ids, index_rows};
use super::{Access, FindError, FindPlan, FindQuery};
use crate::databases::{DatabaseEntry, reader};
use crate::error::PodError;
use crate::pod::Pod;

/// Rows of the first portion, at least and at most.
const FIRST_PORTION: (u64, u64) = (32, 256);
/// A portion of no more rows is worked off on the thread that asks for it, if the selector is light:
/// going to another thread and back costs as much as the work.
const AT_ONCE_ROWS_MAX: usize = 64;
/// Bytes of documents that are read there, about.
const AT_ONCE_BYTES_MAX: u64 = 256 << 10;
/// Rows of any portion, at most.
const PORTION_MAX: usize = 1_024;
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
    /// Whether the next portion is worked off where it is asked for.
    at_once: bool,
    bookmark: Option<Bookmark>,
    statistics: FindStatistics,
    done: bool,
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
        let plan = self.plan_aside(entry, &query).await?;
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

impl Pod {
    /// Plans a query, on a thread of its own if that may take its time.
    pub(super) async fn plan_aside(
        &self,
        entry: &Arc<DatabaseEntry>,
        query: &Arc<FindQuery>,
    ) -> Result<FindPlan, PodError> {
        if query.selector.is_light() && self.mango_indexes(entry)?.len() <= PLANNED_AT_ONCE_MAX {
            return self.plan_find(entry, query);
        }
        let (pod, entry, query) = (self.clone(), Arc::clone(entry), Arc::clone(query));
        tokio::task::spawn_blocking(move || pod.plan_find(&entry, &query))
            .await
            .map_err(|_| PodError::Interrupted)?
    }
}

/// With no more indexes than this, a light query is planned where it is asked.
const PLANNED_AT_ONCE_MAX: usize = 8;

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
        if std::mem::take(&mut work.at_once) {
            let mut page = FindPage::default();
            let stepped = work.step(&mut page, AT_ONCE_BYTES_MAX);
            work.statistics.time = self.begun.elapsed();
            self.work = Some(work);
            return stepped.map(|()| Some(page));
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

    /// What to tell of the index that was chosen.
    #[must_use]
    pub fn plan_warnings(&self) -> Vec<String> {
        let work = self.work.as_ref();
        work.map_or_else(Vec::new, |work| work.plan.warnings(&work.query))
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
        // Where each row is an answer, no more are needed than are asked for.
        let exact = matches!(&plan.access, Access::Index(_, part) if part.exact);
        let low = if exact { 1 } else { low };
        let first = query.limit.saturating_add(query.skip).clamp(low, high);
        let portion = usize::try_from(first).unwrap_or(PORTION_MAX);
        Self {
            at_once: portion <= AT_ONCE_ROWS_MAX && query.selector.is_light(),
            covered: covered.map(|index| Covered::of(index)),
            projection: query.fields.as_deref().map(Projection::new),
            matcher: StoredMatcher::new(query.selector.clone()),
            skip: query.skip,
            limit: query.limit,
            done: query.limit == 0,
            portion,
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
            self.step(&mut page, PORTION_BYTES_MAX)?;
        }
        Ok(page)
    }

    /// Works off one portion, whose documents have about so many bytes at most.
    fn step(&mut self, page: &mut FindPage, bytes_max: u64) -> Result<(), PodError> {
        let pod = self.pod.clone();
        let view = pod.view();
        pod.require_page(view.as_ref(), &self.entry)?;
        let rows = self.rows(view.as_ref(), bytes_max)?;
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
    fn rows(&mut self, view: &dyn View, bytes_max: u64) -> Result<Vec<Row>, PodError> {
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
                let scope = self.entry.scope.clone();
                let index_reader = IndexReader::new(view, self.entry.number, scope, &state);
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
        let cut = fitting(&mut found.rows, bytes_max);
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

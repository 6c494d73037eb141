//! Rows that a reader may see who does not see all.
//!
//! Rows of a range come in their order and each row's document is judged, a few at a time. Where the reader sees far
//! fewer documents than the range has rows, it goes the other way about: what he sees is walked, and
//! the back index tells where its rows are, so that the work follows what he sees.
//!
//! Invariant: a row is shown if its document is visible now and has not changed since the index saw
//! it. What changed later may have been written for others, and the row tells of another revision.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use adea_store::{Direction, EngineError, Space, View};

use super::portion::positions;
use super::position::{RowPosition, RowRange};
use super::reader::{IndexReader, StoredFeed};
use super::row::{self, RowRef};
use super::state::IndexState;
use crate::error::corrupt;
use crate::reader::{IdRange, Reader, whole};
use crate::record::RecordHead;

/// A range of no more stored rows is judged row by row.
const LONG: u64 = 1_024;
/// What is visible is walked if it is no more documents,
const DOCUMENTS_MAX: u64 = 4_096;
/// and no more bytes of positions than these.
const BYTES_MAX: usize = 4 << 20;
/// Documents looked up at once.
const LOOKED_UP: usize = 256;
/// Rows that are judged first,
const JUDGED_FIRST: usize = 8;
/// and bytes of those that are judged at once, about.
const JUDGED_BYTES: usize = 256 << 10;

/// The positions of all rows that may be seen, in order; `None` if they are not few. Which of both
/// depends on what may be seen, and on nothing else.
type Few = Option<Arc<[Vec<u8>]>>;

/// What is known of them, once it was asked.
#[derive(Clone, Default)]
pub(super) struct FewRows(OnceCell<Few>);

impl<'v> IndexReader<'v> {
    /// How many rows lie in `range`; `None` in a scope that shows many documents, where they would all
    /// have to be judged.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn count_if_few(&self, range: &RowRange) -> Result<Option<u64>, EngineError> {
        if self.scope.sight().is_none() {
            return self.count_rows(range).map(Some);
        }
        Ok(self.few()?.map(|few| {
            let to = range.to.as_ref().map(RowPosition::as_bytes);
            between(&few, range.from.as_bytes(), to).len() as u64
        }))
    }

    /// The rows that may be seen, if it is less work to know them all than to judge a range.
    pub(super) fn few_between(&self, from: &[u8], to: Option<&[u8]>) -> Result<Few, EngineError> {
        if let Some(known) = self.few.0.get() {
            return Ok(known.clone());
        }
        if self.index.rows <= LONG {
            return Ok(None);
        }
        if self.index.height > 0 {
            let all = IndexReader::new(self.view, self.database, whole(), self.index);
            if all.count_at(self.index.height, from, to)? <= LONG {
                return Ok(None);
            }
        }
        self.few()
    }

    fn few(&self) -> Result<Few, EngineError> {
        if let Some(known) = self.few.0.get() {
            return Ok(known.clone());
        }
        let few = self.all_visible()?;
        Ok(self.few.0.get_or_init(|| few).clone())
    }

    fn documents(&self) -> Reader<'v> {
        Reader {
            view: self.view,
            database: self.database,
            scope: self.scope.clone(),
        }
    }

    fn all_visible(&self) -> Result<Few, EngineError> {
        let Some(sight) = self.scope.sight() else {
            return Ok(None);
        };
        let reader = self.documents();
        let labels = reader.labels_seen(sight)?;
        if labels.iter().map(|label| label.documents).sum::<u64>() > DOCUMENTS_MAX {
            return Ok(None);
        }
        let (mut ids, mut walked) = (Vec::new(), 0);
        let all = IdRange::default();
        reader.walk_documents(&all, Direction::Forward, |id, head| {
            walked += 1;
            if is_seen(&head, self.index.sequence) {
                ids.push(id.to_owned());
            }
            if walked <= DOCUMENTS_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        if walked > DOCUMENTS_MAX {
            return Ok(None);
        }
        let prefix = row::backs(self.database, self.index.number, 0);
        let (mut found, mut bytes) = (Vec::new(), 0);
        for ids in ids.chunks(LOOKED_UP) {
            let keys: Vec<Vec<u8>> = ids
                .iter()
                .map(|id| [&prefix, id.as_bytes()].concat())
                .collect();
            let entries = self.view.multi_get(Space::Index, &keys)?;
            for (id, entry) in ids.iter().zip(entries) {
                let Some(entry) = entry else { continue };
                positions(id, &entry, |position| {
                    bytes += position.len() + size_of::<Vec<u8>>();
                    if bytes <= BYTES_MAX {
                        found.push(position);
                    }
                })?;
                if bytes > BYTES_MAX {
                    return Ok(None);
                }
            }
        }
        found.sort_unstable();
        Ok(Some(found.into()))
    }
}

/// Which of sorted positions lie in a range.
fn between(positions: &[Vec<u8>], from: &[u8], to: Option<&[u8]>) -> Range<usize> {
    let before = |bound: &[u8]| positions.partition_point(|position| &**position < bound);
    let first = before(from);
    first..to.map_or(positions.len(), before).max(first)
}

/// Stored rows, judged a few at a time.
pub(super) struct JudgedFeed<'v> {
    stored: StoredFeed<'v>,
    reader: Reader<'v>,
    index: &'v IndexState,
    /// How many are judged next.
    batch: usize,
    /// Those that may be seen: where they are, and what is stored there.
    seen: VecDeque<(Vec<u8>, Vec<u8>)>,
    /// The row that is shown.
    shown: (Vec<u8>, Vec<u8>),
}

impl<'v> JudgedFeed<'v> {
    pub(super) fn new(reader: &IndexReader<'v>, stored: StoredFeed<'v>) -> Self {
        Self {
            stored,
            reader: reader.documents(),
            index: reader.index,
            batch: JUDGED_FIRST,
            seen: VecDeque::new(),
            shown: (Vec::new(), Vec::new()),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<RowRef<'_>>, EngineError> {
        while self.seen.is_empty() {
            if !self.judge()? {
                return Ok(None);
            }
        }
        let Some(next) = self.seen.pop_front() else {
            return Ok(None);
        };
        self.shown = next;
        row::decode(self.index.collation, &self.shown.0, &self.shown.1).map(Some)
    }

    /// Judges the next rows; false if there are none.
    fn judge(&mut self) -> Result<bool, EngineError> {
        let collation = self.index.collation;
        let mut ids: Vec<String> = Vec::new();
        // Each with the place of its document among the ids: many rows of one lie together.
        let (mut rows, mut bytes) = (Vec::with_capacity(self.batch), 0);
        while rows.len() < self.batch && bytes < JUDGED_BYTES {
            let Some((position, stored)) = self.stored.entry()? else {
                break;
            };
            let row = row::decode(collation, position, stored)?;
            if ids.last().is_none_or(|last| *last != row.id) {
                ids.push(row.id.into_owned());
            }
            bytes += position.len() + stored.len();
            rows.push((ids.len() - 1, position.to_vec(), stored.to_vec()));
        }
        if rows.is_empty() {
            return Ok(false);
        }
        self.batch = (self.batch * 2).min(LOOKED_UP);
        let named: Vec<&str> = ids.iter().map(String::as_str).collect();
        let heads = self.reader.record_heads(&named)?;
        let through = self.index.sequence;
        let visible: Vec<bool> = heads
            .iter()
            .map(|head| head.as_ref().is_some_and(|head| is_seen(head, through)))
            .collect();
        let seen = rows
            .into_iter()
            .filter(|(of, ..)| visible.get(*of) == Some(&true));
        self.seen
            .extend(seen.map(|(_, position, stored)| (position, stored)));
        Ok(true)
    }
}

/// Whether a document is visible, and was when the index came to `through` what it is now.
fn is_seen(head: &RecordHead, through: u64) -> bool {
    !head.winner.deleted && head.sequence <= through
}

/// Rows of which all positions are known.
pub(super) struct FewFeed<'v> {
    view: &'v dyn View,
    index: &'v IndexState,
    prefix: Vec<u8>,
    positions: Arc<[Vec<u8>]>,
    /// Which of them are left.
    left: Range<usize>,
    direction: Direction,
    value: Vec<u8>,
}

impl<'v> FewFeed<'v> {
    pub(super) fn new(
        reader: &IndexReader<'v>,
        positions: Arc<[Vec<u8>]>,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
    ) -> Self {
        let left = between(&positions, from, to);
        Self {
            view: reader.view,
            index: reader.index,
            prefix: row::rows(reader.database, reader.index.number, 0),
            positions,
            left,
            direction,
            value: Vec::new(),
        }
    }

    pub(super) fn skip(&mut self) -> Option<&[u8]> {
        let at = match self.direction {
            Direction::Forward => self.left.next(),
            Direction::Reverse => self.left.next_back(),
        };
        Some(self.positions.get(at?)?.as_slice())
    }

    pub(super) fn next(&mut self) -> Result<Option<RowRef<'_>>, EngineError> {
        let at = match self.direction {
            Direction::Forward => self.left.next(),
            Direction::Reverse => self.left.next_back(),
        };
        let Some(position) = at.and_then(|at| self.positions.get(at)) else {
            return Ok(None);
        };
        let key = [&self.prefix, position.as_slice()].concat();
        let stored = self.view.get(Space::Index, &key)?;
        self.value = stored.ok_or_else(|| corrupt("a row that the back index names"))?;
        row::decode(self.index.collation, position, &self.value).map(Some)
    }
}

//! Reading an index: rows in either direction, and counts that need not walk them.
//!
//! In a scope, rows of documents that the reader may not see are not there for anything that is read:
//! each row's document is judged on the way (`scoped.rs`), and stored nodes, which know no readers,
//! are not used.

use std::ops::ControlFlow;

use adea_base::Scope;
use adea_store::{Cursor, Direction, EngineError, KeyRange, Space, View};

use super::position::{RowPosition, RowRange};
use super::row::{self, RowRef};
use super::scoped::{FewFeed, FewRows, JudgedFeed};
use super::state::IndexState;
use super::tree::Trees;
use crate::keys::DatabaseNumber;

/// An index at a moment, and the right to see some of it.
#[derive(Clone)]
pub struct IndexReader<'v> {
    /// The moment that is read.
    pub view: &'v dyn View,
    /// The database.
    pub database: DatabaseNumber,
    /// Which of its documents may be seen.
    pub scope: Scope,
    /// The index, as this moment shows it.
    pub index: &'v IndexState,
    /// The rows that may be seen, where they are few.
    pub(super) few: FewRows,
}

impl<'v> IndexReader<'v> {
    /// Reads `index` in a scope.
    #[must_use]
    pub fn new(
        view: &'v dyn View,
        database: DatabaseNumber,
        scope: Scope,
        index: &'v IndexState,
    ) -> Self {
        Self {
            view,
            database,
            scope,
            index,
            few: FewRows::default(),
        }
    }

    /// How many levels of nodes may be read: none in a scope.
    pub(super) fn height(&self) -> u8 {
        match self.scope.sight() {
            None => self.index.height,
            Some(_) => 0,
        }
    }

    /// Walks the rows of `range`, until `visit` breaks off. To go on later, walk
    /// [`RowRange::after`] or [`RowRange::before`] the last row's position.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn walk_rows(
        &self,
        range: &RowRange,
        direction: Direction,
        mut visit: impl FnMut(RowRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let mut feed = self.feed(range, direction)?;
        while let Some(row) = feed.next()? {
            if visit(row).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// How many rows lie in `range`, by the count tree.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn count_rows(&self, range: &RowRange) -> Result<u64, EngineError> {
        if *range == RowRange::all() && self.scope.sight().is_none() {
            return Ok(self.index.rows);
        }
        if range.is_empty() {
            return Ok(0);
        }
        let to = range.to.as_ref().map(RowPosition::as_bytes);
        self.count_at(self.height(), range.from.as_bytes(), to)
    }

    pub(super) fn count_at(
        &self,
        level: u8,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<u64, EngineError> {
        let mut count = 0;
        if level == 0 {
            let mut feed = self.feed_between(from, to, Direction::Forward)?;
            while feed.skip()?.is_some() {
                count += 1;
            }
            return Ok(count);
        }
        for part in self.trees().segments(level, from, to)? {
            count += match part.count {
                Some(count) => count,
                None => self.count_at(level - 1, &part.from, part.to.as_deref())?,
            };
        }
        Ok(count)
    }

    /// What is left of `range` behind its first `count` rows in this direction, by the count
    /// tree: what `skip` asks for.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn skip_rows(
        &self,
        range: &RowRange,
        direction: Direction,
        mut count: u64,
    ) -> Result<RowRange, EngineError> {
        self.pass_over(range, direction, &mut count)
    }

    /// As [`IndexReader::skip_rows`]; takes what was passed over off `left`.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn pass_over(
        &self,
        range: &RowRange,
        direction: Direction,
        left: &mut u64,
    ) -> Result<RowRange, EngineError> {
        let range = range.clone();
        if *left == 0 || range.is_empty() {
            return Ok(range);
        }
        let to = range.to.as_ref().map(RowPosition::as_bytes);
        let (from, height) = (range.from.as_bytes(), self.height());
        let last = self.nth(height, from, to, direction, left)?;
        Ok(match (last, direction) {
            (Some(last), Direction::Forward) => range.after(last),
            (Some(last), Direction::Reverse) => range.before(last),
            (None, _) => RowRange {
                to: Some(range.from.clone()),
                from: range.from,
            },
        })
    }

    /// The row that is number `left`, from one, in this direction; takes the rows of the range
    /// off `left` if there are not so many.
    fn nth(
        &self,
        level: u8,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        left: &mut u64,
    ) -> Result<Option<RowPosition>, EngineError> {
        if level == 0 {
            let mut feed = self.feed_between(from, to, direction)?;
            while let Some(position) = feed.skip()? {
                *left -= 1;
                if *left == 0 {
                    return Ok(Some(RowPosition(position.to_vec())));
                }
            }
            return Ok(None);
        }
        let mut parts = self.trees().segments(level, from, to)?;
        if direction == Direction::Reverse {
            parts.reverse();
        }
        for part in parts {
            if let Some(count) = part.count.filter(|count| count < left) {
                *left -= count;
                continue;
            }
            let found = self.nth(level - 1, &part.from, part.to.as_deref(), direction, left)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// What `offset` means: how many rows of the index come before the first of `range` in this
    /// direction.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn offset(&self, range: &RowRange, direction: Direction) -> Result<u64, EngineError> {
        let before = match direction {
            Direction::Forward => RowRange {
                from: RowPosition::default(),
                to: Some(range.from.clone()),
            },
            Direction::Reverse => match &range.to {
                Some(to) => RowRange {
                    from: to.clone(),
                    to: None,
                },
                None => return Ok(0),
            },
        };
        self.count_rows(&before)
    }

    pub(super) fn trees(&self) -> Trees<'v> {
        Trees {
            view: self.view,
            database: self.database,
            index: self.index,
        }
    }

    pub(super) fn feed(
        &self,
        range: &RowRange,
        direction: Direction,
    ) -> Result<RowFeed<'v>, EngineError> {
        let to = range.to.as_ref().map(RowPosition::as_bytes);
        self.feed_between(range.from.as_bytes(), to, direction)
    }

    pub(super) fn feed_between(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
    ) -> Result<RowFeed<'v>, EngineError> {
        if self.scope.sight().is_none() {
            return Ok(RowFeed::Whole(self.stored_between(from, to, direction)?));
        }
        Ok(match self.few_between(from, to)? {
            Some(few) => RowFeed::Few(FewFeed::new(self, few, from, to, direction)),
            None => {
                let stored = self.stored_between(from, to, direction)?;
                RowFeed::Judged(JudgedFeed::new(self, stored))
            }
        })
    }

    /// Rows as they are stored, whoever may see them.
    pub(super) fn stored_between(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
    ) -> Result<StoredFeed<'v>, EngineError> {
        let prefix = row::rows(self.database, self.index.number, from.len());
        let range = KeyRange {
            to: to.map_or_else(
                || KeyRange::prefix(&prefix).to,
                |to| [prefix.as_slice(), to].concat(),
            ),
            from: [prefix.as_slice(), from].concat(),
        };
        Ok(StoredFeed {
            cursor: self.view.range(Space::Index, range, direction)?,
            prefix,
            index: self.index,
        })
    }
}

/// Rows one after the other, of those that may be seen.
pub(super) enum RowFeed<'v> {
    /// All may be.
    Whole(StoredFeed<'v>),
    /// Each is judged when it comes.
    Judged(JudgedFeed<'v>),
    /// All that may be are known.
    Few(FewFeed<'v>),
}

impl RowFeed<'_> {
    pub(super) fn next(&mut self) -> Result<Option<RowRef<'_>>, EngineError> {
        match self {
            Self::Whole(feed) => feed.next(),
            Self::Judged(feed) => feed.next(),
            Self::Few(feed) => feed.next(),
        }
    }

    /// As [`RowFeed::next`], of a row of which only the position matters.
    pub(super) fn skip(&mut self) -> Result<Option<&[u8]>, EngineError> {
        match self {
            Self::Whole(feed) => feed.skip(),
            Self::Judged(feed) => Ok(feed.next()?.map(|row| row.position)),
            Self::Few(feed) => Ok(feed.skip()),
        }
    }
}

/// A row's position, and what is stored there.
type StoredRow<'r> = (&'r [u8], &'r [u8]);

/// Rows one after the other, as they are stored.
pub(super) struct StoredFeed<'v> {
    cursor: Box<dyn Cursor + 'v>,
    prefix: Vec<u8>,
    index: &'v IndexState,
}

impl StoredFeed<'_> {
    /// The next row's position and what is stored there.
    pub(super) fn entry(&mut self) -> Result<Option<StoredRow<'_>>, EngineError> {
        let row = self.cursor.next()?;
        Ok(row.map(|(key, stored)| (key.get(self.prefix.len()..).unwrap_or_default(), stored)))
    }

    pub(super) fn next(&mut self) -> Result<Option<RowRef<'_>>, EngineError> {
        let collation = self.index.collation;
        let Some((position, stored)) = self.entry()? else {
            return Ok(None);
        };
        row::decode(collation, position, stored).map(Some)
    }

    pub(super) fn skip(&mut self) -> Result<Option<&[u8]>, EngineError> {
        Ok(self.entry()?.map(|(position, _)| position))
    }

    /// Goes on at `position`, which is not behind where it stands.
    pub(super) fn seek(&mut self, position: &[u8]) -> Result<(), EngineError> {
        self.cursor
            .seek(&[self.prefix.as_slice(), position].concat())
    }
}

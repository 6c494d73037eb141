//! One moment of a view: its rows, what is counted in front of them, and the documents with them.

use std::ops::ControlFlow;

use adea_documents::index::{self, IndexReader, IndexState, RowRange, RowRef};
use adea_documents::reader::Reader;
use adea_documents::record::{RecordHead, split_body};
use adea_documents::render::{Meta, Rendering};
use adea_documents::revision::Revision;
use adea_store::{Direction, View};

use crate::counts::told_sequence;
use crate::error::PodError;
use crate::pod::Pod;
use crate::views::ask::{ViewAsk, ViewCursor};

/// A view at one moment.
pub struct ViewMoment<'p> {
    view: Box<dyn View + 'p>,
    /// The index; `None` if it was never built.
    state: Option<IndexState>,
}

/// What is told in front of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewHead {
    /// Rows of the whole index, as far as they may be seen, and how many of them come before the first
    /// that is told; `None` where it would be much work to count them.
    pub counts: Option<(u64, u64)>,
}

/// A row, as clients read it.
#[derive(Clone, Debug)]
pub struct ViewRow<'r> {
    /// The document it came from.
    pub id: &'r str,
    /// The key, as JSON.
    pub key: &'r str,
    /// The value, as JSON.
    pub value: &'r str,
}

/// Whether a document was there to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is written.
    Whole,
    /// It was deleted.
    Deleted,
    /// It never was.
    Missing,
}

impl Pod {
    /// The view as it is now.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read; [`PodError::Access`] if who asked was let in by
    /// other rights than are in force now.
    pub fn view_moment(&self, ask: &ViewAsk) -> Result<ViewMoment<'_>, PodError> {
        let view = self.view();
        self.require_page(view.as_ref(), &ask.entry)?;
        let state = index::find(view.as_ref(), ask.entry.number, &ask.plan.signature)?;
        Ok(ViewMoment { view, state })
    }
}

impl ViewMoment<'_> {
    pub(super) fn reader(&self, ask: &ViewAsk) -> Option<IndexReader<'_>> {
        let (view, scope) = (self.view.as_ref(), ask.entry.scope.clone());
        let state = self.state.as_ref()?;
        Some(IndexReader::new(view, ask.entry.number, scope, state))
    }

    /// What is told in front of the rows.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn head(&self, ask: &ViewAsk) -> Result<ViewHead, PodError> {
        let Some(reader) = self.reader(ask) else {
            return Ok(told(0, 0));
        };
        let everything = ask.everything();
        let Some(total_rows) = reader.count_if_few(&everything)? else {
            return Ok(ViewHead { counts: None });
        };
        let Some(first) = first_with_rows(&reader, ask)? else {
            return Ok(told(total_rows, ask.query.skip));
        };
        let before = match ask.direction() {
            Direction::Forward => RowRange {
                from: everything.from,
                to: Some(first.from),
            },
            Direction::Reverse => match first.to {
                Some(to) => RowRange {
                    from: to,
                    to: everything.to,
                },
                None => return Ok(told(total_rows, ask.query.skip)),
            },
        };
        let before = if before.is_empty() {
            0
        } else {
            reader.count_rows(&before)?
        };
        Ok(told(total_rows, before.saturating_add(ask.query.skip)))
    }

    /// How far the index is.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.sequence)
    }

    /// How far the index is, as a place in the feed of the database.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn told_sequence(&self, ask: &ViewAsk) -> Result<String, PodError> {
        told_sequence(self.view.as_ref(), &ask.entry, self.sequence())
    }

    /// Gives the next rows to `visit`, until it has enough.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read; whatever `visit` fails with.
    pub fn rows(
        &self,
        ask: &ViewAsk,
        cursor: &mut ViewCursor,
        mut visit: impl FnMut(&Self, ViewRow<'_>) -> Result<ControlFlow<()>, PodError>,
    ) -> Result<(), PodError> {
        let Some(reader) = self.reader(ask) else {
            cursor.ranges.clear();
            return Ok(());
        };
        let direction = ask.direction();
        while cursor.more() {
            if !skip(&reader, cursor, direction)? {
                continue;
            }
            let Some(range) = cursor.ranges.front() else {
                break;
            };
            let (mut left, mut last, mut outcome) = (cursor.left, None, Ok(()));
            reader.walk_rows(range, direction, |row| {
                left -= 1;
                match self.visit_row(ask, &row, &mut visit) {
                    Ok(ControlFlow::Continue(())) if left > 0 => ControlFlow::Continue(()),
                    Ok(_) => {
                        last = Some(row.to_position());
                        ControlFlow::Break(())
                    }
                    Err(error) => {
                        outcome = Err(error);
                        ControlFlow::Break(())
                    }
                }
            })?;
            outcome?;
            cursor.left = left;
            match last {
                Some(position) => {
                    cursor.move_behind(position, direction);
                    return Ok(());
                }
                None => drop(cursor.ranges.pop_front()),
            }
        }
        Ok(())
    }

    fn visit_row(
        &self,
        ask: &ViewAsk,
        row: &RowRef<'_>,
        visit: &mut impl FnMut(&Self, ViewRow<'_>) -> Result<ControlFlow<()>, PodError>,
    ) -> Result<ControlFlow<()>, PodError> {
        let shown = ViewRow {
            id: row.id.as_ref(),
            key: ask.parts.shown(row.key),
            value: row.value,
        };
        visit(self, shown)
    }

    /// Writes document `id` to `out` as clients read it: its winner, or `revision` of it.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn write_document(
        &self,
        ask: &ViewAsk,
        id: &str,
        revision: Option<&Revision>,
        out: &mut Vec<u8>,
    ) -> Result<Written, PodError> {
        let reader = Reader {
            view: self.view.as_ref(),
            database: ask.entry.number,
            scope: ask.entry.scope.clone(),
        };
        let conflicts = ask.query.conflicts == Some(true);
        let (shown, body, meta) = match (revision, conflicts) {
            (None, false) => {
                let Some(RecordHead { winner, .. }) = reader.record_head(id)? else {
                    return Ok(Written::Missing);
                };
                if winner.deleted {
                    return Ok(Written::Deleted);
                }
                (winner.revision, winner.body, Meta::default())
            }
            _ => {
                let Some(record) = reader.record(id)? else {
                    return Ok(Written::Missing);
                };
                let node = match revision {
                    Some(revision) => record.tree.find(revision),
                    None => record.tree.winner(),
                };
                let Some(node) = node else {
                    return Ok(Written::Missing);
                };
                if revision.is_none() && node.is_deleted() {
                    return Ok(Written::Deleted);
                }
                let mut meta = Meta::default();
                if conflicts {
                    let losers = record.tree.conflicts();
                    meta.conflicts = losers
                        .map(adea_documents::rev_tree::Node::revision)
                        .collect();
                }
                (node.revision(), node.body(), meta)
            }
        };
        let stored = body.map(|body| reader.body(body)).transpose()?.flatten();
        let Some(stored) = stored else {
            return Ok(Written::Missing);
        };
        let (attachments, json) = split_body(&stored)?;
        Rendering {
            id,
            revision: &shown,
            deleted: false,
            json,
            attachments: &attachments,
            meta: &meta,
            encoding_info: ask.query.encoding_info,
        }
        .write(out);
        Ok(Written::Whole)
    }
}

/// Passes over rows that are to be skipped; false if the range at the front held none but those.
fn skip(
    reader: &IndexReader<'_>,
    cursor: &mut ViewCursor,
    direction: Direction,
) -> Result<bool, PodError> {
    if cursor.skip == 0 {
        return Ok(true);
    }
    let Some(range) = cursor.ranges.pop_front() else {
        return Ok(false);
    };
    let rest = reader.pass_over(&range, direction, &mut cursor.skip)?;
    if rest.is_empty() {
        return Ok(false);
    }
    cursor.ranges.push_front(rest);
    Ok(true)
}

fn told(total_rows: u64, offset: u64) -> ViewHead {
    ViewHead {
        counts: Some((total_rows, offset.min(total_rows))),
    }
}

/// The first range that has rows, or the last that has none.
fn first_with_rows(reader: &IndexReader<'_>, ask: &ViewAsk) -> Result<Option<RowRange>, PodError> {
    let mut ranges = ask.ranges();
    while let Some(range) = ranges.pop_front() {
        let mut any = false;
        if !ranges.is_empty() {
            reader.walk_rows(&range, Direction::Forward, |_| {
                any = true;
                ControlFlow::Break(())
            })?;
        }
        if any || ranges.is_empty() {
            return Ok(Some(range));
        }
    }
    Ok(None)
}

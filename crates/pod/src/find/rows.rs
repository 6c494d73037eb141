//! Finding the rows of a walk: what of a plan's ranges is left, and the next rows of it.
//!
//! Ranges lie in the walk's direction and do not meet, so a place that was reached says of each range
//! whether it is behind, ahead, or cut in two.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use adea_documents::index::{IndexReader, RowPosition, RowRange};
use adea_documents::reader::{IdRange, Reader};
use adea_documents::record::RecordHead;
use adea_store::{Direction, EngineError};

use super::MangoIndex;
use super::access::intersection;
use super::bookmark::Bookmark;

/// For each row of a portion, so many deleted documents may be passed over.
const PASSED_OVER: usize = 8;

/// What is left to be walked, in the walk's direction.
pub(super) enum Left {
    Ids(VecDeque<IdRange>),
    Rows(Arc<MangoIndex>, VecDeque<RowRange>),
}

/// A row on its way to an answer.
pub(super) struct Row {
    pub(super) id: String,
    /// Its place in an index; none in the primary one, where the id is the place.
    pub(super) position: Option<RowPosition>,
    pub(super) head: Option<RecordHead>,
    /// Its key, if the index alone answers.
    pub(super) key: Option<String>,
}

/// A place in an index.
pub(super) enum Place {
    Id(String),
    Row(RowPosition),
}

/// Rows that were found, and where the walk broke off, if it did.
#[derive(Default)]
pub(super) struct Found {
    pub(super) rows: Vec<Row>,
    pub(super) walked_to: Option<Place>,
}

impl Left {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Ids(ranges) => ranges.is_empty(),
            Self::Rows(_, ranges) => ranges.is_empty(),
        }
    }

    /// Leaves out what lies before a place, and the place itself.
    pub(super) fn go_behind(&mut self, place: &Place, direction: Direction) {
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

    pub(super) fn reversed(self) -> Self {
        match self {
            Self::Ids(ranges) => Self::Ids(ranges.into_iter().rev().collect()),
            Self::Rows(index, ranges) => Self::Rows(index, ranges.into_iter().rev().collect()),
        }
    }
}

impl Row {
    pub(super) fn place(&self) -> Place {
        match &self.position {
            Some(position) => Place::Row(position.clone()),
            None => Place::Id(self.id.clone()),
        }
    }
}

impl Place {
    pub(super) fn of(bookmark: &Bookmark) -> Self {
        let position = bookmark.position.clone();
        match bookmark.index {
            Some(_) => Self::Row(RowPosition::from_bytes(position)),
            None => Self::Id(String::from_utf8_lossy(&position).into_owned()),
        }
    }
}

/// Keeps the first rows, whose documents may be read at once; how many, if others were there.
pub(super) fn fitting(rows: &mut Vec<Row>, bytes_max: u64) -> Option<usize> {
    let mut bytes = 0;
    let count = rows
        .iter()
        .take_while(|row| {
            let fits = bytes < bytes_max;
            bytes += row.head.as_ref().map_or(0, |head| head.external_bytes);
            fits
        })
        .count();
    let cut = count < rows.len();
    rows.truncate(count);
    cut.then_some(count)
}

/// The next documents of the primary index that are there, and no design documents.
pub(super) fn ids(
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
pub(super) fn index_rows(
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

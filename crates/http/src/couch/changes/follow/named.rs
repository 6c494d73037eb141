//! Pages of documents that are named: looked up by their ids where that is less work than to walk.
//!
//! What is looked up is complete up to one sequence, and the position moves there when all of it was
//! told. A feed that does not wait looks again for what has changed in between, a bounded number of
//! times, as one that walks meets it behind the place where it was.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use adea_pod::{ChangesRange, Marks, Named, PodError};
use adea_store::Direction;

use super::{Feed, PAGE_BYTES, PAGE_PIECES};
use crate::couch::changes::Form;
use crate::couch::changes::filter::Filter;
use crate::couch::changes::page::Page;

/// How many changes a lookup by id is worth: its key lies anywhere, theirs lie side by side.
const LOOKUP_WORTH: u64 = 2;
/// Fewer changes than this are walked before all design documents are looked up.
const WALKED_FOR_DESIGNS: u64 = 200;
/// How often a feed that does not wait looks for what has changed while it was told.
const ROUNDS_MAX: u64 = 8;

impl Feed {
    /// Whether what is behind `after` is looked up by id.
    pub(super) fn looks_up(&self, after: u64) -> Result<bool, PodError> {
        if self.named.is_some() {
            return Ok(true);
        }
        if self.course.is_turning() {
            return Ok(false);
        }
        let pod = &self.app.pod;
        let changes = || pod.changes_after(&self.entry, &self.caller, after);
        Ok(match &self.asked.filter {
            Filter::Ids(ids) => (ids.len() as u64).saturating_mul(LOOKUP_WORTH) <= changes()?,
            Filter::Design => changes()? > WALKED_FOR_DESIGNS,
            Filter::All | Filter::Selector(_) | Filter::Function(_) => false,
        })
    }

    fn find_named(&self, range: ChangesRange) -> Result<Named, PodError> {
        let (pod, entry, caller) = (&self.app.pod, &self.entry, &self.caller);
        let through = if range.until == u64::MAX {
            pod.statistics(entry)?.update_sequence
        } else {
            range.until
        };
        let (after, through) = (range.after, through.max(range.after));
        match &self.asked.filter {
            Filter::Ids(ids) => {
                let ids = ids.iter().map(String::as_str);
                pod.find_named(entry, caller, ids, after, through)
            }
            Filter::Design | Filter::All | Filter::Selector(_) | Filter::Function(_) => {
                pod.find_designs(entry, caller, after, through)
            }
        }
    }

    /// Writes rows until a page is full; true if there may be more right away.
    pub(super) fn named_page(
        &mut self,
        out: &mut Vec<u8>,
        range: ChangesRange,
    ) -> Result<bool, PodError> {
        let mut named = match self.named.take() {
            Some(named) => named,
            None => Box::new(self.find_named(range)?),
        };
        let begin = out.len();
        let mut page = Page {
            asked: &self.asked,
            marks: Marks::new(&self.entry, &self.course),
            out,
            pieces: VecDeque::new(),
            told: self.told,
            at: None,
        };
        let (pod, mut broken) = (&self.app.pod, false);
        let left = pod.read_named_changes(&self.entry, &self.caller, range, &mut named, |row| {
            page.at = Some(row.sequence);
            page.row(row);
            let written = page.out.len().saturating_sub(begin);
            broken = page.told >= page.asked.limit
                || written >= PAGE_BYTES
                || page.pieces.len() >= PAGE_PIECES;
            if broken {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        let Page {
            told, at, pieces, ..
        } = page;
        self.told = told;
        self.pieces.extend(pieces);
        let full = self.is_full();
        let more = left && !full;
        match (range.direction, at) {
            (Direction::Reverse, Some(at)) => self.below = at.saturating_sub(u64::from(more)),
            (Direction::Reverse, None) => self.below = range.after,
            (Direction::Forward, Some(at)) if broken && (left || full) => self.course.reach(at),
            (Direction::Forward, _) => self.course.reach(named.through),
        }
        if more {
            self.named = Some(named);
            return Ok(true);
        }
        let again = named.moved
            && !full
            && self.asked.form == Form::Normal
            && range.direction == Direction::Forward
            && self.late > super::LATE_ROWS_MAX - ROUNDS_MAX;
        self.late = self.late.saturating_sub(u64::from(again));
        Ok(again)
    }
}

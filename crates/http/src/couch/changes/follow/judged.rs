//! Pages that a function of a design document judges.
//!
//! A batch is a future of its own, so that the feed can say that it is alive while the function is
//! at work, and while it lets nothing pass of thousands of changes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use adea_documents::render::Piece;
use adea_pod::{Marks, PodError};
use adea_store::Direction;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Feed, Told};
use crate::couch::changes::Form;
use crate::couch::changes::filter::Filter;
use crate::couch::changes::function::{self, Judged};
use crate::couch::changes::page::Page;
use crate::error::{ApiError, write_row_error};

/// How long a listener who asked for no heartbeat is left without a sign while the function works.
const ALIVE: Duration = Duration::from_secs(20);

/// What a step of judging came to.
enum Step {
    /// A page was written, perhaps an empty one; whether there may be more right away.
    Page(bool),
    /// The function is still at work.
    Working,
    /// There will be nothing more.
    Over,
}

impl Feed {
    /// The first page of a feed that does not wait: what fails here is told as an error.
    pub(super) async fn first_judged_page(&mut self, out: &mut Vec<u8>) -> Result<bool, PodError> {
        loop {
            let before = out.len();
            match self.judged_page(out).await? {
                Step::Page(more) if !more || out.len() > before => return Ok(more),
                Step::Page(_) | Step::Working => {}
                Step::Over => return Ok(false),
            }
        }
    }

    /// Tells what the function lets pass; `None` if there is nothing but to wait.
    pub(super) async fn advance_judged(&mut self) -> Result<Option<Told>, PodError> {
        let mut out = Vec::new();
        loop {
            match self.judged_page(&mut out).await {
                Ok(Step::Page(more)) => {
                    let silent = out.is_empty() && self.pieces.is_empty();
                    if silent && more && Instant::now() < self.due() {
                        continue;
                    }
                    self.alive_at = Instant::now();
                    let piece = if self.pieces.is_empty() {
                        (!out.is_empty()).then(|| Told::Own(Bytes::from(out)))
                    } else {
                        self.pieces.push_back(Piece::Text(out));
                        None
                    };
                    return Ok(self.tell(piece, more));
                }
                Ok(Step::Working) => {
                    self.alive_at = Instant::now();
                    return Ok(Some(self.heartbeat()));
                }
                Ok(Step::Over) => {
                    self.close(&mut out);
                    return Ok(Some(Told::Own(Bytes::from(out))));
                }
                Err(PodError::Access(error)) => return Err(error.into()),
                Err(error) => return self.failed(error),
            }
        }
    }

    /// When the listener is to be told that the feed is alive.
    fn due(&self) -> Instant {
        self.alive_at + self.asked.heartbeat.unwrap_or(ALIVE)
    }

    async fn judged_page(&mut self, out: &mut Vec<u8>) -> Result<Step, PodError> {
        let (after, until, direction) = self.span();
        let Filter::Function(called) = &self.asked.filter else {
            return Ok(Step::Page(false));
        };
        if self.is_full() {
            return Ok(Step::Page(false));
        }
        if after >= until {
            return Ok(Step::Page(self.next_part()));
        }
        let (due, range) = (self.due(), self.range(after, until, direction));
        let judging = self.judging.get_or_insert_with(|| {
            let (app, entry) = (Arc::clone(&self.app), Arc::clone(&self.entry));
            let called = Arc::clone(called);
            let judging = function::judge(called, app, entry, self.caller.clone(), range);
            Mutex::new(judging)
        });
        let judged = tokio::select! {
            biased;
            judged = judging.get_mut() => judged,
            () = self.app.shutdown.wait() => return Ok(Step::Over),
            () = tokio::time::sleep_until(due) => return Ok(Step::Working),
        };
        self.judging = None;
        let judged = judged?;
        if judged.gone {
            return Ok(Step::Over);
        }
        Ok(Step::Page(
            self.write_judged(out, &judged, after, direction),
        ))
    }

    /// Writes what passed; true if there may be more right away.
    fn write_judged(
        &mut self,
        out: &mut Vec<u8>,
        judged: &Judged,
        after: u64,
        direction: Direction,
    ) -> bool {
        let mut page = Page {
            asked: &self.asked,
            marks: Marks::new(&self.entry, &self.course),
            out,
            pieces: VecDeque::new(),
            told: self.told,
            at: None,
        };
        let (mut late, end) = (self.late, self.until);
        let turning = self.course.is_turning();
        let mut full = false;
        for (change, leaves) in &judged.changes {
            page.at = Some(change.sequence);
            page.judged(change, leaves);
            if direction == Direction::Forward && !turning && change.sequence > end {
                late = late.saturating_sub(1);
            }
            full = page.told >= page.asked.limit || late == 0;
            if full {
                break;
            }
        }
        let Page {
            told, at, pieces, ..
        } = page;
        self.told = told;
        self.pieces.extend(pieces);
        self.late = late;
        let more = judged.more && !full;
        match (direction, at) {
            (Direction::Reverse, Some(at)) => self.below = at.saturating_sub(u64::from(more)),
            (Direction::Reverse, None) => self.below = after,
            (Direction::Forward, at) if full || more => self.course.reach(at.unwrap_or(after)),
            (Direction::Forward, _) if self.next_part() => return true,
            (Direction::Forward, at) => self.walked_through(at, after),
        }
        more
    }

    /// Says that the function failed, where that can still be said; else the feed is cut off.
    fn failed(&mut self, error: PodError) -> Result<Option<Told>, PodError> {
        let (before, behind): (&[u8], &[u8]) = match self.asked.form {
            Form::Continuous => (b"", b"\n"),
            Form::EventSource => (b"event: error\ndata: ", b"\n\n"),
            Form::Normal | Form::Longpoll => return Err(error),
        };
        let error = ApiError::from(error);
        let mut line = before.to_vec();
        line.push(b'{');
        write_row_error(&mut line, &error.word(), &error.to_string());
        line.push(b'}');
        line.extend_from_slice(behind);
        self.ended = true;
        Ok(Some(Told::Own(Bytes::from(line))))
    }
}

//! A feed on its way to one listener: reads what is there, then waits for more.
//!
//! The feed is a position, what was asked, and a subscription; views are opened for a page and
//! closed with it, so a listener that waits holds nothing back. Each step tells what is there or
//! waits: for a change, a heartbeat, the end of its time, or the end of the database or the server.
//! Everything that the course has behind it was told or did not pass the filter, and only what was read
//! moves it: no change is missed. Who may listen, and to what, is asked anew whenever that may have
//! changed (`follow/hearing.rs`). Documents that are named are looked up (`follow/named.rs`); what a function
//! must judge is judged in batches (`follow/judged.rs`).

mod hearing;
mod judged;
mod named;
mod sharing;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use adea_base::Caller;
use adea_documents::render::Piece;
use adea_pod::{
    AccessError, ChangesRange, Course, DatabaseEntry, Marks, Named, PodError, Standing,
};
use adea_store::{Direction, Subscription};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use hearing::Again;

use crate::App;
use crate::couch::changes::filter::Filter;
use crate::couch::changes::function::Judging;
use crate::couch::changes::page::Page;
use crate::couch::changes::{Asked, Form};
use crate::couch::sending::{Base64Content, aside};
use crate::router::Exchange;

/// Rows looked at in one view.
const PAGE_ROWS: u64 = 2_000;

/// Bytes written before they are sent.
const PAGE_BYTES: usize = 128 << 10;

/// The same where each is told his own: there is much to look up before the first row of a page.
const OWN_PAGE_BYTES: usize = 512 << 10;

/// Documents that are looked up without keeping anybody waiting.
const FEW_IDS: usize = 100;

/// Bytes of documents that a selector looks at in one view.
const PAGE_SELECTED_BYTES: usize = 1 << 20;

/// Pieces of documents with contents that are held at once.
const PAGE_PIECES: usize = 64;

/// How far a feed that does not wait follows what is written while it is told.
const LATE_ROWS_MAX: u64 = 100_000;

/// A piece of a feed.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// Bytes of its own.
    Own(Bytes),
    /// Bytes shared with others: as they are, and as a whole chunk of HTTP.
    Shared { text: Bytes, framed: Bytes },
}

/// A feed on its way.
pub(crate) struct Feed {
    app: Arc<App>,
    entry: Arc<DatabaseEntry>,
    caller: Caller,
    asked: Box<Asked>,
    subscription: Option<Subscription>,
    /// What may end the feed besides, where it has a listener whose rights may end.
    standing: Option<Box<Standing>>,
    /// The database as it was when it was last asked who may listen.
    known: Option<Arc<DatabaseEntry>>,
    /// Where it is.
    course: Course,
    /// Where a walk downwards is.
    below: u64,
    /// Up to here there may be something to tell.
    until: u64,
    told: u64,
    /// Rows left that may be told beyond `until`, by a feed that does not wait.
    late: u64,
    /// What is written and not yet sent, where contents are to be sent along.
    pieces: VecDeque<Piece>,
    /// The content that is being sent.
    content: Option<Base64Content>,
    /// Documents that were looked up and are still to be told.
    named: Option<Box<Named>>,
    /// The batch that a function is judging. The lock is never taken: it only says that nobody
    /// polls from two threads at once.
    judging: Option<Mutex<Judging>>,
    /// When the listener was last sent something.
    alive_at: Instant,
    opened: bool,
    ended: bool,
    ends_at: Option<Instant>,
}

impl Feed {
    /// A feed from where it was asked to begin.
    pub(super) fn new(
        exchange: &Exchange,
        entry: Arc<DatabaseEntry>,
        asked: Asked,
        newest: u64,
        subscription: Option<Subscription>,
    ) -> Self {
        // One that does not wait is over before long, unless it has much to tell of what may be lost.
        let listens = subscription.is_some()
            || asked.heartbeat.is_some()
            || asked.attachments
            || entry.tells_each_his_own();
        let pod = &exchange.app.pod;
        let standing = listens.then(|| pod.follow_caller(&exchange.caller));
        Self {
            app: Arc::clone(&exchange.app),
            entry,
            caller: exchange.caller.clone(),
            standing: standing.flatten(),
            known: None,
            course: if asked.descending {
                asked.since.downwards()
            } else {
                asked.since
            },
            below: newest,
            until: newest,
            asked: Box::new(asked),
            subscription,
            told: 0,
            late: LATE_ROWS_MAX,
            pieces: VecDeque::new(),
            content: None,
            named: None,
            judging: None,
            alive_at: Instant::now(),
            opened: false,
            ended: false,
            ends_at: None,
        }
    }

    /// How the feed is told.
    pub(crate) fn form(&self) -> Form {
        self.asked.form
    }

    /// Writes what stands before the first row.
    pub(crate) fn open(&mut self, out: &mut Vec<u8>) {
        self.opened = true;
        if matches!(self.asked.form, Form::Normal | Form::Longpoll) {
            out.extend_from_slice(b"{\"results\":[\n");
        }
    }

    /// Writes what stands behind the last row.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) {
        self.ended = true;
        let mut last = Vec::new();
        let marks = Marks::new(&self.entry, &self.course);
        if self.asked.descending && self.told > 0 {
            marks.row(&mut last, self.below);
        } else {
            marks.end(&mut last);
        }
        let last = String::from_utf8_lossy(&last);
        let pending = self.pending().unwrap_or(0);
        let end = match self.asked.form {
            Form::Normal | Form::Longpoll => {
                format!("\n],\n\"last_seq\":\"{last}\",\"pending\":{pending}}}\n\n")
            }
            Form::Continuous => {
                format!("{{\"last_seq\":\"{last}\",\"pending\":{pending}}}\n\n")
            }
            Form::EventSource => "\n".to_owned(),
        };
        out.extend_from_slice(end.as_bytes());
    }

    /// How many changes are left behind the last one told.
    fn pending(&self) -> Result<u64, PodError> {
        let pod = &self.app.pod;
        if !self.asked.descending {
            return pod.rows_left(&self.entry, &self.caller, self.course);
        }
        let all = if self.entry.tells_each_his_own() {
            pod.changes_after(&self.entry, &self.caller, 0)?
        } else {
            pod.statistics(&self.entry)?.changes()
        };
        Ok(all.saturating_sub(self.told))
    }

    /// Whether no more rows may be told.
    fn is_full(&self) -> bool {
        self.told >= self.asked.limit
    }

    /// Does a step of the feed; one by a selector, which looks into documents, waits for its turn and
    /// keeps no other task waiting, and so does one that looks up many documents.
    async fn in_turn<T>(&mut self, step: impl FnOnce(&mut Self) -> T) -> T {
        let (after, until, _) = self.span();
        let heavy = match &self.asked.filter {
            Filter::Selector(_) => true,
            Filter::Ids(ids) => ids.len() > FEW_IDS,
            Filter::All | Filter::Design | Filter::Function(_) => false,
        };
        if after >= until || !heavy {
            return step(self);
        }
        let app = Arc::clone(&self.app);
        let _turn = app.feeds.turn().await;
        aside(|| step(self))
    }

    /// The first page of a feed that is not sent before it is known whether it is the only one.
    pub(super) async fn first_page(&mut self, out: &mut Vec<u8>) -> Result<bool, PodError> {
        let mut turns = 0;
        loop {
            let page = if matches!(self.asked.filter, Filter::Function(_)) {
                Box::pin(self.first_judged_page(out)).await
            } else {
                self.in_turn(|feed| feed.page(out)).await
            };
            match page {
                Ok(more) => return Ok(more),
                Err(error) => match self.after_failing(error, &mut turns).await? {
                    Again::Read => {}
                    Again::Wait | Again::Over => return Err(AccessError::Turned.into()),
                },
            }
        }
    }

    /// How much is written before it is sent.
    fn page_bytes(&self) -> usize {
        if self.entry.tells_each_his_own() {
            OWN_PAGE_BYTES
        } else {
            PAGE_BYTES
        }
    }

    /// What is left to walk through: behind which sequence, up to which, and which way.
    fn span(&self) -> (u64, u64, Direction) {
        if self.asked.descending {
            let after = self.course.position().min(self.below);
            (after, self.below, Direction::Reverse)
        } else if self.course.is_turning() {
            (self.course.after(), self.course.end(), Direction::Forward)
        } else if self.asked.form == Form::Normal {
            // To the end of what is read: a document that is changed while it is walked to moves
            // behind `until`, and whoever asks only once would miss it.
            (self.course.position(), u64::MAX, Direction::Forward)
        } else {
            (self.course.position(), self.until, Direction::Forward)
        }
    }

    /// Reads and writes rows until a page is full; true if there may be more right away.
    fn page(&mut self, out: &mut Vec<u8>) -> Result<bool, PodError> {
        let begin = out.len();
        loop {
            if self.is_full() {
                return Ok(false);
            }
            match self.part_page(out) {
                Ok(false) => {}
                // What was written before was told by the rights of its moment.
                Err(PodError::Access(_)) if out.len() > begin => return Ok(true),
                more => return more,
            }
            // At the end of what was lost comes what was gained, and then what has changed.
            if self.is_full() || !self.next_part() {
                return Ok(false);
            }
            if out.len().saturating_sub(begin) >= self.page_bytes() || !self.pieces.is_empty() {
                return Ok(true);
            }
        }
    }

    /// Goes on to the next part of what is told, if there is one.
    fn next_part(&mut self) -> bool {
        let turning = self.course.is_turning();
        if turning {
            self.course.next_part();
        }
        turning
    }

    /// Everything up to `at`, the last row, was told, and nothing lies behind it.
    fn walked_through(&mut self, at: Option<u64>, after: u64) {
        let end = self.until;
        self.course.reach(match at {
            None => end.max(after),
            // To look again is dear where it is looked in many places.
            Some(at) if self.entry.tells_each_his_own() => end.max(at),
            Some(at) => at,
        });
    }

    /// Reads and writes rows of one part; true if there may be more of it right away.
    fn part_page(&mut self, out: &mut Vec<u8>) -> Result<bool, PodError> {
        let (after, until, direction) = self.span();
        if after >= until {
            return Ok(false);
        }
        let range = self.range(after, until, direction);
        if self.looks_up(after)? {
            return self.named_page(out, range);
        }
        let by_selector = self.asked.filter.looks_inside();
        let begin = out.len();
        let mut page = Page {
            asked: &self.asked,
            marks: Marks::new(&self.entry, &self.course),
            out,
            pieces: VecDeque::new(),
            told: self.told,
            at: None,
        };
        let (mut looked, mut selected, mut more) = (0, 0, false);
        let (mut late, end, page_bytes) = (self.late, self.until, self.page_bytes());
        let turning = self.course.is_turning();
        self.app
            .pod
            .read_changes(&self.entry, &self.caller, range, |row| {
                looked += 1;
                page.at = Some(row.sequence);
                if by_selector {
                    selected += row.document.as_ref().map_or(0, |found| found.json.len());
                }
                page.row(row);
                if direction == Direction::Forward && !turning && row.sequence > end {
                    late = late.saturating_sub(1);
                }
                let full = page.told >= page.asked.limit || late == 0;
                let written = page.out.len().saturating_sub(begin);
                let heavy = written >= page_bytes
                    || selected >= PAGE_SELECTED_BYTES
                    || page.pieces.len() >= PAGE_PIECES;
                more = !full && (looked >= PAGE_ROWS || heavy);
                if full || more {
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
        self.late = late;
        let full = self.is_full() || late == 0;
        match (direction, at) {
            (Direction::Reverse, Some(at)) => self.below = at.saturating_sub(u64::from(more)),
            (Direction::Reverse, None) => self.below = after,
            (Direction::Forward, Some(at)) if full || more => self.course.reach(at),
            (Direction::Forward, _) if turning => {}
            (Direction::Forward, at) => self.walked_through(at, after),
        }
        Ok(more)
    }

    /// What is read of a part of the feed.
    fn range(&self, after: u64, until: u64, direction: Direction) -> ChangesRange {
        let asked = &self.asked;
        let inside = asked.filter.looks_inside();
        ChangesRange {
            after,
            until,
            direction,
            part: self.course.part(),
            bodies: asked.include_docs || inside,
            conflicts: asked.conflicts && asked.include_docs,
            leaves: asked.all_leaves,
            leaf_bodies: asked.all_leaves && inside,
        }
    }

    /// The next piece to send; `None` when the feed has ended. Waits as long as it takes.
    pub(crate) async fn next(&mut self) -> Result<Option<Told>, PodError> {
        if let Some(piece) = self.next_piece().await? {
            return Ok(Some(Told::Own(piece)));
        }
        if self.ended {
            return Ok(None);
        }
        if !self.opened {
            let mut out = Vec::new();
            self.open(&mut out);
            // A listener is told at once that he is heard.
            if !out.is_empty() {
                return Ok(Some(Told::Own(Bytes::from(out))));
            }
        }
        let mut turns = 0;
        loop {
            if !self.is_heard().await? {
                return Ok(Some(self.over()));
            }
            if let Some(subscription) = &mut self.subscription {
                subscription.mark_seen();
                self.until = self.until.max(subscription.position());
            }
            let told = if matches!(self.asked.filter, Filter::Function(_)) {
                Box::pin(self.advance_judged()).await
            } else {
                self.in_turn(Self::advance).await
            };
            let told = match told {
                Ok(told) => told,
                Err(error) => match self.after_failing(error, &mut turns).await? {
                    Again::Read => continue,
                    Again::Wait => None,
                    Again::Over => return Ok(Some(self.over())),
                },
            };
            if let Some(piece) = told {
                return Ok(Some(piece));
            }
            if let Some(piece) = self.next_piece().await? {
                return Ok(Some(Told::Own(piece)));
            }
            if let Some(piece) = self.wait().await? {
                return Ok(Some(piece));
            }
        }
    }

    /// The end of the feed, in good order.
    fn over(&mut self) -> Told {
        let mut out = Vec::new();
        self.close(&mut out);
        Told::Own(Bytes::from(out))
    }

    /// The next of the pieces that wait to be sent.
    async fn next_piece(&mut self) -> Result<Option<Bytes>, PodError> {
        loop {
            if let Some(content) = &mut self.content {
                match content.next().await? {
                    Some(encoded) => return Ok(Some(encoded)),
                    None => self.content = None,
                }
            }
            match self.pieces.pop_front() {
                None => return Ok(None),
                Some(Piece::Text(text)) if text.is_empty() => {}
                Some(Piece::Text(text)) => return Ok(Some(Bytes::from(text))),
                Some(Piece::Data(attachment)) => {
                    let pod = &self.app.pod;
                    self.content = Some(Base64Content::open(pod, &attachment).await?);
                }
            }
        }
    }

    /// Tells what is there; `None` if there is nothing but to wait.
    fn advance(&mut self) -> Result<Option<Told>, PodError> {
        let (piece, more) = self.shared_page()?;
        Ok(self.tell(piece, more))
    }

    /// What is to be sent after a page: it, the end, a sign that we are alive, or nothing.
    fn tell(&mut self, piece: Option<Told>, more: bool) -> Option<Told> {
        let told = piece.is_some() || !self.pieces.is_empty();
        let over = self.is_full()
            || match self.asked.form {
                Form::Normal => !more,
                // It ends with the first rows; one that walks downwards never waits.
                Form::Longpoll => !more && (self.told > 0 || self.asked.descending),
                Form::Continuous | Form::EventSource => !more && self.asked.descending,
            };
        if told {
            self.ends_at = None;
        }
        if over {
            let mut out = match piece {
                Some(Told::Own(text) | Told::Shared { text, .. }) => text.to_vec(),
                None => Vec::new(),
            };
            self.close(&mut out);
            if !self.pieces.is_empty() {
                self.pieces.push_back(Piece::Text(out));
                return None;
            }
            return Some(Told::Own(Bytes::from(out)));
        }
        if !told && more {
            // Nothing of a whole page passed the filter: show that we are alive, and go on.
            return Some(self.heartbeat());
        }
        piece
    }

    fn heartbeat(&self) -> Told {
        Told::Own(match self.asked.form {
            Form::EventSource => Bytes::from_static(b"event: heartbeat\ndata: \n\n"),
            Form::Normal | Form::Longpoll | Form::Continuous => Bytes::from_static(b"\n"),
        })
    }

    /// Waits for a change; gives a heartbeat or the end when they are due first.
    async fn wait(&mut self) -> Result<Option<Told>, PodError> {
        let Some(subscription) = &mut self.subscription else {
            return Ok(None);
        };
        let due = match self.asked.heartbeat {
            Some(heartbeat) => Instant::now() + heartbeat,
            None => *self
                .ends_at
                .get_or_insert_with(|| Instant::now() + self.asked.timeout),
        };
        // The last change that was taken as seen may have been the end itself.
        let closed = subscription.is_closed();
        tokio::select! {
            biased;
            () = std::future::ready(()), if closed => {}
            () = subscription.changed() => {
                if !subscription.is_closed() {
                    return Ok(None);
                }
            }
            () = self.app.shutdown.wait() => {}
            () = Standing::due_of(&mut self.standing) => return Ok(None),
            () = tokio::time::sleep_until(due) => {
                if self.asked.heartbeat.is_some() {
                    return Ok(Some(self.heartbeat()));
                }
                let mut out = Vec::new();
                if self.asked.form != Form::EventSource {
                    out.push(b'\n');
                }
                self.close(&mut out);
                return Ok(Some(Told::Own(Bytes::from(out))));
            }
        }
        // The database or the server goes.
        Ok(Some(self.over()))
    }
}

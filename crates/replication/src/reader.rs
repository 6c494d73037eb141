//! Reading a source's feed page by page, and cutting it into batches.
//!
//! Batches go into a channel that holds few: a source is read no faster than its documents are carried
//! over. A feed must go forward: one that stands still or turns back again and again is a source that
//! is wrong, and not a reason to run for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::batch::Route;
use crate::error::ReplicationError;
use crate::peer::{ChangeRow, ChangesAsked, ChangesPage, PeerError};
use crate::sequence::Sequence;

/// Rows of a page.
const PAGE_ROWS: usize = 5_000;
/// How often the numbers of a feed may go back: shards of a cluster that are replaced do that.
const TURNS_MAX: usize = 3;
/// The least time between two pages that should have waited and told nothing.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// What a reader tells.
#[derive(Debug)]
pub(crate) enum Told {
    /// Some changes.
    Batch(Batch),
    /// Everything was told; it waits for more.
    CaughtUp(Sequence),
    /// Everything was told.
    End(Sequence),
    /// It cannot go on.
    Failed(ReplicationError),
}

/// Changes that are carried over together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) rows: Vec<ChangeRow>,
    /// Where the feed stands behind them.
    pub(crate) through: Sequence,
    /// Changes left behind them.
    pub(crate) pending: Option<u64>,
}

/// What is read, and how.
pub(crate) struct Reader {
    pub(crate) route: Arc<Route>,
    pub(crate) asked: ChangesAsked,
    pub(crate) continuous: bool,
    pub(crate) since: Sequence,
    pub(crate) told: mpsc::Sender<Told>,
}

/// Whoever listens went away: there is nothing more to do.
struct Gone;

impl Reader {
    /// Reads until the end, or for ever.
    pub(crate) async fn run(mut self) {
        if let Err(error) = self.read().await {
            // Nobody listens any more: then nobody needs to know.
            drop(self.told.send(Told::Failed(error)).await);
        }
    }

    async fn read(&mut self) -> Result<(), ReplicationError> {
        self.asked.limit = self.asked.limit.clamp(1, PAGE_ROWS);
        let (mut wait, mut turns) = (false, 0);
        loop {
            let begun = Instant::now();
            let page = self.page(wait).await?;
            self.check(&page, &mut turns)?;
            let (count, pending) = (page.rows.len(), page.pending.unwrap_or(0));
            self.since = page.last.clone();
            let short = count < self.asked.limit && (count == 0 || pending == 0);
            let (empty, last) = (count == 0, page.last.clone());
            if self.tell_page(page).await.is_err() {
                return Ok(());
            }
            if !short {
                wait = false;
                continue;
            }
            let news = if self.continuous {
                Told::CaughtUp(last)
            } else {
                Told::End(last)
            };
            if self.told.send(news).await.is_err() || !self.continuous {
                return Ok(());
            }
            if wait && empty {
                tokio::time::sleep(WAIT_MIN.saturating_sub(begun.elapsed())).await;
            }
            wait = true;
        }
    }

    async fn page(&mut self, wait: bool) -> Result<ChangesPage, ReplicationError> {
        loop {
            let route = &self.route;
            let asking = || route.source.changes(&self.asked, &self.since, wait);
            match route.patience.ask(&route.stop, asking).await {
                Err(PeerError::TooLarge) if self.asked.limit > 1 => self.asked.limit /= 2,
                Err(error) => return Err(route.source_error("_changes", error)),
                Ok(page) => return Ok(page),
            }
        }
    }

    fn check(&self, page: &ChangesPage, turns: &mut usize) -> Result<(), ReplicationError> {
        let nonsense = |reason: &str| {
            let error = PeerError::Nonsense(reason.to_owned());
            self.route.source_error("_changes", error)
        };
        if !page.rows.is_empty() && page.last.as_parameter() == self.since.as_parameter() {
            return Err(nonsense("the feed does not go forward"));
        }
        if page.last.number() < self.since.number() {
            *turns += 1;
            if *turns > TURNS_MAX {
                return Err(nonsense("the feed goes back again and again"));
            }
        }
        Ok(())
    }

    /// Cuts a page into batches that end where the source told its place.
    async fn tell_page(&self, page: ChangesPage) -> Result<(), Gone> {
        let size = self.route.tuning.batch;
        let ChangesPage {
            rows,
            last,
            pending,
        } = page;
        let mut left = pending.map(|pending| pending.saturating_add(rows.len() as u64));
        let mut batch = Vec::with_capacity(rows.len().min(size));
        let mut rows = rows.into_iter().peekable();
        while let Some(row) = rows.next() {
            let place = row.sequence.clone();
            batch.push(row);
            left = left.map(|left| left.saturating_sub(1));
            let through = match (rows.peek(), place) {
                (None, _) => last.clone(),
                (Some(_), Some(place)) if batch.len() >= size => place,
                (Some(_), _) => continue,
            };
            let told = Batch {
                rows: std::mem::take(&mut batch),
                through,
                pending: left,
            };
            self.told.send(Told::Batch(told)).await.map_err(|_| Gone)?;
        }
        Ok(())
    }
}

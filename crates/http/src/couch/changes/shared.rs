//! Pages that many listeners are told: read and written by the first, found here by the others.
//!
//! Listeners that wait at the same place are woken by the same commit and would all read the same
//! rows. A page is known by all that its bytes depend on, so what is found is what the listener could
//! have written itself when it was woken; what has changed since has a later sequence and is told
//! after it. A bounded number of pages is kept, the oldest go first; one that is gone is read again.

use adea_pod::DatabaseFace;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::couch::changes::Form;

/// How many pages are kept: a page lives for as long as its listeners take to be told.
const SHARED_PAGES: usize = 64;

/// How many pages by a selector are read at once: each keeps a processor busy.
const SELECTING: usize = 2;

/// What feeds share: pages that listeners who wait at the same place are told, read and written
/// once, and the turns of those that select.
#[derive(Debug)]
pub struct FeedCache {
    pages: Mutex<Vec<(PageKey, SharedPage)>>,
    selecting: Semaphore,
}

impl Default for FeedCache {
    fn default() -> Self {
        Self {
            pages: Mutex::default(),
            selecting: Semaphore::new(SELECTING),
        }
    }
}

/// What a page's bytes depend on, where all who read the same face of a database are told the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageKey {
    pub(super) database: u64,
    pub(super) face: DatabaseFace,
    /// The generation of the rule that says who may read what.
    pub(super) labels: u64,
    pub(super) after: u64,
    pub(super) until: u64,
    pub(super) form: Form,
    pub(super) all_leaves: bool,
    pub(super) include_docs: bool,
    pub(super) conflicts: bool,
    pub(super) encoding_info: bool,
    pub(super) comma: bool,
}

/// A page, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct SharedPage {
    pub(super) text: Bytes,
    pub(super) framed: Bytes,
    pub(super) rows: u64,
    pub(super) position: u64,
}

impl FeedCache {
    /// Waits for the turn to read a page by a selector. It is never closed, so there is one.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.selecting.acquire().await.ok()
    }

    /// The page that depends on `key`, if it is still kept.
    pub(super) fn get(&self, key: &PageKey) -> Option<SharedPage> {
        let pages = self.pages.lock();
        let found = pages.iter().find(|(known, _)| known == key);
        found.map(|(_, page)| page.clone())
    }

    /// Keeps a page, in place of the oldest.
    pub(super) fn insert(&self, key: PageKey, page: SharedPage) {
        let mut pages = self.pages.lock();
        if pages.len() >= SHARED_PAGES {
            pages.remove(0);
        }
        pages.push((key, page));
    }
}

//! Which documents a reader may see, as a value that travels to where documents are read.
//!
//! Documents are indexed under *labels*: a label is a set of members, and what a member is nobody
//! below crate `access` knows. A [`Sight`] says of each label in which spans of the store's one order
//! its reader could see what stood under it. Everything a reader is shown follows from that: what is
//! visible now, what is gone from his sight and when, and how often it came back.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};

/// A stretch of the store's order in which a reader could see a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first sequence of it.
    pub from: u64,
    /// The first sequence behind it; [`Span::OPEN`] if it lasts.
    pub to: u64,
    /// How many stretches were taken together in this one; at least 1.
    pub times: u32,
}

impl Span {
    /// The end of a span that lasts.
    pub const OPEN: u64 = u64::MAX;

    /// All of the order.
    pub const ALWAYS: Self = Self {
        from: 0,
        to: Self::OPEN,
        times: 1,
    };

    /// Whether it lasts.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.to == Self::OPEN
    }

    /// Whether `sequence` lies in it.
    #[must_use]
    pub fn contains(&self, sequence: u64) -> bool {
        self.from <= sequence && sequence < self.to
    }
}

/// Which labels a reader ever saw, to walk what stands under them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Labels with any members.
    Everything,
    /// Labels that have one of these members.
    Members(Arc<[Arc<str>]>),
    /// The label of this name.
    Label(Arc<str>),
}

/// What a reader may see.
pub trait Sight: Send + Sync + Debug {
    /// When the reader could see what stands under the label of this name with these members:
    /// disjoint spans, the oldest first.
    fn spans(&self, name: &str, members: &[Arc<str>]) -> Vec<Span>;

    /// The labels to look at: all for which [`Sight::spans`] is not empty are among them.
    fn reach(&self) -> Reach;

    /// The last sequence at which the reader gained or lost something; 0 if never. Labels' spans
    /// differ before and after it, and nowhere later.
    fn turned_at(&self) -> u64;

    /// Names the reader among those of the database, for what is kept for him alone.
    fn reader(&self) -> &str;

    /// Notes that the reader is shown something of the change at `sequence`.
    fn serve(&self, sequence: u64) {
        let _ = sequence;
    }

    /// Secret of this installation that virtual revisions are made with.
    fn key(&self) -> &[u8; 32];
}

/// The right to see some documents of a database.
///
/// Rights are values: nothing reads documents without one, and only crate `access` makes them.
#[derive(Clone, Debug)]
pub struct Scope(Option<Limits>);

#[derive(Clone, Debug)]
struct Limits {
    sight: Arc<dyn Sight>,
    /// Spans of labels by their numbers, which mean the same for ever.
    known: Arc<RwLock<HashMap<u64, Arc<[Span]>>>>,
}

/// How many labels' spans are remembered; forgetting all beyond is crude, and rare.
const KNOWN_MAX: usize = 100_000;

impl Scope {
    /// Every document: for the server's own work, and for who may see the aggregate.
    #[must_use]
    pub fn aggregate() -> Self {
        Self(None)
    }

    /// What `sight` sees.
    #[must_use]
    pub fn of(sight: Arc<dyn Sight>) -> Self {
        Self(Some(Limits {
            sight,
            known: Arc::default(),
        }))
    }

    /// What limits it; `None` if nothing does.
    #[must_use]
    pub fn sight(&self) -> Option<&Arc<dyn Sight>> {
        self.0.as_ref().map(|limits| &limits.sight)
    }

    /// The spans of the label with this number, made by `make` where they were not asked for before.
    ///
    /// # Errors
    /// What `make` fails with.
    pub fn spans_of<E>(
        &self,
        label: u64,
        make: impl FnOnce() -> Result<Vec<Span>, E>,
    ) -> Result<Arc<[Span]>, E> {
        let Some(limits) = &self.0 else {
            return Ok(Arc::from([Span::ALWAYS]));
        };
        // A lock that somebody left in panic holds nothing that is wrong.
        let read = limits.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(spans) = read.get(&label) {
            return Ok(Arc::clone(spans));
        }
        drop(read);
        let spans: Arc<[Span]> = make()?.into();
        let mut known = limits.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(label, Arc::clone(&spans));
        Ok(spans)
    }
}

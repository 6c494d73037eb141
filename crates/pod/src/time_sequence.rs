//! When a sequence was: a short table of moments, and the store's sequence at each.
//!
//! Sequences are the store's own, so one table does for all databases. A row is added at most once a
//! minute, and only if something was written; rows thin out with age, so that the table stays small
//! and tells the hour of yesterday and the month of long ago. It is one value, written whole.
//!
//! Invariant: what has a sequence up to a row's was written by that row's moment, and what has a
//! greater one after it. Whoever asks for a moment gets the row before it: rather too much than too
//! little is told of what came after, and rather too little is taken for older.

use adea_documents::DatabaseNumber;
use adea_store::key::{POD, put_ordered};
use adea_store::value::{Reader, put_varint};
use adea_store::{EngineError, Space, View};

use crate::databases::{DatabaseEntry, reader};
use crate::error::PodError;
use crate::pod::Pod;

/// The table.
const MOMENTS: &[u8] = &[POD, b't'];
/// Of a database whose history of times was reset: from which sequence on it counts.
const RESETS: &[u8] = &[POD, b'T'];
const FORMAT: u8 = 1;

/// The least time between two rows.
const STEP_S: u64 = 60;
/// Of what lies `n` seconds back, rows stand at least `n / FINENESS` apart.
const FINENESS: u64 = 16;
/// Room for the whole past: a row is dropped where the rule above leaves more.
const MOMENTS_MAX: usize = 512;

/// A moment, and the store's sequence then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) unix_s: u64,
    pub(crate) sequence: u64,
}

/// The table, oldest first; both times and sequences rise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moments(Vec<Moment>);

impl Moments {
    pub(crate) fn load(view: &dyn View) -> Result<Self, EngineError> {
        view.get(Space::Index, MOMENTS)?
            .map_or(Ok(Self::default()), |bytes| {
                Self::decode(&bytes)
                    .ok_or_else(|| EngineError::Corrupt("the times of sequences".to_owned()))
            })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        let mut before = (0, 0);
        for moment in &self.0 {
            put_varint(&mut out, moment.unix_s - before.0);
            put_varint(&mut out, moment.sequence - before.1);
            before = (moment.unix_s, moment.sequence);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        (reader.byte()? == FORMAT).then_some(())?;
        let mut moments = Vec::new();
        let mut before = Moment {
            unix_s: 0,
            sequence: 0,
        };
        while !reader.is_empty() {
            before = Moment {
                unix_s: before.unix_s.checked_add(reader.varint()?)?,
                sequence: before.sequence.checked_add(reader.varint()?)?,
            };
            moments.push(before);
        }
        Some(Self(moments))
    }

    /// Adds a row, if it is time for one and something was written since the last.
    fn add(&mut self, now: Moment) -> bool {
        let due = self.0.last().is_none_or(|last| {
            now.unix_s >= last.unix_s.saturating_add(STEP_S) && now.sequence > last.sequence
        });
        if due && now.sequence > 0 {
            self.0.push(now);
            self.thin(now.unix_s);
            return true;
        }
        false
    }

    /// Drops rows that stand closer together than their age asks for.
    fn thin(&mut self, now_s: u64) {
        let newest = self.0.last().copied();
        let mut kept: Vec<Moment> = Vec::with_capacity(self.0.len());
        for moment in &self.0 {
            let apart = now_s.saturating_sub(moment.unix_s) / FINENESS;
            let far = kept
                .last()
                .is_none_or(|last| moment.unix_s - last.unix_s >= apart.max(STEP_S));
            if far || newest == Some(*moment) {
                kept.push(*moment);
            }
        }
        let superfluous = kept.len().saturating_sub(MOMENTS_MAX);
        kept.drain(..superfluous);
        self.0 = kept;
    }

    /// When a sequence was given, at the earliest; `None` before the first row.
    pub(crate) fn when(&self, sequence: u64) -> Option<u64> {
        let before = self.0.partition_point(|moment| moment.sequence < sequence);
        let before = before.checked_sub(1).and_then(|at| self.0.get(at));
        before.map(|moment| moment.unix_s)
    }

    /// The greatest sequence of which it is known that it was there at `unix_s`; 0 if of none.
    pub(crate) fn at(&self, unix_s: u64) -> u64 {
        let behind = self.0.partition_point(|moment| moment.unix_s <= unix_s);
        let before = behind.checked_sub(1).and_then(|at| self.0.get(at));
        before.map_or(0, |moment| moment.sequence)
    }
}

/// Where it is kept from when on a database's times count.
pub(crate) fn reset_key(number: DatabaseNumber) -> Vec<u8> {
    let mut key = RESETS.to_vec();
    put_ordered(&mut key, number.0);
    key
}

impl Pod {
    /// Notes which sequence the store has now, if it is time for that. One task does it.
    ///
    /// # Errors
    /// [`PodError::Commit`] if it cannot be stored.
    pub async fn note_time(&self) -> Result<(), PodError> {
        // The sequence first, and the moment rounded up: all that has one was written by then.
        let sequence = self.inner.store.sequence();
        let unix_s = self.inner.clock.now_unix_s() + 1;
        let mut moments = self.inner.moments.read().clone();
        if !moments.add(Moment { unix_s, sequence }) {
            return Ok(());
        }
        crate::pod::put(&self.inner.store, MOMENTS, moments.encode()).await?;
        *self.inner.moments.write() = moments;
        Ok(())
    }

    /// The sequence behind which all lies that changed in a database after `unix_s`. `None` for a
    /// moment that is still to come.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn sequence_at(&self, entry: &DatabaseEntry, unix_s: u64) -> Result<Option<u64>, PodError> {
        if unix_s > self.inner.clock.now_unix_s() {
            return Ok(None);
        }
        let sequence = self.inner.moments.read().at(unix_s);
        let counted_from = self.times_reset_at(entry.number)?;
        Ok(Some(if sequence < counted_from { 0 } else { sequence }))
    }

    /// The greatest sequence of which it is known that it was there at `unix_s`.
    pub(crate) fn sequence_by(&self, unix_s: u64) -> u64 {
        self.inner.moments.read().at(unix_s)
    }

    /// How many of a database's documents were last changed in which span: each with the moment at
    /// which it begins, oldest first.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn changes_by_time(&self, entry: &DatabaseEntry) -> Result<Vec<(u64, u64)>, PodError> {
        let counted_from = self.times_reset_at(entry.number)?;
        let mut moments = self.inner.moments.read().clone().0;
        moments.retain(|moment| moment.sequence >= counted_from);
        if moments.is_empty() {
            return Ok(Vec::new());
        }
        if counted_from == 0 {
            let beginning = Moment {
                unix_s: 0,
                sequence: 0,
            };
            moments.insert(0, beginning);
        }
        let view = self.view();
        let reader = reader(view.as_ref(), entry, &adea_base::Caller::anonymous());
        let mut left = moments
            .first()
            .map_or(Ok(0), |first| reader.changes_after(first.sequence))?;
        let mut spans = Vec::with_capacity(moments.len());
        for (at, moment) in moments.iter().enumerate() {
            let behind = match moments.get(at + 1) {
                Some(next) if left > 0 => reader.changes_after(next.sequence)?,
                Some(_) | None => 0,
            };
            if left > behind {
                spans.push((moment.unix_s, left - behind));
            }
            left = behind;
        }
        Ok(spans)
    }

    /// Forgets for a database at what times it changed up to now.
    ///
    /// # Errors
    /// [`PodError::Commit`] if it cannot be stored.
    pub async fn reset_times(&self, entry: &DatabaseEntry) -> Result<(), PodError> {
        let mut value = Vec::new();
        // Beyond what was noted up to now.
        put_varint(&mut value, self.inner.store.sequence().saturating_add(1));
        crate::pod::put(&self.inner.store, &reset_key(entry.number), value).await
    }

    fn times_reset_at(&self, number: DatabaseNumber) -> Result<u64, PodError> {
        let stored = self.view().get(Space::Index, &reset_key(number))?;
        Ok(stored
            .and_then(|bytes| Reader::new(&bytes).varint())
            .unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However times and sequences rise, the table stays small and ordered, comes back from its
        /// bytes, never tells of a sequence that came after the moment asked for, and tells of one
        /// that is not older than an eighth more than asked, where something was written.
        #[test]
        fn the_table_is_small_and_errs_to_one_side(
            steps in proptest::collection::vec((30u64..100_000, 0u64..50), 1..1_500),
            asked in 0u64..1_000,
        ) {
            let (mut moments, mut all) = (Moments::default(), Vec::new());
            let (mut unix_s, mut sequence) = (1_700_000_000, 0);
            for (later, more) in steps {
                unix_s += later;
                sequence += more;
                let now = Moment { unix_s, sequence };
                if moments.add(now) {
                    all.push(now);
                }
            }
            prop_assert!(moments.0.len() <= MOMENTS_MAX);
            prop_assert!(moments.0.is_sorted_by(|a, b| a.unix_s < b.unix_s && a.sequence < b.sequence));
            prop_assert_eq!(Moments::decode(&moments.encode()), Some(moments.clone()));
            let ago = (unix_s - 1_700_000_000) * asked / 1_000;
            let exact = Moments(all.clone()).at(unix_s - ago);
            prop_assert!(moments.at(unix_s - ago) <= exact);
            let older = Moments(all).at(unix_s - ago - ago / 4 - 200_000);
            prop_assert!(moments.at(unix_s - ago) >= older);
        }
    }
}

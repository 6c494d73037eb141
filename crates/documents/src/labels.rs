//! Labels: names under which documents are indexed, so that a reader who sees few of them walks few.
//!
//! A label is a set of *members* with a name; what they mean is not known here. A document stands
//! under one label at a time, which its winning revision brings. What is stored:
//!
//! * under the label's number: its name, its members, and how many documents stand under it;
//! * by name → number, and by member and number, so that the labels of a member are found;
//! * (label, sequence) → the change, as the aggregate's own index has it, of each document under it;
//!   and a *removal marker* for each document that left it, at the sequence at which it left;
//! * (label, id) → since when the document stands under it;
//! * in the document's record: its label, the labels that it left and when, and the label of each
//!   body that is another one's.
//!
//! All of it is written in the document's own commit (`writer.rs`), so it can never lag. What a reader
//! is shown is worked out from it in `seen.rs` and walked in `labels/walk.rs`.
//!
//! Invariant: a document that is known stands under exactly one label, at its own sequence, and has at
//! most one marker under each label that it left and is not under.

mod check;
mod entry;
mod index;
mod merge;
mod returned;
mod turned;
mod walk;

use std::collections::BTreeSet;
use std::sync::Arc;

use adea_store::value::{Reader, put_bytes, put_varint};
use adea_store::{Direction, EngineError, Space, Transaction, View};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::corrupt;
use crate::keys::{self, DatabaseNumber};
use crate::seen::NOBODY;

pub(crate) use check::LabelCheck;
pub(crate) use entry::Entry;
pub(crate) use index::{Before, LabelChanges, Written};
pub use returned::note_returned;

/// A label as a draft brings it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftLabel {
    /// What names the set of members: equal sets have equal names.
    pub name: Arc<str>,
    /// The members, sorted and each once.
    pub members: Arc<[Arc<str>]>,
}

/// Who writes a draft, and does not see all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// A label that he sees, and nobody else.
    pub label: DraftLabel,
    /// The members that he holds, sorted.
    pub holds: Arc<[Arc<str>]>,
}

impl Author {
    pub(crate) fn sees(&self, members: &[Arc<str>]) -> bool {
        members
            .iter()
            .any(|member| self.holds.binary_search(member).is_ok())
    }
}

/// A label as it is stored, with what it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its number, never given twice.
    pub number: u64,
    /// Its name.
    pub name: Arc<str>,
    /// Its members.
    pub members: Arc<[Arc<str>]>,
    /// Documents under it that are not deleted.
    pub documents: u64,
    /// Documents under it that are deleted.
    pub deleted: u64,
    /// Bytes of the winners' bodies and attachments under it.
    pub external_bytes: u64,
    /// The sequence of the last change or marker under it.
    pub last_sequence: u64,
}

/// A stretch in which a document stood under a label, and stands no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Era {
    /// The label's number.
    pub label: u64,
    /// The sequence from which on it did.
    pub from: u64,
    /// The sequence at which it left.
    pub until: u64,
}

/// How a document stands under labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labelled {
    /// The generation of the rule that said so; see [`crate::database::Settings::labels`].
    pub generation: u64,
    /// The label's number.
    pub label: u64,
    /// The sequence from which on it stands under it.
    pub since: u64,
    /// The sequence at which a new rule moved it last; 0 if none did. Which labels its bodies had
    /// before is not known any more.
    pub ruled_at: u64,
    /// Where it stood before, the oldest first; at most [`ERAS_MAX`].
    pub earlier: Vec<Era>,
    /// Bodies with another label than the document's: the sequence of the body, and the label's
    /// number; 0 for none that anybody holds a member of.
    pub others: Vec<(u64, u64)>,
    /// Who made the document, if that was told.
    pub creator: Option<Arc<str>>,
}

/// How many labels a document left are remembered. Whoever did not ask since the first of them keeps
/// what he has of the document, as with tombstones that have expired.
pub const ERAS_MAX: usize = 256;

/// What a reader holds who sees every label: it counts as a member of each, when it is noted that
/// readers got something back.
pub const EVERYTHING: &str = "_admin";

const FORMAT: u8 = 1;
/// Topics of members lie above every sequence and below the store's counted topics.
const MEMBER_TOPICS: u64 = 1 << 62;

/// The store's topic that is touched when a document under a label with `member` changes, comes or
/// goes.
#[must_use]
pub fn member_topic(database: DatabaseNumber, member: &str) -> u64 {
    let mut seed = database.0.to_be_bytes().to_vec();
    seed.extend_from_slice(member.as_bytes());
    MEMBER_TOPICS | (xxh3_64(&seed) & (MEMBER_TOPICS - 1))
}

impl Label {
    /// The label of what has none: nobody holds a member of it.
    fn nobody() -> Self {
        Self {
            number: NOBODY,
            name: Arc::from(""),
            members: Arc::from([]),
            documents: 0,
            deleted: 0,
            external_bytes: 0,
            last_sequence: u64::MAX,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        for n in [
            self.documents,
            self.deleted,
            self.external_bytes,
            self.last_sequence,
        ] {
            put_varint(&mut out, n);
        }
        put_bytes(&mut out, self.name.as_bytes());
        put_varint(&mut out, self.members.len() as u64);
        for member in self.members.iter() {
            put_bytes(&mut out, member.as_bytes());
        }
        out
    }

    pub(crate) fn decode(number: u64, bytes: &[u8]) -> Result<Self, EngineError> {
        let read = || {
            let mut reader = Reader::new(bytes);
            (reader.byte()? == FORMAT).then_some(())?;
            let documents = reader.varint()?;
            let deleted = reader.varint()?;
            let external_bytes = reader.varint()?;
            let last_sequence = reader.varint()?;
            let name = Arc::from(reader.text()?);
            let count = reader.varint()?;
            let mut members = Vec::new();
            for _ in 0..count {
                members.push(Arc::from(reader.text()?));
            }
            Some(Self {
                number,
                name,
                members: members.into(),
                documents,
                deleted,
                external_bytes,
                last_sequence,
            })
        };
        read().ok_or_else(|| corrupt("a label"))
    }
}

impl Labelled {
    /// The label of the body written under `body`.
    #[must_use]
    pub fn label_of(&self, body: u64) -> u64 {
        let other = self.others.iter().find(|(of, _)| *of == body);
        other.map_or(self.label, |(_, label)| *label)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for n in [self.generation, self.label, self.since, self.ruled_at] {
            put_varint(out, n);
        }
        put_varint(out, self.earlier.len() as u64);
        for era in &self.earlier {
            for n in [era.label, era.from, era.until] {
                put_varint(out, n);
            }
        }
        put_varint(out, self.others.len() as u64);
        for (body, label) in &self.others {
            put_varint(out, *body);
            put_varint(out, *label);
        }
        match &self.creator {
            None => out.push(0),
            Some(creator) => {
                out.push(1);
                put_bytes(out, creator.as_bytes());
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let (generation, label) = (reader.varint()?, reader.varint()?);
        let (since, ruled_at) = (reader.varint()?, reader.varint()?);
        let mut earlier = Vec::new();
        for _ in 0..reader.varint()? {
            earlier.push(Era {
                label: reader.varint()?,
                from: reader.varint()?,
                until: reader.varint()?,
            });
        }
        let mut others = Vec::new();
        for _ in 0..reader.varint()? {
            others.push((reader.varint()?, reader.varint()?));
        }
        let creator = match reader.byte()? {
            0 => None,
            _ => Some(Arc::from(reader.text()?)),
        };
        Some(Self {
            generation,
            label,
            since,
            ruled_at,
            earlier,
            others,
            creator,
        })
    }
}

/// The label with this number.
///
/// # Errors
/// [`EngineError`] if the store cannot be read, or there is none.
pub fn label(view: &dyn View, database: DatabaseNumber, number: u64) -> Result<Label, EngineError> {
    if number == NOBODY {
        return Ok(Label::nobody());
    }
    let bytes = view.get(Space::Index, &keys::label(database, number))?;
    Label::decode(number, &bytes.ok_or_else(|| corrupt("a label's number"))?)
}

/// The label with this name, if there ever was one.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn named(
    view: &dyn View,
    database: DatabaseNumber,
    name: &str,
) -> Result<Option<Label>, EngineError> {
    let Some(bytes) = view.get(Space::Index, &keys::label_name(database, name))? else {
        return Ok(None);
    };
    let number = Reader::new(&bytes)
        .varint()
        .ok_or_else(|| corrupt("a label's number"))?;
    label(view, database, number).map(Some)
}

/// The numbers of all labels with one of `members`.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub(crate) fn of_members(
    view: &dyn View,
    database: DatabaseNumber,
    members: &[Arc<str>],
) -> Result<BTreeSet<u64>, EngineError> {
    // One cursor that jumps costs less than one for each.
    let range = keys::all_label_members(database);
    let mut cursor = view.range(Space::Index, range, Direction::Forward)?;
    let fronts = members
        .iter()
        .map(|member| keys::labels_of(database, member));
    // In the order of keys, which is not that of members: a cursor jumps ahead.
    let mut fronts: Vec<Vec<u8>> = fronts.collect();
    fronts.sort_unstable();
    let mut numbers = BTreeSet::new();
    // The row that was read and is of no member so far: it may be the first of the next.
    let mut held: Option<Vec<u8>> = None;
    for front in fronts {
        if held.as_ref().is_none_or(|key| *key < front) {
            cursor.seek(&front)?;
            held = cursor.next()?.map(|(key, _)| key.to_vec());
        }
        if held.is_none() {
            break;
        }
        while let Some(rest) = held.as_ref().and_then(|key| key.strip_prefix(&*front)) {
            let number = adea_store::key::take_ordered(rest);
            numbers.insert(number.ok_or_else(|| corrupt("a label's number"))?.0);
            held = cursor.next()?.map(|(key, _)| key.to_vec());
        }
    }
    Ok(numbers)
}

/// The labels with these numbers, in their order.
///
/// # Errors
/// [`EngineError`] if the store cannot be read, or one is missing.
pub(crate) fn of_numbers(
    view: &dyn View,
    database: DatabaseNumber,
    numbers: &[u64],
) -> Result<Vec<Label>, EngineError> {
    let keys: Vec<Vec<u8>> = numbers
        .iter()
        .map(|number| keys::label(database, *number))
        .collect();
    let values = view.multi_get(Space::Index, &keys)?;
    numbers
        .iter()
        .zip(values)
        .map(|(number, bytes)| {
            Label::decode(*number, &bytes.ok_or_else(|| corrupt("a label's number"))?)
        })
        .collect()
}

/// Labels with numbers greater than `after`, at most `limit`, in their order.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn all(
    view: &dyn View,
    database: DatabaseNumber,
    after: u64,
    limit: usize,
) -> Result<Vec<Label>, EngineError> {
    let mut range = keys::labels(database);
    range.from = keys::label(database, after.saturating_add(1));
    let mut cursor = view.range(Space::Index, range, Direction::Forward)?;
    let mut found = Vec::new();
    while found.len() < limit
        && let Some((key, value)) = cursor.next()?
    {
        let number = keys::number_of(database, key).ok_or_else(|| corrupt("a label's number"))?;
        found.push(Label::decode(number, value)?);
    }
    Ok(found)
}

/// The secret that virtual revisions are made with, if one was made.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn key(view: &dyn View) -> Result<Option<[u8; 32]>, EngineError> {
    view.get(Space::Index, &keys::virtual_key())?
        .map(|bytes| read_key(&bytes))
        .transpose()
}

/// Keeps `key` as the secret that virtual revisions are made with, unless there is one.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn put_key(tx: &mut Transaction<'_>, key: &[u8; 32]) -> Result<(), EngineError> {
    if tx.get(Space::Index, &keys::virtual_key())?.is_none() {
        tx.put(Space::Index, keys::virtual_key(), key.to_vec());
    }
    Ok(())
}

/// The secret, as the transaction leaves it. Where there is none, nobody was ever sent anything that
/// was made with it.
fn load_key_in(tx: &Transaction<'_>) -> Result<[u8; 32], EngineError> {
    match tx.get(Space::Index, &keys::virtual_key())? {
        Some(bytes) => read_key(&bytes),
        None => Ok([0; 32]),
    }
}

fn read_key(bytes: &[u8]) -> Result<[u8; 32], EngineError> {
    bytes
        .try_into()
        .map_err(|_| corrupt("the secret of virtual revisions"))
}

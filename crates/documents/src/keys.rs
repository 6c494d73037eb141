//! Every key that this crate stores, one function a kind.
//!
//! A database's entries lie together under its number, which is never given twice: dropping a
//! database is dropping one range, and a new one of the same name shares nothing with the old.

use adea_store::KeyRange;
use adea_store::key::{DATABASE, DATABASES, put_ordered, take_ordered};

/// The number of a database, unique in the store for all time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatabaseNumber(pub u64);

const NAME: u8 = b'n';
const NUMBER: u8 = b'r';
const GONE: u8 = b'g';
const EXPIRY: u8 = b't';
const DROPPED: u8 = b'x';
const VIRTUAL: u8 = b'v';

const HEADER: u8 = 1;
const STATISTICS: u8 = 2;
const DOCUMENT: u8 = 3;
const SEQUENCE: u8 = 4;
const COUNT: u8 = 5;
const LOCAL: u8 = 6;
const PURGE: u8 = 7;
const ATTACHED: u8 = 8;
const INDEX: u8 = 9;
const INDEX_ENTRY: u8 = 10;
const LABEL_NAME: u8 = 11;
const LABEL: u8 = 12;
const LABEL_MEMBER: u8 = 13;
const LABEL_CHANGE: u8 = 14;
const LABEL_DOCUMENT: u8 = 15;
const RETURNED: u8 = 16;
const READER: u8 = 17;

/// The store's topic that tells of databases made and dropped; a database's own topic is its
/// number, which is never 0.
pub const DATABASES_TOPIC: u64 = 0;

/// name → number.
pub(crate) fn database_name(name: &str) -> Vec<u8> {
    [&[DATABASES, NAME], name.as_bytes()].concat()
}

/// All names.
pub(crate) fn database_names() -> KeyRange {
    KeyRange::prefix(&[DATABASES, NAME])
}

/// The name in a key of [`database_name`] or [`gone`].
pub(crate) fn name_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(2..)?).ok()
}

/// number → name.
pub(crate) fn name_by_number(number: DatabaseNumber) -> Vec<u8> {
    let mut key = vec![DATABASES, NUMBER];
    put_ordered(&mut key, number.0);
    key
}

/// name → the sequence at which a database of that name was dropped last.
pub(crate) fn gone(name: &str) -> Vec<u8> {
    [&[DATABASES, GONE], name.as_bytes()].concat()
}

/// All names in keys of [`gone`].
pub(crate) fn all_gone() -> KeyRange {
    KeyRange::prefix(&[DATABASES, GONE])
}

/// The secret that virtual revisions are made with.
pub(crate) fn virtual_key() -> Vec<u8> {
    vec![DATABASES, VIRTUAL]
}

/// number → how long its tombstones are kept, and how far they were looked through.
pub(crate) fn expiry(number: DatabaseNumber) -> Vec<u8> {
    let mut key = vec![DATABASES, EXPIRY];
    put_ordered(&mut key, number.0);
    key
}

/// All databases whose tombstones expire.
pub(crate) fn all_expiries() -> KeyRange {
    KeyRange::prefix(&[DATABASES, EXPIRY])
}

/// number of a database that was dropped and whose entries are still there → nothing.
pub(crate) fn dropped(number: DatabaseNumber) -> Vec<u8> {
    let mut key = vec![DATABASES, DROPPED];
    put_ordered(&mut key, number.0);
    key
}

/// All dropped databases not yet swept.
pub(crate) fn all_dropped() -> KeyRange {
    KeyRange::prefix(&[DATABASES, DROPPED])
}

/// The number in a key of [`dropped`] or [`expiry`].
pub(crate) fn dropped_of(key: &[u8]) -> Option<DatabaseNumber> {
    Some(DatabaseNumber(take_ordered(key.get(2..)?)?.0))
}

fn inside(number: DatabaseNumber, kind: u8, more: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(11 + more);
    key.push(DATABASE);
    put_ordered(&mut key, number.0);
    key.push(kind);
    key
}

/// Everything of a database, in either space.
#[must_use]
pub fn everything(number: DatabaseNumber) -> KeyRange {
    let mut key = vec![DATABASE];
    put_ordered(&mut key, number.0);
    KeyRange::prefix(&key)
}

/// settings.
pub(crate) fn header(number: DatabaseNumber) -> Vec<u8> {
    inside(number, HEADER, 0)
}

/// counts.
pub(crate) fn statistics(number: DatabaseNumber) -> Vec<u8> {
    inside(number, STATISTICS, 0)
}

/// document id → its record.
pub(crate) fn document(number: DatabaseNumber, id: &str) -> Vec<u8> {
    let mut key = inside(number, DOCUMENT, id.len());
    key.extend_from_slice(id.as_bytes());
    key
}

/// All documents' records, by the bytes of their ids.
pub(crate) fn documents(number: DatabaseNumber) -> KeyRange {
    KeyRange::prefix(&inside(number, DOCUMENT, 0))
}

/// sequence → the change made under it, if it is the document's last.
pub(crate) fn sequence(number: DatabaseNumber, sequence: u64) -> Vec<u8> {
    let mut key = inside(number, SEQUENCE, 9);
    put_ordered(&mut key, sequence);
    key
}

/// The changes with sequences in `after < sequence <= until`.
pub(crate) fn sequences(number: DatabaseNumber, after: u64, until: u64) -> KeyRange {
    KeyRange {
        from: sequence(number, after.saturating_add(1)),
        to: match until.checked_add(1) {
            Some(end) => sequence(number, end),
            None => inside(number, SEQUENCE + 1, 0),
        },
    }
}

/// block of sequences → how many changes lie in it.
pub(crate) fn count(number: DatabaseNumber, block: u64) -> Vec<u8> {
    let mut key = inside(number, COUNT, 9);
    put_ordered(&mut key, block);
    key
}

/// The counts of all blocks from `block` on.
pub(crate) fn counts_from(number: DatabaseNumber, block: u64) -> KeyRange {
    KeyRange {
        from: count(number, block),
        to: inside(number, COUNT + 1, 0),
    }
}

/// local document's name (without `_local/`) → its body.
pub(crate) fn local(number: DatabaseNumber, name: &str) -> Vec<u8> {
    let mut key = inside(number, LOCAL, name.len());
    key.extend_from_slice(name.as_bytes());
    key
}

/// All local documents.
pub(crate) fn locals(number: DatabaseNumber) -> KeyRange {
    KeyRange::prefix(&inside(number, LOCAL, 0))
}

/// purge sequence → what was purged.
pub(crate) fn purge(number: DatabaseNumber, purge_sequence: u64) -> Vec<u8> {
    let mut key = inside(number, PURGE, 9);
    put_ordered(&mut key, purge_sequence);
    key
}

/// All purges.
pub(crate) fn purges(number: DatabaseNumber) -> KeyRange {
    KeyRange::prefix(&inside(number, PURGE, 0))
}

/// sequence of a body with attachments → the addresses of their content.
pub(crate) fn attached(number: DatabaseNumber, body: u64) -> Vec<u8> {
    let mut key = inside(number, ATTACHED, 9);
    put_ordered(&mut key, body);
    key
}

/// All references to attachments.
pub(crate) fn all_attached(number: DatabaseNumber) -> KeyRange {
    KeyRange::prefix(&inside(number, ATTACHED, 0))
}

/// an index's signature → its state.
pub(crate) fn index(number: DatabaseNumber, signature: &[u8; 16]) -> Vec<u8> {
    let mut key = inside(number, INDEX, signature.len());
    key.extend_from_slice(signature);
    key
}

/// The states of all indexes.
pub(crate) fn indexes(number: DatabaseNumber) -> KeyRange {
    KeyRange::prefix(&inside(number, INDEX, 0))
}

/// The front of every key of the index with the number `index`; `more` is how long what follows
/// will be.
pub(crate) fn index_entry(number: DatabaseNumber, index: u64, more: usize) -> Vec<u8> {
    let mut key = inside(number, INDEX_ENTRY, 9 + more);
    put_ordered(&mut key, index);
    key
}

/// a label's name → its number.
pub(crate) fn label_name(number: DatabaseNumber, name: &str) -> Vec<u8> {
    let mut key = inside(number, LABEL_NAME, name.len());
    key.extend_from_slice(name.as_bytes());
    key
}

/// a label's number → the label.
pub(crate) fn label(number: DatabaseNumber, label: u64) -> Vec<u8> {
    let mut key = inside(number, LABEL, 9);
    put_ordered(&mut key, label);
    key
}

/// All labels.
pub(crate) fn labels(number: DatabaseNumber) -> KeyRange {
    KeyRange::prefix(&inside(number, LABEL, 0))
}

/// The front of the keys of all labels that have `member`. Members end with a byte that no text has.
pub(crate) fn labels_of(number: DatabaseNumber, member: &str) -> Vec<u8> {
    let mut key = inside(number, LABEL_MEMBER, member.len() + 10);
    key.extend_from_slice(member.as_bytes());
    key.push(0xff);
    key
}

/// (member, label) → nothing.
pub(crate) fn label_member(number: DatabaseNumber, member: &str, label: u64) -> Vec<u8> {
    let mut key = labels_of(number, member);
    put_ordered(&mut key, label);
    key
}

/// (label, sequence) → a change under the label, or a removal marker.
pub(crate) fn label_change(number: DatabaseNumber, label: u64, sequence: u64) -> Vec<u8> {
    let mut key = inside(number, LABEL_CHANGE, 18);
    put_ordered(&mut key, label);
    put_ordered(&mut key, sequence);
    key
}

/// What stands under `label` with `after < sequence <= until`.
pub(crate) fn label_changes(
    number: DatabaseNumber,
    label: u64,
    after: u64,
    until: u64,
) -> KeyRange {
    let to = match until.checked_add(1) {
        Some(end) => label_change(number, label, end),
        None => {
            let mut end = label_change(number, label, u64::MAX);
            end.push(0);
            end
        }
    };
    KeyRange {
        from: label_change(number, label, after.saturating_add(1)),
        to,
    }
}

/// (label, document id) → since when.
pub(crate) fn label_document(number: DatabaseNumber, label: u64, id: &str) -> Vec<u8> {
    let mut key = inside(number, LABEL_DOCUMENT, id.len() + 9);
    put_ordered(&mut key, label);
    key.extend_from_slice(id.as_bytes());
    key
}

/// The last two parts of a key of [`label_change`] or [`label_document`]: the label's number, and
/// what comes behind it.
pub(crate) fn label_and_rest(number: DatabaseNumber, key: &[u8]) -> Option<(u64, &[u8])> {
    take_ordered(rest_of(number, key)?)
}

/// All documents and markers under labels, by sequence.
pub(crate) fn all_label_changes(number: DatabaseNumber) -> KeyRange {
    KeyRange::prefix(&inside(number, LABEL_CHANGE, 0))
}

/// All documents under labels, by id.
pub(crate) fn all_label_documents(number: DatabaseNumber) -> KeyRange {
    KeyRange::prefix(&inside(number, LABEL_DOCUMENT, 0))
}

/// All (member, label).
pub(crate) fn all_label_members(number: DatabaseNumber) -> KeyRange {
    KeyRange::prefix(&inside(number, LABEL_MEMBER, 0))
}

/// member → when a reader last got it back, and how often one did.
pub(crate) fn returned(number: DatabaseNumber, member: &str) -> Vec<u8> {
    let mut key = inside(number, RETURNED, member.len());
    key.extend_from_slice(member.as_bytes());
    key
}

/// Where something is kept for one reader of database `number`, which goes when the database goes.
#[must_use]
pub fn kept_for_reader(number: DatabaseNumber, reader: &str) -> Vec<u8> {
    let mut key = inside(number, READER, reader.len());
    key.extend_from_slice(reader.as_bytes());
    key
}

/// In the space of bodies: sequence → the body written under it.
pub(crate) fn body(number: DatabaseNumber, sequence: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(20);
    key.push(DATABASE);
    put_ordered(&mut key, number.0);
    put_ordered(&mut key, sequence);
    key
}

/// What comes after the kind in a key inside database `number`.
pub(crate) fn rest_of(number: DatabaseNumber, key: &[u8]) -> Option<&[u8]> {
    let bytes = 8 - (number.0.leading_zeros() / 8) as usize;
    key.get(3 + bytes..)
}

/// The number at the end of a key inside database `number`.
pub(crate) fn number_of(number: DatabaseNumber, key: &[u8]) -> Option<u64> {
    Some(take_ordered(rest_of(number, key)?)?.0)
}

/// The sequence in a key of [`body`].
pub(crate) fn body_sequence_of(number: DatabaseNumber, key: &[u8]) -> Option<u64> {
    let bytes = 8 - (number.0.leading_zeros() / 8) as usize;
    Some(take_ordered(key.get(2 + bytes..)?)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_give_back_what_went_in() {
        for number in [1, 255, 256, 1 << 40].map(DatabaseNumber) {
            assert_eq!(rest_of(number, &document(number, "a/b")), Some(&b"a/b"[..]));
            assert_eq!(number_of(number, &sequence(number, 77_777)), Some(77_777));
            assert_eq!(body_sequence_of(number, &body(number, 300)), Some(300));
            assert_eq!(dropped_of(&dropped(number)), Some(number));
            let range = sequences(number, 5, u64::MAX);
            assert!(range.from <= sequence(number, 6) && sequence(number, u64::MAX) < range.to);
            assert!(sequence(number, 5) < range.from);
            let all = everything(number);
            for key in [
                header(number),
                document(number, "\u{10ffff}"),
                attached(number, 9),
            ] {
                assert!(all.from <= key && key < all.to);
            }
        }
        assert_eq!(name_of(&database_name("x")), Some("x"));
        assert_eq!(name_of(&gone("x")), Some("x"));
    }
}

//! What a transaction decided, as a value: apply it anywhere and the same bytes result.
//!
//! Commits are what a ring of machines will ship and what a shared engine will store, so they
//! hold no clock, no chance and no reference to what was there before.

use crate::engine::{KeyRange, Space};
use crate::value::{self, Reader};

/// One change of one key, or of a range of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// `key` holds `value` from now on.
    Put {
        /// Where.
        space: Space,
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// `key` holds nothing from now on.
    Delete {
        /// Where.
        space: Space,
        /// The key.
        key: Vec<u8>,
    },
    /// No key of `range` holds anything from now on.
    DeleteRange {
        /// Where.
        space: Space,
        /// Which keys.
        range: KeyRange,
    },
}

impl Op {
    /// Bytes of key and value, to bound what waits for a sync.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key, .. } => key.len(),
            Self::DeleteRange { range, .. } => range.from.len() + range.to.len(),
        }
    }
}

/// All that one transaction changes, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The term of the permit it was decided under.
    pub term: u64,
    /// The store's sequence after it: the last one it handed out, or the one before if it
    /// handed out none.
    pub sequence: u64,
    /// The changes.
    pub ops: Vec<Op>,
}

/// Bytes that are no commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not a commit of a known format")]
pub struct CorruptCommit;

/// The format that [`Commit::encode`] writes.
const FORMAT: u8 = 1;

impl Commit {
    /// The commit as bytes, with a format version in front.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        value::put_varint(&mut out, self.term);
        value::put_varint(&mut out, self.sequence);
        value::put_varint(&mut out, self.ops.len() as u64);
        for op in &self.ops {
            let (kind, space) = match op {
                Op::Put { space, .. } => (0, space),
                Op::Delete { space, .. } => (1, space),
                Op::DeleteRange { space, .. } => (2, space),
            };
            out.push(kind << 1 | u8::from(*space == Space::Body));
            match op {
                Op::Put { key, value, .. } => {
                    value::put_bytes(&mut out, key);
                    value::put_bytes(&mut out, value);
                }
                Op::Delete { key, .. } => value::put_bytes(&mut out, key),
                Op::DeleteRange { range, .. } => {
                    value::put_bytes(&mut out, &range.from);
                    value::put_bytes(&mut out, &range.to);
                }
            }
        }
        out
    }

    /// Reads what [`Commit::encode`] wrote.
    ///
    /// # Errors
    /// [`CorruptCommit`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, CorruptCommit> {
        decode(bytes).ok_or(CorruptCommit)
    }
}

fn decode(bytes: &[u8]) -> Option<Commit> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != FORMAT {
        return None;
    }
    let term = reader.varint()?;
    let sequence = reader.varint()?;
    let count = reader.varint()?;
    let mut ops = Vec::new();
    for _ in 0..count {
        let head = reader.byte()?;
        let space = if head & 1 == 0 {
            Space::Index
        } else {
            Space::Body
        };
        let key = reader.bytes()?.to_vec();
        ops.push(match head >> 1 {
            0 => Op::Put {
                space,
                key,
                value: reader.bytes()?.to_vec(),
            },
            1 => Op::Delete { space, key },
            2 => Op::DeleteRange {
                space,
                range: KeyRange {
                    from: key,
                    to: reader.bytes()?.to_vec(),
                },
            },
            _ => return None,
        });
    }
    reader.is_empty().then_some(Commit {
        term,
        sequence,
        ops,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_op() -> impl Strategy<Value = Op> {
        let space = prop_oneof![Just(Space::Index), Just(Space::Body)];
        let bytes = || proptest::collection::vec(any::<u8>(), 0..20);
        (space, bytes(), bytes(), 0..3).prop_map(|(space, key, value, kind)| match kind {
            0 => Op::Put { space, key, value },
            1 => Op::Delete { space, key },
            _ => Op::DeleteRange {
                space,
                range: KeyRange {
                    from: key,
                    to: value,
                },
            },
        })
    }

    proptest! {
        #[test]
        fn a_commit_survives_its_encoding(
            term: u64,
            sequence: u64,
            ops in proptest::collection::vec(any_op(), 0..10),
        ) {
            let commit = Commit { term, sequence, ops };
            prop_assert_eq!(Commit::decode(&commit.encode()), Ok(commit));
        }

        #[test]
        fn hostile_bytes_are_refused_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(commit) = Commit::decode(&bytes) {
                prop_assert!(commit.ops.len() <= bytes.len());
            }
        }
    }
}

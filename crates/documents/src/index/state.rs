//! What is known of an index: where its entries lie and how far it has come.
//!
//! The state is one small value under the index's signature. Every portion writes it anew with a
//! greater generation, so a portion that was prepared over an older one is found out.

use std::fmt;

use adea_store::value::{Reader, put_varint};
use adea_store::{Decline, Direction, EngineError, Op, Space, Transaction, View};
use sha2::{Digest as _, Sha256};

use super::tree;
use crate::collation::{Collation, SORT_KEY_VERSION};
use crate::database;
use crate::error::{DatabaseError, corrupt};
use crate::keys::{self, DatabaseNumber};

/// The format of the state, and of every entry under its number: those are many and small, and say
/// nothing of it themselves.
const FORMAT: u8 = 1;

/// Names what an index or a reduce computes: its functions, options, and the order of its keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signature(pub [u8; 16]);

impl Signature {
    /// The reduce that counts rows. Every index has it, always fresh, without being asked: it is
    /// the count tree.
    pub const COUNT: Self = Self(*b"count every row.");

    /// The signature of something made of `parts`; the version of sort keys is one of them.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(SORT_KEY_VERSION.to_le_bytes());
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        let mut signature = [0; 16];
        for (to, from) in signature.iter_mut().zip(digest) {
            *to = from;
        }
        Self(signature)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number of an index, unique in the store for all time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexNumber(pub u64);

/// A reduce whose tree an index keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReduceState {
    /// What it computes.
    pub signature: Signature,
    /// Whether any node was ever stored. Until then changes need not be marked, and
    /// [`super::stale_nodes`] gives out every node there is.
    pub built: bool,
    /// Which tree of the index is its own.
    pub(super) tree: u64,
}

/// An index, as a moment's view shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexState {
    /// Where its entries lie.
    pub number: IndexNumber,
    /// What it computes.
    pub signature: Signature,
    /// All changes of the database up to this sequence are in it.
    pub sequence: u64,
    /// All purges of the database up to this one are in it.
    pub purge_sequence: u64,
    /// The order of its keys.
    pub collation: Collation,
    /// How many rows it has.
    pub rows: u64,
    /// The reduces that it keeps trees for, besides [`Signature::COUNT`].
    pub reduces: Vec<ReduceState>,
    /// Rises with every portion.
    pub(super) generation: u64,
    /// How many levels of nodes it has; none while it is being built.
    pub(super) height: u8,
    /// Bits of a row's hash that a level of nodes takes.
    pub(super) level_bits: u8,
    /// What rows' hashes are seeded with, so that nobody can aim at where nodes begin.
    pub(super) salt: u64,
    /// The number of the next tree.
    pub(super) next_tree: u64,
}

impl IndexState {
    /// Whether the index keeps a tree of this reduce.
    #[must_use]
    pub fn has_reduce(&self, reduce: &Signature) -> bool {
        *reduce == Signature::COUNT || self.reduces.iter().any(|r| r.signature == *reduce)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48 + 20 * self.reduces.len());
        out.push(FORMAT);
        out.push(u8::from(self.collation == Collation::Raw));
        out.push(self.height);
        out.push(self.level_bits);
        out.extend_from_slice(&self.salt.to_le_bytes());
        for n in [
            self.number.0,
            self.sequence,
            self.purge_sequence,
            self.rows,
            self.generation,
            self.next_tree,
            self.reduces.len() as u64,
        ] {
            put_varint(&mut out, n);
        }
        for reduce in &self.reduces {
            out.extend_from_slice(&reduce.signature.0);
            put_varint(&mut out, reduce.tree << 1 | u64::from(reduce.built));
        }
        out
    }

    fn decode(signature: Signature, bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        (reader.byte()? == FORMAT).then_some(())?;
        let collation = match reader.byte()? {
            0 => Collation::Unicode,
            1 => Collation::Raw,
            _ => return None,
        };
        let height = reader.byte()?;
        let level_bits = reader.byte().filter(|bits| *bits > 0)?;
        let salt = u64::from_le_bytes(reader.array()?);
        let mut state = Self {
            signature,
            collation,
            height,
            level_bits,
            salt,
            number: IndexNumber(reader.varint()?),
            sequence: reader.varint()?,
            purge_sequence: reader.varint()?,
            rows: reader.varint()?,
            generation: reader.varint()?,
            next_tree: reader.varint()?,
            reduces: Vec::new(),
        };
        for _ in 0..reader.varint()? {
            let signature = Signature(reader.array()?);
            let tree = reader.varint()?;
            state.reduces.push(ReduceState {
                signature,
                built: tree & 1 == 1,
                tree: tree >> 1,
            });
        }
        reader.is_empty().then_some(state)
    }

    pub(super) fn put(&self, tx: &mut Transaction<'_>, database: DatabaseNumber) {
        let key = keys::index(database, &self.signature.0);
        tx.put(Space::Index, key, self.encode());
    }
}

fn read(signature: Signature, bytes: &[u8]) -> Result<IndexState, EngineError> {
    IndexState::decode(signature, bytes).ok_or_else(|| corrupt("an index's state"))
}

/// The index with this signature, if there is one.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn find(
    view: &dyn View,
    database: DatabaseNumber,
    signature: &Signature,
) -> Result<Option<IndexState>, EngineError> {
    view.get(Space::Index, &keys::index(database, &signature.0))?
        .map(|bytes| read(*signature, &bytes))
        .transpose()
}

/// All indexes of a database.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn all(view: &dyn View, database: DatabaseNumber) -> Result<Vec<IndexState>, EngineError> {
    let mut found = Vec::new();
    let range = keys::indexes(database);
    let mut cursor = view.range(Space::Index, range, Direction::Forward)?;
    while let Some((key, value)) = cursor.next()? {
        let signature = keys::rest_of(database, key)
            .and_then(|rest| rest.try_into().ok())
            .map(Signature)
            .ok_or_else(|| corrupt("an index's key"))?;
        found.push(read(signature, value)?);
    }
    Ok(found)
}

/// The index as this transaction leaves it.
pub(super) fn find_in(
    tx: &Transaction<'_>,
    database: DatabaseNumber,
    signature: &Signature,
) -> Result<Option<IndexState>, EngineError> {
    tx.get(Space::Index, &keys::index(database, &signature.0))?
        .map(|bytes| read(*signature, &bytes))
        .transpose()
}

/// Makes an index, or finds the one that is there. `salt` is chance, which a transaction has none
/// of its own.
///
/// # Errors
/// [`DatabaseError::Missing`] if the database was dropped meanwhile.
pub fn create(
    tx: &mut Transaction<'_>,
    database: DatabaseNumber,
    signature: &Signature,
    collation: Collation,
    salt: u64,
) -> Result<IndexState, Decline<DatabaseError>> {
    database::settings_in(tx, database)?;
    if let Some(state) = find_in(tx, database, signature)? {
        return Ok(state);
    }
    let state = IndexState {
        number: IndexNumber(tx.next_sequence()),
        signature: *signature,
        sequence: 0,
        purge_sequence: 0,
        collation,
        rows: 0,
        reduces: Vec::new(),
        generation: 0,
        height: 0,
        level_bits: tree::LEVEL_BITS,
        salt,
        next_tree: tree::COUNT + 1,
    };
    state.put(tx, database);
    Ok(state)
}

/// Has the index keep a tree of `reduce`, too; it is filled by [`super::store_nodes`]. Answers the
/// state that results, or `None` if the index is not there.
///
/// # Errors
/// [`DatabaseError::Missing`] if the database was dropped meanwhile.
pub fn add_reduce(
    tx: &mut Transaction<'_>,
    database: DatabaseNumber,
    index: &Signature,
    reduce: &Signature,
) -> Result<Option<IndexState>, Decline<DatabaseError>> {
    database::settings_in(tx, database)?;
    let Some(mut state) = find_in(tx, database, index)? else {
        return Ok(None);
    };
    if !state.has_reduce(reduce) {
        state.reduces.push(ReduceState {
            signature: *reduce,
            built: false,
            tree: state.next_tree,
        });
        state.next_tree += 1;
        state.put(tx, database);
    }
    Ok(Some(state))
}

/// Forgets the tree of `reduce`, if the index has one. Answers the state that results.
///
/// # Errors
/// [`DatabaseError::Missing`] if the database was dropped meanwhile.
pub fn remove_reduce(
    tx: &mut Transaction<'_>,
    database: DatabaseNumber,
    index: &Signature,
    reduce: &Signature,
) -> Result<Option<IndexState>, Decline<DatabaseError>> {
    database::settings_in(tx, database)?;
    let Some(mut state) = find_in(tx, database, index)? else {
        return Ok(None);
    };
    if let Some(at) = state.reduces.iter().position(|r| r.signature == *reduce) {
        let removed = state.reduces.remove(at);
        tx.push(Op::DeleteRange {
            space: Space::Index,
            range: tree::everything(database, state.number, removed.tree),
        });
        state.put(tx, database);
    }
    Ok(Some(state))
}

/// Removes an index and all its entries; without it nothing happens.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn remove(
    tx: &mut Transaction<'_>,
    database: DatabaseNumber,
    signature: &Signature,
) -> Result<(), Decline<DatabaseError>> {
    let Some(state) = find_in(tx, database, signature)? else {
        return Ok(());
    };
    tx.delete(Space::Index, keys::index(database, &signature.0));
    tx.push(Op::DeleteRange {
        space: Space::Index,
        range: super::row::entries(database, state.number),
    });
    Ok(())
}

/// Marks that `reduce` has stored nodes from now on.
pub(super) fn mark_built(
    tx: &mut Transaction<'_>,
    database: DatabaseNumber,
    mut state: IndexState,
    reduce: &Signature,
) {
    if let Some(found) = state.reduces.iter_mut().find(|r| r.signature == *reduce)
        && !found.built
    {
        found.built = true;
        state.put(tx, database);
    }
}

//! Where a reader of `mine` is: the token that a feed gives him and that he comes back with.
//!
//! `<sequence>-<tag>_<event>[_<target><l|g><cursor>]_<mac>`: the sequence of the one order up to which
//! he has seen all, the tag of the store, the event of his history that was in force, and where he
//! stopped in a transition from that event to a later one. The code at its end binds the event to the
//! database and to the reader, so nobody comes with an event that was not his. The numbers are not
//! bound: whoever changes them passes over what is his own, as with any feed. So the rows of a feed
//! share one code.
//!
//! Invariant: what was not made for this reader of this database by this key is `None`, whatever its
//! bytes are.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::list::base32;

/// The longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 512;
/// How much of the code is in the token.
const CODE_BYTES: usize = 16;
const PURPOSE: &[u8] = b"adea place of a reader 1";

/// Where a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// He has seen all up to this sequence, that the event `seen_at` showed.
    pub sequence: u64,
    /// The sequence of the event of his history that was in force.
    pub seen_at: u64,
    /// Where he stopped on the way to a later event.
    pub phase: Option<Phase>,
}

/// A transition that was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The sequence of the event that it leads to.
    pub target: u64,
    /// In which part of it he is.
    pub kind: PhaseKind,
    /// The last entry that he has seen of that part.
    pub cursor: u64,
}

/// A part of a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseKind {
    /// What he sees no more.
    Lost,
    /// What he sees now.
    Gained,
}

impl Place {
    /// The token, for this reader of the database with this number.
    #[must_use]
    pub fn encode(&self, tag: &str, key: &[u8; 32], database: u64, reader: &str) -> String {
        let mut text = Vec::with_capacity(96);
        Seal::new(self.seen_at, tag, key, database, reader).write(&mut text, self);
        String::from_utf8(text).unwrap_or_default()
    }

    /// The place that a token says; `None` unless it was made with this tag and key for this reader
    /// of the database with this number.
    #[must_use]
    pub fn decode(
        token: &str,
        tag: &str,
        key: &[u8; 32],
        database: u64,
        reader: &str,
    ) -> Option<Self> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (text, given) = token.rsplit_once('_')?;
        let (sequence, rest) = text.split_once('-')?;
        let mut parts = rest.strip_prefix(tag)?.strip_prefix('_')?.split('_');
        let sequence = sequence.parse().ok()?;
        let seen_at = parts.next()?.parse().ok()?;
        let expected = code(key, database, reader, &format!("{tag}_{seen_at}"));
        let same: bool = expected.as_bytes().ct_eq(given.as_bytes()).into();
        if !same {
            return None;
        }
        let phase = match parts.next() {
            Some(text) => Some(Phase::parse(text)?),
            None => None,
        };
        parts.next().is_none().then_some(Self {
            sequence,
            seen_at,
            phase,
        })
    }
}

/// What the tokens of one event of one reader share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    seen_at: u64,
    tag: String,
    code: String,
}

impl Seal {
    /// That of the event at `seen_at`, for this reader of the database with this number.
    #[must_use]
    pub fn new(seen_at: u64, tag: &str, key: &[u8; 32], database: u64, reader: &str) -> Self {
        let code = code(key, database, reader, &format!("{tag}_{seen_at}"));
        Self {
            seen_at,
            tag: format!("-{tag}_{seen_at}"),
            code: format!("_{code}"),
        }
    }

    /// The event.
    #[must_use]
    pub fn seen_at(&self) -> u64 {
        self.seen_at
    }

    /// Writes the token of a place where this event was in force.
    pub fn write(&self, out: &mut Vec<u8>, place: &Place) {
        debug_assert_eq!(place.seen_at, self.seen_at, "the seal of another event");
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(digits.format(place.sequence).as_bytes());
        out.extend_from_slice(self.tag.as_bytes());
        if let Some(phase) = place.phase {
            out.push(b'_');
            out.extend_from_slice(digits.format(phase.target).as_bytes());
            out.push(match phase.kind {
                PhaseKind::Lost => b'l',
                PhaseKind::Gained => b'g',
            });
            out.extend_from_slice(digits.format(phase.cursor).as_bytes());
        }
        out.extend_from_slice(self.code.as_bytes());
    }
}

impl Phase {
    fn parse(text: &str) -> Option<Self> {
        let at = text.find(['l', 'g'])?;
        let (target, rest) = text.split_at_checked(at)?;
        let (kind, cursor) = match rest.strip_prefix('l') {
            Some(cursor) => (PhaseKind::Lost, cursor),
            None => (PhaseKind::Gained, rest.strip_prefix('g')?),
        };
        Some(Self {
            target: target.parse().ok()?,
            kind,
            cursor: cursor.parse().ok()?,
        })
    }
}

/// The code of what a token is bound by: a keyed hash of it.
fn code(key: &[u8; 32], database: u64, reader: &str, text: &str) -> String {
    #[expect(
        clippy::expect_used,
        reason = "HMAC is defined for keys of every length; the error exists for other keyed hashes"
    )]
    let mut hash = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    hash.update(PURPOSE);
    hash.update(&database.to_be_bytes());
    hash.update(&(reader.len() as u64).to_be_bytes());
    hash.update(reader.as_bytes());
    hash.update(text.as_bytes());
    let bytes = hash.finalize().into_bytes();
    base32(bytes.get(..CODE_BYTES).unwrap_or_default())
}

#[cfg(test)]
mod tests;

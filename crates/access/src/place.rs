//! Where a reader of `mine` is: the token that a feed gives him and that he comes back with.
//!
//! `<sequence>-<tag>_<event>[_<target><l|g><cursor>]_<mac>`: the sequence of the one order up to which
//! he has seen all, the tag of the store, the event of his history that was in force, and where he
//! stopped in a transition from that event to a later one. The code at its end binds all of it to the
//! database and to the reader, so nobody makes one or uses another's.
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
        let mut text = format!("{}-{tag}_{}", self.sequence, self.seen_at);
        if let Some(phase) = self.phase {
            let kind = match phase.kind {
                PhaseKind::Lost => 'l',
                PhaseKind::Gained => 'g',
            };
            text.push_str(&format!("_{}{kind}{}", phase.target, phase.cursor));
        }
        let code = code(key, database, reader, &text);
        text.push('_');
        text.push_str(&code);
        text
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
        let expected = code(key, database, reader, text);
        let same: bool = expected.as_bytes().ct_eq(given.as_bytes()).into();
        if !same {
            return None;
        }
        let (sequence, rest) = text.split_once('-')?;
        let mut parts = rest.strip_prefix(tag)?.strip_prefix('_')?.split('_');
        let sequence = sequence.parse().ok()?;
        let seen_at = parts.next()?.parse().ok()?;
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

/// The code of a token's text: a keyed hash of it with what it is bound to.
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

//! What stands under a label, in the order of sequences: changes of documents, and removal markers.

use adea_store::EngineError;

use crate::error::corrupt;
use crate::record::{Record, encode_change};

/// What stands under a key of [`keys::label_change`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry<'b> {
    /// The change of a document under the label, which everybody who has seen the label ever since sees
    /// as it is.
    Plain(&'b [u8]),
    /// The change of a document whose record must be read to know what a reader sees of it.
    Intricate(&'b [u8]),
    /// The id of a document that left.
    Left(&'b str),
}

impl<'b> Entry<'b> {
    const PLAIN: u8 = 0;
    const INTRICATE: u8 = 1;
    const LEFT: u8 = 2;

    pub(crate) fn decode(bytes: &'b [u8]) -> Result<Self, EngineError> {
        let damaged = || corrupt("an entry of a label");
        let (kind, rest) = bytes.split_first().ok_or_else(damaged)?;
        match *kind {
            Self::PLAIN => Ok(Self::Plain(rest)),
            Self::INTRICATE => Ok(Self::Intricate(rest)),
            Self::LEFT => std::str::from_utf8(rest)
                .map(Self::Left)
                .map_err(|_| damaged()),
            _ => Err(damaged()),
        }
    }

    pub(super) fn left(id: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + id.len());
        out.push(Self::LEFT);
        out.extend_from_slice(id.as_bytes());
        out
    }

    /// The entry of a document as its record says.
    pub(crate) fn of(id: &str, record: &Record) -> Vec<u8> {
        let change = encode_change(id, record.sequence, &record.tree);
        let mut out = Vec::with_capacity(1 + change.len());
        out.push(if is_plain(record) {
            Self::PLAIN
        } else {
            Self::INTRICATE
        });
        out.extend_from_slice(&change);
        out
    }
}

/// Whether all that a reader sees of a document follows from when he saw its label: one leaf, and the
/// document under its label ever since that was written.
fn is_plain(record: &Record) -> bool {
    let Some(labelled) = &record.labelled else {
        return false;
    };
    let body = record.tree.winner().and_then(crate::rev_tree::Node::body);
    record.tree.leaf_count() == 1
        && (labelled.earlier.is_empty() || body.is_some_and(|body| labelled.since <= body))
}

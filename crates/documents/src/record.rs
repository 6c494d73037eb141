//! The three values stored for a document, and how they are written.
//!
//! * the *record*, by id: where its last change is, how large its winner is, and its tree;
//! * the *change*, by sequence: the id and the leaves, so that a feed reads nothing else;
//! * the *body*, by the sequence it was written under: attachments' stubs, then the JSON text.
//!
//! A document that is never edited again costs one of each; an edit writes the three anew and
//! deletes the change before. Old bodies stay until compaction.

use adea_store::EngineError;
use adea_store::value::{Reader, put_bytes, put_varint};

use crate::error::corrupt;
use crate::labels::Labelled;
use crate::rev_tree::{Node, RevTree, WinnerHead};
use crate::revision::{Revision, RevisionId};

const FORMAT: u8 = 1;
/// A record with labels between its numbers and its tree.
const FORMAT_WITH_LABELS: u8 = 2;
/// A change lists its leaves up to this many; of more, the record's tree tells.
const LEAVES_LISTED_MAX: usize = 32;

/// What is stored for a document by its id.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The sequence of its last change; 0 if it has none yet.
    pub sequence: u64,
    /// Bytes of the winner's body and attachments.
    pub external_bytes: u64,
    /// How it stands under labels, where documents have them.
    pub labelled: Option<Labelled>,
    /// Every revision remembered.
    pub tree: RevTree,
}

/// The front of a [`Record`]: all that a listing needs.
#[derive(Clone, Debug)]
pub struct RecordHead {
    /// The sequence of its last change.
    pub sequence: u64,
    /// Bytes of the winner's body and attachments.
    pub external_bytes: u64,
    /// How it stands under labels, where documents have them.
    pub labelled: Option<Labelled>,
    /// The winner.
    pub winner: WinnerHead,
}

fn damaged<T>(_: T) -> EngineError {
    corrupt("a document's record")
}

struct Front<'b> {
    sequence: u64,
    external_bytes: u64,
    labelled: Option<Labelled>,
    tree: &'b [u8],
}

fn split(bytes: &[u8]) -> Option<Front<'_>> {
    let mut reader = Reader::new(bytes);
    let format = reader.byte()?;
    let (sequence, external_bytes) = (reader.varint()?, reader.varint()?);
    let labelled = match format {
        FORMAT => None,
        FORMAT_WITH_LABELS => Some(Labelled::decode(&mut reader)?),
        _ => return None,
    };
    Some(Front {
        sequence,
        external_bytes,
        labelled,
        tree: reader.rest(),
    })
}

impl Record {
    /// Reads a stored record.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] if it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        let front = split(bytes).ok_or_else(|| damaged(()))?;
        Ok(Self {
            sequence: front.sequence,
            external_bytes: front.external_bytes,
            labelled: front.labelled,
            tree: RevTree::decode(front.tree).map_err(damaged)?,
        })
    }

    /// The leaves, winner first.
    #[must_use]
    pub fn leaves(&self) -> Vec<Leaf> {
        self.tree.leaves().map(Leaf::from).collect()
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.push(match self.labelled {
            None => FORMAT,
            Some(_) => FORMAT_WITH_LABELS,
        });
        put_varint(&mut out, self.sequence);
        put_varint(&mut out, self.external_bytes);
        if let Some(labelled) = &self.labelled {
            labelled.encode(&mut out);
        }
        self.tree.encode(&mut out);
        out
    }
}

impl RecordHead {
    /// Reads the front of a stored record.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] if it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        let front = split(bytes).ok_or_else(|| damaged(()))?;
        Ok(Self {
            sequence: front.sequence,
            external_bytes: front.external_bytes,
            labelled: front.labelled,
            winner: WinnerHead::decode(front.tree).map_err(damaged)?,
        })
    }
}

/// A leaf as a change lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The revision.
    pub revision: Revision,
    /// Whether it is a tombstone.
    pub deleted: bool,
}

impl From<&Node> for Leaf {
    fn from(node: &Node) -> Self {
        Self {
            revision: node.revision(),
            deleted: node.is_deleted(),
        }
    }
}

/// What is stored for a change by its sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<'b> {
    /// The document's id.
    pub id: &'b str,
    /// Where the winner's body is, if it is here.
    pub body: Option<u64>,
    /// The leaves, winner first; `None` if there are too many to list.
    pub leaves: Option<Vec<Leaf>>,
    /// The winner.
    pub winner: Leaf,
}

/// Writes the change that leaves a document with `tree`.
#[must_use]
pub fn encode_change(id: &str, sequence: u64, tree: &RevTree) -> Vec<u8> {
    let mut out = Vec::with_capacity(id.len() + 32);
    out.push(FORMAT);
    put_bytes(&mut out, id.as_bytes());
    let body = tree.winner().and_then(Node::body);
    // Nearly always the winner is what was just written: then this is 1.
    put_varint(
        &mut out,
        body.map_or(0, |body| sequence.saturating_sub(body) + 1),
    );
    let count = tree.leaf_count();
    let listed = if count > LEAVES_LISTED_MAX { 1 } else { count };
    put_varint(&mut out, count as u64);
    for leaf in tree.leaves().take(listed) {
        let (kind, bytes): (u8, &[u8]) = match leaf.id() {
            RevisionId::Md5(bytes) => (0, bytes),
            RevisionId::Text(text) => (2, text.as_bytes()),
        };
        out.push(kind | u8::from(leaf.is_deleted()));
        put_varint(&mut out, leaf.generation());
        if kind == 0 {
            out.extend_from_slice(bytes);
        } else {
            put_bytes(&mut out, bytes);
        }
    }
    out
}

fn decode_leaf(reader: &mut Reader<'_>) -> Option<Leaf> {
    let kind = reader.byte()?;
    let generation = reader.varint()?;
    let id = if kind & 2 == 0 {
        RevisionId::Md5(reader.array()?)
    } else {
        RevisionId::Text(reader.text()?.into())
    };
    Some(Leaf {
        revision: Revision { generation, id },
        deleted: kind & 1 == 1,
    })
}

/// Reads the change stored under `sequence`.
///
/// # Errors
/// [`EngineError::Corrupt`] if it is none.
pub fn decode_change(bytes: &[u8], sequence: u64) -> Result<Change<'_>, EngineError> {
    let read = || {
        let mut reader = Reader::new(bytes);
        (reader.byte()? == FORMAT).then_some(())?;
        let id = reader.text()?;
        let body = match reader.varint()? {
            0 => None,
            back => Some(sequence.checked_sub(back - 1)?),
        };
        let count = reader.varint()?;
        let winner = decode_leaf(&mut reader)?;
        let leaves = if count > LEAVES_LISTED_MAX as u64 {
            None
        } else {
            let mut leaves = vec![winner.clone()];
            for _ in 1..count {
                leaves.push(decode_leaf(&mut reader)?);
            }
            Some(leaves)
        };
        Some(Change {
            id,
            body,
            leaves,
            winner,
        })
    };
    read().ok_or_else(|| corrupt("a change"))
}

/// How an attachment's bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they were sent.
    Identity,
    /// Compressed, as `CouchDB` does with text.
    Gzip,
}

/// An attachment as its document names it; the bytes lie elsewhere, by their address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name, unique in the document.
    pub name: String,
    /// Its media type.
    pub content_type: String,
    /// The generation of the revision that brought it.
    pub revision_position: u64,
    /// MD5 of the stored bytes, which clients compare.
    pub md5: [u8; 16],
    /// SHA-256 of the stored bytes: their address.
    pub address: [u8; 32],
    /// Bytes before encoding, as told to clients.
    pub length: u64,
    /// Bytes as stored.
    pub stored_length: u64,
    /// How they are stored.
    pub encoding: Encoding,
}

/// A revision's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The attachments, in the order of the document.
    pub attachments: Vec<Attachment>,
    /// The JSON object without the fields that begin with `_`.
    pub json: Vec<u8>,
}

/// Bytes of a body's text and its attachments.
#[must_use]
pub fn external_bytes(attachments: &[Attachment], json: &[u8]) -> u64 {
    json.len() as u64 + attachments.iter().map(|a| a.length).sum::<u64>()
}

/// Writes a body.
#[must_use]
pub fn encode_body(attachments: &[Attachment], json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() + 2 + attachments.len() * 120);
    out.push(FORMAT);
    put_varint(&mut out, attachments.len() as u64);
    for attachment in attachments {
        put_bytes(&mut out, attachment.name.as_bytes());
        put_bytes(&mut out, attachment.content_type.as_bytes());
        put_varint(&mut out, attachment.revision_position);
        out.extend_from_slice(&attachment.md5);
        out.extend_from_slice(&attachment.address);
        put_varint(&mut out, attachment.length);
        put_varint(&mut out, attachment.stored_length);
        out.push(u8::from(attachment.encoding == Encoding::Gzip));
    }
    out.extend_from_slice(json);
    out
}

impl Body {
    /// Bytes of body and attachments.
    #[must_use]
    pub fn external_bytes(&self) -> u64 {
        external_bytes(&self.attachments, &self.json)
    }

    /// Reads a stored body.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] if it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        let (attachments, json) = split_body(bytes)?;
        Ok(Self {
            attachments,
            json: json.to_vec(),
        })
    }
}

/// Splits a stored body into attachments and JSON text, without copying the text.
///
/// # Errors
/// [`EngineError::Corrupt`] if it is none.
pub fn split_body(bytes: &[u8]) -> Result<(Vec<Attachment>, &[u8]), EngineError> {
    let read = || {
        let mut reader = Reader::new(bytes);
        (reader.byte()? == FORMAT).then_some(())?;
        let count = reader.varint()?;
        let mut attachments = Vec::new();
        for _ in 0..count {
            attachments.push(Attachment {
                name: reader.text()?.to_owned(),
                content_type: reader.text()?.to_owned(),
                revision_position: reader.varint()?,
                md5: reader.array()?,
                address: reader.array()?,
                length: reader.varint()?,
                stored_length: reader.varint()?,
                encoding: if reader.byte()? == 1 {
                    Encoding::Gzip
                } else {
                    Encoding::Identity
                },
            });
        }
        Some((attachments, reader.rest()))
    };
    read().ok_or_else(|| corrupt("a body"))
}

/// The MD5 in a digest as clients send it: `md5-` and Base64.
#[must_use]
pub fn parse_digest(digest: &str) -> Option<[u8; 16]> {
    use base64::Engine as _;
    let text = digest.strip_prefix("md5-")?;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .ok()?;
    bytes.try_into().ok()
}

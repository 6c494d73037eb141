//! One document with its attachments, from source to target, without ever holding a content.
//!
//! The bytes pass through [`Contents`], which counts and hashes them: an attachment that is not as long
//! as was said, or not what its digest says, is noticed at its end and before the target has taken the
//! document. So a source that is wrong costs a request, and writes nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use md5::{Digest as _, Md5};
use serde::Deserialize;

use crate::peer::{PeerError, Sending};
use crate::raw;

/// An attachment that follows its document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Following {
    /// Its name.
    pub name: String,
    /// Its type.
    pub content_type: String,
    /// How many bytes come.
    pub length: u64,
    /// How many these are without their encoding.
    pub identity_length: u64,
    /// Whether they are gzip.
    pub gzip: bool,
    /// The generation that it came with.
    pub revision_position: u64,
    /// The MD5 of what comes, if it is known.
    pub md5: Option<[u8; 16]>,
}

#[derive(Deserialize)]
struct RawAttachment {
    #[serde(default)]
    follows: bool,
    content_type: Option<String>,
    length: Option<u64>,
    encoding: Option<String>,
    encoded_length: Option<u64>,
    digest: Option<String>,
    revpos: Option<u64>,
}

/// What is read of every document that passes.
pub(crate) struct Head<'a> {
    pub(crate) id: String,
    /// Their JSON.
    attachments: Option<&'a [u8]>,
}

impl<'a> Head<'a> {
    pub(crate) fn read(json: &'a [u8]) -> Result<Self, PeerError> {
        let none = |what: String| PeerError::Nonsense(format!("a document that is none: {what}"));
        let (mut id, mut attachments) = (None, None);
        raw::for_each_member(json, |name, text| {
            match name {
                "_id" => id = Some(serde_json::from_slice(text)?),
                "_attachments" => attachments = Some(text).filter(|text| *text != b"null"),
                _ => {}
            }
            Ok(())
        })
        .map_err(|error| none(error.to_string()))?;
        let id = id.ok_or_else(|| none("missing field `_id`".to_owned()))?;
        Ok(Self { id, attachments })
    }

    pub(crate) fn has_attachments(&self) -> bool {
        self.attachments
            .is_some_and(|raw| raw.trim_ascii() != b"{}")
    }

    /// The attachments that follow, in their order.
    pub(crate) fn following(&self) -> Result<Vec<Following>, PeerError> {
        let Some(raw) = self.attachments else {
            return Ok(Vec::new());
        };
        let nonsense =
            |what: String| PeerError::Nonsense(format!("attachments of {}: {what}", self.id));
        let described: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(raw).map_err(|error| nonsense(error.to_string()))?;
        let mut following = Vec::new();
        for (name, described) in described {
            let described: RawAttachment =
                serde_json::from_value(described).map_err(|error| nonsense(error.to_string()))?;
            if described.follows {
                let lengthless = || nonsense(format!("{name} has no length"));
                following.push(described.following(&name).ok_or_else(lengthless)?);
            }
        }
        Ok(following)
    }
}

impl RawAttachment {
    fn following(&self, name: &str) -> Option<Following> {
        let gzip = self
            .encoding
            .as_deref()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let length = if gzip {
            self.encoded_length
        } else {
            self.length
        };
        Some(Following {
            name: name.to_owned(),
            content_type: self
                .content_type
                .clone()
                .unwrap_or_else(|| "application/octet-stream".to_owned()),
            length: length?,
            identity_length: self.length?,
            gzip,
            revision_position: self.revpos.unwrap_or(0),
            md5: self.digest.as_deref().and_then(read_md5),
        })
    }
}

/// The MD5 in a digest; other algorithms are not checked.
fn read_md5(digest: &str) -> Option<[u8; 16]> {
    let encoded = digest.strip_prefix("md5-")?;
    BASE64.decode(encoded).ok()?.try_into().ok()
}

/// A piece of what follows a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the attachment at hand.
    Data(Bytes),
    /// It is complete, and is what was said of it.
    End,
}

/// The contents that follow a document, counted and hashed while they pass.
pub struct Contents<'s> {
    source: &'s mut dyn Sending,
    following: &'s [Following],
    at: usize,
    received: u64,
    hash: Md5,
    /// Why it ended before its end: a target that sees only a body broken off does not know.
    fault: Option<PeerError>,
}

impl<'s> Contents<'s> {
    /// What `source` sends behind the document at hand.
    #[must_use]
    pub fn new(source: &'s mut dyn Sending, following: &'s [Following]) -> Self {
        Self {
            source,
            following,
            at: 0,
            received: 0,
            hash: Md5::new(),
            fault: None,
        }
    }

    /// What follows, in its order.
    #[must_use]
    pub fn following(&self) -> &'s [Following] {
        self.following
    }

    /// Why it ended before its end, if it did.
    #[must_use]
    pub fn fault(&self) -> Option<&PeerError> {
        self.fault.as_ref()
    }

    /// The next piece; `None` when all attachments are complete.
    ///
    /// # Errors
    /// [`PeerError::Nonsense`] if an attachment is not what was said of it, and what the source says.
    pub async fn next(&mut self) -> Result<Option<Piece>, PeerError> {
        let next = self.read().await;
        if let Err(error) = &next {
            self.fault = Some(error.clone());
        }
        next
    }

    async fn read(&mut self) -> Result<Option<Piece>, PeerError> {
        let Some(said) = self.following.get(self.at) else {
            return Ok(None);
        };
        match self.source.next_piece().await? {
            Some(data) => {
                self.received = self.received.saturating_add(data.len() as u64);
                if self.received > said.length {
                    return Err(wrong(said, "longer than was said"));
                }
                self.hash.update(&data);
                Ok(Some(Piece::Data(data)))
            }
            None => {
                if self.received != said.length {
                    return Err(wrong(said, "shorter than was said"));
                }
                let hash = std::mem::take(&mut self.hash).finalize();
                if said.md5.is_some_and(|md5| md5[..] != hash[..]) {
                    return Err(wrong(said, "not what its digest says"));
                }
                self.at += 1;
                self.received = 0;
                Ok(Some(Piece::End))
            }
        }
    }
}

fn wrong(said: &Following, how: &str) -> PeerError {
    PeerError::Nonsense(format!("attachment {} is {how}", said.name))
}

//! What one client knows of what it wrote: for each document the last acknowledged state, and the
//! states that were asked for but not answered.
//!
//! Only one client writes a document, one request after the other. So after a crash the document is
//! either as last acknowledged or as one unanswered request wanted it; anything else is a fault.

use std::collections::BTreeMap;

use super::random::Random;

/// An attachment: its bytes follow from the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) seed: u64,
    pub(super) length: usize,
}

impl Blob {
    pub(super) fn bytes(self) -> Vec<u8> {
        Random::seeded(self.seed).bytes(self.length)
    }
}

/// What a document holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing: it is deleted.
    Deleted,
    /// A number that no other write used, and attachments.
    Holds {
        value: u64,
        blobs: BTreeMap<String, Blob>,
    },
}

impl Content {
    pub(super) const fn of(value: u64) -> Self {
        Self::Holds {
            value,
            blobs: BTreeMap::new(),
        }
    }

    /// A text that follows from the number, so that documents have different lengths.
    pub(super) fn padding(value: u64) -> String {
        let mut random = Random::seeded(value);
        let length = random.below(1_200);
        (0..length)
            .map(|_| char::from(b'a' + u8::try_from(random.below(26)).unwrap()))
            .collect()
    }
}

/// What the server says a document is.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) revision: String,
    pub(super) deleted: bool,
    pub(super) value: Option<u64>,
    /// Names and lengths.
    pub(super) blobs: BTreeMap<String, usize>,
}

impl Found {
    fn is(&self, content: &Content) -> bool {
        match content {
            Content::Deleted => self.deleted,
            Content::Holds { value, blobs } => {
                let lengths = blobs.iter().map(|(name, blob)| (name, &blob.length));
                !self.deleted && self.value == Some(*value) && self.blobs.iter().eq(lengths)
            }
        }
    }
}

/// What is known of one document.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// All acknowledged revisions, the newest last, with what that one holds.
    pub(super) revisions: Vec<String>,
    pub(super) acknowledged: Option<Content>,
    pub(super) unanswered: Vec<Content>,
}

impl Record {
    pub(super) fn acknowledge(&mut self, revision: String, content: Content) {
        self.revisions.push(revision);
        self.acknowledged = Some(content);
        self.unanswered.clear();
    }

    pub(super) fn revision(&self) -> Option<&String> {
        self.revisions.last()
    }

    /// Whether it is there to be read.
    pub(super) const fn is_live(&self) -> bool {
        matches!(self.acknowledged, Some(Content::Holds { .. }))
    }

    /// Compares with what the server has; what an unanswered request did is known from then on.
    pub(super) fn settle(&mut self, found: Option<&Found>) -> Result<(), String> {
        let Some(found) = found else {
            return match &self.acknowledged {
                None => {
                    self.unanswered.clear();
                    Ok(())
                }
                Some(content) => Err(format!(
                    "acknowledged as {:?} {content:?}, and missing",
                    self.revision()
                )),
            };
        };
        if let Some(content) = &self.acknowledged
            && self.revision() == Some(&found.revision)
        {
            let right = found.is(content);
            self.unanswered.clear();
            return right
                .then_some(())
                .ok_or_else(|| format!("is {found:?}, and {content:?} was acknowledged"));
        }
        match self.unanswered.iter().find(|content| found.is(content)) {
            Some(content) => {
                let content = content.clone();
                self.acknowledge(found.revision.clone(), content);
                Ok(())
            }
            None => Err(format!("is {found:?}, and this was known: {self:?}")),
        }
    }
}

/// A database that is made and dropped again and again, and what is in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Churned {
    pub(super) exists: bool,
    /// A request to make or drop it was not answered.
    pub(super) in_doubt: bool,
    pub(super) documents: BTreeMap<String, Record>,
}

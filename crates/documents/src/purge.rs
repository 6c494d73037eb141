//! What was purged, remembered so that indexes and administrators can hear of it.

use adea_base::DocumentId;
use adea_store::value::{Reader as ValueReader, put_bytes, put_varint};
use adea_store::{Direction, EngineError, Space, Transaction};

use crate::error::corrupt;
use crate::keys;
use crate::reader::Reader;
use crate::revision::Revision;

const FORMAT: u8 = 1;

/// One purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// Its number, in the database's own order of purges.
    pub sequence: u64,
    /// The document.
    pub id: String,
    /// The revisions asked for.
    pub revisions: Vec<String>,
}

pub(crate) fn encode(id: &DocumentId, revisions: &[Revision]) -> Vec<u8> {
    let mut out = vec![FORMAT];
    put_bytes(&mut out, id.as_str().as_bytes());
    put_varint(&mut out, revisions.len() as u64);
    for revision in revisions {
        put_bytes(&mut out, revision.to_string().as_bytes());
    }
    out
}

fn decode(sequence: u64, bytes: &[u8]) -> Option<Purge> {
    let mut reader = ValueReader::new(bytes);
    (reader.byte()? == FORMAT).then_some(())?;
    let id = reader.text()?.to_owned();
    let count = reader.varint()?;
    let mut revisions = Vec::new();
    for _ in 0..count {
        revisions.push(reader.text()?.to_owned());
    }
    Some(Purge {
        sequence,
        id,
        revisions,
    })
}

impl Reader<'_> {
    /// The purges remembered, oldest first.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn purges(&self) -> Result<Vec<Purge>, EngineError> {
        let mut found = Vec::new();
        // They name documents, whoever could see them.
        if self.scope.sight().is_some() {
            return Ok(found);
        }
        let range = keys::purges(self.database);
        let mut cursor = self.view.range(Space::Index, range, Direction::Forward)?;
        while let Some((key, value)) = cursor.next()? {
            let purge = keys::number_of(self.database, key)
                .and_then(|sequence| decode(sequence, value))
                .ok_or_else(|| corrupt("a purge"))?;
            found.push(purge);
        }
        Ok(found)
    }
}

/// Forgets all purges but the last `limit`.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn trim(
    tx: &mut Transaction<'_>,
    database: keys::DatabaseNumber,
    limit: u64,
) -> Result<(), EngineError> {
    let mut sequences = Vec::new();
    {
        let mut cursor =
            tx.committed()
                .range(Space::Index, keys::purges(database), Direction::Forward)?;
        while let Some((key, _)) = cursor.next()? {
            sequences.extend(keys::number_of(database, key));
        }
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let superfluous = sequences.len().saturating_sub(limit);
    for sequence in sequences.into_iter().take(superfluous) {
        tx.delete(Space::Index, keys::purge(database, sequence));
    }
    Ok(())
}

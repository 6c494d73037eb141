//! Who got back what he had lost: as far as that goes, revivals may be out there.

use std::collections::BTreeSet;
use std::sync::Arc;

use adea_store::value::{Reader, put_varint};
use adea_store::{EngineError, Space, Transaction};

use super::index::{LabelChanges, label_in};
use super::{EVERYTHING, Labelled};
use crate::error::corrupt;
use crate::keys::{self, DatabaseNumber};
use crate::seen::NOBODY;

impl LabelChanges {
    /// How far readers may be on the chain under a revision written at `body` in a document that stood
    /// as `labelled` says: 0 if nobody can hold anything of it but tombstones.
    pub(crate) fn returns_of(
        tx: &Transaction<'_>,
        database: DatabaseNumber,
        labelled: &Labelled,
        body: u64,
        returned_at: u64,
    ) -> Result<u64, EngineError> {
        let eras = labelled.earlier.iter().filter(|era| era.until > body);
        let mut labels: BTreeSet<u64> = eras.clone().map(|era| era.label).collect();
        labels.insert(labelled.label);
        let mut most = 0;
        if returned_at > body {
            for label in labels {
                if label == NOBODY {
                    continue;
                }
                let members = label_in(tx, database, label)?.members;
                for member in members.iter().map(AsRef::as_ref).chain([EVERYTHING]) {
                    let key = keys::returned(database, member);
                    let Some(bytes) = tx.get(Space::Index, &key)? else {
                        continue;
                    };
                    let (at, times) = decode_returned(&bytes)?;
                    if at > body {
                        most = most.max(times);
                    }
                }
            }
        }
        Ok(most + eras.count() as u64)
    }
}

/// Notes that a reader got back `members` that he had lost before; `returns` is how often he had got
/// something back then, this time included.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn note_returned(
    tx: &mut Transaction<'_>,
    database: DatabaseNumber,
    members: &[Arc<str>],
    returns: u64,
) -> Result<(), EngineError> {
    let at = tx.sequence();
    for member in members {
        let key = keys::returned(database, member);
        let before = match tx.get(Space::Index, &key)? {
            Some(bytes) => decode_returned(&bytes)?.1,
            None => 0,
        };
        let mut value = Vec::with_capacity(12);
        put_varint(&mut value, at);
        put_varint(&mut value, before.max(returns));
        tx.put(Space::Index, key, value);
    }
    crate::database::note_returned(tx, database, at)
}

fn decode_returned(bytes: &[u8]) -> Result<(u64, u64), EngineError> {
    let mut reader = Reader::new(bytes);
    reader
        .varint()
        .zip(reader.varint())
        .ok_or_else(|| corrupt("who got back what"))
}

//! Local documents: they do not replicate, have no history and stand in no feed. Replicators keep
//! their checkpoints in them.

use adea_store::value::{Reader as ValueReader, put_varint};
use adea_store::{Decline, Direction, EngineError, KeyRange, Space, Transaction};

use crate::database;
use crate::error::{DatabaseError, corrupt};
use crate::keys::{self, DatabaseNumber};
use crate::reader::Reader;

const FORMAT: u8 = 1;

/// A local document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalDocument {
    /// The number in its revision, `0-number`.
    pub number: u64,
    /// Its JSON object without the fields that begin with `_`.
    pub json: Vec<u8>,
}

impl LocalDocument {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.json.len() + 4);
        out.push(FORMAT);
        put_varint(&mut out, self.number);
        out.extend_from_slice(&self.json);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        let read = || {
            let mut reader = ValueReader::new(bytes);
            (reader.byte()? == FORMAT).then_some(())?;
            Some(Self {
                number: reader.varint()?,
                json: reader.rest().to_vec(),
            })
        };
        read().ok_or_else(|| corrupt("a local document"))
    }
}

/// Writes local document `name` (without `_local/`); it replaces what was there.
///
/// # Errors
/// [`DatabaseError::Missing`] if the database was dropped meanwhile.
pub fn put(
    tx: &mut Transaction<'_>,
    number: DatabaseNumber,
    name: &str,
    document: &LocalDocument,
) -> Result<(), Decline<DatabaseError>> {
    database::settings_in(tx, number)?;
    tx.put(Space::Index, keys::local(number, name), document.encode());
    Ok(())
}

/// Deletes local document `name`; false if there was none.
///
/// # Errors
/// [`DatabaseError::Missing`] if the database was dropped meanwhile.
pub fn delete(
    tx: &mut Transaction<'_>,
    number: DatabaseNumber,
    name: &str,
) -> Result<bool, Decline<DatabaseError>> {
    database::settings_in(tx, number)?;
    let key = keys::local(number, name);
    let existed = tx.get(Space::Index, &key)?.is_some();
    if existed {
        tx.delete(Space::Index, key);
    }
    Ok(existed)
}

impl Reader<'_> {
    /// Local document `name` (without `_local/`).
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn local(&self, name: &str) -> Result<Option<LocalDocument>, EngineError> {
        self.view
            .get(Space::Index, &keys::local(self.database, name))?
            .map(|bytes| LocalDocument::decode(&bytes))
            .transpose()
    }

    /// Local documents with names in `from <= name < to`, at most `limit`, in their order.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn locals(
        &self,
        from: Option<&str>,
        to: Option<&str>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(String, LocalDocument)>, EngineError> {
        let all = keys::locals(self.database);
        let range = KeyRange {
            from: from.map_or(all.from, |name| keys::local(self.database, name)),
            to: to.map_or(all.to, |name| keys::local(self.database, name)),
        };
        let mut found = Vec::new();
        let mut cursor = self.view.range(Space::Index, range, direction)?;
        while found.len() < limit
            && let Some((key, value)) = cursor.next()?
        {
            let name = keys::rest_of(self.database, key)
                .and_then(|name| std::str::from_utf8(name).ok())
                .ok_or_else(|| corrupt("a local document's key"))?;
            found.push((name.to_owned(), LocalDocument::decode(value)?));
        }
        Ok(found)
    }
}

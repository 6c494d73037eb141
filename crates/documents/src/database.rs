//! A database: a name that stands for a number, its settings, and its counts.
//!
//! Names point to numbers; a dropped database loses its name at once, in one small commit, and
//! its entries later, in the background.

use adea_base::DatabaseName;
use adea_store::value::{Reader, put_bytes, put_varint};
use adea_store::{Decline, Direction, EngineError, KeyRange, Op, Space, Transaction, View};

use crate::error::{DatabaseError, corrupt};
use crate::keys::{self, DATABASES_TOPIC, DatabaseNumber};
use crate::lifetimes;

/// How many revisions of a branch a document remembers, unless set otherwise.
pub const REVISIONS_LIMIT: u64 = 1_000;
/// How many purges are remembered, unless set otherwise.
pub const PURGES_LIMIT: u64 = 1_000;

/// What is set for a database; changes rarely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Seconds since the Unix epoch.
    pub created_unix_s: u64,
    /// How many revisions of a branch are remembered.
    pub revisions_limit: u64,
    /// How many purges are remembered.
    pub purges_limit: u64,
    /// The security object as JSON text; empty for the default.
    pub security: String,
    /// Whether document ids are `partition:id`.
    pub partitioned: bool,
    /// The generation of the rule that says under which label a document stands: the sequence at
    /// which it was set; 0 if documents have no labels.
    pub labels: u64,
    /// The generation up to which all documents stand under labels. As long as it is behind `labels`,
    /// documents of an older generation are seen by nobody.
    pub labelled: u64,
    /// What is set for access, as JSON text; empty for nothing. What it says is not known here.
    pub access: String,
}

/// What is counted for a database; changes with every write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Documents whose winner is not deleted.
    pub documents: u64,
    /// Documents whose winner is deleted.
    pub deleted: u64,
    /// The sequence of the last change; 0 if there was none.
    pub update_sequence: u64,
    /// How many purges there were.
    pub purge_sequence: u64,
    /// Bytes of the winners' bodies and attachments as JSON and identity.
    pub external_bytes: u64,
    /// The sequence at which a reader last got back a member that he had lost; 0 if none ever did.
    pub returned_at: u64,
}

/// A database that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Its number.
    pub number: DatabaseNumber,
    /// What is set for it.
    pub settings: Settings,
}

const FORMAT: u8 = 1;
/// Settings with what is set for labels behind the rest.
const FORMAT_WITH_LABELS: u8 = 2;

impl Settings {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT_WITH_LABELS];
        put_varint(&mut out, self.created_unix_s);
        put_varint(&mut out, self.revisions_limit);
        put_varint(&mut out, self.purges_limit);
        out.push(u8::from(self.partitioned));
        put_bytes(&mut out, self.security.as_bytes());
        put_varint(&mut out, self.labels);
        put_varint(&mut out, self.labelled);
        put_bytes(&mut out, self.access.as_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let format = reader.byte()?;
        matches!(format, FORMAT | FORMAT_WITH_LABELS).then_some(())?;
        let mut settings = Self {
            created_unix_s: reader.varint()?,
            revisions_limit: reader.varint()?,
            purges_limit: reader.varint()?,
            partitioned: reader.byte()? == 1,
            security: reader.text()?.to_owned(),
            labels: 0,
            labelled: 0,
            access: String::new(),
        };
        if format == FORMAT_WITH_LABELS {
            settings.labels = reader.varint()?;
            settings.labelled = reader.varint()?;
            settings.access = reader.text()?.to_owned();
        }
        Some(settings)
    }
}

impl Statistics {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        out.push(FORMAT);
        for n in [
            self.documents,
            self.deleted,
            self.update_sequence,
            self.purge_sequence,
            self.external_bytes,
        ] {
            put_varint(&mut out, n);
        }
        if self.returned_at != 0 {
            put_varint(&mut out, self.returned_at);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        (reader.byte()? == FORMAT).then_some(())?;
        Some(Self {
            documents: reader.varint()?,
            deleted: reader.varint()?,
            update_sequence: reader.varint()?,
            purge_sequence: reader.varint()?,
            external_bytes: reader.varint()?,
            returned_at: if reader.is_empty() {
                0
            } else {
                reader.varint()?
            },
        })
    }

    /// Documents, deleted or not: the length of the change feed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.documents + self.deleted
    }
}

/// Finds the database `name`.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn find(view: &dyn View, name: &DatabaseName) -> Result<Option<Database>, EngineError> {
    let Some(bytes) = view.get(Space::Index, &keys::database_name(name.as_str()))? else {
        return Ok(None);
    };
    let number = Reader::new(&bytes)
        .varint()
        .map(DatabaseNumber)
        .ok_or_else(|| corrupt("a database's number"))?;
    Ok(settings(view, number)?.map(|settings| Database { number, settings }))
}

/// Finds the database `name` as this transaction leaves it.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn find_in(tx: &Transaction<'_>, name: &DatabaseName) -> Result<Option<Database>, EngineError> {
    let Some(bytes) = tx.get(Space::Index, &keys::database_name(name.as_str()))? else {
        return Ok(None);
    };
    let number = Reader::new(&bytes)
        .varint()
        .map(DatabaseNumber)
        .ok_or_else(|| corrupt("a database's number"))?;
    let Some(bytes) = tx.get(Space::Index, &keys::header(number))? else {
        return Ok(None);
    };
    let settings = Settings::decode(&bytes).ok_or_else(|| corrupt("a database's settings"))?;
    Ok(Some(Database { number, settings }))
}

/// The settings of database `number`, if it is still there.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn settings(view: &dyn View, number: DatabaseNumber) -> Result<Option<Settings>, EngineError> {
    view.get(Space::Index, &keys::header(number))?
        .map(|bytes| Settings::decode(&bytes).ok_or_else(|| corrupt("a database's settings")))
        .transpose()
}

/// The counts of database `number`.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn statistics(view: &dyn View, number: DatabaseNumber) -> Result<Statistics, EngineError> {
    view.get(Space::Index, &keys::statistics(number))?
        .map_or(Ok(Statistics::default()), |bytes| {
            Statistics::decode(&bytes).ok_or_else(|| corrupt("a database's counts"))
        })
}

/// Names in the range `from <= name < to` (`None`: no bound), in their order, until `limit`.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn names(
    view: &dyn View,
    from: Option<&str>,
    to: Option<&str>,
    direction: Direction,
    limit: usize,
) -> Result<Vec<String>, EngineError> {
    let all = keys::database_names();
    let range = KeyRange {
        from: from.map_or(all.from, keys::database_name),
        to: to.map_or(all.to, keys::database_name),
    };
    let mut found = Vec::new();
    let mut cursor = view.range(Space::Index, range, direction)?;
    while found.len() < limit
        && let Some((key, _)) = cursor.next()?
    {
        let name = keys::name_of(key).ok_or_else(|| corrupt("a database's name"))?;
        found.push(name.to_owned());
    }
    Ok(found)
}

/// Names that begin with `prefix`, in their order, until `limit`, as the transaction leaves them.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn names_below(
    tx: &Transaction<'_>,
    prefix: &str,
    limit: usize,
) -> Result<Vec<String>, EngineError> {
    let range = KeyRange::prefix(&keys::database_name(prefix));
    let rows = tx.range(Space::Index, &range, limit)?;
    let name = |key: &[u8]| keys::name_of(key).map(str::to_owned);
    rows.iter()
        .map(|(key, _)| name(key).ok_or_else(|| corrupt("a database's name")))
        .collect()
}

/// Makes the database `name`.
///
/// # Errors
/// [`DatabaseError::Exists`] if there is one of that name.
pub fn create(
    tx: &mut Transaction<'_>,
    name: &DatabaseName,
    settings: &Settings,
) -> Result<DatabaseNumber, Decline<DatabaseError>> {
    let key = keys::database_name(name.as_str());
    if tx.get(Space::Index, &key)?.is_some() {
        return Err(Decline::Refused(DatabaseError::Exists));
    }
    let number = DatabaseNumber(tx.next_sequence());
    let mut value = Vec::new();
    put_varint(&mut value, number.0);
    tx.put(Space::Index, key, value);
    tx.put(Space::Index, keys::header(number), settings.encode());
    lifetimes::born(tx, name, number);
    tx.touch(DATABASES_TOPIC);
    tx.touch(number.0);
    Ok(number)
}

/// Drops the database `name`: from now on nobody finds it; [`sweep`] gives its room back.
///
/// # Errors
/// [`DatabaseError::Missing`] if there is none of that name.
pub fn drop_database(
    tx: &mut Transaction<'_>,
    name: &DatabaseName,
) -> Result<DatabaseNumber, Decline<DatabaseError>> {
    let key = keys::database_name(name.as_str());
    let number = tx
        .get(Space::Index, &key)?
        .and_then(|bytes| Reader::new(&bytes).varint())
        .map(DatabaseNumber)
        .ok_or(Decline::Refused(DatabaseError::Missing))?;
    tx.delete(Space::Index, key);
    tx.delete(Space::Index, keys::header(number));
    tx.put(Space::Index, keys::dropped(number), vec![FORMAT]);
    tx.delete(Space::Index, keys::expiry(number));
    lifetimes::died(tx, name, number);
    tx.touch(DATABASES_TOPIC);
    tx.touch(number.0);
    Ok(number)
}

/// Changes what is set for database `number`.
///
/// # Errors
/// [`DatabaseError::Missing`] if it was dropped meanwhile.
pub fn change_settings(
    tx: &mut Transaction<'_>,
    number: DatabaseNumber,
    change: impl FnOnce(&mut Settings),
) -> Result<(), Decline<DatabaseError>> {
    let mut settings = settings_in(tx, number)?;
    change(&mut settings);
    tx.put(Space::Index, keys::header(number), settings.encode());
    Ok(())
}

/// Notes that a reader got back, at `sequence`, what he had lost.
pub(crate) fn note_returned(
    tx: &mut Transaction<'_>,
    number: DatabaseNumber,
    sequence: u64,
) -> Result<(), EngineError> {
    let key = keys::statistics(number);
    let stored = tx.get(Space::Index, &key)?;
    let mut statistics = stored.map_or(Ok(Statistics::default()), |bytes| {
        Statistics::decode(&bytes).ok_or_else(|| corrupt("a database's counts"))
    })?;
    statistics.returned_at = statistics.returned_at.max(sequence);
    tx.put(Space::Index, key, statistics.encode());
    Ok(())
}

/// The settings of database `number` as this transaction leaves them.
///
/// # Errors
/// [`DatabaseError::Missing`] if it was dropped meanwhile.
pub(crate) fn settings_in(
    tx: &Transaction<'_>,
    number: DatabaseNumber,
) -> Result<Settings, Decline<DatabaseError>> {
    let bytes = tx
        .get(Space::Index, &keys::header(number))?
        .ok_or(Decline::Refused(DatabaseError::Missing))?;
    Ok(Settings::decode(&bytes).ok_or_else(|| corrupt("a database's settings"))?)
}

/// Databases that were dropped and not yet swept.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn dropped(view: &dyn View) -> Result<Vec<DatabaseNumber>, EngineError> {
    let mut found = Vec::new();
    let mut cursor = view.range(Space::Index, keys::all_dropped(), Direction::Forward)?;
    while let Some((key, _)) = cursor.next()? {
        found.extend(keys::dropped_of(key));
    }
    Ok(found)
}

/// Gives back a part of what a dropped database took: first the references to attachments, at
/// most `limit` bodies' at once, then everything else. Returns the addresses that are no longer
/// referred to, and whether all is done.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn sweep(
    tx: &mut Transaction<'_>,
    number: DatabaseNumber,
    limit: usize,
) -> Result<(Vec<[u8; 32]>, bool), EngineError> {
    let mut released = Vec::new();
    let mut rows = Vec::new();
    {
        let mut cursor =
            tx.committed()
                .range(Space::Index, keys::all_attached(number), Direction::Forward)?;
        while rows.len() < limit
            && let Some((key, value)) = cursor.next()?
        {
            rows.push(key.to_vec());
            released.extend(addresses(value));
        }
    }
    let done = rows.len() < limit;
    for key in rows {
        tx.delete(Space::Index, key);
    }
    if done {
        for space in [Space::Index, Space::Body] {
            let range = keys::everything(number);
            tx.push(Op::DeleteRange { space, range });
        }
        tx.delete(Space::Index, keys::dropped(number));
    }
    Ok((released, done))
}

/// The content addresses in a value under [`keys::attached`].
pub(crate) fn addresses(value: &[u8]) -> impl Iterator<Item = [u8; 32]> + '_ {
    value.as_chunks::<32>().0.iter().copied()
}

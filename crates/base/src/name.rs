//! Names of databases and documents, checked once at the edge; below it nobody checks again.

use std::fmt;
use std::sync::Arc;

/// The longest database name, in bytes: `CouchDB`'s own limit is a file name's.
const DATABASE_NAME_MAX: usize = 238;
/// The longest document id, in bytes.
const DOCUMENT_ID_MAX: usize = 8_192;

/// A database's name: `^[a-z][a-z0-9_$()+/-]*$`, or one of `CouchDB`'s system databases.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatabaseName(Arc<str>);

/// The name given is none that a database may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Name: '{0}'. Only lowercase characters (a-z), digits (0-9), and any of the characters _, $, (, ), +, -, and / are allowed. Must begin with a letter."
)]
pub struct InvalidDatabaseName(pub String);

impl DatabaseName {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`InvalidDatabaseName`] if a character is not allowed, or it is empty or too long.
    pub fn parse(name: &str) -> Result<Self, InvalidDatabaseName> {
        let last = name.rsplit('/').next().unwrap_or(name);
        let system = matches!(last, "_users" | "_replicator" | "_global_changes");
        let checked = if system {
            name.strip_suffix(last).unwrap_or("").trim_end_matches('/')
        } else {
            name
        };
        let well_formed = (system && checked.is_empty() && !name.starts_with('/'))
            || (checked.starts_with(|c: char| c.is_ascii_lowercase())
                && checked.chars().all(|c| {
                    c.is_ascii_lowercase() || c.is_ascii_digit() || "_$()+/-".contains(c)
                }));
        if well_formed && name.len() <= DATABASE_NAME_MAX {
            Ok(Self(Arc::from(name)))
        } else {
            Err(InvalidDatabaseName(name.chars().take(300).collect()))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this holds user accounts (`_users`, or `app/_users`).
    #[must_use]
    pub fn is_users(&self) -> bool {
        self.0.rsplit('/').next() == Some("_users")
    }

    /// Whether only `CouchDB`'s own words may name it (`_users`, `_replicator`, ...).
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.0
            .rsplit('/')
            .next()
            .is_some_and(|last| last.starts_with('_'))
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A document's id: any text that is not empty and begins with `_` only for `_design/`.
///
/// Local documents (`_local/...`) do not replicate and are no documents in this sense; they are
/// addressed by their own name, without the prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentId(Arc<str>);

/// The id given is none that a document may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDocumentId {
    /// The empty text.
    #[error("Document id must not be empty")]
    Empty,
    /// Ids with an underscore in front are the database's own.
    #[error("Only reserved document ids may start with underscore.")]
    Reserved,
    /// A JSON value that is not a text.
    #[error("Document id must be a string")]
    NotText,
    /// More bytes than an index key may have.
    #[error("Document id is too long")]
    TooLong,
}

impl DocumentId {
    /// Checks `id`.
    ///
    /// # Errors
    /// [`InvalidDocumentId`], which says what is wrong with it.
    pub fn parse(id: &str) -> Result<Self, InvalidDocumentId> {
        if id.is_empty() {
            return Err(InvalidDocumentId::Empty);
        }
        if id.starts_with('_') && id.strip_prefix("_design/").is_none_or(|n| n.is_empty()) {
            return Err(InvalidDocumentId::Reserved);
        }
        if id.len() > DOCUMENT_ID_MAX {
            return Err(InvalidDocumentId::TooLong);
        }
        Ok(Self(Arc::from(id)))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a design document.
    #[must_use]
    pub fn is_design(&self) -> bool {
        self.0.starts_with("_design/")
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_names_follow_couchdbs_rule() {
        for good in [
            "a",
            "a1_$()+/-",
            "app/mine",
            "_users",
            "_replicator",
            "x/_users",
        ] {
            assert!(DatabaseName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "", "A", "1a", "_x", "a b", "ä", "/_users", "A/_users", "_users/a",
        ] {
            assert!(DatabaseName::parse(bad).is_err(), "{bad}");
        }
        assert!(DatabaseName::parse(&"a".repeat(239)).is_err());
    }

    #[test]
    fn document_ids_may_not_start_with_an_underscore() {
        assert!(DocumentId::parse("_design/x").is_ok());
        assert_eq!(
            DocumentId::parse("_design/"),
            Err(InvalidDocumentId::Reserved)
        );
        assert_eq!(DocumentId::parse("_foo"), Err(InvalidDocumentId::Reserved));
        assert_eq!(DocumentId::parse(""), Err(InvalidDocumentId::Empty));
    }

    #[test]
    fn a_seed_gives_the_same_chance_again() {
        use crate::Entropy;
        use std::sync::Arc;
        use std::sync::atomic::AtomicU64;
        let make = || Entropy::Seeded(Arc::new(AtomicU64::new(7)));
        assert_eq!(make().hex_id(), make().hex_id());
        assert_ne!(Entropy::System.hex_id(), Entropy::System.hex_id());
    }
}

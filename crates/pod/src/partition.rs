//! Ids of documents in a partitioned database: `partition:id`.

use adea_base::DocumentId;

use crate::databases::DatabaseEntry;

/// Why an id is none that a document of a partitioned database may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPartitionedId {
    /// There is no colon.
    #[error("Doc id must be of form partition:id")]
    NoPartition,
    /// Nothing stands before the colon.
    #[error("Partition must not be empty")]
    Empty,
    /// Such names are the server's own.
    #[error("Partition must not start with an underscore")]
    Underscore,
    /// What stands behind the colon could not be an id by itself.
    #[error("Only reserved document ids may start with underscore.")]
    Reserved,
}

/// Checks the name of a partition.
///
/// # Errors
/// [`InvalidPartitionedId`] for one that no document can be in.
pub fn check_partition(partition: &str) -> Result<(), InvalidPartitionedId> {
    match partition.as_bytes().first() {
        None => Err(InvalidPartitionedId::Empty),
        Some(b'_') => Err(InvalidPartitionedId::Underscore),
        Some(_) => Ok(()),
    }
}

impl DatabaseEntry {
    /// Checks that a document of this id can be in the database: in a partitioned one all but design
    /// documents have a partition.
    ///
    /// # Errors
    /// [`InvalidPartitionedId`] if it cannot.
    pub fn check_id(&self, id: &DocumentId) -> Result<(), InvalidPartitionedId> {
        if !self.settings.partitioned || id.is_design() {
            return Ok(());
        }
        let (partition, rest) = id
            .as_str()
            .split_once(':')
            .ok_or(InvalidPartitionedId::NoPartition)?;
        check_partition(partition)?;
        if rest.is_empty() {
            return Err(InvalidPartitionedId::NoPartition);
        }
        if rest.starts_with('_') {
            return Err(InvalidPartitionedId::Reserved);
        }
        Ok(())
    }
}

//! What the storage engine alone takes to write documents: the floor that `adea bench --limits`
//! compares the server with.

use std::path::Path;

use adea_store::{Disk, DiskOptions, Engine, Op, Space};

/// Makes a store in `directory` and writes `documents` in synced batches of `batch`.
///
/// # Errors
/// What the engine says.
pub(crate) fn write(
    directory: &Path,
    documents: &[(String, Vec<u8>)],
    batch: usize,
) -> Result<(), String> {
    let disk = Disk::open(directory, DiskOptions::default()).map_err(|error| error.to_string())?;
    for documents in documents.chunks(batch.max(1)) {
        let ops: Vec<Op> = documents
            .iter()
            .map(|(id, json)| Op::Put {
                space: Space::Body,
                key: id.as_bytes().to_vec(),
                value: json.clone(),
            })
            .collect();
        let ops: Vec<&Op> = ops.iter().collect();
        disk.apply(&ops, true).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let documents: Vec<_> = (0..10u8).map(|n| (format!("id{n}"), vec![n])).collect();
        write(directory.path(), &documents, 3).unwrap();
        let disk = Disk::open(directory.path(), DiskOptions::default()).unwrap();
        for (id, json) in documents {
            let found = disk.view().get(Space::Body, id.as_bytes()).unwrap();
            assert_eq!(found, Some(json));
        }
    }
}

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
    let mut sequence = 0_u32;
    for documents in documents.chunks(batch.max(1)) {
        let mut ops: Vec<Op> = Vec::with_capacity(documents.len() * 3);
        for (id, json) in documents {
            sequence += 1;
            ops.extend(entries(id, json, sequence));
        }
        let ops: Vec<&Op> = ops.iter().collect();
        disk.apply(&ops, true).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Entries as a document costs them: its record by id, its change and its body by sequence, each
/// with a key and a value as long as the server's.
fn entries(id: &str, json: &[u8], sequence: u32) -> [Op; 3] {
    let head: &[u8] = &[0x11, 2, 1, 0];
    let number = sequence.to_be_bytes();
    let record = [sequence.to_le_bytes(); 7].concat();
    let put = |space, key: Vec<u8>, value: Vec<u8>| Op::Put { space, key, value };
    [
        put(
            Space::Index,
            [head, &[3], id.as_bytes()].concat(),
            record.clone(),
        ),
        put(
            Space::Index,
            [head, &[4], &number].concat(),
            [id.as_bytes(), &record].concat(),
        ),
        put(Space::Body, [head, &number].concat(), json.to_vec()),
    ]
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
        for (n, (id, json)) in documents.iter().enumerate() {
            for op in entries(id, json, u32::try_from(n).unwrap() + 1) {
                let Op::Put { space, key, value } = op else {
                    panic!("a document is put")
                };
                assert_eq!(disk.view().get(space, &key).unwrap(), Some(value));
            }
        }
    }
}

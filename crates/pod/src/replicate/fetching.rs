//! Documents of a database of this server, many at once, as the text that goes to the target.

use std::collections::VecDeque;
use std::sync::Arc;

use adea_documents::render::Rendering;
use adea_documents::revision::Revision;
use adea_replication::PeerError;
use adea_replication::peer::{Fetched, FetchedRow, FetchedRows, Later, Wanted};
use bytes::Bytes;

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::read_document::{Found, Told, Which};
use crate::replicate::peer::{LocalPeer, blocking, of_pod};

/// Documents that are read in one go.
const READ_MAX: usize = 250;
/// Bytes after which such a go ends.
const READ_BYTES: usize = 1 << 20;

/// What is told of each document.
pub(super) const TOLD: Told = Told {
    revisions: true,
    revisions_info: false,
    conflicts: false,
    deleted_conflicts: false,
    local_sequence: false,
};

/// Rows that are read as they are asked for.
pub(super) struct LocalRows<'a> {
    peer: &'a LocalPeer,
    wanted: &'a [Wanted],
    ready: VecDeque<FetchedRow>,
}

impl<'a> LocalRows<'a> {
    pub(super) fn new(peer: &'a LocalPeer, wanted: &'a [Wanted]) -> Self {
        Self {
            peer,
            wanted,
            ready: VecDeque::new(),
        }
    }

    async fn read(&mut self) -> Result<Option<FetchedRow>, PeerError> {
        if self.ready.is_empty() && !self.wanted.is_empty() {
            let few = self.wanted.get(..READ_MAX).unwrap_or(self.wanted).to_vec();
            let peer = self.peer.now()?;
            let entry = peer.readable().await?;
            self.ready = blocking(move || {
                let (mut rows, mut bytes) = (VecDeque::with_capacity(few.len()), 0);
                for wanted in &few {
                    let row = peer.read_row(&entry, wanted)?;
                    bytes += row.iter().map(|fetched| fetched.json.len()).sum::<usize>();
                    rows.push_back(row);
                    if bytes >= READ_BYTES {
                        break;
                    }
                }
                Ok(rows)
            })
            .await?;
            self.wanted = self.wanted.get(self.ready.len()..).unwrap_or(&[]);
        }
        Ok(self.ready.pop_front())
    }
}

impl FetchedRows for LocalRows<'_> {
    fn next(&mut self) -> Later<'_, Option<FetchedRow>> {
        Box::pin(self.read())
    }
}

impl LocalPeer {
    /// The newest descendants of a revision; none if it has to be carried alone.
    fn read_row(
        &self,
        entry: &Arc<DatabaseEntry>,
        wanted: &Wanted,
    ) -> Result<FetchedRow, PeerError> {
        let Some(found) = self.read_leaves(entry, wanted)? else {
            return Ok(Vec::new());
        };
        let rows = found.iter().map(|found| {
            let has_attachments = !found.body.attachments.is_empty();
            let mut out = Vec::new();
            if !has_attachments {
                out.reserve(found.body.json.len() + 160);
                let rendering = Rendering {
                    id: &wanted.id,
                    revision: &found.revision,
                    deleted: found.deleted,
                    json: &found.body.json,
                    attachments: &[],
                    meta: &found.meta,
                    encoding_info: false,
                };
                rendering.write(&mut out);
            }
            Fetched {
                json: Bytes::from(out),
                has_attachments,
            }
        });
        Ok(rows.collect())
    }

    /// The newest descendants of a revision, if it is here.
    pub(super) fn read_leaves(
        &self,
        entry: &DatabaseEntry,
        wanted: &Wanted,
    ) -> Result<Option<Vec<Found>>, PeerError> {
        let nonsense = |error: adea_documents::revision::InvalidRevision| {
            PeerError::Nonsense(error.to_string())
        };
        let revision = Revision::parse(&wanted.revision).map_err(nonsense)?;
        let pod = &self.pod;
        let read = pod.read_named(entry, &self.caller, &wanted.id, &revision, true, TOLD);
        let (first, rest) = match read {
            Ok(read) => read,
            Err(PodError::Missing | PodError::Deleted) => return Ok(None),
            Err(error) => return Err(of_pod(error)),
        };
        let mut found = vec![first];
        for revision in rest {
            let which = Which::Revision {
                revision,
                latest: false,
            };
            match pod.read(entry, &self.caller, &wanted.id, &which, TOLD) {
                Ok(another) => found.push(another),
                Err(PodError::Missing) => {}
                Err(error) => return Err(of_pod(error)),
            }
        }
        Ok(Some(found))
    }
}

//! A document as a reader sees it who does not see all: virtual tombstones and revivals.
//!
//! When a document leaves a reader's sight, he is sent a *virtual tombstone*, a child of the revision
//! that he could see last; when it comes back with that same revision, a *virtual revival*, a live
//! child of the tombstone. So under a revision N hangs a chain N → c1 → c2 → c3 …, of which the odd are
//! tombstones and the even revivals with the content of N. Whatever of it a replica has, the next one
//! with its path extends it, and exactly the last is its leaf there.
//!
//! Virtual revisions are computed and not stored: c(n) of N is a keyed hash. How far a reader is on
//! the chain follows from when he could see the document's labels. Once N has a real successor, a
//! real tombstone is put on the chain that reaches beyond every reader's (`writer.rs`), so that nobody
//! keeps a revival beside it.

use adea_base::Span;
use sha2::{Digest as _, Sha256};

use crate::keys::DatabaseNumber;
use crate::revision::{Revision, RevisionId};

/// Where the body of virtual tombstones is said to lie: it is empty, and read nowhere.
pub const NOTHING: u64 = u64::MAX;

/// The `step`th virtual revision on the chain under `of`, a revision of document `id`.
#[must_use]
pub fn virtual_revision(
    key: &[u8; 32],
    database: DatabaseNumber,
    id: &str,
    of: &Revision,
    step: u64,
) -> Revision {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update(database.0.to_be_bytes());
    hash.update((id.len() as u64).to_be_bytes());
    hash.update(id.as_bytes());
    hash.update(step.to_be_bytes());
    hash.update(of.to_string().as_bytes());
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest.iter()) {
        *to = *from;
    }
    Revision {
        generation: of.generation + step,
        id: RevisionId::Md5(bytes),
    }
}

/// How often a reader got a document back since it was `written`, which he saw in `intervals`.
pub(crate) fn returns_since(intervals: &[Span], written: u64) -> u64 {
    let seen = intervals.iter().filter(|span| span.to > written);
    let times: u64 = seen.map(|span| u64::from(span.times)).sum();
    times.saturating_sub(1)
}

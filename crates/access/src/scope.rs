//! The only place where rights to read are made.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use adea_base::{Scope, Sight};

use crate::history::History;
use crate::principals::Principals;
use crate::sight::{NoSight, PartitionSight, ReaderSight};

/// The right to see all of a database: for the server's own work, and for who may see all of it.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "rights to read are made in this crate, and nowhere else"
)]
pub fn aggregate() -> Scope {
    Scope::aggregate()
}

/// What a reader with this history sees: `mine`. `reader` names him as
/// [`reader_name`](crate::reader_name) does, `key` is what virtual revisions are made with, and in
/// `served` the last sequence is kept of which he was shown something.
#[must_use]
pub fn reader_scope(
    history: Arc<History>,
    reader: &str,
    key: [u8; 32],
    served: Arc<AtomicU64>,
) -> Scope {
    limited(ReaderSight::new(history, reader, key, served))
}

/// Stands for everybody without a name, for whom together local documents are kept. No reader has
/// this name, for behind the `~` stands somebody's.
const ANONYMOUS: &str = "~";

/// What a caller without a name sees, who holds the same now and always.
#[must_use]
pub fn anonymous_scope(principals: &Principals, key: [u8; 32]) -> Scope {
    let history = Arc::new(History::constant(principals));
    limited(ReaderSight::new(history, ANONYMOUS, key, Arc::default()))
}

/// The documents under one label, for whoever may see it. `reader` names the caller, for whom local
/// documents are kept.
#[must_use]
pub fn partition_scope(signature: &str, reader: &str, key: [u8; 32]) -> Scope {
    limited(PartitionSight::new(signature, reader, key))
}

/// No document at all.
#[must_use]
pub fn nothing_scope(reader: &str, key: [u8; 32]) -> Scope {
    limited(NoSight::new(reader, key))
}

#[expect(
    clippy::disallowed_methods,
    reason = "rights to read are made in this crate, and nowhere else"
)]
fn limited(sight: impl Sight + 'static) -> Scope {
    Scope::of(Arc::new(sight))
}

//! The store: ordered keys, one door for every durable change, and one fsync for many writers.
//!
//! * [`Engine`] is the small trait that an ordered key-value store fills: views, ranges, one
//!   atomic batch. RocksDB is the one that serves; memory and a faulty one are for tests.
//! * [`Store`] decides transactions one after the other on its own thread, folds those that wait
//!   into one batch, syncs it once and only then answers them (group commit).
//! * A [`Commit`] is what a transaction decided: a list of puts and deletes without clock, chance
//!   or input, so that another machine can apply it later and hold the same bytes.
//! * A failed write or sync *poisons* the store: it refuses writes and keeps serving reads.
//!
//! What a value means is none of its business.

mod commit;
pub mod conformance;
mod counter;
mod data_dir;
mod engine;
mod error;
pub mod key;
mod permit;
mod store;
mod touched;
mod transaction;
pub mod value;
mod watch;

pub use commit::{Commit, CorruptCommit, Op};
pub use data_dir::{DATA_FORMAT, DataDir, DataDirError};
pub use engine::disk::{Disk, DiskOptions};
pub use engine::faulty::{Fault, Faulty};
pub use engine::memory::{Contents, Memory};
pub use engine::{Cursor, Direction, Engine, EngineError, KeyRange, Row, Space, View};
pub use error::{CommitError, TransactError};
pub use permit::WritePermit;
pub use store::{Decline, Durability, Health, Store, StoreOptions};
pub use transaction::{Entry, Transaction};
pub use watch::{EVERY_TOPIC, QUIET_TOPICS, Subscription, UPPER_TOPICS, Watch};

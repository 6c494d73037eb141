//! The replication protocol of `CouchDB`, as the side that drives it.
//!
//! A replication reads what changed at a source, asks a target what of it is missing there, carries
//! that over, and writes down on both sides how far it came. Both are a [`Peer`]: a database of
//! another server, spoken to over HTTP ([`HttpPeer`]), or one of this server, which whoever runs this
//! brings along. Documents travel as the JSON text that the source wrote; nothing is made of them in
//! between. Whatever a peer says is bounded and checked, since it may be wrong or lie.
//!
//! - [`description`]: what a user asks for, and [`identity`]: what names it;
//! - [`checkpoint`]: how far it came, in the form that `CouchDB` reads and writes;
//! - [`run`]: the loop; `batch`: one batch of it; `transfer`: one document with its attachments.

mod batch;
pub mod checkpoint;
pub mod description;
mod endpoint;
mod error;
mod http_peer;
pub mod identity;
mod lacking;
mod patience;
pub mod peer;
mod places;
mod raw;
mod reader;
mod rows;
mod run;
mod sequence;
mod stats;
mod stop;
pub mod time;
mod transfer;

pub use description::{Description, Filter, InvalidDescription, Tuning};
pub use endpoint::{Endpoint, Remote};
pub use error::ReplicationError;
pub use http_peer::{HttpPeer, HttpPeerOptions};
pub use identity::ReplicationId;
pub use patience::Patience;
pub use peer::{Peer, PeerError};
pub use places::Places;
pub use run::{Ended, Job, run};
pub use sequence::Sequence;
pub use stats::{Progress, Snapshot, Stats};
pub use stop::{Stop, Stopper};
pub use transfer::{Contents, Following, Piece};

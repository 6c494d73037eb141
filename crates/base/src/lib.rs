//! The ground everything stands on: names that are checked once, who is calling, the clock and chance.
//!
//! Nothing here does input or output or knows a verb of the product. It is small and rests, since
//! every other crate is checked again when it changes.

mod caller;
mod clock;
mod entropy;
mod name;
mod scope;

pub use caller::Caller;
pub use clock::Clock;
pub use entropy::Entropy;
pub use name::{DatabaseName, DocumentId, InvalidDatabaseName, InvalidDocumentId};
pub use scope::{Reach, Scope, Sight, Span};

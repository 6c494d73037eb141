//! Mail: what is to be sent, in whose words, and how it gets there.

mod queue;

pub use queue::{Kind, Outgoing, enqueue};

//! Design functions in a sandbox with limits of time and memory.
//!
//! The JavaScript of design documents comes from whoever may write one, so it is hostile. It runs
//! in child processes of the same binary ([`worker::run`]), which hold nothing but QuickJS and a
//! pipe: no files, no network, no environment, little memory. [`Scripts`] keeps one process for
//! each [`Owner`], feeds it batches, and kills it when it is late; the next call gets a new one.
//!
//! Invariant: whatever a function does, it costs its owner an error and nobody else anything.

mod batch;
mod error;
mod lines;
mod listing;
mod pool;
mod process;
mod program;
mod scripts;
mod wire;
pub mod worker;

pub use error::ScriptError;
pub use program::{DesignProgram, MapProgram, ReduceProgram};
pub use scripts::{
    Emission, Listing, Mapped, Owner, Purpose, ReduceCall, ScriptOptions, Scripts, Verdict,
};

//! What holds of the whole repository and no compiler checks.
//!
//! Each rule is a function over texts that gives what is wrong, a sentence each; so every rule is
//! shown to bite on a few lines of its own, beside its definition. `tests/tidy.rs` runs them over
//! the real files.

pub mod errors;
pub mod floors;
pub mod keepers;
pub mod manifest;
pub mod repository;
pub mod source;

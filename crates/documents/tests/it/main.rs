//! Documents over a store, compared with a naive model of what they ought to be.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it should do then"
)]

mod command;
mod history;
mod model;
mod regressions;
mod sight;

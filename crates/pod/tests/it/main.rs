//! Use cases over the disk engine, each in a directory of its own.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it should do then"
)]

mod backup;
mod check;
mod feed;
mod find;
mod hung_up;
mod maintain;
mod scratch;
mod updates;

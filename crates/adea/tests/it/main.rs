//! The server as a process of its own, from outside: what is left when it dies.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that finds something else than it expects has failed, and says what it counted"
)]

mod crash;

//! The server as clients meet it: a pod behind it, real sockets before it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it should do then"
)]

mod attachments;
mod bounds;
mod client;
mod feed;
mod md5;
mod rendering;
mod serving;

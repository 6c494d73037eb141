//! Multipart bodies: taken apart while they arrive, and written line by line.
//!
//! A document travels with its attachments in this form in both directions: the server reads and
//! writes it, and so does the side that drives a replication. Nothing here reads or waits.

pub mod reader;
pub mod writer;

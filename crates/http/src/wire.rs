//! Forms on the wire: paths, queries, multipart.

pub(crate) use adea_multipart::{reader as multipart_reader, writer as multipart_writer};

pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod time;

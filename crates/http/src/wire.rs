//! Forms on the wire: paths, queries, multipart.

pub(crate) mod multipart_reader;
pub(crate) mod multipart_writer;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod time;

//! The replication protocol of `CouchDB`, as the side that drives it.

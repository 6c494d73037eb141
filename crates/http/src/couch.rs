//! `CouchDB`'s API, a file a kind of resource.

pub(crate) mod access;
pub(crate) mod attachment;
pub(crate) mod bulk;
pub(crate) mod changes;
pub(crate) mod cluster;
pub(crate) mod configuration;
pub(crate) mod database;
pub(crate) mod design;
pub(crate) mod document;
pub(crate) mod feed;
pub(crate) mod find;
pub(crate) mod inbox;
pub(crate) mod intake;
pub(crate) mod listing;
pub(crate) mod local;
pub(crate) mod node;
pub(crate) mod partition;
pub(crate) mod replicate;
pub(crate) mod sending;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod updates;
pub(crate) mod view;

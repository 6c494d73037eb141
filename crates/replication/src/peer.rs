//! What a replication asks of a database, wherever it is.
//!
//! Two kinds answer: a database of another server over HTTP, and one of this server. Every verb is one
//! attempt; whether to try again is decided by who asks, from the kind of the error.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::description::Filter;
use crate::sequence::Sequence;
use crate::transfer::{Contents, Following};

/// What a verb answers, later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, PeerError>> + Send + 'a>>;

/// Why a peer did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It may well do it later.
    #[error("{0}")]
    Transient(String),
    /// It does not know who asks.
    #[error("unauthorized: {0}")]
    Unauthorized(String),
    /// It knows, and does not let him.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// It has no such database.
    #[error("the database does not exist")]
    NoDatabase,
    /// It has no such document.
    #[error("missing")]
    Missing,
    /// It takes no such long request.
    #[error("the request body is too large")]
    TooLarge,
    /// It lacks an attachment that was not sent along.
    #[error("missing_stub: {0}")]
    MissingStub(String),
    /// It refuses this, and would again.
    #[error("{status} {error}: {reason}")]
    Refused {
        /// The status of its answer.
        status: u16,
        /// Its word for it.
        error: String,
        /// Its reason.
        reason: String,
    },
    /// It does not know this verb.
    #[error("not supported")]
    Unsupported,
    /// What it says cannot be.
    #[error("{0}")]
    Nonsense(String),
}

impl PeerError {
    /// Whether to ask again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transient(_) | Self::Nonsense(_) => true,
            Self::Unauthorized(_)
            | Self::Forbidden(_)
            | Self::NoDatabase
            | Self::Missing
            | Self::TooLarge
            | Self::MissingStub(_)
            | Self::Refused { .. }
            | Self::Unsupported => false,
        }
    }
}

/// What a database tells of itself.
#[derive(Clone, Debug)]
pub struct Info {
    /// Its newest place.
    pub update_sequence: Sequence,
    /// Changes when places given out before mean nothing any more.
    pub instance: String,
}

/// A row of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeRow {
    /// The document.
    pub id: String,
    /// Its leaves, or its winner alone.
    pub revisions: Vec<String>,
    /// Its place; sources may leave it out of some rows.
    pub sequence: Option<Sequence>,
}

/// A part of a feed.
#[derive(Clone, Debug)]
pub struct ChangesPage {
    /// Its rows.
    pub rows: Vec<ChangeRow>,
    /// Where it ends.
    pub last: Sequence,
    /// Changes left behind it.
    pub pending: Option<u64>,
}

/// Which changes are asked for.
#[derive(Clone, Debug)]
pub struct ChangesAsked {
    /// Which documents.
    pub filter: Arc<Filter>,
    /// Whether winners alone are told.
    pub winners_only: bool,
    /// Rows of one page.
    pub limit: usize,
}

/// A revision that a target lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The document.
    pub id: String,
    /// The revision.
    pub revision: String,
    /// Leaves of the target that may be its ancestors: it has their attachments.
    pub ancestors: Arc<[String]>,
}

/// A document on its way.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// As the source wrote it.
    pub json: Bytes,
    /// Whether it has attachments, which are carried otherwise.
    pub has_attachments: bool,
}

/// What a source answers for one revision that was wanted: documents, or nothing if it has to be asked
/// for alone.
pub type FetchedRow = Vec<Fetched>;

/// Rows of an answer that come while they are sent, in the order in which they were asked for.
pub trait FetchedRows: Send {
    /// The next row; `None` when all came.
    fn next(&mut self) -> Later<'_, Option<FetchedRow>>;
}

/// A document that a source sends with its attachments behind it.
#[derive(Debug)]
pub enum Sent {
    /// It comes: its JSON, and what follows.
    Document {
        /// As the source wrote it.
        json: Bytes,
        /// The attachments that come, in their order.
        following: Vec<Following>,
    },
    /// The source does not have this revision any more.
    Missing,
}

/// Documents that a source sends with their attachments.
pub trait Sending: Send {
    /// The next document, once the pieces of the one before it were read; `None` when all came.
    fn next_document(&mut self) -> Later<'_, Option<Sent>>;
    /// The next bytes of the attachment at hand; `None` at its end, after which the next one begins.
    fn next_piece(&mut self) -> Later<'_, Option<Bytes>>;
}

/// A document that a target refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteFailure {
    /// Which.
    pub id: String,
    /// The target's word for it.
    pub error: String,
    /// Its reason.
    pub reason: String,
}

/// A local document.
#[derive(Clone, Debug)]
pub struct LocalDocument {
    /// Its revision.
    pub revision: Option<String>,
    /// Its JSON object.
    pub json: serde_json::Map<String, serde_json::Value>,
}

/// A database that takes part in a replication.
pub trait Peer: Send + Sync {
    /// How it is shown: without anybody's password.
    fn shown(&self) -> &str;
    /// Whether it is of this server: waiting for its changes costs nobody a connection.
    fn is_local(&self) -> bool;
    /// What it tells of itself.
    fn info(&self) -> Later<'_, Info>;
    /// Makes it, unless it is there.
    fn create<'a>(&'a self, parameters: &'a [(String, String)]) -> Later<'a, ()>;
    /// A page of its feed behind `since`; with `wait`, not before there is a row to tell.
    fn changes<'a>(
        &'a self,
        asked: &'a ChangesAsked,
        since: &'a Sequence,
        wait: bool,
    ) -> Later<'a, ChangesPage>;
    /// The code of a filter function, by which a change of it is noticed.
    fn filter_code<'a>(&'a self, design: &'a str, name: &'a str) -> Later<'a, String>;
    /// Which revisions of `rows` it lacks.
    fn lacking<'a>(&'a self, rows: &'a [ChangeRow]) -> Later<'a, Vec<Wanted>>;
    /// Documents, attachments as stubs.
    fn fetch<'a>(&'a self, wanted: &'a [Wanted]) -> Later<'a, Box<dyn FetchedRows + 'a>>;
    /// Documents of one revision (its newest descendants) with their attachments; all of them, or
    /// those that are newer than what the target has.
    fn open<'a>(&'a self, wanted: &'a Wanted, all: bool) -> Later<'a, Box<dyn Sending + 'a>>;
    /// Writes documents as they are; answers with those that were refused.
    fn write<'a>(&'a self, documents: &'a [Bytes]) -> Later<'a, Vec<WriteFailure>>;
    /// Writes one document with the attachments that follow.
    fn write_with<'a>(
        &'a self,
        id: &'a str,
        json: Bytes,
        contents: &'a mut Contents<'_>,
    ) -> Later<'a, ()>;
    /// Reads a local document, `name` without `_local/`.
    fn read_local<'a>(&'a self, name: &'a str) -> Later<'a, Option<LocalDocument>>;
    /// Writes a local document and answers with its revision.
    fn write_local<'a>(&'a self, name: &'a str, document: &'a LocalDocument) -> Later<'a, String>;
    /// Brings everything written to stable storage; answers with the instance.
    fn commit(&self) -> Later<'_, String>;
}

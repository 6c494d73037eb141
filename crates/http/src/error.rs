//! The one place that turns what went wrong into `(status, error, reason)`, in `CouchDB`'s words.
//!
//! The matches have no catch-all: a new fault does not compile until it has its answer. What can go
//! wrong with accounts and what belongs to them stands in one file an area, in `error/`.

mod access;
mod account;
mod app;
mod factor;
mod link;
mod mail;
mod organisation;
mod provider;
mod session;
mod writing;

use std::borrow::Cow;

use adea_accounts::{Refusal, TokenError};
use adea_base::{InvalidDatabaseName, InvalidDocumentId};
use adea_documents::json::{DraftError, JsonError, write_json_string};
use adea_documents::revision::InvalidRevision;
use adea_documents::{DatabaseError, WriteError};
use adea_files::{ReadError, UploadError};
use adea_pod::{AccessError, FindError, InvalidPartitionedId, PodError};
use adea_replication::ReplicationError;
use adea_script::ScriptError;
use adea_store::CommitError;
use http::{HeaderValue, StatusCode, header};

use crate::body::Response;
use crate::reply;
use crate::router::Rerouted;

/// Why a request was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error(transparent)]
    Pod(#[from] PodError),
    #[error(transparent)]
    DatabaseName(#[from] InvalidDatabaseName),
    #[error(transparent)]
    DocumentId(#[from] InvalidDocumentId),
    #[error(transparent)]
    Revision(#[from] InvalidRevision),
    /// The request makes no sense.
    #[error("{0}")]
    BadRequest(Cow<'static, str>),
    /// What came in with a request to one of our own routes is not what the route takes.
    #[error("{0}")]
    Input(String),
    /// A parameter of a query has a value that it cannot have.
    #[error("{0}")]
    QueryParse(Cow<'static, str>),
    /// A Mango request that makes no sense, in `CouchDB`'s words for it.
    #[error("{reason}")]
    Mango {
        status: StatusCode,
        error: &'static str,
        reason: String,
    },
    /// There is no such thing.
    #[error("{0}")]
    NotFound(&'static str),
    /// A design document has no such function.
    #[error("missing json key: {0}")]
    NoMember(String),
    /// A path below a design document that leads nowhere; the word says for what.
    #[error("Invalid path.")]
    InvalidPath(&'static str),
    /// No error: the request is answered as another one.
    #[error("The request leads elsewhere.")]
    Rerouted(Box<Rerouted>),
    /// What a function answered cannot be sent.
    #[error("{1}")]
    BadAnswer(&'static str, String),
    /// There is, but not with this method; these are allowed.
    #[error("Only {0} allowed")]
    MethodNotAllowed(&'static str),
    /// The body is of another type than is read here.
    #[error("Content-Type must be {0}")]
    ContentType(&'static str),
    /// The body is larger than is taken.
    #[error("the request entity is too large")]
    TooLarge,
    /// A document is larger than is taken.
    #[error("{0}")]
    DocumentTooLarge(String),
    /// More items than one request may bring.
    #[error("{0}")]
    TooMany(Cow<'static, str>),
    /// The peer went away or sent nothing for too long.
    #[error("The request body did not arrive in full: {0}")]
    Incomplete(String),
    /// Too many large bodies at once; try again.
    #[error("The server holds as many large requests as it can; try again.")]
    Busy,
    /// A range that the resource does not have.
    #[error("Requested range not satisfiable")]
    Range,
    /// What `CouchDB` once had.
    #[error("{0}")]
    Gone(&'static str),
    /// There is no such node.
    #[error("no such node: {0}")]
    NoNode(String),
    /// What a server could do and this one does not.
    #[error("{0}")]
    Declined(&'static str),
    /// What is not here yet, and says so.
    #[error("{0} is not implemented in this version.")]
    NotImplemented(&'static str),
}

impl From<DraftError> for ApiError {
    fn from(error: DraftError) -> Self {
        Self::Pod(error.into())
    }
}

impl From<JsonError> for ApiError {
    fn from(error: JsonError) -> Self {
        Self::Pod(error.into())
    }
}

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        Self::Pod(error.into())
    }
}

impl From<Refusal> for ApiError {
    fn from(error: Refusal) -> Self {
        Self::Pod(error.into())
    }
}

impl ApiError {
    /// A 400 with a reason.
    pub(crate) fn bad(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::BadRequest(reason.into())
    }

    /// A 400 for a parameter.
    pub(crate) fn query(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::QueryParse(reason.into())
    }

    /// The status and the word for it.
    pub(crate) fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Pod(error) => of_pod(error),
            Self::DatabaseName(_) => (StatusCode::BAD_REQUEST, "illegal_database_name"),
            Self::DocumentId(_) => (StatusCode::BAD_REQUEST, "illegal_docid"),
            Self::Revision(_) | Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::Mango { status, error, .. } => (*status, error),
            Self::Input(_) => (StatusCode::BAD_REQUEST, "invalid_input"),
            Self::QueryParse(_) => (StatusCode::BAD_REQUEST, "query_parse_error"),
            Self::NotFound(_) | Self::NoMember(_) | Self::NoNode(_) => {
                (StatusCode::NOT_FOUND, "not_found")
            }
            Self::Rerouted(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error"),
            Self::InvalidPath(word) => (StatusCode::NOT_FOUND, word),
            Self::BadAnswer(word, _) => (StatusCode::INTERNAL_SERVER_ERROR, word),
            Self::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::ContentType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_content_type"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::DocumentTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "document_too_large"),
            Self::TooMany(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_many"),
            Self::Incomplete(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable"),
            Self::Range => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "requested_range_not_satisfiable",
            ),
            Self::Gone(_) => (StatusCode::GONE, "gone"),
            Self::Declined(_) => (StatusCode::FORBIDDEN, "forbidden"),
            Self::NotImplemented(_) => (StatusCode::NOT_IMPLEMENTED, "not_implemented"),
        }
    }

    /// The word of the answer, which a design document's function may have chosen.
    pub(crate) fn word(&self) -> Cow<'_, str> {
        if let Self::Pod(PodError::Script(ScriptError::Threw { error, .. })) = self {
            Cow::Borrowed(error)
        } else {
            Cow::Borrowed(self.status().1)
        }
    }

    /// The answer.
    pub(crate) fn response(&self) -> Response {
        let ((status, _), error) = (self.status(), self.word());
        // A function that throws is its author's matter.
        let told = matches!(
            self,
            Self::Pod(
                PodError::Script(ScriptError::Threw { .. })
                    // It is no fault, and everybody who reads meets it.
                    | PodError::Access(AccessError::Rebuilding { .. })
            )
        );
        if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED && !told {
            tracing::error!(error = %self, "a request failed");
        }
        let mut response = reply::json(status, reply::error_body(&error, &self.to_string()));
        if let Self::MethodNotAllowed(allowed) = self {
            let headers = response.headers_mut();
            headers.insert(
                header::ALLOW,
                HeaderValue::from_str(&allowed.replace(',', ", ").replace(",  ", ", "))
                    .unwrap_or(HeaderValue::from_static("GET")),
            );
        }
        let wait_s = if let Self::Pod(PodError::Limited { retry_after_s }) = self {
            Some(*retry_after_s)
        } else {
            (status == StatusCode::SERVICE_UNAVAILABLE).then_some(5)
        };
        if let Some(wait_s) = wait_s {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait_s));
        }
        response
    }
}

fn of_pod(error: &PodError) -> (StatusCode, &'static str) {
    match error {
        PodError::Database(DatabaseError::Exists) => {
            (StatusCode::PRECONDITION_FAILED, "file_exists")
        }
        PodError::Database(DatabaseError::Missing) | PodError::Missing | PodError::Deleted => {
            (StatusCode::NOT_FOUND, "not_found")
        }
        PodError::Write(error) => of_write(error),
        PodError::Refused(Refusal::Unauthorized(_)) => (StatusCode::UNAUTHORIZED, "unauthorized"),
        PodError::Refused(Refusal::Forbidden(_)) => (StatusCode::FORBIDDEN, "forbidden"),
        PodError::Refused(Refusal::NotFound) => (StatusCode::NOT_FOUND, "not_found"),
        PodError::Draft(error) => of_draft(error),
        PodError::Find(error) => of_find(error),
        PodError::Json(_) => (StatusCode::BAD_REQUEST, "bad_request"),
        PodError::MalformedCookie
        | PodError::Token(TokenError::Invalid(_) | TokenError::UnknownKey)
        | PodError::WeakPassword(_) => (StatusCode::BAD_REQUEST, "bad_request"),
        PodError::Token(TokenError::Refused(_)) => (StatusCode::UNAUTHORIZED, "unauthorized"),
        PodError::Upload(error) => match error {
            UploadError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "attachment_too_large"),
            UploadError::NotGzip => (StatusCode::BAD_REQUEST, "bad_request"),
            // The disk is at fault and not the request: as when the store takes no writes.
            UploadError::DiskFull(_)
            | UploadError::SyncFailed(_)
            | UploadError::Io(_)
            | UploadError::Poisoned => (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable"),
            UploadError::Interrupted => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error")
            }
        },
        PodError::Read(error) => of_read(error),
        PodError::Commit(CommitError::Poisoned(_) | CommitError::Closed) => {
            (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable")
        }
        PodError::Script(error) => of_script(error),
        PodError::Busy | PodError::Unsettled | PodError::Commit(CommitError::Fenced { .. }) => {
            (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable")
        }
        PodError::Query(_) => (StatusCode::BAD_REQUEST, "query_parse_error"),
        PodError::MissingView => (StatusCode::NOT_FOUND, "not_found"),
        PodError::InvalidDesign { error, .. } => (StatusCode::BAD_REQUEST, error),
        PodError::UnknownLanguage(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "unknown_query_language")
        }
        PodError::Reduce { error, .. } => of_reduce(error),
        PodError::Setting(_) => (StatusCode::BAD_REQUEST, "bad_request"),
        PodError::Partition(error) => of_partition(*error),
        PodError::Account(error) => account::status(error),
        PodError::Session(error) => session::status(error),
        PodError::Factor(error) => factor::status(error),
        PodError::Link(error) => link::status(error),
        PodError::Provider(error) => provider::status(error),
        PodError::Organisation(error) => organisation::status(error),
        PodError::App(error) => app::status(error),
        PodError::NotTaken(refused) => writing::status(refused),
        PodError::Access(error) => access::status(error),
        PodError::Mail(error) => mail::status(error),
        PodError::Limited { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests"),
        PodError::Description(_) => (StatusCode::BAD_REQUEST, "bad_request"),
        PodError::Replication(error) => of_replication(error),
        PodError::Engine(_) | PodError::Interrupted => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error")
        }
    }
}

/// The status and word for an id that a partitioned database has no place for.
fn of_partition(error: InvalidPartitionedId) -> (StatusCode, &'static str) {
    match error {
        InvalidPartitionedId::NoPartition | InvalidPartitionedId::Reserved => {
            (StatusCode::BAD_REQUEST, "illegal_docid")
        }
        InvalidPartitionedId::Empty | InvalidPartitionedId::Underscore => {
            (StatusCode::BAD_REQUEST, "illegal_partition")
        }
    }
}

/// The status and word for rows that cannot be reduced.
fn of_reduce(error: &str) -> (StatusCode, &'static str) {
    let word = match error {
        "invalid_value" => "invalid_value",
        "reduce_error" => "reduce_error",
        _ => "builtin_reduce_error",
    };
    (StatusCode::INTERNAL_SERVER_ERROR, word)
}

/// The status and word for a function that gave no answer, or an error for one.
fn of_script(error: &ScriptError) -> (StatusCode, &'static str) {
    match error {
        ScriptError::Compilation { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "compilation_error"),
        ScriptError::Missing(_) => (StatusCode::NOT_FOUND, "not_found"),
        ScriptError::Threw { error, .. } => match error.as_str() {
            "bad_request" => (StatusCode::BAD_REQUEST, "bad_request"),
            "unauthorized" => (StatusCode::UNAUTHORIZED, "unauthorized"),
            "forbidden" => (StatusCode::FORBIDDEN, "forbidden"),
            "not_found" => (StatusCode::NOT_FOUND, "not_found"),
            "not_acceptable" => (StatusCode::NOT_ACCEPTABLE, "not_acceptable"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "unknown_error"),
        },
        ScriptError::TimedOut => (StatusCode::INTERNAL_SERVER_ERROR, "timeout"),
        ScriptError::TooMuchMemory | ScriptError::Crashed(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "os_process_error")
        }
        ScriptError::TooBusy => (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable"),
        ScriptError::Disabled => (StatusCode::NOT_IMPLEMENTED, "not_implemented"),
    }
}

fn of_replication(error: &ReplicationError) -> (StatusCode, &'static str) {
    match error {
        ReplicationError::NoDatabase(_) => (StatusCode::NOT_FOUND, "db_not_found"),
        ReplicationError::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "unauthorized"),
        ReplicationError::Filter(..) => (StatusCode::INTERNAL_SERVER_ERROR, "filter_fetch_error"),
        ReplicationError::Failed {
            what: "_changes", ..
        } => (StatusCode::INTERNAL_SERVER_ERROR, "changes_reader_died"),
        ReplicationError::Failed { .. } => {
            (StatusCode::INTERNAL_SERVER_ERROR, "http_request_failed")
        }
        ReplicationError::Nonsense { .. } => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "replication_protocol_error",
        ),
        ReplicationError::Checkpoint(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "checkpoint_commit_failure",
        ),
    }
}

/// The status and word for one document that was not written.
fn of_write(error: &WriteError) -> (StatusCode, &'static str) {
    match error {
        WriteError::Conflict => (StatusCode::CONFLICT, "conflict"),
        WriteError::MissingStub { .. } => (StatusCode::PRECONDITION_FAILED, "missing_stub"),
        WriteError::TooManyBranches => (StatusCode::PAYLOAD_TOO_LARGE, "too_many_conflicts"),
    }
}

fn of_read(error: &ReadError) -> (StatusCode, &'static str) {
    match error {
        ReadError::OutOfRange { .. } => (
            StatusCode::RANGE_NOT_SATISFIABLE,
            "requested_range_not_satisfiable",
        ),
        ReadError::Missing(_)
        | ReadError::WrongLength { .. }
        | ReadError::CorruptGzip
        | ReadError::Io(_)
        | ReadError::Interrupted => (StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error"),
    }
}

fn of_find(error: &FindError) -> (StatusCode, &'static str) {
    match error {
        FindError::NoSortIndex(_) => (StatusCode::BAD_REQUEST, "no_usable_index"),
        FindError::UnsuitableIndex(_) => (StatusCode::BAD_REQUEST, "invalid_index"),
        FindError::InvalidBookmark(_) => (StatusCode::BAD_REQUEST, "invalid_bookmark"),
        FindError::TooExpensive => (StatusCode::BAD_REQUEST, "too_expensive"),
        FindError::InvalidIndexName(_) => (StatusCode::BAD_REQUEST, "invalid_index_name"),
        FindError::InvalidLanguage(_) => (StatusCode::BAD_REQUEST, "invalid_ddoc_lang"),
        FindError::PartitionedMismatch(_) => {
            (StatusCode::BAD_REQUEST, "invalid_partitioned_option")
        }
        FindError::SavingConflict => (StatusCode::INTERNAL_SERVER_ERROR, "error_saving_ddoc"),
        FindError::TooManyGroups(_) | FindError::GroupsTooLarge => {
            (StatusCode::BAD_REQUEST, "too_many_groups")
        }
    }
}

fn of_draft(error: &DraftError) -> (StatusCode, &'static str) {
    match error {
        DraftError::UnknownField(_)
        | DraftError::RevisionsStart
        | DraftError::RevisionsStartTooLow
        | DraftError::RevisionsIds
        | DraftError::RevisionIdNotText
        | DraftError::RevisionIdInvalid => (StatusCode::BAD_REQUEST, "doc_validation"),
        DraftError::TooManyDocuments => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "max_bulk_docs_count_exceeded",
        ),
        DraftError::Json(_)
        | DraftError::NotAnObject
        | DraftError::TooManyRevisions
        | DraftError::InvalidAttachment(_)
        | DraftError::BulkNotAnObject
        | DraftError::NoDocuments
        | DraftError::DocumentsNotAnArray
        | DraftError::NewEditsNotABoolean => (StatusCode::BAD_REQUEST, "bad_request"),
    }
}

/// Writes `"error":…,"reason":…` of a row in a bulk answer.
pub(crate) fn write_row_error(out: &mut Vec<u8>, error: &str, reason: &str) {
    out.extend_from_slice(b"\"error\":");
    write_json_string(out, error);
    out.extend_from_slice(b",\"reason\":");
    write_json_string(out, reason);
}

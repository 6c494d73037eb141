//! Why a use case ended without doing what was asked.

use adea_accounts::{PasswordRefused, Refusal, SessionError, TokenError};
use adea_documents::json::{DraftError, JsonError};
use adea_documents::{DatabaseError, WriteError};
use std::borrow::Cow;

use adea_files::{ReadError, UploadError};
use adea_script::ScriptError;
use adea_store::{CommitError, EngineError, TransactError};

/// Why a use case ended without doing what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// Of a whole database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Of one document's writing.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Of a query or an index.
    #[error(transparent)]
    Find(#[from] crate::find::FindError),
    /// There is no such document, revision or attachment.
    #[error("missing")]
    Missing,
    /// There was such a document; it is deleted.
    #[error("deleted")]
    Deleted,
    /// The caller may not.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What was sent as a session cookie is none.
    #[error("{}", SessionError::Malformed)]
    MalformedCookie,
    /// What was sent as a token proves nothing.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A new password is not as the rules want it.
    #[error(transparent)]
    WeakPassword(#[from] PasswordRefused),
    /// What was sent is no document.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// What was sent is no JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// An attachment could not be taken in.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// An attachment could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A function of a design document gave no answer, or an error for one.
    #[error("{}", told_of(.0))]
    Script(#[from] ScriptError),
    /// What was judged had changed each time that it was to be written; try again.
    #[error(
        "The document or what validates it changed too often while it was validated; try again."
    )]
    Unsettled,
    /// The store did not take it.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What is asked of a view makes no sense.
    #[error("{0}")]
    Query(Cow<'static, str>),
    /// The design document has no view of that name.
    #[error("missing_named_view")]
    MissingView,
    /// A design document cannot be saved like that.
    #[error("{reason}")]
    InvalidDesign {
        /// `CouchDB`'s word for it.
        error: &'static str,
        /// And its sentence.
        reason: String,
    },
    /// Functions are written in what is not run here.
    #[error("{0}")]
    UnknownLanguage(String),
    /// A built-in reduce cannot take what it is given.
    #[error("{reason}")]
    Reduce {
        /// `CouchDB`'s word for it.
        error: String,
        /// And its sentence.
        reason: String,
    },
    /// A setting that is not taken.
    #[error(transparent)]
    Setting(#[from] crate::configuration::InvalidSetting),
    /// No id that a document of a partitioned database may have.
    #[error(transparent)]
    Partition(#[from] crate::partition::InvalidPartitionedId),
    /// What was asked for is no replication.
    #[error(transparent)]
    Description(#[from] adea_replication::InvalidDescription),
    /// A replication failed.
    #[error(transparent)]
    Replication(Box<adea_replication::ReplicationError>),
    /// Of directory.
    #[error(transparent)]
    Account(#[from] crate::directory::AccountError),
    /// Of begin session.
    #[error(transparent)]
    Session(#[from] crate::begin_session::SessionError),
    /// Of factors.
    #[error(transparent)]
    Factor(#[from] crate::factors::FactorError),
    /// Of links.
    #[error(transparent)]
    Link(#[from] crate::links::LinkError),
    /// Of providers.
    #[error(transparent)]
    Provider(#[from] crate::providers::ProviderError),
    /// Of organisations.
    #[error(transparent)]
    Organisation(#[from] crate::organisations::OrganisationError),
    /// Of apps.
    #[error(transparent)]
    App(#[from] crate::apps::AppError),
    /// By what the database says of writing.
    #[error(transparent)]
    NotTaken(#[from] crate::access::WriteRefused),
    /// Of databases with access control.
    #[error(transparent)]
    Access(#[from] crate::access::AccessError),
    /// Of mail.
    #[error(transparent)]
    Mail(#[from] crate::mail::MailError),
    /// This was asked too often; ask again later.
    #[error("Too many requests; try again in {retry_after_s} s.")]
    Limited {
        /// After how many seconds, at the least.
        retry_after_s: u64,
    },
    /// Too many passwords are to be checked at once; try again.
    #[error("Too many sign-ins at once; try again.")]
    Busy,
    /// The server is shutting down, or a task of it broke.
    #[error("the request was interrupted")]
    Interrupted,
}

/// The sentence of an error of a function; its word is told apart from it.
fn told_of(error: &ScriptError) -> String {
    match error {
        ScriptError::Threw { reason, .. } => reason.clone(),
        ScriptError::Compilation { .. }
        | ScriptError::Missing(_)
        | ScriptError::TimedOut
        | ScriptError::TooMuchMemory
        | ScriptError::Crashed(_)
        | ScriptError::TooBusy
        | ScriptError::Disabled => error.to_string(),
    }
}

impl From<adea_accounts::names::InvalidName> for PodError {
    fn from(error: adea_accounts::names::InvalidName) -> Self {
        Self::Account(error.into())
    }
}

impl<E: Into<Self>> From<TransactError<E>> for PodError {
    fn from(error: TransactError<E>) -> Self {
        match error {
            TransactError::Refused(refused) => refused.into(),
            TransactError::Engine(error) => Self::Engine(error),
            TransactError::Commit(error) => Self::Commit(error),
        }
    }
}

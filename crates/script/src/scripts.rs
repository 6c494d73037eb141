//! The door: what others ask of design functions.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::error::ScriptError;
use crate::program::{DesignProgram, MapProgram, ReduceProgram};

/// How processes are started and bounded.
#[derive(Clone, Debug)]
pub struct ScriptOptions {
    /// What starts a worker: this executable and `js-worker`.
    pub command: Vec<OsString>,
    /// Memory of one process's JavaScript.
    pub memory_bytes: usize,
    /// How long one document, reduce or request may take, by the wall clock.
    pub timeout: Duration,
    /// Processes at a time.
    pub processes_max: usize,
    /// A process unused for so long is ended.
    pub idle: Duration,
}

/// Whose process it is: functions of one database never share one with another's.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Owner {
    /// The database's number.
    pub database: u64,
    /// What for.
    pub purpose: Purpose,
}

/// What a process is for, so that a slow view delays no write.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Purpose {
    /// Map functions of indexes.
    Index,
    /// Reduce functions.
    Reduce,
    /// `validate_doc_update`.
    Validate,
    /// Filters of `_changes`.
    Filter,
    /// Shows, lists, updates, rewrites.
    Render,
    /// Compiling what somebody wants to save.
    Compile,
}

/// What a map function emitted: JSON texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emission {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// What one map function made of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// Rows, in order.
    Emitted(Vec<Emission>),
    /// It threw; the document has no rows.
    Threw(String),
}

/// One call of a reduce function.
#[derive(Clone, Debug)]
pub struct ReduceCall {
    /// Which function of the program.
    pub function: usize,
    /// JSON texts `[key,id]`; none for a rereduce.
    pub keys: Option<Vec<String>>,
    /// JSON texts.
    pub values: Vec<String>,
}

/// What `validate_doc_update` says of an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was thrown.
    Accepted,
    /// `throw {forbidden: …}`.
    Forbidden(String),
    /// `throw {unauthorized: …}`.
    Unauthorized(String),
    /// Anything else was thrown: the edit is refused too.
    Threw {
        /// `CouchDB`'s error word.
        error: String,
        /// And its sentence.
        reason: String,
    },
}

/// A list function under way.
#[derive(Debug)]
pub struct Listing {
    /// JSON `{"code","headers"}`.
    pub start: String,
    /// Text as it is sent; an error is the last.
    pub chunks: mpsc::Receiver<Result<Bytes, ScriptError>>,
}

/// Handle to the processes; cheap to clone.
#[derive(Clone, Debug)]
pub struct Scripts {}

impl Scripts {
    /// Starts nothing yet.
    #[must_use]
    pub fn new(options: ScriptOptions) -> Self {
        drop(options);
        Self {}
    }

    /// Every call is refused with [`ScriptError::Disabled`].
    #[must_use]
    pub fn disabled() -> Self {
        Self {}
    }

    /// Ends all processes; later calls are refused.
    pub fn close(&self) {}

    /// Does every function `(name, source)` compile?
    ///
    /// # Errors
    ///
    /// [`ScriptError::Compilation`] for the first that does not.
    pub async fn compile(
        &self,
        owner: &Owner,
        lib: Option<&str>,
        functions: &[(String, String)],
    ) -> Result<(), ScriptError> {
        Err(ScriptError::Disabled)
    }

    /// Each document (JSON text with `_id` and `_rev`) through each map function:
    /// `result[document][function]`.
    ///
    /// # Errors
    ///
    /// When the process gave no answer.
    pub async fn map(
        &self,
        owner: &Owner,
        program: &Arc<MapProgram>,
        documents: &[Bytes],
    ) -> Result<Vec<Vec<Mapped>>, ScriptError> {
        Err(ScriptError::Disabled)
    }

    /// One result, a JSON text or the reason why not, for each call.
    ///
    /// # Errors
    ///
    /// When the process gave no answer.
    pub async fn reduce(
        &self,
        owner: &Owner,
        program: &Arc<ReduceProgram>,
        calls: Vec<ReduceCall>,
    ) -> Result<Vec<Result<String, String>>, ScriptError> {
        Err(ScriptError::Disabled)
    }

    /// `validate_doc_update` of the design document; each call is
    /// `[newDoc, oldDoc, userCtx, secObj]` as JSON texts.
    ///
    /// # Errors
    ///
    /// When the process gave no answer.
    pub async fn validate(
        &self,
        owner: &Owner,
        program: &Arc<DesignProgram>,
        calls: &[[Bytes; 4]],
    ) -> Result<Vec<Verdict>, ScriptError> {
        Err(ScriptError::Disabled)
    }

    /// `filters[name](doc, req)` for each document.
    ///
    /// # Errors
    ///
    /// When the process gave no answer.
    pub async fn filter(
        &self,
        owner: &Owner,
        program: &Arc<DesignProgram>,
        name: &str,
        documents: &[Bytes],
        req: &str,
    ) -> Result<Vec<Result<bool, String>>, ScriptError> {
        Err(ScriptError::Disabled)
    }

    /// Does `views[view].map` emit anything for each document?
    ///
    /// # Errors
    ///
    /// When the process gave no answer.
    pub async fn view_filter(
        &self,
        owner: &Owner,
        program: &Arc<DesignProgram>,
        view: &str,
        documents: &[Bytes],
    ) -> Result<Vec<bool>, ScriptError> {
        Err(ScriptError::Disabled)
    }

    /// Calls the show, update or rewrite function at `path` with JSON arguments; answers with
    /// the returned JSON, a response made whole.
    ///
    /// # Errors
    ///
    /// When the process gave no answer, or the function threw.
    pub async fn call(
        &self,
        owner: &Owner,
        program: &Arc<DesignProgram>,
        path: &[&str],
        arguments: &[String],
    ) -> Result<String, ScriptError> {
        Err(ScriptError::Disabled)
    }

    /// A list function: rows are taken from `rows` as it asks for them, text comes out as it is
    /// sent.
    ///
    /// # Errors
    ///
    /// When the function failed before it sent anything.
    pub async fn list(
        &self,
        owner: &Owner,
        program: &Arc<DesignProgram>,
        name: &str,
        head: String,
        req: String,
        rows: mpsc::Receiver<Bytes>,
    ) -> Result<Listing, ScriptError> {
        Err(ScriptError::Disabled)
    }
}

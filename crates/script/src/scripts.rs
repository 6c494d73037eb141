//! The door: what others ask of design functions.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::batch::{self, Batch, Inputs, Reading};
use crate::error::ScriptError;
use crate::lines;
use crate::listing;
use crate::pool::Pool;
use crate::program::{DesignProgram, MapProgram, ReduceProgram, write_sources};
use crate::wire::{Action, FrameWriter, Request};

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
    /// Access lists of documents, and merges of them.
    Access,
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
pub struct Scripts {
    /// None: there is no JavaScript here.
    pool: Option<Arc<Pool>>,
}

impl Scripts {
    /// Starts nothing yet.
    #[must_use]
    pub fn new(options: ScriptOptions) -> Self {
        Self {
            pool: Some(Pool::new(options)),
        }
    }

    /// Every call is refused with [`ScriptError::Disabled`].
    #[must_use]
    pub fn disabled() -> Self {
        Self { pool: None }
    }

    /// Ends all processes; calls under way and later ones are refused.
    pub fn close(&self) {
        if let Some(pool) = &self.pool {
            pool.close();
        }
    }

    /// The processes that run now: whose, and their process ids.
    #[must_use]
    pub fn processes(&self) -> Vec<(Owner, u32)> {
        self.pool
            .as_ref()
            .map(|pool| pool.processes())
            .unwrap_or_default()
    }

    /// Does every function `(name, source)` compile?
    ///
    /// # Errors
    ///
    /// [`ScriptError::Compilation`] for the first that does not. `CouchDB` says "Compilation of
    /// the map function in the '…' view failed: " before the reason where it is about views.
    pub async fn compile(
        &self,
        owner: &Owner,
        lib: Option<&str>,
        functions: &[(String, String)],
    ) -> Result<(), ScriptError> {
        let mut frame = FrameWriter::default();
        frame.begin(Request::Compile.number());
        let names: Vec<&String> = functions.iter().map(|(name, _)| name).collect();
        let sources: Vec<&String> = functions.iter().map(|(_, source)| source).collect();
        write_sources(lib, names.into_iter(), &mut frame);
        frame.number(sources.len() as u64);
        for source in sources {
            frame.text(source.as_bytes());
        }
        frame.end();
        self.unless_closed(async |pool| {
            let mut lease = pool.lease(owner).await?;
            let process = lease.process(None).await?;
            process.send(frame.bytes()).await?;
            let done = process.done().await;
            if done.as_ref().err().is_none_or(batch::is_refusal) {
                lease.finish();
            }
            done
        })
        .await
    }

    /// Each document (JSON text with `_id` and `_rev`) through each map function:
    /// `result[document][function]`.
    ///
    /// A document that a function hangs on, or needs too much memory for, counts as thrown; after
    /// two of them the call fails.
    ///
    /// # Errors
    ///
    /// When the process gave no answer, a function does not compile, or one threw `fatal_error`.
    pub async fn map(
        &self,
        owner: &Owner,
        program: &Arc<MapProgram>,
        documents: &[Bytes],
    ) -> Result<Vec<Vec<Mapped>>, ScriptError> {
        let functions = program.functions();
        if functions == 0 {
            return Ok(vec![Vec::new(); documents.len()]);
        }
        let reading = Reading {
            line: lines::mapped,
            stopped: |error| Mapped::Threw(error.to_string()),
        };
        let batch = Batch {
            program: &**program,
            action: Action::Map,
            path: &[],
            shared: None,
            inputs: Inputs::Documents(documents),
            units: functions,
        };
        let mut answers = self.batch(owner, &batch, reading).await?.into_iter();
        Ok(documents
            .iter()
            .map(|_| answers.by_ref().take(functions).collect())
            .collect())
    }

    /// One result, a JSON text or the reason why not, for each call. A function that throws gives
    /// null, as in `CouchDB`; one whose result does not shrink is refused with "Reduce output must
    /// shrink more rapidly: …", which is a `reduce_overflow_error`.
    ///
    /// # Errors
    ///
    /// When the process gave no answer, or a function does not compile.
    pub async fn reduce(
        &self,
        owner: &Owner,
        program: &Arc<ReduceProgram>,
        calls: Vec<ReduceCall>,
    ) -> Result<Vec<Result<String, String>>, ScriptError> {
        let reading = Reading {
            line: |line| match line.strip_prefix('!') {
                Some(json) => Err(lines::thrown(json).1),
                None => lines::value(line).ok_or_else(|| "the result has no JSON".to_owned()),
            },
            stopped: |error| Err(error.to_string()),
        };
        let batch = Batch {
            program: &**program,
            action: Action::Reduce,
            path: &[],
            shared: None,
            inputs: Inputs::Reduces(&calls),
            units: 1,
        };
        self.batch(owner, &batch, reading).await
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
        let reading = Reading {
            line: verdict,
            stopped: |error| Verdict::Threw {
                error: "os_process_error".to_owned(),
                reason: error.to_string(),
            },
        };
        let batch = Batch {
            program: &**program,
            action: Action::Validate,
            path: &["validate_doc_update"],
            shared: None,
            inputs: Inputs::Validations(calls),
            units: 1,
        };
        self.batch(owner, &batch, reading).await
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
        let reading = Reading {
            line: |line| match line.strip_prefix('!') {
                Some(json) => Err(lines::thrown(json).1),
                None => Ok(line == "true"),
            },
            stopped: |error| Err(error.to_string()),
        };
        let batch = Batch {
            program: &**program,
            action: Action::Filter,
            path: &["filters", name],
            shared: Some(req),
            inputs: Inputs::Documents(documents),
            units: 1,
        };
        self.batch(owner, &batch, reading).await
    }

    /// Does `views[view].map` emit anything for each document? One that makes it throw does not
    /// pass.
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
        let reading = Reading {
            line: |line| line == "true",
            stopped: |_| false,
        };
        let batch = Batch {
            program: &**program,
            action: Action::ViewFilter,
            path: &["views", view, "map"],
            shared: None,
            inputs: Inputs::Documents(documents),
            units: 1,
        };
        self.batch(owner, &batch, reading).await
    }

    /// Calls the show, update or rewrite function at `path` with JSON arguments; answers with
    /// the returned JSON.
    ///
    /// Of a show it is the response made whole: `code`, `headers` with `Content-Type`, and `body`,
    /// `json` or `base64`. Of an update it is `[doc|null, response]`; that response has a `code`
    /// only if the function gave one. Of a rewrite (path `["rewrites"]`) it is an object with
    /// `path`, or null when no rule fits.
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
        let reading: Reading<Result<String, ScriptError>> = Reading {
            line: |line| match line.strip_prefix('!') {
                Some(json) => {
                    let (error, reason) = lines::thrown(json);
                    Err(ScriptError::Threw { error, reason })
                }
                None => Ok(line.to_owned()),
            },
            stopped: |error| Err(error.clone()),
        };
        let batch = Batch {
            program: &**program,
            action: Action::Call,
            path,
            shared: None,
            inputs: Inputs::Arguments(arguments),
            units: 1,
        };
        let answers = self.batch(owner, &batch, reading).await?;
        let nothing = || Err(ScriptError::Crashed("it answered nothing".to_owned()));
        answers.into_iter().next().unwrap_or_else(nothing)
    }

    /// Calls the function at `path` once for each list of arguments, JSON texts: what it returned
    /// as JSON text, or why there is nothing of the kind. `undefined` counts as null.
    ///
    /// # Errors
    ///
    /// When the process gave no answer.
    pub async fn answers(
        &self,
        owner: &Owner,
        program: &Arc<DesignProgram>,
        path: &[&str],
        calls: &[Vec<Bytes>],
    ) -> Result<Vec<Result<String, ScriptError>>, ScriptError> {
        let reading: Reading<Result<String, ScriptError>> = Reading {
            line: |line| match line.strip_prefix('!') {
                Some(json) => {
                    let (error, reason) = lines::thrown(json);
                    Err(ScriptError::Threw { error, reason })
                }
                None => lines::value(line)
                    .ok_or_else(|| ScriptError::Crashed("what it returned has no JSON".to_owned())),
            },
            stopped: |error| Err(error.clone()),
        };
        let batch = Batch {
            program: &**program,
            action: Action::Answer,
            path,
            shared: None,
            inputs: Inputs::Calls(calls),
            units: 1,
        };
        self.batch(owner, &batch, reading).await
    }

    /// A list function: rows (JSON texts) are taken from `rows` as it asks for them, text comes
    /// out as it is sent. Dropping the listing ends the function.
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
        let (program, name) = (Arc::clone(program), name.to_owned());
        let call = listing::Call {
            program,
            name,
            head,
            req,
            rows,
        };
        self.unless_closed(async |pool| listing::list(pool, owner, call).await)
            .await
    }

    async fn batch<A: Send + 'static>(
        &self,
        owner: &Owner,
        batch: &Batch<'_>,
        reading: Reading<A>,
    ) -> Result<Vec<A>, ScriptError> {
        if batch.inputs.count() == 0 {
            return Ok(Vec::new());
        }
        self.unless_closed(async |pool| batch::run(pool, owner, batch, reading).await)
            .await
    }

    async fn unless_closed<T>(
        &self,
        work: impl AsyncFnOnce(&Arc<Pool>) -> Result<T, ScriptError>,
    ) -> Result<T, ScriptError> {
        let pool = self.pool.as_ref().ok_or(ScriptError::Disabled)?;
        tokio::select! {
            biased;
            () = pool.closed() => Err(ScriptError::Disabled),
            done = work(pool) => done,
        }
    }
}

fn verdict(line: &str) -> Verdict {
    if line == "[\"accepted\"]" {
        return Verdict::Accepted;
    }
    if let Some(json) = line.strip_prefix('!') {
        let (error, reason) = lines::thrown(json);
        return Verdict::Threw { error, reason };
    }
    let texts: Result<[String; 2], _> = serde_json::from_str(line);
    match texts {
        Ok([word, reason]) if word == "forbidden" => Verdict::Forbidden(reason),
        Ok([word, reason]) if word == "unauthorized" => Verdict::Unauthorized(reason),
        Ok(_) | Err(_) => Verdict::Threw {
            error: "unknown_error".to_owned(),
            reason: Value::from(line).to_string(),
        },
    }
}

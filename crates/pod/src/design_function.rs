//! Functions of design documents that somebody calls: filters, shows, lists, updates, rewrites.
//!
//! A design document is read at each call, which costs a lookup of its record; its text and the
//! program made of it are kept, so that a process that has loaded it need not load it again. What
//! is kept is named by the sequence that its body was written under, so it is never out of date.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use adea_base::Caller;
use adea_documents::json::{JsonError, for_each_member, normalise};
use adea_documents::reader::Reader;
use adea_documents::record::Body;
use adea_documents::render::{Meta, Rendering};
use adea_documents::revision::Revision;
use adea_script::{DesignProgram, Listing, Owner, Purpose};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;

/// Bytes of design documents that are kept; forgetting all beyond is crude, and rare.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// A design document whose functions are called.
#[derive(Debug)]
pub struct DesignFunctions {
    /// The revision that was read.
    pub revision: Revision,
    /// `rewrites`, as JSON text.
    pub rewrites: Option<Vec<u8>>,
    /// Where functions stand, and their names.
    names: Vec<(String, HashSet<String>)>,
    program: Arc<DesignProgram>,
    /// Bytes that it takes.
    bytes: usize,
}

/// Where functions stand that somebody calls by name.
const KINDS: [&str; 5] = ["filters", "lists", "shows", "updates", "views"];

/// Design documents read before.
#[derive(Default)]
pub(crate) struct FunctionCache {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_body: HashMap<u64, Arc<DesignFunctions>>,
    bytes: usize,
}

impl FunctionCache {
    fn get(&self, body: u64) -> Option<Arc<DesignFunctions>> {
        self.kept.lock().by_body.get(&body).cloned()
    }

    fn insert(&self, body: u64, design: &Arc<DesignFunctions>) {
        let mut kept = self.kept.lock();
        if kept.bytes + design.bytes > KEPT_BYTES_MAX {
            *kept = Kept::default();
        }
        kept.bytes += design.bytes;
        kept.by_body.insert(body, Arc::clone(design));
    }
}

impl DesignFunctions {
    fn read(revision: Revision, json: &[u8], program: String) -> Result<Self, JsonError> {
        let mut design = Self {
            revision,
            rewrites: None,
            names: Vec::new(),
            bytes: program.len() + 1_024,
            program: DesignProgram::new(program),
        };
        for_each_member(json, |kind, members| {
            if kind == "rewrites" {
                let rules = normalise(members)?;
                design.bytes += rules.len();
                design.rewrites = Some(rules);
            } else if KINDS.contains(&kind) {
                let mut names = HashSet::new();
                for_each_member(members, |name, _| {
                    design.bytes += name.len() + 64;
                    names.insert(name.to_owned());
                    Ok::<_, JsonError>(())
                })?;
                design.names.push((kind.to_owned(), names));
            }
            Ok::<_, JsonError>(())
        })?;
        Ok(design)
    }

    /// Whether there is a function `name` among those of a kind; else what is missing, for the reason
    /// that `CouchDB` gives.
    ///
    /// # Errors
    /// The name of what is missing.
    pub fn find<'p>(&self, kind: &'p str, name: &'p str) -> Result<(), &'p str> {
        let mut kinds = self.names.iter();
        let (_, names) = kinds.find(|(known, _)| known == kind).ok_or(kind)?;
        if names.contains(name) {
            Ok(())
        } else {
            Err(name)
        }
    }
}

impl Pod {
    /// The design document `id` (with `_design/`), for calling its functions. They are the database's:
    /// whoever was let in calls them, though its text may be for few.
    ///
    /// # Errors
    /// [`PodError::Missing`] or [`PodError::Deleted`].
    pub fn design_functions(
        &self,
        entry: &DatabaseEntry,
        _caller: &Caller,
        id: &str,
    ) -> Result<Arc<DesignFunctions>, PodError> {
        let view = self.view();
        let reader = Reader {
            view: view.as_ref(),
            database: entry.number,
            scope: adea_access::aggregate(),
        };
        let head = reader.record_head(id)?.ok_or(PodError::Missing)?;
        if head.winner.deleted {
            return Err(PodError::Deleted);
        }
        let body = head.winner.body.ok_or(PodError::Missing)?;
        if let Some(kept) = self.inner.functions.get(body) {
            return Ok(kept);
        }
        let stored = reader.body(body)?.ok_or(PodError::Missing)?;
        let Body { attachments, json } = Body::decode(&stored)?;
        let mut document = Vec::with_capacity(json.len() + 100);
        Rendering {
            id,
            revision: &head.winner.revision,
            deleted: false,
            json: &json,
            attachments: &attachments,
            meta: &Meta::default(),
            encoding_info: false,
        }
        .write(&mut document);
        let document = String::from_utf8_lossy(&document).into_owned();
        let design = Arc::new(DesignFunctions::read(
            head.winner.revision,
            &json,
            document,
        )?);
        self.inner.functions.insert(body, &design);
        Ok(design)
    }

    /// Which of `documents` the filter `name` lets pass.
    ///
    /// # Errors
    /// [`PodError::Script`] if the function threw, or gave no answer.
    pub async fn filter(
        &self,
        entry: &DatabaseEntry,
        design: &DesignFunctions,
        name: &str,
        documents: &[Bytes],
        request: &str,
    ) -> Result<Vec<bool>, PodError> {
        let owner = owner(entry, Purpose::Filter);
        let scripts = &self.inner.scripts;
        let passes = scripts.filter(&owner, &design.program, name, documents, request);
        let mut out = Vec::with_capacity(documents.len());
        for pass in passes.await? {
            // As CouchDB: a filter that throws ends the feed.
            out.push(pass.map_err(|reason| {
                let error = "unknown_error".to_owned();
                adea_script::ScriptError::Threw { error, reason }
            })?);
        }
        Ok(out)
    }

    /// Which of `documents` the view `name` emits something for.
    ///
    /// # Errors
    /// [`PodError::Script`] if the function gave no answer.
    pub async fn filter_by_view(
        &self,
        entry: &DatabaseEntry,
        design: &DesignFunctions,
        name: &str,
        documents: &[Bytes],
    ) -> Result<Vec<bool>, PodError> {
        let owner = owner(entry, Purpose::Filter);
        let scripts = &self.inner.scripts;
        let passes = scripts.view_filter(&owner, &design.program, name, documents);
        Ok(passes.await?)
    }

    /// Calls the show, update or rewrite function at `path` with JSON texts.
    ///
    /// # Errors
    /// [`PodError::Script`] if the function threw, or gave no answer.
    pub async fn call_function(
        &self,
        entry: &DatabaseEntry,
        design: &DesignFunctions,
        path: &[&str],
        arguments: &[String],
    ) -> Result<String, PodError> {
        let owner = owner(entry, Purpose::Render);
        let scripts = &self.inner.scripts;
        Ok(scripts
            .call(&owner, &design.program, path, arguments)
            .await?)
    }

    /// Calls the list function `name`, which takes from `rows` as it asks for them.
    ///
    /// # Errors
    /// [`PodError::Script`] if the function failed before it sent anything.
    pub async fn call_list(
        &self,
        entry: &DatabaseEntry,
        design: &DesignFunctions,
        name: &str,
        head: String,
        request: String,
        rows: mpsc::Receiver<Bytes>,
    ) -> Result<Listing, PodError> {
        let owner = owner(entry, Purpose::Render);
        let scripts = &self.inner.scripts;
        let listing = scripts.list(&owner, &design.program, name, head, request, rows);
        Ok(listing.await?)
    }

    /// `{"db","name","roles"}`: who asks, as design functions are told.
    #[must_use]
    pub fn user_context(entry: &DatabaseEntry, caller: &Caller) -> Bytes {
        crate::validate::user_context(entry, caller)
    }
}

fn owner(entry: &DatabaseEntry, purpose: Purpose) -> Owner {
    Owner {
        database: entry.number.0,
        purpose,
    }
}

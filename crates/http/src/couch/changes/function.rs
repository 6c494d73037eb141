//! Filters that are functions of design documents.
//!
//! Changes are read a few hundred at a time, with their documents, and given to the function after
//! the view is closed; who follows the feed is told meanwhile that it is alive. The design document
//! is read anew for each batch: when it changes, the feed goes on from where it is with what the
//! function is now, and ends in good order if there is none any more.

use std::pin::Pin;
use std::sync::Arc;

use adea_base::Caller;
use adea_documents::record::Leaf;
use adea_pod::{Batch, ChangesRange, DatabaseEntry, DesignFunctions, PodError, ShownChange};
use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::App;
use crate::error::ApiError;

/// Changes that are given to a function at once.
const BATCH_CHANGES: usize = 250;
/// Bytes of documents that are given to a function at once.
const BATCH_BYTES: usize = 1 << 20;

/// What kind of function a filter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One of `filters`.
    Filter,
    /// A view's map function: what it emits something for passes.
    View,
}

/// A filter function, and what it is called with.
#[derive(Debug)]
pub(super) struct Called {
    /// The design document's id.
    pub(super) design: String,
    pub(super) kind: Kind,
    pub(super) name: String,
    /// The request object; a view sees none.
    pub(super) request: String,
}

/// A batch that was judged.
#[derive(Debug)]
pub(super) struct Judged {
    /// The changes, each with the leaves that pass.
    pub(super) changes: Vec<(ShownChange, Vec<Leaf>)>,
    /// Whether there may be more.
    pub(super) more: bool,
    /// The function is gone: there will be nothing more.
    pub(super) gone: bool,
}

/// A batch that is being judged.
pub(super) type Judging = Pin<Box<dyn Future<Output = Result<Judged, PodError>> + Send>>;

impl Called {
    /// Whether the design document has the function; else the name of what is missing.
    pub(super) fn find_in(&self, design: &DesignFunctions) -> Result<(), &str> {
        let kind = match self.kind {
            Kind::Filter => "filters",
            Kind::View => "views",
        };
        design.find(kind, &self.name)
    }

    /// Tries the function on nothing: whether it compiles shows before the feed begins.
    pub(super) async fn attempt(
        &self,
        app: &App,
        entry: &DatabaseEntry,
        caller: &Caller,
    ) -> Result<(), ApiError> {
        let design = app.pod.design_functions(entry, caller, &self.design)?;
        self.run(app, entry, &design, &[]).await?;
        Ok(())
    }

    async fn run(
        &self,
        app: &App,
        entry: &DatabaseEntry,
        design: &DesignFunctions,
        documents: &[Bytes],
    ) -> Result<Vec<bool>, PodError> {
        let pod = &app.pod;
        match self.kind {
            Kind::Filter => {
                pod.filter(entry, design, &self.name, documents, &self.request)
                    .await
            }
            Kind::View => {
                pod.filter_by_view(entry, design, &self.name, documents)
                    .await
            }
        }
    }
}

/// Reads the next changes of `range` and asks the function which of them pass.
pub(super) fn judge(
    called: Arc<Called>,
    app: Arc<App>,
    entry: Arc<DatabaseEntry>,
    caller: Caller,
    range: ChangesRange,
) -> Judging {
    Box::pin(async move {
        let gone = Judged {
            changes: Vec::new(),
            more: false,
            gone: true,
        };
        let design = match app.pod.design_functions(&entry, &caller, &called.design) {
            Ok(design) if called.find_in(&design).is_ok() => design,
            Ok(_) | Err(PodError::Missing | PodError::Deleted) => return Ok(gone),
            Err(error) => return Err(error),
        };
        let batch = {
            let (app, entry) = (Arc::clone(&app), Arc::clone(&entry));
            spawn_blocking(move || {
                let pod = &app.pod;
                pod.read_shown_changes(&entry, &caller, range, BATCH_CHANGES, BATCH_BYTES)
            })
        };
        let Batch { changes, more } = batch.await.map_err(|_| PodError::Interrupted)??;
        let documents: Vec<Bytes> = changes
            .iter()
            .flat_map(|change| change.documents.iter().flatten().cloned())
            .collect();
        let passes = if documents.is_empty() {
            Vec::new()
        } else {
            called.run(&app, &entry, &design, &documents).await?
        };
        Ok(Judged {
            changes: with_passing(changes, &passes),
            more,
            gone: false,
        })
    })
}

/// Each change with those of its leaves that pass; the verdicts are in the order of all documents.
fn with_passing(changes: Vec<ShownChange>, passes: &[bool]) -> Vec<(ShownChange, Vec<Leaf>)> {
    let mut passes = passes.iter();
    changes
        .into_iter()
        .map(|change| {
            let leaves = change.leaves.iter().zip(&change.documents);
            let removal = change.removal;
            let passing = leaves.filter(|(_, document)| {
                removal || document.is_some() && passes.next().copied().unwrap_or(false)
            });
            let passing = passing.map(|(leaf, _)| leaf.clone()).collect();
            (change, passing)
        })
        .collect()
}

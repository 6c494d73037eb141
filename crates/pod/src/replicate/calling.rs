//! Filters of a local source that are functions of its design documents.
//!
//! Changes are read a few hundred at a time, with their documents, and judged after the view is closed.

use std::sync::Arc;

use adea_documents::json::write_json_string;
use adea_replication::PeerError;
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::follow_changes::Batch;
use crate::pod::Pod;
use crate::replicate::following::Page;
use crate::replicate::peer::{LocalPeer, blocking, of_pod};

/// Changes that are judged at once.
const JUDGED_MAX: usize = 250;
/// Bytes of documents that are judged at once.
const JUDGED_BYTES: usize = 1 << 20;

/// A function, and what it is called with.
pub(super) struct Called {
    /// The design document's id.
    design: String,
    /// Whether it is a view's map function: what it emits something for passes.
    is_view: bool,
    name: String,
    /// What it finds in `req.query`.
    query: Map<String, Value>,
}

impl Called {
    /// The function that `filter` names.
    pub(super) fn of(filter: &str, parameters: &Map<String, Value>) -> Result<Self, PeerError> {
        let refused = |reason: &str| PeerError::Refused {
            status: 400,
            error: "bad_request".to_owned(),
            reason: reason.to_owned(),
        };
        let is_view = filter == "_view";
        let text = if is_view {
            let view = parameters.get("view").and_then(Value::as_str);
            view.ok_or_else(|| refused("`view` filter parameter is not provided."))?
        } else {
            filter
        };
        let (design, name) = text
            .split_once('/')
            .ok_or_else(|| refused("`filter` must be of the form `designname/filtername`"))?;
        Ok(Self {
            design: format!("_design/{design}"),
            is_view,
            name: name.to_owned(),
            query: parameters.clone(),
        })
    }
}

impl LocalPeer {
    /// Asks a function about the next changes.
    pub(super) async fn look_by(
        &self,
        called: &Called,
        entry: &Arc<DatabaseEntry>,
        newest: u64,
        mut page: Page,
    ) -> Result<Page, PeerError> {
        let design = self
            .pod
            .design_functions(entry, &self.caller, &called.design);
        let design = design.map_err(of_pod)?;
        let range = page.range(newest, false, false);
        let (peer, known) = (self.clone(), Arc::clone(entry));
        let most = JUDGED_MAX.min(page.limit - page.rows.len());
        let Batch { changes, more } = blocking(move || {
            let (pod, caller) = (&peer.pod, &peer.caller);
            let batch = pod.read_shown_changes(&known, caller, range, most, JUDGED_BYTES);
            batch.map_err(of_pod)
        })
        .await?;
        // What is gone from the reader's sight is told whatever a function would say of it.
        let documents = changes
            .iter()
            .filter(|change| !change.removal)
            .flat_map(|change| change.documents.iter().flatten());
        let documents: Vec<Bytes> = documents.cloned().collect();
        let passes = if documents.is_empty() {
            Vec::new()
        } else if called.is_view {
            let judged = self
                .pod
                .filter_by_view(entry, &design, &called.name, &documents);
            judged.await.map_err(of_script)?
        } else {
            let request = self.request(called, entry);
            let judged = self
                .pod
                .filter(entry, &design, &called.name, &documents, &request);
            judged.await.map_err(of_script)?
        };
        let mut passes = passes.into_iter();
        let mut at = page.course.after();
        for change in &changes {
            let leaves = change.leaves.iter().zip(&change.documents);
            let passing = leaves.filter(|(_, document)| {
                change.removal || document.is_some() && passes.next().unwrap_or(false)
            });
            let passing: Vec<_> = passing.map(|(leaf, _)| leaf).collect();
            page.take(entry, &change.id, change.sequence, passing);
            at = change.sequence;
        }
        page.looked(more.then_some(at), newest);
        Ok(page)
    }

    /// The request object that the function is given: there is no request, but there is who asks, and
    /// with which parameters.
    fn request(&self, called: &Called, entry: &DatabaseEntry) -> String {
        let name = entry.name.as_str();
        let mut out = b"{\"info\":{\"db_name\":".to_vec();
        write_json_string(&mut out, name);
        out.extend_from_slice(b"},\"id\":null,\"method\":\"GET\",\"path\":[");
        write_json_string(&mut out, name);
        out.extend_from_slice(b",\"_changes\"],\"query\":");
        out.extend_from_slice(Value::Object(called.query.clone()).to_string().as_bytes());
        out.extend_from_slice(
            b",\"headers\":{},\"body\":\"undefined\",\"form\":{},\"cookie\":{},\"peer\":\"127.0.0.1\",\"userCtx\":",
        );
        out.extend_from_slice(&Pod::user_context(entry, &self.caller));
        out.extend_from_slice(b",\"secObj\":");
        out.extend_from_slice(entry.security.as_text().as_bytes());
        out.push(b'}');
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// A function that is wrong is wrong again.
fn of_script(error: PodError) -> PeerError {
    if let PodError::Script(error) = &error {
        return PeerError::Refused {
            status: 500,
            error: "filter".to_owned(),
            reason: error.to_string(),
        };
    }
    of_pod(error)
}

//! `"atomic": true`: all documents of a `_bulk_docs` are written in one transaction, or none is.
//!
//! `CouchDB` 1.x had `all_or_nothing`, which wrote conflicts rather than refuse them, and later
//! versions refuse it. Here a request that cannot be written as it stands changes nothing, and the
//! answer names each document that is to blame.

use std::sync::Arc;

use adea_documents::WriteError;
use adea_documents::json::{Bulk, Draft, Field};
use adea_pod::{DatabaseEntry, PodError};
use http::StatusCode;

use crate::body::Response;
use crate::couch::bulk::{Answer, Named, Planned, is_of_row, plan_all};
use crate::error::{ApiError, write_row_error};
use crate::reply;
use crate::router::Exchange;

/// The most documents that are written at once: while they are, nobody else's are.
const ATOMIC_MAX: usize = 1_000;

/// Writes all documents, or says why none was.
pub(super) async fn docs(
    exchange: &Exchange,
    entry: &Arc<DatabaseEntry>,
    bulk: Bulk,
) -> Result<Response, ApiError> {
    if bulk.new_edits == Some(false) {
        return Err(ApiError::bad(
            "`atomic` is for edits: it does not go with `new_edits: false`.",
        ));
    }
    if bulk.docs.len() > ATOMIC_MAX {
        return Err(ApiError::TooMany(
            format!("No more than {ATOMIC_MAX} documents are written with `atomic`.").into(),
        ));
    }
    let planned = plan_all(exchange, bulk.docs, true)?;
    let (mut names, mut prepared) = (Vec::new(), Vec::new());
    let mut faults: Vec<Option<ApiError>> = Vec::new();
    for (named, plan) in planned {
        let drafted = match plan {
            Ok(Planned::Local(_)) => {
                return Err(ApiError::bad("`atomic` does not write _local documents."));
            }
            Ok(Planned::Document { id, draft, edit }) => {
                let pod = &exchange.app.pod;
                pod.prepare(entry, &exchange.caller, id, draft, edit, Vec::new())
                    .await
                    .map_err(ApiError::from)
            }
            Err(fault) => Err(fault),
        };
        names.push(named);
        match drafted {
            Ok(draft) => {
                prepared.push(draft);
                faults.push(None);
            }
            Err(fault) if is_of_row(&fault) => faults.push(Some(fault)),
            Err(fault) => return Err(fault),
        }
    }
    if faults.iter().any(Option::is_some) {
        return Ok(refused(&names, &faults));
    }
    let revisions = match exchange.app.pod.write_all(entry, prepared).await? {
        Ok(revisions) => revisions,
        Err(errors) => {
            let faults: Vec<Option<ApiError>> = errors
                .into_iter()
                .map(|error| error.map(ApiError::from))
                .collect();
            return Ok(refused(&names, &faults));
        }
    };
    let mut answer = Answer::new(b"[", true);
    for (named, revision) in names.iter().zip(&revisions) {
        answer.written(named, revision);
    }
    answer.out.extend_from_slice(b"]\n");
    Ok(reply::json(StatusCode::CREATED, answer.out))
}

fn is_conflict(fault: &ApiError) -> bool {
    matches!(fault, ApiError::Pod(PodError::Write(WriteError::Conflict)))
}

/// Says which documents are to blame. A conflict is told first: it goes away by reading again.
fn refused(names: &[Named], faults: &[Option<ApiError>]) -> Response {
    let mut all = faults.iter().flatten();
    let first = all.clone().find(|fault| is_conflict(fault));
    let Some(fault) = first.or_else(|| all.next()) else {
        return ApiError::from(PodError::Unsettled).response();
    };
    let mut head = b"{".to_vec();
    let reason = format!("{fault} (atomic: nothing was written)");
    write_row_error(&mut head, &fault.word(), &reason);
    head.extend_from_slice(b",\"results\":[");
    let mut answer = Answer::new(&head, true);
    for (named, fault) in names.iter().zip(faults) {
        match fault {
            None => answer.idle(named),
            Some(fault) => answer.failed(named, &fault.word(), &fault.to_string()),
        }
    }
    answer.out.extend_from_slice(b"]}\n");
    reply::json(fault.status().0, answer.out)
}

/// What `CouchDB` answers to `all_or_nothing`: each document was not written.
pub(super) fn not_all_or_nothing(docs: &[Draft]) -> Response {
    let mut answer = Answer::new(b"[", true);
    for draft in docs {
        let text = |field: &Option<Field>| match field {
            Some(Field::Text(text)) => text.clone(),
            Some(Field::Other) | None => String::new(),
        };
        let named = Named {
            id: text(&draft.id),
            revision: None,
        };
        let reason = "all_or_nothing is not supported; \"atomic\": true writes all or none.";
        answer.failed(&named, "not_implemented", reason);
    }
    answer.out.extend_from_slice(b"]\n");
    reply::json(StatusCode::EXPECTATION_FAILED, answer.out)
}

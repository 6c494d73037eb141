//! Many documents in one request: `_bulk_docs`, `_bulk_get`, `_revs_diff`, `_missing_revs`.

mod atomic;
mod lacking;

use std::sync::Arc;

use adea_base::DocumentId;
use adea_documents::json::{
    Draft, Field, for_each_item, for_each_member, parse_bulk, read_text, write_json_string,
};
use adea_documents::local::LocalDocument;
use adea_documents::render::write_revision;
use adea_documents::revision::Revision;
use adea_pod::{DatabaseEntry, DraftedEdit, PodError, Prepared};
use http::{Method, StatusCode};

use crate::body::Response;
use crate::couch::document::drafted_edit;
use crate::couch::intake::{self, check_draft, id_of};
use crate::couch::local;
use crate::couch::sending::{self, Asked, Wanted};
use crate::error::{ApiError, write_row_error};
use crate::reply;
use crate::router::Exchange;

pub(crate) use lacking::{missing_revs, revs_diff};

/// The most documents one `_bulk_get` may ask for.
const GETS_MAX: usize = 100_000;

fn require_post(exchange: &Exchange) -> Result<(), ApiError> {
    if exchange.method == Method::POST {
        exchange.require_json()
    } else {
        Err(ApiError::MethodNotAllowed("POST"))
    }
}

/// A row of `_bulk_docs` that was checked.
enum Planned {
    Document {
        id: DocumentId,
        draft: Draft,
        edit: DraftedEdit,
    },
    Local(PlannedLocal),
}

/// A local document to be written, or deleted if there is none.
struct PlannedLocal {
    name: String,
    document: Option<LocalDocument>,
}

/// A row that was checked, or that failed by itself.
type PlannedRow = Result<Planned, ApiError>;

/// What becomes of a row of `_bulk_docs`.
enum Row {
    /// Prepared: its place among the drafts that are written together.
    Document(usize),
    /// A local document; it is written last.
    Local(PlannedLocal),
    /// A local document that was written.
    LocalWritten { id: String, number: u64 },
    /// Refused before it was written.
    Refused { named: Named, fault: ApiError },
}

/// A row as the answer names it: with the revision if that was made elsewhere.
#[derive(Clone)]
struct Named {
    id: String,
    revision: Option<Revision>,
}

/// Answers `_bulk_docs`.
pub(crate) async fn docs(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
) -> Result<Response, ApiError> {
    require_post(&exchange)?;
    let body = intake::whole(&mut exchange).await?;
    let bulk = intake::parsed(body, parse_bulk).await??;
    if bulk.all_or_nothing {
        return Ok(atomic::not_all_or_nothing(&bulk.docs));
    }
    if bulk.atomic {
        return atomic::docs(&exchange, &entry, bulk).await;
    }
    let new_edits = bulk.new_edits.unwrap_or(true);
    let planned = plan_all(&exchange, bulk.docs, new_edits)?;
    let mut rows = Vec::with_capacity(planned.len());
    let mut names = Vec::with_capacity(planned.len());
    let mut prepared = Vec::with_capacity(planned.len());
    for (named, plan) in planned {
        let row = match plan {
            Ok(Planned::Local(local)) => Ok(Row::Local(local)),
            Ok(Planned::Document { id, draft, edit }) => {
                let pod = &exchange.app.pod;
                pod.prepare(&entry, &exchange.caller, id, draft, edit, Vec::new())
                    .await
                    .map(|draft| {
                        prepared.push(draft);
                        names.push(named.clone());
                        Row::Document(prepared.len() - 1)
                    })
                    .map_err(ApiError::from)
            }
            Err(fault) => Err(fault),
        };
        rows.push(or_refused(row, named)?);
    }
    let outcomes = if prepared.is_empty() {
        Vec::new()
    } else {
        let outcomes = exchange.app.pod.write_many(&entry, prepared).await?;
        let outcomes = outcomes.into_iter();
        outcomes
            .map(|outcome| outcome.map_err(ApiError::from))
            .collect()
    };
    let mut answer = Answer::new(b"[", new_edits);
    for row in rows {
        let row = match row {
            Row::Local(local) => {
                let named = Named {
                    id: format!("_local/{}", local.name),
                    revision: None,
                };
                or_refused(write_local(&exchange, &entry, local).await, named)?
            }
            Row::Document(_) | Row::LocalWritten { .. } | Row::Refused { .. } => row,
        };
        answer.row(&row, &names, &outcomes);
    }
    answer.out.extend_from_slice(b"]\n");
    Ok(reply::json(StatusCode::CREATED, answer.out))
}

/// Checks ids and edits of all rows before anything is written: a bad one fails the whole request,
/// except where the fault is the row's own.
fn plan_all(
    exchange: &Exchange,
    docs: Vec<Draft>,
    new_edits: bool,
) -> Result<Vec<(Named, PlannedRow)>, ApiError> {
    let mut planned = Vec::with_capacity(docs.len());
    for draft in docs {
        let id = match id_of(draft.id.as_ref())? {
            Some(id) => id.to_owned(),
            None => exchange.app.pod.new_id(),
        };
        let (revision, plan) = match id.strip_prefix("_local/") {
            Some(name) => (None, plan_local(exchange, name, draft).map(Planned::Local)),
            None => plan_document(exchange, &id, draft, new_edits)?,
        };
        match plan {
            Err(fault) if !is_of_row(&fault) => return Err(fault),
            plan => planned.push((Named { id, revision }, plan)),
        }
    }
    Ok(planned)
}

/// A document's edit, and the revision that it brings if that was made elsewhere.
fn plan_document(
    exchange: &Exchange,
    id: &str,
    mut draft: Draft,
    new_edits: bool,
) -> Result<(Option<Revision>, PlannedRow), ApiError> {
    let id = DocumentId::parse(id)?;
    let edit = drafted_edit(&mut draft, None, new_edits)?;
    let revision = match &edit {
        DraftedEdit::Edit(_) => None,
        DraftedEdit::Replicated(generation, ids) => ids.first().map(|id| Revision {
            generation: *generation,
            id: id.clone(),
        }),
    };
    let plan = check_draft(exchange, &id, &draft);
    Ok((
        revision,
        plan.map(|()| Planned::Document { id, draft, edit }),
    ))
}

fn plan_local(exchange: &Exchange, name: &str, draft: Draft) -> Result<PlannedLocal, ApiError> {
    local::check_name(name)?;
    let document = if draft.deleted {
        local::number_of(&draft)?;
        None
    } else {
        Some(local::from_draft(exchange, draft)?)
    };
    Ok(PlannedLocal {
        name: name.to_owned(),
        document,
    })
}

/// Keeps a fault that is one row's own with its row.
fn or_refused(row: Result<Row, ApiError>, named: Named) -> Result<Row, ApiError> {
    match row {
        Err(fault) if is_of_row(&fault) => Ok(Row::Refused { named, fault }),
        row => row,
    }
}

/// Whether a fault is one row's own, and does not fail the others.
fn is_of_row(fault: &ApiError) -> bool {
    matches!(
        fault,
        ApiError::DocumentTooLarge(_)
            | ApiError::Pod(
                PodError::Write(_)
                    | PodError::Refused(_)
                    | PodError::Upload(_)
                    | PodError::WeakPassword(_)
                    | PodError::Script(_)
                    | PodError::InvalidDesign { .. }
                    | PodError::Unsettled
            )
    )
}

async fn prepare(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    id: &str,
    mut draft: Draft,
) -> Result<Prepared, ApiError> {
    let id = DocumentId::parse(id)?;
    check_draft(exchange, &id, &draft)?;
    let edit = drafted_edit(&mut draft, None, true)?;
    let pod = &exchange.app.pod;
    Ok(pod
        .prepare(entry, &exchange.caller, id, draft, edit, Vec::new())
        .await?)
}

async fn write_local(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    local: PlannedLocal,
) -> Result<Row, ApiError> {
    let PlannedLocal { name, document } = local;
    let id = format!("_local/{name}");
    let pod = &exchange.app.pod;
    let Some(document) = document else {
        return match pod.delete_local(entry, &name).await {
            Ok(()) | Err(PodError::Missing) => Ok(Row::LocalWritten { id, number: 0 }),
            Err(error) => Err(error.into()),
        };
    };
    let number = document.number;
    pod.write_local(entry, &name, document).await?;
    Ok(Row::LocalWritten { id, number })
}

/// The answer to `_bulk_docs` on its way.
struct Answer {
    out: Vec<u8>,
    any: bool,
    new_edits: bool,
}

impl Answer {
    fn new(head: &[u8], new_edits: bool) -> Self {
        Self {
            out: head.to_vec(),
            any: false,
            new_edits,
        }
    }

    fn written(&mut self, named: &Named, revision: &Revision) {
        self.ok(&named.id, |out| write_revision(out, revision));
    }

    fn begin(&mut self) {
        if self.any {
            self.out.push(b',');
        }
        self.any = true;
    }

    fn row(&mut self, row: &Row, names: &[Named], outcomes: &[Result<Revision, ApiError>]) {
        match row {
            // Every local document was written by now.
            Row::Local(local) => self.lost(&format!("_local/{}", local.name)),
            Row::LocalWritten { id, number } => self.ok(id, |out| {
                out.extend_from_slice(format!("\"0-{number}\"").as_bytes());
            }),
            Row::Refused { named, fault } => {
                self.failed(named, &fault.word(), &fault.to_string());
            }
            Row::Document(at) => match (names.get(*at), outcomes.get(*at)) {
                // What was replicated and went in is not worth a word.
                (Some(_), Some(Ok(_))) if !self.new_edits => {}
                (Some(named), Some(Ok(revision))) => {
                    self.written(named, revision);
                }
                (Some(named), Some(Err(fault))) => {
                    self.failed(named, &fault.word(), &fault.to_string());
                }
                (named, _) => self.lost(named.map_or("", |named| &named.id)),
            },
        }
    }

    fn lost(&mut self, id: &str) {
        let named = Named {
            id: id.to_owned(),
            revision: None,
        };
        self.failed(&named, "internal_server_error", "The row was lost.");
    }

    fn ok(&mut self, id: &str, revision: impl FnOnce(&mut Vec<u8>)) {
        self.begin();
        self.out.extend_from_slice(b"{\"ok\":true,\"id\":");
        write_json_string(&mut self.out, id);
        self.out.extend_from_slice(b",\"rev\":");
        revision(&mut self.out);
        self.out.push(b'}');
    }

    /// A row that was not to blame for what happened to all.
    fn idle(&mut self, named: &Named) {
        self.begin();
        self.out.extend_from_slice(b"{\"id\":");
        write_json_string(&mut self.out, &named.id);
        self.out.push(b'}');
    }

    fn failed(&mut self, named: &Named, error: &str, reason: &str) {
        self.begin();
        self.out.extend_from_slice(b"{\"id\":");
        write_json_string(&mut self.out, &named.id);
        if let Some(revision) = &named.revision {
            self.out.extend_from_slice(b",\"rev\":");
            write_revision(&mut self.out, revision);
        }
        self.out.push(b',');
        write_row_error(&mut self.out, error, reason);
        self.out.push(b'}');
    }
}

/// Answers `_bulk_get`.
pub(crate) async fn get(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
) -> Result<Response, ApiError> {
    require_post(&exchange)?;
    let body = intake::whole(&mut exchange).await?;
    let wanted = intake::parsed(body, read_wanted).await??;
    let asked = Asked::of(&exchange.query)?;
    sending::bulk_get(exchange, entry, wanted, asked)
}

fn read_wanted(body: &[u8]) -> Result<Vec<Wanted>, ApiError> {
    let mut wanted = None;
    for_each_member(body, |name, value| {
        if name == "docs" {
            let mut rows = Vec::new();
            let is_array = for_each_item(value, |item| {
                if rows.len() == GETS_MAX {
                    return Err(ApiError::TooMany(
                        "Too many documents in one request.".into(),
                    ));
                }
                rows.push(read_one_wanted(item)?);
                Ok::<_, ApiError>(())
            })?;
            if is_array {
                wanted = Some(rows);
            }
        }
        Ok::<_, ApiError>(())
    })?;
    wanted.ok_or_else(|| ApiError::bad("Missing JSON list of 'docs'."))
}

fn read_one_wanted(item: &[u8]) -> Result<Wanted, ApiError> {
    let mut row = Wanted {
        id: None,
        revision: None,
        attachments_since: Vec::new(),
    };
    for_each_member(item, |name, value| {
        match name {
            "id" => row.id = read_text(value)?.map(std::borrow::Cow::into_owned),
            "rev" => row.revision = read_text(value)?.map(std::borrow::Cow::into_owned),
            "atts_since" => {
                if let Ok(text) = std::str::from_utf8(value)
                    && let Ok(since) = crate::wire::query::revisions(text)
                {
                    row.attachments_since = since;
                }
            }
            _ => {}
        }
        Ok::<_, ApiError>(())
    })?;
    Ok(row)
}

/// Answers `POST /{db}`: a document whose id may be made here.
pub(crate) async fn post(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
) -> Result<Response, ApiError> {
    exchange.require_json()?;
    let body = intake::whole(&mut exchange).await?;
    let draft = intake::parsed(body, adea_documents::json::parse_document).await??;
    let id = match &draft.id {
        None => exchange.app.pod.new_id(),
        Some(Field::Text(id)) => id.clone(),
        Some(Field::Other) => return Err(adea_base::InvalidDocumentId::NotText.into()),
    };
    if let Some(name) = id.strip_prefix("_local/") {
        let planned = plan_local(&exchange, name, draft)?;
        let Row::LocalWritten { id, number } = write_local(&exchange, &entry, planned).await?
        else {
            return Err(ApiError::NotFound("missing"));
        };
        return Ok(reply::written(
            StatusCode::CREATED,
            &id,
            &format!("0-{number}"),
        ));
    }
    let prepared = prepare(&exchange, &entry, &id, draft).await?;
    let batch = exchange.query.get("batch") == Some("ok");
    let location = exchange.url(&crate::couch::document::document_path(&entry, &id));
    let mut response = if batch {
        crate::couch::document::write_later(&exchange.app, entry, prepared)
    } else {
        let revision = exchange.app.pod.write(&entry, prepared).await?;
        reply::written(StatusCode::CREATED, &id, &revision.to_string())
    };
    reply::set(&mut response, http::header::LOCATION, &location);
    Ok(response)
}

//! Many documents in one request: `_bulk_docs`, `_bulk_get`, `_revs_diff`, `_missing_revs`.

use std::sync::Arc;

use adea_base::DocumentId;
use adea_documents::json::{
    Draft, Field, for_each_item, for_each_member, parse_bulk, read_text, write_json_string,
};
use adea_documents::render::write_revision;
use adea_documents::revision::Revision;
use adea_pod::{DatabaseEntry, DraftedEdit, PodError, Prepared};
use http::{Method, StatusCode};

use crate::body::Response;
use crate::couch::document::drafted_edit;
use crate::couch::intake::{self, check_draft, id_of};
use crate::couch::local;
use crate::couch::sending::{self, Asked, Wanted};
use crate::error::{ApiError, of_write, write_row_error};
use crate::reply;
use crate::router::Exchange;

/// The most revisions one `_revs_diff` may ask for: each costs memory while it is answered.
const REVISIONS_MAX: usize = 1_000_000;
/// The most documents one `_bulk_get` may ask for.
const GETS_MAX: usize = 100_000;

fn require_post(exchange: &Exchange) -> Result<(), ApiError> {
    if exchange.method == Method::POST {
        exchange.require_json()
    } else {
        Err(ApiError::MethodNotAllowed("POST"))
    }
}

/// What becomes of a row of `_bulk_docs`.
enum Row {
    /// Prepared: its place among the drafts that are written together.
    Document(usize),
    /// A local document, written already.
    Local { id: String, number: u64 },
    /// Refused before it was written.
    Refused { id: String, fault: ApiError },
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
        return Err(ApiError::NotImplemented("`all_or_nothing`"));
    }
    let new_edits = bulk.new_edits.unwrap_or(true);
    // Ids are checked before anything is written: a bad one fails the whole request.
    let mut drafts = Vec::with_capacity(bulk.docs.len());
    for draft in bulk.docs {
        let id = match id_of(draft.id.as_ref())? {
            Some(id) => id.to_owned(),
            None => exchange.app.pod.new_id(),
        };
        if !id.starts_with("_local/") {
            DocumentId::parse(&id)?;
        }
        drafts.push((id, draft));
    }
    let mut rows = Vec::with_capacity(drafts.len());
    let mut prepared = Vec::with_capacity(drafts.len());
    for (id, draft) in drafts {
        let row = match id.strip_prefix("_local/") {
            Some(name) => write_local(&exchange, &entry, name, draft).await,
            None => prepare(&exchange, &entry, &id, draft, new_edits)
                .await
                .map(|draft| {
                    prepared.push(draft);
                    Row::Document(prepared.len() - 1)
                }),
        };
        match row {
            Ok(row) => rows.push(row),
            Err(fault) if is_of_row(&fault) => rows.push(Row::Refused { id, fault }),
            Err(fault) => return Err(fault),
        }
    }
    let named: Vec<String> = prepared
        .iter()
        .map(|draft| draft.id().as_str().to_owned())
        .collect();
    let outcomes = if prepared.is_empty() {
        Vec::new()
    } else {
        exchange.app.pod.write_many(&entry, prepared).await?
    };
    let mut answer = Answer {
        out: b"[".to_vec(),
        any: false,
        new_edits,
    };
    for row in &rows {
        answer.row(row, &named, &outcomes);
    }
    answer.out.extend_from_slice(b"]\n");
    Ok(reply::json(StatusCode::CREATED, answer.out))
}

/// Whether a fault is one row's own, and does not fail the others.
fn is_of_row(fault: &ApiError) -> bool {
    matches!(
        fault,
        ApiError::DocumentTooLarge(_)
            | ApiError::Pod(PodError::Write(_) | PodError::Refused(_) | PodError::Upload(_))
    )
}

async fn prepare(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    id: &str,
    mut draft: Draft,
    new_edits: bool,
) -> Result<Prepared, ApiError> {
    let id = DocumentId::parse(id)?;
    check_draft(exchange, &id, &draft)?;
    let edit: DraftedEdit = drafted_edit(&mut draft, None, new_edits)?;
    let pod = &exchange.app.pod;
    Ok(pod
        .prepare(entry, &exchange.caller, id, draft, edit, Vec::new())
        .await?)
}

async fn write_local(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    name: &str,
    draft: Draft,
) -> Result<Row, ApiError> {
    let id = format!("_local/{name}");
    if draft.deleted {
        match exchange.app.pod.delete_local(entry, name).await {
            Ok(()) | Err(PodError::Missing) => {}
            Err(error) => return Err(error.into()),
        }
        return Ok(Row::Local { id, number: 0 });
    }
    let document = local::from_draft(exchange, draft)?;
    let number = document.number;
    exchange.app.pod.write_local(entry, name, document).await?;
    Ok(Row::Local { id, number })
}

/// The answer to `_bulk_docs` on its way.
struct Answer {
    out: Vec<u8>,
    any: bool,
    new_edits: bool,
}

impl Answer {
    fn begin(&mut self) {
        if self.any {
            self.out.push(b',');
        }
        self.any = true;
    }

    fn row(&mut self, row: &Row, ids: &[String], outcomes: &[adea_pod::Outcome]) {
        match row {
            Row::Local { id, number } => self.ok(id, |out| {
                out.extend_from_slice(format!("\"0-{number}\"").as_bytes());
            }),
            Row::Refused { id, fault } => {
                let (_, error) = fault.status();
                self.failed(id, error, &fault.to_string());
            }
            Row::Document(at) => {
                let id = ids.get(*at).map_or("", String::as_str);
                match outcomes.get(*at) {
                    // What was replicated and went in is not worth a word.
                    Some(Ok(_)) if !self.new_edits => {}
                    Some(Ok(revision)) => self.ok(id, |out| write_revision(out, revision)),
                    Some(Err(error)) => {
                        let (_, word) = of_write(error);
                        self.failed(id, word, &error.to_string());
                    }
                    None => self.failed(id, "internal_server_error", "The row was lost."),
                }
            }
        }
    }

    fn ok(&mut self, id: &str, revision: impl FnOnce(&mut Vec<u8>)) {
        self.begin();
        self.out.extend_from_slice(b"{\"ok\":true,\"id\":");
        write_json_string(&mut self.out, id);
        self.out.extend_from_slice(b",\"rev\":");
        revision(&mut self.out);
        self.out.push(b'}');
    }

    fn failed(&mut self, id: &str, error: &str, reason: &str) {
        self.begin();
        self.out.extend_from_slice(b"{\"id\":");
        write_json_string(&mut self.out, id);
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

/// Ids, and the revisions of each that a peer asks about.
type Asking = Vec<(String, Vec<Revision>)>;

fn read_asking(body: &[u8]) -> Result<Asking, ApiError> {
    let mut asking = Asking::new();
    let mut count = 0;
    let is_object = for_each_member(body, |id, value| {
        let mut revisions = Vec::new();
        let is_array = for_each_item(value, |item| {
            let text = read_text(item)?.ok_or_else(|| ApiError::bad("Invalid rev format"))?;
            count += 1;
            if count > REVISIONS_MAX {
                return Err(ApiError::TooMany(
                    "Too many revisions in one request.".into(),
                ));
            }
            revisions.push(Revision::parse(&text)?);
            Ok::<_, ApiError>(())
        })?;
        if !is_array {
            return Err(ApiError::bad("Revisions must be a JSON array of strings."));
        }
        count += 1;
        if count > REVISIONS_MAX {
            return Err(ApiError::TooMany(
                "Too many documents in one request.".into(),
            ));
        }
        asking.push((id.to_owned(), revisions));
        Ok::<_, ApiError>(())
    })?;
    if is_object {
        Ok(asking)
    } else {
        Err(ApiError::bad("Request body must be a JSON object"))
    }
}

/// How many ids are looked up before others get their turn.
const LOOKUPS_AT_ONCE: usize = 500;

async fn lacking(
    mut exchange: Exchange,
    entry: &Arc<DatabaseEntry>,
    mut write: impl FnMut(&mut Vec<u8>, &str, &adea_documents::reader::Lacking),
) -> Result<Vec<u8>, ApiError> {
    require_post(&exchange)?;
    let body = intake::whole(&mut exchange).await?;
    let asking = intake::parsed(body, read_asking).await??;
    let mut out = Vec::new();
    for part in asking.chunks(LOOKUPS_AT_ONCE) {
        let found = exchange.app.pod.lacking(entry, &exchange.caller, part)?;
        for ((id, _), lacking) in part.iter().zip(found) {
            if !lacking.missing.is_empty() {
                if !out.is_empty() {
                    out.push(b',');
                }
                write(&mut out, id, &lacking);
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(out)
}

/// Answers `_revs_diff`.
pub(crate) async fn revs_diff(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
) -> Result<Response, ApiError> {
    let rows = lacking(exchange, &entry, |out, id, lacking| {
        write_json_string(out, id);
        out.extend_from_slice(b":{\"missing\":");
        write_revisions(out, &lacking.missing);
        if !lacking.possible_ancestors.is_empty() {
            out.extend_from_slice(b",\"possible_ancestors\":");
            write_revisions(out, &lacking.possible_ancestors);
        }
        out.push(b'}');
    })
    .await?;
    Ok(reply::json(
        StatusCode::OK,
        [&b"{"[..], &rows, b"}\n"].concat(),
    ))
}

/// Answers `_missing_revs`.
pub(crate) async fn missing_revs(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
) -> Result<Response, ApiError> {
    let rows = lacking(exchange, &entry, |out, id, lacking| {
        write_json_string(out, id);
        out.push(b':');
        write_revisions(out, &lacking.missing);
    })
    .await?;
    Ok(reply::json(
        StatusCode::OK,
        [&b"{\"missing_revs\":{"[..], &rows, b"}}\n"].concat(),
    ))
}

fn write_revisions(out: &mut Vec<u8>, revisions: &[Revision]) {
    out.push(b'[');
    for (n, revision) in revisions.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_revision(out, revision);
    }
    out.push(b']');
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
        let Row::Local { id, number } = write_local(&exchange, &entry, name, draft).await? else {
            return Err(ApiError::NotFound("missing"));
        };
        return Ok(reply::written(
            StatusCode::CREATED,
            &id,
            &format!("0-{number}"),
        ));
    }
    let prepared = prepare(&exchange, &entry, &id, draft, true).await?;
    let batch = exchange.query.get("batch") == Some("ok");
    let location = exchange.url(&crate::couch::document::document_path(&entry, &id));
    let mut response = if batch {
        let mut out = b"{\"ok\":true,\"id\":".to_vec();
        write_json_string(&mut out, &id);
        out.extend_from_slice(b"}\n");
        let app = Arc::clone(&exchange.app);
        tokio::spawn(async move {
            if let Err(error) = app.pod.write(&entry, prepared).await {
                tracing::info!(%error, "a write with batch=ok was refused");
            }
        });
        reply::json(StatusCode::ACCEPTED, out)
    } else {
        let revision = exchange.app.pod.write(&entry, prepared).await?;
        reply::written(StatusCode::CREATED, &id, &revision.to_string())
    };
    reply::set(&mut response, http::header::LOCATION, &location);
    Ok(response)
}

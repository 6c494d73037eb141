//! `_bulk_get`: many documents in one answer, a row for each that was asked for.
//!
//! A row is answered with its documents or with why there is none, and one that has none does not
//! spoil the others. A short answer is made whole, so that a fault on the way is still a status; a
//! long one, or one with contents, is sent while its rows are read, and holds one document at a time.
//! Rows come in the order they were asked.

use std::sync::Arc;

use adea_base::DocumentId;
use adea_documents::json::write_json_string;
use adea_documents::revision::Revision;
use adea_pod::{DatabaseEntry, Found, PodError};
use bytes::Bytes;
use http::{StatusCode, header};

use crate::body::Response;
use crate::couch::sending::out::{Broken, Out, stream};
use crate::couch::sending::{Accepts, Asked, accepts, read_one, rendering, visible, with_data};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;
use crate::wire::multipart_reader::Boundary;
use crate::wire::multipart_writer::{MixedPart, MixedWriter};

/// Bytes of an answer to `_bulk_get` that are made before it is sent.
const BULK_GET_WHOLE: usize = 256 << 10;

/// What a row of `_bulk_get` asks for.
pub(crate) struct Wanted {
    pub(crate) id: Option<String>,
    pub(crate) revision: Option<String>,
    /// Revisions whose attachments the peer has.
    pub(crate) attachments_since: Vec<Revision>,
}

/// Why a row of `_bulk_get` has no document.
struct RowFault {
    revision: Option<String>,
    error: &'static str,
    reason: String,
}

/// What is found for a row: the first document or why there is none, and more to be read.
type FirstOfRow = (Result<Found, RowFault>, Vec<Revision>);

impl Wanted {
    /// The id as the answer tells it.
    fn shown_id(&self) -> &str {
        self.id.as_deref().unwrap_or("undefined")
    }

    /// How this row was asked for.
    fn asked(&self, all: &Asked) -> Asked {
        let mut asked = all.clone();
        let since = self.attachments_since.iter().cloned();
        asked.attachments_since.extend(since);
        asked
    }

    fn fault(&self, error: &'static str, reason: &str) -> RowFault {
        RowFault {
            revision: self.revision.clone(),
            error,
            reason: reason.to_owned(),
        }
    }

    /// Reads the first document of the row.
    fn first(
        &self,
        exchange: &Exchange,
        entry: &DatabaseEntry,
        asked: &Asked,
    ) -> Result<FirstOfRow, ApiError> {
        let refused = |fault| Ok((Err(fault), Vec::new()));
        let Some(id) = self.id.as_deref() else {
            return refused(self.fault("bad_request", "document id missed"));
        };
        if let Err(error) = DocumentId::parse(id) {
            return refused(self.fault("illegal_docid", &error.to_string()));
        }
        let pod = &exchange.app.pod;
        let (caller, told) = (&exchange.caller, asked.told);
        let read = match self.revision.as_deref().map(Revision::parse) {
            Some(Err(error)) => return refused(self.fault("bad_request", &error.to_string())),
            Some(Ok(revision)) => pod.read_named(entry, caller, id, &revision, asked.latest, told),
            // As CouchDB: all leaves, also deleted ones.
            None => pod.read_leaves(entry, caller, id, told),
        };
        match read {
            Ok((found, rest)) => match visible(exchange, entry, id, found) {
                Ok(found) => Ok((Ok(found), rest)),
                Err(_) => refused(self.fault("not_found", "missing")),
            },
            Err(PodError::Missing) => refused(self.fault("not_found", "missing")),
            Err(error) => Err(error.into()),
        }
    }
}

impl RowFault {
    fn write(&self, out: &mut Vec<u8>, id: &str) {
        out.extend_from_slice(b"{\"error\":{\"rev\":");
        write_json_string(out, self.revision.as_deref().unwrap_or("undefined"));
        out.extend_from_slice(b",\"reason\":");
        write_json_string(out, &self.reason);
        out.extend_from_slice(b",\"id\":");
        write_json_string(out, id);
        out.extend_from_slice(b",\"error\":");
        write_json_string(out, self.error);
        out.extend_from_slice(b"}}");
    }
}

/// Answers `_bulk_get`: a short answer whole, a long one while its rows are read.
pub(crate) fn bulk_get(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    wanted: Vec<Wanted>,
    asked: Asked,
) -> Result<Response, ApiError> {
    let as_json = match accepts(&exchange, "multipart/mixed") {
        Accepts::Anything | Accepts::Only { json: true, .. } => true,
        Accepts::Only { multipart, .. } => {
            let related = accepts(&exchange, "multipart/related");
            let related = matches!(
                related,
                Accepts::Only {
                    multipart: true,
                    ..
                }
            );
            !multipart && !related
        }
    };
    if !as_json {
        return Ok(bulk_get_mixed(exchange, entry, wanted, asked));
    }
    let mut out = b"{\"results\":[".to_vec();
    let mut rows = wanted.into_iter();
    let mut any = false;
    // A row that the bound was passed in, and its revisions that are left.
    let mut unfinished = None;
    while out.len() < BULK_GET_WHOLE && !asked.attachments && rows.len() > 0 {
        let Some(row) = rows.next() else { break };
        let (first, rest) = row.first(&exchange, &entry, &asked)?;
        row_head(&mut out, &row, any);
        any = true;
        write_got(&mut out, &row, &first, &asked);
        let mut rest = rest.into_iter();
        while out.len() < BULK_GET_WHOLE {
            let Some(revision) = rest.next() else { break };
            out.push(b',');
            let told = asked.told;
            let read = read_one(&exchange, &entry, row.shown_id(), &revision, told)?;
            let got = read.ok_or_else(|| row.fault("not_found", "missing"));
            write_got(&mut out, &row, &got, &asked);
        }
        if rest.len() > 0 {
            unfinished = Some((row, rest));
            break;
        }
        out.extend_from_slice(b"]}");
    }
    if unfinished.is_none() && rows.len() == 0 {
        out.extend_from_slice(b"]}\n");
        return Ok(reply::json(StatusCode::OK, out));
    }
    Ok(stream(
        exchange,
        "application/json",
        move |sink| async move {
            sink.bytes(Bytes::from(out)).await?;
            if let Some((row, rest)) = unfinished {
                sink.rest(&entry, &row, rest, &asked).await?;
            }
            for row in rows {
                let asked = row.asked(&asked);
                let mut head = Vec::new();
                row_head(&mut head, &row, any);
                any = true;
                sink.bytes(Bytes::from(head)).await?;
                let (first, rest) = sink.first(&entry, &row, &asked)?;
                sink.got(&row, first, &asked).await?;
                sink.rest(&entry, &row, rest.into_iter(), &asked).await?;
            }
            sink.text("]}\n").await
        },
    ))
}

fn row_head(out: &mut Vec<u8>, row: &Wanted, any: bool) {
    out.extend_from_slice(if any { b",{\"id\":" } else { b"{\"id\":" });
    write_json_string(out, row.shown_id());
    out.extend_from_slice(b",\"docs\":[");
}

/// Writes a document of a row, with attachments as stubs, or why there is none.
fn write_got(out: &mut Vec<u8>, row: &Wanted, got: &Result<Found, RowFault>, asked: &Asked) {
    match got {
        Ok(found) => {
            out.extend_from_slice(b"{\"ok\":");
            rendering(row.shown_id(), found, asked).write(out);
            out.push(b'}');
        }
        Err(fault) => fault.write(out, row.shown_id()),
    }
}

fn bulk_get_mixed(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    wanted: Vec<Wanted>,
    mut asked: Asked,
) -> Response {
    asked.attachments = true;
    let entropy = exchange.app.pod.entropy().clone();
    let mut writer = MixedWriter::bulk_get(Boundary::from_random_with_dashes(entropy.bytes()));
    let content_type = writer.content_type();
    let mut response = stream(exchange, "", move |out| async move {
        for row in wanted {
            let asked = row.asked(&asked);
            let (first, rest) = out.first(&entry, &row, &asked)?;
            let mut next = Some(first);
            let mut rest = rest.into_iter();
            while let Some(got) = next {
                match got {
                    Ok(found) => {
                        let inner = Boundary::from_random(entropy.bytes());
                        out.mixed_document(&mut writer, inner, row.shown_id(), &found, &asked)
                            .await?;
                    }
                    Err(fault) => {
                        let revision = fault.revision.as_deref().unwrap_or("undefined");
                        let mut json = b"{\"rev\":".to_vec();
                        write_json_string(&mut json, revision);
                        json.push(b',');
                        crate::error::write_row_error(&mut json, fault.error, &fault.reason);
                        json.push(b'}');
                        out.bytes(writer.part_head(&MixedPart::Error)).await?;
                        out.bytes(Bytes::from(json)).await?;
                    }
                }
                next = match rest.next() {
                    None => None,
                    Some(revision) => {
                        let read = out.read(&entry, row.shown_id(), Ok(revision), asked.told)?;
                        Some(read.map_err(|_| row.fault("not_found", "missing")))
                    }
                };
            }
        }
        out.bytes(writer.end()).await
    });
    reply::set(&mut response, header::CONTENT_TYPE, &content_type);
    response
}

impl Out {
    /// Reads the first document of a row of `_bulk_get`.
    fn first(
        &self,
        entry: &DatabaseEntry,
        row: &Wanted,
        asked: &Asked,
    ) -> Result<FirstOfRow, Broken> {
        row.first(&self.exchange, entry, asked)
            .map_err(|error| Broken::Failed(error.to_string()))
    }

    /// Sends what is left of a row of `_bulk_get`, and its end.
    async fn rest(
        &self,
        entry: &DatabaseEntry,
        row: &Wanted,
        rest: std::vec::IntoIter<Revision>,
        asked: &Asked,
    ) -> Result<(), Broken> {
        for revision in rest {
            self.text(",").await?;
            let read = self.read(entry, row.shown_id(), Ok(revision), asked.told)?;
            let got = read.map_err(|_| row.fault("not_found", "missing"));
            self.got(row, got, asked).await?;
        }
        self.text("]}").await
    }

    /// Sends a document of a row of `_bulk_get`, or why there is none.
    async fn got(
        &self,
        row: &Wanted,
        got: Result<Found, RowFault>,
        asked: &Asked,
    ) -> Result<(), Broken> {
        match got {
            Ok(found) => {
                self.text("{\"ok\":").await?;
                self.pieces(with_data(row.shown_id(), &found, asked))
                    .await?;
                self.text("}").await
            }
            Err(fault) => {
                let mut json = Vec::new();
                fault.write(&mut json, row.shown_id());
                self.bytes(Bytes::from(json)).await
            }
        }
    }
}

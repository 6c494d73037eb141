//! The rows of a listing on their way: read page after page, written as they are sent.
//!
//! A page of rows is read over one short view, without the documents; those are read for as many
//! rows as may be held at once, and the others wait. What is left is the range behind the last row
//! that was read, so no row of a range comes twice. A listing by keys has a row per key, in the order
//! of the keys, whether there is such a document or not.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use adea_documents::json::write_json_string;
use adea_documents::record::{Body, split_body};
use adea_documents::render::{Meta, Rendering, write_revision};
use adea_pod::{DatabaseEntry, ListPortion, ListedDocument, PodError, Told, Which};
use bytes::Bytes;

use crate::App;
use crate::body::Response;
use crate::couch::listing::Listing;
use crate::couch::sending::{Broken, Out, aside, stream, with_all_data};
use crate::router::Exchange;

/// Rows read in one view.
const PAGE: u64 = 1_000;

/// More rows than these are not walked over on a thread that serves requests.
const WALKED_AT_ONCE: u64 = 3_000;

/// Bytes of documents that are held at once, and written before they are sent.
const PAGE_BYTES: u64 = 512 << 10;

/// A listing on its way: where it is, and what is left of it.
pub(super) struct Rows {
    app: Arc<App>,
    caller: adea_base::Caller,
    entry: Arc<DatabaseEntry>,
    listing: Listing,
    skip: u64,
    left: u64,
    keys: std::vec::IntoIter<String>,
    /// Rows that were read and not yet written.
    waiting: VecDeque<ListedRow>,
    any: bool,
}

/// A row that was read: the key it was asked by, and the document, if there is one.
type ListedRow = (String, Option<ListedDocument>);

impl Rows {
    /// The rows of `listing`, from its first.
    pub(super) fn new(
        app: &Arc<App>,
        caller: &adea_base::Caller,
        entry: &Arc<DatabaseEntry>,
        mut listing: Listing,
    ) -> Self {
        let by_keys = listing.keys.is_some();
        let mut keys = listing.keys.take().unwrap_or_default();
        let skip = usize::try_from(listing.skip).unwrap_or(usize::MAX);
        if listing.descending {
            keys.reverse();
        }
        let mut keys = keys.into_iter();
        if by_keys && skip > 0 {
            keys.nth(skip - 1);
        }
        let left = if listing.nothing {
            0
        } else {
            listing.limit.unwrap_or(u64::MAX)
        };
        Self {
            app: Arc::clone(app),
            caller: caller.clone(),
            entry: Arc::clone(entry),
            skip: listing.skip,
            left,
            keys,
            waiting: VecDeque::new(),
            any: false,
            listing: Listing {
                keys: by_keys.then(Vec::new),
                ..listing
            },
        }
    }

    /// Sends what is left, after what is in `out` already.
    pub(super) async fn send(mut self, sink: &Out, mut out: Vec<u8>) -> Result<(), Broken> {
        loop {
            let more = self
                .next_page(&mut out)
                .map_err(|error| Broken::Failed(error.to_string()))?;
            sink.bytes(Bytes::from(std::mem::take(&mut out))).await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// The rows of the next page; a row per id asked for, `None` where there is no such document.
    fn next_rows(&mut self) -> Result<Vec<ListedRow>, PodError> {
        let pod = &self.app.pod;
        let count = self.left.min(PAGE);
        if self.listing.keys.is_some() {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            let keys: Vec<String> = self.keys.by_ref().take(count).collect();
            let ids: Vec<&str> = keys.iter().map(String::as_str).collect();
            let rows = pod.list_keys(&self.entry, &self.caller, &ids)?;
            self.left = self.left.saturating_sub(keys.len() as u64);
            return Ok(keys.into_iter().zip(rows).collect());
        }
        let range = &self.listing.range;
        let direction = self.listing.direction();
        let (entry, caller, skip) = (&self.entry, &self.caller, self.skip);
        // What is deleted or skipped lies in between, perhaps a lot of it.
        let portion = ListPortion {
            skip,
            limit: count,
            walked_max: WALKED_AT_ONCE,
        };
        let at_once = if entry.shows_all() {
            pod.list_portion(entry, caller, range, direction, portion)?
        } else {
            // So does what he does not see who asks.
            None
        };
        let rows = match at_once {
            Some(rows) => rows,
            None => aside(|| pod.list(entry, caller, range, direction, skip, count))?,
        };
        self.skip = 0;
        self.left -= rows.len() as u64;
        match rows.last() {
            Some(last) if rows.len() as u64 == count => {
                let id = last.id.clone();
                if self.listing.descending {
                    self.listing.range.last = Some((id, false));
                } else {
                    self.listing.range.first = Some(format!("{id}\0"));
                }
            }
            Some(_) | None => self.left = 0,
        }
        Ok(rows
            .into_iter()
            .map(|row| (String::new(), Some(row)))
            .collect())
    }

    /// Whether a page may follow.
    fn more(&self) -> bool {
        !self.waiting.is_empty()
            || self.left > 0 && (self.listing.keys.is_none() || self.keys.len() > 0)
    }

    /// The rows of the next page: as many as may be held with their documents.
    fn next_portion(&mut self) -> Result<Vec<ListedRow>, PodError> {
        if self.waiting.is_empty() {
            self.waiting = self.next_rows()?.into();
        }
        let mut bytes = 0;
        let fitting = self.waiting.iter().take_while(|(_, row)| {
            let fits = bytes < PAGE_BYTES;
            if self.listing.include_docs {
                bytes += row.as_ref().map_or(0, |row| row.external_bytes);
            }
            fits
        });
        let count = fitting.count();
        Ok(self.waiting.drain(..count).collect())
    }

    /// Writes the next page to `out`; false if it was the last.
    pub(super) fn next_page(&mut self, out: &mut Vec<u8>) -> Result<bool, PodError> {
        if !self.more() {
            return Ok(false);
        }
        let rows = self.next_portion()?;
        let bodies = if self.listing.include_docs {
            let wanted: Vec<u64> = rows
                .iter()
                .filter_map(|(_, row)| row.as_ref())
                .filter(|row| !row.deleted)
                .filter_map(|row| row.body)
                .collect();
            self.app.pod.bodies(&self.entry, &self.caller, &wanted)?
        } else {
            Vec::new()
        };
        let mut bodies = bodies.into_iter();
        for (key, row) in rows {
            if self.any {
                out.extend_from_slice(b",\r\n");
            }
            self.any = true;
            let Some(row) = row else {
                out.extend_from_slice(b"{\"key\":");
                write_json_string(out, &key);
                out.extend_from_slice(b",\"error\":\"not_found\"}");
                continue;
            };
            write_row(out, &row);
            if self.listing.include_docs {
                out.extend_from_slice(b",\"doc\":");
                let body = if row.deleted || row.body.is_none() {
                    None
                } else {
                    bodies.next().flatten()
                };
                self.write_doc(out, &row, body.as_deref())?;
            }
            out.push(b'}');
        }
        Ok(self.more())
    }

    fn write_doc(
        &self,
        out: &mut Vec<u8>,
        row: &ListedDocument,
        body: Option<&[u8]>,
    ) -> Result<(), PodError> {
        let Some(body) = body else {
            out.extend_from_slice(b"null");
            return Ok(());
        };
        let (mut attachments, json) = split_body(body)?;
        let mut json = Cow::Borrowed(json);
        if self.entry.name.is_users() && !self.caller.is_admin() {
            let mut shown = Body {
                json: json.into_owned(),
                attachments,
            };
            let pod = &self.app.pod;
            let seen = pod.show_user(&self.entry, &self.caller, &row.id, &mut shown);
            if seen.is_err() {
                out.extend_from_slice(b"null");
                return Ok(());
            }
            (json, attachments) = (Cow::Owned(shown.json), shown.attachments);
        }
        let mut meta = Meta::default();
        if self.listing.conflicts && row.conflicts {
            let told = Told {
                conflicts: true,
                ..Told::default()
            };
            let which = Which::Revision {
                revision: row.revision.clone(),
                latest: false,
            };
            let pod = &self.app.pod;
            let read = pod.read(&self.entry, &self.caller, &row.id, &which, told);
            match read {
                Ok(found) => meta = found.meta,
                // It went since the row was read.
                Err(PodError::Missing | PodError::Deleted) => {
                    out.extend_from_slice(b"null");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Rendering {
            id: &row.id,
            revision: &row.revision,
            deleted: row.deleted,
            json: &json,
            attachments: &attachments,
            meta: &meta,
            encoding_info: self.listing.encoding_info,
        }
        .write(out);
        Ok(())
    }
}

/// Writes a row up to its document.
fn write_row(out: &mut Vec<u8>, row: &ListedDocument) {
    out.extend_from_slice(b"{\"id\":");
    write_json_string(out, &row.id);
    out.extend_from_slice(b",\"key\":");
    write_json_string(out, &row.id);
    out.extend_from_slice(b",\"value\":{\"rev\":");
    write_revision(out, &row.revision);
    out.extend_from_slice(if row.deleted {
        b",\"deleted\":true}"
    } else {
        b"}"
    });
}

/// Streams a listing with the attachments' contents inside the documents.
pub(super) fn with_attachments(exchange: Exchange, mut rows: Rows, head: Vec<u8>) -> Response {
    stream(exchange, "application/json", move |out| async move {
        let failed = |error: PodError| Broken::Failed(error.to_string());
        out.bytes(Bytes::from(head)).await?;
        let mut any = false;
        while rows.more() {
            for (key, row) in rows.next_rows().map_err(failed)? {
                let mut text = if any { b",\r\n".to_vec() } else { Vec::new() };
                any = true;
                let Some(row) = row else {
                    text.extend_from_slice(b"{\"key\":");
                    write_json_string(&mut text, &key);
                    text.extend_from_slice(b",\"error\":\"not_found\"}");
                    out.bytes(Bytes::from(text)).await?;
                    continue;
                };
                write_row(&mut text, &row);
                text.extend_from_slice(b",\"doc\":");
                out.bytes(Bytes::from(text)).await?;
                if row.deleted {
                    out.text("null}").await?;
                    continue;
                }
                let which = Which::Revision {
                    revision: row.revision.clone(),
                    latest: false,
                };
                let told = Told {
                    conflicts: rows.listing.conflicts,
                    ..Told::default()
                };
                let pod = &rows.app.pod;
                let found = pod.read(&rows.entry, &rows.caller, &row.id, &which, told);
                let mut found = match found {
                    Ok(found) => found,
                    Err(PodError::Missing | PodError::Deleted) => {
                        out.text("null}").await?;
                        continue;
                    }
                    Err(error) => return Err(failed(error)),
                };
                let seen = pod.show_user(&rows.entry, &rows.caller, &row.id, &mut found.body);
                if seen.is_err() {
                    out.text("null}").await?;
                    continue;
                }
                let pieces = with_all_data(&row.id, &found);
                out.pieces(pieces).await?;
                out.text("}").await?;
            }
        }
        out.text("\r\n]}\n").await
    })
}

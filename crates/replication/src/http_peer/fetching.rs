//! Many documents in one answer: `_bulk_get`, read row by row while it comes.
//!
//! There must be a row for each that was asked for, in their order. Servers that answer otherwise, as
//! some do, are asked for one document at a time.

use adea_outbound::Answer;
use bytes::Bytes;
use http::Method;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::{Asking, DOCUMENT_MAX, Fetched, FetchedRows, HttpPeer, Later, PeerError, Rows, Wanted};
use super::{of_outbound, of_rows, refusal};
use crate::peer::FetchedRow;
use crate::raw::{self, document_in, unreadable};
use crate::transfer::Head;

/// The rows of an answer on their way.
struct Coming<'a> {
    answer: Answer,
    rows: Rows,
    wanted: std::slice::Iter<'a, Wanted>,
    _room: OwnedSemaphorePermit,
}

impl HttpPeer {
    pub(super) async fn fetch_many<'a>(
        &'a self,
        wanted: &'a [Wanted],
    ) -> Result<Box<dyn FetchedRows + 'a>, PeerError> {
        let docs: Vec<_> = wanted
            .iter()
            .map(|one| json!({"id": one.id, "rev": one.revision, "atts_since": one.ancestors.as_ref()}))
            .collect();
        // The options also in the body, as `CouchDB` sends them.
        let body = json!({"docs": docs, "revs": true, "latest": true, "attachments": false});
        let rest = "_bulk_get?revs=true&latest=true&attachments=false";
        let room = self.room().await?;
        let asking = Asking::json(Method::POST, rest, body.to_string());
        let answer = self.send(asking).await?;
        if !answer.status.is_success() {
            let error = refusal(answer).await;
            // Servers that do not know it take it for a document, or for nonsense.
            let unknown = matches!(error, PeerError::Missing | PeerError::Refused { .. });
            return Err(if unknown {
                PeerError::Unsupported
            } else {
                error
            });
        }
        Ok(Box::new(Coming {
            answer,
            rows: Rows::new(DOCUMENT_MAX),
            wanted: wanted.iter(),
            _room: room,
        }))
    }
}

impl Coming<'_> {
    async fn read(&mut self) -> Result<Option<FetchedRow>, PeerError> {
        loop {
            if let Some(row) = self.rows.next().map_err(of_rows)? {
                let wanted = self.wanted.next().ok_or(PeerError::Unsupported)?;
                return read_row(&row, wanted).map(Some);
            }
            match self.answer.next().await.map_err(of_outbound)? {
                Some(piece) => self.rows.feed(&piece),
                None => break,
            }
        }
        let rows = std::mem::replace(&mut self.rows, Rows::new(0));
        rows.finish().map_err(of_rows)?;
        if self.wanted.len() > 0 {
            return Err(PeerError::Unsupported);
        }
        Ok(None)
    }
}

impl FetchedRows for Coming<'_> {
    fn next(&mut self) -> Later<'_, Option<FetchedRow>> {
        Box::pin(self.read())
    }
}

/// The documents of a row; none if there is anything but documents in it.
fn read_row(row: &Bytes, wanted: &Wanted) -> Result<FetchedRow, PeerError> {
    let mut documents = Vec::new();
    raw::for_each_member(row, |name, text| {
        if name == "docs" {
            documents = raw::items(text)?;
        }
        Ok(())
    })
    .map_err(|error| unreadable(&error))?;
    let mut found = Vec::with_capacity(documents.len());
    for document in documents {
        let Some(text) = document_in(document)? else {
            return Ok(Vec::new());
        };
        let json = row.slice_ref(text);
        let head = Head::read(&json)?;
        if head.id != wanted.id {
            return Err(PeerError::Unsupported);
        }
        let has_attachments = head.has_attachments();
        found.push(Fetched {
            json,
            has_attachments,
        });
    }
    Ok(found)
}

//! Listing local documents: those that are not replicated and are in no feed.
//!
//! They are kept by name and shown by id, which is `_local/` and the name; a range or a key may be
//! given either way. A page is short, since its documents are read with it. What is left is the range
//! behind the last name that was read, so that no row comes twice.

use std::sync::Arc;

use adea_documents::json::write_json_string;
use adea_documents::local::LocalDocument;
use adea_pod::{DatabaseEntry, PodError};
use adea_store::Direction;
use bytes::Bytes;

use crate::App;
use crate::body::Response;
use crate::couch::listing::{Listing, read_listing};
use crate::couch::local::write_document;
use crate::couch::sending::{Broken, Out, stream};
use crate::error::ApiError;
use crate::router::Exchange;

/// Local documents read in one view.
const LOCAL_PAGE: usize = 50;

/// Answers `_local_docs`.
pub(crate) async fn local_docs(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
) -> Result<Response, ApiError> {
    let (exchange, listing) = read_listing(exchange, &entry).await?;
    let walk = LocalRows::new(&exchange, entry, &listing);
    Ok(stream(
        exchange,
        "application/json",
        move |sink| async move {
            walk.send(&sink).await?;
            sink.text("\n").await
        },
    ))
}

/// Answers `_local_docs/queries`.
pub(super) fn queries(
    exchange: Exchange,
    entry: &Arc<DatabaseEntry>,
    listings: &[Listing],
) -> Response {
    let walks: Vec<LocalRows> = listings
        .iter()
        .map(|listing| LocalRows::new(&exchange, Arc::clone(entry), listing))
        .collect();
    stream(exchange, "application/json", move |sink| async move {
        sink.text("{\"results\":[\r\n").await?;
        for (n, walk) in walks.into_iter().enumerate() {
            sink.text(if n == 0 { "" } else { ",\r\n" }).await?;
            walk.send(&sink).await?;
        }
        sink.text("\r\n]}\n").await
    })
}

/// A listing of local documents on its way.
struct LocalRows {
    app: Arc<App>,
    caller: adea_base::Caller,
    entry: Arc<DatabaseEntry>,
    direction: Direction,
    include_docs: bool,
    /// The names that are left: from, to; or one by one.
    range: (Option<String>, Option<String>),
    names: Option<std::vec::IntoIter<String>>,
    skip: u64,
    left: u64,
    any: bool,
}

impl LocalRows {
    fn new(exchange: &Exchange, entry: Arc<DatabaseEntry>, listing: &Listing) -> Self {
        let name = |id: &str| id.strip_prefix("_local/").unwrap_or(id).to_owned();
        let last = listing.range.last.as_ref();
        let last = last.map(|(id, inclusive)| {
            let mut name = name(id);
            if *inclusive {
                name.push('\0');
            }
            name
        });
        let keys = listing.keys.as_ref();
        let names = keys.map(|keys| keys.iter().map(|id| name(id)).collect::<Vec<_>>());
        Self {
            app: Arc::clone(&exchange.app),
            caller: exchange.caller.clone(),
            entry,
            direction: listing.direction(),
            include_docs: listing.include_docs,
            range: (listing.range.first.as_deref().map(name), last),
            names: names.map(Vec::into_iter),
            skip: listing.skip,
            left: listing.limit.unwrap_or(u64::MAX),
            any: false,
        }
    }

    /// Sends all of it, without the end of the line.
    async fn send(mut self, sink: &Out) -> Result<(), Broken> {
        sink.text("{\"total_rows\":null,\"offset\":null,\"rows\":[\r\n")
            .await?;
        loop {
            let page = self
                .next_page()
                .map_err(|error| Broken::Failed(error.to_string()))?;
            match page {
                Some(page) => sink.bytes(Bytes::from(page)).await?,
                None => return sink.text("\r\n]}").await,
            }
        }
    }

    /// The next documents, by name or by range; none at the end.
    fn next_documents(&mut self) -> Result<Vec<(String, LocalDocument)>, PodError> {
        let pod = &self.app.pod;
        if let Some(names) = &mut self.names {
            for name in names {
                match pod.read_local(&self.entry, &self.caller, &name) {
                    Ok(document) => return Ok(vec![(name, document)]),
                    Err(PodError::Missing) => {}
                    Err(error) => return Err(error),
                }
            }
            return Ok(Vec::new());
        }
        let (from, to) = (self.range.0.as_deref(), self.range.1.as_deref());
        let rows = pod.list_locals(
            &self.entry,
            &self.caller,
            from,
            to,
            self.direction,
            LOCAL_PAGE,
        )?;
        if let Some((last, _)) = rows.last() {
            match self.direction {
                Direction::Forward => self.range.0 = Some(format!("{last}\0")),
                Direction::Reverse => self.range.1 = Some(last.clone()),
            }
        }
        Ok(rows)
    }

    /// The next rows as text; `None` at the end.
    fn next_page(&mut self) -> Result<Option<Vec<u8>>, PodError> {
        let mut out = Vec::new();
        while self.left > 0 && out.is_empty() {
            let documents = self.next_documents()?;
            if documents.is_empty() {
                self.left = 0;
            }
            for (name, document) in documents {
                if self.skip > 0 {
                    self.skip -= 1;
                } else if self.left > 0 {
                    self.left -= 1;
                    self.write_row(&mut out, &name, &document);
                }
            }
        }
        Ok((!out.is_empty()).then_some(out))
    }

    fn write_row(&mut self, out: &mut Vec<u8>, name: &str, document: &LocalDocument) {
        if self.any {
            out.extend_from_slice(b",\r\n");
        }
        self.any = true;
        let mut id = Vec::new();
        write_json_string(&mut id, &format!("_local/{name}"));
        out.extend_from_slice(b"{\"id\":");
        out.extend_from_slice(&id);
        out.extend_from_slice(b",\"key\":");
        out.extend_from_slice(&id);
        out.extend_from_slice(
            format!(",\"value\":{{\"rev\":\"0-{}\"}}", document.number).as_bytes(),
        );
        if self.include_docs {
            out.extend_from_slice(b",\"doc\":");
            write_document(out, name, document);
        }
        out.push(b'}');
    }
}

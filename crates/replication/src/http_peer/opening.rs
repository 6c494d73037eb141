//! One revision of a document with its attachments behind it: `open_revs`, as multipart.
//!
//! Parts are read as they come and their bytes handed on. A server that knows no multipart answers
//! with JSON, contents inside; that is held, within the bound of a document.

use adea_multipart::reader::{Boundary, Event, MultipartReader};
use adea_outbound::Answer;
use bytes::{Bytes, BytesMut};
use http::header;
use tokio::sync::OwnedSemaphorePermit;

use super::{Asking, DOCUMENT_MAX, HttpPeer, Later, PeerError, Sending, URL_LIST_MAX, Wanted};
use super::{document_path, of_outbound, query, refusal};
use crate::peer::Sent;
use crate::raw::{self, document_in, unreadable};
use crate::transfer::Head;

/// The most revisions that one answer may bring: the leaves below one.
const PARTS_MAX: usize = 10_000;
/// The most attachments of a document.
const ATTACHMENTS_MAX: usize = 10_000;

impl HttpPeer {
    pub(super) async fn open_one<'a>(
        &'a self,
        wanted: &'a Wanted,
        all: bool,
    ) -> Result<Box<dyn Sending + 'a>, PeerError> {
        let revisions = serde_json::json!([wanted.revision]).to_string();
        let mut parameters = vec![
            ("revs", "true".to_owned()),
            ("latest", "true".to_owned()),
            ("attachments", "true".to_owned()),
            ("open_revs", revisions),
        ];
        if !all && !wanted.ancestors.is_empty() {
            parameters.push(("atts_since", known(&wanted.ancestors)));
        }
        let path = document_path(&wanted.id);
        let rest = query(
            &path,
            parameters
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        );
        let room = self.room().await?;
        let asking = Asking {
            accept: "multipart/mixed, application/json",
            ..Asking::get(&rest)
        };
        let answer = self.send(asking).await?;
        if !answer.status.is_success() {
            return Err(refusal(answer).await);
        }
        let kind = answer
            .header(&header::CONTENT_TYPE)
            .unwrap_or("")
            .to_owned();
        match Boundary::from_content_type(&kind) {
            Ok(boundary) => Ok(Box::new(Mixed {
                id: &wanted.id,
                parts: Parts {
                    answer,
                    outer: MultipartReader::new(&boundary, PARTS_MAX),
                    inner: None,
                },
                names: Vec::new().into_iter(),
                _room: room,
            })),
            Err(_) if kind.starts_with("application/json") => {
                let text = answer
                    .whole(DOCUMENT_MAX as u64)
                    .await
                    .map_err(of_outbound)?;
                Ok(Box::new(Whole::read(&text, &wanted.id)?))
            }
            Err(error) => Err(PeerError::Nonsense(error.to_string())),
        }
    }
}

/// The leaves that the target has, as many as a URL holds.
fn known(ancestors: &[String]) -> String {
    let mut length = 0;
    let few: Vec<&String> = ancestors
        .iter()
        .take_while(|revision| {
            length += revision.len() + 9;
            length < URL_LIST_MAX
        })
        .collect();
    serde_json::json!(few).to_string()
}

/// The parts of an answer, and of the document in the part at hand.
struct Parts {
    answer: Answer,
    outer: MultipartReader,
    inner: Option<MultipartReader>,
}

fn nonsense(error: &dyn std::fmt::Display) -> PeerError {
    PeerError::Nonsense(error.to_string())
}

impl Parts {
    async fn outer_event(&mut self) -> Result<Option<Event>, PeerError> {
        loop {
            if let Some(event) = self.outer.next_event().map_err(|error| nonsense(&error))? {
                return Ok(Some(event));
            }
            match self.answer.next().await.map_err(of_outbound)? {
                Some(piece) => self.outer.feed(piece),
                None => {
                    self.outer.finish().map_err(|error| nonsense(&error))?;
                    return Ok(None);
                }
            }
        }
    }

    /// The next event of the document in the part at hand; `None` at the part's end.
    async fn inner_event(&mut self) -> Result<Option<Event>, PeerError> {
        loop {
            let Some(inner) = &mut self.inner else {
                return Ok(None);
            };
            if let Some(event) = inner.next_event().map_err(|error| nonsense(&error))? {
                return Ok(Some(event));
            }
            match self.outer_event().await? {
                Some(Event::Data(data)) => {
                    if let Some(inner) = &mut self.inner {
                        inner.feed(data);
                    }
                }
                Some(Event::PartEnd) => {
                    if let Some(inner) = self.inner.take() {
                        inner.finish().map_err(|error| nonsense(&error))?;
                    }
                }
                Some(Event::PartStart(_) | Event::End) | None => {
                    return Err(PeerError::Nonsense("a part without an end".to_owned()));
                }
            }
        }
    }

    /// The rest of the part that has just begun, of the answer or of the document in it.
    async fn text(&mut self) -> Result<Bytes, PeerError> {
        let mut text = BytesMut::new();
        loop {
            let event = match &self.inner {
                Some(_) => self.inner_event().await?,
                None => self.outer_event().await?,
            };
            match event {
                Some(Event::Data(data)) => {
                    if text.len() + data.len() > DOCUMENT_MAX {
                        return Err(PeerError::Nonsense("a document without an end".to_owned()));
                    }
                    text.extend_from_slice(&data);
                }
                Some(Event::PartEnd) => return Ok(text.freeze()),
                Some(Event::PartStart(_) | Event::End) | None => {
                    return Err(PeerError::Nonsense("a part without an end".to_owned()));
                }
            }
        }
    }
}

/// Documents that come as `multipart/mixed`.
struct Mixed<'a> {
    id: &'a str,
    parts: Parts,
    /// The names of the attachments that are still to come.
    names: std::vec::IntoIter<String>,
    _room: OwnedSemaphorePermit,
}

impl Mixed<'_> {
    async fn read_document(&mut self) -> Result<Option<Sent>, PeerError> {
        // What is left of the document before: nobody wants it.
        while self.parts.inner.is_some() {
            self.parts.inner_event().await?;
        }
        loop {
            let head = match self.parts.outer_event().await? {
                Some(Event::PartStart(head)) => head,
                Some(Event::End | Event::Data(_) | Event::PartEnd) => continue,
                None => return Ok(None),
            };
            let kind = head.content_type.unwrap_or_default();
            if let Ok(boundary) = Boundary::from_content_type(&kind) {
                self.parts.inner = Some(MultipartReader::new(&boundary, ATTACHMENTS_MAX));
                match self.parts.inner_event().await? {
                    Some(Event::PartStart(_)) => {}
                    _ => return Err(PeerError::Nonsense("a document without a part".to_owned())),
                }
            }
            let json = self.parts.text().await?;
            if kind.contains("error=\"true\"") || kind.contains("error=true") {
                return Ok(Some(Sent::Missing));
            }
            return self.document(json).map(Some);
        }
    }

    fn document(&mut self, json: Bytes) -> Result<Sent, PeerError> {
        let head = Head::read(&json)?;
        if head.id != self.id {
            let came = head.id;
            let reason = format!("{came} came where {} was asked for", self.id);
            return Err(PeerError::Nonsense(reason));
        }
        let following = head.following()?;
        if self.parts.inner.is_none() && !following.is_empty() {
            return Err(PeerError::Nonsense(format!(
                "attachments of {} do not follow",
                self.id
            )));
        }
        let names: Vec<String> = following.iter().map(|one| one.name.clone()).collect();
        self.names = names.into_iter();
        Ok(Sent::Document { json, following })
    }

    async fn read_piece(&mut self) -> Result<Option<Bytes>, PeerError> {
        loop {
            match self.parts.inner_event().await? {
                Some(Event::PartStart(head)) => {
                    let awaited = self.names.next();
                    if head.filename.is_some() && head.filename != awaited {
                        let reason = format!("attachments of {} come in another order", self.id);
                        return Err(PeerError::Nonsense(reason));
                    }
                }
                Some(Event::Data(data)) => return Ok(Some(data)),
                Some(Event::PartEnd) => return Ok(None),
                Some(Event::End) | None => {
                    let reason = format!("an attachment of {} did not come", self.id);
                    return Err(PeerError::Nonsense(reason));
                }
            }
        }
    }
}

impl Sending for Mixed<'_> {
    fn next_document(&mut self) -> Later<'_, Option<Sent>> {
        Box::pin(self.read_document())
    }

    fn next_piece(&mut self) -> Later<'_, Option<Bytes>> {
        Box::pin(self.read_piece())
    }
}

/// Documents that came whole, as JSON.
struct Whole(std::vec::IntoIter<Sent>);

impl Whole {
    fn read(text: &Bytes, id: &str) -> Result<Self, PeerError> {
        let rows = raw::items(text).map_err(|error| unreadable(&error))?;
        let mut sent = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(found) = document_in(row)? else {
                sent.push(Sent::Missing);
                continue;
            };
            let json = text.slice_ref(found);
            if Head::read(&json)?.id != id {
                return Err(PeerError::Nonsense(format!(
                    "another document came than {id}"
                )));
            }
            sent.push(Sent::Document {
                json,
                following: Vec::new(),
            });
        }
        Ok(Self(sent.into_iter()))
    }
}

impl Sending for Whole {
    fn next_document(&mut self) -> Later<'_, Option<Sent>> {
        Box::pin(std::future::ready(Ok(self.0.next())))
    }

    fn next_piece(&mut self) -> Later<'_, Option<Bytes>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

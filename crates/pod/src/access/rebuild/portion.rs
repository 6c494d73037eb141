//! What a rebuild reads: some documents that do not stand as the rule says, and their bodies.

use std::ops::ControlFlow;
use std::sync::Arc;

use adea_base::DocumentId;
use adea_documents::DatabaseNumber;
use adea_documents::labels::{self, DraftLabel};
use adea_documents::reader::{IdRange, Reader};
use adea_documents::record::{Record, split_body};
use adea_store::{Direction, EngineError};
use tokio::task::spawn_blocking;

use crate::error::PodError;
use crate::pod::Pod;

/// Documents that one transaction puts under their labels.
const DOCUMENTS_MAX: usize = 128;
/// Bytes of bodies that are held at a time, and one body more. The bodies of a document that has more
/// are read one by one.
const BYTES_MAX: usize = 4 << 20;
/// Documents that are looked at in one view.
const WALKED_MAX: u64 = 8_192;

/// Documents to be put under their labels.
#[derive(Default)]
pub(super) struct Portion {
    pub(super) documents: Vec<Unlabelled>,
    pub(super) walked: u64,
    pub(super) next: Option<String>,
}

/// A document, and its bodies.
pub(super) struct Unlabelled {
    pub(super) id: DocumentId,
    pub(super) sequence: u64,
    pub(super) creator: Option<Arc<str>>,
    /// Where each body is, and its text.
    pub(super) bodies: Vec<Stored>,
    /// The body whose list a winner that is deleted goes by: the last that was there before it.
    pub(super) last_live: Option<u64>,
    /// The winner's body, if it is a tombstone's.
    pub(super) tombstone: Option<u64>,
    /// The label that it stands under now.
    pub(super) stands: Option<DraftLabel>,
}

pub(super) struct Stored {
    pub(super) sequence: u64,
    /// `None` if it is read when its turn comes.
    pub(super) json: Option<Vec<u8>>,
}

impl Pod {
    /// Looks at the documents from `first` on, until there is enough to do or enough was seen.
    pub(super) fn portion(
        &self,
        number: DatabaseNumber,
        generation: u64,
        first: String,
    ) -> Result<Portion, PodError> {
        let view = self.view();
        let reader = whole(view.as_ref(), number);
        let mut portion = Portion::default();
        let (mut fault, mut room) = (None, BYTES_MAX);
        let range = IdRange {
            first: Some(first),
            last: None,
        };
        reader.walk_documents(&range, Direction::Forward, |id, head| {
            portion.walked += 1;
            let stands = head.labelled.as_ref();
            if stands
                .is_none_or(|stands| stands.generation != generation || !stands.others.is_empty())
            {
                match unlabelled(&reader, generation, id, &mut room) {
                    Ok(found) => portion.documents.extend(found),
                    Err(error) => fault = Some(error),
                }
            }
            let enough = portion.walked >= WALKED_MAX
                || portion.documents.len() >= DOCUMENTS_MAX
                || room == 0;
            if enough {
                // The smallest id greater than this one.
                portion.next = Some(format!("{id}\0"));
            }
            if enough || fault.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        fault.map_or(Ok(portion), |error| Err(error.into()))
    }

    pub(super) fn unlabelled(
        &self,
        number: DatabaseNumber,
        generation: u64,
        ids: &[DocumentId],
    ) -> Result<Vec<Unlabelled>, PodError> {
        let view = self.view();
        let reader = whole(view.as_ref(), number);
        let (mut found, mut room) = (Vec::new(), BYTES_MAX);
        for id in ids {
            found.extend(unlabelled(&reader, generation, id.as_str(), &mut room)?);
        }
        Ok(found)
    }

    /// The text of a body, if it is here yet.
    pub(super) async fn body_text(
        &self,
        number: DatabaseNumber,
        body: u64,
    ) -> Result<Option<Vec<u8>>, PodError> {
        let pod = self.clone();
        let read = spawn_blocking(move || {
            let view = pod.view();
            text_of(&whole(view.as_ref(), number), body)
        });
        Ok(read.await.map_err(|_| PodError::Interrupted)??)
    }
}

fn whole(view: &dyn adea_store::View, number: DatabaseNumber) -> Reader<'_> {
    Reader {
        view,
        database: number,
        scope: adea_access::aggregate(),
    }
}

fn text_of(reader: &Reader<'_>, body: u64) -> Result<Option<Vec<u8>>, EngineError> {
    let Some(stored) = reader.body(body)? else {
        return Ok(None);
    };
    let (_, json) = split_body(&stored)?;
    Ok(Some(json.to_vec()))
}

/// The document `id` with its bodies as far as there is room, unless it is gone, or stands as the rule
/// says by now.
fn unlabelled(
    reader: &Reader<'_>,
    generation: u64,
    id: &str,
    room: &mut usize,
) -> Result<Option<Unlabelled>, EngineError> {
    let Some(record) = reader.record(id)? else {
        return Ok(None);
    };
    let labelled = record.labelled.as_ref();
    if labelled.is_some_and(|stands| stands.generation == generation && stands.others.is_empty()) {
        return Ok(None);
    }
    let parsed = DocumentId::parse(id)
        .map_err(|error| EngineError::Corrupt(format!("document id {id:?}: {error}")))?;
    let mut bodies = Vec::new();
    for sequence in record.tree.nodes().filter_map(|node| node.body()) {
        let json = match *room {
            0 => None,
            _ => text_of(reader, sequence)?,
        };
        *room = room.saturating_sub(json.as_ref().map_or(0, Vec::len));
        bodies.push(Stored { sequence, json });
    }
    let stands = match labelled {
        // What an older rule said of a document is not taken over, but a deletion shows nothing.
        Some(labelled) if labelled.generation <= generation && labelled.label != 0 => {
            let label = labels::label(reader.view, reader.database, labelled.label)?;
            Some(DraftLabel {
                name: label.name,
                members: label.members,
            })
        }
        Some(_) | None => None,
    };
    let (tombstone, last_live) = deletion(&record);
    Ok(Some(Unlabelled {
        id: parsed,
        sequence: record.sequence,
        creator: labelled.and_then(|labelled| labelled.creator.clone()),
        bodies,
        last_live,
        tombstone,
        stands,
    }))
}

/// Of a deleted document: where the tombstone's body is, and that of the revision that was deleted.
pub(super) fn deletion(record: &Record) -> (Option<u64>, Option<u64>) {
    let Some(winner) = record.tree.winner().filter(|winner| winner.is_deleted()) else {
        return (None, None);
    };
    let mut before = record.tree.ancestors(&winner.revision()).skip(1);
    let live = before.find_map(|node| node.body().filter(|_| !node.is_deleted()));
    (winner.body(), live)
}

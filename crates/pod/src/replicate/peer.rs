//! A database of this server as an end of a replication: the verbs of the protocol without HTTP.
//!
//! Everything is done in the name of whoever asked for the replication, with the rights that he has at
//! that moment, not with those that he had when he asked; the database is looked up anew each time, so that one that was dropped or made anew is
//! noticed. Reading and parsing run where they keep nobody waiting.

use std::sync::Arc;

use adea_accounts::Refusal;
use adea_base::{Caller, DatabaseName};
use adea_documents::json::{for_each_member, parse_document, read_text};
use adea_documents::local::LocalDocument;
use adea_documents::revision::Revision;
use adea_documents::{DatabaseError, WriteError};
use adea_replication::peer::{
    ChangeRow, ChangesAsked, ChangesPage, FetchedRows, Info, Later, LocalDocument as Checkpoint,
    Sending, Wanted, WriteFailure,
};
use adea_replication::{Contents, Peer, PeerError, Sequence};
use bytes::Bytes;
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::access::AccessError;
use crate::apps::Actor;
use crate::databases::{DatabaseEntry, DatabaseFace};
use crate::error::PodError;
use crate::pod::Pod;
use crate::read_document::{Told, Which};
use crate::replicate::author::Author;
use crate::replicate::fetching::LocalRows;
use crate::replicate::opening::LocalSending;

/// A database of this server, in somebody's name.
#[derive(Clone)]
pub(crate) struct LocalPeer {
    pub(crate) pod: Pod,
    pub(crate) name: DatabaseName,
    pub(crate) author: Arc<Author>,
    /// Who the author was when he was last looked at.
    pub(crate) caller: Caller,
    /// The longest document that is taken.
    pub(crate) document_max: u64,
}

impl LocalPeer {
    /// The same, in the name of its author as he is now; each operation begins with it.
    pub(super) fn now(&self) -> Result<Self, PeerError> {
        let caller = self.pod.author_now(&self.author).map_err(of_pod)?;
        let again = self.clone();
        Ok(Self { caller, ..again })
    }

    /// The database, or the face of one, as it is now, if the author may still enter: with the right to
    /// what he may read.
    pub(crate) async fn entry(&self) -> Result<Arc<DatabaseEntry>, PeerError> {
        let caller = self.pod.author_now(&self.author).map_err(of_pod)?;
        let may = self.pod.may_still_enter(&caller, &self.name);
        may.map_err(of_pod)?;
        let entry = self.pod.enter(&self.name, &caller).await;
        entry.map_err(of_pod)
    }

    /// The same, to read all that there is behind that name.
    pub(crate) async fn readable(&self) -> Result<Arc<DatabaseEntry>, PeerError> {
        let entry = self.entry().await?;
        let may = crate::write_user::may_list_users(&entry, &self.caller);
        may.map_err(|refusal| of_pod(refusal.into()))?;
        if entry.face == DatabaseFace::Whole && !entry.shows_all() {
            let closed = AccessError::WholeIsClosed(entry.name.clone());
            return Err(of_pod(closed.into()));
        }
        match self.pod.rebuilding(&entry) {
            // It passes.
            Some(rebuilding) if !entry.shows_all() => Err(of_pod(rebuilding.into())),
            Some(_) | None => Ok(entry),
        }
    }

    /// What changes whenever places given out before mean nothing any more.
    fn instance(&self, entry: &DatabaseEntry) -> String {
        format!("{}-{}", entry.number.0, entry.sequence_tag)
    }

    async fn read_info(&self) -> Result<Info, PeerError> {
        let entry = self.entry().await?;
        let statistics = self.pod.told_counts(&entry).map_err(of_pod)?;
        let place = entry.place(statistics.update_sequence);
        Ok(Info {
            update_sequence: Sequence::of_json(&Value::from(place).to_string()),
            instance: self.instance(&entry),
        })
    }

    async fn make(&self, parameters: &[(String, String)]) -> Result<(), PeerError> {
        if !self.pod.may_make(&self.caller, &self.name) {
            if self.entry().await.is_ok() {
                return Ok(());
            }
            return Err(PeerError::Unauthorized(
                "You are not a server admin.".to_owned(),
            ));
        }
        let partitioned = parameters
            .iter()
            .any(|(name, value)| name == "partitioned" && value == "true");
        let by = Actor::of(&self.caller, None);
        let made = self.pod.make_database(&self.name, partitioned, &by);
        match made.await {
            Ok(()) | Err(PodError::Database(DatabaseError::Exists)) => Ok(()),
            Err(error) => Err(of_pod(error)),
        }
    }

    async fn read_filter_code(&self, design: &str, name: &str) -> Result<String, PeerError> {
        let entry = self.readable().await?;
        let id = format!("_design/{design}");
        let found = self
            .pod
            .read(&entry, &self.caller, &id, &Which::Winner, Told::default())
            .map_err(of_pod)?;
        let mut code = None;
        for_each_member(&found.body.json, |member, value| {
            if member == "filters" {
                for_each_member(value, |function, text| {
                    if function == name {
                        code = read_text(text)?.map(std::borrow::Cow::into_owned);
                    }
                    Ok::<_, PodError>(())
                })?;
            }
            Ok::<_, PodError>(())
        })
        .map_err(of_pod)?;
        code.ok_or(PeerError::Missing)
    }

    async fn ask_lacking(&self, rows: &[ChangeRow]) -> Result<Vec<Wanted>, PeerError> {
        let asking: Result<Vec<(String, Vec<Revision>)>, PeerError> = rows
            .iter()
            .map(|row| {
                let revisions = row.revisions.iter().map(|text| Revision::parse(text));
                let revisions: Result<Vec<_>, _> = revisions.collect();
                let revisions = revisions.map_err(|error| {
                    PeerError::Nonsense(format!("a revision of {}: {error}", row.id))
                });
                Ok((row.id.clone(), revisions?))
            })
            .collect();
        let (peer, asking) = (self.clone(), asking?);
        let entry = self.entry().await?;
        let (asking, found) = blocking(move || {
            let found = peer
                .pod
                .lacking(&entry, &peer.caller, &asking)
                .map_err(of_pod)?;
            Ok((asking, found))
        })
        .await?;
        let mut wanted = Vec::new();
        for ((row, (_, asked)), lacking) in rows.iter().zip(&asking).zip(found) {
            if lacking.missing.is_empty() {
                continue;
            }
            let known = lacking.possible_ancestors.iter();
            let ancestors: Arc<[String]> = known.map(Revision::to_string).collect();
            // The revision goes back as it was written.
            for (revision, text) in asked.iter().zip(&row.revisions) {
                if lacking.missing.contains(revision) {
                    wanted.push(Wanted {
                        id: row.id.clone(),
                        revision: text.clone(),
                        ancestors: Arc::clone(&ancestors),
                    });
                }
            }
        }
        Ok(wanted)
    }

    async fn get_local(&self, name: &str) -> Result<Option<Checkpoint>, PeerError> {
        let entry = self.entry().await?;
        let found = match self.pod.read_local(&entry, &self.caller, name) {
            Ok(found) => found,
            Err(PodError::Missing) => return Ok(None),
            Err(error) => return Err(of_pod(error)),
        };
        let json = match serde_json::from_slice(&found.json) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) | Err(_) => serde_json::Map::new(),
        };
        Ok(Some(Checkpoint {
            revision: Some(format!("0-{}", found.number)),
            json,
        }))
    }

    async fn put_local(&self, name: &str, document: &Checkpoint) -> Result<String, PeerError> {
        let entry = self.entry().await?;
        let before = document
            .revision
            .as_deref()
            .and_then(|text| text.strip_prefix("0-"));
        let number = before
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0)
            .saturating_add(1);
        let text = Value::Object(document.json.clone()).to_string();
        let draft = parse_document(text.as_bytes()).map_err(|error| of_pod(error.into()))?;
        let local = LocalDocument {
            number,
            json: draft.body,
        };
        self.pod
            .write_local(&entry, name, local)
            .await
            .map_err(of_pod)?;
        Ok(format!("0-{number}"))
    }

    async fn commit_all(&self) -> Result<String, PeerError> {
        self.pod.sync().await.map_err(of_pod)?;
        Ok(self.instance(&*self.entry().await?))
    }
}

impl Peer for LocalPeer {
    fn shown(&self) -> &str {
        self.name.as_str()
    }

    fn is_local(&self) -> bool {
        true
    }

    fn info(&self) -> Later<'_, Info> {
        Box::pin(async move { self.now()?.read_info().await })
    }

    fn create<'a>(&'a self, parameters: &'a [(String, String)]) -> Later<'a, ()> {
        Box::pin(async move { self.now()?.make(parameters).await })
    }

    fn changes<'a>(
        &'a self,
        asked: &'a ChangesAsked,
        since: &'a Sequence,
        wait: bool,
    ) -> Later<'a, ChangesPage> {
        Box::pin(async move { self.now()?.read_changes(asked, since, wait).await })
    }

    fn filter_code<'a>(&'a self, design: &'a str, name: &'a str) -> Later<'a, String> {
        Box::pin(async move { self.now()?.read_filter_code(design, name).await })
    }

    fn lacking<'a>(&'a self, rows: &'a [ChangeRow]) -> Later<'a, Vec<Wanted>> {
        Box::pin(async move { self.now()?.ask_lacking(rows).await })
    }

    fn fetch<'a>(&'a self, wanted: &'a [Wanted]) -> Later<'a, Box<dyn FetchedRows + 'a>> {
        let rows: Box<dyn FetchedRows + 'a> = Box::new(LocalRows::new(self, wanted));
        Box::pin(std::future::ready(Ok(rows)))
    }

    fn open<'a>(&'a self, wanted: &'a Wanted, all: bool) -> Later<'a, Box<dyn Sending + 'a>> {
        Box::pin(async move {
            let sending: Box<dyn Sending + 'a> =
                Box::new(LocalSending::open(&self.now()?, wanted, all).await?);
            Ok(sending)
        })
    }

    fn write<'a>(&'a self, documents: &'a [Bytes]) -> Later<'a, Vec<WriteFailure>> {
        Box::pin(async move { self.now()?.write_many(documents).await })
    }

    fn write_with<'a>(
        &'a self,
        id: &'a str,
        json: Bytes,
        contents: &'a mut Contents<'_>,
    ) -> Later<'a, ()> {
        Box::pin(async move { self.now()?.write_one(id, json, contents).await })
    }

    fn read_local<'a>(&'a self, name: &'a str) -> Later<'a, Option<Checkpoint>> {
        Box::pin(async move { self.now()?.get_local(name).await })
    }

    fn write_local<'a>(&'a self, name: &'a str, document: &'a Checkpoint) -> Later<'a, String> {
        Box::pin(async move { self.now()?.put_local(name, document).await })
    }

    fn commit(&self) -> Later<'_, String> {
        Box::pin(async move { self.now()?.commit_all().await })
    }
}

/// Work that takes a while, off the threads that serve.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PeerError> + Send + 'static,
) -> Result<T, PeerError> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(PeerError::Transient("a task broke".to_owned())))
}

/// What an error of this server means for a replication.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all others are this server's own faults, and may pass"
)]
pub(crate) fn of_pod(error: PodError) -> PeerError {
    match error {
        PodError::Database(DatabaseError::Missing) => PeerError::NoDatabase,
        PodError::Missing | PodError::Deleted => PeerError::Missing,
        PodError::Refused(Refusal::Unauthorized(reason)) => {
            PeerError::Unauthorized(reason.into_owned())
        }
        PodError::Refused(Refusal::Forbidden(reason)) => PeerError::Forbidden(reason.into_owned()),
        PodError::Refused(Refusal::NotFound) => PeerError::Missing,
        PodError::App(error) => PeerError::Forbidden(error.to_string()),
        PodError::NotTaken(error) => PeerError::Forbidden(error.to_string()),
        PodError::Access(error @ (AccessError::WholeIsClosed(_) | AccessError::NotOfPart(_))) => {
            PeerError::Forbidden(error.to_string())
        }
        PodError::Write(WriteError::MissingStub { id, name }) => {
            PeerError::MissingStub(format!("{name} of {id}"))
        }
        PodError::Write(error) => refused("conflict", &error),
        PodError::Draft(error) => refused("doc_validation", &error),
        PodError::Json(error) => refused("bad_request", &error),
        PodError::Upload(
            error @ (adea_files::UploadError::TooLarge { .. } | adea_files::UploadError::NotGzip),
        ) => refused("attachment_too_large", &error),
        error => PeerError::Transient(error.to_string()),
    }
}

fn refused(word: &str, reason: &dyn std::fmt::Display) -> PeerError {
    PeerError::Refused {
        status: 400,
        error: word.to_owned(),
        reason: reason.to_string(),
    }
}

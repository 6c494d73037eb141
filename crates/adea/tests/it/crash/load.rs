//! A client under load: it writes all that can be written, one request after the other, until the
//! server is gone, and keeps the model of what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::http::{Answer, Client, request};
use super::model::{Blob, Churned, Content, Record};
use super::process::Server;
use super::random::Random;

/// A client that was refused so often gives up for the round.
const REFUSALS_MAX: usize = 5;

/// What happens when enough writes were acknowledged.
#[derive(Debug)]
pub(super) enum Action {
    /// The server is killed.
    Kill,
    /// It is killed while a request is on its way: at any of its bytes, or before its answer.
    KillInRequest,
    /// A file is made, at which the disk begins to fail.
    Arm(PathBuf),
    /// All clients stop.
    Stop,
}

/// Counts what all clients were told.
#[derive(Debug)]
pub(super) struct Trigger {
    acknowledged: AtomicU64,
    at: u64,
    action: Action,
}

impl Trigger {
    pub(super) const fn new(at: u64, action: Action) -> Self {
        Self {
            acknowledged: AtomicU64::new(0),
            at,
            action,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.action, Action::Stop) && self.acknowledged.load(Ordering::SeqCst) >= self.at
    }
}

/// What one client knows of one database that it wrote to.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub(super) documents: BTreeMap<String, Record>,
    pub(super) local: Record,
    /// Acknowledged revisions of the document that all clients write to.
    pub(super) shared: Vec<String>,
    /// The highest sequence seen.
    pub(super) sequence: u64,
    /// Documents written since the last look.
    pub(super) touched: BTreeSet<String>,
}

/// A client; it outlives many servers.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) number: usize,
    random: Random,
    values: u64,
    database: String,
    pub(super) written: BTreeMap<String, Written>,
    pub(super) churned: Churned,
    pub(super) acknowledged: u64,
    pub(super) refusals: Vec<(u16, String)>,
    /// Whether answers that refuse with 5xx are part of the test.
    pub(super) tolerant: bool,
}

/// The server does not answer any more, or the round is over.
struct Over;

impl Worker {
    pub(super) fn new(number: usize, seed: u64) -> Self {
        Self {
            number,
            random: Random::seeded(seed),
            values: u64::try_from(number).unwrap() << 40,
            database: String::new(),
            written: BTreeMap::new(),
            churned: Churned::default(),
            acknowledged: 0,
            refusals: Vec::new(),
            tolerant: false,
        }
    }

    /// Writes to this database from now on.
    pub(super) fn turn_to(&mut self, database: &str) {
        database.clone_into(&mut self.database);
        self.written.entry(database.to_owned()).or_default();
    }

    /// Writes until the server is gone, or refuses, or the trigger says stop.
    pub(super) fn run(&mut self, server: &Server, trigger: &Trigger) {
        let mut session = Session {
            client: Client::new(server.address),
            worker: self,
            server,
            trigger,
            cut: false,
            refused: 0,
        };
        while session.step().is_ok() {}
    }

    fn here(&mut self) -> &mut Written {
        self.written.get_mut(&self.database).unwrap()
    }

    fn next_value(&mut self) -> u64 {
        self.values += 1;
        self.values
    }

    fn next_id(&mut self) -> String {
        let value = self.next_value();
        format!("w{}-{value}", self.number)
    }

    fn live_id(&mut self) -> Option<String> {
        let at = self.random.next();
        let live: Vec<&String> = self.written[&self.database]
            .documents
            .iter()
            .filter(|(_, record)| record.is_live() && record.unanswered.is_empty())
            .map(|(id, _)| id)
            .collect();
        let index = at % u64::try_from(live.len().max(1)).unwrap();
        live.get(usize::try_from(index).unwrap())
            .map(|id| (*id).clone())
    }

    fn blob(&mut self, large: bool) -> Blob {
        let length = match large {
            true => 66_000 + self.random.below(150_000),
            false => 1 + self.random.below(6_000),
        };
        Blob {
            seed: self.random.next(),
            length,
        }
    }
}

struct Session<'s> {
    client: Client,
    worker: &'s mut Worker,
    server: &'s Server,
    trigger: &'s Trigger,
    /// The next request is the one in which the server dies.
    cut: bool,
    refused: usize,
}

impl Session<'_> {
    fn step(&mut self) -> Result<(), Over> {
        if self.trigger.is_over() || self.refused >= REFUSALS_MAX {
            return Err(Over);
        }
        match self.worker.random.below(100) {
            0..30 => {
                let id = self.worker.next_id();
                self.put(&id, None)
            }
            30..46 => self.on_live(|session, id| session.put(id, None)),
            46..54 => self.on_live(Self::delete),
            54..66 => self.bulk(),
            66..72 => {
                let (id, blob) = (self.worker.next_id(), self.worker.blob(false));
                self.put(&id, Some(blob))
            }
            72..76 => self.on_live(|session, id| {
                let blob = session.worker.blob(true);
                session.put(id, Some(blob))
            }),
            76..82 => self.on_live(Self::put_attachment),
            82..87 => self.put_local(),
            87..92 => self.churn(),
            92..97 => self.put_shared(),
            97..99 => self.look(),
            _ => self.compact(),
        }
    }

    fn on_live(&mut self, f: impl FnOnce(&mut Self, &str) -> Result<(), Over>) -> Result<(), Over> {
        match self.worker.live_id() {
            Some(id) => f(self, &id),
            None => Ok(()),
        }
    }

    /// One request; `None` if it was refused as a test may ask for.
    fn ask(
        &mut self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<Option<Answer>, Over> {
        let bytes = request(method, path, content_type, body);
        if self.cut {
            let half = self.worker.random.chance(50);
            let end = if half {
                bytes.len()
            } else {
                self.worker.random.below(bytes.len())
            };
            // Whether the server still took it makes no difference.
            drop(self.client.send_only(&bytes[..end]));
            self.server.kill();
            return Err(Over);
        }
        match self.client.send(&bytes) {
            Ok(answer) if answer.status < 500 => Ok(Some(answer)),
            Ok(answer) => {
                let told = (answer.status, answer.text());
                assert!(self.worker.tolerant, "{method} {path}: {told:?}");
                self.worker.refusals.push(told);
                self.refused += 1;
                Ok(None)
            }
            Err(error) => {
                let ended = self.server.ended();
                assert!(
                    self.server.is_killed(),
                    "{method} {path}: {error}, server: {ended:?}"
                );
                Err(Over)
            }
        }
    }

    fn acknowledged(&mut self, count: u64) {
        self.worker.acknowledged += count;
        let before = self.trigger.acknowledged.fetch_add(count, Ordering::SeqCst);
        if before < self.trigger.at && before + count >= self.trigger.at {
            match &self.trigger.action {
                Action::Kill => self.server.kill(),
                Action::KillInRequest => self.cut = true,
                Action::Arm(file) => drop(File::create(file).unwrap()),
                Action::Stop => {}
            }
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/{}/{rest}", self.worker.database)
    }

    /// Notes what a document is about to become.
    fn intend(&mut self, id: &str, content: Content) {
        let here = self.worker.here();
        here.touched.insert(id.to_owned());
        let record = here.documents.entry(id.to_owned()).or_default();
        record.unanswered.push(content);
    }

    fn finish(&mut self, id: &str, content: Content, answer: &Answer) {
        let revision = revision_of(answer);
        let record = self.worker.here().documents.get_mut(id).unwrap();
        record.acknowledge(revision, content);
        self.acknowledged(1);
    }

    /// A document's JSON, with the attachments that it keeps as stubs.
    fn body(&self, id: &str, content: &Content, new: Option<&str>) -> Value {
        let revision = self.worker.written[&self.worker.database]
            .documents
            .get(id)
            .and_then(Record::revision);
        let mut body = json!({ "_id": id });
        if let Some(revision) = revision {
            body["_rev"] = json!(revision);
        }
        match content {
            Content::Deleted => body["_deleted"] = json!(true),
            Content::Holds { value, blobs } => {
                body["value"] = json!(value);
                body["padding"] = json!(Content::padding(*value));
                for (name, blob) in blobs {
                    body["_attachments"][name] = match new == Some(name) {
                        true => json!({ "content_type": "application/octet-stream",
                            "data": STANDARD.encode(blob.bytes()) }),
                        false => json!({ "stub": true }),
                    };
                }
            }
        }
        body
    }

    /// What a live document becomes: a new number, and the attachments it has.
    fn next_content(&mut self, id: &str) -> Content {
        let value = self.worker.next_value();
        let record = self.worker.here().documents.get(id);
        match record.and_then(|record| record.acknowledged.clone()) {
            Some(Content::Holds { blobs, .. }) => Content::Holds { value, blobs },
            Some(Content::Deleted) | None => Content::of(value),
        }
    }

    fn put(&mut self, id: &str, new: Option<Blob>) -> Result<(), Over> {
        let mut content = self.next_content(id);
        if let (Content::Holds { blobs, .. }, Some(blob)) = (&mut content, new) {
            blobs.insert("inline".to_owned(), blob);
        }
        let body = self.body(id, &content, new.map(|_| "inline")).to_string();
        self.intend(id, content.clone());
        let path = self.path(id);
        let Some(answer) = self.ask("PUT", &path, "application/json", body.as_bytes())? else {
            return Ok(());
        };
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
        self.finish(id, content, &answer);
        Ok(())
    }

    fn delete(&mut self, id: &str) -> Result<(), Over> {
        let revision = self.worker.here().documents[id].revision().unwrap().clone();
        self.intend(id, Content::Deleted);
        let path = self.path(&format!("{id}?rev={revision}"));
        let Some(answer) = self.ask("DELETE", &path, "application/json", b"")? else {
            return Ok(());
        };
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        self.finish(id, Content::Deleted, &answer);
        Ok(())
    }

    fn put_attachment(&mut self, id: &str) -> Result<(), Over> {
        let large = self.worker.random.chance(60);
        let blob = self.worker.blob(large);
        let record = &self.worker.here().documents[id];
        let revision = record.revision().unwrap().clone();
        let Some(mut content) = record.acknowledged.clone() else {
            return Ok(());
        };
        if let Content::Holds { blobs, .. } = &mut content {
            blobs.insert("raw".to_owned(), blob);
        }
        self.intend(id, content.clone());
        let path = self.path(&format!("{id}/raw?rev={revision}"));
        let kind = "application/octet-stream";
        let Some(answer) = self.ask("PUT", &path, kind, &blob.bytes())? else {
            return Ok(());
        };
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
        self.finish(id, content, &answer);
        Ok(())
    }

    fn bulk(&mut self) -> Result<(), Over> {
        let mut rows: BTreeMap<String, Content> = BTreeMap::new();
        for _ in 0..2 + self.worker.random.below(12) {
            let (old, deletes) = (self.worker.random.chance(40), self.worker.random.chance(25));
            match self.worker.live_id().filter(|_| old) {
                Some(id) if deletes => {
                    rows.insert(id, Content::Deleted);
                }
                Some(id) => {
                    let content = self.next_content(&id);
                    rows.insert(id, content);
                }
                None => {
                    let content = Content::of(self.worker.next_value());
                    rows.insert(self.worker.next_id(), content);
                }
            }
        }
        let bodies: Vec<Value> = rows
            .iter()
            .map(|(id, content)| self.body(id, content, None))
            .collect();
        for (id, content) in &rows {
            self.intend(id, content.clone());
        }
        let (path, body) = (
            self.path("_bulk_docs"),
            json!({ "docs": bodies }).to_string(),
        );
        let Some(answer) = self.ask("POST", &path, "application/json", body.as_bytes())? else {
            return Ok(());
        };
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
        let told = answer.json();
        let told = told.as_array().unwrap();
        assert_eq!(told.len(), rows.len());
        for ((id, content), row) in rows.iter().zip(told) {
            assert!(row["ok"] == json!(true) && row["id"] == json!(id), "{row}");
            let revision = row["rev"].as_str().unwrap().to_owned();
            let record = self.worker.here().documents.get_mut(id).unwrap();
            record.acknowledge(revision, content.clone());
        }
        self.acknowledged(u64::try_from(rows.len()).unwrap());
        Ok(())
    }

    fn put_local(&mut self) -> Result<(), Over> {
        let value = self.worker.next_value();
        let path = self.path(&format!("_local/w{}", self.worker.number));
        let local = &mut self.worker.here().local;
        let mut body = json!({ "value": value });
        if let Some(revision) = local.revision() {
            body["_rev"] = json!(revision);
        }
        local.unanswered.push(Content::of(value));
        let body = body.to_string();
        let Some(answer) = self.ask("PUT", &path, "application/json", body.as_bytes())? else {
            return Ok(());
        };
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
        let local = &mut self.worker.here().local;
        local.acknowledge(revision_of(&answer), Content::of(value));
        self.acknowledged(1);
        Ok(())
    }

    /// All clients write this document; who loses a race is told so.
    fn put_shared(&mut self) -> Result<(), Over> {
        let path = self.path("shared");
        let Some(answer) = self.ask("GET", &path, "application/json", b"")? else {
            return Ok(());
        };
        let mut body = json!({ "value": self.worker.next_value() });
        if answer.status == 200 {
            body["_rev"] = answer.json()["_rev"].clone();
        }
        let body = body.to_string();
        match self.ask("PUT", &path, "application/json", body.as_bytes())? {
            Some(answer) if answer.status == 201 => {
                let revision = revision_of(&answer);
                self.worker.here().shared.push(revision);
                self.acknowledged(1);
            }
            Some(answer) => assert_eq!(answer.status, 409, "{}", answer.text()),
            None => {}
        }
        Ok(())
    }

    /// A database of this client's own: made, written to, dropped.
    fn churn(&mut self) -> Result<(), Over> {
        let database = format!("/churned-{}", self.worker.number);
        if self.worker.churned.in_doubt {
            return Ok(());
        }
        let exists = self.worker.churned.exists;
        if exists && self.worker.random.chance(70) {
            let (id, value) = (self.worker.next_id(), self.worker.next_value());
            let record = self.worker.churned.documents.entry(id.clone()).or_default();
            record.unanswered.push(Content::of(value));
            let (path, body) = (
                format!("{database}/{id}"),
                json!({ "value": value }).to_string(),
            );
            if let Some(answer) = self.ask("PUT", &path, "application/json", body.as_bytes())? {
                assert_eq!(answer.status, 201, "{path}: {}", answer.text());
                let record = self.worker.churned.documents.get_mut(&id).unwrap();
                record.acknowledge(revision_of(&answer), Content::of(value));
                self.acknowledged(1);
            }
            return Ok(());
        }
        let (method, wanted) = if exists {
            ("DELETE", 200)
        } else {
            ("PUT", 201)
        };
        self.worker.churned.in_doubt = true;
        if let Some(answer) = self.ask(method, &database, "application/json", b"")? {
            assert_eq!(
                answer.status,
                wanted,
                "{method} {database}: {}",
                answer.text()
            );
            self.worker.churned = Churned {
                exists: !exists,
                ..Churned::default()
            };
            self.acknowledged(1);
        }
        Ok(())
    }

    /// Lets the server tidy up while others write.
    fn compact(&mut self) -> Result<(), Over> {
        let path = self.path("_compact");
        if let Some(answer) = self.ask("POST", &path, "application/json", b"")? {
            assert_eq!(answer.status, 202, "{path}: {}", answer.text());
        }
        Ok(())
    }

    /// Looks how far the database's sequence is.
    fn look(&mut self) -> Result<(), Over> {
        let path = format!("/{}", self.worker.database);
        if let Some(answer) = self.ask("GET", &path, "application/json", b"")? {
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            let here = self.worker.here();
            here.sequence = here.sequence.max(sequence_of(&answer.json()["update_seq"]));
        }
        Ok(())
    }
}

fn revision_of(answer: &Answer) -> String {
    answer.json()["rev"].as_str().unwrap().to_owned()
}

/// The number that a sequence begins with.
pub(super) fn sequence_of(token: &Value) -> u64 {
    token
        .as_str()
        .unwrap()
        .split('-')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

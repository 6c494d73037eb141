//! A pod in a directory that goes away with the test.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adea_base::{Caller, DatabaseName, DocumentId, Entropy};
use adea_documents::json::parse_document;
use adea_documents::record::{Body, Encoding};
use adea_documents::revision::Revision;
use adea_pod::{DatabaseEntry, DraftedEdit, Pod, PodOptions};
use adea_store::Durability;
use bytes::Bytes;

/// A directory that goes away with the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let name = format!("pod-{}", Entropy::System.hex_id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub(crate) fn options(data: &Path) -> PodOptions {
    PodOptions {
        data: data.to_owned(),
        durability: Durability::Strict,
        memory: 16 << 20,
        session_timeout_s: 600,
        session_secret: None,
        attachment_max: 1 << 30,
        auth: adea_pod::AuthSettings::default(),
        script: adea_pod::ScriptSettings::default(),
        replication: Default::default(),
    }
}

pub(crate) async fn database(pod: &Pod, name: &str) -> Arc<DatabaseEntry> {
    let name = DatabaseName::parse(name).unwrap();
    pod.create_database(&name, false).await.unwrap();
    pod.database(&name).unwrap()
}

pub(crate) fn id(text: &str) -> DocumentId {
    DocumentId::parse(text).unwrap()
}

pub(crate) async fn put(
    pod: &Pod,
    entry: &Arc<DatabaseEntry>,
    name: &str,
    json: &str,
    based_on: Option<&Revision>,
) -> Revision {
    let draft = parse_document(json.as_bytes()).unwrap();
    let edit = DraftedEdit::Edit(based_on.cloned());
    let caller = Caller::anonymous();
    let prepared = pod
        .prepare(entry, &caller, id(name), draft, edit, Vec::new())
        .await
        .unwrap();
    pod.write(entry, prepared).await.unwrap()
}

/// Writes a document whose only attachment is `content`.
pub(crate) async fn attach(
    pod: &Pod,
    entry: &Arc<DatabaseEntry>,
    name: &str,
    content: Vec<u8>,
    based_on: Option<&Revision>,
) -> Revision {
    let kind = "application/octet-stream";
    let stored = pod
        .store_bytes("file", kind, Encoding::Identity, Bytes::from(content))
        .await
        .unwrap();
    let body = Body {
        attachments: Vec::new(),
        json: b"{}".to_vec(),
    };
    let edit = DraftedEdit::Edit(based_on.cloned());
    let caller = Caller::anonymous();
    let prepared = Pod::with_attachments(entry, &caller, id(name), &body, edit, None, Some(stored));
    let prepared = prepared.unwrap();
    pod.write(entry, prepared).await.unwrap()
}

/// Bytes that are a file and no inline blob, different for each `seed`.
pub(crate) fn large(seed: u8) -> Vec<u8> {
    vec![seed; 200_000]
}

/// The files that hold attachments in data directory `data`.
pub(crate) fn blobs(data: &Path) -> Vec<PathBuf> {
    let list = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let shards = list(&data.join("blobs"));
    shards
        .iter()
        .filter(|shard| shard.file_name() != Some("incoming".as_ref()))
        .flat_map(|shard| list(shard))
        .collect()
}

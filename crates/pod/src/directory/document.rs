//! The document of an account, read and written inside a transaction of our own.
//!
//! What clients write goes through the rules of accounts and through what design documents say
//! (`write_document.rs`); what is written here is the server's own doing, and only what stands in the
//! document besides is kept as it is.

use adea_accounts::{StoredCredential, put_credential, user_id};
use adea_base::DocumentId;
use adea_documents::json::parse_document;
use adea_documents::record::{Attachment, split_body};
use adea_documents::revision::Revision;
use adea_documents::writer::{Draft, DraftAttachment, Writer};
use adea_documents::{DatabaseNumber, WriteError};
use adea_files::Digest;
use adea_store::{Decline, EngineError, Transaction};
use serde_json::{Map, Value, json};

use crate::databases::no_database;
use crate::error::PodError;
use crate::maintain::settle_references;
use crate::write_user::parse_body;

/// The winner of an account's document.
#[derive(Clone, Debug)]
pub(crate) struct UserDocument {
    pub(crate) revision: Revision,
    /// All but what begins with an underscore.
    pub(crate) body: Value,
    attachments: Vec<Attachment>,
}

impl UserDocument {
    /// A document for somebody who has none.
    pub(crate) fn new_body(name: &str, credential: Option<&StoredCredential>) -> Value {
        let mut body = json!({"type": "user", "name": name, "roles": []});
        if let Some(credential) = credential {
            put_credential(&mut body, credential);
        }
        body
    }

    /// Its fields.
    pub(crate) fn fields(&self) -> Option<&Map<String, Value>> {
        self.body.as_object()
    }

    /// What stands for the password.
    pub(crate) fn credential(&self) -> Option<StoredCredential> {
        let read = self.fields().map(StoredCredential::from_document)?;
        read.ok().flatten()
    }
}

/// The document of `name`, unless there is none or it is deleted.
pub(crate) fn read(
    writer: &Writer<'_, '_>,
    name: &str,
) -> Result<Option<UserDocument>, EngineError> {
    let Ok(id) = DocumentId::parse(&user_id(name)) else {
        return Ok(None);
    };
    let record = writer.record(&id)?;
    let Some(winner) = record.tree.winner().filter(|winner| !winner.is_deleted()) else {
        return Ok(None);
    };
    let damaged = || EngineError::Corrupt(format!("the document of an account: {id}"));
    let (attachments, body) = match winner.body() {
        // Only its name was replicated.
        None => (Vec::new(), json!({})),
        Some(sequence) => {
            let stored = writer.body(sequence)?.ok_or_else(damaged)?;
            let (attachments, json) = split_body(&stored)?;
            (attachments, parse_body(json).map_err(|_| damaged())?)
        }
    };
    Ok(Some(UserDocument {
        revision: winner.revision(),
        body,
        attachments,
    }))
}

/// Writes `body` as the document of `name`, over `before`, whose attachments it keeps; without a
/// body, deletes it.
pub(crate) fn write(
    writer: &mut Writer<'_, '_>,
    name: &str,
    before: Option<&UserDocument>,
    kept: &[Attachment],
    body: Option<&Value>,
) -> Result<Revision, Decline<PodError>> {
    let refused = |error: PodError| Decline::Refused(error);
    let id = DocumentId::parse(&user_id(name))
        .map_err(|_| refused(adea_accounts::names::InvalidName::Character.into()))?;
    let text = body.map_or_else(|| "{}".to_owned(), Value::to_string);
    let parsed = parse_document(text.as_bytes()).map_err(|error| refused(error.into()))?;
    let attachments = kept.iter().cloned().map(DraftAttachment::Stored);
    let draft = Draft {
        id,
        deleted: body.is_none(),
        attachments: attachments.collect(),
        json: parsed.body,
        term: parsed.term,
        label: None,
        author: None,
        creator: None,
    };
    writer
        .edit(&draft, before.map(|before| &before.revision))
        .map_err(|decline| match decline {
            Decline::Refused(WriteError::Conflict) if before.is_none() => {
                refused(super::AccountError::NameTaken.into())
            }
            Decline::Refused(error) => refused(error.into()),
            Decline::Engine(error) => Decline::Engine(error),
        })
}

impl UserDocument {
    /// Its attachments.
    pub(crate) fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }
}

/// Does `work` on documents of `_users` in `tx`; the digests are of files that nobody refers to any
/// more, for [`crate::Pod::release_files`] after the commit.
pub(crate) fn with_users<T>(
    tx: &mut Transaction<'_>,
    users: u64,
    work: impl FnOnce(&mut Writer<'_, '_>) -> Result<T, Decline<PodError>>,
) -> Result<(T, Vec<Digest>), Decline<PodError>> {
    let mut writer = Writer::open(tx, DatabaseNumber(users)).map_err(no_database)?;
    let done = work(&mut writer)?;
    let references = writer.finish()?;
    let released = settle_references(tx, &references, |_| None)?;
    Ok((done, released))
}

/// Drops the bodies of all revisions of `name`'s document that others are based on.
pub(crate) fn forget_bodies(
    writer: &mut Writer<'_, '_>,
    name: &str,
) -> Result<(), Decline<PodError>> {
    if let Ok(id) = DocumentId::parse(&user_id(name)) {
        writer.compact(&id)?;
    }
    Ok(())
}

/// Forgets every branch of `name`'s document but the winning one, as if they had never been.
pub(crate) fn forget_branches(
    writer: &mut Writer<'_, '_>,
    name: &str,
) -> Result<(), Decline<PodError>> {
    let Ok(id) = DocumentId::parse(&user_id(name)) else {
        return Ok(());
    };
    let record = writer.record(&id)?;
    let winner = record.tree.winner().map(|winner| winner.revision());
    let leaves = record.tree.leaves().map(|leaf| leaf.revision());
    let others: Vec<Revision> = leaves
        .filter(|leaf| Some(leaf) != winner.as_ref())
        .collect();
    if !others.is_empty() {
        writer.purge(&id, &others)?;
    }
    Ok(())
}

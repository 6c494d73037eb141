//! All that the server keeps of an account, in one file.
//!
//! It has no secrets: what stands for the password, sessions and factors is left out. What is
//! longest (entries of the audit log, documents of the user's own database) is bounded, and the file
//! says where it was cut.

use std::ops::ControlFlow;
use std::sync::Arc;

use adea_accounts::audit::{self, AuditEntry, AuditFilter};
use adea_accounts::directory::AccountRecord;
use adea_accounts::organisations::{self, Acting, Limits, Part};
use adea_accounts::sessions;
use adea_base::{Caller, DatabaseName};
use adea_documents::DatabaseError;
use adea_documents::reader::{IdRange, Reader};
use adea_documents::record::split_body;
use adea_store::{Direction, EngineError};
use serde_json::{Map, Value, json};

use super::AccountError;
use super::change_password::own_account;
use crate::apps::Actor;
use crate::error::PodError;
use crate::pod::Pod;
use crate::write_user::{current_user, parse_body, with_id};

/// The most sessions, memberships and invitations.
const ROWS_MAX: usize = 1_000;
/// The most entries of the audit log.
const ENTRIES_MAX: usize = 10_000;
/// The most documents.
const DOCUMENTS_MAX: usize = 10_000;
/// The most bytes of documents.
const DOCUMENTS_BYTES_MAX: usize = 16 << 20;
/// Fields of the document that are no business of anybody's.
const SECRET_FIELDS: [&str; 7] = [
    "derived_key",
    "iterations",
    "password",
    "password_sha",
    "pbkdf2_prf",
    "salt",
    "totp",
];

impl Pod {
    /// All that is kept of the caller's account.
    ///
    /// # Errors
    /// [`AccountError::NoAccount`] if he has none; [`PodError::Engine`] if the store cannot be read.
    pub async fn export_account(&self, by: &Actor) -> Result<Map<String, Value>, PodError> {
        let account = own_account(by)?;
        let (pod, caller) = (self.clone(), by.caller.clone());
        let exported = tokio::task::spawn_blocking(move || pod.export_blocking(&account, &caller));
        exported.await.map_err(|_| PodError::Interrupted)?
    }

    fn export_blocking(
        &self,
        account: &str,
        caller: &Caller,
    ) -> Result<Map<String, Value>, PodError> {
        let holder = self.holder(account)?.ok_or(AccountError::Missing)?;
        let record = Arc::clone(&holder.record);
        let mut file = Map::new();
        let mut put = |name: &str, value: Value| file.insert(name.to_owned(), value);
        put("exported_ms", self.inner.clock.now_unix_ms().into());
        put("account", about(&record, caller));
        put("profile", Value::Object(record.profile.clone()));
        put("emails", emails(&record));
        put("identities", identities(&record));
        put("passkeys", passkeys(&record));
        put("sessions", self.sessions_told(account)?);
        let (memberships, received, sent) = self.groups_told(account, caller)?;
        put("memberships", memberships);
        put("invitations_received", received);
        put("invitations_sent", sent);
        put("apps", self.apps_told(account)?);
        put("audit", self.audit_told(account)?);
        put("document", self.document_told(&record.name)?);
        put("database", self.database_told(&record.name)?);
        Ok(file)
    }

    fn sessions_told(&self, account: &str) -> Result<Value, PodError> {
        let all = sessions::list(self.view().as_ref(), account, None, ROWS_MAX)?;
        let told = all.iter().map(|one| {
            json!({
                "id": one.id, "app": one.app, "face": one.face.word(), "method": one.method,
                "device": one.device, "address": one.address, "begun_ms": one.begun_ms,
                "used_ms": one.used_ms, "expires_ms": one.expires_ms,
            })
        });
        Ok(told.collect())
    }

    /// Memberships, invitations received, and invitations sent.
    fn groups_told(
        &self,
        account: &str,
        caller: &Caller,
    ) -> Result<(Value, Value, Value), PodError> {
        let acting = Acting {
            account: Some(account.to_owned()),
            name: caller.name().unwrap_or_default().to_owned(),
            admin: false,
            address: String::new(),
            now_ms: self.inner.clock.now_unix_ms(),
            entropy: self.inner.entropy.clone(),
            users: self.users_number()?.0,
            limits: Limits::default(),
        };
        let part = Part::new(ROWS_MAX, None).ok_or(PodError::Interrupted)?;
        let view = self.view();
        let view = view.as_ref();
        let told = |error: adea_store::Decline<organisations::OrganisationError>| match error {
            // He has an account, which is all that could be wrong.
            adea_store::Decline::Refused(_) => AccountError::NoAccount.into(),
            adea_store::Decline::Engine(error) => PodError::Engine(error),
        };
        let memberships = organisations::memberships_of(view, &acting, &part).map_err(told)?;
        let memberships = memberships.items.into_iter().map(|one| match one {
            Ok(member) => serde_json::to_value(member).unwrap_or_default(),
            Err(member) => serde_json::to_value(member).unwrap_or_default(),
        });
        let memberships = memberships.collect();
        let received = organisations::invitations_to(view, &acting, &part).map_err(told)?;
        let sent = organisations::invitations_sent(view, &acting, &part).map_err(told)?;
        let told = |one: organisations::Invited| {
            let team = one.team.map(|team| team.name);
            json!({
                "id": one.invitation.id, "organisation": one.organisation.name, "team": team,
                "address": one.invitation.address, "created_ms": one.invitation.created_ms,
                "expires_ms": one.invitation.expires_ms,
            })
        };
        Ok((
            memberships,
            received.items.into_iter().map(told).collect(),
            sent.items.into_iter().map(told).collect(),
        ))
    }

    fn apps_told(&self, account: &str) -> Result<Value, PodError> {
        let joined = self.apps_joined(account)?;
        let told = joined
            .iter()
            .map(|one| json!({"app": one.app.id, "since_ms": one.joined.since_ms}));
        Ok(told.collect())
    }

    /// Entries of the audit log that he made or that are about him, the newest first.
    fn audit_told(&self, account: &str) -> Result<Value, PodError> {
        let filter = AuditFilter {
            about: Some(account.to_owned()),
            ..AuditFilter::default()
        };
        let (view, mut after, mut told) = (self.view(), None, Vec::new());
        loop {
            let room = ENTRIES_MAX.saturating_sub(told.len());
            let page = audit::find(view.as_ref(), &filter, after.as_ref(), room)?;
            told.extend(
                page.entries
                    .iter()
                    .map(|entry| told_of_entry(entry, account)),
            );
            after = page.next;
            if after.is_none() {
                break;
            }
            if told.len() >= ENTRIES_MAX {
                told.push(json!({"truncated": true}));
                break;
            }
        }
        Ok(Value::Array(told))
    }

    fn document_told(&self, name: &str) -> Result<Value, PodError> {
        let users = DatabaseName::parse(crate::sign_in::USERS);
        let entry = self.database(&users.map_err(|_| DatabaseError::Missing)?)?;
        let (view, id) = (self.view(), adea_accounts::user_id(name));
        let found = current_user(view.as_ref(), &entry, &id, &Caller::anonymous())?;
        let mut found = found.unwrap_or_default();
        if let Some(fields) = found.as_object_mut() {
            for secret in SECRET_FIELDS {
                fields.shift_remove(secret);
            }
        }
        Ok(found)
    }

    /// The documents of the user's own database, where each user has one.
    fn database_told(&self, name: &str) -> Result<Value, PodError> {
        let settings = self.auth().per_user.clone();
        if !settings.enabled {
            return Ok(Value::Null);
        }
        let hex = super::life::hex(name.as_bytes());
        let own = DatabaseName::parse(&format!("{}{hex}", settings.prefix));
        let entry = match own.map(|own| self.database(&own)) {
            Ok(Ok(entry)) => entry,
            Ok(Err(PodError::Database(DatabaseError::Missing))) | Err(_) => return Ok(Value::Null),
            Ok(Err(error)) => return Err(error),
        };
        let view = self.view();
        let reader = Reader {
            view: view.as_ref(),
            database: entry.number,
            // None, where documents say who may read them.
            scope: entry.scope.clone(),
        };
        let (mut documents, mut bytes, mut cut, mut fault) = (Vec::new(), 0, false, None);
        reader.walk_documents(&IdRange::default(), Direction::Forward, |id, _| {
            cut = documents.len() >= DOCUMENTS_MAX || bytes >= DOCUMENTS_BYTES_MAX;
            if cut {
                return ControlFlow::Break(());
            }
            match document(&reader, id) {
                Ok(Some((size, document))) => {
                    bytes += size;
                    documents.push(document);
                    ControlFlow::Continue(())
                }
                Ok(None) => ControlFlow::Continue(()),
                Err(error) => {
                    fault = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        match fault {
            Some(error) => Err(error),
            None => Ok(json!({
                "name": entry.name.as_str(), "documents": documents, "truncated": cut,
            })),
        }
    }
}

/// A document with its size, unless it is deleted.
fn document(reader: &Reader<'_>, id: &str) -> Result<Option<(usize, Value)>, PodError> {
    let Some(record) = reader.record(id)? else {
        return Ok(None);
    };
    let Some(winner) = record.tree.winner().filter(|winner| !winner.is_deleted()) else {
        return Ok(None);
    };
    let Some(body) = winner.body() else {
        return Ok(None);
    };
    let damaged = || EngineError::Corrupt(format!("document {id}"));
    let stored = reader.body(body)?.ok_or_else(damaged)?;
    let (attachments, json) = split_body(&stored)?;
    let mut document = with_id(parse_body(json).map_err(|_| damaged())?, id);
    if let Some(fields) = document.as_object_mut() {
        fields.insert("_rev".to_owned(), winner.revision().to_string().into());
        if !attachments.is_empty() {
            let names = attachments.iter().map(|one| Value::from(one.name.as_str()));
            fields.insert("_attachments".to_owned(), names.collect());
        }
    }
    Ok(Some((stored.len(), document)))
}

fn about(record: &AccountRecord, caller: &Caller) -> Value {
    json!({
        "id": record.id,
        "name": record.name,
        "roles": caller.roles(),
        "language": record.language,
        "created_ms": record.created_ms,
        "seen_ms": record.seen_ms,
        "admin": record.flags.admin,
        "anonymous": record.flags.anonymous,
        "totp": record.totp.is_some(),
        "recovery_codes": record.recovery_codes.len(),
        "devices": record.devices.len(),
    })
}

fn emails(record: &AccountRecord) -> Value {
    let all = record.addresses.iter();
    all.map(|one| json!({"email": one.address, "verified_ms": one.verified_ms}))
        .collect()
}

fn identities(record: &AccountRecord) -> Value {
    let all = record.identities.iter();
    all.map(|one| {
        json!({
            "provider": one.provider, "subject": one.subject, "email": one.address,
            "linked_ms": one.linked_ms,
        })
    })
    .collect()
}

fn passkeys(record: &AccountRecord) -> Value {
    let all = record.passkeys.iter();
    all.map(|one| json!({"label": one.label, "created_ms": one.created_ms, "used_ms": one.used_ms}))
        .collect()
}

/// An entry as who is named in it is told of it.
fn told_of_entry(entry: &AuditEntry, account: &str) -> Value {
    let mut told = serde_json::to_value(entry).unwrap_or_default();
    if let (true, Some(fields)) = (entry.account != account, told.as_object_mut()) {
        // Who else did it, and where he sat, is that one's.
        fields.shift_remove("name");
        fields.shift_remove("address");
    }
    told
}

//! Records that follow their documents: what every transaction that writes to `_users` does besides,
//! and what is made up for at the start. Of another password that came so its user is told by mail.
//!
//! Invariant: after each transaction there is a record for exactly those documents of `_users` that
//! are accounts by their id and alive.

use std::collections::BTreeMap;

use adea_accounts::audit::{self, AuditEntry};
use adea_accounts::directory::{self, Followed, Ground, Shown};
use adea_accounts::stored::decode;
use adea_accounts::{USER_ID_PREFIX, user_id};
use adea_base::{Caller, DatabaseName, DocumentId};
use adea_documents::reader::{IdRange, Reader};
use adea_documents::writer::Writer;
use adea_documents::{DatabaseError, DatabaseNumber, database};
use adea_mail::Kind;
use adea_store::{Direction, EngineError, KeyRange, Space, Transaction};
use serde_json::json;
use std::ops::ControlFlow;

use super::document;
use super::letters::notify;
use crate::databases::no_database;
use crate::error::PodError;
use crate::pod::Pod;
use crate::sign_in::USERS;

/// Documents that one transaction makes records for.
const PORTION: usize = 500;
/// Void accounts that one transaction erases.
const VOID_PORTION: usize = 20;

/// Ids of void accounts, with the numbers of their databases, and where to look on.
type Void = (Vec<(String, u64)>, Option<KeyRange>);

/// Accounts whose documents a transaction touched, each with what is known of the writer.
#[derive(Default)]
pub(crate) struct Touched {
    names: BTreeMap<String, Touch>,
}

/// How a document was touched.
struct Touch {
    same_password: bool,
    by: Caller,
    shown: Option<Shown>,
}

impl Touched {
    /// Notes that document `id` was written by `by`; `same_password` if a password in it is made
    /// anew and is the same.
    pub(crate) fn note(&mut self, id: &DocumentId, by: &Caller, same_password: bool) {
        let Some(name) = id.as_str().strip_prefix(USER_ID_PREFIX) else {
            return;
        };
        if name.is_empty() {
            return;
        }
        let touch = self.names.entry(name.to_owned()).or_insert_with(|| Touch {
            same_password: true,
            by: by.clone(),
            shown: None,
        });
        touch.same_password &= same_password;
    }

    /// Reads what the documents say now, before the writer is done.
    pub(crate) fn read(&mut self, writer: &Writer<'_, '_>) -> Result<(), EngineError> {
        for (name, touch) in &mut self.names {
            let found = document::read(writer, name)?;
            touch.shown = found.map(|found| Shown {
                fingerprint: found.credential().map(|one| hex(one.fingerprint())),
                same_password: touch.same_password,
            });
        }
        Ok(())
    }

    /// Makes the records follow.
    pub(crate) fn follow(
        self,
        tx: &mut Transaction<'_>,
        ground: &Ground,
    ) -> Result<(), EngineError> {
        for (name, touch) in self.names {
            let (action, target) = match directory::follow(tx, ground, &name, touch.shown)? {
                Followed::Made(id) => ("account.create", id),
                Followed::Removed(id) => ("account.delete", id),
                // What the server makes stronger is no change that somebody made.
                Followed::Kept(id) if touch.by.is_admin() && !touch.same_password => {
                    ("account.edit", id)
                }
                Followed::AnotherPassword(record) => {
                    let (entropy, kind) = (&ground.entropy, Kind::PasswordChanged);
                    notify(tx, entropy, ground.now_ms, &record, kind, json!({}));
                    match touch.by.is_admin() {
                        true => ("account.edit", record.id),
                        false => ("account.change_password", record.id),
                    }
                }
                Followed::Nothing | Followed::Kept(_) => continue,
            };
            let entry = AuditEntry {
                time_ms: ground.now_ms,
                action: action.to_owned(),
                account: actor(&touch.by),
                name: touch.by.name().unwrap_or_default().to_owned(),
                target,
                detail: json!({"by": "document"}),
                ..AuditEntry::default()
            };
            audit::append(tx, &entry)?;
        }
        Ok(())
    }
}

/// The id under which `caller` stands in the audit log: of his account, `admin:<name>` for an
/// administrator of the configuration, empty for nobody.
pub(crate) fn actor(caller: &Caller) -> String {
    match (caller.account(), caller.name()) {
        (Some(account), _) => account.to_owned(),
        (None, Some(name)) if caller.is_admin() && !name.is_empty() => format!("admin:{name}"),
        (None, _) => String::new(),
    }
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|nibble| char::from_digit(u32::from(nibble), 16).unwrap_or('0'))
        .collect()
}

impl Pod {
    /// The number of the database whose documents are the accounts.
    ///
    /// # Errors
    /// [`DatabaseError::Missing`] if it was dropped.
    pub(crate) fn users_number(&self) -> Result<DatabaseNumber, PodError> {
        let name = DatabaseName::parse(USERS).map_err(|_| DatabaseError::Missing)?;
        Ok(self.database(&name)?.number)
    }

    /// What a change of accounts needs to know.
    ///
    /// # Errors
    /// As [`Pod::users_number`].
    pub(crate) fn ground(&self) -> Result<Ground, PodError> {
        Ok(self.ground_of(self.users_number()?))
    }

    /// What a change of accounts needs to know, if `number` is the database that they are in.
    pub(crate) fn ground_if_users(&self, number: DatabaseNumber) -> Option<Ground> {
        let users = self.users_number().ok()?;
        (users == number).then(|| self.ground_of(number))
    }

    pub(crate) fn ground_of(&self, users: DatabaseNumber) -> Ground {
        Ground {
            users: users.0,
            entropy: self.inner.entropy.clone(),
            now_ms: self.inner.clock.now_unix_ms(),
        }
    }

    /// Removes the records of `_users` databases that were dropped, with all that belongs to them.
    pub(crate) async fn erase_void_accounts(&self) -> Result<(), PodError> {
        let mut range = directory::all();
        loop {
            let pod = self.clone();
            let (void, next) =
                tokio::task::spawn_blocking(move || pod.void_accounts(range, PORTION))
                    .await
                    .map_err(|_| PodError::Interrupted)??;
            // In small portions: each may have many sessions and memberships.
            for ids in void.chunks(VOID_PORTION) {
                let ids = ids.to_vec();
                let erased = self.inner.store.transact(Self::permit(), move |tx| {
                    for (id, users) in &ids {
                        if let Some(record) = directory::live(tx, *users, id)? {
                            directory::erase(tx, &record)?;
                        }
                    }
                    Ok::<_, adea_store::Decline<PodError>>(())
                });
                erased.await.map_err(PodError::from)?;
            }
            match next {
                Some(next) => range = next,
                None => return Ok(()),
            }
        }
    }

    /// Ids of records that are of no present database, with the numbers of theirs, and where to go
    /// on.
    fn void_accounts(&self, range: KeyRange, most: usize) -> Result<Void, PodError> {
        let name = DatabaseName::parse(USERS).map_err(|_| DatabaseError::Missing)?;
        let view = self.view();
        // Of the same moment as the records, or new ones would be void.
        let users = database::find(view.as_ref(), &name)?.map(|found| found.number.0);
        let mut rows = view.range(Space::Index, range.clone(), Direction::Forward)?;
        let (mut void, mut looked) = (Vec::new(), 0);
        while let Some((key, value)) = rows.next()? {
            let record: directory::AccountRecord = decode(value, "an account")?;
            if Some(record.users) != users {
                void.push((record.id, record.users));
            }
            looked += 1;
            if looked == most {
                let from = [key, &[0]].concat();
                return Ok((void, Some(KeyRange { from, ..range })));
            }
        }
        Ok((void, None))
    }

    /// As [`Pod::erase_void_accounts`]; what fails is logged and tried again at the next start.
    pub(crate) async fn erase_void_accounts_logged(&self) {
        if let Err(error) = self.erase_void_accounts().await {
            tracing::warn!(%error, "accounts of a dropped database are still there: {error}");
        }
    }

    /// Makes records for documents that were there before there were records.
    ///
    /// # Errors
    /// [`PodError`] if the store cannot be read or written.
    pub(crate) async fn make_missing_records(&self) -> Result<(), PodError> {
        let number = match self.users_number() {
            Ok(number) => number,
            Err(PodError::Database(DatabaseError::Missing)) => return Ok(()),
            Err(error) => return Err(error),
        };
        if directory::complete(self.view().as_ref(), number.0)? {
            return Ok(());
        }
        let mut from = Some(USER_ID_PREFIX.to_owned());
        while let Some(first) = from {
            let (ids, next) = self.account_documents(number, first)?;
            let ground = self.ground_of(number);
            let done = next.is_none();
            let made = self.inner.store.transact(Self::permit(), move |tx| {
                let mut touched = Touched::default();
                let server = Caller::anonymous();
                let writer = Writer::open(tx, number).map_err(no_database)?;
                for id in &ids {
                    touched.note(id, &server, true);
                }
                touched.read(&writer)?;
                writer.finish()?;
                touched.follow(tx, &ground)?;
                if done {
                    directory::set_complete(tx, number.0);
                }
                Ok(())
            });
            made.await.map_err(PodError::from)?;
            from = next;
        }
        Ok(())
    }

    /// Ids of accounts from `first` on, and where to go on.
    fn account_documents(
        &self,
        number: DatabaseNumber,
        first: String,
    ) -> Result<(Vec<DocumentId>, Option<String>), PodError> {
        let view = self.view();
        let reader = Reader {
            view: view.as_ref(),
            database: number,
            scope: adea_access::aggregate(),
        };
        let range = IdRange {
            first: Some(first),
            last: Some((user_id("\u{10ffff}"), true)),
        };
        let (mut ids, mut next) = (Vec::new(), None);
        reader.walk_documents(&range, Direction::Forward, |id, _| {
            ids.extend(DocumentId::parse(id));
            if ids.len() < PORTION {
                return ControlFlow::Continue(());
            }
            next = Some(format!("{id}\0"));
            ControlFlow::Break(())
        })?;
        Ok((ids, next))
    }
}

//! Who somebody is: read from the administrators and the accounts, and remembered for as long as both
//! stay as they are.
//!
//! Invariants: nobody is answered from a document or a record that was replaced before he asked; what
//! is remembered is bounded, and only of those that there are.

use std::borrow::Cow;
use std::sync::Arc;

use adea_accounts::directory::{self, AccountRecord};
use adea_accounts::names::normal_address;
use adea_accounts::{Account, Refusal, StoredCredential, Totp, apps, organisations, user_id};
use adea_base::{Caller, DatabaseName};
use adea_documents::{DatabaseError, DatabaseNumber, database};
use adea_store::View;

use super::{AccountCache, USERS, wrong};
use crate::admins::ADMIN_ROLE;
use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;
use crate::write_user::current_user;

/// How many accounts are remembered; forgetting all beyond is crude, and rare.
pub(super) const REMEMBERED_MAX: usize = 10_000;
/// Why a password alone does not sign in.
const SECOND_FACTOR_WANTED: &str =
    "This account has a second factor: ask for a session at /_auth/login.";

/// Somebody with a name, before he proved to be it.
#[derive(Clone)]
pub(crate) struct Principal {
    pub(crate) caller: Caller,
    /// Without one he cannot sign in.
    pub(crate) credential: Option<Arc<StoredCredential>>,
    /// What makes the digits that he has to give besides, if he has to.
    pub(crate) totp: Option<Totp>,
    /// Whether his document says that he has to.
    pub(crate) document_wants_digits: bool,
    /// What is kept of his account; an administrator of the configuration has none.
    pub(crate) record: Option<Arc<AccountRecord>>,
    /// Another one means that all of his sessions have ended since.
    pub(crate) epoch: u64,
}

/// As of when something holds: a database, its last change, and the last change of what makes rights
/// besides.
type Moment = (DatabaseNumber, u64, u64);

pub(super) struct Remembered {
    moment: Moment,
    principal: Principal,
}

impl Pod {
    /// Who has the name `name`, with the roles that he has now; nobody if he is kept out.
    pub(crate) fn caller_named(&self, name: &str) -> Result<Option<Caller>, PodError> {
        let known = self.principal(name)?.filter(|known| !known.is_kept_out());
        Ok(known.map(|known| known.caller))
    }

    /// Who has the name `name`.
    pub(crate) fn principal(&self, name: &str) -> Result<Option<Principal>, PodError> {
        if let Some(admin) = self.admin_principal(name) {
            return Ok(Some(admin));
        }
        // What is remembered by something else than a name has such a character in front.
        if name.contains(char::is_control) {
            return Ok(None);
        }
        self.remembered(name, |view, entry| read_account(view, entry, name))
    }

    /// Whether an account with this name is hidden by an administrator of the configuration.
    pub(crate) fn is_shadowed(&self, name: Option<&str>) -> bool {
        name.is_some_and(|name| self.inner.admins.read().find(name).is_some())
    }

    /// The administrator of the configuration who is called `name`.
    fn admin_principal(&self, name: &str) -> Option<Principal> {
        let admins = self.inner.admins.read();
        let (credential, epoch) = (admins.find(name)?, admins.epoch(name)?);
        Some(Principal {
            caller: Caller::named(name, vec![ADMIN_ROLE.to_owned()]),
            credential: Some(credential),
            totp: None,
            document_wants_digits: false,
            record: None,
            epoch,
        })
    }

    /// Who has `identifier` for a name, or for a verified address: a name wins.
    pub(super) fn principal_known_as(
        &self,
        identifier: &str,
    ) -> Result<Option<Principal>, PodError> {
        if let Some(found) = self.principal(identifier)? {
            return Ok(Some(found));
        }
        let Ok(normal) = normal_address(identifier) else {
            return Ok(None);
        };
        let found = self.remembered(&format!("\0@{normal}"), |view, entry| {
            let id = directory::find_address(view, &normal)?;
            read_account_of(view, entry, id.as_deref())
        })?;
        // Whoever is known by his name alone would be taken for the administrator.
        Ok(found.filter(|found| !self.is_shadowed(found.caller.name())))
    }

    /// Who the account `id` is.
    pub(crate) fn principal_of(&self, id: &str) -> Result<Option<Principal>, PodError> {
        self.remembered(&format!("\0{id}"), |view, entry| {
            read_account_of(view, entry, Some(id))
        })
    }

    /// What was read under `key`, or is read now, of the accounts as they stand.
    fn remembered(
        &self,
        key: &str,
        read: impl FnOnce(&dyn View, &DatabaseEntry) -> Result<Option<Principal>, PodError>,
    ) -> Result<Option<Principal>, PodError> {
        let Ok(users) = DatabaseName::parse(USERS) else {
            return Ok(None);
        };
        let entry = match self.database(&users) {
            Ok(entry) => entry,
            Err(PodError::Database(DatabaseError::Missing)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let view = self.view();
        let statistics = database::statistics(view.as_ref(), entry.number)?;
        let version = directory::version(view.as_ref())?;
        let moment = (entry.number, statistics.update_sequence, version);
        if let Some(known) = self.inner.accounts.get(key, moment) {
            return Ok(Some(known));
        }
        // The same view as that of the count: what is read is of that very moment.
        let found = read(view.as_ref(), &entry)?;
        if let Some(found) = &found {
            self.inner.accounts.insert(key, moment, found);
        }
        Ok(found)
    }
}

impl Principal {
    /// The record, if it has a key of its own that makes digits, of which each step is taken once.
    pub(super) fn own_totp(&self) -> Option<&AccountRecord> {
        let record = self.record.as_deref();
        record.filter(|record| record.totp.is_some())
    }

    /// Refuses whoever has to bring more than a password, where nothing else can be brought.
    pub(super) fn require_no_second_factor(&self) -> Result<(), PodError> {
        match (&self.totp, self.own_totp()) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(wrong()),
            (Some(_), Some(_)) => {
                Err(Refusal::Unauthorized(Cow::Borrowed(SECOND_FACTOR_WANTED)).into())
            }
        }
    }

    /// What his cookie is sealed with besides the server's secret: it changes with the password, and
    /// when all of his sessions end. `None` if he cannot sign in with a password.
    pub(super) fn cookie_salt(&self) -> Option<Vec<u8>> {
        let mut salt = self.credential.as_deref()?.fingerprint().to_vec();
        // Of an administrator of the configuration the password is all there is.
        if self.record.is_some() {
            salt.extend_from_slice(&self.epoch.to_be_bytes());
        }
        Some(salt)
    }

    /// Whether administrators have blocked him, or his address is not proved yet.
    pub(super) fn is_kept_out(&self) -> bool {
        let record = self.record.as_ref();
        record.is_some_and(|record| record.flags.keep_out())
    }
}

impl AccountCache {
    pub(super) fn get(&self, name: &str, moment: Moment) -> Option<Principal> {
        let known = self.known.read();
        let remembered = known.get(name).filter(|known| known.moment == moment)?;
        Some(remembered.principal.clone())
    }

    pub(super) fn insert(&self, name: &str, moment: Moment, principal: &Principal) {
        let mut known = self.known.write();
        if known.len() >= REMEMBERED_MAX && !known.contains_key(name) {
            known.clear();
        }
        let principal = principal.clone();
        known.insert(name.to_owned(), Remembered { moment, principal });
    }
}

/// Reads the account `id`, by the name that it has.
fn read_account_of(
    view: &dyn View,
    entry: &DatabaseEntry,
    id: Option<&str>,
) -> Result<Option<Principal>, PodError> {
    let Some(id) = id else {
        return Ok(None);
    };
    match directory::live(view, entry.number.0, id)? {
        Some(record) => read_account(view, entry, &record.name),
        None => Ok(None),
    }
}

/// Reads an account; one that conflicts with itself is refused, anything else that is no account
/// is nobody's.
fn read_account(
    view: &dyn View,
    entry: &DatabaseEntry,
    name: &str,
) -> Result<Option<Principal>, PodError> {
    // `CouchDB` lets such names be written, and here nobody has one.
    if name.contains(char::is_control) {
        return Ok(None);
    }
    let Some(user) = current_user(view, entry, &user_id(name), &Caller::anonymous())? else {
        return Ok(None);
    };
    let account = match Account::from_document(&user) {
        Ok(account) => account,
        Err(Refusal::NotFound) => return Ok(None),
        Err(refusal @ (Refusal::Unauthorized(_) | Refusal::Forbidden(_))) => {
            return Err(refusal.into());
        }
    };
    let record = directory::live_name(view, entry.number.0, name)?;
    let mut roles = account.roles;
    if let Some(record) = &record {
        organisations::roles_of(view, &record.id, &mut roles)?;
        apps::roles_of(view, &record.id, &mut roles)?;
        if record.flags.admin {
            roles.push(ADMIN_ROLE.to_owned());
        }
    }
    let caller = Caller::named(&account.name, roles);
    // A second factor that was set up here is wanted as well.
    let own = record.as_ref().and_then(|record| record.totp.as_deref());
    let own = own.map(Totp::from_key);
    Ok(Some(Principal {
        caller: match &record {
            Some(record) => caller.with_account(&record.id),
            None => caller,
        },
        credential: account.credential.map(Arc::new),
        document_wants_digits: account.totp.is_some(),
        totp: own.or(account.totp),
        epoch: record.as_ref().map_or(0, |record| record.epoch),
        record: record.map(Arc::new),
    }))
}

//! Accounts in the hands of administrators: found, made, flagged, given roles, erased.

use std::collections::HashSet;
use std::sync::Arc;

use adea_accounts::audit;
use adea_accounts::directory::{self, AccountRecord, Flags};
use adea_accounts::names::lookalike;
use adea_accounts::{Account, StoredCredential, sessions};
use adea_store::{Decline, Direction, Space};
use serde_json::{Map, Value, json};

use super::create::{NewAccount, create_in};
use super::document::{self, with_users};
use super::edit::{edit_in, refuse};
use super::{AccountError, check_language, check_profile};
use crate::apps::Actor;
use crate::error::PodError;
use crate::pod::Pod;

/// The most accounts of one import.
pub const IMPORT_MAX: usize = 1_000;
/// The most plain roles of an account, and the most bytes of one.
const ROLES_MAX: usize = 100;
const ROLE_BYTES_MAX: usize = 256;

/// Which accounts are looked for.
#[derive(Clone, Debug, Default)]
pub struct AccountsAsked {
    /// What the name begins with.
    pub name_prefix: Option<String>,
    /// What a verified address begins with; the list is then in the order of addresses.
    pub address_prefix: Option<String>,
    /// The place behind which the list begins.
    pub after: Option<Vec<u8>>,
    /// How many at the most.
    pub limit: usize,
}

/// A page of accounts.
#[derive(Clone, Debug, Default)]
pub struct AccountsPage {
    /// The records.
    pub accounts: Vec<AccountRecord>,
    /// Where the next page begins, if there is one.
    pub next: Option<Vec<u8>>,
}

/// What an administrator changes of an account; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// Whether it may do everything on this server.
    pub admin: Option<bool>,
    /// Whether it may not sign in; `false` also lets in who has not proved his address.
    pub blocked: Option<bool>,
    /// The plain roles, in place of those that there are.
    pub roles: Option<Vec<String>>,
}

/// An account that an administrator makes or imports.
#[derive(Clone, Debug, Default)]
pub struct AccountGiven {
    /// The name, if it has one.
    pub name: Option<String>,
    /// An address.
    pub address: Option<String>,
    /// Whether the address is taken to be proved.
    pub address_verified: bool,
    /// The password; hashed here.
    pub password: Option<String>,
    /// What stands for the password.
    pub credential: Option<StoredCredential>,
    /// Plain roles.
    pub roles: Vec<String>,
    /// The language of mail.
    pub language: Option<String>,
    /// The profile.
    pub profile: Map<String, Value>,
    /// Whether it may do everything on this server.
    pub admin: bool,
}

impl Pod {
    /// A page of accounts, by name or by address.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn accounts(&self, asked: &AccountsAsked) -> Result<AccountsPage, PodError> {
        let users = self.users_number()?.0;
        let mut range = match &asked.address_prefix {
            Some(prefix) => directory::by_address(&prefix.to_lowercase()),
            None => directory::by_name(asked.name_prefix.as_deref().unwrap_or_default()),
        };
        if let Some(after) = &asked.after {
            let from = [range.from.get(..2).unwrap_or_default(), after, &[0]].concat();
            range.from = range.from.max(from);
        }
        let (view, mut page) = (self.view(), AccountsPage::default());
        let mut rows = view.range(Space::Index, range, Direction::Forward)?;
        let mut last = None;
        while let Some((key, id)) = rows.next()? {
            if page.accounts.len() == asked.limit {
                page.next = last;
                break;
            }
            let id = String::from_utf8_lossy(id).into_owned();
            if let Some(record) = directory::live(view.as_ref(), users, &id)? {
                page.accounts.push(record);
                last = key.get(2..).map(<[u8]>::to_vec);
            }
        }
        Ok(page)
    }

    /// Makes an account as an administrator gives it; answers its id.
    ///
    /// # Errors
    /// [`AccountError`] if something of it is another's or has not the form that it must have.
    pub async fn give_account(&self, given: AccountGiven, by: Actor) -> Result<String, PodError> {
        self.give(given, by, "account.create").await
    }

    /// Makes many accounts; each by itself, so that what is wrong with one stops no other.
    ///
    /// # Errors
    /// [`PodError`] if there is no database of accounts.
    pub async fn import_accounts(
        &self,
        all: Vec<AccountGiven>,
        by: &Actor,
    ) -> Result<Vec<Result<String, PodError>>, PodError> {
        self.users_number()?;
        let (mut called, mut given) = (HashSet::new(), Vec::with_capacity(all.len()));
        let mut results: Vec<Result<String, PodError>> = Vec::with_capacity(all.len());
        let mut later = Vec::new();
        for (at, one) in all.into_iter().enumerate() {
            results.push(Err(PodError::Interrupted));
            // Of two that are called the same the first is to have it: the other one waits.
            let names = [one.name.as_deref(), one.address.as_deref()];
            let names: Vec<String> = names.into_iter().flatten().map(lookalike).collect();
            if names.into_iter().any(|name| !called.insert(name)) {
                later.push((at, one));
                continue;
            }
            let (pod, by) = (self.clone(), by.clone());
            // All are under way at once, so that they share commits.
            let giving = async move { pod.give(one, by, "account.import").await };
            given.push((at, tokio::spawn(giving)));
        }
        for (at, one) in given {
            let given = one.await.unwrap_or(Err(PodError::Interrupted));
            if let Some(result) = results.get_mut(at) {
                *result = given;
            }
        }
        for (at, one) in later {
            let given = self.give(one, by.clone(), "account.import").await;
            if let Some(result) = results.get_mut(at) {
                *result = given;
            }
        }
        Ok(results)
    }

    async fn give(
        &self,
        given: AccountGiven,
        by: Actor,
        action: &'static str,
    ) -> Result<String, PodError> {
        if given.name.is_none() && given.address.is_none() {
            return Err(AccountError::NothingToCallItBy.into());
        }
        check_profile(&given.profile)?;
        check_language(given.language.as_deref())?;
        check_roles(&given.roles)?;
        let ground = self.ground()?;
        let mut address = match &given.address {
            None => None,
            Some(text) => Some(self.new_address(text)?),
        };
        if let Some(address) = &mut address {
            address.verified_ms = given.address_verified.then_some(ground.now_ms);
        }
        let credential = match given.password {
            None => given.credential,
            Some(password) => {
                self.check_new_password(&password)?;
                Some(self.hash_password_slowly(password).await?)
            }
        };
        let new = self.checked(NewAccount {
            name: given.name,
            address,
            credential,
            flags: Flags {
                admin: given.admin,
                ..Flags::default()
            },
            roles: given.roles,
            language: given.language,
            profile: given.profile,
            ..NewAccount::default()
        })?;
        let store = self.inner.store.clone();
        Self::to_the_end(async move {
            let made = store.transact(Self::permit(), move |tx| {
                let record = create_in(tx, &ground, &new)?;
                let mut entry = by.entry(action, &record.id, "", ground.now_ms);
                entry.detail = json!({"admin": record.flags.admin});
                audit::append(tx, &entry)?;
                Ok::<_, Decline<PodError>>(record.id)
            });
            made.await.map_err(PodError::from)
        })
        .await
    }

    /// Changes flags and roles of account `id`. What is taken away is gone at the next request, and
    /// who is blocked has no session any more.
    ///
    /// # Errors
    /// [`AccountError::Missing`]; [`AccountError::Roles`] if roles are none that may be given.
    pub async fn change_account(
        &self,
        id: &str,
        change: AccountChange,
        by: Actor,
    ) -> Result<(), PodError> {
        if let Some(roles) = &change.roles {
            check_roles(roles)?;
        }
        let (ground, pod, id) = (self.ground()?, self.clone(), id.to_owned());
        Self::to_the_end(async move {
            let changed = pod.inner.store.transact(Self::permit(), move |tx| {
                let record = edit_in(tx, ground.users, &id, |tx, record| {
                    let flags = &mut record.flags;
                    flags.admin = change.admin.unwrap_or(flags.admin);
                    let blocks = change.blocked == Some(true) && !flags.blocked;
                    flags.blocked = change.blocked.unwrap_or(flags.blocked);
                    // Who is let in by an administrator need not prove his address.
                    flags.pending &= change.blocked != Some(false);
                    if blocks {
                        record.epoch += 1;
                        sessions::end_all(tx, &record.id, None)?;
                    }
                    Ok(record.clone())
                })?;
                let released = match &change.roles {
                    None => Vec::new(),
                    Some(roles) => set_roles(tx, ground.users, &record.name, roles)?,
                };
                if change.roles.is_some() {
                    directory::rights_change(tx, &id)?;
                }
                let mut entry = by.entry("account.change", &id, "", ground.now_ms);
                entry.detail = json!({
                    "admin": change.admin, "blocked": change.blocked, "roles": change.roles,
                });
                audit::append(tx, &entry)?;
                Ok::<_, Decline<PodError>>(released)
            });
            let released = changed.await.map_err(PodError::from)?;
            pod.release_files(released).await;
            Ok(())
        })
        .await
    }

    /// Erases the account `id`, as its user could himself.
    ///
    /// # Errors
    /// [`AccountError::Missing`]; [`AccountError::LastOwner`].
    pub async fn delete_account(&self, id: &str, by: Actor) -> Result<(), PodError> {
        self.erase_account(id, "account.delete", by).await
    }

    /// Ends all sessions of account `id`, in every face; answers how many there were.
    ///
    /// # Errors
    /// [`AccountError::Missing`].
    pub async fn end_sessions_of(&self, id: &str, by: Actor) -> Result<usize, PodError> {
        let (ground, store, id) = (self.ground()?, self.inner.store.clone(), id.to_owned());
        Self::to_the_end(async move {
            let ended = store.transact(Self::permit(), move |tx| {
                let ended = edit_in(tx, ground.users, &id, |tx, record| {
                    record.epoch += 1;
                    Ok(sessions::end_all(tx, &record.id, None)?)
                })?;
                let entry = by.entry("account.end_sessions", &id, "", ground.now_ms);
                audit::append(tx, &entry)?;
                Ok::<_, Decline<PodError>>(ended)
            });
            ended.await.map_err(PodError::from)
        })
        .await
    }

    /// The plain roles of an account: those that stand in its document.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn plain_roles(&self, name: &str) -> Result<Vec<String>, PodError> {
        let users = adea_base::DatabaseName::parse(crate::sign_in::USERS);
        let users = users.map_err(|_| adea_documents::DatabaseError::Missing)?;
        let entry: Arc<_> = self.database(&users)?;
        let (view, id) = (self.view(), adea_accounts::user_id(name));
        let nobody = adea_base::Caller::anonymous();
        let found = crate::write_user::current_user(view.as_ref(), &entry, &id, &nobody)?;
        // Those that mean nothing in a document are not told of.
        let account = found.and_then(|found| Account::from_document(&found).ok());
        Ok(account.map(|account| account.roles).unwrap_or_default())
    }
}

/// Refuses roles that nobody gives: the server's own, and those that memberships give.
fn check_roles(roles: &[String]) -> Result<(), AccountError> {
    let given_otherwise = ["user:", "app:", "org:", "team:"];
    let fits = |role: &String| {
        !role.is_empty()
            && role.len() <= ROLE_BYTES_MAX
            && (!role.starts_with('_') || role == "_metrics")
            && !given_otherwise.iter().any(|kind| role.starts_with(kind))
            && !role.chars().any(char::is_control)
    };
    if roles.len() <= ROLES_MAX && roles.iter().all(fits) {
        Ok(())
    } else {
        Err(AccountError::Roles)
    }
}

fn set_roles(
    tx: &mut adea_store::Transaction<'_>,
    users: u64,
    name: &str,
    roles: &[String],
) -> Result<Vec<adea_files::Digest>, Decline<PodError>> {
    let ((), released) = with_users(tx, users, |writer| {
        let before = document::read(writer, name)?.ok_or_else(|| refuse(AccountError::Missing))?;
        let mut body = before.body.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.insert("roles".to_owned(), roles.to_vec().into());
        }
        document::write(
            writer,
            name,
            Some(&before),
            before.attachments(),
            Some(&body),
        )?;
        Ok(())
    })?;
    Ok(released)
}

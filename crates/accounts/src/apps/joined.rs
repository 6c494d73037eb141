//! Who has joined which app.

use adea_store::{Decline, Direction, EngineError, Space, Transaction, View};
use serde::{Deserialize, Serialize};

use super::name::AppRoles;
use super::record::{APPS_MAX, App, find};
use crate::directory::{self, rights_change};
use crate::keys;
use crate::stored::{Source, decode, get, put};

/// That an account has joined an app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Joined {
    /// The registration of the app that was joined; under another one this means nothing.
    pub registration: String,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Whether it administers the app.
    pub admin: bool,
}

/// Why an account does not join an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefused {
    /// There is no such app.
    #[error("There is no such app.")]
    Unknown,
    /// It has as many accounts as it may have.
    #[error("The app has as many accounts as it may have.")]
    Full,
}

/// An app that an account has joined.
#[derive(Clone, Debug)]
pub struct JoinedApp {
    /// The app.
    pub app: App,
    /// Since when, and as what.
    pub joined: Joined,
}

/// An account that has joined an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppAccount {
    /// Its id.
    pub id: String,
    /// The name of its `_users` document.
    pub name: String,
}

/// Since when and as what `account` has joined `app`, if it has.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn joined<S: Source + ?Sized>(
    source: &S,
    account: &str,
    app: &App,
) -> Result<Option<Joined>, EngineError> {
    let found: Option<Joined> = get(source, &keys::app_of(account, &app.id), account)?;
    Ok(found.filter(|found| found.registration == app.registration))
}

/// How many accounts have joined the app `id`.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn count<S: Source + ?Sized>(source: &S, id: &str) -> Result<u64, EngineError> {
    Ok(get(source, &keys::app_count(id), id)?.unwrap_or(0))
}

/// Has `account` join the app `app`; no app is joined by everybody. Whether it may is asked by who
/// calls, but for the app's quota. Says whether it had not joined before.
///
/// # Errors
/// [`JoinRefused`], or that the store cannot be read.
pub fn join(
    tx: &mut Transaction<'_>,
    account: &str,
    app: &str,
    now_ms: u64,
) -> Result<bool, Decline<JoinRefused>> {
    if app.is_empty() {
        return Ok(false);
    }
    let app = find(tx, app)?.ok_or(Decline::Refused(JoinRefused::Unknown))?;
    if joined(tx, account, &app)?.is_some() {
        return Ok(false);
    }
    let count = count(tx, &app.id)?;
    if app.quota.accounts.is_some_and(|most| count >= most) {
        return Err(Decline::Refused(JoinRefused::Full));
    }
    let new = Joined {
        registration: app.registration.clone(),
        since_ms: now_ms,
        admin: false,
    };
    put(tx, keys::app_count(&app.id), &(count + 1));
    put_joined(tx, account, &app.id, &new)?;
    Ok(true)
}

/// Makes `account` an administrator of `app`, which it joins if it has not, or no longer one. Says
/// whether something changed.
///
/// # Errors
/// As [`join`].
pub fn appoint(
    tx: &mut Transaction<'_>,
    account: &str,
    app: &App,
    admin: bool,
    now_ms: u64,
) -> Result<bool, Decline<JoinRefused>> {
    if admin {
        join(tx, account, &app.id, now_ms)?;
    }
    match joined(tx, account, app)? {
        Some(before) if before.admin != admin => {
            put_joined(tx, account, &app.id, &Joined { admin, ..before })?;
            Ok(true)
        }
        Some(_) | None => Ok(false),
    }
}

fn put_joined(
    tx: &mut Transaction<'_>,
    account: &str,
    app: &str,
    joined: &Joined,
) -> Result<(), EngineError> {
    put(tx, keys::app_of(account, app), joined);
    put(tx, keys::app_account(app, account), joined);
    rights_change(tx, account)
}

/// Has `account` leave the app `app`. Says whether it had joined it.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn leave(tx: &mut Transaction<'_>, account: &str, app: &str) -> Result<bool, EngineError> {
    let Some(app) = find(tx, app)? else {
        return Ok(false);
    };
    let Some(_) = joined(tx, account, &app)? else {
        return Ok(false);
    };
    let left = count(tx, &app.id)?.saturating_sub(1);
    put(tx, keys::app_count(&app.id), &left);
    tx.delete(Space::Index, keys::app_of(account, &app.id));
    tx.delete(Space::Index, keys::app_account(&app.id, account));
    rights_change(tx, account)?;
    Ok(true)
}

/// Has `account` leave all apps: it is about to be no more.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn leave_everywhere(tx: &mut Transaction<'_>, account: &str) -> Result<(), EngineError> {
    // What is left of apps that are gone counts besides; it cannot be much, since it is swept.
    for (key, _) in tx.range(Space::Index, &keys::apps_of(account), 2 * APPS_MAX)? {
        let Ok(app) = std::str::from_utf8(keys::last_part(&key)) else {
            continue;
        };
        if !leave(tx, account, app)? {
            let by_app = keys::app_account(app, account);
            tx.delete(Space::Index, by_app);
            tx.delete(Space::Index, key);
        }
    }
    Ok(())
}

/// The apps that `account` has joined, in the order of their ids.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn joined_apps(view: &dyn View, account: &str) -> Result<Vec<JoinedApp>, EngineError> {
    let mut found = Vec::new();
    let range = keys::apps_of(account);
    let mut cursor = view.range(Space::Index, range, Direction::Forward)?;
    while let Some((key, value)) = cursor.next()? {
        let joined: Joined = decode(value, account)?;
        let id = std::str::from_utf8(keys::last_part(key)).unwrap_or("");
        // A join of a registration that is no more says nothing.
        if let Some(app) = find(view, id)?
            && app.registration == joined.registration
        {
            found.push(JoinedApp { app, joined });
        }
    }
    Ok(found)
}

/// Adds the roles that `account` holds by the apps that it has joined.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn roles_of(
    view: &dyn View,
    account: &str,
    roles: &mut Vec<String>,
) -> Result<(), EngineError> {
    for JoinedApp { app, joined } in joined_apps(view, account)? {
        let given = AppRoles::of(&app.id);
        roles.push(given.member);
        if joined.admin {
            roles.push(given.admin);
        }
    }
    Ok(())
}

/// Accounts that have joined `app`, in the order of their ids, from behind `after` on.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn accounts(
    view: &dyn View,
    app: &App,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<AppAccount>, EngineError> {
    let mut range = keys::app_accounts(&app.id);
    if let Some(after) = after {
        range.from = [keys::app_account(&app.id, after), vec![0]].concat();
    }
    let mut found = Vec::new();
    let mut cursor = view.range(Space::Index, range, Direction::Forward)?;
    while found.len() < limit
        && let Some((key, value)) = cursor.next()?
    {
        let joined: Joined = decode(value, &app.id)?;
        let id = std::str::from_utf8(keys::last_part(key)).unwrap_or("");
        if joined.registration != app.registration {
            continue;
        }
        if let Some(record) = directory::find(view, id)? {
            found.push(AppAccount {
                id: record.id,
                name: record.name,
            });
        }
    }
    Ok(found)
}

/// Removes joins of registrations of the app `id` that are no more, at most `limit` of those looked
/// at, and wakes the feeds of who had joined. Says behind whom to go on, if there may be more.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn forget_accounts(
    tx: &mut Transaction<'_>,
    id: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Option<String>, EngineError> {
    let mut range = keys::app_accounts(id);
    if let Some(after) = after {
        range.from = [keys::app_account(id, after), vec![0]].concat();
    }
    let registration = find(tx, id)?.map(|app| app.registration);
    let rows = tx.range(Space::Index, &range, limit)?;
    let mut last = None;
    let full = rows.len() == limit;
    for (key, value) in rows {
        let account = String::from_utf8_lossy(keys::last_part(&key)).into_owned();
        let joined: Joined = decode(&value, id)?;
        if Some(joined.registration) != registration {
            tx.delete(Space::Index, keys::app_of(&account, id));
            tx.delete(Space::Index, key);
            rights_change(tx, &account)?;
        }
        last = Some(account);
    }
    Ok(last.filter(|_| full))
}

//! Sessions that this server keeps: one kind, behind three faces.
//!
//! A session is a record under its id. Whatever a client proves it with (an access token, a cookie,
//! a temporary name and password) names that id and is worth nothing without the record; so ending
//! a session is removing the record, at once and for every face. What a credential must look like is
//! in `seals.rs` (cookies, refresh tokens, tokens against other sites) and `signing.rs` (access
//! tokens); what is stored is in `record.rs`.
//!
//! Invariants: a record and its entry in the list of its account are there together; a session ends
//! in the commit that removes it, and that commit wakes the feeds of its account; an account has at
//! most [`SESSIONS_MAX`] of them; nothing that is stored is a secret that a client could use.

mod record;
mod seals;
pub mod signing;

pub use record::{Face, SessionRecord};
pub use seals::{PresentedCookie, RefreshToken, Seals, new_password};
pub use signing::{InvalidAccessToken, SignedClaims, SigningKey, SigningKeys};

use adea_store::{Direction, EngineError, KeyRange, Space, Transaction, View};

use crate::directory::topic_of;
use crate::keys;
use crate::stored::Source;

/// The most sessions of one account; the one that was used longest ago makes room for a new one.
pub const SESSIONS_MAX: usize = 100;

/// For how long after a refresh token was used it is answered as it was the first time: two tabs of
/// a browser, or a client whose answer was lost, ask with the same one.
pub const REFRESH_GRACE_MS: u64 = 10_000;

/// By how much the clock of another server of this installation may differ, in seconds.
pub const LEEWAY_S: u64 = 60;

/// What stands in the place of an account's id for an administrator of the configuration.
pub const ADMIN_PREFIX: &str = "admin:";

/// What the temporary name of a session in the face `Basic` begins with; the rest is its id.
pub const BASIC_PREFIX: &str = "~";

/// What became of a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// It was the one that was due: the session goes on, and the next one is this.
    Next {
        /// The session as it is now.
        record: SessionRecord,
        /// The token for the next time.
        token: String,
    },
    /// It was used before, and long ago: somebody else has it. The session was ended.
    Replayed(SessionRecord),
    /// It is of no session that goes on.
    Refused,
}

/// The id of the session that a temporary name belongs to, if it is one.
#[must_use]
pub fn of_basic_name(name: &str) -> Option<&str> {
    name.strip_prefix(BASIC_PREFIX).filter(|id| keys::is_id(id))
}

/// The session with this id, whether it is over or not.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn find<S: Source + ?Sized>(
    source: &S,
    id: &str,
) -> Result<Option<SessionRecord>, EngineError> {
    if !keys::is_id(id) {
        return Ok(None);
    }
    let Some(stored) = source.entry(&keys::session(id))? else {
        return Ok(None);
    };
    SessionRecord::decode(id, &stored).map(Some)
}

/// Stores a new session. If its account has too many, the one that was used longest ago ends.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn begin(tx: &mut Transaction<'_>, record: &SessionRecord) -> Result<(), EngineError> {
    let ids = ids_of_within(tx, &record.account)?;
    if ids.len() >= SESSIONS_MAX {
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            let used_ms = find(tx, &id)?.map_or(0, |found| found.used_ms);
            all.push((used_ms, id));
        }
        all.sort_unstable();
        let surplus = all.len() + 1 - SESSIONS_MAX;
        for (_, id) in all.into_iter().take(surplus) {
            remove(tx, &record.account, &id);
        }
    }
    put(tx, record);
    let index = keys::session_of(&record.account, &record.id);
    tx.put(Space::Index, index, Vec::new());
    Ok(())
}

/// Notes that a session was used at `now_ms`, if it is still there.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn renew(tx: &mut Transaction<'_>, id: &str, now_ms: u64) -> Result<(), EngineError> {
    if let Some(mut record) = find(tx, id)? {
        record.used_ms = record.used_ms.max(now_ms);
        put(tx, &record);
    }
    Ok(())
}

/// Ends a session; what it was, if it was there.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn end(tx: &mut Transaction<'_>, id: &str) -> Result<Option<SessionRecord>, EngineError> {
    let found = find(tx, id)?;
    if let Some(record) = &found {
        remove(tx, &record.account, id);
    }
    Ok(found)
}

/// Ends all sessions of an account but `except`; how many there were.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn end_all(
    tx: &mut Transaction<'_>,
    account: &str,
    except: Option<&str>,
) -> Result<usize, EngineError> {
    let mut ended = 0;
    for id in ids_of_within(tx, account)? {
        if Some(id.as_str()) != except {
            remove(tx, account, &id);
            ended += 1;
        }
    }
    Ok(ended)
}

/// Ends all sessions of an account whose epoch is raised to `epoch`, but `kept`, which goes on in that
/// epoch; how many ended.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn end_others(
    tx: &mut Transaction<'_>,
    account: &str,
    kept: Option<&str>,
    epoch: u64,
) -> Result<usize, EngineError> {
    let ended = end_all(tx, account, kept)?;
    let kept = match kept {
        Some(id) => find(tx, id)?,
        None => None,
    };
    // What ended with an earlier epoch is not brought back.
    let goes_on =
        |kept: &SessionRecord| kept.account == account && kept.epoch.checked_add(1) == Some(epoch);
    if let Some(mut kept) = kept.filter(goes_on) {
        kept.epoch = epoch;
        put(tx, &kept);
    }
    Ok(ended)
}

/// Takes a refresh token, whose seal fits, at `now_ms`: it is good once. What is used again within
/// [`REFRESH_GRACE_MS`] is answered with the same next token; later, the session ends.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn refresh(
    tx: &mut Transaction<'_>,
    seals: &Seals,
    presented: &RefreshToken,
    now_ms: u64,
    idle_ms: u64,
) -> Result<Refreshed, EngineError> {
    let Some(mut record) = find(tx, &presented.session)? else {
        return Ok(Refreshed::Refused);
    };
    if record.face != Face::Bearer || record.is_over(now_ms, idle_ms) {
        return Ok(Refreshed::Refused);
    }
    let next = seals.next_refresh_token(presented);
    if presented.generation == record.generation && presented.hash == record.secret {
        record.generation += 1;
        record.secret = Seals::hash(&next);
        record.rotated_ms = now_ms;
        record.used_ms = record.used_ms.max(now_ms);
        put(tx, &record);
        return Ok(Refreshed::Next {
            record,
            token: next,
        });
    }
    let just_now = now_ms.saturating_sub(record.rotated_ms) < REFRESH_GRACE_MS;
    let last = presented.generation.checked_add(1) == Some(record.generation);
    if just_now && last && Seals::hash(&next) == record.secret {
        return Ok(Refreshed::Next {
            record,
            token: next,
        });
    }
    remove(tx, &record.account, &record.id);
    Ok(Refreshed::Replayed(record))
}

/// The sessions of an account behind the one with the id `after`, at most `limit`, in the order of
/// their ids.
///
/// # Errors
/// [`EngineError`] if they cannot be read.
pub fn list(
    view: &dyn View,
    account: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<SessionRecord>, EngineError> {
    let mut range = keys::sessions_of(account);
    if let Some(after) = after {
        range.from = [keys::session_of(account, after).as_slice(), &[0]].concat();
    }
    let mut found = Vec::new();
    let mut rows = view.range(Space::Index, range, Direction::Forward)?;
    while found.len() < limit
        && let Some((key, _)) = rows.next()?
    {
        let id = String::from_utf8_lossy(keys::last_part(key)).into_owned();
        found.extend(find(view, &id)?);
    }
    Ok(found)
}

/// Whether `account` has a session that is not over.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn any(
    tx: &Transaction<'_>,
    account: &str,
    now_ms: u64,
    idle_ms: u64,
) -> Result<bool, EngineError> {
    for id in ids_of_within(tx, account)? {
        if find(tx, &id)?.is_some_and(|session| !session.is_over(now_ms, idle_ms)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes those that are over, at most `limit` of those looked at; what is behind the last one
/// looked at is for the next call.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn sweep(
    tx: &mut Transaction<'_>,
    after: Option<&[u8]>,
    now_ms: u64,
    idle_ms: u64,
    limit: usize,
) -> Result<Option<Vec<u8>>, EngineError> {
    let mut range = keys::sessions();
    if let Some(after) = after {
        range.from = [after, &[0]].concat();
    }
    let rows = tx.range(Space::Index, &range, limit)?;
    let last = rows.last().map(|(key, _)| key.clone());
    let full = rows.len() == limit;
    for (key, value) in rows {
        let id = String::from_utf8_lossy(keys::only_part(&key)).into_owned();
        match SessionRecord::decode(&id, &value) {
            Ok(record) if record.is_over(now_ms, idle_ms) => remove(tx, &record.account, &id),
            Ok(_) => {}
            // Nobody can prove a session that cannot be read.
            Err(_) => tx.delete(Space::Index, key),
        }
    }
    Ok(last.filter(|_| full))
}

/// The ids of an account's sessions, as the transaction sees them.
fn ids_of_within(tx: &Transaction<'_>, account: &str) -> Result<Vec<String>, EngineError> {
    let range: KeyRange = keys::sessions_of(account);
    let rows = tx.range(Space::Index, &range, 2 * SESSIONS_MAX)?;
    let ids = rows
        .iter()
        .map(|(key, _)| String::from_utf8_lossy(keys::last_part(key)).into_owned());
    Ok(ids.collect())
}

fn put(tx: &mut Transaction<'_>, record: &SessionRecord) {
    tx.put(Space::Index, keys::session(&record.id), record.encode());
}

fn remove(tx: &mut Transaction<'_>, account: &str, id: &str) {
    tx.delete(Space::Index, keys::session(id));
    tx.delete(Space::Index, keys::session_of(account, id));
    tx.touch(topic_of(id));
    tx.touch(topic_of(account));
}

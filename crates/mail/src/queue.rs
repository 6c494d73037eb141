//! The queue of mail that is to be sent: an entry is made in the commit that causes it, so that a
//! mail is sent exactly if what it tells has happened.
//!
//! An entry stands under its id; beside it stands when it is due, or when it was given up. It goes
//! when a server has taken the mail. A server that takes a mail while this one ends before it has
//! written that down gets it again, with the same Message-ID.
//!
//! Invariant: each entry has exactly one of the two marks, and each mark has its entry.

use std::time::Duration;

use adea_base::Entropy;
use adea_store::{Direction, EngineError, KeyRange, Space, Transaction, View};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::keys;
use crate::kind::Kind;
use crate::rate;
use crate::stored::{decode, encode};

/// The store's topic for a change of the queue. Databases have small numbers, and accounts none of
/// the last ones.
pub const QUEUE_TOPIC: u64 = u64::MAX - 16;

/// The first pause after a failure; it doubles with each further one.
const PAUSE_MIN_MS: u64 = 60_000;
/// The longest pause.
const PAUSE_MAX_MS: u64 = 6 * 3_600_000;
/// How long a mail is tried.
const TRIED_MAX: Duration = Duration::from_secs(3 * 86_400);
/// Mails that were given up and are kept to be looked at.
const FAILED_MAX: usize = 1_000;
/// The longest text of an error that is kept, in characters.
const ERROR_CHARS_MAX: usize = 300;

/// A mail that is to be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outgoing {
    /// What it is about.
    pub kind: Kind,
    /// The address that it goes to.
    pub to: String,
    /// The language it is written in, as a BCP 47 tag; the server's own if empty.
    pub language: String,
    /// The app whose words are used; empty for none.
    pub app: String,
    /// What the template fills in, besides `to`, `app` and `server`.
    pub data: Value,
}

/// A mail in the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queued {
    /// What tells it from all others.
    pub id: String,
    /// The mail.
    pub mail: Outgoing,
    /// When it was queued, in milliseconds since the Unix epoch, as the other times.
    pub queued_ms: u64,
    /// When it is to be tried next.
    pub due_ms: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last try failed.
    #[serde(default)]
    pub error: Option<String>,
    /// When it was given up, if it was.
    #[serde(default)]
    pub failed_ms: Option<u64>,
    /// Since when it is tried, if not since it was queued.
    #[serde(default)]
    pub tried_since_ms: Option<u64>,
}

impl Queued {
    fn mark(&self) -> Vec<u8> {
        match self.failed_ms {
            None => keys::due(self.due_ms, &self.id),
            Some(failed_ms) => keys::failed(failed_ms, &self.id),
        }
    }
}

/// Queues `mail`, to be sent from `now_ms` on; see [`rate`](crate::rate) for when it is dropped.
pub fn enqueue(tx: &mut Transaction<'_>, entropy: &Entropy, now_ms: u64, mail: &Outgoing) {
    if !rate::count(tx, mail.kind, &mail.to, now_ms) {
        let kind = mail.kind.name();
        tracing::warn!(
            kind,
            app = mail.app,
            "a mail ({kind}) was dropped: its address had its {} of this hour",
            rate::PER_HOUR
        );
        return;
    }
    let queued = Queued {
        id: entropy.hex_id(),
        mail: mail.clone(),
        queued_ms: now_ms,
        due_ms: now_ms,
        attempts: 0,
        error: None,
        failed_ms: None,
        tried_since_ms: None,
    };
    put(tx, &queued);
}

fn put(tx: &mut Transaction<'_>, queued: &Queued) {
    tx.put(Space::Index, keys::entry(&queued.id), encode(queued));
    tx.put(Space::Index, queued.mark(), Vec::new());
    tx.touch(QUEUE_TOPIC);
}

fn take(tx: &mut Transaction<'_>, id: &str) -> Result<Option<Queued>, EngineError> {
    let Some(bytes) = tx.get(Space::Index, &keys::entry(id))? else {
        return Ok(None);
    };
    let queued: Queued = decode(&bytes, "a queued mail")?;
    tx.delete(Space::Index, keys::entry(id));
    tx.delete(Space::Index, queued.mark());
    Ok(Some(queued))
}

/// Takes a mail out of the queue; whether it was there.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn remove(tx: &mut Transaction<'_>, id: &str) -> Result<bool, EngineError> {
    Ok(take(tx, id)?.is_some())
}

/// Makes a mail due now; the time of one that was given up begins anew. Whether it was there.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn retry(tx: &mut Transaction<'_>, id: &str, now_ms: u64) -> Result<bool, EngineError> {
    let Some(mut queued) = take(tx, id)? else {
        return Ok(false);
    };
    if queued.failed_ms.take().is_some() {
        queued.attempts = 0;
        queued.tried_since_ms = Some(now_ms);
    }
    queued.due_ms = now_ms;
    put(tx, &queued);
    Ok(true)
}

/// What becomes of a mail that could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is tried again at this time.
    Later(u64),
    /// It was given up.
    GivenUp,
    /// It is not in the queue any more.
    Gone,
}

/// Notes that a mail could not be sent: it is tried again later, unless there is no hope
/// (`permanent`) or it was tried for long enough.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn failed(
    tx: &mut Transaction<'_>,
    entropy: &Entropy,
    id: &str,
    error: &str,
    permanent: bool,
    now_ms: u64,
) -> Result<Fate, EngineError> {
    let Some(mut queued) = take(tx, id)? else {
        return Ok(Fate::Gone);
    };
    let plain = error.chars().map(|c| if c.is_control() { ' ' } else { c });
    queued.error = Some(plain.take(ERROR_CHARS_MAX).collect());
    queued.attempts = queued.attempts.saturating_add(1);
    let pause_ms = pause_ms(queued.attempts, u16::from_le_bytes(entropy.bytes()));
    let since_ms = queued.tried_since_ms.unwrap_or(queued.queued_ms);
    let tried = now_ms.saturating_add(pause_ms).saturating_sub(since_ms);
    let fate = if permanent || Duration::from_millis(tried) > TRIED_MAX {
        queued.failed_ms = Some(now_ms);
        Fate::GivenUp
    } else {
        queued.due_ms = now_ms.saturating_add(pause_ms);
        Fate::Later(queued.due_ms)
    };
    put(tx, &queued);
    if fate == Fate::GivenUp {
        forget_old_failures(tx)?;
    }
    Ok(fate)
}

fn forget_old_failures(tx: &mut Transaction<'_>) -> Result<(), EngineError> {
    let marks = tx.range(Space::Index, &keys::all_failed(), 2 * FAILED_MAX)?;
    let superfluous = marks.len().saturating_sub(FAILED_MAX);
    for (key, _) in marks.into_iter().take(superfluous) {
        if let Some((_, id)) = keys::parse_timed(&key) {
            take(tx, id)?;
        }
    }
    Ok(())
}

/// How long to wait after `attempts` failures, a fifth more or less by `chance`, so that mails that
/// failed together do not come together again.
fn pause_ms(attempts: u32, chance: u16) -> u64 {
    let doublings = attempts.saturating_sub(1).min(16);
    let pause = (PAUSE_MIN_MS << doublings).min(PAUSE_MAX_MS);
    let fifth = pause / 5;
    pause - fifth + 2 * fifth * u64::from(chance) / u64::from(u16::MAX)
}

/// A mail of the queue.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn find(view: &dyn View, id: &str) -> Result<Option<Queued>, EngineError> {
    if id.len() != keys::ID_BYTES {
        return Ok(None);
    }
    let found = view.get(Space::Index, &keys::entry(id))?;
    found
        .map(|bytes| decode(&bytes, "a queued mail"))
        .transpose()
}

/// Ids of at most `limit` mails that are due, oldest first, and when the next one behind them is.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn due(
    view: &dyn View,
    now_ms: u64,
    limit: usize,
) -> Result<(Vec<String>, Option<u64>), EngineError> {
    let mut cursor = view.range(Space::Index, keys::dues(), Direction::Forward)?;
    let mut due = Vec::new();
    while let Some((key, _)) = cursor.next()? {
        let Some((due_ms, id)) = keys::parse_timed(key) else {
            continue;
        };
        if due_ms > now_ms || due.len() == limit {
            return Ok((due, Some(due_ms)));
        }
        // A mark without its mail, which there should not be, must not keep anybody busy.
        if view.get(Space::Index, &keys::entry(id))?.is_some() {
            due.push(id.to_owned());
        }
    }
    Ok((due, None))
}

/// Which mails of the queue a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Those that wait, the next one first.
    Waiting,
    /// Those that were given up, the oldest first.
    Failed,
}

/// At most `limit` mails of the queue, those behind the key `after`, and the key of the last one if
/// there are more.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn list(
    view: &dyn View,
    listed: Listed,
    after: Option<(u64, &str)>,
    limit: usize,
) -> Result<(Vec<Queued>, bool), EngineError> {
    let all = match listed {
        Listed::Waiting => keys::dues(),
        Listed::Failed => keys::all_failed(),
    };
    let behind = |(time, id)| match listed {
        Listed::Waiting => [keys::due(time, id), vec![0]].concat(),
        Listed::Failed => [keys::failed(time, id), vec![0]].concat(),
    };
    let from = after.map_or(all.from, behind);
    let range = KeyRange { from, to: all.to };
    let mut cursor = view.range(Space::Index, range, Direction::Forward)?;
    let mut found = Vec::new();
    while let Some((key, _)) = cursor.next()? {
        if found.len() == limit {
            return Ok((found, true));
        }
        let id = keys::parse_timed(key).map(|(_, id)| id.to_owned());
        if let Some(id) = id
            && let Some(queued) = find(view, &id)?
        {
            found.push(queued);
        }
    }
    Ok((found, false))
}

/// Forgets counts of mails to an address that are of no more use.
pub fn sweep(tx: &mut Transaction<'_>, now_ms: u64) {
    rate::sweep(tx, now_ms);
}

#[cfg(test)]
mod tests;

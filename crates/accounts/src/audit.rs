//! The audit log: who did what to whom, when and from where.
//!
//! An entry is written in the commit of what it tells, so there is none without the other. Entries
//! are only ever added, and removed when they are older than they are kept. They lie in the order of
//! their times; those that name an account, a team or the like are also found by its id.
//!
//! Invariant: what looks through the log, forgets names in it or removes what is old takes a bounded
//! number of entries at a time.

use adea_store::{Direction, EngineError, Space, Transaction, View};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::keys::{self, PLACE};
use crate::stored::{decode, encode};

/// Entries that one look takes at the most, whether they are what is looked for or not.
const LOOKED_MAX: usize = 5_000;
/// Entries that one transaction changes or removes.
pub const BATCH: usize = 256;

/// An entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditEntry {
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What, as `area.verb`: `session.begin`, `membership.grant`.
    pub action: String,
    /// The id of the account that did it; empty if none did.
    pub account: String,
    /// The name that he had then.
    pub name: String,
    /// The id of the account, organisation, team or app that it was done to; empty if to none.
    pub target: String,
    /// From where: the address of the request; empty if it was the server itself.
    pub address: String,
    /// The app that it happened in; empty for none.
    pub app: String,
    /// Whatever else there is to say; never a secret.
    pub detail: Value,
}

/// Where an entry lies in the log.
pub type Place = [u8; PLACE];

/// Adds `entry` to the log.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn append(tx: &mut Transaction<'_>, entry: &AuditEntry) -> Result<(), EngineError> {
    let mut tail = tx.sequence() << 16;
    let mut key = keys::audit(entry.time_ms, tail);
    while tx.get(Space::Index, &key)?.is_some() {
        tail = tail.wrapping_add(1);
        key = keys::audit(entry.time_ms, tail);
    }
    if let Some(place) = keys::audit_place(&key) {
        for party in parties(entry) {
            tx.put(Space::Index, keys::audit_of(party, &place), Vec::new());
        }
    }
    tx.put(Space::Index, key, encode(entry));
    Ok(())
}

/// By whose ids an entry is found.
fn parties(entry: &AuditEntry) -> impl Iterator<Item = &str> {
    let target = Some(&entry.target).filter(|target| **target != entry.account);
    let both = std::iter::once(&entry.account).chain(target);
    both.map(String::as_str)
        .filter(|party| !party.is_empty() && !party.contains('\0'))
}

/// Which entries are looked for; what is `None` may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Who did it.
    pub account: Option<String>,
    /// To whom or what it was done.
    pub target: Option<String>,
    /// Who did it or was it done to.
    pub about: Option<String>,
    /// What the action begins with.
    pub action: Option<String>,
    /// The app that it happened in.
    pub app: Option<String>,
    /// From when on, in milliseconds since the Unix epoch.
    pub from_ms: Option<u64>,
    /// Until before when.
    pub to_ms: Option<u64>,
    /// Whether the oldest come first; else the newest.
    pub oldest_first: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditPage {
    /// The entries; perhaps fewer than were asked for although there are more.
    pub entries: Vec<AuditEntry>,
    /// Where to go on, unless that was the end.
    pub next: Option<Place>,
}

impl AuditFilter {
    fn fits(&self, entry: &AuditEntry) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        is(&self.account, &entry.account)
            && is(&self.target, &entry.target)
            && is(&self.app, &entry.app)
            && (is(&self.about, &entry.account) || is(&self.about, &entry.target))
            && self
                .action
                .as_deref()
                .is_none_or(|begin| entry.action.starts_with(begin))
    }

    /// By whose id what is looked for can be found.
    fn party(&self) -> Option<&str> {
        let given = [&self.about, &self.account, &self.target];
        let given = given.into_iter().find_map(Option::as_deref);
        given.filter(|party| !party.is_empty())
    }

    fn bounds(&self, after: Option<&Place>) -> (Place, Place) {
        let at = |ms: u64| {
            let key = keys::audit(ms, 0);
            keys::audit_place(&key).unwrap_or_default()
        };
        let mut from = at(self.from_ms.unwrap_or(0));
        let mut to = self.to_ms.map_or([0xff; PLACE], at);
        match after {
            // A place is 128 bits in order: the next one is one more.
            Some(after) if self.oldest_first => {
                let next = u128::from_be_bytes(*after).saturating_add(1);
                from = from.max(next.to_be_bytes());
            }
            Some(after) => to = to.min(*after),
            None => {}
        }
        (from, to)
    }
}

/// Looks for entries, `limit` at the most, behind the place `after` if it is given.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn find(
    view: &dyn View,
    filter: &AuditFilter,
    after: Option<&Place>,
    limit: usize,
) -> Result<AuditPage, EngineError> {
    let (from, to) = filter.bounds(after);
    let mut page = AuditPage::default();
    if from >= to {
        return Ok(page);
    }
    let party = filter.party();
    let direction = match filter.oldest_first {
        true => Direction::Forward,
        false => Direction::Reverse,
    };
    let range = keys::audit_between(party, &from, &to);
    let mut cursor = view.range(Space::Index, range, direction)?;
    let mut looked = 0;
    let mut last = None;
    while let Some((key, value)) = cursor.next()? {
        if looked == LOOKED_MAX || page.entries.len() == limit {
            page.next = last;
            break;
        }
        looked += 1;
        let Some(place) = keys::audit_place(key) else {
            continue;
        };
        last = Some(place);
        let entry = match party {
            None => Some(decode(value, "an entry of the audit log")?),
            Some(_) => at(view, &place)?,
        };
        page.entries
            .extend(entry.filter(|entry| filter.fits(entry)));
    }
    Ok(page)
}

fn at(view: &dyn View, place: &Place) -> Result<Option<AuditEntry>, EngineError> {
    let stored = view.get(Space::Index, &keys::audit_at(place))?;
    let entry = stored.map(|bytes| decode(&bytes, "an entry of the audit log"));
    entry.transpose()
}

/// Makes entries about an account that is gone tell nothing of who had it: names, addresses and
/// details go, its id stays. Takes [`BATCH`] of them behind `after`, and answers where to go on.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn forget_name(
    tx: &mut Transaction<'_>,
    account: &str,
    after: Option<&Place>,
) -> Result<Option<Place>, EngineError> {
    let filter = AuditFilter {
        oldest_first: true,
        ..AuditFilter::default()
    };
    let (from, to) = filter.bounds(after);
    let range = keys::audit_between(Some(account), &from, &to);
    let found = tx.range(Space::Index, &range, BATCH)?;
    let mut last = None;
    for (key, _) in &found {
        let Some(place) = keys::audit_place(key) else {
            continue;
        };
        last = Some(place);
        let key = keys::audit_at(&place);
        let Some(stored) = tx.get(Space::Index, &key)? else {
            continue;
        };
        let mut entry: AuditEntry = decode(&stored, "an entry of the audit log")?;
        if entry.account == account {
            entry.name.clear();
            entry.address.clear();
        }
        // Nobody had signed in: who signs up, verifies, recovers or resets is the person himself.
        if entry.account.is_empty() && entry.target == account {
            entry.address.clear();
        }
        entry.detail = Value::Null;
        tx.put(Space::Index, key, encode(&entry));
    }
    Ok(last.filter(|_| found.len() == BATCH))
}

/// Removes entries from before `before_ms`, [`BATCH`] at the most; answers how many those were.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn remove_older(tx: &mut Transaction<'_>, before_ms: u64) -> Result<usize, EngineError> {
    let filter = AuditFilter {
        to_ms: Some(before_ms),
        ..AuditFilter::default()
    };
    let (from, to) = filter.bounds(None);
    let range = keys::audit_between(None, &from, &to);
    let found = tx.range(Space::Index, &range, BATCH)?;
    for (key, value) in &found {
        // What cannot be read any more is old as well.
        let entry: AuditEntry = decode(value, "an entry of the audit log").unwrap_or_default();
        if let Some(place) = keys::audit_place(key) {
            for party in parties(&entry) {
                tx.delete(Space::Index, keys::audit_of(party, &place));
            }
        }
        tx.delete(Space::Index, key.clone());
    }
    Ok(found.len())
}

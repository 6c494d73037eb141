//! What is left of an organisation, a team, an account or an app that is gone: memberships,
//! invitations and joins, which are removed a bounded number at a time.
//!
//! A key says that something is closing, from the commit that deletes it until nothing leads to it
//! any more. While it stands, no membership of a closing group makes a role; and a server that stops
//! in between goes on where it was, since what is left can be seen.

use adea_store::{EngineError, KeyRange, Space, Transaction, View};
use serde::{Deserialize, Serialize};

use super::invitation;
use super::record::{Invitation, Organisation};
use crate::apps::forget_accounts;
use crate::directory::rights_change;
use crate::keys;
use crate::stored::{decode, get, put};

/// How many memberships and invitations are removed in one commit.
const BATCH: usize = 200;

/// What is closing, and how far its removal is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Closing {
    /// An organisation.
    Organisation,
    /// A team.
    Team,
    /// An account: what it sent, and then what was answered at its addresses.
    Account {
        /// Addresses that are still to be looked at, in their normal form.
        addresses: Vec<String>,
        /// The invitation to the last of them that was looked at last.
        after: Option<String>,
    },
    /// Registrations of an app.
    App {
        /// Its id.
        id: String,
        /// The account that was looked at last.
        after: Option<String>,
    },
}

/// Whether all is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleared {
    /// Nothing leads to the group any more.
    All,
    /// There is more to remove.
    Some,
}

/// From now on `group` is closing.
pub(crate) fn begin(tx: &mut Transaction<'_>, group: &str, what: &Closing) {
    put(tx, keys::closing(group), what);
}

/// From now on joins of registrations of the app `id` that are no more are closing.
pub(crate) fn begin_app(tx: &mut Transaction<'_>, id: &str) {
    let what = Closing::App {
        id: id.to_owned(),
        after: None,
    };
    // No id of a group has such a character.
    begin(tx, &format!("app:{id}"), &what);
}

/// Something that is gone, of which something is left, if there is any.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn next_closing(view: &dyn View) -> Result<Option<String>, EngineError> {
    let range = keys::closings();
    let kind = range.from.len();
    let mut cursor = view.range(Space::Index, range, adea_store::Direction::Forward)?;
    let first = cursor.next()?;
    let group = first.and_then(|(key, _)| key.get(kind..));
    Ok(group.map(|group| String::from_utf8_lossy(group).into_owned()))
}

/// Removes some of what is left of `group`.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn clear(tx: &mut Transaction<'_>, group: &str) -> Result<Cleared, EngineError> {
    let Some(stored) = tx.get(Space::Index, &keys::closing(group))? else {
        return Ok(Cleared::All);
    };
    // A byte is what was stored when there were but two kinds.
    let what = match stored.as_slice() {
        [1] => Closing::Organisation,
        [2] => Closing::Team,
        json => decode(json, group)?,
    };
    let mut room = BATCH;
    let done = match what {
        Closing::Organisation => clear_organisation(tx, group)?,
        Closing::Team => clear_group(tx, group, &mut room)?,
        Closing::Account { addresses, after } => clear_account(tx, group, addresses, after)?,
        Closing::App { id, after } => {
            let after = forget_accounts(tx, &id, after.as_deref(), BATCH)?;
            let more = after.is_some();
            if more {
                begin(tx, group, &Closing::App { id, after });
            }
            !more
        }
    };
    if !done {
        return Ok(Cleared::Some);
    }
    tx.delete(Space::Index, keys::closing(group));
    Ok(Cleared::All)
}

/// Removes some of what is left of an organisation; answers whether nothing is left.
fn clear_organisation(tx: &mut Transaction<'_>, group: &str) -> Result<bool, EngineError> {
    let mut room = BATCH;
    for (key, team) in tx.range(Space::Index, &keys::teams_of(group), BATCH)? {
        let team = String::from_utf8_lossy(&team).into_owned();
        if !clear_group(tx, &team, &mut room)? {
            return Ok(false);
        }
        tx.delete(Space::Index, keys::team(&team));
        tx.delete(Space::Index, key);
        room = room.saturating_sub(1);
    }
    let more = !tx
        .range(Space::Index, &keys::teams_of(group), 1)?
        .is_empty();
    if more {
        return Ok(false);
    }
    clear_group(tx, group, &mut room)
}

/// Removes some of what an account sent that is gone, and of what was answered at its addresses;
/// answers whether nothing is left.
fn clear_account(
    tx: &mut Transaction<'_>,
    account: &str,
    mut addresses: Vec<String>,
    mut after: Option<String>,
) -> Result<bool, EngineError> {
    let mut room = BATCH;
    for id in some(tx, &keys::invitations_of(account), &mut room)? {
        clear_invitation(tx, account, &id)?;
    }
    while room > 0
        && let Some(address) = addresses.last()
    {
        let mut range = keys::invitations_to(address);
        if let Some(after) = &after {
            range.from = [keys::invited(address, after), vec![0]].concat();
        }
        let looked = some(tx, &range, &mut room)?;
        for id in &looked {
            let found: Option<Invitation> = get(tx, &keys::invitation(id), id)?;
            // One that is open belongs to whoever sent it, and is told to nobody but him.
            if found.is_some_and(|found| found.outcome.is_some()) {
                clear_invitation(tx, account, id)?;
            }
        }
        if room > 0 {
            addresses.pop();
            after = None;
        } else {
            after = looked.last().cloned();
        }
    }
    if room > 0 {
        return Ok(true);
    }
    begin(tx, account, &Closing::Account { addresses, after });
    Ok(false)
}

/// Removes memberships of `group` and then invitations to it, as many as there is `room` for;
/// answers whether none is left.
fn clear_group(
    tx: &mut Transaction<'_>,
    group: &str,
    room: &mut usize,
) -> Result<bool, EngineError> {
    for account in some(tx, &keys::memberships(group), room)? {
        tx.delete(Space::Index, keys::membership(group, &account));
        tx.delete(Space::Index, keys::membership_of(&account, group));
        rights_change(tx, &account)?;
    }
    for id in some(tx, &keys::invitations_of(group), room)? {
        clear_invitation(tx, group, &id)?;
    }
    let memberships = tx.range(Space::Index, &keys::memberships(group), 1)?;
    let invitations = tx.range(Space::Index, &keys::invitations_of(group), 1)?;
    Ok(memberships.is_empty() && invitations.is_empty())
}

fn clear_invitation(tx: &mut Transaction<'_>, group: &str, id: &str) -> Result<(), EngineError> {
    tx.delete(Space::Index, keys::invitation_of(group, id));
    let Some(found) = get::<Invitation, _>(tx, &keys::invitation(id), id)? else {
        return Ok(());
    };
    // An organisation that is still there counts those that are open.
    let key = keys::organisation(&found.organisation);
    let mut organisation: Option<Organisation> = get(tx, &key, &found.organisation)?;
    invitation::remove(tx, organisation.as_mut(), &found)
}

/// The last parts of at most `room` keys of `range`.
fn some(
    tx: &Transaction<'_>,
    range: &KeyRange,
    room: &mut usize,
) -> Result<Vec<String>, EngineError> {
    let rows = tx.range(Space::Index, range, *room)?;
    *room -= rows.len().min(*room);
    let parts = rows.iter().map(|(key, _)| keys::last_part(key));
    Ok(parts
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect())
}

/// Whether any group is closing: if none is, nobody needs to ask about one.
pub(super) fn any(view: &dyn View) -> Result<bool, EngineError> {
    Ok(next_closing(view)?.is_some())
}

/// Whether `group` is closing.
pub(super) fn is(view: &dyn View, group: &str) -> Result<bool, EngineError> {
    Ok(view.get(Space::Index, &keys::closing(group))?.is_some())
}

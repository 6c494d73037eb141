//! What is left of an organisation or a team that is gone: memberships and invitations, which are
//! removed a bounded number at a time.
//!
//! A key says that a group is closing, from the commit that deletes it until nothing leads to it
//! any more. While it stands, no membership of the group makes a role; and a server that stops in
//! between goes on where it was, since what is left can be seen.

use adea_store::{EngineError, KeyRange, Space, Transaction, View};

use super::invitation;
use super::record::{Invitation, Organisation};
use crate::directory::rights_change;
use crate::keys;
use crate::stored::get;

/// How many memberships and invitations are removed in one commit.
const BATCH: usize = 200;

/// What a key of a closing group holds: which kind it was.
pub(super) const ORGANISATION: u8 = 1;
/// As [`ORGANISATION`].
pub(super) const TEAM: u8 = 2;

/// Whether all is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleared {
    /// Nothing leads to the group any more.
    All,
    /// There is more to remove.
    Some,
}

/// From now on `group` is closing.
pub(super) fn begin(tx: &mut Transaction<'_>, group: &str, kind: u8) {
    tx.put(Space::Index, keys::closing(group), vec![kind]);
}

/// A group of which something is left, if there is any.
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
    let Some(kind) = tx.get(Space::Index, &keys::closing(group))? else {
        return Ok(Cleared::All);
    };
    let mut room = BATCH;
    if kind == [ORGANISATION] {
        for (key, team) in tx.range(Space::Index, &keys::teams_of(group), BATCH)? {
            let team = String::from_utf8_lossy(&team).into_owned();
            if !clear_group(tx, &team, &mut room)? {
                return Ok(Cleared::Some);
            }
            tx.delete(Space::Index, keys::team(&team));
            tx.delete(Space::Index, key);
            room = room.saturating_sub(1);
        }
        let more = !tx
            .range(Space::Index, &keys::teams_of(group), 1)?
            .is_empty();
        if more {
            return Ok(Cleared::Some);
        }
    }
    if !clear_group(tx, group, &mut room)? {
        return Ok(Cleared::Some);
    }
    tx.delete(Space::Index, keys::closing(group));
    Ok(Cleared::All)
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

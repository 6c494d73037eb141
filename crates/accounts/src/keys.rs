//! Every key that this crate stores, one function a kind.
//!
//! Ids are of fixed length and hold no zero byte, and neither do names and addresses; so parts of a
//! key are joined by one, and what belongs to something lies together under it.

use adea_base::Entropy;
use adea_store::KeyRange;
use adea_store::key::{ACCOUNTS, AUDIT};

/// Kinds of entries. Numbers are for ever: a kind that goes leaves its number unused.
const VERSION: u8 = 1;
const ACCOUNT: u8 = 2;
const NAME: u8 = 3;
const LOOKALIKE: u8 = 4;
const ADDRESS: u8 = 5;
const IDENTITY: u8 = 6;
const PASSKEY: u8 = 7;
const ONE_TIME: u8 = 8;
const COMPLETE: u8 = 9;
const SESSION: u8 = 10;
const SESSION_OF: u8 = 11;
const SIGNING_KEY: u8 = 12;
const RETIRED: u8 = 13;
const ORGANISATION: u8 = 20;
const TEAM: u8 = 21;
const TEAM_OF: u8 = 22;
const MEMBERSHIP: u8 = 23;
const MEMBERSHIP_OF: u8 = 24;
const INVITATION: u8 = 25;
const INVITATION_OF: u8 = 26;
const ORGANISATION_NAME: u8 = 27;
const DOMAIN: u8 = 28;
const INVITED: u8 = 29;
const INVITATION_SECRET: u8 = 30;
const CLOSING: u8 = 31;
const INVITED_TO: u8 = 32;
const APP: u8 = 40;
const APP_OF: u8 = 41;
const APP_ACCOUNT: u8 = 42;
const APP_COUNT: u8 = 43;
const APP_DOMAIN: u8 = 44;
const AUDIT_OF: u8 = 60;

/// The number of characters of an id.
pub const ID_LENGTH: usize = 26;

/// A fresh id: 128 random bits in 26 characters of lower-case base32 (RFC 4648), which no other has.
#[must_use]
pub fn new_id(entropy: &Entropy) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bits = u128::from_le_bytes(entropy.bytes());
    let mut id = String::with_capacity(ID_LENGTH);
    for _ in 0..ID_LENGTH {
        let digit = usize::try_from(bits & 31).unwrap_or(0);
        id.push(char::from(*ALPHABET.get(digit).unwrap_or(&b'a')));
        bits >>= 5;
    }
    id
}

/// Whether `text` has the form of an id; anything else is none, and no key is made of it.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
}

fn key(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len() + 1).sum::<usize>();
    let mut key = Vec::with_capacity(length + 1);
    key.extend_from_slice(&[ACCOUNTS, kind]);
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            key.push(0);
        }
        key.extend_from_slice(part);
    }
    key
}

/// All keys of `kind` that begin with `parts` and have more.
fn below(kind: u8, parts: &[&[u8]]) -> KeyRange {
    let mut prefix = key(kind, parts);
    if !parts.is_empty() {
        prefix.push(0);
    }
    KeyRange::prefix(&prefix)
}

/// The part of a key that has one.
#[must_use]
pub(crate) fn only_part(key: &[u8]) -> &[u8] {
    key.get(2..).unwrap_or_default()
}

/// What stands behind the last zero byte of a key.
#[must_use]
pub fn last_part(key: &[u8]) -> &[u8] {
    key.rsplit(|byte| *byte == 0).next().unwrap_or_default()
}

/// → how often what makes somebody's rights has changed.
pub(crate) fn version() -> Vec<u8> {
    key(VERSION, &[])
}

/// → the `_users` database whose accounts all have records.
pub(crate) fn complete() -> Vec<u8> {
    key(COMPLETE, &[])
}

/// account → its record.
pub(crate) fn account(id: &str) -> Vec<u8> {
    key(ACCOUNT, &[id.as_bytes()])
}

/// All accounts, in the order of their ids.
pub(crate) fn accounts() -> KeyRange {
    below(ACCOUNT, &[])
}

/// name of a `_users` document → account.
pub(crate) fn name(name: &str) -> Vec<u8> {
    key(NAME, &[name.as_bytes()])
}

/// what a name looks like → account.
pub(crate) fn lookalike(skeleton: &str) -> Vec<u8> {
    key(LOOKALIKE, &[skeleton.as_bytes()])
}

/// hash of what a name looks like that was given up → the account that had it.
pub(crate) fn retired(hash: &[u8; 32]) -> Vec<u8> {
    key(RETIRED, &[hash])
}

/// verified address in its normal form → account.
pub(crate) fn address(normal: &str) -> Vec<u8> {
    key(ADDRESS, &[normal.as_bytes()])
}

/// provider and who somebody is there → account.
pub(crate) fn identity(provider: &str, subject: &str) -> Vec<u8> {
    key(IDENTITY, &[provider.as_bytes(), subject.as_bytes()])
}

/// credential of a passkey, as base64url → account.
pub(crate) fn passkey(credential: &str) -> Vec<u8> {
    key(PASSKEY, &[credential.as_bytes()])
}

/// hash of a secret that is good once → what for.
pub(crate) fn one_time(hash: &[u8; 32]) -> Vec<u8> {
    key(ONE_TIME, &[hash])
}

/// All secrets that are good once.
pub(crate) fn one_times() -> KeyRange {
    below(ONE_TIME, &[])
}

/// session → its record.
pub(crate) fn session(id: &str) -> Vec<u8> {
    key(SESSION, &[id.as_bytes()])
}

/// All sessions.
pub(crate) fn sessions() -> KeyRange {
    below(SESSION, &[])
}

/// account and session of it → nothing.
pub(crate) fn session_of(account: &str, session: &str) -> Vec<u8> {
    key(SESSION_OF, &[account.as_bytes(), session.as_bytes()])
}

/// All sessions of an account.
pub(crate) fn sessions_of(account: &str) -> KeyRange {
    below(SESSION_OF, &[account.as_bytes()])
}

/// key id → the key that signs tokens.
pub(crate) fn signing_key(id: &str) -> Vec<u8> {
    key(SIGNING_KEY, &[id.as_bytes()])
}

/// All keys that sign or signed tokens.
pub(crate) fn signing_keys() -> KeyRange {
    below(SIGNING_KEY, &[])
}

/// organisation → its record.
pub(crate) fn organisation(id: &str) -> Vec<u8> {
    key(ORGANISATION, &[id.as_bytes()])
}

/// All organisations.
pub(crate) fn organisations() -> KeyRange {
    below(ORGANISATION, &[])
}

/// app and name of an organisation, in its normal form → organisation.
pub(crate) fn organisation_name(app: &str, normal: &str) -> Vec<u8> {
    key(ORGANISATION_NAME, &[app.as_bytes(), normal.as_bytes()])
}

/// domain and app → the organisation there that it is verified for.
pub(crate) fn domain(name: &str, app: &str) -> Vec<u8> {
    key(DOMAIN, &[name.as_bytes(), app.as_bytes()])
}

/// All organisations that a domain is verified for, one an app.
pub(crate) fn domains(name: &str) -> KeyRange {
    below(DOMAIN, &[name.as_bytes()])
}

/// organisation, team, account or registration of an app that is gone, while something leads to it →
/// which of them it was, and how far its removal is.
pub(crate) fn closing(group: &str) -> Vec<u8> {
    key(CLOSING, &[group.as_bytes()])
}

/// All that is gone while something leads to it.
pub(crate) fn closings() -> KeyRange {
    below(CLOSING, &[])
}

/// team → its record.
pub(crate) fn team(id: &str) -> Vec<u8> {
    key(TEAM, &[id.as_bytes()])
}

/// organisation and name of a team, in its normal form → team.
pub(crate) fn team_of(organisation: &str, normal: &str) -> Vec<u8> {
    key(TEAM_OF, &[organisation.as_bytes(), normal.as_bytes()])
}

/// All teams of an organisation, by name.
pub(crate) fn teams_of(organisation: &str) -> KeyRange {
    below(TEAM_OF, &[organisation.as_bytes()])
}

/// organisation or team, and account → the membership.
pub(crate) fn membership(group: &str, account: &str) -> Vec<u8> {
    key(MEMBERSHIP, &[group.as_bytes(), account.as_bytes()])
}

/// All memberships of an organisation or a team.
pub(crate) fn memberships(group: &str) -> KeyRange {
    below(MEMBERSHIP, &[group.as_bytes()])
}

/// account, and organisation or team → what he is there, so that his roles are one walk.
pub(crate) fn membership_of(account: &str, group: &str) -> Vec<u8> {
    key(MEMBERSHIP_OF, &[account.as_bytes(), group.as_bytes()])
}

/// All that an account is a member of.
pub(crate) fn memberships_of(account: &str) -> KeyRange {
    below(MEMBERSHIP_OF, &[account.as_bytes()])
}

/// invitation → its record.
pub(crate) fn invitation(id: &str) -> Vec<u8> {
    key(INVITATION, &[id.as_bytes()])
}

/// All invitations.
pub(crate) fn invitations() -> KeyRange {
    below(INVITATION, &[])
}

/// hash of the secret that an invitation was sent with → the invitation.
pub(crate) fn invitation_secret(hash: &[u8; 32]) -> Vec<u8> {
    key(INVITATION_SECRET, &[hash])
}

/// organisation, team or inviter, and invitation → nothing.
pub(crate) fn invitation_of(group: &str, invitation: &str) -> Vec<u8> {
    key(INVITATION_OF, &[group.as_bytes(), invitation.as_bytes()])
}

/// All invitations to an organisation or a team, or sent by an account.
pub(crate) fn invitations_of(group: &str) -> KeyRange {
    below(INVITATION_OF, &[group.as_bytes()])
}

/// address in its normal form, and invitation → nothing.
pub(crate) fn invited(normal: &str, invitation: &str) -> Vec<u8> {
    key(INVITED, &[normal.as_bytes(), invitation.as_bytes()])
}

/// organisation or team, and address in its normal form → the newest invitation of it to that.
pub(crate) fn invited_to(group: &str, normal: &str) -> Vec<u8> {
    key(INVITED_TO, &[group.as_bytes(), normal.as_bytes()])
}

/// All invitations sent to an address.
pub(crate) fn invitations_to(normal: &str) -> KeyRange {
    below(INVITED, &[normal.as_bytes()])
}

/// app → its record.
pub(crate) fn app(id: &str) -> Vec<u8> {
    key(APP, &[id.as_bytes()])
}

/// All apps.
pub(crate) fn apps() -> KeyRange {
    below(APP, &[])
}

/// account and app → since when he has joined it.
pub(crate) fn app_of(account: &str, app: &str) -> Vec<u8> {
    key(APP_OF, &[account.as_bytes(), app.as_bytes()])
}

/// All apps that an account has joined.
pub(crate) fn apps_of(account: &str) -> KeyRange {
    below(APP_OF, &[account.as_bytes()])
}

/// app and account → since when it is joined, as under [`app_of`].
pub(crate) fn app_account(app: &str, account: &str) -> Vec<u8> {
    key(APP_ACCOUNT, &[app.as_bytes(), account.as_bytes()])
}

/// All accounts that have joined an app.
pub(crate) fn app_accounts(app: &str) -> KeyRange {
    below(APP_ACCOUNT, &[app.as_bytes()])
}

/// app → how many accounts have joined it.
pub(crate) fn app_count(app: &str) -> Vec<u8> {
    key(APP_COUNT, &[app.as_bytes()])
}

/// domain → the app that it stands for.
pub(crate) fn app_domain(name: &str) -> Vec<u8> {
    key(APP_DOMAIN, &[name.as_bytes()])
}

/// An entry of the audit log: time in milliseconds, then what tells it from others of that time.
pub(crate) fn audit(unix_ms: u64, tail: u64) -> Vec<u8> {
    let mut key = vec![AUDIT];
    key.extend_from_slice(&unix_ms.to_be_bytes());
    key.extend_from_slice(&tail.to_be_bytes());
    key
}

/// The place of an entry, which its key tells: time and tail.
pub(crate) fn audit_place(key: &[u8]) -> Option<[u8; PLACE]> {
    key.last_chunk().copied()
}

/// How many bytes a place in the audit log has.
pub(crate) const PLACE: usize = 16;

/// The entry at a place.
pub(crate) fn audit_at(place: &[u8; PLACE]) -> Vec<u8> {
    let mut key = vec![AUDIT];
    key.extend_from_slice(place);
    key
}

/// account or other party, and place of an entry that names it → nothing.
pub(crate) fn audit_of(party: &str, place: &[u8; PLACE]) -> Vec<u8> {
    key(AUDIT_OF, &[party.as_bytes(), place])
}

/// The places of entries, from one on and up to another: of all, or of those that name a party.
pub(crate) fn audit_between(party: Option<&str>, from: &[u8; PLACE], to: &[u8; PLACE]) -> KeyRange {
    let at = |place| match party {
        Some(party) => audit_of(party, place),
        None => audit_at(place),
    };
    KeyRange {
        from: at(from),
        to: at(to),
    }
}

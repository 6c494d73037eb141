//! Secrets that are good once and for a while: links and codes in mail, the step between two factors.
//!
//! Only a hash is stored, so who reads the store can use none of them. Taking one removes it in the
//! same commit that does what it is good for.

use adea_base::Entropy;
use adea_store::{EngineError, Space, Transaction};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::keys;
use crate::stored::{Source, get, put};

/// What a secret is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To prove that an address is his.
    VerifyAddress,
    /// To set a new password.
    Reset,
    /// To sign in by a link in mail.
    MailLink,
    /// To sign in by a code in mail.
    MailCode,
    /// To bring the second factor.
    SecondFactor,
    /// To confirm the key that makes digits. No secret that somebody is given is for this.
    Totp,
    /// To answer a challenge with a passkey.
    Passkey,
    /// To come back from another provider.
    Provider,
    /// To accept an invitation.
    Invitation,
    /// To make the first administrator.
    FirstAdmin,
    /// For nothing: it counts what was sent to an address to sign in with.
    MailsSent,
}

/// A secret that is good once, as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OneTime {
    /// What it is good for.
    pub purpose: Purpose,
    /// Whose it is; empty if nobody's yet.
    pub account: String,
    /// The app that it was asked for in; empty for none.
    #[serde(default)]
    pub app: String,
    /// Until when, in milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// What has to be known when it comes back.
    #[serde(default)]
    pub data: Value,
}

/// A fresh secret of 256 bits, in 43 characters that need no escaping in a URL.
#[must_use]
pub fn new_secret(entropy: &Entropy) -> String {
    URL_SAFE_NO_PAD.encode(entropy.bytes::<32>())
}

/// Whether `text` has the form of a secret that [`new_secret`] makes: other texts that something is
/// stored under are none that may come from outside.
#[must_use]
pub fn is_secret(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    text.len() == 43 && text.bytes().all(fits)
}

/// What is stored of a secret.
#[must_use]
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// The key under which the secret is stored whose [`hash`] is `hex`, in hexadecimal digits.
#[must_use]
pub fn key_of_hex(hex: &str) -> Option<Vec<u8>> {
    let mut hash = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(keys::one_time(&hash))
}

/// Whether two texts are the same, in a time that does not tell where they differ.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// Stores what `secret` is good for.
pub fn issue(tx: &mut Transaction<'_>, secret: &str, one_time: &OneTime) {
    put(tx, keys::one_time(&hash(secret)), one_time);
}

/// What `secret` is good for, without using it up.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn look<S: Source + ?Sized>(
    source: &S,
    secret: &str,
    purpose: Purpose,
    now_ms: u64,
) -> Result<Option<OneTime>, EngineError> {
    let found: Option<OneTime> = get(source, &keys::one_time(&hash(secret)), "a secret")?;
    Ok(found.filter(|found| found.purpose == purpose && now_ms < found.expires_ms))
}

/// Uses `secret` up; `None` if it is none, was used, has expired or is for something else.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn take(
    tx: &mut Transaction<'_>,
    secret: &str,
    purpose: Purpose,
    now_ms: u64,
) -> Result<Option<OneTime>, EngineError> {
    let found = look(tx, secret, purpose, now_ms)?;
    if found.is_some() {
        tx.delete(Space::Index, keys::one_time(&hash(secret)));
    }
    Ok(found)
}

/// Makes the secret with this hash good for nothing.
pub fn withdraw(tx: &mut Transaction<'_>, hash: &[u8; 32]) {
    tx.delete(Space::Index, keys::one_time(hash));
}

/// Removes those that have expired, at most `limit` of those looked at; what is behind the last one
/// looked at is for the next call.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn sweep(
    tx: &mut Transaction<'_>,
    after: Option<&[u8]>,
    now_ms: u64,
    limit: usize,
) -> Result<Option<Vec<u8>>, EngineError> {
    let mut range = keys::one_times();
    if let Some(after) = after {
        range.from = [after, &[0]].concat();
    }
    let rows = tx.range(Space::Index, &range, limit)?;
    let last = rows.last().map(|(key, _)| key.clone());
    let full = rows.len() == limit;
    for (key, value) in rows {
        let expired = crate::stored::decode::<OneTime>(&value, "a secret")
            .map_or(true, |found| found.expires_ms <= now_ms);
        if expired {
            tx.delete(Space::Index, key);
        }
    }
    Ok(last.filter(|_| full))
}

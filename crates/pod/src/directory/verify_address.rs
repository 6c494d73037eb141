//! Proving an address: by the link in a mail, or by the code in it.
//!
//! A code is short, so wrong ones are counted for the address: with twenty of them no code for it is
//! taken until those that are out have run out.
//!
//! Invariants: what proves an address is good once, and takes the other way with it; of two accounts
//! that claim an address the first to prove it has it.

use adea_accounts::audit;
use adea_accounts::directory::{self, Ground};
use adea_accounts::names::normal_address;
use adea_accounts::one_time::{self, OneTime, Purpose};
use adea_mail::Kind;
use adea_store::{Decline, Space, Transaction};
use serde_json::{Value, json};

use super::AccountError;
use super::edit::{edit_in, refuse};
use super::letters::{code_secret, letter};
use crate::apps::Actor;
use crate::error::PodError;
use crate::pod::Pod;

/// Wrong codes for one address.
const WRONG_CODES_MAX: u64 = 20;
/// How long they are counted, in milliseconds.
const WRONG_CODES_MS: u64 = 24 * 3_600_000;

/// What proves an address.
#[derive(Clone, Debug)]
pub enum AddressProof {
    /// The secret of a link.
    Secret(String),
    /// An address and the code that was sent to it.
    Code {
        /// The address.
        address: String,
        /// The code.
        code: String,
    },
}

impl Pod {
    /// Verifies the address that `proof` proves. Answers the id of the account that has it now.
    ///
    /// # Errors
    /// [`AccountError::Spent`] if it proves nothing, any more or at all;
    /// [`AccountError::AddressTaken`] if another account was faster.
    pub async fn verify_address(&self, proof: AddressProof, by: Actor) -> Result<String, PodError> {
        let (ground, store) = (self.ground()?, self.inner.store.clone());
        let (secret, counted) = match proof {
            AddressProof::Secret(secret) if one_time::is_secret(&secret) => (secret, None),
            AddressProof::Secret(_) => return Err(AccountError::Spent.into()),
            AddressProof::Code { address, code } => {
                let normal = normal_address(&address)?;
                (code_secret(&normal, &code), Some(normal))
            }
        };
        let verified = Self::to_the_end(async move {
            let verified = store.transact(Self::permit(), move |tx| {
                decide(tx, &ground, &secret, counted.as_deref(), &by)
            });
            verified.await.map_err(PodError::from)
        })
        .await?;
        // A wrong code is counted, and so its transaction is one that was kept.
        verified.ok_or_else(|| AccountError::Spent.into())
    }
}

fn decide(
    tx: &mut Transaction<'_>,
    ground: &Ground,
    secret: &str,
    counted: Option<&str>,
    by: &Actor,
) -> Result<Option<String>, Decline<PodError>> {
    let now_ms = ground.now_ms;
    let wrong = match counted {
        Some(normal) => wrong_codes(tx, normal, now_ms)?,
        None => 0,
    };
    if wrong >= WRONG_CODES_MAX {
        return Err(refuse(AccountError::Spent));
    }
    let Some(found) = one_time::take(tx, secret, Purpose::VerifyAddress, now_ms)? else {
        if let Some(normal) = counted {
            count_wrong_code(tx, normal, wrong + 1, now_ms);
        }
        return Ok(None);
    };
    let text = |name: &str| found.data.get(name).and_then(Value::as_str).unwrap_or("");
    forget_twin(tx, text("twin"));
    let normal = text("address").to_owned();
    if directory::live(tx, ground.users, &found.account)?.is_none() {
        return Ok(None);
    }
    let verified = edit_in(tx, ground.users, &found.account, |tx, record| {
        let before = record.verified_address().cloned();
        let language = record.language.clone();
        let mut addresses = record.addresses.iter_mut();
        let Some(address) = addresses.find(|known| known.normal == normal) else {
            return Ok(false);
        };
        address.verified_ms = Some(now_ms);
        if let Some(before) = before.filter(|before| before.normal != normal) {
            let data = json!({"address": address.address});
            let language = language.as_deref();
            let mail = letter(Kind::AddressChanged, &before.address, language, "", data);
            adea_mail::enqueue(tx, &ground.entropy, now_ms, &mail);
        }
        Ok(true)
    })?;
    if !verified {
        return Ok(None);
    }
    let entry = by.entry("account.verify_address", &found.account, &found.app, now_ms);
    audit::append(tx, &entry)?;
    Ok(Some(found.account))
}

fn forget_twin(tx: &mut Transaction<'_>, hash: &str) {
    if let Some(key) = one_time::key_of_hex(hash) {
        tx.delete(Space::Index, key);
    }
}

fn wrong_codes_key(normal: &str) -> String {
    format!("wrong codes\n{normal}")
}

fn wrong_codes(tx: &Transaction<'_>, normal: &str, now_ms: u64) -> Result<u64, Decline<PodError>> {
    let key = wrong_codes_key(normal);
    let found = one_time::look(tx, &key, Purpose::VerifyAddress, now_ms)?;
    let count = found.and_then(|found| found.data.get("wrong").and_then(Value::as_u64));
    Ok(count.unwrap_or(0))
}

/// The count stands among secrets, where what has run out is swept; who gives its key for a secret
/// gets an address that nobody has.
fn count_wrong_code(tx: &mut Transaction<'_>, normal: &str, wrong: u64, now_ms: u64) {
    let counted = OneTime {
        purpose: Purpose::VerifyAddress,
        account: String::new(),
        app: String::new(),
        expires_ms: now_ms + WRONG_CODES_MS,
        data: json!({ "wrong": wrong }),
    };
    one_time::issue(tx, &wrong_codes_key(normal), &counted);
}

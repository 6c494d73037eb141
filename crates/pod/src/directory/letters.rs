//! Mail about accounts, and the secrets in it.
//!
//! A secret is made, and its link written, before the transaction that stores its hash: what is said
//! of links is a setting, which a transaction does not read.

use adea_accounts::directory::{AccountRecord, Address, Ground};
use adea_accounts::one_time::{self, OneTime, Purpose};
use adea_base::Entropy;
use adea_mail::{Kind, Outgoing};
use adea_store::Transaction;
use serde_json::{Value, json};

use crate::mail::LinkKind;
use crate::pod::Pod;

/// How long an address can be verified, in minutes.
const VERIFY_MINUTES: u64 = 24 * 60;
/// How long a new password can be set, in minutes.
const RESET_MINUTES: u64 = 60;
/// Digits of a code.
const CODE_DIGITS: usize = 8;

/// A secret that goes out in a mail, and how it is written there.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    secret: String,
    code: String,
    link: String,
}

impl Pod {
    /// A secret for a link that leads to what `leads` says, in `app`.
    pub(crate) fn posted(&self, leads: LinkKind, app: &str) -> Posted {
        let secret = one_time::new_secret(&self.inner.entropy);
        let link = self.link(leads, app, &secret);
        Posted {
            code: new_code(&self.inner.entropy),
            secret,
            link,
        }
    }

    /// Where somebody goes who wants to recover his account.
    pub(crate) fn recover_link(&self, app: &str) -> String {
        self.link(LinkKind::Recover, app, "")
    }
}

/// What a code is stored under: it is good for one address only.
pub(crate) fn code_secret(normal: &str, code: &str) -> String {
    let digits: String = code.chars().filter(char::is_ascii_digit).collect();
    format!("code\n{normal}\n{digits}")
}

fn new_code(entropy: &Entropy) -> String {
    let mut left = u64::from_le_bytes(entropy.bytes());
    let mut code = String::with_capacity(CODE_DIGITS);
    for _ in 0..CODE_DIGITS {
        let digit = u32::try_from(left % 10).unwrap_or(0);
        code.push(char::from_digit(digit, 10).unwrap_or('0'));
        left /= 10;
    }
    code
}

/// A mail to `to` about the account of `record`.
pub(crate) fn letter(
    kind: Kind,
    to: &str,
    language: Option<&str>,
    app: &str,
    data: Value,
) -> Outgoing {
    Outgoing {
        kind,
        to: to.to_owned(),
        language: language.unwrap_or_default().to_owned(),
        app: app.to_owned(),
        data,
    }
}

/// Queues a mail to the address that is written to, if there is one.
pub(crate) fn notify(
    tx: &mut Transaction<'_>,
    entropy: &Entropy,
    now_ms: u64,
    record: &AccountRecord,
    kind: Kind,
    data: Value,
) {
    if let Some(address) = record.verified_address() {
        let language = record.language.as_deref();
        let mail = letter(kind, &address.address, language, "", data);
        adea_mail::enqueue(tx, entropy, now_ms, &mail);
    }
}

impl Posted {
    /// Stores what the secret and the code are good for (to verify `address` for `record`), and
    /// queues the mail that brings them there. `name_taken` tells that the name that was
    /// asked for is somebody else's.
    pub(crate) fn send_verification(
        &self,
        tx: &mut Transaction<'_>,
        ground: &Ground,
        record: &AccountRecord,
        address: &Address,
        app: &str,
        name_taken: bool,
    ) {
        let (now_ms, normal) = (ground.now_ms, address.normal.as_str());
        let code_secret = code_secret(normal, &self.code);
        let expires_ms = now_ms + VERIFY_MINUTES * 60_000;
        let stored = |twin: &str| OneTime {
            purpose: Purpose::VerifyAddress,
            account: record.id.clone(),
            app: app.to_owned(),
            expires_ms,
            // Whichever is used takes the other with it.
            data: json!({"address": normal, "twin": super::life::hex(&one_time::hash(twin))}),
        };
        one_time::issue(tx, &self.secret, &stored(&code_secret));
        one_time::issue(tx, &code_secret, &stored(&self.secret));
        let data = json!({
            "link": self.link,
            "code": self.code,
            "minutes": VERIFY_MINUTES,
            "name_taken": name_taken,
        });
        let language = record.language.as_deref();
        let mail = letter(Kind::VerifyAddress, &address.address, language, app, data);
        adea_mail::enqueue(tx, &ground.entropy, now_ms, &mail);
    }

    /// Stores that the secret is good to set a new password of `record`, and queues the mail.
    pub(crate) fn send_recovery(
        &self,
        tx: &mut Transaction<'_>,
        entropy: &Entropy,
        now_ms: u64,
        record: &AccountRecord,
        address: &str,
        app: &str,
    ) {
        let one_time = OneTime {
            purpose: Purpose::Reset,
            account: record.id.clone(),
            app: app.to_owned(),
            expires_ms: now_ms + RESET_MINUTES * 60_000,
            // A password that was changed meanwhile ends it.
            data: json!({"epoch": record.epoch, "password": record.password_fingerprint}),
        };
        one_time::issue(tx, &self.secret, &one_time);
        let data = json!({"link": self.link, "minutes": RESET_MINUTES});
        let language = record.language.as_deref();
        let mail = letter(Kind::Recover, address, language, app, data);
        adea_mail::enqueue(tx, entropy, now_ms, &mail);
    }
}

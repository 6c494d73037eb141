//! Links and codes in mail, from the request to the session.

use adea_accounts::audit::{self, AuditEntry};
use adea_accounts::directory::{self, Address, Ground};
use adea_accounts::names::normal_address;
use adea_accounts::one_time::{self, OneTime, Purpose, new_secret};
use adea_base::Entropy;
use adea_mail::{Kind, Outgoing, enqueue};
use adea_store::{Decline, Transaction};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::LinkError;
use crate::apps::words_for;
use crate::begin_session::{Begun, Proof, SessionWanted};
use crate::directory::AccountError;
use crate::directory::NewAccount;
use crate::directory::create::create_in;
use crate::directory::edit::edit_in;
use crate::error::PodError;
use crate::limits::LimitKind;
use crate::mail::LinkKind;
use crate::pod::Pod;

/// How long a code is good, in minutes.
const CODE_MINUTES: u64 = 10;
/// How long a link is good, in minutes.
const LINK_MINUTES: u64 = 15;
/// How often a code may be tried.
const ATTEMPTS_MAX: u32 = 5;
/// Mails that are sent to one address in [`SENT_MS`].
pub(super) const SENT_MAX: usize = 5;
const SENT_MS: u64 = 3_600_000;
/// Mails that are sent to one address in a day.
pub(super) const DAILY_MAX: usize = 15;
/// The time in which those are counted.
const DAY_MS: u64 = 24 * 3_600_000;

/// What is to be in the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailWanted {
    /// Six digits.
    Code,
    /// A link.
    Link,
}

/// A request that was taken, whatever comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailStarted {
    /// What has to come with the code; a link needs none.
    pub continuation: Option<String>,
    /// For how many seconds it is good.
    pub expires_in_s: u64,
}

/// What was in the mail.
#[derive(Clone, Debug)]
pub enum MailProof {
    /// The code, and what the request for it was answered with.
    Code {
        /// The answer.
        continuation: String,
        /// The code, with or without a space.
        code: String,
    },
    /// What a link holds.
    Link(String),
}

/// What is stored for a link or a code.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Open {
    address: String,
    normal: String,
    /// The hash of the code and its continuation; none for a link.
    code: Option<String>,
    attempts: u32,
}

/// What is stored of the mails to one address.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Sent {
    /// When, in milliseconds since the Unix epoch.
    at_ms: Vec<u64>,
    /// The hash of the secret that counts.
    open: Option<[u8; 32]>,
}

/// A mail in the making.
pub(super) struct Sending {
    address: String,
    normal: String,
    wanted: MailWanted,
    app: String,
    /// The account that the address shall belong to; empty if it is to sign in.
    account: String,
    secret: String,
    code: String,
    link: String,
    /// The link as the server has it, for who has not joined the app.
    own_link: String,
}

/// What came of a link or code.
enum Taken {
    Wrong,
    Account {
        id: String,
        method: &'static str,
        epoch: Option<u64>,
    },
}

/// Six digits.
fn new_code(entropy: &Entropy) -> String {
    format!("{:06}", u64::from_le_bytes(entropy.bytes()) % 1_000_000)
}

/// What is stored of a code: nobody can try the million without its continuation.
fn hash_of_code(continuation: &str, code: &str) -> String {
    let digits: String = code.chars().filter(char::is_ascii_digit).collect();
    let joined = format!("{continuation}\0{digits}");
    URL_SAFE_NO_PAD.encode(one_time::hash(&joined))
}

/// The place of what was sent to an address, among secrets that are good for nothing.
fn place_of(normal: &str) -> String {
    format!("sent\0{normal}")
}

fn over() -> Decline<PodError> {
    Decline::Refused(LinkError::Over.into())
}

impl Pod {
    /// Sends a link or a code to `address`, with which its reader signs in.
    ///
    /// # Errors
    /// [`AccountError::Name`] if it is no address; nothing that depends on who has it.
    pub async fn start_mail(
        &self,
        address: &str,
        wanted: MailWanted,
        app: &str,
    ) -> Result<MailStarted, PodError> {
        self.send_proof(address, wanted, app, "").await
    }

    /// The same; if `account` is not empty, the address is to become its own.
    pub(super) async fn send_proof(
        &self,
        address: &str,
        wanted: MailWanted,
        app: &str,
        account: &str,
    ) -> Result<MailStarted, PodError> {
        let normal = normal_address(address).map_err(AccountError::Name)?;
        self.limit(LimitKind::AccountMail, &normal)?;
        let secret = new_secret(&self.inner.entropy);
        let sending = Sending {
            address: address.to_owned(),
            wanted,
            app: app.to_owned(),
            account: account.to_owned(),
            code: new_code(&self.inner.entropy),
            link: self.link(LinkKind::SignIn, app, &secret),
            own_link: self.link(LinkKind::SignIn, "", &secret),
            secret: secret.clone(),
            // Whether a stranger may come in is decided now, so that a mail promises nothing.
            normal: normal.clone(),
        };
        let admitted = self.admits(Some(&normal), app).is_ok();
        let (ground, store) = (self.ground()?, self.inner.store.clone());
        Self::to_the_end(async move {
            let sent = store.transact(Self::permit(), move |tx| {
                sending.send(tx, &ground, admitted)
            });
            sent.await.map_err(PodError::from)
        })
        .await?;
        let minutes = match wanted {
            MailWanted::Code => CODE_MINUTES,
            MailWanted::Link => LINK_MINUTES,
        };
        Ok(MailStarted {
            continuation: (wanted == MailWanted::Code).then_some(secret),
            expires_in_s: minutes * 60,
        })
    }

    /// Begins a session for who reads the mail of an address.
    ///
    /// # Errors
    /// [`LinkError::Over`] and [`LinkError::WrongCode`]; what the rules for new accounts refuse; what
    /// [`Pod::begin_session`] says.
    pub async fn finish_mail(
        &self,
        proof: MailProof,
        wanted: SessionWanted,
    ) -> Result<Begun, PodError> {
        let (ground, store, pod) = (self.ground()?, self.inner.store.clone(), self.clone());
        let from = wanted.address.to_string();
        let (taken, app) = Self::to_the_end(async move {
            let taken = store.transact(Self::permit(), move |tx| {
                pod.take_proof(tx, &ground, &proof, &from)
            });
            taken.await.map_err(PodError::from)
        })
        .await?;
        let Taken::Account { id, method, epoch } = taken else {
            return Err(LinkError::WrongCode.into());
        };
        let proof = Proof {
            account: id,
            method: method.to_owned(),
            strong: false,
            epoch,
        };
        let wanted = SessionWanted { app, ..wanted };
        self.begin_session(proof, wanted).await
    }

    /// Uses a link or code up, and finds or makes the account.
    fn take_proof(
        &self,
        tx: &mut Transaction<'_>,
        ground: &Ground,
        proof: &MailProof,
        from: &str,
    ) -> Result<(Taken, String), Decline<PodError>> {
        let now_ms = ground.now_ms;
        let (secret, purpose, method) = match proof {
            MailProof::Code { continuation, .. } => (continuation, Purpose::MailCode, "mail_code"),
            MailProof::Link(token) => (token, Purpose::MailLink, "mail_link"),
        };
        let mut kept = one_time::look(tx, secret, purpose, now_ms)?.ok_or_else(over)?;
        let mut open: Open = serde_json::from_value(kept.data.clone()).map_err(|_| over())?;
        if let MailProof::Code { code, .. } = proof {
            let expected = open.code.as_deref().unwrap_or("");
            let given = hash_of_code(secret, code);
            if !one_time::same(&given, expected) {
                open.attempts += 1;
                if open.attempts >= ATTEMPTS_MAX {
                    one_time::take(tx, secret, purpose, now_ms)?;
                    audit::append(tx, &guessed(&kept, from, now_ms))?;
                } else {
                    kept.data = serde_json::to_value(&open).unwrap_or_default();
                    one_time::issue(tx, secret, &kept);
                }
                return Ok((Taken::Wrong, kept.app));
            }
        }
        one_time::take(tx, secret, purpose, now_ms)?;
        let id = self.account_of_mail(tx, ground, &kept, &open, from)?;
        let epoch = directory::live(tx, ground.users, &id)?.map(|record| record.epoch);
        Ok((Taken::Account { id, method, epoch }, kept.app))
    }

    /// The account of who has proved to read the mail of an address.
    fn account_of_mail(
        &self,
        tx: &mut Transaction<'_>,
        ground: &Ground,
        kept: &OneTime,
        open: &Open,
        from: &str,
    ) -> Result<String, Decline<PodError>> {
        let proved = Address {
            address: open.address.clone(),
            normal: open.normal.clone(),
            verified_ms: Some(ground.now_ms),
        };
        let holder = match directory::find_address(tx, &open.normal)? {
            Some(id) => directory::live(tx, ground.users, &id)?,
            None => None,
        };
        let entry = |action: &str, id: &str| AuditEntry {
            time_ms: ground.now_ms,
            action: action.to_owned(),
            account: id.to_owned(),
            target: id.to_owned(),
            address: from.to_owned(),
            app: kept.app.clone(),
            detail: json!({"by": "mail"}),
            ..AuditEntry::default()
        };
        if !kept.account.is_empty() {
            edit_in(tx, ground.users, &kept.account, |_, record| {
                let others = |address: &Address| address.normal != proved.normal;
                record.addresses.retain(others);
                record.addresses.push(proved);
                Ok(())
            })?;
            audit::append(tx, &entry("account.promote", &kept.account))?;
            return Ok(kept.account.clone());
        }
        if let Some(record) = holder {
            return Ok(record.id);
        }
        self.admits(Some(&open.normal), &kept.app)
            .map_err(Decline::Refused)?;
        let new = NewAccount {
            address: Some(proved),
            app: kept.app.clone(),
            ..NewAccount::default()
        };
        let made = create_in(tx, ground, &new)?;
        super::join_app(tx, &made.id, &kept.app, ground.now_ms)?;
        audit::append(tx, &entry("account.create", &made.id))?;
        Ok(made.id)
    }
}

/// What the audit log says when a code was guessed at for too often.
fn guessed(kept: &OneTime, from: &str, now_ms: u64) -> AuditEntry {
    AuditEntry {
        time_ms: now_ms,
        action: "session.code_exhausted".to_owned(),
        target: kept.account.clone(),
        address: from.to_owned(),
        app: kept.app.clone(),
        detail: json!({ "attempts": ATTEMPTS_MAX }),
        ..AuditEntry::default()
    }
}

impl Sending {
    fn send(
        self,
        tx: &mut Transaction<'_>,
        ground: &Ground,
        admitted: bool,
    ) -> Result<(), Decline<PodError>> {
        let now_ms = ground.now_ms;
        let place = place_of(&self.normal);
        let before = one_time::look(tx, &place, Purpose::MailsSent, now_ms)?;
        let before = before.and_then(|kept| serde_json::from_value::<Sent>(kept.data).ok());
        let mut sent = before.unwrap_or_default();
        sent.at_ms.retain(|at_ms| at_ms.abs_diff(now_ms) < DAY_MS);
        let of_late = sent.at_ms.iter();
        let of_late = of_late.filter(|at_ms| at_ms.abs_diff(now_ms) < SENT_MS);
        if of_late.count() >= SENT_MAX || sent.at_ms.len() >= DAILY_MAX {
            return Ok(());
        }
        if let Some(open) = &sent.open {
            one_time::withdraw(tx, open);
        }
        sent.at_ms.push(now_ms);
        sent.open = Some(one_time::hash(&self.secret));
        let count = OneTime {
            purpose: Purpose::MailsSent,
            account: String::new(),
            app: String::new(),
            expires_ms: now_ms + DAY_MS,
            data: serde_json::to_value(&sent).unwrap_or_default(),
        };
        one_time::issue(tx, &place, &count);
        let record = match directory::find_address(tx, &self.normal)? {
            Some(id) => directory::live(tx, ground.users, &id)?,
            None => None,
        };
        one_time::issue(tx, &self.secret, &self.kept(now_ms));
        let welcome = record.is_some() || admitted || !self.account.is_empty();
        let words = match (&record, self.account.as_str()) {
            (Some(record), _) => words_for(tx, &record.id, &self.app)?,
            (None, "") if admitted => self.app.as_str(),
            (None, account) => words_for(tx, account, &self.app)?,
        };
        let language = record.and_then(|record| record.language);
        let mail = Outgoing {
            kind: self.kind(welcome),
            to: self.address.clone(),
            language: language.unwrap_or_default(),
            app: words.to_owned(),
            data: if welcome { self.data(words) } else { json!({}) },
        };
        enqueue(tx, &ground.entropy, now_ms, &mail);
        Ok(())
    }

    fn kind(&self, welcome: bool) -> Kind {
        match (welcome, self.account.is_empty()) {
            (true, true) => Kind::SignIn,
            (true, false) => Kind::VerifyAddress,
            (false, _) => Kind::NoAccount,
        }
    }

    fn minutes(&self) -> u64 {
        match self.wanted {
            MailWanted::Code => CODE_MINUTES,
            MailWanted::Link => LINK_MINUTES,
        }
    }

    /// What the mail tells, in the words of an app, or in the server's own.
    fn data(&self, words: &str) -> serde_json::Value {
        let minutes = self.minutes();
        let link = match words.is_empty() {
            true => &self.own_link,
            false => &self.link,
        };
        match self.wanted {
            MailWanted::Code => json!({"link": null, "code": self.code, "minutes": minutes}),
            MailWanted::Link => json!({"link": link, "code": null, "minutes": minutes}),
        }
    }

    /// What is stored under the secret.
    fn kept(&self, now_ms: u64) -> OneTime {
        let code = match self.wanted {
            MailWanted::Code => Some(hash_of_code(&self.secret, &self.code)),
            MailWanted::Link => None,
        };
        let open = Open {
            address: self.address.clone(),
            normal: self.normal.clone(),
            code,
            attempts: 0,
        };
        OneTime {
            purpose: match self.wanted {
                MailWanted::Code => Purpose::MailCode,
                MailWanted::Link => Purpose::MailLink,
            },
            account: self.account.clone(),
            app: self.app.clone(),
            expires_ms: now_ms + self.minutes() * 60_000,
            data: serde_json::to_value(&open).unwrap_or_default(),
        }
    }
}

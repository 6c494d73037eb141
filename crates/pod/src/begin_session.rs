//! Sessions: begun in one of three faces, resumed with every request, ended at once.
//!
//! What a session is and how it is stored is decided in `adea_accounts::sessions`. Here: beginning
//! one for who has proved to be somebody, and what he is given; resuming (`resume.rs`), refreshing
//! (`refresh.rs`), ending and listing (`end.rs`), the keys that sign access tokens (`keys.rs`), and
//! how long a feed may go on (`standing.rs`).
//!
//! Invariants: a session begins in the epoch in which its user was proved, or not at all; what a
//! credential is good for is looked up with each use and never believed from the credential.

mod end;
mod keys;
mod memory;
mod refresh;
mod resume;
mod standing;

use std::borrow::Cow;
use std::net::IpAddr;

use adea_accounts::audit::{self, AuditEntry};
use adea_accounts::one_time::{self, OneTime, Purpose};
use adea_accounts::sessions::{self, ADMIN_PREFIX, BASIC_PREFIX, Seals, SessionRecord};
use adea_accounts::{Refusal, WRONG_NAME_OR_PASSWORD, directory};
use adea_store::{Decline, Transaction};

use crate::error::PodError;
use crate::pod::Pod;

use crate::directory::Holder;
pub use adea_accounts::sessions::Face;
pub use end::SessionPage;
pub(crate) use end::raise_epoch;
pub(crate) use memory::SessionMemory;
pub(crate) use resume::{HANDLER, temporary};
pub use standing::Standing;

/// How long the step between two factors may take.
const CONTINUATION_MS: u64 = 300_000;
/// The most characters of what a device calls itself.
const DEVICE_CHARS_MAX: usize = 256;

/// Why a use case here ended without doing what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// A cookie of this server whose session is over.
    #[error("The session has ended. Sign in again.")]
    Ended,
    /// A cookie that this server has not made.
    #[error("The session cookie was not made by this server. Sign in again.")]
    Forged,
    /// A token that proves nothing.
    #[error("The token is not valid, or its session has ended.")]
    Unproved,
    /// A request that changes something came with a cookie and without the session's token, or
    /// from a page of another site.
    #[error(
        "A request that changes something with a session cookie needs the session's token in the \
         header X-CSRF-Token (see GET /_auth/csrf), and a page of this server or of a listed origin."
    )]
    CrossSite,
    /// Credentials came unprotected from another machine.
    #[error(
        "Credentials are not taken over plain HTTP from other machines. Put a proxy with TLS in \
         front that sends X-Forwarded-Proto and is listed in auth.trusted_proxies, or set \
         session.plain_http."
    )]
    PlainHttp,
    /// A permanent password was used for something else than asking for a session.
    #[error(
        "A name and password are good only for POST /_auth/login here: use the session that it gives."
    )]
    Required,
    /// There is no such session of this account.
    #[error("There is no such session.")]
    Missing,
}

/// Who has proved to be whom, and wants a session for it. Whoever makes one has checked the first
/// factor; whether a second one is wanted is asked by [`Pod::begin_session`].
#[derive(Clone, Debug)]
pub struct Proof {
    /// The account, or `admin:<name>` for an administrator of the configuration.
    pub account: String,
    /// How it was proved: `password`, `passkey`, `oidc:google`, `mail_code`, `mail_link`, `anonymous`.
    pub method: String,
    /// Whether that is two factors already, as a passkey with user verification is.
    pub strong: bool,
    /// The epoch that was read before it was proved: it may take a while, and all sessions may have
    /// ended meanwhile. `None` where nothing is looked at that could have changed.
    pub epoch: Option<u64>,
}

/// What session is wanted, and from where.
#[derive(Clone, Debug)]
pub struct SessionWanted {
    /// How it is to prove itself.
    pub face: Face,
    /// The app that it is for; empty for none.
    pub app: String,
    /// What the device calls itself: its `User-Agent`, or what the client said.
    pub device: String,
    /// Where the request came from.
    pub address: IpAddr,
}

/// What came of a proof.
#[derive(Clone, Debug)]
pub enum Begun {
    /// A session.
    Session(Box<Credentials>),
    /// A second factor is wanted first: bring this with it.
    SecondFactor {
        /// A secret that is good once, for a few minutes.
        continuation: String,
        /// What would do: `totp`, `recovery_code`, `passkey`.
        kinds: Vec<&'static str>,
    },
}

/// What a client is given to prove a session with.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The session's id.
    pub session: String,
    /// How it proves itself.
    pub face: Face,
    /// The account's id.
    pub account: String,
    /// The name of its `_users` document.
    pub name: String,
    /// The access token, or the temporary password, or the cookie's value.
    pub secret: String,
    /// The temporary name, in the face `Basic`.
    pub basic_name: Option<String>,
    /// The refresh token, in the face `Bearer`.
    pub refresh: Option<String>,
    /// The token against requests of other sites, in the face `Cookie`.
    pub csrf: Option<String>,
    /// For how many seconds `secret` is good.
    pub expires_in_s: u64,
}

/// Who a session is for.
enum Owner {
    Account(Box<Holder>),
    Admin(String),
}

impl Owner {
    fn name(&self) -> &str {
        match self {
            Self::Account(holder) => &holder.record.name,
            Self::Admin(name) => name,
        }
    }

    fn epoch(&self) -> u64 {
        match self {
            Self::Account(holder) => holder.record.epoch,
            // Their sessions are removed when their password changes.
            Self::Admin(_) => 0,
        }
    }

    /// The administrator's name, if it is one.
    fn admin(&self) -> Option<String> {
        match self {
            Self::Account(_) => None,
            Self::Admin(name) => Some(name.clone()),
        }
    }
}

impl Pod {
    /// Begins a session for who proved to be an account, or says what else is wanted.
    ///
    /// # Errors
    /// [`PodError::Refused`] if the account is blocked, gone, or not of this app.
    pub async fn begin_session(
        &self,
        proof: Proof,
        wanted: SessionWanted,
    ) -> Result<Begun, PodError> {
        let owner = self.session_owner(&proof.account)?.ok_or_else(wrong)?;
        self.may_use_app(&proof.account, &wanted.app)?;
        if let Owner::Account(holder) = &owner
            && !proof.strong
        {
            let kinds = self.second_factor(holder);
            if !kinds.is_empty() {
                let epoch = proof.epoch.unwrap_or(holder.record.epoch);
                return self.ask_second_factor(&proof, &wanted, kinds, epoch).await;
            }
        }
        if wanted.face == Face::Bearer {
            self.ensure_signing_key().await?;
        }
        let (record, mut credentials) = self.new_session(&owner, &proof, &wanted);
        let stored = record.clone();
        let users = match &owner {
            Owner::Account(holder) => Some(holder.record.users),
            Owner::Admin(_) => None,
        };
        let (pod, noticing, name) = (self.clone(), self.clone(), credentials.name.clone());
        let (admin, epoch) = (owner.admin(), proof.epoch);
        Self::to_the_end(async move {
            // Held until it is stored: a change of his password ends this session too, or was seen.
            let _turn = match &admin {
                Some(name) => Some(pod.admin_proved(name, epoch).await?),
                None => None,
            };
            let store = pod.inner.store.clone();
            let begun = store.transact(Self::permit(), move |tx| {
                if let Some(users) = users {
                    check_account(&noticing, tx, users, &stored)?;
                }
                sessions::begin(tx, &stored)?;
                audit::append(tx, &entry("session.begin", &stored, &name, stored.begun_ms))?;
                Ok(())
            });
            begun.await.map_err(PodError::from)
        })
        .await?;
        if record.face == Face::Bearer {
            (credentials.secret, credentials.expires_in_s) =
                self.access_token(&record, &credentials.name)?;
        }
        Ok(Begun::Session(Box::new(credentials)))
    }

    /// Waits for changes of administrators, and lets none happen for as long as what is answered is
    /// held. Refuses who is none any more, or has another password than he had in `epoch`.
    async fn admin_proved(
        &self,
        name: &str,
        epoch: Option<u64>,
    ) -> Result<tokio::sync::MutexGuard<'_, ()>, PodError> {
        let turn = self.inner.accounts.admin_changes.lock().await;
        let now = self.inner.admins.read().epoch(name).ok_or_else(wrong)?;
        match epoch.is_none_or(|epoch| epoch == now) {
            true => Ok(turn),
            false => Err(wrong()),
        }
    }

    /// Who sessions of `account` are for; `None` if there is nobody, or he may not sign in.
    fn session_owner(&self, account: &str) -> Result<Option<Owner>, PodError> {
        if let Some(name) = account.strip_prefix(ADMIN_PREFIX) {
            let known = self.inner.admins.read().find(name).is_some();
            return Ok(known.then(|| Owner::Admin(name.to_owned())));
        }
        let holder = self.holder(account)?;
        let free = holder.filter(|holder| {
            !holder.record.flags.keep_out() && !self.is_shadowed(Some(&holder.record.name))
        });
        Ok(free.map(|holder| Owner::Account(Box::new(holder))))
    }

    /// Remembers what was proved and what is wanted, until the second factor comes. The data has the
    /// members `method`, `face`, `device` and `epoch`.
    async fn ask_second_factor(
        &self,
        proof: &Proof,
        wanted: &SessionWanted,
        kinds: Vec<&'static str>,
        epoch: u64,
    ) -> Result<Begun, PodError> {
        let continuation = one_time::new_secret(&self.inner.entropy);
        let now_ms = self.inner.clock.now_unix_ms();
        let step = OneTime {
            purpose: Purpose::SecondFactor,
            account: proof.account.clone(),
            app: wanted.app.clone(),
            expires_ms: now_ms.saturating_add(CONTINUATION_MS),
            data: serde_json::json!({
                "method": proof.method,
                "face": wanted.face.word(),
                "device": device(&wanted.device),
                "epoch": epoch,
            }),
        };
        let (store, secret) = (self.inner.store.clone(), continuation.clone());
        let issued = store.transact(Self::permit(), move |tx| {
            one_time::issue(tx, &secret, &step);
            Ok::<(), Decline<PodError>>(())
        });
        issued.await.map_err(PodError::from)?;
        Ok(Begun::SecondFactor {
            continuation,
            kinds,
        })
    }

    /// A session that is not stored yet, and what its client is given.
    fn new_session(
        &self,
        owner: &Owner,
        proof: &Proof,
        wanted: &SessionWanted,
    ) -> (SessionRecord, Credentials) {
        let settings = self.session_spans(&wanted.app);
        let (entropy, seals) = (&self.inner.entropy, &self.inner.session_memory.seals);
        let now_ms = self.inner.clock.now_unix_ms();
        let id = adea_accounts::keys::new_id(entropy);
        let lifetime_s = match wanted.face {
            Face::Bearer | Face::Cookie => settings.lifetime_s,
            Face::Basic => settings.basic_s,
        };
        let mut record = SessionRecord {
            id: id.clone(),
            account: proof.account.clone(),
            app: wanted.app.clone(),
            face: wanted.face,
            method: proof.method.clone(),
            device: device(&wanted.device),
            address: wanted.address.to_canonical().to_string(),
            begun_ms: now_ms,
            used_ms: now_ms,
            expires_ms: now_ms.saturating_add(lifetime_s.saturating_mul(1_000)),
            epoch: match owner {
                Owner::Account(_) => proof.epoch.unwrap_or(owner.epoch()),
                Owner::Admin(_) => owner.epoch(),
            },
            ..SessionRecord::default()
        };
        let mut credentials = Credentials {
            session: id.clone(),
            face: wanted.face,
            account: proof.account.clone(),
            name: owner.name().to_owned(),
            expires_in_s: lifetime_s,
            ..Credentials::default()
        };
        match wanted.face {
            Face::Bearer => {
                let token = seals.first_refresh_token(&id, entropy);
                record.secret = Seals::hash(&token);
                credentials.refresh = Some(token);
            }
            Face::Cookie => {
                credentials.secret = seals.cookie(&id, now_ms);
                credentials.csrf = Some(seals.csrf(&id));
                credentials.expires_in_s = lifetime_s.min(settings.idle_s);
            }
            Face::Basic => {
                let password = sessions::new_password(entropy);
                record.secret = Seals::hash(&password);
                credentials.secret = password;
                credentials.basic_name = Some(format!("{BASIC_PREFIX}{id}"));
            }
        }
        (record, credentials)
    }
}

/// Makes sure that the account is there, may sign in, and has not ended all sessions since the user
/// was proved.
fn check_account(
    pod: &Pod,
    tx: &mut Transaction<'_>,
    users: u64,
    session: &SessionRecord,
) -> Result<(), Decline<PodError>> {
    let before = directory::live(tx, users, &session.account)?;
    let before = before.ok_or_else(|| Decline::Refused(wrong()))?;
    if before.flags.keep_out() || before.epoch != session.epoch {
        return Err(Decline::Refused(wrong()));
    }
    let mut record = before.clone();
    record.seen_ms = session.begun_ms;
    pod.notice_device(tx, &mut record, session);
    directory::store(tx, Some(&before), &record)?;
    Ok(())
}

/// An entry of the audit log about a session.
fn entry(action: &str, session: &SessionRecord, name: &str, now_ms: u64) -> AuditEntry {
    AuditEntry {
        time_ms: now_ms,
        action: action.to_owned(),
        account: session.account.clone(),
        name: name.to_owned(),
        target: session.account.clone(),
        address: session.address.clone(),
        app: session.app.clone(),
        detail: serde_json::json!({
            "session": session.id,
            "face": session.face.word(),
            "method": session.method,
        }),
    }
}

/// What a device calls itself, in one line of bounded length.
fn device(said: &str) -> String {
    let shown = said.chars().filter(|letter| !letter.is_control());
    shown.take(DEVICE_CHARS_MAX).collect()
}

/// The same words for whoever cannot sign in, whatever the reason.
fn wrong() -> PodError {
    Refusal::Unauthorized(Cow::Borrowed(WRONG_NAME_OR_PASSWORD)).into()
}

#[cfg(test)]
mod tests;

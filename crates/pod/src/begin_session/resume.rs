//! Resuming sessions: from what a request brings to who is calling. It costs a keyed hash, and a
//! look-up of the session as it was read before, as long as nothing has changed that could end it.

use std::net::IpAddr;
use std::sync::Arc;

use adea_accounts::TokenHolder;
use adea_accounts::audit::{self, AuditEntry};
use adea_accounts::sessions::{self, BASIC_PREFIX, Seals, SessionRecord};
use adea_base::Caller;
use adea_store::{Decline, TransactError};

use super::memory::Resumed;
use super::{Face, Owner, SessionError, wrong};
use crate::admins::ADMIN_ROLE;
use crate::error::PodError;
use crate::pod::Pod;
use crate::sign_in::SignedIn;

/// A cookie is given out anew when it is older than this, so that browsers keep it.
const COOKIE_STEP_MS: u64 = 86_400_000;

/// The handler of a session, as `GET /_session` tells it.
pub(crate) const HANDLER: &str = "session";

impl Pod {
    /// Whom a token speaks for: one of ours, or one of those whose keys are configured.
    pub(crate) async fn bear(&self, token: &str) -> Result<SignedIn, PodError> {
        let keys = self.signing_keys()?;
        let now_s = self.inner.clock.now_unix_s();
        let verified = &self.inner.session_memory.verified;
        if keys.may_be_ours(token) {
            let known = verified.get(token, now_s);
            let session = known.as_ref().and_then(Caller::session);
            if let Some(session) = session {
                return self.resume_bearer(session);
            }
        }
        match keys.verify(token, now_s) {
            Ok(claims) => {
                let holder = TokenHolder {
                    caller: Caller::anonymous().with_session(&claims.sid),
                    expires_s: Some(claims.exp.saturating_add(sessions::LEEWAY_S)),
                };
                verified.insert(token, &holder, now_s);
                self.resume_bearer(&claims.sid)
            }
            Err(_) if self.auth().tokens.enabled() && !keys.claims_to_be_ours(token) => {
                Ok(SignedIn::by("jwt", self.verify_token(token).await?))
            }
            Err(_) => Err(SessionError::Unproved.into()),
        }
    }

    fn resume_bearer(&self, session: &str) -> Result<SignedIn, PodError> {
        let caller = self.resume(session, |record| record.face == Face::Bearer)?;
        let caller = caller.ok_or(SessionError::Unproved)?;
        Ok(SignedIn::by(HANDLER, caller))
    }

    /// Who calls with a temporary name and password.
    pub(crate) fn resume_basic(&self, session: &str, password: &str) -> Result<Caller, PodError> {
        let proves = |record: &SessionRecord| {
            record.face == Face::Basic && Seals::is_hash_of(&record.secret, password)
        };
        self.resume(session, proves)?.ok_or_else(wrong)
    }

    /// Who calls with a cookie of ours.
    pub(crate) async fn resume_cookie(
        &self,
        value: &str,
        peer: IpAddr,
    ) -> Result<SignedIn, PodError> {
        let seals = &self.inner.session_memory.seals;
        let Some(presented) = seals.read_cookie(value) else {
            self.tell_of_forgery(peer).await;
            return Err(SessionError::Forged.into());
        };
        let caller = self.resume(&presented.session, |record| record.face == Face::Cookie)?;
        let caller = caller.ok_or(SessionError::Ended)?;
        let now_ms = self.inner.clock.now_unix_ms();
        let step_ms = (self.idle_ms() / 10).min(COOKIE_STEP_MS);
        let old = now_ms.saturating_sub(presented.issued_ms) >= step_ms;
        Ok(SignedIn {
            renewed_session: old.then(|| seals.cookie(&presented.session, now_ms)),
            ..SignedIn::by(HANDLER, caller)
        })
    }

    /// The token against requests of other sites, for a session.
    #[must_use]
    pub fn csrf_token(&self, session: &str) -> String {
        self.inner.session_memory.seals.csrf(session)
    }

    /// Whether `token` is the one against requests of other sites that `session` was given.
    #[must_use]
    pub fn is_csrf_token(&self, session: &str, token: &str) -> bool {
        self.inner.session_memory.seals.is_csrf(session, token)
    }

    /// Who speaks in a session, if it goes on and `proves` says that this is it. That it was used is
    /// noted, now and then.
    fn resume(
        &self,
        id: &str,
        proves: impl FnOnce(&SessionRecord) -> bool,
    ) -> Result<Option<Caller>, PodError> {
        let memory = &self.inner.session_memory;
        // Asked before anything is read.
        let turns = self.inner.store.watch().turns();
        let found = match memory.resumed(id, turns) {
            Some(known) => Some(known),
            None => self.read_session(id, turns)?,
        };
        let Some(found) = found.filter(|found| proves(&found.record)) else {
            return Ok(None);
        };
        let (now_ms, idle_ms) = (self.inner.clock.now_unix_ms(), self.idle_ms());
        if found.record.is_over(now_ms, idle_ms) {
            return Ok(None);
        }
        if found.record.is_renewal_due(now_ms, idle_ms) {
            self.note_use(&found.record, now_ms);
            let mut record = SessionRecord::clone(&found.record);
            record.used_ms = now_ms;
            memory.remember(Resumed {
                record: Arc::new(record),
                ..found.clone()
            });
        }
        Ok(Some(found.caller))
    }

    /// Reads a session, and who speaks in it.
    fn read_session(&self, id: &str, turns: u64) -> Result<Option<Resumed>, PodError> {
        let Some(record) = sessions::find(self.view().as_ref(), id)? else {
            return Ok(None);
        };
        let Some(caller) = self.speaker(&record)? else {
            return Ok(None);
        };
        let found = Resumed {
            turns,
            record: Arc::new(record),
            caller,
        };
        self.inner.session_memory.remember(found.clone());
        Ok(Some(found))
    }

    /// Who speaks in a session, if its account still may.
    pub(super) fn speaker(&self, record: &SessionRecord) -> Result<Option<Caller>, PodError> {
        let owner = self.owner_of_session(record)?;
        let caller = match owner {
            None => return Ok(None),
            Some(Owner::Admin(name)) => Caller::named(&name, vec![ADMIN_ROLE.to_owned()]),
            Some(Owner::Account(holder)) => {
                if !self.still_uses_app(&holder.caller, record) {
                    return Ok(None);
                }
                holder.caller.with_role(format!("user:{}", record.account))
            }
        };
        Ok(Some(caller.with_session(&record.id)))
    }

    /// Whether who speaks in a session may still use the app that it is for.
    fn still_uses_app(&self, caller: &Caller, record: &SessionRecord) -> bool {
        let joined = |role: &String| role.strip_prefix("app:") == Some(&record.app);
        record.app.is_empty()
            || caller.roles().iter().any(joined)
            || self.may_use_app(&record.account, &record.app).is_ok()
    }

    /// Has the use of a session noted; the request does not wait for it.
    fn note_use(&self, record: &SessionRecord, now_ms: u64) {
        let memory = &self.inner.session_memory;
        if !memory.note(&record.id, record.used_ms, now_ms) {
            return;
        }
        let id = record.id.clone();
        let noting = self.inner.store.submit(Self::permit(), move |tx| {
            sessions::renew(tx, &id, now_ms)?;
            Ok::<(), Decline<PodError>>(())
        });
        // It is done whether it is waited for or not, and done again later if it fails.
        drop(noting);
    }

    /// Tells of a cookie that was not made here, now and then.
    async fn tell_of_forgery(&self, peer: IpAddr) {
        let now_ms = self.inner.clock.now_unix_ms();
        let Some(count) = self.inner.session_memory.forged(now_ms) else {
            return;
        };
        let address = peer.to_canonical().to_string();
        tracing::warn!(count, address, "somebody brings forged session cookies");
        let entry = AuditEntry {
            time_ms: now_ms,
            action: "session.forged".to_owned(),
            address,
            detail: serde_json::json!({ "count": count }),
            ..AuditEntry::default()
        };
        let told: Result<(), TransactError<PodError>> = self
            .inner
            .store
            .transact(Self::permit(), move |tx| Ok(audit::append(tx, &entry)?))
            .await;
        if let Err(error) = told {
            tracing::error!("the audit log was not written: {}", PodError::from(error));
        }
    }
}

/// Whether a name is a temporary one, and of which session.
pub(crate) fn temporary(name: &str) -> Option<&str> {
    name.starts_with(BASIC_PREFIX)
        .then(|| sessions::of_basic_name(name))?
}

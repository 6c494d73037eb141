//! Going on with a session in the face `Bearer`: a new access token, and the next refresh token.

use std::net::IpAddr;

use adea_accounts::audit;
use adea_accounts::sessions::{self, Refreshed, SessionRecord};
use adea_store::Decline;

use super::{Credentials, Owner, SessionError, entry};
use crate::error::PodError;
use crate::pod::Pod;

impl Pod {
    /// What a session goes on with whose refresh token this is. A token that was used before, and
    /// not just now, ends the session: two have it, and one of them has no right to.
    ///
    /// # Errors
    /// [`SessionError::Unproved`] if it is of no session that goes on.
    pub async fn refresh_session(
        &self,
        token: &str,
        address: IpAddr,
    ) -> Result<Credentials, PodError> {
        let seals = self.inner.session_memory.seals.clone();
        let unproved = || PodError::from(SessionError::Unproved);
        let presented = seals.read_refresh_token(token).ok_or_else(unproved)?;
        let found = sessions::find(self.view().as_ref(), &presented.session)?;
        let found = found.ok_or_else(unproved)?;
        let owner = self.owner_of_session(&found)?.ok_or_else(unproved)?;
        self.ensure_signing_key().await?;
        let (now_ms, idle_ms) = (self.inner.clock.now_unix_ms(), self.idle_ms());
        let name = owner.name().to_owned();
        let (store, address) = (self.inner.store.clone(), address.to_canonical().to_string());
        let refreshed = Self::to_the_end(async move {
            let refreshed = store.transact(Self::permit(), move |tx| {
                let refreshed = sessions::refresh(tx, &seals, &presented, now_ms, idle_ms)?;
                if let Refreshed::Replayed(session) = &refreshed {
                    let mut entry = entry("session.replay", session, &name, now_ms);
                    entry.address = address;
                    audit::append(tx, &entry)?;
                }
                Ok::<_, Decline<PodError>>(refreshed)
            });
            refreshed.await.map_err(PodError::from)
        })
        .await?;
        match refreshed {
            Refreshed::Next { record, token } => self.refreshed(&owner, &record, token),
            Refreshed::Replayed(session) => {
                tracing::warn!(
                    session = session.id,
                    account = session.account,
                    "a refresh token was used twice: its session was ended"
                );
                Err(unproved())
            }
            Refreshed::Refused => Err(unproved()),
        }
    }

    fn refreshed(
        &self,
        owner: &Owner,
        record: &SessionRecord,
        refresh: String,
    ) -> Result<Credentials, PodError> {
        let (secret, expires_in_s) = self.access_token(record, owner.name())?;
        Ok(Credentials {
            session: record.id.clone(),
            face: record.face,
            account: record.account.clone(),
            name: owner.name().to_owned(),
            secret,
            refresh: Some(refresh),
            expires_in_s,
            ..Credentials::default()
        })
    }

    /// Whom a session speaks for, if he may still sign in and has not ended all sessions since.
    pub(super) fn owner_of_session(
        &self,
        session: &SessionRecord,
    ) -> Result<Option<Owner>, PodError> {
        let owner = self.session_owner(&session.account)?;
        Ok(owner.filter(|owner| owner.epoch() == session.epoch))
    }

    /// For how many milliseconds a session lasts unused.
    pub(crate) fn idle_ms(&self) -> u64 {
        self.auth().accounts.sessions.idle_s.saturating_mul(1_000)
    }
}

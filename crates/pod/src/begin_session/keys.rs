//! The keys that sign access tokens: made when the first one is signed, changed each month.

use std::sync::Arc;

use adea_accounts::audit::{self, AuditEntry};
use adea_accounts::sessions::signing::{self, SigningKey};
use adea_accounts::sessions::{LEEWAY_S, SessionRecord, SignedClaims, SigningKeys};
use adea_base::Caller;
use adea_store::Decline;
use serde_json::Value;

use crate::error::PodError;
use crate::pod::Pod;

/// For how long a key signs.
const SIGNS_MS: u64 = 30 * 86_400_000;
/// For how long a key that signs no more is kept at the least: what is set for the lifetime of tokens
/// may have been longer when it signed.
const KEPT_MS_MIN: u64 = 86_400_000;

impl Pod {
    /// The public parts of the keys that sign access tokens, as a key set (JWKS).
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn published_keys(&self) -> Result<Value, PodError> {
        Ok(self.signing_keys()?.published())
    }

    /// Puts a new key in the place of the one that signs access tokens; what was signed before stays
    /// good for its time.
    ///
    /// # Errors
    /// [`PodError::Commit`] if it cannot be stored.
    pub async fn rotate_signing_key(&self, by: &Caller) -> Result<(), PodError> {
        let name = by.name().unwrap_or_default().to_owned();
        let account = Self::account_of(by).unwrap_or_default();
        let entry = AuditEntry {
            time_ms: self.inner.clock.now_unix_ms(),
            action: "session.rotate_key".to_owned(),
            account,
            name,
            ..AuditEntry::default()
        };
        self.change_signing_key(Some(entry)).await
    }

    /// As [`Pod::rotate_signing_key`], if the key has signed for long enough.
    pub(crate) async fn rotate_old_signing_key(&self) -> Result<bool, PodError> {
        let since_ms = self.signing_keys()?.current_since_ms();
        let now_ms = self.inner.clock.now_unix_ms();
        if since_ms.is_none_or(|since_ms| now_ms.saturating_sub(since_ms) < SIGNS_MS) {
            return Ok(false);
        }
        self.change_signing_key(None).await?;
        Ok(true)
    }

    async fn change_signing_key(&self, entry: Option<AuditEntry>) -> Result<(), PodError> {
        let access_s = self.auth().accounts.sessions.access_s;
        let keep_ms = access_s.saturating_add(2 * LEEWAY_S).saturating_mul(1_000);
        let keep_ms = keep_ms.max(KEPT_MS_MIN);
        let (entropy, now_ms) = (self.inner.entropy.clone(), self.inner.clock.now_unix_ms());
        let pod = self.clone();
        Self::to_the_end(async move {
            let changed = pod.inner.store.transact(Self::permit(), move |tx| {
                if let Some(entry) = entry {
                    audit::append(tx, &entry)?;
                }
                Ok::<_, Decline<PodError>>(signing::rotate(tx, &entropy, now_ms, keep_ms)?)
            });
            let stored = changed.await.map_err(PodError::from)?;
            pod.take_signing_keys(&stored);
            // A key that is gone ends what it signed.
            pod.inner.session_memory.verified.clear();
            Ok(())
        })
        .await
    }

    /// Makes sure that there is a key to sign with.
    pub(super) async fn ensure_signing_key(&self) -> Result<(), PodError> {
        if self.signing_keys()?.current_since_ms().is_some() {
            return Ok(());
        }
        let (entropy, now_ms) = (self.inner.entropy.clone(), self.inner.clock.now_unix_ms());
        let pod = self.clone();
        Self::to_the_end(async move {
            let ensured = pod.inner.store.transact(Self::permit(), move |tx| {
                Ok::<_, Decline<PodError>>(signing::ensure(tx, &entropy, now_ms)?)
            });
            let stored = ensured.await.map_err(PodError::from)?;
            pod.take_signing_keys(&stored);
            Ok(())
        })
        .await
    }

    /// The keys that sign and signed access tokens.
    pub(super) fn signing_keys(&self) -> Result<Arc<SigningKeys>, PodError> {
        if let Some(keys) = self.inner.session_memory.keys.read().as_ref() {
            return Ok(Arc::clone(keys));
        }
        // Held while they are read, so that nobody puts older ones in the place of newer ones.
        let mut known = self.inner.session_memory.keys.write();
        if let Some(keys) = known.as_ref() {
            return Ok(Arc::clone(keys));
        }
        let stored = signing::stored(self.view().as_ref())?;
        let keys = Arc::new(SigningKeys::new(&self.token_issuer(), &stored));
        *known = Some(Arc::clone(&keys));
        Ok(keys)
    }

    fn take_signing_keys(&self, stored: &[SigningKey]) {
        let keys = Arc::new(SigningKeys::new(&self.token_issuer(), stored));
        *self.inner.session_memory.keys.write() = Some(keys);
    }

    /// What this installation is called in the tokens that it signs.
    fn token_issuer(&self) -> String {
        format!("adea:{}", self.identity().uuid)
    }

    /// An access token for a session, and for how many seconds it is good.
    pub(super) fn access_token(
        &self,
        session: &SessionRecord,
        name: &str,
    ) -> Result<(String, u64), PodError> {
        let now_s = self.inner.clock.now_unix_s();
        let left_s = (session.expires_ms / 1_000).saturating_sub(now_s);
        let lasts_s = self.session_spans(&session.app).access_s.min(left_s);
        let keys = self.signing_keys()?;
        let claims = SignedClaims {
            iss: keys.issuer().to_owned(),
            sub: session.account.clone(),
            sid: session.id.clone(),
            aud: (!session.app.is_empty()).then(|| session.app.clone()),
            iat: now_s,
            exp: now_s.saturating_add(lasts_s),
            jti: adea_accounts::keys::new_id(&self.inner.entropy),
            name: name.to_owned(),
        };
        let token = keys.sign(&claims).ok_or(PodError::Interrupted)?;
        Ok((token, lasts_s))
    }
}

//! Who an account is at other providers: told to its user, and taken away by him.

use adea_accounts::audit::{self, AuditEntry};
use adea_accounts::directory::AccountRecord;
use adea_store::Decline;

use super::ProviderError;
use crate::directory::AccountError;
use crate::error::PodError;
use crate::pod::Pod;

/// Who an account is at another provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedIdentity {
    /// The provider's name.
    pub provider: String,
    /// The address that it told, if any.
    pub address: Option<String>,
    /// When it was linked, in milliseconds since the Unix epoch.
    pub linked_ms: u64,
}

impl Pod {
    /// Providers to sign in with: their names, and what stands on their buttons.
    #[must_use]
    pub fn provider_names(&self) -> Vec<(String, String)> {
        let auth = self.auth();
        let all = auth.accounts.providers.list.iter();
        all.map(|one| (one.name.clone(), one.label.clone()))
            .collect()
    }

    /// Who the account is at other providers.
    ///
    /// # Errors
    /// [`AccountError::Missing`].
    pub fn identities(&self, account: &str) -> Result<Vec<LinkedIdentity>, PodError> {
        let holder = self.holder(account)?.ok_or(AccountError::Missing)?;
        let all = holder.record.identities.iter();
        Ok(all
            .map(|known| LinkedIdentity {
                provider: known.provider.clone(),
                address: known.address.clone(),
                linked_ms: known.linked_ms,
            })
            .collect())
    }

    /// Takes away who the account is at `provider`.
    ///
    /// # Errors
    /// [`ProviderError::NotLinked`]; [`ProviderError::LastWayIn`] if nothing else would let him in.
    pub async fn unlink(
        &self,
        account: &str,
        provider: &str,
        from: std::net::IpAddr,
    ) -> Result<(), PodError> {
        let has_password = self
            .holder(account)?
            .ok_or(AccountError::Missing)?
            .has_password;
        let (provider, now_ms) = (provider.to_owned(), self.inner.clock.now_unix_ms());
        self.edit_account(account, move |tx, record| {
            let before = record.identities.len();
            record.identities.retain(|known| known.provider != provider);
            if record.identities.len() == before {
                return Err(Decline::Refused(ProviderError::NotLinked.into()));
            }
            if !has_password && !has_way_in(record) {
                return Err(Decline::Refused(ProviderError::LastWayIn.into()));
            }
            let entry = AuditEntry {
                time_ms: now_ms,
                action: "identity.unlink".to_owned(),
                account: record.id.clone(),
                name: record.name.clone(),
                target: record.id.clone(),
                address: from.to_string(),
                detail: serde_json::json!({ "provider": provider }),
                ..AuditEntry::default()
            };
            Ok(audit::append(tx, &entry)?)
        })
        .await
    }
}

/// Whether somebody can sign in to this account without a password.
pub(crate) fn has_way_in(record: &AccountRecord) -> bool {
    record.verified_address().is_some()
        || !record.identities.is_empty()
        || !record.passkeys.is_empty()
}

//! The audit log: written in the commit of what it tells, read by administrators and by those whom
//! it is about, kept for a while.

use std::time::Duration;

use adea_accounts::audit::{self, AuditFilter, AuditPage, Place};
use adea_store::TransactError;
use tokio::task::spawn_blocking;

use crate::apps::Actor;
use crate::error::PodError;
use crate::pod::Pod;

/// How long entries are kept if nothing is set.
const KEEP: Duration = Duration::from_secs(400 * 86_400);
/// Portions of old entries that one turn removes: what is left waits for the next.
const PORTIONS_MAX: usize = 200;

impl Pod {
    /// Looks for entries of the audit log, `limit` at the most, behind the place `after`.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub async fn audit(
        &self,
        filter: AuditFilter,
        after: Option<Place>,
        limit: usize,
    ) -> Result<AuditPage, PodError> {
        let pod = self.clone();
        let looked = spawn_blocking(move || {
            let view = pod.view();
            audit::find(view.as_ref(), &filter, after.as_ref(), limit)
        });
        Ok(looked.await.map_err(|_| PodError::Interrupted)??)
    }

    /// Makes the audit log tell nothing any more of who had an account that is gone. May be done
    /// again.
    ///
    /// # Errors
    /// [`PodError::Commit`] if the store takes no writes.
    pub async fn forget_in_audit(&self, account: &str) -> Result<(), PodError> {
        let mut after: Option<Place> = None;
        loop {
            let account = account.to_owned();
            let forgotten: Result<Option<Place>, TransactError<PodError>> = self
                .inner
                .store
                .transact(Self::permit(), move |tx| {
                    Ok(audit::forget_name(tx, &account, after.as_ref())?)
                })
                .await;
            after = forgotten?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Removes entries that are older than they are kept, and says how many those were.
    ///
    /// # Errors
    /// [`PodError::Commit`] if the store takes no writes.
    pub async fn sweep_audit(&self) -> Result<usize, PodError> {
        let keep_s = self.auth().accounts.audit_keep_s;
        let keep_ms = keep_s.unwrap_or(KEEP.as_secs()).saturating_mul(1_000);
        let before_ms = self.inner.clock.now_unix_ms().saturating_sub(keep_ms);
        let mut removed = 0;
        for _ in 0..PORTIONS_MAX {
            let portion: Result<usize, TransactError<PodError>> = self
                .inner
                .store
                .transact(Self::permit(), move |tx| {
                    Ok(audit::remove_older(tx, before_ms)?)
                })
                .await;
            let portion = portion?;
            removed += portion;
            if portion < audit::BATCH {
                break;
            }
        }
        Ok(removed)
    }

    /// What is written down of what somebody does to the server or to a database.
    pub(crate) fn told(
        &self,
        by: Option<&Actor>,
        action: &str,
        target: &str,
    ) -> Option<audit::AuditEntry> {
        let now_ms = self.inner.clock.now_unix_ms();
        by.map(|by| by.entry(action, target, "", now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_user::tests::over;
    use adea_accounts::audit::AuditEntry;
    use adea_store::Memory;
    use serde_json::json;
    use std::sync::Arc;

    async fn append(pod: &Pod, entry: AuditEntry) {
        let appended: Result<(), TransactError<PodError>> = pod
            .inner
            .store
            .transact(Pod::permit(), move |tx| Ok(audit::append(tx, &entry)?))
            .await;
        appended.unwrap();
    }

    fn entry(time_ms: u64, action: &str, account: &str, target: &str) -> AuditEntry {
        AuditEntry {
            time_ms,
            action: action.to_owned(),
            account: account.to_owned(),
            name: format!("name of {account}"),
            target: target.to_owned(),
            address: "192.0.2.1".to_owned(),
            app: String::new(),
            detail: json!({"mail": "ann@example.org"}),
        }
    }

    /// The times of all that is found, read two at a time.
    async fn times(pod: &Pod, filter: &AuditFilter) -> Vec<u64> {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = pod.audit(filter.clone(), after, 2).await.unwrap();
            assert!(page.entries.len() <= 2);
            found.extend(page.entries.iter().map(|entry| entry.time_ms));
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    }

    #[tokio::test]
    async fn entries_are_found_by_who_whom_what_and_when() {
        let pod = over(Arc::new(Memory::new())).await;
        for (time_ms, action, account, target) in [
            (10, "session.begin", "ann", ""),
            (20, "membership.grant", "ann", "bob"),
            (20, "membership.grant", "ann", "eve"),
            (30, "session.begin", "bob", "bob"),
            (40, "session.end", "ann", "ann"),
        ] {
            append(&pod, entry(time_ms, action, account, target)).await;
        }
        let all = AuditFilter::default();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(times(&pod, &all).await, [40, 30, 20, 20, 10]);
        let oldest_first = AuditFilter {
            oldest_first: true,
            ..all.clone()
        };
        assert_eq!(times(&pod, &oldest_first).await, [10, 20, 20, 30, 40]);
        let by_ann = AuditFilter {
            account: text("ann"),
            ..oldest_first.clone()
        };
        assert_eq!(times(&pod, &by_ann).await, [10, 20, 20, 40]);
        let about_bob = AuditFilter {
            about: text("bob"),
            ..all.clone()
        };
        assert_eq!(times(&pod, &about_bob).await, [30, 20]);
        let ann_to_bob = AuditFilter {
            account: text("ann"),
            target: text("bob"),
            ..all.clone()
        };
        assert_eq!(times(&pod, &ann_to_bob).await, [20]);
        let sessions = AuditFilter {
            action: text("session."),
            from_ms: Some(20),
            to_ms: Some(40),
            ..oldest_first
        };
        assert_eq!(times(&pod, &sessions).await, [30]);
        let nowhere = AuditFilter {
            from_ms: Some(50),
            to_ms: Some(5),
            ..all
        };
        assert_eq!(times(&pod, &nowhere).await, [0; 0]);
    }

    #[tokio::test]
    async fn who_is_gone_is_forgotten_by_name_and_not_what_was_done() {
        let pod = over(Arc::new(Memory::new())).await;
        for n in 0..600 {
            append(&pod, entry(n, "session.begin", "ann", "")).await;
        }
        append(&pod, entry(700, "account.block", "root", "ann")).await;
        append(&pod, entry(800, "account.recover", "", "ann")).await;
        append(&pod, entry(900, "account.recover", "", "bob")).await;
        pod.forget_in_audit("ann").await.unwrap();
        let filter = AuditFilter {
            about: Some("ann".to_owned()),
            ..AuditFilter::default()
        };
        let page = pod.audit(filter, None, 1_000).await.unwrap();
        assert_eq!(page.entries.len(), 602);
        for entry in page.entries {
            assert_eq!(entry.detail, serde_json::Value::Null);
            match entry.account.as_str() {
                "" => assert_eq!(entry.address, ""),
                "ann" => assert_eq!((entry.name.as_str(), entry.address.as_str()), ("", "")),
                _ => assert_eq!(entry.name, "name of root"),
            }
        }
        let of_bob = AuditFilter {
            target: Some("bob".to_owned()),
            ..AuditFilter::default()
        };
        let page = pod.audit(of_bob, None, 9).await.unwrap();
        assert_eq!(page.entries[0].address, "192.0.2.1");
    }

    #[tokio::test]
    async fn entries_are_kept_for_as_long_as_is_set_and_no_longer() {
        let pod = over(Arc::new(Memory::new())).await;
        let now_ms = pod.clock().now_unix_ms();
        pod.change_auth(|auth| auth.accounts.audit_keep_s = Some(100));
        for n in 0..700 {
            append(&pod, entry(n, "session.begin", "ann", "bob")).await;
        }
        append(&pod, entry(now_ms - 50_000, "session.end", "ann", "")).await;
        assert_eq!(pod.sweep_audit().await.unwrap(), 700);
        let by_ann = AuditFilter {
            account: Some("ann".to_owned()),
            ..AuditFilter::default()
        };
        assert_eq!(times(&pod, &by_ann).await, [now_ms - 50_000]);
        let about_bob = AuditFilter {
            about: Some("bob".to_owned()),
            ..AuditFilter::default()
        };
        assert_eq!(times(&pod, &about_bob).await, [0; 0]);
        assert_eq!(pod.sweep_audit().await.unwrap(), 0);
    }
}

//! From who somebody is at a provider to his account here.
//!
//! First by the provider's id for him, which never changes. If nobody has that, by his address, but only if
//! the provider says that it is verified and is trusted in that, and only to an account that has verified
//! the same address here. Both halves are needed: without the first, anybody could write somebody's address
//! into his profile at a provider and walk into that account; without the second, anybody could sign up
//! here with somebody's address before him, and share the account when he comes later by a provider
//! (pre-hijacking). Who is found by neither is new; an account that holds the same address unverified
//! stays what it is, and can no longer verify it. A way into an account that there was is told its owner by
//! mail, in the same commit.

use adea_accounts::audit::{self, AuditEntry};
use adea_accounts::directory::{self, AccountRecord, Address, Ground, Identity};
use adea_accounts::names::normal_address;
use adea_accounts::oidc::{Person, Provider};
use adea_mail::{Kind, Outgoing, enqueue};
use adea_store::{Decline, Transaction};

use super::ProviderError;
use crate::directory::NewAccount;
use crate::directory::create::create_in;
use crate::directory::edit::edit_in;
use crate::error::PodError;

/// What somebody at a provider is to become here.
pub(super) struct Arrival<'a> {
    pub(super) provider: &'a Provider,
    pub(super) person: &'a Person,
    pub(super) app: &'a str,
    /// Whether somebody with this address, or none, may make an account.
    pub(super) admits: &'a dyn Fn(Option<&str>) -> Result<(), PodError>,
    /// Where the request came from.
    pub(super) from: String,
}

impl Arrival<'_> {
    fn identity(&self, now_ms: u64) -> Identity {
        Identity {
            provider: self.provider.name.clone(),
            subject: self.person.subject.clone(),
            address: self.person.address.clone(),
            linked_ms: now_ms,
        }
    }

    /// The address that counts as proved.
    fn address(&self, now_ms: u64) -> Option<Address> {
        let address = self.person.address.as_deref();
        let address = address.filter(|_| self.person.address_verified)?;
        Some(Address {
            address: address.to_owned(),
            normal: normal_address(address).ok()?,
            verified_ms: Some(now_ms),
        })
    }

    fn note(
        &self,
        tx: &mut Transaction<'_>,
        action: &str,
        account: &AccountRecord,
        now_ms: u64,
    ) -> Result<(), Decline<PodError>> {
        let entry = AuditEntry {
            time_ms: now_ms,
            action: action.to_owned(),
            account: account.id.clone(),
            name: account.name.clone(),
            target: account.id.clone(),
            address: self.from.clone(),
            app: self.app.to_owned(),
            detail: serde_json::json!({"by": format!("oidc:{}", self.provider.name)}),
        };
        Ok(audit::append(tx, &entry)?)
    }

    /// The account of this person, found or made.
    pub(super) fn account(
        &self,
        tx: &mut Transaction<'_>,
        ground: &Ground,
    ) -> Result<String, Decline<PodError>> {
        let (provider, subject) = (&self.provider.name, &self.person.subject);
        if let Some(id) = directory::find_identity(tx, provider, subject)?
            && directory::live(tx, ground.users, &id)?.is_some()
        {
            return Ok(id);
        }
        let address = self.address(ground.now_ms);
        if let Some(address) = &address
            && let Some(id) = directory::find_address(tx, &address.normal)?
            && let Some(record) = directory::live(tx, ground.users, &id)?
            && !record
                .identities
                .iter()
                .any(|known| known.provider == *provider)
        {
            self.link(tx, ground, &id)?;
            return Ok(id);
        }
        // Another person of the same provider has proved this address before: it stays his.
        let free = match &address {
            None => None,
            Some(address) => match directory::find_address(tx, &address.normal)? {
                Some(id) if directory::live(tx, ground.users, &id)?.is_some() => None,
                Some(_) | None => Some(address.clone()),
            },
        };
        let proved = address.as_ref().map(|address| address.normal.as_str());
        (self.admits)(proved).map_err(Decline::Refused)?;
        let new = NewAccount {
            address: free,
            app: self.app.to_owned(),
            identity: Some(self.identity(ground.now_ms)),
            ..NewAccount::default()
        };
        let made = create_in(tx, ground, &new)?;
        crate::links::join_app(tx, &made.id, self.app, ground.now_ms)?;
        self.note(tx, "account.create", &made, ground.now_ms)?;
        Ok(made.id)
    }

    /// Links this person with account `id`; one that was nobody's is somebody's from now on.
    pub(super) fn link(
        &self,
        tx: &mut Transaction<'_>,
        ground: &Ground,
        id: &str,
    ) -> Result<(), Decline<PodError>> {
        let own = match self.address(ground.now_ms) {
            None => None,
            Some(address) => {
                let holder = directory::find_address(tx, &address.normal)?;
                Some(address).filter(|_| holder.is_none())
            }
        };
        let identity = self.identity(ground.now_ms);
        let linked = edit_in(tx, ground.users, id, |tx, record| {
            let same = |known: &&Identity| known.provider == identity.provider;
            match record.identities.iter().find(same) {
                Some(known) if known.subject == identity.subject => return Ok(None),
                Some(_) => return Err(Decline::Refused(ProviderError::Linked.into())),
                None => record.identities.push(identity),
            }
            self.tell(tx, ground, record);
            if record.flags.anonymous {
                record.addresses.extend(own);
            }
            Ok(Some(record.clone()))
        })?;
        match linked {
            Some(record) => self.note(tx, "identity.link", &record, ground.now_ms),
            None => Ok(()),
        }
    }

    /// Tells the owner of `record` that there is another way in.
    fn tell(&self, tx: &mut Transaction<'_>, ground: &Ground, record: &AccountRecord) {
        let Some(address) = record.verified_address() else {
            return;
        };
        let what = format!("Signing in with {} was added", self.provider.label);
        let mail = Outgoing {
            kind: Kind::FactorChanged,
            to: address.address.clone(),
            language: record.language.clone().unwrap_or_default(),
            app: self.app.to_owned(),
            data: serde_json::json!({"what": what, "change": "identity.link"}),
        };
        enqueue(tx, &ground.entropy, ground.now_ms, &mail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::Pod;
    use crate::write_user::tests::pod;

    /// Somebody with that address arrives by a provider; answers his account and the mails so far.
    async fn arrive(pod: &Pod, subject: &str, address: &str) -> (String, Vec<(String, Kind)>) {
        let provider = "name=one;issuer=https://id.example;client_id=x;label=The One";
        let provider = Provider::parse(provider).unwrap();
        let person = Person {
            subject: subject.to_owned(),
            address: Some(address.to_owned()),
            address_verified: true,
        };
        let ground = pod.ground().unwrap();
        let arrived = pod.inner.store.transact(Pod::permit(), move |tx| {
            let arrival = Arrival {
                provider: &provider,
                person: &person,
                app: "",
                admits: &|_| Ok(()),
                from: "192.0.2.7".to_owned(),
            };
            arrival.account(tx, &ground)
        });
        let account = arrived.await.map_err(PodError::from).unwrap();
        let mails = pod.captured_mail().await.unwrap();
        let told = mails.iter().map(|mail| (mail.to.clone(), mail.kind));
        (account, told.collect())
    }

    #[tokio::test]
    async fn an_owner_is_told_of_a_provider_that_was_linked_by_his_address() {
        let pod = pod().await;
        let new = NewAccount {
            name: Some("ann".to_owned()),
            address: Some(Address {
                address: "ann@example.org".to_owned(),
                normal: "ann@example.org".to_owned(),
                verified_ms: Some(1),
            }),
            ..NewAccount::default()
        };
        let ann = pod.create_account(new).await.unwrap();
        let told = vec![("ann@example.org".to_owned(), Kind::FactorChanged)];
        assert_eq!(
            arrive(&pod, "1", "ann@example.org").await,
            (ann.clone(), told.clone())
        );
        let mails = pod.captured_mail().await.unwrap();
        let text = &mails[0].words.text;
        assert!(text.contains("Signing in with The One was added"), "{text}");
        // Who comes again, or is new, is told nothing.
        assert_eq!(
            arrive(&pod, "1", "ann@example.org").await,
            (ann.clone(), told.clone())
        );
        let (bob, mails) = arrive(&pod, "2", "bob@example.org").await;
        assert!(bob != ann && mails == told);
    }
}

//! Passkeys: making one, signing in with one, and the list of them.
//!
//! A challenge is kept as a secret that is good once. What answers it is judged outside of the
//! transaction, since that is arithmetic; the transaction takes the challenge, so that of two equal
//! answers one comes too late.

use std::net::IpAddr;

use adea_accounts::directory::{self, AccountRecord, StoredPasskey};
use adea_accounts::one_time::{self, OneTime, Purpose};
use adea_accounts::passkeys::{
    CEREMONY_MS, Ceremony, PASSKEYS_MAX, PasskeyError, RelyingParty, Started, claimed, short_id,
};
use adea_store::{Decline, Transaction};
use serde_json::{Value, json};

use super::{Asking, FactorError, Notice};
use crate::begin_session::Proof;
use crate::error::PodError;
use crate::pod::Pod;

/// A challenge for a device.
#[derive(Clone, Debug)]
pub struct PasskeyChallenge {
    /// A secret that comes back with the answer.
    pub continuation: String,
    /// What a page gives to `navigator.credentials`.
    pub options: Value,
}

/// A passkey as its user sees it.
#[derive(Clone, Debug)]
pub struct ShownPasskey {
    /// What stands for it in a path.
    pub id: String,
    /// What the user calls it.
    pub label: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it was last used, in milliseconds since the Unix epoch; 0 if never.
    pub used_ms: u64,
}

/// A passkey that answered a challenge.
pub(super) struct Answered {
    /// The account that it speaks for.
    pub(super) account: String,
    /// The epoch of it, before it was judged.
    epoch: u64,
    credential: String,
    /// What it was judged by; a newer one means that it was used meanwhile.
    before: Value,
    /// What is stored from now on.
    after: Option<Value>,
}

impl Pod {
    /// Makes a challenge for a new passkey of who asks. `host` is what the client called the server.
    ///
    /// # Errors
    /// [`FactorError::NotFresh`] if his session is old and the password was not sent;
    /// [`FactorError::TooManyPasskeys`]; [`FactorError::Passkey`] if there are no passkeys here.
    pub async fn start_passkey(
        &self,
        who: &Asking,
        password: Option<&str>,
        host: &str,
    ) -> Result<PasskeyChallenge, PodError> {
        let holder = self.asking(who)?;
        self.require_fresh(who, &holder, password).await?;
        let record = &holder.record;
        if record.passkeys.len() >= PASSKEYS_MAX {
            return Err(FactorError::TooManyPasskeys.into());
        }
        let started = self
            .relying_party(host)?
            .start_registration(&record.id, shown_name(record), &record.passkeys)
            .map_err(FactorError::NotMade)?;
        let (options, state) = (started.options, started.state);
        self.challenge(&record.id, options, &Ceremony::Register { state })
            .await
    }

    /// Keeps the passkey that a device made for a challenge.
    ///
    /// # Errors
    /// [`FactorError::Expired`] if the challenge was answered or is none of his;
    /// [`FactorError::NotMade`] if this does not answer it; [`FactorError::TooManyPasskeys`].
    pub async fn finish_passkey(
        &self,
        who: &Asking,
        continuation: &str,
        credential: &Value,
        label: &str,
        host: &str,
    ) -> Result<ShownPasskey, PodError> {
        let party = self.relying_party(host)?;
        let kept = self.kept_ceremony(continuation)?;
        let (OneTime { account, .. }, Ceremony::Register { state }) = kept else {
            return Err(FactorError::Expired.into());
        };
        if account != who.account {
            return Err(FactorError::Expired.into());
        }
        let made = match party.finish_registration(&state, credential) {
            Ok(made) => made,
            Err(error) => {
                self.use_up(continuation).await?;
                return Err(FactorError::NotMade(error).into());
            }
        };
        let (ground, who) = (self.ground()?, who.clone());
        let passkey = StoredPasskey {
            label: label.to_owned(),
            created_ms: ground.now_ms,
            ..made
        };
        let (shown, continuation) = (show(&passkey), continuation.to_owned());
        self.edit_account(&who.account.clone(), move |tx, record| {
            take(tx, &continuation, ground.now_ms)?;
            if record.passkeys.len() >= PASSKEYS_MAX {
                return Err(Decline::Refused(FactorError::TooManyPasskeys.into()));
            }
            let detail = json!({"passkey": show(&passkey).id});
            record.passkeys.push(passkey);
            let told = "A passkey was added";
            let notice = Notice::own("passkey.add", record, &who, detail, told);
            Ok(Self::note(tx, &ground, record, &notice)?)
        })
        .await?;
        Ok(shown)
    }

    /// Makes a challenge that any passkey may answer; it is the same for everybody.
    ///
    /// # Errors
    /// [`FactorError::Passkey`] if there are no passkeys here.
    pub async fn start_passkey_sign_in(&self, host: &str) -> Result<PasskeyChallenge, PodError> {
        let started = self.relying_party(host)?.start_sign_in();
        let Started { options, state } = started.map_err(FactorError::Passkey)?;
        self.challenge("", options, &Ceremony::SignIn { state })
            .await
    }

    /// Who proves with a passkey to be whom.
    ///
    /// # Errors
    /// [`FactorError::Expired`] if the challenge was answered; [`FactorError::Passkey`] if this does
    /// not answer it, whoever it says to be.
    pub async fn finish_passkey_sign_in(
        &self,
        continuation: &str,
        credential: &Value,
        host: &str,
        address: IpAddr,
    ) -> Result<Proof, PodError> {
        let answered = self
            .judge_passkey(continuation, credential, host, address)
            .await?;
        let (account, ground) = (answered.account.clone(), self.ground()?);
        let epoch = Some(answered.epoch);
        let continuation = continuation.to_owned();
        self.edit_account(&account, move |tx, record| {
            take(tx, &continuation, ground.now_ms)?;
            answered.apply(record, ground.now_ms)
        })
        .await?;
        Ok(Proof {
            account,
            method: "passkey".to_owned(),
            strong: true,
            epoch,
        })
    }

    /// Whether `credential` answers the challenge, without using it up if it does.
    pub(super) async fn judge_passkey(
        &self,
        continuation: &str,
        credential: &Value,
        host: &str,
        address: IpAddr,
    ) -> Result<Answered, PodError> {
        let party = self.relying_party(host)?;
        let (_, Ceremony::SignIn { state }) = self.kept_ceremony(continuation)? else {
            return Err(FactorError::Expired.into());
        };
        let judged = self.judge_credential(&party, &state, credential);
        let error = match judged {
            Ok(answered) => return Ok(answered),
            Err(error) => error,
        };
        self.use_up(continuation).await?;
        if matches!(
            &error,
            PodError::Factor(FactorError::Passkey(PasskeyError::Cloned))
        ) {
            self.note_copy(credential, address).await?;
        }
        Err(error)
    }

    fn judge_credential(
        &self,
        party: &RelyingParty,
        state: &Value,
        credential: &Value,
    ) -> Result<Answered, PodError> {
        let refused = || PodError::from(FactorError::Passkey(PasskeyError::Refused));
        let said = claimed(credential).map_err(FactorError::Passkey)?;
        let record = self.record_now(&said.account)?.ok_or_else(refused)?;
        let mut passkeys = record.passkeys.iter();
        let stored = passkeys
            .find(|passkey| passkey.credential == said.credential)
            .ok_or_else(refused)?;
        let after = party
            .finish_sign_in(state, credential, stored)
            .map_err(FactorError::Passkey)?;
        Ok(Answered {
            account: said.account,
            epoch: record.epoch,
            credential: said.credential,
            before: stored.key.clone(),
            after,
        })
    }

    /// Writes down that there may be a copy of somebody's passkey.
    async fn note_copy(&self, credential: &Value, address: IpAddr) -> Result<(), PodError> {
        let Ok(said) = claimed(credential) else {
            return Ok(());
        };
        tracing::warn!(account = %said.account, "a passkey's counter went back");
        let ground = self.ground()?;
        self.edit_account(&said.account.clone(), move |tx, record| {
            let notice = Notice {
                action: "passkey.refuse_copy",
                by: "",
                name: "",
                address,
                app: "",
                detail: json!({"passkey": short_id(&said.credential)}),
                told: "A sign-in with a passkey was refused, since there may be a copy of it",
            };
            Ok(Self::note(tx, &ground, record, &notice)?)
        })
        .await
    }

    /// The passkeys of who asks, the oldest first.
    ///
    /// # Errors
    /// [`FactorError::NoAccount`] if he can have none.
    pub fn passkeys(&self, who: &Asking) -> Result<Vec<ShownPasskey>, PodError> {
        let record = self.record_now(&who.account)?;
        let record = record.ok_or(FactorError::NoAccount)?;
        Ok(record.passkeys.iter().map(show).collect())
    }

    /// The record as it is stored. What a holder has may be older by what a use of it changes, which
    /// is when a passkey was used and how far its counter went.
    fn record_now(&self, account: &str) -> Result<Option<AccountRecord>, PodError> {
        let users = self.users_number()?.0;
        Ok(directory::live(self.view().as_ref(), users, account)?)
    }

    /// Gives a passkey another label.
    ///
    /// # Errors
    /// [`FactorError::NoSuchPasskey`].
    pub async fn label_passkey(
        &self,
        who: &Asking,
        id: &str,
        label: &str,
    ) -> Result<ShownPasskey, PodError> {
        self.asking(who)?;
        let (id, label) = (id.to_owned(), label.to_owned());
        self.edit_account(&who.account, move |_, record| {
            let place = place_of(record, &id)?;
            let passkey = record.passkeys.get_mut(place).ok_or_else(no_such)?;
            passkey.label = label;
            Ok(show(passkey))
        })
        .await
    }

    /// Removes a passkey.
    ///
    /// # Errors
    /// [`FactorError::NoSuchPasskey`]; [`FactorError::LastWayIn`] if nobody could sign in after.
    pub async fn remove_passkey(&self, who: &Asking, id: &str) -> Result<(), PodError> {
        let has_password = self.asking(who)?.has_password;
        let (id, who, ground) = (id.to_owned(), who.clone(), self.ground()?);
        self.edit_account(&who.account.clone(), move |tx, record| {
            let place = place_of(record, &id)?;
            let other_way = has_password || !record.identities.is_empty();
            if record.passkeys.len() == 1 && !other_way {
                return Err(Decline::Refused(FactorError::LastWayIn.into()));
            }
            record.passkeys.remove(place);
            let (detail, told) = (json!({"passkey": id}), "A passkey was removed");
            let notice = Notice::own("passkey.remove", record, &who, detail, told);
            Ok(Self::note(tx, &ground, record, &notice)?)
        })
        .await
    }

    /// The host that passkeys belong to.
    pub(super) fn relying_party(&self, host: &str) -> Result<RelyingParty, PodError> {
        let auth = self.auth();
        let party = RelyingParty::new(auth.accounts.public_url.as_deref(), host);
        Ok(party.map_err(FactorError::Passkey)?)
    }

    /// Keeps a ceremony until its answer comes.
    pub(super) async fn challenge(
        &self,
        account: &str,
        options: Value,
        ceremony: &Ceremony,
    ) -> Result<PasskeyChallenge, PodError> {
        let continuation = one_time::new_secret(&self.inner.entropy);
        let kept = OneTime {
            purpose: Purpose::Passkey,
            account: account.to_owned(),
            app: String::new(),
            expires_ms: self.inner.clock.now_unix_ms() + CEREMONY_MS,
            data: serde_json::to_value(ceremony).unwrap_or_default(),
        };
        let (store, secret) = (self.inner.store.clone(), continuation.clone());
        let issued = store.transact(Self::permit(), move |tx| {
            one_time::issue(tx, &secret, &kept);
            Ok::<_, Decline<PodError>>(())
        });
        issued.await.map_err(PodError::from)?;
        Ok(PasskeyChallenge {
            continuation,
            options,
        })
    }

    /// The ceremony that a continuation belongs to.
    pub(super) fn kept_ceremony(
        &self,
        continuation: &str,
    ) -> Result<(OneTime, Ceremony), PodError> {
        let now_ms = self.inner.clock.now_unix_ms();
        let view = self.view();
        let kept = one_time::look(view.as_ref(), continuation, Purpose::Passkey, now_ms)?;
        let kept = kept.ok_or(FactorError::Expired)?;
        let ceremony = serde_json::from_value(kept.data.clone());
        let ceremony = ceremony.map_err(|_| FactorError::Expired)?;
        Ok((kept, ceremony))
    }

    /// Uses up a challenge that was answered wrongly.
    pub(super) async fn use_up(&self, continuation: &str) -> Result<(), PodError> {
        let (store, secret) = (self.inner.store.clone(), continuation.to_owned());
        let now_ms = self.inner.clock.now_unix_ms();
        let taken = store.transact(Self::permit(), move |tx| {
            one_time::take(tx, &secret, Purpose::Passkey, now_ms)?;
            Ok::<_, Decline<PodError>>(())
        });
        Ok(taken.await?)
    }
}

impl Answered {
    /// Stores in `record` that the passkey was used.
    pub(super) fn apply(
        self,
        record: &mut AccountRecord,
        now_ms: u64,
    ) -> Result<(), Decline<PodError>> {
        let mut passkeys = record.passkeys.iter_mut();
        let stored = passkeys
            .find(|passkey| passkey.credential == self.credential && passkey.key == self.before)
            .ok_or_else(|| {
                let error = FactorError::Passkey(PasskeyError::Refused);
                Decline::Refused(PodError::from(error))
            })?;
        stored.used_ms = now_ms;
        if let Some(after) = self.after {
            stored.key = after;
        }
        Ok(())
    }
}

/// Takes a challenge in the transaction of what it is good for.
pub(super) fn take(
    tx: &mut Transaction<'_>,
    continuation: &str,
    now_ms: u64,
) -> Result<(), Decline<PodError>> {
    match one_time::take(tx, continuation, Purpose::Passkey, now_ms)? {
        Some(_) => Ok(()),
        None => Err(Decline::Refused(FactorError::Expired.into())),
    }
}

/// What a device shows to tell this account from others of its user.
fn shown_name(record: &AccountRecord) -> &str {
    let unnamed = record.name == record.id;
    let address = record.addresses.first().filter(|_| unnamed);
    address.map_or(record.name.as_str(), |address| address.address.as_str())
}

fn show(passkey: &StoredPasskey) -> ShownPasskey {
    ShownPasskey {
        id: short_id(&passkey.credential),
        label: passkey.label.clone(),
        created_ms: passkey.created_ms,
        used_ms: passkey.used_ms,
    }
}

fn place_of(record: &AccountRecord, id: &str) -> Result<usize, Decline<PodError>> {
    let mut passkeys = record.passkeys.iter();
    let place = passkeys.position(|passkey| short_id(&passkey.credential) == id);
    place.ok_or_else(no_such)
}

fn no_such() -> Decline<PodError> {
    Decline::Refused(FactorError::NoSuchPasskey.into())
}

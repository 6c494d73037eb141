//! The way to a provider and back, in three steps.

use std::sync::Arc;

use adea_accounts::oidc::{Asking, Person, Protocol, Provider, authorization_url, new_verifier};
use adea_accounts::one_time::{self, OneTime, Purpose, new_secret};
use adea_store::Decline;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::ProviderError;
use super::ask::Redeeming;
use super::person::Arrival;
use crate::apps::Actor;
use crate::begin_session::{Begun, Proof, SessionWanted};
use crate::error::PodError;
use crate::pod::Pod;

/// How long somebody may be at the provider.
const ASKED_MS: u64 = 600_000;
/// How long the app may take to swap the code.
const RETURNED_MS: u64 = 120_000;
/// The longest code or state that is looked at.
const FIELD_BYTES_MAX: usize = 4_096;

/// An attempt, as it is stored under the hash of its state, then of its code.
#[derive(Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
enum Attempt {
    /// A browser is at the provider.
    Asked {
        provider: String,
        nonce: String,
        verifier: String,
        redirect_uri: String,
        redirect_to: Option<String>,
        continuation: String,
    },
    /// It came back.
    Returned {
        provider: String,
        person: Person,
        continuation: String,
    },
}

/// An attempt that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Where to send the browser.
    pub url: String,
    /// What proves later that it was begun here; never to be told to anybody else.
    pub continuation: String,
    /// For how many seconds it is good.
    pub expires_in_s: u64,
}

/// A browser that came back.
#[derive(Debug)]
pub struct Returned {
    /// Where it is to go on.
    pub redirect_to: Option<String>,
    /// The code for the app, or why there is none.
    pub outcome: Result<String, PodError>,
}

/// An attempt at its end.
#[derive(Clone, Debug)]
pub enum Finished {
    /// Somebody has signed in.
    SignedIn(Begun),
    /// His account is linked with this provider.
    Linked(String),
}

/// What of a form or query of a provider counts.
struct Fields<'f>(&'f [(String, String)]);

impl Fields<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        let value = found.map(|(_, value)| value.as_str())?;
        (!value.is_empty() && value.len() <= FIELD_BYTES_MAX).then_some(value)
    }
}

/// What is stored of a continuation.
fn hashed(continuation: &str) -> String {
    URL_SAFE_NO_PAD.encode(one_time::hash(continuation))
}

fn over() -> Decline<PodError> {
    Decline::Refused(ProviderError::Over.into())
}

impl Pod {
    /// Begins an attempt: of anybody to sign in, or of `account` to link another identity. `base` is where
    /// browsers reach this server. Whether `redirect_to` may be gone to was checked by who calls.
    ///
    /// # Errors
    /// [`ProviderError::Unknown`]; [`ProviderError::Unreachable`].
    pub async fn start_provider(
        &self,
        name: &str,
        base: &str,
        redirect_to: Option<String>,
        app: &str,
        account: Option<&str>,
    ) -> Result<Started, PodError> {
        let provider = self.provider(name)?;
        let (endpoint, _) = self.authorization_of(&provider).await?;
        let entropy = &self.inner.entropy;
        let [state, continuation, nonce] = [(); 3].map(|()| new_secret(entropy));
        let verifier = new_verifier(entropy);
        let redirect_uri = format!("{base}/_auth/oidc/{}/callback", provider.name);
        let asking = Asking {
            redirect_uri: &redirect_uri,
            state: &state,
            nonce: &nonce,
            verifier: &verifier,
        };
        let url = authorization_url(&endpoint, &provider, &asking);
        let attempt = Attempt::Asked {
            provider: provider.name.clone(),
            nonce,
            verifier,
            redirect_uri,
            redirect_to,
            continuation: hashed(&continuation),
        };
        self.keep_attempt(state, &attempt, account.unwrap_or(""), app, ASKED_MS)
            .await?;
        Ok(Started {
            url,
            continuation,
            expires_in_s: ASKED_MS / 1_000,
        })
    }

    /// Begins an attempt of `by` to link his account with another provider: a further way in, so it must be
    /// he himself who asks. An account that is nobody's has nothing to prove that by.
    ///
    /// # Errors
    /// As [`Pod::start_provider`]; [`AccountError::NotFresh`] and [`AccountError::WrongPassword`].
    pub async fn start_provider_link(
        &self,
        name: &str,
        base: &str,
        redirect_to: Option<String>,
        by: &Actor,
        password: Option<&str>,
    ) -> Result<Started, PodError> {
        let account = self.prove_owner(password, by).await?;
        self.start_provider(name, base, redirect_to, "", Some(&account))
            .await
    }

    async fn keep_attempt(
        &self,
        secret: String,
        attempt: &Attempt,
        account: &str,
        app: &str,
        lasts_ms: u64,
    ) -> Result<(), PodError> {
        let kept = OneTime {
            purpose: Purpose::Provider,
            account: account.to_owned(),
            app: app.to_owned(),
            expires_ms: self.inner.clock.now_unix_ms() + lasts_ms,
            data: serde_json::to_value(attempt).unwrap_or_default(),
        };
        let store = &self.inner.store;
        let done = store.transact(Self::permit(), move |tx| {
            one_time::issue(tx, &secret, &kept);
            Ok::<(), Decline<PodError>>(())
        });
        Ok(done.await?)
    }

    /// Takes what a browser brings back from provider `name`.
    ///
    /// # Errors
    /// [`ProviderError::Over`] if no attempt with this provider has this state; all that is learnt later is
    /// in what is answered.
    pub async fn provider_returned(
        &self,
        name: &str,
        fields: &[(String, String)],
    ) -> Result<Returned, PodError> {
        let provider = self.provider(name)?;
        let fields = Fields(fields);
        let state = fields.get("state").ok_or(ProviderError::Over)?.to_owned();
        let (attempt, kept) = self.take_asked(state, &provider.name).await?;
        let Attempt::Asked { redirect_to, .. } = &attempt else {
            return Err(ProviderError::Over.into());
        };
        let redirect_to = redirect_to.clone();
        let outcome = self.redeemed(&provider, &fields, attempt, &kept).await;
        Ok(Returned {
            redirect_to,
            outcome,
        })
    }

    /// Uses up the attempt with this state, if it is one with this provider.
    async fn take_asked(
        &self,
        state: String,
        provider: &str,
    ) -> Result<(Attempt, OneTime), PodError> {
        let (now_ms, wanted) = (self.inner.clock.now_unix_ms(), provider.to_owned());
        let taken = self.inner.store.transact(Self::permit(), move |tx| {
            let found = one_time::look(tx, &state, Purpose::Provider, now_ms)?;
            let kept = found.ok_or_else(over)?;
            // The state of another provider is left alone: it is for its own callback.
            match serde_json::from_value(kept.data.clone()) {
                Ok(Attempt::Asked { provider, .. }) if provider == wanted => {}
                Ok(Attempt::Asked { .. } | Attempt::Returned { .. }) | Err(_) => return Err(over()),
            }
            one_time::take(tx, &state, Purpose::Provider, now_ms)?;
            Ok(kept)
        });
        let kept = taken.await.map_err(PodError::from)?;
        let attempt = serde_json::from_value(kept.data.clone());
        Ok((attempt.map_err(|_| ProviderError::Over)?, kept))
    }

    /// Asks the provider who came back, and makes a code for it.
    async fn redeemed(
        &self,
        provider: &Provider,
        fields: &Fields<'_>,
        attempt: Attempt,
        kept: &OneTime,
    ) -> Result<String, PodError> {
        let Attempt::Asked {
            nonce,
            verifier,
            redirect_uri,
            continuation,
            ..
        } = attempt
        else {
            return Err(ProviderError::Over.into());
        };
        self.check_sender(provider, fields.get("iss")).await?;
        if fields.get("error").is_some() {
            return Err(ProviderError::Declined.into());
        }
        let code = fields.get("code").ok_or(ProviderError::Declined)?;
        let redeeming = Redeeming {
            code,
            verifier: &verifier,
            nonce: &nonce,
            redirect_uri: &redirect_uri,
        };
        let person = self.redeem(provider, &redeeming).await?;
        let code = new_secret(&self.inner.entropy);
        let returned = Attempt::Returned {
            provider: provider.name.clone(),
            person,
            continuation,
        };
        self.keep_attempt(
            code.clone(),
            &returned,
            &kept.account,
            &kept.app,
            RETURNED_MS,
        )
        .await?;
        Ok(code)
    }

    /// Whether the browser comes from the provider that it was sent to, where that names itself (RFC 9207).
    async fn check_sender(&self, provider: &Provider, said: Option<&str>) -> Result<(), PodError> {
        let Protocol::OpenId { issuer, .. } = &provider.protocol else {
            return Ok(());
        };
        let (_, names_itself) = self.authorization_of(provider).await?;
        let right = match said {
            Some(said) => said == issuer.as_str() || issuer.has_tenants() && !names_itself,
            None => !names_itself,
        };
        if right {
            Ok(())
        } else {
            Err(ProviderError::Untrusted.into())
        }
    }

    /// Swaps a code for a session, or for a link with the account of who is `signed_in`.
    ///
    /// # Errors
    /// [`ProviderError::Over`] if the code is none, or the continuation is not the one that belongs to it;
    /// the code is used up then. What the rules for new accounts refuse; what
    /// [`Pod::begin_session`] says.
    pub async fn finish_provider(
        &self,
        code: &str,
        continuation: &str,
        signed_in: Option<&str>,
        wanted: SessionWanted,
    ) -> Result<Finished, PodError> {
        let (attempt, kept) = self.take_returned(code, continuation).await?;
        let Attempt::Returned {
            provider, person, ..
        } = attempt
        else {
            return Err(ProviderError::Over.into());
        };
        // It may have been taken away meanwhile.
        let provider = self.provider(&provider).map_err(|_| ProviderError::Over)?;
        if !kept.account.is_empty() && signed_in != Some(kept.account.as_str()) {
            return Err(ProviderError::Stranger.into());
        }
        let links = !kept.account.is_empty();
        let wanted = SessionWanted {
            app: kept.app.clone(),
            ..wanted
        };
        let from = wanted.address.to_string();
        let arrived = self.arrive(&provider, person, kept, from).await?;
        if links {
            return Ok(Finished::Linked(provider.name.clone()));
        }
        let proof = Proof {
            account: arrived,
            method: format!("oidc:{}", provider.name),
            strong: false,
            epoch: None,
        };
        Ok(Finished::SignedIn(self.begin_session(proof, wanted).await?))
    }

    async fn take_returned(
        &self,
        code: &str,
        continuation: &str,
    ) -> Result<(Attempt, OneTime), PodError> {
        let (now_ms, code) = (self.inner.clock.now_unix_ms(), code.to_owned());
        let taken = self.inner.store.transact(Self::permit(), move |tx| {
            let found = one_time::look(tx, &code, Purpose::Provider, now_ms)?;
            let kept = found.ok_or_else(over)?;
            let attempt = serde_json::from_value(kept.data.clone());
            let returned = attempt
                .ok()
                .filter(|one| matches!(one, Attempt::Returned { .. }));
            let returned = returned.ok_or_else(over)?;
            // Also if the continuation turns out to be another: somebody else knows the code then.
            one_time::take(tx, &code, Purpose::Provider, now_ms)?;
            Ok::<_, Decline<PodError>>((returned, kept))
        });
        let (attempt, kept) = taken.await?;
        let given = hashed(continuation);
        match &attempt {
            Attempt::Returned { continuation, .. } if one_time::same(continuation, &given) => {
                Ok((attempt, kept))
            }
            Attempt::Returned { .. } | Attempt::Asked { .. } => Err(ProviderError::Over.into()),
        }
    }

    /// Finds or makes the account of `person`, or links him with the one that the attempt is for.
    async fn arrive(
        &self,
        provider: &Arc<Provider>,
        person: Person,
        kept: OneTime,
        from: String,
    ) -> Result<String, PodError> {
        let (ground, store) = (self.ground()?, self.inner.store.clone());
        let (pod, provider) = (self.clone(), Arc::clone(provider));
        Self::to_the_end(async move {
            let arrived = store.transact(Self::permit(), move |tx| {
                let arrival = Arrival {
                    provider: &provider,
                    person: &person,
                    app: &kept.app,
                    admits: &|address| pod.admits(address, &kept.app),
                    from,
                };
                if kept.account.is_empty() {
                    return arrival.account(tx, &ground);
                }
                arrival.link(tx, &ground, &kept.account)?;
                Ok(kept.account.clone())
            });
            arrived.await.map_err(PodError::from)
        })
        .await
    }
}

//! Asking providers: what they tell about themselves, their keys, and who somebody is.
//!
//! What was fetched is kept when a later attempt fails, and two attempts are ten seconds apart, so that
//! strangers cannot make this server hammer a provider. Keys are fetched anew when a token names one that
//! is not known.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use adea_accounts::oidc::{
    Discovery, Endpoints, Expected, InvalidIdToken, Issuer, Person, Protocol, Provider,
    TokenAnswer, bearer_person, form, primary_address, userinfo_person, verify_id_token,
};
use adea_accounts::{PublishedKeys, TokenKeys};
use adea_outbound::{Client, Credentials, Options};
use parking_lot::Mutex;

use super::ProviderError;
use crate::error::PodError;
use crate::pod::Pod;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// After how many seconds what a provider tells about itself is fetched again.
const REFRESH_S: u64 = 3_600;
/// The least time between two attempts, in seconds.
const PAUSE_S: u64 = 10;
/// How long connecting, and each answer, may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long all that is asked for one person may take.
const TIME_MAX: Duration = Duration::from_secs(30);

/// What is remembered of providers.
#[derive(Default)]
pub(crate) struct ProviderMemory {
    client: Mutex<Option<Client>>,
    /// By the URL where they tell about themselves.
    known: Mutex<HashMap<String, Arc<Known>>>,
}

/// What is known of one.
#[derive(Default)]
struct Known {
    told: Mutex<Told>,
    keys: Mutex<PublishedKeys>,
    /// Held while something of it is fetched.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct Told {
    discovery: Option<Arc<Discovery>>,
    fetched_s: u64,
    tried_s: Option<u64>,
}

impl Told {
    /// What is there and young enough.
    fn fresh(&self, now_s: u64) -> Option<Arc<Discovery>> {
        let young = self.fetched_s.abs_diff(now_s) < REFRESH_S;
        self.discovery.as_ref().filter(|_| young).map(Arc::clone)
    }

    fn rests(&self, now_s: u64) -> bool {
        let tried_s = self.tried_s;
        tried_s.is_some_and(|tried_s| tried_s.abs_diff(now_s) < PAUSE_S)
    }
}

/// A code on its way to become a person.
pub(super) struct Redeeming<'a> {
    pub(super) code: &'a str,
    pub(super) verifier: &'a str,
    pub(super) nonce: &'a str,
    pub(super) redirect_uri: &'a str,
}

impl Pod {
    /// Where browsers are sent for `provider`, and whether it names itself when they come back.
    ///
    /// # Errors
    /// [`ProviderError::Unreachable`] if it does not tell.
    pub(super) async fn authorization_of(
        &self,
        provider: &Provider,
    ) -> Result<(String, bool), PodError> {
        match &provider.protocol {
            Protocol::OAuth(endpoints) => Ok((endpoints.authorize.clone(), false)),
            Protocol::OpenId { issuer, discovery } => {
                let told = self.discovery_of(issuer, discovery).await?;
                Ok((told.authorization_endpoint.clone(), told.names_itself))
            }
        }
    }

    /// Swaps a code for who it is.
    ///
    /// # Errors
    /// [`ProviderError::Unreachable`] and [`ProviderError::Untrusted`]; why is in the log.
    pub(super) async fn redeem(
        &self,
        provider: &Provider,
        redeeming: &Redeeming<'_>,
    ) -> Result<Person, PodError> {
        let asking = async {
            match &provider.protocol {
                Protocol::OpenId { issuer, discovery } => {
                    let told = self.discovery_of(issuer, discovery).await?;
                    self.open_id_person(provider, issuer, discovery, &told, redeeming)
                        .await
                }
                Protocol::OAuth(endpoints) => {
                    self.oauth_person(provider, endpoints, redeeming).await
                }
            }
        };
        let asked = tokio::time::timeout(TIME_MAX, asking).await;
        let person = asked.unwrap_or(Err(ProviderError::Unreachable.into()))?;
        Ok(Person {
            address_verified: person.address_verified && provider.trusts_addresses,
            ..person
        })
    }

    async fn open_id_person(
        &self,
        provider: &Provider,
        issuer: &Issuer,
        discovery_url: &str,
        told: &Discovery,
        redeeming: &Redeeming<'_>,
    ) -> Result<Person, PodError> {
        let endpoint = &told.token_endpoint;
        let answer = self
            .tokens_for(provider, endpoint, told.secret_in_form, redeeming)
            .await?;
        let id_token = answer.id_token.as_deref();
        let id_token = id_token.ok_or_else(|| untrusted(provider, &"no ID token came"))?;
        let expected = Expected {
            issuer,
            client_id: &provider.client_id,
            nonce: redeeming.nonce,
            access_token: &answer.access_token,
            now_s: self.inner.clock.now_unix_s(),
        };
        let known = self.known(discovery_url);
        let keys = self.keys_of(&known, &told.keys_url, false).await;
        let mut verified = verify_id_token(id_token, &keys, &expected);
        if verified == Err(InvalidIdToken::UnknownKey) {
            let keys = self.keys_of(&known, &told.keys_url, true).await;
            verified = verify_id_token(id_token, &keys, &expected);
        }
        let mut person = verified.map_err(|error| untrusted(provider, &error))?;
        // What ID tokens say of tenants' people is not what is told about the bearer.
        if person.address.is_none()
            && !issuer.has_tenants()
            && let Some(url) = &told.userinfo_endpoint
        {
            let json = self.bearer_told(provider, url, &answer).await?;
            let told = userinfo_person(&json, &person.subject, issuer);
            (person.address, person.address_verified) =
                told.map_err(|error| untrusted(provider, &error))?;
        }
        Ok(person)
    }

    async fn oauth_person(
        &self,
        provider: &Provider,
        endpoints: &Endpoints,
        redeeming: &Redeeming<'_>,
    ) -> Result<Person, PodError> {
        let answer = self
            .tokens_for(provider, &endpoints.token, true, redeeming)
            .await?;
        let json = self.bearer_told(provider, &endpoints.user, &answer).await?;
        let mut person = bearer_person(&json).map_err(|error| untrusted(provider, &error))?;
        if let Some(url) = &endpoints.emails {
            let json = self.bearer_told(provider, url, &answer).await?;
            let own = primary_address(&json).map_err(|error| untrusted(provider, &error))?;
            (person.address_verified, person.address) = (own.is_some(), own);
        }
        Ok(person)
    }

    /// Swaps a code for tokens.
    async fn tokens_for(
        &self,
        provider: &Provider,
        endpoint: &str,
        secret_in_form: bool,
        redeeming: &Redeeming<'_>,
    ) -> Result<TokenAnswer, PodError> {
        let secret = provider.client_secret(self.inner.clock.now_unix_s());
        let in_form = secret_in_form || provider.form_post;
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", redeeming.code),
            ("redirect_uri", redeeming.redirect_uri),
            ("code_verifier", redeeming.verifier),
        ];
        let mut credentials = Credentials::None;
        match &secret {
            Some(secret) if !in_form => {
                let escaped = |text: &str| {
                    let mut out = String::new();
                    form::escape(&mut out, text);
                    out
                };
                credentials = Credentials::Basic(escaped(&provider.client_id), escaped(secret));
            }
            Some(secret) => {
                fields.push(("client_id", &provider.client_id));
                fields.push(("client_secret", secret));
            }
            None => fields.push(("client_id", &provider.client_id)),
        }
        let asked = self
            .client()?
            .post_form(
                endpoint,
                form::encode(&fields),
                &credentials,
                ANSWER_BYTES_MAX,
            )
            .await;
        let (status, json) = asked.map_err(|error| unreachable(provider, &error))?;
        let answer = TokenAnswer::parse(status.as_u16(), &json);
        answer.map_err(|error| untrusted(provider, &error))
    }

    /// What is told about the bearer at `url`.
    async fn bearer_told(
        &self,
        provider: &Provider,
        url: &str,
        answer: &TokenAnswer,
    ) -> Result<Vec<u8>, PodError> {
        let credentials = Credentials::Bearer(answer.access_token.clone());
        let asked = self
            .client()?
            .get_as(url, &credentials, ANSWER_BYTES_MAX)
            .await;
        let (status, json) = asked.map_err(|error| unreachable(provider, &error))?;
        if status.as_u16() == 200 {
            Ok(json.to_vec())
        } else {
            Err(untrusted(
                provider,
                &format!("its answer about the bearer is {status}"),
            ))
        }
    }

    /// What a provider tells about itself.
    async fn discovery_of(&self, issuer: &Issuer, url: &str) -> Result<Arc<Discovery>, PodError> {
        let known = self.known(url);
        let now_s = self.inner.clock.now_unix_s();
        let fresh = known.told.lock().fresh(now_s);
        if let Some(fresh) = fresh {
            return Ok(fresh);
        }
        let _only = known.fetching.lock().await;
        let told = known.told.lock().clone();
        if let Some(fresh) = told.fresh(now_s) {
            return Ok(fresh);
        }
        if !told.rests(now_s) {
            known.told.lock().tried_s = Some(now_s);
            match self.fetch_discovery(issuer, url).await {
                Ok(discovery) => {
                    let discovery = Arc::new(discovery);
                    let mut told = known.told.lock();
                    told.discovery = Some(Arc::clone(&discovery));
                    told.fetched_s = now_s;
                    return Ok(discovery);
                }
                Err(reason) => tracing::warn!(url, reason, "a provider cannot be asked"),
            }
        }
        Ok(told.discovery.ok_or(ProviderError::Unreachable)?)
    }

    async fn fetch_discovery(&self, issuer: &Issuer, url: &str) -> Result<Discovery, String> {
        let client = self.client().map_err(|error| error.to_string())?;
        let json = client.fetch_json(url, ANSWER_BYTES_MAX).await;
        let json = json.map_err(|error| error.to_string())?;
        Discovery::parse(&json, issuer).map_err(|error| error.to_string())
    }

    /// The keys of a provider, fetched if it is time to, or if one is `missing`.
    async fn keys_of(&self, known: &Known, url: &str, missing: bool) -> Arc<TokenKeys> {
        let now_s = self.inner.clock.now_unix_s();
        let due = |keys: &PublishedKeys| {
            let missing = missing || keys.keys().is_empty();
            keys.due(now_s, REFRESH_S, missing)
        };
        if due(&known.keys.lock()) {
            let _only = known.fetching.lock().await;
            let still = due(&known.keys.lock());
            if still {
                known.keys.lock().trying(now_s);
                match self.fetch_provider_keys(url).await {
                    Ok(keys) => known.keys.lock().fetched(keys, now_s),
                    Err(reason) => tracing::warn!(url, reason, "keys cannot be fetched"),
                }
            }
        }
        Arc::clone(known.keys.lock().keys())
    }

    async fn fetch_provider_keys(&self, url: &str) -> Result<TokenKeys, String> {
        let client = self.client().map_err(|error| error.to_string())?;
        let json = client.fetch_json(url, ANSWER_BYTES_MAX).await;
        let json = json.map_err(|error| error.to_string())?;
        TokenKeys::from_published(&json).ok_or_else(|| "it is no set of keys".to_owned())
    }

    fn known(&self, url: &str) -> Arc<Known> {
        let mut all = self.inner.providers.known.lock();
        Arc::clone(all.entry(url.to_owned()).or_default())
    }

    fn client(&self) -> Result<Client, PodError> {
        let mut client = self.inner.providers.client.lock();
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let made = Client::new(Options {
            connect_timeout: PATIENCE,
            response_timeout: PATIENCE,
            idle_timeout: PATIENCE,
            authorities: self.inner.options.replication.authorities.clone(),
            kept_per_host: 2,
            ..Options::default()
        });
        let made = made.map_err(|error| {
            tracing::error!(%error, "providers cannot be asked: {error}");
            ProviderError::Unreachable
        })?;
        Ok(client.insert(made).clone())
    }
}

/// What a provider said proves nothing; why is for the log and not for who asks.
fn untrusted(provider: &Provider, reason: &dyn std::fmt::Display) -> PodError {
    tracing::warn!(provider = provider.name, %reason, "what a provider says is not accepted: {reason}");
    ProviderError::Untrusted.into()
}

fn unreachable(provider: &Provider, error: &adea_outbound::OutboundError) -> PodError {
    tracing::warn!(provider = provider.name, %error, "a provider cannot be reached: {error}");
    ProviderError::Unreachable.into()
}

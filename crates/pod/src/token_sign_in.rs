//! Signing in with a token: its keys, fetched where they are published, and the memory of those that
//! were verified.
//!
//! The keys are fetched by our own client, or whom the server is given for it ([`FetchJson`]), once
//! at a time, to the end, and kept when a later attempt fails. Requests that name a known key never wait for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use adea_accounts::{PresentedToken, PublishedKeys, TokenKeys, VerifiedTokens};
use adea_base::Caller;
use adea_outbound::{Client, Options};
use parking_lot::Mutex;

use crate::auth_settings::TokenSettings;
use crate::error::PodError;
use crate::pod::Pod;

/// The longest set of keys that is read.
const PUBLISHED_BYTES_MAX: usize = 256 << 10;
/// The longest time that an attempt may take.
const FETCH_TIME_MAX: Duration = Duration::from_secs(10);

/// Fetches a document of JSON from a URL.
pub trait FetchJson: Send + Sync {
    /// The body that `url` answers a GET with, if the status is 200 and it has at most `max_bytes`;
    /// else what went wrong.
    fn fetch_json<'a>(
        &'a self,
        url: &'a str,
        max_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send + 'a>>;
}

impl FetchJson for Client {
    fn fetch_json<'a>(
        &'a self,
        url: &'a str,
        max_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send + 'a>> {
        let most = u64::try_from(max_bytes).unwrap_or(u64::MAX);
        Box::pin(async move {
            let body = Self::fetch_json(self, url, most).await;
            Ok(body.map_err(|error| error.to_string())?.to_vec())
        })
    }
}

/// What is remembered for tokens.
#[derive(Default)]
pub(crate) struct TokenMemory {
    verified: VerifiedTokens,
    published: Mutex<PublishedKeys>,
    /// Held while keys are fetched.
    fetching: tokio::sync::Mutex<()>,
    fetcher: Mutex<Option<Arc<dyn FetchJson>>>,
}

impl TokenMemory {
    /// Forgets tokens and published keys: what is set for them has changed.
    pub(crate) fn forget(&self) {
        *self.published.lock() = PublishedKeys::default();
        self.verified.clear();
    }
}

impl Pod {
    /// Lets published keys be fetched with `fetcher`, and not with our own client.
    pub fn fetch_keys_with(&self, fetcher: Arc<dyn FetchJson>) {
        *self.inner.tokens.fetcher.lock() = Some(fetcher);
    }

    /// Whom a token speaks for.
    ///
    /// # Errors
    /// [`PodError::Token`] if for nobody.
    pub(crate) async fn verify_token(&self, token: &str) -> Result<Caller, PodError> {
        let memory = &self.inner.tokens;
        let now_s = self.inner.clock.now_unix_s();
        if let Some(caller) = memory.verified.get(token, now_s) {
            return Ok(caller);
        }
        let auth = self.auth();
        let settings = &auth.tokens;
        let presented = PresentedToken::parse(token)?;
        let published = self.keys_for(settings, &presented).await;
        let keys = [settings.keys.as_ref(), published.as_ref()];
        let holder = presented.verify(&keys, &settings.rules, now_s)?;
        // Settings that changed meanwhile would otherwise find a token of the old ones.
        if Arc::ptr_eq(&auth, &self.auth()) {
            memory.verified.insert(token, &holder, now_s);
        }
        Ok(holder.caller)
    }

    /// The published keys, fetched if they are wanted and it is time to.
    async fn keys_for(
        &self,
        settings: &TokenSettings,
        presented: &PresentedToken<'_>,
    ) -> Arc<TokenKeys> {
        let Some(url) = settings.published_at.as_deref() else {
            return Arc::default();
        };
        let (kind, kid) = presented.key();
        if settings.keys.knows(kind, kid) {
            return Arc::default();
        }
        let known = Arc::clone(self.inner.tokens.published.lock().keys());
        let missing = !known.knows(kind, kid);
        if !self.keys_are_due(settings, missing) {
            return if missing {
                // Who comes while they are fetched waits for that.
                drop(self.inner.tokens.fetching.lock().await);
                Arc::clone(self.inner.tokens.published.lock().keys())
            } else {
                known
            };
        }
        let (pod, url, wanted) = (self.clone(), url.to_owned(), settings.clone());
        let fetching = tokio::spawn(async move { pod.fetch_keys(&url, &wanted, missing).await });
        if !missing {
            return known;
        }
        // To the end, also if who asked goes away.
        drop(fetching.await);
        Arc::clone(self.inner.tokens.published.lock().keys())
    }

    fn keys_are_due(&self, settings: &TokenSettings, missing: bool) -> bool {
        let now_s = self.inner.clock.now_unix_s();
        let published = self.inner.tokens.published.lock();
        published.due(now_s, settings.refresh_s, missing)
    }

    async fn fetch_keys(&self, url: &str, settings: &TokenSettings, missing: bool) {
        let _only = self.inner.tokens.fetching.lock().await;
        if !self.keys_are_due(settings, missing) {
            return;
        }
        let now_s = self.inner.clock.now_unix_s();
        self.inner.tokens.published.lock().trying(now_s);
        match self.fetched(url).await {
            Ok(keys) => self.inner.tokens.published.lock().fetched(keys, now_s),
            Err(reason) => tracing::warn!(url, reason, "the keys of tokens cannot be fetched"),
        }
    }

    /// Who fetches keys: our own client, unless another was given.
    fn fetcher(&self) -> Result<Arc<dyn FetchJson>, String> {
        let mut fetcher = self.inner.tokens.fetcher.lock();
        if let Some(fetcher) = &*fetcher {
            return Ok(Arc::clone(fetcher));
        }
        let own = Client::new(Options {
            authorities: self.inner.options.replication.authorities.clone(),
            kept_per_host: 1,
            ..Options::default()
        });
        let own: Arc<dyn FetchJson> = Arc::new(own.map_err(|error| error.to_string())?);
        *fetcher = Some(Arc::clone(&own));
        Ok(own)
    }

    async fn fetched(&self, url: &str) -> Result<TokenKeys, String> {
        let fetcher = self.fetcher()?;
        let fetching = fetcher.fetch_json(url, PUBLISHED_BYTES_MAX);
        let body = tokio::time::timeout(FETCH_TIME_MAX, fetching)
            .await
            .map_err(|_| "no answer in time")??;
        if body.len() > PUBLISHED_BYTES_MAX {
            return Err("the answer is too large".to_owned());
        }
        let read = tokio::task::spawn_blocking(move || TokenKeys::from_published(&body)).await;
        read.ok().flatten().ok_or("it is no set of keys".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::sign_in::SignIn;
    use crate::write_user::tests::pod;

    /// `{"alg":"HS256"}.{"sub":"ann","_couchdb.roles":["staff"]}` under the secret `hello`.
    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJfY291Y2hkYi5yb2xlcyI6WyJzdGFmZiJdfQ.TWVCnAr41lk5p6PWeFnYR4qkmgPfseUT-Ky5Y8A98pk";

    /// Answers each attempt with the next of its answers, and the last again and again.
    struct Publisher {
        asked: AtomicUsize,
        answers: Vec<Result<&'static str, &'static str>>,
    }

    impl FetchJson for Publisher {
        fn fetch_json<'a>(
            &'a self,
            _: &'a str,
            _: usize,
        ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send + 'a>> {
            let n = self.asked.fetch_add(1, Ordering::SeqCst);
            let answer = self.answers[n.min(self.answers.len() - 1)];
            Box::pin(async move {
                let answer = answer.map_err(str::to_owned)?;
                Ok(answer.as_bytes().to_vec())
            })
        }
    }

    const NEW_KEY: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"new","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    /// RFC 8037, appendix A: its key, and a token that another key has signed.
    const SIGNED_BY_ANOTHER: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6Im5ldyJ9.e30.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    #[tokio::test]
    async fn a_token_signs_in_and_is_forgotten_when_its_key_is() {
        let pod = pod().await;
        let before = pod.authenticate(SignIn::Bearer(TOKEN)).await;
        assert!(before.is_err(), "tokens count for nothing without keys");
        let keys = |secret: &str| {
            let mut keys = TokenKeys::default();
            keys.insert("hmac:_default", secret).unwrap();
            Arc::new(keys)
        };
        pod.change_auth(|auth| auth.tokens.keys = keys("aGVsbG8="));
        for _ in 0..2 {
            let signed_in = pod.authenticate(SignIn::Bearer(TOKEN)).await.unwrap();
            assert_eq!(signed_in.handler, Some("jwt"));
            let staff = vec!["staff".to_owned()];
            assert_eq!(signed_in.caller, Caller::named("ann", staff));
        }
        pod.change_auth(|auth| auth.tokens.keys = keys("eHl6"));
        let answer = pod.authenticate(SignIn::Bearer(TOKEN)).await;
        assert_eq!(answer.unwrap_err().to_string(), "Bad HMAC");
    }

    #[tokio::test]
    async fn published_keys_are_fetched_when_a_token_names_one_that_is_not_known() {
        let pod = pod().await;
        let said = |error: PodError| error.to_string();
        let ask = || pod.verify_token(SIGNED_BY_ANOTHER);
        pod.change_auth(|auth| auth.tokens.published_at = Some("https://id.example".to_owned()));
        let publisher = Arc::new(Publisher {
            asked: AtomicUsize::new(0),
            answers: vec![Err("no route"), Ok("<html>"), Ok(NEW_KEY), Err("no route")],
        });
        let fetcher = Arc::clone(&publisher);
        pod.fetch_keys_with(fetcher);
        let rested = || pod.inner.tokens.published.lock().trying(0);
        for asked in [1, 2] {
            rested();
            assert_eq!(ask().await.map_err(said), Err("Unknown kid".to_owned()));
            // Strangers do not hurry it.
            assert_eq!(ask().await.map_err(said), Err("Unknown kid".to_owned()));
            assert_eq!(publisher.asked.load(Ordering::SeqCst), asked);
        }
        rested();
        // Now the key is there, and says that it made no such token.
        for _ in 0..3 {
            assert_eq!(ask().await.map_err(said), Err("Bad signature".to_owned()));
        }
        assert_eq!(publisher.asked.load(Ordering::SeqCst), 3);
        // A failure later on leaves it there.
        rested();
        let wanted = pod.auth().tokens.clone();
        pod.fetch_keys("https://id.example", &wanted, true).await;
        assert_eq!(publisher.asked.load(Ordering::SeqCst), 4);
        assert_eq!(ask().await.map_err(said), Err("Bad signature".to_owned()));
    }
}

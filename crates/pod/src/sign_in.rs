//! Signing in: from what a request brings to who is calling.
//!
//! A name is looked up among the server's administrators, then among the accounts (`principal.rs`).
//! What was read there is remembered for as long as they do not change, and a password
//! that was right for a few minutes, so that a client who sends his password with every request
//! costs two look-ups and one keyed hash.
//!
//! Invariants: slow hashes run on the blocking pool, few at a time, since each takes a core and
//! 19 MiB; a name that nobody has costs what a wrong password costs; nobody is answered from a
//! document that was replaced before he asked.

mod principal;

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use adea_accounts::names::normal_address;
use adea_accounts::sessions::ADMIN_PREFIX;
use adea_accounts::{
    Attempt, LOCKED_OUT, Lockout, PresentedCookie, Refusal, StoredCredential, Verdict,
    WRONG_NAME_OR_PASSWORD, hash_password, verify_password,
};
use adea_base::Caller;
use parking_lot::RwLock;
use tokio::sync::Semaphore;

use crate::begin_session::{HANDLER, Proof, SessionError, temporary};
use crate::error::PodError;
use crate::pod::Pod;

pub(crate) use principal::Principal;
use principal::Remembered;

/// How many passwords are hashed at once.
const HASHES_MAX: usize = 2;
/// Passwords that may wait for their turn: about two seconds' worth.
const HASHES_WAITING_MAX: usize = 128;

/// The database whose documents are the accounts.
pub(crate) const USERS: &str = "_users";

/// What a request brings to say who makes it.
#[derive(Clone, Copy)]
pub enum SignIn<'a> {
    /// Nothing.
    Anonymous,
    /// A name and a password.
    Basic {
        /// The name.
        name: &'a str,
        /// The password.
        password: &'a str,
        /// Where it comes from; who fails too often from there must wait.
        peer: Option<IpAddr>,
    },
    /// The value of `CouchDB`'s session cookie.
    Cookie(&'a str),
    /// The value of the cookie of a session that is kept.
    SessionCookie {
        /// The value.
        value: &'a str,
        /// Where it comes from, for the audit log.
        peer: IpAddr,
    },
    /// A token.
    Bearer(&'a str),
    /// What a server in front says.
    Proxy {
        /// The name.
        name: &'a str,
        /// The roles, between commas.
        roles: Option<&'a str>,
        /// The proof.
        token: Option<&'a str>,
    },
}

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// Who.
    pub caller: Caller,
    /// `CouchDB`'s name for how that was proved; `None` if nothing was.
    pub handler: Option<&'static str>,
    /// The value of a fresh cookie, if the session should get one with the answer.
    pub renewed_cookie: Option<String>,
    /// The same for the cookie of a session that is kept.
    pub renewed_session: Option<String>,
}

/// Accounts read before, and the room for slow hashes.
pub(crate) struct AccountCache {
    known: RwLock<HashMap<String, Remembered>>,
    hashing: Arc<Semaphore>,
    /// Places in the line before it.
    waiting: Arc<Semaphore>,
    /// Failures of late.
    pub(crate) lockout: Lockout,
    /// Held while administrators change.
    pub(crate) admin_changes: tokio::sync::Mutex<()>,
}

/// How a password was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checked {
    Right,
    Wrong,
    /// It was not looked at.
    LockedOut,
}

impl Pod {
    /// Finds out who makes a request. A session that has run out, or is not of this server and
    /// password, counts as none.
    ///
    /// # Errors
    /// [`PodError::Refused`] if the password is wrong or was so too often, or
    /// [`PodError::MalformedCookie`] if the cookie is none, [`PodError::Token`] if the token proves
    /// nothing.
    pub async fn authenticate(&self, sign_in: SignIn<'_>) -> Result<SignedIn, PodError> {
        match sign_in {
            SignIn::Anonymous => Ok(SignedIn::anonymous()),
            SignIn::Basic {
                name,
                password,
                peer,
            } => {
                if let Some(session) = temporary(name) {
                    let caller = self.resume_basic(session, password)?;
                    return Ok(SignedIn::by(HANDLER, caller));
                }
                let caller = self.verify_password(name, password, peer).await?;
                self.may_use_password(name)?;
                Ok(SignedIn::by("default", caller))
            }
            SignIn::Cookie(value) => self.resume_session(value),
            SignIn::SessionCookie { value, peer } => self.resume_cookie(value, peer).await,
            SignIn::Bearer(token) => self.bear(token).await,
            SignIn::Proxy { name, roles, token } => {
                let caller = self.auth().proxy.caller(name, roles, token);
                Ok(caller.map_or_else(SignedIn::anonymous, |caller| SignedIn::by("proxy", caller)))
            }
        }
    }

    /// Who somebody with this name and password is. Failures from `peer` are counted, and make him
    /// wait. If what is stored for the password is easier to attack than what would be stored now,
    /// it is made anew.
    ///
    /// # Errors
    /// [`PodError::Refused`] if the password is wrong or nobody has the name, without telling
    /// which, or if he has failed too often; also if his account wants more than a password.
    pub async fn verify_password(
        &self,
        name: &str,
        password: &str,
        peer: Option<IpAddr>,
    ) -> Result<Caller, PodError> {
        let known = self.prove(name, password, peer).await?;
        known.require_no_second_factor()?;
        Ok(known.caller)
    }

    pub(crate) async fn prove(
        &self,
        identifier: &str,
        password: &str,
        peer: Option<IpAddr>,
    ) -> Result<Principal, PodError> {
        // Who is kept out is nobody from here on, in words and in time: no memory of right passwords
        // knows him, and no failure of his counts for less.
        let principal = self.principal_known_as(identifier)?;
        let principal = principal.filter(|known| !known.is_kept_out());
        let own = principal.as_ref().and_then(|known| known.caller.name());
        let name = own.map_or_else(|| identifier.to_owned(), str::to_owned);
        let name = name.as_str();
        // Guesses count for what was typed, whoever it is of: else it could be seen whether two names
        // are of one account, or an address of any.
        let counted = counted_as(identifier);
        let credential = principal
            .as_ref()
            .and_then(|known| known.credential.clone());
        let attempt = peer.map(|peer| Attempt::new(peer, &counted, credential.as_deref()));
        // Before the memory of right passwords, which would answer guesses fast.
        if self.is_locked_out(attempt) {
            return Err(locked_out());
        }
        if !self.was_right(name, password, credential.as_deref()) {
            self.limit_attempt(&counted, peer)?;
            let stored = credential.clone();
            match self
                .check_slowly(name, password, credential, attempt)
                .await?
            {
                Checked::Right => {}
                Checked::Wrong => return Err(wrong()),
                Checked::LockedOut => return Err(locked_out()),
            }
            if let Some(stored) = stored {
                self.strengthen(name, password, &stored).await;
            }
        }
        principal.ok_or_else(wrong)
    }

    /// Proves to be the account that has this name or verified address, and this password; failures
    /// are counted and make him wait. An administrator of the configuration is `admin:<name>`.
    ///
    /// # Errors
    /// As [`Pod::verify_password`]; an account whose document wants digits besides (`totp`) signs in
    /// at `_session` only.
    pub async fn prove_password(
        &self,
        identifier: &str,
        password: &str,
        peer: IpAddr,
    ) -> Result<Proof, PodError> {
        let known = self.prove(identifier, password, Some(peer)).await?;
        if known.document_wants_digits {
            return Err(wrong());
        }
        let account = match (&known.record, known.caller.name()) {
            (Some(record), _) => record.id.clone(),
            (None, Some(name)) if known.caller.is_admin() => format!("{ADMIN_PREFIX}{name}"),
            (None, _) => return Err(wrong()),
        };
        Ok(Proof {
            account,
            method: "password".to_owned(),
            strong: false,
            epoch: Some(known.epoch),
        })
    }

    /// Signs somebody in for a session: who he is, and the value of his cookie.
    ///
    /// # Errors
    /// As [`Pod::verify_password`]; also [`PodError::Refused`] if his account wants the digits of a
    /// device, and `digits` are not those.
    pub async fn open_session(
        &self,
        name: &str,
        password: &str,
        digits: Option<&str>,
        peer: IpAddr,
    ) -> Result<(Caller, String), PodError> {
        let known = self.prove(name, password, Some(peer)).await?;
        self.may_use_password(name)?;
        if let Some(totp) = &known.totp {
            let (digits, now_s) = (digits.unwrap_or(""), self.inner.clock.now_unix_s());
            let fits = match known.own_totp() {
                Some(record) => self.take_digits(&record.id, digits).await?,
                None => totp.accepts(digits, now_s),
            };
            if !fits {
                let credential = known.credential.as_deref();
                let attempt = Attempt::new(peer, &counted_as(name), credential);
                self.count_failure(Some(attempt), name);
                return Err(wrong());
            }
        }
        let cookie = self.issue_session(&known)?;
        Ok((known.caller, cookie))
    }

    /// The cookie's value for a new session of `proved`, who has just proved to be it.
    ///
    /// # Errors
    /// [`PodError::Refused`] if the account is gone meanwhile, or all sessions of it have ended.
    pub(crate) fn issue_session(&self, proved: &Principal) -> Result<String, PodError> {
        let name = proved.caller.name().ok_or_else(wrong)?;
        // Read anew, since what stands for the password may have been made stronger.
        let now = match &proved.record {
            Some(record) => self.principal_of(&record.id)?,
            None => self.principal(name)?,
        };
        let same = |now: &Principal| now.epoch == proved.epoch && !now.is_kept_out();
        let salt = now.filter(same).and_then(|now| now.cookie_salt());
        let now_s = self.inner.clock.now_unix_s();
        let sessions = &self.inner.sessions;
        Ok(sessions.issue(name, &salt.ok_or_else(wrong)?, now_s))
    }

    /// Does slow work on passwords when there is room for it.
    pub(crate) async fn hash_slowly<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PodError> {
        // Strangers who guess must not make a line that nobody else gets to the front of.
        let waiting = Arc::clone(&self.inner.accounts.waiting);
        let _place = waiting.try_acquire_owned().map_err(|_| PodError::Busy)?;
        let room = Arc::clone(&self.inner.accounts.hashing);
        let permit = room
            .acquire_owned()
            .await
            .map_err(|_| PodError::Interrupted)?;
        let working = tokio::task::spawn_blocking(move || {
            // Held by the work and not by the request, which may end before it.
            let _permit = permit;
            work()
        });
        working.await.map_err(|_| PodError::Interrupted)
    }

    /// Makes what is stored for a new password, in the form that is set.
    pub(crate) async fn hash_password_slowly(
        &self,
        password: String,
    ) -> Result<StoredCredential, PodError> {
        let (scheme, entropy) = (self.auth().passwords.scheme, self.inner.entropy.clone());
        self.hash_slowly(move || hash_password(&password, scheme, &entropy))
            .await
    }

    /// Whether the password is right, without counting failures.
    pub(crate) async fn verify_slowly(
        &self,
        name: &str,
        password: &str,
        credential: Option<Arc<StoredCredential>>,
    ) -> Result<bool, PodError> {
        let checked = self.check_slowly(name, password, credential, None).await?;
        Ok(checked == Checked::Right)
    }

    async fn check_slowly(
        &self,
        name: &str,
        password: &str,
        credential: Option<Arc<StoredCredential>>,
        attempt: Option<Attempt>,
    ) -> Result<Checked, PodError> {
        let (pod, name, password) = (self.clone(), name.to_owned(), password.to_owned());
        self.hash_slowly(move || {
            // Guesses that came all at once are counted here, where they take turns.
            if pod.is_locked_out(attempt) {
                return Checked::LockedOut;
            }
            let credential = credential.as_deref();
            // A client begins with several requests at once: the first one's work does for all.
            if pod.was_right(&name, &password, credential) {
                return Checked::Right;
            }
            if !verify_password(credential, &password) {
                pod.count_failure(attempt, &name);
                return Checked::Wrong;
            }
            if let Some(credential) = credential {
                pod.remember_right(&name, &password, credential);
            }
            Checked::Right
        })
        .await
    }

    /// Remembers that a password is right.
    pub(crate) fn remember_right(&self, name: &str, password: &str, credential: &StoredCredential) {
        let now_s = self.inner.clock.now_unix_s();
        let verified = &self.inner.verified;
        verified.insert(name, password, credential, now_s);
    }

    pub(crate) fn is_locked_out(&self, attempt: Option<Attempt>) -> bool {
        let Some(attempt) = attempt else {
            return false;
        };
        let (auth, now_s) = (self.auth(), self.inner.clock.now_unix_s());
        let lockout = &self.inner.accounts.lockout;
        match lockout.verdict(&auth.lockout, attempt, now_s) {
            Verdict::Open => false,
            Verdict::Warned => {
                tracing::warn!("somebody signs in who has failed too often");
                false
            }
            Verdict::Locked => true,
        }
    }

    pub(crate) fn count_failure(&self, attempt: Option<Attempt>, name: &str) {
        let Some(attempt) = attempt else {
            return;
        };
        let (auth, now_s) = (self.auth(), self.inner.clock.now_unix_s());
        let lockout = &self.inner.accounts.lockout;
        if lockout.failed(&auth.lockout, attempt, now_s) == auth.lockout.threshold {
            let name: String = name.chars().take(128).collect();
            tracing::warn!(name = ?name, "too many wrong passwords from one place");
        }
    }

    fn was_right(&self, name: &str, password: &str, credential: Option<&StoredCredential>) -> bool {
        let now_s = self.inner.clock.now_unix_s();
        let verified = &self.inner.verified;
        credential.is_some_and(|stored| verified.contains(name, password, stored, now_s))
    }

    /// Lets pass who may do with a name and a password what he asks for, where that is something
    /// else than a session. It is asked when the password was right, so that nobody learns from it
    /// which names there are. Administrators of the configuration keep a way in that needs nothing
    /// else to work.
    fn may_use_password(&self, name: &str) -> Result<(), PodError> {
        let required = self.auth().accounts.sessions.required;
        if required && self.inner.admins.read().find(name).is_none() {
            return Err(SessionError::Required.into());
        }
        Ok(())
    }

    fn resume_session(&self, value: &str) -> Result<SignedIn, PodError> {
        let presented = PresentedCookie::parse(value).map_err(|_| PodError::MalformedCookie)?;
        let found = self.principal(presented.claimed_name())?;
        let Some(found) = found.filter(|known| !known.is_kept_out()) else {
            return Ok(SignedIn::anonymous());
        };
        let salt = found.cookie_salt();
        let salt = salt.as_deref();
        let (sessions, now_s) = (&self.inner.sessions, self.inner.clock.now_unix_s());
        let Ok(session) = sessions.verify_presented(presented, salt, now_s) else {
            return Ok(SignedIn::anonymous());
        };
        self.may_use_password(&session.name)?;
        let renewed_cookie = salt
            .filter(|_| sessions.needs_renewal(&session, now_s))
            .map(|salt| sessions.issue(&session.name, salt, now_s));
        Ok(SignedIn {
            caller: found.caller,
            handler: Some("cookie"),
            renewed_cookie,
            renewed_session: None,
        })
    }
}

impl SignedIn {
    pub(crate) fn by(handler: &'static str, caller: Caller) -> Self {
        Self {
            caller,
            handler: Some(handler),
            renewed_cookie: None,
            renewed_session: None,
        }
    }

    fn anonymous() -> Self {
        Self {
            caller: Caller::anonymous(),
            handler: None,
            renewed_cookie: None,
            renewed_session: None,
        }
    }
}

impl Default for AccountCache {
    fn default() -> Self {
        Self {
            known: RwLock::default(),
            hashing: Arc::new(Semaphore::new(HASHES_MAX)),
            waiting: Arc::new(Semaphore::new(HASHES_WAITING_MAX)),
            lockout: Lockout::default(),
            admin_changes: tokio::sync::Mutex::default(),
        }
    }
}

/// Under what guesses at `identifier` are counted: an address in the form that is compared, and a name
/// as it is.
fn counted_as(identifier: &str) -> Cow<'_, str> {
    normal_address(identifier).map_or(Cow::Borrowed(identifier), Cow::Owned)
}

pub(crate) fn locked_out() -> PodError {
    Refusal::Forbidden(Cow::Borrowed(LOCKED_OUT)).into()
}

fn wrong() -> PodError {
    Refusal::Unauthorized(Cow::Borrowed(WRONG_NAME_OR_PASSWORD)).into()
}

#[cfg(test)]
mod tests {
    use super::principal::REMEMBERED_MAX;
    use super::*;
    use crate::write_user::tests::{
        Edit, basic, caller, edit, is_wrong, nameless_id, pod, refused, signs_in, users, write,
    };
    use adea_accounts::Totp;
    use adea_documents::DatabaseNumber;
    use adea_documents::revision::RevisionId;
    use serde_json::json;

    const NAME: &str = "ann";

    fn ann(password: &str) -> serde_json::Value {
        json!({"type":"user","name":NAME,"roles":["staff"],"password":password})
    }

    fn issued(pod: &Pod) -> Result<String, PodError> {
        pod.issue_session(&pod.principal(NAME)?.ok_or_else(wrong)?)
    }

    #[tokio::test]
    async fn an_account_signs_in_and_nobody_else() {
        let pod = pod().await;
        let root = caller("root", &["_admin"]);
        write(
            &pod,
            &root,
            "org.couchdb.user:ann",
            ann("geheim"),
            edit(None),
        )
        .await
        .unwrap();
        let found = signs_in(&pod, NAME, "geheim").await;
        assert_eq!(found, caller(NAME, &["staff"]));
        assert!(!found.is_admin());
        // The second time from memory.
        assert!(pod.inner.accounts.known.read().contains_key(NAME));
        assert_eq!(signs_in(&pod, NAME, "geheim").await, found);
        for (name, password) in [(NAME, "falsch"), (NAME, ""), ("bob", "geheim"), ("", "")] {
            assert!(is_wrong(&pod, name, password).await, "{name} {password}");
        }
        assert!(!pod.inner.accounts.known.read().contains_key("bob"));
        let nobody = pod.authenticate(SignIn::Anonymous).await.unwrap();
        assert_eq!(nobody, SignedIn::anonymous());
    }

    #[tokio::test]
    async fn a_session_lasts_until_the_password_changes() {
        let pod = pod().await;
        let root = caller("root", &["_admin"]);
        let id = "org.couchdb.user:ann";
        let first = write(&pod, &root, id, ann("geheim"), edit(None))
            .await
            .unwrap();
        let who = pod.verify_password(NAME, "geheim", None).await.unwrap();
        let cookie = issued(&pod).unwrap();
        let session = pod.authenticate(SignIn::Cookie(&cookie)).await.unwrap();
        assert_eq!(session.caller, who);
        assert_eq!(
            (session.handler, session.renewed_cookie),
            (Some("cookie"), None)
        );

        let other = json!({"type":"user","name":"bob","roles":[],"password":"x"});
        write(&pod, &root, "org.couchdb.user:bob", other, edit(None))
            .await
            .unwrap();
        let session = pod.authenticate(SignIn::Cookie(&cookie)).await.unwrap();
        assert_eq!(session.caller, who);

        let second = write(&pod, &who, id, ann("neu"), edit(Some(first)))
            .await
            .unwrap();
        let session = pod.authenticate(SignIn::Cookie(&cookie)).await.unwrap();
        assert_eq!(session, SignedIn::anonymous());
        assert!(is_wrong(&pod, NAME, "geheim").await);
        assert_eq!(signs_in(&pod, NAME, "neu").await, nameless_id(&who));

        let cookie = issued(&pod).unwrap();
        let gone = json!({"_deleted":true});
        write(&pod, &root, id, gone, edit(Some(second)))
            .await
            .unwrap();
        let session = pod.authenticate(SignIn::Cookie(&cookie)).await.unwrap();
        assert_eq!(session, SignedIn::anonymous());
        assert!(is_wrong(&pod, NAME, "neu").await);
        assert!(refused(&issued(&pod)).is_some());
    }

    #[tokio::test]
    async fn cookies_are_renewed_run_out_and_may_be_nonsense() {
        let pod = pod().await;
        pod.ensure_admin("root", Some("geheim")).await.unwrap();
        let salt = *pod.inner.admins.read().find("root").unwrap().fingerprint();
        let now_s = pod.clock().now_unix_s();
        let aged = |age_s: u64| pod.inner.sessions.issue("root", &salt, now_s - age_s);
        let old = pod.authenticate(SignIn::Cookie(&aged(300))).await.unwrap();
        assert!(old.caller.is_admin());
        let renewed = old.renewed_cookie.unwrap();
        let young = pod.authenticate(SignIn::Cookie(&renewed)).await.unwrap();
        assert_eq!((young.caller, young.renewed_cookie), (old.caller, None));

        let forged = pod.inner.sessions.issue("root", &[0; 32], now_s);
        let unknown = pod.inner.sessions.issue("nobody", &[], now_s);
        for worthless in [aged(601), forged, unknown] {
            let session = pod.authenticate(SignIn::Cookie(&worthless)).await.unwrap();
            assert_eq!(session, SignedIn::anonymous());
        }
        for nonsense in ["", "x", "%%%", "AAAA"] {
            let answer = pod.authenticate(SignIn::Cookie(nonsense)).await;
            let Err(PodError::MalformedCookie) = answer else {
                panic!("{nonsense}");
            };
        }
        assert_eq!(
            PodError::MalformedCookie.to_string(),
            "Malformed AuthSession cookie. Please clear your cookies."
        );
    }

    #[tokio::test]
    async fn an_account_that_contradicts_itself_is_refused() {
        let pod = pod().await;
        let root = caller("root", &["_admin"]);
        let id = "org.couchdb.user:ann";
        write(&pod, &root, id, ann("geheim"), edit(None))
            .await
            .unwrap();
        let branch = Edit::Replicated(1, RevisionId::Md5([7; 16]));
        write(&pod, &root, id, ann("anders"), branch).await.unwrap();
        for password in ["geheim", "anders"] {
            let answer = pod.authenticate(basic(NAME, password)).await;
            let refusal = refused(&answer).expect("refused");
            assert!(
                refusal.reason().starts_with("User document conflicts"),
                "{refusal}"
            );
        }
    }

    #[tokio::test]
    async fn many_requests_at_once_are_all_answered_and_give_their_room_back() {
        let pod = pod().await;
        pod.ensure_admin("root", Some("geheim")).await.unwrap();
        let asking: Vec<_> = (0..50)
            .map(|_| {
                let pod = pod.clone();
                tokio::spawn(async move { signs_in(&pod, "root", "geheim").await })
            })
            .collect();
        for asked in asking {
            assert!(asked.await.unwrap().is_admin());
        }
        assert_eq!(pod.inner.accounts.hashing.available_permits(), HASHES_MAX);
    }

    #[tokio::test]
    async fn without_its_database_nobody_has_an_account() {
        let pod = pod().await;
        let root = caller("root", &["_admin"]);
        write(
            &pod,
            &root,
            "org.couchdb.user:ann",
            ann("geheim"),
            edit(None),
        )
        .await
        .unwrap();
        signs_in(&pod, NAME, "geheim").await;
        pod.drop_database(&users(&pod).name).await.unwrap();
        assert!(is_wrong(&pod, NAME, "geheim").await);
        pod.make_system_databases().await.unwrap();
        assert!(is_wrong(&pod, NAME, "geheim").await);
    }

    #[tokio::test]
    async fn who_guesses_must_wait_and_others_need_not() {
        let pod = pod().await;
        pod.set_admin("root", "geheim").await.unwrap();
        let from = |address: &str| Some(address.parse().unwrap());
        let ask = async |password: &str, address: &str| {
            let answer = pod.verify_password("root", password, from(address)).await;
            answer.map_err(|error| error.to_string())
        };
        let wrong = Err(WRONG_NAME_OR_PASSWORD.to_owned());
        let locked = Err(LOCKED_OUT.to_owned());
        // All at once, as a guesser would.
        let guesses: Vec<_> = (0..20)
            .map(|n| {
                let pod = pod.clone();
                let peer = from("192.0.2.1");
                tokio::spawn(async move {
                    let guess = pod.verify_password("root", &n.to_string(), peer).await;
                    guess.unwrap_err().to_string()
                })
            })
            .collect();
        let mut looked_at = 0;
        for guess in guesses {
            looked_at += usize::from(guess.await.unwrap() == WRONG_NAME_OR_PASSWORD);
        }
        assert!((5..5 + HASHES_MAX).contains(&looked_at), "{looked_at}");
        assert_eq!(ask("geheim", "192.0.2.1").await, locked);
        assert!(ask("geheim", "192.0.2.2").await.is_ok());
        // Also where it is remembered that it was right.
        assert_eq!(ask("geheim", "192.0.2.1").await, locked);
        assert!(signs_in(&pod, "root", "geheim").await.is_admin());
        pod.change_auth(|auth| auth.lockout.mode = adea_accounts::LockoutMode::Warn);
        assert!(ask("geheim", "192.0.2.1").await.is_ok());
        assert_eq!(ask("falsch", "192.0.2.1").await, wrong);
        // A new password is a new beginning.
        pod.change_auth(|auth| auth.lockout.mode = adea_accounts::LockoutMode::Enforce);
        pod.set_admin("root", "neu").await.unwrap();
        assert!(ask("neu", "192.0.2.1").await.is_ok());
        // A name that nobody has is locked as well, or names could be guessed.
        for _ in 0..5 {
            let answer = pod.verify_password("nobody", "x", from("192.0.2.1")).await;
            assert_eq!(answer.unwrap_err().to_string(), WRONG_NAME_OR_PASSWORD);
        }
        let answer = pod.verify_password("nobody", "x", from("192.0.2.1")).await;
        assert_eq!(answer.unwrap_err().to_string(), LOCKED_OUT);
    }

    #[tokio::test]
    async fn an_account_may_want_the_digits_of_a_device() {
        let pod = pod().await;
        let root = caller("root", &["_admin"]);
        let mut user = ann("geheim");
        user["totp"] = json!({"key":"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"});
        write(&pod, &root, "org.couchdb.user:ann", user, edit(None))
            .await
            .unwrap();
        assert!(is_wrong(&pod, NAME, "geheim").await, "Basic has no digits");
        let peer = "192.0.2.1".parse().unwrap();
        let open = async |digits: Option<&str>| {
            let opened = pod.open_session(NAME, "geheim", digits, peer).await;
            opened.map_err(|error| error.to_string())
        };
        let wrong = || WRONG_NAME_OR_PASSWORD.to_owned();
        assert_eq!(open(None).await.unwrap_err(), wrong());
        let now_s = pod.clock().now_unix_s();
        let field = json!({"key":"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"});
        let totp = Totp::from_field(Some(&field)).unwrap();
        let shown = totp.digits(now_s);
        let (caller, cookie) = open(shown.as_deref()).await.unwrap();
        assert_eq!(caller.name(), Some(NAME));
        let session = pod.authenticate(SignIn::Cookie(&cookie)).await.unwrap();
        assert_eq!(session.caller, caller);
        // Digits are guessed no longer than passwords.
        for _ in 0..4 {
            assert_eq!(open(Some("x")).await.unwrap_err(), wrong());
        }
        assert_eq!(open(Some("x")).await.unwrap_err(), LOCKED_OUT);
    }

    #[test]
    fn the_memory_of_accounts_is_bounded() {
        let cache = AccountCache::default();
        let principal = Principal {
            caller: Caller::anonymous(),
            credential: None,
            totp: None,
            document_wants_digits: false,
            record: None,
            epoch: 0,
        };
        let moment = (DatabaseNumber(1), 1, 0);
        for n in 0..=REMEMBERED_MAX {
            cache.insert(&n.to_string(), moment, &principal);
        }
        assert!(cache.known.read().len() <= REMEMBERED_MAX);
        let last = REMEMBERED_MAX.to_string();
        assert!(cache.get(&last, moment).is_some());
        assert!(cache.get(&last, (DatabaseNumber(1), 2, 0)).is_none());
        assert!(cache.get(&last, (DatabaseNumber(1), 1, 1)).is_none());
        assert!(cache.get(&last, (DatabaseNumber(2), 1, 0)).is_none());
    }
}

//! Signing in: from what a request brings to who is calling.
//!
//! A name is looked up among the server's administrators, then among the documents of `_users`.
//! What was read there is remembered for as long as that database does not change, and a password
//! that was right for a few minutes, so that a client who sends his password with every request
//! costs two look-ups and one keyed hash.
//!
//! Invariants: slow hashes run on the blocking pool, few at a time, since each takes a core and
//! 19 MiB; a name that nobody has costs what a wrong password costs; nobody is answered from a
//! document that was replaced before he asked.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use adea_accounts::{
    Account, PresentedCookie, Refusal, StoredCredential, WRONG_NAME_OR_PASSWORD, hash_password,
    user_id, verify_password,
};
use adea_base::{Caller, DatabaseName};
use adea_documents::{DatabaseError, DatabaseNumber, database};
use adea_store::key::POD;
use adea_store::{Direction, EngineError, KeyRange, Space, View};
use parking_lot::RwLock;
use tokio::sync::Semaphore;

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::{Pod, put};
use crate::write_user::current_user;

/// Where administrators are stored, by name.
const ADMINS: &[u8] = &[POD, b'a'];
/// The first byte of what is stored for one.
const FORMAT: u8 = 1;
/// The role that makes an administrator.
const ADMIN_ROLE: &str = "_admin";
/// How many accounts are remembered; forgetting all beyond is crude, and rare.
const REMEMBERED_MAX: usize = 10_000;
/// How many passwords are hashed at once.
const HASHES_MAX: usize = 2;
/// Passwords that may wait for their turn: about two seconds' worth.
const HASHES_WAITING_MAX: usize = 128;
/// How many characters a generated password has; each is one of 64.
const GENERATED_LENGTH: usize = 24;

/// The database whose documents are the accounts.
const USERS: &str = "_users";

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
    },
    /// The value of a session cookie.
    Cookie(&'a str),
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
}

/// What [`Pod::ensure_admin`] did.
#[derive(Clone, PartialEq, Eq)]
pub enum FirstAdmin {
    /// There was none, so one was made with this password, which nobody else knows.
    Generated(String),
    /// The password given is now his.
    Set,
    /// There was nothing to do.
    Unchanged,
}

/// The server's administrators: names and what stands for their passwords.
#[derive(Default)]
pub(crate) struct Admins {
    by_name: HashMap<String, Arc<StoredCredential>>,
}

/// Accounts read before, and the room for slow hashes.
pub(crate) struct AccountCache {
    known: RwLock<HashMap<String, Remembered>>,
    hashing: Arc<Semaphore>,
    /// Places in the line before it.
    waiting: Arc<Semaphore>,
}

/// Somebody with a name, before he proved to be it.
#[derive(Clone)]
struct Principal {
    caller: Caller,
    /// Without one he cannot sign in.
    credential: Option<Arc<StoredCredential>>,
}

struct Remembered {
    /// As of when this holds: a database and its last change.
    moment: (DatabaseNumber, u64),
    principal: Principal,
}

impl Pod {
    /// Makes sure that somebody can administer the server. With a password given, `name` is an
    /// administrator with this password afterwards; without, one is made up if there is no
    /// administrator at all.
    ///
    /// # Errors
    /// [`PodError::Refused`] for a name or password that nobody could sign in with;
    /// [`PodError::Commit`] if it cannot be stored.
    pub async fn ensure_admin(
        &self,
        name: &str,
        password: Option<&str>,
    ) -> Result<FirstAdmin, PodError> {
        if name.is_empty() || name.contains(':') || password == Some("") {
            let reason = "An administrator needs a name without `:`, and a password.";
            return Err(Refusal::Forbidden(Cow::Borrowed(reason)).into());
        }
        let Some(password) = password else {
            if self.has_admin() {
                return Ok(FirstAdmin::Unchanged);
            }
            let password = self.generate_password();
            self.set_admin(name, &password).await?;
            return Ok(FirstAdmin::Generated(password));
        };
        let stored = self.inner.admins.read().find(name);
        if let Some(stored) = stored
            && self.verify_slowly(name, password, Some(stored)).await?
        {
            return Ok(FirstAdmin::Unchanged);
        }
        self.set_admin(name, password).await?;
        Ok(FirstAdmin::Set)
    }

    /// Whether anybody can administer the server.
    #[must_use]
    pub fn has_admin(&self) -> bool {
        !self.inner.admins.read().by_name.is_empty()
    }

    /// Finds out who makes a request. A session that has run out, or is not of this server and
    /// password, counts as none.
    ///
    /// # Errors
    /// [`PodError::Refused`] if the password is wrong, [`PodError::MalformedCookie`] if the cookie
    /// is none.
    pub async fn authenticate(&self, sign_in: SignIn<'_>) -> Result<SignedIn, PodError> {
        match sign_in {
            SignIn::Anonymous => Ok(SignedIn::anonymous()),
            SignIn::Basic { name, password } => Ok(SignedIn {
                caller: self.verify_password(name, password).await?,
                handler: Some("default"),
                renewed_cookie: None,
            }),
            SignIn::Cookie(value) => self.resume_session(value),
        }
    }

    /// Who somebody with this name and password is.
    ///
    /// # Errors
    /// [`PodError::Refused`] if the password is wrong or nobody has the name, without telling
    /// which.
    pub async fn verify_password(&self, name: &str, password: &str) -> Result<Caller, PodError> {
        let principal = self.principal(name)?;
        let credential = principal
            .as_ref()
            .and_then(|known| known.credential.clone());
        let right = self.was_right(name, password, credential.as_deref())
            || self.verify_slowly(name, password, credential).await?;
        if !right {
            return Err(wrong());
        }
        principal.map(|known| known.caller).ok_or_else(wrong)
    }

    /// The cookie's value for a new session of `name`, who has just proved to be it.
    ///
    /// # Errors
    /// [`PodError::Refused`] if the account is gone meanwhile.
    pub fn issue_session(&self, name: &str) -> Result<String, PodError> {
        let principal = self.principal(name)?.ok_or_else(wrong)?;
        let credential = principal.credential.ok_or_else(wrong)?;
        let now_s = self.inner.clock.now_unix_s();
        let sessions = &self.inner.sessions;
        Ok(sessions.issue(name, credential.fingerprint(), now_s))
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

    async fn verify_slowly(
        &self,
        name: &str,
        password: &str,
        credential: Option<Arc<StoredCredential>>,
    ) -> Result<bool, PodError> {
        let (pod, name, password) = (self.clone(), name.to_owned(), password.to_owned());
        self.hash_slowly(move || {
            let credential = credential.as_deref();
            // A client begins with several requests at once: the first one's work does for all.
            if pod.was_right(&name, &password, credential) {
                return true;
            }
            let right = verify_password(credential, &password);
            if let Some(credential) = credential.filter(|_| right) {
                let now_s = pod.inner.clock.now_unix_s();
                let verified = &pod.inner.verified;
                verified.insert(&name, &password, credential, now_s);
            }
            right
        })
        .await
    }

    fn was_right(&self, name: &str, password: &str, credential: Option<&StoredCredential>) -> bool {
        let now_s = self.inner.clock.now_unix_s();
        let verified = &self.inner.verified;
        credential.is_some_and(|stored| verified.contains(name, password, stored, now_s))
    }

    fn resume_session(&self, value: &str) -> Result<SignedIn, PodError> {
        let presented = PresentedCookie::parse(value).map_err(|_| PodError::MalformedCookie)?;
        let Some(Principal { caller, credential }) = self.principal(presented.claimed_name())?
        else {
            return Ok(SignedIn::anonymous());
        };
        let salt = credential.as_deref().map(StoredCredential::fingerprint);
        let salt = salt.map(<[u8; 32]>::as_slice);
        let (sessions, now_s) = (&self.inner.sessions, self.inner.clock.now_unix_s());
        let Ok(session) = sessions.verify_presented(presented, salt, now_s) else {
            return Ok(SignedIn::anonymous());
        };
        let renewed_cookie = salt
            .filter(|_| sessions.needs_renewal(&session, now_s))
            .map(|salt| sessions.issue(&session.name, salt, now_s));
        Ok(SignedIn {
            caller,
            handler: Some("cookie"),
            renewed_cookie,
        })
    }

    /// Who has the name `name`, with the roles that he has now.
    pub(crate) fn caller_named(&self, name: &str) -> Result<Option<Caller>, PodError> {
        Ok(self.principal(name)?.map(|known| known.caller))
    }

    /// Who has the name `name`.
    fn principal(&self, name: &str) -> Result<Option<Principal>, PodError> {
        if let Some(credential) = self.inner.admins.read().find(name) {
            return Ok(Some(Principal {
                caller: Caller::named(name, vec![ADMIN_ROLE.to_owned()]),
                credential: Some(credential),
            }));
        }
        let Ok(users) = DatabaseName::parse(USERS) else {
            return Ok(None);
        };
        let entry = match self.database(&users) {
            Ok(entry) => entry,
            Err(PodError::Database(DatabaseError::Missing)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let view = self.view();
        let statistics = database::statistics(view.as_ref(), entry.number)?;
        let moment = (entry.number, statistics.update_sequence);
        if let Some(known) = self.inner.accounts.get(name, moment) {
            return Ok(Some(known));
        }
        // The same view as that of the count: what is read is of that very moment.
        let found = read_account(view.as_ref(), &entry, name)?;
        if let Some(found) = &found {
            self.inner.accounts.insert(name, moment, found);
        }
        Ok(found)
    }

    /// The administrators, by name, with what is stored for their passwords.
    #[must_use]
    pub fn admins(&self) -> Vec<(String, String)> {
        let admins = self.inner.admins.read();
        let all = admins.by_name.iter();
        let mut all: Vec<_> = all
            .map(|(name, credential)| (name.clone(), credential.to_text()))
            .collect();
        all.sort_unstable();
        all
    }

    /// Takes the administrator's rights from `name`; false if he had none.
    ///
    /// # Errors
    /// [`PodError::Refused`] for the last administrator.
    pub async fn remove_admin(&self, name: &str) -> Result<bool, PodError> {
        {
            let admins = self.inner.admins.read();
            if admins.find(name).is_none() {
                return Ok(false);
            }
            if admins.by_name.len() == 1 {
                let reason = "The last administrator cannot be removed.";
                return Err(Refusal::Forbidden(Cow::Borrowed(reason)).into());
            }
        }
        let key = [ADMINS, name.as_bytes()].concat();
        let deleted: Result<(), adea_store::TransactError<PodError>> = self
            .inner
            .store
            .transact(Self::permit(), move |tx| {
                tx.delete(Space::Index, key);
                Ok(())
            })
            .await;
        deleted?;
        self.inner.admins.write().by_name.remove(name);
        Ok(true)
    }

    /// Makes `name` an administrator with this password, or with what stands for one.
    ///
    /// # Errors
    /// [`PodError::Refused`] for a name or password that nobody could sign in with.
    pub async fn set_admin(&self, name: &str, password: &str) -> Result<(), PodError> {
        if name.is_empty() || name.contains(':') || password.is_empty() {
            let reason = "An administrator needs a name without `:`, and a password.";
            return Err(Refusal::Forbidden(Cow::Borrowed(reason)).into());
        }
        let credential = match StoredCredential::from_ini(password) {
            Ok(hashed) => hashed,
            Err(adea_accounts::InvalidCredential::NotHashed) => {
                let (password, entropy) = (password.to_owned(), self.inner.entropy.clone());
                self.hash_slowly(move || hash_password(&password, &entropy))
                    .await?
            }
            Err(error) => return Err(Refusal::Forbidden(Cow::Owned(error.to_string())).into()),
        };
        let key = [ADMINS, name.as_bytes()].concat();
        let mut value = vec![FORMAT];
        value.extend_from_slice(credential.to_text().as_bytes());
        put(&self.inner.store, &key, value).await?;
        let mut admins = self.inner.admins.write();
        admins.by_name.insert(name.to_owned(), Arc::new(credential));
        Ok(())
    }

    fn generate_password(&self) -> String {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bytes = self.inner.entropy.bytes::<GENERATED_LENGTH>();
        bytes
            .iter()
            .filter_map(|byte| ALPHABET.get(usize::from(byte & 63)))
            .map(|letter| char::from(*letter))
            .collect()
    }
}

impl SignedIn {
    fn anonymous() -> Self {
        Self {
            caller: Caller::anonymous(),
            handler: None,
            renewed_cookie: None,
        }
    }
}

impl Admins {
    /// Reads all of them.
    pub(crate) fn load(view: &dyn View) -> Result<Self, EngineError> {
        let mut admins = Self::default();
        let range = KeyRange::prefix(ADMINS);
        let mut cursor = view.range(Space::Index, range, Direction::Forward)?;
        while let Some((key, value)) = cursor.next()? {
            let (name, credential) = decode_admin(key, value)
                .ok_or_else(|| EngineError::Corrupt("an administrator".to_owned()))?;
            admins.by_name.insert(name, Arc::new(credential));
        }
        Ok(admins)
    }

    fn find(&self, name: &str) -> Option<Arc<StoredCredential>> {
        self.by_name.get(name).cloned()
    }
}

impl Default for AccountCache {
    fn default() -> Self {
        Self {
            known: RwLock::default(),
            hashing: Arc::new(Semaphore::new(HASHES_MAX)),
            waiting: Arc::new(Semaphore::new(HASHES_WAITING_MAX)),
        }
    }
}

impl AccountCache {
    fn get(&self, name: &str, moment: (DatabaseNumber, u64)) -> Option<Principal> {
        let known = self.known.read();
        let remembered = known.get(name).filter(|known| known.moment == moment)?;
        Some(remembered.principal.clone())
    }

    fn insert(&self, name: &str, moment: (DatabaseNumber, u64), principal: &Principal) {
        let mut known = self.known.write();
        if known.len() >= REMEMBERED_MAX && !known.contains_key(name) {
            known.clear();
        }
        let principal = principal.clone();
        known.insert(name.to_owned(), Remembered { moment, principal });
    }
}

/// Says what happened, and no password.
impl fmt::Debug for FirstAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generated(_) => "Generated(..)",
            Self::Set => "Set",
            Self::Unchanged => "Unchanged",
        })
    }
}

fn wrong() -> PodError {
    Refusal::Unauthorized(Cow::Borrowed(WRONG_NAME_OR_PASSWORD)).into()
}

fn decode_admin(key: &[u8], value: &[u8]) -> Option<(String, StoredCredential)> {
    let name = std::str::from_utf8(key.strip_prefix(ADMINS)?).ok()?;
    let text = std::str::from_utf8(value.strip_prefix(&[FORMAT])?).ok()?;
    let credential = StoredCredential::from_ini(text).ok()?;
    Some((name.to_owned(), credential))
}

/// Reads an account; one that conflicts with itself is refused, anything else that is no account
/// is nobody's.
fn read_account(
    view: &dyn View,
    entry: &DatabaseEntry,
    name: &str,
) -> Result<Option<Principal>, PodError> {
    let Some(user) = current_user(view, entry, &user_id(name), &Caller::anonymous())? else {
        return Ok(None);
    };
    match Account::from_document(&user) {
        Ok(account) => Ok(Some(Principal {
            caller: Caller::named(&account.name, account.roles),
            credential: account.credential.map(Arc::new),
        })),
        Err(Refusal::NotFound) => Ok(None),
        Err(refusal @ (Refusal::Unauthorized(_) | Refusal::Forbidden(_))) => Err(refusal.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_user::tests::{Edit, caller, edit, over, pod, refused, users, write};
    use adea_documents::revision::RevisionId;
    use adea_store::Memory;
    use serde_json::json;

    const NAME: &str = "ann";

    fn basic<'a>(name: &'a str, password: &'a str) -> SignIn<'a> {
        SignIn::Basic { name, password }
    }

    fn ann(password: &str) -> serde_json::Value {
        json!({"type":"user","name":NAME,"roles":["staff"],"password":password})
    }

    async fn is_wrong(pod: &Pod, name: &str, password: &str) -> bool {
        let answer = pod.authenticate(basic(name, password)).await;
        refused(&answer) == Some(Refusal::Unauthorized(Cow::Borrowed(WRONG_NAME_OR_PASSWORD)))
    }

    async fn signs_in(pod: &Pod, name: &str, password: &str) -> Caller {
        let signed_in = pod.authenticate(basic(name, password)).await.unwrap();
        assert_eq!(signed_in.handler, Some("default"));
        assert_eq!(signed_in.renewed_cookie, None);
        signed_in.caller
    }

    #[tokio::test]
    async fn an_admin_is_set_once_and_outlives_a_restart() {
        let engine = Arc::new(Memory::new());
        let pod = over(Arc::clone(&engine)).await;
        assert!(!pod.has_admin());
        let set = pod.ensure_admin("root", Some("geheim")).await.unwrap();
        assert_eq!(set, FirstAdmin::Set);
        for password in [Some("geheim"), None] {
            let again = pod.ensure_admin("root", password).await.unwrap();
            assert_eq!(again, FirstAdmin::Unchanged);
        }
        pod.close();
        let pod = over(engine).await;
        assert!(pod.has_admin());
        let root = signs_in(&pod, "root", "geheim").await;
        assert!(root.is_admin());
        assert_eq!(
            (root.name(), root.roles()),
            (Some("root"), &["_admin".to_owned()][..])
        );
        let changed = pod.ensure_admin("root", Some("neu")).await.unwrap();
        assert_eq!(changed, FirstAdmin::Set);
        assert!(is_wrong(&pod, "root", "geheim").await);
        assert!(signs_in(&pod, "root", "neu").await.is_admin());
    }

    #[tokio::test]
    async fn a_first_admin_gets_a_password_that_only_his_maker_knows() {
        let pod = pod().await;
        let Ok(FirstAdmin::Generated(password)) = pod.ensure_admin("admin", None).await else {
            panic!("a password");
        };
        assert_eq!(password.len(), 24);
        assert!(
            password
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
        assert!(signs_in(&pod, "admin", &password).await.is_admin());
        let again = pod.ensure_admin("other", None).await.unwrap();
        assert_eq!(again, FirstAdmin::Unchanged);
        assert!(!format!("{:?}", FirstAdmin::Generated(password.clone())).contains(&password));
        for (name, password) in [("", None), ("a:b", Some("x")), ("root", Some(""))] {
            assert!(refused(&pod.ensure_admin(name, password).await).is_some());
        }
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
        let who = pod.verify_password(NAME, "geheim").await.unwrap();
        let cookie = pod.issue_session(NAME).unwrap();
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
        assert_eq!(signs_in(&pod, NAME, "neu").await, who);

        let cookie = pod.issue_session(NAME).unwrap();
        let gone = json!({"_deleted":true});
        write(&pod, &root, id, gone, edit(Some(second)))
            .await
            .unwrap();
        let session = pod.authenticate(SignIn::Cookie(&cookie)).await.unwrap();
        assert_eq!(session, SignedIn::anonymous());
        assert!(is_wrong(&pod, NAME, "neu").await);
        assert!(refused(&pod.issue_session(NAME)).is_some());
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

    #[test]
    fn the_memory_of_accounts_is_bounded() {
        let cache = AccountCache::default();
        let principal = Principal {
            caller: Caller::anonymous(),
            credential: None,
        };
        let moment = (DatabaseNumber(1), 1);
        for n in 0..=REMEMBERED_MAX {
            cache.insert(&n.to_string(), moment, &principal);
        }
        assert!(cache.known.read().len() <= REMEMBERED_MAX);
        let last = REMEMBERED_MAX.to_string();
        assert!(cache.get(&last, moment).is_some());
        assert!(cache.get(&last, (DatabaseNumber(1), 2)).is_none());
        assert!(cache.get(&last, (DatabaseNumber(2), 1)).is_none());
    }

    #[tokio::test]
    async fn a_damaged_admin_stops_the_start() {
        let engine = Arc::new(Memory::new());
        let pod = over(Arc::clone(&engine)).await;
        let damaged = b"\x02-hashed-x,y".to_vec();
        put(&pod.inner.store, &[ADMINS, b"root"].concat(), damaged)
            .await
            .unwrap();
        let error = Admins::load(pod.view().as_ref()).err().expect("refused");
        assert!(matches!(error, EngineError::Corrupt(_)));
    }
}

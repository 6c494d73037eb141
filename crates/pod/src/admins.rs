//! The server's administrators: names and what stands for their passwords, in the store and in memory.
//!
//! They are no documents, so that nobody becomes one by writing a document, and so that there is
//! one before there is any database.
//!
//! Invariant: memory says what the store says. Changes take turns, and each is in memory when its
//! commit is durable and before it is answered.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use adea_accounts::audit::{self, AuditEntry};
use adea_accounts::directory;
use adea_accounts::sessions::ADMIN_PREFIX;
use adea_accounts::{InvalidCredential, Refusal, StoredCredential};
use adea_store::key::POD;
use adea_store::{Direction, EngineError, KeyRange, Space, TransactError, View};

use crate::apps::Actor;
use crate::error::PodError;
use crate::pod::Pod;

/// Where administrators are stored, by name.
const ADMINS: &[u8] = &[POD, b'a'];
/// The first byte of what is stored for one.
const FORMAT: u8 = 1;
/// The role that makes an administrator.
pub(crate) const ADMIN_ROLE: &str = "_admin";
/// How many characters a generated password has; each is one of 64.
const GENERATED_LENGTH: usize = 24;
/// The most administrators: all of them are in memory.
const ADMINS_MAX: usize = 10_000;

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

/// The server's administrators.
#[derive(Default)]
pub(crate) struct Admins {
    by_name: HashMap<String, Admin>,
    /// How often a password was set or an administrator removed since the start.
    changes: u64,
}

/// One of them.
struct Admin {
    credential: Arc<StoredCredential>,
    /// Another one means that the password was set anew, and not that it is only stored in a better form.
    epoch: u64,
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
        may_be_admin(name, password)?;
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
            && (stored.to_text() == password
                || self.verify_slowly(name, password, Some(stored)).await?)
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

    /// The administrators, by name, with what is stored for their passwords: a PHC string or one
    /// of `CouchDB`'s forms.
    #[must_use]
    pub fn admins(&self) -> Vec<(String, String)> {
        let admins = self.inner.admins.read();
        let mut all: Vec<(String, String)> = admins
            .by_name
            .iter()
            .map(|(name, admin)| (name.clone(), admin.credential.to_text()))
            .collect();
        all.sort_unstable();
        all
    }

    /// Makes `name` an administrator with this password, or gives the one that there is a new one.
    /// What `CouchDB`'s configuration holds for a hashed password (`-pbkdf2-…`, `-hashed-…`) or a
    /// PHC string is taken as the hash that it is.
    ///
    /// # Errors
    /// [`PodError::Refused`] for a name or password that nobody could sign in with;
    /// [`PodError::Commit`] if it cannot be stored.
    pub async fn set_admin(&self, name: &str, password: &str) -> Result<(), PodError> {
        self.set_admin_by(name, password, None).await
    }

    /// The same in the name of somebody, which is written down.
    ///
    /// # Errors
    /// As [`Pod::set_admin`].
    pub async fn set_admin_by(
        &self,
        name: &str,
        password: &str,
        by: Option<&Actor>,
    ) -> Result<(), PodError> {
        may_be_admin(name, Some(password))?;
        let credential = match StoredCredential::from_ini(password) {
            Ok(hashed) => hashed,
            Err(InvalidCredential::NotHashed) => {
                let password = password.to_owned();
                self.hash_password_slowly(password).await?
            }
            Err(error) => return Err(Refusal::Forbidden(Cow::Owned(error.to_string())).into()),
        };
        let (pod, name) = (self.clone(), name.to_owned());
        let told = self.told(by, "admin.set", &format!("{ADMIN_PREFIX}{name}"));
        let stored = async move { pod.store_admin(&name, credential, None, told).await };
        Self::to_the_end(stored).await
    }

    /// Takes the administrator's rights from `name`; false if he had none.
    ///
    /// # Errors
    /// [`PodError::Refused`] for the last administrator: nobody could make another one.
    pub async fn remove_admin(&self, name: &str) -> Result<bool, PodError> {
        self.remove_admin_by(name, None).await
    }

    /// The same in the name of somebody, which is written down.
    ///
    /// # Errors
    /// As [`Pod::remove_admin`].
    pub async fn remove_admin_by(&self, name: &str, by: Option<&Actor>) -> Result<bool, PodError> {
        let told = self.told(by, "admin.remove", &format!("{ADMIN_PREFIX}{name}"));
        let (pod, name) = (self.clone(), name.to_owned());
        Self::to_the_end(async move {
            let _turn = pod.inner.accounts.admin_changes.lock().await;
            {
                let admins = pod.inner.admins.read();
                if !admins.by_name.contains_key(&name) {
                    return Ok(false);
                }
                if admins.by_name.len() == 1 {
                    let reason = "The last administrator cannot be removed.";
                    return Err(Refusal::Forbidden(Cow::Borrowed(reason)).into());
                }
            }
            let (key, account) = (key_of(&name), format!("{ADMIN_PREFIX}{name}"));
            let done: Result<(), TransactError<PodError>> = pod
                .inner
                .store
                .transact(Self::permit(), move |tx| {
                    tx.delete(Space::Index, key);
                    Self::end_sessions(tx, &account, None)?;
                    Ok(told.map_or(Ok(()), |entry| audit::append(tx, &entry))?)
                })
                .await;
            done?;
            pod.inner.admins.write().remove(&name);
            pod.wake_admin(&name).await?;
            Ok(true)
        })
        .await
    }

    /// Stores what stands for an administrator's password; if `expected` is given, only if this is
    /// what stands for it now.
    pub(crate) async fn store_admin(
        &self,
        name: &str,
        credential: StoredCredential,
        expected: Option<&StoredCredential>,
        told: Option<AuditEntry>,
    ) -> Result<(), PodError> {
        let _turn = self.inner.accounts.admin_changes.lock().await;
        {
            let admins = self.inner.admins.read();
            let current = admins.find(name);
            if expected.is_some_and(|expected| current.as_deref() != Some(expected)) {
                return Ok(());
            }
            if current.is_none() && admins.by_name.len() >= ADMINS_MAX {
                let reason = "There are too many administrators.";
                return Err(Refusal::Forbidden(Cow::Borrowed(reason)).into());
            }
        }
        let mut value = vec![FORMAT];
        value.extend_from_slice(credential.to_text().as_bytes());
        let (key, account) = (key_of(name), format!("{ADMIN_PREFIX}{name}"));
        // The same password in a better form ends nothing.
        let same = expected.is_some();
        let done: Result<(), TransactError<PodError>> = self
            .inner
            .store
            .transact(Self::permit(), move |tx| {
                tx.put(Space::Index, key, value);
                if !same {
                    Self::end_sessions(tx, &account, None)?;
                }
                Ok(told.map_or(Ok(()), |entry| audit::append(tx, &entry))?)
            })
            .await;
        done?;
        self.inner.admins.write().set(name, credential, same);
        match same {
            true => Ok(()),
            false => self.wake_admin(name).await,
        }
    }

    /// Has the feeds of an administrator look again who he is, now that memory says it.
    async fn wake_admin(&self, name: &str) -> Result<(), PodError> {
        let account = format!("{ADMIN_PREFIX}{name}");
        let woken: Result<(), TransactError<PodError>> = self
            .inner
            .store
            .transact(Self::permit(), move |tx| {
                directory::rights_change(tx, &account)?;
                Ok(())
            })
            .await;
        Ok(woken?)
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

impl Admins {
    /// Reads all of them.
    pub(crate) fn load(view: &dyn View) -> Result<Self, EngineError> {
        let mut admins = Self::default();
        let range = KeyRange::prefix(ADMINS);
        let mut cursor = view.range(Space::Index, range, Direction::Forward)?;
        while let Some((key, value)) = cursor.next()? {
            let (name, credential) = decode_admin(key, value)
                .ok_or_else(|| EngineError::Corrupt("an administrator".to_owned()))?;
            admins.set(&name, credential, false);
        }
        Ok(admins)
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<StoredCredential>> {
        let found = self.by_name.get(name)?;
        Some(Arc::clone(&found.credential))
    }

    /// Which epoch of his password `name` is in, if he is an administrator.
    pub(crate) fn epoch(&self, name: &str) -> Option<u64> {
        self.by_name.get(name).map(|admin| admin.epoch)
    }

    /// Notes what stands for a password; `same` if the password is the one that it was.
    fn set(&mut self, name: &str, credential: StoredCredential, same: bool) {
        let credential = Arc::new(credential);
        match self.by_name.get_mut(name) {
            Some(admin) if same => admin.credential = credential,
            Some(_) | None => {
                self.changes += 1;
                let epoch = self.changes;
                let admin = Admin { credential, epoch };
                self.by_name.insert(name.to_owned(), admin);
            }
        }
    }

    fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
        self.changes += 1;
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

fn may_be_admin(name: &str, password: Option<&str>) -> Result<(), PodError> {
    if name.is_empty() || name.contains(':') || password == Some("") {
        let reason = "An administrator needs a name without `:`, and a password.";
        return Err(Refusal::Forbidden(Cow::Borrowed(reason)).into());
    }
    Ok(())
}

fn key_of(name: &str) -> Vec<u8> {
    [ADMINS, name.as_bytes()].concat()
}

fn decode_admin(key: &[u8], value: &[u8]) -> Option<(String, StoredCredential)> {
    let name = std::str::from_utf8(key.strip_prefix(ADMINS)?).ok()?;
    let text = std::str::from_utf8(value.strip_prefix(&[FORMAT])?).ok()?;
    let credential = StoredCredential::from_ini(text).ok()?;
    Some((name.to_owned(), credential))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::put;
    use crate::write_user::tests::{is_wrong, over, pod, refused, signs_in};
    use adea_store::Memory;

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
    async fn admins_come_and_go_but_the_last_stays() {
        let engine = Arc::new(Memory::new());
        let pod = over(Arc::clone(&engine)).await;
        pod.set_admin("root", "geheim").await.unwrap();
        // CouchDB's documentation: the password of this hash is "apple".
        let hashed =
            "-pbkdf2-e579375db0e0c6a6fc79cd9e36a36859f71575c3,1112283cf988a34f124200a050d308a1,10";
        pod.set_admin("jan", hashed).await.unwrap();
        assert!(signs_in(&pod, "jan", "apple").await.is_admin());
        let names: Vec<String> = pod.admins().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["jan", "root"]);
        assert!(refused(&pod.set_admin("jan", "-pbkdf2-x,y,z").await).is_some());
        assert!(pod.remove_admin("jan").await.unwrap());
        assert!(!pod.remove_admin("jan").await.unwrap());
        assert!(is_wrong(&pod, "jan", "apple").await);
        assert!(refused(&pod.remove_admin("root").await).is_some());
        pod.close();
        let pod = over(engine).await;
        assert_eq!(pod.admins().len(), 1);
        assert!(signs_in(&pod, "root", "geheim").await.is_admin());
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

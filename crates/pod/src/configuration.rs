//! Settings that are changed while the server runs, by section and key as `CouchDB` names them.
//!
//! The server starts with what its file, its environment and its flags say; over that lies what an
//! administrator sets over HTTP, kept in the store and therefore also there after the next start.
//! Whoever depends on a setting asks for it when he needs it ([`Pod::setting`]), which costs two
//! look-ups in memory. What a value means is the matter of who asks; here it is text, bounded in
//! length and number.
//!
//! Invariant: what is told is what is in force: a value is changed in memory after its commit, under
//! one lock with all others who change one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adea_accounts::audit;
use adea_store::key::POD;
use adea_store::value::{Reader, put_bytes};
use adea_store::{Direction, EngineError, KeyRange, Space, TransactError, View};
use parking_lot::RwLock;

use crate::apps::Actor;
use crate::error::PodError;
use crate::pod::Pod;

/// Section and key → value.
const SETTINGS: &[u8] = &[POD, b'c'];
const FORMAT: u8 = 1;

/// The longest name of a section or key, in bytes.
const NAME_MAX: usize = 256;
/// The longest value, in bytes.
const VALUE_MAX: usize = 64 << 10;
/// The most settings that may be stored.
const SETTINGS_MAX: usize = 5_000;

/// Where settings of sessions stand, the later name first.
pub(crate) const AUTH_SECTIONS: &[&str] = &["chttpd_auth", "couch_httpd_auth"];

/// Why a setting is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSetting {
    /// Empty, too long, or with characters that a configuration file could not hold.
    #[error("Section and key must have 1 to 256 bytes, without control characters.")]
    Name,
    /// Longer than is kept, or more than one line.
    #[error("A value must be one line of at most 65536 bytes.")]
    Value,
    /// More than are kept.
    #[error("There are too many settings; delete some that nobody reads.")]
    TooMany,
}

/// For how long a setting holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingScope {
    /// Until it is changed again.
    Kept,
    /// Until the end of the process.
    ThisRun,
}

/// The values of one section.
type Section = BTreeMap<String, Arc<str>>;

/// What was set while the server ran.
#[derive(Default)]
pub(crate) struct Configuration {
    set: RwLock<Set>,
    /// Held to change a value, from the commit to the memory.
    changing: tokio::sync::Mutex<()>,
    generation: AtomicU64,
}

#[derive(Clone, Default)]
struct Set {
    kept: BTreeMap<String, Section>,
    /// Lies over what is kept.
    this_run: BTreeMap<String, Section>,
}

impl Set {
    fn find(&self, section: &str, key: &str) -> Option<Arc<str>> {
        let find = |set: &BTreeMap<String, Section>| set.get(section)?.get(key).cloned();
        find(&self.this_run).or_else(|| find(&self.kept))
    }
}

impl Configuration {
    pub(crate) fn load(view: &dyn View) -> Result<Self, EngineError> {
        Ok(Self {
            set: RwLock::new(Set {
                kept: read_kept(view)?,
                this_run: BTreeMap::new(),
            }),
            ..Self::default()
        })
    }

    fn change(&self, change: impl FnOnce(&mut Set)) {
        change(&mut self.set.write());
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// The value that the first of `sections` has for `key`.
    pub(crate) fn first_of(&self, sections: &[&str], key: &str) -> Option<Arc<str>> {
        let set = self.set.read();
        sections.iter().find_map(|section| set.find(section, key))
    }
}

fn setting_key(section: &str, key: &str) -> Vec<u8> {
    // A zero byte is in no name, so that sections do not run into each other.
    [SETTINGS, section.as_bytes(), &[0], key.as_bytes()].concat()
}

fn read_kept(view: &dyn View) -> Result<BTreeMap<String, Section>, EngineError> {
    let mut kept: BTreeMap<String, Section> = BTreeMap::new();
    let range = KeyRange::prefix(SETTINGS);
    let mut cursor = view.range(Space::Index, range, Direction::Forward)?;
    while let Some((key, value)) = cursor.next()? {
        let (section, key, value) =
            decode(key, value).ok_or_else(|| EngineError::Corrupt("a setting".to_owned()))?;
        let section = kept.entry(section.to_owned()).or_default();
        section.insert(key.to_owned(), Arc::from(value));
    }
    Ok(kept)
}

fn decode<'b>(key: &'b [u8], value: &'b [u8]) -> Option<(&'b str, &'b str, &'b str)> {
    let names = std::str::from_utf8(key.strip_prefix(SETTINGS)?).ok()?;
    let (section, key) = names.split_once('\0')?;
    let mut reader = Reader::new(value);
    (reader.byte()? == FORMAT).then_some(())?;
    Some((section, key, reader.text()?))
}

fn check(section: &str, key: &str, value: &str) -> Result<(), InvalidSetting> {
    let names = [section, key];
    if names
        .iter()
        .any(|name| !(1..=NAME_MAX).contains(&name.len()) || name.contains(char::is_control))
    {
        return Err(InvalidSetting::Name);
    }
    if value.len() > VALUE_MAX || value.contains(['\n', '\r', '\0']) {
        return Err(InvalidSetting::Value);
    }
    Ok(())
}

impl Pod {
    /// What was set for `key` while the server ran, if anything was; else what the server was
    /// started with holds.
    #[must_use]
    pub fn setting(&self, section: &str, key: &str) -> Option<Arc<str>> {
        self.inner.configuration.set.read().find(section, key)
    }

    /// A setting that is on or off; `None` if it was not set, or to neither.
    #[must_use]
    pub fn switch(&self, section: &str, key: &str) -> Option<bool> {
        match &*self.setting(section, key)? {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// A setting that is a number; `infinity` is the greatest. `None` if it was not set, or to
    /// something else.
    #[must_use]
    pub fn number(&self, section: &str, key: &str) -> Option<u64> {
        match self.setting(section, key)?.trim() {
            "infinity" => Some(u64::MAX),
            digits => digits.parse().ok(),
        }
    }

    /// Rises whenever a setting changes: whoever keeps what he made of settings knows by it that he
    /// has to make it anew.
    #[must_use]
    pub fn settings_generation(&self) -> u64 {
        self.inner.configuration.generation.load(Ordering::Acquire)
    }

    /// Seconds that a session lasts unused.
    #[must_use]
    pub fn session_timeout_s(&self) -> u64 {
        let set = self.inner.configuration.first_of(AUTH_SECTIONS, "timeout");
        set.and_then(|text| text.trim().parse().ok())
            .unwrap_or(self.inner.options.session_timeout_s)
    }

    /// The longest attachment, in bytes.
    #[must_use]
    pub fn attachment_max(&self) -> u64 {
        self.number("couchdb", "max_attachment_size")
            .unwrap_or(self.inner.options.attachment_max)
    }

    /// Hands on what does not ask for its settings by itself.
    pub(crate) fn apply_settings(&self) {
        self.inner.sessions.set_timeout(self.session_timeout_s());
    }

    /// All that was set while the server ran.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, BTreeMap<String, Arc<str>>> {
        let set = self.inner.configuration.set.read().clone();
        let mut all = set.kept;
        for (section, values) in set.this_run {
            all.entry(section).or_default().extend(values);
        }
        all
    }

    /// Sets a value.
    ///
    /// # Errors
    /// [`PodError::Setting`] for one that is not taken, [`PodError::Commit`] if it cannot be
    /// stored.
    pub async fn set(
        &self,
        section: &str,
        key: &str,
        value: &str,
        scope: SettingScope,
    ) -> Result<(), PodError> {
        self.set_by(section, key, value, scope, None).await
    }

    /// The same in the name of somebody, which is written down, but for the value: it may be a
    /// secret.
    ///
    /// # Errors
    /// As [`Pod::set`].
    pub async fn set_by(
        &self,
        section: &str,
        key: &str,
        value: &str,
        scope: SettingScope,
        by: Option<&Actor>,
    ) -> Result<(), PodError> {
        check(section, key, value)?;
        let configuration = &self.inner.configuration;
        let _changing = configuration.changing.lock().await;
        let count: usize = {
            let set = configuration.set.read();
            let sections = set.kept.values().chain(set.this_run.values());
            sections.map(BTreeMap::len).sum()
        };
        if count >= SETTINGS_MAX && self.setting(section, key).is_none() {
            return Err(InvalidSetting::TooMany.into());
        }
        let told = self.told(by, "configuration.set", &format!("{section}/{key}"));
        let kept = (scope == SettingScope::Kept).then(|| {
            let mut stored = vec![FORMAT];
            put_bytes(&mut stored, value.as_bytes());
            (setting_key(section, key), stored)
        });
        if kept.is_some() || told.is_some() {
            let done: Result<(), TransactError<PodError>> = self
                .inner
                .store
                .transact(Self::permit(), move |tx| {
                    if let Some((key, stored)) = kept {
                        tx.put(Space::Index, key, stored);
                    }
                    Ok(told.map_or(Ok(()), |entry| audit::append(tx, &entry))?)
                })
                .await;
            done?;
        }
        configuration.change(|set| {
            let sections = match scope {
                SettingScope::Kept => {
                    forget(&mut set.this_run, section, key);
                    &mut set.kept
                }
                SettingScope::ThisRun => &mut set.this_run,
            };
            let section = sections.entry(section.to_owned()).or_default();
            section.insert(key.to_owned(), Arc::from(value));
        });
        self.apply_settings();
        Ok(())
    }

    /// Takes back what was set for `key`; false if nothing was.
    ///
    /// # Errors
    /// [`PodError::Commit`] if it cannot be stored.
    pub async fn unset(&self, section: &str, key: &str) -> Result<bool, PodError> {
        self.unset_by(section, key, None).await
    }

    /// The same in the name of somebody, which is written down.
    ///
    /// # Errors
    /// As [`Pod::unset`].
    pub async fn unset_by(
        &self,
        section: &str,
        key: &str,
        by: Option<&Actor>,
    ) -> Result<bool, PodError> {
        let configuration = &self.inner.configuration;
        let _changing = configuration.changing.lock().await;
        if self.setting(section, key).is_none() {
            return Ok(false);
        }
        let stored = setting_key(section, key);
        let told = self.told(by, "configuration.unset", &format!("{section}/{key}"));
        let deleted: Result<(), TransactError<PodError>> = self
            .inner
            .store
            .transact(Self::permit(), move |tx| {
                tx.delete(Space::Index, stored);
                Ok(told.map_or(Ok(()), |entry| audit::append(tx, &entry))?)
            })
            .await;
        deleted?;
        configuration.change(|set| {
            forget(&mut set.kept, section, key);
            forget(&mut set.this_run, section, key);
        });
        self.apply_settings();
        Ok(true)
    }

    /// Takes back all that was set for this run only.
    pub fn forget_unkept_settings(&self) {
        self.inner.configuration.change(|set| set.this_run.clear());
        self.apply_settings();
    }
}

fn forget(sections: &mut BTreeMap<String, Section>, section: &str, key: &str) {
    if let Some(values) = sections.get_mut(section) {
        values.remove(key);
        if values.is_empty() {
            sections.remove(section);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_user::tests::over;
    use adea_store::Memory;

    fn is_invalid(result: &Result<(), PodError>, reason: InvalidSetting) -> bool {
        matches!(result, Err(PodError::Setting(found)) if *found == reason)
    }

    #[tokio::test]
    async fn what_was_set_is_there_after_a_restart_unless_for_this_run_only() {
        let engine = Arc::new(Memory::new());
        let pod = over(Arc::clone(&engine)).await;
        let before = pod.settings_generation();
        pod.set("cors", "origins", "http://a.example", SettingScope::Kept)
            .await
            .unwrap();
        pod.set("cors", "headers", "x", SettingScope::ThisRun)
            .await
            .unwrap();
        assert!(pod.settings_generation() > before);
        let value = |pod: &Pod, key| pod.setting("cors", key).map(|value| value.to_string());
        assert_eq!(value(&pod, "origins").as_deref(), Some("http://a.example"));
        assert_eq!(value(&pod, "headers").as_deref(), Some("x"));
        pod.close();
        let pod = over(Arc::clone(&engine)).await;
        assert_eq!(value(&pod, "origins").as_deref(), Some("http://a.example"));
        assert_eq!(value(&pod, "headers"), None);
        assert!(pod.unset("cors", "origins").await.unwrap());
        assert!(!pod.unset("cors", "origins").await.unwrap());
        pod.close();
        let pod = over(engine).await;
        assert!(pod.settings().is_empty());
    }

    #[tokio::test]
    async fn settings_are_bounded_and_one_line() {
        let pod = over(Arc::new(Memory::new())).await;
        let kept = SettingScope::Kept;
        let long = "x".repeat(NAME_MAX + 1);
        for (section, key) in [("", "k"), ("s", ""), ("s\0", "k"), ("s", &long)] {
            let set = pod.set(section, key, "v", kept).await;
            assert!(is_invalid(&set, InvalidSetting::Name));
        }
        for value in ["a\nb".to_owned(), "x".repeat(VALUE_MAX + 1)] {
            let set = pod.set("s", "k", &value, kept).await;
            assert!(is_invalid(&set, InvalidSetting::Value));
        }
        for n in 0..SETTINGS_MAX {
            let key = n.to_string();
            pod.set("s", &key, "", SettingScope::ThisRun).await.unwrap();
        }
        let one_more = pod.set("s", "more", "", kept).await;
        assert!(is_invalid(&one_more, InvalidSetting::TooMany));
        pod.set("s", "0", "again", kept).await.unwrap();
    }
}

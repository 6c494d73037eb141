//! The settings of signing in by section and key, as `CouchDB` names them, for whoever changes them
//! while the server runs.
//!
//! One table says how each is shown and what it changes; the keys of tokens, whose names nobody
//! knows beforehand, stand beside it. What is in force is what the server was started with and, over
//! that, what was set.
//!
//! Invariant: a value that is not understood changes nothing, and is refused when it is set.

use std::collections::BTreeMap;
use std::sync::Arc;

use adea_accounts::{
    ClaimPath, LockoutMode, PasswordRequirement, PasswordScheme, RequiredClaims, SameSite,
    TokenKeys,
};

use crate::auth_settings::AuthSettings;
use crate::pod::Pod;

/// Where the settings of sessions and accounts stand, the later name first.
const AUTH: &[&str] = &["chttpd_auth", "couch_httpd_auth"];
/// Where those of the lock-out do.
const LOCKOUT: &[&str] = &["chttpd_auth_lockout"];
/// Where those of tokens do.
const TOKENS: &[&str] = &["jwt_auth"];
/// Where those of databases for accounts do.
const PER_USER: &[&str] = &["couch_peruser"];
/// Where the keys of tokens stand, by kind and kid.
const TOKEN_KEYS: &str = "jwt_keys";

const SWITCH: &str = "true or false";
const POSITIVE: &str = "a number greater than 0";
const TEXT: &str = "a text";
const LIST: &str = "a list with commas";
const HEADER: &str = "the name of a header";

/// A setting that means something for signing in.
struct Known {
    sections: &'static [&'static str],
    key: &'static str,
    /// What a value must be, for a refusal.
    wanted: &'static str,
    /// What is in force.
    show: fn(&AuthSettings) -> String,
    /// Takes a value over; `None` for one that cannot be.
    take: fn(&mut AuthSettings, &str) -> Option<()>,
}

/// Settings of signing in, by section and key, as they may be shown.
pub type ShownSettings = BTreeMap<(String, String), String>;

impl Pod {
    /// Whether `value` could be set; if not, what it must be. A setting that is none of signing in
    /// could always.
    ///
    /// # Errors
    /// What the value must be.
    pub fn check_auth_setting(&self, section: &str, key: &str, value: &str) -> Result<(), String> {
        if section == TOKEN_KEYS {
            let inserted = TokenKeys::default().insert(key, value);
            return inserted.map_err(|error| error.to_string());
        }
        let Some(known) = known(section, key) else {
            return Ok(());
        };
        let mut settings = AuthSettings::clone(&self.auth());
        let taken = (known.take)(&mut settings, value);
        taken.ok_or_else(|| format!("{section}/{key} must be {}.", known.wanted))
    }

    /// The settings of signing in that are in force; without any secret.
    #[must_use]
    pub fn shown_auth_settings(&self) -> ShownSettings {
        let auth = self.auth();
        let mut shown = ShownSettings::new();
        for known in KNOWN {
            for section in known.sections {
                let name = ((*section).to_owned(), known.key.to_owned());
                shown.insert(name, (known.show)(&auth));
            }
        }
        shown
    }

    /// Works out what is in force for signing in, from what the server was started with and what
    /// was set since.
    pub(crate) fn apply_auth_settings(&self) {
        let mut settings = self.inner.auth_started.lock().clone();
        for known in KNOWN {
            let first = self.inner.configuration.first_of(known.sections, known.key);
            if let Some(value) = first
                && (known.take)(&mut settings, &value).is_none()
            {
                tracing::warn!(key = known.key, "a stored setting is not understood");
            }
        }
        let mut keys = TokenKeys::clone(&settings.tokens.keys);
        for (name, value) in self.settings().remove(TOKEN_KEYS).unwrap_or_default() {
            // A key that was set goes before one of the same name that was there at the start.
            keys.remove(&name);
            if keys.insert(&name, &value).is_err() {
                tracing::warn!("a stored key of tokens is none");
            }
        }
        settings.tokens.keys = Arc::new(keys);
        *self.inner.auth.write() = Arc::new(settings);
        self.inner.tokens.forget();
        self.inner.databases.forget_all();
        self.inner.auth_changed.notify_waiters();
    }
}

fn known(section: &str, key: &str) -> Option<&'static Known> {
    let mut all = KNOWN.iter();
    all.find(|row| row.key == key && row.sections.contains(&section))
}

fn put<T>(place: &mut T, value: Option<T>) -> Option<()> {
    *place = value?;
    Some(())
}

fn positive<N: TryFrom<u64>>(text: &str) -> Option<N> {
    let number: u64 = text.trim().parse().ok()?;
    N::try_from(number).ok().filter(|_| number > 0)
}

fn switch(text: &str) -> Option<bool> {
    text.trim().parse().ok()
}

fn list(text: &str) -> Vec<String> {
    let words = text.split(',').map(str::trim);
    let words = words.filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

fn optional(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn header(text: &str) -> Option<String> {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let text = text.trim();
    (!text.is_empty() && text.bytes().all(named)).then(|| text.to_ascii_lowercase())
}

/// The requirements for passwords as `CouchDB` writes them: `[{"EXPRESSION", "reason"}, "EXPRESSION"]`,
/// in which `\\` is a backslash.
fn requirements(text: &str) -> Option<Vec<PasswordRequirement>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Vec::new());
    }
    let mut letters = text.strip_prefix('[')?.strip_suffix(']')?.chars();
    let (mut found, mut group): (Vec<PasswordRequirement>, Vec<String>) = Default::default();
    let mut grouped = false;
    while let Some(letter) = letters.next() {
        match letter {
            '{' => grouped = true,
            '"' => {
                let mut written = String::new();
                loop {
                    match letters.next()? {
                        '"' => break,
                        '\\' => written.push(letters.next()?),
                        other => written.push(other),
                    }
                }
                group.push(written);
            }
            '}' => grouped = false,
            letter if letter == ',' || letter.is_whitespace() => {}
            _ => return None,
        }
        if !grouped && !group.is_empty() {
            let read = PasswordRequirement::new(group.first()?, group.get(1).map(String::as_str));
            found.push(read.ok()?);
            group.clear();
        }
    }
    (!grouped).then_some(found)
}

static KNOWN: &[Known] = &[
    Known {
        sections: AUTH,
        key: "allow_persistent_cookies",
        wanted: SWITCH,
        show: |auth| auth.cookies.persistent.to_string(),
        take: |auth, text| put(&mut auth.cookies.persistent, switch(text)),
    },
    Known {
        sections: AUTH,
        key: "cookie_domain",
        wanted: TEXT,
        show: |auth| auth.cookies.domain.clone().unwrap_or_default(),
        take: |auth, text| put(&mut auth.cookies.domain, Some(optional(text))),
    },
    Known {
        sections: AUTH,
        key: "same_site",
        wanted: "none, lax, strict or nothing",
        show: |auth| {
            auth.cookies
                .same_site
                .map_or("", SameSite::as_str)
                .to_ascii_lowercase()
        },
        take: |auth, text| {
            let policy = match optional(text) {
                None => None,
                Some(text) => Some(SameSite::parse(&text)?),
            };
            put(&mut auth.cookies.same_site, Some(policy))
        },
    },
    Known {
        sections: AUTH,
        key: "authentication_redirect",
        wanted: "a path of this server, or nothing",
        show: |auth| auth.redirect.clone().unwrap_or_default(),
        take: |auth, text| {
            let path = optional(text);
            let own = |path: &String| path.starts_with('/') && !path.starts_with("//");
            let taken = path.as_ref().is_none_or(own);
            taken.then(|| auth.redirect = path)
        },
    },
    Known {
        sections: &["chttpd", "httpd"],
        key: "WWW-Authenticate",
        wanted: TEXT,
        show: |auth| auth.www_authenticate.clone().unwrap_or_default(),
        take: |auth, text| put(&mut auth.www_authenticate, Some(optional(text))),
    },
    Known {
        sections: AUTH,
        key: "password_scheme",
        wanted: "argon2id or pbkdf2",
        show: |auth| {
            let name = match auth.passwords.scheme {
                PasswordScheme::Argon2id => "argon2id",
                PasswordScheme::Pbkdf2 { .. } => "pbkdf2",
            };
            name.to_owned()
        },
        take: |auth, text| {
            let scheme = match text.trim() {
                "argon2id" => PasswordScheme::Argon2id,
                "pbkdf2" => PasswordScheme::pbkdf2(auth.passwords.iterations),
                _ => return None,
            };
            put(&mut auth.passwords.scheme, Some(scheme))
        },
    },
    Known {
        sections: AUTH,
        key: "iterations",
        wanted: POSITIVE,
        show: |auth| auth.passwords.iterations.to_string(),
        take: |auth, text| {
            let iterations = positive(text)?;
            auth.passwords.iterations = iterations;
            if let PasswordScheme::Pbkdf2 { .. } = auth.passwords.scheme {
                auth.passwords.scheme = PasswordScheme::pbkdf2(iterations);
            }
            Some(())
        },
    },
    Known {
        sections: AUTH,
        key: "password_regexp",
        wanted: "[{\"regular expression\", \"reason\"}, \"regular expression\"]",
        show: |auth| {
            let all: Vec<String> = auth
                .passwords
                .requirements
                .iter()
                .map(ToString::to_string)
                .collect();
            format!("[{}]", all.join(", "))
        },
        take: |auth, text| put(&mut auth.passwords.requirements, requirements(text)),
    },
    Known {
        sections: AUTH,
        key: "public_fields",
        wanted: LIST,
        show: |auth| auth.users.public_fields.join(","),
        take: |auth, text| put(&mut auth.users.public_fields, Some(list(text))),
    },
    Known {
        sections: AUTH,
        key: "proxy_use_secret",
        wanted: SWITCH,
        show: |auth| auth.proxy.use_secret.to_string(),
        take: |auth, text| put(&mut auth.proxy.use_secret, switch(text)),
    },
    Known {
        sections: AUTH,
        key: "secret",
        wanted: TEXT,
        show: |_| "********".to_owned(),
        take: |auth, text| put(&mut auth.proxy.secret, Some(Some(text.as_bytes().to_vec()))),
    },
    Known {
        sections: AUTH,
        key: "x_auth_username",
        wanted: HEADER,
        show: |auth| auth.proxy.username_header.clone(),
        take: |auth, text| put(&mut auth.proxy.username_header, header(text)),
    },
    Known {
        sections: AUTH,
        key: "x_auth_roles",
        wanted: HEADER,
        show: |auth| auth.proxy.roles_header.clone(),
        take: |auth, text| put(&mut auth.proxy.roles_header, header(text)),
    },
    Known {
        sections: AUTH,
        key: "x_auth_token",
        wanted: HEADER,
        show: |auth| auth.proxy.token_header.clone(),
        take: |auth, text| put(&mut auth.proxy.token_header, header(text)),
    },
    Known {
        sections: &["chttpd"],
        key: "authentication_handlers",
        wanted: "{chttpd_auth, NAME_authentication_handler} with commas",
        show: |auth| {
            let name = |name: &str| format!("{{chttpd_auth, {name}_authentication_handler}}");
            let all: Vec<String> = auth.handlers().into_iter().map(name).collect();
            all.join(", ")
        },
        take: |auth, text| {
            // Cookies and passwords are always accepted, and tokens when they have a key.
            auth.proxy.enabled = text.contains("proxy_authenti");
            text.contains("_handler").then_some(())
        },
    },
    Known {
        sections: &["couchdb"],
        key: "users_db_security_editable",
        wanted: SWITCH,
        show: |auth| auth.users.security_editable.to_string(),
        take: |auth, text| put(&mut auth.users.security_editable, switch(text)),
    },
    Known {
        sections: LOCKOUT,
        key: "mode",
        wanted: "off, warn or enforce",
        show: |auth| {
            let name = match auth.lockout.mode {
                LockoutMode::Off => "off",
                LockoutMode::Warn => "warn",
                LockoutMode::Enforce => "enforce",
            };
            name.to_owned()
        },
        take: |auth, text| {
            let mode = match text.trim() {
                "off" => LockoutMode::Off,
                "warn" => LockoutMode::Warn,
                "enforce" => LockoutMode::Enforce,
                _ => return None,
            };
            put(&mut auth.lockout.mode, Some(mode))
        },
    },
    Known {
        sections: LOCKOUT,
        key: "threshold",
        wanted: POSITIVE,
        show: |auth| auth.lockout.threshold.to_string(),
        take: |auth, text| put(&mut auth.lockout.threshold, positive(text)),
    },
    Known {
        sections: LOCKOUT,
        key: "max_objects",
        wanted: "a number from 1 to 10000000",
        show: |auth| auth.lockout.entries_max.to_string(),
        take: |auth, text| {
            let most = positive(text).filter(|most| *most <= 10_000_000);
            put(&mut auth.lockout.entries_max, most)
        },
    },
    Known {
        sections: LOCKOUT,
        key: "max_lifetime",
        wanted: "a number of milliseconds greater than 0",
        show: |auth| auth.lockout.window_s.saturating_mul(1_000).to_string(),
        take: |auth, text| {
            let span = positive(text).map(|ms: u64| ms.div_ceil(1_000));
            put(&mut auth.lockout.window_s, span)
        },
    },
    Known {
        sections: TOKENS,
        key: "required_claims",
        wanted: "names and {name, \"value\"} with commas",
        show: |auth| auth.tokens.rules.required.to_string(),
        take: |auth, text| {
            put(
                &mut auth.tokens.rules.required,
                RequiredClaims::parse(text).ok(),
            )
        },
    },
    Known {
        sections: TOKENS,
        key: "roles_claim_name",
        wanted: TEXT,
        show: |auth| auth.tokens.rules.roles.as_name().unwrap_or("").to_owned(),
        take: |auth, text| {
            let roles = &mut auth.tokens.rules.roles;
            let name = optional(text).map(|name| ClaimPath::name(&name));
            *roles = name.unwrap_or_else(|| roles.clone());
            Some(())
        },
    },
    // Behind the name, since it goes before it.
    Known {
        sections: TOKENS,
        key: "roles_claim_path",
        wanted: TEXT,
        show: |auth| {
            let roles = &auth.tokens.rules.roles;
            let path = || roles.to_string();
            roles.as_name().map_or_else(path, |_| String::new())
        },
        take: |auth, text| {
            let roles = &mut auth.tokens.rules.roles;
            let path = optional(text).map(|path| ClaimPath::parse(&path));
            *roles = path.unwrap_or_else(|| roles.clone());
            Some(())
        },
    },
    Known {
        sections: PER_USER,
        key: "enable",
        wanted: SWITCH,
        show: |auth| auth.per_user.enabled.to_string(),
        take: |auth, text| put(&mut auth.per_user.enabled, switch(text)),
    },
    Known {
        sections: PER_USER,
        key: "delete_dbs",
        wanted: SWITCH,
        show: |auth| auth.per_user.delete.to_string(),
        take: |auth, text| put(&mut auth.per_user.delete, switch(text)),
    },
    Known {
        sections: PER_USER,
        key: "database_prefix",
        wanted: "what the name of a database may begin with",
        show: |auth| auth.per_user.prefix.clone(),
        take: |auth, text| {
            let prefix = optional(text);
            let prefix = prefix.filter(|text| adea_base::DatabaseName::parse(text).is_ok());
            put(&mut auth.per_user.prefix, prefix)
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::SettingScope;
    use crate::write_user::tests::over;
    use adea_store::Memory;

    async fn set(pod: &Pod, section: &str, key: &str, value: &str) {
        pod.check_auth_setting(section, key, value).unwrap();
        pod.set(section, key, value, SettingScope::Kept)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn what_is_set_is_in_force_and_there_after_a_restart() {
        let engine = Arc::new(Memory::new());
        let pod = over(Arc::clone(&engine)).await;
        pod.change_auth(|auth| auth.lockout.threshold = 7);
        set(&pod, "chttpd_auth_lockout", "mode", "warn").await;
        set(&pod, "jwt_keys", "hmac:_default", "aGVsbG8=").await;
        set(&pod, "couch_httpd_auth", "public_fields", "a, b").await;
        set(&pod, "chttpd_auth", "public_fields", "c").await;
        set(
            &pod,
            "chttpd",
            "authentication_handlers",
            "{chttpd_auth, proxy_authentication_handler}",
        )
        .await;
        let auth = pod.auth();
        assert_eq!(
            (auth.lockout.mode, auth.lockout.threshold),
            (LockoutMode::Warn, 7)
        );
        assert_eq!(auth.handlers(), ["jwt", "proxy", "cookie", "default"]);
        assert_eq!(auth.users.public_fields, ["c"]);
        assert!(pod.unset("chttpd_auth", "public_fields").await.unwrap());
        assert_eq!(pod.auth().users.public_fields, ["a", "b"]);
        pod.close();
        let pod = over(engine).await;
        assert_eq!(pod.auth().lockout.mode, LockoutMode::Warn);
        assert!(pod.auth().tokens.enabled());
        assert!(pod.unset("jwt_keys", "hmac:_default").await.unwrap());
        assert!(!pod.auth().tokens.enabled());
    }

    #[tokio::test]
    async fn what_is_shown_can_be_set_and_what_makes_no_sense_cannot() {
        let pod = over(Arc::new(Memory::new())).await;
        for ((section, key), value) in pod.shown_auth_settings() {
            let checked = pod.check_auth_setting(&section, &key, &value);
            assert_eq!(checked, Ok(()), "{section}/{key} = {value}");
        }
        for (section, key, value) in [
            ("chttpd_auth", "iterations", "0"),
            ("chttpd_auth", "iterations", "many"),
            ("chttpd_auth", "same_site", "sometimes"),
            ("chttpd_auth", "password_scheme", "simple"),
            ("chttpd_auth", "password_regexp", "["),
            ("chttpd_auth", "password_regexp", "[\"(\"]"),
            ("chttpd_auth", "authentication_redirect", "//evil"),
            ("chttpd_auth_lockout", "mode", "maybe"),
            ("chttpd_auth_lockout", "max_objects", "99999999999"),
            ("jwt_auth", "required_claims", "{"),
            ("jwt_keys", "hmac:a", "***"),
            ("jwt_keys", "a", "aGVsbG8="),
            ("couch_peruser", "database_prefix", "_x"),
        ] {
            let checked = pod.check_auth_setting(section, key, value);
            assert!(checked.is_err(), "{section}/{key} = {value}");
        }
        assert_eq!(pod.check_auth_setting("x", "y", "z"), Ok(()));
    }

    #[test]
    fn requirements_are_read_as_couchdb_writes_them() {
        let text = r#"[{".{10,}", "Min length is 10 chars."}, "[A-Z]+", "[a-z]+", "\\d+", {"x"}]"#;
        let read = requirements(text).unwrap();
        let shown: Vec<String> = read.iter().map(ToString::to_string).collect();
        assert_eq!(
            format!("[{}]", shown.join(", ")),
            text.replace("{\"x\"}", "\"x\"")
        );
        assert_eq!(requirements("").map(|all| all.len()), Some(0));
        assert_eq!(requirements("[]").map(|all| all.len()), Some(0));
        for bad in [
            "x",
            "[",
            "[\"a\"",
            "[{\"a\"]",
            "[\"a]",
            "[a]",
            "[\"\\\\\"x]",
        ] {
            assert!(requirements(bad).is_none(), "{bad}");
        }
    }
}

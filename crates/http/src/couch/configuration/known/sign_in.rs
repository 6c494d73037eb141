//! Settings of signing in, of tokens and of accounts.

use adea_accounts::{
    ClaimPath, LockoutMode, PBKDF2_ITERATIONS, PasswordRequirement, PasswordScheme, RequiredClaims,
    SameSite,
};
use adea_base::DatabaseName;
use adea_pod::Strangers;

use super::{Known, POSITIVE, SWITCH, TEXT, put, read_positive, read_switch, words};

/// Where settings of signing in may stand.
const AUTH: &[&str] = &["chttpd_auth", "couch_httpd_auth"];

const HEADER: &str = "the name of a header";

/// The name of a header, as they are looked up.
fn read_header(text: &str) -> Option<String> {
    let name: Option<http::HeaderName> = text.parse().ok();
    name.map(|name| name.as_str().to_owned())
}

/// Those of signing in.
pub(crate) static SIGN_IN: &[Known] = &[
    Known {
        sections: &["chttpd", "chttpd_auth", "couch_httpd_auth"],
        key: "require_valid_user",
        wanted: SWITCH,
        show: |options, _| Some((options.auth.strangers != Strangers::Ask).to_string()),
        take: |options, text| {
            let required = read_switch(text).map(|required| match required {
                true if options.auth.strangers == Strangers::SignInOrUp => Strangers::SignInOrUp,
                true => Strangers::SignIn,
                false => Strangers::Ask,
            });
            put(&mut options.auth.strangers, required)
        },
    },
    Known {
        sections: &["chttpd"],
        key: "require_valid_user_except_for_up",
        wanted: SWITCH,
        show: |options, _| Some((options.auth.strangers == Strangers::SignInOrUp).to_string()),
        take: |options, text| {
            let but_up = read_switch(text);
            if but_up == Some(true) {
                options.auth.strangers = Strangers::SignInOrUp;
            }
            but_up.is_some()
        },
    },
    Known {
        sections: &["chttpd", "httpd"],
        key: "WWW-Authenticate",
        wanted: "the text of a header",
        show: |options, _| options.auth.www_authenticate.clone(),
        take: |options, text| {
            options.auth.www_authenticate = Some(text.to_owned());
            http::HeaderValue::from_str(text).is_ok()
        },
    },
    Known {
        sections: &["chttpd"],
        key: "authentication_handlers",
        wanted: TEXT,
        show: |options, _| {
            let handlers = options.auth.handlers();
            let named = handlers.iter().map(|name| match *name {
                "default" => "{chttpd_auth, default_authentication_handler}".to_owned(),
                name => format!("{{chttpd_auth, {name}_authentication_handler}}"),
            });
            Some(named.collect::<Vec<_>>().join(", "))
        },
        take: |options, text| {
            options.auth.proxy.enabled = text.contains("proxy_authentication_handler");
            true
        },
    },
    Known {
        sections: AUTH,
        key: "secret",
        wanted: "16 to 1024 bytes",
        show: |_, _| Some("********".to_owned()),
        take: |options, text| {
            options.auth.proxy.secret = Some(text.as_bytes().to_vec());
            (16..=1_024).contains(&text.len())
        },
    },
    Known {
        sections: AUTH,
        key: "timeout",
        wanted: POSITIVE,
        show: |_, pod| Some(pod.session_timeout_s().to_string()),
        take: |_, text| read_positive(text).is_some(),
    },
    Known {
        sections: AUTH,
        key: "allow_persistent_cookies",
        wanted: SWITCH,
        show: |options, _| Some(options.auth.cookies.persistent.to_string()),
        take: |options, text| put(&mut options.auth.cookies.persistent, read_switch(text)),
    },
    Known {
        sections: AUTH,
        key: "cookie_domain",
        wanted: "the name of a domain",
        show: |options, _| options.auth.cookies.domain.clone(),
        take: |options, text| {
            options.auth.cookies.domain = (!text.is_empty()).then(|| text.to_owned());
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        },
    },
    Known {
        sections: AUTH,
        key: "same_site",
        wanted: "strict, lax or none",
        show: |_, pod| {
            pod.setting("chttpd_auth", "same_site")
                .map(|text| text.to_string())
        },
        take: |options, text| {
            options.auth.cookies.same_site = SameSite::parse(text);
            text.is_empty() || options.auth.cookies.same_site.is_some()
        },
    },
    Known {
        sections: AUTH,
        key: "authentication_redirect",
        wanted: "a path of this server",
        show: |options, _| options.auth.redirect.clone(),
        take: |options, text| {
            options.auth.redirect = Some(text.to_owned());
            text.starts_with('/') && !text.starts_with("//") && !text.contains(['\\', ' '])
        },
    },
    Known {
        sections: AUTH,
        key: "public_fields",
        wanted: "names of fields with commas between",
        show: |options, _| Some(options.auth.users.public_fields.join(",")),
        take: |options, text| {
            options.auth.users.public_fields = words(text);
            true
        },
    },
    Known {
        sections: &["couchdb"],
        key: "users_db_security_editable",
        wanted: SWITCH,
        show: |options, _| Some(options.auth.users.security_editable.to_string()),
        take: |options, text| put(&mut options.auth.users.security_editable, read_switch(text)),
    },
    Known {
        sections: AUTH,
        key: "password_scheme",
        wanted: "argon2id or pbkdf2",
        show: |options, _| {
            let scheme = match options.auth.passwords.scheme {
                PasswordScheme::Argon2id => "argon2id",
                PasswordScheme::Pbkdf2 { .. } => "pbkdf2",
            };
            Some(scheme.to_owned())
        },
        take: |options, text| {
            let scheme = &mut options.auth.passwords.scheme;
            match (text, *scheme) {
                ("argon2id", _) => *scheme = PasswordScheme::Argon2id,
                ("pbkdf2", PasswordScheme::Argon2id) => {
                    *scheme = PasswordScheme::pbkdf2(PBKDF2_ITERATIONS)
                }
                ("pbkdf2", PasswordScheme::Pbkdf2 { .. }) => {}
                _ => return false,
            }
            true
        },
    },
    Known {
        sections: AUTH,
        key: "iterations",
        wanted: POSITIVE,
        show: |options, _| match options.auth.passwords.scheme {
            PasswordScheme::Argon2id => None,
            PasswordScheme::Pbkdf2 { iterations, .. } => Some(iterations.to_string()),
        },
        take: |options, text| {
            let rounds = read_positive(text).and_then(|rounds| u32::try_from(rounds).ok());
            let scheme = &mut options.auth.passwords.scheme;
            if let (Some(rounds), PasswordScheme::Pbkdf2 { .. }) = (rounds, *scheme) {
                *scheme = PasswordScheme::pbkdf2(rounds);
            }
            rounds.is_some()
        },
    },
    Known {
        sections: AUTH,
        key: "password_regexp",
        wanted: "[{\"regular expression\", \"reason\"}, \"regular expression\"]",
        show: |options, _| {
            let all = options.auth.passwords.requirements.iter();
            let all: Vec<String> = all.map(ToString::to_string).collect();
            Some(format!("[{}]", all.join(", ")))
        },
        take: |options, text| {
            let read = PasswordRequirement::parse_list(text);
            put(&mut options.auth.passwords.requirements, read)
        },
    },
    Known {
        sections: AUTH,
        key: "proxy_use_secret",
        wanted: SWITCH,
        show: |options, _| Some(options.auth.proxy.use_secret.to_string()),
        take: |options, text| put(&mut options.auth.proxy.use_secret, read_switch(text)),
    },
    Known {
        sections: AUTH,
        key: "x_auth_username",
        wanted: HEADER,
        show: |options, _| Some(options.auth.proxy.username_header.clone()),
        take: |options, text| put(&mut options.auth.proxy.username_header, read_header(text)),
    },
    Known {
        sections: AUTH,
        key: "x_auth_roles",
        wanted: HEADER,
        show: |options, _| Some(options.auth.proxy.roles_header.clone()),
        take: |options, text| put(&mut options.auth.proxy.roles_header, read_header(text)),
    },
    Known {
        sections: AUTH,
        key: "x_auth_token",
        wanted: HEADER,
        show: |options, _| Some(options.auth.proxy.token_header.clone()),
        take: |options, text| put(&mut options.auth.proxy.token_header, read_header(text)),
    },
    Known {
        sections: &["chttpd_auth_lockout"],
        key: "max_objects",
        wanted: "a number from 1 to 10000000",
        show: |options, _| Some(options.auth.lockout.entries_max.to_string()),
        take: |options, text| {
            let most = read_positive(text).filter(|most| *most <= 10_000_000);
            let most = most.and_then(|most| usize::try_from(most).ok());
            put(&mut options.auth.lockout.entries_max, most)
        },
    },
    Known {
        sections: &["chttpd_auth_lockout"],
        key: "mode",
        wanted: "off, warn or enforce",
        show: |options, _| {
            let mode = match options.auth.lockout.mode {
                LockoutMode::Off => "off",
                LockoutMode::Warn => "warn",
                LockoutMode::Enforce => "enforce",
            };
            Some(mode.to_owned())
        },
        take: |options, text| {
            let mode = match text {
                "off" => Some(LockoutMode::Off),
                "warn" => Some(LockoutMode::Warn),
                "enforce" => Some(LockoutMode::Enforce),
                _ => None,
            };
            put(&mut options.auth.lockout.mode, mode)
        },
    },
    Known {
        sections: &["chttpd_auth_lockout"],
        key: "threshold",
        wanted: POSITIVE,
        show: |options, _| Some(options.auth.lockout.threshold.to_string()),
        take: |options, text| {
            let threshold = read_positive(text).and_then(|number| u32::try_from(number).ok());
            put(&mut options.auth.lockout.threshold, threshold)
        },
    },
    Known {
        sections: &["chttpd_auth_lockout"],
        key: "max_lifetime",
        wanted: "a number of milliseconds greater than 0",
        show: |options, _| {
            Some(
                options
                    .auth
                    .lockout
                    .window_s
                    .saturating_mul(1_000)
                    .to_string(),
            )
        },
        take: |options, text| {
            let window_s = read_positive(text).map(|milliseconds| milliseconds.div_ceil(1_000));
            put(&mut options.auth.lockout.window_s, window_s)
        },
    },
    Known {
        sections: &["couch_peruser"],
        key: "enable",
        wanted: SWITCH,
        show: |options, _| Some(options.auth.per_user.enabled.to_string()),
        take: |options, text| put(&mut options.auth.per_user.enabled, read_switch(text)),
    },
    Known {
        sections: &["couch_peruser"],
        key: "delete_dbs",
        wanted: SWITCH,
        show: |options, _| Some(options.auth.per_user.delete.to_string()),
        take: |options, text| put(&mut options.auth.per_user.delete, read_switch(text)),
    },
    Known {
        sections: &["couch_peruser"],
        key: "database_prefix",
        wanted: "what the name of a database may begin with",
        show: |options, _| Some(options.auth.per_user.prefix.clone()),
        take: |options, text| {
            text.clone_into(&mut options.auth.per_user.prefix);
            DatabaseName::parse(&format!("{text}00")).is_ok()
        },
    },
    Known {
        sections: &["jwt_auth"],
        key: "required_claims",
        wanted: "a list of claims",
        show: |_, pod| {
            pod.setting("jwt_auth", "required_claims")
                .map(|text| text.to_string())
        },
        take: |options, text| {
            put(
                &mut options.auth.tokens.rules.required,
                RequiredClaims::parse(text).ok(),
            )
        },
    },
    Known {
        sections: &["jwt_auth"],
        key: "roles_claim_name",
        wanted: "the name of a claim",
        show: |_, pod| {
            pod.setting("jwt_auth", "roles_claim_name")
                .map(|text| text.to_string())
        },
        take: |options, text| {
            options.auth.tokens.rules.roles = ClaimPath::name(text);
            !text.is_empty()
        },
    },
    Known {
        sections: &["jwt_auth"],
        key: "roles_claim_path",
        wanted: "the path of a claim",
        show: |_, pod| {
            pod.setting("jwt_auth", "roles_claim_path")
                .map(|text| text.to_string())
        },
        take: |options, text| {
            options.auth.tokens.rules.roles = ClaimPath::parse(text);
            !text.is_empty()
        },
    },
];

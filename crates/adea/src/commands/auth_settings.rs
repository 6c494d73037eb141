//! What the configuration says of signing in, as the pod wants it.

use adea_accounts::{
    ClaimPath, LockoutMode, LockoutRules, PasswordRules, PasswordScheme, ProxyRules, TokenRules,
};
use adea_pod::{
    AuthSettings, CookieSettings, PerUserSettings, Strangers, TokenSettings, UsersSettings,
};

use crate::config::{Config, HashScheme, Secret};

/// What the configuration says of signing in.
pub(crate) fn auth_settings(config: &Config) -> AuthSettings {
    AuthSettings {
        tokens: tokens(config),
        proxy: proxy(config),
        lockout: LockoutRules {
            mode: config.lockout_mode,
            threshold: u32::try_from(config.lockout_threshold).unwrap_or(u32::MAX),
            window_s: config.lockout_window.as_secs(),
            entries_max: config.lockout_max_entries,
        },
        passwords: PasswordRules {
            scheme: match config.password_scheme {
                HashScheme::Argon2id => PasswordScheme::Argon2id,
                HashScheme::Pbkdf2 => {
                    let iterations = u32::try_from(config.password_iterations);
                    PasswordScheme::pbkdf2(iterations.unwrap_or(u32::MAX))
                }
            },
            requirements: config.password_requirements.clone(),
        },
        users: UsersSettings {
            public_fields: config.users_public_fields.clone(),
            sign_up: config.users_sign_up,
            security_editable: config.users_security_editable,
        },
        per_user: PerUserSettings {
            enabled: config.peruser_enabled,
            delete: config.peruser_delete_databases,
            prefix: config.peruser_prefix.clone(),
        },
        cookies: CookieSettings {
            persistent: config.session_persistent,
            domain: config.session_domain.clone(),
            same_site: config.session_same_site,
            secure: config.session_secure,
        },
        strangers: if config.auth_require_valid_user {
            Strangers::SignIn
        } else if config.auth_require_valid_user_except_for_up {
            Strangers::SignInOrUp
        } else {
            Strangers::Ask
        },
        www_authenticate: config.auth_www_authenticate.clone(),
        redirect: config.auth_redirect.clone(),
        trusted_proxies: config.auth_trusted_proxies.clone(),
        accounts: super::account_settings::account_settings(config),
    }
}

fn tokens(config: &Config) -> TokenSettings {
    let path = config.jwt_roles_claim_path.as_deref();
    TokenSettings {
        keys: config.jwt_keys.clone(),
        published_at: config.jwt_keys_url.clone(),
        refresh_s: config.jwt_keys_refresh.as_secs(),
        rules: TokenRules {
            required: config.jwt_required_claims.clone(),
            roles: path.map_or_else(
                || ClaimPath::name(&config.jwt_roles_claim_name),
                ClaimPath::parse,
            ),
            leeway_s: config.jwt_leeway.as_secs(),
            system_roles: config.jwt_system_roles,
        },
    }
}

fn proxy(config: &Config) -> ProxyRules {
    let secret = config.proxy_auth_secret.as_ref();
    let secret = secret.or(config.session_secret.as_ref());
    ProxyRules {
        enabled: config.proxy_auth_enabled,
        use_secret: config.proxy_auth_use_secret,
        secret: secret.map(Secret::reveal).map(|s| s.as_bytes().to_vec()),
        username_header: config.proxy_auth_username_header.clone(),
        roles_header: config.proxy_auth_roles_header.clone(),
        token_header: config.proxy_auth_token_header.clone(),
    }
}

/// The words of `lockout.mode`.
pub(crate) const LOCKOUT_MODES: &[(&str, LockoutMode)] = &[
    ("off", LockoutMode::Off),
    ("warn", LockoutMode::Warn),
    ("enforce", LockoutMode::Enforce),
];

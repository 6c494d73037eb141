//! What the configuration says of accounts, sessions and what goes with them, as the pod wants it.

use adea_mail::SmtpServer;
use adea_pod::{
    AccountSettings, LimitSettings, LinkSettings, MailSettings, OrganisationSettings,
    ProviderSettings, SessionSettings, SignUpMode, SignUpSettings,
};

use crate::config::{Config, Secret};

/// What the configuration says of accounts.
pub(super) fn account_settings(config: &Config) -> AccountSettings {
    AccountSettings {
        public_url: config.public_url.clone(),
        sign_up: SignUpSettings {
            mode: config.signup_mode,
            allowed: config.signup_allowed.clone(),
            anonymous: config.signup_anonymous,
        },
        sign_up_inbox: config.signup_inbox.clone(),
        sessions: SessionSettings {
            access_s: config.session_access_lifetime.as_secs(),
            idle_s: config.session_idle.as_secs(),
            lifetime_s: config.session_lifetime.as_secs(),
            basic_s: config.session_basic_lifetime.as_secs(),
            cookie_name: config.session_cookie_name.clone(),
            required: config.session_required,
            plain_http: config.session_plain_http,
        },
        limits: limits(config),
        organisations: organisations(config),
        audit_keep_s: Some(config.audit_keep.as_secs()),
        mail: mail_settings(config),
        providers: ProviderSettings {
            list: config.providers.clone(),
            new_device_notice: config.session_new_device_notice,
        },
    }
}

fn organisations(config: &Config) -> OrganisationSettings {
    // The configuration allows none that does not fit.
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let lifetime_ms = config.orgs_invitation_lifetime.as_millis();
    let default = OrganisationSettings::default();
    let domains = &config.orgs_shared_domains;
    let shared = domains.iter().map(|domain| domain.to_ascii_lowercase());
    OrganisationSettings {
        open: config.orgs_open,
        owned: count(config.orgs_owned_max),
        memberships: count(config.orgs_memberships_max),
        members: count(config.orgs_members_max),
        teams: count(config.orgs_teams_max),
        invitations: count(config.orgs_invitations_max),
        invitation_ms: u64::try_from(lifetime_ms).unwrap_or(u64::MAX),
        shared_domains: match domains.is_empty() {
            true => default.shared_domains,
            false => shared.collect(),
        },
    }
}

fn limits(config: &Config) -> LimitSettings {
    LimitSettings {
        sign_in: config.limits_sign_in,
        account_sign_in: config.limits_account_sign_in,
        mail: config.limits_mail,
        account_mail: config.limits_account_mail,
        sign_up: config.limits_sign_up,
        requests: config.limits_requests,
        loopback: config.limits_loopback,
    }
}

/// What the configuration says of mail. Certificates and the own address are added at the start.
fn mail_settings(config: &Config) -> MailSettings {
    // It was parsed when the configuration was read.
    let server = config.mail_smtp.as_ref().map(Secret::reveal);
    let server = server.and_then(|url| SmtpServer::parse(url).ok());
    MailSettings {
        server,
        from: config.mail_from.clone(),
        reply_to: config.mail_reply_to.clone(),
        language: config.mail_default_language.clone(),
        links: LinkSettings {
            verify: config.mail_link_verify.clone(),
            recover: config.mail_link_recover.clone(),
            sign_in: config.mail_link_sign_in.clone(),
            invitation: config.mail_link_invitation.clone(),
        },
        own_url: format!("http://{}", config.listen),
    }
}

/// The words of `signup.mode`.
pub(crate) const SIGN_UP_MODES: &[(&str, SignUpMode)] = &[
    ("open", SignUpMode::Open),
    ("listed", SignUpMode::Listed),
    ("invited", SignUpMode::Invited),
    ("closed", SignUpMode::Closed),
];

//! What goes in and comes out about apps.

use adea_accounts::apps::{
    App, AppLinks, AppQuota, AppSignUp, Joined, SessionSpans as Spans, SignUpWord,
};
use adea_pod::{SignUpMode, SignUpSettings};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// An app that is to be registered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AppCreation {
    /// Its name in databases, roles and requests; never changes.
    #[schema(pattern = "^[a-z][a-z0-9-]*$", min_length = 1, max_length = 63)]
    id: String,
    /// What people call it.
    #[schema(min_length = 1, max_length = 128)]
    title: String,
    /// Hosts that stand for it.
    #[schema(max_items = 32)]
    #[serde(default)]
    domains: Vec<String>,
    /// Origins that a browser may be sent to, besides those of its domains.
    #[schema(max_items = 32)]
    #[serde(default)]
    origins: Vec<String>,
    /// Who may sign up or join.
    #[serde(default)]
    sign_up: SignUp,
    /// Where links in mail lead.
    #[serde(default)]
    links: Links,
    /// The language of its mail, as a BCP 47 tag.
    #[schema(max_length = 35)]
    language: Option<String>,
    /// How much of the server it may take.
    #[serde(default)]
    quota: Quota,
    /// How long its sessions last.
    #[serde(default)]
    sessions: SessionSpans,
}

impl AppCreation {
    pub(super) fn app(self) -> App {
        App {
            id: self.id,
            title: self.title,
            domains: self.domains,
            origins: self.origins,
            sign_up: self.sign_up.into(),
            links: self.links.into(),
            language: self.language,
            quota: self.quota.into(),
            sessions: self.sessions.into(),
            ..App::default()
        }
    }
}

/// What is to be changed of an app. A member that is there replaces the whole of what was set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AppPatch {
    /// Only if this is the app's revision.
    pub(super) if_revision: Option<u64>,
    /// What people call it.
    #[schema(min_length = 1, max_length = 128)]
    title: Option<String>,
    /// Hosts that stand for it; for server administrators.
    #[schema(max_items = 32)]
    domains: Option<Vec<String>>,
    /// Origins that a browser may be sent to; for server administrators.
    #[schema(max_items = 32)]
    origins: Option<Vec<String>>,
    /// Who may sign up or join.
    sign_up: Option<SignUp>,
    /// Where links in mail lead.
    links: Option<Links>,
    /// The language of its mail; empty for the server's.
    #[schema(max_length = 35)]
    language: Option<String>,
    /// How much of the server it may take; for server administrators.
    quota: Option<Quota>,
    /// How long its sessions last; for server administrators.
    sessions: Option<SessionSpans>,
}

impl AppPatch {
    pub(super) fn apply(self, app: &mut App) {
        if let Some(title) = self.title {
            app.title = title;
        }
        if let Some(domains) = self.domains {
            app.domains = domains;
        }
        if let Some(origins) = self.origins {
            app.origins = origins;
        }
        if let Some(sign_up) = self.sign_up {
            app.sign_up = sign_up.into();
        }
        if let Some(links) = self.links {
            app.links = links.into();
        }
        if let Some(language) = self.language {
            app.language = Some(language);
        }
        if let Some(quota) = self.quota {
            app.quota = quota.into();
        }
        if let Some(sessions) = self.sessions {
            app.sessions = sessions.into();
        }
    }
}

/// Who may sign up.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// Everybody.
    Open,
    /// Whoever has an address that is listed, or one of a domain that is.
    Listed,
    /// Whoever was invited.
    Invited,
    /// Nobody.
    Closed,
}

/// Who may sign up in an app or join it; what is not said is as the server has it.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SignUp {
    /// Who may.
    mode: Option<Mode>,
    /// Addresses and domains that may, where they are listed.
    #[schema(max_items = 1000)]
    allowed: Option<Vec<String>>,
    /// Whether there are anonymous accounts.
    anonymous: Option<bool>,
}

impl From<SignUp> for AppSignUp {
    fn from(given: SignUp) -> Self {
        let mode = given.mode.map(|mode| match mode {
            Mode::Open => SignUpWord::Open,
            Mode::Listed => SignUpWord::Listed,
            Mode::Invited => SignUpWord::Invited,
            Mode::Closed => SignUpWord::Closed,
        });
        Self {
            mode,
            allowed: given.allowed,
            anonymous: given.anonymous,
        }
    }
}

impl From<&AppSignUp> for SignUp {
    fn from(set: &AppSignUp) -> Self {
        let mode = set.mode.map(|word| match word {
            SignUpWord::Open => Mode::Open,
            SignUpWord::Listed => Mode::Listed,
            SignUpWord::Invited => Mode::Invited,
            SignUpWord::Closed => Mode::Closed,
        });
        Self {
            mode,
            allowed: set.allowed.clone(),
            anonymous: set.anonymous,
        }
    }
}

/// Where links in mail lead: URLs on the app's own domains and origins, with `{token}` in place of the
/// secret. As the server has it where nothing is said.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Links {
    /// To prove an address.
    #[schema(max_length = 2048)]
    verify: Option<String>,
    /// To set a new password.
    #[schema(max_length = 2048)]
    recover: Option<String>,
    /// To sign in.
    #[schema(max_length = 2048)]
    sign_in: Option<String>,
    /// To answer an invitation.
    #[schema(max_length = 2048)]
    invitation: Option<String>,
}

impl From<Links> for AppLinks {
    fn from(given: Links) -> Self {
        Self {
            verify: given.verify,
            recover: given.recover,
            sign_in: given.sign_in,
            invitation: given.invitation,
        }
    }
}

impl From<&AppLinks> for Links {
    fn from(set: &AppLinks) -> Self {
        Self {
            verify: set.verify.clone(),
            recover: set.recover.clone(),
            sign_in: set.sign_in.clone(),
            invitation: set.invitation.clone(),
        }
    }
}

/// How much of the server an app may take; no bound where nothing is said.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Quota {
    /// Databases.
    #[schema(maximum = 10000)]
    databases: Option<u32>,
    /// Accounts that have joined.
    accounts: Option<u64>,
}

impl From<Quota> for AppQuota {
    fn from(given: Quota) -> Self {
        Self {
            databases: given.databases,
            accounts: given.accounts,
        }
    }
}

/// How long sessions last, in seconds; as the server has it where nothing is said.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SessionSpans {
    /// How long an access token is good.
    #[schema(minimum = 1)]
    access_s: Option<u64>,
    /// After how long a session ends in any case.
    #[schema(minimum = 1)]
    lifetime_s: Option<u64>,
    /// How long a temporary name and password are good.
    #[schema(minimum = 1)]
    basic_s: Option<u64>,
}

impl From<SessionSpans> for Spans {
    fn from(given: SessionSpans) -> Self {
        Self {
            access_s: given.access_s,
            lifetime_s: given.lifetime_s,
            basic_s: given.basic_s,
        }
    }
}

/// An app.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AppAnswer {
    /// Its name in databases, roles and requests.
    id: String,
    /// What people call it.
    title: String,
    /// Who may sign up or join.
    sign_up: SignUpShown,
    /// What else is set, for its administrators.
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<AppSettings>,
}

/// Who may sign up, as everybody may know it.
#[derive(Debug, Serialize, ToSchema)]
struct SignUpShown {
    /// Who may.
    mode: Mode,
    /// Whether there are anonymous accounts.
    anonymous: bool,
}

/// What is set for an app.
#[derive(Debug, Serialize, ToSchema)]
struct AppSettings {
    /// Raised with every change.
    revision: u64,
    /// When it was registered, in milliseconds since the Unix epoch.
    created_ms: u64,
    /// Hosts that stand for it.
    domains: Vec<String>,
    /// Origins that a browser may be sent to.
    origins: Vec<String>,
    /// Who may sign up or join, as far as the app says it.
    sign_up: SignUp,
    /// Where links in mail lead.
    links: Links,
    /// The language of its mail.
    language: Option<String>,
    /// How much of the server it may take.
    quota: Quota,
    /// How long its sessions last.
    sessions: SessionSpans,
}

impl AppAnswer {
    /// `app` under `rules`, with all that is set if `whole`.
    pub(super) fn of(app: &App, rules: &SignUpSettings, whole: bool) -> Self {
        let mode = match rules.mode {
            SignUpMode::Open => Mode::Open,
            SignUpMode::Listed => Mode::Listed,
            SignUpMode::Invited => Mode::Invited,
            SignUpMode::Closed => Mode::Closed,
        };
        Self {
            id: app.id.clone(),
            title: app.title.clone(),
            sign_up: SignUpShown {
                mode,
                anonymous: rules.anonymous,
            },
            settings: whole.then(|| AppSettings::of(app)),
        }
    }
}

impl AppSettings {
    fn of(app: &App) -> Self {
        Self {
            revision: app.revision,
            created_ms: app.created_ms,
            domains: app.domains.clone(),
            origins: app.origins.clone(),
            sign_up: (&app.sign_up).into(),
            links: (&app.links).into(),
            language: app.language.clone(),
            quota: Quota {
                databases: app.quota.databases,
                accounts: app.quota.accounts,
            },
            sessions: SessionSpans {
                access_s: app.sessions.access_s,
                lifetime_s: app.sessions.lifetime_s,
                basic_s: app.sessions.basic_s,
            },
        }
    }
}

/// An app in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AppRow {
    /// Its id.
    pub(super) id: String,
    /// What people call it.
    title: String,
    /// Since when one has joined it, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    joined_ms: Option<u64>,
    /// Whether one administers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<bool>,
}

impl AppRow {
    pub(super) fn of(app: &App, joined: Option<&Joined>) -> Self {
        Self {
            id: app.id.clone(),
            title: app.title.clone(),
            joined_ms: joined.map(|joined| joined.since_ms),
            admin: joined.map(|joined| joined.admin),
        }
    }
}

/// That one has joined an app.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JoinedAnswer {
    /// The app.
    pub(super) app: String,
    /// Since when, in milliseconds since the Unix epoch.
    pub(super) joined_ms: u64,
}

/// An account that has joined an app.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountOfApp {
    /// Its id.
    pub(super) id: String,
    /// Its name.
    pub(super) name: String,
}

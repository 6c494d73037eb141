//! What is set for accounts, sessions and what goes with them; each area in its own file.
//!
//! It is a part of [`AuthSettings`](crate::AuthSettings), and may change while the server runs.

mod limits;
mod mail;
mod organisations;
mod providers;
mod sessions;
mod sign_up;

pub use limits::{LimitRule, LimitSettings, written_limit};
pub use mail::{LinkSettings, LinkTemplate, MailSettings};
pub use organisations::OrganisationSettings;
pub use providers::ProviderSettings;
pub use sessions::SessionSettings;
pub use sign_up::{SignUpMode, SignUpSettings};

/// What is set for accounts and what goes with them.
#[derive(Clone, Debug, Default)]
pub struct AccountSettings {
    /// The address under which clients reach this server, as `https://app.example`; links in mail
    /// begin with it, and passkeys belong to its host.
    pub public_url: Option<String>,
    /// Who may sign up.
    pub sign_up: SignUpSettings,
    /// The database into which documents are written to sign up, if there is one.
    pub sign_up_inbox: Option<adea_base::DatabaseName>,
    /// How long sessions last, and what they are asked for.
    pub sessions: SessionSettings,
    /// How often something may be asked.
    pub limits: LimitSettings,
    /// What organisations may have.
    pub organisations: OrganisationSettings,
    /// How mail is sent.
    pub mail: MailSettings,
    /// Other ways in than a password.
    pub providers: ProviderSettings,
    /// For how many seconds entries of the audit log are kept.
    pub audit_keep_s: Option<u64>,
}

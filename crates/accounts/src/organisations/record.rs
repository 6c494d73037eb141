//! What is stored for organisations, teams, memberships and invitations.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::role::{OrganisationRole, TeamRole};

/// An organisation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Organisation {
    /// Never changes, and is never given twice.
    pub id: String,
    /// As it is shown.
    pub name: String,
    /// As it is compared.
    pub lookalike: String,
    /// The app that it is in; empty for none.
    pub app: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Raised by every change of what is said of it here, but for the counts.
    pub revision: u64,
    /// What server administrators allow it, where that is not what is allowed to all.
    pub quota: Quota,
    /// The domain that is its own.
    pub domain: Option<Domain>,
    /// What its owners chose.
    pub customs: Customs,
    /// How many there are of what belongs to it.
    pub counts: Counts,
}

/// What an organisation may have; `None` where what is set for all holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quota {
    /// Members.
    pub members: Option<u32>,
    /// Teams.
    pub teams: Option<u32>,
    /// Invitations that are open.
    pub invitations: Option<u32>,
}

/// What the owners of an organisation chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Customs {
    /// Every member may make teams, and not only administrators.
    pub members_make_teams: bool,
}

/// How many there are of what belongs to an organisation. They are part of its record, so that to
/// check a limit costs no walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Members, owners among them.
    pub members: u32,
    /// Owners.
    pub owners: u32,
    /// Teams.
    pub teams: u32,
    /// Invitations that nobody has answered or revoked; some may have expired.
    pub invitations: u32,
}

/// A domain that is an organisation's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Its name, in ASCII and lower case.
    pub name: String,
    /// Whether everybody with a verified address in it may join by himself.
    pub join: bool,
    /// How it was proved.
    pub proof: DomainProof,
    /// When, in milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// How a domain was proved to be an organisation's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainProof {
    /// A server administrator said so.
    Administrator,
    /// An owner has a verified address in it.
    Address,
}

/// A team.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Team {
    /// Never changes, and is never given twice.
    pub id: String,
    /// The organisation that it is a part of.
    pub organisation: String,
    /// As it is shown.
    pub name: String,
    /// As it is compared.
    pub lookalike: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Raised by every change.
    pub revision: u64,
}

/// The membership of an organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Of which.
    pub organisation: String,
    /// Whose.
    pub account: String,
    /// As what.
    pub role: OrganisationRole,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Raised by every change.
    pub revision: u64,
}

/// The membership of a team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamMember {
    /// The organisation of the team.
    pub organisation: String,
    /// Of which.
    pub team: String,
    /// Whose.
    pub account: String,
    /// As what.
    pub role: TeamRole,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Raised by every change.
    pub revision: u64,
}

/// What stands under an account for each membership of his, so that his roles are one walk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// In an organisation.
    Organisation(OrganisationRole),
    /// In a team of the organisation.
    Team(String, TeamRole),
}

/// An invitation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Invitation {
    /// Never changes, and is never given twice.
    pub id: String,
    /// To which organisation.
    pub organisation: String,
    /// To which team of it; `None` for none.
    pub team: Option<String>,
    /// As what in the organisation.
    pub role: OrganisationRole,
    /// As what in the team.
    pub team_role: TeamRole,
    /// The address that it was sent to, in the form that is compared.
    pub address: String,
    /// The account that sent it; `None` if a server administrator did.
    pub inviter: Option<String>,
    /// The language that it was written in, as a BCP 47 tag; empty for the server's own.
    pub language: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it was last sent, in milliseconds since the Unix epoch.
    pub sent_ms: u64,
    /// How often it was sent.
    pub sent: u32,
    /// Until when it is good, in milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// SHA-256 of the secret that was sent last, in hexadecimal digits.
    pub secret: String,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// When that was, in milliseconds since the Unix epoch.
    pub ended_ms: u64,
}

/// What came of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Somebody has joined by it.
    Accepted,
    /// Whom it was sent to does not want to.
    Declined,
    /// It was taken back.
    Revoked,
}

/// What is set for all organisations.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Whether every account may make organisations, and not only server administrators.
    pub open: bool,
    /// How many organisations an account may own.
    pub owned: u32,
    /// How many organisations and teams an account may belong to.
    pub memberships: u32,
    /// How many members an organisation may have.
    pub members: u32,
    /// How many teams an organisation may have.
    pub teams: u32,
    /// How many open invitations an organisation may have.
    pub invitations: u32,
    /// For how many milliseconds an invitation is good.
    pub invitation_ms: u64,
    /// Domains where everybody gets an address, which therefore prove nothing.
    pub shared_domains: Arc<[String]>,
}

/// Domains of the mail services that most people have an address at.
pub const SHARED_DOMAINS: [&str; 32] = [
    "126.com",
    "163.com",
    "aol.com",
    "duck.com",
    "fastmail.com",
    "free.fr",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hey.com",
    "hotmail.com",
    "icloud.com",
    "laposte.net",
    "libero.it",
    "live.com",
    "mac.com",
    "mail.ru",
    "me.com",
    "msn.com",
    "orange.fr",
    "outlook.com",
    "pm.me",
    "posteo.de",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "web.de",
    "yahoo.com",
    "yandex.ru",
];

impl Default for Limits {
    fn default() -> Self {
        Self {
            open: true,
            owned: 20,
            memberships: 1_000,
            members: 1_000,
            teams: 200,
            invitations: 500,
            invitation_ms: 7 * 86_400_000,
            shared_domains: SHARED_DOMAINS.map(str::to_owned).to_vec().into(),
        }
    }
}

impl Organisation {
    /// What it may have, given what all may.
    #[must_use]
    pub fn limits(&self, limits: &Limits) -> Limits {
        Limits {
            members: self.quota.members.unwrap_or(limits.members),
            teams: self.quota.teams.unwrap_or(limits.teams),
            invitations: self.quota.invitations.unwrap_or(limits.invitations),
            ..limits.clone()
        }
    }
}

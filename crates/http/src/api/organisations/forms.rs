//! What goes in and out with organisations, teams, memberships and invitations, as JSON.

use adea_accounts::organisations::{
    DomainProof, InvitationState, Invited, Limits, Member, Organisation, OrganisationRole, Quota,
    Team, TeamMember, TeamRole,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a member is in an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OrganisationRoleWord {
    Member,
    Admin,
    Owner,
}

/// What a member is in a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TeamRoleWord {
    Reader,
    Writer,
    Admin,
}

/// What a member is: `owner`, `admin` or `member` of an organisation, `admin`, `writer` or `reader`
/// of a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RoleWord {
    Owner,
    Admin,
    Member,
    Writer,
    Reader,
}

impl From<OrganisationRole> for OrganisationRoleWord {
    fn from(role: OrganisationRole) -> Self {
        match role {
            OrganisationRole::Member => Self::Member,
            OrganisationRole::Admin => Self::Admin,
            OrganisationRole::Owner => Self::Owner,
        }
    }
}

impl From<OrganisationRoleWord> for OrganisationRole {
    fn from(word: OrganisationRoleWord) -> Self {
        match word {
            OrganisationRoleWord::Member => Self::Member,
            OrganisationRoleWord::Admin => Self::Admin,
            OrganisationRoleWord::Owner => Self::Owner,
        }
    }
}

impl From<TeamRoleWord> for TeamRole {
    fn from(word: TeamRoleWord) -> Self {
        match word {
            TeamRoleWord::Reader => Self::Reader,
            TeamRoleWord::Writer => Self::Writer,
            TeamRoleWord::Admin => Self::Admin,
        }
    }
}

impl From<OrganisationRole> for RoleWord {
    fn from(role: OrganisationRole) -> Self {
        match role {
            OrganisationRole::Member => Self::Member,
            OrganisationRole::Admin => Self::Admin,
            OrganisationRole::Owner => Self::Owner,
        }
    }
}

impl From<TeamRole> for RoleWord {
    fn from(role: TeamRole) -> Self {
        match role {
            TeamRole::Reader => Self::Reader,
            TeamRole::Writer => Self::Writer,
            TeamRole::Admin => Self::Admin,
        }
    }
}

impl RoleWord {
    /// The role of an organisation that this is, if one.
    pub(crate) fn of_organisation(self) -> Option<OrganisationRole> {
        match self {
            Self::Owner => Some(OrganisationRole::Owner),
            Self::Admin => Some(OrganisationRole::Admin),
            Self::Member => Some(OrganisationRole::Member),
            Self::Writer | Self::Reader => None,
        }
    }

    /// The role of a team that this is, if one.
    pub(crate) fn of_team(self) -> Option<TeamRole> {
        match self {
            Self::Admin => Some(TeamRole::Admin),
            Self::Writer => Some(TeamRole::Writer),
            Self::Reader => Some(TeamRole::Reader),
            Self::Owner | Self::Member => None,
        }
    }
}

/// A new organisation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OrganisationCreation {
    /// Its name, which no other of the same app has, nor one that looks the same.
    #[schema(min_length = 1, max_length = 128)]
    pub(super) name: String,
    /// The app that it is in; none, if it is not given.
    #[schema(max_length = 63)]
    pub(super) app: Option<String>,
    /// The account that owns it, which only server administrators may name; your own, if it is not
    /// given.
    #[schema(max_length = 26)]
    pub(super) owner: Option<String>,
}

/// What is to be changed of an organisation; what is not given stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OrganisationPatch {
    /// Another name.
    #[schema(min_length = 1, max_length = 128)]
    pub(super) name: Option<String>,
    /// Whether every member may make teams.
    pub(super) members_make_teams: Option<bool>,
    /// What it may have, which only server administrators set; in place of the whole quota.
    pub(super) quota: Option<QuotaForm>,
    /// The revision that this is based on; refused with 409 if there is another by now.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    pub(super) if_revision: Option<u64>,
}

/// What an organisation may have; null or not given: what is set for all.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QuotaForm {
    /// Members.
    #[schema(minimum = 0, maximum = 4_294_967_295_u64)]
    pub(super) members: Option<u32>,
    /// Teams.
    #[schema(minimum = 0, maximum = 4_294_967_295_u64)]
    pub(super) teams: Option<u32>,
    /// Open invitations.
    #[schema(minimum = 0, maximum = 4_294_967_295_u64)]
    pub(super) invitations: Option<u32>,
}

impl From<QuotaForm> for Quota {
    fn from(form: QuotaForm) -> Self {
        Self {
            members: form.members,
            teams: form.teams,
            invitations: form.invitations,
        }
    }
}

/// The domain of an organisation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DomainForm {
    /// Its name, as `example.org`.
    #[schema(min_length = 1, max_length = 253)]
    pub(super) name: String,
    /// Whether everybody with a verified address in it may join by himself; not, if not given.
    #[serde(default)]
    pub(super) join: bool,
    /// The revision of the organisation that this is based on.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    pub(super) if_revision: Option<u64>,
}

/// An organisation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrganisationAnswer {
    /// Never changes.
    id: String,
    name: String,
    /// The app that it is in; empty for none.
    app: String,
    /// What you are in it; null if you are no member.
    role: Option<OrganisationRoleWord>,
    created_ms: u64,
    /// Raised by every change.
    revision: u64,
    /// How many members there are.
    members: u32,
    /// How many teams there are.
    teams: u32,
    /// What it may have.
    quota: QuotaAnswer,
    domain: Option<DomainAnswer>,
    /// Whether every member may make teams.
    members_make_teams: bool,
}

/// What an organisation may have.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuotaAnswer {
    members: u32,
    teams: u32,
    /// Open invitations.
    invitations: u32,
}

/// The domain of an organisation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DomainAnswer {
    name: String,
    /// Whether everybody with a verified address in it may join by himself.
    join: bool,
    /// How it was proved: `administrator` or `address`.
    proof: &'static str,
    since_ms: u64,
}

impl OrganisationAnswer {
    /// `organisation` as it is told to somebody who is `role` in it.
    pub(crate) fn new(
        organisation: Organisation,
        role: Option<OrganisationRole>,
        limits: &Limits,
    ) -> Self {
        let limits = organisation.limits(limits);
        Self {
            quota: QuotaAnswer {
                members: limits.members,
                teams: limits.teams,
                invitations: limits.invitations,
            },
            id: organisation.id,
            name: organisation.name,
            app: organisation.app,
            role: role.map(Into::into),
            created_ms: organisation.created_ms,
            revision: organisation.revision,
            members: organisation.counts.members,
            teams: organisation.counts.teams,
            domain: organisation.domain.map(|domain| DomainAnswer {
                name: domain.name,
                join: domain.join,
                proof: match domain.proof {
                    DomainProof::Administrator => "administrator",
                    DomainProof::Address => "address",
                },
                since_ms: domain.since_ms,
            }),
            members_make_teams: organisation.customs.members_make_teams,
        }
    }
}

/// An organisation that one may join: what somebody sees of it who is no member yet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JoinableAnswer {
    id: String,
    name: String,
    /// The app that it is in; empty for none.
    app: String,
}

impl From<Organisation> for JoinableAnswer {
    fn from(organisation: Organisation) -> Self {
        Self {
            id: organisation.id,
            name: organisation.name,
            app: organisation.app,
        }
    }
}

/// A team.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TeamAnswer {
    /// Never changes.
    id: String,
    /// The organisation that it is a part of.
    organisation: String,
    name: String,
    created_ms: u64,
    /// Raised by every change.
    revision: u64,
}

impl From<Team> for TeamAnswer {
    fn from(team: Team) -> Self {
        Self {
            id: team.id,
            organisation: team.organisation,
            name: team.name,
            created_ms: team.created_ms,
            revision: team.revision,
        }
    }
}

/// A membership, of an organisation or of a team.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MembershipAnswer {
    /// The ids of what it is of and of the account.
    id: String,
    organisation: String,
    /// The team; null if it is the membership of the organisation itself.
    team: Option<String>,
    account: String,
    /// The name of the account, where it is told.
    name: Option<String>,
    role: RoleWord,
    since_ms: u64,
    /// Raised by every change.
    revision: u64,
}

impl MembershipAnswer {
    /// The same, with the name of the account.
    pub(crate) fn named(self, name: String) -> Self {
        let name = Some(name);
        Self { name, ..self }
    }
}

impl From<Member> for MembershipAnswer {
    fn from(member: Member) -> Self {
        Self {
            id: format!("{}-{}", member.organisation, member.account),
            organisation: member.organisation,
            team: None,
            account: member.account,
            name: None,
            role: member.role.into(),
            since_ms: member.since_ms,
            revision: member.revision,
        }
    }
}

impl From<TeamMember> for MembershipAnswer {
    fn from(member: TeamMember) -> Self {
        Self {
            id: format!("{}-{}", member.team, member.account),
            organisation: member.organisation,
            team: Some(member.team),
            account: member.account,
            name: None,
            role: member.role.into(),
            since_ms: member.since_ms,
            revision: member.revision,
        }
    }
}

/// An invitation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvitationAnswer {
    id: String,
    organisation: String,
    organisation_name: String,
    /// The team; null if it is to the organisation alone.
    team: Option<String>,
    team_name: Option<String>,
    /// As what: in the team, if it is to one, and else in the organisation.
    role: RoleWord,
    /// The address that it was sent to.
    address: String,
    /// `pending`, `accepted`, `declined`, `revoked` or `expired`.
    state: &'static str,
    /// The account that sent it; null if a server administrator did.
    inviter: Option<String>,
    created_ms: u64,
    sent_ms: u64,
    expires_ms: u64,
}

impl InvitationAnswer {
    /// `invited` as it is at a time.
    pub(crate) fn new(invited: Invited, now_ms: u64) -> Self {
        let Invited {
            invitation,
            organisation,
            team,
        } = invited;
        let state: InvitationState = invitation.state(now_ms);
        let role = match &invitation.team {
            Some(_) => invitation.team_role.into(),
            None => invitation.role.into(),
        };
        Self {
            id: invitation.id,
            organisation: organisation.id,
            organisation_name: organisation.name,
            team: invitation.team,
            team_name: team.map(|team| team.name),
            role,
            address: invitation.address,
            state: state.word(),
            inviter: invitation.inviter,
            created_ms: invitation.created_ms,
            sent_ms: invitation.sent_ms,
            expires_ms: invitation.expires_ms,
        }
    }
}

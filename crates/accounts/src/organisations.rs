//! Organisations, their teams, who belongs to them, and who is asked to.
//!
//! An organisation is a tenant: it has members, teams, limits, and perhaps a domain, and who is no
//! member sees nothing of it. A team is a part of an organisation, and every member of a team is a
//! member of its organisation. Memberships become roles (`org:<id>`, `team:<id>:writer`), which the
//! rights of databases can name.
//!
//! Verbs take a transaction and whoever acts ([`Acting`]), and decide all of it there: whether he
//! may, whether the name is free, whether there is room. Since transactions run one after the other,
//! what one has found out still holds when it writes.
//!
//! Invariants: a membership of a team goes with one of its organisation; an organisation has an
//! owner, unless its last one was erased and left nobody to follow him; names are unique, of
//! organisations in their app and of teams in their organisation; nothing leads to an organisation
//! or team that is gone, but what [`clear`] removes soon after; each change of a membership is a
//! change of rights.

mod answering;
pub(crate) mod closing;
mod domain;
mod invitation;
mod inviting;
mod membership;
mod of_app;
mod organisation;
mod read;
mod record;
mod role;
mod team;

pub use answering::{accept, accept_at_sign_up, decline, look};
pub use closing::{Cleared, clear, next_closing};
pub use domain::{NewDomain, join_by_domain, set_domain, unset_domain};
pub use invitation::{
    Claim, InvitationState, Invited, InvitedBy, NewInvitation, sweep_invitations,
};
pub use inviting::{invite, resend, revoke};
pub use membership::{
    forget_account, is_last_owner, put_member, put_team_member, remove_member, remove_team_member,
    roles_of,
};
pub use of_app::leave_app;
pub use organisation::{
    NewOrganisation, OrganisationChange, change_organisation, close_organisation,
    create_organisation,
};
pub use read::{
    Page, Part, all_organisations, find_invitation, find_member, find_organisation, find_team,
    find_team_member, invitations_of, invitations_sent, invitations_to, members, memberships_of,
    organisations_by_domain, organisations_of, team_members, teams, teams_of,
};
pub use record::{
    Counts, Customs, Domain, DomainProof, Invitation, Limits, Member, Organisation, Outcome, Quota,
    SHARED_DOMAINS, Team, TeamMember,
};
pub use role::{OrganisationRole, Standing, TeamRole};
pub use team::{NewTeam, TeamChange, change_team, close_team, create_team};

use adea_base::Entropy;
use adea_store::{Decline, EngineError, Transaction};
use serde_json::Value;

use crate::audit::{self, AuditEntry};
use crate::directory::{self, AccountRecord};
use crate::names::InvalidName;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrganisationError {
    /// There is none, or whoever asks may not know of it.
    #[error(
        "There is no such organisation, team, membership or invitation, or you do not belong to it."
    )]
    Missing,
    /// He may know of it, and may not do this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// Only accounts belong to organisations, and whoever asks has none, or one that is nobody's.
    #[error("This needs an account of a person on this server.")]
    NoAccount,
    /// He has not proved an address to be his.
    #[error("Verify an e-mail address of your account first.")]
    Unverified,
    /// The name is none.
    #[error("The name is not taken: {0}.")]
    Name(#[from] InvalidName),
    /// The name is another's.
    #[error("There is one of this name already, or of a name that looks the same.")]
    NameTaken,
    /// What was sent cannot be.
    #[error("{0}")]
    Invalid(&'static str),
    /// Somebody else has changed it first.
    #[error("It was changed meanwhile: its revision is {0} now. Read it again, and try again.")]
    Changed(u64),
    /// An organisation needs an owner.
    #[error(
        "This is the last owner. Make somebody else an owner first, or delete the organisation."
    )]
    LastOwner,
    /// There is no room.
    #[error("There is no room for more {what}: at most {limit}.")]
    Quota {
        /// For what.
        what: &'static str,
        /// How many there may be.
        limit: u32,
    },
    /// Only members of an organisation belong to its teams.
    #[error(
        "Only members of the organisation can be in its teams. Invite him to the team instead."
    )]
    NotMember,
    /// He belongs to it already.
    #[error("This account belongs to it already.")]
    AlreadyMember,
    /// Somebody with this address was asked already.
    #[error("There is an open invitation for this address. Send it again instead, or revoke it.")]
    AlreadyInvited,
    /// It was sent a moment ago, or too often.
    #[error("The invitation was sent a moment ago; try again in {0} s.")]
    TooSoon(u64),
    /// The invitation is no longer open.
    #[error("{}", .0.told())]
    Closed(InvitationState),
    /// The domain is another organisation's.
    #[error("The domain belongs to another organisation. A server administrator can change that.")]
    DomainTaken,
    /// Nobody has shown that the domain is his.
    #[error(
        "An owner proves a domain by a verified address of his own in it, and domains of public mail services to a server administrator."
    )]
    DomainUnproved,
}

impl From<OrganisationError> for Decline<OrganisationError> {
    fn from(error: OrganisationError) -> Self {
        Self::Refused(error)
    }
}

/// What a verb answers.
pub type Decided<T> = Result<T, Decline<OrganisationError>>;

/// Whoever acts: what a request told of him, what the time is, and what is set.
#[derive(Clone, Debug)]
pub struct Acting {
    /// His account; `None` for administrators of the configuration.
    pub account: Option<String>,
    /// The name that he signed in with.
    pub name: String,
    /// Whether he may do everything on this server.
    pub admin: bool,
    /// The number of the `_users` database.
    pub users: u64,
    /// Where the request came from.
    pub address: String,
    /// The time, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// For new ids and secrets.
    pub entropy: Entropy,
    /// What there may be where no quota says otherwise.
    pub limits: Limits,
}

impl Acting {
    /// The id of his account.
    fn account(&self) -> Result<&str, OrganisationError> {
        self.account.as_deref().ok_or(OrganisationError::NoAccount)
    }

    /// Tells the audit log what he does to `target`.
    fn note(
        &self,
        tx: &mut Transaction<'_>,
        action: &str,
        target: &str,
        app: &str,
        detail: Value,
    ) -> Result<(), EngineError> {
        // Who declines an invitation need not sign in.
        let nobody = if self.admin {
            format!("admin:{}", self.name)
        } else {
            String::new()
        };
        let entry = AuditEntry {
            time_ms: self.now_ms,
            action: action.to_owned(),
            account: self.account.clone().unwrap_or(nobody),
            name: self.name.clone(),
            target: target.to_owned(),
            address: self.address.clone(),
            app: app.to_owned(),
            detail,
        };
        audit::append(tx, &entry)
    }
}

/// The account of a person, who may belong to organisations.
fn person(tx: &Transaction<'_>, by: &Acting, account: &str) -> Decided<AccountRecord> {
    let found = directory::live(tx, by.users, account)?;
    let found = found.filter(|record| !record.flags.anonymous && !record.flags.keep_out());
    Ok(found.ok_or(OrganisationError::NoAccount)?)
}

/// Refuses a change that was based on another revision.
fn agree(wanted: Option<u64>, there: u64) -> Result<(), OrganisationError> {
    match wanted {
        Some(wanted) if wanted != there => Err(OrganisationError::Changed(there)),
        Some(_) | None => Ok(()),
    }
}

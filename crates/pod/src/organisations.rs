//! Organisations, teams, memberships and invitations: each use case is one transaction, and what a
//! deleted organisation leaves is removed behind it.
//!
//! What may be done and what follows is decided in `adea_accounts::organisations`; here is what that
//! needs to know, the mail that goes with an invitation, and the work that goes on after a commit.

mod invite;
mod upkeep;

use std::net::IpAddr;

pub use adea_accounts::organisations::OrganisationError;
use adea_accounts::organisations::{
    self as verbs, Acting, Decided, Invited, Member, NewDomain, NewOrganisation, NewTeam,
    Organisation, OrganisationChange, OrganisationRole, Page, Part, Standing, Team, TeamChange,
    TeamMember, TeamRole,
};
use adea_base::Caller;
use adea_store::{Decline, TransactError, Transaction, View};

use crate::error::PodError;
use crate::pod::Pod;

/// Which organisations are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichOrganisations {
    /// Those that he belongs to.
    Own,
    /// Those that he may join by himself.
    Joinable,
    /// All, for server administrators.
    All,
}

/// Which invitations are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhichInvitations {
    /// Those that he has sent.
    Sent,
    /// Those that were sent to addresses that he has verified.
    Received,
    /// Those to an organisation.
    To(String),
}

/// A membership that is to be, and what it is based on.
#[derive(Clone, Debug)]
pub struct Placing<R> {
    /// The organisation or the team.
    pub group: String,
    /// The account.
    pub account: String,
    /// As what.
    pub role: R,
    /// The revision that a change is based on; `None` for whichever is there.
    pub if_revision: Option<u64>,
    /// Whether it may be new.
    pub adds: bool,
}

impl Pod {
    /// Whoever acts on organisations: `caller`, from `address`.
    ///
    /// # Errors
    /// [`PodError::Database`] if there are no accounts at all.
    pub fn acting(&self, caller: &Caller, address: IpAddr) -> Result<Acting, PodError> {
        Ok(Acting {
            account: caller.account().map(str::to_owned),
            name: caller.name().unwrap_or("").to_owned(),
            admin: caller.is_admin(),
            users: self.users_number()?.0,
            address: address.to_string(),
            now_ms: self.inner.clock.now_unix_ms(),
            entropy: self.inner.entropy.clone(),
            limits: self.auth().accounts.organisations.clone(),
        })
    }

    /// Decides and commits, also if who waits for it goes away.
    async fn organise<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&mut Transaction<'_>) -> Decided<T> + Send + 'static,
    ) -> Result<T, PodError> {
        let store = self.inner.store.clone();
        Self::to_the_end(async move {
            let decided = store.transact(Self::permit(), decide).await;
            decided.map_err(|error| match error {
                TransactError::Refused(OrganisationError::TooSoon(retry_after_s)) => {
                    PodError::Limited { retry_after_s }
                }
                error @ (TransactError::Refused(_)
                | TransactError::Engine(_)
                | TransactError::Commit(_)) => error.into(),
            })
        })
        .await
    }

    /// Reads what is there now.
    fn find_there<T>(&self, read: impl FnOnce(&dyn View) -> Decided<T>) -> Result<T, PodError> {
        read(self.view().as_ref()).map_err(|declined| match declined {
            Decline::Refused(error) => error.into(),
            Decline::Engine(error) => error.into(),
        })
    }

    /// Makes an organisation, in an app that its owner has joined.
    ///
    /// # Errors
    /// [`PodError::Organisation`], as all of these.
    pub async fn create_organisation(
        &self,
        by: Acting,
        new: NewOrganisation,
    ) -> Result<Organisation, PodError> {
        self.organise(move |tx| verbs::create_organisation(tx, &by, &new))
            .await
    }

    /// An organisation, and what he is to it who asks.
    ///
    /// # Errors
    /// [`OrganisationError::Missing`].
    pub fn organisation(
        &self,
        by: &Acting,
        id: &str,
    ) -> Result<(Organisation, Standing), PodError> {
        self.find_there(|view| verbs::find_organisation(view, by, id))
    }

    /// A page of organisations, with what he is to each who asks.
    ///
    /// # Errors
    /// [`OrganisationError::Forbidden`] if he may not list all.
    pub fn organisations(
        &self,
        by: &Acting,
        which: WhichOrganisations,
        part: &Part,
    ) -> Result<Page<(Organisation, Option<OrganisationRole>)>, PodError> {
        self.find_there(|view| match which {
            WhichOrganisations::Own => verbs::organisations_of(view, by, part),
            WhichOrganisations::Joinable => verbs::organisations_by_domain(view, by),
            WhichOrganisations::All => verbs::all_organisations(view, by, part),
        })
    }

    /// Changes an organisation.
    ///
    /// # Errors
    /// [`PodError::Organisation`].
    pub async fn change_organisation(
        &self,
        by: Acting,
        id: String,
        change: OrganisationChange,
    ) -> Result<Organisation, PodError> {
        self.organise(move |tx| verbs::change_organisation(tx, &by, &id, &change))
            .await
    }

    /// Deletes an organisation and all that belongs to it.
    ///
    /// # Errors
    /// [`PodError::Organisation`].
    pub async fn delete_organisation(
        &self,
        by: Acting,
        id: String,
        if_revision: Option<u64>,
    ) -> Result<(), PodError> {
        self.organise(move |tx| verbs::close_organisation(tx, &by, &id, if_revision))
            .await?;
        self.clear_soon().await
    }

    /// Says what the domain of an organisation is; `None` for none.
    ///
    /// # Errors
    /// [`PodError::Organisation`].
    pub async fn set_organisation_domain(
        &self,
        by: Acting,
        id: String,
        domain: Option<NewDomain>,
    ) -> Result<Organisation, PodError> {
        self.organise(move |tx| match &domain {
            Some(domain) => verbs::set_domain(tx, &by, &id, domain),
            None => verbs::unset_domain(tx, &by, &id),
        })
        .await
    }

    /// Joins an organisation by an address in its domain.
    ///
    /// # Errors
    /// [`PodError::Organisation`].
    pub async fn join_organisation(&self, by: Acting, id: String) -> Result<Member, PodError> {
        self.organise(move |tx| verbs::join_by_domain(tx, &by, &id))
            .await
    }

    /// A page of the members of an organisation, with the names of their accounts.
    ///
    /// # Errors
    /// [`OrganisationError::Missing`].
    pub fn members(
        &self,
        by: &Acting,
        organisation: &str,
        part: &Part,
    ) -> Result<Page<(Member, String)>, PodError> {
        self.find_there(|view| verbs::members(view, by, organisation, part))
    }

    /// A member of an organisation, with the name of his account.
    ///
    /// # Errors
    /// [`OrganisationError::Missing`].
    pub fn member(
        &self,
        by: &Acting,
        organisation: &str,
        account: &str,
    ) -> Result<(Member, String), PodError> {
        self.find_there(|view| verbs::find_member(view, by, organisation, account))
    }

    /// Adds a member of an organisation, or makes one what he was not.
    ///
    /// # Errors
    /// [`PodError::Organisation`].
    pub async fn put_member(
        &self,
        by: Acting,
        put: Placing<OrganisationRole>,
    ) -> Result<Member, PodError> {
        self.organise(move |tx| {
            let Placing {
                group,
                account,
                role,
                if_revision,
                adds,
            } = &put;
            verbs::put_member(tx, &by, group, account, *role, *if_revision, *adds)
        })
        .await
    }

    /// Removes a member from an organisation and its teams.
    ///
    /// # Errors
    /// [`PodError::Organisation`].
    pub async fn remove_member(
        &self,
        by: Acting,
        organisation: String,
        account: String,
        if_revision: Option<u64>,
    ) -> Result<(), PodError> {
        self.organise(move |tx| verbs::remove_member(tx, &by, &organisation, &account, if_revision))
            .await
    }

    /// Makes a team.
    ///
    /// # Errors
    /// [`PodError::Organisation`].
    pub async fn create_team(&self, by: Acting, new: NewTeam) -> Result<Team, PodError> {
        self.organise(move |tx| verbs::create_team(tx, &by, &new))
            .await
    }

    /// A team, and what he is to it who asks.
    ///
    /// # Errors
    /// [`OrganisationError::Missing`].
    pub fn team(&self, by: &Acting, id: &str) -> Result<(Team, Standing), PodError> {
        self.find_there(|view| verbs::find_team(view, by, id))
    }

    /// A page of teams: of an organisation, or those that he is in.
    ///
    /// # Errors
    /// [`OrganisationError::Missing`].
    pub fn teams(
        &self,
        by: &Acting,
        organisation: Option<&str>,
        part: &Part,
    ) -> Result<Page<Team>, PodError> {
        self.find_there(|view| match organisation {
            Some(organisation) => verbs::teams_of(view, by, organisation, part),
            None => verbs::teams(view, by, part),
        })
    }

    /// Changes a team.
    ///
    /// # Errors
    /// [`PodError::Organisation`].
    pub async fn change_team(
        &self,
        by: Acting,
        id: String,
        change: TeamChange,
    ) -> Result<Team, PodError> {
        self.organise(move |tx| verbs::change_team(tx, &by, &id, &change))
            .await
    }

    /// Deletes a team and all that belongs to it.
    ///
    /// # Errors
    /// [`PodError::Organisation`].
    pub async fn delete_team(
        &self,
        by: Acting,
        id: String,
        if_revision: Option<u64>,
    ) -> Result<(), PodError> {
        self.organise(move |tx| verbs::close_team(tx, &by, &id, if_revision))
            .await?;
        self.clear_soon().await
    }

    /// A page of the members of a team, with the names of their accounts.
    ///
    /// # Errors
    /// [`OrganisationError::Missing`].
    pub fn team_members(
        &self,
        by: &Acting,
        team: &str,
        part: &Part,
    ) -> Result<Page<(TeamMember, String)>, PodError> {
        self.find_there(|view| verbs::team_members(view, by, team, part))
    }

    /// A member of a team, with the name of his account.
    ///
    /// # Errors
    /// [`OrganisationError::Missing`].
    pub fn team_member(
        &self,
        by: &Acting,
        team: &str,
        account: &str,
    ) -> Result<(TeamMember, String), PodError> {
        self.find_there(|view| verbs::find_team_member(view, by, team, account))
    }

    /// Adds a member of a team, or makes one what he was not.
    ///
    /// # Errors
    /// [`PodError::Organisation`].
    pub async fn put_team_member(
        &self,
        by: Acting,
        put: Placing<TeamRole>,
    ) -> Result<TeamMember, PodError> {
        self.organise(move |tx| {
            let Placing {
                group,
                account,
                role,
                if_revision,
                adds,
            } = &put;
            verbs::put_team_member(tx, &by, group, account, *role, *if_revision, *adds)
        })
        .await
    }

    /// Removes a member from a team.
    ///
    /// # Errors
    /// [`PodError::Organisation`].
    pub async fn remove_team_member(
        &self,
        by: Acting,
        team: String,
        account: String,
        if_revision: Option<u64>,
    ) -> Result<(), PodError> {
        self.organise(move |tx| verbs::remove_team_member(tx, &by, &team, &account, if_revision))
            .await
    }

    /// A page of what he belongs to: organisations, and teams as `Err`.
    ///
    /// # Errors
    /// [`OrganisationError::NoAccount`].
    pub fn memberships(
        &self,
        by: &Acting,
        part: &Part,
    ) -> Result<Page<Result<Member, TeamMember>>, PodError> {
        self.find_there(|view| verbs::memberships_of(view, by, part))
    }

    /// A page of invitations.
    ///
    /// # Errors
    /// [`PodError::Organisation`].
    pub fn invitations(
        &self,
        by: &Acting,
        which: &WhichInvitations,
        part: &Part,
    ) -> Result<Page<Invited>, PodError> {
        self.find_there(|view| match which {
            WhichInvitations::Sent => verbs::invitations_sent(view, by, part),
            WhichInvitations::Received => verbs::invitations_to(view, by, part),
            WhichInvitations::To(id) => verbs::invitations_of(view, by, id, part),
        })
    }

    /// An invitation.
    ///
    /// # Errors
    /// [`OrganisationError::Missing`].
    pub fn invitation(&self, by: &Acting, id: &str) -> Result<Invited, PodError> {
        self.find_there(|view| verbs::find_invitation(view, by, id))
    }
}

#[cfg(test)]
mod invitation_tests;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

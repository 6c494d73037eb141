//! Who may do what in an organisation and its teams: rules without a store.
//!
//! Nobody gives more than he has, and nobody takes from whoever stands as high as he does, but
//! owners from owners: they share the last word. Everybody may take from himself.

use serde::{Deserialize, Serialize};

/// What a member is in an organisation; each is all that stand before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum OrganisationRole {
    /// Sees who and what is there.
    #[default]
    Member,
    /// Invites and removes members, makes and changes teams.
    Admin,
    /// Names administrators and owners, changes and deletes the organisation.
    Owner,
}

/// What a member is in a team; each is all that stand before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum TeamRole {
    /// Reads what is the team's.
    #[default]
    Reader,
    /// Writes it.
    Writer,
    /// Adds and removes members of the team.
    Admin,
}

impl OrganisationRole {
    /// All, the lowest first.
    pub const ALL: [Self; 3] = [Self::Member, Self::Admin, Self::Owner];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

impl TeamRole {
    /// All, the lowest first.
    pub const ALL: [Self; 3] = [Self::Reader, Self::Writer, Self::Admin];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Admin => "admin",
        }
    }
}

/// What somebody is to an organisation, and to one of its teams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// May do everything on this server.
    pub server_admin: bool,
    /// What he is in the organisation, if a member.
    pub organisation: Option<OrganisationRole>,
    /// What he is in the team, if a member.
    pub team: Option<TeamRole>,
}

impl Standing {
    fn at_least(self, role: OrganisationRole) -> bool {
        self.server_admin || self.organisation >= Some(role)
    }

    /// Whether he may know that there is such an organisation, its teams and its members.
    #[must_use]
    pub fn sees(self) -> bool {
        self.at_least(OrganisationRole::Member)
    }

    /// Whether he may change its name and customs.
    #[must_use]
    pub fn changes_organisation(self) -> bool {
        self.at_least(OrganisationRole::Admin)
    }

    /// Whether he may delete it, and say what its domain is.
    #[must_use]
    pub fn owns_organisation(self) -> bool {
        self.at_least(OrganisationRole::Owner)
    }

    /// Whether he may make teams.
    #[must_use]
    pub fn makes_teams(self, by_members: bool) -> bool {
        self.at_least(OrganisationRole::Admin) || (by_members && self.sees())
    }

    /// Whether he may change the name of the team, and who belongs to it.
    #[must_use]
    pub fn changes_team(self) -> bool {
        let in_team = self.organisation.is_some() && self.team == Some(TeamRole::Admin);
        self.at_least(OrganisationRole::Admin) || in_team
    }

    /// Whether he may delete the team.
    #[must_use]
    pub fn deletes_team(self) -> bool {
        self.at_least(OrganisationRole::Admin)
    }

    /// Whether he may see who is invited, and invite somebody to be `role` in the organisation, or
    /// take such an invitation back.
    #[must_use]
    pub fn invites(self, role: OrganisationRole) -> bool {
        self.at_least(role.max(OrganisationRole::Admin))
    }

    /// Whether he may make a member `to` who is `from`, `None` being no member.
    #[must_use]
    pub fn changes_member(
        self,
        himself: bool,
        from: Option<OrganisationRole>,
        to: Option<OrganisationRole>,
    ) -> bool {
        use OrganisationRole::{Admin, Member, Owner};
        if self.server_admin {
            return true;
        }
        if himself {
            return to <= self.organisation && from == self.organisation;
        }
        match (self.organisation, from) {
            // Whoever is no member comes by his own will: invited, or by his address.
            (_, None) | (None | Some(Member), _) => false,
            (Some(Owner), Some(_)) => true,
            (Some(Admin), Some(from)) => from == Member && to <= Some(Admin),
        }
    }

    /// Whether he may make somebody in the team `to` who is `from`, `None` being not in it.
    #[must_use]
    pub fn changes_team_member(
        self,
        himself: bool,
        from: Option<TeamRole>,
        to: Option<TeamRole>,
    ) -> bool {
        self.changes_team() || (himself && from == self.team && to <= from)
    }
}

#[cfg(test)]
mod tests {
    use super::OrganisationRole::{Admin, Member, Owner};
    use super::*;

    const NOBODY: Standing = Standing {
        server_admin: false,
        organisation: None,
        team: None,
    };
    const ROOT: Standing = Standing {
        server_admin: true,
        ..NOBODY
    };

    fn is(role: OrganisationRole) -> Standing {
        Standing {
            organisation: Some(role),
            ..NOBODY
        }
    }

    fn in_team(role: OrganisationRole, team: TeamRole) -> Standing {
        Standing {
            team: Some(team),
            ..is(role)
        }
    }

    /// What each may: server administrator, owner, administrator, member, stranger.
    fn check(may: impl Fn(Standing) -> bool, expected: [bool; 5]) {
        let all = [ROOT, is(Owner), is(Admin), is(Member), NOBODY];
        assert_eq!(all.map(may), expected);
    }

    #[test]
    fn each_role_may_what_is_written() {
        check(Standing::sees, [true, true, true, true, false]);
        check(
            Standing::changes_organisation,
            [true, true, true, false, false],
        );
        check(
            Standing::owns_organisation,
            [true, true, false, false, false],
        );
        check(
            |who| who.makes_teams(false),
            [true, true, true, false, false],
        );
        check(|who| who.makes_teams(true), [true, true, true, true, false]);
        check(Standing::changes_team, [true, true, true, false, false]);
        check(Standing::deletes_team, [true, true, true, false, false]);
        check(|who| who.invites(Member), [true, true, true, false, false]);
        check(|who| who.invites(Admin), [true, true, true, false, false]);
        check(|who| who.invites(Owner), [true, true, false, false, false]);
    }

    #[test]
    fn nobody_gives_more_than_he_has_or_takes_from_his_equals() {
        let change = |from, to| move |who: Standing| who.changes_member(false, from, to);
        // In, without having been asked: nobody but a server administrator.
        check(
            change(None, Some(Member)),
            [true, false, false, false, false],
        );
        // Up.
        check(
            change(Some(Member), Some(Admin)),
            [true, true, true, false, false],
        );
        check(
            change(Some(Member), Some(Owner)),
            [true, true, false, false, false],
        );
        check(
            change(Some(Admin), Some(Owner)),
            [true, true, false, false, false],
        );
        // Down and out.
        check(change(Some(Member), None), [true, true, true, false, false]);
        check(
            change(Some(Admin), Some(Member)),
            [true, true, false, false, false],
        );
        check(change(Some(Admin), None), [true, true, false, false, false]);
        check(
            change(Some(Owner), Some(Admin)),
            [true, true, false, false, false],
        );
        check(change(Some(Owner), None), [true, true, false, false, false]);
    }

    #[test]
    fn everybody_may_step_down_and_leave_and_nobody_raises_himself() {
        for own in OrganisationRole::ALL {
            assert!(is(own).changes_member(true, Some(own), None));
            for to in OrganisationRole::ALL {
                assert_eq!(is(own).changes_member(true, Some(own), Some(to)), to <= own);
            }
        }
        assert!(!NOBODY.changes_member(true, None, Some(Member)));
        for own in TeamRole::ALL {
            let who = in_team(Member, own);
            assert!(who.changes_team_member(true, Some(own), None));
            for to in TeamRole::ALL {
                let may = own == TeamRole::Admin || to <= own;
                assert_eq!(who.changes_team_member(true, Some(own), Some(to)), may);
            }
        }
        assert!(!is(Member).changes_team_member(true, None, Some(TeamRole::Reader)));
    }

    #[test]
    fn a_team_is_kept_by_its_administrators_and_those_of_the_organisation() {
        let (reader, writer) = (Some(TeamRole::Reader), Some(TeamRole::Writer));
        for from in [None, reader, writer, Some(TeamRole::Admin)] {
            for to in [None, reader, writer, Some(TeamRole::Admin)] {
                let may = |who: Standing| who.changes_team_member(false, from, to);
                check(may, [true, true, true, false, false]);
                assert!(may(in_team(Member, TeamRole::Admin)));
                assert!(!may(in_team(Member, TeamRole::Writer)));
            }
        }
        let keeper = in_team(Member, TeamRole::Admin);
        assert!(keeper.changes_team() && !keeper.deletes_team());
        assert!(!keeper.invites(Member) && !keeper.changes_organisation());
        let gone = Standing {
            organisation: None,
            ..keeper
        };
        assert!(!gone.changes_team() && !gone.sees());
    }
}

//! What organisations should be: maps without a store, and what each operation does to them.

use std::collections::{BTreeMap, BTreeSet};

use adea_accounts::organisations::{OrganisationRole, Standing, TeamRole};

/// What there may be in these tests: little, so that it is used up.
pub(super) const MEMBERS: usize = 4;
pub(super) const TEAMS: usize = 2;
pub(super) const INVITATIONS: usize = 2;
pub(super) const OWNED: usize = 2;
pub(super) const MEMBERSHIPS: usize = 6;
/// For how many operations an invitation is good.
pub(super) const LASTS: u64 = 25;
/// Accounts; the last one has not verified its address.
pub(super) const ACCOUNTS: usize = 5;

/// Who does it: a server administrator, or an account.
pub(super) type By = Option<usize>;

/// An operation. Organisations, teams and invitations are named by the place that their ids are
/// kept in; places are used again.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Create {
        by: usize,
        at: usize,
        name: u8,
    },
    Rename {
        by: By,
        at: usize,
        name: u8,
    },
    Close {
        by: By,
        at: usize,
    },
    CreateTeam {
        by: By,
        of: usize,
        at: usize,
        name: u8,
    },
    CloseTeam {
        by: By,
        at: usize,
    },
    Put {
        by: By,
        of: usize,
        who: usize,
        role: OrganisationRole,
        adds: bool,
    },
    Remove {
        by: By,
        of: usize,
        who: usize,
    },
    PutInTeam {
        by: By,
        of: usize,
        who: usize,
        role: TeamRole,
        adds: bool,
    },
    RemoveFromTeam {
        by: By,
        of: usize,
        who: usize,
    },
    Invite {
        by: By,
        of: usize,
        team: Option<usize>,
        role: OrganisationRole,
        team_role: TeamRole,
        who: usize,
        at: usize,
    },
    Accept {
        who: usize,
        at: usize,
    },
    Decline {
        at: usize,
    },
    Revoke {
        by: By,
        at: usize,
    },
    Forget {
        who: usize,
    },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Organisation {
    pub(super) name: u8,
    /// What each is, and since when.
    pub(super) members: BTreeMap<usize, (OrganisationRole, u64)>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Team {
    pub(super) organisation: String,
    pub(super) name: u8,
    pub(super) members: BTreeMap<usize, TeamRole>,
}

#[derive(Clone, Debug)]
pub(super) struct Invitation {
    organisation: String,
    team: Option<String>,
    role: OrganisationRole,
    team_role: TeamRole,
    address: usize,
    inviter: By,
    ended: bool,
    expires: u64,
}

/// All there is.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) organisations: BTreeMap<String, Organisation>,
    pub(super) teams: BTreeMap<String, Team>,
    pub(super) invitations: BTreeMap<String, Invitation>,
    pub(super) verified: BTreeSet<usize>,
    organisation_at: BTreeMap<usize, String>,
    team_at: BTreeMap<usize, String>,
    invitation_at: BTreeMap<usize, String>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            verified: (0..ACCOUNTS - 1).collect(),
            ..Self::default()
        }
    }

    fn organisation(&self, at: usize) -> Option<(&String, &Organisation)> {
        self.organisations
            .get_key_value(self.organisation_at.get(&at)?)
    }

    fn team(&self, at: usize) -> Option<(&String, &Team)> {
        self.teams.get_key_value(self.team_at.get(&at)?)
    }

    fn standing(&self, by: By, organisation: &str, team: Option<&str>) -> Standing {
        let group = self.organisations.get(organisation);
        let member = by.and_then(|by| group?.members.get(&by));
        let in_team = team.and_then(|team| self.teams.get(team)?.members.get(&by?));
        Standing {
            server_admin: by.is_none(),
            organisation: member.map(|(role, _)| *role),
            team: in_team.copied(),
        }
    }

    fn memberships(&self, who: usize) -> usize {
        let organisations = self.organisations.values();
        let teams = self.teams.values();
        organisations
            .filter(|of| of.members.contains_key(&who))
            .count()
            + teams.filter(|of| of.members.contains_key(&who)).count()
    }

    fn owners(of: &Organisation) -> usize {
        let roles = of.members.values();
        roles
            .filter(|(role, _)| *role == OrganisationRole::Owner)
            .count()
    }

    fn is_last_owner(of: &Organisation, who: usize) -> bool {
        let role = of.members.get(&who).map(|(role, _)| *role);
        role == Some(OrganisationRole::Owner) && Self::owners(of) == 1
    }

    fn open_invitations(&self, organisation: &str, now: u64) -> usize {
        let all = self.invitations.values();
        let of = all.filter(|one| one.organisation == organisation && !one.ended);
        of.filter(|one| now < one.expires).count()
    }

    /// Whether the operation is to be done.
    pub(super) fn allows(&self, op: &Op, now: u64) -> bool {
        self.permits(op, now).is_some_and(|yes| yes)
    }

    #[expect(clippy::too_many_lines, reason = "a table: one row for each operation")]
    fn permits(&self, op: &Op, now: u64) -> Option<bool> {
        Some(match *op {
            Op::Create { by, name, .. } => {
                let own = (self.organisations.values())
                    .filter(|of| of.members.get(&by).map(|m| m.0) == Some(OrganisationRole::Owner))
                    .count();
                own < OWNED
                    && self.memberships(by) < MEMBERSHIPS
                    && self.organisations.values().all(|of| of.name != name)
            }
            Op::Rename { by, at, name } => {
                let (id, _) = self.organisation(at)?;
                let mut others = self.organisations.iter().filter(|(other, _)| *other != id);
                self.standing(by, id, None).changes_organisation()
                    && others.all(|(_, of)| of.name != name)
            }
            Op::Close { by, at } => self
                .standing(by, self.organisation(at)?.0, None)
                .owns_organisation(),
            Op::CreateTeam { by, of, name, .. } => {
                let (id, group) = self.organisation(of)?;
                let mut teams = self.teams.values().filter(|team| team.organisation == *id);
                let room = by.is_none_or(|by| {
                    !group.members.contains_key(&by) || self.memberships(by) < MEMBERSHIPS
                });
                self.standing(by, id, None).makes_teams(false)
                    && teams.clone().count() < TEAMS
                    && teams.all(|team| team.name != name)
                    && room
            }
            Op::CloseTeam { by, at } => {
                let (_, team) = self.team(at)?;
                self.standing(by, &team.organisation, None).deletes_team()
            }
            Op::Put {
                by,
                of,
                who,
                role,
                adds,
            } => {
                let (id, group) = self.organisation(of)?;
                let from = group.members.get(&who).map(|(role, _)| *role);
                let standing = self.standing(by, id, None);
                let may =
                    standing.sees() && standing.changes_member(by == Some(who), from, Some(role));
                let new =
                    adds && group.members.len() < MEMBERS && self.memberships(who) < MEMBERSHIPS;
                let keeps = role == OrganisationRole::Owner || !Self::is_last_owner(group, who);
                may && if from.is_some() { keeps } else { new }
            }
            Op::Remove { by, of, who } => {
                let (id, group) = self.organisation(of)?;
                let from = Some(group.members.get(&who)?.0);
                let standing = self.standing(by, id, None);
                standing.sees()
                    && standing.changes_member(by == Some(who), from, None)
                    && !Self::is_last_owner(group, who)
            }
            Op::PutInTeam {
                by,
                of,
                who,
                role,
                adds,
            } => {
                let (id, team) = self.team(of)?;
                let from = team.members.get(&who).copied();
                let standing = self.standing(by, &team.organisation, Some(id));
                let group = self.organisations.get(&team.organisation)?;
                let new =
                    adds && group.members.contains_key(&who) && self.memberships(who) < MEMBERSHIPS;
                standing.sees()
                    && standing.changes_team_member(by == Some(who), from, Some(role))
                    && (from.is_some() || new)
            }
            Op::RemoveFromTeam { by, of, who } => {
                let (id, team) = self.team(of)?;
                let from = Some(*team.members.get(&who)?);
                let standing = self.standing(by, &team.organisation, Some(id));
                standing.sees() && standing.changes_team_member(by == Some(who), from, None)
            }
            Op::Invite {
                by,
                of,
                team,
                role,
                who,
                ..
            } => {
                let (id, team) = self.invited_to(of, team)?;
                let mut open = self
                    .invitations
                    .values()
                    .filter(|one| one.organisation == id && one.team == team && one.address == who);
                self.standing(by, &id, None).invites(role)
                    && by.is_none_or(|by| self.verified.contains(&by))
                    && open.all(|one| one.ended || one.expires <= now)
                    && self.open_invitations(&id, now) < INVITATIONS
            }
            Op::Accept { who, at } => self.may_accept(who, self.invited(at)?, now)?,
            Op::Decline { at } => self.is_open(self.invited(at)?, now),
            Op::Revoke { by, at } => {
                let one = self.invited(at)?;
                let standing = self.standing(by, &one.organisation, None);
                standing.invites(one.role) && !one.ended
            }
            Op::Forget { .. } => true,
        })
    }

    fn invited_to(&self, of: usize, team: Option<usize>) -> Option<(String, Option<String>)> {
        match team {
            None => Some((self.organisation(of)?.0.clone(), None)),
            Some(at) => {
                let (id, team) = self.team(at)?;
                Some((team.organisation.clone(), Some(id.clone())))
            }
        }
    }

    fn invited(&self, at: usize) -> Option<&Invitation> {
        self.invitations.get(self.invitation_at.get(&at)?)
    }

    fn is_open(&self, one: &Invitation, now: u64) -> bool {
        let may = one.inviter.is_none()
            || self
                .standing(one.inviter, &one.organisation, None)
                .invites(one.role);
        !one.ended && now < one.expires && may
    }

    fn may_accept(&self, who: usize, one: &Invitation, now: u64) -> Option<bool> {
        let group = self.organisations.get(&one.organisation)?;
        let inside = group.members.contains_key(&who);
        let team = one.team.as_ref().map(|team| &self.teams[team]);
        let in_team = team.is_none_or(|team| team.members.contains_key(&who));
        let wanted = usize::from(!inside) + usize::from(!in_team);
        let room = wanted == 0 || self.memberships(who) + wanted <= MEMBERSHIPS;
        let verified = self.verified.contains(&who) || one.address == who;
        let fits = inside || group.members.len() < MEMBERS;
        Some(self.is_open(one, now) && verified && fits && room)
    }

    /// Does an operation that is allowed; `id` is that of what it made.
    #[expect(clippy::too_many_lines, reason = "a table: one row for each operation")]
    pub(super) fn apply(&mut self, op: &Op, now: u64, id: &str) {
        match *op {
            Op::Create { by, at, name } => {
                let members = [(by, (OrganisationRole::Owner, now))].into();
                let made = Organisation { name, members };
                self.organisations.insert(id.to_owned(), made);
                self.organisation_at.insert(at, id.to_owned());
            }
            Op::Rename { at, name, .. } => {
                let id = &self.organisation_at[&at];
                self.organisations.get_mut(id).unwrap().name = name;
            }
            Op::Close { at, .. } => {
                let id = self.organisation_at[&at].clone();
                self.close(&id);
            }
            Op::CreateTeam { by, of, at, name } => {
                let organisation = self.organisation_at[&of].clone();
                let group = &self.organisations[&organisation];
                let maker = by.filter(|by| group.members.contains_key(by));
                let members = maker.map(|by| (by, TeamRole::Admin)).into_iter().collect();
                let made = Team {
                    organisation,
                    name,
                    members,
                };
                self.teams.insert(id.to_owned(), made);
                self.team_at.insert(at, id.to_owned());
            }
            Op::CloseTeam { at, .. } => {
                let id = self.team_at[&at].clone();
                self.teams.remove(&id);
                self.invitations
                    .retain(|_, one| one.team.as_ref() != Some(&id));
            }
            Op::Put { of, who, role, .. } => {
                let id = &self.organisation_at[&of];
                let members = &mut self.organisations.get_mut(id).unwrap().members;
                members.entry(who).or_insert((role, now)).0 = role;
            }
            Op::Remove { of, who, .. } => {
                let id = self.organisation_at[&of].clone();
                self.organisations
                    .get_mut(&id)
                    .unwrap()
                    .members
                    .remove(&who);
                let teams = self
                    .teams
                    .values_mut()
                    .filter(|team| team.organisation == id);
                for team in teams {
                    team.members.remove(&who);
                }
            }
            Op::PutInTeam { of, who, role, .. } => {
                let id = &self.team_at[&of];
                self.teams.get_mut(id).unwrap().members.insert(who, role);
            }
            Op::RemoveFromTeam { of, who, .. } => {
                let id = &self.team_at[&of];
                self.teams.get_mut(id).unwrap().members.remove(&who);
            }
            Op::Invite {
                by,
                of,
                team,
                role,
                team_role,
                who,
                at,
            } => {
                let (organisation, team) = self.invited_to(of, team).unwrap();
                let mut all = self.invitations.values();
                let full = all
                    .by_ref()
                    .filter(|one| one.organisation == organisation && !one.ended);
                if full.count() >= INVITATIONS {
                    self.invitations.retain(|_, one| {
                        one.organisation != organisation || one.ended || now < one.expires
                    });
                }
                let (inviter, expires) = (by, now + LASTS);
                let made = Invitation {
                    organisation,
                    team,
                    role,
                    team_role,
                    address: who,
                    inviter,
                    ended: false,
                    expires,
                };
                self.invitations.insert(id.to_owned(), made);
                self.invitation_at.insert(at, id.to_owned());
            }
            Op::Accept { who, at } => {
                let id = self.invitation_at[&at].clone();
                let one = self.invitations.get_mut(&id).unwrap();
                one.ended = true;
                let one = one.clone();
                if one.address == who {
                    self.verified.insert(who);
                }
                let group = self.organisations.get_mut(&one.organisation).unwrap();
                let role = &mut group.members.entry(who).or_insert((one.role, now)).0;
                *role = (*role).max(one.role);
                if let Some(team) = &one.team {
                    let members = &mut self.teams.get_mut(team).unwrap().members;
                    let role = members.entry(who).or_insert(one.team_role);
                    *role = (*role).max(one.team_role);
                }
            }
            Op::Decline { at } | Op::Revoke { at, .. } => {
                let id = &self.invitation_at[&at];
                self.invitations.get_mut(id).unwrap().ended = true;
            }
            Op::Forget { who } => self.forget(who),
        }
    }

    fn close(&mut self, id: &str) {
        self.organisations.remove(id);
        self.teams.retain(|_, team| team.organisation != id);
        self.invitations.retain(|_, one| one.organisation != id);
    }

    fn forget(&mut self, who: usize) {
        for team in self.teams.values_mut() {
            team.members.remove(&who);
        }
        for id in self.organisations.keys().cloned().collect::<Vec<_>>() {
            let group = self.organisations.get_mut(&id).unwrap();
            if group.members.remove(&who).is_none() {
                continue;
            }
            if group.members.is_empty() {
                self.close(&id);
            } else if Self::owners(group) == 0 {
                let admins = group.members.values_mut();
                let admins = admins.filter(|(role, _)| *role == OrganisationRole::Admin);
                if let Some(heir) = admins.min_by_key(|(_, since)| *since) {
                    heir.0 = OrganisationRole::Owner;
                }
            }
        }
        self.invitations
            .retain(|_, one| one.inviter != Some(who) && !(one.address == who && one.ended));
    }

    /// The roles that an account should have.
    pub(super) fn roles(&self, who: usize) -> BTreeSet<String> {
        let mut roles = BTreeSet::new();
        for (id, group) in &self.organisations {
            if let Some((role, _)) = group.members.get(&who) {
                roles.insert(format!("org:{id}"));
                let held = OrganisationRole::ALL
                    .into_iter()
                    .filter(|held| held <= role);
                roles.extend(held.map(|held| format!("org:{id}:{}", held.word())));
            }
        }
        for (id, team) in &self.teams {
            if let Some(role) = team.members.get(&who) {
                roles.insert(format!("team:{id}"));
                let held = TeamRole::ALL.into_iter().filter(|held| held <= role);
                roles.extend(held.map(|held| format!("team:{id}:{}", held.word())));
            }
        }
        roles
    }
}

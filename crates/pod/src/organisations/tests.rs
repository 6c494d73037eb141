//! Organisations under many hands at once, against a model that knows no store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use adea_accounts::directory::{self, AccountRecord, Address};
use adea_accounts::organisations::{
    self as verbs, Acting, Claim, Decided, Limits, NewInvitation, NewOrganisation, NewTeam,
    OrganisationChange, OrganisationRole, Part, TeamRole, roles_of,
};
use adea_base::Entropy;
use adea_store::key::ACCOUNTS;
use adea_store::{Direction, KeyRange, Memory, Space, Transaction};
use parking_lot::Mutex;
use proptest::prelude::*;

use super::model::{
    ACCOUNTS as PEOPLE, By, INVITATIONS, LASTS, MEMBERS, MEMBERSHIPS, Model, OWNED, Op, TEAMS,
};
use super::*;
use crate::write_user::tests::{over, pod};

/// The id of an account of these tests.
pub(super) fn id_of(who: usize) -> String {
    let letter = char::from(b'a' + u8::try_from(who % 26).unwrap());
    let second = char::from(b'a' + u8::try_from(who / 26).unwrap());
    format!("{}{second}", String::from(letter).repeat(25))
}

fn record(who: usize, users: u64, verified: bool) -> AccountRecord {
    let normal = format!("a{who}@example.org");
    AccountRecord {
        id: id_of(who),
        name: format!("user{who}"),
        users,
        addresses: vec![Address {
            address: normal.clone(),
            normal,
            verified_ms: verified.then_some(1),
        }],
        ..AccountRecord::default()
    }
}

/// A pod with so many accounts, of which the last has not verified its address.
pub(super) async fn peopled(pod: &Pod, people: usize) {
    let users = pod.users_number().unwrap().0;
    let made = pod.organise(move |tx| {
        for who in 0..people {
            directory::store(tx, None, &record(who, users, who + 1 < people))?;
        }
        Ok(())
    });
    made.await.unwrap();
}

pub(super) fn acting(pod: &Pod, by: By, now_ms: u64) -> Acting {
    Acting {
        account: by.map(id_of),
        name: by.map_or_else(|| "root".to_owned(), |by| format!("user{by}")),
        admin: by.is_none(),
        users: pod.users_number().unwrap().0,
        address: "192.0.2.1".to_owned(),
        now_ms,
        entropy: Entropy::System,
        limits: Limits {
            owned: u32::try_from(OWNED).unwrap(),
            members: u32::try_from(MEMBERS).unwrap(),
            teams: u32::try_from(TEAMS).unwrap(),
            invitations: u32::try_from(INVITATIONS).unwrap(),
            memberships: u32::try_from(MEMBERSHIPS).unwrap(),
            invitation_ms: LASTS,
            ..Limits::default()
        },
    }
}

/// Ids by place, as transactions have made them.
#[derive(Clone, Default)]
struct Places {
    organisations: BTreeMap<usize, String>,
    teams: BTreeMap<usize, String>,
    /// With the secret of each.
    invitations: BTreeMap<usize, (String, String)>,
}

fn at<T: Clone>(places: &BTreeMap<usize, T>, place: usize) -> Result<T, OrganisationError> {
    places
        .get(&place)
        .cloned()
        .ok_or(OrganisationError::Missing)
}

/// Does an operation in a transaction; answers the id of what it made.
#[expect(clippy::too_many_lines, reason = "a table: one row for each operation")]
fn perform(
    tx: &mut Transaction<'_>,
    by: &Acting,
    places: &Mutex<Places>,
    op: &Op,
) -> Decided<String> {
    let mut places = places.lock();
    match op {
        Op::Create { at, name, .. } => {
            let name = format!("Org {name}");
            let new = NewOrganisation {
                name,
                ..NewOrganisation::default()
            };
            let id = verbs::create_organisation(tx, by, &new)?.id;
            places.organisations.insert(*at, id.clone());
            return Ok(id);
        }
        Op::Rename {
            at: place, name, ..
        } => {
            // The same name to the eye: it is as taken as its like.
            let name = Some(format!("ОRG  {name}"));
            let change = OrganisationChange {
                name,
                ..OrganisationChange::default()
            };
            let id = at(&places.organisations, *place)?;
            verbs::change_organisation(tx, by, &id, &change)?;
        }
        Op::Close { at: place, .. } => {
            let id = at(&places.organisations, *place)?;
            verbs::close_organisation(tx, by, &id, None)?;
        }
        Op::CreateTeam {
            of,
            at: place,
            name,
            ..
        } => {
            let organisation = at(&places.organisations, *of)?;
            let new = NewTeam {
                organisation,
                name: format!("Team {name}"),
            };
            let id = verbs::create_team(tx, by, &new)?.id;
            places.teams.insert(*place, id.clone());
            return Ok(id);
        }
        Op::CloseTeam { at: place, .. } => {
            verbs::close_team(tx, by, &at(&places.teams, *place)?, None)?;
        }
        Op::Put {
            of,
            who,
            role,
            adds,
            ..
        } => {
            let id = at(&places.organisations, *of)?;
            verbs::put_member(tx, by, &id, &id_of(*who), *role, None, *adds)?;
        }
        Op::Remove { of, who, .. } => {
            let id = at(&places.organisations, *of)?;
            verbs::remove_member(tx, by, &id, &id_of(*who), None)?;
        }
        Op::PutInTeam {
            of,
            who,
            role,
            adds,
            ..
        } => {
            let id = at(&places.teams, *of)?;
            verbs::put_team_member(tx, by, &id, &id_of(*who), *role, None, *adds)?;
        }
        Op::RemoveFromTeam { of, who, .. } => {
            let id = at(&places.teams, *of)?;
            verbs::remove_team_member(tx, by, &id, &id_of(*who), None)?;
        }
        Op::Invite {
            of,
            team,
            role,
            team_role,
            who,
            at: place,
            ..
        } => {
            let new = NewInvitation {
                organisation: match team {
                    None => at(&places.organisations, *of)?,
                    Some(_) => String::new(),
                },
                team: team.map(|team| at(&places.teams, team)).transpose()?,
                role: *role,
                team_role: *team_role,
                address: format!("A{who}@Example.org"),
                language: String::new(),
            };
            let made = verbs::invite(tx, by, &new)?;
            let id = made.invited.invitation.id;
            places.invitations.insert(*place, (id.clone(), made.secret));
            return Ok(id);
        }
        Op::Accept { at: place, .. } => {
            let (_, secret) = at(&places.invitations, *place)?;
            verbs::accept(tx, by, &Claim::Secret(secret))?;
        }
        Op::Decline { at: place } => {
            let (_, secret) = at(&places.invitations, *place)?;
            verbs::decline(tx, by, &Claim::Secret(secret))?;
        }
        Op::Revoke { at: place, .. } => {
            let (id, _) = at(&places.invitations, *place)?;
            verbs::revoke(tx, by, &id)?;
        }
        Op::Forget { who } => verbs::forget_account(tx, &id_of(*who))?,
    }
    Ok(String::new())
}

fn who_does(op: &Op) -> By {
    match op {
        Op::Create { by, .. } | Op::Accept { who: by, .. } | Op::Forget { who: by } => Some(*by),
        Op::Decline { .. } => Some(0),
        Op::Rename { by, .. }
        | Op::Close { by, .. }
        | Op::CreateTeam { by, .. }
        | Op::CloseTeam { by, .. }
        | Op::Put { by, .. }
        | Op::Remove { by, .. }
        | Op::PutInTeam { by, .. }
        | Op::RemoveFromTeam { by, .. }
        | Op::Invite { by, .. }
        | Op::Revoke { by, .. } => *by,
    }
}

/// How many keys of a kind there are.
pub(super) fn keys(pod: &Pod, kind: u8) -> usize {
    let view = pod.view();
    let range = KeyRange::prefix(&[ACCOUNTS, kind]);
    let mut cursor = view.range(Space::Index, range, Direction::Forward).unwrap();
    let mut count = 0;
    while cursor.next().unwrap().is_some() {
        count += 1;
    }
    count
}

fn roles(pod: &Pod, who: usize) -> BTreeSet<String> {
    let mut roles = Vec::new();
    roles_of(pod.view().as_ref(), &id_of(who), &mut roles).unwrap();
    let count = roles.len();
    let roles: BTreeSet<String> = roles.into_iter().collect();
    assert_eq!(roles.len(), count, "no role twice");
    roles
}

/// What is stored is what the model holds, and nothing besides.
fn compare(pod: &Pod, model: &Model) {
    for who in 0..PEOPLE {
        assert_eq!(roles(pod, who), model.roles(who), "account {who}");
    }
    let root = acting(pod, None, 0);
    let whole = Part::new(1_000, None).unwrap();
    let all = pod
        .organisations(&root, WhichOrganisations::All, &whole)
        .unwrap();
    let ids: Vec<&String> = all.items.iter().map(|(found, _)| &found.id).collect();
    assert_eq!(ids, model.organisations.keys().collect::<Vec<_>>());
    for (found, _) in &all.items {
        let wanted = &model.organisations[&found.id];
        let members = pod.members(&root, &found.id, &whole).unwrap().items;
        let members = members
            .into_iter()
            .map(|(member, _)| (member.account, member.role));
        let expected = wanted
            .members
            .iter()
            .map(|(who, (role, _))| (id_of(*who), *role));
        assert!(members.eq(expected));
        let counts = (found.counts.members as usize, found.counts.teams as usize);
        let teams = model
            .teams
            .values()
            .filter(|team| team.organisation == found.id);
        assert_eq!(counts, (wanted.members.len(), teams.count()));
    }
    let in_organisations = model.organisations.values().map(|of| of.members.len());
    let in_teams = model.teams.values().map(|of| of.members.len());
    let memberships: usize = in_organisations.chain(in_teams).sum();
    // Records, the ways to them, and nothing that is closing: what each kind is stands in the
    // list of keys, whose numbers are for ever.
    let (organisations, teams) = (model.organisations.len(), model.teams.len());
    for (kind, expected) in [
        (20, organisations),
        (21, teams),
        (22, teams),
        (23, memberships),
        (24, memberships),
        (25, model.invitations.len()),
        (27, organisations),
        (29, model.invitations.len()),
        (30, model.invitations.len()),
        (31, 0),
    ] {
        assert_eq!(keys(pod, kind), expected, "keys of kind {kind}");
    }
}

async fn agree(ops: Vec<Op>, together: usize) {
    let pod = pod().await;
    peopled(&pod, PEOPLE).await;
    let (mut model, places) = (Model::new(), Arc::new(Mutex::new(Places::default())));
    let mut now = 0;
    for group in ops.chunks(together) {
        // None is waited for before all are on their way, so that they share a group.
        let mut running = Vec::new();
        for op in group {
            now += 1;
            let (by, op_, places) = (acting(&pod, who_does(op), now), op.clone(), places.clone());
            let decide = move |tx: &mut Transaction<'_>| perform(tx, &by, &places, &op_);
            running.push((op, now, pod.inner.store.submit(Pod::permit(), decide)));
        }
        for (op, now, running) in running {
            let answer = running.await;
            let allowed = model.allows(op, now);
            assert_eq!(
                answer.is_ok(),
                allowed,
                "{op:?} at {now}: {answer:?}\n{model:#?}"
            );
            if let Ok(id) = answer {
                model.apply(op, now, &id);
            }
        }
    }
    compare(&pod, &model);
    for group in model.organisations.values() {
        assert!(group.members.len() <= MEMBERS);
    }
}

fn role() -> impl Strategy<Value = OrganisationRole> {
    proptest::sample::select(OrganisationRole::ALL.to_vec())
}

fn team_role() -> impl Strategy<Value = TeamRole> {
    proptest::sample::select(TeamRole::ALL.to_vec())
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![2 => Just(None), 3 => (0..PEOPLE).prop_map(Some)]
}

fn operation() -> impl Strategy<Value = Op> {
    let (place, who, name) = (0..3usize, 0..PEOPLE, 0..3u8);
    prop_oneof![
        16 => (who.clone(), place.clone(), name.clone())
            .prop_map(|(by, at, name)| Op::Create { by, at, name }),
        4 => (by(), place.clone(), name.clone()).prop_map(|(by, at, name)| Op::Rename { by, at, name }),
        1 => (by(), place.clone()).prop_map(|(by, at)| Op::Close { by, at }),
        16 => (by(), place.clone(), place.clone(), name)
            .prop_map(|(by, of, at, name)| Op::CreateTeam { by, of, at, name }),
        4 => (by(), place.clone()).prop_map(|(by, at)| Op::CloseTeam { by, at }),
        20 => (by(), place.clone(), who.clone(), role(), proptest::bool::weighted(0.8))
            .prop_map(|(by, of, who, role, adds)| Op::Put { by, of, who, role, adds }),
        12 => (by(), place.clone(), who.clone()).prop_map(|(by, of, who)| Op::Remove { by, of, who }),
        20 => (by(), place.clone(), who.clone(), team_role(), proptest::bool::weighted(0.8))
            .prop_map(|(by, of, who, role, adds)| Op::PutInTeam { by, of, who, role, adds }),
        8 => (by(), place.clone(), who.clone())
            .prop_map(|(by, of, who)| Op::RemoveFromTeam { by, of, who }),
        24 => (by(), place.clone(), proptest::option::of(place.clone()), role(), team_role(), who.clone(), place.clone())
            .prop_map(|(by, of, team, role, team_role, who, at)| {
                let role = if team.is_some() { OrganisationRole::Member } else { role };
                Op::Invite { by, of, team, role, team_role, who, at }
            }),
        24 => (who.clone(), place.clone()).prop_map(|(who, at)| Op::Accept { who, at }),
        4 => place.clone().prop_map(|at| Op::Decline { at }),
        4 => (by(), place).prop_map(|(by, at)| Op::Revoke { by, at }),
        1 => who.prop_map(|who| Op::Forget { who }),
    ]
}

/// Something to begin with, so that most operations have something to work on.
fn beginning() -> Vec<Op> {
    let mut ops = Vec::new();
    for at in 0..3u8 {
        let (by, place) = (usize::from(at), usize::from(at));
        ops.push(Op::Create {
            by,
            at: place,
            name: at,
        });
        ops.push(Op::CreateTeam {
            by: Some(by),
            of: place,
            at: place,
            name: at,
        });
    }
    ops
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever many do at once, what is there is what one after the other would have made.
    #[test]
    fn organisations_are_what_the_model_says(
        ops in proptest::collection::vec(operation(), 1..160),
        together in 1usize..40,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ops = beginning().into_iter().chain(ops).collect();
        runtime.block_on(agree(ops, together));
    }
}

/// An organisation with so many members that it is not removed in one commit.
async fn large(pod: &Pod, people: usize) -> (String, String) {
    let mut by = acting(pod, None, 1);
    by.limits = Limits::default();
    let owner = Some(id_of(0));
    let new = NewOrganisation {
        name: "Large".into(),
        app: String::new(),
        owner,
    };
    let id = pod.create_organisation(by.clone(), new).await.unwrap().id;
    let new = NewTeam {
        organisation: id.clone(),
        name: "All".into(),
    };
    let team = pod.create_team(by.clone(), new).await.unwrap().id;
    let (group, in_team) = (id.clone(), team.clone());
    let filled = pod.organise(move |tx| {
        for who in 0..people {
            let account = id_of(who);
            if who > 0 {
                verbs::put_member(
                    tx,
                    &by,
                    &group,
                    &account,
                    OrganisationRole::Member,
                    None,
                    true,
                )?;
            }
            verbs::put_team_member(tx, &by, &in_team, &account, TeamRole::Writer, None, true)?;
        }
        Ok(())
    });
    filled.await.unwrap();
    (id, team)
}

#[tokio::test]
async fn a_deletion_takes_all_roles_at_once_and_is_finished_after_a_restart() {
    const MANY: usize = 500;
    let engine = Arc::new(Memory::new());
    let pod = over(engine.clone()).await;
    peopled(&pod, MANY).await;
    let (id, team) = large(&pod, MANY).await;
    let held = roles(&pod, MANY - 1);
    assert!(held.contains(&format!("team:{team}:writer")) && held.contains(&format!("org:{id}")));
    let before = directory::version(pod.view().as_ref()).unwrap();
    let owner = acting(&pod, Some(0), 2);
    let gone = id.clone();
    let closed = pod.organise(move |tx| verbs::close_organisation(tx, &owner, &gone, None));
    closed.await.unwrap();
    assert!(directory::version(pod.view().as_ref()).unwrap() > before);
    assert!(
        keys(&pod, 23) > 0 && keys(&pod, 31) == 1,
        "it takes more than one commit"
    );
    for who in 0..MANY {
        assert!(roles(&pod, who).is_empty(), "account {who}");
    }
    let root = acting(&pod, None, 3);
    assert!(pod.organisation(&root, &id).is_err() && pod.team(&root, &team).is_err());
    pod.close();

    let pod = over(engine).await;
    assert!(roles(&pod, MANY - 1).is_empty());
    pod.tidy_organisations().await.unwrap();
    for kind in [20, 21, 22, 23, 24, 25, 26, 27, 31] {
        assert_eq!(keys(&pod, kind), 0, "keys of kind {kind}");
    }
    // The name is free again.
    let new = NewOrganisation {
        name: "large".into(),
        ..NewOrganisation::default()
    };
    let made = pod.create_organisation(acting(&pod, Some(0), 4), new).await;
    assert_eq!(made.unwrap().name, "large");
}

#[tokio::test]
async fn deleting_a_team_takes_its_roles_and_no_others() {
    let pod = pod().await;
    peopled(&pod, 300).await;
    let (id, team) = large(&pod, 300).await;
    pod.delete_team(acting(&pod, Some(0), 2), team, None)
        .await
        .unwrap();
    let expected: BTreeSet<String> = [format!("org:{id}"), format!("org:{id}:member")].into();
    assert_eq!(roles(&pod, 299), expected);
    assert_eq!(
        (keys(&pod, 21), keys(&pod, 23), keys(&pod, 31)),
        (0, 300, 0)
    );
}

#[tokio::test]
async fn an_invitation_that_is_answered_and_revoked_at_once_ends_once() {
    for round in 0..20u64 {
        let pod = pod().await;
        peopled(&pod, 6).await;
        let new = NewOrganisation {
            name: "A".into(),
            ..NewOrganisation::default()
        };
        let by = acting(&pod, Some(0), 1);
        let id = pod.create_organisation(by.clone(), new).await.unwrap().id;
        let new = NewInvitation {
            organisation: id.clone(),
            address: "a1@example.org".into(),
            ..NewInvitation::default()
        };
        let made = pod
            .organise(move |tx| verbs::invite(tx, &by, &new))
            .await
            .unwrap();
        let (secret, invitation) = (made.secret, made.invited.invitation.id);
        let mut running = Vec::new();
        for n in 0..6u64 {
            let (secret, invitation) = (secret.clone(), invitation.clone());
            let turn = (n + round) % 3;
            let by = acting(&pod, Some(if turn == 0 { 1 } else { 0 }), 2);
            running.push(pod.inner.store.submit(Pod::permit(), move |tx| {
                let claim = Claim::Secret(secret);
                match turn {
                    0 => verbs::accept(tx, &by, &claim).map(|_| ()),
                    1 => verbs::revoke(tx, &by, &invitation).map(|_| ()),
                    _ => verbs::decline(tx, &by, &claim).map(|_| ()),
                }
            }));
        }
        let mut done = Vec::new();
        for (n, answer) in running.into_iter().enumerate() {
            match answer.await {
                Ok(()) => done.push((n as u64 + round) % 3),
                Err(TransactError::Refused(error)) => {
                    assert!(matches!(error, OrganisationError::Closed(_)), "{error}");
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(done, [round % 3]);
        assert_eq!(roles(&pod, 1).is_empty(), round % 3 != 0);
    }
}

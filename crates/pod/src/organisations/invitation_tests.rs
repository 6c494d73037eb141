//! Invitations: whose are good, how many there may be, and what is left of them.

use std::sync::Arc;

use adea_accounts::directory;
use adea_accounts::organisations::{
    self as verbs, Acting, Claim, InvitationState, Invited, InvitedBy, NewInvitation,
    NewOrganisation,
};
use adea_store::Memory;

use super::model::{INVITATIONS, LASTS};
use super::tests::{acting, id_of, keys, peopled};
use super::*;
use crate::write_user::tests::{over, pod};

const DAY_MS: u64 = 86_400_000;

/// A pod with so many accounts, the first of which owns an organisation.
async fn owned(people: usize) -> (Pod, String) {
    let pod = pod().await;
    peopled(&pod, people).await;
    let new = NewOrganisation {
        name: "A".into(),
        ..NewOrganisation::default()
    };
    let made = pod.create_organisation(acting(&pod, Some(0), 1), new).await;
    (pod, made.unwrap().id)
}

async fn invite(
    pod: &Pod,
    by: Acting,
    organisation: &str,
    address: &str,
) -> Result<InvitedBy, PodError> {
    let new = NewInvitation {
        organisation: organisation.to_owned(),
        address: address.to_owned(),
        ..NewInvitation::default()
    };
    pod.organise(move |tx| verbs::invite(tx, &by, &new)).await
}

async fn block(pod: &Pod, who: usize, blocked: bool) {
    let blocking = pod.organise(move |tx| {
        if let Some(before) = directory::find(tx, &id_of(who))? {
            let mut after = before.clone();
            after.flags.blocked = blocked;
            directory::store(tx, Some(&before), &after)?;
        }
        Ok(())
    });
    blocking.await.unwrap();
}

fn looked(pod: &Pod, secret: &str) -> Result<Invited, PodError> {
    pod.find_there(|view| verbs::look(view, secret, 2))
}

fn is_revoked(error: &PodError) -> bool {
    let revoked = OrganisationError::Closed(InvitationState::Revoked);
    matches!(error, PodError::Organisation(error) if *error == revoked)
}

#[tokio::test]
async fn an_invitation_is_good_for_nothing_while_its_inviter_is_blocked() {
    let (pod, id) = owned(4).await;
    let by = acting(&pod, Some(0), 1);
    let made = invite(&pod, by, &id, "a1@example.org").await.unwrap();
    block(&pod, 0, true).await;
    assert!(is_revoked(&looked(&pod, &made.secret).unwrap_err()));
    for claim in [
        Claim::Secret(made.secret.clone()),
        Claim::Invitation(made.invited.invitation.id.clone()),
    ] {
        let by = acting(&pod, Some(1), 2);
        let accepted = pod.organise(move |tx| verbs::accept(tx, &by, &claim)).await;
        assert!(is_revoked(&accepted.unwrap_err()));
    }
    block(&pod, 0, false).await;
    assert!(looked(&pod, &made.secret).is_ok());
}

#[tokio::test]
async fn there_is_room_as_soon_as_one_has_expired_however_many_have_ended() {
    let (pod, id) = owned(3).await;
    let mut now_ms = 1;
    // More than are looked at in one step, and all of them over.
    for n in 0..1_200u64 {
        let by = acting(&pod, Some(0), now_ms);
        let made = invite(&pod, by.clone(), &id, &format!("x{n}@example.org")).await;
        let invitation = made.unwrap().invited.invitation.id;
        let revoked = pod.organise(move |tx| verbs::revoke(tx, &by, &invitation));
        revoked.await.unwrap();
        now_ms += 1;
    }
    for n in 0..INVITATIONS {
        let by = acting(&pod, Some(0), now_ms);
        let made = invite(&pod, by, &id, &format!("y{n}@example.org")).await;
        made.unwrap();
    }
    let by = acting(&pod, Some(0), now_ms);
    let full = invite(&pod, by, &id, "z@example.org").await.unwrap_err();
    assert!(matches!(
        full,
        PodError::Organisation(OrganisationError::Quota { .. })
    ));
    let by = acting(&pod, Some(0), now_ms + LASTS);
    invite(&pod, by, &id, "z@example.org").await.unwrap();
    let open = pod.find_there(|view| {
        let by = acting(&pod, Some(0), now_ms + LASTS);
        verbs::find_organisation(view, &by, &id)
    });
    let open = usize::try_from(open.unwrap().0.counts.invitations).unwrap();
    assert!((1..=INVITATIONS).contains(&open), "{open}");
}

#[tokio::test]
async fn one_address_is_invited_once_at_a_time() {
    let (pod, id) = owned(3).await;
    let taken = |result: Result<InvitedBy, PodError>| {
        matches!(
            result,
            Err(PodError::Organisation(OrganisationError::AlreadyInvited))
        )
    };
    let to = |now_ms| {
        let (pod, id) = (&pod, &id);
        async move { invite(pod, acting(pod, Some(0), now_ms), id, "X@Example.org").await }
    };
    let first = to(1).await.unwrap().invited.invitation.id;
    assert!(taken(to(2).await));
    let (by, revoked) = (acting(&pod, Some(0), 3), first.clone());
    pod.organise(move |tx| verbs::revoke(tx, &by, &revoked))
        .await
        .unwrap();
    let second = to(4).await.unwrap().invited.invitation.id;
    assert!(taken(to(5).await));
    // One that has expired does not keep others off, and is not sent again beside the next one.
    let mut by = acting(&pod, Some(0), 4 + LASTS);
    by.limits.invitation_ms = 2 * DAY_MS;
    invite(&pod, by, &id, "x@example.org").await.unwrap();
    assert!(taken(to(5 + LASTS).await));
    let by = acting(&pod, Some(0), DAY_MS);
    let again = pod.organise(move |tx| verbs::resend(tx, &by, &second));
    assert!(taken(again.await));
}

#[tokio::test]
async fn what_was_revoked_is_forgotten_after_a_day() {
    let (pod, id) = owned(3).await;
    let by = acting(&pod, Some(0), 1);
    let made = invite(&pod, by.clone(), &id, "x@example.org")
        .await
        .unwrap();
    let invitation = made.invited.invitation.id;
    let revoked = invitation.clone();
    let ended = pod.organise(move |tx| verbs::revoke(tx, &by, &revoked));
    ended.await.unwrap();
    for (now_ms, there) in [(DAY_MS, true), (DAY_MS + 1, false)] {
        let swept = pod.organise(move |tx| Ok(verbs::sweep_invitations(tx, None, now_ms, 10)?));
        assert_eq!(swept.await.unwrap(), None);
        let by = acting(&pod, Some(0), now_ms);
        let found = pod.find_there(|view| verbs::find_invitation(view, &by, &invitation));
        assert_eq!(found.is_ok(), there, "at {now_ms}");
    }
}

#[tokio::test]
async fn an_account_with_many_invitations_is_erased_in_portions_also_after_a_restart() {
    const MANY: u64 = 450;
    let engine = Arc::new(Memory::new());
    let pod = over(engine.clone()).await;
    peopled(&pod, 3).await;
    let new = NewOrganisation {
        name: "A".into(),
        ..NewOrganisation::default()
    };
    let made = pod.create_organisation(acting(&pod, Some(0), 1), new).await;
    let id = made.unwrap().id;
    for n in 0..2 * MANY {
        // What it sent, and then what was sent to it.
        let (who, to) = if n < MANY {
            (Some(0), format!("x{n}@example.org"))
        } else {
            (None, "a0@example.org".to_owned())
        };
        let by = acting(&pod, who, n);
        let made = invite(&pod, by.clone(), &id, &to).await.unwrap();
        let invitation = made.invited.invitation.id;
        let revoked = pod.organise(move |tx| verbs::revoke(tx, &by, &invitation));
        revoked.await.unwrap();
    }
    let by = acting(&pod, None, 2 * MANY);
    let waiting = invite(&pod, by.clone(), &id, "a0@example.org")
        .await
        .unwrap();
    // Somebody else owns it now, so it stays.
    let (group, next) = (id.clone(), id_of(1));
    let owner = pod.organise(move |tx| {
        let owner = verbs::OrganisationRole::Owner;
        verbs::put_member(tx, &by, &group, &next, owner, None, true)
    });
    owner.await.unwrap();
    let erased = pod.organise(move |tx| {
        if let Some(record) = directory::find(tx, &id_of(0))? {
            directory::erase(tx, &record)?;
        }
        Ok(())
    });
    erased.await.unwrap();
    assert!(keys(&pod, 31) == 1 && keys(&pod, 25) > 2 * 200);
    let mut roles = Vec::new();
    verbs::roles_of(pod.view().as_ref(), &id_of(0), &mut roles).unwrap();
    assert!(roles.is_empty() && pod.account_record(&id_of(0)).unwrap().is_none());
    pod.close();

    let pod = over(engine).await;
    pod.clear_soon().await.unwrap();
    assert_eq!((keys(&pod, 31), keys(&pod, 25)), (0, 1));
    let by = acting(&pod, None, 2 * MANY);
    let kept = waiting.invited.invitation.id;
    assert!(
        pod.find_there(|view| verbs::find_invitation(view, &by, &kept))
            .is_ok()
    );
}

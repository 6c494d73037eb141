//! The queue over a store in memory: when mails are due, given up, kept and dropped.

use std::sync::Arc;

use adea_base::Entropy;
use adea_store::{Memory, Store, StoreOptions, TransactError, Transaction, WritePermit};
use serde_json::{Value, json};

use super::*;
use crate::captured::{self, Captured};
use crate::template::Rendered;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

fn store() -> Store {
    Store::open(Arc::new(Memory::new()), StoreOptions::default()).unwrap()
}

async fn run<T: Send + 'static>(
    store: &Store,
    decide: impl FnOnce(&mut Transaction<'_>) -> Result<T, EngineError> + Send + 'static,
) -> T {
    let done: Result<T, TransactError<EngineError>> = store
        .transact(WritePermit::of_term(1), move |tx| Ok(decide(tx)?))
        .await;
    done.unwrap_or_else(|_| panic!("a transaction over memory"))
}

async fn queue_at(store: &Store, kind: Kind, to: &str, now_ms: u64) {
    let mail = Outgoing {
        kind,
        to: to.to_owned(),
        language: String::new(),
        app: String::new(),
        data: Value::Null,
    };
    run(store, move |tx| {
        enqueue(tx, &Entropy::System, now_ms, &mail);
        Ok(())
    })
    .await;
}

async fn fail_at(store: &Store, id: &str, permanent: bool, now_ms: u64) -> Fate {
    let id = id.to_owned();
    run(store, move |tx| {
        failed(tx, &Entropy::System, &id, "no\r\nwhy", permanent, now_ms)
    })
    .await
}

fn due_at(store: &Store, now_ms: u64) -> Vec<String> {
    due(store.view().as_ref(), now_ms, 1_000).unwrap().0
}

fn listed(store: &Store, listed: Listed) -> Vec<Queued> {
    list(store.view().as_ref(), listed, None, 10_000).unwrap().0
}

#[test]
fn pauses_double_up_to_six_hours() {
    assert_eq!(pause_ms(1, 0), 48_000);
    assert_eq!(pause_ms(1, u16::MAX), 72_000);
    assert_eq!(pause_ms(2, u16::MAX), 144_000);
    assert_eq!(pause_ms(10, 0), PAUSE_MAX_MS / 5 * 4);
    assert_eq!(pause_ms(u32::MAX, u16::MAX), PAUSE_MAX_MS / 5 * 6);
}

#[tokio::test]
async fn mails_are_due_in_their_order_and_gone_when_they_are_sent() {
    let store = store();
    for (to, now_ms) in [
        ("b@x.example", 20),
        ("a@x.example", 10),
        ("c@x.example", 30),
    ] {
        queue_at(&store, Kind::Test, to, now_ms).await;
    }
    let to = |id: &String| find(store.view().as_ref(), id).unwrap().unwrap().mail.to;
    let due_now: Vec<String> = due_at(&store, 20).iter().map(to).collect();
    assert_eq!(due_now, ["a@x.example", "b@x.example"]);
    assert_eq!(due(store.view().as_ref(), 20, 9).unwrap().1, Some(30));
    assert_eq!(due(store.view().as_ref(), 20, 1).unwrap().1, Some(20));
    for id in due_at(&store, 30) {
        assert!(run(&store, move |tx| remove(tx, &id)).await);
    }
    assert_eq!(due_at(&store, u64::MAX), [""; 0]);
    assert!(!run(&store, |tx| remove(tx, "gone")).await);
    assert_eq!(find(store.view().as_ref(), "../x").unwrap(), None);
}

#[tokio::test]
async fn a_mail_is_tried_for_three_days_and_then_given_up() {
    let store = store();
    queue_at(&store, Kind::Test, "a@x.example", 0).await;
    let id = due_at(&store, 0).remove(0);
    let (mut now_ms, mut attempts) = (0, 0);
    while let Fate::Later(due_ms) = fail_at(&store, &id, false, now_ms).await {
        assert!(due_ms > now_ms && due_ms - now_ms <= PAUSE_MAX_MS / 5 * 6);
        assert_eq!(due_at(&store, due_ms - 1), [""; 0]);
        assert_eq!(due_at(&store, due_ms), [id.as_str()]);
        now_ms = due_ms;
        attempts += 1;
    }
    assert!((2 * DAY_MS..=3 * DAY_MS).contains(&now_ms), "{now_ms}");
    assert!((15..40).contains(&attempts), "{attempts}");
    assert_eq!(due_at(&store, u64::MAX), [""; 0]);
    let given_up = listed(&store, Listed::Failed);
    assert_eq!(given_up[0].error.as_deref(), Some("no  why"));
    assert_eq!(given_up[0].failed_ms, Some(now_ms));
    assert!(run(&store, move |tx| retry(tx, &given_up[0].id, 7)).await);
    assert_eq!(due_at(&store, 7), [id.as_str()]);
    assert_eq!(listed(&store, Listed::Failed), []);
    assert_eq!(fail_at(&store, &id, true, 8).await, Fate::GivenUp);
    assert_eq!(fail_at(&store, "gone", true, 8).await, Fate::Gone);
}

#[tokio::test]
async fn a_mail_that_was_given_up_and_is_tried_again_has_three_days_again() {
    let store = store();
    queue_at(&store, Kind::Test, "a@x.example", 0).await;
    let id = due_at(&store, 0).remove(0);
    assert_eq!(fail_at(&store, &id, true, 0).await, Fate::GivenUp);
    let again = id.clone();
    assert!(run(&store, move |tx| retry(tx, &again, 9 * DAY_MS)).await);
    let fate = fail_at(&store, &id, false, 9 * DAY_MS).await;
    assert!(matches!(fate, Fate::Later(_)), "{fate:?}");
}

#[tokio::test]
async fn only_the_last_thousand_that_were_given_up_are_kept() {
    let store = store();
    for n in 0..FAILED_MAX as u64 + 5 {
        queue_at(&store, Kind::Test, "a@x.example", n).await;
        let id = due_at(&store, n).remove(0);
        fail_at(&store, &id, true, n).await;
    }
    let kept = listed(&store, Listed::Failed);
    assert_eq!(kept.len(), FAILED_MAX);
    assert_eq!(kept[0].failed_ms, Some(5));
    // A page, and the next one behind its last mail.
    let view = store.view();
    let (first, more) = list(view.as_ref(), Listed::Failed, None, 2).unwrap();
    let place = Some((first[1].failed_ms.unwrap(), first[1].id.as_str()));
    let (second, _) = list(view.as_ref(), Listed::Failed, place, 1).unwrap();
    assert!(more && second[0] == kept[2]);
}

#[tokio::test]
async fn an_address_is_not_flooded_with_what_others_can_send() {
    let store = store();
    let count = |store: &Store| listed(store, Listed::Waiting).len();
    let flooding = [
        Kind::Recover,
        Kind::SignIn,
        Kind::VerifyAddress,
        Kind::NoAccount,
    ];
    for n in 0..40 {
        let to = if n % 2 == 0 {
            "ann@x.example"
        } else {
            "ANN@X.example"
        };
        queue_at(&store, flooding[n % 4], to, n as u64).await;
    }
    assert_eq!(count(&store), rate::PER_HOUR as usize);
    queue_at(&store, Kind::Recover, "bob@x.example", 50).await;
    assert_eq!(count(&store), 11);
    // What is about one's own account is never held back.
    for _ in 0..20 {
        queue_at(&store, Kind::PasswordChanged, "ann@x.example", 60).await;
    }
    assert_eq!(count(&store), 31);
    queue_at(&store, Kind::Invitation, "ann@x.example", 70).await;
    queue_at(&store, Kind::Recover, "ann@x.example", HOUR_MS).await;
    assert_eq!(count(&store), 33);
    run(&store, |tx| {
        sweep(tx, HOUR_MS);
        Ok(())
    })
    .await;
    for _ in 0..20 {
        queue_at(&store, Kind::Recover, "ann@x.example", HOUR_MS).await;
    }
    assert_eq!(count(&store), 42);
}

#[tokio::test]
async fn what_is_captured_is_kept_in_its_order_also_where_the_clock_stands_still() {
    let store = store();
    let queued = Queued {
        id: String::new(),
        mail: serde_json::from_value(json!({
            "kind": "test", "to": "a@x.example", "language": "", "app": "", "data": {},
        }))
        .unwrap(),
        queued_ms: 0,
        due_ms: 0,
        attempts: 0,
        error: None,
        failed_ms: None,
        tried_since_ms: None,
    };
    for n in 0..captured::CAPTURED_MAX + 3 {
        let words = Rendered {
            subject: n.to_string(),
            text: String::new(),
            html: String::new(),
        };
        let id = Entropy::System.hex_id();
        let one = Captured::of(
            &Queued {
                id,
                ..queued.clone()
            },
            words,
            5,
        );
        run(&store, move |tx| captured::keep(tx, &one)).await;
    }
    let kept = captured::list(store.view().as_ref()).unwrap();
    let subjects: Vec<usize> = kept
        .iter()
        .map(|one| one.words.subject.parse().unwrap())
        .collect();
    let expected: Vec<usize> = (3..captured::CAPTURED_MAX + 3).rev().collect();
    assert_eq!(subjects, expected);
    run(&store, |tx| {
        captured::clear(tx);
        Ok(())
    })
    .await;
    assert_eq!(captured::list(store.view().as_ref()).unwrap(), []);
}

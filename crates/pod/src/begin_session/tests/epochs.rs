//! What was proved holds in the epoch in which it was proved, and in no later one.

use adea_accounts::StoredCredential;
use adea_accounts::directory::Address;
use adea_base::Caller;
use serde_json::json;

use super::*;
use crate::apps::Actor;
use crate::directory::AccountChange;
use crate::settings::LimitRule;
use crate::write_user::tests::{caller, edit, is_wrong, write};

const NEW: &str = "ein neues Passwort";

/// A server with the account `eve`, whose password is this, or what stands for one.
async fn world(password: &str) -> Pod {
    let pod = World::new().await.pod;
    let credential = match StoredCredential::from_ini(password) {
        Ok(credential) => credential,
        Err(_) => pod.hash_password_slowly(password.to_owned()).await.unwrap(),
    };
    let new = NewAccount {
        name: Some("eve".to_owned()),
        credential: Some(credential),
        ..NewAccount::default()
    };
    pod.create_account(new).await.unwrap();
    pod
}

async fn cookie(pod: &Pod, password: &str) -> Credentials {
    let proof = pod.prove_password("eve", password, PEER).await.unwrap();
    let begun = pod.begin_session(proof, wanted(Face::Cookie)).await;
    match begun.unwrap() {
        Begun::Session(given) => *given,
        Begun::SecondFactor { .. } => panic!("no second factor is set"),
    }
}

async fn resumed(pod: &Pod, given: &Credentials) -> Option<Caller> {
    let value = &given.secret;
    let sign_in = SignIn::SessionCookie { value, peer: PEER };
    let signed_in = pod.authenticate(sign_in).await.ok()?;
    Some(signed_in.caller)
}

/// Whether this cookie of `CouchDB` is one of `eve`.
async fn is_hers(pod: &Pod, cookie: &str) -> bool {
    let signed_in = pod.authenticate(SignIn::Cookie(cookie)).await.unwrap();
    signed_in.caller.name() == Some("eve")
}

async fn couch(pod: &Pod) -> String {
    let opened = pod.open_session("eve", "geheim", None, PEER).await;
    opened.unwrap().1
}

fn is_refused(begun: &Result<Begun, PodError>) -> bool {
    matches!(begun, Err(PodError::Refused(Refusal::Unauthorized(_))))
}

#[tokio::test]
async fn a_password_that_is_changed_while_it_is_checked_begins_no_session() {
    let pod = world("geheim").await;
    let (kept, other) = (cookie(&pod, "geheim").await, cookie(&pod, "geheim").await);
    let under_way = pod.prove_password("eve", "geheim", PEER).await.unwrap();
    let by = Actor::of(&resumed(&pod, &kept).await.unwrap(), Some(PEER));
    let changed = pod.change_password(Some("geheim"), NEW.to_owned(), by);
    changed.await.unwrap();
    let begun = pod.begin_session(under_way, wanted(Face::Bearer)).await;
    assert!(is_refused(&begun));
    assert!(
        resumed(&pod, &kept).await.is_some(),
        "who changed it goes on"
    );
    assert!(resumed(&pod, &other).await.is_none());
    let again = cookie(&pod, NEW).await;
    assert!(resumed(&pod, &again).await.is_some());
}

#[tokio::test]
async fn a_hash_that_is_made_stronger_is_the_same_password() {
    let old =
        "-pbkdf2-e579375db0e0c6a6fc79cd9e36a36859f71575c3,1112283cf988a34f124200a050d308a1,10";
    let pod = world(old).await;
    assert!(resumed(&pod, &cookie(&pod, "apple").await).await.is_some());
    let old = "-hashed-e21216acd080d1077e4f9894c0945eb4b023202c,salt";
    pod.set_admin("root", old).await.unwrap();
    let proof = pod.prove_password("root", "apple", PEER).await.unwrap();
    assert!(pod.admins()[0].1.starts_with("$argon2id$"));
    let begun = pod.begin_session(proof, wanted(Face::Cookie)).await;
    assert!(matches!(begun, Ok(Begun::Session(_))));
}

#[tokio::test]
async fn an_administrator_whose_password_was_set_meanwhile_gets_no_session() {
    let pod = world("geheim").await;
    pod.set_admin("root", "geheim").await.unwrap();
    pod.set_admin("other", "geheim").await.unwrap();
    let prove = async |name: &str, password: &str| {
        let proved = pod.prove_password(name, password, PEER).await;
        proved.unwrap()
    };
    let first = prove("root", "geheim").await;
    let second = prove("other", "geheim").await;
    pod.set_admin("root", NEW).await.unwrap();
    let begin = async |proof| pod.begin_session(proof, wanted(Face::Cookie)).await;
    assert!(is_refused(&begin(first).await));
    let third = prove("root", NEW).await;
    assert!(begin(third.clone()).await.is_ok());
    pod.remove_admin("other").await.unwrap();
    pod.set_admin("other", "geheim").await.unwrap();
    assert!(is_refused(&begin(second).await), "he is another one now");
    // While administrators change nothing begins for one.
    let turn = pod.inner.accounts.admin_changes.lock().await;
    let mut begun = Box::pin(begin(third));
    tokio::select! {
        biased;
        _ = &mut begun => panic!("it has not waited"),
        () = tokio::task::yield_now() => {}
    }
    drop(turn);
    assert!(begun.await.is_ok());
}

#[tokio::test]
async fn what_ends_all_sessions_ends_the_cookie_of_couchdb_and_nothing_else_does() {
    let pod = world("geheim").await;
    let kept = cookie(&pod, "geheim").await;
    let own = resumed(&pod, &kept).await.unwrap();
    let by = || Actor::of(&own, Some(PEER));
    let id = own.account().unwrap().to_owned();
    let mut last = couch(&pod).await;
    let edited = pod.edit_account(&id, |_, record| {
        record.language = Some("de".to_owned());
        record.seen_ms += 1;
        Ok(())
    });
    edited.await.unwrap();
    cookie(&pod, "geheim").await;
    assert!(is_hers(&pod, &last).await);
    for keep in [true, false] {
        let ended = pod.end_own_sessions(&own, keep, PEER).await;
        assert_eq!(ended.unwrap(), 1);
        assert_eq!(resumed(&pod, &kept).await.is_some(), keep);
        assert!(!is_hers(&pod, &last).await, "{keep}");
        last = couch(&pod).await;
        assert!(is_hers(&pod, &last).await);
    }
    pod.end_sessions_of(&id, by()).await.unwrap();
    assert!(!is_hers(&pod, &last).await);
    last = couch(&pod).await;
    for blocked in [true, false] {
        let change = AccountChange {
            blocked: Some(blocked),
            ..AccountChange::default()
        };
        pod.change_account(&id, change, by()).await.unwrap();
        assert!(!is_hers(&pod, &last).await, "also when he is free again");
    }
    last = couch(&pod).await;
    pod.remove_factors(&id, &own, PEER).await.unwrap();
    assert!(!is_hers(&pod, &last).await);
}

#[tokio::test]
async fn an_account_that_is_called_as_an_administrator_is_not_signed_in_by_address() {
    let pod = world("geheim").await;
    let given = cookie(&pod, "geheim").await;
    let verified = pod.edit_account(&given.account, |_, record| {
        record.addresses.push(Address {
            address: "Eve@example.com".to_owned(),
            normal: "eve@example.com".to_owned(),
            verified_ms: Some(BEGIN_MS),
        });
        Ok(())
    });
    verified.await.unwrap();
    let open = async || {
        let opened = pod.open_session("EVE@example.com", "geheim", None, PEER);
        opened.await
    };
    let (caller, before) = open().await.unwrap();
    assert_eq!(caller.name(), Some("eve"));
    assert!(is_hers(&pod, &before).await);
    pod.set_admin("eve", NEW).await.unwrap();
    assert!(matches!(open().await, Err(PodError::Refused(_))));
    let proved = pod.prove_password("eve@example.com", "geheim", PEER).await;
    assert!(matches!(proved, Err(PodError::Refused(_))));
    assert!(!is_hers(&pod, &before).await);
    assert!(resumed(&pod, &given).await.is_none());
    let proof = Proof {
        account: given.account,
        method: "passkey".to_owned(),
        strong: true,
        epoch: None,
    };
    let begun = pod.begin_session(proof, wanted(Face::Cookie)).await;
    assert!(is_refused(&begun));
}

#[tokio::test]
async fn a_name_with_a_control_character_is_nobodys() {
    let pod = world("geheim").await;
    let eve = cookie(&pod, "geheim").await.account;
    let root = caller("root", &["_admin"]);
    for name in [
        format!("\0{eve}"),
        "\0@eve@example.com".to_owned(),
        "a\nb".to_owned(),
    ] {
        let id = format!("org.couchdb.user:{name}");
        let user = json!({"type": "user", "name": name, "roles": ["staff"], "password": "x"});
        write(&pod, &root, &id, user, edit(None)).await.unwrap();
        assert!(is_wrong(&pod, &name, "x").await, "{name:?}");
        assert!(pod.prove_password(&name, "x", PEER).await.is_err());
    }
    // Also not whoever was asked for under that key before.
    let holder = pod.holder(&eve).unwrap().unwrap();
    assert_eq!(holder.caller.name(), Some("eve"));
    assert!(is_wrong(&pod, &format!("\0{eve}"), "geheim").await);
}

#[tokio::test]
async fn guesses_at_an_address_are_counted_alike_whether_it_is_anybodys() {
    let pod = world("geheim").await;
    let eve = cookie(&pod, "geheim").await.account;
    let verified = pod.edit_account(&eve, |_, record| {
        record.addresses.push(Address {
            address: "eve@example.com".to_owned(),
            normal: "eve@example.com".to_owned(),
            verified_ms: Some(BEGIN_MS),
        });
        Ok(())
    });
    verified.await.unwrap();
    let guess = async |identifier: &str| {
        let guessed = pod.prove_password(identifier, "falsch", PEER).await;
        guessed.unwrap_err().to_string()
    };
    for spellings in [
        ["eve@example.com", "EVE@Example.com"],
        ["x@example.com", "X@Example.com"],
    ] {
        for n in 0..8 {
            let told = guess(spellings[n % 2]).await;
            let expected = if n < 5 {
                WRONG_NAME_OR_PASSWORD
            } else {
                adea_accounts::LOCKED_OUT
            };
            assert_eq!(told, expected, "{spellings:?} {n}");
        }
    }
    assert_eq!(guess("eve").await, WRONG_NAME_OR_PASSWORD);
    // The same with how many may be tried at all.
    pod.change_auth(|auth| {
        auth.lockout.mode = adea_accounts::LockoutMode::Off;
        auth.accounts.limits.account_sign_in =
            LimitRule::every(3, std::time::Duration::from_secs(60));
    });
    for known in ["eve@example.com", "y@example.com"] {
        for n in 0..6 {
            let limited = pod.prove_password(known, "falsch", PEER).await;
            let limited = matches!(limited, Err(PodError::Limited { .. }));
            assert_eq!(limited, n >= 3, "{known} {n}");
        }
    }
}

#[tokio::test]
async fn a_feed_of_an_administrator_ends_when_he_is_none_or_has_another_password() {
    let pod = world("geheim").await;
    pod.set_admin("other", "geheim").await.unwrap();
    for removed in [true, false] {
        pod.set_admin("root", "geheim").await.unwrap();
        let root = pod.verify_password("root", "geheim", None).await.unwrap();
        let mut waiting = pod.follow_caller(&root);
        let standing = waiting.as_deref_mut().unwrap();
        assert_eq!(
            pod.caller_again(&root, standing).unwrap(),
            Some(root.clone())
        );
        pod.set_admin("other", "neu").await.unwrap();
        assert!(!standing.is_due(), "it is another one");
        if removed {
            assert!(pod.remove_admin("root").await.unwrap());
        } else {
            pod.set_admin("root", "neu").await.unwrap();
        }
        Standing::due_of(&mut waiting).await;
        let standing = waiting.as_deref_mut().unwrap();
        assert_eq!(pod.caller_again(&root, standing).unwrap(), None);
    }
}

//! Clients that go away after they asked: what they asked for happens whole, with all that follows.

use adea_accounts::Security;
use adea_base::{Caller, DatabaseName};
use adea_pod::Pod;

use crate::scratch::{Scratch, options};

/// Polls a request once, so that it is under way, and drops it.
async fn ask_and_hang_up(request: impl Future) {
    tokio::select! {
        biased;
        _ = request => {}
        () = std::future::ready(()) => {}
    }
}

/// Looks again after each round through the store, until `holds`.
async fn comes_true(pod: &Pod, holds: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        pod.sync().await.unwrap();
        tokio::task::yield_now().await;
    }
    panic!("what was committed is not in force");
}

#[tokio::test]
async fn a_restriction_is_in_force_although_nobody_waited_for_it() {
    let scratch = Scratch::new();
    let pod = &Pod::open(options(&scratch.path("data"))).await.unwrap();
    let ann = Caller::named("ann", Vec::new());
    for n in 0..20 {
        let name = DatabaseName::parse(&format!("db{n}")).unwrap();
        pod.create_database(&name, false).await.unwrap();
        let open = |settings: &mut adea_documents::database::Settings| {
            settings.security = "{}".to_owned();
        };
        let entry = pod.database(&name).unwrap();
        pod.change_settings(&entry, open).await.unwrap();
        let entry = pod.database(&name).unwrap();
        assert_eq!(entry.security.access(&ann).require_member(), Ok(()));
        let close = |settings: &mut adea_documents::database::Settings| {
            settings.security = Security::default().as_text().to_owned();
        };
        ask_and_hang_up(pod.change_settings(&entry, close)).await;
        comes_true(pod, || {
            let entry = pod.database(&name).unwrap();
            entry.security.access(&ann).require_member().is_err()
        })
        .await;
        ask_and_hang_up(pod.drop_database(&name)).await;
        comes_true(pod, || pod.database(&name).is_err()).await;
    }
}

//! Codes, links and anonymous accounts against a pod in memory whose clock is set by hand.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adea_base::Clock;
use adea_files::Directory;
use adea_mail::queue::{self, Listed, Queued};
use adea_store::{Durability, Memory};

use super::mail::{DAILY_MAX, SENT_MAX};
use super::*;
use crate::begin_session::{Begun, Credentials, Face, SessionWanted};
use crate::pod::PodOptions;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
const ANN: &str = "ann@example.org";

struct World {
    pod: Pod,
    now_ms: Arc<AtomicU64>,
}

impl World {
    async fn new() -> Self {
        let mut options = PodOptions {
            data: "/nowhere".into(),
            durability: Durability::Strict,
            memory: 1 << 20,
            session_timeout_s: 600,
            session_secret: None,
            attachment_max: 1 << 20,
            auth: crate::AuthSettings::default(),
            script: crate::ScriptSettings::default(),
            replication: Default::default(),
        };
        options.auth.accounts.sign_up.anonymous = true;
        let now_ms = Arc::new(AtomicU64::new(1_700_000_000_000));
        let clock = Clock::Manual(Arc::clone(&now_ms));
        let engine = Arc::new(Memory::new());
        let files = Arc::new(adea_files::backend::Memory::default());
        let files = Directory::open_backend(files).unwrap();
        let pod = Pod::over_at(engine, files, options, clock).await.unwrap();
        Self { pod, now_ms }
    }

    fn later(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// The mails that wait, the oldest first.
    fn mails(&self) -> Vec<Queued> {
        let view = self.pod.view();
        queue::list(view.as_ref(), Listed::Waiting, None, 100)
            .unwrap()
            .0
    }

    /// What the newest mail says under `name`.
    fn told(&self, name: &str) -> String {
        let mails = self.mails();
        let newest = mails.iter().max_by_key(|mail| mail.queued_ms).unwrap();
        newest.mail.data[name].as_str().unwrap().to_owned()
    }

    async fn code(&self) -> MailProof {
        let started = self.pod.start_mail(ANN, MailWanted::Code, "").await;
        MailProof::Code {
            continuation: started.unwrap().continuation.unwrap(),
            code: self.told("code"),
        }
    }

    async fn finish(&self, proof: MailProof) -> Result<Credentials, PodError> {
        session(self.pod.finish_mail(proof, wanted("a browser")).await)
    }
}

fn wanted(device: &str) -> SessionWanted {
    SessionWanted {
        face: Face::Bearer,
        app: String::new(),
        device: device.to_owned(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

fn session(begun: Result<Begun, PodError>) -> Result<Credentials, PodError> {
    match begun? {
        Begun::Session(credentials) => Ok(*credentials),
        Begun::SecondFactor { .. } => panic!("nobody set one up"),
    }
}

fn is_over<T: std::fmt::Debug>(answer: &Result<T, PodError>) {
    let over = matches!(answer, Err(PodError::Link(LinkError::Over)));
    assert!(over, "{answer:?}");
}

#[tokio::test]
async fn a_code_is_good_for_ten_minutes_and_a_link_for_fifteen() {
    let world = World::new().await;
    let code = world.code().await;
    world.later(10 * MINUTE_MS - 1);
    world.finish(code).await.unwrap();
    let code = world.code().await;
    world.later(10 * MINUTE_MS);
    is_over(&world.finish(code).await);
    for (after_ms, good) in [(15 * MINUTE_MS - 1, true), (15 * MINUTE_MS, false)] {
        world
            .pod
            .start_mail(ANN, MailWanted::Link, "")
            .await
            .unwrap();
        let link = world.told("link");
        let token = link.rsplit_once("token=").unwrap().1.to_owned();
        world.later(after_ms);
        let answer = world.finish(MailProof::Link(token)).await;
        assert_eq!(answer.is_ok(), good);
    }
}

#[tokio::test]
async fn secrets_that_are_over_are_removed() {
    let world = World::new().await;
    let count = || {
        let view = world.pod.view();
        let range = adea_store::KeyRange::prefix(&[adea_store::key::ACCOUNTS, 8]);
        let mut rows = view
            .range(
                adea_store::Space::Index,
                range,
                adea_store::Direction::Forward,
            )
            .unwrap();
        let mut count = 0;
        while rows.next().unwrap().is_some() {
            count += 1;
        }
        count
    };
    drop(world.code().await);
    assert_eq!(count(), 2, "the code, and the count of what was sent");
    world.pod.sweep_secrets().await.unwrap();
    assert_eq!(count(), 2);
    world.later(11 * MINUTE_MS);
    world.pod.sweep_secrets().await.unwrap();
    assert_eq!(count(), 1);
    world.later(DAY_MS);
    world.pod.sweep_secrets().await.unwrap();
    assert_eq!(count(), 0);
}

#[tokio::test]
async fn five_mails_an_hour_and_fifteen_a_day_go_to_an_address() {
    let world = World::new().await;
    // That one counts requests, by a clock of its own.
    world
        .pod
        .change_auth(|auth| auth.accounts.limits.account_mail = None);
    for hour in 1..=5 {
        for _ in 0..7 {
            world.code().await;
            world.later(1);
        }
        assert_eq!(world.mails().len(), (hour * SENT_MAX).min(DAILY_MAX));
        world.later(60 * MINUTE_MS);
    }
    world.later(DAY_MS);
    world.code().await;
    assert_eq!(world.mails().len(), DAILY_MAX + 1);
}

#[tokio::test]
async fn accounts_of_nobody_are_removed_when_nobody_can_come_back() {
    let world = World::new().await;
    let begin = || async { session(world.pod.begin_anonymous(wanted("x")).await).unwrap() };
    let (left, used, promoted) = (begin().await, begin().await, begin().await);
    let promoting = Promoting {
        name: Some("ann".to_owned()),
        password: Some("correct horse".to_owned()),
        ..Promoting::default()
    };
    world
        .pod
        .promote(&promoted.account, promoting)
        .await
        .unwrap();
    world.later(29 * DAY_MS);
    let refresh = used.refresh.as_deref().unwrap();
    let refreshed = world
        .pod
        .refresh_session(refresh, wanted("x").address)
        .await;
    refreshed.unwrap();
    assert_eq!(world.pod.remove_abandoned().await.unwrap(), 0);
    world.later(2 * DAY_MS);
    assert_eq!(world.pod.remove_abandoned().await.unwrap(), 1);
    let there = |id: &str| world.pod.holder(id).unwrap().is_some();
    assert!(!there(&left.account));
    assert!(there(&used.account) && there(&promoted.account));
    world.later(31 * DAY_MS);
    assert_eq!(world.pod.remove_abandoned().await.unwrap(), 1);
    assert!(!there(&used.account) && there(&promoted.account));
}

#[tokio::test]
async fn an_account_whose_address_is_not_proved_is_nobodys_and_goes_after_a_day() {
    let world = World::new().await;
    let sign_up = |name: &str| {
        let wanted = crate::SignUp {
            name: Some(name.to_owned()),
            address: Some(format!("{name}@example.org")),
            password: "correct horse".to_owned(),
            ..crate::SignUp::default()
        };
        let by = crate::apps::Actor::of(&adea_base::Caller::anonymous(), None);
        world.pod.sign_up(wanted, by)
    };
    let known = |name: &'static str| {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        world.pod.prove_password(name, "correct horse", here)
    };
    sign_up("ann").await.unwrap();
    let link = world.told("link");
    world.later(1);
    sign_up("bob").await.unwrap();
    for _ in 0..2 {
        assert!(known("ann").await.is_err());
    }
    let token = link.rsplit_once("token=").unwrap().1.to_owned();
    let by = crate::apps::Actor::of(&adea_base::Caller::anonymous(), None);
    let proof = crate::AddressProof::Secret(token);
    let ann = world.pod.verify_address(proof, by).await.unwrap();
    assert_eq!(known("ann").await.unwrap().account, ann);
    world.later(DAY_MS + 60 * MINUTE_MS - 2);
    assert_eq!(world.pod.remove_abandoned().await.unwrap(), 0);
    world.later(3);
    assert_eq!(world.pod.remove_abandoned().await.unwrap(), 1);
    assert_eq!(known("ann").await.unwrap().account, ann);
    // The name is free again.
    sign_up("bob").await.unwrap();
    assert_eq!(world.pod.accounts(&asked("bob")).unwrap().accounts.len(), 1);
}

#[tokio::test]
async fn where_databases_go_by_names_an_account_of_nobody_is_promoted_without_another_name() {
    let world = World::new().await;
    let begun = session(world.pod.begin_anonymous(wanted("x")).await).unwrap();
    world.pod.change_auth(|auth| auth.per_user.enabled = true);
    let promoting = |name: Option<&str>| Promoting {
        name: name.map(str::to_owned),
        address: Some(ANN.to_owned()),
        password: Some("correct horse".to_owned()),
        ..Promoting::default()
    };
    let refused = world
        .pod
        .promote(&begun.account, promoting(Some("ann")))
        .await;
    let kept = matches!(refused, Err(PodError::Account(AccountError::NameKept)));
    assert!(kept, "{refused:?}");
    let promoted = world.pod.promote(&begun.account, promoting(None)).await;
    assert_eq!(promoted.unwrap().name, begun.account);
}

#[tokio::test]
async fn a_session_that_is_not_fresh_does_not_take_an_account_over() {
    let world = World::new().await;
    let code = world.code().await;
    let begun = world.finish(code).await.unwrap();
    let bearer = crate::SignIn::Bearer(&begun.secret);
    let caller = world.pod.authenticate(bearer).await.unwrap().caller;
    let by = || crate::apps::Actor::of(&caller, None);
    let (add, pod) = ("eve@example.org", &world.pod);
    pod.add_address(add, None, by()).await.unwrap();
    world.later(10 * MINUTE_MS);
    let stale = |answer: Result<(), PodError>| {
        let stale = matches!(answer, Err(PodError::Account(AccountError::NotFresh)));
        assert!(stale, "{answer:?}");
    };
    stale(pod.add_address("other@example.org", None, by()).await);
    stale(pod.remove_address(ANN, None, by()).await);
    let change = |name: Option<&str>, primary: Option<&str>| {
        let change = crate::ProfileChange {
            name: name.map(str::to_owned),
            primary_address: primary.map(str::to_owned),
            language: Some(Some("de".to_owned())),
            ..crate::ProfileChange::default()
        };
        pod.change_own_profile(change, None, by())
    };
    stale(change(Some("eve"), None).await);
    stale(change(None, Some(ANN)).await);
    change(None, None).await.unwrap();
    let record = pod.holder(&begun.account).unwrap().unwrap().record;
    assert_eq!(
        (record.name.clone(), record.addresses.len()),
        (begun.account, 2)
    );
}

#[tokio::test]
async fn a_first_password_is_set_under_the_name_of_now_and_over_no_other_password() {
    let world = World::new().await;
    let code = world.code().await;
    let begun = world.finish(code).await.unwrap();
    let bearer = crate::SignIn::Bearer(&begun.secret);
    let caller = world.pod.authenticate(bearer).await.unwrap().caller;
    let by = || crate::apps::Actor::of(&caller, None);
    let pod = &world.pod;
    let set = |password: &str| pod.change_password(None, password.to_owned(), by());
    // Both found no password, and are hashed in turns.
    let (one, other) = tokio::join!(set("correct horse"), set("battery staple"));
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    let lost = one.err().or(other.err()).unwrap();
    let changed = matches!(lost, PodError::Account(AccountError::Changed));
    assert!(changed, "{lost:?}");
    // Renamed while the password is hashed.
    let second = crate::directory::NewAccount::default();
    let second = pod.create_account(second).await.unwrap();
    let caller = pod.holder(&second).unwrap().unwrap().caller;
    let proof = crate::begin_session::Proof {
        account: second.clone(),
        method: "passkey".to_owned(),
        strong: true,
        epoch: None,
    };
    let begun = session(pod.begin_session(proof, wanted("x")).await).unwrap();
    let caller = caller.with_session(&begun.session);
    let by = || crate::apps::Actor::of(&caller, None);
    let name = crate::ProfileChange {
        name: Some("bob".to_owned()),
        ..crate::ProfileChange::default()
    };
    let (set, renamed) = tokio::join!(
        pod.change_password(None, "correct horse".to_owned(), by()),
        pod.change_profile(&second, name, by()),
    );
    renamed.unwrap();
    set.unwrap();
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let known = pod.prove_password("bob", "correct horse", here).await;
    assert_eq!(known.unwrap().account, second);
}

fn asked(prefix: &str) -> crate::AccountsAsked {
    crate::AccountsAsked {
        name_prefix: Some(prefix.to_owned()),
        limit: 10,
        ..crate::AccountsAsked::default()
    }
}

#[tokio::test]
async fn a_new_device_is_told_unless_it_is_the_first_or_nobody_wants_to_know() {
    let world = World::new().await;
    let notices = || {
        let mails = world.mails();
        let kind = |mail: &&Queued| mail.mail.kind == adea_mail::Kind::NewDevice;
        mails.iter().filter(kind).count()
    };
    let first = world.code().await;
    let account = world.finish(first).await.unwrap().account;
    assert_eq!(notices(), 0);
    let begin = |device: String| {
        let proof = crate::begin_session::Proof {
            account: account.clone(),
            method: "password".to_owned(),
            strong: true,
            epoch: None,
        };
        world.pod.begin_session(proof, wanted(&device))
    };
    begin("a browser 2.0".to_owned()).await.unwrap();
    assert_eq!(notices(), 1, "the name has a space more");
    begin("a browser".to_owned()).await.unwrap();
    assert_eq!(notices(), 1);
    world
        .pod
        .change_auth(|auth| auth.accounts.providers.new_device_notice = false);
    for n in 0..30_u8 {
        begin(format!("device {}", char::from(b'A' + n)))
            .await
            .unwrap();
    }
    assert_eq!(notices(), 1);
    let view = world.pod.view();
    let record = adea_accounts::directory::find(view.as_ref(), &account).unwrap();
    assert_eq!(record.unwrap().devices.len(), 20);
}

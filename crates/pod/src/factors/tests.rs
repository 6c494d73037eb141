//! The second step and what leads to it, against a pod in memory whose clock is set by hand.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adea_accounts::audit::AuditEntry;
use adea_accounts::{LockoutMode, Totp, keys};
use adea_base::Clock;
use adea_files::Directory;
use adea_store::{Direction, Durability, KeyRange, Memory, Space};
use proptest::prelude::*;

use super::*;
use crate::begin_session::{Begun, Face, Proof, SessionWanted};
use crate::directory::NewAccount;
use crate::pod::PodOptions;
use crate::sign_in::SignIn;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// In the middle of a step of time.
const START_MS: u64 = 1_700_000_010_000;
const HOST: &str = "localhost";

struct World {
    pod: Pod,
    now_ms: Arc<AtomicU64>,
    who: Asking,
    key: String,
    codes: Vec<String>,
}

impl World {
    /// An account without a second factor.
    async fn new(lockout: LockoutMode) -> Self {
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
        options.auth.lockout.mode = lockout;
        let now_ms = Arc::new(AtomicU64::new(START_MS));
        let clock = Clock::Manual(Arc::clone(&now_ms));
        let engine = Arc::new(Memory::new());
        let files = Arc::new(adea_files::backend::Memory::default());
        let files = Directory::open_backend(files).unwrap();
        let pod = Pod::over_at(engine, files, options, clock).await;
        let pod = pod.unwrap();
        let credential = pod.hash_password_slowly("geheim".to_owned()).await.unwrap();
        let new = NewAccount {
            name: Some("ann".to_owned()),
            credential: Some(credential),
            address: Some(adea_accounts::directory::Address {
                address: "ann@example.org".to_owned(),
                normal: "ann@example.org".to_owned(),
                verified_ms: Some(START_MS),
            }),
            ..NewAccount::default()
        };
        let account = pod.create_account(new).await.unwrap();
        let who = Asking {
            account,
            session: None,
            address: HERE,
        };
        Self {
            pod,
            now_ms,
            who,
            key: String::new(),
            codes: Vec::new(),
        }
    }

    /// The same with one.
    async fn with_totp(lockout: LockoutMode) -> Self {
        let mut world = Self::new(lockout).await;
        let started = world.pod.start_totp(&world.who, Some("geheim")).await;
        world.key = started.unwrap().secret;
        let confirmed = world.pod.confirm_totp(&world.who, &world.digits(0)).await;
        world.codes = confirmed.unwrap();
        // Those of this step are taken.
        world.later(60_000);
        world
    }

    fn later(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn now_s(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed) / 1000
    }

    /// What the device shows, so many seconds from now.
    fn digits(&self, away_s: i64) -> String {
        let at_s = self.now_s().saturating_add_signed(away_s);
        Totp::from_key(&self.key).digits(at_s).unwrap()
    }

    async fn begin(&self, strong: bool) -> Begun {
        let proof = Proof {
            account: self.who.account.clone(),
            method: "password".to_owned(),
            strong,
            epoch: None,
        };
        let wanted = SessionWanted {
            face: Face::Cookie,
            app: String::new(),
            device: "a device".to_owned(),
            address: HERE,
        };
        self.pod.begin_session(proof, wanted).await.unwrap()
    }

    /// A session that was begun just now, with all that is asked for.
    async fn sign_in(&mut self) {
        let Begun::Session(given) = self.begin(true).await else {
            panic!("a second factor was asked for");
        };
        self.who.session = Some(given.session);
    }

    async fn continuation(&self) -> String {
        match self.begin(false).await {
            Begun::SecondFactor { continuation, .. } => continuation,
            Begun::Session(_) => panic!("no second factor was asked for"),
        }
    }

    async fn second(&self, continuation: &str, answer: SecondAnswer) -> Result<Proof, PodError> {
        let pod = &self.pod;
        let done = pod
            .finish_second_step(continuation, answer, HOST, HERE)
            .await;
        let (proof, wanted) = done?;
        assert_eq!(
            (wanted.face, wanted.device.as_str()),
            (Face::Cookie, "a device")
        );
        Ok(proof)
    }

    async fn second_digits(&self, continuation: &str, digits: &str) -> Result<Proof, PodError> {
        self.second(continuation, SecondAnswer::Digits(digits.to_owned()))
            .await
    }

    fn audited(&self, action: &str) -> usize {
        let range = KeyRange::prefix(&[adea_store::key::AUDIT]);
        let view = self.pod.view();
        let mut rows = view.range(Space::Index, range, Direction::Forward).unwrap();
        let mut found = 0;
        while let Some((_, value)) = rows.next().unwrap() {
            let entry: AuditEntry = adea_accounts::stored::decode(value, "an entry").unwrap();
            found += usize::from(entry.action == action);
        }
        found
    }
}

fn word<T: std::fmt::Debug>(answer: Result<T, PodError>) -> FactorError {
    match answer {
        Err(PodError::Factor(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn digits_are_asked_for_once_they_are_confirmed() {
    let mut world = World::new(LockoutMode::Enforce).await;
    assert!(matches!(world.begin(false).await, Begun::Session(_)));
    let old = word(world.pod.start_totp(&world.who, None).await);
    assert_eq!(old, FactorError::NotFresh);
    let wrong = world.pod.start_totp(&world.who, Some("falsch")).await;
    assert!(matches!(wrong, Err(PodError::Refused(_))));
    let started = world
        .pod
        .start_totp(&world.who, Some("geheim"))
        .await
        .unwrap();
    assert!(
        started
            .otpauth_url
            .starts_with("otpauth://totp/adea:ann?secret=")
    );
    // Not before the user has shown that his device makes them.
    assert!(matches!(world.begin(false).await, Begun::Session(_)));
    world.key = started.secret;
    let wrong = world.pod.confirm_totp(&world.who, "000000").await;
    assert_eq!(word(wrong), FactorError::WrongCode);
    let codes = world
        .pod
        .confirm_totp(&world.who, &world.digits(-30))
        .await
        .unwrap();
    assert_eq!(codes.len(), 10);
    let again = world.pod.confirm_totp(&world.who, &world.digits(0)).await;
    assert_eq!(word(again), FactorError::Expired);
    let again = world.pod.start_totp(&world.who, Some("geheim")).await;
    assert_eq!(word(again), FactorError::HasTotp);
    let Begun::SecondFactor { kinds, .. } = world.begin(false).await else {
        panic!("no second factor was asked for");
    };
    assert_eq!(kinds, ["totp", "recovery_code"]);
    assert!(matches!(world.begin(true).await, Begun::Session(_)));
    assert_eq!(world.audited("totp.add"), 1);
}

#[tokio::test]
async fn a_factor_that_comes_or_goes_ends_all_sessions_but_the_one_that_asks() {
    let mut world = World::new(LockoutMode::Enforce).await;
    let session = async |world: &World| match world.begin(true).await {
        Begun::Session(given) => given.session,
        Begun::SecondFactor { .. } => panic!("it was strong"),
    };
    let alive = |world: &World| -> Vec<String> {
        let found = world.pod.list_sessions(&world.who.account, None, 10);
        let found = found.unwrap().sessions.into_iter();
        found.map(|session| session.id).collect()
    };
    let epoch = |world: &World| {
        let record = world.pod.account_record(&world.who.account).unwrap();
        record.unwrap().epoch
    };
    let (own, _) = (session(&world).await, session(&world).await);
    world.who.session = Some(own.clone());
    let started = world.pod.start_totp(&world.who, Some("geheim")).await;
    world.key = started.unwrap().secret;
    assert_eq!((epoch(&world), alive(&world).len()), (0, 2));
    let digits = world.digits(0);
    world.pod.confirm_totp(&world.who, &digits).await.unwrap();
    assert_eq!((epoch(&world), alive(&world)), (1, vec![own.clone()]));
    session(&world).await;
    world.later(60_000);
    let digits = world.digits(0);
    let removed = world.pod.remove_totp(&world.who, Some(&digits), None).await;
    removed.unwrap();
    assert_eq!((epoch(&world), alive(&world)), (2, vec![own]));
}

#[tokio::test]
async fn what_was_proved_before_all_sessions_ended_goes_no_further() {
    let world = World::with_totp(LockoutMode::Enforce).await;
    let (before, later) = (world.continuation().await, world.continuation().await);
    let digits = || SecondAnswer::Digits(world.digits(0));
    assert!(world.second(&later, digits()).await.is_ok());
    let raised = world.pod.edit_account(&world.who.account, |_, record| {
        record.epoch += 1;
        Ok(())
    });
    raised.await.unwrap();
    world.later(30_000);
    let proved = world.second(&before, digits()).await;
    assert_eq!(word(proved), FactorError::Expired);
    let after = world.continuation().await;
    assert!(world.second(&after, digits()).await.is_ok());
}

#[tokio::test]
async fn a_key_is_confirmed_in_time_and_not_by_guessing() {
    let mut world = World::new(LockoutMode::Enforce).await;
    let started = world
        .pod
        .start_totp(&world.who, Some("geheim"))
        .await
        .unwrap();
    world.key = started.secret;
    for n in 0..6 {
        let wrong = world.pod.confirm_totp(&world.who, "x").await;
        let expected = if n < 5 {
            FactorError::WrongCode
        } else {
            FactorError::Expired
        };
        assert_eq!(word(wrong), expected, "{n}");
    }
    let started = world
        .pod
        .start_totp(&world.who, Some("geheim"))
        .await
        .unwrap();
    world.key = started.secret;
    world.later(900_000);
    let late = world.pod.confirm_totp(&world.who, &world.digits(0)).await;
    assert_eq!(word(late), FactorError::Expired);
}

#[tokio::test]
async fn a_session_is_fresh_for_ten_minutes_and_its_own_only() {
    let world = World::new(LockoutMode::Enforce).await;
    let Begun::Session(credentials) = world.begin(false).await else {
        panic!("a second factor was asked for");
    };
    let with = |session: &str| Asking {
        session: Some(session.to_owned()),
        ..world.who.clone()
    };
    world
        .pod
        .start_totp(&with(&credentials.session), None)
        .await
        .unwrap();
    let other = with(&keys::new_id(&world.pod.inner.entropy));
    assert_eq!(
        word(world.pod.start_totp(&other, None).await),
        FactorError::NotFresh
    );
    world.later(600_000);
    let late = world
        .pod
        .start_totp(&with(&credentials.session), None)
        .await;
    assert_eq!(word(late), FactorError::NotFresh);
    let nobody = Asking {
        account: keys::new_id(&world.pod.inner.entropy),
        ..with(&credentials.session)
    };
    let none = world.pod.start_totp(&nobody, None).await;
    assert_eq!(word(none), FactorError::NoAccount);
}

#[tokio::test]
async fn the_second_step_takes_each_step_of_time_and_each_code_once() {
    let world = World::with_totp(LockoutMode::Enforce).await;
    let first = world.continuation().await;
    let proof = world.second_digits(&first, &world.digits(0)).await.unwrap();
    assert_eq!(
        (proof.method.as_str(), proof.strong),
        ("password+totp", true)
    );
    let again = world.second_digits(&first, &world.digits(30)).await;
    assert_eq!(word(again), FactorError::Expired);
    let next = world.continuation().await;
    let replayed = world.second_digits(&next, &world.digits(0)).await;
    assert_eq!(word(replayed), FactorError::WrongCode);
    // Those of a step before are older than those that were taken.
    let replayed = world.second_digits(&next, &world.digits(-30)).await;
    assert_eq!(word(replayed), FactorError::WrongCode);
    world.second_digits(&next, &world.digits(30)).await.unwrap();
    let code = || SecondAnswer::RecoveryCode(world.codes[4].to_uppercase());
    let next = world.continuation().await;
    world.second(&next, code()).await.unwrap();
    let next = world.continuation().await;
    assert_eq!(
        word(world.second(&next, code()).await),
        FactorError::WrongCode
    );
    assert_eq!(world.audited("recovery_code.use"), 1);
}

#[tokio::test]
async fn wrong_digits_lock_out_as_wrong_passwords_do() {
    let world = World::with_totp(LockoutMode::Enforce).await;
    for _ in 0..5 {
        let continuation = world.continuation().await;
        let wrong = world.second_digits(&continuation, "000000").await;
        assert_eq!(word(wrong), FactorError::WrongCode);
    }
    let continuation = world.continuation().await;
    let right = world.second_digits(&continuation, &world.digits(0)).await;
    assert!(matches!(right, Err(PodError::Refused(_))));
    let password = world.pod.prove_password("ann", "geheim", HERE).await;
    assert!(matches!(password, Err(PodError::Refused(_))));
    let removed = world
        .pod
        .remove_totp(&world.who, Some(&world.digits(0)), None)
        .await;
    assert!(matches!(removed, Err(PodError::Refused(_))));
    world.later(300_000);
    let continuation = world.continuation().await;
    world
        .second_digits(&continuation, &world.digits(0))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_passkey_that_answers_nothing_counts_as_a_wrong_code() {
    let world = World::with_totp(LockoutMode::Off).await;
    let continuation = world.continuation().await;
    let answer = || SecondAnswer::Passkey {
        continuation: "x".to_owned(),
        credential: serde_json::json!({}),
    };
    for _ in 0..5 {
        let wrong = world.second(&continuation, answer()).await;
        assert_eq!(word(wrong), FactorError::WrongCode);
    }
    let late = world.second_digits(&continuation, &world.digits(0)).await;
    assert_eq!(word(late), FactorError::Expired);
}

#[tokio::test]
async fn a_password_alone_is_refused_at_the_doors_of_couchdb() {
    let world = World::with_totp(LockoutMode::Off).await;
    let basic = SignIn::Basic {
        name: "ann",
        password: "geheim",
        peer: Some(HERE),
    };
    let refused = world.pod.authenticate(basic).await.unwrap_err();
    assert!(refused.to_string().contains("/_auth/login"), "{refused}");
    let open = |digits: Option<String>| {
        let pod = world.pod.clone();
        async move {
            pod.open_session("ann", "geheim", digits.as_deref(), HERE)
                .await
        }
    };
    assert!(open(None).await.is_err());
    assert!(open(Some("000000".to_owned())).await.is_err());
    let digits = world.digits(0);
    open(Some(digits.clone())).await.unwrap();
    assert!(open(Some(digits)).await.is_err(), "digits are taken once");
}

#[tokio::test]
async fn a_password_removes_no_second_factor_in_an_old_session() {
    let mut world = World::with_totp(LockoutMode::Off).await;
    world.sign_in().await;
    world.later(FRESH_MS);
    let who = &world.who;
    for password in ["falsch", "geheim"] {
        let removed = world.pod.remove_totp(who, None, Some(password)).await;
        assert_eq!(word(removed), FactorError::WantsCode);
        let renewed = world.pod.renew_recovery_codes(who, Some(password)).await;
        assert_eq!(word(renewed), FactorError::WantsCode);
        let passkey = world.pod.start_passkey(who, Some(password), HOST).await;
        assert_eq!(word(passkey.map(drop)), FactorError::WantsCode);
    }
    world.sign_in().await;
    let wrong = world
        .pod
        .remove_totp(&world.who, None, Some("falsch"))
        .await;
    assert!(matches!(wrong, Err(PodError::Refused(_))));
    let right = world
        .pod
        .remove_totp(&world.who, None, Some("geheim"))
        .await;
    right.unwrap();
    assert!(matches!(world.begin(false).await, Begun::Session(_)));
}

#[tokio::test]
async fn digits_are_no_more_asked_for_when_they_are_removed() {
    let mut world = World::with_totp(LockoutMode::Off).await;
    world.sign_in().await;
    let remove = |code: Option<&'static str>, password: Option<&'static str>| {
        let (pod, who) = (world.pod.clone(), world.who.clone());
        async move { pod.remove_totp(&who, code, password).await }
    };
    assert_eq!(word(remove(None, None).await), FactorError::WrongCode);
    assert_eq!(
        word(remove(Some("000000"), None).await),
        FactorError::WrongCode
    );
    assert!(remove(None, Some("falsch")).await.is_err());
    // A code that is sent counts, whatever password is sent besides.
    let both = remove(Some("000000"), Some("geheim")).await;
    assert_eq!(word(both), FactorError::WrongCode);
    let codes = world
        .pod
        .renew_recovery_codes(&world.who, Some("geheim"))
        .await;
    let codes = codes.unwrap();
    let old = world
        .pod
        .remove_totp(&world.who, Some(&world.codes[0]), None)
        .await;
    assert_eq!(word(old), FactorError::WrongCode);
    world
        .pod
        .remove_totp(&world.who, Some(&codes[0]), None)
        .await
        .unwrap();
    assert!(matches!(world.begin(false).await, Begun::Session(_)));
    assert_eq!(
        word(remove(None, Some("geheim")).await),
        FactorError::NoTotp
    );
    let renewed = world
        .pod
        .renew_recovery_codes(&world.who, Some("geheim"))
        .await;
    assert_eq!(word(renewed), FactorError::NoTotp);
    let record = world
        .pod
        .holder(&world.who.account)
        .unwrap()
        .unwrap()
        .record;
    assert!(record.totp.is_none() && record.recovery_codes.is_empty());
    let told = ["totp.add", "totp.remove", "recovery_codes.renew"].map(|one| world.audited(one));
    assert_eq!(told, [1, 1, 1]);
}

#[tokio::test]
async fn an_administrator_removes_what_somebody_has_lost() {
    let world = World::with_totp(LockoutMode::Off).await;
    let root = Caller::named("root", vec!["_admin".to_owned()]);
    world
        .pod
        .remove_factors(&world.who.account, &root, HERE)
        .await
        .unwrap();
    assert!(matches!(world.begin(false).await, Begun::Session(_)));
    assert_eq!(world.audited("factor.reset"), 1);
    let none = world.pod.remove_factors("nobody", &root, HERE).await;
    assert!(matches!(none, Err(PodError::Account(_))));
}

#[tokio::test]
async fn a_challenge_is_its_users_and_used_up() {
    let world = World::new(LockoutMode::Off).await;
    let pod = &world.pod;
    let none = pod
        .start_passkey(&world.who, Some("geheim"), "127.0.0.1")
        .await;
    assert_eq!(word(none), FactorError::Passkey(PasskeyError::NoHost));
    let made = pod
        .start_passkey(&world.who, Some("geheim"), HOST)
        .await
        .unwrap();
    let finish = |who: &Asking, continuation: &str| {
        let (pod, who, continuation) = (pod.clone(), who.clone(), continuation.to_owned());
        async move {
            let credential = serde_json::json!({});
            word(
                pod.finish_passkey(&who, &continuation, &credential, "x", HOST)
                    .await,
            )
        }
    };
    let other = Asking {
        account: keys::new_id(&pod.inner.entropy),
        ..world.who.clone()
    };
    assert_eq!(
        finish(&other, &made.continuation).await,
        FactorError::Expired
    );
    assert_eq!(finish(&world.who, "x").await, FactorError::Expired);
    let malformed = FactorError::NotMade(PasskeyError::Malformed);
    assert_eq!(finish(&world.who, &made.continuation).await, malformed);
    assert_eq!(
        finish(&world.who, &made.continuation).await,
        FactorError::Expired
    );
    // What was asked for to sign in makes no passkey, and the other way round.
    let sign_in = pod.start_passkey_sign_in(HOST).await.unwrap();
    assert_eq!(
        finish(&world.who, &sign_in.continuation).await,
        FactorError::Expired
    );
    let made = pod
        .start_passkey(&world.who, Some("geheim"), HOST)
        .await
        .unwrap();
    let credential = serde_json::json!({});
    let done = pod
        .finish_passkey_sign_in(&made.continuation, &credential, HOST, HERE)
        .await;
    assert_eq!(word(done), FactorError::Expired);
    world.later(300_000);
    let late = pod
        .finish_passkey_sign_in(&sign_in.continuation, &credential, HOST, HERE)
        .await;
    assert_eq!(word(late), FactorError::Expired);
}

/// What is done in the property test.
#[derive(Clone, Debug)]
enum Deed {
    /// The first factor is proved again.
    Begin,
    /// Digits of a step so far away are sent, with the continuation so many back.
    Digits(i64, usize),
    Wrong(usize),
    Code(usize, usize),
    Later(u64),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        2 => Just(Deed::Begin),
        3 => (-2_i64..=2, 0_usize..3).prop_map(|(away, back)| Deed::Digits(away, back)),
        3 => (0_usize..3).prop_map(Deed::Wrong),
        1 => (0_usize..10, 0_usize..3).prop_map(|(code, back)| Deed::Code(code, back)),
        2 => prop_oneof![Just(1_000_u64), Just(30_000), Just(299_999), Just(300_000), Just(43_200_000)]
            .prop_map(Deed::Later),
    ];
    proptest::collection::vec(deed, 1..100)
}

/// What should be so: each continuation with its end and the guesses left; and what was taken.
struct Model {
    open: Vec<(String, u64, u32)>,
    step: u64,
    codes: Vec<bool>,
    /// Wrong digits, and when the first came.
    wrong: (u32, u64),
}

/// What should be answered.
#[derive(Debug, PartialEq)]
enum Expected {
    In,
    Wrong,
    Expired,
    Closed,
}

impl Model {
    /// What is answered to `answer` with the continuation `back` from the last.
    fn answer(&mut self, back: usize, now_ms: u64, answer: &Deed) -> Expected {
        let place = self.open.len().checked_sub(back + 1);
        let open = |(_, expires_ms, left): &(String, u64, u32)| *left > 0 && now_ms < *expires_ms;
        let Some(place) = place.filter(|place| open(&self.open[*place])) else {
            return Expected::Expired;
        };
        let counts = now_ms - self.wrong.1 < 86_400_000;
        if !matches!(answer, Deed::Code(..)) && counts && self.wrong.0 >= 20 {
            return Expected::Closed;
        }
        let fits = match answer {
            Deed::Digits(away, _) => {
                let step = (now_ms / 30_000).saturating_add_signed(*away);
                let fits = away.abs() <= 1 && step > self.step;
                self.step = if fits { step } else { self.step };
                fits
            }
            Deed::Code(code, _) => std::mem::replace(&mut self.codes[*code], false),
            Deed::Begin | Deed::Wrong(_) | Deed::Later(_) => false,
        };
        if !fits && !matches!(answer, Deed::Code(..)) {
            let before = if counts { self.wrong } else { (0, now_ms) };
            self.wrong = (before.0 + 1, before.1);
        }
        let left = &mut self.open[place].2;
        *left = if fits { 0 } else { *left - 1 };
        if fits { Expected::In } else { Expected::Wrong }
    }
}

async fn play(deeds: Vec<Deed>) {
    let world = World::with_totp(LockoutMode::Off).await;
    let mut model = Model {
        open: Vec::new(),
        step: START_MS / 30_000,
        codes: vec![true; 10],
        wrong: (0, 0),
    };
    for deed in deeds {
        let now_ms = world.now_ms.load(Ordering::Relaxed);
        let (answer, back) = match &deed {
            Deed::Begin => {
                let continuation = world.continuation().await;
                model.open.push((continuation, now_ms + 300_000, 5));
                continue;
            }
            Deed::Later(ms) => {
                world.later(*ms);
                continue;
            }
            Deed::Wrong(back) => (SecondAnswer::Digits("x".to_owned()), *back),
            Deed::Digits(away, back) => (SecondAnswer::Digits(world.digits(away * 30)), *back),
            Deed::Code(code, back) => {
                let code = world.codes[*code].clone();
                (SecondAnswer::RecoveryCode(code), *back)
            }
        };
        let place = model.open.len().checked_sub(back + 1);
        let continuation = place.map_or("none".to_owned(), |place| model.open[place].0.clone());
        let came = match world.second(&continuation, answer).await {
            Ok(_) => Expected::In,
            Err(PodError::Factor(FactorError::WrongCode)) => Expected::Wrong,
            Err(PodError::Factor(FactorError::Expired)) => Expected::Expired,
            Err(PodError::Limited { .. }) => Expected::Closed,
            Err(other) => panic!("{deed:?}: {other:?}"),
        };
        assert_eq!(came, model.answer(back, now_ms, &deed), "{deed:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// However guesses, right answers and waiting follow each other: a continuation lets in once, in
    /// time, and stands five wrong answers; a step of time and a recovery code let in once.
    #[test]
    fn the_second_step_is_as_strict_as_it_says(deeds in deeds()) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(play(deeds));
    }
}

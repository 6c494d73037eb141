//! The life of sessions against a naive model: a credential is accepted exactly when the model says
//! so, whatever happens in whatever order, and after a restart.

mod epochs;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adea_accounts::sessions::REFRESH_GRACE_MS;
use adea_base::Clock;
use adea_files::Directory;
use adea_files::backend::Memory as MemoryFiles;
use adea_store::{Durability, Memory};
use proptest::prelude::*;

use super::*;
use crate::directory::NewAccount;
use crate::pod::PodOptions;
use crate::settings::SessionSettings;
use crate::sign_in::SignIn;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const BEGIN_MS: u64 = 1_795_246_129_000;
const SETTINGS: (u64, u64, u64, u64) = (100, 1_000, 5_000, 2_000);
const ACCOUNTS: usize = 2;

/// What happens.
#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    Begin {
        account: usize,
        face: Face,
    },
    Use {
        credential: usize,
    },
    UseMangled {
        credential: usize,
    },
    Refresh {
        token: usize,
    },
    Logout {
        session: usize,
    },
    LogoutByToken {
        token: usize,
    },
    EndAll {
        account: usize,
        except: Option<usize>,
    },
    ChangePassword {
        account: usize,
    },
    Block {
        account: usize,
        blocked: bool,
    },
    RotateKey,
    Sweep,
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let face = prop_oneof![Just(Face::Bearer), Just(Face::Cookie), Just(Face::Basic)];
    let account = 0..ACCOUNTS;
    let spans = vec![
        1, 999, 5_000, 9_999, 10_000, 50_000, 99_000, 100_000, 159_000, 160_000, 500_000, 899_000,
        999_999, 1_000_000, 2_000_000, 4_000_000,
    ];
    prop_oneof![
        4 => proptest::sample::select(spans).prop_map(Event::Pass),
        5 => (account.clone(), face).prop_map(|(account, face)| Event::Begin { account, face }),
        12 => any::<usize>().prop_map(|credential| Event::Use { credential }),
        1 => any::<usize>().prop_map(|credential| Event::UseMangled { credential }),
        8 => any::<usize>().prop_map(|token| Event::Refresh { token }),
        2 => any::<usize>().prop_map(|session| Event::Logout { session }),
        1 => any::<usize>().prop_map(|token| Event::LogoutByToken { token }),
        1 => (account.clone(), proptest::option::of(any::<usize>()))
            .prop_map(|(account, except)| Event::EndAll { account, except }),
        1 => account.clone().prop_map(|account| Event::ChangePassword { account }),
        2 => (account, any::<bool>())
            .prop_map(|(account, blocked)| Event::Block { account, blocked }),
        1 => Just(Event::RotateKey),
        1 => Just(Event::Sweep),
        1 => Just(Event::Restart),
    ]
}

/// A session as the model has it.
struct Life {
    id: String,
    account: usize,
    epoch: u64,
    used_ms: u64,
    expires_ms: u64,
    ended: bool,
    generation: u64,
    rotated_ms: u64,
}

/// What somebody may bring.
enum Brought {
    Bearer { token: String, ends_s: u64 },
    Cookie(String),
    Basic(String, String),
}

struct Model {
    now_ms: u64,
    epochs: [u64; ACCOUNTS],
    blocked: [bool; ACCOUNTS],
    lives: Vec<Life>,
    credentials: Vec<(usize, Brought)>,
    refresh: Vec<(usize, u64, String)>,
}

impl Model {
    fn is_alive(&self, session: usize) -> bool {
        let life = &self.lives[session];
        let idle_ms = SETTINGS.1 * 1_000;
        !life.ended
            && !self.blocked[life.account]
            && self.epochs[life.account] == life.epoch
            && self.now_ms < life.expires_ms
            && self.now_ms < life.used_ms + idle_ms
    }

    /// Whether a credential is good now; it counts as a use if it is.
    fn accepts(&mut self, credential: usize) -> bool {
        let (session, brought) = &self.credentials[credential];
        let in_time = match brought {
            Brought::Bearer { ends_s, .. } => self.now_ms / 1_000 < ends_s + 60,
            Brought::Cookie(_) | Brought::Basic(..) => true,
        };
        let session = *session;
        let good = in_time && self.is_alive(session);
        let life = &mut self.lives[session];
        if good && self.now_ms - life.used_ms >= SETTINGS.1 * 100 {
            life.used_ms = self.now_ms;
        }
        good
    }
}

struct World {
    engine: Arc<Memory>,
    files: Arc<MemoryFiles>,
    clock: Arc<AtomicU64>,
    pod: Pod,
    ids: Vec<String>,
    model: Model,
}

async fn open(engine: Arc<Memory>, files: Arc<MemoryFiles>, clock: Arc<AtomicU64>) -> Pod {
    let mut auth = crate::AuthSettings::default();
    let (access_s, idle_s, lifetime_s, basic_s) = SETTINGS;
    auth.accounts.sessions = SessionSettings {
        access_s,
        idle_s,
        lifetime_s,
        basic_s,
        ..SessionSettings::default()
    };
    let options = PodOptions {
        data: PathBuf::new(),
        durability: Durability::Strict,
        memory: 0,
        session_timeout_s: 600,
        session_secret: None,
        attachment_max: 1 << 20,
        auth,
        script: crate::ScriptSettings::default(),
        replication: Default::default(),
    };
    let files = Directory::open_backend(files).unwrap();
    let pod = Pod::over_at(engine, files, options, Clock::Manual(clock)).await;
    pod.unwrap()
}

fn wanted(face: Face) -> SessionWanted {
    SessionWanted {
        face,
        app: String::new(),
        device: "a test".to_owned(),
        address: PEER,
    }
}

impl World {
    async fn new() -> Self {
        let (engine, files) = (Arc::new(Memory::new()), Arc::default());
        let clock = Arc::new(AtomicU64::new(BEGIN_MS));
        let pod = open(Arc::clone(&engine), Arc::clone(&files), Arc::clone(&clock)).await;
        let mut ids = Vec::new();
        for name in ["ann", "bob"] {
            let new = NewAccount {
                name: Some(name.to_owned()),
                ..NewAccount::default()
            };
            ids.push(pod.create_account(new).await.unwrap());
        }
        let model = Model {
            now_ms: BEGIN_MS,
            epochs: [0; ACCOUNTS],
            blocked: [false; ACCOUNTS],
            lives: Vec::new(),
            credentials: Vec::new(),
            refresh: Vec::new(),
        };
        Self {
            engine,
            files,
            clock,
            pod,
            ids,
            model,
        }
    }

    /// What is given goes to the model.
    fn keep(&mut self, session: usize, given: Credentials) {
        let brought = match given.face {
            Face::Bearer => Brought::Bearer {
                token: given.secret,
                ends_s: self.model.now_ms / 1_000 + given.expires_in_s,
            },
            Face::Cookie => Brought::Cookie(given.secret),
            Face::Basic => Brought::Basic(given.basic_name.unwrap(), given.secret),
        };
        self.model.credentials.push((session, brought));
    }

    async fn begin(&mut self, account: usize, face: Face) {
        let proof = Proof {
            account: self.ids[account].clone(),
            method: "password".to_owned(),
            strong: true,
            epoch: None,
        };
        let begun = self.pod.begin_session(proof, wanted(face)).await;
        if self.model.blocked[account] {
            assert!(matches!(begun, Err(PodError::Refused(_))));
            return;
        }
        let Begun::Session(given) = begun.unwrap() else {
            panic!("no second factor is set");
        };
        let (session, now_ms) = (self.model.lives.len(), self.model.now_ms);
        let lasts_s = if face == Face::Basic {
            SETTINGS.3
        } else {
            SETTINGS.2
        };
        self.model.lives.push(Life {
            id: given.session.clone(),
            account,
            epoch: self.model.epochs[account],
            used_ms: now_ms,
            expires_ms: now_ms + lasts_s * 1_000,
            ended: false,
            generation: 0,
            rotated_ms: 0,
        });
        if let Some(token) = &given.refresh {
            self.model.refresh.push((session, 0, token.clone()));
        }
        self.keep(session, *given);
    }

    async fn try_credential(&mut self, credential: usize) {
        let (session, brought) = &self.model.credentials[credential];
        let sign_in = match brought {
            Brought::Bearer { token, .. } => SignIn::Bearer(token),
            Brought::Cookie(value) => SignIn::SessionCookie { value, peer: PEER },
            Brought::Basic(name, password) => SignIn::Basic {
                name,
                password,
                peer: None,
            },
        };
        let answer = self.pod.authenticate(sign_in).await;
        let life = &self.model.lives[*session];
        if let Ok(signed_in) = &answer {
            let caller = &signed_in.caller;
            let id = &self.ids[life.account];
            assert_eq!(caller.account(), Some(id.as_str()));
            assert_eq!(caller.session(), Some(life.id.as_str()));
            assert!(caller.roles().contains(&format!("user:{id}")));
        }
        let accepted = answer.is_ok();
        let expected = self.model.accepts(credential);
        assert_eq!(accepted, expected, "credential {credential}: {answer:?}");
    }

    async fn try_mangled(&mut self, credential: usize) {
        let flip = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            let at = bytes.len() / 2;
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).unwrap()
        };
        let (_, brought) = &self.model.credentials[credential];
        let answer = match brought {
            Brought::Bearer { token, .. } => {
                self.pod.authenticate(SignIn::Bearer(&flip(token))).await
            }
            Brought::Cookie(value) => {
                let forged = flip(value);
                let sign_in = SignIn::SessionCookie {
                    value: &forged,
                    peer: PEER,
                };
                self.pod.authenticate(sign_in).await
            }
            Brought::Basic(name, password) => {
                let sign_in = SignIn::Basic {
                    name,
                    password: &flip(password),
                    peer: None,
                };
                self.pod.authenticate(sign_in).await
            }
        };
        assert!(answer.is_err());
    }

    async fn refresh(&mut self, token: usize) {
        let (session, generation, text) = self.model.refresh[token].clone();
        let answer = self.pod.refresh_session(&text, PEER).await;
        let (now_ms, alive) = (self.model.now_ms, self.model.is_alive(session));
        let life = &mut self.model.lives[session];
        let just_now = now_ms - life.rotated_ms < REFRESH_GRACE_MS;
        if !alive {
            assert!(answer.is_err());
        } else if generation == life.generation {
            life.generation += 1;
            life.rotated_ms = now_ms;
            life.used_ms = now_ms;
            let given = answer.unwrap();
            let next = (session, generation + 1, given.refresh.clone().unwrap());
            self.model.refresh.push(next);
            self.keep(session, given);
        } else if generation + 1 == life.generation && just_now {
            let due = life.generation;
            let given = answer.unwrap();
            let mut all = self.model.refresh.iter();
            let known = all.find(|(of, n, _)| *of == session && *n == due).unwrap();
            assert_eq!(given.refresh.as_ref(), Some(&known.2));
            self.keep(session, given);
        } else {
            assert!(answer.is_err());
            life.ended = true;
        }
    }

    async fn end(&mut self, session: usize) {
        let life = &self.model.lives[session];
        let caller =
            adea_base::Caller::named("x", Vec::new()).with_account(&self.ids[life.account]);
        let address = PEER;
        let ended = self.pod.end_session(&caller, &life.id, address).await;
        assert!(ended.is_ok() || life.ended || !self.model.is_alive(session));
        self.model.lives[session].ended = true;
    }

    async fn end_all(&mut self, account: usize, except: Option<usize>) {
        let except = except.and_then(|at| {
            let all = self.model.lives.iter().enumerate();
            let mut own = all
                .filter(|(_, life)| life.account == account)
                .map(|(at, _)| at);
            let count = own.clone().count();
            own.nth(at.checked_rem(count)?)
        });
        let mut caller = adea_base::Caller::named("x", Vec::new()).with_account(&self.ids[account]);
        if let Some(except) = except {
            caller = caller.with_session(&self.model.lives[except].id);
        }
        let address = PEER;
        let keep = except.is_some();
        self.pod
            .end_own_sessions(&caller, keep, address)
            .await
            .unwrap();
        self.model.epochs[account] += 1;
        let epoch = self.model.epochs[account];
        for (at, life) in self.model.lives.iter_mut().enumerate() {
            if Some(at) != except {
                life.ended |= life.account == account;
            } else if life.epoch + 1 == epoch {
                life.epoch = epoch;
            }
        }
    }

    async fn change_password(&mut self, account: usize) {
        let id = self.ids[account].clone();
        let changed = self.pod.edit_account(&id, move |tx, record| {
            record.epoch += 1;
            Ok(Pod::end_sessions(tx, &record.id, None)?)
        });
        changed.await.unwrap();
        self.model.epochs[account] += 1;
        let mut lives = self.model.lives.iter_mut();
        lives
            .by_ref()
            .filter(|life| life.account == account)
            .for_each(|life| life.ended = true);
    }

    async fn happens(&mut self, event: Event) {
        let (credentials, tokens) = (self.model.credentials.len(), self.model.refresh.len());
        let lives = self.model.lives.len();
        match event {
            Event::Pass(ms) => {
                self.model.now_ms += ms;
                self.clock.store(self.model.now_ms, Ordering::Relaxed);
            }
            Event::Begin { account, face } => self.begin(account, face).await,
            Event::Use { credential } if credentials > 0 => {
                self.try_credential(credential % credentials).await;
            }
            Event::UseMangled { credential } if credentials > 0 => {
                self.try_mangled(credential % credentials).await;
            }
            Event::Refresh { token } if tokens > 0 => self.refresh(token % tokens).await,
            Event::Logout { session } if lives > 0 => self.end(session % lives).await,
            Event::LogoutByToken { token } if tokens > 0 => {
                let (session, _, text) = self.model.refresh[token % tokens].clone();
                let address = PEER;
                drop(self.pod.end_session_of_token(&text, address).await);
                self.model.lives[session].ended = true;
            }
            Event::EndAll { account, except } => self.end_all(account, except).await,
            Event::ChangePassword { account } => self.change_password(account).await,
            Event::Block { account, blocked } => {
                let id = self.ids[account].clone();
                let changed = self.pod.edit_account(&id, move |_, record| {
                    record.flags.blocked = blocked;
                    Ok(())
                });
                changed.await.unwrap();
                self.model.blocked[account] = blocked;
            }
            Event::RotateKey => {
                let root = adea_base::Caller::named("root", vec!["_admin".to_owned()]);
                self.pod.rotate_signing_key(&root).await.unwrap();
            }
            Event::Sweep => self.pod.sweep_sessions().await.unwrap(),
            Event::Restart => {
                self.pod.close();
                let (engine, files) = (Arc::clone(&self.engine), Arc::clone(&self.files));
                self.pod = open(engine, files, Arc::clone(&self.clock)).await;
            }
            Event::Use { .. }
            | Event::UseMangled { .. }
            | Event::Refresh { .. }
            | Event::Logout { .. }
            | Event::LogoutByToken { .. } => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_credential_is_accepted_exactly_when_the_model_says_so(
        events in proptest::collection::vec(event(), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for event in events {
                world.happens(event).await;
            }
            // At last, all that was ever given out.
            for credential in 0..world.model.credentials.len() {
                world.try_credential(credential).await;
            }
        });
    }
}

#[tokio::test]
async fn sessions_that_are_over_are_swept_and_others_stay() {
    let mut world = World::new().await;
    world.begin(0, Face::Bearer).await;
    world.happens(Event::Pass(600_000)).await;
    world.begin(0, Face::Cookie).await;
    world.happens(Event::Pass(600_000)).await;
    world.pod.sweep_sessions().await.unwrap();
    let view = world.pod.view();
    let left = sessions::list(view.as_ref(), &world.ids[0], None, 10).unwrap();
    let left: Vec<&str> = left.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(left, [world.model.lives[1].id.as_str()]);
}

#[tokio::test]
async fn a_feed_is_woken_by_its_account_and_asks_anew() {
    let mut world = World::new().await;
    world.begin(0, Face::Bearer).await;
    world.begin(1, Face::Bearer).await;
    let callers = async |world: &World, at: usize| {
        let Brought::Bearer { token, .. } = &world.model.credentials[at].1 else {
            panic!("begun as bearer");
        };
        let signed_in = world.pod.authenticate(SignIn::Bearer(token)).await;
        signed_in.unwrap().caller
    };
    let (ann, bob) = (callers(&world, 0).await, callers(&world, 1).await);
    let mut anns = world.pod.follow_caller(&ann).unwrap();
    let mut bobs = world.pod.follow_caller(&bob).unwrap();
    assert!(
        anns.is_due(),
        "what changed before it was opened is noticed"
    );
    assert!(world.pod.caller_again(&ann, &mut anns).unwrap().is_some());
    assert!(world.pod.caller_again(&bob, &mut bobs).unwrap().is_some());
    assert!(!anns.is_due() && !bobs.is_due());
    world.end(0).await;
    assert!(anns.is_due() && !bobs.is_due());
    assert_eq!(world.pod.caller_again(&ann, &mut anns).unwrap(), None);
    let mut waiting = Some(bobs);
    tokio::select! {
        biased;
        () = Standing::due_of(&mut waiting) => panic!("nothing happened to him"),
        () = tokio::task::yield_now() => {}
    }
    world
        .happens(Event::Block {
            account: 1,
            blocked: true,
        })
        .await;
    Standing::due_of(&mut waiting).await;
    let mut bobs = waiting.unwrap();
    assert_eq!(world.pod.caller_again(&bob, &mut bobs).unwrap(), None);
    assert!(
        world
            .pod
            .follow_caller(&adea_base::Caller::anonymous())
            .is_none()
    );
    let root = adea_base::Caller::named("root", vec!["_admin".to_owned()]);
    assert!(
        world.pod.follow_caller(&root).is_none(),
        "nobody here is called so: a token of others says it"
    );
}

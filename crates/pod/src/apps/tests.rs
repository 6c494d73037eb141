//! Apps over a store in memory.

use std::sync::Arc;

use adea_accounts::apps::{self, App, AppQuota, AppSignUp, SignUpWord};
use adea_accounts::directory::{self, AccountRecord, Address};
use adea_accounts::keys;
use adea_base::{Caller, DatabaseName};
use adea_documents::DatabaseError;
use adea_store::{Decline, Faulty};

use super::{Actor, AppError};
use crate::error::PodError;
use crate::pod::Pod;
use crate::write_user::tests::over;

/// Some accounts and apps.
struct Bench {
    pod: Pod,
    root: Actor,
}

fn name(text: &str) -> DatabaseName {
    DatabaseName::parse(text).unwrap()
}

impl Bench {
    async fn new() -> Self {
        let pod = over(Arc::new(Faulty::new())).await;
        let root = Caller::named("root", vec!["_admin".to_owned()]);
        Self {
            pod,
            root: Actor::of(&root, None),
        }
    }

    async fn register(&self, id: &str, change: impl FnOnce(&mut App)) {
        let mut app = App {
            id: id.to_owned(),
            title: id.to_owned(),
            ..App::default()
        };
        change(&mut app);
        self.pod.register_app(app, &self.root).await.unwrap();
    }

    /// Makes the account `name`, whose address is verified, and answers its id.
    async fn account(&self, name: &str) -> String {
        let id = keys::new_id(self.pod.entropy());
        let record = AccountRecord {
            id: id.clone(),
            name: name.to_owned(),
            addresses: vec![Address {
                address: format!("{name}@firm.example"),
                normal: format!("{name}@firm.example"),
                verified_ms: Some(1),
            }],
            ..AccountRecord::default()
        };
        self.transact(move |tx| directory::store(tx, None, &record))
            .await;
        id
    }

    async fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut adea_store::Transaction<'_>) -> Result<T, adea_store::EngineError>
        + Send
        + 'static,
    ) -> T {
        let done = self.pod.inner.store.transact(Pod::permit(), |tx| {
            work(tx).map_err(Decline::<AppError>::from)
        });
        done.await.map_err(PodError::from).unwrap()
    }

    /// The account as it is let in now.
    fn caller(&self, id: &str) -> Actor {
        let view = self.pod.view();
        let mut roles = Vec::new();
        apps::roles_of(view.as_ref(), id, &mut roles).unwrap();
        let record = directory::find(view.as_ref(), id).unwrap();
        let name = record.map_or_else(String::new, |record| record.name);
        Actor::of(&Caller::named(&name, roles).with_account(id), None)
    }

    fn enters(&self, id: &str, database: &str) -> bool {
        let caller = self.caller(id).caller;
        match self.pod.may_enter(&caller, &name(database)) {
            Ok(()) => true,
            Err(PodError::App(AppError::NotJoined(_))) => false,
            Err(error) => panic!("{error}"),
        }
    }

    async fn join(&self, id: &str, app: &str) -> Result<(), AppError> {
        refusal(self.pod.join_app(app, &self.caller(id)).await.map(drop))
    }

    async fn leave(&self, id: &str, app: &str) -> Result<(), AppError> {
        refusal(self.pod.leave_app(app, &self.caller(id)).await)
    }

    fn audited(&self) -> Vec<String> {
        let range = adea_store::KeyRange::prefix(&[adea_store::key::AUDIT]);
        let view = self.pod.view();
        let forward = adea_store::Direction::Forward;
        let mut cursor = view
            .range(adea_store::Space::Index, range, forward)
            .unwrap();
        let mut actions = Vec::new();
        while let Some((_, value)) = cursor.next().unwrap() {
            let entry: adea_accounts::audit::AuditEntry =
                adea_accounts::stored::decode(value, "an entry").unwrap();
            actions.push(entry.action);
        }
        actions
    }
}

fn refusal<T>(done: Result<T, PodError>) -> Result<T, AppError> {
    done.map_err(|error| {
        let PodError::App(refused) = error else {
            panic!("{error}");
        };
        refused
    })
}

#[tokio::test]
async fn who_has_joined_enters_and_nobody_else() {
    let bench = Bench::new().await;
    let (ann, bob) = (bench.account("ann").await, bench.account("bob").await);
    // Before it is registered it is a name as others.
    assert!(bench.enters(&ann, "shop"));
    bench.register("shop", |_| {}).await;
    bench.register("blog", |_| {}).await;
    for database in ["shop", "shop/mine", "blog/x"] {
        assert!(!bench.enters(&ann, database), "{database}");
    }
    for database in ["shops", "shop_x", "shop/_users", "_users", "other/x"] {
        assert!(bench.enters(&ann, database), "{database}");
    }
    bench.join(&ann, "shop").await.unwrap();
    bench.join(&ann, "shop").await.unwrap();
    assert!(bench.enters(&ann, "shop/mine"));
    assert!(!bench.enters(&ann, "blog/x"));
    assert!(!bench.enters(&bob, "shop/mine"));
    assert!(bench.pod.may_use_app(&ann, "shop").is_ok());
    let refused = bench.pod.may_use_app(&ann, "blog");
    assert_eq!(
        refusal(refused),
        Err(AppError::NotJoined("blog".to_owned()))
    );
    let refused = bench.pod.may_use_app(&ann, "none");
    assert_eq!(refusal(refused), Err(AppError::Unknown));
    assert!(bench.pod.may_use_app(&ann, "").is_ok());
    bench.leave(&ann, "shop").await.unwrap();
    assert!(!bench.enters(&ann, "shop/mine"));
    let again = bench.leave(&ann, "shop").await;
    assert_eq!(again, Err(AppError::NotJoined("shop".to_owned())));
    assert_eq!(
        bench.audited(),
        ["app.create", "app.create", "app.join", "app.leave"]
    );
}

#[tokio::test]
async fn whoever_was_let_in_is_put_out_when_he_leaves() {
    let bench = Bench::new().await;
    let ann = bench.account("ann").await;
    bench.register("shop", |_| {}).await;
    bench.join(&ann, "shop").await.unwrap();
    let caller = bench.caller(&ann).caller;
    let mut topic = bench
        .pod
        .inner
        .store
        .watch()
        .subscribe(directory::topic_of(&ann));
    topic.mark_seen();
    assert!(bench.pod.may_still_enter(&caller, &name("shop/x")).is_ok());
    bench.leave(&ann, "shop").await.unwrap();
    topic.changed().await;
    assert!(bench.pod.may_still_enter(&caller, &name("shop/x")).is_err());
}

#[tokio::test]
async fn rules_say_who_may_join() {
    let bench = Bench::new().await;
    let ann = bench.account("ann").await;
    let sign_up = |mode, allowed: &[&str]| {
        let allowed = allowed.iter().map(|text| (*text).to_owned()).collect();
        move |app: &mut App| {
            app.sign_up = AppSignUp {
                mode: Some(mode),
                allowed: Some(allowed),
                anonymous: None,
            };
        }
    };
    bench.register("open", sign_up(SignUpWord::Open, &[])).await;
    bench
        .register("closed", sign_up(SignUpWord::Closed, &[]))
        .await;
    bench
        .register("invited", sign_up(SignUpWord::Invited, &[]))
        .await;
    let firm = sign_up(SignUpWord::Listed, &["Firm.example"]);
    bench.register("firm", firm).await;
    let one = sign_up(SignUpWord::Listed, &["ann@firm.example"]);
    bench.register("ann", one).await;
    let other = sign_up(SignUpWord::Listed, &["bob@firm.example", "other.example"]);
    bench.register("bob", other).await;
    for app in ["open", "firm", "ann"] {
        bench.join(&ann, app).await.unwrap();
    }
    for app in ["closed", "invited", "bob"] {
        let refused = bench.join(&ann, app).await;
        assert_eq!(refused, Err(AppError::Closed(app.to_owned())), "{app}");
    }
    // Who has no account here has nothing that could join.
    let stranger = Actor::of(&Caller::named("carl", vec![]), None);
    let refused = bench.pod.join_app("open", &stranger).await;
    assert_eq!(refusal(refused), Err(AppError::NoAccount));
}

#[tokio::test]
async fn quotas_are_kept() {
    let bench = Bench::new().await;
    let (ann, bob) = (bench.account("ann").await, bench.account("bob").await);
    let pod = &bench.pod;
    pod.create_database(&name("shop/before"), false)
        .await
        .unwrap();
    bench
        .register("shop", |app| {
            app.quota = AppQuota {
                databases: Some(2),
                accounts: Some(1),
            };
        })
        .await;
    bench.join(&ann, "shop").await.unwrap();
    let full = AppError::QuotaExceeded("accounts of the app");
    assert_eq!(bench.join(&bob, "shop").await, Err(full));
    bench.leave(&ann, "shop").await.unwrap();
    bench.join(&bob, "shop").await.unwrap();
    // Neither look-alikes nor system databases count.
    for other in ["shop/_users", "shops", "shop-x/y"] {
        pod.create_database(&name(other), false).await.unwrap();
    }
    pod.create_database(&name("shop"), false).await.unwrap();
    let full = AppError::QuotaExceeded("databases of the app");
    let third = pod.create_database(&name("shop/third"), false).await;
    assert_eq!(refusal(third), Err(full));
    let missing = pod.database(&name("shop/third")).map(drop);
    assert!(matches!(
        missing,
        Err(PodError::Database(DatabaseError::Missing))
    ));
    pod.drop_database(&name("shop")).await.unwrap();
    pod.create_database(&name("shop/third"), false)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_administrator_of_an_app_rules_its_namespace_and_no_other() {
    let bench = Bench::new().await;
    let ann = bench.account("ann").await;
    let pod = &bench.pod;
    bench.register("shop", |_| {}).await;
    bench.register("blog", |_| {}).await;
    let appointed = pod.appoint_app_admin("shop", &ann, true, &bench.root);
    appointed.await.unwrap();
    let admin = bench.caller(&ann);
    assert!(bench.enters(&ann, "shop/x"), "it has joined");
    for (database, expected) in [
        ("shop", true),
        ("shop/x", true),
        ("shop/_users", false),
        ("shop/_replicator", false),
        ("blog/x", false),
        ("shops", false),
        ("other", false),
    ] {
        let may = pod.may_make(&admin.caller, &name(database));
        assert_eq!(may, expected, "{database}");
    }
    pod.make_database(&name("shop/x"), false, &admin)
        .await
        .unwrap();
    let entry = pod.database(&name("shop/x")).unwrap();
    assert!(entry.access(&admin.caller).require_admin().is_ok());
    let mere = Caller::named("bob", vec!["app:shop".to_owned()]);
    assert!(entry.access(&mere).require_member().is_err());
    let title = Box::new(|app: &mut App| app.title = "New".to_owned());
    let changed = pod
        .change_app("shop", Some(1), title, &admin)
        .await
        .unwrap();
    assert_eq!((changed.title.as_str(), changed.revision), ("New", 2));
    let origins = Box::new(|app: &mut App| app.origins = vec!["https://evil.example".to_owned()]);
    let refused = pod.change_app("shop", None, origins, &admin).await;
    assert_eq!(refusal(refused), Err(AppError::ServersMatter("origins")));
    let refused = pod.change_app("blog", None, Box::new(|_| {}), &admin).await;
    assert_eq!(refusal(refused), Err(AppError::NotAdmin("blog".to_owned())));
    let stale = pod
        .change_app("shop", Some(1), Box::new(|_| {}), &admin)
        .await;
    assert_eq!(refusal(stale), Err(AppError::Changed(2)));
    let dismissed = pod.appoint_app_admin("shop", &ann, false, &bench.root);
    dismissed.await.unwrap();
    let now = bench.caller(&ann).caller;
    assert!(!pod.may_make(&now, &name("shop/x")));
    assert!(bench.enters(&ann, "shop/x"), "it has still joined");
}

#[tokio::test]
async fn a_registration_that_ends_leaves_databases_and_no_members() {
    let bench = Bench::new().await;
    let ann = bench.account("ann").await;
    let pod = &bench.pod;
    bench
        .register("shop", |app| app.domains = vec!["shop.example".to_owned()])
        .await;
    bench.join(&ann, "shop").await.unwrap();
    pod.appoint_app_admin("shop", &ann, true, &bench.root)
        .await
        .unwrap();
    pod.create_database(&name("shop/x"), false).await.unwrap();
    let entry = pod.database(&name("shop/x")).unwrap();
    let admin = bench.caller(&ann).caller;
    assert!(entry.access(&admin).require_admin().is_ok());
    assert_eq!(
        pod.app_of_host("Shop.Example.:8443").as_deref(),
        Some("shop")
    );
    assert_eq!(pod.app_of_host("shop.example.org"), None);
    pod.remove_app("shop", None, &bench.root).await.unwrap();
    assert_eq!(pod.app_of_host("shop.example"), None);
    assert!(bench.caller(&ann).caller.roles().is_empty());
    let entry = pod.database(&name("shop/x")).unwrap();
    assert!(entry.access(&admin).require_admin().is_err());
    assert!(bench.enters(&ann, "shop/x"), "judged by what is set for it");
    // Who had joined an app of that name has not joined this one.
    bench.register("shop", |_| {}).await;
    assert!(!bench.enters(&ann, "shop/x"));
    assert!(bench.transact(|tx| apps::count(tx, "shop")).await == 0);
}

#[tokio::test]
async fn a_join_of_an_earlier_registration_means_nothing_though_it_was_not_swept() {
    let bench = Bench::new().await;
    let ann = bench.account("ann").await;
    bench.register("shop", |_| {}).await;
    bench.join(&ann, "shop").await.unwrap();
    // As after a crash between the two steps of a removal.
    bench
        .transact(|tx| {
            if let Some(app) = apps::find(tx, "shop")? {
                apps::remove(tx, &app)?;
            }
            Ok(())
        })
        .await;
    bench.pod.reread_apps().unwrap();
    bench.register("shop", |_| {}).await;
    assert!(!bench.enters(&ann, "shop/x"));
    let app = bench.pod.app("shop").unwrap();
    let listed = apps::accounts(bench.pod.view().as_ref(), &app, None, 10);
    assert!(listed.unwrap().is_empty());
    bench.join(&ann, "shop").await.unwrap();
    assert!(bench.enters(&ann, "shop/x"));
    assert_eq!(bench.transact(|tx| apps::count(tx, "shop")).await, 1);
}

#[tokio::test]
async fn joins_of_an_app_that_is_gone_are_removed_also_if_the_server_stopped_in_between() {
    let bench = Bench::new().await;
    let ann = bench.account("ann").await;
    bench.register("shop", |_| {}).await;
    bench.join(&ann, "shop").await.unwrap();
    let version = || directory::version(bench.pod.view().as_ref()).unwrap();
    let before = version();
    bench
        .transact(|tx| {
            if let Some(app) = apps::find(tx, "shop")? {
                apps::remove(tx, &app)?;
            }
            Ok(())
        })
        .await;
    assert!(version() > before, "roles are worked out anew");
    assert!(bench.caller(&ann).caller.roles().is_empty());
    let left = |kind: u8| {
        let view = bench.pod.view();
        let range = adea_store::KeyRange::prefix(&[adea_store::key::ACCOUNTS, kind]);
        let forward = adea_store::Direction::Forward;
        let mut cursor = view
            .range(adea_store::Space::Index, range, forward)
            .unwrap();
        cursor.next().unwrap().is_some()
    };
    assert!(left(41) && left(42) && left(31));
    bench.pod.tidy_organisations().await.unwrap();
    assert!(!left(41) && !left(42) && !left(31));
}

#[tokio::test]
async fn an_account_that_ends_has_joined_nothing() {
    let bench = Bench::new().await;
    let ann = bench.account("ann").await;
    for app in ["shop", "blog"] {
        bench.register(app, |_| {}).await;
        bench.join(&ann, app).await.unwrap();
    }
    let gone = ann.clone();
    bench
        .transact(move |tx| apps::leave_everywhere(tx, &gone))
        .await;
    assert!(bench.pod.apps_joined(&ann).unwrap().is_empty());
    for app in ["shop", "blog"] {
        assert_eq!(bench.transact(move |tx| apps::count(tx, app)).await, 0);
        let app = bench.pod.app(app).unwrap();
        let listed = apps::accounts(bench.pod.view().as_ref(), &app, None, 10);
        assert!(listed.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_domain_is_one_apps() {
    let bench = Bench::new().await;
    let domain = |app: &mut App| app.domains = vec!["shop.example".to_owned()];
    bench.register("shop", domain).await;
    bench.register("blog", |_| {}).await;
    let taken = AppError::DomainTaken("shop.example".to_owned());
    let refused = bench
        .pod
        .change_app("blog", None, Box::new(domain), &bench.root);
    assert_eq!(refusal(refused.await), Err(taken));
    let none = Box::new(|app: &mut App| app.domains.clear());
    bench
        .pod
        .change_app("shop", None, none, &bench.root)
        .await
        .unwrap();
    let changed = bench
        .pod
        .change_app("blog", None, Box::new(domain), &bench.root);
    changed.await.unwrap();
    assert_eq!(
        bench.pod.app_of_host("shop.example").as_deref(),
        Some("blog")
    );
    let again = App {
        id: "blog".to_owned(),
        title: "x".to_owned(),
        ..App::default()
    };
    let refused = bench.pod.register_app(again, &bench.root).await;
    assert_eq!(refusal(refused), Err(AppError::Exists));
}

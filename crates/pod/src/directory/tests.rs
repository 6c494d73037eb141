//! Records against a naive model: whatever is written to `_users`, by whichever way, there is a record
//! for exactly those accounts whose document is alive, and no id is given twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use adea_accounts::directory::{self, AccountRecord, Address};
use adea_accounts::stored::decode;
use adea_accounts::{keys, user_id};
use adea_base::{Caller, DocumentId};
use adea_documents::json::parse_document;
use adea_documents::revision::{Revision, RevisionId};
use adea_store::{Direction, Space};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::life::hex;
use super::{AccountChange, AccountError, AccountGiven, NewAccount, ProfileChange};
use crate::apps::Actor;
use crate::databases::{DatabaseEntry, reader};
use crate::error::PodError;
use crate::pod::Pod;
use crate::write_document::{DraftedEdit, Prepared};
use crate::write_user::tests::{caller, is_wrong, pod, signs_in, users};

const NAMES: [&str; 3] = ["ann", "bob", "cem"];

/// What is done to a document.
#[derive(Clone, Debug)]
enum Step {
    /// An edit of the winner, or a first revision; the number stands for a password.
    Put(usize, u8),
    /// A deletion of the winner.
    Delete(usize),
    /// A branch made elsewhere: its generation, its id, whether it is a tombstone, a password.
    Branch(usize, u64, u8, bool, u8),
    /// Forgets leaves: all of them, or the winner.
    Purge(usize, bool),
    /// Several edits that are written as a whole, one of which may be refused.
    Whole(Vec<(usize, u8)>, bool),
    /// The database is dropped, and made anew.
    Drop,
    /// Another name, as a user may choose one.
    Rename(usize, usize),
    /// The pod's own way to erase.
    Erase(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        5 => (name.clone(), 0..3_u8).prop_map(|(n, p)| Step::Put(n, p)),
        2 => name.clone().prop_map(Step::Delete),
        3 => (name.clone(), 1..5_u64, 0..4_u8, any::<bool>(), 0..3_u8)
            .prop_map(|(n, g, id, gone, p)| Step::Branch(n, g, id, gone, p)),
        2 => (name.clone(), any::<bool>()).prop_map(|(n, all)| Step::Purge(n, all)),
        2 => (prop::collection::vec((name.clone(), 0..3_u8), 1..4), any::<bool>())
            .prop_map(|(edits, stale)| Step::Whole(edits, stale)),
        1 => Just(Step::Drop),
        1 => (name.clone(), name.clone()).prop_map(|(one, other)| Step::Rename(one, other)),
        1 => name.prop_map(Step::Erase),
    ]
}

fn root() -> Caller {
    caller("root", &["_admin"])
}

fn by_root() -> Actor {
    Actor::of(&root(), None)
}

/// A document whose password nobody has to hash.
fn document(name: &str, password: u8) -> Value {
    json!({
        "type": "user", "name": name, "roles": [], "password_scheme": "simple",
        "password_sha": format!("{password:02x}").repeat(20), "salt": "s",
    })
}

async fn drafted(
    pod: &Pod,
    entry: &DatabaseEntry,
    name: &str,
    body: &Value,
    edit: DraftedEdit,
) -> Result<Prepared, PodError> {
    let draft = parse_document(body.to_string().as_bytes()).unwrap();
    let id = DocumentId::parse(&user_id(name)).unwrap();
    pod.prepare(entry, &root(), id, draft, edit, Vec::new())
        .await
}

/// The leaves of a document, the winner first, each with whether it is a tombstone.
fn leaves(pod: &Pod, entry: &DatabaseEntry, name: &str) -> Vec<(Revision, bool)> {
    let view = pod.view();
    let Some(record) = reader(view.as_ref(), entry, &root())
        .record(&user_id(name))
        .unwrap()
    else {
        return Vec::new();
    };
    let winner = record.tree.winner().unwrap().revision();
    let mut all: Vec<(Revision, bool)> = record
        .tree
        .leaves()
        .map(|leaf| (leaf.revision(), leaf.is_deleted()))
        .collect();
    all.sort_by_key(|(revision, _)| *revision != winner);
    all
}

fn winner(pod: &Pod, entry: &DatabaseEntry, name: &str) -> Option<Revision> {
    let first = leaves(pod, entry, name).into_iter().next();
    first
        .filter(|(_, deleted)| !deleted)
        .map(|(revision, _)| revision)
}

#[expect(clippy::too_many_lines, reason = "a table: one row for each step")]
async fn take(pod: &Pod, step: &Step) {
    let entry = users(pod);
    match step {
        Step::Put(n, password) => {
            let name = NAMES[*n];
            let edit = DraftedEdit::Edit(winner(pod, &entry, name));
            if let Ok(draft) = drafted(pod, &entry, name, &document(name, *password), edit).await {
                pod.write(&entry, draft).await.unwrap();
            }
        }
        Step::Delete(n) => {
            let Some(revision) = winner(pod, &entry, NAMES[*n]) else {
                return;
            };
            let edit = DraftedEdit::Edit(Some(revision));
            let gone = json!({"_deleted": true});
            let draft = drafted(pod, &entry, NAMES[*n], &gone, edit).await.unwrap();
            pod.write(&entry, draft).await.unwrap();
        }
        Step::Branch(n, generation, id, gone, password) => {
            let name = NAMES[*n];
            let path: Vec<RevisionId> = (0..*generation)
                .map(|n| RevisionId::Md5([id.wrapping_add(u8::try_from(n).unwrap() * 7); 16]))
                .collect();
            let body = match gone {
                true => json!({"_deleted": true}),
                false => document(name, *password),
            };
            let edit = DraftedEdit::Replicated(*generation, path);
            if let Ok(draft) = drafted(pod, &entry, name, &body, edit).await {
                drop(pod.write(&entry, draft).await);
            }
        }
        Step::Purge(n, all) => {
            let leaves = leaves(pod, &entry, NAMES[*n]).into_iter();
            let count = if *all { usize::MAX } else { 1 };
            let revisions = leaves.take(count).map(|(revision, _)| revision).collect();
            let id = DocumentId::parse(&user_id(NAMES[*n])).unwrap();
            pod.purge(&entry, vec![(id, revisions)]).await.unwrap();
        }
        Step::Whole(edits, stale) => {
            let (mut drafts, mut seen) = (Vec::new(), BTreeSet::new());
            for (n, password) in edits {
                let name = NAMES[*n];
                if !seen.insert(name) {
                    continue;
                }
                let edit = DraftedEdit::Edit(winner(pod, &entry, name));
                let drafted = drafted(pod, &entry, name, &document(name, *password), edit).await;
                drafts.extend(drafted);
            }
            if *stale && let Some(draft) = drafts.last_mut() {
                let id = RevisionId::Md5([99; 16]);
                draft.edit = DraftedEdit::Edit(Some(Revision { generation: 9, id }));
            }
            drop(pod.write_all(&entry, drafts).await.unwrap());
        }
        Step::Drop => {
            pod.drop_database(&entry.name).await.unwrap();
            pod.make_system_databases().await.unwrap();
        }
        Step::Rename(one, other) => {
            let Some(id) = record_of(pod, NAMES[*one]).map(|record| record.id) else {
                return;
            };
            let change = ProfileChange {
                name: Some(NAMES[*other].to_owned()),
                ..ProfileChange::default()
            };
            drop(pod.change_profile(&id, change, by_root()).await);
        }
        Step::Erase(n) => {
            if let Some(record) = record_of(pod, NAMES[*n]) {
                pod.delete_account(&record.id, by_root()).await.unwrap();
            }
        }
    }
}

fn record_of(pod: &Pod, name: &str) -> Option<AccountRecord> {
    let number = users(pod).number.0;
    directory::live_name(pod.view().as_ref(), number, name).unwrap()
}

/// All records that are of the present database.
fn records(pod: &Pod) -> BTreeMap<String, AccountRecord> {
    let (view, number) = (pod.view(), users(pod).number.0);
    let mut rows = view
        .range(Space::Index, directory::all(), Direction::Forward)
        .unwrap();
    let mut found = BTreeMap::new();
    while let Some((_, value)) = rows.next().unwrap() {
        let record: AccountRecord = decode(value, "a record").unwrap();
        if record.users == number {
            assert!(found.insert(record.name.clone(), record).is_none());
        }
    }
    found
}

/// Whether records are in step with documents, and which id each name has.
fn in_step(pod: &Pod) -> BTreeMap<String, String> {
    let (entry, records) = (users(pod), records(pod));
    for name in NAMES {
        let alive = winner(pod, &entry, name).is_some();
        assert_eq!(records.contains_key(name), alive, "{name}");
        let found =
            crate::write_user::current_user(pod.view().as_ref(), &entry, &user_id(name), &root());
        let credential = found.unwrap().and_then(|found| {
            let fields = found.as_object().unwrap();
            adea_accounts::StoredCredential::from_document(fields)
                .ok()
                .flatten()
        });
        let shown = credential.map(|one| hex(one.fingerprint()));
        let known = records.get(name);
        assert_eq!(
            known.and_then(|one| one.password_fingerprint.clone()),
            shown,
            "{name}"
        );
        assert_eq!(record_of(pod, name).as_ref(), known);
    }
    assert!(records.len() <= NAMES.len());
    let ids = records.into_iter().map(|(name, record)| (name, record.id));
    ids.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_stay_in_step_with_documents_and_ids_are_never_given_twice(
        steps in prop::collection::vec(step(), 1..40)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pod = pod().await;
            let (mut before, mut spent) = (BTreeMap::new(), BTreeSet::new());
            for step in &steps {
                take(&pod, step).await;
                let now = in_step(&pod);
                let ids: BTreeSet<&String> = now.values().collect();
                for id in before.values() {
                    if !ids.contains(id) {
                        spent.insert(String::clone(id));
                    }
                }
                assert!(ids.iter().all(|id| keys::is_id(id) && !spent.contains(*id)), "{step:?}");
                before = now;
            }
        });
    }
}

#[tokio::test]
async fn a_document_that_was_there_before_gets_its_record_once() {
    let pod = pod().await;
    let root = root();
    // This way of writing knows of no records, as earlier versions did not.
    let edit = crate::write_user::tests::edit(None);
    crate::write_user::tests::write(&pod, &root, &user_id("ann"), document("ann", 1), edit)
        .await
        .unwrap();
    assert_eq!(record_of(&pod, "ann"), None);
    let number = users(&pod).number;
    let uncomplete = pod.inner.store.transact(Pod::permit(), move |tx| {
        directory::set_complete(tx, number.0 + 1);
        Ok::<_, adea_store::Decline<PodError>>(())
    });
    uncomplete.await.map_err(PodError::from).unwrap();
    pod.make_missing_records().await.unwrap();
    let made = record_of(&pod, "ann").unwrap();
    pod.make_missing_records().await.unwrap();
    assert_eq!(record_of(&pod, "ann"), Some(made));
}

#[tokio::test]
async fn a_flag_a_block_and_a_role_are_in_force_at_the_next_request() {
    let pod = pod().await;
    let given = AccountGiven {
        name: Some("ann".to_owned()),
        address: Some("Ann@Example.org".to_owned()),
        address_verified: true,
        password: Some("geheim12".to_owned()),
        ..AccountGiven::default()
    };
    let id = pod.give_account(given, by_root()).await.unwrap();
    assert_eq!(signs_in(&pod, "ann", "geheim12").await, caller("ann", &[]));
    // By any case of the verified address, and it is the same account.
    let by_address = signs_in(&pod, "ann@EXAMPLE.org", "geheim12").await;
    assert_eq!(by_address, caller("ann", &[]));
    let change = async |change: AccountChange| {
        pod.change_account(&id, change, by_root()).await.unwrap();
    };
    change(AccountChange {
        admin: Some(true),
        ..AccountChange::default()
    })
    .await;
    assert!(signs_in(&pod, "ann", "geheim12").await.is_admin());
    let roles = Some(vec!["staff".to_owned()]);
    change(AccountChange {
        admin: Some(false),
        roles,
        ..AccountChange::default()
    })
    .await;
    assert_eq!(
        signs_in(&pod, "ann", "geheim12").await,
        caller("ann", &["staff"])
    );
    let here = "192.0.2.1".parse().unwrap();
    let opened = pod.open_session("ann", "geheim12", None, here).await;
    let (_, cookie) = opened.unwrap();
    change(AccountChange {
        blocked: Some(true),
        ..AccountChange::default()
    })
    .await;
    assert!(is_wrong(&pod, "ann", "geheim12").await);
    assert!(is_wrong(&pod, "ann@example.org", "geheim12").await);
    let resumed = pod
        .authenticate(crate::SignIn::Cookie(&cookie))
        .await
        .unwrap();
    assert_eq!(resumed.caller, Caller::anonymous());
    assert!(pod.holder(&id).unwrap().unwrap().record.flags.blocked);
    change(AccountChange {
        blocked: Some(false),
        ..AccountChange::default()
    })
    .await;
    assert_eq!(
        signs_in(&pod, "ann", "geheim12").await,
        caller("ann", &["staff"])
    );
    for bad in ["_admin", "", "org:x", "user:y", "a\nb"] {
        let roles = Some(vec![bad.to_owned()]);
        let bad = AccountChange {
            roles,
            ..AccountChange::default()
        };
        let refused = pod.change_account(&id, bad, by_root()).await;
        let of_roles = matches!(refused, Err(PodError::Account(AccountError::Roles)));
        assert!(of_roles, "{refused:?}");
    }
}

#[tokio::test]
async fn a_name_that_looks_like_anothers_is_taken_and_so_is_an_address() {
    let pod = pod().await;
    pod.set_admin("root", "geheim12").await.unwrap();
    let named = |name: &str| NewAccount {
        name: Some(name.to_owned()),
        ..NewAccount::default()
    };
    let id = pod.create_account(named("Paul")).await.unwrap();
    assert_eq!(
        pod.holder(&id).unwrap().unwrap().caller.name(),
        Some("Paul")
    );
    for other in ["paul", "PAUL", "Раul", "pauI", "Ｐaul", "r00t"] {
        let refused = pod.create_account(named(other)).await;
        let taken = matches!(refused, Err(PodError::Account(AccountError::NameTaken)));
        assert!(taken, "{other}");
    }
    let address = |verified_ms| Address {
        address: "p@x.org".to_owned(),
        normal: "p@x.org".to_owned(),
        verified_ms,
    };
    let with = |address| NewAccount {
        address: Some(address),
        ..NewAccount::default()
    };
    let first = pod.create_account(with(address(Some(1)))).await.unwrap();
    assert_eq!(
        pod.account_of_address("P@x.org").unwrap(),
        Some(first.clone())
    );
    let refused = pod.create_account(with(address(Some(1)))).await;
    assert!(matches!(
        refused,
        Err(PodError::Account(AccountError::AddressTaken))
    ));
    pod.create_account(with(address(None))).await.unwrap();
    // What one account gives up another may have.
    let entry = users(&pod);
    let alive = winner(&pod, &entry, &first).is_some();
    assert!(alive, "without a name of its own it is called by its id");
    pod.delete_account(&first, by_root()).await.unwrap();
    assert_eq!(pod.account_of_address("p@x.org").unwrap(), None);
    pod.create_account(with(address(Some(1)))).await.unwrap();
}

#[tokio::test]
async fn another_name_keeps_the_id_the_credential_and_the_roles() {
    let pod = pod().await;
    let given = AccountGiven {
        name: Some("ann".to_owned()),
        password: Some("geheim12".to_owned()),
        roles: vec!["staff".to_owned()],
        ..AccountGiven::default()
    };
    let id = pod.give_account(given, by_root()).await.unwrap();
    let rename = |name: &str| ProfileChange {
        name: Some(name.to_owned()),
        ..ProfileChange::default()
    };
    pod.change_profile(&id, rename("Anna"), by_root())
        .await
        .unwrap();
    assert_eq!(
        signs_in(&pod, "Anna", "geheim12").await,
        caller("Anna", &["staff"])
    );
    assert!(is_wrong(&pod, "ann", "geheim12").await);
    assert_eq!(pod.holder(&id).unwrap().unwrap().record.name, "Anna");
    // Another case of one's own name is no other's.
    pod.change_profile(&id, rename("anna"), by_root())
        .await
        .unwrap();
    assert_eq!(
        signs_in(&pod, "anna", "geheim12").await,
        caller("anna", &["staff"])
    );
    let entry: Arc<DatabaseEntry> = users(&pod);
    assert_eq!(winner(&pod, &entry, "ann"), None);
}

#[tokio::test]
async fn a_name_that_was_given_up_is_nobody_elses() {
    let pod = pod().await;
    let give = |name: &str| {
        let given = AccountGiven {
            name: Some(name.to_owned()),
            password: Some("geheim12".to_owned()),
            ..AccountGiven::default()
        };
        pod.give_account(given, by_root())
    };
    let called = |name: &str| ProfileChange {
        name: Some(name.to_owned()),
        ..ProfileChange::default()
    };
    let is_taken = |answer: Result<_, PodError>| {
        let taken = matches!(answer, Err(PodError::Account(AccountError::NameTaken)));
        assert!(taken);
    };
    let (ann, bob) = (give("ann").await.unwrap(), give("bob").await.unwrap());
    pod.change_profile(&ann, called("anna"), by_root())
        .await
        .unwrap();
    // Nor one that looks like it.
    is_taken(give("Ann").await.map(drop));
    is_taken(pod.change_profile(&bob, called("ann"), by_root()).await);
    let sign_up = |name: &str| {
        let wanted = super::SignUp {
            name: Some(name.to_owned()),
            password: "geheim12".to_owned(),
            ..super::SignUp::default()
        };
        pod.sign_up(wanted, Actor::of(&Caller::anonymous(), None))
    };
    // He is not told.
    sign_up("ann").await.unwrap();
    assert!(is_wrong(&pod, "ann", "geheim12").await);
    // She may have it back, and then nobody gets the other one.
    pod.change_profile(&ann, called("ann"), by_root())
        .await
        .unwrap();
    is_taken(give("anna").await.map(drop));
    pod.delete_account(&bob, by_root()).await.unwrap();
    is_taken(give("bob").await.map(drop));
    // CouchDB's clients write what they may.
    let entry = users(&pod);
    let written = document("bob", 1);
    let draft = drafted(&pod, &entry, "bob", &written, DraftedEdit::Edit(None)).await;
    pod.write(&entry, draft.unwrap()).await.unwrap();
    assert_ne!(record_of(&pod, "bob").unwrap().id, bob);
    // A database that goes by the name would be left behind.
    pod.change_auth(|auth| auth.per_user.enabled = true);
    let kept = pod.change_profile(&ann, called("anke"), by_root()).await;
    let kept = matches!(kept, Err(PodError::Account(AccountError::NameKept)));
    assert!(kept);
    pod.change_profile(&ann, called("ann"), by_root())
        .await
        .unwrap();
}

#[tokio::test]
async fn another_password_in_the_document_is_told_by_mail_and_a_stronger_form_of_it_is_not() {
    let pod = pod().await;
    let given = AccountGiven {
        name: Some("ann".to_owned()),
        address: Some("ann@example.org".to_owned()),
        address_verified: true,
        password: Some("geheim12".to_owned()),
        ..AccountGiven::default()
    };
    pod.give_account(given, by_root()).await.unwrap();
    let mails = || {
        let view = pod.view();
        let waiting = adea_mail::queue::Listed::Waiting;
        let (mails, _) = adea_mail::queue::list(view.as_ref(), waiting, None, 9).unwrap();
        let kinds = mails.iter().map(|mail| mail.mail.kind);
        kinds.collect::<Vec<_>>()
    };
    take(&pod, &Step::Put(0, 1)).await;
    assert_eq!(mails(), [adea_mail::Kind::PasswordChanged]);
    // The same again.
    take(&pod, &Step::Put(0, 1)).await;
    let (entry, ground) = (users(&pod), pod.ground().unwrap());
    let stronger = pod.inner.store.transact(Pod::permit(), move |tx| {
        let mut touched = super::life::Touched::default();
        let id = DocumentId::parse(&user_id("ann")).unwrap();
        touched.note(&id, &Caller::anonymous(), true);
        let ((), _) = super::document::with_users(tx, entry.number.0, |writer| {
            let before = super::document::read(writer, "ann")?.unwrap();
            let body = document("ann", 2);
            super::document::write(writer, "ann", Some(&before), &[], Some(&body))?;
            Ok(touched.read(writer)?)
        })?;
        touched.follow(tx, &ground)?;
        Ok::<_, adea_store::Decline<PodError>>(())
    });
    stronger.await.map_err(PodError::from).unwrap();
    assert_eq!(mails().len(), 1);
}

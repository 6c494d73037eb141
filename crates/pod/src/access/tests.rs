//! Entering, switching on and rebuilding, through the verbs of a pod.

use std::sync::Arc;

use adea_access::{AccessSettings, DefaultList, Rule};
use adea_accounts::audit::AuditFilter;
use adea_base::{Caller, DatabaseName, DocumentId};
use adea_documents::DatabaseError;
use adea_documents::json::parse_document;
use adea_documents::reader::IdRange;
use adea_documents::revision::Revision;
use adea_store::{Direction, Fault, Faulty, Memory};
use serde_json::{Value, json};

use super::AccessError;
use super::why::Source;
use crate::apps::Actor;
use crate::databases::{DatabaseEntry, DatabaseFace, reader};
use crate::error::PodError;
use crate::pod::Pod;
use crate::write_document::DraftedEdit;
use crate::write_user::tests::{caller, over, pod};

fn name(text: &str) -> DatabaseName {
    DatabaseName::parse(text).unwrap()
}

fn root() -> Caller {
    caller("root", &["_admin"])
}

fn by_root() -> Actor {
    Actor::of(&root(), None)
}

/// The settings that say that lists stand in the property `access`.
fn settings(changed: impl FnOnce(&mut AccessSettings)) -> AccessSettings {
    let mut settings = AccessSettings::default();
    changed(&mut settings);
    settings
}

async fn with_access() -> Pod {
    let pod = pod().await;
    make(&pod, "app").await.unwrap();
    pod
}

async fn make(pod: &Pod, database: &str) -> Result<(), PodError> {
    let (database, by) = (name(database), by_root());
    pod.make_database_with_access(&database, false, &by).await
}

async fn enter(pod: &Pod, database: &str, who: &Caller) -> Arc<DatabaseEntry> {
    pod.enter(&name(database), who).await.unwrap()
}

async fn put(pod: &Pod, entry: &Arc<DatabaseEntry>, who: &Caller, id: &str, body: Value) {
    put_on(pod, entry, who, id, body, None).await;
}

async fn put_on(
    pod: &Pod,
    entry: &Arc<DatabaseEntry>,
    who: &Caller,
    id: &str,
    body: Value,
    on: Option<Revision>,
) -> Revision {
    let draft = parse_document(body.to_string().as_bytes()).unwrap();
    let id = DocumentId::parse(id).unwrap();
    let edit = DraftedEdit::Edit(on);
    let prepared = pod.prepare(entry, who, id, draft, edit, Vec::new());
    pod.write(entry, prepared.await.unwrap()).await.unwrap()
}

/// The ids that are seen through an entry.
fn seen(pod: &Pod, entry: &DatabaseEntry) -> Vec<String> {
    let view = pod.view();
    let reader = reader(view.as_ref(), entry, &Caller::anonymous());
    let mut found = Vec::new();
    let walked = reader.walk_documents(&IdRange::default(), Direction::Forward, |id, head| {
        if !head.winner.deleted {
            found.push(id.to_owned());
        }
        std::ops::ControlFlow::Continue(())
    });
    walked.unwrap();
    found
}

async fn sees(pod: &Pod, database: &str, who: &Caller) -> Vec<String> {
    let entry = enter(pod, database, who).await;
    seen(pod, &entry)
}

async fn refused(pod: &Pod, database: &str, who: &Caller) -> PodError {
    pod.enter(&name(database), who).await.unwrap_err()
}

fn is_missing(error: &PodError) -> bool {
    matches!(error, PodError::Database(DatabaseError::Missing))
}

#[tokio::test]
async fn each_sees_through_mine_what_names_him_and_nothing_through_the_whole_entry_of_a_server() {
    let pod = with_access().await;
    let (ann, bob) = (caller("ann", &["team"]), caller("bob", &[]));
    let entry = enter(&pod, "app/mine", &ann).await;
    put(&pod, &entry, &ann, "a", json!({"access": ["user:ann"]})).await;
    let whole = enter(&pod, "app", &root()).await;
    put(
        &pod,
        &whole,
        &root(),
        "b",
        json!({"access": ["user:bob", "team"]}),
    )
    .await;
    put(&pod, &whole, &root(), "n", json!({})).await;
    assert_eq!(sees(&pod, "app/mine", &ann).await, ["a", "b"]);
    assert_eq!(sees(&pod, "app/mine", &bob).await, ["b"]);
    assert_eq!(sees(&pod, "app/mine", &root()).await, ["a", "b", "n"]);
    assert_eq!(sees(&pod, "app", &root()).await, ["a", "b", "n"]);
    // Who writes to the whole sees no more by that.
    assert_eq!(sees(&pod, "app", &bob).await, ["b"]);
    // What nobody was let in through shows nothing.
    assert_eq!(seen(&pod, &pod.database(&name("app")).unwrap()), [""; 0]);
}

#[tokio::test]
async fn a_partition_is_missing_for_who_may_not_read_it() {
    let pod = with_access().await;
    let (ann, bob) = (caller("ann", &[]), caller("bob", &[]));
    let whole = enter(&pod, "app", &root()).await;
    put(&pod, &whole, &root(), "a", json!({"access": ["user:ann"]})).await;
    put(
        &pod,
        &whole,
        &root(),
        "b",
        json!({"access": ["user:bob", "user:ann"]}),
    )
    .await;
    let mine = enter(&pod, "app/mine", &ann).await;
    let page = pod.partitions(&mine, &ann, 0, 10).unwrap();
    assert_eq!(page.partitions.len(), 2);
    assert!(
        page.partitions
            .iter()
            .all(|one| one.principals.is_none() && one.documents == 1)
    );
    let first = format!("app/p-{}", page.partitions[0].signature);
    assert_eq!(sees(&pod, &first, &ann).await, ["a"]);
    let entry = enter(&pod, &first, &ann).await;
    assert!(matches!(entry.face, DatabaseFace::Partition(_)));
    assert_eq!(entry.face_name(), first);
    assert_eq!(pod.told_info(&entry).unwrap().statistics.documents, 1);
    for who in [&bob, &Caller::anonymous()] {
        assert!(is_missing(&refused(&pod, &first, who).await));
    }
    let unknown = "app/p-aaaaaaaaaaaaaaaaaaaaaaaaaa";
    for who in [&ann, &root()] {
        assert!(is_missing(&refused(&pod, unknown, who).await));
    }
    // Pages go on where they ended, and administrators are told whom a list names.
    let page = pod.partitions(&whole, &root(), 0, 1).unwrap();
    assert_eq!(
        page.partitions[0].principals.as_ref().unwrap()[0].as_ref(),
        "user:ann"
    );
    let page = pod
        .partitions(&whole, &root(), page.next.unwrap(), 1)
        .unwrap();
    assert_eq!((page.partitions.len(), page.next), (1, None));
}

#[tokio::test]
async fn who_has_a_name_is_let_in_unless_it_is_set_who_is() {
    let pod = with_access().await;
    let nobody = Caller::anonymous();
    assert!(matches!(
        refused(&pod, "app/mine", &nobody).await,
        PodError::Refused(_)
    ));
    enter(&pod, "app/mine", &caller("ann", &[])).await;
    let set = |text: &'static str| {
        let pod = pod.clone();
        async move {
            let entry = pod.database(&name("app")).unwrap();
            pod.change_security(&entry, text.to_owned(), &by_root())
                .await
                .unwrap();
        }
    };
    set(r#"{"members":{"names":["bob"]}}"#).await;
    assert!(matches!(
        refused(&pod, "app/mine", &caller("ann", &[])).await,
        PodError::Refused(_)
    ));
    set("{}").await;
    let whole = enter(&pod, "app", &root()).await;
    put(&pod, &whole, &root(), "p", json!({"access": ["@anyone"]})).await;
    put(&pod, &whole, &root(), "u", json!({"access": ["@users"]})).await;
    assert_eq!(sees(&pod, "app/mine", &nobody).await, ["p"]);
    assert_eq!(
        sees(&pod, "app/mine", &caller("ann", &[])).await,
        ["p", "u"]
    );
}

#[tokio::test]
async fn what_somebody_holds_is_recorded_when_it_changes_and_never_else() {
    let pod = with_access().await;
    let commits = || pod.counts().0;
    let (with, without) = (caller("ann", &["team"]), caller("ann", &[]));
    let whole = enter(&pod, "app", &root()).await;
    put(&pod, &whole, &root(), "t", json!({"access": ["team"]})).await;
    let before = commits();
    enter(&pod, "app/mine", &with).await;
    assert_eq!(commits(), before + 1);
    for _ in 0..3 {
        assert_eq!(sees(&pod, "app/mine", &with).await, ["t"]);
    }
    assert_eq!(commits(), before + 1);
    // Nothing is recorded for who has no name, or reads the whole.
    enter(&pod, "app", &root()).await;
    assert_eq!(commits(), before + 1);
    assert_eq!(sees(&pod, "app/mine", &without).await, [""; 0]);
    assert_eq!(commits(), before + 2);
    assert_eq!(sees(&pod, "app/mine", &with).await, ["t"]);
    assert_eq!(commits(), before + 3);
    let history = pod.read_history(whole.number, "~ann").unwrap();
    assert_eq!(history.spans(&[Arc::from("team")]).len(), 2);
}

#[tokio::test]
async fn what_was_issued_survives_a_restart() {
    let engine = Arc::new(Faulty::new());
    let first = over(Arc::clone(&engine)).await;
    make(&first, "app").await.unwrap();
    enter(&first, "app/mine", &caller("ann", &["team"])).await;
    let second = over(Arc::new(engine.power_cut())).await;
    let before = second.counts().0;
    let entry = enter(&second, "app/mine", &caller("ann", &["team"])).await;
    assert_eq!(second.counts().0, before);
    enter(&second, "app/mine", &caller("ann", &[])).await;
    let history = second.read_history(entry.number, "~ann").unwrap();
    assert_eq!(history.spans(&[Arc::from("team")]).len(), 1);
    assert!(!history.spans(&[Arc::from("team")])[0].is_open());
}

#[tokio::test]
async fn many_requests_at_once_record_one_change() {
    let pod = with_access().await;
    let before = pod.counts().0;
    let mut asked = Vec::new();
    for _ in 0..20 {
        let pod = pod.clone();
        asked.push(tokio::spawn(async move {
            enter(&pod, "app/mine", &caller("ann", &["team"])).await;
        }));
    }
    for one in asked {
        one.await.unwrap();
    }
    let number = pod.database(&name("app")).unwrap().number;
    let history = pod.read_history(number, "~ann").unwrap();
    assert_eq!(history.spans(&[Arc::from("team")]).len(), 1);
    // Some of the twenty may have looked before the first had recorded; none of them wrote again.
    assert!(history.turned_at() > 0 && pod.counts().0 > before);
}

#[tokio::test]
async fn names_of_faces_are_no_names_of_databases_beside_them() {
    let pod = with_access().await;
    let faces = ["app/mine", "app/p-aaaaaaaaaaaaaaaaaaaaaaaaaa"];
    for face in faces {
        let made = pod.create_database(&name(face), false).await;
        assert!(
            matches!(made, Err(PodError::Access(AccessError::PartName(_)))),
            "{face}"
        );
        assert_eq!(pod.part_of(&name(face)).unwrap(), Some(name("app")));
        assert!(is_missing(
            &pod.drop_database(&name(face)).await.unwrap_err()
        ));
    }
    // Where there is no access control they are names as others.
    pod.create_database(&name("plain"), false).await.unwrap();
    for face in faces {
        let face = face.replace("app", "plain");
        pod.create_database(&name(&face), false).await.unwrap();
        assert_eq!(pod.part_of(&name(&face)).unwrap(), None);
        assert_eq!(enter(&pod, &face, &root()).await.name.as_str(), face);
    }
    let plain = enter(&pod, "plain", &root()).await;
    let switched = pod.set_access(&plain, settings(|_| ()), &by_root()).await;
    assert!(matches!(
        switched,
        Err(PodError::Access(AccessError::PartTaken(_)))
    ));
    let made = make(&pod, "_replicator").await;
    assert!(matches!(
        made,
        Err(PodError::Access(AccessError::SystemDatabase))
    ));
}

async fn old_database(pod: &Pod) -> Arc<DatabaseEntry> {
    pod.create_database(&name("old"), false).await.unwrap();
    let entry = pod.database(&name("old")).unwrap();
    let open = r#"{"members":{"names":["ann","bob"]}}"#;
    pod.change_security(&entry, open.to_owned(), &by_root())
        .await
        .unwrap();
    let entry = enter(pod, "old", &root()).await;
    for (id, body) in [
        (
            "a",
            json!({"access": ["user:ann"], "readers": ["user:bob"]}),
        ),
        (
            "b",
            json!({"access": ["user:bob"], "readers": ["user:ann"]}),
        ),
        ("n", json!({})),
        ("x", json!({"access": 7})),
    ] {
        put(pod, &entry, &root(), id, body).await;
    }
    entry
}

async fn settled(pod: &Pod, database: &str) {
    while pod
        .rebuilding(&pod.database(&name(database)).unwrap())
        .is_some()
    {
        let number = pod.database(&name(database)).unwrap().number;
        pod.rebuilt_soon(number).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_database_is_switched_on_in_place_and_its_rule_replaced() {
    let pod = pod().await;
    let entry = old_database(&pod).await;
    let (ann, bob) = (caller("ann", &[]), caller("bob", &[]));
    let state = pod
        .set_access(&entry, settings(|_| ()), &by_root())
        .await
        .unwrap();
    assert!(state.settings.is_some());
    settled(&pod, "old").await;
    assert_eq!(sees(&pod, "old/mine", &ann).await, ["a"]);
    assert_eq!(sees(&pod, "old/mine", &bob).await, ["b"]);
    assert_eq!(sees(&pod, "old", &root()).await, ["a", "b", "n", "x"]);
    let state = pod
        .access_state(&pod.database(&name("old")).unwrap())
        .unwrap();
    assert_eq!((state.progress.running, state.progress.failed), (false, 1));
    let readers = settings(|settings| {
        settings.rule = Rule::Property("readers".to_owned());
        settings.default = DefaultList::List(adea_access::AccessList::only(&Arc::from("user:ann")));
    });
    let entry = pod.database(&name("old")).unwrap();
    pod.set_access(&entry, readers.clone(), &by_root())
        .await
        .unwrap();
    settled(&pod, "old").await;
    assert_eq!(sees(&pod, "old/mine", &ann).await, ["b", "n", "x"]);
    assert_eq!(sees(&pod, "old/mine", &bob).await, ["a"]);
    // What is no matter of labels needs no new generation.
    let entry = pod.database(&name("old")).unwrap();
    let (generation, mut same) = (entry.settings.labels, readers);
    same.write_rules = None;
    pod.set_access(&entry, same, &by_root()).await.unwrap();
    let entry = pod.database(&name("old")).unwrap();
    assert_eq!(entry.settings.labels, generation);
    assert!(entry.access.as_ref().unwrap().write_rules.is_none());
    let filter = AuditFilter {
        action: Some("database.access".to_owned()),
        ..AuditFilter::default()
    };
    assert_eq!(pod.audit(filter, None, 10).await.unwrap().entries.len(), 3);
}

/// Nothing runs the rebuild, as if all went dark right after the switch.
async fn switch_and_go_dark(engine: &Arc<Faulty>, readers: &AccessSettings) {
    let pod = over(Arc::clone(engine)).await;
    let entry = pod.database(&name("old")).unwrap();
    let switched = pod.switch_only(&entry, readers.clone()).await;
    switched.unwrap();
    let (ann, bob) = (caller("ann", &[]), caller("bob", &[]));
    for who in [&ann, &bob] {
        let entry = enter(&pod, "old/mine", who).await;
        assert_eq!(seen(&pod, &entry), [""; 0]);
        assert!(matches!(
            pod.rebuilding(&entry),
            Some(AccessError::Rebuilding { .. })
        ));
    }
}

#[tokio::test]
async fn from_the_switch_on_nobody_sees_by_the_old_rule_and_a_restart_goes_on_with_the_new() {
    let engine = Arc::new(Faulty::new());
    let first = over(Arc::clone(&engine)).await;
    let entry = old_database(&first).await;
    first
        .set_access(&entry, settings(|_| ()), &by_root())
        .await
        .unwrap();
    settled(&first, "old").await;
    drop(first);
    let readers = settings(|settings| settings.rule = Rule::Property("readers".to_owned()));
    switch_and_go_dark(&engine, &readers).await;
    let second = over(Arc::new(engine.power_cut())).await;
    second.resume_rebuilds().await;
    settled(&second, "old").await;
    assert_eq!(sees(&second, "old/mine", &caller("ann", &[])).await, ["b"]);
    assert_eq!(sees(&second, "old/mine", &caller("bob", &[])).await, ["a"]);
}

#[tokio::test]
async fn a_rule_that_is_replaced_again_and_again_while_documents_are_written_ends_as_the_last_says()
{
    let pod = with_access().await;
    let ann = caller("ann", &[]);
    let whole = enter(&pod, "app", &root()).await;
    for n in 0..300 {
        let body = json!({"access": ["user:ann"], "readers": ["user:bob"]});
        put(&pod, &whole, &root(), &format!("d{n:03}"), body).await;
    }
    let writer = {
        let (pod, ann) = (pod.clone(), ann.clone());
        tokio::spawn(async move {
            for n in 300..360 {
                let entry = enter(&pod, "app", &ann).await;
                let body = json!({"access": ["user:ann"], "readers": ["user:ann"]});
                put(&pod, &entry, &ann, &format!("d{n:03}"), body).await;
            }
        })
    };
    for n in 0..9 {
        let rule = if n % 2 == 0 { "readers" } else { "access" };
        let rule = settings(|settings| settings.rule = Rule::Property(rule.to_owned()));
        let entry = pod.database(&name("app")).unwrap();
        pod.switch_only(&entry, rule).await.unwrap();
        pod.start_rebuild(&entry.name, entry.number);
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    settled(&pod, "app").await;
    assert_eq!(sees(&pod, "app/mine", &ann).await.len(), 60);
    assert_eq!(sees(&pod, "app/mine", &caller("bob", &[])).await.len(), 300);
    let view = pod.view();
    let entry = enter(&pod, "app", &root()).await;
    let whole = reader(view.as_ref(), &entry, &root());
    assert_eq!(
        adea_documents::verify::check(&whole).unwrap().faults,
        [""; 0]
    );
}

#[tokio::test]
async fn a_disk_that_fails_records_nothing_and_shows_nothing() {
    let engine = Arc::new(Faulty::new());
    let pod = over(Arc::clone(&engine)).await;
    make(&pod, "app").await.unwrap();
    engine.inject(Fault::DiskFull { after: 0 });
    let entered = pod.enter(&name("app/mine"), &caller("ann", &[])).await;
    assert!(matches!(entered, Err(PodError::Commit(_))));
}

#[tokio::test]
async fn it_is_told_why_somebody_sees_a_document_and_since_when() {
    let pod = with_access().await;
    let (ann, bob) = (caller("ann", &["team"]), caller("bob", &[]));
    let whole = enter(&pod, "app", &root()).await;
    enter(&pod, "app/mine", &ann).await;
    enter(&pod, "app/mine", &bob).await;
    let id = DocumentId::parse("d").unwrap();
    let revision = put_on(
        &pod,
        &whole,
        &root(),
        "d",
        json!({"access": ["team"]}),
        None,
    )
    .await;
    let first = pod.why(&whole, &id, &ann).unwrap();
    assert!(first.visible && first.source == Source::Property && !first.admin);
    assert_eq!(first.by, [Arc::from("team")]);
    assert!(!pod.why(&whole, &id, &bob).unwrap().visible);
    let body = json!({"access": ["user:bob"]});
    put_on(&pod, &whole, &root(), "d", body, Some(revision)).await;
    let then = pod.why(&whole, &id, &ann).unwrap();
    assert!(!then.visible && then.since.is_none());
    assert_eq!(then.stood.len(), 2);
    assert_eq!(then.stood[1].stretch.from, first.since.unwrap().from);
    assert_eq!(then.stood[1].stretch.to, Some(then.stood[0].stretch.from));
    let now = pod.why(&whole, &id, &bob).unwrap();
    assert_eq!(now.since.unwrap().from, then.stood[0].stretch.from);
    assert!(pod.why(&whole, &id, &root()).unwrap().admin);
    assert!(!pod.why(&whole, &id, &Caller::anonymous()).unwrap().let_in);
    let unknown = DocumentId::parse("unknown").unwrap();
    assert!(matches!(
        pod.why(&whole, &unknown, &ann),
        Err(PodError::Missing)
    ));
}

#[tokio::test]
async fn a_database_without_access_control_is_entered_as_it_is_found() {
    let pod = over(Arc::new(Memory::new())).await;
    pod.create_database(&name("plain"), false).await.unwrap();
    let found = pod.database(&name("plain")).unwrap();
    let entered = enter(&pod, "plain", &root()).await;
    assert!(Arc::ptr_eq(&found, &entered));
    let why = pod.why(&entered, &DocumentId::parse("d").unwrap(), &root());
    assert!(matches!(why, Err(PodError::Access(AccessError::Off(_)))));
}

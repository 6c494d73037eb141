//! That every way of writing gives a document its label, and keeps the built-in rules.

use std::sync::Arc;

use adea_access::{AccessSettings, Principals};
use adea_base::{Caller, DatabaseName, DocumentId};
use adea_documents::WriteError;
use adea_documents::json::parse_document;
use adea_documents::labels;
use adea_documents::reader::Reader;
use adea_documents::record::{Body, Record};
use adea_documents::revision::{Revision, RevisionId};
use adea_documents::seen;
use adea_store::Memory;
use serde_json::{Value, json};

use crate::access::WriteRefused;
use crate::apps::Actor;
use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;
use crate::write_document::{DraftedEdit, Prepared};
use crate::write_user::tests::over;

pub(crate) fn root() -> Caller {
    Caller::named("root", vec!["_admin".to_owned()])
}

pub(crate) fn user(name: &str) -> Caller {
    Caller::named(name, vec!["staff".to_owned()])
}

/// A pod with a database of these access settings.
pub(crate) struct Bench {
    pub(crate) pod: Pod,
}

impl Bench {
    pub(crate) async fn with(settings: Value) -> Self {
        let pod = over(Arc::new(Memory::new())).await;
        let name = DatabaseName::parse("app").unwrap();
        let by = Actor::of(&root(), None);
        pod.make_database_with_access(&name, false, &by)
            .await
            .unwrap();
        let bench = Self { pod };
        bench.set(settings).await;
        bench
    }

    pub(crate) async fn set(&self, settings: Value) {
        let settings = AccessSettings::parse(&settings.to_string()).unwrap();
        let by = Actor::of(&root(), None);
        self.pod
            .set_access(&self.entry(), settings, &by)
            .await
            .unwrap();
    }

    pub(crate) fn entry(&self) -> Arc<DatabaseEntry> {
        self.pod
            .database(&DatabaseName::parse("app").unwrap())
            .unwrap()
    }

    pub(crate) async fn prepare(
        &self,
        who: &Caller,
        id: &str,
        json: Value,
        edit: DraftedEdit,
    ) -> Prepared {
        let draft = parse_document(json.to_string().as_bytes()).unwrap();
        let id = DocumentId::parse(id).unwrap();
        let entry = self.entry();
        self.pod
            .prepare(&entry, who, id, draft, edit, Vec::new())
            .await
            .unwrap()
    }

    pub(crate) async fn put(
        &self,
        who: &Caller,
        id: &str,
        json: Value,
    ) -> Result<Revision, PodError> {
        self.write(who, id, json, DraftedEdit::Edit(None)).await
    }

    pub(crate) async fn edit(
        &self,
        who: &Caller,
        id: &str,
        on: &Revision,
        json: Value,
    ) -> Result<Revision, PodError> {
        self.write(who, id, json, DraftedEdit::Edit(Some(on.clone())))
            .await
    }

    pub(crate) async fn push(
        &self,
        who: &Caller,
        id: &str,
        path: &[&str],
        json: Value,
    ) -> Result<Revision, PodError> {
        let path: Vec<Revision> = path
            .iter()
            .map(|text| Revision::parse(text).unwrap())
            .collect();
        let ids: Vec<RevisionId> = path.iter().map(|one| one.id.clone()).collect();
        self.write(
            who,
            id,
            json,
            DraftedEdit::Replicated(path[0].generation, ids),
        )
        .await
    }

    pub(crate) async fn write(
        &self,
        who: &Caller,
        id: &str,
        json: Value,
        edit: DraftedEdit,
    ) -> Result<Revision, PodError> {
        let prepared = self.prepare(who, id, json, edit).await;
        self.pod.write(&self.entry(), prepared).await
    }

    pub(crate) fn record(&self, id: &str) -> Record {
        let view = self.pod.view();
        reader(view.as_ref(), &self.entry())
            .record(id)
            .unwrap()
            .unwrap_or_default()
    }

    pub(crate) fn winner(&self, id: &str) -> Value {
        let record = self.record(id);
        self.body(record.tree.winner().and_then(|node| node.body()).unwrap())
    }

    pub(crate) fn body(&self, sequence: u64) -> Value {
        let view = self.pod.view();
        let stored = reader(view.as_ref(), &self.entry())
            .body(sequence)
            .unwrap()
            .unwrap();
        serde_json::from_slice(&Body::decode(&stored).unwrap().json).unwrap()
    }

    /// The members of the label of a document.
    pub(crate) fn members(&self, id: &str) -> Vec<String> {
        let labelled = self.record(id).labelled.unwrap();
        assert_eq!(labelled.generation, self.entry().settings.labels);
        let view = self.pod.view();
        let label = labels::label(view.as_ref(), self.entry().number, labelled.label).unwrap();
        label
            .members
            .iter()
            .map(|member| member.to_string())
            .collect()
    }
}

fn reader<'v>(view: &'v dyn adea_store::View, entry: &DatabaseEntry) -> Reader<'v> {
    Reader {
        view,
        database: entry.number,
        scope: adea_access::aggregate(),
    }
}

pub(crate) fn refused(answer: Result<Revision, PodError>) -> WriteRefused {
    match answer {
        Err(PodError::NotTaken(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

fn is_not_a_writer(answer: Result<Revision, PodError>) -> bool {
    matches!(
        refused(answer),
        WriteRefused::Rule(adea_access::rules::RuleBroken::NotAWriter)
    )
}

const A: &str = "1-0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";
const B: &str = "2-0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";
const C: &str = "5-0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c";

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is one list of ways")]
async fn every_way_of_writing_gives_a_label() {
    let bench = Bench::with(json!({ "default": "author" })).await;
    let ann = user("ann");
    let first = bench
        .put(
            &ann,
            "a",
            json!({ "access": ["user:ann", "staff", "staff"] }),
        )
        .await
        .unwrap();
    assert_eq!(bench.members("a"), ["staff", "user:ann"]);
    assert_eq!(
        bench.record("a").labelled.unwrap().creator.as_deref(),
        Some("user:ann")
    );
    bench.put(&ann, "b", json!({})).await.unwrap();
    assert_eq!(bench.members("b"), ["user:ann"]);
    bench
        .push(
            &ann,
            "c",
            &[B, A],
            json!({ "access": { "read": ["staff"] } }),
        )
        .await
        .unwrap();
    assert_eq!(bench.members("c"), ["staff"]);
    // What an administrator replicates was made by somebody else.
    bench.push(&root(), "d", &[A], json!({})).await.unwrap();
    assert_eq!(bench.members("d"), ["_admin"]);
    assert_eq!(bench.record("d").labelled.unwrap().creator, None);
    // An attachment keeps the body, and so the list.
    let body = Body {
        json: br#"{"access":["user:ann","staff"]}"#.to_vec(),
        attachments: Vec::new(),
    };
    let id = DocumentId::parse("a").unwrap();
    let edit = DraftedEdit::Edit(Some(first));
    let prepared =
        Pod::with_attachments(&bench.entry(), &ann, id.clone(), &body, edit, None, None).unwrap();
    let second = bench.pod.write(&bench.entry(), prepared).await.unwrap();
    assert_eq!(bench.members("a"), ["staff", "user:ann"]);
    let copy = DocumentId::parse("copy").unwrap();
    let copied = bench
        .pod
        .copied(&bench.entry(), &ann, copy, &body, DraftedEdit::Edit(None))
        .unwrap();
    let all = bench
        .prepare(
            &ann,
            "e",
            json!({ "access": ["staff"] }),
            DraftedEdit::Edit(None),
        )
        .await;
    bench
        .pod
        .write_all(&bench.entry(), vec![copied, all])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(bench.members("copy"), ["staff", "user:ann"]);
    assert_eq!(bench.members("e"), ["staff"]);
    // A deletion stays where the document stood.
    bench
        .edit(&ann, "a", &second, json!({ "_deleted": true }))
        .await
        .unwrap();
    assert_eq!(bench.members("a"), ["staff", "user:ann"]);
    bench
        .put(&root(), "_design/x", json!({ "access": "function () {}" }))
        .await
        .unwrap();
    assert_eq!(bench.members("_design/x"), ["_admin"]);
    bench
        .put(&root(), "_design/y", json!({ "access": ["@users"] }))
        .await
        .unwrap();
    assert_eq!(bench.members("_design/y"), ["@users"]);
}

#[tokio::test]
async fn a_bad_list_is_refused_and_its_field_named() {
    let bench = Bench::with(json!({})).await;
    for (json, field) in [
        (json!({ "access": "staff" }), "access"),
        (json!({ "access": [] }), "access"),
        (json!({ "access": ["staff", "_x"] }), "access[1]"),
        (json!({ "access": ["staff"], "writers": {} }), "writers"),
        (json!({ "access": ["staff"], "owners": [1] }), "owners[0]"),
    ] {
        let refused = refused(bench.put(&user("ann"), "a", json.clone()).await);
        assert!(
            matches!(&refused, WriteRefused::List(list) if list.place == field),
            "{refused}"
        );
        // A replicator goes on only if it is told that the document is forbidden.
        let pushed = bench.push(&user("ann"), "a", &[A], json).await;
        assert!(matches!(
            pushed,
            Err(PodError::NotTaken(WriteRefused::Pushed(_)))
        ));
    }
}

#[tokio::test]
async fn a_change_of_the_rule_is_obeyed_by_what_was_prepared_before() {
    let bench = Bench::with(json!({})).await;
    let ann = user("ann");
    let prepared = bench
        .prepare(
            &ann,
            "a",
            json!({ "access": ["staff"], "who": ["user:ann"] }),
            DraftedEdit::Edit(None),
        )
        .await;
    let old = bench.entry();
    bench.set(json!({ "rule": { "property": "who" } })).await;
    bench.pod.write(&old, prepared).await.unwrap();
    assert_eq!(bench.members("a"), ["user:ann"]);
}

#[tokio::test]
async fn who_may_not_write_learns_nothing() {
    let bench = Bench::with(json!({})).await;
    let (ann, ben) = (user("ann"), Caller::named("ben", Vec::new()));
    let first = bench
        .put(
            &ann,
            "a",
            json!({ "access": ["user:ann", "staff"], "writers": ["user:ann"] }),
        )
        .await
        .unwrap();
    let wrong = Revision::parse(A).unwrap();
    let other = || json!({ "access": ["user:ben"] });
    assert!(is_not_a_writer(bench.put(&ben, "a", other()).await));
    assert!(is_not_a_writer(
        bench.edit(&ben, "a", &wrong, other()).await
    ));
    assert!(is_not_a_writer(
        bench.edit(&ben, "a", &first, other()).await
    ));
    assert!(is_not_a_writer(
        bench
            .edit(&ben, "a", &first, json!({ "_deleted": true }))
            .await
    ));
    // A reader who is no writer is told the same.
    let cem = user("cem");
    assert!(is_not_a_writer(bench.put(&cem, "a", other()).await));
    // A writer is told of a conflict.
    let conflict = bench
        .edit(
            &ann,
            "a",
            &wrong,
            json!({ "access": ["user:ann", "staff"] }),
        )
        .await;
    assert!(matches!(
        conflict,
        Err(PodError::Write(WriteError::Conflict))
    ));
}

#[tokio::test]
async fn no_forged_history_gets_round_the_rules() {
    let bench = Bench::with(json!({ "conflicts": "keep" })).await;
    let (ann, ben) = (user("ann"), user("ben"));
    let open = || json!({ "access": ["staff"] });
    bench.push(&ann, "a", &[A], open()).await.unwrap();
    bench
        .push(
            &ann,
            "a",
            &[B, A],
            json!({ "access": ["user:ann"], "owners": ["user:ann"] }),
        )
        .await
        .unwrap();
    // Ben could write the first revision, and makes a branch beside the second, or one of his own.
    let mine = || json!({ "access": ["user:ben"], "owners": ["user:ben"] });
    assert!(is_not_a_writer(
        bench.push(&ben, "a", &[C, A], open()).await
    ));
    assert!(is_not_a_writer(bench.push(&ben, "a", &[C], mine()).await));
    assert!(is_not_a_writer(
        bench
            .push(&ben, "a", &[C], json!({ "_deleted": true }))
            .await
    ));
    assert_eq!(bench.members("a"), ["user:ann"]);
    // A writer who is no owner does not move it by a branch, either.
    bench
        .push(
            &ann,
            "w",
            &[A],
            json!({ "access": ["staff"], "owners": ["user:ann"] }),
        )
        .await
        .unwrap();
    let moved = bench
        .push(
            &ben,
            "w",
            &[C],
            json!({ "access": ["user:ben"], "owners": ["user:ann"] }),
        )
        .await;
    assert!(matches!(refused(moved), WriteRefused::Rule(_)));
    let owned = bench
        .push(
            &ben,
            "w",
            &[B, A],
            json!({ "access": ["staff"], "owners": ["user:ben"] }),
        )
        .await;
    assert!(matches!(refused(owned), WriteRefused::Rule(_)));
    bench
        .push(
            &ben,
            "w",
            &[B, A],
            json!({ "access": ["staff"], "owners": ["user:ann"], "x": 1 }),
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_signature_that_is_not_the_documents_is_refused() {
    let bench = Bench::with(json!({})).await;
    let ann = user("ann");
    let first = bench
        .put(&ann, "a", json!({ "access": ["staff"] }))
        .await
        .unwrap();
    let known = adea_access::signature(&[Arc::from("staff")]).to_string();
    for (signature, taken) in [("x".to_owned(), false), (known, true)] {
        let edit = DraftedEdit::Edit(Some(first.clone()));
        let json = json!({ "access": ["user:ann"], "_signature": signature });
        let answer = bench.write(&ann, "a", json, edit).await;
        assert_eq!(answer.is_ok(), taken);
        assert!(taken || refused(answer) == WriteRefused::Signature);
    }
}

#[tokio::test]
async fn virtual_revisions_are_known_and_revivals_are_edited() {
    let bench = Bench::with(json!({})).await;
    let ann = user("ann");
    let list = || json!({ "access": ["staff"] });
    let first = bench.put(&ann, "a", list()).await.unwrap();
    let key = bench.pod.virtual_key().unwrap();
    let chain: Vec<Revision> = (1..=2)
        .map(|step| seen::virtual_revision(&key, bench.entry().number, "a", &first, step))
        .collect();
    let before = bench.record("a");
    let texts: Vec<String> = [&chain[1], &chain[0], &first]
        .iter()
        .map(|r| r.to_string())
        .collect();
    let path: Vec<&str> = texts.iter().map(String::as_str).collect();
    let stranger = Caller::named("x", Vec::new());
    bench
        .push(&stranger, "a", &path[1..], json!({ "_deleted": true }))
        .await
        .unwrap();
    bench.push(&ann, "a", &path, list()).await.unwrap();
    assert_eq!(bench.record("a").sequence, before.sequence);
    // An edit of a revival is one of the document, by its rules.
    assert!(is_not_a_writer(
        bench.edit(&stranger, "a", &chain[1], list()).await
    ));
    let moved = bench
        .edit(
            &user("ben"),
            "a",
            &chain[1],
            json!({ "access": ["user:ben"] }),
        )
        .await;
    assert!(matches!(refused(moved), WriteRefused::Rule(_)));
    let edited = bench
        .edit(&user("ben"), "a", &chain[1], list())
        .await
        .unwrap();
    assert_eq!(edited.generation, 4);
    assert_eq!(bench.record("a").tree.winner().unwrap().revision(), edited);
}

#[tokio::test]
async fn who_makes_a_deleted_document_again_has_made_it() {
    let bench = Bench::with(json!({ "default": "author" })).await;
    let (ann, ben) = (user("ann"), user("ben"));
    let first = bench.put(&ann, "a", json!({})).await.unwrap();
    bench
        .edit(&ann, "a", &first, json!({ "_deleted": true }))
        .await
        .unwrap();
    let again = bench.put(&ben, "a", json!({})).await.unwrap();
    assert_eq!(bench.members("a"), ["user:ben"]);
    bench
        .edit(&ben, "a", &again, json!({ "x": 1 }))
        .await
        .unwrap();
    assert_eq!(bench.members("a"), ["user:ben"]);
    assert!(is_not_a_writer(bench.put(&ann, "a", json!({})).await));
}

#[tokio::test]
async fn a_reception_and_mailboxes_are_read_by_whom_they_are_for() {
    let bench = Bench::with(json!({ "write_only": true, "default": ["workers"] })).await;
    let ann = user("ann");
    let first = bench
        .put(&ann, "a", json!({ "access": ["@anyone"] }))
        .await
        .unwrap();
    assert_eq!(bench.members("a"), ["workers"]);
    assert!(is_not_a_writer(
        bench.edit(&ann, "a", &first, json!({})).await
    ));
    bench
        .set(json!({ "mailboxes": { "recipient": "to" } }))
        .await;
    let sent = bench
        .put(&ann, "m", json!({ "to": "ben", "access": ["staff"] }))
        .await
        .unwrap();
    assert_eq!(bench.members("m"), ["user:ben"]);
    assert!(is_not_a_writer(
        bench.edit(&ann, "m", &sent, json!({ "to": "ann" })).await
    ));
    bench
        .edit(&user("ben"), "m", &sent, json!({ "_deleted": true }))
        .await
        .unwrap();
    let shared = || json!({ "access": ["user:ann", "user:ben"] });
    let first = bench.put(&ann, "s", shared()).await.unwrap();
    // A writer who is no owner does not give it away, nor does a recipient what he was sent.
    let mut away = shared();
    away["to"] = "mallory".into();
    let given = bench.edit(&user("ben"), "s", &first, away.clone()).await;
    assert!(matches!(refused(given), WriteRefused::Rule(_)));
    bench.edit(&ann, "s", &first, away).await.unwrap();
    assert_eq!(bench.members("s"), ["user:mallory"]);
    let sent = bench.put(&ann, "t", json!({ "to": "ben" })).await.unwrap();
    for json in [json!({ "to": "mallory" }), shared()] {
        let given = bench.edit(&user("ben"), "t", &sent, json).await;
        assert!(matches!(refused(given), WriteRefused::Rule(_)));
    }
    let kept = json!({ "to": "ben", "read": true });
    bench.edit(&user("ben"), "t", &sent, kept).await.unwrap();
    bench
        .put(&ann, "n", json!({ "to": ["ben", "user:cem"] }))
        .await
        .unwrap();
    assert_eq!(bench.members("n"), ["user:ben", "user:cem"]);
    assert!(matches!(
        refused(bench.put(&ann, "o", json!({ "to": 1 })).await),
        WriteRefused::List(_)
    ));
}

#[tokio::test]
async fn no_stub_takes_over_what_its_sender_may_not_read() {
    const B2: &str = "2-0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d";
    let bench = Bench::with(json!({ "conflicts": "keep" })).await;
    let (ann, ben) = (user("ann"), user("ben"));
    let scan = json!({ "scan.pdf": { "data": "c2NhbiBvZiBhIHBhc3Nwb3J0" } });
    let first = json!({ "access": ["user:ann"], "_attachments": scan });
    let shared = || json!({ "access": ["user:ann", "user:ben"] });
    bench.push(&ann, "a", &[A], first).await.unwrap();
    bench.push(&ann, "a", &[B, A], shared()).await.unwrap();
    let mut stub = shared();
    stub["_attachments"] = json!({ "scan.pdf": { "stub": true } });
    let mut other = shared();
    other["_attachments"] = json!({ "none.pdf": { "stub": true } });
    let mut gone = stub.clone();
    gone["_deleted"] = true.into();
    for json in [stub.clone(), other, gone] {
        let answer = bench.push(&ben, "a", &[B2, A], json).await;
        assert!(matches!(
            answer,
            Err(PodError::Write(WriteError::MissingStub { .. }))
        ));
    }
    // Who reads it may.
    bench.push(&ann, "a", &[B2, A], stub).await.unwrap();
    // Nor does who makes a deleted document again find what the tombstone keeps.
    let scan = json!({ "scan.pdf": { "data": "c2NhbiBvZiBhIHBhc3Nwb3J0" } });
    let own = json!({ "access": ["user:ann"], "_attachments": scan });
    let first = bench.put(&ann, "b", own).await.unwrap();
    let kept = json!({ "scan.pdf": { "stub": true } });
    let gone = json!({ "_deleted": true, "_attachments": kept });
    bench.edit(&ann, "b", &first, gone).await.unwrap();
    let again = json!({ "access": ["user:ben"], "_attachments": kept });
    assert!(matches!(
        bench.put(&ben, "b", again).await,
        Err(PodError::Write(WriteError::MissingStub { .. }))
    ));
}

#[tokio::test]
async fn without_a_function_that_answers_nothing_is_stored() {
    let rule = json!({ "rule": { "function": { "design": "app" } } });
    let bench = Bench::with(rule).await;
    // There is no such design document, and no JavaScript here.
    assert!(
        bench
            .put(&user("ann"), "a", json!({ "access": ["staff"] }))
            .await
            .is_err()
    );
    let before = bench.entry().settings.labels;
    bench
        .put(
            &root(),
            "_design/app",
            json!({ "access": "function (doc) { return [doc.for]; }" }),
        )
        .await
        .unwrap();
    assert!(bench.entry().settings.labels > before);
    assert!(
        bench
            .put(&user("ann"), "a", json!({ "for": "staff" }))
            .await
            .is_err()
    );
    assert_eq!(bench.record("a").sequence, 0);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is one list of ways")]
async fn what_clients_do_not_set_is_not_stored_whatever_way_it_comes() {
    let schema =
        json!({ "properties": { "paid": { "x-client": "drop" }, "by": { "x-client": "refuse" } } });
    let bench = Bench::with(json!({
        "default": ["staff"], "conflicts": "keep",
        "schemas": { "property": "type", "types": { "order": schema } },
    }))
    .await;
    let ann = user("ann");
    let first = bench
        .put(&ann, "a", json!({ "type": "order", "paid": 1, "x": 1 }))
        .await
        .unwrap();
    assert_eq!(bench.winner("a"), json!({ "type": "order", "x": 1 }));
    let second = bench
        .edit(
            &root(),
            "a",
            &first,
            json!({ "type": "order", "paid": 1, "by": 1 }),
        )
        .await
        .unwrap();
    let third = bench
        .edit(
            &ann,
            "a",
            &second,
            json!({ "type": "order", "by": 1, "paid": 2 }),
        )
        .await
        .unwrap();
    assert_eq!(
        bench.winner("a"),
        json!({ "type": "order", "by": 1, "paid": 1 })
    );
    let path = |_: &Revision| {
        [
            C.to_owned(),
            format!("4-{}", "b".repeat(32)),
            third.to_string(),
        ]
    };
    let path = path(&third);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let pushed = bench
        .push(
            &ann,
            "a",
            &path,
            json!({ "type": "order", "by": 1, "paid": 2 }),
        )
        .await;
    assert!(matches!(
        refused(pushed),
        WriteRefused::NotForClients { .. }
    ));
    // What it was in an older revision, it is no more.
    let old = [
        "2-0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d".to_owned(),
        first.to_string(),
    ];
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    let pushed = bench
        .push(&ann, "a", &old, json!({ "type": "order" }))
        .await;
    assert_eq!(
        refused(pushed),
        WriteRefused::NotForClients {
            path: "/by".to_owned()
        }
    );
    bench
        .push(
            &ann,
            "a",
            &path,
            json!({ "type": "order", "by": 1, "paid": 1, "y": 1 }),
        )
        .await
        .unwrap();
    let by = bench
        .put(&ann, "b", json!({ "type": "order", "\u{62}y": 1 }))
        .await;
    assert_eq!(
        refused(by),
        WriteRefused::NotForClients {
            path: "/by".to_owned()
        }
    );
}

#[tokio::test]
async fn settings_that_cannot_be_made_ready_are_refused() {
    let bench = Bench::with(json!({})).await;
    let by = Actor::of(&root(), None);
    for settings in [
        json!({ "conflicts": { "merge": "as you like" } }),
        json!({ "schemas": { "types": { "a": { "type": 1 } } } }),
    ] {
        let settings = AccessSettings::parse(&settings.to_string()).unwrap();
        assert!(
            bench
                .pod
                .set_access(&bench.entry(), settings, &by)
                .await
                .is_err()
        );
    }
}

#[test]
fn principals_of_an_administrator_hold_all() {
    assert!(Principals::of(&root(), true).holds_any(&[]));
}

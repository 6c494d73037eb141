//! That what is accepted satisfied what was in force at its commit, whatever ran beside it.

use std::sync::Arc;

use adea_accounts::Refusal;
use adea_base::{Caller, DatabaseName, DocumentId};
use adea_documents::WriteError;
use adea_documents::json::parse_document;
use adea_documents::revision::{Revision, RevisionId};
use adea_store::Memory;
use serde_json::{Value, json};

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;
use crate::write_document::{DraftedEdit, Prepared};
use crate::write_user::tests::over;
use crate::{ChangesRange, Part, Told, Which};

fn root() -> Caller {
    Caller::named("root", vec!["_admin".to_owned()])
}

async fn pod_with_notes() -> Pod {
    let pod = over(Arc::new(Memory::new())).await;
    let name = DatabaseName::parse("notes").unwrap();
    pod.create_database(&name, false).await.unwrap();
    pod
}

fn notes(pod: &Pod) -> Arc<DatabaseEntry> {
    pod.database(&DatabaseName::parse("notes").unwrap())
        .unwrap()
}

async fn prepare(
    pod: &Pod,
    entry: &DatabaseEntry,
    id: &str,
    json: Value,
    edit: DraftedEdit,
) -> Prepared {
    let draft = parse_document(json.to_string().as_bytes()).unwrap();
    let id = DocumentId::parse(id).unwrap();
    pod.prepare(entry, &root(), id, draft, edit, Vec::new())
        .await
        .unwrap()
}

async fn put(pod: &Pod, id: &str, json: Value, edit: DraftedEdit) -> Result<Revision, PodError> {
    let entry = notes(pod);
    let prepared = prepare(pod, &entry, id, json, edit).await;
    pod.write(&entry, prepared).await
}

fn new() -> DraftedEdit {
    DraftedEdit::Edit(None)
}

/// A design document whose documents must be of generation `n` of the rule.
fn rule(n: u64) -> Value {
    json!({ "language": "query", "validate_doc_update": { "newDoc": { "rule": { "$gte": n } } } })
}

fn is_forbidden(answer: &Result<Revision, PodError>) -> bool {
    matches!(answer, Err(PodError::Refused(Refusal::Forbidden(_))))
}

#[tokio::test]
async fn a_selector_validates_every_way_of_writing() {
    let pod = pod_with_notes().await;
    let before = put(&pod, "old", json!({}), new()).await.unwrap();
    put(&pod, "_design/v", rule(1), new()).await.unwrap();
    assert!(is_forbidden(&put(&pod, "a", json!({}), new()).await));
    let first = put(&pod, "a", json!({ "rule": 1 }), new()).await.unwrap();
    // What was there before is not touched, and may not be written again as it is.
    let again = DraftedEdit::Edit(Some(before.clone()));
    assert!(is_forbidden(&put(&pod, "old", json!({}), again).await));
    let replicated = || DraftedEdit::Replicated(1, vec![RevisionId::Md5([7; 16])]);
    assert!(is_forbidden(&put(&pod, "r", json!({}), replicated()).await));
    put(&pod, "r", json!({ "rule": 2 }), replicated())
        .await
        .unwrap();
    // A revision that is here already is not judged again.
    put(&pod, "r", json!({}), replicated()).await.unwrap();
    // A conflict is one before it is judged.
    let conflict = put(&pod, "a", json!({}), new()).await;
    assert!(matches!(
        conflict,
        Err(PodError::Write(WriteError::Conflict))
    ));
    // Deleting is writing.
    let gone = json!({ "_deleted": true });
    let edit = DraftedEdit::Edit(Some(first));
    assert!(is_forbidden(&put(&pod, "a", gone, edit).await));
    // Design documents are not judged.
    put(
        &pod,
        "_design/w",
        json!({ "language": "query", "validate_doc_update": { "oldDoc": null } }),
        new(),
    )
    .await
    .unwrap();
    put(&pod, "b", json!({ "rule": 1 }), new()).await.unwrap();
    let answer = put(
        &pod,
        "r",
        json!({ "rule": 3 }),
        DraftedEdit::Edit(Some(
            Revision::parse("1-07070707070707070707070707070707").unwrap(),
        )),
    )
    .await;
    assert!(is_forbidden(&answer), "{answer:?}");
}

#[tokio::test]
async fn a_selector_sees_who_writes_and_what_was_there() {
    let pod = pod_with_notes().await;
    let design = json!({ "language": "query", "validate_doc_update": {
        "userCtx.name": "root", "secObj.members.roles": { "$all": ["_admin"] },
        "newDoc._id": { "$beginsWith": "d" }
    } });
    put(&pod, "_design/v", design, new()).await.unwrap();
    put(&pod, "d1", json!({}), new()).await.unwrap();
    assert!(is_forbidden(&put(&pod, "e1", json!({}), new()).await));
}

#[tokio::test]
async fn a_rule_that_is_none_refuses_everything_and_says_so() {
    let pod = pod_with_notes().await;
    let broken = [
        json!({ "newDoc": { "$what": 1 } }),
        json!("no"),
        json!({ "other": 1 }),
    ];
    for (n, broken) in (1_u8..).zip(broken) {
        let design = json!({ "language": "query", "validate_doc_update": broken });
        let entry = notes(&pod);
        let draft = parse_document(design.to_string().as_bytes()).unwrap();
        let id = DocumentId::parse("_design/v").unwrap();
        let saved = pod
            .prepare(&entry, &root(), id, draft, new(), Vec::new())
            .await;
        assert!(
            matches!(saved, Err(PodError::InvalidDesign { .. })),
            "{saved:?}"
        );
        // What comes by replication is taken, and fails closed.
        let edit = DraftedEdit::Replicated(u64::from(n), vec![RevisionId::Md5([n; 16])]);
        put(&pod, "_design/v", design, edit).await.unwrap();
        let answer = put(&pod, "a", json!({}), new()).await;
        let Err(PodError::Script(adea_script::ScriptError::Threw { error, .. })) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(error, "compilation_error");
    }
}

#[tokio::test]
async fn all_or_none_are_written_at_once() {
    let pod = pod_with_notes().await;
    put(&pod, "_design/v", rule(1), new()).await.unwrap();
    let entry = notes(&pod);
    let mut drafts = Vec::new();
    for (id, n) in [("a", 1), ("b", 0), ("c", 1)] {
        drafts.push(prepare(&pod, &entry, id, json!({ "rule": n }), new()).await);
    }
    let errors = pod.write_all(&entry, drafts).await.unwrap().unwrap_err();
    let refused: Vec<bool> = errors.iter().map(Option::is_some).collect();
    assert_eq!(refused, [false, true, false]);
    assert_eq!(pod.statistics(&entry).unwrap().documents, 1);
    let mut drafts = Vec::new();
    for id in ["a", "c"] {
        drafts.push(prepare(&pod, &entry, id, json!({ "rule": 1 }), new()).await);
    }
    assert_eq!(
        pod.write_all(&entry, drafts).await.unwrap().unwrap().len(),
        2
    );
    // Two edits of one document: the second is a conflict with the first, and both are undone.
    let mut drafts = Vec::new();
    for id in ["d", "e", "d"] {
        drafts.push(prepare(&pod, &entry, id, json!({ "rule": 1 }), new()).await);
    }
    let errors = pod.write_all(&entry, drafts).await.unwrap().unwrap_err();
    let refused: Vec<bool> = errors.iter().map(Option::is_some).collect();
    assert_eq!(refused, [false, false, true]);
    assert_eq!(pod.statistics(&entry).unwrap().documents, 3);
}

/// How often the rule changes.
const RULES: u64 = 40;

/// Writes documents that are right by the rule of a moment ago, or by the one to come.
async fn keep_writing(pod: Pod, writer: u64) -> u64 {
    let mut accepted = 0;
    for n in 0..60_u64 {
        let entry = notes(&pod);
        let mut drafts = Vec::new();
        for k in 0..3_u8 {
            let id = format!("d{writer}-{n}-{k}");
            let json = json!({ "rule": (n * RULES / 60).saturating_sub(1) + u64::from(k) });
            let edit = if k == 1 {
                DraftedEdit::Replicated(1, vec![RevisionId::Md5([k; 16])])
            } else {
                new()
            };
            drafts.push(prepare(&pod, &entry, &id, json, edit).await);
        }
        if n % 3 == 0 {
            let written = pod.write_all(&entry, drafts).await.unwrap();
            accepted += written.map_or(0, |revisions| revisions.len() as u64);
        } else {
            let outcomes = pod.write_many(&entry, drafts).await.unwrap();
            accepted += outcomes.iter().filter(|one| one.is_ok()).count() as u64;
        }
    }
    accepted
}

async fn keep_ruling(pod: Pod) {
    let mut last = None;
    for n in 1..=RULES {
        let edit = DraftedEdit::Edit(last.take());
        last = Some(put(&pod, "_design/v", rule(n), edit).await.unwrap());
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

/// Rules change while documents are written, by edits, by replication and many at a time. In the
/// order of their commits, each document must satisfy the rule that was in force.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_accepted_satisfies_the_rule_at_its_commit() {
    let pod = pod_with_notes().await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..6 {
        writers.spawn(keep_writing(pod.clone(), writer));
    }
    let ruler = tokio::spawn(keep_ruling(pod.clone()));
    let accepted: u64 = writers.join_all().await.into_iter().sum();
    ruler.await.unwrap();
    // The order of commits is that of sequences. The feed tells only the last rule, so the history is
    // asked: revision n of the rule was in force from the sequence of its body on.
    let entry = notes(&pod);
    let view = pod.view();
    let reader = crate::databases::reader(view.as_ref(), &entry, &root());
    let record = reader.record("_design/v").unwrap().unwrap();
    let nodes = record.tree.nodes();
    let mut rules: Vec<(u64, u64)> = nodes
        .map(|node| (node.body().unwrap(), node.generation()))
        .collect();
    rules.sort_unstable();
    let range = ChangesRange {
        after: 0,
        until: u64::MAX,
        direction: adea_store::Direction::Forward,
        part: Part::Kept,
        bodies: true,
        conflicts: false,
        leaves: false,
        leaf_bodies: false,
    };
    let mut seen = 0;
    pod.read_changes(&entry, &root(), range, |row| {
        if !row.id.starts_with("_design/") {
            let body: Value = serde_json::from_slice(row.document.as_ref().unwrap().json).unwrap();
            let in_force = rules.iter().rev().find(|(at, _)| *at < row.sequence);
            let least = in_force.map_or(0, |(_, rule)| *rule);
            let rule = body["rule"].as_u64().unwrap();
            assert!(
                rule >= least,
                "{} has {rule}, and {least} was in force",
                row.id
            );
            seen += 1;
        }
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(seen, accepted);
    assert!(accepted > 0);
}

/// An account is judged against what it is at its commit, also when it is replicated.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_account_is_judged_as_it_stands_at_its_commit() {
    let pod = over(Arc::new(Memory::new())).await;
    let users = pod
        .database(&DatabaseName::parse("_users").unwrap())
        .unwrap();
    let id = "org.couchdb.user:ann";
    let account = json!({ "type": "user", "name": "ann", "roles": [] });
    let grown = json!({ "type": "user", "name": "ann", "roles": ["boss"] });
    let ann = Caller::named("ann", Vec::new());
    let draft = |json: &Value| parse_document(json.to_string().as_bytes()).unwrap();
    let document = || DocumentId::parse(id).unwrap();
    let first = pod
        .prepare(
            &users,
            &root(),
            document(),
            draft(&account),
            new(),
            Vec::new(),
        )
        .await
        .unwrap();
    let first = pod.write(&users, first).await.unwrap();
    // Prepared while she has no roles; an admin gives her one before it is written.
    let branch = DraftedEdit::Replicated(9, vec![RevisionId::Md5([9; 16])]);
    let late = pod
        .prepare(
            &users,
            &ann,
            document(),
            draft(&account),
            branch,
            Vec::new(),
        )
        .await
        .unwrap();
    let edit = DraftedEdit::Edit(Some(first));
    let raised = pod
        .prepare(&users, &root(), document(), draft(&grown), edit, Vec::new())
        .await
        .unwrap();
    pod.write(&users, raised).await.unwrap();
    let answer = pod.write(&users, late).await;
    assert!(matches!(answer, Err(PodError::Refused(_))), "{answer:?}");
    let found = pod
        .read(&users, &root(), id, &Which::Winner, Told::default())
        .unwrap();
    let body: Value = serde_json::from_slice(&found.body.json).unwrap();
    assert_eq!(body["roles"], json!(["boss"]));
}

//! That forks are refused or ended as the database says, the same on every server.

use std::collections::BTreeSet;

use adea_documents::revision::{Revision, RevisionId};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::DraftedEdit;
use crate::access::WriteRefused;
use crate::validate::access_tests::{Bench, refused, root, user};

const A: &str = "1-0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";
const B: &str = "2-0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";
const C: &str = "2-0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c";
const D: &str = "2-0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d";

fn live(bench: &Bench) -> usize {
    bench
        .record("a")
        .tree
        .leaves()
        .filter(|leaf| !leaf.is_deleted())
        .count()
}

#[tokio::test]
async fn where_forks_are_refused_no_write_leaves_one() {
    let bench = Bench::with(json!({ "conflicts": "reject" })).await;
    bench
        .push(&root(), "a", &[A], json!({ "n": 1 }))
        .await
        .unwrap();
    bench
        .push(&root(), "a", &[B, A], json!({ "n": 2 }))
        .await
        .unwrap();
    for path in [&[C, A][..], &[C], &[D, A]] {
        let answer = bench.push(&root(), "a", path, json!({ "n": 3 })).await;
        assert_eq!(refused(answer), WriteRefused::Fork);
    }
    // Known revisions, continuations, and tombstones beside the winner fork nothing.
    bench
        .push(&root(), "a", &[A], json!({ "n": 1 }))
        .await
        .unwrap();
    bench
        .push(&root(), "a", &[C, A], json!({ "_deleted": true }))
        .await
        .unwrap();
    assert_eq!(live(&bench), 1);
    // Nor is a tombstone continued beside the winner.
    let answer = bench
        .edit(&root(), "a", &Revision::parse(C).unwrap(), json!({}))
        .await;
    assert_eq!(refused(answer), WriteRefused::Fork);
    // Two in one request do not fork, either.
    let first = bench.prepare(&root(), "b", json!({}), pushed(&[A])).await;
    let second = bench
        .prepare(&root(), "b", json!({ "x": 1 }), pushed(&[D]))
        .await;
    let outcomes = bench
        .pod
        .write_many(&bench.entry(), vec![first, second])
        .await
        .unwrap();
    assert_eq!(outcomes.iter().filter(|one| one.is_ok()).count(), 1);
    assert_eq!(bench.record("b").tree.leaf_count(), 1);
}

fn pushed(path: &[&str]) -> DraftedEdit {
    let path: Vec<Revision> = path
        .iter()
        .map(|text| Revision::parse(text).unwrap())
        .collect();
    let ids = path.iter().map(|one| one.id.clone()).collect();
    DraftedEdit::Replicated(path[0].generation, ids)
}

#[tokio::test]
async fn forks_are_merged_member_by_member_or_by_the_newest() {
    let bench = Bench::with(json!({ "conflicts": { "merge": "fields" } })).await;
    bench
        .push(&root(), "a", &[A], json!({ "x": 1, "y": 1, "z": 1 }))
        .await
        .unwrap();
    bench
        .push(&root(), "a", &[B, A], json!({ "x": 2, "y": 1, "z": 2 }))
        .await
        .unwrap();
    bench
        .push(&root(), "a", &[C, A], json!({ "x": 1, "y": 3, "z": 3 }))
        .await
        .unwrap();
    assert_eq!(bench.winner("a"), json!({ "x": 2, "y": 3, "z": 3 }));
    assert_eq!(live(&bench), 1);
    let parent = bench.record("a").tree.winner().unwrap().revision();
    let mut line = Vec::new();
    line.extend(
        bench
            .record("a")
            .tree
            .ancestors(&parent)
            .map(|node| node.revision().to_string()),
    );
    assert_eq!(&line[1..], [C, A]);

    let bench = Bench::with(json!({ "conflicts": { "merge": { "newest": "at" } } })).await;
    bench
        .push(&root(), "a", &[B], json!({ "at": 9, "x": 1 }))
        .await
        .unwrap();
    bench
        .push(&root(), "a", &[C], json!({ "at": 3 }))
        .await
        .unwrap();
    assert_eq!(bench.winner("a"), json!({ "at": 9, "x": 1 }));
    // The winner as it is needs no child.
    bench
        .push(&root(), "b", &[C], json!({ "at": 9 }))
        .await
        .unwrap();
    bench
        .push(&root(), "b", &[B], json!({ "at": 3 }))
        .await
        .unwrap();
    assert_eq!(
        bench
            .record("b")
            .tree
            .winner()
            .unwrap()
            .revision()
            .to_string(),
        C
    );
    assert_eq!(bench.members("b"), ["_admin"]);
    assert_eq!(bench.record("b").tree.leaf_count(), 2);
}

#[tokio::test]
async fn a_function_that_gives_no_document_leaves_the_fork() {
    let merge = json!({ "conflicts": { "merge": { "function": { "design": "_design/m" } } } });
    let bench = Bench::with(merge).await;
    bench.push(&root(), "a", &[B], json!({})).await.unwrap();
    bench.push(&root(), "a", &[C], json!({})).await.unwrap();
    assert_eq!(live(&bench), 2);
}

#[tokio::test]
async fn leaves_that_others_read_are_not_merged() {
    for (resolver, left) in [(json!("fields"), 2), (json!({ "newest": "at" }), 1)] {
        let bench = Bench::with(json!({ "conflicts": { "merge": resolver } })).await;
        let ann = user("ann");
        let shared = json!({ "access": ["user:ann", "user:ben"], "at": 1 });
        bench.push(&ann, "a", &[A], shared).await.unwrap();
        let hers = json!({ "access": ["user:ann"], "at": 3, "salary": 1 });
        bench.push(&ann, "a", &[B, A], hers.clone()).await.unwrap();
        let wider = json!({ "access": ["user:ann", "user:cem"], "at": 2 });
        bench.push(&ann, "a", &[C, A], wider.clone()).await.unwrap();
        // Of two whose lists differ nothing is put together; one of them, as it is, may win.
        assert_eq!(live(&bench), left);
        let won = if left == 2 { wider } else { hers };
        assert_eq!(bench.winner("a"), won);
    }
}

#[tokio::test]
async fn a_merged_document_that_would_be_refused_leaves_the_fork() {
    let schema = json!({ "maxProperties": 2 });
    let bench = Bench::with(json!({
        "conflicts": { "merge": "fields" },
        "schemas": { "property": "type", "types": { "note": schema } },
    }))
    .await;
    let fork = async |id: &str, kind: &str| {
        for (path, key) in [(&[B][..], "x"), (&[C], "y")] {
            let json = json!({ "type": kind, key: 1 });
            bench.push(&root(), id, path, json).await.unwrap();
        }
        let tree = bench.record(id).tree;
        tree.leaves().filter(|leaf| !leaf.is_deleted()).count()
    };
    assert_eq!(fork("a", "note").await, 2);
    assert_eq!(fork("b", "free").await, 1);
    // Each has one of the two, which the functions of the database do not take together.
    let selector = json!({ "newDoc": { "$or": [{ "x": { "$exists": false } }, { "y": { "$exists": false } }] } });
    let design = json!({ "language": "query", "validate_doc_update": selector });
    bench.put(&root(), "_design/v", design).await.unwrap();
    assert_eq!(fork("c", "free").await, 2);
}

/// Everything that one server has of the document goes to the other, leaf by leaf.
async fn send(from: &Bench, to: &Bench, turned: bool) {
    let record = from.record("a");
    let mut leaves: Vec<_> = record.tree.leaves().collect();
    if turned {
        leaves.reverse();
    }
    for leaf in leaves {
        let path: Vec<RevisionId> = record
            .tree
            .ancestors(&leaf.revision())
            .map(|n| n.id().clone())
            .collect();
        let edit = DraftedEdit::Replicated(leaf.generation(), path);
        let mut json = from.body(leaf.body().unwrap());
        if leaf.is_deleted() {
            json["_deleted"] = true.into();
        }
        to.write(&root(), "a", json, edit).await.unwrap();
    }
}

fn revisions(bench: &Bench) -> BTreeSet<String> {
    bench
        .record("a")
        .tree
        .nodes()
        .map(|node| node.revision().to_string())
        .collect()
}

fn leaves(bench: &Bench) -> Vec<(String, bool)> {
    let tree = bench.record("a").tree;
    tree.leaves()
        .map(|leaf| (leaf.revision().to_string(), leaf.is_deleted()))
        .collect()
}

/// A revision made somewhere: on which of those made before, where it is seen first, and what it says.
type Made = (usize, bool, u8, u8, bool);

async fn converge(resolver: &Value, made: &[Made]) {
    let settings = json!({ "conflicts": { "merge": resolver } });
    let (one, two) = (
        Bench::with(settings.clone()).await,
        Bench::with(settings).await,
    );
    let mut paths: Vec<Vec<String>> = Vec::new();
    for (n, (on, first, key, value, deleted)) in made.iter().enumerate() {
        let mut path = match on.checked_rem(paths.len() + 1) {
            Some(0) | None => Vec::new(),
            Some(on) => paths[on - 1].clone(),
        };
        path.insert(0, format!("{}-{:032x}", path.len() + 1, (n + 1) * 7919));
        let key = ["x", "y", "at"][usize::from(*key) % 3];
        let json = json!({ "_deleted": deleted, key: value, "n": { key: value } });
        let texts: Vec<&str> = path.iter().map(String::as_str).collect();
        let there = if *first { &one } else { &two };
        there.push(&root(), "a", &texts, json).await.unwrap();
        paths.push(path);
    }
    for round in 0..8 {
        send(&one, &two, round % 2 == 0).await;
        send(&two, &one, round % 2 == 1).await;
        if leaves(&one) == leaves(&two) {
            break;
        }
    }
    assert_eq!(leaves(&one), leaves(&two));
    assert_eq!(revisions(&one), revisions(&two));
    assert!(live(&one) <= 1);
    assert_eq!(one.winner("a"), two.winner("a"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn two_servers_that_merge_converge(
        made in prop::collection::vec((0usize..5, any::<bool>(), 0u8..3, 0u8..4, prop::bool::weighted(0.15)), 1..8),
        by in 0usize..2,
    ) {
        let resolver = [json!("fields"), json!({ "newest": "at" })][by].clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(converge(&resolver, &made));
    }
}

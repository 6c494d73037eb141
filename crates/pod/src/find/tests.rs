//! Queries of who does not see all, against trying every document that he sees.

use std::collections::BTreeMap;
use std::sync::Arc;

use adea_base::{Caller, DocumentId};
use adea_documents::selector::{FieldPath, Selector};
use serde_json::{Value, json};

use super::{Aggregate, AggregateQuery, FindQuery, FindStatistics};
use crate::error::PodError;
use crate::indexing::tests::{Bench, LISTS};
use crate::write_document::DraftedEdit;

/// Design documents that define an index of `v`, one for everybody and one for nobody.
async fn with_indexes(bench: &mut Bench) {
    for (id, list) in [("_design/open", LISTS[0]), ("_design/closed", LISTS[3])] {
        let view = json!({
            "map": {"fields": {"v": "asc"}, "partial_filter_selector": {}},
            "reduce": "_count", "options": {"def": {"fields": ["v"]}},
        });
        let json = json!({"language": "query", "views": {id: view}, "access": list}).to_string();
        let id = DocumentId::parse(id).unwrap();
        bench.put(id, &json, DraftedEdit::Edit(None), list).await;
    }
}

/// Every document that who reads sees, by its id.
fn seen(bench: &Bench) -> BTreeMap<String, Value> {
    let caller = Caller::anonymous();
    let all = adea_documents::reader::IdRange::default();
    let forward = adea_store::Direction::Forward;
    let (pod, entry) = (&bench.pod, &bench.entry);
    let listed = pod
        .list(entry, &caller, &all, forward, 0, u64::MAX)
        .unwrap();
    let mut found = BTreeMap::new();
    for document in listed.iter().filter(|one| !one.id.starts_with("_design/")) {
        let body = pod
            .bodies(entry, &caller, &[document.body.unwrap()])
            .unwrap();
        let body = body[0].clone().unwrap();
        let (_, json) = adea_documents::record::split_body(&body).unwrap();
        let json: Value = serde_json::from_slice(json).unwrap();
        if bench.may_see(&json) {
            found.insert(document.id.clone(), json);
        }
    }
    found
}

async fn find(bench: &Bench, query: &FindQuery) -> (Vec<Value>, FindStatistics, Option<String>) {
    let query = Arc::new(query.clone());
    let caller = Caller::anonymous();
    let mut walk = bench
        .pod
        .find(&bench.reading.0, &caller, query)
        .await
        .unwrap();
    let mut found = Vec::new();
    while let Some(page) = walk.next().await.unwrap() {
        found.extend(
            page.documents()
                .map(|json| serde_json::from_slice(json).unwrap()),
        );
    }
    (found, walk.statistics(), walk.bookmark())
}

fn any_query(bench: &mut Bench) -> FindQuery {
    let n = bench.chance.below(100);
    let selector = match bench.chance.below(5) {
        0 => json!({}),
        1 => json!({"v": {"$gte": n}}),
        2 => json!({"v": {"$lt": n}, "_id": {"$gt": "d3"}}),
        3 => json!({"_id": {"$in": ["d1", "d2", "d7", "none"]}}),
        _ => json!({"k": {"$size": 2}}),
    };
    let mut query = FindQuery::of(Selector::parse(&selector).unwrap());
    if bench.chance.below(2) == 0 {
        query.fields = Some(vec![
            FieldPath::parse("_id").unwrap(),
            FieldPath::parse("v").unwrap(),
        ]);
    }
    query
}

fn ids(found: &[Value]) -> Vec<String> {
    let mut ids: Vec<String> = found
        .iter()
        .map(|one| one["_id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_query_in_a_scope_finds_what_is_seen_and_counts_nothing_else() {
    for seed in 1..8 {
        let mut bench = Bench::labelled(seed * 7_919, false).await;
        with_indexes(&mut bench).await;
        for _ in 0..20 {
            for _ in 0..6 {
                bench.write().await;
            }
            bench.read_as_anybody();
            let seen = seen(&bench);
            let query = any_query(&mut bench);
            let (found, statistics, bookmark) = find(&bench, &query).await;
            let matches = |document: &&String| {
                let mut whole = seen[*document].clone();
                whole["_id"] = json!(document);
                query.selector.matches(&whole)
            };
            let expected: Vec<String> = seen.keys().filter(matches).cloned().collect();
            assert_eq!(ids(&found), expected, "{query:?}");
            let seen_count = seen.len() as u64;
            assert!(statistics.keys_examined <= seen_count, "{statistics:?}");
            assert!(
                statistics.documents_examined <= seen_count,
                "{statistics:?}"
            );
            count(&bench, &query, expected.len()).await;

            // Where another reader's answer ended, this one's own goes on, and shows nothing else.
            bench.read_as_anybody();
            let again = self::seen(&bench);
            let query = FindQuery { bookmark, ..query };
            let (found, _, _) = find(&bench, &query).await;
            assert!(ids(&found).iter().all(|id| again.contains_key(id)));
        }
    }
}

async fn count(bench: &Bench, query: &FindQuery, expected: usize) {
    let asked = AggregateQuery {
        find: query.clone(),
        group: Vec::new(),
        aggregates: vec![("n".to_owned(), Aggregate::Count(None))],
    };
    let caller = Caller::anonymous();
    let counted = bench.pod.aggregate(&bench.reading.0, &caller, asked);
    assert_eq!(counted.await.unwrap().groups[0].values, [json!(expected)]);
}

#[tokio::test]
async fn indexes_of_design_documents_that_are_not_seen_are_not_told() {
    let mut bench = Bench::labelled(5, false).await;
    with_indexes(&mut bench).await;
    for _ in 0..30 {
        bench.write().await;
    }
    for _ in 0..30 {
        bench.read_as_anybody();
        let (entry, held) = (&bench.reading.0, &bench.reading.1);
        let sees = |list: &[&str]| {
            held.contains(&"_admin") || list.iter().any(|principal| held.contains(principal))
        };
        let told = bench.pod.mango_indexes_seen(entry).unwrap();
        let told: Vec<&str> = told.iter().map(|index| &*index.design).collect();
        let mut expected = Vec::new();
        if held.contains(&"_admin") {
            expected.push("_design/closed");
        }
        if sees(LISTS[0]) {
            expected.push("_design/open");
        }
        assert_eq!(told, expected);

        let selector = Selector::parse(&json!({"v": {"$gt": 3}})).unwrap();
        let explained = bench.pod.explain(entry, &FindQuery::of(selector)).unwrap();
        let candidates = explained.candidates.iter();
        let designs = candidates.filter_map(|one| Some(&*one.index.as_ref()?.design));
        assert!(designs.into_iter().all(|design| expected.contains(&design)));
        let plan = explained.plan.unwrap();
        let used = plan.index().unwrap();
        assert_eq!(explained.hidden, !expected.contains(&&*used.design));
        if !held.contains(&"_admin") {
            assert_eq!(plan.rows, None);
            let caller = Caller::anonymous();
            let deleted = bench.pod.delete_index(entry, &caller, "closed", None).await;
            assert!(matches!(deleted, Err(PodError::Missing)));
        }
    }
}

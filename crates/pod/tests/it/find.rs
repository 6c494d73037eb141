//! Mango against a naive filter: whatever indexes there are, the same answers.

use std::sync::Arc;

use adea_base::{Caller, DatabaseName};
use adea_documents::collation;
use adea_documents::selector::{FieldPath, Lookup, Selector};
use adea_pod::{
    Aggregate, AggregateQuery, DatabaseEntry, FindError, FindQuery, NewIndex, Pod, PodError, Reason,
};
use adea_store::Durability;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::scratch::{Scratch, options, put};

fn path(name: &str) -> FieldPath {
    FieldPath::parse(name).unwrap()
}

fn selector(json: &Value) -> Selector {
    Selector::parse(json).unwrap()
}

async fn open(scratch: &Scratch) -> Pod {
    let mut options = options(&scratch.path("data"));
    options.durability = Durability::Relaxed {
        interval: std::time::Duration::from_millis(100),
    };
    Pod::open(options).await.unwrap()
}

async fn make(pod: &Pod, name: &str, partitioned: bool) -> Arc<DatabaseEntry> {
    let name = DatabaseName::parse(name).unwrap();
    pod.create_database(&name, partitioned).await.unwrap();
    pod.database(&name).unwrap()
}

async fn index(
    pod: &Pod,
    entry: &Arc<DatabaseEntry>,
    fields: &[&str],
    filter: Option<&Value>,
) -> String {
    let mut definition = json!({"fields": fields});
    if let Some(filter) = filter {
        definition["partial_filter_selector"] = filter.clone();
    }
    let new = NewIndex {
        definition,
        fields: fields.iter().map(|name| (path(name), "asc")).collect(),
        filter: filter.map(selector),
        name: None,
        design: None,
        partitioned: None,
        quorum: "2".to_owned(),
    };
    pod.create_index(entry, &admin(), &new)
        .await
        .unwrap()
        .design
}

fn admin() -> Caller {
    Caller::named("root", vec!["_admin".to_owned()])
}

/// All answers, page after page by their bookmarks where the query has a limit.
async fn answers(pod: &Pod, entry: &Arc<DatabaseEntry>, query: &FindQuery) -> Vec<Value> {
    let mut query = query.clone();
    let mut all = Vec::new();
    loop {
        let found = page(pod, entry, &query).await.unwrap();
        let (documents, bookmark) = found;
        let last = documents.len() as u64 != query.limit;
        all.extend(documents);
        assert!(all.len() < 10_000, "a bookmark leads in a circle");
        if last {
            return all;
        }
        query.bookmark = bookmark;
        query.skip = 0;
    }
}

async fn page(
    pod: &Pod,
    entry: &Arc<DatabaseEntry>,
    query: &FindQuery,
) -> Result<(Vec<Value>, Option<String>), PodError> {
    let mut walk = pod
        .find(entry, &Caller::anonymous(), Arc::new(query.clone()))
        .await?;
    let mut documents = Vec::new();
    while let Some(page) = walk.next().await? {
        documents.extend(
            page.documents()
                .map(|text| serde_json::from_slice(text).unwrap()),
        );
    }
    assert_eq!(walk.statistics().returned, documents.len() as u64);
    Ok((documents, walk.bookmark()))
}

fn ids(documents: &[Value]) -> Vec<&str> {
    documents
        .iter()
        .map(|one| one["_id"].as_str().unwrap())
        .collect()
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-2i64..5).prop_map(Value::from),
        Just(json!(1.0)),
        "[abA]{0,2}".prop_map(Value::from),
        Just(json!([])),
        Just(json!([1, "a"])),
        Just(json!({"k": 1})),
    ]
}

fn any_document() -> impl Strategy<Value = Value> {
    let field = || prop::option::weighted(0.8, any_value());
    (field(), field(), field()).prop_map(|(a, b, c)| {
        let mut document = json!({"filler": "x".repeat(20)});
        for (name, value) in [("a", a), ("b", b)] {
            if let Some(value) = value {
                document[name] = value;
            }
        }
        if let Some(c) = c {
            document["c"] = json!({"d": c});
        }
        document
    })
}

fn any_condition() -> impl Strategy<Value = Value> {
    let operator = prop::sample::select(vec!["$lt", "$lte", "$eq", "$ne", "$gte", "$gt"]);
    prop_oneof![
        8 => (operator, any_value()).prop_map(|(o, v)| json!({o: v})),
        3 => prop::collection::vec(any_value(), 0..4).prop_map(|v| json!({"$in": v})),
        1 => prop::collection::vec(any_value(), 0..3).prop_map(|v| json!({"$nin": v})),
        2 => any::<bool>().prop_map(|b| json!({"$exists": b})),
        1 => prop::sample::select(vec!["null", "number", "string", "array"]).prop_map(|t| json!({"$type": t})),
        1 => Just(json!({"$regex": "^a"})),
        1 => Just(json!({"$elemMatch": {"$eq": 1}})),
    ]
}

fn any_selector() -> impl Strategy<Value = Value> {
    let field = prop::sample::select(vec!["a", "a", "b", "b", "c.d"]);
    let leaf = prop_oneof![
        9 => (field, any_condition()).prop_map(|(f, c)| json!({f: c})),
        1 => "[0-9]".prop_map(|id| json!({"_id": {"$gt": format!("d{id}")}})),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        let list = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            3 => (prop::sample::select(vec!["$and", "$and", "$or", "$nor"]), list).prop_map(|(o, l)| json!({o: l})),
            1 => inner.prop_map(|s| json!({"$not": s})),
        ]
    })
}

#[derive(Debug, Clone)]
struct Case {
    documents: Vec<Value>,
    later: Vec<Value>,
    indexes: Vec<Vec<&'static str>>,
    queries: Vec<(Value, Vec<&'static str>, bool, bool)>,
}

fn any_case() -> impl Strategy<Value = Case> {
    let index = prop::sample::select(vec![
        vec!["a"],
        vec!["b"],
        vec!["a", "b"],
        vec!["b", "a"],
        vec!["c.d"],
        vec!["a", "c.d"],
        vec!["a", "_id"],
        vec!["a", "b", "c.d"],
    ]);
    let sort = prop::sample::select(vec![
        vec![],
        vec![],
        vec!["a"],
        vec!["a", "b"],
        vec!["b"],
        vec!["_id"],
    ]);
    let query = (any_selector(), sort, any::<bool>(), any::<bool>());
    (
        prop::collection::vec(any_document(), 0..40),
        prop::collection::vec(any_document(), 0..5),
        prop::collection::vec(index, 0..4),
        prop::collection::vec(query, 1..6),
    )
        .prop_map(|(documents, later, indexes, queries)| Case {
            documents,
            later,
            indexes,
            queries,
        })
}

/// What a query must answer: the documents, and whether they come in the order of the sort.
fn naive<'d>(documents: &'d [Value], selector: &Selector, sort: &[&str]) -> Vec<&'d Value> {
    let has = |document: &Value| {
        sort.iter()
            .all(|field| matches!(path(field).find(document), Lookup::Found(_)))
    };
    documents
        .iter()
        .filter(|document| selector.matches(document) && has(document))
        .collect()
}

fn in_order(documents: &[Value], sort: &[&str], descending: bool) -> bool {
    let key = |document: &Value| {
        let values = sort.iter().map(|field| match path(field).find(document) {
            Lookup::Found(value) => value.clone(),
            Lookup::Missing | Lookup::Unreachable => Value::Null,
        });
        Value::Array(values.collect())
    };
    documents.windows(2).all(|pair| {
        let order = collation::compare(&key(&pair[0]), &key(&pair[1]));
        if descending {
            order.is_ge()
        } else {
            order.is_le()
        }
    })
}

async fn run(pod: &Pod, name: &str, case: &Case) {
    let entry = make(pod, name, false).await;
    let mut stored = Vec::new();
    let write = async |n: usize, document: &Value| {
        let id = format!("d{n:02}");
        let revision = put(pod, &entry, &id, &document.to_string(), None).await;
        let mut whole = json!({"_id": id, "_rev": revision.to_string()});
        whole
            .as_object_mut()
            .unwrap()
            .extend(document.as_object().unwrap().clone());
        whole
    };
    for document in &case.documents {
        stored.push(write(stored.len(), document).await);
    }
    for fields in &case.indexes {
        index(pod, &entry, fields, None).await;
    }
    for document in &case.later {
        stored.push(write(stored.len(), document).await);
    }
    for (json, sort, descending, projected) in &case.queries {
        let parsed = selector(json);
        let mut query = FindQuery::of(parsed.clone());
        query.sort = sort.iter().map(|&field| field.to_owned()).collect();
        query.descending = *descending;
        if *projected {
            query.fields = Some(vec![path("_id"), path("a"), path("b")]);
        }
        let whole = match page(pod, &entry, &query).await {
            Ok((documents, _)) => documents,
            Err(PodError::Find(FindError::NoSortIndex(_))) => {
                let gives =
                    |fields: &Vec<&str>| fields.starts_with(sort) && fields.len() == sort.len();
                assert!(
                    !case.indexes.iter().any(gives),
                    "{sort:?} {:?}",
                    case.indexes
                );
                continue;
            }
            Err(error) => panic!("{json}: {error}"),
        };
        let expected = naive(&stored, &parsed, sort);
        let mut got = ids(&whole);
        assert!(
            in_order(
                &whole,
                if *projected && sort.contains(&"c.d") {
                    &[]
                } else {
                    sort
                },
                *descending
            ),
            "{json} {sort:?}"
        );
        let paged = FindQuery {
            limit: 3,
            ..query.clone()
        };
        assert_eq!(
            ids(&answers(pod, &entry, &paged).await),
            got,
            "{json} {sort:?} by pages"
        );
        let skipped = FindQuery { skip: 2, ..paged };
        let rest: Vec<&str> = got.iter().copied().skip(2).collect();
        assert_eq!(ids(&answers(pod, &entry, &skipped).await), rest);
        got.sort_unstable();
        let wanted: Vec<&str> = expected
            .iter()
            .map(|one| one["_id"].as_str().unwrap())
            .collect();
        assert_eq!(
            got, wanted,
            "{json} sorted by {sort:?} with {:?}",
            case.indexes
        );
        for document in &whole {
            let original = expected
                .iter()
                .find(|one| one["_id"] == document["_id"])
                .unwrap();
            if *projected {
                for field in ["_id", "a", "b"] {
                    assert_eq!(document.get(field), original.get(field));
                }
                assert!(document.get("c").is_none() && document.get("filler").is_none());
            } else {
                assert_eq!(document, *original);
            }
        }
        let explained = pod.explain(&entry, &query).unwrap();
        let chosen = explained.plan.unwrap();
        let counted = chosen.rows.unwrap();
        assert!(
            counted >= expected.len() as u64,
            "{json}: {counted} rows cannot hold all"
        );
        assert_eq!(explained.candidates.len(), case_indexes(case));
    }
}

/// How many other indexes there are, the primary one with them.
fn case_indexes(case: &Case) -> usize {
    let distinct: std::collections::HashSet<_> = case.indexes.iter().collect();
    distinct.len()
}

#[test]
fn indexed_or_not_the_answers_are_those_of_a_filter() {
    let runtime = Runtime::new().unwrap();
    let scratch = Scratch::new();
    let pod = runtime.block_on(open(&scratch));
    let mut runner = TestRunner::new(Config {
        cases: 120,
        failure_persistence: None,
        ..Config::default()
    });
    let count = std::cell::Cell::new(0);
    let outcome = runner.run(&any_case(), |case| {
        count.set(count.get() + 1);
        runtime.block_on(run(&pod, &format!("db{}", count.get()), &case));
        Ok(())
    });
    outcome.unwrap();
    runtime.block_on(async { pod.close() });
}

async fn planned(
    pod: &Pod,
    entry: &DatabaseEntry,
    query: &FindQuery,
) -> (Option<String>, Vec<(String, Reason)>) {
    let explained = pod.explain(entry, query).unwrap();
    let name = |index: Option<&Arc<adea_pod::MangoIndex>>| {
        index.map_or("_all_docs".to_owned(), |one| {
            one.column_names().collect::<Vec<_>>().join("+")
        })
    };
    let plan = explained.plan.map(|plan| name(plan.index()));
    let candidates = explained.candidates.iter();
    let candidates = candidates.map(|one| (name(one.index.as_ref()), one.reason));
    (plan, candidates.collect())
}

#[tokio::test]
async fn the_index_with_the_fewest_rows_is_taken() {
    let scratch = Scratch::new();
    let pod = open(&scratch).await;
    let entry = make(&pod, "db", false).await;
    for n in 0..400 {
        let document = json!({"kind": n % 2, "number": n, "state": "x"});
        put(
            &pod,
            &entry,
            &format!("d{n:03}"),
            &document.to_string(),
            None,
        )
        .await;
    }
    for fields in [
        &["kind"][..],
        &["number"],
        &["state", "kind"],
        &["kind", "number"],
    ] {
        index(&pod, &entry, fields, None).await;
        // Built, so that its rows can be counted.
        let all = json!({"kind": {"$gte": 0}, "number": {"$gte": 0}, "state": "x"});
        let mut query = FindQuery::of(selector(&all));
        query.sort = fields.iter().map(|&field| field.to_owned()).collect();
        assert_eq!(page(&pod, &entry, &query).await.unwrap().0.len(), 400);
    }
    let check = async |json: Value, sort: &[&str], expected: &str| {
        let mut query = FindQuery::of(selector(&json));
        query.sort = sort.iter().map(|&field| field.to_owned()).collect();
        let (plan, _) = planned(&pod, &entry, &query).await;
        assert_eq!(plan.as_deref(), Some(expected), "{json}");
    };
    // CouchDB would take the one that has more of the fields.
    check(
        json!({"kind": 1, "number": {"$lt": 3}, "state": "x"}),
        &[],
        "kind+number",
    )
    .await;
    check(json!({"kind": {"$gte": 0}, "number": 7}), &[], "number").await;
    check(json!({"kind": 1}), &[], "kind").await;
    check(
        json!({"number": {"$in": [1, 2, 3]}, "kind": {"$gt": 0}}),
        &[],
        "number",
    )
    .await;
    check(
        json!({"$or": [{"number": 1}, {"number": 5}]}),
        &[],
        "number",
    )
    .await;
    check(json!({"_id": "d007", "kind": 1}), &[], "_all_docs").await;
    check(json!({"_id": {"$gt": null}, "kind": 1}), &[], "kind").await;
    check(
        json!({"kind": 1, "number": {"$gt": 3}}),
        &["number"],
        "kind+number",
    )
    .await;
    check(json!({"number": {"$gt": 3}}), &["kind"], "kind").await;
    check(json!({"other": 1}), &[], "_all_docs").await;
    check(json!({"kind": {"$exists": false}}), &[], "_all_docs").await;

    let mut wrong = FindQuery::of(selector(&json!({"kind": 1})));
    wrong.sort = vec!["other".to_owned()];
    let (plan, candidates) = planned(&pod, &entry, &wrong).await;
    assert_eq!(plan, None);
    assert!(
        candidates.contains(&("kind".to_owned(), Reason::SortOrderMismatch)),
        "{candidates:?}"
    );
    assert!(
        candidates.contains(&("number".to_owned(), Reason::FieldMismatch)),
        "{candidates:?}"
    );
    assert!(matches!(
        page(&pod, &entry, &wrong).await,
        Err(PodError::Find(FindError::NoSortIndex(_)))
    ));
}

#[tokio::test]
async fn partial_indexes_are_used_when_they_are_named() {
    let scratch = Scratch::new();
    let pod = open(&scratch).await;
    let entry = make(&pod, "db", false).await;
    for n in 0..20 {
        put(
            &pod,
            &entry,
            &format!("d{n:02}"),
            &json!({"n": n}).to_string(),
            None,
        )
        .await;
    }
    let design = index(&pod, &entry, &["n"], Some(&json!({"n": {"$gte": 15}}))).await;
    let mut query = FindQuery::of(selector(&json!({"n": {"$gte": 0}})));
    assert_eq!(page(&pod, &entry, &query).await.unwrap().0.len(), 20);
    query.use_index = vec![design.clone()];
    assert_eq!(page(&pod, &entry, &query).await.unwrap().0.len(), 5);
    query.use_index = vec![design, "other".to_owned()];
    assert_eq!(page(&pod, &entry, &query).await.unwrap().0.len(), 20);
    query.allow_fallback = false;
    let refused = page(&pod, &entry, &query).await;
    assert!(matches!(
        refused,
        Err(PodError::Find(FindError::UnsuitableIndex(_)))
    ));
}

#[tokio::test]
async fn a_partition_is_all_that_a_query_of_it_sees() {
    let scratch = Scratch::new();
    let pod = open(&scratch).await;
    let entry = make(&pod, "db", true).await;
    for n in 0..30 {
        let name = format!("p{}:{n:02}", n % 3);
        put(&pod, &entry, &name, &json!({"n": n}).to_string(), None).await;
    }
    let mut query = FindQuery::of(selector(&json!({"n": {"$gte": 10}})));
    query.partition = Some("p1".to_owned());
    query.descending = true;
    let by_scan = page(&pod, &entry, &query).await.unwrap().0;
    index(&pod, &entry, &["n"], None).await;
    query.sort = vec!["n".to_owned()];
    let by_index = page(&pod, &entry, &query).await.unwrap().0;
    assert_eq!(
        ids(&by_index),
        [
            "p1:28", "p1:25", "p1:22", "p1:19", "p1:16", "p1:13", "p1:10"
        ]
    );
    assert_eq!(ids(&by_scan), ids(&by_index));
    query.fields = Some(vec![path("_id"), path("n")]);
    let covered = page(&pod, &entry, &query).await.unwrap().0;
    assert_eq!(covered[0], json!({"_id": "p1:28", "n": 28}));
    // The index is parted, so a query of everything has none.
    query.partition = None;
    assert!(matches!(
        page(&pod, &entry, &query).await,
        Err(PodError::Find(FindError::NoSortIndex(_)))
    ));
}

#[tokio::test]
async fn bookmarks_keep_to_their_index() {
    let scratch = Scratch::new();
    let pod = open(&scratch).await;
    let entry = make(&pod, "db", false).await;
    for n in 0..10 {
        put(
            &pod,
            &entry,
            &format!("d{n}"),
            &json!({"n": 9 - n}).to_string(),
            None,
        )
        .await;
    }
    let query = FindQuery {
        limit: 4,
        ..FindQuery::of(selector(&json!({"n": {"$gte": 0}})))
    };
    let (first, bookmark) = page(&pod, &entry, &query).await.unwrap();
    assert_eq!(ids(&first), ["d0", "d1", "d2", "d3"]);
    // An index that is better now does not turn the second page around.
    let design = index(&pod, &entry, &["n"], None).await;
    let next = FindQuery {
        bookmark,
        ..query.clone()
    };
    assert_eq!(
        ids(&page(&pod, &entry, &next).await.unwrap().0),
        ["d4", "d5", "d6", "d7"]
    );
    let (by_index, bookmark) = page(&pod, &entry, &query).await.unwrap();
    assert_eq!(ids(&by_index), ["d9", "d8", "d7", "d6"]);
    pod.delete_index(&entry, &admin(), &design, None)
        .await
        .unwrap();
    for bookmark in [bookmark, Some("nonsense".to_owned())] {
        let gone = FindQuery {
            bookmark,
            ..query.clone()
        };
        let refused = page(&pod, &entry, &gone).await;
        assert!(matches!(
            refused,
            Err(PodError::Find(FindError::InvalidBookmark(_)))
        ));
    }
}

/// Groups by the naive way: sort keys, and what a group's documents are.
fn naive_groups(
    documents: &[&Value],
    group: &[FieldPath],
    aggregates: &[(String, Aggregate)],
) -> Vec<(Vec<Option<Value>>, Vec<Value>)> {
    let of = |document: &Value, field: &FieldPath| match field.find(document) {
        Lookup::Found(value) => Some(value.clone()),
        Lookup::Missing | Lookup::Unreachable => None,
    };
    let mut groups: Vec<(Vec<Option<Value>>, Vec<&Value>)> = Vec::new();
    for document in documents {
        let key: Vec<Option<Value>> = group.iter().map(|field| of(document, field)).collect();
        let same = |known: &Vec<Option<Value>>| {
            known.iter().zip(&key).all(|pair| match pair {
                (Some(a), Some(b)) => collation::compare(a, b).is_eq(),
                (a, b) => a.is_none() && b.is_none(),
            })
        };
        match groups.iter_mut().find(|(known, _)| same(known)) {
            Some((_, members)) => members.push(document),
            None => groups.push((key, vec![document])),
        }
    }
    if group.is_empty() && groups.is_empty() {
        groups.push((Vec::new(), Vec::new()));
    }
    groups.sort_by(|(a, _), (b, _)| {
        a.iter()
            .zip(b)
            .map(|pair| match pair {
                (Some(a), Some(b)) => collation::compare(a, b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            })
            .find(|order| order.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let whole = |value: &Value| value.as_i64();
    groups
        .into_iter()
        .map(|(key, members)| {
            let values = aggregates.iter().map(|(_, aggregate)| {
                let given = |field: &FieldPath| {
                    members
                        .iter()
                        .filter_map(|one| of(one, field))
                        .collect::<Vec<_>>()
                };
                match aggregate {
                    Aggregate::Count(None) => members.len().into(),
                    Aggregate::Count(Some(field)) => given(field).len().into(),
                    Aggregate::Sum(field) => {
                        given(field).iter().filter_map(whole).sum::<i64>().into()
                    }
                    Aggregate::Min(field) => given(field)
                        .into_iter()
                        .min_by(collation::compare)
                        .unwrap_or(Value::Null),
                    Aggregate::Max(field) => given(field)
                        .into_iter()
                        .reduce(|a, b| {
                            if collation::compare(&b, &a).is_gt() {
                                b
                            } else {
                                a
                            }
                        })
                        .unwrap_or(Value::Null),
                    Aggregate::Avg(_) => Value::Null,
                }
            });
            (key, values.collect())
        })
        .collect()
}

fn any_integer_document() -> impl Strategy<Value = Value> {
    let field = || {
        prop::option::weighted(
            0.8,
            prop_oneof![4 => (-3i64..4).prop_map(Value::from), 1 => Just(json!("x")), 1 => Just(json!(null))],
        )
    };
    (field(), field(), field()).prop_map(|(a, b, n)| {
        let mut document = json!({});
        for (name, value) in [("a", a), ("b", b), ("n", n)] {
            if let Some(value) = value {
                document[name] = value;
            }
        }
        document
    })
}

#[test]
fn groups_are_those_of_a_naive_grouping() {
    let runtime = Runtime::new().unwrap();
    let scratch = Scratch::new();
    let pod = runtime.block_on(open(&scratch));
    let mut runner = TestRunner::new(Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    });
    let count = std::cell::Cell::new(0);
    let field = || prop::sample::select(vec!["a", "b"]);
    let condition = prop_oneof![
        (
            field(),
            prop::sample::select(vec!["$gte", "$lt", "$eq"]),
            -3i64..4
        )
            .prop_map(|(f, o, v)| json!({f: {o: v}})),
        Just(json!({})),
        Just(json!({"a": {"$exists": true}})),
        Just(json!({"$or": [{"a": 1}, {"a": {"$gt": 2}}]})),
        (-2i64..3).prop_map(|v| json!({"a": v, "$or": [{"b": 1}, {"b": {"$gt": 2}}]})),
    ];
    let group = prop::sample::select(vec![
        vec![],
        vec!["a"],
        vec!["a", "b"],
        vec!["b"],
        vec!["b", "a"],
    ]);
    let indexes = prop::collection::vec(
        prop::sample::select(vec![
            vec!["a"],
            vec!["a", "b"],
            vec!["b"],
            vec!["a", "b", "n"],
        ]),
        0..3,
    );
    let strategy = (
        prop::collection::vec(any_integer_document(), 0..40),
        indexes,
        prop::collection::vec((condition, group, any::<bool>()), 1..6),
    );
    let outcome = runner.run(&strategy, |(documents, indexes, queries)| {
        count.set(count.get() + 1);
        runtime.block_on(async {
            let entry = make(&pod, &format!("g{}", count.get()), false).await;
            for (n, document) in documents.iter().enumerate() {
                put(
                    &pod,
                    &entry,
                    &format!("d{n:02}"),
                    &document.to_string(),
                    None,
                )
                .await;
            }
            for fields in &indexes {
                index(&pod, &entry, fields, None).await;
            }
            for (json, group, counts) in &queries {
                let parsed = selector(json);
                let mut aggregates = vec![("n".to_owned(), Aggregate::Count(None))];
                if !counts {
                    aggregates.extend([
                        ("has".to_owned(), Aggregate::Count(Some(path("n")))),
                        ("sum".to_owned(), Aggregate::Sum(path("n"))),
                        ("min".to_owned(), Aggregate::Min(path("n"))),
                        ("max".to_owned(), Aggregate::Max(path("b"))),
                    ]);
                }
                let group: Vec<FieldPath> = group.iter().map(|field| path(field)).collect();
                let query = AggregateQuery {
                    find: FindQuery::of(parsed.clone()),
                    group: group.clone(),
                    aggregates: aggregates.clone(),
                };
                let done = pod
                    .aggregate(&entry, &Caller::anonymous(), query)
                    .await
                    .unwrap();
                let got: Vec<_> = done
                    .groups
                    .into_iter()
                    .map(|group| (group.key, group.values))
                    .collect();
                let meant: Vec<&Value> = documents
                    .iter()
                    .filter(|document| parsed.matches(document))
                    .collect();
                assert_eq!(
                    got,
                    naive_groups(&meant, &group, &aggregates),
                    "{json} by {group:?} with {indexes:?}"
                );
            }
        });
        Ok(())
    });
    outcome.unwrap();
    runtime.block_on(async { pod.close() });
}

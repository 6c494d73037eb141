//! Random histories of a database against a view that is mapped, sorted and reduced anew each time.

use std::ops::ControlFlow;
use std::sync::Arc;

use adea_access::{AccessList, History, Principals};
use adea_base::{Caller, DatabaseName, DocumentId};
use adea_documents::collation::Collation;
use adea_documents::index::builtin::Builtin;
use adea_documents::index::{Row, Signature};
use adea_documents::json::parse_document;
use adea_documents::labels::DraftLabel;
use adea_documents::revision::{Revision, RevisionId};
use adea_store::Memory;
use serde_json::{Value, json};

use crate::databases::DatabaseEntry;
use crate::indexing::{Extract, IndexPlan, Mapper, Reducer};
use crate::pod::Pod;
use crate::views::{Design, DesignView, Language, Update, ViewQuery};
use crate::write_document::DraftedEdit;
use crate::write_user::tests::over;

/// A row for each key in `k`, with the number in `v`.
#[derive(Debug)]
struct Keys;

impl Extract for Keys {
    fn rows(&self, _: &str, json: &[u8]) -> Vec<Row> {
        let document: Value = serde_json::from_slice(json).unwrap();
        assert!(document["_id"].is_string() && document["_rev"].is_string());
        let keys = document["k"].as_array().cloned().unwrap_or_default();
        keys.iter()
            .map(|key| Row {
                key: key.to_string(),
                value: document["v"].to_string(),
            })
            .collect()
    }
}

/// Chance that is the same each time (xorshift).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    pub(crate) fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()].clone()
    }
}

fn design(partitioned: bool, collation: Collation) -> Arc<Design> {
    let reduces = [Builtin::Sum, Builtin::Count, Builtin::Stats];
    let plan = IndexPlan {
        signature: Signature::of(&[b"test"]),
        mapper: Mapper::Fields(Arc::new(Keys)),
        reduces: (1..)
            .zip(reduces)
            .map(|(n, builtin)| (Signature([n; 16]), Reducer::Builtin(builtin)))
            .collect(),
        collation,
        include_design: false,
        local_seq: false,
        partitioned,
        name: "_design/test".to_owned(),
    };
    let view = |name: &str, reduce| DesignView {
        name: name.to_owned(),
        plan: 0,
        reduce,
    };
    Arc::new(Design {
        id: "_design/test".to_owned(),
        revision: Revision::parse("1-a").unwrap(),
        language: Language::Query,
        partitioned,
        autoupdate: true,
        views: vec![
            view("sum", Some(0)),
            view("count", Some(1)),
            view("stats", Some(2)),
        ],
        plans: vec![Arc::new(plan)],
        mango: Vec::new(),
    })
}

/// A database, and what its view should be.
pub(crate) struct Bench {
    pub(crate) pod: Pod,
    pub(crate) entry: Arc<DatabaseEntry>,
    design: Arc<Design>,
    pub(crate) chance: Chance,
    collation: Collation,
    partitioned: bool,
    /// Whether documents say who may read them.
    labelled: bool,
    /// Who reads, and the principals that he holds; whoever holds `_admin` sees all.
    pub(crate) reading: (Arc<DatabaseEntry>, Vec<&'static str>),
}

/// Who may read documents.
pub(crate) const LISTS: [&[&str]; 4] = [&["a"], &["a", "b"], &["c"], &["_admin"]];

fn access_list(principals: &[&str]) -> AccessList {
    let list = json!(principals);
    AccessList::parse("access", &list).unwrap().unwrap()
}

/// A row of the plain list.
#[derive(Clone, Debug, PartialEq)]
struct Plain {
    key: Value,
    id: String,
    value: i64,
}

impl Bench {
    async fn new(seed: u64, partitioned: bool, collation: Collation) -> Self {
        let pod = over(Arc::new(Memory::new())).await;
        let name = DatabaseName::parse("db").unwrap();
        pod.create_database(&name, partitioned).await.unwrap();
        let entry = pod.database(&name).unwrap();
        Self {
            labelled: false,
            reading: (Arc::clone(&entry), vec!["_admin"]),
            entry,
            pod,
            design: design(partitioned, collation),
            chance: Chance(seed),
            collation,
            partitioned,
        }
    }

    /// One whose documents have labels, and are read by one or another.
    pub(crate) async fn labelled(seed: u64, partitioned: bool) -> Self {
        let mut bench = Self::new(seed, partitioned, Collation::Unicode).await;
        let labels = |settings: &mut adea_documents::database::Settings| {
            (settings.labels, settings.labelled) = (1, 1);
        };
        let store = &bench.pod.inner.store;
        let keyed = store.transact(Pod::permit(), |tx| {
            adea_documents::labels::put_key(tx, &[7; 32])?;
            Ok::<_, adea_store::Decline<adea_documents::DatabaseError>>(())
        });
        keyed.await.unwrap();
        bench
            .pod
            .change_settings(&bench.entry, labels)
            .await
            .unwrap();
        let again = bench.pod.database(&bench.entry.name).unwrap();
        // Who writes here is nobody who was let in: it is the bench that says the labels.
        bench.entry = Arc::new(DatabaseEntry {
            scope: adea_access::aggregate(),
            ..(*again).clone()
        });
        bench.labelled = true;
        bench
    }

    pub(crate) fn read_as_anybody(&mut self) {
        if !self.labelled {
            return;
        }
        let key = [7; 32];
        let of = |names: &[&'static str]| {
            let principals = names.iter().map(|name| Arc::from(*name)).collect();
            let history = History::constant(&Principals::new(principals));
            adea_access::reader_scope(Arc::new(history), "reader", key, Arc::default())
        };
        let (scope, held) = match self.chance.below(6) {
            0 => (of(&["a"]), vec!["a"]),
            1 => (of(&["b", "c"]), vec!["b", "c"]),
            2 => (of(&["x"]), vec!["x"]),
            3 => (adea_access::aggregate(), vec!["_admin"]),
            4 => (adea_access::nothing_scope("reader", key), vec![]),
            _ => {
                let list = access_list(LISTS[1]);
                let scope = adea_access::partition_scope(list.signature(), "reader", key);
                (scope, vec!["p"])
            }
        };
        let entry = DatabaseEntry {
            scope,
            ..(*self.entry).clone()
        };
        self.reading = (Arc::new(entry), held);
    }

    /// Whether who reads may see a document with this body.
    pub(crate) fn may_see(&self, document: &Value) -> bool {
        let held = &self.reading.1;
        let list: Vec<&str> = document["access"]
            .as_array()
            .map(|list| list.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        held.contains(&"_admin")
            || held.contains(&"p") && list == LISTS[1]
            || list.iter().any(|principal| held.contains(principal))
    }

    fn any_key(&mut self) -> Value {
        let few = [
            json!(null),
            json!(true),
            json!(1),
            json!(1.5),
            json!("a"),
            json!("A"),
            json!("b"),
            json!("é"),
            json!([]),
            json!(["x"]),
            json!(["x", 1]),
            json!(["x", 2, 3]),
            json!(["y", {"z": 1}]),
            json!({"a": 1}),
        ];
        self.chance.one_of(&few)
    }

    fn any_id(&mut self) -> DocumentId {
        let n = self.chance.below(12);
        let text = match (self.partitioned, n) {
            (true, _) => format!("{}:{n}", ["p", "q"][usize::from(n > 5)]),
            (false, 0) => "_design/x".to_owned(),
            (false, _) => format!("d{n}"),
        };
        DocumentId::parse(&text).unwrap()
    }

    /// Writes a document with so many rows that is for nobody but administrators.
    async fn write_large(&mut self, rows: usize) {
        let keys: Vec<Value> = (0..rows).map(|_| self.any_key()).collect();
        let id = DocumentId::parse("large").unwrap();
        let json = json!({"k": keys, "v": 1, "access": LISTS[3]}).to_string();
        self.put(id, &json, DraftedEdit::Edit(None), LISTS[3]).await;
    }

    pub(crate) async fn write(&mut self) {
        let id = self.any_id();
        let winner = self.winner(id.as_str());
        let keys: Vec<Value> = (0..self.chance.below(4)).map(|_| self.any_key()).collect();
        let v = self.chance.below(100);
        let list = self.chance.one_of(&LISTS);
        let json = match self.chance.below(5) {
            0 => "{\"_deleted\":true}".to_owned(),
            _ => json!({"k": keys, "v": v, "access": list}).to_string(),
        };
        let edit = match self.chance.below(4) {
            0 => {
                let generation = 1 + self.chance.below(4);
                let id = RevisionId::parse(&format!("{:032x}", self.chance.below(1 << 60)));
                DraftedEdit::Replicated(generation, vec![id.unwrap()])
            }
            _ => DraftedEdit::Edit(winner),
        };
        self.put(id, &json, edit, list).await;
    }

    pub(crate) async fn put(&self, id: DocumentId, json: &str, edit: DraftedEdit, list: &[&str]) {
        let draft = parse_document(json.as_bytes()).unwrap();
        let caller = Caller::named("admin", vec!["_admin".to_owned()]);
        let prepared = self
            .pod
            .prepare(&self.entry, &caller, id, draft, edit, Vec::new());
        let mut prepared = prepared.await.unwrap();
        if self.labelled {
            let list = access_list(list);
            prepared.draft.label = Some(DraftLabel {
                name: Arc::clone(list.signature()),
                members: Arc::clone(list.principals()),
            });
        }
        // One that conflicts changes nothing, which is as good.
        drop(self.pod.write(&self.entry, prepared).await);
    }

    async fn purge(&mut self) {
        let id = self.any_id();
        if let Some(winner) = self.winner(id.as_str()) {
            let purged = self.pod.purge(&self.entry, vec![(id, vec![winner])]);
            purged.await.unwrap();
        }
    }

    fn winner(&self, id: &str) -> Option<Revision> {
        let view = self.pod.view();
        let reader = crate::databases::reader(view.as_ref(), &self.entry, &Caller::anonymous());
        Some(reader.record_head(id).unwrap()?.winner.revision)
    }

    /// The view by reading every document.
    fn plain(&self, partition: Option<&str>) -> Vec<Plain> {
        let caller = Caller::anonymous();
        let all = adea_documents::reader::IdRange::default();
        let forward = adea_store::Direction::Forward;
        let listed = self
            .pod
            .list(&self.entry, &caller, &all, forward, 0, u64::MAX)
            .unwrap();
        let mut rows = Vec::new();
        for document in listed.iter().filter(|one| !one.id.starts_with("_design/")) {
            if partition.is_some_and(|p| !document.id.starts_with(&format!("{p}:"))) {
                continue;
            }
            let bodies = self
                .pod
                .bodies(&self.entry, &caller, &[document.body.unwrap()])
                .unwrap();
            let body = bodies[0].clone().unwrap();
            let (_, json) = adea_documents::record::split_body(&body).unwrap();
            let document_json: Value = serde_json::from_slice(json).unwrap();
            if !self.may_see(&document_json) {
                continue;
            }
            for key in document_json["k"].as_array().into_iter().flatten() {
                rows.push(Plain {
                    key: key.clone(),
                    id: document.id.clone(),
                    value: document_json["v"].as_i64().unwrap(),
                });
            }
        }
        rows.sort_by(|a, b| {
            let keys = self.collation.compare(&a.key, &b.key);
            keys.then_with(|| a.id.as_bytes().cmp(b.id.as_bytes()))
        });
        rows
    }

    fn any_query(&mut self) -> ViewQuery {
        let mut query = ViewQuery {
            descending: self.chance.below(2) == 0,
            inclusive_end: self.chance.below(3) > 0,
            ..ViewQuery::default()
        };
        if self.chance.below(2) == 0 {
            query.skip = self.chance.below(4);
        }
        if self.chance.below(2) == 0 {
            query.limit = self.chance.below(8);
        }
        if self.chance.below(4) == 0 {
            query.keys = Some((0..self.chance.below(4)).map(|_| self.any_key()).collect());
            return query;
        }
        if self.chance.below(2) == 0 {
            query.start_key = Some(self.any_key());
            if self.chance.below(3) == 0 {
                query.start_id = Some(self.any_id().as_str().to_owned());
            }
        }
        if self.chance.below(2) == 0 {
            query.end_key = Some(self.any_key());
            if self.chance.below(3) == 0 {
                query.end_id = Some(self.any_id().as_str().to_owned());
            }
        }
        query
    }

    /// The rows that a query means, before `skip` and `limit`, and how many come before them.
    fn meant(&self, all: &[Plain], query: &ViewQuery) -> Vec<Plain> {
        let mut ordered = all.to_vec();
        if query.descending {
            ordered.reverse();
        }
        if let Some(keys) = &query.keys {
            let of = |key: &Value| {
                let same = |row: &&Plain| self.collation.compare(&row.key, key).is_eq();
                ordered.iter().filter(same).cloned().collect::<Vec<_>>()
            };
            return keys.iter().flat_map(of).collect();
        }
        let forward = |order: std::cmp::Ordering| {
            if query.descending {
                order.reverse()
            } else {
                order
            }
        };
        let against = |row: &Plain, key: &Value, id: Option<&String>| {
            let keys = self.collation.compare(&row.key, key);
            let ids = id.map_or(std::cmp::Ordering::Equal, |id| {
                row.id.as_bytes().cmp(id.as_bytes())
            });
            forward(keys.then(ids))
        };
        ordered.retain(|row| {
            let begun = query
                .start_key
                .as_ref()
                .is_none_or(|key| against(row, key, query.start_id.as_ref()).is_ge());
            let ended = query.end_key.as_ref().is_some_and(|key| {
                let order = against(row, key, query.end_id.as_ref());
                order.is_gt() || order.is_eq() && !query.inclusive_end
            });
            begun && !ended
        });
        ordered
    }

    fn partition(&mut self) -> Option<&'static str> {
        self.partitioned
            .then(|| self.chance.one_of(&["p", "q", "r"]))
    }

    async fn check_rows(&mut self) {
        let (mut query, partition) = (self.any_query(), self.partition());
        query.reduce = Some(false);
        self.read_as_anybody();
        let entry = &self.reading.0;
        let ask = Pod::ask_design(entry, &self.design, "sum", partition, query.clone());
        let Ok(ask) = ask else { return };
        self.pod.make_ready(&ask).await.unwrap();
        let all = self.plain(partition);
        let meant = self.meant(&all, &query);
        let skip = usize::try_from(query.skip).unwrap();
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let expected: Vec<Plain> = meant.iter().skip(skip).take(limit).cloned().collect();
        let moment = self.pod.view_moment(&ask).unwrap();
        let (mut rows, mut cursor) = (Vec::new(), ask.cursor());
        while cursor.more() {
            let mut count = 0;
            let read = moment.rows(&ask, &mut cursor, |_, row| {
                rows.push(Plain {
                    key: serde_json::from_str(row.key).unwrap(),
                    id: row.id.to_owned(),
                    value: row.value.parse().unwrap(),
                });
                count += 1;
                Ok(if count < 3 {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                })
            });
            read.unwrap();
        }
        assert_eq!(rows, expected, "{query:?}");
        let (total_rows, offset) = moment.head(&ask).unwrap().counts.unwrap();
        assert_eq!(total_rows, all.len() as u64);
        if let Some(first) = expected.first().filter(|_| query.keys.is_none()) {
            let mut ordered = all;
            if query.descending {
                ordered.reverse();
            }
            let before = ordered.iter().position(|row| row == first).unwrap();
            // Equal rows of one document cannot be told apart.
            assert!(offset >= before as u64, "{offset} {before} {query:?}");
        }
    }

    async fn check_groups(&mut self) {
        let (mut query, partition) = (self.any_query(), self.partition());
        let level = self.chance.below(4);
        match (level, query.keys.is_some()) {
            (3, _) | (_, true) => query.group = Some(true),
            (level, _) => query.group_level = Some(level),
        }
        let exact = query.group == Some(true);
        let level = usize::try_from(level).unwrap();
        let name = self.chance.one_of(&["sum", "count", "stats"]);
        self.read_as_anybody();
        let entry = &self.reading.0;
        let ask = Pod::ask_design(entry, &self.design, name, partition, query.clone());
        let Ok(ask) = ask else { return };
        let ask = Arc::new(ask);
        self.pod.make_ready(&ask).await.unwrap();
        let meant = self.meant(&self.plain(partition), &query);
        let level = (!exact).then_some(level);
        let cut = |key: &Value| cut(key, level);
        let mut groups: Vec<(Value, Vec<i64>)> = Vec::new();
        for row in &meant {
            let key = cut(&row.key);
            match groups.last_mut() {
                Some((last, values)) if self.collation.compare(last, &key).is_eq() => {
                    values.push(row.value);
                }
                _ => groups.push((key, vec![row.value])),
            }
        }
        // A key that is asked for twice is answered twice.
        if let Some(keys) = &query.keys {
            groups.clear();
            for key in keys {
                let same = |row: &&Plain| self.collation.compare(&row.key, key).is_eq();
                let all = self.plain(partition);
                let values: Vec<i64> = all.iter().filter(same).map(|row| row.value).collect();
                if !values.is_empty() {
                    groups.push((key.clone(), values));
                }
            }
        }
        let skip = usize::try_from(query.skip).unwrap();
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let expected: Vec<(Value, Value)> = groups
            .into_iter()
            .skip(skip)
            .take(limit)
            .map(|(key, values)| (key, reduced(name, &values)))
            .collect();
        let (mut told, mut cursor) = (Vec::new(), ask.cursor());
        while cursor.more() {
            let (rows, next) = self.pod.view_groups(&ask, cursor).await.unwrap();
            cursor = next;
            told.extend(rows.iter().map(|row| {
                let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
                (json(&row.key), json(row.value.as_ref().unwrap()))
            }));
        }
        assert_eq!(told, expected, "{name} {query:?}");
    }
}

/// The key of the group that a row with `key` is in; `None` for groups of whole keys.
fn cut(key: &Value, level: Option<usize>) -> Value {
    match (key, level) {
        (_, Some(0)) => Value::Null,
        (Value::Array(elements), Some(level)) => {
            Value::Array(elements.iter().take(level).cloned().collect())
        }
        _ => key.clone(),
    }
}

fn reduced(name: &str, values: &[i64]) -> Value {
    let sum: i64 = values.iter().sum();
    match name {
        "sum" => json!(sum),
        "count" => json!(values.len()),
        _ => {
            json!({"sum": sum, "count": values.len(), "min": values.iter().min(), "max": values.iter().max(),
            "sumsqr": values.iter().map(|v| v * v).sum::<i64>()})
        }
    }
}

async fn history(seed: u64, partitioned: bool, collation: Collation) {
    follow(Bench::new(seed, partitioned, collation).await).await;
}

async fn follow(mut bench: Bench) {
    for _ in 0..25 {
        for _ in 0..bench.chance.below(8) {
            bench.write().await;
        }
        if bench.chance.below(3) == 0 {
            bench.purge().await;
        }
        for _ in 0..4 {
            bench.check_rows().await;
            bench.check_groups().await;
        }
    }
}

#[tokio::test]
async fn a_view_is_what_mapping_everything_would_give() {
    for seed in 1..12 {
        history(
            0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed),
            false,
            Collation::Unicode,
        )
        .await;
    }
    history(77, false, Collation::Raw).await;
}

#[tokio::test]
async fn a_partition_is_a_view_of_its_own() {
    for seed in 1..5 {
        history(
            0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed),
            true,
            Collation::Unicode,
        )
        .await;
    }
}

#[tokio::test]
async fn a_view_in_a_scope_is_what_mapping_what_is_seen_would_give() {
    for seed in 1..12 {
        let seed = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
        follow(Bench::labelled(seed, false).await).await;
    }
    follow(Bench::labelled(99, true).await).await;
}

/// What is seen is a small part of the index, and found without walking the rest.
#[tokio::test]
async fn a_view_in_a_scope_that_shows_little_is_the_same() {
    for seed in 1..4 {
        let seed = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
        let mut bench = Bench::labelled(seed, false).await;
        bench.write_large(1_500).await;
        follow(bench).await;
    }
}

/// A row made of what a document was may have been for others than what it is.
#[tokio::test]
async fn a_stale_view_shows_no_row_of_a_document_that_changed() {
    let mut bench = Bench::labelled(3, false).await;
    for _ in 0..40 {
        bench.write().await;
    }
    let ask = |bench: &Bench, update| {
        let query = ViewQuery {
            update,
            reduce: Some(false),
            ..ViewQuery::default()
        };
        Pod::ask_design(&bench.reading.0, &bench.design, "sum", None, query).unwrap()
    };
    bench
        .pod
        .make_ready(&ask(&bench, Update::Before))
        .await
        .unwrap();
    let before = bench.pod.statistics(&bench.entry).unwrap().update_sequence;
    for _ in 0..10 {
        bench.write().await;
    }
    for _ in 0..20 {
        bench.read_as_anybody();
        let stale = ask(&bench, Update::Never);
        let moment = bench.pod.view_moment(&stale).unwrap();
        let mut ids = Vec::new();
        let rows = moment.rows(&stale, &mut stale.cursor(), |_, row| {
            ids.push(row.id.to_owned());
            Ok(ControlFlow::Continue(()))
        });
        rows.unwrap();
        if bench.reading.1.contains(&"_admin") {
            continue;
        }
        let mut expected = bench.plain(None);
        let view = bench.pod.view();
        let all = crate::databases::reader(view.as_ref(), &bench.entry, &Caller::anonymous());
        expected.retain(|row| all.record(&row.id).unwrap().unwrap().sequence <= before);
        let expected: Vec<String> = expected.into_iter().map(|row| row.id).collect();
        assert_eq!(ids, expected);
    }
}

/// An index that missed purges which nobody remembers is built anew, one ahead of its database too.
#[tokio::test]
async fn an_index_that_cannot_go_on_begins_anew() {
    let mut bench = Bench::new(5, false, Collation::Unicode).await;
    for _ in 0..30 {
        bench.write().await;
    }
    bench.check_rows().await;
    bench
        .pod
        .change_settings(&bench.entry, |settings| settings.purges_limit = 1)
        .await
        .unwrap();
    for _ in 0..10 {
        bench.purge().await;
    }
    bench.pod.compact(&bench.entry).await.unwrap();
    for _ in 0..10 {
        bench.check_rows().await;
    }
}

/// Many who ask at once wait for one run, and a stale question waits for none.
#[tokio::test]
async fn who_asks_meanwhile_waits_for_the_same_run() {
    let mut bench = Bench::new(9, false, Collation::Unicode).await;
    for _ in 0..60 {
        bench.write().await;
    }
    let ask = |update| {
        let query = ViewQuery {
            update,
            reduce: Some(false),
            ..ViewQuery::default()
        };
        Pod::ask_design(&bench.entry, &bench.design, "sum", None, query).unwrap()
    };
    let stale = ask(Update::Never);
    bench.pod.make_ready(&stale).await.unwrap();
    assert_eq!(
        bench
            .pod
            .view_moment(&stale)
            .unwrap()
            .head(&stale)
            .unwrap()
            .counts,
        Some((0, 0))
    );
    let before = bench.pod.counts().0;
    let askers: Vec<_> = (0..20)
        .map(|_| {
            let (pod, ask) = (bench.pod.clone(), ask(Update::Before));
            tokio::spawn(async move { pod.make_ready(&ask).await })
        })
        .collect();
    for asker in askers {
        asker.await.unwrap().unwrap();
    }
    // Making the index, one page of documents, the reduces: not twenty times.
    assert!(
        bench.pod.counts().0 - before <= 8,
        "{}",
        bench.pod.counts().0 - before
    );
    let expected = bench.plain(None).len() as u64;
    assert_eq!(
        bench
            .pod
            .view_moment(&stale)
            .unwrap()
            .head(&stale)
            .unwrap()
            .counts,
        Some((expected, 0))
    );
    assert!(bench.pod.index_tasks().is_empty());
}

/// What no design document names is dropped, and what is dropped under a run comes back.
#[tokio::test]
async fn clean_up_drops_what_nobody_names() {
    let mut bench = Bench::new(11, false, Collation::Unicode).await;
    for _ in 0..10 {
        bench.write().await;
    }
    bench.check_rows().await;
    let indexes = |bench: &Bench| {
        let view = bench.pod.view();
        adea_documents::index::all(view.as_ref(), bench.entry.number)
            .unwrap()
            .len()
    };
    bench
        .pod
        .index_through(&bench.entry, &bench.design.plans, 0)
        .await
        .unwrap();
    assert_eq!(indexes(&bench), 1);
    bench.pod.clean_up_views(&bench.entry).await.unwrap();
    assert_eq!(indexes(&bench), 0);
    for _ in 0..5 {
        bench.check_rows().await;
        bench.check_groups().await;
    }
}

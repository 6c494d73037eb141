//! Random histories of documents' rows against a plain list, in trees of few rows a node.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use adea_base::DatabaseName;
use adea_store::{
    Cursor, Decline, Direction, EngineError, KeyRange, Memory, Space, Store, StoreOptions,
    Transaction, View, WritePermit,
};
use proptest::prelude::*;
use serde_json::Value;

use super::portion::prepare_with;
use super::*;
use crate::collation::Collation;
use crate::database::{self, Settings};
use crate::error::DatabaseError;
use crate::keys::DatabaseNumber;

fn block_on<F: Future>(future: F) -> F::Output {
    struct Parked(std::thread::Thread);
    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
        std::thread::park();
    }
}

/// A store with one database and one index in it.
struct Bench {
    memory: Arc<Memory>,
    store: Store,
    database: DatabaseNumber,
    signature: Signature,
    /// So many portions belong to the building of the index.
    unsettled: u64,
}

const REDUCE: Signature = Signature([7; 16]);

impl Bench {
    fn new(collation: Collation, level_bits: u8, unsettled: u64) -> Self {
        let memory = Arc::new(Memory::new());
        let store = Store::open(Arc::clone(&memory) as _, StoreOptions::default()).unwrap();
        let mut bench = Self {
            memory,
            store,
            database: DatabaseNumber(0),
            signature: Signature::of(&[b"map"]),
            unsettled,
        };
        let signature = bench.signature;
        bench.database = bench.transact(move |tx| {
            let settings = Settings {
                created_unix_s: 1,
                revisions_limit: 1,
                purges_limit: 1,
                security: String::new(),
                partitioned: false,
                labels: 0,
                labelled: 0,
                access: String::new(),
            };
            let name = DatabaseName::parse("db").unwrap();
            let number = database::create(tx, &name, &settings)?;
            let mut state = create(tx, number, &signature, collation, 77)?;
            state.level_bits = level_bits;
            state.put(tx, number);
            add_reduce(tx, number, &signature, &REDUCE)?;
            Ok(number)
        });
        bench
    }

    /// Starts again from what was committed.
    fn crash(&mut self) {
        self.store.close();
        self.memory = Arc::new(Memory::with_contents(self.memory.contents()));
        let engine = Arc::clone(&self.memory) as _;
        self.store = Store::open(engine, StoreOptions::default()).unwrap();
    }

    fn transact<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&mut Transaction<'_>) -> Result<T, Decline<DatabaseError>> + Send + 'static,
    ) -> T {
        block_on(self.store.transact(WritePermit::of_term(1), decide)).unwrap()
    }

    fn state(&self) -> IndexState {
        let view = self.store.view();
        find(view.as_ref(), self.database, &self.signature)
            .unwrap()
            .unwrap()
    }

    fn prepare(&self, documents: &[MappedDocument]) -> Portion {
        let (state, view) = (self.state(), self.store.view());
        let sequences = (state.sequence + 1, 0);
        let settle = sequences.0 > self.unsettled;
        let (view, database) = (view.as_ref(), self.database);
        prepare_with(view, database, &state, documents, sequences, settle).unwrap()
    }

    fn apply(&self, portion: Portion) -> bool {
        let database = self.database;
        self.transact(move |tx| apply(tx, database, portion))
    }

    fn index(&self, documents: &[MappedDocument]) {
        let portion = self.prepare(documents);
        assert!(self.apply(portion));
    }

    /// Computes at most `limit` nodes, so that one may stop in between; answers how many.
    fn fill(&self, limit: usize) -> usize {
        let (state, database) = (self.state(), self.database);
        let view = self.store.view();
        let work = stale_nodes(view.as_ref(), database, &state, &REDUCE, limit).unwrap();
        drop(view);
        let values: Vec<NodeValue> = work
            .into_iter()
            .map(|work| {
                let value = reduced(&work.material);
                work.done(value)
            })
            .collect();
        let count = values.len();
        assert!(self.transact(move |tx| store_nodes(tx, database, &state, &REDUCE, values)));
        count
    }

    fn read<T>(&self, read: impl FnOnce(&IndexReader<'_>) -> T) -> T {
        let (state, view) = (self.state(), self.store.view());
        read(&IndexReader::new(
            view.as_ref(),
            self.database,
            crate::reader::whole(),
            &state,
        ))
    }

    fn assert_sound(&self) {
        let (state, view) = (self.state(), self.store.view());
        let view = view.as_ref();
        assert_eq!(
            verify(view, self.database, &state).unwrap(),
            Vec::<String>::new()
        );
        let wrong = verify_reduce(view, self.database, &state, &REDUCE, |material| {
            reduced(&material)
        });
        assert_eq!(wrong.unwrap(), Vec::<String>::new());
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.store.close();
    }
}

/// A reduce in which everything and its order can be seen: the rows one after the other.
fn reduced(material: &Material) -> String {
    match material {
        Material::Rows(rows) => rows.iter().map(shown).collect(),
        Material::Values(values) => values.concat(),
    }
}

fn shown(row: &OwnedRow) -> String {
    format!("({} {} {})", row.key, row.id, row.value)
}

fn put_together(pieces: &[Piece]) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Rows(rows) => rows.iter().map(shown).collect(),
        Piece::Value(value) => value.clone(),
    };
    pieces.iter().map(text).collect()
}

/// What an index is to hold: the rows of each document, as they were emitted.
type Model = BTreeMap<String, Vec<Row>>;

/// The rows of a model in the order of the index.
fn sorted(model: &Model, collation: Collation) -> Vec<(Value, OwnedRow)> {
    let mut rows: Vec<(Value, OwnedRow)> = Vec::new();
    for (id, emitted) in model {
        rows.extend(emitted.iter().map(|row| {
            let owned = OwnedRow {
                key: row.key.clone(),
                id: id.clone(),
                value: row.value.clone(),
            };
            (serde_json::from_str(&row.key).unwrap(), owned)
        }));
    }
    rows.sort_by(|a, b| {
        let keys = collation.compare(&a.0, &b.0);
        keys.then_with(|| a.1.id.as_bytes().cmp(b.1.id.as_bytes()))
    });
    rows
}

const KEYS: [&str; 22] = [
    "null",
    "false",
    "1",
    "1.0",
    "2",
    "-3",
    "1e30",
    r#""a""#,
    r#""A""#,
    r#""ä""#,
    r#""a\u0308""#,
    r#""\u0000b""#,
    "[]",
    "[1]",
    "[1.0]",
    "[1,2]",
    "[1,2,3]",
    r#"[1,"x"]"#,
    r#"[1,"x",null]"#,
    r#"["a"]"#,
    r#"{"a":1}"#,
    r#"[[1,2],3]"#,
];

fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(KEYS.to_vec()).prop_map(str::to_owned),
        1 => (0u8..40).prop_map(|n| n.to_string()),
    ]
}

fn any_id() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (0u8..30).prop_map(|n| format!("d{n}")),
        1 => "[a\\x00\u{e9}]{1,3}",
    ]
}

fn any_document() -> impl Strategy<Value = MappedDocument> {
    let value = prop::sample::select(vec!["null", "1", "true", r#""v""#]);
    let row = (any_key(), value).prop_map(|(key, value)| Row {
        key,
        value: value.to_owned(),
    });
    (any_id(), prop::collection::vec(row, 0..4)).prop_map(|(id, rows)| MappedDocument { id, rows })
}

#[derive(Clone, Debug)]
enum Step {
    Index(Vec<MappedDocument>),
    Fill(usize),
    /// Two portions are prepared at once: the second has to be refused.
    Race(Vec<MappedDocument>, Vec<MappedDocument>),
    /// A portion and values of nodes are ready, and lost.
    Crash(Vec<MappedDocument>),
}

fn any_step() -> impl Strategy<Value = Step> {
    let documents = || prop::collection::vec(any_document(), 0..12);
    prop_oneof![
        4 => documents().prop_map(Step::Index),
        2 => (1usize..30).prop_map(Step::Fill),
        1 => (documents(), documents()).prop_map(|(a, b)| Step::Race(a, b)),
        1 => documents().prop_map(Step::Crash),
    ]
}

fn remember(model: &mut Model, documents: &[MappedDocument]) {
    for document in documents {
        model.insert(document.id.clone(), document.rows.clone());
    }
}

fn run(bench: &mut Bench, model: &mut Model, step: &Step) {
    match step {
        Step::Index(documents) => {
            bench.index(documents);
            remember(model, documents);
        }
        Step::Fill(limit) => drop(bench.fill(*limit)),
        Step::Race(first, second) => {
            let (a, b) = (bench.prepare(first), bench.prepare(second));
            assert!(bench.apply(a));
            assert!(!bench.apply(b));
            remember(model, first);
        }
        Step::Crash(documents) => {
            drop(bench.prepare(documents));
            bench.crash();
        }
    }
}

#[derive(Clone, Debug)]
struct Query {
    low: Option<(String, Option<String>, bool)>,
    high: Option<(String, Option<String>, bool)>,
    reverse: bool,
    skip: u64,
    level: usize,
}

fn any_query() -> impl Strategy<Value = Query> {
    let bound = || {
        let id = prop::option::weighted(0.3, any_id());
        prop::option::weighted(0.7, (any_key(), id, any::<bool>()))
    };
    (bound(), bound(), any::<bool>(), 0u64..60, 0usize..4).prop_map(
        |(low, high, reverse, skip, level)| Query {
            low,
            high,
            reverse,
            skip,
            level,
        },
    )
}

/// The rows of `rows` that a query asks for, upwards, and how many stand before them.
fn asked(
    rows: &[(Value, OwnedRow)],
    query: &Query,
    collation: Collation,
) -> (usize, Vec<OwnedRow>) {
    let side = |row: &(Value, OwnedRow), bound: &(String, Option<String>, bool)| {
        let key: Value = serde_json::from_str(&bound.0).unwrap();
        let order = collation.compare(&row.0, &key);
        match &bound.1 {
            Some(id) => order.then_with(|| row.1.id.as_bytes().cmp(id.as_bytes())),
            None => order,
        }
    };
    let above = |row: &&(Value, OwnedRow)| {
        query.low.as_ref().is_none_or(|bound| {
            let side = side(row, bound);
            side.is_gt() || side.is_eq() && bound.2
        })
    };
    let below = |row: &&(Value, OwnedRow)| {
        query.high.as_ref().is_none_or(|bound| {
            let side = side(row, bound);
            side.is_lt() || side.is_eq() && bound.2
        })
    };
    let before = rows.iter().filter(|row| !above(row)).count();
    let found = rows.iter().filter(above).filter(below);
    (before, found.map(|row| row.1.clone()).collect())
}

fn range_of(query: &Query, collation: Collation) -> RowRange {
    let parse = |bound: &(String, Option<String>, bool)| -> Value {
        serde_json::from_str(&bound.0).unwrap()
    };
    let (low, high) = (
        query.low.as_ref().map(parse),
        query.high.as_ref().map(parse),
    );
    fn bound<'a>(
        key: Option<&'a Value>,
        bound: Option<&'a (String, Option<String>, bool)>,
    ) -> Option<KeyBound<'a>> {
        Some(KeyBound {
            key: key?,
            id: bound?.1.as_deref(),
            inclusive: bound?.2,
        })
    }
    RowRange::between(
        collation,
        bound(low.as_ref(), query.low.as_ref()),
        bound(high.as_ref(), query.high.as_ref()),
    )
}

fn walked(reader: &IndexReader<'_>, range: &RowRange, direction: Direction) -> Vec<OwnedRow> {
    let mut rows = Vec::new();
    let walk = reader.walk_rows(range, direction, |row| {
        rows.push(row.to_owned_row());
        ControlFlow::Continue(())
    });
    walk.unwrap();
    rows
}

fn covered(reader: &IndexReader<'_>, range: &RowRange, reduce: &Signature) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let cover = reader.cover(range, reduce, |piece| {
        pieces.push(piece);
        ControlFlow::Continue(())
    });
    cover.unwrap();
    pieces
}

fn counted(pieces: &[Piece]) -> u64 {
    let count = |piece: &Piece| match piece {
        Piece::Rows(rows) => rows.len() as u64,
        Piece::Value(value) => value.parse().unwrap(),
    };
    pieces.iter().map(count).sum()
}

/// The groups of rows in the order of a walk: the key of the first, and the rows upwards.
fn grouped(rows: &[OwnedRow], level: usize, collation: Collation) -> Vec<(String, String)> {
    let front = |row: &OwnedRow| match serde_json::from_str(&row.key).unwrap() {
        Value::Array(mut elements) => {
            if level > 0 {
                elements.truncate(level);
            }
            Value::Array(elements)
        }
        scalar @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Object(_)) => scalar,
    };
    let groups = rows.chunk_by(|a, b| collation.compare(&front(a), &front(b)).is_eq());
    groups
        .map(|group| (group[0].key.clone(), group.iter().map(shown).collect()))
        .collect()
}

fn walk_groups(
    reader: &IndexReader<'_>,
    range: &RowRange,
    direction: Direction,
    level: usize,
) -> Vec<(String, String)> {
    let level = match level {
        0 => GroupLevel::Exact,
        count => GroupLevel::Elements(count),
    };
    let mut groups: Vec<(String, String)> = Vec::new();
    let mut rest = range.clone();
    loop {
        let (mut seen, mut resume) = (0, None);
        let walk = reader.walk_groups(&rest, direction, level, &REDUCE, |step| {
            match step {
                GroupStep::Begin(key) => groups.push((key.to_owned(), String::new())),
                GroupStep::Piece(piece) => {
                    groups.last_mut().unwrap().1 += &put_together(&[piece]);
                }
                GroupStep::End(position) => {
                    seen += 1;
                    resume = Some(position.clone());
                }
            }
            // Two groups at once, to see that a walk can go on where one ended.
            if seen == 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        walk.unwrap();
        match (resume.filter(|_| seen == 2), direction) {
            (None, _) => return groups,
            (Some(position), Direction::Forward) => rest.from = position,
            (Some(position), Direction::Reverse) => rest.to = Some(position),
        }
    }
}

fn check_query(bench: &Bench, rows: &[(Value, OwnedRow)], query: &Query, collation: Collation) {
    let range = range_of(query, collation);
    let (before, mut expected) = asked(rows, query, collation);
    let upwards: String = expected.iter().map(shown).collect();
    let direction = if query.reverse {
        Direction::Reverse
    } else {
        Direction::Forward
    };
    bench.read(|reader| {
        let count = expected.len() as u64;
        assert_eq!(reader.count_rows(&range).unwrap(), count);
        assert_eq!(counted(&covered(reader, &range, &Signature::COUNT)), count);
        assert_eq!(put_together(&covered(reader, &range, &REDUCE)), upwards);
        if !range.is_empty() {
            assert_eq!(
                reader.offset(&range, Direction::Forward).unwrap(),
                before as u64
            );
        }
        let mut groups = grouped(&expected, query.level, collation);
        if query.reverse {
            expected.reverse();
            // The key of a group is that of its first row in the walk.
            let keys = grouped(&expected, query.level, collation);
            groups.reverse();
            for (group, (key, _)) in groups.iter_mut().zip(keys) {
                group.0 = key;
            }
        }
        assert_eq!(walked(reader, &range, direction), expected);
        assert_eq!(walk_groups(reader, &range, direction, query.level), groups);
        let rest = reader.skip_rows(&range, direction, query.skip).unwrap();
        let left = expected.get(usize::try_from(query.skip).unwrap()..);
        assert_eq!(walked(reader, &rest, direction), left.unwrap_or_default());
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_index_is_what_a_sorted_list_would_be(
        steps in prop::collection::vec(any_step(), 1..14),
        queries in prop::collection::vec(any_query(), 6),
        raw in any::<bool>(),
        level_bits in 1u8..3,
        unsettled in 0u64..5,
    ) {
        let collation = if raw { Collation::Raw } else { Collation::Unicode };
        let mut bench = Bench::new(collation, level_bits, unsettled);
        let mut model = Model::new();
        for step in &steps {
            run(&mut bench, &mut model, step);
            bench.assert_sound();
        }
        let rows = sorted(&model, collation);
        prop_assert_eq!(bench.state().rows, rows.len() as u64);
        for filled in [false, true] {
            if filled {
                while bench.fill(5) > 0 {}
                bench.assert_sound();
                let everything = bench.read(|reader| covered(reader, &RowRange::all(), &REDUCE));
                let one = everything.len() <= 1 && everything.iter().all(|p| matches!(p, Piece::Value(_)));
                prop_assert!(one || bench.state().height == 0);
            }
            for query in &queries {
                check_query(&bench, &rows, query, collation);
            }
        }
    }
}

/// Counts what is read of a view: every key that a cursor comes to and every value asked for.
struct Counted<'v> {
    view: Box<dyn View + 'v>,
    reads: Cell<u64>,
}

struct CountedCursor<'c> {
    cursor: Box<dyn Cursor + 'c>,
    reads: &'c Cell<u64>,
}

impl Cursor for CountedCursor<'_> {
    fn next(&mut self) -> Result<Option<adea_store::Row<'_>>, EngineError> {
        self.reads.set(self.reads.get() + 1);
        self.cursor.next()
    }

    fn seek(&mut self, key: &[u8]) -> Result<(), EngineError> {
        self.cursor.seek(key)
    }
}

impl View for Counted<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.reads.set(self.reads.get() + 1);
        self.view.get(space, key)
    }

    fn multi_get(
        &self,
        space: Space,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, EngineError> {
        self.reads.set(self.reads.get() + keys.len() as u64);
        self.view.multi_get(space, keys)
    }

    fn range(
        &self,
        space: Space,
        range: KeyRange,
        direction: Direction,
    ) -> Result<Box<dyn Cursor + '_>, EngineError> {
        Ok(Box::new(CountedCursor {
            cursor: self.view.range(space, range, direction)?,
            reads: &self.reads,
        }))
    }
}

#[test]
fn a_hundred_thousand_rows_are_reduced_by_reading_few() {
    const ROWS: u64 = 100_000;
    let bench = Bench::new(Collation::Unicode, tree::LEVEL_BITS, 0);
    let document = |n: u64, value: u64| MappedDocument {
        id: format!("d{n}"),
        rows: vec![Row {
            key: format!("[{},{n}]", n % 10),
            value: value.to_string(),
        }],
    };
    let documents: Vec<MappedDocument> = (0..ROWS).map(|n| document(n, 1)).collect();
    bench.index(&documents);
    let mut nodes = 0;
    loop {
        match bench.fill(4_000) {
            0 => break,
            more => nodes += more,
        }
    }
    assert!((2_500..4_000).contains(&nodes), "{nodes} nodes");

    let counted = Counted {
        view: bench.store.view(),
        reads: Cell::new(0),
    };
    let state = bench.state();
    let reader = IndexReader::new(&counted, bench.database, crate::reader::whole(), &state);
    let key = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let (low, high) = (key("[2,500]"), key("[7,77777]"));
    let bound = |key| {
        let (id, inclusive) = (None, true);
        Some(KeyBound { key, id, inclusive })
    };
    let range = RowRange::between(Collation::Unicode, bound(&low), bound(&high));
    let rows = (2..=7)
        .flat_map(|first| (first..ROWS).step_by(10).map(move |n| (first, n)))
        .filter(|row| (2, 500) <= *row && *row <= (7, 77_777))
        .count() as u64;
    let reads = || counted.reads.replace(0);
    reads();
    assert_eq!(reader.count_rows(&range).unwrap(), rows);
    let counting = reads();
    let pieces = covered(&reader, &range, &REDUCE);
    let covering = reads();
    let rest = reader
        .skip_rows(&range, Direction::Reverse, rows - 1)
        .unwrap();
    let skipping = reads();
    assert_eq!(walked(&reader, &rest, Direction::Forward).len(), 1);
    // Up to three levels with some dozens of nodes at either end, and as many rows.
    assert!(counting < 600, "{counting} reads to count");
    assert!(covering < 900, "{covering} reads to cover");
    assert!(skipping < 600, "{skipping} reads to skip");
    assert!(pieces.len() < 400, "{} pieces", pieces.len());

    // One changed row costs the nodes above it, and no more.
    bench.index(&[document(55_555, 2)]);
    let (state, view) = (bench.state(), bench.store.view());
    let work = stale_nodes(view.as_ref(), bench.database, &state, &REDUCE, 4_000).unwrap();
    assert_eq!(work.len(), 1);
    assert!(
        matches!(&work[0].material, Material::Rows(rows) if rows.iter().any(|row| row.id == "d55555"))
    );
}

#[test]
fn what_is_removed_is_gone() {
    let bench = Bench::new(Collation::Unicode, 1, 0);
    let documents: Vec<MappedDocument> = (0..50)
        .map(|n| MappedDocument {
            id: n.to_string(),
            rows: vec![Row {
                key: n.to_string(),
                value: "null".to_owned(),
            }],
        })
        .collect();
    bench.index(&documents);
    while bench.fill(10) > 0 {}
    let (database, signature) = (bench.database, bench.signature);
    let entries = |bench: &Bench| {
        let view = bench.store.view();
        let mut cursor = view
            .range(
                Space::Index,
                crate::keys::everything(database),
                Direction::Forward,
            )
            .unwrap();
        let mut count = 0;
        while cursor.next().unwrap().is_some() {
            count += 1;
        }
        count
    };
    let full = entries(&bench);
    let state = bench
        .transact(move |tx| remove_reduce(tx, database, &signature, &REDUCE))
        .unwrap();
    assert!(!state.has_reduce(&REDUCE) && entries(&bench) < full);
    bench.assert_sound();

    // A portion that was ready when its index was removed is not written, nor is one whose
    // database was dropped.
    let late = bench.prepare(&documents[..5]);
    bench.transact(move |tx| remove(tx, database, &signature));
    assert_eq!(entries(&bench), 1);
    assert!(!bench.apply(late));
    bench.transact(move |tx| create(tx, database, &signature, Collation::Raw, 1).map(drop));
    bench.index(&documents);
    let late = bench.prepare(&documents[..5]);
    bench.transact(|tx| database::drop_database(tx, &DatabaseName::parse("db").unwrap()).map(drop));
    let refused = block_on(
        bench
            .store
            .transact(WritePermit::of_term(1), move |tx| apply(tx, database, late)),
    );
    assert!(refused.is_err());
    let done = bench.transact(move |tx| Ok(database::sweep(tx, database, 100)?));
    assert_eq!(done, (Vec::new(), true));
    assert_eq!(entries(&bench), 0);
}

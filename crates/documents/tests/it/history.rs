//! Random histories, applied to the model and to the real code, which are compared after each step.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use adea_base::{DatabaseName, DocumentId, Scope};
use adea_documents::DatabaseNumber;
use adea_documents::json::parse_document;
use adea_documents::local::LocalDocument;
use adea_documents::reader::{IdRange, Reader};
use adea_documents::record::{Attachment, Body, Encoding};
use adea_documents::rev_tree::Node;
use adea_documents::revision::{Revision, RevisionId};
use adea_documents::verify;
use adea_documents::writer::{Draft, DraftAttachment};
use adea_store::{Commit, Direction, WritePermit};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::command::{Bench, Command, Outcome, Write, block_on};
use crate::model::{Database, Document};

#[expect(clippy::disallowed_methods, reason = "the tests read all there is")]
fn whole() -> Scope {
    Scope::aggregate()
}

/// Ids whose order as bytes is none of the orders that one might take for it.
const IDS: [&str; 5] = ["B", "a", "a/b", "é", "_design/x"];
const NAMES: [&str; 2] = ["one", "two"];

/// An attachment in a draft.
#[derive(Clone, Debug)]
enum Attached {
    Stored(u8),
    Stub,
    StubOf(u8),
}

/// What an edit names as its base.
#[derive(Clone, Debug)]
enum Base {
    Nothing,
    Winner,
    Known(Index),
    Unknown,
}

/// What is replicated.
#[derive(Clone, Debug)]
enum Origin {
    /// A history of its own, spelled out in the ids.
    Spelled(String),
    /// A child of a known revision.
    Continues(Index, char),
    /// A known revision once more.
    Known(Index),
    /// A revision of the same document in the other database.
    Elsewhere(Index),
}

#[derive(Clone, Debug)]
struct Step {
    database: usize,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Writes(Vec<(usize, Drafted)>, bool),
    Limit(u64),
    Recreate,
    Local(u8, Option<u64>),
}

#[derive(Clone, Debug)]
enum Drafted {
    Edit(Base, Content),
    Replicate(Origin, usize, Content),
    Purge(Vec<Index>),
    Compact,
}

#[derive(Clone, Debug)]
struct Content {
    deleted: bool,
    value: u8,
    attached: Vec<(u8, Attached)>,
}

fn any_content() -> impl Strategy<Value = Content> {
    let attached = prop_oneof![
        3 => (0_u8..4).prop_map(Attached::Stored),
        2 => Just(Attached::Stub),
        1 => (0_u8..4).prop_map(Attached::StubOf),
    ];
    let attached = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec((0_u8..2, attached), 0..3),
    ];
    (prop::bool::weighted(0.2), 0_u8..4, attached).prop_map(|(deleted, value, attached)| Content {
        deleted,
        value,
        attached,
    })
}

fn any_drafted() -> impl Strategy<Value = Drafted> {
    let base = prop_oneof![
        1 => Just(Base::Nothing),
        5 => Just(Base::Winner),
        3 => any::<Index>().prop_map(Base::Known),
        1 => Just(Base::Unknown),
    ];
    let origin = prop_oneof![
        2 => "[ab]{1,5}".prop_map(Origin::Spelled),
        3 => (any::<Index>(), prop::sample::select(vec!['x', 'y'])).prop_map(|(of, letter)| Origin::Continues(of, letter)),
        2 => any::<Index>().prop_map(Origin::Known),
        2 => any::<Index>().prop_map(Origin::Elsewhere),
    ];
    prop_oneof![
        6 => (base, any_content()).prop_map(|(base, content)| Drafted::Edit(base, content)),
        5 => (origin, 0_usize..7, any_content())
            .prop_map(|(origin, ancestors, content)| Drafted::Replicate(origin, ancestors, content)),
        1 => prop::collection::vec(any::<Index>(), 1..4).prop_map(Drafted::Purge),
        1 => Just(Drafted::Compact),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let writes = prop::collection::vec((0..IDS.len(), any_drafted()), 1..5);
    let what = prop_oneof![
        20 => (writes, prop::bool::weighted(0.1)).prop_map(|(writes, refuse)| What::Writes(writes, refuse)),
        2 => (1_u64..6).prop_map(What::Limit),
        1 => Just(What::Recreate),
        2 => (0_u8..3, any::<Option<u64>>()).prop_map(|(name, number)| What::Local(name, number)),
    ];
    (0..NAMES.len(), what).prop_map(|(database, what)| Step { database, what })
}

/// The real code, the model, and what was asked of both.
struct Trial {
    bench: Bench,
    databases: Vec<Database>,
    references: BTreeMap<[u8; 32], i64>,
    commands: Vec<Command>,
    commits: Vec<Commit>,
}

fn stored(name: &str, seed: u8) -> Attachment {
    Attachment {
        name: name.to_owned(),
        content_type: "text/plain".to_owned(),
        revision_position: 0,
        md5: [seed; 16],
        address: [seed; 32],
        length: u64::from(seed) * 100,
        stored_length: u64::from(seed) * 50,
        encoding: Encoding::Gzip,
    }
}

fn draft(id: &str, content: &Content) -> Draft {
    let parsed = parse_document(format!("{{\"value\":{}}}", content.value).as_bytes()).unwrap();
    let mut attachments: Vec<DraftAttachment> = Vec::new();
    let mut named = Vec::new();
    for (name, attached) in &content.attached {
        if named.contains(name) {
            continue;
        }
        named.push(*name);
        let name = format!("file{name}");
        attachments.push(match attached {
            Attached::Stored(seed) => DraftAttachment::Stored(stored(&name, *seed)),
            Attached::Stub => DraftAttachment::Stub { name, md5: None },
            Attached::StubOf(seed) => DraftAttachment::Stub {
                name,
                md5: Some([*seed; 16]),
            },
        });
    }
    Draft {
        id: DocumentId::parse(id).unwrap(),
        deleted: content.deleted,
        attachments,
        json: parsed.body,
        term: parsed.term,
        label: None,
        author: None,
        creator: None,
    }
}

fn text_id(text: &str) -> RevisionId {
    RevisionId::parse(text).unwrap()
}

fn pick(document: &Document, index: Index) -> Option<Revision> {
    let known: Vec<&Revision> = document.parents.keys().collect();
    (!known.is_empty()).then(|| (*index.get(&known)).clone())
}

impl Trial {
    fn new() -> Self {
        let mut trial = Self {
            bench: Bench::new(),
            databases: Vec::new(),
            references: BTreeMap::new(),
            commands: Vec::new(),
            commits: Vec::new(),
        };
        for name in NAMES {
            let number = trial.create(name);
            trial.databases.push(Database::new(number, 4));
        }
        trial
    }

    fn create(&mut self, name: &str) -> DatabaseNumber {
        let name = DatabaseName::parse(name).unwrap();
        self.run(Command::Create(name, 4)).unwrap().number
    }

    fn run(&mut self, command: Command) -> Option<crate::command::Done> {
        let done = self.bench.run(&command);
        self.commands.push(command);
        if let Some(done) = &done {
            for address in &done.references.added {
                *self.references.entry(*address).or_default() += 1;
            }
            for address in &done.references.dropped {
                *self.references.entry(*address).or_default() -= 1;
            }
            self.references.retain(|_, count| *count != 0);
            self.commits.push(done.commit.clone());
        }
        done
    }

    /// Drops a database and all that it held.
    fn remove(&mut self, at: usize) {
        let number = self.databases[at].number;
        self.run(Command::Drop(DatabaseName::parse(NAMES[at]).unwrap()));
        while !self.run(Command::Sweep(number, 2)).unwrap().finished {}
    }

    fn step(&mut self, step: &Step) {
        let at = step.database;
        let number = self.databases[at].number;
        match &step.what {
            What::Limit(limit) => {
                self.run(Command::Limit(number, *limit));
                self.databases[at].limit = usize::try_from(*limit).unwrap();
            }
            What::Recreate => {
                self.remove(at);
                let number = self.create(NAMES[at]);
                self.databases[at] = Database::new(number, 4);
            }
            What::Local(name, number_in_revision) => {
                let name = format!("local{name}");
                let document = number_in_revision.map(|number| LocalDocument {
                    number,
                    json: b"{}".to_vec(),
                });
                let locals = &mut self.databases[at].locals;
                match &document {
                    Some(document) => {
                        locals.insert(name.clone(), (document.number, document.json.clone()));
                    }
                    None => drop(locals.remove(&name)),
                }
                self.run(Command::Local(number, name, document));
            }
            What::Writes(drafted, refuse) => self.write(at, drafted, *refuse),
        }
    }

    fn write(&mut self, at: usize, drafted: &[(usize, Drafted)], refuse: bool) {
        let mut model = self.databases[at].clone();
        let mut writes = Vec::new();
        let mut expected: Vec<(Outcome, bool)> = Vec::new();
        for (id, drafted) in drafted {
            let Some(write) = self.concrete(&model, at, IDS[*id], drafted) else {
                continue;
            };
            expected.push(model.write(&write));
            writes.push(write);
        }
        let before = self.bench.memory.contents();
        let mut last = self.reader(at, |reader| statistics(reader).update_sequence);
        let mut sequences: BTreeMap<DocumentId, u64> = BTreeMap::new();
        for write in &writes {
            let id = write.id().clone();
            let known = self.reader(at, |reader| reader.record(id.as_str()).unwrap());
            sequences.insert(id, known.map_or(0, |record| record.sequence));
        }
        let Some(done) = self.run(Command::Write(model.number, writes.clone(), refuse)) else {
            assert!(refuse);
            assert_eq!(
                self.bench.memory.contents(),
                before,
                "a refusal left something"
            );
            return;
        };
        for ((write, (outcome, sequence)), (wanted, shown)) in
            writes.iter().zip(&done.outcomes).zip(&expected)
        {
            assert_eq!(outcome, wanted, "{write:?}");
            let known = sequences.get_mut(write.id()).unwrap();
            let there = *sequence != 0;
            match (shown, there) {
                (true, true) => assert!(*sequence > last, "{write:?}"),
                (true, false) => {}
                (false, _) => assert_eq!(sequence, known, "{write:?}"),
            }
            last = last.max(*sequence);
            *known = *sequence;
        }
        self.databases[at] = model;
    }

    fn concrete(&self, model: &Database, at: usize, id: &str, drafted: &Drafted) -> Option<Write> {
        let document = model.documents.get(id).cloned().unwrap_or_default();
        Some(match drafted {
            Drafted::Edit(base, content) => {
                let base = match base {
                    Base::Nothing => None,
                    Base::Winner => document.leaves().first().cloned(),
                    Base::Known(index) => pick(&document, *index),
                    Base::Unknown => Some(Revision::parse("2-unknown").unwrap()),
                };
                Write::Edit(draft(id, content), base)
            }
            Drafted::Replicate(origin, ancestors, content) => {
                let elsewhere = &self.databases[1 - at];
                let path = replicated(&document, elsewhere.documents.get(id), origin)?;
                let path: Vec<Revision> = path.into_iter().take(ancestors + 1).collect();
                let ids = path.iter().map(|revision| revision.id.clone()).collect();
                Write::Replicate(draft(id, content), path[0].generation, ids)
            }
            Drafted::Purge(indices) => {
                let revisions = indices.iter().filter_map(|index| pick(&document, *index));
                Write::Purge(DocumentId::parse(id).unwrap(), revisions.collect())
            }
            Drafted::Compact => Write::Compact(DocumentId::parse(id).unwrap()),
        })
    }

    fn reader<T>(&self, at: usize, ask: impl FnOnce(&Reader<'_>) -> T) -> T {
        let view = self.bench.store.view();
        ask(&Reader {
            view: view.as_ref(),
            database: self.databases[at].number,
            scope: whole(),
        })
    }

    /// Compares all that can be read.
    fn compare(&self) {
        let mut references = BTreeMap::new();
        for (at, model) in self.databases.iter().enumerate() {
            model.references(&mut references);
            self.reader(at, |reader| compare_database(reader, model));
        }
        assert_eq!(self.references, references);
    }
}

/// The path of what is replicated, newest first. An id tells its ancestors, as a hash would.
fn replicated(
    here: &Document,
    elsewhere: Option<&Document>,
    origin: &Origin,
) -> Option<Vec<Revision>> {
    Some(match origin {
        Origin::Spelled(name) => (1..=name.len())
            .rev()
            .map(|length| Revision {
                generation: length as u64,
                id: text_id(&name[..length]),
            })
            .collect(),
        Origin::Continues(index, letter) => {
            let parent = pick(here, *index)?;
            let child = Revision {
                generation: parent.generation + 1,
                id: text_id(&format!("{}{letter}", parent.id)),
            };
            std::iter::once(child).chain(here.path(&parent)).collect()
        }
        Origin::Known(index) => here.path(&pick(here, *index)?),
        Origin::Elsewhere(index) => elsewhere?.path(&pick(elsewhere?, *index)?),
    })
}

fn statistics(reader: &Reader<'_>) -> adea_documents::database::Statistics {
    adea_documents::database::statistics(reader.view, reader.database).unwrap()
}

fn compare_database(reader: &Reader<'_>, model: &Database) {
    let findings = verify::check(reader).unwrap();
    assert_eq!(findings.faults, Vec::<String>::new());
    let mut references = BTreeMap::new();
    model.references(&mut references);
    let found: BTreeMap<[u8; 32], i64> = findings
        .references
        .iter()
        .map(|(address, count)| (*address, i64::try_from(*count).unwrap()))
        .collect();
    assert_eq!(found, references);
    for (id, document) in &model.documents {
        compare_document(reader, id, document);
    }
    compare_listing(reader, model);
    compare_feed(reader, model);
    let purges: Vec<(String, Vec<String>)> = reader
        .purges()
        .unwrap()
        .into_iter()
        .map(|purge| (purge.id, purge.revisions))
        .collect();
    assert_eq!(purges, model.purges);
    let locals: BTreeMap<String, (u64, Vec<u8>)> = reader
        .locals(None, None, Direction::Forward, 100)
        .unwrap()
        .into_iter()
        .map(|(name, local)| (name, (local.number, local.json)))
        .collect();
    assert_eq!(locals, model.locals);
}

fn compare_document(reader: &Reader<'_>, id: &str, model: &Document) {
    let record = reader.record(id).unwrap().unwrap();
    let leaves: Vec<Revision> = record.tree.leaves().map(Node::revision).collect();
    assert_eq!(leaves, model.leaves(), "{id}");
    assert_eq!(record.tree.len(), model.parents.len());
    for revision in model.parents.keys() {
        let path: Vec<Revision> = record
            .tree
            .ancestors(revision)
            .map(Node::revision)
            .collect();
        assert_eq!(path, model.path(revision));
        let node = record.tree.find(revision).unwrap();
        assert_eq!(node.is_deleted(), model.is_deleted(revision));
        let body = node.body().map(|body| reader.body(body).unwrap().unwrap());
        let body = body.map(|body| Body::decode(&body).unwrap());
        let content = model.contents.get(revision);
        let wanted = content.map(|content| Body {
            attachments: content.attachments.clone(),
            json: content.json.clone(),
        });
        assert_eq!(body, wanted, "{id} {revision}");
    }
    let mut asked: Vec<Revision> = model.parents.keys().cloned().collect();
    let unknown = Revision::parse("3-nobody").unwrap();
    asked.push(unknown.clone());
    let lacking = reader.lacking(id, &asked).unwrap();
    assert_eq!(lacking.missing, [unknown]);
    let older = model
        .leaves()
        .into_iter()
        .filter(|leaf| leaf.generation < 3);
    assert_eq!(lacking.possible_ancestors, older.collect::<Vec<_>>());
}

fn compare_listing(reader: &Reader<'_>, model: &Database) {
    for direction in [Direction::Forward, Direction::Reverse] {
        let mut listed = Vec::new();
        reader
            .walk_documents(&IdRange::default(), direction, |id, head| {
                let conflicts = head.winner.live_conflicts;
                listed.push((
                    id.to_owned(),
                    head.winner.revision,
                    head.winner.deleted,
                    conflicts,
                ));
                ControlFlow::Continue(())
            })
            .unwrap();
        if direction == Direction::Reverse {
            listed.reverse();
        }
        let wanted = model.documents.iter().map(|(id, document)| {
            let leaves = document.leaves();
            let deleted = document.is_deleted(&leaves[0]);
            let live = leaves
                .iter()
                .filter(|leaf| !document.is_deleted(leaf))
                .count();
            (id.clone(), leaves[0].clone(), deleted, live > 1)
        });
        assert_eq!(listed, wanted.collect::<Vec<_>>());
    }
    for (first, last, inclusive) in [("a", "é", false), ("a/b", "é", true), ("_", "a", true)] {
        let range = IdRange {
            first: Some(first.to_owned()),
            last: Some((last.to_owned(), inclusive)),
        };
        let wanted = model.documents.iter().filter(|(id, document)| {
            let id = id.as_str();
            (first <= id && (id < last || inclusive && id == last))
                && !document.is_deleted(&document.leaves()[0])
        });
        let count = reader.count_documents(&range, 100).unwrap();
        assert_eq!(count, Some(wanted.count() as u64));
    }
}

fn compare_feed(reader: &Reader<'_>, model: &Database) {
    let mut rows: Vec<(u64, String)> = Vec::new();
    reader
        .walk_changes(0, u64::MAX, Direction::Forward, |sequence, change| {
            let document = &model.documents[change.id];
            let leaves = reader.leaves_of(&change)?;
            let revisions: Vec<Revision> =
                leaves.iter().map(|leaf| leaf.revision.clone()).collect();
            assert_eq!(revisions, document.leaves());
            assert_eq!(change.winner, leaves[0]);
            for leaf in leaves {
                assert_eq!(leaf.deleted, document.is_deleted(&leaf.revision));
            }
            assert!(reader.body(change.body.unwrap())?.is_some());
            assert_eq!(reader.record(change.id)?.unwrap().sequence, sequence);
            rows.push((sequence, change.id.to_owned()));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert!(
        rows.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "{rows:?}"
    );
    let ids: Vec<&String> = rows.iter().map(|(_, id)| id).collect();
    assert_eq!(ids, model.feed.iter().collect::<Vec<_>>());
    let statistics = statistics(reader);
    let newest = rows.last().map_or(0, |row| row.0);
    assert!(statistics.update_sequence >= newest);
    for after in (0..=newest + 2).chain([u64::MAX]) {
        let wanted = rows.iter().filter(|row| row.0 > after).count() as u64;
        assert_eq!(
            reader.changes_after(after).unwrap(),
            wanted,
            "after {after}"
        );
    }
    let winners: Vec<&crate::model::Content> = model
        .documents
        .values()
        .map(|document| &document.contents[&document.leaves()[0]])
        .collect();
    let deleted = winners.iter().filter(|winner| winner.deleted).count() as u64;
    assert_eq!(statistics.deleted, deleted);
    assert_eq!(statistics.documents, winners.len() as u64 - deleted);
    assert_eq!(statistics.purge_sequence, model.purges.len() as u64);
    let bytes = winners.iter().map(|winner| {
        winner.json.len() as u64 + winner.attachments.iter().map(|a| a.length).sum::<u64>()
    });
    assert_eq!(statistics.external_bytes, bytes.sum::<u64>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn documents_behave_as_the_naive_model(steps in prop::collection::vec(any_step(), 0..40)) {
        let mut trial = Trial::new();
        for step in &steps {
            trial.step(step);
            trial.compare();
        }
        for at in 0..NAMES.len() {
            trial.remove(at);
        }
        prop_assert!(trial.references.is_empty(), "{:?}", trial.references);
    }

    /// Decided again, alone or with others in a group, or applied as it was shipped: a history
    /// leaves the same bytes.
    #[test]
    fn a_history_leaves_the_same_bytes_everywhere(
        steps in prop::collection::vec(any_step(), 0..30),
        group in 2_usize..6,
    ) {
        let mut trial = Trial::new();
        for step in &steps {
            trial.step(step);
        }
        let contents = trial.bench.memory.contents();
        let again = Bench::new();
        for command in &trial.commands {
            again.run(command);
        }
        prop_assert_eq!(&again.memory.contents(), &contents);
        let grouped = Bench::new();
        // Whoever sweeps reads what is committed, so it waits for those before it.
        for run in trial.commands.chunk_by(|one, next| !is_sweep(one) && !is_sweep(next)) {
            for group in run.chunks(group) {
                grouped.run_together(group);
            }
        }
        prop_assert_eq!(&grouped.memory.contents(), &contents);
        let shipped = Bench::new();
        for commit in &trial.commits {
            let commit = Commit::decode(&commit.encode()).unwrap();
            block_on(shipped.store.apply(WritePermit::of_term(1), commit)).unwrap();
        }
        prop_assert_eq!(&shipped.memory.contents(), &contents);
    }
}

fn is_sweep(command: &Command) -> bool {
    matches!(command, Command::Sweep(..))
}

//! Replicas that follow what their reader sees, through any history of documents and rights, end with
//! what he may read and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adea_base::{DatabaseName, DocumentId, Reach, Scope, Sight, Span};
use adea_documents::database::{self, Settings};
use adea_documents::labels::{self, Author, DraftLabel};
use adea_documents::reader::{IdRange, Reader};
use adea_documents::record::{Body, Leaf};
use adea_documents::rev_tree::RevTree;
use adea_documents::revision::{Revision, RevisionId};
use adea_documents::writer::{Draft, Writer};
use adea_documents::{DatabaseError, DatabaseNumber, verify};
use adea_store::{Decline, Direction, Transaction, WritePermit};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::command::{Bench, block_on};

const KEY: [u8; 32] = [7; 32];
const IDS: [&str; 3] = ["one", "two", "three"];
const PRINCIPALS: [&str; 4] = ["a", "b", "c", "d"];
/// What each reader alone holds, always.
const OWN: [&str; READERS] = ["r0", "r1"];
const READERS: usize = 2;
const DEVICES: usize = 4;

type Set = BTreeSet<&'static str>;

/// What a reader held, from which sequence on.
#[derive(Clone, Debug, Default)]
struct Held {
    events: Vec<(u64, Set)>,
    /// Of each event, where what went by it ends: behind what he was served.
    shown: BTreeMap<u64, u64>,
    served: Arc<AtomicU64>,
}

#[derive(Debug)]
struct TestSight(Held);

impl Sight for TestSight {
    fn spans(&self, _name: &str, members: &[Arc<str>]) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for (n, (from, set)) in self.0.events.iter().enumerate() {
            let to = self.0.events.get(n + 1).map_or(Span::OPEN, |next| next.0);
            if !members.iter().any(|member| set.contains(member.as_ref())) {
                continue;
            }
            match spans.last_mut() {
                Some(last) if last.to == *from => last.to = to,
                _ => spans.push(Span {
                    from: *from,
                    to,
                    times: 1,
                }),
            }
        }
        for span in &mut spans {
            span.to = self.0.shown.get(&span.to).copied().unwrap_or(span.to);
        }
        spans
    }

    fn serve(&self, sequence: u64) {
        self.0.served.fetch_max(sequence, Ordering::Relaxed);
    }

    fn reach(&self) -> Reach {
        let all: BTreeSet<&str> = self
            .0
            .events
            .iter()
            .flat_map(|(_, set)| set.iter().copied())
            .collect();
        Reach::Members(all.into_iter().map(Arc::from).collect::<Vec<_>>().into())
    }

    fn turned_at(&self) -> u64 {
        self.0.events.last().map_or(0, |last| last.0)
    }

    fn reader(&self) -> &str {
        "reader"
    }

    fn key(&self) -> &[u8; 32] {
        &KEY
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests make rights of their own"
)]
fn scope(held: &Held) -> Scope {
    Scope::of(Arc::new(TestSight(held.clone())))
}

#[expect(clippy::disallowed_methods, reason = "the tests read all there is")]
fn whole() -> Scope {
    Scope::aggregate()
}

fn label(set: &Set) -> DraftLabel {
    DraftLabel {
        name: Arc::from(set.iter().copied().collect::<Vec<_>>().join("+")),
        members: set
            .iter()
            .map(|one| Arc::from(*one))
            .collect::<Vec<_>>()
            .into(),
    }
}

fn subset() -> impl Strategy<Value = Set> {
    proptest::sample::subsequence(PRINCIPALS.to_vec(), 1..=3)
        .prop_map(|some| some.into_iter().collect())
}

#[derive(Clone, Debug)]
enum Step {
    /// An edit of the winner, or a first revision, with this list.
    Write(usize, Set),
    /// An edit that keeps the list.
    Touch(usize),
    Delete(usize),
    /// A sibling of the winner that came from elsewhere.
    Fork(usize, char),
    /// The rule says something else of the document now.
    Relabel(usize, Set),
    /// The reader holds other principals.
    Rights(usize, Set),
    /// A device asks for at most so many rows.
    Pull(usize, usize),
    /// A device forgets where it was, but not what it has.
    Forget(usize),
    /// A device begins anew.
    Fresh(usize),
    /// A device offers the server all leaves that it has.
    PushBack(usize),
    /// A device edits what it has of a document.
    EditThere(usize, usize, Option<Set>),
    Compact(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let id = || 0..IDS.len();
    let device = || 0..DEVICES;
    prop_oneof![
        4 => (id(), subset()).prop_map(|(id, set)| Step::Write(id, set)),
        1 => (id(), 0..READERS).prop_map(|(id, reader)| Step::Write(id, Set::from([OWN[reader]]))),
        2 => id().prop_map(Step::Touch),
        1 => id().prop_map(Step::Delete),
        1 => (id(), prop::char::range('a', 'f')).prop_map(|(id, c)| Step::Fork(id, c)),
        1 => (id(), subset()).prop_map(|(id, set)| Step::Relabel(id, set)),
        5 => (0..READERS, proptest::sample::subsequence(PRINCIPALS.to_vec(), 0..=2))
            .prop_map(|(reader, set)| Step::Rights(reader, set.into_iter().collect())),
        6 => (device(), 1usize..4).prop_map(|(device, limit)| Step::Pull(device, limit)),
        1 => device().prop_map(Step::Forget),
        1 => device().prop_map(Step::Fresh),
        1 => device().prop_map(Step::PushBack),
        3 => (device(), id(), proptest::option::of(subset()))
            .prop_map(|(device, id, set)| Step::EditThere(device, id, set)),
        1 => id().prop_map(Step::Compact),
    ]
}

/// Where a device is.
#[derive(Clone, Debug, Default)]
struct Place {
    sequence: u64,
    seen_at: u64,
    /// What it is being told of a change of rights to: lost first, then gained, and how far.
    phase: Option<(u64, bool, u64)>,
}

#[derive(Clone, Debug, Default)]
struct Device {
    place: Place,
    trees: BTreeMap<String, RevTree>,
    contents: BTreeMap<(String, String), Vec<u8>>,
}

struct World {
    bench: Bench,
    database: DatabaseNumber,
    held: Vec<Held>,
    devices: Vec<Device>,
    /// The list that came with each content, which are all different.
    lists: BTreeMap<Vec<u8>, Set>,
    written: u64,
}

impl World {
    fn new() -> Self {
        let bench = Bench::new();
        let name = DatabaseName::parse("app").unwrap();
        let settings = Settings {
            created_unix_s: 1,
            revisions_limit: 1_000,
            purges_limit: 10,
            security: String::new(),
            partitioned: false,
            labels: 0,
            labelled: 0,
            access: String::new(),
        };
        let database = transact(&bench, move |tx| {
            labels::put_key(tx, &KEY)?;
            let number = database::create(tx, &name, &settings)?;
            let generation = tx.next_sequence();
            database::change_settings(tx, number, |settings| {
                settings.labels = generation;
                settings.labelled = generation;
            })?;
            Ok(number)
        });
        Self {
            bench,
            database,
            held: (0..READERS).map(|_| Held::default()).collect(),
            devices: vec![Device::default(); DEVICES],
            lists: BTreeMap::new(),
            written: 0,
        }
    }

    fn write(&self, work: impl FnOnce(&mut Writer<'_, '_>) + Send + 'static) {
        let database = self.database;
        transact(&self.bench, move |tx| {
            let mut writer = Writer::open(tx, database)?;
            work(&mut writer);
            writer.finish()?;
            Ok(())
        });
    }

    fn draft(&mut self, id: &str, deleted: bool, list: &Set) -> Draft {
        self.written += 1;
        let text = format!("{{\"n\":{}}}", self.written);
        let parsed = adea_documents::json::parse_document(text.as_bytes()).unwrap();
        self.lists.insert(parsed.body.clone(), list.clone());
        Draft {
            id: DocumentId::parse(id).unwrap(),
            deleted,
            attachments: Vec::new(),
            json: parsed.body,
            term: parsed.term,
            label: Some(label(list)),
            author: None,
            creator: None,
        }
    }

    /// The list of a document's winner; `None` if it is not there or deleted.
    fn list(&self, at: usize) -> Option<Set> {
        let tree = self.tree(IDS[at])?;
        let winner = tree.winner().filter(|winner| !winner.is_deleted())?;
        Some(self.lists[&self.content(winner)].clone())
    }

    fn content(&self, node: &adea_documents::rev_tree::Node) -> Vec<u8> {
        let view = self.bench.store.view();
        let reader = Reader {
            view: view.as_ref(),
            database: self.database,
            scope: whole(),
        };
        Body::decode(&reader.body(node.body().unwrap()).unwrap().unwrap())
            .unwrap()
            .json
    }

    fn tree(&self, id: &str) -> Option<RevTree> {
        let view = self.bench.store.view();
        let reader = Reader {
            view: view.as_ref(),
            database: self.database,
            scope: whole(),
        };
        reader.record(id).unwrap().map(|record| record.tree)
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write(id, set) => self.edit(*id, false, Some(set.clone())),
            Step::Touch(id) => self.edit(*id, false, None),
            Step::Delete(id) => self.edit(*id, true, None),
            Step::Fork(id, c) => self.fork(*id, *c),
            Step::Relabel(id, set) => self.relabel(*id, set),
            Step::Rights(reader, set) => self.rights(*reader, set),
            Step::Pull(device, limit) => {
                self.pull(*device, *limit);
            }
            Step::Forget(device) => self.devices[*device].place = Place::default(),
            Step::Fresh(device) => self.devices[*device] = Device::default(),
            Step::PushBack(device) => self.push_back(*device),
            Step::EditThere(device, id, set) => self.edit_there(*device, *id, set.clone()),
            Step::Compact(id) => {
                let id = DocumentId::parse(IDS[*id]).unwrap();
                self.write(move |writer| writer.compact(&id).unwrap());
            }
        }
    }

    fn edit(&mut self, at: usize, deleted: bool, set: Option<Set>) {
        let id = IDS[at];
        let tree = self.tree(id);
        let winner = tree.as_ref().and_then(|tree| tree.winner()).cloned();
        if winner.is_none() && (deleted || set.is_none()) {
            return;
        }
        if winner.as_ref().is_some_and(|winner| winner.is_deleted()) && (deleted || set.is_none()) {
            return;
        }
        let Some(set) = set.or_else(|| self.list(at)) else {
            return;
        };
        let draft = self.draft(id, deleted, &set);
        let live = winner.filter(|winner| !winner.is_deleted());
        self.write(move |writer| {
            let based_on = live.map(|winner| winner.revision());
            writer.edit(&draft, based_on.as_ref()).unwrap();
        });
    }

    fn fork(&mut self, at: usize, c: char) {
        let id = IDS[at];
        let Some(tree) = self.tree(id) else { return };
        let winner = tree.winner().unwrap().clone();
        if winner.is_deleted() {
            return;
        }
        let set = self.list(at).unwrap();
        let draft = self.draft(id, false, &set);
        let below = tree
            .ancestors(&winner.revision())
            .nth(1)
            .map(|node| node.revision());
        let mut path = vec![RevisionId::parse(&c.to_string()).unwrap()];
        path.extend(below.iter().map(|below| below.id.clone()));
        let start = winner.generation();
        if path.len() as u64 > start {
            return;
        }
        self.write(move |writer| {
            writer.replicate(&draft, start, &path).unwrap();
        });
    }

    fn relabel(&mut self, at: usize, set: &Set) {
        let Some(tree) = self.tree(IDS[at]) else {
            return;
        };
        let id = DocumentId::parse(IDS[at]).unwrap();
        let label = label(set);
        let bodies: Vec<(u64, DraftLabel)> = tree
            .nodes()
            .filter_map(|node| Some((node.body()?, label.clone())))
            .collect();
        let contents: Vec<Vec<u8>> = tree
            .nodes()
            .filter(|node| node.body().is_some())
            .map(|node| self.content(node))
            .collect();
        self.lists
            .extend(contents.into_iter().map(|content| (content, set.clone())));
        self.write(move |writer| writer.relabel(&id, &bodies).unwrap());
    }

    fn rights(&mut self, reader: usize, set: &Set) {
        let mut set = set.clone();
        set.insert(OWN[reader]);
        let set = &set;
        let held = &self.held[reader];
        let now = held.events.last().map(|(_, set)| set.clone());
        if now.as_ref() == Some(set) {
            return;
        }
        // What was lost by one member may come back by another.
        let lost = held
            .events
            .windows(2)
            .any(|pair| !pair[0].1.is_subset(&pair[1].1));
        let had = now.unwrap_or_default();
        let gained = set.iter().filter(|one| lost && !had.contains(*one));
        let back: Vec<Arc<str>> = gained.map(|one| Arc::from(*one)).collect();
        let (database, returns) = (self.database, held.events.len() as u64);
        let at = transact(&self.bench, move |tx| {
            let at = tx.next_sequence();
            if !back.is_empty() {
                labels::note_returned(tx, database, &back, returns)?;
            }
            Ok(at)
        });
        let held = &mut self.held[reader];
        let before = held.events.last().map_or(0, |last| last.0);
        let end = held.served.load(Ordering::Relaxed).max(before) + 1;
        held.shown.insert(at, end.min(at));
        held.events.push((at, set.clone()));
    }

    /// One request of a device for changes, and what it fetches then. Returns how many rows there
    /// were.
    fn pull(&mut self, device: usize, limit: usize) -> usize {
        let held = self.held[device % READERS].clone();
        let Some((now, _)) = held.events.last().cloned() else {
            return 0;
        };
        let mut device_now = std::mem::take(&mut self.devices[device]);
        let view = self.bench.store.view();
        let reader = Reader {
            view: view.as_ref(),
            database: self.database,
            scope: scope(&held),
        };
        let place = &mut device_now.place;
        if place.seen_at != now && place.phase.is_none_or(|(to, ..)| to != now) {
            place.phase = Some((now, true, 0));
        }
        let mut rows: Vec<(String, Vec<Leaf>)> = Vec::new();
        let mut more = true;
        while more && rows.len() < limit {
            let room = limit - rows.len();
            let (some, goes_on) = part(&reader, place, now, room);
            rows.extend(some);
            more = goes_on;
        }
        let told = rows.len();
        for (id, leaves) in rows {
            self.fetch(&reader, &held, &mut device_now, &id, &leaves);
        }
        self.devices[device] = device_now;
        told
    }

    /// What a replicator does with a row: asks for the leaves that it lacks.
    fn fetch(
        &self,
        reader: &Reader<'_>,
        held: &Held,
        device: &mut Device,
        id: &str,
        leaves: &[Leaf],
    ) {
        let tree = device.trees.entry(id.to_owned()).or_default();
        let record = reader.record(id).unwrap().expect("what is told is there");
        let at = IDS.iter().position(|one| *one == id).unwrap();
        for leaf in leaves {
            if tree.find(&leaf.revision).is_some() {
                continue;
            }
            let node = record
                .tree
                .find(&leaf.revision)
                .expect("and each leaf of it");
            let path: Vec<RevisionId> = record
                .tree
                .ancestors(&leaf.revision)
                .map(|node| node.id().clone())
                .collect();
            let body = Body::decode(&reader.body(node.body().unwrap()).unwrap().unwrap()).unwrap();
            let (_, holds) = held.events.last().unwrap();
            let may = |list: &Set| list.iter().any(|one| holds.contains(one));
            if !leaf.deleted {
                assert!(
                    may(&self.list(at).unwrap()),
                    "{id} is shown to one who may not read it"
                );
                assert!(may(&self.lists[&body.json]), "a leaf of {id} is not his");
            }
            tree.merge(&path, leaf.revision.generation, leaf.deleted, 1)
                .unwrap();
            device
                .contents
                .insert((id.to_owned(), leaf.revision.to_string()), body.json);
        }
    }

    /// A device offers what it has: nothing of what the server made up is taken.
    fn push_back(&mut self, device: usize) {
        let trees = self.devices[device].trees.clone();
        for (id, tree) in trees {
            let Some(before) = self.tree(&id) else {
                continue;
            };
            for leaf in tree.leaves() {
                let revision = leaf.revision();
                if before.find(&revision).is_some() {
                    continue;
                }
                // An edit that was made there, and is not known yet, is none of what is tested here.
                let content = self.devices[device]
                    .contents
                    .get(&(id.clone(), revision.to_string()));
                let path: Vec<RevisionId> = tree
                    .ancestors(&revision)
                    .map(|node| node.id().clone())
                    .collect();
                let parsed = adea_documents::json::parse_document(content.unwrap()).unwrap();
                let draft = Draft {
                    id: DocumentId::parse(&id).unwrap(),
                    deleted: leaf.is_deleted(),
                    attachments: Vec::new(),
                    json: parsed.body,
                    term: parsed.term,
                    label: Some(label(&PRINCIPALS.into_iter().collect())),
                    author: None,
                    creator: None,
                };
                let held = &self.held[device % READERS];
                let view = self.bench.store.view();
                let reader = Reader {
                    view: view.as_ref(),
                    database: self.database,
                    scope: scope(held),
                };
                let lacking = reader
                    .lacking(&id, std::slice::from_ref(&revision))
                    .unwrap();
                assert!(
                    lacking.missing.is_empty(),
                    "{revision} of {id} was made here"
                );
                drop(view);
                self.write(move |writer| {
                    writer
                        .replicate(&draft, revision.generation, &path)
                        .unwrap();
                });
            }
            let after = self.tree(&id).unwrap();
            let leaves = |tree: &RevTree| -> Vec<Revision> {
                tree.leaves().map(|leaf| leaf.revision()).collect()
            };
            assert_eq!(
                leaves(&after),
                leaves(&before),
                "what is pushed back changes nothing"
            );
        }
    }

    /// A device edits the winner that it has, and pushes that, also where it gives it away.
    fn edit_there(&mut self, device: usize, at: usize, set: Option<Set>) {
        let id = IDS[at];
        let Some(tree) = self.devices[device].trees.get(id).cloned() else {
            return;
        };
        let winner = tree.winner().unwrap().clone();
        let Some((_, holds)) = self.held[device % READERS].events.last().cloned() else {
            return;
        };
        let Some(list) = self.list(at) else { return };
        let server = self.tree(id).unwrap();
        if winner.is_deleted() || list.is_disjoint(&holds) || server.conflicts().next().is_some() {
            return;
        }
        let set = set.unwrap_or(list);
        let mut draft = self.draft(id, false, &set);
        draft.author = Some(Author {
            label: label(&Set::from([OWN[device % READERS]])),
            holds: holds
                .iter()
                .map(|one| Arc::from(*one))
                .collect::<Vec<_>>()
                .into(),
        });
        let (database, based_on, content) = (self.database, winner.revision(), draft.json.clone());
        let offered = based_on.clone();
        let made = transact(&self.bench, move |tx| {
            let mut writer = Writer::open(tx, database)?;
            // In the name of what he has: a conflict if that is not the newest.
            let made = writer.edit(&draft, Some(&offered)).ok();
            writer.finish()?;
            Ok(made)
        });
        let Some(made) = made else { return };
        // What he wrote he has.
        let served = &self.held[device % READERS].served;
        served.fetch_max(self.bench.store.sequence(), Ordering::Relaxed);
        let mut path = vec![made.id.clone()];
        path.extend(tree.ancestors(&based_on).map(|node| node.id().clone()));
        let device = &mut self.devices[device];
        let tree = device.trees.get_mut(id).unwrap();
        tree.merge(&path, made.generation, false, 1).unwrap();
        device
            .contents
            .insert((id.to_owned(), made.to_string()), content);
    }

    /// Has every device pull until there is nothing more, and compares.
    fn settle(&mut self) {
        for device in 0..DEVICES {
            while self.pull(device, 3) > 0 {}
            self.pull(device, 1);
            let Some((_, holds)) = self.held[device % READERS].events.last().cloned() else {
                continue;
            };
            for (at, id) in IDS.iter().enumerate() {
                let server = self.tree(id);
                let may = self.list(at).is_some_and(|list| !list.is_disjoint(&holds));
                let expected = match &server {
                    Some(tree) if may => self.live_of_server(tree, &self.list(at).unwrap()),
                    _ => BTreeSet::new(),
                };
                let had = &self.devices[device];
                let live: BTreeSet<Vec<u8>> = had
                    .trees
                    .get(*id)
                    .into_iter()
                    .flat_map(RevTree::leaves)
                    .filter(|leaf| !leaf.is_deleted())
                    .map(|leaf| {
                        had.contents[&((*id).to_owned(), leaf.revision().to_string())].clone()
                    })
                    .collect();
                assert_eq!(live, expected, "device {device} has of {id}");
            }
            self.compare_listing(device, &holds);
        }
        let view = self.bench.store.view();
        let reader = Reader {
            view: view.as_ref(),
            database: self.database,
            scope: whole(),
        };
        assert_eq!(verify::check(&reader).unwrap().faults, Vec::<String>::new());
    }

    /// The contents of live leaves with the list of the winner.
    fn live_of_server(&self, tree: &RevTree, list: &Set) -> BTreeSet<Vec<u8>> {
        tree.leaves()
            .filter(|leaf| !leaf.is_deleted())
            .map(|leaf| self.content(leaf))
            .filter(|content| self.lists[content] == *list)
            .collect()
    }

    /// A listing shows exactly the documents that may be read, and so does asking for each.
    fn compare_listing(&self, device: usize, holds: &Set) {
        let view = self.bench.store.view();
        let held = &self.held[device % READERS];
        let reader = Reader {
            view: view.as_ref(),
            database: self.database,
            scope: scope(held),
        };
        let mut listed = BTreeSet::new();
        reader
            .walk_documents(&IdRange::default(), Direction::Forward, |id, head| {
                assert!(!head.winner.deleted);
                listed.insert(id.to_owned());
                ControlFlow::Continue(())
            })
            .unwrap();
        let expected: BTreeSet<String> = IDS
            .iter()
            .enumerate()
            .filter(|(at, id)| {
                let list = self.list(*at);
                list.is_some_and(|list| !list.is_disjoint(holds)) && self.tree(id).is_some()
            })
            .map(|(_, id)| (*id).to_owned())
            .collect();
        assert_eq!(listed, expected);
        for id in IDS {
            let live = reader
                .record(id)
                .unwrap()
                .is_some_and(|record| !record.tree.is_deleted());
            assert_eq!(live, expected.contains(id));
            assert_eq!(reader.sees(id, u64::MAX).unwrap(), live);
        }
    }
}

/// The next part of what a device is told, at most `room` rows; and whether there may be more.
fn part(
    reader: &Reader<'_>,
    place: &mut Place,
    now: u64,
    room: usize,
) -> (Vec<(String, Vec<Leaf>)>, bool) {
    let (mut rows, mut last) = (Vec::new(), 0);
    let mut take = |sequence: u64, change: adea_documents::record::Change<'_>| {
        rows.push((change.id.to_owned(), reader.leaves_of(&change)?));
        last = sequence;
        Ok(if rows.len() < room {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    };
    match place.phase {
        Some((_, true, after)) => {
            let seen_at = place.seen_at.min(place.sequence);
            reader
                .walk_lost(seen_at, after, |sequence, change| {
                    assert!(change.winner.deleted, "a loss is told as a tombstone");
                    take(sequence, change)
                })
                .unwrap();
            let done = rows.len() < room;
            place.phase = Some((now, !done, if done { 0 } else { last }));
        }
        Some((_, false, after)) => {
            reader
                .walk_gained(place.seen_at, place.sequence, after, take)
                .unwrap();
            place.phase = (rows.len() == room).then_some((now, false, last));
            if place.phase.is_none() {
                place.seen_at = now;
            }
        }
        None => {
            reader
                .walk_changes(place.sequence, u64::MAX, Direction::Forward, take)
                .unwrap();
            place.sequence = place.sequence.max(last);
            let more = rows.len() == room;
            return (rows, more);
        }
    }
    (rows, true)
}

fn transact<T: Send + 'static>(
    bench: &Bench,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Decline<DatabaseError>> + Send + 'static,
) -> T {
    block_on(bench.store.transact(WritePermit::of_term(1), work)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_replica_ends_with_what_its_reader_may_see(
        steps in proptest::collection::vec(any_step(), 1..60),
        settle_at in any::<Index>(),
    ) {
        let mut world = World::new();
        let middle = settle_at.index(steps.len());
        for (n, step) in steps.iter().enumerate() {
            world.step(step);
            if n == middle {
                world.settle();
            }
        }
        world.settle();
    }
}

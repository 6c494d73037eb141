//! Replicas that follow `mine` end with what their reader may read, wherever they are cut, and whatever
//! becomes of rights between any two rows.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use adea_access::AccessSettings;
use adea_base::{Caller, DatabaseName, DocumentId};
use adea_documents::json::parse_document;
use adea_documents::reader::IdRange;
use adea_documents::rev_tree::RevTree;
use adea_documents::revision::Revision;
use adea_store::{Direction, Memory};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ChangesRange, Course, Marks};
use crate::access::AccessError;
use crate::apps::Actor;
use crate::databases::{DatabaseEntry, reader};
use crate::error::PodError;
use crate::pod::Pod;
use crate::write_document::DraftedEdit;
use crate::write_user::tests::over;

const ROLES: [&str; 3] = ["r0", "r1", "r2"];

async fn enter(pod: &Pod, face: &str, caller: &Caller) -> Arc<DatabaseEntry> {
    pod.enter(&name(face), caller).await.unwrap()
}

fn name(text: &str) -> DatabaseName {
    DatabaseName::parse(text).unwrap()
}

fn root() -> Caller {
    Caller::named("root", vec!["_admin".to_owned()])
}

fn ann(roles: u8) -> Caller {
    let held = (0..).zip(ROLES).filter(|(n, _)| roles >> n & 1 == 1);
    Caller::named("ann", held.map(|(_, role)| role.to_owned()).collect())
}

/// A database with access control, and what is in it.
struct World {
    pod: Pod,
    documents: BTreeMap<String, (Revision, u8, bool, u64)>,
    roles: u8,
    written: u64,
}

impl World {
    async fn new() -> Self {
        let pod = over(Arc::new(Memory::new())).await;
        let by = Actor::of(&root(), None);
        pod.make_database_with_access(&name("app"), false, &by)
            .await
            .unwrap();
        Self {
            pod,
            documents: BTreeMap::new(),
            roles: 1,
            written: 0,
        }
    }

    async fn write(&mut self, id: &str, list: u8, deleted: bool) {
        let entry = enter(&self.pod, "app", &root()).await;
        self.written += 1;
        let before = self.documents.get(id);
        let held = (0..).zip(ROLES).filter(|(n, _)| list >> n & 1 == 1);
        let access: Vec<&str> = held.map(|(_, role)| role).collect();
        let mut body = json!({ "n": self.written, "access": access });
        if deleted {
            body["_deleted"] = Value::Bool(true);
        }
        let draft = parse_document(body.to_string().as_bytes()).unwrap();
        let edit = DraftedEdit::Edit(before.filter(|found| !found.2).map(|found| found.0.clone()));
        let document = DocumentId::parse(id).unwrap();
        let by = root();
        let prepared = self
            .pod
            .prepare(&entry, &by, document, draft, edit, Vec::new())
            .await
            .unwrap();
        let revision = self.pod.write(&entry, prepared).await.unwrap();
        // A tombstone stays where the document was.
        let list = match before {
            Some(found) if deleted => found.1,
            _ => list,
        };
        let now = (revision, list, deleted, self.written);
        self.documents.insert(id.to_owned(), now);
    }

    async fn mine(&self) -> Arc<DatabaseEntry> {
        enter(&self.pod, "app/mine", &ann(self.roles)).await
    }

    fn visible(&self) -> BTreeMap<String, u64> {
        let seen = self
            .documents
            .iter()
            .filter(|(_, (_, list, deleted, _))| !deleted && list & self.roles != 0);
        seen.map(|(id, (.., n))| (id.clone(), *n)).collect()
    }
}

/// What replicates `mine`, a row at a time.
#[derive(Default)]
struct Phone {
    token: Option<String>,
    /// A feed that goes on, if it keeps one open.
    open: Option<(Arc<DatabaseEntry>, Course)>,
    trees: BTreeMap<String, RevTree>,
    contents: BTreeMap<(String, String), u64>,
    rows: usize,
}

struct Row {
    sequence: u64,
    id: String,
    revisions: Vec<Revision>,
    removal: bool,
    token: String,
}

fn range(course: &Course) -> ChangesRange {
    ChangesRange {
        after: course.after(),
        until: course.end(),
        direction: Direction::Forward,
        part: course.part(),
        bodies: true,
        conflicts: false,
        leaves: true,
        leaf_bodies: false,
    }
}

fn token(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

impl Phone {
    fn begin(&self, world: &World, entry: &DatabaseEntry) -> Course {
        let newest = world.pod.statistics(entry).unwrap().update_sequence;
        let place = self.token.as_ref();
        let place = place.map(|token| Course::from_token(entry, token, newest).unwrap());
        place.unwrap_or_else(|| Course::from_beginning(entry))
    }

    /// Takes the next row; false if there is none.
    async fn pull(&mut self, world: &World) -> bool {
        let (mut entry, mut course) = match self.open.take() {
            Some(open) => open,
            None => {
                let entry = world.mine().await;
                let course = self.begin(world, &entry);
                (entry, course)
            }
        };
        let pod = &world.pod;
        let row = loop {
            let mut found = None;
            let read = pod.read_changes(&entry, &ann(world.roles), range(&course), |row| {
                found = Some(Row {
                    sequence: row.sequence,
                    id: row.id.to_owned(),
                    revisions: row
                        .leaves
                        .iter()
                        .map(|leaf| leaf.revision.clone())
                        .collect(),
                    removal: row.removal,
                    token: token(|out| Marks::new(&entry, &course).row(out, row.sequence)),
                });
                assert!(!row.removal || row.winner.deleted);
                ControlFlow::Break(())
            });
            match read {
                Err(PodError::Access(AccessError::Turned)) => {
                    entry = world.mine().await;
                    course.turn(entry.turned_at());
                }
                read => {
                    read.unwrap();
                    if found.is_some() || !course.is_turning() {
                        break found;
                    }
                    course.next_part();
                }
            }
        };
        let more = row.is_some();
        if let Some(row) = row {
            course.reach(row.sequence);
            assert_eq!(row.token, token(|out| Marks::new(&entry, &course).end(out)));
            self.rows += 1;
            self.take(world, &row).await;
        }
        self.token = Some(token(|out| Marks::new(&entry, &course).end(out)));
        self.open = Some((entry, course));
        more
    }

    /// Fetches what a row tells, as replicators do.
    async fn take(&mut self, world: &World, row: &Row) {
        let entry = world.mine().await;
        let view = world.pod.view();
        let reader = reader(view.as_ref(), &entry, &ann(world.roles));
        let Some(record) = reader.record(&row.id).unwrap() else {
            return;
        };
        let tree = self.trees.entry(row.id.clone()).or_default();
        for revision in &row.revisions {
            if tree.find(revision).is_some() {
                continue;
            }
            // What an open feed told by rights that are over may be gone when it is fetched.
            let found = record.tree.find(revision);
            let Some((node, at)) = found.and_then(|node| Some((node, node.body()?))) else {
                continue;
            };
            let path = record.tree.ancestors(revision);
            let path: Vec<_> = path.map(|node| node.id().clone()).collect();
            tree.merge(&path, revision.generation, node.is_deleted(), 1)
                .unwrap();
            let body = reader.body(at).unwrap().unwrap();
            let body = adea_documents::record::Body::decode(&body).unwrap();
            let body: Value = serde_json::from_slice(&body.json).unwrap();
            let list = world.documents.get(&row.id).map_or(0, |found| found.1);
            if row.removal && list & world.roles == 0 {
                assert_eq!(body, json!({}));
            }
            let key = (row.id.clone(), revision.to_string());
            self.contents
                .insert(key, body["n"].as_u64().unwrap_or_default());
        }
    }

    /// Goes on as somebody who was cut off.
    fn cut(&mut self) {
        self.open = None;
    }

    /// Notices what becomes of rights, as an open feed does.
    async fn hear(&mut self, world: &World) {
        if let Some((entry, course)) = &mut self.open {
            let again = world.pod.listen_again(entry, &ann(world.roles)).await;
            *entry = again.unwrap().unwrap();
            course.turn(entry.turned_at());
        }
    }

    fn holds(&self) -> BTreeMap<String, u64> {
        let live = self.trees.iter().filter_map(|(id, tree)| {
            let winner = tree.winner().filter(|winner| !winner.is_deleted())?;
            let key = (id.clone(), winner.revision().to_string());
            Some((id.clone(), self.contents[&key]))
        });
        live.collect()
    }

    async fn pull_all(&mut self, world: &World) {
        self.hear(world).await;
        let mut left = 10_000;
        while self.pull(world).await {
            left -= 1;
            assert!(left > 0, "a feed has no end");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(u8, u8),
    Delete(u8),
    Rights(u8),
    /// Somebody asks in the reader's name, elsewhere.
    Elsewhere,
    Hear,
    Pull(usize),
    Forget,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..4, 1u8..8).prop_map(|(id, list)| Step::Write(id, list)),
        1 => (0u8..4).prop_map(Step::Delete),
        3 => (0u8..8).prop_map(Step::Rights),
        1 => Just(Step::Elsewhere),
        1 => Just(Step::Hear),
        6 => (1usize..4).prop_map(Step::Pull),
        1 => Just(Step::Forget),
    ]
}

async fn run(steps: Vec<Step>) {
    let mut world = World::new().await;
    // One keeps its feed open, one comes anew for each row.
    let mut phones = [Phone::default(), Phone::default()];
    for step in steps {
        match step {
            Step::Write(id, list) => world.write(&format!("d{id}"), list, false).await,
            Step::Delete(id) => {
                let id = format!("d{id}");
                if world.documents.get(&id).is_some_and(|found| !found.2) {
                    world.write(&id, 1, true).await;
                }
            }
            Step::Rights(roles) => world.roles = roles,
            Step::Elsewhere => drop(world.mine().await),
            Step::Hear => phones[0].hear(&world).await,
            Step::Pull(count) => {
                for _ in 0..count {
                    phones[0].pull(&world).await;
                    phones[1].pull(&world).await;
                    phones[1].cut();
                }
            }
            Step::Forget => {
                phones[1].token = None;
                phones[1].cut();
            }
        }
    }
    for phone in &mut phones {
        phone.pull_all(&world).await;
        assert_eq!(phone.holds(), world.visible());
        // Nothing is left, and what is counted says so.
        let (entry, course) = phone.open.clone().unwrap();
        let left = world.pod.rows_left(&entry, &ann(world.roles), course);
        assert_eq!(left.unwrap(), 0);
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whoever_is_cut_anywhere_ends_with_what_he_may_read(
        steps in proptest::collection::vec(any_step(), 1..40)
    ) {
        block_on(run(steps));
    }
}

#[tokio::test]
async fn what_is_lost_comes_first_then_what_is_gained_and_then_what_has_changed() {
    let mut world = World::new().await;
    for (id, list) in [("a", 1), ("b", 1), ("c", 2), ("d", 2), ("e", 3)] {
        world.write(id, list, false).await;
    }
    let mut phone = Phone::default();
    phone.pull_all(&world).await;
    assert_eq!(phone.rows, 3);
    world.roles = 2;
    world.write("f", 2, false).await;
    for (rows, id) in [(4, "a"), (5, "b"), (6, "c"), (7, "d"), (8, "f")] {
        phone.cut();
        let entry = world.mine().await;
        let course = phone.begin(&world, &entry);
        let left = world.pod.rows_left(&entry, &ann(world.roles), course);
        assert_eq!(left.unwrap(), 8 - phone.rows as u64);
        assert!(phone.pull(&world).await);
        assert_eq!(phone.rows, rows);
        let tree = &phone.trees[id];
        assert_eq!(tree.is_deleted(), ["a", "b"].contains(&id), "{id}");
    }
    phone.cut();
    assert!(!phone.pull(&world).await);
    assert_eq!(phone.holds(), world.visible());
}

#[tokio::test]
async fn nobody_goes_on_from_anothers_place() {
    let mut world = World::new().await;
    world.write("a", 1, false).await;
    let mut phone = Phone::default();
    phone.pull_all(&world).await;
    let token = phone.token.unwrap();
    let bob = Caller::named("bob", vec!["r0".to_owned()]);
    let bob = enter(&world.pod, "app/mine", &bob).await;
    assert_eq!(Course::from_token(&bob, &token, 1_000), None);
    assert!(Course::from_token(&*world.mine().await, &token, 1_000).is_some());
    // Nor from where nobody has been yet.
    assert_eq!(Course::from_token(&*world.mine().await, &token, 1), None);
}

#[tokio::test]
async fn a_change_wakes_who_may_read_it_and_nobody_else() {
    let mut world = World::new().await;
    world.write("a", 1, false).await;
    let pod = world.pod.clone();
    let mine = pod.watch_changes(&*world.mine().await).unwrap();
    let whole = enter(&pod, "app", &root()).await;
    let mut whole = pod.watch_changes(&whole).unwrap();
    let mut again = pod.watch_changes(&*world.mine().await).unwrap();
    whole.mark_seen();
    world.write("b", 2, false).await;
    assert!(!mine.has_changed() && whole.has_changed());
    world.write("c", 3, false).await;
    assert!(mine.has_changed());
    // What he gains he hears of from then on, and of what he lost no more.
    world.roles = 2;
    pod.watch_changes_again(&*world.mine().await, &mut again)
        .unwrap();
    again.mark_seen();
    world.write("a", 1, false).await;
    assert!(!again.has_changed());
    world.write("b", 2, false).await;
    assert!(again.has_changed());
    // What leaves his sight wakes him for the last time.
    again.mark_seen();
    world.write("b", 4, false).await;
    assert!(again.has_changed());
    again.mark_seen();
    world.write("b", 4, false).await;
    assert!(!again.has_changed());
    // Who may enter, and the end of the database, are everybody's matter.
    let entry = enter(&pod, "app", &root()).await;
    pod.change_settings(&entry, |settings| settings.revisions_limit = 7)
        .await
        .unwrap();
    assert!(again.has_changed());
    pod.drop_database(&name("app")).await.unwrap();
    assert!(again.is_closed() && mine.is_closed());
}

#[tokio::test]
async fn no_page_is_read_by_rights_or_rules_that_are_over() {
    let mut world = World::new().await;
    world.write("a", 1, false).await;
    let pod = world.pod.clone();
    let read = |entry: &Arc<DatabaseEntry>| {
        let course = Course::from_beginning(entry);
        let range = ChangesRange {
            part: super::Part::Kept,
            until: u64::MAX,
            ..range(&course)
        };
        let mut rows = 0;
        let read = pod.read_changes(entry, &ann(1), range, |_| {
            rows += 1;
            ControlFlow::Continue(())
        });
        read.map(|()| rows)
    };
    let turned =
        |read: Result<i32, PodError>| matches!(read, Err(PodError::Access(AccessError::Turned)));
    let before = world.mine().await;
    assert_eq!(read(&before).unwrap(), 1);
    world.roles = 2;
    let now = world.mine().await;
    assert!(turned(read(&before)));
    assert_eq!(read(&now).unwrap(), 0);
    let whole = enter(&pod, "app", &root()).await;
    assert_eq!(read(&whole).unwrap(), 1);
    let rule = AccessSettings {
        default: adea_access::DefaultList::Author,
        ..AccessSettings::default()
    };
    pod.set_access(&whole, rule, &Actor::of(&root(), None))
        .await
        .unwrap();
    assert!(turned(read(&now)) && turned(read(&whole)));
}

/// The ids of the next page of a listing, of one row.
fn listed(
    pod: &Pod,
    entry: &DatabaseEntry,
    after: Option<&str>,
) -> Result<Vec<crate::ListedDocument>, PodError> {
    let range = IdRange {
        first: after.map(|id| format!("{id}\0")),
        last: None,
    };
    pod.list(entry, &ann(1), &range, Direction::Forward, 0, 1)
}

/// Whether nothing at all is read through `entry` any more, since rights have turned.
fn is_over(pod: &Pod, entry: &DatabaseEntry, page: &[crate::ListedDocument]) {
    let turned = |error: Option<PodError>| {
        assert!(matches!(error, Some(PodError::Access(AccessError::Turned))));
    };
    turned(listed(pod, entry, Some("a")).err());
    turned(pod.list_keys(entry, &ann(1), &["b"]).err());
    let body = page[0].body.unwrap();
    turned(pod.bodies(entry, &ann(1), &[body]).err());
    let told = crate::Told::default();
    let which = crate::Which::Winner;
    turned(pod.read(entry, &ann(1), "b", &which, told).err());
    turned(pod.read_leaves(entry, &ann(1), "b", told).err());
}

#[tokio::test]
async fn no_second_page_of_a_listing_is_read_after_the_loss_of_a_role() {
    let mut world = World::new().await;
    world.write("a", 1, false).await;
    world.write("b", 1, false).await;
    let before = world.mine().await;
    let page = listed(&world.pod, &before, None).unwrap();
    assert_eq!(page[0].id, "a");
    world.roles = 2;
    let now = world.mine().await;
    is_over(&world.pod, &before, &page);
    assert!(listed(&world.pod, &now, None).unwrap().is_empty());
    let whole = enter(&world.pod, "app", &root()).await;
    assert_eq!(listed(&world.pod, &whole, Some("a")).unwrap()[0].id, "b");
}

#[tokio::test]
async fn no_second_page_of_a_listing_is_read_as_before_access_control_was_switched_on() {
    let pod = over(Arc::new(Memory::new())).await;
    pod.create_database(&name("app"), false).await.unwrap();
    pod.create_database(&name("other"), false).await.unwrap();
    let open = enter(&pod, "app", &root()).await;
    for id in ["a", "b"] {
        let draft = parse_document(b"{}").unwrap();
        let (id, edit) = (DocumentId::parse(id).unwrap(), DraftedEdit::Edit(None));
        let by = root();
        let prepared = pod.prepare(&open, &by, id, draft, edit, Vec::new());
        pod.write(&open, prepared.await.unwrap()).await.unwrap();
    }
    let other = enter(&pod, "other", &root()).await;
    let page = listed(&pod, &open, None).unwrap();
    assert_eq!(page[0].id, "a");
    let settings = AccessSettings::default();
    pod.set_access(&open, settings, &Actor::of(&root(), None))
        .await
        .unwrap();
    is_over(&pod, &open, &page);
    assert!(listed(&pod, &other, None).unwrap().is_empty());
    pod.drop_database(&name("app")).await.unwrap();
    let gone = listed(&pod, &open, Some("a"));
    assert!(matches!(gone, Err(PodError::Database(_))));
}

#[tokio::test]
async fn who_does_not_see_all_is_shown_the_end_when_access_control_is_switched_on() {
    let pod = over(Arc::new(Memory::new())).await;
    pod.create_database(&name("app"), false).await.unwrap();
    let open = enter(&pod, "app", &root()).await;
    let settings = AccessSettings::default();
    pod.set_access(&open, settings, &Actor::of(&root(), None))
        .await
        .unwrap();
    let range = range(&Course::behind(&open, 0));
    let read = pod.read_changes(&open, &ann(1), range, |_| ControlFlow::Continue(()));
    assert!(matches!(read, Err(PodError::Access(AccessError::Turned))));
    assert!(pod.listen_again(&open, &ann(1)).await.unwrap().is_none());
    assert!(pod.listen_again(&open, &root()).await.unwrap().is_some());
}

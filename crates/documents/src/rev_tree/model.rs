//! Random histories against a naive model of a tree: who is whose parent, and which bodies are here.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::notation::{assert_sound, body_of, encoded};
use super::*;

type Bodies = BTreeMap<Revision, (bool, u64)>;

#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    parents: BTreeMap<Revision, Option<Revision>>,
    bodies: Bodies,
}

impl Model {
    fn of(tree: &RevTree) -> Self {
        let mut model = Self::default();
        for node in &tree.nodes {
            let parent = node
                .parent
                .map(|parent| tree.nodes[parent as usize].revision());
            model.parents.insert(node.revision(), parent);
            if let Some(body) = node.body {
                model.bodies.insert(node.revision(), (node.deleted, body));
            }
        }
        model
    }

    fn add(&mut self, path: &[Revision], deleted: bool, body: u64) {
        for (index, revision) in path.iter().enumerate() {
            let parent = self.parents.entry(revision.clone()).or_default();
            if let Some(older) = path.get(index + 1) {
                *parent = Some(older.clone());
            }
        }
        self.bodies
            .entry(path[0].clone())
            .or_insert((deleted, body));
    }

    fn path(&self, leaf: &Revision) -> Vec<Revision> {
        let mut path = vec![leaf.clone()];
        while let Some(Some(parent)) = self.parents.get(path.last().unwrap()) {
            path.push(parent.clone());
        }
        path
    }

    fn deleted(&self, revision: &Revision) -> bool {
        self.bodies.get(revision).is_some_and(|body| body.0)
    }

    fn leaves(&self) -> Vec<Revision> {
        let inner: BTreeSet<&Revision> = self.parents.values().flatten().collect();
        let mut leaves: Vec<Revision> = self
            .parents
            .keys()
            .filter(|name| !inner.contains(name))
            .cloned()
            .collect();
        leaves.sort_by_key(|leaf| (!self.deleted(leaf), leaf.clone()));
        leaves.reverse();
        leaves
    }

    /// Forgets all revisions but these, and returns the bodies that go.
    fn keep(&mut self, keep: &BTreeSet<Revision>) -> Vec<u64> {
        self.parents.retain(|name, _| keep.contains(name));
        for parent in self.parents.values_mut() {
            parent.take_if(|parent| !keep.contains(parent));
        }
        let dropped = self
            .bodies
            .iter()
            .filter(|(name, _)| !keep.contains(*name))
            .map(|(_, body)| body.1)
            .collect();
        self.bodies.retain(|name, _| keep.contains(name));
        dropped
    }

    fn stem(&mut self, limit: usize) -> Vec<u64> {
        let paths = self
            .leaves()
            .into_iter()
            .flat_map(|leaf| self.path(&leaf).into_iter().take(limit));
        self.keep(&paths.collect())
    }

    fn purge(&mut self, revisions: &[Revision]) -> Vec<u64> {
        let stays = self
            .leaves()
            .into_iter()
            .filter(|leaf| !revisions.contains(leaf));
        self.keep(&stays.flat_map(|leaf| self.path(&leaf)).collect())
    }

    fn compact(&mut self) -> Vec<u64> {
        let leaves = self.leaves();
        let dropped = self
            .bodies
            .iter()
            .filter(|(name, _)| !leaves.contains(name))
            .map(|(_, body)| body.1)
            .collect();
        self.bodies.retain(|name, _| leaves.contains(name));
        dropped
    }

    /// What an edit must be based on; `Err` for a conflict.
    fn edit(
        &self,
        revision: Option<&Revision>,
        deletes: bool,
    ) -> Result<Option<Revision>, Conflict> {
        let leaves = self.leaves();
        let Some(winner) = leaves.first() else {
            return Ok(revision.cloned());
        };
        match (self.deleted(winner), revision) {
            (true, None) if !deletes => Ok(Some(winner.clone())),
            (false, Some(revision)) if leaves.contains(revision) => Ok(Some(revision.clone())),
            _ => Err(Conflict),
        }
    }
}

/// A revision whose id spells out its ancestors, as a hash would: `abd` is of generation 3 and based
/// on `ab`. Those that end in `a` look like an MD5, those that end in `d` are tombstones.
fn spelled(name: &str) -> Revision {
    let mut md5 = [0; 16];
    md5[..name.len()].copy_from_slice(name.as_bytes());
    let id = if name.ends_with('a') {
        RevisionId::Md5(md5)
    } else {
        RevisionId::Text(name.into())
    };
    Revision {
        generation: name.len() as u64,
        id,
    }
}

fn spelling(revision: &Revision) -> String {
    let name = String::from_utf8(revision.id.as_bytes().to_vec()).unwrap();
    name.trim_end_matches('\0').to_owned()
}

/// The revision and up to `ancestors` of its ancestors.
fn spelled_path(name: &str, ancestors: usize) -> Vec<Revision> {
    (1..=name.len())
        .rev()
        .take(ancestors + 1)
        .map(|length| spelled(&name[..length]))
        .collect()
}

fn merge_spelled(tree: &mut RevTree, name: &str, ancestors: usize) -> Merged {
    let path = spelled_path(name, ancestors);
    let ids: Vec<RevisionId> = path.iter().map(|revision| revision.id.clone()).collect();
    tree.merge(
        &ids,
        path[0].generation,
        name.ends_with('d'),
        body_of(&path[0]),
    )
    .unwrap()
}

#[derive(Debug, Clone)]
enum Operation {
    Merge(String, usize),
    Edit(Option<prop::sample::Index>, &'static str),
    Stem(usize),
    Purge(Vec<prop::sample::Index>),
    Compact,
}

fn any_name() -> impl Strategy<Value = String> {
    "[abd]{1,7}"
}

fn any_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (any_name(), 0_usize..7).prop_map(|(name, ancestors)| Operation::Merge(name, ancestors)),
        4 => (any::<Option<prop::sample::Index>>(), prop::sample::select(vec!["a", "b", "d"]))
            .prop_map(|(base, letter)| Operation::Edit(base, letter)),
        1 => (1_usize..6).prop_map(Operation::Stem),
        1 => prop::collection::vec(any::<prop::sample::Index>(), 1..4).prop_map(Operation::Purge),
        1 => Just(Operation::Compact),
    ]
}

fn sorted(mut bodies: Vec<u64>) -> Vec<u64> {
    bodies.sort_unstable();
    bodies
}

/// Some known revision, or an unknown one when there is none.
fn pick(model: &Model, index: prop::sample::Index) -> Revision {
    let known: Vec<&Revision> = model.parents.keys().collect();
    if known.is_empty() {
        spelled("ab")
    } else {
        (*index.get(&known)).clone()
    }
}

fn apply_edit(
    tree: &mut RevTree,
    model: &mut Model,
    base: Option<prop::sample::Index>,
    letter: &str,
) {
    let base = base.map(|index| pick(model, index));
    let deletes = letter == "d";
    let expected = model.edit(base.as_ref(), deletes);
    assert_eq!(tree.edit_parent(base.as_ref(), deletes), expected);
    let Ok(parent) = expected else {
        let before = tree.clone();
        assert_eq!(
            tree.insert_edit(base.as_ref(), spelled(letter), deletes, 1),
            Err(Conflict)
        );
        assert_eq!(*tree, before);
        return;
    };
    let name = parent.as_ref().map_or_else(String::new, spelling) + letter;
    if name.len() > 12 {
        return;
    }
    let new = spelled(&name);
    let had_body = model.bodies.contains_key(&new);
    let inserted = tree
        .insert_edit(base.as_ref(), new.clone(), deletes, body_of(&new))
        .unwrap();
    assert_eq!(
        inserted,
        if had_body {
            Inserted::AlreadyPresent
        } else {
            Inserted::New
        }
    );
    let path: Vec<Revision> = std::iter::once(new.clone()).chain(parent).collect();
    model.add(&path, deletes, body_of(&new));
}

fn apply(tree: &mut RevTree, model: &mut Model, operation: &Operation) {
    match operation {
        Operation::Merge(name, ancestors) => {
            let before = model.clone();
            model.add(
                &spelled_path(name, *ancestors),
                name.ends_with('d'),
                body_of(&spelled(name)),
            );
            let merged = merge_spelled(tree, name, *ancestors);
            assert_eq!(merged.changed, *model != before);
            assert_eq!(
                merged.stores_body(),
                !before.bodies.contains_key(&spelled(name))
            );
            assert_eq!(
                merged.kind == MergeKind::AlreadyPresent,
                !merged.stores_body() && model.leaves().contains(&spelled(name))
            );
        }
        Operation::Edit(base, letter) => apply_edit(tree, model, *base, letter),
        Operation::Stem(limit) => assert_eq!(sorted(tree.stem(*limit)), sorted(model.stem(*limit))),
        Operation::Purge(indices) => {
            let revisions: Vec<Revision> =
                indices.iter().map(|index| pick(model, *index)).collect();
            let leaves = model.leaves();
            let removed = tree.remove_leaves(&revisions);
            let gone: BTreeSet<&Revision> = revisions
                .iter()
                .filter(|revision| leaves.contains(revision))
                .collect();
            assert_eq!(removed.revisions.iter().collect::<BTreeSet<_>>(), gone);
            assert_eq!(removed.revisions.len(), gone.len());
            assert_eq!(sorted(removed.bodies), sorted(model.purge(&revisions)));
        }
        Operation::Compact => assert_eq!(sorted(tree.compact()), sorted(model.compact())),
    }
}

fn assert_same(tree: &RevTree, model: &Model) {
    assert_sound(tree);
    assert_eq!(Model::of(tree), *model);
    let leaves = model.leaves();
    assert_eq!(
        tree.leaves().map(Node::revision).collect::<Vec<_>>(),
        leaves
    );
    assert_eq!(tree.winner().map(Node::revision), leaves.first().cloned());
    assert_eq!(
        tree.is_deleted(),
        !leaves.is_empty() && leaves.iter().all(|leaf| model.deleted(leaf))
    );
    for revision in model.parents.keys() {
        assert_eq!(
            tree.ancestors(revision)
                .map(Node::revision)
                .collect::<Vec<_>>(),
            model.path(revision)
        );
        assert_eq!(tree.is_leaf(revision), leaves.contains(revision));
        let under: Vec<Revision> = leaves
            .iter()
            .filter(|leaf| model.path(leaf).contains(revision))
            .cloned()
            .collect();
        assert_eq!(
            tree.leaves_under(revision)
                .into_iter()
                .map(Node::revision)
                .collect::<Vec<_>>(),
            under
        );
    }
}

/// Any ids on any path, most of which contradict each other.
fn any_path() -> impl Strategy<Value = (Vec<RevisionId>, u64, bool)> {
    let id = prop::sample::select(vec!["a", "b", "c", "00000000000000000000000000000000"]);
    let id = id.prop_map(|text| RevisionId::parse(text).unwrap());
    (
        prop::collection::vec(id, 1..6),
        prop_oneof![1_u64..8, Just((1 << 53) - 1)],
        any::<bool>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_behaves_as_the_naive_model(operations in prop::collection::vec(any_operation(), 0..40)) {
        let (mut tree, mut model) = (RevTree::new(), Model::default());
        for operation in &operations {
            apply(&mut tree, &mut model, operation);
            assert_same(&tree, &model);
        }
    }

    #[test]
    fn merging_in_any_order_and_any_number_of_times_gives_the_same_tree(
        paths in prop::collection::vec((any_name(), 0_usize..7), 0..20),
        order in any::<prop::sample::Index>(),
        repeated in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut one = RevTree::new();
        for (name, ancestors) in &paths {
            merge_spelled(&mut one, name, *ancestors);
        }
        let mut two = RevTree::new();
        let mut shuffled = paths.clone();
        shuffled.reverse();
        if !paths.is_empty() {
            shuffled.rotate_left(order.index(paths.len()));
            shuffled.extend(repeated.iter().map(|index| index.get(&paths).clone()));
        }
        for (name, ancestors) in &shuffled {
            merge_spelled(&mut two, name, *ancestors);
        }
        prop_assert_eq!(encoded(&one), encoded(&two));
        // Decoding in between changes nothing either.
        let mut three = RevTree::new();
        for (name, ancestors) in &shuffled {
            three = RevTree::decode(&encoded(&three)).unwrap();
            merge_spelled(&mut three, name, *ancestors);
        }
        prop_assert_eq!(encoded(&one), encoded(&three));
    }

    #[test]
    fn contradicting_histories_leave_a_sound_tree(
        paths in prop::collection::vec((any_path(), 0_usize..30), 0..30),
    ) {
        let mut tree = RevTree::new();
        for ((ids, start, deleted), limit) in paths {
            let bodies = tree.nodes.iter().filter(|node| node.body.is_some()).count();
            match tree.merge(&ids, start, deleted, 7) {
                Ok(merged) => {
                    let now = tree.nodes.iter().filter(|node| node.body.is_some()).count();
                    prop_assert_eq!(now, bodies + usize::from(merged.stores_body()));
                }
                Err(error) => {
                    prop_assert_eq!(error, MergeError::InvalidPath);
                    prop_assert!(ids.len() as u64 > start);
                }
            }
            assert_sound(&tree);
            let leaves: Vec<Revision> = tree.leaves().map(Node::revision).collect();
            tree.stem(limit);
            assert_sound(&tree);
            prop_assert_eq!(tree.leaves().map(Node::revision).collect::<Vec<_>>(), leaves);
        }
    }

    #[test]
    fn any_bytes_are_decoded_to_themselves_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        paths in prop::collection::vec((any_name(), 0_usize..7), 0..8),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let mut tree = RevTree::new();
        for (name, ancestors) in &paths {
            merge_spelled(&mut tree, name, *ancestors);
        }
        let mut damaged = encoded(&tree);
        for (place, byte) in changes {
            *place.get_mut(&mut damaged) = byte;
        }
        if let Some(cut) = cut {
            damaged.truncate(cut.index(damaged.len()));
        }
        let mut versioned = vec![1];
        versioned.extend(&bytes);
        for bytes in [bytes, versioned, damaged] {
            let head = WinnerHead::decode(&bytes);
            let Ok(mut tree) = RevTree::decode(&bytes) else { continue };
            prop_assert_eq!(encoded(&tree), bytes);
            prop_assert_eq!(head.ok().map(|head| head.revision), tree.winner().map(Node::revision));
            // Whatever it says, it can be worked with.
            merge_spelled(&mut tree, "abab", 2);
            tree.stem(2);
            tree.compact();
            prop_assert!(tree.leaf_count() > 0);
            let all: Vec<Revision> = tree.leaves().map(Node::revision).collect();
            prop_assert_eq!(tree.leaves_under(&all[0]).len(), 1);
            tree.remove_leaves(&all);
        }
    }
}

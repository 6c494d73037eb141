//! Notation for tests: trees written as text, and the check of what every tree promises.

use std::collections::BTreeSet;

use super::{Corrupt, MergeError, Merged, Node, RevTree, WinnerHead};
use crate::revision::{Revision, RevisionId};

pub(super) fn rev(text: &str) -> Revision {
    Revision::parse(text).unwrap()
}

/// The sequence of the body that comes with a revision: the same whenever it comes.
pub(super) fn body_of(revision: &Revision) -> u64 {
    revision
        .id
        .as_bytes()
        .iter()
        .fold(revision.generation % 1_000_003, |sum, byte| {
            (sum * 31 + u64::from(*byte)) % 1_000_003
        })
}

/// Merges a path such as `3-c 2-b 1-a`; `!` before it makes it a tombstone.
pub(super) fn merge(tree: &mut RevTree, path: &str) -> Result<Merged, MergeError> {
    let deleted = path.starts_with('!');
    let revisions: Vec<Revision> = path.trim_start_matches('!').split(' ').map(rev).collect();
    let ids: Vec<RevisionId> = revisions
        .iter()
        .map(|revision| revision.id.clone())
        .collect();
    tree.merge(
        &ids,
        revisions[0].generation,
        deleted,
        body_of(&revisions[0]),
    )
}

/// A tree of merged paths, such as `1-a, 2-b 1-a`.
pub(super) fn tree(paths: &str) -> RevTree {
    let mut tree = RevTree::new();
    for path in paths.split(", ").filter(|path| !path.is_empty()) {
        merge(&mut tree, path).unwrap();
    }
    tree
}

pub(super) fn revisions(names: &str) -> Vec<Revision> {
    names
        .split(", ")
        .filter(|name| !name.is_empty())
        .map(rev)
        .collect()
}

pub(super) fn names<'n>(nodes: impl IntoIterator<Item = &'n Node>) -> String {
    let names = nodes.into_iter().map(|node| node.revision().to_string());
    names.collect::<Vec<_>>().join(", ")
}

/// The leaves in rank order, each with its ancestors; `!` marks tombstones, `?` what has no body.
pub(super) fn show(tree: &RevTree) -> String {
    assert_sound(tree);
    let name = |node: &Node| {
        let mark = if node.is_deleted() { "!" } else { "" };
        let missing = if node.body().is_none() { "?" } else { "" };
        format!("{mark}{}{missing}", node.revision())
    };
    let path = |leaf: &Node| {
        tree.ancestors(&leaf.revision())
            .map(name)
            .collect::<Vec<_>>()
            .join(" ")
    };
    tree.leaves().map(path).collect::<Vec<_>>().join(", ")
}

pub(super) fn encoded(tree: &RevTree) -> Vec<u8> {
    let mut bytes = Vec::new();
    tree.encode(&mut bytes);
    bytes
}

/// Checks the invariants of the module's head, and that the stored form is faithful.
pub(super) fn assert_sound(tree: &RevTree) {
    let names: BTreeSet<_> = tree.nodes.iter().map(Node::revision).collect();
    assert_eq!(names.len(), tree.nodes.len(), "a revision stands twice");
    for node in &tree.nodes {
        if let Some(parent) = node.parent {
            assert_eq!(tree.nodes[parent as usize].generation + 1, node.generation);
        }
    }
    let parents: BTreeSet<u32> = tree.nodes.iter().filter_map(|node| node.parent).collect();
    let childless: BTreeSet<u32> = (0..)
        .take(tree.nodes.len())
        .filter(|index| !parents.contains(index))
        .collect();
    assert_eq!(
        tree.leaves.iter().copied().collect::<BTreeSet<_>>(),
        childless
    );
    assert_eq!(tree.leaves.len(), childless.len());
    assert!(tree.leaves.is_sorted_by(|a, b| {
        tree.nodes[*a as usize]
            .rank(&tree.nodes[*b as usize])
            .is_lt()
    }));

    let bytes = encoded(tree);
    let decoded = RevTree::decode(&bytes).unwrap();
    assert_eq!(encoded(&decoded), bytes);
    assert_eq!(decoded, *tree);
    let Some(winner) = tree.winner() else {
        assert_eq!(
            WinnerHead::decode(&bytes),
            Err(Corrupt::Damaged("it ends too early"))
        );
        return;
    };
    let head = WinnerHead {
        revision: winner.revision(),
        deleted: winner.is_deleted(),
        body: winner.body(),
        leaf_count: tree.leaf_count(),
        live_conflicts: tree.conflicts().next().is_some(),
    };
    assert_eq!(WinnerHead::decode(&bytes).unwrap(), head);
}

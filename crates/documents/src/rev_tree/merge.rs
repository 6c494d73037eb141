//! Replicated revisions: a path of ids, newest first, is laid over the tree, and whatever of it was
//! not there is added.
//!
//! Replication never conflicts and may repeat itself. Where path and tree share a revision they grow
//! together, also when the shared part is a root that had lost its ancestors, or when the path runs
//! through several trees that were separate until now. Where they share nothing, the path becomes a
//! tree of its own beside the others.

use super::{Lookup, MAX_LEAVES, MAX_REVISIONS, Node, RevTree};
use crate::revision::{GENERATION_END, RevisionId};

/// What a merge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// What became of the path's newest revision.
    pub kind: MergeKind,
    /// Whether the tree is another than before and has to be stored. True also for a known revision
    /// whose path brought ancestors that were not known.
    pub changed: bool,
}

impl Merged {
    /// Whether the body that came with the path has to be stored.
    #[must_use]
    pub fn stores_body(self) -> bool {
        match self.kind {
            MergeKind::NewLeaf | MergeKind::NewBranch | MergeKind::Restored => true,
            MergeKind::InternalNode | MergeKind::AlreadyPresent => false,
        }
    }
}

/// What became of the newest revision of a merged path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeKind {
    /// It continues what was a leaf, or is the first of the document.
    NewLeaf,
    /// It stands beside the leaves that were there: a conflict, unless one of them is deleted.
    NewBranch,
    /// It was known by name only, as an ancestor, and has its body now.
    Restored,
    /// It was there, and other revisions are based on it.
    InternalNode,
    /// It was there, as a leaf.
    AlreadyPresent,
}

/// Why a path was refused. The tree is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// No ids, more of them than generations, or a generation that no revision has.
    #[error("the list of revisions does not fit its start")]
    InvalidPath,
    /// One more leaf than [`MAX_LEAVES`].
    #[error("the document has too many conflicting revisions")]
    TooManyBranches,
    /// The tree or the path has more than [`MAX_REVISIONS`].
    #[error("the document has too many revisions")]
    TooManyRevisions,
}

impl RevTree {
    /// Merges the revision of generation `start` whose id and ancestors' ids are `path`, newest
    /// first, and whose body will be stored under the sequence `body`.
    pub fn merge(
        &mut self,
        path: &[RevisionId],
        start: u64,
        deleted: bool,
        body: u64,
    ) -> Result<Merged, MergeError> {
        let (newest, older) = path.split_first().ok_or(MergeError::InvalidPath)?;
        let length = u64::try_from(path.len()).map_err(|_| MergeError::InvalidPath)?;
        if length > start || start >= GENERATION_END {
            return Err(MergeError::InvalidPath);
        }
        if path.len() > MAX_REVISIONS {
            return Err(MergeError::TooManyRevisions);
        }
        let mut lookup = Lookup::over(self);
        if let Some(present) = lookup.find(self, start, newest) {
            return Ok(self.merge_present(present, older, deleted, body, &mut lookup));
        }
        if self.nodes.len() >= MAX_REVISIONS {
            return Err(MergeError::TooManyRevisions);
        }
        if self.leaves.len() >= MAX_LEAVES && !self.continues_leaf(older, start, &mut lookup) {
            return Err(MergeError::TooManyBranches);
        }
        let first = self.is_empty();
        let node = Node {
            generation: start,
            id: newest.clone(),
            parent: None,
            deleted,
            body: Some(body),
        };
        let index = self.push(node);
        let grown = self.grow_ancestors(index, older, &mut lookup);
        self.add_leaf(index);
        let kind = if first || grown.from_leaf {
            MergeKind::NewLeaf
        } else {
            MergeKind::NewBranch
        };
        Ok(Merged {
            kind,
            changed: true,
        })
    }

    fn merge_present(
        &mut self,
        present: u32,
        older: &[RevisionId],
        deleted: bool,
        body: u64,
        lookup: &mut Lookup,
    ) -> Merged {
        let grown = self.grow_ancestors(present, older, lookup);
        if self
            .at_mut(present)
            .is_some_and(|node| node.restore(deleted, body))
        {
            self.rank_again(present);
            return Merged {
                kind: MergeKind::Restored,
                changed: true,
            };
        }
        let kind = if self.leaves.contains(&present) {
            MergeKind::AlreadyPresent
        } else {
            MergeKind::InternalNode
        };
        Merged {
            kind,
            changed: grown.changed,
        }
    }

    /// Whether the nearest known ancestor in `older`, the path below generation `start`, is a leaf.
    fn continues_leaf(&self, older: &[RevisionId], start: u64, lookup: &mut Lookup) -> bool {
        let generations = (1..start).rev();
        let nearest = older
            .iter()
            .zip(generations)
            .find_map(|(id, generation)| lookup.find(self, generation, id));
        nearest.is_some_and(|index| self.leaves.contains(&index))
    }

    /// Makes `older`, newest first, the ancestors of the node `child`, as far as they do not
    /// contradict those it has.
    fn grow_ancestors(
        &mut self,
        mut child: u32,
        older: &[RevisionId],
        lookup: &mut Lookup,
    ) -> Grown {
        let mut extended = Vec::new();
        let mut changed = false;
        for id in older {
            let Some(node) = self.at(child) else { break };
            if let Some(parent) = node.parent {
                if self.at(parent).is_none_or(|node| node.id != *id) {
                    break;
                }
                child = parent;
                continue;
            }
            let Some(generation) = node.generation.checked_sub(1) else {
                break;
            };
            let parent = match lookup.find(self, generation, id) {
                Some(known) => {
                    extended.push(known);
                    known
                }
                None => self.push_missing(generation, id.clone()),
            };
            if let Some(node) = self.at_mut(child) {
                node.parent = Some(parent);
            }
            changed = true;
            child = parent;
        }
        let from_leaf = extended
            .first()
            .is_some_and(|nearest| self.leaves.contains(nearest));
        if !extended.is_empty() {
            extended.sort_unstable();
            self.leaves
                .retain(|leaf| extended.binary_search(leaf).is_err());
        }
        Grown { from_leaf, changed }
    }

    /// Puts a node whose tombstone mark may have changed back to its rank, if it is a leaf.
    pub(super) fn rank_again(&mut self, index: u32) {
        if self.leaves.contains(&index) {
            self.remove_leaf(index);
            self.add_leaf(index);
        }
    }
}

/// What laying a path over the tree found.
struct Grown {
    /// The first known ancestor that got a new child was a leaf.
    from_leaf: bool,
    /// A node got a parent.
    changed: bool,
}

impl Node {
    /// Gives a node known by name only its body; false when it has one.
    pub(super) fn restore(&mut self, deleted: bool, body: u64) -> bool {
        if self.body.is_some() {
            return false;
        }
        self.deleted = deleted;
        self.body = Some(body);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::notation::{assert_sound, merge, show, tree};
    use super::*;

    fn check_merge(before: &str, path: &str, kind: MergeKind, changed: bool, after: &str) {
        let mut tree = tree(before);
        let old = tree.clone();
        assert_eq!(
            merge(&mut tree, path),
            Ok(Merged { kind, changed }),
            "{before:?} with {path}"
        );
        assert_eq!(show(&tree), after, "{before:?} with {path}");
        assert_eq!(tree != old, changed);
        assert!(
            !merge(&mut tree, path).unwrap().changed,
            "a repetition changes something"
        );
        assert_eq!(show(&tree), after);
    }

    #[test]
    fn a_path_extends_a_leaf_or_makes_a_branch() {
        use MergeKind::{AlreadyPresent, InternalNode, NewBranch, NewLeaf};
        check_merge("", "1-a", NewLeaf, true, "1-a");
        check_merge("", "3-c 2-b", NewLeaf, true, "3-c 2-b?");
        check_merge("1-a", "1-a", AlreadyPresent, false, "1-a");
        check_merge("1-a, 1-b", "1-a", AlreadyPresent, false, "1-b, 1-a");
        check_merge("1-a, 1-b", "1-c", NewBranch, true, "1-c, 1-b, 1-a");
        check_merge("1-a", "2-b 1-a", NewLeaf, true, "2-b 1-a");
        check_merge("1-a", "4-d 3-c 2-b 1-a", NewLeaf, true, "4-d 3-c? 2-b? 1-a");
        check_merge(
            "1-a, 2-b 1-a",
            "2-c 1-a",
            NewBranch,
            true,
            "2-c 1-a, 2-b 1-a",
        );
        check_merge("1-a, 2-b 1-a", "1-a", InternalNode, false, "2-b 1-a");
        check_merge(
            "1-a, 2-b 1-a, 2-c 1-a",
            "3-d 2-b 1-a",
            NewLeaf,
            true,
            "3-d 2-b 1-a, 2-c 1-a",
        );
        check_merge(
            "3-c 2-b 1-a",
            "3-c 2-b 1-a",
            AlreadyPresent,
            false,
            "3-c 2-b? 1-a?",
        );
    }

    #[test]
    fn an_ancestor_known_by_name_gets_its_body() {
        use MergeKind::{AlreadyPresent, InternalNode, Restored};
        check_merge("3-c 2-b 1-a", "2-b 1-a", Restored, true, "3-c 2-b 1-a?");
        check_merge("3-c 2-b 1-a", "!2-b 1-a", Restored, true, "3-c !2-b 1-a?");
        check_merge(
            "3-c 2-b 1-a, 1-a",
            "1-a",
            InternalNode,
            false,
            "3-c 2-b? 1-a",
        );
        // A leaf without a body comes from no merge. Should one be stored, its rank follows its mark.
        let mut tree = RevTree::new();
        for (index, id) in ["b", "a"].into_iter().enumerate() {
            tree.push_missing(1, RevisionId::parse(id).unwrap());
            tree.add_leaf(u32::try_from(index).unwrap());
        }
        assert_eq!(show(&tree), "1-b?, 1-a?");
        assert_eq!(merge(&mut tree, "!1-b").unwrap().kind, Restored);
        assert_eq!(show(&tree), "1-a?, !1-b");
        assert_eq!(
            merge(&mut tree, "1-b").unwrap(),
            Merged {
                kind: AlreadyPresent,
                changed: false
            }
        );
    }

    #[test]
    fn stemmed_histories_grow_together_where_they_overlap() {
        use MergeKind::{AlreadyPresent, InternalNode, NewBranch, NewLeaf};
        let long = "1-a, 2-b 1-a, 2-c 1-a, 3-d 2-c 1-a";
        check_merge(long, "2-b", AlreadyPresent, false, "3-d 2-c 1-a, 2-b 1-a");
        check_merge(long, "3-d", AlreadyPresent, false, "3-d 2-c 1-a, 2-b 1-a");
        check_merge(long, "2-c", InternalNode, false, "3-d 2-c 1-a, 2-b 1-a");
        check_merge(long, "4-e 3-d", NewLeaf, true, "4-e 3-d 2-c 1-a, 2-b 1-a");
        check_merge(
            long,
            "4-e 3-f 2-b",
            NewLeaf,
            true,
            "4-e 3-f? 2-b 1-a, 3-d 2-c 1-a",
        );
        // No common revision: a tree beside the first.
        check_merge("2-b 1-a", "3-c", NewBranch, true, "3-c, 2-b 1-a?");
        check_merge("3-c", "1-a", NewBranch, true, "3-c, 1-a");
        // The ancestors come later: of a leaf, of an inner revision, with a new branch.
        check_merge("3-c", "3-c 2-b 1-a", AlreadyPresent, true, "3-c 2-b? 1-a?");
        check_merge(
            "4-d 3-c",
            "3-c 2-b",
            MergeKind::Restored,
            true,
            "4-d 3-c 2-b?",
        );
        check_merge(
            "3-c, 4-d 3-c",
            "3-c 2-b",
            InternalNode,
            true,
            "4-d 3-c 2-b?",
        );
        check_merge(
            "4-d 3-c",
            "4-e 3-c 2-b",
            NewBranch,
            true,
            "4-e 3-c? 2-b?, 4-d 3-c? 2-b?",
        );
        // Trees that were separate become one.
        check_merge(
            "1-a, 2-b 1-a, 3-c",
            "3-c 2-b 1-a",
            AlreadyPresent,
            true,
            "3-c 2-b 1-a",
        );
        check_merge(
            "1-a, 3-c",
            "4-d 3-c 2-b 1-a",
            NewLeaf,
            true,
            "4-d 3-c 2-b? 1-a",
        );
        check_merge(
            "1-a, 2-x 1-a, 3-c",
            "3-c 2-b 1-a",
            AlreadyPresent,
            true,
            "3-c 2-b? 1-a, 2-x 1-a",
        );
        check_merge(
            "1-a, 3-c, 5-e",
            "5-e 4-d 3-c 2-b 1-a",
            AlreadyPresent,
            true,
            "5-e 4-d? 3-c 2-b? 1-a",
        );
    }

    #[test]
    fn the_older_part_of_a_contradicting_path_is_ignored() {
        use MergeKind::{AlreadyPresent, NewLeaf};
        check_merge("2-b 1-a", "2-b 1-x", AlreadyPresent, false, "2-b 1-a?");
        check_merge("2-b 1-a", "3-c 2-b 1-x", NewLeaf, true, "3-c 2-b 1-a?");
        check_merge(
            "2-b 1-a, 1-x",
            "3-c 2-b 1-x",
            NewLeaf,
            true,
            "3-c 2-b 1-a?, 1-x",
        );
    }

    #[test]
    fn impossible_and_excessive_paths_are_refused_and_change_nothing() {
        let ids = |count: usize| vec![RevisionId::parse("a").unwrap(); count];
        let before = tree("2-b 1-a");
        let check = |path: &[RevisionId], start, error| {
            let mut tree = before.clone();
            assert_eq!(tree.merge(path, start, false, 7), Err(error));
            assert_eq!(tree, before);
        };
        check(&[], 1, MergeError::InvalidPath);
        check(&ids(1), 0, MergeError::InvalidPath);
        check(&ids(3), 2, MergeError::InvalidPath);
        check(&ids(3), GENERATION_END, MergeError::InvalidPath);
        check(&ids(3), u64::MAX, MergeError::InvalidPath);
        check(
            &ids(MAX_REVISIONS + 1),
            1 << 40,
            MergeError::TooManyRevisions,
        );
        let mut tree = before.clone();
        let merged = tree.merge(&ids(3), GENERATION_END - 1, false, 7);
        assert_eq!(merged.unwrap().kind, MergeKind::NewBranch);
        assert_sound(&tree);
    }

    #[test]
    fn leaves_and_revisions_are_bounded() {
        let id = |number: usize| RevisionId::parse(&format!("x{number}")).unwrap();
        let mut tree = RevTree::new();
        for number in 0..MAX_LEAVES {
            tree.merge(&[id(number)], 1, false, 1).unwrap();
        }
        let full = tree.clone();
        assert_eq!(
            tree.merge(&[id(MAX_LEAVES)], 1, false, 1),
            Err(MergeError::TooManyBranches)
        );
        assert_eq!(
            tree.merge(&[id(1), id(MAX_LEAVES)], 2, false, 1),
            Err(MergeError::TooManyBranches)
        );
        assert_eq!(tree, full);
        assert_eq!(
            tree.merge(&[id(7)], 1, false, 1).unwrap().kind,
            MergeKind::AlreadyPresent
        );
        assert_eq!(
            tree.merge(&[id(0), id(1), id(7)], 3, false, 1)
                .unwrap()
                .kind,
            MergeKind::NewLeaf
        );
        assert_eq!(tree.leaf_count(), MAX_LEAVES);
        assert_sound(&tree);

        let mut tree = RevTree::new();
        let path: Vec<RevisionId> = (0..MAX_REVISIONS).map(id).collect();
        tree.merge(&path, 1_000_000, false, 1).unwrap();
        assert_eq!(
            tree.merge(&path[1..], 999_999, false, 2).unwrap().kind,
            MergeKind::Restored
        );
        assert_eq!(
            tree.merge(&path[..1], 1_000_001, false, 2),
            Err(MergeError::TooManyRevisions)
        );
        assert_eq!(tree.stem(1_000), [0; 0]);
        assert_eq!(tree.len(), 1_000);
        assert!(tree.merge(&path[..1], 1_000_001, false, 2).is_ok());
        assert_sound(&tree);
    }

    #[test]
    fn a_long_unknown_path_is_found_through_the_index() {
        let id = |number: usize| RevisionId::parse(&format!("x{number}")).unwrap();
        let mut tree = RevTree::new();
        let old: Vec<RevisionId> = (0..500).map(id).collect();
        tree.merge(&old, 1_000, false, 1).unwrap();
        // Five hundred unknown revisions on top of a known inner one.
        let new: Vec<RevisionId> = (1_000..1_500)
            .map(id)
            .chain(old[100..].iter().cloned())
            .collect();
        assert_eq!(
            tree.merge(&new, 1_400, false, 2).unwrap().kind,
            MergeKind::NewBranch
        );
        assert_eq!(tree.len(), 1_000);
        let winner = tree.winner().unwrap().revision();
        assert_eq!(winner.generation, 1_400);
        assert_eq!(tree.ancestors(&winner).count(), 900);
        assert_sound(&tree);
    }
}

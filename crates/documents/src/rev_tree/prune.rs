//! What makes a tree smaller: stemming, purging, and dropping the bodies of superseded revisions.
//!
//! Each says which bodies nobody can ask for any more, as the sequences they are stored under, so
//! that the caller deletes them in the same commit. No leaf is ever lost but to a purge.

use super::{Lookup, RevTree};
use crate::revision::Revision;

/// What a purge took out of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// The leaves that were named and are gone, in the order they were named.
    pub revisions: Vec<Revision>,
    /// The sequences of the bodies that went with them and with their ancestors.
    pub bodies: Vec<u64>,
}

impl RevTree {
    /// Forgets every revision that is `limit` or more generations above all leaves based on it, so
    /// that each leaf keeps a path of at most `limit` revisions, or a longer one that it shares with
    /// a lower leaf. A limit of zero counts as one. Returns the sequences of the bodies dropped.
    pub fn stem(&mut self, limit: usize) -> Vec<u64> {
        if self.nodes.len() <= limit {
            return Vec::new();
        }
        let mut keep = vec![false; self.nodes.len()];
        // From the lowest leaf up: who comes first to a node comes from the nearest leaf, so nobody
        // has to walk on from there again.
        let mut leaves = self.leaves.clone();
        leaves.sort_by_key(|&leaf| self.at(leaf).map(|node| node.generation));
        for leaf in leaves {
            self.keep_path(leaf, limit.max(1), &mut keep);
        }
        self.retain(&keep)
    }

    /// Purges the leaves named in `revisions`, with all ancestors that then lead to no leaf. Inner
    /// and unknown revisions are passed over.
    pub fn remove_leaves(&mut self, revisions: &[Revision]) -> Removed {
        let mut removed = Removed::default();
        let mut lookup = Lookup::over(self);
        let mut leaf_stays = self.marked_leaves();
        for revision in revisions {
            let Some(index) = lookup.find(self, revision.generation, &revision.id) else {
                continue;
            };
            if let Some(stays @ true) = leaf_stays.get_mut(index as usize) {
                *stays = false;
                removed.revisions.push(revision.clone());
            }
        }
        if removed.revisions.is_empty() {
            return removed;
        }
        let mut keep = vec![false; self.nodes.len()];
        for &leaf in self
            .leaves
            .iter()
            .filter(|&&leaf| leaf_stays.get(leaf as usize) == Some(&true))
        {
            self.keep_path(leaf, usize::MAX, &mut keep);
        }
        removed.bodies = self.retain(&keep);
        removed
    }

    /// Drops the bodies of all revisions that others are based on, and returns their sequences. The
    /// revisions stay, as missing.
    pub fn compact(&mut self) -> Vec<u64> {
        if self.nodes.len() == self.leaves.len() {
            return Vec::new();
        }
        let is_leaf = self.marked_leaves();
        let mut dropped = Vec::new();
        for (node, _) in self
            .nodes
            .iter_mut()
            .zip(is_leaf)
            .filter(|(_, is_leaf)| !is_leaf)
        {
            // A missing revision is not known to be a tombstone either.
            node.deleted = false;
            dropped.extend(node.body.take());
        }
        dropped
    }

    /// Takes the bodies written under `sequences` for missing, as after a compaction; a tombstone that
    /// is a leaf has the body written under `instead` then.
    pub fn forget_bodies(&mut self, sequences: &[u64], instead: u64) {
        let is_leaf = self.marked_leaves();
        for (node, is_leaf) in self.nodes.iter_mut().zip(is_leaf) {
            if node.body.is_some_and(|body| sequences.contains(&body)) {
                node.body = (is_leaf && node.deleted).then_some(instead);
            }
        }
    }

    /// For each node, whether it is a leaf.
    fn marked_leaves(&self) -> Vec<bool> {
        let mut marks = vec![false; self.nodes.len()];
        for &leaf in &self.leaves {
            if let Some(mark) = marks.get_mut(leaf as usize) {
                *mark = true;
            }
        }
        marks
    }

    /// Marks at most `length` nodes from `leaf` down to its root, up to the first one marked before.
    fn keep_path(&self, leaf: u32, length: usize, keep: &mut [bool]) {
        let mut current = Some(leaf);
        for _ in 0..length {
            let Some(index) = current else { return };
            let Some(kept @ false) = keep.get_mut(index as usize) else {
                return;
            };
            *kept = true;
            current = self.at(index).and_then(|node| node.parent);
        }
    }

    /// Removes all nodes that are not marked, and returns the sequences of their bodies.
    fn retain(&mut self, keep: &[bool]) -> Vec<u64> {
        if keep.iter().all(|kept| *kept) {
            return Vec::new();
        }
        // Where each node goes; `None` for those that go away.
        let mut next = 0_u32;
        let moved: Vec<Option<u32>> = keep
            .iter()
            .map(|kept| {
                let place = kept.then_some(next);
                next += u32::from(*kept);
                place
            })
            .collect();
        let place = |index: u32| moved.get(index as usize).copied().flatten();
        let mut dropped = Vec::new();
        let mut marks = keep.iter();
        self.nodes.retain_mut(|node| {
            let kept = marks.next().is_some_and(|kept| *kept);
            if kept {
                node.parent = node.parent.and_then(place);
            } else {
                dropped.extend(node.body);
            }
            kept
        });
        self.leaves = self.leaves.iter().copied().filter_map(place).collect();
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::super::notation::{body_of, revisions, show, tree};

    fn assert_bodies(mut dropped: Vec<u64>, names: &str) {
        let mut expected: Vec<u64> = revisions(names).iter().map(body_of).collect();
        dropped.sort_unstable();
        expected.sort_unstable();
        assert_eq!(dropped, expected, "the bodies of {names}");
    }

    #[test]
    fn stemming_keeps_the_newest_of_each_path() {
        let check = |paths: &str, limit: usize, after: &str, dropped: &str| {
            let mut tree = tree(paths);
            assert_bodies(tree.stem(limit), dropped);
            assert_eq!(show(&tree), after, "{paths} to {limit}");
            assert_bodies(tree.stem(limit), "");
        };
        let chain = "1-a, 2-b 1-a, 3-c 2-b 1-a";
        check("", 1, "", "");
        check(chain, 1_000, "3-c 2-b 1-a", "");
        check(chain, 3, "3-c 2-b 1-a", "");
        check(chain, 2, "3-c 2-b", "1-a");
        check(chain, 1, "3-c", "1-a, 2-b");
        check(chain, 0, "3-c", "1-a, 2-b");
        // A low leaf keeps the trunk for a high one.
        let fork = "1-a, 2-b 1-a, 3-c 2-b 1-a, 4-d 3-c 2-b 1-a, 2-x 1-a";
        check(fork, 2, "4-d 3-c, 2-x 1-a", "2-b");
        check(fork, 3, "4-d 3-c 2-b 1-a, 2-x 1-a", "");
        check(fork, 1, "4-d, 2-x", "1-a, 2-b, 3-c");
        check("5-e 4-d, 2-b 1-a", 1, "5-e, 2-b", "");
    }

    #[test]
    fn purging_takes_a_leaf_and_what_only_led_to_it() {
        let check = |paths: &str, purged: &str, removed: &str, after: &str, dropped: &str| {
            let mut tree = tree(paths);
            let result = tree.remove_leaves(&revisions(purged));
            assert_eq!(result.revisions, revisions(removed), "{purged} of {paths}");
            assert_bodies(result.bodies, dropped);
            assert_eq!(show(&tree), after);
        };
        let fork = "1-a, 2-b 1-a, 3-c 2-b 1-a, 2-x 1-a";
        let whole = "3-c 2-b 1-a, 2-x 1-a";
        check(fork, "", "", whole, "");
        check(fork, "2-b", "", whole, "");
        check(fork, "9-z", "", whole, "");
        check(fork, "3-c", "3-c", "2-x 1-a", "3-c, 2-b");
        check(fork, "3-c, 2-b, 3-c", "3-c", "2-x 1-a", "3-c, 2-b");
        check(fork, "2-x", "2-x", "3-c 2-b 1-a", "2-x");
        check(fork, "2-x, 3-c", "2-x, 3-c", "", "2-x, 3-c, 2-b, 1-a");
        check("3-c 2-b", "3-c", "3-c", "", "3-c");
        check("", "1-a", "", "", "");
    }

    #[test]
    fn compaction_drops_the_bodies_of_inner_revisions() {
        let mut tree = tree("1-a, 2-b 1-a, !3-c 2-b 1-a, 4-d 3-c 2-b 1-a, 2-x 1-a");
        assert_bodies(tree.compact(), "1-a, 2-b, 3-c");
        assert_eq!(show(&tree), "4-d 3-c? 2-b? 1-a?, 2-x 1-a?");
        assert_bodies(tree.compact(), "");
    }
}

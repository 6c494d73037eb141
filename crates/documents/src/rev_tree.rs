//! The revision tree of a document: every edit that is still remembered, and which of them wins.
//!
//! Without replication a document's edits form a chain, each based on the one before. Replicas that
//! were edited apart bring their own continuations, so the chain grows branches, as in CouchDB's
//! `couch_key_tree`. The tips are the *leaves*: one is the winner that readers see, the other live ones are
//! conflicts. A tree may have several roots, since old ancestors are cut off (*stemming*) and a
//! replica may know only the newest part of a history. The tree is the value stored for each
//! document, decoded, changed and encoded at every write, so it is a flat list of nodes.
//!
//! Invariants:
//!
//! - A revision, that is a generation with an id, stands in a tree at most once.
//! - The parent of a node has the generation just below its own, so that a path always ends.
//! - `leaves` holds exactly the nodes that are nobody's parent, in rank order, the winner first.
//! - The first parent that a revision was seen with stays. An id is a hash over its parent, so only a
//!   forged history says otherwise; of such a path the older part, past the contradiction, is ignored.
//!
//! Merging the same paths in any order gives the same tree, and equal trees encode equally.

use std::cmp::Ordering;

use crate::revision::{Revision, RevisionId};

mod codec;
mod edit;
mod merge;
#[cfg(test)]
mod model;
#[cfg(test)]
mod notation;
mod prune;

pub use codec::{Corrupt, WinnerHead};
pub use edit::{Conflict, Inserted};
pub use merge::{MergeError, MergeKind, Merged};
pub use prune::Removed;

/// How many leaves a tree may have: a merge that would add one more is refused.
pub const MAX_LEAVES: usize = 4_096;

/// How many revisions a tree, or one merged path, may have: beyond it a merge that adds one is refused.
/// A thousand generations on a hundred unrelated branches fit.
pub const MAX_REVISIONS: usize = 131_072;

/// A revision in a tree.
#[derive(Debug, Clone)]
pub struct Node {
    generation: u64,
    id: RevisionId,
    parent: Option<u32>,
    deleted: bool,
    body: Option<u64>,
}

impl Node {
    /// The revision's name.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision {
            generation: self.generation,
            id: self.id.clone(),
        }
    }

    /// The number of edits that led here, this one included.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The id within the generation.
    #[must_use]
    pub fn id(&self) -> &RevisionId {
        &self.id
    }

    /// Whether the revision is a tombstone. Unknown, and false, while its body was never seen.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// The sequence under which the revision's body is stored; `None` when it is not here, because
    /// only the revision's name was ever replicated, or because of a compaction.
    #[must_use]
    pub fn body(&self) -> Option<u64> {
        self.body
    }

    fn is(&self, generation: u64, id: &RevisionId) -> bool {
        self.generation == generation && self.id == *id
    }

    /// `Less` when `self` stands before `other` among the leaves: live before deleted, then the
    /// higher generation, then the greater id.
    fn rank(&self, other: &Self) -> Ordering {
        self.deleted
            .cmp(&other.deleted)
            .then_with(|| other.generation.cmp(&self.generation))
            .then_with(|| other.id.cmp(&self.id))
    }
}

/// The remembered revisions of one document. See the [module](self) for what it promises.
///
/// ```
/// use adea_documents::rev_tree::RevTree;
/// use adea_documents::revision::Revision;
///
/// let revision = |text| Revision::parse(text).unwrap();
/// let mut tree = RevTree::new();
/// // A first edit here, stored under the sequence 1, and a replica's edit of it.
/// tree.insert_edit(None, revision("1-a"), false, 1).unwrap();
/// tree.merge(&[revision("2-b").id, revision("1-a").id], 2, false, 2).unwrap();
/// assert_eq!(tree.winner().unwrap().revision(), revision("2-b"));
/// // Who still holds the first revision has to read again.
/// assert!(tree.edit_parent(Some(&revision("1-a")), false).is_err());
/// ```
#[derive(Debug, Clone, Default)]
pub struct RevTree {
    nodes: Vec<Node>,
    leaves: Vec<u32>,
}

impl RevTree {
    /// The tree of a document that does not exist.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether no revision is known: the document never existed, or was purged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many revisions are known, those without a body included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// All revisions, in no order that means anything.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// The leaf that readers see.
    #[must_use]
    pub fn winner(&self) -> Option<&Node> {
        self.leaves().next()
    }

    /// Whether the document is deleted, which it is when all its leaves are.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.winner().is_some_and(Node::is_deleted)
    }

    /// The leaves in rank order, the winner first: live before deleted, then by descending
    /// generation, then by descending id.
    #[must_use]
    pub fn leaves(&self) -> impl DoubleEndedIterator<Item = &Node> + Clone {
        self.leaves.iter().filter_map(|&leaf| self.at(leaf))
    }

    /// How many leaves there are.
    #[must_use]
    pub fn leaf_count(&self) -> usize {
        self.leaves.len()
    }

    /// The live leaves that lost, in rank order.
    pub fn conflicts(&self) -> impl Iterator<Item = &Node> + Clone {
        self.leaves().skip(1).filter(|leaf| !leaf.deleted)
    }

    /// The deleted leaves that lost, in rank order.
    pub fn deleted_conflicts(&self) -> impl Iterator<Item = &Node> + Clone {
        self.leaves().skip(1).filter(|leaf| leaf.deleted)
    }

    /// The node of a revision.
    #[must_use]
    pub fn find(&self, revision: &Revision) -> Option<&Node> {
        self.at(self.position(revision)?)
    }

    /// Whether a revision is known and nothing is based on it.
    #[must_use]
    pub fn is_leaf(&self, revision: &Revision) -> bool {
        self.leaf_position(revision).is_some()
    }

    /// A revision and its ancestors, newest first; nothing when the revision is unknown.
    #[must_use]
    pub fn ancestors(&self, revision: &Revision) -> Ancestors<'_> {
        Ancestors {
            tree: self,
            next: self.position(revision),
        }
    }

    /// The leaves that descend from a revision, in rank order; the revision itself when it is a
    /// leaf, nothing when it is unknown.
    #[must_use]
    pub fn leaves_under(&self, revision: &Revision) -> Vec<&Node> {
        let Some(top) = self.position(revision) else {
            return Vec::new();
        };
        // What is known of a node: whether it descends from `top`. Each node is asked once.
        let mut under = vec![None; self.nodes.len()];
        if let Some(known) = under.get_mut(top as usize) {
            *known = Some(true);
        }
        let mut walked = Vec::new();
        let descends = |leaf: &u32| {
            let mut current = Some(*leaf);
            let mut answer = false;
            while let Some(index) = current {
                if let Some(Some(known)) = under.get(index as usize) {
                    answer = *known;
                    break;
                }
                walked.push(index);
                // A node that is not above the generation of `top` cannot descend from it.
                current = self
                    .at(index)
                    .filter(|node| node.generation > revision.generation)
                    .and_then(|node| node.parent);
            }
            for index in walked.drain(..) {
                if let Some(known) = under.get_mut(index as usize) {
                    *known = Some(answer);
                }
            }
            answer
        };
        let indices: Vec<u32> = self.leaves.iter().copied().filter(descends).collect();
        indices
            .into_iter()
            .filter_map(|leaf| self.at(leaf))
            .collect()
    }

    /// Those of `revisions` that this tree does not know, in the order given. An ancestor known by
    /// name only counts as known: nobody needs to send it again.
    pub fn missing<'r>(
        &self,
        revisions: impl IntoIterator<Item = &'r Revision>,
    ) -> Vec<&'r Revision> {
        let mut lookup = Lookup::over(self);
        revisions
            .into_iter()
            .filter(|revision| {
                lookup
                    .find(self, revision.generation, &revision.id)
                    .is_none()
            })
            .collect()
    }

    /// The first revision of a path whose body is here: `path` is ids from the newest down, of which
    /// the first has generation `start`.
    #[must_use]
    pub fn nearest_with_body(&self, start: u64, path: &[RevisionId]) -> Option<&Node> {
        let mut lookup = Lookup::over(self);
        path.iter().zip(0_u64..).find_map(|(id, back)| {
            let found = lookup.find(self, start.checked_sub(back)?, id)?;
            self.at(found).filter(|node| node.body.is_some())
        })
    }

    /// The leaves that revisions missing here may be based on: those of a lower generation than the
    /// newest of them, in rank order. For `_revs_diff`.
    pub fn possible_ancestors<'r>(
        &self,
        missing: impl IntoIterator<Item = &'r Revision>,
    ) -> Vec<&Node> {
        let newest = missing
            .into_iter()
            .map(|revision| revision.generation)
            .max()
            .unwrap_or(0);
        self.leaves()
            .filter(|leaf| leaf.generation < newest)
            .collect()
    }

    fn at(&self, index: u32) -> Option<&Node> {
        self.nodes.get(index as usize)
    }

    fn at_mut(&mut self, index: u32) -> Option<&mut Node> {
        self.nodes.get_mut(index as usize)
    }

    fn position(&self, revision: &Revision) -> Option<u32> {
        let position = self
            .nodes
            .iter()
            .position(|node| node.is(revision.generation, &revision.id))?;
        u32::try_from(position).ok()
    }

    fn leaf_position(&self, revision: &Revision) -> Option<u32> {
        let is_it = |leaf: &u32| {
            self.at(*leaf)
                .is_some_and(|node| node.is(revision.generation, &revision.id))
        };
        self.leaves.iter().copied().find(is_it)
    }

    /// Appends a node and returns its index.
    fn push(&mut self, node: Node) -> u32 {
        // A tree of four billion revisions does not fit into memory.
        let index = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push(node);
        index
    }

    /// Appends a node known by name only.
    fn push_missing(&mut self, generation: u64, id: RevisionId) -> u32 {
        self.push(Node {
            generation,
            id,
            parent: None,
            deleted: false,
            body: None,
        })
    }

    /// Puts a node among the leaves, at its rank.
    fn add_leaf(&mut self, index: u32) {
        let Some(node) = self.at(index) else { return };
        let place = self
            .leaves
            .partition_point(|&leaf| self.at(leaf).is_some_and(|leaf| leaf.rank(node).is_lt()));
        self.leaves.insert(place, index);
    }

    fn remove_leaf(&mut self, index: u32) {
        self.leaves.retain(|&leaf| leaf != index);
    }
}

/// Two trees are equal when they hold the same revisions, in whatever order they came.
impl PartialEq for RevTree {
    fn eq(&self, other: &Self) -> bool {
        if self.nodes.len() != other.nodes.len() || self.leaves.len() != other.leaves.len() {
            return false;
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        self.encode(&mut ours);
        other.encode(&mut theirs);
        ours == theirs
    }
}

impl Eq for RevTree {}

/// A revision and its ancestors, newest first. Made by [`RevTree::ancestors`].
#[derive(Debug, Clone)]
pub struct Ancestors<'t> {
    tree: &'t RevTree,
    next: Option<u32>,
}

impl<'t> Iterator for Ancestors<'t> {
    type Item = &'t Node;

    fn next(&mut self) -> Option<&'t Node> {
        let node = self.tree.at(self.next?)?;
        self.next = node.parent;
        Some(node)
    }
}

/// Finds revisions among the nodes that a tree had when the lookup was made: by scanning, which is
/// best for the few questions and few nodes of nearly every document, and in a sorted index once so
/// much was scanned that the index would have been cheaper.
struct Lookup {
    known: usize,
    scans_left: usize,
    sorted: Vec<u32>,
}

impl Lookup {
    fn over(tree: &RevTree) -> Self {
        Self {
            known: tree.nodes.len(),
            scans_left: 16,
            sorted: Vec::new(),
        }
    }

    fn find(&mut self, tree: &RevTree, generation: u64, id: &RevisionId) -> Option<u32> {
        if self.scans_left == 0 && self.known > 16 {
            return self.search(tree, generation, id);
        }
        self.scans_left = self.scans_left.saturating_sub(1);
        let position = tree
            .nodes
            .iter()
            .take(self.known)
            .position(|node| node.is(generation, id))?;
        u32::try_from(position).ok()
    }

    fn search(&mut self, tree: &RevTree, generation: u64, id: &RevisionId) -> Option<u32> {
        let key = |index: &u32| tree.at(*index).map(|node| (node.generation, &node.id));
        if self.sorted.is_empty() {
            self.sorted = (0_u32..).take(self.known).collect();
            self.sorted.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        }
        let place = self
            .sorted
            .binary_search_by(|index| key(index).cmp(&Some((generation, id))))
            .ok()?;
        self.sorted.get(place).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::notation::{body_of, names, rev, revisions, tree};
    use super::*;

    #[test]
    fn the_winner_is_live_then_newest_then_greatest() {
        let check = |paths, ranked| assert_eq!(names(tree(paths).leaves()), ranked);
        check("", "");
        check("1-a, 1-b", "1-b, 1-a");
        check("2-a, 1-b", "2-a, 1-b");
        check("!9-z, 1-a", "1-a, 9-z");
        check("!9-z, !9-y, !10-a", "10-a, 9-z, 9-y");
        // Ids are bytes, not numbers and not text in some language.
        check("1-Z, 1-a, 1-10, 1-9", "1-a, 1-Z, 1-9, 1-10");
        let (low, high) = (
            "1-00000000000000000000000000000000",
            "1-ffffffffffffffffffffffffffffffff",
        );
        check(
            &format!("{low}, {high}, 1-z"),
            &format!("{high}, 1-z, {low}"),
        );
    }

    #[test]
    fn conflicts_are_the_leaves_that_lost() {
        let living = tree("1-a, 2-b 1-a, 2-c 1-a, !3-d 2-e 1-a");
        assert_eq!(names(living.winner()), "2-c");
        assert_eq!(names(living.conflicts()), "2-b");
        assert_eq!(names(living.deleted_conflicts()), "3-d");
        assert!(!living.is_deleted());
        let gone = tree("!2-b 1-a, !2-c 1-a");
        assert!(gone.is_deleted());
        assert_eq!(names(gone.conflicts()), "");
        assert_eq!(names(gone.deleted_conflicts()), "2-b");
        assert!(!RevTree::new().is_deleted());
    }

    #[test]
    fn revisions_and_their_kin_are_found() {
        let tree = tree("1-a, 2-b 1-a, 3-c 2-b 1-a, !3-d 2-b 1-a, 2-e 1-a, 7-z");
        let under = |text| names(tree.leaves_under(&rev(text)));
        assert_eq!(under("1-a"), "3-c, 2-e, 3-d");
        assert_eq!(under("2-b"), "3-c, 3-d");
        assert_eq!(under("3-d"), "3-d");
        assert_eq!(under("7-z"), "7-z");
        assert_eq!(under("2-x"), "");
        assert_eq!(names(tree.ancestors(&rev("3-d"))), "3-d, 2-b, 1-a");
        assert_eq!(names(tree.ancestors(&rev("2-b"))), "2-b, 1-a");
        assert_eq!(names(tree.ancestors(&rev("3-b"))), "");
        assert!(
            tree.is_leaf(&rev("2-e")) && !tree.is_leaf(&rev("2-b")) && !tree.is_leaf(&rev("2-x"))
        );
        assert_eq!(
            tree.find(&rev("2-b")).unwrap().body(),
            Some(body_of(&rev("2-b")))
        );
        assert!(tree.find(&rev("3-b")).is_none());
    }

    #[test]
    fn revisions_are_missing_and_may_have_ancestors_as_couchdb_answers() {
        let tree = tree("1-a, 2-b 1-a, 2-c 1-a, !3-d 2-e 1-a");
        let check = |asked: &str, missing: &str, ancestors: &str| {
            let asked = revisions(asked);
            let found = tree.missing(&asked);
            assert_eq!(
                found.iter().copied().cloned().collect::<Vec<_>>(),
                revisions(missing)
            );
            assert_eq!(names(tree.possible_ancestors(found)), ancestors);
        };
        check("1-a, 2-b, 3-f, 9-f", "3-f, 9-f", "2-c, 2-b, 3-d");
        check("3-f", "3-f", "2-c, 2-b");
        check("2-f, 1-f", "2-f, 1-f", "");
        check("2-e, 3-d", "", "");
        check("", "", "");
        let many: Vec<Revision> = (1..200)
            .map(|generation| rev(&format!("{generation}-a")))
            .collect();
        assert_eq!(tree.missing(&many).len(), 198);
    }
}

//! Interactive edits: the rules by which a client that names the revision it edits gets its way, or
//! a conflict.
//!
//! An edit extends a leaf, so it never adds a branch: whoever edits something older has not seen the
//! newest and must read again. The rules are those of CouchDB's `merge_rev_tree`:
//!
//! | document | without a revision | with a revision |
//! |---|---|---|
//! | does not exist | first revision | accepted; the named one becomes a missing ancestor |
//! | is deleted | extends the winning tombstone, unless the edit deletes too | conflict |
//! | is live | conflict | extends that leaf, also a tombstone beside the live leaves |

use super::{Node, RevTree};
use crate::revision::{GENERATION_END, Revision};

/// The edit is not based on a current revision. Its author has to read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Document update conflict.")]
pub struct Conflict;

/// What an accepted edit did to the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The revision is new: its body has to be stored.
    New,
    /// The same edit had come by replication, on a history cut off just below it. The two histories
    /// are one now and the tree has to be stored, but the body is already here.
    AlreadyPresent,
}

/// What an edit is based on.
enum Base<'r> {
    Nothing,
    Unknown(&'r Revision),
    Leaf(u32),
}

impl RevTree {
    /// The revision that an edit will be based on, which goes into the hash that names it: `None`
    /// for a first revision. `revision` is what the client named, `deletes` whether it deletes.
    pub fn edit_parent(
        &self,
        revision: Option<&Revision>,
        deletes: bool,
    ) -> Result<Option<Revision>, Conflict> {
        Ok(match self.edit_base(revision, deletes)? {
            Base::Nothing => None,
            Base::Unknown(named) => Some(named.clone()),
            Base::Leaf(leaf) => self.at(leaf).map(Node::revision),
        })
    }

    /// Adds the edit `new`, whose author named `revision`, and whose body will be stored under the
    /// sequence `body`. The generation of `new` is one above that of [`RevTree::edit_parent`], and a
    /// conflict if it is not.
    pub fn insert_edit(
        &mut self,
        revision: Option<&Revision>,
        new: Revision,
        deleted: bool,
        body: u64,
    ) -> Result<Inserted, Conflict> {
        let base = self.edit_base(revision, deleted)?;
        let below = self.base_generation(&base);
        if below + 1 != new.generation {
            return Err(Conflict);
        }
        let parent = match base {
            Base::Nothing => None,
            // Generations count from one: `0-x` names no revision.
            Base::Unknown(named) => (below > 0).then(|| self.push_missing(below, named.id.clone())),
            Base::Leaf(leaf) => {
                if let Some(present) = self.position(&new) {
                    return self.join_edit(leaf, present, deleted, body);
                }
                self.remove_leaf(leaf);
                Some(leaf)
            }
        };
        let index = self.push(Node {
            generation: new.generation,
            id: new.id,
            parent,
            deleted,
            body: Some(body),
        });
        self.add_leaf(index);
        Ok(Inserted::New)
    }

    fn edit_base<'r>(
        &self,
        revision: Option<&'r Revision>,
        deletes: bool,
    ) -> Result<Base<'r>, Conflict> {
        let base = match (self.leaves.first(), revision) {
            (None, None) => Base::Nothing,
            (None, Some(named)) => Base::Unknown(named),
            (Some(&winner), None) if self.is_deleted() && !deletes => Base::Leaf(winner),
            (Some(_), Some(named)) if !self.is_deleted() => {
                Base::Leaf(self.leaf_position(named).ok_or(Conflict)?)
            }
            (Some(_), _) => return Err(Conflict),
        };
        // There is no generation above the last.
        if self.base_generation(&base) < GENERATION_END - 1 {
            Ok(base)
        } else {
            Err(Conflict)
        }
    }

    fn base_generation(&self, base: &Base<'_>) -> u64 {
        match base {
            Base::Nothing => 0,
            Base::Unknown(named) => named.generation,
            Base::Leaf(leaf) => self.at(*leaf).map_or(0, Node::generation),
        }
    }

    /// The edit of `leaf` gave a revision that stands in the tree already, as the root of a history
    /// without its older part. So `leaf` is that older part.
    fn join_edit(
        &mut self,
        leaf: u32,
        present: u32,
        deleted: bool,
        body: u64,
    ) -> Result<Inserted, Conflict> {
        let node = self.at_mut(present).ok_or(Conflict)?;
        if node.parent.is_some() {
            return Err(Conflict);
        }
        node.parent = Some(leaf);
        let restored = node.restore(deleted, body);
        self.remove_leaf(leaf);
        if !restored {
            return Ok(Inserted::AlreadyPresent);
        }
        self.rank_again(present);
        Ok(Inserted::New)
    }
}

#[cfg(test)]
mod tests {
    use super::super::notation::{assert_sound, body_of, names, rev, show, tree};
    use super::*;
    use crate::revision::RevisionId;

    /// Asks for the edit's parent and makes the edit; answers with the new revision's path.
    fn edit(
        tree: &mut RevTree,
        revision: Option<&str>,
        id: &str,
        deleted: bool,
    ) -> Result<String, Conflict> {
        let revision = revision.map(rev);
        let parent = tree.edit_parent(revision.as_ref(), deleted)?;
        let new = Revision {
            generation: parent.map_or(0, |parent| parent.generation) + 1,
            id: RevisionId::parse(id).unwrap(),
        };
        tree.insert_edit(revision.as_ref(), new.clone(), deleted, body_of(&new))?;
        assert_sound(tree);
        Ok(names(tree.ancestors(&new)))
    }

    #[test]
    fn edits_follow_couchdb() {
        let live: &str = "1-a, 2-b 1-a, 2-c 1-a, !2-d 1-a";
        let deleted: &str = "1-a, !2-b 1-a, !2-c 1-a";
        let check = |before: &str,
                     revision: Option<&str>,
                     deletes: bool,
                     expected: Result<&str, Conflict>| {
            let unchanged = tree(before);
            let mut tree = unchanged.clone();
            let result = edit(&mut tree, revision, "n", deletes);
            assert_eq!(
                result.as_deref(),
                expected.as_deref(),
                "{before:?} {revision:?} {deletes}"
            );
            if result.is_err() {
                assert_eq!(tree, unchanged);
            }
        };
        // A document that does not exist.
        check("", None, false, Ok("1-n"));
        check("", None, true, Ok("1-n"));
        check("", Some("3-abc"), false, Ok("4-n, 3-abc"));
        check("", Some("3-abc"), true, Ok("4-n, 3-abc"));
        check("", Some("9007199254740991-a"), false, Err(Conflict));
        // A live one.
        check(live, None, false, Err(Conflict));
        check(live, None, true, Err(Conflict));
        check(live, Some("2-c"), false, Ok("3-n, 2-c, 1-a"));
        check(live, Some("2-b"), false, Ok("3-n, 2-b, 1-a"));
        check(live, Some("2-b"), true, Ok("3-n, 2-b, 1-a"));
        check(live, Some("2-d"), false, Ok("3-n, 2-d, 1-a"));
        check(live, Some("2-d"), true, Ok("3-n, 2-d, 1-a"));
        check(live, Some("1-a"), false, Err(Conflict));
        check(live, Some("2-x"), false, Err(Conflict));
        // A deleted one: only a new beginning on the winning tombstone.
        check(deleted, None, false, Ok("3-n, 2-c, 1-a"));
        check(deleted, None, true, Err(Conflict));
        check(deleted, Some("2-c"), false, Err(Conflict));
        check(deleted, Some("2-b"), true, Err(Conflict));
        check(deleted, Some("1-a"), false, Err(Conflict));
        check(deleted, Some("9-x"), false, Err(Conflict));
        check("!9007199254740991-a", None, false, Err(Conflict));
    }

    #[test]
    fn a_document_lives_dies_and_lives_again() {
        let mut tree = RevTree::new();
        assert_eq!(edit(&mut tree, None, "a", false), Ok("1-a".to_owned()));
        assert_eq!(
            edit(&mut tree, Some("1-a"), "b", true),
            Ok("2-b, 1-a".to_owned())
        );
        assert!(tree.is_deleted());
        assert_eq!(
            edit(&mut tree, None, "c", false),
            Ok("3-c, 2-b, 1-a".to_owned())
        );
        assert_eq!(show(&tree), "3-c !2-b 1-a");
        // The same edit twice: its base is no leaf any more.
        assert_eq!(
            edit(&mut tree, Some("3-c"), "d", false),
            Ok("4-d, 3-c, 2-b, 1-a".to_owned())
        );
        assert_eq!(edit(&mut tree, Some("3-c"), "d", false), Err(Conflict));
        assert_eq!(tree.compact().len(), 3);
        assert_eq!(show(&tree), "4-d 3-c? 2-b? 1-a?");
    }

    #[test]
    fn a_document_is_deleted_when_its_last_live_leaf_is() {
        let mut tree = tree("1-a, 2-b 1-a, 2-c 1-a");
        assert_eq!(
            edit(&mut tree, Some("2-c"), "x", true),
            Ok("3-x, 2-c, 1-a".to_owned())
        );
        assert!(!tree.is_deleted());
        assert_eq!(show(&tree), "2-b 1-a, !3-x 2-c 1-a");
        assert_eq!(
            edit(&mut tree, Some("2-b"), "y", true),
            Ok("3-y, 2-b, 1-a".to_owned())
        );
        assert!(tree.is_deleted());
        assert_eq!(show(&tree), "!3-y 2-b 1-a, !3-x 2-c 1-a");
    }

    #[test]
    fn an_edit_that_came_by_replication_joins_it() {
        // The other side stemmed its history, so its second revision arrived without the first.
        let mut before = tree("1-a, 2-b");
        assert_eq!(
            before.insert_edit(Some(&rev("1-a")), rev("2-b"), false, 99),
            Ok(Inserted::AlreadyPresent)
        );
        assert_eq!(show(&before), "2-b 1-a");
        assert_eq!(
            before.find(&rev("2-b")).unwrap().body(),
            Some(body_of(&rev("2-b")))
        );
        // There it had been edited on, so that only its name came.
        let mut before = tree("1-a, 3-c 2-b");
        assert_eq!(
            before.insert_edit(Some(&rev("1-a")), rev("2-b"), false, 99),
            Ok(Inserted::New)
        );
        assert_eq!(show(&before), "3-c 2-b 1-a");
        assert_eq!(before.find(&rev("2-b")).unwrap().body(), Some(99));
        // Known by name only, and yet a leaf, which no replica sends: its rank follows its mark.
        let mut before = tree("1-a, 1-c");
        let present = before.push_missing(2, rev("2-b").id);
        before.add_leaf(present);
        assert_eq!(show(&before), "2-b?, 1-c, 1-a");
        let inserted = before.insert_edit(Some(&rev("1-a")), rev("2-b"), true, 99);
        assert_eq!(inserted, Ok(Inserted::New));
        assert_eq!(show(&before), "1-c, !2-b 1-a");
        // Under another parent it cannot be the same edit.
        let mut before = tree("1-a, 2-b 1-x");
        assert_eq!(
            before.insert_edit(Some(&rev("1-a")), rev("2-b"), false, 99),
            Err(Conflict)
        );
        assert_eq!(show(&before), "2-b 1-x?, 1-a");
        // Nor is an edit more or less than one generation on.
        let mut before = tree("1-a");
        assert_eq!(
            before.insert_edit(Some(&rev("1-a")), rev("3-b"), false, 99),
            Err(Conflict)
        );
        assert_eq!(
            before.insert_edit(Some(&rev("1-a")), rev("1-b"), false, 99),
            Err(Conflict)
        );
        assert_eq!(show(&before), "1-a");
    }
}

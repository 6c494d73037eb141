//! Revision trees under random histories: the input is a stored tree, then a list of merges, edits,
//! stems, purges and compactions over few revisions.
//!
//! A revision's id spells out its ancestors, as a hash would, so that no two paths contradict each
//! other. Then the tree must survive being stored after every step, no leaf may be lost but to a
//! purge, and merges must give the same tree in any order.

#![no_main]

use adea_fuzz::rev_tree::{MAX_LEAVES, RevTree, WinnerHead};
use adea_fuzz::revision::{Revision, RevisionId};
use libfuzzer_sys::fuzz_target;

/// Edits beyond this generation are not made: an id must fit into an MD5.
const GENERATION_MAX: usize = 15;

fuzz_target!(|data: &[u8]| {
    stored_bytes_are_refused_or_faithful(data);
    let mut tree = RevTree::new();
    let mut merges = Vec::new();
    for step in data.chunks_exact(4).take(64) {
        let &[operation, letters, more_letters, argument] = step else {
            return;
        };
        let name = name(letters, more_letters);
        let leaves = leaves(&tree);
        let mut purged = Vec::new();
        match operation % 8 {
            0..=3 => {
                merge(&mut tree, &name, argument);
                merges.push((name, argument));
            }
            4 | 5 => edit(&mut tree, argument),
            6 => drop(tree.stem(usize::from(argument % 8))),
            _ if argument % 4 > 0 => drop(tree.compact()),
            _ => {
                purged = vec![revision(&name)];
                purged.extend(leaves.first().cloned());
                tree.remove_leaves(&purged);
            }
        }
        tree = stored(&tree);
        for leaf in leaves {
            assert!(
                tree.find(&leaf).is_some() || purged.contains(&leaf),
                "{leaf} was lost"
            );
        }
    }
    let merged = |merges: &mut dyn Iterator<Item = &(Vec<u8>, u8)>| {
        let mut tree = RevTree::new();
        for (name, ancestors) in merges {
            merge(&mut tree, name, *ancestors);
        }
        encoded(&tree)
    };
    let forward = merged(&mut merges.iter());
    assert_eq!(forward, merged(&mut merges.iter().rev()));
    assert_eq!(forward, merged(&mut merges.iter().chain(&merges)));
});

fn stored_bytes_are_refused_or_faithful(data: &[u8]) {
    let head = WinnerHead::decode(data);
    let Ok(mut tree) = RevTree::decode(data) else {
        return;
    };
    assert_eq!(encoded(&tree), data);
    assert_eq!(
        head.ok().map(|head| head.revision),
        tree.winner().map(|winner| winner.revision())
    );
    merge(&mut tree, b"abab", 2);
    tree.stem(3);
    tree.compact();
    tree.remove_leaves(&leaves(&tree)[..1]);
}

/// The tree after being written and read.
fn stored(tree: &RevTree) -> RevTree {
    let bytes = encoded(tree);
    let decoded = RevTree::decode(&bytes).expect("an encoded tree is decoded");
    assert_eq!(encoded(&decoded), bytes);
    if let Some(winner) = tree.winner() {
        let head = WinnerHead::decode(&bytes).expect("an encoded tree has a head");
        assert_eq!(head.revision, winner.revision());
        assert_eq!(head.deleted, tree.is_deleted());
        assert_eq!(head.body, winner.body());
        assert_eq!(head.leaf_count, tree.leaf_count());
        assert_eq!(head.live_conflicts, tree.conflicts().next().is_some());
    }
    decoded
}

fn encoded(tree: &RevTree) -> Vec<u8> {
    let mut bytes = Vec::new();
    tree.encode(&mut bytes);
    bytes
}

fn leaves(tree: &RevTree) -> Vec<Revision> {
    tree.leaves().map(|leaf| leaf.revision()).collect()
}

/// Up to eight letters, each one of three. `d` makes a tombstone.
fn name(letters: u8, more_letters: u8) -> Vec<u8> {
    let bits = u16::from_le_bytes([letters, more_letters]);
    let letters = (0..8).map_while(|place| {
        [None, Some(b'a'), Some(b'b'), Some(b'd')][usize::from(bits >> (2 * place) & 3)]
    });
    let name: Vec<u8> = letters.collect();
    if name.is_empty() { b"a".to_vec() } else { name }
}

/// The revision of that name: its generation is its length, its parent the name without its end.
fn revision(name: &[u8]) -> Revision {
    let mut md5 = [0; 16];
    md5[..name.len()].copy_from_slice(name);
    let text = String::from_utf8(name.to_vec()).expect("letters");
    let id = if name.ends_with(b"a") {
        RevisionId::Md5(md5)
    } else {
        RevisionId::Text(text.into())
    };
    Revision {
        generation: name.len() as u64,
        id,
    }
}

fn body(name: &[u8]) -> u64 {
    name.iter()
        .fold(0, |sum, letter| sum * 5 + u64::from(*letter))
}

fn merge(tree: &mut RevTree, name: &[u8], ancestors: u8) {
    let oldest = name.len() - usize::from(ancestors % 8).min(name.len() - 1);
    let path: Vec<RevisionId> = (oldest..=name.len())
        .rev()
        .map(|length| revision(&name[..length]).id)
        .collect();
    let merged = tree.merge(&path, name.len() as u64, name.ends_with(b"d"), body(name));
    let full = tree.leaf_count() >= MAX_LEAVES;
    assert!(merged.is_ok() || full);
}

/// Edits a leaf, or makes the document.
fn edit(tree: &mut RevTree, argument: u8) {
    let letter = [b'a', b'b', b'd'][usize::from(argument % 3)];
    let leaves = leaves(tree);
    let base = (argument & 0x80 == 0)
        .then(|| leaves.get(usize::from(argument / 3) % leaves.len().max(1)))
        .flatten();
    let deletes = letter == b'd';
    let Ok(parent) = tree.edit_parent(base, deletes) else {
        return;
    };
    let mut name = parent.map_or_else(Vec::new, |parent| parent.id.as_bytes().to_vec());
    name.retain(|letter| *letter != 0);
    name.push(letter);
    if name.len() <= GENERATION_MAX {
        tree.insert_edit(base, revision(&name), deletes, body(&name))
            .expect("an edit of a leaf");
    }
}

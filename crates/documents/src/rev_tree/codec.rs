//! The stored form of a revision tree.
//!
//! Leaf after leaf in rank order, each with its ancestors until one that was written before, so that the
//! first bytes already tell who won, which is all that a list of documents needs. The order follows from the
//! tree alone, so equal trees are equal bytes, and decoding accepts no other bytes for a tree.
//!
//! ```text
//! tree  = version [ node* ]                      nothing after the version: no revision
//! node  = flags [leaf count] [generation] id [body] [parent]
//! ```
//!
//! - `leaf count`: only in the first node, and only of a tree with several leaves.
//! - `generation`: only of a leaf, that is of the first node and of each that follows one whose parent
//!   does not follow. An ancestor's is one below its child's.
//! - `id`: 16 bytes, or a length and that many bytes of UTF-8.
//! - `body`: the first one as it is, the others as the zigzag of the difference to the last one before.
//! - `parent`: where among the nodes written before it stands, unless it follows or there is none.
//!
//! Numbers are little-endian base 128, seven bits a byte, in as few bytes as they need. A document with one
//! revision takes 19 bytes and its body's sequence.

use super::{Node, RevTree};
use crate::revision::{GENERATION_END, Revision, RevisionId};

const VERSION: u8 = 1;

/// The id is a text, not an MD5.
const TEXT: u8 = 0b0000_0001;
const DELETED: u8 = 0b0000_0010;
/// The body is stored here.
const BODY: u8 = 0b0000_0100;
/// The parent is the next node.
const PARENT_FOLLOWS: u8 = 0b0000_1000;
/// The parent is a node before.
const PARENT_BEFORE: u8 = 0b0001_0000;
/// First node only: there is more than one leaf.
const MANY_LEAVES: u8 = 0b0010_0000;
/// First node only: a leaf other than the winner is live.
const LIVE_CONFLICTS: u8 = 0b0100_0000;
const UNKNOWN: u8 = 0b1000_0000;

/// Fewest bytes of a node: flags, and a text id of no bytes. Keeps false counts from reserving memory.
const NODE_BYTES_MIN: usize = 2;
/// Bytes of the usual node: flags and an MD5.
const NODE_BYTES: usize = 17;

/// The bytes are not those of a revision tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// A format that this program does not know, so that a newer one must have written it.
    #[error("revision tree of unknown format {0}")]
    Version(u8),
    /// Damaged.
    #[error("damaged revision tree: {0}")]
    Damaged(&'static str),
}

/// What the first bytes of a stored tree tell. Read by [`WinnerHead::decode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WinnerHead {
    /// The winning revision.
    pub revision: Revision,
    /// Whether it is a tombstone, and so the document deleted.
    pub deleted: bool,
    /// The sequence under which its body is stored.
    pub body: Option<u64>,
    /// How many leaves the tree has, the winner included.
    pub leaf_count: usize,
    /// Whether another leaf is live.
    pub live_conflicts: bool,
}

impl WinnerHead {
    /// Reads the head of a stored tree, and nothing behind it. A tree without revisions has none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::after_version(bytes)?;
        let flags = reader.flags()?;
        let leaf_count = reader.leaf_count(flags)?;
        let generation = reader.generation()?;
        let id = reader.id(flags)?;
        let body = reader.body(flags)?;
        Ok(Self {
            revision: Revision { generation, id },
            deleted: flags & DELETED != 0,
            body,
            leaf_count,
            live_conflicts: flags & LIVE_CONFLICTS != 0,
        })
    }
}

impl RevTree {
    /// Appends the stored form to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(2 + (NODE_BYTES + 4) * self.nodes.len());
        out.push(VERSION);
        let mut writer = Writer { out, body: None };
        if let [leaf] = self.leaves.as_slice() {
            self.encode_path(*leaf, 0, &mut [], &mut 0, &mut writer);
            return;
        }
        let mut head = MANY_LEAVES;
        if self.conflicts().next().is_some() {
            head |= LIVE_CONFLICTS;
        }
        let mut places = vec![None; self.nodes.len()];
        let mut written = 0;
        for &leaf in &self.leaves {
            self.encode_path(leaf, head, &mut places, &mut written, &mut writer);
            head = 0;
        }
    }

    /// Writes a leaf and its ancestors, up to the first that has a place already. A tree with one
    /// leaf needs no `places`.
    fn encode_path(
        &self,
        leaf: u32,
        head: u8,
        places: &mut [Option<u32>],
        written: &mut u32,
        writer: &mut Writer<'_>,
    ) {
        let mut head = head;
        let mut current = self.at(leaf);
        let mut index = leaf;
        let mut is_leaf = true;
        while let Some(node) = current {
            if let Some(place) = places.get_mut(index as usize) {
                *place = Some(*written);
                *written += 1;
            }
            let before = node
                .parent
                .and_then(|parent| places.get(parent as usize).copied().flatten());
            let parent = match (node.parent, before) {
                (None, _) => 0,
                (Some(_), None) => PARENT_FOLLOWS,
                (Some(_), Some(_)) => PARENT_BEFORE,
            };
            writer.flags(node, head | parent);
            if head & MANY_LEAVES != 0 {
                writer.number(self.leaves.len() as u64);
            }
            if is_leaf {
                writer.number(node.generation);
            }
            writer.id(&node.id);
            writer.body(node.body);
            if let Some(place) = before {
                writer.number(u64::from(place));
                return;
            }
            (head, is_leaf) = (0, false);
            index = node.parent.unwrap_or(index);
            current = node.parent.and_then(|parent| self.at(parent));
        }
    }

    /// Reads a stored tree.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::after_version(bytes)?;
        if reader.rest.is_empty() {
            return Ok(Self::new());
        }
        // Room for the edit that usually follows.
        let mut nodes = Vec::with_capacity(reader.rest.len() / NODE_BYTES + 2);
        let first = reader.flags()?;
        let leaf_count = reader.leaf_count(first)?;
        let mut leaves = Vec::with_capacity(leaf_count);
        reader.path(first, &mut nodes, &mut leaves)?;
        while !reader.rest.is_empty() {
            let flags = reader.flags()?;
            if flags & (MANY_LEAVES | LIVE_CONFLICTS) != 0 {
                return Err(Corrupt::Damaged("a head in the middle"));
            }
            reader.path(flags, &mut nodes, &mut leaves)?;
        }
        let tree = Self { nodes, leaves };
        tree.check(leaf_count, first & LIVE_CONFLICTS != 0)?;
        Ok(tree)
    }

    /// Whether leaves and head are what encoding would have written.
    fn check(&self, leaf_count: usize, live_conflicts: bool) -> Result<(), Corrupt> {
        if self.leaves.len() != leaf_count {
            return Err(Corrupt::Damaged("the number of leaves is wrong"));
        }
        if self.conflicts().next().is_some() != live_conflicts {
            return Err(Corrupt::Damaged("the mark for conflicts is wrong"));
        }
        let mut next = self.leaves();
        next.next();
        if self
            .leaves()
            .zip(next)
            .any(|(better, worse)| better.rank(worse).is_ge())
        {
            return Err(Corrupt::Damaged("the leaves are not in order"));
        }
        Ok(())
    }
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// The last body written, which the next one is relative to.
    body: Option<u64>,
}

impl Writer<'_> {
    fn flags(&mut self, node: &Node, flags: u8) {
        let text = if matches!(node.id, RevisionId::Text(_)) {
            TEXT
        } else {
            0
        };
        let deleted = if node.deleted { DELETED } else { 0 };
        let body = if node.body.is_some() { BODY } else { 0 };
        self.out.push(flags | text | deleted | body);
    }

    fn id(&mut self, id: &RevisionId) {
        if let RevisionId::Text(text) = id {
            self.number(text.len() as u64);
        }
        self.out.extend_from_slice(id.as_bytes());
    }

    fn body(&mut self, body: Option<u64>) {
        let Some(body) = body else { return };
        match self.body {
            None => self.number(body),
            Some(last) => {
                let difference = last.wrapping_sub(body).cast_signed();
                self.number((difference << 1 ^ difference >> 63).cast_unsigned());
            }
        }
        self.body = Some(body);
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.out.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.out.push(number.to_le_bytes()[0]);
    }
}

struct Reader<'b> {
    rest: &'b [u8],
    /// The last body read, which the next one is relative to.
    body: Option<u64>,
}

const SHORT: Corrupt = Corrupt::Damaged("it ends too early");

impl<'b> Reader<'b> {
    fn after_version(bytes: &'b [u8]) -> Result<Self, Corrupt> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => Ok(Self { rest, body: None }),
            Some((&other, _)) => Err(Corrupt::Version(other)),
            None => Err(SHORT),
        }
    }

    /// Reads a leaf, whose flags were read, and the ancestors written with it.
    fn path(
        &mut self,
        leaf_flags: u8,
        nodes: &mut Vec<Node>,
        leaves: &mut Vec<u32>,
    ) -> Result<(), Corrupt> {
        let start = Self::place(nodes)?;
        let mut flags = leaf_flags;
        let mut generation = self.generation()?;
        loop {
            let id = self.id(flags)?;
            let body = self.body(flags)?;
            let place = Self::place(nodes)?;
            let parent = match flags & (PARENT_FOLLOWS | PARENT_BEFORE) {
                0 => None,
                PARENT_FOLLOWS => Some(place + 1),
                PARENT_BEFORE => {
                    let parent = self.parent(nodes, leaves)?;
                    let below = nodes.get(parent as usize).map_or(0, Node::generation);
                    if parent >= start || below + 1 != generation {
                        return Err(Corrupt::Damaged("a parent is not one"));
                    }
                    Some(parent)
                }
                _ => return Err(Corrupt::Damaged("two parents")),
            };
            nodes.push(Node {
                generation,
                id,
                parent,
                deleted: flags & DELETED != 0,
                body,
            });
            if flags & PARENT_FOLLOWS == 0 {
                break;
            }
            generation -= 1;
            if generation == 0 {
                return Err(Corrupt::Damaged("a revision before the first"));
            }
            flags = self.flags()?;
            if flags & (MANY_LEAVES | LIVE_CONFLICTS) != 0 {
                return Err(Corrupt::Damaged("a head in the middle"));
            }
        }
        leaves.push(start);
        Ok(())
    }

    /// Reads the place of a parent, which is not a leaf.
    fn parent(&mut self, nodes: &[Node], leaves: &[u32]) -> Result<u32, Corrupt> {
        let place = self.number()?;
        match u32::try_from(place) {
            // Leaves are read in the order of their places.
            Ok(place)
                if (place as usize) < nodes.len() && leaves.binary_search(&place).is_err() =>
            {
                Ok(place)
            }
            _ => Err(Corrupt::Damaged("a parent is not there")),
        }
    }

    /// Where the next node will stand. Leaves room for one above it.
    fn place(nodes: &[Node]) -> Result<u32, Corrupt> {
        match u32::try_from(nodes.len()) {
            Ok(place) if place < u32::MAX => Ok(place),
            _ => Err(Corrupt::Damaged("too many revisions")),
        }
    }

    fn flags(&mut self) -> Result<u8, Corrupt> {
        let flags = self.byte()?;
        if flags & UNKNOWN != 0 {
            return Err(Corrupt::Damaged("an unknown flag"));
        }
        Ok(flags)
    }

    fn leaf_count(&mut self, flags: u8) -> Result<usize, Corrupt> {
        if flags & MANY_LEAVES == 0 {
            return Ok(1);
        }
        match usize::try_from(self.number()?) {
            Ok(count) if count >= 2 && count <= self.rest.len() / NODE_BYTES_MIN => Ok(count),
            _ => Err(Corrupt::Damaged("the number of leaves is wrong")),
        }
    }

    fn generation(&mut self) -> Result<u64, Corrupt> {
        match self.number()? {
            generation @ 1..GENERATION_END => Ok(generation),
            _ => Err(Corrupt::Damaged("a generation that no revision has")),
        }
    }

    fn id(&mut self, flags: u8) -> Result<RevisionId, Corrupt> {
        if flags & TEXT == 0 {
            let (md5, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
            self.rest = rest;
            return Ok(RevisionId::Md5(*md5));
        }
        let length = usize::try_from(self.number()?).map_err(|_| SHORT)?;
        let (text, rest) = self.rest.split_at_checked(length).ok_or(SHORT)?;
        self.rest = rest;
        let text = std::str::from_utf8(text).map_err(|_| Corrupt::Damaged("an id is not UTF-8"))?;
        Ok(RevisionId::Text(text.into()))
    }

    fn body(&mut self, flags: u8) -> Result<Option<u64>, Corrupt> {
        if flags & BODY == 0 {
            return Ok(None);
        }
        let number = self.number()?;
        self.body = Some(match self.body {
            None => number,
            Some(last) => last.wrapping_sub(number >> 1 ^ (number & 1).wrapping_neg()),
        });
        Ok(self.body)
    }

    fn number(&mut self) -> Result<u64, Corrupt> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit; a last byte of zero says nothing.
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                return Err(Corrupt::Damaged("a number is wrong"));
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Corrupt::Damaged("a number is too long"))
    }

    fn byte(&mut self) -> Result<u8, Corrupt> {
        let (&byte, rest) = self.rest.split_first().ok_or(SHORT)?;
        self.rest = rest;
        Ok(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::super::notation::{assert_sound, encoded, tree};
    use super::*;

    #[test]
    fn a_document_with_one_revision_is_small() {
        let size = |id: &str, body: u64| {
            let mut tree = RevTree::new();
            tree.merge(&[RevisionId::parse(id).unwrap()], 1, false, body)
                .unwrap();
            encoded(&tree).len()
        };
        let md5 = "967a00dff5e02add41819138abb3284d";
        assert_eq!(size(md5, 1), 20);
        assert_eq!(size(md5, (1 << 35) - 1), 24);
        assert_eq!(size(md5, (1 << 42) - 1), 25);
        assert_eq!(size("abc", 1), 8);
    }

    #[test]
    fn the_stored_form_is_this() {
        assert_eq!(encoded(&RevTree::new()), [1]);
        // The body's sequence is 128.
        assert_eq!(encoded(&tree("!1-a")), [1, 0b111, 1, 1, b'a', 0x80, 1]);
        let mut tree = RevTree::new();
        let id = |text: &str| RevisionId::parse(text).unwrap();
        tree.merge(&[id("a")], 1, false, 10).unwrap();
        tree.merge(&[id("b"), id("a")], 2, false, 300).unwrap();
        tree.merge(
            &[id("00000000000000000000000000000000"), id("a")],
            2,
            true,
            301,
        )
        .unwrap();
        let mut expected = vec![1, 0b0010_1101, 2, 2, 1, b'b', 0xac, 2];
        expected.extend([0b101, 1, b'a', 0xc4, 4]);
        expected.extend([0b1_0110, 2]);
        expected.extend([0; 16]);
        expected.extend([0xc5, 4, 1]);
        assert_eq!(encoded(&tree), expected);
        assert_sound(&tree);
    }

    #[test]
    fn other_bytes_are_refused() {
        let check = |bytes: &[u8]| assert!(RevTree::decode(bytes).is_err(), "{bytes:?}");
        assert_eq!(RevTree::decode(&[2, 0]).unwrap_err(), Corrupt::Version(2));
        assert_eq!(
            WinnerHead::decode(&[2, 0]).unwrap_err(),
            Corrupt::Version(2)
        );
        check(&[]);
        // A text id that is not UTF-8, one that ends too early, a generation of zero, a long zero.
        check(&[1, 1, 1, 1, 0xff]);
        check(&[1, 1, 1, 9, b'a']);
        check(&[1, 1, 0, 1, b'a']);
        check(&[1, 1, 0x81, 0, 1, b'a']);
        check(&[
            1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 1, b'a',
        ]);
        // An unknown flag, two parents, a parent before the first generation, a parent that does not come.
        check(&[1, 0x81, 1, 1, b'a']);
        check(&[1, 0x19, 2, 1, b'b', 1, 1, b'a']);
        check(&[1, 0x09, 1, 1, b'b', 1, 1, b'a']);
        check(&[1, 0x09, 2, 1, b'b']);
        // Counts: more leaves than there are, fewer, one, very many.
        check(&[1, 0x21, 2, 1, 1, b'a']);
        check(&[1, 1, 1, 1, b'b', 1, 1, 1, b'a']);
        check(&[1, 0x61, 1, 1, 1, b'b']);
        check(&[
            1, 0x61, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 1, b'b',
        ]);
        // Leaves out of order, twice the same, a wrong mark for conflicts, a mark on the second.
        let two = |first: u8, a: u8, second: u8, b: u8| [1, first, 2, 1, 1, a, second, 1, 1, b];
        assert!(RevTree::decode(&two(0x61, b'b', 1, b'a')).is_ok());
        check(&two(0x61, b'a', 1, b'b'));
        check(&two(0x61, b'a', 1, b'a'));
        check(&two(0x21, b'b', 1, b'a'));
        check(&two(0x61, b'b', 3, b'a'));
        check(&two(0x61, b'b', 0x41, b'a'));
        // A parent that is a leaf, one of another generation, one that is not there.
        let fork = |place: u8, generation: u8| {
            let mut bytes = vec![1, 0x29, 2, 2, 1, b'c', 1, 1, b'a'];
            bytes.extend([0x13, generation, 1, b'b', place]);
            bytes
        };
        assert!(RevTree::decode(&fork(1, 2)).is_ok());
        check(&fork(0, 3));
        check(&fork(1, 3));
        check(&fork(2, 2));
        check(&fork(9, 2));
    }
}

//! What changed rows change in the count tree, worked out level by level.
//!
//! An index that is being built has no trees, since nobody asks it yet and keeping them for each
//! portion would cost as much as the rows. They are made in one walk over the rows as soon as it
//! has caught up; from then on they are kept.
//!
//! The items of a level are the nodes of the level below, or the rows; a node counts its items.
//! Where only counts change, a node's change is the sum of its items' changes. Where an item comes
//! that begins a node, the node around it is cut, and its old items are looked at again to count
//! the parts; where such an item goes, its node falls to the one before.
//!
//! Invariant: the changes of a level are sorted by where nodes begin, and each node that holds a
//! changed row, before or after, is among them: a reduce of any other node stays what it is.

use std::borrow::Cow;

use adea_store::{Cursor, Direction, EngineError, KeyRange, Op, Space};

use super::row;
use super::tree::{self, Level, Trees, decode_count};
use crate::error::corrupt;

/// An item that changed: how many rows it had and has, `None` where it was or is not there.
#[derive(Clone, Debug)]
pub(super) struct Change<'a> {
    pub(super) key: Cow<'a, [u8]>,
    pub(super) old: Option<u64>,
    pub(super) new: Option<u64>,
}

impl Change<'_> {
    fn by(&self) -> i64 {
        signed(self.new.unwrap_or_default()) - signed(self.old.unwrap_or_default())
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn sum(count: u64, by: i64) -> Result<u64, EngineError> {
    count
        .checked_add_signed(by)
        .ok_or_else(|| corrupt("a count of rows"))
}

/// Appends to `ops` what sorted changes of rows change in every tree of the index; answers how
/// many levels it has from now on. Each of `reduces` is a tree that has stored nodes: those that
/// hold a changed row are taken out of it.
pub(super) fn recount(
    trees: &Trees<'_>,
    rows: Vec<Change<'_>>,
    reduces: &[u64],
    ops: &mut Vec<Op>,
) -> Result<u8, EngineError> {
    if rows.is_empty() {
        return Ok(trees.index.height);
    }
    let added = rows.iter().filter(|row| row.old.is_none());
    let highest = added.map(|row| tree::level_of(trees.index, &row.key)).max();
    let height = trees.index.height.max(highest.map_or(1, |level| level + 1));
    let mut items = rows;
    for level in 1..=height {
        items = LevelRecount::new(trees, level).run(&items)?;
        write(trees, level, &items, reduces, ops);
    }
    Ok(height)
}

/// Appends to `ops` the count tree of an index that has none yet, as it is after sorted changes
/// of rows; answers how many levels it has.
pub(super) fn count_all(
    trees: &Trees<'_>,
    rows: &[Change<'_>],
    ops: &mut Vec<Op>,
) -> Result<u8, EngineError> {
    let mut count = CountAll {
        trees,
        ops,
        open: vec![OldNode::default()],
        total: 0,
    };
    let mut changes = rows.iter().peekable();
    let prefix = row::rows(trees.database, trees.index.number, 0);
    let mut cursor =
        trees
            .view
            .range(Space::Index, KeyRange::prefix(&prefix), Direction::Forward)?;
    while let Some((key, _)) = cursor.next()? {
        let position = key.get(prefix.len()..).unwrap_or_default();
        while let Some(change) = changes.next_if(|change| *change.key < *position) {
            count.change(change);
        }
        match changes.next_if(|change| *change.key == *position) {
            Some(change) => count.change(change),
            None => count.row(position),
        }
    }
    changes.for_each(|change| count.change(change));
    Ok(count.finish())
}

/// Counts rows from the first to the last.
struct CountAll<'c, 'v> {
    trees: &'c Trees<'v>,
    ops: &'c mut Vec<Op>,
    /// Of each level, the node that has the last row so far.
    open: Vec<OldNode>,
    total: u64,
}

impl CountAll<'_, '_> {
    fn change(&mut self, change: &Change<'_>) {
        if change.new.is_some() {
            self.row(&change.key);
        }
    }

    fn row(&mut self, position: &[u8]) {
        let begins = usize::from(tree::level_of(self.trees.index, position));
        while self.open.len() <= begins {
            // Until now this level had one node, with all rows.
            self.open.push(OldNode {
                boundary: Vec::new(),
                count: self.total,
            });
        }
        for level in 0..begins {
            self.close(level);
            if let Some(node) = self.open.get_mut(level) {
                node.boundary.clear();
                node.boundary.extend_from_slice(position);
                node.count = 0;
            }
        }
        for node in &mut self.open {
            node.count += 1;
        }
        self.total += 1;
    }

    fn close(&mut self, level: usize) {
        let Some(node) = self.open.get(level) else {
            return;
        };
        let level = u8::try_from(level + 1).unwrap_or(u8::MAX);
        let (tree, index) = (tree::COUNT, self.trees.index.number);
        self.ops.push(Op::Put {
            space: Space::Index,
            key: Level::key_of(self.trees.database, index, tree, level, &node.boundary),
            value: tree::encode_count(node.count),
        });
    }

    fn finish(mut self) -> u8 {
        let height = self.open.len();
        (0..height).for_each(|level| self.close(level));
        u8::try_from(height).unwrap_or(u8::MAX)
    }
}

fn write(trees: &Trees<'_>, level: u8, nodes: &[Change<'_>], reduces: &[u64], ops: &mut Vec<Op>) {
    let counts = trees.level(tree::COUNT, level);
    let unstored = level > trees.index.height;
    for node in nodes {
        let key = counts.key(&node.key);
        match node.new {
            Some(count) if unstored || node.old != node.new => ops.push(Op::Put {
                space: Space::Index,
                key,
                value: tree::encode_count(count),
            }),
            Some(_) => {}
            None => ops.push(Op::Delete {
                space: Space::Index,
                key,
            }),
        }
    }
    for reduce in reduces {
        let values = trees.level(*reduce, level);
        ops.extend(
            nodes
                .iter()
                .filter(|node| node.old.is_some())
                .map(|node| Op::Delete {
                    space: Space::Index,
                    key: values.key(&node.key),
                }),
        );
    }
}

/// The work on one level.
struct LevelRecount<'t, 'v, 'a> {
    trees: &'t Trees<'v>,
    level: u8,
    walk: NodeWalk<'v>,
    out: Vec<Change<'a>>,
    /// Where in `out` the node is that takes the rows of a node which vanishes.
    heir: Option<usize>,
    /// Where the last node that was worked on ends.
    reached: Option<Vec<u8>>,
}

impl<'t, 'v, 'a> LevelRecount<'t, 'v, 'a> {
    fn new(trees: &'t Trees<'v>, level: u8) -> Self {
        Self {
            trees,
            level,
            walk: NodeWalk::new(trees, level),
            out: Vec::new(),
            heir: None,
            reached: None,
        }
    }

    fn run(mut self, items: &[Change<'a>]) -> Result<Vec<Change<'a>>, EngineError> {
        let mut rest = items;
        while let Some(first) = rest.first() {
            self.walk.move_to(&first.key)?;
            let inside = match &self.walk.next {
                Some(end) => rest.partition_point(|item| *item.key < *end.boundary),
                None => rest.len(),
            };
            let (changes, behind) = rest.split_at(inside);
            self.node(changes)?;
            rest = behind;
        }
        Ok(self.out)
    }

    /// Works on the node that the walk stands at, with the changes that lie in it.
    fn node(&mut self, changes: &[Change<'a>]) -> Result<(), EngineError> {
        let index = self.trees.index;
        let begins = |change: &&Change<'a>| {
            change.old.is_none() && tree::level_of(index, &change.key) >= self.level
        };
        let cuts: Vec<&Change<'a>> = changes.iter().filter(begins).collect();
        let node = self.walk.current.clone();
        let parts = if cuts.is_empty() {
            vec![node.count]
        } else {
            self.old_parts(&node.boundary, &cuts)?
        };
        let mut counts = parts.into_iter();
        let mut rest = changes;
        let mut part = |until: Option<&Change<'a>>| {
            let inside = until.map_or(rest.len(), |cut| {
                rest.partition_point(|change| change.key < cut.key)
            });
            let (here, behind) = rest.split_at(inside);
            rest = behind;
            let by = here.iter().map(Change::by).sum();
            sum(counts.next().unwrap_or_default(), by)
        };

        let first = part(cuts.first().copied())?;
        let vanishes = !node.boundary.is_empty()
            && changes
                .first()
                .is_some_and(|change| *change.key == *node.boundary && change.new.is_none());
        if vanishes {
            self.bequeath(&node.boundary, first)?;
        }
        self.push(Change {
            key: Cow::Owned(node.boundary),
            old: Some(node.count),
            new: (!vanishes).then_some(first),
        });
        for (at, cut) in cuts.iter().enumerate() {
            let count = part(cuts.get(at + 1).copied())?;
            self.push(Change {
                key: cut.key.clone(),
                old: None,
                new: Some(count),
            });
        }
        self.reached = self.walk.next.as_ref().map(|next| next.boundary.clone());
        Ok(())
    }

    fn push(&mut self, change: Change<'a>) {
        if change.new.is_some() {
            self.heir = Some(self.out.len());
        }
        self.out.push(change);
    }

    /// Gives `count` rows of the node at `boundary`, which vanishes, to the one before it.
    fn bequeath(&mut self, boundary: &[u8], count: u64) -> Result<(), EngineError> {
        if self.reached.as_deref() != Some(boundary) {
            let before = self.walk.before(boundary)?;
            self.push(Change {
                key: Cow::Owned(before.boundary),
                old: Some(before.count),
                new: Some(before.count),
            });
        }
        let heir = self.heir.and_then(|at| self.out.get_mut(at));
        if let Some(Change { new: Some(has), .. }) = heir {
            *has += count;
        }
        Ok(())
    }

    /// How many old rows of the node at `boundary` lie before the first of `cuts`, between it and
    /// the second, and so on.
    fn old_parts(&self, boundary: &[u8], cuts: &[&Change<'a>]) -> Result<Vec<u64>, EngineError> {
        let mut parts = vec![0; cuts.len() + 1];
        let mut at = 0;
        let mut add = |key: &[u8], count: u64| {
            while cuts.get(at).is_some_and(|cut| *cut.key <= *key) {
                at += 1;
            }
            if let Some(part) = parts.get_mut(at) {
                *part += count;
            }
        };
        let end = self.walk.next.as_ref().map(|next| next.boundary.as_slice());
        let below = self.level - 1;
        if below > self.trees.index.height {
            add(boundary, self.trees.index.rows);
        } else if below > 0 {
            let nodes = self.trees.level(tree::COUNT, below);
            let mut cursor = nodes.walk(boundary, end, Direction::Forward)?;
            while let Some((key, value)) = cursor.next()? {
                let key = nodes.boundary_of(key);
                if Some(key) != end {
                    add(key, decode_count(value)?);
                }
            }
        } else {
            let prefix = row::rows(self.trees.database, self.trees.index.number, 0);
            let range = KeyRange {
                from: [prefix.as_slice(), boundary].concat(),
                to: end.map_or_else(
                    || KeyRange::prefix(&prefix).to,
                    |end| [prefix.as_slice(), end].concat(),
                ),
            };
            let view = self.trees.view;
            let mut cursor = view.range(Space::Index, range, Direction::Forward)?;
            while let Some((key, _)) = cursor.next()? {
                add(key.get(prefix.len()..).unwrap_or_default(), 1);
            }
        }
        Ok(parts)
    }
}

/// A node as the view shows it.
#[derive(Clone, Debug, Default)]
struct OldNode {
    boundary: Vec<u8>,
    count: u64,
}

/// Finds the nodes of a level that hold rising keys. Nodes that are near are stepped to, those
/// that are far sought.
struct NodeWalk<'v> {
    nodes: Level<'v>,
    cursor: Option<Box<dyn Cursor + 'v>>,
    /// The node that holds the last key.
    current: OldNode,
    /// The one behind it.
    next: Option<OldNode>,
    /// Whether the level is stored; else its one node is `current`.
    stored: bool,
}

/// So many nodes are stepped over before one is sought.
const STEPS_MAX: usize = 32;

impl<'v> NodeWalk<'v> {
    fn new(trees: &Trees<'v>, level: u8) -> Self {
        let stored = level <= trees.index.height;
        Self {
            nodes: trees.level(tree::COUNT, level),
            cursor: None,
            current: OldNode {
                boundary: Vec::new(),
                count: trees.index.rows,
            },
            next: None,
            stored,
        }
    }

    fn move_to(&mut self, key: &[u8]) -> Result<(), EngineError> {
        if !self.stored {
            return Ok(());
        }
        if self.cursor.is_some() {
            for _ in 0..STEPS_MAX {
                match &self.next {
                    Some(next) if *next.boundary <= *key => self.step()?,
                    Some(_) | None => return Ok(()),
                }
            }
        }
        self.seek(key)
    }

    fn step(&mut self) -> Result<(), EngineError> {
        let row = match &mut self.cursor {
            Some(cursor) => cursor.next()?,
            None => None,
        };
        let mut old = std::mem::take(&mut self.current);
        self.current = self.next.take().unwrap_or_default();
        if let Some((key, value)) = row {
            old.boundary.clear();
            old.boundary.extend_from_slice(self.nodes.boundary_of(key));
            old.count = decode_count(value)?;
            self.next = Some(old);
        }
        Ok(())
    }

    fn seek(&mut self, key: &[u8]) -> Result<(), EngineError> {
        self.current = self.at_or_before(key)?;
        let from = [self.current.boundary.as_slice(), &[0]].concat();
        self.cursor = Some(self.nodes.walk(&from, None, Direction::Forward)?);
        self.next = Some(std::mem::take(&mut self.current));
        self.step()
    }

    fn at_or_before(&self, key: &[u8]) -> Result<OldNode, EngineError> {
        let mut cursor = self.nodes.walk(&[], Some(key), Direction::Reverse)?;
        let (key, value) = cursor
            .next()?
            .ok_or_else(|| corrupt("the first node of an index"))?;
        Ok(OldNode {
            boundary: self.nodes.boundary_of(key).to_vec(),
            count: decode_count(value)?,
        })
    }

    /// The node before the one that begins at `boundary`.
    fn before(&self, boundary: &[u8]) -> Result<OldNode, EngineError> {
        let mut cursor = self.nodes.walk(&[], Some(boundary), Direction::Reverse)?;
        while let Some((key, value)) = cursor.next()? {
            let found = self.nodes.boundary_of(key);
            if found != boundary {
                return Ok(OldNode {
                    boundary: found.to_vec(),
                    count: decode_count(value)?,
                });
            }
        }
        Err(corrupt("the first node of an index"))
    }
}

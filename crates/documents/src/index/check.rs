//! Checking an index: every row against its document's entry, every node against what is below.

use adea_store::{Cursor, Direction, EngineError, KeyRange, Space, View};

use super::fill::Material;
use super::portion::positions;
use super::reader::IndexReader;
use super::row;
use super::state::{IndexState, ReduceState, Signature};
use super::tree::{self, Level, Segment, Trees, decode_count};
use crate::keys::DatabaseNumber;

/// An index with more faults than these is as good as lost.
const FAULTS_MAX: usize = 16;

/// What is wrong with an index, a sentence each, up to the first few. Whether a reduce's values
/// are right, [`verify_reduce`] tells.
///
/// # Errors
/// [`EngineError`] if the store cannot be read at all; damage of single values is a finding.
pub fn verify(
    view: &dyn View,
    database: DatabaseNumber,
    index: &IndexState,
) -> Result<Vec<String>, EngineError> {
    let mut check = Check::new(view, database, index);
    check.rows()?;
    check.backs()?;
    for reduce in &index.reduces {
        check.reduce(reduce, &mut |_| None)?;
    }
    Ok(check.faults)
}

/// What is wrong with the stored values of a reduce, where `compute` says what each is to be.
///
/// # Errors
/// [`EngineError`] if the store cannot be read at all; damage of single values is a finding.
pub fn verify_reduce(
    view: &dyn View,
    database: DatabaseNumber,
    index: &IndexState,
    reduce: &Signature,
    mut compute: impl FnMut(Material) -> String,
) -> Result<Vec<String>, EngineError> {
    let mut check = Check::new(view, database, index);
    if let Some(known) = index.reduces.iter().find(|r| r.signature == *reduce) {
        check.reduce(known, &mut |material| Some(compute(material)))?;
    }
    Ok(check.faults)
}

/// What a node of some level is to hold, if it can be told.
type Compute<'c> = &'c mut dyn FnMut(Material) -> Option<String>;

struct Check<'v> {
    reader: IndexReader<'v>,
    faults: Vec<String>,
}

/// A level of the count tree while the rows go by.
struct Counting<'v> {
    nodes: Level<'v>,
    stored: Box<dyn Cursor + 'v>,
    boundary: Vec<u8>,
    count: u64,
}

impl Counting<'_> {
    /// Whether the node that ends here is stored as it was counted.
    fn is_right(&mut self) -> Result<bool, EngineError> {
        Ok(match self.stored.next()? {
            Some((key, value)) => {
                self.nodes.boundary_of(key) == self.boundary
                    && decode_count(value).is_ok_and(|count| count == self.count)
            }
            None => false,
        })
    }
}

impl<'v> Check<'v> {
    fn new(view: &'v dyn View, database: DatabaseNumber, index: &'v IndexState) -> Self {
        Self {
            reader: IndexReader::new(view, database, crate::reader::whole(), index),
            faults: Vec::new(),
        }
    }

    fn trees(&self) -> Trees<'v> {
        self.reader.trees()
    }

    /// Notes a fault; answers whether it is worth while to go on.
    fn fault(&mut self, what: &str) -> bool {
        let index = self.reader.index.signature;
        self.faults.push(format!("index {index}: {what}"));
        self.faults.len() < FAULTS_MAX
    }

    /// Counts the rows, and on every level those of each node.
    fn rows(&mut self) -> Result<(), EngineError> {
        let index = self.reader.index;
        let trees = self.trees();
        let mut levels = Vec::new();
        for level in 1..=index.height {
            let nodes = trees.level(tree::COUNT, level);
            levels.push(Counting {
                stored: nodes.walk(&[], None, Direction::Forward)?,
                nodes,
                boundary: Vec::new(),
                count: 0,
            });
        }
        let (mut rows, mut sound) = (0, true);
        let mut feed = self.reader.stored_between(&[], None, Direction::Forward)?;
        while sound && let Some(position) = feed.skip()? {
            rows += 1;
            let begins = usize::from(tree::level_of(index, position));
            if index.height > 0 && begins >= levels.len() {
                sound = self.fault("a row begins a node above the highest");
            }
            for level in levels.iter_mut().take(begins) {
                sound &= level.is_right()? || self.fault("a count of rows is wrong");
                level.count = 0;
                level.boundary = position.to_vec();
            }
            for level in &mut levels {
                level.count += 1;
            }
        }
        if index.height == 0 {
            let range = KeyRange::prefix(&row::nodes(trees.database, index.number, 0));
            let mut nodes = trees.view.range(Space::Index, range, Direction::Forward)?;
            sound &= nodes.next()?.is_none() || self.fault("it has nodes before it is built");
        }
        for level in &mut levels {
            let right = level.is_right()? && level.stored.next()?.is_none();
            sound &= right || self.fault("the counts of rows end wrong");
        }
        if sound && rows != index.rows {
            let known = index.rows;
            self.fault(&format!("{known} rows are told of, {rows} are there"));
        }
        Ok(())
    }

    /// Looks for every row that the back index tells of. If there are as many as rows, then each
    /// row is told of.
    fn backs(&mut self) -> Result<(), EngineError> {
        let (database, number) = (self.reader.database, self.reader.index.number);
        let rows = row::rows(database, number, 0);
        let prefix = row::backs(database, number, 0);
        let range = KeyRange::prefix(&prefix);
        let mut told = 0;
        let mut cursor = self
            .reader
            .view
            .range(Space::Index, range, Direction::Forward)?;
        while let Some((key, entry)) = cursor.next()? {
            let id = String::from_utf8_lossy(key.get(prefix.len()..).unwrap_or_default());
            let mut keys = Vec::new();
            let read = positions(&id, entry, |position| {
                keys.push([rows.as_slice(), &position].concat());
            });
            told += keys.len() as u64;
            let found = self.reader.view.multi_get(Space::Index, &keys)?;
            let right = read.is_ok() && !keys.is_empty() && found.iter().all(Option::is_some);
            if !right && !self.fault(&format!("document {id:?}: not all its rows are there")) {
                return Ok(());
            }
        }
        if told != self.reader.index.rows {
            self.fault(&format!("documents are told to have {told} rows"));
        }
        Ok(())
    }

    /// Looks whether each stored node of a reduce is a node, has all nodes below it, and holds
    /// what `compute` says.
    fn reduce(&mut self, reduce: &ReduceState, compute: Compute<'_>) -> Result<(), EngineError> {
        let trees = self.trees();
        for level in 1..=self.reader.index.height {
            let nodes = trees.level(reduce.tree, level);
            let counts = trees.level(tree::COUNT, level);
            let mut cursor = nodes.walk(&[], None, Direction::Forward)?;
            while let Some((key, value)) = cursor.next()? {
                let boundary = nodes.boundary_of(key);
                let right = reduce.built
                    && counts.get(boundary)?.is_some()
                    && self.node(reduce.tree, level, boundary, value, &mut *compute)?;
                if !right && !self.fault("a value of a reduce is not what it should be") {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn node(
        &self,
        tree: u64,
        level: u8,
        boundary: &[u8],
        value: &[u8],
        compute: Compute<'_>,
    ) -> Result<bool, EngineError> {
        let trees = self.trees();
        let to = trees.end_of(level, boundary)?;
        let to = to.as_deref();
        let material = if level == 1 {
            let mut rows = Vec::new();
            let mut feed = self
                .reader
                .stored_between(boundary, to, Direction::Forward)?;
            while let Some(row) = feed.next()? {
                rows.push(row.to_owned_row());
            }
            Material::Rows(rows)
        } else {
            let below = trees.segments(level - 1, boundary, to)?;
            let values = trees.values(tree, level - 1, &below)?;
            let lost = |(part, value): (&Segment, &Option<String>)| {
                value.is_none() && part.count != Some(0)
            };
            if below.iter().zip(&values).any(lost) {
                return Ok(false);
            }
            Material::Values(values.into_iter().flatten().collect())
        };
        let expected = compute(material);
        Ok(expected.is_none_or(|expected| expected.as_bytes() == value))
    }
}

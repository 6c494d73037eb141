//! The engine that forgets: ordered maps in memory, for tests and as the model of the others.
//!
//! A view is a cheap clone of two `Arc`s; a batch copies a map only while a view holds it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;

use super::{Cursor, Direction, Engine, EngineError, KeyRange, Row, Space, View};
use crate::commit::Op;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// The two spaces as they are at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    index: Arc<Map>,
    body: Arc<Map>,
}

impl Contents {
    fn space(&self, space: Space) -> &Arc<Map> {
        match space {
            Space::Index => &self.index,
            Space::Body => &self.body,
        }
    }

    fn space_mut(&mut self, space: Space) -> &mut Map {
        Arc::make_mut(match space {
            Space::Index => &mut self.index,
            Space::Body => &mut self.body,
        })
    }

    /// Applies one operation.
    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Put { space, key, value } => {
                self.space_mut(*space).insert(key.clone(), value.clone());
            }
            Op::Delete { space, key } => {
                self.space_mut(*space).remove(key);
            }
            Op::DeleteRange { space, range } => {
                if range.from < range.to {
                    let map = self.space_mut(*space);
                    let mut middle = map.split_off(&range.from);
                    let mut end = middle.split_off(&range.to);
                    map.append(&mut end);
                }
            }
        }
    }
}

/// An engine in memory.
#[derive(Debug, Default)]
pub struct Memory {
    contents: RwLock<Contents>,
}

impl Memory {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that holds `contents`.
    #[must_use]
    pub fn with_contents(contents: Contents) -> Self {
        Self {
            contents: RwLock::new(contents),
        }
    }

    /// All it holds, as a value.
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.contents.read().clone()
    }
}

impl View for Contents {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.space(space).get(key).cloned())
    }

    fn multi_get(
        &self,
        space: Space,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, EngineError> {
        Ok(keys
            .iter()
            .map(|key| self.space(space).get(key).cloned())
            .collect())
    }

    fn range(
        &self,
        space: Space,
        range: KeyRange,
        direction: Direction,
    ) -> Result<Box<dyn Cursor + '_>, EngineError> {
        Ok(Box::new(Rows {
            map: self.space(space),
            range,
            direction,
        }))
    }
}

/// What is left of a range; every step looks its row up anew, which is slow and plainly right.
struct Rows<'m> {
    map: &'m Map,
    range: KeyRange,
    direction: Direction,
}

impl Cursor for Rows<'_> {
    fn next(&mut self) -> Result<Option<Row<'_>>, EngineError> {
        if self.range.from >= self.range.to {
            return Ok(None);
        }
        let bounds = (
            Bound::Included(self.range.from.as_slice()),
            Bound::Excluded(self.range.to.as_slice()),
        );
        let mut rows = self.map.range::<[u8], _>(bounds);
        let row = match self.direction {
            Direction::Forward => rows.next(),
            Direction::Reverse => rows.next_back(),
        };
        Ok(match row {
            None => None,
            Some((key, value)) => {
                match self.direction {
                    Direction::Forward => {
                        self.range.from.clone_from(key);
                        self.range.from.push(0);
                    }
                    Direction::Reverse => self.range.to.clone_from(key),
                }
                Some((key.as_slice(), value.as_slice()))
            }
        })
    }

    fn seek(&mut self, key: &[u8]) -> Result<(), EngineError> {
        match self.direction {
            Direction::Forward => self.range.from = self.range.from.as_slice().max(key).to_vec(),
            Direction::Reverse => {
                let mut after = key.to_vec();
                after.push(0);
                self.range.to = self.range.to.as_slice().min(after.as_slice()).to_vec();
            }
        }
        Ok(())
    }
}

impl Engine for Memory {
    fn view(&self) -> Box<dyn View + '_> {
        Box::new(self.contents())
    }

    fn latest(&self) -> Box<dyn View + '_> {
        self.view()
    }

    fn apply(&self, ops: &[&Op], _sync: bool) -> Result<(), EngineError> {
        let mut contents = self.contents.write();
        for op in ops {
            contents.apply(op);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn checkpoint(&self, _to: &Path) -> Result<(), EngineError> {
        Err(EngineError::Failed(
            "the memory engine has nothing to copy to disk".to_owned(),
        ))
    }

    fn compact(&self, _space: Space, _range: &KeyRange) -> Result<(), EngineError> {
        Ok(())
    }

    fn disk_size(&self, space: Space, range: &KeyRange) -> u64 {
        let contents = self.contents.read();
        if range.from >= range.to {
            return 0;
        }
        contents
            .space(space)
            .range::<[u8], _>((
                Bound::Included(range.from.as_slice()),
                Bound::Excluded(range.to.as_slice()),
            ))
            .map(|(key, value)| (key.len() + value.len()) as u64)
            .sum()
    }
}

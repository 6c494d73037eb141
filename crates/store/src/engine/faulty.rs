//! An engine whose disk misbehaves on demand: syncs that fail, a disk that is full, power that
//! goes. What was applied without a sync is gone after [`Faulty::power_cut`], as on a real machine.

use std::path::Path;

use parking_lot::Mutex;

use super::memory::{Contents, Memory};
use super::{Engine, EngineError, KeyRange, Space, View};
use crate::commit::Op;

/// What goes wrong, and at which of the calls from now on (0 is the next one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The batch is written, its sync fails: whether it survives is unknown.
    SyncFails {
        /// How many batches go well before.
        after: u64,
        /// Whether the batch is there after a power cut all the same.
        survives: bool,
    },
    /// The disk is full: the batch is not written at all.
    DiskFull {
        /// How many batches go well before.
        after: u64,
    },
}

#[derive(Debug, Default)]
struct Plan {
    fault: Option<Fault>,
    applied: u64,
}

/// A memory engine behind a disk that can fail.
#[derive(Debug, Default)]
pub struct Faulty {
    memory: Memory,
    durable: Mutex<Contents>,
    plan: Mutex<Plan>,
}

impl Faulty {
    /// One that works until told otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on, `fault` happens.
    pub fn inject(&self, fault: Fault) {
        *self.plan.lock() = Plan {
            fault: Some(fault),
            applied: 0,
        };
    }

    /// What a restart finds after the power went: everything synced, nothing else.
    #[must_use]
    pub fn power_cut(&self) -> Self {
        let durable = self.durable.lock().clone();
        Self {
            memory: Memory::with_contents(durable.clone()),
            durable: Mutex::new(durable),
            plan: Mutex::default(),
        }
    }

    fn due(&self) -> Option<Fault> {
        let mut plan = self.plan.lock();
        let now = plan.applied;
        plan.applied += 1;
        plan.fault.filter(|fault| match fault {
            Fault::SyncFails { after, .. } | Fault::DiskFull { after } => now >= *after,
        })
    }
}

impl Engine for Faulty {
    fn view(&self) -> Box<dyn View + '_> {
        self.memory.view()
    }

    fn latest(&self) -> Box<dyn View + '_> {
        self.memory.latest()
    }

    fn apply(&self, ops: &[&Op], sync: bool) -> Result<(), EngineError> {
        match self.due() {
            Some(Fault::DiskFull { .. }) => {
                return Err(EngineError::Failed("No space left on device".to_owned()));
            }
            Some(Fault::SyncFails { survives, .. }) => {
                if survives {
                    let mut durable = self.durable.lock();
                    ops.iter().for_each(|op| durable.apply(op));
                }
                return Err(EngineError::Failed("fsync: Input/output error".to_owned()));
            }
            None => {}
        }
        self.memory.apply(ops, sync)?;
        if sync {
            *self.durable.lock() = self.memory.contents();
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        if self.due().is_some() {
            return Err(EngineError::Failed("fsync: Input/output error".to_owned()));
        }
        *self.durable.lock() = self.memory.contents();
        Ok(())
    }

    fn checkpoint(&self, to: &Path) -> Result<(), EngineError> {
        self.memory.checkpoint(to)
    }

    fn compact(&self, space: Space, range: &KeyRange) -> Result<(), EngineError> {
        self.memory.compact(space, range)
    }

    fn disk_size(&self, space: Space, range: &KeyRange) -> u64 {
        self.memory.disk_size(space, range)
    }
}

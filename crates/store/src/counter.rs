//! The store's own counters: its sequence and its term, and how a sequence goes on after a crash.
//!
//! Sequences only grow. A store that answers before it syncs can lose the last ones it handed out,
//! so it leaves a mark while it runs; whoever opens it after a crash goes on far behind them.

use crate::commit::Op;
use crate::engine::{Engine, EngineError, Space};
use crate::key;
use crate::store::Durability;
use crate::value::{Reader, put_varint};

/// Where sequences go on. A store that acknowledged before it synced may have lost the last ones
/// it handed out: it goes on far behind them, so that none is handed out twice.
pub(crate) fn first_sequence(
    engine: &dyn Engine,
    durability: Durability,
) -> Result<u64, EngineError> {
    let stored = read_counter(engine, SEQUENCE)?;
    let was_relaxed = engine.latest().get(Space::Index, RELAXED)?.is_some();
    let is_relaxed = durability != Durability::Strict;
    if !was_relaxed && !is_relaxed {
        return Ok(stored);
    }
    let sequence = if was_relaxed {
        stored + RELAXED_GAP
    } else {
        stored
    };
    let counter = Op::Put {
        space: Space::Index,
        key: SEQUENCE.to_vec(),
        value: counter_value(sequence),
    };
    let mark = if is_relaxed {
        Op::Put {
            space: Space::Index,
            key: RELAXED.to_vec(),
            value: vec![1],
        }
    } else {
        unmark_relaxed()
    };
    engine.apply(&[&counter, &mark], true)?;
    Ok(sequence)
}

pub(crate) fn unmark_relaxed() -> Op {
    Op::Delete {
        space: Space::Index,
        key: RELAXED.to_vec(),
    }
}

/// More than can be handed out between two syncs.
const RELAXED_GAP: u64 = 1 << 30;
/// There while a store runs that acknowledges before it syncs, and after it if it did not end well.
const RELAXED: &[u8] = &[key::STORE, b'r'];
pub(crate) const SEQUENCE: &[u8] = &[key::STORE, b's'];
pub(crate) const TERM: &[u8] = &[key::STORE, b't'];

pub(crate) fn counter_value(n: u64) -> Vec<u8> {
    let mut value = vec![1];
    put_varint(&mut value, n);
    value
}

pub(crate) fn read_counter(engine: &dyn Engine, key: &[u8]) -> Result<u64, EngineError> {
    match engine.latest().get(Space::Index, key)? {
        None => Ok(0),
        Some(value) => {
            let mut reader = Reader::new(&value);
            (reader.byte() == Some(1))
                .then(|| reader.varint())
                .flatten()
                .ok_or_else(|| EngineError::Corrupt("a counter of the store".to_owned()))
        }
    }
}

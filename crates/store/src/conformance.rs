//! What every engine must do, as one suite that each engine's test runs over itself.
//!
//! The model is [`crate::Memory`]'s map and, for it, plain sorted vectors: a script of batches is
//! applied to both, and every read that the trait knows must agree after each.

use std::collections::BTreeMap;

use crate::commit::Op;
use crate::engine::{Direction, Engine, KeyRange, Space};

/// A reproducible stream of numbers for scripts (`xorshift64*`).
#[derive(Clone, Debug)]
pub struct Script(u64);

impl Script {
    /// The script of `seed`.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The next number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound.max(1)
    }

    fn key(&mut self) -> Vec<u8> {
        let length = 1 + self.below(3);
        (0..length)
            .map(|_| u8::try_from(self.below(4)).unwrap_or(0) * 85)
            .collect()
    }
}

type Model = BTreeMap<(Space, Vec<u8>), Vec<u8>>;

/// Runs the suite over a fresh engine.
///
/// # Panics
/// If the engine does what the trait forbids; the message says what.
pub fn check(engine: &dyn Engine, seed: u64) {
    let mut script = Script::of_seed(seed);
    let mut model = Model::new();
    for _ in 0..60 {
        let before = model.clone();
        let view = engine.view();
        let ops: Vec<Op> = (0..1 + script.below(8))
            .map(|_| any_op(&mut script))
            .collect();
        for op in &ops {
            apply_to_model(&mut model, op);
        }
        engine
            .apply(&ops.iter().collect::<Vec<_>>(), true)
            .expect("a batch is applied");
        compare(view.as_ref(), &before, &mut script);
        compare(engine.view().as_ref(), &model, &mut script);
        compare(engine.latest().as_ref(), &model, &mut script);
    }
    for space in [Space::Index, Space::Body] {
        let all = KeyRange {
            from: vec![],
            to: vec![0xff; 8],
        };
        engine.compact(space, &all).expect("compaction works");
    }
    engine.sync().expect("a sync works");
    compare(engine.view().as_ref(), &model, &mut script);
}

fn any_op(script: &mut Script) -> Op {
    let space = if script.below(2) == 0 {
        Space::Index
    } else {
        Space::Body
    };
    let key = script.key();
    match script.below(10) {
        0..=5 => Op::Put {
            space,
            key,
            value: vec![7; usize::try_from(script.below(300)).unwrap_or(0)],
        },
        6..=8 => Op::Delete { space, key },
        _ => Op::DeleteRange {
            space,
            range: KeyRange {
                from: key,
                to: script.key(),
            },
        },
    }
}

fn apply_to_model(model: &mut Model, op: &Op) {
    match op {
        Op::Put { space, key, value } => {
            model.insert((*space, key.clone()), value.clone());
        }
        Op::Delete { space, key } => {
            model.remove(&(*space, key.clone()));
        }
        Op::DeleteRange { space, range } => {
            model.retain(|(s, key), _| s != space || *key < range.from || *key >= range.to)
        }
    }
}

fn compare(view: &dyn crate::engine::View, model: &Model, script: &mut Script) {
    for space in [Space::Index, Space::Body] {
        let (a, b) = (script.key(), script.key());
        let range = KeyRange { from: a, to: b };
        for direction in [Direction::Forward, Direction::Reverse] {
            let mut expected: Vec<(Vec<u8>, Vec<u8>)> = model
                .iter()
                .filter(|((s, key), _)| *s == space && *key >= range.from && *key < range.to)
                .map(|((_, key), value)| (key.clone(), value.clone()))
                .collect();
            if direction == Direction::Reverse {
                expected.reverse();
            }
            let mut found = Vec::new();
            let mut cursor = view
                .range(space, range.clone(), direction)
                .expect("a range opens");
            while let Some((key, value)) = cursor.next().expect("a range is walked") {
                found.push((key.to_vec(), value.to_vec()));
            }
            assert_eq!(found, expected, "{direction:?} {space:?} {range:?}");
            // Only ahead: a seek never goes back to what was passed.
            if let Some((target, _)) = expected.last() {
                let mut cursor = view
                    .range(space, range.clone(), direction)
                    .expect("a range opens");
                let first = cursor.next().expect("a range is walked");
                assert!(first.is_some(), "a range that has a last row has a first");
                if expected.len() > 1 {
                    cursor.seek(target).expect("a cursor seeks");
                    let row = cursor.next().expect("a range is walked");
                    assert_eq!(row.map(|(key, _)| key), Some(target.as_slice()));
                    assert!(cursor.next().expect("a range is walked").is_none());
                }
            }
        }
        let mut keys: Vec<Vec<u8>> = (0..5).map(|_| script.key()).collect();
        if script.below(2) == 0 {
            keys.sort();
        }
        let expected: Vec<_> = keys
            .iter()
            .map(|key| model.get(&(space, key.clone())).cloned())
            .collect();
        let found = view.multi_get(space, &keys).expect("keys are read");
        assert_eq!(found, expected, "multi_get of {keys:?}");
        for (key, value) in keys.iter().zip(expected) {
            assert_eq!(view.get(space, key).expect("a key is read"), value);
        }
    }
}

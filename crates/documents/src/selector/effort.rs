//! How much work one document may cost.
//!
//! A selector of ten thousand conditions, a document of a million elements and a regular
//! expression that keeps thousands of states alive are each fine alone; together they could
//! hold a processor for hours. So every evaluation of a condition is paid for, and when the
//! allowance is used up the answer is [`TooMuchEffort`] instead of an answer. It is counted,
//! not timed, so the same selector and document always end the same way.

use serde_json::Value;
use thiserror::Error;

use super::MAX_DEPTH;

/// How many units one document may cost. A unit is at most about a tenth of a microsecond.
pub(super) const ALLOWANCE: u64 = 1 << 24;

/// How many bytes of a compiled expression times bytes of text make a unit, at worst.
const REGEX_BYTES_SQUARED_PER_UNIT: u64 = 1 << 13;

/// Matching this document against this selector would take too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("The selector is too expensive for this document")]
pub struct TooMuchEffort;

/// What is left of the allowance.
pub(super) struct Effort {
    left: u64,
}

impl Effort {
    pub(super) fn new(allowance: u64) -> Self {
        Self { left: allowance }
    }

    /// Pays for so many comparisons.
    pub(super) fn spend(&mut self, units: usize) -> Result<(), TooMuchEffort> {
        let units = u64::try_from(units).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(units).ok_or(TooMuchEffort)?;
        Ok(())
    }

    /// Pays for a search by an expression that compiled to so many bytes, at worst.
    pub(super) fn spend_search(
        &mut self,
        compiled: usize,
        text: usize,
    ) -> Result<(), TooMuchEffort> {
        let product = (compiled as u64).saturating_mul(text as u64);
        self.left = self
            .left
            .checked_sub(product / REGEX_BYTES_SQUARED_PER_UNIT)
            .ok_or(TooMuchEffort)?;
        Ok(())
    }
}

/// How many bytes of text a comparison may look at for a unit. It does not always stop at the
/// first difference: collation passes over letters that have no weight.
const TEXT_BYTES_PER_UNIT: usize = 4;

/// What it costs to compare two values, at worst, of which one came from a selector and is
/// therefore no deeper than [`MAX_DEPTH`].
pub(super) fn comparison_cost(left: &Value, right: &Value) -> usize {
    cost_within(MAX_DEPTH, left, right)
}

fn cost_within(depth: usize, left: &Value, right: &Value) -> usize {
    let Some(inside) = depth.checked_sub(1) else {
        return 0;
    };
    1 + match (left, right) {
        (Value::Number(l), Value::Number(r)) => text_cost(l.as_str(), r.as_str()),
        (Value::String(l), Value::String(r)) => text_cost(l, r),
        (Value::Array(l), Value::Array(r)) => l
            .iter()
            .zip(r)
            .map(|(l, r)| cost_within(inside, l, r))
            .sum(),
        (Value::Object(l), Value::Object(r)) => l
            .iter()
            .zip(r)
            .map(|((left_key, l), (right_key, r))| {
                text_cost(left_key, right_key) + cost_within(inside, l, r)
            })
            .sum(),
        _ => 0,
    }
}

fn text_cost(left: &str, right: &str) -> usize {
    (left.len() + right.len()) / TEXT_BYTES_PER_UNIT
}

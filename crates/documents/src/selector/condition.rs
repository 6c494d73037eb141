//! What a selector asks of one value: `{"$gt": 3}`, `{"$elemMatch": {...}}` and the rest.
//!
//! Conditions hold everything that can be prepared once (compiled expressions, sorted sets),
//! because they meet every document of a database. A value of a type that an operator does not
//! understand just does not match.

use std::cmp::Ordering;
use std::ops::Bound;

use regex::Regex;
use serde_json::{Number, Value};

use super::effort::{Effort, TooMuchEffort, comparison_cost};
use super::{Clause, Range};
use crate::collation::{Collation, compare_numbers, is_integer};

/// A condition on a value that is there.
#[derive(Debug, Clone)]
pub enum Condition {
    /// `$lt`, `$lte`, `$eq`, `$ne`, `$gte`, `$gt`: across types, by collation.
    Compare {
        /// Which of them.
        comparison: Comparison,
        /// What the value is compared with.
        operand: Value,
    },
    /// `$in`: equal to one of these; an array is asked for its elements, not for itself.
    /// Sorted by the collation of the field.
    In(Vec<Value>),
    /// `$nin`: not as [`Condition::In`] says.
    NotIn(Vec<Value>),
    /// `$exists`. `false` is the only condition that a missing field satisfies.
    Exists(bool),
    /// `$type`: `null`, `boolean`, `number`, `string`, `array` or `object`.
    Type(String),
    /// `$mod`: an integer with this remainder, whose sign is that of the integer.
    Mod {
        /// Not zero, and small enough for the arithmetic of [`remainder`].
        divisor: i128,
        /// `None` if it is too large to be the remainder of anything.
        remainder: Option<i128>,
    },
    /// `$regex`: a string with a match anywhere.
    Regex {
        /// Compiled; its search takes time linear in the text.
        regex: Regex,
        /// How large it is at most, in bytes.
        size: usize,
    },
    /// `$beginsWith`: a string that starts with these bytes.
    BeginsWith(String),
    /// `$size`: an array of this length; `None` if no array is that long.
    Size(Option<usize>),
    /// `$all`: an array with all of these, or the one array given.
    All(Vec<Value>),
    /// `$elemMatch`: an array with an element that matches.
    ElemMatch(Box<Clause>),
    /// `$allMatch`: an array with elements, all of which match.
    AllMatch(Box<Clause>),
    /// `$keyMapMatch`: an object with a key that matches.
    KeyMapMatch(Box<Clause>),
    /// `$not` of one that has no opposite of its own.
    Not(Box<Self>),
}

/// How a value compares with an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `$lt`
    Less,
    /// `$lte`
    LessOrEqual,
    /// `$eq`
    Equal,
    /// `$ne`
    NotEqual,
    /// `$gte`
    GreaterOrEqual,
    /// `$gt`
    Greater,
}

impl Comparison {
    /// Whether this order of value and operand is what was asked for.
    #[must_use]
    pub fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Greater => order.is_gt(),
        }
    }

    fn opposite(self) -> Self {
        match self {
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::GreaterOrEqual => Self::Less,
            Self::Greater => Self::LessOrEqual,
        }
    }
}

impl Condition {
    /// Whether a value satisfies this, in a field with that collation.
    pub(super) fn holds(
        &self,
        value: &Value,
        collation: Collation,
        effort: &mut Effort,
    ) -> Result<bool, TooMuchEffort> {
        effort.spend(1)?;
        Ok(match self {
            Self::Compare {
                comparison,
                operand,
            } => {
                effort.spend(comparison_cost(operand, value))?;
                comparison.accepts(collation.compare(value, operand))
            }
            Self::In(values) => is_in(values, value, collation, effort)?,
            Self::NotIn(values) => !is_in(values, value, collation, effort)?,
            Self::Exists(expected) => *expected,
            Self::Type(expected) => type_name(value) == expected,
            Self::Mod { divisor, remainder } => has_remainder(value, *divisor, *remainder, effort)?,
            Self::Regex { regex, size } => match value {
                Value::String(text) => {
                    effort.spend_search(*size, text.len())?;
                    regex.is_match(text)
                }
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => false,
            },
            Self::BeginsWith(prefix) => value
                .as_str()
                .is_some_and(|text| text.starts_with(prefix.as_str())),
            Self::Size(expected) => value
                .as_array()
                .is_some_and(|elements| Some(elements.len()) == *expected),
            Self::All(values) => match value {
                Value::Array(elements) => has_all(values, elements, effort)?,
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Object(_) => false,
            },
            Self::ElemMatch(clause) => first_that(elements_of(value), true, |element| {
                clause.holds(element, effort)
            })?,
            Self::AllMatch(clause) => {
                let elements = elements_of(value);
                !elements.is_empty()
                    && !first_that(elements, false, |element| clause.holds(element, effort))?
            }
            Self::KeyMapMatch(clause) => {
                let keys = value
                    .as_object()
                    .into_iter()
                    .flat_map(|members| members.keys());
                first_that(keys, true, |key| {
                    clause.holds(&Value::String(key.clone()), effort)
                })?
            }
            Self::Not(condition) => !condition.holds(value, collation, effort)?,
        })
    }

    /// The condition that the values of a field satisfy if and only if they do not satisfy
    /// this one. A missing field satisfies neither, except for `$exists`.
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Compare {
                comparison,
                operand,
            } => Self::Compare {
                comparison: comparison.opposite(),
                operand,
            },
            Self::In(values) => Self::NotIn(values),
            Self::NotIn(values) => Self::In(values),
            Self::Exists(expected) => Self::Exists(!expected),
            Self::Not(condition) => *condition,
            other @ (Self::Type(_)
            | Self::Mod { .. }
            | Self::Regex { .. }
            | Self::BeginsWith(_)
            | Self::Size(_)
            | Self::All(_)
            | Self::ElemMatch(_)
            | Self::AllMatch(_)
            | Self::KeyMapMatch(_)) => Self::Not(Box::new(other)),
        }
    }

    /// Between which values everything lies that satisfies this; `None` if a missing field
    /// satisfies it.
    pub(super) fn range(&self, collation: Collation) -> Option<Range> {
        match self {
            Self::Exists(false) => None,
            Self::Compare {
                comparison,
                operand,
            } => Some(range_of_comparison(*comparison, operand)),
            Self::BeginsWith(prefix) => Some(range_of_prefix(prefix, collation)),
            Self::In(_)
            | Self::NotIn(_)
            | Self::Exists(true)
            | Self::Type(_)
            | Self::Mod { .. }
            | Self::Regex { .. }
            | Self::Size(_)
            | Self::All(_)
            | Self::ElemMatch(_)
            | Self::AllMatch(_)
            | Self::KeyMapMatch(_)
            | Self::Not(_) => Some(Range::FULL),
        }
    }
}

fn elements_of(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Whether there is an item for which the test says `wanted`.
fn first_that<T>(
    items: impl IntoIterator<Item = T>,
    wanted: bool,
    mut test: impl FnMut(T) -> Result<bool, TooMuchEffort>,
) -> Result<bool, TooMuchEffort> {
    for item in items {
        if test(item)? == wanted {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_in(
    sorted: &[Value],
    value: &Value,
    collation: Collation,
    effort: &mut Effort,
) -> Result<bool, TooMuchEffort> {
    let comparisons = sorted.len().checked_ilog2().unwrap_or_default() as usize + 1;
    let mut contains = |value: &Value| {
        effort.spend(comparison_cost(value, value).saturating_mul(comparisons))?;
        let found = sorted.binary_search_by(|candidate| collation.compare(candidate, value));
        Ok(found.is_ok())
    };
    match value {
        Value::Array(elements) => first_that(elements, true, contains),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            contains(value)
        }
    }
}

/// Erlang's `lists:member` decides: no collation, and an integer is not a float. The one array
/// given, however, may equal the whole by the laxer `==`.
fn has_all(
    values: &[Value],
    elements: &[Value],
    effort: &mut Effort,
) -> Result<bool, TooMuchEffort> {
    if let [Value::Array(whole)] = values {
        let pairwise_equal = || {
            whole
                .iter()
                .zip(elements)
                .all(|(l, r)| Collation::Raw.compare(l, r).is_eq())
        };
        if whole.len() == elements.len() && pairwise_equal() {
            return Ok(true);
        }
    }
    for value in values {
        let is_there = first_that(elements, true, |element| {
            effort.spend(comparison_cost(value, element))?;
            Ok(is_identical(value, element))
        })?;
        if !is_there {
            return Ok(false);
        }
    }
    Ok(!values.is_empty())
}

/// Recurses no deeper than `wanted`, whose depth the parser has bounded.
fn is_identical(wanted: &Value, value: &Value) -> bool {
    match (wanted, value) {
        (Value::Number(l), Value::Number(r)) => {
            is_integer(l) == is_integer(r) && compare_numbers(l, r).is_eq()
        }
        (Value::Array(l), Value::Array(r)) => {
            l.len() == r.len() && l.iter().zip(r).all(|(l, r)| is_identical(l, r))
        }
        (Value::Object(l), Value::Object(r)) => {
            l.len() == r.len()
                && l.iter().zip(r).all(|((left_key, l), (right_key, r))| {
                    left_key == right_key && is_identical(l, r)
                })
        }
        (Value::String(l), Value::String(r)) => l == r,
        _ => Collation::Raw.compare(wanted, value).is_eq(),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The largest divisor whose remainders can take one more decimal digit without overflow.
pub(super) const LARGEST_DIVISOR: u128 = 10_u128.pow(37);

fn has_remainder(
    value: &Value,
    divisor: i128,
    expected: Option<i128>,
    effort: &mut Effort,
) -> Result<bool, TooMuchEffort> {
    let Some(integer) = value.as_number().filter(|number| is_integer(number)) else {
        return Ok(false);
    };
    effort.spend(integer.as_str().len())?;
    Ok(expected == Some(remainder(integer, divisor)))
}

/// The remainder of an integer of any length, with the integer's sign.
fn remainder(integer: &Number, divisor: i128) -> i128 {
    let text = integer.as_str();
    let (negative, digits) = text
        .strip_prefix('-')
        .map_or((false, text), |digits| (true, digits));
    let modulus = divisor.unsigned_abs();
    let magnitude = digits.bytes().fold(0_u128, |rest, digit| {
        (rest * 10 + u128::from(digit.wrapping_sub(b'0') % 10)) % modulus
    });
    let magnitude = i128::try_from(magnitude).unwrap_or_default();
    if negative { -magnitude } else { magnitude }
}

fn range_of_comparison(comparison: Comparison, operand: &Value) -> Range {
    let (low, high) = match comparison {
        Comparison::Less => (Bound::Unbounded, Bound::Excluded(operand)),
        Comparison::LessOrEqual => (Bound::Unbounded, Bound::Included(operand)),
        Comparison::Equal => (Bound::Included(operand), Bound::Included(operand)),
        Comparison::NotEqual => (Bound::Unbounded, Bound::Unbounded),
        Comparison::GreaterOrEqual => (Bound::Included(operand), Bound::Unbounded),
        Comparison::Greater => (Bound::Excluded(operand), Bound::Unbounded),
    };
    Range {
        low: low.cloned(),
        high: high.cloned(),
    }
}

/// In raw order, strings with a prefix stand together. In Unicode order they need not: some
/// scripts write vowels before the consonants by which they sort. Behind an ASCII prefix
/// nothing sorts before it, so the prefix is a lower bound, at least; strings are below arrays.
fn range_of_prefix(prefix: &str, collation: Collation) -> Range {
    let text = |text: &str| Value::String(text.to_owned());
    match collation {
        Collation::Raw => Range {
            low: Bound::Included(text(prefix)),
            high: successor(prefix)
                .map_or(Bound::Unbounded, |end| Bound::Excluded(Value::String(end))),
        },
        Collation::Unicode => Range {
            low: Bound::Included(text(if prefix.is_ascii() { prefix } else { "" })),
            high: Bound::Excluded(Value::Array(Vec::new())),
        },
    }
}

/// The first string in the order of bytes that is after all strings with this prefix.
fn successor(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_take_the_sign_of_the_integer() {
        let check = |integer: &str, divisor: i128, expected: i128| {
            assert_eq!(
                remainder(&serde_json::from_str(integer).unwrap(), divisor),
                expected,
                "{integer} % {divisor}"
            );
        };
        check("7", 3, 1);
        check("-7", 3, -1);
        check("7", -3, 1);
        check("-7", -3, -1);
        check("0", 5, 0);
        check("-0", 5, 0);
        check(
            "123456789012345678901234567890",
            7,
            123_456_789_012_345_678_901_234_567_890 % 7,
        );
        check(&"9".repeat(1000), 9, 0);
        let largest = i128::try_from(LARGEST_DIVISOR).unwrap();
        check(&format!("{LARGEST_DIVISOR}1"), largest, 1);
        check(&"9".repeat(500), largest, largest - 1);
        check(&format!("-{}", "9".repeat(500)), -largest, 1 - largest);
    }

    #[test]
    fn successors_end_a_prefix() {
        assert_eq!(successor("ab").as_deref(), Some("ac"));
        assert_eq!(successor("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(successor("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(successor("\u{10ffff}"), None);
        assert_eq!(successor(""), None);
    }
}

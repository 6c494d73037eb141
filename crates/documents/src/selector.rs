//! Mango selectors: which documents a `_find` query or a `_selector` feed means.
//!
//! A selector is JSON in which operators (`$gt`, `$or`, ...) and field names mix. It is parsed
//! once into a tree of [`Clause`]s and then matched against any number of documents. Parsing
//! normalises as `CouchDB` does: nested fields become one dotted path, a bare value becomes
//! `$eq`, several members become `$and`, and `$not` and `$nor` sink down to the conditions.
//! The last is visible: `{"$not": {"a": 1}}` becomes `{"a": {"$ne": 1}}`, which a document
//! without `a` does not match.
//!
//! The tree is open to read, so that a query planner can look for what an index can answer;
//! [`Selector::range_for`] is its first question.
//!
//! Invariant: a parsed selector is bounded in depth ([`MAX_DEPTH`]), in the number of its
//! values ([`MAX_VALUES`]) and in the length of its paths, whatever JSON it came from, and
//! matching recurses no deeper than the selector. Nor does it take long: each
//! document has an allowance of work.

mod condition;
mod effort;
mod erlang_term;
mod field_path;
mod intervals;
mod parser;
mod shape;
mod stored;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::ops::Bound;

use serde_json::Value;
use thiserror::Error;

use crate::collation::Collation;
use effort::{ALLOWANCE, Effort};

pub use condition::{Comparison, Condition};
pub use effort::TooMuchEffort;
pub use erlang_term::{erlang_term, erlang_term_pretty};
pub use field_path::array_index;
pub use field_path::{FieldPath, InvalidFieldPath, Lookup};
pub use intervals::{Interval, Intervals, MAX_INTERVALS};
pub use stored::{StoredMatcher, read_part};

/// How deep a selector may nest.
pub const MAX_DEPTH: usize = 128;

/// How many JSON values a selector may be made of.
pub const MAX_VALUES: usize = 10_000;

/// A parsed selector.
#[derive(Debug, Clone)]
pub struct Selector {
    clause: Clause,
}

/// One node of a selector, after normalisation.
#[derive(Debug, Clone)]
pub enum Clause {
    /// All of these hold. Without any, it holds.
    And(Vec<Self>),
    /// One of these holds. Without any, it holds, too: so says `CouchDB`.
    Or(Vec<Self>),
    /// This does not hold. Found only inside `$elemMatch` and its kin; elsewhere negations
    /// have sunk into the conditions.
    Not(Box<Self>),
    /// What a field's value must be.
    Field {
        /// Where the value is; empty for the value itself, inside `$elemMatch` and its kin.
        path: FieldPath,
        /// By which order the condition compares: raw for `_id`.
        collation: Collation,
        /// What is asked of it.
        condition: Condition,
    },
}

/// The values between two bounds, by the collation of the field.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// Where it begins.
    pub low: Bound<Value>,
    /// Where it ends.
    pub high: Bound<Value>,
}

/// Why a selector was refused. Its text is the `reason` of `CouchDB`'s answer, whose status
/// is 400; [`SelectorError::error`] is the `error` beside it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectorError {
    /// The selector is some other JSON value.
    #[error("Selector must be a JSON object, not: {0}")]
    NotAnObject(String),
    /// An operator's argument has a type or a value that it cannot use.
    #[error("Bad argument for operator {operator}: {argument}")]
    BadArgument {
        /// The operator.
        operator: String,
        /// Its argument, as Erlang prints it.
        argument: String,
    },
    /// No operator has this name, or it has another argument than a string.
    #[error("Invalid operator: {0}")]
    InvalidOperator(String),
    /// The operator exists elsewhere; this server cannot evaluate it.
    #[error("Unsupported operator: {0}")]
    UnsupportedOperator(String),
    /// A condition at the root, where no field is named yet.
    #[error("One or more conditions is missing a field name.")]
    MissingFieldName,
    /// A field path with an empty step.
    #[error("Invalid field name: {0}")]
    InvalidFieldName(String),
    /// A regular expression that only a backtracking engine can run.
    #[error("Unsupported regular expression in $regex: {0}")]
    UnsupportedRegex(String),
    /// A regular expression that would take too much memory, or one too many.
    #[error("Regular expressions in $regex are too large or too many")]
    RegexTooLarge,
    /// Deeper than [`MAX_DEPTH`].
    #[error("Selector is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More than [`MAX_VALUES`], or too many long field names.
    #[error("Selector is too large: no more than {MAX_VALUES} values and 1 MiB of field names")]
    TooLarge,
}

impl Selector {
    /// Parses and normalises a selector.
    ///
    /// # Errors
    /// [`SelectorError`] says what is wrong with it, in the words of `CouchDB`.
    pub fn parse(selector: &Value) -> Result<Self, SelectorError> {
        parser::parse(selector).map(|clause| Self { clause })
    }

    /// Whether a document matches. `_id`, `_rev` and the like are ordinary members of it.
    ///
    /// A document on which the selector would take too long does not match: `CouchDB`'s
    /// regular expressions give up in the same way. [`Selector::try_matches`] tells.
    #[must_use]
    pub fn matches(&self, document: &Value) -> bool {
        self.try_matches(document).unwrap_or(false)
    }

    /// Whether a document matches.
    ///
    /// # Errors
    /// [`TooMuchEffort`] if finding out would take seconds, which only happens to selectors
    /// or documents made for it.
    pub fn try_matches(&self, document: &Value) -> Result<bool, TooMuchEffort> {
        self.clause.holds(document, &mut Effort::new(ALLOWANCE))
    }

    /// The normalised tree.
    #[must_use]
    pub fn clause(&self) -> &Clause {
        &self.clause
    }

    /// Between which values a field of any matching document lies.
    ///
    /// `None` if a document without that field may match: then an index on it cannot answer.
    /// The range may be wider than the selector, never narrower; it is in the field's own
    /// collation ([`Collation::Raw`] for `_id`).
    #[must_use]
    pub fn range_for(&self, field: &str) -> Option<Range> {
        self.clause.range_for(field)
    }
}

impl SelectorError {
    /// The `error` of `CouchDB`'s answer.
    #[must_use]
    pub fn error(&self) -> &'static str {
        match self {
            Self::NotAnObject(_) => "invalid_selector_json",
            Self::BadArgument { .. } | Self::UnsupportedRegex(_) | Self::RegexTooLarge => "bad_arg",
            Self::InvalidOperator(_) => "invalid_operator",
            Self::UnsupportedOperator(_) => "not_supported",
            Self::MissingFieldName | Self::TooDeep | Self::TooLarge => "invalid_selector",
            Self::InvalidFieldName(_) => "invalid_field_name",
        }
    }

    /// The `reason` of `CouchDB`'s answer.
    #[must_use]
    pub fn reason(&self) -> String {
        self.to_string()
    }
}

impl Clause {
    /// Whether a document, or a value inside one, satisfies this clause.
    fn holds(&self, value: &Value, effort: &mut Effort) -> Result<bool, TooMuchEffort> {
        match self {
            Self::And(clauses) => {
                for clause in clauses {
                    if !clause.holds(value, effort)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(clauses) => {
                for clause in clauses {
                    if clause.holds(value, effort)? {
                        return Ok(true);
                    }
                }
                Ok(clauses.is_empty())
            }
            Self::Not(clause) => Ok(!clause.holds(value, effort)?),
            Self::Field {
                path,
                collation,
                condition,
            } => match path.find(value) {
                Lookup::Found(found) => condition.holds(found, *collation, effort),
                Lookup::Missing => Ok(matches!(condition, Condition::Exists(false))),
                Lookup::Unreachable => Ok(false),
            },
        }
    }

    fn range_for(&self, field: &str) -> Option<Range> {
        match self {
            Self::And(clauses) => {
                let collation = if field == "_id" {
                    Collation::Raw
                } else {
                    Collation::Unicode
                };
                clauses
                    .iter()
                    .filter_map(|clause| clause.range_for(field))
                    .reduce(|left, right| left.intersect(right, collation))
            }
            Self::Field {
                path,
                collation,
                condition,
            } if path.name() == field => condition.range(*collation),
            Self::Field { .. } | Self::Or(_) | Self::Not(_) => None,
        }
    }
}

impl Range {
    /// Every value.
    pub const FULL: Self = Self {
        low: Bound::Unbounded,
        high: Bound::Unbounded,
    };

    /// Whether a value lies within it.
    #[must_use]
    pub fn contains(&self, value: &Value, collation: Collation) -> bool {
        let above = match &self.low {
            Bound::Unbounded => true,
            Bound::Included(low) => collation.compare(value, low).is_ge(),
            Bound::Excluded(low) => collation.compare(value, low).is_gt(),
        };
        above
            && match &self.high {
                Bound::Unbounded => true,
                Bound::Included(high) => collation.compare(value, high).is_le(),
                Bound::Excluded(high) => collation.compare(value, high).is_lt(),
            }
    }

    /// What lies within both, which may be nothing.
    fn intersect(self, other: Self, collation: Collation) -> Self {
        Self {
            low: tighter(self.low, other.low, Ordering::Greater, collation),
            high: tighter(self.high, other.high, Ordering::Less, collation),
        }
    }
}

/// The bound that lets less through; `inwards` is how the tighter value compares.
fn tighter(
    left: Bound<Value>,
    right: Bound<Value>,
    inwards: Ordering,
    collation: Collation,
) -> Bound<Value> {
    let (Bound::Included(l) | Bound::Excluded(l)) = &left else {
        return right;
    };
    let (Bound::Included(r) | Bound::Excluded(r)) = &right else {
        return left;
    };
    let order = collation.compare(l, r);
    let left_wins = if order.is_eq() {
        matches!(left, Bound::Excluded(_))
    } else {
        order == inwards
    };
    if left_wins { left } else { right }
}

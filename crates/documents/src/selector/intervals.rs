//! Between which values a field of a matching document lies: what an index can be asked for.
//!
//! A condition becomes intervals of sort keys, `$and` intersects them and `$or` unites them. So
//! `{"$or": [{"a": 1}, {"a": {"$gt": 5}}]}` is two intervals, and an index on `a` is read in two
//! pieces, in its own order.
//!
//! Invariant: the intervals of a field cover its values in every matching document. They rise and
//! do not touch. Where they are `exact`, a document with a value of the field in one of them
//! satisfies all that the selector asks of this field.

use std::ops::Bound;

use serde_json::Value;

use super::{Clause, Comparison, Condition};
use crate::collation::Collation;

/// More intervals than this are taken as one, from the lowest to the highest.
pub const MAX_INTERVALS: usize = 1_000;

/// Greater than every byte that may follow a sort key in a greater one.
const AFTER: u8 = 0xff;

/// A run of sort keys, `low <= key < high`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    /// The first sort key that may lie in it.
    pub low: Vec<u8>,
    /// The first that does not; `None` for no end.
    pub high: Option<Vec<u8>>,
}

/// The values that a field of a matching document may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intervals {
    list: Vec<Interval>,
    exact: bool,
}

impl Interval {
    fn all() -> Self {
        Self {
            low: Vec::new(),
            high: None,
        }
    }

    /// Whether it holds the values that collate equal to one, and nothing else.
    #[must_use]
    pub fn is_point(&self) -> bool {
        self.high.as_deref().and_then(<[u8]>::split_last) == Some((&AFTER, &*self.low))
    }

    fn is_empty(&self) -> bool {
        self.high.as_ref().is_some_and(|high| *high <= self.low)
    }
}

impl Intervals {
    /// Every value.
    #[must_use]
    pub fn all() -> Self {
        Self {
            list: vec![Interval::all()],
            exact: true,
        }
    }

    /// The intervals, rising.
    #[must_use]
    pub fn list(&self) -> &[Interval] {
        &self.list
    }

    /// Whether the field's value alone says that the document satisfies what the selector asks of
    /// the field.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// Whether every value is allowed.
    #[must_use]
    pub fn is_all(&self) -> bool {
        matches!(&*self.list, [all] if all.low.is_empty() && all.high.is_none())
    }

    /// Whether all documents that match have values here that collate equal.
    #[must_use]
    pub fn is_point(&self) -> bool {
        matches!(&*self.list, [only] if only.is_point())
    }

    fn of(collation: Collation, low: Bound<&Value>, high: Bound<&Value>) -> Self {
        let key = |value: &Value, behind: bool| {
            let mut key = Vec::new();
            collation.sort_key(value, &mut key);
            if behind {
                key.push(AFTER);
            }
            key
        };
        let interval = Interval {
            low: match low {
                Bound::Unbounded => Vec::new(),
                Bound::Included(low) => key(low, false),
                Bound::Excluded(low) => key(low, true),
            },
            high: match high {
                Bound::Unbounded => None,
                Bound::Included(high) => Some(key(high, true)),
                Bound::Excluded(high) => Some(key(high, false)),
            },
        };
        Self {
            list: if interval.is_empty() {
                Vec::new()
            } else {
                vec![interval]
            },
            exact: true,
        }
    }

    fn none() -> Self {
        Self {
            list: Vec::new(),
            exact: true,
        }
    }

    fn inexact(mut self) -> Self {
        self.exact = false;
        self
    }

    /// The values that are in both.
    fn intersection(self, other: &Self) -> Self {
        let mut list = Vec::new();
        let (mut left, mut right) = (self.list.iter().peekable(), other.list.iter().peekable());
        while let (Some(l), Some(r)) = (left.peek(), right.peek()) {
            let both = Interval {
                low: l.low.clone().max(r.low.clone()),
                high: lower(l.high.as_ref(), r.high.as_ref()).cloned(),
            };
            // The one that ends first meets no other.
            if both.high == l.high {
                left.next();
            } else {
                right.next();
            }
            if !both.is_empty() {
                list.push(both);
            }
        }
        Self {
            list,
            exact: self.exact && other.exact,
        }
    }

    /// The values that are in one of these.
    fn union(all: impl IntoIterator<Item = Self>) -> Self {
        let mut exact = true;
        let mut list: Vec<Interval> = Vec::new();
        for one in all {
            exact &= one.exact;
            list.extend(one.list);
        }
        list.sort_unstable();
        let mut united: Vec<Interval> = Vec::new();
        for next in list {
            match united.last_mut() {
                Some(last) if last.high.as_ref().is_none_or(|high| next.low <= *high) => {
                    last.high = match (last.high.take(), next.high) {
                        (Some(a), Some(b)) => Some(a.max(b)),
                        (None, _) | (_, None) => None,
                    };
                }
                Some(_) | None => united.push(next),
            }
        }
        let united = Self {
            list: united,
            exact,
        };
        if united.list.len() > MAX_INTERVALS {
            united.hull()
        } else {
            united
        }
    }

    fn hull(self) -> Self {
        let mut list = self.list.into_iter();
        let Some(first) = list.next() else {
            return Self::none();
        };
        let high = list.last().map_or(first.high, |last| last.high);
        Self {
            list: vec![Interval { high, ..first }],
            exact: false,
        }
    }

    /// The same over whole composite keys: each interval behind each of `fronts`.
    #[must_use]
    pub fn behind(&self, fronts: &[Vec<u8>]) -> Vec<Interval> {
        let joined = |front: &Vec<u8>, more: &[u8]| [front, more].concat();
        let behind = |front| {
            self.list.iter().map(move |interval| Interval {
                low: joined(front, &interval.low),
                high: Some(match &interval.high {
                    Some(high) => joined(front, high),
                    None => joined(front, &[AFTER]),
                }),
            })
        };
        fronts.iter().flat_map(behind).collect()
    }
}

/// The end that comes first; no end comes last.
fn lower<'a>(left: Option<&'a Vec<u8>>, right: Option<&'a Vec<u8>>) -> Option<&'a Vec<u8>> {
    match (left, right) {
        (Some(l), Some(r)) => Some(l.min(r)),
        (only, None) | (None, only) => only,
    }
}

impl Clause {
    /// The values of `field` in documents that match; `None` if one without it may match.
    ///
    /// `as_indexed` is the order of the index's keys: a condition that compares in another one
    /// (those on `_id` do) only keeps its equality.
    pub(super) fn intervals(&self, field: &str, as_indexed: Collation) -> Option<Intervals> {
        if self.is_never() {
            return Some(Intervals::none());
        }
        match self {
            Self::And(clauses) => {
                let each = clauses
                    .iter()
                    .filter_map(|clause| clause.intervals(field, as_indexed));
                let all = each.reduce(|left, right| left.intersection(&right))?;
                // What says something of the field that no interval can say is still to be asked.
                let said = |clause: &Self| {
                    !clause.mentions(field) || clause.intervals(field, as_indexed).is_some()
                };
                Some(if clauses.iter().all(said) {
                    all
                } else {
                    all.inexact()
                })
            }
            Self::Or(clauses) if !clauses.is_empty() => {
                let each = clauses
                    .iter()
                    .map(|clause| clause.intervals(field, as_indexed));
                // A document may come by another branch, which asks for more than this field.
                let plain = clauses.iter().all(|clause| clause.is_about(field));
                let all = Intervals::union(each.collect::<Option<Vec<_>>>()?);
                Some(if plain { all } else { all.inexact() })
            }
            Self::Field {
                path,
                collation,
                condition,
            } if path.name() == field => condition.intervals(*collation, as_indexed),
            Self::Field { .. } | Self::Or(_) | Self::Not(_) => None,
        }
    }

    /// Whether no document can match.
    pub(super) fn is_never(&self) -> bool {
        match self {
            Self::And(clauses) => clauses.iter().any(Self::is_never),
            Self::Or(clauses) => !clauses.is_empty() && clauses.iter().all(Self::is_never),
            Self::Not(_) => false,
            Self::Field { condition, .. } => matches!(
                condition,
                Condition::In(values) | Condition::All(values) if values.is_empty()
            ),
        }
    }

    fn mentions(&self, field: &str) -> bool {
        match self {
            Self::And(clauses) | Self::Or(clauses) => {
                clauses.iter().any(|clause| clause.mentions(field))
            }
            Self::Not(clause) => clause.mentions(field),
            Self::Field { path, .. } => path.name() == field,
        }
    }

    /// Whether this clause asks for nothing but `field`.
    pub(super) fn is_about(&self, field: &str) -> bool {
        match self {
            Self::And(clauses) | Self::Or(clauses) => {
                clauses.iter().all(|clause| clause.is_about(field))
            }
            Self::Not(clause) => clause.is_about(field),
            Self::Field { path, .. } => path.name() == field,
        }
    }
}

impl Condition {
    fn intervals(&self, collation: Collation, as_indexed: Collation) -> Option<Intervals> {
        if let Self::Exists(false) = self {
            return None;
        }
        let ordered = collation == as_indexed;
        let between = |low, high| Intervals::of(as_indexed, low, high);
        Some(match self {
            Self::Compare {
                comparison,
                operand,
            } => return Some(of_comparison(*comparison, operand, ordered, as_indexed)),
            Self::In(_) if !ordered && as_indexed == Collation::Raw => Intervals::all().inexact(),
            Self::In(values) => {
                let points = values
                    .iter()
                    .map(|value| between(Bound::Included(value), Bound::Included(value)));
                // An array is asked for its elements.
                Intervals::union(points.chain([kind(&Value::Array(Vec::new()), as_indexed)]))
                    .inexact()
            }
            Self::Exists(_) => Intervals::all(),
            Self::Type(name) => kind_named(name, as_indexed),
            Self::Mod { .. } => kind(&Value::from(0), as_indexed).inexact(),
            Self::Regex { .. } => kind(&Value::from(""), as_indexed).inexact(),
            Self::BeginsWith(_) => match self.range(collation) {
                Some(range) if ordered => {
                    between(range.low.as_ref(), range.high.as_ref()).inexact()
                }
                _ => kind(&Value::from(""), as_indexed).inexact(),
            },
            Self::Size(_) | Self::All(_) | Self::ElemMatch(_) | Self::AllMatch(_) => {
                kind(&Value::Array(Vec::new()), as_indexed).inexact()
            }
            Self::KeyMapMatch(_) => {
                kind(&Value::Object(serde_json::Map::new()), as_indexed).inexact()
            }
            Self::NotIn(_) | Self::Not(_) => Intervals::all().inexact(),
        })
    }
}

/// Equality in raw order is equality in every order, the reverse is not so.
fn of_comparison(
    comparison: Comparison,
    operand: &Value,
    ordered: bool,
    as_indexed: Collation,
) -> Intervals {
    let between = |low, high| Intervals::of(as_indexed, low, high);
    match comparison {
        Comparison::NotEqual => return Intervals::all().inexact(),
        Comparison::Equal if !ordered && as_indexed == Collation::Unicode => {
            return between(Bound::Included(operand), Bound::Included(operand)).inexact();
        }
        Comparison::Less
        | Comparison::LessOrEqual
        | Comparison::Equal
        | Comparison::GreaterOrEqual
        | Comparison::Greater => {}
    }
    if !ordered {
        return Intervals::all().inexact();
    }
    match comparison {
        Comparison::Less => between(Bound::Unbounded, Bound::Excluded(operand)),
        Comparison::LessOrEqual => between(Bound::Unbounded, Bound::Included(operand)),
        Comparison::Equal => between(Bound::Included(operand), Bound::Included(operand)),
        Comparison::GreaterOrEqual => between(Bound::Included(operand), Bound::Unbounded),
        Comparison::Greater => between(Bound::Excluded(operand), Bound::Unbounded),
        Comparison::NotEqual => Intervals::all(),
    }
}

/// All values of the kind of `example`: their sort keys have its first byte.
fn kind(example: &Value, collation: Collation) -> Intervals {
    let mut key = Vec::new();
    collation.sort_key(example, &mut key);
    key.truncate(1);
    let high = key.first().and_then(|tag| tag.checked_add(1));
    Intervals {
        list: vec![Interval {
            low: key,
            high: high.map(|tag| vec![tag]),
        }],
        exact: true,
    }
}

fn kind_named(name: &str, collation: Collation) -> Intervals {
    let example = match name {
        "null" => Value::Null,
        "boolean" => {
            let each = [false, true].map(|value| kind(&Value::from(value), collation));
            return Intervals::union(each);
        }
        "number" => Value::from(0),
        "string" => Value::from(""),
        "array" => Value::Array(Vec::new()),
        "object" => Value::Object(serde_json::Map::new()),
        _ => return Intervals::none(),
    };
    kind(&example, collation)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::selector::{Lookup, Selector};

    fn key(value: &Value) -> Vec<u8> {
        let mut key = Vec::new();
        Collation::Unicode.sort_key(value, &mut key);
        key
    }

    fn holds(intervals: &Intervals, value: &Value) -> bool {
        let key = key(value);
        let inside =
            |one: &&Interval| one.low <= key && one.high.as_ref().is_none_or(|high| key < *high);
        intervals.list().iter().filter(inside).count() == 1
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "calls read better with `json!`"
    )]
    fn check(selector: Value, pieces: Option<usize>, exact: bool) {
        let parsed = Selector::parse(&selector).unwrap();
        let found = parsed.intervals_for("a", Collation::Unicode);
        assert_eq!(found.as_ref().map(|i| i.list().len()), pieces, "{selector}");
        if let Some(found) = found {
            assert_eq!(found.is_exact(), exact, "{selector}");
        }
    }

    #[test]
    fn conditions_become_few_intervals() {
        check(json!({"a": 1}), Some(1), true);
        check(json!({"a": {"$gt": 1, "$lte": 5}}), Some(1), true);
        check(json!({"a": {"$gt": 5, "$lt": 1}}), Some(0), true);
        check(json!({"a": {"$in": [1, 2, 2]}}), Some(3), false);
        check(json!({"a": {"$in": []}}), Some(0), true);
        check(json!({"a": {"$ne": 1}}), Some(1), false);
        check(json!({"a": {"$type": "boolean"}}), Some(2), true);
        check(
            json!({"$or": [{"a": 1}, {"a": {"$gt": 5}}, {"a": {"$gt": 7}}]}),
            Some(2),
            true,
        );
        check(json!({"$or": [{"a": 1}, {"a": 2, "b": 3}]}), Some(2), false);
        check(json!({"$or": [{"a": 1}, {"b": 1}]}), None, false);
        check(json!({"a": {"$exists": false}}), None, false);
        check(
            json!({"a": {"$gt": 1}, "$or": [{"a": 5}, {"a": {"$exists": false}}]}),
            Some(1),
            false,
        );
        check(json!({"a": {"$gt": 1}, "b": 2}), Some(1), true);
        check(json!({"b": 2}), None, false);
        check(json!({"$not": {"a": 1}}), Some(1), false);
        check(json!({"b": {"$in": []}}), Some(0), true);
        let many: Vec<Value> = (0..3_000).map(Value::from).collect();
        check(json!({"a": {"$in": many}}), Some(1), false);
    }

    #[test]
    fn raw_order_keeps_its_equality_only() {
        let intervals = |selector: Value, order| {
            let parsed = Selector::parse(&selector).unwrap();
            parsed.intervals_for("_id", order).unwrap()
        };
        assert!(intervals(json!({"_id": "x"}), Collation::Unicode).is_point());
        assert!(intervals(json!({"_id": {"$gt": "x"}}), Collation::Unicode).is_all());
        assert!(!intervals(json!({"_id": {"$gt": "x"}}), Collation::Raw).is_all());
    }

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-2i64..4).prop_map(Value::from),
            "[abA]{0,2}".prop_map(Value::from),
            Just(json!([])),
            Just(json!([1])),
            Just(json!([1, "a"])),
            Just(json!({"k": 1})),
        ]
    }

    fn any_condition() -> impl Strategy<Value = Value> {
        let operator = prop::sample::select(vec!["$lt", "$lte", "$eq", "$ne", "$gte", "$gt"]);
        prop_oneof![
            8 => (operator, any_value()).prop_map(|(o, v)| json!({o: v})),
            2 => prop::collection::vec(any_value(), 0..4).prop_map(|v| json!({"$in": v})),
            1 => prop::collection::vec(any_value(), 0..4).prop_map(|v| json!({"$nin": v})),
            1 => any::<bool>().prop_map(|b| json!({"$exists": b})),
            1 => prop::sample::select(vec!["null", "boolean", "number", "string", "array", "object", "x"]).prop_map(|t| json!({"$type": t})),
            1 => Just(json!({"$regex": "^a"})), 1 => Just(json!({"$beginsWith": "a"})), 1 => Just(json!({"$mod": [2, 1]})),
            1 => Just(json!({"$size": 1})), 1 => Just(json!({"$all": [1]})), 1 => Just(json!({"$elemMatch": {"$eq": 1}})),
            1 => Just(json!({"$allMatch": {"$eq": 1}})), 1 => Just(json!({"$keyMapMatch": {"$eq": "k"}})),
        ]
    }

    fn any_selector() -> impl Strategy<Value = Value> {
        let field = prop::sample::select(vec!["a", "a", "b"]);
        let leaf = (field, any_condition()).prop_map(|(f, c)| json!({f: c}));
        leaf.prop_recursive(3, 12, 3, |inner| {
            let list = prop::collection::vec(inner.clone(), 1..4);
            prop_oneof![
                (prop::sample::select(vec!["$and", "$or", "$nor"]), list)
                    .prop_map(|(o, l)| json!({o: l})),
                inner.prop_map(|s| json!({"$not": s})),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Nothing that matches lies outside, and where the intervals are exact nothing inside
        /// fails but for the other field.
        #[test]
        fn intervals_hold_what_matches(selector in any_selector(), a in prop::option::of(any_value()), b in prop::option::of(any_value())) {
            let parsed = Selector::parse(&selector).unwrap();
            let mut document = json!({});
            if let Some(a) = &a { document["a"] = a.clone(); }
            if let Some(b) = &b { document["b"] = b.clone(); }
            let matches = parsed.try_matches(&document).unwrap();
            prop_assert!(!(parsed.is_never() && matches));
            if parsed.requires("a") {
                prop_assert!(!matches || a.is_some(), "{} requires a", selector);
            }
            let again = Selector::parse(&parsed.to_json()).unwrap();
            prop_assert_eq!(again.try_matches(&document).unwrap(), matches, "{}", parsed.to_json());
            if let Some(intervals) = parsed.intervals_for("a", Collation::Unicode) {
                prop_assert!(intervals.list().is_sorted());
                if let Some(a) = &a {
                    let inside = holds(&intervals, a);
                    prop_assert!(!matches || inside, "{} matches outside", selector);
                    if intervals.is_exact() && parsed.is_about(&["a"]) {
                        prop_assert_eq!(inside, matches, "{} is exact", selector);
                    }
                } else {
                    prop_assert!(!matches);
                }
            }
            let path = crate::selector::FieldPath::parse("a").unwrap();
            if parsed.fixes("a") && matches && let Lookup::Found(value) = path.find(&document) {
                let intervals = parsed.intervals_for("a", Collation::Unicode).unwrap();
                prop_assert!(intervals.is_point() && holds(&intervals, value));
            }
        }
    }
}

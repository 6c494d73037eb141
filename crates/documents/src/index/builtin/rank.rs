//! `_top_N` and `_bottom_N`: the greatest or least distinct values, in the order of view keys.

use std::cmp::Ordering;

use serde_json::Value;

use super::term::Term;
use crate::collation;

/// Which values come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Rising,
    Falling,
}

/// The first values found so far, each once; of those that collate equal, the one that came first.
struct Ranking {
    order: Order,
    count: usize,
    first: Vec<Value>,
}

impl Ranking {
    fn take(&mut self, value: Value) {
        let order = self.order;
        let compare = |known: &Value| match order {
            Order::Rising => collation::compare(known, &value),
            Order::Falling => collation::compare(&value, known),
        };
        // Most values of many come too late.
        let full = self.first.len() == self.count;
        if full && self.first.last().map(compare) == Some(Ordering::Less) {
            return;
        }
        if let Err(place) = self.first.binary_search_by(compare) {
            self.first.insert(place, value);
            self.first.truncate(self.count);
        }
    }

    fn into_json(self) -> String {
        let mut out = String::from("[");
        for (n, value) in self.first.into_iter().enumerate() {
            out.push_str(if n > 0 { "," } else { "" });
            Term::of(value).write(&mut out);
        }
        out.push(']');
        out
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// The first `count` of values.
pub(super) fn rank<'v>(
    values: impl Iterator<Item = &'v str>,
    order: Order,
    count: usize,
) -> String {
    let mut ranking = Ranking {
        order,
        count,
        first: Vec::new(),
    };
    values.for_each(|value| ranking.take(parse(value)));
    ranking.into_json()
}

/// The first `count` of what [`rank`] found in parts.
pub(super) fn merge<'v>(
    parts: impl Iterator<Item = &'v str>,
    order: Order,
    count: usize,
) -> String {
    let mut ranking = Ranking {
        order,
        count,
        first: Vec::new(),
    };
    for part in parts {
        match parse(part) {
            Value::Array(values) => values.into_iter().for_each(|value| ranking.take(value)),
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_)) => ranking.take(other),
        }
    }
    ranking.into_json()
}

//! From a selector to pieces of an index: which rows can belong to documents that match.
//!
//! Columns that are fixed to few values are a common front of the keys; the first column behind
//! them that is not gives the ranges; columns behind that one only help to decide who is tried.
//!
//! Invariant: every document that matches, and that the index has, lies in one of the ranges. They
//! rise and do not meet, so walking them one after the other keeps the index's order.

use adea_documents::collation::Collation;
use adea_documents::index::{RowPosition, RowRange};
use adea_documents::reader::IdRange;
use adea_documents::selector::{Interval, Intervals, Selector};
use serde_json::Value;

use super::MangoIndex;

/// Fronts that are told apart; beyond, a column's values are taken as one run.
const FRONTS_MAX: usize = 256;
/// Ranges that are walked one by one; beyond, as one.
const RANGES_MAX: usize = 1_000;
/// Greater than every byte that may follow a sort key.
const AFTER: u8 = 0xff;

/// The part of an index that a query is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexPart {
    /// What is walked, rising.
    pub(crate) ranges: Vec<RowRange>,
    /// Whether each row in them is one of a document that matches.
    pub(crate) exact: bool,
}

/// What of `index` may match `selector`, within `partition` if the index is parted.
pub(super) fn index_part(
    index: &MangoIndex,
    selector: &Selector,
    partition: Option<&str>,
) -> IndexPart {
    let columns: Vec<&str> = index.column_names().collect();
    let mut exact = selector.is_about(&columns);
    let mut fronts = vec![front(partition.filter(|_| index.partitioned))];
    let mut ranges: Option<Vec<Interval>> = None;
    for column in &columns {
        let intervals = selector
            .intervals_for(column, Collation::Unicode)
            .unwrap_or_else(Intervals::all);
        exact &= intervals.is_exact();
        if ranges.is_some() {
            // Behind a range, nothing of this column is seen to.
            exact &= intervals.is_all();
            continue;
        }
        let values = intervals.list();
        let points = values.iter().all(Interval::is_point);
        if points && fronts.len().saturating_mul(values.len()) <= FRONTS_MAX {
            let joined = |front: &Vec<u8>| {
                let front = front.clone();
                values
                    .iter()
                    .map(move |point| [&*front, &*point.low].concat())
            };
            fronts = fronts.iter().flat_map(joined).collect();
        } else {
            ranges = Some(intervals.behind(&fronts));
        }
    }
    let ranges = ranges.unwrap_or_else(|| fronts.into_iter().map(point).collect());
    if ranges.len() > RANGES_MAX {
        exact = false;
    }
    IndexPart {
        ranges: few(ranges).into_iter().map(row_range).collect(),
        exact,
    }
}

fn point(front: Vec<u8>) -> Interval {
    let mut high = front.clone();
    high.push(AFTER);
    Interval {
        low: front,
        high: Some(high),
    }
}

/// No more intervals than are walked one by one.
fn few(intervals: Vec<Interval>) -> Vec<Interval> {
    if intervals.len() <= RANGES_MAX {
        return intervals;
    }
    let mut intervals = intervals.into_iter();
    let first = intervals.next();
    let last = intervals.next_back();
    let hull = |first: Interval, last: Interval| Interval {
        low: first.low,
        high: last.high,
    };
    first
        .zip(last)
        .map(|(f, l)| hull(f, l))
        .into_iter()
        .collect()
}

fn row_range(interval: Interval) -> RowRange {
    RowRange {
        from: RowPosition::from_bytes(interval.low),
        to: interval.high.map(RowPosition::from_bytes),
    }
}

/// How the sort keys of all rows begin: that of an array, and, where the index is parted, of one
/// inside another, behind the partition.
fn front(partition: Option<&str>) -> Vec<u8> {
    let mut array = Vec::new();
    Collation::Unicode.sort_key(&Value::Array(Vec::new()), &mut array);
    array.truncate(1);
    let mut front = array.clone();
    if let Some(partition) = partition {
        Collation::Unicode.sort_key(&Value::from(partition), &mut front);
        front.extend_from_slice(&array);
    }
    front
}

/// The ids that documents which match `selector` may have, within `partition`.
pub(super) fn id_ranges(selector: &Selector, partition: Option<&str>) -> Vec<IdRange> {
    let intervals = selector
        .intervals_for("_id", Collation::Raw)
        .unwrap_or_else(Intervals::all);
    let within = partition.map_or_else(IdRange::default, |partition| IdRange {
        first: Some(format!("{partition}:")),
        // The character behind the colon.
        last: Some((format!("{partition};"), false)),
    });
    let ranges = few(intervals.list().to_vec()).into_iter();
    ranges
        .filter_map(|interval| intersection(ids_in(&interval)?, within.clone()))
        .collect()
}

/// The ids whose sort keys lie in an interval.
fn ids_in(interval: &Interval) -> Option<IdRange> {
    let first = match text_of(&interval.low) {
        Bound::Below => None,
        Bound::Above => return None,
        Bound::At(id) => Some(id),
        Bound::Behind(id) => Some(format!("{id}\0")),
    };
    let last = match interval.high.as_deref().map_or(Bound::Above, text_of) {
        Bound::Below => return None,
        Bound::Above => None,
        Bound::At(id) => Some((id, false)),
        Bound::Behind(id) => Some((id, true)),
    };
    Some(IdRange { first, last })
}

/// Where a bound lies among texts.
enum Bound {
    Below,
    At(String),
    Behind(String),
    Above,
}

fn text_of(key: &[u8]) -> Bound {
    let mut tag = Vec::new();
    Collation::Raw.sort_key(&Value::from(""), &mut tag);
    let tag = tag.first().copied().unwrap_or_default();
    let text = match key.split_first() {
        None => return Bound::Below,
        Some((first, _)) if *first < tag => return Bound::Below,
        Some((first, _)) if *first > tag => return Bound::Above,
        Some((_, text)) => text,
    };
    // Zero bytes of a text have 0xff behind them; one that has not ends it.
    let (mut bytes, mut rest) = (Vec::new(), text.iter().copied().peekable());
    let mut ended = false;
    while let Some(byte) = rest.next() {
        if byte == 0 && rest.peek() != Some(&AFTER) {
            ended = true;
            break;
        }
        if byte == 0 && rest.len() == 1 {
            // The end, and the mark of a bound that lies behind it.
            return Bound::Behind(lossless(bytes));
        }
        bytes.push(byte);
        if byte == 0 {
            rest.next();
        }
    }
    if ended || !bytes.is_empty() {
        Bound::At(lossless(bytes))
    } else {
        Bound::Below
    }
}

/// The sort key came from a text, so its bytes are one.
fn lossless(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_default()
}

/// The ids in both; `None` if there can be none.
pub(super) fn intersection(left: IdRange, right: IdRange) -> Option<IdRange> {
    let first = left.first.max(right.first);
    let last = match (left.last, right.last) {
        (Some(l), Some(r)) => Some(if (&l.0, l.1) <= (&r.0, r.1) { l } else { r }),
        (only, None) | (None, only) => only,
    };
    let empty = match (&first, &last) {
        (Some(first), Some((last, inclusive))) => first > last || first == last && !inclusive,
        (None, _) | (_, None) => false,
    };
    (!empty).then_some(IdRange { first, last })
}

/// Whether ids are asked for in the whole database, and not in a part of it.
pub(super) fn is_everything(ranges: &[IdRange]) -> bool {
    matches!(ranges, [all] if *all == IdRange::default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[expect(
        clippy::needless_pass_by_value,
        reason = "calls read better with `json!`"
    )]
    fn ids(selector: Value) -> Vec<IdRange> {
        id_ranges(&Selector::parse(&selector).unwrap(), None)
    }

    fn range(first: Option<&str>, last: Option<(&str, bool)>) -> IdRange {
        IdRange {
            first: first.map(str::to_owned),
            last: last.map(|(id, inclusive)| (id.to_owned(), inclusive)),
        }
    }

    #[test]
    fn selectors_of_ids_are_ranges() {
        assert!(is_everything(&ids(json!({}))));
        assert!(is_everything(&ids(json!({"_id": {"$gt": null}}))));
        assert_eq!(
            ids(json!({"_id": "x"})),
            [range(Some("x"), Some(("x", true)))]
        );
        assert_eq!(
            ids(json!({"_id": {"$gt": "x", "$lt": "y"}})),
            [range(Some("x\0"), Some(("y", false)))]
        );
        assert_eq!(ids(json!({"_id": {"$gte": ""}})), [range(Some(""), None)]);
        assert_eq!(ids(json!({"_id": {"$lt": 5}})), []);
        assert_eq!(
            ids(json!({"_id": {"$beginsWith": "ab"}})),
            [range(Some("ab"), Some(("ac", false)))]
        );
        assert_eq!(
            ids(json!({"_id": {"$in": ["b", "a\0c", 7]}}))
                .iter()
                .map(|r| r.first.clone().unwrap_or_default())
                .collect::<Vec<_>>(),
            ["a\0c", "b"]
        );
        let parted = id_ranges(
            &Selector::parse(&json!({"_id": {"$gt": "p:5"}})).unwrap(),
            Some("p"),
        );
        assert_eq!(parted, [range(Some("p:5\0"), Some(("p;", false)))]);
        assert_eq!(
            id_ranges(&Selector::parse(&json!({"_id": "q:1"})).unwrap(), Some("p")),
            []
        );
    }

    proptest! {
        #[test]
        fn ranges_hold_the_ids_that_match(
            bounds in prop::collection::vec((prop::sample::select(vec!["$lt", "$lte", "$eq", "$gte", "$gt"]), "[\\x00a-c]{0,3}"), 1..3),
            id in "[\\x00a-c]{1,3}",
        ) {
            let each: Vec<Value> = bounds.iter().map(|(operator, value)| json!({"_id": {*operator: value}})).collect();
            let selector = Selector::parse(&json!({"$and": each})).unwrap();
            let inside = id_ranges(&selector, None).iter().any(|range| {
                range.first.as_ref().is_none_or(|first| *first <= id)
                    && range.last.as_ref().is_none_or(|(last, inclusive)| id < *last || *inclusive && id == *last)
            });
            prop_assert_eq!(inside, selector.matches(&json!({"_id": id})));
        }
    }
}

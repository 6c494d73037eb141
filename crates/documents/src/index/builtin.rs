//! The reduces that need no JavaScript.
//!
//! Each makes one JSON text of rows, the same of several such texts, and at the end what a client
//! sees of it. They answer as `CouchDB` 3.5 does; where `_sum` meets what it cannot add, the
//! answer is an object that says so, and stays one in whatever is summed with it.

mod distinct;
mod number;
mod rank;
mod stats;
mod sum;
mod term;

use super::row::OwnedRow;

/// A reduce that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// `_sum`
    Sum,
    /// `_count`
    Count,
    /// `_stats`
    Stats,
    /// `_approx_count_distinct`
    ApproxCountDistinct,
    /// `_first`
    First,
    /// `_last`
    Last,
    /// `_top_N`
    Top(u8),
    /// `_bottom_N`
    Bottom(u8),
}

/// A name that begins as those of built-in reduces do, and is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a supported reduce function.")]
pub struct UnknownBuiltin(pub String);

/// What a reduce answers instead of a value: a whole query fails of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BuiltinError {
    /// `CouchDB`'s word.
    pub error: String,
    /// `CouchDB`'s sentence.
    pub reason: String,
}

impl BuiltinError {
    fn invalid_value(reason: String) -> Self {
        Self {
            error: "invalid_value".to_owned(),
            reason,
        }
    }
}

/// The most values that `_top_N` and `_bottom_N` keep.
const RANK_MAX: u8 = 100;

impl Builtin {
    /// The built-in reduce that `source` names; `None` if it is a function's source. As in
    /// `CouchDB`, most names may have something behind them.
    ///
    /// # Errors
    /// [`UnknownBuiltin`] for another name.
    pub fn parse(source: &str) -> Result<Option<Self>, UnknownBuiltin> {
        if !source.starts_with('_') {
            return Ok(None);
        }
        let named = [
            ("_sum", Self::Sum),
            ("_count", Self::Count),
            ("_stats", Self::Stats),
            ("_approx_count_distinct", Self::ApproxCountDistinct),
            ("_first", Self::First),
            ("_last", Self::Last),
        ];
        if let Some((_, found)) = named.iter().find(|(name, _)| source.starts_with(name)) {
            return Ok(Some(*found));
        }
        let rank = |prefix: &str| -> Option<u8> {
            let count = source.strip_prefix(prefix)?.parse().ok()?;
            (1..=RANK_MAX).contains(&count).then_some(count)
        };
        let found = rank("_top_")
            .map(Self::Top)
            .or_else(|| rank("_bottom_").map(Self::Bottom));
        match found {
            Some(found) => Ok(Some(found)),
            None => Err(UnknownBuiltin(source.to_owned())),
        }
    }

    /// What it makes of rows, in the order of keys: a value for [`Builtin::rereduce`] and
    /// [`Builtin::finalize`].
    ///
    /// # Errors
    /// [`BuiltinError`] for values that it cannot take.
    pub fn reduce(self, rows: &[OwnedRow]) -> Result<String, BuiltinError> {
        let values = || rows.iter().map(|row| row.value.as_str());
        Ok(match self {
            Self::Sum => sum::sum(values()),
            Self::Count => rows.len().to_string(),
            Self::Stats => stats::stats(values())?,
            Self::ApproxCountDistinct => {
                distinct::sketch(rows.iter().map(|row| row.key.as_bytes()))
            }
            Self::First => first(values().next()),
            Self::Last => first(values().next_back()),
            Self::Top(count) => rank::rank(values(), rank::Order::Falling, usize::from(count)),
            Self::Bottom(count) => rank::rank(values(), rank::Order::Rising, usize::from(count)),
        })
    }

    /// What it makes of what it made before, in the order of keys.
    ///
    /// # Errors
    /// [`BuiltinError`] for values that it cannot take.
    pub fn rereduce(self, values: &[String]) -> Result<String, BuiltinError> {
        let texts = || values.iter().map(String::as_str);
        Ok(match self {
            Self::Sum | Self::Count => sum::sum(texts()),
            Self::Stats => stats::stats(texts())?,
            Self::ApproxCountDistinct => distinct::union(texts()),
            Self::First => first(texts().next()),
            Self::Last => first(texts().next_back()),
            Self::Top(count) => rank::merge(texts(), rank::Order::Falling, usize::from(count)),
            Self::Bottom(count) => rank::merge(texts(), rank::Order::Rising, usize::from(count)),
        })
    }

    /// What a client sees of what it made.
    ///
    /// # Errors
    /// [`BuiltinError`] for values that it cannot take.
    pub fn finalize(self, value: &str) -> Result<String, BuiltinError> {
        Ok(match self {
            Self::ApproxCountDistinct => distinct::estimate(value).to_string(),
            Self::Sum
            | Self::Count
            | Self::Stats
            | Self::First
            | Self::Last
            | Self::Top(_)
            | Self::Bottom(_) => value.to_owned(),
        })
    }
}

fn first(value: Option<&str>) -> String {
    value.unwrap_or("null").to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn rows(values: &[&str]) -> Vec<OwnedRow> {
        let row = |(n, value): (usize, &&str)| OwnedRow {
            key: n.to_string(),
            id: format!("d{n}"),
            value: (*value).to_owned(),
        };
        values.iter().enumerate().map(row).collect()
    }

    fn reduced(builtin: Builtin, values: &[&str]) -> String {
        let reduced = builtin.reduce(&rows(values)).unwrap();
        builtin.finalize(&reduced).unwrap()
    }

    #[test]
    fn names_are_those_of_couchdb() {
        let check = |source: &str, expected| assert_eq!(Builtin::parse(source), Ok(expected));
        check("_sum", Some(Builtin::Sum));
        check("_count", Some(Builtin::Count));
        check("_stats", Some(Builtin::Stats));
        check("_approx_count_distinct", Some(Builtin::ApproxCountDistinct));
        check("_first", Some(Builtin::First));
        check("_last", Some(Builtin::Last));
        check("_top_1", Some(Builtin::Top(1)));
        check("_bottom_100", Some(Builtin::Bottom(100)));
        check("function(k, v) { return 1 }", None);
        check("(k, v) => 1", None);
        for wrong in [
            "_",
            "_foo",
            "_top_",
            "_top_0",
            "_top_101",
            "_bottom_x",
            "_top_-1",
        ] {
            let unknown = Builtin::parse(wrong).unwrap_err();
            assert_eq!(
                unknown.to_string(),
                format!("`{wrong}` is not a supported reduce function.")
            );
        }
    }

    #[test]
    fn sums_are_those_of_couchdb() {
        let check = |values: &[&str], expected: &str| {
            assert_eq!(reduced(Builtin::Sum, values), expected, "{values:?}");
        };
        check(&[], "0");
        check(&["1", "2"], "3");
        check(&["1", "2.0"], "3.0");
        check(&["0.1", "0.2"], "0.30000000000000004");
        check(&["9223372036854775807", "1"], "9223372036854775808");
        check(
            &[
                "123456789012345678901234567890",
                "-123456789012345678901234567889",
            ],
            "1",
        );
        check(&["2", "[3,5,7]"], "[5,5,7]");
        check(&["[0,0,0,42]", "1", "[3]"], "[4,0,0,42]");
        check(&["[]"], "[0]");
        check(&["[1,2]", "[1.5]"], "[2.5,2]");
        check(&[r#"{"b":1,"a":2}"#], r#"{"b":1,"a":2}"#);
        check(
            &[
                r#"{"a":1,"b":[1,2],"c":{"d":3},"g":1}"#,
                r#"{"a":2,"b":3,"c":{"e":5},"f":1,"g":1}"#,
            ],
            r#"{"a":3,"b":[4,2],"c":{"d":3,"e":5},"f":1,"g":2}"#,
        );
        let reason = "The _sum function requires that map values be numbers, arrays of numbers, \
            or objects. Objects cannot be mixed with other data structures. Objects can be \
            arbitrarily nested, provided that the values for all fields are themselves numbers, \
            arrays of numbers, or objects.";
        let wrong = |cause: &str| {
            format!(r#"{{"error":"builtin_reduce_error","reason":"{reason}","caused_by":{cause}}}"#)
        };
        check(&["1", r#""baz""#, "2"], &wrong(r#""baz""#));
        check(&["null"], &wrong("null"));
        check(&["1", r#"{"a":1}"#], &wrong(r#"{"a":1}"#));
        check(&[r#"{"a":1}"#, "1"], &wrong("1"));
        check(&[r#"["a"]"#], &wrong("[0]"));
        check(&["1e308", "1e308"], &wrong("1e+308"));
        let failed = wrong("null");
        let again = Builtin::Sum.rereduce(&["3".to_owned(), failed.clone()]);
        assert_eq!(again, Ok(failed));
    }

    #[test]
    fn a_sum_that_does_not_shrink_is_refused() {
        let key = |n: usize| format!(r#""{}{n}":1"#, "k".repeat(40_000));
        let values = [0, 1, 2].map(|n| format!("{{{}}}", key(n)));
        let sum = Builtin::Sum.rereduce(&values).unwrap();
        assert!(sum.starts_with(
            r#"{"error":"builtin_reduce_error","reason":"Reduce output must shrink more rapidly: input size: "#
        ));
        let one = Builtin::Sum.rereduce(&values[..1]);
        assert_eq!(one.as_deref(), Ok(values[0].as_str()));
    }

    #[test]
    fn statistics_are_those_of_couchdb() {
        let check = |values: &[&str], expected: &str| {
            assert_eq!(reduced(Builtin::Stats, values), expected, "{values:?}");
        };
        check(
            &["-1", "0", "1.5"],
            r#"{"sum":0.5,"count":3,"min":-1,"max":1.5,"sumsqr":3.25}"#,
        );
        check(&[], r#"{"sum":0,"count":0,"min":0,"max":0,"sumsqr":0}"#);
        check(
            &["[2,3]", "[7,11]"],
            r#"[{"sum":9,"count":2,"min":2,"max":7,"sumsqr":53},{"sum":14,"count":2,"min":3,"max":11,"sumsqr":130}]"#,
        );
        check(
            &[
                "3",
                r#"{"x":0,"sum":2,"count":1,"min":2,"max":2,"sumsqr":4}"#,
            ],
            r#"{"sum":5,"count":2,"min":2,"max":3,"sumsqr":13}"#,
        );
        check(
            &["3037000500"],
            r#"{"sum":3037000500,"count":1,"min":3037000500,"max":3037000500,"sumsqr":9223372037000250000}"#,
        );
        for wrong in [
            &[r#""a""#][..],
            &["1", "null"],
            &["1", "[1]"],
            &["[1]", "[1,2]"],
            &["[1]", "1"],
            &[r#"{"sum":1}"#],
            &["1e300"],
        ] {
            let failed = Builtin::Stats.reduce(&rows(wrong)).unwrap_err();
            assert_eq!(failed.error, "invalid_value", "{wrong:?}");
        }
        let failed = Builtin::Stats.reduce(&rows(&["1", "null"])).unwrap_err();
        assert_eq!(
            failed.reason,
            "The _stats function requires that map values be numbers or arrays of numbers, not 'null'"
        );
    }

    #[test]
    fn ranks_and_ends_are_those_of_couchdb() {
        let values = ["2", r#""a""#, "null", "2.0", "10", "-1", "10"];
        let check = |builtin, expected: &str| {
            assert_eq!(reduced(builtin, &values), expected);
        };
        check(Builtin::Top(3), r#"["a",10,2]"#);
        check(Builtin::Bottom(2), "[null,-1]");
        check(Builtin::Bottom(100), r#"[null,-1,2,10,"a"]"#);
        check(Builtin::First, "2");
        check(Builtin::Last, "10");
        check(Builtin::Count, "7");
        let again = Builtin::Top(2).rereduce(&["[10,2]".to_owned(), "[10.0,3]".to_owned()]);
        assert_eq!(again.as_deref(), Ok("[10,3]"));
    }

    #[test]
    fn distinct_keys_are_counted_nearly() {
        let builtin = Builtin::ApproxCountDistinct;
        for count in [0, 1, 2, 30, 1_000, 5_000, 20_000, 100_000] {
            let rows: Vec<OwnedRow> = (0..2 * count)
                .map(|n| OwnedRow {
                    key: format!("[{}]", n % count),
                    id: String::new(),
                    value: String::new(),
                })
                .collect();
            let parts: Vec<String> = rows
                .chunks(700)
                .map(|rows| builtin.reduce(rows).unwrap())
                .collect();
            assert!(parts.iter().all(|part| part.len() <= 4_200));
            let whole = builtin.rereduce(&parts).unwrap();
            assert!(whole.len() <= 4_200);
            let found: f64 = builtin.finalize(&whole).unwrap().parse().unwrap();
            let count = f64::from(count);
            assert!((found - count).abs() <= 0.04 * count, "{found} of {count}");
        }
    }

    fn any_value() -> impl Strategy<Value = String> {
        let number = prop_oneof![
            (-9i64..9).prop_map(|n| n.to_string()),
            any::<i64>().prop_map(|n| n.to_string()),
            (-99i32..99).prop_map(|n| format!("{:?}", f64::from(n) / 4.0)),
        ];
        let list = prop::collection::vec(number.clone(), 0..4)
            .prop_map(|numbers| format!("[{}]", numbers.join(",")));
        let leaf = prop_oneof![4 => number, 2 => list, 1 => Just("null".to_owned()), 1 => Just(r#""x""#.to_owned())];
        prop_oneof![
            4 => leaf.clone(),
            1 => prop::collection::btree_map("[abc]", leaf, 0..3).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(key, value)| format!(r#""{key}":{value}"#)).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    }

    proptest! {
        /// However rows are cut into parts, the parts together are the whole, in exact numbers.
        #[test]
        fn parts_make_the_whole(values in prop::collection::vec(any_value(), 1..12), cut in 0usize..12) {
            let numbers = values.iter().all(|value| value.parse::<i64>().is_ok());
            let all = rows(&values.iter().map(String::as_str).collect::<Vec<_>>());
            let (front, back) = all.split_at(cut.min(all.len()));
            let mut builtins = vec![
                Builtin::Count,
                Builtin::ApproxCountDistinct,
                Builtin::First,
                Builtin::Last,
                Builtin::Top(3),
                Builtin::Bottom(2),
            ];
            if numbers {
                builtins.extend([Builtin::Sum, Builtin::Stats]);
            }
            for builtin in builtins {
                let parts: Result<Vec<String>, _> = [front, back]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .map(|part| builtin.reduce(part))
                    .collect();
                let together = builtin.rereduce(&parts.unwrap()).unwrap();
                let whole = builtin.reduce(&all).unwrap();
                prop_assert_eq!(builtin.finalize(&together), builtin.finalize(&whole));
            }
        }

        /// Whatever the values, what comes out is JSON or an error.
        #[test]
        fn no_values_do_harm(values in prop::collection::vec(prop_oneof![any_value(), ".{0,6}"], 0..6)) {
            let all = rows(&values.iter().map(String::as_str).collect::<Vec<_>>());
            for builtin in [Builtin::Sum, Builtin::Stats, Builtin::ApproxCountDistinct, Builtin::Top(2)] {
                for made in [builtin.reduce(&all), builtin.rereduce(&values)].into_iter().flatten() {
                    let shown = builtin.finalize(&made).unwrap();
                    prop_assert!(serde_json::from_str::<Value>(&shown).is_ok(), "{}", shown);
                }
            }
        }
    }
}

//! The order of JSON values: `CouchDB`'s view collation.
//!
//! Values sort by kind (null, false, true, numbers, strings, arrays, objects), then within
//! their kind: numbers by exact value, strings as the root Unicode collation says, arrays
//! element by element, objects member by member in the order in which they are stored. View
//! keys, `_find` and selectors all mean this order when they say "less than".
//!
//! The same order exists in two forms: [`compare`] for two values in hand, [`sort_key`] for
//! bytes that an ordered key-value store can hold. The invariant between them: comparing two
//! sort keys as bytes gives what [`compare`] gives for the values. No sort key is a proper
//! prefix of another, so a caller may append more (a document id) behind it.
//!
//! Different values may collate equal: `1` and `1.0`, `"a"` and `"a\u0000"`, a letter composed
//! and decomposed. That is what ICU does in `CouchDB`, too. Nothing here recurses, so no depth
//! of nesting can exhaust the stack.

mod text;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::slice;
use std::sync::LazyLock;

use icu_collator::options::{AlternateHandling, CollatorOptions, Strength};
use icu_collator::{Collator, CollatorBorrowed, CollatorPreferences};
use serde_json::{Number, Value, map};

/// The version of what [`sort_key`] writes, to be kept with every index built from it.
///
/// It rises when the encoding changes or when a new `icu_collator` brings new collation data:
/// keys of two versions do not compare, so the index must be built again.
pub const SORT_KEY_VERSION: u32 = 1;

/// Which of `CouchDB`'s two orders is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collation {
    /// The order of view keys and of nearly every comparison in a selector.
    Unicode,
    /// The order of Erlang terms: numbers, false, null, true, objects, arrays, strings, and
    /// strings by their bytes. `_id` in a selector and views with `"collation": "raw"` use it.
    Raw,
}

/// Compares two values by view collation.
#[must_use]
pub fn compare(left: &Value, right: &Value) -> Ordering {
    Collation::Unicode.compare(left, right)
}

/// Two containers that were equal so far, and where their comparison stands.
enum Pair<'a> {
    Arrays(slice::Iter<'a, Value>, slice::Iter<'a, Value>),
    Objects(map::Iter<'a>, map::Iter<'a>),
}

/// What the next members of a [`Pair`] say.
enum Step<'a> {
    Decided(Ordering),
    Descend(&'a Value, &'a Value),
}

impl Collation {
    /// Compares two values in this order.
    #[must_use]
    pub fn compare<'a>(self, mut left: &'a Value, mut right: &'a Value) -> Ordering {
        let mut pending = Vec::new();
        loop {
            let shallow = self.compare_shallow(left, right);
            if shallow.is_ne() {
                return shallow;
            }
            match (left, right) {
                (Value::Array(l), Value::Array(r)) => {
                    pending.push(Pair::Arrays(l.iter(), r.iter()))
                }
                (Value::Object(l), Value::Object(r)) => {
                    pending.push(Pair::Objects(l.iter(), r.iter()))
                }
                _ => {}
            }
            loop {
                let Some(innermost) = pending.last_mut() else {
                    return Ordering::Equal;
                };
                match self.step(innermost) {
                    Step::Descend(l, r) => {
                        (left, right) = (l, r);
                        break;
                    }
                    Step::Decided(decided) if decided.is_ne() => return decided,
                    Step::Decided(_equal) => drop(pending.pop()),
                }
            }
        }
    }

    /// Compares two strings in this order.
    #[must_use]
    pub fn compare_strings(self, left: &str, right: &str) -> Ordering {
        match self {
            Self::Raw => left.cmp(right),
            Self::Unicode if left == right => Ordering::Equal,
            Self::Unicode => COLLATOR.compare(left, right),
        }
    }

    /// Compares kinds and scalars; containers of one kind are still equal here.
    fn compare_shallow(self, left: &Value, right: &Value) -> Ordering {
        match (left, right) {
            (Value::Number(l), Value::Number(r)) => compare_numbers(l, r),
            (Value::String(l), Value::String(r)) => self.compare_strings(l, r),
            _ => self.tag(Kind::of(left)).cmp(&self.tag(Kind::of(right))),
        }
    }

    fn step<'a>(self, pair: &mut Pair<'a>) -> Step<'a> {
        match pair {
            Pair::Arrays(left, right) => match (left.next(), right.next()) {
                (Some(l), Some(r)) => Step::Descend(l, r),
                (l, r) => Step::Decided(l.is_some().cmp(&r.is_some())),
            },
            Pair::Objects(left, right) => match (left.next(), right.next()) {
                (Some((left_key, l)), Some((right_key, r))) => {
                    let keys = self.compare_strings(left_key, right_key);
                    if keys.is_eq() {
                        Step::Descend(l, r)
                    } else {
                        Step::Decided(keys)
                    }
                }
                (l, r) => Step::Decided(l.is_some().cmp(&r.is_some())),
            },
        }
    }
}

/// Appends to `out` the bytes that stand for `value` in view collation.
pub fn sort_key(value: &Value, out: &mut Vec<u8>) {
    Collation::Unicode.sort_key(value, out);
}

impl Collation {
    /// Appends to `out` the bytes that stand for `value` in this order.
    pub fn sort_key(self, value: &Value, out: &mut Vec<u8>) {
        enum Open<'a> {
            Array(slice::Iter<'a, Value>),
            Object(map::Iter<'a>),
        }

        let mut open = Vec::new();
        let mut value = value;
        loop {
            match value {
                Value::Number(number) => self.write_number(&Numeric::of(number), out),
                Value::String(text) => self.write_string(text, out),
                Value::Array(elements) => {
                    out.push(self.tag(Kind::Array));
                    open.push(Open::Array(elements.iter()));
                }
                Value::Object(members) => {
                    out.push(self.tag(Kind::Object));
                    open.push(Open::Object(members.iter()));
                }
                Value::Null | Value::Bool(_) => out.push(self.tag(Kind::of(value))),
            }
            value = loop {
                let next = match open.last_mut() {
                    None => return,
                    Some(Open::Array(elements)) => elements.next(),
                    Some(Open::Object(members)) => members.next().map(|(key, member)| {
                        self.write_string(key, out);
                        member
                    }),
                };
                if let Some(next) = next {
                    break next;
                }
                out.push(END);
                open.pop();
            };
        }
    }

    /// How many bytes at the front of `bytes` are a sort key; all, if they do not begin with one.
    #[must_use]
    pub fn sort_key_length(self, bytes: &[u8]) -> usize {
        self.skip_value(bytes)
            .map_or(bytes.len(), |rest| bytes.len() - rest.len())
    }

    /// How many bytes at the front of a sort key keys share whose first `count` elements collate
    /// equal. For a key that is no array, or a shorter one, that is the whole sort key.
    #[must_use]
    pub fn elements_length(self, bytes: &[u8], count: usize) -> usize {
        let front = || {
            let (&first, mut rest) = bytes.split_first()?;
            (first == self.tag(Kind::Array)).then_some(())?;
            for _ in 0..count {
                (*rest.first()? != END).then_some(())?;
                rest = self.skip_value(rest)?;
            }
            Some(bytes.len() - rest.len())
        };
        front().unwrap_or_else(|| self.sort_key_length(bytes))
    }

    /// What comes behind the sort key at the front of `bytes`.
    fn skip_value(self, bytes: &[u8]) -> Option<&[u8]> {
        let mut open = 0usize;
        let mut rest = bytes;
        loop {
            let (&first, behind) = rest.split_first()?;
            rest = match self.kind(first) {
                Some(Kind::Array | Kind::Object) => {
                    open += 1;
                    behind
                }
                Some(Kind::Number) => skip_number(behind)?,
                Some(Kind::String) => self.skip_string(behind)?,
                Some(Kind::Null | Kind::False | Kind::True) => behind,
                None => {
                    open = (first == END).then_some(open)?.checked_sub(1)?;
                    behind
                }
            };
            if open == 0 {
                return Some(rest);
            }
        }
    }

    fn tag(self, kind: Kind) -> u8 {
        let place = match self {
            Self::Unicode => match kind {
                Kind::Null => 1,
                Kind::False => 2,
                Kind::True => 3,
                Kind::Number => 4,
                Kind::String => 5,
                Kind::Array => 6,
                Kind::Object => 7,
            },
            Self::Raw => match kind {
                Kind::Number => 1,
                Kind::False => 2,
                Kind::Null => 3,
                Kind::True => 4,
                Kind::Object => 5,
                Kind::Array => 6,
                Kind::String => 7,
            },
        };
        place << 4
    }

    /// The kind whose sort keys begin with `tag`.
    fn kind(self, tag: u8) -> Option<Kind> {
        let kinds = match self {
            Self::Unicode => [
                Kind::Null,
                Kind::False,
                Kind::True,
                Kind::Number,
                Kind::String,
                Kind::Array,
                Kind::Object,
            ],
            Self::Raw => [
                Kind::Number,
                Kind::False,
                Kind::Null,
                Kind::True,
                Kind::Object,
                Kind::Array,
                Kind::String,
            ],
        };
        let place = usize::from(tag >> 4).checked_sub(1)?;
        kinds.get(place).copied().filter(|_| tag & 15 == 0)
    }

    /// A collation key has no zero byte (a test walks all of Unicode), so one can end it. The
    /// bytes of a text may have some, so one that is its own has 0xff behind it, which is greater
    /// than all that may follow the end.
    fn write_string(self, text: &str, out: &mut Vec<u8>) {
        out.push(self.tag(Kind::String));
        match self {
            Self::Unicode => {
                let Ok(()) = COLLATOR.write_sort_key_to(text, out);
            }
            Self::Raw => {
                for byte in text.bytes() {
                    out.push(byte);
                    if byte == END {
                        out.push(ZERO);
                    }
                }
            }
        }
        out.push(END);
    }

    fn skip_string(self, mut bytes: &[u8]) -> Option<&[u8]> {
        loop {
            let end = memchr::memchr(END, bytes)?;
            bytes = bytes.get(end + 1..)?;
            if self == Self::Unicode || bytes.first() != Some(&ZERO) {
                return Some(bytes);
            }
        }
    }
}

/// Closes strings and containers in a sort key: it sorts before the first byte of every kind, so
/// what is shorter comes first.
const END: u8 = 0x00;
/// Behind a zero byte of a string in raw order.
const ZERO: u8 = 0xff;

/// The kinds of values that a collation tells apart, each with a first byte of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    False,
    True,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(false) => Self::False,
            Value::Bool(true) => Self::True,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::String,
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        }
    }
}

/// The root collation at tertiary strength, in which punctuation counts as letters do.
static COLLATOR: LazyLock<CollatorBorrowed<'static>> = LazyLock::new(|| {
    let mut options = CollatorOptions::default();
    options.strength = Some(Strength::Tertiary);
    options.alternate_handling = Some(AlternateHandling::NonIgnorable);
    Collator::try_new(CollatorPreferences::default(), options)
        .expect("the data of the root collation is compiled into the program")
});

/// From here on, doubles are further apart than integers.
const FIRST_INEXACT: f64 = 9_007_199_254_740_992.0;

/// A number as the double nearest to it and, where that may not be exact, its own digits.
///
/// The text of a JSON number is an integer of any size or else a double: `0.1` and
/// `0.10000000000000000001` are one value, as they are in `CouchDB`.
struct Numeric<'a> {
    nearest: f64,
    text: &'a str,
    is_integer: bool,
}

impl<'a> Numeric<'a> {
    fn of(number: &'a Number) -> Self {
        Self::parse(number.as_str()).unwrap_or(Self {
            nearest: 0.0,
            text: "0",
            is_integer: true,
        })
    }

    fn parse(text: &'a str) -> Option<Self> {
        let nearest = text.parse::<f64>().ok()?;
        Some(Self {
            nearest: if nearest == 0.0 { 0.0 } else { nearest },
            text,
            is_integer: is_integer_text(text),
        })
    }

    /// The digits of the exact value, if the nearest double alone does not tell it. An
    /// infinite double (`1e400`) has none and is beyond every integer.
    fn exact_digits(&self) -> Option<Cow<'a, str>> {
        if self.is_integer {
            Some(Cow::Borrowed(self.text.trim_start_matches('-')))
        } else if self.nearest.is_finite() {
            Some(Cow::Owned(format!("{:.0}", self.nearest.abs())))
        } else {
            None
        }
    }

    fn compare_magnitude(&self, other: &Self) -> Ordering {
        match (self.exact_digits(), other.exact_digits()) {
            (Some(l), Some(r)) => l.len().cmp(&r.len()).then_with(|| l.cmp(&r)),
            (l, r) => l.is_none().cmp(&r.is_none()),
        }
    }
}

/// Whether a number was written as an integer: what Erlang's `is_integer` says of it.
pub(crate) fn is_integer(number: &Number) -> bool {
    is_integer_text(number.as_str())
}

fn is_integer_text(text: &str) -> bool {
    !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

/// Compares two numbers by their exact values, an integer with a double, too.
pub(crate) fn compare_numbers(left: &Number, right: &Number) -> Ordering {
    if let (Some(l), Some(r)) = (left.as_i64(), right.as_i64()) {
        return l.cmp(&r);
    }
    let (l, r) = (Numeric::of(left), Numeric::of(right));
    let nearest = l.nearest.total_cmp(&r.nearest);
    if nearest.is_ne() || l.nearest.abs() < FIRST_INEXACT {
        nearest
    } else if l.nearest.is_sign_negative() {
        r.compare_magnitude(&l)
    } else {
        l.compare_magnitude(&r)
    }
}

impl Collation {
    /// Writes the nearest double so that its bytes sort, then, beyond the integers that doubles
    /// hold exactly, the count of digits and the digits. Negative numbers have all bits turned.
    fn write_number(self, numeric: &Numeric<'_>, out: &mut Vec<u8>) {
        let bits = numeric.nearest.to_bits();
        let negative = numeric.nearest.is_sign_negative();
        let sortable = if negative { !bits } else { bits | (1 << 63) };
        out.push(self.tag(Kind::Number));
        out.extend_from_slice(&sortable.to_be_bytes());
        if numeric.nearest.abs() < FIRST_INEXACT {
            return;
        }
        let flip = if negative { 0xff } else { 0x00 };
        let digits = numeric.exact_digits();
        let count = digits
            .as_ref()
            .map_or(u64::MAX, |digits| digits.len() as u64);
        out.extend(count.to_be_bytes().iter().map(|byte| byte ^ flip));
        out.extend(
            digits
                .iter()
                .flat_map(|digits| digits.bytes())
                .map(|byte| byte ^ flip),
        );
    }
}

/// What comes behind the number that `write_number` wrote, without its tag.
fn skip_number(bytes: &[u8]) -> Option<&[u8]> {
    let (sortable, rest) = bytes.split_first_chunk::<8>()?;
    let sortable = u64::from_be_bytes(*sortable);
    let negative = sortable >> 63 == 0;
    let magnitude = if negative { !sortable } else { sortable } & !(1 << 63);
    if f64::from_bits(magnitude) < FIRST_INEXACT {
        return Some(rest);
    }
    let (count, rest) = rest.split_first_chunk::<8>()?;
    let count = u64::from_be_bytes(*count);
    match if negative { !count } else { count } {
        u64::MAX => Some(rest),
        count => rest.get(usize::try_from(count).ok()?..),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `CouchDB` 3.5 answered for a view with these keys.
    const RECORDED: &str = r#"null false true -1 0 1.5 "" "-" "~" "1" "10" "2" "a" "A" "á" "ä" "aa" "Aa" "b" "B" "é" "ss" "ß" "x" "z" [] ["a"] ["a","b"] ["b"] {} {"a":1} {"a":2} {"b":1} {"b":2,"a":1}"#;

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    fn key(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        sort_key(value, &mut out);
        out
    }

    /// Every value before every later one, by comparison and by sort key.
    fn check_ascending(values: &[Value]) {
        for (i, left) in values.iter().enumerate() {
            for (j, right) in values.iter().enumerate() {
                assert_eq!(compare(left, right), i.cmp(&j), "{left} with {right}");
                assert_eq!(
                    key(left).cmp(&key(right)),
                    i.cmp(&j),
                    "keys of {left} and {right}"
                );
            }
        }
    }

    fn check_equal(left: &str, right: &str) {
        let (left, right) = (json(left), json(right));
        assert_eq!(
            compare(&left, &right),
            Ordering::Equal,
            "{left} with {right}"
        );
        assert_eq!(key(&left), key(&right), "keys of {left} and {right}");
    }

    #[test]
    fn the_recorded_order_of_couchdb() {
        let values: Vec<Value> = RECORDED.split(' ').map(json).collect();
        assert_eq!(values.len(), 34);
        check_ascending(&values);
    }

    #[test]
    fn numbers_order_by_exact_value() {
        let huge = format!("1{}", "0".repeat(400));
        let ascending = [
            "-1e400",
            &format!("-{huge}1"),
            &format!("-{huge}"),
            "-1.7976931348623157e308",
            "-123456789012345678901234567890",
            "-9223372036854775809",
            "-9223372036854775808",
            "-9007199254740993",
            "-9007199254740992",
            "-9007199254740991.0",
            "-1.5",
            "-1",
            "-5e-324",
            "0",
            "5e-324",
            "0.1",
            "0.5",
            "1",
            "1.5",
            "2",
            "9007199254740991",
            "9007199254740992.0",
            "9007199254740993",
            "9007199254740994",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616.0",
            "18446744073709551617",
            "99999999999999991611391",
            "1e23",
            "100000000000000000000000",
            "123456789012345678901234567889",
            "123456789012345678901234567890",
            "1.7976931348623157e308",
            &huge,
            &format!("{huge}1"),
            "1e400",
        ]
        .map(json);
        check_ascending(&ascending);
    }

    #[test]
    fn equal_though_different() {
        check_equal("1", "1.0");
        check_equal("0", "-0.0");
        check_equal("-0", "0.0");
        check_equal("1e2", "100");
        check_equal("9007199254740992", "9007199254740992.0");
        check_equal("9007199254740993.0", "9007199254740992");
        check_equal("0.1", "0.10000000000000000001");
        check_equal("1e400", "2e400");
        check_equal(r#""""#, r#""\u0000""#);
        check_equal(r#""\u00e4""#, r#""a\u0308""#);
        check_equal(r#"{"a":[1]}"#, r#"{"a":[1.0]}"#);
    }

    #[test]
    fn strings_follow_the_root_collation() {
        let ascending = [
            "", " ", "_", "-", "~", "1", "10", "a", "a b", "aa", "ab", "b", "ß", "t", "z", "я",
            "日",
        ];
        check_ascending(&ascending.map(|text| Value::String(text.to_owned())));
    }

    #[test]
    fn members_count_in_stored_order() {
        check_ascending(
            &[
                r#"{}"#,
                r#"{"a":1}"#,
                r#"{"a":1,"b":2}"#,
                r#"{"a":2}"#,
                r#"{"aa":1}"#,
                r#"{"b":2,"a":1}"#,
            ]
            .map(json),
        );
    }

    #[test]
    fn raw_order_is_that_of_erlang() {
        let ascending = [
            "-1",
            "0",
            "1.5",
            "2",
            "false",
            "null",
            "true",
            "{}",
            r#"{"B":1}"#,
            r#"{"a":1}"#,
            r#"{"a":1,"b":1}"#,
            "[]",
            "[1]",
            "[1,2]",
            "[2]",
            r#""""#,
            r#""B""#,
            r#""a""#,
            r#""ä""#,
        ]
        .map(json);
        for (i, left) in ascending.iter().enumerate() {
            for (j, right) in ascending.iter().enumerate() {
                assert_eq!(
                    Collation::Raw.compare(left, right),
                    i.cmp(&j),
                    "{left} with {right}"
                );
            }
        }
    }

    #[test]
    fn no_collation_key_has_a_zero_byte() {
        for letter in char::MIN..=char::MAX {
            let mut bytes = Vec::new();
            let Ok(()) = COLLATOR.write_sort_key_to(letter.encode_utf8(&mut [0; 4]), &mut bytes);
            assert!(!bytes.contains(&0), "U+{:04X}", letter as u32);
        }
    }

    /// If this fails after an update of `icu_collator`, raise [`SORT_KEY_VERSION`].
    #[test]
    fn the_bytes_of_a_sort_key_are_pinned() {
        let bytes = key(&json(
            r#"[null, -1, 9007199254740993, "Aä~日", {"b": true}]"#,
        ));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "601040400fffffffffffff40c340000000000000000000000000001039303037313939323534373430393933\
             502b2b0c93fa322c0144960601dc080070502d0105010500300000"
        );
        assert_eq!(SORT_KEY_VERSION, 1);
    }

    #[test]
    fn depth_does_not_exhaust_the_stack() {
        let deep =
            |innermost: Value| (0..200_000).fold(innermost, |inside, _| Value::Array(vec![inside]));
        let (low, high) = (deep(json("1")), deep(json("2")));
        assert_eq!(compare(&low, &high), Ordering::Less);
        assert_eq!(key(&low).cmp(&key(&high)), Ordering::Less);
        // Dropping a value recurses, which is what this test must not measure.
        std::mem::forget((low, high));
    }

    fn any_number() -> impl Strategy<Value = Value> {
        let near_doubles = (any::<f64>(), -3_i32..4).prop_map(|(double, step)| {
            if !double.is_finite() || double.abs() < 1e15 || double.abs() > 1e30 {
                return format!("{step}");
            }
            #[expect(clippy::cast_possible_truncation, reason = "the double is below 1e30")]
            let near = double as i128 + i128::from(step);
            near.to_string()
        });
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            (-20_i64..20).prop_map(|n| n.to_string()),
            any::<i64>()
                .prop_map(|n| format!("{:?}", f64::from_bits(n.cast_unsigned())))
                .prop_filter("JSON has no such number", |text| !text.contains(['N', 'i'])),
            near_doubles,
            (0_u32..70, -2_i128..3)
                .prop_map(|(power, step)| ((1_i128 << power) + step).to_string()),
            (0_i32..70, any::<bool>()).prop_map(|(power, minus)| format!(
                "{:?}",
                2_f64.powi(power) * if minus { -1.0 } else { 1.0 }
            )),
            "-?[1-9][0-9]{15,40}",
            "-?[1-9][0-9]{305,312}",
        ]
        .prop_map(|text| json(&text))
    }

    fn any_text() -> impl Strategy<Value = String> {
        let awkward = prop::sample::select(vec![
            "a",
            "A",
            "b",
            "\u{0}",
            "\u{1}",
            "\u{301}",
            "\u{308}",
            "\u{323}",
            "\u{345}",
            "ä",
            "ß",
            "-",
            " ",
            "เ",
            "ก",
            "ᄀ",
            "ᅡ",
            "가",
            "日",
            "\u{fffe}",
            "\u{ffff}",
            "\u{10ffff}",
            "\u{fff0}",
            "l·",
            "😀",
            "\u{f71}",
            "\u{f72}",
            "я",
        ]);
        prop_oneof![
            prop::collection::vec(awkward, 0..6).prop_map(|parts| parts.concat()),
            ".{0,4}",
            "[ab]{0,3}",
        ]
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any_number(),
            any_text().prop_map(Value::String),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((any_text(), inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// A second value that has much in common with the first.
    fn any_pair() -> impl Strategy<Value = (Value, Value)> {
        (any_value(), any_value(), any_value(), any::<u8>()).prop_map(
            |(shared, left, right, shape)| match shape % 4 {
                0 => (left, right),
                1 => (
                    Value::Array(vec![shared.clone(), left]),
                    Value::Array(vec![shared, right]),
                ),
                2 => (
                    Value::Array(vec![left, shared.clone()]),
                    Value::Array(vec![right, shared]),
                ),
                _ => (
                    Value::Array(vec![shared.clone()]),
                    Value::Array(vec![shared, right]),
                ),
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn sort_keys_compare_as_their_values((left, right) in any_pair()) {
            let (left_key, right_key) = (key(&left), key(&right));
            prop_assert_eq!(left_key.cmp(&right_key), compare(&left, &right));
            prop_assert_eq!(compare(&left, &right), compare(&right, &left).reverse());
            prop_assert_eq!(left_key.starts_with(&right_key), left_key == right_key);
        }

        #[test]
        fn numbers_compare_as_their_keys(left in any_number(), right in any_number()) {
            prop_assert_eq!(key(&left).cmp(&key(&right)), compare(&left, &right));
        }

        #[test]
        fn strings_compare_as_their_keys(left in any_text(), right in any_text()) {
            let (left, right) = (Value::String(left), Value::String(right));
            prop_assert_eq!(key(&left).cmp(&key(&right)), compare(&left, &right));
        }

        #[test]
        fn raw_sort_keys_compare_as_their_values((left, right) in any_pair()) {
            let key = |value| {
                let mut out = Vec::new();
                Collation::Raw.sort_key(value, &mut out);
                out
            };
            let (left_key, right_key) = (key(&left), key(&right));
            prop_assert_eq!(left_key.cmp(&right_key), Collation::Raw.compare(&left, &right));
            prop_assert_eq!(left_key.starts_with(&right_key), left_key == right_key);
        }

        #[test]
        fn a_sort_key_tells_where_it_and_its_elements_end(
            elements in prop::collection::vec(any_value(), 0..4), more in any::<[u8; 2]>(), raw in any::<bool>()
        ) {
            let collation = if raw { Collation::Raw } else { Collation::Unicode };
            let fronts: Vec<Vec<u8>> = (0..=elements.len())
                .map(|count| {
                    let mut out = Vec::new();
                    collation.sort_key(&Value::Array(elements[..count].to_vec()), &mut out);
                    out
                })
                .collect();
            let whole = fronts.last().unwrap();
            let longer = [whole.as_slice(), &[more[0] & 0x7f, more[1]]].concat();
            prop_assert_eq!(collation.sort_key_length(&longer), whole.len());
            for (count, front) in fronts.iter().enumerate() {
                // All but the end of the shorter array is what both share.
                prop_assert_eq!(collation.elements_length(&longer, count), front.len() - 1);
            }
            prop_assert_eq!(collation.elements_length(&longer, elements.len() + 1), whole.len());
        }

        #[test]
        fn texts_have_the_sort_keys_of_their_values(value in any_value(), raw in any::<bool>()) {
            let collation = if raw { Collation::Raw } else { Collation::Unicode };
            let mut expected = Vec::new();
            collation.sort_key(&value, &mut expected);
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            for text in [value.to_string(), pretty] {
                let mut out = Vec::new();
                collation.sort_key_of_json(&text, &mut out);
                prop_assert_eq!(&out, &expected, "{}", text);
            }
        }

        #[test]
        fn any_text_has_a_sort_key(text in "[\\[\\]{}:,\"\\\\ntf0-9.e-]{0,12}|.{0,6}", more in any::<u8>()) {
            for collation in [Collation::Unicode, Collation::Raw] {
                let mut out = Vec::new();
                collation.sort_key_of_json(&text, &mut out);
                out.push(more & 0x7f);
                prop_assert_eq!(collation.sort_key_length(&out), out.len() - 1);
            }
        }

        #[test]
        fn raw_order_is_total(a in any_value(), b in any_value(), c in any_value()) {
            let mut sorted = [a, b, c];
            sorted.sort_by(|l, r| Collation::Raw.compare(l, r));
            let [a, b, c] = &sorted;
            prop_assert!(Collation::Raw.compare(a, b).is_le());
            prop_assert!(Collation::Raw.compare(b, c).is_le());
            prop_assert!(Collation::Raw.compare(a, c).is_le());
        }
    }
}

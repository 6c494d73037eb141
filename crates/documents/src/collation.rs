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
    pub fn compare(self, mut left: &Value, mut right: &Value) -> Ordering {
        let mut pending = Vec::new();
        loop {
            let shallow = self.compare_shallow(left, right);
            if shallow.is_ne() {
                return shallow;
            }
            match (left, right) {
                (Value::Array(l), Value::Array(r)) => pending.push(Pair::Arrays(l.iter(), r.iter())),
                (Value::Object(l), Value::Object(r)) => pending.push(Pair::Objects(l.iter(), r.iter())),
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
                    Step::Decided(Ordering::Equal) => drop(pending.pop()),
                    Step::Decided(decided) => return decided,
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
            _ => self.rank(left).cmp(&self.rank(right)),
        }
    }

    fn step<'a>(self, pair: &mut Pair<'a>) -> Step<'a> {
        match pair {
            Pair::Arrays(left, right) => match (left.next(), right.next()) {
                (Some(l), Some(r)) => Step::Descend(l, r),
                (l, r) => Step::Decided(l.is_some().cmp(&r.is_some())),
            },
            Pair::Objects(left, right) => match (left.next(), right.next()) {
                (Some((left_key, l)), Some((right_key, r))) => match self.compare_strings(left_key, right_key) {
                    Ordering::Equal => Step::Descend(l, r),
                    decided => Step::Decided(decided),
                },
                (l, r) => Step::Decided(l.is_some().cmp(&r.is_some())),
            },
        }
    }

    fn rank(self, value: &Value) -> u8 {
        match (self, value) {
            (Self::Unicode, Value::Null) => tag::NULL,
            (Self::Unicode, Value::Bool(false)) => tag::FALSE,
            (Self::Unicode, Value::Bool(true)) => tag::TRUE,
            (Self::Unicode, Value::Number(_)) => tag::NUMBER,
            (Self::Unicode, Value::String(_)) => tag::STRING,
            (Self::Unicode, Value::Array(_)) => tag::ARRAY,
            (Self::Unicode, Value::Object(_)) => tag::OBJECT,
            (Self::Raw, Value::Number(_)) => 0,
            (Self::Raw, Value::Bool(false)) => 1,
            (Self::Raw, Value::Null) => 2,
            (Self::Raw, Value::Bool(true)) => 3,
            (Self::Raw, Value::Object(_)) => 4,
            (Self::Raw, Value::Array(_)) => 5,
            (Self::Raw, Value::String(_)) => 6,
        }
    }
}

/// Appends to `out` the bytes that stand for `value` in view collation.
pub fn sort_key(value: &Value, out: &mut Vec<u8>) {
    enum Open<'a> {
        Array(slice::Iter<'a, Value>),
        Object(map::Iter<'a>),
    }

    let mut open = Vec::new();
    let mut value = value;
    loop {
        match value {
            Value::Null => out.push(tag::NULL),
            Value::Bool(false) => out.push(tag::FALSE),
            Value::Bool(true) => out.push(tag::TRUE),
            Value::Number(number) => write_number(number, out),
            Value::String(text) => write_string(text, out),
            Value::Array(elements) => {
                out.push(tag::ARRAY);
                open.push(Open::Array(elements.iter()));
            }
            Value::Object(members) => {
                out.push(tag::OBJECT);
                open.push(Open::Object(members.iter()));
            }
        }
        value = loop {
            let next = match open.last_mut() {
                None => return,
                Some(Open::Array(elements)) => elements.next(),
                Some(Open::Object(members)) => members.next().map(|(key, member)| {
                    write_string(key, out);
                    member
                }),
            };
            if let Some(next) = next {
                break next;
            }
            out.push(tag::END);
            open.pop();
        };
    }
}

/// The first byte of each kind in a sort key. `END` closes strings and containers: it sorts
/// before everything, so what is shorter comes first.
mod tag {
    pub(super) const END: u8 = 0x00;
    pub(super) const NULL: u8 = 0x10;
    pub(super) const FALSE: u8 = 0x20;
    pub(super) const TRUE: u8 = 0x30;
    pub(super) const NUMBER: u8 = 0x40;
    pub(super) const STRING: u8 = 0x50;
    pub(super) const ARRAY: u8 = 0x60;
    pub(super) const OBJECT: u8 = 0x70;
}

/// The root collation at tertiary strength, in which punctuation counts as letters do.
static COLLATOR: LazyLock<CollatorBorrowed<'static>> = LazyLock::new(|| {
    let mut options = CollatorOptions::default();
    options.strength = Some(Strength::Tertiary);
    options.alternate_handling = Some(AlternateHandling::NonIgnorable);
    Collator::try_new(CollatorPreferences::default(), options)
        .expect("the data of the root collation is compiled into the program")
});

/// A collation key has no zero byte (a test walks all of Unicode), so one can end it.
fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(tag::STRING);
    let Ok(()) = COLLATOR.write_sort_key_to(text, out);
    out.push(tag::END);
}

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
        let text = number.as_str();
        let nearest = text.parse::<f64>().unwrap_or_default();
        Self {
            nearest: if nearest == 0.0 { 0.0 } else { nearest },
            text,
            is_integer: is_integer(number),
        }
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
    !number.as_str().contains(['.', 'e', 'E'])
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

/// Writes the nearest double so that its bytes sort, then, beyond the integers that doubles
/// hold exactly, the count of digits and the digits. Negative numbers have all bits turned.
fn write_number(number: &Number, out: &mut Vec<u8>) {
    let numeric = Numeric::of(number);
    let bits = numeric.nearest.to_bits();
    let negative = numeric.nearest.is_sign_negative();
    let sortable = if negative { !bits } else { bits | (1 << 63) };
    out.push(tag::NUMBER);
    out.extend_from_slice(&sortable.to_be_bytes());
    if numeric.nearest.abs() < FIRST_INEXACT {
        return;
    }
    let flip = if negative { 0xff } else { 0x00 };
    let digits = numeric.exact_digits();
    let count = digits.as_ref().map_or(u64::MAX, |digits| digits.len() as u64);
    out.extend(count.to_be_bytes().iter().map(|byte| byte ^ flip));
    out.extend(digits.iter().flat_map(|digits| digits.bytes()).map(|byte| byte ^ flip));
}

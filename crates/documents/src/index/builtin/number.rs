//! Numbers as Erlang has them: integers of any size stay integers, a float makes all it meets
//! floats, and one that grows beyond all bounds is an error.

use std::cmp::Ordering;
use std::fmt::Write as _;

use num_bigint::BigInt;

use crate::json::write_float;

/// A number.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Big(BigInt),
    Float(f64),
}

/// The result is no number any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflow;

impl Number {
    pub(super) const ZERO: Self = Self::Int(0);
    pub(super) const ONE: Self = Self::Int(1);

    /// The number that `text` is as JSON, if it is one and finite.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Ok(small) = text.parse() {
            // What Rust takes and JSON does not begins with a plus or with needless zeros.
            return (!text.starts_with('+')).then_some(Self::Int(small));
        }
        let digit = |byte: &u8| byte.is_ascii_digit();
        let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
        if !digits.first().is_some_and(digit) {
            return None;
        }
        if digits.iter().all(digit) {
            return BigInt::parse_bytes(text.as_bytes(), 10).map(Self::Big);
        }
        let float: f64 = text.parse().ok()?;
        float.is_finite().then_some(Self::Float(float))
    }

    pub(super) fn add(&self, other: &Self) -> Result<Self, Overflow> {
        if let (Self::Int(a), Self::Int(b)) = (self, other)
            && let Some(sum) = a.checked_add(*b)
        {
            return Ok(Self::Int(sum));
        }
        match (self.to_big(), other.to_big()) {
            (Some(a), Some(b)) => Ok(Self::of_big(a + b)),
            (_, None) | (None, _) => finite(self.to_float() + other.to_float()),
        }
    }

    pub(super) fn square(&self) -> Result<Self, Overflow> {
        if let Self::Int(a) = self
            && let Some(square) = a.checked_mul(*a)
        {
            return Ok(Self::Int(square));
        }
        match self.to_big() {
            Some(a) => Ok(Self::of_big(&a * &a)),
            None => finite(self.to_float() * self.to_float()),
        }
    }

    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self.to_big(), other.to_big()) {
            (Some(a), Some(b)) => a.cmp(&b),
            (_, None) | (None, _) => self.to_float().total_cmp(&other.to_float()),
        }
    }

    /// Appends the number as JSON.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Int(n) => out.push_str(itoa::Buffer::new().format(*n)),
            Self::Big(n) => {
                // Writing to a string cannot fail.
                let _infallible = write!(out, "{n}");
            }
            Self::Float(n) => {
                let mut bytes = Vec::with_capacity(24);
                write_float(&mut bytes, *n);
                out.push_str(&String::from_utf8(bytes).unwrap_or_default());
            }
        }
    }

    fn of_big(n: BigInt) -> Self {
        i64::try_from(&n).map_or(Self::Big(n), Self::Int)
    }

    fn to_big(&self) -> Option<BigInt> {
        match self {
            Self::Int(n) => Some(BigInt::from(*n)),
            Self::Big(n) => Some(n.clone()),
            Self::Float(_) => None,
        }
    }

    /// The float nearest to it; the decimal text finds it for integers of any size.
    fn to_float(&self) -> f64 {
        match self {
            Self::Float(n) => *n,
            Self::Int(_) | Self::Big(_) => {
                let mut text = String::new();
                self.write(&mut text);
                text.parse().unwrap_or(f64::INFINITY)
            }
        }
    }
}

fn finite(n: f64) -> Result<Number, Overflow> {
    n.is_finite().then_some(Number::Float(n)).ok_or(Overflow)
}

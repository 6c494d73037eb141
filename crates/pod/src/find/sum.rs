//! Sums of JSON numbers: exact as long as they are integers.

use serde_json::{Number, Value};

/// Numbers added up.
///
/// Integers are added as integers, so that a sum of cents is right to the cent. Others are added as
/// doubles, with what each addition loses kept beside the sum and added at the end (Neumaier's way).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    count: u64,
    integers: i128,
    doubles: f64,
    lost: f64,
    /// Whether anything was added that is no integer, or was too large for one.
    inexact: bool,
}

impl Sum {
    pub(super) fn add(&mut self, number: &Number) {
        self.count += 1;
        let text = number.as_str();
        let integer = text.parse::<i128>().ok();
        match integer.and_then(|integer| self.integers.checked_add(integer)) {
            Some(sum) => self.integers = sum,
            None => self.add_double(text.parse().unwrap_or_default()),
        }
    }

    fn add_double(&mut self, number: f64) {
        self.inexact = true;
        let sum = self.doubles + number;
        self.lost += if self.doubles.abs() >= number.abs() {
            (self.doubles - sum) + number
        } else {
            (number - sum) + self.doubles
        };
        self.doubles = sum;
    }

    /// The sum; 0 of nothing.
    pub(super) fn total(self) -> Value {
        if self.inexact {
            Value::from(self.as_double())
        } else {
            number(&self.integers.to_string())
        }
    }

    /// The mean; `null` of nothing.
    pub(super) fn mean(self) -> Value {
        if self.count == 0 {
            return Value::Null;
        }
        let count = i128::from(self.count);
        if !self.inexact && self.integers % count == 0 {
            return number(&(self.integers / count).to_string());
        }
        Value::from(self.as_double() / as_double(count))
    }

    fn as_double(self) -> f64 {
        as_double(self.integers) + (self.doubles + self.lost)
    }
}

/// The double nearest to an integer.
fn as_double(integer: i128) -> f64 {
    integer.to_string().parse().unwrap_or_default()
}

fn number(text: &str) -> Value {
    text.parse().map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(numbers: &[&str], total: &str, mean: &str) {
        let mut sum = Sum::default();
        for text in numbers {
            sum.add(&text.parse().unwrap());
        }
        assert_eq!(sum.total().to_string(), total, "{numbers:?}");
        assert_eq!(sum.mean().to_string(), mean, "{numbers:?}");
    }

    #[test]
    fn integers_are_exact_and_doubles_nearly() {
        check(&[], "0", "null");
        check(&["1", "2", "3"], "6", "2");
        check(&["1", "2"], "3", "1.5");
        check(
            &["9007199254740993", "1"],
            "9007199254740994",
            "4503599627370497",
        );
        check(&["0.1", "0.2", "0.3"], "0.6", "0.19999999999999998");
        check(&["1e100", "1", "-1e100"], "1.0", "0.3333333333333333");
        check(&["1", "0.5"], "1.5", "0.75");
        let huge = "9".repeat(60);
        check(&[&huge, "1"], "1e+60", "5e+59");
    }
}

//! Numbers: integers of any size to bytes, and floats to the text that `CouchDB` prints.
//!
//! A float is printed with the fewest digits that read back as the same float, in the layout of
//! JavaScript, except that a whole one keeps its `.0`, since it is no integer.
//!
//! Invariant: printing what was read from a printed float gives the same text again.

use std::fmt::{self, Write};

/// The most digits an integer may have. Turning digits into bytes costs the square of their count,
/// so they need a bound; `CouchDB` has none, and nobody is known to send more than a few dozen.
pub(super) const INTEGER_DIGITS_MAX: usize = 1024;

/// Digits that always fit in a `u64`.
pub(super) const WORD_DIGITS_MAX: usize = 19;

/// Digits of which a float remembers every one: a decimal of that many digits, read and printed
/// with as few as possible, comes back unchanged.
const EXACT_DIGITS_MAX: usize = 15;

/// Exponents below this one are printed as exponents.
const PLAIN_EXPONENT_MIN: i32 = -6;
/// Exponents from this one on are printed as exponents.
const PLAIN_EXPONENT_END: i32 = 21;

/// A decimal integer as bytes, the least first. Other bytes than digits must not occur.
pub(super) fn big_integer(digits: &[u8]) -> Vec<u8> {
    let mut limbs: Vec<u64> = Vec::with_capacity(digits.len() / WORD_DIGITS_MAX + 1);
    for chunk in digits.chunks(WORD_DIGITS_MAX) {
        let mut scale = 1u64;
        let mut carry = 0u64;
        for digit in chunk {
            scale = scale.wrapping_mul(10);
            carry = carry
                .wrapping_mul(10)
                .wrapping_add(u64::from(digit.wrapping_sub(b'0')));
        }
        for limb in &mut limbs {
            let (low, high) = limb.carrying_mul(scale, carry);
            *limb = low;
            carry = high;
        }
        if carry != 0 {
            limbs.push(carry);
        }
    }
    limbs.into_iter().flat_map(u64::to_le_bytes).collect()
}

/// Whether a valid literal with a fraction and without an exponent is surely printed as it stands,
/// which spares printing it to find out.
pub(super) fn is_surely_printed_so(literal: &str, number: f64) -> bool {
    // The length counts the dot and the sign too, so there is room to spare.
    literal.len() <= EXACT_DIGITS_MAX
        && number.abs() >= 1e-6
        && (!literal.ends_with('0') || literal.ends_with(".0"))
}

/// Appends a finite float as `CouchDB` prints it.
pub(crate) fn write_float(out: &mut Vec<u8>, number: f64) {
    // JSON knows one zero.
    let number = if number == 0.0 { 0.0 } else { number };
    let mut scientific = Scientific::default();
    if write!(scientific, "{number:e}").is_err() {
        return;
    }
    let (mantissa, exponent) = scientific.parts();
    let mantissa = match mantissa.strip_prefix(b"-") {
        Some(rest) => {
            out.push(b'-');
            rest
        }
        None => mantissa,
    };
    let mut digits = [0u8; Scientific::CAPACITY];
    let mut count = 0;
    for (to, &digit) in digits
        .iter_mut()
        .zip(mantissa.iter().filter(|&&byte| byte != b'.'))
    {
        *to = digit;
        count += 1;
    }
    let digits = digits.get(..count).unwrap_or_default();
    if (PLAIN_EXPONENT_MIN..PLAIN_EXPONENT_END).contains(&exponent) {
        write_plain(out, digits, exponent);
    } else {
        out.extend_from_slice(mantissa);
        let sign = if exponent < 0 { b"e-" } else { b"e+" };
        out.extend_from_slice(sign);
        let mut buffer = itoa::Buffer::new();
        out.extend_from_slice(buffer.format(exponent.unsigned_abs()).as_bytes());
    }
}

/// Appends digits, of which the first has the weight of ten to the `exponent`, without an exponent.
fn write_plain(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    match usize::try_from(exponent) {
        Ok(exponent) => {
            let whole_digits = exponent + 1;
            let (whole, fraction) = digits
                .split_at_checked(whole_digits)
                .unwrap_or((digits, b""));
            out.extend_from_slice(whole);
            out.extend(std::iter::repeat_n(b'0', whole_digits - whole.len()));
            out.push(b'.');
            out.extend_from_slice(if fraction.is_empty() { b"0" } else { fraction });
        }
        Err(_) => {
            out.extend_from_slice(b"0.");
            let zeros = usize::try_from(exponent.unsigned_abs()).unwrap_or(1) - 1;
            out.extend(std::iter::repeat_n(b'0', zeros));
            out.extend_from_slice(digits);
        }
    }
}

/// A float in the scientific notation of the standard library (`-1.5e-7`), kept on the stack.
#[derive(Default)]
struct Scientific {
    bytes: [u8; Self::CAPACITY],
    length: usize,
}

impl Scientific {
    /// A sign, 17 digits, a dot and an exponent of five bytes, rounded up.
    const CAPACITY: usize = 32;

    /// What stands before the exponent, and the exponent.
    fn parts(&self) -> (&[u8], i32) {
        let written = self.bytes.get(..self.length).unwrap_or_default();
        let text = std::str::from_utf8(written).unwrap_or_default();
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        (mantissa.as_bytes(), exponent.parse().unwrap_or_default())
    }
}

impl Write for Scientific {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let end = self.length + piece.len();
        self.bytes
            .get_mut(self.length..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(piece.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn printed(number: f64) -> String {
        let mut out = Vec::new();
        write_float(&mut out, number);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn floats_are_printed_as_couchdb_prints_them() {
        let check = |number: f64, expected: &str| assert_eq!(printed(number), expected);
        check(1.0, "1.0");
        check(-1.0, "-1.0");
        check(1e3, "1000.0");
        check(0.0, "0.0");
        check(-0.0, "0.0");
        check(
            "0.00760939025925927263".parse().unwrap(),
            "0.007609390259259273",
        );
        check(1.5e-7, "1.5e-7");
        check(1e-6, "0.000001");
        check(1.25e-6, "0.00000125");
        check(-9.9e-7, "-9.9e-7");
        check(1e20, "100000000000000000000.0");
        check(123_456_789_012_345_680_000.0, "123456789012345680000.0");
        check(1e21, "1e+21");
        check(1e23, "1e+23");
        check(1.5e300, "1.5e+300");
        check(12.5, "12.5");
        check(f64::MAX, "1.7976931348623157e+308");
        check(f64::MIN_POSITIVE, "2.2250738585072014e-308");
        check(5e-324, "5e-324");
        check(0.1 + 0.2, "0.30000000000000004");
    }

    #[test]
    fn digits_become_bytes() {
        assert_eq!(big_integer(b"0"), Vec::<u8>::new());
        assert_eq!(big_integer(b"258"), [2, 1, 0, 0, 0, 0, 0, 0]);
        let check = |number: u128| {
            let mut bytes = big_integer(number.to_string().as_bytes());
            bytes.resize(16, 0);
            assert_eq!(bytes, number.to_le_bytes());
        };
        check(u128::MAX);
        check(u128::from(u64::MAX) + 1);
        check(123_456_789_012_345_678_901_234_567_890);
    }

    proptest! {
        #[test]
        fn a_printed_float_reads_back(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            let text = printed(number);
            prop_assert_eq!(text.parse::<f64>().unwrap(), number);
            prop_assert_eq!(printed(text.parse().unwrap()), text);
        }

        #[test]
        fn the_shortcut_never_differs_from_printing(
            negative in any::<bool>(),
            whole in "0|[1-9][0-9]{0,15}",
            fraction in "[0-9]{1,15}",
        ) {
            let literal = format!("{}{whole}.{fraction}", if negative { "-" } else { "" });
            let number = literal.parse::<f64>().unwrap();
            if is_surely_printed_so(&literal, number) {
                prop_assert_eq!(printed(number), literal);
            }
        }

        #[test]
        fn big_integers_agree_with_wide_ones(number in any::<u128>()) {
            let mut bytes = big_integer(number.to_string().as_bytes());
            bytes.resize(16, 0);
            prop_assert_eq!(bytes, number.to_le_bytes());
        }
    }
}

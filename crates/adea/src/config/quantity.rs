//! Amounts as people write them: sizes (`64MB`, `8_000_000`) and spans of time (`10s`, `500ms`).
//!
//! A size may stand without a unit, since bytes are what everybody assumes; a span of time may not,
//! since seconds and milliseconds are confused every day. What these functions print reads back to
//! the same amount.

use std::time::Duration;

/// Units of size with their bytes: SI for kB, MB and so on, powers of two for KiB and its kin.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// Units of time with their milliseconds.
const TIME_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a size in bytes. The error is the sentence to show.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor = if unit.is_empty() {
        1
    } else {
        SIZE_UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .map(|(_, bytes)| *bytes)
            .ok_or_else(|| {
                format!("\"{unit}\" is not a unit of size (B, kB, MB, GB, TB, KiB, MiB, GiB, TiB)")
            })?
    };
    number
        .checked_mul(factor)
        .ok_or_else(|| "it is larger than 64 bits can count".to_owned())
}

/// Reads a span of time. The error is the sentence to show.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    if unit.is_empty() {
        return Err(format!(
            "it has no unit; write \"{number}s\" for seconds or \"{number}ms\" for milliseconds"
        ));
    }
    let factor = TIME_UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, milliseconds)| *milliseconds)
        .ok_or_else(|| format!("\"{unit}\" is not a unit of time (ms, s, m, h, d)"))?;
    number
        .checked_mul(factor)
        .map(Duration::from_millis)
        .ok_or_else(|| "it is longer than 64 bits can count in milliseconds".to_owned())
}

/// A size in the largest unit that divides it.
pub(crate) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZE_UNITS, "B")
}

/// A span of time in the largest unit that divides it; less than a millisecond is dropped.
pub(crate) fn show_duration(span: Duration) -> String {
    let milliseconds = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    show(milliseconds, &TIME_UNITS, "ms")
}

fn show(amount: u64, units: &[(&str, u64)], smallest: &str) -> String {
    units
        .iter()
        .find(|(_, factor)| amount != 0 && amount.is_multiple_of(*factor))
        .map_or_else(
            || format!("{amount}{smallest}"),
            |(name, factor)| format!("{}{name}", amount / factor),
        )
}

/// The digits (underscores allowed between them) and what follows, a space between them allowed.
fn split(text: &str) -> Result<(u64, &str), String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let written = digits.replace('_', "");
    if written.is_empty() || digits.starts_with('_') || digits.ends_with('_') {
        return Err("it does not begin with a whole number".to_owned());
    }
    if unit.starts_with(['.', ',']) {
        return Err(
            "fractions are not read; write a whole number of the next smaller unit".to_owned(),
        );
    }
    let number = written
        .parse()
        .map_err(|_| "it is larger than 64 bits can count".to_owned())?;
    Ok((number, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, expected) in [
            ("0", 0),
            ("8_000_000", 8_000_000),
            ("64MB", 64_000_000),
            ("64 mb", 64_000_000),
            ("64KiB", 65_536),
            (" 1GiB ", 1 << 30),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_wrong_size_says_what_is_wrong() {
        for (text, part) in [
            ("", "whole number"),
            ("-1", "whole number"),
            ("_1", "whole number"),
            ("1_", "whole number"),
            ("1.5GB", "fractions"),
            ("5 bananas", "\"bananas\" is not a unit"),
            ("18446744073709551616", "64 bits"),
            ("99999999999TB", "64 bits"),
        ] {
            let said = parse_size(text).unwrap_err();
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("2 m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("1d"), Ok(Duration::from_secs(86_400)));
        assert!(parse_duration("10").unwrap_err().contains("\"10s\""));
        assert!(parse_duration("10y").unwrap_err().contains("unit of time"));
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(amount in any::<u64>()) {
            prop_assert_eq!(parse_size(&show_size(amount)), Ok(amount));
            let span = Duration::from_millis(amount);
            prop_assert_eq!(parse_duration(&show_duration(span)), Ok(span));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}") {
            let _ = (parse_size(&text).is_ok(), parse_duration(&text).is_ok());
        }
    }
}

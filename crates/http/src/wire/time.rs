//! Moments as RFC 3339 writes them: `2026-01-31T23:59:59Z`, also with an offset and fractions.

/// Days from 1 March of year 0 to the Unix epoch, by the Gregorian calendar.
const DAYS_TO_EPOCH: i64 = 719_468;
const SECONDS_A_DAY: i64 = 86_400;

/// Seconds since the Unix epoch; `None` if the text is no such moment, or before the epoch.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let date = text.get(..10)?;
    let time = text.get(11..19)?;
    let separator = text.as_bytes().get(10)?;
    if !matches!(separator, b'T' | b't' | b' ' | b'+') {
        return None;
    }
    let (year, month, day) = fields(date, b'-', [4, 2, 2])?;
    let (hour, minute, second) = fields(time, b':', [2, 2, 2])?;
    let known = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !known {
        return None;
    }
    let rest = text.get(19..)?;
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => {
            let digits = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            (digits.len() < fraction.len()).then_some(digits)?
        }
        None => rest,
    };
    let seconds =
        days_since_epoch(year, month, day) * SECONDS_A_DAY + hour * 3_600 + minute * 60 + second
            - offset(rest)?;
    u64::try_from(seconds).ok()
}

/// Three numbers of these many digits, with `between` between them.
fn fields(text: &str, between: u8, digits: [usize; 3]) -> Option<(i64, i64, i64)> {
    let mut parts = text.split(char::from(between));
    let mut next = |digits: usize| {
        let part = parts.next()?;
        let right = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        right.then(|| part.parse::<i64>().ok())?
    };
    let [first, second, third] = digits;
    let found = (next(first)?, next(second)?, next(third)?);
    parts.next().is_none().then_some(found)
}

/// The seconds by which a clock there is ahead.
fn offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match text.as_bytes().first()? {
        // A plus is read as a space where it was not escaped.
        b'+' | b' ' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => return None,
    };
    let (hours, minutes, _) = fields(&format!("{rest}:00"), b':', [2, 2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && year % 100 != 0 || year % 400 == 0
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Years are counted from March, so that the day that is not always there is the last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - DAYS_TO_EPOCH
}

/// A moment as `CouchDB` writes it.
pub(crate) fn format(unix_s: u64) -> String {
    let unix_s = i64::try_from(unix_s).unwrap_or(i64::MAX);
    let (days, seconds) = (unix_s / SECONDS_A_DAY, unix_s % SECONDS_A_DAY);
    let days = days + DAYS_TO_EPOCH;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_are_read_as_rfc_3339_says() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(parse(text), expected, "{text}");
        check("1970-01-01T00:00:00Z", Some(0));
        check("2000-02-29T12:00:00Z", Some(951_825_600));
        check("2025-07-21T16:31:02Z", Some(1_753_115_462));
        check("2025-07-21T16:31:02.123Z", Some(1_753_115_462));
        check("2025-07-21T18:31:02+02:00", Some(1_753_115_462));
        check("2025-07-21T11:01:02-05:30", Some(1_753_115_462));
        for text in [
            "",
            "now",
            "12",
            "12-g1AAA",
            "2025-07-21",
            "2025-07-21T16:31:02",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-07-21T24:00:00Z",
            "2025-07-21T16:31:02.Z",
            "2025-07-21T16:31:02+2:00",
            "1969-12-31T23:59:59Z",
            "2025-07-2\u{e4}T16:31:02Z",
            "2025-07-21T16:31:02Zx",
            "+025-07-21T16:31:02Z",
        ] {
            check(text, None);
        }
    }

    proptest! {
        #[test]
        fn moments_survive(unix_s in 0u64..253_402_300_800) {
            prop_assert_eq!(parse(&format(unix_s)), Some(unix_s));
        }

        #[test]
        fn hostile_text_never_panics(text in "\\PC{0,40}") {
            let _read = parse(&text);
        }
    }
}

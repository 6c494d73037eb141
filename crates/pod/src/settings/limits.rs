//! How often something may be asked.

use std::fmt;
use std::time::Duration;

/// How often something may be asked. Each is for one address or one account, except `loopback`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Attempts to sign in, of one address.
    pub sign_in: Option<LimitRule>,
    /// Attempts to sign in to one account, wherever they come from.
    pub account_sign_in: Option<LimitRule>,
    /// Requests of one address that cause a mail.
    pub mail: Option<LimitRule>,
    /// Mails to one account or to one mail address.
    pub account_mail: Option<LimitRule>,
    /// Accounts, organisations and the like that are made by one address.
    pub sign_up: Option<LimitRule>,
    /// Other requests of one address to our own routes.
    pub requests: Option<LimitRule>,
    /// Whether requests of this machine itself are counted, too.
    pub loopback: bool,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            sign_in: LimitRule::every(60, Duration::from_secs(60)),
            account_sign_in: LimitRule::every(100, Duration::from_secs(600)),
            mail: LimitRule::every(30, Duration::from_secs(600)),
            account_mail: LimitRule::every(10, Duration::from_secs(3_600)),
            sign_up: LimitRule::every(30, Duration::from_secs(3_600)),
            requests: LimitRule::every(1_200, Duration::from_secs(60)),
            loopback: false,
        }
    }
}

/// So often in such a time, evenly; and so often at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitRule {
    count: u32,
    span: Duration,
    burst: u32,
}

/// The most that may be allowed in a time, or at once.
const COUNT_MAX: u32 = 1_000_000;
/// The longest time that a rule may be about.
const SPAN_MAX: Duration = Duration::from_secs(366 * 86_400);

impl LimitRule {
    /// `count` times in `span`, and as many at once; none if either is nothing or too much.
    #[must_use]
    pub fn every(count: u32, span: Duration) -> Option<Self> {
        Self::with_burst(count, span, count)
    }

    /// `count` times in `span`, and `burst` at once.
    #[must_use]
    pub fn with_burst(count: u32, span: Duration, burst: u32) -> Option<Self> {
        let counts = [count, burst];
        let fits = counts.iter().all(|count| (1..=COUNT_MAX).contains(count));
        let spans = (Duration::from_millis(1)..=SPAN_MAX).contains(&span);
        let rule = Self { count, span, burst };
        // What was used up must be there again in a time that somebody lives to see.
        let whole = rule.period().checked_mul(burst)?;
        (fits && spans && !rule.period().is_zero() && whole <= SPAN_MAX * 10).then_some(rule)
    }

    /// Reads `10/1m`, or `10/1m 50` if there may be 50 at once, or `off`: no limit. Times are in
    /// `ms`, `s`, `m`, `h` or `d`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Option<Self>> {
        if text.trim() == "off" {
            return Some(None);
        }
        let (count, rest) = text.trim().split_once('/')?;
        let mut words = rest.split_whitespace();
        let span = read_span(words.next()?)?;
        let count = count.trim().parse().ok()?;
        let burst = match words.next() {
            Some(burst) => burst.parse().ok()?,
            None => count,
        };
        if words.next().is_some() {
            return None;
        }
        Self::with_burst(count, span, burst).map(Some)
    }

    /// The time after which one more is allowed.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.span / self.count.max(1)
    }

    /// How many are allowed at once.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst
    }
}

impl fmt::Display for LimitRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 4] = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1_000, "s"),
        ];
        let ms = self.span.as_millis();
        let unit = UNITS.iter().find(|(length, _)| ms.is_multiple_of(*length));
        let (length, unit) = unit.copied().unwrap_or((1, "ms"));
        write!(f, "{}/{}{unit}", self.count, ms / length)?;
        if self.burst != self.count {
            write!(f, " {}", self.burst)?;
        }
        Ok(())
    }
}

/// A rule as it is written, or `off`.
#[must_use]
pub fn written_limit(rule: Option<&LimitRule>) -> String {
    rule.map_or_else(|| "off".to_owned(), ToString::to_string)
}

fn read_span(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(end);
    let number: u64 = digits.parse().ok()?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(ms).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_as_it_is_written() {
        for text in ["10/1m", "1/366d", "5/10ms 9", "1000000/1s", "3/90s 1"] {
            let rule = LimitRule::parse(text).unwrap().unwrap();
            assert_eq!(rule.to_string(), text);
        }
        assert_eq!(LimitRule::parse("off"), Some(None));
        let rule = LimitRule::parse(" 10/1m  50 ").unwrap().unwrap();
        assert_eq!((rule.period(), rule.burst()), (Duration::from_secs(6), 50));
        for bad in [
            "",
            "10",
            "0/1m",
            "10/0s",
            "10/1",
            "10/m",
            "-1/1m",
            "10/1m 0",
            "10/1m 5 5",
            "1000001/1s",
            "10/367d",
            "1/366d 11",
            "10/1w",
            "10/99999999999999999999s",
            "10/18446744073709551615d",
        ] {
            assert_eq!(LimitRule::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn all_that_is_set_by_default_can_be_set() {
        let default = LimitSettings::default();
        for rule in [
            default.sign_in,
            default.account_sign_in,
            default.mail,
            default.account_mail,
            default.sign_up,
            default.requests,
        ] {
            assert!(rule.is_some());
            assert_eq!(LimitRule::parse(&written_limit(rule.as_ref())), Some(rule));
        }
    }
}

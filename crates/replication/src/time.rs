//! Times of day as `CouchDB` writes them.

/// The weekday, the date and the time of a moment in UTC.
struct Moment {
    weekday: u64,
    year: u64,
    month: u64,
    day: u64,
    seconds: u64,
}

impl Moment {
    /// The proleptic calendar of days since 1970, counted in eras of 400 years from March on.
    fn of(unix_s: u64) -> Self {
        let days = unix_s / 86_400;
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        Self {
            weekday: (days + 4) % 7,
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: of_year - (153 * from_march + 2) / 5 + 1,
            seconds: unix_s % 86_400,
        }
    }

    fn clock(&self) -> String {
        let seconds = self.seconds;
        format!(
            "{:02}:{:02}:{:02}",
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60
        )
    }
}

fn name<'n>(names: &[&'n str], at: u64) -> &'n str {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    names.get(at).copied().unwrap_or("")
}

/// As HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
#[must_use]
pub fn rfc1123(unix_s: u64) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let moment = Moment::of(unix_s);
    format!(
        "{}, {:02} {} {:04} {} GMT",
        name(&DAYS, moment.weekday),
        moment.day,
        name(&MONTHS, moment.month - 1),
        moment.year,
        moment.clock()
    )
}

/// As ISO 8601 has it: `1994-11-06T08:49:37Z`.
#[must_use]
pub fn iso8601(unix_s: u64) -> String {
    let moment = Moment::of(unix_s);
    let (year, month, day) = (moment.year, moment.month, moment.day);
    format!("{year:04}-{month:02}-{day:02}T{}Z", moment.clock())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_the_calendar_has_them() {
        for (unix_s, http, iso) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00Z"),
            (
                784_111_777,
                "Sun, 06 Nov 1994 08:49:37 GMT",
                "1994-11-06T08:49:37Z",
            ),
            (
                951_782_399,
                "Mon, 28 Feb 2000 23:59:59 GMT",
                "2000-02-28T23:59:59Z",
            ),
            (
                951_782_400,
                "Tue, 29 Feb 2000 00:00:00 GMT",
                "2000-02-29T00:00:00Z",
            ),
            (
                1_735_689_599,
                "Tue, 31 Dec 2024 23:59:59 GMT",
                "2024-12-31T23:59:59Z",
            ),
            (
                4_102_444_800,
                "Fri, 01 Jan 2100 00:00:00 GMT",
                "2100-01-01T00:00:00Z",
            ),
        ] {
            assert_eq!(
                (rfc1123(unix_s).as_str(), iso8601(unix_s).as_str()),
                (http, iso)
            );
        }
    }
}

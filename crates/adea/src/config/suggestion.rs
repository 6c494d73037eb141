//! "Did you mean": the known name that a mistyped one was most likely meant to be.
//!
//! Names are compared without regard to case and to `-`, `_`, `.`; what remains is the number of
//! letters inserted, dropped, changed or swapped with a neighbour. A name is suggested only when
//! few of its letters differ, since a wild guess misleads more than silence.

/// The best of `known` for `typed`, or none that is near enough.
pub(crate) fn suggest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = normal(typed);
    if typed.len() > 64 {
        return None;
    }
    known
        .filter_map(|name| {
            let full = normal(name);
            // A key written without its section ("password" for "admin.password").
            let last = name.rsplit('.').next().map(normal).unwrap_or_default();
            let distance = distance(&typed, &full).min(distance(&typed, &last).saturating_add(1));
            let near = typed.len().min(full.len()).div_ceil(3).clamp(1, 4);
            (distance <= near).then_some((distance, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `; did you mean X?`, or nothing.
pub(crate) fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

fn normal(name: &str) -> Vec<char> {
    name.chars()
        .filter(|c| !matches!(c, '-' | '_' | '.'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Optimal string alignment distance: insert, delete, replace, swap neighbours, each costs one.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut a_before = None;
    for (row, &from) in a.iter().enumerate() {
        let mut current = Vec::with_capacity(last.len());
        current.push(row + 1);
        let mut b_before = None;
        for (column, &to) in b.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let replaced = at(&last, column).saturating_add(usize::from(from != to));
            let dropped = at(&last, column + 1).saturating_add(1);
            let inserted = at(&current, column).saturating_add(1);
            let mut best = replaced.min(dropped).min(inserted);
            if b_before == Some(from) && a_before == Some(to) {
                let swapped = column.checked_sub(1).map(|two| at(&before_last, two));
                best = best.min(swapped.unwrap_or(usize::MAX).saturating_add(1));
            }
            current.push(best);
            b_before = Some(to);
        }
        before_last = std::mem::replace(&mut last, current);
        a_before = Some(from);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 6] = [
        "listen",
        "data",
        "admin.name",
        "admin.password",
        "header_timeout",
        "log.level",
    ];

    fn check(typed: &str, expected: Option<&str>) {
        assert_eq!(suggest(typed, KNOWN.into_iter()), expected, "{typed}");
    }

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        check("lisen", Some("listen"));
        check("Listen", Some("listen"));
        check("header-timeout", Some("header_timeout"));
        check("haeder_timeout", Some("header_timeout"));
        check("header_timeuot", Some("header_timeout"));
        check("password", Some("admin.password"));
        check("admin.passwd", Some("admin.password"));
        check("ADMIN_NAME", Some("admin.name"));
        check("levle", Some("log.level"));
        check("bananas", None);
        check("", None);
        check(&"x".repeat(1_000_000), None);
    }

    #[test]
    fn distance_counts_edits() {
        let count = |a: &str, b: &str| distance(&normal(a), &normal(b));
        assert_eq!(count("", ""), 0);
        assert_eq!(count("abc", ""), 3);
        assert_eq!(count("", "abc"), 3);
        assert_eq!(count("abcd", "abdc"), 1);
        assert_eq!(count("kitten", "sitting"), 3);
        assert_eq!(count("ca", "abc"), 3);
    }
}

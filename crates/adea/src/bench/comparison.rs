//! Figures that count against another figure of the same run: the same work done with something and
//! without it. Machines differ, and so do quiet and busy hours; a ratio of the same minute does not.

use super::report::{grouped, line};
use serde_json::{Value, json};

/// One figure, and the one it is held against.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    /// What was done.
    pub(super) name: String,
    /// Of what the figures are: `CPU µs`, `bytes`.
    pub(super) unit: &'static str,
    /// What it took.
    pub(super) here: f64,
    /// What it is held against, and what that took.
    pub(super) against: Option<(&'static str, f64)>,
    /// How many times as much it may be at most.
    pub(super) goal: Option<f64>,
}

impl Comparison {
    /// A figure that is told alone.
    pub(super) fn alone(name: impl Into<String>, unit: &'static str, here: f64) -> Self {
        Self {
            name: name.into(),
            unit,
            here,
            against: None,
            goal: None,
        }
    }

    /// Holds it against another.
    pub(super) fn against(mut self, name: &'static str, figure: f64) -> Self {
        self.against = Some((name, figure));
        self
    }

    /// Says how many times as much it may be.
    pub(super) fn at_most(mut self, times: f64) -> Self {
        self.goal = Some(times);
        self
    }

    fn times(&self) -> Option<f64> {
        let (_, figure) = self.against?;
        (figure > 0.0).then(|| self.here / figure)
    }

    fn met(&self) -> Option<bool> {
        Some(self.times()? <= self.goal?)
    }

    /// The same as JSON.
    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "unit": self.unit,
            "here": self.here,
            "against": self.against.map(|(name, figure)| json!({"name": name, "figure": figure})),
            "times": self.times(),
            "goal": self.goal,
            "met": self.met(),
        })
    }
}

/// Appends a table of `all`, if there are any.
pub(super) fn table(all: &[Comparison], out: &mut String) {
    if all.is_empty() {
        return;
    }
    let (here, against, times, most) = ("here", "against", "times", "most");
    line(
        out,
        format_args!(
            "\n{:58} {:>7} {here:>13} {against:>13} {times:>6} {most:>5}",
            "side by side", "unit"
        ),
    );
    for one in all {
        let optional = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let verdict = match one.met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let row = format!(
            "{:58} {:>7} {:>13} {:>13} {:>6} {:>5} {verdict}",
            one.name,
            one.unit,
            figure(one.here),
            one.against
                .map_or_else(|| "-".to_owned(), |(_, against)| figure(against)),
            optional(one.times(), 2),
            optional(one.goal, 1),
        );
        line(out, format_args!("{row}"));
        if let Some((name, _)) = one.against {
            line(out, format_args!("    against {name}"));
        }
    }
}

/// Small ones with a part behind the point.
fn figure(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.2}")
    } else {
        grouped(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_told_with_what_it_may_be() {
        let one = Comparison::alone("PUT", "CPU µs", 13.0)
            .against("without", 10.0)
            .at_most(1.3);
        let worse = Comparison {
            here: 14.0,
            ..one.clone()
        };
        let alone = Comparison::alone("memory", "bytes", 12_345.6);
        let mut out = String::new();
        table(&[one.clone(), worse, alone], &mut out);
        let words: Vec<&str> = out.lines().nth(2).unwrap().split_whitespace().collect();
        assert_eq!(
            words.join(" "),
            "PUT CPU µs 13.00 10.00 1.30 1.3 met",
            "{out}"
        );
        assert!(out.contains("MISSED") && out.contains("12,346"));
        assert_eq!(one.json()["met"], true);
        table(&[], &mut String::new());
    }
}

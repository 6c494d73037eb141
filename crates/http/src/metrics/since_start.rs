//! Counts in the form that `CouchDB`'s `_stats` has them: answers by status, and how long they took.
//!
//! Durations are kept by span and not one by one: what is told of them is exact where sums tell it
//! (number, mean, deviation) and as fine as the spans elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};

use super::DURATIONS;

/// The statuses that are counted one by one.
pub(crate) const STATUSES: [u16; 26] = [
    200, 201, 202, 204, 206, 301, 302, 304, 400, 401, 403, 404, 405, 406, 409, 410, 412, 413, 414,
    415, 416, 417, 429, 500, 501, 503,
];

/// Spans of durations: one for each bound, and one for what is longer.
const SPANS: usize = DURATIONS.len() + 1;

/// What was counted since the start.
pub(crate) struct SinceStart {
    statuses: [AtomicU64; STATUSES.len()],
    spans: [AtomicU64; SPANS],
    sum_micros: AtomicU64,
    /// Of milliseconds, so that it does not run over.
    sum_of_squares: AtomicU64,
    min_micros: AtomicU64,
    max_micros: AtomicU64,
}

impl SinceStart {
    pub(super) fn new() -> Self {
        Self {
            statuses: std::array::from_fn(|_| AtomicU64::new(0)),
            spans: std::array::from_fn(|_| AtomicU64::new(0)),
            sum_micros: AtomicU64::new(0),
            sum_of_squares: AtomicU64::new(0),
            min_micros: AtomicU64::new(u64::MAX),
            max_micros: AtomicU64::new(0),
        }
    }

    pub(super) fn answered(&self, status: u16) {
        if let Ok(at) = STATUSES.binary_search(&status)
            && let Some(count) = self.statuses.get(at)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn took(&self, seconds: f64) {
        let at = DURATIONS.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.spans.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let micros = u64::try_from(micros.as_micros()).unwrap_or(u64::MAX);
        let millis = micros / 1_000;
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
        let square = millis.saturating_mul(millis);
        self.sum_of_squares.fetch_add(square, Ordering::Relaxed);
        self.min_micros.fetch_min(micros, Ordering::Relaxed);
        self.max_micros.fetch_max(micros, Ordering::Relaxed);
    }

    /// How often each status was answered with.
    pub(crate) fn by_status(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let counts = self.statuses.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        STATUSES.into_iter().zip(counts)
    }

    /// How long answers took, in milliseconds, as `CouchDB` writes a histogram.
    pub(crate) fn durations(&self) -> String {
        let counts: Vec<u64> = self
            .spans
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        let n: u64 = counts.iter().sum();
        let max = as_millis(self.max_micros.load(Ordering::Relaxed));
        let min = match self.min_micros.load(Ordering::Relaxed) {
            u64::MAX => 0.0,
            micros => as_millis(micros),
        };
        // The upper end of each span, the longest duration for the last.
        let ends = DURATIONS.iter().map(|bound| (bound * 1_000.0).min(max));
        let ends: Vec<f64> = ends.chain([max]).collect();
        let number = as_float(n.max(1));
        let mean = as_millis(self.sum_micros.load(Ordering::Relaxed)) / number;
        let squares = as_float(self.sum_of_squares.load(Ordering::Relaxed)) / number;
        let variance = (squares - mean * mean).max(0.0);
        let percentile = |percent: f64| {
            let wanted = as_float(n) * percent / 100.0;
            let mut reached = 0;
            let found = counts.iter().zip(&ends).find(|(count, _)| {
                reached += **count;
                as_float(reached) >= wanted
            });
            found.map_or(0.0, |(_, end)| *end)
        };
        let shares = [50.0, 75.0, 90.0, 95.0, 99.0, 99.9]
            .map(|percent| format!("[{percent},{}]", percentile(percent)));
        let spans: Vec<String> = counts
            .iter()
            .zip(&ends)
            .filter(|(count, _)| **count > 0)
            .map(|(count, end)| format!("[{end},{count}]"))
            .collect();
        format!(
            "{{\"min\":{min},\"max\":{max},\"arithmetic_mean\":{mean},\"geometric_mean\":{},\"harmonic_mean\":{},\"median\":{},\"variance\":{variance},\"standard_deviation\":{},\"skewness\":0,\"kurtosis\":0,\"percentile\":[{}],\"histogram\":[{}],\"n\":{n}}}",
            of_spans(&counts, &ends, f64::ln, f64::exp),
            of_spans(&counts, &ends, f64::recip, f64::recip),
            percentile(50.0),
            variance.sqrt(),
            shares.join(","),
            spans.join(","),
        )
    }
}

/// A mean of the spans' ends, taken after `there` and brought `back`.
fn of_spans(counts: &[u64], ends: &[f64], there: fn(f64) -> f64, back: fn(f64) -> f64) -> f64 {
    let (mut sum, mut number) = (0.0, 0.0);
    for (count, end) in counts.iter().zip(ends).filter(|(count, _)| **count > 0) {
        sum += there(end.max(0.001)) * as_float(*count);
        number += as_float(*count);
    }
    if number == 0.0 {
        0.0
    } else {
        back(sum / number)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "what is shown is a mean, and needs no more digits"
)]
fn as_float(number: u64) -> f64 {
    number as f64
}

fn as_millis(micros: u64) -> f64 {
    as_float(micros) / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_found_by_halving() {
        assert!(STATUSES.is_sorted());
        let counts = SinceStart::new();
        for status in [200, 200, 503, 418] {
            counts.answered(status);
        }
        let counted: Vec<_> = counts.by_status().filter(|(_, n)| *n > 0).collect();
        assert_eq!(counted, [(200, 2), (503, 1)]);
    }

    #[test]
    fn durations_are_json_and_plausible() {
        let counts = SinceStart::new();
        let nothing: serde_json::Value = serde_json::from_str(&counts.durations()).unwrap();
        assert_eq!(nothing["n"], 0);
        for _ in 0..99 {
            counts.took(0.002);
        }
        counts.took(2.0);
        let told: serde_json::Value = serde_json::from_str(&counts.durations()).unwrap();
        let number = |name: &str| told[name].as_f64().unwrap();
        assert!((number("arithmetic_mean") - 21.98).abs() < 0.01, "{told}");
        assert!(number("median") >= 2.0 && number("median") <= 3.0, "{told}");
        assert!((number("max") - 2_000.0).abs() < 1.0 && number("min") <= 2.0);
        assert!(number("harmonic_mean") <= number("geometric_mean"));
    }
}

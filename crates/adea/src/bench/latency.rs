//! How long requests took: collected one by one, told as percentiles.
//!
//! Percentiles are by nearest rank: p99 is a time that was really measured, and at least 99 % of
//! all were no longer.

use std::time::Duration;

/// The times of one phase, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Latencies(Vec<u32>);

/// What is told about them, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// Half were no longer.
    pub(super) p50_us: u32,
    /// 99 of 100 were no longer.
    pub(super) p99_us: u32,
    /// The longest.
    pub(super) max_us: u32,
}

impl Latencies {
    /// Adds one; more than 71 minutes count as 71 minutes.
    pub(super) fn record(&mut self, elapsed: Duration) {
        self.0
            .push(u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX));
    }

    /// Adds all of `other`.
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The percentiles, if there was anything.
    pub(super) fn summary(mut self) -> Option<Summary> {
        self.0.sort_unstable();
        Some(Summary {
            p50_us: self.percentile(50)?,
            p99_us: self.percentile(99)?,
            max_us: *self.0.last()?,
        })
    }

    /// The smallest time that at least `percent` of all do not exceed; sorted times only.
    fn percentile(&self, percent: usize) -> Option<u32> {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(times: &[u32], expected: Option<(u32, u32, u32)>) {
        let expected = expected.map(|(p50_us, p99_us, max_us)| Summary {
            p50_us,
            p99_us,
            max_us,
        });
        assert_eq!(Latencies(times.to_vec()).summary(), expected);
    }

    #[test]
    fn percentiles_are_measured_times_by_nearest_rank() {
        check(&[], None);
        check(&[7], Some((7, 7, 7)));
        check(&[2, 1], Some((1, 2, 2)));
        check(&[3, 1, 2], Some((2, 3, 3)));
        let hundred: Vec<u32> = (1..=100).rev().collect();
        check(&hundred, Some((50, 99, 100)));
        let thousand: Vec<u32> = (1..=1000).collect();
        check(&thousand, Some((500, 990, 1000)));
    }

    #[test]
    fn a_time_too_long_to_count_is_the_longest_there_is() {
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_secs(1 << 40));
        latencies.record(Duration::from_micros(5));
        let mut all = Latencies::default();
        all.extend(latencies);
        assert_eq!(all.summary().unwrap().max_us, u32::MAX);
    }
}

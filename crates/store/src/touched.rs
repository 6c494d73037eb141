//! Topics that a transaction touches, and up to which sequence each reaches.
//!
//! Mostly there is one; a transaction that writes thousands of documents for thousands of readers
//! has thousands. They stay in the order in which they were first touched.

use std::collections::HashMap;

/// How many are searched one after the other before they are found by a map.
const SEARCHED_MAX: usize = 16;

/// What was touched, each topic once.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    topics: Vec<(u64, u64)>,
    /// Where each topic stands, once there are many.
    places: HashMap<u64, usize>,
}

impl Touched {
    /// Notes that `topic` reaches up to `sequence`.
    pub(crate) fn add(&mut self, topic: u64, sequence: u64) {
        let place = if self.topics.len() <= SEARCHED_MAX {
            self.topics.iter().position(|(known, _)| *known == topic)
        } else {
            if self.places.is_empty() {
                let places = self.topics.iter().enumerate();
                self.places = places.map(|(place, (topic, _))| (*topic, place)).collect();
            }
            self.places.get(&topic).copied()
        };
        if let Some((_, reached)) = place.and_then(|place| self.topics.get_mut(place)) {
            *reached = (*reached).max(sequence);
            return;
        }
        if !self.places.is_empty() {
            self.places.insert(topic, self.topics.len());
        }
        self.topics.push((topic, sequence));
    }

    /// All of them, in the order in which they were first touched.
    pub(crate) fn topics(&self) -> &[(u64, u64)] {
        &self.topics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_is_kept_once_in_order_with_its_last_sequence() {
        for count in [1_u64, 15, 16, 17, 18, 50_000] {
            let mut touched = Touched::default();
            for round in 0..3 {
                for topic in (0..count).rev() {
                    touched.add(topic, round * count + topic);
                }
            }
            let expected: Vec<_> = (0..count)
                .rev()
                .map(|topic| (topic, 2 * count + topic))
                .collect();
            assert_eq!(touched.topics(), expected);
        }
    }
}

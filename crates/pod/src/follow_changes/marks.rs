//! Tokens of a feed, as its rows and its end carry them.
//!
//! Where all readers see the same, a token is a sequence and the database's tag. Where each sees what
//! is his, it says besides by which of his rights he has seen all up to there, and it is sealed.

use adea_access::{Place, Seal};

use super::Course;
use crate::databases::DatabaseEntry;

/// Makes the tokens of a feed that is at one part of its course.
#[derive(Debug)]
pub struct Marks<'m> {
    tag: &'m str,
    course: Course,
    seal: Option<Seal>,
}

impl<'m> Marks<'m> {
    /// The tokens of the part of the feed that `course` is at.
    #[must_use]
    pub fn new(entry: &'m DatabaseEntry, course: &Course) -> Self {
        let tag = entry.sequence_tag.as_str();
        let seal = entry.own_sight().map(|sight| {
            let seen_at = course.place().seen_at;
            Seal::new(seen_at, tag, sight.key(), entry.number.0, sight.reader())
        });
        Self {
            tag,
            course: *course,
            seal,
        }
    }

    /// Writes the token of the row at `sequence`.
    pub fn row(&self, out: &mut Vec<u8>, sequence: u64) {
        self.write(out, &self.course.place_at(sequence));
    }

    /// Writes the token of who has seen all that was told.
    pub fn end(&self, out: &mut Vec<u8>) {
        self.write(out, &self.course.place());
    }

    fn write(&self, out: &mut Vec<u8>, place: &Place) {
        if let Some(seal) = &self.seal {
            seal.write(out, place);
            return;
        }
        out.extend_from_slice(itoa::Buffer::new().format(place.sequence).as_bytes());
        out.push(b'-');
        out.extend_from_slice(self.tag.as_bytes());
    }
}

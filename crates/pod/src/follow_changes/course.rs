//! Where a feed is, for a reader who sees a part of the database and whose rights change.
//!
//! He has seen everything up to a position, by the rights that were in force at some event of his
//! history. If those in force now are others, he is told first what he saw since and sees no more
//! (`Lost`), then what he sees now of what lies before his position and did not see (`Gained`), and
//! then what has changed behind it (`Kept`). Each part is walked upwards with a cursor of its own, so a
//! feed may be cut anywhere and gone on with from the token of any row.
//!
//! What changes while a part is walked gets a sequence behind the position, and is told as kept.
//! Invariant: the event that was in force moves on only when both parts were told to their ends. If
//! rights change again before that, both begin anew from the old event, which finds what was told
//! meanwhile, too.

use adea_access::{Phase, PhaseKind, Place};
use adea_base::Sight;

use crate::databases::{DatabaseEntry, DatabaseFace};

/// Which rows of a feed are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What has changed, and what left the reader's sight by a change.
    Kept,
    /// What he saw at this sequence or later, and sees no more.
    Lost {
        /// Up to where he was told all.
        seen_at: u64,
    },
    /// What he sees, and did not see at this sequence.
    Gained {
        /// The event that was in force.
        seen_at: u64,
    },
}

/// Where a feed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// Everything up to here was told or passed over, by the rights in force at `seen_at`.
    position: u64,
    /// The event of the reader's history by which he was told all that.
    seen_at: u64,
    /// The last event of his history.
    turned_at: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Behind which entry it goes on.
    Lost(u64),
    /// As above.
    Gained(u64),
    Kept,
}

impl DatabaseEntry {
    /// What limits its readers, each in another way: such a feed has tokens of its own for each.
    pub(crate) fn own_sight(&self) -> Option<&dyn Sight> {
        match self.face {
            DatabaseFace::Partition(_) => None,
            DatabaseFace::Whole | DatabaseFace::Mine => self.scope.sight().map(AsRef::as_ref),
        }
    }

    /// Whether each reader is told something else.
    #[must_use]
    pub fn tells_each_his_own(&self) -> bool {
        self.own_sight().is_some()
    }

    /// Tells what one is told from what another is, or the same one by other rights.
    #[must_use]
    pub fn reading(&self) -> String {
        let face = self.face_name();
        let Some(sight) = self.own_sight() else {
            return face;
        };
        let (turned_at, labels) = (sight.turned_at(), self.settings.labels);
        format!("{face} {turned_at} {labels} {}", sight.reader())
    }

    /// The last event of the history of who reads it; 0 if it has none.
    #[must_use]
    pub fn turned_at(&self) -> u64 {
        self.own_sight().map_or(0, Sight::turned_at)
    }
}

impl Course {
    /// Behind `position`, which was reached by the rights of now.
    #[must_use]
    pub fn behind(entry: &DatabaseEntry, position: u64) -> Self {
        let turned_at = entry.turned_at();
        Self {
            position,
            seen_at: turned_at,
            turned_at,
            stage: Stage::Kept,
        }
    }

    /// From the beginning: who comes with nothing that is known is told also of what he ever saw and
    /// sees no more, since he may have kept it.
    #[must_use]
    pub fn from_beginning(entry: &DatabaseEntry) -> Self {
        Self::since(entry, 0, 0)
    }

    /// Behind what was there at `sequence`, by the rights of then.
    #[must_use]
    pub fn since_moment(entry: &DatabaseEntry, sequence: u64) -> Self {
        Self::since(entry, sequence, sequence.min(entry.turned_at()))
    }

    /// From the place that `token` says, if it was made for who reads `entry`, which has got as far as
    /// `newest`.
    #[must_use]
    pub fn from_token(entry: &DatabaseEntry, token: &str, newest: u64) -> Option<Self> {
        let sight = entry.own_sight()?;
        let (key, number) = (sight.key(), entry.number.0);
        let place = Place::decode(token, &entry.sequence_tag, key, number, sight.reader())?;
        let turned_at = sight.turned_at();
        if place.sequence > newest || place.seen_at > turned_at {
            return None;
        }
        let mut course = Self::since(entry, place.sequence, place.seen_at);
        if let Some(phase) = place.phase.filter(|phase| phase.target == turned_at)
            && course.is_turning()
        {
            course.stage = match phase.kind {
                PhaseKind::Lost => Stage::Lost(phase.cursor),
                PhaseKind::Gained => Stage::Gained(phase.cursor),
            };
        }
        Some(course)
    }

    fn since(entry: &DatabaseEntry, position: u64, seen_at: u64) -> Self {
        let mut course = Self {
            position,
            seen_at,
            turned_at: seen_at,
            stage: Stage::Kept,
        };
        course.turn(entry.turned_at());
        course
    }

    /// The rights in force are those of the event `turned_at` from now on.
    pub fn turn(&mut self, turned_at: u64) {
        if self.turned_at != turned_at {
            self.turned_at = turned_at;
            self.stage = Stage::Lost(0);
        }
    }

    /// Everything up to here was told, apart from what [`Course::is_turning`] speaks of.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether there is still to be told what was lost or gained.
    #[must_use]
    pub fn is_turning(&self) -> bool {
        self.stage != Stage::Kept
    }

    /// The part that is walked.
    #[must_use]
    pub fn part(&self) -> Part {
        match self.stage {
            // What left his sight behind his position he was not told either.
            Stage::Lost(_) => Part::Lost {
                seen_at: self.seen_at.min(self.position),
            },
            Stage::Gained(_) => Part::Gained {
                seen_at: self.seen_at,
            },
            Stage::Kept => Part::Kept,
        }
    }

    /// Behind which entry of the part it goes on.
    #[must_use]
    pub fn after(&self) -> u64 {
        match self.stage {
            Stage::Lost(after) | Stage::Gained(after) => after,
            Stage::Kept => self.position,
        }
    }

    /// The last entry that the part may have.
    #[must_use]
    pub fn end(&self) -> u64 {
        match self.stage {
            Stage::Lost(_) | Stage::Kept => u64::MAX,
            Stage::Gained(_) => self.position,
        }
    }

    /// The entry at `sequence` of the part was told or passed over, and all before it.
    pub fn reach(&mut self, sequence: u64) {
        match &mut self.stage {
            Stage::Lost(after) | Stage::Gained(after) => *after = sequence,
            Stage::Kept => self.position = sequence,
        }
    }

    /// The part was walked to its end; the next begins.
    pub fn next_part(&mut self) {
        self.stage = match self.stage {
            Stage::Lost(_) => Stage::Gained(0),
            Stage::Gained(_) | Stage::Kept => {
                self.seen_at = self.turned_at;
                Stage::Kept
            }
        };
    }

    /// The place of who has seen all of this.
    pub(crate) fn place(&self) -> Place {
        self.place_at(self.after())
    }

    /// The place of who has seen the part up to `sequence`.
    pub(crate) fn place_at(&self, sequence: u64) -> Place {
        let phase = |kind| Phase {
            target: self.turned_at,
            kind,
            cursor: sequence,
        };
        let (sequence, phase) = match self.stage {
            Stage::Lost(_) => (self.position, Some(phase(PhaseKind::Lost))),
            Stage::Gained(_) => (self.position, Some(phase(PhaseKind::Gained))),
            Stage::Kept => (sequence, None),
        };
        Place {
            sequence,
            seen_at: self.seen_at,
            phase,
        }
    }

    /// The same for a feed that is told downwards, and does not tell what was lost or gained.
    #[must_use]
    pub fn downwards(self) -> Self {
        Self {
            stage: Stage::Kept,
            ..self
        }
    }
}

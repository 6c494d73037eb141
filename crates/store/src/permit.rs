//! The right to write, as a value: it carries the term it was given in, and the store refuses
//! one whose term is behind. With one pod there is one term; a ring will raise it.

/// Without one of these nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WritePermit {
    term: u64,
}

impl WritePermit {
    /// A permit of `term`. Only who knows the write master makes one (crate `pod`, later `ring`).
    #[must_use]
    pub const fn of_term(term: u64) -> Self {
        Self { term }
    }

    /// The term it was given in.
    #[must_use]
    pub fn term(self) -> u64 {
        self.term
    }
}

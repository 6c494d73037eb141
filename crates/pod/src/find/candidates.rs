//! The indexes that are not used, and why: what `_explain` tells of them, ranked as `CouchDB` ranks.

use std::sync::Arc;

use super::MangoIndex;

/// Why an index is not the one that is used; as `_explain` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It has not all documents, and was not asked for by name.
    IsPartial,
    /// It is parted and the query is not, or the reverse.
    ScopeMismatch,
    /// It may lack documents that match.
    FieldMismatch,
    /// It has another order.
    SortOrderMismatch,
    /// Another one was asked for by name.
    ExcludedByUser,
    /// It is the primary index, and there is another.
    UnfavoredType,
    /// More of its rows would have to be tried.
    LessSelective,
    /// The selector names fewer of its columns.
    LessOverlap,
    /// It has more columns.
    TooManyFields,
    /// Nothing but its name decided.
    AlphabeticallyComesAfter,
}

impl Reason {
    /// The name that `_explain` gives it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IsPartial => "is_partial",
            Self::ScopeMismatch => "scope_mismatch",
            Self::FieldMismatch => "field_mismatch",
            Self::SortOrderMismatch => "sort_order_mismatch",
            Self::ExcludedByUser => "excluded_by_user",
            Self::UnfavoredType => "unfavored_type",
            Self::LessSelective => "less_selective",
            Self::LessOverlap => "less_overlap",
            Self::TooManyFields => "too_many_fields",
            Self::AlphabeticallyComesAfter => "alphabetically_comes_after",
        }
    }

    fn is_of_a_usable_index(self) -> bool {
        match self {
            Self::IsPartial
            | Self::ScopeMismatch
            | Self::FieldMismatch
            | Self::SortOrderMismatch => false,
            Self::ExcludedByUser
            | Self::UnfavoredType
            | Self::LessSelective
            | Self::LessOverlap
            | Self::TooManyFields
            | Self::AlphabeticallyComesAfter => true,
        }
    }
}

/// An index that was looked at and is not the one that is used.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The index; `None` for the primary one.
    pub index: Option<Arc<MangoIndex>>,
    /// Why it is not used.
    pub reason: Reason,
    /// Whether it could have been.
    pub usable: bool,
    /// How far it was from being used, as `CouchDB` counts it.
    pub ranking: usize,
}

/// An index that is not used, why, and its place among those that could have been.
pub(super) type Loser = (Option<Arc<MangoIndex>>, Reason, usize);

/// Gives candidates `CouchDB`'s rankings and its order: by name downwards, the primary index last.
pub(super) fn ranked(found: &[Loser], runners: usize) -> Vec<Candidate> {
    let any = |reasons: &[Reason]| found.iter().any(|(_, reason, _)| reasons.contains(reason));
    let unfavored = runners.max(1);
    let excluded = unfavored + usize::from(any(&[Reason::UnfavoredType]));
    let unusable = excluded + usize::from(any(&[Reason::ExcludedByUser]));
    let mismatches = [Reason::FieldMismatch, Reason::SortOrderMismatch];
    let out_of_scope = unusable + usize::from(any(&mismatches));
    let partial = out_of_scope + usize::from(any(&[Reason::ScopeMismatch]));
    let candidate = |(index, reason, place)| Candidate {
        index,
        reason,
        usable: Reason::is_of_a_usable_index(reason),
        ranking: match reason {
            Reason::UnfavoredType => unfavored,
            Reason::ExcludedByUser => excluded,
            Reason::FieldMismatch | Reason::SortOrderMismatch => unusable,
            Reason::ScopeMismatch => out_of_scope,
            Reason::IsPartial => partial,
            Reason::LessSelective
            | Reason::LessOverlap
            | Reason::TooManyFields
            | Reason::AlphabeticallyComesAfter => place,
        },
    };
    let mut candidates: Vec<Candidate> = found.iter().cloned().map(candidate).collect();
    candidates.sort_by(|a, b| {
        let name = |one: &Candidate| {
            let index = one.index.as_ref();
            index.map(|index| (index.design.clone(), index.name.clone()))
        };
        name(b).cmp(&name(a))
    });
    candidates
}

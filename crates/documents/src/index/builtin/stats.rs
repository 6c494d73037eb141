//! `_stats`: sum, count, least, greatest and sum of squares, of numbers or of each place of arrays.
//!
//! What it makes it can also be given, be it by a map function that counted before.

use std::cmp::Ordering;

use super::BuiltinError;
use super::number::{Number, Overflow};
use super::term::Term;
use crate::selector::erlang_term;

/// What is told of some numbers.
struct Summary {
    sum: Number,
    count: Number,
    min: Number,
    max: Number,
    sumsqr: Number,
}

/// What is told of values: of numbers, or of arrays place by place.
enum Stats {
    Numbers(Summary),
    Arrays(Vec<Self>),
}

/// The statistics of values.
pub(super) fn stats<'v>(values: impl Iterator<Item = &'v str>) -> Result<String, BuiltinError> {
    let mut all: Option<Stats> = None;
    for value in values {
        let term = Term::parse(value);
        all = Some(match all {
            None => Stats::of(&term, &non_numeric)?,
            Some(before) => before.with(&term)?,
        });
    }
    let all = all.unwrap_or(Stats::Numbers(Summary {
        sum: Number::ZERO,
        count: Number::ZERO,
        min: Number::ZERO,
        max: Number::ZERO,
        sumsqr: Number::ZERO,
    }));
    Ok(all.into_term().to_json())
}

fn shown(term: &Term) -> String {
    let value = serde_json::from_str(&term.to_json()).unwrap_or_default();
    erlang_term(&value)
}

fn non_numeric(term: &Term) -> BuiltinError {
    BuiltinError::invalid_value(format!("non-numeric _stats input: {}", shown(term)))
}

fn not_alike(term: &Term) -> BuiltinError {
    BuiltinError::invalid_value(format!(
        "The _stats function requires that map values be numbers or arrays of numbers, not '{}'",
        shown(term)
    ))
}

fn too_large(_: Overflow) -> BuiltinError {
    BuiltinError::invalid_value("a number is too large for _stats".to_owned())
}

impl Stats {
    /// The statistics of one value, which is refused as `refuse` says.
    fn of(term: &Term, refuse: &dyn Fn(&Term) -> BuiltinError) -> Result<Self, BuiltinError> {
        Ok(match term {
            Term::Number(number) => Self::Numbers(Summary {
                sum: number.clone(),
                count: Number::ONE,
                min: number.clone(),
                max: number.clone(),
                sumsqr: number.square().map_err(too_large)?,
            }),
            Term::Array(elements) => {
                let each = elements.iter().map(|element| Self::of(element, refuse));
                Self::Arrays(each.collect::<Result<_, _>>()?)
            }
            Term::Object(members) => Self::Numbers(Summary::given(members)?),
            Term::Other(_) => return Err(refuse(term)),
        })
    }

    fn with(self, term: &Term) -> Result<Self, BuiltinError> {
        match (self, term) {
            (Self::Arrays(all), Term::Array(elements)) if all.len() == elements.len() => {
                let each = all.into_iter().zip(elements);
                let each = each.map(|(before, element)| before.with(element));
                Ok(Self::Arrays(each.collect::<Result<_, _>>()?))
            }
            (Self::Numbers(before), Term::Number(_) | Term::Object(_)) => {
                match Self::of(term, &not_alike)? {
                    Self::Numbers(one) => Ok(Self::Numbers(before.and(&one).map_err(too_large)?)),
                    Self::Arrays(_) => Err(not_alike(term)),
                }
            }
            (Self::Arrays(_) | Self::Numbers(_), _) => Err(not_alike(term)),
        }
    }

    fn into_term(self) -> Term {
        match self {
            Self::Numbers(summary) => summary.into_term(),
            Self::Arrays(each) => Term::Array(each.into_iter().map(Self::into_term).collect()),
        }
    }
}

impl Summary {
    /// What a map function, or a node below, counted before.
    fn given(members: &[(String, Term)]) -> Result<Self, BuiltinError> {
        let field = |name: &str| match members.iter().find(|(key, _)| key == name) {
            Some((_, Term::Number(number))) => Ok(number.clone()),
            Some((_, other)) => Err(BuiltinError::invalid_value(format!(
                "non-numeric _stats input received for {name}: {}",
                shown(other)
            ))),
            None => Err(BuiltinError::invalid_value(format!(
                "user _stats input missing required field {name} ({})",
                shown(&Term::Object(members.to_vec()))
            ))),
        };
        Ok(Self {
            sum: field("sum")?,
            count: field("count")?,
            min: field("min")?,
            max: field("max")?,
            sumsqr: field("sumsqr")?,
        })
    }

    fn and(self, one: &Self) -> Result<Self, Overflow> {
        let later = |kept: Ordering, one: &Number, before: Number| {
            if before.compare(one) == kept {
                before
            } else {
                one.clone()
            }
        };
        Ok(Self {
            sum: one.sum.add(&self.sum)?,
            count: one.count.add(&self.count)?,
            min: later(Ordering::Less, &one.min, self.min),
            max: later(Ordering::Greater, &one.max, self.max),
            sumsqr: one.sumsqr.add(&self.sumsqr)?,
        })
    }

    fn into_term(self) -> Term {
        let fields = [
            ("sum", self.sum),
            ("count", self.count),
            ("min", self.min),
            ("max", self.max),
            ("sumsqr", self.sumsqr),
        ];
        let member = |(name, number): (&str, Number)| (name.to_owned(), Term::Number(number));
        Term::Object(fields.into_iter().map(member).collect())
    }
}

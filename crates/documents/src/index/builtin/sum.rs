//! `_sum`: numbers, arrays of numbers element by element, objects member by member.
//!
//! What cannot be added makes the sum an object that tells of it, as `CouchDB` does, and so does
//! a sum of objects that grows as fast as what it is made of, since it would be stored in every
//! node above.

use super::number::Number;
use super::term::Term;

const REASON: &str = "The _sum function requires that map values be numbers, arrays of numbers, \
    or objects. Objects cannot be mixed with other data structures. Objects can be arbitrarily \
    nested, provided that the values for all fields are themselves numbers, arrays of numbers, or \
    objects.";
const ERROR: &str = "builtin_reduce_error";

/// A sum of fewer bytes may be as long as what it is made of. `CouchDB` begins at 4,906; our nodes
/// hold fewer rows than its own, which would be unfair to some.
const FREE_BYTES: usize = 64 << 10;

/// Why values are not added: the sum is this instead.
struct Failure(Term);

impl Failure {
    fn caused_by(cause: Term) -> Self {
        Self(failure(REASON.to_owned(), Some(cause)))
    }
}

fn failure(reason: String, cause: Option<Term>) -> Term {
    let text = |text: String| Term::Other(serde_json::Value::String(text));
    let mut members = vec![
        ("error".to_owned(), text(ERROR.to_owned())),
        ("reason".to_owned(), text(reason)),
    ];
    members.extend(cause.map(|cause| ("caused_by".to_owned(), cause)));
    Term::Object(members)
}

/// The sum of values, or an object that tells why there is none.
pub(super) fn sum<'v>(values: impl Iterator<Item = &'v str>) -> String {
    let (mut sum, mut count, mut bytes) = (Term::Number(Number::ZERO), 0, 0);
    for value in values {
        count += 1;
        bytes += value.len();
        match add(Term::parse(value), sum) {
            Ok(more) => sum = more,
            Err(Failure(told)) => return told.to_json(),
        }
    }
    let made = sum.to_json();
    if count > 1 && made.len() > FREE_BYTES && made.len() * 2 > bytes {
        let size = made.len();
        let reason = format!(
            "Reduce output must shrink more rapidly: input size: {bytes} output size: {size}"
        );
        return failure(reason, None).to_json();
    }
    made
}

fn add(value: Term, sum: Term) -> Result<Term, Failure> {
    match (value, sum) {
        (Term::Number(value), Term::Number(sum)) => {
            let added = sum.add(&value).map(Term::Number);
            added.map_err(|_| Failure::caused_by(Term::Number(value)))
        }
        (Term::Array(value), Term::Array(sum)) => add_arrays(sum, value),
        (value @ Term::Number(_), Term::Array(sum)) => add_arrays(sum, vec![value]),
        (Term::Array(value), sum @ Term::Number(_)) => add_arrays(vec![sum], value),
        (Term::Object(value), sum) => add_object(value, sum),
        (other @ (Term::Number(_) | Term::Array(_) | Term::Other(_)), _) => {
            Err(Failure::caused_by(other))
        }
    }
}

fn add_arrays(sum: Vec<Term>, value: Vec<Term>) -> Result<Term, Failure> {
    let mut added = Vec::with_capacity(sum.len().max(value.len()));
    let (mut sums, mut values) = (sum.into_iter(), value.into_iter());
    loop {
        match (sums.next(), values.next()) {
            (None, None) => return Ok(Term::Array(added)),
            (Some(Term::Number(a)), Some(Term::Number(b))) => {
                let Ok(both) = a.add(&b) else {
                    return Err(Failure::caused_by(Term::Number(b)));
                };
                added.push(Term::Number(both));
            }
            (Some(a), Some(_)) => {
                let rest = std::iter::once(a).chain(sums).collect();
                return Err(Failure::caused_by(Term::Array(rest)));
            }
            (Some(only), None) | (None, Some(only)) => added.push(only),
        }
    }
}

type Members = Vec<(String, Term)>;

fn add_object(value: Members, sum: Term) -> Result<Term, Failure> {
    let failed = value.iter().any(|(key, member)| {
        key == "error" && matches!(member, Term::Other(word) if word.as_str() == Some(ERROR))
    });
    if failed {
        return Err(Failure(Term::Object(value)));
    }
    match sum {
        Term::Number(Number::Int(0)) => Ok(Term::Object(value)),
        Term::Object(sum) => merge(value, sum).map(Term::Object),
        Term::Number(_) | Term::Array(_) | Term::Other(_) => {
            Err(Failure::caused_by(Term::Object(value)))
        }
    }
}

/// Members of both, sorted; those of one key added.
fn merge(mut value: Members, mut sum: Members) -> Result<Members, Failure> {
    value.sort_by(|a, b| a.0.cmp(&b.0));
    sum.sort_by(|a, b| a.0.cmp(&b.0));
    let mut merged = Vec::with_capacity(sum.len().max(value.len()));
    let (mut values, mut sums) = (value.into_iter().peekable(), sum.into_iter().peekable());
    while let (Some((a, _)), Some((b, _))) = (values.peek(), sums.peek()) {
        match a.cmp(b) {
            std::cmp::Ordering::Less => merged.extend(values.next()),
            std::cmp::Ordering::Greater => merged.extend(sums.next()),
            std::cmp::Ordering::Equal => {
                if let (Some((key, a)), Some((_, b))) = (values.next(), sums.next()) {
                    merged.push((key, add(a, b)?));
                }
            }
        }
    }
    merged.extend(values);
    merged.extend(sums);
    Ok(merged)
}

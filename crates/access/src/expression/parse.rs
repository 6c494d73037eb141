//! Reads an expression's terms and paths.

use serde_json::Value;

use super::{
    ExpressionFault, InvalidExpression, PATH_NAMES_MAX, Part, Path, Step, TERM_BYTES_MAX,
    TERM_PATHS_MAX, TERMS_MAX, Term,
};
use crate::list::{ListFault, check};

/// What is wrong, and at which byte of the term.
type Fault = (usize, ExpressionFault);

pub(super) fn terms(value: &Value) -> Result<Vec<Term>, InvalidExpression> {
    let at = |term, (byte, fault)| InvalidExpression { term, byte, fault };
    let items = value.as_array().filter(|items| !items.is_empty());
    let items = items.ok_or_else(|| at(0, (0, ExpressionFault::NotTerms)))?;
    if items.len() > TERMS_MAX {
        return Err(at(TERMS_MAX, (0, ExpressionFault::TooManyTerms)));
    }
    let items = items.iter().enumerate();
    items
        .map(|(index, item)| term(item).map_err(|fault| at(index, fault)))
        .collect()
}

fn term(item: &Value) -> Result<Term, Fault> {
    let not_a_term = (0, ExpressionFault::NotATerm);
    let object = item.as_object();
    let field = object.filter(|object| object.len() == 1);
    let field = field.and_then(|object| object.get("field"));
    let text = field.unwrap_or(item).as_str().ok_or(not_a_term)?;
    if text.len() > TERM_BYTES_MAX {
        return Err((TERM_BYTES_MAX, ExpressionFault::TermTooLong));
    }
    if field.is_some() {
        path(0, text).map(Term::Field)
    } else {
        parts(text).map(Term::Text)
    }
}

/// The parts of a text with paths in it.
fn parts(text: &str) -> Result<Vec<Part>, Fault> {
    let mut parts = Vec::new();
    let mut byte = 0;
    while let Some(rest) = text.get(byte..).filter(|rest| !rest.is_empty()) {
        let (literal, inner) = match rest.split_once("${") {
            None => (rest, None),
            Some((literal, inner)) => (literal, Some(inner)),
        };
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.to_owned()));
            byte += literal.len();
        }
        let Some(inner) = inner else { break };
        let begin = byte + 2;
        let unclosed = (byte, ExpressionFault::Unclosed);
        let (inner, _) = inner.split_once('}').ok_or(unclosed)?;
        parts.push(Part::Path(path(begin, inner)?));
        if parts
            .iter()
            .filter(|part| matches!(part, Part::Path(_)))
            .count()
            > TERM_PATHS_MAX
        {
            return Err((byte, ExpressionFault::TooManyPaths));
        }
        byte = begin + inner.len() + 1;
    }
    can_be_a_principal(&parts)?;
    Ok(parts)
}

/// What no document could ever make a principal is told at once.
fn can_be_a_principal(parts: &[Part]) -> Result<(), Fault> {
    let fault = match parts {
        [] => check("").err(),
        [Part::Literal(whole)] => check(whole).err(),
        [Part::Literal(begin), ..] if begin.starts_with('_') => Some(ListFault::Reserved),
        _ => None,
    };
    match fault {
        None => Ok(()),
        Some(fault) => Err((0, ExpressionFault::NoPrincipal(fault))),
    }
}

/// A path that begins at `byte` of its term.
fn path(byte: usize, text: &str) -> Result<Path, Fault> {
    let mut at = byte;
    let mut steps = Vec::new();
    for (index, segment) in text.split('.').enumerate() {
        if index == PATH_NAMES_MAX {
            return Err((at, ExpressionFault::PathTooLong));
        }
        let mut name = segment;
        let mut each = 0;
        while let Some(before) = name.strip_suffix("[*]") {
            name = before;
            each += 1;
        }
        if name.is_empty() {
            return Err((at, ExpressionFault::NameMissing));
        }
        if let Some(bad) = name.find(['$', '{', '}', '[', ']', '*']) {
            return Err((at + bad, ExpressionFault::BadCharacter));
        }
        if each > PATH_NAMES_MAX {
            return Err((at, ExpressionFault::PathTooLong));
        }
        steps.push(Step::Name(name.to_owned()));
        steps.extend(std::iter::repeat_n(Step::Each, each));
        at += segment.len() + 1;
    }
    let mut steps = steps.into_iter();
    match steps.next() {
        Some(Step::Name(root)) => Ok(Path {
            text: text.to_owned(),
            root,
            steps: steps.collect(),
        }),
        Some(Step::Each) | None => Err((byte, ExpressionFault::NameMissing)),
    }
}
